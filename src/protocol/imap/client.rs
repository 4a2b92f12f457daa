//! The client's stream: commands with their literals, SASL responses, DONE (RFC 9051, sections 2.2.1, 4.3, 6).
//!
//! A line is forwarded when it is complete, a literal's octets as they come. The client is held back where the meaning of what it
//! says next depends on the server: behind a synchronizing literal, in a SASL exchange, before STARTTLS, and before an APPEND whose
//! owner is not certain yet.

mod append;
mod hold;
mod judge;
mod side;

pub(super) use hold::Until;
pub(super) use side::{ClientSide, Command, Verdict};

use side::{Mode, Octets};

use super::command::{self, LineEnd, Literal, Part};
use super::items::Wants;
use super::{Imap, Kind, Phase};
use crate::protocol::{End, Host, Side};

/// Longest command without its messages, in octets: clients build UID sets of many kilobytes.
const COMMAND_LEN_MAX: usize = 1024 * 1024;
/// The same of somebody who is not logged in: names, passwords and tokens.
const STRANGERS_COMMAND_LEN_MAX: usize = 64 * 1024;

impl Imap {
    /// Bytes of the client; none to try again what was held back.
    pub(super) fn client_input(&mut self, bytes: &[u8], host: &mut dyn Host) -> usize {
        let mut at = 0;
        loop {
            if !matches!(self.phase, Phase::Running) {
                return at;
            }
            match self.client.mode {
                Mode::AwaitContinuation(..) | Mode::AwaitChallenge | Mode::Handshake => return at,
                Mode::Line | Mode::Sasl | Mode::Idle if self.server.owes_too_much() => return at,
                Mode::Literal { left, octets } => {
                    let take = left.min((bytes.len() - at) as u64) as usize;
                    if take == 0 && left > 0 {
                        return at;
                    }
                    let left = left - take as u64;
                    self.client.mode = Mode::Literal { left, octets };
                    self.literal_octets(&bytes[at..at + take], left == 0, octets, host);
                    at += take;
                }
                Mode::Line | Mode::Sasl | Mode::Idle => {
                    if !self.client.line_ready {
                        if at == bytes.len() {
                            return at;
                        }
                        let len_max = self.command_len_max();
                        self.client.line.set_len_max(len_max);
                        match self.client.line.feed(&bytes[at..]) {
                            Ok((taken, whole)) => {
                                at += taken;
                                self.client.line_ready = whole;
                            }
                            Err(_) => {
                                self.reply(b"* BAD the line is too long\r\n", host);
                                self.end(End::Fault(format!("the client sent a line over {len_max} octets")), host);
                                return bytes.len();
                            }
                        }
                        if !self.client.line_ready {
                            return at;
                        }
                    }
                    if !self.client_line(host) {
                        return at;
                    }
                    self.client.line.clear();
                    (self.client.line_ready, self.client.held) = (false, None);
                }
            }
        }
    }

    fn command_len_max(&self) -> usize {
        if self.login.is_some() { COMMAND_LEN_MAX } else { STRANGERS_COMMAND_LEN_MAX }
    }

    /// Deals with a whole line. False: not yet.
    fn client_line(&mut self, host: &mut dyn Host) -> bool {
        if self.is_still_held() {
            return false;
        }
        match self.client.mode {
            Mode::Sasl => self.sasl_line(host),
            // What is answered to us meanwhile may hold an EXPUNGE: the client has to be in a command.
            Mode::Idle if self.client.held_idle.is_some() && self.own.is_busy() => return false,
            Mode::Idle if self.client.line.text().eq_ignore_ascii_case(b"DONE") => {
                self.client.mode = Mode::Line;
                match self.client.held_idle.take() {
                    // The server ends it in its own words, and may say what it could not before.
                    Some(idle) => self.send_idle(&idle, true, host),
                    None => {
                        self.commands.idle_ends();
                        host.send(Side::Server, b"DONE\r\n");
                    }
                }
            }
            Mode::Idle => self.reply(b"* BAD only DONE may follow IDLE\r\n", host),
            _ if self.client.command.is_some() => return self.command_line(host),
            _ => return self.first_line(host),
        }
        true
    }

    fn sasl_line(&mut self, host: &mut dyn Host) {
        let line = self.client.line.text();
        let rejected = self.commands.exchange().and_then(|exchange| exchange.response(line).err());
        match rejected {
            Some(rejected) => {
                host.note(&format!("authentication cancelled: {}", rejected.0));
                host.send(Side::Server, b"*\r\n");
            }
            None => self.client.line.forward(Side::Server, host),
        }
        self.client.mode = Mode::AwaitChallenge;
    }

    fn first_line(&mut self, host: &mut dyn Host) -> bool {
        self.own.follow.disturb();
        self.client.holds_deletion = false;
        if self.commands.is_full() || self.own.is_busy() || self.commands.idle_is_to_end() {
            return false;
        }
        self.client.leaving = None;
        let line = self.client.line.text();
        let mut words = line.splitn(3, |&b| b == b' ');
        let tag = words.next().unwrap_or_default().to_vec();
        let mut name = words.next().unwrap_or_default().to_ascii_uppercase();
        if name == b"UID" {
            let sub = words.next().unwrap_or_default().split(|&b| b == b' ').next().unwrap_or_default();
            name = [b"UID ", sub.to_ascii_uppercase().as_slice()].concat();
        }
        let end = command::client_line_end(line);
        // A server that takes a tab for a blank would read another command than we do.
        let is_name = !name.is_empty() && name != b"UID " && !name.iter().any(|&b| matches!(b, b'\t' | 0x0b | 0x0c));
        let fault = if !command::is_tag(&tag) || !is_name {
            Some(&b"* BAD a tag and a command are expected\r\n"[..])
        } else if self.commands.has(&tag) {
            Some(&b"* BAD the tag of a command that is still in progress\r\n"[..])
        } else {
            None
        };
        if let Some(fault) = fault {
            self.reply(fault, host);
            if matches!(
                end,
                LineEnd::Literal(Literal { synchronizing: false, .. }) | LineEnd::Absurd { synchronizing: false }
            ) {
                self.end(End::Fault("the client sent a literal outside any command".to_string()), host);
            }
            return true;
        }
        let wants = match name.as_slice() {
            b"FETCH" | b"UID FETCH" => Wants::parse(line),
            _ => Wants::default(),
        };
        let goes_on = wants.chunk.is_some() || name == b"NOOP";
        self.own.avoid(&tag);
        if !goes_on && self.capture.chunks.has_downloads() {
            self.stop_downloads(true, host);
        }
        self.client.command = Some(Box::new(Command {
            tag,
            name,
            wants,
            parts: Vec::new(),
            size: 0,
            refusal: None,
            forwarded: false,
            mailbox: None,
            prepared: Vec::new(),
            open: None,
            exchange: None,
        }));
        let done = self.command_line(host);
        if !done {
            // Held: it is read again from its start.
            self.client.drop_command();
        }
        done
    }

    /// A line of the command in `self.client.command`. False: not yet, and nothing has changed.
    fn command_line(&mut self, host: &mut dyn Host) -> bool {
        let Some(mut command) = self.client.command.take() else { return true };
        #[cfg(test)]
        (self.client.lines_read += 1);
        let line = self.client.line.text();
        let end = command::client_line_end(line);
        let part = Part::text_of(line, end);
        command.size += part.cost();
        command.parts.push(part);
        let bad_byte = line.iter().any(|b| matches!(b, b'\r' | 0));
        let mut octets = Octets::Pass;
        let verdict = if command.refusal.is_some() {
            Verdict::Forward
        } else if bad_byte {
            Verdict::Refuse("BAD a command may not contain CR or NUL".to_string())
        } else if let LineEnd::Absurd { .. } = end {
            Verdict::Refuse("BAD the literal is too large, or none".to_string())
        } else if command.size > self.command_len_max() {
            Verdict::Refuse("BAD the command is too long".to_string())
        } else {
            self.judge(&mut command, end, &mut octets, host)
        };
        let mut rewritten = None;
        match verdict {
            Verdict::Hold(until) => {
                self.client.held = Some(until);
                command.size -= command.parts.pop().map_or(0, |part| part.cost());
                self.client.command = Some(command);
                return false;
            }
            Verdict::Forward => {}
            Verdict::Rewrite(line) => rewritten = Some(line),
            Verdict::Refuse(words) => {
                command.refusal = Some([&command.tag[..], b" ", words.as_bytes(), b"\r\n"].concat());
            }
            Verdict::Answer(lines) => command.refusal = Some(lines),
        }
        if command.refusal.is_some() {
            return self.refused_line(command, end, host);
        }
        if !command.forwarded {
            command.forwarded = true;
            self.commands.push(&command.tag);
        }
        match &rewritten {
            Some(line) => host.send(Side::Server, &[line, &b"\r\n"[..]].concat()),
            None => self.client.line.forward(Side::Server, host),
        }
        match end {
            LineEnd::Literal(literal) => {
                self.client.mode = match literal.synchronizing {
                    true => Mode::AwaitContinuation(literal, octets),
                    false => Mode::Literal { left: literal.len, octets },
                };
                self.client.command = Some(command);
            }
            _ => self.command_complete(command, host),
        }
        true
    }

    /// A command that is answered here: its literals are swallowed.
    fn refused_line(&mut self, mut command: Box<Command>, end: LineEnd, host: &mut dyn Host) -> bool {
        let refusal = command.refusal.clone().unwrap_or_default();
        let forwarded = command.forwarded;
        match end {
            LineEnd::Literal(literal) if !literal.synchronizing => {
                self.client.mode = Mode::Literal { left: literal.len, octets: Octets::Swallow };
                command.parts.iter_mut().for_each(Part::wipe);
                command.parts.clear();
                command.size = 0;
                self.client.command = Some(command);
                return true;
            }
            LineEnd::Absurd { synchronizing: false } => {
                self.reply(&refusal, host);
                command.discard(host);
                self.end(End::Fault("the client sent a literal whose length is none".to_string()), host);
                return true;
            }
            _ => self.reply(&refusal, host),
        }
        command.discard(host);
        if forwarded {
            // Its beginning went up: the server waits for the rest.
            self.end(End::Fault("a command had to be refused in its middle".to_string()), host);
        } else if self.client.mode == Mode::Handshake {
            host.start_tls(Side::Client);
        }
        true
    }

    /// All of a command has gone up: remember what its answer will mean.
    fn command_complete(&mut self, mut command: Box<Command>, host: &mut dyn Host) {
        let mut args = command.args();
        let mut mode = Mode::Line;
        let kind = match command.name.as_slice() {
            b"LOGIN" => Kind::Login { user: args.string(), password: args.last().filter(|_| host.learns()) },
            b"AUTHENTICATE" => {
                mode = Mode::AwaitChallenge;
                command.exchange.take().map_or(Kind::Other, Kind::Authenticate)
            }
            b"SELECT" | b"EXAMINE" => {
                let read_only = command.name == b"EXAMINE";
                args.string().map_or(Kind::Other, |mailbox| Kind::Select { mailbox, read_only })
            }
            b"CLOSE" | b"UNSELECT" => Kind::Unselect,
            b"FETCH" | b"UID FETCH" => {
                let wants = command.parts.iter().skip(1).fold(command.wants, |wants, part| match part {
                    Part::Text(text) => wants.and(Wants::parse(text)),
                    Part::Literal(_) => wants,
                });
                Kind::Fetch { wants, by_uid: command.name != b"FETCH", withheld: None }
            }
            b"IDLE" => {
                mode = Mode::Idle;
                Kind::Idle { begun: false, told: false, done: false }
            }
            b"LOGOUT" => Kind::Logout,
            _ if command.is_append() => Kind::Append(std::mem::take(&mut command.prepared)),
            _ => Kind::Other,
        };
        // Answered before its end: what was prepared for it is discarded already.
        let open = self.commands.set(&command.tag, kind);
        self.client.mode = if open { mode } else { Mode::Line };
        command.discard(host);
    }
}
