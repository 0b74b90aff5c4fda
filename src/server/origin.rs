//! Which site a request comes from, as far as a browser says.

use hyper::Request;
use hyper::header::{HOST, HeaderMap, ORIGIN};

/// The name the client knows the server by, with its port.
pub(super) fn host<B>(request: &Request<B>) -> Option<&str> {
    let header = || request.headers().get(HOST).map(|host| host.to_str().unwrap_or(""));
    request.uri().authority().map(axum::http::uri::Authority::as_str).or_else(header)
}

/// The name or address of a host.
pub(super) fn without_port(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    }
}

/// Whether no other site can have this name: addresses, and those of this machine alone. What the
/// name service says of all others is up to whoever owns them.
pub(super) fn is_this_machine(host: &str) -> bool {
    let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<std::net::IpAddr>().is_ok()
}

/// Whether a page of another site than `host` sent the request. Programs do not say.
pub(super) fn is_foreign(headers: &HeaderMap, host: Option<&str>) -> bool {
    headers.get_all(ORIGIN).iter().any(|origin| {
        let site = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        !site.is_some_and(|(_, site)| host.is_some_and(|host| site.eq_ignore_ascii_case(host)))
    })
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn addresses_and_localhost_are_this_machine_and_other_names_are_not() {
        for host in [
            "127.0.0.1:8002",
            "10.0.0.7",
            "[::1]:8002",
            "[fe80::1]",
            "LocalHost:1",
            "a.localhost",
            "localhost.",
        ] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "evil.example:8002",
            "127.0.0.1.evil.example",
            "",
            ":",
            "[",
            "[::1",
            "localhost.evil",
            "localhost:80:80@evil",
        ] {
            assert_eq!(is_this_machine(host), host.starts_with("localhost:"), "{host}");
        }
    }

    #[test]
    fn only_pages_of_the_host_itself_are_its_own() {
        let foreign = |origin: &'static str, host: Option<&str>| {
            let headers = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static(origin))]);
            is_foreign(&headers, host)
        };
        assert!(!is_foreign(&HeaderMap::new(), Some("127.0.0.1:8002")));
        assert!(!foreign("http://127.0.0.1:8002", Some("127.0.0.1:8002")));
        assert!(!foreign("https://LOCALHOST:8002", Some("localhost:8002")));
        for origin in ["null", "", "http://127.0.0.1", "http://127.0.0.1:8002/", "http://evil"] {
            assert!(foreign(origin, Some("127.0.0.1:8002")), "{origin}");
        }
        assert!(foreign("http://127.0.0.1:8002", None));
    }
}
