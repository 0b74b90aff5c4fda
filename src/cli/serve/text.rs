//! What people read of a server: its models, its addresses, what to try, and what became of
//! reloads.

use comfy_table::{Table, presets};

use crate::cli::quantity::time;
use crate::execute::RunEvent;
use crate::execute::event::ReloadOutcome;
use crate::runtime::Model;
use crate::server::protocol::datatype;
use crate::server::{Addresses, ServerConfig};
use crate::tensor::{DType, Dim, TensorSpec};

/// Most elements of an input that are written out in an example.
const MOST_WRITTEN: usize = 16;

/// The models, where they are, and what to try next.
pub(super) fn serving(
    models: &[std::sync::Arc<Model>],
    addresses: &Addresses,
    config: &ServerConfig,
) -> String {
    let mut text = format!("\n{}", table(models));
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let mut line = |name: &str, value: &str| {
        text += format!("  {name:<6} {value}").trim_end();
        text.push('\n');
    };
    line("", "");
    if let Some(address) = addresses.http {
        line("http", &format!("{scheme}://{address}"));
    }
    if let Some(address) = addresses.grpc {
        line("grpc", &address.to_string());
    }
    if let Some(address) = addresses.admin {
        line("admin", &format!("{scheme}://{address}/  metrics, control and a page for people"));
    }
    if let (Some(address), Some(model)) = (addresses.http, models.first()) {
        let token = match config.token {
            Some(_) => " -H \"Authorization: Bearer $TRT_PIPELINE_TOKEN\"",
            None => "",
        };
        let base = format!("curl -s{token} {scheme}://{address}/v2/models/{}", model.config().name);
        line("", "");
        line("try", &base);
        if let Some(body) = example(model.inputs()) {
            line("", &format!("{base}/infer -d '{body}'"));
        }
    }
    text
}

fn table(models: &[std::sync::Arc<Model>]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["model", "version", "backend", "inputs", "outputs", "batching", "instances"]);
    for model in models {
        let config = model.config();
        let batching = config.batching.as_ref().map_or_else(
            || "none".to_owned(),
            |batching| format!("up to {}, {} ms", batching.max_batch, batching.max_delay_ms),
        );
        table.add_row([
            config.name.clone(),
            model.version().to_string(),
            config.engine.backend.clone(),
            tensors(model.inputs()),
            tensors(model.outputs()),
            batching,
            config.instances.to_string(),
        ]);
    }
    let mut text = String::new();
    for line in table.to_string().lines() {
        text.extend(["  ", line.trim(), "\n"]);
    }
    text
}

fn tensors(specs: &[TensorSpec]) -> String {
    let tensor = |spec: &TensorSpec| format!("{} {} {}", spec.name, spec.dtype, spec.dims_text());
    specs.iter().map(tensor).collect::<Vec<_>>().join("\n")
}

/// The body of a request with a zero for every element, where it is short enough to be typed.
fn example(inputs: &[TensorSpec]) -> Option<String> {
    let input = |spec: &TensorSpec| {
        let extent = |dim: &Dim| match dim {
            Dim::Fixed(extent) => *extent,
            Dim::Any | Dim::Symbol(_) => 1,
        };
        let shape: Vec<usize> = spec.dims.as_ref()?.iter().map(extent).collect();
        let count = shape.iter().try_fold(1_usize, |product, extent| product.checked_mul(*extent));
        let count = count.filter(|count| *count <= MOST_WRITTEN)?;
        let zero = match spec.dtype {
            DType::Bool => "false",
            DType::Float16 | DType::BFloat16 | DType::Float8E4M3 | DType::Float8E5M2 => {
                return None;
            }
            _ => "0",
        };
        Some(format!(
            "{{\"name\":{},\"shape\":{},\"datatype\":\"{}\",\"data\":[{}]}}",
            serde_json::json!(spec.name),
            serde_json::json!(shape),
            datatype(spec.dtype),
            vec![zero; count].join(",")
        ))
    };
    let inputs = inputs.iter().map(input).collect::<Option<Vec<_>>>()?;
    let body = format!("{{\"inputs\":[{}]}}", inputs.join(","));
    // It is shown between quotes of the shell.
    (!body.contains('\'')).then_some(body)
}

/// What became of a reload, in a line or two; nothing of what is no news to people.
pub(super) fn reloaded(event: &RunEvent) -> Option<String> {
    let RunEvent::ReloadFinished { model, from, to, outcome, reason, seconds, gates } = event
    else {
        return None;
    };
    let version =
        |version: &Option<u32>| version.map_or("?".to_owned(), |number| number.to_string());
    let because = reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    let (old, new) = (version(from), version(to));
    let text = match (outcome, from) {
        (ReloadOutcome::Accepted, None) if *to == Some(1) => return None,
        (ReloadOutcome::Accepted, None) => format!("{model}: version {new} is served"),
        (ReloadOutcome::Accepted, Some(_)) => {
            let held = gates.iter().filter(|gate| !gate.skipped);
            let mut held_to: Vec<&str> = held.map(|gate| gate.name.as_str()).collect();
            held_to.dedup();
            let held_to = match &held_to[..] {
                [] => String::new(),
                names => format!(", held to {}", names.join(", ")),
            };
            format!("{model}: version {new} took over from {old} in {}{held_to}", time(*seconds))
        }
        (ReloadOutcome::Refused, None) => format!("{model}: nothing is served{because}"),
        (ReloadOutcome::Refused, Some(_)) => {
            format!("{model}: version {old} goes on, version {new} was refused{because}")
        }
        (ReloadOutcome::RolledBack, _) => {
            format!("{model}: went back from version {old} to {new}{because}")
        }
        (ReloadOutcome::Loaded, _) => format!("{model}: version {new} was loaded again"),
        (ReloadOutcome::Unloaded, _) => format!("{model}: version {old} was unloaded"),
        (ReloadOutcome::Removed, _) => format!("{model}: is served no more"),
    };
    // The first gate that stopped it is the reason.
    let failed = gates.iter().filter(|gate| !gate.passed).skip(1);
    let more = failed.map(|gate| format!("  and {}: {}", gate.name, gate.detail));
    let skipped = gates.iter().filter(|gate| gate.skipped);
    let not_held = skipped.map(|gate| format!("  not held to {}: {}", gate.name, gate.detail));
    let lines: Vec<String> = std::iter::once(text).chain(more).chain(not_held).collect();
    Some(lines.join("\n") + "\n")
}
