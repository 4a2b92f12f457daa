//! Messages in chunks.

use super::*;

const FIRST: &str = r"
    C: BDAT 6\r\nfirst\n\
    -> begin 1 a@one.example INBOX outgoing size=6
    -> append 1 first\n\
    -> S: BDAT 6
    -> S: first\n\
    S: 250 6 octets
    -> C: 250 6 octets
";

#[test]
fn a_message_in_one_chunk() {
    play_mail(
        r"
        C: BDAT 7 LAST\r\n.\r\n.\0\x80N\
        -> begin 1 a@one.example INBOX outgoing size=7
        -> append 1 .\r\n.\0\x80N\
        -> S: BDAT 7 LAST
        -> S: .\r\n.\0\x80\
        -> prepare 1
        -> S: N\
        ",
    );
}

#[test]
fn chunks_are_joined_and_the_last_octet_waits() {
    play_mail(&format!(
        r"{FIRST}
        C: BDAT 3\n\
        -> S: BDAT 3
        C: ab\
        -> append 1 ab\
        -> S: ab\
        C: cBDAT 4 last\r\nd\
        -> append 1 cd\
        -> S: cBDAT 4 last\r\nd\
        C: ef\
        -> append 1 ef\
        -> S: ef\
        C: \n\
        -> append 1 \n\
        -> prepare 1
        -> S: \n\
        S: 250 3 octets
        -> C: 250 3 octets
        outstanding yes
        S: 250 queued
        -> commit 1
        -> C: 250 queued
        outstanding no
        C: MAIL FROM:<>
        -> S: MAIL FROM:<>"
    ));
}

#[test]
fn a_last_chunk_without_octets_waits_as_a_whole() {
    play_mail(&format!(
        r"{FIRST}
        C: BDAT 0
        -> S: BDAT 0
        C: BDAT 0 LAST
        -> prepare 1
        -> S: BDAT 0 LAST
        S: 250 0 octets
        -> C: 250 0 octets
        S: 250 queued
        -> commit 1
        -> C: 250 queued"
    ));
    play_mail(&format!(
        r"{FIRST}
        fail prepare
        C: BDAT 0 LAST
        -> prepare 1 refused
        -> S: RSET
        S: 250 reset
        -> C: 451 4.3.0 The message could not be kept, try again later
        C: MAIL FROM:<>
        -> S: MAIL FROM:<>"
    ));
}

#[test]
fn an_announced_size_counts_where_it_is_more() {
    play(
        r"
        C: MAIL FROM:<a@one.example> BODY=BINARYMIME SIZE=5000\r\nRCPT TO:<b@two.example>
        -> S: MAIL FROM:<a@one.example> BODY=BINARYMIME SIZE=5000
        -> S: RCPT TO:<b@two.example>
        S: 250 ok\r\n250 ok
        -> C: 250 ok
        -> C: 250 ok
        C: BDAT 1
        -> begin 1 a@one.example INBOX outgoing size=5000
        -> S: BDAT 1
        ",
    );
}

#[test]
fn all_of_a_pipelined_transaction() {
    play(
        r"
        C: MAIL FROM:<a@one.example>\r\nRCPT TO:<b@two.example>\r\nBDAT 2\r\nabBDAT 2 LAST\r\ncdQUIT
        -> S: MAIL FROM:<a@one.example>
        -> S: RCPT TO:<b@two.example>
        S: 250 1
        -> C: 250 1
        S: 250 2
        -> C: 250 2
        -> begin 1 a@one.example INBOX outgoing size=2
        -> append 1 abcd\
        -> S: BDAT 2
        -> S: abBDAT 2 LAST
        -> S: c\
        -> prepare 1
        -> S: dQUIT
        S: 250 3
        -> C: 250 3
        S: 250 4
        -> commit 1
        -> C: 250 4
        S: 221 5
        -> C: 221 5
        -> end orderly QUIT
        ",
    );
}

#[test]
fn without_a_draft_no_chunk_gets_to_the_server() {
    play_mail(
        r"
        fail begin
        C: BDAT 5
        -> begin a@one.example INBOX outgoing size=5 refused
        C: NOOP\n\
        -> C: 451 4.3.0 The message could not be kept, try again later
        C: BDAT 2\r\nxy\
        -> C: 451 4.3.0 The message could not be kept, try again later
        C: RSET
        -> S: RSET
        S: 250 reset
        -> C: 250 reset
        C: BDAT 0
        -> S: BDAT 0
        ",
    );
    play_mail(
        r"
        fail begin
        C: BDAT 5 LAST\r\nNOOP\n\
        -> begin a@one.example INBOX outgoing size=5 refused
        -> S: RSET
        S: 250 reset
        -> C: 451 4.3.0 The message could not be kept, try again later
        C: NOOP
        -> S: NOOP
        ",
    );
}

#[test]
fn a_refused_chunk_is_the_end_of_its_message() {
    play_mail(
        r"
        C: BDAT 2\r\nabBDAT 4\r\ncd\
        -> begin 1 a@one.example INBOX outgoing size=2
        -> append 1 abcd\
        -> S: BDAT 2
        -> S: abBDAT 4
        -> S: cd\
        S: 452 4.3.1 disk full
        -> abort 1
        -> C: 452 4.3.1 disk full
        C: ef\
        -> S: ef\
        S: 503 5.5.1 no
        -> C: 503 5.5.1 no
        C: BDAT 2\r\ngh\
        -> C: 503 5.5.1 A chunk was refused, RSET first
        C: DATA
        -> C: 503 5.5.1 DATA after BDAT
        C: BDAT 2 LAST\r\nij\
        -> S: RSET
        S: 250 reset
        -> C: 503 5.5.1 A chunk was refused, RSET first
        C: BDAT 0
        -> S: BDAT 0
        ",
    );
}

#[test]
fn a_last_chunk_decides_though_an_earlier_one_was_refused() {
    play_mail(
        r"
        C: BDAT 2\r\nabBDAT 2 LAST\r\nc\
        -> begin 1 a@one.example INBOX outgoing size=2
        -> append 1 abc\
        -> S: BDAT 2
        -> S: abBDAT 2 LAST
        -> S: c\
        S: 452 4.3.1 disk full
        -> C: 452 4.3.1 disk full
        C: d\
        -> append 1 d\
        -> prepare 1
        -> S: d\
        S: 503 5.5.1 no
        -> abort 1
        -> C: 503 5.5.1 no
        ",
    );
}

#[test]
fn a_last_chunk_refused_before_its_end() {
    play_mail(
        r"
        C: BDAT 4 LAST\r\nab\
        -> begin 1 a@one.example INBOX outgoing size=4
        -> append 1 ab\
        -> S: BDAT 4 LAST
        -> S: ab\
        S: 552 too big
        -> abort 1
        -> C: 552 too big
        C: cdNOOP
        -> S: cdNOOP
        ",
    );
    play_mail(
        r"
        C: BDAT 4 LAST\r\nab\
        -> begin 1 a@one.example INBOX outgoing size=4
        -> append 1 ab\
        -> S: BDAT 4 LAST
        -> S: ab\
        S: 250 liar
        -> C: 421 4.4.1 The mail server cannot be reached any more, try again later
        -> abort 1
        -> end fault the server accepted a message before its end
        ",
    );
}

#[test]
fn what_cannot_be_kept_is_swallowed_to_the_chunks_end() {
    play_mail(
        r"
        C: NOOP
        -> S: NOOP
        S: 250 ok
        -> C: 250 ok
        C: BDAT 0
        -> begin 1 a@one.example INBOX outgoing size=0
        -> S: BDAT 0
        fail append
        C: BDAT 4\r\nab\
        -> S: BDAT 4
        -> append 1 refused
        C: cdNOOP
        S: 250 0 octets
        -> C: 250 0 octets
        -> C: 451 4.3.0 The message could not be kept, try again later
        -> end fault the message could not be kept
        ",
    );
    play_mail(
        r"
        fail prepare
        C: BDAT 2 LAST\r\nab\
        -> begin 1 a@one.example INBOX outgoing size=2
        -> append 1 ab\
        -> S: BDAT 2 LAST
        -> S: a\
        -> prepare 1 refused
        -> C: 451 4.3.0 The message could not be kept, try again later
        -> end fault the message could not be kept
        ",
    );
}

#[test]
fn a_size_that_cannot_be_read_is_the_end() {
    for argument in ["", " x", " -1", " 18446744073709551616", " 1 LAST more"] {
        play_mail(&format!(
            "C: BDAT{argument}
            -> C: 501 5.5.4 Syntax: BDAT octets [LAST]
            -> end fault the client sent a BDAT that does not tell how many octets follow"
        ));
    }
}

#[test]
fn a_chunk_of_any_size_passes() {
    play_mail(
        r"
        C: BDAT 18446744073709551615 LAST
        -> begin 1 a@one.example INBOX outgoing size=18446744073709551615
        -> S: BDAT 18446744073709551615 LAST
        C: x
        -> append 1 x
        -> S: x
        eof C
        -> abort 1
        -> end fault the client closed in the middle of a message
        ",
    );
}

#[test]
fn swallowing_has_a_limit() {
    let text = "y".repeat(998);
    play_mail(&format!(
        r"
        fail begin
        C: BDAT 99999999999
        -> begin a@one.example INBOX outgoing size=99999999999 refused
        C: {text}
        C: more
        -> C: 451 4.3.0 The message could not be kept, try again later
        -> end fault the message could not be kept"
    ));
}

#[test]
fn what_resets_chunks() {
    for reset in ["RSET", "EHLO me", "HELO me", "MAIL FROM:<>"] {
        play_mail(&format!(
            "{FIRST}
            C: {reset}
            -> S: {reset}
            C: BDAT 0
            S: 250 ok
            -> abort 1
            -> S: BDAT 0
            -> C: 250 ok"
        ));
    }
    play_mail(&format!(
        "{FIRST}C: DATA\n-> C: 503 5.5.1 DATA after BDAT\nC: BDAT 0 LAST\n-> prepare 1\n-> S: BDAT 0 LAST"
    ));
    play_mail(&format!("{FIRST}eof C\n-> abort 1\noutstanding no"));
    play_mail(&format!(
        "{FIRST}
        C: QUIT
        -> S: QUIT
        S: 221 bye
        -> C: 221 bye
        -> abort 1
        -> end orderly QUIT"
    ));
}

#[test]
fn chunks_that_nobody_owns_pass() {
    play(
        r"
        C: MAIL FROM:<>\r\nRCPT TO:<b@two.example>
        -> S: MAIL FROM:<>
        -> S: RCPT TO:<b@two.example>
        S: 250 ok\r\n250 ok
        -> C: 250 ok
        -> C: 250 ok
        C: BDAT 3\r\nabcBDAT 2 LAST\r\nde\
        -> S: BDAT 3
        -> S: abcBDAT 2 LAST
        -> S: de\
        S: 250 ok
        -> C: 250 ok
        S: 250 queued
        -> C: 250 queued
        ",
    );
}
