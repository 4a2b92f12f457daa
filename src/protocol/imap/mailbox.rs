//! The mailbox that is selected at this place of the response stream.

use crate::protocol::Origin;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Mailbox {
    /// As the client named it, quotes and literals undone; `INBOX` in whatever case as such.
    pub(super) name: Vec<u8>,
    /// UIDVALIDITY. None where the server told none, or its UIDs do not last (`UIDNOTSTICKY`, RFC 4315).
    pub(super) uid_validity: Option<u32>,
    /// How many messages it has.
    pub(super) exists: u32,
    /// Nothing can be expunged: it was opened by EXAMINE.
    pub(super) read_only: bool,
}

impl Mailbox {
    /// What names this message for ever.
    pub(super) fn origin(&self, uid: u32) -> Option<Origin> {
        let uid_validity = self.uid_validity?;
        Some(Origin::Imap { mailbox: self.name.clone(), uid_validity, uid })
    }
}

/// What a server says between SELECT and its tagged OK.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opening {
    pub(super) uid_validity: Option<u32>,
    pub(super) uids_do_not_last: bool,
    pub(super) exists: u32,
}

impl Opening {
    pub(super) fn mailbox(self, name: Vec<u8>, read_only: bool) -> Mailbox {
        let name = if name.eq_ignore_ascii_case(b"INBOX") { b"INBOX".to_vec() } else { name };
        let uid_validity = self.uid_validity.filter(|_| !self.uids_do_not_last);
        Mailbox { name, uid_validity, exists: self.exists, read_only }
    }
}
