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

/// Commands in the order they were sent.
#[derive(Default)]
pub(super) struct Outstanding {
    pub(super) list: VecDeque<Pending>,
}

/// Beyond so many unanswered commands the client is held back.
const OUTSTANDING_MAX: usize = 1000;
/// The same for the octets of their tags and names.
const OUTSTANDING_TEXT_MAX: usize = 256 * 1024;

impl Outstanding {
    pub(super) fn push(&mut self, tag: &[u8]) {
        self.list.push_back(Pending { tag: tag.to_vec(), kind: Kind::Other });
    }

    pub(super) fn find(&mut self, tag: &[u8]) -> Option<&mut Pending> {
        self.list.iter_mut().find(|pending| pending.tag == tag)
    }

    pub(super) fn take(&mut self, tag: &[u8]) -> Option<Pending> {
        let at = self.list.iter().position(|pending| pending.tag == tag)?;
        self.list.remove(at)
    }

    pub(super) fn is_full(&self) -> bool {
        let text_len = || self.list.iter().map(Pending::text_len).sum::<usize>();
        self.list.len() >= OUTSTANDING_MAX || text_len() >= OUTSTANDING_TEXT_MAX
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
        let Some((from, count)) = wants.chunk else { return false };
        self.wants().filter_map(|other| other.chunk).any(|(other, length)| other == from && length != count)
    }

    /// All that is asked for of messages' content is asked for by UID.
    pub(super) fn asks_by_uid_only(&self) -> bool {
        let mut by_number = false;
        let mut any = false;
        for pending in &self.list {
            if let Kind::Fetch { wants, by_uid, .. } = &pending.kind
                && wants.content
            {
                any = true;
                by_number |= !by_uid;
            }
        }
        any && !by_number
    }

    /// A message may be on its way to the client: what would delete it has to wait until it is kept.
    pub(super) fn message_is_coming(&self) -> bool {
        self.wants().any(|wants| wants.content)
    }

    /// The mailbox may be another one by the time the server reads what comes next.
    pub(super) fn select_is_open(&self) -> bool {
        self.list.iter().any(|pending| matches!(pending.kind, Kind::Select { .. } | Kind::Unselect))
    }

    /// How a string in a FETCH response is to be taken, and whether the server answers a request for a chunk as it should.
    pub(super) fn reading(&self, item: Item, len: Option<u64>) -> (Reading, bool) {
        let fits = |count: u64| len.is_none_or(|len| len <= count);
        let reads = || match self.wants().any(|wants| wants.reads) || self.wants().next().is_none() {
            true => Reading::Part,
            false => Reading::Passing,
        };
        let first = || self.wants().find(|wants| wants.content);
        let mixed = self.wants().any(|wants| wants.several_chunks);
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
                None => return (Reading::Part, self.wants().all(|wants| wants.chunk.is_none())),
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
        let messages = |pending: &Pending| match &pending.kind {
            Kind::Append(drafts) => drafts.len(),
            _ => 0,
        };
        self.list.iter().map(messages).sum()
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
        self.list.iter().any(|pending| matches!(pending.kind, Kind::Idle { begun: false, done: true, .. }))
    }

    pub(super) fn has_idle(&self) -> bool {
        self.list.iter().any(|pending| matches!(pending.kind, Kind::Idle { .. }))
    }

    pub(super) fn exchange(&mut self) -> Option<&mut Exchange> {
        self.list.iter_mut().find_map(|pending| match &mut pending.kind {
            Kind::Authenticate(exchange) => Some(exchange),
            _ => None,
        })
    }
}
