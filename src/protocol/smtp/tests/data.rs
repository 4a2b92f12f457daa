//! Messages under DATA: who gets a copy, when it is prepared and committed, what is refused.

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
fn the_login_is_the_sender_whatever_the_envelope_says() {
    let script = |copies: &str| {
        format!(
            r"{GREETING}
            C: AUTH PLAIN AG1lAHB3
            -> S: AUTH PLAIN AG1lAHB3
            S: 235 yes
            -> logged_in me@home.example
            -> C: 235 yes
            {MAIL}
            C: DATA
            {copies}
            -> S: DATA"
        )
    };
    let local_domains = vec!["two.example".to_owned()];
    for (keep, local_domains, copies) in [
        (Keep::Sender, vec![], "-> begin 1 me@home.example INBOX outgoing"),
        (Keep::Sender, local_domains.clone(), "-> begin 1 me@home.example INBOX outgoing"),
        (Keep::Both, local_domains, "-> begin 1 me@home.example INBOX outgoing, b@two.example INBOX"),
        (Keep::Recipients, vec![], "-> begin 1 b@two.example INBOX"),
        (Keep::Recipients, vec!["three.example".to_owned()], ""),
    ] {
        play_with(&Settings { keep, local_domains, ..settings() }, &script(copies));
    }
}

#[test]
fn without_a_login_the_envelope_decides() {
    let script = |copies: &str| {
        format!(
            r#"{GREETING}
            C: mail from: A@One.example
            -> S: mail from: A@One.example
            S: 250 ok
            -> C: 250 ok
            C: RCPT TO:<b@two.example>
            -> S: RCPT TO:<b@two.example>
            S: 251 forwarded
            -> C: 251 forwarded
            C: RCPT TO:<refused@two.example>
            -> S: RCPT TO:<refused@two.example>
            S: 550 no
            -> C: 550 no
            C: RCPT TO:<"C D"@three.example> NOTIFY=NEVER
            -> S: RCPT TO:<"C D"@three.example> NOTIFY=NEVER
            S: 250 ok
            -> C: 250 ok
            C: RCPT TO:<postmaster>
            -> S: RCPT TO:<postmaster>
            S: 250 ok
            -> C: 250 ok
            C: DATA
            {copies}
            -> S: DATA"#
        )
    };
    let of = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let all = "b@two.example INBOX, c d@three.example INBOX, postmaster@home.example INBOX";
    for (keep, local_domains, copies) in [
        (Keep::Sender, of(&[]), "-> begin 1 a@one.example INBOX outgoing".to_owned()),
        (Keep::Sender, of(&["two.example"]), String::new()),
        (Keep::Recipients, of(&[]), format!("-> begin 1 {all}")),
        // Without a domain it is the server's own, whatever is local.
        (
            Keep::Recipients,
            of(&["three.example", "x"]),
            "-> begin 1 c d@three.example INBOX, postmaster@home.example INBOX".to_owned(),
        ),
        (Keep::Recipients, of(&["home.example"]), "-> begin 1 postmaster@home.example INBOX".to_owned()),
        (Keep::Both, of(&[]), format!("-> begin 1 a@one.example INBOX outgoing, {all}")),
    ] {
        play_with(&Settings { keep, local_domains, ..settings() }, &script(&copies));
    }
}

#[test]
fn a_star_in_an_envelope_address_is_no_master_login() {
    play(
        r"
        C: MAIL FROM:<boss*a@one.example>\r\nRCPT TO:<b@two.example>
        -> S: MAIL FROM:<boss*a@one.example>
        -> S: RCPT TO:<b@two.example>
        S: 250 ok\r\n250 ok
        -> C: 250 ok
        -> C: 250 ok
        C: DATA
        -> begin 1 boss*a@one.example INBOX outgoing
        -> S: DATA
        ",
    );
}

#[test]
fn a_message_that_nobody_owns_passes() {
    let recorder = play(
        r"
        C: MAIL FROM:<>\r\nRCPT TO:<b@two.example>
        -> S: MAIL FROM:<>
        -> S: RCPT TO:<b@two.example>
        S: 250 ok\r\n250 ok
        -> C: 250 ok
        -> C: 250 ok
        C: DATA
        -> S: DATA
        S: 354 go
        -> C: 354 go
        C: x\r\n.
        -> S: x
        -> S: .
        S: 250 queued
        -> C: 250 queued
        ",
    );
    assert_eq!(recorder.notes, ["a message that nobody here owns passes without a copy"]);
}

#[test]
fn a_recipient_that_servers_read_in_different_ways_is_refused_and_none_slips_by() {
    for keep in [Keep::Recipients, Keep::Both] {
        let local_domains = vec!["local".to_owned()];
        let recorder = play_with(
            &Settings { keep, local_domains, ..settings() },
            &format!(
                r"{GREETING}
                C: MAIL FROM:<x@far>\r\nRCPT TO:<alice@local(x)>\r\nRCPT TO:<bob@local>\r\nRCPT TO:<alice@ local>\r\nRCPT TO:(<x@far>)<alice@local>\r\nRCPT TO:(<alice@local>)<mallory@local>\r\nRCPT TO:<>\r\nNOOP
                -> S: MAIL FROM:<x@far>
                -> S: RCPT TO:<bob@local>
                -> S: NOOP
                S: 250 1
                -> C: 250 1
                -> C: 501 5.1.3 Recipient address not understood
                S: 250 2
                -> C: 250 2
                -> C: 501 5.1.3 Recipient address not understood
                -> C: 501 5.1.3 Recipient address not understood
                -> C: 501 5.1.3 Recipient address not understood
                -> C: 501 5.1.3 Recipient address not understood
                S: 250 3
                -> C: 250 3
                C: DATA
                -> begin 1 bob@local INBOX
                -> S: DATA
                "
            ),
        );
        assert_eq!(recorder.notes.len(), 5);
    }
}

#[test]
fn a_sender_that_servers_read_in_different_ways_is_refused_where_he_owns_the_copy() {
    for keep in [Keep::Sender, Keep::Both] {
        play_with(
            &Settings { keep, ..settings() },
            &format!(
                r"{GREETING}
                C: MAIL FROM:<a@one.example(x)>
                -> C: 501 5.1.7 Sender address not understood
                C: MAIL FROM whom
                -> C: 501 5.1.7 Sender address not understood
                C: AUTH PLAIN AG1lAHB3
                -> S: AUTH PLAIN AG1lAHB3
                S: 235 yes
                -> logged_in me@home.example
                -> C: 235 yes
                C: MAIL FROM:<a@one.example(x)>
                -> S: MAIL FROM:<a@one.example(x)>
                S: 250 ok
                -> C: 250 ok
                C: DATA
                -> begin 1 me@home.example INBOX outgoing
                -> S: DATA"
            ),
        );
    }
}

#[test]
fn where_nobody_asks_whose_an_address_is_any_spelling_passes() {
    play(
        r"
        C: MAIL FROM:<>
        -> S: MAIL FROM:<>
        S: 250 ok
        -> C: 250 ok
        C: RCPT TO:<alice@local(x)>
        -> S: RCPT TO:<alice@local(x)>
        ",
    );
    play_with(
        &Settings { keep: Keep::Recipients, ..settings() },
        &format!(
            "{GREETING}
            C: MAIL FROM whom
            -> S: MAIL FROM whom"
        ),
    );
}

#[test]
fn an_address_without_a_domain_is_the_servers_own_and_gets_its_copy() {
    let local = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    for (default_domain, local_domains, owner) in [
        ("home.example", local(&["two.example", "home.example"]), "postmaster@home.example"),
        ("home.example", local(&["two.example"]), "postmaster@home.example"),
        // What stands where no default_domain is configured.
        ("localhost", local(&["two.example", "three.example"]), "postmaster@two.example"),
        ("localhost", local(&[]), "postmaster@localhost"),
    ] {
        let default_domain = default_domain.to_owned();
        play_with(
            &Settings { keep: Keep::Recipients, local_domains, default_domain, ..settings() },
            &format!(
                "{GREETING}
                C: RCPT TO:<Postmaster>
                -> S: RCPT TO:<Postmaster>
                S: 250 ok
                -> C: 250 ok
                C: DATA
                -> begin 1 {owner} INBOX
                -> S: DATA"
            ),
        );
    }
}

#[test]
fn a_sender_who_was_not_asked_about_and_has_to_be_known_after_all_is_told_of() {
    play(
        r"
        C: AUTH PLAIN AG1lAHB3
        -> S: AUTH PLAIN AG1lAHB3
        S: 235 yes
        -> logged_in me@home.example
        -> C: 235 yes
        C: MAIL FROM whom\r\nRCPT TO:<b@two.example>
        -> S: MAIL FROM whom
        -> S: RCPT TO:<b@two.example>
        S: 250 ok\r\n250 ok
        -> C: 250 ok
        -> C: 250 ok
        C: AUTH LOGIN
        -> S: AUTH LOGIN
        S: 235 as anybody
        -> C: 235 as anybody
        C: DATA
        -> S: DATA
        S: 354 go
        -> C: 354 go
        C: .
        -> S: .
        S: 250 queued
        -> not_kept a message was accepted for an address that could not be read, and no copy went there
        -> C: 250 queued
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
