//! The demo's mail programs: each speaks one protocol as ordinary clients do, and gives errors as sentences.

use std::io;
use std::net::SocketAddr;

use base64::prelude::{BASE64_STANDARD, Engine};
use native_tls::TlsConnector;

use crate::mailhost::{Wire, literal};
use crate::stage::{Context, Result};

/// Where it connects to.
#[derive(Clone, Copy)]
pub(crate) struct Server<'a> {
    pub(crate) at: SocketAddr,
    /// TLS from the first octet, with whom to trust; none: without TLS.
    pub(crate) trust: Option<&'a TlsConnector>,
}

impl Server<'_> {
    fn connect(self) -> Result<Wire> {
        let mut wire = Wire::connect(self.at).when(format_args!("connecting to {}", self.at))?;
        if let Some(trust) = self.trust {
            wire.start_tls(trust, "127.0.0.1").when(format_args!("TLS with {}", self.at))?;
        }
        Ok(wire)
    }
}

/// Whose mail it is.
#[derive(Clone, Copy)]
pub(crate) struct Login<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
}

/// Submits a message by SMTP.
pub(crate) fn send(server: Server<'_>, login: Login<'_>, to: &str, message: &[u8]) -> Result<()> {
    let mut wire = server.connect()?;
    smtp(&mut wire, None, "220")?;
    smtp(&mut wire, Some("EHLO client.example.com"), "250")?;
    let answer = BASE64_STANDARD.encode(format!("\0{}\0{}", login.user, login.password));
    wire.say(format!("AUTH PLAIN {answer}")).when("SMTP AUTH")?;
    smtp(&mut wire, None, "235")?;
    smtp(&mut wire, Some(&format!("MAIL FROM:<{}> BODY=8BITMIME", login.user)), "250")?;
    smtp(&mut wire, Some(&format!("RCPT TO:<{to}>")), "250")?;
    smtp(&mut wire, Some("DATA"), "354")?;
    wire.send_dotted(message).when("sending the message by SMTP")?;
    smtp(&mut wire, None, "250")?;
    smtp(&mut wire, Some("QUIT"), "221")
}

/// Sends a command, or none, and wants a reply with this code, of one line or several.
fn smtp(wire: &mut Wire, command: Option<&str>, code: &str) -> Result<()> {
    let what = command.unwrap_or("the reply");
    if let Some(command) = command {
        wire.say(command).when(what)?;
    }
    loop {
        let line = wire.line().when(format_args!("SMTP, {what}"))?;
        if !line.starts_with(code) {
            return Err(format!("SMTP, {what}: {code} was expected, the server said: {line}"));
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}

/// Fetches all messages by POP3 and deletes them at the host.
pub(crate) fn fetch_and_delete(server: Server<'_>, login: Login<'_>) -> Result<Vec<Vec<u8>>> {
    let mut wire = server.connect()?;
    pop3(&mut wire, "the greeting")?;
    let mut command = |line: &str| -> Result<String> {
        wire.say(line).when("POP3")?;
        pop3(&mut wire, line.split(' ').next().unwrap_or_default())
    };
    command(&format!("USER {}", login.user))?;
    command(&format!("PASS {}", login.password))?;
    let stat = command("STAT")?;
    let count: usize =
        stat.split(' ').nth(1).and_then(|count| count.parse().ok()).ok_or(format!("POP3, STAT: {stat}"))?;
    let mut messages = Vec::new();
    for number in 1..=count {
        wire.say(format!("RETR {number}")).when("POP3, RETR")?;
        pop3(&mut wire, "RETR")?;
        messages.push(wire.read_dotted().when("POP3, RETR")?);
        wire.say(format!("DELE {number}")).when("POP3, DELE")?;
        pop3(&mut wire, "DELE")?;
    }
    wire.say("QUIT").when("POP3, QUIT")?;
    pop3(&mut wire, "QUIT")?;
    Ok(messages)
}

fn pop3(wire: &mut Wire, what: &str) -> Result<String> {
    let line = wire.line().when(format_args!("POP3, {what}"))?;
    if line.starts_with("+OK") { Ok(line) } else { Err(format!("POP3, {what}: the server said: {line}")) }
}

/// An IMAP session.
pub(crate) struct Imap {
    wire: Wire,
    /// Of the last command.
    tag: u32,
}

impl Imap {
    pub(crate) fn login(server: Server<'_>, login: Login<'_>) -> Result<Imap> {
        let mut wire = server.connect()?;
        wire.line().when("IMAP, the greeting")?;
        let mut imap = Imap { wire, tag: 0 };
        imap.command("LOGIN", &format!("\"{}\" \"{}\"", login.user, login.password))?;
        Ok(imap)
    }

    /// Puts a message into a folder. Either asks before it sends the message, as RFC 3501 has it, or does not (RFC 7888).
    pub(crate) fn append(&mut self, folder: &str, message: &[u8], ask: bool) -> Result<()> {
        let tag = self.next_tag();
        let plus = if ask { "" } else { "+" };
        let line = format!("{tag} APPEND \"{folder}\" (\\Seen) {{{}{plus}}}", message.len());
        self.wire.say(line).when("IMAP, APPEND")?;
        if ask {
            let line = self.wire.line().when("IMAP, APPEND")?;
            if !line.starts_with('+') {
                return Err(format!("IMAP, APPEND: the server said: {line}"));
            }
        }
        self.wire.send(message).and_then(|()| self.wire.send("\r\n")).when("IMAP, APPEND")?;
        self.responses(&tag, "APPEND").map(drop)
    }

    /// All messages of a folder, which is not changed by that.
    pub(crate) fn fetch_all(&mut self, folder: &str) -> Result<Vec<Vec<u8>>> {
        self.command("EXAMINE", &format!("\"{folder}\""))?;
        self.command("UID FETCH", "1:* (UID FLAGS BODY.PEEK[])")
    }

    /// The beginning of a message's text, as programs fetch it that never want the whole; then another message is deleted that nobody has looked at.
    pub(crate) fn glance_and_delete(&mut self, folder: &str, glanced: u32, deleted: u32) -> Result<Vec<Vec<u8>>> {
        self.command("SELECT", &format!("\"{folder}\""))?;
        let beginning = self.command("UID FETCH", &format!("{glanced} (BODY.PEEK[TEXT]<0.5000>)"))?;
        self.command("UID STORE", &format!("{deleted} +FLAGS (\\Deleted)"))?;
        self.command("EXPUNGE", "")?;
        Ok(beginning)
    }

    pub(crate) fn logout(mut self) -> Result<()> {
        self.command("LOGOUT", "").map(drop)
    }

    /// Does a command; gives the literals of what the server said.
    fn command(&mut self, name: &str, arguments: &str) -> Result<Vec<Vec<u8>>> {
        let tag = self.next_tag();
        self.wire.say(format!("{tag} {name} {arguments}").trim_end()).when(format_args!("IMAP, {name}"))?;
        self.responses(&tag, name)
    }

    fn responses(&mut self, tag: &str, name: &str) -> Result<Vec<Vec<u8>>> {
        let mut literals = Vec::new();
        loop {
            let line = self.response(&mut literals).when(format_args!("IMAP, {name}"))?;
            match line.strip_prefix(tag) {
                Some(result) if result.starts_with(" OK") => return Ok(literals),
                Some(result) => return Err(format!("IMAP, {name}: the server said:{result}")),
                None => {}
            }
        }
    }

    /// The end of the next response's text, behind its literals.
    fn response(&mut self, literals: &mut Vec<Vec<u8>>) -> io::Result<String> {
        loop {
            let line = self.wire.line()?;
            match literal(&line) {
                Some((size, _)) => literals.push(self.wire.octets(size)?),
                None => return Ok(line),
            }
        }
    }

    fn next_tag(&mut self) -> String {
        self.tag += 1;
        format!("a{}", self.tag)
    }
}
