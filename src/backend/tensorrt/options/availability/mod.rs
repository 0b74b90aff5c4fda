//! Which options a library lacks, and what to do about each.

use serde_json::Value;

use crate::backend::tensorrt::{Flavor, Generation, LibraryVersion};

use super::choices::Refit;
use super::{Options, SettingError};
use table::{Row, Since, TABLE};

mod table;
#[cfg(test)]
mod tests;

impl Options {
    /// Every setting, or value of one, that a library does not have.
    pub fn unsupported(
        &self,
        generation: Generation,
        version: LibraryVersion,
    ) -> Vec<SettingError> {
        let asked = self.asked();
        let is_asked = |row: &&Row| asked.iter().any(|(name, value)| row.is_about(name, value));
        let missing: Vec<&Row> =
            TABLE.iter().filter(|row| !row.is_in(generation, version)).filter(is_asked).collect();
        // Of a setting that is missing as a whole no value is said to be missing.
        let is_whole =
            |setting| missing.iter().any(|row| row.setting == setting && row.value.is_none());
        let said = missing.iter().filter(|row| row.value.is_none() || !is_whole(row.setting));
        let mut found: Vec<SettingError> = said.map(|row| row.error(generation, version)).collect();
        let refit = self.settings.refit != Refit::None;
        if generation == Generation::V8_6 && self.settings.version_compatible && refit {
            found.push(SettingError {
                setting: "tensorrt.version_compatible",
                reason: "TensorRT 8.6 cannot refit version compatible engines".into(),
                help: "remove it, or `refit`".into(),
            });
        }
        found
    }

    /// What is not at its default: settings and their values, as specs write them.
    fn asked(&self) -> Vec<(String, String)> {
        let mut asked = Vec::new();
        for (setting, value) in self.as_written() {
            leaves(setting, &value, &mut asked);
        }
        asked
    }
}

/// The single values in a setting, each with the keys that lead to it.
fn leaves(setting: String, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                leaves(format!("{setting}.{key}"), value, found);
            }
        }
        Value::Array(values) => {
            for value in values {
                leaves(setting.clone(), value, found);
            }
        }
        Value::String(text) => found.push((setting, text.clone())),
        other => found.push((setting, other.to_string())),
    }
}

impl Row {
    /// Whether it is about what stands at `setting`, or below it.
    fn is_about(&self, setting: &str, value: &str) -> bool {
        let below = setting.strip_prefix(self.setting);
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            && self.value.is_none_or(|own| own == value)
    }

    fn is_in(&self, generation: Generation, version: LibraryVersion) -> bool {
        match self.since[generation as usize] {
            Since::Never => false,
            Since::Always => true,
            Since::Minor(minor) => version.minor >= minor,
        }
    }

    fn error(&self, generation: Generation, version: LibraryVersion) -> SettingError {
        let LibraryVersion { major, minor, patch, .. } = version;
        let library = format!("{} {major}.{minor}.{patch}", generation.flavor().product());
        let versions = versions(self.since);
        let refusal = self.refusal.filter(|(by, _)| by.contains(&generation));
        let what = self.value.map_or("it".to_owned(), |value| format!("`{value}`"));
        let reason = if let Some((_, reason)) = refusal {
            reason.to_owned()
        } else {
            let symbol = self.symbol;
            format!("{library} has no `{symbol}`; {what} is available in {versions}")
        };
        let help = match self.instead {
            Some(instead) => instead.to_owned(),
            None => format!("remove {what}, or build with a library that has it"),
        };
        SettingError { setting: self.setting, reason, help }
    }
}

/// The versions that have something, for people: `TensorRT 10.8 or newer and TensorRT-RTX`.
fn versions(since: [Since; 5]) -> String {
    let [v8_6, v10, v11, rtx1_4, rtx1] = since;
    let standard = of_product(Flavor::Standard, &[("8.6", v8_6), ("10", v10), ("11", v11)]);
    let rtx = of_product(Flavor::Rtx, &[("1.3 and 1.4", rtx1_4), ("1.5", rtx1)]);
    match (standard, rtx) {
        _ if since == [Since::Always; 5] => "all versions".to_owned(),
        (Some(standard), Some(rtx)) if standard.contains(" and ") => format!("{standard}, {rtx}"),
        (Some(standard), Some(rtx)) => format!("{standard} and {rtx}"),
        (one, other) => one.or(other).unwrap_or_default(),
    }
}

/// The versions of one product; `generations` says how each of its generations is called.
fn of_product(product: Flavor, generations: &[(&str, Since)]) -> Option<String> {
    let product = product.product();
    let has = |(_, since): &(&str, Since)| *since != Since::Never;
    let first = generations.iter().position(has)?;
    let (name, since) = generations[first];
    let start = match since {
        Since::Minor(minor) => format!("{name}.{minor}"),
        Since::Always | Since::Never => name.to_owned(),
    };
    Some(if first == 0 && generations.iter().all(has) {
        product.to_owned()
    } else if generations[first..].iter().all(has) {
        format!("{product} {start} or newer")
    } else {
        let names = generations.iter().filter(|generation| has(generation)).map(|(name, _)| *name);
        format!("{product} {}", names.collect::<Vec<_>>().join(" and "))
    })
}
