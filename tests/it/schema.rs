//! Generated files are what the types say.

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

#[test]
fn every_setting_has_a_doc_sentence() {
    fn walk(path: &str, schema: &serde_json::Value) {
        if !schema.is_object() {
            return;
        }
        if let Some(properties) = schema["properties"].as_object() {
            for (name, property) in properties {
                let path = format!("{path}.{name}");
                let described = property["description"].as_str().is_some_and(|text| text.len() > 8);
                assert!(described, "{path} has no description: {property}");
                walk(&path, property);
            }
        }
        for key in ["additionalProperties", "items"] {
            walk(path, &schema[key]);
        }
        for choice in schema["anyOf"].as_array().into_iter().flatten() {
            walk(path, choice);
        }
    }
    walk("spec", &trt_pipeline::spec::schema::pipeline_schema());
}
