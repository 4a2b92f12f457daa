//! Tests of the archive as a whole, on a real file system.

mod crash;
mod failing;
mod once;
mod order;
mod python;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;

use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;

const MESSAGE: &[u8] = b"Subject: hello\r\n\r\nbody\r\n";

struct Spool {
    dir: TempDir,
    archive: Archive,
}

impl Spool {
    fn new() -> Spool {
        Spool::with_names_max(NAMES_MAX)
    }

    fn with_names_max(names_max: usize) -> Spool {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::with_names_max(settings(dir.path()), names_max);
        Spool { dir, archive }
    }

    /// A second life of the program over the same spool.
    fn restart(&self) -> Archive {
        Archive::new(settings(self.dir.path()))
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join("spool").join(below)
    }

    fn keep(&self, to: &[Destination], message: &[u8]) -> Vec<Kept> {
        keep(&self.archive, to, message)
    }

    /// All regular files below the spool with their content, by relative path.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        walk(&self.path(""), &mut |path, meta| {
            if meta.is_file() {
                let name = path.strip_prefix(self.path("")).unwrap();
                files.insert(name.to_str().unwrap().to_string(), fs::read(path).unwrap());
            }
        });
        files
    }

    fn only_file(&self) -> String {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        files.into_keys().next().unwrap()
    }
}

fn settings(dir: &Path) -> Settings {
    Settings { spool: dir.join("spool"), maildir: Template::parse("%d/%n").unwrap(), sync: true }
}

fn walk(dir: &Path, action: &mut dyn FnMut(&Path, &fs::Metadata)) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        action(&entry.path(), &meta);
        if meta.is_dir() {
            walk(&entry.path(), action);
        }
    }
}

fn to(login: &str, folder: &str, outgoing: bool) -> Destination {
    Destination { owner: Owner::new(login.as_bytes(), "localhost"), folder: Folder::parse(folder), outgoing }
}

fn inbox(login: &str) -> Destination {
    to(login, "", false)
}

fn draft(archive: &Archive, to: &[Destination], message: &[u8]) -> Draft {
    let mut draft = archive.begin(to).unwrap();
    draft.append(message).unwrap();
    draft
}

fn keep(archive: &Archive, to: &[Destination], message: &[u8]) -> Vec<Kept> {
    let mut results = archive.keep_all(vec![draft(archive, to, message)]);
    results.remove(0).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    safe::hex(&Sha256::digest(bytes))
}

fn duplicates(kept: &[Kept]) -> Vec<bool> {
    kept.iter().map(|kept| kept.duplicate).collect()
}

fn now_s() -> i64 {
    let now = std::time::SystemTime::now();
    i64::try_from(now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// As a reload that changes `sync` leaves them: the sessions that are open have the one, the next ones the other.
#[test]
fn what_one_keeps_the_same_archive_with_another_sync_knows() {
    let spool = Spool::new();
    let other = spool.archive.with_sync(false);
    for (round, (one, two)) in [(&spool.archive, &other), (&other, &spool.archive)].into_iter().enumerate() {
        for number in 0..3 {
            let message = format!("Subject: {round} {number}\r\n\r\n").into_bytes();
            assert_eq!(duplicates(&keep(one, &[inbox("ann@example.org")], &message)), [false]);
            assert_eq!(duplicates(&keep(two, &[inbox("ann@example.org")], &message)), [true]);
        }
    }
    assert_eq!(spool.files().len(), 6);
    // What the one did not flush is not on disk for the other.
    let message = b"Subject: unflushed\r\n\r\n";
    keep(&other, &[inbox("ann@example.org")], message);
    let mark = |archive: &Archive| {
        let Shared { known, spool, .. } = &*archive.shared;
        let maildir = spool.root().join("example.org/ann");
        let found = known.with(&maildir, |lookup| lookup.find(&Sha256::digest(message).into(), message.len() as u64));
        (found.unwrap(), Arc::clone(known))
    };
    let (found, known) = mark(&other);
    known.flush(&other.shared.spool, &found).unwrap();
    assert!(!found.is_flushed());
    known.flush(&spool.archive.shared.spool, &found).unwrap();
    assert!(found.is_flushed());
}

// ---- where a message goes, and under what name

#[test]
fn an_incoming_message_lies_in_new_under_its_hash() {
    let spool = Spool::new();
    let kept = spool.keep(&[inbox("a@b")], MESSAGE);
    assert_eq!(kept[0].hash, sha256(MESSAGE));
    assert_eq!((kept[0].size, kept[0].duplicate), (MESSAGE.len() as u64, false));
    let name = spool.only_file();
    assert!(name.starts_with("b/a/new/") && !name.contains(":2,"), "{name}");
    assert!(name.ends_with(&format!(",S={},H={}", MESSAGE.len(), sha256(MESSAGE))));
    assert_eq!(spool.files()[&name], MESSAGE);
    let proven = Command::new("sha256sum").arg(spool.path(&name)).output().unwrap();
    assert!(proven.stdout.starts_with(kept[0].hash.as_bytes()));
}

#[test]
fn an_outgoing_message_lies_in_cur_as_seen() {
    let spool = Spool::new();
    let mut draft = draft(&spool.archive, &[to("a@b", "Sent", true)], MESSAGE);
    draft.prepare().unwrap();
    let prepared = spool.only_file();
    assert!(prepared.starts_with("b/a/.Sent/tmp/") && prepared.ends_with(":2,S"), "{prepared}");
    assert!(!draft.commit().unwrap()[0].duplicate);
    assert_eq!(spool.only_file(), prepared.replace("/tmp/", "/cur/"));
}

#[test]
fn the_empty_message_is_a_message() {
    let spool = Spool::new();
    assert_eq!(spool.keep(&[inbox("a@b")], b"")[0].size, 0);
    assert!(spool.only_file().contains(",S=0,H=e3b0c442"));
}

#[test]
fn any_pieces_give_the_same_file() {
    let message: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    for len in [1000, 16 * 1024, 100_000, message.len()] {
        let spool = Spool::new();
        let mut draft = spool.archive.begin(&[inbox("a@b")]).unwrap();
        for piece in message.chunks(len) {
            draft.append(piece).unwrap();
        }
        assert_eq!(draft.size(), message.len() as u64);
        let kept = spool.archive.keep_all(vec![draft]).remove(0).unwrap();
        assert_eq!(kept[0].hash, sha256(&message));
        assert!(spool.files().into_values().all(|bytes| bytes == message));
    }
}

#[test]
fn folders_and_files_are_private_and_of_maildir_shape() {
    let spool = Spool::new();
    spool.keep(&[to("a@b", "Work/Reports", false)], MESSAGE);
    check_permissions(&spool.path(""));
    for dir in ["b/a/tmp", "b/a/new", "b/a/cur", "b/a/.Work.Reports/tmp", "b/a/.Work.Reports/cur"] {
        assert!(spool.path(dir).is_dir(), "{dir}");
    }
}

fn check_permissions(root: &Path) {
    assert_eq!(fs::metadata(root).unwrap().permissions().mode() & 0o7777, 0o700);
    walk(root, &mut |path, meta| {
        let mode = if meta.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(meta.permissions().mode() & 0o7777, mode, "{}", path.display());
    });
}

/// The umask is the whole process's, so the work is done by this test program started once more.
#[test]
fn the_umask_changes_nothing() {
    const SPOOL: &str = "MAILSTORE_TEST_UMASK_SPOOL";
    if let Some(dir) = std::env::var_os(SPOOL) {
        let archive = Archive::new(settings(Path::new(&dir)));
        keep(&archive, &[inbox("a@b"), to("c@b", "Sent", true)], MESSAGE);
        return;
    }
    for umask in ["0000", "0077", "0777"] {
        let dir = tempfile::tempdir().unwrap();
        let status = Command::new("sh")
            .args(["-c", "umask \"$0\"; exec \"$1\" --exact archive::tests::the_umask_changes_nothing", umask])
            .arg(std::env::current_exe().unwrap())
            .env(SPOOL, dir.path())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{umask}");
        check_permissions(&dir.path().join("spool"));
    }
}

#[test]
fn hostile_names_stay_below_the_spool() {
    let spool = Spool::new();
    let long = "x".repeat(1000);
    for login in ["../../etc", "..", "/", "a/b@../..", "", "@", "\0", &long, &format!("a@{long}"), "cur", "a@tmp"] {
        let owner = Owner::new(login.as_bytes(), "localhost");
        for levels in [&[&b"../.."[..]][..], &[b"", b""], &[b".."], &[b"\0\n/"], &[long.as_bytes(), b"x"], &[b"cur"]] {
            let folder = Folder::new(levels);
            let message = format!("{login}{levels:?}");
            let destination = Destination { owner: owner.clone(), folder, outgoing: false };
            assert!(!spool.keep(&[destination], message.as_bytes())[0].duplicate, "{message}");
        }
    }
    assert_eq!(spool.files().len(), 11 * 6);
    let beside: Vec<_> = fs::read_dir(spool.dir.path()).unwrap().collect();
    assert_eq!(beside.len(), 1);
    // Two directories for the owner, one or none for the folder, then `new`.
    assert!(spool.files().keys().all(|name| name.split('/').count() <= 5));
}

#[test]
fn the_time_of_the_file_is_the_date_received() {
    let received = b"Received: from a by b; Tue, 5 Mar 2024 10:20:30 +0000\r\n\r\n";
    let at = 1_709_634_030;
    let now = now_s();
    for (date, message, mtime) in [
        (Some(1_000_000_000), &received[..], Some(1_000_000_000)),
        (None, received, Some(at)),
        (Some(-5), received, Some(at)),
        (Some(0), received, Some(at)),
        (Some(i64::MAX), received, Some(at)),
        (Some(now + 3 * 86_400), received, Some(at)),
        (Some(now + 3600), MESSAGE, Some(now + 3600)),
        (None, MESSAGE, None),
        (None, b"Received: a; 5 Mar 1950 10:20:30 +0000\r\n\r\n", None),
        (None, b"Received: a; 5 Mar 2950 10:20:30 +0000\r\n\r\n", None),
    ] {
        let spool = Spool::new();
        let mut draft = draft(&spool.archive, &[inbox("a@b")], message);
        if let Some(date) = date {
            draft.set_date(date);
        }
        draft.prepare().unwrap();
        draft.commit().unwrap();
        let found = fs::metadata(spool.path(&spool.only_file())).unwrap().mtime();
        match mtime {
            Some(mtime) => assert_eq!(found, mtime),
            None => assert!((now - 1..=now_s() + 1).contains(&found)),
        }
    }
}
