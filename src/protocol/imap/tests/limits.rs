//! What a peer can have us do and remember: lines that wait, lines before a login, names in commands that nobody answers, lines for the log.

use super::*;
use crate::protocol::imap::due::{Due, Message, Which};

/// As long as a line may be, behind these words.
fn long(words: &str, filling: &[u8]) -> Vec<u8> {
    let mut line = words.as_bytes().to_vec();
    line.extend(filling.repeat((1_000_000 - words.len()) / filling.len()));
    line
}

/// Logged in as joe, with INBOX and 9 messages.
fn in_inbox() -> (Imap, Recorder) {
    let (mut session, mut host) = (imap(), Recorder::default());
    session.input(Side::Server, b"* OK ready\r\n", &mut host);
    session.input(Side::Client, b"a LOGIN joe secret\r\nb SELECT INBOX\r\n", &mut host);
    session.input(Side::Server, b"a OK in\r\n* 9 EXISTS\r\nb OK selected\r\n", &mut host);
    (session, host)
}

#[test]
fn a_long_line_that_is_held_back_is_not_read_again_whatever_the_server_says() {
    let end = |line: Vec<u8>, end: &str| [&line[..], end.as_bytes()].concat();
    let whole = "c UID FETCH 1 BODY[]\r\n";
    let appends: String = (0..16).map(|n| format!("c{n} APPEND x {{1+}}\r\nx\r\n")).collect();
    for (before, line) in [
        (whole, end(long("d SELECT ", b"x"), "\r\n")),
        (whole, end(long("d EXAMINE \"", b"x"), "\"\r\n")),
        (whole, end(long("d UNSELECT", b" "), "\r\n")),
        (whole, end(long("d CLOSE", b" "), "\r\n")),
        (whole, end(long("d LOGOUT", b" "), "\r\n")),
        (whole, end(long("d IDLE", b" "), "\r\n")),
        (whole, end(long("d DELETE ", b"x"), "\r\n")),
        (whole, end(long("d UID STORE 1", b",1"), " +FLAGS (\\Deleted)\r\n")),
        ("c SELECT b\r\n", end(long("d STORE 1", b",1"), " +FLAGS (\\Deleted)\r\n")),
        ("c NOOP\r\n", end(long("d UID STORE 1", b",1"), " +FLAGS (\\Deleted)\r\n")),
        ("c UID FETCH 1 BODY[]<0.100>\r\n", end(long("d UID FETCH 2", b",2"), " BODY[]<0.200>\r\n")),
        (&appends, end(long("d APPEND ", b"x"), " {3}\r\n")),
    ] {
        let (mut session, mut host) = in_inbox();
        session.input(Side::Client, before.as_bytes(), &mut host);
        let sent = host.sent(Side::Server).len();
        let (read, taken) = (session.client.lines_read, session.input(Side::Client, &line, &mut host));
        assert_eq!(taken, line.len());
        session.input(Side::Server, b"* LIST () \"/\" {5}\r\n", &mut host);
        session.input(Side::Server, b"names", &mut host);
        for _ in 0..100 {
            session.input(Side::Server, b"\r\n* 9 EX", &mut host);
            session.input(Side::Server, b"ISTS", &mut host);
        }
        session.input(Side::Server, b"\r\n* 1 FETCH (UID 1 BODY[]<0> {100000}\r\n", &mut host);
        for _ in 0..500 {
            session.input(Side::Server, b"text", &mut host);
        }
        let name = String::from_utf8_lossy(&line[..20]);
        assert_eq!(host.sent(Side::Server).len(), sent, "{name}");
        // Once when it came, once when it could be told what the server's words meant for it.
        let read = session.client.lines_read - read;
        assert!((1..=2).contains(&read), "{name} was read {read} times behind {before}");
    }
}

#[test]
fn a_part_of_each_message_of_a_big_folder_costs_no_more_for_each_than_of_a_small_one() {
    for count in [100, 20_000] {
        let (mut session, mut host) = in_inbox();
        session.input(Side::Client, b"c UID FETCH 1:* (BODY.PEEK[TEXT])\r\n", &mut host);
        // Once new, once known already.
        for number in (1..=count).chain(1..=count) {
            let response = format!("* {number} FETCH (UID {} BODY[TEXT] {{4}}\r\ntext)\r\n", number + 7);
            session.input(Side::Server, response.as_bytes(), &mut host);
        }
        assert_eq!(session.own.due.list.len(), count);
        let looked_at = session.own.due.looked_at.get();
        assert!(looked_at <= 3 * count, "{looked_at} messages were looked at for {count}");
    }
}

#[test]
fn however_many_messages_were_due_none_is_twice() {
    let (mut due, mut host) = (Due::default(), Recorder::default());
    let message = |n: u32| Message::read(Which { sequence_number: Some(2 * n), uid: Some(2 * n + 7) });
    for n in 1..=120_000 {
        assert!(due.push(message(n), &mut host));
        assert!(due.push(message(n), &mut host));
        assert!(due.find(message(n).which).is_some(), "{n}");
        if due.list.len() > 10 {
            due.list.pop_front();
        }
    }
    assert_eq!(due.list.len(), 10);
    let last = Which { uid: Some(240_007), sequence_number: None };
    assert_eq!((due.find(last), due.find(message(1).which)), (Some(9), None));
}

#[test]
fn who_is_not_logged_in_has_shorter_lines_and_literals() {
    let too_long = "a LOGIN joe ".len() + 64 * 1024;
    for (limit, logged_in) in [(64 * 1024, false), (1024 * 1024, true)] {
        let begin = || match logged_in {
            true => in_inbox(),
            false => {
                let (mut session, mut host) = (imap(), Recorder::default());
                session.input(Side::Server, b"* OK ready\r\n", &mut host);
                (session, host)
            }
        };
        // A line: the longest, and one octet more.
        for (more, ends) in [(0, false), (1, true)] {
            let (mut session, mut host) = begin();
            let name = "x".repeat(limit - "c X \r\n".len() + more);
            session.input(Side::Client, format!("c X {name}\r\n").as_bytes(), &mut host);
            assert_eq!(host.ended(), ends, "{limit} {more}");
        }
        // A literal that is an argument.
        let (mut session, mut host) = begin();
        session.input(Side::Client, format!("c LOGIN {{{}}}\r\n", too_long).as_bytes(), &mut host);
        let refused = host.sent(Side::Client).ends_with(b"c BAD the literal is too long\r\n");
        assert_eq!(refused, !logged_in, "{limit}");
        // Many literals that pass.
        let (mut session, mut host) = begin();
        session.input(Side::Client, b"c X ", &mut host);
        for _ in 0..10_000 {
            session.input(Side::Client, b"{0+}\r\n", &mut host);
        }
        session.input(Side::Client, b"\r\n", &mut host);
        assert_eq!(host.ended(), !logged_in, "{limit}");
    }
}

#[test]
fn names_in_commands_that_nobody_answers_are_bounded_in_octets() {
    for command in ["SELECT", "LOGIN"] {
        let (mut session, mut host) = in_inbox();
        let before = host.sent(Side::Server).len();
        let name = "x".repeat(50_000);
        for n in 0..100 {
            let taken = session.input(Side::Client, format!("c{n} {command} {name} x\r\n").as_bytes(), &mut host);
            if taken == 0 {
                break;
            }
        }
        let passed = host.sent(Side::Server).len() - before;
        assert!((256 * 1024..400 * 1024).contains(&passed), "{command} {passed}");
        // Held back, not refused: it goes on as the server answers.
        session.input(Side::Server, b"c0 NO no\r\n", &mut host);
        assert!(host.sent(Side::Server).len() - before > passed, "{command}");
        assert!(!host.ended());
    }
    // Tags alone are bounded by their number.
    let (mut session, mut host) = in_inbox();
    for n in 0..1000 {
        let tag = format!("{n:0>255}");
        assert!(session.input(Side::Client, format!("{tag} NOOP\r\n").as_bytes(), &mut host) > 0);
    }
    assert!(session.commands.is_full());
}

#[test]
fn messages_beyond_number_that_are_not_kept_are_told_of_in_few_lines_and_all_counted() {
    let (mut session, mut host) = in_inbox();
    session.input(Side::Client, b"c UID FETCH 1:2500 BODY[1]\r\n", &mut host);
    for n in 1..=2500 {
        session.input(Side::Server, format!("* {n} FETCH (UID {n} BODY[1] \"a\")\r\n").as_bytes(), &mut host);
    }
    session.eof(Side::Server, &mut host);
    let lines = host.lines();
    let told: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("not_kept ")).collect();
    assert_eq!(told.len(), 103);
    assert!(told[99].starts_with("the session ended before it could be fetched whole (folder=INBOX uid=100)"));
    for (more, line) in [1000, 1000, 400].iter().zip(&told[100..]) {
        assert!(line.starts_with(&format!("{more} more messages could not be fetched whole")), "{line}");
    }
    assert_eq!(host.not_kept, 2500);
}

#[test]
fn what_a_server_says_in_the_middle_of_a_line_of_the_log_is_one_word() {
    let (mut session, mut host) = in_inbox();
    session.input(Side::Client, b"c UID FETCH 7 BODY[1]\r\n", &mut host);
    session.input(Side::Server, b"* 7 FETCH (UID 7 BODY[1] \"a\")\r\nc OK done\r\n", &mut host);
    session.input(Side::Server, b"X1 NO [THROTTLED] x (folder=Other uid=9) owner=bob@x\r\n", &mut host);
    let lines = host.lines();
    let told = lines.iter().find(|line| line.starts_with("not_kept ")).unwrap();
    let words = "the server refuses it: NO\\x20[THROTTLED]\\x20x\\x20(folder=Other\\x20uid=9)\\x20owner=bob@x (folder=INBOX uid=7);";
    assert!(told.contains(words), "{told}");
}
