//! Model files of any content: no panic and no hang, and no pass breaks a model that was good.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use trt_pipeline::onnx::Model;
use trt_pipeline::onnx::passes::{self, Evaluator};
use trt_pipeline::tensor::Tensor;

/// Computes nothing: rewrites that need values find none.
struct Refuses;

impl Evaluator for Refuses {
    fn evaluate(&self, _model: &Model) -> Result<Vec<Tensor>, String> {
        Err("nothing is computed here".into())
    }
}

fuzz_target!(|bytes: &[u8]| {
    // No such folder: external data is not found, wherever a model says it is.
    let path = Path::new("no-such-folder/fuzzed.onnx");
    let mut model = match Model::parse(&bytes.to_vec().into(), path) {
        Ok(model) => model,
        Err(error) => return drop((error.to_string(), error.help())),
    };
    let _ = model.signature();
    let _ = model.summary();
    if let Err(error) = model.check() {
        return drop((error.to_string(), error.help()));
    }
    let signature = model.signature().ok();
    if passes::run(&mut model, &Refuses).is_ok() {
        model.check().expect("a good model is good after the passes");
        assert_eq!(model.signature().ok(), signature, "the passes keep inputs and outputs");
        let again = Model::parse(&model.encode().into(), path).expect("what is written is read");
        assert_eq!(again.graph, model.graph);
    }
});
