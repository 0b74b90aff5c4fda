//! Stand-ins for TensorRT: a library of any version, for a process to load in place of NVIDIA's.
//!
//! `tests/standin/tensorrt` makes them, with the C compiler, when a test first needs a version.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use serde::Deserialize;
use tempfile::TempDir;

use super::{cc, folder};
use crate::support::repository;

/// A stand-in for one version of TensorRT, with its settings, for one process or several.
pub struct TensorRt {
    flavor: &'static str,
    version: String,
    settings: Vec<(String, String)>,
    scratch: TempDir,
}

/// What a library says of its objects when its process ends.
#[derive(Debug, Deserialize)]
pub struct Objects {
    /// The name it is loaded by, such as `libnvinfer.so.10`.
    pub library: String,
    /// How many of each class were alive; none of the others.
    pub live: BTreeMap<String, u32>,
    /// How many of each class there were.
    pub made: BTreeMap<String, u32>,
}

impl TensorRt {
    /// Of a version with four numbers. The GPU is that of the CUDA driver that a process has
    /// loaded, if it has, unless `GPU` is set.
    pub fn standard(version: &str) -> Self {
        Self::of("standard", version)
    }

    /// TensorRT-RTX, as [`Self::standard`].
    pub fn rtx(version: &str) -> Self {
        Self::of("rtx", version)
    }

    fn of(flavor: &'static str, version: &str) -> Self {
        let scratch = TempDir::new().unwrap();
        Self { flavor, version: version.to_owned(), settings: Vec::new(), scratch }
    }

    /// Sets `STANDIN_TENSORRT_{name}`; `tests/standin/tensorrt/README.md` lists them.
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        self.settings.push((format!("STANDIN_TENSORRT_{name}"), value.to_string()));
        self
    }

    /// Product and version.
    pub fn name(&self) -> String {
        format!("{} {}", self.flavor, self.version)
    }

    /// The folder with the libraries.
    pub fn folder(&self) -> PathBuf {
        built(self.flavor, &self.version)
    }

    /// The library itself.
    pub fn runtime(&self) -> PathBuf {
        self.library("libnvinfer", "libtensorrt_rtx")
    }

    /// Its ONNX parser.
    pub fn parser(&self) -> PathBuf {
        self.library("libnvonnxparser", "libtensorrt_onnxparser_rtx")
    }

    fn library(&self, standard: &str, rtx: &str) -> PathBuf {
        let name = if self.flavor == "rtx" { rtx } else { standard };
        let major = self.version.split('.').next().unwrap();
        self.folder().join(format!("{name}.so.{major}"))
    }

    /// Gives a process the settings, and the program the library to use.
    pub fn attach(&self, command: &mut Command) {
        command
            .env("TRT_PIPELINE_TENSORRT", self.folder())
            .env("STANDIN_TENSORRT_REPORT", self.report())
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
    }

    /// What the libraries of all processes said at their ends, those that did not crash.
    pub fn objects(&self) -> Vec<Objects> {
        let said = fs::read_to_string(self.report()).unwrap_or_default();
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Some process used the library, and none left an object alive.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let objects = self.objects();
        assert!(objects.iter().any(|library| !library.made.is_empty()), "{objects:#?}");
        assert!(objects.iter().all(|library| library.live.is_empty()), "{objects:#?}");
    }

    /// `tests/standin/tensorrt/smoke.c` of this version's generation, with its two libraries. Its
    /// files, which some modes write or read, are this value's.
    pub fn smoke(&self, model: &Path, mode: &str) -> Command {
        let mut command = Command::new(self.folder().join("smoke"));
        command.args([self.runtime(), self.parser(), model.to_owned()]).arg(mode);
        command.env("PLAN", self.plan());
        command.env("TIMING", self.scratch.path().join("timing"));
        self.attach(&mut command);
        command
    }

    /// Where [`Self::smoke`] saves a plan and loads it from.
    pub fn plan(&self) -> PathBuf {
        self.scratch.path().join("plan")
    }

    fn report(&self) -> PathBuf {
        self.scratch.path().join("objects")
    }
}

/// The folder with a version's libraries, compiled if these sources were not yet.
fn built(flavor: &str, version: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap();
    let sources = repository().join("tests/standin/tensorrt");
    let folder = folder(&format!("tensorrt-{flavor}-{version}"));
    let done = folder.join(sources_digest(&sources));
    if !done.exists() {
        // Another test process may do the same: whoever is first has made it.
        let fresh = TempDir::new_in(&folder).unwrap();
        cc(Command::new(sources.join("build.sh")).arg(fresh.path()).args([flavor, version]));
        let _ = fs::rename(fresh.path(), &done);
    }
    done
}

fn sources_digest(sources: &Path) -> String {
    let entries =
        fs::read_dir(sources).unwrap().chain(fs::read_dir(repository().join("ffi")).unwrap());
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| {
        file.extension().is_some_and(|end| ["c", "h", "sh"].iter().any(|e| end == *e))
    });
    files.sort();
    let mut hasher = blake3::Hasher::new();
    for file in files {
        hasher.update(&fs::read(file).unwrap());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}
