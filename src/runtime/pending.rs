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
    duty: Duty,
}

/// What is to be done so that the request runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Duty {
    /// Nothing: a thread does it.
    None,
    /// To help, after others that are about to submit had their chance to join the batch.
    Yield,
    /// To help.
    Help,
}

impl Pending {
    /// `is_left` says that no thread was called to run it.
    pub(super) fn new(
        answer: oneshot::Receiver<Answer>,
        batcher: Arc<Batcher>,
        is_left: bool,
    ) -> Self {
        let duty = if is_left { Duty::Yield } else { Duty::None };
        Self { answer: Some(answer), batcher, duty }
    }

    /// Waits for the answer on this thread, which must not be one of an async runtime.
    pub fn wait(mut self) -> Answer {
        self.call();
        let answer = self.answer.take().and_then(|answer| answer.blocking_recv().ok());
        answer.unwrap_or(Err(InferError::Cancelled))
    }

    /// Has a thread do what was left to this one.
    fn call(&mut self) {
        if std::mem::replace(&mut self.duty, Duty::None) != Duty::None {
            self.batcher.queue.call();
        }
    }
}

impl Future for Pending {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let Self { answer: place, batcher, duty } = self.get_mut();
        let Some(answer) = place else { return Poll::Ready(Err(InferError::Cancelled)) };
        if *duty == Duty::Help {
            *duty = Duty::None;
            if answer.is_empty() {
                batcher.help(|| !answer.is_empty());
            }
        }
        let polled = Pin::new(answer).poll(cx);
        match polled {
            Poll::Pending => {
                if *duty == Duty::Yield {
                    *duty = Duty::Help;
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
            Poll::Ready(answer) => {
                (*place, *duty) = (None, Duty::None);
                Poll::Ready(answer.unwrap_or(Err(InferError::Cancelled)))
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // Closed first: whoever hears of it looks for closed ones.
        if self.answer.take().is_some() {
            self.batcher.queue.note_cancelled();
            self.call();
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("model", &self.batcher.model).finish_non_exhaustive()
    }
}
