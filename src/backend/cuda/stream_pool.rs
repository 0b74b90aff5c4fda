//! [`StreamPool`]: the streams of a device, lent one at a time.

use std::fmt;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::context::Context;
use super::error::CudaError;
use super::stream::Stream;

/// Streams of a device that many threads share, each for itself while it is lent.
///
/// Lending never waits: where all streams are lent, another one is made and kept, up to
/// [`StreamPool::MOST`]. The first time is told as a warning, since making one takes far longer than
/// lending one, and since a device works on few streams at once.
///
/// ```no_run
/// use trt_pipeline::backend::cuda::{Context, CudaError, DeviceBuffer, Ledger, StreamPool};
///
/// # fn main() -> Result<(), CudaError> {
/// let (context, ledger) = (Context::new(0)?, Ledger::new());
/// let pool = StreamPool::new(&context, 4)?;
/// let buffer = DeviceBuffer::new(&context, &ledger, 1024)?;
/// let stream = pool.lend()?;
/// stream.scope(|work| work.fill(&buffer, 0))
/// # }
/// ```
pub struct StreamPool {
    context: Context,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: Vec<Stream>,
    statistics: StreamPoolStatistics,
    has_warned: bool,
}

/// What a [`StreamPool`] has and had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamPoolStatistics {
    /// Streams there are.
    pub streams: usize,
    /// Streams that are lent.
    pub lent: usize,
    /// Most streams that were ever lent at once.
    pub peak: usize,
    /// Streams that were made because all others were lent.
    pub grown: usize,
    /// How often a stream was lent.
    pub leases: u64,
}

impl StreamPool {
    /// The most streams of a pool; one more is refused.
    pub const MOST: usize = 1024;

    /// A pool with this many streams at first.
    pub fn new(context: &Context, streams: usize) -> Result<Self, CudaError> {
        if streams > Self::MOST {
            return Err(CudaError::NoStream { limit: Self::MOST });
        }
        let idle = (0..streams).map(|_| Stream::new(context)).collect::<Result<_, _>>()?;
        let statistics = StreamPoolStatistics { streams, ..StreamPoolStatistics::default() };
        Ok(Self {
            context: context.clone(),
            state: Mutex::new(State { idle, statistics, has_warned: false }),
        })
    }

    /// Lends a stream until the guard is dropped. Work that was submitted to it by then is still
    /// done, before that of whoever gets it next.
    pub fn lend(&self) -> Result<PooledStream<'_>, CudaError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let statistics = &mut state.statistics;
        let is_grown = statistics.lent == statistics.streams;
        if is_grown && statistics.streams >= Self::MOST {
            return Err(CudaError::NoStream { limit: Self::MOST });
        }
        if is_grown {
            statistics.streams += 1;
            statistics.grown += 1;
        }
        statistics.lent += 1;
        statistics.peak = statistics.peak.max(statistics.lent);
        statistics.leases += 1;
        let warns = is_grown && !std::mem::replace(&mut state.has_warned, is_grown);
        let idle = state.idle.pop();
        drop(guard);
        if warns {
            let device = self.context.ordinal();
            tracing::warn!(device, "all CUDA streams of a pool are lent: it makes more");
        }
        let stream = match idle {
            Some(stream) => Ok(stream),
            None => Stream::new(&self.context).inspect_err(|_| {
                let statistics = &mut self.lock().statistics;
                statistics.streams -= 1;
                statistics.grown -= 1;
                statistics.lent -= 1;
            }),
        };
        Ok(PooledStream { pool: self, stream: Some(stream?) })
    }

    /// What it has and had.
    pub fn statistics(&self) -> StreamPoolStatistics {
        self.lock().statistics
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for StreamPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("StreamPool");
        debug.field("context", &self.context).field("statistics", &self.statistics()).finish()
    }
}

/// A stream, lent until this is dropped.
#[derive(Debug)]
pub struct PooledStream<'a> {
    pool: &'a StreamPool,
    /// `None` once it is given back.
    stream: Option<Stream>,
}

impl Deref for PooledStream<'_> {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        self.stream.as_ref().expect("only dropping the guard gives the stream back")
    }
}

impl Drop for PooledStream<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.idle.extend(self.stream.take());
        state.statistics.lent -= 1;
    }
}
