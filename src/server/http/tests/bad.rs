//! What is refused, and in which words.

use super::*;

const HEAD: &str = r#"{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","#;

/// The fields of the input `x`, in JSON.
fn x(fields: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"x",{fields}}}]}}"#)
}

fn data(text: &str) -> String {
    format!("{HEAD}\"data\":{text}}}]}}")
}

#[test]
fn requests_that_cannot_be_read_are_refused_with_the_place() {
    let server = Server::new();
    let good = data("[1,2,3,4]");
    let nested = "[".repeat(100_000);
    let objects = "{\"a\":".repeat(100_000);
    for (body, said) in [
        (String::new(), "EOF while parsing a value at line 1 column 0"),
        ("hello".into(), "expected value at line 1 column 1"),
        ("[]".into(), "invalid type: sequence, expected an inference request: an object"),
        ("null".into(), "invalid type: null, expected an inference request: an object"),
        ("1".into(), "invalid type: integer `1`, expected an inference request"),
        ("{}".into(), "it has no `inputs`"),
        (r#"{"inputs":null}"#.into(), "it has no `inputs`"),
        (r#"{"inputs":{}}"#.into(), "`inputs`: invalid type: map, expected a sequence"),
        (r#"{"inputs":[1]}"#.into(), "`inputs`: invalid type: integer `1`, expected an input"),
        (good[..good.len() - 1].into(), "EOF while parsing an object"),
        (format!("{good}{{"), "trailing characters at line 1 column 75"),
        (format!("\u{feff}{good}"), "expected value at line 1 column 1"),
        (format!("/**/{good}"), "expected value at line 1 column 1"),
        (good.replace('"', "'"), "key must be a string"),
        (good.replace("]}]}", "]}],}"), "trailing comma"),
        (good.replace("]}]}", "]}],\"inputs\":[]}"), "duplicate field `inputs`"),
        (good.replace("\"name\"", "\"name\":\"z\",\"name\""), "duplicate field `name`"),
        (good.replace("{\"inputs\"", "{\"id\":7,\"inputs\""), "`id`: invalid type: integer `7`"),
        (good.replace("{\"inputs\"", "{\"id\":\"\\ud800\",\"inputs\""), "`id`: "),
        (good.replace("{\"inputs\"", "{\"parameters\":[1],\"inputs\""), "an object of parameters"),
        (nested, "invalid type: sequence, expected an inference request"),
        (objects, "EOF while parsing"),
    ] {
        let answer = server.infer(body.clone());
        assert_eq!(answer.status, 400, "{body:.100}: {answer:?}");
        let error = answer.error();
        assert!(error.starts_with("the request cannot be read: "), "{error}");
        assert!(error.contains(said), "{body:.100}: {error}");
        assert!(error.len() < 400, "{error}");
    }
    let not_utf8 = good.replace("\"x\"", "\"?\"").replace('?', "\u{0}").into_bytes();
    let not_utf8: Vec<u8> = not_utf8.into_iter().map(|b| if b == 0 { 0xff } else { b }).collect();
    assert!(server.infer(not_utf8).error().contains("invalid unicode code point"));
}

#[test]
fn tensors_that_do_not_fit_the_model_are_refused_by_name() {
    let server = Server::new();
    let four = r#""datatype":"FP32","data":[1,2,3,4]"#;
    for (body, said) in [
        (data("[1,2,3,4]").replace("\"x\"", "\"xx\""), "has no input `xx`; did you mean `x`?"),
        (data("[1,2,3,4]").replace("\"x\"", "\"y\""), "has no input `y`; inputs: `x`"),
        (data("[1,2,3,4]").replace("\"name\":\"x\",", ""), "an input has no `name`"),
        (x(r#""shape":[1,4],"data":[1,2,3,4]"#), "input `x`: it has no `datatype`"),
        (x(four), "input `x`: it has no `shape`"),
        (x(r#""shape":[1,4],"datatype":"FP32""#), "input `x`: it has no `data`"),
        (r#"{"inputs":[]}"#.into(), "model `tiny` needs a value for `x`"),
        (
            data("[1,2,3,4]").replace(
                "]}]}",
                "]},{\"name\":\"x\",\"shape\":[1,4],\"datatype\":\"FP32\",\"data\":[1,2,3,4]}]}",
            ),
            "input `x` is there twice",
        ),
        (data("[1,2,3,4]").replace("FP32", "INT32"), "its datatype is INT32, the model takes FP32"),
        (data("[1,2,3,4]").replace("FP32", "BYTES"), "its datatype is BYTES, the model takes FP32"),
        (data("[1,2,3,4]").replace("FP32", "fp32"), "there is no datatype `fp32`"),
        (data("[1,2,3,4]").replace("FP32", ""), "there is no datatype ``"),
        (data("[1,2,3]"), "its `data` has 3 elements, its shape has 4"),
        (data("[1,2,3,4,5]"), "its `data` has more than 4 elements, its shape has 4"),
        (data("[]"), "its `data` has 0 elements, its shape has 4"),
        (data("1"), "its `data` is no array"),
        (data("\"abc\""), "its `data` is no array"),
        (data("{\"a\":[1,2,3,4]}"), "its `data` is no array"),
        (data("[1,2,3,\"4\"]"), "element 3 of its `data` is `\"4\"`, which is no FP32"),
        (data("[1,2,true,4]"), "element 2 of its `data` is `true`"),
        (data("[1,null,3,4]"), "element 1 of its `data` is `null`"),
        (data("[1,2,3,{}]"), "element 3 of its `data` is `{}`"),
        (data("[1e39,2,3,4]"), "element 0 of its `data` is `1e39`, which is no FP32"),
        (x(&format!("\"shape\":[4],{four}")), "its shape is [4], the model takes [batch,4]"),
        (x(&format!("\"shape\":[1,1,4],{four}")), "its shape is [1,1,4]"),
        (x(&format!("\"shape\":[4,1],{four}")), "its shape is [4,1]"),
        (x(r#""shape":[],"datatype":"FP32","data":[1]"#), "its shape is []"),
        (
            x(&format!("\"shape\":[4611686018427387904,4],{four}")),
            "its shape [4611686018427387904,4] has too many elements",
        ),
        (
            x(&format!("\"shape\":[4611686018427387905,4],{four}")),
            "its shape [4611686018427387905,4] has too many elements",
        ),
        (
            x(&format!("\"shape\":[1000000000000,4],{four}")),
            "its `data` has 4 elements, its shape has 4000000000000",
        ),
    ] {
        let answer = server.infer(body.clone());
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert!(answer.error().contains(said), "{body}: {}", answer.error());
    }
}

#[test]
fn shapes_and_tokens_that_are_none_are_refused_by_place() {
    let server = Server::new();
    for (extents, said) in [
        ("[-1,4]", "`shape`: invalid value: integer `-1`, expected usize"),
        ("[1.0,4]", "`shape`: invalid type: floating point `1.0`"),
        ("[1e30,4]", "`shape`: invalid type: floating point"),
        ("[1180591620717411303424,4]", "`shape`: invalid type: floating point"),
        ("[\"1\",4]", "`shape`: invalid type: string \"1\""),
        ("[[1,4]]", "`shape`: invalid type: sequence"),
        ("4", "`shape`: invalid type: integer `4`, expected a sequence"),
    ] {
        let answer = server.infer(data("[1,2,3,4]").replace("[1,4]", extents));
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.error().contains(said), "{extents}: {}", answer.error());
    }
    for token in ["NaN", "Infinity", "-Infinity", "1e", "01", "+1", ".5", "0x1", "1 2"] {
        let answer = server.infer(data(&format!("[{token},2,3,4]")));
        assert_eq!(answer.status, 400, "{token}: {answer:?}");
        assert!(answer.error().contains("`data`: "), "{}", answer.error());
    }
}

#[test]
fn numbers_outside_their_type_are_refused() {
    let server = Server::new();
    for (dtype, name, number) in [
        ("int8", "INT8", "128"),
        ("int8", "INT8", "-129"),
        ("uint8", "UINT8", "256"),
        ("uint8", "UINT8", "-1"),
        ("int16", "INT16", "40000"),
        ("int32", "INT32", "2147483648"),
        ("int32", "INT32", "1.5"),
        ("int32", "INT32", "1.0"),
        ("int32", "INT32", "1e0"),
        ("int32", "INT32", "true"),
        ("int64", "INT64", "9223372036854775808"),
        ("uint64", "UINT64", "18446744073709551616"),
        ("bool", "BOOL", "1"),
        ("bool", "BOOL", "\"true\""),
        ("float64", "FP64", "1e400"),
        ("float64", "FP64", "\"1\""),
    ] {
        let body = format!(
            r#"{{"inputs":[{{"name":"{dtype}","shape":[1,2],"datatype":"{name}","data":[{number},0]}}]}}"#
        );
        let answer = server.post("/v2/models/numbers/infer", &[], body);
        assert_eq!(answer.status, 400, "{answer:?}");
        let said = format!("element 0 of its `data` is `{number}`, which is no {name}");
        assert!(answer.error().contains(&said), "{}", answer.error());
    }
    for (dtype, name) in [("float16", "FP16"), ("bfloat16", "BF16")] {
        let body = format!(
            r#"{{"inputs":[{{"name":"{dtype}","shape":[1,2],"datatype":"{name}","data":[1,0]}}]}}"#
        );
        let answer = server.post("/v2/models/numbers/infer", &[], body);
        let said = format!("JSON has no {name}; send its bytes behind the JSON");
        assert!(answer.error().contains(&said), "{}", answer.error());
    }
}

#[test]
fn outputs_and_parameters_that_cannot_be_met_are_refused() {
    let server = Server::new();
    let with = |more: &str| {
        let body = data("[1,2,3,4]");
        server.infer(format!("{},{more}}}", &body[..body.len() - 1]))
    };
    for (more, status, said) in [
        (r#""outputs":[{"name":"z"}]"#, 400, "model `tiny` has no output `z`; outputs: `y`"),
        (r#""outputs":[{"name":"x"}]"#, 400, "model `tiny` has no output `x`"),
        (r#""outputs":[{"name":"y"},{"name":"y"}]"#, 400, "output `y` is there twice"),
        (r#""outputs":[{}]"#, 400, "an output has no `name`"),
        (r#""outputs":["y"]"#, 400, "expected an output"),
        (r#""outputs":{"name":"y"}"#, 400, "`outputs`: invalid type: map"),
        (
            r#""outputs":[{"name":"y","parameters":{"binary_data":1}}]"#,
            400,
            "`binary_data`: invalid type: integer `1`, expected a boolean",
        ),
        (
            r#""outputs":[{"name":"y","parameters":{"classification":2}}]"#,
            501,
            "this server does not classify",
        ),
        (r#""parameters":{"binary_data_output":"yes"}"#, 400, "`binary_data_output`: "),
        (r#""parameters":{"priority":-1}"#, 400, "`priority`: invalid value: integer `-1`"),
        (r#""parameters":{"priority":"high"}"#, 400, "`priority`: invalid type: string"),
        (r#""parameters":{"timeout":"1s"}"#, 400, "`timeout`: invalid type: string"),
        (r#""parameters":{"timeout":1,"timeout":2}"#, 400, "duplicate field `timeout`"),
        (r#""parameters":{"sequence_id":3}"#, 501, "no model here keeps state"),
        (r#""parameters":{"sequence_id":"s"}"#, 501, "no model here keeps state"),
        (r#""parameters":{"sequence_start":true}"#, 501, "no model here keeps state"),
        (
            r#""outputs":[{"name":"y","parameters":{"shared_memory_region":"r","shared_memory_byte_size":16}}]"#,
            404,
            "unable to find shared memory region `r`",
        ),
        (
            r#""outputs":[{"name":"y","parameters":{"shared_memory_region":"r","binary_data":true}}]"#,
            400,
            "not both",
        ),
    ] {
        let answer = with(more);
        assert_eq!(answer.status.as_u16(), status, "{more}: {answer:?}");
        assert!(answer.error().contains(said), "{more}: {}", answer.error());
    }
}

#[test]
fn bytes_that_do_not_add_up_are_refused() {
    let server = Server::new();
    let json = |size: &str| format!(r#"{HEAD}"parameters":{{"binary_data_size":{size}}}}}]}}"#);
    let tail = floats(&[1., 2., 3., 4.]);
    let long = [tail.as_slice(), &[0; 4]].concat();
    for (size, tail, said) in [
        ("16", &tail[..15], "its `binary_data_size` is 16, but only 15 bytes are left"),
        ("16", &[], "its `binary_data_size` is 16, but only 0 bytes are left"),
        ("16", &long, "4 bytes follow that no input has"),
        ("12", &tail[..12], "it has 12 bytes, a float32 [1,4] has 16"),
        ("20", &long, "it has 20 bytes, a float32 [1,4] has 16"),
        ("0", &[], "it has 0 bytes, a float32 [1,4] has 16"),
        ("9223372036854775807", &tail, "but only 16 bytes are left"),
        ("18446744073709551615", &tail, "but only 16 bytes are left"),
        ("18446744073709551616", &tail, "`binary_data_size`: invalid type: floating point"),
        ("-16", &tail, "`binary_data_size`: invalid value: integer `-16`"),
        ("\"16\"", &tail, "`binary_data_size`: invalid type: string"),
        ("16.0", &tail, "`binary_data_size`: invalid type: floating point"),
    ] {
        let answer = server.infer_binary(&json(size), tail);
        assert_eq!(answer.status, 400, "{size}: {answer:?}");
        assert!(answer.error().contains(said), "{size}: {}", answer.error());
    }
    let answer = server.infer_binary(&data("[1,2,3,4]"), &tail);
    assert!(answer.error().contains("16 bytes follow that no input has"), "{answer:?}");
    let both = json("16").replace("\"parameters\"", "\"data\":[1,2,3,4],\"parameters\"");
    assert!(server.infer_binary(&both, &tail).error().contains("only one of `data`"));
    let answer = server.infer(json("16"));
    assert!(answer.error().contains("Inference-Header-Content-Length"), "{answer:?}");
    let overflowing = json("16").replace("[1,4]", "[4611686018427387905,4]");
    assert_eq!(server.infer_binary(&overflowing, &tail).status, 400);
}

#[test]
fn a_length_that_lies_is_refused() {
    let server = Server::new();
    let json = format!(r#"{HEAD}"parameters":{{"binary_data_size":16}}}}]}}"#);
    let tail = floats(&[1., 2., 3., 4.]);
    let exact = json.len();
    for (length, said) in [
        ((exact - 1).to_string(), "EOF while parsing"),
        ((exact + 1).to_string(), "trailing characters"),
        ("100000".into(), "its JSON is to have 100000 bytes, the whole body has"),
        (usize::MAX.to_string(), "its JSON is to have 18446744073709551615 bytes"),
        ("18446744073709551616".into(), "it is the number of bytes of the JSON"),
        ("-1".into(), "is `-1`; it is the number of bytes"),
        (format!("+{exact}"), "it is the number of bytes"),
        (format!("{exact}abc"), "it is the number of bytes"),
        ("ten".into(), "is `ten`"),
        (String::new(), "is ``"),
        ("0".into(), "no shape follows from"),
    ] {
        let answer = server.infer_with_length(&length, &json, &tail);
        assert_eq!(answer.status, 400, "{length}: {answer:?}");
        assert!(answer.error().contains(said), "{length}: {}", answer.error());
    }
    let twice = [("inference-header-content-length", "1"); 2];
    let answer = server.post("/v2/models/tiny/infer", &twice, json);
    assert!(answer.error().contains("it is the number of bytes"), "{answer:?}");
    let zero = [("inference-header-content-length", "0")];
    let answer = server.post("/v2/models/numbers/infer", &zero, "");
    assert!(answer.error().contains("`numbers` has 15"), "{answer:?}");
}

#[test]
fn values_that_json_cannot_say_are_asked_for_in_bytes() {
    let server = Server::new();
    let json = format!(r#"{HEAD}"parameters":{{"binary_data_size":16}}}}]}}"#);
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let answer = server.infer_binary(&json, &floats(&[1., 2., value, 4.]));
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.error().contains("output `y`: element 2 is not finite"), "{answer:?}");
    }
}

#[test]
fn unknown_models_versions_paths_and_methods_are_named() {
    let server = Server::new();
    for rest in ["", "/ready", "/config", "/stats"] {
        let answer = server.get(&format!("/v2/models/tinny{rest}"));
        assert_eq!(answer.status, 404, "{answer:?}");
        assert!(answer.error().contains("unknown model `tinny`; did you mean `tiny`?"));
        for version in ["2", "0", "one", "-1", "99999999999999999999", "1.0"] {
            let answer = server.get(&format!("/v2/models/tiny/versions/{version}{rest}"));
            assert_eq!(answer.status, 404, "{version}: {answer:?}");
            assert!(answer.error().contains(&format!("has no version {version}")), "{answer:?}");
        }
    }
    let name = "m".repeat(50_000);
    let answer = server.post(&format!("/v2/models/{name}/infer"), &[], "{}");
    assert_eq!(answer.status, 404);
    assert!(answer.body.len() < 400);
    for path in ["/", "/v1", "/v2/", "/v2/models", "/v2/models/tiny/nothing", "/v2/health", "//v2"]
    {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        assert_eq!(answer.error(), format!("nothing is at `{path}`"));
    }
    let answer = server.get("/v2/models/tiny/infer");
    assert_eq!(answer.status, 405, "{answer:?}");
    assert_eq!(answer.headers["allow"], "POST");
    assert_eq!(answer.error(), "`/v2/models/tiny/infer` does not take GET");
    assert_eq!(server.post("/v2/models/tiny", &[], "").status, 405);
}

#[test]
fn compressed_bombs_and_broken_archives_are_refused() {
    use std::io::Write;
    let server = Server::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        gzip.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let bomb = gzip.finish().unwrap();
    let half = bomb[..bomb.len() / 2].to_vec();
    let ask = |encoding: &str, body: Vec<u8>| {
        server.post("/v2/models/tiny/infer", &[("content-encoding", encoding)], body)
    };
    assert_eq!(ask("gzip", bomb.clone()).status, 413);
    assert_eq!(ask("gzip", half[..100].to_vec()).status, 400);
    assert_eq!(ask("deflate", bomb).status, 400);
    assert_eq!(ask("gzip", data("[1,2,3,4]").into()).status, 400);
    let answer = ask("br", data("[1,2,3,4]").into());
    assert_eq!(answer.status, 501);
    assert!(answer.error().contains("known are gzip and deflate"), "{answer:?}");
}

#[test]
fn an_empty_batch_is_refused() {
    let server = Server::new();
    for model in ["tiny", "plain"] {
        let body = r#"{"inputs":[{"name":"x","shape":[0,4],"datatype":"FP32","data":[]}]}"#;
        let answer = server.post(&format!("/v2/models/{model}/infer"), &[], body);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.error().contains("`x`"), "{answer:?}");
    }
}
