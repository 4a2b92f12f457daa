//! Looks after an archive while the program runs: what the disk did not let a session finish is tried again every few seconds.
//!
//! One thread for each archive, until the program ends. Costs nothing but a wake-up where there is nothing to do.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::archive::Archive;
use crate::net::wait::{sleep, stop_pipe};

/// How often.
const EVERY: Duration = Duration::from_secs(5);

/// Dropped, it ends, after a last try.
pub(super) struct Tending {
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Tending {
    /// Begins.
    ///
    /// # Errors
    /// The system has no thread or no file descriptor left.
    pub(super) fn start(archive: Archive) -> io::Result<Tending> {
        let (stop_read, stop_write) = stop_pipe()?;
        let body = move || {
            let mut told = Vec::new();
            loop {
                let stopped = sleep(EVERY, stop_read.as_fd());
                catch_up(&archive, &mut told);
                if stopped {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("archive".to_owned()).spawn(body)?;
        Ok(Tending { stop: Some(stop_write), thread: Some(thread) })
    }
}

impl Drop for Tending {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it was logged; the next start does what it did not.
            let _ = thread.join();
        }
    }
}

/// `told`: what could not be done the last time. The same again is not news.
fn catch_up(archive: &Archive, told: &mut Vec<String>) {
    let found = archive.catch_up();
    let failed: Vec<String> = found.failed.iter().map(ToString::to_string).collect();
    super::tell_kept(&found);
    for e in failed.iter().filter(|e| !told.contains(e)) {
        log::error!("recovery: {e}");
    }
    *told = failed;
}
