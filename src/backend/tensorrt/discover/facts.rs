//! What of a library goes into a cache key.

use std::collections::BTreeMap;

use crate::backend::library::{identity, read};

use super::Found;
use super::error::LibraryError;

/// The facts about a library that can change an engine: product, version, and the identity of the
/// library and of its ONNX parser. (The version that a parser tells is its interface's, which stays
/// the same for years.) Facts about the GPU and the driver are not the library's and not here.
///
/// # Errors
/// The parser cannot be read.
pub fn tool_facts(found: &Found) -> Result<BTreeMap<String, String>, LibraryError> {
    let mut facts = BTreeMap::from([
        ("tensorrt".to_owned(), found.version.to_string()),
        ("tensorrt_flavor".to_owned(), found.flavor.name().to_owned()),
        ("tensorrt_build".to_owned(), identity(&found.runtime, found.build_id.clone())?),
    ]);
    if let Some(parser) = &found.parser {
        let build_id = read(parser)?.build_id;
        facts.insert("onnx_parser".to_owned(), identity(parser, build_id)?);
    }
    Ok(facts)
}
