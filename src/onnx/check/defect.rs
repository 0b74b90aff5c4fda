//! [`Defect`]: one thing that is wrong inside a model.

use std::fmt;

use crate::onnx::error::ExternalProblem;
use crate::onnx::operators::{MANY, OPSETS};

/// A node as messages name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeName {
    /// Its name, or its first output where it has none.
    pub name: String,
    /// Its operator, with the domain where that is not the default one.
    pub op: String,
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node `{}` ({})", self.name, self.op)
    }
}

/// One thing that is wrong inside a model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Defect {
    /// The file format is newer than what is understood, or nonsense.
    #[error("IR version {found} is not supported (3 to {newest} are)")]
    IrVersion {
        /// What the model says.
        found: i64,
        /// The newest supported.
        newest: i64,
    },
    /// The model does not say which operators it means.
    #[error("the model imports no version of the default operator set")]
    NoOpset,
    /// The operator set is out of range.
    #[error("opset {found} is not supported ({} to {} are)", OPSETS.start(), OPSETS.end())]
    Opset {
        /// What the model says.
        found: i64,
    },
    /// An operator of a domain that nothing here knows.
    #[error("{node} is not an operator of the standard, nor a function of the model")]
    CustomOperator {
        /// The node.
        node: NodeName,
    },
    /// The operator set has no such operator.
    #[error("{node} is not an operator of opset {opset}{}", hint(suggestion.as_ref(), *introduced))]
    UnknownOperator {
        /// The node.
        node: NodeName,
        /// The model's opset.
        opset: i64,
        /// A similar name.
        suggestion: Option<String>,
        /// The opset that brought it, if that is a later one.
        introduced: Option<i64>,
    },
    /// The operator set no longer has the operator.
    #[error("{node}: the operator was withdrawn in opset {since}; the model is of opset {opset}")]
    WithdrawnOperator {
        /// The node.
        node: NodeName,
        /// The opset that withdrew it.
        since: i64,
        /// The model's opset.
        opset: i64,
    },
    /// The operator has no such attribute.
    #[error("{node} has the unknown attribute `{attribute}`{}", hint(suggestion.as_ref(), None))]
    UnknownAttribute {
        /// The node.
        node: NodeName,
        /// The attribute.
        attribute: String,
        /// A similar name.
        suggestion: Option<String>,
    },
    /// The attribute holds another type of value.
    #[error("{node}: attribute `{attribute}` is {found}, the operator takes {expected}")]
    AttributeType {
        /// The node.
        node: NodeName,
        /// The attribute.
        attribute: String,
        /// The operator's type.
        expected: &'static str,
        /// The model's.
        found: String,
    },
    /// A required attribute is missing.
    #[error("{node} lacks the attribute `{attribute}`")]
    MissingAttribute {
        /// The node.
        node: NodeName,
        /// The attribute.
        attribute: &'static str,
    },
    /// Too few or too many inputs.
    #[error("{node} has {found} inputs, the operator takes {}", range(*expected))]
    InputCount {
        /// The node.
        node: NodeName,
        /// What it has.
        found: usize,
        /// Fewest and most.
        expected: (usize, usize),
    },
    /// Too few or too many outputs.
    #[error("{node} has {found} outputs, the operator gives {}", range(*expected))]
    OutputCount {
        /// The node.
        node: NodeName,
        /// What it has.
        found: usize,
        /// Fewest and most.
        expected: (usize, usize),
    },
    /// A node uses a name that nothing produces.
    #[error("{node} reads `{tensor}`, which nothing produces")]
    DanglingInput {
        /// The node.
        node: NodeName,
        /// The name.
        tensor: String,
    },
    /// A node uses a name before the node that produces it.
    #[error("{node} reads `{tensor}` before {producer} produces it")]
    UsedBeforeProduced {
        /// The node.
        node: NodeName,
        /// The name.
        tensor: String,
        /// The later node.
        producer: NodeName,
    },
    /// Two producers of one name.
    #[error("`{tensor}` is produced twice: by {first} and by {second}")]
    DuplicateName {
        /// The name.
        tensor: String,
        /// What produced it first.
        first: String,
        /// What produces it again.
        second: String,
    },
    /// A graph output that nothing produces.
    #[error("output `{tensor}` is not produced by any node")]
    OutputNotProduced {
        /// The output.
        tensor: String,
    },
    /// The graph has no output.
    #[error("the graph has no outputs")]
    NoOutputs,
    /// Something that must have a name has none.
    #[error("{what} has no name")]
    NoName {
        /// Which kind of thing.
        what: &'static str,
    },
    /// An input or output is no tensor of a supported type.
    #[error("`{value}` is {found}, which is not supported as an input or output")]
    ValueType {
        /// The input or output.
        value: String,
        /// What it is.
        found: String,
    },
    /// An initializer of an element type that the format does not have.
    #[error("tensor `{tensor}` has the {found}")]
    TensorType {
        /// The tensor.
        tensor: String,
        /// What the model says.
        found: String,
    },
    /// An initializer whose extents make no shape.
    #[error("tensor `{tensor}` has the impossible shape {dims:?}")]
    TensorShape {
        /// The tensor.
        tensor: String,
        /// The extents.
        dims: Vec<i64>,
    },
    /// An initializer with more or fewer values than its shape has.
    #[error("tensor `{tensor}` of shape {dims:?} needs {expected} {unit}, the model has {found}")]
    TensorSize {
        /// The tensor.
        tensor: String,
        /// The extents.
        dims: Vec<i64>,
        /// What the shape needs.
        expected: u64,
        /// What there is.
        found: u64,
        /// `bytes` or `values`.
        unit: &'static str,
    },
    /// An input of an element type that the operator does not take.
    #[error("{node} reads `{tensor}`, which is {found}; it takes {allowed}")]
    InputType {
        /// The node.
        node: NodeName,
        /// The input.
        tensor: String,
        /// Its element type.
        found: String,
        /// What the operator takes there.
        allowed: String,
    },
    /// Two inputs that must be of one element type, and are not.
    #[error("{node} takes `{first}` and `{second}` of one element type, but they are {types}")]
    TypesDiffer {
        /// The node.
        node: NodeName,
        /// One input.
        first: String,
        /// The other.
        second: String,
        /// Both types.
        types: String,
    },
    /// A value whose declared element type is not the one that it has.
    #[error("`{tensor}` is declared to be {declared}, but it is {found}")]
    DeclaredType {
        /// The value.
        tensor: String,
        /// What the model says.
        declared: String,
        /// What its producer gives.
        found: String,
    },
    /// An initializer whose external data is not usable.
    #[error("tensor `{tensor}`: {problem}")]
    External {
        /// The tensor.
        tensor: String,
        /// What is wrong.
        problem: ExternalProblem,
    },
}

fn hint(suggestion: Option<&String>, introduced: Option<i64>) -> String {
    match (introduced, suggestion) {
        (Some(opset), _) => format!(" (it came with opset {opset})"),
        (None, Some(name)) => format!(" (did you mean `{name}`?)"),
        (None, None) => String::new(),
    }
}

fn range((least, most): (usize, usize)) -> String {
    match (least, most) {
        (least, MANY) => format!("{least} or more"),
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least} to {most}"),
    }
}

impl Defect {
    /// What the user can do next.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Opset { found } if found > OPSETS.end() => {
                format!("export the model with opset {} or lower", OPSETS.end())
            }
            Self::Opset { .. } | Self::WithdrawnOperator { .. } => {
                "convert it with onnx.version_converter, or export it with a newer opset".into()
            }
            Self::UnknownOperator { introduced: Some(opset), .. } => {
                format!("export the model with opset {opset} or higher")
            }
            Self::CustomOperator { .. } | Self::UnknownOperator { .. } => {
                "export the model with standard ONNX operators only".into()
            }
            Self::IrVersion { .. } => {
                "save the model with an onnx package of the same age as its opset".into()
            }
            Self::External { problem, .. } => problem.help().to_owned(),
            Self::UsedBeforeProduced { .. } => {
                "sort the nodes topologically, as the standard demands".into()
            }
            Self::ValueType { .. } => {
                "export the model without sequences, maps and strings (for scikit-learn: \
                 `options={'zipmap': False}`)"
                    .into()
            }
            _ => return None,
        })
    }
}
