//! POP3 (RFC 1939, with 2449 CAPA, 2595 STLS, 5034 AUTH, 6856 UTF8 and LANG): every message retrieved, or deleted unread, is kept.
//!
//! `command` says what a line of the client asks for, this file what becomes of it: it is forwarded, or answered here behind the
//! replies that are still to come, or a message has to be got before it (`own`). `reply` reads the server's stream: POP3 has no tags, so
//! which command a reply is for, whether it has more than one line, and whose message it is follows from the order alone; `asked`
//! holds that order. `capability` rewrites what the server offers. `seen` remembers which messages are kept, `top` decides what a `TOP` has shown.
//!
//! What holds:
//! - A message's draft begins before its `+OK` is forwarded, and its final `.` is forwarded when the message is on disk. What
//!   cannot be kept is answered with `-ERR [SYS/TEMP]` where nothing of it has passed, else the session ends without the dot.
//! - The owner is who the server said `+OK` to. A message without an owner does not pass.
//! - Where `listen_tls` asks for STLS, no login passes before it.
//! - `DELE` passes only for a message that is kept: one that is not is got first by a `RETR` of our own, of which the client sees
//!   nothing. Where that does not succeed the client is told that it is not deleted. Where the server says that there is no such message
//!   (or nobody is logged in) it passes for the server's own answer; should the server accept it, `QUIT` never reaches it.
//! - What came by `TOP` never counts as kept where it is deleted, unless everything was asked for and it is shorter than what any server is
//!   known to cut.
//! - What `TOP` shows whole is kept before its final `.` passes; so is the rest of what it cut after 1,000 lines or more, unless more was
//!   forwarded behind it: then before anything else is. A shorter preview passes whatever becomes of its copy.
//! - `QUIT` waits until no message is on its way, and is never sent but for the client: who just leaves has deleted nothing.
//! - Nothing is asked on our own account before a login has succeeded, or while the server owes a reply.
//! - A SASL exchange is lock-step: the client is held back while the server has the word.
//! - A reply that nobody asked for, or one that is neither `+OK` nor `-ERR`, ends the session: the place in the stream is lost.
//!
//! Memory: a command line (64 KiB), a status line (8 KiB), a list of mechanisms (64 KiB), and 1,000 commands asked, of which
//! those that name a user keep the name (1 KiB each). Of a login's messages: a bit for each, 20,000 unique-ids of 512 KiB in all, and the hashes of
//! 50,000 (16 octets each). Of a `TOP` 16 KiB.

mod capability;
mod command;
mod own;
mod reply;
mod seen;
#[cfg(test)]
mod tests;
mod top;

use std::collections::VecDeque;

use self::capability::View;
use self::command::{Ask, Command, Target};
use self::own::Own;
use self::reply::Reading;
use self::seen::Seen;
use self::top::LINES_DUE;
use super::line::LineBuffer;
use super::sasl::Rejected;
use super::{End, Farewell, Host, Protocol, Side};
use crate::archive::{Destination, Owner};
use crate::config::TlsMode;

/// Octets of a command: SASL messages (tokens, tickets) are the long ones.
const COMMAND_LEN_MAX: usize = 64 * 1024;

/// Octets of a status line or a line of `CAPA`. RFC 2449 allows 512.
const STATUS_LEN_MAX: usize = 8 * 1024;

/// Commands without a reply yet; with so many the client has to wait.
const ASKED_MAX: usize = 1000;

/// What of the configuration concerns the protocol.
#[derive(Clone, Debug)]
pub struct Settings {
    pub listen_tls: TlsMode,
    pub upstream_tls: TlsMode,
    /// Domain of a login name that has none.
    pub default_domain: String,
}

/// A greeting (or any reply) that turns the client away for now: `-ERR [SYS/TEMP] text` (RFC 3206), CRLF included. For use where there
/// is no session yet, too.
pub fn refusal(text: &str) -> Vec<u8> {
    format!("-ERR [SYS/TEMP] {text}\r\n").into_bytes()
}

/// One POP3 session.
pub struct Pop3 {
    settings: Settings,
    stage: Stage,
    /// The client has got the server's greeting.
    greeted: bool,
    ended: bool,
    /// The client knows why the session ends.
    told: bool,
    /// `STLS` was asked for and is done.
    client_tls: bool,
    /// What the client says: a command, or a line of a SASL exchange.
    command: LineBuffer,
    /// `command` is whole and waits for what has to be done before it.
    line_waits: bool,
    /// A status line of the server's, or a line of a list that is rewritten.
    status: LineBuffer,
    reading: Reading,
    /// What is to be answered, in order.
    asked: VecDeque<Asked>,
    /// Within a SASL exchange it is the client's turn.
    client_turn: bool,
    /// The name of the last `USER` that the server did not refuse.
    user: Option<Vec<u8>>,
    /// Whose it is, once a login has succeeded.
    inbox: Option<Destination>,
    seen: Seen,
    /// What the log would call a message: memory that is used again.
    label: String,
    /// The server knows no `UIDL`.
    without_uids: bool,
    /// What we are asking on our own account.
    own: Option<Own>,
    /// Read in part, and to be got whole before anything else is forwarded.
    due: VecDeque<Target>,
    /// The client has had all of a message's lines but for the final dot.
    dot_held: bool,
    client_left: bool,
}

enum Stage {
    /// The server has not greeted yet.
    Greeting,
    /// `STLS` was sent, the greeting is kept for the client.
    Stls(Vec<u8>),
    /// Handshake with the server.
    ServerTls(Vec<u8>),
    Open,
    /// Handshake with the client.
    ClientTls,
    /// `QUIT` was forwarded: the client has no more to say.
    Quit,
}

enum Asked {
    /// Forwarded; the server's reply is still to come, or its rest.
    Server(Ask),
    /// A reply of ours.
    Ours(&'static str),
    /// `STLS`, to be answered when all before it is.
    Stls,
}

impl Asked {
    /// Whether a message comes with it that has to be kept, or is to be got once it has come.
    fn brings_a_message(&self) -> bool {
        match self {
            Asked::Server(Ask::Message(_) | Ask::WholeTop(_)) => true,
            Asked::Server(Ask::Preview(_, lines)) => *lines >= LINES_DUE,
            _ => false,
        }
    }

    /// The same, or the server may have marked as deleted what is not kept: QUIT would delete it.
    fn keeps_from_quitting(&self) -> bool {
        self.brings_a_message() || matches!(self, Asked::Server(Ask::Unkept))
    }
}

impl Pop3 {
    pub fn new(settings: Settings) -> Pop3 {
        Pop3 {
            settings,
            stage: Stage::Greeting,
            greeted: false,
            ended: false,
            told: false,
            client_tls: false,
            command: LineBuffer::new(COMMAND_LEN_MAX),
            line_waits: false,
            status: LineBuffer::new(STATUS_LEN_MAX),
            reading: Reading::Status,
            asked: VecDeque::new(),
            client_turn: false,
            user: None,
            inbox: None,
            seen: Seen::default(),
            label: String::new(),
            without_uids: false,
            own: None,
            due: VecDeque::new(),
            dot_held: false,
            client_left: false,
        }
    }

    fn view(&self) -> View {
        View { before_tls: self.settings.listen_tls == TlsMode::StartTls && !self.client_tls }
    }

    fn owner(&self) -> Option<&Owner> {
        self.inbox.as_ref().map(|inbox| &inbox.owner)
    }

    fn end(&mut self, end: End, host: &mut dyn Host) {
        self.ended = true;
        self.command.clear();
        self.give_up_own(host);
        host.end(end);
    }

    fn fault(&mut self, why: impl Into<String>, host: &mut dyn Host) {
        self.end(End::Fault(why.into()), host);
    }

    /// A line of ours, then the end. Only where the client is between two replies.
    fn turn_away(&mut self, line: &str, why: impl Into<String>, host: &mut dyn Host) {
        host.send(Side::Client, &refusal(line));
        self.told = true;
        self.fault(why, host);
    }

    /// Whether the client's bytes are listened to now.
    fn client_has_the_word(&self) -> bool {
        let turn = match self.asked.back() {
            Some(Asked::Server(Ask::Auth(_))) => self.client_turn,
            Some(Asked::Stls) => false,
            _ => self.asked.len() < ASKED_MAX,
        };
        turn && matches!(self.stage, Stage::Open) && !self.ended && !self.line_waits && self.own.is_none()
    }

    /// Does what is next: what is due, then the client's line.
    fn go_on(&mut self, host: &mut dyn Host) {
        if self.ended || self.own.is_some() || self.fetch_due(host) || !self.line_waits {
            return;
        }
        if self.client_turn {
            return self.sasl_line(host);
        }
        match command::parse(self.command.text(), host.learns()) {
            Command::Forward(Ask::Delete(target)) => self.delete(target, host),
            Command::Forward(Ask::Quit) if self.asked.iter().any(Asked::keeps_from_quitting) => {}
            command => self.run(command, host),
        }
    }

    fn run(&mut self, command: Command, host: &mut dyn Host) {
        match command {
            Command::Refuse(why) => self.refuse_line(why, host),
            Command::Reject(Rejected(why)) => {
                host.login_failed(why);
                self.refuse_line(why, host);
            }
            Command::Stls if self.view().before_tls => {
                self.line_done();
                self.asked.push_back(Asked::Stls);
                self.answer_ours(host);
            }
            Command::Stls => self.refuse_line("STLS is not available", host),
            Command::Forward(ask) if ask.is_login() && self.view().before_tls => {
                // Clients that go on with PASS all the same have been told of already.
                if !matches!(ask, Ask::Pass(_) | Ask::Mechanisms) {
                    host.login_failed("the client asked for it without STLS");
                }
                self.refuse_line("STLS has to come before a login", host);
            }
            Command::Forward(ask) => {
                if matches!(ask, Ask::Quit) {
                    self.stage = Stage::Quit;
                }
                self.forward_line(ask, host);
            }
        }
    }

    /// `DELE`: passes at once where the message is kept, else when we have got it. Before a login there is none to get.
    fn delete(&mut self, target: Target, host: &mut dyn Host) {
        let logging_in = |asked: &Asked| matches!(asked, Asked::Server(ask) if ask.is_login());
        if self.asked.iter().any(logging_in) {
            // Whose message it is, is not known yet.
            return;
        }
        let has_come = target.number.is_some_and(|number| self.seen.is_kept(number));
        if !has_come && self.asked.iter().any(|asked| matches!(asked, Asked::Server(Ask::Uids | Ask::Uid(_)))) {
            // Another message may have its unique-id.
            return;
        }
        if has_come || self.is_kept(&target, host) {
            return self.forward_line(Ask::Line, host);
        }
        if self.asked.is_empty() {
            match self.inbox {
                Some(_) if !target.is_missing() => self.fetch_before_deletion(target, host),
                _ => self.forward_line(Ask::Unkept, host),
            }
        }
    }

    /// The client's line goes to the server.
    fn forward_line(&mut self, ask: Ask, host: &mut dyn Host) {
        self.asked.push_back(Asked::Server(ask));
        self.command.forward(Side::Server, host);
        self.line_done();
    }

    /// The client's line is answered `-ERR` here, behind all replies that are still to come.
    fn refuse_line(&mut self, why: &'static str, host: &mut dyn Host) {
        self.line_done();
        self.asked.push_back(Asked::Ours(why));
        self.answer_ours(host);
    }

    fn line_done(&mut self) {
        self.line_waits = false;
        self.command.clear();
    }

    /// Whether a reply of the server's to a command of the client's is still to come.
    fn server_owes(&self) -> bool {
        self.asked.iter().any(|asked| matches!(asked, Asked::Server(_)))
    }

    /// A line of the client within an exchange. What we reject is cancelled (RFC 5034, section 4), and the server's own `-ERR` passes.
    fn sasl_line(&mut self, host: &mut dyn Host) {
        self.client_turn = false;
        let line = self.command.text();
        if let Some(Asked::Server(Ask::Auth(exchange))) = self.asked.back_mut() {
            let said = if line.iter().any(|&b| b == b'\r' || b == 0) {
                Err(Rejected("the SASL message contains CR or NUL"))
            } else {
                exchange.response(line)
            };
            match said {
                Ok(()) => {
                    host.send(Side::Server, line);
                    host.send(Side::Server, b"\r\n");
                }
                Err(Rejected(why)) => {
                    exchange.cancel();
                    host.note(&format!("login cancelled: {why}"));
                    host.send(Side::Server, b"*\r\n");
                }
            }
        }
        self.line_done();
    }

    /// Sends those of our answers whose turn it is.
    fn answer_ours(&mut self, host: &mut dyn Host) {
        loop {
            match self.asked.front() {
                Some(Asked::Ours(why)) => host.send(Side::Client, format!("-ERR {why}\r\n").as_bytes()),
                Some(Asked::Stls) => {
                    self.stage = Stage::ClientTls;
                    host.send(Side::Client, b"+OK begin TLS\r\n");
                    host.start_tls(Side::Client);
                }
                Some(Asked::Server(_)) | None => return,
            }
            self.asked.pop_front();
        }
    }

    fn client_input(&mut self, bytes: &[u8], host: &mut dyn Host) -> usize {
        let mut taken = 0;
        while taken < bytes.len() && self.client_has_the_word() {
            let Ok((more, whole)) = self.command.feed(&bytes[taken..]) else {
                const WHY: &str = "client sent a line longer than 64 KiB";
                if self.asked.is_empty() {
                    self.turn_away("the line is too long", WHY, host);
                } else {
                    self.fault(WHY, host);
                }
                return bytes.len();
            };
            taken += more;
            if whole {
                self.line_waits = true;
                self.go_on(host);
            }
        }
        taken
    }
}

impl Protocol for Pop3 {
    fn input(&mut self, from: Side, bytes: &[u8], host: &mut dyn Host) -> usize {
        match from {
            Side::Client => self.client_input(bytes, host),
            Side::Server => self.server_input(bytes, host),
        }
    }

    fn eof(&mut self, from: Side, host: &mut dyn Host) {
        if self.ended {
            return;
        }
        self.client_left |= from == Side::Client;
        match from {
            // Half a line is none; what was asked is still answered, also what waits to be asked.
            Side::Client if self.line_waits => {}
            // Whichever side closes first after QUIT was answered: that is how it ended.
            Side::Client if matches!(self.stage, Stage::Quit) && self.asked.is_empty() => {
                self.end(End::Orderly("QUIT"), host);
            }
            Side::Client => self.command.clear(),
            Side::Server => self.server_eof(host),
        }
    }

    fn tls_started(&mut self, side: Side, host: &mut dyn Host) {
        match (side, std::mem::replace(&mut self.stage, Stage::Open)) {
            (Side::Server, Stage::ServerTls(greeting)) => {
                self.greeted = true;
                host.send(Side::Client, &greeting);
            }
            (Side::Client, Stage::ClientTls) => {
                // Nothing said before counts (RFC 2595, section 4).
                self.client_tls = true;
                self.user = None;
            }
            (_, stage) => self.stage = stage,
        }
    }

    fn greeted(&self) -> bool {
        self.greeted
    }

    fn outstanding(&self) -> bool {
        let greeted = !matches!(self.stage, Stage::Greeting | Stage::Stls(_) | Stage::ServerTls(_));
        let asking = self.own.is_some() || !self.due.is_empty() || (!self.asked.is_empty() && !self.client_turn);
        !self.ended && (!greeted || self.line_waits || asking)
    }

    fn finishing(&self) -> bool {
        let fetching = self.own.is_some() || !self.due.is_empty() || self.asked.iter().any(Asked::brings_a_message);
        self.client_left && !self.ended && fetching
    }

    fn over(&mut self, host: &mut dyn Host) {
        if self.ended {
            return;
        }
        if let (Reading::Message(_, draft, _), Some(owner)) = (&self.reading, self.owner()) {
            host.abort(*draft);
            if let Some(Asked::Server(Ask::Message(target) | Ask::WholeTop(target))) = self.asked.front() {
                let name = own::name(target, self.origin(target).as_ref(), owner);
                host.not_kept(&format!(
                    "the session ended in the middle of {name}: its beginning has passed to the client"
                ));
            }
            self.reading = Reading::Status;
        }
        self.ended = true;
        self.give_up_own(host);
    }

    fn farewell(&self, why: Farewell) -> Option<Vec<u8>> {
        if self.told || self.dot_held || self.reading.within_a_reply() || matches!(self.stage, Stage::ClientTls) {
            return None;
        }
        Some(match why {
            Farewell::Timeout => b"-ERR closing, nothing was said for too long\r\n".to_vec(),
            Farewell::Silent => refusal("the mail server does not answer, come back later"),
            Farewell::Shutdown => refusal("the mail proxy is stopping, come back later"),
            Farewell::Lost => refusal("the mail server is not there any more, come back later"),
            Farewell::NotKept => refusal("the message could not be kept, come back later"),
        })
    }
}
