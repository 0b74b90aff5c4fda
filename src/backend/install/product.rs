//! [`Product`]: what a library is, and whether a folder holds it.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::backend::onnxruntime;
use crate::backend::tensorrt::Flavor;
use crate::backend::tensorrt::discover as tensorrt;

/// What can be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// One of NVIDIA's two libraries.
    TensorRt(Flavor),
    /// ONNX Runtime.
    OnnxRuntime,
}

impl Product {
    /// The command line's option that names such a library.
    pub fn option(self) -> &'static str {
        match self {
            Self::TensorRt(_) => "--tensorrt-lib",
            Self::OnnxRuntime => "--onnxruntime-lib",
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TensorRt(flavor) => fmt::Display::fmt(flavor, f),
            Self::OnnxRuntime => f.write_str("ONNX Runtime"),
        }
    }
}

/// A library in its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// What it is.
    #[serde(skip)]
    pub product: Product,
    /// Its full version.
    pub version: String,
    /// Its file.
    pub library: PathBuf,
}

/// The first library in a folder: what it is, or why it cannot be used. `None` where there is none
/// of the product's.
pub(super) fn examine(product: Product, folder: &Path) -> Option<Result<Installed, String>> {
    match product {
        Product::TensorRt(_) => {
            let sighting = tensorrt::in_folder(folder).into_iter().next()?;
            Some(sighting.outcome.map_err(|error| error.to_string()).and_then(|found| {
                found.parser().map_err(|error| error.to_string())?;
                Ok(of_tensorrt(&found))
            }))
        }
        Product::OnnxRuntime => {
            let found = onnxruntime::discover::in_folder(folder).into_iter().next()?;
            Some(found.map(of_onnxruntime).map_err(|error| error.to_string()))
        }
    }
}

/// Every library in a folder of installed ones: its file, and what it is or why it cannot be used.
pub(super) fn all(folder: &Path) -> Vec<(PathBuf, Result<Installed, String>)> {
    let tensorrt = tensorrt::installed(folder).libraries.into_iter().map(|library| {
        let outcome = library.outcome.as_ref().map(of_tensorrt).map_err(ToString::to_string);
        (library.path, outcome)
    });
    let onnxruntime = onnxruntime::discover::installed(folder).libraries.into_iter();
    let onnxruntime = onnxruntime.map(|(path, outcome)| {
        (path, outcome.map(of_onnxruntime).map_err(|error| error.to_string()))
    });
    tensorrt.chain(onnxruntime).collect()
}

fn of_tensorrt(found: &tensorrt::Found) -> Installed {
    Installed {
        product: Product::TensorRt(found.flavor),
        version: found.version.to_string(),
        library: found.runtime.clone(),
    }
}

fn of_onnxruntime(found: onnxruntime::discover::Found) -> Installed {
    Installed { product: Product::OnnxRuntime, version: found.version, library: found.library }
}
