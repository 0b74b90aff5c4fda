//! Tokens, and pages of other sites.

use super::*;
use axum::body::Body;
use hyper_util::rt::{TokioExecutor, TokioIo};

fn with_token() -> ServerConfig {
    ServerConfig { token: Some(String::from("sesame").into()), ..config() }
}

async fn status(server: &Running, path: &str, headers: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
    let answer = server.ask(request).await;
    answer["HTTP/1.1 ".len()..][..3].to_owned()
}

#[tokio::test]
async fn without_the_token_only_probes_are_answered() {
    let server = Running::start(Role::Http, with_token(), routes());
    for wrong in [
        "",
        "authorization: \r\n",
        "authorization: Bearer\r\n",
        "authorization: Bearer \r\n",
        "authorization: Bearer sesam\r\n",
        "authorization: Bearer sesame2\r\n",
        "authorization: Bearer SESAME\r\n",
        "authorization: sesame\r\n",
        "authorization: Basic c2VzYW1l\r\n",
        "authorization: Basic OnNlc2FtZQ==\r\n",
    ] {
        assert_eq!(status(&server, "/", wrong).await, "401", "{wrong}");
    }
    assert_eq!(status(&server, "/v2/health/live", "").await, "200");
    assert_eq!(status(&server, "/", "authorization: Bearer sesame\r\n").await, "200");
    assert_eq!(status(&server, "/", "Authorization: bearer  sesame\r\n").await, "200");
    let answer = server.ask("GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert!(answer.contains("\r\nwww-authenticate: Bearer\r\n"), "{answer}");
    assert!(answer.contains("lacks the server's token; send it as"), "{answer}");
    let wrong = "GET / HTTP/1.1\r\nauthorization: Bearer sesam\r\nconnection: close\r\n\r\n";
    let answer = server.ask(wrong).await;
    assert!(answer.contains("\r\nwww-authenticate: Bearer\r\n"), "{answer}");
    assert!(answer.contains("the token of the request is not the server's"), "{answer}");
    assert!(!answer.contains("sesam"), "{answer}");
}

#[tokio::test]
async fn a_person_may_give_the_token_as_a_password_where_the_page_is() {
    let server = Running::start(Role::Admin, with_token(), routes());
    let answer = server.ask("GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert!(answer.contains("\r\nwww-authenticate: Basic realm=\"token\"\r\n"), "{answer}");
    // `:sesame`, `me:sesame`, and wrong ones.
    for (given, expected) in [
        ("OnNlc2FtZQ==", "200"),
        ("bWU6c2VzYW1l", "200"),
        ("c2VzYW1l", "401"),
        ("OnNlc2FtZQ=", "401"),
        ("OnNlc2FtZTI=", "401"),
        ("!", "401"),
    ] {
        let header = format!("authorization: Basic {given}\r\n");
        assert_eq!(status(&server, "/", &header).await, expected, "{given}");
    }
}

#[tokio::test]
async fn grpc_calls_without_the_token_are_unauthenticated() {
    let server = Running::start(Role::Grpc, with_token(), routes());
    let call = |token: Option<&'static str>| {
        let address = server.address;
        async move {
            let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"));
            let channel = channel.unwrap().connect().await.unwrap();
            let mut client = tonic::client::Grpc::new(channel);
            client.ready().await.unwrap();
            let mut request = tonic::Request::new(());
            if let Some(token) = token {
                request.metadata_mut().insert("authorization", token.parse().unwrap());
            }
            let path = axum::http::uri::PathAndQuery::from_static("/v2/health/never");
            let codec = tonic_prost::ProstCodec::<(), ()>::default();
            client.unary(request, path, codec).await.unwrap_err().code()
        }
    };
    assert_eq!(call(None).await, tonic::Code::Unauthenticated);
    assert_eq!(call(Some("Bearer simsim")).await, tonic::Code::Unauthenticated);
    // Let in, to where nothing is.
    assert_eq!(call(Some("Bearer sesame")).await, tonic::Code::Unimplemented);
}

#[tokio::test]
async fn pages_and_names_of_other_sites_are_refused_where_control_is() {
    for (role, control) in [(Role::Admin, false), (Role::Http, true)] {
        let config = ServerConfig { control, ..config() };
        let server = Running::start(role, config, routes());
        let own = format!("host: {}\r\n", server.address);
        for (headers, expected) in [
            (own.clone(), "200"),
            ("host: localhost:9\r\n".into(), "200"),
            (format!("{own}origin: http://{}\r\n", server.address), "200"),
            ("host: evil.example\r\n".into(), "421"),
            (format!("host: evil.example:{}\r\n", server.address.port()), "421"),
            (format!("{own}origin: http://evil.example\r\n"), "403"),
            (format!("{own}origin: null\r\n"), "403"),
        ] {
            assert_eq!(status(&server, "/", &headers).await, expected, "{headers}");
        }
    }
}

#[tokio::test]
async fn inference_is_for_every_name_and_says_nothing_to_browsers() {
    let server = Running::start(Role::Http, config(), routes());
    let request =
        "GET / HTTP/1.1\r\nhost: a.example\r\norigin: http://b\r\nconnection: close\r\n\r\n";
    let answer = server.ask(request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(!answer.contains("access-control"), "{answer}");
}

#[tokio::test]
async fn a_grpc_listener_takes_grpc_calls_alone_and_none_of_other_sites_where_control_is() {
    let server = Running::start(Role::Grpc, ServerConfig { control: true, ..config() }, routes());
    let io = TokioIo::new(server.connect().await.0);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let _connection = tokio::spawn(connection);
    let own = format!("http://{}", server.address);
    for (kind, origin, expected) in [
        ("application/grpc", None, (200, None)),
        ("application/grpc+proto", Some(own.as_str()), (200, None)),
        ("application/grpc", Some("https://evil.example"), (200, Some("7"))),
        ("text/plain", None, (415, None)),
        ("application/json", None, (415, None)),
        ("application/grpc-web+proto", None, (415, None)),
        ("", None, (415, None)),
    ] {
        let mut request = hyper::Request::get(format!("{own}/")).header("content-type", kind);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let request = request.body(Body::empty()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let code = answer.headers().get("grpc-status").map(|code| code.to_str().unwrap());
        assert_eq!((answer.status().as_u16(), code), expected, "{kind} {origin:?}");
    }
}
