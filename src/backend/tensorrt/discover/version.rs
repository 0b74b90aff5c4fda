//! What TensorRT calls itself: product, version, and the generation whose interface it has.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which of NVIDIA's two products.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Flavor {
    /// TensorRT: `libnvinfer`, for all NVIDIA GPUs.
    Standard,
    /// TensorRT-RTX: `libtensorrt_rtx`, for RTX GPUs; builds engines without a GPU.
    Rtx,
}

impl Flavor {
    /// The product's name.
    pub fn product(self) -> &'static str {
        match self {
            Self::Standard => "TensorRT",
            Self::Rtx => "TensorRT-RTX",
        }
    }

    /// The word for it in specs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Rtx => "rtx",
        }
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

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
    /// The four numbers, in order of weight.
    pub(super) fn parts(self) -> [u32; 4] {
        [self.major, self.minor, self.patch, self.build]
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
        match numbers(text, '.').as_deref() {
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

/// Plain decimal numbers with a separator between them.
pub(super) fn numbers(text: &str, separator: char) -> Option<Vec<u32>> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.split(separator).map(|part| is_number(part).then(|| part.parse().ok())?).collect()
}

/// Libraries that are driven in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generation {
    /// TensorRT 8.6.
    V8_6,
    /// TensorRT 10.
    V10,
    /// TensorRT 11.
    V11,
    /// TensorRT-RTX 1.3 and 1.4.
    Rtx1_4,
    /// TensorRT-RTX from 1.5.
    Rtx1,
}

impl Generation {
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
}

/// A generation and the versions of it whose interface was read.
struct Known {
    generation: Generation,
    flavor: Flavor,
    major: u32,
    oldest_minor: u32,
    newest_minor: u32,
}

/// What `ffi/tensorrt-abi.toml` covers, oldest first.
const KNOWN: [Known; 5] = [
    known(Generation::V8_6, Flavor::Standard, 8, 6, 6),
    known(Generation::V10, Flavor::Standard, 10, 0, 16),
    known(Generation::V11, Flavor::Standard, 11, 0, 4),
    known(Generation::Rtx1_4, Flavor::Rtx, 1, 3, 4),
    known(Generation::Rtx1, Flavor::Rtx, 1, 5, 7),
];

const fn known(
    generation: Generation,
    flavor: Flavor,
    major: u32,
    oldest_minor: u32,
    newest_minor: u32,
) -> Known {
    Known { generation, flavor, major, oldest_minor, newest_minor }
}

/// How a version stands to what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its interface is known.
    Known(Generation),
    /// A later minor version than any known: it should add to the interface and change nothing.
    Newer {
        generation: Generation,
        /// The last minor version that is known.
        newest_minor: u32,
    },
    /// An earlier minor version than any known, of a known major version.
    TooOld,
    /// Another major version.
    UnknownMajor,
}

/// How a version stands to what is known.
pub(super) fn standing(flavor: Flavor, version: LibraryVersion) -> Standing {
    let same_major = KNOWN.iter().filter(|k| k.flavor == flavor && k.major == version.major);
    match same_major.rev().find(|known| known.oldest_minor <= version.minor) {
        Some(known) if version.minor > known.newest_minor => {
            Standing::Newer { generation: known.generation, newest_minor: known.newest_minor }
        }
        Some(known) => Standing::Known(known.generation),
        None if KNOWN.iter().any(|k| k.flavor == flavor && k.major == version.major) => {
            Standing::TooOld
        }
        None => Standing::UnknownMajor,
    }
}

/// The versions that are known, for people.
pub(super) fn known_versions() -> &'static str {
    "TensorRT 8.6, 10.0 to 10.16 and 11.0 to 11.4, and TensorRT-RTX 1.3 to 1.7"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stands(flavor: Flavor, text: &str) -> Standing {
        standing(flavor, text.parse().unwrap())
    }

    #[test]
    fn a_generation_follows_from_product_and_version() {
        use Generation::{Rtx1, Rtx1_4, V8_6, V10, V11};
        for (flavor, version, generation) in [
            (Flavor::Standard, "8.6.0.12", V8_6),
            (Flavor::Standard, "8.6.1.6", V8_6),
            (Flavor::Standard, "10.0.1.6", V10),
            (Flavor::Standard, "10.16.0.1", V10),
            (Flavor::Standard, "11.4.0.106", V11),
            (Flavor::Rtx, "1.3.0.1", Rtx1_4),
            (Flavor::Rtx, "1.4.9.9", Rtx1_4),
            (Flavor::Rtx, "1.5.0.1", Rtx1),
            (Flavor::Rtx, "1.7.1.116", Rtx1),
        ] {
            assert_eq!(stands(flavor, version), Standing::Known(generation), "{version}");
        }
    }

    #[test]
    fn a_newer_minor_version_is_of_the_last_known_generation() {
        let newer = |generation, newest_minor| Standing::Newer { generation, newest_minor };
        assert_eq!(stands(Flavor::Standard, "10.17.0.0"), newer(Generation::V10, 16));
        assert_eq!(stands(Flavor::Standard, "11.5.0.0"), newer(Generation::V11, 4));
        assert_eq!(stands(Flavor::Rtx, "1.8.0.0"), newer(Generation::Rtx1, 7));
        assert_eq!(stands(Flavor::Standard, "8.7.0.0"), newer(Generation::V8_6, 6));
    }

    #[test]
    fn other_versions_are_of_no_generation() {
        assert_eq!(stands(Flavor::Standard, "8.5.3.1"), Standing::TooOld);
        assert_eq!(stands(Flavor::Rtx, "1.2.0.0"), Standing::TooOld);
        for (flavor, version) in [
            (Flavor::Standard, "7.2.3.4"),
            (Flavor::Standard, "9.3.0.1"),
            (Flavor::Standard, "12.0.0.0"),
            (Flavor::Standard, "1.7.1.116"),
            (Flavor::Rtx, "2.0.0.0"),
            (Flavor::Rtx, "10.3.0.26"),
        ] {
            assert_eq!(stands(flavor, version), Standing::UnknownMajor, "{flavor} {version}");
        }
    }

    #[test]
    fn the_words_for_what_is_known_say_what_the_table_says() {
        for known in &KNOWN {
            for minor in [known.oldest_minor, known.newest_minor] {
                let version = format!("{}.{minor}", known.major);
                // The two generations of TensorRT-RTX are one range.
                let inside = matches!(version.as_str(), "1.4" | "1.5");
                assert!(inside || known_versions().contains(&version), "{version}");
            }
        }
    }

    #[test]
    fn a_version_is_four_numbers() {
        assert_eq!("10.13.3.9".parse::<LibraryVersion>().unwrap().to_string(), "10.13.3.9");
        for text in ["", "10", "10.13.3", "10.13.3.9.1", "10.13.3.x", "10.13.3.+9", "10..3.9"] {
            assert!(text.parse::<LibraryVersion>().is_err(), "{text}");
        }
    }
}
