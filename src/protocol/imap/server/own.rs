//! Answers to our own commands: swallowed, but for what the server says by the way.

use super::State;
use crate::protocol::imap::Imap;
use crate::protocol::imap::capture::Found;
use crate::protocol::imap::date::internal_date;
use crate::protocol::imap::due::{Progress, Which};
use crate::protocol::imap::fetch::{Event, FetchParser, Item};
use crate::protocol::imap::own::{BATCH_MAX, Purpose, Work};
use crate::protocol::{DraftId, Host, Refused, Side};

/// Octets of the items that are not ours.
const ITEMS_LEN_MAX: usize = 64 * 1024;
/// Messages marked as deleted that are remembered; the rest is asked for again.
const NUMBERS_MAX: usize = 100_000;

/// A FETCH response while a FETCH of ours is in progress.
pub(super) struct OwnFetch {
    parser: FetchParser,
    which: Which,
    /// The list of items has begun.
    opened: bool,
    /// The item that is being read, as it stands there, but for what is ours.
    item: Vec<u8>,
    kind: Kind,
    /// Items that may be for the client.
    passing: Vec<u8>,
    /// What is not only a UID is among them.
    tells: bool,
    date: Vec<u8>,
    content: Option<Content>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Passing,
    Uid,
    /// Asked for by us.
    Date,
    Content,
}

/// The message's content in the response.
struct Content {
    /// The message's place in the list of what is due.
    at: usize,
    /// Gone where the archive did not take it, or it was not what was asked for.
    draft: Option<DraftId>,
    got: u64,
    /// Less than this is the end.
    count: Option<u64>,
    whole: bool,
}

impl Imap {
    /// What follows `* n FETCH` is still to be given to [`Imap::own_fetch`].
    pub(super) fn own_fetch_begins(&mut self, number: u32) -> Box<OwnFetch> {
        Box::new(OwnFetch {
            parser: FetchParser::new(),
            which: Which { sequence_number: Some(number), uid: None },
            opened: false,
            item: Vec::new(),
            kind: Kind::Passing,
            passing: Vec::new(),
            tells: false,
            date: Vec::new(),
            content: None,
        })
    }

    /// Octets of the response, up to the next change.
    pub(super) fn own_fetch(&mut self, mut fetch: Box<OwnFetch>, bytes: &[u8], host: &mut dyn Host) -> usize {
        let between = fetch.parser.is_between_items();
        let name_begins = between && !b" )".contains(&bytes[0]);
        let (taken, event) = fetch.parser.step(bytes);
        if let Event::Lost(what) = event {
            self.lost(what, host);
            return taken;
        }
        if name_begins {
            fetch.item_over();
        }
        let ours = matches!(fetch.kind, Kind::Date | Kind::Content);
        if fetch.opened && !ours && (!between || name_begins) {
            fetch.item.extend_from_slice(&bytes[..taken]);
        }
        fetch.opened |= fetch.parser.is_between_items();
        if fetch.item.len() + fetch.passing.len() > ITEMS_LEN_MAX {
            self.lost("a FETCH response to a question of ours is too long", host);
            return taken;
        }
        let asks = self.asks_for_content();
        match event {
            Event::Begin(item @ (Item::Whole | Item::Chunk(_)), len) if asks => {
                fetch.kind = Kind::Content;
                let origin = match item {
                    Item::Chunk(origin) => Some(origin),
                    _ => None,
                };
                self.own_content_begins(&mut fetch, origin, len, host);
            }
            Event::Begin(Item::InternalDate, _) => fetch.kind = Kind::Date,
            Event::Content(content) => self.own_content(&mut fetch, content, host),
            Event::End(_) if fetch.kind == Kind::Content => self.own_content_ends(&mut fetch),
            // Not an end: Dovecot says so of a message that somebody has expunged meanwhile.
            Event::Nil(Item::Whole | Item::Chunk(_)) if asks => fetch.kind = Kind::Content,
            Event::Uid(uid) => {
                fetch.which.uid = Some(uid);
                fetch.kind = Kind::Uid;
            }
            Event::Complete => {
                self.own_fetch_over(*fetch, host);
                return taken;
            }
            _ => {}
        }
        self.server.state = State::Own(fetch);
        taken
    }

    fn asks_for_content(&self) -> bool {
        self.own.flight.as_ref().is_some_and(|flight| matches!(flight.work, Work::Content { .. }))
    }

    /// The place of the message that is meant.
    fn asked_for(&self, which: Which) -> Option<usize> {
        // They stand first.
        let list = || self.own.due.list.iter().take(BATCH_MAX);
        let by_name = list().position(|message| message.asked && message.which.is(which));
        // Its UID may still follow.
        let only = || {
            let mut asked = list().enumerate().filter(|(_, message)| message.asked);
            let (at, message) = asked.next()?;
            (asked.next().is_none() && message.which.sequence_number.is_none()).then_some(at)
        };
        by_name.or_else(only)
    }

    fn own_content_begins(&mut self, fetch: &mut OwnFetch, origin: Option<u64>, len: Option<u64>, host: &mut dyn Host) {
        let Some(Work::Content { from, count }) = self.own.flight.as_ref().map(|flight| &flight.work) else { return };
        let (from, count) = (*from, *count);
        let Some(at) = self.asked_for(fetch.which) else { return };
        let destination = self.destination();
        let (Some(message), Some(to)) = (self.own.due.list.get_mut(at), destination) else { return };
        let unnamed = origin.is_none() && from > 0 && count.is_some_and(|count| len.is_none_or(|len| len <= count));
        if unnamed || origin.is_some_and(|origin| origin != from) {
            // Its chunks are not what they say, or not what we asked for.
            self.own.in_one = true;
            return message.drop_progress(host);
        }
        // More than was asked for, and no word of a chunk: it is all of it.
        let whole = count.is_none_or(|count| origin.is_none() && len.is_some_and(|len| len > count));
        if whole || message.progress.as_ref().is_some_and(|progress| progress.next != from) {
            message.drop_progress(host);
        }
        if message.progress.is_none() {
            host.about(&message.which.to_string());
        }
        let draft = match &message.progress {
            Some(progress) => progress.draft,
            None if from != 0 && !whole => return,
            None => match host.begin(std::slice::from_ref(&*to), len.filter(|_| whole)) {
                Ok(draft) => draft,
                Err(refused) => return self.own_refused(at, refused, host),
            },
        };
        if message.progress.is_none() {
            message.progress = Some(Progress { draft, next: 0 });
        }
        fetch.content = Some(Content { at, draft: Some(draft), got: 0, count: count.filter(|_| !whole), whole: false });
    }

    fn own_content(&mut self, fetch: &mut OwnFetch, bytes: &[u8], host: &mut dyn Host) {
        match fetch.kind {
            Kind::Date if fetch.date.len() + bytes.len() <= 64 => fetch.date.extend_from_slice(bytes),
            Kind::Content => {
                if let Some(flight) = self.own.flight.as_mut() {
                    flight.octets += bytes.len() as u64;
                }
                let Some(content) = &mut fetch.content else { return };
                let Some(draft) = content.draft else { return };
                content.got += bytes.len() as u64;
                if let Err(refused) = host.append(draft, bytes) {
                    let at = content.at;
                    fetch.content = None;
                    if let Some(message) = self.own.due.list.get_mut(at) {
                        // The host has dropped the draft.
                        message.progress = None;
                    }
                    self.own_refused(at, refused, host);
                }
            }
            _ => {}
        }
    }

    fn own_content_ends(&mut self, fetch: &mut OwnFetch) {
        let Some(content) = &mut fetch.content else { return };
        let Some(message) = self.own.due.list.get_mut(content.at) else { return };
        let Some(progress) = message.progress.as_mut() else { return };
        progress.next += content.got;
        // An empty message is a strange one: it is asked for once more, in the plainest of ways.
        message.answered = progress.next > 0 || content.count.is_none();
        content.whole = message.answered && content.count.is_none_or(|count| content.got < count);
    }

    /// The archive does not take the message.
    fn own_refused(&mut self, at: usize, refused: Refused, host: &mut dyn Host) {
        let Some(mut message) = self.own.due.list.remove(at) else { return };
        message.drop_progress(host);
        if refused == Refused::TooLarge {
            self.own.too_large.insert(message.which);
        }
        if let Some(flight) = self.own.flight.as_mut() {
            flight.refused = Some(refused);
        }
    }

    fn own_fetch_over(&mut self, mut fetch: OwnFetch, host: &mut dyn Host) {
        fetch.item_over();
        match self.own.flight.as_ref().map(|flight| &flight.work) {
            Some(Work::Resolve(Purpose::Deletion)) if fetch.which.uid.is_some() => {
                self.deletion_names(fetch.which, host)
            }
            Some(Work::Resolve(Purpose::Due)) => self.due_is(fetch.which),
            Some(Work::Resolve(Purpose::Follow)) => self.follow_finds(fetch.which, host),
            _ => {}
        }
        if let Some(content) = fetch.content.take() {
            self.own_content_over(&fetch, &content, host);
        }
        if fetch.tells && !self.own.is_private() {
            let number = fetch.which.sequence_number.unwrap_or_default();
            host.send(Side::Client, &[format!("* {number} FETCH (").as_bytes(), &fetch.passing, b")\r\n"].concat());
        }
        self.server.midway = false;
        self.response_over(host);
    }

    /// The response that held content of a message is over.
    fn own_content_over(&mut self, fetch: &OwnFetch, content: &Content, host: &mut dyn Host) {
        let Some(message) = self.own.due.list.get_mut(content.at) else { return };
        let told = fetch.which.uid;
        if told.is_none() || message.which.uid.is_some_and(|uid| Some(uid) != told) {
            // Another message, or something that the server made up in its place: it was asked to tell the UID.
            message.answered = false;
            return message.drop_progress(host);
        }
        self.own.due.has_uid(content.at, told);
        let Some(message) = self.own.due.list.get(content.at) else { return };
        let Some(progress) = &message.progress else { return };
        if let Some(date) = internal_date(&fetch.date) {
            host.date(progress.draft, date);
        }
        if !content.whole {
            return;
        }
        let (draft, which) = (progress.draft, message.which);
        self.own.due.list.remove(content.at);
        self.capture.finish(draft, which, self.mailbox.as_ref(), host);
        if let Some(flight) = self.own.flight.as_mut() {
            flight.whole.push(which);
        }
    }

    /// The UID of a message that is due.
    fn due_is(&mut self, which: Which) {
        if let Some(at) = which.sequence_number.and_then(|number| self.own.due.find_number(number)) {
            self.own.due.has_uid(at, which.uid);
        }
    }

    /// Numbers of a SEARCH response to us; `part` is a piece of the line. Gives back what may be half a number at its end.
    pub(super) fn own_numbers(&mut self, part: &[u8], whole: bool, host: &mut dyn Host) -> Vec<u8> {
        let end = match whole {
            true => part.len(),
            false => part.iter().rposition(|&b| b == b' ').map_or(0, |at| at + 1),
        };
        let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse::<u32>().ok();
        let found: Vec<u32> = part[..end].split(u8::is_ascii_whitespace).filter_map(number).collect();
        // Only what is not kept counts against the limit: else what stands behind it would never be looked at.
        let unknown: Vec<u32> = found.into_iter().filter(|&number| !self.deletion_knows(number, host)).collect();
        if let Some(Work::Search(numbers)) = self.own.flight.as_mut().map(|flight| &mut flight.work) {
            let room = NUMBERS_MAX.saturating_sub(numbers.len());
            let too_many = unknown.len() > room;
            numbers.extend(unknown.into_iter().take(room));
            if let (true, Some(gate)) = (too_many, &mut self.own.gate) {
                gate.grows();
            }
        }
        part[end..].to_vec()
    }

    /// What a response of the client's own FETCH was.
    pub(super) fn found(&mut self, found: Found, host: &mut dyn Host) {
        match found {
            Found::Nothing => {}
            Found::Whole(which) if which.uid.is_none() && self.commands.asks_by_uid_only() => {
                // RFC 9051, section 6.4.9: the answer to a UID FETCH has the UID. Exchange says so what it puts in the place of a message.
                let why = "the server answers a UID FETCH with something that has no UID, perhaps in the place of the message";
                self.missed(which, why, host);
            }
            Found::Whole(which) => {
                self.own.known.insert(which);
                if let Some(at) = self.own.due.find(which)
                    && let Some(mut message) = self.own.due.list.remove(at)
                {
                    message.drop_progress(host);
                }
            }
            Found::InPart(which) => self.got_in_part(which, host),
        }
    }
}

impl OwnFetch {
    /// An item is complete: whether it is for the client.
    fn item_over(&mut self) {
        let item = std::mem::take(&mut self.item);
        let kind = std::mem::replace(&mut self.kind, Kind::Passing);
        let item = item.trim_ascii();
        if item.is_empty() || matches!(kind, Kind::Date | Kind::Content) {
            return;
        }
        self.tells |= kind == Kind::Passing;
        if !self.passing.is_empty() {
            self.passing.push(b' ');
        }
        self.passing.extend_from_slice(item);
    }
}
