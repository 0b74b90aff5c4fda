//! The settings of `convert`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use crate::source::Spanned;
use crate::stage::FileRef;
use crate::stage::validate::ReferenceBackend;
use crate::tensor::DType;

/// Takes a model into the pipeline, checked against the ONNX standard (operators, attributes, names,
/// tensor sizes, external data) and described. An ONNX model is not changed. A model of PyTorch or
/// TensorFlow is exported by that framework, in a Python process, and what the framework computes
/// on samples is compared with what the exported model computes. Such a model may run code of its
/// own when it is read.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Convert {
    /// The model: an `.onnx` file, or a folder that holds exactly one with its external data; or a
    /// TorchScript file, a program of `torch.export`, PyTorch weights with `module` and `factory`, a
    /// SavedModel folder, a frozen graph, or a Keras model. What it is is told by its content.
    pub model: Spanned<FileRef>,
    /// The inputs of the exported model by name; by default those that the model tells. They are named
    /// as the model names them, or, for PyTorch, all in other words, in the order in which it takes them.
    #[serde(default)]
    pub inputs: IndexMap<Spanned<String>, InputSetting>,
    /// The outputs of the exported model. For PyTorch, the names that the model has, or new ones in the
    /// order in which it gives them. For a SavedModel or a Keras model, those that are kept, by the names
    /// they have; for a frozen graph, the tensors that it is to give. For a `script`, outputs that its
    /// model must have.
    #[serde(default)]
    pub outputs: Spanned<Vec<Spanned<String>>>,
    /// The version of the operator set to export to, from 7 to 26; by default 18 for PyTorch, and what
    /// tf2onnx prefers for TensorFlow. A model that a `script` wrote must have it.
    #[serde(default)]
    pub opset: Option<Spanned<u32>>,
    /// Which of PyTorch's exporters to use.
    #[serde(default)]
    pub exporter: Spanned<Exporter>,
    /// The signature of a SavedModel that has several.
    #[serde(default)]
    pub signature: Option<Spanned<String>>,
    /// The Python file that defines `factory`.
    #[serde(default)]
    pub module: Option<Spanned<FileRef>>,
    /// The function or class of `module` that makes the model into which weights are loaded.
    #[serde(default)]
    pub factory: Option<Spanned<String>>,
    /// Keyword arguments for `factory`, or what `script` gets as `request["arguments"]`.
    #[serde(default)]
    pub arguments: Spanned<BTreeMap<String, Value>>,
    /// A Python file of your own that exports the model, whatever it is but an engine: its function
    /// `export(request)` writes `model.onnx` into the folder `request["out"]` and returns a function
    /// that computes the same, from a dict of arrays to a dict of arrays.
    #[serde(default)]
    pub script: Option<Spanned<FileRef>>,
    /// The Python that exports: a program in `PATH`, or a path relative to the spec; `python3` by
    /// default. Not part of the cache key, its version and those of its packages are.
    #[serde(default)]
    pub python: Option<Spanned<String>>,
    /// The folder of a virtual environment, relative to the spec, whose Python exports.
    #[serde(default)]
    pub venv: Option<Spanned<String>>,
    /// Ends the export after this many seconds; no limit by default. Not part of the cache key.
    #[serde(default)]
    pub timeout_seconds: Option<Spanned<f64>>,
    /// The most memory, in MiB, that each process of the export may take for itself; no limit by
    /// default. Not part of the cache key.
    #[serde(default)]
    pub memory_limit_mib: Option<Spanned<u64>>,
    /// Samples to compare on: an `.npz` file with arrays named as the inputs, or an `.npy` file where
    /// there is one input; axis 0 counts them. The first is compared alone, the next eight at a time,
    /// 64 at most. By default they are made up within the `range` of each input.
    #[serde(default)]
    pub samples: Option<Spanned<FileRef>>,
    /// How close the exported model must come to what the framework computes.
    #[serde(default)]
    pub check: Spanned<Check>,
}

/// One input of the exported model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputSetting {
    /// Its extents: numbers, and names for those that are open. The same name is the same extent.
    pub shape: Spanned<Vec<Spanned<Extent>>>,
    /// Its element type.
    #[serde(default = "float32")]
    pub dtype: Spanned<DType>,
    /// The lowest and the highest value of made-up samples; 0 and 1 by default.
    #[serde(default)]
    pub range: Option<Spanned<[f64; 2]>>,
}

fn float32() -> Spanned<DType> {
    Spanned::unplaced(DType::Float32)
}

/// An extent of an input: a number, or a name for one that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Extent {
    /// Always this one.
    Fixed(u64),
    /// Any; the same wherever the name stands.
    Symbol(String),
}

/// Which of PyTorch's exporters to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Exporter {
    /// The newer one where it can take the model, the older one otherwise.
    #[default]
    Auto,
    /// The newer one, which captures the model with `torch.export`.
    Dynamo,
    /// The older one, which goes through TorchScript.
    Torchscript,
}

/// How close an exported model must come to what its framework computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// At most this largest absolute difference, as a fraction of the framework's largest absolute
    /// value, for each output.
    #[serde(default = "default_error")]
    pub max_relative_error: Spanned<f64>,
    /// At most this absolute difference, for each output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_abs: Option<Spanned<f64>>,
    /// What runs the exported model.
    #[serde(default)]
    pub backend: Spanned<ReferenceBackend>,
}

fn default_error() -> Spanned<f64> {
    Spanned::unplaced(1e-4)
}

impl Default for Check {
    fn default() -> Self {
        let backend = Spanned::default();
        Self { max_relative_error: default_error(), max_abs: None, backend }
    }
}

/// An input as the key and the request have it.
#[derive(Debug, Serialize)]
pub(super) struct NamedInput<'a> {
    name: &'a str,
    #[serde(flatten)]
    input: &'a InputSetting,
}

impl Convert {
    /// The inputs in their order, which means something.
    pub(super) fn named_inputs(&self) -> Vec<NamedInput<'_>> {
        let named = self.inputs.iter();
        named.map(|(name, input)| NamedInput { name: name.as_str(), input }).collect()
    }

    /// What of the settings can change the result.
    pub(super) fn key_settings(&self) -> Value {
        let mut settings = serde_json::Map::new();
        let mut set = |name: &str, is_default: bool, value: Value| {
            if !is_default {
                settings.insert(name.to_owned(), value);
            }
        };
        set("inputs", self.inputs.is_empty(), serde_json::json!(self.named_inputs()));
        set("outputs", self.outputs.is_empty(), serde_json::json!(self.outputs));
        set("opset", self.opset.is_none(), serde_json::json!(self.opset));
        set("exporter", self.exporter.is_default(), serde_json::json!(self.exporter));
        set("signature", self.signature.is_none(), serde_json::json!(self.signature));
        set("factory", self.factory.is_none(), serde_json::json!(self.factory));
        // As text: the request tells 1 from 1.0, the numbers of a key do not.
        let arguments = serde_json::json!(self.arguments).to_string();
        set("arguments", self.arguments.is_empty(), arguments.into());
        set("check", self.check.is_default(), serde_json::json!(self.check));
        settings.into()
    }
}

impl<'de> Deserialize<'de> for Extent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ExtentVisitor;
        impl de::Visitor<'_> for ExtentVisitor {
            type Value = Extent;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number above 0, or a name for an open extent, such as `batch`")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Extent, E> {
                if crate::stage::is_name(name) {
                    return Ok(Extent::Symbol(name.to_owned()));
                }
                Err(E::invalid_value(de::Unexpected::Str(name), &self))
            }
            fn visit_u64<E: de::Error>(self, extent: u64) -> Result<Extent, E> {
                match extent {
                    0 => Err(E::invalid_value(de::Unexpected::Unsigned(0), &self)),
                    _ => Ok(Extent::Fixed(extent)),
                }
            }
            fn visit_i64<E: de::Error>(self, extent: i64) -> Result<Extent, E> {
                match u64::try_from(extent) {
                    Ok(extent) => self.visit_u64(extent),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(extent), &self)),
                }
            }
        }
        deserializer.deserialize_any(ExtentVisitor)
    }
}

impl JsonSchema for Extent {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Extent".into()
    }
    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": crate::stage::NAME_PATTERN },
            ]
        })
    }
}
