//! [`Running`]: a server of one listener in this process.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use axum::Router;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::super::listener::Listener;
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
        let app = App::new(config, Arc::default(), PipelineViews::default());
        let app = Arc::new(app);
        let listener = Listener::bind(role, SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.address();
        let tls = app.config.tls.as_ref().map(|files| Tls::load(files).unwrap());
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&app);
        let report = tokio::spawn(async move {
            serving::serve(&serving, tls, vec![(listener, routes)], async {
                let _ = stopped.await;
            })
            .await
        });
        Self { address, app, stop, report }
    }

    /// A connection to it.
    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// Sends bytes on a connection of their own; what comes back until the server closes it.
    pub(super) async fn ask(&self, bytes: impl AsRef<[u8]> + Send + 'static) -> String {
        let mut stream = self.connect();
        tokio::task::spawn_blocking(move || {
            stream.write_all(bytes.as_ref()).unwrap();
            rest(&mut stream)
        })
        .await
        .unwrap()
    }

    /// Tells it to stop.
    pub(super) fn stop(self) -> JoinHandle<DrainReport> {
        self.stop.send(()).unwrap();
        self.report
    }
}

/// What still comes on a connection until the server closes it.
pub(super) fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    if let Err(error) = ended {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    String::from_utf8(bytes).unwrap()
}
