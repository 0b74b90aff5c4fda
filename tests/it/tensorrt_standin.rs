//! The stand-in for TensorRT, driven by a C program that knows only the function tables: what the
//! other tests take for granted of it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use crate::standin::tensorrt::TensorRt;
use crate::support::fixture;

const ABORT: i32 = 6;
const KILL: i32 = 9;
const SEGMENTATION_FAULT: i32 = 11;

/// One of each generation, in a version of which no exception is known.
fn generations() -> [TensorRt; 5] {
    [
        TensorRt::standard("8.6.1.6"),
        TensorRt::standard("10.16.0.1"),
        TensorRt::standard("11.4.0.1"),
        TensorRt::rtx("1.4.0.76"),
        TensorRt::rtx("1.7.1.116"),
    ]
}

fn v10() -> TensorRt {
    TensorRt::standard("10.16.0.1")
}

fn model(name: &str) -> PathBuf {
    fixture(&format!("tensorrt/{name}.onnx"))
}

/// What a run of the C program said, on a GPU that all versions know.
struct Said(Output);

fn run(tensorrt: &TensorRt, name: &str, mode: &str) -> Said {
    run_on(tensorrt, "8.9", name, mode)
}

fn run_on(tensorrt: &TensorRt, gpu: &str, name: &str, mode: &str) -> Said {
    let mut command = tensorrt.smoke(&model(name), mode);
    Said(command.env("STANDIN_TENSORRT_GPU", gpu).output().unwrap())
}

impl Said {
    fn text(&self) -> String {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        format!("{}\n{}{}", self.0.status, text(&self.0.stdout), text(&self.0.stderr))
    }

    #[track_caller]
    fn has(self, expected: &[&str]) -> Self {
        let text = self.text();
        for line in expected {
            assert!(text.contains(line), "`{line}` is not in:\n{text}");
        }
        self
    }

    #[track_caller]
    fn succeeds(self) -> Self {
        assert!(self.0.status.success(), "{}", self.text());
        self
    }

    #[track_caller]
    fn killed_by(self, signal: i32) -> Self {
        assert_eq!(self.0.status.signal(), Some(signal), "{}", self.text());
        self
    }
}

#[test]
fn every_version_builds_an_engine_and_runs_it() {
    let others = ["8.6.0.12", "10.0.0.6", "10.8.0.43", "10.13.0.35", "10.99.0.1", "11.0.0.1"];
    let others = others.map(TensorRt::standard).into_iter().chain([
        TensorRt::standard("12.0.0.1"),
        TensorRt::rtx("1.3.0.1"),
        TensorRt::rtx("1.5.0.1"),
    ]);
    for tensorrt in generations().into_iter().chain(others) {
        run(&tensorrt, "digits_fp32", "").succeeds().has(&[
            "network: 1 inputs, 1 outputs, 12 layers",
            "input image: type 0, -1x1x8x8",
            "built: yes",
            "output logits: type 0, 4x10",
            // Byte n of the input is 7 n; the output is the input again.
            "enqueued: yes; the last output begins 0 7 14 21, of 160 bytes at most",
            "used: errors 0, references 0, allocations 0",
        ]);
        tensorrt.assert_nothing_left();
        let made = |library: PathBuf, class: &str| {
            let name = library.file_name().unwrap().to_str().unwrap().to_owned();
            let objects = tensorrt.objects().into_iter().find(|objects| objects.library == name);
            objects.unwrap().made[class]
        };
        assert_eq!(made(tensorrt.runtime(), "IExecutionContext"), 1);
        assert_eq!(made(tensorrt.parser(), "IParser"), 1);
    }
}

#[test]
fn shapes_that_values_or_data_decide_are_found_when_running() {
    for tensorrt in generations() {
        run(&tensorrt, "shape_tensor", "")
            .succeeds()
            .has(&["output y: type 0, 2x4", "enqueued: yes"]);
        run(&tensorrt, "dynamic_output", "").succeeds().has(&[
            "output rows: type 0, -1x4",
            "found rows: 8x4",
            "enqueued: yes; the last output begins 0 7 14 21",
        ]);
        tensorrt.assert_nothing_left();
    }
}

#[test]
fn a_model_that_the_parser_refuses_is_refused_with_its_node() {
    let later = [
        "parser error 8 at node 0: checkDet, false",
        "volume_of_cell Det",
        "parser error 8 at node 1: checkBitShift, false",
        "halve_bits BitShift",
        "built: no",
    ];
    for tensorrt in &generations()[1..] {
        run(tensorrt, "broken_graph", "").succeeds().has(&later);
        tensorrt.assert_nothing_left();
    }
    // 8.6 stops at the first one and knows no names.
    let old = TensorRt::standard("8.6.1.6");
    let said = run(&old, "broken_graph", "").succeeds();
    let said =
        said.has(&["parser error 8 at node 0: importFallbackPluginImporter", "Plugin not found"]);
    assert!(!said.text().contains("parser error 8 at node 1"), "{}", said.text());
    run(&old, "digits_bf16", "").succeeds().has(&["Unsupported ONNX data type 16"]);
    run(&old, "no_such_model", "").succeeds().has(&["parser error 4", "not a regular file"]);
    old.assert_nothing_left();
}

#[test]
fn a_build_is_refused_for_what_contradicts_itself() {
    for tensorrt in generations() {
        run(&tensorrt, "digits_fp32", "no-profile").succeeds().has(&[
            "error 4: IBuilder::buildSerializedNetwork: Error Code 4: API Usage Error (Network has \
             dynamic or shape inputs, but no optimization profile has been defined",
            "built: no",
        ]);
        run(&tensorrt, "unbuildable", "").succeeds().has(&["Could not find any implementation"]);
        tensorrt.assert_nothing_left();
    }
    run_on(&v10(), "7.5", "digits_fp8_qdq", "")
        .succeeds()
        .has(&["HW-specific datatypes: fp8_e4m3"]);
    run_on(&v10(), "6.1", "digits_fp32", "").succeeds().has(&["Target GPU SM 61 is not supported"]);
}

#[test]
fn implicit_calibration_asks_for_batches_and_gives_a_cache() {
    for (tensorrt, head) in [
        (TensorRt::standard("8.6.0.12"), "calibration: TRT-8600-EntropyCalibration2"),
        (TensorRt::standard("10.16.0.1"), "calibration: TRT-101600-EntropyCalibration2"),
    ] {
        // The largest magnitude of the batches, 12.7, over 127.
        let said = run(&tensorrt, "digits_fp32", "int8").succeeds();
        said.has(&[head, "image: 3dcccccd", "logits: 3dcccccd", "built: yes", "enqueued: yes"]);
        tensorrt.assert_nothing_left();
    }
}

#[test]
fn a_progress_monitor_can_stop_a_build() {
    for tensorrt in &generations()[1..] {
        run(tensorrt, "digits_fp32", "stop").succeeds().has(&[
            "error 7: IBuilder::buildSerializedNetwork: Error Code 7: BuildCanceled",
            "built: no; started 2, finished 2, steps 2",
        ]);
        tensorrt.assert_nothing_left();
    }
}

#[test]
fn a_layer_in_the_timing_cache_is_not_timed_again() {
    let tensorrt = v10().with("STEP_MS", 20);
    let timed = |gpu: &str| {
        let mut command = tensorrt.smoke(&model("digits_fp32"), "timing,no-run");
        let start = Instant::now();
        let output = command.env("STANDIN_TENSORRT_GPU", gpu).env("VERBOSE", "1").output().unwrap();
        (Said(output).succeeds(), start.elapsed())
    };
    let (said, took) = timed("8.9");
    said.has(&["timing cache of 0 bytes: made 1, set 1", "Timed 12 of 12 layers."]);
    assert!(took > Duration::from_millis(12 * 20), "{took:?}");
    timed("8.9").0.has(&["made 1, set 1", "Timed 0 of 12 layers."]);
    timed("9.0").0.has(&["made 1, set 0", "Timed 12 of 12 layers."]);
    tensorrt.assert_nothing_left();
}

#[test]
fn a_stripped_engine_runs_once_it_has_its_weights_back() {
    for tensorrt in &generations()[1..] {
        run(tensorrt, "digits_fp32", "strip").succeeds().has(&[
            "refittable 1",
            "refit: 10 weights, 10 missing, read 1, done 1",
            "enqueued: yes",
        ]);
        run(tensorrt, "digits_fp32", "refit").succeeds().has(&["refit: 10 weights, 0 missing"]);
        run(tensorrt, "digits_fp32", "no-run").succeeds().has(&["refittable 0"]);
        tensorrt.assert_nothing_left();
    }
}

#[test]
fn a_damaged_engine_is_refused() {
    let tensorrt = v10();
    let after = |mode: &str| run(&tensorrt, "digits_fp32", mode).succeeds();
    after("save").has(&["enqueued: yes"]);
    after("load").has(&["enqueued: yes"]);
    after("load,damage").has(&["Checksum does not match", "no engine"]);
    after("load,cut").has(&["Size specified in header does not match archive size", "no engine"]);
    std::fs::write(tensorrt.plan(), "not an engine").unwrap();
    after("load").has(&["Magic tag does not match", "no engine"]);
    tensorrt.assert_nothing_left();
}

#[test]
fn an_engine_of_another_library_or_gpu_is_refused() {
    let maker = v10();
    run(&maker, "digits_fp32", "save").succeeds();
    let load = |tensorrt: &TensorRt, gpu: &str| {
        let mut command = tensorrt.smoke(&model("digits_fp32"), "load");
        command.env("STANDIN_TENSORRT_GPU", gpu).env("PLAN", maker.plan());
        Said(command.output().unwrap()).succeeds().has(&["no engine"])
    };
    load(&TensorRt::standard("10.13.0.35"), "8.9")
        .has(&["error 6", "expecting library version 10.13.0 got 10.16.0, please rebuild"]);
    load(&TensorRt::standard("11.4.0.1"), "8.9").has(&["error 1", "Version tag does not match"]);
    load(&maker, "9.0").has(&["incompatible device, expecting compute 9.0 got compute 8.9"]);
    // 0x20: malformed.
    load(&TensorRt::rtx("1.7.1.116"), "8.9").has(&["validity 2, diagnostics 32"]);
    let rtx = TensorRt::rtx("1.7.1.116");
    run(&rtx, "digits_fp32", "save").succeeds().has(&["validity 0, diagnostics 0"]);
    // 2: unsupported compute capability.
    run_on(&rtx, "12.0", "digits_fp32", "load").succeeds().has(&["validity 2, diagnostics 2"]);
    rtx.assert_nothing_left();
}

#[test]
fn a_shape_outside_the_profile_is_refused() {
    for tensorrt in generations() {
        run(&tensorrt, "digits_fp32", "shape").succeeds().has(&[
            "got 1000x1x8x8, profile has 1x1x8x8 to 16x1x8x8",
            "setInputShape refused",
            "inferShapes 1",
            "enqueued: no",
        ]);
        tensorrt.assert_nothing_left();
    }
}

#[test]
fn without_a_gpu_each_generation_does_what_the_real_one_does() {
    let old = TensorRt::standard("8.6.1.6");
    run(&old, "digits_fp32", "save").succeeds();
    run_on(&old, "none", "digits_fp32", "").succeeds().has(&["no builder"]);
    run_on(&old, "none", "digits_fp32", "load").killed_by(SEGMENTATION_FAULT);
    for version in ["10.16.0.1", "11.4.0.1"] {
        let tensorrt = TensorRt::standard(version);
        run(&tensorrt, "digits_fp32", "save").succeeds();
        let none = ["CUDA initialization failure with error: 35"];
        run_on(&tensorrt, "none", "digits_fp32", "").succeeds().has(&none).has(&["no builder"]);
        run_on(&tensorrt, "none", "digits_fp32", "load").succeeds().has(&["no runtime"]);
    }
    for version in ["1.4.0.76", "1.7.1.116"] {
        let tensorrt = TensorRt::rtx(version);
        let said = run_on(&tensorrt, "none", "digits_fp32", "").succeeds();
        said.has(&["built: yes", "validity 2, diagnostics 0", "no engine"]);
        tensorrt.assert_nothing_left();
    }
}

#[test]
fn what_must_not_be_done_with_an_object_ends_the_process() {
    for (mode, message) in [
        ("delete-builder", "an IBuilder was deleted before the IBuilderConfig that it made"),
        ("delete-parser", "a network was built after its parser, which has its weights,"),
        ("delete-twice", "an IBuilderConfig was deleted twice"),
        ("use-after-delete", "a deleted IBuilderConfig was used"),
        ("missing-method", "IBuilder::reset is not implemented"),
        ("past-the-end", "a function behind the table of IBuilder was called"),
    ] {
        for tensorrt in generations() {
            run(&tensorrt, "digits_fp32", mode).killed_by(ABORT).has(&[message]);
            assert!(tensorrt.objects().is_empty(), "{mode}");
        }
    }
}

#[test]
fn a_method_that_came_later_is_named_by_a_version_without_it() {
    let message = "IBuilderConfig::getRemoteAutoTuningConfig (slot 67) is not in this version, \
                   whose table ends after 58";
    let tensorrt = TensorRt::standard("10.0.0.6");
    run(&tensorrt, "digits_fp32", "later-method").killed_by(ABORT).has(&[message]);
}

/// Everything that can be asked to fail, by how the C program's run shows it.
const FAILURES: [(&str, &str); 17] = [
    ("createInferBuilder_INTERNAL", "no builder"),
    ("IBuilder::createNetworkV2", "no network"),
    ("IBuilder::createBuilderConfig", "no config"),
    ("IBuilder::createOptimizationProfile", "no profile"),
    ("createNvOnnxParser_INTERNAL", "no parser"),
    ("IParser::parseFromFile", "built: no"),
    ("IOptimizationProfile::setDimensions", "setDimensions refused"),
    ("IBuilderConfig::addOptimizationProfile", "profile -1"),
    ("IBuilder::buildSerializedNetwork", "built: no"),
    ("createInferRuntime_INTERNAL", "no runtime"),
    ("IRuntime::deserializeCudaEngine", "no engine"),
    ("ICudaEngine::createEngineInspector", "no inspector"),
    ("IEngineInspector::getEngineInformation", "layers: none"),
    ("ICudaEngine::createExecutionContext", "no context"),
    ("IExecutionContext::setInputShape", "setInputShape refused"),
    ("IExecutionContext::setTensorAddress", "setTensorAddress refused"),
    ("IExecutionContext::enqueueV3", "enqueued: no"),
];

#[test]
fn what_is_asked_to_fail_fails_and_leaves_nothing() {
    for (method, sign) in FAILURES {
        let tensorrt = v10().with("FAIL", method);
        let said = run(&tensorrt, "digits_fp32", "").succeeds();
        let report = format!("{method}: Error Code 2: Internal Error (failure on demand");
        said.has(&[sign, &report]);
        assert!(tensorrt.objects().iter().all(|library| library.live.is_empty()), "{method}");
    }
}

#[test]
fn a_failure_is_of_the_wanted_kind_at_the_wanted_call() {
    let with = |plan: &str| run(&v10().with("FAIL", plan), "digits_fp32", "");
    let second = "IOptimizationProfile::setDimensions:2";
    with(second).succeeds().has(&["setDimensions refused", "built: no"]);
    with("IOptimizationProfile::setDimensions:4").succeeds().has(&["enqueued: yes"]);
    with("IRuntime::deserializeCudaEngine=oom")
        .succeeds()
        .has(&["error 2: IRuntime::deserializeCudaEngine: Error Code 2: OutOfMemory", "no engine"]);
    with("IBuilder::buildSerializedNetwork=abort").killed_by(ABORT);
    with("IExecutionContext::enqueueV3=segv").killed_by(SEGMENTATION_FAULT);
}

#[test]
fn a_method_can_be_asked_to_hang() {
    let tensorrt = v10().with("FAIL", "IBuilder::buildSerializedNetwork=hang");
    let mut command = tensorrt.smoke(&model("digits_fp32"), "");
    command.env("STANDIN_TENSORRT_GPU", "8.9").stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "stand-in TensorRT: IBuilder::buildSerializedNetwork hangs\n");
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(KILL));
}
