//! [`Archive`]: a zip file of which only names and small members are looked at.
//!
//! Members are found through the central directory, which is walked in a buffer of fixed size:
//! neither the number of members that it claims nor their sizes are believed.

use std::fs::File;
use std::io::{self, Read};

use flate2::read::DeflateDecoder;
use rawzip::{
    CompressionMethod, FileReader, RECOMMENDED_BUFFER_SIZE, ZipArchive, ZipArchiveEntryWayfinder,
};

/// More members than any model has.
const MOST_MEMBERS: usize = 2_000_000;
/// Members that are kept, of those that are asked for.
const MOST_KEPT: usize = 4096;

/// A zip file.
#[derive(Debug)]
pub(super) struct Archive {
    zip: ZipArchive<FileReader>,
    /// The members that were asked for.
    pub(super) members: Vec<Member>,
    /// Names of the first members.
    pub(super) first: Vec<String>,
    /// Number of all members.
    pub(super) count: usize,
}

/// A file in an archive.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) size: u64,
    place: ZipArchiveEntryWayfinder,
    method: CompressionMethod,
}

impl Member {
    /// The name without the folder that PyTorch puts all members into.
    pub(super) fn inner(&self) -> &str {
        inner(&self.name)
    }
}

fn inner(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, rest)| rest)
}

impl Archive {
    /// Opens a zip file and keeps the members whose names, without their first folder, are wanted.
    pub(super) fn open(file: File, wanted: fn(&str) -> bool) -> Result<Self, rawzip::Error> {
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let zip = ZipArchive::from_file(file, &mut buffer)?;
        let (mut members, mut first, mut count) = (Vec::new(), Vec::new(), 0);
        let mut entries = zip.entries(&mut buffer);
        while let Some(entry) = entries.next_entry()? {
            count += 1;
            if count > MOST_MEMBERS {
                let reason = format!("there are more than {MOST_MEMBERS} members");
                return Err(io::Error::other(reason).into());
            }
            let name = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
            if members.len() < MOST_KEPT && (wanted(&name) || wanted(inner(&name))) {
                members.push(Member {
                    name: name.clone(),
                    size: entry.uncompressed_size_hint(),
                    place: entry.wayfinder(),
                    method: entry.compression_method(),
                });
            }
            if first.len() < 4 {
                first.push(name);
            }
        }
        Ok(Self { zip, members, first, count })
    }

    /// The first member that fits.
    pub(super) fn find(&self, fits: impl Fn(&str) -> bool) -> Option<&Member> {
        self.members.iter().find(|member| fits(member.inner()))
    }

    /// Unpacks at most `longest` bytes of a member, piece by piece.
    pub(super) fn reader(
        &self,
        member: &Member,
        longest: u64,
    ) -> Result<Box<dyn Read + '_>, rawzip::Error> {
        let entry = self.zip.get_entry(member.place)?;
        let packed = entry.reader();
        match member.method {
            CompressionMethod::STORE => Ok(Box::new(packed.take(longest))),
            CompressionMethod::DEFLATE => Ok(Box::new(DeflateDecoder::new(packed).take(longest))),
            other => {
                Err(io::Error::other(format!("`{}` is packed with {other:?}", member.name)).into())
            }
        }
    }

    /// A member's content; `None` where it is longer than `longest`.
    pub(super) fn read(
        &self,
        member: &Member,
        longest: u64,
    ) -> Result<Option<Vec<u8>>, rawzip::Error> {
        if member.size > longest {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        self.reader(member, longest + 1)?.read_to_end(&mut bytes)?;
        Ok((bytes.len() as u64 <= longest).then_some(bytes))
    }
}
