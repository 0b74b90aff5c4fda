//! What the clocks of GPUs did, as people read it.

use std::fmt::Write as _;

use crate::backend::cuda::GpuState;
use crate::bench::{ClockReport, ClocksSeen};
use crate::cli::quantity::significant;

use super::table::Numbers;

/// A row for each device, then what should make people doubt the numbers; nothing where nothing is
/// known.
pub(super) fn of_devices(devices: &[(Option<usize>, &ClockReport)]) -> String {
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
