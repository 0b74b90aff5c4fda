//! What is the library's own, beside what every backend must do. Skipped where it is missing.

use super::{OnnxRuntimeBackend, library};

/// Whether the library is here; says so where it is not.
fn available() -> bool {
    let here = library::is_here();
    if !here {
        eprintln!("SKIPPED: there is no ONNX Runtime here");
    }
    here
}

mod conformance {
    use super::*;
    use crate::backend::conformance::conformance_tests;

    conformance_tests!(OnnxRuntimeBackend, if available());
}
