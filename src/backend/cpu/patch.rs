//! Single operations of tract's that compute wrongly, replaced where an operator of ONNX is made
//! of them: sums of integers are added up in 32 bits, the largest and the smallest of elements of
//! which one is NaN is another, exponentials overflow before the logarithm of their sum, and a
//! remainder takes the other order of its operands where the first has fewer elements.

use std::collections::HashMap;
use std::sync::OnceLock;

use tract_onnx::Onnx;
use tract_onnx::model::OnnxOpRegister;
use tract_onnx::prelude::tract_ndarray::Axis;
use tract_onnx::prelude::{
    DatumType, DatumTypeExt as _, OutletId, SpecialOps as _, TVec, Tensor, TractError, TractResult,
    TypedModel, TypedNode,
};
use tract_onnx::tract_core::internal::{
    EvalContext, EvalOp, IntoTensor as _, Op, StaticName, TValue, TypedFact, TypedOp, Validation,
    as_op, op_as_typed_op, op_out_of_plan, tvec,
};
use tract_onnx::tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer};
use tract_onnx::tract_hir::infer::{InferenceResult, InferenceRulesOp as _, Solver, TensorProxy};
use tract_onnx::tract_hir::ops::expandable::{Expansion, expand};

use super::mend::Keep;

/// The operators that are made of such operations.
const AFFECTED: [&str; 11] = [
    "GlobalMaxPool",
    "Mod",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceSum",
    "ReduceSumSquare",
];

/// Teaches tract's reader to replace them.
pub(super) fn register(register: &mut OnnxOpRegister) {
    for op_type in AFFECTED {
        register.insert(op_type, |context, node| {
            let theirs = theirs().op_register.0.get(&node.op_type);
            let build = theirs.ok_or_else(|| TractError::msg("no such operator"))?;
            let (op, names) = build(context, node)?;
            let expansion = op.into_any().downcast::<Box<dyn Expansion>>();
            let expansion = expansion.map_err(|_| TractError::msg("an operator is opaque"))?;
            let exponentials = node.op_type == "ReduceLogSumExp";
            let is_real = exponentials || matches!(&*node.op_type, "ReduceL2" | "ReduceLogSum");
            Ok((expand(Patched { theirs: *expansion, exponentials, is_real }), names))
        });
    }
}

/// tract's reader as it comes.
fn theirs() -> &'static Onnx {
    static THEIRS: OnceLock<Onnx> = OnceLock::new();
    THEIRS.get_or_init(tract_onnx::onnx)
}

/// An operator, some of whose operations are replaced.
#[derive(Debug, Clone)]
struct Patched {
    theirs: Box<dyn Expansion>,
    /// Whether it is the logarithm of a sum of exponentials.
    exponentials: bool,
    /// Whether its steps are rounded where its elements are integers.
    is_real: bool,
}

impl Expansion for Patched {
    fn name(&self) -> StaticName {
        self.theirs.as_ref().name()
    }

    fn validation(&self) -> Validation {
        self.theirs.as_ref().validation()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        self.theirs.nboutputs()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.theirs.rules(solver, inputs, outputs)
    }

    fn wire(
        &self,
        prefix: &str,
        target: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        // Constants are computed as soon as they meet an operation, so it is wired without them.
        let mut aside = TypedModel { symbols: target.symbols.clone(), ..TypedModel::default() };
        let mut places = HashMap::new();
        let mut mapped: TVec<OutletId> = TVec::new();
        for (index, &input) in inputs.iter().enumerate() {
            let fact = target.outlet_fact(input)?.clone();
            let name = format!("{prefix}.input.{index}");
            let outlet = match fact.konst.filter(|_| index > 0) {
                _ if index == 0 && self.is_real && !fact.datum_type.is_float() => {
                    return Err(TractError::msg("roots and logarithms of integers are rounded"));
                }
                Some(constant) => aside.add_const(name, constant)?,
                None => aside.add_source(name, fact.datum_type.fact(fact.shape))?,
            };
            places.insert(outlet, input);
            mapped.push(outlet);
        }
        let outputs = self.theirs.wire(prefix, &mut aside, &mapped)?;
        let place = |outlet: &OutletId, places: &HashMap<OutletId, OutletId>| {
            let place = places.get(outlet).copied();
            place.ok_or_else(|| TractError::msg("an operation without its operand"))
        };
        for node in &aside.nodes {
            if places.contains_key(&OutletId::new(node.id, 0)) {
                continue;
            }
            let operands: TractResult<TVec<OutletId>> =
                node.inputs.iter().map(|outlet| place(outlet, &places)).collect();
            let made = target.wire_node(node.name.as_str(), self.replaced(node), &operands?)?;
            let made = made.into_iter().enumerate();
            places.extend(made.map(|(slot, outlet)| (OutletId::new(node.id, slot), outlet)));
        }
        outputs.iter().map(|outlet| place(outlet, &places)).collect()
    }
}

impl Patched {
    /// What computes a node.
    fn replaced(&self, node: &TypedNode) -> Box<dyn TypedOp> {
        let is_float = node.outputs.iter().all(|output| output.fact.datum_type.is_float());
        let exponentials = self.exponentials && is_float;
        if let Some(reduce) = node.op_as::<Reduce>() {
            Box::new(Fold { reduce: reduce.clone(), exponentials })
        } else if node.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<math::Rem>()) {
            Box::new(TypedBinOp(Box::new(Remainder), None))
        } else if exponentials && node.op_as::<ElementWiseOp>().is_some() {
            Box::new(ElementWiseOp(Box::new(Keep), None))
        } else {
            node.op.clone()
        }
    }
}

/// A reduction; what tract does right is left to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Fold {
    reduce: Reduce,
    /// Whether it sums exponentials and takes the logarithm, in place of what stands around it.
    exponentials: bool,
}

impl Op for Fold {
    fn name(&self) -> StaticName {
        "Fold".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Fold {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let [input] = inputs.as_slice() else {
            return Err(TractError::msg("a reduction of one tensor"));
        };
        macro_rules! fold {
            ($values:expr, $start:expr, $with:expr) => {{
                let mut values = $values;
                for &axis in self.reduce.axes.iter().rev() {
                    let axis = Axis(axis);
                    values = values.fold_axis(axis, $start, $with).insert_axis(axis);
                }
                values
            }};
        }
        macro_rules! sum {
            ($ty:ty) => {
                fold!(input.to_plain_array_view::<$ty>()?.to_owned(), 0, |a: &$ty, &b| {
                    a.wrapping_add(b)
                })
                .into_tensor()
            };
        }
        macro_rules! extreme {
            ($ty:ty, $start:expr, $beyond:tt) => {
                fold!(
                    input.to_plain_array_view::<$ty>()?.to_owned(),
                    $start,
                    |&a: &$ty, &b: &$ty| if b $beyond a || b.is_nan() { b } else { a }
                )
            };
        }
        // What is taken away is finite, so that infinities stay.
        macro_rules! log_sum_exp {
            ($ty:ty) => {{
                let largest = extreme!($ty, <$ty>::NEG_INFINITY, >);
                let shift = largest.mapv(|value| value.clamp(<$ty>::MIN, <$ty>::MAX));
                let less = &input.to_plain_array_view::<$ty>()? - &shift;
                let sum = fold!(less.mapv(<$ty>::exp), 0.0, |&a: &$ty, &b: &$ty| a + b);
                (sum.mapv(<$ty>::ln) + shift).into_tensor()
            }};
        }
        let result = match (self.reduce.reducer, input.datum_type()) {
            (_, DatumType::F32) if self.exponentials => log_sum_exp!(f32),
            (_, DatumType::F64) if self.exponentials => log_sum_exp!(f64),
            (Reducer::Sum, DatumType::I64) => sum!(i64),
            (Reducer::Sum, DatumType::I32) => sum!(i32),
            (Reducer::Max, DatumType::F32) => extreme!(f32, f32::NEG_INFINITY, >).into_tensor(),
            (Reducer::Max, DatumType::F64) => extreme!(f64, f64::NEG_INFINITY, >).into_tensor(),
            (Reducer::Min, DatumType::F32) => extreme!(f32, f32::INFINITY, <).into_tensor(),
            (Reducer::Min, DatumType::F64) => extreme!(f64, f64::INFINITY, <).into_tensor(),
            _ => return self.reduce.eval(context, inputs),
        };
        Ok(tvec!(result.into()))
    }
}

impl TypedOp for Fold {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.reduce.output_facts(inputs)
    }

    as_op!();
}

/// tract's remainder, whose operands do not change places.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Remainder;

impl BinMiniOp for Remainder {
    fn name(&self) -> &'static str {
        "Remainder"
    }

    fn is_commutative(&self) -> bool {
        false
    }

    fn result_datum_type(&self, a: DatumType, b: DatumType) -> TractResult<DatumType> {
        math::Rem.result_datum_type(a, b)
    }

    fn eval_in_a(&self, a: &mut Tensor, b: &Tensor) -> TractResult<()> {
        math::Rem.eval_in_a(a, b)
    }

    fn eval_out_of_place(&self, c: &mut Tensor, a: &Tensor, b: &Tensor) -> TractResult<()> {
        math::Rem.eval_out_of_place(c, a, b)
    }

    fn eval(&self, a: TValue, b: TValue, result: DatumType) -> TractResult<Tensor> {
        math::Rem.eval(a, b, result)
    }
}
