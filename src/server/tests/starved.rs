//! A server that may open no more files, in a process of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::*;

/// Tells [`starving`] that it runs in a process of its own.
const TASK: &str = "TRT_PIPELINE_STARVED_TEST";

#[track_caller]
fn next_line(output: &mut impl BufRead, containing: &str) -> String {
    let mut lines = output.lines().map(Result::unwrap);
    lines.find(|line| line.contains(containing)).unwrap()
}

/// Ends the process also where a test fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_without_files_left_answers_again_when_there_are_some() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "server::tests::starved::starving", "--nocapture"]);
    command.env(TASK, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Killed(command.spawn().unwrap());
    let mut output = BufReader::new(child.0.stdout.take().unwrap());
    let address = next_line(&mut output, "listening at ");
    let address: SocketAddr = address.rsplit(' ').next().unwrap().parse().unwrap();

    let mut client = std::net::TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").unwrap();
    next_line(&mut output, "failed to accept connections at ");
    child.0.stdin.take().unwrap().write_all(b"go on\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("here"), "{answer}");
}

/// Not a test of its own: the process of the other one.
#[tokio::test]
async fn starving() {
    if std::env::var_os(TASK).is_none() {
        return;
    }
    tracing_subscriber::fmt().with_writer(std::io::stdout).init();
    let limit = Some(64);
    setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit }).unwrap();
    let server = Running::start(Role::Http, config(), routes());
    let taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    println!("\nlistening at {}", server.address);
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        sender.send(()).unwrap();
    });
    until("it is told to go on", || receiver.try_recv().is_ok()).await;
    drop(taken);
    std::future::pending::<()>().await;
}
