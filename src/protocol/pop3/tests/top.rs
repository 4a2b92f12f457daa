//! What is got by `TOP`.

use super::*;

#[test]
fn a_preview_that_was_cut_is_not_kept() {
    let recorder = play_logged_in(
        r"
        C: TOP 1 2
        -> S: TOP 1 2
        S: +OK
        S: Subject: x
        S:
        S: one
        S: ..
        S: .
        -> C: +OK
        -> C: Subject: x
        -> C:
        -> C: one
        -> C: ..
        -> C: .
        outstanding no
        ",
    );
    assert_eq!(recorder.fetched, 0);
}

#[test]
fn no_lines_set_off_nothing() {
    for lines in ["0", "-0", "x", ""] {
        play_logged_in(&format!(
            "C: TOP 1 {lines}
             -> S: TOP 1 {lines}
             S: +OK
             S: Subject: x
             S:
             S: .
             -> C: +OK
             -> C: Subject: x
             -> C:
             -> C: ."
        ));
    }
}

#[test]
fn fewer_lines_than_asked_for_are_the_whole_message() {
    for lines in [2, 999, 1000, 999_999] {
        play_logged_in(&format!(
            "C: TOP 1 {lines}
             -> S: TOP 1 {lines}
             S: +OK
             S: Subject: x
             S:
             S: ..
             S: .\\
             -> C: +OK
             -> C: Subject: x
             -> C:
             -> C: ..
             S: \\r\\n\\
             -> begin 1 me@example.com INBOX
             -> append 1 Subject: x
             -> append 1
             -> append 1 .
             -> finish 1
             -> settle
             -> C: ."
        ));
    }
    // No empty line: there is no body at all.
    play_logged_in(
        "C: TOP 1 1
         -> S: TOP 1 1
         S: +OK
         S: Subject: x
         S: .
         -> C: +OK
         -> C: Subject: x
         -> begin 1 me@example.com INBOX
         -> append 1 Subject: x
         -> finish 1
         -> settle
         -> C: .",
    );
}

#[test]
fn what_looks_whole_is_got_all_the_same_before_it_is_deleted() {
    // Some servers cut TOP short of what was asked for.
    play_logged_in(
        "C: TOP 1 20
         -> S: TOP 1 20
         S: +OK
         S: a
         S: .
         -> C: +OK
         -> C: a
         -> begin 1 me@example.com INBOX
         -> append 1 a
         -> finish 1
         -> settle
         -> C: .
         C: DELE 1
         -> S: UIDL 1",
    );
    // A million lines are what the client takes for the whole itself, and it is too short to have been cut.
    play_logged_in(
        "C: TOP 1 99999999
         -> S: TOP 1 99999999
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
         C: DELE 1
         -> S: DELE 1",
    );
}

#[test]
fn a_top_of_everything_that_may_have_been_cut_is_got_before_it_is_deleted() {
    // Maillennium cuts after 64 KiB, whatever was asked for.
    for (len, asked) in [(65_536, "RETR 1"), (64_000 - 997, "RETR 1"), (59_000, "DELE 1")] {
        let mut session = logged_in();
        session.feed(Side::Client, b"UIDL 1\r\nTOP 1 99999999\r\n");
        let text = "x".repeat(len - 2) + "\r\n";
        session.feed(Side::Server, format!("+OK 1 abc\r\n+OK\r\n{text}.\r\n").as_bytes());
        assert!(session.host.sent(Side::Client).ends_with(format!("{text}.\r\n").as_bytes()));
        assert_eq!(session.host.appended(1), text.as_bytes());
        session.feed(Side::Client, b"DELE 1\r\n");
        assert!(session.host.sent(Side::Server).ends_with(format!("{asked}\r\n").as_bytes()), "{len}");
        let noted = |session: &Session| session.host.lines().iter().any(|line| line.starts_with("origin 1 "));
        assert_eq!(noted(&session), asked == "DELE 1", "{len}");
    }
    // Dots that a server stuffs may count to it.
    let mut session = logged_in();
    session.feed(Side::Client, b"TOP 1 99999999\r\nDELE 1\r\n");
    session.feed(Side::Server, format!("+OK\r\n{}.\r\n", "..\r\n".repeat(16_384)).as_bytes());
    assert!(session.host.sent(Side::Server).ends_with(b"UIDL 1\r\n"));
    // What the client retrieved then is the message, however long.
    let mut session = logged_in();
    session.feed(Side::Client, b"TOP 1 99999999\r\nRETR 1\r\nDELE 1\r\n");
    let text = "x\r\n".repeat(30_000);
    session.feed(Side::Server, format!("+OK\r\n{text}.\r\n+OK\r\n{text}.\r\n").as_bytes());
    assert!(session.host.sent(Side::Server).ends_with(b"RETR 1\r\nDELE 1\r\n"));
}

#[test]
fn what_is_kept_already_is_not_kept_again() {
    play_logged_in(
        "known pop3 abc
         C: UIDL 1
         C: TOP 1 20
         C: TOP 1 1000
         -> S: UIDL 1
         -> S: TOP 1 20
         -> S: TOP 1 1000
         S: +OK 1 abc
         S: +OK
         S: .
         S: +OK
         S: .
         -> C: +OK 1 abc
         -> C: +OK
         -> C: .
         -> C: +OK
         -> C: .",
    );
}

#[test]
fn a_preview_is_never_disturbed() {
    for fail in ["begin", "append", "settle"] {
        let mut session = logged_in();
        session.host.refuse(fail);
        let text = format!("Subject: x\r\n\r\n{}", format!("{}\r\n", "x".repeat(900)).repeat(30));
        session.feed(Side::Client, b"TOP 1 999\r\nNOOP\r\n");
        session.feed(Side::Server, format!("+OK\r\n{text}.\r\n+OK\r\n").as_bytes());
        assert!(session.host.sent(Side::Client).ends_with(format!("{text}.\r\n+OK\r\n").as_bytes()), "{fail}");
        assert_eq!((session.host.drafts_left(), session.host.ended()), (0, false));
    }
}

#[test]
fn a_long_preview_is_written_as_it_passes() {
    let line = format!("{}\r\n", "x".repeat(900));
    let text = |lines| format!("Subject: x\r\n\r\n{}", line.repeat(lines));
    for chunk in [1, 7, 20_000, 100_000] {
        // Whole.
        let mut session = logged_in();
        session.feed(Side::Client, b"TOP 1 100\r\n");
        let reply = format!("+OK\r\n{}.\r\n", text(50));
        reply.as_bytes().chunks(chunk).for_each(|bytes| session.feed(Side::Server, bytes));
        assert_eq!(session.host.appended(1), text(50).as_bytes());
        assert!(session.host.lines().iter().any(|line| line == "finish 1"));
        // Cut: what was written is dropped as soon as that is sure.
        let mut session = logged_in();
        session.feed(Side::Client, b"TOP 1 50\r\n");
        let reply = format!("+OK\r\n{}.\r\n", text(50));
        reply.as_bytes().chunks(chunk).for_each(|bytes| session.feed(Side::Server, bytes));
        assert!(!session.host.lines().iter().any(|line| line == "finish 1"));
        assert_eq!(session.host.drafts_left(), 0);
        assert!(!session.protocol().outstanding());
    }
    // In the middle of it.
    let mut session = logged_in();
    session.feed(Side::Client, b"TOP 1 100\r\n");
    session.feed(Side::Server, format!("+OK\r\n{}", text(50)).as_bytes());
    assert_eq!(session.host.drafts_left(), 1);
    session.eof(Side::Server);
    assert_eq!((session.host.drafts_left(), session.host.ended()), (0, true));
}

// ---- much of a message ---------------------------------------------------------------------------------------------

/// The body that `TOP n 1000` shows of a longer one.
fn much() -> String {
    format!("S: {}", r"\n".repeat(1000))
}

fn much_passed() -> String {
    format!("-> C: {}", r"\n".repeat(1000))
}

#[test]
fn much_of_a_message_is_got_whole_before_its_end_passes() {
    let recorder = play_logged_in(
        &format!(
            "C: TOP 3 1000
         -> S: TOP 3 1000
         S: +OK
         S:
         {}
         -> C: +OK
         -> C:
         {}
         S: .
         -> S: UIDL 3
         farewell lost none
         outstanding yes
         C: DELE 3
         S: +OK 3 abc
         -> S: RETR 3
         S: +OK 9999 octets
         -> begin 1 me@example.com INBOX size=9999
         S: all
         -> append 1 all
         farewell lost none
         S: .
         -> origin 1 pop3 abc
         -> finish 1
         -> settle
         -> S: DELE 3
         -> C: .
         S: +OK
         -> C: +OK
         outstanding no",
            much(),
            much_passed()
        )
        .replace("-> C: \n", "-> C:\n"),
    );
    assert_eq!(recorder.fetched, 5);
}

/// Plays `TOP 1 1000` of a longer message with the server owing nothing else, up to where it is asked for the message.
fn up_to_retr(more: &str) -> Recorder {
    play_logged_in(&format!(
        "C: TOP 1 1000
         -> S: TOP 1 1000
         S: +OK
         S:
         {}
         -> C: +OK
         -> C:
         {}
         S: .
         -> S: UIDL 1
         S: -ERR
         -> S: RETR 1
         {more}",
        much(),
        much_passed()
    ))
}

#[test]
fn much_of_a_message_that_cannot_be_kept_has_no_end() {
    up_to_retr(
        "fail settle
         S: +OK
         S: x
         S: .
         -> begin 1 me@example.com INBOX
         -> append 1 x
         -> finish 1
         -> settle refused
         -> end fault a message could not be kept
         farewell lost none",
    );
    // One that never will be kept does not bar the way to the others.
    up_to_retr(
        "fail begin large
         S: +OK
         S: x
         S: .
         -> begin me@example.com INBOX refused
         -> C: .
         outstanding no",
    );
    // It was not cut, and had passed but for its end.
    play_logged_in(
        "fail settle
         C: TOP 1 1000
         -> S: TOP 1 1000
         S: +OK
         S: .
         -> C: +OK
         -> begin 1 me@example.com INBOX
         -> finish 1
         -> settle refused
         -> end fault a message could not be kept",
    );
}

#[test]
fn much_of_a_message_that_the_server_does_not_give() {
    up_to_retr(
        "S: -ERR no
         -> not_kept message 1 of me@example.com was read in part by TOP: the server does not let it be got: \"-ERR no\"
         -> C: .
         outstanding no",
    );
    up_to_retr(
        "S: +OK
         S: half
         -> begin 1 me@example.com INBOX
         -> append 1 half
         eof S
         -> abort 1
         -> not_kept the session ended while message 1 of me@example.com was got, which was read in part by TOP
         -> end fault server closed in the middle of a message
         farewell lost none",
    );
}

#[test]
fn much_of_a_message_is_got_though_the_client_has_gone() {
    up_to_retr(
        "eof C
         outstanding yes
         S: +OK
         S: x
         S: .
         -> begin 1 me@example.com INBOX
         -> append 1 x
         -> finish 1
         -> settle
         -> C: .
         outstanding no",
    );
}

#[test]
fn behind_a_pipeline_it_is_got_before_anything_else_is_asked() {
    let recorder = play_logged_in(&format!(
        "C: TOP 1 1000
         C: TOP 2 1000
         C: RETR 2
         C: QUIT
         -> S: TOP 1 1000
         -> S: TOP 2 1000
         -> S: RETR 2
         S: +OK
         S:
         {0}
         -> C: +OK
         -> C:
         {1}
         S: .
         -> C: .
         S: +OK
         S:
         {0}
         S: .
         -> C: +OK
         -> C:
         {1}
         -> C: .
         S: +OK
         S: two
         S: .
         -> begin 1 me@example.com INBOX
         -> append 1 two
         -> C: +OK
         -> C: two
         -> finish 1
         -> settle
         -> S: UIDL 1
         -> C: .
         eof C
         outstanding yes
         S: -ERR
         S: +OK
         S: one
         S: .
         -> S: RETR 1
         -> begin 2 me@example.com INBOX
         -> append 2 one
         -> finish 2
         -> settle
         -> S: QUIT
         S: +OK bye
         -> C: +OK bye
         outstanding no",
        much(),
        much_passed()
    ));
    assert_eq!(recorder.fetched, 5);
}

#[test]
fn behind_a_pipeline_what_cannot_be_kept_ends_the_session() {
    play_logged_in(&format!(
        "fail settle
         C: TOP 1 1000
         C: NOOP
         C: QUIT
         -> S: TOP 1 1000
         -> S: NOOP
         S: +OK
         S:
         {}
         S: .
         -> C: +OK
         -> C:
         {}
         -> C: .
         S: +OK
         -> S: UIDL 1
         -> C: +OK
         S: -ERR
         S: +OK
         S: x
         S: .
         -> S: RETR 1
         -> begin 1 me@example.com INBOX
         -> append 1 x
         -> finish 1
         -> settle refused
         -> C: -ERR [SYS/TEMP] the message could not be kept, come back later
         -> end fault a message could not be kept
         farewell lost none",
        much(),
        much_passed()
    ));
}

#[test]
fn a_session_that_ends_before_it_is_got_tells_so() {
    play_logged_in(&format!(
        "C: TOP 1 1000
         C: NOOP
         -> S: TOP 1 1000
         -> S: NOOP
         S: +OK
         S:
         {}
         S: .
         -> C: +OK
         -> C:
         {}
         -> C: .
         eof S
         {LOST}
         -> not_kept the session ended before message 1 of me@example.com was got, which was read in part by TOP
         -> end fault server closed with a reply outstanding",
        much(),
        much_passed()
    ));
}

#[test]
fn each_message_that_is_missing_is_told_of() {
    // One by its unique-id, one that is kept by now, one whose TOP was passing, and a preview.
    play_logged_in(&format!(
        r#"
        C: UIDL 1
        C: TOP 1 1000
        C: TOP 2 1000
        C: RETR 2
        C: TOP 3 5000
        C: TOP 4 3
        -> S: UIDL 1
        -> S: TOP 1 1000
        -> S: TOP 2 1000
        -> S: RETR 2
        -> S: TOP 3 5000
        -> S: TOP 4 3
        S: +OK 1 a"b
        S: +OK
        S:
        {0}
        S: .
        S: +OK
        S:
        {0}
        S: .
        -> C: +OK 1 a"b
        -> C: +OK
        -> C:
        {1}
        -> C: .
        -> C: +OK
        -> C:
        {1}
        -> C: .
        S: +OK
        S: two
        S: .
        -> begin 1 me@example.com INBOX
        -> append 1 two
        -> C: +OK
        -> C: two
        -> finish 1
        -> settle
        -> C: .
        S: +OK
        S: three
        -> C: +OK
        -> C: three
        eof S
        -> not_kept the session ended before message 1 (unique-id a\x22b) of me@example.com was got, which was read in part by TOP
        -> not_kept the session ended before message 3 of me@example.com was got, which was read in part by TOP
        -> end fault server closed with a reply outstanding
        "#,
        much(),
        much_passed()
    ));
}

/// Says what is missing when the session is over for a reason of the host's, as a timeout.
fn over(client: &str, server: &str) -> Vec<String> {
    over_and_count(client, server).0
}

/// And how many messages were counted.
fn over_and_count(client: &str, server: &str) -> (Vec<String>, u64) {
    let (mut pop3, mut host) = (Pop3::new(settings(TlsMode::None, TlsMode::Implicit)), Recorder::default());
    pop3.input(Side::Server, b"+OK\r\n", &mut host);
    pop3.input(Side::Client, format!("USER me\r\nPASS x\r\n{client}").as_bytes(), &mut host);
    pop3.input(Side::Server, format!("+OK\r\n+OK\r\n{server}").as_bytes(), &mut host);
    pop3.over(&mut host);
    pop3.over(&mut host);
    assert_eq!(host.drafts_left(), 0);
    let lines = host.lines();
    (lines.iter().filter_map(|line| line.strip_prefix("not_kept ")).map(str::to_owned).collect(), host.not_kept)
}

#[test]
fn what_is_missing_is_told_of_however_the_session_ends() {
    let much = format!("+OK\r\n\r\n{}.\r\n", "x\r\n".repeat(1000));
    assert_eq!(over("NOOP\r\nTOP 1 1000\r\nTOP 2 3\r\n", "+OK\r\n"), [""; 0]);
    for (client, server, said) in [
        (
            "DELE 1\r\n",
            "+OK 1 a\r\n+OK\r\nhalf",
            "while message 1 (unique-id a) of me@example.com was got, which was to be deleted and is not",
        ),
        (
            "RETR 1\r\n",
            "+OK\r\nhalf",
            "in the middle of message 1 of me@example.com: its beginning has passed to the client",
        ),
        ("TOP 1 1000\r\n", &much, "while message 1 of me@example.com was got, which was read in part by TOP"),
        ("TOP 1 1000\r\nNOOP\r\n", &much, "before message 1 of me@example.com was got, which was read in part by TOP"),
    ] {
        assert_eq!(over(client, server), [format!("the session ended {said}")], "{client}");
    }
}

#[test]
fn of_many_that_are_missing_the_number_is_told() {
    let commands: String = (1..=103).map(|number| format!("TOP {number} 1000\r\n")).collect();
    let much = format!("+OK\r\n\r\n{}.\r\n", "x\r\n".repeat(1000));
    let (told, counted) = over_and_count(&(commands + "NOOP\r\n"), &much.repeat(103));
    assert_eq!((told.len(), counted), (101, 103));
    assert!(told[99].contains("message 100 of me@example.com"), "{}", told[99]);
    assert_eq!(
        told[100],
        "the session ended before 3 more messages of me@example.com were got, which were read in part by TOP"
    );
}

#[test]
fn what_is_due_is_being_finished_when_the_client_has_left() {
    let mut session = logged_in();
    session.feed(Side::Client, b"TOP 1 1000\r\nNOOP\r\n");
    session.eof(Side::Client);
    session.feed(Side::Server, format!("+OK\r\n\r\n{}", "x\r\n".repeat(1000)).as_bytes());
    for said in [".\r\n", "+OK\r\n", "-ERR\r\n", "+OK\r\nx\r\n"] {
        assert!(session.protocol().finishing() && session.protocol().outstanding(), "{said}");
        session.feed(Side::Server, said.as_bytes());
    }
    session.feed(Side::Server, b".\r\n");
    assert!(!session.protocol().finishing() && !session.protocol().outstanding());
    assert_eq!(session.host.appended(1), b"x\r\n");
}
