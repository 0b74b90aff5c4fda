//! `graph`: the stages as a picture.

use crate::plan::GraphFormat;

use super::ExitStatus;
use super::console::Console;
use super::project::{self, SpecArgs};

pub(super) fn graph(args: &SpecArgs, format: GraphFormat, console: &Console) -> ExitStatus {
    match project::load(args, console) {
        Ok(plan) => {
            console.print(&plan.render(format));
            ExitStatus::OK
        }
        Err(status) => status,
    }
}
