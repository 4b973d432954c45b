//! Ctrl-C, or SIGTERM: the first asks the work to stop where it loses nothing, the second ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::output::complain;

/// Set by the first Ctrl-C; a training stops before its next step, an evaluation before its next episode, a store
/// before its next images.
pub(crate) static STOP: AtomicBool = AtomicBool::new(false);

/// Makes the first Ctrl-C, or SIGTERM, set [`STOP`] instead of ending the program at once.
pub(crate) fn stop_on_ctrl_c() {
    if let Err(error) = ctrlc::set_handler(stop) {
        complain(&format!("kshot: Ctrl-C will stop at once, without saving: {error}"));
    }
    // Not SIGHUP, which `nohup` has ignored.
    #[cfg(unix)]
    if let Ok(mut signals) = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM]) {
        std::thread::spawn(move || signals.forever().for_each(|_| stop()));
    }
}

fn stop() {
    if STOP.swap(true, Ordering::Relaxed) {
        std::process::exit(130);
    }
    complain("\nstopping after what is in hand; press Ctrl-C again to stop at once");
}
