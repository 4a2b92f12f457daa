//! What a client gets in chunks and by parts is kept whole.

use super::run;
use crate::protocol::testing::Recorder;

/// Logged in as joe, with INBOX selected, whose UIDs last.
pub(super) const LASTING: &str = r#"
    S: * OK ready
    -> C: * OK ready
    C: a LOGIN joe secret
    -> S: a LOGIN joe secret
    S: a OK in
    -> logged_in joe@example.org
    -> C: a OK in
    C: b SELECT INBOX
    -> S: b SELECT INBOX
    S: * 9 EXISTS\r\n* OK [UIDVALIDITY 5] lasting\r\nb OK selected
    -> C: * 9 EXISTS
    -> C: * OK [UIDVALIDITY 5] lasting
    -> C: b OK selected
"#;

pub(super) fn lasting(script: &str) -> Recorder {
    run(&format!("{LASTING}{script}"))
}

#[test]
fn a_chunk_that_could_be_mistaken_waits_for_the_other_one_only() {
    lasting(
        r#"
        C: c UID FETCH 7 BODY[]<0.100>\r\nd NOOP\r\ne UID FETCH 7 BODY[]<0.200>
        -> S: c UID FETCH 7 BODY[]<0.100>
        -> S: d NOOP
        S: * 9 EXISTS\r\nc OK done
        -> C: * 9 EXISTS
        -> C: c OK done
        -> S: e UID FETCH 7 BODY[]<0.200>
        "#,
    );
}

#[test]
fn chunks_that_follow_each_other_are_one_message() {
    let recorder = lasting(
        r#"
        C: c UID FETCH 7 (UID BODY.PEEK[]<0.5000>)
        -> S: c UID FETCH 7 (UID BODY.PEEK[]<0.5000>)
        S: * 1 FETCH (UID 7 BODY[]<0> {3}\r\nabc)\r\nc OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 abc\
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> C: * 1 FETCH (UID 7 BODY[]<0> {3}
        -> C: abc)
        -> settle
        -> C: c OK done
        "#,
    );
    assert_eq!(recorder.drafts_left(), 0);
    // Sizes that grow, and an end that is told by an empty chunk.
    for end in ["BODY[]<9> {0}\\r\\n", "BODY[]<9> \"\""] {
        lasting(&format!(
            r#"
            C: c UID FETCH 7 (BODY[]<0.4>)
            -> S: c UID FETCH 7 (BODY[]<0.4>)
            S: * 1 FETCH (UID 7 BODY[]<0> {{4}}\r\nabcd)\r\nc OK done
            -> C: * 1 FETCH (UID 7 BODY[]<0> {{4}}
            -> C: abcd)
            -> C: c OK done
            C: d UID FETCH 7 (BODY[]<4.5>)
            -> S: d UID FETCH 7 (BODY[]<4.5>)
            S: * 1 FETCH (UID 7 BODY[]<4> {{5}}\r\nefghi)\r\nd OK done
            -> C: * 1 FETCH (UID 7 BODY[]<4> {{5}}
            -> C: efghi)
            -> C: d OK done
            C: e UID FETCH 7 (BODY[]<9.6>)
            -> S: e UID FETCH 7 (BODY[]<9.6>)
            S: * 1 FETCH ({end} UID 7)\r\ne OK done
            -> begin 1 joe@example.org INBOX
            -> append 1 abcdefghi\
            -> origin 1 imap INBOX 5 7
            -> finish 1
            -> C: * 1 FETCH ({end} UID 7)
            -> settle
            -> C: e OK done
            "#
        ));
    }
}

#[test]
fn an_origin_may_be_missing_or_repeat_the_count() {
    lasting(
        r#"
        C: c FETCH 3 BODY[]<0.4>
        -> S: c FETCH 3 BODY[]<0.4>
        S: * 3 FETCH (BODY[] {4}\r\nabcd)\r\nc OK done
        -> C: * 3 FETCH (BODY[] {4}
        -> C: abcd)
        -> C: c OK done
        C: d FETCH 3 BODY[]<4.4>
        -> S: d FETCH 3 BODY[]<4.4>
        S: * 3 FETCH (BODY[]<4.4> {2}\r\nef)\r\nd OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 abcdef\
        -> finish 1
        -> C: * 3 FETCH (BODY[]<4.4> {2}
        -> C: ef)
        -> settle
        -> C: d OK done
        "#,
    );
    // Of a later chunk it cannot be told then whether it is one, or the whole message once more.
    lasting(
        r#"
        C: c UID FETCH 7 BODY[]<0.4>
        -> S: c UID FETCH 7 BODY[]<0.4>
        S: * 3 FETCH (BODY[] {4}\r\nabcd UID 7)\r\nc OK done
        -> C: * 3 FETCH (BODY[] {4}
        -> C: abcd UID 7)
        -> C: c OK done
        C: d UID FETCH 7 BODY[]<4.8>
        -> S: d UID FETCH 7 BODY[]<4.8>
        S: * 3 FETCH (BODY[] {4}\r\nabcd UID 7)\r\nd OK done
        -> C: * 3 FETCH (BODY[] {4}
        -> C: abcd UID 7)
        -> S: X1 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[])
        "#,
    );
}

/// Parts of two messages: we ask for how both begin.
pub(super) const TWO_IN_PART: &str = r#"
    C: c UID FETCH 7:8 BODY[1]
    -> S: c UID FETCH 7:8 BODY[1]
    S: * 1 FETCH (UID 7 BODY[1] "a")\r\n* 2 FETCH (UID 8 BODY[1] "b")\r\nc OK done
    -> C: * 1 FETCH (UID 7 BODY[1] "a")
    -> C: * 2 FETCH (UID 8 BODY[1] "b")
    -> S: X1 UID FETCH 7:8 (UID INTERNALDATE BODY.PEEK[]<0.16>)
"#;

/// 20 octets of message 1, whose UID is 7, in two chunks: enough to be a download, and a draft. The tagged reply to the second is still to come.
pub(super) const DOWNLOAD: &str = r#"
    C: c UID FETCH 7 (UID BODY[]<0.10>)
    -> S: c UID FETCH 7 (UID BODY[]<0.10>)
    S: * 1 FETCH (UID 7 BODY[]<0> {10}\r\n0123456789)\r\nc OK done
    -> C: * 1 FETCH (UID 7 BODY[]<0> {10}
    -> C: 0123456789)
    -> C: c OK done
    C: d UID FETCH 7 (UID BODY[]<10.10>)
    -> S: d UID FETCH 7 (UID BODY[]<10.10>)
    S: * 1 FETCH (UID 7 BODY[]<10> {10}\r\n0123456789\
    -> begin 1 joe@example.org INBOX
    -> append 1 01234567890123456789\
"#;

#[test]
fn chunks_that_stop_are_fetched_to_their_end() {
    lasting(&format!(
        r#"
        {DOWNLOAD}
        S: )\r\nd OK done
        -> C: * 1 FETCH (UID 7 BODY[]<10> {{10}}
        -> C: 0123456789)
        -> C: d OK done
        C: e FETCH 1:* FLAGS
        -> S: e FETCH 1:* FLAGS
        S: * 1 FETCH (FLAGS ())\r\ne OK done
        -> S: X1 FETCH 1 (UID BODY.PEEK[]<20.262144>)
        -> C: * 1 FETCH (FLAGS ())
        -> C: e OK done
        S: * 1 FETCH (UID 7 BODY[]<20> {{1}}\r\ny)\r\nX1 OK done
        -> append 1 y\
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> settle
        "#
    ));
    // The client does nothing else either.
    lasting(&format!(
        r#"
        {DOWNLOAD}
        S: )\r\nd OK done
        -> C: * 1 FETCH (UID 7 BODY[]<10> {{10}}
        -> C: 0123456789)
        -> C: d OK done
        rest
        -> S: X1 FETCH 1 (UID BODY.PEEK[]<20.262144>)
        "#
    ));
}

#[test]
fn a_part_has_the_whole_message_fetched_before_the_reply() {
    let recorder = lasting(
        r#"
        C: c UID FETCH 7 (BODY.PEEK[1])
        -> S: c UID FETCH 7 (BODY.PEEK[1])
        S: * 3 FETCH (UID 7 BODY[1] {4}\r\npart)\r\n* 10 EXISTS\r\nc OK done
        -> C: * 3 FETCH (UID 7 BODY[1] {4}
        -> C: part)
        -> C: * 10 EXISTS
        -> S: X1 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        C: d NOOP
        outstanding yes
        S: * 3 FETCH (UID 7 INTERNALDATE "01-Jan-2024 00:00:00 +0000" BODY[]<0> {10}\r\nwhole )\r\n*)\r\n* 2 EXPUNGE
        -> begin 1 joe@example.org INBOX
        -> append 1 whole )
        -> append 1 *\
        -> date 1 1704067200
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> C: * 2 EXPUNGE
        S: X1 OK done
        -> settle
        -> S: d NOOP
        -> C: c OK done
        S: d OK done
        -> C: d OK done
        # A second part: it is kept.
        C: e FETCH 2 (BODY.PEEK[2])
        -> S: e FETCH 2 (BODY.PEEK[2])
        S: * 2 FETCH (BODY[2] {4}\r\nmore)\r\ne OK done
        -> C: * 2 FETCH (BODY[2] {4}
        -> C: more)
        -> C: e OK done
        "#,
    );
    assert_eq!(recorder.fetched, 10);
}

#[test]
fn what_an_earlier_session_kept_is_not_fetched_again() {
    lasting(
        r#"
        known imap INBOX 5 7
        C: c UID FETCH 7 (BODY.PEEK[1])
        -> S: c UID FETCH 7 (BODY.PEEK[1])
        S: * 3 FETCH (BODY[1] "part" UID 7)\r\nc OK done
        -> C: * 3 FETCH (BODY[1] "part" UID 7)
        -> C: c OK done
        # By its number alone: its UID has to be asked for.
        C: d FETCH 3 (BODY.PEEK[1])
        -> S: d FETCH 3 (BODY.PEEK[1])
        S: * 3 FETCH (BODY[1] "part")\r\nd OK done
        -> C: * 3 FETCH (BODY[1] "part")
        -> S: X1 FETCH 3 (UID)
        S: * 3 FETCH (UID 7)\r\nX1 OK done
        -> C: d OK done
        C: e FETCH 3 (BODY.PEEK[1])
        -> S: e FETCH 3 (BODY.PEEK[1])
        S: * 3 FETCH (BODY[1] "part")\r\ne OK done
        -> C: * 3 FETCH (BODY[1] "part")
        -> C: e OK done
        "#,
    );
}

#[test]
fn our_answers_are_swallowed_and_what_is_said_by_the_way_passes() {
    lasting(
        r#"
        C: c FETCH 3 (UID BINARY.PEEK[1.2])
        -> S: c FETCH 3 (UID BINARY.PEEK[1.2])
        S: * 3 FETCH (UID 7 BINARY[1.2] ~{2}\r\na\0)\r\nc OK done
        -> C: * 3 FETCH (UID 7 BINARY[1.2] ~{2}
        -> C: a\0)
        -> S: X1 FETCH 3 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        S: * 3 FETCH (FLAGS (\\Seen \\Recent) UID 7 BODY[] {2}\r\nab X-GM-LABELS ({3}\r\na)b "x y") MODSEQ (5))
        -> begin 1 joe@example.org INBOX
        -> append 1 ab\
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> C: * 3 FETCH (FLAGS (\\Seen \\Recent) UID 7 X-GM-LABELS ({3}
        -> C: a)b "x y") MODSEQ (5))
        S: * 4 FETCH (FLAGS (\\Deleted))\r\n* OK [ALERT] soon\r\n* FLAGS (a)
        -> C: * 4 FETCH (FLAGS (\\Deleted))
        -> C: * OK [ALERT] soon
        -> C: * FLAGS (a)
        S: X1 OK [EXPUNGEISSUED] done
        -> settle
        -> C: c OK done
        "#,
    );
}

#[test]
fn several_messages_are_fetched_together_and_the_big_ones_to_their_end() {
    let piece = "x".repeat(16);
    lasting(&format!(
        r#"
        C: c UID FETCH 7:9 (BODY.PEEK[1])
        -> S: c UID FETCH 7:9 (BODY.PEEK[1])
        S: * 1 FETCH (UID 7 BODY[1] "a")\r\n* 2 FETCH (UID 8 BODY[1] "b")\r\n* 3 FETCH (UID 9 BODY[1] "c")\r\nc OK done
        -> C: * 1 FETCH (UID 7 BODY[1] "a")
        -> C: * 2 FETCH (UID 8 BODY[1] "b")
        -> C: * 3 FETCH (UID 9 BODY[1] "c")
        -> S: X1 UID FETCH 7:9 (UID INTERNALDATE BODY.PEEK[]<0.16>)
        S: * 1 FETCH (UID 7 BODY[]<0> "one")\r\n* 2 FETCH (UID 8 BODY[]<0> {{16}}\r\n{piece})\r\n* 3 FETCH (BODY[]<0> "three" UID 9)\r\nX1 OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 one\
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> begin 2 joe@example.org INBOX
        -> append 2 {piece}\
        -> begin 3 joe@example.org INBOX
        -> append 3 three\
        -> origin 3 imap INBOX 5 9
        -> finish 3
        -> settle
        -> S: X2 UID FETCH 8 (UID BODY.PEEK[]<16.262144>)
        S: * 2 FETCH (UID 8 BODY[]<16> "")\r\nX2 OK done
        -> origin 2 imap INBOX 5 8
        -> finish 2
        -> settle
        -> C: c OK done
        "#
    ));
}

#[test]
fn previews_and_headers_set_off_nothing() {
    lasting(
        r#"
        C: c UID FETCH 1:* (BODY.PEEK[TEXT]<0.2048> BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[1.MIME] BODY.PEEK[1]<0.512>)
        -> S: c UID FETCH 1:* (BODY.PEEK[TEXT]<0.2048> BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[1.MIME] BODY.PEEK[1]<0.512>)
        S: * 1 FETCH (UID 7 BODY[TEXT]<0> "text" BODY[HEADER.FIELDS (SUBJECT)] "S: x" BODY[1.MIME] "a" BODY[1]<0> "b")
        -> C: * 1 FETCH (UID 7 BODY[TEXT]<0> "text" BODY[HEADER.FIELDS (SUBJECT)] "S: x" BODY[1.MIME] "a" BODY[1]<0> "b")
        S: * 2 FETCH (UID 8 BODY[TEXT] "without an origin")\r\nc OK done
        -> C: * 2 FETCH (UID 8 BODY[TEXT] "without an origin")
        -> C: c OK done
        C: d UID FETCH 1:* BODY.PEEK[]<0.4>
        -> S: d UID FETCH 1:* BODY.PEEK[]<0.4>
        S: * 1 FETCH (UID 7 BODY[]<0> {4}\r\n1234)\r\n* 2 FETCH (UID 8 BODY[]<0> {4}\r\n1234)\r\nd OK done
        -> C: * 1 FETCH (UID 7 BODY[]<0> {4}
        -> C: 1234)
        -> C: * 2 FETCH (UID 8 BODY[]<0> {4}
        -> C: 1234)
        -> C: d OK done
        C: e LOGOUT
        -> S: e LOGOUT
        "#,
    );
}

#[test]
fn a_text_without_its_header_and_one_of_another_mailbox_are_fetched_whole() {
    lasting(
        r#"
        S: * 1 FETCH (BODY[HEADER] "A: b")
        -> C: * 1 FETCH (BODY[HEADER] "A: b")
        C: c EXAMINE Work
        -> S: c EXAMINE Work
        S: c OK done
        -> C: c OK done
        C: d FETCH 1 BODY.PEEK[TEXT]
        -> S: d FETCH 1 BODY.PEEK[TEXT]
        S: * 1 FETCH (BODY[TEXT] "hi")\r\nd OK done
        -> begin 1 joe@example.org .Work
        -> append 1 hi\
        -> abort 1
        -> C: * 1 FETCH (BODY[TEXT] "hi")
        -> S: X1 FETCH 1 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        S: * 1 FETCH (UID 3 BODY[]<0> "B: c")\r\nX1 OK done
        -> begin 2 joe@example.org .Work
        -> append 2 B: c\
        -> finish 2
        -> settle
        -> C: d OK done
        "#,
    );
}

#[test]
fn an_origin_that_is_wrong_has_the_message_fetched_in_one_piece() {
    lasting(
        r#"
        C: c UID FETCH 7 BODY[]<0.5>
        -> S: c UID FETCH 7 BODY[]<0.5>
        S: * 1 FETCH (UID 7 BODY[]<5> "12345")\r\nc OK done
        -> C: * 1 FETCH (UID 7 BODY[]<5> "12345")
        -> S: X1 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[])
        S: * 1 FETCH (UID 7 BODY[] "1234567")\r\nX1 OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 1234567\
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> settle
        -> C: c OK done
        "#,
    );
}

#[test]
fn a_server_that_refuses_is_tried_in_another_way_and_told_of() {
    for (first, second) in [
        ("X1 NO no", "X2 NO [SERVERBUG] it is broken"),
        ("X1 BAD what", "X2 BAD what"),
        ("X1 OK done", "X2 OK done"),
        // Made up by the server in the place of the message: it has no UID.
        ("* 1 FETCH (BODY[]<0> \"Retrieval failed\")\\r\\nX1 OK", "X2 OK done"),
        ("* 1 FETCH (UID 7 BODY[]<0> NIL)\\r\\nX1 OK", "X2 OK done"),
    ] {
        let made_up = match first.contains("Retrieval") {
            true => "-> begin 1 joe@example.org INBOX\n-> append 1 Retrieval failed\\\n-> abort 1",
            false => "",
        };
        lasting(&format!(
            r#"
            C: c UID FETCH 7 BODY[1]
            -> S: c UID FETCH 7 BODY[1]
            S: * 1 FETCH (UID 7 BODY[1] "part")\r\nc OK done
            -> C: * 1 FETCH (UID 7 BODY[1] "part")
            -> S: X1 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
            S: {first}
            {made_up}
            -> S: X2 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[])
            S: {second}
            -> not_kept the server...
            -> C: c OK done
            C: d UID FETCH 7 BODY[1]
            -> S: d UID FETCH 7 BODY[1]
            S: * 1 FETCH (UID 7 BODY[1] "part")\r\nd OK done
            -> C: * 1 FETCH (UID 7 BODY[1] "part")
            -> C: d OK done
            "#
        ));
    }
}

#[test]
fn a_server_that_wants_less_is_left_alone() {
    lasting(
        r#"
        C: c UID FETCH 7 BODY[1]
        -> S: c UID FETCH 7 BODY[1]
        S: * 1 FETCH (UID 7 BODY[1] "part")\r\nc OK done
        -> C: * 1 FETCH (UID 7 BODY[1] "part")
        -> S: X1 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        S: X1 NO [OVERQUOTA] Account exceeded bandwidth limits.
        -> not_kept the server refuses it: NO\x20[OVERQUOTA]\x20Account\x20exceeded\x20bandwidth\x20limits. (folder=INBOX uid=7)...
        -> C: c OK done
        C: d UID FETCH 8 BODY[1]
        -> S: d UID FETCH 8 BODY[1]
        S: * 2 FETCH (UID 8 BODY[1] "part")
        -> not_kept the server has asked for less before...
        -> C: * 2 FETCH (UID 8 BODY[1] "part")
        S: d OK done
        -> C: d OK done
        "#,
    );
}

#[test]
fn what_the_archive_does_not_take_turns_the_reply_into_a_no() {
    for (call, answer) in [
        ("begin", "NO [UNAVAILABLE] a message cannot be archived and was held back, try again later"),
        ("append", "NO [UNAVAILABLE] a message cannot be archived and was held back, try again later"),
        ("append large", "NO [LIMIT] a message is larger than what is archived here and was held back"),
        ("settle", "NO [UNAVAILABLE] a message cannot be archived and was held back, try again later"),
    ] {
        let happens = match call {
            "begin" => "-> begin joe@example.org INBOX refused",
            "settle" => {
                "-> begin 1 joe@example.org INBOX\n-> append 1 whole\\\n-> origin 1 imap INBOX 5 7\n-> finish 1\n-> settle refused"
            }
            _ => "-> begin 1 joe@example.org INBOX\n-> append 1 refused",
        };
        let recorder = lasting(&format!(
            r#"
            C: c UID FETCH 7 BODY[1]
            -> S: c UID FETCH 7 BODY[1]
            S: * 1 FETCH (UID 7 BODY[1] "part")\r\nc OK done
            -> C: * 1 FETCH (UID 7 BODY[1] "part")
            -> S: X1 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
            fail {call}
            S: * 1 FETCH (UID 7 BODY[]<0> "whole")\r\nX1 OK done
            {happens}
            -> C: c {answer}
            "#
        ));
        assert_eq!(recorder.drafts_left(), 0, "{call}");
    }
}

#[test]
fn a_message_that_is_too_large_is_asked_for_once_and_told_of_each_time() {
    lasting(
        r#"
        C: c UID FETCH 7 BODY[1]
        -> S: c UID FETCH 7 BODY[1]
        S: * 1 FETCH (UID 7 BODY[1] "part")\r\nc OK done
        -> C: * 1 FETCH (UID 7 BODY[1] "part")
        -> S: X1 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        fail append large
        S: * 1 FETCH (UID 7 BODY[]<0> "whole")\r\nX1 OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 refused
        -> C: c NO [LIMIT] a message is larger than what is archived here and was held back
        C: d UID FETCH 7 BODY[2]
        -> S: d UID FETCH 7 BODY[2]
        S: * 1 FETCH (UID 7 BODY[2] "part")\r\nd OK done
        -> C: * 1 FETCH (UID 7 BODY[2] "part")
        -> C: d NO [LIMIT] a message is larger than what is archived here and was held back
        "#,
    );
}

#[test]
fn a_piece_of_a_header_is_no_header() {
    // Some servers leave the origin out.
    lasting(
        r#"
        C: c UID FETCH 7 (BODY.PEEK[HEADER]<0.4>)
        -> S: c UID FETCH 7 (BODY.PEEK[HEADER]<0.4>)
        S: * 1 FETCH (UID 7 BODY[HEADER] "A: b")\r\nc OK done
        -> C: * 1 FETCH (UID 7 BODY[HEADER] "A: b")
        -> C: c OK done
        C: d UID FETCH 7 (BODY.PEEK[TEXT])
        -> S: d UID FETCH 7 (BODY.PEEK[TEXT])
        S: * 1 FETCH (UID 7 BODY[TEXT] "text")\r\nd OK done
        -> begin 1 joe@example.org INBOX
        -> append 1 text\
        -> abort 1
        -> C: * 1 FETCH (UID 7 BODY[TEXT] "text")
        -> S: X1 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        "#,
    );
}

#[test]
fn pipelined_commands_keep_their_order_and_select_waits() {
    lasting(
        r#"
        C: c UID FETCH 7 BODY[1]\r\nd UID FETCH 8 BODY[1]\r\ne SELECT Work
        -> S: c UID FETCH 7 BODY[1]
        -> S: d UID FETCH 8 BODY[1]
        S: * 1 FETCH (UID 7 BODY[1] "a")\r\nc OK done\r\n* 2 FETCH (UID 8 BODY[1] "b")\r\nd OK done
        -> C: * 1 FETCH (UID 7 BODY[1] "a")
        -> C: c OK done
        -> C: * 2 FETCH (UID 8 BODY[1] "b")
        -> S: X1 UID FETCH 7:8 (UID INTERNALDATE BODY.PEEK[]<0.16>)
        S: * 1 FETCH (UID 7 BODY[]<0> "one")\r\n* 2 FETCH (UID 8 BODY[]<0> "two")
        -> begin 1 joe@example.org INBOX
        -> append 1 one\
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> begin 2 joe@example.org INBOX
        -> append 2 two\
        -> origin 2 imap INBOX 5 8
        -> finish 2
        S: X1 OK done
        -> settle
        -> S: e SELECT Work
        -> C: d OK done
        "#,
    );
}

#[test]
fn a_client_that_left_has_its_messages_fetched_to_the_end() {
    lasting(&format!(
        r#"
        {DOWNLOAD}
        eof C
        outstanding yes
        S: )\r\nd OK done
        -> S: X1 UID FETCH 7 (UID BODY.PEEK[]<20.262144>)
        -> C: * 1 FETCH (UID 7 BODY[]<10> {{10}}
        -> C: 0123456789)
        -> C: d OK done
        S: * 1 FETCH (UID 7 BODY[]<20> "y")\r\nX1 OK done
        -> append 1 y\
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> settle
        -> S: X2 LOGOUT
        outstanding yes
        S: * BYE\r\nX2 OK bye
        -> C: * BYE
        -> end orderly client closed
        "#
    ));
    // Nothing was due: it ends as it would without us.
    lasting(
        r#"
        eof C
        -> nothing
        outstanding no
        "#,
    );
}

#[test]
fn a_whole_message_is_kept_at_its_reply_although_a_chunk_is_asked_for_behind_it() {
    lasting(
        r#"
        C: c UID FETCH 7 BODY.PEEK[]\r\nd UID FETCH 8 BODY.PEEK[]<0.9>
        -> S: c UID FETCH 7 BODY.PEEK[]
        -> S: d UID FETCH 8 BODY.PEEK[]<0.9>
        S: * 1 FETCH (UID 7 BODY[] "seven")
        -> begin 1 joe@example.org INBOX
        -> append 1 seven\
        -> origin 1 imap INBOX 5 7
        -> finish 1
        -> C: * 1 FETCH (UID 7 BODY[] "seven")
        S: c OK done
        -> settle
        -> C: c OK done
        S: * 2 FETCH (UID 8 BODY[]<0> "eight")
        -> begin 2 joe@example.org INBOX
        -> append 2 eight\
        -> origin 2 imap INBOX 5 8
        -> finish 2
        -> C: * 2 FETCH (UID 8 BODY[]<0> "eight")
        S: d OK done
        -> settle
        -> C: d OK done
        "#,
    );
}

#[test]
fn a_client_that_leaves_is_told_no_expunge_before_its_fetch_is_answered() {
    lasting(
        r#"
        C: c FETCH 2 BODY[1]\r\nd LOGOUT
        -> S: c FETCH 2 BODY[1]
        S: * 2 FETCH (BODY[1] "part")\r\nc OK done
        -> C: * 2 FETCH (BODY[1] "part")
        -> S: X1 FETCH 2 (UID)
        S: * 2 FETCH (UID 8)\r\nX1 OK done
        -> S: X2 FETCH 2 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        "#,
    );
}

#[test]
fn a_header_and_text_are_kept_at_their_reply_although_previews_are_asked_for_behind_them() {
    for preview in ["BODY.PEEK[TEXT]<0.9>", "BODY.PEEK[HEADER]<0.9>"] {
        lasting(&format!(
            r#"
            C: c UID FETCH 7 (BODY.PEEK[HEADER] BODY.PEEK[TEXT])\r\nd UID FETCH 8 {preview}
            -> S: c UID FETCH 7 (BODY.PEEK[HEADER] BODY.PEEK[TEXT])
            -> S: d UID FETCH 8 {preview}
            S: * 1 FETCH (UID 7 BODY[HEADER] "head" BODY[TEXT] {{0}}\r\n)\r\nc OK done
            -> begin 1 joe@example.org INBOX size=4
            -> append 1 head\
            -> origin 1 imap INBOX 5 7
            -> finish 1
            -> C: * 1 FETCH (UID 7 BODY[HEADER] "head" BODY[TEXT] {{0}}
            -> C: )
            -> settle
            -> C: c OK done
            "#
        ));
    }
}

#[test]
fn a_download_that_begins_anew_and_stops_is_fetched_to_its_end() {
    lasting(&format!(
        r#"
        {DOWNLOAD}
        S: )\r\nd OK done
        -> C: * 1 FETCH (UID 7 BODY[]<10> {{10}}
        -> C: 0123456789)
        -> C: d OK done
        C: e UID FETCH 7 (UID BODY[]<0.10>)
        -> S: e UID FETCH 7 (UID BODY[]<0.10>)
        S: * 1 FETCH (UID 7 BODY[]<0> {{10}}\r\n0123456789)\r\ne OK done
        -> abort 1
        -> C: * 1 FETCH (UID 7 BODY[]<0> {{10}}
        -> C: 0123456789)
        -> C: e OK done
        C: f LOGOUT
        -> S: X1 UID FETCH 7 (UID INTERNALDATE BODY.PEEK[]<0.262144>)
        "#
    ));
}

#[test]
fn a_session_that_ends_leaves_no_message_half_said() {
    let recorder = lasting(
        r#"
        C: c FETCH 1 BODY[]\r\nd APPEND INBOX {3}
        -> S: c FETCH 1 BODY[]
        -> begin 1 joe@example.org INBOX size=3
        -> S: d APPEND INBOX {3}
        fail settle
        S: * 1 FETCH (BODY[] "abc")\r\nc OK done
        -> begin 2 joe@example.org INBOX
        -> append 2 abc\
        -> finish 2
        -> C: * 1 FETCH (BODY[] "abc")
        -> settle refused
        -> C: * BYE [UNAVAILABLE] a message cannot be archived at the moment, try again later
        -> abort 1
        -> end fault a message could not be kept
        "#,
    );
    assert_eq!(recorder.drafts_left(), 0);
}
