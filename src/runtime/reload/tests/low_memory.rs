//! Versions that do not fit into memory beside each other.

use crate::deployment::OnLowMemory;

use super::*;

/// About what a fake is thought to need, and what is left alone.
const ONE: u64 = (8 + 32 + 1) * MIB;

/// As [`drain_first`], without a shadow check: it would wait behind a request that is stuck.
fn drain_unchecked(model: &mut ModelConfig) {
    drain_first(model);
    model.reload.samples = 0;
}

fn drain_first(model: &mut ModelConfig) {
    unwatched(model);
    model.reload.on_low_memory = OnLowMemory::DrainFirst;
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_loaded() {
    let rig = Rig::new();
    rig.apply("a", &times(2.0)).unwrap();
    rig.free.store(33 * MIB, Ordering::SeqCst);
    let fake = times(3.0);
    let record = refused(rig.apply("b", &fake));
    let gate = stopped_by(&record);
    assert_eq!(gate.name, "memory");
    assert_eq!(
        gate.detail,
        "needs about 9 MiB of host memory, 1 MiB are free beside the version that serves; \
         `reload.on_low_memory: drain_first` unloads that one first"
    );
    assert_eq!(fake.contexts.load(Ordering::SeqCst), 0);
    assert_eq!(rig.ask(1.0).unwrap().to_bits(), 2_f32.to_bits());
    rig.free.store(ONE, Ordering::SeqCst);
    changed(rig.apply("b", &fake));
}

#[test]
fn where_asked_for_the_old_one_makes_room_first() {
    let rig = Rig::new();
    let (old, new) = (times(2.0), times(3.0));
    rig.apply("a", &old).unwrap();
    rig.free.store(33 * MIB, Ordering::SeqCst);
    let model = rig.serving();
    let pending = stuck(&model, &old);
    std::thread::scope(|scope| {
        let applying =
            scope.spawn(|| rig.registry.apply(rig.candidate("b", &new, drain_unchecked)));
        until("the old one drains", || rig.state().0 == ModelState::Loading);
        let error = rig.registry.find(NAME, None).err().unwrap();
        assert_eq!(error.to_string(), "model `m` is not ready: it is being loaded");
        assert_eq!(new.contexts.load(Ordering::SeqCst), 0);
        old.open();
        assert!(pending.wait().is_ok());
        drop(model);
        assert_eq!(changed(applying.join().unwrap()).to, Some(2));
    });
    assert_eq!(old.live_contexts.load(Ordering::SeqCst), 0);
    assert_eq!(rig.ask(1.0).unwrap().to_bits(), 3_f32.to_bits());
    assert_eq!(rig.versions(), [(2, VersionState::Serving), (1, VersionState::Kept)]);
}

#[test]
fn a_new_one_that_fails_after_the_old_one_made_room_brings_that_one_back() {
    let rig = Rig::new();
    let old = times(2.0);
    rig.apply("a", &old).unwrap();
    rig.ask(1.0).unwrap();
    rig.free.store(33 * MIB, Ordering::SeqCst);
    let corrupt = times(3.0);
    corrupt.corrupt.store(true, Ordering::SeqCst);
    let record = refused(rig.registry.apply(rig.candidate("b", &corrupt, drain_first)));
    assert_eq!((stopped_by(&record).name, record.from), ("load", Some(1)));
    assert_eq!(rig.state(), (ModelState::Ready, Some(1)));
    assert_eq!(rig.ask(1.0).unwrap().to_bits(), 2_f32.to_bits());
    // Also where it is only the answers that are wrong.
    let record = refused(rig.registry.apply(rig.candidate("c", &times(f32::NAN), drain_first)));
    assert_eq!(stopped_by(&record).name, "shadow.nonfinite");
    assert_eq!(rig.ask(1.0).unwrap().to_bits(), 2_f32.to_bits());
    assert_eq!(old.contexts.load(Ordering::SeqCst), 3);
}

#[test]
fn where_neither_loads_the_model_says_both_reasons() {
    let rig = Rig::new();
    let old = times(2.0);
    rig.apply("a", &old).unwrap();
    rig.free.store(33 * MIB, Ordering::SeqCst);
    let corrupt = times(3.0);
    for fake in [&old, &corrupt] {
        fake.corrupt.store(true, Ordering::SeqCst);
    }
    let record = refused(rig.registry.apply(rig.candidate("b", &corrupt, drain_first)));
    let reason = record.reason.as_deref().unwrap();
    assert!(reason.contains("; and version 1 could not be loaded again: "), "{reason}");
    assert_eq!(rig.state(), (ModelState::Unavailable, Some(1)));
    old.corrupt.store(false, Ordering::SeqCst);
    rig.free.store(ONE, Ordering::SeqCst);
    // Unlike after an unloading by hand, the same deployment is loaded again.
    rig.registry.load(NAME).unwrap();
    assert_eq!(rig.ask(1.0).unwrap().to_bits(), 2_f32.to_bits());
}

#[test]
fn requests_that_do_not_end_keep_the_old_one_in_service() {
    let rig = Rig::patient(Patience { drain: Duration::from_millis(30), answers: PATIENCE });
    let old = times(2.0);
    rig.apply("a", &old).unwrap();
    rig.free.store(33 * MIB, Ordering::SeqCst);
    let model = rig.serving();
    let pending = stuck(&model, &old);
    let candidate = rig.candidate("b", &times(3.0), drain_unchecked);
    let record = refused(rig.registry.apply(candidate));
    assert_eq!(stopped_by(&record).name, "draining");
    assert_eq!(rig.state(), (ModelState::Ready, Some(1)));
    old.open();
    assert!(pending.wait().is_ok());
    assert_eq!(rig.ask(1.0).unwrap().to_bits(), 2_f32.to_bits());
}

#[test]
fn what_would_not_fit_alone_is_refused_without_an_interruption() {
    let rig = Rig::new();
    let old = times(2.0);
    rig.apply("a", &old).unwrap();
    rig.free.store(MIB, Ordering::SeqCst);
    let candidate = rig.candidate("b", &times(3.0), drain_first);
    std::fs::write(candidate.engine.join("weights"), vec![0; 64 << 20]).unwrap();
    let record = refused(rig.registry.apply(candidate));
    let detail = &stopped_by(&record).detail;
    assert!(detail.ends_with("unloading the version that serves would not be enough"), "{detail}");
    assert_eq!(old.contexts.load(Ordering::SeqCst), 1);
}

#[test]
fn a_change_that_comes_while_another_one_drains_waits_for_it() {
    let rig = Rig::new();
    let old = times(2.0);
    rig.apply("a", &old).unwrap();
    rig.free.store(33 * MIB, Ordering::SeqCst);
    let model = rig.serving();
    let pending = stuck(&model, &old);
    let (third, fourth) = (times(3.0), times(4.0));
    let apply = |label, fake| rig.registry.apply(rig.candidate(label, fake, drain_unchecked));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| apply("b", &third));
        until("the old one drains", || rig.state().0 == ModelState::Loading);
        let second = scope.spawn(|| apply("c", &fourth));
        let unknown = rig.registry.find(NAME, Some(1)).err().unwrap();
        assert_eq!(unknown.to_string(), "model `m` is not ready: it is being loaded");
        old.open();
        assert!(pending.wait().is_ok());
        drop(model);
        assert_eq!(changed(first.join().unwrap()).to, Some(2));
        assert_eq!(changed(second.join().unwrap()).to, Some(3));
    });
    assert_eq!(rig.ask(1.0).unwrap().to_bits(), 4_f32.to_bits());
}

#[test]
fn a_version_that_took_the_place_of_the_former_is_watched_too() {
    let rig = Rig::new();
    let (old, bad) = (times(2.0), times(3.0));
    rig.apply("a", &old).unwrap();
    rig.free.store(33 * MIB, Ordering::SeqCst);
    let watched = rig.candidate("b", &bad, |model| {
        model.reload.on_low_memory = OnLowMemory::DrainFirst;
    });
    rig.registry.apply(watched).unwrap();
    assert_eq!(rig.versions(), [(2, VersionState::Serving), (1, VersionState::Kept)]);
    (0..1000).for_each(|run| bad.fail_run(run));
    assert!((0..5).all(|_| rig.ask(1.0).is_err()));
    let record = rolled_back(&rig);
    assert_eq!((record.from, record.to), (Some(2), Some(1)));
    let reason = record.reason.as_deref().unwrap();
    assert_eq!(reason, "error_rate: 5 of 5 requests failed, allowed is a fraction of 0.05");
    assert_eq!(rig.ask(1.0).unwrap().to_bits(), 2_f32.to_bits());
    assert_eq!(bad.live_contexts.load(Ordering::SeqCst), 0);
}
