//! Devices that break for good.

use std::sync::Mutex;

use super::*;
use crate::deployment::{OnDeviceFailure, Placement};

/// A model on devices that take turns, one engine each.
fn on_devices(fakes: &[Arc<Fake>], change: impl FnOnce(&mut ModelConfig)) -> Model {
    load_on(fakes, change).unwrap()
}

fn load_on(
    fakes: &[Arc<Fake>],
    change: impl FnOnce(&mut ModelConfig),
) -> Result<Model, InferError> {
    let mut config = fakes[0].config("m");
    config.placement = Placement::RoundRobin;
    change(&mut config);
    let loaded =
        |(at, fake): (usize, &Arc<Fake>)| Loaded { device: Some(at), engine: fake.engine() };
    let loaded = fakes.iter().enumerate().map(loaded).collect();
    Model::start_on(config, 1, loaded, Path::new("/nowhere"))
}

fn fakes<const N: usize>() -> [Arc<Fake>; N] {
    [(); N].map(|()| Arc::new(Fake::default()))
}

fn lost(model: &Model) -> Vec<bool> {
    model.devices().iter().map(|status| status.lost.is_some()).collect()
}

fn live(fake: &Fake) -> usize {
    fake.live_contexts.load(Ordering::SeqCst)
}

#[test]
fn requests_of_a_device_that_is_lost_are_answered_by_another_and_so_are_all_later_ones() {
    let fakes = fakes::<2>();
    fakes[1].lose_in_run(2);
    let model = on_devices(&fakes, |config| config.instances = 2);
    assert_eq!(model.degradation(), None);
    for seed in 0..20 {
        assert_answers(&model.submit(rows(1, seed)).unwrap().wait().unwrap(), &rows(1, seed));
    }
    assert_eq!((fakes[1].run_count(), lost(&model)), (3, vec![false, true]));
    let batches: Vec<u64> = model.devices().iter().map(|status| status.batches).collect();
    assert_eq!(batches, [18, 2], "only batches that ran are counted");
    assert_eq!(model.degradation().unwrap(), "degraded: device 1 is lost: as ordered");
    assert_eq!(model.end(), None);
    let counted = model.statistics().snapshot();
    assert_eq!((counted.succeeded().count, counted.failed_in_all().count), (20, 0));
}

#[test]
fn every_request_of_the_batch_is_answered_where_the_device_breaks_under_a_batch() {
    let fakes = fakes::<2>();
    fakes[0].lose_in_run(1);
    let model = on_devices(&fakes, |config| {
        config.batching = Some(batching(8, 0.0));
        config.placement = Placement::LeastOutstanding;
    });
    // Both devices are busy, so that the rest waits together.
    for fake in &fakes {
        fake.close();
    }
    let running = || fakes.iter().map(|fake| fake.run_count()).sum::<usize>();
    let first = [0, 1].map(|seed| {
        let pending = model.submit(rows(1, seed)).unwrap();
        until("it runs", || running() == seed + 1);
        pending
    });
    let requests: Vec<_> = (2..8).map(|seed| rows(1, seed)).collect();
    let pending: Vec<_> = requests.iter().map(|r| model.submit(r.clone()).unwrap()).collect();
    fakes[0].open();
    until("the batch has met the fault", || lost(&model)[0]);
    fakes[1].open();
    for (pending, request) in pending.into_iter().zip(&requests) {
        assert_answers(&pending.wait().unwrap(), request);
    }
    for pending in first {
        pending.wait().unwrap();
    }
    assert_eq!(fakes[0].batches(), [1, 6]);
    assert_eq!(fakes[1].batches(), [1, 6], "it ran again as it was");
}

#[test]
fn a_request_that_loses_two_devices_is_told_so_and_is_not_tried_on_a_third() {
    let fakes = fakes::<3>();
    fakes[0].lose_in_run(0);
    fakes[1].lose_in_run(0);
    let model = on_devices(&fakes, |_| {});
    let error = model.submit(rows(1, 1)).unwrap().wait().unwrap_err();
    assert!(matches!(error, InferError::Backend(BackendError::DeviceLost { .. })), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(fakes[2].run_count(), 0);
    assert_answers(&model.submit(rows(1, 2)).unwrap().wait().unwrap(), &rows(1, 2));
    assert_eq!(lost(&model), [true, true, false]);
}

#[test]
fn a_request_whose_time_is_over_when_its_device_breaks_does_not_run_again() {
    let fakes = fakes::<2>();
    fakes[0].lose_in_run(0);
    fakes[0].close();
    let model = on_devices(&fakes, |_| {});
    let deadline = Instant::now() + Duration::from_millis(20);
    let pending = model.submit(InferRequest { deadline: Some(deadline), ..rows(1, 1) }).unwrap();
    until("it runs, and its time is over", || {
        fakes[0].run_count() == 1 && Instant::now() > deadline
    });
    fakes[0].open();
    let error = pending.wait().unwrap_err();
    assert!(matches!(error, InferError::DeadlineExceeded { .. }), "{error:?}");
    assert_eq!(fakes[1].run_count(), 0);
}

#[test]
fn where_no_device_is_left_requests_get_a_typed_error_and_the_model_says_why() {
    let fakes = fakes::<2>();
    for fake in &fakes {
        fake.lose_in_run(0);
    }
    let model = on_devices(&fakes, |_| {});
    for fake in &fakes {
        fake.close();
    }
    let pending: Vec<_> = (0..6).map(|seed| model.submit(rows(1, seed)).unwrap()).collect();
    until("both run", || fakes.iter().all(|fake| fake.run_count() == 1));
    for fake in &fakes {
        fake.open();
    }
    for pending in pending {
        assert_eq!(pending.wait().unwrap_err().kind(), ErrorKind::Unavailable);
    }
    let error = model.submit(rows(1, 9)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "model `m` is not ready: no device is left to run it: device 0 is lost: as ordered; start \
         the server again"
    );
    assert_eq!(model.statistics().snapshot().in_flight, 0);
    assert!(model.drain(PATIENCE), "its threads end");
}

#[test]
fn what_is_on_a_lost_device_is_never_destroyed() {
    let fakes = fakes::<2>();
    fakes[1].lose_in_run(0);
    let model = on_devices(&fakes, |config| config.instances = 3);
    for seed in 0..4 {
        model.submit(rows(1, seed)).unwrap().wait().unwrap();
    }
    assert!(model.drain(PATIENCE));
    drop(model);
    assert_eq!((live(&fakes[0]), live(&fakes[1])), (0, 3));
    assert_eq!(Arc::strong_count(&fakes[0]), 1, "its engine is unloaded");
    assert!(Arc::strong_count(&fakes[1]) > 1 + 3, "this one is not");
}

#[test]
fn a_context_that_is_lent_when_its_device_is_lost_does_not_come_back() {
    let fakes = fakes::<1>();
    fakes[0].close();
    fakes[0].lose_in_run(1);
    let model = on_devices(&fakes, |config| config.instances = 2);
    let pending = [0, 1].map(|seed| model.submit(rows(1, seed)).unwrap());
    until("both run", || fakes[0].run_count() == 2);
    fakes[0].open();
    let outcomes = pending.map(Pending::wait);
    assert!(outcomes.iter().any(Result::is_err), "one of them met the fault");
    assert!(model.submit(rows(1, 2)).is_err());
    until("the contexts are given back", || model.devices()[0].outstanding == 0);
    drop(model);
    assert_eq!(live(&fakes[0]), 2);
}

/// Every instance runs twice before the model is there.
fn warmed_up(config: &mut ModelConfig) {
    (config.instances, config.warmup.iterations) = (2, 2);
}

#[test]
fn a_device_that_breaks_while_a_model_is_loaded_is_one_that_it_lost() {
    // While contexts are made, in the first run and in one of the second context.
    let broken: [fn(&Fake); 3] =
        [Fake::lose, |fake| fake.lose_in_run(0), |fake| fake.lose_in_run(3)];
    for broken in broken {
        let fakes = fakes::<3>();
        broken(&fakes[1]);
        let model = on_devices(&fakes, warmed_up);
        assert_eq!(lost(&model), [false, true, false]);
        let (sender, mut heard) = broadcast::channel(8);
        model.tell_losses(&sender);
        let told = heard.try_recv().unwrap();
        assert_eq!((told.device, told.left), (Some(1), 2));
        assert!(heard.try_recv().is_err(), "it was told twice");
        for seed in 0..6 {
            assert_answers(&model.submit(rows(1, seed)).unwrap().wait().unwrap(), &rows(1, seed));
        }
        assert_eq!(model.degradation().unwrap(), "degraded: device 1 is lost: as ordered");
        model.warm_up(1).unwrap();
    }
}

#[test]
fn a_model_whose_named_or_last_device_breaks_while_it_is_loaded_is_refused() {
    let named = fakes::<2>();
    named[1].lose_in_run(3);
    let name = |config: &mut ModelConfig| {
        warmed_up(config);
        config.devices = Some(vec![0, 1]);
    };
    let all = fakes::<2>();
    all[0].lose();
    all[1].lose_in_run(3);
    for loaded in [load_on(&named, name), load_on(&all, warmed_up)] {
        let error = loaded.map(drop).unwrap_err();
        assert!(matches!(error, InferError::Backend(BackendError::DeviceLost { .. })), "{error:?}");
    }
    assert_eq!((live(&named[0]), live(&named[1])), (0, 2), "what is on it is not destroyed");
}

#[test]
fn whoever_asked_hears_of_every_device_that_is_lost_once() {
    let fakes = fakes::<3>();
    fakes[1].lose_in_run(0);
    fakes[2].lose_in_run(0);
    let model = on_devices(&fakes, |config| config.on_device_failure = OnDeviceFailure::Exit);
    let (sender, mut heard) = broadcast::channel(8);
    model.tell_losses(&sender);
    let wanted = Mutex::new(Vec::new());
    for seed in 0..6 {
        // The one that loses two devices fails.
        wanted.lock().unwrap().push(model.submit(rows(1, seed)).unwrap().wait().is_ok());
    }
    assert_eq!(wanted.into_inner().unwrap(), [true, false, true, true, true, true]);
    let told: Vec<DeviceLoss> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
    let told: Vec<_> = told.iter().map(|it| (it.device, it.left, it.then)).collect();
    let exit = OnDeviceFailure::Exit;
    assert_eq!(told, [(Some(1), 2, exit), (Some(2), 1, exit)]);
}
