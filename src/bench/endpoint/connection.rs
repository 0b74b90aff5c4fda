//! [`Connection`]: one request over a connection that is opened again when it was closed.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::Protocol;
use super::answer::Reply;
use super::stream::{Connector, Stamps};

pub(super) type Request = hyper::Request<Full<Bytes>>;

/// The largest answer that is read.
const LARGEST_ANSWER: usize = 1 << 30;

/// Why a request got no answer at all.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection could be opened.
    #[error("failed to connect: {0}")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// What came is no answer of this protocol.
    #[error("the answer is none: {0}")]
    Invalid(String),
    /// It did not come in time.
    #[error("no answer in time")]
    TimedOut,
}

/// Where the time of a request went.
#[derive(Debug, Clone, Copy, Default)]
pub struct CallTimes {
    /// Opening a connection; nothing where one was open.
    pub connect: Duration,
    /// The parts of the rest, where the connection carries one request at a time.
    pub split: Option<Split>,
}

/// The parts of a request over a connection of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Split {
    /// Until the request was written.
    pub send: Duration,
    /// Until the first byte of the answer.
    pub wait: Duration,
    /// Until its last byte.
    pub receive: Duration,
}

enum Sender {
    /// One request at a time.
    One(http1::SendRequest<Full<Bytes>>, Arc<Stamps>),
    /// Many at a time.
    Many(http2::SendRequest<Full<Bytes>>),
}

/// A connection to a server.
pub struct Connection(Sender);

impl Connection {
    pub(super) async fn open(connector: &Connector, protocol: Protocol) -> io::Result<Self> {
        let stream = connector.connect().await?;
        let stamps = Arc::clone(&stream.stamps);
        let io = TokioIo::new(stream);
        // What ends a connection is told to the request that is on it.
        Ok(Self(match protocol {
            Protocol::HttpJson | Protocol::HttpBinary => {
                let (sender, driver) = http1::handshake(io).await.map_err(io::Error::other)?;
                tokio::spawn(driver);
                Sender::One(sender, stamps)
            }
            Protocol::Grpc => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder.adaptive_window(true);
                let (sender, driver) = builder.handshake(io).await.map_err(io::Error::other)?;
                tokio::spawn(driver);
                Sender::Many(sender)
            }
        }))
    }

    /// The same connection for another request at the same time, where it carries several.
    pub fn share(&self) -> Option<Self> {
        match &self.0 {
            Sender::One(..) => None,
            Sender::Many(sender) => Some(Self(Sender::Many(sender.clone()))),
        }
    }

    /// Sends a request and reads the whole answer. A connection that was closed before the request
    /// went out is opened again, once.
    pub(super) async fn call(
        &mut self,
        connector: &Connector,
        protocol: Protocol,
        request: Request,
        times: &mut CallTimes,
    ) -> Result<Reply, CallError> {
        *times = CallTimes::default();
        let mut begin = Instant::now();
        let response = match self.send(request).await {
            Ok(response) => response,
            Err((error, None)) => return Err(error),
            Err((_, Some(unsent))) => {
                *self = Self::open(connector, protocol).await.map_err(CallError::Connect)?;
                let opened = Instant::now();
                times.connect = opened - begin;
                begin = opened;
                self.send(unsent).await.map_err(|(error, _)| error)?
            }
        };
        let reply = read(response, protocol).await?;
        if let Sender::One(_, stamps) = &self.0
            && let Some((written, first)) = stamps.moments()
        {
            times.split = Some(Split {
                send: written.saturating_duration_since(begin),
                wait: first.saturating_duration_since(written),
                receive: first.elapsed(),
            });
        }
        Ok(reply)
    }

    /// Gives the request back where nothing of it was sent.
    async fn send(
        &mut self,
        request: Request,
    ) -> Result<Response<Incoming>, (CallError, Option<Request>)> {
        let lost = |error: &hyper::Error| CallError::Lost(causes(error));
        let sent = match &mut self.0 {
            Sender::One(sender, stamps) => {
                if let Err(error) = sender.ready().await {
                    return Err((lost(&error), Some(request)));
                }
                stamps.arm();
                sender.try_send_request(request).await
            }
            Sender::Many(sender) => {
                if let Err(error) = sender.ready().await {
                    return Err((lost(&error), Some(request)));
                }
                sender.try_send_request(request).await
            }
        };
        sent.map_err(|mut error| {
            let unsent = error.take_message();
            let error = error.into_error();
            let kind =
                if error.is_parse() { CallError::Invalid(causes(&error)) } else { lost(&error) };
            (kind, unsent)
        })
    }
}

async fn read(response: Response<Incoming>, protocol: Protocol) -> Result<Reply, CallError> {
    let (head, body) = response.into_parts();
    let collected = Limited::new(body, LARGEST_ANSWER).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            CallError::Invalid(format!("it has more than {LARGEST_ANSWER} bytes"))
        } else {
            CallError::Lost(causes(&*error))
        }
    })?;
    let trailers = collected.trailers().cloned().unwrap_or_else(HeaderMap::new);
    let body = collected.to_bytes();
    match protocol {
        Protocol::Grpc => Reply::grpc(&head, &trailers, body),
        Protocol::HttpJson | Protocol::HttpBinary => Ok(Reply::http(&head, body)),
    }
}

/// An error's words with those of its causes.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
