//! Batches that those run who wait for the answers.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;

use super::*;

/// An engine on this processor.
fn on_host() -> Arc<Fake> {
    let mut fake = Fake::default();
    fake.is_on_host = true;
    Arc::new(fake)
}

/// A model whose batches were over at once so far.
fn quick(fake: &Arc<Fake>, change: impl FnOnce(&mut ModelConfig)) -> Model {
    let model = model_with(fake, change);
    model.batcher.reach.note(1 << 20, Duration::ZERO);
    model
}

fn join(config: &mut ModelConfig) {
    config.batching = Some(batching(8, 0.0));
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_batch_that_is_over_soon_runs_where_its_answer_is_awaited() {
    let fake = on_host();
    let model = quick(&fake, join);
    let response = run(model.infer(rows(2, 1))).unwrap();
    assert_answers(&response, &rows(2, 1));
    assert_eq!(fake.last_thread(), Some(thread::current().id()));
    let counted = model.statistics().snapshot();
    assert_eq!((counted.executions, counted.inferences, counted.in_flight), (1, 2, 0));
}

#[test]
fn one_that_takes_longer_or_computes_elsewhere_or_keeps_an_order_runs_on_a_thread() {
    let long = on_host();
    let model = model_with(&long, join);
    model.batcher.reach.note(1 << 20, Duration::from_millis(1));
    let elsewhere = Arc::new(Fake::default());
    let ordered = on_host();
    let keeps_order = |config: &mut ModelConfig| {
        config.batching = Some(BatchingConfig { preserve_ordering: true, ..batching(8, 0.0) });
    };
    let unknown = on_host();
    for (fake, model) in [
        (&long, model),
        (&elsewhere, quick(&elsewhere, join)),
        (&ordered, quick(&ordered, keeps_order)),
        (&unknown, model_with(&unknown, join)),
    ] {
        run(model.infer(rows(1, 1))).unwrap();
        assert_ne!(fake.last_thread(), Some(thread::current().id()));
    }
    let fake = on_host();
    quick(&fake, join).submit(rows(1, 1)).unwrap().wait().unwrap();
    assert_ne!(fake.last_thread(), Some(thread::current().id()), "nobody was to wait for it");
}

#[test]
fn requests_of_tasks_that_are_ready_together_run_together() {
    let fake = on_host();
    let model = quick(&fake, join);
    let answers = run(async {
        let tasks = (0..5).map(|seed| model.infer(rows(1, seed)));
        futures_util::future::join_all(tasks).await
    });
    for (seed, answer) in answers.iter().enumerate() {
        assert_answers(answer.as_ref().unwrap(), &rows(1, seed));
    }
    assert_eq!(fake.batches(), [5]);
}

#[test]
fn one_that_waits_for_others_is_seen_to_by_a_thread() {
    let fake = on_host();
    let model = quick(&fake, |config| config.batching = Some(batching(8, 2.0)));
    assert_answers(&run(model.infer(rows(1, 1))).unwrap(), &rows(1, 1));
    assert_ne!(fake.last_thread(), Some(thread::current().id()));
}

#[test]
fn where_every_context_is_in_use_a_thread_takes_over() {
    let fake = on_host();
    let model = quick(&fake, join);
    let first = occupy(&fake, &model);
    let mut second = pin!(model.infer(rows(1, 2)));
    assert!(poll(second.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    fake.open();
    first.wait().unwrap();
    assert_answers(&run(second).unwrap(), &rows(1, 2));
    assert_ne!(fake.last_thread(), Some(thread::current().id()));
}

#[test]
fn one_that_is_given_up_before_it_ran_leaves_the_queue() {
    let fake = on_host();
    let model = quick(&fake, join);
    {
        let mut given_up = pin!(model.infer(rows(1, 1)));
        assert!(poll(given_up.as_mut()).is_pending());
        assert_eq!(model.queue_depth(), 1);
    }
    until("it has left", || model.statistics().snapshot().in_flight == 0);
    assert_eq!((model.queue_depth(), fake.run_count()), (0, 0));
}

#[test]
fn one_that_is_left_unpolled_holds_up_nobody() {
    let fake = on_host();
    let model = quick(&fake, join);
    let mut idle = pin!(model.infer(rows(1, 1)));
    assert!(poll(idle.as_mut()).is_pending());
    assert_answers(&run(model.infer(rows(1, 2))).unwrap(), &rows(1, 2));
    assert_answers(&run(idle).unwrap(), &rows(1, 1));
    assert_eq!(fake.batches(), [2]);
}

#[test]
fn a_panic_of_the_engine_is_an_error_of_the_request_and_of_no_other() {
    let fake = on_host();
    let model = quick(&fake, join);
    fake.panic_in_run(0);
    let error = run(model.infer(rows(1, 1))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert_eq!(fake.last_thread(), Some(thread::current().id()));
    assert_answers(&run(model.infer(rows(1, 2))).unwrap(), &rows(1, 2));
}

#[test]
fn a_queue_full_of_those_that_are_left_unpolled_is_worked_off() {
    let fake = on_host();
    let model = quick(&fake, |config| {
        join(config);
        config.queue.limit = 2;
    });
    let mut idle: Vec<_> = (0..2).map(|seed| Box::pin(model.infer(rows(1, seed)))).collect();
    for one in &mut idle {
        assert!(poll(one.as_mut()).is_pending());
    }
    let error = run(model.infer(rows(1, 2))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    until("they have left", || model.statistics().snapshot().in_flight == 0);
    assert_answers(&run(model.infer(rows(1, 3))).unwrap(), &rows(1, 3));
}

#[test]
fn a_batch_that_is_larger_than_what_was_over_soon_runs_on_a_thread() {
    let fake = on_host();
    let model = model_with(&fake, join);
    let ask = async |count| {
        futures_util::future::join_all((0..count).map(|seed| model.infer(rows(1, seed)))).await
    };
    for (count, is_here) in [(1, true), (3, false)] {
        // One row of four numbers, and what every request counts beside its bytes.
        model.batcher.reach.note(17, Duration::ZERO);
        for (seed, answer) in run(ask(count)).iter().enumerate() {
            assert_answers(answer.as_ref().unwrap(), &rows(1, seed));
        }
        assert_eq!(fake.last_thread() == Some(thread::current().id()), is_here, "{count}");
    }
    assert_eq!(fake.batches(), [1, 3]);
}

#[test]
fn unloading_waits_for_those_who_help() {
    let fake = on_host();
    let model = Arc::new(quick(&fake, join));
    fake.hold_run(0);
    let helper = thread::spawn({
        let model = Arc::clone(&model);
        move || run(model.infer(rows(2, 1)))
    });
    until("it runs", || fake.run_count() == 1);
    assert!(!model.drain(Duration::from_millis(20)), "the request is not answered yet");
    fake.fail_run(0);
    fake.release_runs();
    // It fails, and is answered all the same.
    assert_eq!(helper.join().unwrap().unwrap_err().kind(), ErrorKind::Internal);
    assert!(model.drain(PATIENCE));
    assert_eq!(fake.live_contexts.load(Ordering::SeqCst), 0);
}
