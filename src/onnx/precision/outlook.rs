//! [`Outlook`]: which nodes a model would have in 16 bits, for one list of kept nodes after the
//! other, without rewriting it.

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::patterns::NodePatterns;

use super::decide::{self, Verdict};
use super::reason::Reason;
use super::view::View;
use super::{Settings, neighbours, opset, settle};

/// What a model's nodes are, but for those that are kept beside the settings' own.
pub struct Outlook<'m> {
    view: View<'m>,
    verdicts: Vec<Verdict>,
    settings: Settings<'m>,
}

impl<'m> Outlook<'m> {
    /// Of a model that has passed [`Model::check`]; it gets the opset that [`super::lower`] gives
    /// it.
    pub fn new(model: &'m mut Model, settings: Settings<'m>) -> Result<Self, OnnxError> {
        model.check_types()?;
        opset::raise(model, settings.half, settings.keep)?;
        let view = View::of(model, settings.half);
        let verdicts = decide::verdicts(&view, &settings)?;
        Ok(Self { view, verdicts, settings })
    }

    /// The positions in the main graph of the nodes that are of 16 bits where these are kept, too.
    /// Where they are the same, [`super::lower`] makes the same model.
    pub fn low(&self, kept: &NodePatterns) -> Vec<usize> {
        let mut verdicts = self.verdicts.clone();
        for (step, verdict) in self.view.steps.iter().zip(&mut verdicts) {
            if *verdict != Verdict::Keep(Reason::NoFloat)
                && let Some(pattern) = kept.find(step.node)
            {
                *verdict = Verdict::Keep(Reason::Requested(pattern.to_owned()));
            }
        }
        neighbours::mark(&self.view, &mut verdicts, self.settings.observed);
        let decisions = settle::settle(&self.view, verdicts, self.settings.io);
        let low = decisions.iter().enumerate().filter(|(_, decision)| decision.low);
        low.map(|(at, _)| at).collect()
    }
}
