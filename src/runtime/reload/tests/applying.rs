//! Versions that come and go.

use std::path::Path;

use super::*;

#[test]
fn versions_count_up_and_the_same_deployment_changes_nothing() {
    let rig = Rig::new();
    let record = changed(rig.apply("a", &times(2.0)));
    assert_eq!((record.from, record.to, record.outcome), (None, Some(1), Outcome::Accepted));
    assert_eq!(rig.ask(3.0).unwrap().to_bits(), 6_f32.to_bits());
    assert!(matches!(rig.apply("a", &times(2.0)), Ok(Applied::Unchanged { version: 1 })));
    let record = changed(rig.apply("b", &times(5.0)));
    assert_eq!((record.from, record.to), (Some(1), Some(2)));
    assert_eq!(rig.ask(3.0).unwrap().to_bits(), 15_f32.to_bits());
    assert_eq!(rig.serving().version(), 2);
    assert_eq!(rig.registry.index()[0].reloads.accepted, 2);
    assert_eq!(rig.registry.history().len(), 2);
}

#[test]
fn a_change_of_the_settings_alone_is_a_new_version_too() {
    let rig = Rig::new();
    let fake = times(2.0);
    rig.apply("a", &fake).unwrap();
    let other = rig.candidate("b", &fake, |model| model.queue.limit = 3);
    assert_eq!(changed(rig.registry.apply(other)).to, Some(2));
    assert_eq!(rig.serving().config().queue.limit, 3);
}

#[test]
fn the_last_two_deployments_are_kept_and_the_former_is_unloaded() {
    let rig = Rig::new();
    let fakes: Vec<_> = (1..=3_u8).map(|factor| times(factor.into())).collect();
    for (label, fake) in ["a", "b", "c"].iter().zip(&fakes) {
        rig.apply(label, fake).unwrap();
    }
    rig.settled();
    assert_eq!(rig.versions(), [(3, VersionState::Serving), (2, VersionState::Kept)]);
    let live = |fake: &Arc<Fake>| fake.live_contexts.load(Ordering::SeqCst);
    until("the former engines are freed", || fakes.iter().map(live).eq([0, 0, 1]));
    let error = rig.registry.find(NAME, Some(2)).err().unwrap().to_string();
    assert_eq!(error, "model `m` has no version 2 loaded; loaded: 3");
}

#[test]
fn a_request_under_way_is_answered_by_the_version_that_took_it() {
    let rig = Rig::new();
    let (old, new) = (times(2.0), times(5.0));
    rig.apply("a", &old).unwrap();
    let model = rig.serving();
    let pending = stuck(&model, &old);
    let candidate = rig.candidate("b", &new, |model| {
        unwatched(model);
        model.reload.samples = 0;
    });
    assert_eq!(changed(rig.registry.apply(candidate)).to, Some(2));
    assert_eq!(rig.ask(3.0).unwrap().to_bits(), 15_f32.to_bits());
    assert_eq!((model.version(), old.live_contexts.load(Ordering::SeqCst)), (1, 1));
    old.open();
    assert_eq!(first(&pending.wait().unwrap()).to_bits(), 2_f32.to_bits());
    drop(model);
    rig.settled();
    until("the old engine is freed", || old.live_contexts.load(Ordering::SeqCst) == 0);
}

#[test]
fn what_cannot_be_loaded_changes_nothing_and_is_counted() {
    let rig = Rig::new();
    let good = times(2.0);
    let corrupt = times(3.0);
    corrupt.corrupt.store(true, Ordering::SeqCst);
    let record = refused(rig.apply("first", &corrupt));
    assert_eq!((record.from, record.to), (None, Some(1)));
    assert_eq!(rig.state(), (ModelState::Unavailable, None));
    let reason = rig.registry.find(NAME, None).err().unwrap().to_string();
    assert!(reason.contains("it is corrupt, as ordered"), "{reason}");

    rig.apply("a", &good).unwrap();
    let record = refused(rig.apply("b", &corrupt));
    assert_eq!((record.from, record.to, stopped_by(&record).name), (Some(2), Some(3), "load"));
    let contextless = times(4.0);
    contextless.no_contexts.store(true, Ordering::SeqCst);
    let record = refused(rig.apply("c", &contextless));
    assert!(record.to_string().contains("there are no contexts, as ordered"), "{record}");
    assert_eq!(rig.state(), (ModelState::Ready, Some(2)));
    assert_eq!(rig.ask(1.0).unwrap().to_bits(), 2_f32.to_bits());
    assert_eq!(rig.registry.index()[0].reloads.refused, 3);
    // A refused deployment may come again, under another number.
    corrupt.corrupt.store(false, Ordering::SeqCst);
    assert_eq!(changed(rig.apply("b", &corrupt)).to, Some(5));
}

#[test]
fn an_engine_that_cannot_be_warmed_up_is_refused() {
    let rig = Rig::new();
    rig.apply("a", &times(2.0)).unwrap();
    let warmed = |model: &mut ModelConfig| {
        unwatched(model);
        model.warmup.iterations = 3;
    };
    let failing = times(3.0);
    failing.fail_run(2);
    let record = refused(rig.registry.apply(rig.candidate("b", &failing, warmed)));
    assert_eq!(stopped_by(&record).name, "load");
    assert!(record.to_string().contains("warming up with a batch of 1"), "{record}");
    let panicking = times(3.0);
    panicking.panic_in_run(0);
    let record = refused(rig.registry.apply(rig.candidate("c", &panicking, warmed)));
    assert!(record.to_string().contains("as ordered"), "{record}");
    assert_eq!(rig.ask(1.0).unwrap().to_bits(), 2_f32.to_bits());
    let free = |fake: &Arc<Fake>| fake.live_contexts.load(Ordering::SeqCst) == 0;
    until("both are freed", || free(&failing) && free(&panicking));
}

/// What is wrong with a folder, and how it comes to be.
type Damage = (&'static str, fn(&Path));

#[test]
fn folders_without_an_engine_are_refused() {
    let rig = Rig::new();
    rig.apply("a", &times(2.0)).unwrap();
    let broken: [Damage; 4] = [
        ("missing", |folder| std::fs::remove_dir_all(folder).unwrap()),
        ("empty", |folder| std::fs::remove_file(folder.join("engine.json")).unwrap()),
        ("garbage", |folder| std::fs::write(folder.join("engine.json"), "{").unwrap()),
        ("other", |folder| {
            let path = folder.join("engine.json");
            let text = std::fs::read_to_string(&path).unwrap().replace("fake", "quantum");
            std::fs::write(path, text).unwrap();
        }),
    ];
    for (label, damage) in broken {
        let candidate = rig.candidate(label, &times(3.0), unwatched);
        damage(&candidate.engine);
        let record = refused(rig.registry.apply(candidate));
        assert_eq!(stopped_by(&record).name, "load", "{label}: {record}");
        assert_eq!(rig.ask(1.0).unwrap().to_bits(), 2_f32.to_bits(), "{label}");
    }
}

#[test]
fn an_engine_that_is_not_the_deployed_one_is_refused() {
    let rig = Rig::new();
    rig.apply("a", &times(2.0)).unwrap();
    let candidate = rig.candidate("b", &times(2.0), unwatched);
    fake(|fake| fake.outputs.clear()).save(&candidate.engine);
    let record = refused(rig.registry.apply(candidate));
    assert!(record.to_string().contains("are not those of its deployment"), "{record}");
}

#[test]
fn two_changes_of_one_model_follow_each_other() {
    let rig = Rig::new();
    rig.apply("a", &times(1.0)).unwrap();
    std::thread::scope(|scope| {
        for number in 0..8_u8 {
            let rig = &rig;
            scope.spawn(move || rig.apply(&format!("b{number}"), &times(2.0)).unwrap());
        }
        for _ in 0..200 {
            assert!([1_f32, 2.0].contains(&rig.ask(1.0).unwrap()));
        }
    });
    assert_eq!(rig.serving().version(), 9);
    let numbers: Vec<_> = rig.registry.history().iter().map(|record| record.to).collect();
    assert_eq!(numbers, (1..=9).map(Some).collect::<Vec<_>>());
}

#[test]
fn a_model_is_changed_while_another_one_takes_long() {
    let rig = Rig::new();
    let old = times(2.0);
    rig.apply("a", &old).unwrap();
    rig.ask(1.0).unwrap();
    let pending = stuck(&rig.serving(), &old);
    std::thread::scope(|scope| {
        // Its shadow check waits behind the request that is stuck.
        let slow = scope.spawn(|| rig.apply("b", &times(2.0)));
        let other = rig.candidate("c", &times(3.0), |model| model.name = "other".into());
        assert_eq!(changed(rig.registry.apply(other)).model, "other");
        old.open();
        slow.join().unwrap().unwrap();
    });
    pending.wait().unwrap();
}

#[test]
fn unloading_waits_for_the_last_request_and_loading_brings_it_back() {
    let rig = Rig::new();
    let fake = times(2.0);
    rig.apply("a", &fake).unwrap();
    let pending = stuck(&rig.serving(), &fake);
    let model = rig.serving();
    std::thread::scope(|scope| {
        let unloading = scope.spawn(|| rig.registry.unload(NAME));
        until("it is unloading", || rig.state().0 == ModelState::Unloading);
        let error = rig.registry.find(NAME, None).err().unwrap().to_string();
        assert_eq!(error, "model `m` is not ready: it is being unloaded");
        fake.open();
        assert!(pending.wait().is_ok());
        drop(model);
        unloading.join().unwrap().unwrap();
    });
    assert_eq!(rig.state(), (ModelState::Unavailable, Some(1)));
    assert_eq!(fake.live_contexts.load(Ordering::SeqCst), 0);
    assert!(matches!(rig.apply("a", &fake), Ok(Applied::Unchanged { version: 1 })));
    assert_eq!(rig.state().0, ModelState::Unavailable, "it was unloaded on purpose");
    rig.registry.unload(NAME).unwrap();

    let record = changed(rig.registry.load(NAME));
    assert_eq!((record.outcome, record.to), (Outcome::Loaded, Some(1)));
    assert!(matches!(rig.registry.load(NAME), Ok(Applied::Unchanged { version: 1 })));
    assert_eq!(rig.ask(4.0).unwrap().to_bits(), 8_f32.to_bits());
}

#[test]
fn a_load_that_fails_leaves_it_unloaded() {
    let rig = Rig::new();
    let fake = times(2.0);
    rig.apply("a", &fake).unwrap();
    rig.registry.unload(NAME).unwrap();
    fake.corrupt.store(true, Ordering::SeqCst);
    refused(rig.registry.load(NAME));
    assert_eq!(rig.state(), (ModelState::Unavailable, Some(1)));
    fake.corrupt.store(false, Ordering::SeqCst);
    rig.registry.load(NAME).unwrap();
    assert_eq!(rig.state(), (ModelState::Ready, Some(1)));
}

#[test]
fn names_that_nobody_deployed_are_unknown_to_every_command() {
    let rig = Rig::new();
    rig.apply("a", &times(2.0)).unwrap();
    let corrupt = times(3.0);
    corrupt.corrupt.store(true, Ordering::SeqCst);
    let candidate = rig.candidate("never", &corrupt, |model| model.name = "never".into());
    refused(rig.registry.apply(candidate));
    let registry = &rig.registry;
    for name in ["mm", "", "../m"] {
        assert!(matches!(registry.find(name, None), Err(InferError::UnknownModel { .. })));
        assert!(matches!(registry.load(name), Err(ReloadError::UnknownModel { .. })));
        assert!(matches!(registry.unload(name), Err(ReloadError::UnknownModel { .. })));
        assert!(matches!(registry.rollback(name), Err(ReloadError::UnknownModel { .. })));
        assert!(matches!(registry.remove(name), Err(ReloadError::UnknownModel { .. })));
        assert!(matches!(registry.versions(name), Err(ReloadError::UnknownModel { .. })));
    }
    let error = registry.load("never").unwrap_err();
    assert!(matches!(error, ReloadError::NothingAccepted { .. }), "{error}");
    assert!(matches!(registry.rollback("never"), Err(ReloadError::NothingBefore { .. })));
    registry.unload("never").unwrap();
}

#[test]
fn a_removed_model_is_forgotten_and_may_come_back_as_another() {
    let rig = Rig::new();
    let fake = times(2.0);
    rig.apply("a", &fake).unwrap();
    rig.apply("b", &fake).unwrap();
    rig.registry.remove(NAME).unwrap();
    assert!(rig.registry.index().is_empty());
    assert!(matches!(rig.registry.find(NAME, None), Err(InferError::UnknownModel { .. })));
    rig.settled();
    until("it is freed", || fake.live_contexts.load(Ordering::SeqCst) == 0);
    assert_eq!(changed(rig.apply("a", &fake)).to, Some(1));
}

#[test]
fn who_subscribes_hears_of_every_change() {
    let rig = Rig::new();
    let mut heard = rig.registry.subscribe();
    rig.apply("a", &times(2.0)).unwrap();
    let corrupt = times(3.0);
    corrupt.corrupt.store(true, Ordering::SeqCst);
    refused(rig.apply("b", &corrupt));
    rig.registry.unload(NAME).unwrap();
    rig.registry.load(NAME).unwrap();
    rig.registry.remove(NAME).unwrap();
    let outcomes: Vec<_> =
        std::iter::from_fn(|| heard.try_recv().ok()).map(|record| record.outcome).collect();
    let expected =
        ["accepted", "refused", "unloaded", "loaded", "removed"].map(str::to_owned).to_vec();
    assert_eq!(outcomes.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    let kept: Vec<_> = rig.registry.history().iter().map(|record| record.outcome).collect();
    assert_eq!(kept, outcomes);
}

#[test]
fn shutting_down_answers_the_last_requests_and_takes_no_more() {
    let rig = Rig::new();
    let fake = times(2.0);
    rig.apply("a", &fake).unwrap();
    let model = rig.serving();
    let pending = stuck(&model, &fake);
    drop(model);
    assert!(!rig.registry.shutdown(Duration::from_millis(20)), "a request still runs");
    let error = rig.registry.find(NAME, None).err().unwrap().to_string();
    assert_eq!(error, "model `m` is not ready: the server is shutting down");
    assert!(matches!(rig.apply("b", &times(3.0)), Err(ReloadError::Closed)));
    fake.open();
    assert!(pending.wait().is_ok());
    assert!(rig.registry.shutdown(PATIENCE));
    until("it is freed", || fake.live_contexts.load(Ordering::SeqCst) == 0);
}

#[test]
fn a_registry_that_is_dropped_leaves_nothing_behind() {
    let rig = Rig::new();
    let fakes = [times(1.0), times(2.0)];
    for (label, fake) in ["a", "b"].iter().zip(&fakes) {
        // Watched for long.
        rig.registry.apply(rig.candidate(label, fake, |_| ())).unwrap();
    }
    let shared = Arc::clone(rig.registry.shared());
    drop(rig);
    assert!(shared.tasks.wait(Instant::now() + PATIENCE));
    let free = |fake: &Arc<Fake>| fake.live_contexts.load(Ordering::SeqCst) == 0;
    until("both are freed", || fakes.iter().all(free));
}
