//! `runtime`: install a library from public packages, list those installed.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::backend::install::{
    self, InstallError, Installed, Pip, Product, RUNTIMES, Runtime, RuntimeName,
};
use crate::backend::library::runtimes_folder;
use crate::backend::tensorrt::Flavor;
use crate::process::CancelToken;
use crate::progress::Progress;

use super::ExitStatus;
use super::console::Console;
use super::diagnostic::with_causes;
use super::quantity::size;
use super::signals;

#[derive(Debug, Args)]
pub(super) struct RuntimeArgs {
    #[command(subcommand)]
    action: Action,
    /// The folder of installed runtimes [default: trt-pipeline/runtimes in the user's data folder]
    #[arg(long, global = true, value_name = "DIR", env = "TRT_PIPELINE_RUNTIMES")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Download TensorRT or ONNX Runtime through pip and install it for this user
    Install {
        /// Which: `tensorrt-rtx`, `tensorrt@8.6` or `onnxruntime`
        runtime: RuntimeName,
        /// Accept NVIDIA's licence without being asked
        #[arg(long)]
        accept_license: bool,
    },
    /// List the installed runtimes and those that can be installed
    List,
}

pub(super) fn runtime(args: &RuntimeArgs, console: &Console) -> ExitStatus {
    let dir = args.dir.as_deref().filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.map(|dir| std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()));
    let Some(folder) = dir.or_else(runtimes_folder) else {
        let help = "name a folder with --dir or TRT_PIPELINE_RUNTIMES";
        console.error(
            "runtime::folder",
            "this user has no home folder to install into",
            Some(help),
        );
        return ExitStatus::USAGE;
    };
    match &args.action {
        Action::List => list(&folder, console),
        Action::Install { runtime, accept_license } => {
            let done = try_install(runtime.0, &folder, *accept_license, console);
            match done {
                Ok(()) => ExitStatus::OK,
                Err(status) => status,
            }
        }
    }
}

fn try_install(
    runtime: &Runtime,
    folder: &Path,
    accepted: bool,
    console: &Console,
) -> Result<(), ExitStatus> {
    let title = runtime.title();
    let target = folder.join(runtime.folder());
    if let Some(found) = install::installed(runtime, folder) {
        console.line(&format!("{title} is installed already, in {}", target.display()));
        tell(runtime, &found, &target, true, console);
        return Ok(());
    }
    let may_ask = console.is_interactive() && io::stdin().is_terminal();
    let accepted = accepted || !runtime.licence.must_be_accepted;
    if !accepted && !may_ask {
        let terms: Vec<&str> = runtime.licence.terms.iter().map(|(_, place)| *place).collect();
        let message = format!(
            "{title} comes under NVIDIA's licence, which has to be accepted, and there is no \
             terminal to ask on"
        );
        let help = format!("read {}, then give --accept-license", terms.join(" and "));
        console.error("runtime::license", &message, Some(&help));
        return Err(ExitStatus::USAGE);
    }
    let fail = |error: InstallError| {
        console.error("runtime::install", &with_causes(&error), error.help().as_deref());
        match error {
            InstallError::Cancelled { .. } => ExitStatus::INTERRUPTED,
            error if error.is_unavailable() => ExitStatus::UNAVAILABLE,
            _ => ExitStatus::FAILED,
        }
    };
    let pip = Pip::find().map_err(fail)?;
    console.text(&offer(runtime, &title, &target));
    if !accepted && !agreed(console) {
        console.line("nothing was installed");
        return Err(ExitStatus::FAILED);
    }
    let cancel = CancelToken::default();
    signals::cancel_on_signal(cancel.clone());
    let found =
        watched(console, |progress| install::install(runtime, folder, &pip, progress, &cancel));
    let found = found.map_err(fail)?;
    console.line(&format!("installed {title} in {}", target.display()));
    console.line(&format!("its licences are in {}", target.join("licenses").display()));
    if runtimes_folder().is_none_or(|searched| searched != folder) {
        console.line(&format!(
            "it is used where it is named: {} {}, or TRT_PIPELINE_RUNTIMES={}",
            runtime.product.option(),
            target.display(),
            folder.display()
        ));
    }
    tell(runtime, &found, &target, false, console);
    Ok(())
}

/// What would be installed, from where, and under which terms.
fn offer(runtime: &Runtime, title: &str, target: &Path) -> String {
    let below = |lines: Vec<String>| lines.join("\n           ");
    let terms = runtime.licence.terms;
    let width = terms.iter().map(|(of, _)| of.len()).max().unwrap_or(0);
    let accepting =
        if runtime.licence.must_be_accepted { "; by installing you accept it" } else { "" };
    format!(
        "{title}: {}\n  \
         download {} through pip:\n           {}\n  \
         disk     {} in {}\n  \
         licence  {}{accepting}:\n           {}\n",
        runtime.about,
        size(runtime.download_bytes()),
        below(runtime.packages().map(str::to_owned).collect()),
        size(runtime.installed_bytes()),
        target.display(),
        runtime.licence.name,
        below(terms.iter().map(|(of, place)| format!("{of:width$}  {place}")).collect())
    )
}

/// Asks on the terminal.
fn agreed(console: &Console) -> bool {
    console.print("Accept and install? [y/N] ");
    console.flush();
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// The JSON line of an installation.
fn tell(runtime: &Runtime, found: &Installed, target: &Path, already: bool, console: &Console) {
    if console.is_json() {
        let fields = json!({
            "name": runtime.name, "version": found.version, "flavor": flavor(found.product),
            "path": target, "library": found.library, "already": already,
        });
        console.record("runtime_installed", fields);
    }
}

/// Which of NVIDIA's two libraries it is, if one of them.
fn flavor(product: Product) -> Option<Flavor> {
    match product {
        Product::TensorRt(flavor) => Some(flavor),
        Product::OnnxRuntime => None,
    }
}

/// What an installation tells while it runs.
struct Report {
    phase: String,
    done: u64,
    total: Option<u64>,
}

/// Sends reports to the thread that draws.
struct Reports(Sender<Report>);

impl Progress for Reports {
    fn report(&self, phase: &str, done: u64, total: Option<u64>) {
        // Nobody draws any more once the work is over.
        let _ = self.0.send(Report { phase: phase.to_owned(), done, total });
    }
}

/// Does something on another thread and shows its progress: a bar on a terminal, else a line a
/// phase.
fn watched<T: Send>(console: &Console, work: impl FnOnce(&dyn Progress) -> T + Send) -> T {
    let (sender, reports) = channel();
    let bar = bar(console);
    std::thread::scope(|scope| {
        let working = scope.spawn(move || work(&Reports(sender)));
        let mut phase = String::new();
        for report in reports {
            if report.phase != phase {
                phase = report.phase;
                if console.is_interactive() {
                    bar.set_message(phase.clone());
                } else {
                    console.line(&phase);
                    console.flush();
                }
            }
            bar.set_length(report.total.unwrap_or(0));
            bar.set_position(report.done);
        }
        bar.finish_and_clear();
        working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn bar(console: &Console) -> ProgressBar {
    if !console.is_interactive() {
        return ProgressBar::hidden();
    }
    let template = "{spinner} {msg}  {bar:24} {bytes}/{total_bytes}  {elapsed}";
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸ ");
    let bar = console.progress().add(ProgressBar::new(0).with_style(style));
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    bar
}

fn list(folder: &Path, console: &Console) -> ExitStatus {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["runtime", "version", "state", "size", "path"]);
    for (library, outcome) in install::list(folder) {
        let home = library.parent().unwrap_or(folder);
        let name = home.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let found = outcome.as_ref().ok();
        let version = found.map(|found| found.version.clone()).unwrap_or_default();
        let problem = outcome.as_ref().err().cloned();
        let bytes = size_of(home);
        if console.is_json() {
            let fields = json!({
                "name": name, "installed": true, "path": home, "library": library,
                "version": found.map(|found| &found.version),
                "flavor": found.and_then(|found| flavor(found.product)),
                "bytes": bytes, "problem": problem,
            });
            console.record("runtime", fields);
        }
        let state = problem.unwrap_or_else(|| "installed".to_owned());
        table.add_row([name, version, state, size(bytes), home.display().to_string()]);
    }
    for runtime in &RUNTIMES {
        if install::installed(runtime, folder).is_some() {
            continue;
        }
        let bytes = runtime.installed_bytes();
        if console.is_json() {
            let fields = json!({
                "name": runtime.short(), "installed": false, "path": null, "library": null,
                "version": runtime.version, "flavor": flavor(runtime.product), "bytes": bytes,
                "problem": null,
            });
            console.record("runtime", fields);
        }
        let state = "can be installed".to_owned();
        table.add_row([
            runtime.short(),
            runtime.version.to_owned(),
            state,
            size(bytes),
            String::new(),
        ]);
    }
    console.text(&format!("{}\n", table.trim_fmt()));
    ExitStatus::OK
}

/// Bytes of the files in a folder; what cannot be read does not count.
fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}
