//! Messages in FETCH responses become drafts (PROTOCOLS: whole, or header and text in one response or in two).
//!
//! A response's value goes where its item says; the message is finished at the response's end, when its date is known too. A header
//! that came without its text, and a text without its header, wait a while for the other half, by message sequence number, which is
//! kept true under EXPUNGE. What waits is bounded; what is let go is lost to this way of capturing only.

use std::collections::VecDeque;

use super::client::internal_date;
use super::fetch::{Event, Item};
use crate::archive::Destination;
use crate::protocol::{DraftId, Host, Refused};

/// Headers beyond this many octets go to a draft instead of memory.
const HEADER_LEN_MAX: usize = 128 * 1024;
/// Headers that wait for their text: at most so many, of so many octets together.
const HEADERS_WAITING_MAX: usize = 256;
const HEADER_OCTETS_WAITING_MAX: usize = 512 * 1024;
/// Texts that wait for their header; each is an open draft.
const TEXTS_WAITING_MAX: usize = 4;

pub(super) struct Capture {
    response: Response,
    headers: VecDeque<Waiting<Vec<u8>>>,
    header_octets: usize,
    texts: VecDeque<Waiting<DraftId>>,
    /// A message was finished since the archive was last settled.
    unsettled: bool,
    /// It was told that texts without their headers are not kept.
    text_noted: bool,
}

struct Waiting<T> {
    sequence_number: u32,
    uid: Option<u32>,
    half: T,
}

/// The FETCH response that is being read.
#[derive(Default)]
struct Response {
    sequence_number: u32,
    uid: Option<u32>,
    date: Option<i64>,
    destination: Option<Destination>,
    value: Value,
    whole: Option<DraftId>,
    header: Option<Header>,
    text: Option<DraftId>,
    /// The header stands before the text in its draft.
    joined: bool,
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
    Date(Vec<u8>),
}

impl Capture {
    pub(super) fn new() -> Capture {
        Capture {
            response: Response::default(),
            headers: VecDeque::new(),
            header_octets: 0,
            texts: VecDeque::new(),
            unsettled: false,
            text_noted: false,
        }
    }

    /// A FETCH response begins. Without a destination nothing of it is kept.
    pub(super) fn begin(&mut self, sequence_number: u32, destination: Option<Destination>) {
        self.response = Response { sequence_number, destination, ..Response::default() };
    }

    /// Whether messages of the response that is being read are kept.
    pub(super) fn keeps(&self) -> bool {
        self.response.destination.is_some()
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

    fn finish(&mut self, draft: DraftId, host: &mut dyn Host) {
        self.unsettled = true;
        host.finish(draft);
    }

    /// What the parser found. `chunked`: what calls itself whole is only a piece (the client asked for pieces).
    ///
    /// # Errors
    /// [`Refused`] where the message cannot be kept: it must not pass.
    pub(super) fn event(&mut self, event: &Event<'_>, chunked: bool, host: &mut dyn Host) -> Result<(), Refused> {
        match *event {
            Event::Begin(item, len) => self.begin_value(item, len, chunked, host),
            Event::Content(bytes) => self.content(bytes, host),
            Event::End(_) => {
                self.end_value(host);
                Ok(())
            }
            Event::Uid(uid) => {
                self.response.uid = Some(uid);
                Ok(())
            }
            Event::Complete => self.complete(host),
            Event::Nothing | Event::Nil(_) | Event::Lost(_) => Ok(()),
        }
    }

    fn begin_value(&mut self, item: Item, len: Option<u64>, chunked: bool, host: &mut dyn Host) -> Result<(), Refused> {
        self.response.value = Value::Ignored;
        let Some(destination) = self.response.destination.clone() else { return Ok(()) };
        let to = [destination];
        self.response.value = match item {
            Item::Whole if !chunked => Value::Whole(host.begin(&to, len)?),
            Item::Header => Value::Header(Header::Memory(Vec::new())),
            Item::Text => Value::Text(self.begin_text(&to, len, host)?),
            Item::InternalDate => Value::Date(Vec::new()),
            _ => Value::Ignored,
        };
        Ok(())
    }

    /// A draft for the text, behind its header where that is known.
    fn begin_text(&mut self, to: &[Destination], len: Option<u64>, host: &mut dyn Host) -> Result<DraftId, Refused> {
        let header = match self.response.header.take() {
            Some(header) => Some(header),
            None => self.take_header(self.response.sequence_number, self.response.uid).map(Header::Memory),
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
        let result = match &mut self.response.value {
            Value::Ignored => Ok(()),
            Value::Whole(draft) | Value::Text(draft) | Value::Header(Header::Draft(draft)) => {
                host.append(*draft, bytes)
            }
            Value::Date(text) => {
                if text.len() + bytes.len() <= 64 {
                    text.extend_from_slice(bytes);
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
        let draft = host.begin(&[destination], None)?;
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
                    self.finish(previous, host);
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
            Value::Date(text) => self.response.date = internal_date(&text),
        }
    }

    /// The response is over: finish the message, or let a half wait for the other.
    fn complete(&mut self, host: &mut dyn Host) -> Result<(), Refused> {
        let response = std::mem::take(&mut self.response);
        let (sequence_number, uid) = (response.sequence_number, response.uid);
        let message = match (response.whole, response.header, response.text) {
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
            (None, Some(header), Some(text)) => Some(join(header, text, response.destination, host)?),
            (None, Some(header), None) => match (self.take_text(sequence_number, uid), header) {
                (Some(text), header) => Some(join(header, text, response.destination, host)?),
                (None, Header::Memory(header)) => {
                    self.keep_header(Waiting { sequence_number, uid, half: header });
                    None
                }
                (None, Header::Draft(draft)) => {
                    host.abort(draft);
                    None
                }
            },
            (None, None, Some(text)) => {
                self.keep_text(Waiting { sequence_number, uid, half: text }, host);
                None
            }
            (None, None, None) => None,
        };
        if let Some(draft) = message {
            if let Some(seconds) = response.date {
                host.date(draft, seconds);
            }
            self.finish(draft, host);
        }
        Ok(())
    }

    fn keep_header(&mut self, header: Waiting<Vec<u8>>) {
        self.take_header(header.sequence_number, None);
        self.header_octets += header.half.len();
        self.headers.push_back(header);
        while self.headers.len() > HEADERS_WAITING_MAX || self.header_octets > HEADER_OCTETS_WAITING_MAX {
            self.header_octets -= self.headers.pop_front().map_or(0, |dropped| dropped.half.len());
        }
    }

    fn keep_text(&mut self, text: Waiting<DraftId>, host: &mut dyn Host) {
        if let Some(previous) = take(&mut self.texts, text.sequence_number, None) {
            self.drop_text(previous, host);
        }
        self.texts.push_back(text);
        if self.texts.len() > TEXTS_WAITING_MAX
            && let Some(dropped) = self.texts.pop_front()
        {
            self.drop_text(dropped.half, host);
        }
    }

    /// A text that passed, whose header will not come any more. Said once a session.
    fn drop_text(&mut self, text: DraftId, host: &mut dyn Host) {
        host.abort(text);
        if !std::mem::replace(&mut self.text_noted, true) {
            host.not_kept("the client fetches texts of messages without their headers; a message of which it got only these is not kept");
        }
    }

    fn take_header(&mut self, sequence_number: u32, uid: Option<u32>) -> Option<Vec<u8>> {
        let header = take(&mut self.headers, sequence_number, uid)?;
        self.header_octets -= header.len();
        Some(header)
    }

    fn take_text(&mut self, sequence_number: u32, uid: Option<u32>) -> Option<DraftId> {
        take(&mut self.texts, sequence_number, uid)
    }

    /// EXPUNGE of this message: the later ones move down (RFC 9051, section 7.5.1).
    pub(super) fn expunged(&mut self, sequence_number: u32, host: &mut dyn Host) {
        self.take_header(sequence_number, None);
        if let Some(text) = self.take_text(sequence_number, None) {
            self.drop_text(text, host);
        }
        let later = |number: &mut u32| {
            if *number > sequence_number {
                *number -= 1;
            }
        };
        self.headers.iter_mut().for_each(|waiting| later(&mut waiting.sequence_number));
        self.texts.iter_mut().for_each(|waiting| later(&mut waiting.sequence_number));
    }

    /// Sequence numbers mean nothing any more: another mailbox, or VANISHED.
    pub(super) fn forget(&mut self, host: &mut dyn Host) {
        self.headers.clear();
        self.header_octets = 0;
        std::mem::take(&mut self.texts).into_iter().for_each(|text| self.drop_text(text.half, host));
    }

    /// The response will not be completed.
    pub(super) fn abandon(&mut self, host: &mut dyn Host) {
        self.forget(host);
        let response = std::mem::take(&mut self.response);
        let value = match response.value {
            Value::Whole(draft) | Value::Text(draft) | Value::Header(Header::Draft(draft)) => Some(draft),
            _ => None,
        };
        let header = match response.header {
            Some(Header::Draft(draft)) => Some(draft),
            _ => None,
        };
        value.into_iter().chain(header).chain(response.text).for_each(|draft| host.abort(draft));
        // Whole though its response is not.
        if let Some(whole) = response.whole {
            self.finish(whole, host);
        }
    }
}

/// The half of that message; not where both UIDs are known and differ.
fn take<T>(halves: &mut VecDeque<Waiting<T>>, sequence_number: u32, uid: Option<u32>) -> Option<T> {
    let at = halves.iter().position(|waiting| waiting.sequence_number == sequence_number)?;
    let same = match (halves[at].uid, uid) {
        (Some(known), Some(uid)) => known == uid,
        _ => true,
    };
    if same { halves.remove(at).map(|waiting| waiting.half) } else { None }
}

/// The message of a header and a text that is a draft already.
fn join(header: Header, text: DraftId, to: Option<Destination>, host: &mut dyn Host) -> Result<DraftId, Refused> {
    let begun = match header {
        Header::Draft(draft) => Ok(draft),
        Header::Memory(header) => {
            host.begin(to.as_slice(), None).and_then(|draft| host.append(draft, &header).map(|()| draft))
        }
    };
    let Ok(draft) = begun else {
        // The session may go on without this message: the text must not stay open until it ends.
        host.abort(text);
        return Err(Refused);
    };
    host.append_draft(draft, text)?;
    Ok(draft)
}
