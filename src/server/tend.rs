//! Looks after an archive while the program runs: what the disk did not let a session finish is tried again every few seconds.
//!
//! One thread for each archive, until the program ends. Costs nothing but a wake-up where there is nothing to do.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::archive::Archive;
use crate::net::wait::{sleep, stop_pipe};

/// How long the last try may take when the program ends.
const LAST_TRY: Duration = Duration::from_secs(5);
/// How often.
const EVERY: Duration = Duration::from_secs(5);

/// Dropped, it ends, after a last try.
pub(super) struct Tending {
    archive: Archive,
    stop: Option<OwnedFd>,
    /// Closed when the thread has ended.
    over: Receiver<()>,
}

impl Tending {
    /// Begins.
    ///
    /// # Errors
    /// The system has no thread or no file descriptor left.
    pub(super) fn start(archive: Archive) -> io::Result<Tending> {
        let (stop_read, stop_write) = stop_pipe()?;
        let (ends, over) = channel::<()>();
        let ours = archive.clone();
        let body = move || {
            let _ends = ends;
            let mut told = Vec::new();
            loop {
                let stopped = sleep(EVERY, stop_read.as_fd());
                catch_up(&ours, &mut told);
                if stopped {
                    return;
                }
            }
        };
        thread::Builder::new().name("archive".to_owned()).spawn(body)?;
        Ok(Tending { archive, stop: Some(stop_write), over })
    }

    /// Whether what is left of that one is left of this.
    pub(super) fn is_about_the_same_as(&self, archive: &Archive) -> bool {
        self.archive.has_left_in_common_with(archive)
    }

    /// Whether anybody but this and its thread has the archive.
    pub(super) fn is_needed(&self) -> bool {
        self.archive.holders() > 2
    }
}

impl Drop for Tending {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A disk that hangs must not keep the program from ending; the next start does what was not done here.
        if self.over.recv_timeout(LAST_TRY) == Err(RecvTimeoutError::Timeout) {
            log::error!("recovery: the disk does not answer; what is left is done at the next start");
        }
    }
}

/// `told`: what could not be done the last time. The same again is not news.
pub(super) fn catch_up(archive: &Archive, told: &mut Vec<String>) {
    if let Some(spool) = archive.made_anew() {
        log::error!(
            "the spool {} was moved or removed, and a new one was begun there: what was kept before lies elsewhere now; stop MailStore, and bring the two together (mailstore-import)",
            super::escape_path(spool)
        );
    }
    let found = archive.catch_up();
    let mut failed: Vec<String> = found.failed.iter().map(ToString::to_string).collect();
    super::tell_kept(&found);
    for e in failed.iter().filter(|e| !told.contains(e)) {
        log::error!("recovery: {e}");
    }
    for (owner, e) in &found.unnoted {
        let what = format!("owner={owner} reason={e}");
        if !told.contains(&what) {
            log::warn!("not noted owner={owner} reason={e}; the messages are kept, and may be fetched once more");
        }
        failed.push(what);
    }
    *told = failed;
}
