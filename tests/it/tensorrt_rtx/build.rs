//! One build: what it tells while it runs and afterwards, and what makes it run again.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Build, Rtx};

#[test]
fn progress_names_the_phases_that_tensorrt_is_in() {
    let Some(rtx) = Rtx::building(&[Build::of("light/light_squeezenet")]) else { return };
    let events = rtx.all("built").events();
    let progress = events.iter().filter(|event| event["event"] == "stage_progress");
    let progress: Vec<&Value> = progress.collect();
    let at = |phase: &str| {
        let found = progress.iter().position(|event| event["phase"] == phase);
        found.unwrap_or_else(|| panic!("no phase `{phase}` in {progress:#?}"))
    };
    // Our own words, then TensorRT's.
    let order = [at("compiling"), at("parsing the model"), at("building"), at("Building engine")];
    assert!(order.is_sorted(), "{order:?}");
    for event in &progress {
        assert_eq!(event["stage"], "light_squeezenet");
        let total = event["total"].as_u64().unwrap_or(u64::MAX);
        assert!(event["done"].as_u64().unwrap() <= total, "{event}");
    }
    let counted = progress.iter().any(|event| event["done"].as_u64() > Some(0));
    assert!(counted, "no step is counted: {progress:#?}");
}

#[test]
fn engine_json_and_inspect_say_what_made_the_engine_and_for_what() {
    let Some(rtx) = Rtx::building(&[Build::of_digits("digits_fp16")]) else { return };
    rtx.all("built");
    let mut engine = rtx.engine_json("digits_fp16");
    let facts = engine["tensorrt"].as_object_mut().unwrap();
    assert!(facts["build"]["seconds"].as_f64().unwrap() > 0.0, "{facts:#?}");
    assert!(facts["version"].as_str().unwrap().starts_with("1."), "{facts:#?}");
    for (fact, value) in [
        ("flavor", json!("rtx")),
        ("gpu", Value::Null),
        ("compute_capabilities", json!(["8.9"])),
        ("plan_bytes", json!(rtx.plan("digits_fp16").len())),
        ("refittable", json!(false)),
    ] {
        assert_eq!(facts[fact], value, "{fact}");
    }
    assert_eq!((&engine["backend"], &engine["file"]), (&json!("tensorrt"), &json!("engine.plan")));
    assert_eq!(engine["model"]["opset"], 17);
    let shown = rtx.trt(&["inspect", "build/rtx/digits_fp16"]);
    assert_eq!(shown.status, 0, "{shown:#?}");
    for word in ["engine.plan", "image", "logits", "rtx", "8.9"] {
        assert!(shown.stdout.contains(word), "no `{word}` in {shown:#?}");
    }
}

/// A folder with the library and another ONNX parser: a copy whose linker's digest differs.
fn with_another_parser(rtx: &Rtx) -> PathBuf {
    /// Type and owner of the note, which the digest follows.
    const NOTE: &[u8] = b"\x03\0\0\0GNU\0";
    let folder = rtx.folder_with("other", &rtx.runtime());
    let mut parser = std::fs::read(rtx.parser()).unwrap();
    let note = parser.windows(NOTE.len()).position(|window| window == NOTE).unwrap();
    parser[note + NOTE.len()] ^= 0xff;
    std::fs::write(folder.join(rtx.parser().file_name().unwrap()), parser).unwrap();
    folder
}

#[test]
fn another_library_builds_again_and_plan_names_it() {
    let Some(rtx) = Rtx::building(&[Build::of_digits("digits_fp16")]) else { return };
    rtx.all("built");
    let locked = rtx.trt(&["run", "p.yaml", "--locked"]);
    assert_eq!(locked.status, 0, "{locked:#?}");

    let other = with_another_parser(&rtx);
    let plan = rtx.trt_with(&other, &["plan", "p.yaml", "--explain", "--format", "json"]);
    let events = plan.events();
    assert_eq!(events[0]["will"], "build", "{plan:#?}");
    let because = events[0]["because"].as_array().unwrap();
    let fields: Vec<&Value> = because.iter().map(|reason| &reason["field"]).collect();
    assert_eq!(fields, ["tools.onnx_parser"], "{plan:#?}");
    assert_ne!(because[0]["old"], because[0]["new"]);

    let locked = rtx.trt_with(&other, &["run", "p.yaml", "--locked"]);
    assert_eq!(locked.status, 2, "{locked:#?}");
    assert!(locked.stderr.contains("was locked with onnx_parser"), "{locked:#?}");
    let ran = rtx.trt_with(&other, &["run", "p.yaml", "--format", "json"]);
    assert_eq!(ran.outcomes(), [("digits_fp16".to_owned(), "built".to_owned())], "{ran:#?}");
    rtx.all("cached");
}

#[test]
fn without_the_library_the_plan_is_unknown_and_a_run_says_what_to_install() {
    let Some(rtx) = Rtx::building(&[Build::of_digits("digits_fp16")]) else { return };
    let nowhere = rtx.project.file("nowhere");
    let plan = rtx.trt_with(&nowhere, &["plan", "p.yaml", "--format", "json"]);
    assert_eq!((plan.status, &plan.events()[0]["will"]), (0, &json!("unknown")), "{plan:#?}");
    let ran = rtx.trt_with(&nowhere, &["run", "p.yaml"]);
    assert_eq!(ran.status, 3, "{ran:#?}");
    assert!(ran.stderr.contains("named by TRT_PIPELINE_TENSORRT"), "{ran:#?}");
}
