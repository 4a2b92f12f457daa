//! Transcripts of whole IMAP sessions, each also split at every byte.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

mod deletion;
mod limits;
mod model;
mod odd;
mod partial;
mod quiet;

use super::{FolderRules, Imap, Settings};
use crate::config::{Follow, ImapFolders, OnArchiveFailure, Shared, TlsMode};
use crate::protocol::testing::{Recorder, Session, transcript};
use crate::protocol::{Protocol, Side};

pub(super) fn shared() -> Shared {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect();
    Shared {
        spool: "mailSpool".into(),
        maildir: "%d/%n".to_string(),
        default_domain: "localhost".to_string(),
        sent_folder: "Sent".to_string(),
        skip_folders: list(&["Drafts", "Junk", "Spam", "Trash"]),
        skip_special_use: true,
        imap_folders: ImapFolders::Mirror,
        on_archive_failure: OnArchiveFailure::Refuse,
        sync: true,
        max_sessions: 1000,
        max_sessions_per_client: 200,
        max_message_size: 100 << 20,
        login_timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(1860),
        shutdown_grace: Duration::from_secs(30),
        user: None,
        group: None,
        log: log::LevelFilter::Info,
    }
}

fn run_with(listen_tls: TlsMode, upstream_tls: TlsMode, script: &str) -> Recorder {
    run_following(Follow::No, listen_tls, upstream_tls, script)
}

fn run_following(follow: Follow, listen_tls: TlsMode, upstream_tls: TlsMode, script: &str) -> Recorder {
    let make = || {
        let settings = Settings {
            listen_tls,
            upstream_tls,
            default_domain: "example.org".to_string(),
            folders: Arc::new(FolderRules::new(&shared())),
            follow,
            trouble: Arc::default(),
            own_tag: "X".to_string(),
        };
        Box::new(Imap::new(settings)) as Box<dyn Protocol>
    };
    transcript(make, script)
}

fn run(script: &str) -> Recorder {
    run_with(TlsMode::None, TlsMode::Implicit, script)
}

/// Logged in as joe, with INBOX selected.
const SELECTED: &str = r#"
    S: * OK ready
    -> C: * OK ready
    C: a LOGIN joe secret
    -> S: a LOGIN joe secret
    S: a OK in
    -> logged_in joe@example.org
    -> C: a OK in
    C: b SELECT INBOX
    -> S: b SELECT INBOX
    S: b OK selected
    -> C: b OK selected
"#;

fn selected(script: &str) -> Recorder {
    run(&format!("{SELECTED}{script}"))
}

#[test]
fn a_whole_message_is_kept_before_the_tagged_ok() {
    selected(
        r#"
        C: c UID FETCH 7 (UID BODY.PEEK[])
        -> S: c UID FETCH 7 (UID BODY.PEEK[])
        S: * 1 FETCH (UID 7 INTERNALDATE "01-Jan-2024 00:00:00 +0000" BODY[] {9}\r\nA: b\r\n\r\nx)
        -> begin 1 joe@example.org INBOX size=9
        -> append 1 A: b
        -> append 1 \r\n\
        -> append 1 x\
        -> date 1 1704067200
        -> finish 1
        -> C: * 1 FETCH (UID 7 INTERNALDATE "01-Jan-2024 00:00:00 +0000" BODY[] {9}
        -> C: A: b
        -> C: \r\n\
        -> C: x)
        S: c OK done
        -> settle
        -> C: c OK done
        outstanding no
        "#,
    );
}

#[test]
fn quoted_strings_nil_and_unsolicited_messages() {
    selected(
        r#"
        S: * 3 FETCH (RFC822 "a\\"b" UID 9)\r\n* 4 FETCH (BODY[] NIL UID 10)
        -> begin 1 joe@example.org INBOX
        -> append 1 a"b\
        -> finish 1
        -> C: * 3 FETCH (RFC822 "a\\"b" UID 9)
        -> C: * 4 FETCH (BODY[] NIL UID 10)
        C: c NOOP
        -> S: c NOOP
        S: c OK done
        -> settle
        -> C: c OK done
        "#,
    );
}

#[test]
fn header_and_text_in_one_response_in_any_order() {
    selected(
        r#"
        C: c FETCH 1 (BODY.PEEK[HEADER] BODY.PEEK[TEXT])
        -> S: c FETCH 1 (BODY.PEEK[HEADER] BODY.PEEK[TEXT])
        S: * 1 FETCH (BODY[HEADER] {6}\r\nA: b\r\n BODY[TEXT] {2}\r\nhi)
        -> begin 1 joe@example.org INBOX size=8
        -> append 1 A: b
        -> append 1 hi\
        -> finish 1
        -> C: * 1 FETCH (BODY[HEADER] {6}
        -> C: A: b
        -> C:  BODY[TEXT] {2}
        -> C: hi)
        S: * 2 FETCH (BODY[TEXT] {2}\r\nho RFC822.HEADER {6}\r\nA: c\r\n)
        -> begin 2 joe@example.org INBOX size=2
        -> append 2 ho\
        -> begin 3 joe@example.org INBOX
        -> append 3 A: c
        -> append_draft 3 2
        -> finish 3
        -> C: * 2 FETCH (BODY[TEXT] {2}
        -> C: ho RFC822.HEADER {6}
        -> C: A: c
        -> C: )
        S: c OK done
        -> settle
        -> C: c OK done
        "#,
    );
}

#[test]
fn header_and_text_in_two_commands_survive_an_expunge() {
    selected(
        r#"
        C: c FETCH 5 RFC822.HEADER
        -> S: c FETCH 5 RFC822.HEADER
        S: * 5 FETCH (RFC822.HEADER {6}\r\nA: b\r\n)\r\nc OK done
        -> C: * 5 FETCH (RFC822.HEADER {6}
        -> C: A: b
        -> C: )
        -> C: c OK done
        S: * 2 EXPUNGE
        -> C: * 2 EXPUNGE
        C: d FETCH 4 BODY.PEEK[TEXT]
        -> S: d FETCH 4 BODY.PEEK[TEXT]
        S: * 4 FETCH (BODY[TEXT] {2}\r\nhi)
        -> begin 1 joe@example.org INBOX size=8
        -> append 1 A: b
        -> append 1 hi\
        -> finish 1
        -> C: * 4 FETCH (BODY[TEXT] {2}
        -> C: hi)
        S: d OK done
        -> settle
        -> C: d OK done
        "#,
    );
}

#[test]
fn what_a_chunk_is_answered_with_may_be_whole_after_all() {
    selected(
        r#"
        C: c FETCH 7 BODY[]<0.5>
        -> S: c FETCH 7 BODY[]<0.5>
        S: * 7 FETCH (BODY[] {6}\r\n123456)
        -> begin 1 joe@example.org INBOX size=6
        -> append 1 123456\
        -> finish 1
        -> C: * 7 FETCH (BODY[] {6}
        -> C: 123456)
        "#,
    );
}

#[test]
fn message_text_and_server_text_that_look_like_protocol() {
    selected(
        r#"
        S: * OK it says {5}
        -> C: * OK it says {5}
        S: * 1 FETCH (BODY[] {32}\r\n)\r\nc OK\r\n* 1 FETCH (BODY[] {5}\r\n)
        -> begin 1 joe@example.org INBOX size=32
        -> append 1 )
        -> append 1 c OK
        -> append 1 * 1 FETCH (BODY[] {5}
        -> finish 1
        -> C: * 1 FETCH (BODY[] {32}
        -> C: )
        -> C: c OK
        -> C: * 1 FETCH (BODY[] {5}
        -> C: )
        S: * METADATA "" (/x {3}\r\n\r\n* )
        -> C: * METADATA "" (/x {3}
        -> C: \r\n* )
        S: * SEARCH 1 2 3
        -> C: * SEARCH 1 2 3
        "#,
    );
}

#[test]
fn a_message_that_cannot_be_begun_does_not_pass_and_the_session_goes_on() {
    selected(
        r#"
        C: c FETCH 1:2 RFC822
        -> S: c FETCH 1:2 RFC822
        fail begin
        S: * 1 FETCH (RFC822 {3}\r\nabc)\r\n* 2 FETCH (RFC822 {3}\r\ndef)
        -> begin joe@example.org INBOX size=3 refused
        -> begin 1 joe@example.org INBOX size=3
        -> append 1 def\
        -> finish 1
        -> C: * 2 FETCH (RFC822 {3}
        -> C: def)
        S: c OK done
        -> settle
        -> C: c NO [UNAVAILABLE] a message cannot be archived and was held back, try again later
        C: d NOOP
        -> S: d NOOP
        "#,
    );
}

#[test]
fn a_text_whose_header_cannot_be_kept_does_not_stay_open() {
    for call in ["begin", "append"] {
        let refused = match call {
            "begin" => "-> begin joe@example.org INBOX refused",
            _ => "-> begin 2 joe@example.org INBOX\n-> append 2 refused",
        };
        let recorder = selected(&format!(
            r#"
            C: c FETCH 1 (BODY[TEXT] BODY[HEADER])
            -> S: c FETCH 1 (BODY[TEXT] BODY[HEADER])
            S: * 1 FETCH (BODY[TEXT] {{2}}\r\nhi BODY[HEADER]\
            -> begin 1 joe@example.org INBOX size=2
            -> append 1 hi\
            fail {call}
            S:  {{4}}\r\nA: b)\r\nc OK done
            {refused}
            -> abort 1
            -> C: c NO [UNAVAILABLE] a message cannot be archived and was held back, try again later
            "#
        ));
        assert_eq!(recorder.drafts_left(), 0);
    }
}

#[test]
fn a_message_that_cannot_be_kept_at_the_end_ends_the_session() {
    selected(
        r#"
        C: c FETCH 1 RFC822
        -> S: c FETCH 1 RFC822
        fail settle
        S: * 1 FETCH (RFC822 "abc")\r\nc OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 abc\
        -> finish 1
        -> C: * 1 FETCH (RFC822 "abc")
        -> settle refused
        -> C: * BYE [UNAVAILABLE] a message cannot be archived at the moment, try again later
        -> end fault a message could not be kept
        "#,
    );
}

#[test]
fn a_message_that_was_not_kept_is_not_deleted_by_a_command_that_did_not_wait() {
    selected(
        r#"
        fail begin
        C: c FETCH 1 BODY[]\r\nd STORE 1 +FLAGS (\\Deleted)\r\ne EXPUNGE
        -> S: c FETCH 1 BODY[]
        S: * 1 FETCH (BODY[] "abc")\r\nc OK done
        -> begin joe@example.org INBOX refused
        -> C: * BYE [UNAVAILABLE] a message cannot be archived at the moment, try again later
        -> end fault a message could not be kept
        "#,
    );
}

#[test]
fn folders_are_mirrored_skipped_and_followed_in_the_response_stream() {
    selected(
        r#"
        C: c LIST "" *\r\nd SELECT Foo/Bar\r\ne FETCH 1 BODY[]
        -> S: c LIST "" *
        -> S: d SELECT Foo/Bar
        -> S: e FETCH 1 BODY[]
        S: * LIST (\\HasNoChildren \\Junk) "/" {7}\r\nWerbung\r\n* LIST () "/" "Foo/v1.2"\r\nc OK listed
        -> C: * LIST (\\HasNoChildren \\Junk) "/" {7}
        -> C: Werbung
        -> C: * LIST () "/" "Foo/v1.2"
        -> C: c OK listed
        S: * 9 FETCH (BODY[] "in")\r\n* 3 EXISTS\r\nd OK [READ-WRITE] selected\r\n* 1 FETCH (BODY[] "foo")
        -> begin 1 joe@example.org INBOX
        -> append 1 in\
        -> finish 1
        -> C: * 9 FETCH (BODY[] "in")
        -> C: * 3 EXISTS
        -> settle
        -> C: d OK [READ-WRITE] selected
        -> begin 2 joe@example.org .Foo.Bar
        -> append 2 foo\
        -> finish 2
        -> C: * 1 FETCH (BODY[] "foo")
        S: e OK done
        -> settle
        -> C: e OK done
        C: f SELECT "Werbung"
        -> S: f SELECT "Werbung"
        S: f OK done\r\n* 1 FETCH (BODY[] "spam" BODY[1] "spam")
        -> C: f OK done
        -> C: * 1 FETCH (BODY[] "spam" BODY[1] "spam")
        C: g SELECT {8}
        -> S: g SELECT {8}
        S: + go
        -> C: + go
        C: Foo/v1.2
        -> S: Foo/v1.2
        S: g OK done\r\n* 1 FETCH (BODY[] "x")
        -> C: g OK done
        -> begin 3 joe@example.org .Foo.v1%2E2
        -> append 3 x\
        -> finish 3
        -> C: * 1 FETCH (BODY[] "x")
        "#,
    );
}

#[test]
fn logins_in_every_form() {
    for (client, server) in [
        ("C: a LOGIN \"Joe\" \"pass {1}\"", "-> S: a LOGIN \"Joe\" \"pass {1}\""),
        ("C: a login {3+}\\r\\njoe {4+}\\r\\npa\\r\\n", "-> S: a login {3+}\n-> S: joe {4+}\n-> S: pa\n-> S: "),
        ("C: a AUTHENTICATE PLAIN AGpvZQBwdw==", "-> S: a AUTHENTICATE PLAIN AGpvZQBwdw=="),
        (
            "C: a authenticate xoauth2 dXNlcj1qb2UBYXV0aD1CZWFyZXIgdAEB",
            "-> S: a authenticate xoauth2 dXNlcj1qb2UBYXV0aD1CZWFyZXIgdAEB",
        ),
    ] {
        run(&format!(
            r#"
            S: * OK ready
            -> C: * OK ready
            {client}
            {server}
            outstanding yes
            S: a OK [CAPABILITY IMAP4rev1 IDLE COMPRESS=DEFLATE] in
            -> logged_in joe@example.org
            -> C: a OK [CAPABILITY IMAP4rev1 IDLE] in
            outstanding no
            "#
        ));
    }
}

#[test]
fn synchronizing_literals_wait_for_the_server() {
    run(r#"
        S: * OK ready
        -> C: * OK ready
        C: a LOGIN {3}
        -> S: a LOGIN {3}
        S: + user
        -> C: + user
        C: joe {2}
        -> S: joe {2}
        S: + password
        -> C: + password
        C: pw
        -> S: pw
        S: a OK in
        -> logged_in joe@example.org
        -> C: a OK in
    "#);
    // Refused: the literal does not come, the next line is a command.
    run(r#"
        S: * OK ready
        -> C: * OK ready
        C: a LOGIN {3}
        -> S: a LOGIN {3}
        S: a BAD no literals
        -> C: a BAD no literals
        C: b NOOP
        -> S: b NOOP
        S: b OK done
        -> C: b OK done
    "#);
}

#[test]
fn a_sasl_exchange_is_in_lock_step() {
    run(r#"
        S: * OK ready
        -> C: * OK ready
        C: x NOOP\r\na AUTHENTICATE LOGIN
        -> S: x NOOP
        -> S: a AUTHENTICATE LOGIN
        S: x OK done\r\n+ VXNlcm5hbWU6
        -> C: x OK done
        -> C: + VXNlcm5hbWU6
        C: am9l
        -> S: am9l
        S: + UGFzc3dvcmQ6
        -> C: + UGFzc3dvcmQ6
        C: cHc=
        -> S: cHc=
        S: a NO wrong
        -> C: a NO wrong
        C: b AUTHENTICATE PLAIN
        -> S: b AUTHENTICATE PLAIN
        S: + 
        -> C: + 
        C: *
        -> S: *
        S: b BAD cancelled
        -> C: b BAD cancelled
        C: c NOOP
        -> S: c NOOP
    "#);
}

#[test]
fn a_login_that_names_nobody_ends_the_session() {
    for (command, more) in [
        ("a LOGIN \"\" pw", ""),
        ("a AUTHENTICATE PLAIN", "S: + \n-> C: + \nC: *\n-> S: *\n"),
        ("a AUTHENTICATE PLAIN =", "S: + \n-> C: + \nC: \n-> S: \n"),
    ] {
        run(&format!(
            r#"
            S: * OK ready
            -> C: * OK ready
            C: {command}
            -> S: {command}
            {more}
            S: a OK in
            -> C: * BYE [UNAVAILABLE] the login does not say whose mailbox it is for
            -> end fault the server accepted a login that named no user
            "#
        ));
    }
}

#[test]
fn a_message_before_any_login_ends_the_session() {
    run(r#"
        S: * OK ready
        -> C: * OK ready
        C: a\tLOGIN joe pw\r\na LOGIN\tjoe pw
        -> C: * BAD a tag and a command are expected
        -> C: * BAD a tag and a command are expected
        C: a X
        -> S: a X
        S: a OK in\r\n* 1 FETCH (BODY[] "x")
        -> C: a OK in
        -> C: * BYE [UNAVAILABLE] the connection to the mail server is lost
        -> end fault the server broke the protocol: it shows a message to nobody who is logged in
    "#);
}

#[test]
fn what_has_to_be_read_is_no_literal() {
    run(r#"
        S: * OK ready
        -> C: * OK ready
        C: a AUTHENTICATE PLAIN {12+}\r\nAGpvZQBwdw==
        -> C: a BAD an initial response is no literal
        C: b ENABLE CONDSTORE {7+}\r\nUIDONLY
        -> C: b BAD ENABLE takes atoms
        C: c NOOP
        -> S: c NOOP
    "#);
}

#[test]
fn mechanisms_that_hide_the_identity_are_refused() {
    run(r#"
        S: * OK [CAPABILITY IMAP4rev1 AUTH=GSSAPI AUTH=PLAIN AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-256-PLUS] ready
        -> C: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready
        C: a AUTHENTICATE GSSAPI
        -> C: a NO this authentication mechanism is not available through MailStore
        C: b AUTHENTICATE SCRAM-SHA-256-PLUS {3+}\r\nabc
        -> C: b NO this authentication mechanism is not available through MailStore
        C: c NOOP
        -> S: c NOOP
    "#);
}

#[test]
fn what_would_blind_us_is_refused() {
    selected(
        r#"
        S: * CAPABILITY IMAP4rev1 COMPRESS=DEFLATE BINARY CATENATE IDLE
        -> C: * CAPABILITY IMAP4rev1 IDLE
        C: c COMPRESS DEFLATE
        -> C: c BAD not available through MailStore
        C: d ENABLE CONDSTORE UIDONLY
        -> S: d ENABLE CONDSTORE
        S: * ENABLED CONDSTORE\r\nd OK done
        -> C: * ENABLED CONDSTORE
        -> C: d OK done
        C: e ENABLE IMAP4rev2
        -> C: * ENABLED
        -> C: e OK nothing to enable
        C: f APPEND INBOX CATENATE (URL "/x" TEXT {3+}\r\nabc)
        -> C: f BAD CATENATE is not available through MailStore
        C: g STARTTLS
        -> C: g BAD STARTTLS is not offered
        C: h UNAUTHENTICATE
        -> C: h BAD not available through MailStore
        "#,
    );
}

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

#[test]
fn idle_ends_with_done() {
    selected(
        r#"
        C: c IDLE
        -> S: c IDLE
        S: + idling\r\n* 5 EXISTS
        -> C: + idling
        -> C: * 5 EXISTS
        outstanding no
        C: d NOOP
        -> C: * BAD only DONE may follow IDLE
        C: done\r\ne NOOP
        -> S: DONE
        -> S: e NOOP
        S: c OK idled\r\ne OK done
        -> C: c OK idled
        -> C: e OK done
        "#,
    );
}

#[test]
fn an_idle_that_ends_leaves_the_next_one_alone() {
    selected(
        r#"
        C: c IDLE
        -> S: c IDLE
        S: + idling
        -> C: + idling
        C: DONE\r\nd IDLE
        -> S: DONE
        -> S: d IDLE
        S: c OK idled\r\n+ idling
        -> C: c OK idled
        -> C: + idling
        C: DONE
        -> S: DONE
        S: d OK idled
        -> C: d OK idled
        C: e NOOP
        -> S: e NOOP
        "#,
    );
}

#[test]
fn the_continuation_of_an_idle_is_not_the_literals_behind_it() {
    // Taken for the literal's, it would let the next lines pass unread when the literal is refused.
    selected(
        r#"
        C: c IDLE\r\nDONE\r\nd APPEND Work {30}
        -> S: c IDLE
        -> S: DONE
        -> begin 1 joe@example.org .Work size=30
        -> S: d APPEND Work {30}
        S: + idling
        -> C: + idling
        S: c OK idled\r\nd NO [OVERQUOTA] no
        -> C: c OK idled
        -> abort 1
        -> C: d NO [OVERQUOTA] no
        C: e COMPRESS DEFLATE
        -> C: e BAD not available through MailStore
        "#,
    );
}

#[test]
fn a_login_that_fails_is_told_without_what_was_typed() {
    let recorder = run(r#"
        S: * OK ready
        -> C: * OK ready
        C: a LOGIN hunter1 hunter2
        -> S: a LOGIN hunter1 hunter2
        S: a NO [AUTHENTICATIONFAILED] hunter3
        -> C: a NO [AUTHENTICATIONFAILED] hunter3
        C: b AUTHENTICATE PLAIN AGpvZQBodW50ZXIy
        -> S: b AUTHENTICATE PLAIN AGpvZQBodW50ZXIy
        S: b NO no
        -> C: b NO no
        "#);
    assert_eq!(
        recorder.notes,
        ["login failed: the server refused it [AUTHENTICATIONFAILED]", "login failed: the server refused it"]
    );
}

#[test]
fn starttls_with_the_client() {
    let recorder = run_with(
        TlsMode::StartTls,
        TlsMode::Implicit,
        r#"
        S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN STARTTLS] ready
        -> C: * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready
        C: a LOGIN joe {2+}\r\npw
        -> C: a NO [PRIVACYREQUIRED] STARTTLS first
        C: b CAPABILITY\r\nc STARTTLS
        -> S: b CAPABILITY
        S: * CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nb OK done
        -> C: * CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED
        -> C: b OK done
        -> C: c OK begin TLS now
        -> start_tls C
        tls C
        C: d CAPABILITY
        -> S: d CAPABILITY
        S: * CAPABILITY IMAP4rev1 AUTH=PLAIN STARTTLS\r\nd OK done
        -> C: * CAPABILITY IMAP4rev1 AUTH=PLAIN
        -> C: d OK done
        C: e STARTTLS
        -> C: e BAD STARTTLS is not offered
        "#,
    );
    run_with(
        TlsMode::StartTls,
        TlsMode::Implicit,
        r#"
        S: * OK ready
        -> C: * OK ready
        C: a STARTTLS\r\nb LOGIN joe pw
        -> C: a OK begin TLS now
        -> start_tls C
        -> injection C
        "#,
    );
    assert_eq!(recorder.notes, ["login failed: the client asked for it without STARTTLS"]);
}

#[test]
fn nothing_of_the_servers_reaches_the_client_before_its_tls() {
    let begun = r#"
        S: * OK ready
        -> C: * OK ready
        C: a STARTTLS
        -> C: a OK begin TLS now
        -> start_tls C
    "#;
    run_with(
        TlsMode::StartTls,
        TlsMode::Implicit,
        &format!(
            r#"{begun}
            S: * OK [ALERT] in plaintext
            -> nothing
            farewell lost none
            tls C
            -> C: * OK [ALERT] in plaintext
            "#
        ),
    );
}

#[test]
fn starttls_with_the_server() {
    run_with(
        TlsMode::None,
        TlsMode::StartTls,
        r#"
        C: a CAPABILITY
        S: * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready
        -> S: MAILSTORE1 STARTTLS
        S: * CAPABILITY FORGED\r\nMAILSTORE1 OK go
        -> start_tls S
        tls S
        -> C: * OK ready
        -> S: a CAPABILITY
        S: * CAPABILITY IMAP4rev1 AUTH=PLAIN LOGINDISABLED\r\na OK done
        -> C: * CAPABILITY IMAP4rev1 AUTH=PLAIN
        -> C: a OK done
        "#,
    );
    run_with(
        TlsMode::None,
        TlsMode::StartTls,
        r#"
        S: * OK ready
        -> S: MAILSTORE1 STARTTLS
        S: MAILSTORE1 OK go\r\n* OK injected
        -> start_tls S
        -> injection S
        "#,
    );
    run_with(
        TlsMode::None,
        TlsMode::StartTls,
        r#"
        S: * OK ready
        -> S: MAILSTORE1 STARTTLS
        S: MAILSTORE1 BAD unknown command
        -> C: * BYE [UNAVAILABLE] the connection to the mail server is lost
        -> end fault upstream_tls = starttls, but the server answers STARTTLS with: ...
        "#,
    );
}

#[test]
fn a_referral_in_a_farewell_does_not_pass() {
    selected(
        r#"
        S: * BYE [REFERRAL IMAP://joe@other.example/] go there
        -> C: * BYE go there
        "#,
    );
    run(r#"
        S: * BYE [REFERRAL IMAP://other.example/] go there
        -> C: * BYE go there
        -> end fault the server refused the connection...
    "#);
}

#[test]
fn a_select_that_was_not_understood_leaves_the_mailbox_selected() {
    selected(
        r#"
        C: c SELECT Work
        -> S: c SELECT Work
        S: c OK done
        -> C: c OK done
        C: d SELECT Foo (X)
        -> S: d SELECT Foo (X)
        S: d BAD no such parameter\r\n* 1 FETCH (BODY[] "x")
        -> C: d BAD no such parameter
        -> begin 1 joe@example.org .Work
        -> append 1 x\
        -> finish 1
        -> C: * 1 FETCH (BODY[] "x")
        "#,
    );
}

#[test]
fn a_literal_behind_a_long_line_with_quotes_is_seen() {
    let mut session = session();
    session.feed(Side::Server, b"* OK ready\r\n");
    session.feed(Side::Client, b"b NOOP\r\n");
    let long = "x".repeat(70_000);
    // The closing quote stands where an opening one might.
    let response = format!("* METADATA \"\" (/a \"{long} \" /b {{9}}\r\nb OK x)\r\n)\r\n");
    session.feed(Side::Server, response.as_bytes());
    assert!(session.protocol().outstanding());
    session.feed(Side::Server, b"b OK done\r\n");
    assert!(!session.protocol().outstanding() && !session.host.ended());
}

#[test]
fn greetings_that_cannot_be_served() {
    run(r#"
        S: * PREAUTH hello
        -> C: * BYE [UNAVAILABLE] the connection to the mail server is lost
        -> end fault the server greets with PREAUTH...
    "#);
    run(r#"
        S: * BYE too busy
        -> C: * BYE too busy
        -> end fault the server refused the connection...
    "#);
    run(r#"
        S: 220 smtp
        -> C: * BYE [UNAVAILABLE] the connection to the mail server is lost
        -> end fault this is no IMAP server...
    "#);
    run(r#"
        eof S
        -> C: * BYE [UNAVAILABLE] the connection to the mail server is lost
        -> end fault the server closed the connection before its greeting was complete
    "#);
}

#[test]
fn logout_forgets_the_login() {
    for side in ["S", "C"] {
        selected(&format!(
            r#"
            C: c LOGOUT
            -> S: c LOGOUT
            S: * BYE bye\r\nc OK done
            -> C: * BYE bye
            -> logged_out
            -> C: c OK done
            eof {side}
            -> end orderly logout
            "#,
        ));
    }
}

#[test]
fn a_server_that_loses_its_place_ends_the_session() {
    for line in [
        "* 1 FETCH (BODY[] {9223372036854775808}",
        "* 1 FETCH (UID 1) x",
        "* 1 FETCH (ENVELOPE (\"abc",
        "* 4294967296 FETCH (UID 1)",
        "zz OK nobody asked",
    ] {
        selected(&format!(
            "S: {line}\n-> C: * BYE [UNAVAILABLE] the connection to the mail server is lost\n-> end fault the server broke the protocol..."
        ));
    }
    selected(
        r#"
        S: * LIST () {99999999999999999999}
        -> C: * LIST () {99999999999999999999}
        -> end fault the server broke the protocol: a literal is larger than any number
        "#,
    );
    selected(
        r#"
        S: * LIST () "/" {27+}
        -> C: * LIST () "/" {27+}
        -> end fault the server broke the protocol: a literal is announced as clients do
        "#,
    );
}

#[test]
fn a_logout_that_is_refused_is_none() {
    selected(
        r#"
        C: c LOGOUT now
        -> S: c LOGOUT now
        S: c BAD no arguments
        -> C: c BAD no arguments
        C: d NOOP
        -> S: d NOOP
        S: * 1 FETCH (BODY[] "x")
        -> begin 1 joe@example.org INBOX
        -> append 1 x\
        -> finish 1
        -> C: * 1 FETCH (BODY[] "x")
        "#,
    );
}

#[test]
fn broken_commands_are_answered_here() {
    selected(
        r#"
        C: \0
        -> C: * BAD a tag and a command are expected
        C: c NO\rOP
        -> C: c BAD a command may not contain CR or NUL
        C: c X {99999999999999999999}
        -> C: c BAD the literal is too large, or none
        C: c NOOP\r\nc NOOP
        -> S: c NOOP
        -> C: * BAD the tag of a command that is still in progress
        C: d X {99999999999999999999+}
        -> C: d BAD the literal is too large, or none
        -> end fault the client sent a literal whose length is none
        "#,
    );
}

/// Feeds the same again and again, up to so many octets, until the session ends.
fn flood(session: &mut Session, from: Side, bytes: &[u8], octets: usize) {
    let many = bytes.repeat(16 * 1024 / bytes.len());
    for _ in 0..octets / many.len() {
        session.feed(from, &many);
    }
}

#[test]
fn a_command_of_nothing_but_empty_literals_has_an_end() {
    let mut session = session();
    session.feed(Side::Server, b"* OK ready\r\n");
    session.feed(Side::Client, b"c X ");
    flood(&mut session, Side::Client, b"{0+}\r\n", 1024 * 1024);
    assert!(session.host.sent(Side::Server).len() < 512 * 1024);
    session.feed(Side::Client, b"\r\n");
    assert_eq!(session.host.sent(Side::Client), b"* OK ready\r\nc BAD the command is too long\r\n");
    assert!(session.host.ended());
}

#[test]
fn a_listing_of_nothing_but_empty_literals_is_not_remembered() {
    let mut session = imap();
    let mut host = Recorder::default();
    session.input(Side::Server, b"* OK ready\r\n* LIST () \"/\" ", &mut host);
    for _ in 0..100_000 {
        session.input(Side::Server, b"{0}\r\n", &mut host);
    }
    assert!(session.server.listing.is_none());
}

#[test]
fn answers_of_ours_do_not_pile_up_behind_a_response_that_stands_still() {
    let mut session = imap();
    let mut host = Recorder::default();
    session.input(Side::Server, b"* OK ready\r\n* LIST () \"/\" {5}\r\nab", &mut host);
    let taken = session.input(Side::Client, &b"x\r\n".repeat(100_000), &mut host);
    assert!(taken < 3_000, "{taken}");
    session.input(Side::Server, b"cde\r\n", &mut host);
    assert_eq!(session.input(Side::Client, b"x\r\n", &mut host), 3);
}

#[test]
fn a_command_that_is_held_back_survives_the_end_of_the_clients_stream() {
    let mut session = session();
    session.feed(Side::Server, b"* OK ready\r\n");
    for n in 0..1000 {
        session.feed(Side::Client, format!("c{n} NOOP\r\n").as_bytes());
    }
    session.feed(Side::Client, b"z LOGOUT\r\n");
    session.eof(Side::Client);
    for n in 0..1000 {
        assert!(session.protocol().outstanding());
        session.feed(Side::Server, format!("c{n} OK done\r\n").as_bytes());
    }
    assert!(session.host.sent(Side::Server).ends_with(b"z LOGOUT\r\n"));
}

#[test]
fn bare_line_feeds_become_line_ends() {
    selected("C: c NOOP\\n\\\n-> S: c NOOP\n");
}

/// A session's bytes, and where each side has to have heard the other first.
fn long_session() -> Vec<(Side, Vec<u8>)> {
    let message: Vec<u8> = (0..9000u32).flat_map(|i| format!("line {i} {{5}}\r\n)\r\n").into_bytes()).collect();
    let (announced, appending) = (
        format!("* 1 FETCH (UID 7 BODY[] {{{}}}\r\n", message.len()),
        format!("d APPEND Sent {{{}+}}\r\n", message.len()),
    );
    let fetched = [
        announced.as_bytes(),
        &message,
        b" FLAGS (\\Seen))\r\n* 2 FETCH (BODY[HEADER] {4}\r\nA:\r\n BODY[TEXT] {0}\r\n)\r\nc OK done\r\n",
    ]
    .concat();
    let appended = [appending.as_bytes(), &message, b"\r\ne NOOP\r\n"].concat();
    vec![
        (Side::Server, b"* OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] ready\r\n".to_vec()),
        (Side::Client, b"a LOGIN {3+}\r\njoe pw\r\n".to_vec()),
        (Side::Server, b"a OK in\r\n".to_vec()),
        (Side::Client, b"b SELECT INBOX\r\nc FETCH 1:* (BODY[])\r\n".to_vec()),
        (Side::Server, [b"b OK in\r\n", &fetched[..]].concat()),
        (Side::Client, appended),
        (Side::Server, b"* 3 EXISTS\r\nd OK done\r\ne OK done\r\n".to_vec()),
    ]
}

fn imap() -> Imap {
    imap_of(Follow::No, Arc::default())
}

fn imap_of(follow: Follow, trouble: Arc<super::Trouble>) -> Imap {
    let settings = Settings {
        listen_tls: TlsMode::None,
        upstream_tls: TlsMode::Implicit,
        default_domain: "example.org".to_string(),
        folders: Arc::new(FolderRules::new(&shared())),
        follow,
        trouble,
        own_tag: "X".to_string(),
    };
    Imap::new(settings)
}

fn session_of(follow: Follow, trouble: Arc<super::Trouble>) -> Session {
    Session::new(Box::new(imap_of(follow, trouble)))
}

fn session() -> Session {
    Session::new(Box::new(imap()))
}

#[test]
fn what_stands_behind_a_long_message_passes_before_its_end_in_any_pieces() {
    let response = format!("* 1 FETCH (BODY[] {{20000}}\r\n{} UID 7)\r\n", "x".repeat(20_000));
    let lines = |cut: usize| {
        let mut session = session();
        session.feed(Side::Server, b"* OK ready\r\n");
        session.feed(Side::Client, b"a LOGIN joe pw\r\n");
        session.feed(Side::Server, b"a OK in\r\n");
        let (before, behind) = response.as_bytes().split_at(cut);
        session.feed(Side::Server, before);
        session.feed(Side::Server, behind);
        session.host.lines()
    };
    for cut in response.len() - 10..response.len() {
        assert_eq!(lines(cut), lines(0), "at {cut}");
    }
}

/// Found by `scripts/fuzz imap`: the session was ended twice.
#[test]
fn a_literal_larger_than_any_number_in_the_middle_of_a_command_ends_the_session_once() {
    run(r"
        S: * OK ready
        -> C: * OK ready
        C: c NOOP {4+}\r\nWork {99999999999999999999+}
        -> S: c NOOP {4+}
        -> S: Work\
        -> C: c BAD the literal is too large, or none
        -> end fault the client sent a literal whose length is none
        ");
}

/// Found by `scripts/fuzz imap`: a piece that broke the protocol was dropped, what stood before the fault in it as well, and the client got a BYE or none.
#[test]
fn a_long_response_passes_up_to_where_it_breaks_whatever_the_pieces() {
    let response = format!("* 1 FETCH (FLAGS (a) X ({}\r\n", "{3}\r\nabc ".repeat(3000));
    let lines = |piece: usize| {
        let mut session = session();
        session.feed(Side::Server, b"* OK ready\r\n");
        session.feed(Side::Client, b"a LOGIN joe secret\r\n");
        session.feed(Side::Server, b"a OK in\r\n");
        response.as_bytes().chunks(piece).for_each(|piece| session.feed(Side::Server, piece));
        session.host.lines()
    };
    let whole = lines(usize::MAX);
    assert!(whole.iter().any(|line| line.starts_with("end fault ")) && !whole.iter().any(|line| line.contains("BYE")));
    for piece in [1, 7, 1000] {
        assert!(lines(piece) == whole, "in pieces of {piece}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However the bytes are cut, the same happens, and what passes is what came but for the named changes.
    #[test]
    fn any_chunking_gives_the_same(sizes in proptest::collection::vec(1usize..20_000, 1..50)) {
        let mut sizes = sizes.into_iter().cycle();
        let mut plain = session();
        let mut cut = session();
        let mut said = [Vec::new(), Vec::new()];
        for (side, bytes) in long_session() {
            plain.feed(side, &bytes);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
                cut.feed(side, piece);
                rest = after;
            }
            said[usize::from(side == Side::Server)].extend(bytes);
        }
        let (left, right) = (plain.host.lines(), cut.host.lines());
        let differs = left.iter().zip(&right).position(|(left, right)| left != right);
        let differs = differs.map(|at| (at, &left[at.saturating_sub(2)..at + 2], &right[at.saturating_sub(2)..at + 2]));
        prop_assert_eq!(differs, None);
        prop_assert_eq!(left.len(), right.len());
        prop_assert_eq!(plain.host.sent(Side::Server), said[0].clone());
        let expected = String::from_utf8_lossy(&said[1]).replace(" COMPRESS=DEFLATE", "");
        prop_assert_eq!(plain.host.sent(Side::Client), expected.into_bytes());
        prop_assert_eq!(plain.host.drafts_left(), 0);
    }

    /// No bytes of either side make it panic, use a draft wrongly, or send after the end.
    #[test]
    fn no_bytes_do_harm(pieces in proptest::collection::vec((any::<bool>(), piece()), 0..40)) {
        let mut session = session();
        session.feed(Side::Server, b"* OK ready\r\n");
        session.feed(Side::Client, b"a LOGIN joe pw\r\nb SELECT INBOX\r\n");
        session.feed(Side::Server, b"a OK in\r\nb OK in\r\n");
        for (client, bytes) in pieces {
            session.feed(if client { Side::Client } else { Side::Server }, &bytes);
        }
        session.eof(Side::Client);
        session.eof(Side::Server);
    }
}

/// Fragments from which commands and responses are made, and noise.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let fragments = [
        "c FETCH 1 BODY[]\r\n",
        "c ",
        "d ",
        "* ",
        "1 FETCH (",
        "BODY[] {3}\r\n",
        "BODY[HEADER] \"a\"",
        "BODY[TEXT] {2}\r\n",
        "abc",
        ")\r\n",
        "\r\n",
        "c OK x\r\n",
        "d OK x\r\n",
        "d NO x\r\n",
        "+ go\r\n",
        "d APPEND Sent {3}\r\n",
        "d APPEND Sent {3+}\r\n",
        "d APPEND {4+}\r\nWork {3+}\r\n",
        "e IDLE\r\n",
        "DONE\r\n",
        "e OK x\r\n",
        "f AUTHENTICATE PLAIN\r\n",
        "AGEAYg==\r\n",
        "f OK x\r\n",
        "g LOGOUT\r\n",
        "g OK x\r\n",
        "* BYE x\r\n",
        "* 1 EXPUNGE\r\n",
        "* LIST (\\Sent) \"/\" {4}\r\n",
        "UID 5",
        " ",
        "(",
        "\"",
        "\\",
        "{",
        "}",
        "h COMPRESS DEFLATE\r\n",
        "* VANISHED 1:5\r\n",
    ];
    prop_oneof![
        proptest::sample::select(fragments.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..6),
    ]
}
