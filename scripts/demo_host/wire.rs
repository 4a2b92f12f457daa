//! One connection, seen from either end: lines, octets, dot-stuffed text. The demo's host and its clients share this, and nothing of
//! MailStore's own code: what they compare proves more that way.
//!
//! Every wait ends after [`WAIT`]; a line or a message that is larger than this demo ever sends is an error.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(20);
const LINE_LEN_MAX: u64 = 64 * 1024;
const MESSAGE_SIZE_MAX: usize = 10 << 20;

pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    pub(crate) fn connect(at: SocketAddr) -> io::Result<Wire> {
        Wire::new(TcpStream::connect_timeout(&at, WAIT)?)
    }

    pub(crate) fn new(stream: TcpStream) -> io::Result<Wire> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.set_write_timeout(Some(WAIT))?;
        Ok(Wire { stream: BufReader::new(stream) })
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
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

    /// All up to and with the next LF.
    fn raw_line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.stream).take(LINE_LEN_MAX).read_until(b'\n', &mut line)?;
        match line.last() {
            Some(b'\n') => Ok(line),
            Some(_) if line.len() as u64 == LINE_LEN_MAX => Err(too_large("a line")),
            _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other side closed the connection")),
        }
    }

    pub(crate) fn octets(&mut self, count: usize) -> io::Result<Vec<u8>> {
        if count > MESSAGE_SIZE_MAX {
            return Err(too_large("a literal"));
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
                return Err(too_large("a message"));
            }
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

fn too_large(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is larger than the demo allows"))
}
