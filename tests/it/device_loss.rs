//! Served models that lose a GPU in the middle of traffic, over the stand-ins for the driver and
//! TensorRT, which copies the input to the output.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::standin::Cuda;
use crate::standin::tensorrt::TensorRt;
use crate::support::served::{Running, post};
use crate::support::{Project, repository};
use crate::tensorrt_engines::{gpu, v10};

const INFER: &str = "/v2/models/digits/infer";

/// A model on two GPUs; `settings` are more of `serve`.
fn project(settings: &str) -> Project {
    let model = repository().join("tests/fixtures/tensorrt/digits_fp32.onnx");
    Project::with_spec(&format!(
        "version: 1
name: digits
stages:
  onnx: {{ convert: {{ model: {} }} }}
  engine:
    build:
      from: onnx
      backend: tensorrt
      profiles:
        - image: {{ min: [1, 1, 8, 8], opt: [2, 1, 8, 8], max: [4, 1, 8, 8] }}
  api: {{ serve: {{ from: engine, instances: 2, placement: round_robin{settings} }} }}
",
        model.display()
    ))
}

struct Machine {
    program: Running,
    http: SocketAddr,
    admin: SocketAddr,
    // Their folders are there as long as the program is.
    _standins: (Cuda, TensorRt),
}

impl Machine {
    fn serve(project: &Project, fault: &str, args: &[&str]) -> Self {
        let ports = ["--http", "127.0.0.1:0", "--grpc", "off", "--admin", "127.0.0.1:0"];
        let args = [&["serve", "p.yaml", "--format", "json"], &ports[..], args].concat();
        let mut command: Command = project.command(&args);
        let (cuda, tensorrt) = (gpu().with("DEVICES", 2), v10());
        cuda.attach(&mut command);
        tensorrt.attach(&mut command);
        command.env("TRT_PIPELINE_CUDA_FAULT", fault);
        let mut program = Running::of(&mut command);
        let serving = program.next("serving");
        let address = |name: &str| serving[name].as_str().unwrap().parse().unwrap();
        let (http, admin) = (address("http"), address("admin"));
        Self { program, http, admin, _standins: (cuda, tensorrt) }
    }

    /// The statuses of so many requests, of several clients at once.
    fn traffic(&self, requests: usize) -> Vec<u16> {
        let (next, http) = (AtomicUsize::new(0), self.http);
        let client = || {
            let numbers = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::SeqCst)));
            let numbers = numbers.take_while(|number| *number < requests);
            numbers.map(|number| ask(http, number).unwrap()).collect()
        };
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..6).map(|_| scope.spawn(client)).collect();
            clients.into_iter().flat_map(|it| -> Vec<u16> { it.join().unwrap() }).collect()
        })
    }

    fn metric(&self, line: &str) -> u64 {
        let (status, text) = get(self.admin, "/metrics");
        assert_eq!(status, 200);
        let found = text.lines().find_map(|it| it.strip_prefix(line));
        let found = found.unwrap_or_else(|| panic!("no {line} in {text}")).trim();
        found.trim_end_matches(".0").parse().unwrap()
    }

    fn up(&self, version: u32, device: u32) -> u64 {
        let labels = format!("{{model=\"digits\",version=\"{version}\",device=\"{device}\"}}");
        self.metric(&format!("trt_pipeline_device_up{labels}"))
    }
}

/// The status of the answer to a request; a good one must be right.
fn ask(http: SocketAddr, number: usize) -> io::Result<u16> {
    let body = request(number).to_string();
    let head = format!("POST {INFER} HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
    let (status, answer) = exchange(http, &head, &body)?;
    if status == 200 {
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let values = answer["outputs"][0]["data"].as_array().unwrap();
        let values: Vec<f64> = values.iter().map(|value| value.as_f64().unwrap()).collect();
        assert_eq!(values, pixels(number)[..10], "the answer to another request");
    }
    Ok(status)
}

/// 64 numbers that no other request has.
fn pixels(number: usize) -> Vec<f64> {
    (0..64).map(|at| f64::from(u32::try_from(number * 64 + at).unwrap())).collect()
}

fn request(number: usize) -> Value {
    let data = pixels(number);
    json!({ "inputs": [
        { "name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": data },
    ] })
}

fn get(from: SocketAddr, path: &str) -> (u16, String) {
    exchange(from, &format!("GET {path} HTTP/1.1\r\n"), "").unwrap()
}

/// One request on a connection of its own: the status and the body of the answer.
fn exchange(with: SocketAddr, head: &str, body: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(with)?;
    write!(stream, "{head}Host: {with}\r\nConnection: close\r\n\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    Ok((head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned()))
}

fn all_right(statuses: &[u16], requests: usize) {
    assert_eq!(statuses.len(), requests);
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
}

/// The second GPU breaks while requests run: none is lost, none is wrong, and the server says so.
fn loses_one(kind: &str) {
    let project = project("");
    let mut machine = Machine::serve(&project, &format!("device=1,after=100,kind={kind}"), &[]);
    assert_eq!((machine.up(1, 0), machine.up(1, 1)), (1, 1));
    all_right(&machine.traffic(600), 600);
    let event = machine.program.next("device_lost");
    assert_eq!(
        (&event["device"], &event["left"], &event["ends"]),
        (&json!(1), &json!(1), &json!(false))
    );
    assert!(event["reason"].as_str().unwrap().contains("CUDA_ERROR_ILLEGAL_ADDRESS"), "{event}");

    assert_eq!((machine.up(1, 0), machine.up(1, 1)), (1, 0));
    let batches = |device: u32| {
        let labels = format!("{{model=\"digits\",version=\"1\",device=\"{device}\"}}");
        machine.metric(&format!("trt_pipeline_device_batches_total{labels}"))
    };
    assert_eq!(batches(0) + batches(1), 600);
    assert!(batches(1) > 0 && batches(1) < 100, "warm-up runs are not counted");
    let (status, ready) = get(machine.http, "/v2/models/digits/ready");
    assert_eq!(status, 200);
    assert!(ready.contains("degraded: device 1 is lost: "), "{ready}");
    assert_eq!(get(machine.http, "/v2/health/ready").0, 200);
    let (_, index) = post(machine.admin, "/v2/repository/index", &json!({}));
    assert!(index[0]["reason"].as_str().unwrap().starts_with("degraded: "), "{index}");
    machine.program.stop();
}

#[test]
fn a_gpu_that_reports_a_broken_context_under_traffic_costs_no_request() {
    loses_one("error");
}

#[test]
fn a_kernel_that_breaks_its_gpu_under_traffic_costs_no_request() {
    loses_one("kernel");
}

#[test]
fn a_version_that_is_loaded_after_a_loss_runs_on_the_gpus_that_are_left() {
    let project = project("");
    let fault = "device=1,after=100,kind=kernel";
    let mut machine = Machine::serve(&project, fault, &["--watch"]);
    all_right(&machine.traffic(300), 300);
    machine.program.next("device_lost");
    let spec = std::fs::read_to_string(project.file("p.yaml")).unwrap();
    project.write("p.yaml", spec.replace("instances: 2", "instances: 3"));
    let reload = machine.program.next("reload_finished");
    let reload = if reload["to"] == 1 { machine.program.next("reload_finished") } else { reload };
    assert_eq!((&reload["outcome"], &reload["to"]), (&json!("accepted"), &json!(2)), "{reload}");
    assert_eq!((machine.up(2, 0), machine.up(2, 1)), (1, 0));
    let (_, ready) = get(machine.http, "/v2/models/digits/ready");
    assert!(ready.contains("degraded: device 1 is lost: "), "{ready}");
    all_right(&machine.traffic(100), 100);
    // One that names it is refused, and what serves goes on.
    let named = spec.replace("placement: round_robin", "devices: [0, 1]");
    project.write("p.yaml", &named);
    let refused = machine.program.next("reload_finished");
    assert_eq!(refused["outcome"], "refused", "{refused}");
    assert!(refused["reason"].as_str().unwrap().contains("device 1 is lost: "), "{refused}");
    all_right(&machine.traffic(50), 50);
    machine.program.stop();
}

/// Each load runs two contexts ten times on each GPU.
const LOADS: &str = ", cuda_graphs: off";

#[test]
fn a_gpu_that_breaks_while_the_server_starts_is_left_out() {
    let fault = "device=1,after=5,kind=kernel";
    let project = project(LOADS);
    let machine = Machine::serve(&project, fault, &[]);
    assert_eq!((machine.up(1, 0), machine.up(1, 1)), (1, 0));
    all_right(&machine.traffic(100), 100);
    let (_, ready) = get(machine.http, "/v2/models/digits/ready");
    assert!(ready.contains("degraded: device 1 is lost: "), "{ready}");
    let seen = machine.program.stop();
    let lost: Vec<_> = seen.iter().filter(|event| event["event"] == "device_lost").collect();
    assert_eq!(lost.len(), 1);
    assert_eq!((&lost[0]["device"], &lost[0]["left"]), (&json!(1), &json!(1)));
}

#[test]
fn a_gpu_that_breaks_while_a_version_is_loaded_is_left_out_of_it() {
    let project = project(LOADS);
    let fault = "device=1,after=25,kind=kernel";
    let mut machine = Machine::serve(&project, fault, &["--watch"]);
    assert_eq!(machine.up(1, 1), 1);
    let spec = std::fs::read_to_string(project.file("p.yaml")).unwrap();
    project.write("p.yaml", spec.replace("instances: 2", "instances: 3"));
    let reload = machine.program.next("reload_finished");
    let reload = if reload["to"] == 1 { machine.program.next("reload_finished") } else { reload };
    assert_eq!((&reload["outcome"], &reload["to"]), (&json!("accepted"), &json!(2)), "{reload}");
    assert_eq!((machine.up(2, 0), machine.up(2, 1)), (1, 0));
    all_right(&machine.traffic(100), 100);
    machine.program.stop();
}

#[test]
fn where_the_last_gpu_is_lost_requests_get_an_error_of_a_kind_and_the_model_is_not_ready() {
    let project = project(", devices: [1], warmup: { iterations: 1 }");
    let mut machine = Machine::serve(&project, "device=1,after=50,kind=kernel", &[]);
    let statuses = machine.traffic(200);
    assert_eq!(statuses.len(), 200);
    assert!(statuses.contains(&200) && statuses.contains(&503), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    let lost = machine.program.next("device_lost");
    assert_eq!(lost["left"], 0);
    let (status, ready) = get(machine.http, "/v2/models/digits/ready");
    assert_eq!(status, 503);
    assert!(ready.contains("no device is left to run it: device 1 is lost: "), "{ready}");
    assert_eq!(get(machine.http, "/v2/health/ready").0, 503);
    assert_eq!(machine.up(1, 1), 0);
    machine.program.stop();
}

#[test]
fn a_server_that_is_to_exit_answers_what_it_can_and_ends_with_a_failure_that_names_the_gpu() {
    let project = project(", on_device_failure: exit");
    let mut machine = Machine::serve(&project, "device=1,after=100,kind=error", &[]);
    // It takes no more connections once it lost the GPU; until then it answers, and rightly.
    let answered = (0..100_000).map_while(|number| ask(machine.http, number).ok());
    let answered: Vec<u16> = answered.collect();
    assert!(!answered.is_empty() && answered.iter().all(|status| *status == 200), "{answered:?}");
    let lost = machine.program.next("device_lost");
    assert_eq!((&lost["device"], &lost["ends"]), (&json!(1), &json!(true)));
    let (seen, ran) = machine.program.end();
    assert_eq!(ran.status, 1, "{ran:#?}");
    let end = seen.last().unwrap();
    assert_eq!(
        (&end["event"], &end["exit"], &end["aborted"]),
        (&json!("serve_finished"), &json!(1), &json!(0))
    );
    let told = seen.iter().find(|event| event["code"] == "serve::device_lost").unwrap();
    assert!(told["message"].as_str().unwrap().contains("lost device 1 "), "{told}");
}
