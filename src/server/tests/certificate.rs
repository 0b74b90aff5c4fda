//! Certificates that can be shown and those that cannot.

use std::path::Path;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::super::tls::{Certificate, Tls};
use super::*;

/// A certificate for `localhost` with its key, in files of a folder.
fn make(folder: &Path, change: impl FnOnce(&mut CertificateParams)) -> TlsFiles {
    let mut params = CertificateParams::new(["localhost".into(), "own.example".into()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let files = TlsFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
    std::fs::write(&files.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    files
}

async fn connect(
    server: &Running,
    files: &TlsFiles,
    protocol: &str,
) -> TlsStream<tokio::net::TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.certificate).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = server.connect().await.0;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn requests_are_answered_over_tls_in_both_versions_of_http() {
    let folder = tempfile::tempdir().unwrap();
    let files = make(folder.path(), |_| ());
    let config = ServerConfig { tls: Some(files.clone()), ..config() };
    let server = Running::start(Role::Http, config, routes());
    let mut client = Client(connect(&server, &files, "http/1.1").await);
    assert!(client.get("/").await.ends_with("here"));

    let stream = connect(&server, &files, "h2").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get("https://localhost/").body(Body::empty()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "here");

    let report = server.stop();
    // Both are told to leave; the first by the end of its stream.
    assert_eq!(client.rest().await, "");
    connection.await.unwrap().unwrap();
    assert_eq!(report.await.unwrap(), DrainReport { finished: 0, aborted: 0 });
}

#[tokio::test]
async fn a_client_without_tls_gets_nothing_and_one_that_stalls_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = ServerConfig { tls: Some(make(folder.path(), |_| ())), ..config() };
    config.limits.header_timeout = Duration::from_millis(100);
    let server = Running::start(Role::Http, config, routes());
    let answer = server.connect().await.bytes_after("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // The first bytes of a handshake, and no more.
    assert_eq!(server.connect().await.bytes_after("\x16\x03\x01").await, b"");
}

fn refusal(files: &TlsFiles) -> String {
    Tls::load(files).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn certificates_that_are_not_valid_now_are_refused_with_their_dates() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cert.pem").display().to_string();
    for (from, to) in [(2001, 2002), (4001, 4002)] {
        let files = make(folder.path(), |params| {
            params.not_before = date_time_ymd(from, 2, 3);
            params.not_after = date_time_ymd(to, 2, 3);
        });
        assert_eq!(
            refusal(&files),
            format!(
                "the certificate in {path} is valid from {from}-02-03T00:00:00Z to \
                 {to}-02-03T00:00:00Z, which is not now; renew it, or set the clock right"
            )
        );
    }
}

#[test]
fn files_that_hold_no_certificate_or_key_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let files = make(folder.path(), |_| ());
    assert_eq!(refusal(&files), "");
    let swapped = TlsFiles { certificate: files.key.clone(), key: files.certificate.clone() };
    let lacks = |path: &Path, what: &str, begin: &str| {
        let path = path.display();
        format!("{path} has no {what} in it; a {what} starts with `-----BEGIN {begin}`")
    };
    assert_eq!(refusal(&swapped), lacks(&files.key, "certificate", "CERTIFICATE"));
    let twice = TlsFiles { key: files.certificate.clone(), ..files.clone() };
    assert_eq!(refusal(&twice), lacks(&files.certificate, "private key", "PRIVATE KEY"));
    let missing = TlsFiles { key: folder.path().join("none.pem"), ..files.clone() };
    let refused = refusal(&missing);
    assert!(refused.contains("none.pem: ") && refused.contains("No such file"), "{refused}");
    std::fs::write(
        &files.certificate,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let refused = refusal(&files);
    assert!(refused.contains("cert.pem and its key cannot be used: "), "{refused}");
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = make(folder.path(), |_| ());
    let files = TlsFiles { key: make(other.path(), |_| ()).key, ..files };
    let (key, certificate) = (files.key.display(), files.certificate.display());
    let expected =
        format!("the key in {key} is not that of the first certificate in {certificate}");
    assert_eq!(refusal(&files), expected);
}

#[test]
fn a_renewed_certificate_is_shown_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let files = make(folder.path(), |_| ());
    let certificate = Certificate::load(&files).unwrap();
    assert!(certificate.is_for("own.example") && !certificate.is_for("renewed.example"));
    assert!(!certificate.refresh().unwrap(), "nothing has changed");
    std::fs::write(&files.certificate, "half of a fi").unwrap();
    assert!(certificate.refresh().is_err());
    assert!(certificate.is_for("own.example"));
    make(folder.path(), |params| {
        params
            .subject_alt_names
            .push(rcgen::SanType::DnsName("renewed.example".try_into().unwrap()));
    });
    assert!(certificate.refresh().unwrap());
    assert!(certificate.is_for("renewed.example"));
}
