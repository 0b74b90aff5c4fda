//! [`DatasetSource`]: batches out of files.

use std::fs;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use crate::data::{Array, Column, DataError, Dataset, RawArray};
use crate::source::Spanned;
use crate::tensor::{DType, Tensor};

use super::{BatchInput, BatchSpec, CalibrationError, CalibrationSource};

/// The extensions of files that a folder of samples may have.
const EXTENSIONS: [&str; 4] = ["npz", "npy", "bin", "raw"];

/// Batches out of an `.npz`, `.npy` or raw file, or out of a folder.
///
/// A folder either has the arrays of each input under its name (`NAME.npy`, `NAME.bin`,
/// `NAME/*.bin`), or any number of files, each with some samples of every input, which follow each
/// other in the order of their names. Where the network has one input, its array may have any
/// name. Raw files without a declaration are taken to be of the network's types and shapes.
#[derive(Debug)]
pub struct DatasetSource {
    batch: BatchSpec,
    raw: IndexMap<String, RawArray>,
    parts: Vec<Part>,
    /// Where the next batch begins: a part, and a sample of it.
    next: (usize, usize),
    /// That part: of a folder of thousands, one file is open.
    open: Option<Dataset>,
    batches_left: usize,
}

/// A file, or a folder that is read as one.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    samples: usize,
}

impl DatasetSource {
    /// Looks through all of the data: every array must fit the inputs, and there must be enough
    /// for one batch. Only headers are read.
    pub fn open(
        path: &Path,
        declared: &IndexMap<String, RawArray>,
        batch: BatchSpec,
    ) -> Result<Self, CalibrationError> {
        let (files, raw) = layout(path, declared, batch.inputs())?;
        let mut parts = Vec::with_capacity(files.len());
        for path in files {
            let samples = count(&Dataset::open(&path, &raw)?, batch.inputs())?;
            parts.push(Part { path, samples });
        }
        let samples: usize = parts.iter().map(|part| part.samples).sum();
        let (size, path) = (batch.size(), path.to_owned());
        if samples < size {
            return Err(CalibrationError::TooFew { path, samples, batch: size });
        }
        if !samples.is_multiple_of(size) {
            tracing::warn!(
                "the last {} of the {samples} calibration samples in `{}` are not used: TensorRT \
                 takes whole batches, here of {size}",
                samples % size,
                path.display()
            );
        }
        let batches_left = samples / size;
        Ok(Self { batch, raw, parts, next: (0, 0), open: None, batches_left })
    }

    /// Whole batches that are still to come.
    pub fn batches_left(&self) -> usize {
        self.batches_left
    }
}

impl CalibrationSource for DatasetSource {
    fn batch(&self) -> &BatchSpec {
        &self.batch
    }

    fn next_batch(&mut self) -> Result<Option<Vec<Tensor>>, CalibrationError> {
        if self.batches_left == 0 {
            return Ok(None);
        }
        let inputs = self.batch.inputs();
        let zeros = inputs.iter().map(|input| Tensor::zeros(input.dtype, input.shape.clone()));
        let mut tensors = zeros.collect::<Result<Vec<_>, _>>()?;
        let mut filled = 0;
        while filled < self.batch.size() {
            let (at, row) = self.next;
            let part = &self.parts[at];
            let dataset = match self.open.take() {
                Some(dataset) => dataset,
                None => reopen(part, &self.raw, inputs)?,
            };
            let end = part.samples.min(row + self.batch.size() - filled);
            for (input, tensor) in inputs.iter().zip(&mut tensors) {
                let rows = rows(&dataset, input, inputs.len(), row, end)?;
                let row_bytes = tensor.bytes().len() / self.batch.size();
                let place = &mut tensor.bytes_mut()[filled * row_bytes..][..rows.bytes().len()];
                place.copy_from_slice(rows.bytes());
            }
            filled += end - row;
            if end == part.samples {
                self.next = (at + 1, 0);
            } else {
                self.next = (at, end);
                self.open = Some(dataset);
            }
        }
        self.batches_left -= 1;
        Ok(Some(tensors))
    }
}

/// The files to read one after the other, and the arrays that are raw.
fn layout(
    path: &Path,
    declared: &IndexMap<String, RawArray>,
    inputs: &[BatchInput],
) -> Result<(Vec<PathBuf>, IndexMap<String, RawArray>), CalibrationError> {
    if !declared.is_empty() {
        return Ok((vec![path.to_owned()], declared.clone()));
    }
    let raw = inputs.iter().map(|input| (input.name.clone(), raw_array(input)));
    let mut raw: IndexMap<_, _> = raw.collect();
    if !path.is_dir() {
        return Ok((vec![path.to_owned()], raw));
    }
    let npy = |name: &str| path.join(format!("{name}.npy")).is_file();
    let has_own = |input: &BatchInput| {
        let name = &input.name;
        let raw = ["bin", "raw"].map(|extension| path.join(format!("{name}.{extension}")));
        npy(name) || path.join(name).is_dir() || raw.iter().any(|file| file.is_file())
    };
    if inputs.iter().all(has_own) {
        raw.retain(|name, _| !npy(name));
        return Ok((vec![path.to_owned()], raw));
    }
    let read = |source| DataError::Read { path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(read)? {
        let file = entry.map_err(read)?.path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        if extension.is_some_and(|one| EXTENSIONS.contains(&one)) && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(CalibrationError::NoFiles { path: path.to_owned() });
    }
    files.sort();
    Ok((files, raw))
}

/// Raw samples as the network takes them.
fn raw_array(input: &BatchInput) -> RawArray {
    let extents = input.shape.0.iter().skip(1).copied().map(Spanned::unplaced);
    RawArray { dtype: Spanned::unplaced(input.dtype), shape: Spanned::unplaced(extents.collect()) }
}

/// Opens a part once more, to read it.
fn reopen(
    part: &Part,
    raw: &IndexMap<String, RawArray>,
    inputs: &[BatchInput],
) -> Result<Dataset, CalibrationError> {
    let dataset = Dataset::open(&part.path, raw)?;
    let found = count(&dataset, inputs)?;
    if found < part.samples {
        let (path, expected) = (part.path.clone(), part.samples);
        return Err(CalibrationError::EndsEarly { path, expected, found });
    }
    Ok(dataset)
}

/// The number of samples in a part, whose arrays must fit the inputs.
fn count(dataset: &Dataset, inputs: &[BatchInput]) -> Result<usize, CalibrationError> {
    let arrays = inputs.iter().map(|input| fitting(dataset, input, inputs.len()));
    let arrays = arrays.map(|array| array.map(Column::from));
    Ok(dataset.common_samples(&arrays.collect::<Result<Vec<_>, _>>()?)?)
}

/// The array of an input, which is of its type and shape but for axis 0.
fn fitting<'a>(
    dataset: &'a Dataset,
    input: &BatchInput,
    inputs: usize,
) -> Result<&'a Array, CalibrationError> {
    let mut names = dataset.names();
    let array = match (names.next(), names.next()) {
        (Some(only), None) if inputs == 1 => dataset.array(only)?,
        _ => dataset.array(&input.name)?,
    };
    let same_type = array.dtype() == input.dtype || is_narrowed(array, input);
    let same_sample = array.shape().0.get(1..) == input.shape.0.get(1..);
    if same_type && same_sample {
        return Ok(array);
    }
    Err(CalibrationError::DoesNotFit {
        path: dataset.path().to_owned(),
        array: array.name().to_owned(),
        dtype: array.dtype(),
        shape: array.shape().clone(),
        input: Box::new(input.clone()),
    })
}

/// Whether TensorRT has made 32-bit integers of the model's: those of 8.6 are never wider.
fn is_narrowed(array: &Array, input: &BatchInput) -> bool {
    (array.dtype(), input.dtype) == (DType::Int64, DType::Int32)
}

/// Samples of an input, in the network's type.
fn rows(
    dataset: &Dataset,
    input: &BatchInput,
    inputs: usize,
    start: usize,
    end: usize,
) -> Result<Tensor, CalibrationError> {
    let array = fitting(dataset, input, inputs)?;
    let rows = array.rows(start, end)?;
    if let Some(at) = not_finite(&rows) {
        return Err(CalibrationError::NotFinite {
            path: dataset.path().to_owned(),
            array: array.name().to_owned(),
            sample: start + at,
        });
    }
    if !is_narrowed(array, input) {
        return Ok(rows);
    }
    let too_wide = |value: i64| CalibrationError::TooWide {
        path: dataset.path().to_owned(),
        array: array.name().to_owned(),
        input: input.name.clone(),
        value,
    };
    let mut bytes = Vec::with_capacity(rows.bytes().len() / 2);
    for value in rows.bytes().as_chunks().0 {
        let value = i64::from_le_bytes(*value);
        let narrow = i32::try_from(value).map_err(|_| too_wide(value))?;
        bytes.extend(narrow.to_le_bytes());
    }
    Ok(Tensor::from_bytes(DType::Int32, rows.shape().clone(), &bytes)?)
}

/// The first sample with a value that is no number, or infinite: no range can be found from it.
fn not_finite(rows: &Tensor) -> Option<usize> {
    if !rows.dtype().is_float() {
        return None;
    }
    let values = rows.to_f64();
    let at = values.iter().position(|value| !value.is_finite())?;
    let samples = rows.shape().0.first().copied().unwrap_or(1).max(1);
    Some(at / (values.len() / samples).max(1))
}

#[cfg(test)]
mod tests;
