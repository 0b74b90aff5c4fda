//! `--compare`: two engines in turns.

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use crate::bench::{self, Compared, ComparedEngine, Comparison, Contender, Load, Verdict};
use crate::cli::ExitStatus;
use crate::cli::console::Console;
use crate::cli::facts::Facts;
use crate::cli::quantity::{grouped, measured, significant, time, time_unit};
use crate::process::CancelToken;
use crate::times::{FEWEST_BLOCKS, Ratio};

use super::engine::find;
use super::engine_args::OwnedSetup;
use super::table::Numbers;
use super::{BenchArgs, Failure, Watch, clocks_text};

/// Rounds, where nothing is said.
const ROUNDS: NonZeroUsize = NonZeroUsize::new(10).unwrap();
/// How long each turn is, where nothing is said.
const TURN: Duration = Duration::from_millis(500);
/// What the engines are called.
const LETTERS: [&str; 2] = ["A", "B"];

pub(super) fn bench(
    paths: [&Path; 2],
    args: &BenchArgs,
    console: &Console,
    cancel: &CancelToken,
) -> Result<ExitStatus, Failure> {
    let rounds = args.rounds.unwrap_or(ROUNDS);
    if rounds.get() < FEWEST_BLOCKS {
        return Err(Failure {
            message: format!("{rounds} rounds are too few to tell which engine is faster"),
            help: Some(format!("`--rounds {FEWEST_BLOCKS}` are the fewest")),
            status: ExitStatus::USAGE,
        });
    }
    let [first, second] = paths;
    let (first, second) = (find(first)?, find(second)?);
    let contenders = [&first, &second].map(|(folder, manifest)| Contender { folder, manifest });
    let setup = OwnedSetup::of(args)?;
    let load = Load {
        warmup: args.warmup,
        runs: usize::MAX,
        duration: args.duration.unwrap_or(TURN),
        schedule: None,
    };
    let watch = Watch::new(console);
    let comparison = bench::compare(contenders, setup.setup(), load, rounds, &watch, cancel)?;
    drop(watch);
    let paths = paths.map(|path| path.display().to_string());
    if console.is_json() {
        let mut fields = serde_json::to_value(&comparison).unwrap_or_default();
        for (engine, path) in paths.into_iter().enumerate() {
            fields["engines"][engine]["engine"] = path.into();
        }
        console.record("bench_compare", fields);
    } else {
        console.text(&text(&paths, &comparison));
    }
    Ok(if comparison.interrupted { ExitStatus::INTERRUPTED } else { ExitStatus::OK })
}

fn text(paths: &[String; 2], comparison: &Comparison) -> String {
    let mut text = String::new();
    for (letter, path) in LETTERS.iter().zip(paths) {
        let _ = writeln!(text, "{letter}  {path}");
    }
    let _ = write!(text, "\n{}\n{}", what(comparison).text(), metrics(comparison));
    for (letter, engine) in LETTERS.iter().zip(&comparison.engines) {
        for clocks in &engine.clocks {
            let name = format!("{} in the turns of {letter}", clocks_text::name(clocks.device));
            text += &clocks_text::warning(&name, &clocks.seen);
        }
    }
    if comparison.interrupted {
        text += "\ninterrupted: this is what was measured until then\n";
    }
    text + "\n" + &verdict(comparison) + "\n"
}

fn what(comparison: &Comparison) -> Facts {
    let mut facts = Facts::default();
    for (letter, engine) in LETTERS.iter().zip(&comparison.engines) {
        let ComparedEngine { backend, made_by, load_ms, first_run_ms, .. } = engine;
        let made_by = made_by.as_ref().map_or(String::new(), |maker| format!(", built by {maker}"));
        facts.add(letter, format!("{backend}{made_by}"));
        let [load, first] = [*load_ms, *first_run_ms].map(measured);
        facts.add(letter, format!("loaded in {load}, first run {first}"));
        facts.add(letter, format!("{} runs", grouped(engine.runs as u64)));
    }
    for input in &comparison.inputs {
        facts.add("input", format!("{} {} {}", input.name, input.dtype, input.shape));
    }
    facts.add(
        "values",
        match &comparison.data {
            Some(path) => format!("the first samples of {path}"),
            None => "random, always the same".to_owned(),
        },
    );
    if !comparison.assumed.is_empty() {
        facts.add("shapes", format!("taken as 1: {}", comparison.assumed.join(", ")));
    }
    let contexts = match comparison.contexts {
        1 => "1 context".to_owned(),
        more => format!("{more} contexts"),
    };
    let (rounds, turn) = (comparison.rounds, time(comparison.turn_seconds));
    facts.add("measured", format!("{rounds} rounds of two turns of {turn}, {contexts} each"));
    facts
}

/// A row for each value.
fn metrics(comparison: &Comparison) -> String {
    let metrics = &comparison.metrics;
    let (unit, per_millisecond) = time_unit(metrics.run_p50_ms.first.median);
    let header = ["", "A", "spread", "B", "spread", "B / A", "from", "to"];
    let mut table = Numbers::new(header);
    let mut row = |name: &str, Compared { first, second, ratio }: Compared, scale: f64| {
        if first.max <= 0.0 && second.max <= 0.0 {
            return;
        }
        let percent = |spread: f64| format!("{:.1} %", spread * 100.0);
        let ratio = |of: fn(&Ratio) -> f64| ratio.as_ref().map_or("-".to_owned(), |r| three(of(r)));
        table.row(
            name,
            [
                significant(first.median * scale),
                percent(first.relative()),
                significant(second.median * scale),
                percent(second.relative()),
                ratio(|ratio| ratio.median),
                ratio(|ratio| ratio.low),
                ratio(|ratio| ratio.high),
            ],
        );
    };
    row("runs/s", metrics.runs_per_second, 1.0);
    if let Some(samples) = comparison.samples_per_run.filter(|samples| *samples > 1) {
        #[expect(clippy::cast_precision_loss, reason = "a batch size, far below 2^53")]
        row("samples/s", metrics.runs_per_second, samples as f64);
    }
    let on_device = [
        ("H2D p50", metrics.upload_p50_ms),
        ("compute p50", metrics.compute_p50_ms),
        ("D2H p50", metrics.download_p50_ms),
        ("end-to-end p50", metrics.run_p50_ms),
        ("end-to-end p99", metrics.run_p99_ms),
    ];
    for (name, compared) in on_device {
        row(&format!("{name}, {unit}"), compared, per_millisecond);
    }
    format!(
        "{}\nmedians of the rounds, and how far these are apart; B / A is that within rounds, with\n\
         the range it lies in with {:.0} % confidence\n",
        table.text(),
        comparison.confidence * 100.0
    )
}

fn three(ratio: f64) -> String {
    format!("{ratio:.3}")
}

fn verdict(comparison: &Comparison) -> String {
    let rounds = comparison.rounds;
    let Some(Ratio { median, low, high }) = comparison.metrics.runs_per_second.ratio else {
        return format!("{rounds} rounds do not tell which is faster; {FEWEST_BLOCKS} would");
    };
    let found = match comparison.verdict {
        Verdict::FirstFaster => "A is faster",
        Verdict::SecondFaster => "B is faster",
        Verdict::NoDifferenceFound | Verdict::TooFewRounds => "no difference found",
    };
    let [median, low, high] = [median, low, high].map(three);
    format!("{found}: B has {median} times the throughput of A ({low} to {high})")
}
