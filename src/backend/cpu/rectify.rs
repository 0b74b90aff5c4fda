//! A rectifier (`Relu`) that keeps NaN, for the reference: tract's takes the larger of the element
//! and 0, which for NaN is 0, so a fault upstream would look like a dead unit.

use tract_onnx::model::OnnxOpRegister;
use tract_onnx::prelude::{DatumType, Tensor, TractError, TractResult};
use tract_onnx::tract_core::ops::element_wise::{ElementWiseMiniOp, ElementWiseOp};
use tract_onnx::tract_hir::ops::element_wise::ElementWiseIntoHir as _;

use crate::onnx::proto::GraphProto;

/// Our operator's type; no model can contain it, because the guard rails refuse unknown ones.
const RECTIFY: &str = "TrtPipelineRelu";

/// Teaches tract's reader our operator.
pub(super) fn register(register: &mut OnnxOpRegister) {
    register
        .insert(RECTIFY, |_, _| Ok((ElementWiseOp(Box::new(Rectify), None).into_hir(), vec![])));
}

/// Makes every `Relu` of a graph ours.
pub(super) fn rewrite(graph: &mut GraphProto) {
    for node in &mut graph.node {
        if node.op_type() == "Relu" {
            node.op_type = Some(RECTIFY.to_owned());
        }
        for attribute in &mut node.attribute {
            attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(rewrite);
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rectify;

impl ElementWiseMiniOp for Rectify {
    fn name(&self) -> String {
        "Rectify".to_owned()
    }

    fn eval_in_place(&self, tensor: &mut Tensor, _out: Option<DatumType>) -> TractResult<()> {
        let datum_type = tensor.datum_type();
        let mut view = tensor.try_as_plain_ram_mut()?;
        macro_rules! rectify {
            ($ty:ty) => {
                for x in view.as_slice_mut::<$ty>()? {
                    if *x < <$ty>::default() {
                        *x = <$ty>::default();
                    }
                }
            };
        }
        match datum_type {
            DatumType::F32 => rectify!(f32),
            DatumType::F64 => rectify!(f64),
            DatumType::I64 => rectify!(i64),
            DatumType::I32 => rectify!(i32),
            DatumType::I16 => rectify!(i16),
            DatumType::I8 => rectify!(i8),
            other => return Err(TractError::msg(format!("no Relu of {other:?}"))),
        }
        Ok(())
    }
}
