//! DELETE takes a folder with all its messages (RFC 9051, section 6.3.5): they are kept first.
//!
//! Where the client has no folder selected, we open the one that is to go (EXAMINE), fetch what is not kept yet, and close it again before
//! DELETE passes; the client hears nothing of that. Where it has selected this very folder, all of its messages are fetched. Where it has selected another
//! one, that cannot be left without harm (its numbers could change): then the log says that messages went with the folder.

use super::{Deletion, Gate, Step, shut};
use crate::logging::{escape, quote};
use crate::protocol::Host;
use crate::protocol::imap::Imap;
use crate::protocol::imap::capability::status_code;
use crate::protocol::imap::client::{Command, Until, Verdict};
use crate::protocol::imap::folders::Place;
use crate::protocol::imap::mailbox::{Mailbox, Opening};
use crate::protocol::imap::own::{Work, words};

impl Imap {
    /// The line of a DELETE. A name that is a literal is not known yet when the line is to be judged: such a folder goes as it is.
    pub(in crate::protocol::imap) fn judge_folder_deletion(
        &mut self,
        command: &Command,
        host: &mut dyn Host,
    ) -> Verdict {
        let Some(owner) = &self.login else { return Verdict::Forward };
        let Some(name) = command.args().string() else {
            host.not_kept("the client deletes a folder whose name it sends as a literal: messages in it that nobody has read, moved or deleted are not kept");
            return Verdict::Forward;
        };
        if let Some(gate) = &self.own.gate {
            return match gate.step {
                Step::Open if !gate.opened => {
                    self.own.gate = None;
                    Verdict::Forward
                }
                Step::Shut(obstacle) if !gate.opened => {
                    self.own.gate = None;
                    self.own.due.drop_deletions(host);
                    Verdict::Refuse(shut(obstacle))
                }
                _ => Verdict::Hold(Until::Decided),
            };
        }
        // INBOX cannot be deleted (RFC 9051, section 6.3.5).
        if name.eq_ignore_ascii_case(b"INBOX") || self.settings.folders.place(owner, &name) == Place::Skipped {
            return Verdict::Forward;
        }
        if !self.commands.list.is_empty() {
            return Verdict::Hold(Until::Answered);
        }
        let all = Deletion { by_uid: false, set: Some(b"1:*".to_vec()), marked_only: false, numbered: false };
        let mut gate = Gate::new(all);
        match (&self.mailbox, quoted(&name)) {
            (Some(mailbox), _) if mailbox.name == name => {
                if mailbox.exists == 0 {
                    return Verdict::Forward;
                }
                self.stop_downloads(true, host);
            }
            (None, Some(quoted)) => gate.step = Step::Examine(Mailbox { name, ..Mailbox::default() }, quoted),
            (Some(_), Some(quoted)) => gate.step = Step::Count(name, quoted),
            (_, None) => {
                host.not_kept(&format!("the client deletes the folder {}, whose name we cannot say: messages in it that nobody has read, moved or deleted are not kept", escape(&name)));
                return Verdict::Forward;
            }
        }
        self.own.gate = Some(Box::new(gate));
        Verdict::Hold(Until::Decided)
    }

    /// The folder that is to be deleted is open; or it cannot be opened: because there is none, then the server says no to DELETE as well, or for a
    /// reason that may be gone when DELETE comes.
    pub(in crate::protocol::imap) fn opened_for_deletion(
        &mut self,
        mailbox: Mailbox,
        opening: Opening,
        status: &[u8],
        line: &[u8],
        host: &mut dyn Host,
    ) {
        let code = status_code(line).unwrap_or_default();
        let is_missing = code.starts_with(b"NONEXISTENT") || code.starts_with(b"CANNOT");
        let Some(gate) = &mut self.own.gate else { return };
        gate.opened = status == b"OK";
        match (status, opening.exists) {
            (b"OK", 0) => gate.step = Step::Open,
            (b"OK", _) => gate.look(),
            (b"NO", _) if is_missing => gate.step = Step::Open,
            (b"NO", _) if code.is_empty() => match quoted(&mailbox.name) {
                Some(quoted) => gate.step = Step::Count(mailbox.name.clone(), quoted),
                None => gate.decide(host),
            },
            _ => {
                host.not_kept(&format!(
                    "the folder {}, which a client deletes, cannot be opened, the server says: {}",
                    escape(&mailbox.name),
                    quote(words(line))
                ));
                gate.decide(host);
            }
        }
        if status == b"OK" {
            self.own.open_for_ourselves(true);
            self.select(Some(opening.mailbox(mailbox.name, true)), host);
            self.own.follow.stop();
        }
    }

    /// It is closed again.
    pub(in crate::protocol::imap) fn closed_for_deletion(&mut self, host: &mut dyn Host) {
        self.own.open_for_ourselves(false);
        self.select(None, host);
        if let Some(gate) = &mut self.own.gate {
            gate.opened = false;
        }
    }

    /// So many messages go with a folder that could not be opened.
    pub(in crate::protocol::imap) fn counted(&mut self, name: &[u8], messages: u64, host: &mut dyn Host) {
        if messages > 0 {
            host.not_kept(&format!(
                "the client deletes the folder {} with {messages} messages, which cannot be opened meanwhile: those that nobody has read, moved or deleted are not kept",
                escape(name)
            ));
        }
        if let Some(gate) = &mut self.own.gate {
            gate.step = Step::Open;
        }
    }

    /// The next step towards a folder's deletion, where there is one. None: the gate's other steps go on.
    pub(super) fn folder_step(&mut self, host: &mut dyn Host) -> Option<bool> {
        let gate = self.own.gate.as_mut()?;
        match &gate.step {
            Step::Examine(mailbox, quoted) => {
                let (text, mailbox) = (format!("EXAMINE {quoted}"), mailbox.clone());
                gate.step = Step::Asking;
                self.command(&text, Work::Open(mailbox, Opening::default()), host);
            }
            Step::Count(name, quoted) => {
                let (text, name) = (format!("STATUS {quoted} (MESSAGES)"), name.clone());
                gate.step = Step::Asking;
                self.command(&text, Work::Count(name, 0), host);
            }
            Step::Open | Step::Shut(_) if gate.opened => {
                self.own.due.drop_deletions(host);
                self.command("CLOSE", Work::Close, host);
            }
            _ => return None,
        }
        Some(false)
    }
}

/// A mailbox's name as a quoted string; none where it cannot be one.
pub(in crate::protocol::imap) fn quoted(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    let plain = !name.contains(['\r', '\n', '\0']);
    plain.then(|| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")))
}
