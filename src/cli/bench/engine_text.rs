//! A measurement as people read it.

use std::fmt::Write as _;

use crate::backend::MemoryStats;
use crate::bench::{Cycle, Distribution, LatencyReport, Report, Totals};
use crate::cli::facts::Facts;
use crate::cli::quantity::{grouped, measured, significant, size, time, time_unit};

use super::device_text;
use super::table::Numbers;

#[cfg(test)]
mod tests;

/// What the numbers of a closed loop are.
const CLOSED: &str = "\
percentiles are nearest-rank; closed loop: each context starts its next run when
its last one ended, so no time that a request would wait is in these numbers
";

/// What the numbers of an open loop are.
const OPEN: &str = "\
percentiles are nearest-rank; open loop: end-to-end counts from the moment a run
was due, so waiting for a free context is in it; run counts from its start
";

/// What the parts of runs on a device are.
const ON_DEVICE: &str = "\
H2D, compute and D2H are timed on the device, of some of the runs; end-to-end is
what the caller sees
";

/// A line about one cycle of `--reload`.
pub(super) fn cycle(cycle: &Cycle) -> String {
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), size);
    format!(
        "cycle {:>4}  still held {}  in use on the device {}  resident {}\n",
        cycle.cycle,
        bytes(cycle.accounted),
        bytes(cycle.device_used),
        bytes(cycle.rss)
    )
}

pub(super) fn text(report: &Report) -> String {
    let mut text = what(report).text();
    let _ = write!(text, "\n{}\n{}", latencies(report), memory(report));
    if report.devices.len() > 1 {
        let _ = write!(text, "\n{}", devices(report));
    }
    let clocks = report.devices.iter().filter_map(|one| Some((one.device, one.clocks.as_ref()?)));
    text += &device_text::clocks(&clocks.collect::<Vec<_>>());
    if report.unstarted > 0 {
        let _ = writeln!(
            text,
            "\nabout {} runs were due but not begun when time was up: the contexts cannot keep\n\
             up with this rate, and the slowest latencies are not in the table",
            grouped(report.unstarted)
        );
    }
    if report.totals.noisy {
        let percent = report.totals.latency.run.spread * 100.0;
        let _ = writeln!(
            text,
            "\nnoisy: the middle half of the runs spreads over {percent:.0} % of the median;\n\
             something else was running, or the clock changes"
        );
    }
    if report.interrupted {
        text += "\ninterrupted: this is what was measured until then\n";
    }
    text += "\n";
    text += if report.rate.is_some() { OPEN } else { CLOSED };
    if report.on_host { text } else { text + ON_DEVICE }
}

fn what(report: &Report) -> Facts {
    let mut facts = Facts::default();
    let numbers: Vec<String> =
        report.devices.iter().filter_map(|one| Some(one.device?.to_string())).collect();
    let device = match &numbers[..] {
        [] => String::new(),
        [only] => format!(", device {only}"),
        several => format!(", devices {}", several.join(", ")),
    };
    facts.add("backend", format!("{}{device}", report.backend));
    if let Some(maker) = &report.made_by {
        facts.add("built by", maker);
    }
    for (tool, version) in &report.tools {
        facts.add("runs with", format!("{tool} {version}"));
    }
    for input in &report.inputs {
        let values = input.values.as_ref().map_or(String::new(), |values| format!(" = {values}"));
        facts.add("input", format!("{} {} {}{values}", input.name, input.dtype, input.shape));
    }
    facts.add(
        "values",
        match &report.data {
            Some(path) => format!("the first samples of {path}"),
            None => "random, always the same".to_owned(),
        },
    );
    if let Some(profile) = report.profile {
        facts.add("shapes", format!("of profile {profile}"));
    }
    if !report.assumed.is_empty() {
        facts.add("shapes", format!("taken as 1: {}", report.assumed.join(", ")));
    }
    facts.add("load", measured(report.load_ms));
    facts.add("first run", measured(report.first_run_ms));
    let submitted: Vec<_> =
        report.devices.iter().flat_map(|one| one.submitted_as.iter().cloned()).collect();
    if let Some(graphs) = device_text::graphs(&submitted) {
        facts.add("CUDA graphs", graphs);
    }
    if let (Some(rate), Some(arrivals)) = (report.rate, report.arrivals) {
        facts.add("open loop", format!("{} runs/s due ({arrivals})", significant(rate)));
    }
    let contexts = match report.contexts {
        1 => "1 context".to_owned(),
        more => format!("{more} contexts"),
    };
    let totals = &report.totals;
    let (runs, took) = (grouped(totals.runs as u64), time(totals.seconds));
    let warmup = match (report.warmup, report.warmup_seconds) {
        (Some(runs), _) => runs.to_string(),
        (None, seconds) => time(seconds.unwrap_or(0.0)),
    };
    facts.add("measured", format!("{runs} runs in {took}, {contexts}, {warmup} to warm up each"));
    let samples = report.samples_per_second.map(|samples| significant(samples) + " samples/s");
    let runs = significant(totals.runs_per_second) + " runs/s";
    facts.add(
        "throughput",
        [Some(runs), samples].into_iter().flatten().collect::<Vec<_>>().join(", "),
    );
    facts
}

/// A row for the whole run and one for each of its parts that takes time, all in one unit.
fn latencies(report: &Report) -> String {
    let LatencyReport { end_to_end, run, upload, compute, download } = &report.totals.latency;
    let (unit, per_millisecond) = time_unit(end_to_end.p50_ms);
    let header = [unit, "min", "mean", "p50", "p90", "p95", "p99", "max", "iqr"];
    let mut table = Numbers::new(header);
    let names = if report.on_host { ["upload", "download"] } else { ["H2D", "D2H"] };
    let run = report.rate.map(|_| run);
    let rows = [
        (names[0], Some(upload)),
        ("compute", Some(compute)),
        (names[1], Some(download)),
        ("run", run),
        ("end-to-end", Some(end_to_end)),
    ];
    let rows = rows.into_iter().filter_map(|(part, times)| Some((part, times?)));
    for (part, times) in rows.filter(|(_, times)| times.max_ms > 0.0) {
        let Distribution {
            min_ms, mean_ms, p50_ms, p90_ms, p95_ms, p99_ms, max_ms, iqr_ms, ..
        } = *times;
        let numbers = [min_ms, mean_ms, p50_ms, p90_ms, p95_ms, p99_ms, max_ms, iqr_ms];
        table.row(part, numbers.map(|milliseconds| significant(milliseconds * per_millisecond)));
    }
    table.text()
}

/// A row for each device.
fn devices(report: &Report) -> String {
    let (unit, per_millisecond) = time_unit(report.totals.latency.end_to_end.p50_ms);
    let [p50, p99] = ["p50", "p99"].map(|percentile| format!("{percentile} {unit}"));
    let header = ["device", "contexts", "runs", "runs/s", "samples/s", &p50, &p99, "load ms"];
    let mut table = Numbers::new(header);
    for device in &report.devices {
        let Totals { runs, runs_per_second, latency, .. } = &device.totals;
        let number = device.device.map_or("-".to_owned(), |number| number.to_string());
        let time = |milliseconds: f64| significant(milliseconds * per_millisecond);
        table.row(
            &number,
            [
                device.contexts.to_string(),
                grouped(*runs as u64),
                significant(*runs_per_second),
                device.samples_per_second.map_or("-".to_owned(), significant),
                time(latency.end_to_end.p50_ms),
                time(latency.end_to_end.p99_ms),
                significant(device.load_ms),
            ],
        );
    }
    table.text()
}

fn memory(report: &Report) -> String {
    let Some(memory) = &report.memory else {
        return format!("memory is not counted by backend {}\n", report.backend);
    };
    let header = ["memory", "held", "in pieces", "peak", "allocated", "allocations"];
    let mut table = Numbers::new(header);
    for (kind, memory) in [("device", &memory.device), ("pinned", &memory.pinned)] {
        let MemoryStats { current, live, peak, total, allocations } = *memory;
        let (live, allocations) = (grouped(live), grouped(allocations));
        table.row(kind, [size(current), live, size(peak), size(total), allocations]);
    }
    table.text()
}
