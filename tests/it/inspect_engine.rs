//! `inspect` of engines, and what differs between two of anything.

use serde_json::{Value, json};

use crate::support::{Project, Ran, fixture, repository, with_filters};

/// A project with the engine of a file in `tests/fixtures/engines`, its description changed.
fn with_engine(project: &Project, name: &str, change: impl FnOnce(&mut Value)) {
    let text = std::fs::read(fixture("engines/resnet/engine.json")).unwrap();
    let mut engine: Value = serde_json::from_slice(&text).unwrap();
    change(&mut engine);
    let plan = usize::try_from(engine["tensorrt"]["plan_bytes"].as_u64().unwrap()).unwrap();
    project.write(&format!("{name}/engine.json"), serde_json::to_vec_pretty(&engine).unwrap());
    project
        .write(&format!("{name}/engine.plan"), [b"ftrt".as_slice(), &vec![0; plan - 4]].concat());
}

/// The digits example with two engines of it, built for different batches.
fn digits() -> Project {
    let project = Project::empty();
    let example = repository().join("pipelines/digits");
    for file in ["model/digits_cnn.onnx", "data/holdout.npz"] {
        project.copy(&example.join(file), file);
    }
    let spec = std::fs::read_to_string(example.join("pipeline.yaml")).unwrap();
    project.write("small.yaml", &spec);
    project.write("large.yaml", spec.replacen("name: digits", "name: large", 1));
    for args in [
        &["run", "small.yaml", "engine"][..],
        &["run", "large.yaml", "engine", "--set", "max_batch=64"],
    ] {
        let ran = project.trt(args);
        assert_eq!(ran.status, 0, "{ran:#?}");
    }
    project
}

fn snapshot(name: &str, ran: &Ran) {
    with_filters(|| insta::assert_snapshot!(name, ran.seen()));
}

#[test]
fn an_engine_of_the_cpu_backend_is_described() {
    let project = digits();
    snapshot("inspect_engine_cpu", &project.trt(&["inspect", "build/digits/engine"]));
    let ran = project.trt(&["inspect", "build/digits/engine", "--format", "json"]);
    let event = &ran.events()[0];
    assert_eq!(
        (&event["event"], &event["path"]),
        (&json!("engine"), &json!("build/digits/engine"))
    );
    assert_eq!(event["engine"]["profiles"][0]["image"]["max"], json!([32, 1, 8, 8]));
    assert_eq!(event["files"][1]["path"], "model.onnx");
}

#[test]
fn an_engine_of_tensorrt_is_described_with_its_build_and_its_layers() {
    let project = Project::empty();
    with_engine(&project, "engine", |_| {});
    snapshot("inspect_engine_tensorrt", &project.trt(&["inspect", "engine"]));
    let ran = project.trt(&["inspect", "engine", "--format", "json"]);
    let event = &ran.events()[0];
    assert_eq!(
        event["engine"]["tensorrt"]["build"]["candidates_ms"],
        json!([0.4121, 0.4186, 0.4307])
    );
    let layers = event["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 5);
    assert_eq!(
        (&layers[3]["type"], &layers[3]["precision"], &layers[3]["format"]),
        (&json!("CaskConvolution"), &json!("INT8"), &json!("CHW32"))
    );
    assert_eq!((&layers[4]["name"], &layers[4]["type"]), (&json!("fc + softmax"), &Value::Null));
}

#[test]
fn what_is_not_known_of_an_engine_is_left_out_and_damage_is_told() {
    let project = Project::empty();
    with_engine(&project, "bare", |engine| {
        let facts = &mut engine["tensorrt"];
        facts["flavor"] = json!("rtx");
        facts["version"] = json!("1.7.1");
        facts["gpu"] = Value::Null;
        facts["compute_capabilities"] = json!([]);
        facts["device_memory"] = Value::Null;
        facts["refittable"] = json!(true);
        facts["build"] = json!({ "seconds": 0.13, "timing_cache_before": null,
            "timing_cache_after": null, "candidates_ms": [], "peak_device_memory": null });
        facts["layers"] = json!(["conv1", "fc"]);
        engine["profiles"] = json!([]);
        engine.as_object_mut().unwrap().remove("model");
    });
    let bare = project.trt(&["inspect", "bare"]).seen();
    project.write("bare/engine.plan", "ftrt");
    let truncated = project.trt(&["inspect", "bare"]).stdout;
    assert!(truncated.contains("engine.plan, damaged: it has 4 bytes and had 64"), "{truncated}");
    std::fs::remove_file(project.file("bare/engine.plan")).unwrap();
    let missing = project.trt(&["inspect", "bare"]).stdout;
    assert!(missing.contains("engine.plan is missing"), "{missing}");
    with_filters(|| insta::assert_snapshot!("inspect_engine_bare", bare));
}

#[test]
fn a_long_list_of_layers_is_cut_unless_all_are_asked_for() {
    let project = Project::empty();
    with_engine(&project, "deep", |engine| {
        let layer = |at| json!({ "Name": format!("layer{at}"), "LayerType": "Shuffle" });
        engine["tensorrt"]["layers"] = (0..30).map(layer).collect();
    });
    let cut = project.trt(&["inspect", "deep"]).stdout;
    assert!(cut.contains("layers          30: 30 Shuffle\n"), "{cut}");
    assert!(cut.contains("\n6 more layers; `--layers` shows all\n"), "{cut}");
    assert!(!cut.contains("layer24"), "{cut}");
    let all = project.trt(&["inspect", "deep", "--layers"]).stdout;
    assert!(all.contains("layer29") && !all.contains("more layers"), "{all}");
}

#[test]
fn a_description_that_cannot_be_read_is_an_error() {
    let project = Project::empty();
    project.write("garbage/engine.json", "{ not json");
    project.write("newer/engine.json", r#"{ "format": 2 }"#);
    project.write("x.plan", [b"ftrt".as_slice(), &[0; 60]].concat());
    let seen: Vec<String> =
        ["garbage", "newer", "x.plan"].map(|what| project.trt(&["inspect", what]).seen()).into();
    with_filters(|| insta::assert_snapshot!("inspect_engine_unreadable", seen.join("\n")));
    let ran = project.trt(&["inspect", "x.plan", "--format", "json"]);
    assert_eq!(
        (&ran.events()[0]["event"], &ran.events()[0]["bytes"]),
        (&json!("engine_file"), &json!(64))
    );
}

#[test]
fn differences_between_engines_are_shown_by_name() {
    let project = Project::empty();
    with_engine(&project, "a", |_| {});
    with_engine(&project, "b", |engine| {
        engine["profiles"][1]["image"]["max"] = json!([128, 3, 224, 224]);
        let facts = &mut engine["tensorrt"];
        facts["plan_bytes"] = json!(96);
        facts["device_memory"] = json!(822_083_584);
        facts["build"]["seconds"] = json!(12.5);
        facts["build"]["timing_cache_before"] = json!(1_048_576);
        let layers = facts["layers"].as_array_mut().unwrap();
        layers.remove(0);
        layers[1]["Outputs"][0]["Format/Datatype"] = json!("Row major linear FP32");
        layers.push(json!({ "Name": "argmax", "LayerType": "TopK" }));
    });
    snapshot("inspect_diff_engines", &project.trt(&["inspect", "--diff", "a", "b"]));
    let same = project.trt(&["inspect", "--diff", "a", "a"]);
    assert_eq!(
        (same.status, same.stdout.as_str()),
        (0, "a  a\nb  a\n\nidentical: every byte is the same\n")
    );
    let ran = project.trt(&["inspect", "--diff", "a", "b", "--format", "json"]);
    let event = &ran.events()[0];
    assert_eq!((&event["event"], &event["identical"]), (&json!("diff"), &json!(false)));
    let memory = event["changes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|change| change["name"] == "context memory");
    assert_eq!(memory.unwrap()["b"], 822_083_584);
    assert_eq!(event["alike"]["layers"], 3);
}

#[test]
fn differences_between_results_name_the_settings_they_come_from() {
    let project = digits();
    let engines = ["inspect", "--diff", "build/digits/engine", "build/large/engine"];
    let models = ["inspect", "--diff", "model/digits_cnn.onnx", "build/digits/slim"];
    let seen = [project.trt(&engines).seen(), project.trt(&models).seen()];
    with_filters(|| insta::assert_snapshot!("inspect_diff_results", seen.join("\n")));
    let digest = std::fs::canonicalize(project.file("build/large/engine")).unwrap();
    let digest = digest.file_name().unwrap().to_str().unwrap();
    let by_digest = project.trt(&["inspect", "--diff", "build/digits/engine", &digest[..12]]);
    assert!(
        by_digest.stdout.contains("settings.profiles[0].image.max[0]: 32 -> 64"),
        "{by_digest:#?}"
    );
    assert!(!project.file("model/.trt-pipeline").exists(), "nothing is written beside a file");
}

#[test]
fn a_difference_needs_two_things_that_are_there() {
    let project = Project::empty();
    with_engine(&project, "a", |_| {});
    assert_eq!(project.trt(&["inspect"]).status, 2);
    assert_eq!(project.trt(&["inspect", "--diff", "a"]).status, 2);
    assert_eq!(project.trt(&["inspect", "a", "--diff", "a", "a"]).status, 2);
    let missing = project.trt(&["inspect", "--diff", "a", "nothing.here"]);
    assert_eq!(missing.status, 1, "{missing:#?}");
    assert!(missing.stderr.contains("there is no file or folder `nothing.here`"), "{missing:#?}");
}
