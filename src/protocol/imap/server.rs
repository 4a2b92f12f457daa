//! The server's stream: responses with their literals (RFC 9051, sections 2.2.2, 4.3, 7).
//!
//! A line is looked at when it is complete, or when it is longer than what has to be looked at; a literal's octets pass as they
//! come. Only data responses have literals: what stands behind OK, NO, BAD, BYE, PREAUTH and `+` is text, whatever it looks like.

mod data;
mod delivery;
mod mailbox;
mod own;
mod tagged;

use delivery::Fetch;
use memchr::memchr;
use own::OwnFetch;

use super::capability;
use super::command::Part;
use super::{Imap, Kind, Phase};
use crate::config::TlsMode;
use crate::logging::quote;
use crate::protocol::line::trim_ending;
use crate::protocol::{End, Farewell, Host, Side, WORDS_WITHHELD, overwrite, response_code};

/// Longest line that is looked at as a whole, in octets. Data lines may be longer (`SEARCH` over a big mailbox) and pass unread.
const LINE_LEN_MAX: usize = 64 * 1024;
/// So much of a line's end tells whether a literal follows.
const TAIL_LEN: usize = 32;
/// With so many octets of ours waiting for the end of a response, the client has to wait too.
const POSTPONED_MAX: usize = 16 * 1024;
/// Memory for a line that comes in pieces is used again up to so many octets.
const LINE_KEPT_MAX: usize = 4096;
const STARTTLS_TAG: &[u8] = b"MAILSTORE1";

pub(super) struct ServerSide {
    state: State,
    /// None while nobody speaks: most sessions fetch nothing most of the time.
    fetch: Option<Box<Fetch>>,
    /// The line being read, as received.
    line: Vec<u8>,
    /// LIST-like response with literals: its pieces so far.
    pub(super) listing: Option<Vec<Part>>,
    /// Part of a response that is not complete has been forwarded.
    midway: bool,
    /// That response is not for the client.
    swallowing: bool,
    /// Lines of ours for the client, until the response is complete.
    postponed: Vec<u8>,
}

enum State {
    /// Collecting a line in `line`.
    Line,
    /// The rest of a data line too long to collect.
    Rest { tail: Vec<u8> },
    /// Octets of a literal in a data response.
    Literal { left: u64 },
    /// A FETCH response: see [`ServerSide::fetch`].
    Fetch,
    /// A FETCH response while a FETCH of ours is in progress.
    Own(Box<OwnFetch>),
    /// The rest of the numbers that a SEARCH of ours found, behind the beginning of one.
    OwnNumbers(Vec<u8>),
}

impl ServerSide {
    pub(super) fn release(&mut self) {
        if self.line.is_empty() {
            self.line = Vec::new();
        }
        if !matches!(self.state, State::Fetch) {
            self.fetch = None;
        }
    }

    fn fetch(&mut self) -> &mut Fetch {
        self.fetch.get_or_insert_with(|| Box::new(Fetch::new()))
    }

    pub(super) fn new() -> ServerSide {
        ServerSide {
            state: State::Line,
            fetch: None,
            line: Vec::new(),
            listing: None,
            midway: false,
            swallowing: false,
            postponed: Vec::new(),
        }
    }

    /// Whether the next octet begins a response.
    pub(super) fn is_between_responses(&self) -> bool {
        matches!(self.state, State::Line) && self.line.is_empty() && !self.midway
    }

    /// Whether the client has got a part of a response only.
    pub(super) fn is_midway(&self) -> bool {
        self.midway && !self.swallowing
    }

    /// Whether the client would have to be told more than is worth remembering: it asks while it does not read.
    pub(super) fn owes_too_much(&self) -> bool {
        self.postponed.len() >= POSTPONED_MAX
    }

    pub(super) fn postpone(&mut self, line: &[u8]) {
        self.postponed.extend_from_slice(line);
    }
}

impl Imap {
    pub(super) fn server_input(&mut self, bytes: &[u8], host: &mut dyn Host) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            // In the middle of the client's handshake anything more would reach it in plaintext.
            if matches!(self.phase, Phase::Ended | Phase::UpstreamHandshake { .. }) || self.client.is_in_handshake() {
                break;
            }
            let rest = &bytes[at..];
            if let State::Fetch = self.server.state {
                at += self.fetch(rest, 0, host);
                continue;
            }
            at += match std::mem::replace(&mut self.server.state, State::Line) {
                State::Line | State::Fetch => self.collect(rest, host),
                State::Rest { tail } => self.rest_of_line(tail, rest, host),
                State::Literal { left } => self.literal(left, rest, host),
                State::Own(fetch) => self.own_fetch(fetch, rest, host),
                State::OwnNumbers(part) => self.rest_of_numbers(part, rest, host),
            };
        }
        at
    }

    fn collect(&mut self, bytes: &[u8], host: &mut dyn Host) -> usize {
        let room = LINE_LEN_MAX - self.server.line.len();
        let end = self.line_end(&bytes[..bytes.len().min(room)]);
        let taken = end.unwrap_or(bytes.len()).min(room);
        let whole = end.is_some();
        if self.server.line.is_empty() && (whole || taken == room) {
            // What comes in one piece is not copied.
            if self.is_running()
                && !self.server.midway
                && let Some((number, head)) = delivery::head(bytes)
            {
                return self.fetch_begins(number, bytes, head, host);
            }
            self.line(&bytes[..taken], whole, host);
            return taken;
        }
        self.server.line.extend_from_slice(&bytes[..taken]);
        if whole || taken == room {
            let mut line = std::mem::take(&mut self.server.line);
            self.line(&line, whole, host);
            if line.capacity() <= LINE_KEPT_MAX {
                // It may have repeated a credential.
                overwrite(&mut line);
                line.clear();
                self.server.line = line;
            }
        }
        taken
    }

    /// Behind the line that the bytes begin with. A server may repeat a password that it refuses: nothing looks at that which may leave a copy on the
    /// stack, as memchr does where it is not optimized.
    pub(super) fn line_end(&self, bytes: &[u8]) -> Option<usize> {
        let end = match self.login {
            Some(_) => memchr(b'\n', bytes),
            None => bytes.iter().position(|&b| b == b'\n'),
        };
        end.map(|at| at + 1)
    }

    fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Leaving(_))
    }

    /// A line, or the first `LINE_LEN_MAX` octets of one.
    fn line(&mut self, line: &[u8], whole: bool, host: &mut dyn Host) {
        if self.server.midway {
            // Behind a literal: a data response goes on.
            return self.data(line, whole, host);
        }
        let mut words = line.splitn(4, |&b| b == b' ');
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let second = trim_ending(second).to_ascii_uppercase();
        let third = trim_ending(words.next().unwrap_or_default()).to_ascii_uppercase();
        let is_number = !second.is_empty() && second.iter().all(u8::is_ascii_digit);
        if !self.is_running() {
            return match whole {
                true => self.before_running(line, first, &second, host),
                false => self.lost("its greeting has no end", host),
            };
        }
        if first == b"*" && is_number && third == b"FETCH" {
            let number = std::str::from_utf8(&second).ok().and_then(|digits| digits.parse().ok());
            // Behind `* n FETCH`.
            let mut blanks = line.iter().enumerate().filter(|(_, b)| **b == b' ').map(|(at, _)| at);
            let head = blanks.nth(2).unwrap_or(line.len());
            let mut at = self.fetch_begins(number, line, head, host);
            while at < line.len()
                && let State::Own(fetch) = std::mem::replace(&mut self.server.state, State::Line)
            {
                at += self.own_fetch(fetch, &line[at..], host);
            }
            return;
        }
        if !whole && (first != b"*" || is_status(&second) || matches!(second.as_slice(), b"CAPABILITY" | b"ENABLED")) {
            return self.lost("a line of it has no end", host);
        }
        match first {
            b"*" => self.untagged(line, &second, &third, whole, host),
            _ if first == b"+" || line.starts_with(b"+") => self.continuation(line, host),
            tag => self.tagged(tag, &second, line, host),
        }
    }

    /// The server's stream makes no sense any more.
    fn lost(&mut self, what: &str, host: &mut dyn Host) {
        self.abandon_response(host);
        self.fail(Farewell::Lost, format!("the server broke the protocol: {what}"), host);
    }

    fn before_running(&mut self, line: &[u8], first: &[u8], second: &[u8], host: &mut dyn Host) {
        match (std::mem::replace(&mut self.phase, Phase::Running), first) {
            (Phase::Greeting, b"*") if second == b"OK" => {
                if self.settings.upstream_tls == TlsMode::StartTls {
                    self.phase = Phase::UpstreamStartTls { greeting: line.to_vec() };
                    host.send(Side::Server, &[STARTTLS_TAG, b" STARTTLS\r\n"].concat());
                } else {
                    self.greeted = true;
                    host.send(Side::Client, &capability::filter_status(line, self.capability_context(), true));
                }
            }
            (Phase::Greeting, b"*") if second == b"PREAUTH" => {
                let fault = "the server greets with PREAUTH: nobody can tell whose messages these are, and TLS cannot be started";
                self.fail(Farewell::Lost, fault.to_string(), host);
            }
            (Phase::Greeting, b"*") if second == b"BYE" => {
                host.send(Side::Client, &capability::filter_status(line, self.capability_context(), true));
                self.end(End::Fault(format!("the server refused the connection: {}", quote(line))), host);
            }
            // What it says before TLS counts for nothing.
            (phase @ Phase::UpstreamStartTls { .. }, b"*") if second != b"BYE" => self.phase = phase,
            (Phase::UpstreamStartTls { greeting }, tag) if tag == STARTTLS_TAG && second == b"OK" => {
                self.phase = Phase::UpstreamHandshake { greeting };
                host.start_tls(Side::Server);
            }
            (Phase::UpstreamStartTls { .. }, _) => {
                let fault = format!("upstream_tls = starttls, but the server answers STARTTLS with: {}", quote(line));
                self.fail(Farewell::Lost, fault, host);
            }
            _ => {
                let fault = format!("this is no IMAP server: it greets with {}", quote(line));
                self.fail(Farewell::Lost, fault, host);
            }
        }
    }

    fn untagged(&mut self, line: &[u8], word: &[u8], third: &[u8], whole: bool, host: &mut dyn Host) {
        match word {
            b"BYE" => {
                if !self.settled(host) {
                    return;
                }
                self.blame(line, host);
                host.send(Side::Client, &capability::filter_status(line, self.capability_context(), true));
                if !matches!(self.phase, Phase::Leaving(_)) {
                    let logout = self.commands.list.iter().any(|pending| matches!(pending.kind, Kind::Logout))
                        || self.own.logs_out();
                    self.phase = Phase::Leaving(match logout {
                        true => End::Orderly("logout"),
                        false if self.login.is_none() => End::Fault(format!(
                            "the server said BYE before a login{}{WORDS_WITHHELD}",
                            response_code(line)
                        )),
                        false => End::Fault(format!("the server said: {}", quote(line))),
                    });
                    if logout {
                        // LOGOUT is still to be answered.
                        self.phase = Phase::Running;
                    }
                }
            }
            _ if third == b"EXPUNGE" && !word.is_empty() && word.iter().all(|&b| b == b'0') => {
                self.lost("it speaks of message 0", host);
            }
            _ if self.own.is_private() && word != b"SEARCH" => {
                self.privately(line, word, third, host);
                self.swallow(line, whole, host);
            }
            b"STATUS" if self.own.count().is_some() => self.swallow(line, whole, host),
            _ if is_status(word) => {
                let line = capability::filter_status(line, self.capability_context(), true);
                match capability::status_code(&line).as_deref() {
                    Some(b"CLOSED") => self.select(None, host),
                    Some(b"UIDVALIDITY") => self.learn_uid_validity(&line),
                    Some(b"UIDNOTSTICKY") => self.opening.uids_do_not_last = true,
                    _ => {}
                }
                host.send(Side::Client, &line);
            }
            b"CAPABILITY" | b"ENABLED" => {
                let names = trim_ending(&line[2 + word.len()..]);
                let ending = &line[2 + word.len() + names.len()..];
                let kept = match word {
                    b"CAPABILITY" => capability::filter(names, self.capability_context()),
                    _ => names
                        .split(|&b| b == b' ')
                        .filter(|n| !n.is_empty() && !capability::is_hidden(n))
                        .collect::<Vec<_>>()
                        .join(&b' '),
                };
                let blank: &[u8] = if kept.is_empty() { b"" } else { b" " };
                host.send(Side::Client, &[&line[..2 + word.len()], blank, &kept, ending].concat());
            }
            b"SEARCH" if self.own.searches() => {
                let part = self.own_numbers(&line[b"* SEARCH".len()..], whole, host);
                if !whole {
                    self.server.state = State::OwnNumbers(part);
                }
            }
            _ => {
                match (std::str::from_utf8(word).ok().and_then(|digits| digits.parse().ok()), third) {
                    (Some(number), b"EXPUNGE") => self.expunged(number, host),
                    (Some(number), b"EXISTS") => self.exists(number),
                    _ if word == b"VANISHED" && third != b"(EARLIER)" => self.vanished(trim_ending(line), host),
                    _ => {}
                }
                if matches!(word, b"LIST" | b"LSUB" | b"XLIST" | b"NAMESPACE") {
                    self.server.listing = Some(Vec::new());
                }
                self.data(line, whole, host);
            }
        }
    }

    /// The client has got a whole response: what we have to say may follow.
    fn response_over(&mut self, host: &mut dyn Host) {
        if !self.server.postponed.is_empty() {
            host.send(Side::Client, &std::mem::take(&mut self.server.postponed));
        }
    }

    fn continuation(&mut self, line: &[u8], host: &mut dyn Host) {
        if let Some((told, done)) = self.commands.idle_begins() {
            if !told {
                host.send(Side::Client, line);
            }
            if done {
                host.send(Side::Server, b"DONE\r\n");
            }
            return;
        }
        if let Some(exchange) = self.commands.exchange() {
            let text = trim_ending(line);
            let text = text.strip_prefix(b"+").unwrap_or(text);
            exchange.challenge(text.strip_prefix(b" ").unwrap_or(text));
        }
        host.send(Side::Client, line);
        self.client.continuation();
    }
}

fn is_status(word: &[u8]) -> bool {
    matches!(word, b"OK" | b"NO" | b"BAD" | b"BYE" | b"PREAUTH")
}
