//! What lies in the spool, and whether it lies there as promised.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::dovecot::{Dovecot, DovecotOptions, Place, entries, give_away};
use super::{Lab, Tls, wait_until, wire};

pub struct Spool {
    root: PathBuf,
}

/// One kept message.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    /// The folder of the owner's Maildir below the spool: `example.org/ann`.
    pub owner: String,
    /// Empty for the inbox, else the Maildir++ folder's name without its dot: `Work.Reports`.
    pub folder: String,
    pub place: Place,
    pub bytes: Vec<u8>,
    pub name: String,
}

impl Spool {
    pub fn at(root: &Path) -> Spool {
        Spool { root: root.to_owned() }
    }

    pub fn path(&self) -> &Path {
        &self.root
    }

    /// All that is kept, in a fixed order. Waits until no draft is left (a session may still be ending), then checks what holds
    /// for every file: nothing else in the Maildirs, folders 0700, files 0600, and names that prove their contents.
    pub fn list(&self) -> Vec<Kept> {
        let maildirs = self.maildirs();
        wait_until("no draft is left in any tmp", Duration::from_secs(20), || {
            maildirs.iter().all(|dir| entries(&dir.join("tmp")).is_empty())
        });
        let mut all: Vec<Kept> = maildirs.iter().flat_map(|dir| self.read(dir)).collect();
        all.sort();
        all
    }

    /// Fails unless exactly these are kept; `expected` in any order, compared byte by byte.
    #[track_caller]
    pub fn holds(&self, expected: &[Expected]) {
        let describe = |owner: &str, folder: &str, place: Place, bytes: &[u8]| {
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(500)]).into_owned();
            let start: String = start.split("Subject: ").last().unwrap_or_default().chars().take(40).collect();
            format!("{owner} [{folder}] {place:?} {} bytes {:.12} {start:?}", bytes.len(), hash(bytes))
        };
        let kept = self.list();
        let mut has: Vec<String> = kept.iter().map(|k| describe(&k.owner, &k.folder, k.place, &k.bytes)).collect();
        let mut wants: Vec<String> =
            expected.iter().map(|e| describe(&e.owner, &e.folder, e.place, &e.bytes)).collect();
        has.sort();
        wants.sort();
        let missing: Vec<_> = difference(&wants, &has);
        let surplus: Vec<_> = difference(&has, &wants);
        assert!(
            missing.is_empty() && surplus.is_empty(),
            "the spool is not as expected\nmissing: {missing:#?}\nnot expected: {surplus:#?}"
        );
    }

    /// Copies the spool as a backup does (`tmp` left out), starts a Dovecot over the copy, and fails unless it serves to each
    /// owner exactly what is kept, by IMAP, with the very bytes.
    pub fn served_by_dovecot(&self, lab: &Lab) {
        let copy = lab.folder("copy");
        copy_tree(&self.root, &copy);
        give_away(&copy);
        let options =
            DovecotOptions { spool: Some(copy), separator: '.', special_use: None, ..DovecotOptions::default() };
        let dovecot = Dovecot::with(lab, options);
        let mut by_owner: BTreeMap<String, BTreeMap<String, Vec<Vec<u8>>>> = BTreeMap::new();
        for kept in self.list() {
            by_owner.entry(kept.owner).or_default().entry(kept.folder).or_default().push(kept.bytes);
        }
        for (owner, mut folders) in by_owner {
            let (domain, user) = owner.split_once('/').expect("domain/user");
            let endpoint = dovecot.endpoint(super::Kind::Imap, Tls::None);
            let mut served = wire::all_mail(lab, endpoint, &format!("{user}@{domain}"));
            served.retain(|_, messages| !messages.is_empty());
            served.values_mut().for_each(|messages| messages.sort());
            folders.values_mut().for_each(|messages| messages.sort());
            let kept: BTreeMap<String, _> = folders
                .into_iter()
                .map(|(folder, messages)| (if folder.is_empty() { "INBOX".to_owned() } else { folder }, messages))
                .collect();
            assert_eq!(kept.keys().collect::<Vec<_>>(), served.keys().collect::<Vec<_>>(), "folders of {owner}");
            for (folder, messages) in kept {
                assert!(messages == served[&folder], "a Dovecot over the spool serves other bytes: {owner} {folder}");
            }
        }
    }

    /// The Maildirs, folders included: whatever holds a `cur`.
    fn maildirs(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut todo = vec![self.root.clone()];
        while let Some(dir) = todo.pop() {
            if dir.join("cur").is_dir() {
                found.push(dir.clone());
            }
            // An owner or a domain may be called like these.
            let own: &[&str] = if dir.join("cur").is_dir() { &["cur", "new", "tmp"] } else { &[] };
            todo.extend(
                entries(&dir)
                    .into_iter()
                    .filter(|entry| entry.is_dir() && !own.contains(&entry.file_name().unwrap().to_str().unwrap())),
            );
        }
        found
    }

    fn read(&self, maildir: &Path) -> Vec<Kept> {
        let below = maildir.strip_prefix(&self.root).unwrap().to_str().expect("a name in UTF-8").to_owned();
        let (owner, folder) = match below.split_once("/.") {
            Some((owner, folder)) => (owner.to_owned(), folder.to_owned()),
            None => (below, String::new()),
        };
        // Up to the spool's root, every folder is the owner's alone.
        for dir in maildir.ancestors().take_while(|dir| dir.starts_with(&self.root)) {
            assert_eq!(mode(dir), 0o700, "the mode of {}", dir.display());
        }
        let mut kept = Vec::new();
        for (sub, place) in [("new", Place::New), ("cur", Place::Cur)] {
            assert_eq!(mode(&maildir.join(sub)), 0o700, "the mode of {}/{sub}", maildir.display());
            for file in entries(&maildir.join(sub)) {
                let name = file.file_name().unwrap().to_str().unwrap().to_owned();
                let bytes = fs::read(&file).unwrap();
                assert_eq!(mode(&file), 0o600, "the mode of {}", file.display());
                check_name(&name, place, &bytes);
                kept.push(Kept { owner: owner.clone(), folder: folder.clone(), place, bytes, name });
            }
        }
        kept
    }
}

/// What a test expects to be kept.
#[derive(Clone)]
pub struct Expected {
    pub owner: String,
    pub folder: String,
    pub place: Place,
    pub bytes: Vec<u8>,
}

/// Came in: lies in `new`. The user as `user@domain`.
pub fn received(user: &str, folder: &str, bytes: &[u8]) -> Expected {
    Expected { owner: owner(user), folder: folder.to_owned(), place: Place::New, bytes: bytes.to_vec() }
}

/// Sent by the owner himself: lies in `cur` of the sent folder, as seen.
pub fn sent(user: &str, bytes: &[u8]) -> Expected {
    Expected { owner: owner(user), folder: "Sent".to_owned(), place: Place::Cur, bytes: bytes.to_vec() }
}

pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn owner(user: &str) -> String {
    let (name, domain) = user.rsplit_once('@').unwrap_or((user, "localhost"));
    format!("{domain}/{name}").to_lowercase()
}

/// `<seconds>.M<microseconds>P<pid>Q<count>.<host>,S=<bytes>,H=<SHA-256>`, and `:2,S` behind it in `cur`.
fn check_name(name: &str, place: Place, bytes: &[u8]) {
    let suffix = format!(",S={},H={}{}", bytes.len(), hash(bytes), if place == Place::Cur { ":2,S" } else { "" });
    let base = name.strip_suffix(&suffix).unwrap_or_else(|| panic!("the name {name} should end with {suffix}"));
    let (seconds, rest) = base.split_once(".M").unwrap_or_else(|| panic!("no .M in {name}"));
    let (micros, rest) = rest.split_once('P').unwrap_or_else(|| panic!("no P in {name}"));
    let (pid, rest) = rest.split_once('Q').unwrap_or_else(|| panic!("no Q in {name}"));
    let (count, host) = rest.split_once('.').unwrap_or_else(|| panic!("no host in {name}"));
    for number in [seconds, micros, pid, count] {
        assert!(!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()), "`{number}` in {name}");
    }
    assert!(!host.is_empty() && !host.contains([',', ':', '/']), "the host in {name}");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// What is in `a` and not in `b`, both sorted, counting how often.
fn difference(a: &[String], b: &[String]) -> Vec<String> {
    let mut rest = b.to_vec();
    let missing = a.iter().filter(|item| match rest.iter().position(|other| other == *item) {
        Some(at) => {
            rest.swap_remove(at);
            false
        }
        None => true,
    });
    missing.cloned().collect()
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in entries(from) {
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            fs::create_dir(&target).unwrap();
            if entry.file_name().unwrap() != "tmp" || !from.join("cur").is_dir() {
                copy_tree(&entry, &target);
            }
        } else {
            fs::copy(&entry, &target).unwrap();
        }
    }
}
