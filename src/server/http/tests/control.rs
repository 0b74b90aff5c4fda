//! The repository: listing, loading, unloading and going back.

use serde_json::json;

use crate::runtime::fake::Fake;

use super::*;

const LOAD: &str = "/v2/repository/models/plain/load";
const UNLOAD: &str = "/v2/repository/models/plain/unload";
const BACK: &str = "/v2/models/plain/rollback";

fn index(server: &Server, body: &'static str) -> Value {
    let answer = server.post("/v2/repository/index", &[], body);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn models_are_listed_by_name_with_what_they_are_doing() {
    let server = Server::new();
    let ready = |name| json!({"name": name, "version": "1", "state": "READY"});
    let all = json!([ready("numbers"), ready("plain"), ready("tiny")]);
    for body in ["", "{}", r#"{"ready":true}"#, r#"{"ready":false,"more":[]}"#] {
        assert_eq!(index(&server, body), all);
    }
    for body in ["hello", "[]", r#"{"ready":"yes"}"#] {
        assert_eq!(server.post("/v2/repository/index", &[], body).status, 400);
    }
    assert_eq!(server.get("/v2/repository/index").status, 405);
    let statistics = server.get("/v2/models/stats").json();
    let names: Vec<&Value> =
        statistics["model_stats"].as_array().unwrap().iter().map(|model| &model["name"]).collect();
    assert_eq!(names, ["numbers", "plain", "tiny"]);
}

#[test]
fn an_unloaded_model_takes_no_requests_until_it_is_loaded_again() {
    let server = Server::new();
    let answer = server.post(UNLOAD, &[], r#"{"parameters":{"unload_dependents":true}}"#);
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
    assert_eq!(server.post(UNLOAD, &[], "").status, 200);
    let listed = &index(&server, "")[1];
    assert_eq!((&listed["name"], &listed["state"]), (&json!("plain"), &json!("UNAVAILABLE")));
    assert!(listed["reason"].is_string(), "{listed}");
    assert_eq!(index(&server, r#"{"ready":true}"#).as_array().unwrap().len(), 2);
    for path in ["/v2/models/plain", "/v2/models/plain/config", "/v2/models/plain/stats"] {
        let answer = server.get(path);
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.error().contains("model `plain` is not ready"), "{answer:?}");
        assert!(answer.headers.contains_key("retry-after"));
    }
    assert_eq!(server.post("/v2/models/plain/infer", &[], "{}").status, 503);
    let answer = server.get("/v2/models/plain/ready");
    assert_eq!((answer.status.as_u16(), &answer.json()["ready"]), (503, &json!(false)));
    let answer = server.get("/v2/health/ready");
    assert_eq!((answer.status.as_u16(), answer.json()), (503, json!({"ready": false})));
    assert_eq!(server.get("/v2/health/live").status, 200);

    let answer = server.post(LOAD, &[], "{}");
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0), "{answer:?}");
    assert_eq!(server.get("/v2/models/plain/ready").status, 200);
    assert_eq!(server.get("/v2/health/ready").status, 200);
}

#[test]
fn a_model_is_loaded_as_it_was_deployed() {
    let server = Server::new();
    for parameter in ["config", "file:1/model.onnx", "other"] {
        let body = json!({"parameters": {parameter: "{}"}}).to_string();
        let answer = server.post(LOAD, &[], body);
        assert_eq!(answer.status, 501, "{answer:?}");
        assert!(answer.error().contains(&format!("leave the parameter `{parameter}` out")));
    }
    assert_eq!(server.post(LOAD, &[], "hello").status, 400);
    for change in ["load", "unload"] {
        let path = format!("/v2/repository/models/plane/{change}");
        let answer = server.post(&path, &[], "");
        assert_eq!(answer.status, 404, "{answer:?}");
        assert!(answer.error().contains("unknown model `plane`; did you mean `plain`?"));
    }
}

#[test]
fn a_version_is_taken_back_for_the_one_before_it() {
    let mut server = Server::new();
    let answer = server.post(BACK, &[], "");
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.error().contains("no version before this one"), "{answer:?}");
    assert_eq!(server.post("/v2/models/none/rollback", &[], "").status, 404);

    let mut other = Fake::default();
    other.factor = 3.0;
    server.models.serve(&Arc::new(other), "plain", |config| config.instances = 2);
    assert_eq!(
        server.get("/v2/models/plain").json()["versions"].as_array().unwrap().last(),
        Some(&json!("2"))
    );
    let versions = server.get("/v2/models/plain/versions").json();
    assert_eq!(versions["name"], "plain");
    assert_eq!(versions["versions"][0]["version"], 2);
    assert_eq!(versions["versions"][0]["state"], "serving");
    assert_eq!(versions["versions"][1]["version"], 1);
    let record = server.post(BACK, &[], "");
    assert_eq!(record.status, 200, "{record:?}");
    let record = record.json();
    assert_eq!((&record["from"], &record["to"]), (&json!(2), &json!(1)));
    assert_eq!(server.get("/v2/models/plain/versions").json()["versions"][0]["version"], 1);
    assert_eq!(server.get("/v2/models/none/versions").status, 404);
}
