//! Parts of the settings of `build`.

use std::fmt;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::backend::tensorrt::Calibrator;
use crate::backend::{self, BACKENDS, Backend};
use crate::data::RawArray;
use crate::source::Spanned;
use crate::stage::FileRef;
use crate::suggest::did_you_mean;

/// The shapes one profile allows one input; or, for TensorRT, the values of one that holds a shape.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ShapeRange")]
pub struct ShapeRangeSetting {
    /// The smallest extents, one per axis, such as `[1, 3, 224, 224]`. For an input that holds a
    /// shape, its smallest values.
    pub min: Spanned<Vec<Spanned<usize>>>,
    /// The extents to be fastest at.
    pub opt: Spanned<Vec<Spanned<usize>>>,
    /// The largest extents.
    pub max: Spanned<Vec<Spanned<usize>>>,
}

/// How TensorRT finds INT8 ranges from samples while it builds.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Int8 {
    /// How a range follows from the values seen; by default `entropy`.
    #[serde(default)]
    pub calibrator: Calibrator,
    /// The samples: an `.npz` file, an `.npy` file, or a folder of `.npy` or raw files. Arrays are
    /// named as the model's inputs; axis 0 counts the samples. Some hundred samples like those in
    /// use will do.
    #[serde(default)]
    pub data: Option<Spanned<FileRef>>,
    /// Arrays of `data` that are raw files, by name: `NAME/*.bin` with one sample each in the
    /// order of their names, or `NAME.bin` with all samples. `.raw` does as well.
    #[serde(default)]
    pub raw: IndexMap<String, RawArray>,
    /// Samples in a batch; by default as many as the first profile's `opt`, or the model itself,
    /// takes.
    #[serde(default)]
    pub batch: Option<Spanned<usize>>,
    /// A calibration cache that an earlier calibration wrote. It stands in for `data`, which is
    /// then only needed where the cache turns out to be of another kind.
    #[serde(default)]
    pub cache: Option<Spanned<FileRef>>,
}

/// The name of a backend of this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct BackendName(&'static str);

impl BackendName {
    /// The name as specs write it.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl Default for BackendName {
    fn default() -> Self {
        Self(backend::cpu::CpuBackend.name())
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl<'de> Deserialize<'de> for BackendName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl de::Visitor<'_> for NameVisitor {
            type Value = BackendName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a backend")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<BackendName, E> {
                let names = BACKENDS.iter().map(|backend| backend.name());
                names.clone().find(|name| *name == text).map(BackendName).ok_or_else(|| {
                    let hint = did_you_mean(text, names, "backends");
                    E::custom(format!("there is no backend `{text}`; {hint}"))
                })
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

impl JsonSchema for BackendName {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "BackendName".into()
    }
    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = BACKENDS.iter().map(|backend| backend.name()).collect();
        json_schema!({ "type": "string", "enum": names })
    }
}
