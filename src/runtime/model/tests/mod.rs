use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::*;
use crate::backend::fake::{Fake, spec, until};
use crate::backend::{ShapeRange, conformance, cpu::CpuBackend};
use crate::deployment::BatchingConfig;
use crate::runtime::{ErrorKind, InputTensor, Phase};
use crate::tensor::Shape;

mod helping;
mod losses;
mod stress;

const PATIENCE: Duration = crate::backend::fake::PATIENCE;

fn batching(max_batch: usize, max_delay_ms: f64) -> BatchingConfig {
    BatchingConfig {
        max_batch,
        max_delay_ms,
        preferred_sizes: Vec::new(),
        preserve_ordering: false,
        pad: false,
    }
}

fn model_with(fake: &Arc<Fake>, change: impl FnOnce(&mut ModelConfig)) -> Model {
    let mut config = fake.config("m");
    change(&mut config);
    Model::start(config, 1, fake.engine(), Path::new("/nowhere")).unwrap()
}

fn batched(fake: &Arc<Fake>, max_batch: usize) -> Model {
    model_with(fake, |config| config.batching = Some(batching(max_batch, 0.0)))
}

fn tensor(shape: &[usize], values: &[f32]) -> InputTensor {
    InputTensor {
        shape: Shape(shape.to_vec()),
        bytes: Bytes::copy_from_slice(bytemuck::cast_slice(values)),
    }
}

fn request(inputs: Vec<InputTensor>) -> InferRequest {
    InferRequest { inputs, outputs: vec![0], priority: None, deadline: None }
}

/// `rows` samples for the default fake, of values that no other `seed` has.
fn rows(rows: usize, seed: usize) -> InferRequest {
    let start = u16::try_from(seed).unwrap();
    let values: Vec<f32> = (0..rows * 4)
        .map(|i| f32::from(start) * 64.0 + f32::from(u16::try_from(i).unwrap()))
        .collect();
    request(vec![tensor(&[rows, 4], &values)])
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|element| f32::from_le_bytes(*element)).collect()
}

/// That the answer is that of this request: the fake doubles.
fn assert_answers(response: &InferResponse, request: &InferRequest) {
    let doubled: Vec<f32> = floats(&request.inputs[0].bytes).iter().map(|x| x * 2.0).collect();
    assert_eq!(response.outputs[0].shape, request.inputs[0].shape);
    assert_eq!(floats(&response.outputs[0].bytes), doubled);
}

/// Keeps the only instance busy, so that what comes next waits together.
fn occupy(fake: &Fake, model: &Model) -> Pending {
    fake.close();
    let runs = fake.run_count();
    let first = model.submit(rows(1, 999)).unwrap();
    until("the first run has started", || fake.run_count() > runs);
    first
}

#[test]
fn requests_that_wait_run_together_and_each_gets_its_own_answer() {
    let fake = Arc::new(Fake::default());
    let model = batched(&fake, 8);
    let first = occupy(&fake, &model);
    let requests: Vec<_> = [1, 3, 2, 4].into_iter().enumerate().map(|(i, n)| rows(n, i)).collect();
    let pending: Vec<_> = requests.iter().map(|r| model.submit(r.clone()).unwrap()).collect();
    assert_eq!(model.queue_depth(), 4);
    fake.open();
    for (pending, request) in pending.into_iter().zip(&requests) {
        assert_answers(&pending.wait().unwrap(), request);
    }
    first.wait().unwrap();
    assert_eq!(fake.batches(), [1, 6, 4]);
    assert_eq!(model.queue_depth(), 0);
}

#[test]
fn without_batching_every_request_runs_alone_in_whatever_shape() {
    let inputs = vec![spec("x", &["n", "m"])];
    let fake = Arc::new(Fake::new(inputs, vec![spec("y", &["n", "m"])]));
    let model = model_with(&fake, |_| ());
    for shape in [[2, 3], [3, 2]] {
        let request = request(vec![tensor(&shape, &[1., 2., 3., 4., 5., 6.])]);
        let response = model.submit(request.clone()).unwrap().wait().unwrap();
        assert_answers(&response, &request);
        assert_eq!(response.batch, 1);
    }
    assert_eq!(fake.batches(), [2, 3]);
}

#[test]
fn every_byte_is_copied_once_on_its_way_in_and_once_on_its_way_out() {
    let fake = Arc::new(Fake::default());
    let model = batched(&fake, 8);
    let first = occupy(&fake, &model);
    let pending: Vec<_> = (1..4).map(|n| model.submit(rows(n, n)).unwrap()).collect();
    fake.open();
    let answers: Vec<_> = pending.into_iter().map(|pending| pending.wait().unwrap()).collect();
    first.wait().unwrap();
    let counted = model.statistics().snapshot();
    let bytes = (1 + 1 + 2 + 3) * 16;
    assert_eq!((counted.copied_in, counted.copied_out), (bytes, bytes));
    // The answers are memory of their own, not views of the staging.
    model.submit(rows(6, 7)).unwrap().wait().unwrap();
    (1..4).for_each(|n| assert_answers(&answers[n - 1], &rows(n, n)));
}

#[test]
fn rows_that_only_fill_a_batch_are_zero_and_belong_to_nobody() {
    let mut fake = Fake::default();
    fake.granularity = 4;
    let fake = Arc::new(fake);
    let model = batched(&fake, 7);
    for (samples, size) in [(1, 4), (4, 4), (5, 7), (7, 7)] {
        let response = model.submit(rows(samples, 3)).unwrap().wait().unwrap();
        assert_answers(&response, &rows(samples, 3));
        assert_eq!(response.batch, samples);
        assert_eq!(fake.batches().last(), Some(&size));
        assert!(fake.last_input().as_slice()[samples * 16..].iter().all(|&byte| byte == 0));
    }
}

#[test]
fn padded_requests_share_a_batch_and_get_their_own_extents_back() {
    let inputs = vec![spec("x", &["batch", "seq"])];
    let fake = Arc::new(Fake::new(inputs, vec![spec("y", &["batch", "seq"])]));
    let model = model_with(&fake, |config| {
        config.batching = Some(BatchingConfig { pad: true, ..batching(8, 0.0) });
    });
    fake.close();
    let first = model.submit(request(vec![tensor(&[1, 1], &[9.0])])).unwrap();
    until("the first run has started", || fake.run_count() == 1);
    let short = request(vec![tensor(&[2, 2], &[1., 2., 3., 4.])]);
    let long = request(vec![tensor(&[1, 3], &[5., 6., 7.])]);
    let pending: Vec<_> =
        [&short, &long].into_iter().map(|r| model.submit(r.clone()).unwrap()).collect();
    fake.open();
    first.wait().unwrap();
    let answers: Vec<_> = pending.into_iter().map(|pending| pending.wait().unwrap()).collect();
    assert_answers(&answers[0], &short);
    assert_answers(&answers[1], &long);
    assert_eq!(fake.batches(), [1, 3]);
    let seen = floats(&fake.last_input());
    assert_eq!(seen, [1., 2., 0., 3., 4., 0., 5., 6., 7.]);
}

#[test]
fn an_engine_whose_axis_0_is_not_the_batch_answers_nobody() {
    let fake = Arc::new(Fake::default());
    let model = batched(&fake, 8);
    fake.short_outputs.store(true, Ordering::SeqCst);
    let error = model.submit(rows(3, 1)).unwrap().wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().contains("axis 0 is not the batch"), "{error}");
}

#[test]
fn a_request_that_makes_its_batch_fail_or_panic_fails_alone() {
    let fake = Arc::new(Fake::default());
    let model = batched(&fake, 8);
    let first = occupy(&fake, &model);
    // The batch of three, then the second of them alone.
    fake.panic_in_run(1);
    fake.fail_run(3);
    let pending: Vec<_> = (0..3).map(|seed| model.submit(rows(1, seed)).unwrap()).collect();
    fake.open();
    first.wait().unwrap();
    let mut answers = pending.into_iter().map(Pending::wait);
    assert_answers(&answers.next().unwrap().unwrap(), &rows(1, 0));
    let error = answers.next().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "failed to run the engine: run 3 fails, as ordered");
    assert_answers(&answers.next().unwrap().unwrap(), &rows(1, 2));
    let counted = model.statistics().snapshot();
    assert_eq!(counted.failed(ErrorKind::Internal).count, 1);
    assert_eq!((counted.succeeded().count, counted.in_flight), (3, 0));
    assert_eq!(fake.contexts.load(Ordering::SeqCst), 3, "broken contexts are replaced");
}

#[test]
fn late_requests_are_told_so_and_never_run() {
    let fake = Arc::new(Fake::default());
    let model = model_with(&fake, |config| config.queue.timeout_ms = Some(1.0));
    let first = {
        fake.close();
        let patient = Instant::now() + PATIENCE;
        model.submit(InferRequest { deadline: Some(patient), ..rows(1, 0) }).unwrap()
    };
    until("the first run has started", || fake.run_count() == 1);
    let submitted = Instant::now();
    let late = model.submit(rows(1, 1)).unwrap();
    until("it is late", || submitted.elapsed() > Duration::from_millis(5));
    fake.open();
    assert_eq!(late.wait().unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    first.wait().unwrap();
    assert_eq!(fake.run_count(), 1);
}

#[test]
fn a_dropped_request_leaves_and_makes_room() {
    let fake = Arc::new(Fake::default());
    let model = model_with(&fake, |config| config.queue.limit = 2);
    let first = occupy(&fake, &model);
    let (one, two) = (model.submit(rows(1, 1)).unwrap(), model.submit(rows(1, 2)).unwrap());
    let error = model.submit(rows(1, 3)).unwrap_err();
    assert!(matches!(&error, InferError::QueueFull { limit: 2, .. }), "{error}");
    drop(one);
    let three = model.submit(rows(1, 3)).unwrap();
    fake.open();
    first.wait().unwrap();
    assert_answers(&two.wait().unwrap(), &rows(1, 2));
    assert_answers(&three.wait().unwrap(), &rows(1, 3));
    let counted = model.statistics().snapshot();
    assert_eq!(counted.failed(ErrorKind::Cancelled).count, 1);
    assert_eq!(counted.failed(ErrorKind::Overloaded).count, 1);
    assert_eq!(fake.run_count(), 3);
}

#[test]
fn urgent_requests_overtake_and_unknown_levels_are_the_default() {
    let fake = Arc::new(Fake::default());
    let model = model_with(&fake, |config| {
        config.queue.priority_levels = 2;
        config.queue.default_priority = 2;
    });
    let first = occupy(&fake, &model);
    let of_level =
        |n: usize, priority| model.submit(InferRequest { priority, ..rows(n, n) }).unwrap();
    let pending =
        [of_level(2, None), of_level(3, Some(7)), of_level(4, Some(1)), of_level(5, Some(2))];
    fake.open();
    first.wait().unwrap();
    for pending in pending {
        pending.wait().unwrap();
    }
    assert_eq!(fake.batches(), [1, 4, 2, 3, 5]);
}

#[test]
fn a_model_that_is_dropped_answers_what_it_took_and_lets_go_of_everything() {
    let fake = Arc::new(Fake::default());
    let model = model_with(&fake, |config| {
        config.batching = Some(batching(64, 60_000.0));
        config.instances = 2;
    });
    let batcher = Arc::downgrade(&model.batcher);
    let pending = model.submit(rows(1, 5)).unwrap();
    drop(model);
    assert_answers(&pending.wait().unwrap(), &rows(1, 5));
    until("threads and contexts are gone", || {
        batcher.strong_count() == 0 && fake.live_contexts.load(Ordering::SeqCst) == 0
    });
}

#[test]
fn a_drained_model_refuses_requests_and_has_unloaded_its_engine() {
    let fake = Arc::new(Fake::default());
    let model = batched(&fake, 8);
    let first = occupy(&fake, &model);
    assert!(!model.drain(Duration::from_millis(1)), "a request still runs");
    let error = model.submit(rows(1, 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    fake.open();
    assert!(model.drain(PATIENCE));
    first.wait().unwrap();
    assert_eq!(fake.live_contexts.load(Ordering::SeqCst), 0);
    assert_eq!(Arc::strong_count(&fake), 1, "the engine is still loaded");
}

#[test]
fn answers_leave_in_the_order_of_requests_where_that_is_asked_for() {
    let fake = Arc::new(Fake::default());
    let model = model_with(&fake, |config| {
        config.instances = 2;
        config.batching = Some(BatchingConfig { preserve_ordering: true, ..batching(1, 0.0) });
    });
    fake.hold_run(0);
    let first = model.submit(rows(1, 0)).unwrap();
    until("the first run has started", || fake.run_count() == 1);
    let second = model.submit(rows(1, 1)).unwrap();
    until("the second run is over", || fake.finished.load(Ordering::SeqCst) == 1);
    let mut second = Box::pin(second);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(second.as_mut().poll(&mut cx).is_pending(), "it overtook the first");
    fake.release_runs();
    until("both are answered", || model.statistics().snapshot().in_flight == 0);
    assert_answers(&first.wait().unwrap(), &rows(1, 0));
}

#[test]
fn instances_work_at_the_same_time() {
    let fake = Arc::new(Fake::default());
    let model = model_with(&fake, |config| config.instances = 3);
    fake.close();
    let pending: Vec<_> = (0..4).map(|seed| model.submit(rows(1, seed)).unwrap()).collect();
    until("three run", || fake.run_count() == 3);
    assert_eq!(model.queue_depth(), 1);
    fake.open();
    for (seed, pending) in pending.into_iter().enumerate() {
        assert_answers(&pending.wait().unwrap(), &rows(1, seed));
    }
}

#[test]
fn every_instance_is_warm_for_every_size_before_the_model_is_ready() {
    let mut fake = Fake::default();
    fake.granularity = 3;
    let fake = Arc::new(fake);
    let model = model_with(&fake, |config| {
        config.batching = Some(batching(8, 0.0));
        config.warmup.iterations = 2;
        config.instances = 2;
    });
    assert_eq!(fake.batches(), [3, 3, 6, 6, 8, 8].repeat(2));
    assert_eq!(model.statistics().snapshot().executions, 0, "warming up is no traffic");
}

#[test]
fn an_engine_that_fails_while_it_is_warmed_up_is_not_loaded() {
    for fault in [Fake::fail_first as fn(&Fake), Fake::shorten_outputs] {
        let fake = Arc::new(Fake::default());
        fault(&fake);
        let mut config = fake.config("m");
        config.batching = Some(batching(4, 0.0));
        config.warmup.iterations = 1;
        let error = Model::start(config, 1, fake.engine(), Path::new("/nowhere")).err().unwrap();
        assert!(error.to_string().contains("warming up with a batch of 1: "), "{error}");
        assert_eq!(fake.live_contexts.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn warm_up_data_is_read_from_the_deployment_and_repeated_where_it_is_short() {
    let folder = tempfile::tempdir().unwrap();
    let tensor =
        crate::tensor::Tensor::from_f32(vec![2, 4].into(), &[1., 2., 3., 4., 5., 6., 7., 8.]);
    let file = folder.path().join("warm.npz");
    crate::data::write_npz(&file, [("x", &tensor.unwrap())]).unwrap();
    let fake = Arc::new(Fake::default());
    let start = |data: &str| {
        let mut config = fake.config("m");
        config.batching = Some(batching(3, 0.0));
        config.warmup =
            crate::deployment::WarmupConfig { iterations: 1, data: Some(data.to_owned()) };
        Model::start(config, 1, fake.engine(), folder.path())
    };
    drop(start("warm.npz").unwrap());
    assert_eq!(fake.batches(), [1, 2, 3]);
    let seen = floats(&fake.last_input());
    assert_eq!(seen, [1., 2., 3., 4., 5., 6., 7., 8., 1., 2., 3., 4.]);
    let error = start("none.npz").err().unwrap().to_string();
    assert!(error.starts_with("`serve.warmup.data`: "), "{error}");
}

#[test]
fn a_profile_that_starts_at_a_larger_batch_gets_it() {
    let mut fake = Fake::default();
    let range = |batch| Shape(vec![batch, 4]);
    let range = ShapeRange { min: range(4), opt: range(4), max: range(8) };
    fake.profiles = vec![crate::backend::Profile::from([("x".to_owned(), range)])];
    let fake = Arc::new(fake);
    let model = batched(&fake, 8);
    let response = model.submit(rows(1, 2)).unwrap().wait().unwrap();
    assert_answers(&response, &rows(1, 2));
    assert_eq!(fake.batches(), [4]);
}

#[test]
fn an_async_caller_is_answered_and_phases_are_counted() {
    let fake = Arc::new(Fake::default());
    let model = batched(&fake, 8);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let response = runtime.block_on(model.infer(rows(2, 1))).unwrap();
    assert_answers(&response, &rows(2, 1));
    let counted = model.statistics().snapshot();
    for phase in [Phase::Queue, Phase::Upload, Phase::Compute, Phase::Download, Phase::Total] {
        assert_eq!(counted.phase(phase).count(), 1, "{phase:?}");
    }
    assert_eq!((counted.executions, counted.inferences), (1, 2));
    assert!(counted.last_request.is_some());
}

#[test]
fn the_cpu_backend_serves_the_rows_that_it_gives_alone() {
    let folder = tempfile::tempdir().unwrap();
    let recorded = conformance::Recorded::new("mlp");
    let manifest = conformance::compile(&CpuBackend, &recorded.model, &[], folder.path()).unwrap();
    std::fs::write(
        folder.path().join(EngineManifest::FILE),
        serde_json::to_vec(&manifest).unwrap(),
    )
    .unwrap();
    let mut config = Fake::default().config("mlp");
    config.batching = Some(batching(8, 5.0));
    config.warmup.iterations = 1;
    let model = Model::load(config, 1, folder.path(), folder.path()).unwrap();
    let row = |seed: u16| -> Vec<f32> { (0..6).map(|i| f32::from(seed * 6 + i).sin()).collect() };
    let ask = |seed| model.submit(request(vec![tensor(&[1, 6], &row(seed))])).unwrap();
    let alone: Vec<_> =
        (0..20).map(|seed| floats(&ask(seed).wait().unwrap().outputs[0].bytes)).collect();
    let pending: Vec<_> = (0..20).map(ask).collect();
    for (alone, pending) in alone.iter().zip(pending) {
        let together = floats(&pending.wait().unwrap().outputs[0].bytes);
        assert!(alone.iter().zip(&together).all(|(a, b)| (a - b).abs() < 1e-5));
    }
    let sizes: BTreeSet<_> =
        model.statistics().snapshot().batches.iter().map(|batch| batch.size).collect();
    assert!(sizes.iter().any(|&size| size > 1), "{sizes:?}");
}
