//! The onnxruntime backend: ONNX models through Microsoft's ONNX Runtime, where it is installed.
//!
//! Owns everything that knows the runtime. `discover` finds it, `library` loads it once per process, `session`
//! prepares a model, `raw` runs it on memory that contexts own, one thread per context. Contexts of
//! an engine share one session, and so the weights.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ort::value::Outlet;

use crate::onnx::Model;
use crate::process::CancelToken;
use crate::tensor::TensorSpec;

use super::fault::Fault;
use super::model_file::{self, MODEL};
use super::{
    Backend, BackendError, CompileRequest, Engine, EngineManifest, LoadOptions, cpu, regular,
    tensorrt,
};

use engine::OrtEngine;
use session::{Effort, Source};

mod context;
pub mod discover;
mod engine;
mod fault;
mod library;
mod log;
mod raw;
mod session;
#[cfg(test)]
mod tests;

/// The backend's name in specs.
pub const NAME: &str = "onnxruntime";

/// The onnxruntime backend.
#[derive(Debug, Clone, Copy)]
pub struct OnnxRuntimeBackend;

impl Backend for OnnxRuntimeBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn tools(
        &self,
        _tensorrt: &tensorrt::Options,
    ) -> Result<BTreeMap<String, String>, BackendError> {
        let mut tools = discover::find()?.facts()?;
        tools.insert("cpu".to_owned(), cpu::features());
        Ok(tools)
    }

    /// Measured with float32 models of 34 MB (fully connected) and 16 MB (convolutions): 1.4 and
    /// 3.2 times the file once it is loaded and ran; further shapes and contexts add nothing to it
    /// but their own inputs and outputs.
    fn host_bytes_per_byte(&self, _shapes: usize) -> f64 {
        3.5
    }

    fn compile(&self, request: &CompileRequest<'_>) -> Result<EngineManifest, BackendError> {
        let environment = library::environment()?;
        let prepare = || {
            let (model, _) = checked(request.model)?;
            session::create(environment, Source::File(request.model), Effort::All, request.cancel)?;
            model_file::copy(request.model, request.out).map_err(Fault::Model)?;
            Ok(model.signature()?)
        };
        let signature = prepare().map_err(|fault: Fault| fault.compiling(NAME, request.model))?;
        Ok(EngineManifest {
            format: EngineManifest::FORMAT,
            backend: NAME.to_owned(),
            file: PathBuf::from(MODEL),
            inputs: signature.inputs,
            outputs: signature.outputs,
            profiles: request.profiles.to_vec(),
            library: discover::find()?.facts()?,
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
        let loading = |fault: Fault| fault.loading(NAME, &path);
        if manifest.backend != NAME {
            let reason = format!("it was built by backend `{}`", manifest.backend);
            return Err(loading(Fault::Model(reason)));
        }
        let environment = library::environment()?;
        let here = discover::find()?.facts()?;
        if here != manifest.library {
            tracing::warn!(
                "`{}` was built and checked with another ONNX Runtime: {:?}, and here is {here:?}",
                path.display(),
                manifest.library
            );
        }
        let cancel = CancelToken::default();
        let session = session::create(environment, Source::File(&path), Effort::All, &cancel)
            .map_err(loading)?;
        let (inputs, outputs) = (manifest.inputs.clone(), manifest.outputs.clone());
        let profiles = manifest.profiles.clone();
        OrtEngine::new(session, inputs, outputs, profiles)
            .map(|engine| Arc::new(engine) as Arc<dyn Engine>)
            .map_err(loading)
    }

    fn reference(&self, model: &Path, outputs: &[String]) -> Result<Arc<dyn Engine>, BackendError> {
        uncompiled(model, outputs, Effort::None)
    }

    fn observer(&self, model: &Path, outputs: &[String]) -> Result<Arc<dyn Engine>, BackendError> {
        uncompiled(model, outputs, Effort::All)
    }
}

/// Reads a model and refuses what is no valid one: the library takes much on trust. Gives the
/// file's bytes too.
fn checked(path: &Path) -> Result<(Model, Bytes), Fault> {
    let bytes = Bytes::from(
        regular::read(path).map_err(|error| Fault::Model(format!("it cannot be read: {error}")))?,
    );
    let model = Model::parse(&bytes, path)?;
    model.check()?;
    Ok((model, bytes))
}

/// Loads a model that no `build` made, with `outputs` in place of its own where there are any.
fn uncompiled(
    path: &Path,
    outputs: &[String],
    effort: Effort,
) -> Result<Arc<dyn Engine>, BackendError> {
    let environment = library::environment()?;
    let load = || {
        let (model, file) = checked(path)?;
        let signature = model.signature()?;
        let own: HashMap<&str, &TensorSpec> =
            signature.outputs.iter().map(|spec| (spec.name.as_str(), spec)).collect();
        let added: Vec<&str> =
            outputs.iter().map(String::as_str).filter(|name| !own.contains_key(name)).collect();
        let folder = model.folder().to_owned();
        let addition = session::more_outputs(&model, &added)?;
        // The model's tensors are parts of the file's bytes, which are its alone once it is gone.
        drop(model);
        let changed = (!added.is_empty()).then(|| {
            let mut bytes = Vec::from(file);
            bytes.extend(addition);
            bytes
        });
        let source = match &changed {
            None => Source::File(path),
            Some(bytes) => Source::Bytes { bytes, folder: &folder },
        };
        let session = session::create(environment, source, effort, &CancelToken::default())?;
        let selected = if outputs.is_empty() {
            signature.outputs
        } else {
            let found = session.outputs().iter().map(|outlet| (outlet.name(), outlet));
            let found: HashMap<&str, &Outlet> = found.collect();
            let spec = |name: &String| match own.get(name.as_str()) {
                Some(spec) => Ok((*spec).clone()),
                None => session::added_output(found.get(name.as_str()).copied(), name),
            };
            outputs.iter().map(spec).collect::<Result<Vec<TensorSpec>, Fault>>()?
        };
        OrtEngine::new(session, signature.inputs, selected, Vec::new())
    };
    match load() {
        Ok(engine) => Ok(Arc::new(engine)),
        Err(fault) => Err(fault.loading(NAME, path)),
    }
}
