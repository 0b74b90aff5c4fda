//! Ctrl-C, Ctrl-\, SIGTERM and a closed terminal: the first asks the program to stop, the second ends
//! the process and kills what it started. Programs that go on until they are stopped take SIGHUP for a request to look again.

use std::io::IsTerminal as _;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::process::{self, CancelToken};

/// From now on, signals cancel `token`.
pub(super) fn cancel_on_signal(token: CancelToken) {
    heed(token, None::<fn()>);
}

/// From now on, signals cancel `token`; SIGHUP calls `asked` instead, unless it means that the
/// terminal was closed.
pub(super) fn cancel_or_ask(token: CancelToken, asked: impl Fn() + Send + 'static) {
    heed(token, Some(asked));
}

fn heed(token: CancelToken, asked: Option<impl Fn() + Send + 'static>) {
    let ignored = ignored();
    let heeded = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];
    let heeded = heeded.into_iter().filter(|signal| !ignored.contains(signal));
    let signals = match Signals::new(heeded) {
        Ok(signals) => signals,
        Err(error) => {
            tracing::warn!("signals end the process at once: {error}");
            return;
        }
    };
    let had_terminal = std::io::stderr().is_terminal();
    let watch = move || {
        let mut signals = signals;
        for signal in signals.forever() {
            let is_closed = had_terminal && !std::io::stderr().is_terminal();
            match &asked {
                Some(asked) if signal == SIGHUP && !is_closed => {
                    asked();
                    continue;
                }
                _ => {}
            }
            if token.is_cancelled() {
                process::kill_all();
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
