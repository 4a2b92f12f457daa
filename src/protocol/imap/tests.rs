//! Transcripts of whole IMAP sessions, each also split at every byte.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

mod append;
mod deletion;
mod elsewhere;
mod fetch;
mod idle;
mod limits;
mod login;
mod model;
mod odd;
mod partial;
mod quiet;
mod tls;

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
        learn_logins: None,
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
    transcript(|| make(follow, listen_tls, upstream_tls), script)
}

fn make(follow: Follow, listen_tls: TlsMode, upstream_tls: TlsMode) -> Box<dyn Protocol> {
    let settings = Settings {
        listen_tls,
        upstream_tls,
        default_domain: "example.org".to_string(),
        folders: Arc::new(FolderRules::new(&shared())),
        follow,
        trouble: Arc::default(),
        own_tag: "X".to_string(),
    };
    Box::new(Imap::new(settings))
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
