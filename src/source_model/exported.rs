//! What the archives of PyTorch and Keras tell of how they are called.

use std::collections::BTreeMap;
use std::io::BufReader;

use serde::Deserialize;

use super::archive::{Archive, Member};
use super::pickle::Pickle;
use super::{NamedTensor, Signature, shown, torch};

/// Longer members are not read.
const LONGEST_JSON: u64 = 64 << 20;
const LONGEST_CODE: u64 = 4 << 20;
/// Inputs and outputs that are kept.
const MOST_ENDS: usize = 256;

/// The line that defines `forward` of a `TorchScript` program's outermost class.
pub(super) fn forward(archive: &Archive) -> Result<Option<String>, rawzip::Error> {
    let Some(data) = archive.find(|name| name == "data.pkl") else { return Ok(None) };
    let mut reader = BufReader::new(archive.reader(data, LONGEST_CODE)?);
    // The program is an object of the first class that is named.
    let Some(class) = Pickle::scan(&mut reader).ok().and_then(|pickle| pickle.first) else {
        return Ok(None);
    };
    let Some((module, class)) = class.rsplit_once('.') else { return Ok(None) };
    let file = format!("code/{}.py", module.replace('.', "/"));
    let Some(code) = archive.find(|name| name == file) else { return Ok(None) };
    let Some(code) = archive.read(code, LONGEST_CODE)? else { return Ok(None) };
    Ok(definition(&String::from_utf8_lossy(&code), class))
}

/// `forward(..) -> ..` of a class, on one line.
fn definition(code: &str, class: &str) -> Option<String> {
    let head = format!("class {class}(");
    let body = code.lines().skip_while(|line| !line.starts_with(&head)).skip(1);
    let lines = body.take_while(|line| line.is_empty() || line.starts_with(' '));
    let mut text = String::new();
    for line in lines.skip_while(|line| !line.trim_start().starts_with("def forward(")) {
        let line = line.trim();
        if !text.is_empty() && !text.ends_with('(') {
            text.push(' ');
        }
        text.push_str(line);
        if let Some(whole) = text.strip_suffix(':') {
            return Some(shown_long(whole.strip_prefix("def ")?));
        }
    }
    None
}

/// A text of several names as it may be shown.
fn shown_long(text: &str) -> String {
    text.chars().take(1000).flat_map(char::escape_debug).collect::<String>().replace("\\'", "'")
}

/// What the JSON of an exported program says of its call; everything else is passed over.
#[derive(Deserialize)]
struct Program {
    graph_module: Module,
}

#[derive(Deserialize)]
struct Module {
    graph: ProgramGraph,
    signature: Specs,
}

#[derive(Deserialize)]
struct ProgramGraph {
    tensor_values: BTreeMap<String, Meta>,
}

#[derive(Deserialize)]
struct Meta {
    dtype: u32,
    sizes: Vec<Size>,
}

#[derive(Deserialize)]
struct Size {
    as_int: Option<u64>,
}

#[derive(Deserialize)]
struct Specs {
    input_specs: Vec<Spec>,
    output_specs: Vec<Spec>,
}

/// Inputs that users give and outputs that they get; weights and states have other keys.
#[derive(Deserialize)]
struct Spec {
    #[serde(alias = "user_output")]
    user_input: Option<Place>,
}

#[derive(Deserialize)]
struct Place {
    arg: Argument,
}

#[derive(Deserialize)]
struct Argument {
    as_tensor: Option<Name>,
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

/// How an exported program is called; `None` where its graph is not written as is known here.
pub(super) fn program(archive: &Archive) -> Result<Option<Signature>, rawzip::Error> {
    let is_graph = |name: &str| name == torch::SERIALIZED_PROGRAM || name.starts_with("models/");
    let Some(graph) = archive.find(is_graph) else { return Ok(None) };
    let Some(module) = json::<Program>(archive, graph)?.map(|program| program.graph_module) else {
        return Ok(None);
    };
    let tensors = |specs: Vec<Spec>| {
        let places = specs.into_iter().filter_map(|spec| spec.user_input?.arg.as_tensor);
        let tensor = |Name { name }| {
            let meta = module.graph.tensor_values.get(&name);
            let extents = |meta: &Meta| meta.sizes.iter().map(|size| size.as_int).collect();
            let dtype = meta.map_or("unknown", |meta| scalar_type(meta.dtype)).to_owned();
            NamedTensor { dtype, shape: meta.map(extents), name }
        };
        places.take(MOST_ENDS).map(tensor).collect()
    };
    Ok(Some(Signature {
        name: "forward".into(),
        method: None,
        inputs: tensors(module.signature.input_specs),
        outputs: tensors(module.signature.output_specs),
    }))
}

/// PyTorch's element types, as its programs number them.
fn scalar_type(number: u32) -> &'static str {
    match number {
        1 => "uint8",
        2 => "int8",
        3 => "int16",
        4 => "int32",
        5 => "int64",
        6 => "float16",
        7 => "float32",
        8 => "float64",
        9 => "complex32",
        10 => "complex64",
        11 => "complex128",
        12 => "bool",
        13 => "bfloat16",
        _ => "unknown",
    }
}

#[derive(Deserialize)]
struct KerasMetadata {
    keras_version: Option<String>,
}

#[derive(Deserialize)]
struct KerasConfig {
    class_name: Option<String>,
}

/// The version of Keras and the class of a `.keras` archive.
pub(super) fn keras(archive: &Archive) -> Result<Vec<(&'static str, String)>, rawzip::Error> {
    let member = |name: &str| archive.members.iter().find(|member| member.name == name);
    let mut facts = Vec::new();
    if let Some(member) = member("metadata.json") {
        let version = json::<KerasMetadata>(archive, member)?.and_then(|found| found.keras_version);
        facts.extend(version.map(|version| ("keras", shown(&version))));
    }
    if let Some(member) = member("config.json") {
        let class = json::<KerasConfig>(archive, member)?.and_then(|found| found.class_name);
        facts.extend(class.map(|class| ("class", shown(&class))));
    }
    Ok(facts)
}

/// A member as JSON; `None` where it is too long or says other things.
fn json<T: for<'de> Deserialize<'de>>(
    archive: &Archive,
    member: &Member,
) -> Result<Option<T>, rawzip::Error> {
    let bytes = archive.read(member, LONGEST_JSON)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}
