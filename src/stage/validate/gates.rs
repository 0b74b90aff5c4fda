//! Holds what was found to the limits.

use std::fmt::Write as _;

use crate::difference::{Difference, Place};
use crate::stage::FromRef;
use crate::stage::assess::{Accuracy, Findings, Nans, SLACK};
use crate::times::{NOISY, Ratio};

use super::report::{
    AccuracyReport, Bound, Gate, LatencyReport, OutputReport, PlaceReport, Report, RivalReport,
    Subject, number,
};
use super::settings::{Latency, Limits, OnNoise, Validate};
use super::timing::{OtherTiming, Timing};

/// By so much of its time an engine may differ from another however steady the times are: where its
/// memory happens to lie makes such a difference.
const LEAST_NOISE: f64 = 0.01;

fn gate(name: impl Into<String>, value: f64, limit: f64, bound: Bound) -> Gate {
    let slack = SLACK * limit.abs();
    let passed = match bound {
        Bound::AtMost => value <= limit + slack,
        Bound::AtLeast => value >= limit - slack,
    };
    Gate {
        name: name.into(),
        output: None,
        value,
        limit,
        bound,
        passed,
        unit: "",
        place: None,
        detail: None,
    }
}

/// The index of a row-major element.
fn index_of(element: usize, shape: &[usize]) -> Vec<usize> {
    let mut rest = element;
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&extent| {
            let at = rest % extent.max(1);
            rest /= extent.max(1);
            at
        })
        .collect();
    index.reverse();
    index
}

fn place_report(place: Place, shape: &[usize]) -> PlaceReport {
    PlaceReport {
        sample: place.sample,
        index: index_of(place.element, shape),
        actual: place.actual,
        reference: place.reference,
    }
}

/// Adds the differences to the reference, the accuracy and their gates.
pub(super) fn judge(validate: &Validate, findings: &Findings, report: &mut Report) {
    report.batch = Some(findings.batch);
    for (name, difference, shape) in &findings.differences {
        let limits = validate.compare.as_ref().map(|compare| compare.of_output(name));
        judge_output(name, difference, shape, limits.as_ref(), report);
    }
    for Nans { output: name, elements: count, first } in &findings.nans {
        #[expect(clippy::cast_precision_loss, reason = "a count of elements, far below 2^53")]
        let mut nans = gate("nan_elements", *count as f64, 0.0, Bound::AtMost);
        nans.output = Some(name.clone());
        nans.detail = first.map(|(sample, element)| {
            format!("the first is in sample {sample}, element {element} of it")
        });
        report.gates.push(nans);
    }
    for name in &findings.unreferenced {
        report.notes.push(format!("output `{name}` is not in the reference and was not compared"));
    }
    if let Some(accuracy) = &validate.accuracy {
        judge_accuracy(accuracy, findings, report);
    }
}

fn judge_output(
    name: &str,
    difference: &Difference,
    shape: &[usize],
    limits: Option<&Limits>,
    report: &mut Report,
) {
    let worst = difference.worst().map(|place| place_report(place, shape));
    let worst_relative = difference.worst_relative().map(|place| place_report(place, shape));
    #[expect(clippy::cast_precision_loss, reason = "a count of elements, far below 2^53")]
    let mut finite = gate("nonfinite_elements", difference.nonfinite() as f64, 0.0, Bound::AtMost);
    finite.output = Some(name.to_owned());
    finite.place = difference.first_nonfinite().map(|place| place_report(place, shape));
    report.gates.push(finite);
    for (metric, limit) in limits.iter().flat_map(|limits| limits.set()) {
        let (value, bound, place) = match metric {
            "max_abs" => (difference.max_abs(), Bound::AtMost, &worst),
            "max_relative_error" => (difference.max_relative_error(), Bound::AtMost, &worst),
            "max_elementwise_relative" => {
                (difference.max_elementwise_relative(), Bound::AtMost, &worst_relative)
            }
            "mean_abs" => (difference.mean_abs(), Bound::AtMost, &worst),
            "rmse" => (difference.rmse(), Bound::AtMost, &worst),
            "cosine" => (difference.cosine(), Bound::AtLeast, &worst),
            _ => (difference.snr_db(), Bound::AtLeast, &worst),
        };
        report.gates.push(Gate {
            output: Some(name.to_owned()),
            place: place.clone(),
            unit: if metric == "snr_db" { " dB" } else { "" },
            ..gate(metric, value, limit.value, bound)
        });
    }
    report.outputs.push(OutputReport {
        name: name.to_owned(),
        numbers: difference.numbers(),
        worst,
        worst_relative,
    });
}

fn judge_accuracy(accuracy: &Accuracy, findings: &Findings, report: &mut Report) {
    let metric = accuracy.metric.name();
    let score = findings.score;
    let value = score.accuracy();
    let mut detail = format!("{} of {} samples are right", score.right, score.samples);
    if let Some(sample) = score.first_wrong {
        let _ = write!(detail, ", the first that is not is sample {sample}");
    }
    let reference = findings.reference_score.map(|score| score.accuracy());
    if let Some(limit) = &accuracy.at_least {
        report.gates.push(Gate {
            detail: Some(detail.clone()),
            ..gate(format!("accuracy {metric}"), value, limit.value, Bound::AtLeast)
        });
    }
    if let (Some(limit), Some(reference)) = (&accuracy.max_drop, reference) {
        let name = format!("accuracy drop {metric}");
        let detail = format!("{detail}; the reference has an accuracy of {}", number(reference));
        report.gates.push(Gate {
            detail: Some(detail),
            ..gate(name, reference - value, limit.value, Bound::AtMost)
        });
    }
    report.accuracy = Some(AccuracyReport {
        metric,
        labels: accuracy.labels.value.clone(),
        output: accuracy.output.as_ref().map_or(String::new(), |output| output.value.clone()),
        accuracy: value,
        right: findings.score.right,
        samples: findings.score.samples,
        first_wrong_sample: findings.score.first_wrong,
        reference_accuracy: reference,
    });
}

/// Adds the measured times and their gates.
pub(super) fn judge_latency(
    latency: &Latency,
    timing: &Timing,
    rival: Option<Subject>,
    report: &mut Report,
) {
    let (batch, times) = (latency.batch.value, &timing.times);
    for (name, percent, limit) in latency.percentiles() {
        let name = format!("latency {}", name.trim_end_matches("_ms"));
        report.gates.push(Gate {
            unit: " ms",
            ..gate(name, times.percentile(percent), limit.value, Bound::AtMost)
        });
    }
    if let Some(limit) = &latency.min_throughput {
        report.gates.push(Gate {
            unit: " samples/s",
            ..gate("throughput", times.throughput(batch), limit.value, Bound::AtLeast)
        });
    }
    let spread = times.spread();
    let noisy = spread > NOISY;
    if latency.on_noise.value == OnNoise::Fail {
        report.gates.push(gate("latency spread", spread, NOISY, Bound::AtMost));
    } else if noisy {
        report.notes.push(format!(
            "the measured times are noisy: the middle half of the runs spreads over {:.0} % of \
             the median; something else was running, or the clock changes",
            spread * 100.0
        ));
    }
    let rival = timing
        .other
        .as_ref()
        .zip(rival)
        .map(|(other, subject)| judge_ratio(latency, other, subject, report));
    report.latency = Some(LatencyReport {
        batch,
        warmup: latency.warmup.value,
        runs: latency.runs.value,
        min_ms: times.min(),
        p50_ms: times.percentile(50.0),
        p95_ms: times.percentile(95.0),
        p99_ms: times.percentile(99.0),
        max_ms: times.max(),
        mean_ms: times.mean(),
        throughput: times.throughput(batch),
        spread,
        noisy,
        rival,
    });
}

/// Adds how the times compare with the other engine's, and the gate: the ratio may be above 1 by
/// what its median differs from the lower end of its range, so that it fails only where that whole
/// range is above 1.
fn judge_ratio(
    latency: &Latency,
    other: &OtherTiming,
    engine: Subject,
    report: &mut Report,
) -> RivalReport {
    let Ratio { median, low, high } = other.ratio;
    let name = match latency.at_least_as_fast_as.as_ref().map(|place| &place.value) {
        Some(FromRef::Stage(stage)) => format!("`{stage}`"),
        _ => "the other engine".to_owned(),
    };
    let rival = RivalReport {
        name,
        engine,
        p50_ms: other.times.percentile(50.0),
        p95_ms: other.times.percentile(95.0),
        mean_ms: other.times.mean(),
        spread: other.times.spread(),
        blocks: other.blocks,
        block_p50_ms: other.nearest,
        ratio: median,
        ratio_low: low,
        ratio_high: high,
        noise: (median - low).max(LEAST_NOISE),
    };
    let detail = rival.text(latency.runs.value);
    report.gates.push(Gate {
        detail: Some(detail),
        ..gate(format!("latency ratio to {}", rival.name), median, 1.0 + rival.noise, Bound::AtMost)
    });
    let spread = other.ratio.spread();
    if latency.on_noise.value == OnNoise::Fail {
        report.gates.push(gate("latency ratio spread", spread, NOISY, Bound::AtMost));
    } else if spread > NOISY {
        report.notes.push(format!(
            "how the latency compares with that of {} is noisy: the ratio is known to {:.0} % only; \
             something else was running, or there were too few runs",
            rival.name,
            spread * 100.0
        ));
    }
    rival
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_named_by_its_index_on_every_axis() {
        assert_eq!(index_of(0, &[2, 3]), [0, 0]);
        assert_eq!(index_of(5, &[2, 3]), [1, 2]);
        assert_eq!(index_of(3, &[]), [0; 0]);
    }

    #[test]
    fn a_value_at_its_limit_passes_and_nan_never_does() {
        assert!(gate("x", 0.1 + 0.2, 0.3, Bound::AtMost).passed);
        assert!(gate("x", 0.97, 0.97, Bound::AtLeast).passed);
        assert!(!gate("x", f64::NAN, 0.3, Bound::AtMost).passed);
        assert!(!gate("x", f64::NEG_INFINITY, 40.0, Bound::AtLeast).passed);
        assert!(gate("x", f64::INFINITY, 40.0, Bound::AtLeast).passed);
    }
}
