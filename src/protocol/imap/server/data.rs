//! Data responses that pass, or are swallowed, as they are, with their literals; what they list of folders is learnt.

use super::{LINE_LEN_MAX, State, TAIL_LEN};
use crate::protocol::imap::Imap;
use crate::protocol::imap::command::{self, Args, LineEnd, Part};
use crate::protocol::line::trim_ending;
use crate::protocol::{Host, Side};

impl Imap {
    /// A line, or the beginning of one, of a response that is not for the client.
    pub(super) fn swallow(&mut self, line: &[u8], whole: bool, host: &mut dyn Host) {
        self.server.swallowing = true;
        self.data(line, whole, host);
    }

    pub(super) fn pass(&self, bytes: &[u8], host: &mut dyn Host) {
        if !self.server.swallowing {
            host.send(Side::Client, bytes);
        }
    }

    /// A line, or the beginning of one, of a response that passes as it is.
    pub(super) fn data(&mut self, line: &[u8], whole: bool, host: &mut dyn Host) {
        self.pass(line, host);
        if self.server.swallowing
            && let (Some(messages), Some(count)) = (messages(line), self.own.count())
        {
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

    pub(super) fn rest_of_line(&mut self, tail: Vec<u8>, bytes: &[u8], host: &mut dyn Host) -> usize {
        let end = self.line_end(bytes);
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
            // Only clients announce so, and what follows would be read in two ways.
            LineEnd::Literal(_) => self.lost("a literal is announced as clients do", host),
            LineEnd::Absurd { .. } => self.lost("a literal is larger than any number", host),
            LineEnd::Plain => {
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

    pub(super) fn literal(&mut self, left: u64, bytes: &[u8], host: &mut dyn Host) -> usize {
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
