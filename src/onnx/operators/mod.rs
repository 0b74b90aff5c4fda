//! What the ONNX standard says of each operator of the default domain, per opset: how many inputs
//! and outputs it takes, of which element types, and which attributes it knows. The tables are
//! generated; they hold nothing about what a backend can run.

use std::ops::RangeInclusive;

use super::proto::attribute_proto::AttributeType;

mod table;
#[expect(clippy::unreadable_literal, reason = "sets of types as the generator writes them")]
mod type_table;
mod typing;

pub use typing::{TypeSet, Typing, Variable, later_typings, typing_of};

/// The default-domain opsets that are understood.
pub const OPSETS: RangeInclusive<i64> = table::OLDEST..=table::NEWEST;

/// "No upper bound" in [`Operator::inputs`] and [`Operator::outputs`].
pub const MANY: usize = usize::MAX;

/// One version of one operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operator {
    /// The operator's type, such as `Conv`.
    pub name: &'static str,
    /// The opset that introduced this version.
    pub since: i64,
    /// Fewest and most inputs; empty names of left-out optional inputs count.
    pub inputs: (usize, usize),
    /// Fewest and most outputs.
    pub outputs: (usize, usize),
    /// The attributes it knows, sorted by name.
    pub attributes: &'static [Attribute],
    /// Whether this version only says that the operator no longer exists.
    pub withdrawn: bool,
}

impl Operator {
    /// The attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<&'static Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }
}

/// An attribute of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: AttributeKind,
    /// Whether a node must have it.
    pub required: bool,
}

/// What an attribute holds.
#[expect(missing_docs, reason = "the standard's own names")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeKind {
    Float,
    Int,
    String,
    Tensor,
    Graph,
    Floats,
    Ints,
    Strings,
    SparseTensor,
    Type,
}

impl AttributeKind {
    /// The tag of such an attribute in a model file.
    pub fn tag(self) -> AttributeType {
        match self {
            Self::Float => AttributeType::Float,
            Self::Int => AttributeType::Int,
            Self::String => AttributeType::String,
            Self::Tensor => AttributeType::Tensor,
            Self::Graph => AttributeType::Graph,
            Self::Floats => AttributeType::Floats,
            Self::Ints => AttributeType::Ints,
            Self::Strings => AttributeType::Strings,
            Self::SparseTensor => AttributeType::SparseTensor,
            Self::Type => AttributeType::TypeProto,
        }
    }
}

/// The version of a default-domain operator that a model of `opset` means; `None` where that opset
/// has no such operator. A [withdrawn](Operator::withdrawn) one is found, so that it can be named.
pub fn lookup(op: &str, opset: i64) -> Option<&'static Operator> {
    let end = table::OPERATORS
        .partition_point(|candidate| (candidate.name, candidate.since) <= (op, opset));
    table::OPERATORS[..end].last().filter(|found| found.name == op)
}

/// The first opset, of those understood, that has an operator of this name.
pub fn introduced(op: &str) -> Option<i64> {
    let at = table::OPERATORS.partition_point(|candidate| candidate.name < op);
    table::OPERATORS.get(at).filter(|found| found.name == op).map(|found| found.since)
}

/// The names of all operators of `opset`, sorted.
pub fn names(opset: i64) -> impl Iterator<Item = &'static str> {
    let followers = table::OPERATORS.iter().skip(1).map(|next| next.name).chain([""]);
    table::OPERATORS
        .iter()
        .zip(followers)
        .filter(|(candidate, next)| candidate.name != *next)
        .map(|(candidate, _)| candidate.name)
        .filter(move |name| lookup(name, opset).is_some_and(|found| !found.withdrawn))
}

const fn operator(
    name: &'static str,
    since: i64,
    arity: [usize; 4],
    attributes: &'static [Attribute],
) -> Operator {
    let [min_in, max_in, min_out, max_out] = arity;
    let (inputs, outputs) = ((min_in, max_in), (min_out, max_out));
    Operator { name, since, inputs, outputs, attributes, withdrawn: false }
}

const fn withdrawn(
    name: &'static str,
    since: i64,
    arity: [usize; 4],
    attributes: &'static [Attribute],
) -> Operator {
    Operator { withdrawn: true, ..operator(name, since, arity, attributes) }
}

const fn required(name: &'static str, kind: AttributeKind) -> Attribute {
    Attribute { name, kind, required: true }
}

const fn optional(name: &'static str, kind: AttributeKind) -> Attribute {
    Attribute { name, kind, required: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_has_no_duplicates() {
        let keys: Vec<_> = table::OPERATORS.iter().map(|op| (op.name, op.since)).collect();
        assert!(keys.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn lookup_gives_the_version_an_opset_means() {
        assert_eq!(lookup("Softmax", 12).unwrap().since, 11);
        assert_eq!(lookup("Softmax", 13).unwrap().since, 13);
        assert_eq!(lookup("Gelu", 19), None);
        assert_eq!(introduced("Gelu"), Some(20));
        assert!(lookup("Upsample", 13).unwrap().withdrawn);
        assert!(!lookup("Upsample", 9).unwrap().withdrawn);
        assert_eq!(lookup("NoSuchOperator", 20), None);
        assert_eq!(lookup("", 20), None);
        assert!(names(20).any(|name| name == "Conv"));
        assert!(!names(13).any(|name| name == "Upsample" || name == "Gelu"));
    }

    #[test]
    fn arity_and_attributes_are_the_standards() {
        let conv = lookup("Conv", 17).unwrap();
        assert_eq!((conv.inputs, conv.outputs), ((2, 3), (1, 1)));
        assert_eq!(conv.attribute("pads").unwrap().kind, AttributeKind::Ints);
        let concat = lookup("Concat", 13).unwrap();
        assert_eq!(concat.inputs, (1, MANY));
        assert!(concat.attribute("axis").unwrap().required);
        assert!(lookup("If", 13).unwrap().attribute("then_branch").unwrap().required);
    }
}
