//! Engines that the program built with the stand-in for TensorRT, loaded over that for the CUDA
//! driver.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use trt_pipeline::backend::tensorrt::TensorRtBackend;
use trt_pipeline::backend::{
    Backend, BackendError, Engine, EngineManifest, ExecutionContext, LoadOptions, MemoryStats,
};
use trt_pipeline::deployment::CudaGraphs;
use trt_pipeline::tensor::Shape;

use crate::standin::Cuda;
use crate::standin::tensorrt::TensorRt;
use crate::support::{Project, repository};

/// TensorRT 8.6: 32-bit integers, no progress, allocators of another kind.
pub fn v8_6() -> TensorRt {
    TensorRt::standard("8.6.0.12")
}

/// TensorRT 10.
pub fn v10() -> TensorRt {
    TensorRt::standard("10.13.3.9")
}

/// TensorRT-RTX.
pub fn rtx() -> TensorRt {
    TensorRt::rtx("1.7.1.116")
}

/// One of each generation.
pub fn generations() -> [TensorRt; 5] {
    let (v11, rtx1_4) = (TensorRt::standard("11.4.0.106"), TensorRt::rtx("1.4.0.76"));
    [v8_6(), v10(), v11, rtx1_4, rtx()]
}

/// A driver with a GPU that every version knows.
pub fn gpu() -> Cuda {
    Cuda::new().with("CAPABILITY", "8.9")
}

/// Runs the rest of a test as [`Cuda::run`] does, in a process that finds this TensorRT too and
/// must leave none of its objects. A test may do so for one version after the other.
#[track_caller]
pub fn run<F: FnOnce()>(tensorrt: &TensorRt, cuda: Cuda, body: F) {
    if std::env::var_os(RUNS).is_some_and(|runs| runs != *tensorrt.name()) {
        return;
    }
    let mut attached = Command::new("");
    tensorrt.attach(attached.env(RUNS, tensorrt.name()));
    let variables = attached.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let cuda = variables.fold(cuda, |cuda, (name, value)| {
        cuda.and(name.to_str().unwrap(), value.to_str().unwrap())
    });
    cuda.run(body);
    if std::env::var_os(RUNS).is_none() {
        tensorrt.assert_nothing_left();
    }
}

/// Where the program looks for TensorRT first.
const LIBRARY: &str = "TRT_PIPELINE_TENSORRT";

/// Which TensorRT a process that [`run`] started is for.
const RUNS: &str = "TRT_PIPELINE_STANDIN_RUNS";

/// An engine that the program built of a model of `tests/fixtures/tensorrt`.
pub struct Built {
    project: Project,
    pub manifest: EngineManifest,
}

impl Built {
    /// `settings` are lines below `build:`, each indented by six.
    pub fn new(model: &str, settings: &str) -> Self {
        let model = repository().join(format!("tests/fixtures/tensorrt/{model}.onnx"));
        let project = Project::with_spec(&format!(
            "version: 1\nname: p\nstages:\n  onnx: {{ convert: {{ model: {} }} }}\n  engine:\n    \
             build:\n      from: onnx\n      backend: tensorrt\n{settings}",
            model.display()
        ));
        let mut command = project.command(&["run", "p.yaml"]);
        // What is to go wrong is to go wrong later.
        for name in ["STANDIN_TENSORRT_FAIL", "STANDIN_CUDA_FAIL", "STANDIN_CUDA_REPORT"] {
            command.env_remove(name);
        }
        // The project takes it away from all others.
        command.envs(std::env::var_os(LIBRARY).map(|folder| (LIBRARY, folder)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let manifest = fs::read(project.file("build/p/engine/engine.json")).unwrap();
        Self { manifest: serde_json::from_slice(&manifest).unwrap(), project }
    }

    pub fn folder(&self) -> PathBuf {
        self.project.file("build/p/engine")
    }

    pub fn plan(&self) -> Vec<u8> {
        fs::read(self.folder().join(&self.manifest.file)).unwrap()
    }

    pub fn load(&self) -> Result<Arc<dyn Engine>, BackendError> {
        self.load_with(CudaGraphs::Auto)
    }

    pub fn load_with(&self, cuda_graphs: CudaGraphs) -> Result<Arc<dyn Engine>, BackendError> {
        let options = LoadOptions { cuda_graphs, ..LoadOptions::default() };
        TensorRtBackend.load(&self.folder(), &self.manifest, &options)
    }

    /// Loads other bytes in place of the plan.
    pub fn load_bytes(&self, plan: &[u8]) -> Result<Arc<dyn Engine>, BackendError> {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join(&self.manifest.file), plan).unwrap();
        TensorRtBackend.load(folder.path(), &self.manifest, &LoadOptions::default())
    }

    pub fn context(&self) -> Box<dyn ExecutionContext> {
        self.load().unwrap().new_context().unwrap()
    }
}

/// Sets an input and fills it with bytes that differ from place to place.
pub fn fill(context: &mut dyn ExecutionContext, index: usize, shape: &[usize]) -> Vec<u8> {
    let bytes = context.input_mut(index, &Shape::from(shape)).unwrap();
    let pattern: Vec<u8> = (0..251).cycle().take(bytes.len()).collect();
    bytes.copy_from_slice(&pattern);
    pattern
}

/// An output, copied.
pub fn output(context: &dyn ExecutionContext, index: usize) -> (Vec<usize>, Vec<u8>) {
    let (shape, bytes) = context.output(index).unwrap();
    (shape.0.clone(), bytes.to_vec())
}

/// Bytes and pieces in use on the device and pinned.
pub fn held(engine: &dyn Engine) -> [(u64, u64); 2] {
    let memory = engine.memory().unwrap();
    [memory.device, memory.pinned].map(|stats: MemoryStats| (stats.current, stats.live))
}
