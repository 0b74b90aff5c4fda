//! More requests and connections than there is room for.

use tokio_util::task::TaskTracker;

use super::super::connections::Connections;
use super::super::door::Door;
use super::super::traffic::Traffic;
use super::*;

#[tokio::test]
async fn one_request_too_many_is_refused_at_once_and_told_when_to_come_again() {
    let mut config = config();
    config.limits.requests = 2;
    let gate = Gate::new();
    let server = Running::start(Role::Http, config, gate.routes());
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    for client in [&mut first, &mut second] {
        client.send("GET /work HTTP/1.1\r\nhost: h\r\n\r\n").await;
    }
    until("both are worked on", || gate.inside() == 2).await;
    let mut third = server.connect().await;
    let answer = third.get("/").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    let body = "{\"error\":\"2 requests are being answered already; try again later\"}";
    assert!(answer.ends_with(body), "{answer}");
    gate.open.add_permits(2);
    assert!(first.answer().await.ends_with("done"));
    assert!(second.answer().await.ends_with("done"));
    assert!(third.get("/").await.ends_with("here"), "there is room again");
}

#[tokio::test]
async fn connections_in_use_are_kept_and_one_more_is_told_why_it_is_refused() {
    let mut config = config();
    config.limits.connections = 2;
    let gate = Gate::new();
    let server = Running::start(Role::Http, config, gate.routes());
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut client = server.connect().await;
        client.send("GET /work HTTP/1.1\r\nhost: h\r\n\r\n").await;
        busy.push(client);
    }
    until("both are worked on", || gate.inside() == 2).await;
    let answer = server.connect().await.answer().await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with("{\"error\":\"there are too many connections to the server\"}"));
    gate.open.add_permits(2);
    for mut client in busy {
        assert!(client.answer().await.ends_with("done"));
    }
}

#[tokio::test]
async fn a_full_house_lets_the_longest_unused_connection_go() {
    let mut config = config();
    config.limits.connections = 2;
    let server = Running::start(Role::Http, config, routes());
    let mut oldest = server.connect().await;
    assert!(oldest.get("/").await.ends_with("here"));
    let mut younger = server.connect().await;
    assert!(younger.get("/").await.ends_with("here"));
    // Refused until the oldest is seen as unused.
    let began = Instant::now();
    loop {
        let mut client = server.connect().await;
        if client.get("/").await.contains(" 200 OK") {
            break;
        }
        assert!(began.elapsed() < DEADLINE);
    }
    assert_eq!(oldest.rest().await, "");
    assert!(younger.get("/").await.ends_with("here"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_do_not_keep_others_waiting() {
    let files = descriptors::allow_all();
    // Both ends of each are files of this process.
    let count = 10_000.min((files - files.min(1000)) / 2);
    let server = Running::start(Role::Http, config(), routes());
    let mut idle = Vec::new();
    for _ in 0..count {
        idle.push(server.connect().await);
    }
    let mut client = server.connect().await;
    for _ in 0..100 {
        assert!(client.get("/").await.ends_with("here"));
    }
    let last = idle.last_mut().unwrap();
    assert!(last.get("/").await.ends_with("here"), "the last of {count} is served");
    assert!(idle[0].get("/").await.ends_with("here"), "as is the first");
}

#[tokio::test]
async fn a_connection_that_says_nothing_takes_little_memory() {
    let app = App::new(config(), Arc::default(), PipelineViews::default());
    let traffic = Arc::new(Traffic::new(1));
    let door = Door::new(Role::Http, &app, routes(), traffic, None, TaskTracker::new());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let member = Arc::new(Connections::new(1)).admit().unwrap();
    let connection = connection::serve(stream, member, Arc::new(door));
    let bytes = std::mem::size_of_val(&connection);
    assert!(bytes <= 4 << 10, "{bytes}");
}
