//! What is answered, and how it looks.

use std::io::Write;

use serde_json::json;

use crate::runtime::fake::spec;
use crate::server::http::decode;
use crate::server::protocol::{Signature, datatype};
use crate::tensor::DType;

use super::*;

const ONE: &str = r#"{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}"#;

#[test]
fn the_server_and_its_models_say_what_they_are() {
    let server = Server::new();
    assert_eq!(server.get("/v2/health/live").json(), json!({"live": true}));
    assert_eq!(server.get("/v2/health/ready").json(), json!({"ready": true}));
    let metadata = server.get("/v2").json();
    assert_eq!(metadata["name"], "trt-pipeline");
    assert_eq!(metadata["version"], env!("CARGO_PKG_VERSION"));
    assert!(metadata["extensions"].as_array().unwrap().contains(&json!("binary_tensor_data")));
    let metadata = json!({
        "name": "tiny", "versions": ["1"], "platform": "fake",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
    });
    assert_eq!(server.get("/v2/models/tiny").json(), metadata);
    assert_eq!(server.get("/v2/models/tiny/versions/1").json(), metadata);
    let ready = json!({"name": "tiny", "ready": true});
    assert_eq!(server.get("/v2/models/tiny/ready").json(), ready);
    assert_eq!(server.get("/v2/models/tiny/versions/1/ready").json(), ready);
}

#[test]
fn the_configuration_is_told_in_the_words_of_other_servers() {
    let server = Server::new();
    let config = server.get("/v2/models/tiny/config").json();
    assert_eq!(config["max_batch_size"], 8);
    assert_eq!(config["backend"], "fake");
    let input = json!([{"name": "x", "data_type": "TYPE_FP32", "dims": [4]}]);
    assert_eq!(config["input"], input);
    assert_eq!(config["dynamic_batching"]["preferred_batch_size"], json!([4, 8]));
    let group = json!([{"name": "tiny_0", "kind": "KIND_AUTO", "count": 1, "gpus": []}]);
    assert_eq!(config["instance_group"], group);
    let config = server.get("/v2/models/plain/versions/1/config").json();
    assert_eq!(config["max_batch_size"], 0);
    assert_eq!(config["input"][0]["dims"], json!([-1, 4]));
    assert!(config.get("dynamic_batching").is_none());
}

#[test]
fn numbers_in_json_come_back_in_json() {
    let server = Server::new();
    let answer = server.infer(ONE);
    assert_eq!(answer.headers["content-type"], "application/json");
    let expected = concat!(
        r#"{"model_name":"tiny","model_version":"1","outputs":["#,
        r#"{"name":"y","datatype":"FP32","shape":[1,4],"data":[2.0,4.0,6.0,8.0]}]}"#
    );
    assert_eq!(answer.body, expected);
    let answer = server.post("/v2/models/tiny/versions/1/infer", &[], ONE);
    assert_eq!(answer.body, expected);
}

#[test]
fn fields_may_stand_in_any_order_and_numbers_in_any_nesting() {
    let server = Server::new();
    for body in [
        r#"{"inputs":[{"data":[1,2,3,4],"datatype":"FP32","shape":[1,4],"name":"x"}]}"#,
        r#"{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[[1,2,3,4]]}]}"#,
        r#"{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[[[1],[2.0]],[30e-1,4]]}]}"#,
        "\n {\"inputs\" : [ {\"name\":\"\\u0078\",\"shape\":[ 1 , 4 ],\"datatype\":\"FP32\",\
         \"data\":[ 1 ,\t2,3 , 4\r\n]} ] } ",
        r#"{"id":null,"outputs":null,"parameters":null,"more":[{}],"inputs":[{"name":"x","extra":1,
            "shape":[1,4],"datatype":"FP32","data":[1,2,3,4],"parameters":{"mine":{"a":1}}}]}"#,
        r#"{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}],"outputs":[],
            "parameters":{"priority":1,"timeout":60000000,"sequence_id":0,"sequence_start":false,
            "own":"text"}}"#,
    ] {
        let answer = server.infer(body);
        assert_eq!(answer.status, 200, "{body}: {answer:?}");
        assert_eq!(answer.json()["outputs"][0]["data"], json!([2.0, 4.0, 6.0, 8.0]));
    }
    let deep = format!("{}1,2,3,4{}", "[".repeat(10_000), "]".repeat(10_000));
    let answer = server.infer(ONE.replace("[1,2,3,4]", &deep));
    assert_eq!(answer.json()["outputs"][0]["data"], json!([2.0, 4.0, 6.0, 8.0]));
}

#[test]
fn the_id_comes_back_whatever_it_holds() {
    let server = Server::new();
    for id in ["seven", "a\"b\\c\n\u{1}", "é漢😀"] {
        let mut request: Value = serde_json::from_str(ONE).unwrap();
        request["id"] = json!(id);
        assert_eq!(server.infer(request.to_string()).json()["id"], id);
    }
    let answer = server.infer(ONE.replace("{\"inputs\"", "{\"id\":\"\",\"inputs\"")).json();
    assert!(answer.get("id").is_none());
}

#[test]
fn bytes_behind_the_json_are_tensors_and_tensors_are_bytes_behind_the_json() {
    let server = Server::new();
    let json = r#"{"inputs":[{"name":"x","shape":[2,4],"datatype":"FP32",
        "parameters":{"binary_data_size":32}}],"parameters":{"binary_data_output":true}}"#;
    let tail = floats(&[1., 2., 3., 4., 5., 6., 7., 8.]);
    let answer = server.infer_binary(json, &tail);
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    let length = &answer.headers["inference-header-content-length"];
    let length: usize = length.to_str().unwrap().parse().unwrap();
    let head: Value = serde_json::from_slice(&answer.body[..length]).unwrap();
    assert_eq!(head["outputs"][0]["parameters"], json!({"binary_data_size": 32}));
    assert_eq!(answer.body[length..], floats(&[2., 4., 6., 8., 10., 12., 14., 16.]));

    let json = json.replace("\"parameters\":{\"binary_data_output\":true}", "\"outputs\":[]");
    let answer = server.infer_binary(&json, &tail);
    assert_eq!(answer.json()["outputs"][0]["shape"], json!([2, 4]));
}

#[test]
fn each_output_says_for_itself_how_it_comes() {
    let server = Server::new();
    let ask = |outputs: &str| {
        let inputs = &ONE[..ONE.len() - 1];
        server.infer(format!("{inputs},{outputs}}}"))
    };
    for (outputs, binary) in [
        (r#""outputs":[{"name":"y"}]"#, false),
        (r#""outputs":[{"name":"y","parameters":{"binary_data":true}}]"#, true),
        (r#""parameters":{"binary_data_output":true}"#, true),
        (r#""outputs":[{"name":"y"}],"parameters":{"binary_data_output":true}"#, true),
        (
            r#""parameters":{"binary_data_output":true},
               "outputs":[{"name":"y","parameters":{"binary_data":false}}]"#,
            false,
        ),
        (r#""outputs":[{"name":"y","parameters":{"classification":0}}]"#, false),
    ] {
        let answer = ask(outputs);
        assert_eq!(answer.status, 200, "{answer:?}");
        let is_binary = answer.headers.contains_key("inference-header-content-length");
        assert_eq!(is_binary, binary, "{outputs}");
    }
}

#[test]
fn a_body_without_json_is_the_only_input_of_the_only_shape() {
    let server = Server::new();
    let answer = server.infer_with_length("0", "", &floats(&[1., 2., 3., 4.]));
    let length = &answer.headers["inference-header-content-length"];
    let length: usize = length.to_str().unwrap().parse().unwrap();
    assert_eq!(answer.body[length..], floats(&[2., 4., 6., 8.]));
}

#[test]
fn every_type_passes_in_json_or_behind_it_at_its_ends() {
    let server = Server::new();
    let ends = |dtype| match dtype {
        DType::Float64 => json!([-1.797_693_134_862_315_7e308, 5e-324]),
        DType::Float32 => json!([-3.402_823_466_385_288_6e38, 1.401_298_464_324_817e-45]),
        DType::Int64 => json!([i64::MIN, i64::MAX]),
        DType::Int32 => json!([i32::MIN, i32::MAX]),
        DType::Int16 => json!([i16::MIN, i16::MAX]),
        DType::Int8 => json!([i8::MIN, i8::MAX]),
        DType::UInt64 => json!([0, u64::MAX]),
        DType::UInt32 => json!([0, u32::MAX]),
        DType::UInt16 => json!([0, u16::MAX]),
        DType::UInt8 => json!([0, u8::MAX]),
        DType::Bool => json!([true, false]),
        _ => Value::Null,
    };
    let (mut inputs, mut outputs, mut tail) = (Vec::new(), Vec::new(), Vec::new());
    for dtype in DType::ALL {
        let mut input = json!({"name": dtype, "shape": [1, 2], "datatype": datatype(dtype)});
        let output = format!("{dtype}_out");
        if ends(dtype).is_null() {
            input["parameters"] = json!({"binary_data_size": 2 * dtype.size()});
            tail.extend((1..).take(2 * dtype.size()));
            outputs.push(json!({"name": output, "parameters": {"binary_data": true}}));
        } else {
            input["data"] = ends(dtype);
            outputs.push(json!({"name": output}));
        }
        inputs.push(input);
    }
    // Neither inputs nor outputs need the model's order.
    outputs.reverse();
    let json = json!({"inputs": inputs, "outputs": outputs}).to_string();
    let headers = [("inference-header-content-length", &*json.len().to_string())];
    let answer = server.post(
        "/v2/models/numbers/infer",
        &headers,
        [json.as_bytes(), tail.as_slice()].concat(),
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    let length = &answer.headers["inference-header-content-length"];
    let length: usize = length.to_str().unwrap().parse().unwrap();
    let head: Value = serde_json::from_slice(&answer.body[..length]).unwrap();
    let outputs = head["outputs"].as_array().unwrap();
    for (output, dtype) in outputs.iter().zip(DType::ALL.into_iter().rev()) {
        assert_eq!(output["name"], format!("{dtype}_out"));
        assert_eq!(output["datatype"], datatype(dtype));
        if dtype == DType::Float32 {
            let back: Vec<f32> = serde_json::from_value(output["data"].clone()).unwrap();
            assert_eq!(back, [f32::MIN, f32::from_bits(1)]);
        } else {
            assert_eq!(output["data"], ends(dtype), "{dtype}");
        }
    }
    assert_eq!(answer.body.len() - length, tail.len());
}

#[test]
fn decimal_numbers_are_rounded_to_the_type_once() {
    let server = Server::new();
    // Rounded to float64 first, the first would be half way and then go to the even neighbour.
    let data = "[16777217.0000000001, 0.1, -0.0, 1e-50]";
    let answer = server.infer(ONE.replace("[1,2,3,4]", data));
    assert_eq!(answer.json()["outputs"][0]["data"], json!([33_554_436.0, 0.2, -0.0, 0.0]));
}

#[test]
fn compressed_requests_are_understood() {
    let server = Server::new();
    let level = flate2::Compression::default();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
    gzip.write_all(ONE.as_bytes()).unwrap();
    let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), level);
    deflate.write_all(ONE.as_bytes()).unwrap();
    for (encoding, body) in [
        ("gzip", gzip.finish().unwrap()),
        ("deflate", deflate.finish().unwrap()),
        ("identity", ONE.into()),
    ] {
        let headers = [("content-encoding", encoding)];
        let answer = server.post("/v2/models/tiny/infer", &headers, body);
        assert_eq!(answer.json()["outputs"][0]["data"], json!([2.0, 4.0, 6.0, 8.0]));
    }
}

#[test]
fn binary_tensors_are_slices_of_the_body_and_of_the_answer() {
    let specs = [spec("x", &["batch", "4"]), spec("y", &["batch", "4"])];
    let signature = Signature { model: "tiny", inputs: &specs[..1], outputs: &specs[1..] };
    let json = r#"{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32",
        "parameters":{"binary_data_size":16}}],"parameters":{"binary_data_output":true}}"#;
    let body = Bytes::from([json.as_bytes(), &floats(&[1., 2., 3., 4.])].concat());
    let (request, reply) = decode(signature, &body, Some(json.len())).unwrap();
    assert_eq!(request.inputs[0].bytes.as_ptr(), body[json.len()..].as_ptr());

    let output = crate::runtime::OutputTensor {
        index: 0,
        shape: request.inputs[0].shape.clone(),
        bytes: request.inputs[0].bytes.clone(),
    };
    let response = crate::runtime::InferResponse {
        outputs: vec![output],
        times: crate::runtime::PhaseTimes::default(),
        batch: 1,
    };
    let answer = crate::server::http::encode::encode(signature, 1, &reply, response).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut frames = Vec::new();
    let mut body_of_it = answer.into_body();
    while let Some(frame) = runtime.block_on(body_of_it.frame()) {
        frames.push(frame.unwrap().into_data().unwrap());
    }
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[1].as_ptr(), body[json.len()..].as_ptr());
}

#[test]
fn statistics_count_requests_of_all_outcomes() {
    let server = Server::new();
    for _ in 0..3 {
        assert_eq!(server.infer(ONE).status, 200);
    }
    assert_eq!(server.infer("{}").status, 400);
    let statistics = server.get("/v2/models/tiny/stats").json();
    let model = &statistics["model_stats"][0];
    assert_eq!((&model["name"], &model["version"]), (&json!("tiny"), &json!("1")));
    assert_eq!(model["inference_stats"]["fail"]["count"], 1);
    assert_eq!(server.get("/v2/models/tiny/versions/1/stats").status, 200);
}
