//! Messages that are filed.

use super::*;

#[test]
fn an_append_is_prepared_before_its_last_octet_passes() {
    selected(
        r#"
        C: c APPEND Sent (\\Seen) "01-Jan-2024 00:00:00 +0000" {5}
        -> begin 1 joe@example.org .Sent outgoing size=5
        -> date 1 1704067200
        -> S: c APPEND Sent (\\Seen) "01-Jan-2024 00:00:00 +0000" {5}
        S: + go
        -> C: + go
        C: a\r\n\r\n
        -> append 1 a
        -> append 1 \r\n\
        -> S: a
        -> S: \r\
        -> prepare 1
        -> S: \n\
        -> S: \r\n\
        S: c OK done
        -> commit 1
        -> C: c OK done
        "#,
    );
    selected(
        r#"
        C: c APPEND Sent {5+}\r\na\r\nbc
        -> begin 1 joe@example.org .Sent outgoing size=5
        -> append 1 a
        -> append 1 bc\
        -> S: c APPEND Sent {5+}
        -> S: a
        -> S: b\
        -> prepare 1
        -> S: c
        S: c OK [APPENDUID 1 5] done
        -> commit 1
        -> C: c OK [APPENDUID 1 5] done
        "#,
    );
}

#[test]
fn an_append_that_the_server_refuses_leaves_nothing() {
    selected(
        r#"
        C: c APPEND Work {2+}\r\nab
        -> begin 1 joe@example.org .Work size=2
        -> append 1 ab\
        -> S: c APPEND Work {2+}
        -> S: a\
        -> prepare 1
        -> S: b
        S: c NO [TRYCREATE] no such folder
        -> abort 1
        -> C: c NO [TRYCREATE] no such folder
        C: d APPEND Work {2}
        -> begin 2 joe@example.org .Work size=2
        -> S: d APPEND Work {2}
        S: d NO no
        -> abort 2
        -> C: d NO no
        C: e NOOP
        -> S: e NOOP
        "#,
    );
}

#[test]
fn appends_in_their_odd_forms() {
    selected(
        r#"
        C: c append "Sent" (\\Seen) "01-Jan-2024 00:00:00 +0000" UTF8 (~{3+}\r\na\0b)
        -> begin 1 joe@example.org .Sent outgoing size=3
        -> date 1 1704067200
        -> append 1 a\0b\
        -> S: c append "Sent" (\\Seen) "01-Jan-2024 00:00:00 +0000" UTF8 (~{3+}
        -> S: a\0\
        -> prepare 1
        -> S: b)
        S: c OK done
        -> commit 1
        -> C: c OK done
        C: d APPEND {4+}\r\nWork {1+}\r\nx (\\Seen) {1+}\r\ny
        -> S: d APPEND {4+}
        -> S: Work\
        -> begin 2 joe@example.org .Work size=1
        -> append 2 x\
        -> S:  {1+}
        -> prepare 2
        -> S: x\
        -> begin 3 joe@example.org .Work size=1
        -> append 3 y\
        -> S:  (\\Seen) {1+}
        -> prepare 3
        -> S: y
        S: d OK done
        -> commit 2
        -> commit 3
        -> C: d OK done
        C: e APPEND Drafts {1+}\r\nx
        -> S: e APPEND Drafts {1+}
        -> S: x
        S: e OK done
        -> C: e OK done
        C: f UID REPLACE 4 Work {1+}\r\nz
        -> S: X1 UID FETCH 4 (UID)
        S: X1 OK nothing
        -> begin 4 joe@example.org .Work size=1
        -> append 4 z\
        -> S: f UID REPLACE 4 Work {1+}
        -> prepare 4
        -> S: z
        S: f OK done
        -> commit 4
        -> C: f OK done
        "#,
    );
}

#[test]
fn an_append_that_cannot_be_kept_does_not_pass() {
    selected(
        r#"
        fail begin
        C: c APPEND Sent {5}
        -> begin joe@example.org .Sent outgoing size=5 refused
        -> C: c NO [UNAVAILABLE] the message cannot be archived, try again later
        fail begin
        C: d APPEND Sent {5+}\r\nhello
        -> begin joe@example.org .Sent outgoing size=5 refused
        -> C: d NO [UNAVAILABLE] the message cannot be archived, try again later
        fail prepare
        C: e APPEND Sent {5+}\r\nhello
        -> begin 1 joe@example.org .Sent outgoing size=5
        -> append 1 hello\
        -> S: e APPEND Sent {5+}
        -> S: hell\
        -> prepare 1 refused
        -> C: e NO [UNAVAILABLE] the message cannot be archived, try again later
        -> end fault a message going up could not be kept
        "#,
    );
}

#[test]
fn messages_that_go_up_unanswered_are_not_without_number() {
    let mut session = session();
    session.feed(Side::Server, b"* OK ready\r\n");
    session.feed(Side::Client, b"a LOGIN joe pw\r\n");
    session.feed(Side::Server, b"a OK in\r\n");
    for n in 0..50 {
        session.feed(Side::Client, format!("c{n} APPEND Work {{1+}}\r\nx\r\n").as_bytes());
    }
    assert_eq!(session.host.drafts_left(), 16);
    // Each answer lets the next one go up.
    for n in 0..50 {
        session.feed(Side::Server, format!("c{n} OK done\r\n").as_bytes());
    }
    assert_eq!((session.host.drafts_left(), session.host.ended()), (0, false));
    session.feed(Side::Client, format!("d APPEND Work{}\r\n", " {1+}\r\nx".repeat(1000)).as_bytes());
    assert!(session.host.ended());
    assert_eq!(session.host.drafts_left(), 0);
    assert!(session.host.sent(Side::Client).ends_with(b"d NO [LIMIT] too many messages in one command\r\n"));
}

#[test]
fn what_is_too_large_is_refused_as_such() {
    selected(
        r#"
        fail begin large
        C: c APPEND Sent {5}
        -> begin joe@example.org .Sent outgoing size=5 refused
        -> C: c NO [TOOBIG] the message is larger than what is archived here
        C: d FETCH 1 RFC822
        -> S: d FETCH 1 RFC822
        fail begin large
        S: * 1 FETCH (RFC822 {3}\r\nabc)\r\nd OK done
        -> begin joe@example.org INBOX size=3 refused
        -> C: d NO [LIMIT] a message is larger than what is archived here and was held back
        "#,
    );
}

#[test]
fn an_append_waits_for_a_login_that_is_not_decided() {
    run(r#"
        S: * OK ready
        -> C: * OK ready
        C: a LOGIN joe pw\r\nb APPEND INBOX {1+}\r\nx
        -> S: a LOGIN joe pw
        S: a OK in
        -> logged_in joe@example.org
        -> C: a OK in
        -> begin 1 joe@example.org INBOX size=1
        -> append 1 x\
        -> S: b APPEND INBOX {1+}
        -> prepare 1
        -> S: x
    "#);
    run(r#"
        S: * OK ready
        -> C: * OK ready
        C: b APPEND INBOX {1+}\r\nx
        -> S: b APPEND INBOX {1+}
        -> S: x
        S: b NO log in first
        -> C: b NO log in first
    "#);
}
