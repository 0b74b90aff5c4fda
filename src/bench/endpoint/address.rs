//! [`Address`]: where a model is, as people write it.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

use super::EndpointError;

/// How requests are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, tensors as JSON numbers.
    HttpJson,
    /// HTTP/1.1, tensors as bytes after the JSON.
    HttpBinary,
    /// gRPC, tensors as bytes.
    Grpc,
}

impl Protocol {
    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::HttpJson => "http-json",
            Self::HttpBinary => "http-binary",
            Self::Grpc => "grpc",
        }
    }
}

/// Where a model is: `http://HOST:PORT/MODEL` or `grpc://HOST:PORT/MODEL`, with `s` for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    pub(super) grpc: bool,
    /// The model, where it was named.
    pub model: Option<String>,
    /// Its version, where one was named.
    pub version: Option<String>,
}

impl Address {
    /// Whether this is an address rather than a path.
    pub fn is_meant(text: &str) -> bool {
        text.contains("://")
    }

    /// What was probably meant by an address that lacks its scheme, such as `127.0.0.1:8000/m`.
    pub fn with_scheme(text: &str) -> Option<String> {
        let url = format!("http://{text}");
        (!Self::is_meant(text) && url.parse::<Self>().is_ok()).then_some(url)
    }

    /// Whether it is asked over gRPC.
    pub fn is_grpc(&self) -> bool {
        self.grpc
    }

    /// `http://HOST:PORT`.
    pub(super) fn origin(&self) -> String {
        let scheme = match (self.grpc, self.tls) {
            (false, false) => "http",
            (false, true) => "https",
            (true, false) => "grpc",
            (true, true) => "grpcs",
        };
        format!("{scheme}://{}", self.authority())
    }

    /// `HOST:PORT`.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The host as certificates name it: an IPv6 address without its brackets.
    pub(super) fn name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// `/v2/models/MODEL[/versions/VERSION]`.
    pub(super) fn path(&self, model: &str) -> String {
        let version = self.version.as_ref().map(|version| format!("/versions/{version}"));
        format!("/v2/models/{model}{}", version.unwrap_or_default())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())?;
        if let Some(model) = &self.model {
            write!(f, "/{model}")?;
        }
        self.version.as_ref().map_or(Ok(()), |version| write!(f, "/versions/{version}"))
    }
}

impl FromStr for Address {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let wrong = |reason| EndpointError::Address { text: text.to_owned(), reason };
        let uri: Uri = text.parse().map_err(|_| wrong("it is no URL"))?;
        let (grpc, tls) = match uri.scheme_str() {
            Some("http") => (false, false),
            Some("https") => (false, true),
            Some("grpc") => (true, false),
            Some("grpcs") => (true, true),
            _ => return Err(wrong("it starts with none of http, https, grpc and grpcs")),
        };
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("names and passwords are not asked for; there is `--token-file`"));
        }
        let port = authority.port_u16().ok_or_else(|| wrong("it names no port"))?;
        if uri.query().is_some() {
            return Err(wrong("it has a `?`"));
        }
        let path = uri.path().trim_matches('/');
        let path = path.strip_prefix("v2/models/").unwrap_or(if path == "v2" { "" } else { path });
        let path = path.strip_suffix("/infer").unwrap_or(path);
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (model, version) = match parts[..] {
            [] => (None, None),
            [model] => (Some(model), None),
            [model, "versions", version] => (Some(model), Some(version)),
            _ => return Err(wrong("after the port there is more than a model's name")),
        };
        Ok(Self {
            host: authority.host().to_owned(),
            port,
            tls,
            grpc,
            model: model.map(str::to_owned),
            version: version.map(str::to_owned),
        })
    }
}
