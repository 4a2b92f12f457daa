//! What becomes of a command's line: passed, rewritten, answered here, or held back.

use super::{Command, Mode, Octets, Until, Verdict};
use crate::config::TlsMode;
use crate::protocol::Host;
use crate::protocol::imap::command::LineEnd;
use crate::protocol::imap::follow::HeldIdle;
use crate::protocol::imap::{Imap, capability};
use crate::protocol::sasl::{Exchange, Mechanism};

impl Imap {
    /// Decides about a line, from what is known so far of its command.
    pub(super) fn judge(
        &mut self,
        command: &mut Command,
        end: LineEnd,
        octets: &mut Octets,
        host: &mut dyn Host,
    ) -> Verdict {
        let name = command.name.clone();
        if !self.client_secure && !matches!(name.as_slice(), b"CAPABILITY" | b"NOOP" | b"LOGOUT" | b"ID" | b"STARTTLS")
        {
            if matches!(name.as_slice(), b"LOGIN" | b"AUTHENTICATE") {
                host.login_failed("the client asked for it without STARTTLS");
            }
            return Verdict::Refuse("NO [PRIVACYREQUIRED] STARTTLS first".to_string());
        }
        if let LineEnd::Literal(_) = end {
            *octets = match name.as_slice() {
                b"LOGIN" | b"SELECT" | b"EXAMINE" | b"APPEND" | b"REPLACE" | b"UID REPLACE" => Octets::Argument,
                _ => Octets::Pass,
            };
        }
        let verdict = match name.as_slice() {
            // Judged by its first line: what follows a literal must not wait for what waits for it.
            _ if command.forwarded && !command.is_append() => Verdict::Forward,
            b"STARTTLS" => self.starttls(command, end),
            b"COMPRESS" | b"URLFETCH" | b"GENURLAUTH" | b"RESETKEY" | b"CONVERT" | b"UNAUTHENTICATE"
            | b"X-UNAUTHENTICATE" | b"PROXYAUTH" | b"XPROXYREUSE" | b"NOTIFY" => {
                Verdict::Refuse("BAD not available through MailStore".to_string())
            }
            b"AUTHENTICATE" => self.judge_authenticate(command, end, host),
            // Its octets would pass unread; no client says these so.
            b"ENABLE" if end != LineEnd::Plain => Verdict::Refuse("BAD ENABLE takes atoms".to_string()),
            b"ENABLE" => judge_enable(command),
            // What they name would go by unread.
            b"STORE" | b"UID STORE" | b"EXPUNGE" | b"UID EXPUNGE" | b"CLOSE" | b"LOGOUT" if end != LineEnd::Plain => {
                Verdict::Refuse("BAD a literal is not expected here".to_string())
            }
            b"MOVE" | b"UID MOVE" | b"REPLACE" | b"UID REPLACE" if command.args().string().is_none() => {
                Verdict::Refuse("BAD a sequence set is expected".to_string())
            }
            b"STORE" | b"UID STORE" | b"EXPUNGE" | b"UID EXPUNGE" | b"MOVE" | b"UID MOVE" => {
                self.judge_deletion(command, host)
            }
            b"DELETE" => self.judge_folder_deletion(command, host),
            // What is due is fetched first: what is to be expunged must not be left behind.
            b"CLOSE" if self.own.gate.is_none() => match self.judge_leaving(false, host) {
                Verdict::Forward => self.judge_deletion(command, host),
                verdict => verdict,
            },
            b"CLOSE" => self.judge_deletion(command, host),
            b"FETCH" | b"UID FETCH" => {
                let wants = command.wants;
                if self.commands.confuses(wants) { Verdict::Hold(Until::Told(wants)) } else { Verdict::Forward }
            }
            b"SELECT" | b"EXAMINE" | b"UNSELECT" => self.judge_leaving(false, host),
            b"LOGOUT" => self.judge_leaving(true, host),
            // What turns out to be due is fetched first: an IDLE is not broken.
            b"IDLE" if self.commands.message_is_coming() => Verdict::Hold(Until::NoMessage),
            b"IDLE" if end == LineEnd::Plain && self.holds_idle() => {
                self.client.mode = Mode::Idle;
                let line = [self.client.line.text(), b"\r\n"].concat();
                self.client.held_idle = Some(HeldIdle { tag: command.tag.clone(), line });
                Verdict::Answer(b"+ idling\r\n".to_vec())
            }
            b"REPLACE" | b"UID REPLACE" if !command.forwarded => match self.judge_deletion(command, host) {
                Verdict::Forward => self.judge_append(command, end, octets, host),
                verdict => verdict,
            },
            b"APPEND" | b"REPLACE" | b"UID REPLACE" => self.judge_append(command, end, octets, host),
            _ => Verdict::Forward,
        };
        match (end, &verdict) {
            (LineEnd::Literal(literal), Verdict::Forward)
                if *octets == Octets::Argument && literal.len > (self.command_len_max() - command.size) as u64 =>
            {
                Verdict::Refuse("BAD the literal is too long".to_string())
            }
            _ => verdict,
        }
    }

    /// The client leaves the mailbox, or `for_good` the server: what it has got in parts is kept first.
    fn judge_leaving(&mut self, for_good: bool, host: &mut dyn Host) -> Verdict {
        if self.may_leave(for_good, host) {
            return Verdict::Forward;
        }
        self.client.leaving = Some(for_good);
        Verdict::Hold(match self.commands.message_is_coming() {
            true => Until::NoMessage,
            false => Until::MayLeave { for_good, commands: self.own.commands_sent() },
        })
    }

    fn starttls(&mut self, command: &Command, end: LineEnd) -> Verdict {
        if self.settings.listen_tls != TlsMode::StartTls || self.client_secure {
            return Verdict::Refuse("BAD STARTTLS is not offered".to_string());
        }
        if end != LineEnd::Plain || !command.args().remaining_text().is_empty() {
            return Verdict::Refuse("BAD STARTTLS takes no arguments".to_string());
        }
        if !self.commands.list.is_empty() || self.server.is_midway() {
            return Verdict::Hold(Until::Quiet);
        }
        self.client.mode = Mode::Handshake;
        Verdict::Answer([&command.tag[..], b" OK begin TLS now\r\n"].concat())
    }

    fn judge_authenticate(&mut self, command: &mut Command, end: LineEnd, host: &mut dyn Host) -> Verdict {
        let mut args = command.args();
        let name = args.string().unwrap_or_default();
        let Some(mechanism) = Mechanism::parse(&name) else {
            host.login_failed("a mechanism that is not available through MailStore");
            return Verdict::Refuse("NO this authentication mechanism is not available through MailStore".to_string());
        };
        if end != LineEnd::Plain {
            // Its octets would pass unread.
            return Verdict::Refuse("BAD an initial response is no literal".to_string());
        }
        let mut exchange = Exchange::new(mechanism).learning(host.learns());
        let initial = args.string().map_or(Ok(()), |mut base64| {
            let judged = exchange.initial_response(&base64);
            base64.fill(0);
            std::hint::black_box(&base64);
            judged
        });
        match initial {
            Err(rejected) => {
                host.login_failed(rejected.0);
                Verdict::Refuse(format!("NO [AUTHENTICATIONFAILED] {}", rejected.0))
            }
            Ok(()) => {
                command.exchange = Some(exchange);
                Verdict::Forward
            }
        }
    }
}

/// Without the extensions that are hidden; answered here where none is left.
fn judge_enable(command: &Command) -> Verdict {
    let mut args = command.args();
    let mut names = Vec::new();
    while let Some(name) = args.string() {
        names.push(name);
    }
    let allowed: Vec<&[u8]> = names.iter().map(Vec::as_slice).filter(|name| !capability::is_hidden(name)).collect();
    if allowed.len() == names.len() {
        return Verdict::Forward;
    }
    if allowed.is_empty() {
        return Verdict::Answer([b"* ENABLED\r\n", &command.tag[..], b" OK nothing to enable\r\n"].concat());
    }
    Verdict::Rewrite([&command.tag[..], b" ENABLE ", &allowed.join(&b' ')].concat())
}
