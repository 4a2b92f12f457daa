//! The demo's mail host: what the provider is in real life. Mailboxes in memory, and enough of SMTP, POP3 and IMAP4rev1, without TLS,
//! for ordinary clients. What is sent to a user by SMTP goes to his inbox, octet by octet as it came.

mod imap;
mod pop3;
mod smtp;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::wire::Wire;

/// Each user's password.
pub(crate) const PASSWORD: &str = "a-password-for-the-demo";

pub(crate) const INBOX: &str = "INBOX";

pub(crate) struct Host {
    pub(crate) mail: Arc<Mail>,
    pub(crate) smtp: SocketAddr,
    pub(crate) pop3: SocketAddr,
    pub(crate) imap: SocketAddr,
}

impl Host {
    /// Listens on three free ports of 127.0.0.1 until the program ends. Every user has an inbox and these folders.
    pub(crate) fn start(users: &[&str], folders: &[&str]) -> io::Result<Host> {
        let mail = Arc::new(Mail::new(users, folders));
        let (smtp, pop3, imap) =
            (listen(&mail, smtp::serve)?, listen(&mail, pop3::serve)?, listen(&mail, imap::serve)?);
        Ok(Host { mail, smtp, pop3, imap })
    }
}

type Serve = fn(&mut Wire, &Mail) -> io::Result<()>;

/// A thread that accepts, and one for each client. A client that goes away in the middle ends only its own thread.
fn listen(mail: &Arc<Mail>, serve: Serve) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let mail = Arc::clone(mail);
    thread::Builder::new().spawn(move || {
        for stream in listener.incoming().flatten() {
            let mail = Arc::clone(&mail);
            let _ =
                thread::Builder::new().spawn(move || Wire::new(stream).and_then(|mut wire| serve(&mut wire, &mail)));
        }
    })?;
    Ok(address)
}

/// All users' mail.
pub(crate) struct Mail {
    users: Mutex<BTreeMap<String, BTreeMap<String, Folder>>>,
}

#[derive(Default)]
struct Folder {
    /// The highest UID given so far.
    last_uid: u32,
    messages: Vec<Message>,
}

#[derive(Clone)]
pub(crate) struct Message {
    uid: u32,
    seen: bool,
    pub(crate) bytes: Arc<[u8]>,
}

impl Mail {
    fn new(users: &[&str], folders: &[&str]) -> Mail {
        let names = || [INBOX].iter().chain(folders).map(|name| ((*name).to_owned(), Folder::default()));
        let users = users.iter().map(|user| ((*user).to_owned(), names().collect())).collect();
        Mail { users: Mutex::new(users) }
    }

    fn has_user(&self, user: &str) -> bool {
        self.lock().contains_key(user)
    }

    fn accepts(&self, user: &str, password: &str) -> bool {
        self.has_user(user) && password == PASSWORD
    }

    fn folders(&self, user: &str) -> Vec<String> {
        self.lock().get(user).map(|folders| folders.keys().cloned().collect()).unwrap_or_default()
    }

    /// What lies in a folder now; none where there is no such folder.
    pub(crate) fn messages(&self, user: &str, folder: &str) -> Option<Vec<Message>> {
        Some(self.lock().get(user)?.get(folder)?.messages.clone())
    }

    /// The new message's UID; none where there is no such folder.
    pub(crate) fn deliver(&self, user: &str, folder: &str, seen: bool, bytes: &[u8]) -> Option<u32> {
        let mut users = self.lock();
        let folder = users.get_mut(user)?.get_mut(folder)?;
        folder.last_uid += 1;
        folder.messages.push(Message { uid: folder.last_uid, seen, bytes: bytes.into() });
        Some(folder.last_uid)
    }

    /// Does something with these messages' folder, if it is there still.
    fn change(&self, user: &str, folder: &str, change: impl FnOnce(&mut Vec<Message>)) {
        if let Some(folder) = self.lock().get_mut(user).and_then(|folders| folders.get_mut(folder)) {
            change(&mut folder.messages);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<String, Folder>>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command's verb, in upper case, and the rest of its line.
fn verb(line: &str) -> (String, &str) {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    (verb.to_ascii_uppercase(), rest.trim())
}
