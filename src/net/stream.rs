//! One non-blocking connection, plain or TLS.
//!
//! Every operation but one returns at once; where it could not be done it says what the socket has to become first (under TLS a read may
//! wait for room to write and the other way round). The end of a stream without TLS's close_notify is an end like any other,
//! marked as not clean: who needs a whole message knows from its protocol whether it had come whole.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::linux::net::TcpStreamExt;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv, send, setsockopt, sockopt};
use openssl::ssl::{ErrorCode, SslStream};

use super::wait::{Need, Until, wait};

/// How long, and for how many octets, a peer that was told to go is listened to.
const LAST_WORDS_LINGER: Duration = Duration::from_secs(2);
const LAST_WORDS_DRAIN: usize = 64 * 1024;
/// How long [`Stream::read_when_it_comes`] waits; the kernel makes it a tick of its clock, 1 to 10 ms.
const PATIENCE: Duration = Duration::from_millis(1);
/// Octets in a TLS record (RFC 8446, section 5.1): OpenSSL makes one at each call.
const RECORD_MAX: usize = 16 * 1024;
/// MSG_MORE, which nix does not name: the kernel need not make a packet of this alone. Whatever acknowledgement comes, and 200 ms, send it all the same.
const MORE: MsgFlags = MsgFlags::from_bits_retain(nix::libc::MSG_MORE);

/// What became of an operation.
#[derive(Debug)]
pub enum Outcome {
    /// So many octets were moved.
    Ready(usize),
    /// Nothing was done; try again when the socket is so.
    WouldBlock(Need),
    /// The peer sends no more. `clean` is false where a TLS peer closed without close_notify (RFC 8446, section 6.1).
    Eof { clean: bool },
    /// The connection is broken.
    Error(io::Error),
}

/// A connection.
#[derive(Debug)]
pub struct Stream {
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Plain(Socket),
    Tls(Box<SslStream<Socket>>),
}

impl Stream {
    /// Takes a connected socket: without Nagle's delay from now on, with keepalive. It blocks; that it does not is said with each operation.
    ///
    /// # Errors
    /// The socket is broken already.
    pub fn new(tcp: TcpStream) -> io::Result<Stream> {
        tcp.set_nonblocking(false)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_nodelay(true)?;
        setsockopt(&tcp, sockopt::KeepAlive, &true)?;
        let socket =
            Socket { tcp, blocked_on: None, eof: false, ahead: None, more: true, patient: false, goes_on: false };
        Ok(Stream { inner: Inner::Plain(socket) })
    }

    /// After the handshake: what comes now comes in records.
    pub(super) fn over_tls(mut tls: SslStream<Socket>) -> Stream {
        tls.get_mut().ahead = Some(Ahead::default());
        Stream { inner: Inner::Tls(Box::new(tls)) }
    }

    /// The socket of a plain stream, for a handshake over it; none where TLS is on already.
    pub(super) fn into_socket(self) -> Option<Socket> {
        match self.inner {
            Inner::Plain(socket) => Some(socket),
            Inner::Tls(_) => None,
        }
    }

    /// Whether TLS is on.
    pub fn is_tls(&self) -> bool {
        matches!(self.inner, Inner::Tls(_))
    }

    /// Reads into a buffer that is not empty.
    pub fn read(&mut self, buffer: &mut [u8]) -> Outcome {
        let result = match &mut self.inner {
            Inner::Plain(socket) => socket.read(buffer),
            Inner::Tls(tls) => tls.read(buffer),
        };
        match result {
            // Under TLS the end of the TCP stream, seen by OpenSSL, is one without close_notify.
            Ok(0) => Outcome::Eof { clean: !(self.is_tls() && self.socket().eof) },
            Ok(n) => Outcome::Ready(n),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.would_block(Need::Readable),
            Err(_) if self.is_tls() && self.socket().eof => Outcome::Eof { clean: false },
            Err(e) => Outcome::Error(e),
        }
    }

    /// As [`Stream::read`], but waits a moment if there is nothing yet: one system call instead of three where the peer answers at once.
    pub fn read_when_it_comes(&mut self, buffer: &mut [u8]) -> Outcome {
        self.socket_mut().patient = true;
        let outcome = self.read(buffer);
        self.socket_mut().patient = false;
        outcome
    }

    /// Writes some of a buffer that is not empty; what is left of it has to be written at once. After `WouldBlock` the next call must begin with the same
    /// octets and be at least as long (OpenSSL has already sealed them into a record).
    pub fn write(&mut self, bytes: &[u8]) -> Outcome {
        let result = match &mut self.inner {
            Inner::Plain(socket) => socket.write(bytes),
            Inner::Tls(tls) => {
                tls.get_mut().goes_on = bytes.len() > RECORD_MAX;
                let result = tls.write(bytes);
                tls.get_mut().goes_on = false;
                result
            }
        };
        match result {
            Ok(0) => Outcome::Error(io::ErrorKind::WriteZero.into()),
            Ok(n) => Outcome::Ready(n),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.would_block(Need::Writable),
            Err(e) => Outcome::Error(e),
        }
    }

    /// Octets that were read from the socket and can be read here without it: poll does not see them. Under TLS not all of them need be a whole record.
    pub fn buffered(&self) -> usize {
        match &self.inner {
            Inner::Plain(_) => 0,
            Inner::Tls(tls) => tls.ssl().pending() + self.socket().ahead(),
        }
    }

    /// Whether, after a read, another one may give something without a wait: never for a plain stream that gave less than it was asked for.
    pub fn may_have_more(&self) -> bool {
        self.is_tls() && (self.socket().more || self.buffered() > 0)
    }

    /// Has the peer hear at once that its octets have come. The kernel forgets this setting: to be called each time. If it fails, it is slower.
    pub fn acknowledge(&self) {
        let _ = self.socket().tcp.set_quickack(true);
    }

    /// Gives back memory that is not needed while nothing comes.
    pub fn release(&mut self) {
        if let Some(ahead) = &mut self.socket_mut().ahead {
            ahead.release();
        }
    }

    /// Says that nothing more will be sent: close_notify, then FIN. To be called again after `WouldBlock`.
    pub fn close_write(&mut self) -> Outcome {
        if let Inner::Tls(tls) = &mut self.inner {
            match tls.shutdown() {
                Err(e) if matches!(e.code(), ErrorCode::WANT_READ | ErrorCode::WANT_WRITE) => {
                    return self.would_block(Need::Writable);
                }
                // A session that TLS has given up gets its FIN all the same.
                Ok(_) | Err(_) => {}
            }
        }
        match self.socket().tcp.shutdown(Shutdown::Write) {
            Ok(()) => Outcome::Ready(0),
            Err(e) => Outcome::Error(e),
        }
    }

    /// Reads from the bare socket, for a connection that is being closed and whose input means nothing any more.
    pub fn discard(&mut self, scratch: &mut [u8]) -> Outcome {
        match self.socket_mut().receive(scratch) {
            Ok(0) => Outcome::Eof { clean: true },
            Ok(n) => Outcome::Ready(n),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Outcome::WouldBlock(Need::Readable),
            Err(e) => Outcome::Error(e),
        }
    }

    /// Says this, closes, and waits a moment for the peer to have read it: closing with unread input would destroy it (RST).
    pub fn last_words(mut self, words: &[u8], until: Until<'_>) {
        let mut left = words;
        while !left.is_empty() {
            match self.write(left) {
                Outcome::Ready(n) => left = &left[n..],
                Outcome::WouldBlock(need) if wait(&self, need, until).is_ok() => {}
                _ => return,
            }
        }
        while let Outcome::WouldBlock(need) = self.close_write() {
            if wait(&self, need, until).is_err() {
                return;
            }
        }
        let until = until.at_most(LAST_WORDS_LINGER);
        let mut scratch = [0; 4096];
        let mut drained = 0;
        while drained < LAST_WORDS_DRAIN {
            match self.discard(&mut scratch) {
                Outcome::Ready(n) => drained += n,
                Outcome::WouldBlock(need) if wait(&self, need, until).is_ok() => {}
                _ => return,
            }
        }
    }

    fn would_block(&self, fallback: Need) -> Outcome {
        Outcome::WouldBlock(self.socket().blocked_on.unwrap_or(fallback))
    }

    fn socket(&self) -> &Socket {
        match &self.inner {
            Inner::Plain(socket) => socket,
            Inner::Tls(tls) => tls.get_ref(),
        }
    }

    fn socket_mut(&mut self) -> &mut Socket {
        match &mut self.inner {
            Inner::Plain(socket) => socket,
            Inner::Tls(tls) => tls.get_mut(),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().tcp.as_fd()
    }
}

/// The socket below TLS. Remembers what OpenSSL does not tell: which of the two directions an operation was blocked on, and
/// that the TCP stream has ended.
#[derive(Debug)]
pub(super) struct Socket {
    tcp: TcpStream,
    blocked_on: Option<Need>,
    eof: bool,
    /// Under TLS, once hands are shaken.
    ahead: Option<Ahead>,
    /// The last read may have left something in the socket.
    more: bool,
    /// The next read may wait for a moment.
    patient: bool,
    /// What is written is not the last of it.
    goes_on: bool,
}

/// What was read from a socket ahead of OpenSSL, which asks for five octets and then for a record, with a system call for each. Ciphertext only.
#[derive(Debug, Default)]
struct Ahead {
    /// Grows to [`Ahead::LEN_MAX`] while reads fill it.
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

impl Ahead {
    /// A record of a dialogue.
    const LEN: usize = 2 * 1024;
    /// Some of the largest.
    const LEN_MAX: usize = 64 * 1024;

    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.end - self.start);
        buffer[..count].copy_from_slice(&self.memory[self.start..self.start + count]);
        self.start += count;
        count
    }

    fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        let filled = self.end == self.memory.len();
        (self.start, self.end) = (0, 0);
        if filled {
            self.memory.resize((self.memory.len() * 8).clamp(Ahead::LEN, Ahead::LEN_MAX), 0);
        }
        self.end = read(&mut self.memory)?;
        Ok(self.end)
    }

    fn release(&mut self) {
        if self.start == self.end {
            *self = Ahead::default();
        }
    }
}

impl Socket {
    pub(super) fn blocked_on(&self) -> Option<Need> {
        self.blocked_on
    }

    /// Octets read ahead.
    fn ahead(&self) -> usize {
        self.ahead.as_ref().map_or(0, |ahead| ahead.end - ahead.start)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Once is enough, for the rest of a record, too.
        let flags = if std::mem::take(&mut self.patient) { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
        let result = uninterrupted(|| Ok(recv(self.tcp.as_raw_fd(), buffer, flags)?));
        match &result {
            Ok(0) if !buffer.is_empty() => self.eof = true,
            Ok(count) => self.more = *count == buffer.len(),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                (self.blocked_on, self.more) = (Some(Need::Readable), false)
            }
            _ => {}
        }
        result
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(mut ahead) = self.ahead.take() else { return self.receive(buffer) };
        let mut result = Ok(ahead.take(buffer));
        if matches!(result, Ok(0)) && !buffer.is_empty() {
            result = ahead.fill(|memory| self.receive(memory)).map(|_| ahead.take(buffer));
        }
        self.ahead = Some(ahead);
        result
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let more = if self.goes_on { MORE } else { MsgFlags::empty() };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL | more;
        let result = uninterrupted(|| Ok(send(self.tcp.as_raw_fd(), bytes, flags)?));
        if result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock) {
            self.blocked_on = Some(Need::Writable);
        }
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn uninterrupted(mut operation: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match operation() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
