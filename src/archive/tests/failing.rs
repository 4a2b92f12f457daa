//! Drafts that come to nothing, and what fails.

use super::*;

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

/// It is refused when it is prepared; the next one at once, as long as that is so.
#[test]
fn a_file_that_cannot_be_made_late_is_made_early_the_next_time() {
    let spool = Spool::new();
    let to = [to("a@b", "Sent", true)];
    let begin = || spool.archive.begin_to_prepare(&to, None);
    let mut draft = begin().unwrap();
    draft.append(b"one").unwrap();
    draft.commit().unwrap();
    let mut late = begin().unwrap();
    late.append(b"two").unwrap();
    let tmp = spool.path("b/a/.Sent/tmp");
    fs::remove_dir(&tmp).unwrap();
    File::create(&tmp).unwrap();
    assert!(late.prepare().is_err());
    assert!(late.append(b"x").is_err() && late.prepare().is_err() && late.commit().is_err());
    assert!(begin().is_err());
    fs::remove_file(&tmp).unwrap();
    drop(begin().unwrap());
    let mut late = begin().unwrap();
    // Made early, and with it the folder.
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
    late.append(b"two").unwrap();
    assert!(!late.commit().unwrap()[0].duplicate);
    assert_eq!(spool.files().len(), 2);
}

/// Where files are flushed together, the one that was opened first hears of all that failed.
#[test]
fn a_file_that_is_made_late_is_not_taken_for_the_one_that_was_opened_first() {
    let spool = Spool::new();
    let to = [to("a@b", "Sent", true)];
    spool.keep(&to, b"one");
    let mut late = spool.archive.begin_to_prepare(&to, None).unwrap();
    let mut early = spool.archive.begin(&to).unwrap();
    early.complete().unwrap();
    late.complete().unwrap();
    assert!(early.unflushed().unwrap().opened < late.unflushed().unwrap().opened);
}

/// A message that was on its way hears of it at its end; those that follow before they come, whatever their folder.
#[test]
fn what_is_wrong_with_the_whole_spool_is_told_at_a_messages_end_once() {
    let spool = Spool::new();
    let owners = ["a@b", "c@b", "d@b"].map(|owner| [to(owner, "Sent", true)]);
    let begin = |to: &[Destination; 1]| spool.archive.begin_to_prepare(to, None);
    owners.iter().for_each(|to| drop(spool.keep(to, b"one")));
    let mut late = begin(&owners[0]).unwrap();
    late.append(b"two").unwrap();
    assert_eq!(spool.files().len(), 3);
    spool.archive.shared.spool.unmount();
    spool.archive.shared.spool.expect_elsewhere();
    assert!(late.prepare().is_err());
    owners.iter().for_each(|to| assert!(begin(to).is_err()));
    assert_eq!(spool.files().len(), 3);
    spool.archive.shared.spool.mount();
    drop(begin(&owners[0]).unwrap());
    let _late = begin(&owners[0]).unwrap();
    assert_eq!(spool.files().len(), 3);
}

/// As after another file system was mounted there: made anew, once the spool was looked at.
#[test]
fn a_file_that_lies_elsewhere_than_the_last_one_is_made_again() {
    let spool = Spool::new();
    let to = [to("a@b", "Sent", true)];
    spool.keep(&to, b"one");
    for (message, count) in [(&b"two"[..], 2), (b"three", 3)] {
        spool.archive.shared.spool.expect_elsewhere();
        let mut late = spool.archive.begin_to_prepare(&to, None).unwrap();
        late.append(message).unwrap();
        late.prepare().unwrap();
        assert_eq!(fs::read_dir(spool.path("b/a/.Sent/tmp")).unwrap().count(), 1);
        late.commit().unwrap();
        assert_eq!(spool.files().len(), count);
    }
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
