//! A project in a temporary folder, and the program run in it.

pub mod in_process;
pub mod models;
pub mod served;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A folder with a spec and its files.
pub struct Project {
    dir: TempDir,
}

/// What a run of the program gave.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// How often a soak test repeats; the environment makes it longer.
pub fn rounds(variable: &str, short: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(short)
}

/// A fixture by its path under `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    repository().join("tests/fixtures").join(name)
}

impl Project {
    pub fn empty() -> Self {
        // Not $TMPDIR: where messages wrap depends on the length of the paths in them.
        Self { dir: tempfile::Builder::new().prefix("trt-").tempdir_in("/tmp").unwrap() }
    }

    /// A project whose `p.yaml` has this text.
    pub fn with_spec(text: &str) -> Self {
        let project = Self::empty();
        project.write("p.yaml", text);
        project
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.file(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    pub fn copy(&self, from: &Path, name: &str) -> &Self {
        self.write(name, std::fs::read(from).unwrap())
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap()
    }

    /// The program, not yet started, with no environment that could change what it prints.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trt-pipeline"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        command
            .env_remove("TRT_PIPELINE_CACHE")
            .env_remove("TRT_PIPELINE_ONNXRUNTIME")
            .env_remove("TRT_PIPELINE_TENSORRT")
            .env_remove("TRT_PIPELINE_TOKEN")
            .env_remove("NO_COLOR")
            .env_remove("RUST_BACKTRACE");
        command
    }

    pub fn trt(&self, args: &[&str]) -> Ran {
        Ran::of(&self.command(args).output().unwrap(), self.path())
    }

    /// `run p.yaml`, which must succeed.
    pub fn run_ok(&self) -> Ran {
        let ran = self.trt(&["run", "p.yaml"]);
        assert_eq!(ran.status, 0, "{ran:#?}");
        ran
    }

    /// Every file of the store below `objects` and `results`.
    pub fn stored(&self) -> Vec<String> {
        let mut found = Vec::new();
        for folder in ["objects", "results"] {
            let path = self.file(".trt-pipeline").join(folder);
            let Ok(entries) = std::fs::read_dir(&path) else { continue };
            found.extend(entries.map(|e| format!("{folder}/{}", e.unwrap().file_name().display())));
        }
        found.sort();
        found
    }
}

impl Ran {
    pub fn of(output: &Output, folder: &Path) -> Self {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            text.replace(&folder.display().to_string(), "[dir]")
        };
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// The JSON lines of standard output.
    pub fn events(&self) -> Vec<serde_json::Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        self.stdout.lines().map(parse).collect()
    }

    /// `(stage, outcome)` of every stage, from `--format json`.
    pub fn outcomes(&self) -> Vec<(String, String)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        self.events()
            .iter()
            .filter(|event| event["event"] == "stage_finished")
            .map(|event| (text(&event["stage"]), text(&event["outcome"])))
            .collect()
    }

    /// Everything a person sees, with the exit status, for snapshots.
    pub fn seen(&self) -> String {
        format!("exit {}\n{}{}", self.status, self.stdout, self.stderr)
    }
}

/// Runs the body with times and long digests taken out of snapshots.
pub fn with_filters(body: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\b\d+(\.\d+)? (ms|s)\b", "[time]");
    settings.add_filter(r"\b[0-9a-f]{64}\b", "[digest]");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(body);
}
