//! Paces, counts and endings, with an engine that does as it is told.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::backend::fake::{Fake, until};
use crate::progress::NoProgress;
use crate::runtime::Model;
use crate::tensor::Shape;

const CLOSED: Pace = Pace::Closed { concurrency: NonZeroUsize::new(3).unwrap() };

/// Requests `rate` a second, one at a time.
fn open(rate: f64) -> Pace {
    Pace::Open { rate, gaps: Gaps::Constant, outstanding: NonZeroUsize::MIN, seed: 1 }
}

fn level(pace: Pace, requests: Option<u64>, duration: Duration) -> Level {
    Level {
        pace,
        warmup: Warmup::Runs(2),
        limits: Limits { requests, duration },
        rounds: NonZeroUsize::MIN,
        expected_interval: None,
    }
}

/// A session of a fake, whose answers are held against engines with these factors.
fn session(fake: &Arc<Fake>, factors: &[f32], cancel: &CancelToken) -> Session {
    let folder = tempfile::tempdir().unwrap();
    fake.save(folder.path());
    let config = fake.config("m");
    let model = Model::load(config, 1, folder.path(), folder.path()).unwrap();
    let engine = |&factor: &f32| {
        let mut fake = Fake::default();
        fake.factor = factor;
        Arc::new(fake).engine()
    };
    let engines: Vec<_> = factors.iter().map(engine).collect();
    let oracle = (!engines.is_empty()).then(|| Oracle::new(&engines, 0.0).unwrap());
    let target = Target::Model { model: Arc::new(model), timeout: Duration::from_millis(200) };
    let shapes: BTreeMap<String, Shape> = BTreeMap::new();
    let choice = SampleChoice { shapes: &shapes, batch: Some(2), data: None, distinct: true };
    let samples = Samples::new(target.inputs(), choice).unwrap();
    let client = Client::new(NonZeroUsize::MIN, cancel).unwrap();
    Session::new(client, target, samples, oracle, None).unwrap()
}

fn measure(fake: &Arc<Fake>, factors: &[f32], level: &Level) -> LevelReport {
    let mut session = session(fake, factors, &CancelToken::default());
    session.measure(level, None, &NoProgress).unwrap()
}

#[test]
fn a_closed_loop_makes_as_many_requests_as_asked_after_those_to_warm_up() {
    let fake = Arc::new(Fake::default());
    let report = measure(&fake, &[2.0], &level(CLOSED, Some(20), Duration::MAX));
    assert_eq!((report.requests, report.answered, report.unsent), (20, 20, 0));
    assert_eq!(fake.run_count(), 20 + 3 * 2);
    assert!(fake.batches().iter().all(|&batch| batch == 2));
    assert!(report.is_good() && !report.interrupted);
    assert_eq!(report.check.unwrap().checked, 26, "those to warm up are looked at, too");
    let names: Vec<&str> = report.parts.iter().map(|part| part.name).collect();
    assert_eq!(names, ["queue", "upload", "compute", "download"]);
}

#[test]
fn an_open_loop_makes_a_request_for_every_arrival_before_its_end() {
    let fake = Arc::new(Fake::default());
    let report = measure(&fake, &[], &level(open(1000.0), None, Duration::from_millis(50)));
    assert_eq!(report.requests + report.unsent, 49, "one a millisecond, from the first on");
    assert_eq!(report.late.unwrap().count, report.requests);
    assert_eq!(report.service.unwrap().count, report.latency.unwrap().count);
}

#[test]
fn arrivals_that_nobody_is_free_for_are_counted_and_not_made_after_the_end() {
    let fake = Arc::new(Fake::default());
    let mut session = session(&fake, &[], &CancelToken::default());
    fake.close();
    let mut level = level(open(1000.0), None, Duration::from_millis(50));
    level.warmup = Warmup::Runs(0);
    let report = session.measure(&level, None, &NoProgress).unwrap();
    fake.open();
    assert_eq!((report.requests, report.failed, report.unsent), (1, 1, 48));
    assert_eq!(report.endings[0].ending, "timeout");
    assert!(!report.is_good());
}

#[test]
fn answers_of_another_engine_are_wrong() {
    let fake = Arc::new(Fake::default());
    let report = measure(&fake, &[3.0], &level(CLOSED, Some(10), Duration::MAX));
    assert_eq!((report.answered, report.failed), (10, 0));
    let check = report.check.as_ref().unwrap();
    assert_eq!((check.wrong, check.mixed), (16, 0));
    assert!(!report.is_good());
    let both = measure(&fake, &[3.0, 2.0], &level(CLOSED, Some(10), Duration::MAX));
    assert!(both.is_good());
    assert_eq!(both.check.unwrap().versions, BTreeMap::from([("1".to_owned(), 1)]));
}

#[test]
fn a_run_that_fails_is_a_failed_request_with_its_words() {
    let fake = Arc::new(Fake::default());
    fake.fail_run(8);
    let report = measure(&fake, &[], &level(CLOSED, Some(20), Duration::MAX));
    assert_eq!((report.answered, report.failed, report.refused), (19, 1, 0));
    assert_eq!(report.endings[0].ending, "engine failed");
    assert!(!report.endings[0].said.is_empty());
}

#[test]
fn cancelling_ends_requests_that_wait_for_answers() {
    let (fake, cancel) = (Arc::new(Fake::default()), CancelToken::default());
    let mut session = session(&fake, &[], &cancel);
    fake.close();
    let mut level = level(CLOSED, None, Duration::MAX);
    level.warmup = Warmup::Runs(0);
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            until("a run has begun", || fake.run_count() > 0);
            cancel.cancel();
        });
        session.measure(&level, None, &NoProgress)
    });
    fake.open();
    // Where an answer took longer than it may before that, there is something to tell.
    assert!(ended.map_or_else(
        |error| matches!(error, BenchError::Interrupted),
        |report| report.interrupted && report.answered == 0
    ));
}

#[test]
fn an_engine_in_turns_with_its_server_tells_what_serving_costs() {
    let fake = Arc::new(Fake::default());
    let folder = tempfile::tempdir().unwrap();
    fake.save(folder.path());
    let manifest = crate::backend::EngineManifest::read(folder.path()).unwrap();
    let cancel = CancelToken::default();
    let mut session = session(&fake, &[], &cancel);
    let shapes = session.samples().shapes();
    let inputs =
        crate::bench::InputChoice { shapes: &shapes, profile: None, batch: None, data: None };
    let setup = crate::bench::Setup {
        inputs,
        contexts: NonZeroUsize::new(2).unwrap(),
        devices: &crate::bench::Devices::First,
        cuda_graphs: &crate::deployment::CudaGraphs::Auto,
    };
    let mut engine =
        EngineLoop::new(folder.path(), &manifest, setup, &NoProgress, &cancel).unwrap();
    let level = Level {
        rounds: NonZeroUsize::new(3).unwrap(),
        ..level(CLOSED, None, Duration::from_millis(5))
    };
    let report = session.measure(&level, Some(&mut engine), &NoProgress).unwrap();
    let overhead = report.overhead.unwrap();
    assert_eq!((report.rounds, overhead.contexts), (3, 2));
    let of = |spread: crate::bench::Spread| (spread.min <= spread.median, spread.median);
    assert!(of(overhead.served_p50_ms).0 && of(overhead.throughput_ratio).1 > 0.0);
}
