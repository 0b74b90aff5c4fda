//! Metrics of the process, under the names that all programs have for them.

use std::fmt;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use super::families;
use super::page::Page;
use crate::process::resident_bytes;

pub(super) fn write(started: SystemTime, page: &mut Page<'_>) -> fmt::Result {
    page.gauges(&families::RESIDENT, resident_bytes().map(|bytes| ([], super::count(bytes))))?;
    page.seconds(&families::CPU, cpu())?;
    page.gauges(&families::STARTED, [([], super::since_1970(started))])
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}
