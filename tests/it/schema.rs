//! Generated files are what the types say.

use serde_json::{Map, Value};
use trt_pipeline::spec::schema::pipeline_schema;

use crate::support::repository;

fn drift(file: &str, generated: &str) {
    let path = repository().join("schemas").join(file);
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "schemas/{file} is not what the types say: run `UPDATE_SCHEMAS=1 cargo test schema`"
    );
}

#[test]
fn the_pipeline_schema_is_what_the_types_say() {
    drift("pipeline.schema.json", &trt_pipeline::spec::schema::pipeline_schema_text());
}

#[test]
fn the_events_schema_is_what_the_types_say() {
    drift("events.schema.json", &trt_pipeline::execute::event::events_schema_text());
}

/// Calls `visit` with every schema in `schema` and the path to it.
fn each_schema(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Map<String, Value>)) {
    let Some(object) = schema.as_object() else { return };
    visit(path, object);
    for key in ["properties", "definitions"] {
        for (name, inner) in schema[key].as_object().into_iter().flatten() {
            each_schema(&format!("{path}.{name}"), inner, visit);
        }
    }
    for key in ["additionalProperties", "items"] {
        each_schema(&format!("{path}.{key}"), &schema[key], visit);
    }
    for key in ["anyOf", "oneOf"] {
        for choice in schema[key].as_array().into_iter().flatten() {
            each_schema(path, choice, visit);
        }
    }
}

#[test]
fn every_setting_has_a_doc_sentence() {
    let mut settings = 0;
    each_schema("spec", &pipeline_schema(), &mut |path, schema| {
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            settings += 1;
            let text = property["description"].as_str().unwrap_or_default();
            let sentence = text.len() > 8 && text.ends_with('.');
            assert!(sentence, "{path}.{name} is described as {text:?}");
        }
    });
    assert!(settings > 50, "only {settings} settings were looked at");
}

#[test]
fn nothing_stands_in_an_editors_way() {
    each_schema("spec", &pipeline_schema(), &mut |path, schema| {
        assert!(!schema.contains_key("title"), "{path} has a title, which hides its text");
        let nullable = ["type", "default"].map(|key| schema.get(key).map(Value::to_string));
        let nullable = nullable.iter().flatten().any(|text| text.contains("null"));
        assert!(!nullable, "{path} offers null");
        for choice in schema.get("anyOf").and_then(Value::as_array).into_iter().flatten() {
            let described = choice.get("description");
            assert_eq!(described, None, "a choice of {path} hides the field's own text");
        }
    });
}

#[test]
fn a_variable_may_stand_for_every_setting_that_is_not_text() {
    let schema = pipeline_schema();
    let text = |schema: &Value| schema["type"] == "string" && schema.get("enum").is_none();
    let definitions = schema["definitions"].as_object().unwrap();
    assert!(definitions.len() > 6, "{definitions:?}");
    for (name, definition) in definitions.iter().filter(|(name, _)| *name != "Stage") {
        each_schema(name, definition, &mut |path, schema| {
            let properties = schema.get("properties").and_then(Value::as_object);
            let named = properties.into_iter().flatten().map(|(_, property)| property);
            let others =
                ["items", "additionalProperties"].into_iter().filter_map(|k| schema.get(k));
            for value in named.chain(others).filter(|value| value.is_object()) {
                let choices = value["anyOf"].as_array();
                let takes_text = text(value) || choices.into_iter().flatten().any(text);
                assert!(takes_text, "{path} holds {value}");
            }
        });
    }
}
