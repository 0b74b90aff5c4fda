//! Inference requests over gRPC of any content: no panic and no hang, little memory for few bytes,
//! and what is taken fits the model.
#![no_main]

mod inputs;

use inputs::INPUTS;
use libfuzzer_sys::fuzz_target;
use trt_pipeline::server::grpc::decode;
use trt_pipeline::server::protocol::Signature;

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
