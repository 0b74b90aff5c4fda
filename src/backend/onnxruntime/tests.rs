//! What is the library's own, beside what every backend must do. Skipped where it is missing.

use super::{OnnxRuntimeBackend, discover};

/// Whether the library is here; says so where it is not.
fn available() -> bool {
    match discover::find() {
        Ok(_) => true,
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            false
        }
    }
}

mod conformance {
    use super::*;
    use crate::backend::conformance::conformance_tests;

    conformance_tests!(OnnxRuntimeBackend, if available());
}
