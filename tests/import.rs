//! `scripts/import`: what lies elsewhere comes into the spool as MailStore would have kept it, once, beside a running MailStore and Dovecot.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::UNIX_EPOCH;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::client::{curl, run_with_input};
use support::dovecot::{entries, mail_names};
use support::lab::is_root;
use support::maildirs::*;
use support::proxy::section;
use support::spool::hash;
use support::*;

const JOE: &str = "joe@example.com";
const MAILDIR: &str = "example.com/joe";

/// As it was sent; a program that stores it with LF does so by `lf`.
fn mail(number: usize) -> Vec<u8> {
    format!(
        "Received: from a by b; Tue, 14 Nov 2023 22:13:20 +0000\r\nFrom: Ann <ann@example.org>\r\nSubject: Old {number}\r\n\
         Message-ID: <{number}@example.org>\r\nDate: Tue, 14 Nov 2023 22:00:00 +0000\r\n\r\nThis is {number}.\r\n"
    )
    .into_bytes()
}

fn lf(bytes: &[u8]) -> Vec<u8> {
    replaced(bytes, "\r\n", "\n")
}

struct Setup {
    lab: Lab,
    archive: Archive,
}

impl Setup {
    fn new() -> Setup {
        let lab = Lab::new();
        let archive = Archive::new(&lab);
        Setup { lab, archive }
    }

    fn import(&self, source: &Path, more: &[&str]) -> Output {
        let ini = self.archive.ini();
        run_script(&self.lab, "import", &[&[JOE, source.to_str().unwrap(), "-c", &ini], more].concat())
    }

    /// Fails unless it ends with this summary.
    #[track_caller]
    fn imported(&self, source: &Path, more: &[&str], summary: &str) -> Output {
        let output = self.import(source, more);
        let text = output.text();
        let last = text.lines().last().unwrap_or_default();
        let (count, rest) = last.split_once(" (").unwrap_or((last, "), "));
        let said = format!("{count}, {}", rest.split_once("), ").map_or("", |(_, rest)| rest));
        assert_eq!(said, summary, "{text}{}", output.errors());
        assert_eq!(output.code, Some(i32::from(!summary.contains(", 0 failed"))), "{}", output.errors());
        output
    }

    fn maildir(&self) -> PathBuf {
        self.archive.spool().join(MAILDIR)
    }

    /// All that lies in the owner's Maildir, as it should: `folder|new or cur|flags|date|hash`, sorted.
    fn kept(&self) -> Vec<String> {
        let mut found = Vec::new();
        let maildir = self.maildir();
        let folders = entries(&maildir).into_iter().filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            path.is_dir() && name.starts_with('.')
        });
        for folder in [maildir.clone()].into_iter().chain(folders) {
            let name = folder.strip_prefix(&maildir).unwrap().to_str().unwrap().to_owned();
            assert_eq!(mode(&folder), 0o700, "{}", folder.display());
            assert!(entries(&folder.join("tmp")).is_empty(), "something is left in {}/tmp", folder.display());
            for sub in ["new", "cur"] {
                assert_eq!(mode(&folder.join(sub)), 0o700);
                for file in entries(&folder.join(sub)) {
                    assert_eq!(mode(&file), 0o600, "{}", file.display());
                    let bytes = fs::read(&file).unwrap();
                    let date = fs::metadata(&file).unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap();
                    let file = file.file_name().unwrap().to_str().unwrap();
                    let (base, flags) = file.split_once(":2,").unwrap_or((file, "-"));
                    assert!(base.ends_with(&format!(",S={},H={}", bytes.len(), hash(&bytes))), "{file}");
                    assert!(base.split(['.', 'M', 'P', 'Q']).count() >= 5, "{file}");
                    assert_eq!(flags == "-", sub == "new", "{file}");
                    found.push(format!("{name}|{sub}|{flags}|{}|{}", date.as_secs(), hash(&bytes)));
                }
            }
        }
        found.sort();
        found
    }

    #[track_caller]
    fn holds(&self, mut expected: Vec<String>) {
        expected.sort();
        assert_eq!(self.kept(), expected);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn line(folder: &str, flags: &str, date: u64, bytes: &[u8]) -> String {
    format!("{folder}|{}|{flags}|{date}|{}", if flags == "-" { "new" } else { "cur" }, hash(bytes))
}

/// When the messages were sent, and received.
const SENT: u64 = 1_699_999_200;
const RECEIVED: u64 = 1_700_000_000;

#[test]
fn maildirs_of_all_kinds_come_in_with_folders_flags_and_dates() {
    // Maildir++, as Dovecot and Courier write it; with folders in folders, as Dovecot does by LAYOUT=fs; the same without an inbox at the top.
    for (kind, inbox, reports, drafts, cur) in [
        ("plus", "", ".Work.Reports", ".Entw&APw-rfe", ".cur"),
        ("fs", "", "Work/Reports", "Entw&APw-rfe", "Cur"),
        ("bare", "INBOX", "Work/Reports", "Entw\u{fc}rfe", "Cur"),
    ] {
        let setup = Setup::new();
        let source = setup.lab.folder(kind);
        put(&source.join(inbox), "new", "1600000000.1.host", DATE, &lf(&mail(1)));
        put(&source.join(inbox), "cur", "1600000000.2.host,S=9:2,SRF", DATE + 1, &lf(&mail(2)));
        put(&source.join(inbox), "cur", "1600000000.3.host:2,", DATE + 2, &mail(3));
        // Letters that only Dovecot's own file explains.
        put(&source.join(reports), "cur", "1600000000.4.host:2,STab", DATE + 3, &lf(&mail(4)));
        put(&source.join(drafts), "cur", "1600000000.5.host:2,DS", DATE + 4, &lf(&mail(5)));
        put(&source.join(cur), "new", "6", DATE + 5, &lf(&mail(6)));
        // The same once more, and what is no mail.
        put(&source.join(reports), "new", "1600000000.7.host", DATE + 9, &mail(1));
        fs::write(source.join("dovecot-uidlist"), "3 V1\n").unwrap();
        fs::write(source.join("subscriptions"), "Work\n").unwrap();
        fs::write(source.join(inbox).join("tmp/half"), "Subject: half").unwrap();
        let before = snapshot(&source);
        setup.imported(
            &source,
            &["--dry-run"],
            &format!("6 messages would be imported, 1 there already, 0 failed{}", left_out(kind)),
        );
        assert!(!setup.maildir().exists());
        setup.imported(&source, &[], &format!("6 messages imported, 1 there already, 0 failed{}", left_out(kind)));
        let kept = vec![
            line("", "-", DATE, &mail(1)),
            line("", "FRS", DATE + 1, &mail(2)),
            line("", "", DATE + 2, &mail(3)),
            line(".Work.Reports", "ST", DATE + 3, &mail(4)),
            line(".Entw&APw-rfe", "DS", DATE + 4, &mail(5)),
            line(if kind == "plus" { ".cur" } else { ".Cur" }, "-", DATE + 5, &mail(6)),
        ];
        setup.holds(kept.clone());
        setup.imported(&source, &[], &format!("0 messages imported, 7 there already, 0 failed{}", left_out(kind)));
        setup.holds(kept);
        assert_eq!(snapshot(&source), before, "the source");
        // Into a folder, of another owner's.
        let ini = setup.archive.ini();
        run_script(&setup.lab, "import", &["ann", source.to_str().unwrap(), "-c", &ini, "--folder", "Old/2020"]).ok();
        let ann = setup.archive.spool().join("localhost/ann");
        let mut names: Vec<String> = entries(&ann)
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .filter(|name| name.starts_with('.'))
            .collect();
        names.sort();
        assert_eq!(names[0], ".Old.2020");
        assert!(names.contains(&".Old.2020.Work.Reports".to_owned()) && names.len() == 4, "{names:?}");
    }
}

/// What lies beside folders that are not in a Maildir is looked at.
fn left_out(kind: &str) -> &'static str {
    if kind == "bare" { ", 2 files without mail" } else { "" }
}

#[test]
fn an_mbox_comes_in_without_what_mail_programs_added() {
    let setup = Setup::new();
    let quoted = replaced(&lf(&mail(2)), "This is", ">From here\n>>From there\nFrom ann\n\nFrom me to you, this is");
    let mbox = [
        b"From MAILER-DAEMON Fri Jan  1 00:00:00 2021\nX-IMAP: 1600000000 1\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n\nnote\n\n",
        &b"From ann@example.org Sun Sep 13 12:26:40 2020\n"[..],
        &replaced(&lf(&mail(1)), "\n\n", "\nStatus: RO\nX-Status: AF\nContent-Length: 17\nX-UID: 5\n\n"),
        b"\nFrom ann@example.org Sun Sep 13 12:26:41 2020\n",
        &quoted,
        // By Thunderbird: read and marked; deleted; without a date, forwarded.
        b"\nFrom - Thu Jan 01 00:00:00 1970\nX-Mozilla-Status: 0005\nX-Mozilla-Status2: 00000000\nX-Mozilla-Keys:                             \n                      \n",
        &lf(&mail(3)),
        b"\nFrom - Sun Sep 13 12:26:40 2020\nX-Mozilla-Status: 0009\n",
        &lf(&mail(4)),
        b"\nFrom \nX-Mozilla-Status: 1001\n",
        &lf(&mail(5)),
        b"\nFrom x@y Sun Sep 13 14:26:42 +0200 2020\nSubject: no end",
    ]
    .concat();
    let file = setup.lab.path().join("old.mbox");
    fs::write(&file, &mbox).unwrap();
    setup.imported(&file, &["--folder", "Old"], "5 messages imported, 0 there already, 0 failed");
    let second = replaced(
        &replaced(&lf(&mail(2)), "This is", "From here\n>From there\nFrom ann\n\nFrom me to you, this is"),
        "\n",
        "\r\n",
    );
    setup.holds(vec![
        line(".Old", "FRS", DATE, &mail(1)),
        line(".Old", "-", DATE + 1, &second),
        line(".Old", "FS", RECEIVED, &mail(3)),
        line(".Old", "PS", RECEIVED, &mail(5)),
        line(".Old", "-", DATE + 2, b"Subject: no end"),
    ]);
    setup.imported(&file, &[], "0 messages imported, 5 there already, 0 failed");
    // What came with a message does not delete it.
    let sent = setup.lab.path().join("sent.mbox");
    let sender = replaced(&lf(&mail(7)), "\n\n", "\nX-Mozilla-Status: 0008\n\n");
    let both = [
        &b"From a@b Sun Sep 13 12:26:40 2020\n"[..],
        &sender,
        b"\nFrom - Sun Sep 13 12:26:40 2020\nX-Mozilla-Status: 0001\n",
        &sender,
    ];
    fs::write(&sent, both.concat()).unwrap();
    setup.imported(&sent, &[], "1 message imported, 1 there already, 0 failed");
    // As Windows' Thunderbird writes it; and bytes as they are.
    let windows = setup.lab.path().join("windows");
    fs::write(&windows, replaced(&mbox, "\n", "\r\n")).unwrap();
    setup.imported(&windows, &[], "0 messages imported, 5 there already, 0 failed");
    let one = setup.lab.path().join("one.mbox");
    let bytes = replaced(&lf(&mail(9)), "\n\n", "\nStatus: RO\n\n");
    fs::write(&one, [&b"From ann@example.org Sun Sep 13 12:26:40 2020\n"[..], &bytes].concat()).unwrap();
    setup.imported(&one, &["--as-is"], "1 message imported, 0 there already, 0 failed");
    assert!(setup.kept().contains(&line("", "S", DATE, &bytes)));
}

#[test]
fn thunderbirds_folders_eml_files_and_zips_come_in() {
    let setup = Setup::new();
    let source = setup.lab.folder("Local Folders");
    let mbox = |number: usize| {
        [&b"From - Sun Sep 13 12:26:40 2020\nX-Mozilla-Status: 0001\n"[..], &lf(&mail(number))].concat()
    };
    fs::create_dir_all(source.join("Work.sbd/Projects.sbd")).unwrap();
    fs::create_dir_all(source.join("Apple.mbox")).unwrap();
    for (file, bytes) in [
        ("Inbox", mbox(1)),
        ("Inbox.msf", b"// <!-- <mdb:mork:z v=\"1.4\"/> -->".to_vec()),
        ("Work", Vec::new()),
        ("Work.sbd/Projects", mbox(2)),
        ("Work.sbd/Projects.sbd/B\u{fc}ro", mbox(3)),
        ("Apple.mbox/mbox", mbox(4)),
        ("loose.eml", lf(&mail(5))),
        ("Work.sbd/in a folder.eml", mail(6)),
        ("picture.png", b"\x89PNG\r\n".to_vec()),
    ] {
        fs::write(source.join(file), bytes).unwrap();
    }
    let output =
        setup.imported(&source, &["-v"], "6 messages imported, 0 there already, 0 failed, 2 files without mail");
    assert!(output.text().contains("picture.png: holds no mail"), "{}", output.text());
    let kept = [
        line(".Inbox", "S", DATE, &mail(1)),
        line(".Work.Projects", "S", DATE, &mail(2)),
        line(".Work.Projects.B&APw-ro", "S", DATE, &mail(3)),
        line(".Apple", "S", DATE, &mail(4)),
        line("", "-", RECEIVED, &mail(5)),
        line(".Work", "-", RECEIVED, &mail(6)),
    ];
    // The inbox is called so by all.
    setup.holds(kept.iter().map(|line| line.replacen(".Inbox|", "|", 1)).collect());

    // What scripts/export wrote comes in as it went out, with its dates.
    let other = Archive::new(&setup.lab);
    other.keep(MAILDIR, "", "", &mail(10));
    other.keep(MAILDIR, ".Work.Reports", "", &mail(11));
    other.keep(MAILDIR, ".Entw&APw-rfe", "", &[&mail(12)[..], b"\0\xe9"].concat());
    run_script(&setup.lab, "export", &[JOE, "-c", &other.ini(), "--zip", "joe.zip"]).ok();
    setup.imported(&setup.lab.path().join("joe.zip"), &[], "3 messages imported, 0 there already, 0 failed");
    let kept = setup.kept();
    for expected in [
        line("", "-", DATE, &mail(10)),
        line(".Work.Reports", "-", DATE + 3600, &mail(11)),
        line(".Entw&APw-rfe", "-", DATE + 7200, &[&mail(12)[..], b"\0\xe9"].concat()),
    ] {
        assert!(kept.contains(&expected), "{expected} is not in {kept:#?}");
    }
    // One message alone; without any date of its own it has the file's.
    let alone = setup.lab.path().join("alone.eml");
    fs::write(&alone, "Subject: alone\n\nx\n").unwrap();
    dated(&alone, DATE + 7);
    setup.imported(&alone, &[], "1 message imported, 0 there already, 0 failed");
    assert!(setup.kept().contains(&line("", "-", DATE + 7, b"Subject: alone\r\n\r\nx\r\n")));
    fs::write(&alone, "Subject: dated\nDate: Tue, 14 Nov 2023 22:00:00 +0000\n\nx\n").unwrap();
    setup.import(&alone, &[]).ok();
    assert!(setup.kept().iter().any(|line| line.contains(&format!("|{SENT}|"))));
}

/// The tree of the program that MailStore was before: a Maildir for each owner, everything in `new`, plain names, LF.
#[test]
fn the_old_programs_tree_is_moved_by_the_loop_of_the_page() {
    let page = include_str!("../docs/import.md");
    for (format, command) in
        [("%d/%u", "for dir in /var/maildir/*/*@*; do"), ("%d/%n", "for dir in /var/maildir/*/*; do")]
    {
        let setup = Setup::new();
        let old = setup.lab.folder("maildir");
        for (domain, user, number) in [("yahoo.com", "test", 1), ("yahoo.com", "Bob B", 2), ("example.com", "joe", 3)] {
            let name = if format == "%d/%u" { format!("{user}@{domain}") } else { user.to_owned() };
            let maildir = old.join(domain).join(name);
            put(&maildir, "new", &format!("1100000000.{number}.host"), DATE, &lf(&mail(number)));
            put(&maildir, "new", &format!("1100000001.{number}.host"), DATE + 1, &lf(&mail(10 + number)));
        }
        let start = page.find(command).unwrap_or_else(|| panic!("docs/import.md has no {command}"));
        let lines: String = page[start..]
            .lines()
            .take_while(|line| !line.is_empty())
            .map(|line| format!("{}\n", line.trim()))
            .collect();
        let line = replaced(lines.as_bytes(), "/var/maildir", old.to_str().unwrap());
        let line = String::from_utf8(line).unwrap();
        assert!(line.contains("mailstore-import "), "{line}");
        let line =
            line.replace("mailstore-import ", &format!("{} -c {} ", script("import").display(), setup.archive.ini()));
        let output = run_with_input("sh", &["-c", &line], b"", setup.lab.path()).ok();
        assert_eq!(output.text().matches("2 messages imported").count(), 3, "{}{}", output.text(), output.errors());
        let kept = support::client::maildirs(&setup.archive.spool());
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["example.com/joe", "yahoo.com/bob b", "yahoo.com/test"]);
        assert_eq!(kept["yahoo.com/test"], [mail(1), mail(11)]);
        setup.holds(vec![self::line("", "-", DATE, &mail(3)), self::line("", "-", DATE + 1, &mail(13))]);
        // All of them at once would be one owner's.
        if format == "%d/%u" {
            let output = setup.import(&old, &[]);
            assert!(
                output.code == Some(1) && output.errors().contains("Maildirs of several owners"),
                "{}",
                output.errors()
            );
        }
    }
}

/// Promise 6 beside a running MailStore: what was imported is not kept again when it is fetched, whether or not MailStore had looked before.
#[test]
fn a_running_mailstore_knows_what_was_imported() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let mailbox = dovecot.mailbox(JOE);
    for number in 0..6 {
        mailbox.put("INBOX", Place::New, &mail(number));
    }
    let at = dovecot.endpoint(Kind::Imap, Tls::None);
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::None, at, UNFOLLOWED));
    let through = proxy.endpoint(Kind::Imap, "a", Tls::None);
    let fetch =
        |uid: usize| assert_eq!(curl(&lab, through, JOE, &format!("/INBOX;UID={uid}"), &[]).ok().stdout, mail(uid - 1));
    fetch(1);
    let spool = proxy.spool().path().to_owned();
    let ini = lab.path().join("mailstore.ini");
    fs::write(&ini, format!("[mailstore]\nspool = {}\n", spool.display())).unwrap();
    for round in 0..2 {
        let source = lab.folder("old");
        for number in [1 + 2 * round, 2 + 2 * round] {
            put(&source, "new", &format!("{number}.host"), DATE, &lf(&mail(number)));
        }
        // And one that MailStore has: no copy.
        put(&source, "new", "0.host", DATE, &lf(&mail(0)));
        let args = [JOE, source.to_str().unwrap(), "-c", ini.to_str().unwrap()];
        let text = run_script(&lab, "import", &args).ok().text();
        assert!(text.contains("2 messages imported") && text.contains("1 there already"), "{text}");
        fetch(2 + 2 * round);
        fetch(3 + 2 * round);
    }
    fetch(6);
    let mut bytes: Vec<Vec<u8>> = proxy.spool().list().into_iter().map(|kept| kept.bytes).collect();
    bytes.sort();
    assert_eq!(bytes, (0..6).map(mail).collect::<Vec<_>>(), "{}", proxy.log());
    assert_eq!(proxy.log().matches(" kept owner=").count(), 2);
    proxy.spool().served_by_dovecot(&lab);
}

/// A message that Dovecot wrote has no hash in its name, one that a mail program marked has another name, and one that lost its end is none.
#[test]
fn what_the_archive_has_is_known_whatever_its_name() {
    let setup = Setup::new();
    let maildir = setup.maildir();
    put(&maildir.join(".Moved"), "cur", "1700000000.M1P1.host,S=9,W=9:2,S", DATE, &mail(1));
    setup.archive.keep(MAILDIR, ".Work", "FS", &mail(2));
    let cut = setup.archive.keep(MAILDIR, "", "", &mail(3));
    fs::write(&cut, &mail(3)[..100]).unwrap();
    let source = setup.lab.folder("old");
    for number in 1..=4 {
        put(&source, "new", &format!("{number}.host"), DATE, &lf(&mail(number)));
    }
    setup.imported(&source, &[], "2 messages imported, 2 there already, 0 failed");
}

#[test]
fn killed_in_the_middle_nothing_is_half_and_nothing_twice() {
    let setup = Setup::new();
    let source = setup.lab.folder("old");
    let count = 400;
    for number in 0..count {
        let folder = if number % 3 == 0 { source.join(".Work") } else { source.clone() };
        put(&folder, "new", &format!("{number}.host"), DATE + number as u64, &lf(&mail(number)));
    }
    let ini = setup.archive.ini();
    let args = [JOE, source.to_str().unwrap(), "-c", &ini, "-v"];
    let mut put_before = 0;
    for round in 0..6 {
        let mut command = script_command(&setup.lab, "import", &args);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // A line for each message; 64 are flushed together.
        let wanted = 65 + 7 * round;
        let seen = lines.map_while(Result::ok).take(wanted).count();
        let signal = [Signal::SIGKILL, Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT][round % 4];
        let _ = kill(Pid::from_raw(child.id() as i32), signal);
        let status = child.wait().unwrap();
        assert!(status.code() != Some(1), "{status:?}");
        let whole = support::client::maildirs(&setup.archive.spool()).values().map(Vec::len).sum::<usize>();
        assert!(whole >= put_before && (seen < wanted || whole > put_before), "nothing was kept in round {round}");
        put_before = whole;
    }
    // Whatever lies in tmp is none of Dovecot's or MailStore's to wonder about, and goes with the next run.
    let output = setup.import(&source, &[]);
    assert_eq!(output.code, Some(0), "{}", output.errors());
    let mut expected: Vec<String> = (0..count)
        .map(|number| line(if number % 3 == 0 { ".Work" } else { "" }, "-", DATE + number as u64, &mail(number)))
        .collect();
    expected.sort();
    setup.holds(expected);
}

/// Messages are flushed 64 at a time; what waits for that when it is interrupted is in the archive by no count.
#[test]
fn interrupted_it_tells_of_what_is_in_the_archive_messages_and_octets_alike() {
    for (pipe, said) in [(4 << 10, "0 messages imported (0 bytes), 0 there"), (16 << 10, "64 messages imported (")] {
        let setup = Setup::new();
        let source = setup.lab.folder("old");
        for number in 0..300 {
            put(&source, "new", &format!("{number}.{}", "long".repeat(30)), DATE, &lf(&mail(number)));
        }
        let ini = setup.archive.ini();
        let args = [JOE, source.to_str().unwrap(), "-c", &ini, "-v"];
        let mut command = script_command(&setup.lab, "import", &args);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // A line for each message: where nobody reads them, and there is little room, it gets no further.
        let mut lines = child.stdout.take().unwrap();
        nix::fcntl::fcntl(&lines, nix::fcntl::FcntlArg::F_SETPIPE_SZ(pipe)).unwrap();
        let in_folder = |sub: &str| fs::read_dir(setup.maildir().join(sub)).map_or(0, Iterator::count);
        let whole = if pipe > 4 << 10 { 64 } else { 0 };
        wait_until("some messages wait", CLIENT, || in_folder("new") == whole && in_folder("tmp") > 4);
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
        let mut text = String::new();
        lines.read_to_string(&mut text).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        let kept = entries(&setup.maildir().join("new"));
        assert_eq!(kept.len(), whole);
        let octets: u64 = kept.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
        let summary = text.lines().rev().nth(1).unwrap();
        assert!(summary.starts_with(said), "{summary}");
        assert!(octets == 0 || summary.contains(&format!("({:.1} KB)", octets as f64 / 1000.0)), "{octets}: {summary}");
        assert!(text.ends_with("interrupted: run this again, nothing will be kept twice\n"), "{text}");
    }
}

#[test]
fn as_root_all_belongs_to_the_spools_user_and_the_source_may_be_roots() {
    if !is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let setup = Setup::new();
    support::dovecot::owned(&setup.archive.spool());
    let uid = fs::metadata(setup.archive.spool()).unwrap().uid();
    assert_ne!(uid, 0);
    let source = setup.lab.folder("old");
    put(&source.join(".Work"), "new", "1.host", DATE, &lf(&mail(1)));
    put(&source, "cur", "2.host:2,S", DATE, &lf(&mail(2)));
    fs::set_permissions(&source, fs::Permissions::from_mode(0o700)).unwrap();
    setup.imported(&source, &[], "2 messages imported, 0 there already, 0 failed");
    let mut todo = vec![setup.archive.spool()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        assert_eq!(meta.uid(), uid, "{}", path.display());
        todo.extend(entries(&path));
    }
    // A spool that root made, and a user for MailStore: his.
    let other = Archive::new(&setup.lab);
    let (user, _) = mail_names();
    fs::write(other.dir.join("mailstore.ini"), format!("[mailstore]\nspool = mailSpool\nuser = {user}\n")).unwrap();
    let output = run_script(&setup.lab, "import", &[JOE, source.to_str().unwrap(), "-c", &other.ini()]);
    assert!(output.code == Some(1) && output.errors().contains("Permission denied"), "{}", output.errors());
    // The source's owner lays one: what he may not read does not come into his archive. What root laid is what he meant.
    let outside = setup.lab.folder("outside");
    put(&outside, "cur", "3.host:2,S", DATE, &lf(&mail(3)));
    std::os::unix::fs::symlink(&outside, source.join(".Boss")).unwrap();
    std::os::unix::fs::symlink(outside.join("cur/3.host:2,S"), source.join("cur/4.host:2,S")).unwrap();
    setup.imported(&source, &["--dry-run"], "1 message would be imported, 3 there already, 0 failed");
    support::dovecot::owned(&source);
    let output = setup.import(&source, &[]);
    assert!(output.code == Some(1) && output.text().contains("2 there already, 2 failed"), "{}", output.text());
    fs::remove_dir_all(&outside).unwrap();
    // The owner of the Maildir lays a trap: root does not walk into it.
    let outside = setup.lab.folder("outside");
    fs::create_dir_all(setup.archive.spool().join("example.com")).unwrap();
    std::os::unix::fs::symlink(&outside, setup.archive.spool().join("example.com/eve")).unwrap();
    let ini = setup.archive.ini();
    let output = run_script(&setup.lab, "import", &["eve@example.com", source.to_str().unwrap(), "-c", &ini]);
    assert!(output.code == Some(1) && entries(&outside).is_empty(), "{}", output.errors());
}

#[test]
fn bad_sources_are_told_and_the_rest_comes_in() {
    let setup = Setup::new();
    let dir = setup.lab.path();
    let fails = |source: &str, why: &str| {
        let output = setup.import(&dir.join(source), &[]);
        assert!(output.code == Some(1) && output.errors().contains(why), "{source}: {}", output.errors());
        assert!(!output.errors().contains("Traceback"), "{}", output.errors());
        assert!(!setup.maildir().exists(), "{source}");
    };
    fails("nowhere", "No such file");
    fs::write(dir.join("text"), "Just a line of text, with a colon: here\n").unwrap();
    fails("text", "is no mbox, no .eml and no .zip file");
    fs::create_dir(dir.join("empty")).unwrap();
    fails("empty", "holds no Maildir");
    fs::write(dir.join("broken.zip"), b"PK\x03\x04 and no more").unwrap();
    let output = setup.import(&dir.join("broken.zip"), &[]);
    assert!(output.code == Some(1) && output.errors().contains("broken.zip"), "{}", output.errors());
    assert!(!output.errors().contains("Traceback"), "{}", output.errors());

    let source = setup.lab.folder("old");
    put(&source, "new", "1", DATE, &mail(1));
    put(&source, "new", "empty", DATE, b"");
    nix::unistd::mkfifo(&source.join("new/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink(source.join("nowhere"), source.join("new/link")).unwrap();
    // A circle.
    std::os::unix::fs::symlink(&source, source.join("round")).unwrap();
    put(&source, "new", "odd\n\x1b[2Jname", DATE, &mail(2));
    let output = setup.imported(&source, &[], "2 messages imported, 0 there already, 3 failed");
    assert!(
        output.errors().contains("empty: is empty") && output.errors().contains("pipe: is no file"),
        "{}",
        output.errors()
    );

    // The disk is full: what was said to be in the archive is, and the next run brings the rest.
    let big = setup.lab.folder("big");
    put(&big, "new", "1", DATE, &mail(3));
    put(&big, "new", "2", DATE + 1, &corpus::sized("large", 100_000));
    let ini = setup.archive.ini();
    let line =
        format!("ulimit -f 40; trap '' XFSZ; exec {} {JOE} {} -c {ini}", script("import").display(), big.display());
    let output = run_with_input("sh", &["-c", &line], b"", dir);
    assert!(
        output.code == Some(1) && output.errors().contains("run this again when that is mended"),
        "{}{}",
        output.text(),
        output.errors()
    );
    assert_eq!(setup.kept().len(), 2);
    setup.imported(&big, &[], "2 messages imported, 0 there already, 0 failed");
    // No spool.
    fs::write(dir.join("none.ini"), "[mailstore]\nspool = not-there\n").unwrap();
    let none = dir.join("none.ini").display().to_string();
    let output = run_script(&setup.lab, "import", &[JOE, big.to_str().unwrap(), "-c", &none]);
    assert!(output.code == Some(1) && output.errors().contains("there is no such folder"), "{}", output.errors());
}

#[test]
fn two_imports_of_one_owner_do_not_meet_and_owners_have_any_name() {
    let setup = Setup::new();
    let source = setup.lab.folder("old");
    put(&source, "new", "1", DATE, &mail(1));
    let ini = setup.archive.ini();
    for (owner, maildir, served) in [
        ("a'b@Example.com", "example.com/a'b", true),
        ("a b@example.com", "example.com/a b", false),
        ("a%2Fb/../c@example.com", "example.com/a%252fb%2F..%2Fc", false),
        ("x/../y@e", "e/x%2F..%2Fy", false),
        ("j\u{fc}rgen", "localhost/j\u{fc}rgen", true),
        ("-x@example.com", "example.com/-x", true),
        (".x@example.com", "example.com/%2Ex", false),
    ] {
        let import = || run_script(&setup.lab, "import", &["-c", &ini, "--", owner, source.to_str().unwrap()]).ok();
        let said = import().errors();
        // As other owners are shown, whatever his folder is called.
        let title = if owner.contains('@') { owner.to_lowercase() } else { format!("{owner}@localhost") };
        assert!(said.contains(&format!("note: nothing is kept of {title} yet: a new owner\n")), "{said}");
        let reason = match maildir {
            "example.com/%2Ex" => "Dovecot does not find the folder of such a name in the spool (example.com/%2Ex)\n",
            _ => "Dovecot lets nobody of such a name in: no `:`, `/`, `%`, quote, blank or control character",
        };
        assert_eq!(said.contains(&format!("note: {title}: {reason}")), !served, "{owner}: {said}");
        assert_eq!(said.contains("Dovecot"), !served, "{owner}: {said}");
        assert_eq!(import().errors(), "", "{owner}");
        assert_eq!(entries(&setup.archive.spool().join(maildir).join("new")).len(), 1, "{owner}");
    }
    let maildir = setup.archive.spool().join("example.com/a b");
    let held = fs::File::open(&maildir).unwrap();
    let lock = nix::fcntl::Flock::lock(held, nix::fcntl::FlockArg::LockExclusive).unwrap();
    let args = ["a b@example.com", source.to_str().unwrap(), "-c", &ini];
    let output = run_script(&setup.lab, "import", &args);
    assert!(output.code == Some(1) && output.errors().contains("another restore or import"), "{}", output.errors());
    drop(lock);
    run_script(&setup.lab, "import", &args).ok();
}
