//! Whether requests that one engine answers can be put to another.
//!
//! It is held to what clients may send, not to what they have sent lately: one that is silent
//! today would fail tomorrow, long after the version that understood it was unloaded. Only the
//! engine counts: limits of batches and queues are changed on purpose, and recorded requests that
//! they refuse show in the shadow check.

use crate::deployment::EngineConfig;
use crate::tensor::{Dim, TensorSpec};

use super::Gate;

/// The gate's name.
const NAME: &str = "interface";

/// Holds `new` to what clients of `old` rely on: it takes every request that `old` takes, and
/// answers with at least the outputs of `old`. Where `may_change`, it says what changed and lets
/// it through.
pub(super) fn check(old: &EngineConfig, new: &EngineConfig, may_change: bool) -> Gate {
    let changes = changes(old, new);
    if changes.is_empty() {
        return Gate::passed(NAME, "takes every request that the version before takes");
    }
    let changes = changes.join("; ");
    if may_change {
        return Gate::skipped(
            NAME,
            format!("changed, as `allow_interface_change` says: {changes}"),
        );
    }
    Gate::failed(
        NAME,
        format!(
            "{changes}; serve it under another name, or set `reload.allow_interface_change` if no \
             client minds"
        ),
    )
}

/// Whether samples of `old` are requests to `new`: the same inputs, in whatever order.
pub(super) fn takes_samples(old: &[TensorSpec], new: &[TensorSpec]) -> bool {
    let has = |input: &TensorSpec| find(new, &input.name).is_some_and(|n| n.dtype == input.dtype);
    old.len() == new.len() && old.iter().all(has)
}

fn find<'a>(tensors: &'a [TensorSpec], name: &str) -> Option<&'a TensorSpec> {
    tensors.iter().find(|tensor| tensor.name == name)
}

fn changes(old: &EngineConfig, new: &EngineConfig) -> Vec<String> {
    let mut changes = Vec::new();
    for input in &old.inputs {
        let change = match find(&new.inputs, &input.name) {
            None => Some("is gone".to_owned()),
            Some(now) => dtype_change(input, now)
                .or_else(|| narrower(input, now).map(|axes| format!("was {axes}")))
                .or_else(|| narrower_range(&input.name, old, new)),
        };
        changes.extend(change.map(|change| format!("input `{}` {change}", input.name)));
    }
    let added = new.inputs.iter().filter(|input| find(&old.inputs, &input.name).is_none());
    changes
        .extend(added.map(|input| format!("input `{}` is new, and clients lack it", input.name)));
    for output in &old.outputs {
        let change = match find(&new.outputs, &output.name) {
            None => Some("is gone".to_owned()),
            // Here the new version must keep what the old one promised.
            Some(now) => dtype_change(output, now)
                .or_else(|| narrower(now, output).map(|_| was(output, now))),
        };
        changes.extend(change.map(|change| format!("output `{}` {change}", output.name)));
    }
    changes
}

fn dtype_change(old: &TensorSpec, new: &TensorSpec) -> Option<String> {
    (old.dtype != new.dtype).then(|| format!("was {} and is {}", old.dtype, new.dtype))
}

fn was(old: &TensorSpec, new: &TensorSpec) -> String {
    format!("was {} and is {}", old.dims_text(), new.dims_text())
}

/// Whether `narrow` refuses shapes that `wide` allows, and how both look.
fn narrower(wide: &TensorSpec, narrow: &TensorSpec) -> Option<String> {
    let fits = match (&wide.dims, &narrow.dims) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(wide), Some(narrow)) => {
            let kept = |(wide, narrow): (&Dim, &Dim)| match narrow {
                Dim::Fixed(_) => wide == narrow,
                Dim::Symbol(_) | Dim::Any => true,
            };
            wide.len() == narrow.len() && wide.iter().zip(narrow).all(kept)
        }
    };
    (!fits).then(|| format!("{} and is {}", wide.dims_text(), narrow.dims_text()))
}

/// Whether the profiles of `new` leave out shapes that those of `old` have. Several profiles are
/// taken for the box around them: they overlap in practice.
fn narrower_range(input: &str, old: &EngineConfig, new: &EngineConfig) -> Option<String> {
    let now = extents(input, new)?;
    let Some(before) = extents(input, old) else {
        return Some(format!("took any shape and takes {}", text(&now)));
    };
    let covered = now.len() == before.len()
        && now.iter().zip(&before).all(|(now, old)| now.0 <= old.0 && old.1 <= now.1);
    (!covered).then(|| format!("took {} and takes {}", text(&before), text(&now)))
}

/// The smallest and largest extent of each axis; `None` where any will do.
fn extents(input: &str, engine: &EngineConfig) -> Option<Vec<(usize, usize)>> {
    let ranges = engine.profiles.iter().filter_map(|profile| profile.get(input));
    let ranges = ranges.map(|range| {
        range.min.0.iter().copied().zip(range.max.0.iter().copied()).collect::<Vec<_>>()
    });
    ranges.reduce(|all, range| {
        let around = all.iter().zip(&range).map(|(a, b)| (a.0.min(b.0), a.1.max(b.1)));
        around.collect()
    })
}

fn text(extents: &[(usize, usize)]) -> String {
    let axis = |&(low, high): &(usize, usize)| {
        if low == high { low.to_string() } else { format!("{low}..{high}") }
    };
    format!("[{}]", extents.iter().map(axis).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::artifact::Digest;
    use crate::deployment::ShapeRange;
    use crate::tensor::{DType, Shape};

    use super::*;

    fn tensor(name: &str, dtype: DType, dims: &[Dim]) -> TensorSpec {
        TensorSpec { name: name.into(), dtype, dims: Some(dims.to_vec()) }
    }

    fn batch(extent: usize) -> Vec<Dim> {
        vec![Dim::Symbol("batch".into()), Dim::Fixed(extent)]
    }

    fn engine() -> EngineConfig {
        EngineConfig {
            digest: Digest::of(b"engine"),
            backend: "cpu".into(),
            inputs: vec![tensor("x", DType::Float32, &batch(4))],
            outputs: vec![tensor("y", DType::Float32, &batch(2))],
            profiles: Vec::new(),
        }
    }

    fn profiles(ends: &[(usize, usize)]) -> Vec<BTreeMap<String, ShapeRange>> {
        let shape = |extent| Shape(vec![extent, 4]);
        let range = |&(low, high): &(usize, usize)| ShapeRange {
            min: shape(low),
            opt: shape(low),
            max: shape(high),
        };
        ends.iter().map(|ends| BTreeMap::from([("x".to_owned(), range(ends))])).collect()
    }

    /// Of the old engine, the new one, or both.
    type Change = fn(&mut EngineConfig, &mut EngineConfig);

    fn refusal(change: impl Fn(&mut EngineConfig, &mut EngineConfig)) -> Option<String> {
        let (mut old, mut new) = (engine(), engine());
        change(&mut old, &mut new);
        assert!(check(&old, &new, true).passed);
        let gate = check(&old, &new, false);
        (!gate.passed).then(|| gate.detail.split("; serve it").next().unwrap().to_owned())
    }

    #[test]
    fn what_takes_more_and_answers_more_gets_through() {
        assert_eq!(refusal(|_, _| ()), None);
        assert_eq!(
            refusal(|_, new| {
                new.inputs[0].dims = Some(vec![Dim::Any, Dim::Any]);
                new.outputs.insert(0, tensor("more", DType::Int64, &[]));
            }),
            None
        );
        assert_eq!(refusal(|old, _| old.outputs[0].dims = None), None);
        assert_eq!(refusal(|_, new| new.inputs[0].dims = None), None);
    }

    #[test]
    fn what_takes_less_or_answers_differently_is_refused_by_name() {
        let cases: [(Change, &str); 8] = [
            (
                |_, new| new.inputs[0].name = "z".into(),
                "input `x` is gone; input `z` is new, and clients lack it",
            ),
            (|_, new| new.inputs[0].dtype = DType::Float16, "input `x` was float32 and is float16"),
            (
                |_, new| new.inputs[0].dims = Some(vec![Dim::Fixed(1), Dim::Fixed(4)]),
                "input `x` was [batch,4] and is [1,4]",
            ),
            (|old, _| old.inputs[0].dims = None, "input `x` was [..] and is [batch,4]"),
            (|_, new| new.outputs[0].name = "z".into(), "output `y` is gone"),
            (|_, new| new.outputs[0].dtype = DType::Int64, "output `y` was float32 and is int64"),
            (
                |_, new| new.outputs[0].dims = Some(batch(3)),
                "output `y` was [batch,2] and is [batch,3]",
            ),
            (|_, new| new.outputs[0].dims = None, "output `y` was [batch,2] and is [..]"),
        ];
        for (change, expected) in cases {
            assert_eq!(refusal(change).as_deref(), Some(expected));
        }
    }

    #[test]
    fn profiles_may_grow_and_not_shrink() {
        let ranges = |old: &'static [(usize, usize)], new: &'static [(usize, usize)]| {
            refusal(|a, b| (a.profiles, b.profiles) = (profiles(old), profiles(new)))
        };
        assert_eq!(ranges(&[(1, 8)], &[]), None);
        assert_eq!(ranges(&[(1, 8)], &[(1, 4), (5, 16)]), None);
        let expected = "input `x` took [1..8,4] and takes [1..4,4]";
        assert_eq!(ranges(&[(1, 8)], &[(1, 4)]).as_deref(), Some(expected));
        let expected = "input `x` took any shape and takes [1..4,4]";
        assert_eq!(ranges(&[], &[(1, 4)]).as_deref(), Some(expected));
    }
}
