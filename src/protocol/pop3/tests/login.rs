//! Whose a session is: USER, APOP and SASL.

use super::*;

#[test]
fn only_the_servers_ok_makes_an_owner() {
    play(
        "S: +OK
         -> C: +OK
         C: USER me too@Example.ORG
         C: PASS wrong
         -> S: USER me too@Example.ORG
         -> S: PASS wrong
         S: +OK
         S: -ERR
         -> C: +OK
         -> C: -ERR
         C: PASS right
         -> S: PASS right
         S: +OK
         -> logged_in me too@example.org
         -> C: +OK",
    );
}

#[test]
fn pipelined_logins_are_read_in_the_order_of_replies() {
    play(
        "S: +OK
         -> C: +OK
         C: USER one
         C: PASS x
         C: USER two
         C: PASS y
         C: RETR 1
         -> S: USER one
         -> S: PASS x
         -> S: USER two
         -> S: PASS y
         -> S: RETR 1
         S: +OK
         S: -ERR
         S: +OK
         S: +OK
         S: +OK
         S: text
         S: .
         -> C: +OK
         -> C: -ERR
         -> C: +OK
         -> logged_in two@example.com
         -> C: +OK
         -> begin 1 two@example.com INBOX
         -> append 1 text
         -> C: +OK
         -> C: text
         -> finish 1
         -> settle
         -> C: .",
    );
}

#[test]
fn apop_is_split_at_the_last_blank() {
    play(
        "S: +OK <1@h>
         -> C: +OK <1@h>
         C: APOP mr rose c4c9334bac560ecc979e58001b3e22fb
         -> S: APOP mr rose c4c9334bac560ecc979e58001b3e22fb
         S: +OK
         -> logged_in mr rose@example.com
         -> C: +OK",
    );
}

#[test]
fn a_login_without_a_name_does_not_pass() {
    play(
        "S: +OK
         -> C: +OK
         C: USER refused
         -> S: USER refused
         S: -ERR
         -> C: -ERR
         C: PASS x
         -> S: PASS x
         S: +OK
         -> C: -ERR [SYS/TEMP] the login does not say whose mailbox it is for
         -> end fault server accepted a login that named no user
         farewell lost none",
    );
}

#[test]
fn a_message_without_a_login_does_not_pass() {
    play(
        "S: +OK
         -> C: +OK
         C: RETR 1
         C: NOOP
         -> S: RETR 1
         -> S: NOOP
         S: +OK
         S: text
         S: .
         S: +OK
         -> C: -ERR [SYS/TEMP] the message cannot be kept without a login
         -> C: +OK",
    );
}

#[test]
fn auth_plain_with_and_without_an_initial_response() {
    let plain = b64("\0me\0secret");
    let initial = play(&format!(
        "S: +OK
         -> C: +OK
         C: AUTH PLAIN {plain}
         C: NOOP
         -> S: AUTH PLAIN {plain}
         S: +OK
         -> logged_in me@example.com
         -> C: +OK
         -> S: NOOP
         S: +OK
         -> C: +OK"
    ));
    assert!(initial.notes.is_empty());
    for challenge in ["+", "+ ", "+ ="] {
        play(&format!(
            "S: +OK
             -> C: +OK
             C: auth plain
             C: {plain}
             -> S: auth plain
             outstanding yes
             S: {challenge}
             -> C: {challenge}
             -> S: {plain}
             outstanding yes
             S: -ERR
             -> C: -ERR
             C: AUTH PLAIN =
             -> S: AUTH PLAIN =
             S: +
             -> C: +
             outstanding no
             C: {plain}
             -> S: {plain}
             S: +OK
             -> logged_in me@example.com
             -> C: +OK"
        ));
    }
}

#[test]
fn auth_login() {
    let (user, password) = (b64("me@here.org"), b64("secret"));
    let (ask_user, ask_password) = (b64("Username:"), b64("Password:"));
    play(&format!(
        "S: +OK
         -> C: +OK
         C: AUTH LOGIN
         -> S: AUTH LOGIN
         S: + {ask_user}
         -> C: + {ask_user}
         C: {user}
         -> S: {user}
         S: + {ask_password}
         -> C: + {ask_password}
         C: {password}
         -> S: {password}
         S: +OK
         -> logged_in me@here.org
         -> C: +OK"
    ));
}

#[test]
fn mechanisms_that_cannot_be_read_are_refused_here() {
    play(
        "S: +OK
         -> C: +OK
         C: NOOP
         C: AUTH GSSAPI
         C: AUTH SCRAM-SHA-256-PLUS
         C: AUTH XOAUTH2 dXNlcj0=
         C: AUTH PLAIN ???
         C: NOOP
         -> S: NOOP
         -> S: NOOP
         S: +OK
         -> C: +OK
         -> C: -ERR this mechanism cannot be used here
         -> C: -ERR this mechanism cannot be used here
         -> C: -ERR the SASL message names no user
         -> C: -ERR the SASL message is not base64
         S: +OK
         -> C: +OK",
    );
}

#[test]
fn a_login_that_fails_is_told_without_what_was_typed() {
    let recorder = play(
        "S: +OK
         -> C: +OK
         C: USER hunter1
         -> S: USER hunter1
         S: +OK
         -> C: +OK
         C: PASS hunter2
         -> S: PASS hunter2
         S: -ERR hunter3
         -> C: -ERR hunter3
         C: AUTH PLAIN AGpvZQBodW50ZXIy
         -> S: AUTH PLAIN AGpvZQBodW50ZXIy
         S: -ERR no
         -> C: -ERR no",
    );
    assert_eq!(recorder.notes, ["login failed: the server refused it"; 2]);
}

#[test]
fn what_is_rejected_later_is_cancelled() {
    for response in ["???", "a\\rb", "AG1l\\0AHB3"] {
        let recorder = play(&format!(
            "S: +OK
             -> C: +OK
             C: AUTH PLAIN
             -> S: AUTH PLAIN
             S: +
             -> C: +
             C: {response}
             -> S: *
             S: -ERR cancelled
             -> C: -ERR cancelled"
        ));
        assert!(recorder.notes.len() == 2 && recorder.notes[1] == "login failed: the server refused it");
    }
}

#[test]
fn a_server_that_accepts_what_was_cancelled() {
    let plain = b64("\0me\0secret");
    for last in ["*", "???"] {
        play(&format!(
            "S: +OK
             -> C: +OK
             C: AUTH PLAIN {plain}
             -> S: AUTH PLAIN {plain}
             S: +
             -> C: +
             C: {last}
             -> S: *
             S: +OK
             -> C: -ERR [SYS/TEMP] the login does not say whose mailbox it is for
             -> end fault server accepted a login that named no user"
        ));
    }
}

#[test]
fn a_bad_token_and_the_dummy_answer() {
    let token = b64("user=me@here.org\x01auth=Bearer tok\x01\x01");
    let error = b64("{\"status\":\"400\"}");
    for dummy in ["", "AQ==", "\\x01QUIT"] {
        play(&format!(
            "S: +OK
             -> C: +OK
             C: AUTH XOAUTH2 {token}
             -> S: AUTH XOAUTH2 {token}
             S: + {error}
             -> C: + {error}
             C: {dummy}
             -> S: {dummy}
             S: -ERR [AUTH] failed
             -> C: -ERR [AUTH] failed
             C: NOOP
             -> S: NOOP
             S: +OK
             -> C: +OK"
        ));
    }
}

#[test]
fn the_list_of_mechanisms_is_filtered() {
    play(
        "S: +OK
         -> C: +OK
         C: AUTH
         -> S: AUTH
         S: +OK
         S: SCRAM-SHA-256
         S: Plain
         S: NTLM
         S: SCRAM-SHA-256-PLUS
         S: LOGIN
         S: .
         -> C: +OK
         -> C: Plain
         -> C: LOGIN
         -> C: .
         C: AUTH
         -> S: AUTH
         S: -ERR
         -> C: -ERR",
    );
}

#[test]
fn what_is_learnt_of_logins() {
    let make = || -> Box<dyn Protocol> { Box::new(Pop3::new(settings(TlsMode::None, TlsMode::Implicit))) };
    let learnt = |script: &str| learnt(make, &format!("S: +OK ready\n{script}"));
    let me = |password: &str| vec![("me@example.com".to_owned(), password.to_owned())];
    assert_eq!(learnt("C: USER me\nC: PASS two  words\nS: +OK\nS: +OK in"), me("two  words"));
    assert_eq!(learnt("C: AUTH PLAIN AG1lAHB3\nS: +OK in"), me("pw"));
    assert_eq!(learnt("C: AUTH LOGIN\nS: + VXNlcm5hbWU6\nC: bWU=\nS: + UGFzc3dvcmQ6\nC: cHc=\nS: +OK in"), me("pw"));
    // Refused, and then right; another user's password does not become his.
    assert_eq!(
        learnt("C: USER me\nC: PASS no\nS: +OK\nS: -ERR no\nC: USER me\nC: PASS yes\nS: +OK\nS: +OK in"),
        me("yes")
    );
    for script in [
        "C: USER me\nC: PASS no\nS: +OK\nS: -ERR no",
        "C: APOP me 0123456789abcdef\nS: +OK in",
        "C: USER me*root\nC: PASS pw\nS: +OK\nS: +OK in",
        "C: USER me\nC: PASS pw \nS: +OK\nS: +OK in",
        // boss, me, pw.
        "C: AUTH PLAIN Ym9zcwBtZQBwdw==\nS: +OK in",
    ] {
        assert_eq!(learnt(script), [], "{script}");
    }
}
