//! Tests of the archive as a whole, on a real file system.

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

// ---- drafts that come to nothing, and what fails

#[test]
fn a_draft_leaves_nothing_unless_prepared() {
    let spool = Spool::new();
    let both = [inbox("a@b"), inbox("c@b")];
    drop(draft(&spool.archive, &both, MESSAGE));
    assert!(spool.files().is_empty());
    let mut refused = draft(&spool.archive, &both, MESSAGE);
    refused.prepare().unwrap();
    assert_eq!(spool.files().len(), 2);
    refused.discard();
    assert!(spool.files().is_empty());
    let mut lost = draft(&spool.archive, &both, MESSAGE);
    lost.prepare().unwrap();
    drop(lost);
    assert_eq!(spool.files().len(), 2);
}

#[test]
fn a_prepared_draft_takes_no_more() {
    let spool = Spool::new();
    let mut draft = draft(&spool.archive, &[inbox("a@b")], MESSAGE);
    draft.prepare().unwrap();
    draft.prepare().unwrap();
    assert!(draft.append(b"x").is_err());
    assert_eq!(draft.commit().unwrap()[0].hash, sha256(MESSAGE));
}

#[test]
fn no_destination_is_an_error() {
    assert_eq!(Spool::new().archive.begin(&[]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn one_draft_can_be_added_to_another() {
    let spool = Spool::new();
    let mut header = draft(&spool.archive, &[inbox("a@b")], b"Subject: x\r\n\r\n");
    let body = vec![b'x'; 300_000];
    header.append_draft(draft(&spool.archive, &[inbox("a@b")], &body)).unwrap();
    header.append_draft(draft(&spool.archive, &[inbox("a@b")], b"")).unwrap();
    header.append_draft(draft(&spool.archive, &[inbox("a@b")], b"end")).unwrap();
    let whole = [b"Subject: x\r\n\r\n", &body[..], b"end"].concat();
    let kept = spool.archive.keep_all(vec![header]).remove(0).unwrap();
    assert_eq!(kept[0].hash, sha256(&whole));
    assert_eq!(spool.files()[&spool.only_file()], whole);
}

#[test]
fn a_file_in_the_place_of_a_folder_is_an_error_that_names_it() {
    let spool = Spool::new();
    fs::create_dir_all(spool.path("b")).unwrap();
    File::create(spool.path("b/a")).unwrap();
    let why = spool.archive.begin(&[inbox("a@b")]).unwrap_err().to_string();
    assert!(why.contains("cannot make the folder") && why.contains("/b/a"), "{why}");
    // Another owner's copy cannot be made: the whole message is refused, nothing stays.
    let mut refused = draft(&spool.archive, &[inbox("c@b"), inbox("a@b")], MESSAGE);
    assert!(refused.prepare().is_err());
    assert!(refused.append(b"").is_err());
    drop(refused);
    let incoming = draft(&spool.archive, &[inbox("c@b"), inbox("a@b")], MESSAGE);
    assert!(spool.archive.keep_all(vec![incoming])[0].is_err());
    assert_eq!(spool.only_file(), "b/a");
    // And it goes on once that is repaired.
    fs::remove_file(spool.path("b/a")).unwrap();
    spool.keep(&[inbox("c@b"), inbox("a@b")], MESSAGE);
    assert_eq!(spool.files().len(), 2);
}

#[test]
fn a_rename_that_fails_removes_the_incoming_and_leaves_the_prepared() {
    let spool = Spool::new();
    let incoming = draft(&spool.archive, &[inbox("a@b")], MESSAGE);
    let mut prepared = draft(&spool.archive, &[inbox("a@b"), to("c@b", "", true)], b"other");
    prepared.prepare().unwrap();
    fs::remove_dir(spool.path("b/a/new")).unwrap();
    File::create(spool.path("b/a/new")).unwrap();
    let results = spool.archive.keep_all(vec![incoming]);
    assert!(results[0].as_ref().unwrap_err().to_string().contains("/b/a/new"));
    assert!(prepared.commit().is_err());
    let names: Vec<String> = spool.files().into_keys().filter(|name| name != "b/a/new").collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0].starts_with("b/a/tmp/") && names[1].starts_with("b/c/cur/"));
    // As long as it cannot be done it is tried again; then it is done, once.
    assert_eq!(spool.archive.catch_up().failed.len(), 1);
    fs::remove_file(spool.path("b/a/new")).unwrap();
    let caught_up = spool.archive.catch_up();
    assert_eq!((caught_up.kept.len(), caught_up.failed.len()), (1, 0));
    assert_eq!(spool.files().keys().filter(|name| name.starts_with("b/a/new/")).count(), 1);
    assert!(spool.archive.catch_up().kept.is_empty() && spool.archive.recover().kept.is_empty());
}

/// One owner's folder is in the way: the others' copies are in theirs all the same, flushed.
#[test]
fn one_owners_trouble_leaves_no_other_owners_copy_unflushed() {
    let spool = Spool::new();
    let mut draft = draft(&spool.archive, &[inbox("a@b"), inbox("c@b")], MESSAGE);
    draft.prepare().unwrap();
    fs::remove_dir(spool.path("b/a/new")).unwrap();
    File::create(spool.path("b/a/new")).unwrap();
    assert!(draft.commit().is_err());
    let mark = spool
        .archive
        .shared
        .known
        .with(&spool.path("b/c"), |lookup| lookup.find(&Sha256::digest(MESSAGE).into(), MESSAGE.len() as u64));
    assert!(mark.unwrap().is_flushed());
}

#[test]
fn what_was_refused_and_could_not_be_removed_is_removed_later_and_never_kept() {
    let spool = Spool::new();
    let mut draft = draft(&spool.archive, &[inbox("a@b")], MESSAGE);
    draft.prepare().unwrap();
    let path = spool.path(&spool.only_file());
    // A folder of that name cannot be removed as a file.
    let aside = spool.dir.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    fs::create_dir(&path).unwrap();
    draft.discard();
    fs::remove_dir(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    let caught_up = spool.archive.catch_up();
    assert!(caught_up.kept.is_empty() && caught_up.failed.is_empty());
    assert!(spool.files().is_empty());
}

/// `/dev/full` is a file that a write always fails on for want of space.
#[test]
fn a_full_disk_breaks_the_draft_and_frees_its_file() {
    let spool = Spool::new();
    let mut draft = spool.archive.begin(&[inbox("a@b")]).unwrap();
    draft.replace_file(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let error = draft.append(&[b'x'; 100_000]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(spool.files().is_empty());
    assert!(draft.append(b"x").is_err() && draft.prepare().is_err());
    assert!(spool.archive.keep_all(vec![draft])[0].is_err());
}

#[test]
fn a_full_disk_is_noticed_for_a_short_message_too() {
    let spool = Spool::new();
    let mut draft = spool.archive.begin(&[inbox("a@b")]).unwrap();
    draft.replace_file(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    draft.append(b"short").unwrap();
    assert_eq!(draft.prepare().unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert!(spool.files().is_empty());
}

#[test]
fn what_the_administrator_removes_is_made_again() {
    let spool = Spool::new();
    spool.keep(&[to("a@b", "Sent", false)], b"one");
    // All of it, between two messages; while one is coming; and with one prepared.
    for message in [&b"two"[..], b"three", b"four"] {
        let mut coming = draft(&spool.archive, &[to("a@b", "Sent", false)], message);
        if message == b"four" {
            coming.prepare().unwrap();
        }
        if message == b"two" {
            drop(coming);
            fs::remove_dir_all(spool.path("")).unwrap();
            spool.keep(&[to("a@b", "Sent", false)], message);
        } else {
            fs::remove_dir_all(spool.path("b")).unwrap();
            let kept = spool.archive.keep_all(vec![coming]).remove(0).unwrap();
            assert!(!kept[0].duplicate);
        }
        assert_eq!(spool.files()[&spool.only_file()], message);
    }
    let mut coming = draft(&spool.archive, &[to("a@b", "Sent", false)], b"five");
    fs::remove_dir_all(spool.path("b")).unwrap();
    coming.prepare().unwrap();
    coming.commit().unwrap();
    assert_eq!(spool.files()[&spool.only_file()], b"five");
}

#[test]
fn the_check_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.spool = dir.path().join("some/where/spool");
    Archive::new(settings.clone()).check().unwrap();
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
    fs::create_dir_all(&settings.spool).unwrap();
    let archive = Archive::new(settings.clone());
    archive.check().unwrap();
    assert!(fs::read_dir(&settings.spool).unwrap().next().is_none());
    keep(&archive, &[inbox("a@b")], MESSAGE);
    archive.check().unwrap();
    fs::remove_dir_all(&settings.spool).unwrap();
    File::create(&settings.spool).unwrap();
    assert!(Archive::new(settings.clone()).check().is_err());
    fs::remove_dir_all(dir.path().join("some")).unwrap();
    File::create(dir.path().join("some")).unwrap();
    let why = Archive::new(settings).check().unwrap_err().to_string();
    assert!(why.contains("cannot make the folder") && why.contains("some"), "{why}");
}

#[test]
fn without_sync_all_else_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::new(Settings { sync: false, ..settings(dir.path()) });
    assert!(!keep(&archive, &[inbox("a@b")], MESSAGE)[0].duplicate);
    assert!(keep(&archive, &[inbox("a@b")], MESSAGE)[0].duplicate);
    check_permissions(&dir.path().join("spool"));
}

// ---- one copy

#[test]
fn the_same_bytes_are_kept_once_in_all_folders() {
    let spool = Spool::new();
    assert_eq!(duplicates(&spool.keep(&[to("a@b", "Sent", true)], MESSAGE)), [false]);
    for folder in ["", "Sent", "Other"] {
        assert_eq!(duplicates(&spool.keep(&[to("A@B", folder, false)], MESSAGE)), [true]);
    }
    let mut sent = draft(&spool.archive, &[to("a@b", "Sent", true)], MESSAGE);
    sent.prepare().unwrap();
    assert_eq!(duplicates(&sent.commit().unwrap()), [true]);
    spool.only_file();
    // Also for one that starts anew; another owner has his own.
    assert!(keep(&spool.restart(), &[inbox("a@b")], MESSAGE)[0].duplicate);
    assert!(!spool.keep(&[inbox("c@b")], MESSAGE)[0].duplicate);
}

#[test]
fn the_same_bytes_in_one_batch_are_kept_once() {
    let spool = Spool::new();
    let drafts = [MESSAGE, b"other", MESSAGE].map(|message| draft(&spool.archive, &[inbox("a@b")], message));
    let results = spool.archive.keep_all(drafts.into());
    let duplicates: Vec<bool> = results.iter().map(|result| result.as_ref().unwrap()[0].duplicate).collect();
    assert_eq!(duplicates, [false, false, true]);
    assert_eq!(spool.files().len(), 2);
}

#[test]
fn what_mail_programs_move_is_found_and_what_they_delete_is_kept_anew() {
    for restart in [false, true] {
        let spool = Spool::new();
        spool.keep(&[inbox("a@b")], MESSAGE);
        spool.keep(&[to("a@b", "Work", false)], b"other");
        let again = |message: &[u8]| {
            let archive = if restart { spool.restart() } else { spool.archive.clone() };
            keep(&archive, &[inbox("a@b")], message)[0].duplicate
        };
        let mut at = spool.files().into_keys().find(|name| name.starts_with("b/a/new")).unwrap();
        let base = at.rsplit('/').next().unwrap().to_string();
        fs::create_dir_all(spool.path("b/a/.Moved By Dovecot/cur")).unwrap();
        for next in [
            format!("b/a/cur/{base}:2,"),
            format!("b/a/cur/{base}:2,FRS"),
            format!("b/a/.Work/cur/{base}:2,FRS"),
            format!("b/a/.Moved By Dovecot/cur/{base}:2,a"),
        ] {
            fs::rename(spool.path(&at), spool.path(&next)).unwrap();
            at = next;
            assert!(again(MESSAGE) && again(MESSAGE) && again(b"other"), "{at}");
        }
        assert_eq!(spool.files().len(), 2);
        fs::remove_file(spool.path(&at)).unwrap();
        assert!(!again(MESSAGE));
        assert!(again(MESSAGE));
        assert_eq!(spool.files().len(), 2);
    }
}

#[test]
fn a_file_that_lost_its_end_does_not_count() {
    let spool = Spool::new();
    spool.keep(&[inbox("a@b")], MESSAGE);
    let path = spool.path(&spool.only_file());
    File::options().write(true).open(&path).unwrap().set_len(3).unwrap();
    assert!(!spool.keep(&[inbox("a@b")], MESSAGE)[0].duplicate);
    assert!(spool.keep(&[inbox("a@b")], MESSAGE)[0].duplicate);
    // Both carry the hash in their names; the whole one is found.
    assert!(keep(&spool.restart(), &[inbox("a@b")], MESSAGE)[0].duplicate);
    assert_eq!(spool.files().len(), 2);
    // Nor does a directory or a link of that name.
    for (name, _) in spool.files() {
        fs::remove_file(spool.path(&name)).unwrap();
        fs::create_dir(spool.path(&name)).unwrap();
    }
    assert!(!keep(&spool.restart(), &[inbox("a@b")], MESSAGE)[0].duplicate);
}

#[test]
fn names_of_others_in_the_maildir_do_no_harm() {
    let spool = Spool::new();
    let hash = sha256(MESSAGE);
    spool.keep(&[inbox("a@b")], b"x");
    for name in ["new/1.x", "cur/dovecot-uidlist", "cur/ü,H=zz", "dovecot.index", "mailstore-notes", ".notdir"] {
        fs::write(spool.path(&format!("b/a/{name}")), MESSAGE).unwrap();
    }
    fs::write(spool.path(&format!("b/a/tmp/1.M1P1Q1.h,S={},H={hash}", MESSAGE.len())), MESSAGE).unwrap();
    let restarted = spool.restart();
    assert!(!keep(&restarted, &[inbox("a@b")], MESSAGE)[0].duplicate);
    assert!(keep(&restarted, &[inbox("a@b")], MESSAGE)[0].duplicate);
}

#[test]
fn each_owner_has_a_copy_and_the_same_owner_one() {
    let spool = Spool::new();
    let all = [to("a@b", "Sent", true), inbox("c@b"), inbox("A@B"), inbox("d@e")];
    let kept = spool.keep(&all, MESSAGE);
    assert_eq!(kept.len(), 3);
    assert_eq!(kept[0].destination, all[0]);
    let files = spool.files();
    assert_eq!(files.len(), 3);
    assert!(files.values().all(|bytes| bytes == MESSAGE));
    let links = |name: &String| fs::metadata(spool.path(name)).unwrap().nlink();
    assert!(files.keys().all(|name| links(name) == 3));
    assert_eq!(files.keys().filter(|name| name.starts_with("b/a/.Sent/cur/")).count(), 1);
    // Names are never shared either.
    let base = |name: &String| name.rsplit('/').next().unwrap().to_string();
    assert_eq!(files.keys().map(base).collect::<std::collections::BTreeSet<_>>().len(), 3);
}

#[test]
fn owners_beyond_number_do_not_make_a_draft_slow() {
    let spool = Spool::new();
    let each_twice: Vec<_> = (0..100_000).map(|i| inbox(&format!("{}@a.example", i % 50_000))).collect();
    // One by one each would be compared with all before it: for minutes.
    let begun = std::time::Instant::now();
    let draft = spool.archive.begin(&each_twice).unwrap();
    assert_eq!(draft.destinations().count(), 50_000);
    assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn duplicates_are_each_owners_own_matter() {
    for prepare in [false, true] {
        // Whoever of the two has it already: the first, in whose folder the file was written, or the second.
        for has in ["a@b", "c@b"] {
            let spool = Spool::new();
            spool.keep(&[inbox(has)], MESSAGE);
            let mut draft = draft(&spool.archive, &[inbox("a@b"), inbox("c@b")], MESSAGE);
            let kept = if prepare {
                draft.prepare().unwrap();
                draft.commit().unwrap()
            } else {
                spool.archive.keep_all(vec![draft]).remove(0).unwrap()
            };
            assert_eq!(duplicates(&kept), [has == "a@b", has == "c@b"]);
            let files = spool.files();
            assert_eq!(files.len(), 2, "{files:?}");
            assert!(files.keys().all(|name| name.contains("/new/")));
        }
    }
}

#[test]
fn a_prepared_copy_is_removed_only_after_the_other_is_on_disk() {
    let spool = Spool::new();
    let mut first = draft(&spool.archive, &[inbox("a@b")], MESSAGE);
    let mut second = draft(&spool.archive, &[inbox("a@b")], MESSAGE);
    first.prepare().unwrap();
    second.prepare().unwrap();
    let to_flush = first.place_unsettled();
    let found = second.place_unsettled();
    assert!(found[0].kept.duplicate && found[0].left.as_ref().unwrap().1.exists());
    // The first session's flush fails, or never happens: the second does its own.
    drop(to_flush);
    let left = found[0].left.clone().unwrap();
    assert!(spool.archive.shared.settle(vec![found.into_iter().map(Ok).collect()])[0].is_ok());
    assert!(!left.1.exists());
    spool.only_file();
}

#[test]
fn a_flush_that_failed_in_between_spares_the_rest_of_a_batch() {
    let spool = Spool::new();
    let mut placed = ["one", "two", "three"].map(|message| {
        let mut draft = draft(&spool.archive, &[inbox("a@b")], message.as_bytes());
        draft.prepare().unwrap();
        Some(draft.place_unsettled())
    });
    let two = placed[1].take().unwrap();
    spool.archive.shared.known.fail_flush(&two[0].mark);
    let rest = placed.into_iter().flatten().map(|placed| placed.into_iter().map(Ok).collect()).collect();
    let results = spool.archive.shared.settle(rest);
    assert!(results[0].is_err() && results[1].is_ok());
    // What may be lost in a power cut is kept anew.
    assert!(!spool.keep(&[inbox("a@b")], b"one")[0].duplicate);
    assert!(spool.keep(&[inbox("a@b")], b"three")[0].duplicate);
}

#[test]
fn a_small_memory_finds_the_same_duplicates() {
    for names_max in [1, 20, 40, 100] {
        let spool = Spool::with_names_max(names_max);
        let message = |n: usize| format!("message {n}").into_bytes();
        for n in 0..30 {
            for login in ["a@b", "c@b", "d@b"] {
                assert!(!spool.keep(&[inbox(login)], &message(n))[0].duplicate);
            }
        }
        for n in 0..30 {
            for login in ["a@b", "c@b", "d@b"] {
                assert!(spool.keep(&[inbox(login)], &message(n))[0].duplicate);
            }
        }
        assert_eq!(spool.files().len(), 90);
    }
}

#[test]
fn many_threads_keep_each_message_exactly_once() {
    for names_max in [NAMES_MAX, 60] {
        let spool = Spool::with_names_max(names_max);
        let barrier = Barrier::new(8);
        std::thread::scope(|scope| {
            for thread in 0..8_usize {
                let (spool, barrier) = (&spool, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    for n in 0..10 {
                        let shared = format!("shared {n}");
                        let own = format!("own {thread} {n}");
                        let both = [inbox("a@b"), to(&format!("o{n}@b"), "X", false)];
                        if thread % 2 == 0 {
                            let drafts = [&shared, &own].map(|text| draft(&spool.archive, &both, text.as_bytes()));
                            assert!(spool.archive.keep_all(drafts.into()).iter().all(Result::is_ok));
                        } else {
                            for text in [&shared, &own] {
                                let mut draft = draft(&spool.archive, &both, text.as_bytes());
                                draft.prepare().unwrap();
                                draft.commit().unwrap();
                            }
                        }
                    }
                });
            }
        });
        let files = spool.files();
        assert!(files.keys().all(|name| !name.contains("/tmp/")));
        for (owner, count) in [("b/a/", 10 + 80), ("b/o3/", 1 + 8)] {
            assert_eq!(files.keys().filter(|name| name.starts_with(owner)).count(), count);
        }
    }
}

// ---- after a crash

/// Puts a file into `b/a/tmp` as another life of this program (a process that is no more) would have left it.
fn leave(spool: &Spool, folder: &str, name: &str, content: &[u8]) -> String {
    let dir = spool.path(&format!("b/a/{folder}"));
    for sub in ["tmp", "new", "cur"] {
        fs::create_dir_all(dir.join(sub)).unwrap();
    }
    fs::write(dir.join("tmp").join(name), content).unwrap();
    name.to_string()
}

fn left_name(pid: u32, host: &str) -> String {
    format!("1700000000.M000001P{pid}Q1.{host},mailstore")
}

fn prepared_name(pid: u32, host: &str, message: &[u8], flags: &str) -> String {
    format!("1700000000.M000001P{pid}Q1.{host},S={},H={}{flags}", message.len(), sha256(message))
}

const DEAD: u32 = 4_000_000_000;

#[test]
fn prepared_drafts_are_committed_at_start() {
    let spool = Spool::new();
    let sent = leave(&spool, ".Sent/", &prepared_name(DEAD, name::host(), MESSAGE, ":2,S"), MESSAGE);
    let other = leave(&spool, "", &prepared_name(DEAD, name::host(), b"other", ""), b"other");
    let recovery = spool.archive.recover();
    assert!(recovery.failed.is_empty() && recovery.removed == 0);
    let folders: Vec<&str> = recovery.kept.iter().map(|kept| kept.folder.as_str()).collect();
    assert_eq!(folders, ["", ".Sent"]);
    assert_eq!(recovery.kept[1].hash, sha256(MESSAGE));
    let names: Vec<String> = spool.files().into_keys().collect();
    assert_eq!(names, [format!("b/a/.Sent/cur/{sent}"), format!("b/a/new/{other}")]);
    assert!(spool.archive.recover().kept.is_empty());
    assert!(spool.keep(&[inbox("a@b")], MESSAGE)[0].duplicate);
}

#[test]
fn a_prepared_draft_that_is_there_already_is_removed() {
    let spool = Spool::new();
    spool.keep(&[to("a@b", "Other", false)], MESSAGE);
    leave(&spool, "", &prepared_name(DEAD, name::host(), MESSAGE, ""), MESSAGE);
    let recovery = spool.restart().recover();
    assert!(recovery.kept[0].duplicate && recovery.kept.len() == 1);
    assert!(spool.only_file().starts_with("b/a/.Other/new/"));
}

#[test]
fn drafts_that_nobody_was_told_about_are_removed() {
    let spool = Spool::new();
    leave(&spool, "", &left_name(DEAD, name::host()), b"half");
    leave(&spool, ".Sent", &left_name(DEAD, name::host()), b"half");
    // The same process number in an earlier life, as in a container.
    leave(&spool, "", &left_name(std::process::id(), name::host()).replace("Q1.", "Q999999999."), b"half");
    let recovery = spool.archive.recover();
    assert_eq!((recovery.removed, recovery.kept.len(), recovery.failed.len()), (3, 0, 0));
    assert!(spool.files().is_empty());
}

#[test]
fn what_belongs_to_others_stays() {
    let spool = Spool::new();
    let this = name::host();
    for name in [
        "1700000000.M1P2.elsewhere".to_string(),
        "1700000000.M1P2.mail,S=3".to_string(),
        "dovecot-tmp".to_string(),
        left_name(DEAD, "another-host"),
        prepared_name(DEAD, "another-host", MESSAGE, ":2,S"),
        left_name(7, this),
        prepared_name(7, this, MESSAGE, ""),
        format!("{}:2,T", prepared_name(DEAD, this, MESSAGE, "")),
    ] {
        leave(&spool, "", &name, MESSAGE);
    }
    // A draft of ours that is being written, and one prepared.
    let coming = draft(&spool.archive, &[inbox("a@b")], b"coming");
    let mut prepared = draft(&spool.archive, &[inbox("a@b")], b"prepared");
    prepared.prepare().unwrap();
    // Not a file; not at the depth of Maildirs; behind a link in the place of a `tmp` or a file.
    fs::create_dir(spool.path(&format!("b/a/tmp/{}", left_name(DEAD, this)))).unwrap();
    fs::create_dir(spool.path("tmp")).unwrap();
    fs::write(spool.path("tmp").join(left_name(DEAD, this)), b"x").unwrap();
    let outside = spool.dir.path().join("outside/tmp");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join(left_name(DEAD, this)), b"x").unwrap();
    fs::create_dir_all(spool.path("b/link")).unwrap();
    symlink(&outside, spool.path("b/link/tmp")).unwrap();
    symlink("/etc/passwd", spool.path(&format!("b/a/tmp/{}", prepared_name(DEAD, this, b"y", "")))).unwrap();
    let before = spool.files();
    let recovery = recover::recover(&spool.archive.shared, &|pid| pid == 7);
    assert!(recovery.kept.is_empty() && recovery.failed.is_empty() && recovery.removed == 0, "{recovery:?}");
    assert_eq!(spool.files(), before);
    assert!(outside.join(left_name(DEAD, this)).exists());
    drop((coming, prepared));
    // Once dropped, the prepared one is nobody's.
    assert_eq!(recover::recover(&spool.archive.shared, &|pid| pid == 7).kept.len(), 1);
}

#[test]
fn a_prepared_draft_that_does_not_hold_what_it_says_is_reported_and_stays() {
    let spool = Spool::new();
    leave(&spool, "", &prepared_name(DEAD, name::host(), MESSAGE, ""), b"Subject: hello\r\n\r\nBODY\r\n");
    leave(&spool, "", &prepared_name(DEAD, name::host(), b"longer", ""), b"long");
    let before = spool.files();
    let recovery = spool.archive.recover();
    assert!(recovery.kept.is_empty() && recovery.removed == 0);
    assert_eq!(recovery.failed.len(), 2);
    assert_eq!(recovery.failed[0].kind(), io::ErrorKind::InvalidData);
    assert_eq!(spool.files(), before);
}

/// Python's `mailbox` calls its drafts as we call the beginning of ours.
#[test]
fn drafts_of_other_programs_stay() {
    let spool = Spool::new();
    leave(&spool, "", &format!("1700000000.M123456P{DEAD}Q1.{}", name::host()), b"half");
    assert_eq!(spool.archive.recover().removed, 0);
    assert_eq!(spool.files().len(), 1);
}

#[test]
fn recovery_follows_links_where_delivery_does() {
    let spool = Spool::new();
    let sent = leave(&spool, ".Sent", &prepared_name(DEAD, name::host(), MESSAGE, ":2,S"), MESSAGE);
    let [domain, folder] = ["domain", "folder"].map(|name| spool.dir.path().join(name));
    fs::rename(spool.path("b/a/.Sent"), &folder).unwrap();
    symlink(&folder, spool.path("b/a/.Sent")).unwrap();
    fs::rename(spool.path("b"), &domain).unwrap();
    symlink(&domain, spool.path("b")).unwrap();
    let recovery = spool.archive.recover();
    assert_eq!((recovery.kept.len(), recovery.failed.len()), (1, 0));
    assert!(folder.join("cur").join(sent).exists());
}

#[test]
fn recovery_of_no_spool_is_nothing() {
    let recovery = Spool::new().archive.recover();
    assert!(recovery.kept.is_empty() && recovery.failed.is_empty());
}

#[test]
fn recovery_goes_on_after_what_it_cannot_do() {
    let spool = Spool::new();
    leave(&spool, "", &prepared_name(DEAD, name::host(), MESSAGE, ""), MESSAGE);
    fs::remove_dir(spool.path("b/a/new")).unwrap();
    File::create(spool.path("b/a/new")).unwrap();
    leave(&spool, "../c", &prepared_name(DEAD, name::host(), b"other", ":2,S"), b"other");
    let recovery = spool.archive.recover();
    assert_eq!((recovery.kept.len(), recovery.failed.len()), (1, 1));
}

#[test]
fn this_process_is_no_other() {
    assert!(!recover::is_other_mailstore(std::process::id()));
    assert!(!recover::is_other_mailstore(DEAD));
    assert!(!recover::is_other_mailstore(1) || std::process::id() == 1);
}

/// Kills the process, in effect, after every step of a message's way, and looks at what a new life makes of it.
#[test]
fn the_states_that_a_crash_can_leave() {
    let both = [to("a@b", "Sent", true), inbox("c@b")];
    let old = name::Unique::new().draft();
    let old_pid = format!("P{}Q", std::process::id());
    // A copy of the spool with all names those of a process that is no more.
    let crash = |spool: &Spool| {
        let after = Spool::new();
        for (name, content) in spool.files() {
            let path = after.path(&name.replace(&old_pid, &format!("P{DEAD}Q")));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        after
    };
    assert!(old.contains(&old_pid));
    let spool = Spool::new();
    let mut draft = draft(&spool.archive, &both, &[b'x'; 50_000]);
    let begun = crash(&spool);
    let recovery = begun.archive.recover();
    assert_eq!((recovery.removed, recovery.kept.len()), (1, 0));
    draft.prepare().unwrap();
    let prepared = crash(&spool);
    assert_eq!(prepared.archive.recover().kept.len(), 2);
    draft.commit().unwrap();
    let committed = crash(&spool);
    let recovery = committed.archive.recover();
    assert_eq!((recovery.removed, recovery.kept.len()), (0, 0));
    for spool in [prepared, committed] {
        let names: Vec<String> = spool.files().into_keys().collect();
        assert!(names[0].starts_with("b/a/.Sent/cur/") && names[1].starts_with("b/c/new/"), "{names:?}");
    }
}

// ---- whatever the order

#[derive(Clone, Debug)]
enum Step {
    Keep { owner: u8, folder: u8, message: u8 },
    Send { owner: u8, message: u8, refuse: bool },
    Flag { file: usize },
    Delete { file: usize },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8, 0..3_u8, 0..4_u8).prop_map(|(owner, folder, message)| Step::Keep { owner, folder, message }),
        2 => (0..3_u8, 0..4_u8, any::<bool>()).prop_map(|(owner, message, refuse)| Step::Send { owner, message, refuse }),
        1 => any::<usize>().prop_map(|file| Step::Flag { file }),
        1 => any::<usize>().prop_map(|file| Step::Delete { file }),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// A set of (owner, message) is all that the spool is, whatever mail programs do behind the archive's back.
    #[test]
    fn each_owner_has_each_message_once(steps in proptest::collection::vec(step(), 1..25), names_max in 1..60_usize) {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { sync: false, ..settings(dir.path()) };
        let mut spool = Spool { dir, archive: Archive::with_names_max(settings.clone(), names_max) };
        let mut model = std::collections::BTreeSet::new();
        for step in steps {
            let names: Vec<String> = spool.files().into_keys().collect();
            match step {
                Step::Keep { owner, folder, message } => {
                    let folder = ["", "A", "A/B"][usize::from(folder)];
                    let kept = spool.keep(&[to(&format!("{owner}@b"), folder, false)], &[message]);
                    prop_assert_eq!(kept[0].duplicate, !model.insert((owner, message)));
                }
                Step::Send { owner, message, refuse } => {
                    let mut draft = draft(&spool.archive, &[to(&format!("{owner}@b"), "Sent", true)], &[message]);
                    draft.prepare().unwrap();
                    if refuse {
                        draft.discard();
                    } else {
                        prop_assert_eq!(draft.commit().unwrap()[0].duplicate, !model.insert((owner, message)));
                    }
                }
                Step::Flag { file } if !names.is_empty() => {
                    let name = &names[file % names.len()];
                    let flagged = name.replace("/new/", "/cur/").split(':').next().unwrap().to_string();
                    fs::rename(spool.path(name), spool.path(&format!("{flagged}:2,F{}", file % 3))).unwrap();
                }
                Step::Delete { file } if !names.is_empty() => {
                    let name = &names[file % names.len()];
                    let owner = name.as_bytes()[2] - b'0';
                    model.remove(&(owner, spool.files()[name][0]));
                    fs::remove_file(spool.path(name)).unwrap();
                }
                Step::Restart => spool.archive = Archive::with_names_max(settings.clone(), names_max),
                _ => {}
            }
        }
        let found: Vec<(u8, u8)> = spool.files().iter().map(|(name, bytes)| (name.as_bytes()[2] - b'0', bytes[0])).collect();
        prop_assert_eq!(found.len(), model.len());
        prop_assert!(found.iter().all(|pair| model.contains(pair)));
    }
}
