//! What is deleted unread is kept first.

mod unkept;

use super::*;

/// Own retrieval of message 1 that succeeds, with `text` as its only line, and the deletion that follows.
const GOT: &str = "
    -> S: RETR 1
    S: +OK
    S: text
    S: .
    -> begin 1 me@example.com INBOX
    -> append 1 text
    -> finish 1
    -> settle
    -> S: DELE 1
    S: +OK marked
    -> C: +OK marked";

// ---- got first -----------------------------------------------------------------------------------------------------

#[test]
fn a_message_is_got_before_its_deletion_passes() {
    let recorder = play_logged_in(
        r"
        C: DELE 1
        -> S: UIDL 1
        outstanding yes
        farewell shutdown -ERR [SYS/TEMP] the mail proxy is stopping, come back later
        S: +OK 1 abc
        -> S: RETR 1
        S: +OK 20 octets
        -> begin 1 me@example.com INBOX size=20
        S: Subject: x
        -> append 1 Subject: x
        farewell shutdown -ERR [SYS/TEMP] the mail proxy is stopping, come back later
        outstanding yes
        S: ..dot
        -> append 1 .dot
        S: +OK is text
        -> append 1 +OK is text
        S: .
        -> origin 1 pop3 abc
        -> finish 1
        -> settle
        -> S: DELE 1
        outstanding yes
        S: +OK marked
        -> C: +OK marked
        outstanding no
        ",
    );
    assert_eq!(recorder.fetched, 12 + 6 + 13);
}

#[test]
fn nothing_is_asked_for_what_was_retrieved() {
    let recorder = play_logged_in(
        "C: RETR 1
         -> S: RETR 1
         S: +OK
         S: text
         S: .
         -> begin 1 me@example.com INBOX
         -> append 1 text
         -> C: +OK
         -> C: text
         -> finish 1
         -> settle
         -> C: .
         C: DELE 1
         C: DELE 1
         -> S: DELE 1
         -> S: DELE 1
         S: +OK
         S: -ERR deleted
         -> C: +OK
         -> C: -ERR deleted",
    );
    assert_eq!(recorder.fetched, 0);
}

#[test]
fn a_listing_tells_what_is_kept_since_earlier() {
    let recorder = play_logged_in(
        "known pop3 abc
         C: UIDL
         -> S: UIDL
         S: +OK
         S: 1 abc
         S: 2 def
         S: .
         -> C: +OK
         -> C: 1 abc
         -> C: 2 def
         -> C: .
         C: DELE 1
         C: NOOP
         -> S: DELE 1
         -> S: NOOP
         S: +OK
         S: +OK
         -> C: +OK
         -> C: +OK
         C: DELE 2
         -> S: RETR 2
         S: +OK
         S: x
         S: .
         -> begin 1 me@example.com INBOX
         -> append 1 x
         -> origin 1 pop3 def
         -> finish 1
         -> settle
         -> S: DELE 2",
    );
    assert_eq!(recorder.fetched, 3);
}

#[test]
fn a_unique_id_that_was_asked_for_is_remembered() {
    play_logged_in(
        "known pop3 abc
         C: UIDL 1
         C: UIDL 2
         -> S: UIDL 1
         -> S: UIDL 2
         S: +OK 1 abc
         S: -ERR no such message
         -> C: +OK 1 abc
         -> C: -ERR no such message
         C: DELE 1
         -> S: DELE 1",
    );
    play_logged_in(
        "known pop3 abc
         C: DELE 1
         -> S: UIDL 1
         S: +OK 1 abc
         -> S: DELE 1
         S: +OK
         -> C: +OK
         C: RETR 1
         -> S: RETR 1
         S: +OK
         S: x
         S: .
         -> begin 1 me@example.com INBOX
         -> C: +OK
         -> append 1 x
         -> C: x
         -> origin 1 pop3 abc
         -> finish 1
         -> settle
         -> C: .",
    );
}

#[test]
fn what_is_no_unique_id_proves_nothing() {
    // A number is not one, two messages have the same, or the reply is about something else.
    for (listing, known) in [("1 1", "1"), ("1 x\\r\\n2 x", "x")] {
        play_logged_in(&format!(
            "known pop3 {known}
             C: UIDL
             -> S: UIDL
             S: +OK
             S: {listing}
             S: .
             -> C: +OK
             -> C: {listing}
             -> C: .
             C: DELE 1
             {GOT}"
        ));
    }
    for reply in ["+OK 1 1", "+OK 2 x", "+OK", "+OK 1", "+OK 1 x y"] {
        play_logged_in(&format!(
            "known pop3 x
             known pop3 1
             C: DELE 1
             -> S: UIDL 1
             S: {reply}
             {GOT}"
        ));
    }
}

#[test]
fn unique_ids_asked_one_by_one_are_compared_with_each_other() {
    // Kept and noted under it in this session, or in an earlier one: the second message is got all the same.
    let second = "
         C: DELE 2
         -> S: UIDL 2
         S: +OK 2 same
         -> S: RETR 2";
    play_logged_in(&format!(
        "C: DELE 1
         -> S: UIDL 1
         S: +OK 1 same
         -> S: RETR 1
         S: +OK
         S: one
         S: .
         -> begin 1 me@example.com INBOX
         -> append 1 one
         -> origin 1 pop3 same
         -> finish 1
         -> settle
         -> S: DELE 1
         S: +OK
         -> C: +OK
         known pop3 same
         {second}
         S: +OK
         S: two
         S: .
         -> begin 2 me@example.com INBOX
         -> append 2 two
         -> finish 2
         -> settle
         -> S: DELE 2"
    ));
    play_logged_in(&format!(
        "known pop3 same
         C: DELE 1
         -> S: UIDL 1
         S: +OK 1 same
         -> S: DELE 1
         S: +OK
         -> C: +OK
         {second}"
    ));
    play_logged_in(&format!(
        "known pop3 same
         C: UIDL 1
         -> S: UIDL 1
         S: +OK 1 same
         -> C: +OK 1 same
         {second}"
    ));
}

#[test]
fn a_unique_id_that_was_believed_is_not_once_another_message_has_it() {
    play_logged_in(&format!(
        "known pop3 same
         C: UIDL 1
         C: TOP 1 20
         C: UIDL 2
         C: DELE 1
         -> S: UIDL 1
         -> S: TOP 1 20
         -> S: UIDL 2
         S: +OK 1 same
         S: +OK
         S: .
         S: +OK 2 same
         -> C: +OK 1 same
         -> C: +OK
         -> C: .
         -> C: +OK 2 same
         {GOT}"
    ));
}

#[test]
fn nothing_is_noted_under_what_two_messages_have_by_then() {
    play_logged_in(
        "C: UIDL 1
         C: RETR 1
         -> S: UIDL 1
         -> S: RETR 1
         S: +OK 1 same
         S: +OK
         -> C: +OK 1 same
         -> begin 1 me@example.com INBOX
         -> C: +OK
         S: one
         S: .
         -> append 1 one
         -> C: one
         -> origin 1 pop3 same
         -> finish 1
         -> settle
         -> C: .
         C: UIDL 2
         C: RETR 2
         C: RETR 1
         -> S: UIDL 2
         -> S: RETR 2
         -> S: RETR 1
         S: +OK 2 same
         -> C: +OK 2 same
         S: +OK
         S: two
         S: .
         -> begin 2 me@example.com INBOX
         -> append 2 two
         -> C: +OK
         -> C: two
         -> finish 2
         -> settle
         -> C: .
         S: +OK
         S: one
         S: .
         -> begin 3 me@example.com INBOX
         -> append 3 one
         -> C: +OK
         -> C: one
         -> finish 3
         -> settle
         -> C: .",
    );
}

#[test]
fn unique_ids_beyond_those_remembered_are_compared_too() {
    let mut session = logged_in();
    session.host.known.extend(["pop3 u1".to_owned(), "pop3 u30000".to_owned(), "pop3 u60000".to_owned()]);
    session.feed(Side::Client, b"UIDL\r\n");
    let list: String = (1..=60_000).map(|number| format!("{number} u{number}\r\n")).collect();
    session.feed(Side::Server, format!("+OK\r\n{list}.\r\n").as_bytes());
    // One that is remembered; one that was compared, and the same again for another message; one that never was.
    for (number, uid, asked) in [
        (60_001, "u1", "UIDL 60001\r\nRETR 60001\r\n"),
        (30_000, "u30000", "UIDL 30000\r\nDELE 30000\r\n"),
        (30_001, "u30000", "UIDL 30001\r\nRETR 30001\r\n"),
        (60_000, "u60000", "UIDL 60000\r\nRETR 60000\r\n"),
    ] {
        session.feed(Side::Client, format!("DELE {number}\r\n").as_bytes());
        session.feed(Side::Server, format!("+OK {number} {uid}\r\n").as_bytes());
        let sent = String::from_utf8(session.host.sent(Side::Server)).unwrap();
        assert!(sent.ends_with(asked), "{}", &sent[sent.len() - 60..]);
        let got = if asked.contains("RETR") { "+OK\r\nx\r\n.\r\n" } else { "" };
        session.feed(Side::Server, got.as_bytes());
        session.feed(Side::Server, b"+OK\r\n");
    }
    assert!(!session.host.lines().iter().any(|line| line.starts_with("origin")));
}

#[test]
fn a_server_without_unique_ids_is_asked_once() {
    play_logged_in(
        "C: DELE 1
         -> S: UIDL 1
         S: -ERR what?
         -> S: RETR 1
         S: +OK
         S: x
         S: .
         -> begin 1 me@example.com INBOX
         -> append 1 x
         -> finish 1
         -> settle
         -> S: DELE 1
         S: +OK
         -> C: +OK
         C: DELE 2
         -> S: RETR 2",
    );
    play_logged_in(
        "C: UIDL
         -> S: UIDL
         S: -ERR what?
         -> C: -ERR what?
         C: DELE 1
         -> S: RETR 1",
    );
}

#[test]
fn messages_are_named_as_the_client_names_them() {
    // Servers differ in what they make of it, so it is never taken for a message that is known.
    play_logged_in(
        "C: RETR 1
         -> S: RETR 1
         S: +OK
         S: x
         S: .
         -> begin 1 me@example.com INBOX
         -> C: +OK
         -> append 1 x
         -> C: x
         -> finish 1
         -> settle
         -> C: .
         C: dele  01 x
         -> S: RETR 01 x
         S: -ERR invalid
         -> S: LIST 01 x
         S: -ERR invalid
         -> S: dele  01 x
         S: -ERR invalid
         -> C: -ERR invalid
         C: DELE
         -> S: DELE
         S: -ERR which?
         -> C: -ERR which?",
    );
}

#[test]
fn reset_does_not_unkeep() {
    play_logged_in(&format!(
        "C: DELE 1
         -> S: UIDL 1
         S: +OK 1 1
         {GOT}
         C: RSET
         C: DELE 1
         -> S: RSET
         -> S: DELE 1
         S: +OK
         S: +OK
         -> C: +OK
         -> C: +OK"
    ));
}

// ---- order ---------------------------------------------------------------------------------------------------------

#[test]
fn a_deletion_waits_for_all_replies_and_all_commands_for_it() {
    play_logged_in(
        "C: NOOP
         C: DELE 1
         C: LIST
         C: LAST
         C: XTND
         C: QUIT
         -> S: NOOP
         outstanding yes
         S: +OK noop
         -> S: UIDL 1
         -> C: +OK noop
         S: -ERR
         -> S: RETR 1
         S: +OK
         S: x
         S: .
         -> begin 1 me@example.com INBOX
         -> append 1 x
         -> finish 1
         -> settle
         -> S: DELE 1
         -> S: LIST
         -> S: LAST
         -> S: QUIT
         S: +OK marked
         S: +OK
         S: .
         S: +OK 0
         S: +OK bye
         -> C: +OK marked
         -> C: +OK
         -> C: .
         -> C: +OK 0
         -> C: -ERR XTND is not available
         -> C: +OK bye
         eof S
         -> end orderly QUIT",
    );
}

#[test]
fn a_half_closed_pipeline_is_worked_off() {
    play_logged_in(
        "C: DELE 1
         C: DELE 2
         C: QUIT
         -> S: UIDL 1
         eof C
         outstanding yes
         S: -ERR
         -> S: RETR 1
         outstanding yes
         S: +OK
         S: x
         S: .
         -> begin 1 me@example.com INBOX
         -> append 1 x
         -> finish 1
         -> settle
         -> S: DELE 1
         outstanding yes
         S: +OK one
         -> S: RETR 2
         -> C: +OK one
         outstanding yes
         S: +OK
         S: x
         S: .
         -> begin 2 me@example.com INBOX
         -> append 2 x
         -> finish 2
         -> settle
         -> S: DELE 2
         -> S: QUIT
         S: +OK two
         S: +OK bye
         -> C: +OK two
         -> C: +OK bye
         outstanding no
         eof S
         -> end orderly QUIT",
    );
}

#[test]
fn no_quit_for_a_client_that_left() {
    let mut session = logged_in();
    session.feed(Side::Client, b"DELE 1\r\n");
    assert!(!session.protocol().finishing());
    session.feed(Side::Server, b"-ERR\r\n+OK\r\nhalf");
    session.eof(Side::Client);
    assert!(session.protocol().finishing() && session.protocol().outstanding());
    session.feed(Side::Server, b"\r\n.\r\n");
    assert!(!session.protocol().finishing() && session.protocol().outstanding());
    session.feed(Side::Server, b"+OK\r\n");
    assert!(!session.protocol().finishing() && !session.protocol().outstanding());
    assert!(session.host.sent(Side::Server).ends_with(b"UIDL 1\r\nRETR 1\r\nDELE 1\r\n"));
    assert_eq!(session.host.appended(1), b"half\r\n");

    let mut session = logged_in();
    session.feed(Side::Client, b"RETR 1\r\n");
    session.feed(Side::Server, b"+OK\r\nhalf");
    assert!(!session.protocol().finishing());
    session.eof(Side::Client);
    assert!(session.protocol().finishing());
    session.feed(Side::Server, b"\r\n.\r\n");
    assert!(!session.protocol().finishing() && !session.protocol().outstanding());
    assert!(session.host.sent(Side::Server).ends_with(b"RETR 1\r\n"));
}

#[test]
fn thousands_of_deletions_in_one_go() {
    let mut session = logged_in();
    let deletions: String = (1..=3000).map(|n| format!("DELE {n}\r\n")).collect();
    session.feed(Side::Client, deletions.as_bytes());
    for number in 1..=3000 {
        if number == 1 {
            session.feed(Side::Server, b"-ERR\r\n");
        }
        let expected = format!("RETR {number}\r\n");
        assert!(session.host.sent(Side::Server).ends_with(expected.as_bytes()));
        session.feed(Side::Server, b"+OK\r\nx\r\n.\r\n");
        session.feed(Side::Server, b"+OK\r\n");
    }
    assert!(!session.protocol().outstanding());
    assert_eq!(session.host.fetched, 9000);
}

// ---- before the login ----------------------------------------------------------------------------------------------

#[test]
fn nothing_is_asked_before_the_login() {
    play(
        "S: +OK
         -> C: +OK
         C: DELE 1
         -> S: DELE 1
         S: -ERR log in first
         -> C: -ERR log in first
         C: USER me
         C: PASS x
         C: DELE 1
         -> S: USER me
         -> S: PASS x
         S: +OK
         S: +OK
         -> C: +OK
         -> logged_in me@example.com
         -> S: UIDL 1
         -> C: +OK",
    );
    let plain = b64("\0me\0secret");
    play(&format!(
        "S: +OK
         -> C: +OK
         C: AUTH PLAIN
         C: DELE 1
         -> S: AUTH PLAIN
         S: +
         -> S: *
         -> C: +
         S: -ERR
         -> C: -ERR
         C: AUTH PLAIN {plain}
         C: DELE 1
         -> S: AUTH PLAIN {plain}
         S: +OK
         -> logged_in me@example.com
         -> S: UIDL 1
         -> C: +OK"
    ));
}

#[test]
fn a_server_that_deletes_without_a_login_never_hears_quit() {
    play(
        "S: +OK
         -> C: +OK
         C: DELE 1
         C: QUIT
         -> S: DELE 1
         S: +OK gone
         -> C: -ERR [SYS/TEMP] the message could not be kept, it is not deleted
         -> end fault server accepted a deletion of what is not kept
         farewell lost none",
    );
}

#[test]
fn another_login_has_other_messages() {
    play_logged_in(
        "known pop3 abc
         C: UIDL 1
         -> S: UIDL 1
         S: +OK 1 abc
         -> C: +OK 1 abc
         C: USER you
         C: PASS x
         C: DELE 1
         -> S: USER you
         -> S: PASS x
         S: +OK
         S: +OK
         -> C: +OK
         -> logged_in you@example.com
         -> S: UIDL 1
         -> C: +OK",
    );
}
