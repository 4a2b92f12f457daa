//! `scripts/verify`: what is whole is proven, what is not is told, each thing by its line; while mail is read, and on a hundred thousand messages.

mod support;

#[path = "verify/at_work.rs"]
mod at_work;

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::thread;

use support::dovecot::{entries, give_away};
use support::filed::{Filed, make, script, write};
use support::lab::is_root;
use support::proxy::section;
use support::*;

const DAY: u64 = 1_700_000_000;

const PAGE: &str = include_str!("../docs/verify.md");
const README: &str = include_str!("../README.md");

fn verify(args: &[&str]) -> Output {
    run(&script("verify"), args)
}

/// Runs it over a spool; the lines but for the last, sorted, and the last one, the summary.
#[track_caller]
fn over(spool: &Path, more: &[&str], status: i32) -> (Vec<String>, String) {
    let output = verify(&[&["--spool", spool.to_str().unwrap()], more].concat());
    assert_eq!(output.code, Some(status), "{}{}", output.text(), output.errors());
    assert_eq!(output.errors(), "");
    let mut lines: Vec<String> = output.text().lines().map(str::to_owned).collect();
    let summary = lines.pop().unwrap_or_default();
    lines.sort();
    (lines, summary)
}

#[track_caller]
fn nothing_is_wrong(spool: &Path, more: &[&str], messages: &str) {
    let (lines, summary) = over(spool, more, 0);
    assert_eq!(lines, [""; 0]);
    assert!(
        summary.starts_with(messages) && summary.contains(": nothing is wrong") != messages.is_empty(),
        "{summary}"
    );
}

#[test]
fn what_mailstore_kept_and_dovecot_changed_is_whole() {
    let lab = Lab::new();
    let provider = Dovecot::with(&lab, DovecotOptions { separator: '.', ..DovecotOptions::default() });
    let users = ["joe@example.com", "o'neil smith@example.com", "jürgen@example.com"];
    for (number, user) in users.into_iter().enumerate() {
        let mailbox = provider.mailbox(user);
        for at in 0..4 {
            mailbox.put(if at == 3 { "Work" } else { "INBOX" }, Place::New, &corpus::numbered(10 * number + at));
        }
    }
    let imap = provider.endpoint(Kind::Imap, Tls::None);
    let proxy = Proxy::start(&lab, &section(&lab, "a", Tls::None, imap, UNFOLLOWED));
    for user in users {
        let mut wire = Wire::connect(&lab, proxy.endpoint(Kind::Imap, "a", Tls::None));
        wire.login(Kind::Imap, user);
        for folder in ["INBOX", "Work"] {
            wire.imap_ok(&format!("SELECT {folder}"));
            wire.imap_ok("FETCH 1:* BODY[]");
        }
        wire.imap_ok("LOGOUT");
    }
    let spool = proxy.spool().path().to_owned();
    assert_eq!(proxy.spool().list().len(), 12);
    proxy.stop();
    nothing_is_wrong(&spool, &[], "12 messages of 3 owners, ");

    // As it is in force for the service: by its mailstore.ini, found in the working folder or named.
    let dir = spool.parent().unwrap();
    let output = client::run_with_input(&script("verify"), &[""; 0], b"", dir).ok();
    assert!(output.text().starts_with("12 messages of 3 owners, "), "{}", output.text());
    let ini = dir.join("mailstore.ini");
    for owner in ["O'Neil Smith@example.com", "example.com/jürgen"] {
        let output = verify(&["-c", ini.to_str().unwrap(), owner]).ok();
        assert!(output.text().starts_with("4 messages of 1 owner, "), "{}", output.text());
    }

    // Dovecot reads, flags and copies; its files are no strangers, what it writes itself has no hash.
    give_away(&spool);
    let options = DovecotOptions { spool: Some(spool.clone()), separator: '.', ..DovecotOptions::default() };
    let archive = Dovecot::with(&lab, options);
    let mut wire = Wire::connect(&lab, archive.endpoint(Kind::Imap, Tls::None));
    wire.login(Kind::Imap, users[0]);
    wire.imap_ok("SELECT INBOX");
    wire.imap_ok("STORE 1:2 +FLAGS (\\Seen \\Flagged custom)");
    wire.imap_ok("COPY 1:2 Work");
    wire.send(b"a APPEND Work {4+}\r\ntext\r\n");
    let reply = wire.imap_until("a");
    assert!(String::from_utf8_lossy(&reply).contains("a OK"));
    wire.imap_ok("SUBSCRIBE Work");
    wire.imap_ok("LOGOUT");
    assert!(entries(&spool.join("example.com/joe")).iter().any(|file| file.ends_with("dovecot-uidlist")));
    let (lines, summary) = over(&spool, &[], 0);
    assert!(
        lines.iter().all(|line| line.starts_with("duplicate owner=joe@example.com path=example.com/joe/.Work/cur/"))
    );
    let end = ": nothing is wrong; 1 without a hash; 2 kept twice";
    assert!(summary.starts_with("15 messages of 3 owners, ") && summary.ends_with(end), "{summary}");

    // And a copy of it, as rsync makes one for the backup.
    let copy = lab.folder("copy");
    let from = format!("{}/", spool.display());
    run("rsync", &["-aH", "--exclude=/*/*/tmp", &from, copy.to_str().unwrap()]).ok();
    nothing_is_wrong(&copy, &["--quiet"], "");
    assert!(over(&copy, &[], 0).1.starts_with("15 messages of 3 owners, "));
}

/// A spool of three owners in which nothing is wrong: a, with his messages, and the others.
fn three(lab: &Lab) -> (Filed, Vec<PathBuf>) {
    let mut spool = Filed::new(lab);
    let mut put = |maildir: &str, folder: &str, place, n: usize| {
        spool.put(maildir, folder, place, DAY + n as u64, &corpus::numbered(n))
    };
    let files = (0..12).map(|n| put("example.com/a", "", Place::New, n)).collect();
    put("example.com/b", ".Sent", Place::Cur, 20);
    put("example.com/c", ".Wörk.%empty", Place::New, 30);
    for entry in ["dovecot-uidlist", "dovecot.index.log", "mailstore-kept", "subscriptions", "courierimapuiddb"] {
        write(&spool.path().join("example.com/a").join(entry), b"", DAY);
    }
    write(&spool.path().join("example.com/b/.Sent/maildirfolder"), b"", DAY);
    // Left by a network file system of a file that is still open.
    write(&spool.path().join("example.com/b/.Sent/cur/.nfs0000abcd"), b"", DAY);
    make(&spool.path().join("example.com/d"));
    (spool, files)
}

/// `example.com/a/new/...`
fn below(spool: &Filed, file: &Path) -> String {
    file.strip_prefix(spool.path()).unwrap().to_str().unwrap().to_owned()
}

fn name(file: &Path) -> &str {
    file.file_name().unwrap().to_str().unwrap()
}

#[test]
fn each_fault_is_told_by_its_line() {
    let lab = Lab::new();
    let (spool, files) = three(&lab);
    nothing_is_wrong(spool.path(), &[], "14 messages of 3 owners, ");
    let mut expected = Vec::new();
    let mut expect = |kind: &str, owner: &str, path: &str, reason: &str| {
        expected.push(format!("{kind} owner={owner} path={path} reason={reason}"));
    };
    let size = |file: &Path| fs::metadata(file).unwrap().len();
    let renamed = |file: &Path, to: &str| {
        let to = file.parent().unwrap().join(to);
        fs::rename(file, &to).unwrap();
        to
    };
    let a = "a@example.com";

    // One bit.
    let file = File::options().read(true).write(true).open(&files[0]).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 3).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 3).unwrap();
    let is = spool::hash(&fs::read(&files[0]).unwrap());
    expect("damaged", a, &below(&spool, &files[0]), &format!("its SHA-256 is {is}, not that of its name"));
    let whole = size(&files[1]);
    File::options().write(true).open(&files[1]).unwrap().set_len(whole - 1).unwrap();
    let reason = format!("has {} octets, should have {whole}", whole - 1);
    expect("truncated", a, &below(&spool, &files[1]), &reason);
    let whole = size(&files[2]);
    File::options().append(true).open(&files[2]).unwrap().write_all(b"\n").unwrap();
    expect("grown", a, &below(&spool, &files[2]), &format!("has {} octets, should have {whole}", whole + 1));
    // Whole, and named wrongly.
    let has = size(&files[3]);
    let file = renamed(&files[3], &name(&files[3]).replace(&format!(",S={has},"), ",S=7,"));
    let reason = format!("S= says 7 octets; the file is whole (its SHA-256 is that of its name) and has {has}");
    expect("misnamed", a, &below(&spool, &file), &reason);
    for (file, from, to) in [(&files[4], ",H=", ",H=0"), (&files[5], ",H=", ",H=A")] {
        let is = spool::hash(&fs::read(file).unwrap());
        let file = renamed(file, &name(file).replace(from, to));
        let reason = format!(
            "what stands behind H= is no SHA-256 (64 hex digits in lower case), or it stands there twice; the file's is {is}"
        );
        expect("misnamed", a, &below(&spool, &file), &reason);
    }
    let file = renamed(&files[6], &name(&files[6]).replace(",S=", ",S=x"));
    expect("misnamed", a, &below(&spool, &file), "what stands behind S= is no number, or it stands there twice");
    let not_a_name = "is no name of a message: <seconds>.<unique>.<host>,S=<octets>,H=<SHA-256>, and flags behind :2,";
    let new = spool.path().join("example.com/a/new");
    write(&new.join("let ter\n.eml"), b"Subject: x\r\n\r\n", DAY);
    expect("misnamed", a, "example.com/a/new/let\\x20ter\\x0a.eml", not_a_name);
    // Without a hash the size counts.
    write(&new.join("1700000000.M1P1.host,S=5,W=6:2,"), b"six...", DAY);
    expect("grown", a, "example.com/a/new/1700000000.M1P1.host,S=5,W=6:2,", "has 6 octets, should have 5");
    write(&new.join("1700000001.M1P1.host,S=6,W=6:2,FSa"), b"six...", DAY);
    write(&new.join("1700000002_0.1.host"), b"six...", DAY);
    // Rights.
    fs::set_permissions(&files[7], Permissions::from_mode(0o640)).unwrap();
    expect("permissions", a, &below(&spool, &files[7]), "mode 0640, should be 0600");
    fs::set_permissions(spool.path().join("example.com/b/.Sent"), Permissions::from_mode(0o755)).unwrap();
    expect("permissions", "b@example.com", "example.com/b/.Sent", "mode 0755, should be 0700");
    fs::set_permissions(spool.path().join("example.com/a/mailstore-kept"), Permissions::from_mode(0o644)).unwrap();
    expect("permissions", a, "example.com/a/mailstore-kept", "mode 0644, should be 0600");
    fs::set_permissions(spool.path(), Permissions::from_mode(0o770)).unwrap();
    expect("permissions", "-", ".", "mode 0770: others can write to it, it should be 0700");
    if is_root() {
        chown(&files[8], Some(65534), None).unwrap();
        expect("permissions", a, &below(&spool, &files[8]), "belongs to nobody, the spool to root");
    }
    // What does not belong there.
    symlink("/etc/hostname", new.join("1700000003.M1P1.link")).unwrap();
    expect("strange", a, "example.com/a/new/1700000003.M1P1.link", "is a symbolic link, not a message");
    nix::unistd::mkfifo(&new.join("1700000003.M1P1.pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    expect("strange", a, "example.com/a/new/1700000003.M1P1.pipe", "is neither file nor folder, not a message");
    make(&new.join("1700000003.M1P1.dir"));
    expect("strange", a, "example.com/a/new/1700000003.M1P1.dir", "is a folder, not a message");
    write(&spool.path().join("example.com/a/notes.txt"), b"", DAY);
    expect("strange", a, "example.com/a/notes.txt", "is a file that does not belong into a Maildir");
    make(&spool.path().join("example.com/a/.Lost"));
    write(&spool.path().join("example.com/a/.Lost/x"), b"", DAY);
    expect("strange", a, "example.com/a/.Lost", "is no folder of a Maildir: has neither new nor cur");
    write(&spool.path().join("example.com/b/.Sent/x"), b"", DAY);
    let reason = "is a file that does not belong into a folder of a Maildir";
    expect("strange", "b@example.com", "example.com/b/.Sent/x", reason);
    write(&spool.path().join("example.com/x"), b"", DAY);
    expect("strange", "-", "example.com/x", "is a file, where only folders are");
    make(&spool.path().join(".old"));
    expect("strange", "-", ".old", "is no owner's: the name begins with a dot");
    write(&spool.path().join("example.com/d/x"), b"", DAY);
    let reason = "is no Maildir: has neither new nor cur; does maildir in mailstore.ini (-c) fit?";
    expect("strange", "-", "example.com/d", reason);
    // A note only.
    let twice = spool.path().join("example.com/a/cur").join(name(&files[9]).replace("P7Q", "P8Q") + ":2,S");
    fs::copy(&files[9], &twice).unwrap();
    let reason = format!("is the same message as {}", below(&spool, &files[9]));
    expect("duplicate", a, &below(&spool, &twice), &reason);

    expected.sort();
    let (lines, summary) = over(spool.path(), &[], 1);
    assert_eq!(lines, expected, "{summary}");
    let user = usize::from(is_root());
    let counted = format!(
        ": 1 damaged, 1 truncated, 2 grown, 5 misnamed, {} permissions, 9 strange; 4 without a hash; 1 kept twice",
        4 + user
    );
    assert!(summary.starts_with("19 messages of 3 owners, ") && summary.ends_with(&counted), "{summary}");

    // By owner, by one process, without the rights; quietly.
    let of = |owner: &str| expected.iter().filter(|line| line.contains(owner)).cloned().collect::<Vec<_>>();
    assert_eq!(over(spool.path(), &["b@example.com"], 1).0, of("owner=b@example.com"));
    nothing_is_wrong(spool.path(), &["example.com/c"], "1 message of 1 owner, ");
    assert_eq!(over(spool.path(), &["--jobs", "1"], 1).0, expected);
    let rights: Vec<_> = expected.iter().filter(|line| !line.starts_with("permissions ")).cloned().collect();
    assert_eq!(over(spool.path(), &["--no-permissions"], 1).0, rights);
    let output = verify(&["--spool", spool.path().to_str().unwrap(), "--quiet"]);
    let mut quiet: Vec<String> = output.text().lines().map(str::to_owned).collect();
    quiet.sort();
    expected.retain(|line| !line.starts_with("duplicate "));
    assert_eq!((quiet, output.code), (expected, Some(1)));
}

#[test]
fn what_the_template_says_is_where_owners_are() {
    let lab = Lab::new();
    let mut spool = Filed::new(&lab);
    spool.put("mail/joe@example.com/Maildir", "", Place::New, DAY, b"text");
    // Beside a fixed name anything may lie.
    make(&spool.path().join("indexes"));
    write(&spool.path().join("indexes/x"), b"", DAY);
    let ini = spool.path().parent().unwrap().join("mailstore.ini");
    fs::write(&ini, "[mailstore]\nspool = elsewhere\nmaildir = mail/%u/Maildir\n").unwrap();
    nothing_is_wrong(spool.path(), &["-c", ini.to_str().unwrap()], "1 message of 1 owner, ");
    let (lines, _) = over(spool.path(), &[], 1);
    assert!(lines.iter().any(|line| line.contains("does maildir in mailstore.ini (-c) fit?")), "{lines:?}");
}

#[test]
fn what_cannot_be_done_is_said() {
    let lab = Lab::new();
    let (spool, _) = three(&lab);
    let root = spool.path().to_str().unwrap();
    for (args, said) in [
        (&["--spool", "/nowhere/at/all"][..], "there is no such folder"),
        (&["--spool", root, "ann@example.com"], "nothing is kept of such an owner"),
        (&["--spool", root, "../../etc"], "nothing is kept of such an owner"),
        (&["-c", "/nowhere/mailstore.ini"], "cannot be read"),
    ] {
        let output = verify(args);
        assert_eq!((output.code, output.text()), (Some(1), String::new()), "{args:?}");
        assert!(output.errors().contains(said), "{args:?}: {}", output.errors());
    }
    for args in [&["--frobnicate"][..], &["--jobs", "0"], &["--jobs", "x"], &["--job", "1"]] {
        let output = verify(args);
        assert_eq!((output.code, output.text()), (Some(2), String::new()), "{args:?}");
        assert!(output.errors().contains("--help"), "{args:?}: {}", output.errors());
    }
    let empty = Filed::new(&lab);
    nothing_is_wrong(empty.path(), &[], "0 messages of 0 owners, ");
}

#[test]
fn what_may_not_be_read_is_told_and_the_rest_is_proven() {
    let lab = Lab::new();
    let (spool, files) = three(&lab);
    if is_root() {
        run("chown", &["-R", "65534:65534", spool.path().to_str().unwrap()]).ok();
    }
    fs::set_permissions(&files[1], Permissions::from_mode(0o000)).unwrap();
    let closed = spool.path().join("example.com/b/.Sent/cur");
    fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
    let over = |spool: &Path| {
        let args = [&script("verify"), "--spool", spool.to_str().unwrap()];
        if is_root() {
            run("setpriv", &[&["--reuid=65534", "--regid=65534", "--clear-groups", "--"], &args[..]].concat())
        } else {
            run(args[0], &args[1..])
        }
    };
    // A spool that lies where he may not look is not said to be gone.
    let output = over(&closed.join("mailSpool"));
    assert!(
        output.code == Some(1) && output.errors().contains("Permission denied; run this as root"),
        "{}",
        output.errors()
    );
    let output = over(spool.path());
    assert_eq!(output.code, Some(1));
    let text = output.text();
    for line in [
        format!("unreadable owner=a@example.com path={} reason=Permission denied\n", below(&spool, &files[1])),
        "unreadable owner=b@example.com path=example.com/b/.Sent/cur reason=Permission denied\n".to_owned(),
        "permissions owner=b@example.com path=example.com/b/.Sent/cur reason=mode 0000, should be 0700\n".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}{text}");
    }
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.lines().last().unwrap().starts_with("13 messages of 3 owners, "), "{text}");
    // So that it can be removed.
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn two_at_once_find_the_same() {
    let lab = Lab::new();
    let (spool, files) = three(&lab);
    fs::write(&files[0], b"").unwrap();
    thread::scope(|scope| {
        let run = || over(spool.path(), &[], 1).0;
        let runs = [scope.spawn(run), scope.spawn(run)].map(|run| run.join().unwrap());
        assert_eq!(runs[0], runs[1]);
        assert!(runs[0][0].starts_with("truncated ") && runs[0][0].contains("has 0 octets"), "{runs:?}");
    });
}

#[test]
fn installed_it_finds_what_it_needs() {
    let lab = Lab::new();
    let (spool, _) = three(&lab);
    let prefix = lab.folder("prefix");
    let lib = prefix.join("lib/mailstore");
    fs::create_dir_all(&lib).unwrap();
    fs::create_dir(prefix.join("bin")).unwrap();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    run(
        "cp",
        &["-a", sources.join("verify").to_str().unwrap(), sources.join("lib").to_str().unwrap(), lib.to_str().unwrap()],
    )
    .ok();
    symlink("../lib/mailstore/verify", prefix.join("bin/mailstore-verify")).unwrap();
    let command = prefix.join("bin/mailstore-verify");
    let output = run(command.to_str().unwrap(), &["--spool", spool.path().to_str().unwrap()]).ok();
    assert!(output.text().starts_with("14 messages of 3 owners, "));
    let help = run(command.to_str().unwrap(), &["--help"]).ok().text();
    assert!(help.starts_with("usage: mailstore-verify "), "{help}");
    assert!(help.contains("\n  mailstore-verify joe@example.com "), "{help}");
}

/// A line of docs/verify.md that cron would run, without its time and its user, or one that stands in a table.
fn on_the_page(with: &str) -> String {
    let quoted = PAGE.split('`').find(|part| part.starts_with("mailstore-verify ") && part.contains(with));
    let line =
        quoted.or_else(|| PAGE.lines().find(|line| line.contains(with)).map(|line| line.split("  ").last().unwrap()));
    line.unwrap_or_else(|| panic!("docs/verify.md has no {with}")).trim().replace("\\|", "|")
}

#[test]
fn the_page_is_true() {
    let lab = Lab::new();
    let (spool, files) = three(&lab);
    let dir = spool.path().parent().unwrap();
    fs::write(dir.join("mailstore.ini"), "").unwrap();
    let sh = |command: &str| {
        let command = command
            .replace("/usr/local/bin/", "")
            .replace("mailstore-verify", &script("verify"))
            .replace("/etc/mailstore/mailstore.ini", dir.join("mailstore.ini").to_str().unwrap())
            .replace("/var/backups/mailstore/2025-01-31T023000/mailSpool", spool.path().to_str().unwrap())
            .replace("DIR", spool.path().to_str().unwrap())
            .replace("joe@", "a@")
            .replace("ann@", "b@");
        client::run_with_input("/bin/sh", &["-c", &command], b"", dir)
    };
    // As an IMAP server may add to it.
    let longer = format!("{},W=1", files[1].to_str().unwrap());
    fs::rename(&files[1], longer).unwrap();
    let [by_hand, in_readme] =
        [PAGE, README].map(|page| page[page.find("find mailSpool").unwrap()..].split("\n\n").next().unwrap());
    let (cron, some) = (on_the_page("30 4 * * 0"), on_the_page("ann@"));
    let (snapshot, modes, messages) = (on_the_page("2025"), on_the_page("--no-perm"), on_the_page("grep"));
    for silent in [by_hand, in_readme, &cron] {
        let said = sh(silent).ok();
        assert_eq!(said.text() + &said.errors(), "", "{silent}");
    }
    for (command, said) in
        [(&some, "13 messages of 2 owners"), (&snapshot, "14 messages of 3"), (&modes, "14 messages of 3")]
    {
        assert!(sh(command).ok().text().starts_with(said), "{command}");
    }
    assert_eq!(sh(&messages).text(), "");
    // Where something is wrong all of them tell.
    let bytes = fs::read(&files[0]).unwrap();
    fs::write(&files[0], bytes.to_ascii_uppercase()).unwrap();
    for command in [&cron, &some, &snapshot, &modes] {
        let output = sh(command);
        assert_eq!(output.code, Some(1), "{command}");
        assert!(output.text().starts_with("damaged owner=a@example.com path=example.com/a/new/"), "{command}");
    }
    assert_eq!(sh(&messages).text().lines().count(), 1);
    assert!(sh(by_hand).text().ends_with(": FAILED\n"));
    // Each kind of line is explained, and no other.
    let help = run(&script("verify"), &["--help"]).ok().text();
    for kind in ["damaged", "truncated", "grown", "misnamed", "permissions", "strange", "unreadable", "duplicate"] {
        assert!(PAGE.contains(&format!("`{kind}`")) && help.contains(&format!("\n  {kind} ")), "{kind}");
    }
}

/// A file with nothing in it but a hole takes no room, and would take a night to read.
#[test]
fn a_hole_is_not_read() {
    let lab = Lab::new();
    let spool = lab.folder("spool");
    let new = spool.join("example.com/a/new");
    fs::create_dir_all(&new).unwrap();
    fs::File::create(new.join("1700000003.M1P1.hole")).unwrap().set_len(1 << 40).unwrap();
    let (lines, _) = over(&spool, &["--no-permissions"], 1);
    let found = "strange owner=a@example.com path=example.com/a/new/1700000003.M1P1.hole reason=has 1099511627776 octets: no message is so large";
    assert!(lines.len() == 1 && lines[0].starts_with(found), "{lines:#?}");
}
