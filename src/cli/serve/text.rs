//! What people read of a server: its models, its addresses, what to try, and what became of
//! reloads.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use comfy_table::{Table, presets};

use crate::cli::quantity::time;
use crate::deployment::{ModelConfig, ShapeRange};
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
    models: &[Arc<Model>],
    addresses: &Addresses,
    config: &ServerConfig,
    token_file: Option<&Path>,
) -> String {
    let mut text = format!("\n{}", table(models));
    let (scheme, encrypted) = match config.tls {
        Some(_) => ("https", " with TLS"),
        None => ("http", ""),
    };
    let mut line = |name: &str, value: &str| {
        text += format!("  {name:<6} {value}").trim_end();
        text.push('\n');
    };
    line("", "");
    if let Some(address) = addresses.http {
        line("http", &format!("{scheme}://{address}"));
    }
    if let Some(address) = addresses.grpc {
        line("grpc", &format!("{address}{encrypted}"));
    }
    if let Some(address) = addresses.admin {
        line("admin", &format!("{scheme}://{address}/  metrics, control and a page for people"));
    }
    if let (Some(address), Some(model)) = (addresses.http, models.first()) {
        let ModelConfig { name, engine, .. } = model.config();
        let token = match (&config.token, token_file) {
            (None, _) => None,
            (Some(_), Some(file)) => Some(format!("$(cat {})", quoted(file))),
            (Some(_), None) => Some("$TRT_PIPELINE_TOKEN".to_owned()),
        };
        let certificate = config.tls.as_ref().map(|tls| tls.certificate.as_path());
        let body = example(model.inputs(), engine.profiles.first());
        line("", "");
        line("try", &attempt(address, name, token.as_deref(), certificate, body.as_deref()));
    }
    text
}

/// A command that asks a model something: for an answer where a request is short enough to be
/// typed, else for what it takes.
fn attempt(
    address: SocketAddr,
    model: &str,
    token: Option<&str>,
    certificate: Option<&Path>,
    body: Option<&str>,
) -> String {
    let mut command = "curl -s".to_owned();
    if let Some(path) = certificate {
        command.extend([" --cacert ", &quoted(path)]);
    }
    if let Some(token) = token {
        command.extend([" -H \"Authorization: Bearer ", token, "\""]);
    }
    let scheme = if certificate.is_some() { "https" } else { "http" };
    let ip = address.ip().to_canonical();
    // Certificates for trying things out name this, and nobody connects to "every address".
    let host = if ip.is_unspecified() || (certificate.is_some() && ip.is_loopback()) {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    };
    let request = body.map_or_else(String::new, |body| format!("/infer -d '{body}'"));
    format!("{command} {scheme}://{host}/v2/models/{model}{request}")
}

/// A path as the shell takes it for one word.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if path.bytes().all(is_plain) { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

/// A line for each model, with one for each of its tensors below: names and shapes may be long.
fn table(models: &[Arc<Model>]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["model", "version", "backend", "batching", "instances"]);
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
            batching,
            config.instances.to_string(),
        ]);
    }
    let tensors = models.iter().map(|model| tensors(model.inputs(), model.outputs()));
    let below_the_header = std::iter::once(String::new()).chain(tensors);
    let mut text = String::new();
    for (line, tensors) in table.to_string().lines().zip(below_the_header) {
        text.extend(["  ", line.trim(), "\n", &tensors]);
    }
    text
}

fn tensors(inputs: &[TensorSpec], outputs: &[TensorSpec]) -> String {
    let line = |role: &str, spec: &TensorSpec| {
        format!("    {role:<6} {} {} {}\n", spec.name, spec.dtype, spec.dims_text())
    };
    let inputs = inputs.iter().map(|input| line("input", input));
    inputs.chain(outputs.iter().map(|output| line("output", output))).collect()
}

/// The body of a request with a zero for every element, where it is short enough to be typed: of
/// the smallest shapes that a profile takes.
fn example(
    inputs: &[TensorSpec],
    profile: Option<&BTreeMap<String, ShapeRange>>,
) -> Option<String> {
    let input = |spec: &TensorSpec| {
        let smallest = profile.and_then(|profile| profile.get(&spec.name));
        let extent = |(axis, dim): (usize, &Dim)| match dim {
            Dim::Fixed(extent) => *extent,
            Dim::Any | Dim::Symbol(_) => {
                smallest.and_then(|range| range.min.0.get(axis)).copied().unwrap_or(1)
            }
        };
        let shape: Vec<usize> = spec.dims.as_ref()?.iter().enumerate().map(extent).collect();
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

/// What became of a reload, in a line or two.
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
        (ReloadOutcome::Removed, _) => format!("{model} is served no more"),
    };
    // The first gate that stopped it is the reason.
    let failed = gates.iter().filter(|gate| !gate.passed).skip(1);
    let more = failed.map(|gate| format!("  and {}: {}", gate.name, gate.detail));
    let skipped = gates.iter().filter(|gate| gate.skipped);
    let not_held = skipped.map(|gate| format!("  not held to {}: {}", gate.name, gate.detail));
    let lines: Vec<String> = std::iter::once(text).chain(more).chain(not_held).collect();
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use crate::tensor::Shape;

    use super::*;

    fn input(dims: Vec<Dim>) -> Vec<TensorSpec> {
        vec![TensorSpec { name: "x".into(), dtype: DType::Float32, dims: Some(dims) }]
    }

    #[test]
    fn what_to_try_is_a_command_that_works_as_it_stands() {
        let [everywhere, here, there] = ["0.0.0.0:8000", "127.0.0.1:8000", "192.0.2.1:8000"];
        let seen: Vec<String> = [
            (here, None, None, Some("{}")),
            (everywhere, Some("$TRT_PIPELINE_TOKEN"), None, None),
            (here, Some("$(cat token)"), Some("my cert.pem"), None),
            (there, None, Some("cert.pem"), None),
        ]
        .into_iter()
        .map(|(address, token, certificate, body)| {
            attempt(address.parse().unwrap(), "m", token, certificate.map(Path::new), body)
        })
        .collect();
        insta::assert_snapshot!(seen.join("\n"), @r#"
        curl -s http://127.0.0.1:8000/v2/models/m/infer -d '{}'
        curl -s -H "Authorization: Bearer $TRT_PIPELINE_TOKEN" http://localhost:8000/v2/models/m
        curl -s --cacert 'my cert.pem' -H "Authorization: Bearer $(cat token)" https://localhost:8000/v2/models/m
        curl -s --cacert cert.pem https://192.0.2.1:8000/v2/models/m
        "#);
        assert_eq!(quoted(Path::new("it's")), r"'it'\''s'");
    }

    #[test]
    fn a_request_is_written_out_only_where_it_is_short_and_as_small_as_the_engine_takes() {
        let open = || Dim::Symbol("n".into());
        assert_eq!(
            example(&input(vec![open(), Dim::Fixed(2)]), None).unwrap(),
            r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[0,0]}]}"#
        );
        let shape = |n| Shape(vec![n, 2]);
        let range = ShapeRange { min: shape(2), opt: shape(4), max: shape(8) };
        let profile = BTreeMap::from([("x".to_owned(), range)]);
        let body = example(&input(vec![open(), Dim::Fixed(2)]), Some(&profile)).unwrap();
        assert!(body.contains(r#""shape":[2,2]"#), "{body}");
        assert_eq!(example(&input(vec![open(), Dim::Fixed(17)]), None), None);
    }

    #[test]
    fn the_tensors_of_a_model_stand_below_it() {
        let specs = input(vec![Dim::Any, Dim::Fixed(784)]);
        assert_eq!(
            tensors(&specs, &specs),
            "    input  x float32 [?,784]\n    output x float32 [?,784]\n"
        );
    }
}
