//! [`Running`]: a server of one listener in this process, and [`Client`], a connection to it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::listener::Listener;
use super::super::load::Load;
use super::super::serving;
use super::super::tls::Tls;
use super::*;

/// A server that stops when told to.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) app: Arc<App>,
    stop: oneshot::Sender<()>,
    report: JoinHandle<DrainReport>,
}

impl Running {
    /// A server for `role` with these routes.
    pub(super) fn start(role: Role, config: ServerConfig, routes: Router) -> Self {
        let app = Arc::new(App::new(config, Arc::default(), PipelineViews::default()));
        let load = Load::new(&app.config.limits, &[role]);
        Self::with(role, app, load, routes)
    }

    /// The same, counting in `load`.
    pub(super) fn with(role: Role, app: Arc<App>, load: Load, routes: Router) -> Self {
        let listener = Listener::bind(role, SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.address();
        let tls = app.config.tls.as_ref().map(|files| Tls::load(files).unwrap());
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&app);
        let report = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            serving::serve(&serving, &load, tls, vec![(listener, routes)], stopped).await
        });
        Self { address, app, stop, report }
    }

    /// A connection to it.
    pub(super) async fn connect(&self) -> Client<TcpStream> {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    /// Sends bytes on a connection of their own; what comes back until the server closes it.
    pub(super) async fn ask(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.send(bytes).await;
        client.rest().await
    }

    /// Tells it to stop; what it will report.
    pub(super) fn stop(self) -> JoinHandle<DrainReport> {
        self.stop.send(()).unwrap();
        self.report
    }
}

/// A connection to a server.
pub(super) struct Client<S>(pub(super) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        timeout(DEADLINE, self.0.write_all(bytes.as_ref())).await.unwrap().unwrap();
    }

    /// Sends bytes; what comes until the server closes the connection.
    pub(super) async fn bytes_after(&mut self, sent: impl AsRef<[u8]>) -> Vec<u8> {
        self.send(sent).await;
        let mut bytes = Vec::new();
        let ended = timeout(DEADLINE, self.0.read_to_end(&mut bytes)).await.unwrap();
        if let Err(error) = ended {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
        }
        bytes
    }

    /// What still comes until the server closes the connection.
    pub(super) async fn rest(&mut self) -> String {
        String::from_utf8(self.bytes_after("").await).unwrap()
    }

    /// Says that no more is sent.
    pub(super) async fn shut(&mut self) {
        self.0.shutdown().await.unwrap();
    }

    /// The next answer, which says how long it is, or what came of it before the end.
    pub(super) async fn answer(&mut self) -> String {
        let mut bytes = Vec::new();
        while !ended(&bytes) {
            let read = timeout(DEADLINE, self.0.read_buf(&mut bytes)).await.unwrap().unwrap();
            if read == 0 {
                break;
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    /// Asks for something; the answer.
    pub(super) async fn get(&mut self, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        self.answer().await
    }
}

fn ended(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() == length.map_or(0, |length| length.parse().unwrap())
}
