//! The nodes that go with what is around them: between float32 values they stay, where a cast on
//! either side would cost time and digits; else they are low.

use std::collections::HashSet;

use crate::onnx::proto::ValueInfoProto;

use super::Io;
use super::decide::Verdict;
use super::reason::Reason;
use super::table::Class;
use super::view::{Step, View};

/// Whether a node is low, and why.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decision {
    pub(super) low: bool,
    pub(super) reason: Reason,
}

/// What reads a tensor, in which precision.
#[derive(Debug, Clone, Copy, Default)]
struct Readers {
    low: bool,
    float: bool,
    open: bool,
}

impl Readers {
    fn all_low(self) -> bool {
        self.low && !self.float && !self.open
    }

    fn all_float(self) -> bool {
        !self.low && !self.open
    }
}

/// Settles every node.
pub(super) fn settle(view: &View<'_>, verdicts: Vec<Verdict>, io: Io) -> Vec<Decision> {
    let readers = backwards(view, &verdicts, io);
    let mut low: HashSet<&str> = HashSet::new();
    if io == Io::Convert {
        let inputs = view.model.graph.input.iter().map(ValueInfoProto::name);
        low.extend(inputs.filter(|name| view.is_float(name) && !view.pinned.contains(name)));
    }
    let mut decisions = Vec::with_capacity(verdicts.len());
    for ((step, verdict), readers) in view.steps.iter().zip(verdicts).zip(readers) {
        let decision = match verdict {
            Verdict::Keep(reason) => Decision { low: false, reason },
            Verdict::May(class) if is_low(view, step, class, readers, &low) => {
                let lowered = step.node.output.iter().zip(&step.lowered);
                low.extend(lowered.filter(|(_, low)| **low).map(|(name, _)| name.as_str()));
                Decision { low: true, reason: Reason::Low(view.half) }
            }
            Verdict::May(_) => Decision { low: false, reason: Reason::Surrounded },
        };
        decisions.push(decision);
    }
    decisions
}

fn is_low(
    view: &View<'_>,
    step: &Step<'_>,
    class: Class,
    readers: Readers,
    low: &HashSet<&str>,
) -> bool {
    let (mut any_low, mut any_float) = (false, false);
    for name in view.variables(step) {
        any_low |= low.contains(name);
        any_float |= !low.contains(name);
    }
    let reads_constants_only = !any_low && !any_float;
    match class {
        _ if view.is_dequantize(step) => !readers.all_float(),
        // A constant of half the size is worth it.
        _ if reads_constants_only && !step.lowerable.is_empty() => true,
        Class::Movement => readers.all_low() || (any_low && !any_float),
        Class::Elementwise if readers.all_float() => !any_float,
        Class::Elementwise => any_low || !any_float,
        Class::Compute | Class::Range(_) | Class::Cast => true,
    }
}

/// What reads the results of each node, as far as that can be told before the nodes in front are
/// settled.
fn backwards(view: &View<'_>, verdicts: &[Verdict], io: Io) -> Vec<Readers> {
    let mut known = vec![Readers::default(); verdicts.len()];
    for (index, step) in view.steps.iter().enumerate().rev() {
        // What quantizes takes either.
        let open = view.is_quantize(step);
        let mut all = Readers { open, ..Readers::default() };
        for name in view.float_outputs(step) {
            all.float |= view.pinned.contains(name);
            if view.outputs.contains(name) {
                let convert = io == Io::Convert && !view.pinned.contains(name);
                all.low |= convert;
                all.float |= !convert;
            }
            for &(reader, slot) in view.readers.get(name).into_iter().flatten() {
                let reading = &view.steps[reader];
                match &verdicts[reader] {
                    Verdict::Keep(Reason::Cast) => {}
                    Verdict::Keep(_) => all.float = true,
                    Verdict::May(_) if !reading.lowerable.contains(&slot) => all.float = true,
                    Verdict::May(Class::Elementwise) if known[reader].all_float() => {
                        all.float = true;
                    }
                    Verdict::May(Class::Movement) if known[reader].all_low() => all.low = true,
                    Verdict::May(Class::Movement) if known[reader].all_float() => all.float = true,
                    Verdict::May(Class::Movement) => all.open = true,
                    Verdict::May(_) => all.low = true,
                }
            }
        }
        known[index] = all;
    }
    known
}
