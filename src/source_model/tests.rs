//! Detection and description of every kind, from files that the frameworks wrote.

use std::fs::{self, File};
use std::io::Write;
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

/// Bytes in a file, and what is said of it.
fn refusal(name: &str, bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    told(folder.path(), &detect(&path).expect_err(name))
}

fn told(folder: &Path, error: &SourceModelError) -> String {
    let text = format!("{error}\n  help: {}\n", error.help().unwrap_or_default());
    text.replace(&folder.display().to_string(), "..")
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(fixture("source_models").join(name)).unwrap()
}

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in members {
        archive.start_file(*name, zip::write::FileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn safetensors(length: u64, header: &str) -> Vec<u8> {
    [&length.to_le_bytes(), header.as_bytes()].concat()
}

#[test]
fn what_is_no_model_is_refused_with_the_reason_and_a_next_step() {
    let state = bytes("state.pth");
    let frozen = bytes("frozen.pb");
    let saved = bytes("saved_model/saved_model.pb");
    let header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let long = header.len() as u64;
    let bad_pickle: &[u8] = b"\x80\x02\xff.";
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty.pt", vec![]),
        ("truncated.pth", state[..state.len() / 2].to_vec()),
        ("nothing_known.zip", zip(&[("a.txt", b"a"), ("../../b\x1b[2J.txt", b"b")])),
        ("bad_pickle.pt", zip(&[("x/data.pkl", bad_pickle), ("x/version", b"3")])),
        ("half_a_pickle.pt", zip(&[("x/data.pkl", b"\x80\x02}q")])),
        ("list.pth", bytes("list.pth")),
        ("tensor.pth", bytes("tensor.pth")),
        ("settings.pkl", bytes("settings.pkl")),
        ("evil.pkl", b"\x80\x02cos\nsystem\nX\x02\0\0\0lsR.".to_vec()),
        ("truncated_legacy.pth", bytes("legacy.pth")[..200].to_vec()),
        ("endless_text.pkl", b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec()),
        ("compiled.pt2", zip(&[("m/archive_format", b"pt2"), ("m/data/aotinductor/m.so", b"")])),
        ("huge_header.safetensors", safetensors(1 << 63, header)),
        ("long_header.safetensors", safetensors(long + 9, header)),
        ("no_data.safetensors", safetensors(long, header)),
        ("no_tensors.safetensors", safetensors(2, "{}")),
        ("no_json.safetensors", safetensors(long, &header.replace("32\"", "32 "))),
        ("backwards.safetensors", safetensors(long, &header.replace("0,8", "8,0"))),
        ("truncated.pb", frozen[..frozen.len() / 2].to_vec()),
        ("one_long_node.pb", b"\x0a\xff\xff\xff\xff\x07\x0a\x01x".to_vec()),
        ("saved_model.pb", saved[..saved.len() - 5].to_vec()),
        ("renamed.pb", saved),
        ("page.pt", b"<!DOCTYPE html><html></html>".to_vec()),
        ("pointer.pt", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n".to_vec()),
        ("model.tflite", b"\x1c\0\0\0TFL3\0\0\0\0".to_vec()),
        ("packed.pt.gz", b"\x1f\x8b\x08\0\0\0\0\0".to_vec()),
        ("graph.pbtxt", b"node { name: \"x\" }\n".to_vec()),
        ("noise.bin", vec![0xa5; 600]),
    ];
    let seen: Vec<String> = cases.iter().map(|(name, bytes)| refusal(name, bytes)).collect();
    insta::assert_snapshot!("refused_source_models", seen.concat());
}

#[test]
fn folders_without_a_model_and_what_is_no_file_are_refused() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["exported/variables", "weights", "both"] {
        fs::create_dir_all(at(name)).unwrap();
    }
    fs::write(at("weights/model.safetensors"), "").unwrap();
    fs::write(at("weights/config.json"), "{}").unwrap();
    fs::write(at("both/a.onnx"), "").unwrap();
    fs::write(at("both/b.onnx"), "").unwrap();
    symlink(at("loop_b"), at("loop_a")).unwrap();
    symlink(at("loop_a"), at("loop_b")).unwrap();
    fs::create_dir(at("loops")).unwrap();
    symlink(at("loops"), at("loops/saved_model.pb")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe.pt"), rustix::fs::Mode::RWXU).unwrap();
    let names = ["exported", "weights", "both", "loop_a", "loops", "pipe.pt", "missing.pt"];
    let refused = |name: &str| told(folder.path(), &detect(&at(name)).unwrap_err());
    insta::assert_snapshot!("refused_folders", names.map(refused).concat());
}

#[test]
fn a_folder_with_a_hundred_thousand_files_is_looked_through() {
    let folder = tempfile::tempdir().unwrap();
    for at in 0..100_000 {
        File::create(folder.path().join(format!("{at}.txt"))).unwrap();
    }
    fs::copy(fixture("onnx/mlp.onnx"), folder.path().join("net.onnx")).unwrap();
    assert_eq!(detect(folder.path()).unwrap().path, folder.path().join("net.onnx"));
    for at in 0..20 {
        File::create(folder.path().join(format!("{at:02}.onnx"))).unwrap();
    }
    let text = detect(folder.path()).unwrap_err().to_string();
    assert!(text.ends_with("08.onnx, 09.onnx, and 11 more"), "{text}");
}

#[test]
fn onnx_models_that_are_cut_off_are_left_to_their_own_reader() {
    let folder = tempfile::tempdir().unwrap();
    let model = fs::read(fixture("onnx/mlp.onnx")).unwrap();
    for name in ["net.onnx", "net.bin"] {
        let path = folder.path().join(name);
        fs::write(&path, &model[..model.len() / 2]).unwrap();
        assert_eq!(detect(&path).unwrap().kind, SourceKind::Onnx, "{name}");
    }
}

#[test]
fn an_engine_is_told_how_to_be_used_under_the_users_own_path() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("x.bin", &b"ftrt\x01\0\0\0"[..]), ("x.plan", &[0xee; 64])] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let model = detect(&path).unwrap();
        assert_eq!(model.kind, SourceKind::Engine, "{name}");
        assert!(!model.kind.is_convertible());
        let needs = model.needs("../engines/x, 2.plan");
        let expected = r#"`from: { file: "../engines/x, 2.plan", kind: engine }`"#;
        assert!(needs.ends_with(expected), "{needs}");
        assert!(model.needs("a/x.plan").ends_with("`from: { file: a/x.plan, kind: engine }`"));
    }
}

#[test]
fn archives_that_lie_about_themselves_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pt");
    // A pickle of 70 MB of zeros in 70 kB; its end is never reached.
    let bomb = [b"\x80\x02B\0\0\x5e\x04".as_slice(), &vec![0; 70 << 20], b"."].concat();
    fs::write(&path, zip(&[("x/data.pkl", &bomb)])).unwrap();
    let text = detect(&path).unwrap_err().to_string();
    assert!(text.contains("damaged: `x/data.pkl`: "), "{text}");
    // Every number in the directory's end says "as many as there can be", in a file of 1 TB.
    let state = bytes("net.keras");
    let (start, end) = state.split_at(state.len() - 22);
    let liar = [start, &end[..8], &[0xff; 12], &end[20..]].concat();
    fs::write(&path, liar).unwrap();
    assert!(matches!(detect(&path), Err(SourceModelError::Damaged { .. })));
    File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(detect(&path), Err(SourceModelError::Damaged { .. })));
    // Many members, of which one tells.
    let names: Vec<String> = (0..30_000).map(|at| format!("x/data/{at}")).collect();
    let mut members: Vec<(&str, &[u8])> = names.iter().map(|name| (&**name, &b""[..])).collect();
    let pickle = b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\ns.";
    members.push(("x/data.pkl", pickle));
    fs::write(&path, zip(&members)).unwrap();
    assert_eq!(detect(&path).unwrap().kind, SourceKind::TorchStateDict);
}

#[test]
fn no_prefix_and_no_flipped_byte_of_a_model_causes_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let names = [
        "script.pt",
        "program.pt2",
        "state_protocol_4.pth",
        "legacy.pth",
        "weights.safetensors",
        "frozen.pb",
        "net.keras",
    ];
    for name in names {
        let whole = bytes(name);
        let step = whole.len() / 97 + 1;
        for at in (0..whole.len()).step_by(step).chain(whole.len().saturating_sub(64)..whole.len())
        {
            let mut flipped = whole.clone();
            flipped[at] ^= 0xff;
            for content in [&whole[..at], &flipped] {
                fs::write(&path, content).unwrap();
                if let Ok(model) = detect(&path) {
                    drop(model.describe());
                }
            }
        }
    }
}

#[test]
fn models_tell_how_they_are_called() {
    let names = [
        "script.pt",
        "program.pt2",
        "program_2_5.pt2",
        "weights.safetensors",
        "saved_model",
        "frozen.pb",
        "net.keras",
        "net.h5",
    ];
    let described = names.map(|name| (name, model(name).describe().unwrap()));
    let value = serde_json::to_string_pretty(&described).unwrap();
    insta::assert_snapshot!("descriptions", value);
}

#[test]
fn the_names_of_the_kinds_are_those_of_requests() {
    let kinds = [
        (SourceKind::Onnx, "onnx"),
        (SourceKind::TorchScript, "torch_script"),
        (SourceKind::ExportedProgram, "exported_program"),
        (SourceKind::TorchStateDict, "torch_state_dict"),
        (SourceKind::Safetensors, "safetensors"),
        (SourceKind::SavedModel, "saved_model"),
        (SourceKind::GraphDef, "graph_def"),
        (SourceKind::Keras, "keras"),
        (SourceKind::Engine, "engine"),
    ];
    for (kind, name) in kinds {
        assert_eq!(serde_json::to_value(kind).unwrap(), name);
    }
}
