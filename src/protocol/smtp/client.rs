//! What the client says: commands, the lines of a SASL exchange, and its STARTTLS. Messages are in [`super::message`].

use super::address::{self, Path};
use super::command::{self, Verb};
use super::envelope::{self, Party};
use super::message::{Chunk, Data, TEXT_BEHIND};
use super::server::{Asked, Pending};
use super::{CLIENT_LINE_LEN_MAX, OUTSTANDING_MAX, Smtp, Stage};
use crate::archive::Owner;
use crate::config::TlsMode;
use crate::logging::escape;
use crate::protocol::line::{LineBuffer, trim_ending};
use crate::protocol::sasl::{Exchange, Mechanism, Rejected};
use crate::protocol::{DraftId, End, Host, Side, logged_in};

/// What the client's next bytes are.
pub(super) enum Input {
    Command,
    /// A line of this exchange, once the server has answered.
    Sasl(Sasl),
    /// DATA was forwarded: nothing is taken before the server has answered.
    DataAsked {
        draft: Option<DraftId>,
    },
    Data(Data),
    Chunk(Chunk),
    /// QUIT was forwarded: nothing is taken any more.
    Quit,
    /// Whatever comes is thrown away: the session ends with the replies that are outstanding.
    Nothing,
}

/// An AUTH under way.
pub(super) struct Sasl {
    pub(super) exchange: Exchange,
    /// We told the server to give it up.
    pub(super) cancelled: bool,
}

impl Input {
    /// Takes the draft away from a message that is under way.
    pub(super) fn take_draft(&mut self) -> Option<DraftId> {
        match self {
            Input::DataAsked { draft } => draft.take(),
            Input::Data(data) => data.draft.take(),
            _ => None,
        }
    }

    /// What the client will be told at the end of the message that is swallowed.
    pub(super) fn refusal(&self) -> Option<&[u8]> {
        match self {
            Input::Data(data) => data.refusal(),
            Input::Chunk(chunk) => chunk.refusal(),
            _ => None,
        }
    }
}

impl Smtp {
    pub(super) fn client_input(&mut self, bytes: &[u8], host: &mut dyn Host) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            match self.client_step(&bytes[at..], host) {
                Some(taken) => at += taken,
                None => break,
            }
        }
        self.client_ahead = at < bytes.len();
        at
    }

    /// Takes some bytes (possibly none, but then something else has moved), or none because the client is held back.
    fn client_step(&mut self, bytes: &[u8], host: &mut dyn Host) -> Option<usize> {
        match self.stage {
            _ if self.client_gone => return Some(bytes.len()),
            Stage::Ended => return Some(bytes.len()),
            Stage::Upstream(_) | Stage::ClientHandshake => return None,
            Stage::Open => {}
        }
        match self.input {
            Input::Nothing => Some(bytes.len()),
            Input::DataAsked { .. } | Input::Quit => None,
            Input::Data(_) => Some(self.data_input(bytes, host)),
            Input::Chunk(_) => Some(self.chunk_input(bytes, host)),
            Input::Command | Input::Sasl(_) => {
                if self.line_waits || self.pending.len() >= OUTSTANDING_MAX {
                    return None;
                }
                let Ok((taken, whole)) = self.client_line.feed(bytes) else {
                    self.client_line.clear();
                    self.answer_and_end(
                        b"500 5.5.2 Line too long\r\n",
                        format!("the client sent a line of more than {CLIENT_LINE_LEN_MAX} bytes"),
                        host,
                    );
                    return Some(bytes.len());
                };
                if whole {
                    self.line_waits = true;
                    self.run_line(host);
                }
                Some(taken)
            }
        }
    }

    /// Runs the client's line that is whole, unless it has to wait for replies.
    pub(super) fn run_line(&mut self, host: &mut dyn Host) {
        if !self.line_waits || self.stage != Stage::Open || !self.may_run() {
            return;
        }
        self.line_waits = false;
        // Taken out, not copied: it may hold a credential, which `clear` overwrites.
        let mut line = std::mem::replace(&mut self.client_line, LineBuffer::new(CLIENT_LINE_LEN_MAX));
        let ambiguous = line.text().iter().any(|b| matches!(b, b'\r' | 0));
        match self.input {
            Input::Sasl(_) => self.sasl_line(&line, ambiguous, host),
            // Others may take a bare CR, or a NUL, for the line's end: what follows would be a command that we do not see.
            _ if ambiguous => self.answer(b"500 5.5.2 Bare CR or NUL in a command\r\n", host),
            _ => self.command(&line, host),
        }
        line.clear();
        if self.client_line.is_empty() {
            self.client_line = line;
        }
    }

    /// Whether no reply is outstanding that the line has to wait for.
    fn may_run(&self) -> bool {
        if self.pending.is_empty() || matches!(self.input, Input::Sasl(_)) {
            return self.pending.is_empty();
        }
        match command::parse(self.client_line.text()).0 {
            Verb::Auth | Verb::Data | Verb::StartTls => false,
            // The first chunk of a message waits to know who gets a copy; the others need not.
            Verb::Bdat => {
                let chunk_or_ours =
                    |one: &Pending| matches!(one, Pending::Server(Asked::Chunk { .. }) | Pending::Local(_));
                self.chunking.is_some() && self.pending.iter().all(chunk_or_ours)
            }
            _ => true,
        }
    }

    fn command(&mut self, line: &LineBuffer, host: &mut dyn Host) {
        let (verb, argument) = command::parse(line.text());
        match verb {
            Verb::Other if self.data_refused && argument.starts_with(b":") => {
                // A header field. In what follows are lines that somebody else wrote, and would have run as commands.
                return self.answer_and_end(b"503 5.5.1 DATA was refused\r\n", TEXT_BEHIND, host);
            }
            // There may be a line of another kind before the first field.
            Verb::Other | Verb::Empty => {}
            _ => self.data_refused = false,
        }
        match verb {
            Verb::Empty => self.answer(b"500 5.5.2 Empty command\r\n", host),
            Verb::Barred => {
                // Not what stands behind it, which may be a login in another dialect (X-EXPS).
                let line = line.text();
                let verb = line[..line.len() - argument.len()].trim_ascii_start().to_ascii_uppercase();
                host.note(&format!("refused the command {}", command::barred(&verb).unwrap_or_default()));
                self.answer(b"502 5.5.1 Command not implemented\r\n", host);
            }
            Verb::Lhlo => self.answer(b"500 5.5.1 This is SMTP, not LMTP\r\n", host),
            Verb::StartTls => self.starttls(argument, host),
            Verb::Mail | Verb::Auth if !self.client_greeted && self.client_tls => {
                self.answer(b"503 5.5.1 Send EHLO first\r\n", host);
            }
            Verb::Auth => self.auth(line, argument, host),
            Verb::Mail => self.mail(line, argument, host),
            Verb::Rcpt => self.rcpt(line, argument, host),
            Verb::Data => self.data(line, host),
            Verb::Bdat => self.bdat(line, argument, host),
            Verb::Ehlo | Verb::Helo => {
                self.client_greeted = true;
                self.ask(line, if verb == Verb::Ehlo { Asked::Ehlo } else { Asked::Reset }, host);
            }
            Verb::Rset => self.ask(line, Asked::Reset, host),
            Verb::Quit => {
                self.ask(line, Asked::Quit, host);
                self.input = Input::Quit;
            }
            Verb::Other => self.ask(line, Asked::Other, host),
        }
    }

    /// Forwards a line, with CRLF behind it whatever it came with, and remembers what its reply will mean.
    pub(super) fn ask(&mut self, line: &LineBuffer, asked: Asked, host: &mut dyn Host) {
        line.forward(Side::Server, host);
        self.pending.push_back(Pending::Server(asked));
    }

    /// The same with a line of ours, its ending included.
    pub(super) fn ask_ourselves(&mut self, line: &[u8], asked: Asked, host: &mut dyn Host) {
        host.send(Side::Server, line);
        self.pending.push_back(Pending::Server(asked));
    }

    fn mail(&mut self, line: &LineBuffer, argument: &[u8], host: &mut dyn Host) {
        let argument = address::parse("FROM", argument);
        let is_long = envelope::is_long(&argument.path);
        let sender = envelope::sender(argument.path, &self.settings);
        if sender == Path::Unreadable && self.login.is_none() && is_long {
            self.answer(b"501 5.1.7 Address too long\r\n", host);
        } else if sender == Path::Unreadable && self.login.is_none() {
            host.refused("a sender that servers read in different ways: 501");
            self.answer(b"501 5.1.7 Sender address not understood\r\n", host);
        } else {
            self.ask(line, Asked::Mail { sender, size: argument.size }, host);
        }
    }

    fn rcpt(&mut self, line: &LineBuffer, argument: &[u8], host: &mut dyn Host) {
        let recipient = Party::recipient(argument, &self.settings);
        if recipient == Party::Unreadable {
            host.refused("a recipient that servers read in different ways: 501");
            self.answer(b"501 5.1.3 Recipient address not understood\r\n", host);
        } else if recipient.too_long() {
            self.answer(b"501 5.1.3 Address too long\r\n", host);
        } else if recipient != Party::Nobody && self.transaction.full() {
            self.answer(b"452 4.5.3 Too many recipients\r\n", host);
        } else {
            self.ask(line, Asked::Rcpt(recipient), host);
        }
    }

    fn auth(&mut self, line: &LineBuffer, argument: &[u8], host: &mut dyn Host) {
        if self.tls_missing() {
            host.login_failed("the client asked for it without STARTTLS");
            return self.answer(b"530 5.7.0 Must issue a STARTTLS command first\r\n", host);
        }
        let mut words = argument.split(|b| matches!(b, b' ' | b'\t')).filter(|word| !word.is_empty());
        let (Some(name), initial, None) = (words.next(), words.next(), words.next()) else {
            return self.answer(b"501 5.5.4 Syntax: AUTH mechanism [initial-response]\r\n", host);
        };
        let hidden = self.hidden_mechanisms.contains(&name.to_ascii_uppercase());
        let Some(mechanism) = Mechanism::parse(name).filter(|_| !hidden) else {
            // A word that the server did not offer might be a credential in the wrong place.
            let shown = if hidden { escape(name) } else { "one that is not offered".into() };
            host.login_failed(&format!("mechanism refused: {shown}"));
            return self.answer(b"504 5.5.4 Authentication mechanism not supported\r\n", host);
        };
        let mut exchange = Exchange::new(mechanism).learning(host.learns());
        if let Some(Err(Rejected(why))) = initial.map(|initial| exchange.initial_response(initial)) {
            host.login_failed(why);
            return self.answer(format!("535 5.7.8 Authentication refused: {why}\r\n"), host);
        }
        self.input = Input::Sasl(Sasl { exchange, cancelled: false });
        self.ask(line, Asked::Auth, host);
    }

    fn sasl_line(&mut self, line: &LineBuffer, ambiguous: bool, host: &mut dyn Host) {
        let Input::Sasl(sasl) = &mut self.input else { return };
        let read = match ambiguous {
            true => Err(Rejected("bare CR or NUL in the line")),
            false => sasl.exchange.response(line.text()),
        };
        match read {
            Ok(()) => self.ask(line, Asked::Auth, host),
            Err(Rejected(why)) => {
                // The server's answer to the cancelling is the client's answer too (RFC 4954, section 4: 501).
                sasl.cancelled = true;
                host.note(&format!("cancelled a login: {why}"));
                self.ask_ourselves(b"*\r\n", Asked::Auth, host);
            }
        }
    }

    /// STARTTLS is offered and has not been used: there is no login before it.
    pub(super) fn tls_missing(&self) -> bool {
        self.settings.listen_tls == TlsMode::StartTls && !self.client_tls
    }

    fn starttls(&mut self, argument: &[u8], host: &mut dyn Host) {
        if !trim_ending(argument).trim_ascii().is_empty() {
            self.answer(b"501 5.5.4 Syntax: STARTTLS\r\n", host);
        } else if self.settings.listen_tls == TlsMode::None {
            self.answer(b"502 5.5.1 STARTTLS is not offered\r\n", host);
        } else if !self.tls_missing() {
            self.answer(b"503 5.5.1 TLS is on already\r\n", host);
        } else {
            self.drop_drafts(host);
            host.send(Side::Client, b"220 2.0.0 Ready to start TLS\r\n");
            self.stage = Stage::ClientHandshake;
            host.start_tls(Side::Client);
        }
    }

    /// Nothing that the client said before counts (RFC 3207, section 4.2); the server, who knows nothing of this, has to
    /// forget a transaction too.
    pub(super) fn client_tls_started(&mut self, host: &mut dyn Host) {
        self.stage = Stage::Open;
        self.client_tls = true;
        self.client_greeted = false;
        self.hidden_mechanisms.clear();
        let open = self.transaction.open || self.chunking.is_some();
        self.forget_transaction(host);
        if open {
            self.ask_ourselves(b"RSET\r\n", Asked::OwnReset, host);
        }
    }

    /// The client will send no more: what it has begun cannot be completed; what it waits for still comes.
    pub(super) fn client_eof(&mut self, host: &mut dyn Host) {
        self.client_gone = true;
        self.client_line.clear();
        self.line_waits = false;
        match (self.stage, &self.input) {
            (Stage::Open, input) if input.refusal().is_some() => self.end_refused(host),
            (Stage::Open, Input::Data(_) | Input::Chunk(_) | Input::DataAsked { .. }) => {
                self.end(End::Fault("the client closed in the middle of a message".into()), host);
            }
            (Stage::Open, _) => self.drop_drafts(host),
            _ => self.end(End::Orderly("the client closed"), host),
        }
    }

    /// The server accepted this login.
    pub(super) fn set_login(&mut self, mut exchange: Exchange, host: &mut dyn Host) {
        let password = exchange.take_password();
        self.login = exchange.identity().map(|name| Owner::new(name, &self.settings.default_domain));
        match (exchange.identity(), &self.login) {
            (Some(name), Some(owner)) => logged_in(name, owner, password, host),
            _ => host.note("a login succeeded that named nobody: the envelope decides who gets a copy"),
        }
    }
}
