//! [`Pickle`]: what a pickle would load, from its opcodes. Nothing is loaded.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, BufRead, Read};

/// More different names than are kept.
const MOST_GLOBALS: usize = 256;
/// Texts that are remembered, for names that are told by number.
const MOST_MEMOS: usize = 65_536;
/// Longer texts are no names.
const LONGEST_NAME: u64 = 512;
/// The number that starts what `torch.save` wrote before it wrote archives.
const TORCH_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Classes of dictionaries.
const DICTIONARIES: [&str; 3] =
    ["collections.OrderedDict", "collections.defaultdict", "builtins.dict"];
const PROTOCOL: u8 = 0x80;
const FRAME: u8 = 0x95;
const STOP: u8 = b'.';

/// What stands in a pickle. A hint for messages, no permission to load it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pickle {
    /// Classes and functions that it names, as `module.name`.
    pub(super) globals: BTreeSet<String>,
    /// The first of them.
    pub(super) first: Option<String>,
    /// Whether the first value is a dictionary.
    pub(super) is_dict: bool,
    /// Whether the value is the number that starts older files of `torch.save`.
    pub(super) is_torch_magic: bool,
}

/// Why a walk stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum PickleError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("a pickle has the unknown opcode {0:#04x}")]
    Opcode(u8),
    #[error("a pickle has a negative or huge length")]
    Length,
}

impl Pickle {
    /// Walks one pickle; the reader stands behind it then.
    pub(super) fn scan(input: &mut impl BufRead) -> Result<Self, PickleError> {
        let mut scan = Scan {
            input,
            found: Self::default(),
            memo: HashMap::new(),
            texts: [const { None }; 2],
            puts: 0,
        };
        let mut start = None;
        loop {
            let opcode = scan.byte()?;
            if !matches!(opcode, PROTOCOL | FRAME) {
                start.get_or_insert(opcode);
            }
            if opcode == STOP {
                break;
            }
            scan.opcode(opcode)?;
        }
        let mut found = scan.found;
        // A dictionary starts empty, or with the name of its class, as one text or as two.
        found.is_dict = match start {
            Some(b'}') => true,
            Some(b'c' | b'X' | b'U' | 0x8c) => {
                found.first.as_deref().is_some_and(|first| DICTIONARIES.contains(&first))
            }
            _ => false,
        };
        Ok(found)
    }
}

struct Scan<'a, R> {
    input: &'a mut R,
    found: Pickle,
    memo: HashMap<u32, String>,
    /// The last two values where they are texts, the newest last.
    texts: [Option<String>; 2],
    puts: u32,
}

impl<R: BufRead> Scan<'_, R> {
    fn opcode(&mut self, opcode: u8) -> Result<(), PickleError> {
        match opcode {
            // Marks, and what changes the values that are there.
            b'(' | b'0' | b'1' | b'2' | b'a' | b'b' | b'e' | b's' | b'u' | 0x90 | 0x98 => {}
            // Constants, and values made of those that are there.
            b'N'
            | b'Q'
            | b'R'
            | b'd'
            | b'}'
            | b'l'
            | b']'
            | b'o'
            | b't'
            | b')'
            | 0x81
            | 0x85..=0x89
            | 0x8f
            | 0x91
            | 0x92
            | 0x97 => self.push(None),
            PROTOCOL => self.skip(1)?,
            FRAME => self.skip(8)?,
            b'K' => self.value(1)?,
            b'M' => self.value(2)?,
            b'J' => self.value(4)?,
            b'G' => self.value(8)?,
            // Classes by number, in a table that only the writer knows.
            0x82 => self.extension(1)?,
            0x83 => self.extension(2)?,
            0x84 => self.extension(4)?,
            0x8a => {
                let len = self.number::<1>()?;
                let bytes = self.bytes(len)?;
                self.found.is_torch_magic |= bytes.as_deref() == Some(&TORCH_MAGIC);
                self.push(None);
            }
            0x8b | b'B' | b'T' => {
                let len = self.number::<4>()?;
                self.value(len)?;
            }
            0x8e | 0x96 => {
                let len = self.number::<8>()?;
                self.value(len)?;
            }
            b'C' => {
                let len = self.number::<1>()?;
                self.value(len)?;
            }
            b'U' | 0x8c => {
                let len = self.number::<1>()?;
                self.text(len)?;
            }
            b'X' => {
                let len = self.number::<4>()?;
                self.text(len)?;
            }
            0x8d => {
                let len = self.number::<8>()?;
                self.text(len)?;
            }
            b'V' | b'S' => {
                let line = self.line()?;
                self.push(Some(line));
            }
            b'I' | b'L' | b'F' | b'P' => {
                self.line()?;
                self.push(None);
            }
            b'c' | b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(&module, &name);
            }
            0x93 => {
                let [module, name] = self.texts.clone();
                let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "?".into());
                self.global(&or_unknown(module), &or_unknown(name));
            }
            0x94 => self.put(self.puts),
            b'q' | b'r' | b'p' => {
                let at = self.index(opcode)?;
                self.put(at);
            }
            b'h' | b'j' | b'g' => {
                let at = self.index(opcode)?;
                let text = self.memo.get(&at).cloned();
                self.push(text);
            }
            other => return Err(PickleError::Opcode(other)),
        }
        Ok(())
    }

    fn extension(&mut self, len: u64) -> Result<(), PickleError> {
        self.skip(len)?;
        self.global("copyreg", "extension");
        Ok(())
    }

    fn push(&mut self, text: Option<String>) {
        self.texts.swap(0, 1);
        self.texts[1] = text;
    }

    fn put(&mut self, at: u32) {
        self.puts = self.puts.saturating_add(1);
        if self.memo.len() < MOST_MEMOS
            && let Some(text) = &self.texts[1]
        {
            self.memo.insert(at, text.clone());
        }
    }

    fn global(&mut self, module: &str, name: &str) {
        // Python 2's name, which protocols below 3 write.
        let module = if module == "__builtin__" { "builtins" } else { module };
        let whole = format!("{module}.{name}");
        self.found.first.get_or_insert_with(|| whole.clone());
        if self.found.globals.len() < MOST_GLOBALS {
            self.found.globals.insert(whole);
        }
        self.push(None);
    }

    /// The number of a remembered value.
    fn index(&mut self, opcode: u8) -> Result<u32, PickleError> {
        let at = match opcode {
            b'q' | b'h' => self.number::<1>()?,
            b'r' | b'j' => self.number::<4>()?,
            _ => self.line()?.trim().parse().map_err(|_| PickleError::Length)?,
        };
        u32::try_from(at).map_err(|_| PickleError::Length)
    }

    fn text(&mut self, len: u64) -> Result<(), PickleError> {
        let text = self.bytes(len)?.and_then(|bytes| String::from_utf8(bytes).ok());
        self.push(text);
        Ok(())
    }

    fn value(&mut self, len: u64) -> Result<(), PickleError> {
        self.skip(len)?;
        self.push(None);
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn number<const N: usize>(&mut self) -> Result<u64, PickleError> {
        let mut bytes = [0; 8];
        self.input.read_exact(&mut bytes[..N])?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Short bytes; longer ones are skipped.
    fn bytes(&mut self, len: u64) -> Result<Option<Vec<u8>>, PickleError> {
        if len > LONGEST_NAME {
            return self.skip(len).map(|()| None);
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| PickleError::Length)?];
        self.input.read_exact(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn skip(&mut self, len: u64) -> Result<(), PickleError> {
        let skipped = io::copy(&mut self.input.by_ref().take(len), &mut io::sink())?;
        if skipped == len {
            Ok(())
        } else {
            Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
        }
    }

    fn line(&mut self) -> Result<String, PickleError> {
        let mut line = Vec::new();
        self.input.by_ref().take(1 << 16).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        line.truncate(1024);
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}
