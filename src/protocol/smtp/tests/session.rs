//! Commands, replies, EHLO, AUTH, the envelope, ends.

use super::*;
use crate::protocol::Side;
use crate::protocol::smtp::address::Path;
use crate::protocol::smtp::server::{Asked, Pending};
use crate::protocol::testing::Session;

#[test]
fn a_session_passes_as_it_is() {
    play_with(
        &settings(),
        r"
        outstanding yes
        S: 220-mx.example ESMTP
        -> C: 220-mx.example ESMTP
        farewell timeout none
        S: 220 no spam please
        -> C: 220 no spam please
        outstanding no
        C: ehlo Client.example
        -> S: ehlo Client.example
        S: 250-mx.example
        S: 250-SIZE 1000
        S: 250-CHUNKING
        S: 250 8BITMIME
        -> C: 250-mx.example
        -> C: 250-SIZE 1000
        -> C: 250-CHUNKING
        -> C: 250 8BITMIME
        C: NOOP\n\
        -> S: NOOP
        outstanding yes
        S: 250-2.0.0\n\
        -> C: 250-2.0.0\n\
        S: 250 Ok
        -> C: 250 Ok
        C: XYZZY \xff
        -> S: XYZZY \xff
        S: 500 5.5.2 what?
        -> C: 500 5.5.2 what?
        C: QUIT
        -> S: QUIT
        C: NOOP
        S: 221 bye
        -> C: 221 bye
        -> end orderly QUIT
        outstanding no
        farewell lost none
        ",
    );
}

#[test]
fn a_quit_that_is_refused_does_not_end() {
    play(
        r"
        C: QUIT now
        -> S: QUIT now
        C: NOOP
        S: 501 no arguments
        -> S: NOOP
        -> C: 501 no arguments
        ",
    );
}

#[test]
fn replies_keep_the_order_of_the_commands_ours_too() {
    play(
        r"
        C: NOOP 1
        -> S: NOOP 1
        C: XCLIENT NAME=x
        C: NOOP 2
        -> S: NOOP 2
        C: ETRN x
        C: \r\n\
        C: LHLO me
        S: 250 1
        -> C: 250 1
        -> C: 502 5.5.1 Command not implemented
        S: 250 2
        -> C: 250 2
        -> C: 502 5.5.1 Command not implemented
        -> C: 500 5.5.2 Empty command
        -> C: 500 5.5.1 This is SMTP, not LMTP
        ",
    );
}

#[test]
fn cr_and_nul_in_a_command_are_refused_here() {
    play(
        r"
        C: NOOP\rDATA
        -> C: 500 5.5.2 Bare CR or NUL in a command
        C: NOOP\0
        -> C: 500 5.5.2 Bare CR or NUL in a command
        C: NOOP\r\r\n\
        -> C: 500 5.5.2 Bare CR or NUL in a command
        ",
    );
}

#[test]
fn a_line_too_long_ends_the_session_in_its_turn() {
    let mut session = Session::new(make(settings()));
    session.feed(Side::Server, b"220 hi\r\n");
    session.feed(Side::Client, b"NOOP\r\n");
    session.feed(Side::Client, &[b'x'; 70_000]);
    assert_eq!(session.host.sent(Side::Client), b"220 hi\r\n");
    session.feed(Side::Server, b"250 ok\r\n");
    assert_eq!(session.host.sent(Side::Client), b"220 hi\r\n250 ok\r\n500 5.5.2 Line too long\r\n");
    assert!(session.host.ended());
}

#[test]
fn a_client_far_ahead_is_held_back() {
    let mut session = Session::new(make(settings()));
    session.feed(Side::Server, b"220 hi\r\n");
    session.feed(Side::Client, &b"NOOP\r\n".repeat(3000));
    assert_eq!(session.host.sent(Side::Server), b"NOOP\r\n".repeat(1000));
    session.feed(Side::Server, &b"250 ok\r\n".repeat(1000));
    assert_eq!(session.host.sent(Side::Server), b"NOOP\r\n".repeat(2000));
    session.feed(Side::Server, b"250 ok\r\n");
    assert_eq!(session.host.sent(Side::Server), b"NOOP\r\n".repeat(2001));
    session.feed(Side::Server, &b"250 ok\r\n".repeat(999));
    assert_eq!(session.host.sent(Side::Server), b"NOOP\r\n".repeat(3000));
}

#[test]
fn ehlo_is_filtered_whenever_it_is_answered() {
    play(
        r"
        C: EHLO me
        -> S: EHLO me
        S: 250-mx.example AUTH STARTTLS
        S: 250-STARTTLS
        S: 250-auth GSSAPI PLAIN LOGIN NTLM
        S: 250-AUTH=PLAIN LOGIN
        S: 250-BURL imap
        S: 250-XCLIENT NAME ADDR
        S: 250-XFORWARD NAME
        S: 250-PIPELINING
        S: 250-ETRN
        S: 250-ATRN
        S: 250-TURN
        S: 250-XEXCH50
        S: 250-X-LINK2STATE
        S: 250-x-anonymoustls
        S: 250-X-EXPS GSSAPI NTLM
        S: 250-X-EXPS=LOGIN
        S: 250-BINARYMIME
        S: 250-X-SOMETHING ELSE
        S: 250 XSHADOWREQUEST
        -> C: 250-mx.example AUTH STARTTLS
        -> C: 250-auth PLAIN LOGIN
        -> C: 250-AUTH=PLAIN LOGIN
        -> C: 250-PIPELINING
        -> C: 250-BINARYMIME
        -> C: 250 X-SOMETHING ELSE
        C: EHLO me
        -> S: EHLO me
        S: 250-mx.example
        S: 250 STARTTLS
        -> C: 250 mx.example
        C: EHLO me
        -> S: EHLO me
        S: 502-no
        S: 502 STARTTLS
        -> C: 502-no
        -> C: 502 STARTTLS
        C: HELO me
        -> S: HELO me
        S: 250 mx.example
        -> C: 250 mx.example
        ",
    );
}

#[test]
fn scram_goes_where_a_channel_could_be_bound() {
    play(
        r"
        C: EHLO me
        -> S: EHLO me
        S: 250-mx.example
        S: 250-AUTH SCRAM-SHA-256 PLAIN
        S: 250-AUTH=SCRAM-SHA-256-PLUS
        S: 250 HELP
        -> C: 250-mx.example
        -> C: 250-AUTH PLAIN
        -> C: 250 HELP
        C: AUTH scram-sha-256 biwsbj1tZSxyPWFiYw==
        -> C: 504 5.5.4 Authentication mechanism not supported
        C: AUTH SCRAM-SHA-256-PLUS
        -> C: 504 5.5.4 Authentication mechanism not supported
        C: AUTH NTLM
        -> C: 504 5.5.4 Authentication mechanism not supported
        ",
    );
}

#[test]
fn a_reply_to_ehlo_has_an_end() {
    let mut session = Session::new(make(settings()));
    session.feed(Side::Server, b"220 hi\r\n");
    session.feed(Side::Client, b"EHLO me\r\n");
    session.feed(Side::Server, &b"250-X\r\n".repeat(256));
    assert!(!session.host.ended());
    session.feed(Side::Server, b"250-X\r\n");
    assert!(session.host.ended());
}

#[test]
fn a_login_is_the_servers_to_accept() {
    play(
        r"
        C: AUTH PLAIN AG1lQGV4YW1wbGUuY29tAHB3
        -> S: AUTH PLAIN AG1lQGV4YW1wbGUuY29tAHB3
        S: 535 5.7.8 no
        -> C: 535 5.7.8 no
        C: AUTH PLAIN
        -> S: AUTH PLAIN
        S: 334 \
        C:
        S: \r\n\
        -> C: 334 \
        -> C:
        -> S:
        S: 501 what
        -> C: 501 what
        C: AUTH LOGIN
        -> S: AUTH LOGIN
        S: 334 VXNlcm5hbWU6
        -> C: 334 VXNlcm5hbWU6
        outstanding no
        C: TWU=
        -> S: TWU=
        outstanding yes
        S: 334 UGFzc3dvcmQ6
        -> C: 334 UGFzc3dvcmQ6
        C: cHc=\n\
        -> S: cHc=
        S: 235-2.7.0 yes
        -> C: 235-2.7.0 yes
        S: 235 2.7.0 indeed
        -> logged_in me@home.example
        -> C: 235 2.7.0 indeed
        ",
    );
}

#[test]
fn auth_waits_for_the_replies_before_it_and_holds_what_is_behind() {
    play(
        r"
        C: NOOP
        -> S: NOOP
        C: AUTH PLAIN AG1lAHB3
        C: MAIL FROM:<x@y>
        outstanding yes
        S: 250 ok
        -> S: AUTH PLAIN AG1lAHB3
        -> C: 250 ok
        S: 200 any success counts
        -> logged_in me@home.example
        -> S: MAIL FROM:<x@y>
        -> C: 200 any success counts
        ",
    );
}

#[test]
fn what_cannot_be_read_is_no_login() {
    let recorder = play(
        r"
        C: AUTH
        -> C: 501 5.5.4 Syntax: AUTH mechanism [initial-response]
        C: AUTH PLAIN a b
        -> C: 501 5.5.4 Syntax: AUTH mechanism [initial-response]
        C: AUTH PLAIN ***
        -> C: 535 5.7.8 Authentication refused: the SASL message is not base64
        C: AUTH PLAIN
        -> S: AUTH PLAIN
        S: 334
        -> C: 334
        C: secret!
        -> S: *
        S: 501 5.7.0 cancelled
        -> C: 501 5.7.0 cancelled
        C: AUTH PLAIN
        -> S: AUTH PLAIN
        S: 334
        -> C: 334
        C: AG1lAHB3\rAG1lAHB3
        -> S: *
        S: 501 5.7.0 cancelled
        -> C: 501 5.7.0 cancelled
        C: AUTH PLAIN
        -> S: AUTH PLAIN
        S: 334
        -> C: 334
        C: *
        -> S: *
        S: 501 5.7.0 cancelled
        -> C: 501 5.7.0 cancelled
        C: NOOP
        -> S: NOOP
        ",
    );
    let failed = recorder.notes.iter().filter(|note| note.starts_with("login failed: "));
    assert_eq!((recorder.notes.len(), failed.count()), (6, 4));
    assert!(recorder.notes.iter().all(|note| !note.contains("secret")));
}

#[test]
fn a_server_that_accepts_a_cancelled_login_is_not_believed() {
    for reply in ["235 2.7.0 yes", "334 more"] {
        play(&format!(
            r"
            C: AUTH PLAIN
            -> S: AUTH PLAIN
            S: 334
            -> C: 334
            C: !
            -> S: *
            S: {reply}
            -> C: 421 4.4.1 The mail server cannot be reached any more, try again later
            -> end fault the server went on with a login that was cancelled"
        ));
    }
}

#[test]
fn a_login_that_names_nobody_is_none() {
    let recorder = play(
        r"
        C: AUTH LOGIN
        -> S: AUTH LOGIN
        S: 235 yes
        -> C: 235 yes
        C: MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>
        -> S: MAIL FROM:<a@b.example>
        -> S: RCPT TO:<c@d.example>
        S: 250 ok\r\n250 ok
        -> C: 250 ok
        -> C: 250 ok
        C: DATA
        -> begin 1 a@b.example INBOX outgoing
        -> S: DATA
        ",
    );
    assert_eq!(recorder.notes, ["a login succeeded that named nobody: the envelope decides who gets a copy"]);
}

#[test]
fn replies_that_nobody_asked_for_end_the_session() {
    play(
        r"
        S: 250 surprise
        -> C: 421 4.4.1 The mail server cannot be reached any more, try again later
        -> end fault the server answered what was not asked: ...
        ",
    );
}

#[test]
fn a_server_that_leaves_is_passed_on() {
    for reply in ["421 4.4.2 idle", "421-4.4.2 idle\nS: 421 really", "554 5.3.2 gone"] {
        let first = reply.lines().next().unwrap();
        let last = reply.lines().last().unwrap().trim_start_matches("S: ");
        let sent =
            if first == last { format!("-> C: {first}") } else { format!("-> C: {first}\nS: {last}\n-> C: {last}") };
        play(&format!("S: {first}\n{sent}\n-> end fault the server ended the session: ...\nfarewell lost none"));
    }
}

#[test]
fn what_is_no_reply_ends_the_session() {
    for line in ["* OK IMAP", "250ok", "junk", "2", "199 no"] {
        play(&format!(
            "C: NOOP
            -> S: NOOP
            S: {line}
            -> C: 421 4.4.1 The mail server cannot be reached any more, try again later
            -> end fault the server sent a line that is no reply"
        ));
    }
    let mut session = Session::new(make(settings()));
    session.feed(Side::Server, b"220 ");
    session.feed(Side::Server, &[b'x'; 9000]);
    assert!(session.host.ended());
}

#[test]
fn a_3yz_without_data_to_follow_ends_the_session() {
    // To this server the next commands would be a message.
    play(
        r"
        C: NOOP
        -> S: NOOP
        S: 354 go ahead
        -> C: 421 4.4.1 The mail server cannot be reached any more, try again later
        -> end fault the server asked for more where there is none: ...
        ",
    );
}

#[test]
fn greetings_of_servers_that_will_not_serve_pass() {
    play_with(
        &settings(),
        r"
        S: 554 5.7.1 go away
        -> C: 554 5.7.1 go away
        C: QUIT
        -> S: QUIT
        S: 221 bye
        -> C: 221 bye
        -> end orderly QUIT
        ",
    );
}

#[test]
fn a_client_may_leave_while_it_waits() {
    play(
        r"
        C: NOOP
        -> S: NOOP
        C: QUI\
        eof C
        outstanding yes
        S: 250 ok
        -> C: 250 ok
        outstanding no
        ",
    );
}

#[test]
fn a_server_that_closes_is_told_to_the_client_unless_it_is_within_a_reply() {
    play(
        r"
        C: NOOP
        -> S: NOOP
        outstanding yes
        eof S
        farewell lost 421 4.4.1 The mail server cannot be reached any more, try again later
        ",
    );
    play(
        r"
        C: HELP
        -> S: HELP
        S: 214-help
        -> C: 214-help
        eof S
        farewell lost none
        ",
    );
    play(
        r"
        C: AUTH LOGIN
        -> S: AUTH LOGIN
        S: 334 VXNlcm5hbWU6
        -> C: 334 VXNlcm5hbWU6
        eof S
        -> C: 421 4.4.1 The mail server cannot be reached any more, try again later
        -> end fault the server closed the connection in the middle of an exchange
        ",
    );
}

#[test]
fn farewells_in_smtps_words() {
    play(
        r"
        farewell timeout 421 4.4.2 Nothing was said for too long, closing
        farewell shutdown 421 4.3.2 Service is shutting down, try again later
        farewell lost 421 4.4.1 The mail server cannot be reached any more, try again later
        farewell not_kept 421 4.3.0 A message could not be kept, try again later
        ",
    );
    assert_eq!(super::super::refusal("Too many sessions"), b"421 4.3.2 Too many sessions\r\n");
}

#[test]
fn recipients_have_a_limit_where_they_are_remembered() {
    let settings = Settings { keep: Keep::Recipients, ..settings() };
    let mut session = Session::new(make(settings));
    session.feed(Side::Server, b"220 hi\r\n");
    for number in 0..1_000 {
        session.feed(Side::Client, format!("RCPT TO:<{number}@b>\r\n").as_bytes());
        session.feed(Side::Server, b"250 ok\r\n");
    }
    session.feed(Side::Client, b"RCPT TO:<more@b>\r\n");
    assert!(session.host.sent(Side::Client).ends_with(b"250 ok\r\n452 4.5.3 Too many recipients\r\n"));
    session.feed(Side::Client, format!("RCPT TO:<{}@b>\r\n", "x".repeat(1100)).as_bytes());
    assert!(session.host.sent(Side::Client).ends_with(b"501 5.1.3 Address too long\r\n"));
}

#[test]
fn of_a_long_sender_nothing_is_remembered() {
    let long = "x".repeat(1100);
    let local_domains = vec!["home.example".to_owned()];
    for (keep, login, domain, refused) in [
        (Keep::Sender, false, "home.example", true),
        (Keep::Both, false, "home.example", true),
        (Keep::Recipients, false, "home.example", false),
        (Keep::Sender, false, "other.example", false),
        (Keep::Both, true, "home.example", false),
    ] {
        let mut session = Smtp::new(Settings { keep, local_domains: local_domains.clone(), ..settings() });
        let mut host = Recorder::default();
        session.input(Side::Server, b"220 hi\r\n", &mut host);
        if login {
            session.input(Side::Client, b"AUTH PLAIN AG1lAHB3\r\n", &mut host);
            session.input(Side::Server, b"235 yes\r\n", &mut host);
        }
        let mail = format!("MAIL FROM:<{long}@{domain}>\r\n");
        session.input(Side::Client, mail.as_bytes(), &mut host);
        assert_eq!(host.sent(Side::Client).ends_with(b"501 5.1.7 Address too long\r\n"), refused, "{keep:?}");
        assert_eq!(host.sent(Side::Server).ends_with(mail.as_bytes()), !refused, "{keep:?}");
        let is_remembered =
            |pending: &Pending| matches!(pending, Pending::Server(Asked::Mail { sender: Path::Mailbox(_), .. }));
        assert!(!session.pending.iter().any(is_remembered), "{keep:?}");
    }
}

/// Who reads only the log has to learn why nobody is served.
#[test]
fn a_server_that_will_not_serve_is_told_of_with_its_reason() {
    let greeted = play_with(
        &settings(),
        r"
        S: 554 5.7.1 your address is listed
        -> C: 554 5.7.1 your address is listed
        ",
    );
    assert_eq!(greeted.notes, ["refused: the server greets with \"554 5.7.1 your address is listed\""]);
    let left = play(
        r"
        C: NOOP hunter2
        -> S: NOOP hunter2
        S: 421 4.7.0 too much of hunter2
        -> C: 421 4.7.0 too much of hunter2
        ",
    );
    assert_eq!(left.notes, ["refused: the server leaves: 421 4.7.0"]);
}

#[test]
fn what_is_learnt_of_logins() {
    let learnt =
        |script: &str| crate::protocol::testing::learnt(|| make(settings()), &format!("S: 220 ready\n{script}"));
    let me = [("me@home.example".to_owned(), "pw".to_owned())];
    assert_eq!(learnt("C: AUTH PLAIN AG1lAHB3\nS: 235 yes"), me);
    assert_eq!(learnt("C: AUTH PLAIN\nS: 334 \nC: AG1lAHB3\nS: 235 yes"), me);
    assert_eq!(learnt("C: AUTH LOGIN TWU=\nS: 334 UGFzc3dvcmQ6\nC: cHc=\nS: 235 yes"), me);
    for script in [
        "C: AUTH PLAIN AG1lAHB3\nS: 535 no",
        "C: AUTH PLAIN Ym9zcwBtZQBwdw==\nS: 235 yes",
        "C: AUTH CRAM-MD5\nS: 334 PDE+\nC: bWUgMDEyMw==\nS: 235 yes",
        "C: AUTH XOAUTH2 dXNlcj1tZQFhdXRoPUJlYXJlciB0AQE=\nS: 235 yes",
    ] {
        assert_eq!(learnt(script), [], "{script}");
    }
}
