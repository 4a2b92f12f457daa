//! `scripts/lib/mailstore/config.py` understands a `mailstore.ini` as the program does. (What it knows of owners and folders is compared in
//! src/archive/tests/python.rs.)

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use support::*;

const READ: &str = "
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
from mailstore import config
for line in sys.stdin:
    found = config.load(line.rstrip('\\n'))
    values = [found.spool, found.template.text, found.default_domain, found.sent_folder, found.user, found.group]
    values += [name for _, name, _ in found.proxies()]
    print('\\t'.join(os.fsencode(value).hex() for value in values))
";

/// As the program understands it; none where it is faulty.
fn understood(file: &Path) -> Option<Vec<String>> {
    let config = mailstore::config::load(file).ok()?;
    let shared = config.shared;
    let spool = shared.spool.to_str().unwrap().to_owned();
    let (user, group) = (shared.user.unwrap_or_default(), shared.group.unwrap_or_default());
    let mut values = vec![spool, shared.maildir, shared.default_domain, shared.sent_folder, user, group];
    values.extend(config.proxies.into_iter().map(|proxy| proxy.name));
    Some(values)
}

/// As the scripts do.
fn read(lab: &Lab, files: &[PathBuf]) -> Vec<Vec<String>> {
    let library = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/lib");
    let paths: String = files.iter().map(|file| format!("{}\n", file.display())).collect();
    let output = client::run_with_input("/usr/bin/python3", &["-c", READ, library], paths.as_bytes(), lab.path()).ok();
    let text = |hex: &str| {
        let bytes = (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        String::from_utf8(bytes).expect("UTF-8")
    };
    output.text().lines().map(|line| line.split('\t').map(text).collect()).collect()
}

const PROXY: &str = "[pop3]\nlisten = 127.0.0.1:0\nupstream = localhost:1\nupstream_tls = none\n";

#[test]
fn odd_files_and_what_they_mean() {
    let lab = Lab::new();
    let dir = lab.path().to_str().unwrap();
    let here = |below: &str| format!("{dir}/{below}");
    let mut files = Vec::new();
    let mut expected = Vec::new();
    let mut file = |shared: &[u8], spool: String, rest: [&str; 4]| {
        let path = lab.path().join(format!("{}.ini", files.len()));
        let text =
            if shared.is_empty() { PROXY.into() } else { [b"[mailstore]\n", shared, b"\n", PROXY.as_bytes()].concat() };
        fs::write(&path, text).unwrap();
        files.push(path);
        expected.push([spool].into_iter().chain(rest.map(str::to_owned)).collect::<Vec<String>>());
    };
    let usual = ["%d/%n", "localhost", "Sent", ""];
    file(b"", here("mailSpool"), usual);
    file(b"spool =", String::new(), usual);
    file(b"spool = /srv/mail#2;x", "/srv/mail#2;x".into(), usual);
    file(b"spool = /srv/mail #2", "/srv/mail".into(), usual);
    file(b"SPOOL=\t\"/srv/mail #2\"  ; why", "/srv/mail #2".into(), usual);
    file(b"spool = \" a = b \"", here("a = b"), usual);
    file(b"spool = a = b", here("a = b"), usual);
    file(b"# spool = no\r\n ; spool = no\r\n  Spool = ../a b\r\nMaildir = %U\r\n", String::new(), usual);
    file(b"maildir = %u\r\nuser = root\r\n\r\n", here("mailSpool"), ["%u", "localhost", "Sent", "root"]);
    file(b"default_domain = Example.COM\nsent_folder =", here("mailSpool"), ["%d/%n", "example.com", "", ""]);
    file("sent_folder = Gesendet/Ö.ü # so\n".as_bytes(), here("mailSpool"), ["%d/%n", "localhost", "Gesendet/Ö.ü", ""]);
    // A comment in another encoding does not change what the rest is.
    file(b"# M\xfcll\nspool = /srv/M\xc3\xbcll\n; \xff", "/srv/Müll".into(), usual);
    file(b"[more]\n", String::new(), usual);
    // The first does not count: it is a fault.
    file(b"spool = a\nspool = b\n", String::new(), usual);
    let sound: Vec<bool> = files.iter().map(|file| understood(file).is_some()).collect();
    assert_eq!(sound, expected.iter().map(|values| !values[0].is_empty()).collect::<Vec<bool>>());
    let files: Vec<PathBuf> =
        files.into_iter().zip(&sound).filter(|(_, sound)| **sound).map(|(file, _)| file).collect();
    expected.retain(|values| !values[0].is_empty());
    let found = read(&lab, &files);
    assert_eq!(found.len(), files.len());
    for ((file, expected), found) in files.iter().zip(expected).zip(found) {
        assert_eq!(found[..5], expected, "{}", file.display());
        assert_eq!(Some(found), understood(file), "{}", file.display());
    }
}

/// Lines of a file that is sound more often than not.
fn ini() -> impl Strategy<Value = Vec<u8>> {
    let blank = || proptest::sample::select(vec!["", " ", "\t", "  ", "\u{a0}"]);
    let value = proptest::sample::select(vec![
        "",
        "a",
        "/srv/a b",
        "%u",
        "%d/%n",
        "%n@%d",
        "x/%u",
        "Sent",
        "Gesendet/Ü",
        "INBOX.Sent",
        "root",
        "Example.COM",
        "\u{212a}im.example",
        "a#b;c",
        "a = b",
        "[x]",
        "a\"b\"",
        "'a'",
        "%%/%u",
        "mail.example.",
        "ä",
    ]);
    let quoted = (value, any::<bool>()).prop_map(|(value, quoted)| {
        if quoted && !value.contains('"') { format!("\"{value}\"") } else { value.to_owned() }
    });
    let key =
        proptest::sample::select(vec!["spool", "maildir", "default_domain", "sent_folder", "user", "Spool", "MAILDIR"]);
    let comment = proptest::sample::select(vec!["", "", "", " # c", "\t;c", " ;", "#c"]);
    let line = (blank(), key, blank(), blank(), quoted, comment)
        .prop_map(|(before, key, left, right, value, comment)| format!("{before}{key}{left}={right}{value}{comment}"));
    let line = prop_oneof![
        6 => line,
        1 => proptest::sample::select(vec!["", "# spool = x", "; x", " \t", "#[imap]"]).prop_map(str::to_owned),
    ];
    let head = proptest::sample::select(vec!["[mailstore]", "[ MailStore ] # c", "\t[mailstore]\t", ""]);
    let proxies = proptest::sample::select(vec![
        PROXY.to_owned(),
        PROXY.replace("[pop3]", "[POP3:Office]"),
        PROXY.to_owned() + &PROXY.replace("[pop3]", "[ smtp:mx ] ; c"),
    ]);
    (proptest::collection::vec(line, 0..4), head, proxies, any::<[bool; 3]>()).prop_map(
        |(lines, head, proxies, [mark, crlf, last])| {
            let shared = if head.is_empty() { String::new() } else { format!("{head}\n{}\n", lines.join("\n")) };
            let text = if last { shared.clone() + &proxies } else { proxies + &shared };
            let text = if crlf { text.replace('\n', "\r\n") } else { text };
            [if mark { "\u{feff}" } else { "" }, &text].concat().into_bytes()
        },
    )
}

#[test]
fn any_sound_file_means_the_same() {
    let lab = Lab::new();
    let mut runner = TestRunner::deterministic();
    let mut files = Vec::new();
    for number in 0..1500 {
        let file = lab.path().join(format!("{number}.ini"));
        fs::write(&file, ini().new_tree(&mut runner).unwrap().current()).unwrap();
        if understood(&file).is_some() {
            files.push(file);
        }
    }
    assert!(files.len() > 300, "only {} files are sound", files.len());
    let found = read(&lab, &files);
    assert_eq!(found.len(), files.len());
    for (file, found) in files.iter().zip(found) {
        let text = fs::read(file).unwrap().escape_ascii().to_string();
        assert_eq!(found, understood(file).unwrap(), "{text}");
    }
}

#[test]
fn the_file_that_comes_with_the_program_means_the_same() {
    let lab = Lab::new();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("mailstore.ini");
    let text = fs::read_to_string(sample).unwrap();
    let file = lab.path().join("mailstore.ini");
    // As it is, and with every setting switched on that is shown.
    fs::write(&file, &text).unwrap();
    assert_eq!(read(&lab, std::slice::from_ref(&file)), [understood(&file).unwrap()]);
    let on: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if ["spool", "maildir", "sent_folder"].iter().any(|key| setting.starts_with(key)) => {
                format!("{setting}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    assert_ne!(on, text);
    fs::write(&file, on).unwrap();
    assert_eq!(read(&lab, std::slice::from_ref(&file)), [understood(&file).unwrap()]);
}

/// The spool lies in a folder of the service's user, who may put a link in its place.
#[test]
fn a_link_in_the_place_of_the_spool_brings_no_line_into_the_unit() {
    let lab = Lab::new();
    let ini = lab.path().join("mailstore.ini");
    fs::write(&ini, "[mailstore]\nspool = spool\n").unwrap();
    std::os::unix::fs::symlink("/srv/x\nExecStartPre=+/bin/false\n#", lab.path().join("spool")).unwrap();
    let script = "import sys; sys.dont_write_bytecode = True; sys.path.insert(0, sys.argv[1])\n\
                  from mailstore import config, service\n\
                  service.unit, service.DROP_IN, service.TMP = lambda: '/etc', sys.argv[3], ()\n\
                  print(service.fits(config.load(sys.argv[2]), 'mailstore.ini', 'nobody', True))";
    let library = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/lib");
    let made = lab.path().join("made/spool.conf");
    let args = ["-c", script, library, ini.to_str().unwrap(), made.to_str().unwrap()];
    let output = client::run_with_input("/usr/bin/python3", &args, b"", lab.path()).ok();
    assert_eq!(output.text(), "False\n");
    assert!(!made.exists() && output.errors().contains("cannot be in a unit"), "{}", output.errors());
}
