//! [`Answer`]: what a script says of its export, taken for hostile: bounded, and without control
//! characters.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::ConvertError;

/// The version of requests and answers.
pub(super) const FORMAT: u32 = 1;
/// A result is a page of text.
const LARGEST_RESULT: u64 = 4 << 20;
/// The most that is kept of one text of a result, in characters.
const LONGEST_TEXT: usize = 2000;

/// What a script says it did.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    format: u32,
    pub(super) error: Option<Refusal>,
    #[serde(default)]
    pub(super) exporter: String,
    #[serde(default)]
    pub(super) inputs: Vec<Named>,
    #[serde(default)]
    pub(super) outputs: Vec<String>,
    #[serde(default)]
    pub(super) warnings: Vec<String>,
    #[serde(default)]
    pub(super) choices: BTreeMap<String, Value>,
}

impl Answer {
    /// Reads what a script left, or says what is wrong with it.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let is_file = fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
        if !is_file {
            return Err("wrote no result".to_owned());
        }
        let mut text = Vec::new();
        let read = File::open(path)
            .and_then(|file| file.take(LARGEST_RESULT + 1).read_to_end(&mut text))
            .map_err(|error| format!("its result cannot be read: {error}"))?;
        if read as u64 > LARGEST_RESULT {
            return Err(format!("its result is larger than {} MiB", LARGEST_RESULT >> 20));
        }
        let answer: Self = serde_json::from_slice(&text)
            .map_err(|error| format!("its result is not what it should be: {error}"))?;
        if answer.format != FORMAT {
            return Err(format!("its result is of format {}, expected {FORMAT}", answer.format));
        }
        Ok(answer)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

/// Why a script did not export.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    pub(super) kind: String,
    pub(super) message: String,
    pub(super) help: String,
    pub(super) package: Option<String>,
}

impl Refusal {
    /// The error that it stands for; `output` is what the script wrote besides.
    pub(super) fn into_error(
        self,
        program: &Path,
        memory_limit_mib: Option<u64>,
        output: String,
    ) -> ConvertError {
        let Refusal { kind, message, help, package } = self;
        let mut message = printable(&message);
        if message.is_empty() {
            "the export failed and gives no reason".clone_into(&mut message);
        }
        if let Some(limit) = memory_limit_mib
            && tells_of_memory(&message)
        {
            return ConvertError::OutOfMemory { limit, reason: message, output };
        }
        let is_name = |name: &String| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-[]".contains(c);
            let is_one = |name: &str| {
                name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain)
            };
            name.split(' ').all(is_one)
        };
        match package.filter(is_name) {
            Some(package) if kind == "missing_package" => {
                ConvertError::MissingPackage { program: program.to_owned(), package, message }
            }
            _ => ConvertError::Refused { kind, message, help: printable(&help), output },
        }
    }
}

/// Whether the words are those of a program that did not get the memory it asked for.
pub(super) fn tells_of_memory(text: &str) -> bool {
    const WORDS: [&str; 7] = [
        "memoryerror",
        "allocate memory",
        "failed to map segment",
        "pthread_create() failed",
        "bad_alloc",
        "oom when allocating",
        "more memory than it may use",
    ];
    let text = text.to_lowercase();
    WORDS.iter().any(|words| text.contains(words))
}

/// A name as it may be shown within a sentence.
pub(super) fn on_one_line(name: &str) -> String {
    let shown = |c: char| {
        let escaped = c.is_control().then(|| c.escape_default());
        let plain = escaped.is_none().then_some(c);
        escaped.into_iter().flatten().chain(plain)
    };
    name.chars().flat_map(shown).collect()
}

/// A text of the script as it may be shown: without control characters, and not endless.
pub(super) fn printable(text: &str) -> String {
    let shown = text.chars().filter(|c| !c.is_control() || *c == '\n');
    shown.take(LONGEST_TEXT).collect::<String>().trim().to_owned()
}
