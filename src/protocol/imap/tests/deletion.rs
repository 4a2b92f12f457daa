//! What is deleted, expunged or moved away is kept first.

use std::sync::Arc;

use super::partial::lasting;
use super::run;
use crate::config::Follow;
use crate::protocol::Side;
use crate::protocol::imap::Trouble;
use crate::protocol::testing::Session;

#[test]
fn a_deletion_waits_for_the_message_that_is_on_its_way() {
    lasting(
        r#"
        C: c FETCH 1 BODY[]\r\nd STORE 1 +FLAGS (\\Deleted)\r\ne EXPUNGE
        -> S: c FETCH 1 BODY[]
        S: * 1 FETCH (BODY[] "abc")
        -> begin 1 joe@example.org INBOX
        -> append 1 abc\
        -> finish 1
        -> C: * 1 FETCH (BODY[] "abc")
        S: c OK done
        -> settle
        -> S: d STORE 1 +FLAGS (\\Deleted)
        -> C: c OK done
        S: * 1 FETCH (FLAGS (\\Deleted))\r\nd OK done
        -> C: * 1 FETCH (FLAGS (\\Deleted))
        -> C: d OK done
        -> S: X1 SEARCH DELETED
        S: * SEARCH 1\r\nX1 OK done
        -> S: e EXPUNGE
        "#,
    );
}

#[test]
fn what_is_kept_already_is_deleted_at_once() {
    lasting(
        r#"
        known imap INBOX 5 7
        known imap INBOX 5 8
        C: c NOOP\r\nd UID STORE 7:8 +FLAGS.SILENT (\\Deleted)
        -> S: c NOOP
        -> S: d UID STORE 7:8 +FLAGS.SILENT (\\Deleted)
        C: e STORE 1:* +FLAGS (\\Seen)\r\nf UID STORE 9 -FLAGS (\\Deleted)
        -> S: e STORE 1:* +FLAGS (\\Seen)
        -> S: f UID STORE 9 -FLAGS (\\Deleted)
        "#,
    );
}

#[test]
fn an_unread_message_is_kept_before_it_is_marked_as_deleted() {
    for (command, uid) in [
        (r"UID STORE 7:9 +FLAGS (\\Deleted)", "UID "),
        (r"UID STORE 7:9 FLAGS.SILENT (\\seen \\DELETED)", "UID "),
        ("UID MOVE 7:9 Trash", "UID "),
        (r"UID STORE 7:9 +X-GM-LABELS (\\Trash)", "UID "),
        (r"STORE 7:9 (UNCHANGEDSINCE 5) +FLAGS (\\Deleted)", ""),
        ("MOVE 7:9 \"Trash\"", ""),
    ] {
        let body = if uid.is_empty() { "FETCH 9" } else { "UID FETCH 9" };
        lasting(&format!(
            r#"
            known imap INBOX 5 7
            C: c {command}
            -> S: X1 {uid}FETCH 7:9 (UID)
            S: * 7 FETCH (UID 7)\r\n* 9 FETCH (UID 9)\r\nX1 OK done
            -> S: X2 {body} (UID INTERNALDATE BODY.PEEK[]<0.262144>)
            C: d NOOP
            S: * 9 FETCH (UID 9 BODY[]<0> "nine")\r\nX2 OK done
            -> begin 1 joe@example.org INBOX
            -> append 1 nine\
            -> origin 1 imap INBOX 5 9
            -> finish 1
            -> settle
            -> S: c {command}
            -> S: d NOOP
            S: c OK done
            -> C: c OK done
            "#
        ));
    }
}

#[test]
fn an_expunge_asks_what_it_would_take() {
    for (command, search) in
        [("EXPUNGE", "SEARCH DELETED"), ("CLOSE", "SEARCH DELETED"), ("UID EXPUNGE 7:9", "UID SEARCH UID 7:9 DELETED")]
    {
        let (found, resolve, body) = match command.starts_with("UID") {
            true => ("7 9", "UID FETCH 7,9", "UID FETCH 9"),
            false => ("1 2", "FETCH 1:2", "FETCH 2"),
        };
        // What is known by its UID need not be asked for.
        let resolve = resolve.replace("7,9", "9");
        lasting(&format!(
            r#"
            known imap INBOX 5 7
            C: c {command}
            -> S: X1 {search}
            S: * SEARCH {found}\r\n* 9 EXISTS\r\nX1 OK done
            -> C: * 9 EXISTS
            -> S: X2 {resolve} (UID)
            S: * 1 FETCH (UID 7)\r\n* 2 FETCH (UID 9)\r\nX2 OK done
            -> S: X3 {body} (UID INTERNALDATE BODY.PEEK[]<0.262144>)
            S: * 2 FETCH (UID 9 BODY[]<0> "nine")\r\nX3 OK done
            -> begin 1 joe@example.org INBOX
            -> append 1 nine\
            -> origin 1 imap INBOX 5 9
            -> finish 1
            -> settle
            # Marks that came meanwhile would go too.
            -> S: X4 {search}
            S: * SEARCH\r\nX4 OK done
            -> S: c {command}
            "#
        ));
        lasting(&format!(
            r#"
            C: c {command}
            -> S: X1 {search}
            S: * SEARCH\r\nX1 OK done
            -> S: c {command}
            "#
        ));
    }
}

#[test]
fn nothing_is_asked_where_nothing_can_go_or_is_not_kept_anyway() {
    lasting(
        r#"
        C: c EXAMINE Work\r\nd EXPUNGE
        -> S: c EXAMINE Work
        S: c OK done
        -> S: d EXPUNGE
        -> C: c OK done
        S: d NO read-only
        -> C: d NO read-only
        C: e SELECT Trash
        -> S: e SELECT Trash
        S: e OK done
        -> C: e OK done
        C: f STORE 1:* +FLAGS (\\Deleted)\r\ng CLOSE
        -> S: f STORE 1:* +FLAGS (\\Deleted)
        -> S: g CLOSE
        "#,
    );
}

#[test]
fn what_cannot_be_kept_is_not_deleted_and_the_session_goes_on() {
    for (call, why) in [
        (
            "begin",
            "NO [UNAVAILABLE] a message cannot be archived at the moment, so nothing is deleted; try again later",
        ),
        ("begin large", "NO [LIMIT] a message is larger than what is archived here, so nothing is deleted"),
    ] {
        lasting(&format!(
            r#"
            C: c UID STORE 7 +FLAGS (\\Deleted)
            -> S: X1 UID FETCH 7 (UID)
            S: * 1 FETCH (UID 7)\r\nX1 OK done
            -> S: X2 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
            fail {call}
            S: * 1 FETCH (UID 7 BODY[]<0> "x")\r\nX2 OK done
            -> begin joe@example.org INBOX refused
            -> C: c {why}
            C: d NOOP
            -> S: d NOOP
            "#
        ));
    }
    lasting(
        r#"
        C: c UID STORE 7 +FLAGS (\\Deleted)
        -> S: X1 UID FETCH 7 (UID)
        S: * 1 FETCH (UID 7)\r\nX1 OK done
        -> S: X2 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        S: X2 NO [THROTTLED] slowly
        -> not_kept the server refuses it: NO\x20[THROTTLED]\x20slowly (folder=INBOX uid=7)...
        -> C: c NO [UNAVAILABLE] a message is not archived yet and the server does not give it, so nothing is deleted; try again later
        # It is asked for again.
        C: d UID STORE 7 +FLAGS (\\Deleted)
        -> S: X3 UID FETCH 7 (UID)
        S: * 1 FETCH (UID 7)\r\nX3 OK done
        -> S: X4 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        S: * 1 FETCH (UID 7 BODY[]<0> "x")\r\nX4 OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 x\
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> settle
        -> S: d UID STORE 7 +FLAGS (\\Deleted)
        "#,
    );
}

#[test]
fn a_set_that_is_none_becomes_no_command_of_ours() {
    lasting(
        r#"
        C: c STORE "1 BODY[]" +FLAGS (\\Deleted)
        -> C: c BAD a sequence set is expected
        C: d STORE 99 +FLAGS (\\Deleted)
        -> S: X1 FETCH 99 (UID)
        S: X1 BAD no such message
        -> S: d STORE 99 +FLAGS (\\Deleted)
        S: d BAD no such message
        -> C: d BAD no such message
        C: e UID STORE 99 +FLAGS (\\Deleted)
        -> S: X2 UID FETCH 99 (UID)
        S: X2 OK nothing
        -> S: e UID STORE 99 +FLAGS (\\Deleted)
        "#,
    );
}

#[test]
fn a_message_that_comes_while_a_deletion_is_held_back_is_kept_too() {
    lasting(
        r#"
        known imap INBOX 5 7
        C: c UID STORE 1:* +FLAGS (\\Deleted)
        -> S: X1 UID FETCH 1:* (UID)
        S: * 9 FETCH (UID 7)\r\n* 10 EXISTS\r\nX1 OK done
        -> C: * 10 EXISTS
        -> S: X2 UID FETCH 1:* (UID)
        S: * 9 FETCH (UID 7)\r\n* 10 FETCH (UID 8)\r\nX2 OK done
        -> S: X3 UID FETCH 8 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        S: * 10 FETCH (UID 8 BODY[]<0> "x")\r\nX3 OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 x\
        -> origin 1 imap INBOX 5 8
        -> finish 1
        -> settle
        -> S: c UID STORE 1:* +FLAGS (\\Deleted)
        "#,
    );
}

#[test]
fn a_message_that_is_gone_keeps_no_deletion_back() {
    lasting(
        r#"
        C: c CLOSE
        -> S: X1 SEARCH DELETED
        S: * SEARCH 1\r\nX1 OK done
        -> S: X2 FETCH 1 (UID)
        S: * 1 FETCH (UID 7)\r\nX2 OK done
        -> S: X3 FETCH 1 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        S: X3 NO [EXPUNGEISSUED] some are gone
        -> S: X4 FETCH 1 (UID INTERNALDATE BODY.PEEK[])
        S: X4 NO [EXPUNGEISSUED] some are gone
        -> S: X5 SEARCH DELETED
        S: * SEARCH\r\nX5 OK done
        -> S: c CLOSE
        "#,
    );
}

/// Logged in as joe, with nothing selected.
const LOGGED_IN: &str = r#"
    S: * OK ready
    -> C: * OK ready
    C: a LOGIN joe secret
    -> S: a LOGIN joe secret
    S: a OK in
    -> logged_in joe@example.org
    -> C: a OK in
"#;

#[test]
fn a_folder_that_is_deleted_is_kept_first() {
    run(&format!(
        r#"
        {LOGGED_IN}
        known imap My\x20"x" 6 7
        C: c DELETE "My \\"x\\""\r\nd NOOP
        -> S: X1 EXAMINE "My \\"x\\""
        S: * FLAGS (a)\r\n* 2 EXISTS\r\n* OK [UIDVALIDITY 6] x\r\n* OK [ALERT] soon\r\nX1 OK [READ-ONLY] done
        -> S: X2 FETCH 1:* (UID)
        -> C: * OK [ALERT] soon
        S: * 1 FETCH (UID 7)\r\n* 2 FETCH (UID 8 FLAGS (\\Recent))\r\n* 3 EXISTS\r\nX2 OK done
        -> S: X3 FETCH 2 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        S: * 2 FETCH (UID 8 BODY[]<0> "two")\r\nX3 OK done
        -> begin 1 joe@example.org .My "x"
        -> append 1 two\
        -> origin 1 imap My\x20"x" 6 8
        -> finish 1
        -> settle
        -> S: X4 FETCH 1:* (UID)
        S: * 3 FETCH (UID 7)\r\nX4 OK done
        -> S: X5 CLOSE
        S: X5 OK done
        -> S: c DELETE "My \\"x\\""
        -> S: d NOOP
        S: c OK done\r\nd OK done
        -> C: c OK done
        -> C: d OK done
        "#
    )
    .replace(r#"known imap My\x20"x" 6 7"#, r#"known imap My\x20\x22x\x22 6 7"#)
    .replace(r#"origin 1 imap My\x20"x" 6 8"#, r#"origin 1 imap My\x20\x22x\x22 6 8"#));
}

#[test]
fn a_folder_that_cannot_be_kept_is_not_deleted() {
    run(&format!(
        r#"
        {LOGGED_IN}
        C: c DELETE Old
        -> S: X1 EXAMINE "Old"
        S: * 1 EXISTS\r\nX1 OK done
        -> S: X2 FETCH 1:* (UID)
        S: X2 OK done
        -> not_kept which messages a client deletes cannot be found out, the server says OK and names none...
        -> S: X3 CLOSE
        S: X3 OK done
        -> C: c NO [UNAVAILABLE] a message is not archived yet and the server does not give it, so nothing is deleted; try again later
        C: d DELETE Nowhere
        -> S: X4 EXAMINE "Nowhere"
        S: X4 NO no such folder
        -> S: X5 STATUS "Nowhere" (MESSAGES)
        S: X5 NO no such folder
        -> S: d DELETE Nowhere
        S: d NO no such folder
        -> C: d NO no such folder
        C: e DELETE Trash\r\nf DELETE inbox
        -> S: e DELETE Trash
        -> S: f DELETE inbox
        "#
    ));
}

#[test]
fn a_folder_that_is_deleted_while_another_one_is_open_is_told_of() {
    lasting(
        r#"
        C: c DELETE Old
        -> S: X1 STATUS "Old" (MESSAGES)
        S: * STATUS "Old" (MESSAGES 3)\r\n* 10 EXISTS\r\nX1 OK done
        -> C: * 10 EXISTS
        -> not_kept the client deletes the folder Old with 3 messages, which cannot be opened meanwhile...
        -> S: c DELETE Old
        S: c OK done
        -> C: c OK done
        C: d DELETE Empty
        -> S: X2 STATUS "Empty" (MESSAGES)
        S: * STATUS Empty (MESSAGES 0)\r\nX2 OK done
        -> S: d DELETE Empty
        S: d OK done
        -> C: d OK done
        "#,
    );
}

#[test]
fn the_last_message_may_be_another_one_when_its_deletion_is_let_go() {
    for gone in ["9 EXPUNGE", "VANISHED 20"] {
        lasting(&format!(
            r#"
            C: c UID STORE * +FLAGS (\\Deleted)
            -> S: X1 UID FETCH * (UID)
            S: * {gone}\r\nX1 OK done
            -> C: * {gone}
            -> S: X2 UID FETCH * (UID)
            S: * 8 FETCH (UID 19)\r\nX2 OK done
            -> S: X3 UID FETCH 19 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
            "#
        ));
    }
}

/// The session has selected an INBOX of three messages.
fn selected(follow: Follow, trouble: &Arc<Trouble>) -> Session {
    let mut session = super::session_of(follow, Arc::clone(trouble));
    session.feed(Side::Server, b"* OK\r\n");
    session.feed(Side::Client, b"a LOGIN joe x\r\nb SELECT INBOX\r\n");
    session.feed(Side::Server, b"a OK\r\n* 3 EXISTS\r\n* OK [UIDVALIDITY 5]\r\nb OK\r\n");
    session
}

fn last_sent(session: &Session) -> String {
    let sent = String::from_utf8(session.host.sent(Side::Server)).unwrap();
    sent.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_message_that_is_gone_holds_no_expunge() {
    for command in ["c EXPUNGE", "c CLOSE"] {
        for nil in ["", "* 1 FETCH (UID 7 BODY[] NIL)\r\n"] {
            let mut session = selected(Follow::No, &Arc::default());
            session.feed(Side::Client, format!("{command}\r\n").as_bytes());
            // The server must not tell the EXPUNGE, so it goes on finding it.
            for _ in 0..6 {
                let asked = last_sent(&session);
                let tag = asked.split(' ').next().unwrap();
                let reply = match &asked {
                    asked if *asked == command => break,
                    asked if asked.contains("SEARCH") => format!("* SEARCH 1\r\n{tag} OK\r\n"),
                    asked if asked.ends_with("(UID)") => format!("* 1 FETCH (UID 7)\r\n{tag} OK\r\n"),
                    _ => format!("{nil}{tag} NO [EXPUNGEISSUED] some are gone\r\n"),
                };
                session.feed(Side::Server, reply.as_bytes());
            }
            assert_eq!(last_sent(&session), command);
        }
    }
}

#[test]
fn what_is_not_told_because_others_are_gone_is_asked_for_alone() {
    lasting(
        r#"
        known imap INBOX 5 7
        known imap INBOX 5 9
        C: c UID STORE 7:9,12 +FLAGS (\\Deleted)
        -> S: X1 UID FETCH 7:9,12 (UID)
        S: * 1 FETCH (UID 7)\r\nX1 NO [EXPUNGEISSUED] some are gone
        -> S: X2 UID FETCH 12 (UID)
        S: X2 OK done
        -> S: X3 UID FETCH 9 (UID)
        S: * 2 FETCH (UID 9)\r\nX3 OK done
        -> S: X4 UID FETCH 8 (UID)
        S: X4 NO [EXPUNGEISSUED] gone
        -> S: c UID STORE 7:9,12 +FLAGS (\\Deleted)
        "#,
    );
}

#[test]
fn numbers_that_were_found_are_looked_for_again_when_messages_go() {
    lasting(
        r#"
        known imap INBOX 5 8
        known imap INBOX 5 9
        C: c EXPUNGE
        -> S: X1 SEARCH DELETED
        S: * SEARCH 2\r\n* 1 EXPUNGE\r\nX1 OK done
        -> C: * 1 EXPUNGE
        -> S: X2 FETCH 2 (UID)
        S: * 2 FETCH (UID 9)\r\nX2 OK done
        -> S: X3 SEARCH DELETED
        S: * SEARCH 1\r\nX3 OK done
        -> S: X4 FETCH 1 (UID)
        S: * 1 FETCH (UID 8)\r\nX4 OK done
        -> S: c EXPUNGE
        "#,
    );
}

#[test]
fn a_server_that_is_stopped_makes_no_message_guilty() {
    let trouble = Arc::default();
    for _ in 0..2 {
        let mut session = selected(Follow::No, &trouble);
        session.feed(Side::Client, b"c UID STORE 8 +FLAGS (\\Deleted)\r\n");
        session.feed(Side::Server, b"* 2 FETCH (UID 8)\r\nX1 OK\r\n");
        let asked = last_sent(&session);
        assert!(asked.starts_with("X2 UID FETCH 8 (UID INTERNALDATE BODY.PEEK[]"), "{asked}");
        session.feed(Side::Server, b"* BYE [UNAVAILABLE] Server shutting down.\r\n");
    }
}

#[test]
fn following_goes_on_when_numbers_are_void() {
    let mut session = selected(Follow::Inbox, &Arc::default());
    session.rest();
    session.feed(Side::Server, b"* 1 FETCH (UID 5)\r\n* 2 FETCH (UID 6)\r\n* 3 FETCH (UID 7)\r\nX1 OK\r\n");
    session.rest();
    let piece = "x".repeat(262_144);
    session.feed(Side::Server, format!("* 3 FETCH (UID 7 BODY[]<0> {{262144}}\r\n{piece})\r\nX2 OK\r\n").as_bytes());
    session.feed(Side::Client, b"c NOOP\r\n");
    session.feed(Side::Server, b"* VANISHED 5\r\nc OK\r\n");
    session.rest();
    assert_eq!(last_sent(&session), "X3 FETCH 1:2 (UID)");
    session.feed(Side::Server, b"* 1 FETCH (UID 6)\r\n* 2 FETCH (UID 7)\r\nX3 OK\r\n");
    session.rest();
    let asked = last_sent(&session);
    assert!(asked.starts_with("X4 FETCH 2 (UID INTERNALDATE BODY.PEEK[]<0."), "{asked}");
}
