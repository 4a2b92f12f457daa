//! What has to be refused: servers that are not who they should be, TLS that was asked for and cannot be had, and plaintext
//! around it. Nobody's password passes then, and nothing is kept.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use support::proxy::section;
use support::*;

const ANN: &str = "ann@example.org";

/// All that a client hears that says nothing.
fn heard(at: Endpoint) -> String {
    use std::io::Read;
    let mut stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, at.port)).unwrap();
    stream.set_read_timeout(Some(CLIENT)).unwrap();
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

/// Fails unless the client was turned away in its protocol's words, or without any.
#[track_caller]
fn turned_away(kind: Kind, heard: &str) {
    let good = match kind {
        Kind::Pop3 => "+OK",
        Kind::Imap => "* OK",
        Kind::Smtp => "220",
    };
    assert!(!heard.contains(good) && !heard.contains("PREAUTH"), "the client was let in: {heard}");
}

/// Waits for the closing lines of so many sessions, each with a reason.
#[track_caller]
fn closed(proxy: &Proxy, count: usize) {
    let lines = || proxy.log().lines().filter(|line| line.contains(" closed ") && line.contains(" reason=")).count();
    wait_until("every session is closed", CLIENT, || lines() >= count);
    assert_eq!(lines(), count, "{}", proxy.log());
}

#[test]
fn servers_with_a_certificate_that_does_not_hold() {
    let lab = Lab::new();
    const OTHER: &str = "hostname mismatch (the certificate is for another name than upstream's)";
    const UNKNOWN: &str = "(where the server is the right one, name a file with its authority in upstream_ca)";
    for (certificate, trusted, why) in [
        (lab.wrong_name(), true, OTHER),
        (lab.expired(), true, "certificate has expired"),
        (lab.certificate(), false, UNKNOWN),
    ] {
        let options = DovecotOptions { certificate: Some(certificate.clone()), ..DovecotOptions::default() };
        let dovecot = Dovecot::with(&lab, options);
        let mut sections = String::new();
        for kind in [Kind::Pop3, Kind::Imap] {
            for tls in [Tls::StartTls, Tls::Implicit] {
                sections += &section(&lab, tls.key(), Tls::None, dovecot.endpoint(kind, tls), "");
            }
        }
        if !trusted {
            // The system's authorities are in force then, and ours is none of them.
            sections = sections
                .lines()
                .filter(|line| !line.starts_with("upstream_ca"))
                .fold(String::new(), |all, line| all + line + "\n");
        }
        let proxy = Proxy::start(&lab, &sections);
        for kind in [Kind::Pop3, Kind::Imap] {
            for tls in [Tls::StartTls, Tls::Implicit] {
                turned_away(kind, &heard(proxy.endpoint(kind, tls.key(), Tls::None)));
            }
        }
        closed(&proxy, 4);
        // The administrator is told why, once for each, and what to look at.
        let told = |what: &str| {
            let verdict = |line: &&str| line.contains("certificate verify failed: ") && line.ends_with(what);
            proxy.log().lines().filter(|line| !line.contains(" cannot be used: ")).filter(verdict).count()
        };
        assert_eq!((told(""), told(why)), (4, 4), "{certificate:?}:\n{}", proxy.log());
        // By STARTTLS it is the end of a session that has begun; the warning has it too.
        let warned =
            proxy.log().lines().filter(|line| line.contains(" cannot be used: ") && line.contains(why)).count();
        assert_eq!(warned, 2, "{}", proxy.log());
        proxy.spool().holds(&[]);
    }
}

/// Says each of these to a client, one after each line that it hears; then listens to the end. What it heard is the answer.
fn scripted(says: &'static [&'static str]) -> (u16, thread::JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(CLIENT)).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut says, mut heard, mut line) = (says.iter(), Vec::new(), Vec::new());
        loop {
            if let Some(text) = says.next() {
                let _ = (&stream).write_all(text.as_bytes());
            }
            line.clear();
            if !matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
                return String::from_utf8_lossy(&heard).into_owned();
            }
            heard.extend(&line);
        }
    });
    (port, server)
}

#[test]
fn servers_that_cannot_do_the_tls_asked_for() {
    let lab = Lab::new();
    let cases: [(Kind, &'static [&'static str]); 9] = [
        (Kind::Pop3, &["+OK hello\r\n", "-ERR no\r\n", "-ERR no\r\n"]),
        // Text behind the reply, in plain: it would be taken for what came under TLS.
        (Kind::Pop3, &["+OK hello\r\n", "+OK go\r\n+OK smuggled\r\n"]),
        (Kind::Imap, &["* OK hello\r\n", "* CAPABILITY IMAP4rev1\r\n1 OK\r\n", "* BAD no\r\n"]),
        // Logged in already, and so past STARTTLS.
        (Kind::Imap, &["* PREAUTH hello\r\n", "* BAD no\r\n"]),
        (Kind::Imap, &["* BYE go away\r\n"]),
        (Kind::Smtp, &["220 hello\r\n", "250-hello\r\n250 SIZE\r\n", "502 no\r\n", "502 no\r\n"]),
        (
            Kind::Smtp,
            &["220 hello\r\n", "250-hello\r\n250 STARTTLS\r\n", "220 go\r\n250-smuggled\r\n250 AUTH PLAIN\r\n"],
        ),
        (Kind::Smtp, &["220 hello\r\n", "250-hello\r\n250 STARTTLS\r\n", "454 not now\r\n", "502 no\r\n"]),
        (Kind::Smtp, &["554 go away\r\n", "502 no\r\n"]),
    ];
    for (kind, says) in cases {
        let (port, server) = scripted(says);
        let upstream = Endpoint { kind, port, tls: Tls::StartTls };
        let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::None, upstream, ""));
        turned_away(kind, &heard(proxy.endpoint(kind, "a", Tls::None)));
        let heard = server.join().unwrap();
        for secret in ["USER", "LOGIN", "AUTH"] {
            assert!(!heard.contains(secret), "{says:?}: {heard}");
        }
        closed(&proxy, 1);
        proxy.spool().holds(&[]);
    }
}

#[test]
fn clients_that_log_in_before_starttls() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let postfix = Postfix::start(&lab, &dovecot);
    let sections = [
        section(&lab, "a", Tls::StartTls, dovecot.endpoint(Kind::Pop3, Tls::None), ""),
        section(&lab, "a", Tls::StartTls, dovecot.endpoint(Kind::Imap, Tls::None), ""),
        section(&lab, "a", Tls::StartTls, postfix.endpoint(Tls::None), ""),
    ];
    dovecot.filled(ANN, &small_corpus());
    let proxy = Proxy::start(&lab, &sections.concat());
    let plain = |kind| Wire::connect(&lab, proxy.endpoint(kind, "a", Tls::None));

    let mut pop3 = plain(Kind::Pop3);
    for line in [&format!("USER {ANN}")[..], &format!("PASS {PASSWORD}"), "AUTH PLAIN", "LIST"] {
        let reply = pop3.pop3(line);
        assert!(reply.starts_with("-ERR"), "{line}: {reply}");
    }
    let mut imap = plain(Kind::Imap);
    for line in [&format!("LOGIN {ANN} {PASSWORD}")[..], "AUTHENTICATE PLAIN", "SELECT INBOX"] {
        let reply = String::from_utf8_lossy(&imap.imap(line)).into_owned();
        assert!(reply.contains(" NO ") || reply.contains(" BAD "), "{line}: {reply}");
    }
    let mut smtp = plain(Kind::Smtp);
    let offered = smtp.smtp("EHLO test.example.org");
    assert!(offered.contains("STARTTLS") && !offered.contains("AUTH"), "{offered}");
    // (Mail without a login may come in plain: what listens may be an MX.)
    let reply = smtp.smtp("AUTH PLAIN");
    assert!(reply.starts_with('5'), "{reply}");

    // Plaintext behind the command, in one write: it would be taken for what came under TLS.
    for (kind, text) in [
        (Kind::Pop3, format!("STLS\r\nUSER {ANN}\r\n")),
        (Kind::Imap, format!("a STARTTLS\r\nb LOGIN {ANN} {PASSWORD}\r\n")),
        (Kind::Smtp, "STARTTLS\r\nMAIL FROM:<x@example.org>\r\n".to_owned()),
    ] {
        let mut wire = plain(kind);
        if kind == Kind::Smtp {
            wire.smtp("EHLO test.example.org");
        }
        wire.send(text.as_bytes());
        wire.rest();
        assert!(!wire.text().contains("b OK"), "{}", wire.text());
    }
    assert!(!proxy.log().contains(" login user="), "somebody logged in:\n{}", proxy.log());
    proxy.spool().holds(&[]);
}
