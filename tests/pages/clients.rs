//! docs/clients.md: the settings for text programs are used as they stand there, by these programs, through MailStore; what new accounts are
//! found by is read by Thunderbird itself.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::page::{all_blocks, at_home, block, text};
use crate::support::client::{maildirs, private, run_getmail, run_with_input};
use crate::support::dovecot::{entries, token};
use crate::support::page::with;
use crate::support::spool::received;
use crate::support::*;

const PAGE: &str = include_str!("../../docs/clients.md");
const HOSTS: &str = include_str!("../../docs/hosts.md");
const CONFIG: &str = include_str!("../../docs/autoconfig/config-v1.1.xml");
const AUTODISCOVER: &str = include_str!("../../docs/autoconfig/autodiscover.xml");

const JOE: &str = "joe@example.com";
const BOB: &str = "bob@example.net";

/// A provider, and MailStore before it.
struct Scene {
    lab: Lab,
    provider: Dovecot,
    postfix: Postfix,
    proxy: Proxy,
    messages: Vec<Vec<u8>>,
}

impl Scene {
    /// Joe has three messages, one of them in another folder.
    fn new() -> Scene {
        let lab = Lab::new();
        let provider = Dovecot::start(&lab);
        let postfix = Postfix::start(&lab, &provider);
        let ini = with(
            block(HOSTS, "## 4. An own Postfix and Dovecot", "ini"),
            &[
                ("127.0.0.1:143", &format!("127.0.0.1:{}", provider.imap())),
                ("127.0.0.1:110", &format!("127.0.0.1:{}", provider.pop3())),
                ("127.0.0.1:587", &format!("127.0.0.1:{}", postfix.submission())),
            ],
        );
        let proxy = Proxy::start_in(&at_home(&lab, &ini));
        let messages: Vec<Vec<u8>> = (1..=3).map(|number| corpus::sized("To Joe", 1000 * number)).collect();
        let mailbox = provider.mailbox(JOE);
        mailbox.put("INBOX", Place::New, &messages[0]);
        mailbox.put("INBOX", Place::New, &messages[1]);
        mailbox.put("Work", Place::New, &messages[2]);
        Scene { lab, provider, postfix, proxy, messages }
    }

    /// A home with the password in it.
    fn home(&self) -> PathBuf {
        let home = self.lab.folder("joe");
        private(&home.join(".mail-password"), &format!("{PASSWORD}\n"));
        home
    }

    /// What the page shows for this program, with the servers of this lab, and the line for its authority where the page has one.
    fn settings(&self, kind: &str) -> String {
        let found = all_blocks(PAGE, kind);
        assert_eq!(found.len(), 1, "{kind}");
        let ports = [("imap", "993"), ("pop3", "995"), ("smtp", "465")]
            .map(|(section, port)| (port, self.proxy.port(section).to_string()));
        let all = [("mail.office.example", "localhost".to_owned())].into_iter().chain(ports);
        let there: Vec<(&str, String)> = all.filter(|(from, _)| found[0].contains(from)).collect();
        with(found[0], &there.iter().map(|(from, to)| (*from, to.as_str())).collect::<Vec<_>>())
    }

    /// The page's line for a certificate of one's own.
    fn authority(&self, program: &str) -> String {
        let row = format!("| {program} | `");
        let line = PAGE.lines().find_map(|line| line.strip_prefix(&*row)).expect("a line for the authority");
        let line = line.trim_end_matches("` |");
        with(line, &[("/etc/mailstore/authority.pem", self.lab.ca().to_str().unwrap())])
    }

    #[track_caller]
    fn holds(&self, which: &[usize], folders: &[&str]) {
        let expected: Vec<_> =
            which.iter().zip(folders).map(|(&which, folder)| received(JOE, folder, &self.messages[which])).collect();
        self.proxy.spool().holds(&expected);
    }
}

/// Runs mutt with these settings, lets it copy all messages of its inbox, and gives the file.
fn mutt(home: &Path, settings: &str) -> String {
    let got = home.join("got");
    private(
        &home.join("muttrc"),
        &format!(
            "{settings}\nset quit=yes\nset delete=no\nset confirmappend=no\nset confirmcreate=no\nset move=no\nset wait_key=no\nset mbox_type=mbox\n\
             push \"<tag-pattern>~A<enter><tag-prefix><copy-message>{}<enter><quit>\"\n",
            got.display()
        ),
    );
    // It wants a terminal.
    let output = run_with_input("script", &["-qec", "mutt -n -F muttrc", "/dev/null"], b"", home);
    let mbox = fs::read(&got).unwrap_or_else(|e| panic!("mutt copied nothing ({e}): {}", output.text()));
    fs::remove_file(got).unwrap();
    text(&mbox)
}

fn subjects(mbox: &str, message: &[u8]) -> usize {
    let text = text(message);
    let subject = text.lines().find(|line| line.starts_with("Subject: ")).unwrap();
    mbox.matches(subject.trim_end()).count()
}

#[test]
fn mutt_reads_sends_and_looks_into_the_archive() {
    let scene = Scene::new();
    let home = scene.home();
    let settings = format!("{}\n{}\n", scene.settings("muttrc"), scene.authority("mutt"));
    let mbox = mutt(&home, &settings);
    assert_eq!(subjects(&mbox, &scene.messages[0]), 2, "{mbox}");
    scene.holds(&[0, 1], &["", ""]);

    // With OAuth in the place of the passwords.
    let oauth = home.join("mail-token");
    fs::write(&oauth, format!("#!/bin/sh\n[ \"$1\" = {JOE} ] && echo '{}'\n", token(JOE))).unwrap();
    fs::set_permissions(&oauth, fs::Permissions::from_mode(0o755)).unwrap();
    let by_token =
        with(scene.settings("muttrc-oauth").as_str(), &[("/usr/local/bin/mail-token", oauth.to_str().unwrap())]);
    let passwordless: String =
        settings.lines().filter(|line| !line.contains("_pass ")).map(|line| format!("{line}\n")).collect();
    assert_eq!(settings.lines().count() - passwordless.lines().count(), 2);
    let mbox = mutt(&home, &(passwordless + &by_token));
    assert_eq!(subjects(&mbox, &scene.messages[1]), 2, "{mbox}");
    assert_eq!(scene.proxy.log().matches(" login user=joe@example.com").count(), 2);

    // It sends, and files what it sent.
    private(&home.join("muttrc"), &settings);
    run_with_input("mutt", &["-n", "-F", "muttrc", "-s", "From mutt", BOB], b"Hello.\n", &home).ok();
    let delivered = scene.postfix.wait_for(BOB, 1);
    assert!(text(&delivered[0].bytes).contains("\nSubject: From mutt\n"));
    scene.proxy.tells_of(" kept owner=joe@example.com folder=Sent");
    assert!(
        scene.proxy.spool().list().iter().any(|kept| kept.folder == "Sent" && text(&kept.bytes).contains("From mutt"))
    );

    // The archive is an account of its own.
    let spool = Some(scene.proxy.spool().path().to_owned());
    let archive = Dovecot::with(
        &scene.lab,
        DovecotOptions { spool, separator: '.', special_use: None, ..DovecotOptions::default() },
    );
    private(&home.join(".archive-password"), PASSWORD);
    let port = archive.endpoint(Kind::Imap, Tls::Implicit).port.to_string();
    let settings = all_blocks(PAGE, "muttrc-archive")[0];
    let settings = with(settings, &[("mail.office.example:1993", &format!("localhost:{port}"))]);
    let mbox = mutt(&home, &(settings + &scene.authority("mutt")));
    assert_eq!(subjects(&mbox, &scene.messages[0]), 2, "{mbox}");
}

#[test]
fn msmtp_sends() {
    let scene = Scene::new();
    let home = scene.home();
    private(&home.join(".msmtprc"), &format!("{}{}\n", scene.settings("msmtprc"), scene.authority("msmtp")));
    run_with_input("msmtp", &[BOB], b"Subject: From msmtp\n\nHello.\n", &home).ok();
    let delivered = scene.postfix.wait_for(BOB, 1);
    assert!(text(&delivered[0].bytes).contains("\nSubject: From msmtp\n"));
    let kept = scene.proxy.spool().list();
    assert_eq!(kept.len(), 1);
    assert!(kept[0].folder == "Sent" && text(&kept[0].bytes).contains("From msmtp"));
}

#[test]
fn mbsync_gets_all_folders() {
    let scene = Scene::new();
    let home = scene.home();
    fs::create_dir(home.join("mail")).unwrap();
    let settings = scene.settings("mbsyncrc");
    let settings = with(&settings, &[("SSLType IMAPS\n", &format!("SSLType IMAPS\n{}\n", scene.authority("mbsync")))]);
    private(&home.join(".mbsyncrc"), &settings);
    run_with_input("mbsync", &["-a"], b"", &home).ok();
    let near = maildirs(&home.join("mail"));
    assert_eq!((near["INBOX"].len(), near["Work"].len()), (2, 1));
    scene.holds(&[0, 1, 2], &["", "", "Work"]);
}

#[test]
fn getmail_gets_the_inbox() {
    let scene = Scene::new();
    let home = scene.home();
    for sub in ["Maildir", "Maildir/cur", "Maildir/new", "Maildir/tmp"] {
        fs::create_dir(home.join(sub)).unwrap();
    }
    let authority = format!("port = {}\n{}\n", scene.proxy.port("pop3"), scene.authority("getmail"));
    let settings = with(
        &scene.settings("getmailrc"),
        &[("/home/joe", home.to_str().unwrap()), (&format!("port = {}\n", scene.proxy.port("pop3")), &authority)],
    );
    run_getmail(&home, &settings);
    assert_eq!(entries(&home.join("Maildir/new")).len(), 2);
    scene.holds(&[0, 1], &["", ""]);
    assert_eq!(scene.provider.mailbox(JOE).stored("INBOX").len(), 2);
}

#[test]
fn thunderbird_makes_its_account_of_the_configuration() {
    assert!(
        Path::new("/usr/lib/thunderbird/thunderbird").is_file(),
        "Thunderbird is missing: scripts/test installs what the tests need"
    );
    let scene = Scene::new();
    let home = scene.lab.folder("thunderbird");
    fs::create_dir(home.join("profile")).unwrap();
    fs::write(home.join("drive.py"), include_str!("../support/thunderbird/drive.py")).unwrap();
    fs::write(home.join("read.js"), include_str!("../support/thunderbird/autoconfig.js")).unwrap();
    let mut config = CONFIG.replace("mail.office.example", "localhost");
    let ports = [("imap", "993"), ("pop3", "995"), ("smtp", "465")].map(|(section, port)| {
        config =
            with(&config, &[(&format!("<port>{port}</port>"), &format!("<port>{}</port>", scene.proxy.port(section)))]);
        scene.proxy.port(section)
    });
    let pem = fs::read_to_string(scene.lab.ca()).unwrap();
    let authority: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    // The account that it starts with is somebody else's.
    scene.provider.mailbox("first@example.com");
    let first = scene.provider.imap().to_string();
    let args = ["drive.py", "profile", &first, "first@example.com", PASSWORD, "2", &config, JOE, PASSWORD, &authority];
    let said = run_with_input("/usr/bin/python3", &args, b"", &home).ok().text();
    // 3: TLS from the start; 3: normal password.
    for (kind, port) in ["imap", "pop3", "smtp"].iter().zip(ports) {
        assert!(said.contains(&format!("{kind} localhost {port} 3 3 {JOE}\n")), "{said}");
    }
    for message in &scene.messages[..2] {
        assert!(said.contains(&format!("read {} To Joe\n", message.len())), "{said}");
    }
    scene.holds(&[0, 1], &["", ""]);
    // What docs/hosts.md says of OAuth by the server's name.
    for (name, known) in
        [("imap.gmail.com", "True"), ("outlook.office365.com", "True"), ("mail.office.example", "False")]
    {
        assert!(said.contains(&format!("oauth {name} {known}\n")), "{said}");
    }
}

/// Server and port of each protocol.
fn servers(found: impl IntoIterator<Item = (String, String, String)>) -> BTreeSet<(String, String, String)> {
    found.into_iter().map(|(kind, host, port)| (kind.to_lowercase(), host, port)).collect()
}

#[test]
fn all_that_is_found_by_itself_says_the_same() {
    // Well-formed, by a parser that is not ours; each server as `kind host port`.
    let script = "
import sys, xml.etree.ElementTree as tree
root = tree.fromstring(sys.stdin.buffer.read())
local = lambda e: e.tag.rpartition('}')[2]
for server in root.iter():
    if local(server) in ('incomingServer', 'outgoingServer', 'Protocol'):
        of = {local(e).lower(): e.text for e in server}
        assert (of.get('sockettype') or of.get('ssl')) in ('SSL', 'on'), of
        print(server.get('type') or of['type'], of.get('hostname') or of['server'], of['port'])
";
    let parsed = |xml: &str| {
        let output = run_with_input("/usr/bin/python3", &["-c", script], xml.as_bytes(), Path::new("/")).ok().text();
        servers(output.lines().map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            (words.next().unwrap(), words.next().unwrap(), words.next().unwrap())
        }))
    };
    let expected = servers(
        [("imap", "993"), ("pop3", "995"), ("smtp", "465")]
            .map(|(kind, port)| (kind.to_owned(), "mail.office.example".to_owned(), port.to_owned())),
    );
    assert_eq!(parsed(CONFIG), expected);
    assert_eq!(parsed(AUTODISCOVER), expected);
    let zone = all_blocks(PAGE, "zone")[0];
    let mut off = 0;
    let records = servers(zone.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, "3600", "IN", "SRV", _, _, port, target] = fields[..] else { panic!("{line}") };
        let kind = name
            .strip_suffix("._tcp.example.com.")
            .and_then(|kind| kind.strip_prefix('_'))
            .unwrap_or_else(|| panic!("{line}"));
        if target == "." {
            off += 1;
            return None;
        }
        let kind = kind.replace("submission", "smtp");
        Some((kind.strip_suffix('s').unwrap().to_owned(), target.trim_end_matches('.').to_owned(), port.to_owned()))
    }));
    assert_eq!(records, expected);
    assert_eq!(off, 3);
    // And so does the table at the top.
    for (row, port) in [("| incoming, IMAP |", 993), ("| incoming, POP3 |", 995), ("| outgoing |", 465)] {
        let line = PAGE.lines().find(|line| line.starts_with(row)).unwrap();
        assert!(line.starts_with(&format!("{row} `mail.office.example` | {port} | SSL/TLS |")), "{line}");
    }
}
