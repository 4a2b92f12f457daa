//! SMTP smuggling: every way we know of to write something like an end of data (`tests/data/smuggling.json`), through the proxy to servers
//! that take it for one and to servers that do not. The archive and the server have the same messages, or the transaction was refused. And the
//! mirror of it: what a POP3 or IMAP server says that looks like an end.

mod support;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use support::peer::{Peer, Talk, ends};
use support::proxy::section;
use support::*;

#[derive(Clone, Debug)]
struct Variant {
    name: String,
    bytes: Vec<u8>,
    /// By RFC 5321.
    is_end: bool,
    /// To stand where the data begins, not behind text.
    at_start: bool,
}

fn variants() -> Vec<Variant> {
    let file = include_str!("data/smuggling.json");
    let field = |line: &str, name: &str| {
        let value = line.trim().strip_prefix(&format!("\"{name}\": "))?;
        Some(value.trim_end_matches(',').trim_matches('"').to_owned())
    };
    let mut all: Vec<Variant> = Vec::new();
    for line in file.lines() {
        if let Some(name) = field(line, "name") {
            all.push(Variant { name, bytes: Vec::new(), is_end: false, at_start: false });
        }
        let Some(variant) = all.last_mut() else { continue };
        if let Some(hex) = field(line, "hex") {
            let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            variant.bytes = (0..hex.len()).step_by(2).map(digits).collect();
        }
        variant.is_end |= field(line, "is_eod_rfc5321").is_some_and(|is| is == "true");
        variant.at_start |= field(line, "where").is_some_and(|place| place == "start");
    }
    assert_eq!(all.len(), 76);
    all
}

impl Variant {
    /// What a smuggler's message is, from behind the 354 to the QUIT of his session.
    fn text(&self) -> Vec<u8> {
        [&self.head()[..], &self.bytes, &self.smuggled(), b"QUIT\r\n"].concat()
    }

    fn head(&self) -> Vec<u8> {
        let text = format!("From: ann@example.org\r\nSubject: OUTER {}\r\n\r\nouter body", self.name);
        if self.at_start { Vec::new() } else { text.into_bytes() }
    }

    fn smuggled(&self) -> Vec<u8> {
        format!(
            "MAIL FROM:<smuggled@example.org>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\n\
             From: smuggled@example.org\r\nSubject: SMUGGLED {}\r\n\r\nsmuggled body\r\n.\r\n",
            self.name
        )
        .into_bytes()
    }

    /// The messages that it is for a reader who follows RFC 5321, or none where it is to be refused: then the client hears 550.
    fn messages(&self, heard: &str) -> Vec<Vec<u8>> {
        if heard.contains("\r\n550 5.5.2 Message refused: ") {
            assert!(!self.is_end, "{}: {heard}", self.name);
            return Vec::new();
        }
        let mut rest = &self.text()[..];
        let mut all = Vec::new();
        while let Some(len) = strict(rest) {
            all.push(unstuffed(&rest[..len - 3]));
            let next = rest.windows(6).position(|six| six == b"DATA\r\n" && all.len() == 1 && self.is_end);
            match next {
                Some(at) => rest = &rest[at + 6..],
                None => break,
            }
        }
        all
    }
}

/// Without the dot at each line's start; only CRLF starts a line.
fn unstuffed(wire: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    let mut start = true;
    for (at, &byte) in wire.iter().enumerate() {
        if !(start && byte == b'.') {
            out.push(byte);
        }
        start = wire[..=at].ends_with(b"\r\n");
    }
    out
}

/// How long the data of DATA is, its end included: where the first line of a lone dot ends. `line_end`: how long the line end is that stands
/// here, 0 for none.
fn data_len(text: &[u8], line_end: impl Fn(&[u8]) -> usize, is_dot: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let (mut start, mut at) = (0, 0);
    while at < text.len() {
        match line_end(&text[at..]) {
            0 => at += 1,
            len if is_dot(&text[start..at]) => return Some(at + len),
            len => {
                at += len;
                start = at;
            }
        }
    }
    None
}

fn crlf(text: &[u8]) -> usize {
    if text.starts_with(b"\r\n") { 2 } else { 0 }
}

fn lf(text: &[u8]) -> usize {
    usize::from(text[0] == b'\n')
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn strict(text: &[u8]) -> Option<usize> {
    data_len(text, crlf, |line| line == b".")
}

type Reading = fn(&[u8]) -> Option<usize>;

/// The ways in which servers have been seen to find the end of data.
const READINGS: [(&str, Reading); 10] = [
    ("strict", strict),
    ("lines-end-at-lf", |text| data_len(text, lf, |line| without_cr(line) == b".")),
    ("all-cr-stripped", |text| {
        data_len(text, lf, |line| line.strip_prefix(b".").is_some_and(|cr| cr.iter().all(|&b| b == b'\r')))
    }),
    ("any-line-end", |text| {
        data_len(text, |text| crlf(text).max(usize::from(b"\r\n".contains(&text[0]))), |line| line == b".")
    }),
    ("lfcr", |text| data_len(text, |text| if text.starts_with(b"\n\r") { 2 } else { crlf(text) }, |line| line == b".")),
    ("cr-ends-the-dot", |text| {
        data_len(text, |text| crlf(text).max(usize::from(text[0] == b'\r')), |line| line == b".")
    }),
    ("nul-dropped", |text| data_len(text, crlf_among_nuls, |line| line.iter().filter(|&&b| b != 0).eq(b"."))),
    ("nul-dropped-lf", |text| data_len(text, lf, |line| line.iter().filter(|&&b| b != 0 && b != b'\r').eq(b"."))),
    ("nul-ends-a-string", |text| {
        data_len(text, lf, |line| without_cr(line.split(|&b| b == 0).next().unwrap()) == b".")
    }),
    ("nul-ends-a-line", |text| data_len(text, |text| crlf(text).max(usize::from(text[0] == 0)), |line| line == b".")),
];

fn crlf_among_nuls(text: &[u8]) -> usize {
    let nuls = text.iter().skip(1).take_while(|&&b| b == 0).count();
    if text[0] == b'\r' && text.get(1 + nuls) == Some(&b'\n') { 2 + nuls } else { 0 }
}

/// The messages that a server has accepted.
type Accepted = Arc<Mutex<Vec<Vec<u8>>>>;

/// An SMTP server that takes for the end of data what this reading does, and runs what follows as commands.
fn server(reading: Reading) -> (Peer, Accepted) {
    let accepted = Accepted::default();
    let all = Arc::clone(&accepted);
    (Peer::start(Kind::Smtp, move |talk| serve(talk, reading, &all)), accepted)
}

fn serve(talk: &mut Talk, reading: Reading, accepted: &Accepted) -> io::Result<()> {
    talk.say("220 lax\r\n")?;
    let mut chunks = Vec::new();
    loop {
        let line = String::from_utf8_lossy(&talk.line()?).to_ascii_uppercase();
        let reply = match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => "250-lax\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 8BITMIME\r\n",
            "DATA" => {
                talk.say("354 go\r\n")?;
                let text = talk.until(reading)?;
                accepted.lock().unwrap().push(text);
                "250 taken\r\n"
            }
            "BDAT" => {
                let size = line.split(' ').nth(1).and_then(|size| size.parse().ok()).unwrap_or(0);
                chunks.extend(talk.octets(size)?);
                if line.ends_with("LAST") {
                    accepted.lock().unwrap().push(std::mem::take(&mut chunks));
                }
                "250 taken\r\n"
            }
            "MAIL" | "RCPT" | "RSET" => "250 ok\r\n",
            "QUIT" => return talk.say("221 bye\r\n"),
            _ => "500 what?\r\n",
        };
        talk.say(reply)?;
    }
}

/// A session that sends this in these pieces behind its 354; all that it heard since.
fn smuggle(lab: &Lab, at: Endpoint, pieces: &[&[u8]], pipelined: bool) -> String {
    let mut wire = Wire::connect(lab, at);
    wire.smtp("EHLO client.example.org");
    if pipelined {
        wire.send(b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n");
        (0..2).for_each(|_| drop(wire.smtp_reply()));
    } else {
        wire.smtp("MAIL FROM:<ann@example.org>");
        wire.smtp("RCPT TO:<bob@example.org>");
        wire.send(b"DATA\r\n");
    }
    assert!(wire.smtp_reply().starts_with(b"354"));
    for piece in pieces {
        wire.send(piece);
    }
    format!("\r\n{}", String::from_utf8(wire.rest()).unwrap())
}

/// What the client has to hear: one reply to each message and command of the reading by which it was archived.
#[track_caller]
fn heard_as(variant: &Variant, messages: usize, heard: &str) {
    let codes: Vec<&str> = heard.lines().filter(|line| !line.is_empty()).map(|line| &line[..3]).collect();
    let expected: &[&str] = match messages {
        0 => &["550"],
        1 => &["250", "221"],
        _ => &["250", "250", "250", "354", "250", "221"],
    };
    assert_eq!(codes, expected, "{}", variant.name);
}

fn subject(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message).into_owned();
    text.split("Subject: ").nth(1).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

#[test]
fn archive_and_server_have_the_same_messages_however_the_server_finds_their_end() {
    let lab = Lab::new();
    let servers: Vec<_> = READINGS.iter().map(|(_, reading)| server(*reading)).collect();
    thread::scope(|scope| {
        for ((peer, accepted), (name, _)) in servers.iter().zip(READINGS) {
            let lab = &lab;
            scope.spawn(move || {
                let section = section(lab, name, Tls::None, peer.endpoint(Tls::None), "");
                let proxy = Proxy::with(lab, "sync = no\nsent_folder =\n", &section);
                let mut expected = Vec::new();
                for variant in variants() {
                    let text = variant.text();
                    let heard = smuggle(lab, proxy.endpoint(Kind::Smtp, name, Tls::None), &[&text], true);
                    let messages = variant.messages(&heard);
                    heard_as(&variant, messages.len(), &heard);
                    // The server has the same, and their bytes as far as it reads them as they are meant.
                    let mut there = std::mem::take(&mut *accepted.lock().unwrap());
                    assert_eq!(there.len(), messages.len(), "{name}: {}", variant.name);
                    there.iter_mut().for_each(|text| *text = unstuffed(&text[..text.len() - 3]));
                    assert!(there == messages, "{name}: {}: the server has other bytes", variant.name);
                    expected.extend(messages);
                }
                let mut kept: Vec<_> = proxy.spool().list().into_iter().map(|kept| kept.bytes).collect();
                expected.sort();
                expected.dedup();
                kept.sort();
                kept.dedup();
                assert!(kept == expected, "{name}: archived {:?}", kept.iter().map(|m| subject(m)).collect::<Vec<_>>());
            });
        }
    });
}

#[test]
fn an_end_split_at_every_octet_is_decided_alike() {
    let lab = Lab::new();
    let (peer, accepted) = server(READINGS[1].1);
    let proxy = Proxy::with(&lab, "sync = no\n", &section(&lab, "a", Tls::None, peer.endpoint(Tls::None), ""));
    let at = proxy.endpoint(Kind::Smtp, "a", Tls::None);
    for variant in variants().into_iter().filter(|variant| variant.bytes.len() < 10) {
        let (head, text) = (variant.head().len(), variant.text());
        for split in head + 1..=head + variant.bytes.len() {
            let (before, behind) = text.split_at(split);
            let heard = smuggle(&lab, at, &[before, behind], false);
            let messages = variant.messages(&heard);
            heard_as(&variant, messages.len(), &heard);
            let there = std::mem::take(&mut *accepted.lock().unwrap()).len();
            assert_eq!(there, messages.len(), "{} split at {split}", variant.name);
        }
        // And octet by octet, from before it to behind it.
        let pieces: Vec<&[u8]> =
            text[..head + variant.bytes.len()].chunks(1).chain([&text[head + variant.bytes.len()..]]).collect();
        let heard = smuggle(&lab, at, &pieces, false);
        let messages = variant.messages(&heard);
        heard_as(&variant, messages.len(), &heard);
        assert_eq!(std::mem::take(&mut *accepted.lock().unwrap()).len(), messages.len(), "{}", variant.name);
    }
}

#[test]
fn chunks_have_no_ends_but_their_counts() {
    let lab = Lab::new();
    let (peer, accepted) = server(READINGS[1].1);
    let proxy = Proxy::with(&lab, "sync = no\n", &section(&lab, "a", Tls::None, peer.endpoint(Tls::None), ""));
    let mut expected = Vec::new();
    for variant in variants() {
        let message = [&variant.head()[..], &variant.bytes, &variant.smuggled(), variant.name.as_bytes()].concat();
        // Cut in the middle of what looks like an end.
        let (one, two) = message.split_at(variant.head().len() + 1);
        let mut wire = Wire::connect(&lab, proxy.endpoint(Kind::Smtp, "a", Tls::None));
        wire.smtp("EHLO client.example.org");
        let commands = "MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.org>\r\n";
        let (first, last) = (format!("BDAT {}\r\n", one.len()), format!("BDAT {} LAST\r\n", two.len()));
        wire.send(&[commands.as_bytes(), first.as_bytes(), one, last.as_bytes(), two, b"QUIT\r\n"].concat());
        let heard = String::from_utf8(wire.rest()).unwrap();
        assert_eq!(heard.matches("250 ").count(), 4, "{}: {heard}", variant.name);
        assert!(std::mem::take(&mut *accepted.lock().unwrap()) == [message.clone()], "{}", variant.name);
        expected.push(spool::sent("ann@example.org", &message));
    }
    proxy.spool().holds(&expected);
}

/// All variants through a real Postfix with these lines in its main.cf.
fn through_postfix(options: &str) {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let postfix = Postfix::with(&lab, &dovecot, options);
    let endpoint = Endpoint { kind: Kind::Smtp, port: postfix.mx(), tls: Tls::None };
    let proxy = Proxy::with(&lab, "sync = no\nsent_folder =\n", &section(&lab, "a", Tls::None, endpoint, ""));
    let mut expected: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
    for variant in variants() {
        let heard = smuggle(&lab, proxy.endpoint(Kind::Smtp, "a", Tls::None), &[&variant.text()], true);
        let messages = variant.messages(&heard);
        // What it refuses by itself is refused.
        let refused = messages.len() == 1 && heard.starts_with("\r\n5");
        if refused {
            continue;
        }
        heard_as(&variant, messages.len(), &heard);
        for (to, message) in ["bob@example.org", "victim@example.org"].into_iter().zip(messages) {
            expected.entry(to).or_default().push(message);
        }
    }
    postfix.wait_until_idle();
    let mut kept: Vec<_> = proxy.spool().list().into_iter().map(|kept| kept.bytes).collect();
    let mut sent: Vec<_> = expected.values().flatten().cloned().collect();
    kept.sort();
    kept.dedup();
    sent.sort();
    sent.dedup();
    assert!(kept == sent, "archived {:?}", kept.iter().map(|message| subject(message)).collect::<Vec<_>>());
    for (to, messages) in expected {
        let delivered = postfix.delivered(to);
        let subjects = |all: Vec<&[u8]>| {
            let mut all: Vec<String> = all.into_iter().map(subject).collect();
            all.sort();
            all
        };
        assert_eq!(
            subjects(delivered.iter().map(|one| &one.bytes[..]).collect()),
            subjects(messages.iter().map(Vec::as_slice).collect()),
            "delivered to {to}"
        );
        // What has nothing in it that Postfix changes is there as it was sent.
        for message in messages.iter().filter(|message| is_plain(message)) {
            assert!(delivered.iter().any(|one| one.ends_with(message)), "{}", subject(message));
        }
    }
}

/// Lines that end in CRLF, without NUL, none longer than Postfix passes unbroken.
fn is_plain(message: &[u8]) -> bool {
    let lines = message.split(|&b| b == b'\n');
    let whole = |line: &[u8]| line.len() < 2000 && !line[..line.len().saturating_sub(1)].contains(&b'\r');
    !message.is_empty()
        && !message.contains(&0)
        && lines.clone().all(whole)
        && message.iter().enumerate().all(|(at, &b)| b != b'\n' || at > 0 && message[at - 1] == b'\r')
}

#[test]
fn a_postfix_that_forbids_bare_line_feeds_delivers_what_is_archived() {
    through_postfix("smtpd_forbid_bare_newline = yes");
}

#[test]
fn a_postfix_that_takes_bare_line_feeds_delivers_what_is_archived() {
    through_postfix("smtpd_forbid_bare_newline = no");
}

/// What looks like an end and is none passes in the message, and what is one is one; all other bytes are as they are.
fn replies() -> Vec<Vec<u8>> {
    let reply = |variant: Variant| {
        let tail: &[u8] = if variant.is_end { b"" } else { b"\r\ntail\r\n+OK smuggled\r\n.\r\n" };
        [&variant.head()[..], &variant.bytes, tail].concat()
    };
    variants().into_iter().map(reply).collect()
}

#[test]
fn a_pop3_reply_ends_where_it_ends_and_nowhere_else() {
    let lab = Lab::new();
    let peer = Peer::start(Kind::Pop3, |talk| {
        let replies = replies();
        talk.say("+OK hello\r\n")?;
        loop {
            let line = String::from_utf8(talk.line()?).unwrap();
            let number = line.strip_prefix("RETR ").and_then(|number| number.parse::<usize>().ok());
            talk.say([&b"+OK\r\n"[..], number.map_or(&b""[..], |number| &replies[number - 1])].concat())?;
        }
    });
    let proxy = Proxy::with(&lab, "sync = no\n", &section(&lab, "a", Tls::None, peer.endpoint(Tls::None), ""));
    let mut wire = Wire::connect(&lab, proxy.endpoint(Kind::Pop3, "a", Tls::None));
    wire.login(Kind::Pop3, "ann@example.org");
    let mut expected = Vec::new();
    for (number, reply) in replies().into_iter().enumerate() {
        assert!(wire.pop3(&format!("RETR {}", number + 1)).starts_with("+OK"));
        assert_same(&reply, &wire.octets(reply.len()), "the reply");
        assert_eq!(wire.pop3("NOOP"), "+OK\r\n");
        expected.push(unstuffed(&reply[..reply.len() - 3]));
    }
    let mut kept: Vec<_> = proxy.spool().list().into_iter().map(|kept| kept.bytes).collect();
    kept.sort();
    expected.sort();
    expected.dedup();
    assert!(kept == expected, "{} kept, {} expected", kept.len(), expected.len());
    drop(wire);
    ends(&proxy, 1);
}

#[test]
fn an_imap_literal_ends_by_its_count_and_nowhere_else() {
    const FAKE: &[u8] = b")\r\nt3 OK done\r\n* 1 FETCH (BODY[] {3}\r\nabc)\r\nt3 OK done\r\n+ \r\n* BYE\r\n";
    let messages = || -> Vec<Vec<u8>> {
        let message = |variant: Variant| [&variant.head()[..], &variant.bytes, FAKE, variant.name.as_bytes()].concat();
        variants().into_iter().map(message).collect()
    };
    let lab = Lab::new();
    let peer = Peer::start(Kind::Imap, move |talk| {
        let messages = messages();
        talk.say("* OK hello\r\n")?;
        loop {
            let line = String::from_utf8(talk.line()?).unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            if let ["FETCH", number, _] = words[1..] {
                let message = &messages[number.parse::<usize>().unwrap() - 1];
                talk.say(format!("* {number} FETCH (BODY[] {{{}}}\r\n", message.len()))?;
                talk.say(message)?;
                talk.say(")\r\n")?;
            }
            talk.say(format!("{} OK done\r\n", words[0]))?;
        }
    });
    let proxy = Proxy::with(&lab, "sync = no\n", &section(&lab, "a", Tls::None, peer.endpoint(Tls::None), UNFOLLOWED));
    let mut wire = Wire::connect(&lab, proxy.endpoint(Kind::Imap, "a", Tls::None));
    wire.login(Kind::Imap, "ann@example.org");
    wire.imap_ok("SELECT INBOX");
    let mut expected = Vec::new();
    for (number, message) in messages().into_iter().enumerate() {
        let answer = wire.imap_ok(&format!("FETCH {} BODY[]", number + 1));
        assert!(wire::literals(&answer) == [message.clone()]);
        expected.push(spool::received("ann@example.org", "", &message));
    }
    proxy.spool().holds(&expected);
}
