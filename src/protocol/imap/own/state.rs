//! What is known of our own fetches: the command in progress, the client's reply that waits for it, and what is due.

use super::HOLD_OCTETS_MAX;
use super::elsewhere::Elsewhere;
use crate::protocol::Refused;
use crate::protocol::imap::due::{self, Due, Message, Which};
use crate::protocol::imap::follow::Follow;
use crate::protocol::imap::gate::Gate;
use crate::protocol::imap::known::Known;
use crate::protocol::imap::mailbox::{Mailbox, Opening};

/// What a session knows of its fetches.
pub(in crate::protocol::imap) struct Own {
    /// What our tags begin with. No tag of the client's does.
    pub(super) prefix: Vec<u8>,
    pub(super) count: u64,
    pub(in crate::protocol::imap) flight: Option<Box<Flight>>,
    pub(super) held: Option<Box<Held>>,
    /// In a box, as what follows: most sessions need none of them most of the time.
    pub(in crate::protocol::imap) gate: Option<Box<Gate>>,
    pub(in crate::protocol::imap) due: Due,
    /// Kept in this session.
    pub(in crate::protocol::imap) known: Known,
    /// The server does not give them: not tried again in this session but for a deletion.
    pub(in crate::protocol::imap) given_up: Known,
    /// The archive does not take them, and never will.
    pub(in crate::protocol::imap) too_large: Known,
    /// The server's way with chunks is not to be trusted.
    pub(in crate::protocol::imap) in_one: bool,
    /// The server wants less of us: only what is deleted is still asked for.
    pub(in crate::protocol::imap) backing_off: bool,
    pub(in crate::protocol::imap) follow: Follow,
    /// What the client left behind when it went to another folder.
    pub(super) elsewhere: Vec<Elsewhere>,
    /// The folder that is open is not the client's.
    pub(super) private: bool,
    /// The client waits in a command that may be answered with EXPUNGE, or has left.
    pub(super) uids_allowed: bool,
    /// Octets that came since the client wants to leave the folder.
    pub(super) leaving_octets: u64,
    /// The client has left, and we went on without it.
    pub(super) alone: bool,
    /// Messages of which the log was told one by one that they are not kept, and those of which it is still to be told.
    pub(super) told: usize,
    pub(super) untold: u64,
}

/// Our command that the server is answering.
pub(in crate::protocol::imap) struct Flight {
    pub(super) tag: Vec<u8>,
    pub(in crate::protocol::imap) work: Work,
    /// Of messages' content.
    pub(in crate::protocol::imap) octets: u64,
    /// Messages that are whole and not settled yet.
    pub(in crate::protocol::imap) whole: Vec<Which>,
    /// The reply that is held waits for one of them.
    pub(super) waited_for: bool,
    /// The archive could not take one.
    pub(in crate::protocol::imap) refused: Option<Refused>,
}

pub(in crate::protocol::imap) enum Work {
    /// SEARCH: which messages would be expunged.
    Search(Vec<u32>),
    /// FETCH of UIDs: of what a deletion names, or of what is due or to be followed.
    Resolve(Purpose),
    /// FETCH of content: from this octet so many, of the messages that are marked as asked for; without a count all of it.
    Content {
        from: u64,
        count: Option<u64>,
    },
    /// EXAMINE of a folder that the client has left, or is about to delete.
    Open(Mailbox, Opening),
    Close,
    /// STATUS: how many messages a folder has.
    Count(Vec<u8>, u64),
    Logout,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::protocol::imap) enum Purpose {
    Deletion,
    Due,
    Follow,
}

/// The client's tagged reply that waits.
pub(super) struct Held {
    pub(super) line: Vec<u8>,
    pub(super) tag: Vec<u8>,
    /// The command was a UID FETCH.
    pub(super) by_uid: bool,
    pub(super) octets: u64,
    pub(super) refused: Option<Refused>,
}

impl Own {
    pub(in crate::protocol::imap) fn new(prefix: &str) -> Own {
        Own {
            prefix: prefix.as_bytes().to_vec(),
            count: 0,
            flight: None,
            held: None,
            gate: None,
            due: Due::default(),
            known: Known::default(),
            given_up: Known::default(),
            too_large: Known::default(),
            in_one: false,
            backing_off: false,
            follow: Follow::default(),
            elsewhere: Vec::new(),
            private: false,
            uids_allowed: false,
            leaving_octets: 0,
            alone: false,
            told: 0,
            untold: 0,
        }
    }

    /// Whether the client's next command has to wait for us.
    pub(in crate::protocol::imap) fn is_busy(&self) -> bool {
        self.flight.is_some() || self.held.is_some()
    }

    /// Nothing is due in the mailbox any more, or in any (`for_good`).
    pub(in crate::protocol::imap) fn may_leave(&self, for_good: bool) -> bool {
        self.due.list.is_empty() && (!for_good || self.elsewhere.is_empty())
    }

    /// So much has come since the client wants to leave that the rest can wait.
    pub(in crate::protocol::imap) fn left_long_enough(&self) -> bool {
        self.leaving_octets >= HOLD_OCTETS_MAX
    }

    /// How many commands of ours were sent.
    pub(in crate::protocol::imap) fn commands_sent(&self) -> u64 {
        self.count
    }

    /// The client has left, and so do we.
    pub(in crate::protocol::imap) fn logs_out(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| matches!(flight.work, Work::Logout))
    }

    /// Whether the reply that is held waits for something that can be fetched.
    pub(super) fn is_waited_for(&self) -> bool {
        self.due.list.iter().any(|message| message.waited_for && self.kind(message).is_some())
    }

    /// Whether the numbers of a SEARCH are for us.
    pub(in crate::protocol::imap) fn searches(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| matches!(flight.work, Work::Search(_)))
    }

    /// Whether FETCH responses are.
    pub(in crate::protocol::imap) fn fetches(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| matches!(flight.work, Work::Resolve(_) | Work::Content { .. }))
    }

    /// What the server tells of a folder that we open for ourselves.
    pub(in crate::protocol::imap) fn opening(&mut self) -> Option<&mut Opening> {
        match self.flight.as_mut().map(|flight| &mut flight.work) {
            Some(Work::Open(_, opening)) => Some(opening),
            _ => None,
        }
    }

    /// How many messages a folder has.
    pub(in crate::protocol::imap) fn count(&mut self) -> Option<&mut u64> {
        match self.flight.as_mut().map(|flight| &mut flight.work) {
            Some(Work::Count(_, count)) => Some(count),
            _ => None,
        }
    }

    /// What is said of the selected folder is not for the client, who does not know that it is open.
    pub(in crate::protocol::imap) fn is_private(&self) -> bool {
        self.private || self.flight.as_ref().is_some_and(|flight| matches!(flight.work, Work::Open(..)))
    }

    pub(in crate::protocol::imap) fn open_for_ourselves(&mut self, private: bool) {
        self.private = private;
    }

    /// A tag of the client's: ours must not begin like it.
    pub(in crate::protocol::imap) fn avoid(&mut self, tag: &[u8]) {
        if tag.starts_with(&self.prefix) && self.flight.is_none() {
            // Longer than the client's, and not its beginning either.
            self.prefix = tag.to_vec();
            let last =
                self.prefix.last_mut().map(|last| std::mem::replace(last, if *last == b'x' { b'y' } else { b'x' }));
            debug_assert!(last.is_some());
        }
    }

    pub(super) fn is_mine(&self, tag: &[u8]) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.tag == tag)
    }

    /// Whether a message may be asked for now, and whether by its UID.
    pub(super) fn kind(&self, message: &Message) -> Option<bool> {
        // What is only followed has a rest between two pieces.
        if !message.read && !message.for_deletion && !self.follow.has_turn() {
            return None;
        }
        let by_uid = match &self.held {
            // Whatever the client has said behind it, it is still in this command.
            Some(held) => held.by_uid,
            None => self.uids_allowed || self.gate.as_ref().is_some_and(|gate| gate.by_uid),
        };
        match message.which {
            Which { uid: Some(_), .. } if by_uid => Some(true),
            Which { sequence_number: Some(_), .. } => Some(false),
            // Its number was made void (VANISHED), and what waits for it may be answered with EXPUNGE.
            Which { uid: Some(_), .. } if self.gate.as_ref().is_some_and(|gate| gate.may_expunge()) => Some(true),
            _ => None,
        }
    }

    pub(in crate::protocol::imap) fn can_fetch(&self) -> bool {
        self.due.list.iter().any(|message| self.kind(message).is_some())
    }

    /// Another mailbox, or none.
    pub(in crate::protocol::imap) fn forget(&mut self) {
        for known in [&mut self.known, &mut self.given_up, &mut self.too_large] {
            *known = Known::default();
        }
        self.due.forget();
    }

    pub(in crate::protocol::imap) fn expunged(&mut self, sequence_number: u32) -> Option<Message> {
        if let Some(gate) = &mut self.gate {
            gate.renumbered();
        }
        self.known.expunged(sequence_number);
        self.given_up.expunged(sequence_number);
        self.too_large.expunged(sequence_number);
        self.follow.expunged(sequence_number);
        if let Some(flight) = &mut self.flight {
            flight.whole.retain(|which| which.sequence_number != Some(sequence_number));
            flight.whole.iter_mut().for_each(|which| due::shift(which, sequence_number));
        }
        self.due.expunged(sequence_number)
    }

    /// VANISHED with these UIDs. Gives back what was due and is known by nothing else than its number.
    pub(in crate::protocol::imap) fn vanished(&mut self, uids: &[u8]) -> Vec<Message> {
        self.known.renumbered();
        self.given_up.renumbered();
        self.too_large.renumbered();
        self.follow.vanished(uids);
        if let Some(gate) = &mut self.gate {
            gate.renumbered();
        }
        if let Some(flight) = &mut self.flight {
            flight.whole.iter_mut().for_each(|which| which.sequence_number = None);
        }
        self.due.renumbered()
    }
}
