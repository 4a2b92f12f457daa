//! What the host is to do in the place of what it would do: for the answers that real servers never give on demand.

use std::sync::{Mutex, PoisonError};

use super::Kind;

/// The event before the host's first word.
pub(crate) const GREETING: &str = "(greeting)";
/// The event when a message has come whole: the end of DATA, of the last BDAT, of an APPEND's literal.
pub(crate) const MESSAGE: &str = "(message)";

#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Says exactly this, and does not do what was asked for. `{tag}` stands for the IMAP command's tag.
    Reply(String),
    /// Closes the connection without a word.
    Close,
    /// Goes on as ever, and closes the connection when so many octets more have left.
    Cut(usize),
}

/// Acts by protocol and event. An event is a command line (without IMAP's tag), [`GREETING`] or [`MESSAGE`].
#[derive(Default)]
pub(crate) struct Script {
    entries: Mutex<Vec<Entry>>,
}

struct Entry {
    kind: Kind,
    start: String,
    act: Act,
    once: bool,
}

impl Script {
    /// The next time that an event begins like this, in upper or lower case.
    pub(crate) fn once(&self, kind: Kind, start: &str, act: Act) {
        self.add(Entry { kind, start: start.to_owned(), act, once: true });
    }

    /// Each time.
    pub(crate) fn always(&self, kind: Kind, start: &str, act: Act) {
        self.add(Entry { kind, start: start.to_owned(), act, once: false });
    }

    /// Nothing of it any more.
    pub(crate) fn clear(&self) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn add(&self, entry: Entry) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// What is to be done now; the oldest entry that fits.
    pub(super) fn take(&self, kind: Kind, event: &str) -> Option<Act> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |entry: &Entry| {
            let start = event.as_bytes().get(..entry.start.len());
            entry.kind == kind && start.is_some_and(|start| start.eq_ignore_ascii_case(entry.start.as_bytes()))
        };
        let at = entries.iter().position(fits)?;
        Some(if entries[at].once { entries.remove(at).act } else { entries[at].act.clone() })
    }
}
