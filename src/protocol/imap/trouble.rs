//! Messages that a server does not survive being asked for: it says BYE in the place of an answer. Remembered for the life of the process and for all
//! sessions of a proxy, so that no session after the next is ended by the same message.
//!
//! Where several were asked for together nobody can tell which one it was: each is asked for alone the next time. Memory is bounded: what is
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Suspicion {
    /// It, or one of those that were asked for with it.
    OneOfMany,
    /// The server ended a session when it was asked for this message alone.
    Guilty,
}

impl Trouble {
    pub(super) fn suspect(&self, owner: &Owner, origin: &Origin, suspicion: Suspicion) {
        let mut messages = self.lock();
        if messages.len() >= MESSAGES_MAX {
            messages.clear();
        }
        let known = messages.entry(self.hasher.hash_one((owner, origin))).or_insert(suspicion);
        *known = suspicion.max(*known);
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
