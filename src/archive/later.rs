//! Notes that wait to be written with others: of messages that come one by one each would be a file to open, to look at and to write to.
//!
//! They count at once, in this process. Written are they when there are many, when a session ends, and every few seconds; what is lost with the process is
//! fetched once more.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Owner;
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
    by_owner: Mutex<HashMap<Owner, Waiting>>,
}

impl Later {
    /// What is to be written now, if that is enough.
    pub(super) fn add(&self, owner: &Owner, key: &str, message: Message) -> Option<Waiting> {
        let mut all = lock(&self.by_owner);
        self.any.store(true, Ordering::Relaxed);
        if let Some(waiting) = all.get_mut(owner) {
            waiting.push((key.to_owned(), message));
            return if waiting.len() < WAITING_MAX { None } else { all.remove(owner) };
        }
        all.insert(owner.clone(), vec![(key.to_owned(), message)]);
        None
    }

    /// The message that was noted last under this key, if that waits here.
    pub(super) fn find(&self, owner: &Owner, key: &str) -> Option<Message> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let all = lock(&self.by_owner);
        let (_, message) = all.get(owner)?.iter().rfind(|(its, _)| its == key)?;
        Some(*message)
    }

    /// All of this owner's, which do not wait here any more.
    pub(super) fn take(&self, owner: &Owner) -> Option<Waiting> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        lock(&self.by_owner).remove(owner)
    }

    /// All.
    pub(super) fn take_all(&self) -> HashMap<Owner, Waiting> {
        if !self.any.swap(false, Ordering::Relaxed) {
            return HashMap::new();
        }
        std::mem::take(&mut *lock(&self.by_owner))
    }
}
