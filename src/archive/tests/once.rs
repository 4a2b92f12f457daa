//! One copy for an owner.

use super::*;

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

/// Whoever has to know waits for the look that was begun ahead, or looks himself.
#[test]
fn what_was_looked_for_ahead_is_known() {
    let spool = Spool::new();
    for n in 0..50 {
        spool.keep(&[inbox("a@b")], format!("{n}").as_bytes());
    }
    let archive = spool.restart();
    let maildir = spool.path("b/a");
    assert!(!archive.shared.known.is_loaded(&maildir));
    archive.expect(&inbox("a@b").owner);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !archive.shared.known.is_loaded(&maildir) {
        assert!(std::time::Instant::now() < end, "nobody looks");
        std::thread::yield_now();
    }
    // Asked again and again, also for one who is not there.
    for _ in 0..3_000 {
        archive.expect(&inbox("a@b").owner);
        archive.expect(&inbox("nobody@b").owner);
    }
    assert!(keep(&archive, &[inbox("a@b")], b"7")[0].duplicate);
    assert!(!keep(&archive, &[inbox("nobody@b")], b"7")[0].duplicate);
}
