//! docs/fail2ban: the real fail2ban finds in what the real program logs the addresses from which wrong passwords came, and no others.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::support::client::run_with_input;
use crate::support::peer::{CLOSE, GREETING, Peer};
use crate::support::proxy::section;
use crate::support::*;

/// What a user would like to see in the log: that somebody else's logins fail.
const FORGED: &str = "x\" INFO 7f3a imap login failed client=203.0.113.66:1 reason=the server refused it";

fn docs(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fail2ban").join(file)
}

/// A session of these words; waits until the server has closed. In SMTP each line waits for the reply to the one before.
fn says(at: SocketAddr, smtp: bool, words: &str) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(CLIENT)).unwrap();
    let mut replies = BufReader::new(stream.try_clone().unwrap());
    for line in words.split_inclusive('\n') {
        let mut reply = String::new();
        while smtp && reply.as_bytes().get(3) != Some(&b' ') {
            reply.clear();
            assert_ne!(replies.read_line(&mut reply).unwrap(), 0, "the server closed before {line}");
        }
        stream.write_all(line.as_bytes()).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    replies.read_to_end(&mut Vec::new()).unwrap();
}

/// A server of this kind behind two proxies, one on each family.
fn sections(lab: &Lab, name: &str, peer: &Peer) -> String {
    let (v4, v6) = (format!("{name}-v4"), format!("{name}-v6"));
    let section = |name| section(lab, name, Tls::None, peer.endpoint(Tls::None), "");
    section(&v4) + &section(&v6).replace("127.0.0.1:0", "[::1]:0")
}

/// The log of logins that the server refused in all these ways, and of what looks like it; how many count from each family.
fn log_of_logins(lab: &Lab) -> (String, usize) {
    let plain = |user: &str| BASE64_STANDARD.encode(format!("\0{user}\0wrong"));
    let refusing = [
        Peer::answering(
            lab,
            Kind::Pop3,
            Tls::None,
            vec![
                ("PASS busy", b"-ERR [IN-USE] another session has it\r\n".to_vec()),
                ("PASS ill", b"-ERR [SYS/TEMP] come back later\r\n".to_vec()),
                ("PASS known", b"-ERR [AUTH] wrong\r\n".to_vec()),
                ("PASS", b"-ERR wrong\r\n".to_vec()),
            ],
        ),
        Peer::answering(
            lab,
            Kind::Imap,
            Tls::None,
            vec![
                ("LOGIN ann ill", b"{tag} NO [UNAVAILABLE] come back later\r\n".to_vec()),
                ("LOGIN ann known", b"{tag} NO [AUTHENTICATIONFAILED] wrong\r\n".to_vec()),
                ("LOGIN", b"{tag} NO wrong\r\n".to_vec()),
            ],
        ),
        Peer::answering(
            lab,
            Kind::Smtp,
            Tls::None,
            vec![
                ("AUTH PLAIN AGls", b"454 4.7.0 come back later\r\n".to_vec()),
                ("AUTH", b"535-5.7.8 wrong\r\n535 5.7.8 again\r\n".to_vec()),
            ],
        ),
    ];
    let accepting = [Kind::Pop3, Kind::Imap].map(|kind| Peer::answering(lab, kind, Tls::None, vec![]));
    let accepting_smtp = Peer::answering(lab, Kind::Smtp, Tls::None, vec![("AUTH", b"235 2.7.0 in\r\n".to_vec())]);
    let greeting = [format!("* BYE {FORGED}\r\n").as_bytes(), CLOSE].concat();
    let hostile = Peer::answering(lab, Kind::Imap, Tls::None, vec![(GREETING, greeting)]);
    let mut ini: String = refusing.iter().map(|peer| sections(lab, "no", peer)).collect();
    ini += &accepting.iter().map(|peer| sections(lab, "yes", peer)).collect::<String>();
    ini += &sections(lab, "yes", &accepting_smtp);
    ini += &sections(lab, "hostile", &hostile);
    let proxy = Proxy::start(lab, &ini);

    // Base64 of NUL, "ill": AGls.
    let quoted = FORGED.replace('"', "\\\"");
    let (wrong, ill, forged) = (plain("ann"), plain("ill"), plain(FORGED));
    let sessions = [
        ("pop3:no", format!("USER ann\r\nPASS x\r\nUSER ann\r\nPASS known\r\nUSER {FORGED}\r\nPASS x\r\n"), 3),
        ("pop3:no", "USER ann\r\nPASS busy\r\nUSER ann\r\nPASS ill\r\nQUIT\r\n".to_owned(), 0),
        ("imap:no", format!("a LOGIN ann x\r\nb LOGIN ann known\r\nc LOGIN \"{quoted}\" x\r\n"), 3),
        ("imap:no", "a LOGIN ann ill\r\nb LOGOUT\r\n".to_owned(), 0),
        ("smtp:no", format!("EHLO me\r\nAUTH PLAIN {wrong}\r\n"), 1),
        ("smtp:no", format!("EHLO me\r\nAUTH PLAIN {forged}\r\n"), 1),
        ("smtp:no", format!("EHLO me\r\nAUTH PLAIN {ill}\r\nQUIT\r\n"), 0),
        ("pop3:yes", format!("USER {FORGED}\r\nPASS x\r\nQUIT\r\n"), 0),
        ("imap:yes", format!("a LOGIN \"{quoted}\" x\r\nb LOGOUT\r\n"), 0),
        ("smtp:yes", format!("EHLO {FORGED}\r\nAUTH PLAIN {forged}\r\nMAIL FROM:<\"{quoted}\"@x>\r\nQUIT\r\n"), 0),
        ("imap:hostile", "a NOOP\r\n".to_owned(), 0),
    ];
    let mut count = 0;
    for (name, words, counts) in &sessions {
        for family in ["v4", "v6"] {
            says(proxy.addresses(&format!("{name}-{family}"))[0], name.starts_with("smtp"), words);
        }
        count += counts;
    }
    wait_until("all sessions are closed", CLIENT, || {
        proxy.log().matches(" closed client=").count() == 2 * sessions.len()
    });
    let log = proxy.stop();
    // What was to look like it is there.
    for text in
        ["login user=x\\x22\\x20info", "refused the connection: \"", "[IN-USE]", "[SYS/TEMP]", "[UNAVAILABLE]", ": 454"]
    {
        assert!(log.contains(text), "{text}: {log}");
    }
    assert!(log.matches("203.0.113.66").count() >= 8, "{log}");
    (log, count)
}

/// The addresses that fail2ban-regex finds there, sorted, with the time of each.
fn found(lab: &Lab, log: &str, filter: &str, more: &[&str]) -> Vec<(String, u64)> {
    // Where it is not UTC, a time without its zone would be another.
    let args = ["TZ=America/New_York", "fail2ban-regex", "-c"];
    let config = lab.path().join("fail2ban");
    let all = [&args[..], &[config.to_str().unwrap(), "-o", "<ip> <time>"], more, &[log, filter]].concat();
    let output = run_with_input("env", &all, b"", lab.path()).text();
    let mut found: Vec<(String, u64)> = output
        .lines()
        .map(|line| {
            let (ip, time) = line.split_once(' ').unwrap_or_else(|| panic!("{output}"));
            (ip.to_owned(), time.parse::<f64>().unwrap_or_else(|_| panic!("{output}")) as u64)
        })
        .collect();
    found.sort();
    found
}

/// fail2ban's own configuration with what the page installs, and without the jails of the system.
fn configuration(lab: &Lab) -> PathBuf {
    let dir = lab.path().join("fail2ban");
    run("cp", &["-r", "/etc/fail2ban", dir.to_str().unwrap()]).ok();
    fs::remove_dir_all(dir.join("jail.d")).unwrap();
    fs::create_dir(dir.join("jail.d")).unwrap();
    fs::copy(docs("filter.d/mailstore.conf"), dir.join("filter.d/mailstore.conf")).unwrap();
    fs::copy(docs("jail.d/mailstore.conf"), dir.join("jail.d/mailstore.conf")).unwrap();
    dir
}

#[test]
fn fail2ban_finds_wrong_passwords_and_nothing_else() {
    let lab = Lab::new();
    configuration(&lab);
    let (log, count) = log_of_logins(&lab);
    let times: Vec<u64> = log
        .lines()
        .filter(|line| line.contains("login failed"))
        .map(|line| {
            let seconds = run("date", &["-u", "+%s", "-d", line.split(' ').next().unwrap()]).ok().text();
            seconds.trim().parse().unwrap()
        })
        .collect();
    let check = |what: &str, found: &[(String, u64)]| {
        for (address, expected) in [("127.0.0.1", count), ("::1", count)] {
            assert_eq!(
                found.iter().filter(|(ip, _)| ip == address).count(),
                expected,
                "{what}: {address}: {found:?}\n{log}"
            );
        }
        assert_eq!(found.len(), 2 * count, "{what}: {found:?}");
        assert!(found.iter().all(|(_, time)| times.contains(time)), "{what}: {found:?}, not {times:?}");
    };

    // A file.
    let file = lab.path().join("mailstore.log");
    fs::write(&file, &log).unwrap();
    check("a file", &found(&lab, file.to_str().unwrap(), "mailstore", &[]));

    let journal = journal(&lab, &log);
    let journal = format!("systemd-journal[journalpath={}]", journal.display());
    check("the journal", &found(&lab, &journal, "mailstore", &["-m", "_SYSTEMD_UNIT=mailstore.service"]));

    // Aggressively: also those that never came to a password.
    let wrongly_set = "2026-11-23T14:31:23Z INFO 7f3a pop3:office login failed client=192.0.2.9:1 reason=the client asked for it without STLS";
    assert_eq!(found(&lab, wrongly_set, "mailstore", &[]), []);
    assert_eq!(found(&lab, wrongly_set, "mailstore[mode=aggressive]", &[])[0].0, "192.0.2.9");
}

/// A folder with a journal that has this log as the service's, and another unit that says the same.
pub(crate) fn journal(lab: &Lab, log: &str) -> PathBuf {
    let mut export = String::new();
    for (at, line) in log.lines().enumerate() {
        let seconds = run("date", &["-u", "+%s", "-d", line.split(' ').next().unwrap()]).ok().text();
        for unit in ["mailstore.service", "other.service"] {
            export += &format!(
                "__REALTIME_TIMESTAMP={}{at:06}\n__MONOTONIC_TIMESTAMP={at}\n_BOOT_ID={}\n_MACHINE_ID={}\n_HOSTNAME=office\n\
                 _PID=77\n_SYSTEMD_UNIT={unit}\nSYSLOG_IDENTIFIER=start_proxies\nPRIORITY=6\nMESSAGE={line}\n\n",
                seconds.trim(),
                "1".repeat(32),
                "2".repeat(32)
            );
        }
    }
    let folder = lab.folder("journal");
    let output = folder.join("office.journal");
    let args = ["-o", output.to_str().unwrap(), "-"];
    run_with_input("/lib/systemd/systemd-journal-remote", &args, export.as_bytes(), lab.path()).ok();
    folder
}

#[test]
fn fail2ban_takes_the_jail() {
    let lab = Lab::new();
    let dir = configuration(&lab);
    let config = ["-c", dir.to_str().unwrap()];
    run("fail2ban-client", &[&config[..], &["-t"]].concat()).ok();
    let jail = run("fail2ban-client", &[&config[..], &["-d"]].concat()).ok().text();
    for line in [
        "['add', 'mailstore', 'systemd']",
        "['set', 'mailstore', 'addjournalmatch', '_SYSTEMD_UNIT=mailstore.service']",
        "['set', 'mailstore', 'maxretry', 10]",
        "['start', 'mailstore']",
    ] {
        assert!(jail.contains(line), "{line} in\n{jail}");
    }
    // A mistake would be told.
    let file = dir.join("jail.d/mailstore.conf");
    let wrong = fs::read_to_string(&file).unwrap().replace("filter = mailstore", "filter = mailstor");
    fs::write(&file, wrong).unwrap();
    assert_ne!(run("fail2ban-client", &[&config[..], &["-t"]].concat()).code, Some(0));
}

#[test]
fn the_line_on_the_page_counts() {
    let lab = Lab::new();
    configuration(&lab);
    let page = include_str!("../../docs/fail2ban.md");
    let line = page.lines().find(|line| line.contains(" login failed client=")).unwrap().trim();
    assert_eq!(found(&lab, line, "mailstore", &[])[0].0, "192.0.2.7");
}
