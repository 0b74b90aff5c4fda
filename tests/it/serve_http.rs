//! KServe v2 over HTTP as it goes over the wire, in front of a real engine.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use trt_pipeline::server::Limits;
use trt_pipeline::tensor::Tensor;

use crate::support::in_process::{InProcess, close, recorded};

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_mins(1);

/// A server that answers HTTP.
struct Serving {
    address: SocketAddr,
    _server: InProcess,
}

impl Serving {
    fn start(limits: Limits) -> Self {
        let server = InProcess::start(|config| {
            config.http = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
            config.limits = limits;
        });
        Self { address: server.addresses.http.unwrap(), _server: server }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// Sends these pieces on a connection of their own; what comes back until it is closed.
    fn send(&self, pieces: &[&[u8]]) -> Vec<u8> {
        let mut stream = self.connect();
        stream.set_nodelay(true).unwrap();
        for piece in pieces {
            // The server may have answered and closed before it saw all.
            if stream.write_all(piece).is_err() {
                break;
            }
        }
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        }
        answer
    }
}

fn head(more: &str) -> String {
    format!("POST /v2/models/plain/infer HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{more}\r\n")
}

/// The status, the head and the body of an answer.
fn parts(answer: &[u8]) -> (u16, String, Vec<u8>) {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {}", String::from_utf8_lossy(answer)));
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, answer[end + 4..].to_vec())
}

fn json_request(x: &Tensor) -> String {
    let data: &[f32] = x.as_slice().unwrap();
    let input = json!({"name": "x", "shape": x.shape(), "datatype": "FP32", "data": data});
    json!({ "inputs": [input] }).to_string()
}

fn answered(body: &[u8]) -> Vec<f32> {
    let body: Value = serde_json::from_slice(body).unwrap();
    serde_json::from_value(body["outputs"][0]["data"].clone()).unwrap()
}

#[test]
fn a_real_model_answers_what_another_engine_answered() {
    let server = Serving::start(Limits::default());
    let (x, y) = recorded(64);
    let body = json_request(&x);
    let head_of_it = head(&format!("content-length: {}\r\n", body.len()));
    let (status, _, answer) = parts(&server.send(&[head_of_it.as_bytes(), body.as_bytes()]));
    assert_eq!(status, 200);
    close(&answered(&answer), y.as_slice().unwrap());

    let json = json!({
        "inputs": [{"name": "x", "shape": x.shape(), "datatype": "FP32",
            "parameters": {"binary_data_size": x.bytes().len()}}],
        "parameters": {"binary_data_output": true},
    });
    let json = json.to_string();
    let length = json.len() + x.bytes().len();
    let header = json.len();
    let head_of_it =
        head(&format!("content-length: {length}\r\ninference-header-content-length: {header}\r\n"));
    let answer = server.send(&[head_of_it.as_bytes(), json.as_bytes(), x.bytes()]);
    let (status, head, answer) = parts(&answer);
    assert_eq!(status, 200, "{head}");
    assert!(head.contains(&format!("content-length: {}", answer.len())), "{head}");
    let header = head.split("inference-header-content-length: ").nth(1).unwrap();
    let header: usize = header.split("\r\n").next().unwrap().parse().unwrap();
    let found: &[u8] = &answer[header..];
    let found: Vec<f32> =
        found.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    close(&found, y.as_slice().unwrap());
}

#[test]
fn a_path_that_is_no_text_gets_an_error_of_the_protocol() {
    let server = Serving::start(Limits::default());
    for path in ["/v2/models/%ff%fe", "/v2/models/plain/versions/%C0", "/%80"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        let (status, _, answer) = parts(&server.send(&[request.as_bytes()]));
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!((status, answer["error"].as_str().unwrap()), (400, "the path is not UTF-8"));
    }
}

#[test]
fn a_body_may_come_in_any_pieces() {
    let server = Serving::start(Limits::default());
    let (x, y) = recorded(200);
    let body = json_request(&x);
    let chunked = head("transfer-encoding: chunked\r\n");
    let mut pieces = vec![chunked.into_bytes()];
    for piece in body.as_bytes().chunks(1000) {
        pieces.push([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
    }
    pieces.push(b"0\r\n\r\n".to_vec());
    let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
    let (status, _, answer) = parts(&server.send(&pieces));
    assert_eq!(status, 200);
    close(&answered(&answer), y.as_slice().unwrap());

    let one = head(&format!("content-length: {}\r\n", body.len())) + &body;
    let pieces: Vec<&[u8]> = one.as_bytes().chunks(777).collect();
    let (status, _, answer) = parts(&server.send(&pieces));
    assert_eq!(status, 200);
    close(&answered(&answer), y.as_slice().unwrap());
}

#[test]
fn bodies_that_are_too_long_or_too_slow_or_broken_are_refused_and_the_server_goes_on() {
    let limits = Limits {
        body_bytes: 4096,
        transfer_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = Serving::start(limits);
    let error = |answer: &[u8]| {
        let (status, _, body) = parts(answer);
        let body: Value = serde_json::from_slice(&body).unwrap();
        (status, body["error"].as_str().unwrap().to_owned())
    };
    let long = head("content-length: 5000\r\n");
    let (status, said) = error(&server.send(&[long.as_bytes()]));
    assert_eq!(status, 413, "{said}");
    let chunk = [b"1000\r\n".as_slice(), &[b' '; 4096], b"\r\n"].concat();
    let chunked = head("transfer-encoding: chunked\r\n");
    let (status, said) = error(&server.send(&[chunked.as_bytes(), &chunk, &chunk]));
    assert_eq!(status, 413, "{said}");
    let slow = head("content-length: 100\r\n");
    let (status, said) = error(&server.send(&[slow.as_bytes(), b"{"]));
    assert_eq!((status, &*said), (408, "the body of the request did not arrive within 0.2 s"));
    let (status, said) = error(&server.send(&[chunked.as_bytes(), b"zz\r\nhello\r\n0\r\n\r\n"]));
    assert_eq!(status, 400, "{said}");
    for gone in [&slow, &chunked] {
        let mut stream = server.connect();
        stream.write_all(gone.as_bytes()).unwrap();
        stream.write_all(b"5\r\n{\"in").unwrap();
    }
    let (x, y) = recorded(1);
    let body = json_request(&x);
    let head_of_it = head(&format!("content-length: {}\r\n", body.len()));
    let (status, _, answer) = parts(&server.send(&[head_of_it.as_bytes(), body.as_bytes()]));
    assert_eq!(status, 200);
    close(&answered(&answer), y.as_slice().unwrap());
}

#[test]
fn a_connection_answers_one_request_after_another() {
    let server = Serving::start(Limits::default());
    let (x, y) = recorded(1);
    let body = json_request(&x);
    let one = format!(
        "POST /v2/models/plain/infer HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let bad = "POST /v2/models/plain/infer HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{}";
    let last = one.replace("host: h", "host: h\r\nconnection: close");
    let answers = server.send(&[one.as_bytes(), bad.as_bytes(), one.as_bytes(), last.as_bytes()]);
    let answers = String::from_utf8(answers).unwrap();
    let statuses: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).map(|a| &a[..3]).collect();
    assert_eq!(statuses, ["200", "400", "200", "200"]);
    for answer in answers.split("HTTP/1.1 200").skip(1) {
        let body = answer.split("\r\n\r\n").nth(1).unwrap();
        let body = body.split("HTTP/1.1").next().unwrap();
        close(&answered(body.as_bytes()), y.as_slice().unwrap());
    }
}
