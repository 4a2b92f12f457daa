//! Programs that read mail in chunks and by parts, or all of it in one go, as they are: each gets with the proxy what it gets without
//! it, and what it read is kept whole.

mod support;

use std::fs;
use std::path::Path;

use support::client::{maildirs, private, python};
use support::replay::{ALL, BIG, DIRECT, FORWARDED, LETTER, PARTS, PASSED, SMALL, Scene, from_inbox, inbox};
use support::spool::{hash, received};
use support::wire::timeless;
use support::*;

const CHUNKS_PY: &str = include_str!("support/chunks.py");

#[test]
fn imaplib_downloads_in_chunks_of_all_sizes() {
    let downloads = [
        // 285 octets.
        ("uid", "101", "BODY[]", "100"),
        // 1000 octets: no chunk is short.
        ("seq", "5", "BODY.PEEK[]", "1000"),
        ("uid", "103", "BODY.PEEK[]", "1000"),
        ("uid", "103", "BODY.PEEK[2]", "5000"),
        ("seq", "4", "BODY.PEEK[]", "65536"),
        ("uid", "104", "BODY[2]", "65536"),
        ("uid", "104", "BODY[]", "4000000"),
        ("seq", "2", "BODY[TEXT]", "300"),
    ];
    for tls in Tls::ALL {
        let scene = Scene::with(tls, UNFOLLOWED);
        let run = |at: Endpoint, user: &str| {
            scene.fill(user);
            let mut args = vec![user, PASSWORD];
            args.extend(downloads.iter().flat_map(|&(kind, number, section, size)| [kind, number, section, size]));
            timeless(&python(&scene.lab, CHUNKS_PY, at, &args).stdout)
        };
        let (direct, passed) = (run(scene.direct, DIRECT), run(scene.passed, PASSED));
        assert_same(&direct, &passed, "imaplib in chunks");
        let text = String::from_utf8(passed).unwrap();
        assert_eq!(text.matches(&hash(&inbox()[3].bytes)).count(), 2, "{text}");
        scene.same_mail();
        scene.keeps(&[SMALL, LETTER, PARTS, BIG, FORWARDED]);
    }
}

#[test]
fn imapflow_downloads_messages_and_parts() {
    let modules = Path::new(env!("CARGO_TARGET_TMPDIR")).join("imapflow/node_modules");
    assert!(modules.join("imapflow").is_dir(), "imapflow is missing: scripts/test installs what the tests need");
    for (tls, downloads, kept) in [
        (Tls::Implicit, &["104", "103/2"][..], &[PARTS, BIG][..]),
        (Tls::StartTls, &["104/2", "103/1.1", "101", "105/2"][..], &[SMALL, PARTS, BIG, FORWARDED][..]),
    ] {
        let scene = Scene::with(tls, UNFOLLOWED);
        let run = |at: Endpoint, user: &str| {
            scene.fill(user);
            let home = scene.lab.folder("imapflow");
            fs::write(home.join("read.js"), include_str!("support/imapflow/read.js")).unwrap();
            std::os::unix::fs::symlink(&modules, home.join("node_modules")).unwrap();
            let (port, ca) = (at.port.to_string(), scene.lab.ca());
            let connection = ["read.js", &port, at.tls.key(), ca.to_str().unwrap(), user, PASSWORD];
            run_with_input("node", &[&connection[..], downloads].concat(), b"", &home).ok()
        };
        let (direct, passed) = (run(scene.direct, DIRECT), run(scene.passed, PASSED));
        assert_eq!(direct, passed, "{downloads:?}");
        // The whole messages among them are the very messages.
        for download in downloads.iter().filter(|download| !download.contains('/')) {
            let message = &inbox()[download.parse::<usize>().unwrap() - SMALL];
            assert!(passed.text().contains(&hash(&message.bytes)), "{download}: {}", passed.text());
        }
        scene.same_mail();
        scene.keeps(kept);
    }
}

#[test]
fn offlineimap_takes_all_folders() {
    // Not by STARTTLS: its library at times misses the first reply after it, from Dovecot itself too.
    for (tls, more) in [(Tls::None, "readonly = True\n"), (Tls::Implicit, "")] {
        let scene = Scene::with(tls, UNFOLLOWED);
        let run = |at: Endpoint, user: &str| {
            scene.fill(user).put("Work", Place::Cur, &corpus::sized("At work", 200_000));
            let home = scene.lab.folder("offlineimap");
            offlineimap(&scene.lab, at, user, &home, more);
            maildirs(&home.join("mail"))
        };
        let (direct, passed) = (run(scene.direct, DIRECT), run(scene.passed, PASSED));
        assert_eq!(direct.values().map(Vec::len).sum::<usize>(), ALL.len() + 1);
        assert!(direct == passed, "offlineimap");
        scene.same_mail();
        let mut expected = from_inbox(PASSED, &ALL);
        expected.push(received(PASSED, "Work", &corpus::sized("At work", 200_000)));
        scene.proxy.spool().holds(&expected);
    }
}

#[test]
fn thunderbird_reads_downloads_and_deletes() {
    for (todo, kept) in [
        (&["read", "104", "read", "103", "read", "101", "delete", "102"][..], &[SMALL, LETTER, PARTS, BIG][..]),
        (&["delete", "104", "download", "all"][..], &ALL[..]),
    ] {
        let scene = Scene::new(UNFOLLOWED);
        let run = |at: Endpoint, user: &str| {
            scene.fill(user);
            thunderbird(&scene.lab, at, user, todo)
        };
        let (direct, passed) = (run(scene.direct, DIRECT), run(scene.passed, PASSED));
        assert_eq!(direct, passed, "Thunderbird");
        // What it read is the very message.
        let read = format!("read 104 0 {} {}\n", inbox()[3].bytes.len(), hash(&inbox()[3].bytes));
        assert!(passed.contains(&read) || !todo.contains(&"read"), "{passed}");
        scene.same_mail();
        scene.keeps(kept);
    }
}

/// Lets Thunderbird do this with its inbox; gives what it says of it.
fn thunderbird(lab: &Lab, at: Endpoint, user: &str, todo: &[&str]) -> String {
    let installed = Path::new("/usr/lib/thunderbird/thunderbird").is_file();
    assert!(installed, "Thunderbird is missing: scripts/test installs what the tests need");
    let home = lab.folder("thunderbird");
    fs::create_dir(home.join("profile")).unwrap();
    fs::write(home.join("drive.py"), include_str!("support/thunderbird/drive.py")).unwrap();
    fs::write(home.join("read.js"), include_str!("support/thunderbird/read.js")).unwrap();
    let (port, count) = (at.port.to_string(), ALL.len().to_string());
    let args = [&["drive.py", "profile", &port, user, PASSWORD, &count][..], todo].concat();
    run_with_input("/usr/bin/python3", &args, b"", &home).ok().text()
}

/// Synchronises all folders into Maildirs below `mail` in this folder. Not by IPv6: on ::1 somebody else may listen on the same port.
fn offlineimap(lab: &Lab, at: Endpoint, user: &str, home: &Path, more: &str) {
    let authority =
        if at.tls == Tls::None { String::new() } else { format!("sslcacertfile = {}\n", lab.ca().display()) };
    let rc = format!(
        "[general]\naccounts = a\nmetadata = {h}/meta\nsocktimeout = 30\n\n[Account a]\nlocalrepository = near\nremoterepository = far\n\n\
         [Repository near]\ntype = Maildir\nlocalfolders = {h}/mail\n\n\
         [Repository far]\ntype = IMAP\nipv6 = no\nremotehost = localhost\nremoteport = {}\nremoteuser = {user}\nremotepass = {PASSWORD}\n\
         ssl = {}\nstarttls = {}\n{authority}{more}",
        at.port,
        yes(at.tls == Tls::Implicit),
        yes(at.tls == Tls::StartTls),
        h = home.display()
    );
    private(&home.join("rc"), &rc);
    run_with_input("offlineimap", &["-c", home.join("rc").to_str().unwrap(), "-o", "-u", "basic"], b"", home).ok();
}

fn yes(so: bool) -> &'static str {
    if so { "yes" } else { "no" }
}
