//! docs/troubleshooting.md names every line of level WARN or ERROR, every reason for the end of a session, and none that there is not. What
//! the program can say is read out of its sources: the texts in the calls that log, and behind them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::fail2ban::journal;
use super::page::{text, with};
use crate::support::client::run_with_input;
use crate::support::proxy::{program, section};
use crate::support::spool::hash;
use crate::support::*;

const PAGE: &str = include_str!("../../docs/troubleshooting.md");

/// Calls whose texts get into the log at WARN, ERROR, or as a reason.
const CALLS: [&str; 16] = [
    "log::error!(",
    "log::warn!(",
    "log::log!(",
    "host.not_kept(",
    "host.not_kept_more(",
    "host.login_failed(",
    "host.refused(",
    "End::Fault(",
    "End::Orderly(",
    "self.fault(",
    "self.fail(",
    "self.missed(",
    "abandon_due(",
    "self.give_up(",
    "Rejected(",
    "Error::new(",
];

/// Functions that make texts for such calls elsewhere: all their texts count.
const MAKERS: [(&str, &str); 9] = [
    ("net/relay/waiting.rs", "fn end_by("),
    ("net/relay/waiting.rs", "fn idle_because("),
    ("net/relay/waiting.rs", "fn took_nothing("),
    ("net/tls.rs", "fn readable("),
    ("net/dial.rs", "pub fn dial("),
    ("server/limits.rs", "fn fmt("),
    ("server/mod.rs", "fn unbound("),
    ("server/mod.rs", "pub fn start("),
    ("server/privileges.rs", "pub fn confine("),
];

/// Beginnings that stand for all that may come behind them, which is the peer's doing and for nobody to mend: the page explains each once.
const GROUPS: [&str; 6] = [
    "the server broke the protocol: ",
    "the client sent ",
    "client sent ",
    "server sent ",
    "server's ",
    "the server's ",
];

/// Texts in those places that are no lines of the log: answers to peers, lines of level INFO, what OpenSSL says before it is explained.
const NOT_LOGGED: [&str; 22] = [
    "The mail server cannot be reached, try again later",
    "Too many sessions, try again later",
    "Too busy, try again later",
    "the line is too long",
    "the mail server does not start TLS, come back later",
    "STLS is not available",
    "STLS has to come before a login",
    "this authentication mechanism is not available through MailStore",
    "{} listening on {} -> {}",
    "{label} closed client={client} user={user} time={}s received={received} sent={sent} kept={} duplicates={} not_kept={} fetched={} reason={reason}",
    "{label} opened client={client}",
    "{label} slept {} times",
    "reloaded {}",
    "recovery removed {} unfinished drafts",
    "stopping, {} sessions are open, waiting for {} s at most",
    "SIGUSR2 asks for nothing",
    "session {client}",
    "login cancelled: {why}",
    "cancelled a login: {why}",
    "ready",
    "error",
    ", error:",
];

/// A text in the sources: where, and its fixed parts.
struct Said {
    place: String,
    parts: Vec<String>,
}

#[test]
fn every_line_that_warns_is_on_the_page() {
    let page = plain(PAGE);
    let said = all_said();
    // So many there are at least: an extraction that finds nothing proves nothing.
    assert!(said.len() > 120, "only {} texts were found", said.len());
    let missing: BTreeSet<String> = said
        .iter()
        .flat_map(|said| said.parts.iter().map(move |part| (part, &said.place)))
        .filter(|(part, _)| !page.contains(part.as_str()))
        .map(|(part, place)| format!("{place}: {part}"))
        .collect();
    assert!(missing.is_empty(), "not in docs/troubleshooting.md:\n{missing:#?}");
    for group in GROUPS {
        assert!(page.contains(group.trim()), "{group}");
    }
}

#[test]
fn no_line_is_on_the_page_that_there_is_not() {
    let texts: Vec<String> = sources().iter().flat_map(|(_, text)| literals(text)).collect();
    let whole: String = texts.iter().map(|text| plain(text) + "\n").collect();
    let parts: BTreeSet<String> = texts.iter().flat_map(|text| fixed_parts(text)).collect();
    let mut rows = 0;
    let mut unknown = Vec::new();
    for row in PAGE.lines().filter(|line| line.starts_with("| `")) {
        let first = row.trim_start_matches("| ").split(" | ").next().unwrap();
        for line in first.split('`').skip(1).step_by(2) {
            rows += 1;
            for part in line.split('…').map(plain).filter(|part| !part.is_empty()) {
                if !whole.contains(&part) && !is_made_of(&part, &parts) {
                    unknown.push(format!("{line}: {part:?}"));
                }
            }
        }
    }
    assert!(rows > 60, "only {rows} lines were found on the page");
    assert!(unknown.is_empty(), "no source says so:\n{unknown:#?}");
}

/// The command in the table at the top, or among the symptoms, that begins so.
#[track_caller]
fn command(start: &str) -> String {
    let found = PAGE.split('`').skip(1).step_by(2).find(|code| code.starts_with(start));
    found.unwrap_or_else(|| panic!("there is no command that begins with {start:?}")).replace("\\|", "|")
}

#[track_caller]
fn sh(lab: &Lab, command: &str) -> String {
    let output = run_with_input("/bin/sh", &["-c", command], b"", lab.path());
    text(&[output.stdout, output.stderr].concat())
}

#[test]
fn the_commands_to_look_with_show_what_they_are_for() {
    let lab = Lab::new();
    let dovecot = Dovecot::start(&lab);
    let mut sections = String::new();
    for (kind, name, listen) in [
        (Kind::Imap, "full", Tls::Implicit),
        (Kind::Imap, "start", Tls::StartTls),
        (Kind::Pop3, "start", Tls::StartTls),
    ] {
        sections += &section(&lab, name, listen, dovecot.endpoint(kind, Tls::Implicit), "");
    }
    // A server that is not there.
    let nobody = Endpoint { kind: Kind::Smtp, port: 9, tls: Tls::None };
    sections += &section(&lab, "start", Tls::StartTls, dovecot.endpoint(Kind::Imap, Tls::Implicit), "")
        .replace("imap:start", "imap:extra");
    sections += &section(&lab, "gone", Tls::None, nobody, "");
    let proxy = Proxy::start(&lab, &sections);

    // What clients see, and what the server shows MailStore.
    let (full, start) = (proxy.port("imap:full"), proxy.port("imap:start"));
    let seen = with(
        &command("openssl s_client -connect mail.office"),
        &[("mail.office.example:993", &format!("localhost:{full}"))],
    );
    assert!(sh(&lab, &seen).contains("CN = MailStore test"), "{seen}");
    let seen = with(
        &command("openssl s_client -starttls imap"),
        &[("mail.office.example:143", &format!("localhost:{start}"))],
    );
    assert!(sh(&lab, &seen).contains("CN = MailStore test"), "{seen}");
    let seen = with(&seen, &[("imap", "pop3"), (&start.to_string(), &proxy.port("pop3:start").to_string())]);
    assert!(sh(&lab, &seen).contains("CN = MailStore test"), "{seen}");
    let server = dovecot.endpoint(Kind::Imap, Tls::Implicit).port;
    let shown = with(
        &command("openssl s_client -connect imap.example.com"),
        &[("imap.example.com:993", &format!("localhost:{server} -CAfile {}", lab.ca().display()))],
    );
    let verified = with(&shown, &[("-verify_hostname imap.example.com", "-verify_hostname localhost")]);
    assert!(sh(&lab, &verified).contains("Verification: OK"), "{verified}");
    assert!(sh(&lab, &shown).contains("hostname mismatch"), "{shown}");

    // The figures.
    let figures = with(&command("kill -USR1"), &[("$(pidof start_proxies)", &proxy.pid().to_string())]);
    sh(&lab, &figures);
    proxy.tells_of(" counters open=");

    // Whether all is right, beside a running one: its ports are in use.
    let ini = proxy.spool().path().parent().unwrap().join("mailstore.ini");
    let listening = fs::read_to_string(&ini).unwrap().replacen("127.0.0.1:0", &format!("127.0.0.1:{full}"), 1);
    let tried = lab.path().join("tried.ini");
    fs::write(&tried, listening).unwrap();
    let test = with(
        &command("start_proxies -t"),
        &[
            ("start_proxies", program().get_program().to_str().unwrap()),
            ("/etc/mailstore/mailstore.ini", tried.to_str().unwrap()),
        ],
    );
    assert!(sh(&lab, &test).contains("it is in use by start_proxies"), "{test}");

    // The log: what is wrong, and one session.
    let port = proxy.port("smtp:gone");
    drop(std::net::TcpStream::connect(("127.0.0.1", port)).unwrap());
    proxy.tells_of(" closed client=");
    let log = proxy.stop();
    let folder = journal(&lab, &log);
    let here = format!("journalctl -D {} -o cat", folder.display());
    let wrong = sh(&lab, &with(&command("journalctl -u mailstore -g ' (WARN"), &[("journalctl", &here)]));
    let expected: Vec<&str> = log.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).collect();
    assert!(expected.iter().any(|line| line.contains("cannot be reached")), "{log}");
    assert_eq!(wrong.lines().collect::<Vec<_>>(), expected);
    let id = log.lines().find(|line| line.contains("cannot be reached")).unwrap().split(' ').nth(2).unwrap();
    let session = with(
        &command("journalctl -u mailstore -g ' 7f3a"),
        &[("journalctl", &here), (" 7f3a imap ", &format!(" {id} smtp:gone "))],
    );
    let lines = sh(&lab, &session);
    assert!(lines.contains("closed client=") && lines.lines().all(|line| line.contains(id)), "{lines}");
}

#[test]
fn the_same_message_under_two_owners_is_found() {
    let lab = Lab::new();
    let spool = lab.path().join("mailSpool");
    let file = |owner: &str, text: &[u8]| {
        let dir = spool.join(owner).join("new");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("1700000000.M1P1Q1.host,S={},H={}", text.len(), hash(text))), text).unwrap();
    };
    file("example.com/joe", b"the same");
    file("localhost/joe", b"the same");
    file("localhost/ann", b"another");
    assert_eq!(sh(&lab, &command("find mailSpool")).trim(), hash(b"the same"));
}

/// Whether this is a row of such texts, one filled into the other.
fn is_made_of(line: &str, parts: &BTreeSet<String>) -> bool {
    let line = line.trim_start();
    line.is_empty()
        || line
            .char_indices()
            .map(|(at, c)| at + c.len_utf8())
            .any(|end| parts.contains(line[..end].trim_end()) && is_made_of(&line[end..], parts))
}

/// The files of the program without its tests: their path below `src`, and their text up to their tests.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut todo = vec![root.clone()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_stem().unwrap().to_str().unwrap();
            let test = name.ends_with("tests") || ["testing", "fuzzing"].contains(&name);
            match (test, entry.is_dir()) {
                (true, _) => {}
                (false, true) => todo.push(entry),
                (false, false) => found.push((below(&root, &entry), without_tests(&entry))),
            }
        }
    }
    found.sort();
    found
}

fn below(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap().to_str().unwrap().to_owned()
}

fn without_tests(file: &PathBuf) -> String {
    let text = fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    // What a comment quotes is not said.
    text.lines()
        .map(|line| if line.trim_start().starts_with("//") { "\n".to_owned() } else { format!("{line}\n") })
        .collect()
}

fn all_said() -> Vec<Said> {
    let mut all = Vec::new();
    let mut add = |place: String, texts: Vec<String>| {
        let grouped = |text: &&String| GROUPS.iter().any(|group| text.starts_with(group));
        let parts: Vec<String> = texts
            .iter()
            .filter(|text| !grouped(text))
            .flat_map(|text| fixed_parts(text))
            .filter(|part| is_telling(part))
            .collect();
        if !parts.is_empty() {
            all.push(Said { place, parts });
        }
    };
    let sources = sources();
    for (file, text) in &sources {
        for call in CALLS {
            for (at, _) in text.match_indices(call) {
                let place = format!("src/{file}:{}", text[..at].lines().count());
                let arguments = balanced(&text[at + call.len() - 1..]);
                let mut texts = literals(arguments);
                texts.extend(constants(text, arguments));
                // The text was made in the lines before, or pieces of it were.
                let pieced = call.starts_with("log::") && texts.iter().any(|text| text.contains('{'));
                if texts.is_empty() || pieced {
                    texts.extend(literals(function_around(text, at)).into_iter().filter(|text| text.contains(' ')));
                }
                add(place, texts);
            }
        }
    }
    for (file, function) in MAKERS {
        let (_, text) =
            sources.iter().find(|(name, _)| name == file).unwrap_or_else(|| panic!("src/{file} is not there"));
        let at = text.find(function).unwrap_or_else(|| panic!("src/{file} has no {function}"));
        add(format!("src/{file}: {function}"), literals(function_around(text, at + function.len())));
    }
    all
}

/// From the opening parenthesis at the start to the one that closes it.
fn balanced(text: &str) -> &str {
    let (mut depth, mut inside) = (0, Scan::default());
    for (at, c) in text.char_indices() {
        if !inside.step(c) {
            depth += i32::from(c == '(') - i32::from(c == ')');
            if depth == 0 {
                return &text[..at];
            }
        }
    }
    text
}

/// From the line that begins the function to the one that ends it, as rustfmt lays them out.
fn function_around(text: &str, at: usize) -> &str {
    let is_start = |line: &str| {
        let line = line.trim_start();
        ["fn ", "pub fn ", "pub(super) fn ", "pub(crate) fn "].iter().any(|start| line.starts_with(start))
            || line.starts_with("pub(in ") && line.contains(" fn ")
    };
    let mut start = 0;
    let mut begun = 0;
    for line in text.split_inclusive('\n') {
        if begun > at {
            break;
        }
        if is_start(line) {
            start = begun;
        }
        begun += line.len();
    }
    let indent = text[start..].len() - text[start..].trim_start_matches(' ').len();
    let end = format!("\n{}}}\n", " ".repeat(indent));
    text[start..].find(&end).map_or(&text[start..], |end| &text[start..start + end])
}

/// What the constants say that are named here.
fn constants(text: &str, arguments: &str) -> Vec<String> {
    let words = arguments.split(|c: char| !c.is_ascii_uppercase() && c != '_');
    let names: BTreeSet<&str> = words.filter(|word| word.len() > 3).collect();
    let said = |name: &&str| {
        let at = text.find(&format!("const {name}: &str ="))?;
        literals(text[at..].split(";\n").next()?).pop()
    };
    names.iter().filter_map(said).collect()
}

/// The string literals, as they are in the running program.
fn literals(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut scan = Scan::default();
    let mut begun = None;
    for (at, c) in text.char_indices() {
        let was = scan.string;
        scan.step(c);
        match (was, scan.string) {
            (false, true) => begun = Some(at + 1),
            (true, false) => found.push(unescaped(&text[begun.take().unwrap()..at])),
            _ => {}
        }
    }
    found
}

/// Whether a character is in a string literal. (Raw ones there are none; characters like `'"'` are known.)
#[derive(Default)]
struct Scan {
    string: bool,
    escaped: bool,
    before: [char; 2],
}

impl Scan {
    fn step(&mut self, c: char) -> bool {
        let was = self.string;
        if self.string {
            match (self.escaped, c) {
                (true, _) => self.escaped = false,
                (false, '\\') => self.escaped = true,
                (false, '"') => self.string = false,
                _ => {}
            }
        } else if c == '"' && self.before[1] != '\'' && self.before != ['\'', '\\'] {
            self.string = true;
        }
        self.before = [self.before[1], c];
        was || self.string
    }
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('\\', Some('\n')) => while rest.next_if(|c| c.is_whitespace()).is_some() {},
            ('\\', Some(_)) => out.push(match rest.next().unwrap() {
                'r' | 'n' | 't' => ' ',
                other => other,
            }),
            _ => out.push(c),
        }
    }
    out
}

/// The parts of a format string that are always there, as they stand on the page.
fn fixed_parts(text: &str) -> Vec<String> {
    if NOT_LOGGED.contains(&text) || is_said_to_a_peer(text) {
        return Vec::new();
    }
    let mut parts = vec![String::new()];
    let mut inside = false;
    for c in text.chars() {
        match c {
            '{' => {
                inside = true;
                parts.push(String::new());
            }
            '}' => inside = false,
            _ if inside => {}
            _ => parts.last_mut().unwrap().push(c),
        }
    }
    parts.iter().map(|part| plain(part)).filter(|part| !part.is_empty()).collect()
}

/// Not too short to be told from anything else.
fn is_telling(part: &str) -> bool {
    part.chars().filter(|c| c.is_alphabetic()).count() > 3
}

/// `501 …`, `NO …`: an answer, which stands in a function beside what is logged.
fn is_said_to_a_peer(text: &str) -> bool {
    let code = text.split(' ').next().unwrap();
    code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit()) || ["NO", "BAD", "OK", "BYE"].contains(&code)
}

/// Without what only lays it out: line ends, and the marks of Markdown.
fn plain(text: &str) -> String {
    text.replace(['`', '*'], "").replace("\\|", "|").split_whitespace().collect::<Vec<_>>().join(" ")
}
