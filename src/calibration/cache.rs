//! [`CalibrationCache`]: the text in which TensorRT keeps what a calibration found.
//!
//! ```text
//! TRT-8600-EntropyCalibration2
//! image: 3c010a14
//! /conv1/Conv_output_0: 3d16cb75
//! ```
//!
//! The head names the version and the algorithm; each line is a tensor and its scale (the value
//! that the integer 1 stands for), as the bits of a float32 in hexadecimal.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use indexmap::IndexMap;

/// What a calibration found: the scale of every tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibrationCache {
    /// The version in the head, in the library's form: 8600 for 8.6.0, 101303 for 10.13.3.
    pub version: u32,
    /// The algorithm in the head, such as `EntropyCalibration2`.
    pub algorithm: String,
    /// The scale of each tensor, by name.
    pub scales: IndexMap<String, f32>,
}

/// Why a text is no cache, or not one to use.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file could not be read.
    #[error("failed to read calibration cache `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It is no text.
    #[error("the calibration cache is a binary file, not the text that TensorRT writes")]
    Binary,
    /// The first line is something else.
    #[error(
        "a calibration cache begins with a line like `TRT-8600-EntropyCalibration2`, not `{0}`"
    )]
    Head(String),
    /// A line is no tensor with its scale.
    #[error("line {number} of the calibration cache is no `name: hexadecimal scale`: `{text}`")]
    Line {
        /// The line's number, from 1.
        number: usize,
        /// The line.
        text: String,
    },
    /// There are no scales.
    #[error("the calibration cache has no scales")]
    Empty,
    /// Another algorithm made it.
    #[error("the calibration cache was made by {found}, and the build asks for {expected}")]
    Algorithm {
        /// The algorithm in the head.
        found: String,
        /// The one asked for.
        expected: &'static str,
    },
}

impl CacheError {
    /// What the user can do next.
    pub fn help(&self) -> Option<&'static str> {
        Some(match self {
            Self::Read { .. } => return None,
            Self::Algorithm { .. } => "choose that `calibrator`, or give `data` to calibrate anew",
            Self::Binary | Self::Head(_) | Self::Line { .. } | Self::Empty => {
                "give a file that TensorRT wrote, or `data` to calibrate anew"
            }
        })
    }
}

impl CalibrationCache {
    /// Reads a cache file.
    pub fn read(path: &Path) -> Result<Self, CacheError> {
        let bytes =
            fs::read(path).map_err(|source| CacheError::Read { path: path.to_owned(), source })?;
        if bytes.contains(&0) {
            return Err(CacheError::Binary);
        }
        String::from_utf8_lossy(&bytes).parse()
    }
}

impl FromStr for CalibrationCache {
    type Err = CacheError;

    fn from_str(text: &str) -> Result<Self, CacheError> {
        let mut lines = text.lines();
        let head = lines.next().unwrap_or_default();
        let parts = head.trim_end().strip_prefix("TRT-").and_then(|rest| rest.split_once('-'));
        let parts = parts.and_then(|(version, name)| Some((version.parse().ok()?, name)));
        let Some((version, algorithm)) = parts else { return Err(CacheError::Head(start(head))) };
        let mut scales = IndexMap::new();
        for (line, number) in lines.zip(2..) {
            if line.trim().is_empty() {
                continue;
            }
            let (name, scale) =
                scale(line).ok_or_else(|| CacheError::Line { number, text: start(line) })?;
            scales.insert(name.to_owned(), scale);
        }
        if scales.is_empty() {
            return Err(CacheError::Empty);
        }
        Ok(Self { version, algorithm: algorithm.to_owned(), scales })
    }
}

/// A line's tensor and scale. Names may have colons in them.
fn scale(line: &str) -> Option<(&str, f32)> {
    let (name, digits) = line.trim_end().rsplit_once(": ")?;
    let is_hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let bits = is_hexadecimal.then(|| u32::from_str_radix(digits, 16).ok())??;
    Some((name, f32::from_bits(bits))).filter(|(_, scale)| scale.is_finite())
}

/// As much of a line as a message can show.
fn start(line: &str) -> String {
    let is_readable = |char: &char| !char.is_control() && *char != char::REPLACEMENT_CHARACTER;
    line.chars().filter(is_readable).take(60).collect()
}

impl fmt::Display for CalibrationCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "TRT-{}-{}", self.version, self.algorithm)?;
        for (name, scale) in &self.scales {
            writeln!(f, "{name}: {:08x}", scale.to_bits())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "TRT-8600-EntropyCalibration2\n\
                        image: 3c010204\n\
                        (Unnamed Layer* 0) [Shuffle]: out: 3f800000\n";

    #[test]
    fn what_tensorrt_writes_is_read_and_written_back() {
        let cache: CalibrationCache = TEXT.parse().unwrap();
        assert_eq!((cache.version, cache.algorithm.as_str()), (8600, "EntropyCalibration2"));
        assert_eq!(cache.scales["image"].to_bits(), 0x3c01_0204);
        assert_eq!(cache.scales["(Unnamed Layer* 0) [Shuffle]: out"].to_bits(), 1f32.to_bits());
        assert_eq!(cache.to_string(), TEXT);
        let windows = TEXT.replace('\n', "\r\n");
        assert_eq!(windows.parse::<CalibrationCache>().unwrap(), cache);
    }

    #[test]
    fn a_binary_file_is_refused_without_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calib.npz");
        fs::write(&path, b"PK\x03\x04\x2d\0\0\0\xff\xfeimage.npy").unwrap();
        let error = CalibrationCache::read(&path).unwrap_err();
        assert!(matches!(error, CacheError::Binary), "{error}");
        fs::write(&path, b"\xff\xfeTRT\n").unwrap();
        let error = CalibrationCache::read(&path).unwrap_err().to_string();
        assert!(error.ends_with("not `TRT`"), "{error}");
    }

    #[test]
    fn other_texts_are_refused_with_the_line() {
        for (text, words) in [
            ("", "not ``"),
            ("TRT-x-EntropyCalibration2\n", "not `TRT-x-"),
            ("\u{7f}ELF\u{2}\u{1}", "not `ELF`"),
            ("TRT-8600-MinMaxCalibration\n", "no scales"),
            ("TRT-8600-MinMaxCalibration\nimage 3c010204\n", "line 2"),
            ("TRT-8600-MinMaxCalibration\n\nimage: 3c01020\nb: +1\n", "line 4"),
            ("TRT-8600-MinMaxCalibration\nimage: 13c010204\n", "line 2"),
            ("TRT-8600-MinMaxCalibration\nimage: \n", "line 2"),
            ("TRT-8600-MinMaxCalibration\nimage: 7fc00000\n", "line 2"),
        ] {
            let error = text.parse::<CalibrationCache>().unwrap_err();
            assert!(error.to_string().contains(words), "{text:?}: {error}");
            assert!(error.help().is_some());
        }
    }
}
