//! TensorRT-RTX itself, on a machine without a GPU: real engines, built through the program.
//!
//! `TRT_PIPELINE_TEST_RTX` names the folder that has the library. `.ci/run` installs it and sets
//! the variable; where it is not set, each of these tests says so and passes.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Project, Ran, fixture};

mod build;
mod graphs;
mod refused;
mod settings;
mod stopped;

/// The variable that names the library's folder.
const VARIABLE: &str = "TRT_PIPELINE_TEST_RTX";

/// The profile of the digits.
const IMAGES: &str = "{ image: { min: [1, 1, 8, 8], opt: [8, 1, 8, 8], max: [64, 1, 8, 8] } }";

/// The folder of TensorRT-RTX; `None`, and a line on standard error, where none is named.
pub fn library() -> Option<PathBuf> {
    let folder = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty());
    if folder.is_none() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let reason = format!(
            "{VARIABLE} does not name a folder with TensorRT-RTX; `trt-pipeline runtime install \
             tensorrt-rtx` gets one"
        );
        // Not `eprintln!`, which the test harness keeps to itself.
        let mut terminal = std::io::stderr();
        writeln!(terminal, "SKIPPED {test}: {reason}").unwrap();
    }
    folder.map(PathBuf::from)
}

/// A project whose builds are made by TensorRT-RTX.
struct Rtx {
    project: Project,
    library: PathBuf,
}

/// A `build` stage for compute capability 8.9, and the fixture that it builds.
struct Build {
    model: &'static str,
    profiles: Vec<String>,
    settings: Vec<String>,
}

impl Build {
    fn of(model: &'static str) -> Self {
        Self { model, profiles: Vec::new(), settings: Vec::new() }
    }

    /// The digits in some precision, with their profile.
    fn of_digits(model: &'static str) -> Self {
        Self::of(model).profile(IMAGES)
    }

    /// One profile more, as YAML.
    fn profile(mut self, profile: impl Into<String>) -> Self {
        self.profiles.push(profile.into());
        self
    }

    /// One setting more, as a line of YAML.
    fn set(mut self, setting: impl Into<String>) -> Self {
        self.settings.push(setting.into());
        self
    }

    /// The stage; its name is that of the fixture's file.
    fn stage(&self) -> String {
        let name = self.name();
        let mut stage = format!(
            "  {name}:\n    build:\n      from: {{ file: {name}.onnx, kind: model }}\n      backend: \
             tensorrt\n      profiles: [{}]\n",
            self.profiles.join(", ")
        );
        if !self.settings.iter().any(|setting| setting.starts_with("compute_capabilities:")) {
            stage += "      compute_capabilities: [\"8.9\"]\n";
        }
        for setting in &self.settings {
            stage += &format!("      {setting}\n");
        }
        stage
    }

    fn name(&self) -> &'static str {
        Path::new(self.model).file_name().unwrap().to_str().unwrap()
    }
}

impl Rtx {
    /// A project, named `rtx`, with these builds; `None` where there is no TensorRT-RTX.
    fn building(builds: &[Build]) -> Option<Self> {
        let library = library()?;
        let stages: String = builds.iter().map(Build::stage).collect();
        let project = Project::with_spec(&format!("version: 1\nname: rtx\nstages:\n{stages}"));
        for build in builds {
            let file = fixture(&format!("tensorrt/{}.onnx", build.model));
            project.copy(&file, &format!("{}.onnx", build.name()));
        }
        Some(Self { project, library })
    }

    /// Runs the program where `TRT_PIPELINE_TENSORRT` names the library.
    fn trt(&self, args: &[&str]) -> Ran {
        self.trt_with(&self.library, args)
    }

    /// The same with another library.
    fn trt_with(&self, library: &Path, args: &[&str]) -> Ran {
        let mut command = self.project.command(args);
        let output = command.env("TRT_PIPELINE_TENSORRT", library).output().unwrap();
        Ran::of(&output, self.project.path())
    }

    /// `run p.yaml --format json`, in which every stage must come to this.
    fn all(&self, outcome: &str) -> Ran {
        let ran = self.trt(&["run", "p.yaml", "--format", "json"]);
        assert_eq!(ran.status, 0, "{ran:#?}");
        assert!(ran.outcomes().iter().all(|(_, found)| found == outcome), "{ran:#?}");
        ran
    }

    /// The library's own file.
    fn runtime(&self) -> PathBuf {
        self.file_of_library("libtensorrt_rtx.so")
    }

    /// The ONNX parser beside it.
    fn parser(&self) -> PathBuf {
        self.file_of_library("libtensorrt_onnxparser_rtx.so")
    }

    fn file_of_library(&self, start: &str) -> PathBuf {
        let files = std::fs::read_dir(&self.library).unwrap().map(|entry| entry.unwrap().path());
        let named = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(start);
        files.into_iter().find(named).unwrap_or_else(|| panic!("{VARIABLE} has no {start}"))
    }

    /// A folder of the project with one file linked into it.
    fn folder_with(&self, name: &str, file: &Path) -> PathBuf {
        let folder = self.project.file(name);
        std::fs::create_dir(&folder).unwrap();
        symlink(file, folder.join(file.file_name().unwrap())).unwrap();
        folder
    }

    fn engine_json(&self, stage: &str) -> Value {
        serde_json::from_str(&self.project.read(&format!("build/rtx/{stage}/engine.json"))).unwrap()
    }

    fn plan(&self, stage: &str) -> Vec<u8> {
        std::fs::read(self.project.file(&format!("build/rtx/{stage}/engine.plan"))).unwrap()
    }
}

/// Whether a text is in an engine. TensorRT-RTX leaves the last steps of compiling to the machine
/// that runs the engine, so a plan has sources of kernels and settings in it.
fn mentions(plan: &[u8], text: &str) -> bool {
    plan.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Whether a kernel of the engine reads or writes memory of an element type.
pub fn has_kernels_for(plan: &[u8], dtype: &str) -> bool {
    mentions(plan, &format!("__myln_{dtype}* __restrict__"))
}

/// A message on one line, without what fits it into a terminal.
fn unwrapped(message: &str) -> String {
    let lines = message.lines().map(|line| line.trim_start_matches([' ', '│', '×']));
    lines.collect::<Vec<_>>().join(" ")
}
