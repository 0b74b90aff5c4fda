//! [`Reporter`]: run events as progress bars, plain lines or JSON.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use crate::execute::{OutcomeKind, RunEvent};
use crate::plan::Plan;

use super::console::{Console, wants_colour};
use super::printable::printable;
use super::quantity::time;
use super::wrap::wrapped;

/// Beyond this many stages, those that were cached are only counted.
const LIST_CACHED_UP_TO: usize = 40;

/// Shows a run while it happens.
pub(super) struct Reporter<'a> {
    console: &'a Console,
    kinds: HashMap<&'a str, &'static str>,
    width: usize,
    list_cached: bool,
    colour: bool,
    bars: Option<Bars>,
    /// What stages that are about to end told of their work.
    summaries: HashMap<String, Vec<String>>,
}

struct Bars {
    all: MultiProgress,
    earlier: HashMap<String, f64>,
    running: HashMap<String, Running>,
    plain: ProgressStyle,
    counted: ProgressStyle,
}

struct Running {
    bar: ProgressBar,
    /// For a phase whose end is not known.
    plain: ProgressStyle,
    /// For a phase that counts.
    counted: ProgressStyle,
}

impl<'a> Reporter<'a> {
    /// For a run in which everything is cached: nothing is drawn.
    pub(super) fn idle(plan: &'a Plan, console: &'a Console) -> Self {
        Self::new(plan, console, false)
    }

    /// For a run in which stages run; `earlier` tells how many seconds each took last time.
    pub(super) fn busy(
        plan: &'a Plan,
        console: &'a Console,
        earlier: impl FnOnce() -> HashMap<String, f64>,
    ) -> Self {
        let bars =
            console.is_interactive().then(|| Bars::new(console.progress().clone(), earlier()));
        Self { bars, ..Self::new(plan, console, true) }
    }

    fn new(plan: &'a Plan, console: &'a Console, busy: bool) -> Self {
        let stages = plan.stages();
        let kinds = if busy || stages.len() <= LIST_CACHED_UP_TO {
            stages.iter().map(|stage| (stage.name.as_str(), stage.stage.kind())).collect()
        } else {
            HashMap::new()
        };
        Self {
            console,
            kinds,
            width: stages.iter().map(|stage| stage.name.len()).max().unwrap_or(0).min(40),
            list_cached: stages.len() <= LIST_CACHED_UP_TO,
            colour: wants_colour(std::io::stdout().is_terminal()),
            bars: None,
            summaries: HashMap::new(),
        }
    }

    /// Shows one event.
    pub(super) fn event(&mut self, event: &RunEvent) {
        if self.console.is_json() {
            self.console.event(event);
            return;
        }
        match event {
            // The rest is not told while a run goes on.
            RunEvent::RunStarted { .. }
            | RunEvent::Plan { .. }
            | RunEvent::Diagnostic(_)
            | RunEvent::WatchTriggered { .. }
            | RunEvent::Serving { .. }
            | RunEvent::ReloadFinished { .. }
            | RunEvent::DeviceLost { .. }
            | RunEvent::ServeFinished { .. } => {}
            RunEvent::StageStarted { stage } => {
                if let Some(bars) = &mut self.bars {
                    bars.start(stage, self.width);
                }
            }
            RunEvent::StageProgress { stage, phase, done, total } => {
                if let Some(bars) = &self.bars {
                    bars.progress(stage, phase, *done, *total);
                }
            }
            RunEvent::StageSummary { stage, lines } => {
                self.summaries.insert(stage.clone(), lines.clone());
            }
            RunEvent::StageFinished { stage, outcome, seconds, reason, .. } => {
                let ended = self.bars.as_mut().and_then(|bars| bars.running.remove(stage));
                if let Some(Running { bar, .. }) = ended {
                    bar.finish_and_clear();
                }
                if *outcome != OutcomeKind::Cached || self.list_cached {
                    let line = self.line(stage, *outcome, *seconds, reason.as_deref());
                    self.print(&line);
                }
                let width = self.console.columns();
                for line in self.summaries.remove(stage).into_iter().flatten() {
                    self.print(&wrapped(&printable(&format!("    {line}")), width, 2));
                }
            }
            RunEvent::RunFinished {
                cached, built, failed, skipped, cancelled, seconds, ..
            } => {
                let total = cached + built + failed + skipped + cancelled;
                let noun = if total == 1 { "stage" } else { "stages" };
                let mut text = format!("{total} {noun}: {cached} cached, {built} built");
                for (count, word) in
                    [(failed, "failed"), (skipped, "skipped"), (cancelled, "cancelled")]
                {
                    if *count > 0 {
                        let _ = write!(text, ", {count} {word}");
                    }
                }
                let _ = write!(text, " in {}", time(*seconds));
                self.print(&text);
            }
        }
    }

    /// Leaves the screen to what follows.
    pub(super) fn finish(self) {
        if let Some(bars) = &self.bars {
            // The bars are decoration: a terminal that is gone needs none.
            let _ = bars.all.clear();
        }
        self.console.flush();
    }

    fn line(
        &self,
        stage: &str,
        outcome: OutcomeKind,
        seconds: f64,
        reason: Option<&str>,
    ) -> String {
        let width = self.width;
        let kind = self.kinds.get(stage).copied().unwrap_or_default();
        let (start, end) = match (self.colour, outcome) {
            (false, _) => ("", ""),
            (_, OutcomeKind::Cached) => ("\u{1b}[2m", "\u{1b}[0m"),
            (_, OutcomeKind::Built) => ("\u{1b}[32m", "\u{1b}[0m"),
            (_, OutcomeKind::Failed) => ("\u{1b}[31;1m", "\u{1b}[0m"),
            (_, OutcomeKind::Skipped | OutcomeKind::Cancelled) => ("\u{1b}[33m", "\u{1b}[0m"),
        };
        let mut line = format!("  {stage:width$}  {kind:9}  {start}{:9}{end}", outcome.name());
        match outcome {
            OutcomeKind::Built | OutcomeKind::Failed => {
                let _ = write!(line, "  {}", time(seconds));
            }
            OutcomeKind::Skipped => {
                let _ = write!(line, "  {}", reason.unwrap_or_default());
            }
            OutcomeKind::Cached | OutcomeKind::Cancelled => {}
        }
        line.truncate(line.trim_end().len());
        line
    }

    fn print(&self, line: &str) {
        self.console.line(line);
        if self.bars.is_some() {
            self.console.flush();
        }
    }
}

impl Bars {
    fn new(all: MultiProgress, earlier: HashMap<String, f64>) -> Self {
        let style = |template: &str| {
            ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_spinner())
                .progress_chars("━╸ ")
        };
        Self {
            all,
            earlier,
            running: HashMap::new(),
            plain: style("{spinner} {prefix}  {wide_msg}"),
            counted: style("{spinner} {prefix}  {bar:24} {pos}/{len}  {wide_msg}"),
        }
    }

    fn start(&mut self, stage: &str, width: usize) {
        // An estimate is called one: it is what the stage took the last time it ran.
        let estimate = match self.earlier.get(stage) {
            Some(seconds) if *seconds >= 1.0 => format!(" of ~{} (last time)", time(*seconds)),
            _ => String::new(),
        };
        let name = format!("{stage:width$}");
        let clock = move |state: &ProgressState, text: &mut dyn std::fmt::Write| {
            let _ = write!(text, "{name}  {:>4}s{estimate}", state.elapsed().as_secs());
        };
        let plain = self.plain.clone().with_key("prefix", clock.clone());
        let counted = self.counted.clone().with_key("prefix", clock);
        let bar = self.all.add(ProgressBar::new_spinner().with_style(plain.clone()));
        bar.enable_steady_tick(Duration::from_millis(120));
        self.running.insert(stage.to_owned(), Running { bar, plain, counted });
    }

    fn progress(&self, stage: &str, phase: &str, done: u64, total: Option<u64>) {
        let Some(Running { bar, plain, counted }) = self.running.get(stage) else { return };
        if let Some(total) = total {
            bar.set_style(counted.clone());
            bar.set_length(total);
            bar.set_position(done);
        } else {
            bar.set_style(plain.clone());
        }
        bar.set_message(phase.to_owned());
    }
}
