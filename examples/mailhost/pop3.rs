//! POP3 (RFC 1939, RFC 2449, RFC 2595) over a user's inbox.

use std::collections::BTreeSet;
use std::io;

use super::{Client, INBOX, Message, Wire, verb};

pub(super) fn serve(mut client: Client<'_>) -> io::Result<()> {
    client.greet("+OK a small mail host")?;
    let mut name = String::new();
    loop {
        let line = client.command()?;
        let (verb, rest) = verb(&line);
        match verb.as_str() {
            "USER" => {
                name = rest.to_owned();
                client.wire.say("+OK and the password?")?;
            }
            "PASS" if client.mail.accepts(&name, rest) => {
                client.wire.say("+OK welcome")?;
                return Session::new(client, name).serve();
            }
            "AUTH" if rest.to_ascii_uppercase().starts_with("PLAIN") => {
                let mut answer = rest[5..].trim().to_owned();
                if answer.is_empty() {
                    client.wire.say("+ ")?;
                    answer = client.wire.line()?;
                }
                if let Some(user) = client.plain(&answer) {
                    client.wire.say("+OK welcome")?;
                    return Session::new(client, user).serve();
                }
                client.wire.say("-ERR [AUTH] wrong user or password")?;
            }
            "PASS" => client.wire.say("-ERR [AUTH] wrong user or password")?,
            "STLS" if !client.tls => {
                client.start_tls("+OK go on")?;
                name.clear();
            }
            "CAPA" => capabilities(&mut client)?,
            "QUIT" => return client.wire.say("+OK bye"),
            _ => client.wire.say("-ERR not before the login")?,
        }
    }
}

fn capabilities(client: &mut Client<'_>) -> io::Result<()> {
    let tls = if client.tls { "" } else { "STLS\r\n" };
    client.wire.send(format!("+OK\r\nUSER\r\nSASL PLAIN\r\nUIDL\r\nTOP\r\nPIPELINING\r\nRESP-CODES\r\n{tls}.\r\n"))
}

/// After the login: the inbox as it was then.
struct Session<'a> {
    client: Client<'a>,
    user: String,
    inbox: Inbox,
}

struct Inbox {
    messages: Vec<Message>,
    /// By index.
    deleted: BTreeSet<usize>,
}

impl<'a> Session<'a> {
    fn new(client: Client<'a>, user: String) -> Session<'a> {
        let messages = client.mail.messages(&user, INBOX).unwrap_or_default();
        Session { client, user, inbox: Inbox { messages, deleted: BTreeSet::new() } }
    }

    fn serve(mut self) -> io::Result<()> {
        loop {
            let line = self.client.command()?;
            let (verb, rest) = verb(&line);
            let (inbox, wire) = (&mut self.inbox, &mut self.client.wire);
            match verb.as_str() {
                "CAPA" => capabilities(&mut self.client)?,
                "NOOP" => wire.say("+OK")?,
                "STAT" => {
                    let sizes = inbox.present().map(|(_, message)| message.bytes.len());
                    wire.say(format!("+OK {} {}", inbox.present().count(), sizes.sum::<usize>()))?;
                }
                "LIST" => inbox.list(wire, rest, |message| message.bytes.len().to_string())?,
                "UIDL" => inbox.list(wire, rest, |message| format!("uid-{}", message.uid))?,
                "RETR" => match inbox.find(rest) {
                    Some((_, message)) => {
                        wire.say(format!("+OK {} octets", message.bytes.len()))?;
                        wire.send_dotted(&message.bytes)?;
                    }
                    None => wire.say("-ERR no such message")?,
                },
                "TOP" => {
                    let found =
                        rest.split_once(' ').and_then(|(n, lines)| Some((inbox.find(n)?.1, lines.parse().ok()?)));
                    match found {
                        Some((message, lines)) => {
                            wire.say("+OK")?;
                            wire.send_dotted(top(&message.bytes, lines))?;
                        }
                        None => wire.say("-ERR no such message")?,
                    }
                }
                "DELE" => match inbox.find(rest).map(|(index, _)| index) {
                    Some(index) => {
                        inbox.deleted.insert(index);
                        wire.say("+OK deleted")?;
                    }
                    None => wire.say("-ERR no such message")?,
                },
                "RSET" => {
                    inbox.deleted.clear();
                    wire.say("+OK")?;
                }
                "QUIT" => {
                    let gone: Vec<u32> = inbox.deleted.iter().map(|&index| inbox.messages[index].uid).collect();
                    let remove = |messages: &mut Vec<Message>| messages.retain(|one| !gone.contains(&one.uid));
                    self.client.mail.change(&self.user, INBOX, remove);
                    return wire.say("+OK bye");
                }
                _ => wire.say("-ERR unknown command")?,
            }
        }
    }
}

impl Inbox {
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
