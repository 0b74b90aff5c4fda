//! What a shared library says of itself, read from its file without loading it.
//!
//! Reads the headers, the dynamic symbols and the notes: some hundred kilobytes of a file of any
//! size. Knows no library by name.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;

use object::elf::{
    DT_SONAME, ELF_NOTE_GNU, EM_AARCH64, EM_X86_64, ET_DYN, FileHeader64, NT_GNU_BUILD_ID,
    SHT_DYNSYM,
};
use object::endian::Endianness;
use object::read::elf::{FileHeader as _, ProgramHeader as _, Sym as _};
use object::read::{ReadCache, ReadRef as _};

use super::error::FileError;

/// What a shared library says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backend) struct SharedLibrary {
    /// The name it is loaded by.
    pub(in crate::backend) soname: Option<String>,
    /// The linker's digest of its content, in hexadecimal.
    pub(in crate::backend) build_id: Option<String>,
    /// The names it defines for others, without those of C++.
    pub(in crate::backend) exports: BTreeSet<String>,
    /// The versions of its interface that its linker was told, such as `VERS_1.32.0`.
    pub(in crate::backend) versions: BTreeSet<String>,
}

type Header = FileHeader64<Endianness>;

/// Reads a shared library of this machine.
pub(in crate::backend) fn read(path: &Path) -> Result<SharedLibrary, FileError> {
    // Before it is opened: opening a pipe waits for someone to write into it.
    let metadata = fs::metadata(path).map_err(FileError::read(path))?;
    if !metadata.is_file() {
        return Err(FileError::NotShared { path: path.to_owned(), what: "no regular file" });
    }
    let file = File::open(path).map_err(FileError::read(path))?;
    let bytes = metadata.len();
    let data = &ReadCache::new(file);
    // Too short for a header is told as what its first bytes are.
    let start = data.read_bytes_at(0, bytes.min(64)).unwrap_or_default();
    if let Some(what) = foreign(start) {
        return Err(FileError::NotShared { path: path.to_owned(), what });
    }
    let damaged = |reason: object::read::Error| FileError::Damaged {
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    if start.len() < size_of::<Header>() {
        let needed = size_of::<Header>() as u64;
        return Err(FileError::Truncated { path: path.to_owned(), bytes, needed });
    }
    if start[4] != object::elf::ELFCLASS64 {
        let found = "32-bit processors".to_owned();
        return Err(FileError::WrongMachine { path: path.to_owned(), found });
    }
    let header = Header::parse(data).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    if Some(header.e_machine(endian)) != machine_here() {
        let found = machine_name(header.e_machine(endian));
        return Err(FileError::WrongMachine { path: path.to_owned(), found });
    }
    if header.e_type(endian) != ET_DYN {
        return Err(FileError::NotShared {
            path: path.to_owned(),
            what: "a program or an object file",
        });
    }
    // The table of sections stands at the end of the file.
    let table = u64::from(header.e_shnum(endian)) * u64::from(header.e_shentsize(endian));
    let needed = header.e_shoff(endian).saturating_add(table);
    if needed > bytes {
        return Err(FileError::Truncated { path: path.to_owned(), bytes, needed });
    }
    contents(header, endian, data).map_err(damaged)
}

fn contents(
    header: &Header,
    endian: Endianness,
    data: &ReadCache<File>,
) -> object::read::Result<SharedLibrary> {
    let sections = header.sections(endian, data)?;
    let symbols = sections.symbols(endian, data, SHT_DYNSYM)?;
    let mut exports = BTreeSet::new();
    for symbol in symbols.iter().filter(|symbol| !symbol.is_undefined(endian)) {
        let name = symbol.name(endian, symbols.strings())?;
        if !name.is_empty() && !name.starts_with(b"_Z") {
            exports.insert(String::from_utf8_lossy(name).into_owned());
        }
    }
    let dynamic = sections.dynamic_table(endian, data)?;
    let mut soname = None;
    if let Some(entry) = dynamic.iter().find(|entry| entry.tag == DT_SONAME) {
        soname = Some(String::from_utf8_lossy(dynamic.string(entry)?).into_owned());
    }
    let mut build_id = None;
    for segment in header.program_headers(endian, data)? {
        let Some(mut notes) = segment.notes(endian, data)? else { continue };
        while let Some(note) = notes.next()? {
            if note.name() == ELF_NOTE_GNU && note.n_type(endian) == NT_GNU_BUILD_ID {
                let mut hexadecimal = String::new();
                for byte in note.desc() {
                    // Writing to a string does not fail.
                    let _ = write!(hexadecimal, "{byte:02x}");
                }
                build_id = Some(hexadecimal);
            }
        }
    }
    let mut versions = BTreeSet::new();
    if let Some((mut definitions, strings)) = sections.gnu_verdef(endian, data)? {
        let strings = sections.strings(endian, data, strings)?;
        while let Some((_, mut names)) = definitions.next()? {
            // The first is its name, others are those it comes after.
            if let Some(name) = names.next()? {
                let name = name.name(endian, strings)?;
                versions.insert(String::from_utf8_lossy(name).into_owned());
            }
        }
    }
    Ok(SharedLibrary { soname, build_id, exports, versions })
}

/// The linker's digest of a library, which is read from its header; a digest of the file where
/// the linker made none.
pub(in crate::backend) fn identity(
    path: &Path,
    build_id: Option<String>,
) -> Result<String, FileError> {
    if let Some(build_id) = build_id {
        return Ok(build_id);
    }
    let file = File::open(path).map_err(FileError::read(path))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).map_err(FileError::read(path))?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// What a file is that does not start as ELF files do, with its article.
fn foreign(start: &[u8]) -> Option<&'static str> {
    Some(match start {
        [0x7f, b'E', b'L', b'F', ..] => return None,
        [] => "an empty file",
        [b'P', b'K', 3, 4, ..] => "a zip archive, such as a Python wheel",
        [0x1f, 0x8b, ..] => "a gzip archive",
        [b'!', b'<', b'a', b'r', ..] => "a static library or Debian package",
        [b'M', b'Z', ..] => "a Windows program or DLL",
        _ if start.starts_with(b"version https://git-lfs") => "a Git LFS pointer",
        _ if start.iter().all(|byte| (9..=13).contains(byte) || *byte >= 32) => "a text file",
        _ => "a file of another format",
    })
}

/// The machine this program is for, as ELF files number it.
fn machine_here() -> Option<u16> {
    match std::env::consts::ARCH {
        "x86_64" => Some(EM_X86_64),
        "aarch64" => Some(EM_AARCH64),
        _ => None,
    }
}

fn machine_name(machine: u16) -> String {
    match machine {
        EM_X86_64 => "x86_64".to_owned(),
        EM_AARCH64 => "aarch64".to_owned(),
        other => format!("processors of ELF number {other}"),
    }
}
