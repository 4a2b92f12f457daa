//! What is fetched while the client is quiet, or in IDLE.

use super::partial::{LASTING, TWO_IN_PART, lasting};
use super::run_following;
use crate::config::{Follow, TlsMode};
use crate::protocol::Side;
use crate::protocol::testing::{Recorder, Session};

fn following(follow: Follow, script: &str) -> Recorder {
    run_following(follow, TlsMode::None, TlsMode::Implicit, script)
}

#[test]
fn an_idle_behind_a_part_begins_when_the_message_is_kept() {
    lasting(
        r#"
        C: c UID FETCH 7 BODY[1]\r\nd IDLE
        -> S: c UID FETCH 7 BODY[1]
        S: * 1 FETCH (UID 7 BODY[1] "a")\r\nc OK done
        -> C: * 1 FETCH (UID 7 BODY[1] "a")
        -> S: X1 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        S: * 1 FETCH (UID 7 BODY[]<0> "one")\r\nX1 OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 one\
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> settle
        -> S: d IDLE
        -> C: c OK done
        S: + idling
        -> C: + idling
        outstanding no
        C: DONE
        -> S: DONE
        S: d OK done
        -> C: d OK done
        "#,
    );
}

#[test]
fn an_idle_with_something_due_begins_with_us() {
    // The reply is released when so much has come; the rest comes in what the client takes for its IDLE.
    let big = "x".repeat(30);
    for (done, answers) in [
        // The client hears no more before our piece is here.
        ("C: DONE", "-> S: d IDLE"),
        ("", "-> S: d IDLE"),
    ] {
        let idling = match done {
            "" => {
                "S: + idling\n-> nothing\nS: * 3 EXPUNGE\n-> C: * 3 EXPUNGE\nC: DONE\n-> S: DONE\nS: d OK done\n-> C: d OK done"
            }
            // What comes behind it waits until the server is out of it.
            _ => "C: e NOOP\n-> nothing\nS: + idling\n-> S: DONE\n-> S: e NOOP\nS: d OK done\n-> C: d OK done",
        };
        lasting(&format!(
            r#"
            {TWO_IN_PART}
            S: * 1 FETCH (UID 7 BODY[] "{big}")\r\n* 2 FETCH (UID 8 BODY[]<0> {{16}}\r\n0123456789abcdef)\r\nX1 OK done
            -> begin 1 joe@example.org INBOX
            -> append 1 {big}\
            -> begin 2 joe@example.org INBOX
            -> append 2 0123456789abcdef\
            -> S: X2 FETCH 1 (UID BODY.PEEK[]<30.262144>)
            -> C: c OK done
            C: d IDLE
            -> nothing
            S: * 1 FETCH (UID 7 BODY[]<30> "")\r\nX2 OK done
            -> origin 1 imap INBOX 5 7
            -> finish 1
            -> settle
            -> S: X3 UID FETCH 8 (UID BODY.PEEK[]<16.262144>)
            -> C: + idling
            {done}
            -> nothing
            S: * 2 FETCH (UID 8 BODY[]<16> "g")\r\n* 9 EXPUNGE\r\nX3 OK done
            -> append 2 g\
            -> origin 2 imap INBOX 5 8
            -> finish 2
            -> C: * 9 EXPUNGE
            -> settle
            {answers}
            {idling}
            "#
        ));
    }
}

/// Message 7 was read in part; so much has come of it since that the client need not wait any more.
const BEGUN: &str = r#"
    C: c UID FETCH 7 BODY[1]
    -> S: c UID FETCH 7 BODY[1]
    S: * 1 FETCH (UID 7 BODY[1] "a")\r\nc OK done
    -> C: * 1 FETCH (UID 7 BODY[1] "a")
    -> S: X1 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
    S: * 1 FETCH (UID 7 BODY[]<0> {262144}\r\n\
    -> begin 1 joe@example.org INBOX
"#;

#[test]
fn a_session_that_breaks_off_tells_what_is_missing() {
    lasting(&format!(
        r#"
        {BEGUN}
        eof S
        -> C: * BYE [UNAVAILABLE] the connection to the mail server is lost
        -> abort 1
        -> not_kept the session ended before it could be fetched whole (folder=INBOX uid=7)...
        -> end fault the server closed the connection
        "#
    ));
}

#[test]
fn the_inbox_is_followed_newest_first_and_in_pieces() {
    let recorder = following(
        Follow::Inbox,
        &format!(
            r#"
            {LASTING}
            known imap INBOX 5 17
            rest
            -> S: X1 FETCH 1:9 (UID)
            S: * 7 FETCH (UID 17)\r\n* 8 FETCH (UID 18)\r\n* 9 FETCH (UID 19 FLAGS (\Recent))\r\nX1 OK done
            -> C: * 9 FETCH (UID 19 FLAGS (\Recent))
            rest
            -> S: X2 FETCH 9 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
            # The client steps in, and finds at most a piece before it.
            C: c NOOP
            -> nothing
            S: * 9 FETCH (UID 19 BODY[]<0> "nine")\r\nX2 OK done
            -> begin 1 joe@example.org INBOX
            -> append 1 nine\
            -> origin 1 imap INBOX 5 19
            -> finish 1
            -> settle
            -> S: c NOOP
            S: * 2 EXPUNGE\r\n* 9 EXISTS\r\nc OK done
            -> C: * 2 EXPUNGE
            -> C: * 9 EXISTS
            -> C: c OK done
            rest
            -> S: X3 FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
            S: * 7 FETCH (UID 18 BODY[]<0> "eight")\r\nX3 OK done
            -> begin 2 joe@example.org INBOX
            -> append 2 eight\
            -> origin 2 imap INBOX 5 18
            -> finish 2
            -> settle
            rest
            -> S: X4 FETCH 9:9 (UID)
            S: * 9 FETCH (UID 20)\r\nX4 OK done
            C: d SELECT Work
            -> S: d SELECT Work
            S: * 5 EXISTS\r\n* OK [UIDVALIDITY 6] lasting\r\nd OK done
            -> C: * 5 EXISTS
            -> C: * OK [UIDVALIDITY 6] lasting
            -> C: d OK done
            "#
        ),
    );
    assert_eq!(recorder.fetched, 9);
}

#[test]
fn what_was_expunged_meanwhile_is_not_followed_and_a_refusal_ends_it() {
    following(
        Follow::All,
        &format!(
            r#"
            {LASTING}
            rest
            -> S: X1 FETCH 1:9 (UID)
            S: * 8 FETCH (UID 18)\r\n* 9 FETCH (UID 19)\r\nX1 OK done
            C: c NOOP
            -> S: c NOOP
            S: * 9 EXPUNGE\r\nc OK done
            -> C: * 9 EXPUNGE
            -> C: c OK done
            rest
            -> S: X2 FETCH 8 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
            S: X2 NO [OVERQUOTA] too much
            -> not_kept the server refuses it: NO\x20[OVERQUOTA]\x20too\x20much (folder=INBOX uid=18)...
            outstanding no
            "#
        ),
    );
}

#[test]
fn an_idle_of_a_folder_that_is_followed_begins_with_us_and_goes_on_to_the_server() {
    following(
        Follow::Inbox,
        &format!(
            r#"
            {LASTING}
            C: c IDLE
            -> C: + idling
            outstanding no
            rest
            -> S: X1 FETCH 1:9 (UID)
            S: * 9 FETCH (UID 19)\r\n* 10 EXISTS\r\nX1 OK done
            -> C: * 10 EXISTS
            rest
            -> S: X2 UID FETCH 19 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
            S: * 9 FETCH (UID 19 BODY[]<0> "nine")\r\nX2 OK done
            -> begin 1 joe@example.org INBOX
            -> append 1 nine\
            -> origin 1 imap INBOX 5 19
            -> finish 1
            -> settle
            rest
            -> S: X3 FETCH 10:10 (UID)
            S: X3 OK none
            -> S: c IDLE
            S: + go
            -> nothing
            S: * 11 EXISTS
            -> C: * 11 EXISTS
            C: DONE
            -> S: DONE
            S: c OK done
            -> C: c OK done
            "#
        ),
    );
}

#[test]
fn vanished_makes_numbers_void_but_not_uids() {
    lasting(
        r#"
        C: c UID FETCH 7:8 BODY[1]\r\nd NOOP
        -> S: c UID FETCH 7:8 BODY[1]
        -> S: d NOOP
        S: * 1 FETCH (UID 7 BODY[1] "a")\r\n* 2 FETCH (BODY[1] "b")\r\nc OK done\r\n* VANISHED 3:4
        -> C: * 1 FETCH (UID 7 BODY[1] "a")
        -> C: * 2 FETCH (BODY[1] "b")
        -> C: c OK done
        -> not_kept the server made its number void (VANISHED) and has not told its UID (folder=INBOX number=2)...
        -> C: * VANISHED 3:4
        S: d OK done
        -> C: d OK done
        # By its UID: not before the client is in a command that may be answered with VANISHED.
        C: e LOGOUT
        -> S: X1 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        S: * 1 FETCH (UID 7 BODY[]<0> "x")\r\nX1 OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 x\
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> settle
        -> S: e LOGOUT
        "#,
    );
}

#[test]
fn a_client_that_leaves_while_we_fetch_waits_for_a_bounded_piece_only() {
    let (big, sixteen) = ("x".repeat(30), "0123456789abcdef");
    lasting(&format!(
        r#"
        C: c UID FETCH 7:10 BODY[1]
        -> S: c UID FETCH 7:10 BODY[1]
        S: * 1 FETCH (UID 7 BODY[1] "a")\r\n* 2 FETCH (UID 8 BODY[1] "b")\r\n* 3 FETCH (UID 9 BODY[1] "c")\r\n* 4 FETCH (UID 10 BODY[1] "d")\r\nc OK done
        -> C: * 1 FETCH (UID 7 BODY[1] "a")
        -> C: * 2 FETCH (UID 8 BODY[1] "b")
        -> C: * 3 FETCH (UID 9 BODY[1] "c")
        -> C: * 4 FETCH (UID 10 BODY[1] "d")
        -> S: X1 UID FETCH 7:10 (UID INTERNALDATE BODY.PEEK[]<0.16>)
        S: * 1 FETCH (UID 7 BODY[] {{30}}\r\n{big})\r\n* 2 FETCH (UID 8 BODY[]<0> {{16}}\r\n{sixteen})\r\n* 3 FETCH (UID 9 BODY[]<0> {{16}}\r\n{sixteen})\r\n* 4 FETCH (UID 10 BODY[]<0> {{16}}\r\n{sixteen})\r\nX1 OK done
        -> begin 1 joe@example.org INBOX size=30
        -> append 1 {big}\
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> begin 2 joe@example.org INBOX
        -> append 2 {sixteen}\
        -> begin 3 joe@example.org INBOX
        -> append 3 {sixteen}\
        -> begin 4 joe@example.org INBOX
        -> append 4 {sixteen}\
        -> settle
        -> C: c OK done
        -> S: X2 FETCH 2 (UID BODY.PEEK[]<16.262144>)
        C: d SELECT Work
        S: * 2 FETCH (UID 8 BODY[]<16> "y")\r\nX2 OK done
        -> append 2 y\
        -> origin 2 imap INBOX 5 8
        -> finish 2
        -> settle
        # The client waits from here on.
        -> S: X3 UID FETCH 9 (UID BODY.PEEK[]<16.262144>)
        S: * 3 FETCH (UID 9 BODY[]<16> "{big}")\r\nX3 OK done
        -> append 3 {big}\
        -> origin 3 imap INBOX 5 9
        -> finish 3
        -> settle
        -> S: d SELECT Work
        "#
    ));
}

#[test]
fn a_message_that_is_gone_does_not_keep_the_others_from_being_followed() {
    following(
        Follow::Inbox,
        &format!(
            r#"
            {LASTING}
            rest
            -> S: X1 FETCH 1:9 (UID)
            S: * 8 FETCH (UID 18)\r\nX1 NO [EXPUNGEISSUED] some are gone
            rest
            -> S: X2 FETCH 8 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
            "#
        ),
    );
}

#[test]
fn an_idle_that_began_with_us_does_not_outlive_the_session() {
    lasting(
        r#"
        C: c FETCH 1:2 BODY[]<0.10>
        -> S: c FETCH 1:2 BODY[]<0.10>
        S: * 1 FETCH (BODY[]<0> "0123456789")\r\n* 2 FETCH (BODY[]<0> "0123456789")\r\nc OK done
        -> C: * 1 FETCH (BODY[]<0> "0123456789")
        -> C: * 2 FETCH (BODY[]<0> "0123456789")
        -> C: c OK done
        C: d FETCH 1:2 BODY[]<10.10>
        -> S: d FETCH 1:2 BODY[]<10.10>
        S: * 1 FETCH (BODY[]<10> "0123456789")\r\n* 2 FETCH (BODY[]<10> "0123456789")\r\nd OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 01234567890123456789\
        -> C: * 1 FETCH (BODY[]<10> "0123456789")
        -> begin 2 joe@example.org INBOX
        -> append 2 01234567890123456789\
        -> C: * 2 FETCH (BODY[]<10> "0123456789")
        -> C: d OK done
        C: e IDLE
        -> S: X1 FETCH 1 (UID BODY.PEEK[]<20.262144>)
        -> C: + idling
        eof C
        S: * 1 FETCH (UID 7 BODY[]<20> "x")\r\nX1 OK done
        -> append 1 x\
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> settle
        -> S: X2 FETCH 2 (UID BODY.PEEK[]<20.262144>)
        S: * 2 FETCH (UID 8 BODY[]<20> "y")\r\nX2 OK done
        -> append 2 y\
        -> origin 2 imap INBOX 5 8
        -> finish 2
        -> settle
        -> S: X3 LOGOUT
        S: X3 OK out
        -> end orderly client closed
        "#,
    );
}

#[test]
fn half_a_command_that_had_to_wait_is_not_waited_for_when_the_client_has_left() {
    lasting(
        r#"
        C: c UID FETCH 7 BODY[1]
        -> S: c UID FETCH 7 BODY[1]
        S: * 1 FETCH (UID 7 BODY[1] "a")\r\nc OK done
        -> C: * 1 FETCH (UID 7 BODY[1] "a")
        -> S: X1 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        C: d APPEND INBOX {3}
        eof C
        S: * 1 FETCH (UID 7 BODY[]<0> "a")\r\nX1 OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 a\
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> settle
        -> C: c OK done
        -> begin 2 joe@example.org INBOX size=3
        -> S: d APPEND INBOX {3}
        -> abort 2
        -> end orderly client closed in the middle of a command
        "#,
    );
}

#[test]
fn a_big_message_that_is_followed_has_a_rest_between_two_pieces() {
    let mut session = super::session_of(Follow::Inbox, std::sync::Arc::default());
    session.feed(Side::Server, b"* OK\r\n");
    session.feed(Side::Client, b"a LOGIN joe x\r\nb SELECT INBOX\r\n");
    session.feed(Side::Server, b"a OK\r\n* 1 EXISTS\r\n* OK [UIDVALIDITY 5]\r\nb OK\r\n");
    let sent = |session: &Session| String::from_utf8(session.host.sent(Side::Server)).unwrap();
    session.rest();
    session.feed(Side::Server, b"* 1 FETCH (UID 7)\r\nX1 OK\r\n");
    let piece = "x".repeat(262_144);
    for number in 0..3 {
        let before = sent(&session);
        session.feed(Side::Server, b"");
        assert_eq!(sent(&session), before, "no piece without a rest before it");
        assert!(session.protocol().rest().is_some());
        session.rest();
        let from = number * 262_144;
        assert!(sent(&session).contains(&format!("BODY.PEEK[]<{from}.262144>")), "{}", sent(&session));
        let answer = format!("* 1 FETCH (UID 7 BODY[]<{from}> {{262144}}\r\n{piece})\r\nX{} OK\r\n", number + 2);
        session.feed(Side::Server, answer.as_bytes());
    }
    // The client steps in: it is let in at once, and leaves without waiting for what is only followed.
    session.feed(Side::Client, b"c LOGOUT\r\n");
    assert!(sent(&session).ends_with("c LOGOUT\r\n"));
    assert_eq!(session.host.drafts_left(), 0);
}

#[test]
fn done_is_said_once_although_the_client_leaves_behind_it() {
    lasting(
        r#"
        C: c FETCH 1 BODY[]<0.10>
        -> S: c FETCH 1 BODY[]<0.10>
        S: * 1 FETCH (BODY[]<0> "0123456789")\r\nc OK done
        -> C: * 1 FETCH (BODY[]<0> "0123456789")
        -> C: c OK done
        C: d IDLE
        -> S: d IDLE
        S: + idling\r\n* 1 FETCH (BODY[1] "a part, not asked for")
        -> C: + idling
        -> C: * 1 FETCH (BODY[1] "a part, not asked for")
        C: DONE
        -> S: DONE
        outstanding yes
        eof C
        -> nothing
        S: d OK idled
        -> C: d OK idled
        -> S: X1 FETCH 1 (UID)
        "#,
    );
}
