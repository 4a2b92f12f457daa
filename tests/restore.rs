//! `scripts/restore`: what the archive holds goes back into an account at a real server: every byte, date, flag and folder, and nothing twice.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::client::{curl, private, run_with_input};
use support::lab::is_root;
use support::maildirs::*;
use support::proxy::section;
use support::*;

const JOE: &str = "joe@example.com";
const MAILDIR: &str = "example.com/joe";

/// A message that servers and programs tell from others by its header.
fn letter(number: usize) -> Vec<u8> {
    format!(
        "Received: from a by b; Tue, 14 Nov 2023 22:13:20 +0000\r\nFrom: Ann <ann@example.org>\r\nTo: joe@example.com\r\n\
         Subject: Letter {number}\r\nMessage-ID: <{number}@example.org>\r\n\r\nThis is letter {number}.\r\n.\r\nBye.\r\n"
    )
    .into_bytes()
}

struct Setup {
    lab: Lab,
    archive: Archive,
}

impl Setup {
    fn new() -> Setup {
        let lab = Lab::new();
        let archive = Archive::new(&lab);
        private(&lab.path().join("secret"), &format!("{PASSWORD}\n"));
        Setup { lab, archive }
    }

    fn args(&self, at: Endpoint, more: &[&str]) -> Vec<String> {
        let ini = self.archive.ini();
        let mut args: Vec<String> =
            [JOE, "-c", &ini, "--user", JOE, "--password-file", "secret"].map(str::to_owned).into();
        args.extend(to_server(&self.lab, at));
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        args
    }

    fn restore(&self, at: Endpoint, more: &[&str]) -> Output {
        let args = self.args(at, more);
        let output = run_script(&self.lab, "restore", &args.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(!output.text().contains(PASSWORD) && !output.errors().contains(PASSWORD));
        output
    }

    /// Fails unless it ends so, with this summary.
    #[track_caller]
    fn restored(&self, at: Endpoint, more: &[&str], code: i32, summary: &str) -> Output {
        let output = self.restore(at, more);
        let said = format!("{}{}", output.text(), output.errors());
        assert_eq!(output.code, Some(code), "{said}");
        let last = output.text().lines().last().unwrap_or_default().to_owned();
        let without_size: String = last
            .split(" (")
            .map(|part| part.split_once("), ").map_or(part, |(_, rest)| rest))
            .collect::<Vec<_>>()
            .join(", ");
        assert_eq!(without_size, summary, "{said}");
        output
    }
}

fn plain(dovecot: &Dovecot) -> Endpoint {
    dovecot.endpoint(Kind::Imap, Tls::None)
}

fn stored(number: u64, flags: &[&str], bytes: &[u8]) -> Stored {
    Stored {
        date: DATE + 3600 * number,
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        bytes: bytes.to_vec(),
    }
}

/// For a person who reads what failed.
fn shown(messages: &[Vec<u8>]) -> Vec<String> {
    messages.iter().map(|bytes| format!("{} {}", bytes.len(), bytes[..bytes.len().min(60)].escape_ascii())).collect()
}

/// What this server makes of these very bytes, which it stores with other line ends.
fn as_served(setup: &Setup, at: Endpoint, messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut wire = Wire::connect(&setup.lab, at);
    wire.login(Kind::Imap, &format!("reference{}", messages.len()));
    for bytes in messages {
        wire.send(format!("a APPEND INBOX {{{}}}\r\n", bytes.len()).as_bytes());
        assert!(wire.line().starts_with(b"+ "));
        wire.send(&[bytes, &b"\r\n"[..]].concat());
        assert!(wire.imap_until("a").starts_with(b"a OK"));
    }
    wire.imap_ok("EXAMINE INBOX");
    let served = messages.iter().enumerate().map(|(index, _)| {
        let answer = wire.imap_ok(&format!("FETCH {} BODY.PEEK[]", index + 1));
        wire::literals(&answer).remove(0)
    });
    served.collect()
}

#[test]
fn every_byte_date_flag_and_folder_comes_back_once() {
    for (separator, prefix, sent, work, capability) in [
        ('/', "", "Sent", "Work/Reports &APw-", ""),
        ('.', "", "Gesendet", "Work.Reports &APw-", ""),
        ('.', "INBOX.", "INBOX.Sent Items", "INBOX.Work.Reports &APw-", ""),
        // A server that can nothing but IMAP4rev1: no UIDPLUS, NAMESPACE, SPECIAL-USE.
        ('/', "", "Sent", "Work/Reports &APw-", "imap_capability = IMAP4rev1 AUTH=PLAIN\n"),
    ] {
        let setup = Setup::new();
        let name = sent.strip_prefix(prefix).unwrap();
        let options =
            DovecotOptions { separator, prefix, special_use: Some(name), extra: capability, ..Default::default() };
        let dovecot = Dovecot::with(&setup.lab, options);
        let odd = [
            b"Subject: no id\r\n\r\nsame header, first\r\n".to_vec(),
            b"Subject: no id\r\n\r\nsame header, second\r\n".to_vec(),
            b"Subject: lines\r\nMessage-ID: <l@x>\r\n\r\nbare\nline, and no end".to_vec(),
            b"\r\nno header at all\r\n".to_vec(),
            b"no colon anywhere\r\nFrom: x\r\n\r\nbody\r\n".to_vec(),
            b"Subject: \xe9\xff\r\nX: \xc3\xa9\r\n\r\n\xe9\r\n".to_vec(),
        ];
        let keep = |folder: &str, flags: &str, bytes: &[u8]| drop(setup.archive.keep(MAILDIR, folder, flags, bytes));
        keep("", "", &letter(0));
        keep("", "FRS", &letter(1));
        // T: the next program to tidy up would take it away again.
        keep("", "ST", &letter(2));
        keep("", "PS", &letter(3));
        keep(".Sent", "S", &letter(4));
        keep(".Work.Reports &APw-", "", &letter(5));
        keep(".v1%2E2.cur", "DS", &letter(6));
        odd.iter().for_each(|bytes| keep(".cur", "", bytes));
        let samples: Vec<Vec<u8>> =
            corpus::corpus().into_iter().map(|sample| sample.bytes).filter(|bytes| !bytes.is_empty()).collect();
        for (index, bytes) in samples.iter().enumerate() {
            keep(".corpus", if index % 2 == 0 { "" } else { "S" }, bytes);
        }
        let before = snapshot(&setup.archive.spool());

        let count = setup.archive.spool();
        let all = support::client::maildirs(&count).values().map(Vec::len).sum::<usize>();
        let dry = format!("{all} would be put back, 0 there already, 0 failed");
        let at = plain(&dovecot);
        let empty = account(&setup.lab, at, JOE);
        setup.restored(at, &["--dry-run"], 0, &dry);
        assert_eq!(account(&setup.lab, at, JOE), empty, "--dry-run");
        setup.restored(at, &[], 0, &format!("{all} put back, 0 there already, 0 failed"));

        let got = account(&setup.lab, at, JOE);
        let in_folder = |name: &str| got.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", got.keys()));
        let mut inbox = vec![
            stored(0, &[], &letter(0)),
            stored(1, &["\\Answered", "\\Flagged", "\\Seen"], &letter(1)),
            stored(2, &["\\Seen"], &letter(2)),
            stored(3, &["$Forwarded", "\\Seen"], &letter(3)),
        ];
        inbox.sort();
        assert_eq!(in_folder("INBOX"), &inbox);
        let sent = if capability.is_empty() { sent } else { "Sent" };
        assert_eq!(in_folder(sent), &[stored(4, &["\\Seen"], &letter(4))]);
        assert_eq!(in_folder(work), &[stored(5, &[], &letter(5))]);
        // A dot in a name, where that divides levels.
        // And where mailboxes are folders in folders, none can be called `cur`.
        let (dotted, cur) = if separator == '.' { ("v1_2.cur", "cur") } else { ("v1.2/cur_", "cur_") };
        assert_eq!(in_folder(&format!("{prefix}{dotted}")), &[stored(6, &["\\Draft", "\\Seen"], &letter(6))]);
        let mut expected: Vec<Stored> =
            as_served(&setup, at, &odd).iter().enumerate().map(|(n, bytes)| stored(7 + n as u64, &[], bytes)).collect();
        expected.sort();
        assert_eq!(in_folder(&format!("{prefix}{cur}")), &expected);
        let mut samples = as_served(&setup, at, &samples);
        samples.sort();
        let mut there: Vec<Vec<u8>> =
            in_folder(&format!("{prefix}corpus")).iter().map(|stored| stored.bytes.clone()).collect();
        there.sort();
        assert_eq!(shown(&there), shown(&samples));

        setup.restored(at, &[], 0, &format!("0 put back, {all} there already, 0 failed"));
        assert_eq!(account(&setup.lab, at, JOE), got);
        assert_eq!(snapshot(&setup.archive.spool()), before, "the archive");
        // New folders are shown by programs that list subscribed ones.
        let mut wire = Wire::connect(&setup.lab, at);
        wire.login(Kind::Imap, JOE);
        assert!(String::from_utf8(wire.imap_ok("LSUB \"\" *")).unwrap().contains(work));
    }
}

/// What a person would call the same message is not put there again, and what he would not is.
#[test]
fn the_same_message_is_told_from_another_one() {
    let setup = Setup::new();
    let dovecot = Dovecot::start(&setup.lab);
    let at = plain(&dovecot);
    let mailbox = dovecot.mailbox(JOE);
    // By mbsync, which adds a field to each message that it uploads.
    let source = setup.lab.folder("mbsync").join("mail");
    put(&source, "new", "1.x", DATE, &letter(1));
    put(&source, "cur", "2.x:2,S", DATE, b"Subject: no id at all\r\n\r\nby mbsync\r\n");
    let rc = format!(
        "IMAPStore far\nHost localhost\nPort {}\nUser {JOE}\nPass {PASSWORD}\nSSLType None\nAuthMechs LOGIN\n\nMaildirStore near\n\
         Inbox {}\nSubFolders Maildir++\n\nChannel c\nFar :far:\nNear :near:\nPatterns INBOX\nSync PushNew\nExpunge None\nSyncState {}/\n",
        at.port,
        source.display(),
        setup.lab.folder("state").display()
    );
    private(&setup.lab.path().join("rc"), &rc);
    run_with_input("mbsync", &["-c", "rc", "c"], b"", setup.lab.path()).ok();
    // The server gave this one an id when it came.
    let without_id = b"Received: from a by b; Tue, 14 Nov 2023 22:13:20 +0000\r\nSubject: x\r\n\r\nbody\r\n";
    mailbox.put("INBOX", Place::New, &[b"Message-ID: <given@server>\r\n", &without_id[..]].concat());
    // By POP3 a message gets its last line's end; and the server changed something in its text.
    mailbox.put("INBOX", Place::New, &replaced(&letter(2), "Bye.\r\n", "Bye, sad man."));
    assert_eq!(account(&setup.lab, at, JOE)["INBOX"].len(), 4);

    let keep = |bytes: &[u8]| drop(setup.archive.keep(MAILDIR, "", "", bytes));
    keep(&letter(1));
    keep(b"Subject: no id at all\r\n\r\nby mbsync\r\n");
    keep(without_id);
    keep(&letter(2));
    setup.restored(at, &[], 0, "0 put back, 4 there already, 0 failed");

    // Another way here: a mailing list's copy.
    let by_list = [b"Received: from list by b; Tue, 14 Nov 2023 22:13:21 +0000\r\n", &letter(1)[..]].concat();
    keep(&by_list);
    // The same but for the last line's end is the same.
    keep(&[&by_list[..], b"\r\n"].concat());
    // The same bytes in two files, as after a copy within the archive.
    put(&setup.archive.spool().join(MAILDIR), "cur", "1700000001.M1P1.dovecot:2,S", DATE, &letter(7));
    put(&setup.archive.spool().join(MAILDIR), "cur", "1700000002.M1P1.dovecot:2,S", DATE, &letter(7));
    // Without anything that tells them apart but the text.
    keep(b"Subject: no id at all\r\n\r\nanother text\r\n");
    // The same id and header, and another text: two messages.
    keep(&replaced(&letter(8), "Bye.", "Bye 1."));
    keep(&replaced(&letter(8), "Bye.", "Bye 2."));
    setup.restored(at, &[], 0, "5 put back, 4 there already, 0 failed, 2 twice in the archive");
    let got = account(&setup.lab, at, JOE);
    for bytes in [&by_list, &letter(7), &b"Subject: no id at all\r\n\r\nanother text\r\n".to_vec()] {
        assert_eq!(got["INBOX"].iter().filter(|stored| &stored.bytes == bytes).count(), 1);
    }
    setup.restored(at, &[], 0, "0 put back, 9 there already, 0 failed, 2 twice in the archive");

    // The account has another one, which only its text tells from ours, and only the way that it came.
    mailbox.put("INBOX", Place::New, b"Subject: no id either\r\n\r\ntheirs\r\n");
    mailbox.put("INBOX", Place::New, &replaced(&letter(20), "from a by b", "from list by b"));
    keep(b"Subject: no id either\r\n\r\nours\r\n");
    keep(&letter(20));
    setup.restored(at, &[], 0, "2 put back, 9 there already, 0 failed, 2 twice in the archive");
    setup.restored(at, &[], 0, "0 put back, 11 there already, 0 failed, 2 twice in the archive");

    // In a folder of its own all are missing, unless it is asked for what lies anywhere.
    setup.restored(
        at,
        &["--into", "Back/Here", "--anywhere"],
        0,
        "0 put back, 11 there already, 0 failed, 2 twice in the archive",
    );
    setup.restored(
        at,
        &["--into", "Back/Here", "--folder", "inbox"],
        0,
        "11 put back, 0 there already, 0 failed, 2 twice in the archive",
    );
    assert_eq!(account(&setup.lab, at, JOE)["Back/Here"].len(), 11);
}

#[test]
fn what_is_selected_is_put_back_and_nothing_else() {
    let setup = Setup::new();
    let dovecot = Dovecot::start(&setup.lab);
    let at = plain(&dovecot);
    let long = format!(
        "Subject: long\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
        Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>Die Vertr=E4ge<br>\r\n\
        sind <b>da</b></p>\r\n--b\r\nContent-Type: application/pdf; name=\"=?utf-8?q?R=C3=A9sum=C3=A9?=.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n\
        {}\r\n--b--\r\n",
        "aGlkZGVu"
    );
    setup.archive.keep(MAILDIR, "", "", long.as_bytes());
    setup.archive.keep(
        MAILDIR,
        ".Work",
        "",
        "Subject: =?utf-8?b?R3LDvMOf?=\r\n =?utf-8?b?ZQ==?= an alle\r\n\r\nx\r\n".as_bytes(),
    );
    setup.archive.keep(MAILDIR, ".Work.A&-B", "", &letter(3));
    setup.archive.keep(MAILDIR, ".Workers", "", "Subject: raw \u{e9}t\u{e9}\r\n\r\nx\r\n".as_bytes());
    let selects = |args: &[&str], folders: &[&str]| {
        let mut all = args.to_vec();
        all.extend(["--dry-run", "-v"]);
        let output = setup.restore(at, &all);
        let text = output.text();
        let said: Vec<&str> = text
            .lines()
            .filter(|line| line.contains(" to put back"))
            .map(|line| line.split([':', ' ']).next().unwrap())
            .collect();
        assert_eq!(said, folders, "{args:?}: {text}{}", output.errors());
    };
    let all = ["INBOX", "Work", "Work/A&B", "Workers"];
    selects(&[], &all);
    selects(&["--folder", "Work"], &["Work"]);
    selects(&["--folder", "Work/*"], &["Work", "Work/A&B"]);
    selects(&["--folder", "Work/A&B", "--folder", "INBOX"], &["INBOX", "Work/A&B"]);
    for (text, folders) in [
        ("VERTRÄGE SIND DA", &["INBOX"][..]),
        ("résumé.pdf", &["INBOX"]),
        ("hidden", &[]),
        ("grüsse an alle", &["Work"]),
        ("letter 3", &["Work/A&B"]),
        ("e\u{301}te\u{301}", &["Workers"]),
        ("subject: raw", &["Workers"]),
    ] {
        let found = setup.restore(at, &["--dry-run", "--match", text]);
        if folders.is_empty() {
            assert!(
                found.code == Some(1) && found.errors().contains("no message is selected"),
                "{text}: {}",
                found.text()
            );
        } else {
            selects(&["--match", text], folders);
        }
    }
    selects(&["--match", "letter", "--match", "bye"], &["Work/A&B"]);
    // One an hour from 13 September 2020, 12:26:40 UTC.
    selects(&["--since", "2020-09-13"], &all);
    selects(&["--until", "2020-09-13"], &all);
    selects(&["--since", "2020-09-13T13:26:40"], &all[1..]);
    selects(&["--until", "2020-09-13T13:26:40"], &all[..1]);
    for wrong in [["--since", "13.9.2020"], ["--until", "2020-02-30"], ["--since", "2020-09-13T25:00"]] {
        let output = setup.restore(at, &wrong);
        assert!(output.code == Some(2) && output.errors().contains("is no date"), "{}", output.errors());
    }
    let output = setup.restore(at, &["--folder", "Nowhere"]);
    assert!(
        output.code == Some(1) && output.errors().contains("there are INBOX, Work, Work/A&B, Workers"),
        "{}",
        output.errors()
    );
}

#[test]
fn the_way_there_is_safe_or_is_not_gone() {
    let setup = Setup::new();
    let dovecot = Dovecot::start(&setup.lab);
    setup.archive.keep(MAILDIR, "", "", &letter(1));
    setup.restored(dovecot.endpoint(Kind::Imap, Tls::Implicit), &[], 0, "1 put back, 0 there already, 0 failed");
    setup.restored(dovecot.endpoint(Kind::Imap, Tls::StartTls), &[], 0, "0 put back, 1 there already, 0 failed");
    let fails = |url: &str, more: &[&str], code: i32, why: &str| {
        let mut args = vec![JOE, "-c", "INI", "--user", JOE, "--to", url];
        let ini = setup.archive.ini();
        args[2] = &ini;
        args.extend(more);
        let output = run_script(&setup.lab, "restore", &args);
        let said = output.errors();
        assert!(output.code == Some(code) && said.contains(why), "{url} {more:?}: {said}");
        assert!(!said.contains("Traceback") && !said.contains(PASSWORD), "{said}");
    };
    let [imap, imaps] = [Tls::None, Tls::Implicit].map(|tls| dovecot.endpoint(Kind::Imap, tls).port);
    let (secure, clear) = (format!("imaps://localhost:{imaps}"), format!("imap://localhost:{imap}"));
    let secret = ["--password-file", "secret"];
    let ca = setup.lab.ca().display().to_string();
    // The system does not know our authority.
    fails(&secure, &secret, 1, "its certificate cannot be trusted");
    fails(&clear, &secret, 1, "its certificate cannot be trusted");
    fails(&secure, &[&secret[..], &["--no-tls"]].concat(), 2, "--no-tls goes with imap://");
    fails(&format!("imaps://joe:{PASSWORD}@localhost"), &secret, 2, "names a user");
    fails("localhost", &secret, 2, "begins neither with imaps://");
    fails(&clear, &["--no-tls", "--password", PASSWORD], 2, "unrecognized arguments: --password;");
    fails("imap://localhost:1", &[&secret[..], &["--no-tls"]].concat(), 1, "Connection refused");
    // Nobody to ask.
    let mut alone = std::process::Command::new("setsid");
    alone.arg("--wait").arg(script("restore")).args([
        JOE,
        "-c",
        &setup.archive.ini(),
        "--user",
        JOE,
        "--to",
        &clear,
        "--no-tls",
    ]);
    let output = alone.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.code() == Some(1) && String::from_utf8_lossy(&output.stderr).contains("there is no terminal")
    );
    private(&setup.lab.path().join("wrong"), "wr0ng-Pa55\n");
    fails(&clear, &["--no-tls", "--password-file", "wrong"], 1, "refuses the login of joe@example.com");

    let without = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = without.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let mut client = BufReader::new(without.accept().unwrap().0);
        client.get_mut().write_all(b"* OK hello\r\n").unwrap();
        let mut said = String::new();
        while client.read_line(&mut said).unwrap() > 0 {
            let tag = said.lines().last().unwrap().split(' ').next().unwrap();
            let answer = format!("* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n{tag} OK done\r\n");
            client.get_mut().write_all(answer.as_bytes()).unwrap();
        }
        said
    });
    fails(&format!("imap://localhost:{port}"), &secret, 1, "offers no STARTTLS");
    let said = server.join().unwrap();
    assert!(!said.contains("AUTH") && !said.contains("LOGIN "), "{said}");
    let other =
        Dovecot::with(&setup.lab, DovecotOptions { certificate: Some(setup.lab.wrong_name()), ..Default::default() });
    let port = other.endpoint(Kind::Imap, Tls::Implicit).port;
    fails(
        &format!("imaps://localhost:{port}"),
        &[&secret[..], &["--ca", &ca]].concat(),
        1,
        "its certificate cannot be trusted",
    );
}

/// Where the one who listens waits for the other to begin, nobody waits for long, and it is told what to try instead.
#[test]
fn at_a_port_of_another_kind_it_gives_up_soon_and_says_what_to_try() {
    let setup = Setup::new();
    let dovecot = Dovecot::start(&setup.lab);
    // An owner each: one run at a time for the same one.
    for user in ["a", "b", "c", "d"] {
        setup.archive.keep(&format!("example.com/{user}"), "", "", &letter(1));
    }
    let [clear, secure] = [Tls::None, Tls::Implicit].map(|tls| dovecot.endpoint(Kind::Imap, tls).port);
    // It takes connections, and never says a word.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap().port();
    let ini = setup.archive.ini();
    let tried = |user: &str, url: String, more: &[&str], why: &str| {
        let args = [user, "-c", &ini, "--user", JOE, "--to", &url, "--password-file", "secret"];
        let began = Instant::now();
        let output = run_script(&setup.lab, "restore", &[&args, more].concat());
        let said = output.errors();
        assert!(output.code == Some(1) && said.contains(why), "{url} {more:?}: {said}");
        assert!(began.elapsed() < Duration::from_secs(60), "{url} {more:?}: {:?}", began.elapsed());
    };
    let waits = "nothing comes from there within 20 s; where TLS is spoken from the start, write imaps://";
    let silence = "nothing comes from there within 20 s; where it begins by STARTTLS, write imap://";
    let plain = "no TLS is spoken there from the start; where it begins by STARTTLS, write imap://";
    let without = format!("{waits} and leave --no-tls out");
    thread::scope(|scope| {
        scope.spawn(|| tried("a@example.com", format!("imap://localhost:{secure}"), &[], waits));
        scope.spawn(|| tried("b@example.com", format!("imap://localhost:{secure}"), &["--no-tls"], &without));
        scope.spawn(|| tried("c@example.com", format!("imaps://127.0.0.1:{silent}"), &[], silence));
        scope.spawn(|| tried("d@example.com", format!("imaps://localhost:{clear}"), &[], plain));
    });
}

/// From a descriptor, from the terminal, and a token in its place; nowhere is it seen.
#[test]
fn the_password_comes_from_a_descriptor_or_the_terminal() {
    let setup = Setup::new();
    let dovecot = Dovecot::start(&setup.lab);
    setup.archive.keep(MAILDIR, "", "", &letter(1));
    let script = script("restore").display().to_string();
    let clear = format!("imap://localhost:{}", dovecot.imap());
    let line = format!("{script} {JOE} -c {} --user {JOE} --to {clear} --no-tls", setup.archive.ini());
    let run = |line: &str| {
        let output = run_with_input("sh", &["-c", line], b"", setup.lab.path()).ok();
        assert!(output.text().contains(" put back") && !output.text().contains(PASSWORD));
        output.text()
    };
    assert!(run(&format!("{line} --password-fd 3 3<secret")).contains("\n1 put back"));
    assert!(run(&format!("{line} --password-fd 0 <secret")).contains("\n0 put back"));
    let token = dovecot::token(JOE);
    private(&setup.lab.path().join("token"), &token);
    assert!(run(&format!("{line} --oauth --password-fd 4 4<token")).contains("\n0 put back"));
    let asked = "
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv('/bin/sh', ['sh', '-c', sys.argv[1]])
said, told = b'', False
while True:
    try:
        data = os.read(terminal, 4096)
    except OSError:
        break
    if not data:
        break
    said += data
    if b'Password of' in said and not told:
        told = True
        os.write(terminal, sys.argv[2].encode() + b'\\n')
print(said.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";
    let output = run_with_input("/usr/bin/python3", &["-c", asked, &line, PASSWORD], b"", setup.lab.path()).ok().text();
    assert!(output.contains(&format!("Password of {JOE} at {clear}: ")) && output.trim().ends_with(" 0"), "{output}");
    assert!(output.contains("0 put back") && !output.contains(PASSWORD), "{output}");
}

#[test]
fn what_the_server_refuses_is_told_and_the_rest_goes_on() {
    let setup = Setup::new();
    // Larger than 20 KB: none. All together: 60 KB.
    let extra = "mail_plugins = quota\nprotocol imap {\n  mail_plugins = quota imap_quota\n}\nplugin {\n  quota = maildir:User quota\n  \
                 quota_rule = *:storage=60K\n  quota_grace = 0\n  quota_max_mail_size = 20K\n}\n";
    let dovecot = Dovecot::with(&setup.lab, DovecotOptions { extra, ..Default::default() });
    let at = plain(&dovecot);
    setup.archive.keep(MAILDIR, "", "", &letter(1));
    setup.archive.keep(MAILDIR, "", "", &corpus::sized("too large", 30_000));
    setup.archive.keep(MAILDIR, ".Work", "", &letter(2));
    let output = setup.restored(at, &[], 1, "2 put back, 0 there already, 1 failed");
    assert!(output.errors().contains("too large: the server refuses it: "), "{}", output.errors());
    assert_eq!(contents(&account(&setup.lab, at, JOE)), [letter(1), letter(2)]);

    for number in 0..8 {
        setup.archive.keep(MAILDIR, ".Many", "", &corpus::sized(&format!("many {number}"), 10_000));
    }
    setup.archive.keep(MAILDIR, ".Small", "", &letter(3));
    let output = setup.restore(at, &["--folder", "Many", "--folder", "Small"]);
    assert_eq!(output.code, Some(1));
    assert!(output.errors().contains("the account is full: make room there"), "{}", output.errors());
    let got = account(&setup.lab, at, JOE);
    assert!((3..=6).contains(&got["Many"].len()), "{}", output.text());
    assert_eq!(got["Small"].len(), 1, "a small one has room: {}{}", output.text(), output.errors());
}

/// A server that makes no folder of some name.
#[test]
fn a_folder_that_is_refused_is_told_and_the_rest_goes_on() {
    let setup = Setup::new();
    let dovecot = Dovecot::start(&setup.lab);
    let at = plain(&dovecot);
    setup.archive.keep(MAILDIR, ".~x", "", &letter(1));
    setup.archive.keep(MAILDIR, ".Work", "", &letter(2));
    let output = setup.restored(at, &[], 1, "1 put back, 0 there already, 1 failed");
    assert!(output.errors().contains("the server makes no such folder"), "{}", output.errors());
    assert_eq!(account(&setup.lab, at, JOE)["Work"].len(), 1);
}

/// Ended by SIGKILL over and over in the middle, and begun again: all is there in the end, and nothing twice.
#[test]
fn killed_in_the_middle_it_goes_on_where_it_was() {
    let setup = Setup::new();
    let dovecot = Dovecot::start(&setup.lab);
    let at = plain(&dovecot);
    let count = 150;
    for number in 0..count {
        setup.archive.keep(MAILDIR, if number % 2 == 0 { "" } else { ".Work" }, "", &letter(number));
    }
    let args = setup.args(at, &["-v"]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    for round in 0..8 {
        let mut command = script_command(&setup.lab, "restore", &args);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // A line for each message, just before it is sent.
        assert!(lines.by_ref().map_while(Result::ok).take(3 + 2 * round).count() == 3 + 2 * round);
        let signal = [Signal::SIGKILL, Signal::SIGINT, Signal::SIGTERM][round % 3];
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let status = child.wait().unwrap();
        assert!(status.code().is_none_or(|code| [130, 143].contains(&code)), "{status:?}");
    }
    // What the last one had sent may come a moment later.
    let output = setup.restore(at, &[]);
    assert_eq!(output.code, Some(0), "{}", output.errors());
    let mut expected: Vec<Vec<u8>> = (0..count).map(letter).collect();
    expected.sort();
    assert_eq!(contents(&account(&setup.lab, at, JOE)), expected);
}

/// Passes connections on to a server; the first `cuts` are cut after so many octets from the client.
fn cutting(port: u16, after: usize, cuts: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut up, mut down) = ((client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client));
            thread::spawn(move || {
                let mut left = if number < cuts { after } else { usize::MAX };
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = up.0.read(&mut buffer) {
                    let pass = read.min(left);
                    if up.1.write_all(&buffer[..pass]).is_err() {
                        break;
                    }
                    left -= pass;
                    if left == 0 {
                        break;
                    }
                }
                let _ = up.1.shutdown(std::net::Shutdown::Both);
                let _ = up.0.shutdown(std::net::Shutdown::Both);
            });
            thread::spawn(move || {
                let _ = std::io::copy(&mut down.0, &mut down.1);
                let _ = down.1.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    here
}

#[test]
fn a_connection_that_is_lost_costs_one_message_at_most_and_the_next_run_brings_it() {
    let setup = Setup::new();
    let dovecot = Dovecot::start(&setup.lab);
    let at = plain(&dovecot);
    for number in 0..40 {
        setup.archive.keep(MAILDIR, "", "", &letter(number));
    }
    let once = Endpoint { port: cutting(at.port, 5_000, 1), ..at };
    let output = setup.restored(once, &[], 1, "39 put back, 0 there already, 1 failed");
    assert!(output.errors().contains("the connection was lost over it"), "{}", output.errors());
    // Lost before anything was said: to do the same again would not help.
    let never = Endpoint { port: cutting(at.port, 5, usize::MAX), ..at };
    let output = setup.restore(never, &[]);
    assert!(
        output.code == Some(1) && output.errors().contains("localhost") && !output.errors().contains("run this again"),
        "{}",
        output.errors()
    );
    assert_eq!(setup.restore(at, &[]).code, Some(0));
    let mut expected: Vec<Vec<u8>> = (0..40).map(letter).collect();
    expected.sort();
    assert_eq!(contents(&account(&setup.lab, at, JOE)), expected);
    // While much is being written: it is told all the same.
    let large = [letter(40), vec![b'x'; 20 << 20]].concat();
    setup.archive.keep(MAILDIR, "", "", &large);
    let output = setup.restore(Endpoint { port: cutting(at.port, 100_000, usize::MAX), ..at }, &[]);
    assert!(output.code == Some(1) && output.text().contains(" put back"), "{:?} {}", output.code, output.errors());
}

/// Through MailStore into the account behind it: what is put back is known, and not kept once more.
#[test]
fn through_mailstore_nothing_is_kept_twice() {
    let setup = Setup::new();
    let dovecot = Dovecot::start(&setup.lab);
    let mailbox = dovecot.mailbox(JOE);
    let bytes: Vec<Vec<u8>> = (0..5).map(letter).collect();
    bytes.iter().for_each(|bytes| mailbox.put("INBOX", Place::New, bytes));
    mailbox.put("Work", Place::New, &letter(7));
    let ini = section(&setup.lab, "a", Tls::Implicit, plain(&dovecot), UNFOLLOWED);
    let proxy = Proxy::start(&setup.lab, &ini);
    let at = proxy.endpoint(Kind::Imap, "a", Tls::Implicit);
    for path in ["/INBOX;UID=1", "/INBOX;UID=2", "/INBOX;UID=3", "/INBOX;UID=4", "/INBOX;UID=5", "/Work;UID=1"] {
        curl(&setup.lab, at, JOE, path, &[]).ok();
    }
    fs::write(setup.lab.path().join("note"), letter(6)).unwrap();
    curl(&setup.lab, at, JOE, "/Sent", &["-T", "note"]).ok();
    let kept = proxy.spool().list();
    assert_eq!(kept.len(), 7);
    // All is lost.
    let mut wire = Wire::connect(&setup.lab, plain(&dovecot));
    wire.login(Kind::Imap, JOE);
    for folder in ["INBOX", "Work", "Sent"] {
        wire.imap_ok(&format!("SELECT {folder}"));
        wire.imap_ok("STORE 1:* +FLAGS.SILENT (\\Deleted)");
        wire.imap_ok("EXPUNGE");
    }
    let before = account(&setup.lab, plain(&dovecot), JOE);
    assert!(before.is_empty(), "{before:?}");

    let spool = proxy.spool().path().display().to_string();
    let restore = || setup.restore(at, &["--spool", &spool]);
    assert!(restore().ok().text().contains("\n7 put back"));
    let mut expected = [0, 1, 2, 3, 4, 6, 7].map(letter).to_vec();
    expected.sort();
    assert_eq!(contents(&account(&setup.lab, plain(&dovecot), JOE)), expected);
    assert!(restore().ok().text().contains("\n0 put back"));
    assert!(proxy.spool().list() == kept, "kept twice: {}", proxy.log());
}

#[test]
fn what_is_no_message_or_cannot_be_read_stops_nothing() {
    let setup = Setup::new();
    let dovecot = Dovecot::start(&setup.lab);
    let at = plain(&dovecot);
    let maildir = setup.archive.spool().join(MAILDIR);
    setup.archive.keep(MAILDIR, "", "", &letter(1));
    private(&setup.lab.path().join("outside"), "Subject: outside\r\n\r\nno message of joe's\r\n");
    std::os::unix::fs::symlink(setup.lab.path().join("outside"), maildir.join("new/1700000009.link")).unwrap();
    nix::unistd::mkfifo(&maildir.join("new/1700000009.pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir(maildir.join("new/1700000009.folder")).unwrap();
    put(&maildir, "new", "odd\nname,S=1", DATE, b"Subject: odd\x1b[2J\r\n\r\nname\r\n");
    let output = setup.restored(at, &["-v"], 0, "2 put back, 0 there already, 0 failed");
    assert!(output.text().contains("odd\\x1b[2J"), "{}", output.text());
    // As somebody else, who may not read one of them.
    if is_root() {
        let shut = setup.archive.keep(MAILDIR, "", "", &letter(2));
        fs::set_permissions(&shut, fs::Permissions::from_mode(0o000)).unwrap();
        dovecot::give_away(&setup.archive.dir);
        fs::set_permissions(setup.lab.path().join("secret"), fs::Permissions::from_mode(0o644)).unwrap();
        let args = setup.args(at, &[]);
        let mut command = vec!["--reuid=65534", "--regid=65534", "--clear-groups", "--"];
        let script = script("restore").display().to_string();
        command.push(&script);
        command.extend(args.iter().map(String::as_str));
        let output = run_with_input("setpriv", &command, b"", setup.lab.path());
        assert_eq!(output.code, Some(1), "{}", output.text());
        assert!(
            output.errors().contains("Permission denied") && output.text().contains("2 there already, 1 failed"),
            "{}",
            output.errors()
        );
    }
}

#[test]
fn owners_of_any_name_and_one_run_at_a_time() {
    let setup = Setup::new();
    let dovecot = Dovecot::start(&setup.lab);
    let ini = setup.archive.ini();
    let port = dovecot.imap().to_string();
    let url = format!("imap://localhost:{port}");
    for (owner, maildir) in [
        ("a'b@example.com", "example.com/a'b"),
        ("a b@example.com", "example.com/a b"),
        ("a%2Fb@example.com", "example.com/a%252fb"),
        ("jürgen@exämple.com", "exämple.com/jürgen"),
        ("-x@example.com", "example.com/-x"),
        (".hidden@example.com", "example.com/%2Ehidden"),
    ] {
        setup.archive.keep(maildir, "", "", &letter(1));
        let args = [
            "-c",
            &ini,
            "--user",
            JOE,
            "--to",
            &url,
            "--no-tls",
            "--password-file",
            "secret",
            "--dry-run",
            "--",
            owner,
        ];
        let output = run_script(&setup.lab, "restore", &args).ok();
        assert!(output.text().contains("\n1 would be put back"), "{owner}: {}", output.text());
    }
    let held = fs::File::open(setup.archive.spool().join("example.com/a'b")).unwrap();
    let lock = nix::fcntl::Flock::lock(held, nix::fcntl::FlockArg::LockExclusive).unwrap();
    let args = ["a'b@example.com", "-c", &ini, "--user", JOE, "--to", &url, "--no-tls", "--password-file", "secret"];
    let output = run_script(&setup.lab, "restore", &args);
    assert!(output.code == Some(1) && output.errors().contains("another restore or import of this owner is running"));
    drop(lock);
    run_script(&setup.lab, "restore", &args).ok();
    // Nothing kept of him, and no spool at all.
    let output = run_script(&setup.lab, "restore", &[&["nobody"], &args[1..]].concat());
    assert!(
        output.code == Some(1) && output.errors().contains("nothing is kept of such an owner"),
        "{}",
        output.errors()
    );
    let output = run_script(&setup.lab, "restore", &[&args[..], &["--spool", "not-there"]].concat());
    assert!(output.code == Some(1) && output.errors().contains("there is no such folder"), "{}", output.errors());
}
