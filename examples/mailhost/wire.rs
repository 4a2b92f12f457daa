//! One connection, seen from either end: lines, octets, dot-stuffed text, with TLS or without. The host and the clients of the demo and
//! the benches share this.
//!
//! Every wait ends; a line or a message that is larger than anything sent here is an error.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use native_tls::{HandshakeError, TlsAcceptor, TlsConnector, TlsStream};

/// For a client.
const WAIT: Duration = Duration::from_secs(20);
const LINE_LEN_MAX: u64 = 64 * 1024;
pub(super) const MESSAGE_SIZE_MAX: usize = 50 << 20;

pub(crate) struct Wire {
    stream: BufReader<Stream>,
    /// How long a read or a write may take.
    wait: Duration,
    /// After so many octets more nothing leaves, and every operation fails.
    left: Option<usize>,
}

impl Wire {
    pub(crate) fn connect(at: SocketAddr) -> io::Result<Wire> {
        Wire::new(TcpStream::connect_timeout(&at, WAIT)?, WAIT)
    }

    pub(super) fn new(stream: TcpStream, wait: Duration) -> io::Result<Wire> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(wait))?;
        stream.set_write_timeout(Some(wait))?;
        Ok(Wire { stream: BufReader::new(Stream::Plain(stream)), wait, left: None })
    }

    /// The server's side of a handshake.
    pub(super) fn accept(&mut self, acceptor: &TlsAcceptor) -> io::Result<()> {
        self.secure(|stream| acceptor.accept(stream))
    }

    /// The client's side; the server has to prove that it is this host.
    pub(crate) fn start_tls(&mut self, connector: &TlsConnector, host: &str) -> io::Result<()> {
        self.secure(|stream| connector.connect(host, stream))
    }

    fn secure(
        &mut self,
        handshake: impl FnOnce(TcpStream) -> Result<TlsStream<TcpStream>, HandshakeError<TcpStream>>,
    ) -> io::Result<()> {
        if !self.stream.buffer().is_empty() {
            return Err(invalid("text before the handshake"));
        }
        match std::mem::replace(self.stream.get_mut(), Stream::None) {
            Stream::Plain(stream) => *self.stream.get_mut() = Stream::Tls(handshake(stream).map_err(io::Error::other)?),
            Stream::Tls(_) | Stream::None => return Err(invalid("a second handshake")),
        }
        Ok(())
    }

    /// What lies below: for addresses, and for an end in disorder.
    pub(crate) fn tcp(&self) -> io::Result<&TcpStream> {
        self.stream.get_ref().tcp()
    }

    pub(super) fn cut_after(&mut self, octets: usize) {
        self.left = Some(octets);
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let mut bytes = bytes.as_ref();
        let whole = bytes.len();
        if let Some(left) = &mut self.left {
            bytes = &bytes[..whole.min(*left)];
            *left -= bytes.len();
        }
        self.stream.get_mut().write_all(bytes)?;
        if bytes.len() < whole || self.left == Some(0) { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    /// Sends a line; its end is added.
    pub(crate) fn say(&mut self, line: impl AsRef<str>) -> io::Result<()> {
        self.send(format!("{}\r\n", line.as_ref()))
    }

    /// A line without its end, as text for commands and replies.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        let line = self.raw_line()?;
        Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned())
    }

    /// Whether the other side says something (or goes away) within this time.
    pub(super) fn is_spoken_to(&mut self, within: Duration) -> io::Result<bool> {
        self.tcp()?.set_read_timeout(Some(within))?;
        let heard = match self.stream.fill_buf() {
            Ok(_) => Ok(true),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(false),
            Err(e) => Err(e),
        };
        self.tcp()?.set_read_timeout(Some(self.wait))?;
        heard
    }

    /// All up to and with the next LF.
    fn raw_line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.stream).take(LINE_LEN_MAX).read_until(b'\n', &mut line)?;
        match line.last() {
            Some(b'\n') => Ok(line),
            Some(_) if line.len() as u64 == LINE_LEN_MAX => Err(invalid("a line that is too long")),
            _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other side closed the connection")),
        }
    }

    pub(crate) fn octets(&mut self, count: usize) -> io::Result<Vec<u8>> {
        if count > MESSAGE_SIZE_MAX {
            return Err(invalid("a literal that is too large"));
        }
        let mut octets = vec![0; count];
        self.stream.read_exact(&mut octets)?;
        Ok(octets)
    }

    /// A message as SMTP's DATA and POP3's RETR carry it (RFC 5321 4.5.2, RFC 1939 3): a dot more before each dot that starts a line, and
    /// a lone dot behind the last line, which gets an end if it has none.
    pub(crate) fn send_dotted(&mut self, message: &[u8]) -> io::Result<()> {
        let mut out = Vec::with_capacity(message.len() + 64);
        let mut at_start = true;
        for &byte in message {
            if at_start && byte == b'.' {
                out.push(b'.');
            }
            out.push(byte);
            at_start = out.ends_with(b"\r\n");
        }
        if !at_start {
            out.extend(b"\r\n");
        }
        out.extend(b".\r\n");
        self.send(out)
    }

    /// The reverse of [`Wire::send_dotted`].
    pub(crate) fn read_dotted(&mut self) -> io::Result<Vec<u8>> {
        let mut message: Vec<u8> = Vec::new();
        loop {
            let line = self.raw_line()?;
            let at_start = message.is_empty() || message.ends_with(b"\r\n");
            if at_start && line == b".\r\n" {
                return Ok(message);
            }
            let dots = usize::from(at_start && line.starts_with(b"."));
            message.extend(&line[dots..]);
            if message.len() > MESSAGE_SIZE_MAX {
                return Err(invalid("a message that is too large"));
            }
        }
    }
}

/// Says that this is the end and no cut (RFC 8446 6.1).
impl Drop for Wire {
    fn drop(&mut self) {
        if let Stream::Tls(stream) = self.stream.get_mut() {
            let _ = stream.shutdown();
        }
    }
}

/// `{123}` or `{123+}` at a line's end announces so many octets (RFC 9051 4.3). With whether the one who announces waits to be asked for
/// them.
pub(crate) fn literal(line: &str) -> Option<(usize, bool)> {
    let digits = &line.strip_suffix('}')?[line.rfind('{')? + 1..];
    let (digits, waits) = digits.strip_suffix('+').map_or((digits, true), |digits| (digits, false));
    Some((digits.parse().ok()?, waits))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

enum Stream {
    Plain(TcpStream),
    Tls(TlsStream<TcpStream>),
    /// In the middle of a handshake, or after one that failed.
    None,
}

impl Stream {
    fn tcp(&self) -> io::Result<&TcpStream> {
        match self {
            Stream::Plain(stream) => Ok(stream),
            Stream::Tls(stream) => Ok(stream.get_ref()),
            Stream::None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
            Stream::None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
            Stream::None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
            Stream::None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}
