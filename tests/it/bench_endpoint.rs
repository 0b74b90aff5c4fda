//! `bench` of served models: what it measures, checks and prints, and what it refuses.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::served::{Running, Served, adder, replace};
use crate::support::{Project, Ran, with_filters};

/// `engine` answers what is served; `other` adds another number.
const SPEC: &str = "version: 1
name: sum
stages:
  onnx: { convert: { model: model.onnx } }
  engine: { build: { from: onnx } }
  other: { build: { from: { file: other.onnx, kind: model } } }
  api: { serve: { from: engine, instances: 2, batching: { max_batch: 8, max_delay_ms: 0.1 } } }
";

fn serve() -> (Project, Served) {
    let project = Project::with_spec(SPEC);
    project.write("model.onnx", adder(1.0)).write("other.onnx", adder(2.0));
    let served = Served::start(&project, &["p.yaml", "--watch"]);
    (project, served)
}

fn url(served: &Served) -> String {
    format!("http://{}/sum", served.http)
}

fn bench(project: &Project, target: &str, args: &[&str]) -> Ran {
    project.trt(&[&["bench", target][..], args].concat())
}

/// What was measured, and the paces one after the other.
fn measured(project: &Project, target: &str, args: &[&str]) -> (Value, Vec<Value>) {
    let ran = bench(project, target, &[args, &["--format", "json"]].concat());
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{ran:#?}");
    let mut events = ran.events();
    let head = events.remove(0);
    assert_eq!(head["event"], "bench_served");
    assert!(events.iter().all(|level| level["event"] == "bench_level"), "{events:#?}");
    (head, events)
}

#[test]
fn every_answer_over_http_is_that_of_the_engine_and_its_time_has_parts() {
    let (project, served) = serve();
    let check = ["--check", "--tolerance", "0", "--engine", "build/sum/engine"];
    let load = ["--concurrency", "1,4", "--requests", "200", "--distinct", "--batch", "3"];
    for protocol in ["http-json", "http-binary"] {
        let how = ["--protocol", protocol];
        let (head, levels) = measured(&project, &url(&served), &[&how[..], &check, &load].concat());
        assert_eq!(head["protocol"], protocol);
        assert_eq!((&head["model"], &head["versions"]), (&json!("sum"), &json!(["1"])));
        assert_eq!(head["inputs"][0]["shape"], json!([3, 4]));
        assert_eq!(levels.len(), 2);
        for level in levels {
            assert_eq!((&level["answered"], &level["failed"]), (&json!(200), &json!(0)), "{level}");
            assert_eq!(
                (&level["check"]["wrong"], &level["check"]["mixed"]),
                (&json!(0), &json!(0))
            );
            assert_eq!(level["check"]["versions"], json!({ "1": 0 }));
            let parts: Vec<&str> = level["parts"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|p| p["name"].as_str())
                .collect();
            assert!(parts.ends_with(&["send", "wait", "receive"]), "{parts:?}");
            let counted = level["server"]["phases"].as_array().unwrap();
            let infer = counted.iter().find(|phase| phase["name"] == "compute_infer").unwrap();
            assert_eq!(infer["count"], 200, "warming up does not count: {infer}");
        }
    }
    served.program.stop();
}

#[test]
fn answers_of_another_engine_fail_the_command() {
    let (project, served) = serve();
    let check = ["--check", "--engine", "build/sum/other", "--requests", "20", "--warmup", "0"];
    let ran = bench(&project, &url(&served), &[&check[..], &["--format", "json"]].concat());
    assert_eq!(ran.status, 1, "{ran:#?}");
    let events = ran.events();
    assert_eq!(events[1]["check"]["wrong"], 20);
    let message = events.last().unwrap()["message"].as_str().unwrap();
    assert_eq!(message, "of 20 requests 0 failed, 20 answers were wrong and 0 mixed");
    served.program.stop();
}

#[test]
fn while_a_model_is_reloaded_every_answer_is_of_one_version() {
    let (project, mut served) = serve();
    let engines = ["--check", "--engine", "build/sum/engine", "--engine", "build/sum/other"];
    // The links follow the reload; the engines that they name now are these.
    for stage in ["engine", "other"] {
        let link = project.file(&format!("build/sum/{stage}"));
        let kept = std::fs::canonicalize(link).unwrap();
        std::os::unix::fs::symlink(kept, project.file(stage)).unwrap();
    }
    let engines = engines.map(|word| word.strip_prefix("build/sum/").unwrap_or(word));
    let load = ["--concurrency", "4", "--requests", "2000", "--distinct"];
    let url = url(&served);
    let command = [&["bench", &url][..], &load, &engines].concat();
    let mut program = Running::start(&project, &command);
    program.next("bench_served");
    replace(&project.file("model.onnx"), adder(2.0));
    let reload = loop {
        let reload = served.program.next("reload_finished");
        if reload["to"] == 2 {
            break reload;
        }
    };
    assert_eq!(reload["outcome"], "accepted", "{reload}");
    let level = program.next("bench_level");
    let (_, ran) = program.end();
    assert_eq!(ran.status, 0, "{level}\n{ran:#?}");
    assert_eq!(level["answered"], 2000);
    let versions = level["check"]["versions"].as_object().unwrap();
    assert!(versions.iter().all(|(version, engine)| *engine == u64::from(version != "1")));
    let after = ["--requests", "10", "--warmup", "0"];
    let (_, levels) = measured(&project, &url, &[&after[..], &engines].concat());
    assert_eq!(levels[0]["check"]["versions"], json!({ "2": 1 }));
    served.program.stop();
}

#[test]
fn an_open_loop_makes_its_requests_at_the_same_moments_every_time() {
    let (project, served) = serve();
    let due = |file: &str, seed: &str| {
        let load = ["--rate", "400", "--requests", "40", "--seed", seed, "--dump-latencies", file];
        let (_, levels) = measured(&project, &url(&served), &load);
        assert_eq!(
            (&levels[0]["loop"], &levels[0]["arrivals"]),
            (&json!("open"), &json!("poisson"))
        );
        assert_eq!(levels[0]["requests"], 40);
        let text = project.read(file);
        let mut rows = text.lines();
        let header = "level,due_ns,sent_ns,ended_ns,ending,connect_ns,send_ns,wait_ns,receive_ns";
        assert_eq!(rows.next(), Some(header));
        let mut due: Vec<u64> = Vec::new();
        for row in rows {
            let cells: Vec<&str> = row.split(',').collect();
            assert_eq!((cells.len(), cells[0], cells[4]), (9, "1", "answered"), "{row}");
            let number = |at: usize| cells[at].parse::<u64>().unwrap();
            assert!(number(1) <= number(2) && number(2) < number(3), "{row}");
            let parts = number(5) + number(6) + number(7) + number(8);
            assert!(parts <= number(3) - number(2), "parts exceed the request: {row}");
            due.push(number(1));
        }
        due.sort_unstable();
        due
    };
    let first = due("a.csv", "1");
    assert_eq!((first.len(), &first), (40, &due("b.csv", "1")));
    assert_ne!(first, due("c.csv", "2"));
    served.program.stop();
}

#[test]
fn a_deployment_in_process_and_an_endpoint_are_compared_with_the_engine_alone() {
    let (project, served) = serve();
    let load = ["--engine", "build/sum/engine", "--rounds", "3", "--duration", "30ms"];
    for target in ["build/sum/api", &url(&served)] {
        let (_, levels) = measured(&project, target, &load);
        let overhead = &levels[0]["overhead"];
        assert_eq!((&levels[0]["rounds"], &overhead["contexts"]), (&json!(3), &json!(1)));
        for value in ["served_p50_ms", "engine_p50_ms", "throughput_ratio"] {
            let [min, median, max] =
                ["min", "median", "max"].map(|name| overhead[value][name].as_f64().unwrap());
            assert!(0.0 < min && min <= median && median <= max, "{value}: {overhead}");
        }
    }
    let check = ["--check", "--engine", "build/sum/engine", "--requests", "50", "--distinct"];
    let (_, levels) = measured(&project, "build/sum/api", &check);
    assert_eq!((&levels[0]["answered"], &levels[0]["check"]["wrong"]), (&json!(50), &json!(0)));
    let text = bench(&project, &url(&served), &load);
    assert!(text.stdout.contains("served over the same engine in this process"), "{text:#?}");
    served.program.stop();
}

/// What the server says at a path.
fn get(to: SocketAddr, path: &str) -> Value {
    let mut stream = TcpStream::connect(to).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// Waits until the server has answered so many requests.
fn until_answered(served: &Served, count: u64) {
    let deadline = Instant::now() + Duration::from_mins(1);
    let answered = || {
        let statistics = get(served.http, "/v2/models/sum/stats");
        statistics["model_stats"][0]["inference_count"].as_u64().unwrap_or(0)
    };
    while answered() < count {
        assert!(Instant::now() < deadline, "it measures nothing");
    }
}

#[test]
fn an_interrupt_ends_it_with_what_was_measured_until_then() {
    let (project, served) = serve();
    let url = url(&served);
    let mut program = Running::start(&project, &["bench", &url, "--duration", "1h"]);
    program.next("bench_served");
    until_answered(&served, 100);
    program.signal(Signal::INT);
    let level = program.next("bench_level");
    let (_, ran) = program.end();
    assert_eq!((ran.status, &level["interrupted"]), (130, &json!(true)), "{level}\n{ran:#?}");
    assert!(level["answered"].as_u64().unwrap() > 0, "{level}");
    served.program.stop();
}

fn with_certificate(is_ca: rcgen::IsCa) -> Project {
    let project = Project::with_spec(SPEC);
    project.write("model.onnx", adder(1.0)).write("other.onnx", adder(2.0));
    let mut certificate = rcgen::CertificateParams::new(["127.0.0.1".into()]).unwrap();
    certificate.is_ca = is_ca;
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = certificate.self_signed(&key).unwrap().pem();
    project.write("cert.pem", certificate).write("key.pem", key.serialize_pem());
    project
}

#[test]
fn a_server_with_a_certificate_and_a_token_is_asked_with_both() {
    let project = with_certificate(rcgen::IsCa::NoCa);
    project.write("token", "open sesame\n").write("wrong", "open barley\n").write("empty", "\n");
    let guarded = ["--tls-cert", "cert.pem", "--tls-key", "key.pem", "--token-file", "token"];
    let served = Served::start(&project, &[&["p.yaml"], &guarded[..]].concat());
    let url = format!("https://{}/sum", served.http);
    let load = ["--requests", "20", "--check", "--engine", "build/sum/engine"];
    let with_both = ["--ca", "cert.pem", "--token-file", "token"];
    let (_, levels) = measured(&project, &url, &[&load[..], &with_both].concat());
    assert_eq!((&levels[0]["answered"], &levels[0]["check"]["wrong"]), (&json!(20), &json!(0)));
    let refused = |args: &[&str], status: i32, words: &str| {
        let ran = bench(&project, &url, &[&load[..], args].concat());
        assert_eq!(ran.status, status, "{ran:#?}");
        assert!(ran.stderr.contains(words), "{ran:#?}");
    };
    refused(&["--ca", "cert.pem"], 1, "refuses to answer: HTTP 401");
    let wrong = ["--ca", "cert.pem", "--token-file", "wrong"];
    refused(&wrong, 1, "HTTP 401, the token of the request is not the server's");
    refused(&["--ca", "cert.pem", "--token-file", "empty"], 2, "token file `empty` is empty");
    refused(&["--ca", "cert.pem", "--token-file", "none"], 2, "failed to read the token");
    let other = rcgen::CertificateParams::new(["127.0.0.1".into()]).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    project.write("other.pem", other.self_signed(&key).unwrap().pem());
    refused(&["--ca", "other.pem"], 2, "invalid peer certificate");
    let plain = url.replace("https:", "http:");
    let ran = bench(&project, &plain, &load);
    assert_eq!(ran.status, 2, "{ran:#?}");
    assert!(ran.stderr.contains("does not speak the KServe v2 protocol"), "{ran:#?}");
    assert!(ran.stderr.contains("if the server speaks TLS, write https://"), "{ran:#?}");
    served.program.stop();
}

#[test]
fn a_certificate_of_an_authority_is_told_from_others() {
    let project = with_certificate(rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    let tls = ["p.yaml", "--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let served = Served::start(&project, &tls);
    let url = format!("https://{}/sum", served.http);
    let ran = bench(&project, &url, &["--ca", "cert.pem"]);
    assert!(ran.status == 2 && ran.stderr.contains("=critical,CA:FALSE"), "{ran:#?}");
    served.program.stop();
}

#[test]
fn every_answer_over_grpc_is_that_of_the_engine() {
    let project = Project::with_spec(SPEC);
    project.write("model.onnx", adder(1.0)).write("other.onnx", adder(2.0));
    let ports = ["--http", "off", "--grpc", "127.0.0.1:0", "--admin", "off"];
    let mut server = Running::start(&project, &[&["serve", "p.yaml"], &ports[..]].concat());
    let address = server.next("serving")["grpc"].as_str().unwrap().to_owned();
    let url = format!("grpc://{address}/sum");
    let check = ["--check", "--tolerance", "0", "--engine", "build/sum/engine", "--distinct"];
    for load in
        [&["--concurrency", "20", "--requests", "200"][..], &["--rate", "300", "--requests", "60"]]
    {
        let (head, levels) = measured(&project, &url, &[load, &check].concat());
        assert_eq!((&head["protocol"], &head["versions"]), (&json!("grpc"), &json!(["1"])));
        let requests: u64 = load[3].parse().unwrap();
        assert_eq!((&levels[0]["answered"], &levels[0]["failed"]), (&json!(requests), &json!(0)));
        assert_eq!(levels[0]["check"]["versions"], json!({ "1": 0 }));
        let counted = levels[0]["server"]["phases"].as_array().unwrap();
        assert!(counted.iter().any(|phase| phase["name"] == "compute_infer"), "{counted:?}");
    }
    let unknown = bench(&project, &url.replace("/sum", "/sun"), &[]);
    assert_eq!(unknown.status, 2, "{unknown:#?}");
    assert!(unknown.stderr.contains("has no model `sun`"), "{unknown:#?}");
    let engine = ["--requests", "7", "--warmup", "0", "--batch", "99"];
    let ran = bench(&project, &url, &engine);
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(ran.stdout.contains("7 gRPC INVALID_ARGUMENT: "), "{ran:#?}");
    server.stop();
}

/// Answers every connection with the same bytes, once.
fn something_else(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let _ = (&stream).write_all(answer);
        }
    });
    address
}

#[test]
fn endpoints_that_cannot_be_measured_say_why() {
    let (project, served) = serve();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let page = something_else(
        b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 6\r\n\r\n<html>",
    );
    let json = something_else(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 13\r\n\r\n{\"api\": true}",
    );
    let mail = something_else(b"220 mail.example ESMTP\r\n");
    let sum = url(&served);
    let at = |address: SocketAddr| format!("http://{address}/sum");
    let (nobody, page, json, mail) = (at(nobody), at(page), at(json), at(mail));
    let (unknown, versioned) = (sum.replace("/sum", "/sun"), format!("{sum}/versions/9"));
    let (tls, token) = (sum.replace("http:", "https:"), project.file("token"));
    std::fs::write(&token, "two\u{7f}words\n").unwrap();
    let token = token.to_str().unwrap();
    let cases: [(&str, &[&str], i32); 18] = [
        (&nobody, &[], 3),
        (&page, &[], 2),
        (&json, &[], 2),
        (&mail, &[], 2),
        (&tls, &["--ca", "p.yaml"], 2),
        (&unknown, &[], 2),
        (&versioned, &[], 2),
        ("http://h/sum", &[], 2),
        ("udp://127.0.0.1:1/sum", &[], 2),
        ("127.0.0.1:1/sum", &[], 2),
        (&sum, &["--shapes", "x=1x3"], 2),
        (&sum, &["--protocol", "grpc"], 2),
        (&sum, &["--runs", "3"], 2),
        (&sum, &["--connections", "3"], 2),
        (&sum, &["--rate", "0"], 2),
        (&sum, &["--rate", "5", "--concurrency", "1,2"], 2),
        (&sum, &["--token-file", token], 2),
        ("build/sum/api", &["--ca", "p.yaml"], 2),
    ];
    let seen: Vec<String> = cases
        .iter()
        .map(|(target, args, status)| {
            let ran = bench(&project, target, &[*args, &["--requests", "1"][..]].concat());
            assert_eq!((ran.status, ran.stdout.as_str()), (*status, ""), "{target}: {ran:#?}");
            format!("=== {target} {} ===\n{}", args.join(" "), ran.stderr)
        })
        .collect();
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"127\.0\.0\.1:\d{4,}", "[address]");
    settings.add_filter(r"/tmp/trt-[^/` ]+", "[dir]");
    settings.bind(|| with_filters(|| insta::assert_snapshot!("bench_endpoints", seen.join("\n"))));
    served.program.stop();
}

#[test]
fn requests_that_the_server_does_not_take_are_counted_by_their_status() {
    let (project, served) = serve();
    let load = ["--batch", "99", "--requests", "7", "--warmup", "0"];
    let ran = bench(&project, &url(&served), &load);
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(ran.stdout.contains("7 HTTP 400: "), "{ran:#?}");
    assert!(ran.stderr.contains("of 7 requests 7 failed"), "{ran:#?}");
    served.program.stop();
}

#[test]
fn a_server_that_goes_away_leaves_failures_that_are_counted() {
    let (project, served) = serve();
    let url = url(&served);
    let mut program = Running::start(&project, &["bench", &url, "--duration", "3s"]);
    until_answered(&served, 50);
    drop(served.program);
    let level = program.next("bench_level");
    let (_, ran) = program.end();
    assert_eq!(ran.status, 1, "{level}\n{ran:#?}");
    let endings: Vec<&str> =
        level["endings"].as_array().unwrap().iter().filter_map(|e| e["ending"].as_str()).collect();
    assert!(endings.contains(&"no connection"), "{level}");
}
