//! `doctor`: every TensorRT and ONNX Runtime, the CUDA driver, GPUs, Python, and what each can do here.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use crate::backend::cpu::CpuBackend;
use crate::backend::cuda::{CudaError, DeviceInfo, Driver, driver_release};
use crate::backend::library::{Python, PythonError, python};
use crate::backend::tensorrt::discover::{
    self, Abilities, DiscoverError, Found, LibraryError, Looked, TensorRtSelection,
};
use crate::backend::{Backend, tensorrt};

use super::ExitStatus;
use super::console::Console;
use super::quantity::size;

use onnxruntime::OnnxRuntime;

mod onnxruntime;

/// It takes no arguments of its own.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {}

/// Everything that was found out.
struct Findings {
    places: Vec<Looked>,
    chosen: Result<Found, DiscoverError>,
    gpus: Result<Vec<DeviceInfo>, CudaError>,
    release: Option<String>,
    python: Result<Python, PythonError>,
    onnxruntime: OnnxRuntime,
    cpu: BTreeMap<String, String>,
}

pub(super) fn doctor(console: &Console) -> ExitStatus {
    let findings = Findings::here();
    if console.is_json() {
        console.record("doctor", findings.json());
    } else {
        console.text(&findings.text());
    }
    ExitStatus::OK
}

impl Findings {
    fn here() -> Self {
        let cpu = CpuBackend.tools(&tensorrt::Options::default()).unwrap_or_default();
        Self {
            places: discover::survey(),
            chosen: discover::find(&TensorRtSelection::default()),
            gpus: Driver::get().and_then(Driver::devices),
            release: driver_release(),
            python: python(),
            onnxruntime: OnnxRuntime::here(),
            cpu,
        }
    }

    /// Every library that was seen, with its place.
    fn libraries(&self) -> impl Iterator<Item = (&'static str, &Result<Found, LibraryError>)> {
        self.places.iter().flat_map(|place| {
            place.libraries.iter().map(|library| (place.phrase(), &library.outcome))
        })
    }

    fn json(&self) -> Value {
        let libraries: Vec<Value> = self
            .places
            .iter()
            .flat_map(|place| place.libraries.iter().map(move |library| (place.place, library)))
            .map(|(source, library)| match &library.outcome {
                Ok(found) => {
                    let Abilities { build, run } = found.abilities(&self.gpus);
                    json!({
                        "path": library.path, "source": source, "usable": true, "found": found,
                        "builds": build.is_ok(), "builds_not": build.err(),
                        "runs": run.is_ok(), "runs_not": run.err(),
                        "problem": null, "help": null,
                    })
                }
                Err(error) => json!({
                    "path": library.path, "source": source, "usable": false, "found": null,
                    "builds": false, "builds_not": null, "runs": false, "runs_not": null,
                    "problem": error.to_string(), "help": error.help(),
                }),
            })
            .collect();
        let searched: Vec<Value> = self
            .places
            .iter()
            .map(|place| {
                let note = place.libraries.is_empty().then_some(&place.note);
                json!({ "source": place.place, "libraries": place.libraries.len(), "note": note })
            })
            .collect();
        let problem = |error: Option<&CudaError>| error.map(ToString::to_string);
        let python = match &self.python {
            Ok(python) => json!({
                "program": python.program, "version": python.version, "folders": python.folders,
                "onnx": python.has("onnx"), "torch": python.has("torch"), "problem": null,
            }),
            Err(error) => json!({
                "program": null, "version": null, "folders": [], "onnx": false, "torch": false,
                "problem": error.to_string(),
            }),
        };
        json!({
            "tensorrt": {
                "libraries": libraries,
                "searched": searched,
                "chosen": self.chosen.as_ref().ok().map(|found| &found.runtime),
                "problem": self.chosen.as_ref().err().map(ToString::to_string),
                "help": self.chosen.as_ref().err().map(DiscoverError::help),
            },
            "cuda": {
                "release": self.release,
                "problem": problem(self.gpus.as_ref().err()),
                "help": self.gpus.as_ref().err().and_then(CudaError::help),
            },
            "onnxruntime": self.onnxruntime.json(),
            "gpus": self.gpus.as_deref().unwrap_or_default(),
            "python": python,
            "cpu": self.cpu,
        })
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut next = Vec::new();
        self.describe_libraries(&mut text, &mut next);
        self.describe_cuda(&mut text, &mut next);
        match &self.python {
            Ok(python) => {
                let word = |package| if python.has(package) { "yes" } else { "no" };
                row(
                    &mut text,
                    "Python",
                    &format!("{}, {}", python.version, python.program.display()),
                );
                row(&mut text, "", &format!("onnx {}, torch {}", word("onnx"), word("torch")));
            }
            Err(error) => {
                row(&mut text, "Python", &error.to_string());
                next.push(
                    "Python brings TensorRT packages and `runtime install`: install python3 \
                           and pip if you want either"
                        .to_owned(),
                );
            }
        }
        self.onnxruntime.describe(&mut text);
        let cpu: Vec<String> =
            self.cpu.iter().map(|(name, fact)| format!("{name} {fact}")).collect();
        row(&mut text, "cpu", &format!("built in, needs nothing: {}", cpu.join(", ")));
        if next.is_empty() {
            text += "\nnothing is missing\n";
        }
        for step in next {
            text.push('\n');
            row(&mut text, "next", &step);
        }
        text
    }

    fn describe_libraries(&self, text: &mut String, next: &mut Vec<String>) {
        let mut heading = "TensorRT";
        for (place, outcome) in self.libraries() {
            match outcome {
                Ok(found) => {
                    self.describe_library(text, heading, place, found);
                    next.extend(found.warning.clone());
                    let no_parser = found.parser().err();
                    next.extend(no_parser.map(|error| format!("{error}: {}", error.help())));
                }
                Err(error) => {
                    row(text, heading, &format!("cannot be used ({place})"));
                    row(text, "", &error.to_string());
                    row(text, "", &format!("help: {}", error.help()));
                }
            }
            text.push('\n');
            heading = "";
        }
        if heading.is_empty() {
            next.extend(self.chosen.as_ref().err().map(|error| match error {
                DiscoverError::Ambiguous { .. } => {
                    format!("both products are here: {}", error.help())
                }
                DiscoverError::NotFound { .. } => error.help(),
                DiscoverError::Named { .. } | DiscoverError::Unwanted { .. } => {
                    format!("{error}: {}", error.help())
                }
            }));
            return;
        }
        row(text, heading, "none found");
        for place in &self.places {
            row(text, "", &format!("{}: {}", place.phrase(), place.note));
        }
        text.push('\n');
        next.push(
            "`trt-pipeline runtime install tensorrt-rtx` installs TensorRT-RTX, which builds \
                   engines with no GPU; `runtime install tensorrt@8.6` installs TensorRT 8.6; \
                   `pip install tensorrt` installs the newest"
                .to_owned(),
        );
    }

    fn describe_library(&self, text: &mut String, heading: &str, place: &str, found: &Found) {
        let used = self.chosen.as_ref().is_ok_and(|chosen| chosen.runtime == found.runtime);
        let mark = if used { ", used where a spec does not say which" } else { "" };
        row(text, heading, &format!("{} {}{mark}", found.flavor.product(), found.version));
        row(text, "", &format!("from     {place}"));
        row(text, "", &format!("library  {}", found.runtime.display()));
        let parser = found.parser.as_ref().map(|parser| parser.display().to_string());
        row(text, "", &format!("parser   {}", parser.as_deref().unwrap_or("missing")));
        let Abilities { build, run } = found.abilities(&self.gpus);
        let word = |answer: Result<(), String>| match answer {
            Ok(()) => "yes".to_owned(),
            Err(why) => format!("no: {why}"),
        };
        row(text, "", &format!("builds   {}", word(build)));
        row(text, "", &format!("runs     {}", word(run)));
    }

    fn describe_cuda(&self, text: &mut String, next: &mut Vec<String>) {
        let release = self.release.as_deref().map(|release| format!(", driver {release}"));
        let release = release.unwrap_or_default();
        match &self.gpus {
            Ok(gpus) => {
                let cuda = gpus.first().map(|gpu| format!("CUDA {}", gpu.driver_version));
                row(text, "CUDA", &format!("{}{release}", cuda.unwrap_or_default()));
                for gpu in gpus {
                    let (major, minor) = gpu.compute_capability;
                    let memory = size(gpu.total_memory);
                    row(
                        text,
                        if gpu.ordinal == 0 { "GPU" } else { "" },
                        &format!(
                            "{} {}, {memory}, compute capability {major}.{minor}",
                            gpu.ordinal, gpu.name
                        ),
                    );
                }
            }
            Err(error) => {
                row(text, "CUDA", &format!("{error}{release}"));
                row(text, "GPU", "none that can be used");
                next.extend(error.help().map(|help| format!("to run engines, {help}")));
            }
        }
        text.push('\n');
    }
}

/// Characters of a line; a longer one goes on below.
const WIDTH: usize = 100;
/// Characters of the headings' column.
const INDENT: usize = 10;

/// One line of the report, with its heading in a column of its own.
fn row(text: &mut String, heading: &str, line: &str) {
    let _ = write!(text, "{heading:INDENT$}");
    let mut column = INDENT;
    for (at, word) in line.split(' ').enumerate() {
        let length = word.chars().count();
        if at > 0 && column + 1 + length > WIDTH {
            let _ = write!(text, "\n{:INDENT$}", "");
            column = INDENT;
        } else if at > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}
