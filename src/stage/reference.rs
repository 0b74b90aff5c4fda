//! How a spec names what a stage takes: [`FileRef`], [`FromRef`] and what both resolve through,
//! [`Reference`].

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use crate::artifact::ArtifactKind;
use crate::source::Spanned;

/// Something a stage takes, unresolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The artifact of another stage.
    Stage(Spanned<String>),
    /// One file (or folder) in the artifact of another stage.
    StageFile {
        /// The stage.
        stage: Spanned<String>,
        /// Path in its artifact.
        path: Spanned<String>,
        /// What it is declared to be, where the user says so.
        kind: Option<ArtifactKind>,
    },
    /// A file (or folder) relative to the spec.
    File {
        /// The path as written.
        path: Spanned<String>,
        /// What it is declared to be, where the user says so.
        kind: Option<ArtifactKind>,
    },
}

impl Reference {
    /// The stage whose artifact is needed, if any.
    pub fn stage(&self) -> Option<&Spanned<String>> {
        match self {
            Self::Stage(stage) | Self::StageFile { stage, .. } => Some(stage),
            Self::File { .. } => None,
        }
    }

    /// Where the reference stands in the spec.
    pub fn span(&self) -> crate::source::Span {
        match self {
            Self::Stage(name) => name.span,
            Self::StageFile { path, .. } | Self::File { path, .. } => path.span,
        }
    }
}

/// A file: a path relative to the spec file, or `{ from: stage, path: file in its artifact }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileRef {
    /// A path relative to the spec file.
    Path(String),
    /// A file in another stage's artifact.
    StageFile {
        /// The stage.
        from: Spanned<String>,
        /// The file's path in its artifact.
        path: Spanned<String>,
    },
}

impl FileRef {
    /// The reference this stands for; `place` is where the whole `FileRef` was written.
    pub fn reference(place: &Spanned<Self>) -> Reference {
        Self::typed(place, None)
    }

    fn typed(place: &Spanned<Self>, kind: Option<ArtifactKind>) -> Reference {
        match &place.value {
            Self::Path(path) => {
                Reference::File { path: Spanned::new(path.clone(), place.span), kind }
            }
            Self::StageFile { from, path } => {
                Reference::StageFile { stage: from.clone(), path: path.clone(), kind }
            }
        }
    }
}

/// The path, after the stage where the file is one's.
impl fmt::Display for FileRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.write_str(path),
            Self::StageFile { from, path } => write!(f, "{from}/{path}"),
        }
    }
}

/// What a `from` names: a stage, or `{ file: .., kind: model | engine }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromRef {
    /// The artifact of a stage.
    Stage(String),
    /// A file that no stage of this pipeline made.
    File {
        /// The file.
        file: Spanned<FileRef>,
        /// What it is.
        kind: FileKind,
    },
}

/// What a file given to `from` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// An ONNX model.
    Model,
    /// A compiled engine.
    Engine,
}

impl FromRef {
    /// The reference this stands for; `place` is where the whole `FromRef` was written.
    pub fn reference(place: &Spanned<Self>) -> Reference {
        match &place.value {
            Self::Stage(name) => Reference::Stage(Spanned::new(name.clone(), place.span)),
            Self::File { file, kind } => FileRef::typed(
                file,
                Some(match kind {
                    FileKind::Model => ArtifactKind::Model,
                    FileKind::Engine => ArtifactKind::Engine,
                }),
            ),
        }
    }
}

/// A stage name, or a path: a text with a `/` or a `.` in it is a path.
pub(super) fn stage_or_file(place: &Spanned<FileRef>) -> Reference {
    match &place.value {
        FileRef::Path(text) if !text.contains(['/', '.']) => {
            Reference::Stage(Spanned::new(text.clone(), place.span))
        }
        _ => FileRef::reference(place),
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct StageFileFields {
    from: Spanned<String>,
    path: Spanned<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct FromFileFields {
    file: Spanned<FileRef>,
    kind: Spanned<FileKind>,
}

impl<'de> Deserialize<'de> for FileRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FileRefVisitor;
        impl<'de> Visitor<'de> for FileRefVisitor {
            type Value = FileRef;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, or `{ from: stage, path: file in its artifact }`")
            }
            fn visit_str<E: de::Error>(self, path: &str) -> Result<FileRef, E> {
                Ok(FileRef::Path(path.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FileRef, A::Error> {
                let fields = StageFileFields::deserialize(MapAccessDeserializer::new(map))?;
                Ok(FileRef::StageFile { from: fields.from, path: fields.path })
            }
        }
        deserializer.deserialize_any(FileRefVisitor)
    }
}

impl<'de> Deserialize<'de> for FromRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FromRefVisitor;
        impl<'de> Visitor<'de> for FromRefVisitor {
            type Value = FromRef;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a stage's name, or `{ file: path, kind: model | engine }`")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<FromRef, E> {
                Ok(FromRef::Stage(name.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FromRef, A::Error> {
                let fields = FromFileFields::deserialize(MapAccessDeserializer::new(map))?;
                Ok(FromRef::File { file: fields.file, kind: fields.kind.value })
            }
        }
        deserializer.deserialize_any(FromRefVisitor)
    }
}

// No descriptions beside the choices: editors would show them in place of the field's own.
impl JsonSchema for FileRef {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "FileRef".into()
    }
    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": {
                        "from": {
                            "type": "string",
                            "description": "The stage in whose artifact the file is."
                        },
                        "path": { "type": "string", "description": "The file's path in its artifact." }
                    },
                    "required": ["from", "path"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

impl JsonSchema for FromRef {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "FromRef".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut file = generator.subschema_for::<FileRef>();
        let file_doc = "A path relative to the spec file, or a file in another stage's artifact.";
        file.insert("description".into(), file_doc.into());
        let mut kind = generator.subschema_for::<FileKind>();
        kind.insert("description".into(), "What the file is.".into());
        json_schema!({
            "anyOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": {
                        "file": file,
                        "kind": kind
                    },
                    "required": ["file", "kind"],
                    "additionalProperties": false
                }
            ]
        })
    }
}
