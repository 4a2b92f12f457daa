//! The client's commands that the server has not answered yet, and what their answers will mean.

use std::collections::VecDeque;

use super::capture::Reading;
use super::fetch::Item;
use super::items::Wants;
use crate::protocol::sasl::Exchange;
use crate::protocol::{DraftId, Refused, Secret};

/// A command that the server has not answered yet.
pub(super) struct Pending {
    pub(super) tag: Vec<u8>,
    pub(super) kind: Kind,
}

impl Pending {
    /// Octets that are remembered of it.
    fn text_len(&self) -> usize {
        let name = match &self.kind {
            Kind::Login { user, password } => {
                user.as_ref().map_or(0, Vec::len) + password.as_ref().map_or(0, |password| password.bytes().len())
            }
            Kind::Select { mailbox: name, .. } => name.len(),
            _ => 0,
        };
        self.tag.len() + name
    }

    /// A login of which nobody could say whose it is.
    pub(super) fn names_nobody(&self) -> bool {
        match &self.kind {
            Kind::Login { user, .. } => user.as_ref().is_none_or(Vec::is_empty),
            Kind::Authenticate(exchange) => exchange.identity().is_none(),
            _ => false,
        }
    }
}

pub(super) enum Kind {
    Other,
    Login {
        user: Option<Vec<u8>>,
        /// If it is to be learnt.
        password: Option<Secret>,
    },
    Authenticate(Exchange),
    Select {
        mailbox: Vec<u8>,
        /// EXAMINE.
        read_only: bool,
    },
    /// CLOSE or UNSELECT.
    Unselect,
    /// Prepared drafts of an APPEND or REPLACE, one for each message.
    Append(Vec<DraftId>),
    Fetch {
        wants: Wants,
        by_uid: bool,
        /// A message of its answer could not be kept and did not pass: its OK becomes a NO.
        withheld: Option<Refused>,
    },
    Idle {
        /// The server has said `+`.
        begun: bool,
        /// The client has heard `+` from us already.
        told: bool,
        /// DONE is ours to say, or said: the client has left, or has said it before the server knew of its IDLE.
        done: bool,
    },
    Logout,
}

/// Commands in the order they were sent. What is asked for each response, or each line, is counted: a client may have a thousand commands
/// outstanding.
#[derive(Default)]
pub(super) struct Outstanding {
    pub(super) list: VecDeque<Pending>,
    /// Of the tags, in the order of the list.
    hashes: VecDeque<u32>,
    counts: Counts,
}

/// How many of the commands are of a kind.
#[derive(Default)]
struct Counts {
    fetches: u32,
    /// Of the FETCHes, by what they want.
    reads: u32,
    chunks: u32,
    several_chunks: u32,
    content: u32,
    content_by_number: u32,
    idles: u32,
    /// Messages that went up.
    messages: u32,
    /// Octets that are remembered.
    text_len: u32,
}

impl Counts {
    /// One command more, or one less.
    fn count(&mut self, pending: &Pending, change: impl Fn(&mut u32, u32)) {
        let one = u32::from;
        match &pending.kind {
            Kind::Fetch { wants, by_uid, .. } => {
                change(&mut self.fetches, 1);
                change(&mut self.reads, one(wants.reads));
                change(&mut self.chunks, one(wants.chunk.is_some()));
                change(&mut self.several_chunks, one(wants.several_chunks));
                change(&mut self.content, one(wants.content));
                change(&mut self.content_by_number, one(wants.content && !by_uid));
            }
            Kind::Idle { .. } => change(&mut self.idles, 1),
            Kind::Append(drafts) => change(&mut self.messages, count_of(drafts.len())),
            _ => {}
        }
        change(&mut self.text_len, count_of(pending.text_len()));
    }
}

/// Limits keep all of them far below.
fn count_of(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Beyond so many unanswered commands the client is held back.
const OUTSTANDING_MAX: usize = 1000;
/// The same for the octets of their tags and names.
const OUTSTANDING_TEXT_MAX: u32 = 256 * 1024;

impl Outstanding {
    pub(super) fn push(&mut self, tag: &[u8]) {
        let pending = Pending { tag: tag.to_vec(), kind: Kind::Other };
        self.counts.count(&pending, |count, more| *count += more);
        self.list.push_back(pending);
        self.hashes.push_back(hash(tag));
    }

    /// Gives back memory that is not needed.
    pub(super) fn release(&mut self) {
        self.list.shrink_to_fit();
        self.hashes.shrink_to_fit();
    }

    fn place(&self, tag: &[u8]) -> Option<usize> {
        let sought = hash(tag);
        // The one that is answered is the oldest mostly, and one that is new is none of them.
        let (older, newer) = self.hashes.as_slices();
        if older.first() != Some(&sought) && !older.contains(&sought) && !newer.contains(&sought) {
            return None;
        }
        let mut likely = self.hashes.iter().enumerate().filter(|(_, hash)| **hash == sought).map(|(at, _)| at);
        likely.find(|&at| self.list[at].tag == tag)
    }

    pub(super) fn has(&self, tag: &[u8]) -> bool {
        self.place(tag).is_some()
    }

    /// What this command turns out to be. False: it is answered already.
    pub(super) fn set(&mut self, tag: &[u8], kind: Kind) -> bool {
        let newest = self.list.len().checked_sub(1).filter(|&at| self.list[at].tag == tag);
        let Some(at) = newest.or_else(|| self.place(tag)) else { return false };
        let pending = &mut self.list[at];
        self.counts.count(pending, |count, less| *count -= less);
        pending.kind = kind;
        self.counts.count(pending, |count, more| *count += more);
        true
    }

    pub(super) fn take(&mut self, tag: &[u8]) -> Option<Pending> {
        let at = self.place(tag)?;
        self.hashes.remove(at);
        let pending = self.list.remove(at)?;
        self.counts.count(&pending, |count, less| *count -= less);
        Some(pending)
    }

    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= OUTSTANDING_MAX || self.counts.text_len >= OUTSTANDING_TEXT_MAX
    }

    pub(super) fn login_is_open(&self) -> bool {
        self.list.iter().any(|pending| matches!(pending.kind, Kind::Login { .. } | Kind::Authenticate(_)))
    }

    /// What is being answered: servers may mix the answers of several FETCHes.
    pub(super) fn fetches(&mut self) -> impl Iterator<Item = &mut Option<Refused>> {
        self.list.iter_mut().filter_map(|pending| match &mut pending.kind {
            Kind::Fetch { withheld, .. } => Some(withheld),
            _ => None,
        })
    }

    pub(super) fn wants(&self) -> impl Iterator<Item = &Wants> {
        self.list.iter().filter_map(|pending| match &pending.kind {
            Kind::Fetch { wants, .. } => Some(wants),
            _ => None,
        })
    }

    /// Whether answers to this FETCH could not be told from those to one in progress: of two chunks from the same octet, of different lengths, the
    /// longer one must not pass for the end when it is the shorter one.
    pub(super) fn confuses(&self, wants: Wants) -> bool {
        let Some((from, count)) = wants.chunk.filter(|_| self.counts.chunks > 0) else { return false };
        self.wants().filter_map(|other| other.chunk).any(|(other, length)| other == from && length != count)
    }

    /// All that is asked for of messages' content is asked for by UID.
    pub(super) fn asks_by_uid_only(&self) -> bool {
        self.counts.content > 0 && self.counts.content_by_number == 0
    }

    /// A message may be on its way to the client: what would delete it has to wait until it is kept.
    pub(super) fn message_is_coming(&self) -> bool {
        self.counts.content > 0
    }

    /// The mailbox may be another one by the time the server reads what comes next.
    pub(super) fn select_is_open(&self) -> bool {
        self.list.iter().any(|pending| matches!(pending.kind, Kind::Select { .. } | Kind::Unselect))
    }

    /// How a string in a FETCH response is to be taken, and whether the server answers a request for a chunk as it should.
    pub(super) fn reading(&self, item: Item, len: Option<u64>) -> (Reading, bool) {
        let fits = |count: u64| len.is_none_or(|len| len <= count);
        let reads = || match self.counts.reads > 0 || self.counts.fetches == 0 {
            true => Reading::Part,
            false => Reading::Passing,
        };
        let first = || self.wants().find(|wants| wants.content);
        let mixed = self.counts.several_chunks > 0;
        let reading = match item {
            // Which of several chunks it is cannot be told.
            Item::Whole | Item::Chunk(_) if mixed => Reading::Part,
            // Answers come in the order of the commands, so the oldest one decides. Some servers leave the origin out; of a chunk that is not the
            // first it cannot be told then whether it is one.
            Item::Whole => match self.wants().find(|wants| wants.whole || wants.chunk.is_some()) {
                Some(Wants { whole: false, chunk: Some((0, count)), .. }) if fits(*count) => {
                    Reading::Chunk { from: 0, count: *count }
                }
                Some(Wants { whole: false, chunk: Some((_, count)), .. }) if fits(*count) => {
                    return (Reading::Part, false);
                }
                Some(Wants { whole: true, chunk: Some((_, count)), .. }) if fits(*count) => Reading::Part,
                _ => Reading::AsNamed,
            },
            Item::Chunk(origin) => match self.wants().filter_map(|wants| wants.chunk).find(|(from, _)| *from == origin)
            {
                Some((from, count)) => Reading::Chunk { from, count },
                None => return (Reading::Part, self.counts.chunks == 0),
            },
            Item::Text if first().is_some_and(|first| first.text_chunk.is_some_and(fits)) => reads(),
            Item::Header if self.wants().next().is_some_and(|first| first.header_chunk) => Reading::Passing,
            Item::Piece => reads(),
            _ => Reading::AsNamed,
        };
        (reading, true)
    }

    /// Messages that went up and are not answered.
    pub(super) fn messages(&self) -> usize {
        self.counts.messages as usize
    }

    /// The IDLE whose `+` has not come yet: that it has; whether the client knows already, and whether it has ended it. Nothing sent behind it is
    /// asked to go on before that.
    pub(super) fn idle_begins(&mut self) -> Option<(bool, bool)> {
        self.list.iter_mut().find_map(|pending| match &mut pending.kind {
            Kind::Idle { begun, told, done } if !*begun => {
                *begun = true;
                Some((*told, *done))
            }
            _ => None,
        })
    }

    /// The client has said DONE: it is said once.
    pub(super) fn idle_ends(&mut self) {
        let open = self.list.iter_mut().find_map(|pending| match &mut pending.kind {
            Kind::Idle { begun: true, done, .. } if !*done => Some(done),
            _ => None,
        });
        if let Some(done) = open {
            *done = true;
        }
    }

    /// The client has ended an IDLE that has not begun at the server.
    pub(super) fn idle_is_to_end(&self) -> bool {
        let is_to_end = |pending: &Pending| matches!(pending.kind, Kind::Idle { begun: false, done: true, .. });
        self.has_idle() && self.list.iter().any(is_to_end)
    }

    pub(super) fn has_idle(&self) -> bool {
        self.counts.idles > 0
    }

    pub(super) fn exchange(&mut self) -> Option<&mut Exchange> {
        self.list.iter_mut().find_map(|pending| match &mut pending.kind {
            Kind::Authenticate(exchange) => Some(exchange),
            _ => None,
        })
    }
}

/// Tells most tags from each other (FNV-1a): looking through a thousand tags for each command and each answer would take longer than all the rest.
fn hash(tag: &[u8]) -> u32 {
    tag.iter().fold(0x811c_9dc5, |hash, &octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(text: &str, by_uid: bool) -> Kind {
        Kind::Fetch { wants: Wants::parse(text.as_bytes()), by_uid, withheld: None }
    }

    #[test]
    fn what_is_counted_is_what_is_there() {
        let mut commands = Outstanding::default();
        let kinds: [(&str, Kind); 6] = [
            ("a", fetch("a FETCH 1 BODY[]", false)),
            ("bb", fetch("bb UID FETCH 1 BODY[]<0.5>", true)),
            ("c", fetch("c UID FETCH 1 (BODY[]<0.5> BODY[]<5.5> BODY[1])", true)),
            ("d", Kind::Idle { begun: false, told: false, done: true }),
            ("e", Kind::Append(vec![DraftId(1), DraftId(2)])),
            ("f", Kind::Select { mailbox: b"INBOX".to_vec(), read_only: false }),
        ];
        for (tag, kind) in kinds {
            assert!(!commands.has(tag.as_bytes()));
            commands.push(tag.as_bytes());
            assert!(commands.has(tag.as_bytes()) && commands.set(tag.as_bytes(), kind));
        }
        assert!(!commands.set(b"x", Kind::Other) && commands.take(b"x").is_none());
        assert!(commands.message_is_coming() && !commands.asks_by_uid_only() && commands.idle_is_to_end());
        assert_eq!((commands.messages(), commands.counts.text_len), (2, 7 + 5));
        assert_eq!((commands.counts.fetches, commands.counts.chunks, commands.counts.several_chunks), (3, 2, 1));
        // Answers may come in any order.
        assert!(commands.take(b"a").is_some() && commands.asks_by_uid_only());
        for tag in ["f", "d", "bb", "c"] {
            assert!(commands.take(tag.as_bytes()).is_some_and(|pending| pending.tag == tag.as_bytes()));
        }
        assert!(!commands.message_is_coming() && !commands.has_idle() && commands.messages() == 2);
        commands.set(b"e", Kind::Other);
        assert!(commands.take(b"e").is_some() && commands.hashes.is_empty() && commands.list.is_empty());
        let Counts { fetches, reads, chunks, several_chunks, content, content_by_number, idles, messages, text_len } =
            commands.counts;
        let all = [fetches, reads, chunks, several_chunks, content, content_by_number, idles, messages, text_len];
        assert_eq!(all, [0; 9]);
    }
}
