//! [`Views`]: the pipelines as the server's page draws them, kept up to date from run events.

use std::path::Path;
use std::sync::Arc;

use crate::execute::{OutcomeKind, RunEvent};
use crate::plan::Plan;
use crate::server::{PipelineView, PipelineViews, StageView};

/// The pipelines as the server's page draws them.
#[derive(Default)]
pub(super) struct Views {
    shared: PipelineViews,
    pipelines: Vec<PipelineView>,
}

impl Views {
    /// For pipelines in these files, of which nothing is known yet.
    pub(super) fn of<'a>(specs: impl Iterator<Item = &'a Path>) -> Self {
        let view = |spec: &Path| PipelineView {
            spec: spec.display().to_string(),
            ..PipelineView::default()
        };
        let views = Self { pipelines: specs.map(view).collect(), ..Self::default() };
        views.publish();
        views
    }

    /// What the server reads.
    pub(super) fn shared(&self) -> PipelineViews {
        Arc::clone(&self.shared)
    }

    /// Takes note of what a run tells.
    pub(super) fn event(&mut self, pipeline: usize, plan: &Plan, event: &RunEvent) {
        let view = &mut self.pipelines[pipeline];
        let find = |view: &mut PipelineView, name: &str| {
            view.stages.iter().position(|stage| stage.name == name)
        };
        match event {
            RunEvent::RunStarted { .. } => {
                view.name.clone_from(&plan.spec().name.value);
                view.error = None;
                view.stages = stages(plan, &view.stages);
            }
            RunEvent::StageStarted { stage } => {
                let Some(at) = find(view, stage) else { return };
                view.stages[at].outcome = None;
            }
            RunEvent::StageFinished { stage, outcome, key, artifact, seconds, reason } => {
                let Some(at) = find(view, stage) else { return };
                let before = &view.stages[at];
                // How long it took is worth knowing also when it did not have to run again.
                let seconds = match (outcome, before.seconds) {
                    (OutcomeKind::Cached, before) => before.unwrap_or(*seconds),
                    _ => *seconds,
                };
                view.stages[at] = StageView {
                    outcome: Some(outcome.name().to_owned()),
                    key: key.clone(),
                    artifact: artifact.clone(),
                    seconds: Some(seconds),
                    reason: reason.clone(),
                    name: before.name.clone(),
                    kind: before.kind.clone(),
                    needs: before.needs.clone(),
                };
                if *outcome == OutcomeKind::Cached {
                    return;
                }
            }
            RunEvent::RunFinished { .. } => {}
            _ => return,
        }
        self.publish();
    }

    /// Says what is wrong with the spec as it is now, if anything is.
    pub(super) fn set_error(&mut self, pipeline: usize, error: Option<&str>) {
        let view = &mut self.pipelines[pipeline];
        if view.error.as_deref() != error {
            view.error = error.map(str::to_owned);
            self.publish();
        }
    }

    fn publish(&self) {
        self.shared.store(Arc::new(self.pipelines.clone()));
    }
}

/// The stages of a plan in running order, with what is known of those that were there before.
fn stages(plan: &Plan, before: &[StageView]) -> Vec<StageView> {
    let all = plan.stages();
    let view = |at: &usize| {
        let (name, kind) = (&all[*at].name.value, all[*at].stage.kind());
        let known = before.iter().find(|stage| stage.name == *name && stage.kind == kind);
        StageView {
            name: name.clone(),
            kind: kind.to_owned(),
            needs: all[*at].after.iter().map(|at| all[*at].name.value.clone()).collect(),
            ..known.cloned().unwrap_or_default()
        }
    };
    plan.order().iter().map(view).collect()
}

#[cfg(test)]
mod tests {
    use crate::source::SourceFile;
    use crate::spec::Overrides;

    use super::*;

    fn plan(stages: &str) -> Plan {
        let source = Arc::new(SourceFile::new("p.yaml", format!("version: 1\nstages:\n{stages}")));
        Plan::parse(Path::new("p.yaml"), source, &Overrides::default()).unwrap()
    }

    fn finished(stage: &str, outcome: OutcomeKind, seconds: f64) -> RunEvent {
        let (key, artifact, reason) = (Some("key".to_owned()), None, None);
        RunEvent::StageFinished { stage: stage.to_owned(), outcome, key, artifact, seconds, reason }
    }

    #[test]
    fn a_view_follows_the_runs_and_keeps_what_is_still_true() {
        const A: &str = "  a: { command: { run: [x] } }\n";
        const B: &str = "  b: { command: { run: [x] }, needs: [a] }\n";
        let mut views = Views::of([Path::new("p.yaml")].into_iter());
        let shared = views.shared();
        let started = RunEvent::RunStarted { pipeline: "p".to_owned(), stages: Vec::new() };
        let both = plan(&format!("{B}{A}"));
        views.event(0, &both, &started);
        let outcomes = || -> Vec<(String, Option<String>)> {
            let view = shared.load();
            let stages = view[0].stages.iter();
            stages.map(|stage| (stage.name.clone(), stage.outcome.clone())).collect()
        };
        let is = |name: &str, outcome: Option<&str>| (name.to_owned(), outcome.map(str::to_owned));
        assert_eq!(outcomes(), [is("a", None), is("b", None)], "in running order");
        assert_eq!(shared.load()[0].stages[1].needs, ["a"]);
        views.event(0, &both, &finished("a", OutcomeKind::Built, 2.5));
        assert_eq!(outcomes(), [is("a", Some("built")), is("b", None)]);
        views.set_error(0, Some("broken"));
        assert_eq!(shared.load()[0].error.as_deref(), Some("broken"));
        let one = plan(A);
        views.event(0, &one, &started);
        assert_eq!(shared.load()[0].error, None);
        assert_eq!(outcomes(), [is("a", Some("built"))], "what it was until it is told anew");
        views.event(0, &one, &finished("a", OutcomeKind::Cached, 0.0));
        views.event(0, &one, &RunEvent::StageStarted { stage: "gone".to_owned() });
        let (done, exit) = (0, 0);
        views.event(
            0,
            &one,
            &RunEvent::RunFinished {
                cached: 1,
                built: done,
                failed: done,
                skipped: done,
                cancelled: done,
                seconds: 0.1,
                exit,
            },
        );
        assert_eq!(outcomes(), [is("a", Some("cached"))]);
        assert_eq!(shared.load()[0].stages[0].seconds, Some(2.5), "as long as it took when it ran");
    }
}
