//! `bench` of TensorRT engines, over the stand-ins: TensorRT's copies input to output.

use std::process::Command;

use indexmap::IndexMap;
use serde_json::json;
use trt_pipeline::data::Dataset;

use crate::standin::tensorrt::TensorRt;
use crate::standin::{Cuda, NOTHING};
use crate::support::{Project, Ran, repository};
use crate::tensorrt_engines::{v8_6, v10};

/// An input that holds a shape: the profiles name its values.
const SHAPES: &str = "      profiles:
        - x: { min: [1, 1], opt: [1, 4], max: [1, 8] }
          shape: { min: [1, 1], opt: [2, 4], max: [4, 8] }
        - x: { min: [1, 1], opt: [1, 4], max: [1, 8] }
          shape: { min: [5, 1], opt: [6, 4], max: [8, 8] }
";

/// A project with an engine, on a machine with a GPU.
struct Machine {
    project: Project,
    tensorrt: TensorRt,
    cuda: Cuda,
}

impl Machine {
    /// `settings` are lines below `build:`, each indented by six.
    fn new(tensorrt: TensorRt, model: &str, settings: &str) -> Self {
        Self::with(Cuda::new(), tensorrt, model, settings)
    }

    /// On a machine with these GPUs.
    fn with(cuda: Cuda, tensorrt: TensorRt, model: &str, settings: &str) -> Self {
        let model = repository().join(format!("tests/fixtures/tensorrt/{model}.onnx"));
        let project = Project::with_spec(&format!(
            "version: 1\nname: p\nstages:\n  onnx: {{ convert: {{ model: {} }} }}\n  engine:\n    \
             build:\n      from: onnx\n      backend: tensorrt\n{settings}",
            model.display()
        ));
        let machine = Self { project, tensorrt, cuda };
        let ran = machine.trt(&["run", "p.yaml"]);
        assert_eq!(ran.status, 0, "{ran:#?}");
        machine
    }

    fn trt(&self, args: &[&str]) -> Ran {
        let mut command: Command = self.project.command(args);
        self.tensorrt.attach(&mut command);
        self.cuda.attach(&mut command);
        Ran::of(&command.output().unwrap(), self.project.path())
    }

    /// What `bench` prints for programs; it must succeed and leave nothing on the device.
    fn bench(&self, args: &[&str]) -> serde_json::Value {
        let fixed = ["bench", "build/p/engine", "--runs", "3", "--format", "json"];
        let ran = self.trt(&[&fixed[..], args].concat());
        assert_eq!(ran.status, 0, "{ran:#?}");
        assert_eq!(self.cuda.live().as_deref(), Some(NOTHING));
        self.tensorrt.assert_nothing_left();
        ran.events().remove(0)
    }
}

#[test]
fn an_engine_is_measured_with_the_memory_of_all_its_contexts() {
    let profile = "      profiles:
        - left: { min: [1, 1, 8], opt: [2, 2, 8], max: [2, 4, 8] }
          right: { min: [1, 8, 1], opt: [2, 8, 2], max: [2, 8, 4] }
";
    let machine = Machine::new(v8_6(), "two_inputs_dynamic", profile);
    let one = machine.bench(&["--device", "0"]);
    let three = machine.bench(&["--contexts", "3"]);
    assert_eq!((&one["backend"], &one["device"]), (&json!("tensorrt"), &json!(0)));
    assert_eq!((&three["runs"], &three["device"]), (&json!(9), &json!(null)));
    assert!(one["made_by"].as_str().unwrap().starts_with("TensorRT 8.6.0.12 on "), "{one}");
    assert_eq!(one["inputs"][1]["shape"], json!([2, 8, 2]));
    // The largest shapes of the profile: both inputs and the output, for each context.
    let pinned = |report: &serde_json::Value| report["memory"]["pinned"]["current"].clone();
    let context = 4 * (2 * 4 * 8 + 2 * 8 * 4 + 2 * 4 * 4);
    assert_eq!((pinned(&one), pinned(&three)), (json!(context), json!(3 * context)));
    assert!(one["memory"]["device"]["current"].as_u64().unwrap() > 0, "{one}");
}

#[test]
fn an_input_that_holds_a_shape_gets_the_values_its_profile_is_fastest_at() {
    let machine = Machine::new(v10(), "shape_tensor", SHAPES);
    for (profile, values) in [("0", [2, 4]), ("1", [6, 4])] {
        let report = machine.bench(&["--profile", profile, "--output-npz", "out.npz"]);
        let input = &report["inputs"][1];
        assert_eq!((&input["name"], &input["values"]), (&json!("shape"), &json!(values)));
        assert_eq!(report["inputs"][0]["values"], json!(null));
        let read = Dataset::open(&machine.project.file("out.npz"), &IndexMap::new()).unwrap();
        let name = read.names().next().unwrap().to_owned();
        assert_eq!(read.array(&name).unwrap().shape().0, values);
    }
    let shown = machine.trt(&["bench", "build/p/engine", "--runs", "1"]).stdout;
    assert!(shown.contains("shape int64 [2] = [2,4]\n"), "{shown}");
    let described = machine.trt(&["inspect", "build/p/engine"]).stdout;
    assert!(described.contains("values of shape  [1,1]  [2,4]  [4,8]"), "{described}");
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    let machine = Machine::new(v10(), "shape_tensor", SHAPES);
    let ran = machine.trt(&["bench", "build/p/engine", "--device", "7"]);
    insta::assert_snapshot!(ran.seen(), @r"
    exit 3
    error: backend `tensorrt` is not available: there is no GPU 7: the CUDA driver sees 1, numbered from 0
      help: choose another GPU; `nvidia-smi -L` lists them
    ");
}

/// The digits model in batches of 1 to 8.
const DIGITS: &str = "      profiles:
        - image: { min: [1, 1, 8, 8], opt: [2, 1, 8, 8], max: [8, 1, 8, 8] }
";

/// A machine with two GPUs, of which NVML knows these clocks and what held them back.
fn two_gpus(clocks: &str, reasons: &str) -> Machine {
    let cuda = Cuda::new().with("DEVICES", 2).with_nvml();
    let cuda = cuda.and("STANDIN_NVML_CLOCKS", clocks).and("STANDIN_NVML_REASONS", reasons);
    Machine::with(cuda, v8_6(), "digits_fp32", DIGITS)
}

#[test]
fn streams_run_on_every_device_that_is_named_and_each_has_its_own_numbers() {
    let machine = two_gpus("1980", "0");
    for devices in ["all", "1,0"] {
        let report = machine.bench(&["--devices", devices, "--streams", "2"]);
        assert_eq!((&report["contexts"], &report["runs"]), (&json!(4), &json!(12)));
        assert_eq!(report["device"], json!(null));
        let each = report["devices"].as_array().unwrap();
        let numbers: Vec<_> = each.iter().map(|one| one["device"].clone()).collect();
        assert_eq!(numbers, if devices == "all" { [0, 1] } else { [1, 0] }.map(|n| json!(n)));
        for one in each {
            assert_eq!((&one["contexts"], &one["runs"]), (&json!(2), &json!(6)));
            assert_eq!(one["clocks"]["before"]["max_sm_mhz"], json!(1980));
            assert_eq!(one["clocks"]["during"]["throttle_reasons"], json!([]));
            assert!(one["clocks"]["during"]["samples"].as_u64().unwrap() >= 1, "{one}");
        }
        // What each holds adds up.
        let held = |one: &serde_json::Value| one["memory"]["device"]["current"].as_u64().unwrap();
        assert_eq!(held(&report), each.iter().map(held).sum::<u64>());
    }
    let one = machine.bench(&["--device", "1"]);
    assert_eq!((&one["device"], one["devices"].as_array().unwrap().len()), (&json!(1), 1));
    let ran = machine.trt(&["bench", "build/p/engine", "--devices", "0,2"]);
    assert_eq!(ran.status, 3, "{ran:#?}");
    assert!(ran.stderr.contains("there is no GPU 2"), "{ran:#?}");
}

#[test]
fn what_held_the_clocks_back_is_a_warning_and_being_idle_is_none() {
    let said = |clocks, reasons| {
        let ran = two_gpus(clocks, reasons).trt(&["bench", "build/p/engine", "--runs", "3"]);
        assert_eq!(ran.status, 0, "{ran:#?}");
        ran.stdout
    };
    // The clock before is the first of them, that after the last.
    let slowed = said("345,1980", "1,0x24");
    assert!(
        slowed.contains("warning: the GPU was held back while it was measured: power cap, thermal"),
        "{slowed}"
    );
    assert!(slowed.contains("SM clock, MHz  before   min  mean  after  fastest"), "{slowed}");
    assert!(slowed.contains(" the GPU           345  1980  1980   1980     1980"), "{slowed}");
    let idle = said("1980", "1");
    assert!(!idle.contains("warning"), "{idle}");
}

#[test]
fn graphs_are_used_as_asked_and_their_absence_has_a_reason() {
    let machine = Machine::new(v8_6(), "digits_fp32", DIGITS);
    let submitted = |graphs| {
        let report = machine.bench(&["--graphs", graphs, "--streams", "2"]);
        assert_eq!(report["cuda_graphs"], graphs);
        report["devices"][0]["submitted_as"].as_array().unwrap().clone()
    };
    for graphs in ["auto", "on"] {
        let contexts = submitted(graphs);
        assert!(contexts.iter().all(|one| one["cuda_graph"]["nodes"].as_u64() > Some(0)));
        assert_eq!(contexts.len(), 2);
    }
    let reason = json!({ "kernels": { "reason": "`cuda_graphs` is `off`" } });
    assert_eq!(submitted("off"), [reason.clone(), reason]);
    let shown = machine.trt(&["bench", "build/p/engine", "--runs", "3", "--graphs", "off"]).stdout;
    assert!(shown.contains("CUDA graphs     not used: `cuda_graphs` is `off`\n"), "{shown}");
    assert!(shown.contains("\n end-to-end "), "{shown}");
}

#[test]
fn two_engines_are_compared_on_every_device_with_their_clocks() {
    let machine = two_gpus("1980", "0,4");
    let args = ["--compare", "build/p/engine", "--rounds", "7", "--duration", "2ms"];
    let fixed = ["bench", "build/p/engine", "--devices", "all", "--format", "json"];
    let ran = machine.trt(&[&fixed[..], &args].concat());
    assert_eq!(ran.status, 0, "{ran:#?}");
    assert_eq!(machine.cuda.live().as_deref(), Some(NOTHING));
    let report = ran.events().remove(0);
    assert_eq!((&report["rounds"], &report["contexts"]), (&json!(7), &json!(2)));
    for engine in report["engines"].as_array().unwrap() {
        assert_eq!(engine["clocks"][1]["device"], 1);
        assert_eq!(engine["clocks"][1]["throttle_reasons"], json!(["power_cap"]));
        assert_eq!(engine["submitted_as"].as_array().unwrap().len(), 2);
    }
}
