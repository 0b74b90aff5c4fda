//! Inference requests over gRPC of any content: no panic and no hang, little memory for few bytes,
//! and what is taken fits the model.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use trt_pipeline::server::grpc::decode;
use trt_pipeline::server::protocol::Signature;
use trt_pipeline::tensor::{DType, Dim, TensorSpec};

/// One input of every type, of shapes that are fixed, free and unknown.
static INPUTS: LazyLock<Vec<TensorSpec>> = LazyLock::new(|| {
    let rows = || Dim::Symbol("rows".into());
    let dims = [
        Some(vec![rows(), Dim::Fixed(2)]),
        Some(vec![]),
        Some(vec![Dim::Any, rows(), Dim::Fixed(0)]),
        None,
    ];
    let spec = |(dtype, dims): (DType, _)| TensorSpec { name: dtype.to_string(), dtype, dims };
    DType::ALL.into_iter().zip(dims.into_iter().cycle()).map(spec).collect()
});

fuzz_target!(|message: &[u8]| {
    // A model of one input is easily asked; one of all inputs seldom gets them all.
    for inputs in INPUTS.windows(1).chain([&INPUTS[..2], &INPUTS[..]]) {
        let signature = Signature { model: "m", inputs, outputs: &INPUTS };
        match decode(signature, message.to_vec().into()) {
            Ok(request) => {
                assert_eq!(request.inputs.len(), inputs.len());
                assert!(!request.outputs.is_empty());
                assert!(request.outputs.iter().all(|&output| output < INPUTS.len()));
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.len() < 4096, "a message nobody reads: {text}");
            }
        }
    }
});
