//! Bytes that are no requests, and clients that go away.

use super::*;

#[tokio::test]
async fn junk_is_refused_and_the_server_goes_on() {
    let mut config = config();
    config.limits.header_bytes = 8 << 10;
    let server = Running::start(Role::Http, config, routes());
    let long = "a".repeat(9 << 10);
    let post = "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    let cases = [
        ("\0\x01\x02\x03 not http\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n".to_owned(), "400"),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nx: {long}\r\n\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(200)), "431"),
        ("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\n".to_owned(), "400"),
        (
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"
                .to_owned(),
            "400",
        ),
        (format!("{post}zz\r\n"), "408"),
        (format!("{post}ffffffffffffffffff\r\n"), "408"),
        (format!("{post}4\r\nabcdefgh\r\n"), "408"),
        (format!("{post}4;{long}{long}\r\nabcd\r\n0\r\n\r\n"), "408"),
        (format!("{post}4\r\nabcd\r\n0\r\n\r\n"), "200"),
    ];
    for (request, status) in cases {
        let mut client = server.connect().await;
        client.send(&request).await;
        client.shut().await;
        let answer = client.rest().await;
        let shown = request.chars().take(80).collect::<String>();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {answer}");
    }
    assert!(server.connect().await.get("/").await.ends_with("here"));
}

#[tokio::test]
async fn work_for_a_client_that_went_away_ends() {
    let gate = Gate::new();
    let server = Running::start(Role::Http, config(), gate.routes());
    let mut client = server.connect().await;
    client.send("GET /work HTTP/1.1\r\nhost: h\r\n\r\n").await;
    until("it is worked on", || gate.inside() == 1).await;
    drop(client);
    until("it is not worked on any more", || gate.inside() == 0).await;
}

#[tokio::test]
async fn a_client_that_goes_away_amid_its_request_leaves_nothing_behind() {
    let server = Running::start(Role::Http, config(), routes());
    for request in
        ["G", "GET / HTTP/1.1\r\nhost", "POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc"]
    {
        server.connect().await.send(request).await;
    }
    assert!(server.connect().await.get("/").await.ends_with("here"));
    assert_eq!(server.stop().await.unwrap().aborted, 0);
}

#[tokio::test]
async fn an_answer_arrives_though_its_request_was_not_read_to_the_end() {
    let routes = Router::new().route("/", post(|| async { (StatusCode::PAYLOAD_TOO_LARGE, "no") }));
    let server = Running::start(Role::Http, config(), routes);
    let body = vec![b'a'; 8 << 20];
    let mut client = server.connect().await;
    let head = format!("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n", body.len());
    client.send(head).await;
    client.send(body).await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("no"), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_whatever_its_head_says() {
    let mut config = config();
    config.limits.body_bytes = 1000;
    let server = Running::start(Role::Http, config, routes());
    let post = "POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n";
    let body = "a".repeat(1000);
    let answer = server.ask(format!("{post}content-length: 1000\r\n\r\n{body}")).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("1000"), "{answer}");
    let answer = server.ask(format!("{post}content-length: 1001\r\n\r\n{body}a")).await;
    let error = "the body is longer than 1000 bytes, the most this server takes";
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.ends_with(&format!("{{\"error\":\"{error}\"}}")), "{answer}");
    let chunks =
        format!("{post}transfer-encoding: chunked\r\n\r\n3e8\r\n{body}\r\n1\r\na\r\n0\r\n\r\n");
    let answer = server.ask(chunks).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.ends_with(error), "{answer}");
}
