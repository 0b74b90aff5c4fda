//! [`PendingInference`]: a request that was submitted, to be awaited or waited for.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use crate::runtime::{InferError, Pending};
use crate::tensor::TensorSpec;

use super::output::{Inference, Latency};

/// A request on its way, whether anybody waits for it or not. It is a future for any executor;
/// dropping it cancels the request, unless it runs already.
#[must_use = "dropping it cancels the request"]
pub struct PendingInference {
    /// An error is the one it was refused with; `None` once it was told.
    submitted: Result<Pending, Option<InferError>>,
    specs: Arc<[TensorSpec]>,
    since: Instant,
}

impl PendingInference {
    pub(super) fn new(
        submitted: Result<Pending, InferError>,
        specs: &Arc<[TensorSpec]>,
        since: Instant,
    ) -> Self {
        Self { submitted: submitted.map_err(Some), specs: Arc::clone(specs), since }
    }

    /// Waits for the result on this thread. Inside an async runtime, `.await` is better: this blocks
    /// the thread there as everywhere.
    pub fn wait(self) -> Result<Inference, InferError> {
        // Inside tokio, a future may be told to yield to others, which this thread does not do.
        let mut future = std::pin::pin!(tokio::task::unconstrained(self));
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return result;
            }
            std::thread::park();
        }
    }
}

impl Future for PendingInference {
    type Output = Result<Inference, InferError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { submitted, specs, since } = self.get_mut();
        match submitted {
            Err(refused) => Poll::Ready(Err(refused.take().unwrap_or(InferError::Cancelled))),
            Ok(pending) => Pin::new(pending).poll(cx).map_ok(|response| {
                let latency = Latency::new(response.times, since.elapsed());
                Inference::new(specs, response.outputs, latency, response.batch)
            }),
        }
    }
}

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
