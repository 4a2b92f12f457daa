//! Other ways to read the archive: mail programs right on a Maildir, by the commands of docs/clients-on-maildir.md, and Courier-IMAP, of which
//! docs/courier.md says what it does.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use support::archive::Archive;
use support::client::run_with_input;
use support::dovecot::{enter, entries, mail_names, unpacked};
use support::lab::is_root;
use support::spool::hash;
use support::*;

const PAGE: &str = include_str!("../docs/clients-on-maildir.md");
const COURIER: &str = include_str!("../docs/courier.md");

const LUNCH: &[u8] = b"From: ann@example.org\r\nSubject: Lunch\r\n\r\nToday?\r\n";
const CONTRACT: &[u8] =
    b"From: ann@example.org\r\nMessage-ID: <c@example.org>\r\nSubject: The contract\r\n\r\nSigned.\r\nno newline";

/// Joe's Maildir: three messages in the inbox, one of them marked as deleted by somebody, and one in Sent.
fn joes(lab: &Lab) -> Archive {
    let archive = Archive::new(lab, "");
    archive.put("example.com/joe", "", LUNCH, "");
    archive.put("example.com/joe", "", CONTRACT, "");
    archive.put("example.com/joe", "", b"Subject: Trash\r\n\r\nx\r\n", ":2,ST");
    archive.put("example.com/joe", ".Sent", b"Subject: Re: The contract\r\n\r\nThanks.\r\n", ":2,S");
    archive.put("example.com/joe", ".&AMQ-rger", b"Subject: Trouble\r\n\r\nx\r\n", "");
    archive
}

/// The commands of the page that begin so, with Joe's Maildir in the place of the page's and a folder in the place of root's.
fn commands(start: &str, archive: &Archive, root: &Path) -> Vec<String> {
    let maildir = archive.spool().join("example.com/joe").display().to_string();
    let lines = PAGE.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| line.starts_with(start));
    let found: Vec<String> = lines
        .map(|line| {
            line.replace("/var/lib/mailstore/mailSpool/example.com/joe", &maildir)
                .replace("/root", root.to_str().unwrap())
        })
        .collect();
    assert!(!found.is_empty() && found.iter().all(|line| !line.contains("/var/lib")), "{start}: {found:?}");
    found
}

fn sh(command: &str, home: &Path) -> Output {
    run_with_input("/bin/sh", &["-c", command], b"", home)
}

/// Runs a program that wants a terminal, at which nobody types. (`script` would type the end of its input.)
fn on_a_terminal(command: &str, home: &Path) -> Output {
    let python = "import os, pty, sys\nsys.exit(os.waitstatus_to_exitcode(pty.spawn(['/bin/sh', '-c', sys.argv[1]])))";
    run_with_input("/usr/bin/python3", &["-c", python, command], b"", home)
}

/// Every file and folder of the Maildir.
fn names(dir: &Path) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for entry in entries(dir) {
        all.insert(entry.display().to_string());
        if entry.is_dir() {
            all.append(&mut names(&entry));
        }
    }
    all
}

/// Whether every message is still there, by what its name says; the place and the flags may be others.
fn all_kept(dir: &Path, count: usize) {
    let in_place = |name: &String| name.contains(",H=") && (name.contains("/new/") || name.contains("/cur/"));
    let files: Vec<String> = names(dir).into_iter().filter(in_place).collect();
    assert_eq!(files.len(), count, "{files:#?}");
    for file in files {
        let bytes = fs::read(&file).unwrap();
        assert!(file.contains(&format!(",S={},H={}", bytes.len(), hash(&bytes))), "{file}");
    }
}

#[test]
fn mutt_reads_a_maildir_and_leaves_it_as_it_is() {
    let lab = Lab::new();
    let archive = joes(&lab);
    let maildir = archive.spool().join("example.com/joe");
    let home = lab.folder("home");
    let before = names(&maildir);
    let command = commands("mutt", &archive, &home).remove(0);
    assert!(command.starts_with("mutt -R -f "));
    // Keys are typed by a configuration of the test's own.
    let command = command.replacen("mutt ", "mutt -n -F muttrc ", 1);
    let got = home.join("got");
    let keys = format!(
        "set pipe_decode=no wait_key=no quit=yes move=no delete=yes sort=mailbox-order header_cache=\"\"\n\
         push \"<search>~s Lunch<enter><pipe-message>cat >{}<enter><quit>\"\n",
        got.display()
    );
    fs::write(home.join("muttrc"), &keys).unwrap();
    // Else it asks whether to make it.
    fs::create_dir(home.join("Mail")).unwrap();
    let said = on_a_terminal(&command, &home);
    // The line that ends the header is its own.
    let got = replaced(&fs::read(&got).unwrap_or_default(), "\r", "");
    assert_eq!(got, replaced(LUNCH, "\r", ""), "{}", said.text());
    assert_eq!(names(&maildir), before);
    // Without -R it does what the page says.
    on_a_terminal(&command.replace(" -R ", " "), &home).ok();
    assert!(entries(&maildir.join("new")).is_empty());
    all_kept(&maildir, 4);
}

#[test]
fn mblaze_reads_a_maildir_and_leaves_it_as_it_is() {
    let lab = Lab::new();
    let archive = joes(&lab);
    let maildir = archive.spool().join("example.com/joe");
    let home = lab.folder("home");
    let before = names(&maildir);
    let said: Vec<String> =
        commands("mlist", &archive, &home).iter().map(|command| sh(command, &home).ok().text()).collect();
    assert!(said[0].contains("The contract") && said[0].contains("Lunch"), "{said:?}");
    assert!(said[1].contains("The contract") && !said[1].contains("Lunch"), "{said:?}");
    assert!(said[2].contains("Subject: The contract") && said[2].contains("Signed."), "{said:?}");
    assert_eq!(names(&maildir), before);
}

#[test]
fn notmuch_searches_a_maildir_and_leaves_it_as_it_is() {
    let lab = Lab::new();
    let archive = joes(&lab);
    let maildir = archive.spool().join("example.com/joe");
    fs::write(maildir.join("mailstore-kept"), "notes of MailStore's\n").unwrap();
    let root = lab.folder("root");
    let config = PAGE.split("```ini\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the configuration");
    let config = config
        .replace("/var/lib/mailstore/mailSpool/example.com/joe", maildir.to_str().unwrap())
        .replace("/root", root.to_str().unwrap());
    fs::create_dir(root.join("notmuch-joe")).unwrap();
    let file = root.join("notmuch-joe/config");
    fs::write(&file, &config).unwrap();
    let before = names(&maildir);
    let said: Vec<Output> =
        commands("NOTMUCH_CONFIG", &archive, &root).iter().map(|command| sh(command, &root).ok()).collect();
    assert!(said[0].text().contains("Added 5 new messages"), "{}{}", said[0].text(), said[0].errors());
    assert!(!said[0].errors().contains("non-mail"), "{}", said[0].errors());
    assert!(said[1].text().contains("The contract"), "{}", said[1].text());
    let raw = said[2].stdout.clone();
    assert!(raw == CONTRACT, "{}", said[2].text());
    let tag = |what: &str| sh(&format!("NOTMUCH_CONFIG={} notmuch tag {what} -- '*'", file.display()), &root).ok();
    tag("-unread");
    assert_eq!(names(&maildir), before);
    // With its own default it renames.
    fs::write(&file, config.replace("synchronize_flags=false", "synchronize_flags=true")).unwrap();
    tag("+unread");
    tag("-unread");
    assert!(entries(&maildir.join("new")).is_empty());
    all_kept(&maildir, 5);
}

/// What Courier's `imapd` answers to these commands, on Joe's Maildir.
fn courier(archive: &Archive, commands: &[&str]) -> String {
    let user = nix::unistd::User::from_name(&mail_names().0).unwrap().unwrap();
    let settings =
        ["IMAP_KEYWORDS=1", "IMAP_ACL=1", "IMAP_USELOCKS=1", "IMAP_CAPABILITY=IMAP4rev1 ACL"].map(str::to_owned);
    let who = format!("ENTER_AS={}:{}", user.uid, user.gid);
    let maildir = archive.spool().join("example.com/joe").display().to_string();
    let words = [&settings[..], &[who], &enter(&unpacked("courier")), &["/usr/bin/imapd".to_owned(), maildir]].concat();
    // It reads one command after the other, whatever has come.
    let input: String = commands.iter().enumerate().map(|(n, command)| format!("c{n} {command}\r\n")).collect();
    let said =
        run_with_input("env", &words, (input + "x LOGOUT\r\n").as_bytes(), archive.spool().parent().unwrap()).text();
    assert!(said.starts_with("* PREAUTH") && said.contains("x OK"), "{said}");
    said
}

#[test]
fn courier_imap_does_what_its_page_says() {
    if !unpacked("courier").join("unpacked").is_file() {
        return eprintln!("skipped: there is no Courier-IMAP here; scripts/test --install fetches it");
    }
    if !is_root() {
        return eprintln!("skipped: only root can run Courier-IMAP in a folder of its own");
    }
    let lab = Lab::new();
    let archive = joes(&lab);
    let maildir = archive.spool().join("example.com/joe");
    let said = courier(
        &archive,
        &[
            "LIST \"\" *",
            "SELECT INBOX",
            "SEARCH SUBJECT contract",
            "FETCH 2 (RFC822.SIZE INTERNALDATE BODY.PEEK[])",
            "STORE 2 +FLAGS (\\Flagged $Label1)",
        ],
    );
    // A CR too many a line.
    let doubled = replaced(CONTRACT, "\r\n", "\r\r\n");
    assert!(said.contains(&format!("RFC822.SIZE {} ", doubled.len())), "{said}");
    assert!(said.contains(&*String::from_utf8_lossy(&doubled)), "{said}");
    assert!(COURIER.contains("CR CR LF"));
    assert!(said.contains("INTERNALDATE \"14-Jul-2017 02:40:01 +0000\""), "{said}");
    assert!(
        said.contains("\"INBOX.Sent\"") && said.contains("\"INBOX.&-AMQ-rger\"") && COURIER.contains("`&-AMQ-rger`"),
        "{said}"
    );
    // What it leaves, and the names of the messages.
    all_kept(&maildir, 5);
    for file in ["courierimapuiddb", "courierimapkeywords", ".Sent/courierimapacl"] {
        assert!(maildir.join(file).exists() && COURIER.contains(file.trim_start_matches(".Sent/")), "{file}");
    }
    // Not read-only.
    let said = courier(&archive, &["SETACL INBOX owner lr", "SELECT INBOX", "STORE 2 +FLAGS (\\Deleted)", "EXPUNGE"]);
    assert!(said.contains("c0 NO") && said.contains("EXPUNGE\r\n"), "{said}");
    all_kept(&maildir, 3);
    let settings = fs::read_to_string(unpacked("courier").join("etc/courier/imapd")).unwrap();
    assert!(settings.contains("\nIMAP_EMPTYTRASH=Trash:7\n") && COURIER.contains("IMAP_EMPTYTRASH=Trash:7"));
}
