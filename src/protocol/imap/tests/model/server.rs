//! A model of an IMAP server's sessions, each with a view of its own of the mailboxes that they share (`world`; RFC 3501, RFC 9051).
//!
//! A session's sequence numbers change only by an EXPUNGE that it is told, and it is told so only where that is allowed. With every response it
//! writes down what a client without a proxy would have got to hear. Whatever it executes is checked against what a client has
//! said, and nothing may go that is not kept.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::rc::Rc;

use super::fetch::{Answer, Class};
use super::host::{Archive, Mark, Stream};
use super::world::{DELETED, MAILBOXES, Message, Refusal, SEEN, TRASH, World};

/// What a client meant by a command when it said it.
#[derive(Clone, Debug)]
pub(super) struct Intent {
    pub(super) number: usize,
    pub(super) text: Vec<u8>,
    /// The mailbox that it will be in by then.
    pub(super) mailbox: Option<usize>,
    /// UIDs of the messages that its sequence numbers name; whether it names the last message, whichever that is.
    pub(super) named: Option<(Vec<u32>, bool)>,
}

/// What a response does to a client's view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    Exists(Vec<u32>),
    Expunge(usize),
    Vanished(Vec<u32>),
    Opened(usize, Vec<u32>),
    Closed,
}

/// An untagged response as the client should get it.
pub(super) struct Said {
    pub(super) bytes: Vec<u8>,
    pub(super) effect: Effect,
    /// It shows content of a message.
    pub(super) content: bool,
    /// It answers the client, or nobody: then it may come before the reply to a FETCH that is being held.
    pub(super) answers: bool,
    /// It shows more than a preview of this one.
    pub(super) got: Option<Got>,
}

pub(super) struct Reply {
    pub(super) bytes: Vec<u8>,
    pub(super) effect: Effect,
    /// Untagged responses before it.
    pub(super) behind: usize,
    /// Messages that came whole.
    pub(super) whole: Vec<Rc<[u8]>>,
}

pub(super) struct Selected {
    pub(super) mailbox: usize,
    read_only: bool,
    /// By sequence number.
    pub(super) uids: Vec<u32>,
    /// All below were told.
    uid_next: u32,
    flags: HashMap<u32, u8>,
    /// How far the stream had come when a message was told.
    told: HashMap<u32, u64>,
}

/// A message of which the client got something: its mailbox, UID and content.
pub(super) type Got = (usize, u32, Rc<[u8]>);

#[derive(Default)]
pub(super) struct Server {
    pub(super) name: usize,
    pub(super) input: Stream,
    out: Vec<u8>,
    /// Octets that it ever said.
    said_len: u64,
    pub(super) said: VecDeque<Said>,
    said_count: usize,
    pub(super) replies: HashMap<Vec<u8>, Reply>,
    pub(super) pluses: usize,
    pub(super) selected: Option<Selected>,
    vanishes: bool,
    pub(super) idle: Option<Vec<u8>>,
    asked: bool,
    pub(super) closed: bool,
    pub(super) executed: HashSet<Vec<u8>>,
    pub(super) own_count: usize,
    last_number: usize,
    /// Where its last replies ended, to the client and to the proxy.
    client_reply: u64,
    own_reply: u64,
    /// When the proxy last looked what a deletion would take.
    looked: usize,
    /// When it last asked which messages are marked as deleted.
    searched: usize,
    /// Of the command in progress.
    own: bool,
    pushes: bool,
    /// In a mailbox of the proxy's choice: of that the client is to hear nothing.
    astray: bool,
    whole: Vec<Rc<[u8]>>,
}

/// What a session has to know of the others to judge.
pub(super) struct Around<'a> {
    pub(super) world: &'a mut World,
    pub(super) archive: &'a Archive,
    pub(super) intents: &'a HashMap<Vec<u8>, Intent>,
    /// The client has said DONE, or left.
    pub(super) idle_may_end: bool,
    pub(super) left: bool,
    /// It has said LOGOUT.
    pub(super) logs_out: bool,
}

type Set = Vec<(Option<u32>, Option<u32>)>;

impl Server {
    pub(super) fn new(name: usize) -> Server {
        let mut server = Server { name, ..Server::default() };
        server.untagged(b"* OK ready\r\n".to_vec(), Effect::None);
        server
    }

    pub(super) fn take_output(&mut self, len: usize) -> Vec<u8> {
        self.out.drain(..len.min(self.out.len())).collect()
    }

    pub(super) fn waiting(&self) -> usize {
        self.out.len()
    }

    fn emit(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.said_len += bytes.len() as u64;
    }

    fn untagged(&mut self, bytes: Vec<u8>, effect: Effect) {
        self.untagged_as(bytes.clone(), Some(bytes), effect, false);
    }

    fn untagged_as(&mut self, bytes: Vec<u8>, expected: Option<Vec<u8>>, effect: Effect, content: bool) {
        self.emit(&bytes);
        if let Some(bytes) = expected.filter(|bytes| !self.astray || bytes.starts_with(b"* BYE")) {
            let answers = !self.own && !self.pushes;
            self.said.push_back(Said { bytes, effect, content, answers, got: None });
            self.said_count += 1;
        }
    }

    fn tagged(&mut self, tag: &[u8], words: &str, effect: Effect, world: &World) {
        let decoy = if world.ways.decoys { " {5}" } else { "" };
        let bytes = [tag, b" ", words.as_bytes(), decoy.as_bytes(), b"\r\n"].concat();
        self.emit(&bytes);
        let whole = std::mem::take(&mut self.whole);
        if self.own {
            self.own_reply = self.said_len;
        } else {
            self.client_reply = self.said_len;
            self.replies.insert(tag.to_vec(), Reply { bytes, effect, behind: self.said_count, whole });
        }
    }

    /// Tells what others have done; of EXPUNGEs only where they may be told.
    fn tell(&mut self, expunges: bool, world: &World) {
        let Some(mut selected) = self.selected.take() else { return };
        let mailbox = &world.mailboxes[selected.mailbox];
        let there = |uid: u32| mailbox.messages.iter().find(|message| message.uid == uid);
        if expunges {
            let gone: Vec<u32> = selected.uids.iter().copied().filter(|&uid| there(uid).is_none()).collect();
            if self.vanishes && !gone.is_empty() {
                selected.uids.retain(|uid| !gone.contains(uid));
                let list = gone.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
                self.untagged(format!("* VANISHED {list}\r\n").into_bytes(), Effect::Vanished(gone));
            } else {
                for uid in gone {
                    let at = selected.uids.iter().position(|&told| told == uid).unwrap();
                    selected.uids.remove(at);
                    self.untagged(format!("* {} EXPUNGE\r\n", at + 1).into_bytes(), Effect::Expunge(at));
                }
            }
        }
        let new: Vec<&Message> = mailbox.messages.iter().filter(|message| message.uid >= selected.uid_next).collect();
        if !new.is_empty() {
            selected.uid_next = mailbox.uid_next;
            let uids: Vec<u32> = new.iter().map(|message| message.uid).collect();
            selected.uids.extend(&uids);
            selected.flags.extend(new.iter().map(|message| (message.uid, message.flags)));
            let line = format!("* {} EXISTS\r\n", selected.uids.len());
            self.untagged(line.into_bytes(), Effect::Exists(uids.clone()));
            selected.told.extend(uids.into_iter().map(|uid| (uid, self.said_len)));
        }
        for (at, uid) in selected.uids.iter().enumerate() {
            let Some(message) = there(*uid) else { continue };
            if selected.flags.insert(*uid, message.flags) != Some(message.flags) {
                let uid = if self.vanishes { format!("UID {uid} ") } else { String::new() };
                let line = format!("* {} FETCH ({uid}FLAGS ({}))\r\n", at + 1, flags(message.flags));
                self.untagged(line.into_bytes(), Effect::None);
            }
        }
        self.selected = Some(selected);
    }

    /// Says what it may without being asked.
    pub(super) fn push(&mut self, world: &World) {
        // In the middle of a command of which it knows a part already, it says nothing of EXPUNGEs either.
        self.pushes = true;
        self.tell(self.idle.is_some(), world);
        self.pushes = false;
    }

    /// The next whole command, with what was known when it was sent.
    fn command(&mut self) -> Option<(Vec<u8>, Mark)> {
        let (mut at, mut asked) = (0, false);
        loop {
            let line = at + self.input.bytes[at..].iter().position(|&b| b == b'\n')? + 1;
            let text = self.input.bytes[at..line].strip_suffix(b"\r\n").expect("the proxy sent a bare LF");
            let marker = text.iter().rposition(|&b| b == b'{').filter(|_| text.ends_with(b"}"));
            let Some(marker) = marker else {
                let mark = self.input.mark(line);
                self.asked = false;
                return Some((self.input.take(line), mark));
            };
            let digits = &text[marker + 1..text.len() - 1];
            let (digits, sync) = match digits.strip_suffix(b"+") {
                Some(digits) => (digits, false),
                None => (digits, true),
            };
            let len = std::str::from_utf8(digits).unwrap().parse::<usize>().unwrap();
            if sync && !self.asked && !asked {
                (self.asked, asked) = (true, true);
                self.pluses += 1;
                self.emit(b"+ go on\r\n");
            }
            at = line + len;
            if self.input.bytes.len() < at {
                return None;
            }
        }
    }

    /// Executes a command, if a whole one has come. Whether it did.
    pub(super) fn serve(&mut self, around: &mut Around<'_>) -> bool {
        if self.idle.is_some() {
            self.tell(true, around.world);
        }
        if self.closed {
            return false;
        }
        let Some((text, mark)) = self.command() else { return false };
        around.world.tick += 1;
        around.world.log.push(format!("    server {} executes {}", self.name, text.escape_ascii()));
        if let Some(tag) = self.idle.take() {
            assert_eq!(text.escape_ascii().to_string(), "DONE\\r\\n", "the proxy broke into an IDLE");
            assert!(around.idle_may_end, "the proxy ended an IDLE that the client is still in");
            self.own = false;
            self.tell(true, around.world);
            self.tagged(&tag, "OK idled", Effect::None, around.world);
            return true;
        }
        let line = text.strip_suffix(b"\r\n").unwrap();
        let mut words = line.splitn(3, |&b| b == b' ');
        let (tag, mut name) = (words.next().unwrap(), words.next().expect("a tag without a command").to_vec());
        let mut rest = words.next().unwrap_or_default();
        let uid = name == b"UID";
        if uid {
            let mut words = rest.splitn(2, |&b| b == b' ');
            name = words.next().unwrap().to_vec();
            rest = words.next().unwrap_or_default();
        }
        let name = String::from_utf8(name).unwrap();
        let rest_text = String::from_utf8_lossy(rest).into_owned();
        assert!(self.own_reply <= mark.heard, "the proxy sent a command while one of its own was being answered");
        self.own = !around.intents.contains_key(tag);
        match around.intents.get(tag) {
            None => {
                assert!(
                    self.client_reply <= mark.heard,
                    "the proxy sent its own while a command of the client's was being answered"
                );
                let harmless = match name.as_str() {
                    "FETCH" | "SEARCH" => true,
                    "LOGOUT" => around.left,
                    // Back to a folder where something was left behind.
                    "EXAMINE" => around.left || around.logs_out,
                    _ => false,
                };
                if name == "EXAMINE" {
                    // What was on its way of the other mailbox is of no use any more.
                    self.astray = true;
                    self.said_count -= self.said.len();
                    self.said.clear();
                }
                assert!(harmless, "the proxy sends on its own account: {}", line.escape_ascii());
                assert!(!rest_text.contains("BODY["), "the proxy marks messages as seen: {}", line.escape_ascii());
                self.own_count += 1;
            }
            Some(intent) => {
                assert_eq!(
                    text.escape_ascii().to_string(),
                    intent.text.escape_ascii().to_string(),
                    "a command was changed"
                );
                assert!(intent.number > self.last_number, "commands were put into another order");
                self.last_number = intent.number;
                self.executed.insert(tag.to_vec());
            }
        }
        let tag = tag.to_vec();
        self.execute(&tag, &name, uid, &rest_text, rest, mark, around);
        true
    }

    #[allow(clippy::too_many_arguments)]
    fn execute(
        &mut self,
        tag: &[u8],
        name: &str,
        uid: bool,
        rest: &str,
        raw: &[u8],
        mark: Mark,
        around: &mut Around<'_>,
    ) {
        let needs_mailbox =
            matches!(name, "FETCH" | "STORE" | "SEARCH" | "COPY" | "MOVE" | "EXPUNGE" | "CLOSE" | "UNSELECT");
        let intent = around.intents.get(tag).cloned();
        if needs_mailbox {
            if let Some(intent) = &intent {
                let selected = self.selected.as_ref().map(|selected| selected.mailbox);
                assert_eq!(selected, intent.mailbox, "{name} reaches another mailbox than the client meant");
            }
            if self.selected.is_none() {
                return self.tagged(tag, "BAD no mailbox is selected", Effect::None, around.world);
            }
        }
        let (set_text, args) = rest.split_once(' ').unwrap_or((rest, ""));
        let has_set = matches!(name, "FETCH" | "STORE" | "COPY" | "MOVE") || name == "EXPUNGE" && uid;
        let mut uids = Vec::new();
        if has_set {
            match self.resolve(&parse_set(set_text), uid) {
                Some(found) => uids = found,
                None => return self.tagged(tag, "BAD no such message", Effect::None, around.world),
            }
            if let Some((named, open)) = intent.as_ref().and_then(|intent| intent.named.as_ref()) {
                let others: Vec<&u32> = uids.iter().filter(|uid| !named.contains(uid)).collect();
                let newer = |uid: &&u32| named.iter().all(|named| named < uid);
                assert!(
                    named.iter().all(|uid| uids.contains(uid)),
                    "{name} misses messages: the client meant {named:?}, it reaches {uids:?}"
                );
                assert!(
                    others.is_empty() || *open && others.iter().all(newer),
                    "{name} reaches the wrong messages: the client meant {named:?}, it reaches {uids:?}"
                );
            }
        }
        match name {
            "LOGIN" => self.tagged(tag, "OK in", Effect::None, around.world),
            "NOOP" | "CHECK" => {
                self.tell(true, around.world);
                self.tagged(tag, "OK done", Effect::None, around.world);
            }
            "ENABLE" => {
                self.vanishes = around.world.ways.vanished;
                let line = if self.vanishes { "* ENABLED QRESYNC\r\n" } else { "* ENABLED\r\n" };
                self.untagged(line.into(), Effect::None);
                self.tagged(tag, "OK done", Effect::None, around.world);
            }
            "SELECT" | "EXAMINE" => self.select(tag, rest.trim_matches('"'), name == "EXAMINE", around),
            "UNSELECT" => {
                self.selected = None;
                self.tagged(tag, "OK left", Effect::Closed, around.world);
            }
            "CLOSE" => {
                if !self.read_only() {
                    let doomed = self.marked(None, around.world);
                    self.remove(&doomed, mark, true, around);
                }
                self.selected = None;
                self.tagged(tag, "OK closed", Effect::Closed, around.world);
            }
            "EXPUNGE" => {
                if self.read_only() {
                    return self.tagged(tag, "NO read-only", Effect::None, around.world);
                }
                let doomed = self.marked(uid.then_some(&uids), around.world);
                self.remove(&doomed, mark, true, around);
                self.tell(true, around.world);
                self.tagged(tag, "OK expunged", Effect::None, around.world);
            }
            "IDLE" => {
                self.pluses += 1;
                self.emit(b"+ idling\r\n");
                self.idle = Some(tag.to_vec());
                self.tell(true, around.world);
            }
            "LOGOUT" => {
                self.untagged_as(b"* BYE bye\r\n".to_vec(), Some(b"* BYE bye\r\n".to_vec()), Effect::None, false);
                self.tagged(tag, "OK out", Effect::Closed, around.world);
                self.closed = true;
                self.selected = None;
            }
            "APPEND" => {
                let message = raw.splitn(2, |&b| b == b'\n').nth(1).expect("an APPEND has a message");
                let mailbox = mailbox(rest.split(' ').next().unwrap());
                match mailbox.filter(|_| !around.world.ways.full) {
                    None => self.tagged(tag, "NO [TRYCREATE] cannot", Effect::None, around.world),
                    Some(mailbox) => {
                        let uid = around.world.deliver(mailbox, &message.into(), SEEN);
                        self.tell(true, around.world);
                        self.tagged(
                            tag,
                            &format!("OK [APPENDUID {} {uid}] appended", 10 + mailbox),
                            Effect::None,
                            around.world,
                        );
                    }
                }
            }
            "SEARCH" => self.search(tag, uid, rest, around),
            "FETCH" => self.fetch(tag, uid, set_text, &uids, args, around),
            "STORE" => self.store(tag, uid, &uids, args, mark, around),
            "COPY" | "MOVE" => {
                let to = mailbox(args).filter(|_| !around.world.ways.full);
                if to.is_none() || name == "MOVE" && self.read_only() {
                    return self.tagged(tag, "NO cannot", Effect::None, around.world);
                }
                let from = self.selected.as_ref().unwrap().mailbox;
                if name == "MOVE" {
                    self.check_kept(&uids, mark, false, around);
                }
                let mut ghosts = false;
                for uid in &uids {
                    match around.world.find(from, *uid).map(|message| (message.content.clone(), message.flags)) {
                        Some((content, flags)) => drop(around.world.deliver(to.unwrap(), &content, flags)),
                        None => ghosts = true,
                    }
                }
                if name == "MOVE" {
                    self.untagged(b"* OK [COPYUID 10 1 1] moved\r\n".to_vec(), Effect::None);
                    around.world.mailboxes[from].messages.retain(|message| !uids.contains(&message.uid));
                }
                self.tell(true, around.world);
                self.finish(tag, ghosts, around.world);
            }
            _ => self.tagged(tag, "BAD unknown command", Effect::None, around.world),
        }
    }

    fn finish(&mut self, tag: &[u8], ghosts: bool, world: &World) {
        let words = match (ghosts, world.ways.expunged_is_ok) {
            (false, _) => "OK done",
            (true, false) => "NO [EXPUNGEISSUED] some are gone",
            (true, true) => "OK [EXPUNGEISSUED] some are gone",
        };
        self.tagged(tag, words, Effect::None, world);
    }

    fn read_only(&self) -> bool {
        self.selected.as_ref().is_some_and(|selected| selected.read_only)
    }

    fn select(&mut self, tag: &[u8], name: &str, read_only: bool, around: &mut Around<'_>) {
        if self.selected.take().is_some() && self.vanishes {
            self.untagged(b"* OK [CLOSED] the other one\r\n".to_vec(), Effect::None);
        }
        let Some(number) = mailbox(name) else {
            return self.tagged(tag, "NO no such mailbox", Effect::Closed, around.world);
        };
        let mailbox = &around.world.mailboxes[number];
        let uids: Vec<u32> = mailbox.messages.iter().map(|message| message.uid).collect();
        self.untagged(format!("* {} EXISTS\r\n", uids.len()).into_bytes(), Effect::None);
        if !around.world.ways.no_validity {
            let line = format!("* OK [UIDVALIDITY {}] lasting\r\n", mailbox.uid_validity);
            self.untagged(line.into_bytes(), Effect::None);
        }
        if around.world.ways.not_sticky {
            self.untagged(b"* OK [UIDNOTSTICKY] or not\r\n".to_vec(), Effect::None);
        }
        self.selected = Some(Selected {
            mailbox: number,
            read_only,
            uids: uids.clone(),
            uid_next: mailbox.uid_next,
            flags: mailbox.messages.iter().map(|message| (message.uid, message.flags)).collect(),
            told: HashMap::new(),
        });
        let words = if read_only { "OK [READ-ONLY] in" } else { "OK [READ-WRITE] in" };
        self.tagged(tag, words, Effect::Opened(number, uids), around.world);
    }

    /// UIDs that a set names; none where a sequence number is none.
    fn resolve(&self, set: &Set, by_uid: bool) -> Option<Vec<u32>> {
        let uids = &self.selected.as_ref()?.uids;
        let last = if by_uid { uids.last().copied().unwrap_or(0) } else { uids.len() as u32 };
        let mut numbers = BTreeMap::new();
        for (from, to) in set {
            let (from, to) = (from.unwrap_or(last), to.unwrap_or(last));
            let (low, high) = (from.min(to), from.max(to));
            if !by_uid && (low == 0 || high > last) {
                return None;
            }
            for (at, uid) in uids.iter().enumerate() {
                let number = if by_uid { *uid } else { at as u32 + 1 };
                if (low..=high).contains(&number) {
                    numbers.insert(at, *uid);
                }
            }
        }
        Some(numbers.into_values().collect())
    }

    /// Messages that are marked as deleted and told to this session.
    fn marked(&self, among: Option<&Vec<u32>>, world: &World) -> Vec<u32> {
        let selected = self.selected.as_ref().unwrap();
        let messages = world.mailboxes[selected.mailbox].messages.iter();
        let doomed = messages.filter(|m| m.flags & DELETED != 0 && selected.uids.contains(&m.uid));
        doomed.map(|m| m.uid).filter(|uid| among.is_none_or(|among| among.contains(uid))).collect()
    }

    fn remove(&mut self, doomed: &[u32], mark: Mark, by_mark: bool, around: &mut Around<'_>) {
        self.check_kept(doomed, mark, by_mark, around);
        let mailbox = self.selected.as_ref().unwrap().mailbox;
        around.world.mailboxes[mailbox].messages.retain(|message| !doomed.contains(&message.uid));
    }

    /// What goes now was kept when the proxy let the command pass. What somebody past it did after it had looked is nobody's fault.
    fn check_kept(&self, doomed: &[u32], mark: Mark, by_mark: bool, around: &Around<'_>) {
        let selected = self.selected.as_ref().unwrap();
        if selected.mailbox == TRASH {
            return;
        }
        for uid in doomed {
            let Some(message) = around.world.find(selected.mailbox, *uid) else { continue };
            let marked_since = by_mark && message.marked_past.is_some_and(|when| when > self.searched);
            let untold = selected.told.get(uid).is_some_and(|told| *told > mark.heard) || !selected.uids.contains(uid);
            // Another client's session kept it before it marked it, after this one had looked.
            let by_other = by_mark && message.marked > self.searched && around.archive.has(&message.content);
            let excused = marked_since || by_other || untold && message.born >= self.looked;
            assert!(
                excused || around.archive.had(&message.content, mark.kept),
                "message {uid} goes and is not kept: {}",
                message.content[..message.content.len().min(60)].escape_ascii()
            );
        }
    }

    fn search(&mut self, tag: &[u8], uid: bool, criteria: &str, around: &mut Around<'_>) {
        if self.own {
            (self.looked, self.searched) = (around.world.tick, around.world.tick);
            if around.world.ways.refusal == Some(Refusal::Search) {
                around.world.has_refused = true;
                return self.tagged(tag, "NO not now", Effect::None, around.world);
            }
        }
        let mut words: Vec<&str> = criteria.split(' ').collect();
        let mut uids = self.selected.as_ref().unwrap().uids.clone();
        if words[0] == "UID" {
            uids = self.resolve(&parse_set(words[1]), true).unwrap();
            words.drain(..2);
        }
        let selected = self.selected.as_ref().unwrap();
        let found = selected.uids.iter().enumerate().filter(|(_, found)| {
            let message = around.world.find(selected.mailbox, **found);
            // Of what is gone it remembers what it has told.
            let flags = message.map_or(selected.flags[*found], |message| message.flags);
            uids.contains(found) && (words == ["ALL"] || words == ["DELETED"] && flags & DELETED != 0)
        });
        let numbers: String =
            found.map(|(at, found)| format!(" {}", if uid { *found as usize } else { at + 1 })).collect();
        let line = format!("* SEARCH{numbers}\r\n").into_bytes();
        let expected = (!self.own).then(|| line.clone());
        self.untagged_as(line, expected, Effect::None, false);
        self.tell(uid, around.world);
        self.tagged(tag, "OK found", Effect::None, around.world);
    }

    fn store(&mut self, tag: &[u8], uid: bool, uids: &[u32], args: &str, mark: Mark, around: &mut Around<'_>) {
        if self.read_only() {
            return self.tagged(tag, "NO read-only", Effect::None, around.world);
        }
        let (item, list) = args.split_once(' ').unwrap();
        let bits = if list.contains("Deleted") { DELETED } else { 0 } | if list.contains("Seen") { SEEN } else { 0 };
        if bits & DELETED != 0 && !item.starts_with('-') {
            self.check_kept(uids, mark, false, around);
        }
        let mut ghosts = false;
        for uid in uids {
            let selected = self.selected.as_mut().unwrap();
            let mailbox = &mut around.world.mailboxes[selected.mailbox];
            let Some(message) = mailbox.messages.iter_mut().find(|message| message.uid == *uid) else {
                ghosts = true;
                continue;
            };
            message.flags = match item.as_bytes()[0] {
                b'+' => message.flags | bits,
                b'-' => message.flags & !bits,
                _ => bits,
            };
            if bits & DELETED != 0 {
                message.marked_past = None;
                message.marked = around.world.tick;
            }
            if item.contains("SILENT") {
                selected.flags.insert(*uid, message.flags);
            } else {
                selected.flags.remove(uid);
            }
        }
        self.tell(uid, around.world);
        self.finish(tag, ghosts, around.world);
    }

    fn fetch(&mut self, tag: &[u8], uid: bool, set: &str, uids: &[u32], items: &str, around: &mut Around<'_>) {
        let ways = around.world.ways;
        let content = items.contains("BODY.PEEK[]");
        if self.own && !content {
            self.looked = around.world.tick;
        }
        let refusal = ways.refusal.filter(|_| self.own && content);
        let refused = |uid: &u32| refusal.is_some_and(|refusal| refusal != Refusal::Search) && uid.is_multiple_of(3);
        if uids.iter().any(refused) {
            around.world.has_refused = true;
            let words = match refusal {
                Some(Refusal::No) => "NO cannot",
                Some(Refusal::Bad) => "BAD cannot",
                Some(Refusal::OverQuota) => "NO [OVERQUOTA] cannot",
                _ => "",
            };
            if !words.is_empty() {
                return self.tagged(tag, words, Effect::None, around.world);
            }
        }
        let single = set.bytes().all(|b| b.is_ascii_digit());
        let mut ghosts = false;
        for (nth, told) in uids.iter().enumerate() {
            if nth == 1 && uid && ways.pushes {
                self.tell(true, around.world);
            }
            let selected = self.selected.as_mut().unwrap();
            let number = selected.mailbox;
            let mailbox = &mut around.world.mailboxes[number];
            let Some(message) = mailbox.messages.iter_mut().find(|message| message.uid == *told) else {
                ghosts = true;
                continue;
            };
            if refused(told) {
                continue;
            }
            let answer = Answer::new(message, items, uid, single, ways);
            if message.flags != answer.flags {
                message.flags = answer.flags;
            }
            if answer.items.iter().any(|item| item.name == "FLAGS") {
                selected.flags.insert(*told, message.flags);
            }
            let at = selected.uids.iter().position(|uid| uid == told).unwrap() + 1;
            let show = |keep: &dyn Fn(Class) -> bool| {
                let items = answer.items.iter().filter(|item| keep(item.class));
                let items: Vec<Vec<u8>> =
                    items.map(|item| [item.name.as_bytes(), b" ", &item.value].concat()).collect();
                [format!("* {at} FETCH (").as_bytes(), &items.join(&b' '), b")\r\n"].concat()
            };
            let line = show(&|_| true);
            let expected = match self.own {
                false => Some(line.clone()),
                true if answer.items.iter().any(|item| item.class == Class::Other) => {
                    Some(show(&|class| !matches!(class, Class::Content | Class::Date)))
                }
                true => None,
            };
            let shows = answer.items.iter().any(|item| item.class == Class::Content);
            if !self.own && answer.whole {
                self.whole.push(message.content.clone());
            }
            let got = (!self.own && answer.got).then(|| (number, *told, message.content.clone()));
            self.untagged_as(line, expected, Effect::None, shows && !self.own);
            if got.is_some() {
                self.said.back_mut().expect("just said").got = got;
            }
        }
        self.tell(uid, around.world);
        self.finish(tag, ghosts, around.world);
    }
}

pub(super) fn flags(bits: u8) -> String {
    let names = [(SEEN, "\\Seen"), (DELETED, "\\Deleted")];
    names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}

fn mailbox(name: &str) -> Option<usize> {
    MAILBOXES.iter().position(|known| *known == name)
}

fn parse_set(text: &str) -> Set {
    let number = |text: &str| (text != "*").then(|| text.parse().unwrap());
    let range = |range: &str| match range.split_once(':') {
        Some((from, to)) => (number(from), number(to)),
        None => (number(range), number(range)),
    };
    text.split(',').map(range).collect()
}
