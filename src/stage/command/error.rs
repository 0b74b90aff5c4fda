//! [`CommandError`]: why a command did not make what it declared.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The program is not on this machine.
    #[error("program `{program}` was not found{searched}")]
    NotFound {
        /// As the spec names it.
        program: String,
        /// Where it was looked for.
        searched: Searched,
    },
    /// The program's file cannot be executed.
    #[error("program `{}` cannot be executed", path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The program ended with a status other than 0, or by a signal.
    #[error("`{program}` {ending}{}", shown(output))]
    Failed {
        /// As the spec names it.
        program: String,
        /// How it ended, such as `exited with status 3`.
        ending: String,
        /// The last lines it wrote: standard error, or standard output if that was silent.
        output: String,
    },
    /// The program did not end in time and was killed.
    #[error("`{program}` did not end within {seconds} s and was killed{}", shown(output))]
    TimedOut {
        /// As the spec names it.
        program: String,
        /// The limit.
        seconds: f64,
        /// The last lines it wrote.
        output: String,
    },
    /// The program succeeded without making an output.
    #[error(
        "`{program}` did not make output `{name}`: there is {found} at `{path}`{}",
        shown(output)
    )]
    MissingOutput {
        /// As the spec names it.
        program: String,
        /// The output's name.
        name: String,
        /// Its declared path.
        path: String,
        /// What is there.
        found: &'static str,
        /// The last lines it wrote.
        output: String,
    },
    /// The program made files that the spec does not declare.
    #[error("`{program}` made files that are not declared as outputs: {}", paths.join(", "))]
    Undeclared {
        /// As the spec names it.
        program: String,
        /// The first of them, relative to the artifact.
        paths: Vec<String>,
    },
    /// The system refused to start or watch the program.
    #[error("failed to {doing} `{program}`")]
    System {
        /// The verb.
        doing: &'static str,
        /// As the spec names it.
        program: String,
        /// The system's answer.
        source: io::Error,
    },
}

/// Where a program was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Searched {
    /// In the folders of `PATH`.
    Path(String),
    /// At one place.
    File(PathBuf),
}

impl fmt::Display for Searched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(_) => f.write_str(" in PATH"),
            Self::File(file) => write!(f, ": there is no file `{}`", file.display()),
        }
    }
}

fn shown(output: &str) -> String {
    if output.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = output.lines().map(|line| format!("\n  | {line}")).collect();
    format!("; its last output:{}", lines.concat())
}

impl CommandError {
    /// Whether the program is not on this machine.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// What the user can do next.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotFound { searched: Searched::Path(path), program } => Some(format!(
                "install `{program}`, or give the program as a path relative to the spec, such as \
                 `./{program}`; PATH is {}",
                if path.is_empty() { "not set" } else { path }
            )),
            Self::NotFound { searched: Searched::File(_), .. } => Some(
                "a program with a `/` in it is looked for relative to the spec's folder".into(),
            ),
            Self::NotExecutable { path, source } => Some(match source.raw_os_error() {
                Some(code) if code == rustix::io::Errno::NOEXEC.raw_os_error() => {
                    "it is neither a program for this machine nor a script that starts with `#!`; \
                     name the interpreter first, such as `run: [\"python3\", \"script.py\"]`"
                        .to_owned()
                }
                _ => format!("make it executable: chmod +x {}", path.display()),
            }),
            Self::TimedOut { .. } => Some("raise `timeout_seconds`, or leave it out".into()),
            Self::MissingOutput { name, .. } => Some(format!(
                "the program has to write to the path that `${{outputs.{name}}}` stands for"
            )),
            Self::Undeclared { .. } => Some(
                "declare them under `outputs`, declare a folder that holds them, or write them to \
                 the current folder, which is deleted afterwards"
                    .into(),
            ),
            Self::Failed { .. } | Self::System { .. } => None,
        }
    }
}
