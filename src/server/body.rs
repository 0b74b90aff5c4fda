//! Bodies on their way through: a request's has its time, an answer's says when it
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

/// The body of a request.
pub(super) struct RequestBody {
    inner: Incoming,
    /// Longest time until all of it is there; `None` for streams without an end.
    patience: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    state: Arc<State>,
    ended: bool,
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, patience: Option<Duration>, state: Arc<State>) -> Self {
        let ended = inner.is_end_stream();
        Self { inner, patience, timer: None, state, ended }
    }

    fn overdue(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let Some(limit) = self.patience else { return Poll::Pending };
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
                self.ended = self.inner.is_end_stream();
                Poll::Ready(Some(Ok(frame)))
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
