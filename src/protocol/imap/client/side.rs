//! What is known of the client's stream: where in it we are, and the command that is being read.

use super::{COMMAND_LEN_MAX, Until};
use crate::protocol::imap::command::{Args, Literal, Part};
use crate::protocol::imap::follow::HeldIdle;
use crate::protocol::imap::items::Wants;
use crate::protocol::line::LineBuffer;
use crate::protocol::sasl::Exchange;
use crate::protocol::{DraftId, Host};

pub(in crate::protocol::imap) struct ClientSide {
    pub(super) mode: Mode,
    pub(super) line: LineBuffer,
    /// `line` is whole and waits to be dealt with.
    pub(super) line_ready: bool,
    /// In a box: most of the time there is none.
    pub(super) command: Option<Box<Command>>,
    /// The line that waits may delete a message that is on its way.
    pub(in crate::protocol::imap) holds_deletion: bool,
    /// What it waits for, where it was read and held back.
    pub(super) held: Option<Until>,
    /// How often a line was read.
    #[cfg(test)]
    pub(in crate::protocol::imap) lines_read: usize,
    /// The line that waits leaves the mailbox; true: for good, by LOGOUT.
    pub(in crate::protocol::imap) leaving: Option<bool>,
    /// The client is in IDLE, and the server does not know yet.
    pub(in crate::protocol::imap) held_idle: Option<HeldIdle>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mode {
    /// Reads a command's line.
    Line,
    /// The server has to ask for the literal first.
    AwaitContinuation(Literal, Octets),
    Literal {
        left: u64,
        octets: Octets,
    },
    /// The server has to speak first in a SASL exchange.
    AwaitChallenge,
    Sasl,
    Idle,
    /// STARTTLS was answered.
    Handshake,
}

/// What becomes of a literal's octets.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Octets {
    /// An argument that has to be read.
    Argument,
    /// An argument that only passes.
    Pass,
    /// Of a command that is refused.
    Swallow,
    /// A message; without a draft where it is not kept.
    Message(Option<DraftId>),
}

/// A command being read.
pub(in crate::protocol::imap) struct Command {
    pub(in crate::protocol::imap) tag: Vec<u8>,
    /// In upper case, `UID FETCH` as such.
    pub(in crate::protocol::imap) name: Vec<u8>,
    /// What its first line asks for, if it is a FETCH.
    pub(super) wants: Wants,
    pub(super) parts: Vec<Part>,
    /// What `parts` take.
    pub(super) size: usize,
    /// Set: nothing of it is forwarded, and this is the answer at its end.
    pub(super) refusal: Option<Vec<u8>>,
    pub(super) forwarded: bool,
    pub(super) mailbox: Option<Vec<u8>>,
    /// Messages going up, each whole and prepared.
    pub(super) prepared: Vec<DraftId>,
    /// The message whose octets are coming.
    pub(super) open: Option<DraftId>,
    /// Of an AUTHENTICATE, with its initial response.
    pub(super) exchange: Option<Exchange>,
}

/// What to do with a command's line.
pub(in crate::protocol::imap) enum Verdict {
    Forward,
    /// Forward this instead.
    Rewrite(Vec<u8>),
    /// Answer with these words behind the tag.
    Refuse(String),
    /// Answer with these lines.
    Answer(Vec<u8>),
    /// Not yet.
    Hold(Until),
}

impl ClientSide {
    pub(in crate::protocol::imap) fn release(&mut self) {
        self.line.release();
    }

    pub(in crate::protocol::imap) fn new() -> ClientSide {
        ClientSide {
            mode: Mode::Line,
            line: LineBuffer::new(COMMAND_LEN_MAX),
            line_ready: false,
            command: None,
            holds_deletion: false,
            held: None,
            #[cfg(test)]
            lines_read: 0,
            leaving: None,
            held_idle: None,
        }
    }

    /// The client has said already that a message be deleted which is on its way.
    pub(in crate::protocol::imap) fn holds_deletion(&self) -> bool {
        self.line_ready && self.holds_deletion
    }

    /// STARTTLS was answered: the client reads TLS records from here on.
    pub(in crate::protocol::imap) fn is_in_handshake(&self) -> bool {
        self.mode == Mode::Handshake
    }

    /// TLS is there.
    pub(in crate::protocol::imap) fn resume(&mut self) {
        self.mode = Mode::Line;
    }

    /// The client has said nothing that is not dealt with, and may begin a command or sit in an IDLE that only we know of.
    pub(in crate::protocol::imap) fn is_between_commands(&self) -> bool {
        let mode = self.mode == Mode::Line || self.mode == Mode::Idle && self.held_idle.is_some();
        mode && self.command.is_none() && self.line.is_empty()
    }

    /// A whole line waits for the server.
    pub(in crate::protocol::imap) fn line_waits(&self) -> bool {
        self.line_ready
    }

    /// The client has said half a command, and nothing of that waits.
    pub(in crate::protocol::imap) fn is_midway(&self) -> bool {
        let midway = self.command.is_some() || matches!(self.mode, Mode::Sasl | Mode::AwaitChallenge);
        midway && !self.line_ready
    }

    /// Whether the server, or the client itself, has to speak before the command that is half said goes on; none where there is none.
    pub(in crate::protocol::imap) fn awaits_server(&self) -> Option<bool> {
        match self.mode {
            Mode::AwaitContinuation(..) | Mode::AwaitChallenge => Some(true),
            Mode::Literal { .. } | Mode::Sasl | Mode::Handshake => Some(false),
            Mode::Line | Mode::Idle => (self.command.is_some() && !self.line_ready).then_some(false),
        }
    }

    /// No more will come. Whether a command was half said.
    pub(in crate::protocol::imap) fn abandon(&mut self, host: &mut dyn Host) -> bool {
        let open = self.command.take();
        self.line.clear();
        (self.line_ready, self.held) = (false, None);
        let midway = open.is_some() || matches!(self.mode, Mode::Sasl | Mode::AwaitChallenge);
        if let Some(command) = open {
            command.discard(host);
        }
        self.mode = Mode::Line;
        midway
    }

    /// The server asks for a literal or a SASL response.
    pub(in crate::protocol::imap) fn continuation(&mut self) {
        match self.mode {
            Mode::AwaitContinuation(literal, octets) => self.mode = Mode::Literal { left: literal.len, octets },
            Mode::AwaitChallenge => self.mode = Mode::Sasl,
            _ => {}
        }
    }

    /// The server ended the SASL exchange that is in progress.
    pub(in crate::protocol::imap) fn exchange_over(&mut self) {
        if matches!(self.mode, Mode::AwaitChallenge | Mode::Sasl) {
            self.mode = Mode::Line;
        }
    }

    /// The server ended the last IDLE: no DONE has to come any more.
    pub(in crate::protocol::imap) fn idle_over(&mut self) {
        if self.mode == Mode::Idle {
            self.mode = Mode::Line;
        }
    }

    /// The server answered this command, perhaps before its end.
    pub(in crate::protocol::imap) fn answered(&mut self, tag: &[u8], host: &mut dyn Host) {
        let Some(command) = self.command.as_mut().filter(|command| command.tag == tag) else { return };
        command.discard_messages(host);
        if matches!(self.mode, Mode::AwaitContinuation(..)) {
            // The literal will not come.
            self.mode = Mode::Line;
            self.drop_command();
        }
    }

    pub(super) fn drop_command(&mut self) {
        if let Some(mut command) = self.command.take() {
            command.parts.iter_mut().for_each(Part::wipe);
        }
    }
}

impl Command {
    pub(super) fn discard(mut self, host: &mut dyn Host) {
        self.discard_messages(host);
        self.parts.iter_mut().for_each(Part::wipe);
    }

    pub(super) fn discard_messages(&mut self, host: &mut dyn Host) {
        for draft in self.open.take().into_iter().chain(std::mem::take(&mut self.prepared)) {
            host.abort(draft);
        }
    }

    pub(in crate::protocol::imap) fn args(&self) -> Args<'_> {
        let mut args = Args::new(&self.parts);
        let words = if self.name.starts_with(b"UID ") { 3 } else { 2 };
        (0..words).for_each(|_| drop(args.string()));
        args
    }

    pub(super) fn is_append(&self) -> bool {
        matches!(self.name.as_slice(), b"APPEND" | b"REPLACE" | b"UID REPLACE")
    }
}
