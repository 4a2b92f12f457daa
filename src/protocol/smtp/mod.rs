//! SMTP and submission (RFC 5321, 6409), with AUTH (4954), STARTTLS (3207), PIPELINING (2920) and CHUNKING (3030).
//!
//! Commands pass one by one and every reply is matched to its command, in order; what is answered here takes its turn among the
//! server's replies. DATA, AUTH and STARTTLS wait until no reply is outstanding: only then is it known who gets a copy, and what
//! the next bytes of the client are. The copy of a message begins before DATA (or the first BDAT) is forwarded; it is
//! prepared, on disk, before the bytes that end the message are; it is committed before the server's `250` reaches the client
//! and aborted where the server refuses.
//!
//! Never forwards the end of a message that could not be kept, nor what another server might take for one
//! ([`crate::protocol::dot`]). Where the server cannot be brought out of a message in any other way, the session ends: the
//! client's text is swallowed up to its end first, so that the client reads our answer. Ends the session with a reason when a
//! server answers what was not asked, or what cannot be an answer.
//!
//! Memory: one line of each side, 1,000 replies outstanding, one reply to EHLO, the recipients of a transaction.

mod address;
mod client;
mod command;
mod ehlo;
mod envelope;
mod message;
mod reply;
mod server;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::archive::{Folder, Owner};
use crate::config::{Keep, TlsMode};
use crate::protocol::line::LineBuffer;
use crate::protocol::{End, Farewell, Host, Protocol, Side};

use client::Input;
use envelope::Transaction;
use message::Chunking;
use server::{Asked, Collected, Pending};

/// Octets of a client's line, its ending included. RFC 4954 asks for 12,288 for AUTH; tokens have grown since.
const CLIENT_LINE_LEN_MAX: usize = 64 * 1024;
/// Replies outstanding, ours included. A client that is further ahead is held back.
const OUTSTANDING_MAX: usize = 1_000;

/// What a proxy's configuration says about its sessions.
#[derive(Clone, Debug)]
pub struct Settings {
    pub listen_tls: TlsMode,
    pub upstream_tls: TlsMode,
    /// The domain of a login, or of an envelope address, that names none.
    pub default_domain: String,
    pub keep: Keep,
    /// Lower case. Empty: all.
    pub local_domains: Vec<String>,
    /// Where the sender's copy goes.
    pub sent_folder: Folder,
    /// Our name in the EHLO that asks the server for STARTTLS, such as `[127.0.0.1]`.
    pub ehlo_name: String,
    /// Octets of a refused message that are swallowed at most, so that the client can read why it was refused.
    pub max_message_size: u64,
}

/// One SMTP session.
pub struct Smtp {
    settings: Settings,
    stage: Stage,
    /// The client has got the server's greeting, which was no refusal.
    server_greeted: bool,
    /// What the client's next bytes are.
    input: Input,
    client_line: LineBuffer,
    /// `client_line` is whole and waits for replies that are outstanding.
    line_waits: bool,
    /// The client had sent more than was taken when it was last heard.
    client_ahead: bool,
    /// The client will send no more.
    client_gone: bool,
    server_line: LineBuffer,
    /// The server's, kept for the client until the server's TLS is on.
    greeting: Vec<u8>,
    /// The lines so far of a reply that has to be seen whole.
    collected: Collected,
    /// The client has got a part of a reply.
    in_reply: bool,
    /// Oldest first. Never begins with an answer of ours: that would have been sent.
    pending: VecDeque<Pending>,
    /// The client's TLS was started by its STARTTLS.
    client_tls: bool,
    /// The client has said EHLO or HELO (since TLS).
    client_greeted: bool,
    login: Option<Owner>,
    /// Mechanisms, in upper case, that were taken out of the last reply to EHLO.
    hidden_mechanisms: Vec<Vec<u8>>,
    transaction: Transaction,
    /// The last command was a DATA, and was refused: a client that does not wait for the answer sends its message all the same.
    data_refused: bool,
    /// The message that comes by BDAT.
    chunking: Option<Chunking>,
}

/// How far the session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// STARTTLS with the server; the client is held back and has not been greeted.
    Upstream(Upstream),
    Open,
    /// The client was told to start its TLS.
    ClientHandshake,
    Ended,
}

/// What STARTTLS with the server waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upstream {
    Greeting,
    Ehlo,
    StartTls,
    Handshake,
}

impl Smtp {
    pub fn new(settings: Settings) -> Smtp {
        let starttls = settings.upstream_tls == TlsMode::StartTls;
        let (stage, pending) = if starttls {
            (Stage::Upstream(Upstream::Greeting), VecDeque::new())
        } else {
            (Stage::Open, VecDeque::from([Pending::Server(Asked::Greeting)]))
        };
        Smtp {
            settings,
            stage,
            server_greeted: false,
            input: Input::Command,
            client_line: LineBuffer::new(CLIENT_LINE_LEN_MAX),
            line_waits: false,
            client_ahead: false,
            client_gone: false,
            server_line: LineBuffer::new(reply::REPLY_LINE_LEN_MAX),
            greeting: Vec::new(),
            collected: Collected::default(),
            in_reply: false,
            pending,
            client_tls: false,
            client_greeted: false,
            login: None,
            hidden_mechanisms: Vec::new(),
            transaction: Transaction::none(),
            data_refused: false,
            chunking: None,
        }
    }

    /// Answers a client's command ourselves, when all that it asked before is answered.
    fn answer(&mut self, reply: impl Into<Vec<u8>>, host: &mut dyn Host) {
        if self.stage != Stage::Ended {
            self.pending.push_back(Pending::Local(reply.into()));
            self.send_due(host);
        }
    }

    /// Answers the client in its turn and ends the session. What the client sends until then is thrown away.
    fn answer_and_end(&mut self, reply: impl Into<Vec<u8>>, why: impl Into<String>, host: &mut dyn Host) {
        if self.stage == Stage::Ended {
            return;
        }
        self.drop_drafts(host);
        self.input = Input::Nothing;
        self.pending.push_back(Pending::End { reply: reply.into(), why: why.into() });
        self.send_due(host);
    }

    /// Sends our own answers that have come to the front.
    fn send_due(&mut self, host: &mut dyn Host) {
        while let Some(Pending::Local(_) | Pending::End { .. }) = self.pending.front() {
            match self.pending.pop_front() {
                Some(Pending::Local(reply)) => host.send(Side::Client, &reply),
                Some(Pending::End { reply, why }) => {
                    host.send(Side::Client, &reply);
                    self.end(End::Fault(why), host);
                }
                _ => {}
            }
        }
    }

    /// Ends the session with a last line for the client, where there is room for one.
    fn fault(&mut self, why: impl Into<String>, host: &mut dyn Host) {
        if let Some(line) = self.farewell(Farewell::Lost) {
            host.send(Side::Client, &line);
        }
        self.end(End::Fault(why.into()), host);
    }

    fn end(&mut self, end: End, host: &mut dyn Host) {
        self.drop_drafts(host);
        self.stage = Stage::Ended;
        // The drafts among them are prepared: the host commits them, for the server may have taken the message.
        self.pending.clear();
        self.client_line.clear();
        host.end(end);
    }

    /// Aborts what is half received. What is prepared is not.
    fn drop_drafts(&mut self, host: &mut dyn Host) {
        let chunked = self.chunking.as_mut().and_then(|chunking| chunking.draft.take());
        for draft in self.input.take_draft().into_iter().chain(chunked) {
            host.abort(draft);
        }
    }
}

impl Protocol for Smtp {
    fn input(&mut self, from: Side, bytes: &[u8], host: &mut dyn Host) -> usize {
        match from {
            Side::Client => self.client_input(bytes, host),
            Side::Server => self.server_input(bytes, host),
        }
    }

    fn eof(&mut self, from: Side, host: &mut dyn Host) {
        if self.stage == Stage::Ended {
            return;
        }
        match from {
            Side::Server => self.server_eof(host),
            Side::Client => self.client_eof(host),
        }
    }

    fn tls_started(&mut self, side: Side, host: &mut dyn Host) {
        match (side, self.stage) {
            (Side::Server, Stage::Upstream(Upstream::Handshake)) => {
                self.stage = Stage::Open;
                self.server_greeted = true;
                host.send(Side::Client, &std::mem::take(&mut self.greeting));
            }
            (Side::Client, Stage::ClientHandshake) => self.client_tls_started(host),
            _ => {}
        }
    }

    fn greeted(&self) -> bool {
        self.server_greeted
    }

    fn outstanding(&self) -> bool {
        match self.stage {
            Stage::Ended | Stage::ClientHandshake => false,
            Stage::Upstream(_) => true,
            Stage::Open => {
                self.line_waits || self.pending.iter().any(|one| !matches!(one, Pending::Server(Asked::OwnReset)))
            }
        }
    }

    fn awaits_server(&self) -> bool {
        self.outstanding() && !matches!(self.input, Input::Chunk(_))
    }

    fn farewell(&self, why: Farewell) -> Option<Vec<u8>> {
        // Behind `220 Ready to start TLS` the client reads TLS records, not lines.
        if self.in_reply || matches!(self.stage, Stage::Ended | Stage::ClientHandshake) {
            return None;
        }
        if let (Farewell::Lost, Some(reply)) = (why, self.input.refusal()) {
            return Some(reply.to_vec());
        }
        let text: &[u8] = match why {
            Farewell::Timeout => b"421 4.4.2 Nothing was said for too long, closing\r\n",
            Farewell::Silent => b"421 4.4.1 The mail server does not answer, try again later\r\n",
            Farewell::Shutdown => b"421 4.3.2 Service is shutting down, try again later\r\n",
            Farewell::Lost => b"421 4.4.1 The mail server cannot be reached any more, try again later\r\n",
            Farewell::NotKept => message::NOT_KEPT_CLOSING,
        };
        Some(text.to_vec())
    }
}

/// What a client is told that cannot be served now (RFC 5321, section 4.2.3): the text must be one line.
pub fn refusal(text: &str) -> Vec<u8> {
    format!("421 4.3.2 {text}\r\n").into_bytes()
}
