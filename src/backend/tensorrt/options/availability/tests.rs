use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::{
    ComputeCapability, HardwareCompatibility, Precision, Refit, Settings, TacticSource,
};
use super::table::{Since, Symbol, TABLE};
use super::*;

/// Settings under `tensorrt` that need nothing of the library.
const NOT_OF_THE_LIBRARY: [&str; 4] = ["flavor", "version", "library", "message_level"];

/// The interface file, a section at a time.
struct Interface(String);

impl Interface {
    fn read() -> Self {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("ffi/tensorrt-abi.toml");
        Self(std::fs::read_to_string(path).unwrap())
    }

    /// The lines under `[name]`; none where there is no such section.
    fn section(&self, name: &str) -> Vec<&str> {
        let lines = self.0.lines().skip_while(|line| *line != format!("[{name}]")).skip(1);
        lines.take_while(|line| !line.starts_with('[')).collect()
    }

    /// From which version on a generation has a symbol.
    fn since(&self, generation: Generation, symbol: Symbol) -> Since {
        let generation = generation.name();
        let method = |class: &str, name: &str| {
            let section = self.section(&format!("gen.{generation}.class.{class}"));
            assert!(!section.is_empty(), "{generation} has no {class}");
            let line =
                section.into_iter().find(|line| line.contains(&format!("name = \"{name}\"")))?;
            Some(line.split_once("since = \"").map(|(_, rest)| rest.to_owned()))
        };
        let enumerator = |enumeration: &str, name: &str| {
            let section = self.section(&format!("gen.{generation}.enum.{enumeration}"));
            section.iter().find(|line| line.starts_with(&format!("{name} = ")))?;
            let since = section.iter().find_map(|line| line.strip_prefix("_since = "));
            let since = since.and_then(|line| line.split_once(&format!(" {name} = \"")));
            Some(since.map(|(_, rest)| rest.to_owned()))
        };
        let found = match symbol {
            Symbol::Config(name) => method("IBuilderConfig", name),
            Symbol::Flag(name) => enumerator("BuilderFlag", name),
            Symbol::Of(enumeration, name) => enumerator(enumeration, name),
        };
        match found {
            None => Since::Never,
            Some(None) => Since::Always,
            Some(Some(version)) => {
                let minor = version.split(['.', '"']).nth(1).unwrap();
                Since::Minor(minor.parse().unwrap())
            }
        }
    }
}

#[test]
fn the_table_says_what_the_interfaces_have() {
    let interface = Interface::read();
    for row in TABLE {
        let name = format!("{} {:?} ({:?})", row.setting, row.value, row.symbol);
        for (column, generation) in Generation::ALL.into_iter().enumerate() {
            let found = interface.since(generation, row.symbol);
            if row.refusal.is_some_and(|(by, _)| by.contains(&generation)) {
                assert_ne!(
                    found,
                    Since::Never,
                    "{name}: {} has nothing to refuse",
                    generation.name()
                );
                assert_eq!(row.since[column], Since::Never, "{name}");
            } else {
                assert_eq!(row.since[column], found, "{name} in {}", generation.name());
            }
        }
        assert_ne!(row.since, [Since::Never; 5], "{name}");
    }
}

#[test]
fn the_columns_are_in_the_order_of_the_generations() {
    for (column, generation) in Generation::ALL.into_iter().enumerate() {
        assert_eq!(generation as usize, column);
    }
}

#[test]
fn known_versions_are_those_of_the_interface_file() {
    let interface = Interface::read();
    for generation in Generation::ALL {
        let section = interface.section(&format!("gen.{}", generation.name()));
        let headers = section.iter().find_map(|line| line.strip_prefix("headers = ")).unwrap();
        let versions: Vec<(u32, u32)> = headers
            .trim_matches(['[', ']'])
            .split(", ")
            .map(|version| {
                let mut parts =
                    version.trim_matches('"').split('.').map(|part| part.parse().unwrap());
                (parts.next().unwrap(), parts.next().unwrap())
            })
            .collect();
        let (major, first, last) = generation.known();
        assert_eq!(versions.iter().min(), Some(&(major, first)), "{}", generation.name());
        assert_eq!(versions.iter().max(), Some(&(major, last)), "{}", generation.name());
    }
}

/// The properties of a type's schema, with the sentences that describe them.
fn described<T: schemars::JsonSchema>() -> Vec<(String, String)> {
    let schema = schemars::schema_for!(T).to_value();
    let properties = schema["properties"].as_object().unwrap().iter();
    let text = |property: &Value| property["description"].as_str().unwrap().replace('\n', " ");
    properties.map(|(name, property)| (name.clone(), text(property))).collect()
}

#[test]
fn every_setting_says_which_versions_have_it() {
    let build = described::<crate::backend::tensorrt::options::PreviewFeatures>().into_iter();
    let preview = build.map(|(name, text)| (format!("preview_features.{name}"), text));
    let settings =
        described::<Settings>().into_iter().filter(|(name, _)| name != "preview_features");
    for (name, text) in settings.chain(preview) {
        let setting = format!("tensorrt.{name}");
        let mut rows = TABLE.iter().filter(|row| row.setting == setting).peekable();
        if NOT_OF_THE_LIBRARY.contains(&name.as_str()) {
            assert!(rows.peek().is_none(), "{setting}");
            continue;
        }
        let first = rows.next().unwrap_or_else(|| panic!("{setting} is not in the table"));
        let sentence = format!(" Available in {}.", versions(first.since));
        // Of `strongly_typed` one value can be had here and the other there.
        assert!(text.ends_with(&sentence), "{setting} should say{sentence:?}, says {text:?}");
    }
}

#[test]
fn every_word_that_not_all_have_says_which_versions_have_it() {
    fn words<T: schemars::JsonSchema>(setting: &str) {
        let whole = TABLE.iter().find(|row| row.setting == setting && row.value.is_none());
        let schema = schemars::schema_for!(T).to_value();
        for choice in schema["oneOf"].as_array().unwrap() {
            let word = choice["const"].as_str().unwrap();
            let row = TABLE.iter().find(|row| row.setting == setting && row.value == Some(word));
            let Some(row) = row else { continue };
            if whole.is_none_or(|whole| whole.since != row.since) {
                let text = choice["description"].as_str().unwrap().replace('\n', " ");
                let sentence = format!(" Available in {}.", versions(row.since));
                assert!(
                    text.ends_with(&sentence),
                    "{setting}: {word} should say{sentence:?}: {text:?}"
                );
            }
        }
    }
    words::<ComputeCapability>("compute_capabilities");
    words::<Precision>("precision");
    words::<super::super::LayerPrecision>("tensorrt.layer_precisions");
    words::<Refit>("tensorrt.refit");
    words::<HardwareCompatibility>("tensorrt.hardware_compatibility");
    words::<TacticSource>("tensorrt.tactic_sources");
}

#[test]
fn every_value_in_the_table_is_one_that_can_be_written() {
    for row in TABLE {
        let Some(value) = row.value else { continue };
        let value = match row.setting {
            "compute_capabilities" | "precision" | "tensorrt.tactic_sources" => json!([value]),
            "tensorrt.layer_precisions" => json!({ "*": value }),
            "tensorrt.strongly_typed" => json!(value == "true"),
            _ => json!(value),
        };
        let options = match row.setting.strip_prefix("tensorrt.") {
            Some(setting) => json!({ "tensorrt": { setting: value } }),
            None => json!({ row.setting: value }),
        };
        let options: Options = serde_json::from_value(options).unwrap();
        // A value at its default asks for nothing.
        let is_asked = options.asked().iter().any(|(setting, value)| row.is_about(setting, value));
        assert!(is_asked, "{row:?} is not about {options:?}");
    }
}

fn version(text: &str) -> LibraryVersion {
    text.parse().unwrap()
}

/// What a library lacks of the options, a line each.
fn lacking(options: &Value, generation: Generation, version_text: &str) -> String {
    let options: Options = serde_json::from_value(options.clone()).unwrap();
    let found = options.unsupported(generation, version(version_text));
    let lines =
        found.iter().map(|error| format!("{}: {} | {}\n", error.setting, error.reason, error.help));
    lines.collect()
}

#[test]
fn the_precision_of_weakly_typed_libraries_is_refused_with_what_replaces_it() {
    let options = json!({
        "precision": ["fp16", "int8"],
        "int8": { "calibrator": "entropy" },
        "tensorrt": { "layer_precisions": { "a.b": "fp16" } },
    });
    assert_eq!(lacking(&options, Generation::V8_6, "8.6.0.12"), "");
    assert_eq!(lacking(&options, Generation::V10, "10.16.0.1"), "");
    insta::assert_snapshot!(lacking(&options, Generation::V11, "11.4.0.1"));
    insta::assert_snapshot!(lacking(&options, Generation::Rtx1_4, "1.4.0.1"));
    let both = lacking(&options, Generation::Rtx1, "1.7.1.116");
    assert_eq!(both.lines().count(), 3, "{both}");
}

#[test]
fn a_later_minor_version_may_have_what_an_earlier_lacks() {
    let options = json!({ "tensorrt": {
        "tiling": "fast",
        "max_tactics": 4,
        "hardware_compatibility": "same_compute_capability",
        "preview_features": { "runtime_activation_resize": true },
    } });
    insta::assert_snapshot!(lacking(&options, Generation::V10, "10.7.3.1"));
    assert_eq!(lacking(&options, Generation::V10, "10.10.0.0"), "");
    assert_eq!(lacking(&options, Generation::V11, "11.0.0.0"), "");
    assert_eq!(lacking(&options, Generation::V8_6, "8.6.1.6").lines().count(), 4);
}

#[test]
fn other_settings_are_refused_by_name_where_they_are_missing() {
    let options = json!({
        "compute_capabilities": ["8.9", "12.1"],
        "tensorrt": {
            "strongly_typed": true,
            "refit": "identical",
            "strip_weights": true,
            "tactic_sources": ["cudnn", "jit_convolutions"],
            "dla_core": 0,
            "timing_cache": "t.cache",
            "preview_features": { "profile_sharing": false },
        },
    });
    insta::assert_snapshot!(lacking(&options, Generation::V8_6, "8.6.0.12"));
    insta::assert_snapshot!(lacking(&options, Generation::Rtx1_4, "1.4.0.1"));
    insta::assert_snapshot!(lacking(&options, Generation::V11, "11.4.0.1"));
}

#[test]
fn weak_typing_is_refused_where_there_is_none() {
    let options = json!({ "tensorrt": { "strongly_typed": false } });
    for (generation, version) in [(Generation::V8_6, "8.6.0.12"), (Generation::V10, "10.0.0.1")] {
        assert_eq!(lacking(&options, generation, version), "");
    }
    insta::assert_snapshot!(
        lacking(&options, Generation::Rtx1, "1.7.1.116"),
        @"tensorrt.strongly_typed: TensorRT-RTX 1.7.1 has no `BuilderFlag::kFP16`; `false` is available in TensorRT 8.6 and 10 | remove it: this library always keeps the types of the model"
    );
}

#[test]
fn bfloat16_is_for_tensorrt_10() {
    let options = json!({
        "precision": ["bf16"],
        "tensorrt": { "layer_precisions": { "/head/*": "bf16" }, "precision_constraints": "prefer" },
    });
    assert_eq!(lacking(&options, Generation::V10, "10.0.0.1"), "");
    insta::assert_snapshot!(lacking(&options, Generation::V8_6, "8.6.0.12"));
    let found = lacking(&options, Generation::V11, "11.0.0.1");
    assert_eq!(found.lines().count(), 3, "{found}");
}

#[test]
fn version_compatible_engines_of_8_6_cannot_be_refitted() {
    let options = json!({ "tensorrt": { "version_compatible": true, "refit": "all" } });
    let found = lacking(&options, Generation::V8_6, "8.6.1.6");
    assert!(found.starts_with("tensorrt.version_compatible: "), "{found}");
    assert_eq!(lacking(&options, Generation::V10, "10.0.1.6"), "");
}

#[test]
fn defaults_are_in_every_library() {
    for generation in Generation::ALL {
        let (major, minor, _) = generation.known();
        let version = LibraryVersion { major, minor, patch: 0, build: 0 };
        assert_eq!(Options::default().unsupported(generation, version), []);
    }
}

#[test]
fn values_are_found_with_the_keys_that_lead_to_them() {
    let mut found = Vec::new();
    leaves("a".into(), &json!({ "b": [1, "x"], "c": { "d.e": true }, "f": [] }), &mut found);
    let found: BTreeSet<(&str, &str)> =
        found.iter().map(|(setting, value)| (setting.as_str(), value.as_str())).collect();
    assert_eq!(found, BTreeSet::from([("a.b", "1"), ("a.b", "x"), ("a.c.d.e", "true")]));
}
