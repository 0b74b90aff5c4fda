//! Our side of the comparison of optimizers: reads the paths of models from standard input, one a
//! line, and answers each with what became of it and how long that took in memory. A folder after
//! a tab is where the result is saved. Settings of `optimize`, as JSON, may be the only argument.

use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use trt_pipeline::onnx::Model;
use trt_pipeline::process::CancelToken;
use trt_pipeline::stage::optimize::Optimize;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = std::env::args().nth(1).unwrap_or_else(|| "{}".to_owned());
    let mut settings: serde_json::Value = serde_json::from_str(&settings)?;
    settings["from"] = json!("model");
    let stage: Optimize = serde_json::from_value(settings)?;
    let cancel = CancelToken::default();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (path, folder) = line.split_once('\t').unwrap_or((&line, ""));
        let mut model = Model::load(Path::new(path))?;
        let started = Instant::now();
        let changes = stage.rewrite(&mut model, &cancel)?;
        let seconds = started.elapsed().as_secs_f64();
        if !folder.is_empty() {
            model.save(Path::new(folder))?;
        }
        let operators = model.operators();
        let nodes = changes.nodes.after;
        let answer = json!({ "seconds": seconds, "nodes": nodes, "operators": operators });
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
