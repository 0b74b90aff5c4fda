//! Engines that need more than their plan: weights that were left out, plug-ins.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use trt_pipeline::backend::BackendError;

use crate::tensorrt_engines::{Built, fill, generations, gpu, output, run, v8_6, v10};

const DIGITS: &str = "      profiles:
        - image: { min: [1, 1, 8, 8], opt: [8, 1, 8, 8], max: [32, 1, 8, 8] }
";

/// What an engine makes of some input.
fn result(built: &Built) -> Vec<u8> {
    let mut context = built.context();
    fill(context.as_mut(), 0, &[2, 1, 8, 8]);
    context.run().unwrap();
    output(context.as_ref(), 0).1
}

#[test]
fn an_engine_without_weights_gets_them_back_when_it_is_loaded() {
    const STRIPPED: &str = "      tensorrt: { strip_weights: true, refit: identical }\n";
    // 8.6 builds none.
    for tensorrt in generations().into_iter().filter(|one| !one.name().contains("8.6")) {
        run(&tensorrt, gpu(), || {
            let whole = Built::new("digits_fp32", DIGITS);
            let stripped = Built::new("digits_fp32", &format!("{DIGITS}{STRIPPED}"));
            assert!(stripped.folder().join("model.onnx").is_file());
            assert_eq!(result(&stripped), result(&whole));
        });
    }
}

#[test]
fn several_engines_without_weights_can_be_measured() {
    run(&v10(), gpu(), || {
        let several = "      builds: 2\n      tensorrt: { strip_weights: true, refit: all }\n";
        let built = Built::new("digits_fp32", &format!("{DIGITS}{several}"));
        let facts = built.manifest.tensorrt.as_ref().unwrap();
        assert_eq!(facts.build.candidates_ms.len(), 2);
        result(&built);
    });
}

/// A library of plug-ins, which has none.
fn plugin(folder: &TempDir) -> String {
    let (file, source) = (folder.path().join("libmine.so"), folder.path().join("mine.c"));
    fs::write(&source, "void *getPluginCreators(int *count) { *count = 0; return 0; }").unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(&file).arg(source);
    assert!(cc.status().unwrap().success());
    file.display().to_string()
}

fn is_loaded(file: &Path) -> bool {
    let file = fs::canonicalize(file).unwrap();
    fs::read_to_string("/proc/self/maps").unwrap().contains(file.to_str().unwrap())
}

#[test]
fn an_engine_brings_its_plugins_and_takes_them_away() {
    for tensorrt in [v8_6(), v10()] {
        run(&tensorrt, gpu(), || {
            let folder = TempDir::new().unwrap();
            let plugins = format!("{DIGITS}      plugins: [{}]\n", plugin(&folder));
            let built = Built::new("digits_fp32", &plugins);
            drop(folder);
            let copy = built.folder().join("plugins/0-libmine.so");
            let engine = built.load().unwrap();
            assert!(is_loaded(&copy));
            let context = Arc::clone(&engine).new_context().unwrap();
            drop(engine);
            assert!(is_loaded(&copy), "its context may still call it");
            drop(context);
            assert!(!is_loaded(&copy));
        });
    }
}

#[test]
fn a_plugin_that_does_not_load_is_named_with_the_loaders_reason() {
    run(&v10(), gpu(), || {
        let folder = TempDir::new().unwrap();
        let plugins = format!("{DIGITS}      plugins: [{}]\n", plugin(&folder));
        let mut built = Built::new("digits_fp32", &plugins);
        let facts = built.manifest.tensorrt.as_mut().unwrap();
        facts.plugins = vec!["engine.json".into()];
        match built.load().map(|_| ()).unwrap_err() {
            BackendError::Setting { setting, reason, .. } => {
                assert_eq!(setting, "plugins");
                assert!(reason.contains("engine.json: invalid ELF header"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    });
}
