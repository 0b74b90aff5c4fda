//! The report for people, as Markdown.

use std::fmt::Write as _;

use super::{AccuracyReport, Bound, LatencyReport, PlaceReport, Report, Subject, distinct, number};

fn subject(subject: &Subject) -> String {
    match &subject.backend {
        Some(backend) => format!("{} on {backend}", subject.kind),
        None => subject.kind.to_owned(),
    }
}

impl Report {
    /// The report for people.
    pub(in crate::stage::validate) fn markdown(&self) -> String {
        let mut text = String::new();
        let verdict = if self.passed { "passed" } else { "failed" };
        // Writing into a String cannot fail.
        let _ = writeln!(text, "# Validation {verdict}\n");
        let _ = write!(text, "{} samples, {}", self.samples, subject(&self.tested));
        if let Some(reference) = &self.reference {
            let _ = write!(text, ", compared with {}", subject(reference));
        }
        if let Some(batch) = self.batch {
            let _ = write!(text, ", in batches of {batch}");
        }
        text.push_str(".\n");
        self.write_gates(&mut text);
        self.write_outputs(&mut text);
        if let Some(accuracy) = &self.accuracy {
            write_accuracy(&mut text, accuracy);
        }
        if let Some(latency) = &self.latency {
            write_latency(&mut text, latency);
        }
        if !self.notes.is_empty() {
            text.push_str("\n## Notes\n\n");
            for note in &self.notes {
                let _ = writeln!(text, "- {note}");
            }
        }
        text
    }

    fn write_gates(&self, text: &mut String) {
        text.push_str("\n## Gates\n\n");
        text.push_str("| gate | output | value | limit | verdict |\n|---|---|--:|--:|---|\n");
        for gate in &self.gates {
            let sign = match gate.bound {
                Bound::AtMost => "<=",
                Bound::AtLeast => ">=",
            };
            let verdict = match (gate.explanation(), gate.passed) {
                (_, true) => "passed".to_owned(),
                (Some(text), false) => format!("**failed**: {text}"),
                (None, false) => "**failed**".to_owned(),
            };
            let (value, limit) = distinct(gate.value, gate.limit);
            let output = gate.output.as_deref().map_or(String::new(), |name| format!("`{name}`"));
            let _ = writeln!(
                text,
                "| {} | {output} | {value}{unit} | {sign} {limit}{unit} | {verdict} |",
                gate.name,
                unit = gate.unit
            );
        }
    }

    fn write_outputs(&self, text: &mut String) {
        if self.outputs.is_empty() {
            return;
        }
        text.push_str("\n## Difference to the reference\n\n");
        text.push_str("| output | max abs | max relative | max elementwise relative | mean abs | ");
        text.push_str("rmse | cosine | snr | worst |\n|---|--:|--:|--:|--:|--:|--:|--:|---|\n");
        for output in &self.outputs {
            let (worst, numbers) = (&output.worst, &output.numbers);
            let worst = worst.as_ref().map_or(String::new(), PlaceReport::text);
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} | {} | {} | {:.8} | {} dB | {worst} |",
                output.name,
                number(numbers.max_abs),
                number(numbers.max_relative_error),
                number(numbers.max_elementwise_relative),
                number(numbers.mean_abs),
                number(numbers.rmse),
                numbers.cosine,
                number(numbers.snr_db),
            );
        }
    }
}

fn write_accuracy(text: &mut String, accuracy: &AccuracyReport) {
    let _ = writeln!(
        text,
        "\n## Accuracy\n\n{} of output `{}`: {} ({} of {} right)",
        accuracy.metric,
        accuracy.output,
        number(accuracy.accuracy),
        accuracy.right,
        accuracy.samples
    );
    if let Some(reference) = accuracy.reference_accuracy {
        let _ = writeln!(text, "The reference: {}", number(reference));
    }
}

fn write_latency(text: &mut String, latency: &LatencyReport) {
    let _ = writeln!(
        text,
        "\n## Latency\n\n{} runs of batch {} after {} to warm up: {} samples/s\n",
        latency.runs,
        latency.batch,
        latency.warmup,
        number(latency.throughput)
    );
    let _ = writeln!(text, "| min | p50 | p95 | p99 | max | mean |\n|--:|--:|--:|--:|--:|--:|");
    let columns = [
        latency.min_ms,
        latency.p50_ms,
        latency.p95_ms,
        latency.p99_ms,
        latency.max_ms,
        latency.mean_ms,
    ];
    let cells: Vec<String> = columns.iter().map(|ms| format!("{} ms", number(*ms))).collect();
    let _ = writeln!(text, "| {} |", cells.join(" | "));
    if let Some(rival) = &latency.rival {
        let _ = writeln!(
            text,
            "\nAs a multiple of the time of {} ({}): {} ({})",
            rival.name,
            subject(&rival.engine),
            number(rival.ratio),
            rival.text(latency.runs)
        );
    }
}
