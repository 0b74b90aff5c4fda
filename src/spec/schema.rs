//! The JSON Schema of specs, from the types that read them.
//!
//! Owns the shape that editors get the most out of: a field's own text is what shows on hover,
//! the typed form comes before `${x}`, and nothing offers `null`.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::stage::{KINDS, NAME_PATTERN, StageSpec};

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
    name: Option<String>,
    /// Values to use as `${name}` below; `--set name=value` overrides them.
    #[schemars(default)]
    vars: Option<BTreeMap<String, Value>>,
    /// The stages by name. A stage has exactly one kind; edges follow from what it refers to.
    #[schemars(extend("minProperties" = 1, "propertyNames" = { "pattern": NAME_PATTERN }))]
    stages: BTreeMap<String, StageSpec>,
}

/// The schema of spec files, as in `schemas/pipeline.schema.json`.
pub fn pipeline_schema() -> Value {
    let mut settings = SchemaSettings::draft07();
    // They would move a `$ref` away from the description beside it, which editors read there.
    settings.transforms.clear();
    let mut schema = settings.into_generator().into_root_schema_for::<PipelineFile>();
    Tidy.transform(&mut schema);
    if let Some(Value::Object(definitions)) = schema.get_mut("definitions") {
        let mut templates = Templates { texts: take_descriptions(definitions) };
        for (name, definition) in definitions {
            if *name == StageSpec::schema_name() {
                templates.in_stage(definition);
            } else if let Ok(definition) = definition.try_into() {
                templates.transform(definition);
            }
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

/// Takes the description of every definition but the stage's: where one stands in a choice,
/// editors show it in place of the field's own.
fn take_descriptions(definitions: &mut Map<String, Value>) -> BTreeMap<String, Value> {
    let stage = StageSpec::schema_name();
    definitions
        .iter_mut()
        .filter(|(name, _)| **name != stage)
        .filter_map(|(name, definition)| {
            let text = definition.as_object_mut()?.remove("description")?;
            Some((format!("#/definitions/{name}"), text))
        })
        .collect()
}

/// Takes out what means nothing in YAML or stands in an editor's way, and puts the rest as
/// editors read it.
struct Tidy;

impl Transform for Tidy {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(object) = schema.as_object_mut() {
            object.remove("format");
            // Shown instead of what the field is for, and offered as if it were a key.
            object.remove("title");
            // Editors fill a default in; only a scalar helps there.
            if object.get("default").is_some_and(|value| {
                matches!(value, Value::Null | Value::Array(_) | Value::Object(_))
            }) {
                object.remove("default");
            }
            if let Some(Value::String(text)) = object.get_mut("description") {
                *text = one_line_a_paragraph(text);
            }
            without_null(object);
            documented_words(object);
        }
        transform_subschemas(self, schema);
    }
}

/// Editors show every line end of a description as the end of a paragraph.
fn one_line_a_paragraph(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

/// Optional keys may be left out but not be null.
fn without_null(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| *choice != json!({ "type": "null" }));
        if let [Value::Object(only)] = &choices[..] {
            let only = only.clone();
            object.remove("anyOf");
            for (key, value) in only {
                object.entry(key).or_insert(value);
            }
        }
    }
}

/// Makes one `enum` of a choice between documented words.
fn documented_words(object: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = object.get("oneOf") else { return };
    let word = |choice: &Value| {
        let text = choice.get("description")?.as_str()?;
        Some((choice.get("const")?.clone(), Value::String(one_line_a_paragraph(text))))
    };
    let Some((words, texts)) = choices.iter().map(word).collect::<Option<(Vec<_>, Vec<_>)>>()
    else {
        return;
    };
    object.remove("oneOf");
    object.insert("type".into(), "string".into());
    object.insert("enum".into(), words.into());
    object.insert("enumDescriptions".into(), texts.into());
}

/// Says that `${x}` may stand for every value that is not text already.
struct Templates {
    /// What the definitions are, by reference.
    texts: BTreeMap<String, Value>,
}

impl Transform for Templates {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        if let Some(Value::Object(properties)) = object.get_mut("properties") {
            properties.values_mut().for_each(|property| self.or_template(property));
        }
        for key in ["items", "additionalProperties"] {
            if let Some(value) = object.get_mut(key) {
                self.or_template(value);
            }
        }
    }
}

impl Templates {
    /// A stage's kinds are written out: editors complete and explain a plain reference best. The
    /// whole text of the settings stands there, which says more than the line in the list of kinds.
    fn in_stage(&self, stage: &mut Value) {
        let Some(Value::Object(properties)) = stage.get_mut("properties") else { return };
        for (name, property) in properties {
            if !KINDS.contains(&name.as_str()) {
                self.or_template(property);
            } else if let Some(kind) = property.as_object_mut() {
                let text = self.text_of_target(kind);
                kind.extend(text.map(|text| ("description".into(), text)));
            }
        }
    }

    fn or_template(&self, schema: &mut Value) {
        if takes_any_text(schema) {
            return;
        }
        let Some(typed) = schema.as_object_mut() else { return };
        let mut field = Map::new();
        let text = typed.remove("description").or_else(|| self.text_of_target(typed));
        field.extend(text.map(|text| ("description".into(), text)));
        field.extend(typed.remove("default").map(|value| ("default".into(), value)));
        // The typed form comes first: it is what editors offer, and whose mistakes they name.
        let template = json!({ "type": "string", "pattern": r"^\$\{[^}]+\}$" });
        field.insert("anyOf".into(), json!([typed, template]));
        *schema = Value::Object(field);
    }

    /// The text of the definition that a schema is a reference to.
    fn text_of_target(&self, schema: &Map<String, Value>) -> Option<Value> {
        self.texts.get(schema.get("$ref")?.as_str()?).cloned()
    }
}

fn takes_any_text(schema: &Value) -> bool {
    match schema.get("anyOf") {
        Some(Value::Array(choices)) => choices.iter().any(takes_any_text),
        _ => {
            schema.get("type").is_some_and(|name| name == "string")
                && schema.get("enum").is_none()
                && schema.get("pattern").is_none()
        }
    }
}
