//! Who may use whom. The compiler does not check this inside one crate; this test does.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::repository;

/// Words that the others share, and what they use of each other.
const SHARED: [&str; 15] = [
    "source",
    "tensor",
    "onnx",
    "source_model",
    "artifact",
    "deployment",
    "data",
    "calibration",
    "suggest",
    "process",
    "progress",
    "times",
    "kserve",
    "difference",
    "search",
];

/// Module => modules it may use beside the shared words.
const ALLOWED: [(&str, &[&str]); 11] = [
    ("backend", &[]),
    ("stage", &["backend"]),
    ("spec", &["stage"]),
    ("plan", &["spec", "stage"]),
    ("execute", &["plan", "stage", "backend"]),
    ("bench", &["backend", "runtime"]),
    ("runtime", &["backend"]),
    ("inference", &["backend", "runtime"]),
    ("server", &["runtime"]),
    (
        "cli",
        &["spec", "plan", "execute", "stage", "backend", "bench", "runtime", "server", "watch"],
    ),
    ("main", &["cli"]),
];

/// Files that may have unsafe code.
const UNSAFE_FILES: [&str; 10] = [
    // The environment is changed before there are threads.
    "/src/main.rs",
    "/backend/cuda/context.rs",
    "/backend/cuda/driver.rs",
    "/backend/cuda/event.rs",
    "/backend/cuda/fault.rs",
    "/backend/cuda/graph.rs",
    "/backend/cuda/memory.rs",
    "/backend/cuda/stream.rs",
    // Contexts share one session, and FP8 tensors are handed over: no safe call does either.
    "/backend/onnxruntime/raw.rs",
    // The C library's allocator is asked to tidy up.
    "/process/memory.rs",
];

fn used_modules(text: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for line in text.lines() {
        let code = line.trim_start();
        if code.starts_with("//") {
            continue;
        }
        // Fake engines are there in tests only, for all of them.
        let pieces = code.split("crate::").skip(1);
        for piece in pieces.filter(|piece| !piece.starts_with("backend::fake")) {
            let names = piece.strip_prefix('{').unwrap_or(piece);
            let name: String =
                names.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            used.insert(name);
        }
    }
    used
}

fn check(folder: &Path, module: &str) {
    let mut files = vec![folder.to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let allowed = ALLOWED.iter().find(|(name, _)| *name == module).map_or(&[][..], |(_, m)| m);
        for used in used_modules(&std::fs::read_to_string(&path).unwrap()) {
            let fine = used == module
                || SHARED.contains(&used.as_str())
                || allowed.contains(&used.as_str());
            assert!(fine, "{} uses crate::{used}, which `{module}` must not know", path.display());
        }
    }
}

#[test]
fn modules_use_only_what_they_may() {
    for entry in std::fs::read_dir(repository().join("src")).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if module != "lib" {
            check(&path, &module);
        }
    }
}

#[test]
fn unsafe_code_stays_behind_its_fence() {
    let mut files = vec![repository().join("src")];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.display().to_string();
        let fenced = name.contains("/backend/tensorrt/")
            || UNSAFE_FILES.iter().any(|file| name.ends_with(file));
        if path.extension().is_some_and(|extension| extension == "rs") && !fenced {
            let text = std::fs::read_to_string(&path).unwrap();
            let found = text.lines().any(|line| {
                !line.trim_start().starts_with("//")
                    && line.contains("unsafe ")
                    && !line.contains('"')
            });
            assert!(!found, "{name} has unsafe code outside the fence");
        }
    }
}
