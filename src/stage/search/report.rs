//! What a search found, as `search.json` and in words.

use std::fmt::Write as _;

use serde::Serialize;

use crate::search::{Found, Purpose, Sensitivity};

use super::measured::{Measured, decibels};
use super::{Objective, Task};

/// Format of `search.json`.
const FORMAT: u32 = 1;

/// Sensitivities that people see.
const MOST_SHOWN: usize = 10;

/// The file `search.json`. Signal-to-noise ratios and accuracies have three and six decimals; `null`
/// is an infinite ratio: outputs are equal, or useless.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    format: u32,
    objective: &'a Objective,
    budget: usize,
    samples: usize,
    candidates: usize,
    /// Whether the search came to its end before the budget did.
    complete: bool,
    /// The setting that the names belong in.
    list: &'static str,
    /// The nodes to keep, in the model's order.
    kept: Vec<&'a str>,
    /// With none of them kept.
    nothing_kept: Option<Reached>,
    /// With those kept.
    result: Option<Reached>,
    /// From the most sensitive on; without those that are not lowered alone.
    sensitivities: Vec<SensitivityReport<'a>>,
    trials: Vec<TrialReport>,
}

/// What a trial came to.
#[derive(Debug, Serialize)]
struct Reached {
    snr_db: f64,
    /// An output has NaN or infinity that it did not have, or nothing but noise.
    useless: bool,
    /// Where there are labels.
    accuracy: Option<f64>,
    /// That of the model as it was.
    accuracy_before: Option<f64>,
}

/// What is lost where these alone are lowered.
#[derive(Debug, Serialize)]
struct SensitivityReport<'a> {
    nodes: Vec<&'a str>,
    snr_db: f64,
    useless: bool,
}

#[derive(Debug, Serialize)]
struct TrialReport {
    purpose: &'static str,
    /// How many nodes were kept.
    kept: usize,
    #[serde(flatten)]
    reached: Reached,
    passed: bool,
}

fn is_useless(snr_db: f64) -> bool {
    snr_db <= f64::NEG_INFINITY
}

fn rounded(snr_db: f64) -> f64 {
    (snr_db * 1e3).round() / 1e3
}

fn millionths(accuracy: f64) -> f64 {
    (accuracy * 1e6).round() / 1e6
}

fn reached(measured: Measured) -> Reached {
    Reached {
        snr_db: rounded(measured.snr_db),
        useless: is_useless(measured.snr_db),
        accuracy: measured.answers.map(|answers| millionths(answers.accuracy())),
        accuracy_before: measured.answers.map(|answers| millionths(answers.accuracy_before())),
    }
}

fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Ends => "ends",
        Purpose::Sensitivity => "sensitivity",
        Purpose::Bisection => "bisection",
        Purpose::Reduction => "reduction",
    }
}

impl<'a> Report<'a> {
    pub(super) fn new(
        task: &'a Task<'_>,
        samples: usize,
        found: &Found,
        measured: &[Measured],
    ) -> Self {
        let names = task.candidates;
        let sensitivity = |one: &Sensitivity| {
            let snr_db = -one.loss?;
            let nodes = one.candidates.iter().map(|&at| names[at].as_str()).collect();
            Some(SensitivityReport { nodes, snr_db: rounded(snr_db), useless: is_useless(snr_db) })
        };
        let trials = found.trials.iter().zip(measured).map(|(trial, measured)| TrialReport {
            purpose: purpose(trial.purpose),
            kept: trial.kept.len(),
            reached: reached(*measured),
            passed: trial.score.passes,
        });
        Self {
            format: FORMAT,
            objective: &task.settings.objective,
            budget: task.settings.budget.value,
            samples,
            candidates: names.len(),
            complete: found.complete,
            list: task.list,
            kept: found.kept.iter().map(|&index| names[index].as_str()).collect(),
            nothing_kept: measured.first().copied().map(reached),
            result: measured.get(found.trial).copied().map(reached),
            sensitivities: found.sensitivities.iter().filter_map(sensitivity).collect(),
            trials: trials.collect(),
        }
    }
}

/// A name as it may stand in a spec.
pub(super) fn quoted(name: &str) -> String {
    // JSON's texts are YAML's.
    serde_json::Value::from(name).to_string().replace("${", "$${")
}

/// The report for people, with the list to put into the spec.
pub(super) fn summary(
    task: &Task<'_>,
    found: &Found,
    measured: &[Measured],
    remembered: usize,
) -> String {
    let (names, objective) = (task.candidates, &task.settings.objective);
    let mut text = String::new();
    let told = |trial: usize| measured.get(trial).map_or(String::new(), |one| one.text(objective));
    // Writing into a String cannot fail.
    let _ = writeln!(text, "all {} {}: {}", names.len(), task.lowered, told(0));
    if !found.kept.is_empty() {
        let _ = writeln!(text, "{} of them kept: {}", found.kept.len(), told(found.trial));
    }
    let answers = measured.first().and_then(|measured| measured.answers);
    if let (Some(limits), Some(answers)) = (&objective.accuracy, answers) {
        let (metric, before) = (limits.metric.name(), answers.accuracy_before());
        let _ = writeln!(text, "the model as it was: {metric} {before:.4}");
    }
    let trials = found.trials.len();
    let _ = write!(text, "found in {trials} trial{}", if trials == 1 { "" } else { "s" });
    if remembered > 0 {
        let _ = write!(text, ", {remembered} of them remembered");
    }
    if !found.complete {
        let _ = write!(
            text,
            "; the budget of {} ended the search, a smaller set may do",
            task.settings.budget
        );
    } else if !found.kept.is_empty() {
        text.push_str("; none of those kept can go alone");
    }
    text.push('\n');
    if found.kept.is_empty() {
        let _ = writeln!(text, "nothing has to be kept: `search` can go from the spec");
        return text;
    }
    tell_sensitivities(task, &found.sensitivities, &mut text);
    let _ = writeln!(text, "in place of `search`, with the same result:");
    let _ = writeln!(text, "{}:", task.list);
    for &index in &found.kept {
        let _ = writeln!(text, "  - {}", quoted(&names[index]));
    }
    text
}

fn tell_sensitivities(task: &Task<'_>, sensitivities: &[Sensitivity], text: &mut String) {
    let measured = sensitivities.iter().filter_map(|one| Some((&one.candidates, one.loss?)));
    let measured: Vec<_> = measured.collect();
    for (candidates, loss) in measured.iter().take(MOST_SHOWN) {
        let name = |at: &usize| task.candidates[*at].as_str();
        let block = match candidates.as_slice() {
            [only] => name(only).to_owned(),
            [first, .., last] => {
                format!("{} .. {} ({} nodes)", name(first), name(last), candidates.len())
            }
            [] => continue,
        };
        let _ = writeln!(text, "  {:>9}  {block} alone {}", decibels(-loss), task.lowered);
    }
    if let Some(more @ 1..) = measured.len().checked_sub(MOST_SHOWN) {
        let _ = writeln!(text, "  and {more} less sensitive ones, see search.json");
    }
    let others = sensitivities.iter().filter(|one| one.loss.is_none());
    let others: usize = others.map(|one| one.candidates.len()).sum();
    if others > 0 {
        let verb = if others == 1 { "is" } else { "are" };
        let _ =
            writeln!(text, "  {others} more {verb} {} only together with neighbours", task.lowered);
    }
}
