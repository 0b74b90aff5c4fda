//! [`CalibrationError`]: why a calibration has no batch to give.

use std::path::PathBuf;

use crate::backend::cuda::CudaError;
use crate::data::DataError;
use crate::tensor::{DType, Shape, TensorError};

use super::BatchInput;

/// Why a calibration has no batch to give.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// The network has nothing to feed.
    #[error("the model has no inputs that take samples")]
    NoInputs,
    /// An input's shape is open, and no profile says what to calibrate with.
    #[error("the shape {dims} of input `{input}` is open, and no profile gives its `opt`")]
    OpenShape {
        /// The input.
        input: String,
        /// Its axes.
        dims: String,
    },
    /// An input has no axis that could count samples, or none of them.
    #[error("input `{}` of shape {} takes no samples along axis 0", input.name, input.shape)]
    NoSamplesAxis {
        /// The input.
        input: BatchInput,
    },
    /// The model takes another number of samples at once than the spec asks for.
    #[error("`int8.batch` is {size}, and input `{input}` always takes {batch} samples at once")]
    FixedBatch {
        /// The input.
        input: String,
        /// What it takes.
        batch: usize,
        /// What the spec asks for.
        size: usize,
    },
    /// Inputs take different numbers of samples at once.
    #[error(
        "input `{input}` takes {batch} samples at once and input `{other}` {other_batch}; \
         calibration feeds all inputs equally many"
    )]
    DifferentBatches {
        /// One input.
        input: String,
        /// What it takes.
        batch: usize,
        /// Another input.
        other: String,
        /// What that takes.
        other_batch: usize,
    },
    /// The data could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A folder has no data.
    #[error("folder `{}` has no .npz, .npy, .bin or .raw files", path.display())]
    NoFiles {
        /// The folder.
        path: PathBuf,
    },
    /// An array is not what the input takes.
    #[error(
        "array `{array}` of `{}` is {dtype} {shape}, input `{}` takes {} {}",
        path.display(), input.name, input.dtype, samples(input)
    )]
    DoesNotFit {
        /// The file or folder.
        path: PathBuf,
        /// The array.
        array: String,
        /// Its element type.
        dtype: DType,
        /// Its shape.
        shape: Shape,
        /// The input.
        input: Box<BatchInput>,
    },
    /// A value does not fit the network's narrower integers.
    #[error(
        "array `{array}` of `{}` has the value {value}, which input `{input}` cannot take: it is \
         int32 in this TensorRT", path.display()
    )]
    TooWide {
        /// The file or folder.
        path: PathBuf,
        /// The array.
        array: String,
        /// The input.
        input: String,
        /// The value.
        value: i64,
    },
    /// A sample has a value of which no range can be made.
    #[error("sample {sample} of array `{array}` of `{}` has a NaN or an infinity", path.display())]
    NotFinite {
        /// The file or folder.
        path: PathBuf,
        /// The array.
        array: String,
        /// The sample's number, from 0.
        sample: usize,
    },
    /// There is not one whole batch.
    #[error(
        "`{}` has {samples} of the {batch} samples of one batch, and TensorRT calibrates with \
         whole batches", path.display()
    )]
    TooFew {
        /// The file or folder.
        path: PathBuf,
        /// Samples that are there.
        samples: usize,
        /// Samples in a batch.
        batch: usize,
    },
    /// A file has fewer samples than when calibration began.
    #[error("`{}` ends early: it had {expected} samples and now has {found}", path.display())]
    EndsEarly {
        /// The file.
        path: PathBuf,
        /// Samples at first.
        expected: usize,
        /// Samples now.
        found: usize,
    },
    /// A batch does not fit in host memory.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A source gave what is no batch.
    #[error("the calibration source gave tensors that do not fit the inputs of the model")]
    NotABatch,
    /// TensorRT asks for an input of which there are no samples.
    #[error("TensorRT asks for samples of input `{0}`, and the calibration source has none")]
    UnknownInput(String),
    /// TensorRT takes no ranges from the cache, and there are no samples.
    #[error("the calibration cache does not fit this TensorRT, and there are no samples")]
    NoSource,
    /// The GPU could not take a batch.
    #[error("failed to bring a calibration batch to the GPU: {0}")]
    Cuda(#[from] CudaError),
    /// The code of a source failed.
    #[error("the calibration source panicked; the log says where")]
    Panicked,
}

/// What an array of samples for an input must be.
fn samples(input: &BatchInput) -> String {
    let extents = input.shape.0.iter().skip(1).map(|extent| format!(",{extent}"));
    format!("[samples{}]", extents.collect::<String>())
}

impl CalibrationError {
    /// What the user can do next.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::NoInputs => "remove `int8` and calibrate a model that has inputs".into(),
            Self::OpenShape { input, .. } => format!(
                "give a profile: `profiles: [{{ {input}: {{ min: .., opt: .., max: .. }} }}]`"
            ),
            Self::NoSamplesAxis { .. } | Self::DifferentBatches { .. } => {
                "axis 0 of every input must count samples; quantize such a model with Q/DQ nodes \
                 instead (`calibrate`)"
                    .into()
            }
            Self::FixedBatch { batch, .. } => format!("remove `batch`, or write {batch}"),
            Self::Data(error) => return error.help(),
            Self::NoFiles { .. } => {
                "put samples there: arrays named as the model's inputs, axis 0 \
                 counts the samples"
                    .into()
            }
            Self::DoesNotFit { dtype, input, .. } if *dtype != input.dtype => {
                format!("convert it when saving: `.astype(\"{}\")`", input.dtype)
            }
            Self::DoesNotFit { .. } => {
                "axis 0 counts the samples, the other axes are those of the profile's `opt`".into()
            }
            Self::TooFew { samples: 0, .. } | Self::EndsEarly { .. } => {
                "check the data; it may still be being written".into()
            }
            Self::TooFew { samples, .. } => {
                format!("add samples, or write `batch: {samples}` or less")
            }
            Self::NotFinite { .. } => "calibrate without such samples, or mend them".into(),
            Self::NoSource => "add `data:` to `int8`, or remove `cache:`".into(),
            Self::Cuda(error) => return error.help().map(str::to_owned),
            _ => return None,
        })
    }
}
