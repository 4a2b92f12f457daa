//! One connection, plain or TLS, with one buffer: small while lines pass, large once messages do. Nothing is looked at twice.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};
use openssl::ssl::SslStream;
use std::os::fd::AsRawFd;

use crate::tls::Client;

/// For lines.
const SMALL: usize = 1024;
/// For messages.
const LARGE: usize = 256 * 1024;

pub(crate) enum Conn {
    Plain(TcpStream),
    Tls(Box<SslStream<TcpStream>>),
}

impl Read for Conn {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Conn::Plain(tcp) => tcp.read(into),
            Conn::Tls(tls) => tls.read(into),
        }
    }
}

impl Write for Conn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Conn::Plain(tcp) => tcp.write(bytes),
            Conn::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) struct Wire {
    conn: Conn,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Wire {
    pub(crate) fn new(conn: Conn) -> Wire {
        Wire { conn, buffer: vec![0; SMALL], start: 0, end: 0 }
    }

    /// Connects, with TLS where there is a `client` for it; from this local address where one is given.
    pub(crate) fn connect(to: SocketAddr, from: Option<IpAddr>, client: Option<&Client>) -> io::Result<Wire> {
        let tcp = match from {
            None => TcpStream::connect(to)?,
            Some(from) => {
                let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
                bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0)))?;
                connect(fd.as_raw_fd(), &SockaddrStorage::from(to))?;
                TcpStream::from(fd)
            }
        };
        tcp.set_nodelay(true)?;
        Ok(Wire::new(match client {
            None => Conn::Plain(tcp),
            Some(client) => Conn::Tls(Box::new(client.connect(tcp)?)),
        }))
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.conn.write_all(bytes.as_ref())
    }

    /// The next line, without its CRLF; none where the peer has closed.
    pub(crate) fn line_if_any(&mut self) -> io::Result<Option<&[u8]>> {
        let mut seen = self.start;
        loop {
            if let Some(at) = self.buffer[seen..self.end].iter().position(|byte| *byte == b'\n') {
                let line = self.start..seen + at;
                self.start = line.end + 1;
                let line = &self.buffer[line];
                return Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)));
            }
            let looked_at = self.end - self.start;
            if self.fill()? == 0 {
                return if looked_at == 0 { Ok(None) } else { Err(closed()) };
            }
            seen = self.start + looked_at;
        }
    }

    pub(crate) fn line(&mut self) -> io::Result<&[u8]> {
        self.line_if_any()?.ok_or_else(closed)
    }

    /// So many octets: few.
    pub(crate) fn octets(&mut self, octets: usize) -> io::Result<Vec<u8>> {
        while self.end - self.start < octets {
            if self.fill()? == 0 {
                return Err(closed());
            }
        }
        self.start += octets;
        Ok(self.buffer[self.start - octets..self.start].to_vec())
    }

    /// Reads so many octets and throws them away.
    pub(crate) fn skip(&mut self, octets: usize) -> io::Result<()> {
        let mut missing = octets;
        loop {
            let here = missing.min(self.end - self.start);
            self.start += here;
            missing -= here;
            if missing == 0 {
                return Ok(());
            }
            self.grow();
            if self.fill()? == 0 {
                return Err(closed());
            }
        }
    }

    /// Reads up to CRLF.CRLF, which has to end what is read: nothing is pipelined behind it. The octets, all included.
    pub(crate) fn until_dot(&mut self) -> io::Result<usize> {
        const END: &[u8] = b"\r\n.\r\n";
        self.grow();
        let mut octets = 0;
        loop {
            let have = &self.buffer[self.start..self.end];
            if have.ends_with(END) {
                octets += have.len();
                self.start = self.end;
                return Ok(octets);
            }
            // The last four may be the beginning of the end.
            let done = have.len().saturating_sub(END.len() - 1);
            octets += done;
            self.start += done;
            if self.fill()? == 0 {
                return Err(closed());
            }
        }
    }

    fn grow(&mut self) {
        if self.buffer.len() < LARGE {
            self.buffer.resize(LARGE, 0);
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        if self.start == self.end || self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            let longer = self.buffer.len() * 2;
            self.buffer.resize(longer, 0);
        }
        let got = self.conn.read(&mut self.buffer[self.end..])?;
        self.end += got;
        Ok(got)
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed too early")
}
