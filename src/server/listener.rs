//! [`Listener`]: an address that connections come to.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::connection;
use super::connections::Connections;
use super::door::Door;
use super::error::{Role, ServerError};

/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 4096;

/// What a client hears when there are too many connections.
const FULL: &str = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    content-type: application/json\r\ncontent-length: 56\r\n\r\n\
    {\"error\":\"there are too many connections to the server\"}";

/// How long no connection is accepted after the system had no room for one.
const PAUSE: Duration = Duration::from_millis(50);

/// One address with the connections made to it.
pub(super) struct Listener {
    role: Role,
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens. Port 0 takes a free one.
    pub(super) fn bind(role: Role, address: SocketAddr) -> Result<Self, ServerError> {
        let listen = || -> io::Result<Self> {
            let socket =
                Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            // The connections have it from the listener: one system call less for each.
            socket.set_tcp_nodelay(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            let socket = TcpListener::from_std(socket.into())?;
            let address = socket.local_addr()?;
            Ok(Self { role, socket, address })
        };
        listen().map_err(|source| ServerError::Listen { role, address, source })
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections until `stopping`, then those that are made already. They outlive this.
    pub(super) async fn accept(
        self,
        door: Arc<Door>,
        connections: Arc<Connections>,
        stopping: CancellationToken,
    ) {
        let admit = |stream: TcpStream| match connections.admit() {
            Some(member) => {
                door.tasks().spawn(connection::serve(stream, member, Arc::clone(&door)));
            }
            None => refuse(stream, &door),
        };
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    failing = false;
                    admit(stream);
                }
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    if !failing {
                        tracing::warn!("failed to accept connections at {}: {error}", self.address);
                    }
                    failing = true;
                    connections.make_room();
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        // Read past tokio, which may not have heard yet of the last ones.
        if let Ok(socket) = self.socket.into_std() {
            while let Ok((stream, _)) = socket.accept() {
                if stream.set_nonblocking(true).is_ok()
                    && let Ok(stream) = TcpStream::from_std(stream)
                {
                    admit(stream);
                }
            }
        }
    }
}

/// Whether one connection failed rather than the means to accept any.
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Says why where that can be said at once and in the clear.
fn refuse(stream: TcpStream, door: &Door) {
    if door.role() != Role::Grpc
        && door.tls().is_none()
        && let Ok(mut stream) = stream.into_std()
    {
        // As much as there is to do for a client that may not listen.
        let _ = stream.write(FULL.as_bytes());
    }
}
