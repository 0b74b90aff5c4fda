//! Which nodes keep float32 for where their values come from or go to: inside written-out
//! normalizations and softmaxes, on the way from positions to angles, behind integers, behind
//! values too large for 16 bits.

use std::collections::{BTreeSet, HashMap, HashSet};

use petgraph::unionfind::UnionFind;

use crate::onnx::check;
use crate::onnx::proto::tensor_proto::DataType;

use super::Observed;
use super::decide::{Verdict, fits_in};
use super::reason::Reason;
use super::table::{self, Class};
use super::view::{Step, View};

/// Marks what is kept for its neighbours.
pub(super) fn mark(view: &View<'_>, verdicts: &mut [Verdict], observed: Option<&Observed>) {
    statistics(view, verdicts);
    quantized(view, verdicts);
    large(view, verdicts, observed);
    angles(view, verdicts);
}

fn may(verdict: &Verdict) -> Option<Class> {
    match verdict {
        Verdict::May(class) => Some(*class),
        Verdict::Keep(_) => None,
    }
}

/// The float32 inputs of a node that are not constant.
fn float_inputs<'v, 'm>(
    view: &'v View<'m>,
    step: &Step<'m>,
) -> impl Iterator<Item = &'m str> + use<'v, 'm> {
    let names = step.node.input.iter().map(String::as_str);
    names.filter(|name| view.is_float(name) && !view.constants.contains_key(name))
}

/// What a tensor was computed from, element by element, and whether a sum or maximum of it was
/// taken on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origin<'m> {
    tensor: &'m str,
    is_statistic: bool,
}

/// `x - mean(x)`, `x / deviation(x)` and their like: the difference is small where both are large,
/// and the statistic has more digits than 16 bits hold.
fn statistics(view: &View<'_>, verdicts: &mut [Verdict]) {
    let mut origins: HashMap<&str, Origin<'_>> = HashMap::new();
    for (step, verdict) in view.steps.iter().zip(verdicts) {
        let of = |name| {
            origins.get(name).copied().unwrap_or(Origin { tensor: name, is_statistic: false })
        };
        let inputs: Vec<Origin<'_>> = float_inputs(view, step).map(of).collect();
        let Some(first) = inputs.first().copied() else { continue };
        let is_one = inputs.iter().all(|input| input.tensor == first.tensor);
        let op = step.node.op_type();
        let is_reduction = op.starts_with("Reduce");
        let class = table::class(step.node);
        let goes_on = matches!(class, Class::Elementwise | Class::Movement) || op == "Exp";
        if !is_one || step.typing.is_none() || !(is_reduction || goes_on || op == "Pow") {
            continue;
        }
        let all = inputs.iter().all(|input| input.is_statistic);
        let any = inputs.iter().any(|input| input.is_statistic);
        if any && !all && class == Class::Elementwise && may(verdict).is_some() {
            *verdict = Verdict::Keep(Reason::Statistic);
        }
        let origin = Origin { tensor: first.tensor, is_statistic: is_reduction || all };
        origins.extend(view.float_outputs(step).map(|output| (output, origin)));
    }
}

/// A layer and the `DequantizeLinear` nodes of its factors: with a cast in between there would be
/// no operation of 8 bits, so that all are of one precision, and of float32 where one keeps it.
fn quantized(view: &View<'_>, verdicts: &mut [Verdict]) {
    let mut groups: UnionFind<usize> = UnionFind::new(view.steps.len());
    // What hands dequantized values on.
    let mut sources: HashMap<&str, usize> = HashMap::new();
    for (index, step) in view.steps.iter().enumerate() {
        let class = table::class(step.node);
        // A bias is added after the product, in whatever precision.
        let factors = step.node.input.iter().take(2);
        let read = factors.filter_map(|name| sources.get(name.as_str()).copied());
        if matches!(class, Class::Compute | Class::Movement) && !view.is_quantize(step) {
            for source in read.collect::<Vec<_>>() {
                groups.union(index, source);
            }
        }
        let goes_on = class == Class::Movement
            && step.node.input.first().is_some_and(|name| sources.contains_key(name.as_str()));
        if view.is_dequantize(step) || goes_on {
            sources.extend(view.float_outputs(step).map(|output| (output, index)));
        }
    }
    let mut keeping: HashMap<usize, usize> = HashMap::new();
    for (index, verdict) in verdicts.iter().enumerate() {
        if matches!(verdict, Verdict::Keep(_)) {
            keeping.entry(groups.find(index)).or_insert(index);
        }
    }
    for (index, verdict) in verdicts.iter_mut().enumerate() {
        if let (Verdict::May(_), Some(&keeps)) = (&*verdict, keeping.get(&groups.find(index))) {
            let with = check::node_name(view.steps[keeps].node).name;
            *verdict = Verdict::Keep(Reason::Quantized { with });
        }
    }
}

/// What gets values for whose size another node is kept, up to where they cannot stay large. What
/// was observed to fit is not large.
fn large(view: &View<'_>, verdicts: &mut [Verdict], observed: Option<&Observed>) {
    let mut large: HashSet<&str> = HashSet::new();
    for (step, verdict) in view.steps.iter().zip(verdicts) {
        let class = table::class(step.node);
        let from = float_inputs(view, step).find(|name| large.contains(name));
        if let (Some(tensor), Verdict::May(_)) = (from, &*verdict) {
            *verdict = Verdict::Keep(Reason::Large { tensor: tensor.to_owned() });
        }
        let overflows = matches!(verdict, Verdict::Keep(Reason::WeightOverflow { .. }));
        let goes_on = matches!(class, Class::Elementwise | Class::Movement)
            && !table::is_bounding(step.node.op_type());
        if goes_on && (from.is_some() || overflows) {
            let fits = |name: &str| {
                let found = observed.and_then(|observed| observed.get(name));
                found.is_some_and(|magnitude| fits_in(*magnitude, view.half))
            };
            large.extend(view.float_outputs(step).filter(|name| !fits(name)));
        }
    }
}

/// What computes the arguments of `Sin` and `Cos` from positions: integers, cast.
fn angles(view: &View<'_>, verdicts: &mut [Verdict]) {
    let mut positions: HashSet<&str> = HashSet::new();
    for step in &view.steps {
        let class = table::class(step.node);
        let counts = match class {
            Class::Cast => {
                let from = step.node.input.first().and_then(|name| view.types.get(name));
                from.is_some_and(is_count)
            }
            Class::Range(_) => view.model.is_standard(step.node, "Range"),
            _ => float_inputs(view, step).any(|name| positions.contains(name)),
        };
        if counts {
            positions.extend(view.float_outputs(step));
        }
    }
    let mut arguments: BTreeSet<&str> = BTreeSet::new();
    for (step, verdict) in view.steps.iter().zip(verdicts).rev() {
        let is_angle =
            matches!(step.node.op_type(), "Sin" | "Cos" | "Tan") && step.typing.is_some();
        let feeds = view.float_outputs(step).any(|name| arguments.contains(name));
        let counts = float_inputs(view, step).any(|name| positions.contains(name));
        if is_angle && counts {
            arguments.extend(float_inputs(view, step));
        } else if feeds && counts && may(verdict).is_some() {
            *verdict = Verdict::Keep(Reason::Angle);
            arguments.extend(float_inputs(view, step));
        }
    }
}

fn is_count(dtype: DataType) -> bool {
    matches!(dtype, DataType::Int64 | DataType::Int32 | DataType::Uint32 | DataType::Uint64)
}
