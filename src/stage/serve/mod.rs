//! `serve`: writes down what to serve and how, once the required validations have passed.
//!
//! Owns the settings and their agreement with the engine. Serves nothing itself: the
//! [`Deployment`] it makes is read by the server.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;

use crate::artifact::ArtifactKind;
use crate::backend::{self, EngineManifest};
use crate::deployment::{
    BatchingConfig, CudaGraphs, Deployment, EngineConfig, FILE_NAME, MOST_INSTANCES, ModelConfig,
    OnDeviceFailure, Placement, ShapeRange, WarmupConfig,
};
use crate::source::{Span, Spanned};
use crate::tensor::{Dim, TensorSpec};

use super::assess::BatchSizes;
use super::{
    Accepts, CheckContext, FromRef, Input, Problem, Reference, ResolvedInput, Stage, StageContext,
    StageError, engine, is_name,
};

mod devices;
mod settings;
#[cfg(test)]
mod tests;
mod warmup;

pub use devices::Devices;
pub use settings::{Batching, Queue, Reload, Serve, Tolerance, Warmup};

use settings::one;

fn problem(code: &'static str, message: String, span: Span, help: Option<&str>) -> Problem {
    let help = help.map(str::to_owned);
    Problem { code, message, span, label: "here".into(), help }
}

/// Why requests for a model with these tensors cannot be joined, if so.
fn batch_axis_fault(inputs: &[TensorSpec], outputs: &[TensorSpec]) -> Option<String> {
    let mut named: Option<(&str, &str)> = None;
    let tensors = inputs
        .iter()
        .map(|input| ("input", input))
        .chain(outputs.iter().map(|output| ("output", output)));
    for (kind, tensor) in tensors {
        let name = &tensor.name;
        match tensor.dims.as_ref().map(|dims| dims.first()) {
            None => return Some(format!("the rank of {kind} `{name}` is not known")),
            Some(None) => return Some(format!("{kind} `{name}` is a scalar")),
            Some(Some(Dim::Fixed(extent))) => {
                return Some(format!("axis 0 of {kind} `{name}` is fixed at {extent}"));
            }
            Some(Some(Dim::Any)) => {}
            Some(Some(Dim::Symbol(symbol))) => match named {
                None => named = Some((symbol, name)),
                Some((other, _)) if other == symbol => {}
                Some((other, first)) => {
                    return Some(format!(
                        "axis 0 of `{first}` is `{other}` and that of {kind} `{name}` is \
                         `{symbol}`"
                    ));
                }
            },
        }
    }
    None
}

const BATCH_AXIS_HELP: &str = "batching joins requests along axis 0 of every input and output: \
     export the model with a dynamic batch axis, or leave out `batching`";

/// Why batches may not be of so many samples, if so.
fn size_fault(max_batch: usize, sizes: &BatchSizes) -> Option<String> {
    (!sizes.takes(max_batch))
        .then(|| format!("`max_batch` is {max_batch}, the engine takes batches of {sizes}"))
}

const BATCH_SIZE_HELP: &str =
    "lower `max_batch`, or raise `max` in the profiles of the build stage";

impl Serve {
    fn requirement_role(index: usize) -> String {
        format!("requires[{index}]")
    }

    fn batching_config(
        batching: &Batching,
        manifest: &EngineManifest,
    ) -> Result<BatchingConfig, StageError> {
        let refuse = |message, help: &str| StageError::Setting {
            message,
            span: batching.max_batch.span,
            help: Some(help.to_owned()),
        };
        if let Some(fault) = batch_axis_fault(&manifest.inputs, &manifest.outputs) {
            return Err(refuse(format!("requests cannot be batched: {fault}"), BATCH_AXIS_HELP));
        }
        let max_batch = batching.max_batch.value;
        let sizes = BatchSizes::of(&manifest.inputs, &manifest.profiles);
        if let Some(message) = size_fault(max_batch, &sizes) {
            return Err(refuse(message, BATCH_SIZE_HELP));
        }
        Ok(BatchingConfig {
            max_batch,
            max_delay_ms: batching.max_delay_ms.value,
            preferred_sizes: batching.preferred_sizes.iter().map(|size| size.value).collect(),
            preserve_ordering: batching.preserve_ordering.value,
            pad: batching.pad.value,
        })
    }

    fn devices_config(&self, backend: &str) -> Result<Option<Vec<u32>>, StageError> {
        let Some(devices) = self.devices.listed() else { return Ok(None) };
        if backend::by_name(backend)?.has_devices() {
            return Ok(Some(devices.to_vec()));
        }
        Err(StageError::Setting {
            message: format!("backend `{backend}` has no devices to choose from"),
            span: self.devices.span,
            help: Some("leave out `devices`".into()),
        })
    }

    fn graphs_config(&self, backend: &str) -> Result<CudaGraphs, StageError> {
        let asked = &self.cuda_graphs;
        let is_wanted = matches!(asked.value, CudaGraphs::On | CudaGraphs::Batches(_));
        if is_wanted && !backend::by_name(backend)?.has_devices() {
            return Err(StageError::Setting {
                message: format!("backend `{backend}` runs on no GPU, which CUDA graphs are for"),
                span: asked.span,
                help: Some("leave out `cuda_graphs`".into()),
            });
        }
        Ok(asked.value.clone())
    }

    fn deployment(
        &self,
        name: &str,
        engine: &ResolvedInput,
        manifest: EngineManifest,
        cx: &StageContext<'_>,
    ) -> Result<Deployment, StageError> {
        let batching = self.batching.as_ref();
        let batching =
            batching.map(|batching| Self::batching_config(batching, &manifest)).transpose()?;
        let devices = self.devices_config(&manifest.backend)?;
        let cuda_graphs = self.graphs_config(&manifest.backend)?;
        let requires = (0..self.requires.len())
            .map(|index| Ok(cx.input(&Self::requirement_role(index))?.digest))
            .collect::<Result<_, StageError>>()?;
        let profiles = manifest
            .profiles
            .into_iter()
            .map(|profile| {
                let range = |range: backend::ShapeRange| ShapeRange {
                    min: range.min,
                    opt: range.opt,
                    max: range.max,
                };
                profile.into_iter().map(|(input, shapes)| (input, range(shapes))).collect()
            })
            .collect();
        Ok(Deployment::new(ModelConfig {
            name: name.to_owned(),
            engine: EngineConfig {
                digest: engine.digest,
                backend: manifest.backend,
                inputs: manifest.inputs,
                outputs: manifest.outputs,
                profiles,
            },
            batching,
            queue: self.queue.config(),
            warmup: WarmupConfig { iterations: self.warmup.iterations.value, data: None },
            reload: self.reload.config(),
            instances: self.instances.value,
            devices,
            placement: self.placement.value,
            on_device_failure: self.on_device_failure.value,
            cuda_graphs,
            requires,
        }))
    }
}

impl Stage for Serve {
    fn kind(&self) -> &'static str {
        "serve"
    }

    fn version(&self) -> u32 {
        1
    }

    fn makes(&self) -> ArtifactKind {
        ArtifactKind::Deployment
    }

    fn set_pipeline(&mut self, name: &str) {
        self.name.get_or_insert_with(|| Spanned::unplaced(name.to_owned()));
    }

    fn inputs(&self) -> Vec<Input> {
        let from = Input::new("from", FromRef::reference(&self.from), Accepts::Engine);
        let requires = self.requires.iter().enumerate().map(|(index, stage)| {
            Input::new(
                Self::requirement_role(index),
                Reference::Stage(stage.clone()),
                Accepts::PassedReport,
            )
        });
        let warmup = self.warmup.data.iter().map(|data| Input::data(warmup::ROLE, data));
        std::iter::once(from).chain(requires).chain(warmup).collect()
    }

    fn settings(&self) -> serde_json::Value {
        let mut settings = serde_json::json!({ "name": self.name });
        if let Some(batching) = &self.batching {
            settings["batching"] = serde_json::json!(batching);
        }
        if self.queue != Queue::default() {
            settings["queue"] = serde_json::json!(self.queue);
        }
        if !self.warmup.iterations_are_default() {
            settings["warmup"] = serde_json::json!({ "iterations": self.warmup.iterations });
        }
        if self.reload != Reload::default() {
            settings["reload"] = serde_json::json!(self.reload);
        }
        if self.instances != one() {
            settings["instances"] = serde_json::json!(self.instances);
        }
        if self.devices.value != Devices::default() {
            settings["devices"] = serde_json::json!(self.devices);
        }
        if self.placement.value != Placement::default() {
            settings["placement"] = serde_json::json!(self.placement);
        }
        if self.on_device_failure.value != OnDeviceFailure::default() {
            settings["on_device_failure"] = serde_json::json!(self.on_device_failure);
        }
        if self.cuda_graphs.value != CudaGraphs::default() {
            settings["cuda_graphs"] = serde_json::json!(self.cuda_graphs);
        }
        settings
    }

    fn serves(&self) -> Option<&str> {
        self.name.as_ref().map(|name| name.as_str())
    }

    fn deterministic(&self, _tools: &BTreeMap<String, String>) -> bool {
        false
    }

    fn check(&self, cx: &CheckContext<'_>) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(name) = self.name.as_ref().filter(|name| !is_name(name)) {
            let message = format!("`{name}` cannot be the name of a model");
            let help = "letters, digits, `_` and `-`, starting with a letter or `_`";
            problems.push(problem("serve::name", message, name.span, Some(help)));
        }
        let mut seen = BTreeSet::new();
        for stage in &self.requires {
            if !seen.insert(&stage.value) {
                let message = format!("`{stage}` is required twice");
                problems.push(problem("serve::requires", message, stage.span, None));
            }
        }
        if !(1..=MOST_INSTANCES).contains(&self.instances.value) {
            let message =
                format!("`instances` is {}, expected 1 to {MOST_INSTANCES}", self.instances);
            problems.push(problem("serve::instances", message, self.instances.span, None));
        }
        if let Some(batching) = &self.batching {
            let max = &batching.max_batch;
            problems.extend(batching.problems());
            let fault = cx.model.and_then(|model| batch_axis_fault(&model.inputs, &model.outputs));
            if let Some(fault) = fault {
                let message = format!("requests cannot be batched: {fault}");
                let help = Some(BATCH_AXIS_HELP);
                problems.push(problem("serve::batch_axis", message, max.span, help));
            } else if let Some(model) = cx.model
                && max.value > 0
                && let Some(message) =
                    size_fault(max.value, &BatchSizes::of(&model.inputs, cx.profiles))
            {
                let help = Some(BATCH_SIZE_HELP);
                problems.push(problem("serve::max_batch", message, max.span, help));
            }
        }
        let mut seen_sizes = BTreeSet::new();
        if let CudaGraphs::Batches(sizes) = &self.cuda_graphs.value
            && (sizes.is_empty()
                || sizes.contains(&0)
                || !sizes.iter().all(|size| seen_sizes.insert(size)))
        {
            let message = "`cuda_graphs` lists no batch size, 0, or one twice".to_owned();
            let help = Some("list the sizes to make graphs of, or say `auto`, `on` or `off`");
            problems.push(problem("serve::cuda_graphs", message, self.cuda_graphs.span, help));
        }
        problems.extend(self.queue.problems());
        problems.extend(self.warmup.problems());
        problems.extend(self.reload.problems());
        if self.devices.are_unclear() {
            let message = "`devices` names none, or one twice".to_owned();
            problems.push(problem("serve::devices", message, self.devices.span, None));
        }
        problems
    }

    fn run(&self, cx: &StageContext<'_>) -> Result<(), StageError> {
        let input = cx.input("from")?;
        let (_, manifest) = engine::manifest(input)?;
        // Lowering has filled in the pipeline's name.
        let name = self.name.as_ref().map_or(cx.name, |name| name.as_str());
        let sizes = BatchSizes::of(&manifest.inputs, &manifest.profiles);
        let tensors = manifest.inputs.clone();
        let mut deployment = self.deployment(name, input, manifest, cx)?;
        if self.warmup.data.is_some() {
            let most = self.batching.as_ref().map_or(1, |batching| batching.max_batch.value);
            deployment.model.warmup.data = Some(warmup::keep(cx, &tensors, &sizes, most)?);
        }
        let path = cx.out.join(FILE_NAME);
        let text = deployment
            .to_json()
            .map_err(|error| StageError::io("write", &path)(std::io::Error::other(error)))?;
        fs::write(&path, text).map_err(StageError::io("write", &path))
    }
}
