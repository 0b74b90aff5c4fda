//! What is wrong with a model, from what the library says.

use ort::ErrorCode;

use crate::backend::fault::Fault;

impl<R> From<ort::Error<R>> for Fault {
    fn from(error: ort::Error<R>) -> Self {
        let reason = error.message().trim_end().to_owned();
        match (error.code(), missing(&reason)) {
            (ErrorCode::ModelLoadCanceled, _) => Self::Cancelled,
            (ErrorCode::NotImplemented, Some((op, node))) => {
                Self::Node { node: node.to_owned(), op: op.to_owned(), reason }
            }
            _ => Self::Model(reason),
        }
    }
}

/// Operator and node of `Could not find an implementation for Foo(13) node with name 'bar'`.
fn missing(message: &str) -> Option<(&str, &str)> {
    let (_, rest) = message.split_once("Could not find an implementation for ")?;
    let (op, rest) = rest.split_once('(')?;
    let (_, rest) = rest.split_once("with name '")?;
    let (node, _) = rest.rsplit_once('\'')?;
    Some((op, node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_kernel_is_told_by_its_node() {
        let words = "Could not find an implementation for ConvInteger(10) node with name 'it's'";
        assert_eq!(missing(words), Some(("ConvInteger", "it's")));
        assert_eq!(missing("Could not find an implementation for Conv"), None);
        assert_eq!(missing(""), None);
    }
}
