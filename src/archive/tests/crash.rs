//! What a crash left.

use super::*;

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
    leave(&spool, "", &prepared_name(DEAD, name::host(), b"long", ""), b"longer");
    let before = spool.files();
    let recovery = spool.archive.recover();
    assert!(recovery.kept.is_empty() && recovery.removed == 0);
    assert_eq!(recovery.failed.len(), 2);
    assert_eq!(recovery.failed[0].kind(), io::ErrorKind::InvalidData);
    assert_eq!(spool.files(), before);
}

/// Its flush may have failed in its other life: another one would prove nothing.
#[test]
fn what_another_life_prepared_is_written_anew() {
    let spool = Spool::new();
    let message = [b'x'; 100_000];
    let name = leave(&spool, "", &prepared_name(DEAD, name::host(), &message, ""), &message);
    let date = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let old = File::options().write(true).open(spool.path(&format!("b/a/tmp/{name}"))).unwrap();
    old.set_modified(date).unwrap();
    let recovery = spool.archive.recover();
    assert_eq!((recovery.kept.len(), recovery.failed.len()), (1, 0));
    assert_eq!(spool.only_file(), format!("b/a/new/{name}"));
    let kept = fs::metadata(spool.path(&spool.only_file())).unwrap();
    assert_ne!(kept.ino(), old.metadata().unwrap().ino());
    assert_eq!((kept.modified().unwrap(), kept.permissions().mode() & 0o777), (date, 0o600));
    assert_eq!(spool.files()[&spool.only_file()], message);
}

/// A name is on disk before what it names is flushed: nobody was told of that.
#[test]
fn a_prepared_draft_that_was_never_flushed_is_removed() {
    let spool = Spool::new();
    let half = &MESSAGE[..MESSAGE.len() / 2];
    let zeros = [half, &vec![0; MESSAGE.len() - half.len()]].concat();
    // The middle of a longer one did not get to the disk, its end did.
    let long = [b'x'; 300_000];
    let mut holed = long;
    holed[200 * 1024..204 * 1024].fill(0);
    for (message, content) in [(MESSAGE, &b""[..]), (MESSAGE, half), (MESSAGE, &zeros), (&long, &holed)] {
        leave(&spool, "", &prepared_name(DEAD, name::host(), message, ":2,S"), content);
        let recovery = spool.archive.recover();
        assert_eq!((recovery.removed, recovery.kept.len(), recovery.failed.len()), (1, 0, 0), "{}", content.len());
        assert!(spool.files().is_empty());
    }
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

/// A short message that is being sent has its prepared name before its octets: as long as they are not all there it is removed, then it is committed.
#[test]
fn a_short_message_that_is_sent_has_no_file_before_it_is_prepared() {
    let spool = Spool::new();
    let to = [to("a@b", "Sent", true)];
    let begin = |size| spool.archive.begin_to_prepare(&to, size).unwrap();
    // Nothing is known of the folder; then it may be long, or is.
    drop(begin(None));
    let early = begin(Some(1 << 20));
    assert_eq!(spool.files().len(), 1);
    drop(early);
    for (size, len) in [(None, 5), (Some(5), 5), (None, 0), (Some(5), 20_000), (None, 100_000)] {
        let message = vec![b'x'; len];
        let mut draft = begin(size);
        assert!(spool.files().is_empty());
        draft.append(&message[..len / 2]).unwrap();
        draft.append(&message[len / 2..]).unwrap();
        draft.prepare().unwrap();
        let prepared = spool.only_file();
        let name = prepared.rsplit('/').next().unwrap().to_owned();
        assert_eq!(spool.files()[&prepared], message);
        draft.commit().unwrap();
        assert_eq!(spool.only_file(), format!("b/a/.Sent/cur/{name}"));
        fs::remove_file(spool.path(&spool.only_file())).unwrap();
        for part in [0, len / 2, len.saturating_sub(1)].into_iter().filter(|part| *part < len) {
            leave(&spool, ".Sent", &prepared_name(DEAD, name::host(), &message, ":2,S"), &message[..part]);
            let recovery = spool.archive.recover();
            assert_eq!((recovery.removed, recovery.kept.len(), recovery.failed.len()), (1, 0, 0), "{part} of {len}");
        }
    }
    // Refused by the server, or given up by the client.
    let mut refused = begin(None);
    refused.append(MESSAGE).unwrap();
    refused.prepare().unwrap();
    refused.discard();
    drop(draft(&spool.archive, &to, MESSAGE));
    assert!(spool.files().is_empty());
}
