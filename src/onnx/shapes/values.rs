//! The elements of small integer tensors: what shapes are computed from.

use super::rules::{Axes, Query};
use super::{Extent, Fact, MOST_VALUES, axis, fixed};

/// The elements of a node's only output, where it is a small integer tensor that can be told.
pub(super) fn infer(query: &mut Query<'_, '_>, output: &Fact) -> Option<Vec<Extent>> {
    if let Some(known) = &output.values {
        return Some(known.clone());
    }
    let is_integer = crate::onnx::dtype(output.dtype?).is_some_and(|dtype| !dtype.is_float());
    let count = match output.dims.as_deref()? {
        [] => 1,
        [Extent::Fixed(count)] => usize::try_from(*count).ok()?,
        _ => return None,
    };
    if !is_integer || count > MOST_VALUES {
        return None;
    }
    let values = match query.node.op_type() {
        "Shape" => {
            let dims = query.dims(0)?;
            let (start, end) = shape_range(query, dims.len());
            dims.get(start..end)?.to_vec()
        }
        "Size" => vec![Extent::Fixed(
            fixed(&query.dims(0)?)?.iter().try_fold(1_i64, |size, dim| size.checked_mul(*dim))?,
        )],
        "Identity" | "Squeeze" | "Unsqueeze" | "Reshape" | "Flatten" => query.input(0).values?,
        // Narrower types would cut what is large.
        "Cast" if is_wide(query.input(0).dtype) && is_wide(output.dtype) => query.input(0).values?,
        "Concat" => {
            let parts = (0..query.node.input.len()).map(|index| query.input(index).values);
            parts.collect::<Option<Vec<_>>>()?.concat()
        }
        "Gather" => gather(query)?,
        "Slice" => slice(query)?,
        "Add" | "Sub" | "Mul" | "Div" => arithmetic(query, count)?,
        "ConstantOfShape" => vec![Extent::Fixed(fill(query)?); count],
        _ => return None,
    };
    let fits = |value: &Extent| match value {
        Extent::Fixed(value) => output.dtype != Some(INT32) || i32::try_from(*value).is_ok(),
        Extent::Symbol(_) => true,
    };
    (values.len() == count && values.iter().all(fits)).then_some(values)
}

/// Of this type, values wrap around: those that do are not told.
const INT32: i32 = crate::onnx::proto::tensor_proto::DataType::Int32 as i32;

fn is_wide(dtype: Option<i32>) -> bool {
    use crate::onnx::proto::tensor_proto::DataType::{Int32, Int64};
    dtype.is_some_and(|dtype| dtype == Int64 as i32 || dtype == Int32 as i32)
}

/// The axes that a `Shape` node gives, as a range.
pub(super) fn shape_range(query: &Query<'_, '_>, rank: usize) -> (usize, usize) {
    let count = i64::try_from(rank).unwrap_or(i64::MAX);
    let clamp = |at: i64| {
        let at = if at < 0 { at.saturating_add(count) } else { at };
        usize::try_from(at.clamp(0, count)).unwrap_or(0)
    };
    let start = clamp(query.int("start", 0));
    (start, clamp(query.int("end", i64::MAX)).max(start))
}

fn gather(query: &Query<'_, '_>) -> Option<Vec<Extent>> {
    let (data, indices) = (query.input(0), query.input(1));
    if data.dims?.len() != 1 {
        return None;
    }
    let data = data.values?;
    let element = |index: i64| Some(data[axis(index, data.len())?]);
    fixed(&indices.values?)?.into_iter().map(element).collect()
}

fn slice(query: &Query<'_, '_>) -> Option<Vec<Extent>> {
    let data = query.input(0).values?;
    let numbers = |name: &str, index: usize| match query.numbers(name, index) {
        Axes::These(found) => <[i64; 1]>::try_from(found).ok().map(|[only]| only),
        Axes::Default | Axes::Unknown => None,
    };
    let (start, end) = (numbers("starts", 1)?, numbers("ends", 2)?);
    let step = match query.numbers("steps", 4) {
        Axes::Default => 1,
        Axes::These(steps) => *steps.first()?,
        Axes::Unknown => return None,
    };
    if step != 1 {
        return None;
    }
    let count = i64::try_from(data.len()).ok()?;
    let clamp = |at: i64| {
        let at = if at < 0 { at.saturating_add(count) } else { at };
        usize::try_from(at.clamp(0, count)).unwrap_or(0)
    };
    Some(data.get(clamp(start)..clamp(end)).unwrap_or_default().to_vec())
}

fn arithmetic(query: &Query<'_, '_>, count: usize) -> Option<Vec<Extent>> {
    let (left, right) = (query.input(0), query.input(1));
    if !is_wide(left.dtype) {
        return None;
    }
    let (left, right) = (left.values?, right.values?);
    let at = |values: &[Extent], index: usize| match values {
        [only] => Some(*only),
        values => values.get(index).copied(),
    };
    let compute = |index: usize| match (at(&left, index)?, at(&right, index)?) {
        (Extent::Fixed(a), Extent::Fixed(b)) => Some(Extent::Fixed(match query.node.op_type() {
            "Add" => a.checked_add(b)?,
            "Sub" => a.checked_sub(b)?,
            "Mul" => a.checked_mul(b)?,
            _ if a >= 0 && b > 0 => a / b,
            _ => return None,
        })),
        (symbol, Extent::Fixed(neutral)) if is_neutral(query.node.op_type(), neutral) => {
            Some(symbol)
        }
        (Extent::Fixed(1), symbol) if query.node.op_type() == "Mul" => Some(symbol),
        (Extent::Fixed(0), symbol) if query.node.op_type() == "Add" => Some(symbol),
        _ => None,
    };
    // A symbol that no rule covers makes the tensor unknown: what comes of it is not a plain axis.
    (0..count).map(compute).collect()
}

fn is_neutral(op: &str, number: i64) -> bool {
    number == i64::from(matches!(op, "Mul" | "Div"))
}

/// The number that a `ConstantOfShape` node repeats.
fn fill(query: &Query<'_, '_>) -> Option<i64> {
    let value = query.node.attribute.iter().find(|attribute| attribute.name() == "value")?;
    let values = super::integers(query.model, value.t.as_ref()?)?;
    <[i64; 1]>::try_from(values).ok().map(|[only]| only)
}
