//! IMAP4rev1 (RFC 3501) with LITERAL+, UIDPLUS, MOVE, IDLE, SPECIAL-USE: what mail programs need to show folders, read, file and delete.
//! Not known: the structure of MIME messages (BODYSTRUCTURE, single parts).

mod fetch;
mod search;
mod selected;
mod syntax;

use std::io;
use std::time::Duration;

use self::selected::Selected;
use self::syntax::{Argument, fits, folder_name, quote, words};
use super::{Client, MESSAGE, literal, verb};

const UIDVALIDITY: u32 = 1;
const FLAGS: &str = r"\Answered \Flagged \Deleted \Seen \Draft";
/// How soon a client in IDLE learns what is new.
const IDLE_STEP: Duration = Duration::from_millis(200);

pub(super) fn serve(mut client: Client<'_>) -> io::Result<()> {
    let greeting = format!("* OK [CAPABILITY {}] a small mail host", capabilities(&client));
    client.greet(&greeting)?;
    let mut session = Session { client, user: None, selected: None };
    while let Some((tag, result)) = session.command()? {
        session.client.wire.say(format!("{tag} {result}"))?;
        if session.client.tls || result != GO {
            continue;
        }
        session.client.tls = true;
        session.client.wire.accept(&session.client.world.acceptor)?;
    }
    Ok(())
}

/// The result after which TLS begins.
const GO: &str = "OK now TLS";
const NONEXISTENT: &str = "NO [NONEXISTENT] no such folder";

fn capabilities(client: &Client<'_>) -> String {
    let tls = if client.tls { "" } else { " STARTTLS" };
    format!("IMAP4rev1 LITERAL+ SASL-IR AUTH=PLAIN UIDPLUS MOVE IDLE NAMESPACE SPECIAL-USE{tls}")
}

struct Session<'a> {
    client: Client<'a>,
    user: Option<String>,
    selected: Option<Selected>,
}

impl Session<'_> {
    /// Does one command; gives its tag and what is to be said last, or nothing after a LOGOUT.
    fn command(&mut self) -> io::Result<Option<(String, String)>> {
        let line = self.client.command()?;
        let (tag, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let (mut name, rest) = verb(rest);
        let mut arguments = self.arguments(rest)?;
        let by_uid = name == "UID" && !arguments.is_empty();
        if by_uid {
            name = arguments.remove(0).text().to_ascii_uppercase();
        }
        if name == "LOGOUT" {
            self.client.wire.say("* BYE until next time")?;
            self.client.wire.say(format!("{tag} OK bye"))?;
            return Ok(None);
        }
        if arguments.iter().any(|argument| matches!(argument, Argument::Literal(_)))
            && name == "APPEND"
            && self.client.acted(MESSAGE, tag)?
        {
            return self.command();
        }
        let result = match self.user.clone() {
            None => self.before_login(&name, &arguments)?,
            Some(user) => self.after_login(&user, &name, &arguments, by_uid)?,
        };
        // A message number may not change its meaning while it is in use (RFC 3501 7.4.1).
        if !matches!(name.as_str(), "FETCH" | "STORE" | "SEARCH") {
            self.sync()?;
        }
        Ok(Some((tag.to_owned(), result)))
    }

    fn before_login(&mut self, name: &str, arguments: &[Argument]) -> io::Result<String> {
        let texts: Vec<String> = arguments.iter().map(Argument::text).collect();
        let user = match (name, &texts[..]) {
            ("STARTTLS", []) if !self.client.tls => return Ok(GO.to_owned()),
            ("LOGIN", [user, password]) => self.client.mail.accepts(user, password).then(|| user.clone()),
            ("AUTHENTICATE", [mechanism, first @ ..]) if mechanism.eq_ignore_ascii_case("PLAIN") => {
                let answer = match first {
                    [answer, ..] => answer.clone(),
                    [] => self.client.wire.send("+ \r\n").and_then(|()| self.client.wire.line())?,
                };
                self.client.plain(&answer)
            }
            _ => return self.any_time(name),
        };
        self.user = user;
        let welcome = format!("OK [CAPABILITY {}] welcome", capabilities(&self.client));
        Ok(if self.user.is_some() { welcome } else { "NO [AUTHENTICATIONFAILED] wrong user or password".to_owned() })
    }

    fn any_time(&mut self, name: &str) -> io::Result<String> {
        match name {
            "CAPABILITY" => {
                let capabilities = capabilities(&self.client);
                self.client.wire.say(format!("* CAPABILITY {capabilities}"))?;
            }
            "NOOP" | "CHECK" => {}
            _ => return Ok("BAD not known here, or not now".to_owned()),
        }
        Ok("OK done".to_owned())
    }

    fn after_login(&mut self, user: &str, name: &str, arguments: &[Argument], by_uid: bool) -> io::Result<String> {
        let texts: Vec<String> = arguments.iter().map(Argument::text).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mail = self.client.mail;
        let done = |done: bool| if done { "OK done" } else { "NO that cannot be done" }.to_owned();
        Ok(match (name, &texts[..]) {
            ("LIST" | "LSUB", [reference, pattern]) => self.list(name, user, &format!("{reference}{pattern}"))?,
            ("NAMESPACE", []) => {
                self.client.wire.say(r#"* NAMESPACE (("" "/")) NIL NIL"#)?;
                done(true)
            }
            ("STATUS", [folder, items]) => self.status(user, &folder_name(folder), items)?,
            ("CREATE", [folder, ..]) => done(mail.create(user, &folder_name(folder))),
            ("DELETE", [folder]) => done(mail.remove(user, &folder_name(folder))),
            ("SUBSCRIBE" | "UNSUBSCRIBE", [_]) => done(true),
            ("SELECT" | "EXAMINE", [folder, ..]) => self.select(user, folder, name == "EXAMINE")?,
            ("APPEND", [folder, .., _]) => self.append(user, folder, arguments),
            ("IDLE", []) => self.idle()?,
            _ => match (self.selected.take(), name, &texts[..]) {
                (None, ..) => self.any_time(name)?,
                (Some(selected), "CLOSE" | "UNSELECT", []) => {
                    if name == "CLOSE" && !selected.read_only {
                        self.expunge(user, &selected, "1:*");
                    }
                    "OK done".to_owned()
                }
                (Some(mut selected), name, texts) => {
                    let result = self.selected(user, &mut selected, name, texts, arguments, by_uid);
                    self.selected = Some(selected);
                    result?
                }
            },
        })
    }

    /// All arguments of a command whose first line is `text`; literals are asked for and read.
    fn arguments(&mut self, text: &str) -> io::Result<Vec<Argument>> {
        let mut arguments = Vec::new();
        let mut text = text.to_owned();
        while let Some((size, waits)) = literal(&text) {
            arguments.extend(words(&text[..text.rfind('{').unwrap_or(0)]));
            if waits {
                self.client.wire.say("+ go on")?;
            }
            arguments.push(Argument::Literal(self.client.wire.octets(size)?));
            text = self.client.wire.line()?;
        }
        arguments.extend(words(&text));
        Ok(arguments)
    }

    fn list(&mut self, name: &str, user: &str, pattern: &str) -> io::Result<String> {
        let wire = &mut self.client.wire;
        if pattern.is_empty() {
            wire.say(format!(r#"* {name} (\Noselect) "/" """#))?;
        }
        let folders = self.client.mail.folders(user);
        for folder in &folders {
            if fits(folder, pattern) || folder == &folder_name(pattern) {
                let below = format!("{folder}/");
                let children = folders.iter().any(|other| other.starts_with(&below));
                let children = if children { r"\HasChildren" } else { r"\HasNoChildren" };
                let special = match folder.as_str() {
                    "Sent" => r" \Sent",
                    "Drafts" => r" \Drafts",
                    "Trash" => r" \Trash",
                    "Junk" => r" \Junk",
                    _ => "",
                };
                wire.say(format!(r#"* {name} ({children}{special}) "/" {}"#, quote(folder)))?;
            }
        }
        Ok("OK done".to_owned())
    }

    fn status(&mut self, user: &str, folder: &str, items: &str) -> io::Result<String> {
        let Some(messages) = self.client.mail.messages(user, folder) else { return Ok(NONEXISTENT.to_owned()) };
        let value = |item: &str| match item {
            "MESSAGES" => messages.len() as u32,
            "UNSEEN" => messages.iter().filter(|message| !message.has("\\Seen")).count() as u32,
            "UIDNEXT" => self.client.mail.next_uid(user, folder),
            "UIDVALIDITY" => UIDVALIDITY,
            _ => 0,
        };
        let items: Vec<String> = items
            .split_ascii_whitespace()
            .map(str::to_ascii_uppercase)
            .map(|item| format!("{item} {}", value(&item)))
            .collect();
        self.client.wire.say(format!("* STATUS {} ({})", quote(folder), items.join(" ")))?;
        Ok("OK done".to_owned())
    }

    fn select(&mut self, user: &str, folder: &str, read_only: bool) -> io::Result<String> {
        self.selected = None;
        let folder = folder_name(folder);
        let Some(messages) = self.client.mail.messages(user, &folder) else { return Ok(NONEXISTENT.to_owned()) };
        let next = self.client.mail.next_uid(user, &folder);
        let permanent = if read_only { String::new() } else { format!("{FLAGS} \\*") };
        let lines = [
            format!("{} EXISTS", messages.len()),
            "0 RECENT".to_owned(),
            format!("FLAGS ({FLAGS})"),
            format!("OK [PERMANENTFLAGS ({permanent})] kept"),
            format!("OK [UIDVALIDITY {UIDVALIDITY}] valid"),
            format!("OK [UIDNEXT {next}] next"),
        ];
        self.client.wire.send(lines.map(|line| format!("* {line}\r\n")).concat())?;
        self.selected = Some(Selected { folder, read_only, messages });
        Ok(if read_only { "OK [READ-ONLY] look" } else { "OK [READ-WRITE] go on" }.to_owned())
    }

    /// APPEND's arguments: folder, flags or nothing, date or nothing, the message.
    fn append(&mut self, user: &str, folder: &str, arguments: &[Argument]) -> String {
        let Some((Argument::Literal(message), options)) = arguments[1..].split_last() else {
            return "BAD where is the message?".to_owned();
        };
        let (mut flags, mut date) = (Vec::new(), None);
        for option in options {
            match option {
                Argument::List(list) => flags = list.split_ascii_whitespace().map(str::to_owned).collect(),
                Argument::Word(word) => date = fetch::read_date(word),
                Argument::Literal(_) => {}
            }
        }
        let folder = folder_name(folder);
        let mail = self.client.mail;
        let uid = match date {
            Some(date) => mail.add(user, &folder, flags, date, message.as_slice().into()),
            None => mail.deliver_as(user, &folder, flags, message),
        };
        match uid {
            Some(uid) => format!("OK [APPENDUID {UIDVALIDITY} {uid}] done"),
            None => "NO [TRYCREATE] no such folder".to_owned(),
        }
    }

    /// RFC 2177.
    fn idle(&mut self) -> io::Result<String> {
        self.client.wire.say("+ idling")?;
        while !self.client.wire.is_spoken_to(IDLE_STEP)? {
            self.sync()?;
        }
        let done = self.client.wire.line()?.eq_ignore_ascii_case("DONE");
        Ok(if done { "OK done" } else { "BAD that is not DONE" }.to_owned())
    }

    /// Tells what has become of the selected folder.
    fn sync(&mut self) -> io::Result<()> {
        let (Some(user), Some(selected)) = (&self.user, &mut self.selected) else { return Ok(()) };
        let now = self.client.mail.messages(user, &selected.folder).unwrap_or_default();
        let known = &mut selected.messages;
        let mut news = String::new();
        let find = |uid: u32| now.binary_search_by_key(&uid, |message| message.uid).ok();
        for index in (0..known.len()).rev() {
            if find(known[index].uid).is_none() {
                known.remove(index);
                news += &format!("* {} EXPUNGE\r\n", index + 1);
            }
        }
        if now.len() > known.len() {
            news += &format!("* {} EXISTS\r\n", now.len());
        }
        for (before, (after, number)) in known.iter().zip(now.iter().zip(1..)) {
            if before.flags != after.flags {
                news += &format!("* {number} FETCH (FLAGS ({}))\r\n", after.flags.join(" "));
            }
        }
        *known = now;
        if news.is_empty() { Ok(()) } else { self.client.wire.send(news) }
    }
}
