//! Messages that are to be fetched on our own account, by sequence number and UID.
//!
//! Sequence numbers are those of the place in the response stream: [`Due::expunged`] keeps them true (RFC 9051, section 7.5.1), [`Due::renumbered`]
//! forgets them. Does nothing itself; memory is bounded.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;

use super::known::{Known, RUNS_MAX};
use crate::protocol::{DraftId, Host};

/// Messages that wait to be fetched.
const DUE_MAX: usize = 20_000;
/// Those of them that have begun to come when they become due: each is an open draft.
const DRAFTS_MAX: usize = 4;

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
    /// It was told, and whether the message is kept is to be looked up.
    pub(super) told: bool,
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
            told: false,
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

/// What is due, in the order in which it is fetched. A FETCH of a part of every message of a big folder makes thousands of messages due, one by one, so
/// that nothing here looks through all of them for each.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) list: VecDeque<Message>,
    /// Messages that may be in the list: those that were since the mailbox was selected, or since they became too many.
    seen: Known,
    /// Where the last one was found: the next one stands behind it mostly.
    found: Cell<usize>,
    /// Some of the list may be of these kinds.
    followed: bool,
    for_deletion: bool,
    /// How many messages were looked at to find one.
    #[cfg(test)]
    pub(super) looked_at: Cell<usize>,
}

impl Due {
    /// Another mailbox, or none: nothing is in the list.
    pub(super) fn forget(&mut self) {
        debug_assert!(self.list.is_empty());
        *self = Due::default();
    }

    /// The place of this message.
    pub(super) fn find(&self, which: Which) -> Option<usize> {
        if self.list.is_empty() || !self.seen.has(which) {
            return None;
        }
        self.place(|message| message.which.is(which))
    }

    /// The place of the message of this number.
    pub(super) fn find_number(&self, sequence_number: u32) -> Option<usize> {
        self.place(|message| message.which.sequence_number == Some(sequence_number))
    }

    fn place(&self, is_it: impl Fn(&Message) -> bool) -> Option<usize> {
        let is_it = |message: &Message| {
            #[cfg(test)]
            self.looked_at.set(self.looked_at.get() + 1);
            is_it(message)
        };
        // Either the one found last has been taken out, or it stands there still.
        let last = self.found.get();
        let near = (last..(last + 2).min(self.list.len())).find(|&at| is_it(&self.list[at]));
        let found = near.or_else(|| self.list.iter().position(is_it));
        self.found.set(found.unwrap_or(last));
        found
    }

    /// The message at this place has this UID, if none is known.
    pub(super) fn has_uid(&mut self, at: usize, uid: Option<u32>) {
        if let Some(message) = self.list.get_mut(at) {
            message.told |= message.which.uid.is_none() && uid.is_some();
            message.which.uid = message.which.uid.or(uid);
            let which = message.which;
            self.may_hold(which);
        }
    }

    /// This message may be in the list from now on.
    fn may_hold(&mut self, which: Which) {
        if !self.seen.insert(which) {
            // Most of those that were seen are not in the list any more.
            const { assert!(2 * DUE_MAX < RUNS_MAX) };
            self.seen = Known::default();
            for message in &self.list {
                self.seen.insert(message.which);
            }
            self.seen.insert(which);
        }
    }

    /// Adds a message that is not in the list yet. False: there is no room.
    pub(super) fn push(&mut self, message: Message, host: &mut dyn Host) -> bool {
        self.followed |= message.followed;
        self.for_deletion |= message.for_deletion;
        let mut message = message;
        if let Some(at) = self.find(message.which) {
            let known = &mut self.list[at];
            known.which.uid = known.which.uid.or(message.which.uid);
            known.which.sequence_number = known.which.sequence_number.or(message.which.sequence_number);
            known.read |= message.read;
            known.waited_for |= message.waited_for;
            known.for_deletion |= message.for_deletion;
            known.followed |= message.followed;
            known.in_one |= message.in_one;
            let which = known.which;
            self.may_hold(which);
            message.drop_progress(host);
            return true;
        }
        let drafts = || self.list.iter().filter(|other| other.progress.is_some()).count();
        if message.progress.is_some() && drafts() >= DRAFTS_MAX {
            message.drop_progress(host);
        }
        let room = self.list.len() < DUE_MAX;
        match room {
            true => {
                self.may_hold(message.which);
                self.list.push_back(message);
            }
            false => message.drop_progress(host),
        }
        room
    }

    /// Whether one of them is due because its folder is followed.
    pub(super) fn has_followed(&self) -> bool {
        self.followed && self.list.iter().any(|message| message.followed)
    }

    /// Whether a deletion waits for one of them.
    pub(super) fn has_for_deletion(&self) -> bool {
        self.for_deletion && self.list.iter().any(|message| message.for_deletion)
    }

    /// The first ones that can be asked for together: neither begun nor to be fetched in one piece, `kind` alike.
    pub(super) fn batch(&self, count_max: usize, kind: impl Fn(&Message) -> Option<bool>) -> usize {
        let Some(first) = self.list.front().and_then(&kind) else { return 0 };
        let alike = |m: &&Message| m.progress.is_none() && !m.in_one && kind(m) == Some(first);
        self.list.iter().take(count_max).take_while(alike).count().max(1)
    }

    /// Takes out those that are due for no other reason.
    pub(super) fn drop_deletions(&mut self, host: &mut dyn Host) {
        if !std::mem::take(&mut self.for_deletion) {
            return;
        }
        self.list.iter_mut().for_each(|message| message.for_deletion = false);
        self.drop_idle(host, |message| message.read || message.followed);
    }

    pub(super) fn drop_followed(&mut self, host: &mut dyn Host) {
        if !std::mem::take(&mut self.followed) {
            return;
        }
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
        self.seen.expunged(sequence_number);
        for message in &mut self.list {
            shift(&mut message.which, sequence_number);
        }
        gone
    }

    /// VANISHED: the sequence numbers mean nothing any more. Those that were known by nothing else are given back.
    pub(super) fn renumbered(&mut self) -> Vec<Message> {
        self.seen.renumbered();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::testing::Recorder;
    use proptest::prelude::*;

    proptest! {
        /// What is remembered of the list, and of the last place, hides nothing that stands in it. (No two of one number: that only a server says that
        /// errs, and of the second one the number means nothing once the first is expunged.)
        #[test]
        fn what_is_in_the_list_is_found(
            steps in prop::collection::vec((0u8..8, prop::option::of(1u32..12), prop::option::of(1u32..12)), 0..60)
        ) {
            let (mut due, mut host) = (Due::default(), Recorder::default());
            for (step, number, uid) in steps {
                let which = Which { sequence_number: number, uid };
                let at = number.unwrap_or(1) as usize;
                match step {
                    0 => drop(due.expunged(number.unwrap_or(1))),
                    1 if uid == Some(1) => drop(due.renumbered()),
                    1 => drop(due.list.remove(at)),
                    2 => due.has_uid(at, uid),
                    3 => due.list.rotate_left(at.min(due.list.len())),
                    _ if which == Which::default() => {}
                    _ if number.is_some_and(|number| due.find_number(number).is_some()) => {}
                    _ => drop(due.push(Message::read(which), &mut host)),
                }
                for number in (0..13).map(|number| Some(number).filter(|number| *number > 0)) {
                    for uid in (0..13).map(|uid| Some(uid).filter(|uid| *uid > 0)) {
                        let which = Which { sequence_number: number, uid };
                        let is_there = due.list.iter().any(|message| message.which.is(which));
                        let found = due.find(which);
                        prop_assert_eq!(found.is_some(), is_there, "{:?}", which);
                        prop_assert!(found.is_none_or(|at| due.list[at].which.is(which)));
                    }
                }
            }
        }
    }
}
