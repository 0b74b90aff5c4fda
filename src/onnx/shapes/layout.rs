//! Shapes that operators give which move elements: they cut, join, repeat or reorder axes.

use crate::onnx::proto::NodeProto;
use crate::onnx::proto::tensor_proto::DataType;

use super::rules::{Axes, Query, broadcast};
use super::{Extent, Fact, axis, fixed, values};

pub(super) fn shape(query: &Query<'_, '_>) -> Option<Vec<Extent>> {
    let rank = query.dims(0)?.len();
    let (start, end) = values::shape_range(query, rank);
    Some(vec![Extent::Fixed(i64::try_from(end - start).ok()?)])
}

pub(super) fn constant(query: &Query<'_, '_>) -> Option<Fact> {
    let [attribute] = query.node.attribute.as_slice() else { return None };
    let numbers = |dtype: DataType, dims: Vec<Extent>, values: Option<Vec<Extent>>| {
        Some(Fact { dtype: Some(dtype as i32), dims: Some(dims), values })
    };
    let length = |count: usize| Some(vec![Extent::Fixed(i64::try_from(count).ok()?)]);
    match attribute.name() {
        "value" => Some(super::constant(query.model, attribute.t.as_ref()?)),
        "value_float" => numbers(DataType::Float, vec![], None),
        "value_floats" => numbers(DataType::Float, length(attribute.floats.len())?, None),
        "value_int" => numbers(DataType::Int64, vec![], Some(vec![Extent::Fixed(attribute.i())])),
        "value_ints" => {
            let values = attribute.ints.iter().copied().map(Extent::Fixed).collect();
            numbers(DataType::Int64, length(attribute.ints.len())?, Some(values))
        }
        _ => None,
    }
}

/// The element type of a `ConstantOfShape` node.
pub(super) fn fill_type(node: &NodeProto) -> Option<i32> {
    let value = node.attribute.iter().find(|attribute| attribute.name() == "value");
    value.map_or(Some(DataType::Float as i32), |value| {
        value.t.as_ref().map(crate::onnx::proto::TensorProto::data_type)
    })
}

pub(super) fn expand(query: &mut Query<'_, '_>) -> Option<Vec<Extent>> {
    let (dims, asked) = (query.dims(0)?, query.input(1).values?);
    Some(broadcast(query, &dims, &asked))
}

pub(super) fn reshape(query: &mut Query<'_, '_>) -> Option<Vec<Extent>> {
    let Some(asked) = query.input(1).values else {
        // Only the number of axes is known.
        let [Extent::Fixed(rank)] = query.dims(1)?[..] else { return None };
        let rank = usize::try_from(rank).ok().filter(|rank| *rank <= super::MOST_AXES)?;
        return Some((0..rank).map(|_| query.fresh()).collect());
    };
    let from = query.dims(0);
    let copies = query.int("allowzero", 0) == 0;
    let mut dims = Vec::with_capacity(asked.len());
    let mut open = None;
    for (index, extent) in asked.into_iter().enumerate() {
        dims.push(match extent {
            Extent::Fixed(0) if copies => match &from {
                Some(from) => *from.get(index)?,
                None => query.fresh(),
            },
            Extent::Fixed(-1) if open.is_none() => {
                open = Some(index);
                Extent::Fixed(1)
            }
            Extent::Fixed(extent) if extent < 0 => return None,
            extent => extent,
        });
    }
    if let Some(open) = open {
        dims[open] = from.and_then(|from| quotient(&from, &dims)).unwrap_or_else(|| query.fresh());
    }
    Some(dims)
}

/// The extent that is missing in `part` to have as many elements as `whole`.
fn quotient(whole: &[Extent], part: &[Extent]) -> Option<Extent> {
    let mut left: Vec<Extent> = whole.to_vec();
    let (mut above, mut below) = (1_i64, 1_i64);
    for extent in part {
        match extent {
            Extent::Fixed(extent) => below = below.checked_mul(*extent)?,
            Extent::Symbol(_) => {
                let at = left.iter().position(|other| other == extent)?;
                left.swap_remove(at);
            }
        }
    }
    let mut symbol = None;
    for extent in left {
        match extent {
            Extent::Fixed(extent) => above = above.checked_mul(extent)?,
            other if symbol.is_none() => symbol = Some(other),
            Extent::Symbol(_) => return None,
        }
    }
    if below <= 0 || above % below != 0 {
        return None;
    }
    match symbol {
        None => Some(Extent::Fixed(above / below)),
        Some(symbol) => (above == below).then_some(symbol),
    }
}

pub(super) fn flatten(query: &mut Query<'_, '_>) -> Option<Vec<Extent>> {
    let dims = query.dims(0)?;
    let rank = i64::try_from(dims.len()).ok()?;
    let at = query.int("axis", 1);
    let at = usize::try_from(if at < 0 { at.checked_add(rank)? } else { at }).ok()?;
    let (before, after) = dims.split_at_checked(at)?;
    Some(vec![product(query, before), product(query, after)])
}

fn product(query: &mut Query<'_, '_>, dims: &[Extent]) -> Extent {
    quotient(dims, &[]).unwrap_or_else(|| query.fresh())
}

pub(super) fn transpose(query: &Query<'_, '_>) -> Option<Vec<Extent>> {
    let dims = query.dims(0)?;
    let Some(order) = query.ints("perm") else { return Some(dims.into_iter().rev().collect()) };
    if order.len() != dims.len() {
        return None;
    }
    order
        .iter()
        .map(|&from| usize::try_from(from).ok().and_then(|at| dims.get(at).copied()))
        .collect()
}

/// Which axes are told, as flags.
fn flags(axes: &[i64], rank: usize) -> Option<Vec<bool>> {
    let mut flags = vec![false; rank];
    for at in axes {
        flags[axis(*at, rank)?] = true;
    }
    Some(flags)
}

pub(super) fn squeeze(query: &Query<'_, '_>) -> Option<Vec<Extent>> {
    let dims = query.dims(0)?;
    let gone = match query.numbers("axes", 1) {
        Axes::These(axes) => flags(&axes, dims.len())?,
        Axes::Default => fixed(&dims)?.iter().map(|extent| *extent == 1).collect(),
        Axes::Unknown => return None,
    };
    Some(dims.into_iter().zip(gone).filter(|(_, gone)| !gone).map(|(extent, _)| extent).collect())
}

pub(super) fn unsqueeze(query: &Query<'_, '_>) -> Option<Vec<Extent>> {
    let Axes::These(axes) = query.numbers("axes", 1) else { return None };
    let dims = query.dims(0)?;
    let rank = dims.len().checked_add(axes.len()).filter(|rank| *rank <= super::MOST_AXES)?;
    let added = flags(&axes, rank)?;
    let mut dims = dims.into_iter();
    added.into_iter().map(|one| if one { Some(Extent::Fixed(1)) } else { dims.next() }).collect()
}

pub(super) fn concat(query: &mut Query<'_, '_>) -> Option<Vec<Extent>> {
    let parts = (0..query.node.input.len()).map(|index| query.dims(index));
    let parts: Vec<Vec<Extent>> = parts.collect::<Option<_>>()?;
    let mut dims = parts.first()?.clone();
    if parts.iter().any(|part| part.len() != dims.len()) {
        return None;
    }
    let at = axis(query.int("axis", 0), dims.len())?;
    for (index, extent) in dims.iter_mut().enumerate().filter(|(index, _)| *index != at) {
        // The others are equal when the model runs: one that is fixed says it for all.
        let known =
            parts.iter().map(|part| part[index]).find(|one| matches!(one, Extent::Fixed(_)));
        *extent = known.unwrap_or(*extent);
    }
    let along: Vec<Extent> = parts.iter().map(|part| part[at]).collect();
    let sum = fixed(&along).and_then(|all| all.into_iter().try_fold(0_i64, i64::checked_add));
    dims[at] = match (sum, along.as_slice()) {
        (Some(sum), _) => Extent::Fixed(sum),
        (None, [only]) => *only,
        (None, _) => query.fresh(),
    };
    Some(dims)
}

pub(super) fn split(query: &mut Query<'_, '_>) -> Vec<Fact> {
    let dtype = query.input(0).dtype;
    let count = query.node.output.len();
    let unknown = || vec![Fact { dtype, ..Fact::default() }; count];
    let Some(dims) = query.dims(0) else { return unknown() };
    let Some(at) = axis(query.int("axis", 0), dims.len()) else { return unknown() };
    let sizes: Option<Vec<i64>> = match (query.numbers("split", 1), dims[at]) {
        (Axes::These(sizes), _) => Some(sizes).filter(|sizes| sizes.len() == count),
        (Axes::Default, Extent::Fixed(extent)) => even(extent, count),
        _ => None,
    };
    let part = |index: usize| {
        let mut dims = dims.clone();
        dims[at] = match &sizes {
            Some(sizes) => Extent::Fixed(sizes[index]),
            None => query.fresh(),
        };
        Fact { dtype, dims: Some(dims), values: None }
    };
    (0..count).map(part).collect()
}

/// The sizes of parts of the same size.
fn even(extent: i64, count: usize) -> Option<Vec<i64>> {
    let parts = i64::try_from(count).ok().filter(|parts| *parts > 0)?;
    (extent % parts == 0).then(|| vec![extent / parts; count])
}

pub(super) fn slice(query: &mut Query<'_, '_>) -> Option<Vec<Extent>> {
    let mut dims = query.dims(0)?;
    let ranges = slice_ranges(query, dims.len());
    let Some(ranges) = ranges else {
        // Any axis may be cut.
        return Some(dims.iter().map(|_| query.fresh()).collect());
    };
    for (at, start, end, step) in ranges {
        let whole = start == 0 && step == 1 && end >= i64::from(i32::MAX);
        if !whole {
            let cut = match dims[at] {
                Extent::Fixed(extent) => cut(extent, start, end, step).map(Extent::Fixed),
                Extent::Symbol(_) => None,
            };
            dims[at] = cut.unwrap_or_else(|| query.fresh());
        }
    }
    Some(dims)
}

/// Axis, start, end and step of each cut that a `Slice` node makes; `None` where they are not
/// constant.
pub(super) fn slice_ranges(
    query: &Query<'_, '_>,
    rank: usize,
) -> Option<Vec<(usize, i64, i64, i64)>> {
    let these = |name: &str, index: usize| match query.numbers(name, index) {
        Axes::These(found) => Some(found),
        Axes::Default | Axes::Unknown => None,
    };
    let (starts, ends) = (these("starts", 1)?, these("ends", 2)?);
    let axes = match query.numbers("axes", 3) {
        Axes::Default => (0..i64::try_from(starts.len()).ok()?).collect(),
        Axes::These(axes) => axes,
        Axes::Unknown => return None,
    };
    let steps = match query.numbers("steps", 4) {
        Axes::Default => vec![1; starts.len()],
        Axes::These(steps) => steps,
        Axes::Unknown => return None,
    };
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return None;
    }
    let ranges = axes.iter().zip(starts).zip(ends).zip(steps);
    ranges.map(|(((at, start), end), step)| Some((axis(*at, rank)?, start, end, step))).collect()
}

/// How many elements a cut of an axis leaves.
fn cut(extent: i64, start: i64, end: i64, step: i64) -> Option<i64> {
    let from_front = |at: i64| if at < 0 { at.saturating_add(extent) } else { at };
    let (start, end) = (from_front(start), from_front(end));
    let (distance, step) = if step > 0 {
        (end.clamp(0, extent) - start.clamp(0, extent), step)
    } else {
        let last = extent.checked_sub(1)?;
        (start.clamp(0, last.max(0)) - end.clamp(-1, last.max(-1)), step.checked_neg()?)
    };
    if step == 0 || extent == 0 {
        return (step != 0).then_some(0);
    }
    Some(if distance <= 0 { 0 } else { (distance - 1) / step + 1 })
}

pub(super) fn pad(query: &mut Query<'_, '_>) -> Option<Vec<Extent>> {
    let dims = query.dims(0)?;
    if super::given(query.node, 3).is_some() {
        return Some(dims.iter().map(|_| query.fresh()).collect());
    }
    let Axes::These(pads) = query.numbers("pads", 1) else {
        return Some(dims.iter().map(|_| query.fresh()).collect());
    };
    let (before, after) =
        pads.split_at_checked(dims.len()).filter(|(_, after)| after.len() == dims.len())?;
    let padded = dims.iter().zip(before.iter().zip(after)).map(|(extent, (before, after))| {
        let added = before.checked_add(*after)?;
        Some(match extent {
            _ if (*before, *after) == (0, 0) => *extent,
            Extent::Fixed(extent) => Extent::Fixed(extent.checked_add(added).filter(|n| *n >= 0)?),
            Extent::Symbol(_) => query.fresh(),
        })
    });
    padded.collect()
}

pub(super) fn tile(query: &mut Query<'_, '_>) -> Option<Vec<Extent>> {
    let dims = query.dims(0)?;
    let repeats = query.input(1).values.filter(|repeats| repeats.len() == dims.len());
    let Some(repeats) = repeats else {
        return Some(dims.iter().map(|_| query.fresh()).collect());
    };
    let tiled = dims.iter().zip(repeats).map(|pair| match pair {
        (extent, Extent::Fixed(1)) => Some(*extent),
        (Extent::Fixed(extent), Extent::Fixed(times)) => {
            extent.checked_mul(times).map(Extent::Fixed)
        }
        _ => Some(query.fresh()),
    });
    tiled.collect()
}

pub(super) fn gather(query: &Query<'_, '_>) -> Option<Vec<Extent>> {
    let (dims, indices) = (query.dims(0)?, query.dims(1)?);
    let at = axis(query.int("axis", 0), dims.len())?;
    Some([&dims[..at], &indices[..], &dims[at + 1..]].concat())
}

pub(super) fn arg(query: &Query<'_, '_>) -> Option<Vec<Extent>> {
    let mut dims = query.dims(0)?;
    let at = axis(query.int("axis", 0), dims.len())?;
    if query.int("keepdims", 1) == 0 {
        dims.remove(at);
    } else {
        dims[at] = Extent::Fixed(1);
    }
    Some(dims)
}

pub(super) fn reduce(query: &Query<'_, '_>) -> Option<Vec<Extent>> {
    let dims = query.dims(0)?;
    let axes = query.numbers("axes", 1);
    let reduced = match axes {
        Axes::These(axes) if !axes.is_empty() => flags(&axes, dims.len())?,
        Axes::Unknown => return None,
        Axes::These(_) | Axes::Default if query.int("noop_with_empty_axes", 0) != 0 => {
            return Some(dims);
        }
        Axes::These(_) | Axes::Default => vec![true; dims.len()],
    };
    let keeps = query.int("keepdims", 1) != 0;
    let left = dims.into_iter().zip(reduced).filter_map(|(extent, reduced)| match reduced {
        false => Some(extent),
        true if keeps => Some(Extent::Fixed(1)),
        true => None,
    });
    Some(left.collect())
}
