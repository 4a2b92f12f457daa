//! What docs/backup.md says, typed as it stands there: only what is the administrator's own is put in its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::dovecot::Ends;
use crate::place::{JOE, Place, contents, files, messages};
use crate::support::client::run_with_input;
use crate::support::dovecot::entries;
use crate::support::spool::hash;
use crate::support::{Output, corpus};

const PAGE: &str = include_str!("../../docs/backup.md");
const SPOOL: &str = "/var/lib/mailstore/mailSpool";
const DEST: &str = "/var/backups/mailstore";

/// The indented line that begins so.
#[track_caller]
fn line(start: &str) -> &'static str {
    let found = PAGE.lines().filter_map(|line| line.strip_prefix("    ")).find(|line| line.starts_with(start));
    found.unwrap_or_else(|| panic!("there is no command that begins with {start:?}"))
}

/// Types it in this folder.
#[track_caller]
fn typed(place: &Place, command: &str, folder: &Path) -> Output {
    let mut command = command.to_owned();
    let spool = place.spool.to_str().unwrap();
    let tool = |name: &str| format!("{} -c {}/mailstore.ini", place.tool(name).display(), place.dir.display());
    for (from, to) in [
        ("/srv/restored", place.dir.join("restored").to_str().unwrap()),
        ("/srv/mailstore-snapshots", place.dir.join("fetched").to_str().unwrap()),
        ("root@mail.office.example:", ""),
        (" /etc/mailstore", &format!(" {}", place.dir.join("etc").display())),
        (" var/lib/mailstore/mailSpool", &format!(" {}", &spool[1..])),
        (SPOOL, spool),
        (DEST, place.dest.to_str().unwrap()),
        ("mailstore-verify", &tool("verify")),
        ("mailstore-import", &tool("import")),
    ] {
        command = command.replace(from, to);
    }
    if let Some(rest) = command.strip_prefix("mailstore-backup") {
        command = tool("backup") + rest;
    }
    let env: String = place.env.iter().map(|(name, value)| format!("export {name}='{value}'; ")).collect();
    run_with_input("/bin/sh", &["-c", &(env + &command)], b"", folder)
}

/// Messages of three owners, one of them called tmp, and drafts.
fn filled(place: &Place) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for (number, owner) in [JOE, "example.com/tmp", "tmp/ann"].into_iter().enumerate() {
        for (at, folder) in ["", "/.Sent", "/.tmp"].into_iter().enumerate() {
            let dir = format!("{owner}{folder}");
            all.push(place.put(&dir, ["new", "cur"][at % 2], &corpus::numbered(10 * number + at)));
            fs::write(place.spool.join(dir).join("tmp/draft"), "half a mess").unwrap();
        }
    }
    all
}

/// Does this while mail arrives, in the way that it does: whole, by a rename.
fn while_mail_arrives<T>(place: &Place, action: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1000.. {
                let bytes = corpus::numbered(number);
                let name = format!("1700000001.M1P1Q{number}.host,S={},H={}", bytes.len(), hash(&bytes));
                let draft = place.spool.join(JOE).join("tmp").join(&name);
                fs::write(&draft, &bytes).unwrap();
                fs::rename(&draft, place.spool.join(JOE).join("new").join(&name)).unwrap();
                if done.load(Ordering::Relaxed) {
                    break;
                }
                thread::yield_now();
            }
        });
        let _ends = Ends(&done);
        action()
    })
}

/// All of the spool's messages that were there, none of them by half, and nothing out of a `tmp`.
#[track_caller]
fn is_whole(restored: &Path, before: &[String]) {
    let saved = messages(restored);
    for message in before {
        assert!(saved.contains(message), "{message} is not in {saved:#?}");
    }
    for below in files(restored).keys() {
        assert!(below.contains(",H=") && !below.contains("/tmp/1"), "{below}");
    }
}

#[test]
fn restic() {
    let mut place = Place::new("%d/%n");
    fs::create_dir(place.dir.join("etc")).unwrap();
    fs::write(place.dir.join("password"), "s3cret").unwrap();
    for (name, value) in [("RESTIC_REPOSITORY", "repository"), ("RESTIC_PASSWORD_FILE", "password")] {
        place.env.push((name.to_owned(), place.dir.join(value).to_str().unwrap().to_owned()));
    }
    filled(&place);
    let before = messages(&place.spool);
    let section = PAGE.split("\n## restic\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let commands: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(commands.len(), 6);
    for command in commands {
        if command.starts_with("restic backup") {
            while_mail_arrives(&place, || typed(&place, command, &place.dir).ok());
        } else {
            typed(&place, command, &place.dir).ok();
        }
    }
    let restored = place.dir.join("restored").join(place.spool.strip_prefix("/").unwrap());
    is_whole(&restored, &before);
    // The proof proves something.
    let file = files(&restored).into_values().next().unwrap();
    fs::write(file, "other").unwrap();
    assert_eq!(
        typed(&place, line("mailstore-verify --no-permissions --spool /srv/restored"), &place.dir).code,
        Some(1)
    );
}

#[test]
fn borg() {
    let mut place = Place::new("%d/%n");
    fs::create_dir(place.dir.join("etc")).unwrap();
    for (name, value) in [("BORG_REPO", "repository"), ("BORG_BASE_DIR", "borg"), ("BORG_PASSPHRASE", "s3cret")] {
        place.env.push((name.to_owned(), place.dir.join(value).to_str().unwrap().to_owned()));
    }
    filled(&place);
    let before = messages(&place.spool);
    let section = PAGE.split("\n## borg\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let commands: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(commands.len(), 6);
    let into = place.lab.folder("extracted");
    for command in commands {
        if command.starts_with("borg create") {
            while_mail_arrives(&place, || typed(&place, command, &into).ok());
        } else {
            typed(&place, command, &into).ok();
        }
    }
    is_whole(&into.join(place.spool.strip_prefix("/").unwrap()), &before);
}

#[test]
fn a_snapshot_is_made_proven_searched_fetched_and_put_back() {
    let place = Place::unprepared("%d/%n", false);
    let all = filled(&place);
    for start in ["mailstore-backup /var", "mailstore-backup --keep-last", "mailstore-backup --verify"] {
        while_mail_arrives(&place, || typed(&place, line(start), &place.dir).ok());
    }
    typed(&place, line("mailstore-verify --no-permissions --spool /var/backups"), &place.dir).ok();
    // README.md has a proof that needs no program of ours.
    let readme = include_str!("../../README.md");
    let proof = readme[readme.find("find mailSpool").expect("the command")..].split("\n\n").next().unwrap();
    let latest = place.dest.join("latest/");
    let proven = typed(&place, proof, &latest).ok();
    assert_eq!(proven.text() + &proven.errors(), "");
    let subject = corpus::numbered(0);
    let subject = String::from_utf8_lossy(&subject);
    let subject = subject.lines().find(|line| line.starts_with("Subject: ")).unwrap();
    let command = line("grep -rlZ").replace("Subject: The contract", subject);
    let found = typed(&place, &command, &place.dir).ok().text();
    let name = all[0].file_name().unwrap().to_str().unwrap();
    assert!(found.lines().all(|line| line.ends_with(name)) && found.lines().count() >= 1, "{found}");

    // Another machine, twice.
    for _ in 0..2 {
        typed(&place, line("rsync -aH"), &place.dir).ok();
    }
    let fetched = place.dir.join("fetched");
    for snapshot in place.snapshots() {
        let same = fetched.join(snapshot.file_name().unwrap());
        assert_eq!(contents(&same), contents(&snapshot));
    }

    // What is missing of one owner, and nothing twice.
    if place.tool("import").exists() {
        let before = messages(&place.spool);
        fs::remove_file(&all[0]).unwrap();
        assert_ne!(messages(&place.spool), before);
        for _ in 0..2 {
            typed(&place, line("mailstore-import joe@example.com"), &place.dir).ok();
            assert_eq!(messages(&place.spool), before);
        }
    }

    // One owner, then everything.
    let latest = fs::canonicalize(place.dest.join("latest/mailSpool")).unwrap();
    fs::remove_dir_all(&place.spool).unwrap();
    fs::create_dir_all(place.spool.join(JOE)).unwrap();
    typed(&place, line("cp -a /var/backups/mailstore/latest/mailSpool/example.com/joe/."), &place.dir).ok();
    assert_eq!(contents(&place.spool.join(JOE)), contents(&latest.join(JOE)));
    fs::remove_dir_all(&place.spool).unwrap();
    let command = line("cp -a /var/backups/mailstore/latest/mailSpool /var/lib/mailstore/");
    let command = command.replace(" /var/lib/mailstore/", &format!(" {}/", place.dir.display()));
    typed(&place, &command, &place.dir).ok();
    assert_eq!(contents(&place.spool), contents(&latest));
    assert!(entries(&place.spool.join(JOE).join("tmp")).is_empty());
    typed(&place, "mailstore-verify --no-permissions", &place.dir).ok();
}

/// The statuses, the defaults, and the name of each option that the page tells of are the program's.
#[test]
fn the_page_and_the_help_say_the_same() {
    let place = Place::new("%d/%n");
    let help = place.backup(&["--help"]).ok().text();
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let statuses: Vec<&str> =
        rows.map(|(status, _)| status).filter(|s| s.bytes().all(|b| b.is_ascii_digit())).collect();
    assert_eq!(statuses, ["0", "1", "2", "3", "4", "5", "130"]);
    for status in statuses {
        assert!(help.contains(&format!("\n  {status:<3}  ")), "{status}");
    }
    assert!(PAGE.contains("the last 14 days, 8 weeks (Monday to Sunday) and 12 months"));
    for (option, default) in [("daily", 14), ("weekly", 8), ("monthly", 12), ("yearly", 0), ("last", 1)] {
        let line = help.lines().find(|line| line.trim_start().starts_with(&format!("--keep-{option} N"))).unwrap();
        assert!(line.ends_with(&format!("(default: {default})")), "{line}");
    }
    for word in PAGE.split(['`', ' ']).filter(|word| word.starts_with("--keep-")) {
        // restic's and borg's are called the same.
        assert!(help.contains(word), "{word}");
    }
}
