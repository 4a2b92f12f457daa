//! A transaction's envelope, as far as the server has accepted it, and who gets a copy because of it.

use super::Settings;
use super::address::{self, Mailbox, Path};
use crate::archive::{Destination, Folder, Owner};
use crate::config::Keep;

/// Recipients remembered in a transaction. RFC 5321 (section 4.5.3.1.8) asks for 100.
const RECIPIENTS_MAX: usize = 1_000;
/// Octets of the addresses remembered in a transaction.
const RECIPIENTS_SIZE_MAX: usize = 1024 * 1024;
/// Octets of an address that a Maildir is named after. RFC 5321 allows 256 to a path.
pub(super) const ADDRESS_LEN_MAX: usize = 1024;
/// The configuration's word for a `default_domain` that is not there.
const UNCONFIGURED_DOMAIN: &str = "localhost";

/// Whose Maildir an envelope address means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Party {
    /// Nobody's: the null sender, an address outside `local_domains`, or one that `keep` does not ask about.
    Nobody,
    Owner(Owner),
    /// It cannot be told, and it would have to be: of a recipient always, of a sender where there is no login.
    Unreadable,
}

/// The mail transaction (RFC 5321, section 3.3) in the server's eyes.
#[derive(Debug)]
pub(super) struct Transaction {
    /// MAIL was accepted.
    pub(super) open: bool,
    /// None where `keep` does not ask about it.
    sender: Path,
    /// The server has accepted a recipient, whoever gets a copy.
    pub(super) addressed: bool,
    recipients: Vec<Owner>,
    recipients_size: usize,
    /// What MAIL announced, in octets.
    pub(super) size: Option<u64>,
}

/// The path of MAIL FROM, as far as `keep` asks about it. Whose it is, is only asked where there is no login. Of a long one no more is remembered
/// than what that means: a client may say a thousand before the first is answered.
pub(super) fn sender(path: Path, settings: &Settings) -> Path {
    match settings.keep {
        Keep::Recipients => Path::Null,
        Keep::Sender | Keep::Both if !is_long(&path) => path,
        Keep::Sender | Keep::Both => match Party::new(&path, false, settings) {
            Party::Nobody => Path::Null,
            Party::Owner(_) | Party::Unreadable => Path::Unreadable,
        },
    }
}

/// Whether this address is longer than what is remembered of one.
pub(super) fn is_long(path: &Path) -> bool {
    matches!(path, Path::Mailbox(mailbox) if mailbox.local.len() + mailbox.domain.len() > ADDRESS_LEN_MAX)
}

impl Party {
    /// The party of RCPT TO, from what stands behind the verb.
    pub(super) fn recipient(argument: &[u8], settings: &Settings) -> Party {
        if settings.keep == Keep::Sender {
            return Party::Nobody;
        }
        match &address::parse("TO", argument).path {
            // There is none (RFC 5321, section 4.1.1.3): a server that takes it knows better whom it means.
            Path::Null => Party::Unreadable,
            path => Party::new(path, true, settings),
        }
    }

    fn new(path: &Path, receives: bool, settings: &Settings) -> Party {
        match path {
            Path::Null => Party::Nobody,
            Path::Unreadable => Party::Unreadable,
            Path::Mailbox(mailbox) => Party::of_mailbox(mailbox, receives, settings),
        }
    }

    fn of_mailbox(mailbox: &Mailbox, receives: bool, settings: &Settings) -> Party {
        let local = &settings.local_domains;
        // A server that takes a recipient without a domain means a mailbox of its own.
        let bare = receives && mailbox.domain.is_empty();
        let default_domain = match local.first() {
            Some(first) if settings.default_domain == UNCONFIGURED_DOMAIN => first,
            _ => &settings.default_domain,
        };
        let owner = Owner::address(&mailbox.login(default_domain), default_domain);
        let is_local = |domain: &String| owner.domain().eq_ignore_ascii_case(domain.as_bytes());
        if bare || local.is_empty() || local.iter().any(is_local) { Party::Owner(owner) } else { Party::Nobody }
    }

    /// Whether this address is longer than what is remembered of one.
    pub(super) fn too_long(&self) -> bool {
        matches!(self, Party::Owner(owner) if size(owner) > ADDRESS_LEN_MAX)
    }
}

impl Transaction {
    /// No transaction.
    pub(super) fn none() -> Transaction {
        Transaction {
            open: false,
            sender: Path::Null,
            addressed: false,
            recipients: Vec::new(),
            recipients_size: 0,
            size: None,
        }
    }

    /// What an accepted MAIL begins.
    pub(super) fn begun(sender: Path, size: Option<u64>) -> Transaction {
        Transaction { open: true, sender, size, ..Transaction::none() }
    }

    /// Whether another recipient would be more than what is remembered. The replies outstanding may still take it over the
    /// limit, by no more than their own limit.
    pub(super) fn full(&self) -> bool {
        self.recipients.len() >= RECIPIENTS_MAX || self.recipients_size >= RECIPIENTS_SIZE_MAX
    }

    /// The server accepted this recipient.
    pub(super) fn accept(&mut self, recipient: Party) {
        self.addressed = true;
        if let Party::Owner(owner) = recipient {
            self.recipients_size += size(&owner);
            self.recipients.push(owner);
        }
    }

    /// Who gets a copy: the sender first, so that his own copy of mail to himself counts as sent.
    pub(super) fn destinations(&self, login: Option<&Owner>, settings: &Settings) -> Vec<Destination> {
        let mut destinations = Vec::new();
        if settings.keep != Keep::Recipients {
            let sender = login.cloned().or_else(|| match Party::new(&self.sender, false, settings) {
                Party::Owner(owner) => Some(owner),
                Party::Nobody | Party::Unreadable => None,
            });
            let folder = &settings.sent_folder;
            destinations.extend(sender.map(|owner| Destination { owner, folder: folder.clone(), outgoing: true }));
        }
        destinations.extend(self.recipients.iter().map(|owner| Destination {
            owner: owner.clone(),
            folder: Folder::inbox(),
            outgoing: false,
        }));
        destinations
    }

    /// The sender should have got a copy, and cannot be named: there was a login when MAIL came, and there is none any more.
    pub(super) fn unreadable(&self, login: Option<&Owner>) -> bool {
        login.is_none() && self.sender == Path::Unreadable
    }
}

fn size(owner: &Owner) -> usize {
    owner.user().len() + owner.domain().len()
}
