//! Clients that take their time, and servers that do.

use super::*;

const SHORT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_in_both_protocols() {
    let mut config = config();
    config.limits.header_timeout = SHORT;
    for role in [Role::Http, Role::Grpc] {
        let server = Running::start(role, config.clone(), routes());
        assert_eq!(server.ask("").await, "");
        for begun in ["G", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            // What comes back may be the server's settings, and then the end.
            let answer = server.connect().await.bytes_after(begun).await;
            assert!(!answer.starts_with(b"HTTP/1.1 200"), "{begun}");
        }
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_head_that_comes_drop_by_drop_is_not_waited_for() {
    let mut config = config();
    config.limits.header_timeout = SHORT;
    let server = Running::start(Role::Http, config, routes());
    let client = server.connect().await;
    let mut drops = b"GET / HTTP/1.1\r\nx: ".iter().chain(std::iter::repeat(&b'a'));
    let began = Instant::now();
    while client.0.try_write(&[*drops.next().unwrap()]).is_ok() {
        assert!(began.elapsed() < DEADLINE);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_answer() {
    let mut config = config();
    config.limits.header_timeout = SHORT;
    let server = Running::start(Role::Http, config, routes());
    let mut client = server.connect().await;
    assert!(client.get("/").await.ends_with("here"));
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let mut config = config();
    config.limits.transfer_timeout = SHORT;
    let server = Running::start(Role::Http, config, routes());
    let head = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nsome of it";
    let answer = server.ask(head).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.ends_with("the body did not arrive within 0.1 s"), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_cut_off() {
    let mut config = config();
    config.limits.transfer_timeout = SHORT;
    let answer = vec![b'a'; 64 << 20];
    let routes = Router::new().route("/large", get(|| async { answer }));
    let server = Running::start(Role::Http, config, routes);
    let mut client = server.connect().await;
    client.send("GET /large HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let report = server.stop();
    // The server ends although nothing was read.
    assert_eq!(report.await.unwrap().aborted, 0);
    assert!(client.rest().await.len() < 64 << 20);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_so() {
    let mut config = config();
    config.limits.request_timeout = SHORT;
    let gate = Gate::new();
    let server = Running::start(Role::Http, config.clone(), gate.routes());
    let mut client = server.connect().await;
    let answer = client.get("/work").await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(answer.ends_with("{\"error\":\"the request took longer than 0.1 s\"}"), "{answer}");
    assert_eq!(gate.inside(), 0, "it is not worked on any more");
    assert!(client.get("/").await.ends_with("here"), "the connection remains");
}

#[tokio::test]
async fn a_request_that_loads_a_model_may_take_longer() {
    let mut config = config();
    config.limits.request_timeout = SHORT;
    let gate = Gate::new();
    let load = gate.clone();
    let path = "/v2/repository/models/m/load";
    let routes = gate.routes().route(path, get(move || load.clone().pass()));
    let server = Running::start(Role::Admin, config, routes);
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let (mut loading, mut other) = (server.connect().await, server.connect().await);
    loading.send(&get(path)).await;
    until("it is worked on", || gate.inside() == 1).await;
    // By the time that this one took too long, the other one would have, too.
    other.send(&get("/work")).await;
    assert!(other.rest().await.starts_with("HTTP/1.1 504 "));
    gate.open.add_permits(1);
    assert!(loading.rest().await.ends_with("done"));
}
