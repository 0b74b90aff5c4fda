//! Which batches cover the samples, given the batch sizes that engines take.

use crate::backend::{Engine, Profile};
use crate::tensor::{Dim, TensorSpec};

/// The batch sizes that something takes: ranges with both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchSizes(Vec<(usize, usize)>);

impl BatchSizes {
    /// What an engine takes.
    pub(crate) fn of_engine(engine: &dyn Engine) -> Self {
        Self::of(engine.inputs(), engine.profiles())
    }

    /// What inputs with these axes and profiles take, axis 0 being the batch.
    pub(crate) fn of(inputs: &[TensorSpec], profiles: &[Profile]) -> Self {
        let mut sizes = Self(vec![(1, usize::MAX)]);
        for input in inputs {
            if let Some(Dim::Fixed(extent)) = input.dims.as_ref().and_then(|dims| dims.first()) {
                sizes = sizes.and(&Self(vec![(*extent, *extent)]));
            }
        }
        if profiles.is_empty() {
            return sizes;
        }
        let ranges = profiles.iter().filter_map(|profile| {
            let ends = profile
                .values()
                .filter_map(|range| Some((*range.min.0.first()?, *range.max.0.first()?)));
            let (min, max) =
                ends.fold((1, usize::MAX), |(min, max), (low, high)| (min.max(low), max.min(high)));
            (min <= max).then_some((min, max))
        });
        sizes.and(&Self(ranges.collect()))
    }

    /// The sizes that both take.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let both = self.0.iter().flat_map(|&(min, max)| {
            other.0.iter().map(move |&(low, high)| (min.max(low), max.min(high)))
        });
        Self(both.filter(|(min, max)| min <= max && *max > 0).collect())
    }

    /// Whether a batch of this size is taken.
    pub(crate) fn takes(&self, size: usize) -> bool {
        self.0.iter().any(|&(min, max)| (min..=max).contains(&size))
    }

    /// The largest size up to `wanted`, or the smallest there is.
    pub(crate) fn nearest(&self, wanted: usize) -> Option<usize> {
        let below =
            self.0.iter().filter(|(min, _)| *min <= wanted).map(|&(_, max)| max.min(wanted));
        below.max().or_else(|| self.0.iter().map(|&(min, _)| min).min())
    }
}

impl std::fmt::Display for BatchSizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ranges: Vec<String> = self
            .0
            .iter()
            .map(|&(min, max)| match (min, max) {
                _ if min == max => min.to_string(),
                (_, usize::MAX) => format!("{min} or more"),
                _ => format!("{min} to {max}"),
            })
            .collect();
        if ranges.is_empty() { f.write_str("none") } else { f.write_str(&ranges.join(", ")) }
    }
}

/// One run: the samples `start..end`, of which those from `fresh` on were in no batch before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) start: usize,
    pub(crate) fresh: usize,
    pub(crate) end: usize,
}

/// Batches that cover `samples` samples, each once fresh. Where what is left over at the end is
/// too small a batch, the last batch reaches back and repeats samples. `None` where the samples
/// do not fill a single batch.
pub(crate) fn cover(samples: usize, size: usize, sizes: &BatchSizes) -> Option<Vec<Batch>> {
    let size = size.min(samples);
    if size == 0 || !sizes.takes(size) {
        return None;
    }
    let mut batches = Vec::with_capacity(samples.div_ceil(size));
    let mut start = 0;
    while start < samples {
        let left = samples - start;
        if left >= size || sizes.takes(left) {
            let end = start + left.min(size);
            batches.push(Batch { start, fresh: start, end });
            start = end;
        } else {
            batches.push(Batch { start: samples - size, fresh: start, end: samples });
            start = samples;
        }
    }
    Some(batches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::ShapeRange;
    use crate::tensor::{DType, Shape};
    use proptest::prelude::*;

    fn input(first: Dim) -> TensorSpec {
        let dims = Some(vec![first, Dim::Fixed(8)]);
        TensorSpec { name: "x".into(), dtype: DType::Float32, dims }
    }

    fn profile(min: usize, max: usize) -> Profile {
        let shape = |batch| Shape(vec![batch, 8]);
        let range = ShapeRange { min: shape(min), opt: shape(min), max: shape(max) };
        Profile::from([("x".to_owned(), range)])
    }

    #[test]
    fn sizes_come_from_fixed_axes_and_profiles() {
        let dynamic = [input(Dim::Symbol("n".into()))];
        let sizes = BatchSizes::of(&dynamic, &[profile(1, 4), profile(8, 16)]);
        assert_eq!(sizes.to_string(), "1 to 4, 8 to 16");
        assert_eq!(sizes.nearest(32), Some(16));
        assert_eq!(sizes.nearest(6), Some(4));
        let fixed = BatchSizes::of(&[input(Dim::Fixed(5))], &[]);
        assert_eq!((fixed.nearest(1), fixed.nearest(32)), (Some(5), Some(5)));
        assert_eq!(fixed.and(&sizes).to_string(), "none");
        assert_eq!(BatchSizes::of(&dynamic, &[]).to_string(), "1 or more");
    }

    #[test]
    fn a_fixed_batch_reaches_back_for_the_last_samples() {
        let sizes = BatchSizes(vec![(4, 4)]);
        let batches = cover(10, 4, &sizes).unwrap();
        assert_eq!(batches[2], Batch { start: 6, fresh: 8, end: 10 });
        assert_eq!(cover(3, 4, &sizes), None);
    }

    proptest! {
        #[test]
        fn every_sample_is_fresh_exactly_once_and_every_batch_is_taken(
            samples in 1..200_usize, wanted in 1..40_usize, min in 1..40_usize, width in 0..20_usize,
        ) {
            let sizes = BatchSizes(vec![(min, min + width)]);
            let size = sizes.nearest(wanted).unwrap();
            if let Some(batches) = cover(samples, size, &sizes) {
                let mut next = 0;
                for batch in batches {
                    prop_assert_eq!(batch.fresh, next);
                    prop_assert!(batch.start <= batch.fresh && batch.fresh < batch.end);
                    prop_assert!(sizes.takes(batch.end - batch.start));
                    next = batch.end;
                }
                prop_assert_eq!(next, samples);
            } else {
                prop_assert!(samples < min);
            }
        }
    }
}
