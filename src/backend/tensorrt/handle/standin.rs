//! The stand-in for TensorRT (`tests/standin/tensorrt`), for unit tests. A process loads one
//! TensorRT, so each test is a process: see [`crate::backend::cuda::standin`].

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use crate::backend::tensorrt::Flavor;

use super::super::sys::{BuilderFlag, Dims, OptProfileSelector};
use super::builder::Builder;
use super::config::Config;
use super::library::Library;
use super::parser::{Parsed, parse};

/// A model with one input, whose axis 0 is open.
pub(super) const MODEL: &str = "tests/fixtures/tensorrt/digits_fp32.onnx";

/// A loaded stand-in, and its parser's library.
pub(super) struct StandIn {
    pub(super) library: &'static Library,
    pub(super) parser: PathBuf,
    _folder: TempDir,
}

impl StandIn {
    /// Makes and loads the stand-in of a version such as `10.13.0.1`.
    pub(super) fn new(flavor: Flavor, version: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/standin/tensorrt/build.sh");
        let output =
            Command::new(script).arg(folder.path()).args([flavor.name(), version]).output();
        let output = output.expect("the stand-in needs a C compiler, `cc`");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (runtime, parser) = match flavor {
            Flavor::Standard => ("libnvinfer", "libnvonnxparser"),
            Flavor::Rtx => ("libtensorrt_rtx", "libtensorrt_onnxparser_rtx"),
        };
        let major = version.split('.').next().unwrap();
        let file = |name: &str| folder.path().join(format!("{name}.so.{major}"));
        let library = Library::open(&file(runtime), flavor).unwrap();
        Self { library, parser: file(parser), _folder: folder }
    }
    /// All that a build of a model takes, with these flags and a profile of the smallest shapes.
    pub(super) fn ready(
        &self,
        model: &Path,
        flags: &[BuilderFlag],
    ) -> (Arc<Builder>, Parsed, Config) {
        let builder = Builder::new(self.library, None).unwrap();
        let parsed = parse(&builder, &self.parser, model, false).unwrap();
        let config = builder.config().unwrap();
        for flag in flags {
            config.set_flag(*flag).unwrap();
        }
        let profile = builder.profile().unwrap();
        for input in parsed.network().inputs() {
            let name = CString::new(input.name).unwrap();
            let extents: Vec<i64> = input.extents.iter().map(|&extent| extent.max(1)).collect();
            for which in OptProfileSelector::ALL {
                profile.set_shape(&name, *which, &Dims::new(&extents).unwrap()).unwrap();
            }
        }
        config.add_profile(&profile).unwrap();
        (builder, parsed, config)
    }
}
