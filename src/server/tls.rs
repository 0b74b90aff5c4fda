//! [`Certificate`]: what the server shows to be who it says, read again when its files change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{
    CertificateError, Error, InconsistentKeys, RootCertStore, ServerConfig,
};

use super::TlsFiles;
use super::error::Role;

/// How long before its end a certificate is warned about.
const SOON: Duration = Duration::from_hours(14 * 24);

/// The last second that a certificate can name, the end of the year 9999, in seconds since 1970.
const END: u64 = 253_402_300_799;

/// How often its files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is no PEM.
    #[error("failed to read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A file holds something else.
    #[error("{path} has no {what} in it; a {what} starts with `-----BEGIN {}`", .what.to_uppercase())]
    Lacks {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// Certificate and key are not of each other.
    #[error("the key in {key} is not that of the first certificate in {certificate}")]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// No client would accept the certificate any more, or yet.
    #[error(
        "the certificate in {path} is valid from {} to {}, which is not now; renew it, or set the \
         clock right",
        date(*.from), date(*.to)
    )]
    Expired {
        /// The certificate's file.
        path: PathBuf,
        /// When it begins to be valid.
        from: SystemTime,
        /// When it is no longer valid.
        to: SystemTime,
    },
    /// Certificate or key cannot be used.
    #[error("the certificate in {path} and its key cannot be used: {source}")]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        source: Error,
    },
}

fn date(time: SystemTime) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(time)
}

/// When files were changed last, as far as can be seen.
type Stamp = [Option<(SystemTime, u64)>; 2];

/// A certificate with its key and the files they came from.
#[derive(Debug)]
pub(super) struct Certificate {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    shown: ArcSwap<Shown>,
    read: Mutex<Stamp>,
}

#[derive(Debug)]
struct Shown {
    certified: Arc<CertifiedKey>,
    valid_to: SystemTime,
}

impl Certificate {
    /// Reads the files, and warns where the certificate is about to end.
    pub(super) fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let read = stamp(files);
        let shown = read_files(files, &provider)?;
        Ok(Self {
            files: files.clone(),
            provider,
            shown: ArcSwap::from_pointee(shown),
            read: Mutex::new(read),
        })
    }

    /// Reads the files again if they have changed; whether they have. If they cannot be used, the
    /// certificate shown so far remains.
    pub(super) fn refresh(&self) -> Result<bool, TlsError> {
        let now = stamp(&self.files);
        let before =
            std::mem::replace(&mut *self.read.lock().unwrap_or_else(PoisonError::into_inner), now);
        if before == now {
            return Ok(false);
        }
        self.shown.store(Arc::new(read_files(&self.files, &self.provider)?));
        Ok(true)
    }

    /// When the certificate is no longer valid.
    pub(super) fn valid_to(&self) -> SystemTime {
        self.shown.load().valid_to
    }

    /// Whether the certificate names this host.
    pub(super) fn is_for(&self, host: &str) -> bool {
        let shown = self.shown.load();
        let certificate = shown.certified.end_entity_cert().and_then(ParsedCertificate::try_from);
        match (certificate, ServerName::try_from(host)) {
            (Ok(certificate), Ok(name)) => verify_server_name(&certificate, &name).is_ok(),
            _ => false,
        }
    }
}

/// What encrypts the connections of each listener.
#[derive(Clone)]
pub(super) struct Tls {
    certificate: Arc<Certificate>,
    http: TlsAcceptor,
    grpc: TlsAcceptor,
}

impl Tls {
    /// Reads the files, and warns where the certificate is about to end.
    pub(super) fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let certificate = Arc::new(Certificate::load(files)?);
        let acceptor = |protocols: &[&str]| -> Result<TlsAcceptor, TlsError> {
            let config = ServerConfig::builder_with_provider(Arc::clone(&certificate.provider))
                .with_safe_default_protocol_versions()
                .map_err(|source| TlsError::Unusable { path: files.certificate.clone(), source })?;
            let shown: Arc<dyn ResolvesServerCert> = Arc::clone(&certificate) as _;
            let mut config = config.with_no_client_auth().with_cert_resolver(shown);
            config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
            Ok(Arc::new(config).into())
        };
        let (http, grpc) = (acceptor(&["h2", "http/1.1"])?, acceptor(&["h2"])?);
        Ok(Self { certificate, http, grpc })
    }

    /// What the server shows.
    pub(super) fn certificate(&self) -> &Arc<Certificate> {
        &self.certificate
    }

    /// Encrypts the connections of a listener.
    pub(super) fn acceptor(&self, role: Role) -> &TlsAcceptor {
        match role {
            Role::Grpc => &self.grpc,
            Role::Http | Role::Admin => &self.http,
        }
    }

    /// Shows a renewed certificate soon after its files have changed.
    pub(super) async fn keep_fresh(self) {
        let mut ticks = tokio::time::interval(LOOK_AGAIN);
        loop {
            ticks.tick().await;
            let path = self.certificate.files.certificate.display();
            match self.certificate.refresh() {
                Ok(false) => {}
                Ok(true) => tracing::info!("the certificate was read again from {path}"),
                Err(error) => tracing::warn!("the certificate of before remains in use: {error}"),
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown.load().certified))
    }
}

fn stamp(files: &TlsFiles) -> Stamp {
    [&files.certificate, &files.key].map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

fn read_files(files: &TlsFiles, provider: &CryptoProvider) -> Result<Shown, TlsError> {
    let read = |path: &Path, what| {
        let path = path.to_owned();
        move |source| match source {
            pem::Error::NoItemsFound => TlsError::Lacks { path, what },
            source => TlsError::Read { path, source },
        }
    };
    let certificates = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .and_then(|all| if all.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(all) })
        .map_err(read(&files.certificate, "certificate"))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(read(&files.key, "private key"))?;
    let path = files.certificate.clone();
    let certified =
        CertifiedKey::from_der(certificates, key, provider).map_err(|source| match source {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch { certificate: path.clone(), key: files.key.clone() }
            }
            source => TlsError::Unusable { path: path.clone(), source },
        })?;
    let parsed = certified.end_entity_cert().and_then(ParsedCertificate::try_from);
    let parsed = parsed.map_err(|source| TlsError::Unusable { path: path.clone(), source })?;
    let (from, to) = validity(&parsed, provider);
    let now = SystemTime::now();
    if now < from || now > to {
        return Err(TlsError::Expired { path, from, to });
    }
    if now + SOON > to {
        tracing::warn!(
            "the certificate in {} is valid to {} only; a renewed one is read when its file changes",
            path.display(),
            date(to)
        );
    }
    Ok(Shown { certified: Arc::new(certified), valid_to: to })
}

/// From when to when a certificate is valid. The library tells whoever asks at another time.
fn validity(
    certificate: &ParsedCertificate<'_>,
    provider: &CryptoProvider,
) -> (SystemTime, SystemTime) {
    let asked_at = |seconds| {
        let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let algorithms = provider.signature_verification_algorithms.all;
        let nobody = RootCertStore::empty();
        verify_server_cert_signed_by_trust_anchor(certificate, &nobody, &[], at, algorithms)
    };
    let time = |time: UnixTime| UNIX_EPOCH + Duration::from_secs(time.as_secs());
    let from = match asked_at(0) {
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
            not_before, ..
        })) => time(not_before),
        _ => UNIX_EPOCH,
    };
    let to = match asked_at(END) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            time(not_after)
        }
        _ => time(UnixTime::since_unix_epoch(Duration::from_secs(END))),
    };
    (from, to)
}
