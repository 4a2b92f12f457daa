//! TLS on either side.

use super::*;

#[test]
fn starttls_with_the_client() {
    let recorder = run_with(
        TlsMode::StartTls,
        TlsMode::Implicit,
        r#"
        S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN STARTTLS] ready
        -> C: * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready
        C: a LOGIN joe {2+}\r\npw
        -> C: a NO [PRIVACYREQUIRED] STARTTLS first
        C: b CAPABILITY\r\nc STARTTLS
        -> S: b CAPABILITY
        S: * CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nb OK done
        -> C: * CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED
        -> C: b OK done
        -> C: c OK begin TLS now
        -> start_tls C
        tls C
        C: d CAPABILITY
        -> S: d CAPABILITY
        S: * CAPABILITY IMAP4rev1 AUTH=PLAIN STARTTLS\r\nd OK done
        -> C: * CAPABILITY IMAP4rev1 AUTH=PLAIN
        -> C: d OK done
        C: e STARTTLS
        -> C: e BAD STARTTLS is not offered
        "#,
    );
    run_with(
        TlsMode::StartTls,
        TlsMode::Implicit,
        r#"
        S: * OK ready
        -> C: * OK ready
        C: a STARTTLS\r\nb LOGIN joe pw
        -> C: a OK begin TLS now
        -> start_tls C
        -> injection C
        "#,
    );
    assert_eq!(recorder.notes, ["login failed: the client asked for it without STARTTLS"]);
}

#[test]
fn nothing_of_the_servers_reaches_the_client_before_its_tls() {
    let begun = r#"
        S: * OK ready
        -> C: * OK ready
        C: a STARTTLS
        -> C: a OK begin TLS now
        -> start_tls C
    "#;
    run_with(
        TlsMode::StartTls,
        TlsMode::Implicit,
        &format!(
            r#"{begun}
            S: * OK [ALERT] in plaintext
            -> nothing
            farewell lost none
            tls C
            -> C: * OK [ALERT] in plaintext
            "#
        ),
    );
}

#[test]
fn starttls_with_the_server() {
    run_with(
        TlsMode::None,
        TlsMode::StartTls,
        r#"
        C: a CAPABILITY
        S: * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready
        -> S: MAILSTORE1 STARTTLS
        S: * CAPABILITY FORGED\r\nMAILSTORE1 OK go
        -> start_tls S
        tls S
        -> C: * OK ready
        -> S: a CAPABILITY
        S: * CAPABILITY IMAP4rev1 AUTH=PLAIN LOGINDISABLED\r\na OK done
        -> C: * CAPABILITY IMAP4rev1 AUTH=PLAIN
        -> C: a OK done
        "#,
    );
    run_with(
        TlsMode::None,
        TlsMode::StartTls,
        r#"
        S: * OK ready
        -> S: MAILSTORE1 STARTTLS
        S: MAILSTORE1 OK go\r\n* OK injected
        -> start_tls S
        -> injection S
        "#,
    );
    run_with(
        TlsMode::None,
        TlsMode::StartTls,
        r#"
        S: * OK ready
        -> S: MAILSTORE1 STARTTLS
        S: MAILSTORE1 BAD unknown command
        -> C: * BYE [UNAVAILABLE] the connection to the mail server is lost
        -> end fault upstream_tls = starttls, but the server answers STARTTLS with: ...
        "#,
    );
}
