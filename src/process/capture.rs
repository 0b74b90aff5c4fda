//! [`Capture`]: the end of what a program writes, in bounded memory.

use std::io::{self, Read};

/// Bytes of a stream that are kept.
const TAIL_BYTES: usize = 8 * 1024;
/// Lines of a stream that are shown.
const TAIL_LINES: usize = 40;
/// A line longer than this comes in pieces.
const LONGEST_LINE: usize = 64 * 1024;

/// The last part of one output stream, and its lines for the log and for `on_line`.
pub(super) struct Capture<'a> {
    stream: &'static str,
    kept: Vec<u8>,
    line: Vec<u8>,
    logged: bool,
    on_line: Option<&'a mut dyn FnMut(&str)>,
}

impl<'a> Capture<'a> {
    pub(super) fn new(stream: &'static str, on_line: Option<&'a mut dyn FnMut(&str)>) -> Self {
        let logged = on_line.is_none() && tracing::enabled!(tracing::Level::DEBUG);
        Self { stream, kept: Vec::new(), line: Vec::new(), logged, on_line }
    }

    /// Reads what is there now, at most `reads` buffers full. `false` at the end of the stream.
    pub(super) fn drain(
        &mut self,
        source: &mut impl Read,
        buffer: &mut [u8],
        reads: usize,
    ) -> io::Result<bool> {
        for _ in 0..reads {
            match source.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => self.push(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.logged || self.on_line.is_some() {
            self.split(bytes);
        }
        let bytes = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        self.kept.extend_from_slice(bytes);
        // Cutting only at twice the size makes the cost of a byte constant.
        if self.kept.len() > 2 * TAIL_BYTES {
            self.kept.drain(..self.kept.len() - TAIL_BYTES);
        }
    }

    fn split(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() > LONGEST_LINE {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        if self.logged {
            tracing::debug!(stream = self.stream, "{}", line.trim_end());
        }
        if let Some(on_line) = &mut self.on_line {
            on_line(line.trim_end_matches(['\r', '\n']));
        }
        self.line.clear();
    }

    /// The last lines, as printable text.
    pub(super) fn finish(mut self) -> String {
        if !self.line.is_empty() {
            self.end_line();
        }
        let cut = self.kept.len().saturating_sub(TAIL_BYTES);
        let text = String::from_utf8_lossy(&self.kept[cut..]);
        let text: String = text
            .trim_end()
            .chars()
            .filter_map(|char| match char {
                '\r' => Some('\n'),
                '\n' | '\t' => Some(char),
                _ if char.is_control() => None,
                _ => Some(char),
            })
            .collect();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_and_bytes_are_kept() {
        let mut capture = Capture::new("stderr", None);
        for number in 0..100_000 {
            capture.push(format!("line {number}\n").as_bytes());
        }
        assert!(capture.kept.len() <= 2 * TAIL_BYTES);
        let tail = capture.finish();
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("line 99999"), "{tail}");
    }

    #[test]
    fn control_characters_do_not_reach_the_message() {
        let mut capture = Capture::new("stderr", None);
        capture.push(b"10 %\r20 %\r\n\x1b[31mred\x07 \xff\n\n");
        assert_eq!(capture.finish(), "10 %\n20 %\n[31mred \u{fffd}");
    }
}
