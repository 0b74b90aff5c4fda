//! The embedded CPU backend: ONNX through tract, behind guard rails.
//!
//! Owns everything that knows tract. A model passes [`guard`] (refusals by node), [`quantize`] and
//! [`widen`] (rewrites of what tract lacks), becomes a [`program`], and runs in a [`context`] of an
//! [`engine`], single-threaded per context. Panics inside tract are contained and become errors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Backend, BackendError, CompileRequest, Engine, EngineManifest};

use engine::CpuEngine;
use fault::Fault;
use model::ModelFile;
use program::{Program, Rearranging};

mod contain;
mod context;
mod convert;
mod engine;
mod fault;
mod guard;
mod model;
mod program;
mod quantize;
mod rounding;
mod signature;
#[cfg(test)]
mod tests;
mod weights;
mod widen;

/// The backend's name in specs.
const NAME: &str = "cpu";

/// The version of tract in Cargo.toml; a test compares them.
const TRACT_VERSION: &str = "0.23.9";

/// The engine's file.
const MODEL: &str = "model.onnx";

/// The embedded CPU backend.
#[derive(Debug, Clone, Copy)]
pub struct CpuBackend;

impl Backend for CpuBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn tools(&self) -> Result<BTreeMap<String, String>, BackendError> {
        Ok(BTreeMap::from([
            ("tract".to_owned(), TRACT_VERSION.to_owned()),
            ("cpu".to_owned(), cpu_features()),
        ]))
    }

    fn compile(&self, request: &CompileRequest<'_>) -> Result<EngineManifest, BackendError> {
        let compiling = |fault: Fault| fault.compiling(request.model);
        let file = ModelFile::read(request.model).map_err(compiling)?;
        let externals = file.external_files().map_err(compiling)?;
        let program = Program::new(file, &[], Rearranging::Free).map_err(compiling)?;
        program.prove().map_err(compiling)?;
        let folder = request.model.parent().unwrap_or(Path::new(""));
        copy(request.model, &request.out.join(MODEL)).map_err(compiling)?;
        for relative in externals {
            if relative == Path::new(MODEL) {
                return Err(compiling(Fault::Model(format!(
                    "its external data is called `{MODEL}`, as the engine's own file"
                ))));
            }
            copy(&folder.join(&relative), &request.out.join(&relative)).map_err(compiling)?;
        }
        Ok(EngineManifest {
            format: 1,
            backend: NAME.to_owned(),
            file: PathBuf::from(MODEL),
            inputs: program.signature.inputs,
            outputs: program.signature.outputs,
            profiles: request.profiles.to_vec(),
        })
    }

    fn load(
        &self,
        folder: &Path,
        manifest: &EngineManifest,
    ) -> Result<Arc<dyn Engine>, BackendError> {
        let path = folder.join(&manifest.file);
        let loading = |fault: Fault| fault.loading(&path);
        if manifest.backend != NAME {
            return Err(loading(Fault::Model(format!(
                "it was built by backend `{}`",
                manifest.backend
            ))));
        }
        let file = ModelFile::read(&path).map_err(loading)?;
        let program = Program::new(file, &[], Rearranging::Free).map_err(loading)?;
        let signature = &program.signature;
        if signature.inputs != manifest.inputs || signature.outputs != manifest.outputs {
            return Err(loading(Fault::Model(
                "its inputs and outputs are not those that `engine.json` lists".to_owned(),
            )));
        }
        Ok(Arc::new(CpuEngine::new(program, path.clone(), manifest.profiles.clone())))
    }

    fn reference(&self, model: &Path, outputs: &[String]) -> Result<Arc<dyn Engine>, BackendError> {
        let loading = |fault: Fault| fault.loading(model);
        let file = ModelFile::read(model).map_err(loading)?;
        let program = Program::new(file, outputs, Rearranging::None).map_err(loading)?;
        Ok(Arc::new(CpuEngine::new(program, model.to_path_buf(), Vec::new())))
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Fault> {
    let attempt = || {
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::copy(from, to).map(drop)
    };
    attempt().map_err(|e: std::io::Error| {
        Fault::Model(format!("cannot copy `{}` to `{}`: {e}", from.display(), to.display()))
    })
}

/// The instruction sets that decide which kernels tract runs, sorted.
fn cpu_features() -> String {
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
