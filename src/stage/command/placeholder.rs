//! `${inputs.x}` and `${outputs.y}` in the words of a command.
//!
//! Anything else in `${..}` is not ours: variables were replaced before, and `$${` is how a user
//! writes a `${` that a shell shall see.

use std::ffi::OsString;
use std::path::Path;

/// What a placeholder names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// `${inputs.name}`.
    Input(&'a str),
    /// `${outputs.name}`.
    Output(&'a str),
}

/// A piece of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Text to keep.
    Text(&'a str),
    /// A placeholder.
    Place(Place<'a>),
}

/// The pieces of a word, in order.
pub(super) fn pieces(word: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut text = 0;
    let mut at = 0;
    while let Some(open) = word[at..].find("${").map(|offset| at + offset) {
        let inside = &word[open + 2..];
        let place = inside.find('}').and_then(|close| {
            let name = &inside[..close];
            let place = name
                .strip_prefix("inputs.")
                .map(Place::Input)
                .or_else(|| name.strip_prefix("outputs.").map(Place::Output))?;
            Some((place, open + 2 + close + 1))
        });
        let Some((place, end)) = place else {
            at = open + 2;
            continue;
        };
        if text < open {
            pieces.push(Piece::Text(&word[text..open]));
        }
        pieces.push(Piece::Place(place));
        (text, at) = (end, end);
    }
    if text < word.len() {
        pieces.push(Piece::Text(&word[text..]));
    }
    pieces
}

/// The placeholders of a word.
pub(super) fn places(word: &str) -> impl Iterator<Item = Place<'_>> {
    pieces(word).into_iter().filter_map(|piece| match piece {
        Piece::Place(place) => Some(place),
        Piece::Text(_) => None,
    })
}

/// The word with every placeholder replaced by its path; a name that `path_of` does not know
/// gives nothing (the check refused it before).
pub(super) fn fill<'a, P: AsRef<Path>>(
    word: &'a str,
    path_of: impl Fn(Place<'a>) -> Option<P>,
) -> OsString {
    let mut filled = OsString::new();
    for piece in pieces(word) {
        match piece {
            Piece::Text(text) => filled.push(text),
            Piece::Place(place) => {
                if let Some(path) = path_of(place) {
                    filled.push(path.as_ref());
                }
            }
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found_inside_longer_words_and_shell_variables_are_left_alone() {
        assert_eq!(
            pieces("--in=${inputs.a},${HOME}${outputs.b}"),
            [
                Piece::Text("--in="),
                Piece::Place(Place::Input("a")),
                Piece::Text(",${HOME}"),
                Piece::Place(Place::Output("b")),
            ]
        );
        assert_eq!(pieces("${inputs.a"), [Piece::Text("${inputs.a")]);
        assert_eq!(pieces("${${inputs.a}"), [Piece::Text("${"), Piece::Place(Place::Input("a"))]);
        assert_eq!(pieces(""), []);
    }

    #[test]
    fn filling_keeps_paths_that_are_not_unicode() {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        let path = std::path::PathBuf::from(OsString::from_vec(vec![b'/', 0xff]));
        let filled = fill("x=${inputs.a}!", |_| Some(path.clone()));
        assert_eq!(filled.as_bytes(), b"x=/\xff!");
    }
}
