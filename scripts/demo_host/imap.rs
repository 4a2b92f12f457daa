//! The mail host's IMAP (RFC 3501): what a mail program needs to list folders, read and file messages.

use std::io;

use crate::host::{Message, Peer, Store, verb_of};

struct Session<'a> {
    store: &'a Store,
    owner: Option<String>,
    selected: Option<String>,
}

pub(crate) fn session(peer: &mut Peer, store: &Store) -> io::Result<()> {
    peer.say("* OK [CAPABILITY IMAP4rev1 LITERAL+ SPECIAL-USE] The demonstration's mail host")?;
    let mut session = Session { store, owner: None, selected: None };
    while let Some(line) = peer.line()? {
        let Some((command, literals)) = whole_command(peer, &line)? else { return Ok(()) };
        let (tag, rest) = command.split_once(' ').unwrap_or((&command, ""));
        let (mut verb, mut rest) = verb_of(rest);
        let by_uid = verb == "UID";
        if by_uid {
            (verb, rest) = verb_of(rest);
        }
        let reply = match (verb.as_str(), session.owner.clone()) {
            ("CAPABILITY", _) => {
                peer.say("* CAPABILITY IMAP4rev1 LITERAL+ SPECIAL-USE")?;
                "OK"
            }
            ("NOOP" | "CHECK" | "SUBSCRIBE" | "UNSUBSCRIBE", _) => "OK",
            ("LOGOUT", _) => {
                peer.say("* BYE")?;
                return peer.say(&format!("{tag} OK"));
            }
            ("LOGIN", None) => {
                let words = words(rest, &literals);
                session.owner = match &words[..] {
                    [user, password] => store.login(user, password),
                    _ => None,
                };
                if session.owner.is_some() {
                    "OK"
                } else {
                    "NO [AUTHENTICATIONFAILED] No such user, or not his password"
                }
            }
            ("LIST" | "LSUB", Some(owner)) => {
                for name in store.change(&owner, |mailbox| mailbox.keys().cloned().collect::<Vec<_>>()) {
                    let attributes = if name == "Sent" { "\\HasNoChildren \\Sent" } else { "\\HasNoChildren" };
                    peer.say(&format!("* {verb} ({attributes}) \"/\" \"{name}\""))?;
                }
                "OK"
            }
            ("CREATE", Some(owner)) => {
                if let Some(name) = words(rest, &literals).first() {
                    store.change(&owner, |mailbox| mailbox.entry(name.clone()).or_default().next_uid());
                }
                "OK"
            }
            ("SELECT" | "EXAMINE", Some(owner)) => session.select(peer, &owner, words(rest, &literals).first())?,
            ("STATUS", Some(owner)) => session.status(peer, &owner, words(rest, &literals).first())?,
            ("APPEND", Some(owner)) => session.append(&owner, rest, &literals),
            ("FETCH" | "STORE" | "SEARCH" | "EXPUNGE" | "CLOSE", Some(owner)) => match session.selected.clone() {
                None => "BAD No folder is selected",
                Some(folder) => session.selected_command(peer, &owner, &folder, &verb, rest, by_uid)?,
            },
            _ => "BAD Not this, or not now",
        };
        peer.say(&format!("{tag} {reply}"))?;
    }
    Ok(())
}

impl Session<'_> {
    fn select(&mut self, peer: &mut Peer, owner: &str, name: Option<&String>) -> io::Result<&'static str> {
        let name = name.map(|name| folder_name(name)).unwrap_or_default();
        let found = self.store.change(owner, |mailbox| mailbox.get(&name).map(|f| (f.messages.len(), f.next_uid())));
        let Some((count, next)) = found else {
            self.selected = None;
            return Ok("NO No such folder");
        };
        peer.say("* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n* 0 RECENT")?;
        peer.say(&format!("* {count} EXISTS\r\n* OK [UIDVALIDITY 1] Always\r\n* OK [UIDNEXT {next}] Next"))?;
        self.selected = Some(name);
        Ok("OK [READ-WRITE] Selected")
    }

    fn status(&self, peer: &mut Peer, owner: &str, name: Option<&String>) -> io::Result<&'static str> {
        let name = name.map(|name| folder_name(name)).unwrap_or_default();
        let found = self.store.change(owner, |mailbox| mailbox.get(&name).map(|f| (f.messages.len(), f.next_uid())));
        let Some((count, next)) = found else { return Ok("NO No such folder") };
        peer.say(&format!("* STATUS \"{name}\" (MESSAGES {count} RECENT 0 UNSEEN 0 UIDNEXT {next} UIDVALIDITY 1)"))?;
        Ok("OK")
    }

    fn append(&self, owner: &str, rest: &str, literals: &[Vec<u8>]) -> &'static str {
        let (Some(name), Some(message)) = (words(rest, literals).into_iter().next(), literals.last()) else {
            return "BAD APPEND folder message";
        };
        let seen = if rest.contains("\\Seen") { vec!["\\Seen".to_owned()] } else { Vec::new() };
        let name = folder_name(&name);
        let added = self.store.change(owner, |mailbox| mailbox.get_mut(&name).map(|folder| folder.add(message, seen)));
        if added.is_some() { "OK Appended" } else { "NO [TRYCREATE] No such folder" }
    }

    fn selected_command(
        &mut self,
        peer: &mut Peer,
        owner: &str,
        folder: &str,
        verb: &str,
        rest: &str,
        by_uid: bool,
    ) -> io::Result<&'static str> {
        let messages =
            self.store.change(owner, |mailbox| mailbox.get(folder).map(|f| f.messages.clone()).unwrap_or_default());
        let (set, what) = rest.split_once(' ').unwrap_or((rest, ""));
        let numbers = chosen(set, &messages, by_uid);
        match verb {
            "SEARCH" => {
                let all = (1..=messages.len()).map(|n| if by_uid { messages[n - 1].uid } else { n as u32 });
                peer.say(&format!("* SEARCH{}", all.map(|n| format!(" {n}")).collect::<String>()))?;
            }
            "FETCH" => {
                for n in numbers {
                    peer.send(&fetched(n, &messages[n - 1], what, by_uid))?;
                }
            }
            "STORE" => {
                let flags: Vec<String> =
                    what.split(['(', ')', ' ']).filter(|word| word.starts_with('\\')).map(str::to_owned).collect();
                for n in numbers {
                    let uid = messages[n - 1].uid;
                    let now = self.store.change(owner, |mailbox| {
                        let messages = &mut mailbox.entry(folder.to_owned()).or_default().messages;
                        let message = messages.iter_mut().find(|message| message.uid == uid)?;
                        message
                            .flags
                            .retain(|flag| what.starts_with('+') || (what.starts_with('-') && !flags.contains(flag)));
                        if !what.starts_with('-') {
                            message.flags.extend(flags.iter().cloned());
                        }
                        Some(message.flags.join(" "))
                    });
                    peer.say(&format!("* {n} FETCH (FLAGS ({}) UID {uid})", now.unwrap_or_default()))?;
                }
            }
            _ => {
                let deleted = |message: &Message| message.flags.iter().any(|flag| flag == "\\Deleted");
                for n in (1..=messages.len()).rev().filter(|n| deleted(&messages[n - 1])) {
                    if verb == "EXPUNGE" {
                        peer.say(&format!("* {n} EXPUNGE"))?;
                    }
                }
                self.store.change(owner, |mailbox| {
                    mailbox.entry(folder.to_owned()).or_default().messages.retain(|message| !deleted(message));
                });
                if verb == "CLOSE" {
                    self.selected = None;
                }
            }
        }
        Ok("OK Done")
    }
}

/// One FETCH response: the data items that mail programs ask for.
fn fetched(n: usize, message: &Message, items: &str, by_uid: bool) -> Vec<u8> {
    let upper = items.to_ascii_uppercase();
    let mut out = format!("* {n} FETCH (FLAGS ({})", message.flags.join(" ")).into_bytes();
    if by_uid || upper.contains("UID") {
        out.extend(format!(" UID {}", message.uid).as_bytes());
    }
    if upper.contains("RFC822.SIZE") {
        out.extend(format!(" RFC822.SIZE {}", message.bytes.len()).as_bytes());
    }
    if upper.contains("INTERNALDATE") {
        out.extend(b" INTERNALDATE \"14-Nov-2023 22:13:20 +0000\"");
    }
    let (header, text) = halves(&message.bytes);
    let mut item = |name: &str, bytes: &[u8]| {
        out.extend(format!(" {name} {{{}}}\r\n", bytes.len()).as_bytes());
        out.extend(bytes);
    };
    let body = upper.replace(".PEEK", "");
    if body.contains("BODY[]") {
        item("BODY[]", &message.bytes);
    }
    if body.contains("BODY[HEADER]") || body.contains("BODY[HEADER.FIELDS") {
        // All fields, whichever were asked for: echoing the list is what programs look at.
        let name = body.find("BODY[HEADER").and_then(|at| body[at..].find(']').map(|end| &body[at..=at + end]));
        item(name.unwrap_or("BODY[HEADER]"), header);
    }
    if body.contains("BODY[TEXT]") {
        item("BODY[TEXT]", text);
    }
    out.extend(b")\r\n");
    out
}

/// The header with the blank line, and the text.
fn halves(message: &[u8]) -> (&[u8], &[u8]) {
    let end = message.windows(4).position(|window| window == b"\r\n\r\n").map_or(message.len(), |at| at + 4);
    message.split_at(end)
}

/// The numbers (from 1) of the messages in a set like `1:3,5,7:*`.
fn chosen(set: &str, messages: &[Message], by_uid: bool) -> Vec<usize> {
    let last = if by_uid { messages.last().map_or(0, |message| message.uid) } else { messages.len() as u32 };
    let bound = |text: &str| if text == "*" { Some(last) } else { text.parse::<u32>().ok() };
    let ranges: Vec<(u32, u32)> = set
        .split(',')
        .filter_map(|range| {
            let (from, to) = range.split_once(':').unwrap_or((range, range));
            let (from, to) = (bound(from)?, bound(to)?);
            Some((from.min(to), from.max(to)))
        })
        .collect();
    let number = |n: usize| if by_uid { messages[n - 1].uid } else { n as u32 };
    (1..=messages.len()).filter(|&n| ranges.iter().any(|&(from, to)| (from..=to).contains(&number(n)))).collect()
}

/// Reads the literals of a command. Gives it as one line, a literal in it as `{}`, and the literals; none once the client
/// has closed.
fn whole_command(peer: &mut Peer, first: &[u8]) -> io::Result<Option<(String, Vec<Vec<u8>>)>> {
    let mut command = String::from_utf8_lossy(first).into_owned();
    let mut literals = Vec::new();
    loop {
        let announced = command.strip_suffix('}').and_then(|rest| rest.rsplit_once('{'));
        let Some((before, size)) = announced.filter(|(_, size)| !size.is_empty()) else {
            return Ok(Some((command, literals)));
        };
        let Ok(count) = size.trim_end_matches('+').parse() else { return Ok(Some((command, literals))) };
        if !size.ends_with('+') {
            peer.say("+ Go on")?;
        }
        literals.push(peer.octets(count)?);
        let Some(line) = peer.line()? else { return Ok(None) };
        command = format!("{before}{{}}{}", String::from_utf8_lossy(&line));
    }
}

/// The arguments of a command: atoms, quoted strings, literals (which stand as `{}`). Those in parentheses are left out.
fn words(rest: &str, literals: &[Vec<u8>]) -> Vec<String> {
    let mut literals = literals.iter();
    let mut words = Vec::new();
    let mut chars = rest.chars().peekable();
    while let Some(&next) = chars.peek() {
        match next {
            ' ' => drop(chars.next()),
            '(' => while chars.next().is_some_and(|c| c != ')') {},
            '"' => {
                chars.next();
                let mut word = String::new();
                while let Some(c) = chars.next().filter(|&c| c != '"') {
                    word.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
                }
                words.push(word);
            }
            _ => {
                let mut word = String::new();
                while let Some(c) = chars.next_if(|&c| c != ' ') {
                    word.push(c);
                }
                match word.as_str() {
                    "{}" => words.extend(literals.next().map(|bytes| String::from_utf8_lossy(bytes).into_owned())),
                    _ => words.push(word),
                }
            }
        }
    }
    words
}

fn folder_name(name: &str) -> String {
    if name.eq_ignore_ascii_case("INBOX") { "INBOX".to_owned() } else { name.to_owned() }
}
