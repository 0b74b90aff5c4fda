//! Writing a model: one file, and one more for the weights where they are many.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use prost::Message;

use super::error::OnnxError;
use super::external;
use super::model::Model;
use super::proto::tensor_proto::DataLocation;
use super::proto::{ModelProto, StringStringEntryProto, TensorProto};
use super::{tensors, walk};

/// The model file that [`Model::save`] writes.
const MODEL_FILE: &str = "model.onnx";
/// The file of weights that [`Model::save`] writes where they do not go into the model file.
const DATA_FILE: &str = "model.onnx.data";
/// A protobuf message ends at 2 GiB; well below it, readers that copy still manage.
const LARGEST_FILE: usize = 1_610_612_736;
/// Smaller tensors stay in the model file, where shape computations look for them.
const SMALLEST_EXTERNAL: u64 = 1024;
/// What lets readers map the weights of any element type.
const ALIGNMENT: u64 = 64;

impl Model {
    /// Writes `model.onnx` into a folder, and `model.onnx.data` beside it where this model's own
    /// weights are external or the file would be larger than about 1.5 GiB. The same model gives
    /// the same bytes.
    pub fn save(&self, folder: &Path) -> Result<(), OnnxError> {
        let mut whole = ModelProto { graph: Some(self.graph.clone()), ..self.header.clone() };
        let mut external = whole.encoded_len() > LARGEST_FILE;
        walk::tensors(&self.graph, &mut |tensor| external |= external::is_external(tensor));
        for function in &self.header.functions {
            walk::node_tensors(&function.node, &mut |tensor| {
                external |= external::is_external(tensor);
            });
        }
        if external {
            self.move_out(&mut whole, &folder.join(DATA_FILE))?;
        }
        let file = folder.join(MODEL_FILE);
        fs::write(&file, whole.encode_to_vec()).map_err(OnnxError::io("write", &file))
    }

    /// Moves the weights of `whole`, a copy of this model, to one file.
    fn move_out(&self, whole: &mut ModelProto, path: &Path) -> Result<(), OnnxError> {
        let file = File::create_new(path).map_err(OnnxError::io("create", path))?;
        let mut data = DataFile { out: BufWriter::new(file), at: 0, path };
        let mut visit = |tensor: &mut TensorProto| data.take(tensor, self);
        if let Some(graph) = &mut whole.graph {
            walk::tensors_mut(graph, &mut visit)?;
        }
        for function in &mut whole.functions {
            walk::node_tensors_mut(&mut function.node, &mut visit)?;
        }
        data.out.flush().map_err(OnnxError::io("write", path))
    }
}

struct DataFile<'a> {
    out: BufWriter<File>,
    at: u64,
    path: &'a Path,
}

impl DataFile<'_> {
    /// Writes a tensor's bytes here and makes it point to them, unless it is small.
    fn take(&mut self, tensor: &mut TensorProto, model: &Model) -> Result<(), OnnxError> {
        let failed = |problem| OnnxError::ExternalData {
            model: model.path().to_owned(),
            tensor: tensor.name().to_owned(),
            problem,
        };
        let source = external::external_ref(tensor).map_err(failed)?;
        let size = tensors::byte_size(tensor);
        let length = match (&source, &tensor.raw_data) {
            (Some(source), _) => size.or(source.length).unwrap_or(0),
            (None, Some(raw)) => raw.len() as u64,
            // Typed fields are what exporters use for small tensors.
            (None, None) => return Ok(()),
        };
        if length < SMALLEST_EXTERNAL {
            if source.is_some() && size.is_some() {
                *tensor = model.embedded(tensor)?;
                return Ok(());
            } else if source.is_none() {
                return Ok(());
            }
        }
        let padding = self.at.next_multiple_of(ALIGNMENT) - self.at;
        let io = || OnnxError::io("write", self.path);
        io::copy(&mut io::repeat(0).take(padding), &mut self.out).map_err(io())?;
        match (&source, &tensor.raw_data) {
            (Some(source), _) => {
                let (_, file) = external::open(model.folder(), source, length).map_err(failed)?;
                io::copy(&mut file.take(length), &mut self.out).map_err(io())?;
            }
            (None, Some(raw)) => self.out.write_all(raw).map_err(io())?,
            (None, None) => {}
        }
        let offset = self.at + padding;
        self.at = offset + length;
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: Some(key.to_owned()),
            value: Some(value),
        };
        tensor.raw_data = None;
        tensor.data_location = Some(DataLocation::External as i32);
        tensor.external_data = vec![
            entry("location", DATA_FILE.to_owned()),
            entry("offset", offset.to_string()),
            entry("length", length.to_string()),
        ];
        Ok(())
    }
}
