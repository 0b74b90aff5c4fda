//! The JSON Schema of specs, from the types that read them.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use crate::source::Spanned;
use crate::stage::StageSpec;

/// A declarative pipeline: from a trained model to a gated inference endpoint.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes the file; spec::Reader reads it key by key")]
struct PipelineFile {
    /// Version of the spec language; this build knows 1.
    #[schemars(extend("const" = 1))]
    version: u32,
    /// The pipeline's name: letters, digits, `_` and `-`. Defaults to the file's or folder's name.
    #[schemars(default)]
    name: Option<Spanned<String>>,
    /// Values to use as `${name}` below; `--set name=value` overrides them.
    #[schemars(default)]
    vars: Option<BTreeMap<String, Value>>,
    /// The stages by name. A stage has exactly one kind; edges follow from what it refers to.
    #[schemars(extend("minProperties" = 1))]
    stages: BTreeMap<String, StageSpec>,
}

/// The schema of spec files, as in `schemas/pipeline.schema.json`.
pub fn pipeline_schema() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<PipelineFile>();
    Tidy.transform(&mut schema);
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".into(), json!("trt-pipeline spec"));
        if let Some(stage) = object
            .get_mut("properties")
            .and_then(|properties| properties.get_mut("stages"))
            .and_then(Value::as_object_mut)
        {
            stage.insert("propertyNames".into(), json!({ "pattern": crate::stage::NAME_PATTERN }));
        }
    }
    schema.to_value()
}

/// The text of `schemas/pipeline.schema.json`.
pub fn pipeline_schema_text() -> String {
    let mut text = serde_json::to_string_pretty(&pipeline_schema()).unwrap_or_default();
    text.push('\n');
    text
}

/// Optional keys may be left out but not be null, and integer formats mean nothing in YAML.
struct Tidy;

impl Transform for Tidy {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(object) = schema.as_object_mut() {
            object.remove("format");
            if object.get("default") == Some(&Value::Null) {
                object.remove("default");
            }
            if let Some(Value::Array(kinds)) = object.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [only] = &kinds[..] {
                    let only = only.clone();
                    object.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
                choices.retain(|choice| *choice != json!({ "type": "null" }));
                if choices.len() == 1
                    && let Some(Value::Object(only)) = choices.pop()
                {
                    object.remove("anyOf");
                    for (key, value) in only {
                        object.entry(key).or_insert(value);
                    }
                }
            }
        }
        transform_subschemas(self, schema);
    }
}
