//! Two engines timed in turns.

use std::time::Duration;

use super::*;
use crate::backend::fake::{self, Fake};
use crate::times::FEWEST_BLOCKS;

/// Far slower than the model `cnn` of eight by eight pixels runs, even where nothing is optimised.
const SLOW: Duration = Duration::from_millis(40);

/// A fake that takes the images of `cnn` in batches of two, in a folder of its own.
fn saved(cnn: &Cnn, name: &str, slow: Duration) -> (Arc<Fake>, ResolvedInput) {
    let folder = cnn.dir.path().join(name);
    fs::create_dir(&folder).unwrap();
    let axes = ["n", "1", "8", "8"];
    let mut fake = Fake::new(vec![fake::spec("x", &axes)], vec![fake::spec("y", &axes)]);
    fake.slow = slow;
    let fake = Arc::new(fake);
    fake.save(&folder);
    (fake, resolved(folder, Some(ArtifactKind::Engine)))
}

fn against(rival: &str) -> Validate {
    let asked = Latency {
        runs: unplaced(FEWEST_BLOCKS + 1),
        warmup: unplaced(0),
        p99_ms: None,
        at_least_as_fast_as: Some(unplaced(FromRef::Stage(rival.into()))),
        ..latency(1.0)
    };
    Validate { compare: None, reference: None, latency: Some(asked), ..validate() }
}

#[test]
fn an_engine_slower_than_the_other_fails_with_both_times() {
    let mut cnn = Cnn::new(|_| {});
    let (fake, slow) = saved(&cnn, "slow", SLOW);
    let (other, quick) = saved(&cnn, "quick", Duration::ZERO);
    cnn.inputs.insert("from".into(), slow);
    cnn.inputs.insert(RIVAL.into(), quick);
    let error = cnn.run(&against("fp32")).unwrap_err();
    assert_eq!(error.class(), FailureClass::Gate);
    let text = error.to_string();
    assert!(text.starts_with("latency ratio to `fp32` is "), "{text}");
    assert!(text.contains(" ms in the block nearest to it; the ratio is between "), "{text}");
    assert!(text.contains(" with 98 % confidence, out of 8 runs of each in 8 blocks)"), "{text}");
    let report = cnn.report();
    let latency = &report["latency"];
    assert!(latency["p50_ms"].as_f64().unwrap() >= 40.0, "{latency}");
    assert!(latency["rival"]["p50_ms"].as_f64().unwrap() < 40.0, "{latency}");
    assert!(latency["rival"]["ratio_low"].as_f64().unwrap() > 1.0, "{latency}");
    let block = |place: usize| latency["rival"]["block_p50_ms"][place].as_f64().unwrap();
    let told =
        format!("(p50 {} ms against {} ms in", report::number(block(0)), report::number(block(1)));
    assert!(text.contains(&told), "{text}");
    assert!(block(0) >= 40.0 && block(1) < 40.0, "{latency}");
    assert_eq!(latency["rival"]["engine"]["backend"], "fake");
    let line = "\nAs a multiple of the time of `fp32` (engine on fake): ";
    assert!(cnn.markdown().contains(line), "{}", cnn.markdown());
    // One run to warm each block.
    let runs = |fake: &Fake| fake.runs.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!((runs(&fake), runs(&other)), (16, 16));
}

#[test]
fn an_engine_of_the_cpu_backend_that_is_faster_than_the_other_passes() {
    let mut cnn = Cnn::new(|_| {});
    let folder = cnn.dir.path().join("engine");
    fs::create_dir(&folder).unwrap();
    let cpu = backend::by_name("cpu").unwrap();
    let manifest = conformance::compile(cpu, &fixture("cnn.onnx"), &[], &folder).unwrap();
    fs::write(folder.join("engine.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
    let (_fake, slow) = saved(&cnn, "slow", SLOW);
    let (_other, quick) = saved(&cnn, "quick", Duration::ZERO);
    let compiled = resolved(folder, Some(ArtifactKind::Engine));
    cnn.inputs.insert("from".into(), compiled.clone());
    cnn.inputs.insert(RIVAL.into(), slow);
    cnn.run(&against("fp32")).unwrap();
    let report = cnn.report();
    assert_eq!(report["gates"][0]["name"], "latency ratio to `fp32`");
    assert!(report["latency"]["rival"]["ratio_high"].as_f64().unwrap() < 1.0, "{report}");
    // The same engine is refused where the other does nothing but copy.
    cnn.inputs.insert(RIVAL.into(), quick);
    assert_eq!(cnn.run(&against("fp32")).unwrap_err().class(), FailureClass::Gate);
    // And it is an engine like any other where it is the one to be held against.
    let (_fake, slow) = saved(&cnn, "slower", SLOW);
    cnn.inputs.insert("from".into(), slow);
    cnn.inputs.insert(RIVAL.into(), compiled);
    assert_eq!(cnn.run(&against("fp32")).unwrap_err().class(), FailureClass::Gate);
    assert_eq!(cnn.report()["latency"]["rival"]["engine"]["backend"], "cpu");
}

#[test]
fn an_engine_that_cannot_run_the_batch_is_named() {
    let mut cnn = Cnn::new(|_| {});
    let folder = cnn.dir.path().join("other");
    fs::create_dir(&folder).unwrap();
    let axes = ["3", "1", "8", "8"];
    let fake = Fake::new(vec![fake::spec("x", &axes)], vec![fake::spec("y", &axes)]);
    Arc::new(fake).save(&folder);
    cnn.inputs.insert(RIVAL.into(), resolved(folder, Some(ArtifactKind::Engine)));
    assert_eq!(
        cnn.run(&against("fp32")).unwrap_err().to_string(),
        "`latency.batch` is 2, the engine of `at_least_as_fast_as` takes batches of 3"
    );
    assert!(cnn.report_is_absent());
}

fn judged(blocks: impl IntoIterator<Item = f64>, on_noise: OnNoise) -> Report {
    let asked = Latency { on_noise: unplaced(on_noise), ..against("fp32").latency.unwrap() };
    let subject = || Subject { kind: "engine", backend: None, digest: Digest::of(b"") };
    let mut report = Report::new(3, subject());
    let times = || crate::times::Times::new([Duration::from_millis(1); 20]);
    let other = timing::OtherTiming {
        times: times(),
        ratio: crate::times::Ratio::of(blocks).unwrap(),
        blocks: 20,
        nearest: [1.0; 2],
    };
    let timing = timing::Timing { times: times(), other: Some(other) };
    gates::judge_latency(&asked, &timing, Some(subject()), &mut report);
    report
}

#[test]
fn only_what_is_slower_beyond_the_noise_is_refused() {
    let ratio = |blocks: &[f64]| {
        let report = judged(blocks.iter().copied(), OnNoise::Warn);
        report.gates.iter().find(|gate| gate.name == "latency ratio to `fp32`").unwrap().passed
    };
    assert!(ratio(&[1.0; 20]));
    assert!(ratio(&[0.5; 20]));
    assert!(!ratio(&[1.25; 20]), "slower in every block");
    assert!(ratio(&[1.0625, 0.9375].repeat(10)), "slower in one half of them");
    assert!(ratio(&[&[1.125; 15], [0.9375; 5].as_slice()].concat()), "a range from below 1");
    assert!(!ratio(&[&[1.125; 16], [0.9375; 4].as_slice()].concat()), "a range above 1");
    assert!(ratio(&[1.007_812_5; 20]), "less than what cannot be told apart");
}

#[test]
fn a_ratio_that_is_known_badly_is_told_or_fails() {
    let scattered = || (0..20).map(|block| 0.5 + f64::from(block) / 32.0);
    let warned = judged(scattered(), OnNoise::Warn);
    assert!(warned.gates.iter().all(|gate| gate.passed));
    assert!(warned.notes[0].starts_with("how the latency compares with that of `fp32` is noisy"));
    let failed = judged(scattered(), OnNoise::Fail);
    let broken: Vec<&str> =
        failed.gates.iter().filter(|gate| !gate.passed).map(|gate| gate.name.as_str()).collect();
    assert_eq!(broken, ["latency ratio spread"]);
    assert!(judged([1.0; 20], OnNoise::Fail).gates.iter().all(|gate| gate.passed));
}

#[test]
fn the_other_engine_is_an_input_and_no_setting() {
    let asked = against("fp32");
    let input = asked.inputs().into_iter().find(|input| input.role == RIVAL).unwrap();
    assert_eq!(input.accepts, Accepts::Engine);
    assert_eq!(input.reference.stage().unwrap().value, "fp32");
    assert_eq!(
        asked.settings(),
        serde_json::json!({ "latency": { "batch": 2, "warmup": 0, "runs": 8 } })
    );
}

#[test]
fn the_engine_itself_and_too_few_runs_are_mistakes() {
    let mut asked = against("onnx");
    asked.latency.as_mut().unwrap().runs = unplaced(FEWEST_BLOCKS - 1);
    let problems = asked.check(&CheckContext::default());
    let texts: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        texts,
        [
            "`at_least_as_fast_as` names what is tested itself",
            "`latency.runs` is 6, `at_least_as_fast_as` needs 7 or more to tell a difference from \
             noise",
        ]
    );
}
