//! What cannot be kept, or is nothing, is not deleted.

use super::*;

#[test]
fn what_is_refused_by_the_archive_is_not_deleted() {
    for (fail, refused, code) in [
        ("begin", "-> begin me@example.com INBOX refused", "SYS/TEMP"),
        ("begin large", "-> begin me@example.com INBOX refused", "SYS/PERM"),
        ("append", "-> begin 1 me@example.com INBOX\n-> append 1 refused", "SYS/TEMP"),
        ("append large", "-> begin 1 me@example.com INBOX\n-> append 1 refused", "SYS/PERM"),
        (
            "settle",
            "-> begin 1 me@example.com INBOX\n-> append 1 text\n-> append 1 more\n-> finish 1\n-> settle refused",
            "SYS/TEMP",
        ),
    ] {
        let recorder = play_logged_in(&format!(
            "C: DELE 1
             C: NOOP
             -> S: UIDL 1
             S: -ERR
             -> S: RETR 1
             fail {fail}
             S: +OK
             S: text
             S: more
             S: .
             {refused}
             -> S: NOOP
             -> C: -ERR [{code}] the message could not be kept, it is not deleted
             S: +OK
             -> C: +OK
             C: QUIT
             -> S: QUIT"
        ));
        assert_eq!(recorder.fetched, 12, "{fail}");
    }
}

#[test]
fn it_is_tried_again_when_the_client_does() {
    play_logged_in(&format!(
        "fail begin
         C: DELE 1
         -> S: UIDL 1
         S: +OK 1 1
         -> S: RETR 1
         S: +OK
         S: .
         -> begin me@example.com INBOX refused
         -> C: -ERR [SYS/TEMP] the message could not be kept, it is not deleted
         C: DELE 1
         {GOT}"
    ));
}

#[test]
fn the_servers_own_answer_where_there_is_no_such_message() {
    play_logged_in(
        "C: DELE 9
         C: NOOP
         -> S: UIDL 9
         S: -ERR no such message, only 3 in maildrop
         -> S: RETR 9
         S: -ERR no such message
         -> S: LIST 9
         S: -ERR no such message, only 3 in maildrop
         -> S: DELE 9
         -> S: NOOP
         S: -ERR there's no message 9
         S: +OK
         -> C: -ERR there's no message 9
         -> C: +OK
         # that was no proof that there are no unique-ids
         C: DELE 1
         -> S: UIDL 1",
    );
}

#[test]
fn a_server_that_deletes_what_it_says_is_not_there_never_hears_quit() {
    play_logged_in(
        "C: DELE 9
         C: QUIT
         -> S: UIDL 9
         S: -ERR
         -> S: RETR 9
         S: -ERR
         -> S: LIST 9
         S: -ERR
         -> S: DELE 9
         S: +OK
         -> C: -ERR [SYS/TEMP] the message could not be kept, it is not deleted
         -> end fault server accepted a deletion of what is not kept",
    );
}

#[test]
fn what_the_server_does_not_give_is_not_deleted() {
    play_logged_in(
        r#"
        C: DELE 2
        C: NOOP
        -> S: UIDL 2
        S: +OK 2 abc
        -> S: RETR 2
        S: -ERR [SYS/TEMP] it "broke"\x01
        -> S: LIST 2
        S: +OK 2 100
        -> not_kept message 2 (unique-id abc) of me@example.com was to be deleted unread and is not: the server does not let it be got: "-ERR [SYS/TEMP] it \x22broke\x22\x01"
        -> S: NOOP
        -> C: -ERR [SYS/TEMP] the message could not be kept, it is not deleted
        S: +OK
        -> C: +OK
        "#,
    );
}

/// Own retrieval of message 1 that brings nothing.
const NOTHING: &str = "
    -> S: RETR 1
    S: +OK 345 octets
    S: .
    -> begin 1 me@example.com INBOX size=345
    -> S: LIST 1
    outstanding yes";

#[test]
fn a_message_of_which_not_one_octet_comes_is_not_deleted() {
    for (said, list) in [("+OK 1 345", "+OK 1 345"), ("+OK", "+OK"), ("+OK 1 20", "+OK 1 20"), ("-ERR", "-ERR")] {
        play_logged_in(&format!(
            r#"
            C: DELE 1
            C: QUIT
            -> S: UIDL 1
            S: +OK 1 abc
            {NOTHING}
            S: {said}
            -> abort 1
            -> not_kept message 1 (unique-id abc) of me@example.com was to be deleted unread and is not: the server does not let it be got: +OK\x20345\x20octets, not one octet, and "{list}"
            -> S: QUIT
            -> C: -ERR [SYS/TEMP] the message could not be kept, it is not deleted
            "#
        ));
    }
}

#[test]
fn an_empty_message_is_deleted() {
    for size in ["0", "2", " 0 octets"] {
        play_logged_in(&format!(
            "C: DELE 1
             -> S: UIDL 1
             S: +OK 1 abc
             {NOTHING}
             S: +OK 1 {size}
             -> origin 1 pop3 abc
             -> finish 1
             -> settle
             -> S: DELE 1
             S: +OK
             -> C: +OK
             C: DELE 1
             -> S: DELE 1"
        ));
    }
    play_logged_in(&format!(
        "fail settle
         C: DELE 1
         -> S: UIDL 1
         S: -ERR
         {NOTHING}
         S: +OK 1 0
         -> finish 1
         -> settle refused
         -> C: -ERR [SYS/TEMP] the message could not be kept, it is not deleted"
    ));
}

#[test]
fn what_was_retrieved_without_an_octet_is_got_before_it_is_deleted() {
    for verb in ["RETR 1", "TOP 1 99999999"] {
        play_logged_in(&format!(
            "C: UIDL 1
             C: {verb}
             C: DELE 1
             -> S: UIDL 1
             -> S: {verb}
             S: +OK 1 abc
             S: +OK
             S: .
             -> C: +OK 1 abc
             -> begin 1 me@example.com INBOX
             -> C: +OK
             -> finish 1
             -> settle
             -> S: RETR 1
             -> C: ."
        ));
    }
}

#[test]
fn a_session_that_ends_over_an_empty_message_drops_it() {
    play_logged_in(&format!(
        "C: DELE 1
         -> S: UIDL 1
         S: -ERR
         {NOTHING}
         eof S
         {LOST}
         -> abort 1
         -> not_kept the session ended while message 1 of me@example.com was got, which was to be deleted and is not
         -> end fault server closed with a reply outstanding"
    ));
}

#[test]
fn a_server_that_closes_or_babbles_meanwhile() {
    for (said, why) in [
        ("S: +OK\nS: half\n-> begin 1 me@example.com INBOX\n-> append 1 half", "middle"),
        ("S: +OK\n-> begin 1 me@example.com INBOX", "middle"),
        ("", "reply outstanding"),
    ] {
        let abort = if said.is_empty() { "" } else { "-> abort 1" };
        let why = if why == "middle" { "closed in the middle of a message" } else { "closed with a reply outstanding" };
        play_logged_in(&format!(
            "C: DELE 1
             C: QUIT
             -> S: UIDL 1
             S: +OK 1 abc
             -> S: RETR 1
             {said}
             eof S
             {LOST}
             {abort}
             -> not_kept the session ended while message 1 (unique-id abc) of me@example.com was got, which was to be deleted and is not
             -> end fault server {why}"
        ));
    }
    for said in ["+ go on", "* 1 EXISTS"] {
        play_logged_in(&format!(
            "C: DELE 1
             -> S: UIDL 1
             S: {said}
             -> not_kept the session ended while message 1 of ...
             -> end fault server's reply is neither +OK nor -ERR"
        ));
    }
}

#[test]
fn a_number_or_unique_id_that_is_none_adds_no_field_to_a_line_of_the_log() {
    use super::super::own::{name, put_label};
    use crate::protocol::Origin;
    let target = Target::new(b"1 owner=bob@x").unwrap();
    let uidl = b"u\" owner=bob@x".to_vec();
    let label = |uidl| {
        let mut label = "of another".to_owned();
        put_label(&mut label, &target, uidl);
        label
    };
    assert_eq!(label(None), "number=?");
    assert_eq!(label(Some(&uidl)), r"number=? uidl=u\x22\x20owner=bob@x");
    let origin = Origin::Pop3 { uidl };
    let me = Owner::new(b"me", "example.com");
    let shown = r"message ? (unique-id u\x22\x20owner=bob@x) of me@example.com";
    assert_eq!(name(&target, Some(&origin), &me), shown);
}
