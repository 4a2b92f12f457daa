//! A small mail host: mailboxes in memory, served by IMAP, POP3 and SMTP over TLS on free loopback ports.
//!
//! Any user of its domain may log in with [`PASSWORD`]. Every connection has a thread of its own that asks and answers,
//! line by line; a connection that breaks ends its thread and nothing else.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use native_tls::{Identity, TlsAcceptor, TlsStream};

use crate::{imap, pop3, smtp};

pub(crate) const DOMAIN: &str = "example.org";
pub(crate) const PASSWORD: &str = "demo";

/// The longest line that is read, in octets.
const LINE_MAX: u64 = 65_536;
/// The largest message that is taken, in octets.
pub(crate) const MESSAGE_MAX: usize = 50_000_000;

/// One message of a folder.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) uid: u32,
    pub(crate) flags: Vec<String>,
    pub(crate) bytes: Arc<[u8]>,
}

/// One folder of a mailbox.
#[derive(Clone, Default)]
pub(crate) struct Folder {
    pub(crate) messages: Vec<Message>,
    last_uid: u32,
}

impl Folder {
    pub(crate) fn add(&mut self, bytes: &[u8], flags: Vec<String>) -> u32 {
        self.last_uid += 1;
        self.messages.push(Message { uid: self.last_uid, flags, bytes: bytes.into() });
        self.last_uid
    }

    pub(crate) fn next_uid(&self) -> u32 {
        self.last_uid + 1
    }
}

/// Folders by name; `INBOX` and `Sent` are always there.
pub(crate) type Mailbox = BTreeMap<String, Folder>;

/// All mailboxes, by the address in lower case.
#[derive(Clone, Default)]
pub(crate) struct Store(Arc<Mutex<BTreeMap<String, Mailbox>>>);

impl Store {
    /// The user's address if name and password are right; his mailbox is there afterwards.
    pub(crate) fn login(&self, name: &str, password: &str) -> Option<String> {
        let address = name.to_ascii_lowercase();
        let ours = address.strip_suffix(DOMAIN).is_some_and(|user| user.len() > 1 && user.ends_with('@'));
        (ours && password == PASSWORD).then(|| {
            self.change(&address, |_| ());
            address
        })
    }

    /// Does something with a mailbox, which is made where it is not there.
    pub(crate) fn change<T>(&self, address: &str, change: impl FnOnce(&mut Mailbox) -> T) -> T {
        let mut all = self.lock();
        let mailbox = all.entry(address.to_ascii_lowercase()).or_default();
        for folder in ["INBOX", "Sent"] {
            mailbox.entry(folder.to_owned()).or_default();
        }
        change(mailbox)
    }

    /// Delivers into the inbox. False: the address is of another domain.
    pub(crate) fn deliver(&self, address: &str, bytes: &[u8]) -> bool {
        let ours = Store::takes(address);
        if ours {
            self.change(address, |mailbox| mailbox.entry("INBOX".to_owned()).or_default().add(bytes, Vec::new()));
        }
        ours
    }

    /// Whether mail for this address is taken.
    pub(crate) fn takes(address: &str) -> bool {
        address.to_ascii_lowercase().ends_with(&format!("@{DOMAIN}"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Mailbox>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Where the three services listen.
pub(crate) struct Host {
    pub(crate) store: Store,
    pub(crate) pop3: SocketAddr,
    pub(crate) imap: SocketAddr,
    pub(crate) smtp: SocketAddr,
}

impl Host {
    /// Starts the services; they end with the process.
    pub(crate) fn start(identity: Identity) -> Result<Host, Box<dyn std::error::Error>> {
        let store = Store::default();
        let acceptor = Arc::new(TlsAcceptor::new(identity)?);
        let serve = |session: fn(&mut Peer, &Store) -> io::Result<()>| -> io::Result<SocketAddr> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let address = listener.local_addr()?;
            let (acceptor, store) = (Arc::clone(&acceptor), store.clone());
            thread::spawn(move || accept(&listener, &acceptor, &store, session));
            Ok(address)
        };
        let (pop3, imap, smtp) = (serve(pop3::session)?, serve(imap::session)?, serve(smtp::session)?);
        Ok(Host { store, pop3, imap, smtp })
    }
}

fn accept(
    listener: &TcpListener,
    acceptor: &Arc<TlsAcceptor>,
    store: &Store,
    session: fn(&mut Peer, &Store) -> io::Result<()>,
) {
    for stream in listener.incoming().flatten() {
        let (acceptor, store) = (Arc::clone(acceptor), store.clone());
        thread::spawn(move || {
            let served = stream
                .set_read_timeout(Some(Duration::from_secs(1800)))
                .and_then(|()| acceptor.accept(stream).map_err(io::Error::other))
                .and_then(|stream| session(&mut Peer(BufReader::new(stream)), &store));
            // A client that just goes away is no fault of ours.
            drop(served);
        });
    }
}

/// The other end of a connection.
pub(crate) struct Peer(BufReader<TlsStream<TcpStream>>);

impl Peer {
    /// The next line without its line end; none once the client has closed.
    pub(crate) fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        (&mut self.0).take(LINE_MAX).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Ok(None);
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(line))
    }

    pub(crate) fn octets(&mut self, count: usize) -> io::Result<Vec<u8>> {
        if count > MESSAGE_MAX {
            return Err(io::Error::other("a message too large"));
        }
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Sends a line, CRLF added.
    pub(crate) fn say(&mut self, line: &str) -> io::Result<()> {
        self.send(format!("{line}\r\n").as_bytes())
    }
}

/// A message as POP3 sends it: dots stuffed, whole lines, the lone dot at the end.
pub(crate) fn stuffed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 100);
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend(line);
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend(b"\r\n");
    }
    out.extend(b".\r\n");
    out
}

/// A command's verb in upper case, and what follows it.
pub(crate) fn verb_of(line: &str) -> (String, &str) {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    (verb.to_ascii_uppercase(), rest)
}
