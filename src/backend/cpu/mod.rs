//! The embedded CPU backend: ONNX through tract, behind guard rails.
//!
//! Owns everything that knows tract. A model passes `guard` (refusals by node), `quantize`,
//! `widen`, `mend` and `rectify` (rewrites of what tract lacks or mistakes), becomes a `program`,
//! and runs in contexts of an `engine`, one thread per context. Panics inside tract are contained
//! and become errors.
//!
//! Loading a model of a few kilobytes takes about 1 ms in an unoptimised build: it reads, checks
//! and parses. Typing and optimising cost 6 to 16 ms there and need concrete shapes, so they wait
//! for the first run with a shape; an engine keeps the last results for all its contexts (8 at
//! least, up to 64 while their weights fit 256 MiB). A context's own state costs 0.02 ms; it keeps
//! those of its last 8 shapes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::onnx::Model;

use super::contain;
use super::fault::Fault;
use super::model_file::{self, MODEL};
use super::{Backend, BackendError, CompileRequest, Engine, EngineManifest, LoadOptions, tensorrt};

use engine::CpuEngine;
use program::{Program, Rearranging};

mod context;
mod convert;
mod engine;
mod evaluate;
mod fault;
mod guard;
mod known_wrong;
mod log_softmax;
mod mend;
mod patch;
mod program;
mod quantize;
mod rearrange;
mod rectify;
mod rounding;
mod slice;
mod states;
#[cfg(test)]
mod tests;
mod walk;
mod weights;
mod widen;

pub use evaluate::{InferredTensors, evaluate, infer_shapes};

/// The backend's name in specs.
const NAME: &str = "cpu";

/// The version of tract in Cargo.lock; a test compares them.
const TRACT_VERSION: &str = "0.23.9";

/// The embedded CPU backend.
#[derive(Debug, Clone, Copy)]
pub struct CpuBackend;

impl Backend for CpuBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn tools(
        &self,
        _tensorrt: &tensorrt::Options,
    ) -> Result<BTreeMap<String, String>, BackendError> {
        Ok(BTreeMap::from([
            ("tract".to_owned(), TRACT_VERSION.to_owned()),
            ("cpu".to_owned(), features()),
        ]))
    }

    /// Measured with float32 models of 34 MB (fully connected) and 16 MB (convolutions): 3.1 and
    /// 3.9 times the file at the peak of loading, then up to 1.25 times for each shape.
    fn host_bytes_per_byte(&self, shapes: usize) -> f64 {
        let shapes = u16::try_from(shapes.min(engine::MOST)).map_or(0.0, f64::from);
        4.0 + 1.25 * shapes
    }

    fn compile(&self, request: &CompileRequest<'_>) -> Result<EngineManifest, BackendError> {
        let copied = || model_file::copy(request.model, request.out).map_err(Fault::Model);
        let program = program(request.model, &[], Rearranging::Free)
            .and_then(|program| program.prove(request.profiles, request.cancel).map(|()| program))
            .and_then(|program| copied().map(|()| program))
            .map_err(|fault| fault.compiling(NAME, request.model))?;
        Ok(EngineManifest {
            format: EngineManifest::FORMAT,
            backend: NAME.to_owned(),
            file: PathBuf::from(MODEL),
            inputs: program.signature.inputs,
            outputs: program.signature.outputs,
            profiles: request.profiles.to_vec(),
            library: BTreeMap::new(),
            tensorrt: None,
        })
    }

    fn load(
        &self,
        folder: &Path,
        manifest: &EngineManifest,
        _: &LoadOptions,
    ) -> Result<Arc<dyn Engine>, BackendError> {
        let path = folder.join(&manifest.file);
        let loading = |reason: String| Fault::Model(reason).loading(NAME, &path);
        if manifest.backend != NAME {
            return Err(loading(format!("it was built by backend `{}`", manifest.backend)));
        }
        let program =
            program(&path, &[], Rearranging::Free).map_err(|fault| fault.loading(NAME, &path))?;
        let signature = &program.signature;
        if signature.inputs != manifest.inputs || signature.outputs != manifest.outputs {
            let reason = "its inputs and outputs are not those that `engine.json` lists";
            return Err(loading(reason.to_owned()));
        }
        Ok(Arc::new(CpuEngine::new(program, path, manifest.profiles.clone())))
    }

    fn reference(&self, model: &Path, outputs: &[String]) -> Result<Arc<dyn Engine>, BackendError> {
        let program = program(model, outputs, Rearranging::None)
            .map_err(|fault| fault.loading(NAME, model))?;
        Ok(Arc::new(CpuEngine::new(program, model.to_path_buf(), Vec::new())))
    }

    fn another(&self, model: &Path) -> Result<Arc<dyn Engine>, BackendError> {
        let program = Model::load(model).map_err(Fault::from);
        let program = program.and_then(|model| Program::new(model, &[], Rearranging::None));
        let program = program.map_err(|fault| fault.loading(NAME, model))?;
        Ok(Arc::new(CpuEngine::new(program, model.to_path_buf(), Vec::new())))
    }

    fn observer(&self, model: &Path, outputs: &[String]) -> Result<Arc<dyn Engine>, BackendError> {
        let program = program(model, outputs, Rearranging::Free)
            .map_err(|fault| fault.loading(NAME, model))?;
        Ok(Arc::new(CpuEngine::new(program, model.to_path_buf(), Vec::new())))
    }
}

fn program(path: &Path, outputs: &[String], how: Rearranging) -> Result<Program, Fault> {
    let model = Model::load(path)?;
    guard::warn(&model);
    Program::new(model, outputs, how)
}

/// Runs something of tract's; a panic in it becomes its message.
fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    contain::contained("tract", work)
}

/// The processor's name, as the kernel gives it.
pub fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// The instruction sets that decide which kernels run, sorted.
pub(super) fn features() -> String {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("avx", std::arch::is_x86_feature_detected!("avx")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        ("avx512vnni", std::arch::is_x86_feature_detected!("avx512vnni")),
        ("f16c", std::arch::is_x86_feature_detected!("f16c")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let found = [(std::env::consts::ARCH, true)];
    let names: Vec<&str> =
        found.into_iter().filter(|(_, present)| *present).map(|(name, _)| name).collect();
    names.join(",")
}
