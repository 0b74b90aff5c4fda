//! The stand-in for TensorRT, driven by a C program that knows only the function tables: what the
//! other tests take for granted of it.

use std::path::Path;
use std::process::Output;

use crate::standin::tensorrt::TensorRt;
use crate::support::fixture;

/// One version of every generation, and those inside a generation that differ.
fn versions() -> Vec<TensorRt> {
    let standard =
        ["8.6.0.12", "8.6.1.6", "10.0.0.6", "10.8.0.43", "10.16.0.1", "11.0.0.1", "11.4.0.1"];
    let rtx = ["1.3.0.1", "1.4.0.76", "1.5.0.1", "1.7.1.116"];
    standard.map(TensorRt::standard).into_iter().chain(rtx.map(TensorRt::rtx)).collect()
}

/// Runs the C program on the digits.
fn smoke(tensorrt: &TensorRt, mode: &str) -> Output {
    let gpu_of_rtx = "8.9";
    tensorrt
        .smoke(&model("digits_fp32"), mode)
        .env("STANDIN_TENSORRT_GPU", gpu_of_rtx)
        .output()
        .unwrap()
}

fn model(name: &str) -> std::path::PathBuf {
    fixture(&format!("tensorrt/{name}.onnx"))
}

fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn assert_says(output: &Output, expected: &[&str]) {
    let said = said(output);
    for text in expected {
        assert!(said.contains(text), "`{text}` is not in:\n{}\n{said}", output.status);
    }
}

#[test]
fn every_version_builds_an_engine_and_runs_it() {
    for tensorrt in versions() {
        let output = smoke(&tensorrt, "");
        assert_says(
            &output,
            &[
                "network: 1 inputs, 1 outputs, 12 layers",
                "input image: type 0, -1x1x8x8",
                "built: yes",
                "output logits: type 0, 4x10",
                // Byte n of the input is 7 n; the output is the input again.
                "enqueued: yes; the last output begins 0 7 14 21, of 160 bytes at most",
                "used: errors 0, references 0, allocations 0",
            ],
        );
        assert!(output.status.success(), "{}", said(&output));
        tensorrt.assert_nothing_left();
        let made = tensorrt.objects();
        assert!(
            made.iter().any(|library| library.made.get("IExecutionContext") == Some(&1)),
            "{made:?}"
        );
    }
}
