//! [`Wire`]: a walk over the fields of a protobuf file that skips what is not asked for.

use std::fs::File;
use std::io::{self, BufReader, Read};

/// More fields than any model's outer messages have.
const MOST_FIELDS: u64 = 16_000_000;

/// Why a walk stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The field with this number, of the outer message, ends beyond the file.
    #[error("it has {size} bytes, its content needs at least {needed}")]
    Truncated { number: u64, size: u64, needed: u64 },
    #[error("{reason} at byte {at}")]
    Malformed { at: u64, reason: &'static str },
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    /// Bytes from here to this place in the file.
    Bytes {
        end: u64,
    },
    /// Four or eight bytes, which are skipped.
    Fixed,
}

/// A place in a file of protobuf messages.
#[derive(Debug)]
pub(super) struct Wire {
    input: BufReader<File>,
    at: u64,
    size: u64,
    fields: u64,
}

impl Wire {
    /// Starts at the begin of a file.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self { input: BufReader::new(file), at: 0, size, fields: 0 })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The next field of the message that ends at `end`: its number and what it holds. Bytes must
    /// be read or skipped before the next call.
    pub(super) fn field(&mut self, end: u64) -> Result<Option<(u64, Value)>, WireError> {
        if self.at == end {
            return Ok(None);
        }
        self.fields += 1;
        if self.fields > MOST_FIELDS {
            return Err(self.malformed("it has more fields than a model"));
        }
        let tag = self.varint(end, 0)?;
        let number = tag >> 3;
        let value = match tag & 7 {
            0 => Value::Number(self.varint(end, number)?),
            wide @ (1 | 5) => {
                let stop = self.stop(if wide == 1 { 8 } else { 4 }, end, number)?;
                self.skip_to(stop)?;
                Value::Fixed
            }
            2 => {
                let len = self.varint(end, number)?;
                Value::Bytes { end: self.stop(len, end, number)? }
            }
            _ => return Err(self.malformed("a field has an unknown wire type")),
        };
        if number == 0 {
            return Err(self.malformed("a field has the number 0"));
        }
        Ok(Some((number, value)))
    }

    /// Goes on behind a field's bytes.
    pub(super) fn skip_to(&mut self, end: u64) -> Result<(), WireError> {
        let count = end.saturating_sub(self.at);
        self.input.seek_relative(i64::try_from(count).map_err(io::Error::other)?)?;
        self.at = end;
        Ok(())
    }

    /// A field's bytes, or `None`, skipped, where they are more than `longest`.
    pub(super) fn bytes(&mut self, end: u64, longest: u64) -> Result<Option<Vec<u8>>, WireError> {
        let count = end.saturating_sub(self.at);
        if count > longest {
            return self.skip_to(end).map(|()| None);
        }
        let mut bytes = vec![0; usize::try_from(count).map_err(io::Error::other)?];
        self.input.read_exact(&mut bytes)?;
        self.at = end;
        Ok(Some(bytes))
    }

    /// A field's text, or `None` where it is too long for a name or not UTF-8.
    pub(super) fn text(&mut self, end: u64) -> Result<Option<String>, WireError> {
        const LONGEST: u64 = 4096;
        Ok(self.bytes(end, LONGEST)?.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    fn stop(&self, len: u64, end: u64, number: u64) -> Result<u64, WireError> {
        let stop = self.at.saturating_add(len);
        if stop <= end {
            Ok(stop)
        } else if end == self.size {
            Err(WireError::Truncated { number, size: self.size, needed: stop })
        } else {
            Err(self.malformed("a field is longer than its message"))
        }
    }

    fn varint(&mut self, end: u64, number: u64) -> Result<u64, WireError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let stop = self.stop(1, end, number)?;
            let mut byte = [0];
            self.input.read_exact(&mut byte)?;
            self.at = stop;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(self.malformed("a number is longer than 10 bytes"))
    }

    fn malformed(&self, reason: &'static str) -> WireError {
        WireError::Malformed { at: self.at, reason }
    }
}
