//! [`compare`]: two engines that run in turns in this process, and which of them is faster.
//!
//! Rounds are A B, B A, A B, ..: what slows the machine down for a while slows both, and neither is
//! always the one that finds it cool. The answer rests on the ratios within rounds.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

use serde::Serialize;

use crate::backend::{EngineManifest, EngineMemory, tensorrt};
use crate::process::CancelToken;
use crate::progress::{NoProgress, Progress};
use crate::tensor::Shape;
use crate::times::Ratio;

use super::clocks::ClocksSeen;
use super::engine_loop::{EngineLoop, Place, Setup};
use super::overhead::Spread;
use super::{BenchError, InputChoice, InputReport, Load, Totals, tools};

/// An engine to compare.
#[derive(Debug, Clone, Copy)]
pub struct Contender<'a> {
    /// Its folder.
    pub folder: &'a Path,
    /// What its folder says of it.
    pub manifest: &'a EngineManifest,
}

/// Two engines beside each other.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The engines, in the order in which they were named.
    pub engines: [ComparedEngine; 2],
    /// What went into both.
    pub inputs: Vec<InputReport>,
    /// The data file; `None` where the inputs are random.
    pub data: Option<String>,
    /// Open axes that were taken as 1.
    pub assumed: Vec<String>,
    /// Contexts of each engine, on all devices.
    pub contexts: usize,
    /// Samples of one run, where axis 0 of every input counts the same.
    pub samples_per_run: Option<usize>,
    /// Rounds in which both ran to the end of their turns.
    pub rounds: usize,
    /// How long each turn was.
    pub turn_seconds: f64,
    /// How sure the ranges of the ratios are.
    pub confidence: f64,
    /// What was measured.
    pub metrics: Metrics,
    /// Which has the higher throughput.
    pub verdict: Verdict,
    /// Whether it was told to stop early.
    pub interrupted: bool,
}

/// One of two engines.
#[derive(Debug, Clone, Serialize)]
pub struct ComparedEngine {
    /// The backend that ran it.
    pub backend: String,
    /// The library that made a TensorRT engine, and the GPU it was made on.
    pub made_by: Option<String>,
    /// Versions of what ran it, and the machine.
    pub tools: BTreeMap<String, String>,
    /// Reading the engine and making it ready, on all devices.
    pub load_ms: f64,
    /// The first run of the first context.
    pub first_run_ms: f64,
    /// Runs that count, of all rounds.
    pub runs: usize,
    /// What engine and contexts hold on all devices, where the backend counts it.
    pub memory: Option<EngineMemory>,
    /// What the clocks of its devices did in its turns, where they are GPUs that tell.
    pub clocks: Vec<DeviceClocks>,
}

/// What the clocks of a device did.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceClocks {
    /// Its number, where it was named.
    pub device: Option<usize>,
    /// While runs counted.
    #[serde(flatten)]
    pub seen: ClocksSeen,
}

/// What was measured of two engines, over the rounds.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Metrics {
    pub runs_per_second: Compared,
    pub run_p50_ms: Compared,
    pub run_p99_ms: Compared,
    pub upload_p50_ms: Compared,
    pub compute_p50_ms: Compared,
    pub download_p50_ms: Compared,
}

/// One value of two engines.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Compared {
    /// Of the first.
    pub first: Spread,
    /// Of the second.
    pub second: Spread,
    /// The second over the first, round by round; `None` where there are too few rounds to tell,
    /// or nothing to divide by.
    pub ratio: Option<Ratio>,
}

/// Which engine is faster, as far as the ratio's range tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The whole range is below 1.
    FirstFaster,
    /// The whole range is above 1.
    SecondFaster,
    /// The range holds 1: more or longer rounds may find one.
    NoDifferenceFound,
    /// There is no range.
    TooFewRounds,
}

impl Verdict {
    fn of(throughput: Option<Ratio>) -> Self {
        match throughput {
            None => Self::TooFewRounds,
            Some(ratio) if ratio.low > 1.0 => Self::SecondFaster,
            Some(ratio) if ratio.high < 1.0 => Self::FirstFaster,
            Some(_) => Self::NoDifferenceFound,
        }
    }
}

/// Loads two engines and runs them in turns, each turn with this load, on the inputs of the first.
pub fn compare(
    contenders: [Contender<'_>; 2],
    setup: Setup<'_>,
    load: Load,
    rounds: NonZeroUsize,
    progress: &dyn Progress,
    cancel: &CancelToken,
) -> Result<Comparison, BenchError> {
    let [first, second] = contenders;
    let ready = |contender: Contender<'_>, setup| {
        EngineLoop::new(contender.folder, contender.manifest, setup, progress, cancel)
    };
    let one = ready(first, setup)?;
    let shapes = shapes(&one);
    let inputs = InputChoice { shapes: &shapes, batch: None, ..setup.inputs };
    refuse_other_inputs(contenders)?;
    let mut engines = [one, ready(second, Setup { inputs, ..setup })?];
    let mut seen =
        engines.each_ref().map(|engine| vec![ClocksSeen::default(); engine.places.len()]);
    let mut totals: Vec<[Totals; 2]> = Vec::new();
    for round in 0..rounds.get() {
        let mut turn = |at: usize| {
            progress.report(&format!("round {} of {rounds}", round + 1), 0, None);
            let turn = engines[at].turn(load, &NoProgress, cancel)?;
            for (seen, clocks) in seen[at].iter_mut().zip(turn.clocks) {
                seen.merge(clocks.map(|clocks| clocks.during).unwrap_or_default());
            }
            Ok::<_, BenchError>(Totals::of(&turn.runs))
        };
        let pair = if round % 2 == 0 {
            [turn(0)?, turn(1)?]
        } else {
            let second = turn(1)?;
            [turn(0)?, second]
        };
        if cancel.is_cancelled() {
            break;
        }
        totals.push(pair);
    }
    let metrics = Metrics::of(&totals).ok_or(BenchError::Interrupted)?;
    let [one, two] = &engines;
    let report = |at: usize, engine: &EngineLoop| {
        let runs = totals.iter().map(|pair| pair[at].runs).sum();
        ComparedEngine::new(contenders[at].manifest, engine, runs, &seen[at])
    };
    Ok(Comparison {
        engines: [report(0, one), report(1, two)],
        inputs: one.feed.describe(one.engine().inputs()),
        data: setup.inputs.data.map(|data| data.path().display().to_string()),
        assumed: one.feed.chosen.assumed.clone(),
        contexts: one.contexts.len(),
        samples_per_run: one.feed.samples(),
        rounds: totals.len(),
        turn_seconds: load.duration.as_secs_f64(),
        confidence: Ratio::CONFIDENCE,
        verdict: Verdict::of(metrics.runs_per_second.ratio),
        metrics,
        interrupted: cancel.is_cancelled(),
    })
}

/// The shapes that an engine runs on.
fn shapes(engine: &EngineLoop) -> BTreeMap<String, Shape> {
    let names = engine.engine().inputs().iter().map(|input| input.name.clone());
    names.zip(engine.feed.chosen.shapes.iter().cloned()).collect()
}

/// Fails where one has an input that the other has not.
fn refuse_other_inputs([first, second]: [Contender<'_>; 2]) -> Result<(), BenchError> {
    for (one, other) in [(first, second), (second, first)] {
        let others = &other.manifest.inputs;
        let is_alone = |name: &str| others.iter().all(|input| input.name != name);
        if let Some(input) = one.manifest.inputs.iter().find(|input| is_alone(&input.name)) {
            let (path, input) = (one.folder.to_owned(), input.name.clone());
            return Err(BenchError::OtherInputs { path, input });
        }
    }
    Ok(())
}

impl ComparedEngine {
    fn new(
        manifest: &EngineManifest,
        engine: &EngineLoop,
        runs: usize,
        seen: &[ClocksSeen],
    ) -> Self {
        let load_ms = |place: &Place| place.load.as_secs_f64() * 1e3;
        let places = || engine.places.iter();
        let told = places().zip(seen).filter(|(_, seen)| !seen.is_empty());
        let clocks =
            told.map(|(place, seen)| DeviceClocks { device: place.device, seen: seen.clone() });
        Self {
            backend: manifest.backend.clone(),
            made_by: manifest.tensorrt.as_ref().map(tensorrt::EngineFacts::maker),
            tools: tools(engine.backend),
            load_ms: places().map(load_ms).sum(),
            first_run_ms: engine.first_run.as_secs_f64() * 1e3,
            runs,
            memory: places().filter_map(|place| place.engine.memory()).reduce(|sum, m| sum + m),
            clocks: clocks.collect(),
        }
    }
}

impl Metrics {
    /// Over the rounds; `None` where there is none.
    fn of(rounds: &[[Totals; 2]]) -> Option<Self> {
        let over = |value: fn(&Totals) -> f64| {
            let of = |at: usize| Spread::of(rounds.iter().map(|pair| value(&pair[at])));
            let (first, second) = (of(0)?, of(1)?);
            let ratios = rounds.iter().map(|[first, second]| value(second) / value(first));
            let ratio = (first.min > 0.0).then(|| Ratio::of(ratios)).flatten();
            Some(Compared { first, second, ratio })
        };
        Some(Self {
            runs_per_second: over(|totals| totals.runs_per_second)?,
            run_p50_ms: over(|totals| totals.latency.run.p50_ms)?,
            run_p99_ms: over(|totals| totals.latency.run.p99_ms)?,
            upload_p50_ms: over(|totals| totals.latency.upload.p50_ms)?,
            compute_p50_ms: over(|totals| totals.latency.compute.p50_ms)?,
            download_p50_ms: over(|totals| totals.latency.download.p50_ms)?,
        })
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact in binary")]
mod tests {
    use super::*;
    use crate::bench::Run;

    /// A round in which the engines take so many nanoseconds a run.
    fn round(times: [u64; 2]) -> [Totals; 2] {
        times.map(|took| {
            let run = |at| Run {
                started: at * took,
                took,
                upload: 0,
                compute: took,
                download: 0,
                late: 0,
            };
            Totals::of(&[(0..4).map(run).collect()])
        })
    }

    fn verdict(rounds: impl IntoIterator<Item = [u64; 2]>) -> (Verdict, Option<Ratio>) {
        let rounds: Vec<_> = rounds.into_iter().map(round).collect();
        let ratio = Metrics::of(&rounds).unwrap().runs_per_second.ratio;
        (Verdict::of(ratio), ratio)
    }

    #[test]
    fn the_engine_that_is_faster_in_every_round_is_found_whatever_slows_both() {
        // Each round twice as slow as the last.
        let slower = |times: [u64; 2]| (0..8).map(move |round| times.map(|time| time << round));
        let (found, ratio) = verdict(slower([2000, 1000]));
        assert_eq!((found, ratio.unwrap().median.round()), (Verdict::SecondFaster, 2.0));
        assert_eq!(verdict(slower([1000, 1250])).0, Verdict::FirstFaster);
    }

    #[test]
    fn engines_that_win_in_turns_do_not_differ() {
        let rounds = (0..10).map(|round| if round % 2 == 0 { [100, 101] } else { [101, 100] });
        assert_eq!(verdict(rounds).0, Verdict::NoDifferenceFound);
    }

    #[test]
    fn of_few_rounds_nothing_is_said() {
        assert_eq!(verdict([[2000, 1000]; 6]), (Verdict::TooFewRounds, None));
        assert!(Metrics::of(&[]).is_none());
    }

    #[test]
    fn a_part_that_takes_no_time_has_no_ratio() {
        let rounds: Vec<_> = (0..7).map(|_| round([10, 20])).collect();
        let metrics = Metrics::of(&rounds).unwrap();
        assert_eq!(metrics.upload_p50_ms.ratio, None);
        assert_eq!(metrics.compute_p50_ms.ratio.unwrap().median, 2.0);
    }
}
