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
        let model = repository().join(format!("tests/fixtures/tensorrt/{model}.onnx"));
        let project = Project::with_spec(&format!(
            "version: 1\nname: p\nstages:\n  onnx: {{ convert: {{ model: {} }} }}\n  engine:\n    \
             build:\n      from: onnx\n      backend: tensorrt\n{settings}",
            model.display()
        ));
        let machine = Self { project, tensorrt, cuda: Cuda::new() };
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
