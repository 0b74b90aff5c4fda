//! Generates the Rust types of `schemas/onnx.proto` and `schemas/kserve_v2.proto`, without `protoc`
//! and without downloads, and says how the program is linked. With feature `buildtime-bindgen` it makes the TensorRT bindings
//! from the headers in `ffi/`; `UPDATE_BINDINGS=1` then replaces the committed ones.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=schemas/onnx.proto");
    let descriptors = protox::compile(["schemas/onnx.proto"], ["schemas"])?;
    prost_build::Config::new()
        .bytes([".onnx.TensorProto.raw_data"])
        .btree_map(["."])
        .compile_fds(descriptors)?;
    kserve_service()?;
    #[cfg(feature = "buildtime-bindgen")]
    tensorrt_bindings()?;
    // A position-independent program has 67 000 pointers to relocate before `main`, 0.8 ms of every
    // start; libraries, stack and heap are placed at random all the same.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
    Ok(())
}

/// Messages and client of `schemas/kserve_v2.proto`, its description, which the server hands out on
/// request, and the service with the server's own way to read messages. Tensors stay parts of the
/// message they came in.
fn kserve_service() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=schemas/kserve_v2.proto");
    let mut compiler = protox::Compiler::new(["schemas"])?;
    compiler.include_source_info(true).open_file("kserve_v2.proto")?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("kserve_v2.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .build_server(false)
        .bytes(".inference.ModelInferRequest.raw_input_contents")
        .bytes(".inference.ModelInferResponse.raw_output_contents")
        .btree_map(".")
        .compile_fds(compiler.file_descriptor_set())?;
    let service = out.join("service");
    std::fs::create_dir_all(&service)?;
    tonic_prost_build::configure()
        .build_client(false)
        .out_dir(service)
        .extern_path(".inference", "crate::kserve")
        .codec_path("crate::server::grpc::codec::Codec")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// One Rust file per header of `ffi/`.
#[cfg(feature = "buildtime-bindgen")]
fn tensorrt_bindings() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=ffi");
    println!("cargo::rerun-if-env-changed=UPDATE_BINDINGS");
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    for generation in ["v8_6", "v10", "v11", "rtx1_4", "rtx1"] {
        let text = bindgen::Builder::default()
            .header(format!("ffi/trt_{generation}.h"))
            .rust_edition(bindgen::RustEdition::Edition2024)
            .prepend_enum_name(false)
            .use_core()
            .generate_comments(false)
            .layout_tests(false)
            .disable_header_comment()
            .formatter(bindgen::Formatter::Prettyplease)
            .generate()?
            .to_string();
        std::fs::write(out.join(format!("trt_{generation}.rs")), &text)?;
        if std::env::var_os("UPDATE_BINDINGS").is_some() {
            let committed = format!("src/backend/tensorrt/sys/bindings/{generation}.rs");
            std::fs::write(committed, &text)?;
        }
    }
    Ok(())
}
