//! Whose a session is.

use super::*;

#[test]
fn logins_in_every_form() {
    for (client, server) in [
        ("C: a LOGIN \"Joe\" \"pass {1}\"", "-> S: a LOGIN \"Joe\" \"pass {1}\""),
        ("C: a login {3+}\\r\\njoe {4+}\\r\\npa\\r\\n", "-> S: a login {3+}\n-> S: joe {4+}\n-> S: pa\n-> S: "),
        ("C: a AUTHENTICATE PLAIN AGpvZQBwdw==", "-> S: a AUTHENTICATE PLAIN AGpvZQBwdw=="),
        (
            "C: a authenticate xoauth2 dXNlcj1qb2UBYXV0aD1CZWFyZXIgdAEB",
            "-> S: a authenticate xoauth2 dXNlcj1qb2UBYXV0aD1CZWFyZXIgdAEB",
        ),
    ] {
        run(&format!(
            r#"
            S: * OK ready
            -> C: * OK ready
            {client}
            {server}
            outstanding yes
            S: a OK [CAPABILITY IMAP4rev1 IDLE COMPRESS=DEFLATE] in
            -> logged_in joe@example.org
            -> C: a OK [CAPABILITY IMAP4rev1 IDLE] in
            outstanding no
            "#
        ));
    }
}

#[test]
fn synchronizing_literals_wait_for_the_server() {
    run(r#"
        S: * OK ready
        -> C: * OK ready
        C: a LOGIN {3}
        -> S: a LOGIN {3}
        S: + user
        -> C: + user
        C: joe {2}
        -> S: joe {2}
        S: + password
        -> C: + password
        C: pw
        -> S: pw
        S: a OK in
        -> logged_in joe@example.org
        -> C: a OK in
    "#);
    // Refused: the literal does not come, the next line is a command.
    run(r#"
        S: * OK ready
        -> C: * OK ready
        C: a LOGIN {3}
        -> S: a LOGIN {3}
        S: a BAD no literals
        -> C: a BAD no literals
        C: b NOOP
        -> S: b NOOP
        S: b OK done
        -> C: b OK done
    "#);
}

#[test]
fn a_sasl_exchange_is_in_lock_step() {
    run(r#"
        S: * OK ready
        -> C: * OK ready
        C: x NOOP\r\na AUTHENTICATE LOGIN
        -> S: x NOOP
        -> S: a AUTHENTICATE LOGIN
        S: x OK done\r\n+ VXNlcm5hbWU6
        -> C: x OK done
        -> C: + VXNlcm5hbWU6
        C: am9l
        -> S: am9l
        S: + UGFzc3dvcmQ6
        -> C: + UGFzc3dvcmQ6
        C: cHc=
        -> S: cHc=
        S: a NO wrong
        -> C: a NO wrong
        C: b AUTHENTICATE PLAIN
        -> S: b AUTHENTICATE PLAIN
        S: + 
        -> C: + 
        C: *
        -> S: *
        S: b BAD cancelled
        -> C: b BAD cancelled
        C: c NOOP
        -> S: c NOOP
    "#);
}

#[test]
fn a_login_that_names_nobody_ends_the_session() {
    for (command, more) in [
        ("a LOGIN \"\" pw", ""),
        ("a AUTHENTICATE PLAIN", "S: + \n-> C: + \nC: *\n-> S: *\n"),
        ("a AUTHENTICATE PLAIN =", "S: + \n-> C: + \nC: \n-> S: \n"),
    ] {
        run(&format!(
            r#"
            S: * OK ready
            -> C: * OK ready
            C: {command}
            -> S: {command}
            {more}
            S: a OK in
            -> C: * BYE [UNAVAILABLE] the login does not say whose mailbox it is for
            -> end fault the server accepted a login that named no user
            "#
        ));
    }
}

#[test]
fn a_message_before_any_login_ends_the_session() {
    run(r#"
        S: * OK ready
        -> C: * OK ready
        C: a\tLOGIN joe pw\r\na LOGIN\tjoe pw
        -> C: * BAD a tag and a command are expected
        -> C: * BAD a tag and a command are expected
        C: a X
        -> S: a X
        S: a OK in\r\n* 1 FETCH (BODY[] "x")
        -> C: a OK in
        -> C: * BYE [UNAVAILABLE] the connection to the mail server is lost
        -> end fault the server broke the protocol: it shows a message to nobody who is logged in
    "#);
}

#[test]
fn what_has_to_be_read_is_no_literal() {
    run(r#"
        S: * OK ready
        -> C: * OK ready
        C: a AUTHENTICATE PLAIN {12+}\r\nAGpvZQBwdw==
        -> C: a BAD an initial response is no literal
        C: b ENABLE CONDSTORE {7+}\r\nUIDONLY
        -> C: b BAD ENABLE takes atoms
        C: c NOOP
        -> S: c NOOP
    "#);
}

#[test]
fn mechanisms_that_hide_the_identity_are_refused() {
    run(r#"
        S: * OK [CAPABILITY IMAP4rev1 AUTH=GSSAPI AUTH=PLAIN AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-256-PLUS] ready
        -> C: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready
        C: a AUTHENTICATE GSSAPI
        -> C: a NO this authentication mechanism is not available through MailStore
        C: b AUTHENTICATE SCRAM-SHA-256-PLUS {3+}\r\nabc
        -> C: b NO this authentication mechanism is not available through MailStore
        C: c NOOP
        -> S: c NOOP
    "#);
}

#[test]
fn what_would_blind_us_is_refused() {
    selected(
        r#"
        S: * CAPABILITY IMAP4rev1 COMPRESS=DEFLATE BINARY CATENATE IDLE
        -> C: * CAPABILITY IMAP4rev1 IDLE
        C: c COMPRESS DEFLATE
        -> C: c BAD not available through MailStore
        C: d ENABLE CONDSTORE UIDONLY
        -> S: d ENABLE CONDSTORE
        S: * ENABLED CONDSTORE\r\nd OK done
        -> C: * ENABLED CONDSTORE
        -> C: d OK done
        C: e ENABLE IMAP4rev2
        -> C: * ENABLED
        -> C: e OK nothing to enable
        C: f APPEND INBOX CATENATE (URL "/x" TEXT {3+}\r\nabc)
        -> C: f BAD CATENATE is not available through MailStore
        C: g STARTTLS
        -> C: g BAD STARTTLS is not offered
        C: h UNAUTHENTICATE
        -> C: h BAD not available through MailStore
        "#,
    );
}

#[test]
fn a_login_that_fails_is_told_without_what_was_typed() {
    let recorder = run(r#"
        S: * OK ready
        -> C: * OK ready
        C: a LOGIN hunter1 hunter2
        -> S: a LOGIN hunter1 hunter2
        S: a NO [AUTHENTICATIONFAILED] hunter3
        -> C: a NO [AUTHENTICATIONFAILED] hunter3
        C: b AUTHENTICATE PLAIN AGpvZQBodW50ZXIy
        -> S: b AUTHENTICATE PLAIN AGpvZQBodW50ZXIy
        S: b NO no
        -> C: b NO no
        "#);
    assert_eq!(
        recorder.notes,
        ["login failed: the server refused it [AUTHENTICATIONFAILED]", "login failed: the server refused it"]
    );
}

#[test]
fn what_is_learnt_of_logins() {
    let learnt = |lines: &[&str]| {
        let make = || make(Follow::No, TlsMode::None, TlsMode::Implicit);
        crate::protocol::testing::learnt(make, &format!("S: * OK ready\n{}", lines.join("\n")))
    };
    for (lines, password) in [
        (&[r"C: a LOGIN Joe pa\\ss", "S: a OK in"][..], r"pa\ss"),
        (&[r#"C: a LOGIN "joe" "pa\\"s {1}""#, "S: a OK in"], "pa\"s {1}"),
        (&[r"C: a login {3+}\r\njoe {4+}\r\npa s\r\n", "S: a OK in"], "pa s"),
        (&["C: a LOGIN {3}", "S: + go on", "C: joe {2}", "S: + go on", "C: pw", "S: a OK in"], "pw"),
        (&["C: a AUTHENTICATE PLAIN AGpvZQBwdw==", "S: a OK in"], "pw"),
        (&["C: a AUTHENTICATE PLAIN", "S: + ", "C: AGpvZQBwdw==", "S: a OK in"], "pw"),
        (
            &["C: a AUTHENTICATE LOGIN", "S: + VXNlcm5hbWU6", "C: am9l", "S: + UGFzc3dvcmQ6", "C: cHc=", "S: a OK in"],
            "pw",
        ),
        (&["C: a LOGIN joe no", "S: a NO no", "C: b LOGIN joe yes", "S: b OK in"], "yes"),
    ] {
        assert_eq!(learnt(lines), [("joe@example.org".to_owned(), password.to_owned())], "{lines:?}");
    }
    for lines in [
        ["C: a LOGIN joe no", "S: a NO no"],
        ["C: a LOGIN joe \"\"", "S: a OK in"],
        ["C: a LOGIN joe pw more", "S: a OK in"],
        ["C: a LOGIN joe \"pw\"more", "S: a OK in"],
        ["C: a LOGIN joe*root pw", "S: a OK in"],
        ["C: a AUTHENTICATE XOAUTH2 dXNlcj1qb2UBYXV0aD1CZWFyZXIgdAEB", "S: a OK in"],
        ["C: a AUTHENTICATE PLAIN Ym9zcwBqb2UAcHc=", "S: a OK in"],
    ] {
        assert_eq!(learnt(&lines), [], "{lines:?}");
    }
}
