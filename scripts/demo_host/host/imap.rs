//! IMAP4rev1 (RFC 3501), as much as shows folders, fetches whole messages and takes new ones.

use std::io;

use super::{INBOX, Mail, Message, verb};
use crate::wire::{Wire, literal};

const CAPABILITIES: &str = "IMAP4rev1 LITERAL+ UIDPLUS SPECIAL-USE";
const UIDVALIDITY: u32 = 1;

pub(super) fn serve(wire: &mut Wire, mail: &Mail) -> io::Result<()> {
    wire.say(format!("* OK [CAPABILITY {CAPABILITIES}] the demo's mail host"))?;
    let mut session = Session { wire, mail, user: None, selected: None };
    while let Some((tag, result)) = session.command()? {
        session.wire.say(format!("{tag} {result}"))?;
    }
    Ok(())
}

struct Session<'a> {
    wire: &'a mut Wire,
    mail: &'a Mail,
    user: Option<String>,
    selected: Option<Selected>,
}

struct Selected {
    folder: String,
    read_only: bool,
    messages: Vec<Message>,
}

impl Session<'_> {
    /// Does one command; gives its tag and what is to be said last, or nothing after a LOGOUT.
    fn command(&mut self) -> io::Result<Option<(String, String)>> {
        let line = self.wire.line()?;
        let (tag, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let (mut name, rest) = verb(rest);
        let mut arguments = self.arguments(rest)?;
        let by_uid = name == "UID" && !arguments.is_empty();
        if by_uid {
            name = arguments.remove(0).text().to_ascii_uppercase();
        }
        let texts: Vec<String> = arguments.iter().map(Argument::text).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let user = self.user.clone();
        let result = match (name.as_str(), &texts[..], user) {
            ("CAPABILITY", ..) => {
                self.wire.say(format!("* CAPABILITY {CAPABILITIES}"))?;
                "OK done".to_owned()
            }
            ("NOOP", ..) => "OK done".to_owned(),
            ("LOGOUT", ..) => {
                self.wire.say("* BYE until next time")?;
                self.wire.say(format!("{tag} OK bye"))?;
                return Ok(None);
            }
            ("LOGIN", [user, password], None) => {
                if self.mail.accepts(user, password) {
                    self.user = Some((*user).to_owned());
                    "OK welcome".to_owned()
                } else {
                    "NO [AUTHENTICATIONFAILED] wrong user or password".to_owned()
                }
            }
            ("LIST" | "LSUB", [_, pattern], Some(user)) => self.list(&name, &user, pattern)?,
            ("SELECT" | "EXAMINE", [folder], Some(user)) => self.select(&user, folder, name == "EXAMINE")?,
            ("FETCH", [set, items], Some(user)) => self.fetch(&user, set, items, by_uid)?,
            ("APPEND", [folder, .., _], Some(user)) => self.append(&user, folder, &arguments),
            ("CLOSE", ..) => {
                self.selected = None;
                "OK done".to_owned()
            }
            _ => "BAD not known here, or not now".to_owned(),
        };
        Ok(Some((tag.to_owned(), result)))
    }

    /// All arguments of a command whose first line is `text`; literals are asked for and read.
    fn arguments(&mut self, text: &str) -> io::Result<Vec<Argument>> {
        let mut arguments = Vec::new();
        let mut text = text.to_owned();
        while let Some((size, waits)) = literal(&text) {
            arguments.extend(words(&text[..text.rfind('{').unwrap_or(0)]));
            if waits {
                self.wire.say("+ go on")?;
            }
            arguments.push(Argument::Literal(self.wire.octets(size)?));
            text = self.wire.line()?;
        }
        arguments.extend(words(&text));
        Ok(arguments)
    }

    fn list(&mut self, name: &str, user: &str, pattern: &str) -> io::Result<String> {
        if pattern.is_empty() {
            self.wire.say(format!(r#"* {name} (\Noselect) "/" """#))?;
        }
        for folder in self.mail.folders(user) {
            let start = pattern.trim_end_matches(['*', '%']);
            if !pattern.is_empty() && (folder == pattern || pattern != start && folder.starts_with(start)) {
                let attributes = if folder == "Sent" { r"\HasNoChildren \Sent" } else { r"\HasNoChildren" };
                self.wire.say(format!(r#"* {name} ({attributes}) "/" "{folder}""#))?;
            }
        }
        Ok("OK done".to_owned())
    }

    fn select(&mut self, user: &str, folder: &str, read_only: bool) -> io::Result<String> {
        self.selected = None;
        let folder = folder_name(folder);
        let Some(messages) = self.mail.messages(user, &folder) else {
            return Ok("NO [NONEXISTENT] no such folder".to_owned());
        };
        let next = messages.last().map_or(1, |message| message.uid + 1);
        self.wire.say(format!("* {} EXISTS", messages.len()))?;
        self.wire.say("* 0 RECENT")?;
        self.wire.say(r"* FLAGS (\Seen)")?;
        self.wire.say(format!("* OK [UIDVALIDITY {UIDVALIDITY}] valid"))?;
        self.wire.say(format!("* OK [UIDNEXT {next}] next"))?;
        self.selected = Some(Selected { folder, read_only, messages });
        Ok(if read_only { "OK [READ-ONLY] look" } else { "OK [READ-WRITE] go on" }.to_owned())
    }

    fn fetch(&mut self, user: &str, set: &str, items: &str, by_uid: bool) -> io::Result<String> {
        let Some(selected) = &mut self.selected else { return Ok("BAD select a folder first".to_owned()) };
        let mut items: Vec<String> = items.split_ascii_whitespace().map(str::to_ascii_uppercase).collect();
        if by_uid && !items.iter().any(|item| item == "UID") {
            items.insert(0, "UID".to_owned());
        }
        let highest =
            if by_uid { selected.messages.last().map_or(0, |last| last.uid) } else { selected.messages.len() as u32 };
        for (index, message) in selected.messages.iter_mut().enumerate() {
            let number = index as u32 + 1;
            if !in_set(set, if by_uid { message.uid } else { number }, highest) {
                continue;
            }
            if !selected.read_only && items.iter().any(|item| item == "BODY[]" || item == "RFC822") {
                message.seen = true;
                let uid = message.uid;
                self.mail.change(user, &selected.folder, |all| {
                    all.iter_mut().filter(|one| one.uid == uid).for_each(|one| one.seen = true);
                });
            }
            let mut response = format!("* {number} FETCH (").into_bytes();
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    response.push(b' ');
                }
                match item.as_str() {
                    "UID" => response.extend(format!("UID {}", message.uid).bytes()),
                    "FLAGS" => response.extend(format!("FLAGS ({})", if message.seen { r"\Seen" } else { "" }).bytes()),
                    "RFC822.SIZE" => response.extend(format!("RFC822.SIZE {}", message.bytes.len()).bytes()),
                    "BODY[]" | "BODY.PEEK[]" | "RFC822" => {
                        let name = if item == "RFC822" { "RFC822" } else { "BODY[]" };
                        response.extend(format!("{name} {{{}}}\r\n", message.bytes.len()).bytes());
                        response.extend(&message.bytes[..]);
                    }
                    _ => {
                        return Ok("BAD the demo's host has whole messages, FLAGS, UID and RFC822.SIZE only".to_owned());
                    }
                }
            }
            response.extend(b")\r\n");
            self.wire.send(response)?;
        }
        Ok("OK done".to_owned())
    }

    /// APPEND's arguments: folder, flags or nothing, date or nothing, the message.
    fn append(&mut self, user: &str, folder: &str, arguments: &[Argument]) -> String {
        let Some(Argument::Literal(message)) = arguments.last() else { return "BAD where is the message?".to_owned() };
        let seen = arguments[1..].iter().any(|one| matches!(one, Argument::Word(word) if word.contains("\\Seen")));
        match self.mail.deliver(user, &folder_name(folder), seen, message) {
            Some(uid) => format!("OK [APPENDUID {UIDVALIDITY} {uid}] done"),
            None => "NO [TRYCREATE] no such folder".to_owned(),
        }
    }
}

enum Argument {
    /// An atom, a quoted string without its quotes, or a list without its parentheses.
    Word(String),
    Literal(Vec<u8>),
}

impl Argument {
    fn text(&self) -> String {
        match self {
            Argument::Word(word) => word.clone(),
            Argument::Literal(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// The arguments in a line, without literals.
fn words(line: &str) -> Vec<Argument> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '"' => quoted(&rest[1..]),
            '(' => {
                let (list, after) = rest[1..].split_once(')').unwrap_or((&rest[1..], ""));
                (list.to_owned(), after)
            }
            _ => {
                let (atom, after) = rest.split_once(' ').unwrap_or((rest, ""));
                (atom.to_owned(), after)
            }
        };
        words.push(Argument::Word(word));
        rest = after.trim_start();
    }
    words
}

/// A quoted string up to its last quote, and what follows.
fn quoted(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (word, &text[at + 1..]),
            '\\' => word.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => word.push(char),
        }
    }
    (word, "")
}

/// `INBOX` is that in upper and lower case.
fn folder_name(name: &str) -> String {
    if name.eq_ignore_ascii_case(INBOX) { INBOX.to_owned() } else { name.to_owned() }
}

/// Whether `1,3:5,7:*` holds a number.
fn in_set(set: &str, number: u32, highest: u32) -> bool {
    let end = |text: &str| if text == "*" { Some(highest) } else { text.parse().ok() };
    set.split(',').any(|range| {
        let (from, to) = range.split_once(':').unwrap_or((range, range));
        matches!((end(from), end(to)), (Some(from), Some(to)) if (from.min(to)..=from.max(to)).contains(&number))
    })
}
