//! Bodies of inference requests over HTTP of any content: no panic, no hang, and what is taken
//! fits the model. The first line of an input is the length of the JSON, or empty where nothing
//! follows it; the rest is the body.
#![no_main]

mod inputs;

use inputs::INPUTS;
use libfuzzer_sys::fuzz_target;
use trt_pipeline::server::http::decode;
use trt_pipeline::server::protocol::Signature;

fuzz_target!(|input: &[u8]| {
    let mut lines = input.splitn(2, |&byte| byte == b'\n');
    let (Some(line), Some(body)) = (lines.next(), lines.next()) else { return };
    let header = str::from_utf8(line).ok().and_then(|line| line.parse().ok());
    let body = body.to_vec().into();
    // A model of one input takes bodies without JSON; one of all inputs seldom gets them all.
    for inputs in INPUTS.windows(1).chain([&INPUTS[..2], &INPUTS[..]]) {
        let signature = Signature { model: "m", inputs, outputs: &INPUTS };
        let (request, reply) = match decode(signature, &body, header) {
            Ok(read) => read,
            Err(error) => {
                let text = error.to_string();
                assert!(text.len() < 4096, "a message nobody reads: {text}");
                continue;
            }
        };
        drop(format!("{reply:?}"));
        assert_eq!(request.inputs.len(), inputs.len());
        assert!(!request.outputs.is_empty());
        assert!(request.outputs.iter().all(|&output| output < INPUTS.len()));
    }
});
