//! Messages that are to be fetched on our own account, and those that were kept in this session; by sequence number and UID.
//!
//! Sequence numbers are those of the place in the response stream: [`Due::expunged`] keeps them true (RFC 9051, section 7.5.1), [`Due::renumbered`]
//! forgets them. Does nothing itself; memory is bounded.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use crate::protocol::{DraftId, Host};

/// Messages that wait to be fetched.
const DUE_MAX: usize = 20_000;
/// Those of them that have begun to come when they become due: each is an open draft.
const DRAFTS_MAX: usize = 4;
/// Messages of this session that are known to be kept: beyond that one costs a second fetch.
const KEPT_MAX: usize = 100_000;

/// A message of the selected mailbox, by what is known of it. At least one of the two is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Which {
    pub(super) sequence_number: Option<u32>,
    pub(super) uid: Option<u32>,
}

/// As the log names it.
impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.uid, self.sequence_number) {
            (Some(uid), _) => write!(f, "uid={uid}"),
            (None, Some(number)) => write!(f, "number={number}"),
            (None, None) => f.write_str("number=-"),
        }
    }
}

impl Which {
    /// Whether both may be the same message. Where both UIDs are known they decide.
    pub(super) fn is(self, other: Which) -> bool {
        match (self.uid, other.uid) {
            (Some(one), Some(two)) => one == two,
            _ => self.sequence_number.is_some() && self.sequence_number == other.sequence_number,
        }
    }
}

/// A message that has come up to some octet.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) draft: DraftId,
    /// Octets in the draft.
    pub(super) next: u64,
}

/// A message that is due.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) which: Which,
    /// What has come of it.
    pub(super) progress: Option<Progress>,
    /// The server's way with chunks is not to be trusted: fetched in one piece.
    pub(super) in_one: bool,
    /// Its UID was asked for.
    pub(super) resolved: bool,
    /// Why it is due: the client got a part of it; a deletion waits for it; it lies in a folder that is followed.
    pub(super) read: bool,
    pub(super) for_deletion: bool,
    pub(super) followed: bool,
    /// The tagged reply of the FETCH that got a part of it waits for it.
    pub(super) waited_for: bool,
    /// Our command in progress asks for it, and whether the answer has brought it forward.
    pub(super) asked: bool,
    pub(super) answered: bool,
}

impl Message {
    fn new(which: Which) -> Message {
        Message {
            which,
            progress: None,
            in_one: false,
            resolved: false,
            read: false,
            for_deletion: false,
            followed: false,
            waited_for: false,
            asked: false,
            answered: false,
        }
    }

    /// The client got hold of a part of it.
    pub(super) fn read(which: Which) -> Message {
        Message { read: true, ..Message::new(which) }
    }

    /// It is to be deleted.
    pub(super) fn for_deletion(which: Which) -> Message {
        Message { for_deletion: true, resolved: true, ..Message::new(which) }
    }

    /// It lies in a folder that is followed.
    pub(super) fn followed(which: Which) -> Message {
        Message { followed: true, resolved: true, ..Message::new(which) }
    }

    pub(super) fn drop_progress(&mut self, host: &mut dyn Host) {
        if let Some(progress) = self.progress.take() {
            host.abort(progress.draft);
        }
    }
}

/// What is due, in the order in which it is fetched.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) list: VecDeque<Message>,
}

impl Due {
    /// Adds a message that is not in the list yet. False: there is no room.
    pub(super) fn push(&mut self, message: Message, host: &mut dyn Host) -> bool {
        if let Some(known) = self.list.iter_mut().find(|known| known.which.is(message.which)) {
            known.which.uid = known.which.uid.or(message.which.uid);
            known.which.sequence_number = known.which.sequence_number.or(message.which.sequence_number);
            known.read |= message.read;
            known.waited_for |= message.waited_for;
            known.for_deletion |= message.for_deletion;
            known.followed |= message.followed;
            known.in_one |= message.in_one;
            let mut message = message;
            message.drop_progress(host);
            return true;
        }
        let mut message = message;
        if self.list.iter().filter(|other| other.progress.is_some()).count() >= DRAFTS_MAX {
            message.drop_progress(host);
        }
        let room = self.list.len() < DUE_MAX;
        match room {
            true => self.list.push_back(message),
            false => message.drop_progress(host),
        }
        room
    }

    /// The first ones that can be asked for together: neither begun nor to be fetched in one piece, `kind` alike.
    pub(super) fn batch(&self, count_max: usize, kind: impl Fn(&Message) -> Option<bool>) -> usize {
        let Some(first) = self.list.front().and_then(&kind) else { return 0 };
        let alike = |m: &&Message| m.progress.is_none() && !m.in_one && kind(m) == Some(first);
        self.list.iter().take(count_max).take_while(alike).count().max(1)
    }

    /// Takes out those that are due for no other reason.
    pub(super) fn drop_deletions(&mut self, host: &mut dyn Host) {
        self.list.iter_mut().for_each(|message| message.for_deletion = false);
        self.drop_idle(host, |message| message.read || message.followed);
    }

    pub(super) fn drop_followed(&mut self, host: &mut dyn Host) {
        self.list.iter_mut().for_each(|message| message.followed = false);
        self.drop_idle(host, |message| message.read || message.for_deletion);
    }

    fn drop_idle(&mut self, host: &mut dyn Host, wanted: impl Fn(&Message) -> bool) {
        for mut message in std::mem::take(&mut self.list) {
            if wanted(&message) {
                self.list.push_back(message);
            } else {
                message.drop_progress(host);
            }
        }
    }

    /// EXPUNGE of this message. The due one, if it was, is given back.
    pub(super) fn expunged(&mut self, sequence_number: u32) -> Option<Message> {
        let gone = self.list.iter().position(|m| m.which.sequence_number == Some(sequence_number));
        let gone = gone.and_then(|at| self.list.remove(at));
        for message in &mut self.list {
            shift(&mut message.which, sequence_number);
        }
        gone
    }

    /// VANISHED: the sequence numbers mean nothing any more. Those that were known by nothing else are given back.
    pub(super) fn renumbered(&mut self) -> Vec<Message> {
        let mut lost = Vec::new();
        for mut message in std::mem::take(&mut self.list) {
            match message.which.uid {
                Some(_) => {
                    message.which.sequence_number = None;
                    self.list.push_back(message);
                }
                None => lost.push(message),
            }
        }
        lost
    }
}

/// What EXPUNGE does to the number of a message that stays.
pub(super) fn shift(which: &mut Which, expunged: u32) {
    if let Some(number) = which.sequence_number.as_mut().filter(|number| **number > expunged) {
        *number -= 1;
    }
}

/// Messages of the selected mailbox that are kept, or of which the server gives nothing.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Sorted.
    sequence_numbers: Vec<u32>,
    uids: BTreeSet<u32>,
}

impl Known {
    pub(super) fn insert(&mut self, which: Which) {
        if let Some(uid) = which.uid
            && self.uids.len() < KEPT_MAX
        {
            self.uids.insert(uid);
        }
        if let Some(number) = which.sequence_number
            && self.sequence_numbers.len() < KEPT_MAX
            && let Err(at) = self.sequence_numbers.binary_search(&number)
        {
            self.sequence_numbers.insert(at, number);
        }
    }

    pub(super) fn has(&self, which: Which) -> bool {
        which.uid.is_some_and(|uid| self.uids.contains(&uid))
            || which.sequence_number.is_some_and(|number| self.sequence_numbers.binary_search(&number).is_ok())
    }

    pub(super) fn expunged(&mut self, sequence_number: u32) {
        let at = self.sequence_numbers.partition_point(|&number| number < sequence_number);
        if self.sequence_numbers.get(at) == Some(&sequence_number) {
            self.sequence_numbers.remove(at);
        }
        self.sequence_numbers[at..].iter_mut().for_each(|number| *number -= 1);
    }

    pub(super) fn renumbered(&mut self) {
        self.sequence_numbers.clear();
    }
}
