//! Addresses, bodies and framing; whole servers are asked in `tests/it`.

use bytes::Bytes;
use hyper::Response;

use super::answer::{Output, Reply};
use super::{Address, EndpointError, Status, body, grpc};
use crate::tensor::{DType, Dim, Shape, Tensor, TensorSpec};

fn address(text: &str) -> Result<Address, EndpointError> {
    text.parse()
}

#[test]
fn an_address_names_host_port_model_and_version_in_every_form() {
    for (text, told) in [
        ("http://127.0.0.1:8000/m", "http://127.0.0.1:8000/m"),
        ("http://127.0.0.1:8000/v2/models/m", "http://127.0.0.1:8000/m"),
        ("http://h:1/v2/models/m/versions/3/infer", "http://h:1/m/versions/3"),
        ("grpcs://[::1]:8001", "grpcs://[::1]:8001"),
        ("https://h:443/v2/", "https://h:443"),
    ] {
        assert_eq!(address(text).unwrap().to_string(), told);
    }
    assert_eq!(address("https://[::1]:1/m").unwrap().name(), "::1");
}

#[test]
fn what_is_no_address_says_why() {
    let refused = [
        "ftp://h:1/m",
        "http://h/m",
        "http://:8000/m",
        "http://user@h:1/m",
        "http://h:99999/m",
        "http://h:1/a/b",
        "http://h:1/m?x=1",
        "http://",
    ];
    let seen: Vec<String> =
        refused.iter().map(|text| address(text).unwrap_err().to_string()).collect();
    insta::assert_snapshot!(seen.join("\n"), @r"
    `ftp://h:1/m` is no address of a model: it starts with none of http, https, grpc and grpcs
    `http://h/m` is no address of a model: it names no port
    `http://:8000/m` is no address of a model: it names no host
    `http://user@h:1/m` is no address of a model: names and passwords are not asked for; there is `--token-file`
    `http://h:99999/m` is no address of a model: it names no port
    `http://h:1/a/b` is no address of a model: after the port there is more than a model's name
    `http://h:1/m?x=1` is no address of a model: it has a `?`
    `http://` is no address of a model: it is no URL
    ");
}

fn specs() -> Vec<TensorSpec> {
    let spec =
        |name: &str, dtype| TensorSpec { name: name.into(), dtype, dims: Some(vec![Dim::Any]) };
    vec![spec("x", DType::Float32), spec("a \"b\"}", DType::Bool)]
}

fn tensors() -> Vec<Tensor> {
    vec![
        Tensor::from_f32(vec![2].into(), &[0.1, -2.5e10]).unwrap(),
        Tensor::from_bytes(DType::Bool, vec![1, 1].into(), &[1]).unwrap(),
    ]
}

#[test]
fn a_request_in_json_and_one_with_bytes_say_the_same() {
    let json = body::json(&specs(), &tensors());
    let value: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(
        value,
        serde_json::json!({ "inputs": [
            { "name": "x", "shape": [2], "datatype": "FP32", "data": [0.1, -2.5e10] },
            { "name": "a \"b\"}", "shape": [1, 1], "datatype": "BOOL", "data": [true] },
        ]})
    );
    let binary = body::binary(&specs(), &tensors());
    let length = binary.header_length.unwrap();
    let head: serde_json::Value = serde_json::from_slice(&binary.body[..length]).unwrap();
    assert_eq!(head["inputs"][1]["parameters"]["binary_data_size"], 1);
    let tail: Vec<u8> = tensors().iter().flat_map(|t| t.bytes().to_vec()).collect();
    assert_eq!(binary.body[length..], tail);
}

fn answered(header_length: Option<usize>, body: &[u8]) -> Reply {
    let mut response = Response::new(());
    if let Some(length) = header_length {
        response.headers_mut().insert("Inference-Header-Content-Length", length.into());
    }
    Reply::http(&response.into_parts().0, Bytes::copy_from_slice(body))
}

#[test]
fn numbers_and_bytes_of_an_answer_are_the_same_outputs() {
    let json = br#"{"model_name": "m", "model_version": "7", "outputs": [
        {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [[0.1, 3]]},
        {"name": "n", "datatype": "INT16", "shape": [1], "data": [-2]}]}"#;
    let (version, outputs) = answered(None, json).outputs().unwrap();
    let head = br#"{"model_version": "7", "outputs": [
        {"name": "y", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
        {"name": "n", "datatype": "INT16", "shape": [1], "parameters": {"binary_data_size": 2}}]}"#;
    let tail = [&0.1_f32.to_le_bytes()[..], &3_f32.to_le_bytes(), &(-2_i16).to_le_bytes()].concat();
    let binary = answered(Some(head.len()), &[&head[..], &tail].concat());
    assert_eq!(binary.outputs().unwrap(), (version, outputs.clone()));
    assert_eq!(outputs[0].bytes[..], tail[..8]);
    assert_eq!((&outputs[1].shape, outputs[1].dtype), (&Shape(vec![1]), DType::Int16));
}

#[test]
fn an_answer_that_lies_is_unreadable() {
    let output = |rest: &str| {
        let text = format!(r#"{{"outputs": [{{"name": "y", "shape": [2], {rest}}}]}}"#);
        answered(None, text.as_bytes()).outputs().unwrap_err().to_string()
    };
    let seen = [
        output(r#""datatype": "FP32", "data": [1]"#),
        output(r#""datatype": "FP32", "data": ["a", 1]"#),
        output(r#""datatype": "BYTES", "data": [1, 2]"#),
        output(r#""datatype": "FP32""#),
        output(r#""datatype": "FP32", "parameters": {"binary_data_size": 8}"#),
        answered(Some(99), b"{}").outputs().unwrap_err().to_string(),
        answered(Some(14), br#"{"outputs":[]}xyz"#).outputs().unwrap_err().to_string(),
        answered(None, b"<html>").outputs().unwrap_err().to_string(),
    ];
    insta::assert_snapshot!(seen.join("\n"), @r"
    output `y` has 4 bytes for a float32 [2]
    the data of output `y` is not of datatype `FP32`
    the data of output `y` is not of datatype `BYTES`
    output `y` has not exactly one value
    output `y`: 0 bytes of 8 are left
    it says 99 bytes of JSON and has 2
    3 bytes follow its outputs
    its JSON is not that of an answer: expected value at line 1 column 1
    ");
}

#[test]
fn grpc_messages_are_unpacked_and_its_words_decoded() {
    let whole = Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]);
    assert_eq!(grpc::unframed(&whole).unwrap()[..], [8, 1]);
    for bad in [&[0, 0, 0][..], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 3, 8, 1], &[0, 255, 255, 255, 255]]
    {
        assert!(grpc::unframed(&Bytes::copy_from_slice(bad)).is_err(), "{bad:?}");
    }
    assert_eq!(grpc::decoded("a%20b%C3%A9%zz%"), "a b\u{e9}%zz%");
}

#[test]
fn refusals_are_those_that_say_come_again() {
    let refusals = [Status::Http(429), Status::Http(503), Status::Grpc(8), Status::Grpc(14)];
    assert!(refusals.into_iter().all(Status::is_refusal));
    let others = [Status::Answered, Status::Http(500), Status::Http(400), Status::Grpc(3)];
    assert!(!others.into_iter().any(Status::is_refusal));
    assert_eq!(Status::Grpc(8).to_string(), "gRPC RESOURCE_EXHAUSTED");
}

#[test]
fn an_output_has_as_many_bytes_as_its_shape_needs() {
    let output = |extents: &[usize], bytes: &'static [u8]| {
        Output::new("y".into(), "UINT8", Some(extents.to_vec()), Bytes::from_static(bytes))
    };
    assert!(output(&[2, 1], b"ab").is_ok());
    assert!(output(&[3], b"ab").is_err());
    assert!(output(&[usize::MAX, 2], b"ab").is_err());
}
