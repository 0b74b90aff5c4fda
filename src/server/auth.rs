//! [`Access`]: who may ask a listener what.
//!
//! A token is asked for everywhere but where probes look that cannot send one, and which tell no
//! more than that the server is there. On the listener for control requests a browser may send it
//! as the password of any user, so that a person is asked for it.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::Request;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use subtle::ConstantTimeEq;

use super::ServerConfig;
use super::error::Role;
use super::origin;
use super::refusal::Refusal;
use super::tls::Certificate;

/// The bearer token that requests must carry. It is never shown.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Whether it can be sent in a header as it is.
    pub(super) fn is_sendable(&self) -> bool {
        let Self(token) = self;
        !token.is_empty() && token.trim() == token && HeaderValue::from_str(token).is_ok()
    }

    /// Compares in a time that does not tell how much of it is right.
    fn is(&self, given: &[u8]) -> bool {
        given.ct_eq(self.0.as_bytes()).into()
    }
}

impl From<String> for Token {
    fn from(token: String) -> Self {
        Self(token)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Paths that are answered without a token.
const OPEN: [&str; 3] = ["/v2/health/live", "/v2/health/ready", "/grpc.health.v1.Health/Check"];

/// Who may ask one listener.
pub(super) struct Access {
    token: Option<Token>,
    passwords: bool,
    browsers: bool,
    certificate: Option<Arc<Certificate>>,
}

impl Access {
    pub(super) fn new(
        role: Role,
        config: &ServerConfig,
        certificate: Option<Arc<Certificate>>,
    ) -> Self {
        Self {
            token: config.token.clone(),
            passwords: role == Role::Admin,
            browsers: role == Role::Admin || config.control,
            certificate,
        }
    }

    /// Refuses a request that may not be answered.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        if self.browsers {
            self.check_site(request)?;
        }
        match &self.token {
            Some(token) if !OPEN.contains(&request.uri().path()) => {
                self.check_token(token, request.headers())
            }
            _ => Ok(()),
        }
    }

    /// A page of another site must not use a person's browser to reach this server, nor pass its
    /// own name off as the server's. Only with a token, which no other site has, any name will do.
    fn check_site<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let host = origin::host(request);
        let named = |name: &str| self.certificate.as_ref().is_some_and(|own| own.is_for(name));
        if let Some(host) = host
            && self.token.is_none()
            && !origin::is_this_machine(host)
            && !named(origin::without_port(host))
        {
            return Err(Refusal::ForeignHost);
        }
        if origin::is_foreign(request.headers(), host) {
            return Err(Refusal::ForeignOrigin);
        }
        Ok(())
    }

    fn check_token(&self, token: &Token, headers: &HeaderMap) -> Result<(), Refusal> {
        let refusal = Refusal::Unauthorized { password: self.passwords };
        let value = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let (scheme, given) = value.and_then(split).ok_or(refusal)?;
        let right = if scheme.eq_ignore_ascii_case(b"bearer") {
            token.is(given)
        } else if self.passwords && scheme.eq_ignore_ascii_case(b"basic") {
            let decoded = BASE64_STANDARD.decode(given).map_err(|_| refusal)?;
            let colon = decoded.iter().position(|&byte| byte == b':').ok_or(refusal)?;
            token.is(&decoded[colon + 1..])
        } else {
            return Err(refusal);
        };
        if right { Ok(()) } else { Err(Refusal::WrongToken { password: self.passwords }) }
    }
}

fn split(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = value.iter().position(|&byte| byte == b' ')?;
    Some((&value[..space], value[space..].trim_ascii()))
}
