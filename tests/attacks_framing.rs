//! Attacks on framing, from clients and from servers: lengths that are none, lines without an end, nesting without an end, NUL, tags and answers
//! that nobody asked for, exchanges that never end. Each passes as it is or ends its session with a reason; others go on, memory stays
//! bounded, and what is kept is a message, whole.

mod support;

use std::fs;

use support::peer::{Answers, CLOSE, GREETING, Peer, ends, said_at_once};
use support::proxy::section;
use support::*;

const ANN: &str = "ann@example.org";
const OK: &str = "passes";

/// A proxy before a server that gives these answers, in a section `a`.
fn before(lab: &Lab, kind: Kind, shared: &str, answers: Answers) -> (Proxy, Endpoint, Peer) {
    let peer = Peer::answering(lab, kind, Tls::None, answers);
    let more = if kind == Kind::Imap { UNFOLLOWED } else { "" };
    let proxy = Proxy::with(lab, shared, &section(lab, "a", Tls::None, peer.endpoint(Tls::None), more));
    let at = proxy.endpoint(kind, "a", Tls::None);
    (proxy, at, peer)
}

fn logged_in(lab: &Lab, at: Endpoint) -> Wire {
    let mut wire = Wire::connect(lab, at);
    wire.login(at.kind, ANN);
    if at.kind == Kind::Imap {
        wire.imap_ok("SELECT INBOX");
    }
    wire
}

/// Whether a session that stood all the time still does.
#[track_caller]
fn lives(mut wire: Wire, kind: Kind) {
    match kind {
        Kind::Pop3 => assert!(wire.pop3("NOOP").starts_with("+OK")),
        Kind::Imap => drop(wire.imap_ok("NOOP")),
        Kind::Smtp => assert!(wire.smtp("NOOP").starts_with("250")),
    }
}

/// What the answer to NOOP says, sent behind all else: the place in the stream is the same for all.
fn noop(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Pop3 => ("NOOP\r\n", "+OK"),
        Kind::Imap => ("last NOOP\r\n", "last OK"),
        Kind::Smtp => ("NOOP\r\n", "250 ok"),
    }
}

/// Each client line (a login before it) has to be answered so, and the session goes on; or it has to end for this reason.
#[track_caller]
fn clients(kind: Kind, cases: &[(&[u8], &str)]) -> (Lab, Proxy) {
    let lab = Lab::new();
    let (proxy, at, _peer) = before(&lab, kind, "sync = no\n", vec![]);
    let bystander = logged_in(&lab, at);
    let mut count = 0;
    for (line, outcome) in cases {
        let shown = line[..line.len().min(60)].escape_ascii().to_string();
        let mut wire = logged_in(&lab, at);
        wire.send(line);
        if let Some(reason) = outcome.strip_prefix("ends: ") {
            let heard = wire.rest();
            drop(wire);
            count += 1;
            let last = ends(&proxy, count).pop().unwrap();
            assert!(last.starts_with(reason), "{shown}: {last}\n{}", heard.escape_ascii());
            continue;
        }
        let (noop, done) = noop(kind);
        wire.send(noop.as_bytes());
        wire.finish_sending();
        let heard = String::from_utf8_lossy(&wire.rest()).into_owned();
        let last = heard.lines().last().unwrap_or_default();
        assert!(heard.starts_with(outcome) && last.starts_with(done), "{shown}: {heard:?}");
        drop(wire);
        count += 1;
        ends(&proxy, count);
    }
    lives(bystander, kind);
    ends(&proxy, count + 1);
    (lab, proxy)
}

#[test]
fn imap_clients_with_odd_lengths_tags_and_lines() {
    let nested = [&b"a SEARCH "[..], &b"(".repeat(500_000), &b")".repeat(500_000), b"\r\n"].concat();
    let ranges = [b"a UID FETCH 1", ",3:5".repeat(250_000).as_bytes(), b" FLAGS\r\n"].concat();
    let (_lab, proxy) = clients(
        Kind::Imap,
        &[
            (b"a APPEND Sent {2147483648}\r\n", "a NO [TOOBIG] "),
            (b"a APPEND Sent {4294967296}\r\n", "a NO [TOOBIG] "),
            (b"a APPEND Sent {9223372036854775807}\r\n", "a NO [TOOBIG] "),
            (b"a APPEND Sent {9223372036854775808}\r\n", "a BAD "),
            (b"a APPEND Sent {18446744073709551616}\r\n", "a BAD "),
            (b"a APPEND Sent {18446744073709551617}\r\n", "a BAD "),
            (b"a APPEND Sent ~{99999999999999999999}\r\n", "a BAD "),
            (b"a APPEND Sent {18446744073709551621+}\r\n", "ends: the client sent a literal whose length is none"),
            (b"a APPEND Sent {-5}\r\n", "a BAD "),
            (b"a APPEND Sent {+5}\r\n", "a BAD "),
            (b"a APPEND Sent {}\r\n", "a BAD "),
            (b"a APPEND Sent {0x5}\r\n", "a BAD "),
            (b"a APPEND Sent { 5}\r\n", "a BAD "),
            (b"a APPEND Sent {+}\r\n", "ends: the client sent a literal whose length is none"),
            (b"a APPEND Sent {5++}\r\nabcde\r\n", "ends: the client sent a literal whose length is none"),
            (b"a APPEND Sent {5+}\r\nfirst\r\n", "a OK"),
            (b"a APPEND Sent ~{006+}\r\nsecond\r\n", "a OK"),
            (b"a APPEND Sent {0+}\r\n\r\n", "a OK"),
            (b"a LOGIN {2147483648}\r\n", "a BAD "),
            (b"a LOGIN {18446744073709551617}\r\n", "a BAD "),
            (b"a SEARCH TEXT {18446744073709551616}\r\n", "a BAD "),
            (b"a SEARCH TEXT {-1}\r\n", "a BAD "),
            (b"a SEARCH TEXT {3+}\r\n\0{9\r\n", "a OK"),
            (b"\r\n", "* BAD "),
            (b" NOOP\r\n", "* BAD "),
            (b"a\r\n", "* BAD "),
            (b"* NOOP\r\n", "* BAD "),
            (b"+ NOOP\r\n", "* BAD "),
            (b"a+b NOOP\r\n", "* BAD "),
            (b"{5} NOOP\r\n", "* BAD "),
            (b"\xff NOOP\r\n", "* BAD "),
            (b"a\0 NOOP\r\n", "* BAD "),
            (b"a NOOP\0\r\n", "a BAD "),
            (b"a NO\rOP\r\n", "a BAD "),
            (b"a\tNOOP\r\n", "* BAD "),
            (b"X00000000.1 NOOP\r\n", "X00000000.1 OK"),
            (b"MAILSTORE1 NOOP\r\n", "MAILSTORE1 OK"),
            (b"DONE\r\n", "* BAD "),
            (&nested, "a OK"),
            (&ranges, "a OK"),
            (&[&b"a NOOP "[..], &b"x".repeat(2 << 20)].concat(), "ends: the client sent a line over 1048576 octets"),
            (
                &[&b"a X {0+}\r\n".repeat(50_000)[..], b"\r\n"].concat(),
                "ends: a command had to be refused in its middle",
            ),
        ],
    );
    proxy.spool().holds(&[spool::sent(ANN, b"first"), spool::sent(ANN, b"second"), spool::sent(ANN, b"")]);
}

#[test]
fn smtp_clients_with_odd_chunks_and_lines() {
    let mail = |rest: &[u8]| [&b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.org>\r\n"[..], rest].concat();
    let none = "ends: the client sent a BDAT that does not tell how many octets follow";
    let (_lab, proxy) = clients(
        Kind::Smtp,
        &[
            (&mail(b"BDAT 5 LAST\r\nfirst"), "250 ok\r\n250 ok\r\n250 taken"),
            (&mail(b"BDAT 0\r\nBDAT 3\r\nsecBDAT 000003\r\nondBDAT 0 LAST\r\n"), "250 ok\r\n250 ok\r\n250 taken"),
            // The second LAST is of no message: nobody there gets a copy twice, nor of half of it.
            (&mail(b"BDAT 5 LAST\r\nthirdBDAT 5 LAST\r\nNOOP\n"), "250 ok\r\n250 ok\r\n250 taken\r\n250 taken"),
            (&mail(b"BDAT\r\n"), none),
            (&mail(b"BDAT LAST\r\n"), none),
            (&mail(b"BDAT -1\r\n"), none),
            (&mail(b"BDAT +5\r\nabcde"), none),
            (&mail(b"BDAT 0x5\r\nabcde"), none),
            (&mail(b"BDAT 5,0\r\nabcde"), none),
            (&mail(b"BDAT 5 LAST LAST\r\nabcde"), none),
            (&mail(b"BDAT 18446744073709551616\r\nabcde"), none),
            (&mail(b"BDAT 18446744073709551621 LAST\r\nabcde"), none),
            (b"NOOP \0\r\n", "500 5.5.2 "),
            (b"NO\rOP\r\n", "500 5.5.2 "),
            (b"\r\n", "500 5.5.2 "),
            (&[&b"NOOP "[..], &b"x".repeat(1 << 20)].concat(), "ends: the client sent a line of more than 65536 bytes"),
            (b"AUTH PLAIN AGFubgBw?\r\n", "535 5.7.8 "),
            (b"AUTH PLAIN AGFu\r\n", "535 5.7.8 "),
            (b"AUTH PLAIN AA==AA==\r\n", "535 5.7.8 "),
            (b"AUTH CRAM-MD5 AGFu\r\n", "535 5.7.8 "),
        ],
    );
    proxy.spool().holds(&[
        spool::sent(ANN, b"first"),
        spool::sent(ANN, b"second"),
        spool::sent(ANN, b"third"),
        spool::sent(ANN, b"NOOP\n"),
    ]);
}

#[test]
fn a_chunk_of_2_to_the_63_is_refused_and_swallowed_without_being_kept() {
    let lab = Lab::new();
    let (proxy, at, peer) = before(&lab, Kind::Smtp, "max_message_size = 1M\n", vec![]);
    for size in ["9223372036854775807", "9223372036854775808 LAST", "18446744073709551615"] {
        let mut wire = logged_in(&lab, at);
        wire.send(format!("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT {size}\r\n").as_bytes());
        wire.send(&b"x".repeat(1 << 20));
        wire.send(b"xx");
        assert!(wire.rest().ends_with(b"552 5.3.4 The message is larger than what is kept here\r\n"));
    }
    assert!(!peer.heard().contains("BDAT"));
    proxy.spool().holds(&[]);
}

#[test]
fn pop3_clients_with_odd_numbers_and_lines() {
    let (_lab, proxy) = clients(
        Kind::Pop3,
        &[
            (b"NOOP\0\r\n", "-ERR a command must not contain CR or NUL"),
            (b"NO\rOP\r\n", "-ERR a command must not contain CR or NUL"),
            (b"\r\n", "+OK"),
            (&[b"DELE ", "1".repeat(100).as_bytes(), b"\r\n"].concat(), "-ERR the message number is too long"),
            (&[&b"NOOP "[..], &b"x".repeat(1 << 20)].concat(), "ends: client sent a line longer than 64 KiB"),
            (b"AUTH PLAIN AGFubgBw?\r\n", "-ERR "),
            (b"AUTH PLAIN AGFu\r\n", "-ERR "),
            (b"AUTH PLAIN AGFubgBw AGFubgBw\r\n", "-ERR "),
        ],
    );
    proxy.spool().holds(&[]);
}

/// What a server says to the client's command, and how that has to end: the client hears it as it is, or the session ends for this reason.
/// Each has a server of its own; afterwards the spool has these messages.
#[track_caller]
fn servers(kind: Kind, command: &'static str, cases: &[(&[u8], &str)], kept: &[&[u8]]) {
    let lab = Lab::new();
    let mut sections = String::new();
    let mut peers = Vec::new();
    for (number, (answer, _)) in cases.iter().enumerate() {
        let peer = Peer::answering(&lab, kind, Tls::None, vec![(command, answer.to_vec())]);
        let more = if kind == Kind::Imap { UNFOLLOWED } else { "" };
        sections += &section(&lab, &format!("n{number}"), Tls::None, peer.endpoint(Tls::None), more);
        peers.push(peer);
    }
    let proxy = Proxy::with(&lab, "sync = no\nmax_message_size = 1M\n", &sections);
    let at = |number: usize| proxy.endpoint(kind, &format!("n{number}"), Tls::None);
    let bystander = logged_in(&lab, at(0));
    for (number, (answer, outcome)) in cases.iter().enumerate() {
        let shown = answer[..answer.len().min(80)].escape_ascii().to_string();
        let mut wire = logged_in(&lab, at(number));
        let before = wire.heard.len();
        wire.send(if kind == Kind::Imap { format!("x {command}\r\n") } else { format!("{command}\r\n") }.as_bytes());
        if *outcome == OK {
            let expected = replaced(answer, "{tag}", "x");
            assert_same(&expected, &wire.octets(expected.len()), &shown);
            let (noop, done) = noop(kind);
            wire.send(noop.as_bytes());
            assert!(wire.line().starts_with(done.as_bytes()), "{shown}");
        } else {
            wire.finish_sending();
            wire.rest();
        }
        let heard = wire.heard[before..].to_vec();
        drop(wire);
        let reason = ends(&proxy, number + 1).pop().unwrap();
        if *outcome != OK {
            assert!(reason.starts_with(outcome), "{shown}: {reason}\n{}", heard[..heard.len().min(500)].escape_ascii());
        }
    }
    lives(bystander, kind);
    ends(&proxy, cases.len() + 1);
    let kept: Vec<_> = kept.iter().map(|bytes| spool::received(ANN, "", bytes)).collect();
    proxy.spool().holds(&kept);
}

#[test]
fn imap_servers_with_odd_literals_nesting_and_answers() {
    let lost = "the server broke the protocol: ";
    let nested = |depth: usize| {
        let list = [b"(".repeat(depth), b")".repeat(depth)].concat();
        [b"* 1 FETCH (BODYSTRUCTURE ", &list[..], b" BODY[] {4}\r\nnest)\r\n{tag} OK done\r\n"].concat()
    };
    let long = |line: &[u8]| [line, &b" X"[..].repeat(1 << 19), b"\r\n{tag} OK done\r\n"].concat();
    let fake = b"x OK done\r\n* 1 FETCH (BODY[] {4}\r\nfake)\r\n";
    let folder =
        [format!("* LIST () \"/\" {{{}}}\r\n", fake.len()).as_bytes(), fake, b"\r\n{tag} OK done\r\n"].concat();
    servers(
        Kind::Imap,
        "FETCH 1 BODY[]",
        &[
            (b"* 1 FETCH (BODY[] {9223372036854775808}\r\nx", lost),
            (b"* 1 FETCH (BODY[] {18446744073709551616}\r\n)\r\n", lost),
            (b"* 1 FETCH (BODY[] {18446744073709551617}\r\nx)\r\n", lost),
            (b"* 1 FETCH (BODY[] {99999999999999999999}\r\nx)\r\n", lost),
            (b"* 1 FETCH (BODY[] {-5}\r\nabcde)\r\n", lost),
            (b"* 1 FETCH (BODY[] {+5}\r\nabcde)\r\n", lost),
            (b"* 1 FETCH (BODY[] {5+}\r\nabcde)\r\n", lost),
            (b"* 1 FETCH (BODY[] {}\r\nabcde)\r\n", lost),
            (b"* 1 FETCH (BODY[] {+}\r\nabcde)\r\n", lost),
            (b"* 1 FETCH (BODY[] { 5}\r\nabcde)\r\n", lost),
            (b"* 1 FETCH (BODY[]{5}\r\nabcde)\r\n", lost),
            (&[b"* 1 FETCH (BODY[] {", &b"0".repeat(100)[..], b"5}\r\nabcde)\r\n"].concat(), lost),
            (b"* 1 FETCH (BODY[] {0000000004}\r\nzero)\r\n{tag} OK done\r\n", OK),
            (b"* 1 FETCH (BODY[] ~{6}\r\neight\0)\r\n{tag} OK done\r\n", OK),
            (b"* 1 FETCH (BODY[] \"quo\\\"ted\")\r\n{tag} OK done\r\n", OK),
            (b"* 4294967296 FETCH (BODY[] {4}\r\nmany)\r\n{tag} OK done\r\n", lost),
            (b"* 0 FETCH (BODY[] {4}\r\nnone)\r\n{tag} OK done\r\n", lost),
            (b"* -1 FETCH (BODY[] {4}\r\nless)\r\n{tag} OK done\r\n", OK),
            (&nested(1000), OK),
            (&nested(1_000_000), lost),
            (b"* LIST () \"/\" {18446744073709551617}\r\nx\r\n{tag} OK done\r\n", lost),
            (b"* LIST () \"/\" {5+}\r\nabcde\r\n{tag} OK done\r\n", lost),
            (&folder, OK),
            (b"* LIST () \"/\" \"{5}\"\r\n* OK text {5}\r\n* NO (BODY[] {5}\r\n* OK [ALERT] * 1 FETCH (BODY[] {5}\r\n{tag} OK done {5}\r\n", OK),
            (b"* 4294967295 EXISTS\r\n* 4294967296 EXISTS\r\n* 99999999999999999999 RECENT\r\n{tag} OK done\r\n", OK),
            (b"* OK \0\xff\r\n* X\0Y \0\r\n{tag} OK \0\r\n", OK),
            (b"+ go on\r\n+\r\n+ \r\n{tag} OK done\r\n", OK),
            (b"zz NO nobody asked\r\nzz BAD nobody asked\r\n{tag} OK done\r\n", OK),
            (b"zz OK nobody asked\r\n{tag} OK done\r\n", lost),
            (b"X00000000.1 OK nobody asked\r\n{tag} OK done\r\n", lost),
            (b"MAILSTORE1 OK nobody asked\r\n{tag} OK done\r\n", lost),
            (b"{tag} OK done\r\n{tag} OK twice\r\n", lost),
            (b"{tag} WELL done\r\n", lost),
            (b"\r\n", lost),
            // More than was asked for is a message as well.
            (b"* 1 FETCH (BODY[] {3}\r\none)\r\n* 7 FETCH (BODY[] {7}\r\nunasked)\r\n{tag} OK done\r\n", OK),
            (&long(b"* SEARCH"), OK),
            (&long(b"* CAPABILITY"), lost),
            (&long(b"* OK"), lost),
            (&long(b"{tag} OK"), lost),
            (b"* 1 FETCH (BODY[] {2147483648}\r\nx{close}", "the server closed the connection"),
            (b"* 1 FETCH (BODY[] {9223372036854775807}\r\nx{close}", "the server closed the connection"),
        ],
        &[b"zero", b"eight\0", b"quo\"ted", b"nest", b"one", b"unasked"],
    );
}

#[test]
fn pop3_servers_that_lie_about_sizes_and_speak_unasked() {
    let message = b"Subject: x\r\n\r\nlonger than said\r\n";
    let said = |octets: &str| [b"+OK ", octets.as_bytes(), b" octets\r\n", &message[..], b".\r\n"].concat();
    let nul = b"+OK\0\xff\r\n\0\r\n\0.\r\n.\r\n";
    servers(
        Kind::Pop3,
        "RETR 1",
        &[
            (&said("5"), OK),
            (&said("0"), OK),
            (&said("-1"), OK),
            (&said("900000"), OK),
            (&said("99999999999999999999"), OK),
            (nul, OK),
            (b"+OK\r\n.\r\n+OK unasked\r\n", "server spoke unasked"),
            (b"+OK\r\n.\r\n-ERR leaving\r\n", "server ended the session: \"-ERR leaving\""),
            (b"+OK\r\n.\r\n* OK imap\r\n", "server spoke unasked"),
            (b"+ go on\r\n", "server's reply is neither +OK nor -ERR"),
            (b"\r\n", "server's reply is neither +OK nor -ERR"),
            (b"250 ok\r\n", "server's reply is neither +OK nor -ERR"),
            (
                &[&b"+OK "[..], &b"x".repeat(1 << 20)].concat(),
                "server sent a line longer than 8 KiB where a short one is due",
            ),
        ],
        &[message, b"\0\r\n\0.\r\n", b""],
    );
}

#[test]
fn smtp_servers_with_replies_that_have_no_end_or_no_question() {
    let many = |line: &[u8], count: usize| line.repeat(count);
    servers(
        Kind::Smtp,
        "VRFY x",
        &[
            (b"250-one\r\n250 two\r\n", OK),
            (b"250 \0\xff\r\n", OK),
            (&[many(b"250-more\r\n", 100_000), b"250 last\r\n".to_vec()].concat(), OK),
            (b"250 ok\r\n250 unasked\r\n", "the server answered what was not asked"),
            (b"250 ok\r\n421 leaving\r\n", "the server ended the session: 421"),
            (b"354 go on\r\n", "the server asked for more where there is none"),
            (b"334 \r\n", "the server asked for more where there is none"),
            (b"+OK\r\n", "the server sent a line that is no reply"),
            (b"\r\n", "the server sent a line that is no reply"),
            (b"99999 ok\r\n", "the server sent a line that is no reply"),
            (&[&b"250 "[..], &b"x".repeat(1 << 20)].concat(), "the server sent a line of more than 8192 bytes"),
        ],
        &[],
    );
    servers(
        Kind::Smtp,
        "EHLO again",
        &[
            (b"250 hello\r\n", OK),
            (&many(b"250-EXTENSION\r\n", 1_000_000), "the server's reply to EHLO is too long"),
            (
                &[&b"250-AUTH"[..], &many(b" PLAIN", 100_000), b"\r\n"].concat(),
                "the server sent a line of more than 8192 bytes",
            ),
        ],
        &[],
    );
}

/// The most memory that it has had so far, KiB.
fn peak(proxy: &Proxy) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn what_has_no_end_takes_no_memory() {
    let lab = Lab::new();
    let megabytes = |piece: &[u8], count: usize| piece.repeat((count << 20) / piece.len());
    let imap: Answers = vec![
        ("UID SEARCH", [b"* SEARCH", &megabytes(b" 12345", 8)[..], b"\r\n{tag} OK done\r\n"].concat()),
        ("LIST", [&megabytes(b"* LIST () \"/\" {1}\r\nx\r\n", 2)[..], b"{tag} OK done\r\n"].concat()),
        ("STATUS", [b"* LIST ", &megabytes(b"{0}\r\n ", 2)[..], b"\r\n{tag} OK done\r\n"].concat()),
        ("FETCH 1", [b"* 1 FETCH (FLAGS (", &megabytes(b"x", 8)[..], b"))\r\n{tag} OK done\r\n"].concat()),
        ("FETCH 2", [&megabytes(b"* 2 EXPUNGE\r\n* 3 EXISTS\r\n", 1)[..], b"{tag} OK done\r\n"].concat()),
        ("FETCH 3", [&megabytes(b"* 3 FETCH (BODY[HEADER] {3}\r\na\r\n)\r\n", 1)[..], b"{tag} OK done\r\n"].concat()),
        ("FETCH 4", [&b"* 4 FETCH ("[..], &megabytes(b"BODY[", 2), CLOSE].concat()),
    ];
    let pop3: Answers = vec![
        (
            "UIDL",
            [
                b"+OK\r\n",
                &(0..100_000).map(|n| format!("{n} uid{n}\r\n")).collect::<String>().into_bytes()[..],
                b".\r\n",
            ]
            .concat(),
        ),
        ("LIST", [b"+OK\r\n", &megabytes(b"1 1\r\n", 4)[..], b".\r\n"].concat()),
        ("CAPA", [b"+OK\r\n", &megabytes(b"X-ONE\r\n", 2)[..], b".\r\n"].concat()),
        ("TOP", [b"+OK\r\n", &megabytes(b"line\r\n", 4)[..], b".\r\n"].concat()),
    ];
    let kinds = [(Kind::Imap, imap), (Kind::Pop3, pop3), (Kind::Smtp, vec![])];
    let peers: Vec<_> =
        kinds.into_iter().map(|(kind, answers)| (kind, Peer::answering(&lab, kind, Tls::None, answers))).collect();
    let sections: Vec<_> = peers
        .iter()
        .map(|(kind, peer)| {
            section(&lab, "a", Tls::None, peer.endpoint(Tls::None), if *kind == Kind::Imap { UNFOLLOWED } else { "" })
        })
        .collect();
    let proxy = Proxy::with(&lab, "sync = no\n", &sections.concat());
    let at = |kind| proxy.endpoint(kind, "a", Tls::None);
    for (kind, _) in &peers {
        lives(logged_in(&lab, at(*kind)), *kind);
    }
    let before = peak(&proxy);
    let mut imap = logged_in(&lab, at(Kind::Imap));
    for command in [
        "UID SEARCH ALL",
        "LIST \"\" *",
        "STATUS INBOX (MESSAGES)",
        "FETCH 1 FLAGS",
        "FETCH 2 FLAGS",
        "FETCH 3 BODY[HEADER]",
    ] {
        imap.send(format!("x {command}\r\n").as_bytes());
        swallow(&mut imap, b"x OK done\r\n");
    }
    imap.send(b"x FETCH 4 FLAGS\r\n");
    swallow(&mut imap, b"");
    let mut pop3 = logged_in(&lab, at(Kind::Pop3));
    for command in ["UIDL", "LIST", "CAPA", "TOP 1 100"] {
        pop3.send(format!("{command}\r\n").as_bytes());
        swallow(&mut pop3, b"\r\n.\r\n");
    }
    // Clients whose lines, literals and chunks have no end.
    for (kind, start) in [
        (Kind::Imap, "a NOOP "),
        (Kind::Imap, "a LOGIN {1000000000+}\r\n"),
        (Kind::Imap, "a SEARCH TEXT {1000000000+}\r\n"),
        (Kind::Imap, "a APPEND Sent {9223372036854775807+}\r\n"),
        (Kind::Pop3, "NOOP "),
        (Kind::Smtp, "NOOP "),
        (Kind::Smtp, "BDAT 9223372036854775807\r\n"),
    ] {
        let mut wire = logged_in(&lab, at(kind));
        wire.send(start.as_bytes());
        wire.send_as_far_as_it_goes(&megabytes(b"x", 16));
    }
    let grown = peak(&proxy).saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB more than the {before} KiB of before");
}

/// Reads up to this, without keeping it; to the end where it is empty.
fn swallow(wire: &mut Wire, end: &[u8]) {
    loop {
        let piece = wire.piece();
        if piece.is_empty() || !end.is_empty() && piece.ends_with(end) {
            return;
        }
    }
}

#[test]
fn an_exchange_that_never_ends_is_ended_by_the_login_timeout() {
    let lab = Lab::new();
    for (kind, begin, go_on) in [
        (Kind::Pop3, "AUTH PLAIN\r\n", "+ \r\n"),
        (Kind::Imap, "a AUTHENTICATE PLAIN\r\n", "+ \r\n"),
        (Kind::Smtp, "AUTH PLAIN\r\n", "334 \r\n"),
    ] {
        // Asks for more whatever it is told.
        let answers = vec![(GREETING, noop_greeting(kind)), ("", go_on.into())];
        let (proxy, at, _peer) = before(&lab, kind, "login_timeout = 1s\n", answers);
        let mut wire = Wire::connect(&lab, at);
        wire.send(begin.as_bytes());
        let mut rounds = 0;
        while wire.piece().starts_with(go_on.as_bytes()) {
            rounds += 1;
            wire.send_as_far_as_it_goes(b"AGFubgBw\r\n");
        }
        assert!(rounds > 1, "{kind:?}: {rounds}");
        drop(wire);
        // Whose turn it is at that moment is chance.
        let end = ends(&proxy, 1).remove(0);
        assert!(
            ["no login in time (login_timeout)", "the server did not answer in time (login_timeout)"].contains(&&*end),
            "{end}"
        );
        assert!(!proxy.log().contains(" login user="));
        proxy.spool().holds(&[]);
    }
}

fn noop_greeting(kind: Kind) -> Vec<u8> {
    match kind {
        Kind::Pop3 => b"+OK hello\r\n".to_vec(),
        Kind::Imap => b"* OK hello\r\n".to_vec(),
        Kind::Smtp => b"220 hello\r\n".to_vec(),
    }
}

#[test]
fn floods_before_a_login_are_answered_or_held_and_never_remembered() {
    let lab = Lab::new();
    for (kind, line, ended) in
        [(Kind::Pop3, "X\r\n", "-ERR"), (Kind::Imap, "* X\r\n", "* BAD"), (Kind::Smtp, "\r\n", "500")]
    {
        let (proxy, at, _peer) = before(&lab, kind, "login_timeout = 60s\n", vec![("X", b"-ERR no\r\n".to_vec())]);
        let quit = match kind {
            Kind::Imap => "q LOGOUT\r\n",
            _ => "QUIT\r\n",
        };
        let heard = said_at_once(at, &[line.repeat(20_000).as_bytes(), quit.as_bytes()].concat());
        assert_eq!(heard.lines().filter(|line| line.starts_with(ended)).count(), 20_000, "{kind:?}");
        ends(&proxy, 1);
    }
}
