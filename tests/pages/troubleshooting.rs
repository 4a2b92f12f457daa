//! docs/troubleshooting.md names every line of level WARN or ERROR, every reason for the end of a session, and none that there is not. What
//! the program can say is read out of its sources: the texts in the calls that log, and behind them.

use std::collections::BTreeSet;
use std::fs;

use super::fail2ban::journal;
use super::page::text;
use super::said::{GROUPS, all_said, fixed_parts, is_made_of, literals, plain, sources};
use crate::support::client::run_with_input;
use crate::support::page::with;
use crate::support::proxy::{program, section};
use crate::support::spool::hash;
use crate::support::*;

const PAGE: &str = include_str!("../../docs/troubleshooting.md");

#[test]
fn every_line_that_warns_is_on_the_page() {
    let page = plain(PAGE);
    let said = all_said();
    // So many there are at least: an extraction that finds nothing proves nothing.
    assert!(said.len() > 120, "only {} texts were found", said.len());
    let missing: BTreeSet<String> = said
        .iter()
        .flat_map(|said| said.parts.iter().map(move |part| (part, &said.place)))
        .filter(|(part, _)| !page.contains(part.as_str()))
        .map(|(part, place)| format!("{place}: {part}"))
        .collect();
    assert!(missing.is_empty(), "not in docs/troubleshooting.md:\n{missing:#?}");
    for group in GROUPS {
        assert!(page.contains(group.trim()), "{group}");
    }
}

#[test]
fn no_line_is_on_the_page_that_there_is_not() {
    let texts: Vec<String> = sources().iter().flat_map(|(_, text)| literals(text)).collect();
    let whole: String = texts.iter().map(|text| plain(text) + "\n").collect();
    let parts: BTreeSet<String> = texts.iter().flat_map(|text| fixed_parts(text)).collect();
    let mut rows = 0;
    let mut unknown = Vec::new();
    for row in PAGE.lines().filter(|line| line.starts_with("| `")) {
        let first = row.trim_start_matches("| ").split(" | ").next().unwrap();
        for line in first.split('`').skip(1).step_by(2) {
            rows += 1;
            for part in line.split('…').map(plain).filter(|part| !part.is_empty()) {
                if !whole.contains(&part) && !is_made_of(&part, &parts) {
                    unknown.push(format!("{line}: {part:?}"));
                }
            }
        }
    }
    assert!(rows > 60, "only {rows} lines were found on the page");
    assert!(unknown.is_empty(), "no source says so:\n{unknown:#?}");
}

/// Two rows for the same line would say two things to do; a row without all its cells says nothing at its end.
#[test]
fn each_line_is_told_once_below_a_heading_and_each_row_is_whole() {
    let (mut cells, mut heading, mut seen, mut faults) = (0, "", BTreeSet::new(), Vec::new());
    for line in PAGE.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title;
        }
        if !line.starts_with('|') {
            cells = 0;
            continue;
        }
        let row = line.replace("\\|", "");
        let row: Vec<&str> = row.trim_matches('|').split('|').collect();
        if cells == 0 {
            cells = row.len();
        }
        if row.len() != cells {
            faults.push(format!("{} cells, not {cells}: {line}", row.len()));
        }
        // `cannot …` goes on with the system's words.
        let said = row[0].split('`').skip(1).step_by(2).filter(|said| line.starts_with("| `") && *said != "cannot …");
        faults
            .extend(said.filter(|said| !seen.insert((heading, said.to_string()))).map(|said| format!("twice: {said}")));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// The command in the table at the top, or among the symptoms, that begins so.
#[track_caller]
fn command(start: &str) -> String {
    let found = PAGE.split('`').skip(1).step_by(2).find(|code| code.starts_with(start));
    found.unwrap_or_else(|| panic!("there is no command that begins with {start:?}")).replace("\\|", "|")
}

#[track_caller]
fn sh(lab: &Lab, command: &str) -> String {
    let output = run_with_input("/bin/sh", &["-c", command], b"", lab.path());
    text(&[output.stdout, output.stderr].concat())
}

#[test]
fn the_commands_to_look_with_show_what_they_are_for() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let mut sections = String::new();
    for (kind, name, listen) in [
        (Kind::Imap, "full", Tls::Implicit),
        (Kind::Imap, "start", Tls::StartTls),
        (Kind::Pop3, "start", Tls::StartTls),
    ] {
        sections += &section(&lab, name, listen, dovecot.endpoint(kind, Tls::Implicit), "");
    }
    // A server that is not there.
    let nobody = Endpoint { kind: Kind::Smtp, port: 9, tls: Tls::None };
    sections += &section(&lab, "gone", Tls::None, nobody, "");
    let proxy = Proxy::start(&lab, &sections);

    // What clients see, and what the server shows MailStore.
    let (full, start) = (proxy.port("imap:full"), proxy.port("imap:start"));
    let seen = with(
        &command("openssl s_client -connect mail.office"),
        &[("mail.office.example:993", &format!("localhost:{full}"))],
    );
    assert!(sh(&lab, &seen).contains("CN = MailStore test"), "{seen}");
    let seen = with(
        &command("openssl s_client -starttls imap"),
        &[("mail.office.example:143", &format!("localhost:{start}"))],
    );
    assert!(sh(&lab, &seen).contains("CN = MailStore test"), "{seen}");
    let seen = with(&seen, &[("imap", "pop3"), (&start.to_string(), &proxy.port("pop3:start").to_string())]);
    assert!(sh(&lab, &seen).contains("CN = MailStore test"), "{seen}");
    let server = dovecot.endpoint(Kind::Imap, Tls::Implicit).port;
    let shown = with(
        &command("openssl s_client -connect imap.example.com"),
        &[("imap.example.com:993", &format!("localhost:{server} -CAfile {}", lab.ca().display()))],
    );
    let verified = with(&shown, &[("-verify_hostname imap.example.com", "-verify_hostname localhost")]);
    assert!(sh(&lab, &verified).contains("Verification: OK"), "{verified}");
    assert!(sh(&lab, &shown).contains("hostname mismatch"), "{shown}");

    // The figures.
    let figures = with(&command("kill -USR1"), &[("$(pidof start_proxies)", &proxy.pid().to_string())]);
    sh(&lab, &figures);
    proxy.tells_of(" counters open=");

    // Whether all is right, beside a running one: its ports are in use.
    let ini = proxy.spool().path().parent().unwrap().join("mailstore.ini");
    let listening = fs::read_to_string(&ini).unwrap().replacen("127.0.0.1:0", &format!("127.0.0.1:{full}"), 1);
    let tried = lab.path().join("tried.ini");
    fs::write(&tried, listening).unwrap();
    let test = with(
        &command("start_proxies -t"),
        &[
            ("start_proxies", program().get_program().to_str().unwrap()),
            ("/etc/mailstore/mailstore.ini", tried.to_str().unwrap()),
        ],
    );
    assert!(sh(&lab, &test).contains("it is in use by start_proxies"), "{test}");

    // The log: what is wrong, and one session.
    let port = proxy.port("smtp:gone");
    drop(std::net::TcpStream::connect(("127.0.0.1", port)).unwrap());
    proxy.tells_of(" cannot be reached: ");
    let log = proxy.stop();
    let folder = journal(&lab, &log);
    let here = format!("journalctl -D {} -o cat", folder.display());
    let wrong = sh(&lab, &with(&command("journalctl -u mailstore -g ' (WARN"), &[("journalctl", &here)]));
    let expected: Vec<&str> = log.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).collect();
    assert!(expected.iter().any(|line| line.contains("cannot be reached")), "{log}");
    assert_eq!(wrong.lines().collect::<Vec<_>>(), expected);
    let id = log.lines().find(|line| line.contains("cannot be reached")).unwrap().split(' ').nth(2).unwrap();
    let session = with(
        &command("journalctl -u mailstore -g ' 7f3a"),
        &[("journalctl", &here), (" 7f3a imap ", &format!(" {id} smtp:gone "))],
    );
    let lines = sh(&lab, &session);
    assert!(lines.contains("closed client=") && lines.lines().all(|line| line.contains(id)), "{lines}");
}

#[test]
fn the_same_message_under_two_owners_is_found() {
    let lab = Lab::new();
    let spool = lab.path().join("mailSpool");
    let file = |owner: &str, text: &[u8]| {
        let dir = spool.join(owner).join("new");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("1700000000.M1P1Q1.host,S={},H={}", text.len(), hash(text))), text).unwrap();
    };
    file("example.com/joe", b"the same");
    file("localhost/joe", b"the same");
    file("localhost/ann", b"another");
    assert_eq!(sh(&lab, &command("find mailSpool")).trim(), hash(b"the same"));
}
