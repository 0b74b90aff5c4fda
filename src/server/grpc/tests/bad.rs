use crate::kserve::*;

use super::*;

type Change = fn(&mut ModelInferRequest);

/// Requests that differ from a good one, and how they are refused.
const BAD: &[(&str, Change, Code, &str)] = &[
    ("model", |r| r.model_name = "tinny".into(), Code::NotFound, "unknown model `tinny`"),
    ("no model", |r| r.model_name.clear(), Code::NotFound, "unknown model ``"),
    ("version", |r| r.model_version = "9".into(), Code::NotFound, "no version 9 loaded"),
    ("version text", |r| r.model_version = "one".into(), Code::NotFound, "no version one"),
    ("input", |r| r.inputs[0].name = "z".into(), Code::InvalidArgument, "no input `z`"),
    (
        "no inputs",
        |r| {
            r.inputs.clear();
            r.raw_input_contents.clear();
        },
        Code::InvalidArgument,
        "needs a value for `x`",
    ),
    (
        "input twice",
        |r| r.inputs.push(r.inputs[0].clone()),
        Code::InvalidArgument,
        "`x` is there twice",
    ),
    ("output", |r| r.outputs.push(output("z")), Code::InvalidArgument, "no output `z`"),
    (
        "output twice",
        |r| r.outputs = vec![output("y"), output("y")],
        Code::InvalidArgument,
        "`y` is there twice",
    ),
    (
        "datatype",
        |r| r.inputs[0].datatype = "INT32".into(),
        Code::InvalidArgument,
        "INT32, the model takes FP32",
    ),
    (
        "no datatype",
        |r| r.inputs[0].datatype.clear(),
        Code::InvalidArgument,
        "the model takes FP32",
    ),
    (
        "BYTES",
        |r| r.inputs[0].datatype = "BYTES".into(),
        Code::InvalidArgument,
        "BYTES, the model takes FP32",
    ),
    ("rank", |r| r.inputs[0].shape = vec![4], Code::InvalidArgument, "input `x`"),
    ("shape", |r| r.inputs[0].shape = vec![1, 5], Code::InvalidArgument, "input `x`"),
    ("negative", |r| r.inputs[0].shape = vec![-1, 4], Code::InvalidArgument, "the extent -1"),
    ("huge", |r| r.inputs[0].shape = vec![i64::MAX, 4], Code::InvalidArgument, "input `x`"),
    ("overflow", |r| r.inputs[0].shape = vec![1 << 62, 4], Code::InvalidArgument, "input `x`"),
    ("empty batch", |r| r.inputs[0].shape = vec![0, 4], Code::InvalidArgument, "input `x`"),
    (
        "large batch",
        |r| {
            r.inputs[0].shape = vec![9, 4];
            r.raw_input_contents = vec![floats(&[0.; 36])];
        },
        Code::InvalidArgument,
        "",
    ),
    (
        "few bytes",
        |r| r.raw_input_contents = vec![floats(&[0.; 3])],
        Code::InvalidArgument,
        "input `x`",
    ),
    (
        "many bytes",
        |r| r.raw_input_contents = vec![floats(&[0.; 5])],
        Code::InvalidArgument,
        "input `x`",
    ),
    ("no elements", |r| r.raw_input_contents.clear(), Code::InvalidArgument, "it has no elements"),
    (
        "one raw more",
        |r| r.raw_input_contents.push(Bytes::new()),
        Code::InvalidArgument,
        "1 more entries",
    ),
    (
        "raw and typed",
        |r| {
            r.inputs[0].contents =
                Some(InferTensorContents { fp32_contents: vec![1.; 4], ..Default::default() });
        },
        Code::InvalidArgument,
        "leave one of them out",
    ),
    (
        "classification",
        |r| r.outputs = vec![with(output("y"), "classification", number(2))],
        Code::Unimplemented,
        "does not classify",
    ),
    (
        "sequence",
        |r| drop(r.parameters.insert("sequence_id".into(), number(1))),
        Code::Unimplemented,
        "sequence_",
    ),
    (
        "priority",
        |r| drop(r.parameters.insert("priority".into(), text("high"))),
        Code::InvalidArgument,
        "`priority` must be",
    ),
    (
        "timeout",
        |r| drop(r.parameters.insert("timeout".into(), number(-1))),
        Code::InvalidArgument,
        "`timeout` must be 0 or more",
    ),
    (
        "region",
        |r| {
            r.raw_input_contents.clear();
            r.inputs[0].parameters.insert("shared_memory_region".into(), text("r"));
        },
        Code::NotFound,
        "unable to find shared memory region `r`",
    ),
    (
        "output region",
        |r| r.outputs = vec![with(output("y"), "shared_memory_region", text("r"))],
        Code::NotFound,
        "unable to find",
    ),
];

fn with(
    mut output: InferRequestedOutputTensor,
    name: &str,
    value: InferParameter,
) -> InferRequestedOutputTensor {
    output.parameters.insert(name.to_owned(), value);
    output
}

#[tokio::test]
async fn bad_requests_are_refused_with_why() {
    let models = Models::new();
    for (what, change, code, why) in BAD {
        let mut request = request();
        change(&mut request);
        let (found, message) = refusal(&models, request).await;
        assert_eq!(found, *code, "{what}: {message}");
        assert!(message.contains(why), "{what}: {message}");
    }
    infer(&models, request()).await.unwrap();
}

#[tokio::test]
async fn typed_contents_of_the_wrong_number_or_kind_are_refused() {
    let models = Models::new();
    let contents = InferTensorContents::default;
    let bad = [
        InferTensorContents { fp32_contents: vec![1.; 3], ..contents() },
        InferTensorContents { fp32_contents: vec![1.; 5], ..contents() },
        InferTensorContents { fp64_contents: vec![1.; 4], ..contents() },
        InferTensorContents { bytes_contents: vec![b"1".to_vec(); 4], ..contents() },
        contents(),
    ];
    for contents in bad {
        let (code, message) = refusal(&models, typed(contents)).await;
        assert_eq!(code, Code::InvalidArgument);
        assert!(message.starts_with("input `x`"), "{message}");
    }
}

#[tokio::test]
async fn long_names_do_not_come_back_whole() {
    let models = Models::new();
    let long = "n".repeat(1 << 20);
    let changes: [fn(&mut ModelInferRequest, String); 4] = [
        |request, long| request.model_name = long,
        |request, long| request.model_version = long,
        |request, long| request.inputs[0].name = long,
        |request, long| request.inputs[0].datatype = long,
    ];
    for change in changes {
        let mut request = request();
        change(&mut request, long.clone());
        let (_, message) = refusal(&models, request).await;
        assert!(message.len() < 1024, "{} bytes", message.len());
    }
}

/// The status of a call whose body is these bytes.
async fn status_of(models: &Models, method: &str, body: &[u8]) -> Option<i32> {
    use hyper::service::Service;
    let request = axum::http::Request::post(format!("/inference.GRPCInferenceService/{method}"))
        .header("content-type", "application/grpc")
        .body(axum::body::Body::from(body.to_vec()))
        .unwrap();
    let routes = hyper_util::service::TowerToHyperService::new(super::super::routes(&models.app));
    let response = routes.call(request).await.unwrap();
    response.headers().get("grpc-status")?.to_str().ok()?.parse().ok()
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat()
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let models = Models::new();
    let internal = Some(Code::Internal as i32);
    for message in [&b"hello"[..], &[0xff; 32], &[10, 200], &[10, 2, 0xff, 0xfe]] {
        assert_eq!(status_of(&models, "ModelInfer", &framed(message)).await, internal);
    }
    let pieces: Vec<u8> = [5 << 3 | 2, 0].repeat(1 << 20);
    let invalid = Some(Code::InvalidArgument as i32);
    assert_eq!(status_of(&models, "ModelInfer", &framed(&pieces)).await, invalid);
    for cut in [&framed(&[10, 1, b'm'])[..6], &[0, 0, 0], &[7, 0, 0, 0, 0], &[1, 0, 0, 0, 0]] {
        let status = status_of(&models, "ModelInfer", cut).await;
        assert!(status.is_some_and(|status| status != 0), "{cut:?}");
    }
    let unimplemented = Some(Code::Unimplemented as i32);
    assert_eq!(status_of(&models, "Nothing", &[]).await, unimplemented);
}

#[tokio::test]
async fn messages_larger_than_bodies_may_be_are_refused_before_they_came() {
    let models = Models::new();
    let announced = [0, 0xff, 0xff, 0xff, 0xff];
    let out_of_range = Some(Code::OutOfRange as i32);
    assert_eq!(status_of(&models, "ModelInfer", &announced).await, out_of_range);
    let large = framed(&[&[10, 0x80, 0x80, 0x80, 1][..], vec![b'n'; 2 << 20].as_slice()].concat());
    let exhausted = Some(Code::ResourceExhausted as i32);
    assert_eq!(status_of(&models, "ModelReady", &large).await, exhausted);
}
