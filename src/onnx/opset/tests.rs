use super::changes::CHANGES;
use super::*;
use crate::onnx::operators::{Operator, lookup, names};

/// Whether nodes of one version may not be nodes of the next.
fn takes_away(before: &Operator, after: &Operator) -> bool {
    let lost = |name: &str| after.attribute(name).is_none();
    let asked = |name: &str| before.attribute(name).is_none_or(|old| !old.required);
    before.attributes.iter().any(|old| lost(old.name))
        || after.attributes.iter().any(|new| new.required && asked(new.name))
        || after.inputs.0 > before.inputs.0
        || after.inputs.1 < before.inputs.1
        || after.outputs.1 < before.outputs.1
        || after.withdrawn
}

#[test]
fn every_version_that_takes_something_away_is_listed() {
    for from in *OPSETS.start()..*OPSETS.end() {
        for op in names(from) {
            let (before, after) = (lookup(op, from).unwrap(), lookup(op, from + 1).unwrap());
            if before.since != after.since && takes_away(before, after) {
                let listed =
                    CHANGES.iter().any(|(name, since, _)| (*name, *since) == (op, after.since));
                assert!(listed, "{op} of opset {}", after.since);
            }
        }
    }
}

/// A newer opset may change operators without taking anything away: look through them before
/// raising this number.
#[test]
fn changes_were_looked_through_up_to_the_newest_opset() {
    assert_eq!(*OPSETS.end(), 26);
}

#[test]
fn changes_are_sorted_and_name_versions_of_the_standard() {
    assert!(CHANGES.is_sorted_by(|a, b| (a.0, a.1) < (b.0, b.1)));
    for (op, since, _) in CHANGES {
        let found = lookup(op, since).map(|found| found.since);
        assert_eq!(found, Some(since), "{op}");
    }
    assert!(lookup("Upsample", 10).unwrap().withdrawn);
}
