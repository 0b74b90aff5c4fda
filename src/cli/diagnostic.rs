//! Errors with their place: rendered for people by miette, as events for programs.

use std::error::Error;
use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
};

use crate::execute::RunEvent;
use crate::execute::event::{DiagnosticEvent, Severity};
use crate::source::{SourceFile, Span};
use crate::spec::{InvalidSpec, SpecError};
use crate::stage::StageError;

use super::console::{Console, wants_colour};

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
            named: Some(NamedSource::new(&file.name, Arc::clone(&file.text))),
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
            named: Some(NamedSource::new(&file.name, Arc::clone(&file.text))),
            file: Some(Arc::clone(file)),
        }
    }

    /// Shows it.
    pub(super) fn show(&self, console: &Console) {
        if console.is_json() {
            console.event(&RunEvent::Diagnostic(self.event()));
        } else {
            console.print_error(&self.text());
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

    fn text(&self) -> String {
        let theme = if wants_colour(std::io::stderr().is_terminal()) {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        };
        let mut text = String::new();
        let handler = GraphicalReportHandler::new_themed(theme).with_width(100).with_links(false);
        if handler.render_report(&mut text, self).is_err() {
            text = format!("error: {}\n", self.message);
        }
        text.push('\n');
        text
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Shown {}

impl Diagnostic for Shown {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.code))
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.named.as_ref().map(|named| named as &dyn SourceCode)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.labels.is_empty() {
            return None;
        }
        Some(Box::new(self.labels.iter().map(|(span, label)| {
            let label = (!label.is_empty()).then(|| label.clone());
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

/// Shows everything that is wrong with a spec.
pub(super) fn show_invalid(invalid: &InvalidSpec, console: &Console) {
    for error in &invalid.errors {
        Shown::spec(error, &invalid.file).show(console);
    }
    if !console.is_json() && invalid.errors.len() > 1 {
        console.print_error(&format!("{} errors in {}\n", invalid.errors.len(), invalid.file.name));
    }
}
