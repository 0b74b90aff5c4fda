//! [`Pattern`]: which nodes a user means.

use crate::onnx::check::node_name;
use crate::onnx::model::Model;
use crate::suggest::did_you_mean;

/// An operator, or the names of nodes with `*` for any text and `?` for any character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern<'a>(&'a str);

impl<'a> Pattern<'a> {
    /// The pattern that a text stands for.
    pub fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// What the user wrote.
    pub fn text(&self) -> &'a str {
        self.0
    }

    /// Whether it means a node.
    pub fn matches(&self, op: &str, name: &str) -> bool {
        self.0 == op || glob(self.0, name)
    }

    /// What to write instead, where the pattern means no node of the main graph.
    pub fn unmatched(&self, model: &Model) -> Option<String> {
        let nodes = model.graph.node.iter().map(|node| (node.op_type(), node_name(node).name));
        let nodes: Vec<(&str, String)> = nodes.collect();
        if nodes.iter().any(|(op, name)| self.matches(op, name)) {
            return None;
        }
        let mut words: Vec<&str> = nodes.iter().map(|(op, _)| *op).collect();
        words.sort_unstable();
        words.dedup();
        words.extend(nodes.iter().map(|(_, name)| name.as_str()));
        Some(did_you_mean(self.0, words, "operators and nodes"))
    }
}

/// Whether a text is what a pattern describes. Takes at most one step back for each character.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut seen) = (0, 0);
    // Where to go on if what follows the last `*` does not fit: one character further.
    let mut retry: Option<(usize, usize)> = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some('*') => {
                retry = Some((at + 1, seen + 1));
                at += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == text[seen] => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((after, from)) = retry else { return false };
                (at, seen) = (after, from);
                retry = Some((after, from + 1));
            }
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text_and_a_question_mark_any_character() {
        for (pattern, name) in [
            ("encoder/*", "encoder/layer.0/attention"),
            ("*/attention", "encoder/layer.0/attention"),
            ("*a*b*", "xxaxxbxx"),
            ("layer.?", "layer.7"),
            ("**", ""),
            ("", ""),
        ] {
            assert!(glob(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("encoder", "encoder/x"), ("*ab", "abc"), ("?", ""), ("a*b", "ac")]
        {
            assert!(!glob(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn an_operator_is_meant_by_its_name_alone() {
        assert!(Pattern::new("Conv").matches("Conv", "stem"));
        assert!(!Pattern::new("Conv*").matches("ConvTranspose", "stem"));
        assert!(Pattern::new("st*").matches("Conv", "stem"));
    }
}
