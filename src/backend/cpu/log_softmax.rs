//! `LogSoftmax` in one step. tract's takes the logarithm of a softmax, which is zero where the
//! logarithm is below -104 and coarse from -87 on.

use tract_onnx::model::OnnxOpRegister;
use tract_onnx::prelude::{SpecialOps as _, TVec, TractError, TractResult};
use tract_onnx::tract_core::internal::StaticName;
use tract_onnx::tract_core::model::TypedModel;
use tract_onnx::tract_core::ops::nn::{Softmax, SoftmaxKind};
use tract_onnx::tract_core::prelude::OutletId;
use tract_onnx::tract_hir::infer::{InferenceResult, Solver, TensorProxy};
use tract_onnx::tract_hir::ops::expandable::{Expansion, expand};

/// Teaches tract's reader this one.
pub(super) fn register(register: &mut OnnxOpRegister) {
    register.insert("LogSoftmax", |context, node| {
        let flattens = context.onnx_operator_set_version < 13;
        let axis = node.get_attr_opt("axis")?.unwrap_or(if flattens { 1 } else { -1 });
        Ok((expand(LogSoftmax { axis, flattens }), vec![]))
    });
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct LogSoftmax {
    axis: i64,
    /// Whether all axes from this one on are one, as before opset 13.
    flattens: bool,
}

impl Expansion for LogSoftmax {
    fn name(&self) -> StaticName {
        "LogSoftmax".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        if let ([input], [output]) = (inputs, outputs) {
            solver.equals(&output.datum_type, &input.datum_type)?;
            solver.equals(&output.shape, &input.shape)?;
        }
        Ok(())
    }

    fn wire(
        &self,
        prefix: &str,
        target: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let rank = match inputs.first() {
            Some(input) => target.outlet_fact(*input)?.rank(),
            None => 0,
        };
        let from_the_end = |axis: usize| rank.checked_sub(axis);
        let first = match usize::try_from(self.axis) {
            Ok(axis) => Some(axis),
            Err(_) => usize::try_from(self.axis.unsigned_abs()).ok().and_then(from_the_end),
        };
        let Some(first) = first.filter(|axis| *axis < rank) else {
            return Err(TractError::msg(format!("no axis {} of {rank}", self.axis)));
        };
        let axes = if self.flattens { (first..rank).collect() } else { TVec::from_elem(first, 1) };
        let op = Softmax { axes, quant_output_dt: None, kind: SoftmaxKind::LogSoftmax };
        target.wire_node(prefix, op, inputs)
    }
}
