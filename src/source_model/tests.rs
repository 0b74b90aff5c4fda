//! Detection and description of every kind, from files that the frameworks wrote.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn model(name: &str) -> SourceModel {
    detect(&fixture("source_models").join(name)).unwrap()
}

#[test]
fn every_kind_is_found_by_its_content_with_the_reason() {
    let cases = [
        ("script.pt", SourceKind::TorchScript, "code/__torch__/torch/nn/modules/container.py"),
        ("program.pt2", SourceKind::ExportedProgram, "the graph `program/models/model.json`"),
        ("program_2_5.pt2", SourceKind::ExportedProgram, "`serialized_exported_program.json`"),
        ("state.pth", SourceKind::TorchStateDict, "a dictionary with tensors"),
        ("state_protocol_4.pth", SourceKind::TorchStateDict, "a dictionary with tensors"),
        ("checkpoint.pt", SourceKind::TorchStateDict, "a dictionary with tensors"),
        ("legacy.pth", SourceKind::TorchStateDict, "the older format of `torch.save`"),
        ("module.pth", SourceKind::TorchModule, "`torch.nn.modules.container.Sequential`"),
        ("weights.safetensors", SourceKind::Safetensors, "lists 3 tensors"),
        ("saved_model", SourceKind::SavedModel, "tagged graphs"),
        ("saved_model/saved_model.pb", SourceKind::SavedModel, "tagged graphs"),
        ("frozen.pb", SourceKind::GraphDef, "nodes of TensorFlow"),
        ("net.keras", SourceKind::Keras, "`config.json` and `model.weights.h5`"),
        ("net.h5", SourceKind::Keras, "HDF5"),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, kind, why) in cases {
        let found = model(name);
        assert_eq!(found.kind, kind, "{name}");
        assert!(found.why.contains(why), "{name}: {}", found.why);
        // A folder's files have their names; those of a file do not matter.
        if !name.starts_with("saved_model") {
            let renamed = folder.path().join("x.onnx");
            fs::copy(found.path, &renamed).unwrap();
            assert_eq!(detect(&renamed).unwrap().kind, kind, "{name} under another name");
        }
    }
    let onnx = detect(&fixture("onnx/mlp.onnx")).unwrap();
    assert_eq!(onnx.kind, SourceKind::Onnx);
    assert!(onnx.why.contains("the graph of an ONNX model"), "{}", onnx.why);
}
