//! The three protocols, sans I/O.
//!
//! A [`Protocol`] object serves one session. It is given the bytes of both sides and performs, strictly in order, what
//! is to be done through a [`Host`]: send bytes, begin a draft, append, prepare, commit, end. It never touches a socket, a
//! file or a clock, so that a transcript is a test. The host answers at once whether the archive could do its part: the
//! protocol needs that verdict before it decides what the next byte to its peers is ("kept before completed").

pub mod dot;
pub mod imap;
pub mod line;
pub mod pop3;
pub mod sasl;
mod secret;
pub mod smtp;
#[cfg(test)]
pub(crate) mod testing;

use std::fmt;
use std::time::Duration;

use crate::archive::{Destination, Owner};
use crate::logging::escape_whole;

use secret::overwrite;

pub use secret::Secret;

/// Which of the two peers: the one that connected to us, or the real server that we connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Client,
    Server,
}

impl Side {
    /// The opposite side.
    pub fn other(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

/// A draft that the host began and has neither kept nor aborted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DraftId(pub u32);

/// Which message of the server's a copy is of: remembered across sessions, so that nothing is fetched twice on our own account. Shows itself as
/// words that no peer can forge, in the form in which it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// RFC 9051, section 2.3.1.1: the three together name a message for ever. The mailbox as the client named it, quotes and literals undone.
    Imap { mailbox: Vec<u8>, uid_validity: u32, uid: u32 },
    /// RFC 1939, section 7: the unique-id, as the server gave it.
    Pop3 { uidl: Vec<u8> },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Imap { mailbox, uid_validity, uid } => {
                write!(f, "imap {} {uid_validity} {uid}", escape_whole(mailbox))
            }
            Origin::Pop3 { uidl } => write!(f, "pop3 {}", escape_whole(uidl)),
        }
    }
}

/// The archive could not keep the message and `on_archive_failure = refuse` forbids to pass it. The host has logged and
/// counted it, and the draft is gone. With `pass` the host never answers so: it swallows what follows for that draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// For now: it may be tried again.
    Unavailable,
    /// It is larger than `max_message_size`, and always will be.
    TooLarge,
}

/// Why a session ends. What the administrator reads in the closing line (`reason=`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// As the protocol provides: QUIT, LOGOUT, or a peer that closed at a place where it may.
    Orderly(&'static str),
    /// A peer broke the protocol or its framing was lost, or the message could not be kept. The text says who did what.
    Fault(String),
}

/// For the log, in the place of a server's words while nobody is logged in.
const WORDS_WITHHELD: &str = " (its words are not shown: they may repeat a password)";

/// The response code in a server's words that says what is wrong, a blank before it; nothing where there is none that is known (RFC 5530, section 3; RFC 2449,
/// section 8; RFC 3206): other words may repeat a password.
fn response_code(line: &[u8]) -> String {
    const CODES: [&str; 17] = [
        "AUTHENTICATIONFAILED",
        "AUTHORIZATIONFAILED",
        "EXPIRED",
        "PRIVACYREQUIRED",
        "CONTACTADMIN",
        "NOPERM",
        "UNAVAILABLE",
        "INUSE",
        "LIMIT",
        "OVERQUOTA",
        "SERVERBUG",
        "ALERT",
        "AUTH",
        "SYS/TEMP",
        "SYS/PERM",
        "IN-USE",
        "LOGIN-DELAY",
    ];
    let upper = line.to_ascii_uppercase();
    let shown = CODES
        .iter()
        .map(|code| format!("[{code}]"))
        .find(|code| upper.windows(code.len()).any(|part| part == code.as_bytes()));
    shown.map_or_else(String::new, |code| format!(" {code}"))
}

/// What a protocol can have done. Everything is performed in the order of the calls.
pub trait Host {
    /// Queues bytes for that side.
    fn send(&mut self, to: Side, bytes: &[u8]);

    /// Once all that is queued for this side has left: TLS handshake. The host ends the session with a reason where bytes of
    /// that side are waiting unread (they came before the handshake). The protocol must not consume input of that side
    /// behind the line that led here. [`Protocol::tls_started`] follows on success.
    fn start_tls(&mut self, side: Side);

    /// Ends the session once all that is queued for both sides has left. Later input is not delivered any more.
    fn end(&mut self, end: End);

    /// The server accepted this login; ends the login timeout and names the session in the log.
    fn logged_in(&mut self, owner: &Owner);

    /// Whether [`Host::learn`] wants to hear of passwords. Where not, none is remembered for longer than it passes.
    fn learns(&self) -> bool {
        false
    }

    /// The login that [`Host::logged_in`] told of was made with this password. Not called where it was made in another way, for somebody
    /// else (an authorization identity, a master login), or with what is no password to others ([`Secret::password`]).
    fn learn(&mut self, _owner: &Owner, _password: Secret) {}

    /// A login did not succeed: the server refused it, or it was refused here. Logged, because users ask. `why` never holds what the
    /// client sent, not even the name: people type their password there.
    fn login_failed(&mut self, why: &str);

    /// The server takes mail from this client without a login: that ends the login timeout too.
    fn taken_in(&mut self) {}

    /// Something was refused, by us or by the server, that an administrator will be asked about. Told once in a session. No words of a peer's that may
    /// repeat a credential.
    fn refused(&mut self, _what: &str) {}

    /// The login is forgotten.
    fn logged_out(&mut self);

    /// Which message the next draft is of, in words for the log (`uid=7`), peers' bytes in them escaped: for the line that tells that it is not kept. Counts for
    /// one `begin` only.
    fn about(&mut self, _message: &str) {}

    /// Begins a draft for these destinations (one copy each; never empty; the same owner twice counts once, the first wins).
    /// `size`: octets, where the peer announced them, to refuse early what is over `max_message_size`.
    fn begin(&mut self, to: &[Destination], size: Option<u64>) -> Result<DraftId, Refused>;

    /// Adds bytes of the message as it is (unstuffed).
    fn append(&mut self, draft: DraftId, bytes: &[u8]) -> Result<(), Refused>;

    /// Adds all bytes of another draft, which is gone afterwards.
    fn append_draft(&mut self, draft: DraftId, other: DraftId) -> Result<(), Refused>;

    /// The date received (Unix time, seconds), where the session showed it (INTERNALDATE, APPEND's date-time).
    fn date(&mut self, draft: DraftId, seconds: i64);

    /// Which message of the server's this draft is a copy of: remembered once it is kept. To be called before `finish`.
    fn origin(&mut self, draft: DraftId, origin: Origin);

    /// Whether this owner's archive has a copy of that message, as far as it is remembered. False costs a fetch.
    fn has(&mut self, owner: &Owner, origin: &Origin) -> bool;

    /// So many octets of messages came that were fetched on our own account: counted, for the client did not ask for them.
    fn fetched(&mut self, octets: u64);

    /// Outgoing: the message is whole; it is on disk, marked and flushed, when this returns. To be followed by `commit` or
    /// `abort` when the server has answered; a session that ends before counts as `commit` (the server may have it).
    fn prepare(&mut self, draft: DraftId) -> Result<(), Refused>;

    /// Outgoing: the server took a prepared message; it is in its folder. A failure is logged and never undoes the server's
    /// success: the prepared file stays and is committed at the next start.
    fn commit(&mut self, draft: DraftId);

    /// Incoming: the message is whole; it is kept at the next `settle` at the latest.
    fn finish(&mut self, draft: DraftId);

    /// Incoming: all that was finished is on disk under its final name when this returns. To be called right before the bytes
    /// that tell the client that the messages are complete.
    fn settle(&mut self) -> Result<(), Refused>;

    /// The message did not come whole, or the server refused it: nothing of it stays.
    fn abort(&mut self, draft: DraftId);

    /// A message passes (or may have passed) that is not kept, for a reason the archive does not know. Logged as a warning and
    /// counted. `why` is a sentence with all that an administrator needs, peers' bytes in it escaped (`logging::escape`).
    fn not_kept(&mut self, why: &str);

    /// So many more, for reasons such as were told of in this session before: one warning for all of them, each of them counted.
    fn not_kept_more(&mut self, _count: u64, why: &str) {
        self.not_kept(why);
    }

    /// Whether what cannot be kept must not pass (`on_archive_failure = refuse`). For what the archive is never asked about.
    fn refuses(&self) -> bool;

    /// A fact for the log, at debug level. Never a password, a token, or message text.
    fn note(&mut self, text: &str);
}

/// The server accepted this login name, with this password if it was one that is to be learnt.
fn logged_in(login: &[u8], owner: &Owner, password: Option<Secret>, host: &mut dyn Host) {
    host.logged_in(owner);
    if let Some(password) = password.filter(|_| !Owner::is_master_login(login)) {
        host.learn(owner, password);
    }
}

/// Why the host says farewell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// The login or idle timeout, and the client had the word.
    Timeout,
    /// The same, and the server had it.
    Silent,
    /// `shutdown_grace` is over.
    Shutdown,
    /// The other side went away or broke its protocol.
    Lost,
    /// A message could not be kept.
    NotKept,
}

/// One session's protocol. All calls come from one thread.
pub trait Protocol: Send {
    /// Takes bytes of one side. Returns how many it consumed: fewer than given where it holds that side back (it
    /// waits for the other side); the rest is given again, with what came after it, once the other side has been heard.
    fn input(&mut self, from: Side, bytes: &[u8], host: &mut dyn Host) -> usize;

    /// That side will send no more (FIN or close_notify). All its earlier bytes have been consumed, or never will be.
    /// Aborts what is half received. For the server's: the host flushes and closes afterwards. For the client's: the host goes on until
    /// [`Protocol::outstanding`] is false.
    fn eof(&mut self, from: Side, host: &mut dyn Host);

    /// The handshake asked for with [`Host::start_tls`] succeeded.
    fn tls_started(&mut self, side: Side, host: &mut dyn Host);

    /// Whether the server has shown itself to be what it should: it has greeted, with TLS where that was to be started.
    fn greeted(&self) -> bool {
        true
    }

    /// Whether the client still waits for an answer of the server.
    fn outstanding(&self) -> bool;

    /// Whether the server has the word, and not the client, in the middle of what it says: whom to blame for a silence.
    fn awaits_server(&self) -> bool {
        self.outstanding()
    }

    /// The client has left, and what is due to the archive is still being fetched: the session goes on within a limit of its own.
    fn finishing(&self) -> bool {
        false
    }

    /// Once nobody has said anything for so long (from the last octet of either side, or since the last [`Protocol::rested`]), `rested` is to be
    /// called. None: never.
    fn rest(&self) -> Option<Duration> {
        None
    }

    /// Nobody speaks for the moment: gives back memory that is not needed meanwhile.
    fn release(&mut self) {}

    /// Both sides have been silent for as long as [`Protocol::rest`] said.
    fn rested(&mut self, _host: &mut dyn Host) {}

    /// The session is over, for a reason that may lie outside of the protocol: says what is missing. Nothing is sent any more.
    fn over(&mut self, _host: &mut dyn Host) {}

    /// A last line for the client in the protocol's words, CRLF included; none where the client is in the middle of a reply and would
    /// take it for part of that.
    fn farewell(&self, why: Farewell) -> Option<Vec<u8>>;
}

#[cfg(test)]
mod tests {
    use super::response_code;

    #[test]
    fn of_a_servers_words_only_codes_that_are_known_are_shown() {
        for (line, shown) in [
            (&b"a NO [AUTHENTICATIONFAILED] hunter2 is wrong\r\n"[..], " [AUTHENTICATIONFAILED]"),
            (b"* BYE [unavailable] later\r\n", " [UNAVAILABLE]"),
            (b"-ERR [SYS/TEMP] later", " [SYS/TEMP]"),
            (b"-ERR [hunter2] hunter2", ""),
            (b"-ERR AUTH", ""),
            (b"", ""),
        ] {
            assert_eq!(response_code(line), shown);
        }
    }
}
