//! [`DataError`]: why a data file is not what it should be.

use std::io;
use std::path::PathBuf;

use crate::suggest::did_you_mean;
use crate::tensor::{DType, Shape, TensorError};

/// Why a data file is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is in no format that is understood.
    #[error("`{}` {reason}", path.display())]
    Unrecognized {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        reason: &'static str,
    },
    /// An `.npz` archive is damaged.
    #[error("`{}` is not a readable .npz archive: {reason}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An `.npy` file or entry is damaged.
    #[error("array `{array}` of `{}` is not a readable .npy array: {reason}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
        /// What is wrong.
        reason: String,
    },
    /// An array has elements that are no numbers of a known type.
    #[error("array `{array}` of `{}` has elements of type `{descr}`, {reason}", path.display())]
    ElementType {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
        /// The type as NumPy writes it.
        descr: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// An array is stored column by column.
    #[error("array `{array}` of `{}` is stored in Fortran order", path.display())]
    FortranOrder {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
    },
    /// A file has more or fewer bytes than its array needs.
    #[error(
        "array `{array}` of `{}` is {}: {dtype} {shape} needs {expected} bytes, found {found}",
        path.display(), if found < expected { "truncated" } else { "followed by other bytes" }
    )]
    Size {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
        /// Element type.
        dtype: DType,
        /// Shape with the samples as axis 0.
        shape: Shape,
        /// Bytes the array needs.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// A compressed array does not fit in the memory set aside for it.
    #[error(
        "array `{array}` of `{}` is compressed and has {bytes} bytes, more than the {limit} that \
         are unpacked at most", path.display()
    )]
    TooLargeToUnpack {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
        /// Its size.
        bytes: u64,
        /// The most that is unpacked.
        limit: u64,
    },
    /// Two arrays have one name.
    #[error("`{}` contains array `{array}` twice", path.display())]
    Duplicate {
        /// The file or folder.
        path: PathBuf,
        /// The array.
        array: String,
    },
    /// An array that is needed is not there.
    #[error("`{}` contains no array `{array}`", path.display())]
    NoSuchArray {
        /// The file or folder.
        path: PathBuf,
        /// The array.
        array: String,
        /// The arrays that are there.
        present: Vec<String>,
    },
    /// An array has no samples.
    #[error("array `{array}` of `{}` has no samples: its shape is {shape}", path.display())]
    NoSamples {
        /// The file or folder.
        path: PathBuf,
        /// The array.
        array: String,
        /// Its shape.
        shape: Shape,
    },
    /// Two arrays have different numbers of samples.
    #[error(
        "arrays of `{}` differ in their number of samples: `{array}` has {samples}, `{other}` \
         has {other_samples}", path.display()
    )]
    SampleCounts {
        /// The file or folder.
        path: PathBuf,
        /// One array.
        array: String,
        /// Its samples.
        samples: usize,
        /// Another array.
        other: String,
        /// Its samples.
        other_samples: usize,
    },
    /// An array has another element type than the tensor it stands for.
    #[error("array `{array}` of `{}` is {found}, the model's `{array}` is {expected}", path.display())]
    WrongDType {
        /// The file or folder.
        path: PathBuf,
        /// The array.
        array: String,
        /// The model's element type.
        expected: DType,
        /// The array's element type.
        found: DType,
    },
    /// An array's samples have another shape than the tensor takes.
    #[error("array `{array}` of `{}` has shape {found}, the model's `{array}` is {expected}", path.display())]
    WrongShape {
        /// The file or folder.
        path: PathBuf,
        /// The array.
        array: String,
        /// The model's axes, as people write them.
        expected: String,
        /// The array's shape.
        found: Shape,
    },
    /// A raw file is not as large as the declared shape says.
    #[error("raw file `{}` has {found} bytes, {dtype} {shape} needs {expected}", path.display())]
    RawSize {
        /// The file.
        path: PathBuf,
        /// The declared element type.
        dtype: DType,
        /// The declared shape of one sample.
        shape: Shape,
        /// Bytes of one sample.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// No raw files of an array were found.
    #[error("`{}` contains no raw files of array `{array}`", path.display())]
    NoRawFiles {
        /// The folder.
        path: PathBuf,
        /// The array.
        array: String,
        /// Sub-folders with raw files that nobody declares.
        others: Vec<String>,
    },
    /// There is nothing but raw files that nobody declares.
    #[error("`{}` has raw files in {}, which the spec does not declare", path.display(), quoted(arrays))]
    Undeclared {
        /// The folder.
        path: PathBuf,
        /// Its sub-folders.
        arrays: Vec<String>,
    },
    /// A part of an array does not fit in memory.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl DataError {
    pub(super) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }

    /// What the user can do next.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Unrecognized { .. } => {
                "data is an .npz file, an .npy file, a folder of .npy files, or raw .bin/.raw \
                 files whose arrays are declared under `raw`"
                    .into()
            }
            Self::Archive { .. } | Self::Size { .. } => {
                "write the file again; it may have been cut off while it was copied".into()
            }
            Self::ElementType { array, .. } => {
                format!("convert it when saving, for example with `{array}.astype(numpy.float32)`")
            }
            Self::FortranOrder { array, .. } => {
                format!("save it with `numpy.ascontiguousarray({array})`")
            }
            Self::TooLargeToUnpack { .. } => "save it uncompressed (numpy.savez, or one .npy file \
                 per array): such arrays are read piece by piece"
                .into(),
            Self::Duplicate { .. } => "give every array a name of its own".into(),
            Self::NoSuchArray { array, present, .. } => {
                let present = present.iter().map(String::as_str);
                did_you_mean(array, present, "arrays that are there")
            }
            Self::NoSamples { .. } | Self::SampleCounts { .. } => {
                "axis 0 of every array counts the samples".into()
            }
            Self::WrongDType {
                expected: DType::BFloat16 | DType::Float8E4M3 | DType::Float8E5M2,
                ..
            } => "NumPy has no such type: give the array as raw files, declared under `raw`".into(),
            Self::WrongDType { array, expected, .. } => {
                format!("convert it when saving: `{array}.astype(\"{expected}\")`")
            }
            Self::WrongShape { .. } => {
                "axis 0 counts the samples, the other axes are the model's".into()
            }
            Self::NoRawFiles { array, others, .. } if !others.is_empty() => format!(
                "there are raw files in {}: declare them under that name in place of `{array}`",
                quoted(others)
            ),
            Self::Undeclared { arrays, .. } => {
                let one = |name: &String| format!("{name}: {{ dtype: float32, shape: [..] }}");
                let arrays: Vec<String> = arrays.iter().map(one).collect();
                format!(
                    "add `raw: {{ {} }}` with the type and the shape of one sample",
                    arrays.join(", ")
                )
            }
            Self::NoRawFiles { array, .. } => format!(
                "raw files of `{array}` are `{array}/*.bin` (one sample each), or `{array}.bin` \
                 (all samples); .raw does as well"
            ),
            Self::RawSize { .. } => {
                "`shape` is that of one sample; a file per sample holds exactly one".into()
            }
            _ => return None,
        })
    }
}
