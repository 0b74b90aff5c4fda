//! Many callers at once, who count their requests, cancel some, and check every answer.

use super::*;

/// Requests of each caller.
fn requests() -> usize {
    std::env::var("TRT_PIPELINE_SOAK_REQUESTS").ok().and_then(|n| n.parse().ok()).unwrap_or(250)
}

const CALLERS: usize = 8;

/// A request of 1 to 3 samples of `width` values that no other has.
fn distinct(caller: usize, number: usize, width: usize) -> InferRequest {
    let samples = 1 + (caller + number) % 3;
    let first = u32::try_from((number * CALLERS + caller) * 64 % (1 << 24)).unwrap();
    let count = u32::try_from(samples * width).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "24 bits are exact")]
    let values: Vec<f32> = (0..count).map(|i| ((first + i) % (1 << 24)) as f32).collect();
    let priority = Some(u32::try_from(1 + number % 2).unwrap());
    InferRequest { priority, ..request(vec![tensor(&[samples, width], &values)]) }
}

/// Sends requests in bursts; every seventh is dropped at once. Gives how many were answered.
fn call(model: &Model, caller: usize, width: impl Fn(usize) -> usize) -> u64 {
    let mut answered = 0;
    let all: Vec<usize> = (0..requests()).collect();
    for burst in all.chunks(5) {
        let mut pending = Vec::new();
        for &number in burst {
            let request = distinct(caller, number, width(number));
            let taken = model.submit(request.clone()).unwrap();
            if number % 7 != 6 {
                pending.push((request, taken));
            }
        }
        for (request, taken) in pending {
            assert_answers(&taken.wait().unwrap(), &request);
            answered += 1;
        }
    }
    answered
}

/// As [`call`], in tasks that may run batches themselves.
async fn infer(model: Arc<Model>, caller: usize) -> u64 {
    let mut answered = 0;
    let all: Vec<usize> = (0..requests()).collect();
    for burst in all.chunks(5) {
        let ask = async |number: usize| {
            let request = distinct(caller, number, 4);
            let taken = model.infer(request.clone());
            if number % 7 == 6 {
                // Given up after its first poll, unless that one answers it.
                return u64::from(tokio::time::timeout(Duration::ZERO, taken).await.is_ok());
            }
            assert_answers(&taken.await.unwrap(), &request);
            1
        };
        let answers = futures_util::future::join_all(burst.iter().map(|&number| ask(number)));
        answered += answers.await.iter().sum::<u64>();
    }
    answered
}

fn stress(fake: Fake, change: impl FnOnce(&mut ModelConfig), width: fn(usize) -> usize) {
    let fake = Arc::new(fake);
    let model = model_with(&fake, |config| {
        config.batching = Some(batching(8, 0.2));
        config.instances = 3;
        config.queue.priority_levels = 2;
        change(config);
    });
    let answered: u64 = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                scope.spawn({
                    let model = &model;
                    move || call(model, caller, width)
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    });
    assert_all_ended(&fake, &model, answered);
}

fn assert_all_ended(fake: &Fake, model: &Model, answered: u64) {
    assert!(model.drain(PATIENCE));
    let counted = model.statistics().snapshot();
    let cancelled = counted.failed(ErrorKind::Cancelled).count;
    let submitted = (CALLERS * requests()) as u64;
    assert!(counted.succeeded().count >= answered);
    assert_eq!(counted.succeeded().count + cancelled, submitted, "lost or answered twice");
    assert_eq!((counted.in_flight, model.queue_depth()), (0, 0));
    assert!(fake.batches().iter().all(|&size| size <= 8));
    assert_eq!(fake.live_contexts.load(Ordering::SeqCst), 0);
}

#[test]
fn callers_who_come_and_go_get_their_own_answers() {
    stress(Fake::default(), |_| (), |_| 4);
}

#[test]
fn callers_get_their_own_answers_in_order_and_in_batches_with_surplus() {
    let mut fake = Fake::default();
    fake.granularity = 3;
    let ordered = |config: &mut ModelConfig| {
        config.batching = Some(BatchingConfig { preserve_ordering: true, ..batching(8, 0.0) });
    };
    stress(fake, ordered, |_| 4);
}

#[test]
fn callers_of_different_shapes_get_their_own_answers() {
    for pad in [false, true] {
        let fake = Fake::new(vec![spec("x", &["batch", "n"])], vec![spec("y", &["batch", "n"])]);
        let padding = |config: &mut ModelConfig| {
            config.batching = Some(BatchingConfig { pad, ..batching(8, 0.2) });
        };
        stress(fake, padding, |number| 1 + number % 5);
    }
}

#[test]
fn callers_get_their_own_answers_while_runs_fail_and_panic() {
    let fake = Fake::default();
    // Far enough apart that no request fails both in its batch and alone.
    (0..CALLERS * requests()).step_by(97).for_each(|number| fake.panic_in_batch(number));
    stress(fake, |_| (), |_| 4);
}

#[test]
fn tasks_that_run_batches_themselves_get_their_own_answers() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    for (instances, max_delay_ms) in [(1, 0.0), (3, 0.0), (2, 0.2)] {
        let mut fake = Fake::default();
        fake.is_on_host = true;
        let fake = Arc::new(fake);
        let model = Arc::new(model_with(&fake, |config| {
            config.batching = Some(batching(8, max_delay_ms));
            config.instances = instances;
            config.queue.priority_levels = 2;
        }));
        model.batcher.reach.note(1 << 20, Duration::ZERO);
        let callers: Vec<_> =
            (0..CALLERS).map(|caller| runtime.spawn(infer(Arc::clone(&model), caller))).collect();
        let answered = runtime.block_on(async {
            let mut answered = 0;
            for caller in callers {
                answered += caller.await.unwrap();
            }
            answered
        });
        assert_all_ended(&fake, &model, answered);
    }
}
