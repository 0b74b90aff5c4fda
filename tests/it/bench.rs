//! `bench`: what it measures and prints, and what it refuses.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use rustix::process::{Pid, Signal, kill_process};
use trt_pipeline::data::Dataset;

use crate::support::{Project, Ran, fixture, repository, with_filters};

/// The digits example with its engine, built.
fn digits() -> Project {
    let project = Project::empty();
    let example = repository().join("pipelines/digits");
    for file in ["pipeline.yaml", "model/digits_cnn.onnx", "data/holdout.npz"] {
        project.copy(&example.join(file), file);
    }
    let ran = project.trt(&["run", "pipeline.yaml", "engine"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    project
}

/// A fixture model as an engine without profiles.
fn engine_of(model: &str) -> Project {
    let project = Project::with_spec(
        "version: 1\nname: p\nstages:\n  engine:\n    build: { from: { file: model.onnx, kind: \
         model } }\n",
    );
    project.copy(&fixture(&format!("onnx/{model}.onnx")), "model.onnx");
    project.run_ok();
    project
}

fn bench(project: &Project, args: &[&str]) -> Ran {
    project.trt(&[&["bench"], args].concat())
}

/// Takes out of a snapshot what another machine or another moment changes.
fn with_measurements_filtered(body: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(
        r"(?m)^( (run|upload|compute|download|end-to-end|H2D|D2H)) [ \d.]+$",
        "$1 [times]",
    );
    settings.add_filter(r"(?m)^ (µs|ms|s) +min .*$", " [unit] min mean p50 p90 p95 p99 max iqr");
    settings.add_filter(r"\d+(\.\d+)? (µs|ms|s)\b", "[time]");
    settings.add_filter(r"[\d ]+(\.\d+)? (runs|samples)/s", " [number] $2/s");
    settings.add_filter(r"(cpu|processor) [^\n]+", "$1 [machine]");
    settings.add_filter(r"\nnoisy: [^\n]+\n[^\n]+\n", "");
    settings.bind(|| with_filters(body));
}

#[test]
fn the_report_says_what_ran_and_how_long_it_took() {
    let project = digits();
    let engine = "build/digits/engine";
    let plain = bench(&project, &[engine, "--runs", "20"]);
    let data = ["--data", "data/holdout.npz", "--shapes", "image=4x1x8x8"];
    let contexts = ["--runs", "9", "--contexts", "2", "--warmup", "0"];
    let more = bench(&project, &[&[engine][..], &data, &contexts].concat());
    let free = engine_of("two_inputs");
    let free = bench(&free, &["build/p/engine/engine.json", "--runs", "3"]);
    with_measurements_filtered(|| {
        let seen = [plain.seen(), more.seen(), free.seen()];
        insta::assert_snapshot!("bench", seen.join("\n===\n"));
    });
}

#[test]
fn the_json_line_agrees_with_every_run_that_was_written_down() {
    let project = digits();
    let load = ["--runs", "30", "--contexts", "2", "--dump-latencies", "runs.csv"];
    let ran = bench(&project, &[&["build/digits/engine", "--format", "json"], &load[..]].concat());
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{ran:#?}");
    let report = &ran.events()[0];
    assert_eq!((&report["v"], &report["event"]), (&1.into(), &"bench".into()));
    assert_eq!((&report["runs"], &report["contexts"]), (&60.into(), &2.into()));
    assert_eq!(report["interrupted"], false);
    assert_eq!(report["inputs"][0]["shape"], serde_json::json!([16, 1, 8, 8]));

    let text = project.read("runs.csv");
    let (header, rows) = text.split_once('\n').unwrap();
    assert_eq!(header, "context,started_ns,run_ns,upload_ns,compute_ns,download_ns,late_ns");
    let rows: Vec<Vec<u64>> = rows
        .lines()
        .map(|row| row.split(',').map(|cell| cell.parse().unwrap()).collect())
        .collect();
    assert_eq!(rows.iter().filter(|row| row[0] == 0).count(), 30);
    assert_eq!(rows.iter().filter(|row| row[0] == 1).count(), 30);
    for pair in rows.windows(2).filter(|pair| pair[0][0] == pair[1][0]) {
        assert!(pair[0][1] + pair[0][2] <= pair[1][1], "runs of a context overlap: {pair:?}");
    }
    assert!(rows.iter().all(|row| row[3] + row[4] + row[5] <= row[2]), "parts exceed a run");

    let mut times: Vec<u64> = rows.iter().map(|row| row[2]).collect();
    times.sort_unstable();
    let is = |name: &str, nanoseconds: u64| {
        let told = report["latency"]["run"][name].as_f64().unwrap() * 1e6;
        let expected = f64::from(u32::try_from(nanoseconds).unwrap());
        assert!((told - expected).abs() < 1.0, "{name}: {told} for {expected}");
    };
    is("min_ms", times[0]);
    is("p50_ms", times[29]);
    is("p90_ms", times[53]);
    is("p99_ms", times[59]);
    is("max_ms", times[59]);
    is("iqr_ms", times[44] - times[14]);
}

#[test]
fn in_an_open_loop_times_count_from_when_runs_were_due() {
    let project = digits();
    let rate = ["--rate", "200", "--arrivals", "constant", "--streams", "2", "--runs", "5"];
    let fixed = ["build/digits/engine", "--dump-latencies", "runs.csv", "--format", "json"];
    let ran = bench(&project, &[&fixed[..], &rate].concat());
    assert_eq!(ran.status, 0, "{ran:#?}");
    let report = &ran.events()[0];
    assert_eq!((&report["loop"], &report["rate"]), (&"open".into(), &200.0.into()));
    assert_eq!((&report["arrivals"], &report["unstarted"]), (&"constant".into(), &0.into()));
    let text = project.read("runs.csv");
    let mut runs: Vec<Vec<u64>> = text.lines().skip(1).map(cells).collect();
    runs.sort_by_key(|run| run[1]);
    // One is due every 5 ms, none starts before it is, and whoever is free takes the next.
    let due: Vec<u64> = runs.iter().map(|run| run[1] - run[6]).collect();
    assert_eq!(due, (1..=10).map(|at| at * 5_000_000).collect::<Vec<_>>());
    let longest = runs.iter().map(|run| run[2] + run[6]).max().unwrap();
    let told = report["latency"]["end_to_end"]["max_ms"].as_f64().unwrap() * 1e6;
    assert!((told - f64::from(u32::try_from(longest).unwrap())).abs() < 1.0, "{told}");
}

fn cells(row: &str) -> Vec<u64> {
    row.split(',').map(|cell| cell.parse().unwrap()).collect()
}

#[test]
fn a_rate_that_nobody_can_keep_up_with_ends_in_time_and_says_what_is_missing() {
    let project = digits();
    let args = ["build/digits/engine", "--rate", "1e7", "--duration", "50ms"];
    let ran = bench(&project, &[&args[..], &["--format", "json"]].concat());
    assert_eq!(ran.status, 0, "{ran:#?}");
    let report = &ran.events()[0];
    let (runs, unstarted) = (report["runs"].as_u64().unwrap(), report["unstarted"].as_u64());
    // 500 000 were due, more or less.
    assert!((450_000..550_000).contains(&(runs + unstarted.unwrap())), "{report}");
    let shown = bench(&project, &args).stdout;
    assert!(shown.contains("runs were due but not begun when time was up"), "{shown}");
    assert!(shown.contains("open loop       10 000 000 runs/s due (poisson)\n"), "{shown}");
}

#[test]
fn an_engine_is_compared_with_another_in_turns() {
    let project = digits();
    let engine = "build/digits/engine";
    let turns = ["--compare", engine, "--rounds", "7", "--duration", "2ms", "--streams", "2"];
    let ran = bench(&project, &[&[engine][..], &turns, &["--format", "json"]].concat());
    assert_eq!(ran.status, 0, "{ran:#?}");
    let report = &ran.events()[0];
    assert_eq!((&report["event"], &report["rounds"]), (&"bench_compare".into(), &7.into()));
    assert_eq!((&report["contexts"], &report["confidence"]), (&2.into(), &0.98.into()));
    let ratio = &report["metrics"]["runs_per_second"]["ratio"];
    let [low, median, high] = ["low", "median", "high"].map(|name| ratio[name].as_f64().unwrap());
    assert!(0.0 < low && low <= median && median <= high, "{ratio}");
    let expected = match () {
        () if low > 1.0 => "second_faster",
        () if high < 1.0 => "first_faster",
        () => "no_difference_found",
    };
    assert_eq!(report["verdict"], expected);
    for at in 0..2 {
        assert_eq!(report["engines"][at]["engine"], engine);
        assert!(report["engines"][at]["runs"].as_u64().unwrap() >= 14, "{report}");
    }
    let shown = bench(&project, &[&[engine][..], &turns].concat()).stdout;
    for expected in [
        "A               build/digits/engine\n                cpu\n                loaded in ",
        "\nB               build/digits/engine\n",
        "\n end-to-end p50, ",
        "times the throughput of A (",
    ] {
        assert!(shown.contains(expected), "{shown}");
    }
}

#[test]
fn engines_of_other_inputs_are_not_compared() {
    let (project, other) = (digits(), engine_of("mlp"));
    let other = other.file("build/p/engine");
    let ran = bench(&project, &["build/digits/engine", "--compare", other.to_str().unwrap()]);
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{ran:#?}");
    assert!(ran.stderr.contains("the engines do not take the same inputs: only `"), "{ran:#?}");
}

#[test]
fn outputs_of_real_samples_are_right_and_those_of_random_ones_repeat() {
    let project = digits();
    let outputs = |args: &[&str]| {
        let fixed = ["build/digits/engine", "--runs", "1", "--output-npz", "out.npz"];
        let ran = bench(&project, &[&fixed[..], args].concat());
        assert_eq!(ran.status, 0, "{ran:#?}");
        let read = Dataset::open(&project.file("out.npz"), &IndexMap::new()).unwrap();
        let logits = read.array("logits").unwrap();
        (logits.shape().0.clone(), logits.rows(0, logits.samples()).unwrap().to_f64())
    };
    let data = ["--data", "data/holdout.npz", "--shapes", "image=32x1x8x8"];
    let (shape, logits) = outputs(&data);
    assert_eq!(shape, [32, 10]);
    let holdout = Dataset::open(&project.file("data/holdout.npz"), &IndexMap::new()).unwrap();
    let labels = holdout.array("label").unwrap().rows(0, 32).unwrap().to_f64();
    let best = |scores: &[f64]| {
        let classes = (0..10_u8).zip(scores);
        classes.max_by(|a, b| a.1.total_cmp(b.1)).map_or(f64::NAN, |(class, _)| class.into())
    };
    let right = logits
        .chunks(10)
        .zip(labels)
        .filter(|(scores, label)| best(scores).total_cmp(label).is_eq());
    assert!(right.count() >= 31, "the first 32 samples are easy ones");
    assert_eq!(outputs(&[]), outputs(&["--contexts", "2"]));
}

/// One snapshot of several refusals; nothing of what they printed is a report.
fn refused(name: &str, project: &Project, cases: &[(&[&str], i32)]) {
    let seen: Vec<String> = cases
        .iter()
        .map(|(args, status)| {
            let ran = bench(project, args);
            assert_eq!((ran.status, ran.stdout.as_str()), (*status, ""), "{args:?}: {ran:#?}");
            format!("=== {} ===\n{}", args.join(" "), ran.seen())
        })
        .collect();
    with_filters(|| insta::assert_snapshot!(name, seen.join("\n")));
}

#[test]
fn options_that_do_not_fit_the_engine_are_usage_errors() {
    let project = digits();
    let engine = "build/digits/engine";
    refused(
        "bench_options",
        &project,
        &[
            (&[engine, "--shapes", "image=64x1x8x8"], 2),
            (&[engine, "--shapes", "imag=1x1x8x8"], 2),
            (&[engine, "--shapes", "image=1x3x8x8"], 2),
            (&[engine, "--shapes", "image=1x8x8"], 2),
            (&[engine, "--shapes", "image"], 2),
            (&[engine, "--shapes", "image=1xonex8"], 2),
            (&[engine, "--profile", "1"], 2),
            (&[engine, "--device", "0"], 2),
            (&[engine, "--runs", "0"], 2),
            (&[engine, "--contexts", "0"], 2),
            (&[engine, "--streams", "1025"], 2),
            (&[engine, "--devices", "0,1,0"], 2),
            (&[engine, "--devices", "0,one"], 2),
            (&[engine, "--graphs", "on"], 2),
            (&[engine, "--rate", "5,10"], 2),
            (&[engine, "--rate", "0.001", "--duration", "5ms"], 2),
            (&[engine, "--arrivals", "constant"], 2),
            (&[engine, "--rounds", "9"], 2),
            (&[engine, "--compare", engine, "--rounds", "6"], 2),
            (&[engine, "--compare", engine, "--rate", "5"], 2),
            (&[engine, "--compare", "data"], 2),
            (&[engine, "--concurrency", "5"], 2),
            (&[engine, "--duration", "0s"], 2),
            (&[engine, "--duration", "soon"], 2),
        ],
    );
}

#[test]
fn what_is_no_engine_is_named_with_the_way_to_one() {
    let project = digits();
    project.copy(&fixture("onnx/bad_engine.onnx"), "x.plan");
    project.write("notes.txt", "hello\n");
    refused(
        "bench_no_engine",
        &project,
        &[
            (&["model/digits_cnn.onnx"], 2),
            (&["build/digits/onnx"], 2),
            (&["x.plan"], 2),
            (&["notes.txt"], 2),
            (&["data"], 2),
            (&["nothing.here"], 2),
        ],
    );
}

#[test]
fn an_engine_that_cannot_be_loaded_says_why() {
    let project = digits();
    let manifest = project.read("build/digits/engine/engine.json");
    let model = std::fs::read(project.file("build/digits/engine/model.onnx")).unwrap();
    let engine = |name: &str, manifest: &str, model: &[u8]| {
        project.write(&format!("{name}/engine.json"), manifest);
        project.write(&format!("{name}/model.onnx"), model);
    };
    engine("truncated", &manifest, &model[..model.len() / 2]);
    engine("garbage", "{ not json", &model);
    engine("newer", &manifest.replacen("\"format\": 1", "\"format\": 2", 1), &model);
    engine("other", &manifest.replace("\"cpu\"", "\"abacus\""), &model);
    engine("renamed", &manifest.replace("\"logits\"", "\"scores\""), &model);
    std::fs::create_dir(project.file("alone")).unwrap();
    project.write("alone/engine.json", &manifest);
    refused(
        "bench_unloadable",
        &project,
        &[
            (&["truncated"], 1),
            (&["garbage"], 1),
            (&["newer"], 1),
            (&["other"], 3),
            (&["renamed"], 1),
            (&["alone"], 1),
        ],
    );
}

#[test]
fn a_stored_engine_whose_bytes_changed_is_not_loaded() {
    let project = digits();
    let stored = std::fs::canonicalize(project.file("build/digits/engine/model.onnx")).unwrap();
    let mut permissions = std::fs::metadata(&stored).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    std::fs::set_permissions(&stored, permissions).unwrap();
    let mut bytes = std::fs::read(&stored).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&stored, bytes).unwrap();
    let ran = bench(&project, &["build/digits/engine", "--runs", "1"]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(ran.stderr.contains("is damaged: its content has digest"), "{ran:#?}");
}

#[test]
fn data_that_does_not_fit_the_engine_is_named_with_its_array() {
    let project = engine_of("mlp");
    for file in ["missing_array", "wrong_dtype", "wrong_shape", "zero_samples", "good"] {
        project.copy(&fixture(&format!("data/{file}.npz")), &format!("{file}.npz"));
    }
    let engine = "build/p/engine";
    refused(
        "bench_data",
        &project,
        &[
            (&[engine, "--data", "missing_array.npz"], 1),
            (&[engine, "--data", "wrong_dtype.npz"], 1),
            (&[engine, "--data", "wrong_shape.npz"], 1),
            (&[engine, "--data", "zero_samples.npz"], 1),
            (&[engine, "--data", "good.npz", "--shapes", "x=9x4"], 2),
            (&[engine, "--data", "model.onnx"], 1),
            (&[engine, "--data", "nothing.npz"], 1),
        ],
    );
}

#[test]
fn a_file_that_cannot_be_written_fails_after_the_report() {
    let project = engine_of("mlp");
    for option in ["--output-npz", "--dump-latencies"] {
        let ran = bench(&project, &["build/p/engine", "--runs", "1", option, "no/where"]);
        assert_eq!(ran.status, 1, "{ran:#?}");
        assert!(ran.stderr.contains("failed to write `no/where`"), "{ran:#?}");
        assert!(ran.stdout.contains("throughput"), "{ran:#?}");
    }
}

/// Ticks of the clock that a process has spent computing.
fn ticks(child: &Child) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn an_interrupt_ends_it_with_what_was_measured_until_then() {
    let project = digits();
    let args = ["build/digits/engine", "--duration", "1h", "--log-level", "debug"];
    let mut child = project
        .command(&[&["bench"], &args[..], &["--format", "json"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("measuring") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended before it measured");
    }
    // A run takes far less than this.
    let (from, deadline) = (ticks(&child), Instant::now() + Duration::from_mins(1));
    while ticks(&child) < from + 30 {
        assert!(Instant::now() < deadline, "it measures nothing");
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["interrupted"], true, "{report}");
    assert!(report["runs"].as_u64().unwrap() > 0, "{report}");
}
