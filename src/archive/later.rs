//! Notes that wait to be written with others: of messages that come one by one each would be a file to open, to look at and to write to.
//!
//! They count at once, in this process. Written are they when there are many, when a session ends, and every few seconds; what is lost with the process is
//! fetched once more.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::known::lock;
use super::notes::Message;

/// How many of an owner's wait at most.
const WAITING_MAX: usize = 32;

/// An owner's, in the order in which they came.
pub(super) type Waiting = Vec<(String, Message)>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Later {
    /// Whether there are any: asked for often.
    any: AtomicBool,
    by_maildir: Mutex<HashMap<PathBuf, Waiting>>,
}

impl Later {
    /// What is to be written now, if that is enough.
    pub(super) fn add(&self, maildir: &Path, key: &str, message: Message) -> Option<Waiting> {
        let mut all = lock(&self.by_maildir);
        self.any.store(true, Ordering::Relaxed);
        if let Some(waiting) = all.get_mut(maildir) {
            waiting.push((key.to_owned(), message));
            return if waiting.len() < WAITING_MAX { None } else { all.remove(maildir) };
        }
        all.insert(maildir.to_path_buf(), vec![(key.to_owned(), message)]);
        None
    }

    /// The message that was noted last under this key, if that waits here.
    pub(super) fn find(&self, maildir: &Path, key: &str) -> Option<Message> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let all = lock(&self.by_maildir);
        let (_, message) = all.get(maildir)?.iter().rfind(|(its, _)| its == key)?;
        Some(*message)
    }

    /// All of this owner's, which do not wait here any more.
    pub(super) fn take(&self, maildir: &Path) -> Option<Waiting> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        lock(&self.by_maildir).remove(maildir)
    }

    /// All.
    pub(super) fn take_all(&self) -> HashMap<PathBuf, Waiting> {
        if !self.any.swap(false, Ordering::Relaxed) {
            return HashMap::new();
        }
        std::mem::take(&mut *lock(&self.by_maildir))
    }
}
