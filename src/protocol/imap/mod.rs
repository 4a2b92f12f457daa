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
mod date;
mod due;
mod fetch;
mod folders;
mod follow;
mod gate;
mod items;
mod known;
mod mailbox;
mod outstanding;
mod own;
mod server;
mod set;
mod trouble;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

pub use folders::FolderRules;
pub use trouble::Trouble;

use self::capture::Capture;
use self::client::ClientSide;
use self::mailbox::{Mailbox, Opening};
use self::outstanding::{Kind, Outstanding, Pending};
use self::own::{Own, Placed};
use self::server::ServerSide;
use super::{End, Farewell, Host, Protocol, Refused, Side};
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
    /// Of all sessions of a proxy.
    pub trouble: Arc<Trouble>,
    /// What the tags of our own commands begin with: an atom that clients do not use.
    pub own_tag: String,
}

/// One session.
pub struct Imap {
    settings: Settings,
    phase: Phase,
    /// The client has got the server's greeting.
    greeted: bool,
    /// The client's side is encrypted, or need not be.
    client_secure: bool,
    login: Option<Owner>,
    /// The mailbox selected at this place of the response stream.
    mailbox: Option<Mailbox>,
    /// Of login and mailbox.
    placed: RefCell<Placed>,
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

const CLOSED_MIDWAY: End = End::Orderly("client closed in the middle of a command");

/// A client turned away before a session exists (RFC 3501, section 7.1.5).
pub fn refusal(text: &str) -> Vec<u8> {
    format!("* BYE [UNAVAILABLE] {text}\r\n").into_bytes()
}

impl Imap {
    pub fn new(settings: Settings) -> Imap {
        Imap {
            phase: Phase::Greeting,
            greeted: false,
            client_secure: settings.listen_tls != TlsMode::StartTls,
            login: None,
            mailbox: None,
            placed: RefCell::default(),
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
        self.abandon_response(host);
        self.over(host);
        self.phase = Phase::Ended;
        host.end(end);
    }

    fn not_kept(&mut self, host: &mut dyn Host) {
        self.fail(Farewell::NotKept, "a message could not be kept".to_string(), host);
    }

    /// The session is no longer in a mailbox, or in another one: what was known of its messages is void.
    fn select(&mut self, mailbox: Option<Mailbox>, host: &mut dyn Host) {
        // Where one SELECT is said behind the other, what the first one brought back is left behind once more.
        self.leave_read_behind(host);
        self.abandon_due("the client left the folder before it could be fetched whole", host);
        self.own.forget();
        self.capture.forget();
        self.own.follow.begin(mailbox.as_ref().map_or(0, |mailbox| mailbox.exists));
        self.mailbox = mailbox;
        self.placed = RefCell::default();
        self.come_back(host);
        self.own.tell_of_more(host);
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
            self.end(CLOSED_MIDWAY, host);
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
                if !self.client.line_waits() {
                    if self.client.abandon(host) {
                        return self.end(CLOSED_MIDWAY, host);
                    }
                    if matches!(self.phase, Phase::Greeting) {
                        return self.end(End::Orderly("client closed"), host);
                    }
                }
                self.go_on(host);
            }
            (Side::Server, phase) => {
                self.client.abandon(host);
                self.abandon_response(host);
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
                    self.greeted = true;
                    // Its capabilities were those before TLS; the client will ask.
                    let greeting = capability::filter_status(&greeting, self.capability_context(), false);
                    host.send(Side::Client, &greeting);
                }
                self.client_input(&[], host);
            }
        }
    }

    fn greeted(&self) -> bool {
        self.greeted
    }

    fn outstanding(&self) -> bool {
        let open = |pending: &Pending| !matches!(pending.kind, Kind::Idle { done: false, .. });
        self.client.line_waits() || self.commands.list.iter().any(open) || self.client_left && self.finishing()
    }

    fn awaits_server(&self) -> bool {
        match self.phase {
            Phase::Running => self.client.awaits_server().unwrap_or_else(|| self.outstanding() || self.own.is_busy()),
            Phase::Greeting | Phase::UpstreamStartTls { .. } | Phase::UpstreamHandshake { .. } => true,
            Phase::Leaving(_) | Phase::Ended => false,
        }
    }

    fn finishing(&self) -> bool {
        matches!(self.phase, Phase::Running) && self.is_due()
    }

    fn release(&mut self) {
        self.commands.release();
        self.client.release();
        self.server.release();
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
        self.own.tell_of_more(host);
    }

    fn farewell(&self, why: Farewell) -> Option<Vec<u8>> {
        if self.server.is_midway() || self.client.is_in_handshake() {
            return None;
        }
        let text = match why {
            Farewell::Timeout => "nothing was said for too long",
            Farewell::Silent => "the mail server does not answer",
            Farewell::Shutdown => "MailStore is shutting down",
            Farewell::Lost => "the connection to the mail server is lost",
            Farewell::NotKept => "a message cannot be archived at the moment, try again later",
        };
        Some(refusal(text))
    }
}

#[cfg(test)]
mod tests;
