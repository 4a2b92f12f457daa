//! An honest client: it follows what it is told, and uses sequence numbers only where they are certain (RFC 9051, section 5.5).

use std::collections::{HashMap, VecDeque};

use super::host::Stream;
use super::server::{Effect, Got, Intent, Server};
use super::steps::{ITEMS, Say, Set, mailbox};
use super::world::{MAILBOXES, TRASH};

/// A command that is not answered.
pub(super) struct Open {
    pub(super) tag: Vec<u8>,
    name: String,
    by_uid: bool,
    /// It waits for a `+`.
    waits: bool,
    /// What it will say then.
    literal: Option<Vec<u8>>,
}

pub(super) struct View {
    pub(super) mailbox: usize,
    pub(super) uids: Vec<u32>,
}

#[derive(Default)]
pub(super) struct Client {
    prefix: String,
    count: usize,
    pub(super) open: VecDeque<Open>,
    pub(super) intents: HashMap<Vec<u8>, Intent>,
    pub(super) view: Option<View>,
    /// The mailbox that it will be in when all is answered.
    ahead: Option<usize>,
    /// In an IDLE that has begun.
    pub(super) idle: bool,
    pub(super) said_done: bool,
    pub(super) logs_out: bool,
    /// It says nothing more, so that no number of its can be wrong.
    pub(super) left: bool,
    input: Stream,
    heard: usize,
    /// As many had come with the last one that was an answer to a command.
    answered: usize,
    pluses: usize,
    local_pluses: usize,
    pub(super) got: Vec<Got>,
    /// A download: the message's UID, its next octet.
    download: Option<(u32, usize)>,
    /// A `NO` of the proxy's own.
    pub(super) refused: Vec<String>,
    pub(super) ended_by_proxy: bool,
}

/// What the client is about to say: the text, and the messages that it means.
struct Draft {
    name: &'static str,
    by_uid: bool,
    rest: String,
    named: Option<(Vec<u32>, bool)>,
}

impl Client {
    pub(super) fn new(prefix: &str) -> Client {
        Client { prefix: prefix.to_owned(), ..Client::default() }
    }

    pub(super) fn log_in(&mut self) -> Vec<u8> {
        self.send(Draft { name: "LOGIN", by_uid: false, rest: "joe secret".to_owned(), named: None }, None)
    }

    /// A command, if it can say that now, or what is allowed in its place.
    pub(super) fn say(
        &mut self,
        say: &Say,
        message: impl FnOnce(usize) -> std::rc::Rc<[u8]>,
        lens: impl Fn(u32) -> usize,
    ) -> Option<Vec<u8>> {
        if self.ended_by_proxy || self.logs_out || self.open.iter().any(|open| open.waits) {
            return None;
        }
        if self.idle {
            self.idle = false;
            self.said_done = true;
            return Some(b"DONE\r\n".to_vec());
        }
        if self.open.iter().any(|open| open.name == "SELECT" && self.ahead.is_none()) {
            return None;
        }
        let plain = |name: &'static str, rest: &str| Draft { name, by_uid: false, rest: rest.to_owned(), named: None };
        let mut literal = None;
        let draft = match say {
            Say::Select(which, read_only) => {
                let which = usize::from(*which) % 7;
                // The inbox more often than the others, now and then one that does not exist.
                let which = which.saturating_sub(2);
                self.ahead = (which < 3).then_some(which);
                plain(if *read_only { "EXAMINE" } else { "SELECT" }, MAILBOXES.get(which).unwrap_or(&"Nowhere"))
            }
            Say::Noop => plain("NOOP", ""),
            Say::Enable if self.ahead.is_none() => plain("ENABLE", "QRESYNC"),
            Say::Idle => plain("IDLE", ""),
            Say::Logout => {
                self.logs_out = true;
                plain("LOGOUT", "")
            }
            Say::Append { to, len, sync } => {
                let message = message(*len);
                let to = MAILBOXES[mailbox(*to)];
                let plus = if *sync { "" } else { "+" };
                let mut text = message.to_vec();
                text.extend_from_slice(b"\r\n");
                literal = Some((*sync, text));
                plain("APPEND", &format!("{to} (\\Seen) {{{}{plus}}}", message.len()))
            }
            _ => {
                self.ahead?;
                match say {
                    Say::Expunge => plain("EXPUNGE", ""),
                    Say::Close | Say::Unselect => {
                        self.ahead = None;
                        plain(if matches!(say, Say::Close) { "CLOSE" } else { "UNSELECT" }, "")
                    }
                    Say::Fetch { by_uid, set, items } => {
                        self.with_set("FETCH", *by_uid, set, ITEMS[usize::from(*items) % ITEMS.len()])?
                    }
                    Say::Chunk { by_uid, which, len, again } => {
                        let uids = &self.view.as_ref()?.uids;
                        let (uid, from) = match self.download {
                            Some((uid, from)) if !*again && uids.contains(&uid) && from <= lens(uid) => (uid, from),
                            _ => (*uids.get(usize::from(*which) % uids.len().max(1))?, 0),
                        };
                        let len = [10, 16, 40, 5000][usize::from(*len) % 4];
                        self.download = Some((uid, from + len));
                        let at = uids.iter().position(|told| *told == uid)?;
                        let set = Set { from: at as u8, to: None, star: false };
                        self.with_set("FETCH", *by_uid, &set, &format!("(BODY.PEEK[]<{from}.{len}>)"))?
                    }
                    Say::Store { by_uid, set, how } => {
                        let how = [
                            r"+FLAGS (\Deleted)",
                            r"+FLAGS.SILENT (\Deleted)",
                            r"FLAGS (\Seen \Deleted)",
                            r"-FLAGS (\Deleted)",
                            r"+FLAGS (\Seen)",
                        ][usize::from(*how) % 5];
                        self.with_set("STORE", *by_uid, set, how)?
                    }
                    Say::UidExpunge(set) => self.with_set("EXPUNGE", true, set, "")?,
                    Say::Search { by_uid, deleted } => {
                        let by_uid = *by_uid || !self.may_use_numbers();
                        let rest = if *deleted { "DELETED" } else { "ALL" }.to_owned();
                        Draft { name: "SEARCH", by_uid, rest, named: None }
                    }
                    Say::Copy { by_uid, set, to, moves } => {
                        let name = if *moves { "MOVE" } else { "COPY" };
                        let to = MAILBOXES.get(usize::from(*to) % 4).unwrap_or(&"Nowhere");
                        self.with_set(name, *by_uid, set, to)?
                    }
                    _ => return None,
                }
            }
        };
        Some(self.send(draft, literal))
    }

    fn send(&mut self, draft: Draft, literal: Option<(bool, Vec<u8>)>) -> Vec<u8> {
        self.count += 1;
        let uid = if draft.by_uid { "UID " } else { "" };
        let tag = format!("{}{}", self.prefix, self.count);
        let blank = if draft.rest.is_empty() { "" } else { " " };
        let line = format!("{tag} {uid}{}{blank}{}\r\n", draft.name, draft.rest).into_bytes();
        let text = [&line[..], literal.as_ref().map_or(&[][..], |(_, text)| text)].concat();
        let leaves = matches!(draft.name, "CLOSE" | "UNSELECT");
        let mailbox = if leaves { self.left_mailbox() } else { self.ahead };
        self.intents.insert(
            tag.clone().into_bytes(),
            Intent { number: self.count, text: text.clone(), mailbox, named: draft.named },
        );
        let sync = literal.as_ref().is_some_and(|(sync, _)| *sync);
        self.open.push_back(Open {
            tag: tag.into_bytes(),
            name: if draft.name == "EXAMINE" { "SELECT".to_owned() } else { draft.name.to_owned() },
            by_uid: draft.by_uid,
            waits: sync || draft.name == "IDLE",
            literal: literal.filter(|(sync, _)| *sync).map(|(_, text)| text),
        });
        if sync { line } else { text }
    }

    /// The mailbox that a CLOSE leaves: the last one that it will have been in.
    fn left_mailbox(&self) -> Option<usize> {
        let selects = self.open.iter().rev().find(|open| open.name == "SELECT");
        match selects.and_then(|open| self.intents.get(&open.tag)) {
            Some(intent) => intent.mailbox,
            None => self.view.as_ref().map(|view| view.mailbox),
        }
    }

    /// Whether an EXPUNGE can come before the server has read what is said now.
    fn may_use_numbers(&self) -> bool {
        let stable = |open: &Open| !open.by_uid && matches!(open.name.as_str(), "FETCH" | "STORE" | "SEARCH");
        self.view.is_some() && self.open.iter().all(stable)
    }

    /// By UID where numbers are not certain; all messages where not even the mailbox is known yet.
    fn with_set(&self, name: &'static str, by_uid: bool, set: &Set, args: &str) -> Option<Draft> {
        let changes = self.open.iter().any(|open| matches!(open.name.as_str(), "SELECT" | "CLOSE" | "UNSELECT"));
        let by_uid = by_uid || !self.may_use_numbers();
        let blank = if args.is_empty() { "" } else { " " };
        let known = self.view.as_ref().filter(|view| !view.uids.is_empty() && !changes);
        let Some(view) = known else {
            // Sequence numbers of an empty mailbox are none.
            return (by_uid && changes).then(|| Draft { name, by_uid, rest: format!("1:*{blank}{args}"), named: None });
        };
        let count = view.uids.len();
        let from = usize::from(set.from) % count;
        let to = set.to.map(|to| usize::from(to) % count);
        let (low, high) =
            (from.min(to.unwrap_or(from)), if set.star { count - 1 } else { from.max(to.unwrap_or(from)) });
        let number = |at: usize| if by_uid { view.uids[at] as usize } else { at + 1 };
        let set = match (set.star, to) {
            (true, None) => "*".to_owned(),
            (true, Some(_)) => format!("{}:*", number(low)),
            // With one that may not exist.
            (false, Some(_)) => format!("{}:{}", number(high), number(low)),
            (false, None) => number(from).to_string(),
        };
        let low = if set == "*" { high } else { low };
        // The last message may be another one by then.
        let named = if set == "*" { Vec::new() } else { view.uids[low..=high].to_vec() };
        let open = set.contains('*');
        let named = (!by_uid).then_some((named, open));
        Some(Draft { name, by_uid, rest: format!("{set}{blank}{args}"), named })
    }

    /// Whether it has said half a command.
    pub(super) fn is_midway(&self) -> bool {
        self.open.iter().any(|open| open.literal.is_some())
    }

    /// Octets from the proxy. What it says next because of them.
    pub(super) fn hear(
        &mut self,
        octets: &mut Stream,
        server: &mut Server,
        may_refuse: bool,
        kept: impl Fn(&[u8], usize) -> bool,
        log: &mut Vec<String>,
    ) -> Vec<u8> {
        octets.pass_to(&mut self.input);
        let mut says = Vec::new();
        while let Some(len) = response_len(&self.input.bytes) {
            let before = self.input.mark(len).kept;
            let response = self.input.take(len);
            log.push(format!(
                "    client {} hears {}",
                server.name,
                response[..response.len().min(150)].escape_ascii()
            ));
            if response.starts_with(b"+") {
                says.extend(self.plus(server));
            } else if response.starts_with(b"* ") {
                self.untagged(&response, server, may_refuse);
            } else {
                self.tagged(&response, before, server, may_refuse, &kept);
            }
        }
        says
    }

    fn plus(&mut self, server: &Server) -> Vec<u8> {
        let open = self.open.iter_mut().find(|open| open.waits).expect("a `+` that nobody waits for");
        open.waits = false;
        self.pluses += 1;
        if open.name == "IDLE" {
            self.idle = true;
            self.said_done = false;
            self.local_pluses += usize::from(!server.executed.contains(&open.tag));
        } else {
            assert!(self.pluses <= server.pluses + self.local_pluses, "the proxy made up a `+`");
        }
        open.literal.take().unwrap_or_default()
    }

    fn untagged(&mut self, response: &[u8], server: &mut Server, may_refuse: bool) {
        loop {
            let heard = response.escape_ascii().to_string();
            if may_refuse && response.starts_with(b"* BYE [UNAVAILABLE] a message cannot be archived") {
                self.ended_by_proxy = true;
                return;
            }
            let Some(said) = server.said.pop_front() else { panic!("the server never said: {heard}") };
            self.heard += 1;
            if said.answers {
                self.answered = self.heard;
            }
            if said.bytes != response && said.content && may_refuse {
                // It was withheld.
                continue;
            }
            assert_eq!(heard, said.bytes.escape_ascii().to_string(), "heard, and said by the server");
            if matches!(said.effect, Effect::Expunge(_) | Effect::Vanished(_)) {
                let first = self.open.front();
                let allowed = first
                    .is_some_and(|open| open.by_uid || !matches!(open.name.as_str(), "FETCH" | "STORE" | "SEARCH"));
                let name = first.map(|open| open.name.clone());
                assert!(allowed || self.left, "{heard:?} while the client must not be told: {name:?} is in progress");
            }
            self.got.extend(said.got);
            return self.apply(&said.effect);
        }
    }

    fn apply(&mut self, effect: &Effect) {
        match (effect, &mut self.view) {
            (Effect::None, _) => {}
            (Effect::Opened(mailbox, uids), _) => self.view = Some(View { mailbox: *mailbox, uids: uids.clone() }),
            (Effect::Closed, _) => self.view = None,
            (Effect::Exists(new), Some(view)) => view.uids.extend(new),
            (Effect::Expunge(at), Some(view)) => drop(view.uids.remove(*at)),
            (Effect::Vanished(gone), Some(view)) => view.uids.retain(|uid| !gone.contains(uid)),
            (effect, None) => panic!("{effect:?} and no mailbox is selected"),
        }
    }

    fn tagged(
        &mut self,
        response: &[u8],
        before: usize,
        server: &mut Server,
        may_refuse: bool,
        kept: &impl Fn(&[u8], usize) -> bool,
    ) {
        let heard = response.escape_ascii().to_string();
        let tag = response.split(|&b| b == b' ').next().unwrap();
        let at = self.open.iter().position(|open| open.tag == tag);
        let open = at.and_then(|at| self.open.remove(at)).unwrap_or_else(|| panic!("an answer to nothing: {heard}"));
        let words = &response[tag.len() + 1..];
        let own_no = words.starts_with(b"NO [UNAVAILABLE] a message ")
            || words.starts_with(b"NO [UNAVAILABLE] the message ")
            || words.starts_with(b"NO [LIMIT] a message")
            || words.starts_with(b"NO [TOOBIG]");
        match server.replies.remove(tag) {
            Some(reply) => {
                while may_refuse && self.heard < reply.behind && server.said.front().is_some_and(|said| said.content) {
                    // It was withheld.
                    server.said.pop_front();
                    self.heard += 1;
                }
                let in_place = self.answered <= reply.behind && self.heard >= reply.behind;
                assert!(
                    in_place && (self.heard == reply.behind || open.name == "FETCH"),
                    "{heard} comes at another place than the server said it"
                );
                if own_no && may_refuse {
                    assert_eq!(open.name, "FETCH", "the server did it, and the client hears: {heard}");
                    self.refused.push(heard);
                } else {
                    assert_eq!(heard, reply.bytes.escape_ascii().to_string(), "heard, and said by the server");
                    for content in reply.whole {
                        let trash = self.view.as_ref().is_some_and(|view| view.mailbox == TRASH);
                        assert!(
                            trash || !words.starts_with(b"OK") || kept(&content, before),
                            "{heard} and a message of it is not kept"
                        );
                    }
                }
                self.apply(&reply.effect);
            }
            None => {
                assert!(!server.executed.contains(tag), "answered twice: {heard}");
                let idled = open.name == "IDLE" && words.starts_with(b"OK");
                assert!(idled || own_no && may_refuse, "the proxy answers in the server's place: {heard}");
                if own_no {
                    self.refused.push(heard);
                }
            }
        }
        if open.name == "IDLE" {
            self.idle = false;
        }
        if !self.open.iter().any(|open| matches!(open.name.as_str(), "SELECT" | "CLOSE" | "UNSELECT")) {
            self.ahead = self.view.as_ref().map(|view| view.mailbox);
        }
    }
}

/// The length of the first response, if it is whole: a data response goes on behind a literal.
fn response_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = at + bytes[at..].iter().position(|&b| b == b'\n')? + 1;
        let text = bytes[at..line].strip_suffix(b"\r\n").expect("a line without CR");
        let is_data = bytes.starts_with(b"* ")
            && ![&b"OK"[..], b"NO", b"BAD", b"BYE"].iter().any(|word| bytes[2..].starts_with(word));
        let marker = text.iter().rposition(|&b| b == b'{').filter(|_| is_data && text.ends_with(b"}"));
        let Some(marker) = marker else { return Some(line) };
        at = line + std::str::from_utf8(&text[marker + 1..text.len() - 1]).unwrap().parse::<usize>().unwrap();
        if bytes.len() < at {
            return None;
        }
    }
}
