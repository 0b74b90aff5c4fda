//! Finding TensorRT, as people see it: with libraries of a few lines of C in place of the real.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::{Project, Ran, fixture, with_filters};

/// A machine with no GPU, no Python and no TensorRT but those that a test puts there.
struct Machine(Project);

impl Machine {
    fn empty() -> Self {
        let project = Project::empty();
        for folder in ["bin", "lib", "home"] {
            std::fs::create_dir(project.file(folder)).unwrap();
        }
        Self(project)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.0.command(args);
        command
            .env("PATH", self.0.file("bin"))
            .env("HOME", self.0.file("home"))
            .env("LD_LIBRARY_PATH", self.0.file("lib"))
            .env("TRT_PIPELINE_RUNTIMES", self.0.file("runtimes"))
            .env("CUDA_VISIBLE_DEVICES", "")
            .env_remove("TRT_PIPELINE_TENSORRT")
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XDG_DATA_HOME");
        command
    }

    fn trt(&self, args: &[&str]) -> Ran {
        Ran::of(&self.command(args).output().unwrap(), self.0.path())
    }

    /// Compiles a library that exports these names.
    fn library(&self, file: &str, exports: &[&str]) -> PathBuf {
        let path = self.0.file(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        self.0.write("library.c", format!("int {};\n", exports.join(", ")));
        let name = path.file_name().unwrap().to_str().unwrap();
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-nostdlib", "-o"])
            .arg(&path)
            .arg(format!("-Wl,-soname,{name}"))
            .arg(self.0.file("library.c"))
            .output()
            .unwrap();
        assert!(compiled.status.success(), "{compiled:?}");
        path
    }

    /// TensorRT of a version such as `10_3_0_26`, with its parser.
    fn tensorrt(&self, folder: &str, version: &str) -> PathBuf {
        let major = version.split('_').next().unwrap();
        let parser = format!("{folder}/libnvonnxparser.so.{major}");
        self.library(&parser, &["createNvOnnxParser_INTERNAL"]);
        let version = format!("tensorrt_version_{version}");
        let file = format!("{folder}/libnvinfer.so.{major}");
        self.library(&file, &["createInferBuilder_INTERNAL", &version])
    }

    fn rtx(&self, folder: &str) -> PathBuf {
        self.library(
            &format!("{folder}/libtensorrt_rtx.so.1"),
            &["createInferBuilder_INTERNAL", "tensorrt_version_1_7_1_116"],
        )
    }

    /// A `python3` that does this.
    fn python(&self, script: &str) {
        self.0.write("bin/python3", format!("#!/bin/sh\n{script}\n"));
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.0.file("bin/python3"), executable).unwrap();
    }

    /// What `doctor` says of TensorRT: its first part, and what to do next (but not about the CUDA
    /// driver, which a machine may have).
    fn diagnosis(&self, command: &mut Command) -> String {
        let ran = Ran::of(&command.output().unwrap(), self.0.path());
        assert_eq!(ran.status, 0, "{ran:#?}");
        let (libraries, rest) = ran.stdout.split_once("\nCUDA ").unwrap();
        let next = rest.split("\nnext ").skip(1).filter(|next| !next.contains("to run engines"));
        [libraries].into_iter().chain(next).collect::<Vec<_>>().join("\nnext ")
    }

    /// The one JSON line of `doctor`.
    fn findings(&self, command: &mut Command) -> Value {
        let ran = Ran::of(&command.args(["--format", "json"]).output().unwrap(), self.0.path());
        assert_eq!(ran.status, 0, "{ran:#?}");
        ran.events().remove(0)
    }
}

/// Whether the system has a TensorRT of its own, which no test can hide. Says so.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn system_has_tensorrt() -> bool {
    let machine = Machine::empty();
    let findings = machine.findings(&mut machine.command(&["doctor"]));
    let searched = findings["tensorrt"]["searched"].as_array().unwrap();
    let system = searched.iter().find(|place| place["source"] == "system").unwrap();
    let has = system["libraries"] != 0;
    if has {
        let tensorrt = &findings["tensorrt"];
        eprintln!("SKIPPED: the system has its own {tensorrt}");
    }
    has
}

#[test]
fn where_there_is_nothing_doctor_says_where_it_looked_and_what_to_install() {
    if system_has_tensorrt() {
        return;
    }
    let machine = Machine::empty();
    let diagnosis = machine.diagnosis(&mut machine.command(&["doctor"]));
    with_filters(|| insta::assert_snapshot!("doctor_nothing", diagnosis));
}

#[test]
fn every_library_is_described_and_one_that_cannot_be_used_says_why() {
    if system_has_tensorrt() {
        return;
    }
    let machine = Machine::empty();
    machine.tensorrt("runtimes/tensorrt-10.3", "10_3_0_26");
    machine.tensorrt("lib", "12_0_0_1");
    machine.0.write("lib/libnvinfer.so.8", "not a library\n");
    let diagnosis = machine.diagnosis(&mut machine.command(&["doctor"]));
    with_filters(|| insta::assert_snapshot!("doctor_several", diagnosis));
}

#[test]
fn a_library_that_the_command_line_names_is_described_alone_or_refused() {
    let machine = Machine::empty();
    machine.tensorrt("lib", "10_3_0_26");
    machine.0.write("wheel.whl", b"PK\x03\x04 and so on");
    let parser = machine.0.file("lib/libnvonnxparser.so.10");
    let lone = machine.rtx("lone");
    let new = machine.tensorrt("new", "10_99_0_1");
    let mut text = String::new();
    for named in [
        machine.0.file("nowhere"),
        machine.0.file("bin"),
        machine.0.file("wheel.whl"),
        parser,
        machine.tensorrt("old", "8_5_3_1"),
        lone,
        new,
    ] {
        let findings = machine.findings(machine.command(&["doctor", "--tensorrt-lib"]).arg(&named));
        let tensorrt = &findings["tensorrt"];
        text += &format!("{}\n", named.strip_prefix(machine.0.path()).unwrap().display());
        let library = &tensorrt["libraries"][0];
        for field in ["problem", "help"] {
            text += &format!("  {field}: {}\n", tensorrt[field]);
        }
        if library["source"] == "option" {
            text += &format!("  builds_not: {}\n", library["builds_not"]);
            text += &format!("  warning: {}\n", library["found"]["warning"]);
        }
    }
    with_filters(|| insta::assert_snapshot!("doctor_named", text));
}

#[test]
fn two_products_are_shown_and_the_choice_is_asked_for() {
    if system_has_tensorrt() {
        return;
    }
    let machine = Machine::empty();
    machine.tensorrt("runtimes/tensorrt-10.3", "10_3_0_26");
    machine.rtx("lib");
    let diagnosis = machine.diagnosis(&mut machine.command(&["doctor"]));
    with_filters(|| insta::assert_snapshot!("doctor_two_products", diagnosis));
}

#[test]
fn the_command_line_goes_before_the_variable_and_both_before_what_is_searched() {
    let machine = Machine::empty();
    machine.tensorrt("lib", "10_3_0_26");
    let variable = machine.tensorrt("variable", "10_4_0_1");
    let option = machine.tensorrt("option", "10_5_0_1");
    let chosen = |command: &mut Command| machine.findings(command)["tensorrt"]["chosen"].clone();
    let shown = |path: &PathBuf| {
        let path = path.display().to_string();
        Value::from(path.replace(&machine.0.path().display().to_string(), "[dir]"))
    };
    let with_variable = || {
        let mut command = machine.command(&["doctor"]);
        command.env("TRT_PIPELINE_TENSORRT", variable.parent().unwrap());
        command
    };
    assert_eq!(chosen(&mut with_variable()), shown(&variable));
    let findings = machine.findings(with_variable().arg("--tensorrt-lib").arg(&option));
    assert_eq!(findings["tensorrt"]["chosen"], shown(&option));
    let libraries = findings["tensorrt"]["libraries"].as_array().unwrap();
    let sources: Vec<&str> =
        libraries.iter().map(|library| library["source"].as_str().unwrap()).collect();
    assert_eq!(sources[..3], ["option", "variable", "library_path"], "all are shown");
}

#[test]
fn packages_of_python_are_found_and_python_is_asked_only_where_it_matters() {
    let machine = Machine::empty();
    let site = machine.0.file("site-packages");
    let library = machine.rtx("site-packages/onnxruntime_ep_nv_tensorrt_rtx");
    std::fs::create_dir_all(site.join("onnx")).unwrap();
    machine.python(&format!(
        "echo asked >> '{}'\necho '{{\"version\": \"3.12.1\", \"folders\": [\"{}\"]}}'",
        machine.0.file("asked").display(),
        site.display()
    ));
    machine.0.copy(&fixture("onnx/mlp.onnx"), "model.onnx");
    machine
        .0
        .write("on_cpu.yaml", "version: 1\nstages:\n  a: { convert: { model: model.onnx } }\n");
    machine.0.write("p.yaml", BUILD.replace("SETTINGS", ""));
    for args in [
        &["check", "p.yaml"][..],
        &["graph", "p.yaml"],
        &["schema"],
        &["--help"],
        &["plan", "on_cpu.yaml"],
        &["run", "on_cpu.yaml"],
    ] {
        let ran = machine.trt(args);
        assert_eq!(ran.status, 0, "{args:?}: {ran:#?}");
    }
    assert!(!machine.0.file("asked").exists());
    let findings = machine.findings(&mut machine.command(&["doctor"]));
    assert_eq!(machine.0.read("asked"), "asked\n", "once, though several parts want to know");
    assert_eq!(findings["python"]["version"], "3.12.1");
    assert_eq!(
        (&findings["python"]["onnx"], &findings["python"]["torch"]),
        (&true.into(), &false.into())
    );
    let found = &findings["tensorrt"]["libraries"][0];
    assert_eq!(found["source"], "python");
    let name = library.file_name().unwrap().to_str().unwrap();
    assert!(found["path"].as_str().unwrap().ends_with(name), "{found}");
}

/// A build for TensorRT, whose compute capability is given: it needs no GPU.
const BUILD: &str = "version: 1
name: p
stages:
  onnx: { convert: { model: model.onnx } }
  engine:
    build:
      from: onnx
      backend: tensorrt
      profiles: [{ x: { min: [1, 4], opt: [1, 4], max: [1, 4] } }]
      compute_capabilities: [\"8.9\"]
      tensorrt: { SETTINGS }
";

#[test]
fn a_build_without_a_library_that_fits_exits_with_3_and_the_way_out() {
    if system_has_tensorrt() {
        return;
    }
    let machine = Machine::empty();
    machine.0.copy(&fixture("onnx/mlp.onnx"), "model.onnx");
    let run = |settings: &str| {
        machine.0.write("p.yaml", BUILD.replace("SETTINGS", settings));
        let ran = machine.trt(&["run", "p.yaml"]);
        assert_eq!(ran.status, 3, "{ran:#?}");
        format!("tensorrt: {{ {settings} }}\n{}", ran.stderr)
    };
    let mut text = run("");
    machine.tensorrt("lib", "10_3_0_26");
    machine.rtx("runtimes/tensorrt-rtx-1.7.1");
    text += &run("");
    text += &run("version: \"11\"");
    text += &run("library: bin");
    with_filters(|| insta::assert_snapshot!("build_without_a_library", text));
}

#[test]
fn a_version_that_is_none_is_refused_at_its_place() {
    let machine = Machine::empty();
    machine.0.copy(&fixture("onnx/mlp.onnx"), "model.onnx");
    machine.0.write("p.yaml", BUILD.replace("SETTINGS", "version: newest"));
    let ran = machine.trt(&["check", "p.yaml"]);
    with_filters(|| insta::assert_snapshot!("version_that_is_none", ran.seen()));
}

#[test]
fn a_runtime_is_not_installed_without_agreement_python_and_pip() {
    let machine = Machine::empty();
    let install = |args: &[&str]| {
        let ran = machine.trt(&[&["runtime", "install", "tensorrt-rtx"], args].concat());
        assert_eq!(std::fs::read_dir(machine.0.file("runtimes")).into_iter().flatten().count(), 0);
        ran.seen()
    };
    let mut text = install(&[]);
    text += &install(&["--accept-license"]);
    machine.python("echo 'No module named pip' >&2; exit 1");
    text += &install(&["--accept-license"]);
    machine.python(
        "[ \"$3\" = --version ] && exit 0\necho 'ERROR: Could not find a version' >&2; exit 1",
    );
    text += &install(&["--accept-license"]);
    let wheel = "onnxruntime_ep_nv_tensorrt_rtx_cu13-0.5.0-py3-none-manylinux_2_28_x86_64.whl";
    machine.python(&format!(
        "[ \"$3\" = --version ] && exit 0\n\
         while [ \"$1\" != --dest ]; do shift; done\necho other > \"$2/{wheel}\""
    ));
    text += &install(&["--accept-license"]);
    with_filters(|| insta::assert_snapshot!("runtime_not_installed", text));
}

#[test]
fn an_unknown_runtime_is_a_usage_error_that_names_the_known() {
    let ran = Machine::empty().trt(&["runtime", "install", "tensorrt@10"]);
    with_filters(|| insta::assert_snapshot!("runtime_unknown", ran.seen()));
}

#[test]
fn installed_runtimes_are_listed_with_those_that_can_be() {
    let machine = Machine::empty();
    machine.tensorrt("runtimes/tensorrt-10.3", "10_3_0_26");
    machine.0.write("runtimes/tensorrt-rtx-1.7.1/libtensorrt_rtx.so.1.7.1", "half");
    let ran = machine.trt(&["runtime", "list", "--format", "json"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    let listed: Vec<(String, bool, bool)> = ran
        .events()
        .iter()
        .map(|line| {
            let name = line["name"].as_str().unwrap().to_owned();
            (name, line["installed"].as_bool().unwrap(), line["problem"].is_null())
        })
        .collect();
    let row = |name: &str, installed, fine| (name.to_owned(), installed, fine);
    assert_eq!(
        listed,
        [
            row("tensorrt-10.3", true, true),
            row("tensorrt-rtx-1.7.1", true, false),
            row("tensorrt-rtx", false, true),
            row("tensorrt@8.6", false, true),
            row("onnxruntime", false, true),
        ]
    );
    let elsewhere = machine.trt(&["runtime", "list", "--dir", "nowhere"]);
    assert!(!elsewhere.stdout.contains("tensorrt-10.3"), "{elsewhere:#?}");
}
