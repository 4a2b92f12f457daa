//! Messages that go up: APPEND, MULTIAPPEND and REPLACE (RFC 9051, section 6.3.12; RFC 3502; RFC 8508).
//!
//! The draft begins before the line that announces the message passes, and is prepared before its last octet does. A command's
//! other literals are here too: arguments that are read, or only pass.

use super::{Command, Mode, Octets, Until, Verdict};
use crate::archive::{Destination, Folder};
use crate::protocol::imap::Imap;
use crate::protocol::imap::command::{Args, LineEnd, Part};
use crate::protocol::imap::date::internal_date;
use crate::protocol::imap::folders::Place;
use crate::protocol::{DraftId, End, Host, Refused, Side};

/// Messages of one APPEND (RFC 3502), and messages that wait for the server's answer before another APPEND may go up: each holds a file open.
const MESSAGES_MAX: usize = 100;
pub(super) const UNANSWERED_MAX: usize = 16;

impl Imap {
    /// A line of an APPEND or REPLACE: names the mailbox, or announces a message.
    pub(super) fn judge_append(
        &mut self,
        command: &mut Command,
        end: LineEnd,
        octets: &mut Octets,
        host: &mut dyn Host,
    ) -> Verdict {
        let mut args = command.args();
        if command.name.ends_with(b"REPLACE") {
            args.string();
        }
        let Some(mailbox) = args.string() else { return Verdict::Forward };
        // Behind a message only the last line tells of the next one.
        let mut next = match command.parts.last() {
            Some(last) if command.mailbox.is_some() => Args::new(std::slice::from_ref(last)),
            _ => args,
        };
        let rest = next.clone().remaining_text().to_ascii_uppercase();
        if rest.windows(9).any(|window| window == b"CATENATE ") || rest.ends_with(b"CATENATE") {
            return Verdict::Refuse("BAD CATENATE is not available through MailStore".to_string());
        }
        let LineEnd::Literal(literal) = end else { return Verdict::Forward };
        if command.prepared.len() >= MESSAGES_MAX {
            return Verdict::Refuse("NO [LIMIT] too many messages in one command".to_string());
        }
        if !self.may_append() {
            return Verdict::Hold(Until::MayAppend);
        }
        next.list();
        let date = next.string().and_then(|text| internal_date(&text));
        let place = self.login.as_ref().map(|owner| (owner.clone(), self.settings.folders.place(owner, &mailbox)));
        command.mailbox = Some(mailbox);
        let (owner, folder, outgoing): (_, Folder, _) = match place {
            // The server will refuse it; if it does not, nobody owns it.
            None | Some((_, Place::Skipped)) => {
                *octets = Octets::Message(None);
                return Verdict::Forward;
            }
            Some((owner, Place::Sent(folder))) => (owner, folder, true),
            Some((owner, Place::Folder(folder))) => (owner, folder, false),
        };
        host.about("");
        match host.begin(&[Destination { owner, folder, outgoing }], Some(literal.len)) {
            Ok(draft) => {
                if let Some(seconds) = date {
                    host.date(draft, seconds);
                }
                command.open = Some(draft);
                *octets = Octets::Message(Some(draft));
                Verdict::Forward
            }
            Err(Refused::Unavailable) => {
                Verdict::Refuse("NO [UNAVAILABLE] the message cannot be archived, try again later".to_string())
            }
            // RFC 7889, section 4.
            Err(Refused::TooLarge) => {
                Verdict::Refuse("NO [TOOBIG] the message is larger than what is archived here".to_string())
            }
        }
    }

    pub(super) fn literal_octets(&mut self, bytes: &[u8], last: bool, octets: Octets, host: &mut dyn Host) {
        if last {
            self.client.mode = Mode::Line;
        }
        match octets {
            Octets::Swallow => return,
            Octets::Pass => {}
            Octets::Argument => self.argument_octets(bytes),
            Octets::Message(None) => {}
            Octets::Message(Some(draft)) => {
                // The server's answer may have come early: then the draft is gone.
                let open = self.client.command.as_ref().is_some_and(|command| command.open == Some(draft));
                if open {
                    return self.message_octets(draft, bytes, last, host);
                }
            }
        }
        host.send(Side::Server, bytes);
    }

    /// Octets of a message going up: the last one passes only when the message is prepared.
    fn message_octets(&mut self, draft: DraftId, bytes: &[u8], last: bool, host: &mut dyn Host) {
        let (before, held) = bytes.split_at(bytes.len() - usize::from(last && !bytes.is_empty()));
        if host.append(draft, bytes).is_err() {
            return self.message_refused(host);
        }
        host.send(Side::Server, before);
        if last {
            if host.prepare(draft).is_err() {
                return self.message_refused(host);
            }
            if let Some(command) = self.client.command.as_mut() {
                command.open = None;
                command.prepared.push(draft);
            }
            host.send(Side::Server, held);
        }
    }

    /// The host has dropped the message that is going up; the server waits for its rest and cannot be told otherwise.
    fn message_refused(&mut self, host: &mut dyn Host) {
        if let Some(mut command) = self.client.command.take() {
            command.open = None;
            let answer = [&command.tag[..], b" NO [UNAVAILABLE] the message cannot be archived, try again later\r\n"];
            self.reply(&answer.concat(), host);
            command.discard(host);
        }
        self.end(End::Fault("a message going up could not be kept".to_string()), host);
    }

    fn argument_octets(&mut self, bytes: &[u8]) {
        let Some(command) = self.client.command.as_mut() else { return };
        match command.parts.last_mut() {
            Some(Part::Literal(octets)) => octets.extend_from_slice(bytes),
            _ => command.parts.push(Part::Literal(bytes.to_vec())),
        }
        command.size += bytes.len();
    }
}
