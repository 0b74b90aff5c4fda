//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use super::body::Answer;
use super::connections::Member;
use super::door::Door;
use super::error::Role;
use super::state::State;
use super::transport::Transport;
use super::watch::{End, Watch};

/// Most requests that one connection may have answered at the same time.
const STREAMS: u32 = 256;

/// How much of a request a multiplexed connection may send before it is read.
const STREAM_WINDOW: u32 = 1 << 20;

/// How much all requests of a multiplexed connection may send before they are read.
const CONNECTION_WINDOW: u32 = 4 << 20;

/// The longest frame that a multiplexed connection takes. A tensor in frames of the usual 16 KiB wakes
/// its reader for each of them.
const FRAME: u32 = 256 << 10;

/// How long bytes are read that nobody wants, so that the answer to their request arrives.
const DISCARD: Duration = Duration::from_secs(2);

/// Serves one connection until it ends or must end.
pub(super) async fn serve(stream: TcpStream, member: Member, door: Arc<Door>) {
    let state = member.state();
    let limits = door.limits();
    let mut watch = Watch::new(Arc::clone(state), limits);
    let transport = Transport::new(stream, Arc::clone(state), limits.transfer_timeout);
    // Connections that never say anything are many in an attack: they get no buffers, and what
    // serves the others is put on the heap when it is needed.
    if !matches!(watch.within(transport.first_byte()).await, Some(Ok(()))) {
        return;
    }
    let Some(acceptor) = door.tls() else {
        let multiplexed = door.role() == Role::Grpc;
        return Box::pin(speak(transport, multiplexed, state, &door, &mut watch)).await;
    };
    let handshake = Box::pin(watch.within(acceptor.accept(transport))).await;
    match handshake {
        Some(Ok(stream)) => {
            let agreed = stream.get_ref().1.alpn_protocol();
            let multiplexed = agreed == Some(b"h2") || door.role() == Role::Grpc;
            Box::pin(speak(stream, multiplexed, state, &door, &mut watch)).await;
        }
        Some(Err(error)) => tracing::debug!("a TLS handshake failed: {error}"),
        None => {}
    }
}

async fn speak<S>(
    stream: S,
    multiplexed: bool,
    state: &Arc<State>,
    door: &Arc<Door>,
    watch: &mut Watch,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    if multiplexed {
        return Box::pin(serve_http2(stream, state, door, watch)).await;
    }
    let left_open = Box::pin(serve_http1(stream, state, door, watch)).await;
    if let Some(stream) = left_open {
        watch.within(tokio::time::timeout(DISCARD, discard(stream))).await;
    }
}

/// Reads what a client still sends and forgets it, until it has read its answer and closed. A
/// connection closed with unread bytes is reset, and the answer lost with it.
async fn discard(mut stream: impl AsyncRead + Unpin) {
    let mut bytes = vec![0; 8 << 10];
    while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}

/// The stream comes back where the client may still be sending what nobody reads.
async fn serve_http1<S>(
    stream: S,
    state: &Arc<State>,
    door: &Arc<Door>,
    watch: &mut Watch,
) -> Option<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_buf_size(door.limits().header_bytes.max(8 << 10));
    let service = service_fn(|request| answer(Arc::clone(door), Arc::clone(state), request));
    let mut connection = builder.serve_connection(TokioIo::new(stream), service);
    let ended = drive(Pin::new(&mut connection), watch, http1::Connection::graceful_shutdown).await;
    (ended && state.is_unread()).then(|| connection.into_parts().io.into_inner())
}

async fn serve_http2<S>(stream: S, state: &Arc<State>, door: &Arc<Door>, watch: &mut Watch)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    watch.set_multiplexed();
    let mut builder = http2::Builder::new(Streams(door.tasks().clone()));
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(door.limits().header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .keep_alive_interval(door.limits().header_timeout)
        .keep_alive_timeout(door.limits().header_timeout);
    let service = service_fn(|request| answer(Arc::clone(door), Arc::clone(state), request));
    let connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    drive(connection, watch, http2::Connection::graceful_shutdown).await;
}

/// Runs the requests of multiplexed connections.
#[derive(Clone)]
struct Streams(TaskTracker);

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}

async fn answer(
    door: Arc<Door>,
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    Ok(door.answer(&state, request).await)
}

/// Lets a connection run; whether it ended by itself.
async fn drive<C>(mut connection: Pin<&mut C>, watch: &mut Watch, gently: fn(Pin<&mut C>)) -> bool
where
    C: Future<Output = hyper::Result<()>>,
{
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!("a connection ended early: {error}");
                }
                return true;
            }
            end = watch.end() => match end {
                End::Gently => gently(connection.as_mut()),
                End::AtOnce => return false,
            },
        }
    }
}
