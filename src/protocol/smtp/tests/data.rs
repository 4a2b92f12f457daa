//! Messages under DATA: who gets a copy, when it is prepared and committed, what is refused.

mod refused;
mod whose;

use super::*;

#[test]
fn a_message_is_kept_before_it_is_completed() {
    play_mail(
        r"
        C: DATA
        -> begin 1 a@one.example INBOX outgoing
        -> S: DATA
        outstanding yes
        S: 354 go
        -> C: 354 go
        outstanding no
        C: Subject: x
        -> append 1 Subject: x
        -> S: Subject: x
        C: ..dot
        -> append 1 .dot
        -> S: ..dot
        C: .x
        -> append 1 x
        -> S: .x
        C: \0\r\xff\n\
        -> append 1 \0\r\xff\n\
        -> S: \0\r\xff\n\
        C: end
        -> append 1 end
        -> S: end
        C: .
        -> prepare 1
        -> S: .
        outstanding yes
        S: 250 queued
        -> commit 1
        -> C: 250 queued
        outstanding no
        C: MAIL FROM:<c@one.example>\r\nRCPT TO:<b@two.example>
        -> S: MAIL FROM:<c@one.example>
        -> S: RCPT TO:<b@two.example>
        S: 250 ok\r\n250 ok
        -> C: 250 ok
        -> C: 250 ok
        C: DATA
        -> begin 2 c@one.example INBOX outgoing
        -> S: DATA
        S: 354 go
        -> C: 354 go
        C: .
        -> prepare 2
        -> S: .
        S: 250-queued
        -> C: 250-queued
        S: 250 empty
        -> commit 2
        -> C: 250 empty
        ",
    );
}

#[test]
fn a_message_refused_at_its_end_is_not_kept() {
    play_mail(
        r"
        C: DATA
        -> begin 1 a@one.example INBOX outgoing
        -> S: DATA
        S: 354 go
        -> C: 354 go
        C: x\r\n.
        -> append 1 x
        -> S: x
        -> prepare 1
        -> S: .
        S: 552 5.3.4 too big
        -> abort 1
        -> C: 552 5.3.4 too big
        C: DATA
        -> S: DATA
        S: 503 MAIL first
        -> C: 503 MAIL first
        ",
    );
}

#[test]
fn all_of_a_pipelined_transaction() {
    play(
        r"
        C: MAIL FROM:<a@one.example> SIZE=123\r\nRCPT TO:<b@two.example>\r\nRCPT TO:<c@two.example>\r\nDATA
        -> S: MAIL FROM:<a@one.example> SIZE=123
        -> S: RCPT TO:<b@two.example>
        -> S: RCPT TO:<c@two.example>
        S: 250 1
        -> C: 250 1
        S: 250 2
        -> C: 250 2
        S: 550 3
        -> C: 550 3
        -> begin 1 a@one.example INBOX outgoing size=123
        -> S: DATA
        S: 354 4
        -> C: 354 4
        C: text\r\n.\r\nMAIL FROM:<d@one.example>\r\nRCPT TO:<b@two.example>\r\nDATA
        -> append 1 text
        -> S: text
        -> prepare 1
        -> S: .
        -> S: MAIL FROM:<d@one.example>
        -> S: RCPT TO:<b@two.example>
        S: 250 5
        -> commit 1
        -> C: 250 5
        S: 250 6
        -> C: 250 6
        S: 250 7
        -> C: 250 7
        -> begin 2 d@one.example INBOX outgoing
        -> S: DATA
        ",
    );
}

#[test]
fn what_resets_a_transaction() {
    for reset in ["RSET", "EHLO me", "HELO me", "MAIL FROM:<>"] {
        play_mail(&format!(
            "C: {reset}
            -> S: {reset}
            S: 503 no
            -> C: 503 no
            C: {reset}
            -> S: {reset}
            S: 250 ok
            -> C: 250 ok
            C: DATA
            -> S: DATA"
        ));
    }
    play_mail(
        "C: RSET
        -> S: RSET
        S: 503 refused, so nothing is forgotten
        -> C: 503 refused, so nothing is forgotten
        C: DATA
        -> begin 1 a@one.example INBOX outgoing
        -> S: DATA
        S: 554 no valid recipients
        -> abort 1
        -> C: 554 no valid recipients
        C: QUIT
        -> S: QUIT",
    );
}

#[test]
fn a_second_login_does_not_outlive_its_refusal() {
    play(
        r"
        C: AUTH PLAIN AG1lAHB3
        -> S: AUTH PLAIN AG1lAHB3
        S: 235 yes
        -> logged_in me@home.example
        -> C: 235 yes
        C: AUTH PLAIN AHlvdQBwdw==
        -> S: AUTH PLAIN AHlvdQBwdw==
        S: 503 already
        -> C: 503 already
        C: DATA
        -> begin 1 me@home.example INBOX outgoing
        -> S: DATA
        ",
    );
}

#[test]
fn text_behind_a_refused_data_ends_the_session() {
    play_mail(
        r"
        C: DATA\r\nMAIL FROM:<evil@x>
        -> begin 1 a@one.example INBOX outgoing
        -> S: DATA
        S: 451 not now
        -> abort 1
        -> C: 451 not now
        -> end fault the client sent a message behind a DATA that was refused
        ",
    );
}

#[test]
fn a_header_behind_a_refused_data_is_no_command() {
    let refused = [
        "C: DATA\n -> begin 1 a@one.example INBOX outgoing\n -> S: DATA\n S: 451 no\n -> abort 1\n -> C: 451 no",
        "fail begin\n C: DATA\n -> begin a@one.example INBOX outgoing refused\n -> C: 451 4.3.0 The message could not be kept, try again later",
    ];
    for refused in refused {
        play_mail(&format!(
            r"
            {refused}
            C: NOOP
            -> S: NOOP
            S: 250 ok
            -> C: 250 ok
            {}
            C: From ann Mon Jan  1 00:00:00 2024
            -> S: From ann Mon Jan  1 00:00:00 2024
            S: 500 what?
            -> C: 500 what?
            C: Subject: x\r\n\r\nMAIL FROM:<evil@x>
            -> C: 503 5.5.1 DATA was refused
            -> end fault the client sent a message behind a DATA that was refused
            ",
            refused.replace(" 1", " 2")
        ));
    }
}

#[test]
fn without_login_and_recipient_a_message_leaves_no_trace() {
    let unaddressed = r"
        C: MAIL FROM:<ann@one.example>\r\nRCPT TO:<b@two.example>
        -> S: MAIL FROM:<ann@one.example>
        -> S: RCPT TO:<b@two.example>
        S: 250 ok\r\n554 relay access denied
        -> C: 250 ok
        -> C: 554 relay access denied
    ";
    play(&format!(
        r"{unaddressed}
        C: DATA
        -> S: DATA
        S: 554 no valid recipients
        -> C: 554 no valid recipients
        C: BDAT 2 LAST\r\nab\
        -> S: BDAT 2 LAST
        -> S: ab\
        S: 554 no valid recipients
        -> C: 554 no valid recipients"
    ));
    // A server that takes it all the same.
    play(&format!(
        r"{unaddressed}
        C: DATA
        -> S: DATA
        S: 354 go
        -> C: 354 go
        C: x\r\n.
        -> S: x
        -> S: .
        S: 250 taken
        -> not_kept the server accepted a message of which it had accepted neither login nor recipient
        -> C: 250 taken"
    ));
}

#[test]
fn text_behind_an_accepted_data_is_the_message() {
    play_mail(
        r"
        C: DATA\r\n.\r\nNOOP
        -> begin 1 a@one.example INBOX outgoing
        -> S: DATA
        S: 250 some servers say so
        -> C: 250 some servers say so
        -> prepare 1
        -> S: .
        -> S: NOOP
        ",
    );
}
