//! `search:` of `optimize`: which nodes must stay in float32 for the model to reach an objective.

use std::collections::BTreeSet;
use std::fs;

use crate::artifact::{Digest, Fingerprint};
use crate::backend::{self, tensorrt};
use crate::onnx::precision::{self, Half, Io, Outlook, Settings};
use crate::onnx::{self, Model, NodePatterns};
use crate::stage::search::{self, Outcome, Search, Task};
use crate::stage::{Stage, StageContext, StageError};

use super::Optimize;

/// Finds the nodes that must be kept beside those that `settings` keep. `model` is in float32.
pub(super) fn search(
    optimize: &Optimize,
    search: &Search,
    settings: &Settings<'_>,
    model: &Model,
    cx: &StageContext<'_>,
) -> Result<Outcome, StageError> {
    let before = cx.scratch.join("before");
    fs::create_dir_all(&before).map_err(StageError::io("create", &before))?;
    model.save(&before)?;
    let lower = |kept: &[&str]| {
        let keep = settings.keep.and(kept.iter().copied());
        let mut model = model.clone();
        let lowered = precision::lower(&mut model, &Settings { keep: &keep, ..*settings })?;
        Ok::<_, StageError>((model, lowered))
    };
    let (_, lowered) = lower(&[])?;
    let mut seen = BTreeSet::new();
    let is_low = |precision: Option<&str>| precision == Some(settings.half.name());
    let candidates: Vec<String> = lowered
        .nodes
        .iter()
        .filter(|node| is_low(node.precision) && seen.insert(node.node.as_str()))
        .map(|node| node.node.clone())
        .collect();
    let mut raised = model.clone();
    let outlook = Outlook::new(&mut raised, *settings)?;
    let backend = backend::by_name(optimize.backend.name())?;
    let task = Task {
        settings: search,
        backend,
        model: &onnx::locate(&before)?,
        candidates: &candidates,
        make: &|kept, folder| {
            let (model, _) = lower(kept)?;
            Ok(model.save(folder)?)
        },
        effect: &|kept| {
            let low = outlook.low(&NodePatterns::new(kept.iter().map(|&name| name.to_owned())));
            Ok(Digest::of(format!("{low:?}").as_bytes()))
        },
        made_of: Fingerprint {
            inputs: cx.inputs.iter().map(|(role, input)| (role.clone(), input.digest)).collect(),
            kind: optimize.kind().to_owned(),
            settings: Optimize { search: None, ..optimize.clone() }.settings(),
            tools: backend.tools(&tensorrt::Options::default())?,
            version: optimize.version(),
        },
        list: "keep_fp32",
        lowered: match settings.half {
            Half::Float16 => "in float16",
            Half::BFloat16 => "in bfloat16",
        },
        out_of_reach: match settings.io {
            Io::Keep => search::LOWER_IT,
            Io::Convert => {
                "lower the objective, or leave inputs and outputs as they are, with `io: keep`: in \
                 16 bits they alone lose that much"
            }
        },
    };
    search::run(&task, cx)
}
