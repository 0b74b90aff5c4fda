//! Finding TensorRT: which library, of which version, from where.
//!
//! Never loads a library. The order of places is that of [`Source`]. What is found is a value ([`Found`]) that others load, fingerprint or print.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::backend::library::{Places, SEARCHED, Source};

use super::Flavor;
use super::generation::{Generation, LibraryVersion};

mod ability;
mod error;
mod facts;
mod library;
mod places;
mod selection;
#[cfg(test)]
mod tests;

pub use ability::Abilities;
pub use error::{DiscoverError, LibraryError};
pub use facts::tool_facts;
pub(in crate::backend) use places::in_folder;
pub use places::{installed, name_library};
pub use selection::{InvalidRequirement, TensorRtSelection, VersionRequirement};

use places::TENSORRT;

/// A TensorRT library that can be used here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The product.
    pub flavor: Flavor,
    /// The full version.
    pub version: LibraryVersion,
    /// How it is driven.
    pub generation: Generation,
    /// The library itself: `libnvinfer.so.*` or `libtensorrt_rtx.so.*`.
    pub runtime: PathBuf,
    /// The ONNX parser beside it; without one no model can be compiled. See [`Found::parser`].
    pub parser: Option<PathBuf>,
    /// The library of plug-ins beside it.
    pub plugin: Option<PathBuf>,
    /// The lean runtime beside it.
    pub lean: Option<PathBuf>,
    /// The dispatch runtime beside it.
    pub dispatch: Option<PathBuf>,
    /// The linker's digest of the library's content, where it has one.
    pub build_id: Option<String>,
    /// Who or what led to it.
    pub source: Source,
    /// What to tell the user once: it is newer than any version that is known.
    pub warning: Option<String>,
}

impl Found {
    /// The ONNX parser.
    ///
    /// # Errors
    /// There is none beside the library; engines can be run all the same.
    pub fn parser(&self) -> Result<&Path, LibraryError> {
        self.parser.as_deref().ok_or_else(|| LibraryError::ParserMissing {
            runtime: self.runtime.clone(),
            name: library::parser_name(self.flavor, self.version),
        })
    }
}

/// One place that was searched, and what is there.
#[derive(Debug, Clone)]
pub struct Looked {
    /// The place.
    pub place: Source,
    /// The libraries there, in the place's own order.
    pub libraries: Vec<Sighting>,
    /// What was looked at, where there is no library.
    pub note: String,
}

/// One library somewhere.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// The file.
    pub path: PathBuf,
    /// What it is, or why it cannot be used.
    pub outcome: Result<Found, LibraryError>,
    /// Why the spec does not want it.
    pub objection: Option<String>,
}

impl Looked {
    /// What the place is called in a sentence.
    pub fn phrase(&self) -> &'static str {
        self.place.phrase(&TENSORRT)
    }

    /// The newest library that can be used and is wanted.
    fn best(&self, flavor: Option<Flavor>) -> Option<&Found> {
        let usable = self.libraries.iter().filter(|library| library.objection.is_none());
        let usable = usable.filter_map(|library| library.outcome.as_ref().ok());
        let of_flavor = usable.filter(|found| flavor.is_none_or(|flavor| flavor == found.flavor));
        // The first of equals, which the place prefers.
        of_flavor.rev().max_by_key(|found| found.version)
    }
}

/// Finds the TensorRT that a spec asks for.
///
/// # Errors
/// A named library cannot be used or is not what the spec asks for; both products are here and
/// none is chosen; nothing is here.
pub fn find(selection: &TensorRtSelection) -> Result<Found, DiscoverError> {
    find_in(&places::here(), selection)
}

/// Everything there is, for a person to look at: named places first.
pub fn survey() -> Vec<Looked> {
    let here = places::here();
    let named = here.named().map(|(place, path)| places::look_at_named(place, &path));
    let searched = SEARCHED.map(|place| places::look(&here, place));
    named.chain(searched).collect()
}

fn find_in(places: &Places, selection: &TensorRtSelection) -> Result<Found, DiscoverError> {
    let in_spec = selection.library.clone().map(|path| (Source::Spec, path));
    if let Some((place, path)) = in_spec.or_else(|| places.named().next()) {
        return named(place, path, selection);
    }
    let mut searched = Vec::new();
    for place in SEARCHED {
        let mut looked = places::look(places, place);
        object(&mut looked, selection);
        // Where the product is chosen, no later place can change the answer.
        if selection.flavor.is_some()
            && let Some(found) = looked.best(None)
        {
            return Ok(found.clone());
        }
        searched.push(looked);
    }
    let best = |flavor| searched.iter().find_map(|looked| looked.best(Some(flavor)));
    match (best(Flavor::Standard), best(Flavor::Rtx)) {
        (Some(found), None) | (None, Some(found)) => Ok(found.clone()),
        (Some(standard), Some(rtx)) => {
            Err(DiscoverError::Ambiguous { found: vec![standard.clone(), rtx.clone()] })
        }
        (None, None) => Err(DiscoverError::NotFound { searched }),
    }
}

/// Notes which libraries the spec does not ask for.
fn object(looked: &mut Looked, selection: &TensorRtSelection) {
    for library in &mut looked.libraries {
        if let Ok(found) = &library.outcome {
            library.objection = selection.objection(found.flavor, found.version);
        }
    }
}

/// The answer where somebody named a place: a library that is there, or an error.
fn named(
    place: Source,
    path: PathBuf,
    selection: &TensorRtSelection,
) -> Result<Found, DiscoverError> {
    let mut looked = places::look_at_named(place, &path);
    object(&mut looked, selection);
    match (looked.best(Some(Flavor::Standard)), looked.best(Some(Flavor::Rtx))) {
        (Some(found), None) | (None, Some(found)) => return Ok(found.clone()),
        (Some(standard), Some(rtx)) => {
            let found = vec![standard.clone(), rtx.clone()];
            return Err(DiscoverError::Ambiguous { found });
        }
        (None, None) => {}
    }
    // A library that could be used, but is not wanted, says more than one that could not.
    let closer = |a: Sighting, b: Sighting| if a.outcome.is_err() { b } else { a };
    let Some(library) = looked.libraries.into_iter().reduce(closer) else {
        return Err(DiscoverError::Named { place, source: LibraryError::EmptyFolder { path } });
    };
    Err(match library.outcome {
        Err(source) => DiscoverError::Named { place, source },
        Ok(found) => DiscoverError::Unwanted {
            found: Box::new(found),
            objection: library.objection.unwrap_or_default(),
        },
    })
}
