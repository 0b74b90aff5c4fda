//! `convert` of models that Python exports. A program plays Python here, so that every way in which
//! an export can end is met; `convert_frameworks.rs` has the real ones.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use trt_pipeline::data::write_npz;
use trt_pipeline::onnx::proto::tensor_proto::DataLocation;
use trt_pipeline::onnx::proto::{ModelProto, StringStringEntryProto, TensorProto};
use trt_pipeline::tensor::{Shape, Tensor};

use crate::support::models::Network;
use crate::support::{Project, Ran, fixture, repository};

mod comparing;
mod ending;
mod planning;
mod settings;

/// What stands in for Python: says its versions, and otherwise does what a test asks for.
const PYTHON: &str = r#"#!/usr/bin/env python3
import json, os, shutil, signal, subprocess, sys, time
HERE = os.path.dirname(os.path.abspath(sys.argv[0]))
VERSIONS = {"python": "3.11.7", "torch": "2.11.0", "tensorflow": "2.21.0", "tf2onnx": "1.17.0", "numpy": None}
if sys.argv[3] == "-c":
    print("[]")
    print(json.dumps(VERSIONS))
    sys.exit()
with open(sys.argv[4]) as file:
    request = json.load(file)
def model(path="model.onnx"):
    shutil.copy(HERE + "/model.onnx", request["out"] + "/" + path)
def cases():
    shutil.copytree(HERE + "/cases", request["cases"], dirs_exist_ok=True)
def result(**more):
    answer = {"format": 1, "exporter": "stand-in", "inputs": [{"name": "x"}], "outputs": ["y"], "warnings": [], "choices": {}}
    with open(request["result"], "w") as file:
        json.dump({**answer, **more}, file)
def refuse(kind, message, help, package=None):
    with open(request["result"], "w") as file:
        json.dump({"format": 1, "error": {"kind": kind, "message": message, "help": help, "package": package}}, file)
    sys.exit(3)
"#;

const GOOD: &str = "model(); cases(); result()\n";

/// The model `y = x + 1`, what it computes on two samples, a file that is a Keras model by its first
/// bytes, and a Python that does what `body` says.
fn project(body: &str, settings: &str) -> Project {
    let project = Project::with_spec(&format!(
        "version: 1\nname: p\nstages:\n  onnx:\n    convert: {{ model: net.h5, python: ./python{settings} }}\n"
    ));
    let model = Network::default().input("x", &[0, 2]).output("y", &[0, 2]);
    let model = model.weights("one", &[1], vec![1.0]).node("Add", &["x", "one"], "y");
    project.write("model.onnx", model.encode());
    project.write("net.h5", b"\x89HDF\r\n\x1a\n and the rest of a Keras model");
    for (case, rows) in [(0, 1), (1, 3)] {
        let values: Vec<f32> = (0..rows * 2_u16).map(|at| f32::from(at) / 8.0).collect();
        let sum: Vec<f32> = values.iter().map(|value| value + 1.0).collect();
        sample(&project, case, "inputs", "x", &values);
        sample(&project, case, "outputs", "y", &sum);
    }
    python(&project, "python", &format!("{PYTHON}{body}"));
    project
}

/// Writes one side of a sample.
fn sample(project: &Project, case: usize, side: &str, name: &str, values: &[f32]) {
    let tensor = Tensor::from_f32(Shape(vec![values.len() / 2, 2]), values).unwrap();
    let file = format!("cases/{case}/{side}.npz");
    project.write(&file, "");
    write_npz(&project.file(&file), [(name, &tensor)]).unwrap();
}

fn python(project: &Project, name: &str, text: &str) {
    project.write(name, text);
    fs::set_permissions(project.file(name), fs::Permissions::from_mode(0o755)).unwrap();
}

fn description(project: &Project) -> Value {
    serde_json::from_str(&project.read("build/p/onnx/convert.json")).unwrap()
}

/// The error of a run, on one line.
fn failed(ran: &Ran, status: i32) -> String {
    assert_eq!(ran.status, status, "{ran:#?}");
    let frame = |c: char| "│╰─▶×".contains(c) || c.is_whitespace();
    ran.stderr.split(frame).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Where a word of the settings stands, as errors have it.
fn place_of(project: &Project, word: &str) -> String {
    let spec = project.read("p.yaml");
    let (line, text) = spec.lines().enumerate().find(|(_, text)| text.contains(word)).unwrap();
    format!("p.yaml:{}:{}", line + 1, text.find(word).unwrap() + 1)
}

fn wait_for(project: &Project, file: &str) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !project.file(file).exists() && Instant::now() < deadline {
        std::thread::yield_now();
    }
}

/// The exit status of a command that gets a signal once there is a file `started`.
fn interrupted(project: &Project, command: &str, signal: Signal) -> Option<i32> {
    let mut running = project.command(&[command, "p.yaml"]).spawn().unwrap();
    wait_for(project, "started");
    let pid = Pid::from_raw(i32::try_from(running.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
    running.wait().unwrap().code()
}

/// Whether a process is dead, perhaps not yet reaped.
fn is_gone(pid: &str) -> bool {
    let stat = format!("/proc/{}/stat", pid.trim());
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        match fs::read_to_string(&stat) {
            Ok(stat) if !stat.contains(") Z") => std::thread::yield_now(),
            _ => return true,
        }
    }
    false
}

#[test]
fn an_exported_model_is_compared_with_its_framework_and_described() {
    let project =
        project("model(); cases(); result(warnings=['rounded'], choices={'signature': 's'})\n", "");
    project.run_ok();
    let told = description(&project);
    assert_eq!(told["opset"], 17);
    assert_eq!(told["inputs"][0]["dims"], json!(["n", 2]));
    let source = &told["source"];
    assert_eq!(source["kind"], "keras");
    assert_eq!(source["exporter"], "stand-in");
    assert_eq!(source["warnings"], json!(["rounded"]));
    assert_eq!(source["choices"], json!({ "signature": "s" }));
    let versions = json!({ "python": "3.11.7", "tensorflow": "2.21.0", "tf2onnx": "1.17.0" });
    assert_eq!(source["versions"], versions, "PyTorch has no part in it");
    let comparison = &told["comparison"];
    assert_eq!((&comparison["cases"], &comparison["backend"]), (&json!(2), &json!("cpu")));
    assert_eq!(comparison["limits"]["max_relative_error"], 1e-4);
    let output = &comparison["outputs"][0];
    assert_eq!((&output["name"], &output["elements"]), (&json!("y"), &json!(8)));
    assert_eq!(output["max_abs"], 0.0);
}

#[test]
fn a_framework_of_another_version_makes_another_key_and_the_lock_file_holds_no_bytes_of_an_export()
{
    let project = project(GOOD, "");
    project.run_ok();
    assert!(project.trt(&["run", "p.yaml"]).stdout.contains("1 cached"));
    let lock = project.read("p.lock");
    assert!(lock.contains("tensorflow: \"2.21.0\"") && lock.contains("scripts:"), "{lock}");
    assert!(!lock.contains("artifact:"), "{lock}");
    assert_eq!(project.trt(&["run", "p.yaml", "--locked"]).status, 0);
    python(&project, "python", &format!("{PYTHON}{GOOD}").replace("2.21.0", "2.22.0"));
    let plan = project.trt(&["plan", "--explain", "p.yaml"]).stdout;
    assert!(plan.contains("tools.tensorflow: 2.21.0 -> 2.22.0"), "{plan}");
    let locked = failed(&project.trt(&["run", "p.yaml", "--locked"]), 2);
    assert!(locked.contains("locked with tensorflow 2.21.0, here it is 2.22.0"), "{locked}");
}

#[test]
fn the_key_of_an_onnx_model_is_what_it_was_before_there_were_exports() {
    let spec = "version: 1\nname: digits\nstages: { onnx: { convert: { model: digits.onnx } } }\n";
    let project = Project::with_spec(spec);
    project.copy(&repository().join("pipelines/digits/model/digits_cnn.onnx"), "digits.onnx");
    project.run_ok();
    let plan = project.trt(&["plan", "p.yaml"]).stdout;
    assert!(plan.contains("887e8d38c22f"), "{plan}");
    assert!(project.read("p.lock").contains("artifact:"));
}

#[test]
fn a_request_has_all_that_was_set_and_the_environment_only_what_an_export_needs() {
    let body = format!(
        "json.dump({{'request': request, 'env': dict(os.environ), 'here': os.getcwd()}}, open(HERE + '/seen.json', 'w'))\n{GOOD}"
    );
    let project = project(
        &body,
        ", inputs: { x: { shape: [n, 2], range: [-1, 1] } }, outputs: [y], opset: 17, timeout_seconds: 600, samples: cases/1/inputs.npz",
    );
    let mut command = project.command(&["run", "p.yaml"]);
    let ran = Ran::of(
        &command.env("PYTHONPATH", "/nowhere").env("OF_THE_USER", "1").output().unwrap(),
        project.path(),
    );
    assert_eq!(ran.status, 0, "{ran:#?}");
    let seen: Value = serde_json::from_str(&project.read("seen.json")).unwrap();
    let request = &seen["request"];
    assert_eq!((&request["format"], &request["kind"]), (&json!(1), &json!("keras")));
    let input = json!({ "name": "x", "shape": ["n", 2], "dtype": "float32", "range": [-1.0, 1.0] });
    assert_eq!(request["inputs"], json!([input]));
    assert_eq!((&request["outputs"], &request["opset"]), (&json!(["y"]), &json!(17)));
    assert_eq!((&request["exporter"], &request["module"]), (&json!("auto"), &Value::Null));
    for path in ["model", "out", "result", "cases", "samples"] {
        assert!(Path::new(request[path].as_str().unwrap()).is_absolute(), "{request:#}");
    }
    let env = &seen["env"];
    for (name, value) in [
        ("LANG", "C.UTF-8"),
        ("HF_HUB_OFFLINE", "1"),
        ("TRANSFORMERS_OFFLINE", "1"),
        ("HF_DATASETS_OFFLINE", "1"),
        ("CUDA_VISIBLE_DEVICES", "-1"),
        ("PYTHONSAFEPATH", "1"),
        ("PYTHONHASHSEED", "0"),
    ] {
        assert_eq!(env[name], value, "{name}");
    }
    assert_eq!((&env["PYTHONPATH"], &env["OF_THE_USER"]), (&Value::Null, &Value::Null));
    assert_eq!(seen["env"]["TMPDIR"], seen["here"]);
}

#[test]
fn a_script_of_the_users_own_exports_whatever_the_model_is() {
    let body = format!(
        "open(HERE + '/kind', 'w').write(request['kind'] + open(request['script']).read())\n{GOOD}"
    );
    let project = project(&body, ", script: mine.py");
    project.write("net.h5", "no model at all").write("mine.py", " mine");
    project.run_ok();
    assert_eq!(project.read("kind"), "script mine");
    let told = description(&project);
    assert_eq!(told["source"]["kind"], Value::Null);
    assert_eq!(told["source"]["versions"]["torch"], "2.11.0");
    project.write("mine.py", " other").run_ok();
    assert_eq!(project.read("kind"), "script other");
    project.copy(&fixture("source_models/module.pth"), "net.h5");
    project.run_ok();
    assert_eq!(description(&project)["source"]["kind"], "torch_module");
    let opset = |opset: u32| project.read("p.yaml").replace(" }", &format!(", opset: {opset} }}"));
    let (other, its_own) = (opset(18), opset(17));
    let error = failed(&project.write("p.yaml", other).trt(&["run", "p.yaml"]), 1);
    assert!(error.contains("`opset` is 18, the script wrote a model of opset 17"), "{error}");
    assert!(error.contains(&place_of(&project, "18 }")), "{error}");
    project.write("p.yaml", its_own).run_ok();
}

#[test]
fn stages_after_an_export_are_checked_once_it_is_there() {
    let project = project(GOOD, "");
    let spec = project.read("p.yaml")
        + "  engine: { build: { from: onnx, profiles: [{ z: { min: [1, 2], opt: [1, 2], max: [4, 2] } }] } }\n";
    project.write("p.yaml", &spec);
    assert_eq!(project.trt(&["check", "p.yaml"]).status, 0);
    let error = failed(&project.trt(&["run", "p.yaml"]), 1);
    assert!(error.contains("`z`"), "{error}");
    project.write("p.yaml", spec.replace("{ z:", "{ x:")).run_ok();
}

#[test]
fn a_folder_is_a_model_and_all_of_it_is_in_the_key() {
    let project = project(GOOD, "");
    let spec = project.read("p.yaml").replace("net.h5", "saved");
    project.write("p.yaml", spec);
    project.copy(&fixture("source_models/saved_model/saved_model.pb"), "saved/saved_model.pb");
    project.write("saved/variables/variables.index", "1");
    project.run_ok();
    assert_eq!(description(&project)["source"]["kind"], "saved_model");
    assert!(project.run_ok().stdout.contains("1 cached"));
    project.write("saved/variables/variables.index", "2");
    assert!(project.run_ok().stdout.contains("1 built"));
}

#[test]
fn external_data_beyond_two_gibibytes_comes_through_from_end_to_end() {
    const LARGE: &str = "TRT_PIPELINE_TEST_LARGE";
    const ROWS: i64 = 524_300;
    const WIDTH: i64 = 1024;
    if std::env::var_os(LARGE).is_none() {
        eprintln!("SKIPPED: it takes minutes; {LARGE}=1 and .ci/soak run it");
        return;
    }
    let project = project(
        "with open(request['out'] + '/weights.bin', 'wb') as file: file.truncate(4 * 524300 * 1024)\nmodel(); cases(); result()\n",
        "",
    );
    let rows = Network::default().input("x", &[0, 2]).output("y", &[0, 2]);
    let rows = rows.weights("one", &[1], vec![1.0]).weights("row", &[1], vec![0.0]);
    let rows = rows.node("Add", &["x", "one"], "z").node("Gather", &["big", "at"], "zeros");
    let rows = rows.node("ReduceSum", &["zeros"], "zero").node("Add", &["z", "zero"], "y");
    let mut model = <ModelProto as prost::Message>::decode(rows.encode().as_slice()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let entry = |key: &str, value: String| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value),
    };
    graph.initializer.push(TensorProto {
        name: Some("big".to_owned()),
        dims: vec![ROWS, WIDTH],
        data_type: Some(1),
        data_location: Some(DataLocation::External as i32),
        external_data: vec![
            entry("location", "weights.bin".to_owned()),
            entry("length", (4 * ROWS * WIDTH).to_string()),
        ],
        ..Default::default()
    });
    graph.initializer.push(TensorProto {
        name: Some("at".to_owned()),
        dims: vec![1],
        data_type: Some(7),
        int64_data: vec![ROWS - 1],
        ..Default::default()
    });
    project.write("model.onnx", prost::Message::encode_to_vec(&model));
    project.run_ok();
    let weights = fs::metadata(project.file("build/p/onnx/weights.bin")).unwrap();
    assert_eq!(weights.len(), 4 * 524_300 * 1024);
    assert_eq!(description(&project)["comparison"]["outputs"][0]["max_abs"], 0.0);
}
