//! Text from files and programs, made harmless for a terminal: names and messages must not move
//! the cursor, set titles, hide words or fill the screen.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A longer line is cut in its middle.
const LONGEST_LINE: usize = 2000;
/// What is kept of it at its start and at its end.
const KEPT: (usize, usize) = (800, 200);

/// Whether a terminal would do something else than show the character.
fn is_command(char: char) -> bool {
    let reorders = matches!(char, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (char.is_control() && !matches!(char, '\n' | '\t')) || reorders
}

/// The text with control characters written out, such as `\u{1b}`, and no endless line.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST_LINE && !text.contains(is_command) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len().min(1 << 16));
    for line in text.split_inclusive('\n') {
        let count = if line.len() > LONGEST_LINE { line.chars().count() } else { 0 };
        for (at, char) in line.chars().enumerate() {
            if count > LONGEST_LINE && (KEPT.0..count - KEPT.1).contains(&at) {
                if at == KEPT.0 {
                    let _ = write!(clean, " .. {} characters .. ", count - KEPT.0 - KEPT.1);
                }
            } else if is_command(char) {
                let _ = write!(clean, "{}", char.escape_unicode());
            } else {
                clean.push(char);
            }
        }
    }
    Cow::Owned(clean)
}

/// The text with control characters replaced by as many bytes, so that places in it stay.
pub(super) fn same_length(text: &str) -> Cow<'_, str> {
    // A carriage return before a line feed ends a line, as it should.
    let stays = |char: char| char == '\r' || !is_command(char);
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    let replace = |char: char| match char.len_utf8() {
        _ if stays(char) => char,
        1 => '?',
        2 => '\u{bf}',
        _ => char::REPLACEMENT_CHARACTER,
    };
    Cow::Owned(text.chars().map(replace).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out_and_other_text_stays() {
        assert_eq!(
            printable("a\u{1b}[2J\u{9b}1m\u{202e}\r\n\tb"),
            "a\\u{1b}[2J\\u{9b}1m\\u{202e}\\u{d}\n\tb"
        );
        assert!(matches!(printable("schön, 漢字\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn an_endless_line_is_cut_in_its_middle() {
        let shown = printable(&format!("first\n{}end\nlast", "ä".repeat(1_000_000))).into_owned();
        assert!(shown.starts_with("first\nää") && shown.ends_with("end\nlast"), "{shown}");
        assert!(shown.chars().count() < 1100 && shown.contains("999004 characters"), "{shown}");
        let short_lines = "line\n".repeat(10_000);
        assert_eq!(printable(&short_lines), short_lines);
    }

    #[test]
    fn places_stay_where_control_characters_are_replaced() {
        let text = "a\u{1b}b\u{9b}c\u{202e}d\r\n";
        let clean = same_length(text);
        assert_eq!(clean, "a?b\u{bf}c\u{fffd}d\r\n");
        assert_eq!(clean.len(), text.len());
    }
}
