//! What all client threads share, and what one of them needs for a session.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use native_tls::TlsConnector;

use crate::ledger::Ledger;
use crate::mailhost::{Host, INBOX, Kind, Wire};
use crate::messages::{Hash, INCOMING, Message, OWNERS, user};
use crate::notebook::{Connection, Notebook};
use crate::proxies::Door;
use crate::random::Random;
use crate::spool::Spool;

/// At the host, of each mailbox, besides the inbox.
pub(crate) const FOLDERS: [&str; 6] = ["Sent", "Work", "Work/2026", "Archive", "Drafts", "Trash"];
/// What MailStore keeps of them, and the inbox.
pub(crate) const KEPT_FOLDERS: [&str; 5] = [INBOX, "Sent", "Work", "Work/2026", "Archive"];
/// A mailbox that holds more is emptied at the host after a session, past MailStore.
const MAILBOX_LEN_MAX: usize = 200 * 1024;
const MAILBOX_COUNT_MAX: usize = 12;

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) host: Host,
    pub(crate) doors: Vec<(Kind, Door, std::net::SocketAddr)>,
    pub(crate) trust: TlsConnector,
    pub(crate) ledger: Ledger,
    pub(crate) spool: Spool,
    pub(crate) notebook: Arc<Notebook>,
    pub(crate) gate: Gate,
}

/// Lets client threads begin sessions, or not.
#[derive(Default)]
pub(crate) struct Gate {
    closed: AtomicBool,
    over: AtomicBool,
    inside: AtomicUsize,
    /// Between two sessions of a thread, ms.
    pub(crate) pace_ms: AtomicU64,
}

impl Gate {
    /// Waits until a session may begin; none when there will be no more.
    pub(crate) fn enter(&self) -> Option<Inside<'_>> {
        loop {
            if self.over.load(Ordering::SeqCst) {
                return None;
            }
            if !self.closed.load(Ordering::SeqCst) {
                self.inside.fetch_add(1, Ordering::SeqCst);
                let inside = Inside(self);
                if !self.closed.load(Ordering::SeqCst) {
                    return Some(inside);
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    pub(crate) fn end(&self) {
        self.close();
        self.over.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inside.load(Ordering::SeqCst) == 0
    }

    /// Whether who takes his time should come to an end.
    pub(crate) fn hurries(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// A rest, as long as nobody hurries.
    pub(crate) fn rest(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end && !self.hurries() {
            thread::sleep(Duration::from_millis(20).min(time));
        }
    }
}

pub(crate) struct Inside<'a>(&'a Gate);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Why a session went no further.
#[derive(Debug)]
pub(crate) enum Failure {
    /// `max_sessions` or `max_sessions_per_client`.
    Full,
    /// An answer that no client could go on with.
    Answer(String),
    Broken(io::Error),
}

impl Failure {
    /// Nothing came for longer than a client waits.
    pub(crate) fn is_late(&self) -> bool {
        matches!(self, Failure::Broken(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Failure {
        Failure::Broken(e)
    }
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// One session of a client thread.
pub(crate) struct Run<'a> {
    pub(crate) world: &'a World,
    pub(crate) random: Random,
    pub(crate) connection: Connection,
    /// The thread's, for the messages that only it sends.
    pub(crate) thread: usize,
    pub(crate) owner: usize,
    pub(crate) begun: Instant,
}

impl<'a> Run<'a> {
    pub(crate) fn new(world: &'a World, mut random: Random, connection: Connection, thread: usize) -> Run<'a> {
        // A few are busier than others: their sessions meet.
        let owner = if random.chance(15) { random.below(4) } else { random.below(OWNERS) };
        Run { world, random, connection, thread, owner, begun: Instant::now() }
    }

    pub(crate) fn user(&self) -> String {
        user(self.owner)
    }

    /// Connects to a door, with TLS where it begins at once.
    pub(crate) fn connect(&self, kind: Kind, door: Door) -> Result<Wire> {
        let found = self.world.doors.iter().find(|(one, its, _)| (*one, *its) == (kind, door));
        let mut wire = Wire::connect(found.expect("every door is listened on").2)?;
        self.world.notebook.connected(wire.tcp()?.local_addr()?.port(), self.connection);
        if door == Door::Tls {
            // As in [`Run::greeting`].
            self.secure(&mut wire).map_err(|_| Failure::Full)?;
        }
        Ok(wire)
    }

    /// A server's first line. Who is one too many is told so, or closed without a word where there are many of those.
    pub(crate) fn greeting(&self, wire: &mut Wire) -> Result<()> {
        match wire.line() {
            Ok(line) if line.contains("Too many") => Err(Failure::Full),
            Ok(_) => Ok(()),
            Err(e) if matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
                Err(Failure::Full)
            }
            Err(e) => Err(e.into()),
        }
    }

    pub(crate) fn connect_raw(&self, kind: Kind, door: Door) -> Result<TcpStream> {
        let found = self.world.doors.iter().find(|(one, its, _)| (*one, *its) == (kind, door));
        let stream = TcpStream::connect(found.expect("every door is listened on").2)?;
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        stream.set_write_timeout(Some(Duration::from_millis(500)))?;
        self.world.notebook.connected(stream.local_addr()?.port(), self.connection);
        Ok(stream)
    }

    pub(crate) fn secure(&self, wire: &mut Wire) -> Result<()> {
        Ok(wire.start_tls(&self.world.trust, "127.0.0.1")?)
    }

    /// New mail comes to the host: some messages to this folder of the owner's.
    pub(crate) fn deliver(&mut self, folder: &str, count: usize) {
        for _ in 0..count {
            let number = self.random.below(INCOMING);
            let message = self.message(number);
            self.world.host.mail.deliver(&self.user(), folder, &message.bytes);
        }
    }

    /// What only this thread sends for this owner.
    pub(crate) fn outgoing(&mut self) -> Message {
        self.message(self.number())
    }

    /// The number of that message.
    pub(crate) fn number(&self) -> usize {
        INCOMING + self.thread
    }

    fn message(&self, number: usize) -> Message {
        let message = Message::new(self.world.seed, self.owner, number);
        self.world.ledger.offer(self.owner, message.hash);
        message
    }

    /// The client has seen that this message came to its end.
    pub(crate) fn completed(&self, hash: Hash, what: &'static str) {
        if !self.world.ledger.is_offered(self.owner, hash) {
            self.world.notebook.finding(format_args!("{what}: {} got what nobody sent him", self.user()));
        }
        self.world.notebook.count(format_args!("completed: {what}"));
        self.world.ledger.claim(self.owner, hash, self.begun, what);
    }

    /// The mailboxes at the host stay small.
    pub(crate) fn tidy_up(&self, owner: usize) {
        let user = user(owner);
        for folder in [INBOX].iter().chain(&FOLDERS) {
            let messages = self.world.host.mail.messages(&user, folder).unwrap_or_default();
            let octets: usize = messages.iter().map(|message| message.bytes.len()).sum();
            if octets > MAILBOX_LEN_MAX || messages.len() > MAILBOX_COUNT_MAX {
                self.world.host.mail.clear(&user, folder);
            }
        }
    }
}
