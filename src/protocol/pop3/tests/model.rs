//! Sessions of any kind against a model of a server, with and without the proxy between.

use std::collections::BTreeSet;

use super::*;

/// A POP3 server as RFC 1939 has it.
#[derive(Clone)]
struct Model {
    messages: Vec<Vec<u8>>,
    /// Whether it knows `UIDL`.
    uids: bool,
    /// Messages, from 0, that it lists and does not give.
    broken: BTreeSet<usize>,
    /// Of which it gives not one octet.
    hollow: BTreeSet<usize>,
    deleted: BTreeSet<usize>,
    named: bool,
    logged_in: bool,
    quit: bool,
    heard: Vec<u8>,
    /// Messages that the client got hold of, or deleted.
    got: BTreeSet<usize>,
}

impl Model {
    fn new(messages: Vec<Vec<u8>>, uids: bool, broken: BTreeSet<usize>) -> Model {
        Model {
            messages,
            uids,
            broken,
            hollow: BTreeSet::new(),
            deleted: BTreeSet::new(),
            named: false,
            logged_in: false,
            quit: false,
            heard: Vec::new(),
            got: BTreeSet::new(),
        }
    }

    /// Its answers.
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.heard.extend_from_slice(bytes);
        let mut said = Vec::new();
        while let Some(at) = self.heard.iter().position(|&b| b == b'\n')
            && !self.quit
        {
            let line: Vec<u8> = self.heard.drain(..=at).collect();
            said.extend(self.answer(String::from_utf8(line).unwrap().trim_end()));
        }
        said
    }

    fn answer(&mut self, line: &str) -> Vec<u8> {
        let words: Vec<&str> = line.split(' ').collect();
        let there = |number: Option<&&str>| {
            let place = number.and_then(|number| number.parse::<usize>().ok())?.checked_sub(1)?;
            (place < self.messages.len() && !self.deleted.contains(&place)).then_some(place)
        };
        let place = there(words.get(1));
        let left: Vec<usize> = (0..self.messages.len()).filter(|place| !self.deleted.contains(place)).collect();
        let list = |show: &dyn Fn(usize) -> String| {
            let lines: String = left.iter().map(|&place| format!("{} {}\r\n", place + 1, show(place))).collect();
            format!("+OK {} messages\r\n{lines}.\r\n", left.len()).into_bytes()
        };
        let size = |place: usize| self.messages[place].len().to_string();
        let uid = |place: usize| format!("u{place}");
        let no = |why: &str| format!("-ERR {why}\r\n").into_bytes();
        let yes = |what: &str| format!("+OK {what}\r\n").into_bytes();
        match (words[0], place) {
            ("QUIT", _) => {
                self.quit = true;
                yes("bye")
            }
            ("NOOP", _) => yes("nothing"),
            ("USER", _) if !self.logged_in => {
                self.named = true;
                yes("who")
            }
            ("PASS", _) if !self.logged_in && self.named && words[1] == "right" => {
                self.logged_in = true;
                yes("welcome")
            }
            _ if !self.logged_in => no("log in first"),
            ("STAT", _) => yes(&format!("{} 0", left.len())),
            ("RSET", _) => {
                self.deleted.clear();
                yes("undone")
            }
            ("UIDL", _) if !self.uids => no("unknown command"),
            ("LIST", _) if words.len() == 1 => list(&size),
            ("UIDL", _) if words.len() == 1 => list(&uid),
            ("LIST", Some(place)) => yes(&format!("{} {}", place + 1, size(place))),
            ("UIDL", Some(place)) => yes(&format!("{} {}", place + 1, uid(place))),
            ("RETR", Some(place)) if self.broken.contains(&place) => no("cannot read it"),
            ("RETR", Some(place)) if self.hollow.contains(&place) => b"+OK\r\n.\r\n".to_vec(),
            ("RETR", Some(place)) => {
                self.got.insert(place);
                [b"+OK\r\n", &stuffed(&self.messages[place])[..], b".\r\n"].concat()
            }
            ("TOP", Some(place)) => {
                let lines = words[2].parse().unwrap();
                let text = top(&self.messages[place], lines);
                let fewer = lines > 0 && top(&self.messages[place], lines - 1).len() == text.len();
                if fewer || lines as u64 >= LINES_DUE {
                    self.got.insert(place);
                }
                [b"+OK\r\n", &stuffed(&text)[..], b".\r\n"].concat()
            }
            ("DELE", Some(place)) => {
                self.got.insert(place);
                self.deleted.insert(place);
                yes("marked")
            }
            _ => no("no such message"),
        }
    }
}

fn stuffed(text: &[u8]) -> Vec<u8> {
    let lines = text.split_inclusive(|&b| b == b'\n');
    lines.flat_map(|line| [if line.starts_with(b".") { &b"."[..] } else { b"" }, line]).flatten().copied().collect()
}

fn top(text: &[u8], lines: usize) -> Vec<u8> {
    let mut body = 0;
    let mut begun = false;
    let mut shown = Vec::new();
    for line in text.split_inclusive(|&b| b == b'\n') {
        if begun && body == lines {
            break;
        }
        body += usize::from(begun);
        begun |= line == b"\r\n";
        shown.extend_from_slice(line);
    }
    shown
}

fn mailbox() -> Vec<Vec<u8>> {
    let texts = ["A: 1\r\n\r\none\r\n", "A: 2\r\n\r\n", "A: 3\r\n\r\n.\r\n..\r\n+OK\r\n-ERR\r\n", ""];
    let long = format!("A: 5\r\n\r\n{}", "x\r\n".repeat(1001));
    texts.iter().map(|text| text.as_bytes().to_vec()).chain([long.into_bytes()]).collect()
}

fn command() -> impl Strategy<Value = String> {
    let number = || 1..=6usize;
    prop_oneof![
        3 => prop_oneof![Just("STAT"), Just("LIST"), Just("UIDL"), Just("RSET"), Just("NOOP")].prop_map(str::to_owned),
        1 => prop_oneof![Just("USER me"), Just("PASS wrong"), Just("PASS right")].prop_map(str::to_owned),
        1 => prop_oneof![Just("LIST"), Just("UIDL")].prop_flat_map(move |verb| number().prop_map(move |n| format!("{verb} {n}"))),
        2 => number().prop_map(|n| format!("RETR {n}")),
        2 => (number(), prop_oneof![0..5usize, Just(1000), Just(1002), Just(99_999_999)])
            .prop_map(|(n, lines)| format!("TOP {n} {lines}")),
        4 => number().prop_map(|n| format!("DELE {n}")),
    ]
}

fn script() -> impl Strategy<Value = String> {
    (prop::collection::vec(command(), 0..20), 0..10, any::<bool>()).prop_map(|(commands, logs_in, quits)| {
        let mut lines = if logs_in > 0 { vec!["USER me".to_owned(), "PASS right".to_owned()] } else { Vec::new() };
        lines.extend(commands);
        lines.extend(quits.then(|| "QUIT".to_owned()));
        lines.join("\r\n") + "\r\n"
    })
}

/// Plays the client's bytes through the proxy. `ways`: how many octets at a time, and whether the server is heard then.
fn through_the_proxy(session: &mut Session, server: &mut Model, mut client: &[u8], ways: &[(usize, bool)]) {
    let mut heard = 0;
    let mut pump = |session: &mut Session, len: usize| loop {
        let sent = session.host.sent(Side::Server);
        let said = server.hear(&sent[heard..]);
        heard = sent.len();
        if said.is_empty() {
            return;
        }
        said.chunks(len).for_each(|piece| session.feed(Side::Server, piece));
    };
    for &(len, pumps) in ways.iter().cycle() {
        if client.is_empty() {
            break;
        }
        let (piece, rest) = client.split_at(len.min(client.len()));
        session.feed(Side::Client, piece);
        client = rest;
        if pumps {
            pump(session, len);
        }
    }
    session.eof(Side::Client);
    pump(session, 1000);
}

/// What is kept: all that was finished and settled.
fn kept(host: &Recorder) -> BTreeSet<Vec<u8>> {
    let mut finished = Vec::new();
    let mut kept = BTreeSet::new();
    for line in host.lines() {
        if let Some(number) = line.strip_prefix("finish ") {
            finished.push(host.appended(number.parse().unwrap()));
        } else if line == "settle" {
            kept.extend(finished.drain(..));
        } else if line.starts_with("settle") {
            finished.clear();
        }
    }
    kept
}

fn ways() -> impl Strategy<Value = Vec<(usize, bool)>> {
    prop::collection::vec((1usize..200, any::<bool>()), 1..8)
}

proptest! {
    #[test]
    fn a_client_notices_nothing_and_all_it_got_or_deleted_is_kept(
        script in script(),
        uids: bool,
        known in prop::collection::btree_set(0..5usize, 0..3),
        ways in ways(),
    ) {
        let mut without = Model::new(mailbox(), uids, BTreeSet::new());
        let expected = without.hear(script.as_bytes());

        let mut with = Model::new(mailbox(), uids, BTreeSet::new());
        let mut session = session();
        let known = if uids { known } else { BTreeSet::new() };
        session.host.known.extend(known.iter().map(|place| format!("pop3 u{place}")));
        through_the_proxy(&mut session, &mut with, script.as_bytes(), &ways);

        let got = session.host.sent(Side::Client);
        prop_assert_eq!(got.strip_prefix(b"+OK\r\n").unwrap().escape_ascii().to_string(), expected.escape_ascii().to_string());
        prop_assert_eq!((&with.deleted, with.quit), (&without.deleted, without.quit));
        let kept = kept(&session.host);
        for &place in without.got.difference(&known) {
            prop_assert!(kept.contains(&mailbox()[place]), "message {} of {script:?}", place + 1);
        }
        // Nothing but messages is kept, and nothing is got that was not asked for.
        prop_assert!(kept.iter().all(|text| mailbox().contains(text)));
        prop_assert!(with.got.is_subset(&without.got));
        prop_assert!(!session.protocol().outstanding() && !session.protocol().finishing());
        prop_assert_eq!(session.host.drafts_left(), 0);
    }

    #[test]
    fn what_is_not_kept_is_not_deleted(
        script in script(),
        uids: bool,
        broken in prop::collection::btree_set(0..5usize, 0..3),
        hollow in prop::collection::btree_set(0..5usize, 0..3),
        refused in prop::collection::vec(
            prop_oneof![Just("begin"), Just("begin large"), Just("append"), Just("append large"), Just("settle")],
            0..6,
        ),
        ways in ways(),
    ) {
        let mut with = Model { hollow, ..Model::new(mailbox(), uids, broken) };
        let mut session = session();
        refused.iter().for_each(|call| session.host.refuse(call));
        through_the_proxy(&mut session, &mut with, script.as_bytes(), &ways);
        let kept = kept(&session.host);
        if with.quit {
            for &place in &with.deleted {
                prop_assert!(kept.contains(&mailbox()[place]), "message {} of {script:?}", place + 1);
            }
        }
        prop_assert!(session.host.ended() || !session.protocol().outstanding());
    }
}
