//! Ctrl-C, SIGTERM and a closed terminal: the first asks the run to stop, the second ends the
//! process.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::process::CancelToken;

/// From now on, signals cancel `token`.
pub(super) fn cancel_on_signal(token: CancelToken) {
    let ignored = ignored();
    let heeded = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !ignored.contains(signal));
    let signals = match Signals::new(heeded) {
        Ok(signals) => signals,
        Err(error) => {
            tracing::warn!("signals end the process at once: {error}");
            return;
        }
    };
    let watch = move || {
        let mut signals = signals;
        for _ in signals.forever() {
            if token.is_cancelled() {
                #[expect(clippy::exit, reason = "asked twice: nothing is waited for any more")]
                std::process::exit(130);
            }
            token.cancel();
        }
    };
    if let Err(error) = std::thread::Builder::new().name("signals".to_owned()).spawn(watch) {
        tracing::warn!("failed to watch for signals: {error}");
    }
}

/// The signals that whoever started this process had it ignore, as `nohup` does for SIGHUP.
fn ignored() -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0);
    (1..64).filter(|signal| mask & (1 << (signal - 1)) != 0).collect()
}
