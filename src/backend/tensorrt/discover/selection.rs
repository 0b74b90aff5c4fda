//! [`TensorRtSelection`]: which TensorRT a spec asks for.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::backend::tensorrt::Flavor;
use crate::backend::tensorrt::generation::LibraryVersion;

use crate::backend::library::numbers;

/// Which TensorRT to use. By default the one that is here; where both products are, one of them
/// has to be chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TensorRtSelection {
    /// Which of the two products.
    pub flavor: Option<Flavor>,
    /// The versions that will do.
    pub version: Option<VersionRequirement>,
    /// The library itself or the folder it is in, as an absolute path. Nothing else is looked at
    /// then.
    pub library: Option<PathBuf>,
}

impl TensorRtSelection {
    /// Why a library is not one of those asked for; `None` if it is.
    pub(super) fn objection(&self, flavor: Flavor, version: LibraryVersion) -> Option<String> {
        if let Some(wanted) = self.flavor.filter(|wanted| *wanted != flavor) {
            return Some(format!("the spec asks for flavor `{}`", wanted.name()));
        }
        let wanted = self.version.as_ref().filter(|wanted| !wanted.allows(version))?;
        Some(format!("the spec asks for version `{wanted}`"))
    }
}

/// Limits for a version, such as `>=8.6,<12`: all must hold. Only as many numbers count as are
/// written: `10.13` is every 10.13, and `<=10.13` allows 10.13.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRequirement {
    limits: Vec<Limit>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Limit {
    relation: Relation,
    parts: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

impl Relation {
    /// The longer signs first: `>` starts `>=` too.
    const SIGNS: [(&str, Relation); 6] = [
        (">=", Relation::AtLeast),
        ("<=", Relation::AtMost),
        ("==", Relation::Equal),
        (">", Relation::More),
        ("<", Relation::Less),
        ("", Relation::Equal),
    ];
}

impl VersionRequirement {
    /// Whether a version is within all limits.
    pub fn allows(&self, version: LibraryVersion) -> bool {
        self.limits.iter().all(|limit| {
            let LibraryVersion { major, minor, patch, build } = version;
            let order = [major, minor, patch, build][..limit.parts.len()].cmp(&limit.parts[..]);
            match limit.relation {
                Relation::Less => order.is_lt(),
                Relation::AtMost => order.is_le(),
                Relation::Equal => order.is_eq(),
                Relation::AtLeast => order.is_ge(),
                Relation::More => order.is_gt(),
            }
        })
    }
}

/// A text that is no version requirement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no version requirement; write for instance `>=8.6,<12` or `10.13`")]
pub struct InvalidRequirement(String);

impl FromStr for VersionRequirement {
    type Err = InvalidRequirement;
    fn from_str(text: &str) -> Result<Self, InvalidRequirement> {
        let limit = |piece: &str| {
            let piece = piece.trim();
            let (relation, rest) = Relation::SIGNS
                .into_iter()
                .find_map(|(sign, relation)| Some((relation, piece.strip_prefix(sign)?)))?;
            let parts = numbers(rest.trim(), '.').filter(|parts| parts.len() <= 4)?;
            Some(Limit { relation, parts })
        };
        let limits: Option<Vec<Limit>> = text.split(',').map(limit).collect();
        limits.map(|limits| Self { limits }).ok_or_else(|| InvalidRequirement(text.to_owned()))
    }
}

impl fmt::Display for VersionRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, limit) in self.limits.iter().enumerate() {
            let sign = match limit.relation {
                Relation::Less => "<",
                Relation::AtMost => "<=",
                Relation::Equal => "",
                Relation::AtLeast => ">=",
                Relation::More => ">",
            };
            let parts: Vec<String> = limit.parts.iter().map(u32::to_string).collect();
            write!(f, "{}{sign}{}", if at > 0 { "," } else { "" }, parts.join("."))?;
        }
        Ok(())
    }
}

impl Serialize for VersionRequirement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VersionRequirement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for VersionRequirement {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "VersionRequirement".into()
    }
    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(requirement: &str, versions: &[&str]) -> Vec<String> {
        let requirement: VersionRequirement = requirement.parse().unwrap();
        let versions = versions.iter().map(|text| text.parse::<LibraryVersion>().unwrap());
        versions.filter(|version| requirement.allows(*version)).map(|v| v.to_string()).collect()
    }

    #[test]
    fn limits_hold_together_and_only_for_the_numbers_written() {
        let versions = ["8.5.3.1", "8.6.0.12", "10.13.0.35", "10.13.3.9", "10.14.1.48", "12.0.0.0"];
        for (requirement, expected) in [
            (">=8.6,<12", &versions[1..5]),
            (" >= 8.6 , < 10.14 ", &versions[1..4]),
            ("10.13", &versions[2..4]),
            ("==10.13.3", &versions[3..4]),
            ("10", &versions[2..5]),
            ("<=10.13", &versions[..4]),
            (">10.13", &versions[4..]),
            (">=10.13.3.9,<11", &versions[3..5]),
            (">12", &[]),
        ] {
            assert_eq!(allowed(requirement, &versions), expected, "{requirement}");
        }
    }

    #[test]
    fn what_is_no_requirement_is_refused_with_an_example() {
        for text in ["", ",", ">=", "ten", "10.x", "=>8.6", "~10", "10.13.3.9.1", ">=8.6,", "-1"] {
            let error = text.parse::<VersionRequirement>().unwrap_err().to_string();
            assert!(error.contains("`>=8.6,<12`"), "{text}: {error}");
        }
    }

    #[test]
    fn a_requirement_is_written_as_it_is_read() {
        for text in [">=8.6,<12", "10.13", "<=11,>8.6.0", "10.13.3.9"] {
            let requirement: VersionRequirement = text.parse().unwrap();
            assert_eq!(requirement.to_string(), text);
            let json = serde_json::to_string(&requirement).unwrap();
            assert_eq!(serde_json::from_str::<VersionRequirement>(&json).unwrap(), requirement);
        }
    }

    #[test]
    fn an_objection_names_what_the_spec_asks_for() {
        let version = Some(">=1.7".parse().unwrap());
        let selection = TensorRtSelection { flavor: Some(Flavor::Rtx), version, library: None };
        let object = |flavor, text: &str| selection.objection(flavor, text.parse().unwrap());
        assert_eq!(object(Flavor::Rtx, "1.7.1.116"), None);
        assert!(object(Flavor::Rtx, "1.5.0.0").unwrap().contains("`>=1.7`"));
        assert!(object(Flavor::Standard, "10.3.0.26").unwrap().contains("`rtx`"));
    }
}
