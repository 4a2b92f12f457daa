//! IMAP4rev1 (RFC 3501, and RFC 9051 where a session stays compatible), as seen from between client and server.
//!
//! Framing never loses its place in either stream: `client` reads commands with their literals, `server` reads responses,
//! `fetch` the one response that carries messages. Meaning stands above: `capture` turns FETCH responses into drafts, APPEND's
//! literals become drafts on the way up, `capability` says what a client gets to see, `folders` where a mailbox lies.
//!
//! Everything else passes as it is. What cannot be understood although it has to be ends the session with a reason.

mod capability;
mod capture;
mod client;
mod command;
mod fetch;
mod folders;
mod server;

use std::collections::VecDeque;
use std::sync::Arc;

pub use folders::FolderRules;

use self::capture::Capture;
use self::client::ClientSide;
use self::server::ServerSide;
use super::sasl::Exchange;
use super::{DraftId, End, Farewell, Host, Protocol, Refused, Side};
use crate::archive::Owner;
use crate::config::TlsMode;

/// What an IMAP session has to know of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    pub listen_tls: TlsMode,
    pub upstream_tls: TlsMode,
    pub default_domain: String,
    pub folders: Arc<FolderRules>,
}

/// One session.
pub struct Imap {
    settings: Settings,
    phase: Phase,
    /// The client's side is encrypted, or need not be.
    client_secure: bool,
    login: Option<Owner>,
    /// The mailbox selected at this place of the response stream, as the client named it.
    mailbox: Option<Vec<u8>>,
    commands: Outstanding,
    client: ClientSide,
    server: ServerSide,
    capture: Capture,
    /// The client was told that its messages in pieces are not kept.
    pieces_noted: bool,
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
    /// SELECT or EXAMINE of this mailbox.
    Select(Vec<u8>),
    /// CLOSE or UNSELECT.
    Unselect,
    /// Prepared drafts of an APPEND or REPLACE, one for each message.
    Append(Vec<DraftId>),
    Fetch {
        /// It asks for pieces of whole messages or of their texts, of at most so many octets.
        chunk: Option<u64>,
        /// It asks for message text, not only for flags and headers.
        content: bool,
        /// A message of its answer could not be kept and did not pass: its OK becomes a NO.
        withheld: Option<Refused>,
    },
    Idle {
        /// The server has said `+`.
        begun: bool,
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
    fn fetches(&mut self) -> impl Iterator<Item = (&mut Option<u64>, &mut Option<Refused>)> {
        self.list.iter_mut().filter_map(|pending| match &mut pending.kind {
            Kind::Fetch { chunk, withheld, .. } => Some((chunk, withheld)),
            _ => None,
        })
    }

    /// A message may be on its way to the client: what would delete it has to wait until it is kept.
    fn message_is_coming(&self) -> bool {
        self.list.iter().any(|pending| matches!(pending.kind, Kind::Fetch { content: true, .. }))
    }

    /// All that was asked for now are pieces of whole messages, of at most so many octets.
    fn chunk(&mut self) -> Option<u64> {
        let mut largest = None;
        for (chunk, _) in self.fetches() {
            largest = largest.max(Some((*chunk)?));
        }
        largest
    }

    /// Messages that went up and are not answered.
    fn messages(&self) -> usize {
        let messages = |pending: &Pending| match &pending.kind {
            Kind::Append(drafts) => drafts.len(),
            _ => 0,
        };
        self.list.iter().map(messages).sum()
    }

    /// The IDLE whose `+` has not come yet. Nothing sent behind it is asked to go on before that.
    fn idle_to_begin(&mut self) -> Option<&mut bool> {
        self.list.iter_mut().find_map(|pending| match &mut pending.kind {
            Kind::Idle { begun } if !*begun => Some(begun),
            _ => None,
        })
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
            commands: Outstanding::default(),
            client: ClientSide::new(),
            server: ServerSide::new(),
            capture: Capture::new(),
            pieces_noted: false,
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
        self.phase = Phase::Ended;
        host.end(end);
    }

    fn not_kept(&mut self, host: &mut dyn Host) {
        self.fail(Farewell::NotKept, "a message could not be kept".to_string(), host);
    }

    /// The session is no longer in a mailbox, or in another one: what was known of its messages is void.
    fn select(&mut self, mailbox: Option<Vec<u8>>, host: &mut dyn Host) {
        self.mailbox = mailbox;
        self.capture.forget(host);
    }
}

impl Protocol for Imap {
    fn input(&mut self, from: Side, bytes: &[u8], host: &mut dyn Host) -> usize {
        match from {
            Side::Client => self.client_input(bytes, host),
            Side::Server => {
                let used = self.server_input(bytes, host);
                // What the server said may be what the client's line waited for.
                self.client_input(&[], host);
                used
            }
        }
    }

    fn eof(&mut self, from: Side, host: &mut dyn Host) {
        match (from, std::mem::replace(&mut self.phase, Phase::Ended)) {
            (_, Phase::Ended) => {}
            // Whichever side closes first after LOGOUT or BYE: that is how it ended.
            (_, Phase::Leaving(end)) => self.end(end, host),
            (Side::Client, phase) if self.client.line_waits() => self.phase = phase,
            (Side::Client, phase) => {
                self.phase = phase;
                if self.client.abandon(host) || matches!(self.phase, Phase::Greeting) {
                    self.end(End::Orderly("client closed"), host);
                }
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
        self.client.line_waits() || self.commands.list.iter().any(|pending| !matches!(pending.kind, Kind::Idle { .. }))
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
