//! Fetching on our own account: what the client got only in parts, does not go on with, or is about to delete, is fetched whole in its session.
//!
//! One command of ours at a time, and only while the server has answered all of the client's: then nothing of ours can be taken for an answer to
//! the client, and sequence numbers are the same for all three (RFC 9051, section 7.5.1). Ours are swallowed (`server::own`); what else the server
//! says meanwhile passes. A FETCH by sequence number gets no EXPUNGE between its answers; a UID FETCH, which may, is used only while the
//! client itself has a UID command in progress, or has left.
//!
//! The tagged reply of a FETCH that made messages due is held until they are kept, or until a bounded piece of them has come; the rest is fetched
//! between the client's commands. A deletion waits to the end (`gate`). Big messages come in chunks; where the server's way
//! with these is odd, in one piece.
//!
//! A server that refuses is tried once more in another way; then the message is logged and counted, and the next session tries again.

mod elsewhere;
mod outcome;
mod state;

pub(super) use outcome::{is_expunge_issued, words};
pub(super) use state::{Flight, Own, Purpose, Work};

use std::sync::Arc;

use state::Held;

use super::due::{Message, Which};
use super::trouble::Suspicion;
use super::{Imap, Kind, Pending, Phase, set};
use crate::archive::Destination;
use crate::protocol::{End, Host, Refused, Side};

/// Messages of which the first piece is asked for in one command, and how many octets of each.
pub(super) const BATCH_MAX: usize = 8;
/// (So few in the unit tests, whose transcripts are played once for every octet.)
const BATCH_PIECE_LEN: u64 = if cfg!(test) { 16 } else { 64 * 1024 };
/// A piece of a message alone, octets.
pub(super) const PIECE_LEN: u64 = 256 * 1024;
/// A tagged reply is held no longer than until so many octets came.
/// (So few in the unit tests, whose transcripts are played once for every octet.)
const HOLD_OCTETS_MAX: u64 = if cfg!(test) { 30 } else { 512 * 1024 };
/// Why a message is not asked for.
const GUILTY: &str =
    "the server ended a session when it was asked for it, and is not asked again until MailStore is restarted";
/// UIDs asked for in one command.
const RESOLVE_MAX: usize = 500;

/// Where messages go that are fetched from the selected mailbox.
#[derive(Default)]
pub(super) struct Placed {
    /// What was known of the folders when it was found out. None: it has to be.
    generation: Option<u64>,
    destination: Option<Arc<Destination>>,
}

impl Imap {
    /// Where messages fetched from the selected mailbox go; nowhere where they are not kept. Found out once, as long as nothing is learnt of
    /// the folders.
    pub(super) fn destination(&self) -> Option<Arc<Destination>> {
        let generation = self.settings.folders.generation();
        let mut placed = self.placed.borrow_mut();
        if placed.generation != Some(generation) {
            *placed = Placed { generation: Some(generation), destination: self.place().map(Arc::new) };
        }
        placed.destination.clone()
    }

    fn place(&self) -> Option<Destination> {
        let owner = self.login.as_ref()?;
        let folder = match &self.mailbox {
            Some(mailbox) => self.settings.folders.place_fetched(owner, &mailbox.name)?,
            None => crate::archive::Folder::inbox(),
        };
        Some(Destination { owner: owner.clone(), folder, outgoing: false })
    }

    /// Whether that message of the selected mailbox is kept, as far as is known.
    pub(super) fn is_known(&self, which: Which, host: &mut dyn Host) -> bool {
        if self.own.known.has(which) {
            return true;
        }
        let origin = which.uid.and_then(|uid| self.mailbox.as_ref()?.origin(uid));
        match (origin, &self.login) {
            (Some(origin), Some(owner)) => host.has(owner, &origin),
            _ => false,
        }
    }

    /// The client got hold of a part of this message.
    pub(super) fn got_in_part(&mut self, which: Which, host: &mut dyn Host) {
        if self.is_known(which, host) || self.own.given_up.has(which) {
            return;
        }
        if self.own.too_large.has(which) && host.refuses() {
            // Its octets have passed; that they are all that was wanted does not.
            return self.commands.fetches().for_each(|withheld| *withheld = Some(Refused::TooLarge));
        }
        self.make_due(Message { waited_for: true, ..Message::read(which) }, host);
    }

    /// False: there is no room, and nothing is lost yet only if it is due for a deletion.
    pub(super) fn make_due(&mut self, mut message: Message, host: &mut dyn Host) -> bool {
        let (which, for_deletion) = (message.which, message.for_deletion);
        if self.own.backing_off && !for_deletion {
            message.drop_progress(host);
            self.give_up(which, "the server has asked for less before, and is not asked again in this session", host);
            return true;
        }
        match self.suspicion(which) {
            Some(Suspicion::Guilty) => {
                message.drop_progress(host);
                self.failed(message, GUILTY, host);
                return true;
            }
            Some(Suspicion::Suspected) => message.in_one = true,
            None => {}
        }
        message.in_one |= self.own.in_one;
        let room = self.own.due.push(message, host);
        if !room && !for_deletion {
            self.missed(which, "too many messages are waiting to be fetched whole", host);
        }
        room
    }

    /// The downloads that the client does not go on with are due.
    pub(super) fn stop_downloads(&mut self, all: bool, host: &mut dyn Host) {
        for message in self.capture.chunks.stop(all, host) {
            let mut message = message;
            if self.is_known(message.which, host) {
                message.drop_progress(host);
            } else {
                self.make_due(message, host);
            }
        }
    }

    /// Whether something is due to the archive, or may be once the server has answered.
    pub(super) fn is_due(&self) -> bool {
        !self.own.due.list.is_empty()
            || !self.own.elsewhere.is_empty()
            || self.own.is_busy()
            || self.capture.chunks.has_downloads()
            || self.commands.message_is_coming()
    }

    /// Does what can be done, one step. True: the client may have been waiting for that; false: nothing can be done before somebody has spoken.
    pub(super) fn advance(&mut self, host: &mut dyn Host) -> bool {
        if !matches!(self.phase, Phase::Running) || self.own.flight.is_some() {
            return false;
        }
        let left = self.client_left && !self.client.line_waits();
        self.own.uids_allowed = left || self.client.held_idle.is_some() || self.client.leaving.is_some();
        if left {
            self.stop_downloads(true, host);
            self.own.due.drop_followed(host);
        }
        if !self.commands.list.is_empty() || !self.server.is_between_responses() {
            if left {
                self.break_idle(host);
            }
            return false;
        }
        self.stop_downloads(false, host);
        if self.gate_step(host) {
            return true;
        }
        if self.own.flight.is_some() {
            return false;
        }
        let may_hold =
            |held: &Held| held.octets < HOLD_OCTETS_MAX && held.refused.is_none() && self.own.is_waited_for() && !left;
        if self.own.held.as_ref().is_some_and(|held| !may_hold(held)) {
            self.release(host);
            return true;
        }
        let for_good = left || self.client.leaving == Some(true);
        if self.own.can_fetch() {
            self.own.alone |= left;
            self.fetch_due(host);
        } else if for_good && !self.own.elsewhere.is_empty() {
            self.own.alone |= left;
            self.reopen(host);
            return self.own.flight.is_none();
        } else if left && std::mem::take(&mut self.own.alone) {
            self.command("LOGOUT", Work::Logout, host);
        }
        false
    }

    /// A tagged reply of the client's may have to wait: then it is taken.
    pub(super) fn hold_reply(&mut self, by_uid: bool, tag: &[u8], line: &[u8]) -> bool {
        if !self.commands.list.is_empty() || !self.own.due.list.iter().any(|message| message.waited_for) {
            return false;
        }
        let held = Held { line: line.to_vec(), tag: tag.to_vec(), by_uid, octets: 0, refused: None };
        self.own.held = Some(Box::new(held));
        true
    }

    fn release(&mut self, host: &mut dyn Host) {
        let Some(held) = self.own.held.take() else { return };
        let line = match held.refused {
            Some(refused) => super::not_archived(&held.tag, refused),
            None => held.line,
        };
        host.send(Side::Client, &line);
        self.own.due.list.iter_mut().for_each(|message| message.waited_for = false);
    }

    pub(super) fn command(&mut self, text: &str, work: Work, host: &mut dyn Host) {
        self.own.count += 1;
        let tag = [&self.own.prefix[..], self.own.count.to_string().as_bytes()].concat();
        host.send(Side::Server, &[&tag[..], b" ", text.as_bytes(), b"\r\n"].concat());
        self.own.flight =
            Some(Box::new(Flight { tag, work, octets: 0, whole: Vec::new(), refused: None, waited_for: false }));
    }

    /// Asks for the next piece of what is due.
    fn fetch_due(&mut self, host: &mut dyn Host) {
        self.ask_for_due(host);
        self.own.follow.take_turn();
    }

    fn ask_for_due(&mut self, host: &mut dyn Host) {
        let own = &mut self.own;
        // What can only be asked for by UID waits for a time when it can.
        let Some(at) = own.due.list.iter().position(|message| own.kind(message).is_some()) else { return };
        own.due.list.rotate_left(at);
        let lasting = self.mailbox.as_ref().is_some_and(|mailbox| mailbox.uid_validity.is_some());
        let nameless = |m: &Message| m.which.uid.is_none() && !m.resolved && m.progress.is_none();
        if lasting && own.due.list.front().is_some_and(nameless) {
            let mut numbers = Vec::new();
            for message in own.due.list.iter_mut().filter(|m| nameless(m)).take(RESOLVE_MAX) {
                message.resolved = true;
                numbers.extend(message.which.sequence_number);
            }
            return self.command(&format!("FETCH {} (UID)", set::print(numbers)), Work::Resolve(Purpose::Due), host);
        }
        let batch = own.due.batch(BATCH_MAX, |message| own.kind(message));
        let by_uid = own.due.list.front().and_then(|message| own.kind(message)) == Some(true);
        // Without a number an answer tells only by its UID which it is: perhaps not before its end.
        let numbered = own.due.list.front().is_some_and(|message| message.which.sequence_number.is_some());
        let batch = if numbered { batch } else { 1 };
        let (mut numbers, mut waited_for) = (Vec::new(), false);
        for message in own.due.list.iter_mut().take(batch) {
            message.asked = true;
            waited_for |= message.waited_for;
            message.answered = false;
            numbers.extend(if by_uid { message.which.uid } else { message.which.sequence_number });
        }
        numbers.sort_unstable();
        let Some(first) = own.due.list.front() else { return };
        let from = first.progress.as_ref().map_or(0, |progress| progress.next);
        let count = match (first.in_one, batch) {
            (true, _) => None,
            (false, 1) => Some(PIECE_LEN),
            (false, _) => Some(BATCH_PIECE_LEN),
        };
        let uid = if by_uid { "UID " } else { "" };
        let items = match (from, count) {
            (_, None) => "(UID INTERNALDATE BODY.PEEK[])".to_owned(),
            (0, Some(count)) => format!("(UID INTERNALDATE BODY.PEEK[]<0.{count}>)"),
            (from, Some(count)) => format!("(UID BODY.PEEK[]<{from}.{count}>)"),
        };
        let from = if count.is_none() { 0 } else { from };
        self.command(&format!("{uid}FETCH {} {items}", set::print(numbers)), Work::Content { from, count }, host);
        if let Some(flight) = &mut self.own.flight {
            flight.waited_for = waited_for;
        }
    }

    /// The server's tagged reply to our command. False: it is none of ours.
    pub(super) fn own_tagged(&mut self, tag: &[u8], status: &[u8], line: &[u8], host: &mut dyn Host) -> bool {
        if !self.own.is_mine(tag) {
            return false;
        }
        let Some(mut flight) = self.own.flight.take() else { return false };
        host.fetched(flight.octets);
        match &mut flight.work {
            Work::Search(numbers) => {
                let numbers = std::mem::take(numbers);
                self.searched(numbers, status, line, host);
            }
            Work::Resolve(Purpose::Deletion) => self.deletion_resolved(status, line, host),
            Work::Resolve(Purpose::Due) => self.due_resolved(host),
            Work::Resolve(Purpose::Follow) => self.follow_resolved(status, line, host),
            Work::Content { count, .. } => {
                let in_one = count.is_none();
                self.content_over(*flight, in_one, status, line, host);
            }
            Work::Open(mailbox, opening) => {
                let (mailbox, opening) = (mailbox.clone(), *opening);
                match self.own.gate.is_some() {
                    true => self.opened_for_deletion(mailbox, opening, status, line, host),
                    false => self.reopened(mailbox, opening, status, line, host),
                }
            }
            Work::Close => self.closed_for_deletion(host),
            Work::Count(name, messages) => {
                let (name, messages) = (std::mem::take(name), *messages);
                self.counted(&name, messages, host);
            }
            Work::Logout => self.end(End::Orderly("client closed"), host),
        }
        true
    }

    /// Messages that turn out to be kept already are due no more.
    fn due_resolved(&mut self, host: &mut dyn Host) {
        let mut list = std::mem::take(&mut self.own.due.list);
        list.retain_mut(|message| {
            let told = std::mem::take(&mut message.told);
            let known = told && message.progress.is_none() && self.is_known(message.which, host);
            if known {
                self.own.known.insert(message.which);
            }
            !known
        });
        self.own.due.list = list;
    }

    /// The client has left: its IDLE must not keep us from what is due.
    fn break_idle(&mut self, host: &mut dyn Host) {
        if self.own.due.list.is_empty() && self.own.elsewhere.is_empty() {
            return;
        }
        if let [Pending { kind: Kind::Idle { begun: true, done: done @ false, .. }, .. }] =
            self.commands.list.make_contiguous()
        {
            *done = true;
            host.send(Side::Server, b"DONE\r\n");
        }
    }
}
