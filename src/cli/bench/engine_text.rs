//! A measurement as people read it.

use std::fmt::Write as _;

use crate::backend::MemoryStats;
use crate::bench::{Cycle, Distribution, LatencyReport, Report};
use crate::cli::facts::Facts;
use crate::cli::quantity::{grouped, measured, significant, size, time, time_unit};

use super::table::Numbers;

/// What the numbers are.
const MEANING: &str = "\
percentiles are nearest-rank; closed loop: each context starts its next run when
its last one ended, so no time that a request would wait is in these numbers
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
    let _ = write!(text, "\n{}\n{}", latencies(&report.totals.latency), memory(report));
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
    text + "\n" + MEANING
}

fn what(report: &Report) -> Facts {
    let mut facts = Facts::default();
    let device = report.device.map_or(String::new(), |device| format!(", device {device}"));
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

/// A row for the whole run and one for each of its parts, all in one unit.
fn latencies(latency: &LatencyReport) -> String {
    let (unit, per_millisecond) = time_unit(latency.run.p50_ms);
    let header = [unit, "min", "mean", "p50", "p90", "p95", "p99", "max", "iqr"];
    let mut table = Numbers::new(header);
    let rows = [
        ("run", &latency.run),
        ("upload", &latency.upload),
        ("compute", &latency.compute),
        ("download", &latency.download),
    ];
    for (part, times) in rows {
        let Distribution {
            min_ms, mean_ms, p50_ms, p90_ms, p95_ms, p99_ms, max_ms, iqr_ms, ..
        } = *times;
        let numbers = [min_ms, mean_ms, p50_ms, p90_ms, p95_ms, p99_ms, max_ms, iqr_ms];
        table.row(part, numbers.map(|milliseconds| significant(milliseconds * per_millisecond)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::EngineMemory;
    use crate::bench::{InputReport, Totals};
    use crate::tensor::DType;

    fn times(milliseconds: f64) -> Distribution {
        Distribution {
            min_ms: milliseconds,
            mean_ms: milliseconds * 1.01,
            p50_ms: milliseconds,
            p90_ms: milliseconds * 2.0,
            p95_ms: milliseconds * 3.0,
            p99_ms: milliseconds * 10.0,
            max_ms: milliseconds * 100.0,
            iqr_ms: milliseconds / 2.0,
            spread: 0.5,
        }
    }

    #[test]
    fn an_engine_on_a_gpu_has_its_maker_its_device_and_its_memory() {
        let held = |bytes| MemoryStats {
            current: bytes,
            peak: 2 * bytes,
            total: 3 * bytes,
            allocations: 7,
            live: 2,
        };
        let report = Report {
            backend: "tensorrt".to_owned(),
            device: Some(1),
            made_by: Some("TensorRT 8.6.0.12 on NVIDIA H200".to_owned()),
            tools: [("tensorrt".to_owned(), "8.6.0.12".to_owned())].into(),
            inputs: vec![InputReport {
                name: "image".to_owned(),
                dtype: DType::Float16,
                shape: vec![8, 3, 224, 224].into(),
                values: None,
            }],
            data: None,
            profile: Some(1),
            assumed: Vec::new(),
            contexts: 4,
            warmup: Some(10),
            warmup_seconds: None,
            interrupted: true,
            load_ms: 1234.5,
            first_run_ms: 0.25,
            samples_per_second: Some(216_000.4),
            memory: Some(EngineMemory { device: held(40 << 20), pinned: held(1 << 20) }),
            totals: Totals {
                runs: 135_000,
                seconds: 5.0,
                runs_per_second: 27_000.05,
                latency: LatencyReport {
                    run: times(0.037_13),
                    upload: times(0.004),
                    compute: times(0.031),
                    download: times(0.002),
                },
                noisy: true,
            },
        };
        insta::assert_snapshot!(text(&report), @r"
    backend         tensorrt, device 1
    built by        TensorRT 8.6.0.12 on NVIDIA H200
    runs with       tensorrt 8.6.0.12
    input           image float16 [8,3,224,224]
    values          random, always the same
    shapes          of profile 1
    load            1.234 s
    first run       250.0 µs
    measured        135 000 runs in 5.00 s, 4 contexts, 10 to warm up each
    throughput      27 000 runs/s, 216 000 samples/s

     µs          min   mean    p50    p90    p95    p99    max    iqr
     run       37.13  37.50  37.13  74.26  111.4  371.3  3 713  18.57
     upload    4.000  4.040  4.000  8.000  12.00  40.00  400.0  2.000
     compute   31.00  31.31  31.00  62.00  93.00  310.0  3 100  15.50
     download  2.000  2.020  2.000  4.000  6.000  20.00  200.0  1.000

     memory      held  in pieces      peak  allocated  allocations
     device  40.0 MiB          2  80.0 MiB  120.0 MiB            7
     pinned   1.0 MiB          2   2.0 MiB    3.0 MiB            7

    noisy: the middle half of the runs spreads over 50 % of the median;
    something else was running, or the clock changes

    interrupted: this is what was measured until then

    percentiles are nearest-rank; closed loop: each context starts its next run when
    its last one ended, so no time that a request would wait is in these numbers
    ");
    }
}
