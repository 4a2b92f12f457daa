//! What all sessions of the model share: mailboxes, the server's ways, and what somebody past the proxy does to them.

use std::collections::HashMap;
use std::rc::Rc;

pub(super) const SEEN: u8 = 1;
pub(super) const DELETED: u8 = 2;
pub(super) const MAILBOXES: [&str; 3] = ["INBOX", "Work", "Trash"];
/// The mailbox of which nothing is kept, by configuration.
pub(super) const TRASH: usize = 2;

/// The server's ways.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ways {
    /// Tells of EXPUNGEs between the answers to a UID FETCH.
    pub(super) pushes: bool,
    /// `BODY[]` instead of `BODY[]<n>`.
    pub(super) no_origin: bool,
    /// Answers the request for a chunk with the whole message, and says so.
    pub(super) whole_for_chunk: bool,
    /// The UID is the last item.
    pub(super) uid_last: bool,
    /// FLAGS in every FETCH response.
    pub(super) flags_always: bool,
    /// NIL for the chunk behind the end.
    pub(super) nil_at_end: bool,
    pub(super) quotes: bool,
    /// Status texts look as if a literal followed.
    pub(super) decoys: bool,
    pub(super) no_validity: bool,
    pub(super) not_sticky: bool,
    /// `OK` instead of `NO [EXPUNGEISSUED]`.
    pub(super) expunged_is_ok: bool,
    /// VANISHED for who enables it.
    pub(super) vanished: bool,
    /// APPEND and COPY fail.
    pub(super) full: bool,
    pub(super) refusal: Option<Refusal>,
}

/// How some of what the proxy asks for is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    No,
    Bad,
    BareOk,
    OverQuota,
    Search,
}

pub(super) struct Message {
    pub(super) uid: u32,
    pub(super) content: Rc<[u8]>,
    pub(super) date: i64,
    pub(super) flags: u8,
    pub(super) born: usize,
    /// When somebody past the proxy marked it as deleted.
    pub(super) marked_past: Option<usize>,
    /// When a client's STORE last did.
    pub(super) marked: usize,
}

pub(super) struct Mailbox {
    pub(super) uid_validity: u32,
    pub(super) uid_next: u32,
    pub(super) messages: Vec<Message>,
    /// All that it ever had.
    ever: HashMap<u32, Rc<[u8]>>,
}

pub(super) struct World {
    pub(super) ways: Ways,
    pub(super) mailboxes: Vec<Mailbox>,
    pub(super) tick: usize,
    made: usize,
    pub(super) dates: HashMap<Vec<u8>, i64>,
    /// Some fetch of the proxy's was refused.
    pub(super) has_refused: bool,
    pub(super) log: Vec<String>,
}

impl World {
    pub(super) fn new(ways: Ways) -> World {
        let mailbox =
            |n: u32| Mailbox { uid_validity: 10 + n, uid_next: 1 + 2 * n, messages: Vec::new(), ever: HashMap::new() };
        World {
            ways,
            mailboxes: (0..3).map(mailbox).collect(),
            tick: 0,
            made: 0,
            dates: HashMap::new(),
            has_refused: false,
            log: Vec::new(),
        }
    }

    /// A new message's text, unlike any other.
    pub(super) fn make(&mut self, len: usize) -> Rc<[u8]> {
        self.made += 1;
        let n = self.made;
        let mut text = format!("Subject: m{n}\r\n\r\n");
        let lines =
            ["* 1 EXPUNGE\r\n", "c1 OK FETCH {5}\r\n", ")\r\n", "* 1 FETCH (BODY[] {3}\r\n", "\u{e4}\0\"\\\r\n"];
        // What fits into quotes, too.
        if len < 8 {
            text = format!("m{n}").repeat(1 + len);
        }
        for line in lines.iter().cycle() {
            if text.len() >= len {
                break;
            }
            text.push_str(line);
        }
        self.dates.insert(text.clone().into_bytes(), 1_700_000_000 + n as i64);
        text.into_bytes().into()
    }

    pub(super) fn deliver(&mut self, mailbox: usize, content: &Rc<[u8]>, flags: u8) -> u32 {
        let date = self.dates[&content[..]];
        let (born, mailbox) = (self.tick, &mut self.mailboxes[mailbox]);
        let uid = mailbox.uid_next;
        // UIDs have gaps.
        mailbox.uid_next += 1 + u32::from(uid % 4 == 0);
        mailbox.ever.insert(uid, content.clone());
        mailbox.messages.push(Message {
            uid,
            content: content.clone(),
            date,
            flags,
            born,
            marked_past: None,
            marked: 0,
        });
        uid
    }

    /// Somebody past the proxy.
    pub(super) fn mark_past(&mut self, mailbox: usize, nth: usize, flags: u8) {
        self.tick += 1;
        let tick = self.tick;
        if let Some(message) = self.mailboxes[mailbox].messages.get_mut(nth) {
            message.flags ^= flags;
            if flags & DELETED != 0 {
                message.marked_past = Some(tick);
            }
        }
    }

    pub(super) fn remove_past(&mut self, mailbox: usize, nth: usize) {
        self.tick += 1;
        if nth < self.mailboxes[mailbox].messages.len() {
            self.mailboxes[mailbox].messages.remove(nth);
        }
    }

    pub(super) fn was_in(&self, mailbox: usize, content: &[u8]) -> bool {
        self.mailboxes[mailbox].ever.values().any(|text| **text == *content)
    }

    pub(super) fn had(&self, mailbox: usize, uid: u32, content: &[u8]) -> bool {
        self.mailboxes[mailbox].ever.get(&uid).is_some_and(|text| **text == *content)
    }

    /// Octets of a mailbox's messages, by UID.
    pub(super) fn lens(&self, mailbox: Option<usize>) -> HashMap<u32, usize> {
        let ever = mailbox.map(|mailbox| self.mailboxes[mailbox].ever.iter());
        ever.into_iter().flatten().map(|(uid, text)| (*uid, text.len())).collect()
    }

    pub(super) fn find(&self, mailbox: usize, uid: u32) -> Option<&Message> {
        self.mailboxes[mailbox].messages.iter().find(|message| message.uid == uid)
    }
}
