//! Messages that are refused, broken off, or not answered.

use super::*;

#[test]
fn no_draft_no_data() {
    play_mail(
        r"
        fail begin
        C: DATA
        -> begin a@one.example INBOX outgoing refused
        -> C: 451 4.3.0 The message could not be kept, try again later
        fail begin large
        C: DATA
        -> begin a@one.example INBOX outgoing refused
        -> C: 552 5.3.4 The message is larger than what is kept here
        C: DATA
        -> begin 1 a@one.example INBOX outgoing
        -> S: DATA
        ",
    );
}

const BEGUN: &str = "
    C: DATA
    -> begin 1 a@one.example INBOX outgoing
    -> S: DATA
    S: 354 go
    -> C: 354 go
";

#[test]
fn what_is_refused_in_the_middle_is_swallowed_to_its_end() {
    play_mail(&format!(
        r"{BEGUN}
        fail append
        C: one
        -> append 1 refused
        C: two
        S: 421 4.4.2 the server's own timeout is not the client's reply
        farewell lost 451 4.3.0 The message could not be kept, try again later
        C: .
        -> C: 451 4.3.0 The message could not be kept, try again later
        -> end fault the message could not be kept"
    ));
}

#[test]
fn what_cannot_be_prepared_is_not_ended() {
    play_mail(&format!(
        r"{BEGUN}
        C: one
        -> append 1 one
        -> S: one
        fail prepare
        C: .
        -> prepare 1 refused
        -> C: 451 4.3.0 The message could not be kept, try again later
        -> end fault the message could not be kept"
    ));
}

#[test]
fn a_dubious_end_is_never_forwarded() {
    for (text, forwarded) in [
        (r"x\n.\n", r"x\n.\"),
        (r"x\n.\r\n", r"x\n.\"),
        (r"x\r\n.\n", r"x"),
        (r"x\r\n.\rMAIL", r"x"),
        (r"x\r.\r", r"x\r.\"),
    ] {
        play_mail(&format!(
            r"{BEGUN}
            C: {text}MAIL FROM:<smuggled@example.org>
            -> append 1 {forwarded}
            -> S: {forwarded}
            -> abort 1
            C: DATA
            C: .
            -> C: 550 5.5.2 Message refused: ...
            -> end fault the client sent ..."
        ));
    }
}

#[test]
fn a_server_that_gives_up_while_text_is_swallowed_does_not_hide_the_answer() {
    play_mail(&format!(
        r"{BEGUN}
        C: x\n.\n\
        -> append 1 x\n.\
        -> S: x\n.\
        -> abort 1
        eof S
        -> C: 550 5.5.2 Message refused: ...
        -> end fault the client sent a line of a lone dot behind a line that does not end in CRLF (SMTP smuggling)"
    ));
}

#[test]
fn a_client_that_leaves_while_its_text_is_swallowed_may_read_why() {
    play_mail(&format!(
        r"{BEGUN}
        fail append
        C: one
        -> append 1 refused
        eof C
        -> C: 451 4.3.0 The message could not be kept, try again later
        -> end fault the message could not be kept"
    ));
}

#[test]
fn swallowing_has_a_limit() {
    let text = "y".repeat(990);
    play_mail(&format!(
        r"{BEGUN}
        fail append
        C: one
        -> append 1 refused
        C: {text}
        C: more
        -> C: 451 4.3.0 The message could not be kept, try again later
        -> end fault the message could not be kept"
    ));
}

#[test]
fn who_leaves_in_the_middle_of_a_message_leaves_nothing() {
    for (leaves, told) in
        [("C", ""), ("S", "-> C: 421 4.4.1 The mail server cannot be reached any more, try again later")]
    {
        let why = if leaves == "C" {
            "the client closed in the middle of a message"
        } else {
            "the server closed the connection in the middle of an exchange"
        };
        play_mail(&format!(
            "{BEGUN}C: x\n-> append 1 x\n-> S: x\neof {leaves}\n{told}\n-> abort 1\n-> end fault {why}"
        ));
    }
    play_mail(
        "C: DATA
        -> begin 1 a@one.example INBOX outgoing
        -> S: DATA
        eof C
        -> abort 1
        -> end fault the client closed in the middle of a message",
    );
}

#[test]
fn a_connection_lost_behind_the_dot_keeps_what_is_prepared() {
    let recorder = play_mail(&format!(
        r"{BEGUN}
        C: .
        -> prepare 1
        -> S: .
        eof C
        outstanding yes
        eof S"
    ));
    assert_eq!(recorder.drafts_left(), 1);
}

#[test]
fn a_server_that_answers_within_a_message_is_leaving() {
    play_mail(&format!(
        r"{BEGUN}
        C: x
        -> append 1 x
        -> S: x
        S: 552 too big already
        -> C: 552 too big already
        -> abort 1
        -> end fault the server ended the session: ..."
    ));
}

#[test]
fn a_client_that_left_does_not_get_to_its_waiting_data() {
    play_mail(
        r"
        C: NOOP
        -> S: NOOP
        C: DATA
        eof C
        S: 250 ok
        -> C: 250 ok
        outstanding no
        ",
    );
}
