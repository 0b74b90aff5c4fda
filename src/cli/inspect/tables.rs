//! Tables that several descriptions have.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Row, Table, presets};

use crate::backend::ShapeRange;
use crate::backend::tensorrt::Layer;
use crate::cli::quantity::size;
use crate::source_model::NamedTensor;
use crate::stage::Listing;
use crate::stage::calibrate::Report;
use crate::tensor::TensorSpec;

use super::folder::FileSize;
use super::model::NodeLine;

/// More layers than this are only counted, unless all are asked for.
const MOST_LAYERS: usize = 24;

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    table
}

fn lines(table: &Table) -> String {
    format!("{}\n", table.trim_fmt())
}

/// Inputs and outputs.
pub(super) fn tensors(inputs: &[TensorSpec], outputs: &[TensorSpec]) -> String {
    let mut table = table(["", "tensor", "dtype", "shape"]);
    for (side, tensors) in [("input", inputs), ("output", outputs)] {
        for tensor in tensors {
            table.add_row([side, &tensor.name, tensor.dtype.name(), &tensor.dims_text()]);
        }
    }
    lines(&table)
}

/// Inputs and outputs as a source model tells them.
pub(super) fn source_tensors(inputs: &[NamedTensor], outputs: &[NamedTensor]) -> String {
    let mut table = table(["", "tensor", "dtype", "shape"]);
    for (side, tensors) in [("input", inputs), ("output", outputs)] {
        for tensor in tensors {
            table.add_row(row(side, tensor));
        }
    }
    lines(&table)
}

fn row(first: &str, tensor: &NamedTensor) -> [String; 4] {
    let safe = |text: &str| text.escape_debug().to_string();
    [first.to_owned(), safe(&tensor.name), safe(&tensor.dtype), tensor.dims_text()]
}

/// The tensors of a file of weights, of which there are so many.
pub(super) fn weights(tensors: &[NamedTensor], count: u64, listing: Listing) -> String {
    let shown =
        if listing == Listing::Whole { tensors.len() } else { tensors.len().min(MOST_LAYERS) };
    let mut table = table(["", "tensor", "dtype", "shape"]);
    for tensor in &tensors[..shown] {
        table.add_row(row("weight", tensor));
    }
    let mut text = lines(&table);
    let more = count.saturating_sub(shown as u64);
    if more > 0 {
        let all = if shown == tensors.len() { "" } else { "; `--layers` shows all" };
        let _ = writeln!(text, "\n{more} more tensors{all}");
    }
    text
}

/// Files with their sizes.
pub(super) fn files(files: &[FileSize]) -> String {
    let line = |file: &FileSize| format!("{:>10}  {}\n", size(file.bytes), file.path);
    files.iter().map(line).collect::<Vec<_>>().concat()
}

/// What each profile allows each input.
pub(super) fn profiles(profiles: &[Vec<(String, &ShapeRange)>]) -> String {
    let mut table = table(["profile", "input", "min", "opt", "max"]);
    for (at, profile) in profiles.iter().enumerate() {
        for (nth, (input, range)) in profile.iter().enumerate() {
            let number = if nth == 0 { at.to_string() } else { String::new() };
            let [min, opt, max] = [&range.min, &range.opt, &range.max].map(ToString::to_string);
            table.add_row([number, input.clone(), min, opt, max]);
        }
    }
    lines(&table)
}

/// The most frequent operators first.
pub(super) fn operators(counts: &BTreeMap<String, usize>) -> String {
    let mut operators: Vec<_> = counts.iter().collect();
    operators.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let mut table = table(["operator", "count"]);
    for (operator, count) in operators {
        table.add_row([operator.clone(), count.to_string()]);
    }
    lines(&table)
}

/// A number with about four digits.
fn short(value: f32) -> String {
    match value.abs() {
        0.0 | 0.1..1e5 => format!("{value:.4}"),
        _ => format!("{value:.3e}"),
    }
}

/// The ranges of a calibration.
pub(super) fn ranges(report: &Report, listing: Listing) -> String {
    let all = report.ranges();
    let shown = if listing == Listing::Whole { all.len() } else { all.len().min(MOST_LAYERS) };
    let more = all.len() - shown;
    let mut table = table(["tensor", "min", "max", "scale"]);
    for (tensor, range, quantizer) in all.take(shown) {
        let [min, max, scale] = [range.min, range.max, quantizer.scale].map(short);
        table.add_row([tensor, &min, &max, &scale]);
    }
    let mut text = lines(&table);
    if more > 0 {
        let _ = writeln!(text, "\n{more} more ranges; `--layers` shows all");
    }
    text
}

/// The nodes of a model: name, operator, what it reads and what it makes.
pub(super) fn nodes(nodes: &[NodeLine]) -> String {
    const WIDEST: usize = 40;
    let widest = |of: fn(&NodeLine) -> &str| {
        nodes.iter().map(|node| of(node).chars().count().min(WIDEST)).max().unwrap_or(0)
    };
    let (names, ops) = (widest(|node| &node.name), widest(|node| &node.op));
    let mut text = format!("{:names$}  {:ops$}  reads -> makes\n", "node", "op");
    for NodeLine { name, op, inputs, outputs } in nodes {
        let (inputs, outputs) = (inputs.join(", "), outputs.join(", "));
        let _ = writeln!(text, "{name:names$}  {op:ops$}  {inputs} -> {outputs}");
    }
    text
}

/// The layers, with the columns that some layer has something for. On a terminal a layer has one
/// line, unless all is asked for.
pub(super) fn layers(layers: &[Layer], all: bool, width: Option<u16>) -> String {
    type Column = (&'static str, fn(&Layer) -> Option<&str>);
    const COLUMNS: [Column; 5] = [
        ("layer", |layer| Some(&layer.name)),
        ("type", |layer| layer.kind.as_deref()),
        ("precision", |layer| layer.precision.as_deref()),
        ("format", |layer| layer.format.as_deref()),
        ("tactic", |layer| layer.tactic.as_deref()),
    ];
    let shown = if all { layers } else { &layers[..layers.len().min(MOST_LAYERS)] };
    let used = COLUMNS.iter().filter(|(_, of)| shown.iter().any(|layer| of(layer).is_some()));
    let used: Vec<&Column> = used.collect();
    let mut table = table([]);
    table.set_header(used.iter().map(|(name, _)| *name));
    for layer in shown {
        let mut row = Row::from(used.iter().map(|(_, of)| of(layer).unwrap_or_default()));
        if !all && width.is_some() {
            row.max_height(1);
        }
        table.add_row(row);
    }
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    let mut text = lines(&table);
    if shown.len() < layers.len() {
        let more = layers.len() - shown.len();
        let _ = writeln!(text, "\n{more} more layers; `--layers` shows all");
    } else if !all && width.is_some() && text.contains("...") {
        text += "\ncut to fit the terminal; `--layers` shows all\n";
    }
    text
}
