//! Messages that are retrieved.

use super::*;

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
