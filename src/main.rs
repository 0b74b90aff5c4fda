//! The `trt-pipeline` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    trt_pipeline::cli::main()
}
