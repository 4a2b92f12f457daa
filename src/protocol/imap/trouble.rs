//! Messages that a server does not survive being asked for: it says BYE in the place of an answer. Remembered for the life of the process and for all
//! sessions of a proxy, so that no session after the next is ended by the same message.
//!
//! One BYE proves nothing: a server says it when it is stopped, too, and where several were asked for together nobody can tell which one it was.
//! Each is asked for alone the next time. Memory is bounded: what is
//! forgotten costs a session.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::archive::Owner;
use crate::protocol::Origin;

/// Messages that are remembered; then all are forgotten.
const MESSAGES_MAX: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Trouble {
    hasher: RandomState,
    messages: Mutex<HashMap<u64, Suspicion>>,
}

/// What is known of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// It, one of those that were asked for with it, or a server that was just being stopped.
    Suspected,
    /// The server ended another session when it was asked for this message alone.
    Guilty,
}

impl Trouble {
    /// The server said BYE when it was asked for this message, alone or with others.
    pub(super) fn suspect(&self, owner: &Owner, origin: &Origin, alone: bool) {
        let mut messages = self.lock();
        if messages.len() >= MESSAGES_MAX {
            messages.clear();
        }
        let again = |known: &mut Suspicion| {
            if alone {
                *known = Suspicion::Guilty;
            }
        };
        let message = self.hasher.hash_one((owner, origin));
        messages.entry(message).and_modify(again).or_insert(Suspicion::Suspected);
    }

    pub(super) fn suspicion(&self, owner: &Owner, origin: &Origin) -> Option<Suspicion> {
        let messages = self.lock();
        // Mostly there is none.
        if messages.is_empty() { None } else { messages.get(&self.hasher.hash_one((owner, origin))).copied() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Suspicion>> {
        // All changes are single insertions.
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
