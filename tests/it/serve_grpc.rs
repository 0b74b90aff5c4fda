//! KServe v2 over gRPC as it goes over the wire, in front of a real engine.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use trt_pipeline::kserve::grpc_inference_service_client::GrpcInferenceServiceClient;
use trt_pipeline::kserve::model_infer_request::InferInputTensor;
use trt_pipeline::kserve::{
    InferTensorContents, ModelInferRequest, ModelInferResponse, ServerReadyRequest,
};
use trt_pipeline::server::Limits;
use trt_pipeline::tensor::Tensor;

use crate::support::in_process::{InProcess, close, recorded};

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(60);

/// What every connection of HTTP/2 starts with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

type Client = GrpcInferenceServiceClient<Channel>;

struct Serving {
    server: InProcess,
    address: SocketAddr,
}

impl Serving {
    fn start(limits: Limits) -> Self {
        let server = InProcess::start(|config| {
            config.grpc = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
            config.limits = limits;
        });
        Self { address: server.addresses.grpc.unwrap(), server }
    }

    fn run<T>(&self, test: impl Future<Output = T>) -> T {
        let timed = async { tokio::time::timeout(DEADLINE, test).await };
        self.server.runtime.block_on(timed).expect("an end of the test")
    }

    async fn client(&self) -> Client {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        Client::new(endpoint.connect().await.unwrap())
    }

    /// Sends bytes on a connection of their own; what comes back until it is closed.
    fn send(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        // The server may have closed before it saw all.
        let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
        let mut answer = Vec::new();
        // A reset is an answer, too.
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    fn still_answers(&self) {
        let (x, y) = recorded(1);
        let answer = self.run(async { self.client().await.model_infer(raw(&x)).await });
        close(&floats(&answer.unwrap().into_inner()), y.as_slice().unwrap());
    }
}

fn input(x: &Tensor) -> InferInputTensor {
    InferInputTensor {
        name: "x".into(),
        datatype: "FP32".into(),
        shape: x.shape().0.iter().map(|&extent| extent.try_into().unwrap()).collect(),
        ..InferInputTensor::default()
    }
}

fn raw(x: &Tensor) -> ModelInferRequest {
    ModelInferRequest {
        model_name: "plain".into(),
        inputs: vec![input(x)],
        raw_input_contents: vec![Bytes::copy_from_slice(x.bytes())],
        ..ModelInferRequest::default()
    }
}

fn floats(answer: &ModelInferResponse) -> Vec<f32> {
    let (numbers, rest) = answer.raw_output_contents[0].as_chunks::<4>();
    assert_eq!(rest.len(), 0);
    numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn a_real_model_answers_what_another_engine_answered() {
    let server = Serving::start(Limits::default());
    let (x, y) = recorded(64);
    server.run(async {
        let mut client = server.client().await;
        let ready = client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner();
        assert!(ready.ready);
        let answer = client.model_infer(raw(&x)).await.unwrap().into_inner();
        assert_eq!(answer.outputs[0].shape, [64, 4]);
        close(&floats(&answer), y.as_slice().unwrap());

        let fp32_contents = x.as_slice().unwrap().to_vec();
        let contents = InferTensorContents { fp32_contents, ..InferTensorContents::default() };
        let typed = ModelInferRequest {
            inputs: vec![InferInputTensor { contents: Some(contents), ..input(&x) }],
            raw_input_contents: Vec::new(),
            ..raw(&x)
        };
        let answer = client.model_infer(typed).await.unwrap().into_inner();
        close(&floats(&answer), y.as_slice().unwrap());
    });
}

#[test]
fn calls_and_streams_of_one_connection_get_their_own_answers() {
    let server = Serving::start(Limits::default());
    let (x, y) = recorded(200);
    let (requests, answers): (Vec<_>, Vec<Vec<f32>>) = (0..200)
        .map(|row| {
            let answer = y.rows(row, row + 1).as_slice::<f32>().unwrap().to_vec();
            (raw(&x.rows(row, row + 1)), answer)
        })
        .unzip();
    server.run(async {
        let client = server.client().await;
        let calls: Vec<_> = requests
            .iter()
            .cloned()
            .map(|request| {
                let mut client = client.clone();
                tokio::spawn(async move { client.model_infer(request).await })
            })
            .collect();
        let mut client = client.clone();
        let stream = client.model_stream_infer(tokio_stream::iter(requests)).await;
        let mut stream = stream.unwrap().into_inner();
        for expected in &answers {
            let answer = stream.message().await.unwrap().unwrap();
            assert_eq!(answer.error_message, "");
            close(&floats(&answer.infer_response.unwrap()), expected);
        }
        assert_eq!(stream.message().await.unwrap(), None);
        for (call, expected) in calls.into_iter().zip(&answers) {
            close(&floats(&call.await.unwrap().unwrap().into_inner()), expected);
        }
    });
}

#[test]
fn messages_are_as_large_as_bodies_may_be() {
    let server = Serving::start(Limits { body_bytes: 1 << 20, ..Limits::default() });
    let (x, y) = recorded(200);
    let rows = x.bytes().len() / 200;
    let large = |rows_of_x: usize| {
        let bytes: Bytes = x.bytes().iter().copied().cycle().take(rows_of_x * rows).collect();
        let shape = vec![rows_of_x.try_into().unwrap(), 16];
        ModelInferRequest {
            inputs: vec![InferInputTensor { shape, ..input(&x) }],
            raw_input_contents: vec![bytes],
            ..raw(&x)
        }
    };
    server.run(async {
        let mut client = server.client().await;
        let fitting = ((1 << 20) - 256) / rows;
        let answer = client.model_infer(large(fitting)).await.unwrap().into_inner();
        close(&floats(&answer)[..800], y.as_slice().unwrap());
        let status = client.model_infer(large((1 << 20) / rows)).await.unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange, "{status}");
        assert!(status.message().contains("1048576 bytes"), "{status}");
    });
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a call, none of them compressed.
fn headers(path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    frame(1, 4, 1, &block)
}

#[test]
fn what_is_no_call_does_no_harm() {
    let server = Serving::start(Limits::default());
    let settings = frame(4, 0, 0, &[]);
    let call = headers("/inference.GRPCInferenceService/ModelInfer");
    let junk: Vec<u8> = (0..4096_u32).map(|index| (index * 31 % 251) as u8).collect();
    let cases: [&[u8]; 8] = [
        &junk,
        b"GET /v2/health/live HTTP/1.1\r\nhost: h\r\n\r\n",
        &[PREFACE, &junk].concat(),
        &[PREFACE, &settings, &junk].concat(),
        &[PREFACE, &settings, &frame(0, 1, 7, b"no such stream")].concat(),
        &[PREFACE, &settings, &call, &frame(1, 0, 1, &junk)].concat(),
        &[PREFACE, &settings, &frame(1, 4, 2, &[0xff; 64])].concat(),
        &[PREFACE, &settings, &[0xff; 9], &junk].concat(),
    ];
    for case in cases {
        server.send(case);
    }
    server.still_answers();
}

#[test]
fn clients_that_leave_in_the_middle_do_no_harm() {
    let server = Serving::start(Limits::default());
    let settings = frame(4, 0, 0, &[]);
    // A message of 1000 bytes, of which 4 come.
    let part = frame(0, 0, 1, &[0, 0, 0, 3, 232, 10, 5, b'p', b'l']);
    for method in ["ModelInfer", "ModelStreamInfer"] {
        let call = headers(&format!("/inference.GRPCInferenceService/{method}"));
        for sent in [&call[..20], &call, &[&call[..], &part].concat()] {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.write_all(&[PREFACE, &settings, sent].concat()).unwrap();
        }
    }
    let (x, _) = recorded(1);
    server.run(async {
        for _ in 0..20 {
            let mut client = server.client().await;
            let requests = tokio_stream::iter(vec![raw(&x); 1000]);
            let mut stream = client.model_stream_infer(requests).await.unwrap().into_inner();
            stream.message().await.unwrap().unwrap();
        }
    });
    server.still_answers();
}
