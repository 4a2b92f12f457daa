//! Mail clients as transcripts: what each of them sends, replayed with and without the proxy.
//!
//! A script has a command on each line, without a tag; the answer is waited for before the next one. A line that starts with `& `
//! is sent together with the line before it. Angle brackets with two dots in them stand for a download in chunks, one command each:
//!
//! - `BODY[]<65536..>` asks for 65536 octets until fewer come;
//! - `BODY[]<65536+8192..>` asks for 8192 more each time;
//! - `BODY[2]<16384..end>` knows how long it is, and never asks for more than what is left.
//!
//! The server has to say OK to each, but for those that start with `! `, which it has to refuse. `IDLE` is ended by `DONE` as soon as the server waits.

use super::dovecot::{Dovecot, Mailbox, Place};
use super::proxy::{Proxy, section};
use super::spool::{Expected, received};
use super::wire::{Wire, literals, timeless};
use super::{Endpoint, Kind, Lab, Tls, assert_same, wait_until};

/// The UID of the first message of [`inbox`], whose sequence number is 1: who takes one for the other is found out.
const FIRST_UID: usize = 101;

pub const SMALL: usize = 101;
pub const LETTER: usize = 102;
/// 100 KB, with attachments.
pub const PARTS: usize = 103;
/// 1.5 MB, nearly all of it one attachment.
pub const BIG: usize = 104;
pub const FORWARDED: usize = 105;
/// A message that no script reads.
pub const UNREAD: usize = 106;
pub const ALL: [usize; 6] = [SMALL, LETTER, PARTS, BIG, FORWARDED, UNREAD];

pub const DIRECT: &str = "direct@example.org";
pub const PASSED: &str = "passed@example.org";

/// One message, and what the sections of its body are.
pub struct Mail {
    pub bytes: Vec<u8>,
    parts: Vec<(String, Vec<u8>)>,
}

/// What lies in the inbox of each user.
pub fn inbox() -> Vec<Mail> {
    let letter = |text: &str| {
        let html = format!("<html><body><p>{text}</p></body></html>\r\n");
        multi("alternative", vec![leaf("text/plain; charset=utf-8", text), leaf("text/html; charset=utf-8", &html)])
    };
    let parts = vec![
        letter("Two attachments are below.\r\n\r\n.\r\n--\r\nAnn\r\n"),
        attachment("application/pdf; name=\"report.pdf\"", 52_000),
        attachment("image/png; name=\"drawing.png\"", 21_000),
    ];
    let big = vec![leaf("text/plain", "A film.\r\n"), attachment("video/mp4; name=\"film.mp4\"", 1_090_000)];
    let original = mail("The original", &letter("It was a dark night.\r\n")).bytes;
    let forwarded =
        vec![leaf("text/plain", "See below.\r\n"), leaf("message/rfc822", &String::from_utf8(original).unwrap())];
    vec![
        mail("A small one", &leaf("text/plain; charset=us-ascii", "Hello.\r\n")),
        mail("A letter", &letter("Dear Bob,\r\nsee you.\r\n")),
        mail("Two attachments", &multi("mixed", parts)),
        mail("A film", &multi("mixed", big)),
        mail("Forwarded", &multi("mixed", forwarded)),
        mail("Never read", &leaf("text/plain", "Nobody has read this, and its text is longer than that.\r\n")),
    ]
}

/// A Dovecot, and a proxy before it.
pub struct Scene {
    pub lab: Lab,
    pub dovecot: Dovecot,
    pub proxy: Proxy,
    pub direct: Endpoint,
    pub passed: Endpoint,
}

impl Scene {
    /// With these lines for the proxy's section.
    pub fn new(more: &str) -> Scene {
        Scene::with(Tls::None, more)
    }

    /// The same for clients that use TLS so; the proxy does what they do.
    pub fn with(tls: Tls, more: &str) -> Scene {
        let lab = Lab::new();
        let dovecot = Dovecot::start(&lab);
        let direct = dovecot.endpoint(Kind::Imap, tls);
        let proxy = Proxy::start(&lab, &section(&lab, "a", tls, direct, more));
        let passed = proxy.endpoint(Kind::Imap, "a", tls);
        Scene { lab, dovecot, proxy, direct, passed }
    }

    /// Fills the inbox of this user; there are also `Trash` and `Work`, empty.
    pub fn fill(&self, user: &str) -> Mailbox {
        let mailbox = self.dovecot.mailbox(user);
        mailbox.folder("Trash");
        mailbox.folder("Work");
        mailbox.next_uid("INBOX", FIRST_UID);
        for mail in inbox() {
            mailbox.put("INBOX", Place::New, &mail.bytes);
        }
        mailbox
    }

    /// Fails unless with and without the proxy the client hears the same, and afterwards the server has the same messages with
    /// the same flags. What is kept is not looked at.
    pub fn replay(&self, script: &str) {
        self.replay_and_compare(script, |responses| responses.concat());
    }

    /// The same, but it does not matter when the client hears what.
    pub fn replay_in_any_order(&self, script: &str) {
        self.replay_and_compare(script, |mut responses| {
            responses.sort();
            responses.concat()
        });
    }

    fn replay_and_compare(&self, script: &str, comparable: fn(Vec<Vec<u8>>) -> Vec<u8>) {
        let run = |at: Endpoint, user: &str| {
            self.fill(user);
            let mut reader = Reader::login(&self.lab, at, user);
            reader.play(script);
            comparable(reader.responses())
        };
        assert_same(&run(self.direct, DIRECT), &run(self.passed, PASSED), "what the client hears");
        self.same_mail();
    }

    /// Fails unless the server has the same messages with the same flags for both users.
    pub fn same_mail(&self) {
        let mail = |user: &str| {
            let mut wire = Wire::connect(&self.lab, self.direct);
            wire.login(Kind::Imap, user);
            wire.heard.clear();
            for folder in ["INBOX", "Trash", "Work"] {
                wire.imap_ok(&format!("EXAMINE {folder}"));
                wire.imap_ok("UID FETCH 1:* (FLAGS INTERNALDATE BODY.PEEK[])");
            }
            wire.imap_ok("LOGOUT");
            timeless(&wire.heard)
        };
        assert_same(&mail(DIRECT), &mail(PASSED), "the server's mail and its flags");
    }

    /// Fails unless exactly these messages are kept, whole, from the inbox of the user that passed.
    #[track_caller]
    pub fn keeps(&self, uids: &[usize]) {
        self.proxy.spool().holds(&from_inbox(PASSED, uids));
    }

    /// The same, once it has come to that: nobody waits for an answer any more.
    #[track_caller]
    pub fn comes_to_keep(&self, uids: &[usize]) {
        wait_until("all messages are kept", super::START * 3, || self.proxy.spool().list().len() >= uids.len());
        self.keeps(uids);
    }
}

impl Scene {
    /// Fails unless it comes to exactly these messages in the inbox of the user that passed.
    #[track_caller]
    pub fn comes_to_keep_these(&self, messages: &[Vec<u8>]) {
        wait_until("all messages are kept", super::START * 3, || self.proxy.spool().list().len() >= messages.len());
        let expected: Vec<Expected> = messages.iter().map(|message| received(PASSED, "", message)).collect();
        self.proxy.spool().holds(&expected);
    }
}

/// These messages of [`inbox`], as they are kept.
pub fn from_inbox(user: &str, uids: &[usize]) -> Vec<Expected> {
    let inbox = inbox();
    uids.iter().map(|uid| received(user, "", &inbox[uid - FIRST_UID].bytes)).collect()
}

/// Replays a script in a scene of its own: the client hears the same as without the proxy, and exactly these messages are kept.
#[track_caller]
pub fn replay(kept: &[usize], script: &str) {
    let scene = Scene::new(super::UNFOLLOWED);
    scene.replay(script);
    scene.keeps(kept);
}

/// A client that plays scripts.
pub struct Reader {
    pub wire: Wire,
    inbox: Vec<Mail>,
    heard: Vec<Vec<u8>>,
    left: bool,
}

impl Reader {
    pub fn login(lab: &Lab, at: Endpoint, user: &str) -> Reader {
        let mut wire = Wire::connect(lab, at);
        wire.login(Kind::Imap, user);
        wire.heard.clear();
        Reader { wire, inbox: inbox(), heard: Vec::new(), left: false }
    }

    pub fn play(&mut self, script: &str) {
        let mut together: Vec<&str> = Vec::new();
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(more) = line.strip_prefix("& ") {
                together.push(more);
                continue;
            }
            self.say(&std::mem::take(&mut together));
            match Chunks::of(line) {
                Some(chunks) => self.download(&chunks),
                None => together.push(line),
            }
        }
        self.say(&together);
    }

    /// Leaves, if the script did not; gives all that was heard after the login.
    pub fn bye(self) -> Vec<u8> {
        self.responses().concat()
    }

    fn responses(mut self) -> Vec<Vec<u8>> {
        if !self.left {
            self.say(&["LOGOUT"]);
        }
        self.heard.push(self.wire.rest());
        self.heard
    }

    /// Stays in IDLE until [`Reader::wake_up`] is called with the tag that this gives.
    pub fn fall_idle(&mut self) -> String {
        let tag = self.wire.next_tag();
        self.wire.send(format!("{tag} IDLE\r\n").as_bytes());
        self.heard.push(self.wire.imap_until(&tag));
        tag
    }

    pub fn wake_up(&mut self, tag: &str) {
        self.wire.send(b"DONE\r\n");
        self.heard.push(timeless(&self.wire.imap_until(tag)));
    }

    /// Waits, without asking for anything, until the server says this.
    pub fn hear(&mut self, line: &str) {
        loop {
            let response = self.wire.imap_response();
            self.heard.push(timeless(&response));
            if response.starts_with(line.as_bytes()) {
                return;
            }
        }
    }

    /// Closes the connection without a word.
    pub fn hang_up(self) {
        drop(self.wire);
    }

    /// Sends these commands at once, and hears all the answers. Those of several commands are sorted: which comes first may
    /// depend on how fast we read.
    fn say(&mut self, commands: &[&str]) {
        let mut open: Vec<(String, &str)> = commands.iter().map(|command| (self.wire.next_tag(), *command)).collect();
        let line = |(tag, command): &(String, &str)| format!("{tag} {}\r\n", command.trim_start_matches("! "));
        self.wire.send(open.iter().map(line).collect::<String>().as_bytes());
        let mut responses = Vec::new();
        while !open.is_empty() {
            let response = self.wire.imap_response();
            if response.starts_with(b"+ ") {
                self.wire.send(b"DONE\r\n");
            }
            if let Some(at) = open.iter().position(|(tag, _)| response.starts_with(format!("{tag} ").as_bytes())) {
                let (tag, command) = open.remove(at);
                let ok = response[tag.len()..].starts_with(b" OK");
                assert!(ok != command.starts_with("! "), "{command}: {}", String::from_utf8_lossy(&response));
            }
            responses.push(timeless(&response));
        }
        self.left |= commands.contains(&"LOGOUT");
        if commands.len() > 1 {
            responses.sort();
        }
        self.heard.extend(responses);
    }

    /// Downloads what the command names, and checks that nothing is missing.
    fn download(&mut self, chunks: &Chunks<'_>) {
        let whole = self.section(chunks.before);
        let mut got: Vec<u8> = Vec::new();
        let mut len = chunks.first;
        loop {
            let asked = if chunks.knows_end { len.min(whole.len() - got.len()) } else { len };
            let answer = self.wire.imap_ok(&format!("{}<{}.{asked}>{}", chunks.before, got.len(), chunks.behind));
            self.heard.push(timeless(&answer));
            let chunk = literals(&answer).concat();
            got.extend(&chunk);
            if chunk.len() < asked || chunks.knows_end && got.len() == whole.len() {
                break;
            }
            len += chunks.growth;
        }
        assert!(got == whole, "{}: {} octets came of {}", chunks.before, got.len(), whole.len());
    }

    /// What `FETCH 3 (… BODY[2]` asks for.
    fn section(&self, command: &str) -> Vec<u8> {
        let mut words = command.split(' ');
        let by_uid = words.next() == Some("UID");
        let number: usize = words.nth(usize::from(by_uid)).unwrap().parse().expect("a message's number");
        let mail = &self.inbox[number - if by_uid { FIRST_UID } else { 1 }];
        let section = command.rsplit_once('[').unwrap().1.trim_end_matches(']');
        if section.is_empty() {
            return mail.bytes.clone();
        }
        let found = mail.parts.iter().find(|(name, _)| name == section);
        found.unwrap_or_else(|| panic!("no such part: {command}")).1.clone()
    }
}

/// A download in chunks.
struct Chunks<'a> {
    before: &'a str,
    behind: &'a str,
    first: usize,
    growth: usize,
    knows_end: bool,
}

impl Chunks<'_> {
    fn of(line: &str) -> Option<Chunks<'_>> {
        let (before, rest) = line.split_once('<')?;
        let (range, behind) = rest.split_once('>')?;
        let (sizes, end) = range.split_once("..")?;
        let (first, growth) = sizes.split_once('+').unwrap_or((sizes, "0"));
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("not a number of octets: {line}"));
        Some(Chunks { before, behind, first: number(first), growth: number(growth), knows_end: end == "end" })
    }
}

/// A part, and all that is in it by section number.
struct Part {
    head: String,
    body: String,
    children: Vec<Part>,
}

fn leaf(kind: &str, body: &str) -> Part {
    Part { head: format!("Content-Type: {kind}\r\n"), body: body.to_owned(), children: Vec::new() }
}

fn attachment(kind: &str, size: usize) -> Part {
    use base64::prelude::{BASE64_STANDARD, Engine};
    // Never the same line twice: what is put together in the wrong order shows.
    let mut state = size as u32;
    let octets: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(size)
    .collect();
    let lines: Vec<String> = octets.chunks(57).map(|line| BASE64_STANDARD.encode(line)).collect();
    let head =
        format!("Content-Type: {kind}\r\nContent-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n");
    Part { head, body: lines.join("\r\n") + "\r\n", children: Vec::new() }
}

fn multi(subtype: &str, children: Vec<Part>) -> Part {
    let boundary = format!("=-{subtype}-{}", children.len());
    let mut body = "This is a message in MIME format.\r\n".to_owned();
    for child in &children {
        body += &format!("\r\n--{boundary}\r\n{}\r\n{}", child.head, child.body);
    }
    body += &format!("\r\n--{boundary}--\r\n");
    Part { head: format!("Content-Type: multipart/{subtype}; boundary=\"{boundary}\"\r\n"), body, children }
}

fn mail(subject: &str, content: &Part) -> Mail {
    let head = format!(
        "Received: from a by b; Tue, 14 Nov 2023 22:13:20 +0000\r\nFrom: Ann <ann@example.org>\r\nTo: Bob <bob@example.org>\r\n\
         Subject: {subject}\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <{}@example.org>\r\nMIME-Version: 1.0\r\n",
        subject.replace(' ', ".")
    );
    let mut parts = Vec::new();
    if content.children.is_empty() {
        parts.push(("1".to_owned(), content.body.clone().into_bytes()));
    }
    number(content, "", &mut parts);
    Mail { bytes: format!("{head}{}\r\n{}", content.head, content.body).into_bytes(), parts }
}

fn number(part: &Part, prefix: &str, parts: &mut Vec<(String, Vec<u8>)>) {
    for (n, child) in part.children.iter().enumerate() {
        let section = format!("{prefix}{}", n + 1);
        parts.push((section.clone(), child.body.clone().into_bytes()));
        number(child, &format!("{section}."), parts);
    }
}
