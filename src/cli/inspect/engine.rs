//! An engine's folder, as its `engine.json` describes it; and an engine's file without one.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::backend::tensorrt::{BuildFacts, EngineFacts, HardwareCompatibility, Layer};
use crate::backend::{EngineManifest, ShapeRange};
use crate::cli::diagnostic::with_causes;
use crate::cli::facts::Facts;
use crate::cli::quantity::{measured, size, time};

use super::diff::{Entries, Section};
use super::folder::{self, FileSize};
use super::{Failure, View, tables};

/// An engine's folder.
#[derive(Debug)]
pub(super) struct EngineFolder {
    manifest: EngineManifest,
    layers: Vec<Layer>,
    /// All of `engine.json`.
    content: Value,
    files: Vec<FileSize>,
}

impl EngineFolder {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let manifest =
            EngineManifest::read(path).map_err(|error| (with_causes(&error), error.help()))?;
        let content = std::fs::read(path.join(EngineManifest::FILE)).unwrap_or_default();
        let layers = manifest.tensorrt.iter().flat_map(|facts| &facts.layers);
        Ok(Self {
            layers: layers.map(Layer::read).collect(),
            content: serde_json::from_slice(&content).unwrap_or_default(),
            files: folder::files(path)?,
            manifest,
        })
    }

    pub(super) fn record(&self) -> Value {
        json!({ "files": self.files, "engine": self.content, "layers": self.layers })
    }

    pub(super) fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        facts.add("backend", &self.manifest.backend);
        if let Some(tensorrt) = &self.manifest.tensorrt {
            add_origin(tensorrt, &mut facts);
        }
        self.add_model(&mut facts);
        self.add_file(&mut facts);
        if let Some(tensorrt) = &self.manifest.tensorrt {
            add_build(tensorrt, &mut facts);
        }
        if !self.layers.is_empty() {
            facts.add_value("layers", self.layers.len(), summary(&self.layers));
        }
        facts
    }

    fn add_model(&self, facts: &mut Facts) {
        let model = &self.content["model"];
        if let Some(digest) = model["digest"].as_str() {
            let opset = model["opset"].as_i64().map(|opset| format!(", opset {opset}"));
            let short = digest.get(..12).unwrap_or(digest);
            facts.add_value("model", digest, short.to_owned() + &opset.unwrap_or_default());
        }
    }

    fn add_file(&self, facts: &mut Facts) {
        let name = self.manifest.file.display().to_string();
        let said = self.manifest.tensorrt.as_ref().map(|facts| facts.plan_bytes);
        let text = match (self.files.iter().find(|file| file.path == name), said) {
            (None, _) => format!("{name} is missing"),
            (Some(file), Some(said)) if said != file.bytes => {
                format!("{name}, damaged: it has {} bytes and had {said}", file.bytes)
            }
            (Some(file), _) => format!("{name}, {}", size(file.bytes)),
        };
        facts.add("file", text);
    }

    /// All that is said of it, to be compared.
    pub(super) fn add_to(&self, entries: &mut Entries) {
        entries.add_facts(&self.facts());
        entries.add_tensors(&self.manifest.inputs, &self.manifest.outputs);
        for (at, profile) in self.profiles().into_iter().enumerate() {
            for (input, ShapeRange { min, opt, max }) in profile {
                for (end, shape) in [("min", min), ("opt", opt), ("max", max)] {
                    let name = format!("profile {at}, {input}, {end}");
                    entries.add(Section::Profiles, name, json!(shape), shape.to_string());
                }
            }
        }
        for layer in &self.layers {
            let parts = [&layer.kind, &layer.precision, &layer.format, &layer.tactic];
            let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
            entries.add(Section::Layers, &layer.name, json!(layer), parts.join(", "));
        }
    }

    /// What each profile allows: the shapes of inputs, and the values of those that hold shapes.
    fn profiles(&self) -> Vec<Vec<(String, &ShapeRange)>> {
        let values = self.manifest.tensorrt.as_ref().map_or(&[][..], |facts| &facts.shape_values);
        let numbered = 0..self.manifest.profiles.len().max(values.len());
        numbered
            .map(|at| {
                let shapes = self.manifest.profiles.get(at).into_iter().flatten();
                let shapes = shapes.map(|(input, range)| (input.clone(), range));
                let values = values.get(at).into_iter().flatten();
                let values = values.map(|(input, range)| (format!("values of {input}"), range));
                shapes.chain(values).collect()
            })
            .collect()
    }

    pub(super) fn text(&self, view: View) -> String {
        let EngineManifest { inputs, outputs, .. } = &self.manifest;
        let mut parts = vec![self.facts().text(), tables::tensors(inputs, outputs)];
        let profiles = self.profiles();
        if !profiles.is_empty() {
            parts.push(tables::profiles(&profiles));
        }
        if !self.layers.is_empty() {
            parts.push(tables::layers(&self.layers, view.all_layers, view.width));
        }
        parts.push(tables::files(&self.files));
        parts.join("\n")
    }
}

/// What made it, and what it runs on.
fn add_origin(tensorrt: &EngineFacts, facts: &mut Facts) {
    facts.add("library", format!("{} {}", tensorrt.flavor, tensorrt.version));
    facts.add("built on", tensorrt.gpu.as_deref().unwrap_or("a machine without a GPU"));
    facts.add("runs on", runs_on(tensorrt));
    let refit = if tensorrt.refittable { "weights can be exchanged" } else { "no" };
    facts.add_value("refit", tensorrt.refittable, refit);
}

fn runs_on(tensorrt: &EngineFacts) -> String {
    let mut text = match &tensorrt.compute_capabilities[..] {
        [] => "not known".to_owned(),
        known => format!("compute capability {}", known.join(", ")),
    };
    text += match tensorrt.hardware_compatibility {
        HardwareCompatibility::None => "",
        HardwareCompatibility::AmperePlus => ", all GPUs from Ampere on",
        HardwareCompatibility::SameComputeCapability => ", all GPUs of the same",
    };
    if tensorrt.version_compatible {
        text += ", later versions of the library";
    }
    text
}

/// How the build went, and what a context needs.
fn add_build(tensorrt: &EngineFacts, facts: &mut Facts) {
    if let Some(bytes) = tensorrt.device_memory {
        facts.add_value("context memory", bytes, size(bytes));
    }
    let build = &tensorrt.build;
    facts.add_value("build", build.seconds, time(build.seconds));
    if let Some(bytes) = build.peak_device_memory {
        facts.add_value("build memory", bytes, size(bytes));
    }
    if !build.candidates_ms.is_empty() {
        let candidates: Vec<String> = build.candidates_ms.iter().map(|ms| measured(*ms)).collect();
        facts.add_value("candidates", json!(build.candidates_ms), candidates.join(", "));
    }
    if let Some(text) = timing_cache(build) {
        let value = json!([build.timing_cache_before, build.timing_cache_after]);
        facts.add_value("timing cache", value, text);
    }
}

fn timing_cache(build: &BuildFacts) -> Option<String> {
    Some(match (build.timing_cache_before, build.timing_cache_after) {
        (None, None) => return None,
        (None | Some(0), Some(after)) => format!("new, {} at the end", size(after)),
        (Some(before), None) => format!("{} at the start", size(before)),
        (Some(before), Some(after)) if before == after => format!("{}, did not grow", size(before)),
        (Some(before), Some(after)) => format!("grew from {} to {}", size(before), size(after)),
    })
}

/// More sorts of layers than this are only counted.
const MOST_SORTS: usize = 6;

/// How many layers there are of each type and precision, the most frequent first.
fn summary(layers: &[Layer]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for layer in layers {
        let words = [layer.kind.as_deref(), layer.precision.as_deref()];
        let words: Vec<&str> = words.into_iter().flatten().collect();
        if !words.is_empty() {
            *counts.entry(words.join(" ")).or_default() += 1;
        }
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let mut sorts: Vec<String> =
        counts.iter().take(MOST_SORTS).map(|(what, count)| format!("{count} {what}")).collect();
    if let Some((_, rest)) =
        counts.split_at_checked(MOST_SORTS).filter(|(_, rest)| !rest.is_empty())
    {
        sorts.push(format!("{} others", rest.iter().map(|(_, count)| count).sum::<usize>()));
    }
    match (layers.len(), sorts.is_empty()) {
        (count, true) => count.to_string(),
        (count, false) => format!("{count}: {}", sorts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(kinds: impl IntoIterator<Item = &'static str>) -> Vec<Layer> {
        let layer = |kind: &str| Layer { kind: Some(kind.to_owned()), ..Layer::default() };
        kinds.into_iter().map(layer).collect()
    }

    #[test]
    fn layers_are_counted_by_sort_and_rare_ones_together() {
        assert_eq!(summary(&layers(["A", "B", "B", "C"])), "4: 2 B, 1 A, 1 C");
        let kinds = ["A", "B", "C", "D", "E", "F", "G", "H", "H"];
        assert_eq!(summary(&layers(kinds)), "9: 2 H, 1 A, 1 B, 1 C, 1 D, 1 E, 2 others");
        assert_eq!(summary(&[Layer::default()]), "1");
    }

    #[test]
    fn the_timing_cache_is_told_by_how_it_grew() {
        let told = |before, after| {
            let build = BuildFacts {
                timing_cache_before: before,
                timing_cache_after: after,
                ..BuildFacts::default()
            };
            timing_cache(&build)
        };
        assert_eq!(told(None, None), None);
        assert_eq!(told(None, Some(10)).unwrap(), "new, 10 B at the end");
        assert_eq!(told(Some(0), Some(10)).unwrap(), "new, 10 B at the end");
        assert_eq!(told(Some(10), Some(10)).unwrap(), "10 B, did not grow");
        assert_eq!(told(Some(10), Some(20)).unwrap(), "grew from 10 B to 20 B");
        assert_eq!(told(Some(10), None).unwrap(), "10 B at the start");
    }
}
