//! [`Page`]: metrics on their way into the text format.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};

use super::families::Family;
use crate::runtime::Distribution;

/// The name and value of each label.
pub(super) type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

/// Ends of the buckets that durations are counted in.
const LIMITS: [Duration; 17] = {
    let (us, ms) = (Duration::from_micros, Duration::from_millis);
    [
        us(50),
        us(100),
        us(250),
        us(500),
        ms(1),
        us(2500),
        ms(5),
        ms(10),
        ms(25),
        ms(50),
        ms(100),
        ms(250),
        ms(500),
        ms(1000),
        ms(2500),
        ms(5000),
        ms(10_000),
    ]
};

/// How often values up to which size were seen.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    sum: f64,
    count: u64,
    /// The end of each, and what is in it and not in the one before.
    held: Vec<(f64, u64)>,
}

impl Buckets {
    pub(super) fn of_durations(durations: &Distribution) -> Self {
        let mut buckets = Self::default();
        let ends = LIMITS.iter().map(Duration::as_secs_f64).chain([f64::MAX]);
        ends.zip(durations.between(LIMITS)).for_each(|(end, held)| buckets.push(end, held));
        buckets.sum = durations.total().as_secs_f64();
        buckets
    }

    /// Values that were seen so often each, ascending, in buckets that double.
    pub(super) fn of_sizes(sizes: &[(usize, u64)]) -> Self {
        let mut buckets = Self::default();
        for log2 in 0..=10 {
            let (above, limit) = (if log2 == 0 { 0 } else { (1 << log2) / 2 }, 1 << log2);
            let within = sizes.iter().filter(|(size, _)| *size > above && *size <= limit);
            buckets.push(super::count(limit), within.map(|(_, times)| times).sum());
        }
        let above = sizes.iter().filter(|(size, _)| *size > 1 << 10);
        buckets.push(f64::MAX, above.map(|(_, times)| times).sum());
        let sum = sizes.iter().map(|&(size, times)| super::count(size) * super::count(times));
        buckets.sum = sum.fold(0.0, |sum, more| sum + more);
        buckets
    }

    fn push(&mut self, end: f64, held: u64) {
        self.held.push((end, held));
        self.count += held;
    }
}

/// What is written so far.
pub(super) struct Page<'a>(DescriptorEncoder<'a>);

impl<'a> Page<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    fn family<'l, const N: usize, V>(
        &mut self,
        family: &Family,
        rows: impl IntoIterator<Item = (Labels<'l, N>, V)>,
        write: impl Fn(&mut MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(family.name, family.help, None, family.kind)?;
        for (labels, value) in rows {
            let labels = labels.map(|(name, value)| (name, escaped(value)));
            if N == 0 {
                write(&mut encoder, value)?;
            } else {
                write(&mut encoder.encode_family(&labels)?, value)?;
            }
        }
        Ok(())
    }

    pub(super) fn counters<'l, const N: usize>(
        &mut self,
        family: &Family,
        rows: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        self.family(family, rows, |row, value| {
            row.encode_counter::<NoLabelSet, u64, u64>(&value, None)
        })
    }

    pub(super) fn seconds(&mut self, family: &Family, value: Duration) -> fmt::Result {
        self.family(family, [([], value.as_secs_f64())], |row, value| {
            row.encode_counter::<NoLabelSet, f64, f64>(&value, None)
        })
    }

    pub(super) fn gauges<'l, const N: usize>(
        &mut self,
        family: &Family,
        rows: impl IntoIterator<Item = (Labels<'l, N>, f64)>,
    ) -> fmt::Result {
        self.family(family, rows, |row, value| row.encode_gauge(&value))
    }

    pub(super) fn histograms<'l, const N: usize>(
        &mut self,
        family: &Family,
        rows: impl IntoIterator<Item = (Labels<'l, N>, Buckets)>,
    ) -> fmt::Result {
        self.family(family, rows, |row, buckets| {
            row.encode_histogram::<NoLabelSet>(buckets.sum, buckets.count, &buckets.held, None)
        })
    }
}

/// A text as the format has it between quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_in_one_bucket() {
        let buckets = Buckets::of_sizes(&[(1, 3), (2, 5), (3, 7), (4, 1), (1024, 2), (2048, 4)]);
        let held: Vec<u64> = buckets.held.iter().map(|(_, held)| *held).collect();
        assert_eq!(held, [3, 5, 8, 0, 0, 0, 0, 0, 0, 0, 2, 4]);
        assert_eq!(buckets.count, 22);
        assert!((buckets.sum - 10_278.0).abs() < 1e-9, "{}", buckets.sum);
    }

    #[test]
    fn a_label_cannot_end_its_quotes() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
