//! [`EngineArgs`]: how to measure an engine in this process, as the command line says it.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::backend::LoadOptions;
use crate::bench::{Devices, InputChoice, Load, Setup};
use crate::cli::ExitStatus;
use crate::data::Dataset;
use crate::deployment::CudaGraphs;

use super::{BenchArgs, DEFAULT_DURATION, Failure};

/// Options for engines only.
#[derive(Debug, Args)]
pub(super) struct EngineArgs {
    /// Take the shapes that this profile (from 0) is fastest at, and allow only shapes it takes
    /// [default: 0, but all shapes that some profile takes]
    #[arg(long, value_name = "N")]
    profile: Option<usize>,
    /// Stop each context after so many runs that count
    #[arg(long, value_name = "N")]
    runs: Option<NonZeroUsize>,
    /// The devices to run on at the same time, such as `0,1`, or `all`, where the backend has
    /// several [default: the first]
    #[arg(long, value_name = "N,..|all", value_parser = devices, visible_alias = "device")]
    devices: Option<Devices>,
    /// Which runs are submitted to a GPU as one CUDA graph, instead of kernel by kernel
    #[arg(long, value_enum)]
    graphs: Option<GraphsArg>,
    /// Another engine: both run in turns, with the same inputs, and which is faster is told. The
    /// turns are of --duration each
    #[arg(long, value_name = "FOLDER", group = "turns",
          conflicts_with_all = ["runs", "rate", "reload", "dump_latencies", "output_npz"])]
    pub(super) compare: Option<PathBuf>,
    /// Instead of measuring: load, run and unload so many times, and show what memory is left
    #[arg(long, value_name = "N", conflicts_with_all = ["runs", "duration", "rate", "streams", "dump_latencies", "output_npz"])]
    pub(super) reload: Option<NonZeroUsize>,
    /// Write the outputs of the first run to this file; what NumPy lacks (bfloat16, float8) as
    /// float32
    #[arg(long, value_name = "FILE")]
    pub(super) output_npz: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum GraphsArg {
    /// Those of shapes that come again and again, where the engine allows it
    Auto,
    /// All, and where that is not possible there is a warning
    On,
    /// None
    Off,
}

/// Numbers of devices, each once, or all.
fn devices(text: &str) -> Result<Devices, String> {
    if text == "all" {
        return Ok(Devices::All);
    }
    let mut numbers = Vec::new();
    for word in text.split(',') {
        let number = word
            .parse()
            .map_err(|_| format!("`{word}` is no number of a device; write `0`, `0,1` or `all`"))?;
        if numbers.contains(&number) {
            return Err(format!("device {number} is named twice; `--streams` runs more on each"));
        }
        numbers.push(number);
    }
    Ok(Devices::Numbered(numbers))
}

impl EngineArgs {
    /// The first option that was given.
    pub(super) fn given(&self) -> Option<&'static str> {
        let options = [
            ("profile", self.profile.is_some()),
            ("runs", self.runs.is_some()),
            ("devices", self.devices.is_some()),
            ("graphs", self.graphs.is_some()),
            ("compare", self.compare.is_some()),
            ("reload", self.reload.is_some()),
            ("output-npz", self.output_npz.is_some()),
        ];
        options.into_iter().find_map(|(name, given)| given.then_some(name))
    }

    fn cuda_graphs(&self) -> CudaGraphs {
        match self.graphs {
            None | Some(GraphsArg::Auto) => CudaGraphs::Auto,
            Some(GraphsArg::On) => CudaGraphs::On,
            Some(GraphsArg::Off) => CudaGraphs::Off,
        }
    }

    /// How engines are loaded where one device will do.
    pub(super) fn load_options(&self) -> Result<LoadOptions, Failure> {
        let device = match &self.devices {
            None => None,
            Some(Devices::Numbered(numbers)) if numbers.len() == 1 => numbers.first().copied(),
            Some(_) => {
                return Err(Failure {
                    message: "`--reload` is of one device".to_owned(),
                    help: Some("name one with `--devices`".into()),
                    status: ExitStatus::USAGE,
                });
            }
        };
        Ok(LoadOptions { device, cuda_graphs: self.cuda_graphs() })
    }
}

/// What an engine is made ready with: this owns what [`Setup`] borrows.
pub(super) struct OwnedSetup {
    data: Option<Dataset>,
    shapes: std::collections::BTreeMap<String, crate::tensor::Shape>,
    profile: Option<usize>,
    batch: Option<usize>,
    contexts: NonZeroUsize,
    devices: Devices,
    cuda_graphs: CudaGraphs,
}

impl OwnedSetup {
    pub(super) fn of(args: &BenchArgs) -> Result<Self, Failure> {
        Ok(Self {
            data: args.data()?,
            shapes: args.shapes(),
            profile: args.engine.profile,
            batch: args.batch.map(NonZeroUsize::get),
            contexts: args.streams,
            devices: args.engine.devices.clone().unwrap_or_default(),
            cuda_graphs: args.engine.cuda_graphs(),
        })
    }

    pub(super) fn inputs(&self) -> InputChoice<'_> {
        let Self { data, shapes, profile, batch, .. } = self;
        InputChoice { shapes, profile: *profile, batch: *batch, data: data.as_ref() }
    }

    pub(super) fn setup(&self) -> Setup<'_> {
        let Self { contexts, devices, cuda_graphs, .. } = self;
        Setup { inputs: self.inputs(), contexts: *contexts, devices, cuda_graphs }
    }
}

/// How much to run of an engine that is measured alone.
pub(super) fn load(args: &BenchArgs) -> Result<Load, Failure> {
    if args.rate.len() > 1 {
        return Err(Failure {
            message: "an engine has one `--rate`".to_owned(),
            help: Some("several, one after the other, are for served models".into()),
            status: ExitStatus::USAGE,
        });
    }
    let runs = args.engine.runs;
    let unlimited = if runs.is_some() { Duration::MAX } else { DEFAULT_DURATION };
    Ok(Load {
        warmup: args.warmup,
        runs: runs.map_or(usize::MAX, NonZeroUsize::get),
        duration: args.duration.unwrap_or(unlimited),
        schedule: args.schedules().next(),
    })
}
