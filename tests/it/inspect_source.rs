//! `inspect` of the models of other frameworks.

use serde_json::json;

use crate::support::{Project, fixture, with_filters};

fn with_models() -> Project {
    let project = Project::empty();
    for name in [
        "script.pt",
        "program.pt2",
        "state.pth",
        "module.pth",
        "weights.safetensors",
        "saved_model/saved_model.pb",
        "frozen.pb",
        "net.keras",
        "net.h5",
        "list.pth",
    ] {
        project.copy(&fixture(&format!("source_models/{name}")), name);
    }
    project.write("x.plan", [b"ftrt".as_slice(), &[0; 60]].concat());
    project
}

#[test]
fn every_kind_is_shown_with_the_reason_and_what_convert_needs() {
    let project = with_models();
    let names = [
        "script.pt",
        "program.pt2",
        "state.pth",
        "module.pth",
        "weights.safetensors",
        "saved_model",
        "frozen.pb",
        "net.keras",
        "net.h5",
        "x.plan",
        "list.pth",
    ];
    let seen: Vec<String> = names.map(|name| project.trt(&["inspect", name]).seen()).into();
    with_filters(|| insta::assert_snapshot!("inspect_source", seen.join("\n")));
}

#[test]
fn programs_get_the_same_as_json() {
    let project = with_models();
    let event = &project.trt(&["inspect", "saved_model", "--format", "json"]).events()[0];
    assert_eq!((&event["event"], &event["kind"]), (&json!("source_model"), &json!("saved_model")));
    assert_eq!(event["convertible"], true);
    assert_eq!(event["description"]["signatures"][1]["inputs"][0]["shape"], json!([null, 4]));
    let event = &project.trt(&["inspect", "weights.safetensors", "--format", "json"]).events()[0];
    assert_eq!(event["description"]["tensors"]["dtypes"], json!({ "F32": 2, "I64": 1 }));
    let event = &project.trt(&["inspect", "module.pth", "--format", "json"]).events()[0];
    assert_eq!((&event["kind"], &event["convertible"]), (&json!("torch_module"), &json!(false)));
}

#[test]
fn a_long_list_of_weights_is_cut_unless_all_are_asked_for() {
    let project = Project::empty();
    let entry =
        |at| format!(r#""layer{at:02}":{{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}"#);
    let header = format!("{{{}}}", (0..30).map(entry).collect::<Vec<_>>().join(","));
    let length = (header.len() as u64).to_le_bytes();
    project.write("w.safetensors", [&length, header.as_bytes(), &[0; 2]].concat());
    let cut = project.trt(&["inspect", "w.safetensors"]).stdout;
    assert!(cut.contains("\n6 more tensors; `--layers` shows all\n"), "{cut}");
    assert!(cut.contains("layer23") && !cut.contains("layer24"), "{cut}");
    let all = project.trt(&["inspect", "w.safetensors", "--layers"]).stdout;
    assert!(all.contains("layer29") && !all.contains("more tensors"), "{all}");
}

#[test]
fn two_models_of_other_frameworks_are_compared() {
    let project = with_models();
    let ran = project.trt(&["inspect", "--diff", "script.pt", "net.keras"]).stdout;
    assert!(ran.contains("a TorchScript program") && ran.contains("a Keras model"), "{ran}");
}
