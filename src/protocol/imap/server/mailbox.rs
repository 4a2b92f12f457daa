//! What the server tells of the selected mailbox: what is known of its messages follows it.

use super::{State, TAIL_LEN};
use crate::protocol::imap::{Imap, capability, set};
use crate::protocol::line::trim_ending;
use crate::protocol::{Host, Side};

impl Imap {
    /// A response while a folder is open that the client does not know of: only for us.
    pub(super) fn privately(&mut self, line: &[u8], word: &[u8], third: &[u8], host: &mut dyn Host) {
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
    pub(super) fn learn_uid_validity(&mut self, line: &[u8]) {
        if self.commands.select_is_open() {
            self.opening.uid_validity = capability::status_number(line);
        } else if let Some(mailbox) = &mut self.mailbox {
            mailbox.uid_validity = None;
        }
    }

    pub(super) fn exists(&mut self, number: u32) {
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
    pub(super) fn expunged(&mut self, number: u32, host: &mut dyn Host) {
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
    pub(super) fn vanished(&mut self, line: &[u8], host: &mut dyn Host) {
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
            if self.own.due.has_followed() {
                // It has no number any more by which it could go on.
                self.own.due.drop_followed(host);
                self.own.follow.begin(mailbox.exists);
            }
        }
    }

    /// Numbers that a SEARCH of ours found, beyond the line's beginning.
    pub(super) fn rest_of_numbers(&mut self, part: Vec<u8>, bytes: &[u8], host: &mut dyn Host) -> usize {
        let end = self.line_end(bytes);
        let taken = end.unwrap_or(bytes.len());
        let left = self.own_numbers(&[&part, &bytes[..taken]].concat(), end.is_some(), host);
        if left.len() > TAIL_LEN {
            self.lost("it found a message whose number is too large", host);
        } else if end.is_none() {
            self.server.state = State::OwnNumbers(left);
        }
        taken
    }
}
