//! STARTTLS with the client and with the server.

use super::*;

fn listening() -> Settings {
    Settings { listen_tls: TlsMode::StartTls, ..settings() }
}

fn upstream() -> Settings {
    Settings { upstream_tls: TlsMode::StartTls, ..settings() }
}

#[test]
fn the_client_is_offered_tls_before_it_may_log_in() {
    play_with(
        &listening(),
        &format!(
            r"{GREETING}
            C: EHLO me
            -> S: EHLO me
            S: 250-mx.example
            S: 250-STARTTLS
            S: 250-AUTH PLAIN
            S: 250 SIZE
            -> C: 250-mx.example
            -> C: 250-STARTTLS
            -> C: 250 SIZE
            C: AUTH PLAIN AG1lAHB3
            -> C: 530 5.7.0 Must issue a STARTTLS command first
            C: STARTTLS now
            -> C: 501 5.5.4 Syntax: STARTTLS
            C: STARTTLS
            -> C: 220 2.0.0 Ready to start TLS
            -> start_tls C
            farewell timeout none
            tls C
            C: AUTH PLAIN AG1lAHB3
            -> C: 503 5.5.1 Send EHLO first
            C: MAIL FROM:<a@b>
            -> C: 503 5.5.1 Send EHLO first
            C: EHLO me
            -> S: EHLO me
            S: 250-mx.example
            S: 250 AUTH PLAIN
            -> C: 250-mx.example
            -> C: 250 AUTH PLAIN
            C: STARTTLS
            -> C: 503 5.5.1 TLS is on already
            C: AUTH PLAIN AG1lAHB3
            -> S: AUTH PLAIN AG1lAHB3
            S: 235 yes
            -> logged_in me@home.example
            -> C: 235 yes"
        ),
    );
}

#[test]
fn tls_is_offered_also_where_the_server_has_no_extension() {
    play_with(
        &listening(),
        &format!(
            r"{GREETING}
            C: EHLO me
            -> S: EHLO me
            S: 250 mx.example
            -> C: 250-mx.example
            -> C: 250 STARTTLS
            C: EHLO me
            -> S: EHLO me
            S: 250
            -> C: 250-
            -> C: 250 STARTTLS"
        ),
    );
}

#[test]
fn starttls_waits_for_the_replies_before_it() {
    play_with(
        &listening(),
        &format!(
            r"{GREETING}
            C: NOOP
            -> S: NOOP
            C: STARTTLS
            S: 250 ok
            -> C: 250 ok
            -> C: 220 2.0.0 Ready to start TLS
            -> start_tls C"
        ),
    );
}

#[test]
fn plaintext_behind_starttls_is_not_taken() {
    play_with(
        &listening(),
        &format!(
            r"{GREETING}
            C: STARTTLS\r\nNOOP
            -> C: 220 2.0.0 Ready to start TLS
            -> start_tls C
            -> injection C"
        ),
    );
}

#[test]
fn nothing_said_before_tls_counts() {
    play_with(
        &listening(),
        &format!(
            r"{GREETING}{MAIL}
            C: STARTTLS
            -> C: 220 2.0.0 Ready to start TLS
            -> start_tls C
            tls C
            -> S: RSET
            outstanding no
            C: EHLO me
            -> S: EHLO me
            S: 250-2.0.0
            S: 250 reset
            S: 250 mx.example
            -> C: 250 mx.example"
        ),
    );
}

#[test]
fn starttls_where_it_is_not_offered() {
    play("C: STARTTLS\n-> C: 502 5.5.1 STARTTLS is not offered");
    let implicit = Settings { listen_tls: TlsMode::Implicit, ..settings() };
    play_with(&implicit, &format!("{GREETING}C: STARTTLS\n-> C: 503 5.5.1 TLS is on already"));
}

#[test]
fn tls_with_the_server_comes_before_the_client_is_heard() {
    play_with(
        &upstream(),
        r"
        C: EHLO early
        outstanding yes
        S: 220-mx.example
        S: 220 ESMTP
        -> S: EHLO [127.0.0.1]
        farewell lost 421 4.4.1 The mail server cannot be reached any more, try again later
        S: 250-mx.example
        S: 250-STARTTLS
        S: 250 SIZE
        -> S: STARTTLS
        S: 220 go
        -> start_tls S
        tls S
        -> S: EHLO early
        -> C: 220-mx.example
        -> C: 220 ESMTP
        S: 250 mx.example
        -> C: 250 mx.example
        ",
    );
}

#[test]
fn a_server_without_tls_is_left() {
    play_with(
        &upstream(),
        r"
        S: 220 mx.example
        -> S: EHLO [127.0.0.1]
        S: 250 mx.example STARTTLS
        -> S: QUIT
        -> C: 421 4.7.0 The mail server does not start TLS, try again later
        -> end fault the server does not offer STARTTLS
        ",
    );
    play_with(
        &upstream(),
        r"
        S: 220 mx.example
        -> S: EHLO [127.0.0.1]
        S: 250-mx.example
        S: 250 starttls
        -> S: STARTTLS
        S: 454 not now
        -> S: QUIT
        -> C: 421 4.7.0 The mail server does not start TLS, try again later
        -> end fault the server refused STARTTLS: ...
        ",
    );
}

#[test]
fn a_greeting_that_refuses_passes_before_tls_too() {
    play_with(
        &upstream(),
        r"
        S: 554-go
        S: 554 away
        -> S: QUIT
        -> C: 554-go
        -> C: 554 away
        -> end fault the server refused the session: ...
        ",
    );
}

#[test]
fn a_server_that_talks_on_behind_starttls_is_an_injection() {
    play_with(
        &upstream(),
        r"
        S: 220 mx.example
        -> S: EHLO [127.0.0.1]
        S: 250-mx.example
        S: 250 STARTTLS
        -> S: STARTTLS
        S: 220 go\r\n250 injected
        -> start_tls S
        -> injection S
        ",
    );
}

#[test]
fn peers_that_leave_before_tls() {
    play_with(&upstream(), "S: 220 mx.example\n-> S: EHLO [127.0.0.1]\neof C\n-> end orderly the client closed");
    play_with(
        &upstream(),
        "S: 220 mx.example
        -> S: EHLO [127.0.0.1]
        outstanding yes
        eof S
        farewell lost 421 4.4.1 The mail server cannot be reached any more, try again later",
    );
}
