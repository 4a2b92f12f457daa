//! What is left behind in a folder, by a client that goes to another or a server that closes it.

use super::make;
use super::partial::{TWO_IN_PART, lasting};
use crate::config::{Follow, TlsMode};
use crate::protocol::Side;
use crate::protocol::testing::Session;

#[test]
fn what_is_left_behind_in_a_folder_is_fetched_when_the_client_comes_back_or_leaves() {
    let big = "x".repeat(30);
    // Two messages are due; while the client waits for its SELECT so much comes that it need not wait for the rest.
    let left_behind = format!(
        r#"
        C: c UID FETCH 7:8 BODY[1]\r\nd SELECT Work
        -> S: c UID FETCH 7:8 BODY[1]
        S: * 1 FETCH (UID 7 BODY[1] "a")\r\n* 2 FETCH (UID 8 BODY[1] "b")\r\nc OK done
        -> C: * 1 FETCH (UID 7 BODY[1] "a")
        -> C: * 2 FETCH (UID 8 BODY[1] "b")
        -> S: X1 UID FETCH 7:8 (UID INTERNALDATE BODY.PEEK[]<0.16>)
        # More than was asked for: that is all of it.
        S: * 1 FETCH (UID 7 BODY[] {{30}}\r\n{big})\r\n* 2 FETCH (UID 8 BODY[]<0> {{16}}\r\n0123456789abcdef)\r\nX1 OK done
        -> begin 1 joe@example.org INBOX size=30
        -> append 1 {big}\
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> begin 2 joe@example.org INBOX
        -> append 2 0123456789abcdef\
        -> settle
        -> S: d SELECT Work
        -> C: c OK done
        S: * OK [UIDVALIDITY 9] x\r\nd OK done
        -> C: * OK [UIDVALIDITY 9] x
        -> C: d OK done
        "#
    );
    lasting(&format!(
        r#"
        {left_behind}
        C: e SELECT INBOX
        -> S: e SELECT INBOX
        S: * OK [UIDVALIDITY 5] x\r\ne OK done
        -> C: * OK [UIDVALIDITY 5] x
        -> C: e OK done
        C: f LOGOUT
        -> S: X2 UID FETCH 8 (UID BODY.PEEK[]<16.262144>)
        S: * 2 FETCH (UID 8 BODY[]<16> "y")\r\nX2 OK done
        -> append 2 y\
        -> origin 2 imap INBOX 5 8
        -> finish 2
        -> settle
        -> S: f LOGOUT
        "#
    ));
    // Back, and away again before anything could be asked for.
    lasting(&format!(
        r#"
        {left_behind}
        C: e SELECT INBOX\r\nf SELECT Work
        -> S: e SELECT INBOX
        -> S: f SELECT Work
        S: * OK [UIDVALIDITY 5] x\r\ne OK done
        -> C: * OK [UIDVALIDITY 5] x
        -> C: e OK done
        S: * OK [UIDVALIDITY 9] x\r\nf OK done
        -> C: * OK [UIDVALIDITY 9] x
        -> C: f OK done
        C: g LOGOUT
        -> S: X2 EXAMINE "INBOX"
        "#
    ));
    for leave in ["eof C", "C: e LOGOUT"] {
        let end = if leave == "eof C" { "-> S: X4 LOGOUT" } else { "-> S: e LOGOUT" };
        lasting(&format!(
            r#"
            {left_behind}
            {leave}
            -> S: X2 EXAMINE "INBOX"
            S: * FLAGS (x)\r\n* 9 EXISTS\r\n* OK [UIDVALIDITY 5] x\r\nX2 OK [READ-ONLY] done
            -> S: X3 UID FETCH 8 (UID BODY.PEEK[]<16.262144>)
            S: * 2 FETCH (UID 8 BODY[]<16> "y")\r\nX3 OK done
            -> append 2 y\
            -> origin 2 imap INBOX 5 8
            -> finish 2
            -> settle
            {end}
            "#
        ));
    }
    for (answer, why) in [
        (
            "* OK [UIDVALIDITY 6] x\\r\\nX2 OK done",
            "the server has given the folder new UIDs before it could be fetched whole",
        ),
        ("X2 NO gone", "the server does not open its folder again: NO\\x20gone"),
    ] {
        lasting(&format!(
            r#"
            {left_behind}
            C: e LOGOUT
            -> S: X2 EXAMINE "INBOX"
            S: {answer}
            -> abort 2
            -> not_kept {why} (folder=INBOX uid=8)...
            -> S: e LOGOUT
            "#
        ));
    }
}

#[test]
fn a_folder_that_the_server_closes_while_it_answers_us_leaves_nothing_asked_for() {
    let script = r#"
        S: * OK [CLOSED] gone\r\nX1 OK done
        -> C: * OK [CLOSED] gone
        -> C: c OK done
        C: d SELECT INBOX
        -> S: d SELECT INBOX
        S: * OK [UIDVALIDITY 5] x\r\nd OK done
        -> C: * OK [UIDVALIDITY 5] x
        -> C: d OK done
        C: e LOGOUT
        -> S: X2 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        # It is named at its end only, and is the one that is asked for: there is no other.
        S: * 1 FETCH (BODY[]<0> "a" UID 7)\r\nX2 OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 a\
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> settle
        -> S: X3 UID FETCH 8 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        "#;
    lasting(&[TWO_IN_PART, script].concat());
}

#[test]
fn what_was_left_behind_before_the_server_closed_the_folder_comes_first() {
    let mut session = Session::new(make(Follow::No, TlsMode::None, TlsMode::Implicit));
    session.feed(Side::Server, b"* OK ready\r\n");
    session.feed(Side::Client, b"a LOGIN joe secret\r\nb SELECT INBOX\r\n");
    session.feed(Side::Server, b"a OK in\r\n* 90 EXISTS\r\n* OK [UIDVALIDITY 5] x\r\nb OK selected\r\n");
    // So many that most wait for another time, when the client leaves; but the server does not let it.
    session.feed(Side::Client, b"c UID FETCH 7:30 BODY[1]\r\nd SELECT Work\r\n");
    for uid in 7..=30 {
        session.feed(Side::Server, format!("* {} FETCH (UID {uid} BODY[1] \"a\")\r\n", uid - 6).as_bytes());
    }
    session.feed(Side::Server, b"c OK done\r\n");
    for uid in 7..=8 {
        let piece = format!("* {} FETCH (UID {uid} BODY[]<0> \"0123456789abcdef\")\r\n", uid - 6);
        session.feed(Side::Server, piece.as_bytes());
    }
    session.feed(Side::Server, b"X1 OK done\r\n");
    session.feed(Side::Server, b"d BAD no\r\n");
    session.feed(Side::Client, b"e UID FETCH 50 BODY[1]\r\n");
    session.feed(Side::Server, b"* 44 FETCH (UID 50 BODY[1] \"a\")\r\ne OK done\r\n");
    session.feed(Side::Server, b"* OK [CLOSED] gone\r\nX2 OK done\r\n");
    session.feed(Side::Client, b"f SELECT INBOX\r\n");
    session.feed(Side::Server, b"* OK [UIDVALIDITY 5] x\r\nf OK done\r\n");
    session.feed(Side::Client, b"g LOGOUT\r\n");
    session.feed(Side::Server, b"X3 OK done\r\n");
    let sent = session.host.sent(Side::Server).escape_ascii().to_string();
    assert!(
        sent.contains("X2 UID FETCH 50 ") && sent.contains("X3 UID FETCH 7 ") && sent.contains("X4 UID FETCH 7 "),
        "{sent}"
    );
}
