//! [`SharedMemoryError`]: why a region is not registered, or not used.

use crate::runtime::ErrorKind;

use super::{LONGEST_NAME, MOST_REGIONS};

/// Why a region is not registered, or not used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SharedMemoryError {
    /// The extension is off.
    #[error("shared memory is off: {0}")]
    Off(String),
    /// A region's name cannot be one.
    #[error("a shared memory region's name has 1 to {LONGEST_NAME} bytes, `{0}` has {len}", len = .0.len())]
    Name(String),
    /// A memory object's name cannot be one.
    #[error(
        "`{0}` names no shared memory object: after a `/` at most, 1 to {LONGEST_NAME} letters, \
         digits, `_`, `.` or `-` are allowed, other than `.` and `..`"
    )]
    Key(String),
    /// The memory object is not there, or not to be opened.
    #[error("unable to open shared memory object `{key}`: {reason}")]
    Open {
        /// Its name.
        key: String,
        /// Why.
        reason: String,
    },
    /// The name is taken.
    #[error("shared memory region `{0}` is registered already; unregister it first")]
    Twice(String),
    /// There are as many as may be.
    #[error("{MOST_REGIONS} shared memory regions are registered already; unregister one first")]
    TooMany,
    /// No region has this name.
    #[error("unable to find shared memory region `{name}`; registered: {registered}")]
    Unknown {
        /// The name.
        name: String,
        /// The names there are.
        registered: String,
    },
    /// The bytes asked for are not all in the region, or are none.
    #[error(
        "{len} bytes at offset {offset} are not a part of shared memory region `{region}`, which has {size} bytes"
    )]
    Outside {
        /// The region's name.
        region: String,
        /// Where they start.
        offset: u64,
        /// How many they are.
        len: u64,
        /// Size of the region.
        size: u64,
    },
    /// The file is smaller than the region now.
    #[error(
        "shared memory region `{region}` ends before byte {end}: its memory object has {size} bytes now"
    )]
    Cut {
        /// The region's name.
        region: String,
        /// The end of the part, from the object's start.
        end: u64,
        /// Bytes the object has.
        size: u64,
    },
    /// More bytes than one request may carry.
    #[error(
        "{len} bytes of shared memory region `{region}` are more than the {most} a tensor may have"
    )]
    TooLarge {
        /// The region's name.
        region: String,
        /// How many they are.
        len: u64,
        /// How many there may be.
        most: u64,
    },
    /// An output has no room.
    #[error(
        "{room} bytes of shared memory region `{region}` do not hold the output's {needed} bytes"
    )]
    NoRoom {
        /// The region's name.
        region: String,
        /// Bytes given.
        room: usize,
        /// Bytes needed.
        needed: usize,
    },
    /// The system failed to move the bytes.
    #[error("shared memory region `{region}` cannot be used: {reason}")]
    Moving {
        /// The region's name.
        region: String,
        /// Why.
        reason: String,
    },
}

impl SharedMemoryError {
    /// What the caller can do about it.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown { .. } => ErrorKind::NotFound,
            Self::TooMany => ErrorKind::Overloaded,
            Self::Moving { .. } => ErrorKind::Internal,
            _ => ErrorKind::Invalid,
        }
    }
}
