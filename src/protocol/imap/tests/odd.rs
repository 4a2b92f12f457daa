//! Odd servers and odd clients: what they say must not make a part pass for the whole, delete what is not kept, or stop the session.

use proptest::prelude::*;

use super::partial::{DOWNLOAD, TWO_IN_PART, lasting};
use super::session;
use crate::protocol::Side;

#[test]
fn nothing_in_the_middle_of_a_message_is_not_its_end() {
    // Dovecot's answer for a message that somebody has expunged meanwhile.
    let script = r#"
        S: * 1 FETCH (UID 7 BODY[]<0> "0123456789abcdef")\r\n* 2 FETCH (UID 8 BODY[]<0> "two")\r\nX1 OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 0123456789abcdef\
        -> begin 2 joe@example.org INBOX
        -> append 2 two\
        -> origin 2 imap INBOX 5 8
        -> finish 2
        -> settle
        -> S: X2 UID FETCH 7 (UID BODY.PEEK[]<16.262144>)
        S: * 1 FETCH (UID 7 BODY[]<16> NIL)\r\nX2 OK [EXPUNGEISSUED] some are gone
        -> abort 1
        -> S: X3 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[])
        S: X3 NO [EXPUNGEISSUED] some are gone
        -> not_kept somebody else expunged it before it could be fetched whole (folder=INBOX uid=7)...
        -> C: c OK done
        "#;
    lasting(&[TWO_IN_PART, script].concat());
}

#[test]
fn an_empty_message_is_asked_for_twice() {
    lasting(
        r#"
        C: c UID MOVE 7 Trash
        -> S: X1 UID FETCH 7 (UID)
        S: * 1 FETCH (UID 7)\r\nX1 OK done
        -> S: X2 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        S: * 1 FETCH (UID 7 BODY[]<0> "")\r\nX2 OK done
        -> begin 1 joe@example.org INBOX
        -> abort 1
        -> S: X3 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[])
        S: * 1 FETCH (UID 7 BODY[] "")\r\nX3 OK done
        -> begin 2 joe@example.org INBOX
        -> origin 2 imap INBOX 5 7
        -> finish 2
        -> settle
        -> S: c UID MOVE 7 Trash
        "#,
    );
}

#[test]
fn what_the_server_makes_up_stands_for_no_message() {
    lasting(
        r#"
        C: c UID FETCH 7 BODY.PEEK[]
        -> S: c UID FETCH 7 BODY.PEEK[]
        S: * 1 FETCH (BODY[] "Retrieval failed")\r\nc OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 Retrieval failed\
        -> finish 1
        -> not_kept the server answers a UID FETCH with something that has no UID...
        -> C: * 1 FETCH (BODY[] "Retrieval failed")
        -> settle
        -> C: c OK done
        C: d UID STORE 7 +FLAGS (\\Deleted)
        -> S: X1 UID FETCH 7 (UID)
        S: * 1 FETCH (UID 7)\r\nX1 OK done
        -> S: X2 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        "#,
    );
}

#[test]
fn chunks_that_cannot_be_told_apart_are_none() {
    lasting(
        r#"
        C: c UID FETCH 7 (BODY.PEEK[]<0.5000> BODY.PEEK[]<0.4>)
        -> S: c UID FETCH 7 (BODY.PEEK[]<0.5000> BODY.PEEK[]<0.4>)
        S: * 1 FETCH (UID 7 BODY[]<0> "0123456789" BODY[]<0> "0123")\r\nc OK done
        -> C: * 1 FETCH (UID 7 BODY[]<0> "0123456789" BODY[]<0> "0123")
        -> S: X1 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        "#,
    );
    // Servers may answer two commands in another order: the second one waits.
    lasting(
        r#"
        C: c UID FETCH 7 BODY[]<0.5000>\r\nd UID FETCH 8 BODY[]<0.4>
        -> S: c UID FETCH 7 BODY[]<0.5000>
        S: * 1 FETCH (UID 7 BODY[]<0> "0123")\r\nc OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 0123\
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> C: * 1 FETCH (UID 7 BODY[]<0> "0123")
        -> settle
        -> S: d UID FETCH 8 BODY[]<0.4>
        -> C: c OK done
        S: * 2 FETCH (UID 8 BODY[]<0> "0123")\r\nd OK done
        -> C: * 2 FETCH (UID 8 BODY[]<0> "0123")
        -> C: d OK done
        "#,
    );
}

#[test]
fn a_uid_that_only_the_first_chunk_tells_is_remembered() {
    lasting(
        r#"
        C: c FETCH 1 (UID BODY[]<0.4>)
        -> S: c FETCH 1 (UID BODY[]<0.4>)
        S: * 1 FETCH (UID 7 BODY[]<0> "0123")\r\nc OK done
        -> C: * 1 FETCH (UID 7 BODY[]<0> "0123")
        -> C: c OK done
        C: d FETCH 1 BODY[]<4.4>
        -> S: d FETCH 1 BODY[]<4.4>
        S: * 1 FETCH (BODY[]<4> "45")\r\nd OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 012345\
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> C: * 1 FETCH (BODY[]<4> "45")
        -> settle
        -> C: d OK done
        "#,
    );
}

#[test]
fn what_stands_behind_a_literal_does_not_wait_for_itself() {
    lasting(
        r#"
        C: c MOVE 1 {7}
        -> S: X1 FETCH 1 (UID)
        S: * 1 FETCH (UID 7)\r\nX1 OK done
        -> S: X2 FETCH 1 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        S: * 1 FETCH (UID 7 BODY[]<0> "x")\r\nX2 OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 x\
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> settle
        -> S: c MOVE 1 {7}
        S: + go on
        -> C: + go on
        C: Archive
        -> S: Archive
        S: c OK done
        -> C: c OK done
        C: d UID MOVE 7:8 {7+}\r\nArchive
        -> S: X3 UID FETCH 7:8 (UID)
        S: X3 OK nothing
        -> S: d UID MOVE 7:8 {7+}
        -> S: Archive
        "#,
    );
}

#[test]
fn numbers_that_mean_other_messages_by_now_delete_nothing() {
    lasting(
        r#"
        C: c STORE 3 +FLAGS (\\Deleted)
        -> S: X1 FETCH 3 (UID)
        S: * 2 EXPUNGE\r\n* 3 FETCH (UID 9)\r\nX1 OK done
        -> C: * 2 EXPUNGE
        -> C: c NO [UNAVAILABLE] messages were expunged meanwhile, so their numbers are not what they were; nothing is done
        "#,
    );
    // What names no numbers goes on, by UID.
    lasting(
        r#"
        C: c EXPUNGE
        -> S: X1 SEARCH DELETED
        S: * SEARCH 3\r\nX1 OK done
        -> S: X2 FETCH 3 (UID)
        S: * 3 FETCH (UID 9)\r\n* VANISHED 4\r\nX2 OK done
        -> C: * VANISHED 4
        -> S: X3 UID FETCH 9 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        S: * 2 FETCH (UID 9 BODY[]<0> "x")\r\nX3 OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 x\
        -> origin 1 imap INBOX 5 9
        -> finish 1
        -> settle
        -> S: X4 SEARCH DELETED
        S: * SEARCH\r\nX4 OK done
        -> S: c EXPUNGE
        "#,
    );
}

#[test]
fn only_what_is_named_counts_as_named() {
    lasting(
        r#"
        C: c UID STORE 7 +FLAGS (\\Deleted)
        -> S: X1 UID FETCH 7 (UID)
        S: * 5 FETCH (UID 12 FLAGS (\\Seen))\r\nX1 OK done
        -> C: * 5 FETCH (UID 12 FLAGS (\\Seen))
        -> S: c UID STORE 7 +FLAGS (\\Deleted)
        "#,
    );
}

#[test]
fn keywords_are_no_flags_that_are_taken_away() {
    lasting(
        r#"
        C: c UID STORE 7 (UNCHANGEDSINCE 9) +FLAGS.SILENT (\\Deleted x-FLAGS)
        -> S: X1 UID FETCH 7 (UID)
        "#,
    );
}

#[test]
fn literals_in_answers_to_us_are_swallowed_with_them() {
    lasting(
        r#"
        C: c DELETE Old
        -> S: X1 STATUS "Old" (MESSAGES)
        S: * STATUS {3}\r\nOld (MESSAGES 2)\r\nX1 OK done
        -> not_kept the client deletes the folder Old with 2 messages...
        -> S: c DELETE Old
        "#,
    );
}

#[test]
fn a_download_that_breaks_off_with_the_server_is_told_of() {
    lasting(
        r#"
        C: c UID FETCH 7 (UID BODY[]<0.5000>)
        -> S: c UID FETCH 7 (UID BODY[]<0.5000>)
        S: * 1 FETCH (UID 7 BODY[]<0> {3}\r\nab\
        -> nothing
        eof S
        -> C: * BYE [UNAVAILABLE] the connection to the mail server is lost
        -> not_kept the session ended before it could be fetched whole (folder=INBOX uid=7)...
        -> end fault the server closed the connection
        "#,
    );
}

#[test]
fn message_0_is_none() {
    for response in ["* 0 EXPUNGE", "* 0 FETCH (FLAGS ())"] {
        lasting(&format!(
            r#"
            S: {response}
            -> C: * BYE [UNAVAILABLE] the connection to the mail server is lost
            -> end fault the server broke the protocol...
            "#
        ));
    }
}

#[test]
fn billions_of_uids_may_vanish_at_once() {
    lasting(
        r#"
        S: * VANISHED 1:4294967295
        -> C: * VANISHED 1:4294967295
        C: c NOTIFY SET (SELECTED (MessageNew))
        -> C: c BAD not available through MailStore
        "#,
    );
}

#[test]
fn a_search_may_find_more_than_is_remembered_and_more_than_a_line_holds() {
    let mut session = session();
    let say =
        |session: &mut crate::protocol::testing::Session, side: Side, text: &str| session.feed(side, text.as_bytes());
    say(&mut session, Side::Server, "* OK\r\n");
    say(&mut session, Side::Client, "a LOGIN joe x\r\nb SELECT INBOX\r\n");
    say(&mut session, Side::Server, "a OK\r\n* 200000 EXISTS\r\n* OK [UIDVALIDITY 5]\r\nb OK\r\n");
    // All but the last ten are kept.
    session.host.known.extend((1..=150_000).map(|uid| format!("imap INBOX 5 {uid}")));
    say(&mut session, Side::Client, "c UID EXPUNGE 1:*\r\n");
    let numbers: Vec<String> = (1..=150_010).map(|uid| uid.to_string()).collect();
    say(&mut session, Side::Server, &format!("* SEARCH {}\r\nX1 OK\r\n", numbers.join(" ")));
    let sent = String::from_utf8(session.host.sent(Side::Server)).unwrap();
    assert!(sent.ends_with("X2 UID FETCH 150001:150010 (UID)\r\n"), "{}", &sent[sent.len() - 200..]);
    assert!(!String::from_utf8(session.host.sent(Side::Client)).unwrap().contains("SEARCH"));
}

#[test]
fn downloads_of_a_whole_folder_keep_few_drafts_open() {
    let mut session = session();
    session.feed(Side::Server, b"* OK\r\n");
    session.feed(Side::Client, b"a LOGIN joe x\r\nb SELECT INBOX\r\n");
    session.feed(Side::Server, b"a OK\r\n* 2000 EXISTS\r\n* OK [UIDVALIDITY 5]\r\nb OK\r\n");
    session.feed(Side::Client, b"c FETCH 1:2000 (UID BODY.PEEK[]<0.5000>)\r\n");
    let chunk = "x".repeat(5000);
    for number in 1..=2000 {
        let response = format!("* {number} FETCH (UID {number} BODY[]<0> {{5000}}\r\n{chunk})\r\n");
        session.feed(Side::Server, response.as_bytes());
        assert!(session.host.drafts_left() <= 16, "{} drafts after {number}", session.host.drafts_left());
    }
    session.feed(Side::Server, b"c OK\r\n");
    assert!(session.host.drafts_left() <= 16);
}

#[test]
fn a_message_that_ends_the_session_ends_no_other() {
    use crate::config::Follow;
    let trouble: std::sync::Arc<crate::protocol::imap::Trouble> = std::sync::Arc::default();
    let start = |follow| {
        let mut session = super::session_of(follow, std::sync::Arc::clone(&trouble));
        session.feed(Side::Server, b"* OK\r\n");
        session.feed(Side::Client, b"a LOGIN joe x\r\nb SELECT INBOX\r\n");
        session.feed(Side::Server, b"a OK\r\n* 2 EXISTS\r\n* OK [UIDVALIDITY 5]\r\nb OK\r\n");
        session
    };
    let sent =
        |session: &crate::protocol::testing::Session| String::from_utf8(session.host.sent(Side::Server)).unwrap();
    // Asked for together: either may be the one.
    let mut session = start(Follow::No);
    session.feed(Side::Client, b"c UID FETCH 7:8 BODY[1]\r\n");
    session.feed(Side::Server, b"* 1 FETCH (UID 7 BODY[1] \"a\")\r\n* 2 FETCH (UID 8 BODY[1] \"b\")\r\nc OK\r\n");
    assert!(sent(&session).ends_with("X1 UID FETCH 7:8 (UID INTERNALDATE BODY.PEEK[]<0.16>)\r\n"));
    session.feed(Side::Server, b"* BYE internal error\r\n");
    let told = session.host.lines();
    assert_eq!(
        told.iter().filter(|line| line.contains("ended the session when it was asked for it")).count(),
        2,
        "{told:#?}"
    );
    // Each alone.
    let mut session = start(Follow::No);
    session.feed(Side::Client, b"c UID FETCH 8 BODY[1]\r\n");
    session.feed(Side::Server, b"* 2 FETCH (UID 8 BODY[1] \"b\")\r\nc OK\r\n");
    assert!(sent(&session).ends_with("X1 UID FETCH 8 (UID INTERNALDATE BODY.PEEK[])\r\n"));
    session.feed(Side::Server, b"* BYE internal error\r\n");
    // It is this one: not asked for any more, not deleted, and not followed.
    let mut session = start(Follow::No);
    session.feed(Side::Client, b"c UID FETCH 8 BODY[1]\r\n");
    session.feed(Side::Server, b"* 2 FETCH (UID 8 BODY[1] \"b\")\r\nc OK\r\n");
    assert!(sent(&session).ends_with("c UID FETCH 8 BODY[1]\r\n"));
    session.feed(Side::Client, b"d UID STORE 8 +FLAGS (\\Deleted)\r\n");
    session.feed(Side::Server, b"* 2 FETCH (UID 8)\r\nX1 OK\r\n");
    assert!(String::from_utf8(session.host.sent(Side::Client)).unwrap().ends_with(
        "d NO [UNAVAILABLE] a message is not archived yet and the server does not give it, so nothing is deleted; try again later\r\n"
    ));
    let mut session = start(Follow::Inbox);
    session.rest();
    session.feed(Side::Server, b"* 2 FETCH (UID 8)\r\nX1 OK\r\n");
    session.rest();
    assert!(sent(&session).ends_with("X1 FETCH 1:2 (UID)\r\n"), "{}", sent(&session));
}

#[test]
fn a_refusal_of_our_own_question_opens_no_way() {
    lasting(
        r#"
        C: c EXPUNGE
        -> S: X1 SEARCH DELETED
        S: * SEARCH 1 3\r\nX1 OK done
        -> S: X2 FETCH 1,3 (UID)
        S: X2 BAD command line too long
        -> not_kept which messages a client deletes cannot be found out, the server says: "BAD command line too long"
        -> C: c NO [UNAVAILABLE] a message is not archived yet and the server does not give it, so nothing is deleted; try again later
        "#,
    );
    // Some are gone, but which is not said: each is asked for alone.
    lasting(
        r#"
        C: c UID STORE 7:8 +FLAGS (\\Deleted)
        -> S: X1 UID FETCH 7:8 (UID)
        S: X1 NO [EXPUNGEISSUED] some are gone
        -> S: X2 UID FETCH 8 (UID)
        S: X2 NO [EXPUNGEISSUED] some are gone
        -> S: X3 UID FETCH 7 (UID)
        S: * 1 FETCH (UID 7)\r\nX3 OK done
        -> S: X4 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        "#,
    );
    for (refusal, passes) in
        [("NO [INUSE] locked", false), ("BAD what", false), ("NO [NONEXISTENT] no such folder", true)]
    {
        let then = match passes {
            true => "-> S: e DELETE Old",
            false => {
                "-> not_kept the folder Old, which a client deletes, cannot be opened...\n-> C: e NO [UNAVAILABLE] a message is not archived yet and the server does not give it, so nothing is deleted; try again later"
            }
        };
        super::run(&format!(
            r#"
            S: * OK ready
            -> C: * OK ready
            C: a LOGIN joe secret
            -> S: a LOGIN joe secret
            S: a OK in
            -> logged_in joe@example.org
            -> C: a OK in
            C: e DELETE Old
            -> S: X1 EXAMINE "Old"
            S: X1 {refusal}
            {then}
            "#
        ));
    }
}

#[test]
fn what_goes_is_named_in_the_first_line_and_in_plain_words() {
    lasting(
        r#"
        C: c MOVE {1}
        -> C: c BAD a sequence set is expected
        C: d UID STORE {1+}\r\n7 +FLAGS.SILENT (\\Deleted)
        -> C: d BAD a literal is not expected here
        C: e UID STORE 7 {6+}\r\n+FLAGS (\\Deleted)
        -> C: e BAD a literal is not expected here
        C: f UID  EXPUNGE 7
        -> C: * BAD a tag and a command are expected
        C: g STORE 7\t+FLAGS (\\Deleted)
        -> C: g BAD a sequence set is expected
        C: h LOGOUT {3}
        -> C: h BAD a literal is not expected here
        C: i STORE 7 +FLAGS\t(\\Deleted)
        -> S: X1 FETCH 7 (UID)
        "#,
    );
}

#[test]
fn an_empty_message_that_the_client_got_is_asked_for_once_more() {
    for (command, answer) in [
        ("UID FETCH 7 BODY.PEEK[]", "BODY[] {0}\\r\\n"),
        ("UID FETCH 7 BODY.PEEK[]<0.5000>", "BODY[]<0> \"\""),
        ("UID FETCH 7 (BODY.PEEK[HEADER] BODY.PEEK[TEXT])", "BODY[HEADER] \"\" BODY[TEXT] \"\""),
    ] {
        let mut session = session();
        session.feed(Side::Server, b"* OK\r\n");
        session.feed(Side::Client, b"a LOGIN joe x\r\nb SELECT INBOX\r\n");
        session.feed(Side::Server, b"a OK\r\n* 2 EXISTS\r\n* OK [UIDVALIDITY 5]\r\nb OK\r\n");
        session.feed(Side::Client, format!("c {command}\r\n").as_bytes());
        session.feed(
            Side::Server,
            format!("* 1 FETCH (UID 7 {})\r\nc OK\r\n", answer.replace("\\r\\n", "\r\n")).as_bytes(),
        );
        let sent = String::from_utf8(session.host.sent(Side::Server)).unwrap();
        assert!(sent.ends_with("X1 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)\r\n"), "{command}: {sent}");
        assert!(!session.host.lines().iter().any(|line| line.starts_with("origin")), "{command}");
    }
}

#[test]
fn another_messages_trouble_spoils_no_answer() {
    // A download was left; the disk is full when it is fetched to its end, after another message was read.
    lasting(&format!(
        r#"
        {DOWNLOAD}
        S: )\r\nd OK done
        -> C: * 1 FETCH (UID 7 BODY[]<10> {{10}}
        -> C: 0123456789)
        -> C: d OK done
        C: e UID FETCH 8 BODY[]
        -> S: e UID FETCH 8 BODY[]
        S: * 2 FETCH (UID 8 BODY[] "b")\r\ne OK done
        -> begin 2 joe@example.org INBOX
        -> append 2 b\
        -> origin 2 imap INBOX 5 8
        -> finish 2
        -> C: * 2 FETCH (UID 8 BODY[] "b")
        -> settle
        -> S: X1 FETCH 1 (UID BODY.PEEK[]<20.262144>)
        -> C: e OK done
        fail append
        S: * 1 FETCH (UID 7 BODY[]<20> "y")\r\nX1 OK done
        -> append 1 refused
        outstanding no
        "#
    ));
}

proptest! {
    /// Whatever a server says while commands of ours are in progress, nothing panics, no draft is used after its end, and what is said is bounded.
    #[test]
    fn nonsense_in_answers_to_us(
        lines in proptest::collection::vec(
            prop_oneof![
                "\\* [0-9]{1,2} (FETCH|EXPUNGE|EXISTS|RECENT)( \\((UID [0-9]{1,2}|FLAGS \\(a\\)|BODY\\[\\](<[0-9]{1,2}>)? (NIL|\"\"|\"ab\"|\\{2\\}\r\nab)| ){0,4}\\))?",
                "X[1-4] (OK|NO|BAD)( \\[(EXPUNGEISSUED|OVERQUOTA|LIMIT)\\])? x",
                "\\* (VANISHED [0-9]{1,2}(:[0-9]{1,3})?|SEARCH( [0-9]{1,2}){0,5}|OK \\[(CLOSED|UIDVALIDITY 5|ALERT)\\] x|STATUS a \\(MESSAGES 3\\)|BYE x)",
                "[c-h] (OK|NO|BAD) x",
            ],
            0..12,
        ),
        command in prop_oneof![
            Just("UID STORE 7 +FLAGS (\\Deleted)"), Just("EXPUNGE"), Just("UID FETCH 7 BODY[1]"), Just("CLOSE"), Just("DELETE Old"),
            Just("UID FETCH 7 BODY[]<0.2>"), Just("LOGOUT"), Just("SELECT Work"),
        ],
    ) {
        let mut session = session();
        session.feed(Side::Server, b"* OK\r\n");
        session.feed(Side::Client, b"a LOGIN joe x\r\nb SELECT INBOX\r\n");
        session.feed(Side::Server, b"a OK\r\n* 9 EXISTS\r\n* OK [UIDVALIDITY 5]\r\nb OK\r\n");
        session.feed(Side::Client, format!("c {command}\r\nd NOOP\r\ne EXPUNGE\r\n").as_bytes());
        for line in &lines {
            session.feed(Side::Server, format!("{line}\r\n").as_bytes());
        }
        session.eof(Side::Client);
        session.eof(Side::Server);
        prop_assert_eq!(session.host.drafts_open(), 0);
        prop_assert!(session.host.sent(Side::Server).len() < 20_000);
    }
}
