//! [`Statistics`]: what is remembered of the values of one tensor.

use serde::Serialize;

use super::Range;
use super::histogram::Histogram;

/// How many values were seen, and of what sort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// All of them.
    pub values: u64,
    /// Those that are no number.
    pub nans: u64,
    /// Those that are infinite.
    pub infinities: u64,
}

/// What is remembered of the values of one tensor: their number, their extremes and, where asked
/// for, how they are distributed. Takes the same memory however many they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    seen: Seen,
    range: Option<Range>,
    histogram: Option<Histogram>,
}

impl Statistics {
    /// Nothing seen yet.
    pub fn new(with_histogram: bool) -> Self {
        let histogram = with_histogram.then(Histogram::new);
        Self { seen: Seen::default(), range: None, histogram }
    }

    /// Remembers more values.
    pub fn add(&mut self, values: &[f32]) {
        self.seen.values += values.len() as u64;
        let Some(found) = extremes(values) else {
            return self.add_faulty(values);
        };
        self.note(found, values);
    }

    /// Remembers what another one remembers.
    pub fn merge(&mut self, other: Self) {
        self.seen.values += other.seen.values;
        self.seen.nans += other.seen.nans;
        self.seen.infinities += other.seen.infinities;
        self.range = match (self.range, other.range) {
            (Some(own), Some(theirs)) => Some(own.with(theirs)),
            (own, theirs) => own.or(theirs),
        };
        if let (Some(own), Some(theirs)) = (&mut self.histogram, other.histogram) {
            own.merge(theirs);
        }
    }

    /// How many values were seen.
    pub fn seen(&self) -> Seen {
        self.seen
    }

    /// The extremes of the finite values; `None` where there were none.
    pub fn range(&self) -> Option<Range> {
        self.range
    }

    pub(super) fn histogram(&self) -> Option<&Histogram> {
        self.histogram.as_ref()
    }

    fn note(&mut self, found: Range, values: &[f32]) {
        let range = self.range.map_or(found, |range| range.with(found));
        self.range = Some(range);
        if let Some(histogram) = &mut self.histogram {
            histogram.add(values, range.magnitude());
        }
    }

    /// Some are not finite: they are counted, the others remembered.
    fn add_faulty(&mut self, values: &[f32]) {
        let count =
            |sort: fn(&f32) -> bool| values.iter().filter(|value| sort(value)).count() as u64;
        self.seen.nans += count(|value| value.is_nan());
        self.seen.infinities += count(|value| value.is_infinite());
        let finite: Vec<f32> = values.iter().copied().filter(|value| value.is_finite()).collect();
        if let Some(found) = extremes(&finite) {
            self.note(found, &finite);
        }
    }
}

impl Range {
    fn with(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// Values side by side, for the processor to compare at once.
const LANES: usize = 16;

/// The extremes; `None` where a value is not finite, or where there is none.
fn extremes(values: &[f32]) -> Option<Range> {
    let first = *values.first()?;
    let (mut min, mut max) = ([first; LANES], [first; LANES]);
    // A value that is not finite makes this NaN.
    let mut finite = [0f32; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            let value = chunk[lane];
            min[lane] = if value < min[lane] { value } else { min[lane] };
            max[lane] = if value > max[lane] { value } else { max[lane] };
            finite[lane] += value * 0.0;
        }
    }
    let lanes = min.into_iter().chain(max).chain(rest.iter().copied());
    let range = lanes.fold(Range { min: first, max: first }, |range, value| {
        range.with(Range { min: value, max: value })
    });
    let is_finite = finite.iter().chain(rest).all(|value| (value * 0.0) == 0.0);
    is_finite.then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_are_those_of_the_finite_values_and_the_others_are_counted() {
        for length in [1, 7, 16, 33, 100_u8] {
            let mut values: Vec<f32> = (0..length).map(|index| f32::from(index) - 5.0).collect();
            let mut statistics = Statistics::new(true);
            statistics.add(&values);
            let top = f32::from(length) - 6.0;
            assert_eq!(statistics.range(), Some(Range { min: -5.0, max: top }));
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                values.push(bad);
                values.rotate_left(usize::from(length) / 2);
            }
            statistics.add(&values);
            assert_eq!(statistics.range(), Some(Range { min: -5.0, max: top }));
            let values = u64::from(length) * 2 + 3;
            assert_eq!(statistics.seen(), Seen { values, nans: 1, infinities: 2 });
        }
    }

    #[test]
    fn nothing_and_nothing_finite_have_no_range() {
        let mut statistics = Statistics::new(true);
        statistics.add(&[]);
        statistics.add(&[f32::NAN; 20]);
        assert_eq!(statistics.range(), None);
        let mut other = Statistics::new(true);
        other.add(&[2.0, -1.0]);
        statistics.merge(other);
        assert_eq!(statistics.range(), Some(Range { min: -1.0, max: 2.0 }));
        assert_eq!(statistics.seen().values, 22);
    }
}
