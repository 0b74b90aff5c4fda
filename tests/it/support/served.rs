//! A program that goes on until it is stopped, with `--format json`, and a client for its server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Project, Ran, fixture};

/// How long anything may take to happen.
const DEADLINE: Duration = Duration::from_mins(1);

/// A pipeline that serves `model.onnx` as `sum`.
pub const SPEC: &str = "version: 1
name: sum
stages:
  onnx: { convert: { model: model.onnx } }
  engine: { build: { from: onnx } }
  api: { serve: { from: engine } }
";

/// A model that adds a number to each of its four inputs.
pub fn adder(number: f32) -> Vec<u8> {
    let model = std::fs::read(fixture("onnx/add.onnx")).unwrap();
    let placeholder = 1234.5_f32.to_le_bytes();
    let at = model.windows(4).position(|bytes| bytes == placeholder).unwrap();
    [&model[..at], &number.to_le_bytes(), &model[at + 4..]].concat()
}

/// A program that runs, and what it has told so far.
pub struct Running {
    child: Child,
    events: Receiver<Value>,
    /// Every event that was taken.
    pub seen: Vec<Value>,
}

impl Running {
    /// `trt-pipeline ARGS --format json`.
    pub fn start(project: &Project, args: &[&str]) -> Self {
        Self::of(&mut project.command(&[args, &["--format", "json"]].concat()))
    }

    pub fn of(command: &mut Command) -> Self {
        Self::read(command, |line| {
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))
        })
    }

    /// One that tells people: its lines are taken with [`Self::line`].
    pub fn for_people(command: &mut Command) -> Self {
        Self::read(command, |line| Value::from(line))
    }

    fn read(command: &mut Command, event: fn(&str) -> Value) -> Self {
        // A group of its own, so that a test that fails takes children along.
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(event(&line)).is_err() {
                    break;
                }
            }
        });
        Self { child, events, seen: Vec::new() }
    }

    /// The next event of this name.
    pub fn next(&mut self, name: &str) -> Value {
        self.find(name, |event| event["event"] == name)
    }

    /// The next line with these words.
    pub fn line(&mut self, words: &str) -> String {
        let line = self.find(words, |line| line.as_str().is_some_and(|line| line.contains(words)));
        line.as_str().unwrap().to_owned()
    }

    fn find(&mut self, name: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(event) = self.events.recv_timeout(left) else {
                let stderr = self.stderr();
                panic!("no `{name}` came\n{stderr}\n{:#?}", self.seen);
            };
            self.seen.push(event.clone());
            if is_it(&event) {
                return event;
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the end; the standard output is in `seen`.
    pub fn end(mut self) -> (Vec<Value>, Ran) {
        let status = self.child.wait().unwrap();
        self.seen.extend(self.events.iter());
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let status = status.code().unwrap_or(-1);
        (std::mem::take(&mut self.seen), Ran { status, stdout: String::new(), stderr })
    }

    /// Ends it as `kill` does; it must do so well.
    pub fn stop(self) -> Vec<Value> {
        self.signal(Signal::TERM);
        let (seen, ran) = self.end();
        assert_eq!(ran.status, 0, "{ran:#?}");
        seen
    }

    fn stderr(&mut self) -> String {
        let _ = self.child.kill();
        let mut text = String::new();
        let _ = self.child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut text));
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that answers.
pub struct Served {
    pub program: Running,
    pub http: SocketAddr,
}

impl Served {
    /// `trt-pipeline serve ARGS` on a free port.
    pub fn start(project: &Project, args: &[&str]) -> Self {
        let ports = ["--http", "127.0.0.1:0", "--grpc", "off", "--admin", "off"];
        let mut program = Running::start(project, &[&["serve"], args, &ports].concat());
        let serving = program.next("serving");
        let http = serving["http"].as_str().unwrap().parse().unwrap();
        Self { program, http }
    }

    /// What a model that adds answers to zeros, and the version that did.
    pub fn added(&self, model: &str) -> (f64, String) {
        let input =
            json!({ "name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0] });
        let body = json!({ "inputs": [input] });
        let (status, answer) = post(self.http, &format!("/v2/models/{model}/infer"), &body);
        assert_eq!(status, 200, "{answer}");
        let number = answer["outputs"][0]["data"][3].as_f64().unwrap();
        (number, answer["model_version"].as_str().unwrap().to_owned())
    }
}

/// A connection for one request after the other.
pub struct Kept {
    stream: BufReader<TcpStream>,
    /// Whether the server takes another request.
    pub goes_on: bool,
}

impl Kept {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { stream: BufReader::new(stream), goes_on: true }
    }

    /// What a model that adds answers to a number.
    pub fn added(&mut self, model: &str, to: f64) -> f64 {
        let input =
            json!({ "name": "x", "shape": [1, 4], "datatype": "FP32", "data": [to, to, to, to] });
        let body = json!({ "inputs": [input] }).to_string();
        let length = body.len();
        let head = format!(
            "POST /v2/models/{model}/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n"
        );
        self.stream.get_mut().write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        assert_eq!(line, "HTTP/1.1 200 OK\r\n");
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            self.goes_on &= line != "connection: close\r\n";
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        answer["outputs"][0]["data"][3].as_f64().unwrap()
    }
}

/// One request, and its answer.
pub fn post(to: SocketAddr, path: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

/// Replaces a file in one step.
pub fn replace(path: &Path, content: impl AsRef<[u8]>) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, content).unwrap();
    std::fs::rename(beside, path).unwrap();
}
