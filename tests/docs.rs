//! What `docs/` tells the administrator to install and to type is used here as it stands there. Only what is his own is put in its
//! place: paths, ports, names of users and hosts.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::client::{curl, run_with_input};
use support::dovecot::{Configured, entries, mail_names, owned};
use support::lab::is_root;
use support::page::with;
use support::spool::{received, sent};
use support::*;

const README: &str = include_str!("../README.md");
const SETUP: &str = include_str!("../docs/setup.md");
const CERTIFICATES: &str = include_str!("../docs/certificates.md");
const DOVECOT: &str = include_str!("../docs/dovecot.md");
const COURIER: &str = include_str!("../docs/courier.md");
const ON_MAILDIR: &str = include_str!("../docs/clients-on-maildir.md");
const BACKUP: &str = include_str!("../docs/backup.md");
const RESTORE: &str = include_str!("../docs/restore.md");

const JOE: &str = "joe@example.com";
const ARCHIVE_PASSWORD: &str = "change me";
/// Where the configuration lies, in the pages.
const INI: &str = "/etc/mailstore/mailstore.ini";

/// The indented lines of a text that begin so, without their indent.
#[track_caller]
fn command<'a>(text: &'a str, start: &str) -> &'a str {
    let found =
        text.lines().filter(|line| line.starts_with("    ")).map(str::trim).find(|line| line.starts_with(start));
    found.unwrap_or_else(|| panic!("there is no command that begins with {start:?}"))
}

#[track_caller]
fn sh(command: &str, folder: &Path) -> Output {
    run_with_input("/bin/sh", &["-c", command], b"", folder).ok()
}

/// `mailstore.ini` of docs/setup.md before this provider, in a folder of its own, which is given.
fn proxies(lab: &Lab, provider: &Dovecot) -> (Proxy, PathBuf) {
    let dir = lab.folder("etc");
    let (certificate, ca) = (lab.certificate(), lab.ca());
    let upstream = |kind| {
        format!("upstream = localhost:{}\nupstream_ca = {}", provider.endpoint(kind, Tls::Implicit).port, ca.display())
    };
    // Nothing is sent here.
    let nobody = format!("upstream = localhost:{}\nupstream_ca = {}", 9, ca.display());
    let user = if is_root() { format!("user = {}\n", mail_names().0) } else { String::new() };
    let ini = SETUP.split("```ini\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the example");
    let ini = with(
        ini,
        &[
            ("/var/lib/mailstore/mailSpool", "mailSpool"),
            ("user = mailstore\n", &user),
            ("0.0.0.0:995", "127.0.0.1:0"),
            ("0.0.0.0:993", "127.0.0.1:0"),
            ("0.0.0.0:465", "127.0.0.1:0"),
            ("/etc/mailstore/cert.pem", certificate.chain.to_str().unwrap()),
            ("/etc/mailstore/key.pem", certificate.key.to_str().unwrap()),
            ("upstream = pop.example.com:995", &upstream(Kind::Pop3)),
            ("upstream = imap.example.com:993", &upstream(Kind::Imap)),
            ("upstream = smtp.example.com:465", &nobody),
        ],
    );
    fs::write(dir.join("mailstore.ini"), ini).unwrap();
    fs::create_dir(dir.join("mailSpool")).unwrap();
    private_to_mail(&dir.join("mailSpool"));
    (Proxy::start_in(&dir), dir)
}

/// As MailStore makes it.
fn private_to_mail(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
    owned(dir);
}

fn at(kind: Kind, port: u16) -> Endpoint {
    Endpoint { kind, port, tls: Tls::Implicit }
}

/// Dovecot over the spool in this folder, as docs/dovecot.md sets it up: by its commands.
fn archive(lab: &Lab, dir: &Path) -> Configured {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/");
    let ours = |command: &str| {
        let ini = dir.join("mailstore.ini");
        with(command, &[("scripts/", scripts.to_str().unwrap()), (INI, ini.to_str().unwrap())])
    };
    let (set_up, add) =
        (ours(command(DOVECOT, "scripts/dovecot-archive")), ours(command(DOVECOT, "scripts/archive-user add")));
    run_with_input("/bin/sh", &["-c", &format!("{add} --password-fd 0")], ARCHIVE_PASSWORD.as_bytes(), lab.path()).ok();
    let etc = lab.folder("dovecot-etc");
    Configured::start(lab, |port| {
        // The other port is another archive's, it may be, in another test.
        let ports = format!("--force --port {port} --starttls-port 0");
        sh(&format!("{} {ports}", with(&set_up, &[("/etc/dovecot", etc.to_str().unwrap())])), lab.path());
        fs::read_to_string(etc.join("dovecot.conf")).unwrap()
    })
}

/// Logs in to the archive, TLS checked.
fn read_archive(lab: &Lab, port: u16, user: &str) -> Wire {
    let mut wire = Wire::connect(lab, at(Kind::Imap, port));
    wire.imap_ok(&format!("LOGIN \"{user}\" \"{ARCHIVE_PASSWORD}\""));
    wire
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn from_nothing_to_a_message_put_back() {
    let lab = Lab::new();
    let provider = Dovecot::start(&lab);
    let inbox: Vec<Vec<u8>> = ["Lunch", "The contract"]
        .map(|subject| {
            format!("From: ann@example.org\r\nSubject: {subject}\r\n\r\n.\r\n{subject}, no newline").into_bytes()
        })
        .into();
    let report = b"Subject: Report\r\n\r\n\xe9\r\n".to_vec();
    let note = b"Subject: Sent by Joe\r\n\r\nBye.\r\n".to_vec();
    let mailbox = provider.mailbox(JOE);
    inbox.iter().for_each(|message| mailbox.put("INBOX", Place::New, message));
    mailbox.put("Work/Reports", Place::New, &report);

    // Joe's mail passes: POP3, IMAP, and what he sends.
    let (proxy, dir) = proxies(&lab, &provider);
    let imap = at(Kind::Imap, proxy.port("imap"));
    // By POP3 a message gets its last line's end.
    let by_pop3 = [&inbox[1][..], b"\r\n"].concat();
    assert_eq!(curl(&lab, at(Kind::Pop3, proxy.port("pop3")), JOE, "/2", &[]).ok().stdout, by_pop3);
    assert_eq!(curl(&lab, imap, JOE, "/INBOX;UID=1", &[]).ok().stdout, inbox[0]);
    assert_eq!(curl(&lab, imap, JOE, "/INBOX;UID=2", &[]).ok().stdout, inbox[1]);
    assert_eq!(curl(&lab, imap, JOE, "/Work%2FReports;UID=1", &[]).ok().stdout, report);
    fs::write(lab.path().join("note"), &note).unwrap();
    curl(&lab, imap, JOE, "/Sent", &["-T", "note"]).ok();
    let kept = [
        received(JOE, "", &by_pop3),
        received(JOE, "", &inbox[0]),
        received(JOE, "", &inbox[1]),
        received(JOE, "Work.Reports", &report),
        sent(JOE, &note),
    ];
    proxy.spool().holds(&kept);

    // The archive.
    let archive = archive(&lab, &dir);
    let mut wire = Wire::connect(&lab, at(Kind::Imap, archive.port));
    for wrong in [format!("LOGIN {JOE} {PASSWORD}"), format!("LOGIN ann@example.com \"{ARCHIVE_PASSWORD}\"")] {
        assert!(text(&wire.imap(&wrong)).contains(" NO "), "{wrong}");
    }
    let mut wire = read_archive(&lab, archive.port, "Joe@Example.COM");
    let list = text(&wire.imap_ok("LIST \"\" *"));
    assert!(list.contains("\\Sent) \".\" Sent\r\n") && list.contains("\".\" Work.Reports\r\n"), "{list}");
    assert!(text(&wire.imap_ok("LSUB \"\" *")).contains("\".\" Sent\r\n"));
    for (folder, expected) in
        [("INBOX", vec![&inbox[0], &inbox[1], &by_pop3]), ("Sent", vec![&note]), ("Work.Reports", vec![&report])]
    {
        wire.imap_ok(&format!("SELECT {folder}"));
        let mut served = wire::literals(&wire.imap_ok("UID FETCH 1:* BODY[]"));
        served.sort();
        let mut expected: Vec<Vec<u8>> = expected.into_iter().cloned().collect();
        expected.sort();
        assert_eq!(served, expected, "{folder}");
    }
    // Nothing of Dovecot's is in the spool but what the Maildirs are made of.
    let maildir = dir.join("mailSpool/example.com/joe");
    for folder in ["", ".Sent", ".Work.Reports"] {
        for entry in entries(&maildir.join(folder)) {
            let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
            let known = ["cur", "new", "tmp", "maildirfolder", ".Sent", ".Work", ".Work.Reports"];
            assert!(known.contains(&name.as_str()) || name.starts_with("mailstore-"), "{}", entry.display());
        }
    }

    assert!(text(&wire.imap_ok("LSUB \"\" *")).contains("\".\" Work.Reports\r\n"));

    // The provider loses it; the commands of docs/restore.md bring it back.
    let mut direct = Wire::connect(&lab, provider.endpoint(Kind::Imap, Tls::None));
    direct.login(Kind::Imap, JOE);
    direct.imap_ok("SELECT INBOX");
    direct.imap_ok("STORE 2 +FLAGS.SILENT (\\Deleted)");
    direct.imap_ok("EXPUNGE");
    fs::write(lab.path().join("secret"), PASSWORD).unwrap();
    let script = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name);
        format!("{} -c {} ", path.display(), dir.join("mailstore.ini").display())
    };
    // Through MailStore, as the page says one may.
    let restore = |command: &str| {
        let safe = format!("{}--ca {} --password-file secret ", script("restore"), lab.ca().display());
        let here = format!("imaps://localhost:{}", imap.port);
        sh(&with(command, &[("mailstore-restore ", &safe), ("imaps://imap.example.com", &here)]), lab.path()).text()
    };
    let look = command(RESTORE, "mailstore-restore");
    assert!(look.ends_with(" --dry-run -v"), "{look}");
    let found = restore(look);
    assert!(
        found.contains(
            ", The contract\nINBOX: 1 to put back, 0 there already, 1 twice in the archive\n1 would be put back ("
        ),
        "{found}"
    );
    direct.imap_ok("NOOP");
    assert!(text(&direct.imap("FETCH 2 UID")).contains("BAD"), "a dry run has put something there");
    let put = look.strip_suffix(" --dry-run -v").unwrap();
    let done = restore(put);
    assert!(RESTORE.contains(&format!("    {}\n", put)), "the page's second line");
    assert!(done.contains("INBOX: 1 put back, 0 there already, 1 twice"), "{done}");
    direct.imap_ok("NOOP");
    let lost = wire::literals(&direct.imap_ok("FETCH 2 BODY.PEEK[]")).remove(0);
    assert!(lost == inbox[1] || lost == by_pop3);
    // It was kept already.
    proxy.tells_of("duplicate owner=joe@example.com folder=INBOX");

    // And as a file.
    for line in RESTORE.lines().map(str::trim).filter(|line| line.starts_with("mailstore-export ")) {
        let line = with(line, &[("mailstore-export ", &script("export"))]);
        sh(&line.replace("--since 2025-01-01 ", ""), lab.path());
    }
    for file in ["joe.zip", "contract.zip", "joe/INBOX.mbox", "joe/Sent.mbox", "joe/Work.Reports.mbox"] {
        assert!(lab.path().join(file).is_file(), "{file}");
    }
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        // Dovecot may have taken a file away meanwhile.
        for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()) {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                todo.push(entry.path())
            } else {
                found.push(entry.path())
            }
        }
    }
    found
}

#[test]
fn set_up_names_the_rust_that_is_needed() {
    assert!(SETUP.contains(concat!("Rust has to be ", env!("CARGO_PKG_RUST_VERSION"), " or newer")));
}

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (folder, text) in [
        ("", README),
        ("docs", SETUP),
        ("docs", CERTIFICATES),
        ("docs", DOVECOT),
        ("docs", COURIER),
        ("docs", ON_MAILDIR),
        ("docs", BACKUP),
        ("docs", RESTORE),
    ] {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            assert!(root.join(folder).join(file).exists(), "{link} in\n{text}");
        }
        for file in text.split([' ', '\n']).filter(|word| word.starts_with("docs/")) {
            let file = file.trim_end_matches([',', '.', ':', ';', ')']);
            assert!(root.join(file).exists(), "{file} in\n{text}");
        }
    }
}

/// Every test and file that SECURITY.md names is there.
#[test]
fn what_security_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let security = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let sources: String = ["src", "tests"]
        .iter()
        .flat_map(|dir| files(&root.join(dir)))
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let (mut tests, mut paths) = (0, 0);
    for name in security.split('`').skip(1).step_by(2) {
        if ["tests/", "scripts/", "src/"].iter().any(|start| name.starts_with(start)) {
            let path = name.split(' ').next().unwrap();
            assert!(root.join(path).exists(), "{path} is not there");
            paths += 1;
        } else if name.matches('_').count() > 3
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        {
            assert!(sources.contains(&format!("fn {name}(")), "there is no test {name}");
            tests += 1;
        }
    }
    assert!(tests > 50 && paths > 5, "{tests} tests and {paths} files are named");
}
