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

use super::due::{Due, Known, Message, Which};
use super::follow::Follow;
use super::gate::{Gate, quoted};
use super::mailbox::{Mailbox, Opening};
use super::{Imap, Kind, Pending, Phase, set};
use crate::archive::Destination;
use crate::logging::{escape, quote};
use crate::protocol::{End, Host, Refused, Side};

/// Messages of which the first piece is asked for in one command, and how many octets of each.
const BATCH_MAX: usize = 8;
/// (So few in the unit tests, whose transcripts are played once for every octet.)
const BATCH_PIECE_LEN: u64 = if cfg!(test) { 16 } else { 64 * 1024 };
/// A piece of a message alone, octets.
pub(super) const PIECE_LEN: u64 = 256 * 1024;
/// A tagged reply is held no longer than until so many octets came.
/// (So few in the unit tests, whose transcripts are played once for every octet.)
const HOLD_OCTETS_MAX: u64 = if cfg!(test) { 30 } else { 512 * 1024 };
/// UIDs asked for in one command.
const RESOLVE_MAX: usize = 500;
/// Messages that are due in other folders. Those that have begun to come are open drafts: at most so many.
const ELSEWHERE_MAX: usize = 100;
const ELSEWHERE_DRAFTS_MAX: usize = 4;

/// See the module.
pub(super) struct Own {
    /// What our tags begin with. No tag of the client's does.
    prefix: Vec<u8>,
    count: u64,
    pub(super) flight: Option<Flight>,
    held: Option<Held>,
    pub(super) gate: Option<Gate>,
    pub(super) due: Due,
    /// Kept in this session.
    pub(super) known: Known,
    /// The server does not give them: not tried again in this session but for a deletion.
    given_up: Known,
    /// The archive does not take them, and never will.
    pub(super) too_large: Known,
    /// The server's way with chunks is not to be trusted.
    pub(super) in_one: bool,
    /// The server wants less of us: only what is deleted is still asked for.
    backing_off: bool,
    pub(super) follow: Follow,
    /// What the client left behind when it went to another folder.
    elsewhere: Vec<Elsewhere>,
    /// The folder that is open is not the client's.
    private: bool,
    /// The client waits in a command that may be answered with EXPUNGE, or has left.
    uids_allowed: bool,
    /// Octets that came since the client wants to leave the folder.
    leaving_octets: u64,
    /// The client has left, and we went on without it.
    alone: bool,
}

/// Our command that the server is answering.
pub(super) struct Flight {
    tag: Vec<u8>,
    pub(super) work: Work,
    /// Of messages' content.
    pub(super) octets: u64,
    /// Messages that are whole and not settled yet.
    pub(super) whole: Vec<Which>,
    /// The archive could not take one.
    pub(super) refused: Option<Refused>,
}

pub(super) enum Work {
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

/// A message that is due in a folder that is not selected any more.
struct Elsewhere {
    mailbox: Mailbox,
    message: Message,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Deletion,
    Due,
    Follow,
}

/// The client's tagged reply that waits.
struct Held {
    line: Vec<u8>,
    tag: Vec<u8>,
    /// The command was a UID FETCH.
    by_uid: bool,
    octets: u64,
    refused: Option<Refused>,
}

impl Own {
    pub(super) fn new(prefix: &str) -> Own {
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
        }
    }

    /// Whether the client's next command has to wait for us.
    pub(super) fn is_busy(&self) -> bool {
        self.flight.is_some() || self.held.is_some()
    }

    /// Whether the numbers of a SEARCH are for us.
    pub(super) fn searches(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| matches!(flight.work, Work::Search(_)))
    }

    /// Whether FETCH responses are.
    pub(super) fn fetches(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| matches!(flight.work, Work::Resolve(_) | Work::Content { .. }))
    }

    /// What the server tells of a folder that we open for ourselves.
    pub(super) fn opening(&mut self) -> Option<&mut Opening> {
        match self.flight.as_mut().map(|flight| &mut flight.work) {
            Some(Work::Open(_, opening)) => Some(opening),
            _ => None,
        }
    }

    /// How many messages a folder has.
    pub(super) fn count(&mut self) -> Option<&mut u64> {
        match self.flight.as_mut().map(|flight| &mut flight.work) {
            Some(Work::Count(_, count)) => Some(count),
            _ => None,
        }
    }

    /// What is said of the selected folder is not for the client, who does not know that it is open.
    pub(super) fn is_private(&self) -> bool {
        self.private || self.flight.as_ref().is_some_and(|flight| matches!(flight.work, Work::Open(..)))
    }

    pub(super) fn open_for_ourselves(&mut self, private: bool) {
        self.private = private;
    }

    /// A tag of the client's: ours must not begin like it.
    pub(super) fn avoid(&mut self, tag: &[u8]) {
        if tag.starts_with(&self.prefix) && self.flight.is_none() {
            // Longer than the client's, and not its beginning either.
            self.prefix = tag.to_vec();
            let last =
                self.prefix.last_mut().map(|last| std::mem::replace(last, if *last == b'x' { b'y' } else { b'x' }));
            debug_assert!(last.is_some());
        }
    }

    fn is_mine(&self, tag: &[u8]) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.tag == tag)
    }

    /// Whether a message may be asked for now, and whether by its UID.
    fn kind(&self, message: &Message) -> Option<bool> {
        let by_uid = match &self.held {
            // Whatever the client has said behind it, it is still in this command.
            Some(held) => held.by_uid,
            None => self.uids_allowed || self.gate.as_ref().is_some_and(|gate| gate.by_uid),
        };
        match message.which {
            Which { uid: Some(_), .. } if by_uid => Some(true),
            Which { sequence_number: Some(_), .. } => Some(false),
            // Its number was made void (VANISHED), and what waits for it may be answered with EXPUNGE.
            Which { uid: Some(_), .. } if self.gate.as_ref().is_some_and(Gate::may_expunge) => Some(true),
            _ => None,
        }
    }

    pub(super) fn can_fetch(&self) -> bool {
        self.due.list.iter().any(|message| self.kind(message).is_some())
    }

    /// Another mailbox, or none.
    pub(super) fn forget(&mut self) {
        for known in [&mut self.known, &mut self.given_up, &mut self.too_large] {
            *known = Known::default();
        }
    }

    pub(super) fn expunged(&mut self, sequence_number: u32) -> Option<Message> {
        if let Some(gate) = &mut self.gate {
            gate.renumbered();
        }
        self.known.expunged(sequence_number);
        self.given_up.expunged(sequence_number);
        self.too_large.expunged(sequence_number);
        self.follow.expunged(sequence_number);
        if let Some(flight) = &mut self.flight {
            flight.whole.retain(|which| which.sequence_number != Some(sequence_number));
            flight.whole.iter_mut().for_each(|which| super::due::shift(which, sequence_number));
        }
        self.due.expunged(sequence_number)
    }

    /// VANISHED with these UIDs. Gives back what was due and is known by nothing else than its number.
    pub(super) fn vanished(&mut self, uids: &[u8]) -> Vec<Message> {
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

impl Imap {
    /// Where messages fetched from the selected mailbox go; nowhere where they are not kept.
    pub(super) fn destination(&self) -> Option<Destination> {
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
        self.make_due(Message::read(which), host);
    }

    /// False: there is no room, and nothing is lost yet only if it is due for a deletion.
    pub(super) fn make_due(&mut self, mut message: Message, host: &mut dyn Host) -> bool {
        let (which, for_deletion) = (message.which, message.for_deletion);
        if self.own.backing_off && !for_deletion {
            message.drop_progress(host);
            self.give_up(which, "the server has asked for less before, and is not asked again in this session", host);
            return true;
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

    /// The client wants to leave the mailbox. True: all that it has got of it is kept, or so much has come meanwhile that the rest is to wait until it
    /// comes back or has nothing more to say.
    pub(super) fn may_leave(&mut self, for_good: bool, host: &mut dyn Host) -> bool {
        if self.commands.message_is_coming() || self.own.is_busy() {
            return false;
        }
        self.stop_downloads(true, host);
        self.own.due.drop_followed(host);
        if !for_good && self.own.leaving_octets >= HOLD_OCTETS_MAX {
            self.leave_behind(host);
        }
        let may = self.own.due.list.is_empty() && (!for_good || self.own.elsewhere.is_empty());
        if may {
            self.own.leaving_octets = 0;
        }
        may
    }

    /// What has a name that lasts can be fetched later.
    fn leave_behind(&mut self, host: &mut dyn Host) {
        let Some(mailbox) = self.mailbox.as_ref().filter(|mailbox| mailbox.uid_validity.is_some()) else { return };
        for mut message in std::mem::take(&mut self.own.due.list) {
            if message.which.uid.is_none() || self.own.elsewhere.len() >= ELSEWHERE_MAX {
                self.own.due.list.push_back(message);
                continue;
            }
            let drafts = self.own.elsewhere.iter().filter(|other| other.message.progress.is_some()).count();
            if drafts >= ELSEWHERE_DRAFTS_MAX {
                message.drop_progress(host);
            }
            message.which.sequence_number = None;
            self.own.elsewhere.push(Elsewhere { mailbox: mailbox.clone(), message });
        }
    }

    /// The mailbox is selected (again): what was left behind there is due.
    pub(super) fn come_back(&mut self, host: &mut dyn Host) {
        let Some(mailbox) = self.mailbox.clone() else { return };
        let is_here = |other: &mut Elsewhere| other.mailbox.name == mailbox.name;
        let here: Vec<Elsewhere> = self.own.elsewhere.extract_if(.., is_here).collect();
        for Elsewhere { mailbox: before, mut message } in here {
            if before.uid_validity == mailbox.uid_validity {
                self.make_due(message, host);
            } else {
                message.drop_progress(host);
                self.missed(
                    message.which,
                    "the server has given the folder new UIDs before it could be fetched whole",
                    host,
                );
            }
        }
    }

    /// Opens the next folder where something was left behind. The client needs the selected one no more.
    fn reopen(&mut self, host: &mut dyn Host) {
        while let Some(first) = self.own.elsewhere.first() {
            let mailbox = first.mailbox.clone();
            if let Some(quoted) = quoted(&mailbox.name) {
                return self.command(&format!("EXAMINE {quoted}"), Work::Open(mailbox, Opening::default()), host);
            }
            self.leave_for_good(&mailbox.name, "its folder's name cannot be said again", host);
        }
    }

    fn reopened(&mut self, mailbox: Mailbox, opening: Opening, status: &[u8], line: &[u8], host: &mut dyn Host) {
        if status != b"OK" {
            let why = format!("the server does not open its folder again: {}", quote(words(line)));
            self.select(None, host);
            return self.leave_for_good(&mailbox.name, &why, host);
        }
        self.own.private = true;
        self.select(Some(opening.mailbox(mailbox.name, true)), host);
        self.own.follow.stop();
    }

    /// What was left behind in this folder will not come.
    pub(super) fn leave_for_good(&mut self, name: &[u8], why: &str, host: &mut dyn Host) {
        let is_there = |other: &mut Elsewhere| other.mailbox.name == name;
        let left: Vec<Elsewhere> = self.own.elsewhere.extract_if(.., is_there).collect();
        for Elsewhere { mailbox, mut message } in left {
            message.drop_progress(host);
            missed(Some(&mailbox), message.which, why, host);
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
            |held: &Held| held.octets < HOLD_OCTETS_MAX && held.refused.is_none() && self.own.can_fetch() && !left;
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
        if !self.commands.list.is_empty() || self.own.due.list.is_empty() {
            return false;
        }
        let held = Held { line: line.to_vec(), tag: tag.to_vec(), by_uid, octets: 0, refused: None };
        self.own.held = Some(held);
        true
    }

    fn release(&mut self, host: &mut dyn Host) {
        let Some(held) = self.own.held.take() else { return };
        let line = match held.refused {
            Some(refused) => super::not_archived(&held.tag, refused),
            None => held.line,
        };
        host.send(Side::Client, &line);
    }

    pub(super) fn command(&mut self, text: &str, work: Work, host: &mut dyn Host) {
        self.own.count += 1;
        let tag = [&self.own.prefix[..], self.own.count.to_string().as_bytes()].concat();
        host.send(Side::Server, &[&tag[..], b" ", text.as_bytes(), b"\r\n"].concat());
        self.own.flight = Some(Flight { tag, work, octets: 0, whole: Vec::new(), refused: None });
    }

    /// Asks for the next piece of what is due.
    fn fetch_due(&mut self, host: &mut dyn Host) {
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
        let mut numbers = Vec::new();
        for message in own.due.list.iter_mut().take(batch) {
            message.asked = true;
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
                self.content_over(flight, in_one, status, line, host);
            }
            Work::Open(mailbox, opening) => {
                let (mailbox, opening) = (mailbox.clone(), *opening);
                match self.own.gate.is_some() {
                    true => self.opened_for_deletion(mailbox, opening, status, host),
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
        for message in std::mem::take(&mut self.own.due.list) {
            match message.progress.is_none() && self.is_known(message.which, host) {
                true => self.own.known.insert(message.which),
                false => self.own.due.list.push_back(message),
            }
        }
    }

    fn content_over(&mut self, flight: Flight, in_one: bool, status: &[u8], line: &[u8], host: &mut dyn Host) {
        let mut refused = flight.refused;
        match self.capture.settle(host) {
            Ok(()) => flight.whole.iter().for_each(|which| self.own.known.insert(*which)),
            Err(why) => refused = Some(why),
        }
        if let Some(held) = &mut self.own.held {
            held.octets += flight.octets;
            held.refused = held.refused.or(refused);
        }
        if self.client.leaving.is_some() {
            self.own.leaving_octets += flight.octets;
        }
        if refused.is_some() {
            // It would fail with the next one too.
            self.own.follow.stop();
        }
        if let (Some(refused), Some(gate)) = (refused, &mut self.own.gate) {
            gate.refuse(super::gate::Obstacle::Archive(refused));
        }
        self.own.follow.paid(flight.octets);
        let busy = status != b"OK" && wants_less(line);
        let mut failed = Vec::new();
        for message in std::mem::take(&mut self.own.due.list) {
            let mut message = message;
            let asked = std::mem::take(&mut message.asked);
            if !asked || message.answered {
                self.own.due.list.push_back(message);
            } else if in_one || busy {
                message.drop_progress(host);
                failed.push(message);
            } else {
                // Once more, in the plainest of ways.
                message.drop_progress(host);
                message.in_one = true;
                self.own.due.list.push_back(message);
            }
        }
        if busy && !std::mem::replace(&mut self.own.backing_off, true) {
            let waiting: Vec<Message> = std::mem::take(&mut self.own.due.list).into();
            let (deletions, others) = waiting.into_iter().partition(|message| message.for_deletion);
            self.own.due.list = std::collections::VecDeque::<Message>::from(deletions);
            failed.extend::<Vec<Message>>(others);
        }
        let why = match status {
            b"OK" => "the server says OK and does not give it".to_owned(),
            _ => format!("the server refuses it: {}", quote(words(line))),
        };
        for mut message in failed {
            message.drop_progress(host);
            // It was asked for alone: nothing is left to be kept, or to be deleted.
            match in_one && is_expunge_issued(line) {
                true => self.gone(message, host),
                false => self.failed(message, &why, host),
            }
        }
    }

    /// The server does not give a message.
    pub(super) fn failed(&mut self, message: Message, why: &str, host: &mut dyn Host) {
        self.give_up(message.which, why, host);
        if message.for_deletion
            && let Some(gate) = &mut self.own.gate
            && host.refuses()
        {
            gate.refuse(super::gate::Obstacle::Server);
        }
    }

    fn give_up(&mut self, which: Which, why: &str, host: &mut dyn Host) {
        self.own.given_up.insert(which);
        self.missed(which, why, host);
    }

    /// Tells the administrator which message is not kept.
    pub(super) fn missed(&self, which: Which, why: &str, host: &mut dyn Host) {
        missed(self.mailbox.as_ref(), which, why, host);
    }

    /// A message that was due is not in the mailbox any more.
    pub(super) fn gone(&mut self, message: Message, host: &mut dyn Host) {
        let mut message = message;
        message.drop_progress(host);
        if message.read && !self.is_known(message.which, host) {
            self.missed(message.which, "somebody else expunged it before it could be fetched whole", host);
        }
    }

    /// The session ends, or the mailbox is left: what is still due will not come.
    pub(super) fn abandon_due(&mut self, why: &str, host: &mut dyn Host) {
        self.stop_downloads(true, host);
        for mut message in std::mem::take(&mut self.own.due.list) {
            message.drop_progress(host);
            if message.read {
                self.missed(message.which, why, host);
            }
        }
        self.own.follow.stop();
    }

    /// The session ends: what is due in other folders will not come either.
    pub(super) fn abandon_elsewhere(&mut self, why: &str, host: &mut dyn Host) {
        for Elsewhere { mailbox, mut message } in std::mem::take(&mut self.own.elsewhere) {
            message.drop_progress(host);
            missed(Some(&mailbox), message.which, why, host);
        }
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

fn missed(mailbox: Option<&Mailbox>, which: Which, why: &str, host: &mut dyn Host) {
    let folder = mailbox.map_or_else(|| "-".to_owned(), |mailbox| escape(&mailbox.name));
    let name = match which {
        Which { uid: Some(uid), .. } => format!("uid={uid}"),
        Which { sequence_number: Some(number), .. } => format!("number={number}"),
        _ => "number=-".to_owned(),
    };
    host.not_kept(&format!(
        "{why} (folder={folder} {name}); it is tried again when it is read or deleted in another session"
    ));
}

/// A server that says no because it is asked for too much (RFC 9051, section 7.1; `OVERQUOTA` and `THROTTLED` as big hosts say them).
fn wants_less(line: &[u8]) -> bool {
    let code = super::capability::status_code(line);
    let codes = [&b"OVERQUOTA"[..], b"THROTTLED", b"LIMIT", b"UNAVAILABLE", b"INUSE"];
    code.is_some_and(|code| codes.contains(&code.trim_ascii_end().strip_suffix(b"]").unwrap_or(&code)))
}

/// A server that says no because some of the messages are gone, of which it could not tell yet (RFC 5530).
pub(super) fn is_expunge_issued(line: &[u8]) -> bool {
    super::capability::status_code(line).is_some_and(|code| code.starts_with(b"EXPUNGEISSUED"))
}

/// A tagged line without its tag.
pub(super) fn words(line: &[u8]) -> &[u8] {
    let at = line.iter().position(|&b| b == b' ').map_or(line.len(), |at| at + 1);
    &line[at..]
}
