//! The plan as a picture: text, Graphviz DOT, Mermaid.

use std::fmt::Write as _;

use clap::ValueEnum;

use super::Plan;

/// How to draw the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// One stage a line, in running order, with what it uses.
    Text,
    /// Graphviz.
    Dot,
    /// Mermaid.
    Mermaid,
}

impl Plan {
    /// Draws the stages and what they use.
    pub fn render(&self, format: GraphFormat) -> String {
        match format {
            GraphFormat::Text => self.as_text(),
            GraphFormat::Dot => self.as_dot(),
            GraphFormat::Mermaid => self.as_mermaid(),
        }
    }

    fn as_text(&self) -> String {
        let width = self.stages.iter().map(|stage| stage.name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for &at in &self.order {
            let stage = &self.stages[at];
            let used: Vec<&str> =
                stage.after.iter().map(|before| self.stages[*before].name.as_str()).collect();
            let line = format!("{:width$}  {:9}", stage.name.value, stage.stage.kind());
            if used.is_empty() {
                let _ = writeln!(text, "{}", line.trim_end());
            } else {
                let _ = writeln!(text, "{line}  <- {}", used.join(", "));
            }
        }
        text
    }

    fn as_dot(&self) -> String {
        let mut text = format!(
            "digraph \"{}\" {{\n  rankdir=LR;\n  node [shape=box];\n",
            self.spec.name.value
        );
        for stage in &self.stages {
            let (name, kind) = (&stage.name.value, stage.stage.kind());
            let _ = writeln!(text, "  \"{name}\" [label=\"{name}\\n{kind}\"];");
        }
        for edge in self.edges() {
            let _ = writeln!(text, "  \"{}\" -> \"{}\";", edge.0, edge.1);
        }
        text.push_str("}\n");
        text
    }

    fn as_mermaid(&self) -> String {
        let mut text = "flowchart LR\n".to_owned();
        for (at, stage) in self.stages.iter().enumerate() {
            let _ = writeln!(text, "  s{at}[\"{}<br/>{}\"]", stage.name.value, stage.stage.kind());
        }
        for (at, stage) in self.stages.iter().enumerate() {
            for before in &stage.after {
                let _ = writeln!(text, "  s{before} --> s{at}");
            }
        }
        text
    }

    /// (used, user) by name, in the order written.
    fn edges(&self) -> impl Iterator<Item = (&str, &str)> {
        self.stages.iter().flat_map(|stage| {
            stage
                .after
                .iter()
                .map(|before| (self.stages[*before].name.as_str(), stage.name.as_str()))
        })
    }
}
