//! [`Report`]: what a validation found, as `report.json` and `report.md`.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::artifact::Digest;
use crate::difference::Numbers;
use crate::stage::StageError;

mod markdown;

/// Format of `report.json`.
const FORMAT: u32 = 1;

/// What a validation found.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    pub(super) format: u32,
    pub(super) passed: bool,
    pub(super) samples: usize,
    /// Samples per run; the last run may have fewer.
    pub(super) batch: Option<usize>,
    pub(super) tested: Subject,
    pub(super) reference: Option<Subject>,
    pub(super) gates: Vec<Gate>,
    pub(super) outputs: Vec<OutputReport>,
    pub(super) accuracy: Option<AccuracyReport>,
    pub(super) latency: Option<LatencyReport>,
    pub(super) notes: Vec<String>,
}

/// What was run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Subject {
    /// `engine`, `model` or `recorded outputs`.
    pub(super) kind: &'static str,
    /// What ran it.
    pub(super) backend: Option<String>,
    /// Digest of the input.
    pub(super) digest: Digest,
}

/// One limit and whether it held.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Gate {
    /// What is limited, such as `compare.max_abs`.
    pub(super) name: String,
    pub(super) output: Option<String>,
    /// `null` where it is infinite.
    pub(super) value: f64,
    pub(super) limit: f64,
    /// `at most` or `at least`.
    pub(super) bound: Bound,
    pub(super) passed: bool,
    /// Unit of value and limit, as it is appended to them.
    pub(super) unit: &'static str,
    /// Where it is worst.
    pub(super) place: Option<PlaceReport>,
    /// What the value is made of, where it has no single place.
    pub(super) detail: Option<String>,
}

/// Which side of the limit is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    AtMost,
    AtLeast,
}

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct PlaceReport {
    pub(super) sample: usize,
    /// Index within the sample, one number per axis.
    pub(super) index: Vec<usize>,
    /// `null` where it is NaN or infinite.
    pub(super) actual: f64,
    pub(super) reference: f64,
}

/// The difference of one output to the reference.
#[derive(Debug, Clone, Serialize)]
pub(super) struct OutputReport {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) numbers: Numbers,
    pub(super) worst: Option<PlaceReport>,
    pub(super) worst_relative: Option<PlaceReport>,
}

/// How many samples were right.
#[derive(Debug, Clone, Serialize)]
pub(super) struct AccuracyReport {
    pub(super) metric: &'static str,
    pub(super) labels: String,
    pub(super) output: String,
    pub(super) accuracy: f64,
    pub(super) right: usize,
    pub(super) samples: usize,
    pub(super) first_wrong_sample: Option<usize>,
    pub(super) reference_accuracy: Option<f64>,
}

/// How long runs took.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LatencyReport {
    pub(super) batch: usize,
    pub(super) warmup: usize,
    pub(super) runs: usize,
    pub(super) min_ms: f64,
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
    pub(super) mean_ms: f64,
    /// Samples per second.
    pub(super) throughput: f64,
    /// Spread of the middle half of the runs as a fraction of the median.
    pub(super) spread: f64,
    pub(super) noisy: bool,
    pub(super) rival: Option<RivalReport>,
}

/// The engine that the tested one must not be slower than.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RivalReport {
    /// How texts call it.
    #[serde(skip)]
    pub(super) name: String,
    pub(super) engine: Subject,
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) mean_ms: f64,
    /// Spread of the middle half of its runs as a fraction of their median.
    pub(super) spread: f64,
    /// Blocks of runs in which both took turns.
    pub(super) blocks: usize,
    /// The medians of the tested engine and of this one in the block whose ratio is nearest to
    /// `ratio`.
    pub(super) block_p50_ms: [f64; 2],
    /// Time of the tested engine as a multiple of this one's: the median over the blocks.
    pub(super) ratio: f64,
    /// Ends of the range in which the ratio is with 98 % confidence.
    pub(super) ratio_low: f64,
    pub(super) ratio_high: f64,
    /// By so much the ratio may be above 1.
    pub(super) noise: f64,
}

impl RivalReport {
    /// The numbers in one line.
    pub(super) fn text(&self, runs: usize) -> String {
        let [tested, other] = self.block_p50_ms;
        format!(
            "p50 {} ms against {} ms in the block nearest to it; the ratio is between {} and {} \
             with 98 % confidence, out of {runs} runs of each in {} blocks",
            number(tested),
            number(other),
            number(self.ratio_low),
            number(self.ratio_high),
            self.blocks
        )
    }
}

/// A number with four significant digits.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs();
    if !(1e-3..1e6).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let decimals = if magnitude >= 1000.0 {
        0
    } else if magnitude >= 100.0 {
        1
    } else if magnitude >= 10.0 {
        2
    } else if magnitude >= 1.0 {
        3
    } else {
        4
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

impl PlaceReport {
    /// `sample 17, element [3]: 1.23 instead of 0.98`.
    pub(super) fn text(&self) -> String {
        let (actual, reference) = distinct(self.actual, self.reference);
        format!("sample {}, element {:?}: {actual} instead of {reference}", self.sample, self.index)
    }
}

impl Gate {
    fn explanation(&self) -> Option<String> {
        self.place.as_ref().map(PlaceReport::text).or_else(|| self.detail.clone())
    }

    /// The broken limit in one line: which output, by how much, where.
    pub(super) fn failure(&self) -> String {
        let of = self.output.as_ref().map_or(String::new(), |name| format!(" of output `{name}`"));
        let place = self.explanation().map_or(String::new(), |text| format!(" ({text})"));
        let bound = match self.bound {
            Bound::AtMost => "at most",
            Bound::AtLeast => "at least",
        };
        let (value, limit) = distinct(self.value, self.limit);
        let unit = self.unit;
        format!("{}{of} is {value}{unit}, allowed is {bound} {limit}{unit}{place}", self.name)
    }
}

/// Both numbers with as many digits as it takes to tell them apart.
fn distinct(a: f64, b: f64) -> (String, String) {
    let (short, other) = (number(a), number(b));
    if short == other { (a.to_string(), b.to_string()) } else { (short, other) }
}

impl Report {
    pub(super) fn new(samples: usize, tested: Subject) -> Self {
        Self {
            format: FORMAT,
            passed: true,
            samples,
            batch: None,
            tested,
            reference: None,
            gates: Vec::new(),
            outputs: Vec::new(),
            accuracy: None,
            latency: None,
            notes: Vec::new(),
        }
    }

    /// Writes `report.json` and `report.md`.
    pub(super) fn write(&self, folder: &Path) -> Result<(), StageError> {
        let json = folder.join("report.json");
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| StageError::io("write", &json)(std::io::Error::other(error)))?;
        text.push('\n');
        fs::write(&json, text).map_err(StageError::io("write", &json))?;
        let markdown = folder.join("report.md");
        fs::write(&markdown, self.markdown()).map_err(StageError::io("write", &markdown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_significant_digits() {
        let cases = [
            (0.0, "0"),
            (0.000_012_34, "1.234e-5"),
            (0.1, "0.1"),
            (0.968_888_8, "0.9689"),
            (12.3456, "12.35"),
            (1234.5, "1234"),
            (100.0, "100"),
            (f64::INFINITY, "inf"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
        assert_eq!(distinct(0.1, 0.100_000_1), ("0.1".into(), "0.1000001".into()));
    }
}
