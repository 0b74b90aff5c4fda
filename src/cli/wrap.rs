//! Text in lines of a width, broken between words.

use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// Columns where nobody says how wide the terminal is, and the most there are: longer lines are
/// hard to read.
pub(super) const READABLE: usize = 100;

/// Fewer columns than this hold no text.
const LEAST: usize = 30;

/// Columns for text on a terminal of so many.
pub(super) fn columns(terminal: Option<u16>) -> usize {
    terminal.map_or(READABLE, |columns| usize::from(columns).clamp(LEAST, READABLE))
}

/// The text in lines of `width` columns. What goes on in a further line is indented by two columns
/// more than its line, or by `hang` more; a word that is longer than a line stays whole.
pub(super) fn wrapped(text: &str, width: usize, hang: usize) -> String {
    let mut wrapped = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        let own = line.len() - line.trim_start_matches(' ').len();
        // Lines in the half of a narrow terminal would be columns of single words.
        let indent = " ".repeat((own + hang).min(width / 2));
        let options = Options::new(width)
            .subsequent_indent(&indent)
            .break_words(false)
            .word_separator(WordSeparator::AsciiSpace)
            .word_splitter(WordSplitter::NoHyphenation)
            .wrap_algorithm(WrapAlgorithm::FirstFit);
        wrapped.push_str(&textwrap::fill(line, options));
        wrapped.push_str(end);
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_go_on_indented() {
        let text =
            "a short line\n  kept /conv1/pool-2 (MaxPool): no quantized layer beside it\n\nend";
        assert_eq!(
            wrapped(text, 32, 2),
            "a short line\n  kept /conv1/pool-2 (MaxPool):\n    no quantized layer beside it\n\nend"
        );
    }

    #[test]
    fn a_word_longer_than_a_line_stays_whole() {
        let name = "/layers.0/attention/output-projection/MatMul";
        assert_eq!(wrapped(&format!("kept {name} here"), 30, 2), format!("kept\n  {name}\n  here"));
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let table = "               before       after\nnodes              19          12\n";
        assert_eq!(wrapped(table, 40, 2), table);
    }

    #[test]
    fn no_terminal_is_too_narrow_or_too_wide() {
        assert_eq!([None, Some(1), Some(80), Some(400)].map(columns), [100, 30, 80, 100]);
    }
}
