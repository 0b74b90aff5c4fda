//! Shared libraries that are found at run time: which files there are, in which places, and what
//! they say of themselves.
//!
//! Reads files and asks Python once; never loads a library. Which library is looked for, and what
//! makes one usable, is for each backend to say: see `Wanted`.

use std::path::Path;

use serde::{Deserialize, Serialize};

mod elf;
mod error;
#[cfg(test)]
pub(crate) mod fake;
mod files;
mod loader;
mod places;
mod python;

pub use error::FileError;
pub use places::runtimes_folder;
pub use python::{Python, PythonError, python};

pub(in crate::backend) use elf::{SharedLibrary, identity, read};
pub(in crate::backend) use files::{in_folder, numbers, suffix};
#[cfg(test)]
pub(in crate::backend) use loader::Loader;
pub(in crate::backend) use places::{Places, SEARCHED, Sight, in_runtimes, named};
pub(in crate::backend) use python::program_in_path;

/// A library that is looked for.
#[derive(Debug)]
pub(in crate::backend) struct Wanted {
    /// What it is called.
    pub(in crate::backend) product: &'static str,
    /// How its files are called, for people.
    pub(in crate::backend) names: &'static str,
    /// The name of one such file.
    pub(in crate::backend) example: &'static str,
    /// Whether a file is named as it is.
    pub(in crate::backend) is_named: fn(&Path) -> bool,
    /// What in a spec names it, for people.
    pub(in crate::backend) setting: &'static str,
    /// The option that names it.
    pub(in crate::backend) option: &'static str,
    /// The environment variable that names it.
    pub(in crate::backend) variable: &'static str,
    /// Where it is in a folder that was named and does not hold it itself.
    pub(in crate::backend) below: &'static [&'static str],
    /// How the folders of the Python packages start that bring it along, and where in them it is.
    pub(in crate::backend) packages: &'static [(&'static str, &'static str)],
}

/// Who or what led to a library, in the order of search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A setting in the spec.
    Spec,
    /// An option of the command line.
    Option,
    /// An environment variable that is there to name it.
    Variable,
    /// `trt-pipeline runtime install`.
    Installed,
    /// A package of the `python3` in `PATH`.
    Python,
    /// The environment variable `LD_LIBRARY_PATH`.
    LibraryPath,
    /// Where the system's loader looks by itself: its cache, its standard folders.
    System,
}

impl Source {
    /// What it is called in a sentence.
    pub(in crate::backend) fn phrase(self, wanted: &Wanted) -> &'static str {
        match self {
            Self::Spec => wanted.setting,
            Self::Option => wanted.option,
            Self::Variable => wanted.variable,
            Self::Installed => "`runtime install`",
            Self::Python => "Python packages",
            Self::LibraryPath => "LD_LIBRARY_PATH",
            Self::System => "the system's libraries",
        }
    }
}
