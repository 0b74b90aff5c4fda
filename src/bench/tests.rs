//! The loop with contexts that do what a test tells them, and the choice of shapes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::drive::{self, Load, Warmup};
use super::shapes::{Choice, Chosen};
use super::{BenchError, Run, Totals};
use crate::backend::{BackendError, ExecutionContext, Profile, RunTimes, ShapeRange};
use crate::process::CancelToken;
use crate::progress::NoProgress;
use crate::tensor::{DType, Dim, Shape, TensorSpec};

/// Counts its runs, and does something else at one of them.
struct Scripted {
    runs: Arc<AtomicUsize>,
    at: usize,
    then: Then,
}

enum Then {
    Nothing,
    Fail,
    Panic,
    Cancel(CancelToken),
}

impl ExecutionContext for Scripted {
    fn input_mut(&mut self, _: usize, _: &Shape) -> Result<&mut [u8], BackendError> {
        Ok(&mut [])
    }

    fn run(&mut self) -> Result<RunTimes, BackendError> {
        if self.runs.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            match &self.then {
                Then::Nothing => {}
                Then::Fail => return Err(BackendError::Run { reason: "as told".to_owned() }),
                Then::Panic => panic!("as told"),
                Then::Cancel(token) => token.cancel(),
            }
        }
        std::thread::yield_now();
        let part = Duration::from_nanos;
        Ok(RunTimes { upload: part(1), compute: part(20), download: part(3) })
    }

    fn output(&self, _: usize) -> Result<(&Shape, &[u8]), BackendError> {
        Err(BackendError::Run { reason: "there is none".to_owned() })
    }
}

/// Contexts, and how often each has run.
fn contexts<const N: usize>(
    scripts: [(usize, Then); N],
) -> (Vec<Box<dyn ExecutionContext>>, [Arc<AtomicUsize>; N]) {
    let counts: [Arc<AtomicUsize>; N] = std::array::from_fn(|_| Arc::default());
    let each = scripts.into_iter().zip(&counts);
    let contexts = each.map(|((at, then), runs)| {
        Box::new(Scripted { runs: Arc::clone(runs), at, then }) as Box<dyn ExecutionContext>
    });
    (contexts.collect(), counts)
}

/// So many runs that nobody gets there before it is stopped, which takes a few of them.
const ENDLESS: Load =
    Load { warmup: Warmup::Runs(2), runs: 20_000_000, duration: Duration::MAX, schedule: None };

fn was_stopped(count: &AtomicUsize) -> bool {
    count.load(Ordering::SeqCst) < ENDLESS.runs
}

fn run(
    contexts: &mut [Box<dyn ExecutionContext>],
    load: Load,
    cancel: &CancelToken,
) -> Result<Vec<Vec<Run>>, BenchError> {
    Ok(drive::drive(contexts, load, &mut [], &NoProgress, cancel)?.runs)
}

#[test]
fn every_context_runs_as_often_as_asked_and_warm_up_does_not_count() {
    let (mut contexts, counts) = contexts([(0, Then::Nothing), (0, Then::Nothing)]);
    let load = Load { warmup: Warmup::Runs(3), runs: 5, duration: Duration::MAX, schedule: None };
    let runs = run(&mut contexts, load, &CancelToken::default()).unwrap();
    assert_eq!(runs.iter().map(Vec::len).collect::<Vec<_>>(), [5, 5]);
    assert!(counts.iter().all(|count| count.load(Ordering::SeqCst) == 8));
    let parts = |run: &Run| (run.upload, run.compute, run.download);
    assert!(runs.iter().flatten().all(|run| parts(run) == (1, 20, 3)));
    assert!(runs.iter().all(|runs| runs.is_sorted_by_key(|run| run.started)));
}

#[test]
fn with_no_time_at_all_every_context_still_runs_once() {
    let (mut contexts, _) = contexts([(0, Then::Nothing), (0, Then::Nothing)]);
    let load = Load { duration: Duration::ZERO, ..ENDLESS };
    let runs = run(&mut contexts, load, &CancelToken::default()).unwrap();
    assert_eq!(runs.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn a_context_that_fails_ends_the_others_whether_warm_or_not() {
    for at in [1, 7] {
        let (mut contexts, counts) = contexts([(0, Then::Nothing), (at, Then::Fail)]);
        let error = run(&mut contexts, ENDLESS, &CancelToken::default()).unwrap_err();
        assert!(was_stopped(&counts[0]));
        assert_eq!(error.to_string(), "failed to run the engine: as told");
    }
}

#[test]
fn a_context_that_panics_ends_the_others_and_the_panic_goes_on() {
    for at in [1, 7] {
        let (mut contexts, counts) = contexts([(0, Then::Nothing), (at, Then::Panic)]);
        let attempt = || run(&mut contexts, ENDLESS, &CancelToken::default());
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(attempt)).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"as told"));
        assert!(was_stopped(&counts[0]));
    }
}

#[test]
fn cancelling_keeps_what_was_measured_until_then() {
    let token = CancelToken::default();
    let (mut contexts, _) = contexts([(12, Then::Cancel(token.clone()))]);
    let runs = run(&mut contexts, ENDLESS, &token).unwrap();
    assert_eq!(runs[0].len(), 10, "two of the twelve were warm-up");
    let token = CancelToken::default();
    let (mut contexts, _) = self::contexts([(1, Then::Cancel(token.clone()))]);
    assert_eq!(run(&mut contexts, ENDLESS, &token).unwrap(), [[]]);
}

#[test]
#[expect(clippy::float_cmp, reason = "these values are exact in binary")]
fn throughput_is_that_of_all_contexts_from_the_first_start_to_the_last_end() {
    let run = |started, took| Run { started, took, upload: 0, compute: took, download: 0, late: 0 };
    let half = 500_000_000;
    let totals = Totals::of(&[
        vec![run(half, half), run(2 * half, half)],
        vec![run(half, 2 * half), run(3 * half, 2 * half)],
    ]);
    assert_eq!((totals.runs, totals.seconds, totals.runs_per_second), (4, 2.0, 2.0));
    assert_eq!(totals.samples_per_second(8), 16.0);
    let latency = &totals.latency;
    assert_eq!(
        (latency.run.p50_ms, latency.run.p99_ms, latency.run.iqr_ms),
        (500.0, 1000.0, 500.0)
    );
    assert_eq!((latency.upload.max_ms, latency.compute.mean_ms), (0.0, 750.0));
    assert!(totals.noisy);
}

fn spec(name: &str, dims: &[Dim]) -> TensorSpec {
    TensorSpec { name: name.into(), dtype: DType::Float32, dims: Some(dims.to_vec()) }
}

fn symbol(name: &str) -> Dim {
    Dim::Symbol(name.to_owned())
}

/// Two inputs that share `batch`; `b` has an axis without a name.
fn inputs() -> Vec<TensorSpec> {
    vec![
        spec("a", &[symbol("batch"), Dim::Fixed(4)]),
        spec("b", &[symbol("batch"), Dim::Any, symbol("length")]),
    ]
}

/// A profile for batches from `min` over `opt` to `max`.
fn profile(min: usize, opt: usize, max: usize) -> Profile {
    let range = |tail: &[usize]| {
        let shape = |batch| Shape([&[batch], tail].concat());
        ShapeRange { min: shape(min), opt: shape(opt), max: shape(max) }
    };
    Profile::from([("a".to_owned(), range(&[4])), ("b".to_owned(), range(&[2, 3]))])
}

/// `a=8x4, b=..` to shapes, with everything else as given.
fn resolve(
    profiles: &[Profile],
    profile: Option<usize>,
    asked: &[(&str, &[usize])],
) -> Result<Chosen, BenchError> {
    let asked: BTreeMap<String, Shape> =
        asked.iter().map(|(name, extents)| ((*name).to_owned(), Shape::from(*extents))).collect();
    let inputs = inputs();
    Choice { inputs: &inputs, profiles, asked: &asked, profile, batch: None, arrays: None }
        .resolve()
}

fn shown(chosen: &Chosen) -> Vec<String> {
    chosen.shapes.iter().map(ToString::to_string).collect()
}

#[test]
fn shapes_come_from_the_user_then_the_profile_then_are_1() {
    let profiles = [profile(1, 2, 8), profile(16, 32, 64)];
    let first = resolve(&profiles, None, &[]).unwrap();
    assert_eq!((shown(&first), first.profile), (vec!["[2,4]".into(), "[2,2,3]".into()], Some(0)));
    let second = resolve(&profiles, Some(1), &[]).unwrap();
    assert_eq!(
        (shown(&second), second.profile),
        (vec!["[32,4]".into(), "[32,2,3]".into()], Some(1))
    );
    let free = resolve(&[], None, &[]).unwrap();
    assert_eq!((shown(&free), free.profile), (vec!["[1,4]".into(), "[1,1,1]".into()], None));
    assert_eq!(free.assumed, ["`batch`", "axis 1 of `b`", "`length`"]);
}

#[test]
fn an_extent_asked_for_holds_wherever_the_model_uses_its_name() {
    let profiles = [profile(1, 2, 8), profile(16, 32, 64)];
    let both = resolve(&profiles, None, &[("a", &[48, 4])]).unwrap();
    assert_eq!(shown(&both), ["[48,4]", "[48,2,3]"]);
    let free = resolve(&[], None, &[("a", &[5, 4])]).unwrap();
    assert_eq!(shown(&free), ["[5,4]", "[5,1,1]"]);
    assert_eq!(free.assumed, ["axis 1 of `b`", "`length`"]);
    let all = resolve(&profiles, None, &[("a", &[8, 4]), ("b", &[8, 2, 3])]).unwrap();
    assert_eq!(all.profile, None, "nothing was taken from a profile");
}

#[test]
fn a_batch_is_the_first_extent_of_every_shape_that_was_not_written() {
    let asked = BTreeMap::from([("b".to_owned(), Shape(vec![1, 2, 3]))]);
    let choice = |profiles| Choice {
        inputs: inputs().leak(),
        profiles,
        asked: &asked,
        profile: None,
        batch: Some(6),
        arrays: None,
    };
    let free = choice(&[]).resolve().unwrap();
    assert_eq!((shown(&free), free.assumed.len()), (vec!["[6,4]".into(), "[1,2,3]".into()], 0));
    assert!(matches!(
        choice(&[profile(1, 2, 4)]).resolve(),
        Err(BenchError::OutsideProfiles { .. })
    ));
}

#[test]
fn shapes_that_cannot_run_are_refused_with_what_can() {
    let profiles = [profile(1, 2, 8), profile(16, 32, 64)];
    let refused = |profile, asked| {
        let error = resolve(&profiles, profile, asked).unwrap_err();
        assert!(error.is_usage());
        format!("{error}\n{}\n", error.help().unwrap())
    };
    let seen = [
        refused(None, &[("a", &[9, 4])]),
        refused(Some(0), &[("a", &[16, 4])]),
        refused(Some(2), &[]),
        refused(None, &[("aa", &[1, 4])]),
        refused(None, &[("a", &[1, 5])]),
        refused(None, &[("a", &[4])]),
    ];
    insta::assert_snapshot!(seen.join("\n"), @r"
    the 2 profiles do not take `a` of shape [9,4], `b` of shape [9,2,3]
    profile 0 takes `a` [1,4] to [8,4], `b` [1,2,3] to [8,2,3]
    profile 1 takes `a` [16,4] to [64,4], `b` [16,2,3] to [64,2,3]

    profile 0 does not take `a` of shape [16,4], `b` of shape [16,2,3]
    profile 0 takes `a` [1,4] to [8,4], `b` [1,2,3] to [8,2,3]
    profile 1 takes `a` [16,4] to [64,4], `b` [16,2,3] to [64,2,3]

    there is no profile 2, the engine has 2
    profiles are 0 to 1

    the engine has no input `aa`
    did you mean `a`?

    input `a` is [batch,4], shape [1,5] does not fit
    give an extent for each axis; those with a number are fixed

    input `a` is [batch,4], shape [4] does not fit
    give an extent for each axis; those with a number are fixed
    ");
}
