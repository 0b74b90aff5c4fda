//! [`EndpointError`]: why an endpoint could not be asked.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::tensor::TensorError;

use super::Address;

/// Why an endpoint could not be asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EndpointError {
    /// That is no address of a model.
    #[error("`{text}` is no address of a model: {reason}")]
    Address {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The protocol does not go with the address.
    #[error("protocol `{protocol}` does not go with `{address}`")]
    Protocol {
        /// The protocol asked for.
        protocol: &'static str,
        /// The address.
        address: String,
    },
    /// The token cannot be sent.
    #[error("the token has characters that no HTTP header carries")]
    Token,
    /// Certificates could not be read.
    #[error("failed to read certificates from `{}`: {reason}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// TLS cannot be spoken there.
    #[error("TLS with `{address}` is not possible: {reason}")]
    Tls {
        /// The address.
        address: String,
        /// Why.
        reason: String,
    },
    /// Nobody answers there.
    #[error("failed to connect to `{address}`")]
    Unreachable {
        /// The address.
        address: String,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// It took the question and gave no answer.
    #[error("`{address}` did not answer within {seconds} s")]
    Silent {
        /// The address.
        address: String,
        /// How long was waited.
        seconds: f64,
    },
    /// The connection broke.
    #[error("failed to ask `{address}`: {reason}")]
    Broken {
        /// The address.
        address: String,
        /// What happened.
        reason: String,
    },
    /// Something else listens there.
    #[error("`{address}` does not speak the KServe v2 protocol: {found}")]
    NotKServe {
        /// The address.
        address: String,
        /// What it answered.
        found: String,
    },
    /// What answers there in the clear speaks another protocol than HTTP.
    #[error("`{address}` does not speak the KServe v2 protocol: {found}")]
    NotHttp {
        /// The address.
        address: String,
        /// What it answered.
        found: String,
    },
    /// It wants a token, or another one.
    #[error("`{address}` refuses to answer: {said}")]
    Unauthorized {
        /// The address.
        address: String,
        /// Its words.
        said: String,
    },
    /// It has no such model.
    #[error("`{address}` has no model `{model}`: {said}")]
    UnknownModel {
        /// The server.
        address: String,
        /// The model asked for.
        model: String,
        /// Its words.
        said: String,
        /// Its models, where it tells them.
        known: Vec<String>,
    },
    /// No model was named, and there is not exactly one.
    #[error("which model of `{address}` to ask is not said{}", how_many(known))]
    WhichModel {
        /// The server.
        address: String,
        /// Its models.
        known: Vec<String>,
    },
    /// It answered a question about the model with an error.
    #[error("`{address}` answers `{question}` with {said}")]
    Refused {
        /// The server.
        address: String,
        /// What was asked.
        question: String,
        /// Its answer.
        said: String,
    },
    /// A tensor has elements that cannot be made up or sent.
    #[error("tensor `{tensor}` has datatype `{datatype}`, which cannot be measured")]
    Datatype {
        /// The tensor.
        tensor: String,
        /// Its datatype.
        datatype: String,
    },
    /// The request does not fit into a message.
    #[error("a request of {bytes} bytes is too large for `{protocol}`")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The protocol.
        protocol: &'static str,
    },
    /// An input does not fit in memory.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

fn how_many(known: &[String]) -> String {
    if known.is_empty() { String::new() } else { format!(", it has {}", known.len()) }
}

impl EndpointError {
    /// Whether the command line is wrong, rather than the server.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Address { .. }
                | Self::Protocol { .. }
                | Self::Token
                | Self::Certificates { .. }
                | Self::Tls { .. }
                | Self::NotKServe { .. }
                | Self::NotHttp { .. }
                | Self::UnknownModel { .. }
                | Self::WhichModel { .. }
                | Self::Datatype { .. }
                | Self::TooLarge { .. }
        )
    }

    /// Whether there is nobody to ask.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Silent { .. })
    }

    /// What the user can do next.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Address { text, .. } if Address::with_scheme(text).is_some() => {
                format!("did you mean `http://{text}`?")
            }
            Self::Address { .. } => {
                "write http://HOST:PORT/MODEL or grpc://HOST:PORT/MODEL, with TLS https or grpcs, \
                 such as http://127.0.0.1:8000/digits"
                    .into()
            }
            Self::Protocol { .. } => {
                "http:// goes with http-json and http-binary, grpc:// with grpc".into()
            }
            Self::Token => "a token is one line of printable ASCII".into(),
            Self::Certificates { .. } => "`--ca` names a PEM file of certificates to trust".into(),
            Self::Unreachable { .. } => {
                "start a server, such as with `trt-pipeline serve SPEC`; it answers HTTP at \
                 127.0.0.1:8000 and gRPC at 127.0.0.1:8001 unless told otherwise"
                    .into()
            }
            Self::NotKServe { .. } => {
                "`trt-pipeline serve` answers HTTP at port 8000 and gRPC at port 8001 unless told \
                 otherwise; http:// and grpc:// are different ports"
                    .into()
            }
            Self::NotHttp { .. } => {
                "`trt-pipeline serve` answers HTTP at port 8000 and gRPC at port 8001 unless told \
                 otherwise; if the server speaks TLS, write https://"
                    .into()
            }
            Self::Unauthorized { .. } => "`--token-file` names a file with the token".into(),
            Self::UnknownModel { known, .. } if known.is_empty() => {
                "the server says its models at `/v2/repository/index`".into()
            }
            Self::UnknownModel { model, known, .. } if known.contains(model) => {
                "without a version, the one that takes requests answers".into()
            }
            Self::UnknownModel { known, .. } => format!("its models: {}", known.join(", ")),
            Self::WhichModel { known, .. } if known.is_empty() => {
                "add its name after the port: http://HOST:PORT/MODEL".into()
            }
            Self::WhichModel { known, .. } => {
                format!("add its name after the port; models: {}", known.join(", "))
            }
            Self::TooLarge { .. } => "ask for less with `--batch` or `--shapes`".into(),
            // The library has no other name for it.
            Self::Tls { reason, .. } if reason.contains("CaUsedAsEndEntity") => {
                "the certificate is marked as an authority's; make it with `-addext \
                 basicConstraints=critical,CA:FALSE`"
                    .into()
            }
            Self::Tls { .. } => {
                "write http:// or grpc:// where the server has no certificate; `--ca` names a PEM \
                 file of certificates to trust"
                    .into()
            }
            Self::Broken { .. } => {
                "http:// and grpc:// are different ports, and so are those with TLS and without"
                    .into()
            }
            Self::Silent { .. }
            | Self::Refused { .. }
            | Self::Datatype { .. }
            | Self::Tensor(_) => return None,
        })
    }
}
