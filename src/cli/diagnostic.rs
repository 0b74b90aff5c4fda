//! Errors with their place: rendered for people by miette, as events for programs.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
};
use textwrap::{WordSeparator, WordSplitter};

use crate::execute::RunEvent;
use crate::execute::event::{DiagnosticEvent, Severity};
use crate::source::{SourceFile, Span};
use crate::spec::{InvalidSpec, SpecError};
use crate::stage::StageError;

use super::console::{Console, error_columns, wants_colour};
use super::printable::{printable, same_length};

/// Something wrong, ready to be shown.
#[derive(Debug)]
pub(super) struct Shown {
    code: String,
    message: String,
    help: Option<String>,
    stage: Option<String>,
    /// The marked place first; none where it stands in no file.
    labels: Vec<(Span, String)>,
    file: Option<Arc<SourceFile>>,
    named: Option<NamedSource<Arc<str>>>,
}

impl Shown {
    /// An error of the spec.
    pub(super) fn spec(error: &SpecError, file: &Arc<SourceFile>) -> Self {
        let mut labels = vec![(error.span, error.label.clone())];
        labels.extend(error.also.iter().cloned());
        if error.span == Span::default() && error.label.is_empty() {
            labels.clear();
        }
        Self {
            code: error.code.to_owned(),
            message: error.message.clone(),
            help: error.help.clone(),
            stage: None,
            labels,
            named: Some(named(file)),
            file: Some(Arc::clone(file)),
        }
    }

    /// A stage that failed; `name` is where the stage is written.
    pub(super) fn stage(
        error: &StageError,
        stage: &str,
        name: Span,
        file: &Arc<SourceFile>,
    ) -> Self {
        let (span, label) = match error.span() {
            Some(span) => (span, "this"),
            None => (name, "this stage"),
        };
        Self {
            code: error.code().to_owned(),
            message: format!("stage `{stage}` failed: {}", with_causes(error)),
            help: error.help(),
            stage: Some(stage.to_owned()),
            labels: vec![(span, label.to_owned())],
            named: Some(named(file)),
            file: Some(Arc::clone(file)),
        }
    }

    /// Shows it.
    pub(super) fn show(&self, console: &Console) {
        if console.is_json() {
            console.event(&RunEvent::Diagnostic(self.event()));
        } else {
            console.print_error(&self.text(error_columns()));
        }
    }

    fn event(&self) -> DiagnosticEvent {
        let place = self.labels.first().zip(self.file.as_ref());
        let at = place.map(|((span, _), file)| file.line_column(span.start as usize));
        DiagnosticEvent {
            severity: Severity::Error,
            code: self.code.clone(),
            message: self.message.clone(),
            help: self.help.clone(),
            stage: self.stage.clone(),
            file: self.file.as_ref().map(|file| file.name.clone()),
            line: at.map(|(line, _)| line),
            column: at.map(|(_, column)| column),
            length: place.map(|((span, _), _)| span.len as usize),
        }
    }

    /// `file:line:column`, where the lines to show are too long for anybody to read.
    fn place_without_excerpt(&self) -> Option<String> {
        const READABLE: usize = 1000;
        let file = self.file.as_ref()?;
        let ends = |span: &Span| [span.start as usize, span.start as usize + span.len as usize];
        let long = self.labels.iter().flat_map(|(span, _)| ends(span)).any(|at| {
            let (before, after) = file.text.as_bytes().split_at(at.min(file.text.len()));
            let lines = |bytes: &mut dyn Iterator<Item = &u8>| {
                let mut newlines = 0;
                bytes
                    .take_while(|byte| {
                        newlines += usize::from(**byte == b'\n');
                        newlines < 2
                    })
                    .take(2 * READABLE)
                    .count()
            };
            lines(&mut before.iter().rev()) + lines(&mut after.iter()) > 2 * READABLE
        });
        let (line, column) = file.line_column(self.labels.first()?.0.start as usize);
        long.then(|| format!("{}:{line}:{column}", printable(&file.name)))
    }

    fn text(&self, width: usize) -> String {
        let theme = if wants_colour(std::io::stderr().is_terminal()) {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        };
        if let Some(place) = self.place_without_excerpt() {
            return format!(
                "{}\n\n  error at {place}: {}\n{}\n",
                self.code,
                printable(&self.message),
                match &self.help {
                    Some(help) => format!("  help: {}\n", printable(help)),
                    None => String::new(),
                }
            );
        }
        let mut text = String::new();
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(width)
            .with_break_words(false)
            .with_word_separator(WordSeparator::AsciiSpace)
            .with_word_splitter(WordSplitter::NoHyphenation)
            .with_links(false);
        if handler.render_report(&mut text, self).is_err() {
            text = format!("error: {}\n", printable(&self.message));
        }
        text.push('\n');
        text
    }
}

/// The spec as excerpts show it.
fn named(file: &SourceFile) -> NamedSource<Arc<str>> {
    let text = match same_length(&file.text) {
        Cow::Borrowed(_) => Arc::clone(&file.text),
        Cow::Owned(clean) => clean.into(),
    };
    NamedSource::new(printable(&file.name), text)
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.message))
    }
}

impl Error for Shown {}

impl Diagnostic for Shown {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.code))
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(printable(help)) as Box<dyn fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.named.as_ref().map(|named| named as &dyn SourceCode)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.labels.is_empty() {
            return None;
        }
        Some(Box::new(self.labels.iter().map(|(span, label)| {
            let label = (!label.is_empty()).then(|| printable(label).into_owned());
            LabeledSpan::new(label, span.start as usize, span.len as usize)
        })))
    }
}

/// An error and what caused it, in one text.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

/// What is wrong with a spec in plain words, a line for each error.
pub(super) fn invalid_in_words(invalid: &InvalidSpec) -> String {
    let line = |error: &SpecError| {
        let (line, column) = invalid.file.line_column(error.span.start as usize);
        let help = error.help.as_ref().map_or_else(String::new, |help| format!(" ({help})"));
        format!("{}:{line}:{column}: {}{help}", invalid.file.name, error.message)
    };
    invalid.errors.iter().take(MOST_SHOWN).map(line).collect::<Vec<_>>().join("\n")
}

/// More errors than this are only counted: nobody reads them, and each has to find its place.
const MOST_SHOWN: usize = 100;

/// Shows what is wrong with a spec.
pub(super) fn show_invalid(invalid: &InvalidSpec, console: &Console) {
    let most = if console.is_json() { usize::MAX } else { MOST_SHOWN };
    for error in invalid.errors.iter().take(most) {
        Shown::spec(error, &invalid.file).show(console);
    }
    if !console.is_json() && invalid.errors.len() > 1 {
        let name = printable(&invalid.file.name);
        let hidden = match invalid.errors.len().saturating_sub(most) {
            0 => String::new(),
            hidden => format!(", of which {hidden} are not shown"),
        };
        console.print_error(&format!("{} errors in {name}{hidden}\n", invalid.errors.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_as_wide_as_the_terminal_and_breaks_between_words() {
        let file = Arc::new(SourceFile::new("pipeline.yaml", "stages:\n  slim: {}\n"));
        let path = "/somewhere/objects/0123456789abcdef0123456789abcdef/model.onnx";
        let error = StageError::Setting {
            message: format!("`{path}` has no tensor of this name, whatever else it may have"),
            span: Span::new(10, 4),
            help: Some("`inspect` names every tensor of a model with the option `--layers`".into()),
        };
        let text = Shown::stage(&error, "slim", Span::new(10, 4), &file).text(40);
        let words = |text: &str| -> Vec<String> {
            let words = text.split_whitespace().filter(|word| *word != "\u{2502}");
            words.map(str::to_owned).collect()
        };
        for line in text.lines().filter(|line| !line.contains(path)) {
            assert!(line.chars().count() <= 40, "{line}");
        }
        let shown = words(&text).join(" ");
        assert!(shown.contains(&words(&error.to_string()).join(" ")), "{text}");
        assert!(shown.contains(&words(&error.help().unwrap()).join(" ")), "{text}");
    }
}
