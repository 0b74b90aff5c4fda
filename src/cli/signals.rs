//! Ctrl-C and SIGTERM: the first asks the run to stop, the second ends the process.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::stage::CancelToken;

/// From now on, signals cancel `token`.
pub(super) fn cancel_on_signal(token: CancelToken) {
    let signals = match Signals::new([SIGINT, SIGTERM]) {
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
