//! Messages in FETCH responses become drafts: whole ones, header and text in one response or in two, and chunks that follow each other.
//!
//! A response's value goes where its item says; the message is finished at the response's end, when its UID and date are known too. A header
//! that came without its text waits a while for it, by message sequence number, which is kept true under EXPUNGE. What comes otherwise than whole is
//! told as such ([`Found::InPart`]): to fetch it whole is the business of `own`. What waits here is bounded.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

use super::chunks::{Chunked, Chunks};
use super::date::internal_date;
use super::due::Which;
use super::fetch::{Event, Item};
use super::mailbox::Mailbox;
use crate::archive::Destination;
use crate::protocol::{DraftId, Host, Refused};

/// Headers beyond this many octets go to a draft instead of memory.
const HEADER_LEN_MAX: usize = 128 * 1024;
/// Headers that wait for their text: at most so many, of so many octets together.
const HEADERS_WAITING_MAX: usize = 256;
const HEADER_OCTETS_WAITING_MAX: usize = 512 * 1024;
/// More octets than a date has.
const DATE_LEN_MAX: usize = 64;

pub(super) struct Capture {
    response: Response,
    headers: VecDeque<Waiting>,
    header_octets: usize,
    pub(super) chunks: Chunks,
    /// A message was finished since the archive was last settled.
    unsettled: bool,
    /// What the log would call a message, and the date that is being read: memory that is used again.
    label: String,
    date: Vec<u8>,
}

/// A header that waits for its text.
struct Waiting {
    which: Which,
    header: Vec<u8>,
}

/// What a response was, seen as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing of a message's content, or a chunk that others follow.
    Nothing,
    /// A message is whole with it.
    Whole(Which),
    /// A part of a message.
    InPart(Which),
}

/// How the string that begins is to be taken, seen from what the client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// As its name says.
    AsNamed,
    /// A chunk of a whole message, from this octet, of so many octets if the message has them.
    Chunk { from: u64, count: u64 },
    /// A part of a message that the client reads.
    Part,
    /// Nothing that matters.
    Passing,
}

/// The FETCH response that is being read.
#[derive(Default)]
struct Response {
    which: Which,
    date: Option<i64>,
    destination: Option<Arc<Destination>>,
    value: Value,
    whole: Option<DraftId>,
    header: Option<Header>,
    text: Option<DraftId>,
    /// The header stands before the text in its draft.
    joined: bool,
    /// The chunk was the last one.
    chunk: Option<Chunked>,
    in_part: bool,
    /// Content of the message has come, one octet at least.
    is_filled: bool,
}

enum Header {
    Memory(Vec<u8>),
    Draft(DraftId),
}

/// The string that is being read.
#[derive(Default)]
enum Value {
    #[default]
    Ignored,
    Whole(DraftId),
    Header(Header),
    Text(DraftId),
    Chunk(Chunked),
    Date,
}

impl Capture {
    pub(super) fn new() -> Capture {
        Capture {
            response: Response::default(),
            headers: VecDeque::new(),
            header_octets: 0,
            chunks: Chunks::default(),
            unsettled: false,
            label: String::new(),
            date: Vec::new(),
        }
    }

    /// A FETCH response begins. Without a destination nothing of it is kept.
    pub(super) fn begin(&mut self, sequence_number: u32, destination: Option<Arc<Destination>>) {
        let which = Which { sequence_number: Some(sequence_number), uid: None };
        self.response = Response { which, destination, ..Response::default() };
    }

    /// Whether messages of the response that is being read are kept.
    pub(super) fn keeps(&self) -> bool {
        self.response.destination.is_some()
    }

    /// The message of the response that is being read, as far as it is known by now.
    pub(super) fn which(&self) -> Which {
        self.response.which
    }

    /// All that was finished so far is on disk when this returns.
    ///
    /// # Errors
    /// [`Refused`] where it could not be written.
    pub(super) fn settle(&mut self, host: &mut dyn Host) -> Result<(), Refused> {
        match std::mem::take(&mut self.unsettled) {
            true => host.settle(),
            false => Ok(()),
        }
    }

    /// A message is whole.
    pub(super) fn finish(&mut self, draft: DraftId, which: Which, mailbox: Option<&Mailbox>, host: &mut dyn Host) {
        if let (Some(uid), Some(mailbox)) = (which.uid, mailbox)
            && let Some(origin) = mailbox.origin(uid)
        {
            host.origin(draft, origin);
        }
        self.unsettled = true;
        host.finish(draft);
    }

    /// What the parser found, but for the end of the response. `reading` is for strings that begin.
    ///
    /// # Errors
    /// [`Refused`] where the message cannot be kept: it must not pass.
    pub(super) fn event(&mut self, event: &Event<'_>, reading: Reading, host: &mut dyn Host) -> Result<(), Refused> {
        match *event {
            Event::Begin(item, len) => self.begin_value(item, len, reading, host),
            Event::Content(bytes) => self.content(bytes, host),
            Event::End(_) => {
                self.end_value(host);
                Ok(())
            }
            Event::Uid(uid) => {
                self.response.which.uid = Some(uid);
                Ok(())
            }
            Event::Nothing | Event::Complete | Event::Nil(_) | Event::Lost(_) => Ok(()),
        }
    }

    fn begin_value(
        &mut self,
        item: Item,
        len: Option<u64>,
        reading: Reading,
        host: &mut dyn Host,
    ) -> Result<(), Refused> {
        self.response.value = Value::Ignored;
        let Some(destination) = self.response.destination.clone() else { return Ok(()) };
        let to = std::slice::from_ref(&*destination);
        if matches!((reading, item), (Reading::AsNamed, Item::Whole | Item::Text)) {
            self.label.clear();
            // Writing to a `String` cannot fail.
            let _ = write!(self.label, "{}", self.response.which);
            host.about(&self.label);
        }
        self.response.value = match (reading, item) {
            (Reading::Chunk { from, count }, _) => {
                match self.chunks.begin(self.response.which, from, count, to, len, host)? {
                    Some(chunk) => {
                        self.response.is_filled |= !chunk.is_first();
                        Value::Chunk(chunk)
                    }
                    None => {
                        self.response.in_part = true;
                        Value::Ignored
                    }
                }
            }
            (Reading::Part, _) => {
                self.response.in_part |= len != Some(0);
                Value::Ignored
            }
            (Reading::Passing, _) => Value::Ignored,
            (Reading::AsNamed, Item::Whole) => Value::Whole(host.begin(to, len)?),
            (Reading::AsNamed, Item::Header) => Value::Header(Header::Memory(Vec::new())),
            (Reading::AsNamed, Item::Text) => Value::Text(self.begin_text(to, len, host)?),
            (Reading::AsNamed, Item::InternalDate) => {
                self.date.clear();
                Value::Date
            }
            (Reading::AsNamed, _) => Value::Ignored,
        };
        Ok(())
    }

    /// A draft for the text, behind its header where that is known.
    fn begin_text(&mut self, to: &[Destination], len: Option<u64>, host: &mut dyn Host) -> Result<DraftId, Refused> {
        let header = match self.response.header.take() {
            Some(header) => Some(header),
            None => self.take_header(self.response.which).map(Header::Memory),
        };
        self.response.joined = header.is_some();
        match header {
            Some(Header::Draft(draft)) => Ok(draft),
            Some(Header::Memory(header)) => {
                let draft = host.begin(to, len.map(|len| len.saturating_add(header.len() as u64)))?;
                host.append(draft, &header)?;
                Ok(draft)
            }
            None => host.begin(to, len),
        }
    }

    fn content(&mut self, bytes: &[u8], host: &mut dyn Host) -> Result<(), Refused> {
        self.response.is_filled |= !bytes.is_empty() && !matches!(self.response.value, Value::Ignored | Value::Date);
        let result = match &mut self.response.value {
            Value::Ignored => Ok(()),
            Value::Whole(draft) | Value::Text(draft) | Value::Header(Header::Draft(draft)) => {
                host.append(*draft, bytes)
            }
            Value::Chunk(chunk) => match self.response.destination.as_ref() {
                Some(to) => chunk.append(bytes, std::slice::from_ref(&**to), host),
                None => Ok(()),
            },
            Value::Date => {
                if self.date.len() + bytes.len() <= DATE_LEN_MAX {
                    self.date.extend_from_slice(bytes);
                }
                Ok(())
            }
            Value::Header(Header::Memory(header)) if header.len() + bytes.len() <= HEADER_LEN_MAX => {
                header.extend_from_slice(bytes);
                Ok(())
            }
            Value::Header(Header::Memory(header)) => {
                let header = std::mem::take(header);
                self.spill(&header, bytes, host)
            }
        };
        if result.is_err() {
            // The host has dropped the draft.
            self.response.value = Value::Ignored;
        }
        result
    }

    fn spill(&mut self, header: &[u8], bytes: &[u8], host: &mut dyn Host) -> Result<(), Refused> {
        let Some(destination) = self.response.destination.clone() else { return Ok(()) };
        let draft = host.begin(std::slice::from_ref(&*destination), None)?;
        host.append(draft, header)?;
        host.append(draft, bytes)?;
        self.response.value = Value::Header(Header::Draft(draft));
        Ok(())
    }

    fn end_value(&mut self, host: &mut dyn Host) {
        match std::mem::take(&mut self.response.value) {
            Value::Ignored => {}
            Value::Whole(draft) => {
                // Asked for twice in one command (`BODY[] RFC822`): both are the message.
                if let Some(previous) = self.response.whole.replace(draft) {
                    self.unsettled = true;
                    host.finish(previous);
                }
            }
            Value::Header(header) => {
                if let Some(Header::Draft(previous)) = self.response.header.replace(header) {
                    host.abort(previous);
                }
            }
            Value::Text(draft) => {
                if let Some(previous) = self.response.text.replace(draft) {
                    host.abort(previous);
                }
            }
            Value::Chunk(mut chunk) => {
                chunk.end();
                if let Some(previous) = self.response.chunk.replace(chunk) {
                    previous.abort(host);
                }
            }
            Value::Date => self.response.date = internal_date(&self.date),
        }
    }

    /// The response is over: finishes the message, or lets its header or chunk wait for more.
    ///
    /// # Errors
    /// [`Refused`] where the message cannot be kept: it must not pass.
    pub(super) fn complete(&mut self, mailbox: Option<&Mailbox>, host: &mut dyn Host) -> Result<Found, Refused> {
        let response = std::mem::take(&mut self.response);
        let mut which = response.which;
        if let Some(chunk) = &response.chunk {
            // A later chunk need not tell the UID again.
            which.uid = which.uid.or(chunk.which().uid);
        }
        let mut in_part = response.in_part;
        let mut message = match (response.whole, response.header, response.text) {
            (Some(whole), header, text) => {
                let header = header.and_then(|header| match header {
                    Header::Draft(draft) => Some(draft),
                    Header::Memory(_) => None,
                });
                header.into_iter().chain(text).for_each(|draft| host.abort(draft));
                Some(whole)
            }
            (None, header, Some(text)) if response.joined => {
                if let Some(Header::Draft(draft)) = header {
                    host.abort(draft);
                }
                Some(text)
            }
            (None, Some(header), Some(text)) => Some(join(header, text, response.destination.as_deref(), host)?),
            (None, Some(Header::Memory(header)), None) => {
                if response.destination.is_some() {
                    self.keep_header(Waiting { which, header });
                }
                None
            }
            (None, Some(Header::Draft(draft)), None) => {
                host.abort(draft);
                None
            }
            (None, None, Some(text)) => {
                host.abort(text);
                in_part = true;
                None
            }
            (None, None, None) => None,
        };
        match (response.chunk, response.destination) {
            (Some(chunk), Some(to)) if message.is_none() && chunk.is_last() => {
                message = Some(chunk.into_draft(std::slice::from_ref(&*to), host)?);
            }
            (Some(chunk), Some(_)) if message.is_none() => self.chunks.wait(chunk, which, host),
            (Some(chunk), _) => chunk.abort(host),
            (None, _) => {}
        }
        if let Some(draft) = message.take_if(|_| !response.is_filled) {
            // An empty message is a strange one: `own` asks for it once more.
            host.abort(draft);
            in_part = true;
        }
        let Some(draft) = message else {
            return Ok(if in_part { Found::InPart(which) } else { Found::Nothing });
        };
        if let Some(seconds) = response.date {
            host.date(draft, seconds);
        }
        self.finish(draft, which, mailbox, host);
        Ok(Found::Whole(which))
    }

    fn keep_header(&mut self, waiting: Waiting) {
        self.take_header(Which { uid: None, ..waiting.which });
        self.header_octets += waiting.header.len();
        self.headers.push_back(waiting);
        while self.headers.len() > HEADERS_WAITING_MAX || self.header_octets > HEADER_OCTETS_WAITING_MAX {
            self.header_octets -= self.headers.pop_front().map_or(0, |dropped| dropped.header.len());
        }
    }

    /// The header of that message; none where both UIDs are known and differ.
    fn take_header(&mut self, which: Which) -> Option<Vec<u8>> {
        let at = self.headers.iter().position(|waiting| waiting.which.sequence_number == which.sequence_number)?;
        if !self.headers[at].which.is(which) {
            return None;
        }
        let header = self.headers.remove(at)?.header;
        self.header_octets -= header.len();
        Some(header)
    }

    /// EXPUNGE of this message: the later ones move down (RFC 9051, section 7.5.1).
    pub(super) fn expunged(&mut self, sequence_number: u32) {
        self.take_header(Which { sequence_number: Some(sequence_number), uid: None });
        for waiting in &mut self.headers {
            super::due::shift(&mut waiting.which, sequence_number);
        }
    }

    /// Sequence numbers mean nothing any more: another mailbox, or VANISHED.
    pub(super) fn forget(&mut self) {
        self.headers.clear();
        self.header_octets = 0;
    }

    /// The response will not be completed. Gives the message of which a beginning may have passed and nothing is kept.
    pub(super) fn abandon(&mut self, host: &mut dyn Host) -> Option<Which> {
        self.forget();
        let response = std::mem::take(&mut self.response);
        let value = match response.value {
            Value::Whole(draft) | Value::Text(draft) | Value::Header(Header::Draft(draft)) => Some(draft),
            Value::Chunk(chunk) => {
                self.chunks.broken(chunk, host);
                None
            }
            _ => None,
        };
        if let Some(chunk) = response.chunk {
            self.chunks.broken(chunk, host);
        }
        let header = match response.header {
            Some(Header::Draft(draft)) => Some(draft),
            _ => None,
        };
        let lost = value.is_some() && response.whole.is_none();
        value.into_iter().chain(header).chain(response.text).for_each(|draft| host.abort(draft));
        // Whole though its response is not.
        if let Some(whole) = response.whole {
            self.unsettled = true;
            host.finish(whole);
        }
        lost.then_some(response.which)
    }
}

/// The message of a header and a text that is a draft already.
fn join(header: Header, text: DraftId, to: Option<&Destination>, host: &mut dyn Host) -> Result<DraftId, Refused> {
    let begun = match header {
        Header::Draft(draft) => Ok(draft),
        Header::Memory(header) => host
            .begin(to.map(std::slice::from_ref).unwrap_or_default(), None)
            .and_then(|draft| host.append(draft, &header).map(|()| draft)),
    };
    let Ok(draft) = begun else {
        // The session may go on without this message: the text must not stay open until it ends.
        host.abort(text);
        return Err(Refused::Unavailable);
    };
    host.append_draft(draft, text)?;
    Ok(draft)
}
