//! Shapes that convolutions, poolings and products of matrices give.

use crate::onnx::names::text_attribute;

use super::rules::{Query, broadcast};
use super::{Extent, fixed};

/// How a window moves along the spatial axes.
struct Window {
    kernel: Vec<i64>,
    strides: Vec<i64>,
    dilations: Vec<i64>,
    /// Before and after, together.
    pads: Vec<i64>,
    padding: Padding,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Padding {
    Given,
    Same,
    Valid,
}

impl Window {
    fn of(query: &Query<'_, '_>, kernel: Vec<i64>) -> Option<Self> {
        let rank = kernel.len();
        let filled = |name: &str| match query.ints(name) {
            None | Some([]) => Some(vec![1; rank]),
            Some(given) => (given.len() == rank).then(|| given.to_vec()),
        };
        let padding = match text_attribute(query.node, "auto_pad") {
            None | Some("NOTSET" | "") => Padding::Given,
            Some("VALID") => Padding::Valid,
            Some("SAME_UPPER" | "SAME_LOWER") => Padding::Same,
            Some(_) => return None,
        };
        let pads = match query.ints("pads") {
            Some(given) if padding == Padding::Given && !given.is_empty() => {
                let (before, after) = given.split_at_checked(rank)?;
                let sums = before.iter().zip(after).map(|(a, b)| a.checked_add(*b));
                sums.collect::<Option<Vec<_>>>().filter(|pads| pads.len() == rank)?
            }
            _ => vec![0; rank],
        };
        let window = Self {
            kernel,
            strides: filled("strides")?,
            dilations: filled("dilations")?,
            pads,
            padding,
        };
        let positive = |numbers: &[i64]| numbers.iter().all(|number| *number > 0);
        (positive(&window.kernel) && positive(&window.strides) && positive(&window.dilations))
            .then_some(window)
    }

    /// Elements that the window spans along an axis.
    fn span(&self, axis: usize) -> Option<i64> {
        (self.kernel[axis] - 1).checked_mul(self.dilations[axis])?.checked_add(1)
    }

    /// How often the window fits along an axis; `None` where that is not known now.
    fn fits(&self, axis: usize, extent: Extent, round_up: bool) -> Option<Extent> {
        let stride = self.strides[axis];
        let span = self.span(axis)?;
        let Extent::Fixed(size) = extent else {
            let keeps = match self.padding {
                Padding::Same => stride == 1,
                _ => stride == 1 && self.pads[axis] == span - 1,
            };
            return keeps.then_some(extent);
        };
        if self.padding == Padding::Same {
            return Some(Extent::Fixed(size.checked_add(stride - 1)? / stride));
        }
        let room = size.checked_add(self.pads[axis])?.checked_sub(span)?;
        // Runtimes differ in whether a window may begin in the padding.
        let is_exact = !round_up || room % stride == 0;
        (room >= 0 && is_exact).then(|| Extent::Fixed(room / stride + 1))
    }
}

fn slide(
    query: &mut Query<'_, '_>,
    input: &[Extent],
    channels: Extent,
    kernel: Vec<i64>,
    round_up: bool,
) -> Option<Vec<Extent>> {
    let [batch, _, spatial @ ..] = input else { return None };
    let window = Window::of(query, kernel).filter(|window| window.kernel.len() == spatial.len())?;
    let mut dims = vec![*batch, channels];
    for (axis, extent) in spatial.iter().enumerate() {
        dims.push(window.fits(axis, *extent, round_up).unwrap_or_else(|| query.fresh()));
    }
    Some(dims)
}

pub(super) fn convolution(query: &mut Query<'_, '_>) -> Option<Vec<Extent>> {
    let input = query.dims(0)?;
    let weight = query.dims(1)?;
    let [channels, _, kernel @ ..] = weight.as_slice() else { return None };
    let kernel = match query.ints("kernel_shape") {
        Some(given) if !given.is_empty() => given.to_vec(),
        _ => fixed(kernel)?,
    };
    slide(query, &input, *channels, kernel, false)
}

pub(super) fn pooling(query: &mut Query<'_, '_>) -> Option<Vec<Extent>> {
    let input = query.dims(0)?;
    let kernel = query.ints("kernel_shape")?.to_vec();
    let round_up = query.int("ceil_mode", 0) != 0;
    slide(query, &input, *input.get(1)?, kernel, round_up)
}

pub(super) fn transposed_convolution(query: &mut Query<'_, '_>) -> Option<Vec<Extent>> {
    let (input, weight) = (query.dims(0)?, query.dims(1)?);
    let [batch, _, spatial @ ..] = input.as_slice() else { return None };
    let [_, Extent::Fixed(per_group), kernel @ ..] = weight.as_slice() else { return None };
    let window = Window::of(query, fixed(kernel)?)?;
    if window.kernel.len() != spatial.len() {
        return None;
    }
    let channels = per_group.checked_mul(query.int("group", 1))?;
    let extra = query.ints("output_padding").unwrap_or_default();
    let is_told = window.padding != Padding::Given || query.ints("output_shape").is_some();
    let mut dims = vec![*batch, Extent::Fixed(channels)];
    for (axis, extent) in spatial.iter().enumerate() {
        let size = match extent {
            Extent::Fixed(size) if !is_told => size
                .checked_sub(1)
                .and_then(|gaps| gaps.checked_mul(window.strides[axis]))
                .and_then(|size| size.checked_add(window.span(axis)?))
                .and_then(|size| size.checked_add(extra.get(axis).copied().unwrap_or(0)))
                .and_then(|size| size.checked_sub(window.pads[axis]))
                .filter(|size| *size >= 0),
            _ => None,
        };
        dims.push(size.map_or_else(|| query.fresh(), Extent::Fixed));
    }
    Some(dims)
}

pub(super) fn gemm(query: &mut Query<'_, '_>) -> Option<Vec<Extent>> {
    let [a, b] = [query.dims(0)?, query.dims(1)?];
    let ([rows, inner], [other, columns]) = (a.as_slice(), b.as_slice()) else { return None };
    let rows = if query.int("transA", 0) == 0 { rows } else { inner };
    let columns = if query.int("transB", 0) == 0 { columns } else { other };
    Some(vec![*rows, *columns])
}

pub(super) fn matmul(query: &mut Query<'_, '_>) -> Option<Vec<Extent>> {
    let [a, b] = [query.dims(0)?, query.dims(1)?];
    let ([left @ .., rows, _], [right @ .., _, columns]) = (a.as_slice(), b.as_slice()) else {
        return None;
    };
    let mut dims = broadcast(query, left, right);
    dims.extend([*rows, *columns]);
    Some(dims)
}
