//! `scripts/report`: the figures are the right ones, as text and, in a real browser, as a page; whatever owners, peers and logs hold.

mod support;

#[path = "report/browser.rs"]
mod browser;

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use support::client::{curl, run_with_input};
use support::filed::{Filed, make, script, write};
use support::lab::{is_root, program};
use support::proxy::section;
use support::*;

/// 2026-11-27 00:30 in Berlin, where it is still the 26th in UTC.
const NOW: u64 = 1_795_735_800;
const DAY: u64 = 86_400;

/// Runs it at this moment, in Berlin.
fn report_in(path: &str, home: &Path, args: &[&str], input: &[u8]) -> Output {
    let (now, path, script) = (format!("SOURCE_DATE_EPOCH={NOW}"), format!("PATH={path}"), script("report"));
    let all = [&[&now, &path, "TZ=Europe/Berlin", &script], args].concat();
    run_with_input("env", &all, input, home)
}

fn report(lab: &Lab, args: &[&str]) -> Output {
    report_in("/usr/bin:/bin", lab.path(), args, b"")
}

/// A message of so many octets in the archive.
fn kept(spool: &mut Filed, owner: &str, folder: &str, before: u64, octets: usize) {
    let place = if folder == ".Sent" { Place::Cur } else { Place::New };
    spool.put(owner, folder, place, NOW - before, &vec![b'x'; octets]);
}

/// Three owners who write, one who does not, and one whose name wants to be more.
fn small(lab: &Lab) -> Filed {
    let mut spool = Filed::new(lab);
    for (owner, folder, before, octets) in [
        ("example.com/joe", "", 60, 1_000),
        // Yesterday in Berlin, today in UTC.
        ("example.com/joe", ".Work", 2 * 3600, 2_000),
        ("example.com/joe", ".Sent", 3 * 3600, 500),
        ("example.com/ann", "", 20 * DAY, 1_500_000),
        ("example.com/ann", ".Sent", 40 * DAY, 10),
        ("example.com/o'neil smith", "", 5 * DAY, 100),
        ("example.com/<img src=http:%2F%2Fevil.test%2Fowner onerror=document.title=1>", "", 5 * DAY, 300),
        ("example.com/a-name-that-is-much-longer-than-any-column-of-the-table", ".Sent", 30, 7),
    ] {
        kept(&mut spool, owner, folder, before, octets);
    }
    spool.folder("example.com/jürgen", "");
    // Written by Dovecot: its size is in its name too, or nowhere.
    write(&spool.folder("example.com/joe", "").join("cur/1795730000.M1P1.host,S=40,W=41:2,S"), &[b'x'; 40], NOW);
    write(&spool.folder("example.com/joe", "").join("cur/1795730001.M1P1.host:2,"), &[b'x'; 60], NOW);
    write(&spool.folder("example.com/joe", "").join("cur/no message"), b"x", NOW);
    spool
}

/// Lines as start_proxies writes them, and what is like them.
fn log() -> String {
    let lines = [
        "ERROR 7f3a pop3:main not kept owner=joe@example.com folder=INBOX number=3 uidl=abc reason=it is larger than max_message_size (10 octets)",
        "ERROR 7f3b pop3:main not kept owner=joe@example.com folder=INBOX number=4 uidl=<b> reason=it is larger than max_message_size (10 octets)",
        "ERROR 17f3b smtp not kept owner=joe@example.com folder=Sent reason=cannot create the file /var/a\\x20b/tmp/1.M1P1Q1.h,mailstore: No space left on device (os error 28)",
        "ERROR 17f3c smtp not kept owner=joe@example.com folder=Sent reason=cannot create the file /var/a\\x20b/tmp/2.M1P1Q2.h,mailstore: No space left on device (os error 28)",
        "WARN 7f3c imap not kept owner=o'neil\\x20smith@example.com reason=the server refuses it: NO\\x20[OVERQUOTA] (folder=W(1) uid=7); it is tried again when it is read or deleted in another session",
        "WARN 7f3c imap not kept owner=o'neil\\x20smith@example.com reason=12 more messages could not be fetched whole, for such reasons as were told of before; they are tried again when they are read or deleted in another session",
        "WARN 7f3d pop3:main not kept owner=j\\xc3\\xbcrgen@example.com reason=message 3 (unique-id x) of j\\xc3\\xbcrgen@example.com was to be deleted unread and is not: the server does not let it be got: -ERR",
        "WARN 7f3d pop3:main not kept owner=j\\xc3\\xbcrgen@example.com reason=the session ended before 3 more messages of j\\xc3\\xbcrgen@example.com were got, which were read in part by TOP",
        "WARN 7f3e smtp not kept owner=- reason=the server accepted a message of which it had accepted neither login nor recipient",
        "WARN 7f3f imap not kept owner=<img\\x20src=http://evil.test/log>@example.com reason=<script>document.title=2</script>",
        "ERROR 7f40 smtp not in its folder yet owner=ann@example.com folder=Sent reason=cannot rename the file /a/b: x; it is tried again every few seconds, and at the next start",
        "INFO 7f41 imap login failed client=192.0.2.1:9 reason=the server says NO",
        "WARN pop3:main refused client=192.0.2.1:9 reason=max_sessions",
        "WARN 7f42 imap server mail.example.com:993 cannot be reached: refused",
        "INFO 7f42 imap closed client=192.0.2.1:9 user=- time=0s received=0 sent=0 kept=0 duplicates=0 not_kept=0 fetched=0 reason=the server cannot be reached",
        // A later line of counters counts, not an earlier one.
        "INFO counters open=1 sessions=1 refused=0 kept=0 duplicates=0 not_kept=0 fetched=0 received=0 sent=0",
        "INFO counters open=2 sessions=1234 refused=1 kept=5 duplicates=0 not_kept=21 fetched=7 received=0 sent=10",
        "INFO counters pop3:main sessions=1234 refused=1 kept=5 duplicates=0 not_kept=21 fetched=7 received=0 sent=10",
        // Said by others, or about others.
        "INFO 7f43 imap login failed client=192.0.2.1:9 reason=2026-11-26T10:00:00Z ERROR 7f3a imap not kept owner\\x3deve@example.com reason\\x3dx",
        "DEBUG 7f43 imap opened client=192.0.2.1:9 x y[1]: 2026-11-26T10:00:00Z ERROR 7f3a imap not kept owner=eve@example.com reason=x",
        "DEBUG 7f43 imap opened client=192.0.2.1:9 2026-11-26T10:00:00Z ERROR 7f3a imap not kept owner=eve@example.com reason=x",
    ];
    let old = "2026-10-01T10:00:00Z ERROR 7f3a imap not kept owner=joe@example.com folder=INBOX reason=long ago\n";
    let other =
        "2026-11-26T10:00:00Z\nNov 26 10:00:00 host kernel: not kept owner=eve@example.com reason=x\n\u{fffd}\n";
    lines.iter().fold(format!("{old}{other}"), |text, line| format!("{text}2026-11-26T10:00:00Z {line}\n"))
}

const TEXT: &str = "\
owner                                   in      out      size     last not kept
-------------------------------------------------------------------------------
<img src=http://evil.test/owner onerror=document.title=1>@example.com
                                         1        0 300 bytes      5 d
a-name-that-is-much-longer-than-any-column-of-the-table@example.com
                                         0        1   7 bytes      now
ann@example.com                          1        1    1.5 MB     20 d
joe@example.com                          4        1    3.6 KB    1 min        4
jürgen@example.com                       0        0   0 bytes    never        4
o'neil smith@example.com                 1        0 100 bytes      5 d       13
<img\\x20src=http://evil.test/log>@example.com
                                         -        -         -        -        1
nobody known                             -        -         -        -        1
-------------------------------------------------------------------------------
6 owners                                 7        3    1.5 MB      now       23
the last 30 days: 7 in, 2 out

not kept, by the log of the last 30 days: 23 messages
  o'neil smith@example.com: 12 times, last 2026-11-26 11:00
    more messages, for such reasons as were told of before
  jürgen@example.com: 3 times, last 2026-11-26 11:00
    more messages, for such reasons as were told of before
  joe@example.com, Sent: 2 times, last 2026-11-26 11:00
    cannot create the file ...: No space left on device (os error 28)
  joe@example.com, INBOX: 2 times, last 2026-11-26 11:00
    it is larger than max_message_size (10 octets)
  nobody known: 1 time, last 2026-11-26 11:00
    the server accepted a message of which it had accepted neither login nor
    recipient
  <img\\x20src=http://evil.test/log>@example.com: 1 time, last 2026-11-26 11:00
    <script>document.title=2</script>
  jürgen@example.com: 1 time, last 2026-11-26 11:00
    a message was to be deleted unread and is not: the server does not let it
    be got: -ERR
  o'neil smith@example.com, W(1): 1 time, last 2026-11-26 11:00
    the server refuses it: NO [OVERQUOTA]
  ann@example.com, Sent: 1 time, last 2026-11-26 11:00
    not in its folder yet: cannot rename the file ...: x; it is tried again
    every few seconds, and at the next start

the log, 2026-11-26 11:00 to 2026-11-26 11:00:
  sessions: 1, logins failed: 2, clients or commands refused: 1, servers out of
  reach: 1
counters since the start, at 2026-11-26 11:00:
  all: sessions 1,234, refused 1, kept 5, duplicates 0, not_kept 21, fetched 7,
    received 0, sent 10
  pop3:main: sessions 1,234, refused 1, kept 5, duplicates 0, not_kept 21,
    fetched 7, received 0, sent 10

silent for 14 days or more: 2 owners
  jürgen@example.com: nothing is kept
  ann@example.com: last 2026-11-07 (20 d)
";

#[test]
fn the_text_tells_what_is_kept_and_what_is_not() {
    let lab = Lab::new();
    let spool = small(&lab);
    let (root, file) = (spool.path().to_str().unwrap(), lab.path().join("log"));
    fs::write(&file, log()).unwrap();
    let head = format!("MailStore, 2026-11-27 00:30: what is kept in {root}\n\n");
    let text = report(&lab, &["--spool", root, "--log", file.to_str().unwrap()]).ok().text();
    assert_same((head.clone() + TEXT).as_bytes(), text.as_bytes(), "the text");
    assert!(text.lines().all(|line| line.starts_with("MailStore, ") || line.chars().count() < 80), "{text}");

    // The same log as others show it.
    let line = |before: &str| log().lines().map(|line| format!("{before}{line}\r\n")).collect::<String>();
    for before in
        ["2026-11-26T11:00:00+0100 host start_proxies[77]: ", "Nov  6 11:00:00 host.example start_proxies[77]: "]
    {
        let text =
            report_in("/usr/bin:/bin", lab.path(), &["--spool", root, "--log", "-"], line(before).as_bytes()).ok();
        assert_same((head.clone() + TEXT).as_bytes(), text.text().as_bytes(), before);
    }
    // Rotated: the second part packed.
    let (first, second) = log().split_at(log().find("2026-11-26T10:00:00Z ERROR 17f3c").unwrap()).map_owned();
    fs::write(&file, second).unwrap();
    run("gzip", &[file.to_str().unwrap()]).ok();
    fs::write(&file, first).unwrap();
    let packed = lab.path().join("log.gz");
    let args = ["--spool", root, "--log", packed.to_str().unwrap(), "--log", file.to_str().unwrap()];
    assert_same((head + TEXT).as_bytes(), report(&lab, &args).ok().text().as_bytes(), "in two parts");

    // Without a log nothing is said of it; other days, another silence.
    let text = report(&lab, &["--spool", root, "--days", "1", "--silent", "4"]).ok().text();
    assert!(!text.contains("not kept") && text.contains("\ntoday: 1 in, 1 out\n"), "{text}");
    assert!(text.contains("silent for 4 days or more: 4 owners\n"), "{text}");
    let text = report(&lab, &["--spool", root, "--days", "60"]).ok().text();
    assert!(text.contains("the last 60 days: 7 in, 3 out\n"), "{text}");
    // The template and the sent folder are those of the configuration.
    let ini = lab.path().join("mailstore.ini");
    for (folder, figures) in [("Work", "4 1"), ("Gesendet", "5 0"), ("", "5 0")] {
        fs::write(&ini, format!("[mailstore]\nspool = {root}\nsent_folder = {folder}\n")).unwrap();
        let text = report_in("/usr/bin:/bin", lab.path(), &[], b"").ok().text();
        let joe = text.lines().find(|line| line.starts_with("joe@")).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(joe.join(" "), format!("joe@example.com {figures} 3.6 KB 1 min"));
        assert_eq!(text.contains("out is not told from in"), folder.is_empty());
    }
}

trait MapOwned {
    fn map_owned(self) -> (String, String);
}

impl MapOwned for (&str, &str) {
    fn map_owned(self) -> (String, String) {
        (self.0.to_owned(), self.1.to_owned())
    }
}

/// What `scripts/lib/mailstore/logs.py` looks for stands in the program as it is looked for.
#[test]
fn the_program_says_it_so() {
    let sources = [
        (
            include_str!("../src/server/keeper.rs"),
            "\"{} not kept owner={owner} folder={folder}{blank}{about} reason={reason}\"",
        ),
        (include_str!("../src/server/keeper.rs"), "\"{} {event} owner={owner} folder={folder} reason={e}; {then}\""),
        (include_str!("../src/server/keeper.rs"), "(\"not in its folder yet\","),
        (include_str!("../src/server/keeper.rs"), "(\"in its folder, but not flushed\","),
        (include_str!("../src/server/keeper/host.rs"), "\"{} not kept owner={owner} reason={why}\""),
        (include_str!("../src/server/keeper/host.rs"), "\"{} not kept owner=- reason={why}\""),
        (include_str!("../src/server/keeper/host.rs"), "\"{} login failed client={} reason={why}\""),
        (
            include_str!("../src/protocol/imap/own/outcome.rs"),
            "\"{why} (folder={folder} {which}); it is tried again when it is read or deleted in another session\"",
        ),
        (
            include_str!("../src/protocol/imap/own/outcome.rs"),
            "\"{more} more messages could not be fetched whole, for such reasons",
        ),
        (
            include_str!("../src/protocol/pop3/own.rs"),
            "\"the session ended before {more} more messages of {owner} were got, which",
        ),
        (include_str!("../src/protocol/pop3/own.rs"), "\"message {number} (unique-id {}) of {owner}\""),
        (include_str!("../src/server/session.rs"), "\"{label} closed client={} user={user} "),
        (include_str!("../src/server/session.rs"), "End::Fault(\"the server cannot be reached\".to_owned())"),
        (include_str!("../src/archive/error.rs"), "\"cannot {} {}: {}\""),
    ];
    for (source, text) in sources {
        assert!(source.contains(text), "{text}");
    }
}

#[test]
fn a_real_log_is_understood() {
    let lab = Lab::new();
    let provider = Dovecot::start(&lab);
    let mailbox = provider.mailbox("joe o'neil@example.com");
    mailbox.put("INBOX", Place::New, b"Subject: short\r\n\r\n");
    mailbox.put("INBOX", Place::New, &[b"Subject: long\r\n\r\n".as_slice(), &[b'x'; 3000]].concat());
    let pop3 = section(&lab, "a", Tls::None, provider.endpoint(Kind::Pop3, Tls::None), "");
    let proxy = Proxy::with(&lab, "max_message_size = 1000\non_archive_failure = pass", &pop3);
    let at = proxy.endpoint(Kind::Pop3, "a", Tls::None);
    curl(&lab, at, "Joe O'Neil@example.com", "/1", &[]).ok();
    curl(&lab, at, "Joe O'Neil@example.com", "/2", &[]).ok();
    proxy.signal(Signal::SIGUSR1);
    proxy.tells_of("counters pop3:a sessions=2");
    let ini = lab.path().join("proxy1/mailstore.ini");
    let ini = if ini.exists() { ini } else { proxy.spool().path().with_file_name("mailstore.ini") };
    let log = lab.path().join("log");
    fs::write(&log, proxy.stop()).unwrap();
    let args = ["-c", ini.to_str().unwrap(), "--log", log.to_str().unwrap()];
    // Now is now here.
    let text = run(&script("report"), &args).ok().text();
    // Kept a moment ago, or a minute where the machine is busy.
    for who in ["joe o'neil@example.com", "1 owner"] {
        let row = text.lines().find(|line| line.starts_with(who) && !line.contains(':')).expect("a row");
        let row: Vec<&str> = row.strip_prefix(who).unwrap().split_whitespace().collect();
        assert_eq!((&row[..4], row[row.len() - 1]), (&["1", "0", "18", "bytes"][..], "1"), "{text}");
    }
    for expected in [
        "\n  joe o'neil@example.com, INBOX: 1 time, last 20",
        "\n    it is larger than max_message_size (1000 octets)\n",
        "\n  sessions: 2, logins failed: 0,",
        "\n  pop3:a: sessions 2, refused 0, kept 1, duplicates 0, not_kept 1,",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
}

#[test]
fn the_journal_is_asked_for_the_unit_and_the_days() {
    let lab = Lab::new();
    let spool = small(&lab);
    let root = spool.path().to_str().unwrap();
    // There is no journal where the tests run.
    let bin = lab.folder("bin");
    let command = bin.join("journalctl");
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let journal = |text: &str| {
        fs::write(&command, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&command, Permissions::from_mode(0o755)).unwrap();
    };
    fs::write(lab.path().join("log"), log()).unwrap();
    journal("printf '%s|' \"$@\" >args; cat log");
    let said = |args: &[&str]| report_in(&path, lab.path(), &[&["--spool", root][..], args].concat(), b"");
    assert!(said(&["--journal"]).ok().text().ends_with(TEXT));
    let args = || fs::read_to_string(lab.path().join("args")).unwrap();
    assert_eq!(args(), "-q|--no-pager|-o|cat|-u|mailstore|--since|2026-10-29 00:00:00|");
    said(&["--days", "2", "--journal", "mail@store"]).ok();
    assert_eq!(args(), "-q|--no-pager|-o|cat|-u|mail@store|--since|2026-11-26 00:00:00|");
    journal("echo 'No such unit' >&2; exit 3");
    let output = said(&["--journal"]);
    assert_eq!((output.code, output.text()), (Some(1), String::new()));
    assert!(output.errors().ends_with("journalctl ended with status 3: No such unit\n"), "{}", output.errors());
    // Without one.
    let empty = lab.folder("empty");
    std::os::unix::fs::symlink("/usr/bin/python3", empty.join("python3")).unwrap();
    let output = report_in(empty.to_str().unwrap(), lab.path(), &["--spool", root, "--journal"], b"");
    assert_eq!(output.code, Some(1));
    assert!(output.errors().contains("there is no journalctl here; name the log's file with --log FILE"));
}

#[test]
fn what_cannot_be_done_is_said() {
    let lab = Lab::new();
    let spool = small(&lab);
    let root = spool.path().to_str().unwrap();
    for (args, said) in [
        (&["--spool", "/nowhere/at/all"][..], "there is no such folder"),
        (&["--spool", root, "--log", "/nowhere/log"], "/nowhere/log: No such file or directory"),
        (&["--spool", root, "--html", "/nowhere/at/all/page"], "/nowhere/at/all: No such file or directory"),
        (&["-c", "/nowhere/mailstore.ini"], "cannot be read"),
    ] {
        let output = report(&lab, args);
        assert_eq!((output.code, output.text()), (Some(1), String::new()), "{args:?}");
        assert!(output.errors().contains(said), "{args:?}: {}", output.errors());
    }
    // What is packed, and damaged.
    let packed = lab.path().join("log.gz");
    fs::write(&packed, [&b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..], &[0xff; 99]].concat()).unwrap();
    let output = report(&lab, &["--spool", root, "--log", packed.to_str().unwrap()]);
    assert!(output.code == Some(1) && output.errors().starts_with("scripts/report: "), "{}", output.errors());
    let output = run("env", &["SOURCE_DATE_EPOCH=soon", &script("report"), "--spool", root]);
    assert!(output.code == Some(1) && output.errors().contains("is no number of seconds"), "{}", output.errors());
    for args in [&["--frobnicate"][..], &["--days", "0"], &["--days", "x"], &["--silent", "-1"], &["joe@example.com"]] {
        let output = report(&lab, args);
        assert_eq!((output.code, output.text()), (Some(2), String::new()), "{args:?}");
        assert!(output.errors().contains("--help"), "{args:?}: {}", output.errors());
    }
    // What may not be read is told, and the rest is reported.
    let closed = spool.path().join("example.com/ann/new");
    fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
    let mut args = vec![script("report"), "--spool".to_owned(), root.to_owned()];
    if is_root() {
        run("chown", &["-R", "65534:65534", root]).ok();
        let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
        args.splice(0..0, user.map(str::to_owned));
    }
    let output = run(&args[0], &args[1..]);
    assert_eq!(output.code, Some(1));
    assert!(output.errors().contains("example.com/ann/new: Permission denied"), "{}", output.errors());
    assert!(
        output.text().contains("\nann@example.com                          0        1  10 bytes "),
        "{}",
        output.text()
    );
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_page_is_replaced_as_a_whole_and_stays_whose_it_is() {
    let lab = Lab::new();
    let spool = small(&lab);
    let (root, dir) = (spool.path().to_str().unwrap(), lab.folder("www"));
    let file = dir.join("a page.html");
    let page = file.to_str().unwrap();
    let output = report(&lab, &["--spool", root, "--html", page]).ok();
    assert_eq!((output.text(), output.errors()), (String::new(), String::new()));
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    // Somebody has opened it to the web server.
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    if is_root() {
        chown(&file, Some(65534), Some(65534)).unwrap();
    }
    let before = fs::metadata(&file).unwrap();
    let reader = fs::File::open(&file).unwrap();
    report(&lab, &["--spool", root, "--html", page]).ok();
    let after = fs::metadata(&file).unwrap();
    assert_eq!((before.mode(), before.uid(), before.gid()), (after.mode(), after.uid(), after.gid()));
    assert_ne!(before.ino(), after.ino());
    let mut old = String::new();
    (&reader).read_to_string(&mut old).unwrap();
    assert_eq!(old, "old");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("<!doctype html>") && text.ends_with("</html>\n"));
    assert_eq!(report(&lab, &["--spool", root, "--html", "-"]).ok().text(), text);
    // Nothing else is left there, nor where it could not be written.
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    let output =
        run("sh", &["-c", "ulimit -f 4; exec \"$@\"", "sh", &script("report"), "--spool", root, "--html", page]);
    assert_ne!(output.code, Some(0));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "{}", output.errors());
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn what_reads_no_further_ends_it_quietly() {
    let lab = Lab::new();
    let spool = small(&lab);
    let command = format!("{} --spool {} | head -n 1", script("report"), spool.path().display());
    let output = run("sh", &["-c", &command]).ok();
    assert_eq!((output.text().lines().count(), output.errors()), (1, String::new()));
    let mut child = Command::new(program("env"));
    let child = child.args([&script("report"), "--spool", spool.path().to_str().unwrap()]).env("LC_ALL", "C");
    let output = child.env("PYTHONIOENCODING", "ascii").stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("j\\xfcrgen@example.com"));
}

/// Whatever docs/report.md shows is understood.
#[test]
fn the_page_of_the_docs_is_true() {
    let lab = Lab::new();
    let spool = small(&lab);
    let root = spool.path().to_str().unwrap();
    let text = include_str!("../docs/report.md");
    let bin = lab.folder("bin");
    fs::write(bin.join("journalctl"), "#!/bin/sh\ncat log\n").unwrap();
    fs::set_permissions(bin.join("journalctl"), Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    fs::write(lab.path().join("log"), log()).unwrap();
    fs::write(lab.path().join("mailstore.ini"), format!("[mailstore]\nspool = {root}\n")).unwrap();
    let quoted = text.split('`').filter(|part| part.starts_with("mailstore-report "));
    let shown = text
        .lines()
        .filter(|line| line.starts_with("    "))
        .filter_map(|line| line.find("mailstore-report ").map(|at| &line[at..]));
    let lines: Vec<&str> = quoted.chain(shown).collect();
    assert_eq!(lines.len(), 8, "{lines:?}");
    for line in lines {
        let line = line
            .replace("/var/log/mailstore.log.1.gz", "log")
            .replace("/var/log/mailstore.log", "log")
            .replace("/var/backups/mailstore/2025-01-31T023000/mailSpool", root)
            .replace("/etc/mailstore/mailstore.ini", "mailstore.ini")
            .replace("/srv/www/mailstore.html", "page.html");
        let args: Vec<&str> = line.split(' ').skip(1).collect();
        let output = report_in(&path, lab.path(), &args, b"").ok();
        assert_eq!(output.text().contains("\nann@example.com  "), !line.contains("--html"), "{line}");
    }
    assert!(lab.path().join("page.html").exists());
    // The table is as the script prints it.
    let head = "owner                                   in      out      size     last not kept";
    assert!(text.contains(head) && TEXT.starts_with(head));
}
