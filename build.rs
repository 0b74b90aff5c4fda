//! Generates the Rust types of `schemas/onnx.proto`, without `protoc` and without downloads.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=schemas/onnx.proto");
    let descriptors = protox::compile(["schemas/onnx.proto"], ["schemas"])?;
    prost_build::Config::new()
        .bytes([".onnx.TensorProto.raw_data"])
        .btree_map(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
