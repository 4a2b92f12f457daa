//! POP3 through the proxy, with the programs that people use: they get what they get without it, and all of it is kept.

mod support;

use support::client::{curl, fetchmail, getmail};
use support::dovecot::token;
use support::proxy::{nine, section};
use support::spool::{Expected, received};
use support::*;

const POP3_PY: &str = include_str!("support/pop3.py");

/// The same names' length on purpose: what a server says about a user is equally long for both.
const DIRECT: &str = "direct@example.org";
const PASSED: &str = "passed@example.org";

#[test]
fn curl_in_all_nine_combinations_of_tls() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let samples = small_corpus();
    let (sections, names) = nine(&lab, |tls| dovecot.endpoint(Kind::Pop3, tls));
    let proxy = Proxy::start(&lab, &sections);
    let read = |at: Endpoint, user: &str| -> Vec<Output> {
        dovecot.filled(user, &samples);
        ["/", "/1", "/2"].iter().map(|path| curl(&lab, at, user, path, &[]).ok()).collect()
    };
    let mut expected = Vec::new();
    for (name, listen, upstream) in &names {
        let direct = read(dovecot.endpoint(Kind::Pop3, *upstream), &format!("d-{name}@example.org"));
        let user = format!("p-{name}@example.org");
        let passed = read(proxy.endpoint(Kind::Pop3, name, *listen), &user);
        assert_eq!(direct, passed, "{name}");
        for (sample, output) in samples.iter().zip(&passed[1..]) {
            assert_eq!(output.stdout, sample.bytes, "{name}");
            expected.push(received(&user, "", &sample.bytes));
        }
    }
    proxy.spool().holds(&expected);
    proxy.spool().served_by_dovecot(&lab);
}

#[test]
fn every_login_names_the_owner() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let at = |tls| dovecot.endpoint(Kind::Pop3, tls);
    let sections = section(&lab, "plain", Tls::None, at(Tls::None), "default_domain = example.org\n")
        + &section(&lab, "tls", Tls::Implicit, at(Tls::StartTls), "");
    let proxy = Proxy::start(&lab, &sections);
    let plain = proxy.endpoint(Kind::Pop3, "plain", Tls::None);
    let mut expected = Vec::new();
    let mut mailbox = |user: &str, owner: &str| {
        let message = corpus::numbered(expected.len());
        dovecot.mailbox(user).put("INBOX", Place::New, &message);
        expected.push(received(owner, "", &message));
        message
    };

    // curl: everything that is in AUTH, with and without an initial answer.
    for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5", "+APOP"] {
        for more in [&[][..], &["--sasl-ir"][..]] {
            let user = format!("c{}{}@example.org", mechanism.trim_start_matches('+'), more.len()).to_lowercase();
            let message = mailbox(&user, &user);
            let option = format!("AUTH={mechanism}");
            let args = [&["--login-options", &option][..], more].concat();
            let output = curl(&lab, plain, &user, "/1", &args).ok();
            assert_eq!(output.stdout, message, "{mechanism}");
        }
    }
    for mechanism in ["XOAUTH2", "OAUTHBEARER"] {
        let user = format!("c{mechanism}@example.org").to_lowercase();
        let message = mailbox(&user, &user);
        let (option, token) = (format!("AUTH={mechanism}"), token(&user));
        let args = ["--user", &user, "--login-options", &option, "--oauth2-bearer", &token];
        assert_eq!(curl(&lab, plain, "", "/1", &args).ok().stdout, message, "{mechanism}");
    }
    // poplib, also over TLS.
    for mechanism in ["user", "apop", "scram-sha-1", "scram-sha-256"] {
        for (name, tls) in [("plain", Tls::None), ("tls", Tls::Implicit)] {
            // APOP's banner is not there any more once upstream's STARTTLS was done, but its time stamp still counts.
            let user = format!("{mechanism}.{name}@example.org");
            mailbox(&user, &user);
            python(&lab, POP3_PY, proxy.endpoint(Kind::Pop3, name, tls), &[mechanism, &user, PASSWORD, "retr"]);
        }
    }
    // Names that are written otherwise, or without a domain.
    for (user, owner) in [("Mixed.Case@Example.ORG", "mixed.case@example.org"), ("bare", "bare@example.org")] {
        mailbox(&user.to_lowercase(), owner);
        python(&lab, POP3_PY, plain, &["user", user, PASSWORD, "retr"]);
    }
    // Only what the server accepted counts.
    let message = mailbox("right@example.org", "right@example.org");
    let mut wire = Wire::connect(&lab, plain);
    wire.pop3("USER wrong@example.org");
    assert!(wire.pop3("PASS nonsense").starts_with("-ERR"));
    wire.login(Kind::Pop3, "right@example.org");
    assert!(wire.pop3("RETR 1").starts_with("+OK"));
    assert_eq!(wire.pop3_lines(), stuffed(&message));
    assert!(wire.pop3("QUIT").starts_with("+OK"));
    proxy.spool().holds(&expected);
}

#[test]
fn the_whole_corpus_by_poplib_and_on_the_wire() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let samples = pop3_corpus();
    let direct = dovecot.endpoint(Kind::Pop3, Tls::None);
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::None, direct, ""));
    let passed = proxy.endpoint(Kind::Pop3, "a", Tls::None);
    for user in [DIRECT, PASSED] {
        dovecot.filled(user, &samples);
    }
    for actions in [&["top"][..], &["retr", "top-all", "retr"], &["top-all"]] {
        let run = |at, user| python(&lab, POP3_PY, at, &[&["user", user, PASSWORD][..], actions].concat()).stdout;
        assert_same(&run(direct, DIRECT), &run(passed, PASSED), &format!("{actions:?}"));
        if actions == ["top"] {
            // A few lines are not the message. (Of some very short ones they are; then it may be kept.)
            let kept = proxy.spool().list();
            assert!(kept.iter().all(|k| samples.iter().any(|s| s.as_lines() == k.bytes)), "part of a message is kept");
        }
    }
    let expected: Vec<Expected> = samples.iter().map(|s| received(PASSED, "", &s.as_lines())).collect();
    proxy.spool().holds(&expected);
    proxy.spool().served_by_dovecot(&lab);

    // One by one, and all at once: every byte is the same.
    let session = |at, user: &str, pipelined: bool| {
        let mut wire = Wire::connect(&lab, at);
        wire.login(Kind::Pop3, user);
        let commands: Vec<String> = (1..=samples.len()).map(|n| format!("RETR {n}\r\n")).collect();
        if pipelined {
            // Beside reading: nobody has to take megabytes of answers before they are asked for.
            wire.send(commands.concat().as_bytes());
            wire.send(b"NOOP\r\nTOP 1 0\r\nLIST\r\nRETR 999\r\nUIDL 1\r\nQUIT\r\n");
        }
        for command in &commands {
            if !pipelined {
                wire.send(command.as_bytes());
            }
            assert!(wire.line().starts_with(b"+OK"));
            wire.pop3_lines();
        }
        if !pipelined {
            wire.send(b"NOOP\r\nTOP 1 0\r\nLIST\r\nRETR 999\r\nUIDL 1\r\nQUIT\r\n");
        }
        wire.rest();
        wire.text()
    };
    for pipelined in [false, true] {
        let without = session(direct, DIRECT, pipelined);
        assert!(without.ends_with("+OK Logging out.\r\n"));
        let with = session(passed, PASSED, pipelined);
        assert_same(greetingless(&without).as_bytes(), greetingless(&with).as_bytes(), "a session");
    }
    proxy.spool().holds(&expected);
}

#[test]
fn fetchmail_and_getmail() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    // A line longer than their buffers: fetchmail writes octets at random into it, getmail's Python refuses it.
    let samples: Vec<Sample> = pop3_corpus().into_iter().filter(|s| s.name != "a very long line").collect();
    let implicit = |_| dovecot.endpoint(Kind::Pop3, Tls::Implicit);
    let sections = section(&lab, "start", Tls::StartTls, implicit(()), "")
        + &section(&lab, "full", Tls::Implicit, dovecot.endpoint(Kind::Pop3, Tls::None), "");
    let proxy = Proxy::start(&lab, &sections);
    let mut expected = Vec::new();

    // fetchmail: TOP with a huge count, then RETR ("fetchall") with DELE.
    for (name, server, more, verb) in [
        ("seen", "", "keep", "RETR 1"),
        ("uidl", "uidl", "keep", "TOP 1 99999999"),
        ("top", "", "nokeep", "TOP 1 99999999"),
        ("all", "", "fetchall nokeep", "RETR 1"),
    ] {
        let (mut got, mut left) = (Vec::new(), Vec::new());
        for (who, at) in [
            ("d", dovecot.endpoint(Kind::Pop3, Tls::StartTls)),
            ("p", proxy.endpoint(Kind::Pop3, "start", Tls::StartTls)),
        ] {
            let user = format!("fm-{who}-{name}@example.org");
            let mailbox = dovecot.filled(&user, &samples);
            got.push(fetchmail(&lab, at, server, &user, more, verb));
            left.push(mailbox.stored("INBOX").len());
            if who == "p" {
                expected.extend(samples.iter().map(|s| received(&user, "", &s.as_lines())));
            }
        }
        assert!(got[0].len() > 300_000);
        // What is on the server afterwards (it leaves there what it finds no header in).
        assert_eq!(left[0], left[1], "fetchmail {name}");
        assert!(if more.contains("nokeep") { left[0] <= 2 } else { left[0] == samples.len() }, "{left:?}");
        assert_same(&got[0], &got[1], &format!("fetchmail {name}"));
    }

    // getmail: RETR of all, deleting.
    let mut got = Vec::new();
    for (who, at) in
        [("d", dovecot.endpoint(Kind::Pop3, Tls::Implicit)), ("p", proxy.endpoint(Kind::Pop3, "full", Tls::Implicit))]
    {
        let user = format!("gm-{who}@example.org");
        let mailbox = dovecot.filled(&user, &samples);
        got.push(getmail(&lab, at, "SimplePOP3SSLRetriever", &user, "delete = true"));
        assert_eq!(mailbox.stored("INBOX").len(), 0, "getmail deletes what it has");
        if who == "p" {
            expected.extend(samples.iter().map(|s| received(&user, "", &s.as_lines())));
        }
    }
    assert_same(&got[0].concat(), &got[1].concat(), "getmail");
    proxy.spool().holds(&expected);
    proxy.spool().served_by_dovecot(&lab);
}

#[test]
fn a_message_of_25_megabytes() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let big = corpus::big();
    dovecot.filled(PASSED, std::slice::from_ref(&big));
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::Implicit, dovecot.endpoint(Kind::Pop3, Tls::Implicit), ""));
    let output = curl(&lab, proxy.endpoint(Kind::Pop3, "a", Tls::Implicit), PASSED, "/1", &[]).ok();
    assert!(output.stdout == big.bytes);
    proxy.spool().holds(&[received(PASSED, "", &big.bytes)]);
}

/// What Dovecot can serve by POP3.
fn pop3_corpus() -> Vec<Sample> {
    corpus().into_iter().filter(|sample| !sample.starts_with_dot()).collect()
}

/// As it is on the wire after RETR's first line.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend(line);
    }
    out.extend(b".\r\n");
    out
}

/// Behind the greeting, which holds a time stamp.
fn greetingless(session: &str) -> &str {
    session.split_once("\r\n").unwrap().1
}
