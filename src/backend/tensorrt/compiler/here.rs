//! What the compiling process does: from a job to an engine's files.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::backend::cuda::{Context, DeviceInfo, Driver, Ledger, MemoryKind};
use crate::backend::{BackendError, EngineManifest};
use crate::onnx::{Model, OnnxError};
use crate::progress::Progress;

use super::super::calibration::{BatchSpec, CalibrationError, DatasetSource, load_cache};
use super::super::engine::describe;
use super::super::error::{TrtError, cuda_error};
use super::super::facts::{BuildFacts, EngineFacts};
use super::super::generation::Generation;
use super::super::handle::{
    self, Builder, Calibrator, Config, HostMemory, Library, Monitor, Parsed, Samples,
};
use super::super::options::{MessageLevel, Refit};
use super::super::timing_cache::TimingCacheFile;
use super::super::{Flavor, NAME, PLAN};
use super::graph_types::GraphTypes;
use super::job::CompileJob;
use super::profiles::Ranges;
use super::watch::Watch;
use super::{candidates, companions, configure, interface, precision, profiles};

/// What a calibration found, beside the engine.
const CALIBRATION: &str = "calibration.cache";

/// Does the job in a file, in this process, and writes the outcome into another.
///
/// # Errors
/// A file cannot be read or written; the outcome of the job itself is in the file.
pub fn compile_here(
    job: &Path,
    outcome: &Path,
    progress: Arc<dyn Progress + Send + Sync>,
) -> io::Result<()> {
    let job: CompileJob = serde_json::from_slice(&fs::read(job)?)?;
    handle::gather_repeats();
    let result = Compilation { job: &job, progress }.run();
    handle::log_repeats();
    let partial = outcome.with_extension("partial");
    fs::write(&partial, serde_json::to_vec(&result)?)?;
    fs::rename(partial, outcome)
}

struct Compilation<'a> {
    job: &'a CompileJob,
    progress: Arc<dyn Progress + Send + Sync>,
}

/// The GPU to build on.
struct Gpu {
    info: DeviceInfo,
    context: Context,
    ledger: Arc<Ledger>,
}

/// What building gave: a plan for each time, and what they have in common.
struct Built {
    plans: Vec<HostMemory>,
    seconds: Vec<f64>,
    ranges: Ranges,
    facts: BuildFacts,
}

impl Compilation<'_> {
    fn run(&self) -> Result<EngineManifest, BackendError> {
        let job = self.job;
        let model = self.model()?;
        let signature = model.signature().map_err(|error| self.onnx(&error))?;
        if let Some(reason) = interface::objection(&signature) {
            return Err(self.refused(reason));
        }
        let types = GraphTypes::of(&model.graph);
        precision::check(&types, job.found.generation)?;
        precision::check_zero_points(&model)?;
        let gpu = self.gpu()?;
        handle::set_level(self.severity());
        let library = Library::open(&job.found.runtime, job.found.flavor)
            .map_err(|error| self.failed(error.into()))?;
        let built = self.build(library, gpu.as_ref(), &model, &types)?;
        let mut manifest = EngineManifest {
            format: 1,
            backend: NAME.to_owned(),
            file: PathBuf::from(PLAN),
            inputs: signature.inputs,
            outputs: signature.outputs,
            profiles: built.ranges.shapes,
            library: std::collections::BTreeMap::new(),
            tensorrt: None,
        };
        let mut facts = EngineFacts {
            flavor: job.found.flavor,
            version: job.found.version.to_string(),
            compute_capabilities: self.compute_capabilities(gpu.as_ref()),
            gpu: gpu.as_ref().map(|gpu| gpu.info.name.clone()),
            hardware_compatibility: job.options.settings.hardware_compatibility,
            version_compatible: job.options.settings.version_compatible,
            device_memory: None,
            plan_bytes: 0,
            refittable: job.options.settings.refit != Refit::None,
            plugins: companions::plugins(job).map_err(|error| self.unwritten(&error))?,
            weights: companions::weights(job, &model).map_err(|error| self.onnx(&error))?,
            shape_values: built.ranges.values,
            build: built.facts,
            layers: Vec::new(),
        };
        manifest.tensorrt = Some(facts.clone());
        let kept = if built.plans.len() > 1 {
            self.progress.report("measuring the engines", 0, None);
            let chosen = candidates::choose(library, &built.plans, &manifest, job)?;
            facts.build.candidates_ms = chosen.milliseconds();
            chosen.index
        } else {
            0
        };
        let bytes = built.plans[kept].bytes();
        facts.build.seconds = built.seconds[kept];
        facts.plan_bytes = bytes.len() as u64;
        if let Some(plan) = gpu.and_then(|_| describe(library, bytes, &job.out, &facts)) {
            facts.device_memory = plan.device_memory;
            facts.layers = plan.layers;
        }
        fs::write(job.out.join(PLAN), bytes).map_err(|error| self.unwritten(&error))?;
        manifest.tensorrt = Some(facts);
        Ok(manifest)
    }

    fn model(&self) -> Result<Model, BackendError> {
        Model::load(&self.job.model).map_err(|error| self.onnx(&error))
    }

    /// The GPU to build on; none where the job names what it builds for.
    fn gpu(&self) -> Result<Option<Gpu>, BackendError> {
        if !self.job.options.compute_capabilities.is_empty() {
            return Ok(None);
        }
        let open = || {
            let driver = Driver::get()?;
            let context = Context::new(0)?;
            context.make_current()?;
            let info = driver.devices()?.swap_remove(0);
            Ok(Gpu { info, context, ledger: Ledger::new() })
        };
        open().map(Some).map_err(|error| {
            let error = cuda_error(&error, "starting CUDA", |reason| self.refused(reason));
            match (error, self.job.found.generation) {
                (
                    BackendError::Unavailable { backend, reason, .. },
                    Generation::Rtx1_4 | Generation::Rtx1,
                ) => BackendError::Unavailable {
                    backend,
                    reason: format!("TensorRT builds on the GPU it builds for, and {reason}"),
                    help: "say which GPUs to build for, and TensorRT-RTX needs none: \
                           `compute_capabilities: [\"8.9\"]`"
                        .to_owned(),
                },
                (error, _) => error,
            }
        })
    }

    fn compute_capabilities(&self, gpu: Option<&Gpu>) -> Vec<String> {
        if let Some(gpu) = gpu {
            let (major, minor) = gpu.info.compute_capability;
            return vec![format!("{major}.{minor}")];
        }
        let wanted = self.job.options.compute_capabilities.iter();
        let numbers = wanted.map(|capability| capability.number());
        numbers.map(|number| format!("{}.{}", number / 10, number % 10)).collect()
    }

    /// TensorRT's number for the finest messages that anybody wants.
    fn severity(&self) -> i32 {
        let listened = match self.job.log_level.as_str() {
            "off" | "error" => 1,
            "warn" => 2,
            "info" => 3,
            _ => 4,
        };
        let asked = match self.job.options.settings.message_level {
            MessageLevel::InternalError => 0,
            MessageLevel::Error => 1,
            MessageLevel::Warning => 2,
            MessageLevel::Info => 3,
            MessageLevel::Verbose => 4,
        };
        listened.min(asked)
    }

    fn build(
        &self,
        library: &'static Library,
        gpu: Option<&Gpu>,
        model: &Model,
        types: &GraphTypes,
    ) -> Result<Built, BackendError> {
        let failed = |error: TrtError| self.failed(error);
        let job = self.job;
        let memory = gpu.map(|gpu| (&gpu.context, &gpu.ledger));
        let builder = Builder::new(library, memory).map_err(failed)?;
        let strongly_typed =
            precision::is_strongly_typed(&job.options, builder.can_type_strongly());
        builder.load_plugins(&job.files.plugins).map_err(failed)?;
        self.progress.report("parsing the model", 0, None);
        if let (Some(opset), Some(newest)) = (model.opset(), job.found.generation.newest_opset())
            && opset > newest
        {
            tracing::warn!(
                "the model is of opset {opset}; TensorRT {} reads {newest} at most and may leave out \
                 what later ones express in another way: export it with `opset: {newest}`",
                job.found.version
            );
        }
        let parser = job.found.parser()?;
        handle::note_node(File::create(&job.node).ok());
        let parsed = handle::parse(&builder, parser, &job.model, strongly_typed)
            .map_err(|error| failed(error.with_names(&model.graph)))?;
        handle::note_node(None);
        let _ = fs::remove_file(&job.node);
        let mut config = builder.config().map_err(failed)?;
        configure::configure(&config, job.found.generation, &job.options, &job.files)
            .map_err(failed)?;
        let ranges = Ranges::of(&job.profiles, &parsed.network().inputs())?;
        ranges.add_to(&builder, &config)?;
        if !strongly_typed {
            precision::apply(&config, parsed.network(), &model.graph, types, &job.options)
                .map_err(failed)?;
        }
        if builder.abi().generation != Generation::V8_6 {
            let watch = Box::new(Watch::new(Arc::clone(&self.progress)));
            let monitor = Monitor::new(builder.abi(), watch).map_err(failed)?;
            config.set_monitor(monitor).map_err(failed)?;
        }
        self.progress.report("building", 0, None);
        let calibrator = self.calibrate(&builder, &mut config, &parsed, gpu)?;
        let timings = self.timings(gpu);
        let known = timings.as_ref().map(TimingCacheFile::read);
        let mut facts = BuildFacts::default();
        if let Some(known) = &known {
            config.set_timing_cache(known).map_err(failed)?;
            facts.timing_cache_before = Some(known.len() as u64);
        }
        let (mut plans, mut seconds) = (Vec::new(), Vec::new());
        // Without a GPU nothing can be measured, and builds do not differ.
        let builds = if gpu.is_some() { job.builds.max(1) } else { 1 };
        for build in 1..=builds {
            if builds > 1 {
                self.progress.report("building", build.into(), Some(builds.into()));
            }
            let began = Instant::now();
            plans.push(builder.build(parsed.network(), &config).map_err(failed)?);
            seconds.push(began.elapsed().as_secs_f64());
        }
        if let (Some(timings), Some(known)) = (timings, known) {
            timings.save(|now| {
                if now != known {
                    config.combine_timing_cache(now);
                }
                let bytes = config.timing_cache()?.bytes().to_vec();
                facts.timing_cache_after = Some(bytes.len() as u64);
                Some(bytes)
            });
        }
        if let Some(cache) = calibrator.as_ref().and_then(Calibrator::written) {
            fs::write(job.out.join(CALIBRATION), cache).map_err(|error| {
                self.refused(format!("cannot write the calibration cache: {error}"))
            })?;
        }
        facts.peak_device_memory = gpu.map(|gpu| gpu.ledger.stats(MemoryKind::Device).peak);
        Ok(Built { plans, seconds, ranges, facts })
    }

    /// Sets the calibrator that the options ask for.
    fn calibrate(
        &self,
        builder: &Arc<Builder>,
        config: &mut Config,
        parsed: &Parsed,
        gpu: Option<&Gpu>,
    ) -> Result<Option<Calibrator>, BackendError> {
        let job = self.job;
        let (Some(int8), Some(gpu)) = (&job.options.int8, gpu) else { return Ok(None) };
        let unfit = |error: CalibrationError| self.failed(TrtError::Calibration(Arc::new(error)));
        let samples = match &job.files.calibration_data {
            None => None,
            Some(data) => {
                let inputs = profiles::specs(&parsed.network().inputs());
                let batch = BatchSpec::new(&inputs, job.profiles.first(), int8.batch);
                let batch = batch.map_err(unfit)?;
                profiles::calibration_profile(builder, config, &batch)
                    .map_err(|error| self.failed(error))?;
                let source = DatasetSource::open(data, &int8.raw, batch).map_err(unfit)?;
                Some(Samples {
                    source: Box::new(source),
                    context: gpu.context.clone(),
                    ledger: Arc::clone(&gpu.ledger),
                })
            }
        };
        let cache = job.files.calibration_cache.as_ref();
        let cache =
            cache.map(|path| load_cache(path, int8.calibrator, job.found.version)).transpose();
        let cache = match cache {
            Ok(cache) => cache.map_or_else(Vec::new, |cache| cache.to_string().into_bytes()),
            Err(error) if samples.is_some() => {
                tracing::warn!("{error}; TensorRT calibrates anew");
                Vec::new()
            }
            Err(error) => return Err((&error).into()),
        };
        let calibrator = Calibrator::new(builder.abi(), int8.calibrator, samples, cache)
            .and_then(|calibrator| {
                config.set_int8_calibrator(calibrator.clone())?;
                Ok(calibrator)
            })
            .map_err(|error| self.failed(error))?;
        Ok(Some(calibrator))
    }

    /// Where timings are kept: TensorRT-RTX has none.
    fn timings(&self, gpu: Option<&Gpu>) -> Option<TimingCacheFile> {
        let found = &self.job.found;
        if found.flavor == Flavor::Rtx {
            return None;
        }
        if let Some(path) = &self.job.options.settings.timing_cache {
            return Some(TimingCacheFile::at(path));
        }
        let (folder, info) = (&self.job.kept, &gpu?.info);
        let capability = info.compute_capability;
        Some(TimingCacheFile::managed(folder, found.flavor, found.version, &info.name, capability))
    }

    fn failed(&self, error: TrtError) -> BackendError {
        error.compiling(&self.job.model)
    }

    fn unwritten(&self, error: &io::Error) -> BackendError {
        self.refused(format!("cannot write the engine: {error}"))
    }

    fn refused(&self, reason: String) -> BackendError {
        BackendError::Compile { model: self.job.model.display().to_string(), reason }
    }

    fn onnx(&self, error: &OnnxError) -> BackendError {
        self.refused(error.to_string())
    }
}
