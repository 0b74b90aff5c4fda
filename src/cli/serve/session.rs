//! What a server does while it lives: builds, offers what was built, and tells what became of it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::cli::ExitStatus;
use crate::cli::pipeline::{Pipeline, Ran, Refreshed, Session};
use crate::cli::watch::watching;
use crate::deployment::OnDeviceFailure;
use crate::execute::RunEvent;
use crate::execute::event::{ReloadOutcome, Trigger};
use crate::plan::Plan;
use crate::runtime::DeviceLoss;
use crate::server::DrainReport;
use crate::watch::Watcher;

use super::{Message, Serve, candidates, text};

impl Serve<'_> {
    /// The first run of every pipeline, which must succeed, until every model takes requests.
    pub(super) fn run_first(&mut self) -> Result<(), ExitStatus> {
        for at in 0..self.pipelines.len() {
            let Refreshed::Ran(ran) = self.run(at, None)? else { return Err(ExitStatus::USAGE) };
            match ran.report.exit() {
                0 => self.offer(at, &ran, false)?,
                status => return Err(ExitStatus(status)),
            }
        }
        self.load_first()
    }

    /// Runs a pipeline, for the first time or again.
    fn run(&mut self, at: usize, trigger: Option<Trigger>) -> Result<Refreshed, ExitStatus> {
        let Self { pipelines, models, views, console, stop, .. } = self;
        let pipeline = &mut pipelines[at];
        let (only, models) = (pipeline.stages().to_vec(), std::cell::RefCell::new(models));
        let accept = |plan: &Plan| models.borrow_mut().take(at, plan, &only);
        let session = Session { console, stop, accept: &accept };
        let mut note = |plan: &Plan, event: &RunEvent| views.event(at, plan, event);
        let refreshed = match trigger {
            None => pipeline.start(session, &mut note)?,
            Some(trigger) => pipeline.refresh(trigger, session, &mut note),
        };
        views.set_error(at, pipeline.refused());
        Ok(refreshed)
    }

    /// Offers what a run made to the registry.
    fn offer(&mut self, at: usize, ran: &Ran, again: bool) -> Result<(), ExitStatus> {
        let mut ended = Ok(());
        for candidate in candidates::of(ran, self.pipelines[at].stages()) {
            match candidate {
                Ok(candidate) => {
                    self.offered.insert(candidate.deployment.model.name.clone(), at);
                    self.reloads.offer(candidate, again);
                }
                Err(refusal) => {
                    refusal.show(self.console);
                    ended = Err(ExitStatus::FAILED);
                }
            }
        }
        ended
    }

    /// Takes out of service what the pipeline does not serve any more.
    fn remove_the_rest(&mut self, at: usize) {
        let is_gone = |(model, from): (&String, &usize)| {
            (*from == at && !self.models.names().any(|name| name == model)).then(|| model.clone())
        };
        let gone: Vec<String> = self.offered.iter().filter_map(is_gone).collect();
        for model in gone {
            self.offered.remove(&model);
            self.reloads.remove(model);
        }
    }

    /// Waits until every model takes requests.
    fn load_first(&mut self) -> Result<(), ExitStatus> {
        while !self.reloads.is_idle() {
            match self.messages.recv() {
                Ok(Message::Reloaded(event)) => self.tell_reload(&event),
                Ok(Message::Decided { error: None, .. }) => self.reloads.decided(),
                Ok(Message::Decided { model, error: Some(error) }) => {
                    let message = format!("model `{model}` cannot be served: {error}");
                    self.console.error("serve::load", &message, None);
                    return Err(ExitStatus::FAILED);
                }
                Ok(Message::Lost(loss)) => {
                    self.tell_loss(&loss);
                    if self.has_failed {
                        return Err(ExitStatus::FAILED);
                    }
                }
                Ok(Message::Stop) | Err(_) => return Err(ExitStatus::INTERRUPTED),
                Ok(Message::Asked | Message::Changed(_) | Message::Ended(_)) => {}
            }
        }
        Ok(())
    }

    /// Goes on until the server has ended.
    pub(super) fn until_ended(&mut self, watcher: Option<&Watcher>) -> DrainReport {
        let mut last = BTreeSet::new();
        loop {
            if let Some(watcher) = watcher {
                let reads: BTreeSet<PathBuf> =
                    self.pipelines.iter().flat_map(Pipeline::reads).collect();
                if reads != last {
                    self.console.line(&watching(&reads));
                    watcher.watch(reads.clone());
                    last = reads;
                }
            }
            self.console.flush();
            match self.messages.recv() {
                Ok(Message::Changed(paths)) => self.refresh(Trigger::Changed, &paths),
                Ok(Message::Asked) => self.refresh(Trigger::Asked, &BTreeSet::new()),
                Ok(Message::Reloaded(event)) => self.tell_reload(&event),
                Ok(Message::Decided { model, error }) => {
                    self.reloads.decided();
                    if let Some(error) = error {
                        tracing::debug!("{model}: {error}");
                    }
                }
                Ok(Message::Lost(loss)) => self.tell_loss(&loss),
                Ok(Message::Stop) => self.tell_stopping(),
                Ok(Message::Ended(report)) => return report,
                Err(_) => return DrainReport::default(),
            }
        }
    }

    /// Runs again the pipelines that read one of these paths, or all that were asked for.
    fn refresh(&mut self, trigger: Trigger, paths: &BTreeSet<PathBuf>) {
        for at in 0..self.pipelines.len() {
            let is_concerned =
                trigger == Trigger::Asked || !self.pipelines[at].reads().is_disjoint(paths);
            if self.stop.is_cancelled() || !is_concerned {
                continue;
            }
            let is_good = match self.run(at, Some(trigger)) {
                Ok(Refreshed::Unchanged) => continue,
                Ok(Refreshed::Ran(ran)) => {
                    // Also where a stage failed: what does not depend on it can be served.
                    let offered = self.offer(at, &ran, trigger == Trigger::Asked);
                    offered.is_ok() && ran.report.exit() == 0
                }
                Ok(Refreshed::Refused) | Err(_) => false,
            };
            if is_good {
                self.remove_the_rest(at);
            } else if !self.stop.is_cancelled() {
                let of = self.pipelines[at].said_of();
                self.console.news(&format!("{of}what was served before still is"));
            }
        }
    }

    fn tell_reload(&mut self, event: &RunEvent) {
        self.console.event(event);
        if let RunEvent::ReloadFinished { model, from, to, outcome, .. } = event {
            let is_first = *outcome == ReloadOutcome::Accepted && from.is_none();
            // The table of models says it, or has said it.
            if is_first && self.shown.as_ref().is_none_or(|shown| shown.get(model).copied() == *to)
            {
                return;
            }
            if let Some(shown) = &mut self.shown {
                shown.remove(model);
            }
        }
        if let Some(text) = text::reloaded(event) {
            self.console.news(&text);
        }
    }

    /// Tells of a lost device, and ends the server where the deployment wants that.
    fn tell_loss(&mut self, loss: &DeviceLoss) {
        let ends = loss.then == OnDeviceFailure::Exit;
        self.console.event(&RunEvent::DeviceLost {
            model: loss.model.clone(),
            version: loss.version,
            device: loss.device,
            reason: loss.reason.clone(),
            left: loss.left,
            ends,
        });
        if !ends {
            self.console.news(&loss.to_string());
            return;
        }
        if !self.has_failed {
            let help = "start it again; `on_device_failure: degrade` lets it go on without";
            let message = format!("the server ends: {loss}");
            self.console.error("serve::device_lost", &message, Some(help));
        }
        self.has_failed = true;
        self.stop.cancel();
    }

    fn tell_stopping(&self) {
        let drain = humantime::format_duration(self.config.limits.drain);
        self.console.line(&format!(
            "\nstopping: requests have {drain} to end; a second signal ends at once"
        ));
    }
}
