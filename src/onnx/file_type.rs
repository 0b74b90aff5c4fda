//! What a file that is not an ONNX model looks like, from its first bytes.

use std::fmt;

/// A kind of file that people take for a model.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    Html,
    GitLfsPointer,
    Engine,
    Zip,
    Pickle,
    Hdf5,
    Gzip,
    TensorFlowLite,
    OrtFormat,
    Safetensors,
    Text,
}

impl FileType {
    /// Recognises a file by its first bytes (512 are plenty); `None` where nothing known fits,
    /// as for a real model.
    pub fn recognise(head: &[u8]) -> Option<Self> {
        let trimmed = head.trim_ascii_start();
        let at_four = |magic: &[u8]| head.get(4..8) == Some(magic);
        let is_html = |word: &[u8]| {
            trimmed.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
        };
        Some(match head {
            _ if is_html(b"<!doctype html") || is_html(b"<html") => Self::Html,
            _ if head.starts_with(b"version https://git-lfs") => Self::GitLfsPointer,
            _ if matches!(head, [b'p' | b'f' | b'v', b't', b'r', b't', ..]) => Self::Engine,
            _ if head.starts_with(b"PK\x03\x04") => Self::Zip,
            _ if matches!(head, [0x80, 2..=5, ..]) => Self::Pickle,
            _ if head.starts_with(b"\x89HDF\r\n") => Self::Hdf5,
            _ if head.starts_with(b"\x1f\x8b") => Self::Gzip,
            _ if at_four(b"TFL3") => Self::TensorFlowLite,
            _ if at_four(b"ORTM") => Self::OrtFormat,
            [.., _] if head.get(8..10) == Some(b"{\"") => Self::Safetensors,
            _ if is_text(head) => Self::Text,
            _ => return None,
        })
    }

    /// What the user can do next.
    pub fn help(self) -> Option<&'static str> {
        Some(match self {
            Self::Html => "the download gave a web page; fetch the raw file",
            Self::GitLfsPointer => "run `git lfs pull` to get the file itself",
            Self::Engine => {
                "an engine needs no conversion: use `from: { file: x.plan, kind: engine }`"
            }
            Self::Gzip => "unpack it",
            Self::Zip | Self::Pickle | Self::Hdf5 | Self::Safetensors => {
                "a `convert` stage makes an ONNX model of those of PyTorch and TensorFlow: \
                 `trt-pipeline inspect FILE` says what it needs"
            }
            Self::TensorFlowLite => "export the model that it was made from",
            Self::OrtFormat => "use the .onnx file that the .ort file was made from",
            Self::Text => "name the model's file itself",
        })
    }
}

/// Printable throughout: no model is, because field tags are control characters.
fn is_text(head: &[u8]) -> bool {
    let printable = |byte: &u8| !byte.is_ascii_control() || matches!(byte, b'\n' | b'\r' | b'\t');
    !head.is_empty()
        && head.first() != Some(&b'\n')
        && head.iter().all(printable)
        && head.is_ascii()
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Html => "an HTML page",
            Self::GitLfsPointer => "a git-lfs pointer",
            Self::Engine => "a TensorRT engine",
            Self::Zip => "a zip archive (PyTorch checkpoints are such)",
            Self::Pickle => "a Python pickle (PyTorch checkpoints are such)",
            Self::Hdf5 => "an HDF5 file (Keras models are such)",
            Self::Gzip => "a gzip file",
            Self::TensorFlowLite => "a TensorFlow Lite model",
            Self::OrtFormat => "a model in the ORT format",
            Self::Safetensors => "a safetensors file",
            Self::Text => "a text file",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_often_taken_for_models_are_named() {
        let cases: [(&[u8], FileType); 8] = [
            (b"\n<!DOCTYPE HTML><html>", FileType::Html),
            (b"version https://git-lfs.github.com/spec/v1\n", FileType::GitLfsPointer),
            (b"ptrt\x01\0\0\0", FileType::Engine),
            (b"vtrt\0\0\0\0\x02\0\0\0", FileType::Engine),
            (b"PK\x03\x04....", FileType::Zip),
            (b"\x80\x02}q\0", FileType::Pickle),
            (b"\x40\0\0\0\0\0\0\0{\"a\":", FileType::Safetensors),
            (b"hello\nworld\n", FileType::Text),
        ];
        for (head, expected) in cases {
            assert_eq!(FileType::recognise(head), Some(expected), "{head:?}");
        }
        assert_eq!(FileType::recognise(b"\x08\x07\x12\x07pytorch"), None);
        assert_eq!(FileType::recognise(b""), None);
    }
}
