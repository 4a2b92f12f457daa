//! The parsers beside the protocols: the end of data, SASL, dates, names, the configuration, the notes, and what lies in `tmp`.
//!
//! Each is held against the plainest other way to say what it has to do.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use mailstore::archive::{Archive, Folder, Owner, Settings, Template, fuzzing};
use mailstore::protocol::dot::{Event, Unstuffer};
use mailstore::protocol::sasl::{Exchange, Mechanism};
use mailstore::{config, logging, utf7};
use sha2::{Digest, Sha256};

/// How the bytes are cut: by the first of them.
fn pieces(data: &[u8]) -> (usize, &[u8]) {
    let (&first, rest) = data.split_first().unwrap_or((&0, &[]));
    (1 + usize::from(first & 0x3f), rest)
}

/// Stuffed text, in POP3's reading and in SMTP's.
pub fn dot(data: &[u8]) {
    let (piece, text) = pieces(data);
    let starts = |at: usize| at == 0 || text[..at].ends_with(b"\r\n");
    let end = (0..text.len()).find(|&at| starts(at) && text[at..].starts_with(b".\r\n"));
    let body = &text[..end.unwrap_or(text.len())];
    let (plain, stop) = unstuff(Unstuffer::lenient(), text, piece);
    assert_eq!(stop, end.map_or(Stop::Open, |end| Stop::End(end + 3)));
    // What is held at the end of what came is no data yet.
    let held = if end.is_some() {
        0
    } else {
        [&b"."[..], b".\r"]
            .iter()
            .filter(|held| body.ends_with(held) && starts(body.len() - held.len()))
            .map(|held| held.len())
            .sum()
    };
    let body = &body[..body.len() - held];
    let expected: Vec<u8> =
        (0..body.len()).filter(|&at| !(body[at] == b'.' && starts(at))).map(|at| body[at]).collect();
    assert_eq!(plain.escape_ascii().to_string(), expected.escape_ascii().to_string());

    let (strict, stop) = unstuff(Unstuffer::strict(), text, piece);
    assert!(plain.starts_with(&strict) || matches!(stop, Stop::Dubious(_)) && strict.starts_with(&plain));
    let ending = |byte: u8| matches!(byte, b'\r' | b'\n' | 0);
    // A dot between two line ends of any kind, unless it is the end.
    let lone = |at: &usize| {
        // There are readers that drop NULs.
        let line = text[..*at].iter().rposition(|&byte| byte != 0).map(|at| text[at]);
        let before = line.is_none_or(|last| matches!(last, b'\r' | b'\n'));
        let proper = starts(*at) && text[at + 1..].starts_with(b"\r\n");
        let whole = starts(*at) && text[at + 1..] == b"\r"[..];
        text[*at] == b'.' && before && !proper && !whole && text.get(at + 1).is_some_and(|&byte| ending(byte))
    };
    let first = (0..end.unwrap_or(text.len())).find(lone);
    match (stop, first) {
        // Told before the byte that completes it has passed, however the server reads it.
        (Stop::Dubious(at), Some(first)) => assert!(at <= first + 2, "told at {at}, the dot is at {first}"),
        (Stop::Dubious(at), None) => panic!("dubious at {at}: {}", text.escape_ascii()),
        (_, Some(first)) => panic!("not told of the dot at {first}: {}", text.escape_ascii()),
        (stop, None) => assert_eq!(stop, end.map_or(Stop::Open, |end| Stop::End(end + 3))),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Stop {
    Open,
    End(usize),
    Dubious(usize),
}

/// What is handed out up to the end, or up to what is dubious; and that what passes on is what came.
fn unstuff(mut dot: Unstuffer, text: &[u8], piece: usize) -> (Vec<u8>, Stop) {
    let (mut plain, mut passed, mut taken) = (Vec::new(), Vec::new(), 0);
    for piece in text.chunks(piece) {
        let mut at = 0;
        while at < piece.len() {
            let (used, event) = dot.step(&piece[at..]);
            at += used;
            taken += used;
            match event {
                Event::Data { raw, message } => {
                    passed.extend_from_slice(raw);
                    plain.extend_from_slice(message);
                }
                Event::Held => assert!(used > 0),
                Event::End => return (plain, Stop::End(taken)),
                Event::Dubious(_) => return (plain, Stop::Dubious(taken)),
            }
            assert_eq!([&passed[..], dot.held()].concat(), text[..taken]);
        }
    }
    (plain, Stop::Open)
}

/// An exchange: the first byte names the mechanism, then lines of the client (`>`), challenges (`<`) or an initial response (`=`).
pub fn sasl(data: &[u8]) {
    let (&first, rest) = data.split_first().unwrap_or((&0, &[]));
    let names: [&[u8]; 8] =
        [b"PLAIN", b"LOGIN", b"CRAM-MD5", b"SCRAM-SHA-256", b"XOAUTH2", b"OAUTHBEARER", b"NTLM", b"SCRAM-SHA-1-PLUS"];
    let Some(mechanism) = Mechanism::parse(names[usize::from(first & 7)]) else { return };
    let mut exchange = Exchange::new(mechanism);
    let mut asked_password = false;
    for line in rest.split(|&b| b == b'\n') {
        let Some((&verb, line)) = line.split_first() else { continue };
        let before = exchange.identity().map(<[u8]>::to_vec);
        match verb {
            b'<' => {
                exchange.challenge(line);
                asked_password = mechanism == Mechanism::Login && line.eq_ignore_ascii_case(b"password:");
            }
            b'=' => drop(exchange.initial_response(line)),
            _ => {
                let said = exchange.response(line);
                if line == b"*" {
                    assert_eq!(exchange.identity(), None);
                } else if asked_password {
                    assert!(said.is_ok());
                    assert_eq!(exchange.identity(), before.as_deref(), "a password became a name");
                }
                if let Err(rejected) = said {
                    assert_eq!(exchange.identity(), None);
                    assert!(!rejected.0.chars().any(char::is_control));
                }
            }
        }
        // What is no base64 names nobody.
        if verb != b'<' && line.len() > 1 && !line.is_ascii() {
            assert!(exchange.identity().is_none() || exchange.identity() == before.as_deref());
        }
        assert!(!format!("{exchange:?}").contains("identity"));
    }
}

/// A message's first `Received:` field.
pub fn received(data: &[u8]) {
    let (piece, message) = pieces(data);
    let date = fuzzing::received(message.chunks(piece));
    assert_eq!(date, fuzzing::received([message]), "in pieces of {piece}");
}

/// Two logins, folders and a template, divided by LF.
pub fn names(data: &[u8]) {
    let mut words = data.split(|&b| b == b'\n');
    let mut word = || words.next().unwrap_or_default();
    let (one, other, domain, template) = (word(), word(), word(), word());
    let domain = String::from_utf8_lossy(domain);
    let owners = [one, other].map(|login| Owner::new(login, &domain));
    for owner in &owners {
        assert!(!owner.to_string().chars().any(|c| c.is_control() || c == ' '));
        let named = [owner.user(), b"@", owner.domain()].concat();
        assert_eq!(Owner::address(&named, &domain), *owner, "an owner's name is another's");
    }
    let template = Template::parse(&String::from_utf8_lossy(template));
    let templates = [Template::parse("%d/%n").expect("the default"), Template::parse("%u").expect("an address")];
    for template in templates.iter().chain(template.iter()) {
        let paths = owners.each_ref().map(|owner| fuzzing::maildir(template, owner));
        paths.iter().for_each(|path| inside(path));
        assert_eq!(paths[0] == paths[1], owners[0] == owners[1], "{paths:?} of {owners:?}");
        assert!(!paths[0].starts_with(&paths[1]) || paths[0] == paths[1], "a Maildir within another");
    }
    let levels: Vec<&[u8]> = one.split(|&b| b == b'/').collect();
    let others: Vec<&[u8]> = other.split(|&b| b == b'/').collect();
    let (folder, folders) = (Folder::new(&levels), Folder::new(&others));
    for folder in [&folder, &folders] {
        let name = folder.dir_name();
        assert!(
            name.is_empty()
                || name.len() > 1 && name.starts_with('.') && !name.starts_with("..")
                || name.starts_with("..") && name.len() > 2
        );
        assert!(name.len() <= 255 && !name.contains(['/', '\0']) && name.is_ascii());
        assert!(!folder.to_string().chars().any(|c| c.is_control() || c == ' '));
    }
    let same = levels == others
        || [&levels, &others].iter().all(|levels| levels.len() == 1 && levels[0].eq_ignore_ascii_case(b"INBOX"));
    assert_eq!(folder == folders, same, "{folder:?} {folders:?}");
    if let Some(name) = utf7::decode(one) {
        assert_eq!(utf7::encode(&name).as_bytes(), one);
    }
    if let Ok(name) = std::str::from_utf8(one) {
        assert_eq!(utf7::decode(utf7::encode(name).as_bytes()).as_deref(), Some(name));
        Folder::parse(name);
    }
    for text in [logging::escape(one), logging::escape_whole(one), logging::quote(one)] {
        assert!(text.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
    }
    assert_eq!(logging::escape_whole(one) == logging::escape_whole(other), one == other);
}

/// A path that stays below where it begins and that every file system can hold.
fn inside(path: &Path) {
    for part in path.components() {
        let Component::Normal(name) = part else { panic!("{}", path.display()) };
        let name = name.to_str().expect("UTF-8");
        assert!(name.len() <= 255 && !name.starts_with('.') && !name.chars().any(char::is_control), "{name:?}");
    }
}

/// `mailstore.ini`.
pub fn configuration(data: &[u8]) {
    let path = scratch().join("mailstore.ini");
    fs::write(&path, data).expect("written");
    match config::load(&path) {
        Ok(config) => assert!(!config.proxies.is_empty()),
        Err(faults) => {
            assert!(!faults.is_empty());
            for fault in faults {
                assert!(!fault.to_string().chars().any(char::is_control), "{fault}");
            }
        }
    }
}

/// A file of notes: `\xff` and a digit stand for a line that was written, the rest for what became of the file.
pub fn notes(data: &[u8]) {
    let spool = scratch().join("noted");
    let maildir = spool.join("example.com/me");
    static ONCE: OnceLock<()> = OnceLock::new();
    const MESSAGES: [&str; 4] = ["", "a", "ab", "abc"];
    ONCE.get_or_init(|| {
        for leaf in ["new", "cur", "tmp"] {
            fs::create_dir_all(maildir.join(leaf)).expect("made");
        }
        for (number, message) in MESSAGES.iter().enumerate() {
            let name = format!("new/1.M0P1Q{number}.host,S={},H={}", message.len(), hex(&Sha256::digest(message)));
            fs::write(maildir.join(name), message).expect("written");
        }
    });
    let keys: Vec<String> = (0..4).map(|number| format!("host:993 imap INBOX 7 {number}")).collect();
    let lines: Vec<String> = keys
        .iter()
        .zip(MESSAGES)
        .map(|(key, message)| fuzzing::note(key, message.len() as u64, Sha256::digest(message).into()))
        .collect();
    let mut text = Vec::new();
    let mut rest = data;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match (byte, rest.split_first()) {
            (0xff, Some((&number, behind))) => {
                rest = behind;
                text.extend_from_slice(lines[usize::from(number & 3)].as_bytes());
            }
            _ => text.push(byte),
        }
    }
    fs::write(maildir.join(fuzzing::NOTES), &text).expect("written");
    let archive = archive(&spool);
    let owner = Owner::new(b"me", "example.com");
    let whole: Vec<&[u8]> = text.split_inclusive(|&b| b == b'\n').collect();
    for (key, line) in keys.iter().zip(&lines) {
        let noted = whole.contains(&line.as_bytes());
        assert_eq!(archive.has(&owner, key), noted, "{key} in {}", text.escape_ascii());
    }
    assert!(!archive.has(&owner, &String::from_utf8_lossy(data)));
}

/// A file in `tmp` after a crash: its name, LF, what it holds. In the name `\xff` stands for this host, the right size and hash, and `\xfe` for the host alone.
pub fn left_behind(data: &[u8]) {
    let at = data.iter().position(|&b| b == b'\n').unwrap_or(data.len());
    let (name, text) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let hash = hex(&Sha256::digest(text));
    let host = fuzzing::host();
    let right = format!("{host},S={},H={hash}", text.len());
    let name = name.split(|&b| b == 0xff).collect::<Vec<_>>().join(right.as_bytes());
    let Ok(name) = String::from_utf8(name.split(|&b| b == 0xfe).collect::<Vec<_>>().join(host.as_bytes())) else {
        return;
    };
    if name.is_empty() || name.len() > 255 || name.contains(['/', '\0']) || name == "." || name == ".." {
        return;
    }
    let spool = scratch().join("left");
    let maildir = spool.join("example.com/me");
    let _ = fs::remove_dir_all(&maildir);
    fs::create_dir_all(maildir.join("tmp")).expect("made");
    let file = maildir.join("tmp").join(&name);
    fs::write(&file, text).expect("written");
    let recovery = archive(&spool).recover();
    let kept = ["new", "cur"].iter().flat_map(|leaf| fs::read_dir(maildir.join(leaf)).into_iter().flatten());
    let kept: Vec<PathBuf> = kept.map(|entry| entry.expect("read").path()).collect();
    match fuzzing::left_by(name.as_bytes()) {
        None => assert!(file.exists() && kept.is_empty(), "somebody else's file was touched: {name}"),
        Some((_, true)) if !name.contains(&right) => {
            assert!(file.exists() && kept.is_empty(), "kept with a wrong hash: {name}")
        }
        // No process has so high a number.
        Some((4_194_304.., true)) => {
            let [kept] = &kept[..] else { panic!("a prepared message was not kept once: {name} {recovery:?}") };
            assert_eq!(fs::read(kept).expect("read"), text);
            assert!(!file.exists());
        }
        Some((pid, whole)) => {
            assert!(whole || kept.is_empty(), "what is not whole was kept: {name}");
            assert!(whole || pid < 4_194_304 || !file.exists(), "what is not whole stays: {name}");
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn archive(spool: &Path) -> Archive {
    let maildir = Template::parse("%d/%n").expect("the default");
    Archive::new(Settings { spool: spool.to_owned(), maildir, sync: false })
}

/// A folder of this process's own, below the one that `scripts/fuzz` made and removes.
fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    SCRATCH.get_or_init(|| {
        let root = std::env::var_os("MAILSTORE_FUZZ_SCRATCH").map_or_else(std::env::temp_dir, PathBuf::from);
        let scratch = root.join(format!("mailstore-fuzz-{}", std::process::id()));
        fs::create_dir_all(&scratch).expect("a temporary folder");
        scratch
    })
}
