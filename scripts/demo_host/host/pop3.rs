//! POP3 (RFC 1939, RFC 2449) over a user's inbox.

use std::collections::BTreeSet;
use std::io;

use super::{INBOX, Mail, Message, verb};
use crate::wire::Wire;

pub(super) fn serve(wire: &mut Wire, mail: &Mail) -> io::Result<()> {
    wire.say("+OK the demo's mail host")?;
    let mut name = String::new();
    loop {
        let line = wire.line()?;
        match verb(&line) {
            (verb, rest) if verb == "USER" => {
                name = rest.to_owned();
                wire.say("+OK and the password?")?;
            }
            (verb, password) if verb == "PASS" => {
                if mail.accepts(&name, password) {
                    wire.say("+OK welcome")?;
                    return Session::new(mail, name).serve(wire);
                }
                wire.say("-ERR [AUTH] wrong user or password")?;
            }
            (verb, _) if verb == "CAPA" => capabilities(wire)?,
            (verb, _) if verb == "QUIT" => return wire.say("+OK bye"),
            _ => wire.say("-ERR not before the login")?,
        }
    }
}

fn capabilities(wire: &mut Wire) -> io::Result<()> {
    wire.send("+OK\r\nUSER\r\nUIDL\r\nTOP\r\nPIPELINING\r\nRESP-CODES\r\n.\r\n")
}

/// After the login: the inbox as it was then.
struct Session<'a> {
    mail: &'a Mail,
    user: String,
    messages: Vec<Message>,
    /// By index.
    deleted: BTreeSet<usize>,
}

impl<'a> Session<'a> {
    fn new(mail: &'a Mail, user: String) -> Session<'a> {
        let messages = mail.messages(&user, INBOX).unwrap_or_default();
        Session { mail, user, messages, deleted: BTreeSet::new() }
    }

    fn serve(mut self, wire: &mut Wire) -> io::Result<()> {
        loop {
            let line = wire.line()?;
            let (verb, rest) = verb(&line);
            match verb.as_str() {
                "CAPA" => capabilities(wire)?,
                "NOOP" => wire.say("+OK")?,
                "STAT" => {
                    let sizes = self.present().map(|(_, message)| message.bytes.len());
                    wire.say(format!("+OK {} {}", self.present().count(), sizes.sum::<usize>()))?;
                }
                "LIST" => self.list(wire, rest, |message| message.bytes.len().to_string())?,
                "UIDL" => self.list(wire, rest, |message| format!("uid-{}", message.uid))?,
                "RETR" => match self.find(rest) {
                    Some((_, message)) => {
                        wire.say(format!("+OK {} octets", message.bytes.len()))?;
                        wire.send_dotted(&message.bytes)?;
                    }
                    None => wire.say("-ERR no such message")?,
                },
                "TOP" => match rest.split_once(' ').and_then(|(n, lines)| Some((self.find(n)?.1, lines.parse().ok()?)))
                {
                    Some((message, lines)) => {
                        wire.say("+OK")?;
                        wire.send_dotted(top(&message.bytes, lines))?;
                    }
                    None => wire.say("-ERR no such message")?,
                },
                "DELE" => match self.find(rest).map(|(index, _)| index) {
                    Some(index) => {
                        self.deleted.insert(index);
                        wire.say("+OK deleted")?;
                    }
                    None => wire.say("-ERR no such message")?,
                },
                "RSET" => {
                    self.deleted.clear();
                    wire.say("+OK")?;
                }
                "QUIT" => {
                    let gone: Vec<u32> = self.deleted.iter().map(|&index| self.messages[index].uid).collect();
                    self.mail.change(&self.user, INBOX, |messages| messages.retain(|one| !gone.contains(&one.uid)));
                    return wire.say("+OK bye");
                }
                _ => wire.say("-ERR unknown command")?,
            }
        }
    }

    fn present(&self) -> impl Iterator<Item = (usize, &Message)> {
        self.messages.iter().enumerate().filter(|(index, _)| !self.deleted.contains(index))
    }

    fn find(&self, number: &str) -> Option<(usize, &Message)> {
        let wanted: usize = number.parse().ok()?;
        self.present().find(|(index, _)| index + 1 == wanted)
    }

    fn list(&self, wire: &mut Wire, rest: &str, what: impl Fn(&Message) -> String) -> io::Result<()> {
        let line = |(index, message)| format!("{} {}", index + 1, what(message));
        if !rest.is_empty() {
            return wire
                .say(self.find(rest).map_or("-ERR no such message".to_owned(), |one| format!("+OK {}", line(one))));
        }
        let lines: String = self.present().map(|one| line(one) + "\r\n").collect();
        wire.send(format!("+OK\r\n{lines}.\r\n"))
    }
}

/// The header, the empty line, and so many lines of the text.
fn top(message: &[u8], lines: usize) -> &[u8] {
    let header = message.windows(4).position(|four| four == b"\r\n\r\n").map_or(message.len(), |at| at + 4);
    let text: usize = message[header..].split_inclusive(|&byte| byte == b'\n').take(lines).map(<[u8]>::len).sum();
    &message[..header + text]
}
