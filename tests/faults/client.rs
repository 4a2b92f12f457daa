//! A client to whom every connection may break at any time.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::support::{CLIENT, PASSWORD};

pub(crate) struct Client {
    tcp: TcpStream,
    ahead: Vec<u8>,
    tag: u32,
}

impl Client {
    pub(crate) fn connect(port: u16) -> io::Result<Client> {
        let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(CLIENT))?;
        tcp.set_write_timeout(Some(CLIENT))?;
        Ok(Client { tcp, ahead: Vec::new(), tag: 0 })
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tcp.write_all(bytes)
    }

    /// One line without its CRLF.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.ahead.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.read_more()?;
        }
    }

    fn octets(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < count {
            self.read_more()?;
        }
        Ok(self.ahead.drain(..count).collect())
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut buffer = [0; 65536];
        match self.tcp.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.ahead.extend_from_slice(&buffer[..count]);
                Ok(())
            }
        }
    }

    /// A POP3 command; its status line.
    pub(crate) fn pop3(&mut self, command: &str) -> io::Result<String> {
        self.say(format!("{command}\r\n").as_bytes())?;
        self.line()
    }

    /// RETR; the status line, and the message if there is one.
    pub(crate) fn retr(&mut self, number: usize) -> io::Result<(String, Vec<u8>)> {
        let status = self.pop3(&format!("RETR {number}"))?;
        let mut message = Vec::new();
        if status.starts_with("+OK") {
            loop {
                let end = loop {
                    match self.ahead.windows(2).position(|pair| pair == b"\r\n") {
                        Some(end) => break end + 2,
                        None => self.read_more()?,
                    }
                };
                let line: Vec<u8> = self.ahead.drain(..end).collect();
                if line == b".\r\n" {
                    break;
                }
                message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            }
        }
        Ok((status, message))
    }

    /// An IMAP command; its tagged reply without the tag, and the literals before it.
    pub(crate) fn imap(&mut self, command: &str) -> io::Result<(String, Vec<Vec<u8>>)> {
        self.tag += 1;
        let tag = format!("t{} ", self.tag);
        self.say(format!("{tag}{command}\r\n").as_bytes())?;
        self.imap_reply(&tag)
    }

    fn imap_reply(&mut self, tag: &str) -> io::Result<(String, Vec<Vec<u8>>)> {
        let mut literals = Vec::new();
        loop {
            let line = self.line()?;
            if let Some(reply) = line.strip_prefix(tag) {
                return Ok((reply.to_owned(), literals));
            }
            if line.starts_with("+ ") {
                return Ok((line, literals));
            }
            let size = line.strip_suffix('}').and_then(|line| line.rsplit_once('{')).map(|(_, size)| size.parse());
            if let (true, Some(Ok(size))) = (line.starts_with("* "), size) {
                literals.push(self.octets(size)?);
            }
        }
    }

    /// APPEND with a literal that is asked for first; the tagged reply.
    pub(crate) fn append(&mut self, folder: &str, message: &[u8]) -> io::Result<String> {
        let (reply, _) = self.imap(&format!("APPEND {folder} (\\Seen) {{{}}}", message.len()))?;
        if !reply.starts_with("+ ") {
            return Ok(reply);
        }
        self.say(&[message, b"\r\n"].concat())?;
        let tag = format!("t{} ", self.tag);
        Ok(self.imap_reply(&tag)?.0)
    }

    /// An SMTP command; the last line of its reply.
    pub(crate) fn smtp(&mut self, command: &str) -> io::Result<String> {
        self.say(format!("{command}\r\n").as_bytes())?;
        self.smtp_reply()
    }

    pub(crate) fn smtp_reply(&mut self) -> io::Result<String> {
        loop {
            let line = self.line()?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line);
            }
        }
    }

    /// Greeting and login, which have to succeed.
    pub(crate) fn pop3_login(&mut self, user: &str) -> io::Result<()> {
        expect(&self.line()?, "+OK")?;
        expect(&self.pop3(&format!("USER {user}"))?, "+OK")?;
        expect(&self.pop3(&format!("PASS {PASSWORD}"))?, "+OK")
    }

    pub(crate) fn imap_login(&mut self, user: &str) -> io::Result<()> {
        expect(&self.line()?, "* OK")?;
        self.imap_ok(&format!("LOGIN {user} {PASSWORD}"))
    }

    pub(crate) fn imap_ok(&mut self, command: &str) -> io::Result<()> {
        expect(&self.imap(command)?.0, "OK")
    }

    pub(crate) fn smtp_login(&mut self, user: &str) -> io::Result<()> {
        expect(&self.smtp_reply()?, "220")?;
        expect(&self.smtp("EHLO client.example.org")?, "250")?;
        let plain = BASE64_STANDARD.encode(format!("\0{user}\0{PASSWORD}"));
        expect(&self.smtp(&format!("AUTH PLAIN {plain}"))?, "235")
    }

    /// MAIL and RCPT, which have to succeed.
    pub(crate) fn envelope(&mut self, from: &str, to: &[&str]) -> io::Result<()> {
        expect(&self.smtp(&format!("MAIL FROM:<{from}>"))?, "250")?;
        to.iter().try_for_each(|to| expect(&self.smtp(&format!("RCPT TO:<{to}>"))?, "250"))
    }

    /// DATA; the last reply.
    pub(crate) fn data(&mut self, message: &[u8]) -> io::Result<String> {
        let reply = self.smtp("DATA")?;
        if !reply.starts_with("354") {
            return Ok(reply);
        }
        self.say(&stuffed(message))?;
        self.smtp_reply()
    }

    /// BDAT in these chunks; the last reply.
    pub(crate) fn bdat(&mut self, chunks: &[&[u8]]) -> io::Result<String> {
        let mut reply = String::new();
        for (number, chunk) in chunks.iter().enumerate() {
            let last = if number + 1 == chunks.len() { " LAST" } else { "" };
            self.say(&[format!("BDAT {}{last}\r\n", chunk.len()).as_bytes(), chunk].concat())?;
            reply = self.smtp_reply()?;
            if !reply.starts_with("250") {
                break;
            }
        }
        Ok(reply)
    }
}

/// A reply that begins like this, or an error.
pub(crate) fn expect(reply: &str, start: &str) -> io::Result<()> {
    if reply.starts_with(start) {
        return Ok(());
    }
    Err(io::Error::other(format!("not {start} but: {reply}")))
}

/// As DATA and RETR carry it, with its end (RFC 5321, section 4.5.2).
pub(crate) fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in message.split_inclusive(|&b| b == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b".\r\n");
    out
}
