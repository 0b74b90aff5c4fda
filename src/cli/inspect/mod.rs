//! `inspect`: what is in a model, an engine, an artifact or a stored result, and what differs
//! between two of them.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::stage::Listing;

use super::ExitStatus;
use super::console::Console;
use super::project::CacheDir;
use super::wrap;

mod diff;
mod engine;
mod folder;
mod model;
mod source;
mod subject;
mod tables;

use subject::Subject;

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// A model of any kind that `convert` knows, the folder of an engine or another artifact (such as build/NAME/STAGE), or
    /// the start of a result's key or artifact's digest
    #[arg(required_unless_present = "diff")]
    what: Option<PathBuf>,
    /// Show what differs between two of these
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with = "what")]
    diff: Vec<PathBuf>,
    /// Show every layer of an engine, every node of a model with what it reads and makes, every
    /// range of a calibration, and every difference
    #[arg(long)]
    layers: bool,
    #[command(flatten)]
    cache: CacheDir,
}

/// How to show something to people.
#[derive(Debug, Clone, Copy)]
struct View {
    all_layers: bool,
    /// Columns of the terminal, where there is one.
    width: Option<u16>,
}

impl View {
    fn listing(self) -> Listing {
        if self.all_layers { Listing::Whole } else { Listing::Short }
    }

    /// Running text in the terminal's columns.
    fn wrapped(self, text: &str) -> String {
        wrap::wrapped(text, wrap::columns(self.width), 2)
    }
}

/// A message and what to do.
type Failure = (String, Option<String>);

pub(super) fn inspect(args: &InspectArgs, console: &Console) -> ExitStatus {
    let found = match (&args.what, &args.diff[..]) {
        (_, [a, b]) => show_diff(a, b, args, console),
        (Some(what), _) => show(what, args, console),
        (None, _) => Ok(()),
    };
    match found {
        Ok(()) => ExitStatus::OK,
        Err((message, help)) => {
            console.error("inspect", &message, help.as_deref());
            ExitStatus::FAILED
        }
    }
}

fn show(what: &Path, args: &InspectArgs, console: &Console) -> Result<(), Failure> {
    let subject = Subject::find(what, &args.cache)?;
    if console.is_json() {
        let (event, value) = subject.record();
        console.record(event, value);
    } else {
        let view = View { all_layers: args.layers, width: console.width() };
        console.text(&subject.text(view));
    }
    Ok(())
}

fn show_diff(a: &Path, b: &Path, args: &InspectArgs, console: &Console) -> Result<(), Failure> {
    let [first, second] = [Subject::find(a, &args.cache)?, Subject::find(b, &args.cache)?];
    let diff = first.diff(&second)?;
    let [a, b] = [a, b].map(|path| path.display().to_string());
    if console.is_json() {
        let mut value = diff.record();
        value["a"] = a.into();
        value["b"] = b.into();
        console.record("diff", value);
    } else {
        console.text(&format!("a  {a}\nb  {b}\n\n{}", diff.text(args.layers)));
    }
    Ok(())
}
