//! IMAP4rev1 (RFC 3501, and RFC 9051 where a session stays compatible), as seen from between client and server.
//!
//! Framing never loses its place in either stream: `client` reads commands with their literals, `server` reads responses,
//! `fetch` the one response that carries messages. Meaning stands above: `capture` turns FETCH responses into drafts, APPEND's
//! literals become drafts on the way up, `capability` says what a client gets to see, `folders` where a mailbox lies.
//!
//! What a client gets only in parts is fetched whole on our own account (`own`, what is due in `due`, downloads in chunks in `chunks`), what it is about to
//! delete is kept first (`gate`), and where it is wished, what lies in the selected folder unread as well (`follow`).
//!
//! Everything else passes as it is. What cannot be understood although it has to be ends the session with a reason.

mod capability;
mod capture;
mod chunks;
mod client;
mod command;
mod due;
mod fetch;
mod folders;
mod follow;
mod gate;
mod items;
mod mailbox;
mod own;
mod server;
mod set;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub use folders::FolderRules;

use self::capture::{Capture, Reading};
use self::client::ClientSide;
use self::fetch::Item;
use self::items::Wants;
use self::mailbox::{Mailbox, Opening};
use self::own::Own;
use self::server::ServerSide;
use super::sasl::Exchange;
use super::{DraftId, End, Farewell, Host, Protocol, Refused, Side};
use crate::archive::Owner;
use crate::config::{Follow, TlsMode};

/// What an IMAP session has to know of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    pub listen_tls: TlsMode,
    pub upstream_tls: TlsMode,
    pub default_domain: String,
    pub folders: Arc<FolderRules>,
    pub follow: Follow,
    /// What the tags of our own commands begin with: an atom that clients do not use.
    pub own_tag: String,
}

/// One session.
pub struct Imap {
    settings: Settings,
    phase: Phase,
    /// The client's side is encrypted, or need not be.
    client_secure: bool,
    login: Option<Owner>,
    /// The mailbox selected at this place of the response stream.
    mailbox: Option<Mailbox>,
    /// What the server has told of the mailbox that is being selected.
    opening: Opening,
    commands: Outstanding,
    client: ClientSide,
    /// The client will say no more.
    client_left: bool,
    server: ServerSide,
    capture: Capture,
    own: Own,
}

#[derive(Debug)]
enum Phase {
    /// Waits for the server's greeting.
    Greeting,
    /// Sent STARTTLS to the server; holds its greeting.
    UpstreamStartTls {
        greeting: Vec<u8>,
    },
    /// The handshake with the server is on its way.
    UpstreamHandshake {
        greeting: Vec<u8>,
    },
    Running,
    /// LOGOUT was answered, or the server said BYE.
    Leaving(End),
    /// Nothing is read any more.
    Ended,
}

/// A command that the server has not answered yet.
struct Pending {
    tag: Vec<u8>,
    kind: Kind,
}

impl Pending {
    /// A login of which nobody could say whose it is.
    fn names_nobody(&self) -> bool {
        match &self.kind {
            Kind::Login { user } => user.as_ref().is_none_or(Vec::is_empty),
            Kind::Authenticate(exchange) => exchange.identity().is_none(),
            _ => false,
        }
    }
}

enum Kind {
    Other,
    Login {
        user: Option<Vec<u8>>,
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
struct Outstanding {
    list: VecDeque<Pending>,
}

/// Beyond so many unanswered commands the client is held back.
const OUTSTANDING_MAX: usize = 1000;

impl Outstanding {
    fn push(&mut self, tag: &[u8]) {
        self.list.push_back(Pending { tag: tag.to_vec(), kind: Kind::Other });
    }

    fn find(&mut self, tag: &[u8]) -> Option<&mut Pending> {
        self.list.iter_mut().find(|pending| pending.tag == tag)
    }

    fn take(&mut self, tag: &[u8]) -> Option<Pending> {
        let at = self.list.iter().position(|pending| pending.tag == tag)?;
        self.list.remove(at)
    }

    fn is_full(&self) -> bool {
        self.list.len() >= OUTSTANDING_MAX
    }

    fn login_is_open(&self) -> bool {
        self.list.iter().any(|pending| matches!(pending.kind, Kind::Login { .. } | Kind::Authenticate(_)))
    }

    /// What is being answered: servers may mix the answers of several FETCHes.
    fn fetches(&mut self) -> impl Iterator<Item = &mut Option<Refused>> {
        self.list.iter_mut().filter_map(|pending| match &mut pending.kind {
            Kind::Fetch { withheld, .. } => Some(withheld),
            _ => None,
        })
    }

    fn wants(&self) -> impl Iterator<Item = &Wants> {
        self.list.iter().filter_map(|pending| match &pending.kind {
            Kind::Fetch { wants, .. } => Some(wants),
            _ => None,
        })
    }

    /// Whether answers to this FETCH could not be told from those to one in progress: of two chunks from the same octet, of different lengths, the
    /// longer one must not pass for the end when it is the shorter one.
    fn confuses(&self, wants: Wants) -> bool {
        let Some((from, count)) = wants.chunk else { return false };
        self.wants().filter_map(|other| other.chunk).any(|(other, length)| other == from && length != count)
    }

    /// All that is asked for of messages' content is asked for by UID.
    fn asks_by_uid_only(&self) -> bool {
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
    fn message_is_coming(&self) -> bool {
        self.wants().any(|wants| wants.content)
    }

    /// The mailbox may be another one by the time the server reads what comes next.
    fn select_is_open(&self) -> bool {
        self.list.iter().any(|pending| matches!(pending.kind, Kind::Select { .. } | Kind::Unselect))
    }

    /// How a string in a FETCH response is to be taken, and whether the server answers a request for a chunk as it should.
    fn reading(&self, item: Item, len: Option<u64>) -> (Reading, bool) {
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
    fn messages(&self) -> usize {
        let messages = |pending: &Pending| match &pending.kind {
            Kind::Append(drafts) => drafts.len(),
            _ => 0,
        };
        self.list.iter().map(messages).sum()
    }

    /// The IDLE whose `+` has not come yet: that it has; whether the client knows already, and whether it has ended it. Nothing sent behind it is
    /// asked to go on before that.
    fn idle_begins(&mut self) -> Option<(bool, bool)> {
        self.list.iter_mut().find_map(|pending| match &mut pending.kind {
            Kind::Idle { begun, told, done } if !*begun => {
                *begun = true;
                Some((*told, *done))
            }
            _ => None,
        })
    }

    /// The client has ended an IDLE that has not begun at the server.
    fn idle_is_to_end(&self) -> bool {
        self.list.iter().any(|pending| matches!(pending.kind, Kind::Idle { begun: false, done: true, .. }))
    }

    fn has_idle(&self) -> bool {
        self.list.iter().any(|pending| matches!(pending.kind, Kind::Idle { .. }))
    }

    fn exchange(&mut self) -> Option<&mut Exchange> {
        self.list.iter_mut().find_map(|pending| match &mut pending.kind {
            Kind::Authenticate(exchange) => Some(exchange),
            _ => None,
        })
    }
}

/// A client turned away before a session exists (RFC 3501, section 7.1.5).
pub fn refusal(text: &str) -> Vec<u8> {
    format!("* BYE [UNAVAILABLE] {text}\r\n").into_bytes()
}

impl Imap {
    pub fn new(settings: Settings) -> Imap {
        Imap {
            phase: Phase::Greeting,
            client_secure: settings.listen_tls != TlsMode::StartTls,
            login: None,
            mailbox: None,
            opening: Opening::default(),
            commands: Outstanding::default(),
            client: ClientSide::new(),
            client_left: false,
            server: ServerSide::new(),
            capture: Capture::new(),
            own: Own::new(&settings.own_tag),
            settings,
        }
    }

    fn capability_context(&self) -> capability::Context {
        capability::Context {
            offer_starttls: !self.client_secure,
            upstream_encrypted: self.settings.upstream_tls != TlsMode::None,
        }
    }

    /// A line of our own for the client; it waits where the client is in the middle of a response.
    fn reply(&mut self, line: &[u8], host: &mut dyn Host) {
        if self.server.is_midway() {
            self.server.postpone(line);
        } else {
            host.send(Side::Client, line);
        }
    }

    /// Ends the session because of a fault, with a last word where the client can hear it.
    fn fail(&mut self, why: Farewell, fault: String, host: &mut dyn Host) {
        if let Some(line) = self.farewell(why) {
            host.send(Side::Client, &line);
        }
        self.end(End::Fault(fault), host);
    }

    fn end(&mut self, end: End, host: &mut dyn Host) {
        self.client.abandon(host);
        self.capture.abandon(host);
        self.over(host);
        self.phase = Phase::Ended;
        host.end(end);
    }

    fn not_kept(&mut self, host: &mut dyn Host) {
        self.fail(Farewell::NotKept, "a message could not be kept".to_string(), host);
    }

    /// The session is no longer in a mailbox, or in another one: what was known of its messages is void.
    fn select(&mut self, mailbox: Option<Mailbox>, host: &mut dyn Host) {
        self.abandon_due("the client left the folder before it could be fetched whole", host);
        self.own.forget();
        self.capture.forget();
        self.own.follow.begin(mailbox.as_ref().map_or(0, |mailbox| mailbox.exists));
        self.mailbox = mailbox;
        self.come_back(host);
    }

    /// Lets the client and ourselves go on by turns as far as the server need not speak.
    fn go_on(&mut self, host: &mut dyn Host) {
        loop {
            self.client_input(&[], host);
            if !self.advance(host) {
                break;
            }
        }
        self.let_idle_go(host);
        // What waited was the beginning of a command whose rest will not come.
        if self.client_left && matches!(self.phase, Phase::Running) && self.client.is_midway() {
            self.end(End::Orderly("client closed"), host);
        }
    }
}

/// The tagged answer to a FETCH or a deletion where a message could not be kept.
fn not_archived(tag: &[u8], refused: Refused) -> Vec<u8> {
    let words: &[u8] = match refused {
        Refused::Unavailable => {
            b" NO [UNAVAILABLE] a message cannot be archived and was held back, try again later\r\n"
        }
        Refused::TooLarge => b" NO [LIMIT] a message is larger than what is archived here and was held back\r\n",
    };
    [tag, words].concat()
}

impl Protocol for Imap {
    fn input(&mut self, from: Side, bytes: &[u8], host: &mut dyn Host) -> usize {
        let used = match from {
            Side::Client => self.client_input(bytes, host),
            Side::Server => self.server_input(bytes, host),
        };
        // What the server said may be what the client's line, or we, waited for.
        self.go_on(host);
        used
    }

    fn eof(&mut self, from: Side, host: &mut dyn Host) {
        match (from, std::mem::replace(&mut self.phase, Phase::Ended)) {
            (_, Phase::Ended) => {}
            // Whichever side closes first after LOGOUT or BYE: that is how it ended.
            (_, Phase::Leaving(end)) => self.end(end, host),
            (Side::Client, phase) => {
                self.phase = phase;
                self.client_left = true;
                if !self.client.line_waits() && (self.client.abandon(host) || matches!(self.phase, Phase::Greeting)) {
                    return self.end(End::Orderly("client closed"), host);
                }
                self.go_on(host);
            }
            (Side::Server, phase) => {
                self.client.abandon(host);
                self.capture.abandon(host);
                let midway = self.server.is_midway();
                let when = match phase {
                    Phase::Running if midway => "the server closed the connection in the middle of a response",
                    Phase::Running => "the server closed the connection",
                    _ => "the server closed the connection before its greeting was complete",
                };
                self.fail(Farewell::Lost, when.to_string(), host);
            }
        }
    }

    fn tls_started(&mut self, side: Side, host: &mut dyn Host) {
        match side {
            Side::Client => {
                self.client_secure = true;
                self.client.resume();
            }
            Side::Server => {
                if let Phase::UpstreamHandshake { greeting } = std::mem::replace(&mut self.phase, Phase::Running) {
                    // Its capabilities were those before TLS; the client will ask.
                    let greeting = capability::filter_status(&greeting, self.capability_context(), false);
                    host.send(Side::Client, &greeting);
                }
                self.client_input(&[], host);
            }
        }
    }

    fn outstanding(&self) -> bool {
        let open = |pending: &Pending| !matches!(pending.kind, Kind::Idle { done: false, .. });
        self.client.line_waits() || self.commands.list.iter().any(open) || self.client_left && self.finishing()
    }

    fn finishing(&self) -> bool {
        matches!(self.phase, Phase::Running) && self.is_due()
    }

    fn rest(&self) -> Option<Duration> {
        self.rest_wanted()
    }

    fn rested(&mut self, host: &mut dyn Host) {
        self.rest_over(host);
        self.go_on(host);
    }

    fn over(&mut self, host: &mut dyn Host) {
        const WHY: &str = "the session ended before it could be fetched whole";
        self.abandon_due(WHY, host);
        self.abandon_elsewhere(WHY, host);
    }

    fn farewell(&self, why: Farewell) -> Option<Vec<u8>> {
        if self.server.is_midway() {
            return None;
        }
        let text = match why {
            Farewell::Timeout => "nothing was said for too long",
            Farewell::Shutdown => "MailStore is shutting down",
            Farewell::Lost => "the connection to the mail server is lost",
            Farewell::NotKept => "a message cannot be archived at the moment, try again later",
        };
        Some(refusal(text))
    }
}

#[cfg(test)]
mod tests;
