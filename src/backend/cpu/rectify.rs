//! Rectifiers, sigmoids and extremes that keep NaN. tract's take the other operand where one is
//! NaN, or an end of the range, so a fault upstream would look like a dead unit. `Max` and `Min`
//! are replaced everywhere; `Relu` and `Clip`, which tract makes parts of the layer before, and
//! `Sigmoid` and `Tanh`, which it computes fast, only in the reference.

use tract_onnx::model::OnnxOpRegister;
use tract_onnx::prelude::tract_ndarray::Zip;
use tract_onnx::prelude::{DatumType, Tensor, TractError, TractResult};
use tract_onnx::tract_core::ops::binary::BinMiniOp;
use tract_onnx::tract_core::ops::element_wise::{ElementWiseMiniOp, ElementWiseOp};
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_hir::infer::InferenceOp;
use tract_onnx::tract_hir::ops::binary::Nary;
use tract_onnx::tract_hir::ops::element_wise::ElementWiseIntoHir as _;

use crate::onnx::proto::{GraphProto, NodeProto};
use crate::onnx::{from_tensor, node_name};
use crate::tensor::{Shape, Tensor as Values};

use super::guard::attribute;
use super::program::Rearranging;

/// Our operators' types; no model can contain them, because the guard rails refuse unknown ones.
const RECTIFY: &str = "TrtPipelineRelu";
const SIGMOID: &str = "TrtPipelineSigmoid";
const TANH: &str = "TrtPipelineTanh";
const LARGER: &str = "TrtPipelineMax";
const SMALLER: &str = "TrtPipelineMin";

/// Ends the names of what is added here; no name in a file contains this character.
const BOUNDED: &str = "\0bounded";

/// Teaches tract's reader our operators.
pub(super) fn register(register: &mut OnnxOpRegister) {
    register.insert(RECTIFY, |_, _| Ok((Curve::Relu.over_elements(), vec![])));
    register.insert(SIGMOID, |_, _| Ok((Curve::Sigmoid.over_elements(), vec![])));
    register.insert(TANH, |_, _| Ok((Curve::Tanh.over_elements(), vec![])));
    register.insert(LARGER, |_, _| Ok((Box::new(Nary(Box::new(Larger), false)), vec![])));
    register.insert(SMALLER, |_, _| Ok((Box::new(Nary(Box::new(Smaller), false)), vec![])));
}

/// Makes these operators of a graph ours.
pub(super) fn rewrite(graph: &mut GraphProto, rearranging: Rearranging) {
    let nodes = std::mem::take(&mut graph.node);
    for mut node in nodes {
        for attribute in &mut node.attribute {
            let inner = attribute.g.iter_mut().chain(&mut attribute.graphs);
            inner.for_each(|graph| rewrite(graph, rearranging));
        }
        match (node.op_type(), rearranging) {
            ("Max", _) => node.op_type = Some(LARGER.to_owned()),
            ("Min", _) => node.op_type = Some(SMALLER.to_owned()),
            ("Relu", Rearranging::None) => node.op_type = Some(RECTIFY.to_owned()),
            ("Sigmoid", Rearranging::None) => node.op_type = Some(SIGMOID.to_owned()),
            ("Tanh", Rearranging::None) => node.op_type = Some(TANH.to_owned()),
            ("Clip", Rearranging::None) => {
                bound(&node, graph);
                continue;
            }
            _ => {}
        }
        graph.node.push(node);
    }
}

/// Writes a `Clip` as the smaller of the larger.
fn bound(node: &NodeProto, graph: &mut GraphProto) {
    let Some(result) = node.output.first() else { return };
    let mut limit = |name: &str, index: usize| match attribute(node, name).and_then(|a| a.f) {
        Some(value) => {
            let constant = format!("{result}{BOUNDED}.{name}");
            let value = Values::from_f32(Shape(vec![]), &[value]).ok()?;
            graph.initializer.push(from_tensor(&constant, &value));
            Some(constant)
        }
        None => node.input.get(index).filter(|limit| !limit.is_empty()).cloned(),
    };
    let mut value = node.input.first().cloned().unwrap_or_default();
    for (index, op, limit) in [(0, LARGER, limit("min", 1)), (1, SMALLER, limit("max", 2))] {
        let made = if index == 1 { result.clone() } else { format!("{result}{BOUNDED}") };
        let input = std::mem::replace(&mut value, made.clone());
        graph.node.push(NodeProto {
            op_type: Some(if limit.is_some() { op } else { "Identity" }.to_owned()),
            name: (index == 1).then(|| node_name(node).to_owned()),
            input: std::iter::once(input).chain(limit).collect(),
            output: vec![made],
            ..NodeProto::default()
        });
    }
}

/// What becomes of each element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    Relu,
    Sigmoid,
    Tanh,
}

impl Curve {
    fn over_elements(self) -> Box<dyn InferenceOp> {
        ElementWiseOp(Box::new(self), None).into_hir()
    }
}

impl ElementWiseMiniOp for Curve {
    fn name(&self) -> String {
        format!("{self:?}KeepingNan")
    }

    fn eval_in_place(&self, tensor: &mut Tensor, _out: Option<DatumType>) -> TractResult<()> {
        let datum_type = tensor.datum_type();
        let mut view = tensor.try_as_plain_ram_mut()?;
        macro_rules! each {
            ($ty:ty, $curve:expr) => {
                view.as_slice_mut::<$ty>()?.iter_mut().for_each(|x| *x = $curve(*x))
            };
        }
        macro_rules! rectify {
            ($ty:ty) => {
                each!($ty, |x| if x < <$ty>::default() { <$ty>::default() } else { x })
            };
        }
        match (self, datum_type) {
            (Self::Relu, DatumType::F32) => rectify!(f32),
            (Self::Relu, DatumType::F64) => rectify!(f64),
            (Self::Relu, DatumType::I64) => rectify!(i64),
            (Self::Relu, DatumType::I32) => rectify!(i32),
            (Self::Relu, DatumType::I16) => rectify!(i16),
            (Self::Relu, DatumType::I8) => rectify!(i8),
            (Self::Sigmoid, DatumType::F32) => each!(f32, |x: f32| 1.0 / (1.0 + (-x).exp())),
            (Self::Sigmoid, DatumType::F64) => each!(f64, |x: f64| 1.0 / (1.0 + (-x).exp())),
            (Self::Tanh, DatumType::F32) => each!(f32, f32::tanh),
            (Self::Tanh, DatumType::F64) => each!(f64, f64::tanh),
            (_, other) => return Err(TractError::msg(format!("no {self:?} of {other:?}"))),
        }
        Ok(())
    }
}

/// Which of two elements is taken.
macro_rules! extreme {
    ($name:ident, $theirs:expr, $beyond:tt) => {
        #[derive(Debug, Clone, PartialEq, Eq)]
        struct $name;

        impl BinMiniOp for $name {
            fn name(&self) -> &'static str {
                stringify!($name)
            }

            fn result_datum_type(&self, a: DatumType, b: DatumType) -> TractResult<DatumType> {
                $theirs.result_datum_type(a, b)
            }

            fn eval_in_a(&self, a: &mut Tensor, b: &Tensor) -> TractResult<()> {
                macro_rules! take {
                            ($ty:ty) => {{
                                let mut plain = a.try_as_plain_ram_mut()?;
                                Zip::from(&mut plain.to_array_view_mut::<$ty>()?)
                                    .and_broadcast(b.to_plain_array_view::<$ty>()?)
                                    .for_each(|a, b| {
                                        if b $beyond a || b.is_nan() {
                                            *a = *b;
                                        }
                                    });
                                Ok(())
                            }};
                        }
                match a.datum_type() {
                    DatumType::F32 => take!(f32),
                    DatumType::F64 => take!(f64),
                    _ => $theirs.eval_in_a(a, b),
                }
            }

            fn eval_out_of_place(&self, c: &mut Tensor, a: &Tensor, b: &Tensor) -> TractResult<()> {
                macro_rules! take {
                            ($ty:ty) => {{
                                let mut plain = c.try_as_plain_ram_mut()?;
                                Zip::from(&mut plain.to_array_view_mut::<$ty>()?)
                                    .and_broadcast(a.to_plain_array_view::<$ty>()?)
                                    .and_broadcast(b.to_plain_array_view::<$ty>()?)
                                    .for_each(|c, a, b| {
                                        *c = if b $beyond a || b.is_nan() { *b } else { *a };
                                    });
                                Ok(())
                            }};
                        }
                match c.datum_type() {
                    DatumType::F32 => take!(f32),
                    DatumType::F64 => take!(f64),
                    _ => $theirs.eval_out_of_place(c, a, b),
                }
            }
        }
    };
}

extreme!(Larger, math::Max, >);
extreme!(Smaller, math::Min, <);
