//! Specs of any content: no panic and no hang, and every error stands at a place in the text.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use trt_pipeline::plan::{GraphFormat, Plan};
use trt_pipeline::source::SourceFile;
use trt_pipeline::spec::{InvalidSpec, Overrides, PipelineSpec};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let source = Arc::new(SourceFile::new("fuzzed.yaml", text));
    // No such folder: what a spec names is not found, whatever it is.
    let path = Path::new("no-such-folder/fuzzed.yaml");
    match PipelineSpec::parse(path, source, &Overrides::default()).and_then(Plan::from_spec) {
        Ok(plan) => {
            for format in [GraphFormat::Text, GraphFormat::Dot, GraphFormat::Mermaid] {
                assert!(!plan.render(format).is_empty());
            }
        }
        Err(invalid) => each_error_has_a_place(&invalid, text),
    }
});

fn each_error_has_a_place(invalid: &InvalidSpec, text: &str) {
    assert!(!invalid.errors.is_empty());
    for error in &invalid.errors {
        let also = error.also.iter().map(|(span, _)| span);
        for span in also.chain([&error.span]) {
            let (start, len) = (span.start as usize, span.len as usize);
            assert!(text.get(start..start + len).is_some(), "{error:?} is not in the text");
            invalid.file.line_column(start);
        }
    }
}
