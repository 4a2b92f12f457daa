//! Whose a message is, by login and envelope.

use super::*;

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
