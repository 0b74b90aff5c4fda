//! Measurements of a served model as people and programs read them.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use crate::bench::traffic::{CheckReport, LevelReport, Percentiles, Samples, ServerReport};
use crate::bench::{Overhead, Spread};
use crate::cli::console::Console;
use crate::cli::facts::Facts;
use crate::cli::quantity::{grouped, significant, time, time_unit};

use super::table::Numbers;

/// What is measured.
pub(super) struct Head {
    pub(super) target: String,
    pub(super) server: String,
    pub(super) model: String,
    pub(super) versions: Vec<String>,
    pub(super) protocol: &'static str,
}

impl Head {
    pub(super) fn show(&self, samples: &Samples, data: Option<&Path>, console: &Console) {
        let Self { target, server, model, versions, protocol } = self;
        let data = data.map(|path| path.display().to_string());
        let inputs = samples.describe();
        if console.is_json() {
            console.record(
                "bench_served",
                json!({
                    "target": target, "server": server, "model": model, "versions": versions,
                    "protocol": protocol, "inputs": inputs, "data": data,
                    "different_requests": samples.pool(), "assumed": samples.assumed(),
                }),
            );
            console.flush();
            return;
        }
        let mut facts = Facts::default();
        facts.add("server", server);
        let versions = match &versions[..] {
            [] => String::new(),
            [only] => format!(", version {only}"),
            several => format!(", versions {}", several.join(", ")),
        };
        facts.add("model", format!("{model}{versions}"));
        facts.add("protocol", *protocol);
        for input in &inputs {
            facts.add("input", format!("{} {} {}", input.name, input.dtype, input.shape));
        }
        let different = samples.pool().map_or_else(
            || "all requests different".to_owned(),
            |pool| format!("{pool} different requests take turns"),
        );
        let source = data.map_or("random, always the same".to_owned(), |path| format!("of {path}"));
        facts.add("values", format!("{source}; {different}"));
        if !samples.assumed().is_empty() {
            facts.add("shapes", format!("taken as 1: {}", samples.assumed().join(", ")));
        }
        console.text(&format!("{target}\n\n{}", facts.text()));
    }
}

/// Shows what one pace came to.
pub(super) fn show(report: &LevelReport, console: &Console) {
    if console.is_json() {
        console.record("bench_level", serde_json::to_value(report).unwrap_or_default());
        console.flush();
    } else {
        console.text(&format!("\n{}", text(report)));
        console.flush();
    }
}

/// What the numbers of a closed loop are.
const CLOSED: &str = "\
closed loop: each request is made when the one before it was answered, so a slow
answer delays the next and hides how long that would have waited
";

/// What the numbers of an open loop are.
const OPEN: &str = "\
open loop: latency counts from the moment a request was due, so what waited for
others is in it; service counts from the moment it was made
";

fn text(report: &LevelReport) -> String {
    let mut text = what(report).text() + &latencies(report);
    if let Some(server) = &report.server {
        text += &phases(server);
    }
    if !report.endings.is_empty() {
        text += "\nnot answered\n";
        for ending in &report.endings {
            let _ =
                writeln!(text, "  {:>9} {}: {}", grouped(ending.count), ending.ending, ending.said);
        }
    }
    if let Some(check) = &report.check {
        text += &checked(check);
    }
    if let Some(overhead) = &report.overhead {
        text += &compared(overhead, report);
    }
    if report.unsent > 0 {
        let unsent = grouped(report.unsent);
        let _ = writeln!(
            text,
            "\n{unsent} requests were due but not made: all {} at a time waited for answers, so\n\
             the slowest latencies are not in the table",
            report.pace.concurrency
        );
    }
    if report.interrupted {
        text += "\ninterrupted: this is what was measured until then\n";
    }
    text + "\n" + if report.pace.rate.is_some() { OPEN } else { CLOSED }
}

fn what(report: &LevelReport) -> Facts {
    let mut facts = Facts::default();
    let concurrency = grouped(report.pace.concurrency as u64);
    facts.add(
        "loop",
        match (report.pace.rate, report.pace.arrivals) {
            (Some(rate), Some(arrivals)) => format!(
                "open, {} requests/s ({arrivals}), {concurrency} without an answer at most",
                significant(rate)
            ),
            _ => format!("closed, {concurrency} at a time"),
        },
    );
    let rounds = match report.rounds {
        1 => String::new(),
        more => format!(" of {more} rounds"),
    };
    let (requests, seconds) = (grouped(report.requests), time(report.seconds));
    facts.add("measured", format!("{requests} requests in {seconds}{rounds}"));
    let samples = report.samples_per_second.map(|samples| significant(samples) + " samples/s");
    let throughput = significant(report.requests_per_second) + " answers/s";
    let both: Vec<String> = [Some(throughput), samples].into_iter().flatten().collect();
    facts.add("throughput", both.join(", "));
    if report.refused + report.failed > 0 {
        let [answered, refused, failed] =
            [report.answered, report.refused, report.failed].map(grouped);
        facts.add("requests", format!("{answered} answered, {refused} refused, {failed} failed"));
    }
    facts
}

/// A row for the whole request and one for each of its parts, all in one unit.
fn latencies(report: &LevelReport) -> String {
    let Some(latency) = report.latency.or(report.refusals) else { return String::new() };
    let (unit, per_millisecond) = time_unit(latency.p50_ms);
    let header = [unit, "min", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"];
    let mut table = Numbers::new(header);
    let mut row = |name: &str, times: Option<Percentiles>| {
        let Some(times) = times else { return };
        let Percentiles {
            min_ms, mean_ms, p50_ms, p90_ms, p95_ms, p99_ms, p999_ms, max_ms, ..
        } = times;
        let numbers = [min_ms, mean_ms, p50_ms, p90_ms, p95_ms, p99_ms, p999_ms, max_ms];
        table.row(name, numbers.map(|milliseconds| significant(milliseconds * per_millisecond)));
    };
    row("latency", report.latency);
    row("corrected", report.corrected);
    row("service", report.service);
    row("late", report.late);
    for part in &report.parts {
        row(part.name, Some(part.times));
    }
    row("refused", report.refusals);
    format!("\n{}", table.text())
}

/// What the server counted.
fn phases(server: &ServerReport) -> String {
    if server.phases.is_empty() {
        return String::new();
    }
    let mut text = "\ncounted by the server".to_owned();
    if let Some(batch) = server.mean_batch {
        let _ = write!(text, ", {} samples a batch on average", significant(batch));
    }
    let mut table = Numbers::new(["mean", "µs", "times"]);
    for phase in &server.phases {
        table.row(&phase.name, [significant(phase.mean_ms * 1e3), grouped(phase.count)]);
    }
    format!("{text}\n{}", table.text())
}

fn checked(check: &CheckReport) -> String {
    let [checked, wrong, mixed] = [check.checked, check.wrong, check.mixed].map(grouped);
    let mut text = if check.all_right() {
        format!("\nall {checked} answers are right\n")
    } else {
        format!("\nof {checked} answers {wrong} are wrong and {mixed} mixed\n")
    };
    if let Some(first) = &check.first {
        let _ = writeln!(text, "the first: {first}");
    }
    if check.ambiguous > 0 {
        let ambiguous = grouped(check.ambiguous);
        let _ = writeln!(text, "{ambiguous} answers are those of several engines");
    }
    text
}

/// Served beside alone.
fn compared(overhead: &Overhead, report: &LevelReport) -> String {
    let (unit, scale) = time_unit(overhead.served_p50_ms.median);
    let spread = |Spread { median, min, max }: Spread, scale: f64| {
        let [median, min, max] = [median, min, max].map(|value| significant(value * scale));
        format!("{median} ({min} to {max})")
    };
    let contexts = match overhead.contexts {
        1 => "1 context".to_owned(),
        more => format!("{more} contexts"),
    };
    let rounds = report.rounds;
    let mut table = Numbers::new(["", "served", "engine alone", "served over alone"]);
    table.row(
        &format!("p50, {unit}"),
        [
            spread(overhead.served_p50_ms, scale),
            spread(overhead.engine_p50_ms, scale),
            format!("+ {}", spread(overhead.overhead_p50_ms, scale)),
        ],
    );
    table.row(
        "samples/s",
        [
            spread(overhead.served_per_second, 1.0),
            spread(overhead.engine_per_second, 1.0),
            format!("x {}", spread(overhead.throughput_ratio, 1.0)),
        ],
    );
    for (name, served, alone) in by_phase(overhead, report) {
        let number = |value: Option<f64>| value.map_or(String::new(), |v| significant(v * scale));
        let difference = served.zip(alone).map(|(served, alone)| served - alone);
        let over = difference.or(served.filter(|_| alone.is_none()));
        let over = over.map_or(String::new(), |over| format!("+ {}", significant(over * scale)));
        table.row(&format!("{name}, {unit}"), [number(served), number(alone), over]);
    }
    format!(
        "\nserved over the same engine in this process ({contexts}), {rounds} rounds in turns:\n\
         the median, with the smallest and the largest; phases of the served are means\n{}",
        table.text()
    )
}

/// Phases of requests: served, and of the engine alone.
fn by_phase(
    overhead: &Overhead,
    report: &LevelReport,
) -> Vec<(&'static str, Option<f64>, Option<f64>)> {
    let of_server = |name: &str| {
        let server = report.server.as_ref()?;
        server.phases.iter().find(|phase| phase.name == name).map(|phase| phase.mean_ms)
    };
    let of_process = |name: &str| {
        report.parts.iter().find(|part| part.name == name).map(|part| part.times.mean_ms)
    };
    let either = |server: &str, process: &str| of_server(server).or_else(|| of_process(process));
    let queue = either("queue", "queue");
    let input = either("compute_input", "upload");
    let infer = either("compute_infer", "compute");
    let output = either("compute_output", "download");
    let known: f64 = [queue, input, infer, output].into_iter().flatten().sum();
    let rest = report.service.or(report.latency).filter(|_| known > 0.0);
    vec![
        ("queue", queue, None),
        ("input", input, Some(overhead.engine_upload_ms.median)),
        ("compute", infer, Some(overhead.engine_compute_ms.median)),
        ("output", output, Some(overhead.engine_download_ms.median)),
        ("the rest", rest.map(|times| times.mean_ms - known), None),
    ]
}

/// A line for each pace, where there are several.
pub(super) fn summary(reports: &[LevelReport], console: &Console) {
    if reports.len() < 2 || console.is_json() {
        return;
    }
    let mut table =
        Numbers::new(["loop", "answers/s", "samples/s", "p50 ms", "p99 ms", "refused", "failed"]);
    for report in reports {
        let name = match report.pace.rate {
            Some(rate) => format!("{}/s", significant(rate)),
            None => format!("{} at a time", report.pace.concurrency),
        };
        let latency = |of: fn(&Percentiles) -> f64| {
            report.latency.as_ref().map_or("-".to_owned(), |times| significant(of(times)))
        };
        table.row(
            &name,
            [
                significant(report.requests_per_second),
                report.samples_per_second.map_or("-".to_owned(), significant),
                latency(|times| times.p50_ms),
                latency(|times| times.p99_ms),
                grouped(report.refused),
                grouped(report.failed),
            ],
        );
    }
    console.text(&format!("\n{}", table.text()));
}
