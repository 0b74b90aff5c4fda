//! Inference over fake engines: what runs where, and what happens when they fail.

#![expect(clippy::float_cmp, reason = "these values are exact")]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tempfile::TempDir;

use crate::backend::fake::{Fake, PATIENCE, spec, until};
use crate::runtime::{ErrorKind, Loaded, Model, Phase};
use crate::tensor::{DType, Shape, Tensor};

use super::{Batcher, Engine, EngineBuilder, Input, MultiDevice};

/// A fake in a folder, and the way to load it.
struct Saved {
    fake: Arc<Fake>,
    folder: TempDir,
}

impl Saved {
    fn new(fake: Fake) -> Self {
        let (fake, folder) = (Arc::new(fake), tempfile::tempdir().unwrap());
        fake.save(folder.path());
        Self { fake, folder }
    }

    fn builder(&self) -> EngineBuilder {
        Engine::builder(self.folder.path()).name("m").warmup(0)
    }
}

fn row(value: f32) -> Tensor {
    Tensor::from_f32([1, 4].into(), &[value; 4]).unwrap()
}

fn first(inference: &super::Inference) -> f32 {
    inference.output(0).unwrap().values::<f32>().unwrap()[0]
}

#[test]
fn inference_runs_on_the_callers_thread_and_is_counted() {
    let saved = Saved::new(Fake::default());
    let engine = saved.builder().load().unwrap();
    let result = engine.infer([&row(3.0)]).unwrap();
    assert_eq!(saved.fake.last_thread(), Some(std::thread::current().id()));
    let output = result.output("y").unwrap();
    assert_eq!((output.name(), output.dtype()), ("y", DType::Float32));
    assert_eq!(&*output.values::<f32>().unwrap(), [6.0; 4]);
    assert_eq!(output.to_tensor().unwrap().to_f64(), output.to_f64());
    assert_eq!(output.values::<i32>().unwrap_err().to_string(), "tensor `y` is float32, not int32");
    let latency = result.latency();
    assert!(latency.total >= latency.queue + latency.upload + latency.compute, "{latency:?}");
    let statistics = engine.statistics();
    assert_eq!((statistics.executions, statistics.inferences, statistics.in_flight), (1, 1, 0));
    assert_eq!((statistics.copied_in, statistics.copied_out), (16, 16));
    assert_eq!(statistics.phase(Phase::Total).count(), 1);
}

#[test]
fn inputs_come_by_place_or_by_name_and_shapes_are_theirs() {
    let axes = ["batch", "n"];
    let fake = Fake::new(
        vec![spec("a", &axes), spec("b", &axes)],
        vec![spec("twice_a", &axes), spec("twice_b", &axes)],
    );
    let engine = Saved::new(fake).builder().load().unwrap();
    let (one, two) = (Shape::from([1, 2]), Shape::from([3, 1]));
    let a = Input::new(&one, &[1.0_f32, 2.0]);
    let b = Input::new(&two, &[5.0_f32, 6.0, 7.0]);
    let tensor = Tensor::from_f32(two.clone(), &[5.0, 6.0, 7.0]).unwrap();
    for result in [
        engine.infer([a, b]),
        engine.infer(vec![b.named("b"), a.named("a")]),
        engine.infer([("b", b), ("a", a)]),
        engine.infer(&[a, b.named("b")][..]),
        engine.infer([a, Input::from_bytes(tensor.dtype(), tensor.shape(), tensor.bytes())]),
    ] {
        let outputs: Vec<_> = result.unwrap().outputs().map(|output| output.to_f64()).collect();
        assert_eq!(outputs, [vec![2.0, 4.0], vec![10.0, 12.0, 14.0]]);
    }
}

#[test]
fn inputs_that_are_not_the_models_are_refused_by_name() {
    let axes = ["batch", "4"];
    let fake = Fake::new(vec![spec("left", &axes), spec("right", &axes)], vec![spec("y", &axes)]);
    let saved = Saved::new(fake);
    let engine = saved.builder().load().unwrap();
    let tensor = row(1.0);
    let told = |inputs: &[Input<'_>]| {
        let direct = engine.infer(inputs).unwrap_err();
        let later = engine.infer_async(inputs).wait().unwrap_err();
        assert_eq!(direct.kind(), ErrorKind::Invalid, "{direct}");
        (direct.to_string(), later.to_string())
    };
    let input = Input::from_bytes(DType::Float32, tensor.shape(), tensor.bytes());
    let all = "the model takes each of 2: `left`, `right`";
    for (inputs, expected) in [
        (&[input][..], format!("1 inputs are given, {all}")),
        (&[input; 3], format!("3 inputs are given, {all}")),
        (&[input, input.named("left")], format!("2 inputs are given, {all}")),
        (
            &[input, input.named("rihgt")],
            "there is no input `rihgt`; did you mean `right`?".to_owned(),
        ),
        (
            &[input, Input { dtype: DType::Int32, ..input }],
            "input `right`: it is int32, the model takes float32".to_owned(),
        ),
    ] {
        assert_eq!(told(inputs), (expected.clone(), expected));
    }
    // These two the engine itself refuses, where nothing stands before it.
    let (short, empty) = (Shape::from([1, 3]), Shape::from([0, 4]));
    let (direct, later) = told(&[input, Input { shape: &short, bytes: &[0; 12], ..input }]);
    assert!(direct.contains("`right`") && later.contains("`right`"), "{direct} | {later}");
    let (direct, later) = told(&[input, Input { shape: &empty, bytes: &[], ..input }]);
    assert_eq!(direct, "input `right`: its batch is empty: its shape is [0,4]");
    assert_eq!(direct, later);
    let (direct, later) = told(&[input, Input { bytes: &[0; 12], ..input }]);
    assert_eq!(direct, "input `right`: it has 12 bytes, a float32 [1,4] has 16");
    assert_eq!(direct, later);
    let statistics = engine.statistics();
    assert_eq!(statistics.failed(ErrorKind::Invalid).count, 16);
    assert_eq!((statistics.executions, statistics.in_flight), (0, 0));
    assert_eq!(first(&engine.infer([&tensor, &tensor]).unwrap()), 2.0);
}

#[test]
fn an_engine_that_fails_or_panics_fails_that_request_alone() {
    let saved = Saved::new(Fake::default());
    let engine = saved.builder().load().unwrap();
    saved.fake.fail_run(0);
    saved.fake.panic_in_run(1);
    for said in ["run 0 fails, as ordered", "it panicked and said: a panic in run 1, as ordered"] {
        let error = engine.infer([&row(1.0)]).unwrap_err();
        assert_eq!(error.to_string(), format!("failed to run the engine: {said}"));
    }
    assert_eq!(first(&engine.infer([&row(2.0)]).unwrap()), 4.0);
    assert_eq!(saved.fake.contexts.load(Ordering::SeqCst), 3, "a broken context was used again");
    let statistics = engine.statistics();
    assert_eq!((statistics.failed(ErrorKind::Internal).count, statistics.in_flight), (2, 0));
}

/// An engine on as many devices as there are fakes.
fn on_devices(fakes: &[Arc<Fake>]) -> Engine {
    let load = |(at, fake): (usize, &Arc<Fake>)| Loaded { device: Some(at), engine: fake.engine() };
    let loaded = fakes.iter().enumerate().map(load).collect();
    let model = Model::start_on(fakes[0].config("m"), 1, loaded, std::path::Path::new("/none"));
    Engine::of(model.unwrap())
}

#[test]
fn a_request_whose_device_is_lost_runs_on_another_and_is_counted_once() {
    let fakes = [(); 2].map(|()| Arc::new(Fake::default()));
    fakes[0].lose_in_run(0);
    let engine = on_devices(&fakes);
    let mut results = (0..4_u8).map(|value| first(&engine.infer([&row(value.into())]).unwrap()));
    assert!(results.by_ref().eq([0.0, 2.0, 4.0, 6.0]), "an answer is wrong");
    drop(results);
    let devices = engine.devices();
    let told: Vec<_> = devices.iter().map(|one| (one.batches, one.lost.is_some())).collect();
    assert_eq!(told, [(0, true), (4, false)]);
    let statistics = engine.statistics();
    assert_eq!((statistics.succeeded().count, statistics.failed_in_all().count), (4, 0));
    assert_eq!(statistics.in_flight, 0);
}

#[test]
fn a_request_gets_a_typed_error_where_its_only_device_is_lost() {
    let fakes = [Arc::new(Fake::default())];
    let engine = on_devices(&fakes);
    let mut session = engine.session().unwrap();
    fakes[0].lose_in_run(0);
    session.set(0, row(1.0)).unwrap();
    assert_eq!(session.run().unwrap_err().kind(), ErrorKind::Unavailable);
    drop(session);
    assert_eq!(engine.infer([&row(1.0)]).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(fakes[0].run_count(), 1, "a lost device was used again");
    let statistics = engine.statistics();
    assert_eq!((statistics.failed(ErrorKind::Unavailable).count, statistics.in_flight), (2, 0));
}

#[test]
fn a_session_keeps_its_context_and_what_was_written() {
    let saved = Saved::new(Fake::default());
    let engine = saved.builder().load().unwrap();
    let mut session = engine.session().unwrap();
    session.set("x", row(1.0)).unwrap();
    session.run().unwrap();
    session.run().unwrap();
    assert_eq!(session.output("y").unwrap().to_f64(), [2.0; 4]);
    session.input_mut(0, &Shape::from([2, 4])).unwrap().fill(0);
    session.run().unwrap();
    assert_eq!(session.output(0).unwrap().shape(), &Shape::from([2, 4]));
    assert_eq!(saved.fake.contexts.load(Ordering::SeqCst), 1);
    assert_eq!(engine.statistics().executions, 3);
    for error in [
        session.output("z").unwrap_err(),
        session.output(1).unwrap_err(),
        session.set("z", row(1.0)).unwrap_err(),
        session.input_mut(1, &Shape::from([1, 4])).unwrap_err(),
    ] {
        assert!(error.to_string().starts_with("there is no "), "{error}");
    }
}

#[test]
fn what_waits_for_the_only_context_gets_it_when_the_session_ends() {
    let saved = Saved::new(Fake::default());
    let engine = saved.builder().load().unwrap();
    let mut session = engine.session().unwrap();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| engine.infer([&row(2.0)]).unwrap());
        session.set(0, row(1.0)).unwrap();
        session.run().unwrap();
        assert_eq!(session.output(0).unwrap().to_f64(), [2.0; 4], "somebody else ran in between");
        drop(session);
        assert_eq!(first(&other.join().unwrap()), 4.0);
    });
}

#[test]
fn what_is_submitted_runs_before_it_is_awaited_and_is_cancelled_when_dropped() {
    let saved = Saved::new(Fake::default());
    let engine = saved.builder().load().unwrap();
    let later = engine.infer_async([&row(1.0)]);
    until("it ran", || saved.fake.finished.load(Ordering::SeqCst) == 1);
    saved.fake.close();
    let running = engine.infer_async([&row(2.0)]);
    until("it runs", || saved.fake.run_count() == 2);
    drop(engine.infer_async([&row(3.0)]));
    let last = engine.infer_async([&row(4.0)]);
    saved.fake.open();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let results = runtime.block_on(async { [later.await, running.await, last.await] });
    assert_eq!(results.map(|result| first(&result.unwrap())), [2.0, 4.0, 8.0]);
    assert_eq!(saved.fake.run_count(), 3, "what was cancelled ran");
    until("it is counted", || engine.statistics().failed(ErrorKind::Cancelled).count == 1);
}

#[test]
fn waiting_works_inside_an_async_runtime_whatever_its_task_has_done() {
    let saved = Saved::new(Fake::default());
    let engine = saved.builder().batcher(Batcher::new(4)).load().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let sum = runtime.block_on(async {
        let results = (0..300_u16).map(|at| engine.infer([&row(f32::from(at % 2))]).unwrap());
        results.map(|result| first(&result)).sum::<f32>()
    });
    assert_eq!(sum, 300.0);
}

#[test]
fn a_batcher_runs_requests_of_many_threads_together() {
    let saved = Saved::new(Fake::default());
    let batcher = Batcher::new(3).max_delay(PATIENCE);
    let engine = saved.builder().batcher(batcher).load().unwrap();
    std::thread::scope(|scope| {
        let threads = [1.0, 2.0, 3.0].map(|value| {
            let engine = &engine;
            scope.spawn(move || engine.infer([&row(value)]).unwrap())
        });
        let results = threads.map(|thread| thread.join().unwrap());
        assert_eq!(results.each_ref().map(super::Inference::batch), [3; 3]);
        assert_eq!(results.each_ref().map(first), [2.0, 4.0, 6.0]);
    });
    assert_eq!(saved.fake.batches(), [3]);
}

#[test]
fn a_queue_has_its_limit_and_its_timeout() {
    let saved = Saved::new(Fake::default());
    let engine = saved.builder().queue_limit(1).load().unwrap();
    saved.fake.close();
    let running = engine.infer_async([&row(1.0)]);
    until("it runs", || saved.fake.run_count() == 1);
    let waiting = engine.infer_async([&row(2.0)]);
    let refused = engine.infer_async([&row(3.0)]).wait().unwrap_err();
    assert_eq!(refused.to_string(), "1 requests for model `m` wait already");
    saved.fake.open();
    assert_eq!([running, waiting].map(|one| first(&one.wait().unwrap())), [2.0, 4.0]);
    let hasty = saved.builder().queue_timeout(Duration::ZERO).load().unwrap();
    let late = hasty.infer_async([&row(1.0)]).wait().unwrap_err();
    assert_eq!(late.kind(), ErrorKind::DeadlineExceeded);
}

#[test]
fn a_shutdown_answers_what_was_submitted_and_waits_for_sessions() {
    let saved = Saved::new(Fake::default());
    let engine = saved.builder().load().unwrap();
    let session = engine.session().unwrap();
    let submitted = engine.infer_async([&row(1.0)]);
    assert!(!engine.shutdown(Duration::ZERO), "it did not wait for the session");
    assert_eq!(engine.infer([&row(1.0)]).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(engine.infer_async([&row(1.0)]).wait().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(engine.warmup(1).unwrap_err().kind(), ErrorKind::Unavailable);
    drop(session);
    assert_eq!(first(&submitted.wait().unwrap()), 2.0);
    assert!(engine.shutdown(PATIENCE));
    assert_eq!(saved.fake.live_contexts.load(Ordering::SeqCst), 0, "it is still loaded");
}

#[test]
fn dropping_an_engine_answers_what_was_submitted() {
    let saved = Saved::new(Fake::default());
    let engine = saved.builder().load().unwrap();
    saved.fake.close();
    let submitted = [1.0, 2.0].map(|value| engine.infer_async([&row(value)]));
    drop(engine);
    saved.fake.open();
    assert_eq!(submitted.map(|one| first(&one.wait().unwrap())), [2.0, 4.0]);
    until("it is unloaded", || saved.fake.live_contexts.load(Ordering::SeqCst) == 0);
}

#[test]
fn warming_up_runs_every_instance_with_every_batch_size() {
    let saved = Saved::new(Fake::default());
    let builder = saved.builder().instances(2).batcher(Batcher::new(3)).warmup(1);
    let engine = builder.load().unwrap();
    assert_eq!(saved.fake.batches(), [1, 2, 3, 1, 2, 3]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| engine.warmup(2).unwrap());
        }
    });
    assert_eq!(saved.fake.run_count(), 6 + 4 * 12);
    assert_eq!(engine.statistics().executions, 0, "warming up was counted as requests");
}

#[test]
fn what_cannot_be_loaded_says_why() {
    let saved = Saved::new(Fake::default());
    let refused = saved.builder().devices([0]).load().unwrap_err();
    assert_eq!(refused.to_string(), "`devices`: backend `fake` has no numbered devices");
    saved.builder().devices(MultiDevice::all()).load().unwrap();
    saved.fake.corrupt.store(true, Ordering::SeqCst);
    assert!(saved.builder().load().unwrap_err().to_string().contains("corrupt, as ordered"));
    let empty = tempfile::tempdir().unwrap();
    let error = Engine::load(empty.path()).unwrap_err().to_string();
    assert!(error.contains("there is no `engine.json` in it; name the folder"), "{error}");
    let error = Engine::load(empty.path().join("no")).unwrap_err().to_string();
    assert!(error.contains("there is no `engine.json` in it; name the folder"), "{error}");
    for (builder, said) in [
        (saved.builder().instances(0), "`instances`: it is 0, expected 1 to 1024"),
        (saved.builder().instances(1025), "`instances`: it is 1025, expected 1 to 1024"),
        (
            saved.builder().batcher(Batcher::new(0)),
            "`batcher`: its largest batch is 0, expected 1 or more",
        ),
    ] {
        assert_eq!(builder.load().unwrap_err().to_string(), said);
    }
}

#[test]
fn any_name_will_do() {
    let saved = Saved::new(Fake::default());
    saved.builder().name("a\0b/../\u{202e}").load().unwrap();
}
