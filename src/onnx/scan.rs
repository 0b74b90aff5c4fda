//! A walk over a model file's protobuf bytes that skips the weights: memory stays bounded by the
//! longest location text, whatever the size of the file.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Seek};

/// The messages that can hold a tensor, and those inside a tensor that name its file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Message {
    Model,
    Training,
    Function,
    Graph,
    Node,
    Attribute,
    Sparse,
    Tensor,
    Entry,
}

impl Message {
    /// What a length-delimited field of this message holds, where it matters here.
    fn child(self, field: u64) -> Option<Self> {
        Some(match (self, field) {
            (Self::Model, 7) | (Self::Training, 1 | 2) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 25) => Self::Function,
            (Self::Function, 7) | (Self::Graph, 1) => Self::Node,
            (Self::Function, 11) | (Self::Node, 5) => Self::Attribute,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Self::Tensor,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::Sparse,
            (Self::Tensor, 13) => Self::Entry,
            _ => return None,
        })
    }
}

/// Why a walk stopped.
#[derive(Debug)]
pub(super) enum ScanError {
    /// The system's answer.
    Io(io::Error),
    /// A field reaches past the end of the file.
    Truncated {
        /// Where that field would end.
        needed: u64,
    },
    /// The bytes are no protobuf message of a model.
    Malformed {
        /// Where.
        offset: u64,
        /// Why.
        reason: &'static str,
    },
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Deeper than any exporter nests subgraphs, and what the full decoder accepts.
const DEEPEST: usize = 100;
/// A path cannot be longer on Linux.
const LONGEST_LOCATION: u64 = 4096;

/// The longest protobuf message there can be.
const LARGEST: u64 = i32::MAX as u64;

/// The external-data locations in `size` bytes of a model file, each with the first tensor there.
pub(super) fn locations(
    input: impl BufRead + Seek,
    size: u64,
) -> Result<BTreeMap<String, String>, ScanError> {
    let mut scan = Scan { input, at: 0, size, found: BTreeMap::new() };
    scan.message(Message::Model, size, 0)?;
    Ok(scan.found)
}

struct Scan<R> {
    input: R,
    at: u64,
    size: u64,
    found: BTreeMap<String, String>,
}

/// What a tensor says of its data; filled while its fields go by.
#[derive(Default)]
struct TensorFields {
    external: bool,
    name: Option<String>,
    location: Option<String>,
}

#[derive(Default)]
struct EntryFields {
    key: Option<String>,
    value: Option<String>,
}

impl<R: BufRead + Seek> Scan<R> {
    fn message(&mut self, kind: Message, end: u64, depth: usize) -> Result<(), ScanError> {
        self.fields(kind, end, depth, &mut TensorFields::default()).map(drop)
    }

    fn fields(
        &mut self,
        kind: Message,
        end: u64,
        depth: usize,
        tensor: &mut TensorFields,
    ) -> Result<EntryFields, ScanError> {
        if depth > DEEPEST {
            return Err(self.malformed("messages are nested too deeply"));
        }
        let mut entry = EntryFields::default();
        while self.at < end {
            let tag = self.varint()?;
            let field = tag >> 3;
            if field == 0 {
                return Err(self.malformed("a field has the number 0"));
            }
            match tag & 7 {
                0 => {
                    let value = self.varint()?;
                    if kind == Message::Tensor && field == 14 {
                        tensor.external = value == 1;
                    }
                }
                1 => self.skip(8)?,
                5 => self.skip(4)?,
                2 => {
                    let len = self.varint()?;
                    if len > LARGEST {
                        return Err(self.malformed("a field is longer than protobuf allows"));
                    }
                    let stop = self.at.saturating_add(len);
                    if stop > end {
                        return Err(if end == self.size {
                            ScanError::Truncated { needed: stop }
                        } else {
                            self.malformed("a field is longer than its message")
                        });
                    }
                    match (kind, field) {
                        (Message::Entry, 1) => entry.key = self.text(len)?,
                        (Message::Entry, 2) => entry.value = self.text(len)?,
                        (Message::Tensor, 8) => tensor.name = self.text(len)?,
                        _ => match kind.child(field) {
                            Some(child) => self.child(child, stop, depth + 1, tensor)?,
                            None => self.skip(len)?,
                        },
                    }
                }
                3 => self.group(field, depth + 1)?,
                _ => return Err(self.malformed("a field has an unknown wire type")),
            }
        }
        if self.at > end {
            return Err(self.malformed("a field is longer than its message"));
        }
        Ok(entry)
    }

    fn child(
        &mut self,
        kind: Message,
        end: u64,
        depth: usize,
        parent: &mut TensorFields,
    ) -> Result<(), ScanError> {
        match kind {
            Message::Entry => {
                let entry = self.fields(kind, end, depth, parent)?;
                if entry.key.as_deref() == Some("location") {
                    parent.location = entry.value;
                }
            }
            Message::Tensor => {
                let mut tensor = TensorFields::default();
                self.fields(kind, end, depth, &mut tensor)?;
                if let (true, Some(location)) = (tensor.external, tensor.location) {
                    self.found.entry(location).or_insert(tensor.name.unwrap_or_default());
                }
            }
            _ => self.message(kind, end, depth)?,
        }
        Ok(())
    }

    /// Passes over a group, a form of nesting that the format itself never uses.
    fn group(&mut self, number: u64, depth: usize) -> Result<(), ScanError> {
        if depth > DEEPEST {
            return Err(self.malformed("messages are nested too deeply"));
        }
        loop {
            let tag = self.varint()?;
            match tag & 7 {
                0 => {
                    self.varint()?;
                }
                1 => self.skip(8)?,
                2 => {
                    let len = self.varint()?;
                    self.skip(len)?;
                }
                3 => self.group(tag >> 3, depth + 1)?,
                4 if tag >> 3 == number => return Ok(()),
                5 => self.skip(4)?,
                _ => return Err(self.malformed("a field has an unknown wire type")),
            }
        }
    }

    fn malformed(&self, reason: &'static str) -> ScanError {
        ScanError::Malformed { offset: self.at, reason }
    }

    fn byte(&mut self) -> Result<u8, ScanError> {
        let Some(&byte) = self.input.fill_buf()?.first() else {
            return Err(ScanError::Truncated { needed: self.at + 1 });
        };
        self.input.consume(1);
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, ScanError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.malformed("a number is longer than 10 bytes"))
    }

    fn skip(&mut self, len: u64) -> Result<(), ScanError> {
        let stop = self.at.saturating_add(len);
        if stop > self.size {
            return Err(ScanError::Truncated { needed: stop });
        }
        self.input.seek_relative(i64::try_from(len).map_err(io::Error::other)?)?;
        self.at = stop;
        Ok(())
    }

    /// A text, or `None` for one that is too long to be a location or a key.
    fn text(&mut self, len: u64) -> Result<Option<String>, ScanError> {
        if len > LONGEST_LOCATION {
            return self.skip(len).map(|()| None);
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        self.input.read_exact(&mut bytes)?;
        self.at += len;
        String::from_utf8(bytes).map(Some).map_err(|_| self.malformed("a text is not UTF-8"))
    }
}
