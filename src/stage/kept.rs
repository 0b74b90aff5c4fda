//! How people are told of the nodes that were left as they were.

/// Nodes that are named; the rest is counted.
const SHOWN: usize = 8;

/// How much of a long list people are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// The first entries; the rest is counted.
    Short,
    /// Everything.
    Whole,
}

/// A line for each node, given by name, operator and reason; `file` has them all.
pub(super) fn lines<'a>(
    nodes: impl Iterator<Item = (&'a str, &'a str, &'a str)>,
    file: &str,
    listing: Listing,
) -> impl Iterator<Item = String> {
    let mut nodes: Vec<_> = nodes.collect();
    let shown = if listing == Listing::Whole { nodes.len() } else { nodes.len().min(SHOWN) };
    let more = nodes.len() - shown;
    nodes.truncate(shown);
    let named = nodes.into_iter().map(|(node, op, why)| format!("kept {node} ({op}): {why}"));
    named.chain((more > 0).then(|| format!("kept {more} more, see {file}")))
}

/// `1 weight`, `2 weights`.
pub(super) fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}
