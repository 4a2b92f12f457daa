//! Which folder of the archive an IMAP mailbox is.
//!
//! Learns the hierarchy separator and the SPECIAL-USE attributes from the LIST responses that pass (never asks for them), and remembers
//! them for the proxy's other sessions: a client lists its folders once and then opens them from several connections.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::archive::{Folder, Owner};
use crate::config::{ImapFolders, Shared};
use crate::utf7;

/// One IMAP proxy's rules, shared by its sessions.
#[derive(Debug)]
pub struct FolderRules {
    sent_folder: Folder,
    /// In modified UTF-7, lower case.
    skip: Vec<Vec<u8>>,
    skip_special_use: bool,
    mirror: bool,
    /// 0: not heard of yet.
    separator: AtomicU8,
    /// Counts what was learnt that may put a mailbox elsewhere.
    generation: AtomicU64,
    special: Mutex<HashMap<Owner, HashMap<Vec<u8>, Role>>>,
}

/// What becomes of a mailbox's messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Not kept.
    Skipped,
    /// The owner's sent folder: what is appended there is outgoing.
    Sent(Folder),
    Folder(Folder),
}

/// SPECIAL-USE attributes that matter (RFC 6154, section 2; XLIST's names too).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Sent,
    /// `\Drafts`, `\Junk`, `\Trash`.
    Passing,
}

/// Owners whose special folders are remembered; beyond that they are forgotten and learnt anew.
const OWNERS_MAX: usize = 10_000;
/// Special folders of one owner that are remembered, and octets of their names.
const SPECIAL_MAX: usize = 32;
const SPECIAL_LEN_MAX: usize = 1024;

impl FolderRules {
    pub fn new(shared: &Shared) -> FolderRules {
        FolderRules {
            sent_folder: Folder::parse(&shared.sent_folder),
            skip: shared.skip_folders.iter().map(|name| utf7::encode(name).to_ascii_lowercase().into_bytes()).collect(),
            skip_special_use: shared.skip_special_use,
            mirror: shared.imap_folders == ImapFolders::Mirror,
            separator: AtomicU8::new(0),
            generation: AtomicU64::new(0),
            special: Mutex::new(HashMap::new()),
        }
    }

    /// Where the messages of this mailbox go. `name` as on the wire, quotes and literals undone.
    pub(super) fn place(&self, owner: &Owner, name: &[u8]) -> Place {
        let name = encoded(name);
        if name.eq_ignore_ascii_case(b"INBOX") {
            return Place::Folder(Folder::inbox());
        }
        let separator = self.separator_of(&name);
        let levels: Vec<&[u8]> = name.split(|&b| Some(b) == separator).collect();
        // Hosts that put everything below the inbox (`INBOX.Sent`): the same names.
        let personal = match levels.split_first() {
            Some((first, rest)) if first.eq_ignore_ascii_case(b"INBOX") && !rest.is_empty() => rest,
            _ => &levels[..],
        };
        let role = lock(&self.special).get(owner).and_then(|special| special.get(&name).copied());
        let personal_name = personal.join(&separator.unwrap_or(b'/')).to_ascii_lowercase();
        if self.skip.iter().any(|skip| *skip == personal_name || name.eq_ignore_ascii_case(skip)) {
            return Place::Skipped;
        }
        match role {
            Some(Role::Passing) if self.skip_special_use => return Place::Skipped,
            Some(Role::Sent) => return Place::Sent(self.sent_folder.clone()),
            _ => {}
        }
        let folder = Folder::new(&levels);
        let is_sent = |folder: &Folder| *folder == self.sent_folder && *folder != Folder::inbox();
        match (is_sent(&folder) || is_sent(&Folder::new(personal)), self.mirror) {
            (true, _) => Place::Sent(self.sent_folder.clone()),
            (false, true) => Place::Folder(folder),
            (false, false) => Place::Folder(Folder::inbox()),
        }
    }

    /// Where fetched messages of this mailbox go: `flat` puts those of the sent folder into the inbox too.
    pub(super) fn place_fetched(&self, owner: &Owner, name: &[u8]) -> Option<Folder> {
        match self.place(owner, name) {
            Place::Skipped => None,
            Place::Sent(_) if !self.mirror => Some(Folder::inbox()),
            Place::Sent(folder) | Place::Folder(folder) => Some(folder),
        }
    }

    /// Learns from a LIST, LSUB or XLIST response. `owner`: who is logged in.
    pub(super) fn learn(&self, owner: Option<&Owner>, attributes: &[u8], separator: Option<u8>, name: &[u8]) {
        if let Some(separator) = separator {
            self.learn_separator(separator);
        }
        let role = attributes.split(|&b| b == b' ').find_map(role_of);
        let (Some(owner), Some(role)) = (owner, role) else { return };
        if name.len() > SPECIAL_LEN_MAX {
            return;
        }
        let mut special = lock(&self.special);
        if special.len() >= OWNERS_MAX && !special.contains_key(owner) {
            special.clear();
            self.generation.fetch_add(1, Ordering::Release);
        }
        let folders = special.entry(owner.clone()).or_default();
        if folders.len() < SPECIAL_MAX && folders.insert(encoded(name), role) != Some(role) {
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Learns the separator of the personal namespace (RFC 2342).
    pub(super) fn learn_separator(&self, separator: u8) {
        if self.separator.swap(separator, Ordering::Relaxed) != separator {
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Another number than before: a mailbox may have another place than before. To be asked before the place is.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The hierarchy separator. Before the server has told it: `/` where there is one (no server that separates by `.` allows it in a name),
    /// else `.`.
    fn separator_of(&self, name: &[u8]) -> Option<u8> {
        match self.separator.load(Ordering::Relaxed) {
            0 if name.contains(&b'/') => Some(b'/'),
            0 => Some(b'.'),
            separator => Some(separator),
        }
    }
}

/// The name in modified UTF-7, also where the session speaks UTF-8 (RFC 9755).
fn encoded(name: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(name) {
        Ok(text) if !text.is_ascii() => {
            // `&` is itself in a UTF-8 name, but in a name of modified UTF-7 it is a shift; only a UTF-8 one has other than ASCII.
            utf7::encode(text).into_bytes()
        }
        _ => name.to_vec(),
    }
}

fn role_of(attribute: &[u8]) -> Option<Role> {
    match attribute.to_ascii_lowercase().as_slice() {
        br"\sent" => Some(Role::Sent),
        br"\drafts" | br"\junk" | br"\trash" | br"\spam" => Some(Role::Passing),
        _ => None,
    }
}

/// A panic while it was locked left nothing half done: all changes are single insertions.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(edit: impl Fn(&mut Shared)) -> FolderRules {
        let mut shared = crate::protocol::imap::tests::shared();
        edit(&mut shared);
        FolderRules::new(&shared)
    }

    fn owner() -> Owner {
        Owner::new(b"joe@example.org", "localhost")
    }

    fn place(rules: &FolderRules, name: &str) -> String {
        match rules.place(&owner(), name.as_bytes()) {
            Place::Skipped => "skipped".to_string(),
            Place::Sent(folder) => format!("sent:{}", folder.dir_name()),
            Place::Folder(folder) => folder.dir_name().to_string(),
        }
    }

    /// What a server says of folders is remembered as long as the program runs.
    #[test]
    fn of_special_folders_few_are_remembered_and_none_with_a_long_name() {
        let rules = rules(|_| ());
        let name = |number: usize, len: usize| format!("{number:03}{}", "x".repeat(len));
        rules.learn(Some(&owner()), b"\\Trash", Some(b'/'), name(0, SPECIAL_LEN_MAX).as_bytes());
        for number in 1..100 {
            rules.learn(Some(&owner()), b"\\Trash", Some(b'/'), name(number, 9).as_bytes());
        }
        assert_ne!(place(&rules, &name(0, SPECIAL_LEN_MAX)), "skipped");
        let skipped = (1..100).filter(|&number| place(&rules, &name(number, 9)) == "skipped").count();
        assert_eq!(skipped, SPECIAL_MAX);
    }

    #[test]
    fn names_are_mirrored() {
        let rules = rules(|_| ());
        assert_eq!(place(&rules, "inbox"), "");
        assert_eq!(place(&rules, "A/B"), ".A.B");
        assert_eq!(place(&rules, "A.B"), ".A.B");
        rules.learn(None, b"", Some(b'/'), b"");
        assert_eq!(place(&rules, "A/v1.2"), ".A.v1%2E2");
        assert_eq!(place(&rules, "Entw&APw-rfe"), ".Entw&APw-rfe");
        assert_eq!(place(&rules, "Entwürfe"), ".Entw&APw-rfe");
        assert!(place(&rules, "../../etc").starts_with(".%2E%2E."));
    }

    #[test]
    fn the_sent_folder_is_known_by_name_and_by_attribute() {
        let rules = rules(|_| ());
        assert_eq!(place(&rules, "Sent"), "sent:.Sent");
        assert_eq!(place(&rules, "INBOX.Sent"), "sent:.Sent");
        assert_eq!(place(&rules, "Gesendet"), ".Gesendet");
        rules.learn(Some(&owner()), br"\HasNoChildren \Sent", Some(b'/'), b"Gesendet");
        assert_eq!(place(&rules, "Gesendet"), "sent:.Sent");
        let other = Owner::new(b"eve@example.org", "localhost");
        assert!(matches!(rules.place(&other, b"Gesendet"), Place::Folder(_)));
    }

    #[test]
    fn folders_are_skipped_by_name_and_by_attribute_while_the_key_is_at_its_default() {
        let all = rules(|_| ());
        for name in ["Drafts", "junk", "INBOX.Trash", "INBOX/Spam"] {
            all.separator.store(if name.contains('.') { b'.' } else { b'/' }, Ordering::Relaxed);
            assert_eq!(place(&all, name), "skipped", "{name}");
        }
        assert_eq!(place(&all, "Trash/old"), ".Trash.old");
        all.learn(Some(&owner()), br"\Junk", Some(b'/'), b"Werbung");
        assert_eq!(place(&all, "Werbung"), "skipped");
        let named = rules(|shared| {
            shared.skip_folders = vec!["Entwürfe".to_string()];
            shared.skip_special_use = false;
        });
        named.learn(Some(&owner()), br"\Junk", Some(b'/'), b"Werbung");
        assert_eq!(place(&named, "Werbung"), ".Werbung");
        assert_eq!(place(&named, "Drafts"), ".Drafts");
        assert_eq!(place(&named, "Entw&APw-rfe"), "skipped");
    }

    #[test]
    fn flat_puts_what_is_fetched_into_the_inbox() {
        let flat = rules(|shared| shared.imap_folders = ImapFolders::Flat);
        assert_eq!(place(&flat, "A/B"), "");
        assert_eq!(place(&flat, "Sent"), "sent:.Sent");
        assert_eq!(flat.place_fetched(&owner(), b"Sent"), Some(Folder::inbox()));
        assert_eq!(flat.place_fetched(&owner(), b"Trash"), None);
        assert_eq!(rules(|_| ()).place_fetched(&owner(), b"Sent"), Some(Folder::new(&[b"Sent"])));
    }
}
