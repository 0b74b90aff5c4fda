//! [`Generation`]: libraries that are driven in the same way, and [`LibraryVersion`], which tells
//! the generation.
//!
//! Says what `ffi/tensorrt-abi.toml` covers. Knows nothing of where libraries are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Flavor;

/// A library's full version, such as 10.13.3.9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LibraryVersion {
    /// Changes with the interface.
    pub major: u32,
    /// Adds to the interface.
    pub minor: u32,
    /// Repairs.
    pub patch: u32,
    /// NVIDIA's count of builds.
    pub build: u32,
}

impl LibraryVersion {
    /// Its form as one number in a library's own files: 8600 for 8.6.0, 101303 for 10.13.3.
    pub fn number(self) -> u32 {
        let majors = if self.major < 10 { 1_000 } else { 10_000 };
        self.major * majors + self.minor * 100 + self.patch
    }
}

impl fmt::Display for LibraryVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.major, self.minor, self.patch, self.build)
    }
}

/// A text that is not four numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version of four numbers")]
pub struct InvalidVersion(String);

impl FromStr for LibraryVersion {
    type Err = InvalidVersion;
    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let number = |part: &str| {
            let digits = part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse().ok())?
        };
        let numbers: Option<Vec<u32>> = text.split('.').map(number).collect();
        match numbers.as_deref() {
            Some(&[major, minor, patch, build]) => Ok(Self { major, minor, patch, build }),
            _ => Err(InvalidVersion(text.to_owned())),
        }
    }
}

impl TryFrom<String> for LibraryVersion {
    type Error = InvalidVersion;
    fn try_from(text: String) -> Result<Self, InvalidVersion> {
        text.parse()
    }
}

impl From<LibraryVersion> for String {
    fn from(version: LibraryVersion) -> Self {
        version.to_string()
    }
}

/// Libraries that are driven in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generation {
    /// TensorRT 8.6.
    #[serde(rename = "v8_6")]
    V8_6,
    /// TensorRT 10.
    V10,
    /// TensorRT 11.
    V11,
    /// TensorRT-RTX 1.3 and 1.4.
    #[serde(rename = "rtx1_4")]
    Rtx1_4,
    /// TensorRT-RTX from 1.5.
    Rtx1,
}

/// Why a library has no generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnknownGeneration {
    /// An earlier minor version than any that is known.
    #[error("{product} {major}.{minor} is too old; the oldest that is known is {major}.{oldest}")]
    TooOld {
        /// The product's name.
        product: &'static str,
        /// The library's major version.
        major: u32,
        /// The library's minor version.
        minor: u32,
        /// The first minor version that is known.
        oldest: u32,
    },
    /// A major version that is not known.
    #[error("{product} {major} is not known to this build of trt-pipeline")]
    Major {
        /// The product's name.
        product: &'static str,
        /// The library's major version.
        major: u32,
    },
}

impl Generation {
    /// All of them, oldest first within each product.
    pub const ALL: [Self; 5] = [Self::V8_6, Self::V10, Self::V11, Self::Rtx1_4, Self::Rtx1];

    /// Its name in `ffi/tensorrt-abi.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V8_6 => "v8_6",
            Self::V10 => "v10",
            Self::V11 => "v11",
            Self::Rtx1_4 => "rtx1_4",
            Self::Rtx1 => "rtx1",
        }
    }

    /// The product it belongs to.
    pub fn flavor(self) -> Flavor {
        match self {
            Self::V8_6 | Self::V10 | Self::V11 => Flavor::Standard,
            Self::Rtx1_4 | Self::Rtx1 => Flavor::Rtx,
        }
    }

    /// Its major version, and the first and last minor versions whose interface was read.
    pub fn known(self) -> (u32, u32, u32) {
        match self {
            Self::V8_6 => (8, 6, 6),
            Self::V10 => (10, 0, 16),
            Self::V11 => (11, 0, 4),
            Self::Rtx1_4 => (1, 3, 4),
            Self::Rtx1 => (1, 5, 7),
        }
    }

    /// The newest opset that its parser reads right, where that is known. The parser of 8.6 takes later
    /// ones too, but leaves out what they moved from attributes to inputs, such as the axes of
    /// `ReduceMean`.
    pub(super) fn newest_opset(self) -> Option<i64> {
        (self == Self::V8_6).then_some(17)
    }

    /// The generation of a library. A later minor version than any that is known is of the last
    /// generation before it: it should add to the interface and change nothing.
    ///
    /// # Errors
    /// The version is too old, or of a major version that is not known.
    pub fn of(flavor: Flavor, version: LibraryVersion) -> Result<Self, UnknownGeneration> {
        let (product, LibraryVersion { major, minor, .. }) = (flavor.product(), version);
        let same_major: Vec<Self> = Self::ALL
            .into_iter()
            .filter(|known| known.flavor() == flavor && known.known().0 == major)
            .collect();
        let Some(first) = same_major.first() else {
            return Err(UnknownGeneration::Major { product, major });
        };
        let reached = same_major.iter().rev().find(|known| known.known().1 <= minor);
        let oldest = first.known().1;
        reached.copied().ok_or(UnknownGeneration::TooOld { product, major, minor, oldest })
    }

    /// Whether a version of this generation is newer than any whose interface was read.
    pub fn is_newer_than_known(self, version: LibraryVersion) -> bool {
        version.minor > self.known().2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(flavor: Flavor, text: &str) -> Result<Generation, String> {
        Generation::of(flavor, text.parse().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_generation_follows_from_product_and_version() {
        use Generation::{Rtx1, Rtx1_4, V8_6, V10, V11};
        for (flavor, version, generation) in [
            (Flavor::Standard, "8.6.0.12", V8_6),
            (Flavor::Standard, "8.7.0.0", V8_6),
            (Flavor::Standard, "10.0.1.6", V10),
            (Flavor::Standard, "10.17.0.1", V10),
            (Flavor::Standard, "11.4.0.106", V11),
            (Flavor::Rtx, "1.3.0.1", Rtx1_4),
            (Flavor::Rtx, "1.4.9.9", Rtx1_4),
            (Flavor::Rtx, "1.5.0.1", Rtx1),
            (Flavor::Rtx, "1.8.1.116", Rtx1),
        ] {
            assert_eq!(of(flavor, version), Ok(generation), "{version}");
        }
    }

    #[test]
    fn other_versions_are_refused_with_the_reason() {
        insta::assert_snapshot!(
            of(Flavor::Standard, "8.5.3.1").unwrap_err(),
            @"TensorRT 8.5 is too old; the oldest that is known is 8.6"
        );
        insta::assert_snapshot!(
            of(Flavor::Rtx, "1.2.0.0").unwrap_err(),
            @"TensorRT-RTX 1.2 is too old; the oldest that is known is 1.3"
        );
        insta::assert_snapshot!(
            of(Flavor::Rtx, "10.3.0.26").unwrap_err(),
            @"TensorRT-RTX 10 is not known to this build of trt-pipeline"
        );
        for version in ["7.2.3.4", "9.3.0.1", "12.0.0.0", "1.7.1.116"] {
            assert!(of(Flavor::Standard, version).is_err(), "{version}");
        }
    }

    #[test]
    fn only_minor_versions_beyond_the_interface_file_are_newer_than_known() {
        let newer = |generation: Generation, text: &str| {
            generation.is_newer_than_known(text.parse().unwrap())
        };
        assert!(!newer(Generation::V10, "10.16.9.9"));
        assert!(newer(Generation::V10, "10.17.0.0"));
        assert!(!newer(Generation::Rtx1_4, "1.4.0.0"));
    }

    #[test]
    fn a_version_is_four_numbers() {
        let version: LibraryVersion = "10.13.3.9".parse().unwrap();
        assert_eq!(version.to_string(), "10.13.3.9");
        assert_eq!(serde_json::to_string(&version).unwrap(), "\"10.13.3.9\"");
        assert_eq!(version.number(), 101_303);
        assert_eq!("8.6.1.6".parse::<LibraryVersion>().unwrap().number(), 8601);
        for text in ["", "10", "10.13.3", "10.13.3.9.1", "10.13.3.x", "10.13.3.+9", "10..3.9"] {
            assert!(text.parse::<LibraryVersion>().is_err(), "{text}");
        }
    }

    #[test]
    fn its_name_is_the_one_it_is_written_as() {
        for generation in Generation::ALL {
            assert_eq!(serde_json::to_value(generation).unwrap(), generation.name());
        }
    }
}
