//! Messages that are fetched whole.

use super::*;

#[test]
fn a_whole_message_is_kept_before_the_tagged_ok() {
    selected(
        r#"
        C: c UID FETCH 7 (UID BODY.PEEK[])
        -> S: c UID FETCH 7 (UID BODY.PEEK[])
        S: * 1 FETCH (UID 7 INTERNALDATE "01-Jan-2024 00:00:00 +0000" BODY[] {9}\r\nA: b\r\n\r\nx)
        -> begin 1 joe@example.org INBOX size=9
        -> append 1 A: b
        -> append 1 \r\n\
        -> append 1 x\
        -> date 1 1704067200
        -> finish 1
        -> C: * 1 FETCH (UID 7 INTERNALDATE "01-Jan-2024 00:00:00 +0000" BODY[] {9}
        -> C: A: b
        -> C: \r\n\
        -> C: x)
        S: c OK done
        -> settle
        -> C: c OK done
        outstanding no
        "#,
    );
}

#[test]
fn quoted_strings_nil_and_unsolicited_messages() {
    selected(
        r#"
        S: * 3 FETCH (RFC822 "a\\"b" UID 9)\r\n* 4 FETCH (BODY[] NIL UID 10)
        -> begin 1 joe@example.org INBOX
        -> append 1 a"b\
        -> finish 1
        -> C: * 3 FETCH (RFC822 "a\\"b" UID 9)
        -> C: * 4 FETCH (BODY[] NIL UID 10)
        C: c NOOP
        -> S: c NOOP
        S: c OK done
        -> settle
        -> C: c OK done
        "#,
    );
}

#[test]
fn header_and_text_in_one_response_in_any_order() {
    selected(
        r#"
        C: c FETCH 1 (BODY.PEEK[HEADER] BODY.PEEK[TEXT])
        -> S: c FETCH 1 (BODY.PEEK[HEADER] BODY.PEEK[TEXT])
        S: * 1 FETCH (BODY[HEADER] {6}\r\nA: b\r\n BODY[TEXT] {2}\r\nhi)
        -> begin 1 joe@example.org INBOX size=8
        -> append 1 A: b
        -> append 1 hi\
        -> finish 1
        -> C: * 1 FETCH (BODY[HEADER] {6}
        -> C: A: b
        -> C:  BODY[TEXT] {2}
        -> C: hi)
        S: * 2 FETCH (BODY[TEXT] {2}\r\nho RFC822.HEADER {6}\r\nA: c\r\n)
        -> begin 2 joe@example.org INBOX size=2
        -> append 2 ho\
        -> begin 3 joe@example.org INBOX
        -> append 3 A: c
        -> append_draft 3 2
        -> finish 3
        -> C: * 2 FETCH (BODY[TEXT] {2}
        -> C: ho RFC822.HEADER {6}
        -> C: A: c
        -> C: )
        S: c OK done
        -> settle
        -> C: c OK done
        "#,
    );
}

#[test]
fn header_and_text_in_two_commands_survive_an_expunge() {
    selected(
        r#"
        C: c FETCH 5 RFC822.HEADER
        -> S: c FETCH 5 RFC822.HEADER
        S: * 5 FETCH (RFC822.HEADER {6}\r\nA: b\r\n)\r\nc OK done
        -> C: * 5 FETCH (RFC822.HEADER {6}
        -> C: A: b
        -> C: )
        -> C: c OK done
        S: * 2 EXPUNGE
        -> C: * 2 EXPUNGE
        C: d FETCH 4 BODY.PEEK[TEXT]
        -> S: d FETCH 4 BODY.PEEK[TEXT]
        S: * 4 FETCH (BODY[TEXT] {2}\r\nhi)
        -> begin 1 joe@example.org INBOX size=8
        -> append 1 A: b
        -> append 1 hi\
        -> finish 1
        -> C: * 4 FETCH (BODY[TEXT] {2}
        -> C: hi)
        S: d OK done
        -> settle
        -> C: d OK done
        "#,
    );
}

#[test]
fn what_a_chunk_is_answered_with_may_be_whole_after_all() {
    selected(
        r#"
        C: c FETCH 7 BODY[]<0.5>
        -> S: c FETCH 7 BODY[]<0.5>
        S: * 7 FETCH (BODY[] {6}\r\n123456)
        -> begin 1 joe@example.org INBOX size=6
        -> append 1 123456\
        -> finish 1
        -> C: * 7 FETCH (BODY[] {6}
        -> C: 123456)
        "#,
    );
}

#[test]
fn message_text_and_server_text_that_look_like_protocol() {
    selected(
        r#"
        S: * OK it says {5}
        -> C: * OK it says {5}
        S: * 1 FETCH (BODY[] {32}\r\n)\r\nc OK\r\n* 1 FETCH (BODY[] {5}\r\n)
        -> begin 1 joe@example.org INBOX size=32
        -> append 1 )
        -> append 1 c OK
        -> append 1 * 1 FETCH (BODY[] {5}
        -> finish 1
        -> C: * 1 FETCH (BODY[] {32}
        -> C: )
        -> C: c OK
        -> C: * 1 FETCH (BODY[] {5}
        -> C: )
        S: * METADATA "" (/x {3}\r\n\r\n* )
        -> C: * METADATA "" (/x {3}
        -> C: \r\n* )
        S: * SEARCH 1 2 3
        -> C: * SEARCH 1 2 3
        "#,
    );
}

#[test]
fn a_message_that_cannot_be_begun_does_not_pass_and_the_session_goes_on() {
    selected(
        r#"
        C: c FETCH 1:2 RFC822
        -> S: c FETCH 1:2 RFC822
        fail begin
        S: * 1 FETCH (RFC822 {3}\r\nabc)\r\n* 2 FETCH (RFC822 {3}\r\ndef)
        -> begin joe@example.org INBOX size=3 refused
        -> begin 1 joe@example.org INBOX size=3
        -> append 1 def\
        -> finish 1
        -> C: * 2 FETCH (RFC822 {3}
        -> C: def)
        S: c OK done
        -> settle
        -> C: c NO [UNAVAILABLE] a message cannot be archived and was held back, try again later
        C: d NOOP
        -> S: d NOOP
        "#,
    );
}

#[test]
fn a_text_whose_header_cannot_be_kept_does_not_stay_open() {
    for call in ["begin", "append"] {
        let refused = match call {
            "begin" => "-> begin joe@example.org INBOX refused",
            _ => "-> begin 2 joe@example.org INBOX\n-> append 2 refused",
        };
        let recorder = selected(&format!(
            r#"
            C: c FETCH 1 (BODY[TEXT] BODY[HEADER])
            -> S: c FETCH 1 (BODY[TEXT] BODY[HEADER])
            S: * 1 FETCH (BODY[TEXT] {{2}}\r\nhi BODY[HEADER]\
            -> begin 1 joe@example.org INBOX size=2
            -> append 1 hi\
            fail {call}
            S:  {{4}}\r\nA: b)\r\nc OK done
            {refused}
            -> abort 1
            -> C: c NO [UNAVAILABLE] a message cannot be archived and was held back, try again later
            "#
        ));
        assert_eq!(recorder.drafts_left(), 0);
    }
}

#[test]
fn a_message_that_cannot_be_kept_at_the_end_ends_the_session() {
    selected(
        r#"
        C: c FETCH 1 RFC822
        -> S: c FETCH 1 RFC822
        fail settle
        S: * 1 FETCH (RFC822 "abc")\r\nc OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 abc\
        -> finish 1
        -> C: * 1 FETCH (RFC822 "abc")
        -> settle refused
        -> C: * BYE [UNAVAILABLE] a message cannot be archived at the moment, try again later
        -> end fault a message could not be kept
        "#,
    );
}

#[test]
fn a_message_that_was_not_kept_is_not_deleted_by_a_command_that_did_not_wait() {
    selected(
        r#"
        fail begin
        C: c FETCH 1 BODY[]\r\nd STORE 1 +FLAGS (\\Deleted)\r\ne EXPUNGE
        -> S: c FETCH 1 BODY[]
        S: * 1 FETCH (BODY[] "abc")\r\nc OK done
        -> begin joe@example.org INBOX refused
        -> C: * BYE [UNAVAILABLE] a message cannot be archived at the moment, try again later
        -> end fault a message could not be kept
        "#,
    );
}
