//! What GPUs did, as people read it: their clocks, and how runs were submitted to them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::backend::SubmittedAs;
use crate::backend::cuda::GpuState;
use crate::bench::{ClockReport, ClocksSeen};
use crate::cli::quantity::significant;

use super::table::Numbers;

/// A row for each device, then what should make people doubt the numbers; nothing where nothing is
/// known.
pub(super) fn clocks(devices: &[(Option<usize>, &ClockReport)]) -> String {
    if devices.is_empty() {
        return String::new();
    }
    let header = ["SM clock, MHz", "before", "min", "mean", "after", "fastest", "°C", "W"];
    let mut table = Numbers::new(header);
    let mut warnings = String::new();
    for (device, ClockReport { before, during, after }) in devices {
        let name = name(*device);
        let whole = |value: Option<u32>| value.map_or("-".to_owned(), |value| value.to_string());
        let watts = |state: &GpuState| state.power_milliwatts.map(|power| f64::from(power) / 1e3);
        table.row(
            &name,
            [
                whole(before.clocks.sm_mhz),
                whole(during.min_sm_mhz),
                during.mean_sm_mhz.map_or("-".to_owned(), |mean| format!("{mean:.0}")),
                whole(after.clocks.sm_mhz),
                whole(after.max_sm_mhz),
                whole(after.temperature_celsius),
                watts(after).map_or("-".to_owned(), significant),
            ],
        );
        warnings += &warning(&name, during);
    }
    format!("\n{}{warnings}", table.text())
}

/// Why the clocks of a device make its numbers doubtful, as a line for each reason.
pub(super) fn warning(name: &str, seen: &ClocksSeen) -> String {
    let mut text = String::new();
    if let Some((from, to)) = seen.drop() {
        let _ = writeln!(
            text,
            "\nwarning: the SM clock of {name} was between {to} and {from} MHz while it was\n\
             measured; lock it (`nvidia-smi -lgc`) or measure again"
        );
    }
    let reasons: Vec<String> = seen.slowed_by().map(|reason| reason.to_string()).collect();
    if !reasons.is_empty() {
        let _ = writeln!(
            text,
            "\nwarning: {name} was held back while it was measured: {}",
            reasons.join(", ")
        );
    }
    text
}

/// A device in a sentence.
pub(super) fn name(device: Option<usize>) -> String {
    device.map_or("the GPU".to_owned(), |device| format!("GPU {device}"))
}

/// Whether contexts used CUDA graphs, and why not; `None` where there is no GPU.
pub(super) fn graphs(contexts: &[SubmittedAs]) -> Option<String> {
    let (mut nodes, mut reasons) = (BTreeSet::new(), BTreeSet::new());
    let mut used = 0;
    for context in contexts {
        match context {
            SubmittedAs::CudaGraph { nodes: count } => {
                used += 1;
                nodes.insert(count);
            }
            SubmittedAs::Kernels { reason } => {
                reasons.insert(reason.as_str());
            }
        }
    }
    let nodes: Vec<String> = nodes.into_iter().map(usize::to_string).collect();
    let (nodes, reasons) = (nodes.join(" or "), Vec::from_iter(reasons).join("; "));
    let all = contexts.len();
    Some(match (used, all - used) {
        (0, 0) => return None,
        (0, _) => format!("not used: {reasons}"),
        (_, 0) => format!("used, of {nodes} nodes"),
        _ => format!(
            "used by {used} of {all} contexts, of {nodes} nodes; by the others not: {reasons}"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphs_are_told_with_their_size_and_their_absence_with_its_reason() {
        let graph = || SubmittedAs::CudaGraph { nodes: 57 };
        let kernels = || SubmittedAs::Kernels { reason: "it has a loop".to_owned() };
        assert_eq!(graphs(&[]), None);
        assert_eq!(graphs(&[graph(), graph()]).unwrap(), "used, of 57 nodes");
        assert_eq!(graphs(&[kernels(), kernels()]).unwrap(), "not used: it has a loop");
        assert_eq!(
            graphs(&[graph(), kernels(), graph()]).unwrap(),
            "used by 2 of 3 contexts, of 57 nodes; by the others not: it has a loop"
        );
    }
}
