//! A measurement as people read it.

use std::fmt::Write as _;

use crate::backend::MemoryStats;
use crate::bench::{Cycle, Distribution, LatencyReport, Report, Totals};
use crate::cli::facts::Facts;
use crate::cli::quantity::{grouped, measured, significant, size, time, time_unit};
use crate::deployment::CudaGraphs;

use super::clocks_text;
use super::table::Numbers;

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
        text += &format!("\n{}", devices(report));
    }
    let clocks = report.devices.iter().filter_map(|one| Some((one.device, one.clocks.as_ref()?)));
    text += &clocks_text::of_devices(&clocks.collect::<Vec<_>>());
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
    if report.cuda_graphs != CudaGraphs::Auto {
        let asked = if report.cuda_graphs == CudaGraphs::Off { "off" } else { "on" };
        facts.add("CUDA graphs", asked);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::EngineMemory;
    use crate::backend::cuda::{GpuClocks, GpuState, ThrottleReason};
    use crate::bench::{ClockReport, ClocksSeen, DeviceReport, InputReport};
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

    fn totals() -> Totals {
        Totals {
            runs: 135_000,
            seconds: 5.0,
            runs_per_second: 27_000.05,
            latency: LatencyReport {
                end_to_end: times(0.037_13),
                run: times(0.036),
                upload: times(0.004),
                compute: times(0.031),
                download: times(0.0),
            },
            noisy: true,
        }
    }

    fn state(sm_mhz: u32, reasons: &[ThrottleReason]) -> GpuState {
        GpuState {
            clocks: GpuClocks {
                sm_mhz: Some(sm_mhz),
                memory_mhz: Some(3201),
                throttle_reasons: Some(reasons.to_vec()),
            },
            max_sm_mhz: Some(1980),
            temperature_celsius: Some(41),
            power_milliwatts: Some(312_345),
            ..GpuState::default()
        }
    }

    fn on(device: usize, min_sm_mhz: u32, reasons: &[ThrottleReason]) -> DeviceReport {
        DeviceReport {
            device: Some(device),
            contexts: 2,
            load_ms: 617.25,
            samples_per_second: Some(216_000.4),
            memory: None,
            clocks: Some(ClockReport {
                before: state(345, &[ThrottleReason::Idle]),
                during: ClocksSeen {
                    samples: 25,
                    min_sm_mhz: Some(min_sm_mhz),
                    mean_sm_mhz: Some(1_961.25),
                    max_sm_mhz: Some(1980),
                    throttle_reasons: reasons.iter().copied().collect(),
                },
                after: state(1965, &[]),
            }),
            totals: totals(),
        }
    }

    fn report(devices: Vec<DeviceReport>, rate: Option<f64>) -> Report {
        let held = |bytes| MemoryStats {
            current: bytes,
            peak: 2 * bytes,
            total: 3 * bytes,
            allocations: 7,
            live: 2,
        };
        Report {
            backend: "tensorrt".to_owned(),
            device: None,
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
            cuda_graphs: CudaGraphs::Off,
            rate,
            arrivals: rate.map(|_| "poisson"),
            unstarted: if rate.is_some() { 1234 } else { 0 },
            warmup: Some(10),
            warmup_seconds: None,
            interrupted: true,
            load_ms: 1234.5,
            first_run_ms: 0.25,
            samples_per_second: Some(216_000.4),
            memory: Some(EngineMemory { device: held(40 << 20), pinned: held(1 << 20) }),
            on_host: false,
            devices,
            totals: totals(),
        }
    }

    #[test]
    fn engines_on_gpus_have_a_row_for_each_and_say_what_slowed_them() {
        use ThrottleReason::{Idle, PowerCap, ThermalSlowdown};
        let devices = vec![on(0, 1965, &[Idle]), on(1, 1500, &[Idle, PowerCap, ThermalSlowdown])];
        insta::assert_snapshot!(text(&report(devices, None)), @r"
    backend         tensorrt, devices 0, 1
    built by        TensorRT 8.6.0.12 on NVIDIA H200
    runs with       tensorrt 8.6.0.12
    input           image float16 [8,3,224,224]
    values          random, always the same
    shapes          of profile 1
    load            1.234 s
    first run       250.0 µs
    CUDA graphs     off
    measured        135 000 runs in 5.00 s, 4 contexts, 10 to warm up each
    throughput      27 000 runs/s, 216 000 samples/s

     µs            min   mean    p50    p90    p95    p99    max    iqr
     H2D         4.000  4.040  4.000  8.000  12.00  40.00  400.0  2.000
     compute     31.00  31.31  31.00  62.00  93.00  310.0  3 100  15.50
     end-to-end  37.13  37.50  37.13  74.26  111.4  371.3  3 713  18.57

     memory      held  in pieces      peak  allocated  allocations
     device  40.0 MiB          2  80.0 MiB  120.0 MiB            7
     pinned   1.0 MiB          2   2.0 MiB    3.0 MiB            7

     device  contexts     runs  runs/s  samples/s  p50 µs  p99 µs  load ms
     0              2  135 000  27 000    216 000   37.13   371.3    617.2
     1              2  135 000  27 000    216 000   37.13   371.3    617.2

     SM clock, MHz  before   min  mean  after  fastest  °C      W
     GPU 0             345  1965  1961   1965     1980  41  312.3
     GPU 1             345  1500  1961   1965     1980  41  312.3

    warning: the SM clock of GPU 1 was between 1500 and 1980 MHz while it was
    measured; lock it (`nvidia-smi -lgc`) or measure again

    warning: GPU 1 was held back while it was measured: power cap, thermal slowdown

    noisy: the middle half of the runs spreads over 50 % of the median;
    something else was running, or the clock changes

    interrupted: this is what was measured until then

    percentiles are nearest-rank; closed loop: each context starts its next run when
    its last one ended, so no time that a request would wait is in these numbers
    H2D, compute and D2H are timed on the device, of some of the runs; end-to-end is
    what the caller sees
    ");
    }

    #[test]
    fn an_open_loop_that_cannot_keep_up_says_so() {
        let report = report(vec![on(1, 1965, &[])], Some(30_000.0));
        insta::assert_snapshot!(text(&report), @r"
    backend         tensorrt, device 1
    built by        TensorRT 8.6.0.12 on NVIDIA H200
    runs with       tensorrt 8.6.0.12
    input           image float16 [8,3,224,224]
    values          random, always the same
    shapes          of profile 1
    load            1.234 s
    first run       250.0 µs
    CUDA graphs     off
    open loop       30 000 runs/s due (poisson)
    measured        135 000 runs in 5.00 s, 4 contexts, 10 to warm up each
    throughput      27 000 runs/s, 216 000 samples/s

     µs            min   mean    p50    p90    p95    p99    max    iqr
     H2D         4.000  4.040  4.000  8.000  12.00  40.00  400.0  2.000
     compute     31.00  31.31  31.00  62.00  93.00  310.0  3 100  15.50
     run         36.00  36.36  36.00  72.00  108.0  360.0  3 600  18.00
     end-to-end  37.13  37.50  37.13  74.26  111.4  371.3  3 713  18.57

     memory      held  in pieces      peak  allocated  allocations
     device  40.0 MiB          2  80.0 MiB  120.0 MiB            7
     pinned   1.0 MiB          2   2.0 MiB    3.0 MiB            7

     SM clock, MHz  before   min  mean  after  fastest  °C      W
     GPU 1             345  1965  1961   1965     1980  41  312.3

    about 1 234 runs were due but not begun when time was up: the contexts cannot keep
    up with this rate, and the slowest latencies are not in the table

    noisy: the middle half of the runs spreads over 50 % of the median;
    something else was running, or the clock changes

    interrupted: this is what was measured until then

    percentiles are nearest-rank; open loop: end-to-end counts from the moment a run
    was due, so waiting for a free context is in it; run counts from its start
    H2D, compute and D2H are timed on the device, of some of the runs; end-to-end is
    what the caller sees
    ");
    }
}
