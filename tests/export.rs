//! `scripts/export`: files that real programs open, and that hold the very messages.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use support::client::{run_command, run_with_input};
use support::maildirs::*;
use support::*;

const JOE: &str = "joe@example.com";
const MAILDIR: &str = "example.com/joe";

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

    fn keep(&self, folder: &str, bytes: &[u8]) {
        self.archive.keep(MAILDIR, folder, "", bytes);
    }

    fn export(&self, more: &[&str]) -> Output {
        let ini = self.archive.ini();
        run_script(&self.lab, "export", &[&[JOE, "-c", &ini], more].concat())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.lab.path().join(name)
    }

    fn python(&self, script: &str, args: &[&str]) -> String {
        run_with_input("/usr/bin/python3", &[&["-c", script], args].concat(), b"", self.lab.path()).ok().text()
    }
}

/// Where the scripts have what they share.
fn script_lib() -> String {
    script("lib").display().to_string()
}

fn mail(subject: &str, body: &str) -> Vec<u8> {
    format!(
        "Return-Path: <ann@example.org>\r\nFrom: Ann <ann@example.org>\r\nSubject: {subject}\r\n\
         Message-ID: <{:x}.{}@example.org>\r\n\r\n{body}",
        subject.len() * 7919 + body.len(),
        body.len()
    )
    .into_bytes()
}

fn sorted(mut messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    messages.sort();
    messages
}

/// Each file of a .zip: its name, its date by the system's own unzip, its bytes.
#[test]
fn a_zip_holds_the_very_messages_under_names_that_every_system_takes() {
    let setup = Setup::new();
    let messages = [
        ("", mail("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "one\r\n")),
        ("", mail("a/b\\c:d*e?f\"g<h>i|j", "two\r\n")),
        ("", mail("..", "three\r\n")),
        ("", mail(&"long ".repeat(100), "four\r\n")),
        ("", mail("\u{202e}gpj.exe\u{7}", "no line end")),
        ("", mail("ends in a dot.", "\0\u{e9}\r\nbare\nlf")),
        (".Sent", mail("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "five\r\n")),
        (".con.aux%2Etxt", mail("device", "six\r\n")),
        (".Entw&APw-rfe.A%2FB", mail("folder", "seven\r\n")),
        (".work", mail("x", "eight\r\n")),
        (".Work", mail("x", "nine\r\n")),
    ];
    messages.iter().for_each(|(folder, bytes)| setup.keep(folder, bytes));
    // The same second and subject, in capitals.
    for (number, subject) in ["Same", "SAME", "same"].into_iter().enumerate() {
        let bytes = mail(subject, &format!("same {number}\r\n"));
        let name = format!("1700000000.M{number}P1Q9.host,S={},H={}", bytes.len(), support::spool::hash(&bytes));
        put(&setup.archive.spool().join(MAILDIR), "new", &name, DATE, &bytes);
    }
    let before = snapshot(&setup.archive.spool());
    let output = setup.export(&["--zip", "joe.zip"]).ok();
    assert!(
        output.text().contains("14 messages (") && output.text().contains("written to joe.zip, 0 failed"),
        "{}",
        output.text()
    );
    assert_eq!(fs::metadata(setup.path("joe.zip")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(snapshot(&setup.archive.spool()), before);

    run_with_input("unzip", &["-q", "joe.zip", "-d", "out"], b"", setup.lab.path()).ok();
    let got: Vec<Vec<u8>> = files(&setup.path("out")).iter().map(|file| fs::read(file).unwrap()).collect();
    let kept: Vec<Vec<u8>> = support::client::maildirs(&setup.archive.spool()).into_values().flatten().collect();
    assert_eq!(sorted(got), sorted(kept));

    let mut seen = BTreeSet::new();
    for file in files(&setup.path("out")) {
        let name = file.strip_prefix(setup.path("out")).unwrap().to_str().expect("UTF-8").to_owned();
        assert!(seen.insert(name.to_lowercase()), "{name} twice where capitals do not count");
        for part in name.split('/') {
            let stem = part.split('.').next().unwrap().to_lowercase();
            assert!(!["con", "aux", "prn", "nul"].contains(&stem.as_str()), "{name}");
            assert!(part.len() <= 220 && !part.ends_with(['.', ' ']) && !part.starts_with(['.', ' ']), "{name}");
            assert!(!part.contains(['<', '>', ':', '"', '\\', '|', '?', '*', '\u{202e}', '\u{7}']), "{name}");
        }
        // One file an hour, by the date received.
        let bytes = fs::read(&file).unwrap();
        let date = fs::metadata(&file).unwrap().modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
        if let Some(index) = messages.iter().position(|(_, message)| *message == bytes) {
            assert_eq!(date.as_secs(), DATE + 3600 * index as u64, "{name}");
        }
    }
    let has = |name: &str| assert!(seen.contains(name), "no {name} in {seen:#?}");
    has("inbox/2020-09-13 122640 grüße.eml");
    has("inbox/2020-09-13 122640 same (3).eml");
    has("sent/2020-09-13 182640 grüße.eml");
    has("_con/_aux.txt/2020-09-13 192640 device.eml");
    has("entwürfe/a b/2020-09-13 202640 folder.eml");
    has("work (2)/2020-09-13 212640 x.eml");
    // The flag that says UTF-8, and a date for programs that know no other.
    let flags = "
import sys, zipfile
for info in zipfile.ZipFile('joe.zip').infolist():
    assert info.filename.isascii() or info.flag_bits & 0x800, info.filename
    assert info.date_time[0] == 2020, info.date_time
print(zipfile.ZipFile('joe.zip').testzip())";
    assert_eq!(setup.python(flags, &[]).trim(), "None");
}

/// Every file below a folder.
fn files(root: &Path) -> Vec<std::path::PathBuf> {
    let below = |path: std::path::PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    support::dovecot::entries(root).into_iter().flat_map(below).collect()
}

const FROM: &str = "first\r\nFrom here on\r\n>From there\r\n>>From everywhere\r\n\r\nFrom ann@example.org Tue Nov 14 22:13:20 2023\r\nX: y\r\n\r\n";

#[test]
fn an_mbox_is_read_by_mutt_and_python_and_gives_the_messages_back() {
    let setup = Setup::new();
    let messages = [
        mail("From lines", FROM),
        mail("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "\u{fc}\r\n"),
        mail("blank lines at the end", "x\r\n\r\n\r\n"),
        b"Subject: only a header\r\n\r\n".to_vec(),
        b"From: Bob <bob@example.org>\r\nSubject: no return path\r\n\r\nFrom the start\r\n".to_vec(),
    ];
    messages.iter().for_each(|bytes| setup.keep("", bytes));
    setup.keep(".Sent", &mail("sent", "x\r\n"));
    setup.export(&["--mbox", "inbox.mbox", "--folder", "INBOX"]).ok();
    let mbox = fs::read_to_string(setup.path("inbox.mbox")).unwrap();
    assert!(!mbox.contains('\r'));
    assert!(mbox.starts_with("From ann@example.org Sun Sep 13 12:26:40 2020\n"), "{mbox}");
    assert!(mbox.contains("\n\nFrom bob@example.org Sun Sep 13 16:26:40 2020\nFrom: Bob"), "{mbox}");
    assert!(mbox.contains("\n>From here on\n>>From there\n>>>From everywhere\n"), "{mbox}");
    assert_eq!(setup.python("import mailbox; print(len(mailbox.mbox('inbox.mbox')))", &[]).trim(), "5");

    // mutt sees as many, and what it copies out of it is what went in; but it leaves quoting as it stands.
    let home = setup.lab.folder("mutt");
    fs::copy(setup.path("inbox.mbox"), home.join("in")).unwrap();
    let script = "set folder=.\nset mbox_type=Maildir\nset confirmappend=no\nset confirmcreate=no\nset quit=yes\nset move=no\nset delete=yes\n\
                  push '<tag-pattern>~A<enter><tag-prefix><copy-message><kill-line>out<enter><quit>'\n";
    fs::write(home.join("rc"), script).unwrap();
    let line = format!("cd {} && stty rows 50 cols 100 && exec mutt -n -F rc -f in", home.display());
    let by_terminal = "
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.environ['TERM'] = 'xterm'
    os.execv('/bin/sh', ['sh', '-c', sys.argv[1]])
while True:
    try:
        if not os.read(terminal, 4096):
            break
    except OSError:
        break
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))";
    assert_eq!(run_with_input("/usr/bin/python3", &["-c", by_terminal, &line], b"", &home).ok().text().trim(), "0");
    let copied = sorted(support::client::maildirs(&home)["out"].iter().map(|bytes| without_counts(bytes)).collect());
    let unquoted: Vec<Vec<u8>> = messages
        .iter()
        .map(|bytes| {
            let quoted = replaced(&replaced(bytes, "\r\n", "\n"), "\nFrom ", "\n>From ");
            replaced(
                &replaced(&quoted, "\n>>From everywhere", "\n>>>From everywhere"),
                "\n>From there",
                "\n>>From there",
            )
        })
        .map(|bytes| without_counts(&bytes))
        .collect();
    assert_eq!(shown(&copied), shown(&sorted(unquoted)));

    // And back into an archive: the same bytes, dates and number.
    let back = Archive::new(&setup.lab);
    run_script(&setup.lab, "import", &["-c", &back.ini(), JOE, "inbox.mbox"]).ok();
    let mut got = support::client::maildirs(&back.spool());
    assert_eq!(shown(&got.remove(MAILDIR).unwrap()), shown(&sorted(messages.to_vec())));
}

/// Without the fields that mutt adds.
fn without_counts(message: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(message.to_vec()).unwrap();
    let fields = ["Status: ", "Content-Length: ", "Lines: "];
    let lines = text.split_inclusive('\n').filter(|line| !fields.iter().any(|field| line.starts_with(field)));
    lines.collect::<String>().into_bytes()
}

fn shown(messages: &[Vec<u8>]) -> Vec<String> {
    messages.iter().map(|bytes| bytes.escape_ascii().to_string()).collect()
}

#[test]
fn an_mbox_for_each_folder_or_one_for_all() {
    let setup = Setup::new();
    setup.keep("", &mail("a", "a\r\n"));
    setup.keep(".Work.Reports", &mail("b", "b\r\n"));
    setup.keep(".Entw&APw-rfe", &mail("c", "c\r\n"));
    setup.export(&["--mbox", "joe/"]).ok();
    let names: Vec<String> = {
        let mut names: Vec<String> = files(&setup.path("joe"))
            .iter()
            .map(|file| file.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names, ["Entwürfe.mbox", "INBOX.mbox", "Work.Reports.mbox"]);
    assert_eq!(fs::metadata(setup.path("joe")).unwrap().permissions().mode() & 0o777, 0o700);
    setup.export(&["--mbox", "all.mbox"]).ok();
    let whole = setup.export(&["--mbox", "-"]).ok();
    assert_eq!(whole.stdout, fs::read(setup.path("all.mbox")).unwrap());
    assert_eq!(setup.python("import mailbox; print(len(mailbox.mbox('all.mbox')))", &[]).trim(), "3");
    assert!(whole.errors().contains("3 messages"), "{}", whole.errors());
    // Streamed, where nothing can be sought.
    let ini = setup.archive.ini();
    let line = format!(
        "{} {JOE} -c {ini} --zip - --match b | cat >piped.zip && unzip -tq piped.zip",
        script("export").display()
    );
    run_with_input("sh", &["-c", &line], b"", setup.lab.path()).ok();
}

#[test]
fn nothing_is_written_over_or_half() {
    let setup = Setup::new();
    setup.keep("", &mail("a", "a\r\n"));
    fs::write(setup.path("there.zip"), "precious").unwrap();
    fs::create_dir(setup.path("box")).unwrap();
    fs::write(setup.path("box/INBOX.mbox"), "precious").unwrap();
    std::os::unix::fs::symlink("nowhere", setup.path("link.zip")).unwrap();
    let fails = |args: &[&str], code: i32, why: &str| {
        let output = setup.export(args);
        assert!(output.code == Some(code) && output.errors().contains(why), "{args:?}: {}", output.errors());
        assert!(!output.errors().contains("Traceback"), "{}", output.errors());
    };
    fails(&["--zip", "there.zip"], 1, "is there already");
    fails(&["--zip", "link.zip"], 1, "is there already");
    fails(&["--mbox", "box/"], 1, "is there already");
    fails(&["--mbox", "box"], 1, "is a folder");
    fails(&["--zip", "box/"], 2, "takes a file");
    fails(&["--zip", "no/such/folder.zip"], 1, "No such file");
    fails(&["--zip", "new.zip", "--match", "not there"], 1, "no message is selected");
    fails(&["--zip", "new.zip", "--mbox", "x"], 2, "not allowed with");
    fails(&[], 2, "required");
    assert_eq!(fs::read_to_string(setup.path("there.zip")).unwrap(), "precious");
    assert_eq!(fs::read_to_string(setup.path("box/INBOX.mbox")).unwrap(), "precious");
    setup.export(&["--zip", "there.zip", "--force"]).ok();
    setup.export(&["--mbox", "box/", "--force"]).ok();
    assert!(fs::read(setup.path("there.zip")).unwrap().starts_with(b"PK"));
    assert!(fs::read(setup.path("box/INBOX.mbox")).unwrap().starts_with(b"From "));
    assert!(!setup.path("new.zip").exists());

    // A disk that is full in the middle: nothing is left of it.
    for number in 0..20 {
        setup.keep("", &mail(&format!("big {number}"), &corpus::sized("x", 20_000).escape_ascii().to_string()));
    }
    let ini = setup.archive.ini();
    let line =
        format!("ulimit -f 50; trap '' XFSZ; exec {} {JOE} -c {ini} --mbox full.mbox", script("export").display());
    let output = run_with_input("sh", &["-c", &line], b"", setup.lab.path());
    assert!(output.code == Some(1) && output.errors().contains("File too large"), "{}", output.errors());
    let left: Vec<_> = support::dovecot::entries(setup.lab.path());
    assert!(left.iter().all(|path| !path.to_str().unwrap().contains("full.mbox")), "{left:?}");
}

/// A mail server marks messages as read, one after the other, which gives them other names.
#[test]
fn messages_that_are_renamed_meanwhile_are_written_once() {
    let setup = Setup::new();
    let paths: Vec<_> =
        (0..400).map(|n| setup.archive.keep(MAILDIR, "", "", &mail(&format!("number {n}"), "x\r\n"))).collect();
    let ini = setup.archive.ini();
    let there = setup.archive.spool().join(MAILDIR).join("cur");
    let named =
        |path: &Path, flags: &str| there.join(format!("{}{flags}", path.file_name().unwrap().to_str().unwrap()));
    let flags = [":2,S", ":2,FS", ":2,FRS"];
    for round in 0..3 {
        let mut command = script_command(&setup.lab, "export", &[JOE, "-c", &ini, "--mbox", "-"]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let child = command.spawn().unwrap();
        for path in &paths {
            let from = if round == 0 { path.clone() } else { named(path, flags[round - 1]) };
            fs::rename(from, named(path, flags[round])).unwrap();
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let mut subjects: Vec<&str> = text.lines().filter(|line| line.starts_with("Subject: ")).collect();
        subjects.sort();
        subjects.dedup();
        assert_eq!((subjects.len(), text.matches("\nSubject: ").count()), (400, 400));
    }
}

/// Between the look and the reading: under another name it is found, and gone it is gone.
#[test]
fn a_message_is_found_under_its_new_name() {
    let setup = Setup::new();
    for name in ["stays", "moves", "goes"] {
        setup.keep("", &mail(name, "x\r\n"));
    }
    let code = "
import os, sys, types
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
from mailstore import select, spool
maildir = spool.Maildir(sys.argv[2], 'example.com/joe', b'joe@example.com')
options = types.SimpleNamespace(since=None, until=None, match=[], folder=[])
stays, moves, goes = [found.message for found in select.Selection(maildir, options).messages()]
os.rename(moves.path, moves.path.replace('/new/', '/cur/') + ':2,FS')
os.remove(goes.path)
read, now = select.read(maildir, moves)
print(select.field(read, 'Subject'), now.flags(), select.field(select.read(maildir, stays)[0], 'Subject'), select.read(maildir, goes))";
    let lib = script_lib();
    assert_eq!(setup.python(code, &[&lib, setup.archive.spool().to_str().unwrap()]).trim(), "moves FS stays None");
}

#[test]
fn a_message_that_cannot_be_read_is_told_and_the_rest_is_written() {
    if !lab::is_root() {
        return eprintln!("skipped: without root every file here can be read");
    }
    let setup = Setup::new();
    setup.keep("", &mail("a", "a\r\n"));
    let shut = setup.archive.keep(MAILDIR, "", "", &mail("b", "b\r\n"));
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o000)).unwrap();
    dovecot::give_away(&setup.archive.dir);
    let ini = setup.archive.ini();
    let line = format!(
        "exec setpriv --reuid=65534 --regid=65534 --clear-groups -- {} {JOE} -c {ini} --mbox -",
        script("export").display()
    );
    let output = run_with_input("sh", &["-c", &line], b"", setup.lab.path());
    assert!(output.code == Some(1) && output.errors().contains("Permission denied"), "{}", output.errors());
    assert!(output.errors().contains("1 message (") && output.errors().contains("1 failed"), "{}", output.errors());
    assert!(output.text().contains("Subject: a\n") && !output.text().contains("Subject: b\n"));
}

/// Whoever sends a mail must not be able to hold the administrator up.
#[test]
fn mails_made_to_take_long_do_not() {
    let setup = Setup::new();
    let long = |text: &str, times: usize| text.repeat(times);
    let html = "Content-Type: text/html\r\n\r\n";
    for text in [
        format!("From: {}\r\n\r\nx", long("a", 300_000)),
        format!("{html}x{}", long("<", 300_000)),
        format!("{html}x{}", long("<style ", 50_000)),
        format!("Subject: =?utf-7?Q?+2AA-?=\r\n\r\nx {}", long("\u{301}\u{323}", 100_000)),
    ] {
        setup.keep(".Odd", text.as_bytes());
    }
    let began = std::time::Instant::now();
    setup.export(&["--mbox", setup.path("odd.mbox").to_str().unwrap(), "--match", "x"]).ok();
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
    let text = "import sys; sys.path.insert(0, sys.argv[1]); from mailstore import cli, putback as p, select as s; \
                p.content(b'A: b\\n\\n' + b'\\r' * 300000 + b'x'); \
                print(cli.printable('\\ud800'), *s.without_tags('a<b>c<style>d</style >e<style>f < g').split())";
    assert_eq!(setup.python(text, &[&script_lib()]), "\\xed\\xa0\\x80 a c e f < g\n");
}

#[test]
fn what_is_not_utf_8_and_what_is_no_descriptor_is_told() {
    use std::os::unix::ffi::OsStrExt;
    let setup = Setup::new();
    setup.keep("", &mail("one", "x"));
    let run = |name: &str, args: &[&[u8]]| {
        let mut command = std::process::Command::new(script(name));
        command.args(args.iter().map(|arg| std::ffi::OsStr::from_bytes(arg))).args(["-c", &setup.archive.ini()]);
        run_command(command, b"")
    };
    let output = run("export", &[JOE.as_bytes(), &b"--folder"[..], b"\xff", b"--zip", b"never.zip"]);
    assert!(output.code == Some(1) && output.errors().contains("is not UTF-8"), "{}", output.errors());
    for number in [&b"-1"[..], b"99999999999"] {
        let output = run("archive-user", &[&b"add"[..], JOE.as_bytes(), b"--password-fd", number]);
        assert!(output.code == Some(2) && output.errors().contains("--password-fd"), "{}", output.errors());
    }
}
