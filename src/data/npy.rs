//! The header of NumPy's `.npy` format, versions 1 to 3.
//!
//! Parsed here, because the usual reader overflows on hostile shapes.

use std::io::{self, Read};

use crate::tensor::DType;

/// The first bytes of every `.npy` file.
pub(super) const MAGIC: &[u8] = b"\x93NUMPY";
/// NumPy itself refuses longer ones.
const LONGEST_HEADER: usize = 64 * 1024;

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) dtype: DType,
    /// Whether multi-byte elements have their most significant byte first.
    pub(super) big_endian: bool,
    pub(super) fortran_order: bool,
    pub(super) shape: Vec<usize>,
    /// Bytes before the first element.
    pub(super) len: usize,
}

/// Why a header is refused.
#[derive(Debug)]
pub(super) enum HeaderError {
    Read(io::Error),
    Syntax(String),
    Type { descr: String, reason: &'static str },
}

fn syntax<T>(reason: impl Into<String>) -> Result<T, HeaderError> {
    Err(HeaderError::Syntax(reason.into()))
}

/// Reads a header and leaves the reader at the first element.
pub(super) fn read(reader: &mut impl Read) -> Result<Header, HeaderError> {
    let mut fill = |bytes: &mut [u8]| {
        reader.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => HeaderError::Syntax("it ends inside its header".into()),
            _ => HeaderError::Read(error),
        })
    };
    let mut start = [0; 8];
    fill(&mut start)?;
    if &start[..6] != MAGIC {
        return syntax("it does not start as an .npy array does");
    }
    let (text_len, prefix) = match start[6] {
        1 => {
            let mut len = [0; 2];
            fill(&mut len)?;
            (usize::from(u16::from_le_bytes(len)), 10)
        }
        2 | 3 => {
            let mut len = [0; 4];
            fill(&mut len)?;
            (usize::try_from(u32::from_le_bytes(len)).unwrap_or(usize::MAX), 12)
        }
        version => return syntax(format!("its format version is {version}, known are 1 to 3")),
    };
    if text_len > LONGEST_HEADER {
        return syntax(format!("its header claims {text_len} bytes"));
    }
    let mut text = vec![0; text_len];
    fill(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let mut header = Parser { rest: &text }.header()?;
    header.len = prefix + text_len;
    Ok(header)
}

/// Reads the one Python literal a header is: a dict of a string, a bool and a tuple.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start();
        let Some(rest) = rest.strip_prefix(token) else { return false };
        self.rest = rest;
        true
    }

    fn expect(&mut self, token: &str) -> Result<(), HeaderError> {
        if self.eat(token) { Ok(()) } else { syntax(format!("its header lacks a `{token}`")) }
    }

    fn string(&mut self) -> Result<&'a str, HeaderError> {
        for quote in ["'", "\""] {
            if self.eat(quote)
                && let Some((text, rest)) = self.rest.split_once(quote)
            {
                self.rest = rest;
                return Ok(text);
            }
        }
        syntax("its header lacks a string")
    }

    fn header(mut self) -> Result<Header, HeaderError> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.expect("{")?;
        while !self.eat("}") {
            let key = self.string()?;
            self.expect(":")?;
            match key {
                "descr" if self.rest.trim_start().starts_with(['[', '(']) => {
                    let descr = self.rest.trim().chars().take(60).collect();
                    let reason = "a structured type, which no tensor has";
                    return Err(HeaderError::Type { descr, reason });
                }
                "descr" => descr = Some(self.string()?),
                "fortran_order" if self.eat("True") => fortran_order = Some(true),
                "fortran_order" if self.eat("False") => fortran_order = Some(false),
                "shape" => shape = Some(self.shape()?),
                _ => return syntax(format!("its header has a strange `{key}`")),
            }
            if !self.eat(",") {
                self.expect("}")?;
                break;
            }
        }
        let (Some(descr), Some(fortran_order), Some(shape)) = (descr, fortran_order, shape) else {
            return syntax("its header lacks `descr`, `fortran_order` or `shape`");
        };
        let (dtype, big_endian) = element_type(descr)?;
        Ok(Header { dtype, big_endian, fortran_order, shape, len: 0 })
    }

    fn shape(&mut self) -> Result<Vec<usize>, HeaderError> {
        let mut shape = Vec::new();
        self.expect("(")?;
        while !self.eat(")") {
            let rest = self.rest.trim_start();
            let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
            let Ok(extent) = rest[..end].parse() else {
                return syntax("its header's `shape` is not a tuple of sizes");
            };
            shape.push(extent);
            // NumPy on Python 2 wrote `3L`.
            self.rest = rest[end..].strip_prefix('L').unwrap_or(&rest[end..]);
            if !self.eat(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(shape)
    }
}

fn element_type(descr: &str) -> Result<(DType, bool), HeaderError> {
    let refuse =
        |reason| Err(HeaderError::Type { descr: descr.chars().take(60).collect(), reason });
    let (order, kind) = match descr.split_at_checked(1) {
        Some((order @ ("<" | ">" | "|" | "="), kind)) => (order, kind),
        _ => ("|", descr),
    };
    let dtype = match kind {
        "f2" => DType::Float16,
        "f4" => DType::Float32,
        "f8" => DType::Float64,
        "i1" => DType::Int8,
        "i2" => DType::Int16,
        "i4" => DType::Int32,
        "i8" => DType::Int64,
        "u1" => DType::UInt8,
        "u2" => DType::UInt16,
        "u4" => DType::UInt32,
        "u8" => DType::UInt64,
        "b1" => DType::Bool,
        _ => {
            return refuse(match kind.chars().next() {
                Some('O') => "Python objects, which are not loaded (they could run code)",
                Some('U' | 'S' | 'a') => "text, which no tensor here has",
                Some('c') => "complex numbers, which no tensor here has",
                Some('M' | 'm') => "dates or durations, which no tensor has",
                Some('V') => {
                    "bytes without a meaning (bfloat16 and float8 are saved so; NumPy has no \
                     type for them)"
                }
                _ => "which is not known",
            });
        }
    };
    Ok((dtype, order == ">" && dtype.size() > 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn npy(version: u8, dict: &str) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend(u16::try_from(dict.len()).unwrap().to_le_bytes()),
            _ => bytes.extend(u32::try_from(dict.len()).unwrap().to_le_bytes()),
        }
        bytes.extend(dict.as_bytes());
        bytes
    }

    fn parse(dict: &str) -> Result<Header, HeaderError> {
        read(&mut npy(1, dict).as_slice())
    }

    #[test]
    fn headers_of_all_versions_and_pythons_are_read() {
        let dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 8), }   \n";
        for version in [1, 2, 3] {
            let header = read(&mut npy(version, dict).as_slice()).unwrap();
            assert_eq!(header.shape, [3, 8]);
            assert_eq!((header.dtype, header.big_endian), (DType::Float32, false));
            assert_eq!(header.len, npy(version, dict).len());
        }
        let old = parse("{\"shape\": (3L,), 'fortran_order': True, 'descr': '>i8'}").unwrap();
        assert_eq!((old.shape, old.fortran_order, old.big_endian), (vec![3], true, true));
        assert_eq!(
            parse("{'descr':'|b1','fortran_order':False,'shape':()}").unwrap().shape,
            [0; 0]
        );
    }

    #[test]
    fn types_without_a_tensor_are_refused_with_their_reason() {
        for (descr, word) in [
            ("'|O'", "objects"),
            ("'<U7'", "text"),
            ("'<c8'", "complex"),
            ("'<M8[ns]'", "dates"),
            ("'|V2'", "bfloat16"),
            ("[('a', '<f4')]", "structured"),
            ("'<f16'", "not known"),
            ("''", "not known"),
            ("'é'", "not known"),
        ] {
            let dict = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (1,)}}");
            match parse(&dict) {
                Err(HeaderError::Type { reason, .. }) => assert!(reason.contains(word), "{reason}"),
                other => panic!("{descr}: {other:?}"),
            }
        }
    }

    #[test]
    fn damaged_headers_are_refused() {
        let good = npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}");
        for len in 0..good.len() {
            assert!(read(&mut &good[..len]).is_err(), "{len}");
        }
        for dict in [
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,)}",
            "{'descr': '<f4', 'fortran_order': 1, 'shape': (3,)}",
            "{'descr': '<f4', 'shape': (3,)}",
            "[]",
            "",
        ] {
            assert!(parse(dict).is_err(), "{dict}");
        }
        assert!(read(&mut npy(9, "{}").as_slice()).is_err());
        let mut huge = MAGIC.to_vec();
        huge.extend([2, 0, 0xff, 0xff, 0xff, 0xff]);
        assert!(read(&mut huge.as_slice()).is_err());
    }
}
