//! Greetings, and TLS on either side.

use super::*;

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
         -> end fault this is no POP3 server: it greets with ...",
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
