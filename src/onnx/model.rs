//! [`Model`]: a model file in memory.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;

use super::check;
use super::error::OnnxError;
use super::external;
use super::file_type::FileType;
use super::proto::{GraphProto, ModelProto};
use super::scan;

/// An ONNX model. Values that the file keeps in external data stay there until they are asked for.
#[derive(Debug, Clone)]
pub struct Model {
    /// Everything but the graph; its `graph` is always `None`.
    pub header: ModelProto,
    /// The main graph.
    pub graph: GraphProto,
    path: PathBuf,
}

impl Model {
    /// Reads a model file. Nothing but the protobuf structure is looked at: see [`Model::check`].
    pub fn load(path: &Path) -> Result<Self, OnnxError> {
        let mut bytes = Vec::new();
        external::open_model(path)?.read_to_end(&mut bytes).map_err(OnnxError::io("read", path))?;
        Self::parse(&bytes.into(), path)
    }

    /// Decodes the bytes of a model file. `path` names it in messages; external data is looked for
    /// beside it.
    pub fn parse(bytes: &Bytes, path: &Path) -> Result<Self, OnnxError> {
        if bytes.is_empty() {
            return Err(OnnxError::Empty { path: path.to_owned() });
        }
        let mut header =
            ModelProto::decode(bytes.clone()).map_err(|error| decode_error(path, bytes, &error))?;
        let graph =
            header.graph.take().ok_or_else(|| OnnxError::NoGraph { path: path.to_owned() })?;
        Ok(Self { header, graph, path: path.to_owned() })
    }

    /// A model made from its messages; external data is looked for beside `path`.
    pub fn new(header: ModelProto, graph: GraphProto, path: &Path) -> Self {
        Self { header: ModelProto { graph: None, ..header }, graph, path: path.to_owned() }
    }

    /// The file the model was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that external data locations are relative to.
    pub fn folder(&self) -> &Path {
        external::folder_of(&self.path)
    }

    /// The version of the default operator set that the model imports; `None` where it does not.
    pub fn opset(&self) -> Option<i64> {
        check::default_opset(&self.header.opset_import)
    }

    /// Checks the model against the standard: versions, operators with their attributes and arity,
    /// every name produced once and before it is used, tensors as large as they say, external data
    /// present. All that is wrong is in the error.
    pub fn check(&self) -> Result<(), OnnxError> {
        let defects = check::defects(self);
        if defects.is_empty() {
            return Ok(());
        }
        Err(OnnxError::Defects { path: self.path.clone(), defects })
    }

    /// The model's bytes as they would stand in a file, external data not included.
    pub fn encode(&self) -> Vec<u8> {
        let graph = Some(self.graph.clone());
        ModelProto { graph, ..self.header.clone() }.encode_to_vec()
    }
}

fn decode_error(path: &Path, bytes: &Bytes, error: &prost::DecodeError) -> OnnxError {
    if let Some(found) = FileType::recognise(&bytes[..bytes.len().min(512)]) {
        return OnnxError::OtherFile { path: path.to_owned(), found };
    }
    // Not every version of TensorRT starts its files with a magic number.
    if path.extension().is_some_and(|end| end == "plan" || end == "engine" || end == "trt") {
        return OnnxError::OtherFile { path: path.to_owned(), found: FileType::Engine };
    }
    let size = bytes.len() as u64;
    match scan::locations(std::io::Cursor::new(bytes), size) {
        Err(found) => external::scan_error(path, size, found),
        Ok(_) => OnnxError::NotProtobuf { path: path.to_owned(), reason: error.to_string() },
    }
}

/// The model file that a path means: the file itself, or the only `.onnx` file of a folder.
pub fn locate(path: &Path) -> Result<PathBuf, OnnxError> {
    if !fs::metadata(path).map_err(OnnxError::io("read", path))?.is_dir() {
        return Ok(path.to_owned());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(OnnxError::io("read", path))? {
        let file = entry.map_err(OnnxError::io("read", path))?.path();
        if file.extension() == Some(OsStr::new("onnx")) && !file.is_dir() {
            files.push(file);
        }
    }
    match <[PathBuf; 1]>::try_from(files) {
        Ok([only]) => Ok(only),
        Err(files) if files.is_empty() => {
            Err(OnnxError::NoModelInFolder { folder: path.to_owned() })
        }
        Err(files) => {
            let name = |file: &PathBuf| {
                file.file_name().unwrap_or_default().to_string_lossy().into_owned()
            };
            let mut files: Vec<String> = files.iter().map(name).collect();
            files.sort();
            Err(OnnxError::SeveralModelsInFolder { folder: path.to_owned(), files })
        }
    }
}
