//! Bytes to and from the server, in the clear or with TLS, with the moments at which they went.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::either::Either;

use super::{Address, EndpointError, Protocol};

/// The certificates that Debian and its kin trust.
const TRUSTED_HERE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Makes connections to one server.
pub(super) struct Connector {
    authority: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Connector {
    pub(super) fn new(
        address: &Address,
        protocol: Protocol,
        ca: Option<&Path>,
    ) -> Result<Self, EndpointError> {
        let tls = address.tls.then(|| tls(address, protocol, ca)).transpose()?;
        Ok(Self { authority: address.authority(), tls })
    }

    pub(super) async fn connect(&self) -> io::Result<Stream> {
        let plain = TcpStream::connect(&self.authority).await?;
        plain.set_nodelay(true)?;
        let bytes = match &self.tls {
            None => Either::Left(plain),
            Some((connector, name)) => {
                Either::Right(Box::new(connector.connect(name.clone(), plain).await?))
            }
        };
        Ok(Stream { bytes, stamps: Arc::default() })
    }
}

fn tls(
    address: &Address,
    protocol: Protocol,
    ca: Option<&Path>,
) -> Result<(TlsConnector, ServerName<'static>), EndpointError> {
    let path = ca.unwrap_or(Path::new(TRUSTED_HERE));
    let failed = |reason: String| EndpointError::Certificates { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| failed(e.to_string()))? {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        let added = roots.add(certificate);
        // Among those of the machine there may be some that rustls does not take.
        if ca.is_some() {
            added.map_err(|error| failed(error.to_string()))?;
        }
    }
    if roots.is_empty() {
        return Err(failed("there are none in it".to_owned()));
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = match protocol {
        Protocol::Grpc => vec![b"h2".to_vec()],
        Protocol::HttpJson | Protocol::HttpBinary => vec![b"http/1.1".to_vec()],
    };
    let name = ServerName::try_from(address.name().to_owned()).map_err(|error| {
        EndpointError::Tls { address: address.to_string(), reason: error.to_string() }
    })?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

/// When bytes went over a connection that carries one request at a time.
#[derive(Debug)]
pub(super) struct Stamps {
    base: Instant,
    /// Nanoseconds after `base` at which the last byte was written.
    written: AtomicU64,
    /// Nanoseconds after `base` at which the first byte since [`Stamps::arm`] was read, 0 for none.
    read: AtomicU64,
}

impl Default for Stamps {
    fn default() -> Self {
        Self { base: Instant::now(), written: AtomicU64::new(0), read: AtomicU64::new(0) }
    }
}

impl Stamps {
    fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Forgets the last answer.
    pub(super) fn arm(&self) {
        self.read.store(0, Ordering::Relaxed);
    }

    /// When the request was written and the answer began.
    pub(super) fn moments(&self) -> Option<(Instant, Instant)> {
        let at = |stamp: &AtomicU64| {
            let after = std::time::Duration::from_nanos(stamp.load(Ordering::Relaxed));
            (!after.is_zero()).then(|| self.base + after)
        };
        Some((at(&self.written)?, at(&self.read)?))
    }
}

/// A connection's bytes.
pub(super) struct Stream {
    bytes: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    pub(super) stamps: Arc<Stamps>,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.bytes).poll_read(cx, buffer);
        if buffer.filled().len() > before && self.stamps.read.load(Ordering::Relaxed) == 0 {
            self.stamps.read.store(self.stamps.now(), Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.bytes).poll_write(cx, bytes);
        self.stamp(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.bytes).poll_write_vectored(cx, bytes);
        self.stamp(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.bytes.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_shutdown(cx)
    }
}

impl Stream {
    fn stamp(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(_))) {
            self.stamps.written.store(self.stamps.now(), Ordering::Relaxed);
        }
        written
    }
}
