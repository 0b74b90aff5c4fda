//! What stops a version before requests reach it.

use crate::backend::fake::spec;
use crate::deployment::{BatchingConfig, Tolerance};

use super::*;

fn tolerant(tolerance: Tolerance) -> impl Fn(&mut ModelConfig) {
    move |model| {
        unwatched(model);
        model.reload.compare = Some(tolerance);
    }
}

fn within(max_abs: f64) -> impl Fn(&mut ModelConfig) {
    tolerant(Tolerance { max_abs: Some(max_abs), ..Tolerance::default() })
}

/// A rig that serves a version which answered some requests.
fn asked(fake: &Arc<Fake>) -> Rig {
    let rig = Rig::new();
    rig.apply("a", fake).unwrap();
    for value in [1.0, 2.0, -4.0] {
        rig.ask(value).unwrap();
    }
    rig
}

#[test]
fn answers_that_differ_too_much_are_refused_with_the_output_and_the_distance() {
    let rig = asked(&times(2.0));
    let record = refused(rig.registry.apply(rig.candidate("b", &times(2.5), within(1.0))));
    let gate = stopped_by(&record);
    assert_eq!((gate.name, gate.output.as_deref()), ("shadow.max_abs", Some("y")));
    assert_eq!((gate.value, gate.limit), (Some(2.0), Some(1.0)));
    let reason = record.reason.as_deref().unwrap();
    assert_eq!(reason, "shadow.max_abs of output `y`: 2.000000e0, allowed is at most 1e0");
    assert_eq!(rig.serving().version(), 1);
    let record = changed(rig.registry.apply(rig.candidate("c", &times(2.5), within(2.0))));
    let gate = record.gates.iter().find(|gate| gate.name == "shadow.max_abs").unwrap();
    assert_eq!((gate.value, gate.passed), (Some(2.0), true));
    let gate = record.gates.last().unwrap();
    assert_eq!(gate.detail, "3 of 3 recent requests ran on both versions");
}

#[test]
fn every_limit_of_the_tolerance_is_held() {
    let rig = asked(&times(2.0));
    let relative = Tolerance { max_relative_error: Some(0.1), ..Tolerance::default() };
    let record = refused(rig.registry.apply(rig.candidate("b", &times(2.5), tolerant(relative))));
    assert_eq!(stopped_by(&record).name, "shadow.max_relative_error");
    assert_eq!(stopped_by(&record).value, Some(0.25));
    let cosine = Tolerance { cosine: Some(0.99), ..Tolerance::default() };
    let record = refused(rig.registry.apply(rig.candidate("c", &times(-2.0), tolerant(cosine))));
    assert_eq!(
        (stopped_by(&record).name, stopped_by(&record).value),
        ("shadow.cosine", Some(-1.0))
    );
    changed(rig.registry.apply(rig.candidate("d", &times(2.1), tolerant(cosine))));
}

#[test]
fn without_a_tolerance_any_number_will_do_but_not_nan() {
    let rig = asked(&times(2.0));
    changed(rig.apply("b", &times(-1e6)));
    for (label, factor) in [("nan", f32::NAN), ("inf", f32::INFINITY)] {
        let record = refused(rig.apply(label, &times(factor)));
        let gate = stopped_by(&record);
        assert_eq!((gate.name, gate.output.as_deref()), ("shadow.nonfinite", Some("y")));
    }
    assert_eq!(rig.serving().version(), 2);
}

#[test]
fn nan_that_was_there_before_stops_nobody() {
    let rig = asked(&times(f32::NAN));
    changed(rig.registry.apply(rig.candidate("b", &times(f32::NAN), within(0.0))));
    changed(rig.registry.apply(rig.candidate("c", &times(1.0), unwatched)));
}

#[test]
fn a_version_that_cannot_answer_what_was_asked_is_refused() {
    let rig = asked(&times(2.0));
    let failing = times(2.0);
    failing.fail_run(1);
    let record = refused(rig.apply("b", &failing));
    assert_eq!(stopped_by(&record).name, "shadow");
    let reason = record.reason.as_deref().unwrap();
    assert!(reason.contains("sample 1 failed: ") && reason.contains("as ordered"), "{reason}");
    rig.settled();
    until("it is freed", || failing.live_contexts.load(Ordering::SeqCst) == 0);
    assert_eq!(rig.ask(1.0).unwrap().to_bits(), 2_f32.to_bits());
}

#[test]
fn what_the_serving_version_cannot_answer_the_new_one_need_not_match() {
    let old = times(2.0);
    let rig = asked(&old);
    // The shadow check's runs on the old one.
    (3..6).for_each(|run| old.fail_run(run));
    let record = changed(rig.registry.apply(rig.candidate("b", &times(9.0), within(0.0))));
    assert_eq!(record.gates.last().unwrap().detail, "0 of 3 recent requests ran on both versions");
}

#[test]
fn samples_pass_on_from_version_to_version_and_are_not_multiplied() {
    let rig = asked(&times(2.0));
    for (label, factor) in [("b", 2.0), ("c", 2.0), ("d", 2.0)] {
        let record = changed(rig.apply(label, &times(factor)));
        let detail = &record.gates.last().unwrap().detail;
        assert_eq!(detail, "3 of 3 recent requests ran on both versions");
    }
    let record = refused(rig.registry.apply(rig.candidate("e", &times(3.0), within(0.1))));
    assert_eq!(stopped_by(&record).name, "shadow.max_abs");
}

#[test]
fn a_version_is_compared_with_as_many_samples_as_it_wants() {
    let rig = asked(&times(2.0));
    let one = rig.candidate("b", &times(2.0), |model| {
        unwatched(model);
        model.reload.samples = 1;
    });
    let record = changed(rig.registry.apply(one));
    let detail = &record.gates.last().unwrap().detail;
    assert_eq!(detail, "1 of 1 recent requests ran on both versions");
    let none = rig.candidate("c", &times(7.0), |model| {
        within(0.0)(model);
        model.reload.samples = 0;
    });
    changed(rig.registry.apply(none));
}

#[test]
fn clients_that_would_break_stop_an_interface_unless_told_otherwise() {
    let rig = asked(&times(2.0));
    let renamed =
        || Arc::new(Fake::new(vec![spec("z", &["batch", "4"])], vec![spec("y", &["batch", "4"])]));
    let record = refused(rig.apply("b", &renamed()));
    assert_eq!((stopped_by(&record).name, record.gates.len()), ("interface", 1));
    assert!(record.to_string().contains("input `x` is gone"), "{record}");
    let allowed = rig.candidate("c", &renamed(), |model| {
        unwatched(model);
        model.reload.allow_interface_change = true;
    });
    let record = changed(rig.registry.apply(allowed));
    let shadow = record.gates.iter().find(|gate| gate.name == "shadow").unwrap();
    assert_eq!(shadow.detail, "the inputs changed: recorded requests do not fit any more");
    // What was recorded for the other inputs is not carried over.
    let record = changed(rig.apply("d", &renamed()));
    let shadow = record.gates.last().unwrap();
    assert_eq!(shadow.detail, "there were no requests to run on both versions yet");
}

#[test]
fn recorded_requests_that_are_too_large_for_the_next_version_stop_it_unless_told_otherwise() {
    let rig = Rig::new();
    let batches = |max_batch| {
        move |model: &mut ModelConfig| {
            unwatched(model);
            model.batching = Some(BatchingConfig {
                max_batch,
                max_delay_ms: 0.0,
                preferred_sizes: Vec::new(),
                preserve_ordering: false,
                pad: false,
            });
        }
    };
    rig.registry.apply(rig.candidate("a", &times(2.0), batches(2))).unwrap();
    let mut two = request(1.0);
    two.inputs[0].shape = Shape(vec![2, 4]);
    two.inputs[0].bytes = Bytes::from(vec![0; 32]);
    rig.serving().submit(two).unwrap().wait().unwrap();
    let record = refused(rig.registry.apply(rig.candidate("b", &times(2.0), batches(1))));
    assert!(record.to_string().contains("shadow: sample 0 failed: "), "{record}");
    let allowed = rig.candidate("b", &times(2.0), |model| {
        batches(1)(model);
        model.reload.allow_interface_change = true;
    });
    let record = changed(rig.registry.apply(allowed));
    let detail = &record.gates.last().unwrap().detail;
    assert_eq!(detail, "0 of 1 recent requests ran on both versions");
}

#[test]
fn inputs_in_another_order_are_matched_by_name() {
    let (a, b) = (spec("a", &["batch", "4"]), spec("b", &["batch", "4"]));
    let (y, z) = (spec("y", &["batch", "4"]), spec("z", &["batch", "4"]));
    let old = Arc::new(Fake::new(vec![a.clone(), b.clone()], vec![y.clone(), z.clone()]));
    let rig = Rig::new();
    rig.apply("a", &old).unwrap();
    let mut two = request(1.0);
    two.inputs.push(request(5.0).inputs.remove(0));
    rig.serving().submit(two).unwrap().wait().unwrap();
    // A fake's outputs are its inputs in their order, so this one computes the same.
    let new = Arc::new(Fake::new(vec![b, a], vec![z, y]));
    changed(rig.registry.apply(rig.candidate("b", &new, within(0.0))));
}

#[test]
fn a_version_that_is_too_busy_to_be_asked_keeps_the_new_one_out() {
    let rig = Rig::patient(Patience { drain: PATIENCE, answers: Duration::from_secs(2) });
    let old = times(2.0);
    rig.apply("a", &old).unwrap();
    rig.ask(1.0).unwrap();
    let pending = stuck(&rig.serving(), &old);
    let record = refused(rig.apply("b", &times(2.0)));
    assert_eq!(stopped_by(&record).name, "shadow");
    assert!(record.to_string().contains("version 1 is too busy to run the samples"), "{record}");
    old.open();
    assert!(pending.wait().is_ok());
    changed(rig.apply("b", &times(2.0)));
}

#[test]
fn an_engine_that_hangs_keeps_itself_out() {
    let rig = Rig::patient(Patience { drain: PATIENCE, answers: Duration::from_secs(2) });
    rig.apply("a", &times(2.0)).unwrap();
    rig.ask(1.0).unwrap();
    let hanging = times(2.0);
    hanging.close();
    let record = refused(rig.apply("b", &hanging));
    assert!(record.to_string().contains("sample 0 failed: the request waited"), "{record}");
    assert_eq!(rig.ask(1.0).unwrap().to_bits(), 2_f32.to_bits());
    hanging.open();
    rig.settled();
    until("it is freed", || hanging.live_contexts.load(Ordering::SeqCst) == 0);
}

#[test]
fn a_panic_in_an_engine_keeps_itself_out() {
    let rig = asked(&times(2.0));
    let panicking = times(2.0);
    panicking.panic_in_run(0);
    let record = refused(rig.apply("b", &panicking));
    assert_eq!(stopped_by(&record).name, "shadow");
    assert_eq!(rig.ask(1.0).unwrap().to_bits(), 2_f32.to_bits());
    rig.settled();
    until("it is freed", || panicking.live_contexts.load(Ordering::SeqCst) == 0);
}

#[test]
fn versions_that_never_end_keep_newer_ones_out_at_last() {
    let rig = Rig::new();
    let mut held = Vec::new();
    let record = (1..100)
        .find_map(|number| {
            let applied = rig.apply(&format!("v{number}"), &times(2.0));
            held.push(rig.serving());
            applied.is_err().then(|| refused(applied))
        })
        .unwrap();
    assert_eq!((stopped_by(&record).name, record.to), ("draining", Some(6)));
    held.clear();
    rig.settled();
    changed(rig.apply("more", &times(2.0)));
}
