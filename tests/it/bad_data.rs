//! Data, engines and settings that do not fit what a stage finds in them: each has its own clear
//! error and exit status, and nothing wrong is ever cached.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Project, fixture, with_filters};

/// `convert` and `build` of a fixture, then more stages.
fn pipeline(more: &str) -> String {
    format!(
        "version: 1\nname: p\nstages:\n  onnx: {{ convert: {{ model: model.onnx }} }}\n  \
         engine: {{ build: {{ from: onnx }} }}\n{more}"
    )
}

/// A validation of the engine with these settings.
fn validation(settings: &str) -> String {
    pipeline(&format!("  checked:\n    validate:\n      from: engine\n{settings}"))
}

fn compared(data: &str) -> String {
    validation(&format!(
        "      reference: onnx\n      data: {data}\n      compare: {{ max_abs: 0.1 }}\n"
    ))
}

fn labelled(data: &str) -> String {
    validation(&format!(
        "      data: {data}\n      accuracy: {{ metric: top1, labels: label, at_least: 0.1 }}\n"
    ))
}

fn recorded(reference: &str) -> String {
    validation(&format!(
        "      reference: {reference}\n      data: good.npz\n      compare: {{ max_abs: 0.1 }}\n"
    ))
}

/// A project over a model of `tests/fixtures/onnx` and data of `tests/fixtures/data`.
fn project(model: &str, data: &[&str], spec: &str) -> Project {
    let project = Project::with_spec(spec);
    project.copy(&fixture(&format!("onnx/{model}.onnx")), "model.onnx");
    for file in data {
        project.copy(&fixture(&format!("data/{file}")), file);
    }
    project
}

/// Runs a project that must fail twice in the same way, and gives what a person sees.
fn refusal(project: &Project, status: i32) -> String {
    let ran = project.trt(&["run", "-j1", "p.yaml"]);
    assert_eq!(ran.status, status, "{ran:#?}");
    let again = project.trt(&["run", "-j1", "p.yaml"]);
    assert_eq!(again.status, status, "a failure is not cached: {again:#?}");
    let verified = project.trt(&["cache", "verify"]);
    assert_eq!(verified.status, 0, "{verified:#?}");
    ran.seen()
}

/// One snapshot of several refusals; each case is a title and what was seen.
fn refused(name: &str, cases: &[(&str, String)]) {
    let cases: Vec<String> =
        cases.iter().map(|(title, seen)| format!("=== {title} ===\n{seen}")).collect();
    with_filters(|| insta::assert_snapshot!(name, cases.join("\n")));
}

fn data_refusal(file: &str) -> (&str, String) {
    (file, refusal(&project("mlp", &[file], &compared(file)), 1))
}

#[test]
fn data_that_does_not_fit_the_model_is_named_with_its_array() {
    refused(
        "data_arrays",
        &[
            "missing_array.npz",
            "wrong_dtype.npz",
            "wrong_rank.npz",
            "wrong_shape.npz",
            "zero_samples.npz",
            "scalar.npz",
            "text.npz",
        ]
        .map(data_refusal),
    );
    let uneven = project("two_inputs", &["uneven.npz"], &compared("uneven.npz"));
    refused("data_sample_counts", &[("uneven.npz", refusal(&uneven, 1))]);
}

#[test]
fn damaged_data_files_are_named_with_the_reason() {
    let files = ["truncated.npz", "not_an_archive.npz", "empty.npz"];
    refused("data_files", &files.map(data_refusal));
}

#[test]
fn a_folder_and_a_file_are_not_each_other() {
    let folder = project("mlp", &[], &compared("folder"));
    std::fs::create_dir(folder.file("folder")).unwrap();
    let inside = project("mlp", &["good.npz"], &compared("good.npz/x.npy"));
    let missing = project("mlp", &["good.npz"], &compared("god.npz"));
    let model = project("mlp", &["good.npz"], &compared("good.npz"));
    std::fs::remove_file(model.file("model.onnx")).unwrap();
    std::fs::create_dir(model.file("model.onnx")).unwrap();
    let data = project("mlp", &[], &compared("model.onnx"));
    refused(
        "data_folders",
        &[
            ("an empty folder as data", refusal(&folder, 1)),
            ("a file as a folder", refusal(&inside, 2)),
            ("a file that is not there", refusal(&missing, 2)),
            ("a folder as the model", refusal(&model, 1)),
            ("a model as data", refusal(&data, 1)),
        ],
    );
}

#[test]
fn a_pipe_or_device_as_data_is_refused_without_reading_it() {
    let project = project("mlp", &[], &compared("pipe"));
    let made = std::process::Command::new("mkfifo").arg(project.file("pipe")).status().unwrap();
    assert!(made.success());
    let pipe = refusal(&project, 2);
    project.write("p.yaml", compared("/dev/zero"));
    refused("data_pipe", &[("a pipe", pipe), ("a device", refusal(&project, 2))]);
}

#[test]
fn an_unreadable_data_file_is_named() {
    if rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: root can read every file");
        return;
    }
    let project = project("mlp", &["good.npz"], &compared("good.npz"));
    let none = std::fs::Permissions::from_mode(0o000);
    std::fs::set_permissions(project.file("good.npz"), none).unwrap();
    refused("data_unreadable", &[("good.npz", refusal(&project, 1))]);
}

#[test]
fn nan_outputs_fail_the_gate_with_their_place() {
    let with_reference = project("log", &["good.npz"], &compared("good.npz"));
    let without = project("log", &["good.npz"], &labelled("good.npz"));
    // A reference with the same NaN does not make the engine wrong; numbers in their place do.
    let same = with_reference.trt(&["run", "-j1", "p.yaml"]);
    assert_eq!(same.status, 0, "{same:#?}");
    let recorded = project("log", &["good.npz", "recorded_log.npz"], &recorded("recorded_log.npz"));
    refused(
        "nan_outputs",
        &[
            ("a recorded reference of numbers", refusal(&recorded, 4)),
            ("no reference", refusal(&without, 4)),
        ],
    );
}

#[test]
fn labels_are_checked() {
    let case = |file| (file, refusal(&project("mlp", &[file], &labelled(file)), 1));
    let missing = labelled("good.npz").replace("labels: label", "labels: lable");
    let mut cases = vec![("misspelt", refusal(&project("mlp", &["good.npz"], &missing), 1))];
    cases.extend(
        [
            "float_labels.npz",
            "label_out_of_range.npz",
            "label_negative.npz",
            "label_matrix.npz",
            "uneven_labels.npz",
        ]
        .map(case),
    );
    refused("labels", &cases);
}

#[test]
fn a_recorded_reference_must_have_the_output_in_its_shape() {
    let case = |file| (file, refusal(&project("mlp", &["good.npz", file], &recorded(file)), 1));
    refused(
        "recorded_reference",
        &["recorded_other.npz", "recorded_few.npz", "recorded_classes.npz"].map(case),
    );
    let spec = validation(
        "      reference: recorded_sum.npz\n      data: ab.npz\n      \
         compare: { outputs: { y: { max_abs: 0.1 } } }\n",
    );
    let partial = project("two_inputs", &["ab.npz", "recorded_sum.npz"], &spec);
    let ran = partial.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    refused("recorded_reference_partly", &[("recorded_sum.npz", refusal(&partial, 1))]);
}

#[test]
fn a_failed_gate_says_where_and_by_how_much_and_its_report_is_kept_but_not_cached() {
    let spec = recorded("recorded.npz").replace("max_abs: 0.1", "max_abs: 0.001")
        + "      accuracy: { metric: top1, labels: label, at_least: 0.99 }\n  api:\n    serve: { \
           from: engine, requires: [checked] }\n";
    let project = project("mlp", &["good.npz", "recorded.npz"], &spec);
    let seen = refusal(&project, 4);
    assert!(seen.contains("`checked` did not succeed"), "{seen}");
    refused("failed_gate", &[("compare and accuracy", seen)]);
    let report = project.read("build/p/checked/report.md");
    assert!(report.contains("max_abs"), "{report}");
    let ran = project.trt(&["run", "p.yaml", "--format", "json"]);
    let outcomes = ran.outcomes();
    assert!(outcomes.contains(&("engine".into(), "cached".into())), "{outcomes:?}");
    assert!(outcomes.contains(&("checked".into(), "failed".into())), "{outcomes:?}");
    assert!(outcomes.contains(&("api".into(), "skipped".into())), "{outcomes:?}");
    assert!(!project.file("build/p/api").exists());

    project.write("p.yaml", spec.replace("0.001", "1").replace("0.99", "0.01"));
    assert_eq!(project.run_ok().status, 0, "the gate passes once its limits are met");
}

#[test]
fn serving_settings_must_fit_the_engine() {
    let serve =
        |settings: &str| pipeline(&format!("  api:\n    serve:\n      from: engine\n{settings}"));
    let profile = "version: 1\nname: p\nstages:\n  onnx: { convert: { model: model.onnx } }\n  \
                   engine:\n    build:\n      from: onnx\n      profiles:\n        - x: { min: [1, \
                   4], opt: [2, 4], max: [4, 4] }\n  api:\n    serve: { from: engine, batching: { \
                   max_batch: 8 } }\n";
    let batching = serve("      batching: { max_batch: 8 }\n");
    let run = |model, spec: &str, status| refusal(&project(model, &[], spec), status);
    refused(
        "serving_settings",
        &[
            ("a batch beyond the profile", run("mlp", profile, 2)),
            ("batching a scalar", run("no_batch", &batching, 2)),
            ("batching a fixed batch", run("fixed_batch", &batching, 2)),
            ("devices of the CPU", run("mlp", &serve("      devices: [0]\n"), 1)),
        ],
    );
}

#[test]
fn what_an_engine_takes_is_checked_before_running() {
    let latency = "      data: good.npz\n      latency: { batch: 9, p99_ms: 9999 }\n";
    let too_few = project("mlp", &["good.npz"], &validation(latency));
    let fixed = pipeline(
        "  checked:\n    validate: { from: engine, data: good.npz, latency: { batch: 2, p99_ms: 9999 } }\n",
    );
    refused(
        "engine_batches",
        &[
            ("more than the data has", refusal(&too_few, 1)),
            ("a fixed batch", refusal(&project("fixed_batch", &["good.npz"], &fixed), 1)),
        ],
    );
}

#[test]
fn models_engines_and_other_files_do_not_stand_for_each_other() {
    let stages = |body: &str| format!("version: 1\nname: p\nstages:\n{body}");
    let run = |spec: String, status| {
        let project = project("mlp", &["good.npz"], &spec);
        project.copy(&fixture("onnx/bad_engine.onnx"), "x.plan");
        project.write("notes.txt", "hello\n");
        refusal(&project, status)
    };
    let gate = "data: good.npz, latency: { p99_ms: 9999 }";
    refused(
        "models_and_engines",
        &[
            ("an engine file to convert", run(stages("  a: { convert: { model: x.plan } }\n"), 2)),
            ("text to convert", run(stages("  a: { convert: { model: notes.txt } }\n"), 1)),
            (
                "a model's stage to serve",
                run(
                    stages(
                        "  a: { convert: { model: model.onnx } }\n  b: { serve: { from: a } }\n",
                    ),
                    2,
                ),
            ),
            (
                "a model's file to serve",
                run(stages("  a: { serve: { from: { file: model.onnx, kind: model } } }\n"), 2),
            ),
            (
                "a model's file to serve, said to be an engine",
                run(stages("  a: { serve: { from: { file: model.onnx, kind: engine } } }\n"), 1),
            ),
            (
                "an engine's file to build",
                run(stages("  a: { build: { from: { file: x.plan, kind: engine } } }\n"), 2),
            ),
            (
                "an engine file to validate",
                run(
                    stages(&format!(
                        "  a: {{ validate: {{ from: {{ file: x.plan, kind: engine }}, {gate} }} }}\n"
                    )),
                    1,
                ),
            ),
            (
                "an engine file said to be a model to validate",
                run(
                    stages(&format!(
                        "  a: {{ validate: {{ from: {{ file: x.plan, kind: model }}, {gate} }} }}\n"
                    )),
                    1,
                ),
            ),
            (
                "a stage that gates nothing in requires",
                run(pipeline("  api: { serve: { from: engine, requires: [onnx] } }\n"), 2),
            ),
        ],
    );
}

#[test]
fn an_operator_the_backend_lacks_is_named_with_its_node() {
    let project = Project::with_spec(&pipeline(""));
    project.copy(&fixture("cpu/roi_align.onnx"), "model.onnx");
    refused("unsupported_operator_at_build", &[("RoiAlign", refusal(&project, 1))]);
}
