//! The `trt-pipeline` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    without_telemetry();
    trt_pipeline::cli::main()
}

/// ONNX Runtime reports to its makers, and writes to the home folder, unless this variable says no
/// when it is loaded: the call that turns it off comes too late. Whoever sets it decides.
#[expect(unsafe_code, reason = "libraries read the environment, and there is no other way")]
fn without_telemetry() {
    const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: the process has no other thread yet that could read the environment.
        unsafe { std::env::set_var(VARIABLE, "1") };
    }
}
