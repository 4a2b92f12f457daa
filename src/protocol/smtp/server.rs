//! What the server says: every reply belongs to the oldest command without one.

use super::address::Path;
use super::client::Input;
use super::ehlo::{self, Offer};
use super::envelope::{Party, Transaction};
use super::message::{Data, TEXT_BEHIND};
use super::reply::{self, Code, REPLY_LINE_LEN_MAX, ReplyLine};
use super::{Smtp, Stage, Upstream};
use crate::logging::quote;
use crate::protocol::line::{LineBuffer, trim_ending};
use crate::protocol::{DraftId, End, Host, Side};

/// Lines of a reply that is seen as a whole (EHLO's, and those before the server's TLS).
const COLLECTED_LINES_MAX: usize = 256;
/// Octets of such a reply.
const COLLECTED_SIZE_MAX: usize = 64 * 1024;

/// What comes next in the order of replies.
pub(super) enum Pending {
    /// The server's reply.
    Server(Asked),
    /// Our own.
    Local(Vec<u8>),
    /// Our own and last one.
    End { reply: Vec<u8>, why: String },
}

/// What the server was asked, and what its reply will mean.
pub(super) enum Asked {
    Greeting,
    Ehlo,
    /// HELO or RSET: forgets the transaction when it succeeds.
    Reset,
    Mail {
        sender: Path,
        size: Option<u64>,
    },
    Rcpt(Party),
    Data,
    /// The end of a message under DATA; its draft is prepared.
    Message {
        draft: Option<DraftId>,
    },
    /// A BDAT. With `last` and `whole` the message's end was forwarded, its draft is prepared.
    Chunk {
        last: bool,
        whole: bool,
        draft: Option<DraftId>,
    },
    /// AUTH, or a line of its exchange.
    Auth,
    Quit,
    /// A RSET of ours: the client does not see the reply.
    OwnReset,
    Other,
}

/// Lines of a reply.
#[derive(Default)]
pub(super) struct Collected {
    lines: Vec<Vec<u8>>,
    size: usize,
}

impl Collected {
    /// Adds a line; false where it is one too many.
    fn push(&mut self, line: &[u8]) -> bool {
        self.size += line.len();
        self.lines.push(line.to_vec());
        self.lines.len() <= COLLECTED_LINES_MAX && self.size <= COLLECTED_SIZE_MAX
    }

    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        self.size = 0;
        std::mem::take(&mut self.lines)
    }
}

impl Smtp {
    pub(super) fn server_input(&mut self, bytes: &[u8], host: &mut dyn Host) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            match self.stage {
                Stage::Ended => return bytes.len(),
                Stage::ClientHandshake | Stage::Upstream(Upstream::Handshake) => return at,
                Stage::Upstream(_) | Stage::Open => {}
            }
            if self.input.refusal().is_some() && self.pending.is_empty() {
                // It is in the middle of a message that it will never see the end of: nothing it says matters to the client.
                return bytes.len();
            }
            let Ok((taken, whole)) = self.server_line.feed(&bytes[at..]) else {
                self.fault(format!("the server sent a line of more than {REPLY_LINE_LEN_MAX} bytes"), host);
                return bytes.len();
            };
            at += taken;
            if whole {
                let line = std::mem::replace(&mut self.server_line, LineBuffer::new(REPLY_LINE_LEN_MAX));
                self.server_said(line.raw(), host);
                self.server_line = line;
                self.server_line.clear();
                self.run_line(host);
            }
        }
        at
    }

    /// The server will send no more. The host tells the client where it waits for a reply; what is known here alone is that
    /// it may also be in the middle of saying something.
    pub(super) fn server_eof(&mut self, host: &mut dyn Host) {
        match self.input {
            Input::Command | Input::Quit => self.drop_drafts(host),
            _ if self.input.refusal().is_some() => self.end_refused(host),
            _ => self.fault("the server closed the connection in the middle of an exchange", host),
        }
    }

    fn server_said(&mut self, line: &[u8], host: &mut dyn Host) {
        let Some(reply) = ReplyLine::parse(trim_ending(line)) else {
            let why = match self.stage {
                Stage::Open if !matches!(self.pending.front(), Some(Pending::Server(Asked::Greeting))) => {
                    "the server sent a line that is no reply".to_owned()
                }
                // Nothing has been said to it that it could repeat.
                _ => format!("this is no SMTP server: it says {}", quote(line)),
            };
            return self.fault(why, host);
        };
        if let Stage::Upstream(waits_for) = self.stage {
            return self.upstream_said(waits_for, reply, line, host);
        }
        match self.pending.front() {
            None => self.unasked(reply, line, host),
            Some(Pending::Server(Asked::Ehlo)) => {
                if !self.collected.push(line) {
                    return self.fault("the server's reply to EHLO is too long", host);
                }
                if reply.last {
                    self.pending.pop_front();
                    self.ehlo_answered(reply.code, host);
                    self.send_due(host);
                }
            }
            Some(Pending::Server(Asked::OwnReset)) if !reply.last => {}
            Some(_) if !reply.last => {
                self.in_reply = true;
                host.send(Side::Client, line);
            }
            Some(_) => {
                if let Some(Pending::Server(asked)) = self.pending.pop_front() {
                    self.answered(asked, reply.code, line, host);
                    self.in_reply = false;
                    self.send_due(host);
                }
            }
        }
    }

    /// The last line of the reply to what was asked. Every path sends the line, or ends the session.
    fn answered(&mut self, asked: Asked, code: Code, line: &[u8], host: &mut dyn Host) {
        if code.intermediate() && !matches!(asked, Asked::Data | Asked::Auth) {
            // It would take what follows for a message's text.
            return self.fault(format!("the server asked for more where there is none: {}", reply::codes(line)), host);
        }
        match asked {
            // It has heard nothing yet that it could repeat.
            Asked::Greeting if code.positive() => self.server_greeted = true,
            Asked::Greeting if code.negative() => host.refused(&format!("the server greets with {}", quote(line))),
            _ if code == Code(421) => host.refused(&format!("the server leaves: {}", reply::codes(line))),
            _ => {}
        }
        match asked {
            Asked::Data => return self.data_answered(code, line, host),
            Asked::Auth => return self.auth_answered(code, line, host),
            Asked::OwnReset => return self.own_reset_answered(code, line, host),
            Asked::Chunk { last: true, whole: false, .. } if code.positive() => {
                return self.fault("the server accepted a message before its end", host);
            }
            Asked::Message { draft } | Asked::Chunk { last: true, draft, .. } => {
                self.message_answered(draft, code, host)
            }
            Asked::Chunk { last: false, .. } if code.negative() => self.chunk_refused(host),
            Asked::Reset if code.positive() => self.forget_transaction(host),
            Asked::Mail { sender, size } if code.positive() => {
                self.forget_transaction(host);
                self.transaction = Transaction::begun(sender, size);
                host.taken_in();
            }
            Asked::Rcpt(recipient) if code.positive() => self.transaction.accept(recipient),
            Asked::Quit if code.positive() => {
                host.send(Side::Client, line);
                return self.end(End::Orderly("QUIT"), host);
            }
            Asked::Quit => self.input = Input::Command,
            _ => {}
        }
        host.send(Side::Client, line);
    }

    /// The fate of a message whose end was forwarded. (Or, under BDAT, of one refused before that.)
    fn message_answered(&mut self, draft: Option<DraftId>, code: Code, host: &mut dyn Host) {
        if code.positive() {
            if let Some(draft) = draft {
                host.commit(draft);
            }
            if self.is_a_strangers() {
                host.not_kept("the server accepted a message of which it had accepted neither login nor recipient");
            }
            if self.transaction.unreadable(self.login.as_ref()) {
                host.not_kept("a message was accepted for an address that could not be read, and no copy went there");
            }
        } else if let Some(draft) = draft {
            host.abort(draft);
        }
        self.forget_transaction(host);
    }

    fn data_answered(&mut self, code: Code, line: &[u8], host: &mut dyn Host) {
        let draft = self.input.take_draft();
        if !code.negative() {
            // Some clients take 250 for 354, and send: better to take their text for what it is.
            self.input = Input::Data(Data::new(draft));
            return host.send(Side::Client, line);
        }
        self.input = Input::Command;
        if let Some(draft) = draft {
            host.abort(draft);
        }
        host.send(Side::Client, line);
        self.data_refused = true;
        if self.client_ahead {
            self.end(End::Fault(TEXT_BEHIND.into()), host);
        }
    }

    fn auth_answered(&mut self, code: Code, line: &[u8], host: &mut dyn Host) {
        let Input::Sasl(mut sasl) = std::mem::replace(&mut self.input, Input::Command) else { return };
        if sasl.cancelled && !code.negative() {
            return self.fault("the server went on with a login that was cancelled", host);
        }
        if code.intermediate() {
            sasl.exchange.challenge(reply::text(trim_ending(line)));
            self.input = Input::Sasl(sasl);
        } else if code.positive() {
            self.set_login(sasl.exchange, host);
        } else {
            host.login_failed(&format!("the server refused it: {}", reply::codes(line)));
        }
        host.send(Side::Client, line);
    }

    fn own_reset_answered(&mut self, code: Code, line: &[u8], host: &mut dyn Host) {
        if code.positive() {
            self.forget_transaction(host);
        } else {
            self.fault(format!("the server refused RSET: {}", reply::codes(line)), host);
        }
    }

    fn ehlo_answered(&mut self, code: Code, host: &mut dyn Host) {
        let lines = self.collected.take();
        if !code.positive() {
            if code.intermediate() {
                return self.fault("the server asked for more where there is none", host);
            }
            return host.send(Side::Client, &lines.concat());
        }
        self.forget_transaction(host);
        let tls_missing = self.tls_missing();
        let filtered = ehlo::filter(&lines, Offer { starttls: tls_missing, auth: !tls_missing });
        self.hidden_mechanisms = filtered.hidden;
        host.send(Side::Client, &filtered.bytes);
    }

    /// A reply to nothing: the server is leaving, or has lost its place.
    fn unasked(&mut self, reply: ReplyLine, line: &[u8], host: &mut dyn Host) {
        let shown = reply::codes(line);
        if !reply.code.negative() {
            return self.fault(format!("the server answered what was not asked: {shown}"), host);
        }
        host.send(Side::Client, line);
        self.in_reply = !reply.last;
        if reply.last {
            self.end(End::Fault(format!("the server ended the session: {shown}")), host);
        }
    }

    /// STARTTLS with the server: its greeting is kept for the client until TLS is on.
    fn upstream_said(&mut self, waits_for: Upstream, reply: ReplyLine, line: &[u8], host: &mut dyn Host) {
        if !self.collected.push(line) {
            return self.fault("the server's reply is too long", host);
        }
        if !reply.last {
            return;
        }
        let lines = self.collected.take();
        let shown = quote(line);
        match waits_for {
            Upstream::Greeting if reply.code.positive() => {
                self.greeting = lines.concat();
                host.send(Side::Server, format!("EHLO {}\r\n", self.settings.ehlo_name).as_bytes());
                self.stage = Stage::Upstream(Upstream::Ehlo);
            }
            Upstream::Greeting => {
                host.send(Side::Client, &lines.concat());
                host.send(Side::Server, b"QUIT\r\n");
                self.end(End::Fault(format!("the server refused the session: {shown}")), host);
            }
            Upstream::Ehlo if reply.code.positive() && ehlo::offers_starttls(&lines) => {
                host.send(Side::Server, b"STARTTLS\r\n");
                self.stage = Stage::Upstream(Upstream::StartTls);
            }
            Upstream::Ehlo => self.upstream_without_tls("the server does not offer STARTTLS".into(), host),
            Upstream::StartTls if reply.code.positive() => {
                self.stage = Stage::Upstream(Upstream::Handshake);
                host.start_tls(Side::Server);
            }
            Upstream::StartTls => self.upstream_without_tls(format!("the server refused STARTTLS: {shown}"), host),
            Upstream::Handshake => {}
        }
    }

    fn upstream_without_tls(&mut self, why: String, host: &mut dyn Host) {
        host.send(Side::Client, b"421 4.7.0 The mail server does not start TLS, try again later\r\n");
        host.send(Side::Server, b"QUIT\r\n");
        self.end(End::Fault(why), host);
    }
}
