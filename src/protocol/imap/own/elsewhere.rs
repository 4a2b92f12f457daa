//! What the client left behind in a folder when it went to another one: fetched when it comes back, or when it has nothing more to say.
//!
//! Only what has a name that lasts (UIDVALIDITY and UID). When the client leaves the server, or has left, the folder is opened once more
//! for ourselves (EXAMINE), and what is said of it is not for the client.

use std::sync::Arc;

use super::{Work, words};
use crate::logging::escape;
use crate::protocol::Host;
use crate::protocol::imap::Imap;
use crate::protocol::imap::due::Message;
use crate::protocol::imap::gate::quoted;
use crate::protocol::imap::mailbox::{Mailbox, Opening};

/// Messages that are due in other folders. Those that have begun to come are open drafts: at most so many.
const ELSEWHERE_MAX: usize = 5000;
const ELSEWHERE_DRAFTS_MAX: usize = 4;

/// A message that is due in a folder that is not selected any more.
pub(super) struct Elsewhere {
    mailbox: Arc<Mailbox>,
    message: Message,
}

impl Imap {
    /// The client wants to leave the mailbox. True: all that it has got of it is kept, or so much has come meanwhile that the rest is to wait until it
    /// comes back or has nothing more to say.
    pub(in crate::protocol::imap) fn may_leave(&mut self, for_good: bool, host: &mut dyn Host) -> bool {
        if self.commands.message_is_coming() || self.own.is_busy() {
            return false;
        }
        self.stop_downloads(true, host);
        self.own.due.drop_followed(host);
        if !for_good && self.own.left_long_enough() {
            self.leave_behind(host);
        }
        let may = self.own.may_leave(for_good);
        if may {
            self.own.leaving_octets = 0;
        }
        may
    }

    /// The mailbox is being left without our having been asked.
    pub(in crate::protocol::imap) fn leave_read_behind(&mut self, host: &mut dyn Host) {
        self.stop_downloads(true, host);
        self.own.due.drop_followed(host);
        self.own.due.drop_deletions(host);
        self.leave_behind(host);
    }

    /// What has a name that lasts can be fetched later.
    fn leave_behind(&mut self, host: &mut dyn Host) {
        let Some(mailbox) = self.mailbox.as_ref().filter(|mailbox| mailbox.uid_validity.is_some()) else { return };
        let mailbox = Arc::new(mailbox.clone());
        let mut drafts = self.own.elsewhere.iter().filter(|other| other.message.progress.is_some()).count();
        for mut message in std::mem::take(&mut self.own.due.list) {
            if message.which.uid.is_none() {
                self.own.due.list.push_back(message);
                continue;
            }
            if self.own.elsewhere.len() >= ELSEWHERE_MAX {
                message.drop_progress(host);
                self.own.missed(
                    Some(&mailbox),
                    message.which,
                    "too many messages are waiting to be fetched whole",
                    host,
                );
                continue;
            }
            if drafts >= ELSEWHERE_DRAFTS_MAX {
                message.drop_progress(host);
            }
            drafts += usize::from(message.progress.is_some());
            message.which.sequence_number = None;
            // Where the server closes the folder in the middle of its answer, it is not asked for any more.
            message.asked = false;
            self.own.elsewhere.push(Elsewhere { mailbox: Arc::clone(&mailbox), message });
        }
    }

    /// The mailbox is selected (again): what was left behind there is due.
    pub(in crate::protocol::imap) fn come_back(&mut self, host: &mut dyn Host) {
        let Some(mailbox) = self.mailbox.clone() else { return };
        let is_here = |other: &mut Elsewhere| other.mailbox.name == mailbox.name;
        let here: Vec<Elsewhere> = self.own.elsewhere.extract_if(.., is_here).collect();
        for Elsewhere { mailbox: before, mut message } in here {
            if before.uid_validity == mailbox.uid_validity {
                // Another session may have kept it meanwhile.
                match self.is_known(message.which, host) {
                    true => message.drop_progress(host),
                    false => drop(self.make_due(message, host)),
                }
            } else {
                message.drop_progress(host);
                self.missed(
                    message.which,
                    "the server has given the folder new UIDs before it could be fetched whole",
                    host,
                );
            }
        }
    }

    /// Opens the next folder where something was left behind. The client needs the selected one no more.
    pub(super) fn reopen(&mut self, host: &mut dyn Host) {
        while let Some(first) = self.own.elsewhere.first() {
            let mailbox = Mailbox::clone(&first.mailbox);
            if let Some(quoted) = quoted(&mailbox.name) {
                return self.command(&format!("EXAMINE {quoted}"), Work::Open(mailbox, Opening::default()), host);
            }
            self.leave_for_good(&mailbox.name, "its folder's name cannot be said again", host);
        }
    }

    pub(super) fn reopened(
        &mut self,
        mailbox: Mailbox,
        opening: Opening,
        status: &[u8],
        line: &[u8],
        host: &mut dyn Host,
    ) {
        if status != b"OK" {
            let why = format!("the server does not open its folder again: {}", escape(words(line).trim_ascii_end()));
            self.select(None, host);
            return self.leave_for_good(&mailbox.name, &why, host);
        }
        self.own.private = true;
        self.select(Some(opening.mailbox(mailbox.name, true)), host);
        self.own.follow.stop();
    }

    /// What was left behind in this folder will not come.
    pub(in crate::protocol::imap) fn leave_for_good(&mut self, name: &[u8], why: &str, host: &mut dyn Host) {
        let is_there = |other: &mut Elsewhere| other.mailbox.name == name;
        let left: Vec<Elsewhere> = self.own.elsewhere.extract_if(.., is_there).collect();
        for Elsewhere { mailbox, mut message } in left {
            message.drop_progress(host);
            self.own.missed(Some(&mailbox), message.which, why, host);
        }
    }

    /// The session ends: what is due in other folders will not come either.
    pub(in crate::protocol::imap) fn abandon_elsewhere(&mut self, why: &str, host: &mut dyn Host) {
        for Elsewhere { mailbox, mut message } in std::mem::take(&mut self.own.elsewhere) {
            message.drop_progress(host);
            self.own.missed(Some(&mailbox), message.which, why, host);
        }
    }
}
