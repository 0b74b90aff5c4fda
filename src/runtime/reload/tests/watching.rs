//! What happens after a version took over.

use super::*;

#[test]
fn while_it_is_watched_the_former_stands_by_and_answers_under_its_number() {
    let rig = Rig::new();
    rig.apply("a", &times(2.0)).unwrap();
    rig.registry.apply(rig.candidate("b", &times(3.0), |_| ())).unwrap();
    assert_eq!(rig.versions(), [(2, VersionState::Serving), (1, VersionState::Standby)]);
    assert!(rig.registry.versions(NAME).unwrap()[0].watched_for.is_some());
    let former = rig.registry.find(NAME, Some(1)).unwrap();
    assert_eq!(
        first(&former.submit(request(1.0)).unwrap().wait().unwrap()).to_bits(),
        2_f32.to_bits()
    );
    let error = rig.registry.find(NAME, Some(7)).err().unwrap().to_string();
    assert_eq!(error, "model `m` has no version 7 loaded; loaded: 2, 1");
}

#[test]
fn a_version_that_proves_itself_has_the_former_unloaded() {
    let rig = Rig::new();
    let old = times(2.0);
    rig.apply("a", &old).unwrap();
    let short = |model: &mut ModelConfig| model.reload.watch_seconds = 0.01;
    rig.registry.apply(rig.candidate("b", &times(3.0), short)).unwrap();
    until("it is settled", || rig.versions()[1].1 == VersionState::Kept);
    until("the former is freed", || old.live_contexts.load(Ordering::SeqCst) == 0);
    assert_eq!(rig.registry.versions(NAME).unwrap()[0].watched_for, None);
}

#[test]
fn errors_of_the_new_version_bring_the_former_back_at_once() {
    let rig = Rig::new();
    let (old, bad) = (times(2.0), times(3.0));
    rig.apply("a", &old).unwrap();
    rig.registry.apply(rig.candidate("b", &bad, |_| ())).unwrap();
    (0..1000).for_each(|run| bad.fail_run(run));
    let failed = (0..5).filter(|_| rig.ask(1.0).is_err()).count();
    assert_eq!(failed, 5);
    let record = rolled_back(&rig);
    assert_eq!((record.from, record.to), (Some(2), Some(1)));
    assert_eq!((record.gates[0].name, record.gates[0].value), ("error_rate", Some(1.0)));
    assert_eq!(rig.ask(1.0).unwrap().to_bits(), 2_f32.to_bits());
    assert_eq!((rig.serving().version(), old.contexts.load(Ordering::SeqCst)), (1, 1));
    until("the bad one is freed", || bad.live_contexts.load(Ordering::SeqCst) == 0);

    // The same deployment is not tried again by itself; somebody may insist, and others may come.
    let record = refused(rig.apply("b", &bad));
    assert_eq!(stopped_by(&record).name, "rejected");
    assert_eq!(changed(rig.apply("c", &times(4.0))).to, Some(4));
    let good = times(5.0);
    let record = changed(rig.registry.apply_again(rig.candidate("b", &good, unwatched)));
    assert_eq!(record.to, Some(5));
    rig.apply("d", &good).unwrap();
    assert_eq!(changed(rig.apply("b", &good)).to, Some(7), "it is forgiven");
}

#[test]
fn a_version_that_became_slow_is_taken_back() {
    let rig = Rig::new();
    rig.apply("a", &times(2.0)).unwrap();
    let slow = fake(|fake| fake.slow = Duration::from_millis(4));
    let limited = |model: &mut ModelConfig| model.reload.max_p99_ms = Some(1.0);
    rig.registry.apply(rig.candidate("b", &slow, limited)).unwrap();
    for _ in 0..30 {
        rig.ask(1.0).unwrap();
    }
    let record = rolled_back(&rig);
    assert_eq!((record.gates[0].name, record.gates[0].limit), ("p99", Some(1.0)));
    assert!(record.gates[0].value.unwrap() > 1.0);
}

#[test]
fn going_back_by_hand_is_at_once_while_the_former_stands_by() {
    let rig = Rig::new();
    let old = times(2.0);
    rig.apply("a", &old).unwrap();
    rig.registry.apply(rig.candidate("b", &times(3.0), |_| ())).unwrap();
    let record = rig.registry.rollback(NAME).unwrap();
    assert_eq!((record.from, record.to, record.outcome), (Some(2), Some(1), Outcome::RolledBack));
    assert_eq!(record.reason.as_deref(), Some("rolled back by hand"));
    assert_eq!(rig.ask(1.0).unwrap().to_bits(), 2_f32.to_bits());
    assert_eq!(old.contexts.load(Ordering::SeqCst), 1);
    let error = rig.registry.rollback(NAME).unwrap_err();
    assert!(matches!(error, ReloadError::NothingBefore { .. }), "{error}");
    assert_eq!(stopped_by(&refused(rig.apply("b", &times(3.0)))).name, "rejected");
    assert_eq!(changed(rig.apply("c", &times(4.0))).to, Some(4), "no number is given twice");
}

#[test]
fn going_back_by_hand_loads_the_former_where_it_was_unloaded() {
    let rig = Rig::new();
    let (old, new) = (times(2.0), times(3.0));
    rig.apply("a", &old).unwrap();
    rig.apply("b", &new).unwrap();
    rig.settled();
    assert_eq!(rig.versions()[1].1, VersionState::Kept);
    old.corrupt.store(true, Ordering::SeqCst);
    assert!(matches!(rig.registry.rollback(NAME), Err(ReloadError::Refused(_))));
    assert_eq!(rig.ask(1.0).unwrap().to_bits(), 3_f32.to_bits());
    old.corrupt.store(false, Ordering::SeqCst);
    let record = rig.registry.rollback(NAME).unwrap();
    assert_eq!((record.from, record.to, record.outcome), (Some(2), Some(1), Outcome::RolledBack));
    assert_eq!(rig.ask(1.0).unwrap().to_bits(), 2_f32.to_bits());
    assert_eq!(rig.versions(), [(1, VersionState::Serving)]);
    until("the other one is freed", || new.live_contexts.load(Ordering::SeqCst) == 0);
}

#[test]
fn a_version_offered_while_another_is_taken_back_is_compared_with_the_one_that_serves() {
    let rig = Rig::new();
    let (a, b) = (times(2.0), times(2.0));
    rig.apply("a", &a).unwrap();
    rig.ask(1.0).unwrap();
    rig.registry.apply(rig.candidate("b", &b, |model| model.instances = 2)).unwrap();
    // The shadow check of `c` is held up in `b`, which fails meanwhile and is taken back.
    let runs = b.run_count();
    b.hold_run(runs);
    (runs + 1..runs + 1000).for_each(|run| b.fail_run(run));
    std::thread::scope(|scope| {
        let applying = scope.spawn(|| rig.apply("c", &times(4.0)));
        until("the shadow check runs", || b.run_count() > runs);
        assert!((0..5).all(|_| rig.ask(1.0).is_err()));
        rolled_back(&rig);
        let runs = a.run_count();
        b.release_runs();
        let record = changed(applying.join().unwrap());
        assert_eq!((record.from, record.to, a.run_count() - runs), (Some(1), Some(3), 1));
    });
    assert_eq!(rig.versions()[1].0, 1);
    assert_eq!(rig.ask(1.0).unwrap().to_bits(), 4_f32.to_bits());
}

#[test]
fn going_back_by_hand_gives_up_what_was_under_way() {
    let rig = Rig::new();
    let (a, b, c) = (times(2.0), times(2.0), times(4.0));
    rig.apply("a", &a).unwrap();
    rig.ask(1.0).unwrap();
    rig.registry.apply(rig.candidate("b", &b, |_| ())).unwrap();
    b.close();
    let runs = b.run_count();
    std::thread::scope(|scope| {
        let applying = scope.spawn(|| rig.apply("c", &c));
        until("the shadow check runs", || b.run_count() > runs);
        rig.registry.rollback(NAME).unwrap();
        b.open();
        let record = refused(applying.join().unwrap());
        let reason = record.reason.as_deref().unwrap();
        assert!(reason.starts_with("somebody went back to the version before"), "{reason}");
    });
    assert_eq!((rig.serving().version(), rig.ask(1.0).unwrap().to_bits()), (1, 2_f32.to_bits()));
    // It was not found wanting: it may be offered again.
    assert_eq!(changed(rig.apply("c", &c)).to, Some(4));
}

#[test]
fn a_version_that_follows_a_watched_one_ends_that_watch() {
    let rig = Rig::new();
    let fakes: Vec<_> = (1..=4_u8).map(|factor| times(factor.into())).collect();
    for (label, fake) in ["a", "b", "c", "d"].iter().zip(&fakes) {
        rig.registry.apply(rig.candidate(label, fake, |_| ())).unwrap();
    }
    assert_eq!(rig.versions(), [(4, VersionState::Serving), (3, VersionState::Standby)]);
    let live = |fake: &Arc<Fake>| fake.live_contexts.load(Ordering::SeqCst);
    until("those before are freed", || fakes.iter().map(live).eq([0, 0, 1, 1]));
    rig.registry.unload(NAME).unwrap();
    until("all are freed", || fakes.iter().map(live).eq([0, 0, 0, 0]));
    rig.settled();
}
