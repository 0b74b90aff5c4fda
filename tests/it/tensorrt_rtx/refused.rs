//! What cannot be built says why, with the node where there is one, and stores nothing.

use std::path::Path;

use crate::support::with_filters;

use super::{Build, Rtx, unwrapped};

/// Runs a build that must fail with these words, and store nothing.
fn fails(build: Build, status: i32, words: &[&str]) {
    let Some(rtx) = Rtx::building(&[build]) else { return };
    let ran = rtx.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, status, "{ran:#?}");
    let message = unwrapped(&ran.stderr);
    for word in words {
        assert!(message.contains(word), "no `{word}` in {message}");
    }
    assert_eq!(rtx.project.stored(), [""; 0]);
}

#[test]
fn every_node_that_the_parser_does_not_know_is_named() {
    let profile = "{ x: { min: [1, 3, 3], opt: [4, 3, 3], max: [8, 3, 3] }, bits: { min: [1, 3], \
                   opt: [4, 3], max: [8, 3] } }";
    let words = ["node `volume_of_cell` (Det)", "node `halve_bits` (BitShift)"];
    fails(Build::of("broken_graph").profile(profile), 1, &words);
    let profile = "{ x: { min: [1, 4], opt: [4, 4], max: [8, 4] } }";
    fails(Build::of("dynamic_output").profile(profile), 1, &["node `/found` (NonZero)"]);
}

#[test]
fn a_node_that_is_parsed_and_cannot_be_built_is_named() {
    let profile = "{ boxes: { min: [1, 1, 4], opt: [1, 4, 4], max: [1, 8, 4] }, scores: { min: [1, \
                   1, 1], opt: [1, 1, 4], max: [1, 1, 8] } }";
    let words = ["/selected_0 has no runners that implement it"];
    fails(Build::of("unbuildable").profile(profile), 1, &words);
}

#[test]
fn a_precision_that_a_gpu_lacks_is_refused_for_it() {
    let on = |model, capability: &str| {
        Build::of_digits(model).set(format!("compute_capabilities: [\"{capability}\"]"))
    };
    fails(on("digits_fp32", "7.5"), 1, &["(SM75)", "FP32 GEMM is not supported"]);
    fails(on("digits_bf16", "7.5"), 1, &["sm75", "b16"]);
    fails(on("digits_fp8_qdq", "8.6"), 1, &["sm86", "fp8_e4m3"]);
}

#[test]
fn a_gpu_that_tensorrt_rtx_does_not_know_is_a_spec_error() {
    let build = Build::of_digits("digits_fp16").set("compute_capabilities: [\"8.9\", \"9.0\"]");
    let Some(rtx) = Rtx::building(&[build]) else { return };
    let ran = rtx.trt(&["check", "p.yaml"]);
    assert_eq!(ran.status, 2, "{ran:#?}");
    with_filters(|| insta::assert_snapshot!("rtx_unknown_gpu", ran.seen()));
}

#[test]
fn a_shape_that_no_profile_describes_is_refused_with_what_to_write() {
    let profile = "{ x: { min: [1, 1], opt: [1, 4], max: [1, 8] } }";
    let words = ["the input `shape` holds a shape", "`shape: { min: .., opt: .., max: .. }`"];
    fails(Build::of("shape_tensor").profile(profile), 1, &words);
    fails(Build::of("digits_fp16"), 2, &["the shape [batch,1,8,8] of input `image` is open"]);
}

/// Runs the digits with a library of these bytes beside the parser, which must fail.
fn library_fails(rtx: &Rtx, folder: &Path, library: &[u8], words: &[&str]) -> i32 {
    std::fs::write(folder.join(rtx.runtime().file_name().unwrap()), library).unwrap();
    let ran = rtx.trt_with(folder, &["run", "p.yaml"]);
    let message = unwrapped(&ran.stderr);
    for word in words {
        assert!(message.contains(word), "no `{word}` in {message}");
    }
    assert_eq!(rtx.project.stored(), [""; 0], "{ran:#?}");
    ran.status
}

#[test]
fn a_damaged_library_fails_one_stage_and_never_the_program() {
    let Some(rtx) = Rtx::building(&[Build::of_digits("digits_fp16")]) else { return };
    let folder = rtx.folder_with("damaged", &rtx.parser());
    let whole = std::fs::read(rtx.runtime()).unwrap();
    let half = &whole[..whole.len() / 2];
    assert_eq!(library_fails(&rtx, &folder, half, &["is cut off", "install it again"]), 3);
    assert_eq!(library_fails(&rtx, &folder, b"not a library\n", &["is a text file"]), 3);
    // All its code is gone, so that whatever is called first ends the compiling process.
    let mut gone = whole;
    let code = code_of(&gone);
    gone[code].fill(0);
    assert_eq!(
        library_fails(&rtx, &folder, &gone, &["the compiling process was killed by signal"]),
        1
    );
}

/// Where the loader finds the code of a library: its executable segment.
fn code_of(library: &[u8]) -> std::ops::Range<usize> {
    const LOADED: usize = 1;
    const EXECUTABLE: usize = 1;
    let number = |at: usize, bytes: usize| {
        let digits = library[at..at + bytes].iter().rev();
        digits.fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let mut segments = (0..count).map(|at| table + at * size);
    let code = segments.find(|at| number(*at, 4) == LOADED && number(at + 4, 4) & EXECUTABLE != 0);
    let (start, length) = (number(code.unwrap() + 8, 8), number(code.unwrap() + 32, 8));
    start..start + length
}

#[test]
fn a_library_without_its_parser_is_refused_before_it_builds() {
    let Some(rtx) = Rtx::building(&[Build::of_digits("digits_fp16")]) else { return };
    let alone = rtx.folder_with("alone", &rtx.runtime());
    let ran = rtx.trt_with(&alone, &["run", "p.yaml"]);
    assert_eq!(ran.status, 3, "{ran:#?}");
    let message = unwrapped(&ran.stderr);
    assert!(message.contains("the ONNX parser `libtensorrt_onnxparser_rtx.so.1` is not beside"));
}
