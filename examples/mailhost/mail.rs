//! All users' mail, in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) const INBOX: &str = "INBOX";

#[derive(Default)]
pub(crate) struct Mail {
    users: Mutex<BTreeMap<String, User>>,
}

#[derive(Default)]
struct User {
    password: String,
    folders: BTreeMap<String, Folder>,
}

#[derive(Default)]
struct Folder {
    /// The highest UID given so far.
    last_uid: u32,
    /// By UID, rising.
    messages: Vec<Message>,
}

#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) uid: u32,
    /// IMAP's, `\Seen` for instance; sorted.
    pub(crate) flags: Vec<String>,
    /// When it came: Unix time in seconds.
    pub(crate) date: i64,
    pub(crate) bytes: Arc<[u8]>,
}

impl Message {
    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|one| one.eq_ignore_ascii_case(flag))
    }

    pub(super) fn set(&mut self, flag: &str, on: bool) {
        self.flags.retain(|one| !one.eq_ignore_ascii_case(flag));
        if on {
            self.flags.push(flag.to_owned());
            self.flags.sort();
        }
    }
}

impl Mail {
    /// Every user has an inbox, and these folders; `/` separates their levels.
    pub(crate) fn add_user(&self, user: &str, password: &str, folders: &[&str]) {
        let folders = [INBOX].iter().chain(folders).map(|name| ((*name).to_owned(), Folder::default())).collect();
        self.lock().insert(user.to_owned(), User { password: password.to_owned(), folders });
    }

    pub(super) fn has_user(&self, user: &str) -> bool {
        self.lock().contains_key(user)
    }

    pub(super) fn accepts(&self, user: &str, password: &str) -> bool {
        self.lock().get(user).is_some_and(|one| one.password == password)
    }

    pub(crate) fn folders(&self, user: &str) -> Vec<String> {
        self.lock().get(user).map(|user| user.folders.keys().cloned().collect()).unwrap_or_default()
    }

    /// Whether it is there now and was not before.
    pub(super) fn create(&self, user: &str, folder: &str) -> bool {
        let mut users = self.lock();
        let Some(user) = users.get_mut(user).filter(|user| !user.folders.contains_key(folder)) else { return false };
        user.folders.insert(folder.to_owned(), Folder::default());
        true
    }

    pub(super) fn remove(&self, user: &str, folder: &str) -> bool {
        folder != INBOX && self.lock().get_mut(user).and_then(|user| user.folders.remove(folder)).is_some()
    }

    /// What lies in a folder now; none where there is no such folder.
    pub(crate) fn messages(&self, user: &str, folder: &str) -> Option<Vec<Message>> {
        Some(self.lock().get(user)?.folders.get(folder)?.messages.clone())
    }

    /// The same, nothing but the messages' octets.
    pub(crate) fn texts(&self, user: &str, folder: &str) -> Option<Vec<Vec<u8>>> {
        Some(self.messages(user, folder)?.iter().map(|message| message.bytes.to_vec()).collect())
    }

    /// Puts a message into a folder, unread; gives its UID, none where there is no such folder.
    pub(crate) fn deliver(&self, user: &str, folder: &str, bytes: &[u8]) -> Option<u32> {
        self.deliver_as(user, folder, Vec::new(), bytes)
    }

    pub(super) fn deliver_as(&self, user: &str, folder: &str, flags: Vec<String>, bytes: &[u8]) -> Option<u32> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        self.add(user, folder, flags, now.cast_signed(), bytes.into())
    }

    pub(super) fn add(
        &self,
        user: &str,
        folder: &str,
        mut flags: Vec<String>,
        date: i64,
        bytes: Arc<[u8]>,
    ) -> Option<u32> {
        flags.sort();
        let mut users = self.lock();
        let folder = users.get_mut(user)?.folders.get_mut(folder)?;
        folder.last_uid += 1;
        folder.messages.push(Message { uid: folder.last_uid, flags, date, bytes });
        Some(folder.last_uid)
    }

    pub(crate) fn clear(&self, user: &str, folder: &str) {
        self.change(user, folder, Vec::clear);
    }

    /// The UID that the next message will get.
    pub(super) fn next_uid(&self, user: &str, folder: &str) -> u32 {
        let users = self.lock();
        users.get(user).and_then(|user| user.folders.get(folder)).map_or(1, |folder| folder.last_uid + 1)
    }

    /// Does something with a folder's messages, if it is there still.
    pub(super) fn change(&self, user: &str, folder: &str, change: impl FnOnce(&mut Vec<Message>)) {
        if let Some(folder) = self.lock().get_mut(user).and_then(|user| user.folders.get_mut(folder)) {
            change(&mut folder.messages);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, User>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
