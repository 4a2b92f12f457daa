//! Transcripts for every rule, each played whole, split at every byte and byte by byte; properties.

mod deleted;
mod model;
mod top;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;

use super::super::testing::{Recorder, Session, transcript};
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

// ---- greeting, TLS -------------------------------------------------------------------------------------------------

#[test]
fn the_greeting_passes_byte_for_byte_and_the_client_waits_for_it() {
    play(
        r"
        outstanding yes
        C: NOOP
        S: +OK  dovecot <1896.697170952@dbc.mtview.ca.us>
        -> C: +OK  dovecot <1896.697170952@dbc.mtview.ca.us>
        -> S: NOOP
        outstanding yes
        S: +OK
        -> C: +OK
        outstanding no
        ",
    );
}

#[test]
fn a_server_that_does_not_greet() {
    play(
        r"
        S: -ERR too many connections
        -> C: -ERR too many connections
        -> end fault server greeted with ...
        farewell lost none
        ",
    );
    play(
        "S: * OK imap
         -> C: -ERR [SYS/TEMP] the mail server cannot be used now, come back later
         -> end fault server greeted with ...",
    );
    play(
        "S: +OK re\\
         eof S
         -> C: -ERR [SYS/TEMP] the mail server cannot be used now, come back later
         -> end fault server closed before its greeting",
    );
}

#[test]
fn upstream_starttls_comes_before_all_and_keeps_the_greeting() {
    play_with(
        TlsMode::None,
        TlsMode::StartTls,
        "C: CAPA
         S: +OK <1@host>
         -> S: STLS
         outstanding yes
         S: +OK go
         -> start_tls S
         tls S
         -> C: +OK <1@host>
         -> S: CAPA
         S: -ERR no
         -> C: -ERR no",
    );
}

#[test]
fn upstream_starttls_is_had_or_nothing() {
    play_with(
        TlsMode::None,
        TlsMode::StartTls,
        "S: +OK
         -> S: STLS
         S: -ERR unknown
         -> C: -ERR [SYS/TEMP] the mail server cannot be used now, come back later
         -> end fault server refused STLS: ...",
    );
    play_with(
        TlsMode::None,
        TlsMode::StartTls,
        "S: -ERR busy
         -> C: -ERR busy
         -> end fault server greeted with ...",
    );
    play_with(
        TlsMode::None,
        TlsMode::StartTls,
        "S: +OK
         -> S: STLS
         eof S
         -> C: -ERR [SYS/TEMP] the mail server cannot be used now, come back later
         -> end fault server closed at STLS",
    );
    play_with(
        TlsMode::None,
        TlsMode::StartTls,
        "S: +OK
         -> S: STLS
         S: +OK
         -> start_tls S
         S: +OK injected
         -> injection S",
    );
}

#[test]
fn no_login_before_the_clients_tls() {
    play_with(
        TlsMode::StartTls,
        TlsMode::Implicit,
        "S: +OK <1@host>
         -> C: +OK <1@host>
         C: CAPA
         -> S: CAPA
         S: +OK
         S: TOP
         S: USER
         S: SASL PLAIN
         S: STLS
         S: UIDL
         S: .
         -> C: +OK
         -> C: TOP
         -> C: UIDL
         -> C: STLS
         -> C: .
         C: USER me
         C: PASS secret
         C: APOP me 0123
         C: AUTH
         C: AUTH PLAIN AG1lAHB3
         -> C: -ERR STLS has to come before a login
         -> C: -ERR STLS has to come before a login
         -> C: -ERR STLS has to come before a login
         -> C: -ERR STLS has to come before a login
         -> C: -ERR STLS has to come before a login
         C: STLS
         -> C: +OK begin TLS
         -> start_tls C
         farewell timeout none
         tls C
         C: STLS
         -> C: -ERR STLS is not available
         C: PASS secret
         -> S: PASS secret
         S: -ERR
         -> C: -ERR
         C: CAPA
         -> S: CAPA
         S: +OK
         S: STLS
         S: USER
         S: SASL PLAIN GSSAPI
         S: .
         -> C: +OK
         -> C: USER
         -> C: SASL PLAIN
         -> C: .",
    );
}

#[test]
fn stls_waits_for_all_replies() {
    play_with(
        TlsMode::StartTls,
        TlsMode::Implicit,
        "S: +OK
         -> C: +OK
         C: NOOP
         C: XTND XMIT
         C: STLS
         -> S: NOOP
         S: +OK
         -> C: +OK
         -> C: -ERR XTND is not available
         -> C: +OK begin TLS
         -> start_tls C
         C: USER injected
         -> injection C",
    );
}

#[test]
fn bytes_behind_stls_are_left_for_the_host() {
    play_with(
        TlsMode::StartTls,
        TlsMode::Implicit,
        "S: +OK
         -> C: +OK
         C: NOOP
         -> S: NOOP
         C: STLS
         C: USER injected
         S: +OK
         -> C: +OK
         -> C: +OK begin TLS
         -> start_tls C
         -> injection C",
    );
}

#[test]
fn stls_is_never_the_servers() {
    for listen_tls in [TlsMode::None, TlsMode::Implicit] {
        play_with(
            listen_tls,
            TlsMode::None,
            "S: +OK
             -> C: +OK
             C: CAPA
             -> S: CAPA
             S: +OK
             S: STLS
             S: USER
             S: .
             -> C: +OK
             -> C: USER
             -> C: .
             C: STLS
             -> C: -ERR STLS is not available",
        );
    }
}

// ---- commands and replies ------------------------------------------------------------------------------------------

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

// ---- whose ---------------------------------------------------------------------------------------------------------

#[test]
fn only_the_servers_ok_makes_an_owner() {
    play(
        "S: +OK
         -> C: +OK
         C: USER me too@Example.ORG
         C: PASS wrong
         -> S: USER me too@Example.ORG
         -> S: PASS wrong
         S: +OK
         S: -ERR
         -> C: +OK
         -> C: -ERR
         C: PASS right
         -> S: PASS right
         S: +OK
         -> logged_in me too@example.org
         -> C: +OK",
    );
}

#[test]
fn pipelined_logins_are_read_in_the_order_of_replies() {
    play(
        "S: +OK
         -> C: +OK
         C: USER one
         C: PASS x
         C: USER two
         C: PASS y
         C: RETR 1
         -> S: USER one
         -> S: PASS x
         -> S: USER two
         -> S: PASS y
         -> S: RETR 1
         S: +OK
         S: -ERR
         S: +OK
         S: +OK
         S: +OK
         S: text
         S: .
         -> C: +OK
         -> C: -ERR
         -> C: +OK
         -> logged_in two@example.com
         -> C: +OK
         -> begin 1 two@example.com INBOX
         -> append 1 text
         -> C: +OK
         -> C: text
         -> finish 1
         -> settle
         -> C: .",
    );
}

#[test]
fn apop_is_split_at_the_last_blank() {
    play(
        "S: +OK <1@h>
         -> C: +OK <1@h>
         C: APOP mr rose c4c9334bac560ecc979e58001b3e22fb
         -> S: APOP mr rose c4c9334bac560ecc979e58001b3e22fb
         S: +OK
         -> logged_in mr rose@example.com
         -> C: +OK",
    );
}

#[test]
fn a_login_without_a_name_does_not_pass() {
    play(
        "S: +OK
         -> C: +OK
         C: USER refused
         -> S: USER refused
         S: -ERR
         -> C: -ERR
         C: PASS x
         -> S: PASS x
         S: +OK
         -> C: -ERR [SYS/TEMP] the login does not say whose mailbox it is for
         -> end fault server accepted a login that named no user
         farewell lost none",
    );
}

#[test]
fn a_message_without_a_login_does_not_pass() {
    play(
        "S: +OK
         -> C: +OK
         C: RETR 1
         C: NOOP
         -> S: RETR 1
         -> S: NOOP
         S: +OK
         S: text
         S: .
         S: +OK
         -> C: -ERR [SYS/TEMP] the message cannot be kept without a login
         -> C: +OK",
    );
}

// ---- SASL ----------------------------------------------------------------------------------------------------------

#[test]
fn auth_plain_with_and_without_an_initial_response() {
    let plain = b64("\0me\0secret");
    let initial = play(&format!(
        "S: +OK
         -> C: +OK
         C: AUTH PLAIN {plain}
         C: NOOP
         -> S: AUTH PLAIN {plain}
         S: +OK
         -> logged_in me@example.com
         -> C: +OK
         -> S: NOOP
         S: +OK
         -> C: +OK"
    ));
    assert!(initial.notes.is_empty());
    for challenge in ["+", "+ ", "+ ="] {
        play(&format!(
            "S: +OK
             -> C: +OK
             C: auth plain
             C: {plain}
             -> S: auth plain
             outstanding yes
             S: {challenge}
             -> C: {challenge}
             -> S: {plain}
             outstanding yes
             S: -ERR
             -> C: -ERR
             C: AUTH PLAIN =
             -> S: AUTH PLAIN =
             S: +
             -> C: +
             outstanding no
             C: {plain}
             -> S: {plain}
             S: +OK
             -> logged_in me@example.com
             -> C: +OK"
        ));
    }
}

#[test]
fn auth_login() {
    let (user, password) = (b64("me@here.org"), b64("secret"));
    let (ask_user, ask_password) = (b64("Username:"), b64("Password:"));
    play(&format!(
        "S: +OK
         -> C: +OK
         C: AUTH LOGIN
         -> S: AUTH LOGIN
         S: + {ask_user}
         -> C: + {ask_user}
         C: {user}
         -> S: {user}
         S: + {ask_password}
         -> C: + {ask_password}
         C: {password}
         -> S: {password}
         S: +OK
         -> logged_in me@here.org
         -> C: +OK"
    ));
}

#[test]
fn mechanisms_that_cannot_be_read_are_refused_here() {
    play(
        "S: +OK
         -> C: +OK
         C: NOOP
         C: AUTH GSSAPI
         C: AUTH SCRAM-SHA-256-PLUS
         C: AUTH XOAUTH2 dXNlcj0=
         C: AUTH PLAIN ???
         C: NOOP
         -> S: NOOP
         -> S: NOOP
         S: +OK
         -> C: +OK
         -> C: -ERR this mechanism cannot be used here
         -> C: -ERR this mechanism cannot be used here
         -> C: -ERR the SASL message names no user
         -> C: -ERR the SASL message is not base64
         S: +OK
         -> C: +OK",
    );
}

#[test]
fn a_login_that_fails_is_told_without_what_was_typed() {
    let recorder = play(
        "S: +OK
         -> C: +OK
         C: USER hunter1
         -> S: USER hunter1
         S: +OK
         -> C: +OK
         C: PASS hunter2
         -> S: PASS hunter2
         S: -ERR hunter3
         -> C: -ERR hunter3
         C: AUTH PLAIN AGpvZQBodW50ZXIy
         -> S: AUTH PLAIN AGpvZQBodW50ZXIy
         S: -ERR no
         -> C: -ERR no",
    );
    assert_eq!(recorder.notes, ["login failed: the server refused it"; 2]);
}

#[test]
fn what_is_rejected_later_is_cancelled() {
    for response in ["???", "a\\rb", "AG1l\\0AHB3"] {
        let recorder = play(&format!(
            "S: +OK
             -> C: +OK
             C: AUTH PLAIN
             -> S: AUTH PLAIN
             S: +
             -> C: +
             C: {response}
             -> S: *
             S: -ERR cancelled
             -> C: -ERR cancelled"
        ));
        assert!(recorder.notes.len() == 2 && recorder.notes[1] == "login failed: the server refused it");
    }
}

#[test]
fn a_server_that_accepts_what_was_cancelled() {
    let plain = b64("\0me\0secret");
    for last in ["*", "???"] {
        play(&format!(
            "S: +OK
             -> C: +OK
             C: AUTH PLAIN {plain}
             -> S: AUTH PLAIN {plain}
             S: +
             -> C: +
             C: {last}
             -> S: *
             S: +OK
             -> C: -ERR [SYS/TEMP] the login does not say whose mailbox it is for
             -> end fault server accepted a login that named no user"
        ));
    }
}

#[test]
fn a_bad_token_and_the_dummy_answer() {
    let token = b64("user=me@here.org\x01auth=Bearer tok\x01\x01");
    let error = b64("{\"status\":\"400\"}");
    for dummy in ["", "AQ==", "\\x01QUIT"] {
        play(&format!(
            "S: +OK
             -> C: +OK
             C: AUTH XOAUTH2 {token}
             -> S: AUTH XOAUTH2 {token}
             S: + {error}
             -> C: + {error}
             C: {dummy}
             -> S: {dummy}
             S: -ERR [AUTH] failed
             -> C: -ERR [AUTH] failed
             C: NOOP
             -> S: NOOP
             S: +OK
             -> C: +OK"
        ));
    }
}

#[test]
fn the_list_of_mechanisms_is_filtered() {
    play(
        "S: +OK
         -> C: +OK
         C: AUTH
         -> S: AUTH
         S: +OK
         S: SCRAM-SHA-256
         S: Plain
         S: NTLM
         S: SCRAM-SHA-256-PLUS
         S: LOGIN
         S: .
         -> C: +OK
         -> C: Plain
         -> C: LOGIN
         -> C: .
         C: AUTH
         -> S: AUTH
         S: -ERR
         -> C: -ERR",
    );
}

// ---- messages ------------------------------------------------------------------------------------------------------

#[test]
fn a_message_is_kept_before_its_end_passes() {
    play_logged_in(
        r"
        C: RETR 1
        -> S: RETR 1
        outstanding yes
        S: +OK 120 octets
        -> begin 1 me@example.com INBOX size=120
        -> C: +OK 120 octets
        farewell shutdown none
        S: Subject: x
        -> append 1 Subject: x
        -> C: Subject: x
        S: ..dot
        -> append 1 .dot
        -> C: ..dot
        S: bare\n.\n\xff\0
        -> append 1 bare\n\
        -> append 1 .\n\
        -> append 1 \xff\0
        -> C: bare\n\
        -> C: .\n\
        -> C: \xff\0
        S: .\
        S: \r\
        S: \n\
        -> finish 1
        -> settle
        -> C: .
        outstanding no
        ",
    );
}

#[test]
fn an_empty_message() {
    play_logged_in(
        "C: RETR 1
         -> S: RETR 1
         S: +OK
         S: .
         -> begin 1 me@example.com INBOX
         -> C: +OK
         -> finish 1
         -> settle
         -> C: .",
    );
}

#[test]
fn pipelined_messages() {
    play_logged_in(
        "C: RETR 1
         C: NOOP
         C: TOP 2 99999999
         C: RETR 3
         -> S: RETR 1
         -> S: NOOP
         -> S: TOP 2 99999999
         -> S: RETR 3
         S: +OK
         S: one
         S: .
         S: +OK nothing done
         S: +OK
         S: two
         S: .
         S: -ERR no such message
         -> begin 1 me@example.com INBOX
         -> append 1 one
         -> C: +OK
         -> C: one
         -> finish 1
         -> settle
         -> C: .
         -> C: +OK nothing done
         -> begin 2 me@example.com INBOX
         -> append 2 two
         -> C: +OK
         -> C: two
         -> finish 2
         -> settle
         -> C: .
         -> C: -ERR no such message",
    );
}

#[test]
fn a_message_is_not_deleted_before_it_is_kept() {
    play_logged_in(
        "C: RETR 1
         C: DELE 1
         C: NOOP
         C: QUIT
         -> S: RETR 1
         outstanding yes
         S: +OK
         S: one
         S: .
         -> begin 1 me@example.com INBOX
         -> append 1 one
         -> C: +OK
         -> C: one
         -> finish 1
         -> settle
         -> S: DELE 1
         -> S: NOOP
         -> S: QUIT
         -> C: .",
    );
    play_logged_in(
        "C: RETR 1
         C: QUIT
         -> S: RETR 1
         eof C
         -> nothing
         outstanding yes
         fail settle
         S: +OK
         S: one
         S: .
         -> begin 1 me@example.com INBOX
         -> append 1 one
         -> C: +OK
         -> C: one
         -> finish 1
         -> settle refused
         -> end fault a message could not be kept",
    );
    play_logged_in(
        "C: RETR 1
         C: DELE 1
         C: QUIT
         -> S: RETR 1
         fail begin
         S: +OK
         S: one
         S: .
         -> begin me@example.com INBOX refused
         -> S: UIDL 1
         -> C: -ERR [SYS/TEMP] the message could not be kept, come back later
         S: -ERR
         S: +OK
         S: one
         S: .
         -> S: RETR 1
         -> begin 1 me@example.com INBOX
         -> append 1 one
         -> finish 1
         -> settle
         -> S: DELE 1
         -> S: QUIT",
    );
    play_logged_in(
        "C: RETR 1
         C: QUIT
         -> S: RETR 1
         eof C
         S: -ERR no such message
         -> C: -ERR no such message
         -> S: QUIT",
    );
}

#[test]
fn a_message_that_cannot_be_begun_is_refused_and_the_session_goes_on() {
    play_logged_in(
        "fail begin
         C: RETR 1
         C: NOOP
         -> S: RETR 1
         -> S: NOOP
         S: +OK
         -> begin me@example.com INBOX refused
         -> C: -ERR [SYS/TEMP] the message could not be kept, come back later
         S: text
         farewell shutdown -ERR [SYS/TEMP] the mail proxy is stopping, come back later
         S: .
         S: +OK
         -> C: +OK
         outstanding no",
    );
}

#[test]
fn a_message_that_is_too_large_is_refused_for_good_and_the_session_goes_on() {
    play_logged_in(
        "fail begin large
         C: RETR 1
         -> S: RETR 1
         S: +OK 999999999 octets
         -> begin me@example.com INBOX size=999999999 refused
         -> C: -ERR [SYS/PERM] the message is larger than what is kept here
         S: text
         S: .
         C: NOOP
         -> S: NOOP",
    );
}

#[test]
fn a_message_that_cannot_be_kept_has_no_end() {
    play_logged_in(
        "C: RETR 1
         -> S: RETR 1
         S: +OK
         S: one
         -> begin 1 me@example.com INBOX
         -> append 1 one
         -> C: +OK
         -> C: one
         fail append
         S: two
         -> append 1 refused
         -> end fault a message could not be kept
         farewell not_kept none",
    );
    play_logged_in(
        "C: RETR 1
         -> S: RETR 1
         S: +OK
         S: one
         -> begin 1 me@example.com INBOX
         -> append 1 one
         -> C: +OK
         -> C: one
         fail settle
         S: .
         -> finish 1
         -> settle refused
         -> end fault a message could not be kept
         farewell not_kept none",
    );
}

#[test]
fn half_a_message_is_none() {
    play_logged_in(
        "C: RETR 1
         -> S: RETR 1
         S: +OK
         S: one
         S: .\\
         -> begin 1 me@example.com INBOX
         -> append 1 one
         -> C: +OK
         -> C: one
         eof S
         -> abort 1
         -> not_kept the server closed in the middle of a message...
         -> end fault server closed in the middle of a message",
    );
}

#[test]
fn a_message_is_kept_though_the_client_has_gone() {
    play_logged_in(
        "C: RETR 1
         -> S: RETR 1
         eof C
         S: +OK
         S: one
         S: .
         -> begin 1 me@example.com INBOX
         -> append 1 one
         -> C: +OK
         -> C: one
         -> finish 1
         -> settle
         -> C: .
         outstanding no",
    );
}

// ---- limits --------------------------------------------------------------------------------------------------------

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

#[test]
fn a_client_that_does_not_listen_has_to_wait() {
    let mut session = session();
    session.feed(Side::Client, &b"NOOP\r\n".repeat(1500));
    assert_eq!(session.host.sent(Side::Server).len(), 6 * 1000);
    session.feed(Side::Server, &b"+OK\r\n".repeat(600));
    assert_eq!(session.host.sent(Side::Server).len(), 6 * 1500);
    session.feed(Side::Server, &b"+OK\r\n".repeat(900));
    assert_eq!(session.host.sent(Side::Client).len(), 5 * 1501);
    assert!(!session.protocol().outstanding());
}

#[test]
fn lines_have_a_limit_where_they_are_lines() {
    let mut long = session();
    long.feed(Side::Client, &vec![b'x'; COMMAND_LEN_MAX + 1]);
    assert!(long.host.ended());
    assert!(long.host.sent(Side::Client).ends_with(b"-ERR [SYS/TEMP] the line is too long\r\n"));

    let mut long = session();
    long.feed(Side::Client, b"NOOP\r\n");
    long.feed(Side::Server, &[b"+OK ", &vec![b'x'; STATUS_LEN_MAX][..]].concat());
    assert!(long.host.ended());

    // Not in what a list or a message holds.
    let mut list = session();
    list.feed(Side::Client, b"UIDL\r\n");
    let reply = [b"+OK\r\n", &vec![b'x'; 100_000][..], b"\r\n.\r\n"].concat();
    list.feed(Side::Server, &reply);
    assert_eq!(list.host.sent(Side::Client), [b"+OK\r\n", &reply[..]].concat());
    assert!(!list.host.ended());

    let mut mechanisms = session();
    mechanisms.feed(Side::Client, b"AUTH\r\n");
    mechanisms.feed(Side::Server, b"+OK\r\n");
    mechanisms.feed(Side::Server, &b"PLAIN\r\n".repeat(20_000));
    assert!(mechanisms.host.ended());
}

// ---- properties ----------------------------------------------------------------------------------------------------

/// A command, its reply, and the message in it.
type Said = (&'static str, String, Option<String>);

fn said() -> impl Strategy<Value = Said> {
    let text = || "([.a]{0,3}(\r\n|\r|\n|\\.\r)){0,4}".prop_map(|text| text + "\r\n");
    let stuff = |text: &str| {
        let stuffed =
            text.split("\r\n").map(|line| if line.starts_with('.') { format!(".{line}") } else { line.into() });
        stuffed.collect::<Vec<String>>().join("\r\n")
    };
    prop_oneof![
        Just(("NOOP\r\n", "+OK\r\n".to_owned(), None)),
        Just(("RSET 1\r\n", "-ERR\r\n".to_owned(), None)),
        Just(("RETR 2\r\n", "-ERR none\r\n".to_owned(), None)),
        Just(("LIST 1\r\n", "+OK 1 2\r\n".to_owned(), None)),
        text().prop_map(move |text| ("LIST\r\n", format!("+OK\r\n{}.\r\n", stuff(&text)), None)),
        text().prop_map(move |text| ("RETR 1\r\n", format!("+OK 5 octets\r\n{}.\r\n", stuff(&text)), Some(text))),
        text().prop_map(move |text| ("TOP 1 9999999\r\n", format!("+OK\r\n{}.\r\n", stuff(&text)), Some(text))),
    ]
}

/// Feeds `bytes` in pieces of the lengths given, over and over.
fn feed(session: &mut Session, from: Side, mut bytes: &[u8], lens: &[usize]) {
    let mut lens = lens.iter().copied().cycle();
    while !bytes.is_empty() {
        let len = lens.next().unwrap_or(usize::MAX).min(bytes.len());
        session.feed(from, &bytes[..len]);
        bytes = &bytes[len..];
    }
}

proptest! {
    #[test]
    fn what_passes_is_what_was_said(
        rounds in prop::collection::vec(prop::collection::vec(said(), 1..6), 1..5),
        lens in prop::collection::vec(1usize..40, 1..10),
    ) {
        let mut pieces = logged_in();
        let mut whole = logged_in();
        let (mut commands, mut replies) = (b"USER me\r\nPASS x\r\n".to_vec(), b"+OK\r\n+OK\r\n+OK\r\n".to_vec());
        let mut messages = Vec::new();
        for round in rounds {
            let asked: String = round.iter().map(|said| said.0).collect();
            let answered: String = round.iter().map(|said| &said.1[..]).collect();
            messages.extend(round.into_iter().filter_map(|said| said.2));
            feed(&mut pieces, Side::Client, asked.as_bytes(), &lens);
            feed(&mut pieces, Side::Server, answered.as_bytes(), &lens);
            whole.feed(Side::Client, asked.as_bytes());
            whole.feed(Side::Server, answered.as_bytes());
            commands.extend(asked.into_bytes());
            replies.extend(answered.into_bytes());
        }
        prop_assert_eq!(pieces.host.sent(Side::Server), commands);
        prop_assert_eq!(pieces.host.sent(Side::Client), replies);
        for (message, draft) in messages.iter().zip(1..) {
            prop_assert_eq!(pieces.host.appended(draft), message.as_bytes());
        }
        prop_assert_eq!(pieces.host.lines(), whole.host.lines());
        prop_assert_eq!(pieces.host.drafts_left(), 0);
        prop_assert!(!pieces.host.ended() && !pieces.protocol().outstanding());
    }

    #[test]
    fn nothing_that_is_said_hurts(
        said in prop::collection::vec(
            (any::<bool>(), "((\\+OK|-ERR|\\+ |CAPA|AUTH ?|AUTH PLAIN|USER a|PASS|RETR 1|TOP 1 9999999|TOP 2 1|TOP 3 1000|DELE [12]|UIDL( 2)?|LIST|STLS|QUIT|\\.|\\*|[\\x00-\\x7f])(\r\n)?){0,6}"),
            0..30,
        ),
        starttls: bool,
    ) {
        let tls = if starttls { TlsMode::StartTls } else { TlsMode::None };
        let mut session = Session::new(Box::new(Pop3::new(settings(tls, TlsMode::None))));
        for (client, bytes) in said {
            session.feed(if client { Side::Client } else { Side::Server }, bytes.as_bytes());
            prop_assert!(session.host.drafts_left() <= 1);
        }
        session.eof(Side::Client);
        session.eof(Side::Server);
        prop_assert_eq!(session.host.drafts_left(), 0);
        prop_assert!(session.host.ended());
    }
}
