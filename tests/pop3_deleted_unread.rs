//! Mail that is deleted unread, or read by `TOP`, with the programs that people use: they notice nothing, and all of it is kept.

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::Duration;

use support::client::{curl, fetchmail, getmail};
use support::proxy::section;
use support::spool::{Expected, received};
use support::*;

const POP3_PY: &str = include_str!("support/pop3.py");

/// The same names' length on purpose: what a server says about a user is equally long for both.
const DIRECT: &str = "direct@example.org";
const PASSED: &str = "passed@example.org";

#[test]
fn poplib_deletes_everything_unread() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let samples = pop3_corpus();
    let sections = section(&lab, "a", Tls::StartTls, dovecot.endpoint(Kind::Pop3, Tls::Implicit), "");
    let proxy = Proxy::start(&lab, &sections);
    let ends = [
        (DIRECT, dovecot.endpoint(Kind::Pop3, Tls::StartTls)),
        (PASSED, proxy.endpoint(Kind::Pop3, "a", Tls::StartTls)),
    ];
    let said = ends.map(|(user, at)| {
        let mailbox = dovecot.filled(user, &samples);
        let said = python(&lab, POP3_PY, at, &["user", user, PASSWORD, "dele"]).stdout;
        assert_eq!(mailbox.stored("INBOX").len(), 0);
        said
    });
    assert_same(&said[0], &said[1], "poplib");
    proxy.spool().holds(&expected(PASSED, &samples));
    proxy.spool().served_by_dovecot(&lab);
}

#[test]
fn curl_deletes_one() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let samples = small_corpus();
    let direct = dovecot.endpoint(Kind::Pop3, Tls::None);
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::None, direct, ""));
    let outputs = [(DIRECT, direct), (PASSED, proxy.endpoint(Kind::Pop3, "a", Tls::None))].map(|(user, at)| {
        let mailbox = dovecot.filled(user, &samples);
        let output = curl(&lab, at, user, "/1", &["--request", "DELE", "--head"]).ok();
        assert_eq!(mailbox.stored("INBOX"), [samples[1].bytes.clone()]);
        output
    });
    assert_eq!(outputs[0], outputs[1]);
    // There is no third.
    let outputs = [(DIRECT, direct), (PASSED, proxy.endpoint(Kind::Pop3, "a", Tls::None))]
        .map(|(user, at)| curl(&lab, at, user, "/3", &["--request", "DELE", "--head"]));
    assert_eq!(outputs[0], outputs[1]);
    assert_ne!(outputs[0].code, Some(0));
    proxy.spool().holds(&expected(PASSED, &samples[..1]));
}

#[test]
fn fetchmail_flushes_what_is_too_large_for_it() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let large = Sample { name: "large", bytes: corpus::sized("Large", 200_000) };
    let samples = [small_corpus(), vec![large]].concat();
    let direct = dovecot.endpoint(Kind::Pop3, Tls::None);
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::None, direct, ""));
    for (server, verb) in [("", "TOP 1 99999999"), ("uidl", "DELE 3")] {
        let (direct_user, passed_user) = (format!("d{server}@example.org"), format!("p{server}@example.org"));
        let got =
            [(&direct_user, direct), (&passed_user, proxy.endpoint(Kind::Pop3, "a", Tls::None))].map(|(user, at)| {
                let mailbox = dovecot.filled(user, &samples);
                let got = fetchmail(&lab, at, server, user, "nokeep limit 100000 limitflush", verb);
                assert_eq!(mailbox.stored("INBOX").len(), 0, "fetchmail flushes");
                got
            });
        assert!(got[0].len() < 100_000);
        assert_same(&got[0], &got[1], "fetchmail");
    }
    proxy.spool().holds(&[expected("p@example.org", &samples), expected("puidl@example.org", &samples)].concat());
}

#[test]
fn getmail_deletes_what_it_has() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let samples = small_corpus();
    let direct = dovecot.endpoint(Kind::Pop3, Tls::None);
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::None, direct, ""));
    let got = [(DIRECT, direct), (PASSED, proxy.endpoint(Kind::Pop3, "a", Tls::None))].map(|(user, at)| {
        let mailbox = dovecot.filled(user, &samples);
        let got = getmail(&lab, at, "SimplePOP3Retriever", user, "delete = true");
        assert_eq!(mailbox.stored("INBOX").len(), 0);
        got
    });
    assert_eq!(got[0], got[1]);
    proxy.spool().holds(&expected(PASSED, &samples));
}

#[test]
fn a_half_closed_pipeline_deletes_a_thousand_messages() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let samples: Vec<Sample> =
        (0..1000).map(|number| Sample { name: "numbered", bytes: corpus::numbered(number) }).collect();
    let direct = dovecot.endpoint(Kind::Pop3, Tls::None);
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::None, direct, ""));
    let said = [(DIRECT, direct), (PASSED, proxy.endpoint(Kind::Pop3, "a", Tls::None))].map(|(user, at)| {
        let mailbox = dovecot.filled(user, &samples);
        let deletions: String = (1..=1001).map(|number| format!("DELE {number}\r\n")).collect();
        let pipeline =
            format!("USER {user}\r\nPASS {PASSWORD}\r\nDELE 1\r\nRSET\r\n{deletions}DELE 1\r\nSTAT\r\nQUIT\r\n");
        let said = at_once(at, &pipeline);
        assert_eq!(mailbox.stored("INBOX").len(), 0);
        said
    });
    assert!(said[0].ends_with("+OK 0 0\r\n+OK Logging out, messages deleted.\r\n"), "{}", said[0]);
    assert_eq!(said[0], said[1]);
    proxy.spool().holds(&expected(PASSED, &samples));
}

#[test]
fn a_client_that_vanishes_has_deleted_nothing() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let samples = small_corpus();
    let mailbox = dovecot.filled(PASSED, &samples);
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::None, dovecot.endpoint(Kind::Pop3, Tls::None), ""));
    let at = proxy.endpoint(Kind::Pop3, "a", Tls::None);
    let said = at_once(at, &format!("USER {PASSED}\r\nPASS {PASSWORD}\r\nDELE 1\r\n"));
    assert!(said.ends_with("+OK Marked to be deleted.\r\n"), "{said}");
    proxy.spool().holds(&expected(PASSED, &samples[..1]));
    assert_eq!(mailbox.stored("INBOX").len(), 2);
}

#[test]
fn much_of_a_message_is_kept_whole() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let long = Sample { name: "long", bytes: corpus::sized("Long", 300_000) };
    let samples = [vec![long], small_corpus()].concat();
    let direct = dovecot.endpoint(Kind::Pop3, Tls::None);
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::None, direct, ""));
    for commands in [&["TOP 1 1000"][..], &["TOP 1 1000", "NOOP", "TOP 2 20", "TOP 3 1", "TOP 9 1000"]] {
        let said = [(DIRECT, direct), (PASSED, proxy.endpoint(Kind::Pop3, "a", Tls::None))].map(|(user, at)| {
            if commands.len() == 1 {
                dovecot.filled(user, &samples);
            }
            at_once(at, &format!("USER {user}\r\nPASS {PASSWORD}\r\n{}\r\nQUIT\r\n", commands.join("\r\n")))
        });
        assert!(said[0].len() > 50_000 && said[0].len() < 200_000, "{}", said[0].len());
        assert_same(said[0].as_bytes(), said[1].as_bytes(), "TOP");
        // The second was shown whole, the third in part, by way of a preview.
        proxy.spool().holds(&expected(PASSED, &samples[..commands.len().min(2)]));
    }
}

#[test]
fn what_cannot_be_kept_is_not_deleted() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let large = Sample { name: "large", bytes: corpus::sized("Large", 200_000) };
    let samples = [vec![large], small_corpus()].concat();
    let mailbox = dovecot.filled(PASSED, &samples);
    let sections = section(&lab, "a", Tls::None, dovecot.endpoint(Kind::Pop3, Tls::None), "");
    let proxy = Proxy::with(&lab, "max_message_size = 100000\n", &sections);
    let mut wire = Wire::connect(&lab, proxy.endpoint(Kind::Pop3, "a", Tls::None));
    wire.login(Kind::Pop3, PASSED);
    assert_eq!(wire.pop3("DELE 1"), "-ERR [SYS/PERM] the message could not be kept, it is not deleted\r\n");
    assert!(wire.pop3("DELE 2").starts_with("+OK"));
    assert!(wire.pop3("QUIT").starts_with("+OK"));
    wire.rest();
    assert_eq!(mailbox.stored("INBOX").len(), 2);
    proxy.spool().holds(&expected(PASSED, &samples[1..2]));
}

#[test]
fn what_was_kept_before_is_not_fetched_again() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let samples = small_corpus();
    let mailboxes = [DIRECT, PASSED].map(|user| dovecot.filled(user, &samples));
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::None, dovecot.endpoint(Kind::Pop3, Tls::None), ""));
    let dir = proxy.spool().path().parent().unwrap().to_owned();
    let all = [expected(DIRECT, &samples), expected(PASSED, &samples)].concat();
    let deletions = |user| format!("USER {user}\r\nPASS {PASSWORD}\r\nDELE 1\r\nDELE 2\r\n");

    // One user's client retrieves, the other's deletes unread and vanishes.
    let at = proxy.endpoint(Kind::Pop3, "a", Tls::None);
    python(&lab, POP3_PY, at, &["user", DIRECT, PASSWORD, "retr"]);
    at_once(at, &deletions(PASSED));
    proxy.spool().holds(&all);
    let size: usize = samples.iter().map(|sample| sample.bytes.len()).sum();
    assert_eq!(fetched(&proxy.stop()), size);

    // Then both delete, with another process in between.
    let proxy = Proxy::start_in(&dir);
    let at = proxy.endpoint(Kind::Pop3, "a", Tls::None);
    python(&lab, POP3_PY, at, &["user", DIRECT, PASSWORD, "dele"]);
    let said = at_once(at, &(deletions(PASSED) + "QUIT\r\n"));
    assert!(said.ends_with("+OK Logging out, messages deleted.\r\n"), "{said}");
    assert_eq!(mailboxes.map(|mailbox| mailbox.stored("INBOX").len()), [0, 0]);
    proxy.spool().holds(&all);
    assert_eq!(fetched(&proxy.stop()), 0);
}

/// Octets that all sessions of this log fetched on the proxy's own account.
fn fetched(log: &str) -> usize {
    let closed: Vec<&str> = log.lines().filter(|line| line.contains(" closed client=")).collect();
    assert_eq!(closed.len(), 2, "{log}");
    let octets = closed.iter().map(|line| {
        let word = line.split(' ').find_map(|word| word.strip_prefix("fetched="));
        word.unwrap_or_else(|| panic!("no fetched= in {line}")).parse::<usize>().unwrap()
    });
    octets.sum()
}

/// Sends all of it, closes that direction, and gives all that is said behind the greeting.
fn at_once(at: Endpoint, commands: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, at.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // Dovecot takes no command before it has greeted.
    let mut greeting = [0; 1000];
    assert!(stream.read(&mut greeting).unwrap() > 0);
    stream.write_all(commands.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

fn expected(user: &str, samples: &[Sample]) -> Vec<Expected> {
    samples.iter().map(|sample| received(user, "", &sample.as_lines())).collect()
}

/// What Dovecot can serve by POP3.
fn pop3_corpus() -> Vec<Sample> {
    corpus().into_iter().filter(|sample| !sample.starts_with_dot()).collect()
}
