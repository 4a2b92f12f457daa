//! The life of `start_proxies` between its start and its end: signals.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::config::{self, Fault};
use crate::logging;
use crate::notify;
use crate::server::{self, Server};

/// A file has reached the limit of its size (`ulimit -f`).
const SIGXFSZ: i32 = nix::sys::signal::Signal::SIGXFSZ as i32;

/// Starts the proxies and runs until it is told to stop. 0: stopped as asked; 1: the configuration or the machine is at fault, which
/// was told on standard error.
pub fn run(file: PathBuf) -> ExitCode {
    let config = match config::load(&file) {
        Ok(config) => config,
        Err(faults) => return failed(&faults),
    };
    logging::init(config.shared.log);
    server::confine();
    // Before anything else: from the first moment on, a signal must not kill the program half-way. (A file that may not grow any further sends one,
    // too: then the write fails, and that is dealt with. SIGPIPE is ignored by Rust.)
    let mut signals = match Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGXFSZ]) {
        Ok(signals) => signals,
        Err(e) => {
            log::error!("signals cannot be handled: {e}");
            return ExitCode::FAILURE;
        }
    };
    let mut server = match Server::start(config) {
        Ok(server) => Some(server),
        Err(faults) => return failed(&faults),
    };
    notify::tell(notify::READY);
    let handle = signals.handle();
    for signal in signals.forever() {
        match (signal, &mut server) {
            (SIGHUP, Some(server)) => server.reload(),
            (SIGUSR1, Some(server)) => server.tell_counters(),
            (SIGUSR2, _) => log::info!("SIGUSR2 asks for nothing"),
            (SIGTERM | SIGINT | SIGQUIT, running) => match running.take() {
                Some(server) => {
                    notify::tell(notify::STOPPING);
                    // Elsewhere, so that a second signal is heard. It ends the loop when it is done.
                    let handle = handle.clone();
                    let stopping = thread::Builder::new().name("stop".to_owned()).spawn(move || {
                        server.stop();
                        handle.close();
                    });
                    if let Err(e) = stopping {
                        log::error!("no thread to wait for the sessions in ({e}): stopping at once");
                        return ExitCode::SUCCESS;
                    }
                }
                None => {
                    log::warn!("stopped at once, as asked a second time");
                    return ExitCode::SUCCESS;
                }
            },
            _ => {}
        }
    }
    ExitCode::SUCCESS
}

fn failed(faults: &[Fault]) -> ExitCode {
    for fault in faults {
        // Not by `eprintln!`, which panics where nobody listens: the exit status is told all the same.
        let _ = writeln!(io::stderr(), "{fault}");
    }
    ExitCode::FAILURE
}
