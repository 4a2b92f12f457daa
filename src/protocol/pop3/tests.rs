//! Transcripts for every rule, each played whole, split at every byte and byte by byte; properties.

mod deleted;
mod greeting;
mod limits;
mod login;
mod message;
mod model;
mod top;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;

use super::super::testing::{Recorder, Session, learnt, transcript};
use super::*;

/// What a client is told whose reply will not come.
const LOST: &str = "-> C: -ERR [SYS/TEMP] the mail server is not there any more, come back later";

fn settings(listen_tls: TlsMode, upstream_tls: TlsMode) -> Settings {
    Settings { listen_tls, upstream_tls, default_domain: "example.com".to_owned() }
}

fn play_with(listen_tls: TlsMode, upstream_tls: TlsMode, script: &str) -> Recorder {
    transcript(|| Box::new(Pop3::new(settings(listen_tls, upstream_tls))), script)
}

fn play(script: &str) -> Recorder {
    play_with(TlsMode::None, TlsMode::Implicit, script)
}

/// The script behind a greeting and a login as me@example.com.
fn play_logged_in(script: &str) -> Recorder {
    play(&format!("{LOGIN}\n{script}"))
}

const LOGIN: &str = "
    S: +OK ready
    -> C: +OK ready
    C: USER me
    -> S: USER me
    S: +OK
    -> C: +OK
    C: PASS secret
    -> S: PASS secret
    S: +OK in
    -> logged_in me@example.com
    -> C: +OK in";

fn b64(text: &str) -> String {
    BASE64.encode(text)
}

#[test]
fn replies_are_told_apart_by_their_order() {
    play_logged_in(
        r"
        C: LIST
        C: LIST 1
        C: UIDL
        C: STAT
        C: TOP 1 0
        C: NOOP
        -> S: LIST
        -> S: LIST 1
        -> S: UIDL
        -> S: STAT
        -> S: TOP 1 0
        -> S: NOOP
        S: +OK 2 messages
        S: 1 10
        S: -ERR is a line here
        S: ..
        S: .
        S: +OK 1 10
        S: -ERR no UIDL
        S: +OK 2 20
        S: +OK
        S: Subject: x
        S:
        S: .
        S: +OK
        -> C: +OK 2 messages
        -> C: 1 10
        -> C: -ERR is a line here
        -> C: ..
        -> C: .
        -> C: +OK 1 10
        -> C: -ERR no UIDL
        -> C: +OK 2 20
        -> C: +OK
        -> C: Subject: x
        -> C:
        -> C: .
        -> C: +OK
        outstanding no
        ",
    );
}

#[test]
fn our_answers_wait_their_turn() {
    play_logged_in(
        r"
        C: NOOP
        C: XTND XMIT
        C: LIST
        C: NO\rOP
        C: NO\0OP
        C: NOOP\r
        -> S: NOOP
        -> S: LIST
        S: +OK
        -> C: +OK
        -> C: -ERR XTND is not available
        S: +OK
        S: .
        -> C: +OK
        -> C: .
        -> C: -ERR a command must not contain CR or NUL
        -> C: -ERR a command must not contain CR or NUL
        -> C: -ERR a command must not contain CR or NUL
        C: xtnd
        -> C: -ERR XTND is not available
        ",
    );
}

#[test]
fn lines_may_end_in_a_bare_lf() {
    play_logged_in(
        r"
        C: noop\n\
        -> S: noop
        S: +OK\n\
        -> C: +OK\n\
        ",
    );
}

#[test]
fn unknown_commands_pass() {
    play_logged_in(
        "C: XSENDER 1
         -> S: XSENDER 1
         S: +OK me@there
         -> C: +OK me@there
         C: UTF8
         -> S: UTF8
         S: -ERR
         -> C: -ERR
         C: LANG
         -> S: LANG
         S: +OK
         S: en English
         S: .
         -> C: +OK
         -> C: en English
         -> C: .",
    );
}

#[test]
fn quit_ends_when_a_side_closes() {
    play_logged_in(
        "C: QUIT
         -> S: QUIT
         C: NOOP
         outstanding yes
         S: +OK bye
         -> C: +OK bye
         outstanding no
         eof S
         -> end orderly QUIT",
    );
    play_logged_in(
        "C: QUIT
         -> S: QUIT
         S: +OK bye
         -> C: +OK bye
         eof C
         -> end orderly QUIT",
    );
    play_logged_in(
        "C: QUIT
         -> S: QUIT
         S: -ERR not all removed
         -> C: -ERR not all removed
         C: NOOP
         -> S: NOOP
         eof C
         outstanding yes
         S: +OK
         -> C: +OK
         outstanding no
         eof S
         -> end orderly server closed",
    );
}

#[test]
fn a_server_that_speaks_unasked() {
    play_logged_in(
        "S: +OK surprise
         -> end fault server spoke unasked",
    );
    play_logged_in(
        r"
        S: -ERR Disconnected for inactivity.
        -> C: -ERR Disconnected for inactivity.
        -> end fault server ended the session: ...
        ",
    );
    play_logged_in(
        "C: NOOP
         -> S: NOOP
         S: maybe
         -> end fault server's reply is neither +OK nor -ERR",
    );
    play_logged_in(
        "C: NOOP
         -> S: NOOP
         S: + go on
         -> end fault server's reply is neither +OK nor -ERR",
    );
}

#[test]
fn a_server_that_closes() {
    play_logged_in(
        "eof S
         -> end orderly server closed",
    );
    play_logged_in(
        "C: LIST
         -> S: LIST
         S: +OK
         S: 1 2\\
         -> C: +OK
         -> C: 1 2\\
         farewell lost none
         eof S
         -> end fault server closed with a reply outstanding",
    );
}

#[test]
fn farewells() {
    play_logged_in(
        "farewell timeout -ERR closing, nothing was said for too long
         farewell shutdown -ERR [SYS/TEMP] the mail proxy is stopping, come back later
         farewell lost -ERR [SYS/TEMP] the mail server is not there any more, come back later
         farewell not_kept -ERR [SYS/TEMP] the message could not be kept, come back later
         C: CAPA
         -> S: CAPA
         farewell shutdown -ERR [SYS/TEMP] the mail proxy is stopping, come back later
         S: +OK
         -> C: +OK
         farewell shutdown none",
    );
    assert_eq!(refusal("later"), b"-ERR [SYS/TEMP] later\r\n");
}

fn session() -> Session {
    let mut session = Session::new(Box::new(Pop3::new(settings(TlsMode::None, TlsMode::Implicit))));
    session.feed(Side::Server, b"+OK\r\n");
    session
}

fn logged_in() -> Session {
    let mut session = session();
    session.feed(Side::Client, b"USER me\r\nPASS x\r\n");
    session.feed(Side::Server, b"+OK\r\n+OK\r\n");
    session
}
