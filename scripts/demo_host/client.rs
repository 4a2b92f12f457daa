//! A small mail client: sends by SMTP, fetches by POP3 and IMAP, files by APPEND. It talks as mail programs do.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::host::{PASSWORD, stuffed};

/// A connection; the greeting is read already.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn connect(to: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_nodelay(true)?;
        let mut client = Client(BufReader::new(stream));
        client.line()?;
        Ok(client)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line)?;
        if line.ends_with(b"\r\n") { Ok(line) } else { Err(io::Error::other("the server closed the connection")) }
    }

    /// Sends a line and expects a reply that starts so; a reply of many lines is read to its last.
    fn expect(&mut self, command: &str, good: &str) -> io::Result<()> {
        self.send(format!("{command}\r\n").as_bytes())?;
        self.reply(command, good)
    }

    fn reply(&mut self, to: &str, good: &str) -> io::Result<()> {
        loop {
            let line = self.line()?;
            if !line.starts_with(good.as_bytes()) {
                let verb = to.split(' ').next().unwrap_or_default();
                return Err(io::Error::other(format!("{verb}: the server said {}", line.escape_ascii())));
            }
            if line.get(good.len()) != Some(&b'-') || good.starts_with('+') {
                return Ok(());
            }
        }
    }

    /// Sends one message by SMTP.
    pub(crate) fn submit(&mut self, from: &str, to: &[&str], message: &[u8]) -> io::Result<()> {
        self.expect("EHLO client.example.org", "250")?;
        let login = BASE64_STANDARD.encode(format!("\0{from}\0{PASSWORD}"));
        self.expect(&format!("AUTH PLAIN {login}"), "235")?;
        self.expect(&format!("MAIL FROM:<{from}>"), "250")?;
        for recipient in to {
            self.expect(&format!("RCPT TO:<{recipient}>"), "250")?;
        }
        self.expect("DATA", "354")?;
        self.send(&stuffed(message))?;
        self.reply("DATA", "250")?;
        self.expect("QUIT", "221")
    }

    /// Fetches the whole inbox by POP3.
    pub(crate) fn pop3_inbox(&mut self, user: &str) -> io::Result<Vec<Vec<u8>>> {
        self.expect(&format!("USER {user}"), "+OK")?;
        self.expect(&format!("PASS {PASSWORD}"), "+OK")?;
        self.expect("LIST", "+OK")?;
        let count = self.dot_lines()?.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count();
        let mut messages = Vec::new();
        for n in 1..=count {
            self.expect(&format!("RETR {n}"), "+OK")?;
            messages.push(self.dot_lines()?);
        }
        self.expect("QUIT", "+OK")?;
        Ok(messages)
    }

    /// Lines up to the lone dot, dot-stuffing undone.
    fn dot_lines(&mut self) -> io::Result<Vec<u8>> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if line == b".\r\n" {
                return Ok(lines);
            }
            lines.extend(line.strip_prefix(b".").unwrap_or(&line));
        }
    }

    pub(crate) fn imap_login(&mut self, user: &str, password: &str) -> io::Result<()> {
        self.imap(&format!("LOGIN \"{user}\" \"{password}\"")).map(drop)
    }

    /// Fetches a whole folder by IMAP.
    pub(crate) fn imap_folder(&mut self, folder: &str) -> io::Result<Vec<Vec<u8>>> {
        self.imap(&format!("SELECT \"{folder}\""))?;
        self.imap("UID FETCH 1:* (FLAGS BODY.PEEK[])")
    }

    /// Files a message by APPEND.
    pub(crate) fn imap_append(&mut self, folder: &str, message: &[u8]) -> io::Result<()> {
        self.send(format!("a APPEND \"{folder}\" (\\Seen) {{{}}}\r\n", message.len()).as_bytes())?;
        self.reply("APPEND", "+ ")?;
        self.send(message)?;
        self.send(b"\r\n")?;
        self.imap_answer("APPEND").map(drop)
    }

    /// Sends a command; gives the literals in the answer.
    pub(crate) fn imap(&mut self, command: &str) -> io::Result<Vec<Vec<u8>>> {
        self.send(format!("a {command}\r\n").as_bytes())?;
        self.imap_answer(command)
    }

    fn imap_answer(&mut self, command: &str) -> io::Result<Vec<Vec<u8>>> {
        let mut literals = Vec::new();
        loop {
            let line = self.line()?;
            if line.starts_with(b"a OK") {
                return Ok(literals);
            }
            if line.starts_with(b"a ") {
                let verb = command.split(' ').next().unwrap_or_default();
                return Err(io::Error::other(format!("{verb}: the server said {}", line.escape_ascii())));
            }
            let text = String::from_utf8_lossy(&line);
            let announced = text.trim_end().strip_suffix('}').and_then(|rest| rest.rsplit_once('{'));
            if let Some(size) = announced.and_then(|(_, size)| size.parse().ok()) {
                let mut literal = vec![0; size];
                self.0.read_exact(&mut literal)?;
                literals.push(literal);
            }
        }
    }
}
