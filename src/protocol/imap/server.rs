//! The server's stream: responses with their literals (RFC 9051, sections 2.2.2, 4.3, 7).
//!
//! A line is looked at when it is complete, or when it is longer than what has to be looked at; a literal's octets pass as they
//! come. Only data responses have literals: what stands behind OK, NO, BAD, BYE, PREAUTH and `+` is text, whatever it looks like.

mod delivery;
mod own;

use delivery::Fetch;
use own::OwnFetch;

use super::capability;
use super::command::{self, Args, LineEnd, Part};
use super::{Imap, Kind, Pending, Phase, not_archived, refusal, set};
use crate::archive::Owner;
use crate::config::TlsMode;
use crate::logging::quote;
use crate::protocol::line::trim_ending;
use crate::protocol::{End, Farewell, Host, Side};

/// Longest line that is looked at as a whole, in octets. Data lines may be longer (`SEARCH` over a big mailbox) and pass unread.
const LINE_LEN_MAX: usize = 64 * 1024;
/// So much of a line's end tells whether a literal follows.
const TAIL_LEN: usize = 32;
/// With so many octets of ours waiting for the end of a response, the client has to wait too.
const POSTPONED_MAX: usize = 16 * 1024;
const STARTTLS_TAG: &[u8] = b"MAILSTORE1";

pub(super) struct ServerSide {
    state: State,
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
    Rest {
        tail: Vec<u8>,
    },
    /// Octets of a literal in a data response.
    Literal {
        left: u64,
    },
    Fetch(Box<Fetch>),
    /// A FETCH response while a FETCH of ours is in progress.
    Own(Box<OwnFetch>),
    /// The rest of the numbers that a SEARCH of ours found, behind the beginning of one.
    OwnNumbers(Vec<u8>),
}

impl ServerSide {
    pub(super) fn new() -> ServerSide {
        ServerSide {
            state: State::Line,
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
            if matches!(self.phase, Phase::Ended | Phase::UpstreamHandshake { .. }) {
                break;
            }
            let rest = &bytes[at..];
            at += match std::mem::replace(&mut self.server.state, State::Line) {
                State::Line => self.collect(rest, host),
                State::Rest { tail } => self.rest_of_line(tail, rest, host),
                State::Literal { left } => self.literal(left, rest, host),
                State::Fetch(fetch) => self.fetch(fetch, rest, host),
                State::Own(fetch) => self.own_fetch(fetch, rest, host),
                State::OwnNumbers(part) => self.rest_of_numbers(part, rest, host),
            };
        }
        at
    }

    fn collect(&mut self, bytes: &[u8], host: &mut dyn Host) -> usize {
        let room = LINE_LEN_MAX - self.server.line.len();
        let end = bytes.iter().position(|&b| b == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(bytes.len()).min(room);
        self.server.line.extend_from_slice(&bytes[..taken]);
        let whole = end == Some(taken);
        if whole || taken == room {
            let line = std::mem::take(&mut self.server.line);
            self.line(&line, whole, host);
        }
        taken
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
        if !matches!(self.phase, Phase::Running | Phase::Leaving(_)) {
            return match whole {
                true => self.before_running(line, first, &second, host),
                false => self.lost("its greeting has no end", host),
            };
        }
        if first == b"*" && is_number && third == b"FETCH" {
            let number = std::str::from_utf8(&second).ok().and_then(|digits| digits.parse().ok());
            let Some(number) = number else { return self.lost("a message sequence number is too large", host) };
            return self.fetch_begins(number, line, host);
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
        self.capture.abandon(host);
        self.fail(Farewell::Lost, format!("the server broke the protocol: {what}"), host);
    }

    fn before_running(&mut self, line: &[u8], first: &[u8], second: &[u8], host: &mut dyn Host) {
        match (std::mem::replace(&mut self.phase, Phase::Running), first) {
            (Phase::Greeting, b"*") if second == b"OK" => {
                if self.settings.upstream_tls == TlsMode::StartTls {
                    self.phase = Phase::UpstreamStartTls { greeting: line.to_vec() };
                    host.send(Side::Server, &[STARTTLS_TAG, b" STARTTLS\r\n"].concat());
                } else {
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
                host.send(Side::Client, &capability::filter_status(line, self.capability_context(), true));
                if !matches!(self.phase, Phase::Leaving(_)) {
                    let logout = self.commands.list.iter().any(|pending| matches!(pending.kind, Kind::Logout));
                    self.phase = Phase::Leaving(match logout {
                        true => End::Orderly("logout"),
                        false => End::Fault(format!("the server said: {}", quote(line))),
                    });
                    if logout {
                        // LOGOUT is still to be answered.
                        self.phase = Phase::Running;
                    }
                }
            }
            b"0" if third == b"EXPUNGE" => self.lost("it speaks of message 0", host),
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

    /// A line, or the beginning of one, of a response that is not for the client.
    fn swallow(&mut self, line: &[u8], whole: bool, host: &mut dyn Host) {
        self.server.swallowing = true;
        self.data(line, whole, host);
    }

    fn pass(&self, bytes: &[u8], host: &mut dyn Host) {
        if !self.server.swallowing {
            host.send(Side::Client, bytes);
        }
    }

    /// A line, or the beginning of one, of a response that passes as it is.
    fn data(&mut self, line: &[u8], whole: bool, host: &mut dyn Host) {
        self.pass(line, host);
        if let (true, Some(messages), Some(count)) = (self.server.swallowing, messages(line), self.own.count()) {
            *count = messages;
        }
        self.server.midway = true;
        if !whole {
            self.server.listing = None;
            self.server.state = State::Rest { tail: tail_of(&[], line) };
            return;
        }
        let text = trim_ending(line);
        let end = command::line_end(text);
        if let Some(pieces) = self.server.listing.as_mut() {
            pieces.push(Part::text_of(text, end));
        }
        self.bound_listing();
        self.line_ended(end, host);
    }

    /// A response while a folder is open that the client does not know of: only for us.
    fn privately(&mut self, line: &[u8], word: &[u8], third: &[u8], host: &mut dyn Host) {
        let code = capability::status_code(line);
        let number = std::str::from_utf8(word).ok().and_then(|digits| digits.parse().ok());
        match (self.own.opening(), number, code.as_deref()) {
            (_, _, Some(b"ALERT")) => host.send(Side::Client, line),
            (Some(opening), Some(number), _) if third == b"EXISTS" => opening.exists = number,
            (Some(opening), _, Some(b"UIDVALIDITY")) => opening.uid_validity = capability::status_number(line),
            (Some(opening), _, Some(b"UIDNOTSTICKY")) => opening.uids_do_not_last = true,
            (Some(_), ..) => {}
            (None, Some(number), _) if third == b"EXISTS" => self.exists(number),
            (None, Some(number), _) if third == b"EXPUNGE" => self.expunged(number, host),
            (None, ..) if word == b"VANISHED" => self.vanished(trim_ending(line), host),
            (None, ..) => {}
        }
    }

    /// UIDVALIDITY of the mailbox that is being selected. Told of one that is selected already it means that its UIDs do not last.
    fn learn_uid_validity(&mut self, line: &[u8]) {
        if self.commands.select_is_open() {
            self.opening.uid_validity = capability::status_number(line);
        } else if let Some(mailbox) = &mut self.mailbox {
            mailbox.uid_validity = None;
        }
    }

    fn exists(&mut self, number: u32) {
        self.opening.exists = number;
        let Some(mailbox) = &mut self.mailbox else { return };
        if number > mailbox.exists
            && let Some(gate) = &mut self.own.gate
        {
            gate.grows();
        }
        mailbox.exists = number;
    }

    /// EXPUNGE of this message: the later ones move down (RFC 9051, section 7.5.1).
    fn expunged(&mut self, number: u32, host: &mut dyn Host) {
        if let Some(gate) = &mut self.own.gate {
            gate.shrinks();
        }
        if let Some(mailbox) = &mut self.mailbox {
            mailbox.exists = mailbox.exists.saturating_sub(1);
        }
        self.capture.expunged(number);
        let download = self.capture.chunks.expunged(number, host);
        let due = self.own.expunged(number);
        for message in download.into_iter().chain(due) {
            self.gone(message, host);
        }
    }

    /// VANISHED (RFC 7162, section 3.2.10): from here on sequence numbers mean nothing to us.
    fn vanished(&mut self, line: &[u8], host: &mut dyn Host) {
        if let Some(gate) = &mut self.own.gate {
            gate.shrinks();
        }
        self.capture.forget();
        self.stop_downloads(true, host);
        let uids = line.rsplit(|&b| b == b' ').next().unwrap_or_default();
        for mut message in self.own.vanished(uids) {
            message.drop_progress(host);
            if message.read {
                self.missed(message.which, "the server made its number void (VANISHED) and has not told its UID", host);
            }
        }
        let count = set::count(uids, u32::MAX);
        if let Some(mailbox) = &mut self.mailbox {
            mailbox.exists = mailbox.exists.saturating_sub(count);
        }
    }

    /// Numbers that a SEARCH of ours found, beyond the line's beginning.
    fn rest_of_numbers(&mut self, part: Vec<u8>, bytes: &[u8], host: &mut dyn Host) -> usize {
        let end = bytes.iter().position(|&b| b == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(bytes.len());
        let left = self.own_numbers(&[&part, &bytes[..taken]].concat(), end.is_some(), host);
        if left.len() > TAIL_LEN {
            self.lost("it found a message whose number is too large", host);
        } else if end.is_none() {
            self.server.state = State::OwnNumbers(left);
        }
        taken
    }

    fn rest_of_line(&mut self, tail: Vec<u8>, bytes: &[u8], host: &mut dyn Host) -> usize {
        let end = bytes.iter().position(|&b| b == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(bytes.len());
        self.pass(&bytes[..taken], host);
        let tail = tail_of(&tail, &bytes[..taken]);
        match end {
            Some(_) => self.line_ended(command::tail_end(trim_ending(&tail)), host),
            None => self.server.state = State::Rest { tail },
        }
        taken
    }

    fn line_ended(&mut self, end: LineEnd, host: &mut dyn Host) {
        match end {
            LineEnd::Literal(literal) if literal.synchronizing => {
                self.server.state = State::Literal { left: literal.len }
            }
            LineEnd::Absurd { .. } => self.lost("a literal is larger than any number", host),
            _ => {
                (self.server.midway, self.server.swallowing) = (false, false);
                if let Some(pieces) = self.server.listing.take() {
                    self.learn(&pieces);
                }
                self.response_over(host);
            }
        }
        if let State::Literal { left: 0 } = self.server.state {
            self.server.state = State::Line;
            if let Some(pieces) = self.server.listing.as_mut() {
                pieces.push(Part::Literal(Vec::new()));
            }
        }
    }

    /// A listing with more than anybody would call a folder passes unread.
    fn bound_listing(&mut self) {
        if self
            .server
            .listing
            .as_ref()
            .is_some_and(|pieces| pieces.iter().map(Part::cost).sum::<usize>() > LINE_LEN_MAX)
        {
            self.server.listing = None;
        }
    }

    fn literal(&mut self, left: u64, bytes: &[u8], host: &mut dyn Host) -> usize {
        let taken = left.min(bytes.len() as u64) as usize;
        self.pass(&bytes[..taken], host);
        if let Some(pieces) = self.server.listing.as_mut() {
            match pieces.last_mut() {
                Some(Part::Literal(octets)) => octets.extend_from_slice(&bytes[..taken]),
                _ => pieces.push(Part::Literal(bytes[..taken].to_vec())),
            }
        }
        self.bound_listing();
        if left > taken as u64 {
            self.server.state = State::Literal { left: left - taken as u64 };
        }
        taken
    }

    /// The client has got a whole response: what we have to say may follow.
    fn response_over(&mut self, host: &mut dyn Host) {
        if !self.server.postponed.is_empty() {
            host.send(Side::Client, &std::mem::take(&mut self.server.postponed));
        }
    }

    fn learn(&mut self, pieces: &[Part]) {
        let mut args = Args::new(pieces);
        args.string();
        let rules = &self.settings.folders;
        if args.word().as_deref() == Some(b"NAMESPACE") {
            // (("prefix" "separator") …: that of the personal namespace.
            let personal = args.list().map(|list| [Part::Text(list.to_vec())]);
            let separator = personal.as_ref().and_then(|list| {
                let pair = [Part::Text(Args::new(list).list()?.to_vec())];
                let mut pair = Args::new(&pair);
                pair.string()?;
                one_byte(&pair.string()?)
            });
            if let Some(separator) = separator {
                rules.learn_separator(separator);
            }
            return;
        }
        let Some(attributes) = args.list() else { return };
        let (Some(separator), Some(name)) = (args.string(), args.string()) else { return };
        rules.learn(self.login.as_ref(), attributes, one_byte(&separator), &name);
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

    fn tagged(&mut self, tag: &[u8], status: &[u8], line: &[u8], host: &mut dyn Host) {
        if self.own_tagged(tag, status, line, host) {
            return;
        }
        let Some(pending) = self.commands.take(tag) else {
            // A refusal of something that was no command to us (`DONE` behind an IDLE that was refused) does no harm.
            return match status {
                b"BAD" | b"NO" => host.send(Side::Client, line),
                _ => self.lost("it answers a command that nobody sent", host),
            };
        };
        if !is_status(status) {
            return self.lost("a tagged response is none", host);
        }
        if !self.settled(host) {
            return;
        }
        let ok = status == b"OK";
        self.client.answered(tag, host);
        if ok && pending.names_nobody() {
            host.send(Side::Client, &refusal("the login does not say whose mailbox it is for"));
            return self.end(End::Fault("the server accepted a login that named no user".to_string()), host);
        }
        let (withheld, by_uid) = match pending.kind {
            Kind::Fetch { withheld, by_uid, .. } => (withheld, Some(by_uid)),
            _ => (None, None),
        };
        if withheld.is_some() && self.client.holds_deletion() {
            // It did not wait for this answer: deleted, the message would be nowhere.
            return self.not_kept(host);
        }
        self.consequences(pending, status, host);
        let line = match withheld {
            Some(refused) => not_archived(tag, refused),
            None => capability::filter_status(line, self.capability_context(), true),
        };
        let held = withheld.is_none() && by_uid.is_some_and(|by_uid| self.hold_reply(by_uid, tag, &line));
        if !held {
            host.send(Side::Client, &line);
        }
    }

    fn consequences(&mut self, pending: Pending, status: &[u8], host: &mut dyn Host) {
        let ok = status == b"OK";
        if !ok && matches!(pending.kind, Kind::Login { .. } | Kind::Authenticate(_)) {
            host.login_failed("the server refused it");
        }
        match pending.kind {
            Kind::Other | Kind::Fetch { .. } => {}
            // A client may say DONE and IDLE again before the first one is answered.
            Kind::Idle { .. } if self.commands.has_idle() => {}
            Kind::Idle { .. } => self.client.idle_over(),
            Kind::Login { user } => {
                if let (true, Some(user)) = (ok, user) {
                    self.logged_in(&user, host);
                }
            }
            Kind::Authenticate(exchange) => {
                self.client.exchange_over();
                if let (true, Some(user)) = (ok, exchange.identity()) {
                    self.logged_in(user, host);
                }
            }
            // Not understood, so not done: the mailbox is still the one it was.
            Kind::Select { .. } if status == b"BAD" => {}
            Kind::Select { mailbox, read_only } => {
                let opening = std::mem::take(&mut self.opening);
                self.select(ok.then(|| opening.mailbox(mailbox, read_only)), host);
            }
            Kind::Unselect if ok => self.select(None, host),
            Kind::Unselect => {}
            Kind::Append(drafts) => {
                for draft in drafts {
                    match ok {
                        true => host.commit(draft),
                        false => host.abort(draft),
                    }
                }
            }
            Kind::Logout => {
                self.select(None, host);
                self.login = None;
                host.logged_out();
                self.phase = Phase::Leaving(End::Orderly("logout"));
            }
        }
    }

    fn logged_in(&mut self, user: &[u8], host: &mut dyn Host) {
        let owner = Owner::new(user, &self.settings.default_domain);
        host.logged_in(&owner);
        self.login = Some(owner);
    }

    /// All that was finished is on disk. False: it is not, and the session has been ended.
    fn settled(&mut self, host: &mut dyn Host) -> bool {
        let settled = self.capture.settle(host).is_ok();
        if !settled {
            self.not_kept(host);
        }
        settled
    }
}

fn is_status(word: &[u8]) -> bool {
    matches!(word, b"OK" | b"NO" | b"BAD" | b"BYE" | b"PREAUTH")
}

/// The number of a STATUS response that was asked for MESSAGES only.
fn messages(line: &[u8]) -> Option<u64> {
    let line = trim_ending(line).strip_suffix(b")")?;
    let number = line.rsplit(|&b| b == b' ').next()?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

fn one_byte(text: &[u8]) -> Option<u8> {
    match text {
        [byte] => Some(*byte),
        _ => None,
    }
}

/// The last octets of two pieces of a line.
fn tail_of(tail: &[u8], bytes: &[u8]) -> Vec<u8> {
    let both = [tail, &bytes[bytes.len().saturating_sub(TAIL_LEN)..]].concat();
    both[both.len().saturating_sub(TAIL_LEN)..].to_vec()
}
