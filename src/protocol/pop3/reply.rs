//! The server's stream: which command a reply is for, where it ends, and what becomes of it.

use super::super::dot::{Event, TERMINATOR, Unstuffer};
use super::super::line::LineBuffer;
use super::super::{
    DraftId, End, Farewell, Host, Protocol as _, Refused, Side, WORDS_WITHHELD, logged_in, response_code,
};
use super::capability;
use super::command::{Ask, Target};
use super::own::{put_label, uid_said};
use super::seen::{Seen, UidLines};
use super::top::{Preview, WHOLE_LEN_MAX};
use super::{Asked, Pop3, STATUS_LEN_MAX, Stage};
use crate::archive::{Destination, Folder, Owner};
use crate::config::TlsMode;
use crate::logging::quote;

/// Octets of the mechanisms that a bare `AUTH` lists: to be seen as a whole, for a `-PLUS` may come last.
const MECHANISMS_LEN_MAX: usize = 64 * 1024;

/// Where in the server's stream we are.
pub(super) enum Reading {
    /// At a status line.
    Status,
    /// In lines that pass as they are.
    Listing(Unstuffer),
    /// The same, being unique-ids.
    Uids(Unstuffer, UidLines),
    /// In some lines of a message.
    Preview(Unstuffer, Preview),
    /// In a message; so many octets of it have passed.
    Message(Unstuffer, DraftId, u64),
    /// In a message that the client was refused: nothing of it passes.
    Refused(Unstuffer),
    /// In a message that we asked for ourselves: nothing of it passes. Without a draft it cannot be kept.
    Own(Unstuffer, Option<DraftId>),
    /// In the lines of `CAPA`.
    Capabilities,
    /// In the lines of a bare `AUTH`: those so far.
    Mechanisms(Vec<u8>),
}

impl Reading {
    /// Whether the client has had a part of a reply and waits for the rest.
    pub(super) fn within_a_reply(&self) -> bool {
        !matches!(self, Reading::Status | Reading::Refused(_) | Reading::Own(..))
    }
}

impl Pop3 {
    pub(super) fn server_input(&mut self, bytes: &[u8], host: &mut dyn Host) -> usize {
        let mut taken = 0;
        while taken < bytes.len() && !self.ended && !matches!(self.stage, Stage::ServerTls(_)) {
            taken += self.server_step(&bytes[taken..], host);
        }
        taken
    }

    pub(super) fn server_eof(&mut self, host: &mut dyn Host) {
        if let Reading::Message(_, draft, _) = self.reading {
            host.abort(draft);
            host.not_kept("the server closed in the middle of a message: its beginning has passed to the client");
            return self.fault("server closed in the middle of a message", host);
        }
        if let Reading::Own(..) = self.reading {
            return self.lost("server closed in the middle of a message", host);
        }
        match self.stage {
            Stage::Greeting => self.turn_away(NO_SERVER, "server closed before its greeting", host),
            Stage::Stls(_) | Stage::ServerTls(_) => self.turn_away(NO_SERVER, "server closed at STLS", host),
            Stage::Quit if self.asked.is_empty() => self.end(End::Orderly("QUIT"), host),
            _ if self.outstanding() => self.lost("server closed with a reply outstanding", host),
            _ => self.end(End::Orderly("server closed"), host),
        }
    }

    /// The client waits for a reply that will not come.
    fn lost(&mut self, why: &str, host: &mut dyn Host) {
        if let Some(line) = self.farewell(Farewell::Lost) {
            host.send(Side::Client, &line);
            self.told = true;
        }
        self.fault(why, host);
    }

    /// Takes at least one byte, unless it only lets go of bytes held before.
    fn server_step(&mut self, bytes: &[u8], host: &mut dyn Host) -> usize {
        match &mut self.reading {
            Reading::Status | Reading::Capabilities | Reading::Mechanisms(_) => self.server_line(bytes, host),
            Reading::Listing(dot) | Reading::Uids(dot, _) | Reading::Preview(dot, _) => {
                let (taken, event) = dot.step(bytes);
                match event {
                    Event::Data { raw, message } => {
                        match &mut self.reading {
                            Reading::Uids(_, lines) => lines.take(message, &mut self.seen),
                            Reading::Preview(_, preview) => preview.take(message, host),
                            _ => {}
                        }
                        host.send(Side::Client, raw);
                    }
                    Event::End => {
                        if let Reading::Preview(_, preview) = std::mem::replace(&mut self.reading, Reading::Status) {
                            self.preview_ended(preview, host);
                            return taken;
                        }
                        host.send(Side::Client, TERMINATOR);
                        self.replied(host);
                    }
                    Event::Held | Event::Dubious(_) => {}
                }
                taken
            }
            Reading::Message(dot, draft, passed) => {
                let draft = *draft;
                let (taken, event) = dot.step(bytes);
                match event {
                    Event::Data { raw, message } => {
                        *passed += raw.len() as u64;
                        if !message.is_empty() && host.append(draft, message).is_err() {
                            self.fault(NOT_KEPT, host);
                        } else {
                            host.send(Side::Client, raw);
                        }
                    }
                    Event::End => {
                        let passed = *passed;
                        self.message_ended(draft, passed, host);
                    }
                    Event::Held | Event::Dubious(_) => {}
                }
                taken
            }
            Reading::Own(dot, draft) => {
                let draft = *draft;
                let (taken, event) = dot.step(bytes);
                match event {
                    Event::Data { message, .. } => self.own_data(message, host),
                    Event::End => self.own_message_ended(draft, host),
                    Event::Held | Event::Dubious(_) => {}
                }
                taken
            }
            Reading::Refused(dot) => {
                let (taken, event) = dot.step(bytes);
                if event == Event::End {
                    self.replied(host);
                }
                taken
            }
        }
    }

    fn server_line(&mut self, bytes: &[u8], host: &mut dyn Host) -> usize {
        let Ok((taken, whole)) = self.status.feed(bytes) else {
            self.fault("server sent a line longer than 8 KiB where a short one is due", host);
            return bytes.len();
        };
        if whole {
            let status = std::mem::replace(&mut self.status, LineBuffer::new(STATUS_LEN_MAX));
            let line = status.raw();
            match self.reading {
                Reading::Capabilities => self.capability_line(line, host),
                Reading::Mechanisms(_) => self.mechanism_line(line, host),
                _ => self.status_line(line, host),
            }
            self.status = status;
            self.status.clear();
        }
        taken
    }

    fn status_line(&mut self, line: &[u8], host: &mut dyn Host) {
        let says = |word: &[u8]| line.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        let (ok, err) = (says(b"+OK"), says(b"-ERR"));
        match std::mem::replace(&mut self.stage, Stage::Open) {
            Stage::Greeting => self.greeting(line, ok, host),
            Stage::Stls(greeting) if ok => {
                self.stage = Stage::ServerTls(greeting);
                host.start_tls(Side::Server);
            }
            Stage::Stls(_) => {
                let why = format!("server refused STLS: {}", quote(line));
                self.turn_away(NO_SERVER, why, host);
            }
            stage => {
                self.stage = stage;
                match self.asked.front() {
                    _ if self.own.is_some() && (ok || err) => self.own_status(line, ok, host),
                    Some(Asked::Server(Ask::Auth(_))) if !ok && !err && line.starts_with(b"+") => {
                        self.continuation(line, host);
                    }
                    Some(Asked::Server(_)) if ok => self.accepted(line, host),
                    Some(Asked::Server(_)) if err => self.denied(line, host),
                    Some(_) => self.fault("server's reply is neither +OK nor -ERR", host),
                    None if self.own.is_some() => self.fault("server's reply is neither +OK nor -ERR", host),
                    // What a server says before it closes for want of activity.
                    None if err && !matches!(self.stage, Stage::ClientTls) => {
                        host.send(Side::Client, line);
                        self.told = true;
                        let why = match self.inbox {
                            Some(_) => format!("server ended the session: {}", quote(line)),
                            None => format!(
                                "server ended the session before a login{}{WORDS_WITHHELD}",
                                response_code(line)
                            ),
                        };
                        self.fault(why, host);
                    }
                    // Not shown: it may be text of a message.
                    None => self.fault("server spoke unasked", host),
                }
            }
        }
    }

    fn greeting(&mut self, line: &[u8], ok: bool, host: &mut dyn Host) {
        if !ok {
            if line.get(..4).is_some_and(|status| status.eq_ignore_ascii_case(b"-ERR")) {
                // Its own reason is better than any of ours.
                host.send(Side::Client, line);
                self.told = true;
                return self.fault(format!("server greeted with {}", quote(line)), host);
            }
            let why = format!("this is no POP3 server: it greets with {}", quote(line));
            return self.turn_away(NO_SERVER, why, host);
        }
        if self.settings.upstream_tls == TlsMode::StartTls {
            self.stage = Stage::Stls(line.to_vec());
            host.send(Side::Server, b"STLS\r\n");
        } else {
            self.greeted = true;
            host.send(Side::Client, line);
        }
    }

    /// `+ challenge` within an exchange.
    fn continuation(&mut self, line: &[u8], host: &mut dyn Host) {
        if let Some(Asked::Server(Ask::Auth(exchange))) = self.asked.front_mut() {
            exchange.challenge(&line[1..]);
        }
        self.client_turn = true;
        host.send(Side::Client, line);
    }

    /// `+OK` to what was asked first.
    fn accepted(&mut self, line: &[u8], host: &mut dyn Host) {
        let Some(Asked::Server(ask)) = self.asked.front_mut() else { return };
        let mut password = None;
        let name = match ask {
            Ask::User(name) => {
                self.user = Some(name.clone());
                None
            }
            Ask::Pass(given) => {
                password = given.take();
                Some(self.user.clone())
            }
            Ask::Apop(name) => Some(Some(name.clone())),
            Ask::Auth(exchange) => {
                password = exchange.take_password();
                Some(exchange.identity().map(<[u8]>::to_vec))
            }
            _ => None,
        };
        match name {
            Some(Some(name)) if !name.is_empty() => {
                let owner = Owner::new(&name, &self.settings.default_domain);
                logged_in(&name, &owner, password, host);
                // All that comes by POP3 is the inbox.
                self.inbox = Some(Destination { owner, folder: Folder::inbox(), outgoing: false });
                self.seen = Seen::default();
            }
            Some(_) => return self.turn_away(NO_NAME, "server accepted a login that named no user", host),
            None => {}
        }
        let Some(Asked::Server(ask)) = self.asked.front() else { return };
        self.reading = match ask {
            Ask::Listing => Reading::Listing(Unstuffer::lenient()),
            Ask::Uids => Reading::Uids(Unstuffer::lenient(), UidLines::default()),
            Ask::Capa => Reading::Capabilities,
            Ask::Mechanisms => Reading::Mechanisms(Vec::new()),
            Ask::Message(target) | Ask::WholeTop(target) => match self.begin(target.clone(), announced(line), host) {
                Ok(draft) => Reading::Message(Unstuffer::lenient(), draft, 0),
                Err(why) => {
                    host.send(Side::Client, format!("-ERR {why}\r\n").as_bytes());
                    self.reading = Reading::Refused(Unstuffer::lenient());
                    return;
                }
            },
            Ask::Preview(target, lines) => {
                let (target, lines) = (target.clone(), *lines);
                let kept = self.is_kept(&target, host);
                match &self.inbox {
                    Some(inbox) if !kept => Reading::Preview(Unstuffer::lenient(), Preview::new(inbox.clone(), lines)),
                    _ => Reading::Listing(Unstuffer::lenient()),
                }
            }
            // QUIT has waited for this: the deletion never takes effect.
            Ask::Unkept => return self.turn_away(NOT_DELETED, "server accepted a deletion of what is not kept", host),
            Ask::Uid(target) => {
                if let Some((number, uid)) = uid_said(line, target) {
                    self.seen.learn(number, uid);
                }
                host.send(Side::Client, line);
                return self.replied(host);
            }
            _ => {
                host.send(Side::Client, line);
                return self.replied(host);
            }
        };
        host.send(Side::Client, line);
    }

    /// A message that the client asked for has come, in so many octets.
    fn message_ended(&mut self, draft: DraftId, passed: u64, host: &mut dyn Host) {
        let (target, whole) = match self.asked.front() {
            Some(Asked::Server(Ask::Message(target))) => (target, passed > 0),
            Some(Asked::Server(Ask::WholeTop(target))) => (target, (1..WHOLE_LEN_MAX).contains(&passed)),
            _ => return,
        };
        // One that may have been cut or lost stands in for nothing: it is got by RETR before it is deleted.
        if whole && let Some(origin) = self.origin(target) {
            host.origin(draft, origin);
        }
        host.finish(draft);
        if host.settle().is_err() {
            return self.fault(NOT_KEPT, host);
        }
        if whole && let Some(number) = target.number {
            self.seen.keep(number);
        }
        host.send(Side::Client, TERMINATOR);
        self.replied(host);
    }

    /// `-ERR` to what was asked first.
    fn denied(&mut self, line: &[u8], host: &mut dyn Host) {
        if let Some(Asked::Server(Ask::User(_) | Ask::Pass(_) | Ask::Apop(_) | Ask::Auth(_))) = self.asked.front() {
            host.login_failed(&format!("the server refused it{}", response_code(line)));
        }
        match self.asked.front() {
            Some(Asked::Server(Ask::User(_))) => self.user = None,
            Some(Asked::Server(Ask::Uids)) if self.inbox.is_some() => self.without_uids = true,
            // It should close all the same; if it does not, the client may go on.
            Some(Asked::Server(Ask::Quit)) => self.stage = Stage::Open,
            _ => {}
        }
        host.send(Side::Client, line);
        self.replied(host);
    }

    /// A draft for the owner of this moment of the stream. `announced`: octets; not to be trusted for more than to refuse in time what
    /// is too large, while the client can still be told so and go on with its other messages. The error has its response code (RFC 3206).
    fn begin(&mut self, target: Target, announced: Option<u64>, host: &mut dyn Host) -> Result<DraftId, &'static str> {
        let Some(inbox) = &self.inbox else {
            host.note("a message was refused: no login was seen");
            return Err("[SYS/TEMP] the message cannot be kept without a login");
        };
        put_label(&mut self.label, &target, target.number.and_then(|number| self.seen.uid(number).known()));
        host.about(&self.label);
        host.begin(std::slice::from_ref(inbox), announced).map_err(|refused| match refused {
            Refused::Unavailable => "[SYS/TEMP] the message could not be kept, come back later",
            Refused::TooLarge => "[SYS/PERM] the message is larger than what is kept here",
        })
    }

    fn capability_line(&mut self, line: &[u8], host: &mut dyn Host) {
        let view = self.view();
        if line.trim_ascii_end() == b"." {
            host.send(Side::Client, view.ours());
            host.send(Side::Client, line);
            self.replied(host);
        } else if let Some(line) = view.line(line) {
            host.send(Side::Client, &line);
        }
    }

    fn mechanism_line(&mut self, line: &[u8], host: &mut dyn Host) {
        let Reading::Mechanisms(lines) = &mut self.reading else { return };
        if line.trim_ascii_end() != b"." {
            lines.extend_from_slice(line);
            if lines.len() > MECHANISMS_LEN_MAX {
                self.fault("server's list of mechanisms is longer than 64 KiB", host);
            }
            return;
        }
        host.send(Side::Client, &capability::mechanisms(lines));
        host.send(Side::Client, line);
        self.replied(host);
    }

    /// The reply to what was asked first is complete.
    pub(super) fn replied(&mut self, host: &mut dyn Host) {
        self.reading = Reading::Status;
        self.client_turn = false;
        self.asked.pop_front();
        self.answer_ours(host);
        self.go_on(host);
    }
}

pub(super) const NOT_KEPT: &str = "a message could not be kept";
const NOT_DELETED: &str = "the message could not be kept, it is not deleted";
const NO_SERVER: &str = "the mail server cannot be used now, come back later";
const NO_NAME: &str = "the login does not say whose mailbox it is for";

/// The size in a reply such as `+OK 1234 octets` to RETR (RFC 1939, section 5).
pub(super) fn announced(line: &[u8]) -> Option<u64> {
    let mut words = line.trim_ascii_end().splitn(4, |&b| b == b' ');
    let (_ok, size, unit) = (words.next()?, words.next()?, words.next()?);
    unit.eq_ignore_ascii_case(b"octets").then(|| std::str::from_utf8(size).ok()?.parse().ok()).flatten()
}
