//! Inputs to begin with: the transcripts of the protocols' unit tests, read from their sources, each as it is and behind a login; and a dictionary of the words in them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mailstore::protocol::Side;

use crate::input::{Event, Input};
use crate::kinds::Kind;

const POP3_LOGIN: &str = "S: +OK ready\nC: USER me\nS: +OK\nC: PASS secret\nS: +OK in\n";
const IMAP_LOGIN: &str = "S: * OK ready\nC: a LOGIN joe secret\nS: a OK in\n";
const IMAP_SELECT: &str =
    "C: b SELECT INBOX\nS: * 3 EXISTS\nS: * OK [UIDVALIDITY 7] x\nS: b OK [READ-WRITE] selected\n";
const SMTP_GREETING: &str = "S: 220 mx.example ESMTP\n";
const SMTP_MAIL: &str = "C: MAIL FROM:<a@one.example>\nS: 250 Ok\nC: RCPT TO:<b@two.example>\nS: 250 Ok\n";

/// Where `MAILSTORE_FUZZ_SEEDS` names a folder: writes the seeds there, and beside it the dictionary (`FOLDER.dict`), and exits.
pub fn write_for(kind: Kind) {
    if let Some(folder) = std::env::var_os("MAILSTORE_FUZZ_SEEDS") {
        let written = write(kind, Path::new(&folder));
        written.expect("the seeds can be written");
        std::process::exit(0);
    }
}

fn write(kind: Kind, folder: &Path) -> io::Result<()> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src");
    write_files(folder, &seeds(kind, &sources)?, &dictionary(kind, &sources)?)
}

/// The seeds as files of a folder, and beside it the dictionary (`FOLDER.dict`).
pub fn write_files(folder: &Path, seeds: &[Vec<u8>], dictionary: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:04}")), seed)?;
    }
    fs::write(folder.with_extension("dict"), dictionary)
}

/// All seeds of a kind; `sources`: the project's `src`.
pub fn seeds(kind: Kind, sources: &Path) -> io::Result<Vec<Vec<u8>>> {
    let beginnings = match kind {
        Kind::Pop3 => vec![String::new(), POP3_LOGIN.to_owned()],
        Kind::Imap => vec![String::new(), IMAP_LOGIN.to_owned(), format!("{IMAP_LOGIN}{IMAP_SELECT}")],
        Kind::Smtp => vec![String::new(), SMTP_GREETING.to_owned(), format!("{SMTP_GREETING}{SMTP_MAIL}")],
    };
    let mut seeds = Vec::new();
    for script in scripts(kind, sources)? {
        let base = settings(kind, &script);
        for beginning in &beginnings {
            let events = events(&(beginning.clone() + &script));
            seeds.push(Input::write(base, &events));
            // Where the archive is not asked to refuse, and where what a client did not read is fetched.
            seeds.push(Input::write(base | 1 | 3 << 3, &events));
        }
    }
    Ok(seeds)
}

/// The words of the scripts, in libFuzzer's form.
pub fn dictionary(kind: Kind, sources: &Path) -> io::Result<String> {
    let mut words = BTreeSet::new();
    for script in scripts(kind, sources)? {
        for event in events(&script) {
            if let Event::Say(_, bytes) = event {
                let word = |b: &u8| matches!(b, b' ' | b'\r' | b'\n' | b'(' | b')');
                words.extend(bytes.split(word).filter(|word| (2..=24).contains(&word.len())).map(<[u8]>::to_vec));
            }
        }
    }
    let marks = [b'C', b'S', b'c', b's', b'T', b'R', b'K', b'F', b'P', b'X'].map(|verb| vec![crate::input::MARK, verb]);
    words.extend(marks);
    words
        .extend([&b"\r\n"[..], b"\r\n.\r\n", b"\xffC\r\n", b"\r\n\xffS", b"\r\n\xffC", b"{5}\r\n"].map(<[u8]>::to_vec));
    Ok(words.iter().map(|one| word(one)).collect())
}

/// A word in libFuzzer's form.
pub fn word(word: &[u8]) -> String {
    let hex: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("\"{hex}\"\n")
}

/// The scripts of a kind's unit tests: the lines of each test that say what happens.
fn scripts(kind: Kind, sources: &Path) -> io::Result<Vec<String>> {
    let folder = sources.join("protocol").join(match kind {
        Kind::Pop3 => "pop3",
        Kind::Imap => "imap",
        Kind::Smtp => "smtp",
    });
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder.join("tests"))?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    files.extend([folder.join("tests.rs")].into_iter().filter(|file| file.exists()));
    files.sort();
    let mut scripts = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|rs| rs == "rs")) {
        let text = fs::read_to_string(file)?;
        for test in text.split("\nfn ") {
            let lines: Vec<&str> = test.lines().filter_map(script_line).collect();
            if !lines.is_empty() {
                scripts.push(lines.join("\n") + "\n");
            }
        }
    }
    Ok(scripts)
}

/// A line of a script, what belongs to the string around it taken off.
fn script_line(line: &str) -> Option<&str> {
    let line = line.trim_start().trim_start_matches(['r', '#', '"']);
    let end = ["\"#,", "\",", "\"#", "\""].iter().find_map(|end| line.strip_suffix(end)).unwrap_or(line);
    let is_one = ["C:", "S:", "tls ", "eof ", "rest", "fail "].iter().any(|verb| line.starts_with(verb));
    (is_one && !line.starts_with("rest ")).then_some(end)
}

fn settings(kind: Kind, script: &str) -> u8 {
    let tls = if script.contains("tls C") { 2 } else { 0 } | if script.contains("tls S") { 4 } else { 0 };
    let rests = kind == Kind::Imap && script.contains("\nrest");
    tls | if rests { 2 << 3 } else { 0 }
}

fn events(script: &str) -> Vec<Event> {
    script.lines().filter_map(event).collect()
}

fn event(line: &str) -> Option<Event> {
    let side = |letter: &str| if letter.trim() == "S" { Side::Server } else { Side::Client };
    if line.trim() == "rest" {
        return Some(Event::Rest);
    }
    Some(match line.split_once([' ', ':'])? {
        ("C", text) => Event::Say(Side::Client, unescape(text.strip_prefix(' ').unwrap_or(text))),
        ("S", text) => Event::Say(Side::Server, unescape(text.strip_prefix(' ').unwrap_or(text))),
        ("tls", _) => Event::Tls,
        ("eof", letter) => Event::Close(side(letter)),
        ("fail", call) => Event::Refuse(match call.trim() {
            "begin" => 0,
            "append" => 1,
            "prepare" => 2,
            "settle" => 3,
            "begin large" => 4,
            _ => 5,
        }),
        _ => return None,
    })
}

/// As the scripts write bytes; the line end is theirs unless `\` stands last.
fn unescape(text: &str) -> Vec<u8> {
    let (text, ending) = match text.strip_suffix('\\') {
        Some(text) => (text.trim_end_matches('\\'), &b""[..]),
        None => (text, &b"\r\n"[..]),
    };
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        let escaped = if first == b'\\' { rest.first().copied() } else { None };
        let Some(escaped) = escaped else {
            bytes.push(first);
            continue;
        };
        rest = &rest[1..];
        bytes.push(match escaped {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'x' if rest.len() >= 2 => {
                let byte = std::str::from_utf8(&rest[..2]).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
                rest = &rest[2..];
                byte.unwrap_or(b'?')
            }
            other => other,
        });
    }
    bytes.extend_from_slice(ending);
    bytes
}
