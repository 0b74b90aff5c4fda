//! [`Samples`]: a few recent requests of a model, kept to run them on its next version.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::deployment::ReloadConfig;
use crate::runtime::{InferRequest, InputTensor};

/// How long nothing is recorded after a sample of no size, once there are as many as may be; the
/// last 32 then stand for some seconds of traffic rather than for one burst.
const PAUSE: Duration = Duration::from_millis(100);

/// A sample of this size doubles the pause after it: copying stays below 1 % of a core.
const DOUBLING_BYTES: u64 = 1 << 20;

/// While recording is off.
const NEVER: u64 = u64::MAX;

/// What a request asked of the model.
#[derive(Debug)]
pub(in crate::runtime) struct Sample {
    /// One per input of the model, in its order.
    pub(in crate::runtime) inputs: Vec<InputTensor>,
    bytes: usize,
}

/// A ring of recent requests, bounded in number and bytes. Recording takes a clock and one load
/// of a number from nearly every request, and never waits.
#[derive(Debug)]
pub struct Samples {
    most: usize,
    most_bytes: usize,
    epoch: Instant,
    /// When to record again, in nanoseconds since `epoch`; claimed by exchanging it.
    due: AtomicU64,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    samples: VecDeque<Arc<Sample>>,
    bytes: usize,
}

impl Samples {
    /// An empty ring.
    pub fn new(config: &ReloadConfig) -> Self {
        let off = config.samples == 0 || config.sample_bytes == 0;
        Self {
            most: config.samples,
            most_bytes: config.sample_bytes,
            epoch: Instant::now(),
            due: AtomicU64::new(if off { NEVER } else { 0 }),
            ring: Mutex::default(),
        }
    }

    /// Records a request that the model took, if it is time for one. The bytes are copied: what
    /// they are a part of may be far larger.
    pub fn offer(&self, request: &InferRequest, now: Instant) {
        let due = self.due.load(Ordering::Relaxed);
        let now = nanoseconds(now.saturating_duration_since(self.epoch));
        if now < due {
            return;
        }
        let bytes = request.inputs.iter().map(|input| input.bytes.len()).sum();
        let doublings = 1 + bytes as u64 / DOUBLING_BYTES;
        let next = now.saturating_add(nanoseconds(PAUSE).saturating_mul(doublings)).min(NEVER - 1);
        let claimed = self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        if claimed.is_err() || bytes > self.most_bytes {
            return;
        }
        let copy = |input: &InputTensor| InputTensor {
            shape: input.shape.clone(),
            bytes: Bytes::copy_from_slice(&input.bytes),
        };
        let inputs = request.inputs.iter().map(copy).collect();
        let Ok(mut ring) = self.ring.try_lock() else { return };
        if !ring.push(Arc::new(Sample { inputs, bytes }), self.most, self.most_bytes) {
            // There is room for more, so none of the next few is passed over.
            let _ = self.due.compare_exchange(next, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// The samples, oldest first.
    pub(in crate::runtime) fn recent(&self) -> Vec<Arc<Sample>> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.samples.iter().cloned().collect()
    }

    /// Takes over what another version recorded, in place of all that is there.
    pub(in crate::runtime) fn inherit(&self, samples: Vec<Arc<Sample>>) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        *ring = Ring::default();
        for sample in samples.into_iter().filter(|sample| sample.bytes <= self.most_bytes) {
            ring.push(sample, self.most, self.most_bytes);
        }
    }

    /// Records nothing until the guard is dropped: samples that are run again are not new ones.
    pub(in crate::runtime) fn pause(&self) -> Paused<'_> {
        Paused { samples: self, due: self.due.swap(NEVER, Ordering::Relaxed) }
    }
}

/// See [`Samples::pause`].
pub(in crate::runtime) struct Paused<'a> {
    samples: &'a Samples,
    due: u64,
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.samples.due.store(self.due, Ordering::Relaxed);
    }
}

impl Ring {
    /// Adds a sample in place of the oldest ones; says whether the ring is full.
    fn push(&mut self, sample: Arc<Sample>, most: usize, most_bytes: usize) -> bool {
        if most == 0 {
            return true;
        }
        self.bytes += sample.bytes;
        self.samples.push_back(sample);
        let mut full = self.samples.len() == most;
        while self.samples.len() > most || self.bytes > most_bytes {
            full = true;
            self.bytes -= self.samples.pop_front().map_or(0, |oldest| oldest.bytes);
        }
        full
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use crate::tensor::Shape;

    use super::*;

    fn request(bytes: usize, value: u8) -> InferRequest {
        let bytes = Bytes::from(vec![value; bytes]);
        let inputs = vec![InputTensor { shape: Shape(vec![bytes.len()]), bytes }];
        InferRequest { inputs, outputs: vec![0], priority: None, deadline: None }
    }

    fn config(samples: usize, sample_bytes: usize) -> ReloadConfig {
        ReloadConfig { samples, sample_bytes, ..ReloadConfig::default() }
    }

    fn values(samples: &Samples) -> Vec<u8> {
        samples.recent().iter().map(|sample| sample.inputs[0].bytes[0]).collect()
    }

    #[test]
    fn the_first_requests_are_all_kept_and_later_ones_now_and_then() {
        let samples = Samples::new(&config(3, 1000));
        let start = Instant::now();
        for value in 0..10 {
            samples.offer(&request(4, value), start);
        }
        assert_eq!(values(&samples), [0, 1, 2]);
        samples.offer(&request(4, 50), start + PAUSE / 2);
        assert_eq!(values(&samples), [0, 1, 2]);
        samples.offer(&request(4, 60), start + PAUSE * 2);
        samples.offer(&request(4, 61), start + PAUSE * 2);
        assert_eq!(values(&samples), [1, 2, 60]);
    }

    #[test]
    fn bytes_are_bounded_and_a_request_beyond_them_is_left_out() {
        let samples = Samples::new(&config(100, 10));
        let mut now = Instant::now();
        for (value, bytes) in [(1, 4), (2, 4), (3, 11), (4, 4), (5, 10)] {
            samples.offer(&request(bytes, value), now);
            now += PAUSE * 2;
            let ring = samples.ring.lock().unwrap();
            assert!(ring.bytes <= 10);
            assert_eq!(ring.bytes, ring.samples.iter().map(|sample| sample.bytes).sum::<usize>());
        }
        assert_eq!(values(&samples), [5]);
    }

    #[test]
    fn a_large_sample_is_followed_by_a_longer_pause() {
        let samples = Samples::new(&config(1, 16 << 20));
        let start = Instant::now();
        samples.offer(&request(8 << 20, 1), start);
        samples.offer(&request(4, 2), start + PAUSE * 8);
        assert_eq!(values(&samples), [1]);
        samples.offer(&request(4, 3), start + PAUSE * 10);
        assert_eq!(values(&samples), [3]);
    }

    #[test]
    fn nothing_is_kept_while_paused_or_where_none_are_wanted() {
        let samples = Samples::new(&config(4, 1000));
        let paused = samples.pause();
        samples.offer(&request(4, 1), Instant::now());
        drop(paused);
        samples.offer(&request(4, 2), Instant::now());
        assert_eq!(values(&samples), [2]);
        for off in [config(0, 1000), config(4, 0)] {
            let none = Samples::new(&off);
            none.offer(&request(4, 1), Instant::now());
            none.inherit(samples.recent());
            assert_eq!(values(&none), [0; 0]);
        }
    }

    #[test]
    fn the_bytes_kept_are_not_those_of_the_whole_body() {
        let body = Bytes::from(vec![7; 1 << 20]);
        let mut request = request(4, 0);
        request.inputs[0].bytes = body.slice(100..104);
        let samples = Samples::new(&config(4, 1000));
        samples.offer(&request, Instant::now());
        drop(request);
        assert!(body.is_unique(), "the sample holds the body");
    }
}
