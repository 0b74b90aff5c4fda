//! The command line: arguments, and one file per command.
//!
//! The only module that prints. Sees every other module; nothing sees it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::backend::{onnxruntime, tensorrt};
use crate::plan::GraphFormat;

mod bench;
mod cache;
mod check;
mod compile;
mod console;
mod diagnostic;
mod doctor;
mod execution;
mod facts;
mod graph;
mod init;
mod inputs;
mod inspect;
mod logging;
mod pipeline;
mod plan;
mod printable;
mod project;
mod quantity;
mod reporter;
mod run;
mod runtime;
mod serve;
mod signals;
mod watch;
mod wrap;

use console::Console;

/// How a command ended, as a process status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitStatus(pub u8);

impl ExitStatus {
    /// Everything went well.
    pub const OK: Self = Self(0);
    /// A stage failed.
    pub const FAILED: Self = Self(1);
    /// The spec or the command line is wrong.
    pub const USAGE: Self = Self(2);
    /// A backend or tool is not on this machine.
    pub const UNAVAILABLE: Self = Self(3);
    /// The user asked to stop.
    pub const INTERRUPTED: Self = Self(130);
}

/// Takes a trained model to a gated inference endpoint, as one YAML file describes it.
#[derive(Debug, Parser)]
#[command(name = "trt-pipeline", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit status: 0 ok, 1 a stage failed, 2 spec or usage error, 3 a backend or \
tool is not available here, 4 a validation gate failed, 130 interrupted."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
struct Global {
    /// Which log messages to show on standard error
    #[arg(long, global = true, value_enum, default_value_t = logging::Level::Warn, help_heading = "Global options")]
    log_level: logging::Level,
    /// Write log messages to this file as well, at level debug or the given one if that is finer
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    log_file: Option<PathBuf>,
    /// The TensorRT library to use, or the folder it is in
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    tensorrt_lib: Option<PathBuf>,
    /// The ONNX Runtime library to use, or the folder it is in
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    onnxruntime_lib: Option<PathBuf>,
}

/// A command whose output is for people or for programs.
#[derive(Debug, Args)]
struct Formatted<T: Args> {
    #[command(flatten)]
    args: T,
    /// How to print: for people, or one JSON object a line for programs
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Human,
    /// One JSON object a line, as in schemas/events.schema.json.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a pipeline; stages whose result is in the cache are not run again
    Run(Formatted<run::RunArgs>),
    /// Show what `run` would do
    Plan(Formatted<plan::PlanArgs>),
    /// Validate a spec without running anything
    Check(Formatted<project::SpecArgs>),
    /// Draw the stages and what they use
    Graph {
        #[command(flatten)]
        spec: project::SpecArgs,
        /// How to draw
        #[arg(long, value_enum, default_value_t = GraphFormat::Text)]
        format: GraphFormat,
    },
    /// Print a JSON Schema
    Schema {
        /// Which: specs, or the events of `--format json`
        #[arg(value_enum, value_name = "WHICH", default_value_t = SchemaKind::Pipeline)]
        kind: SchemaKind,
    },
    /// Run pipelines, then answer requests for the models they serve
    Serve(Formatted<serve::ServeArgs>),
    /// Run pipelines again whenever what they read changes
    Watch(Formatted<watch::WatchArgs>),
    /// Show what is in a model, an engine, an artifact or a stored result
    Inspect(Formatted<inspect::InspectArgs>),
    /// Measure how fast an engine runs, or how fast an endpoint answers
    Bench(Formatted<bench::BenchArgs>),
    /// List, clean or verify the cache
    Cache(Formatted<cache::CacheArgs>),
    /// Show what of TensorRT, ONNX Runtime, CUDA and Python is here, and what it can do
    Doctor(Formatted<doctor::DoctorArgs>),
    /// Install TensorRT or ONNX Runtime, or list those installed
    Runtime(Formatted<runtime::RuntimeArgs>),
    /// Write a small pipeline to start from
    Init(init::InitArgs),
    /// Compile for TensorRT, as a child of another command
    #[command(name = crate::backend::tensorrt::compiler::COMMAND, hide = true)]
    CompileTensorRt(compile::CompileArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    fn format(&self) -> Format {
        match self {
            Self::Run(Formatted { format, .. })
            | Self::Plan(Formatted { format, .. })
            | Self::Check(Formatted { format, .. })
            | Self::Serve(Formatted { format, .. })
            | Self::Watch(Formatted { format, .. })
            | Self::Inspect(Formatted { format, .. })
            | Self::Bench(Formatted { format, .. })
            | Self::Cache(Formatted { format, .. })
            | Self::Doctor(Formatted { format, .. })
            | Self::Runtime(Formatted { format, .. }) => *format,
            Self::CompileTensorRt(_)
            | Self::Graph { .. }
            | Self::Schema { .. }
            | Self::Init(_)
            | Self::Completions { .. } => Format::Human,
        }
    }
}

/// Which schema to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SchemaKind {
    /// Spec files.
    Pipeline,
    /// The lines of `--format json`.
    Events,
}

/// Runs the program on the process's arguments.
pub fn main() -> ExitCode {
    let status = with_args(std::env::args_os());
    ExitCode::from(status.0)
}

fn with_args(args: impl IntoIterator<Item = OsString>) -> ExitStatus {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no error.
            let _ = error.print();
            return if error.use_stderr() { ExitStatus::USAGE } else { ExitStatus::OK };
        }
    };
    let console = Console::new(cli.command.format() == Format::Json);
    if matches!(cli.command, Command::CompileTensorRt(_)) {
        compile::start_logging(cli.global.log_level.into());
    } else if let Err(error) = logging::start(
        cli.global.log_level,
        cli.global.log_file.as_deref(),
        console.progress().clone(),
    ) {
        console.error("log_file", &error.to_string(), None);
        return ExitStatus::USAGE;
    }
    if let Some(path) = cli.global.tensorrt_lib {
        tensorrt::discover::name_library(path);
    }
    if let Some(path) = cli.global.onnxruntime_lib {
        onnxruntime::discover::name_library(path);
    }
    let status = match cli.command {
        Command::Run(Formatted { args, .. }) => run::run(&args, &console),
        Command::Plan(Formatted { args, .. }) => plan::plan(&args, &console),
        Command::Check(Formatted { args, .. }) => check::check(&args, &console),
        Command::Serve(Formatted { args, .. }) => serve::serve(&args, &console),
        Command::Watch(Formatted { args, .. }) => watch::watch(&args, &console),
        Command::Graph { spec, format } => graph::graph(&spec, format, &console),
        Command::Schema { kind } => {
            console.print(&match kind {
                SchemaKind::Pipeline => crate::spec::schema::pipeline_schema_text(),
                SchemaKind::Events => crate::execute::event::events_schema_text(),
            });
            ExitStatus::OK
        }
        Command::Inspect(Formatted { args, .. }) => inspect::inspect(&args, &console),
        Command::Bench(Formatted { args, .. }) => bench::bench(&args, &console),
        Command::Cache(Formatted { args, .. }) => cache::cache(&args, &console),
        Command::CompileTensorRt(args) => compile::compile(&args, &console),
        Command::Doctor(_) => doctor::doctor(&console),
        Command::Runtime(Formatted { args, .. }) => runtime::runtime(&args, &console),
        Command::Init(args) => init::init(&args, &console),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "trt-pipeline", &mut script);
            // clap_complete spells a name with a hyphen in two ways, and so finds no subcommand.
            let script = String::from_utf8_lossy(&script);
            console.print(&script.replace("trt__subcmd__pipeline", "trt__pipeline"));
            ExitStatus::OK
        }
    };
    console.finish(status)
}
