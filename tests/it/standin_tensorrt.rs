//! The stand-in for TensorRT over the one for the CUDA driver, and engines that it built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use tempfile::TempDir;

use trt_pipeline::backend::tensorrt::TensorRtBackend;
use trt_pipeline::backend::{
    Backend, BackendError, Engine, EngineManifest, ExecutionContext, MemoryStats,
};
use trt_pipeline::tensor::Shape;

use crate::standin::Cuda;
use crate::support::{Project, repository};

/// A version of the stand-in.
pub struct Version {
    flavor: &'static str,
    version: &'static str,
    compiled: OnceLock<()>,
}

pub static V8_6: Version = Version::new("standard", "8.6.0.12");
pub static V10: Version = Version::new("standard", "10.13.3.9");
pub static V11: Version = Version::new("standard", "11.4.0.106");
pub static RTX1_4: Version = Version::new("rtx", "1.4.0.76");
pub static RTX1: Version = Version::new("rtx", "1.7.1.116");

/// One of every generation.
pub static ALL: [&Version; 5] = [&V8_6, &V10, &V11, &RTX1_4, &RTX1];

impl Version {
    const fn new(flavor: &'static str, version: &'static str) -> Self {
        Self { flavor, version, compiled: OnceLock::new() }
    }

    /// The folder of its libraries.
    fn folder(&self) -> PathBuf {
        let standin = Path::new(env!("CARGO_TARGET_TMPDIR")).join("standin");
        standin.join(format!("{}-{}", self.flavor, self.version))
    }

    /// Whether this process is one that [`run`] started for another version.
    pub fn is_passed_over(&self) -> bool {
        let here = std::env::var_os("TRT_PIPELINE_TENSORRT");
        std::env::var_os(INNER).is_some() && here.is_some_and(|here| here != self.folder())
    }

    fn compile(&self) {
        let folder = self.folder();
        fs::create_dir_all(&folder).unwrap();
        let fresh = TempDir::new_in(folder.parent().unwrap()).unwrap();
        let script = repository().join("tests/standin/tensorrt/build.sh");
        let mut command = Command::new("sh");
        command.arg(script).arg(fresh.path()).args([self.flavor, self.version]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        // Other processes may be loading the last ones: the new ones take their places.
        for entry in fs::read_dir(fresh.path()).unwrap() {
            let entry = entry.unwrap();
            fs::rename(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
}

/// Runs the rest of a test as [`Cuda::run`] does, in a process that finds this TensorRT, and in
/// which no object of TensorRT may be left.
#[track_caller]
pub fn run<F: FnOnce()>(version: &Version, cuda: Cuda, body: F) {
    if std::env::var_os(INNER).is_some() {
        return body();
    }
    version.compiled.get_or_init(|| version.compile());
    let report = TempDir::new().unwrap();
    let report = report.path().join("report");
    let cuda = cuda.and("TRT_PIPELINE_TENSORRT", version.folder().display());
    cuda.and("STANDIN_TENSORRT_REPORT", report.display()).and(INNER, 1).run(body);
    let lines = fs::read_to_string(report).unwrap_or_default();
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["live"], serde_json::json!({}), "{line}");
    }
}

/// Set in the processes that [`run`] starts.
const INNER: &str = "TRT_PIPELINE_STANDIN_TENSORRT_CHILD";

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
        for name in ["STANDIN_TENSORRT_FAIL", "STANDIN_TENSORRT_REPORT", "STANDIN_CUDA_FAIL"] {
            command.env_remove(name);
        }
        command.env_remove("STANDIN_CUDA_MEMORY").env_remove("STANDIN_CUDA_PINNED");
        let output = command.env_remove("STANDIN_CUDA_REPORT").output().unwrap();
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
        TensorRtBackend.load(&self.folder(), &self.manifest, None)
    }

    /// Loads other bytes in place of the plan.
    pub fn load_bytes(&self, plan: &[u8]) -> Result<Arc<dyn Engine>, BackendError> {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join(&self.manifest.file), plan).unwrap();
        TensorRtBackend.load(folder.path(), &self.manifest, None)
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
