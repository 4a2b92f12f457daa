//! Attacks by names: logins, folders and every text that a peer may choose. Nothing leads outside of the owner's Maildir, two owners or two folders
//! never share one, no mail is refused for a name's sake, and no text of a peer's imitates a line or a field of the log.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use support::peer::{Answers, CLOSE, GREETING, Peer, ends};
use support::proxy::section;
use support::*;

const MESSAGE: &[u8] = b"Subject: x\r\n\r\ntext\r\n";

fn long(byte: u8) -> Vec<u8> {
    [&vec![byte; 10_000][..], b"@example.org"].concat()
}

/// Each is an owner of his own.
fn logins() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        "ann",
        "ann@example.org",
        "ann@other.example.org",
        "ann.other@example.org",
        "..",
        ".",
        "...",
        "/",
        "//",
        "../../../../tmp/evil",
        "..\\..\\evil",
        "/etc/passwd",
        "a/b@example.org",
        "a%2Fb@example.org",
        "a%252Fb@example.org",
        "a\\b@example.org",
        "%2e%2e",
        "%2E.",
        "%00",
        "a%00b",
        "a\0b",
        "a\r\nb",
        "a\nb",
        "a\x0ab@..",
        ":2,",
        "ann:2,S@example.org",
        ".hidden@example.org",
        "ann@.example.org",
        "ann@example.org.",
        "ann.@example.org",
        "ann@example.org/",
        "ann@../example.org",
        "ann@example.org/../other",
        "ann @example.org",
        "a nn@example.org",
        "ann@ example.org",
        "ann\t@example.org",
        "user@domain@example.org",
        "user%40domain@example.org",
        "@@",
        "@example.org",
        "@",
        "%empty@example.org",
        "%empty",
        "cur@example.org",
        "new@example.org",
        "tmp@example.org",
        "cur",
        "new",
        "tmp",
        "ann@cur",
        "ann@new",
        "ann@tmp",
        "mailstore-kept@example.org",
        ".Sent@example.org",
        "ann@Sent",
        "jürgen@example.org",
        "ju\u{308}rgen@example.org",
        "\u{202e}nna@example.org",
        "ann\u{200b}@example.org",
        "ann\u{ad}@example.org",
        "\u{212a}arl@example.org",
        "karl@example.org",
        "ẞ@example.org",
        "ss@example.org",
        "İ@example.org",
        "i@example.org",
        "~",
        "$HOME",
        "`id`",
        "*",
        "?",
        "-rf",
        "a;b",
        "\"ann\"@example.org",
        "'",
        "|",
        "CON",
        "a,S=1,H=0@example.org",
    ]
    .map(|name| name.as_bytes().to_vec())
    .to_vec();
    all.extend([
        b"\xff\xfe@example.org".to_vec(),
        b"\xc3@example.org".to_vec(),
        b"\xc3\xa4\xff@example.org".to_vec(),
        long(b'a'),
        long(b'b'),
        long(b'/'),
    ]);
    all.push([&long(b'a')[1..], b"x"].concat());
    all
}

/// The same owners as one above, in other words.
const ALIASES: [&str; 5] = ["ANN@EXAMPLE.ORG", "ann@", "JÜRGEN@example.org", "ann@localhost", "Karl@Example.Org"];

/// Every file below, as a path relative to it.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let path = entry.path();
            match entry.file_type().unwrap().is_dir() {
                true => todo.push(path),
                false => found.push(path.strip_prefix(root).unwrap().to_owned()),
            }
        }
    }
    found
}

/// The Maildirs that a message lies in, each once, by the number of folders that the template makes. Nothing else is in the spool.
fn maildirs(root: &Path, depth: usize) -> BTreeSet<PathBuf> {
    let mut owners = BTreeSet::new();
    for file in files(root) {
        let parts: Vec<_> = file.iter().map(|part| part.to_str().expect("names in UTF-8").to_owned()).collect();
        for part in &parts[..depth] {
            assert!(!part.starts_with('.') && part.len() <= 255, "{}", file.display());
            assert!(!part.chars().any(char::is_control), "{}", file.display());
        }
        match &parts[depth..] {
            [place, _] if place == "new" => {
                assert!(owners.insert(file.iter().take(depth).collect()), "twice: {}", file.display())
            }
            [note] => assert_eq!(note, "mailstore-kept", "{}", file.display()),
            _ => panic!("{}", file.display()),
        }
    }
    owners
}

fn answers(kind: Kind) -> Answers {
    match kind {
        Kind::Imap => vec![(
            "FETCH",
            [format!("* 1 FETCH (BODY[] {{{}}}\r\n", MESSAGE.len()).as_bytes(), MESSAGE, b")\r\n{tag} OK done\r\n"]
                .concat(),
        )],
        _ => vec![("RETR", [b"+OK\r\n", MESSAGE, b".\r\n"].concat())],
    }
}

#[test]
fn every_login_has_a_maildir_of_its_own_and_none_leads_anywhere_else() {
    let lab = Lab::new();
    let peers = [Kind::Imap, Kind::Pop3].map(|kind| Peer::answering(&lab, kind, Tls::None, answers(kind)));
    std::thread::scope(|scope| {
        for (template, depth) in [("%d/%n", 2), ("%u", 1), ("mail/%n@%d/Maildir", 3)] {
            let (lab, peers) = (&lab, &peers);
            scope.spawn(move || logins_with(lab, peers, template, depth));
        }
    });
}

fn logins_with(lab: &Lab, [imap, pop3]: &[Peer; 2], template: &str, depth: usize) {
    let sections = section(lab, "a", Tls::None, imap.endpoint(Tls::None), UNFOLLOWED)
        + &section(lab, "a", Tls::None, pop3.endpoint(Tls::None), "");
    let proxy = Proxy::with(lab, &format!("sync = no\nmaildir = {template}\n"), &sections);
    for name in logins().into_iter().chain(ALIASES.map(Into::into)) {
        let mut wire = Wire::connect(lab, proxy.endpoint(Kind::Imap, "a", Tls::None));
        wire.send(format!("a LOGIN {{{}+}}\r\n", name.len()).as_bytes());
        wire.send(&[&name[..], b" x\r\nb SELECT INBOX\r\nc FETCH 1 BODY[]\r\nd LOGOUT\r\n"].concat());
        let heard = String::from_utf8_lossy(&wire.rest()).into_owned();
        assert!(heard.contains("c OK done"), "{}: {heard}", name.escape_ascii());
        // The same by POP3, as far as a line can say it: the same owner, and so no other copy.
        if name.len() > 1000 || name.contains(&0) || name.contains(&b'\n') || name.trim_ascii() != name {
            continue;
        }
        let plain = BASE64_STANDARD.encode([&name[..], b"\0master\0x"].concat());
        let login = match depth {
            1 => [b"USER ", &name[..], b"\r\nPASS x\r\n"].concat(),
            2 => [b"APOP ", &name[..], b" 0123\r\n"].concat(),
            _ => format!("AUTH PLAIN {plain}\r\n").into_bytes(),
        };
        let mut wire = Wire::connect(lab, proxy.endpoint(Kind::Pop3, "a", Tls::None));
        wire.send(&[&login[..], b"RETR 1\r\nQUIT\r\n"].concat());
        let heard = wire.rest();
        assert!(heard.ends_with(b"text\r\n.\r\n+OK\r\n"), "{}: {}", name.escape_ascii(), heard.escape_ascii());
    }
    let owners = maildirs(proxy.spool().path(), depth);
    assert_eq!(owners.len(), logins().len(), "{template}: {owners:#?}");
    let beside = fs::read_dir(proxy.spool().path().parent().unwrap()).unwrap();
    let beside: BTreeSet<_> = beside.flatten().map(|one| one.file_name()).collect();
    assert_eq!(beside, ["mailSpool".into(), "mailstore.ini".into()].into());
}

/// Each is a folder of its own, where `/` separates.
fn folders() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        "Work",
        "work",
        "Work/Reports",
        "Work.Reports",
        "Work//Reports",
        "/Work",
        "Work/",
        "..",
        ".",
        "../../../evil",
        "/etc",
        "..\\evil",
        "a%2Fb",
        "a%2fb",
        "a%2Eb",
        "a.b",
        "a/b",
        "a\\b",
        "%empty",
        "a\0b",
        "a\r\nb",
        "a%00b",
        "cur",
        "new",
        "tmp",
        "cur/new",
        "mailstore-kept",
        ".Sent",
        "Sent ",
        "sent",
        ":2,",
        "a:2,S",
        "x y",
        "\"",
        "*",
        "%",
        "&APw-",
        "&",
        "~",
        "INBOX.",
        "INBOX ",
        "inbox/x",
        "Archiv\u{202e}x",
    ]
    .map(|name| name.as_bytes().to_vec())
    .to_vec();
    all.extend([
        vec![b'a'; 10_000],
        vec![b'b'; 10_000],
        [&vec![b'a'; 9_999][..], b"/"].concat(),
        b"\xff".to_vec(),
        b"\xc3".to_vec(),
    ]);
    all
}

#[test]
fn every_folder_has_a_directory_of_its_own_in_the_owners_maildir() {
    let lab = Lab::new();
    let list: Answers = vec![("LIST", b"* LIST () \"/\" INBOX\r\n{tag} OK done\r\n".to_vec())];
    let peer = Peer::answering(&lab, Kind::Imap, Tls::None, list);
    let proxy = Proxy::with(&lab, "sync = no\n", &section(&lab, "a", Tls::None, peer.endpoint(Tls::None), UNFOLLOWED));
    let mut wire = Wire::connect(&lab, proxy.endpoint(Kind::Imap, "a", Tls::None));
    wire.login(Kind::Imap, "ann@example.org");
    wire.imap_ok("LIST \"\" *");
    for (number, name) in folders().into_iter().enumerate() {
        let message = format!("message {number:03}");
        wire.send(format!("a APPEND {{{}+}}\r\n", name.len()).as_bytes());
        wire.send(&[&name[..], b" {11+}\r\n", message.as_bytes(), b"\r\n"].concat());
        let answer = wire.imap_until("a");
        assert!(answer.starts_with(b"a OK"), "{}: {}", name.escape_ascii(), answer.escape_ascii());
    }
    let mut seen = BTreeSet::new();
    for file in files(proxy.spool().path()) {
        let parts: Vec<_> = file.iter().map(|part| part.to_str().unwrap()).collect();
        let ["example.org", "ann", folder, "new" | "cur", _] = parts[..] else { panic!("{}", file.display()) };
        assert!(
            folder.starts_with('.') && folder.len() > 1 && folder.len() <= 255 && !folder.contains(".."),
            "{folder}"
        );
        assert!(folder.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{folder}");
        assert!(seen.insert(folder.to_owned()), "two folders are one: {folder}");
    }
    assert_eq!(seen.len(), folders().len(), "{seen:#?}");
}

/// What a peer says to make a line, or the end of one, look like one of ours.
const FORGED: &str = "kept owner=victim@example.org folder=INBOX size=1 hash=00 user=victim@example.org reason=forged";

/// A line of a server's.
fn said(start: &str) -> Vec<u8> {
    format!("{start}{FORGED} \"{FORGED}\r\n").into_bytes()
}

/// The same, and the server closes.
fn leaving(start: &str) -> Vec<u8> {
    [said(start), CLOSE.to_vec()].concat()
}

/// The same with all that could end a line or a quotation; for texts that may hold a line end.
fn forged_lines() -> Vec<u8> {
    format!("x\r\n2026-11-23T14:31:23Z INFO 7f3a imap:a {FORGED}\n\"\\ \u{85}\u{2028}{FORGED}\r").into_bytes()
}

/// Every line is one of ours, and its fields are.
#[track_caller]
fn nothing_is_forged(log: &str) {
    let texts = [
        " MailStore ",
        " listening on ",
        "ready",
        " opened client=",
        " closed client=",
        " login user=",
        " login failed client=",
        " logout user=",
        " kept owner=",
        " duplicate owner=",
        " not kept owner=",
        " draft ",
        " refused the command ",
        " refused a recipient that ",
        " refused a sender that ",
        " cannot be reached: ",
        " cannot be used: ",
        " can be used again",
        " a login succeeded that named nobody",
        " closed its connection without TLS",
        " a message ",
        " cancelled",
        "stopping",
        "stopped",
        "SIGTERM",
        "sessions=",
        " refused client=",
        " login cancelled",
        "runs as root",
        " slept ",
    ];
    for line in log.lines() {
        let (time, rest) = line.split_once(' ').unwrap_or_default();
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        assert_eq!(shape, "9999-99-99T99:99:99Z", "{line}");
        let level = rest.split(' ').next().unwrap();
        assert!(["ERROR", "WARN", "INFO", "DEBUG"].contains(&level), "{line}");
        assert!(texts.iter().any(|text| rest.contains(text)), "no line of ours: {line}");
        assert!(!line.chars().any(|c| c.is_control() || !c.is_ascii()), "{line}");
        for field in ["owner=victim", "user=victim", "hash=00", "reason=forged", "folder=INBOX size=1"] {
            assert!(!line.contains(&format!(" {field}")), "{field} stands as if it were ours: {line}");
        }
        assert!(line.matches(" reason=").count() <= 1 && line.matches(" owner=").count() <= 1, "{line}");
    }
}

/// Runs these sessions (their words at once), each against a server with these answers; gives the log.
fn log_of(kind: Kind, cases: Vec<(Answers, Vec<u8>)>) -> String {
    let lab = Lab::new();
    let mut sections = String::new();
    let mut peers = Vec::new();
    for (number, (answers, _)) in cases.iter().enumerate() {
        let peer = Peer::answering(&lab, kind, Tls::None, answers.clone());
        let more = if kind == Kind::Imap { UNFOLLOWED } else { "" };
        sections += &section(&lab, &format!("n{number}"), Tls::None, peer.endpoint(Tls::None), more);
        peers.push(peer);
    }
    let proxy = Proxy::with(&lab, "sync = no\nmax_message_size = 1k\n", &sections);
    for (number, (_, words)) in cases.iter().enumerate() {
        let words = String::from_utf8_lossy(words).into_owned();
        let _ = support::peer::said_at_once(proxy.endpoint(kind, &format!("n{number}"), Tls::None), words.as_bytes());
    }
    ends(&proxy, cases.len());
    proxy.stop()
}

#[test]
fn no_text_of_an_imap_peer_forges_a_line_or_a_field_of_the_log() {
    let forged = forged_lines();
    let literal = |text: &[u8]| [format!("{{{}+}}\r\n", text.len()).as_bytes(), text].concat();
    let quit = b"\r\nz LOGOUT\r\n";
    let fetched = b"* 1 FETCH (BODY[] {4}\r\ntext)\r\n{tag} OK done\r\n".to_vec();
    let too_large = b"* 1 FETCH (BODY[] {5000}\r\n{close}".to_vec();
    let cases: Vec<(Answers, Vec<u8>)> = vec![
        (vec![(GREETING, leaving("* BYE "))], b"".to_vec()),
        (vec![(GREETING, said("* "))], b"".to_vec()),
        (vec![("LOGIN", said("{tag} NO "))], [&b"a LOGIN ann x\r\n"[..], quit].concat()),
        (vec![("NOOP", leaving("* BYE "))], b"a LOGIN ann x\r\nb NOOP\r\n".to_vec()),
        (vec![("NOOP", said("zz OK "))], b"a LOGIN ann x\r\nb NOOP\r\n".to_vec()),
        // The login's own name, and a folder's, kept and not kept.
        (
            vec![("FETCH", fetched.clone())],
            [b"a LOGIN ", &literal(&forged)[..], b" x\r\nb SELECT ", &literal(&forged), b"\r\nc FETCH 1 BODY[]", quit]
                .concat(),
        ),
        (
            vec![("FETCH", too_large)],
            [b"a LOGIN ", &literal(&forged)[..], b" x\r\nb SELECT ", &literal(&forged), b"\r\nc FETCH 1 BODY[]\r\n"]
                .concat(),
        ),
        (vec![("LOGIN", b"{tag} NO no\r\n".to_vec())], [b"a LOGIN ", &literal(&forged)[..], b" x", quit].concat()),
        (
            vec![],
            [b"a LOGIN ann x\r\nb APPEND ", &literal(&forged)[..], b" {5000+}\r\n", &b"x".repeat(5000), quit].concat(),
        ),
        // A deletion that the server does not let be kept: its words are told.
        (
            vec![
                ("UID FETCH", said("{tag} NO ")),
                ("FETCH", said("{tag} NO ")),
                ("STORE", b"{tag} OK done\r\n".to_vec()),
            ],
            [b"a LOGIN ann x\r\nb SELECT ", &literal(&forged)[..], b"\r\nc UID STORE 7 +FLAGS (\\Deleted)", quit]
                .concat(),
        ),
        (vec![], [b"a AUTHENTICATE ", FORGED.as_bytes(), quit].concat()),
        (vec![], [b"a ", FORGED.as_bytes(), quit].concat()),
    ];
    let log = log_of(Kind::Imap, cases);
    nothing_is_forged(&log);
    assert_eq!(log.matches(" kept owner=").count() - log.matches(" not kept owner=").count(), 1, "{log}");
    assert!(log.contains(" login user=x\\x0d\\x0a2026-11-23"), "{log}");
}

#[test]
fn no_text_of_a_pop3_peer_forges_a_line_or_a_field_of_the_log() {
    let lines = |text: &str| text.replace("FORGED", FORGED).replace("ROOM", &"x".repeat(2000)).into_bytes();
    let unique = said("+OK 1 ");
    let message = b"+OK 4 octets\r\ntext\r\n.\r\n".to_vec();
    let cases: Vec<(Answers, Vec<u8>)> = vec![
        (vec![(GREETING, said("-ERR "))], vec![]),
        (vec![(GREETING, said("* OK "))], vec![]),
        // APOP's banner is a greeting like any other.
        (vec![(GREETING, said("+OK <")), ("RETR", message.clone())], lines("APOP FORGED 0123\r\nRETR 1\r\nQUIT\r\n")),
        (vec![("PASS", said("-ERR "))], lines("USER FORGED\r\nPASS x\r\nQUIT\r\n")),
        (vec![("RETR", message.clone())], lines("USER FORGED\r\nPASS x\r\nRETR 1\r\nQUIT\r\n")),
        (vec![("NOOP", said("+OK\r\n-ERR "))], lines("USER ann\r\nPASS x\r\nNOOP\r\n")),
        // Deleted unread: the server's unique-id and refusal are told, and what the client calls a number.
        (vec![("UIDL", unique.clone()), ("RETR", said("-ERR "))], lines("USER ann\r\nPASS x\r\nDELE 1\r\nQUIT\r\n")),
        (vec![("UIDL", unique.clone()), ("RETR", message.clone())], lines("USER ann\r\nPASS x\r\nDELE 1\r\nQUIT\r\n")),
        (
            vec![("UIDL", unique), ("RETR", [b"+OK 5000\r\n", &b"x".repeat(5000)[..], CLOSE].concat())],
            lines("USER ann\r\nPASS x\r\nDELE 1\r\n"),
        ),
        (vec![("RETR", said("-ERR "))], lines("USER ann\r\nPASS x\r\nDELE 1 owner=victim reason=forged\r\nQUIT\r\n")),
        (
            vec![("RETR", [b"+OK 5000\r\n", &b"x".repeat(5000)[..], b"\r\n.\r\n"].concat())],
            lines("USER ann\r\nPASS x\r\nRETR 1 owner=victim reason=forged\r\nQUIT\r\n"),
        ),
        (vec![], lines("AUTH FORGED\r\nFORGED\r\nQUIT\r\n")),
    ];
    let log = log_of(Kind::Pop3, cases);
    nothing_is_forged(&log);
    assert_eq!(log.matches(" kept owner=").count() - log.matches(" not kept owner=").count(), 2, "{log}");
}

#[test]
fn no_text_of_an_smtp_peer_forges_a_line_or_a_field_of_the_log() {
    let lines = |text: &str| text.replace("FORGED", FORGED).replace("ROOM", &"x".repeat(2000)).into_bytes();
    let cases: Vec<(Answers, Vec<u8>)> = vec![
        (vec![(GREETING, leaving("554 "))], vec![]),
        (vec![(GREETING, said(""))], vec![]),
        (vec![("NOOP", said(""))], lines("NOOP\r\n")),
        (vec![("NOOP", said("250 ok\r\n421 "))], lines("NOOP\r\n")),
        (vec![("AUTH", said("535 "))], lines("EHLO FORGED\r\nAUTH PLAIN AGFubgBw\r\nQUIT\r\n")),
        (
            vec![],
            lines(
                "EHLO x\r\nAUTH FORGED\r\nAUTH GSSAPI FORGED\r\nXCLIENT FORGED\r\nX-EXPS FORGED\r\nFORGED\r\nQUIT\r\n",
            ),
        ),
        // (Data behind its 354 is what is said first here, so a chunk.)
        (
            vec![],
            lines(
                "EHLO x\r\nMAIL FROM:<\"FORGED\"@example.org>\r\nRCPT TO:<bob@example.org>\r\nBDAT 4 LAST\r\ntextQUIT\r\n",
            ),
        ),
        (
            vec![],
            lines("EHLO x\r\nMAIL FROM:<\"FORGED\"@example.org>\r\nRCPT TO:<FORGED>\r\nBDAT 2000 LAST\r\nROOMQUIT\r\n"),
        ),
        (
            vec![("BDAT", said("550 "))],
            lines("EHLO x\r\nMAIL FROM:<a@FORGED>\r\nRCPT TO:<bob@example.org>\r\nBDAT 4 LAST\r\ntextQUIT\r\n"),
        ),
    ];
    let log = log_of(Kind::Smtp, cases);
    nothing_is_forged(&log);
    assert_eq!(log.matches(" kept owner=").count() - log.matches(" not kept owner=").count(), 1, "{log}");
}
