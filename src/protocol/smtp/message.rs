//! Messages on their way up: DATA with its dots (RFC 5321, section 4.1.1.4) and BDAT with its counted octets (RFC 3030).
//!
//! The end of a message (the final `.`, or the last octet of the last chunk) is forwarded when its draft is prepared.

use super::Smtp;
use super::client::Input;
use super::command::Chunk as ChunkSize;
use super::server::{Asked, Pending};
use crate::protocol::dot::{Event, TERMINATOR, Unstuffer};
use crate::protocol::line::LineBuffer;
use crate::protocol::{DraftId, End, Host, Refused, Side};

const NOT_KEPT: &[u8] = b"451 4.3.0 The message could not be kept, try again later\r\n";
/// RFC 3463, section 3.4: it never will be.
const TOO_LARGE: &[u8] = b"552 5.3.4 The message is larger than what is kept here\r\n";
pub(super) const NOT_KEPT_CLOSING: &[u8] = b"421 4.3.0 A message could not be kept, try again later\r\n";
const NOT_KEPT_REASON: &str = "the message could not be kept";
pub(super) const TEXT_BEHIND: &str = "the client sent a message behind a DATA that was refused";
const RESET_FIRST: &[u8] = b"503 5.5.1 A chunk was refused, RSET first\r\n";

/// A message under DATA.
pub(super) struct Data {
    unstuffer: Unstuffer,
    pub(super) draft: Option<DraftId>,
    refused: Option<Refusal>,
}

/// Why the rest of a message is swallowed.
struct Refusal {
    reply: Vec<u8>,
    why: String,
    /// Octets thrown away.
    swallowed: u64,
}

/// A message that comes in chunks, from its first BDAT to its last.
#[derive(Default)]
pub(super) struct Chunking {
    /// What has been kept of it; none where nobody gets a copy, or where the server has refused a chunk.
    pub(super) draft: Option<DraftId>,
    /// The message cannot go on: chunks are swallowed and get this answer. The server sees none of them.
    pub(super) refusal: Option<&'static [u8]>,
}

/// A chunk under way. The draft is [`Chunking`]'s.
pub(super) struct Chunk {
    left: u64,
    last: bool,
    fate: Fate,
}

enum Fate {
    /// The server has got the command and gets the octets.
    Passes,
    /// The server knows nothing of this chunk.
    Swallowed { reply: &'static [u8], octets: u64 },
    /// The server waits for octets that it will never get.
    Stuck(Refusal),
}

impl Data {
    pub(super) fn new(draft: Option<DraftId>) -> Data {
        Data { unstuffer: Unstuffer::strict(), draft, refused: None }
    }

    pub(super) fn refusal(&self) -> Option<&[u8]> {
        self.refused.as_ref().map(|refusal| &refusal.reply[..])
    }
}

impl Chunk {
    /// Whether the chunk that ends the message is on its way to the server.
    pub(super) fn ends_message(&self) -> bool {
        self.last && matches!(self.fate, Fate::Passes)
    }

    pub(super) fn refusal(&self) -> Option<&[u8]> {
        match &self.fate {
            Fate::Stuck(refusal) => Some(&refusal.reply),
            Fate::Passes | Fate::Swallowed { .. } => None,
        }
    }
}

impl Refusal {
    fn not_kept(refused: Refused) -> Refusal {
        Refusal { reply: reply_to(refused).to_vec(), why: NOT_KEPT_REASON.into(), swallowed: 0 }
    }
}

impl Smtp {
    /// Begins a draft for those who get a copy; none where nobody does.
    fn begin(&mut self, size: Option<u64>, host: &mut dyn Host) -> Result<Option<DraftId>, Refused> {
        if self.is_a_strangers() {
            host.note("a message that nobody gets passes without a copy");
            return Ok(None);
        }
        let destinations = self.transaction.destinations(self.login.as_ref(), &self.settings);
        if destinations.is_empty() {
            host.note("a message that nobody here owns passes without a copy");
            return Ok(None);
        }
        host.begin(&destinations, size).map(Some)
    }

    /// Nobody has logged in, and no recipient was accepted: the server will refuse the message (RFC 5321, section 3.3). Who sends it must not
    /// leave as much as a folder in the spool.
    pub(super) fn is_a_strangers(&self) -> bool {
        self.login.is_none() && !self.transaction.addressed
    }

    /// The command DATA, with no reply outstanding.
    pub(super) fn data(&mut self, line: &LineBuffer, host: &mut dyn Host) {
        if self.chunking.is_some() {
            // What a server must answer (RFC 3030, section 2), without asking one that might do otherwise.
            self.data_refused = true;
            return self.answer(b"503 5.5.1 DATA after BDAT\r\n", host);
        }
        match self.begin(self.transaction.size, host) {
            Ok(draft) => {
                self.ask(line, Asked::Data, host);
                self.input = Input::DataAsked { draft };
            }
            Err(refused) => {
                self.data_refused = true;
                self.answer(reply_to(refused), host);
            }
        }
    }

    /// Takes bytes of a message under DATA.
    pub(super) fn data_input(&mut self, bytes: &[u8], host: &mut dyn Host) -> usize {
        let Input::Data(data) = &mut self.input else { return 0 };
        let (taken, event) = data.unstuffer.step(bytes);
        match event {
            Event::Held => {}
            Event::Data { raw, message } => {
                if data.refused.is_none() {
                    match append(&mut data.draft, message, host) {
                        Ok(()) => host.send(Side::Server, raw),
                        Err(refused) => data.refused = Some(Refusal::not_kept(refused)),
                    }
                }
                if let Some(refusal) = &mut data.refused {
                    refusal.swallowed = refusal.swallowed.saturating_add(raw.len() as u64);
                    if refusal.swallowed > self.settings.max_message_size {
                        self.end_refused(host);
                    }
                }
            }
            Event::Dubious(what) => {
                if let Some(draft) = data.draft.take() {
                    host.abort(draft);
                }
                host.note(&format!("a message is refused: the client sent {what}"));
                // A message that is refused already is swallowed up to the true end in any case.
                data.refused.get_or_insert_with(|| Refusal {
                    reply: format!("550 5.5.2 Message refused: {what}\r\n").into_bytes(),
                    why: format!("the client sent {what} (SMTP smuggling)"),
                    swallowed: 0,
                });
            }
            Event::End if data.refused.is_some() => self.end_refused(host),
            Event::End => self.end_data(host),
        }
        taken
    }

    /// The whole message is here, and all but its terminator has been forwarded.
    fn end_data(&mut self, host: &mut dyn Host) {
        let draft = self.input.take_draft();
        self.input = Input::Command;
        if let Some(Err(_)) = draft.map(|draft| host.prepare(draft)) {
            return self.answer_and_end(NOT_KEPT, NOT_KEPT_REASON, host);
        }
        host.send(Side::Server, TERMINATOR);
        self.pending.push_back(Pending::Server(Asked::Message { draft }));
    }

    /// What was swallowed is over (or too much): tells the client, and ends, for the server is left within a message.
    pub(super) fn end_refused(&mut self, host: &mut dyn Host) {
        let refusal = match std::mem::replace(&mut self.input, Input::Nothing) {
            Input::Data(Data { refused: Some(refusal), .. }) => refusal,
            Input::Chunk(Chunk { fate: Fate::Stuck(refusal), .. }) => refusal,
            Input::Chunk(Chunk { fate: Fate::Swallowed { reply, octets }, .. }) => {
                Refusal { reply: reply.to_vec(), why: NOT_KEPT_REASON.into(), swallowed: octets }
            }
            _ => Refusal::not_kept(Refused::Unavailable),
        };
        self.answer_and_end(refusal.reply, refusal.why, host);
    }

    /// The command BDAT. For the first chunk of a message no reply is outstanding.
    pub(super) fn bdat(&mut self, line: &LineBuffer, argument: &[u8], host: &mut dyn Host) {
        let Some(ChunkSize { octets, last }) = ChunkSize::parse(argument) else {
            return self.answer_and_end(
                b"501 5.5.4 Syntax: BDAT octets [LAST]\r\n",
                "the client sent a BDAT that does not tell how many octets follow",
                host,
            );
        };
        if self.chunking.is_none() {
            let size = self.transaction.size.unwrap_or(0).max(octets);
            self.chunking = Some(match self.begin(Some(size), host) {
                Ok(draft) => Chunking { draft, refusal: None },
                Err(refused) => Chunking { draft: None, refusal: Some(reply_to(refused)) },
            });
        }
        let Some(chunking) = &mut self.chunking else { return };
        if octets == 0 && last && chunking.refusal.is_none() {
            // The command itself ends the message.
            match chunking.draft.take() {
                Some(draft) if host.prepare(draft).is_err() => chunking.refusal = Some(NOT_KEPT),
                draft => {
                    self.chunking = None;
                    return self.ask(line, Asked::Chunk { last: true, whole: true, draft }, host);
                }
            }
        }
        let fate = match chunking.refusal {
            Some(reply) => Fate::Swallowed { reply, octets: 0 },
            None => {
                self.ask(line, Asked::Chunk { last, whole: false, draft: None }, host);
                Fate::Passes
            }
        };
        self.input = Input::Chunk(Chunk { left: octets, last, fate });
        if octets == 0 {
            self.end_chunk(host);
        }
    }

    /// Takes octets of a chunk.
    pub(super) fn chunk_input(&mut self, bytes: &[u8], host: &mut dyn Host) -> usize {
        let Input::Chunk(chunk) = &mut self.input else { return 0 };
        // The very last octet ends the message: it is taken by itself.
        let held_back = u64::from(chunk.last);
        if chunk.left == held_back && chunk.ends_message() {
            self.last_octet(&bytes[..1], host);
            return 1;
        }
        let free = if chunk.ends_message() { chunk.left - held_back } else { chunk.left };
        let taken = usize::try_from(free).map_or(bytes.len(), |free| free.min(bytes.len()));
        let bytes = &bytes[..taken];
        chunk.left -= taken as u64;
        let over = chunk.left == 0;
        let mut stuck = false;
        if let Fate::Passes = chunk.fate {
            match self.chunking.as_mut().map_or(Ok(()), |chunking| append(&mut chunking.draft, bytes, host)) {
                Ok(()) => host.send(Side::Server, bytes),
                Err(refused) => {
                    chunk.fate = Fate::Stuck(Refusal::not_kept(refused));
                    stuck = true;
                }
            }
        }
        let swallowed = match &mut chunk.fate {
            Fate::Passes => 0,
            Fate::Swallowed { octets, .. } | Fate::Stuck(Refusal { swallowed: octets, .. }) => {
                *octets = octets.saturating_add(taken as u64);
                *octets
            }
        };
        if stuck {
            self.withdraw_chunk(host);
        }
        if swallowed > self.settings.max_message_size {
            self.end_refused(host);
        } else if over {
            self.end_chunk(host);
        }
        taken
    }

    /// The octet that ends the message, held back until the message is prepared.
    fn last_octet(&mut self, octet: &[u8], host: &mut dyn Host) {
        let mut draft = self.chunking.take().and_then(|chunking| chunking.draft);
        self.input = Input::Command;
        let mut kept = append(&mut draft, octet, host);
        if let (Ok(()), Some(id)) = (kept, draft) {
            kept = host.prepare(id);
        }
        if kept.is_err() {
            self.withdraw_chunk(host);
            return self.answer_and_end(NOT_KEPT, NOT_KEPT_REASON, host);
        }
        host.send(Side::Server, octet);
        // Not there where the server refused the chunk before it had all of it: there is no draft any more then.
        if let Some(Pending::Server(Asked::Chunk { whole, draft: of_reply, .. })) = self.pending.back_mut() {
            *whole = true;
            *of_reply = draft;
        }
    }

    /// A chunk is over that is not the message's end.
    fn end_chunk(&mut self, host: &mut dyn Host) {
        let Input::Chunk(chunk) = std::mem::replace(&mut self.input, Input::Command) else { return };
        match chunk.fate {
            Fate::Passes => {}
            Fate::Stuck(refusal) => self.answer_and_end(refusal.reply, refusal.why, host),
            Fate::Swallowed { reply, .. } => {
                if chunk.last {
                    // The message is over, and the server has to know; many clients say MAIL next, without RSET.
                    self.chunking = None;
                    self.ask_ourselves(b"RSET\r\n", Asked::OwnReset, host);
                }
                self.answer(reply, host);
            }
        }
    }

    /// The chunk under way will not be completed: no reply to it is to be waited for.
    fn withdraw_chunk(&mut self, host: &mut dyn Host) {
        match self.pending.back() {
            Some(Pending::Server(Asked::Chunk { whole: false, .. })) => {
                self.pending.pop_back();
            }
            // The client has its reply already, and would take another one for that to its next command.
            _ => self.end(End::Fault(NOT_KEPT_REASON.into()), host),
        }
    }

    /// The server refused a chunk that is not the last one: the message cannot come whole (RFC 3030, section 2).
    pub(super) fn chunk_refused(&mut self, host: &mut dyn Host) {
        if matches!(&self.input, Input::Chunk(chunk) if chunk.ends_message()) {
            // It has the command that ends the message already: its reply to that one decides.
            return;
        }
        if let Some(chunking) = &mut self.chunking {
            if let Some(draft) = chunking.draft.take() {
                host.abort(draft);
            }
            chunking.refusal.get_or_insert(RESET_FIRST);
        }
    }

    /// The transaction is over for the server, however it ended.
    pub(super) fn forget_transaction(&mut self, host: &mut dyn Host) {
        if let Some(draft) = self.chunking.take().and_then(|chunking| chunking.draft) {
            host.abort(draft);
        }
        self.transaction = super::envelope::Transaction::none();
    }
}

/// What the client is told of a message that cannot be kept.
fn reply_to(refused: Refused) -> &'static [u8] {
    match refused {
        Refused::Unavailable => NOT_KEPT,
        Refused::TooLarge => TOO_LARGE,
    }
}

/// Adds to a draft that may be none, or no longer be one: the host drops what it refused.
fn append(draft: &mut Option<DraftId>, bytes: &[u8], host: &mut dyn Host) -> Result<(), Refused> {
    match draft {
        Some(id) if !bytes.is_empty() => host.append(*id, bytes).inspect_err(|_| *draft = None),
        _ => Ok(()),
    }
}
