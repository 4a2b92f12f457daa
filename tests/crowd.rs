//! Many sessions of mixed kinds at once: every message is kept once, and nobody gets another's.

mod support;

use std::sync::Barrier;
use std::thread;

use support::proxy::section;
use support::spool::{Expected, received, sent};
use support::*;

/// Sessions at the same time.
const SESSIONS: usize = 200;
/// Mailboxes that they share: several sessions of one owner meet each other.
const OWNERS: usize = 40;
const MESSAGES: usize = 5;

#[test]
fn two_hundred_sessions_at_once() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let postfix = Postfix::start(&lab, &dovecot);
    let sections = [
        section(&lab, "plain", Tls::None, dovecot.endpoint(Kind::Pop3, Tls::None), ""),
        section(&lab, "tls", Tls::Implicit, dovecot.endpoint(Kind::Pop3, Tls::StartTls), ""),
        section(&lab, "plain", Tls::None, dovecot.endpoint(Kind::Imap, Tls::Implicit), ""),
        section(&lab, "tls", Tls::StartTls, dovecot.endpoint(Kind::Imap, Tls::None), ""),
        section(&lab, "plain", Tls::None, postfix.endpoint(Tls::StartTls), ""),
        section(&lab, "tls", Tls::Implicit, postfix.endpoint(Tls::None), ""),
    ];
    let proxy = Proxy::with(&lab, "max_sessions_per_client = 300\n", &sections.concat());
    let owner = |n: usize| format!("user{:02}@example.org", n % OWNERS);

    let mut expected: Vec<Expected> = Vec::new();
    for n in 0..OWNERS {
        let mailbox = dovecot.mailbox(&owner(n));
        for m in 0..MESSAGES {
            let message =
                if m == 0 { corpus::sized(&format!("Big {n}"), 200_000) } else { corpus::numbered(n * 100 + m) };
            mailbox.put("INBOX", Place::New, &message);
            expected.push(received(&owner(n), "", &message));
        }
    }
    let start = Barrier::new(SESSIONS);
    let endpoints = [
        proxy.endpoint(Kind::Imap, "plain", Tls::None),
        proxy.endpoint(Kind::Pop3, "plain", Tls::None),
        proxy.endpoint(Kind::Smtp, "plain", Tls::None),
        proxy.endpoint(Kind::Imap, "tls", Tls::StartTls),
        proxy.endpoint(Kind::Smtp, "tls", Tls::Implicit),
        proxy.endpoint(Kind::Pop3, "tls", Tls::Implicit),
    ];
    // What each session sends is its own message.
    let outgoing = |n: usize| corpus::numbered(100_000 + n);
    thread::scope(|scope| {
        for n in 0..SESSIONS {
            let (at, user, start, lab) = (endpoints[n % endpoints.len()], owner(n), &start, &lab);
            thread::Builder::new()
                .stack_size(512 * 1024)
                .spawn_scoped(scope, move || {
                    let mut wire = Wire::connect(lab, at);
                    // All are connected before the first says a word.
                    start.wait();
                    wire.login(at.kind, &user);
                    match at.kind {
                        Kind::Pop3 => read_pop3(&mut wire),
                        Kind::Imap => read_imap(&mut wire, &outgoing(n)),
                        Kind::Smtp => send_smtp(&mut wire, &user, &outgoing(n)),
                    }
                })
                .unwrap();
        }
    });
    for n in (0..SESSIONS).filter(|n| endpoints[n % endpoints.len()].kind != Kind::Pop3) {
        expected.push(sent(&owner(n), &outgoing(n)));
    }
    proxy.spool().holds(&expected);
    proxy.spool().served_by_dovecot(&lab);
    // Nobody is left.
    let closed = || proxy.log().lines().filter(|line| line.contains(" closed ")).count();
    wait_until("every session is closed", CLIENT, || closed() >= SESSIONS);
}

fn read_pop3(wire: &mut Wire) {
    wire.send((1..=MESSAGES).map(|n| format!("RETR {n}\r\n")).collect::<String>().as_bytes());
    for _ in 0..MESSAGES {
        assert!(wire.line().starts_with(b"+OK"));
        wire.pop3_lines();
    }
    assert!(wire.pop3("QUIT").starts_with("+OK"));
}

fn read_imap(wire: &mut Wire, outgoing: &[u8]) {
    wire.imap_ok("SELECT INBOX");
    let fetched = wire.imap_ok("UID FETCH 1:* (FLAGS BODY.PEEK[])");
    assert_eq!(wire::literals(&fetched).len(), MESSAGES);
    let tag = wire.next_tag();
    wire.send(format!("{tag} APPEND Sent (\\Seen) {{{}+}}\r\n", outgoing.len()).as_bytes());
    wire.send(outgoing);
    wire.send(b"\r\n");
    assert!(String::from_utf8_lossy(&wire.imap_until(&tag)).contains(" OK "));
    wire.imap_ok("LOGOUT");
}

fn send_smtp(wire: &mut Wire, user: &str, outgoing: &[u8]) {
    assert!(wire.smtp(&format!("MAIL FROM:<{user}>")).starts_with("250"));
    assert!(wire.smtp("RCPT TO:<crowd@example.net>").starts_with("250"));
    wire.send(&[format!("BDAT {} LAST\r\n", outgoing.len()).as_bytes(), outgoing].concat());
    assert!(wire.smtp_reply().starts_with(b"250"));
    assert!(wire.smtp("QUIT").starts_with("221"));
}
