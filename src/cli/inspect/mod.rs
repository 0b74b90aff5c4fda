//! `inspect`: what is in a model, an engine, an artifact or a stored result.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use comfy_table::{Table, presets};
use serde_json::{Value, json};

use crate::artifact::Digest;
use crate::onnx::{Model, Summary};
use crate::tensor::TensorSpec;

use super::ExitStatus;
use super::console::Console;
use super::diagnostic::with_causes;
use super::project::{self, CacheDir};
use super::quantity::{grouped, size};

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// An ONNX file, the folder of an artifact (such as build/NAME/STAGE), or the start of a
    /// result's key or artifact's digest
    what: PathBuf,
    #[command(flatten)]
    cache: CacheDir,
}

pub(super) fn inspect(args: &InspectArgs, console: &Console) -> ExitStatus {
    match look(args) {
        Ok((event, value, text)) => {
            if console.is_json() {
                console.record(event, value);
            } else {
                console.text(&text);
            }
            ExitStatus::OK
        }
        Err((message, help)) => {
            console.error("inspect", &message, help.as_deref());
            ExitStatus::FAILED
        }
    }
}

/// The name of the JSON line, its fields, and the same for people.
type Found = (&'static str, Value, String);

/// A message and what to do.
type Failure = (String, Option<String>);

fn look(args: &InspectArgs) -> Result<Found, Failure> {
    let path = &args.what;
    if path.is_file() {
        return model(path);
    }
    if path.is_dir() {
        return folder(path);
    }
    let text = path.to_string_lossy();
    if text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return stored(&text.to_lowercase(), args);
    }
    let message = format!("there is no file or folder `{}`", path.display());
    Err((message, Some("name a file, a folder, or at least 4 digits of a key".to_owned())))
}

fn model(path: &Path) -> Result<Found, Failure> {
    let read = || {
        let model = Model::load(path)?;
        let summary = model.summary()?;
        Ok((summary, model.check().err()))
    };
    let (summary, defect) =
        read().map_err(|error: crate::onnx::OnnxError| (with_causes(&error), error.help()))?;
    let bytes = std::fs::metadata(path).map_or(0, |found| found.len());
    let mut text = format!("{}\n\n{}", path.display(), describe(&summary, bytes));
    let problem = defect.map(|defect| with_causes(&defect));
    if let Some(problem) = &problem {
        let _ = writeln!(text, "\nnot valid: {problem}");
    }
    let value = json!({
        "path": path.display().to_string(), "bytes": bytes,
        "summary": summary, "problem": problem,
    });
    Ok(("model", value, text))
}

fn describe(summary: &Summary, bytes: u64) -> String {
    let opsets: Vec<String> =
        summary.opsets.iter().map(|(domain, version)| format!("{domain} {version}")).collect();
    let mut text = String::new();
    let producer = if summary.producer.is_empty() { "unknown" } else { &summary.producer };
    let _ = writeln!(text, "opset       {}", opsets.join(", "));
    let _ = writeln!(text, "ir version  {}", summary.ir_version);
    let _ = writeln!(text, "producer    {producer}");
    let _ = writeln!(text, "file        {}", size(bytes));
    let _ = writeln!(
        text,
        "parameters  {} ({})",
        grouped(summary.parameters),
        size(summary.parameter_bytes)
    );
    let _ = writeln!(text, "nodes       {}\n", summary.nodes);
    text += &tensors(&summary.signature.inputs, &summary.signature.outputs);
    let mut operators: Vec<_> = summary.operators.iter().collect();
    operators.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["operator", "count"]);
    for (operator, count) in operators {
        table.add_row([operator.clone(), count.to_string()]);
    }
    let _ = writeln!(text, "\n{}", table.trim_fmt());
    text
}

fn tensors(inputs: &[TensorSpec], outputs: &[TensorSpec]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["", "tensor", "dtype", "shape"]);
    for (side, tensors) in [("input", inputs), ("output", outputs)] {
        for tensor in tensors {
            table.add_row([side, &tensor.name, tensor.dtype.name(), &tensor.dims_text()]);
        }
    }
    format!("{}\n", table.trim_fmt())
}

/// An artifact: every JSON description in it, and its files.
fn folder(path: &Path) -> Result<Found, Failure> {
    let failed =
        |error: std::io::Error| (format!("failed to read `{}`: {error}", path.display()), None);
    let mut names: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        names.push(entry.map_err(failed)?.path());
    }
    names.sort();
    let mut text = format!("{}\n\n", path.display());
    let mut descriptions = serde_json::Map::new();
    let mut files = Vec::new();
    for file in &names {
        let name =
            file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let bytes = std::fs::metadata(file).map_or(0, |found| found.len());
        let _ = writeln!(text, "{:>10}  {name}", size(bytes));
        files.push(json!({ "path": name, "bytes": bytes }));
        if file.extension().is_some_and(|extension| extension == "json")
            && let Ok(content) = std::fs::read(file)
            && let Ok(value) = serde_json::from_slice::<Value>(&content)
        {
            descriptions.insert(name, value);
        }
    }
    let onnx = path.join("model.onnx");
    let mut summary = Value::Null;
    if onnx.is_file() {
        let (_, value, described) = model(&onnx)?;
        summary = value;
        let _ = write!(text, "\n{described}");
    }
    for (name, value) in &descriptions {
        let pretty = serde_json::to_string_pretty(value).unwrap_or_default();
        let _ = write!(text, "\n{name}\n{pretty}\n");
    }
    let value = json!({
        "path": path.display().to_string(), "files": files,
        "model": summary, "descriptions": descriptions,
    });
    Ok(("artifact", value, text))
}

/// A stored result, by the start of its key or of its artifact's digest.
fn stored(prefix: &str, args: &InspectArgs) -> Result<Found, Failure> {
    let store = project::store_of(&project::root_of(Path::new(".")), &args.cache);
    let inventory = store.ls().map_err(|error| (with_causes(&error), error.help()))?;
    let starts = |digest: &Digest| digest.to_string().starts_with(prefix);
    let found: Vec<_> = inventory
        .results
        .iter()
        .filter(|result| starts(&result.key) || starts(&result.artifact.digest))
        .collect();
    let Some(result) = found.first() else {
        let message = format!("nothing in `{}` starts with {prefix}", store.root().display());
        return Err((message, Some("`trt-pipeline cache ls` lists the results".to_owned())));
    };
    if found.iter().any(|other| other.key != result.key && starts(&other.key)) {
        return Err((
            format!("{prefix} is the start of several keys"),
            Some("give more digits".into()),
        ));
    }
    let (_, inside, described) = folder(&store.object_path(&result.artifact.digest))?;
    let value = json!({ "result": result, "content": inside });
    let fingerprint = serde_json::to_string_pretty(&result.fingerprint).unwrap_or_default();
    let text = format!(
        "key       {}\nartifact  {}\nmade for  {} / {}, {}\n\nkey fields\n{fingerprint}\n\n{described}",
        result.key, result.artifact.digest, result.pipeline, result.stage, result.created
    );
    Ok(("result", value, text))
}
