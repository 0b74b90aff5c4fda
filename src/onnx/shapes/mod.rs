//! Element types and extents of the main graph's tensors, by the standard's own rules.
//!
//! Owns what can be told without computing anything large: shapes, and the values of the small
//! integer tensors that shapes are made of. What a model notes about its intermediate tensors is
//! not believed, and what no rule covers is unknown, never guessed.

use std::collections::HashMap;

use crate::onnx::model::Model;
use crate::onnx::proto::tensor_shape_proto::dimension;
use crate::onnx::proto::{NodeProto, TensorProto, ValueInfoProto, type_proto};
use crate::onnx::tensors::{self, elements};
use crate::tensor::{DType, Dim, TensorSpec};

mod layout;
mod rules;
#[cfg(test)]
mod tests;
mod values;
mod windows;

/// The number of elements along an axis, or the value of an element of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Extent {
    Fixed(i64),
    /// Known only when the model runs. Equal numbers are equal extents.
    Symbol(u32),
}

/// What is known of a tensor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fact {
    /// The format's number of its element type.
    pub(super) dtype: Option<i32>,
    pub(super) dims: Option<Vec<Extent>>,
    /// The elements of a small integer tensor of at most one axis.
    pub(super) values: Option<Vec<Extent>>,
}

/// More axes than any real tensor has, and than rules look at.
const MOST_AXES: usize = 64;
/// More elements than any shape computation has.
const MOST_VALUES: usize = 256;

/// What is known of each tensor.
#[derive(Debug)]
pub(super) struct Shapes<'a> {
    facts: HashMap<&'a str, Fact>,
    /// The names that the model's inputs give to symbols; most have none.
    symbols: Vec<Option<&'a str>>,
}

impl<'a> Shapes<'a> {
    pub(super) fn of(model: &'a Model) -> Self {
        let mut shapes = Self { facts: HashMap::new(), symbols: Vec::new() };
        let mut named = HashMap::new();
        for input in model.fed_inputs() {
            let fact = shapes.declared(input, &mut named);
            shapes.facts.insert(input.name(), fact);
        }
        for tensor in &model.graph.initializer {
            shapes.facts.insert(tensor.name(), constant(model, tensor));
        }
        for node in &model.graph.node {
            let known = model.is_standard_operator(node);
            let facts = if known { rules::infer(model, &mut shapes, node) } else { vec![] };
            for (name, fact) in node.output.iter().zip(facts) {
                if fact.dims.as_ref().is_none_or(|dims| dims.len() <= MOST_AXES) {
                    shapes.facts.insert(name, fact);
                }
            }
        }
        shapes
    }

    pub(super) fn get(&self, name: &str) -> Option<&Fact> {
        self.facts.get(name)
    }

    /// The axes of a tensor, where their number is known.
    pub(super) fn dims(&self, name: &str) -> Option<&[Extent]> {
        self.get(name)?.dims.as_deref()
    }

    pub(super) fn dtype(&self, name: &str) -> Option<i32> {
        self.get(name)?.dtype
    }

    /// Whether two tensors have the same shape whatever the inputs' shapes are.
    pub(super) fn same(&self, left: &str, right: &str) -> bool {
        self.dims(left).is_some_and(|dims| Some(dims) == self.dims(right))
    }

    /// How a tensor is declared; `None` where its element type is not known.
    pub(super) fn spec(&self, name: &str) -> Option<TensorSpec> {
        let fact = self.get(name)?;
        let dim = |extent: &Extent| match extent {
            Extent::Fixed(extent) => usize::try_from(*extent).map_or(Dim::Any, Dim::Fixed),
            Extent::Symbol(symbol) => self.symbol_name(*symbol).map_or(Dim::Any, Dim::Symbol),
        };
        Some(TensorSpec {
            name: name.to_owned(),
            dtype: tensors::dtype(fact.dtype?)?,
            dims: fact.dims.as_ref().map(|dims| dims.iter().map(dim).collect()),
        })
    }

    fn symbol_name(&self, symbol: u32) -> Option<String> {
        let name = self.symbols.get(usize::try_from(symbol).ok()?)?;
        name.map(str::to_owned)
    }

    /// An extent that equals no other.
    fn fresh(&mut self) -> Extent {
        self.symbol(None)
    }

    fn symbol(&mut self, name: Option<&'a str>) -> Extent {
        self.symbols.push(name);
        Extent::Symbol(u32::try_from(self.symbols.len() - 1).unwrap_or(u32::MAX))
    }

    fn declared(
        &mut self,
        input: &'a ValueInfoProto,
        named: &mut HashMap<&'a str, Extent>,
    ) -> Fact {
        let Some(type_proto::Value::TensorType(tensor)) =
            input.r#type.as_ref().and_then(|declared| declared.value.as_ref())
        else {
            return Fact::default();
        };
        let dims =
            tensor.shape.as_ref().filter(|shape| shape.dim.len() <= MOST_AXES).map(|shape| {
                let dims = shape.dim.iter().map(|dim| match &dim.value {
                    Some(dimension::Value::DimValue(extent)) if *extent >= 0 => {
                        Extent::Fixed(*extent)
                    }
                    Some(dimension::Value::DimParam(name)) if !name.is_empty() => {
                        *named.entry(name).or_insert_with(|| self.symbol(Some(name)))
                    }
                    _ => self.fresh(),
                });
                dims.collect()
            });
        Fact { dtype: tensor.elem_type, dims, values: None }
    }
}

/// What is known of a constant.
fn constant(model: &Model, tensor: &TensorProto) -> Fact {
    let dims = tensor.dims.iter().map(|&extent| Extent::Fixed(extent)).collect();
    let is_small = tensor.dims.len() <= 1
        && elements(tensor).is_some_and(|count| count <= MOST_VALUES as u64)
        && tensors::dtype(tensor.data_type()).is_some_and(|dtype| !dtype.is_float());
    let values = is_small.then(|| integers(model, tensor)).flatten();
    let values = values.map(|values| values.into_iter().map(Extent::Fixed).collect());
    Fact { dtype: Some(tensor.data_type()), dims: Some(dims), values }
}

/// The values of an integer tensor.
pub(super) fn integers(model: &Model, tensor: &TensorProto) -> Option<Vec<i64>> {
    let values = model.values(tensor).ok()?;
    if values.dtype() == DType::Int64 {
        return values.as_slice::<i64>().map(<[i64]>::to_vec);
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^32")]
    let whole = |value: f64| {
        (value.abs() <= f64::from(u32::MAX) && value.fract() == 0.0).then_some(value as i64)
    };
    values.to_f64().into_iter().map(whole).collect()
}

/// The extents, where all are fixed.
pub(super) fn fixed(extents: &[Extent]) -> Option<Vec<i64>> {
    let number = |extent: &Extent| match extent {
        Extent::Fixed(extent) => Some(*extent),
        Extent::Symbol(_) => None,
    };
    extents.iter().map(number).collect()
}

/// An axis counted from the front.
pub(super) fn axis(axis: i64, rank: usize) -> Option<usize> {
    let count = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis.checked_add(count)? } else { axis };
    usize::try_from(axis).ok().filter(|axis| *axis < rank)
}

/// The name of a node's input, if it is given.
fn given(node: &NodeProto, index: usize) -> Option<&str> {
    node.input.get(index).map(String::as_str).filter(|name| !name.is_empty())
}
