//! [`NodePatterns`]: nodes chosen by operator type or by name.

use std::collections::HashMap;

use crate::suggest::did_you_mean;

use super::names::node_name;
use super::proto::{GraphProto, NodeProto};

/// Chooses nodes: each pattern is an operator type, such as `Softmax`, or a node's name, in which
/// `*` stands for any text.
#[derive(Debug, Clone, Default)]
pub struct NodePatterns {
    patterns: Vec<String>,
    /// The positions of those without a star.
    exact: HashMap<String, usize>,
    /// The positions of the others.
    globs: Vec<usize>,
}

impl NodePatterns {
    /// These patterns.
    pub fn new(patterns: impl IntoIterator<Item = String>) -> Self {
        let patterns: Vec<String> = patterns.into_iter().collect();
        let (mut exact, mut globs) = (HashMap::new(), Vec::new());
        for (at, pattern) in patterns.iter().enumerate() {
            if pattern.contains('*') {
                globs.push(at);
            } else {
                exact.entry(pattern.clone()).or_insert(at);
            }
        }
        Self { patterns, exact, globs }
    }

    /// These and more.
    #[must_use]
    pub fn and<'a>(&self, more: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(self.patterns.iter().cloned().chain(more.into_iter().map(str::to_owned)))
    }

    /// The first pattern that chooses a node.
    pub fn find(&self, node: &NodeProto) -> Option<&str> {
        let exact =
            [node.op_type(), node_name(node)].into_iter().filter_map(|it| self.exact.get(it));
        let is_match = |at: &&usize| glob(&self.patterns[**at], node_name(node));
        let first = exact.chain(self.globs.iter().find(is_match)).min()?;
        Some(&self.patterns[*first])
    }

    /// The position of a pattern that chooses no node of a graph, a slip of the pen, and what may
    /// have been meant.
    pub fn slip(&self, graph: &GraphProto) -> Option<(usize, String)> {
        let is_unused = |pattern: &String| !graph.node.iter().any(|node| matches(pattern, node));
        let at = self.patterns.iter().position(is_unused)?;
        let mut words: Vec<&str> = graph.node.iter().map(NodeProto::op_type).collect();
        words.sort_unstable();
        words.dedup();
        words.extend(graph.node.iter().map(node_name));
        Some((at, did_you_mean(&self.patterns[at], words, "operators and nodes")))
    }
}

fn matches(pattern: &str, node: &NodeProto) -> bool {
    pattern == node.op_type() || glob(pattern, node_name(node))
}

/// Whether `*` of a pattern can stand for texts that make it the name.
fn glob(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|start| name.strip_prefix(start)) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(end) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, is_match) in [
            ("/layer1/*", "/layer1/conv/Conv", true),
            ("/layer1/*", "/layer2/conv/Conv", false),
            ("*/Conv", "/layer1/conv/Conv", true),
            ("*a*b", "xaab", true),
            ("*a*b", "ab", true),
            ("*a*b", "ba", false),
            ("a*a", "a", false),
            ("head", "head", true),
            ("head", "head2", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("ä*ö", "äüö", true),
        ] {
            assert_eq!(glob(pattern, name), is_match, "{pattern} {name}");
        }
    }

    #[test]
    fn nodes_are_chosen_by_operator_or_name_and_unused_patterns_are_told() {
        let node = |op: &str, name: Option<&str>, output: &str| NodeProto {
            op_type: Some(op.into()),
            name: name.map(str::to_owned),
            output: vec![output.into()],
            ..NodeProto::default()
        };
        let graph = GraphProto {
            node: vec![node("Conv", Some("stem"), "a"), node("Softmax", None, "probabilities")],
            ..GraphProto::default()
        };
        let patterns =
            ["Softmax", "stem", "probab*", "softmax", "layer*"].map(str::to_owned).into_iter();
        let patterns = NodePatterns::new(patterns);
        assert_eq!(patterns.find(&graph.node[0]), Some("stem"));
        assert_eq!(patterns.find(&graph.node[1]), Some("Softmax"));
        let (at, help) = patterns.slip(&graph).unwrap();
        assert_eq!((at, help.as_str()), (3, "did you mean `Softmax`?"));
        assert_eq!(NodePatterns::new(["stem".to_owned()]).slip(&graph), None);
    }
}
