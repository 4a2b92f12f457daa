//! Looks through an owner's folders before it has to be known what lies there: in a thread of its own, while his first message is still on its way.
//!
//! Half a million names take a second, and more where the disk has to be asked. Only who has to know (a message is whole) waits for what is left of that. The
//! thread begins with the first owner, and ends when there was none for a moment. Where there is none to be had, who has to know looks himself.

use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, Weak};
use std::thread;
use std::time::Duration;

use super::Shared;
use super::known::lock;

/// How many owners wait to be looked through at most.
const WAITING_MAX: usize = 1_000;

/// How long the thread waits for the next one.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    to_thread: Mutex<Option<SyncSender<PathBuf>>>,
}

impl Ahead {
    /// This Maildir is next, if there is room.
    pub(super) fn look(&self, shared: Weak<Shared>, maildir: PathBuf) {
        let mut to_thread = lock(&self.to_thread);
        if to_thread.is_none() {
            let (sender, maildirs) = sync_channel::<PathBuf>(WAITING_MAX);
            let body = move || {
                loop {
                    let next = maildirs.recv_timeout(PATIENCE);
                    let Some(shared) = shared.upgrade() else { return };
                    let next = next.or_else(|_| {
                        // Whoever sends holds the lock.
                        let mut to_thread = lock(&shared.ahead.to_thread);
                        maildirs.try_recv().inspect_err(|_| *to_thread = None)
                    });
                    let Ok(maildir) = next else { return };
                    shared.known.with(&maildir, |lookup| lookup.load());
                }
            };
            *to_thread = thread::Builder::new().name("look ahead".to_owned()).spawn(body).ok().map(|_| sender);
        }
        if let Some(sender) = &*to_thread {
            // Too many, or the thread is gone by a bug: whoever has to know looks.
            if let Err(TrySendError::Disconnected(_)) = sender.try_send(maildir) {
                *to_thread = None;
            }
        }
    }
}
