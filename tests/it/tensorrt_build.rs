//! Building engines with the whole program, over the stand-ins: every generation, and what goes
//! wrong.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use prost::Message as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use trt_pipeline::onnx::proto::ModelProto;

use crate::standin::tensorrt::TensorRt;
use crate::standin::{Cuda, NOTHING};
use crate::support::{Project, Ran, fixture};
use crate::tensorrt_engines::{generations, v8_6, v10};

/// A project that builds an engine, and the libraries it does so with.
struct Build {
    project: Project,
    tensorrt: TensorRt,
    cuda: Cuda,
}

const DIGITS: &str = "{ image: { min: [1, 1, 8, 8], opt: [4, 1, 8, 8], max: [16, 1, 8, 8] } }";

impl Build {
    /// The digits in FP32, on a GPU that every generation knows.
    fn digits(tensorrt: TensorRt) -> Self {
        Self::of("digits_fp32", DIGITS, tensorrt)
    }

    fn of(model: &str, profile: &str, tensorrt: TensorRt) -> Self {
        let project = Project::with_spec(&format!(
            "version: 1\nname: p\nstages:\n  onnx: {{ convert: {{ model: model.onnx }} }}\n  \
             engine:\n    build:\n      from: onnx\n      backend: tensorrt\n      profiles: \
             [{profile}]\n"
        ));
        project.copy(&fixture(&format!("tensorrt/{model}.onnx")), "model.onnx");
        Self { project, tensorrt, cuda: Cuda::new().with("CAPABILITY", "8.9") }
    }

    /// Adds lines below `build:`.
    fn set(self, line: &str) -> Self {
        let spec = self.project.read("p.yaml");
        self.project.write("p.yaml", format!("{spec}      {line}\n"));
        self
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.tensorrt = self.tensorrt.with(name, value);
        self
    }

    fn on(mut self, cuda: Cuda) -> Self {
        self.cuda = cuda;
        self
    }

    fn command(&self) -> Command {
        let mut command = self.project.command(&["run", "p.yaml", "--format", "json"]);
        self.cuda.attach(&mut command);
        self.tensorrt.attach(&mut command);
        command
    }

    fn run(&self) -> Ran {
        Ran::of(&self.command().output().unwrap(), self.project.path())
    }

    /// Runs it, with success.
    #[track_caller]
    fn builds(&self) -> Ran {
        let ran = self.run();
        assert_eq!(ran.status, 0, "{ran:#?}");
        ran
    }

    /// Runs it; the engine's stage must fail with these words and leave nothing.
    #[track_caller]
    fn fails(&self, words: &[&str]) -> Ran {
        let ran = self.run();
        assert_eq!(ran.status, 1, "{ran:#?}");
        let is_diagnostic = |event: &&Value| event["event"] == "diagnostic";
        let events = ran.events();
        let told = events.iter().find(is_diagnostic).map(Value::to_string).unwrap_or_default();
        for word in words {
            assert!(told.contains(word), "`{word}` is not in {told}");
        }
        assert!(!self.project.file("build/p/engine").exists());
        ran
    }

    /// No library that was used left an object, and the driver nothing.
    #[track_caller]
    fn nothing_is_left(&self) {
        self.tensorrt.assert_nothing_left();
        assert_eq!(self.cuda.live().as_deref(), Some(NOTHING));
    }

    fn plan(&self) -> String {
        self.project.read("build/p/engine/engine.plan")
    }

    fn manifest(&self) -> Value {
        serde_json::from_str(&self.project.read("build/p/engine/engine.json")).unwrap()
    }
}

/// The words of an event's phases, in order.
fn phases(ran: &Ran) -> Vec<String> {
    let progress = ran.events().into_iter().filter(|event| event["event"] == "stage_progress");
    let engine = progress.filter(|event| event["stage"] == "engine");
    engine.map(|event| event["phase"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_generation_builds_an_engine_and_leaves_nothing() {
    for tensorrt in generations() {
        let build = Build::digits(tensorrt);
        build.builds();
        build.nothing_is_left();
        let facts = &build.manifest()["tensorrt"];
        assert_eq!(facts["compute_capabilities"], json!(["8.9"]), "{facts}");
        assert_eq!(facts["layers"].as_array().unwrap().len(), 12, "{facts}");
        let version = facts["version"].as_str().unwrap();
        assert!(build.tensorrt.name().ends_with(version), "{version}");
        assert!(build.plan().contains("range 0 0 2 4 16 1 8 8\n"), "{}", build.plan());
        // The same again is no work.
        assert_eq!(build.builds().outcomes()[1], ("engine".to_owned(), "cached".to_owned()));
    }
}

#[test]
fn a_newer_minor_version_is_used_with_a_warning() {
    let build = Build::digits(TensorRt::standard("10.99.0.1"));
    let ran = build.builds();
    assert!(ran.stderr.contains("is newer than any that this trt-pipeline knows"), "{ran:#?}");
    build.nothing_is_left();
}

#[test]
fn progress_is_told_in_the_phases_of_tensorrt_where_it_has_a_monitor() {
    let told = phases(&Build::digits(v10()).builds());
    for phase in ["Building engine", "Optimizing graph", "Timing tactics"] {
        assert!(told.iter().any(|told| told == phase), "{phase}: {told:?}");
    }
    let told = phases(&Build::digits(v8_6()).builds());
    assert!(!told.iter().any(|told| told == "Building engine"), "{told:?}");
}

/// The builder's flags of a plan, as a number.
fn flags(plan: &str) -> u64 {
    let line = plan.lines().find_map(|line| line.strip_prefix("flags ")).unwrap();
    line.parse().unwrap()
}

#[test]
fn a_graph_in_fp16_is_held_to_its_types_by_every_generation() {
    const FP16: u64 = 1 << 0;
    const OBEY_IN_8_6: u64 = 1 << 10;
    let weak = Build::of("digits_fp16", DIGITS, v8_6());
    weak.builds();
    // Nothing in it is FP32 but what the casts at its ends take and give.
    assert_eq!(flags(&weak.plan()) & (FP16 | OBEY_IN_8_6), FP16, "{}", weak.plan());
    let strong = Build::of("digits_fp16", DIGITS, v10());
    strong.builds();
    assert_eq!(flags(&strong.plan()) & FP16, 0, "{}", strong.plan());
    let quantized = Build::of("digits_int8_qdq", DIGITS, v8_6());
    quantized.builds();
    assert_ne!(flags(&quantized.plan()) & 1 << 1, 0, "{}", quantized.plan());
    quantized.nothing_is_left();
}

#[test]
fn nodes_that_the_parser_refuses_are_all_named() {
    let profile = "{ x: { min: [1, 3, 3], opt: [4, 3, 3], max: [8, 3, 3] }, bits: { min: [1, 3], \
                   opt: [4, 3], max: [8, 3] } }";
    for tensorrt in generations().into_iter().skip(1) {
        let build = Build::of("broken_graph", profile, tensorrt);
        build.fails(&["volume_of_cell", "Det", "halve_bits", "BitShift"]);
        build.nothing_is_left();
    }
    let old = Build::of("broken_graph", profile, v8_6());
    // Its parser gives a number, stops at the first, and leaves the name to the program.
    old.fails(&["volume_of_cell", "Det", "Plugin not found"]);
    old.nothing_is_left();
}

#[test]
fn a_layer_that_cannot_be_built_is_named() {
    let profile = "{ boxes: { min: [1, 1, 4], opt: [1, 4, 4], max: [1, 8, 4] }, scores: { min: [1, \
                   1, 1], opt: [1, 1, 4], max: [1, 1, 8] } }";
    let build = Build::of("unbuildable", profile, v10());
    build.fails(&["Could not find any implementation for node /selected"]);
    build.nothing_is_left();
}

#[test]
fn a_gpu_that_the_library_does_not_know_is_refused_in_its_words() {
    let build = Build::digits(TensorRt::rtx("1.7.1.116")).on(Cuda::new());
    build.fails(&["Target GPU SM 90 is not supported by this TensorRT-RTX release"]);
    build.nothing_is_left();
}

/// What a build calls that can fail.
const CALLS: [&str; 9] = [
    "createInferBuilder_INTERNAL",
    "IBuilder::createNetworkV2",
    "IBuilder::createBuilderConfig",
    "IBuilder::createOptimizationProfile",
    "createNvOnnxParser_INTERNAL",
    "IParser::parseFromFile",
    "IOptimizationProfile::setDimensions:2",
    "IBuilderConfig::addOptimizationProfile",
    "IBuilder::buildSerializedNetwork",
];

#[test]
fn every_call_that_fails_ends_the_stage_with_its_name_and_leaves_nothing() {
    for call in CALLS {
        let build = Build::digits(v10()).with("FAIL", call);
        let method = call.split("::").last().unwrap().split(':').next().unwrap();
        build.fails(&[&format!("{method} failed")]);
        let objects = build.tensorrt.objects();
        assert!(objects.iter().all(|library| library.live.is_empty()), "{call}: {objects:#?}");
        assert_eq!(build.cuda.live().as_deref(), Some(NOTHING), "{call}");
        build.with("FAIL", "").builds();
    }
}

#[test]
fn a_crash_of_tensorrt_fails_one_stage() {
    for (how, signal) in [("abort", "signal 6"), ("segv", "signal 11")] {
        let fault = format!("IBuilder::buildSerializedNetwork={how}");
        let build = Build::digits(v8_6()).with("FAIL", &fault);
        build.fails(&["was killed by", signal]);
        build.with("FAIL", "").builds();
    }
}

#[test]
fn a_crash_of_the_parser_names_the_node() {
    let build = Build::digits(v8_6()).with("CRASH_AT", "MaxPool");
    build.fails(&["was killed by signal 11 while it parsed node `", "(MaxPool)"]);
    build.with("CRASH_AT", "").builds();
}

#[test]
fn an_opset_that_the_library_reads_wrong_is_warned_of() {
    for (tensorrt, opset, warns) in [(v8_6(), 18, true), (v8_6(), 17, false), (v10(), 18, false)] {
        let build = Build::digits(tensorrt);
        let mut model =
            ModelProto::decode(fs::read(build.project.file("model.onnx")).unwrap().as_slice())
                .unwrap();
        model.opset_import[0].version = Some(opset);
        build.project.write("model.onnx", model.encode_to_vec());
        let ran = build.builds();
        let says = "the model is of opset 18; TensorRT 8.6.";
        assert_eq!(ran.stderr.contains(says), warns, "{ran:#?}");
    }
}

#[test]
fn out_of_device_memory_is_told_with_what_there_is() {
    for tensorrt in [v8_6(), v10()] {
        let cuda = Cuda::new().with("CAPABILITY", "8.9").with("MEMORY", 65536);
        let build = Build::digits(tensorrt).on(cuda);
        build.fails(&["out of memory while building the engine", "65536 of 65536 bytes are free"]);
        build.nothing_is_left();
    }
    let build = Build::digits(v10()).with("FAIL", "IBuilder::buildSerializedNetwork=oom");
    build.fails(&["OutOfMemory"]);
}

#[test]
fn a_build_that_hangs_is_ended_at_its_time_limit() {
    let build = Build::digits(v8_6()).set("timeout_seconds: 0.5");
    build.with("FAIL", "IBuilder::buildSerializedNetwork=hang").fails(&["took longer than 0.5 s"]);
}

#[test]
fn an_interrupted_build_stops_between_two_steps_and_leaves_nothing() {
    let build = Build::digits(v10()).with("STEP_MS", "20");
    let mut child = build.command().stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("\"Timing tactics\"")), "it never started");
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let last: Value = serde_json::from_str(&lines.last().unwrap()).unwrap();
    assert_eq!((&last["cancelled"], &last["exit"]), (&json!(1), &json!(130)), "{last}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!build.project.file("build/p/engine").exists());
    let scratch = fs::read_dir(build.project.file(".trt-pipeline/tmp")).map_or(0, Iterator::count);
    assert_eq!(scratch, 0, "scratch folders are removed");
}

#[test]
fn implicit_calibration_is_a_part_of_the_build() {
    let data = fixture("../../pipelines/digits/data/calibration.npz");
    for tensorrt in [v8_6(), v10()] {
        let int8 = format!("int8: {{ calibrator: entropy, data: {}, batch: 8 }}", data.display());
        let build = Build::digits(tensorrt).set("precision: [int8]").set(&int8);
        build.builds();
        build.nothing_is_left();
        assert_ne!(flags(&build.plan()) & 1 << 1, 0, "{}", build.plan());
    }
}

#[test]
fn profiles_beyond_the_32_bit_integers_of_8_6_are_refused() {
    const HELP: &str = "give smaller numbers, or build with TensorRT 10 or later";
    let told = "4294967297 does not fit the 32-bit integers that this TensorRT has";
    let extents = DIGITS.replace("max: [16,", "max: [4294967297,");
    Build::of("digits_fp32", &extents, v8_6()).fails(&[told, HELP]);
    let values = "{ x: { min: [1, 1], opt: [1, 4], max: [1, 8] }, \
                  shape: { min: [1, 1], opt: [2, 2], max: [4294967297, 4] } }";
    Build::of("shape_tensor", values, v8_6()).fails(&[told, HELP]);
}
