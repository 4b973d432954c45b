//! Ctrl-C: the first asks the work to stop where it loses nothing, the second ends the program at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::output::complain;

/// Set by the first Ctrl-C; a training stops before its next step, an evaluation before its next episode.
pub(crate) static STOP: AtomicBool = AtomicBool::new(false);

/// Makes the first Ctrl-C set [`STOP`] instead of ending the program at once.
pub(crate) fn stop_on_ctrl_c() {
    let installed = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        complain("\nstopping after the step or episode in hand; press Ctrl-C again to stop at once");
    });
    if let Err(error) = installed {
        complain(&format!("kshot: Ctrl-C will stop at once, without saving: {error}"));
    }
}

/// Set by the first Ctrl-C, or by the system's request to end (SIGTERM), for work that leaves something on disk if it is ended
/// at once; the second ends the program.
pub(crate) fn ended_from_elsewhere() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    #[cfg(unix)]
    {
        use signal_hook::consts::{SIGINT, SIGTERM};
        use signal_hook::flag;

        for signal in [SIGINT, SIGTERM] {
            // In this order: the first sets what the second looks at.
            let registered = flag::register_conditional_shutdown(signal, 130, stop.clone())
                .and_then(|_| flag::register(signal, stop.clone()));
            if let Err(error) = registered {
                complain(&format!("kshot: Ctrl-C will stop at once: {error}"));
            }
        }
    }
    #[cfg(not(unix))]
    {
        let set = stop.clone();
        let installed = ctrlc::set_handler(move || {
            if set.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        });
        if let Err(error) = installed {
            complain(&format!("kshot: Ctrl-C will stop at once: {error}"));
        }
    }
    stop
}
