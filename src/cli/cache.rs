//! `cache`: list, clean, verify, find the store.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use crate::artifact::{GcOptions, Store, StoreError};

use super::ExitStatus;
use super::console::Console;
use super::diagnostic::with_causes;
use super::project::{self, CacheDir};
use super::quantity::size;

#[derive(Debug, Args)]
pub(super) struct CacheArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    cache: CacheDir,
    /// A folder of the project whose cache is meant
    #[arg(long, global = true, value_name = "DIR", default_value = ".")]
    project: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the stored results
    Ls,
    /// Remove what no lock file, no `build` link and no running server refers to
    Gc {
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
        /// Keep results younger than this, such as `7days`
        #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
        keep: Option<Duration>,
    },
    /// Read every stored byte again and report damage
    Verify,
    /// Print the cache's folder
    Path,
}

pub(super) fn cache(args: &CacheArgs, console: &Console) -> ExitStatus {
    let root = project::root_of(&args.project);
    let store = project::store_of(&root, &args.cache);
    let done = match &args.action {
        Action::Ls => ls(&store, console),
        Action::Gc { dry_run, keep } => {
            let options = GcOptions { dry_run: *dry_run, keep_newer_than: *keep };
            gc(&store, root, &options, console)
        }
        Action::Verify => verify(&store, console),
        Action::Path if console.is_json() => {
            console.record("cache_path", json!({ "path": store.root().display().to_string() }));
            Ok(ExitStatus::OK)
        }
        Action::Path => {
            console.print(&format!("{}\n", store.root().display()));
            Ok(ExitStatus::OK)
        }
    };
    done.unwrap_or_else(|error| {
        console.error("cache", &with_causes(&error), error.help().as_deref());
        ExitStatus::FAILED
    })
}

fn ls(store: &Store, console: &Console) -> Result<ExitStatus, StoreError> {
    let inventory = store.ls()?;
    if console.is_json() {
        for result in &inventory.results {
            let bytes: u64 = result.artifact.files.iter().map(|file| file.size).sum();
            let fields = json!({ "key": result.key, "pipeline": result.pipeline,
                "stage": result.stage, "kind": result.fingerprint.kind,
                "artifact": result.artifact.digest, "bytes": bytes,
                "seconds": result.seconds, "created": result.created,
            });
            console.record("cache_entry", fields);
        }
        return Ok(ExitStatus::OK);
    }
    if inventory.results.is_empty() {
        console.text(&nothing_in(store));
        return Ok(ExitStatus::OK);
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["created", "pipeline", "stage", "kind", "size", "took", "key", "artifact"]);
    for result in &inventory.results {
        let bytes: u64 = result.artifact.files.iter().map(|file| file.size).sum();
        table.add_row([
            result.created.clone(),
            result.pipeline.clone(),
            result.stage.clone(),
            result.fingerprint.kind.clone(),
            size(bytes),
            format!("{:.2} s", result.seconds),
            result.key.short(),
            result.artifact.digest.short(),
        ]);
    }
    for column in [4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    console.text(&format!("{}\n", table.trim_fmt()));
    console.line(&format!(
        "\n{} results, {} artifacts, {}",
        inventory.results.len(),
        inventory.objects,
        size(inventory.bytes)
    ));
    Ok(ExitStatus::OK)
}

/// Says that a cache has nothing in it, and how to name another.
fn nothing_in(store: &Store) -> String {
    let folder = store.root().display();
    let state = if store.root().exists() { "the cache is empty" } else { "there is no cache" };
    format!(
        "{state}: {folder}\n  help: `--project DIR` names a folder of another project, \
         `--cache-dir DIR` a cache\n"
    )
}

fn gc(
    store: &Store,
    root: PathBuf,
    options: &GcOptions,
    console: &Console,
) -> Result<ExitStatus, StoreError> {
    let report = store.gc(&[root], options)?;
    if console.is_json() {
        let fields = json!({ "dry_run": options.dry_run, "results": report.results,
            "objects": report.objects, "leftovers": report.leftovers, "bytes": report.bytes,
            "kept_objects": report.kept_objects,
        });
        console.record("cache_gc", fields);
    } else {
        let verb = if options.dry_run { "would remove" } else { "removed" };
        console.line(&format!(
            "{verb} {} results, {} artifacts and {} leftovers ({}); {} artifacts stay",
            report.results.len(),
            report.objects.len(),
            report.leftovers,
            size(report.bytes),
            report.kept_objects
        ));
    }
    Ok(ExitStatus::OK)
}

fn verify(store: &Store, console: &Console) -> Result<ExitStatus, StoreError> {
    let report = store.verify()?;
    for damage in &report.damaged {
        let message = format!("`{}`: {}", damage.path.display(), damage.reason);
        console.error("cache::damaged", &message, Some("run the pipeline again to rebuild it"));
    }
    if console.is_json() {
        let fields = json!({ "results": report.results,
            "objects": report.objects, "bytes": report.bytes, "damaged": report.damaged.len(),
        });
        console.record("cache_verified", fields);
    } else if report.results + report.objects + report.damaged.len() == 0 {
        console.text(&nothing_in(store));
    } else {
        console.line(&format!(
            "{} results, {} artifacts, {}: {}",
            report.results,
            report.objects,
            size(report.bytes),
            match report.damaged.len() {
                0 => "all intact".to_owned(),
                1 => "1 is damaged".to_owned(),
                more => format!("{more} are damaged"),
            }
        ));
    }
    Ok(if report.damaged.is_empty() { ExitStatus::OK } else { ExitStatus::FAILED })
}
