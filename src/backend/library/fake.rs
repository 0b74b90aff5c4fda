//! Shared libraries of a few hundred bytes, made by hand.

use std::path::{Path, PathBuf};

/// A library to make.
#[derive(Clone)]
pub(in crate::backend) struct Fake {
    pub(in crate::backend) machine: u16,
    pub(in crate::backend) soname: &'static str,
    pub(in crate::backend) exports: Vec<String>,
    pub(in crate::backend) build_id: Option<[u8; 4]>,
}

/// The machine the tests run on, as ELF files number it.
const HERE: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };

impl Fake {
    pub(in crate::backend) fn new(soname: &'static str, exports: &[&str]) -> Self {
        let exports = exports.iter().map(|name| (*name).to_owned()).collect();
        Self { machine: HERE, soname, exports, build_id: Some([0xab, 0xcd, 1, 2]) }
    }

    /// TensorRT of a version such as `10_13_3_9`.
    pub(in crate::backend) fn runtime(soname: &'static str, version: &str) -> Self {
        Self::new(soname, &["createInferBuilder_INTERNAL", &format!("tensorrt_version_{version}")])
    }

    pub(in crate::backend) fn parser(soname: &'static str) -> Self {
        Self::new(soname, &["createNvOnnxParser_INTERNAL", "getNvOnnxParserVersion"])
    }

    /// Writes the library and gives its path.
    pub(in crate::backend) fn write(&self, folder: &Path, name: &str) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, self.bytes()).unwrap();
        path
    }

    /// The file: header, one note segment, symbols, their names, the dynamic section, sections.
    pub(in crate::backend) fn bytes(&self) -> Vec<u8> {
        let mut names = vec![0];
        let mut name = |text: &str| {
            let at = u32::try_from(names.len()).unwrap();
            names.extend(text.bytes().chain([0]));
            at
        };
        let soname = name(self.soname);
        let mut symbols = vec![0; 24];
        for export in &self.exports {
            symbols.extend(name(export).to_le_bytes());
            symbols.extend([0x12, 0]); // A global function,
            symbols.extend(1_u16.to_le_bytes()); // defined in section 1.
            symbols.extend([0; 16]);
        }
        let undefined = name("getLogger");
        symbols.extend(undefined.to_le_bytes());
        symbols.extend([0; 20]);
        let mut dynamic: Vec<u8> = Vec::new();
        for word in [14, u64::from(soname), 0, 0] {
            dynamic.extend(word.to_le_bytes());
        }
        let mut note = Vec::new();
        if let Some(id) = self.build_id {
            for word in [4_u32, 4, 3] {
                note.extend(word.to_le_bytes());
            }
            note.extend(*b"GNU\0");
            note.extend(id);
        }
        let mut bytes = vec![0; 64 + 56];
        let mut put = |part: &[u8]| {
            let at = bytes.len() as u64;
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            (at, part.len() as u64)
        };
        let places = [put(&symbols), put(&names), put(&dynamic)];
        let note = put(&note);
        let table = bytes.len() as u64;
        bytes.extend([0; 64]);
        // Dynamic symbols, strings, dynamic section; the first and last belong to the strings.
        for ((kind, link, size), (at, length)) in
            [(11, 2, 24), (3, 0, 0), (6, 2, 16)].iter().zip(places)
        {
            bytes.extend([0; 4]);
            bytes.extend(u32::to_le_bytes(*kind));
            bytes.extend([0; 16]);
            bytes.extend(at.to_le_bytes());
            bytes.extend(length.to_le_bytes());
            bytes.extend(u32::to_le_bytes(*link));
            bytes.extend([0; 12]);
            bytes.extend(u64::to_le_bytes(*size));
        }
        bytes[..20].copy_from_slice(
            &[&b"\x7fELF\x02\x01\x01"[..], &[0; 9], &[3, 0], &self.machine.to_le_bytes()].concat(),
        );
        let mut set = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        set(20, &1_u32.to_le_bytes());
        set(32, &64_u64.to_le_bytes()); // Where the segments are listed,
        set(40, &table.to_le_bytes()); // and the sections.
        for (at, value) in [(52, 64), (54, 56), (56, 1), (58, 64), (60, 4), (62, 2_u16)] {
            set(at, &value.to_le_bytes());
        }
        set(64, &4_u32.to_le_bytes());
        set(72, &note.0.to_le_bytes());
        set(96, &note.1.to_le_bytes());
        set(112, &4_u64.to_le_bytes());
        bytes
    }
}
