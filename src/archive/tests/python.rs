//! `scripts/lib/mailstore/owners.py` says where an owner's messages lie, and what a folder is called there, exactly as this module does.

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::archive::{Folder, Owner, Template};
use crate::utf7;

const TEMPLATES: &[&str] = &[
    "%d/%n",
    "%u",
    "%n@%d",
    "%d@%n",
    "%%~%u",
    "%n/%d",
    "%d%%~/%%~%n",
    "mail/%u/Maildir",
    "x%%%n@%dy",
    "a (b) [c]+/%u",
    "ä/%d/ü%n",
];

/// Reads cases, `what<TAB>argument...`, each argument in hex; answers each by a line of hex.
const ANSWERS: &str = r#"
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
from mailstore import logs, owners

def answer(what, *arguments):
    if what == "owner":
        return owners.owner_of(arguments[0], arguments[1].decode())
    if what == "path":
        return os.fsencode(owners.Template(arguments[0].decode()).path(arguments[1]))
    if what == "back":
        found = owners.Template(arguments[0].decode()).owner(os.fsdecode(arguments[1]))
        return b"none" if found is None else b"some " + found
    if what == "folder":
        return os.fsencode(owners.folder_dir(arguments[0].decode()))
    if what == "levels":
        return os.fsencode(owners.dir_of_levels(list(arguments)))
    if what == "levels back":
        return b"/".join(level.hex().encode() for level in owners.folder_levels(os.fsdecode(arguments[0])))
    if what == "encode":
        return owners.encode_utf7(arguments[0].decode()).encode()
    if what == "decode":
        return owners.decode_utf7(arguments[0]).encode()
    if what == "log":
        return logs.owner(arguments[0]).encode()

for line in sys.stdin:
    what, *arguments = line.rstrip("\n").split("\t")
    print(answer(what, *map(bytes.fromhex, arguments)).hex())
"#;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A question and the answer that is right.
struct Case {
    question: String,
    right: Vec<u8>,
}

fn case(what: &str, arguments: &[&[u8]], right: impl AsRef<[u8]>) -> Case {
    let arguments: String = arguments.iter().map(|argument| format!("\t{}", hex(argument))).collect();
    Case { question: format!("{what}{arguments}"), right: right.as_ref().to_vec() }
}

fn ask(cases: &[Case]) {
    let library = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/lib");
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", ANSWERS, library])
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut stdin = python.stdin.take().unwrap();
    let questions: String = cases.iter().map(|case| format!("{}\n", case.question)).collect();
    let writer = std::thread::spawn(move || stdin.write_all(questions.as_bytes()));
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let answers = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{answers}");
    assert_eq!(answers.lines().count(), cases.len());
    for (case, answer) in cases.iter().zip(answers.lines()) {
        let read = |hex: &str| {
            let bytes = (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap());
            bytes.collect::<Vec<u8>>().escape_ascii().to_string()
        };
        let shown: Vec<String> = case.question.split('\t').skip(1).map(read).collect();
        let what = case.question.split('\t').next().unwrap();
        assert_eq!(read(answer), case.right.escape_ascii().to_string(), "{what} {shown:?}");
    }
}

/// Texts and bytes that are odd in every way known here. No letters that Unicode got lately: Python may not know their cases yet.
fn odd() -> impl Strategy<Value = Vec<u8>> {
    let letter = prop_oneof![
        proptest::sample::select(
            "@%/.~*\\+[](){}^$|'\"-_ &,=:;#!?09azAZ2Ee\0\u{1}\t\n\u{7f}\u{85}\u{ad}".chars().collect::<Vec<_>>()
        ),
        proptest::char::range('\u{a0}', '\u{52f}'),
        proptest::char::range('\u{1e00}', '\u{1fff}'),
        proptest::char::range('\u{2000}', '\u{2190}'),
        proptest::sample::select(
            "\u{212a}\u{212b}\u{130}\u{131}\u{1e9e}ßΣσςǅ\u{3c2}\u{feff}\u{61c}\u{10400}\u{10428}😀日"
                .chars()
                .collect::<Vec<_>>()
        ),
    ];
    let piece = prop_oneof![
        4 => proptest::collection::vec(letter, 0..8).prop_map(|letters| letters.into_iter().collect::<String>().into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
        1 => proptest::sample::select(vec!["%empty", "%2E", "%2f", "..", "INBOX", "inbox", "tmp", "cur", "&-", "&AOk-", "@"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => (proptest::sample::select(vec!["a", "Ü", "%", "%~", "\u{1}"]), 60..320_usize).prop_map(|(text, count)| text.repeat(count).into_bytes()),
        1 => "[0-9a-fA-F]{64}".prop_map(|hash| format!("x%~{hash}").into_bytes()),
    ];
    proptest::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn samples(count: usize) -> Vec<Vec<u8>> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| odd().new_tree(&mut runner).unwrap().current()).collect()
}

#[test]
fn owners_and_their_maildirs() {
    let mut cases = Vec::new();
    for (at, bytes) in samples(1500).iter().enumerate() {
        let owner = Owner::address(bytes, "Home.Example");
        let whole = [owner.user(), b"@", owner.domain()].concat();
        cases.push(case("owner", &[bytes, b"Home.Example"], &whole));
        cases.push(case("log", &[&whole], owner.to_string()));
        let text = TEMPLATES[at % TEMPLATES.len()];
        let path = Template::parse(text).unwrap().path(&owner);
        let path = path.to_str().unwrap();
        cases.push(case("path", &[text.as_bytes(), &whole], path));
        // A name that was shortened does not tell whose it is.
        let told =
            if path.contains("%~") && is_shortened(path) { b"none".to_vec() } else { [b"some ", &whole[..]].concat() };
        cases.push(case("back", &[text.as_bytes(), path.as_bytes()], told));
    }
    ask(&cases);
}

/// Whether any of the path's names ends with the hash of what it was.
fn is_shortened(path: &str) -> bool {
    path.split('/').any(|name| {
        name.rsplit_once("%~")
            .is_some_and(|(_, hash)| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
}

#[test]
fn folders() {
    let mut cases = Vec::new();
    let samples = samples(1500);
    for (at, bytes) in samples.iter().enumerate() {
        if let Ok(text) = std::str::from_utf8(bytes) {
            cases.push(case("folder", &[bytes], Folder::parse(text).dir_name()));
            let spelled = utf7::encode(text);
            cases.push(case("encode", &[bytes], &spelled));
            cases.push(case("decode", &[spelled.as_bytes()], text));
        }
        let levels: Vec<&[u8]> = samples[at..samples.len().min(at + 1 + at % 3)].iter().map(Vec::as_slice).collect();
        let folder = Folder::new(&levels);
        cases.push(case("levels", &levels, folder.dir_name()));
        if !folder.dir_name().is_empty() && !is_shortened(folder.dir_name()) {
            let told: Vec<String> = levels.iter().map(|level| hex(level)).collect();
            cases.push(case("levels back", &[folder.dir_name().as_bytes()], told.join("/")));
        }
    }
    ask(&cases);
}
