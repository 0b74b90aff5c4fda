//! [`Pending`]: a request that was taken, and the way to its answer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::batcher::Batcher;
use super::{InferError, InferResponse};

/// What a request comes to.
pub(super) type Answer = Result<InferResponse, InferError>;

/// A request that was taken. Dropping it before the answer cancels it.
pub struct Pending {
    /// `None` once the answer was taken.
    answer: Option<oneshot::Receiver<Answer>>,
    batcher: Arc<Batcher>,
}

impl Pending {
    pub(super) fn new(answer: oneshot::Receiver<Answer>, batcher: Arc<Batcher>) -> Self {
        Self { answer: Some(answer), batcher }
    }

    /// Waits for the answer on this thread, which must not be one of an async runtime.
    pub fn wait(mut self) -> Answer {
        let answer = self.answer.take().and_then(|answer| answer.blocking_recv().ok());
        answer.unwrap_or(Err(InferError::Cancelled))
    }
}

impl Future for Pending {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let Some(answer) = &mut self.answer else { return Poll::Ready(Err(InferError::Cancelled)) };
        Pin::new(answer).poll(cx).map(|answer| {
            self.answer = None;
            answer.unwrap_or(Err(InferError::Cancelled))
        })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // Closed first: whoever hears of it looks for closed ones.
        if self.answer.take().is_some() {
            self.batcher.queue.note_cancelled();
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("model", &self.batcher.model).finish_non_exhaustive()
    }
}
