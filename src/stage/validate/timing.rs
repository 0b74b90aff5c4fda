//! Times runs on the first samples: of one engine alone, or of two in turns.

use std::time::Duration;

use crate::backend::{self, Backend, cuda::Slot};
use crate::stage::assess::{BatchSizes, Runnable, Watch, setting};
use crate::stage::{StageContext, StageError};
use crate::times::{Ratio, Times};

use super::report::Subject;
use super::settings::Latency;

/// How many blocks there are at most; each takes a little longer for the run that warms it.
const MOST_BLOCKS: usize = 20;

/// The shortest time a run counts as, in milliseconds: what clocks tell apart.
const TICK: f64 = 1e-6;

/// What was measured.
pub(super) struct Timing {
    pub(super) times: Times,
    pub(super) other: Option<OtherTiming>,
}

/// The times of the engine it is held against.
pub(super) struct OtherTiming {
    pub(super) times: Times,
    /// The tested engine's time as a multiple of this one's.
    pub(super) ratio: Ratio,
    pub(super) blocks: usize,
    /// The medians, in milliseconds, of the tested engine and of the other in the block whose ratio
    /// is nearest to that.
    pub(super) nearest: [f64; 2],
}

/// The GPU that the engines run on, for this measurement alone.
pub(super) fn slot<'a>(
    mut subjects: impl Iterator<Item = &'a Subject>,
    cx: &StageContext<'_>,
) -> Result<Option<Slot>, StageError> {
    let on_device = |subject: &Subject| {
        let backend = subject.backend.as_deref().and_then(|name| backend::by_name(name).ok());
        backend.is_some_and(Backend::has_devices)
    };
    if !subjects.any(on_device) {
        return Ok(None);
    }
    cx.progress.report("waiting for the GPU", 0, None);
    match Slot::take(cx.kept, 0, cx.cancel).map_err(StageError::io("lock the GPU in", cx.kept))? {
        Some(slot) => Ok(Some(slot)),
        None => Err(StageError::Cancelled),
    }
}

/// Times the tested engine, in turns with the other where there is one.
pub(super) fn measure<'a>(
    latency: &Latency,
    tested: &mut Runnable<'a>,
    other: Option<&mut Runnable<'a>>,
    samples: usize,
    watch: Watch<'_>,
) -> Result<Timing, StageError> {
    check_batch(latency, tested, "the engine", samples)?;
    if let Some(other) = other {
        check_batch(latency, other, "the engine of `at_least_as_fast_as`", samples)?;
        return in_turns(latency, tested, other, watch);
    }
    let Latency { warmup, runs, .. } = latency;
    let mut turn = Turn::new(tested, latency)?;
    let mut steps = Steps { watch, done: 0, total: warmup.saturating_add(runs.value) };
    turn.warm(warmup.value, &mut steps)?;
    turn.block(runs.value, &mut steps)?;
    Ok(Timing { times: Times::new(turn.times), other: None })
}

fn check_batch(
    latency: &Latency,
    runnable: &Runnable<'_>,
    who: &str,
    samples: usize,
) -> Result<(), StageError> {
    let batch = latency.batch.value;
    let sizes = BatchSizes::of_engine(runnable.engine.as_ref());
    if !sizes.takes(batch) {
        let message = format!("`latency.batch` is {batch}, {who} takes batches of {sizes}");
        let help = "name a size that it takes, or build it with other profiles".to_owned();
        return Err(setting(message, latency.batch.span, Some(help)));
    }
    if batch > samples {
        let message = format!("`latency.batch` is {batch}, the data has {samples} samples");
        let help = "lower it, or give more samples".to_owned();
        return Err(setting(message, latency.batch.span, Some(help)));
    }
    Ok(())
}

/// Both run block after block; who goes first changes from block to block.
fn in_turns<'a>(
    latency: &Latency,
    tested: &mut Runnable<'a>,
    other: &mut Runnable<'a>,
    watch: Watch<'_>,
) -> Result<Timing, StageError> {
    let runs = latency.runs.value;
    let blocks = runs.clamp(1, MOST_BLOCKS);
    let each = latency.warmup.saturating_add(runs).saturating_add(blocks);
    let mut steps = Steps { watch, done: 0, total: each.saturating_mul(2) };
    let mut turns = [Turn::new(tested, latency)?, Turn::new(other, latency)?];
    for turn in &mut turns {
        turn.warm(latency.warmup.value, &mut steps)?;
    }
    let mut found: Vec<[f64; 2]> = Vec::with_capacity(blocks);
    for block in 0..blocks {
        let count = runs / blocks + usize::from(block < runs % blocks);
        let mut medians = [0.0; 2];
        for place in 0..2 {
            let who = (block + place) % 2;
            // The other's run took this one's data and code out of the caches.
            turns[who].warm(1, &mut steps)?;
            medians[who] = turns[who].block(count, &mut steps)?.max(TICK);
        }
        found.push(medians);
    }
    let of = |[tested, other]: &[f64; 2]| tested / other;
    let ratio = Ratio::of(found.iter().map(of)).ok_or_else(|| {
        let message = format!("{runs} runs are too few to compare the times of two engines");
        setting(message, latency.runs.span, Some("leave `latency.runs` at 100".into()))
    })?;
    let distance = |block: &[f64; 2]| (of(block) - ratio.median).abs();
    let nearest = found.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
    let nearest = nearest.copied().unwrap_or_default();
    let [times, other] = turns.map(|turn| Times::new(turn.times));
    Ok(Timing { times, other: Some(OtherTiming { times: other, ratio, blocks, nearest }) })
}

/// One of those that run.
struct Turn<'a, 'b> {
    runnable: &'a mut Runnable<'b>,
    times: Vec<Duration>,
}

impl<'a, 'b> Turn<'a, 'b> {
    fn new(runnable: &'a mut Runnable<'b>, latency: &Latency) -> Result<Self, StageError> {
        runnable.hold(latency.batch.value)?;
        Ok(Self { runnable, times: Vec::new() })
    }

    /// Runs that do not count.
    fn warm(&mut self, runs: usize, steps: &mut Steps<'_>) -> Result<(), StageError> {
        for _ in 0..runs {
            steps.step()?;
            self.runnable.timed_run()?;
        }
        Ok(())
    }

    /// Runs that count; gives their median in milliseconds.
    fn block(&mut self, runs: usize, steps: &mut Steps<'_>) -> Result<f64, StageError> {
        let first = self.times.len();
        for _ in 0..runs {
            steps.step()?;
            let took = self.runnable.timed_run()?;
            self.times.push(took);
        }
        Ok(Times::new(self.times[first..].iter().copied()).percentile(50.0))
    }
}

/// Counts runs for progress.
struct Steps<'a> {
    watch: Watch<'a>,
    done: usize,
    total: usize,
}

impl Steps<'_> {
    fn step(&mut self) -> Result<(), StageError> {
        self.watch.step("latency", self.done, self.total)?;
        self.done += 1;
        Ok(())
    }
}
