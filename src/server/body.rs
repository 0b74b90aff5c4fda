//! Bodies on their way through: a request's is bounded in size and time, an answer's says when it
//! was handed over.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use super::state::State;
use super::traffic::Slot;

/// Why the body of a request did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than it may be.
    #[error("the body is longer than {limit} bytes, the most this server takes")]
    TooLong {
        /// Most bytes there may be.
        limit: usize,
    },
    /// It did not arrive in time.
    #[error("the body did not arrive within {} s", .limit.as_secs_f64())]
    TooSlow {
        /// Longest it may take.
        limit: Duration,
    },
    /// It broke off, or is not what its head says.
    #[error("the body broke off: {0}")]
    Broken(#[from] hyper::Error),
}

/// What bounds the body of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    /// Most bytes.
    pub(super) bytes: usize,
    /// Longest time until all of it is there; `None` for streams without an end.
    pub(super) patience: Option<Duration>,
}

/// The body of a request.
pub(super) struct RequestBody {
    inner: Incoming,
    limits: BodyLimits,
    left: usize,
    timer: Option<Pin<Box<Sleep>>>,
    state: Arc<State>,
    ended: bool,
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, limits: BodyLimits, state: Arc<State>) -> Self {
        let ended = inner.is_end_stream();
        Self { inner, limits, left: limits.bytes, timer: None, state, ended }
    }

    fn count(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        self.left =
            self.left.checked_sub(bytes).ok_or(BodyError::TooLong { limit: self.limits.bytes })?;
        Ok(frame)
    }

    fn overdue(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let Some(limit) = self.limits.patience else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        timer.as_mut().poll(cx).map(|()| BodyError::TooSlow { limit })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let frame = self.count(frame);
                self.ended = frame.is_ok() && self.inner.is_end_stream();
                Poll::Ready(Some(frame))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Ready(Some(Err(ready!(self.overdue(cx))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.ended {
            self.state.set_unread();
        }
    }
}

/// One request on a connection, from its head to the end of its answer.
pub(super) struct Visit {
    state: Arc<State>,
    slot: Option<Slot>,
}

impl Visit {
    pub(super) fn begin(state: Arc<State>) -> Self {
        state.request_began();
        Self { state, slot: None }
    }

    /// It was let in.
    pub(super) fn let_in(&mut self, slot: Slot) {
        self.slot = Some(slot);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.state.request_ended();
    }
}

/// The body of an answer.
pub(super) struct Answer {
    inner: axum::body::Body,
    /// Ends when the last of the body was handed over, or will not be.
    _visit: Visit,
}

impl Answer {
    pub(super) fn new(inner: axum::body::Body, visit: Visit) -> Self {
        Self { inner, _visit: visit }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
