//! Every bad input has its own clear error, its exit status, and leaves the cache alone.

use std::os::unix::fs::{PermissionsExt, symlink};

use crate::support::{Project, Ran, fixture, with_filters};

/// Runs a spec that must fail; nothing may be stored.
fn refused(name: &str, project: &Project, status: i32) -> Ran {
    let ran = project.trt(&["run", "p.yaml", "--jobs", "1"]);
    with_filters(|| insta::assert_snapshot!(name, ran.seen()));
    assert_eq!(ran.status, status, "{ran:#?}");
    ran
}

fn spec_refused(name: &str, spec: &str) {
    let project = Project::with_spec(spec);
    refused(name, &project, 2);
    assert_eq!(project.stored(), [""; 0], "a spec error stores nothing");
    let checked = project.trt(&["check", "p.yaml"]);
    assert_eq!(checked.status, 2, "`check` refuses what `run` refuses: {checked:#?}");
}

fn stages(body: &str) -> String {
    format!("version: 1\nstages:\n{body}")
}

#[test]
fn an_empty_file_is_refused() {
    spec_refused("empty_file", "");
    spec_refused("only_a_comment", "# nothing yet\n");
}

#[test]
fn text_that_is_not_yaml_is_refused() {
    spec_refused("not_yaml", "version: 1\nstages: [unclosed\n");
    spec_refused("not_a_mapping", "- just\n- a list\n");
}

#[test]
fn tabs_are_refused_with_the_reason() {
    spec_refused("tabs", "version: 1\nstages:\n\ta: { convert: { model: x.onnx } }\n");
}

#[test]
fn a_duplicate_key_shows_both_places() {
    spec_refused(
        "duplicate_key",
        &stages("  a: { convert: { model: x.onnx } }\n  a: { convert: { model: y.onnx } }\n"),
    );
}

#[test]
fn unknown_keys_are_refused_with_a_suggestion() {
    spec_refused(
        "unknown_top_key",
        "version: 1\nstage: {}\nstages: { a: { command: { run: [x] } } }\n",
    );
    spec_refused("unknown_kind", &stages("  a: { convrt: { model: x.onnx } }\n"));
    spec_refused("unknown_field", &stages("  a: { convert: { modle: x.onnx } }\n"));
}

#[test]
fn a_stage_has_exactly_one_kind() {
    spec_refused(
        "two_kinds",
        &stages("  a:\n    command: { run: [x] }\n    convert: { model: x.onnx }\n"),
    );
    spec_refused("no_kind", &stages("  a: { needs: [b] }\n  b: { command: { run: [sh] } }\n"));
    spec_refused("stage_is_nothing", &stages("  a:\n"));
}

#[test]
fn errors_of_several_stages_are_shown_together() {
    spec_refused(
        "several_errors",
        &stages(
            "  a: { convert: { model: [1, 2] } }\n  b: { build: { from: nope } }\n  \
             c: { build: { from: b, backend: tensorflow } }\n  d: { command: { run: 5 } }\n  \
             e: { build: { from: a }, needs: [f] }\n  f: { build: { from: e } }\n",
        ),
    );
}

#[test]
fn unknown_references_and_cycles_are_refused() {
    spec_refused(
        "unknown_from",
        &stages("  onnx: { command: { run: [sh] } }\n  e: { build: { from: onxx } }\n"),
    );
    spec_refused("self_cycle", &stages("  a: { command: { run: [sh] }, needs: [a] }\n"));
    spec_refused(
        "three_cycle",
        &stages(
            "  a: { command: { run: [sh], inputs: { x: { from: c, path: f } }, outputs: { f: f } } }\n  \
             b: { command: { run: [sh], inputs: { x: { from: a, path: f } }, outputs: { f: f } } }\n  \
             c: { command: { run: [sh], inputs: { x: { from: b, path: f } }, outputs: { f: f } } }\n",
        ),
    );
}

#[test]
fn a_file_that_a_command_does_not_declare_is_refused() {
    spec_refused(
        "undeclared_output",
        &stages(
            "  a: { command: { run: [sh], outputs: { x: data.npz } } }\n  \
             b: { command: { run: [sh], inputs: { x: { from: a, path: dta.npz } } } }\n",
        ),
    );
}

#[test]
fn a_kind_mismatch_names_both_stages() {
    spec_refused(
        "kind_mismatch",
        &stages("  a: { command: { run: [sh] } }\n  b: { build: { from: a } }\n"),
    );
}

#[test]
fn a_missing_root_file_is_a_spec_error() {
    let project = Project::with_spec(&stages("  a: { convert: { model: model/digits.onnx } }\n"));
    project.write("model/digit.onnx", "");
    refused("missing_model", &project, 2);
}

#[test]
fn variables_are_checked() {
    spec_refused(
        "unknown_variable",
        "version: 1\nvars: { batch: 3 }\nstages:\n  a: { command: { run: [\"${bach}\"] } }\n",
    );
    spec_refused(
        "environment_not_set",
        &stages("  a: { command: { run: [\"${env.SURELY_NOT_SET_ANYWHERE}\"] } }\n"),
    );
    spec_refused("unclosed_placeholder", &stages("  a: { command: { run: [\"${oops\"] } }\n"));
    spec_refused(
        "reserved_variable",
        "version: 1\nvars: { env: 3 }\nstages: { a: { command: { run: [sh] } } }\n",
    );
    spec_refused(
        "placeholder_in_vars",
        "version: 1\nvars: { a: 1, b: \"${a}\" }\nstages: { a: { command: { run: [sh] } } }\n",
    );
}

#[test]
fn a_yaml_bomb_is_refused_at_once() {
    let mut bomb = String::from("version: 1\nvars:\n  a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let (this, before) = (char::from(b'a' + level), char::from(b'a' + level - 1));
        let aliases = vec![format!("*{before}"); 10].join(", ");
        bomb += &format!("  {this}: &{this} [{aliases}]\n");
    }
    spec_refused("alias_bomb", &bomb);
    let aliases = "*a,".repeat(1_000_000);
    let project = Project::with_spec(&format!("version: 1\nvars:\n  a: &a 1\n  b: [{aliases}]\n"));
    let ran = project.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("more than 1000000 values"), "{}", &ran.stderr[..500]);
}

#[test]
fn a_huge_spec_is_refused_without_reading_all_of_it() {
    let project = Project::empty();
    let file = std::fs::File::create(project.file("p.yaml")).unwrap();
    file.set_len(100 << 20).unwrap();
    refused("huge_spec", &project, 2);
}

#[test]
fn a_spec_that_is_not_text_is_refused() {
    let project = Project::empty();
    project.write("p.yaml", b"version: 1\nname: \xff\xfe\n");
    refused("not_utf8", &project, 2);
    let folder = Project::empty();
    std::fs::create_dir(folder.file("p.yaml")).unwrap();
    refused("spec_is_a_folder", &folder, 2);
    refused("spec_is_missing", &Project::empty(), 2);
}

#[test]
fn a_path_that_is_not_unicode_is_shown_and_works() {
    use std::os::unix::ffi::OsStrExt;
    let project = Project::empty();
    let name = std::ffi::OsStr::from_bytes(b"sp\xffec.yaml");
    let spec = stages("  a: { command: { run: [touch, \"${outputs.x}\"], outputs: { x: x } } }\n");
    std::fs::write(project.path().join(name), spec).unwrap();
    let output = project.command(&["run"]).arg(name).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let missing = std::ffi::OsStr::from_bytes(b"no\xff.yaml");
    let output = project.command(&["run"]).arg(missing).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no\u{fffd}.yaml"));
}

/// A pipeline over a broken model: the stage fails, other stages do not.
fn model_refused(name: &str, model: &str) {
    let project = Project::with_spec(&stages(
        "  onnx: { convert: { model: model.onnx } }\n  other: { command: { run: [touch, \
         \"${outputs.x}\"], outputs: { x: x } } }\n",
    ));
    project.copy(&fixture(&format!("onnx/{model}.onnx")), "model.onnx");
    let ran = refused(name, &project, 1);
    assert!(ran.stdout.contains("other") && ran.stdout.contains("built"), "{ran:#?}");
}

#[test]
fn broken_models_are_named_with_tensor_and_node() {
    model_refused("truncated_onnx", "bad_truncated");
    model_refused("missing_external_data", "bad_missing_external");
    model_refused("unsupported_opset", "bad_opset_new");
    model_refused("unknown_operator", "bad_unknown_op");
    model_refused("dangling_input", "bad_dangling_input");
}

const BUILD: &str = "  onnx: { convert: { model: model.onnx } }\n  engine:\n    build:\n      \
                     from: onnx\n      profiles:\n        - ";

fn profile_refused(name: &str, profile: &str) {
    let project = Project::with_spec(&stages(&format!("{BUILD}{profile}\n")));
    project.copy(&fixture("onnx/mlp.onnx"), "model.onnx");
    refused(name, &project, 2);
    assert_eq!(project.stored(), [""; 0]);
}

#[test]
fn profiles_are_checked_against_the_root_model_before_anything_runs() {
    profile_refused("profile_for_a_non_input", "imag: { min: [1, 4], opt: [2, 4], max: [4, 4] }");
    profile_refused("profile_min_above_opt", "x: { min: [3, 4], opt: [2, 4], max: [4, 4] }");
    profile_refused("profile_wrong_rank", "x: { min: [1], opt: [2], max: [4] }");
}

#[test]
fn batches_larger_than_the_profiles_of_the_spec_are_refused_before_anything_runs() {
    let spec = |most: usize| {
        stages(&format!(
            "  engine:
    build:
      from: {{ file: mlp.onnx, kind: model }}
      profiles: [{{ x: {{ min: [1, 4], opt: [8, 4], max: [8, 4] }} }}]
  api: {{ serve: {{ name: m, from: engine, batching: {{ max_batch: {most} }} }} }}
"
        ))
    };
    let project = Project::with_spec(&spec(9));
    project.copy(&fixture("onnx/mlp.onnx"), "mlp.onnx");
    refused("max_batch_above_the_profiles", &project, 2);
    assert_eq!(project.stored(), [""; 0]);
    assert_eq!(project.trt(&["check", "p.yaml"]).status, 2);
    project.write("p.yaml", spec(8));
    assert_eq!(project.trt(&["check", "p.yaml"]).status, 0);
}

#[test]
fn unusable_files_are_refused() {
    let project = Project::with_spec(&stages("  a: { convert: { model: loop/x.onnx } }\n"));
    symlink("loop", project.file("loop")).unwrap();
    refused("symlink_loop", &project, 2);

    let project = Project::with_spec(&stages("  a: { convert: { model: folder } }\n"));
    std::fs::create_dir(project.file("folder")).unwrap();
    refused("folder_without_a_model", &project, 1);

    let project = Project::with_spec(&stages(
        "  a: { command: { run: [cat, \"${inputs.x}\"], inputs: { x: data } } }\n",
    ));
    std::fs::create_dir(project.file("data")).unwrap();
    symlink("..", project.file("data/up")).unwrap();
    refused("folder_with_a_symlink_loop", &project, 1);
}

/// Root may read everything, so such a test has nothing to see.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn an_unreadable_file_is_named() {
    if is_root() {
        eprintln!("SKIPPED: root can read every file");
        return;
    }
    let project = Project::with_spec(&stages("  a: { convert: { model: x.onnx } }\n"));
    project.copy(&fixture("onnx/mlp.onnx"), "x.onnx");
    let none = std::fs::Permissions::from_mode(0o000);
    std::fs::set_permissions(project.file("x.onnx"), none).unwrap();
    refused("unreadable_model", &project, 1);
}
