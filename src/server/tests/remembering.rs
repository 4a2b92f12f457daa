//! What a keeper notes of the server's messages, and what the next one knows of them.

use std::path::PathBuf;
use std::sync::Once;

use super::*;
use crate::protocol::Origin;

struct Rig {
    spool: tempfile::TempDir,
    keeper: Keeper,
}

impl Rig {
    fn new(on_archive_failure: OnArchiveFailure) -> Rig {
        let spool = tempfile::tempdir().unwrap();
        let keeper = keeper(spool.path(), on_archive_failure);
        Rig { spool, keeper }
    }

    /// A message of these bytes for this owner, not finished yet.
    fn draft(&mut self, owner: &str, text: &str, origin: Option<Origin>) -> DraftId {
        let draft = self.keeper.begin(&[destination(owner)], None).unwrap();
        self.keeper.append(draft, text.as_bytes()).unwrap();
        if let Some(origin) = origin {
            self.keeper.origin(draft, origin);
        }
        draft
    }

    fn keep(&mut self, text: &str, origin: Origin) {
        let draft = self.draft(ANN, text, Some(origin));
        self.keeper.finish(draft);
    }

    fn has(&mut self, origin: &Origin) -> bool {
        self.keeper.has(&destination(ANN).owner, origin)
    }

    /// A session to come has it.
    fn had(&self, origin: &Origin) -> bool {
        keeper(self.spool.path(), OnArchiveFailure::Refuse).has(&destination(ANN).owner, origin)
    }

    fn notes(&self) -> PathBuf {
        self.spool.path().join(ANN).join("mailstore-kept")
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.notes()).unwrap_or_default();
        text.lines().filter(|line| !line.starts_with('#')).map(ToOwned::to_owned).collect()
    }
}

const ANN: &str = "ann@example.org";

fn imap(mailbox: &[u8], uid: u32) -> Origin {
    Origin::Imap { mailbox: mailbox.to_vec(), uid_validity: 1_700_000_000, uid }
}

fn pop3(uidl: &[u8]) -> Origin {
    Origin::Pop3 { uidl: uidl.to_vec() }
}

#[test]
fn what_was_kept_is_noted_with_its_server_once_it_is_settled() {
    let mut rig = Rig::new(OnArchiveFailure::Refuse);
    rig.keep("one", imap(b"INBOX", 1));
    assert!(!rig.has(&imap(b"INBOX", 1)) && !rig.notes().exists(), "not on disk yet");
    rig.keep("two", pop3(b"x-1"));
    // A duplicate is as good as a copy; what has no origin is nobody's.
    rig.keep("one", imap(b"Work", 1));
    let draft = rig.draft(ANN, "other", None);
    rig.keeper.finish(draft);
    assert_eq!(rig.keeper.settle(), Ok(()));
    assert_eq!(rig.keeper.tally(), tally(3, 1, 0));
    let lines = rig.lines();
    let begin = ["imap INBOX 1700000000 1 3 ", "pop3 x-1 3 ", "imap Work 1700000000 1 3 "];
    assert_eq!(lines.len(), 3);
    for (line, begin) in lines.iter().zip(begin) {
        assert!(line.starts_with(&format!("{UPSTREAM} {begin}")), "{line}");
    }
    for origin in [imap(b"INBOX", 1), pop3(b"x-1"), imap(b"Work", 1)] {
        assert!(rig.has(&origin) && rig.had(&origin), "{origin}");
        assert!(!rig.keeper.has(&destination("bob@example.org").owner, &origin));
    }
    for origin in [imap(b"INBOX", 11), imap(b"inbox", 1), pop3(b"x-2"), pop3(b"INBOX 1700000000 1")] {
        assert!(!rig.has(&origin), "{origin}");
    }
    assert!(!rig.spool.path().join("bob@example.org").exists());
    // Another server's message of the same name.
    let label = Label { id: 1, proxy: "imap:other".to_owned(), client: "192.0.2.1:1".parse().unwrap() };
    let on_archive_failure = OnArchiveFailure::Refuse;
    let policy = Policy {
        on_archive_failure,
        max_message_size: 10,
        upstream: "example.com:993".to_owned(),
        sends: false,
        teacher: None,
    };
    let mut other = Keeper::new(label, policy, archive(rig.spool.path()), Arc::default());
    assert!(!other.has(&destination(ANN).owner, &imap(b"INBOX", 1)));
    // It is fetched once more: nothing new to note.
    rig.keep("one", imap(b"INBOX", 1));
    rig.keeper.close();
    assert_eq!(rig.lines(), lines);
}

#[test]
fn no_name_forges_a_note() {
    let mut rig = Rig::new(OnArchiveFailure::Refuse);
    let names: [&[u8]; 6] = [b"", b"a b", b"a\nb", b"\0", b"# a", "\u{85}ü".as_bytes()];
    for (uid, name) in (1..).zip(names) {
        rig.keep(&uid.to_string(), imap(name, uid));
        rig.keep(&uid.to_string(), pop3(name));
    }
    rig.keeper.settle().unwrap();
    assert_eq!(rig.lines().len(), 12);
    assert!((1..).zip(names).all(|(uid, name)| rig.had(&imap(name, uid)) && rig.had(&pop3(name))));
    assert!(!rig.had(&imap(b"a", 1)) && !rig.had(&pop3(b"a")) && !rig.had(&pop3(b"\\")));
}

#[test]
fn what_was_not_kept_is_not_noted() {
    let mut rig = Rig::new(OnArchiveFailure::Pass);
    let origin = |uid| Some(imap(b"INBOX", uid));
    // Dead before and after it was known what it is.
    let dead = rig.keeper.begin(&[destination(ANN)], Some(11)).unwrap();
    rig.keeper.origin(dead, imap(b"INBOX", 1));
    rig.keeper.finish(dead);
    let dies = rig.draft(ANN, "0123456789", origin(2));
    rig.keeper.append(dies, b"x").unwrap();
    rig.keeper.finish(dies);
    let aborted = rig.draft(ANN, "3", origin(3));
    rig.keeper.abort(aborted);
    let _half = rig.draft(ANN, "4", origin(4));
    // A part of another one: the whole has its own name.
    let (part, whole) = (rig.draft(ANN, "5", origin(5)), rig.draft(ANN, "6", origin(6)));
    rig.keeper.append_draft(whole, part).unwrap();
    rig.keeper.finish(whole);
    let refused = rig.draft(ANN, "7", origin(7));
    rig.keeper.prepare(refused).unwrap();
    rig.keeper.abort(refused);
    // Whose folder is gone.
    let lost = rig.draft("bob@example.org", "8", origin(8));
    fs::remove_dir(rig.spool.path().join("bob@example.org/new")).unwrap();
    fs::write(rig.spool.path().join("bob@example.org/new"), b"").unwrap();
    rig.keeper.finish(lost);
    rig.keeper.close();
    assert_eq!(rig.keeper.tally(), tally(1, 0, 3));
    assert_eq!((1..9).filter(|&uid| rig.had(&imap(b"INBOX", uid))).collect::<Vec<_>>(), [6]);
    assert_eq!(rig.lines().len(), 1);
    assert!(!rig.spool.path().join("bob@example.org/mailstore-kept").exists());
}

#[test]
fn what_is_committed_is_noted_too() {
    let mut rig = Rig::new(OnArchiveFailure::Refuse);
    let [first, second] = ["1", "2"].map(|text| rig.draft(ANN, text, None));
    rig.keeper.origin(first, imap(b"Sent", 1));
    assert_eq!([first, second].map(|draft| rig.keeper.prepare(draft)), [Ok(()), Ok(())]);
    rig.keeper.origin(second, imap(b"Sent", 2));
    rig.keeper.commit(first);
    assert!(rig.has(&imap(b"Sent", 1)) && !rig.has(&imap(b"Sent", 2)));
    rig.keeper.close();
    assert!(rig.had(&imap(b"Sent", 1)) && rig.had(&imap(b"Sent", 2)));
}

#[test]
fn a_note_that_cannot_be_written_is_told_once_and_changes_nothing() {
    let mut rig = Rig::new(OnArchiveFailure::Refuse);
    fs::create_dir_all(rig.notes()).unwrap();
    let told = capture(|| {
        // Together, which is written at once, and one by one, which waits for the session's end.
        for uids in [1..3, 3..5, 5..6, 6..7] {
            uids.for_each(|uid| rig.keep(&uid.to_string(), imap(b"INBOX", uid)));
            assert_eq!(rig.keeper.settle(), Ok(()));
        }
        rig.keeper.close();
    });
    assert_eq!(rig.keeper.tally(), tally(6, 0, 0));
    assert!(!rig.has(&imap(b"INBOX", 1)));
    let warnings: Vec<&String> = told.iter().filter(|line| line.contains(" not noted ")).collect();
    assert_eq!(warnings.len(), 1, "{told:?}");
    let begin = format!("WARN 7f3a smtp:test not noted owner={ANN} reason=cannot note what was kept in ");
    assert!(warnings[0].starts_with(&begin), "{}", warnings[0]);
}

#[test]
fn a_note_that_cannot_be_written_later_is_told_as_any_other() {
    let rig = Rig::new(OnArchiveFailure::Refuse);
    fs::create_dir_all(rig.notes()).unwrap();
    let archive = archive(rig.spool.path());
    let mut told_before = Vec::new();
    let told = capture(|| {
        for _ in 0..2 {
            let mut draft = archive.begin(&[destination(ANN)]).unwrap();
            draft.append(b"x").unwrap();
            let kept = archive.keep_all(vec![draft]).remove(0).unwrap().remove(0);
            archive.note_soon("a key", &kept).unwrap();
            super::super::tend::catch_up(&archive, &mut told_before);
        }
    });
    let told: Vec<&String> =
        told.iter().filter(|line| line.contains("not noted ") || line.contains("recovery")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let begin = format!("WARN not noted owner={ANN} reason=cannot note what was kept in ");
    let end = "; the messages are kept, and may be fetched once more";
    assert!(told[0].starts_with(&begin) && told[0].ends_with(end), "{told:?}");
}

#[test]
fn what_is_kept_one_by_one_is_noted_when_the_session_ends() {
    let mut rig = Rig::new(OnArchiveFailure::Refuse);
    for number in 0..3_u32 {
        rig.keep(&number.to_string(), pop3(number.to_string().as_bytes()));
        assert_eq!(rig.keeper.settle(), Ok(()));
        assert!(rig.has(&pop3(number.to_string().as_bytes())));
    }
    assert!(rig.lines().is_empty());
    rig.keeper.close();
    assert_eq!(rig.lines().len(), 3);
    // Not only what waits at its end.
    rig.keep("x", pop3(b"x"));
    rig.keeper.close();
    assert!(rig.had(&pop3(b"x")) && rig.had(&pop3(b"0")));
}

#[test]
fn what_was_fetched_on_our_own_account_is_counted() {
    let spool = tempfile::tempdir().unwrap();
    let rig = super::rig(spool.path());
    let counters = rig.world.counters.of("smtp:test");
    let label = Label { id: 1, proxy: "smtp:test".to_owned(), client: "192.0.2.1:1".parse().unwrap() };
    let upstream = UPSTREAM.to_owned();
    let policy = Policy {
        on_archive_failure: OnArchiveFailure::Pass,
        max_message_size: 10,
        upstream,
        sends: false,
        teacher: None,
    };
    let mut keeper = Keeper::new(label, policy, archive(spool.path()), Arc::clone(&counters));
    keeper.fetched(7);
    keeper.fetched(5);
    assert_eq!(keeper.tally(), Tally { fetched: 12, ..Tally::default() });
    assert_eq!(counters.fetched.get(), 12);
    let told = capture(|| {
        let mut client = rig.client();
        assert_eq!(client.line(), "hello\n");
        assert_eq!(client.ask("end\n"), "");
        assert!(rig.world.limits.wait_until_none(Duration::from_secs(30)));
    });
    let closed = |line: &String| line.contains(" closed ") && line.ends_with(" not_kept=0 fetched=0 reason=end");
    assert!(told.iter().any(closed), "{told:?}");
}

/// All that is logged while this runs, and where tests share a process also what others log.
fn capture(action: impl FnOnce()) -> Vec<String> {
    static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
    static SET: Once = Once::new();
    struct Capture;
    impl log::Log for Capture {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            LINES.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
        }
        fn flush(&self) {}
    }
    SET.call_once(|| {
        log::set_logger(&Capture).unwrap();
        log::set_max_level(log::LevelFilter::Info);
    });
    let before = LINES.lock().unwrap().len();
    action();
    LINES.lock().unwrap()[before..].to_vec()
}
