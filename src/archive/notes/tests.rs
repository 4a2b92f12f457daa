//! The notes over real Maildirs: damaged, torn, replaced, and shared with other processes.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::time::UNIX_EPOCH;

use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::super::{Archive, Destination, Folder, Kept, Owner, Settings, Template};
use super::*;

struct Mailbox {
    dir: TempDir,
    archive: Archive,
}

impl Mailbox {
    fn new() -> Mailbox {
        let dir = tempfile::tempdir().unwrap();
        let archive = archive(dir.path());
        Mailbox { dir, archive }
    }

    /// Another process over the same spool, or this one's next life.
    fn another(&self) -> Archive {
        archive(self.dir.path())
    }

    fn maildir(&self) -> PathBuf {
        self.dir.path().join("a@b")
    }

    fn file(&self) -> PathBuf {
        self.maildir().join(FILE_NAME)
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    /// The lines but for the first.
    fn lines(&self) -> Vec<String> {
        let text = self.text();
        assert!(text.starts_with("# ") && text.ends_with('\n'), "{text}");
        text.lines().skip(1).map(ToOwned::to_owned).collect()
    }

    fn keep(&self, text: &str) -> Kept {
        keep(&self.archive, "a@b", text)
    }

    /// Keeps a message and notes it under its number.
    fn put(&self, number: u32) -> Kept {
        let kept = self.keep(&number.to_string());
        note(&self.archive, &[(&key(number), &kept)]);
        kept
    }

    fn has(&self, number: u32) -> bool {
        has(&self.archive, number)
    }

    /// The only file with this hash in the Maildir.
    fn message(&self, kept: &Kept) -> PathBuf {
        let of = |sub: &str| fs::read_dir(self.maildir().join(sub)).unwrap().map(|entry| entry.unwrap().path());
        let found: Vec<PathBuf> =
            of("new").chain(of("cur")).filter(|path| path.to_str().unwrap().contains(&kept.hash)).collect();
        assert_eq!(found.len(), 1);
        found.into_iter().next().unwrap()
    }
}

fn archive(spool: &Path) -> Archive {
    let maildir = Template::parse("%u").unwrap();
    Archive::new(Settings { spool: spool.to_path_buf(), maildir, sync: false })
}

fn owner(name: &str) -> Owner {
    Owner::new(name.as_bytes(), "localhost")
}

fn keep(archive: &Archive, to: &str, text: &str) -> Kept {
    let to = Destination { owner: owner(to), folder: Folder::inbox(), outgoing: false };
    let mut draft = archive.begin(&[to]).unwrap();
    draft.append(text.as_bytes()).unwrap();
    archive.keep_all(vec![draft]).remove(0).unwrap().remove(0)
}

fn note(archive: &Archive, notes: &[(&str, &Kept)]) {
    let notes: Vec<(String, Kept)> = notes.iter().map(|(key, kept)| ((*key).to_owned(), (*kept).clone())).collect();
    assert!(archive.note(&notes).is_empty());
}

fn key(number: u32) -> String {
    format!("imap.example.com:993 imap INBOX 1700000000 {number}")
}

fn has(archive: &Archive, number: u32) -> bool {
    archive.has(&owner("a@b"), &key(number))
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

// ---- what is written, and what counts

#[test]
fn a_line_tells_an_administrator_which_message_it_is() {
    let mailbox = Mailbox::new();
    let kept = mailbox.put(42);
    let line = mailbox.lines().remove(0);
    let (body, check) = line.rsplit_once(' ').unwrap();
    assert_eq!(body, format!("imap.example.com:993 imap INBOX 1700000000 42 2 {}", kept.hash));
    assert_eq!(check, &safe::hex(&Sha256::digest(body))[..8]);
    assert!(mailbox.text().lines().next().unwrap().contains("may be deleted at any time"));
    assert_eq!(fs::metadata(mailbox.file()).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(mailbox.has(42) && !mailbox.has(4) && !mailbox.has(2) && !mailbox.has(43));
    assert!(has(&mailbox.another(), 42));
}

#[test]
fn only_a_message_that_stands_in_the_maildir_counts() {
    let mailbox = Mailbox::new();
    let kept = [mailbox.put(1), mailbox.put(2), mailbox.put(3), mailbox.put(4)];
    // Read, moved to another folder, deleted, and cut short.
    let path = mailbox.message(&kept[0]);
    let name = path.file_name().unwrap().to_str().unwrap().to_owned() + ":2,S";
    fs::rename(path, mailbox.maildir().join("cur").join(name)).unwrap();
    let path = mailbox.message(&kept[1]);
    let work = mailbox.maildir().join(".Work/cur");
    fs::create_dir_all(&work).unwrap();
    fs::rename(&path, work.join(path.file_name().unwrap())).unwrap();
    fs::remove_file(mailbox.message(&kept[2])).unwrap();
    fs::write(mailbox.message(&kept[3]), b"").unwrap();
    for archive in [&mailbox.archive, &mailbox.another()] {
        assert_eq!([1, 2, 3, 4].map(|number| has(archive, number)), [true, true, false, false]);
    }
    // It comes once more: the note that stands there is right again, and is not written twice.
    mailbox.put(3);
    assert!(mailbox.has(3));
    assert_eq!(mailbox.lines().len(), 4);
}

#[test]
fn what_stands_there_already_is_not_written_again() {
    let mailbox = Mailbox::new();
    let first = mailbox.put(1);
    mailbox.put(1);
    note(&mailbox.archive, &[(&key(2), &first), (&key(2), &first), (&key(1), &first)]);
    assert_eq!(mailbox.lines().len(), 2, "{}", mailbox.text());
    // A server that gives other bytes under the same name: the latest counts.
    let other = mailbox.keep("other");
    note(&mailbox.archive, &[(&key(1), &other)]);
    assert_eq!(mailbox.lines().len(), 3);
    fs::remove_file(mailbox.message(&first)).unwrap();
    assert!(mailbox.has(1) && !mailbox.has(2));
    assert!(has(&mailbox.another(), 1));
}

#[test]
fn each_owner_has_notes_of_his_own() {
    let mailbox = Mailbox::new();
    let (a, c) = (mailbox.keep("x"), keep(&mailbox.archive, "c@d", "x"));
    note(&mailbox.archive, &[(&key(1), &a), (&key(2), &c), (&key(3), &a)]);
    let has = |name: &str, number| mailbox.archive.has(&owner(name), &key(number));
    assert_eq!([1, 2, 3].map(|number| has("a@b", number)), [true, false, true]);
    assert_eq!([1, 2, 3].map(|number| has("c@d", number)), [false, true, false]);
    assert_eq!(mailbox.lines().len(), 2);
}

#[test]
fn asking_makes_nothing() {
    let mailbox = Mailbox::new();
    assert!(!mailbox.has(1));
    assert_eq!(fs::read_dir(mailbox.dir.path()).unwrap().count(), 0);
    mailbox.keep("x");
    assert!(!mailbox.has(1));
    assert!(!mailbox.file().exists());
    note(&mailbox.archive, &[]);
    assert!(!mailbox.file().exists());
}

#[test]
fn a_key_that_does_not_fit_into_a_line_is_not_noted() {
    let mailbox = Mailbox::new();
    let kept = mailbox.keep("x");
    let long = "x".repeat(LINE_LEN_MAX);
    let longest = "x".repeat(LINE_LEN_MAX - " 18446744073709551615 ".len() - 64 - 1 - CHECK_LEN);
    for (key, fits) in [("", false), ("# a", false), ("a\nb", false), ("a\0b", false), (&long, false)] {
        note(&mailbox.archive, &[(key, &kept)]);
        assert_eq!(mailbox.archive.has(&owner("a@b"), key), fits, "{key:?}");
    }
    assert!(!mailbox.file().exists());
    for key in [longest.as_str(), "a", "a  b", "ä 1"] {
        note(&mailbox.archive, &[(key, &kept)]);
        assert!(mailbox.archive.has(&owner("a@b"), key) && mailbox.another().has(&owner("a@b"), key), "{key:?}");
    }
    // The longest line of all: the size is as long as it can be.
    let message = Message { size: u64::MAX, hash: [7; 32] };
    let line = line(&longest, message);
    assert_eq!(line.len(), LINE_LEN_MAX + 1);
    assert_eq!(parse(line.trim_end().as_bytes()), Some((longest.as_bytes(), message)));
}

// ---- other hands

#[test]
fn several_processes_append_to_one_file() {
    let mailbox = Mailbox::new();
    let archives = [mailbox.another(), mailbox.another(), mailbox.another()];
    let kept: Vec<Kept> = (0..30).map(|number| mailbox.keep(&number.to_string())).collect();
    for (number, kept) in (0..).zip(&kept) {
        note(&archives[number as usize % 3], &[(&key(number), kept)]);
        for reader in &archives {
            assert!(has(reader, number) && has(reader, number / 2) && !has(reader, number + 1));
        }
    }
    assert_eq!(mailbox.lines().len(), 30);
    // What another process keeps once this one has looked through the Maildir is not known here: asked, it says no.
    note(&archives[0], &[(&key(30), &mailbox.keep("30"))]);
    assert!(!has(&archives[1], 30) && has(&mailbox.another(), 30));
}

#[test]
fn threads_do_not_mix_their_lines() {
    let mailbox = Mailbox::new();
    let kept = mailbox.keep("x");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (archive, kept) = (mailbox.another(), &kept);
            scope.spawn(move || (0..50).for_each(|number| note(&archive, &[(&key(thread * 1000 + number), kept)])));
        }
    });
    let fresh = mailbox.another();
    assert!((0..4).all(|thread| (0..50).all(|number| has(&fresh, thread * 1000 + number))));
}

#[test]
fn a_file_that_is_removed_or_replaced_is_read_anew() {
    let mailbox = Mailbox::new();
    (1..=3).for_each(|number| drop(mailbox.put(number)));
    let (text, first) = (mailbox.text(), mailbox.lines().remove(0));
    assert!(mailbox.has(3));
    fs::remove_file(mailbox.file()).unwrap();
    assert!(!mailbox.has(3));
    mailbox.put(2);
    assert_eq!(mailbox.lines().len(), 1);
    assert!(mailbox.has(2) && !mailbox.has(1) && !mailbox.has(3));
    // Shorter and longer, in its place and as another file.
    fs::write(mailbox.file(), &first).unwrap();
    assert!(!mailbox.has(1), "a line without its end");
    fs::write(mailbox.file(), first.clone() + "\n").unwrap();
    assert!(mailbox.has(1) && !mailbox.has(2));
    fs::write(mailbox.file(), format!("# by hand\n{text}")).unwrap();
    assert!((1..=3).all(|number| mailbox.has(number)));
    let beside = mailbox.dir.path().join("beside");
    fs::write(&beside, text.replace(&first, "")).unwrap();
    fs::rename(beside, mailbox.file()).unwrap();
    assert!(!mailbox.has(1) && mailbox.has(2) && mailbox.has(3));
    fs::write(mailbox.file(), "").unwrap();
    assert!(!mailbox.has(2));
    mailbox.put(1);
    assert_eq!(mailbox.lines(), [first]);
}

#[test]
fn a_maildir_that_is_removed_meanwhile_is_not_made_for_a_note() {
    let mailbox = Mailbox::new();
    let kept = mailbox.put(1);
    fs::remove_dir_all(mailbox.maildir()).unwrap();
    assert!(!mailbox.has(1));
    assert_eq!(mailbox.archive.note(&[(key(2), kept)]).len(), 1);
    assert!(!mailbox.maildir().exists());
}

#[test]
fn what_is_no_file_is_neither_read_nor_written() {
    let fifo = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let right = Mailbox::new();
    right.put(1);
    let (right, elsewhere) = (right.file(), right.dir.path().join("none"));
    let ways: [&dyn Fn(&Path); 4] = [
        &|path| symlink(&right, path).unwrap(),
        &|path| symlink(&elsewhere, path).unwrap(),
        &|path| fs::create_dir(path).unwrap(),
        &fifo,
    ];
    let before = fs::read(&right).unwrap();
    for way in ways {
        let mailbox = Mailbox::new();
        let kept = mailbox.keep("1");
        way(&mailbox.file());
        assert!(!mailbox.has(1));
        let failed = mailbox.archive.note(&[(key(1), kept.clone()), (key(2), kept)]);
        assert_eq!((failed.len(), &failed[0].0), (1, &owner("a@b")));
        let why = failed[0].1.to_string();
        assert!(why.starts_with("cannot note what was kept in ") && why.contains("/mailstore-kept: "), "{why}");
        assert!(!mailbox.has(1));
    }
    assert!(!elsewhere.exists());
    assert_eq!(fs::read(&right).unwrap(), before);
}

#[test]
fn the_file_disturbs_neither_the_look_through_the_maildir_nor_recovery() {
    let mailbox = Mailbox::new();
    let kept = mailbox.put(1);
    let text = mailbox.text();
    let another = mailbox.another();
    let recovery = another.recover();
    assert!(recovery.kept.is_empty() && recovery.removed == 0 && recovery.failed.is_empty());
    assert!(keep(&another, "a@b", "1").duplicate);
    assert_eq!(mailbox.text(), text);
    assert!(mailbox.message(&kept).exists());
}

// ---- damage

#[test]
fn a_torn_line_spoils_no_other() {
    let text = {
        let mailbox = Mailbox::new();
        mailbox.put(1);
        mailbox.put(2);
        mailbox.text()
    };
    for len in 0..text.len() {
        let mailbox = Mailbox::new();
        (1..=3).for_each(|number| drop(mailbox.keep(&number.to_string())));
        fs::write(mailbox.file(), &text[..len]).unwrap();
        let before = [1, 2].map(|number| mailbox.has(number));
        let ends = text.match_indices('\n').map(|(at, _)| at + 1).collect::<Vec<_>>();
        assert_eq!(before, [len >= ends[1], len >= ends[2]]);
        mailbox.put(3);
        for archive in [&mailbox.archive, &mailbox.another()] {
            let [first, second] = [1, 2].map(|number| has(archive, number));
            assert!(has(archive, 3), "after {len} octets");
            // That only its end was missing is made good by ours.
            let whole = |end: usize| len + 1 >= end;
            assert_eq!([first, second], [whole(ends[1]), whole(ends[2])]);
        }
    }
}

#[test]
fn every_octet_of_the_file_may_change() {
    let mailbox = Mailbox::new();
    // All are there; of these only the odd ones are noted.
    (11..=14).for_each(|number| drop(mailbox.keep(&number.to_string())));
    (11..=14).filter(|number| number % 2 == 1).for_each(|number| drop(mailbox.put(number)));
    let right = fs::read(mailbox.file()).unwrap();
    let line_of = |at: usize| right[..at].iter().filter(|&&b| b == b'\n').count();
    let ask = |notes: &Notes| [11, 12, 13, 14].map(|number| notes.find(&mailbox.maildir(), &key(number)).is_some());
    let anew = || Notes::new(NOTES_LEN_MAX, NOTES_MAX);
    for at in 0..right.len() {
        for octet in [0, b' ', b'\n', b'#', right[at] ^ 1, right[at] ^ 2, right[at] ^ 7, right[at] ^ 0x80, 0xff] {
            if octet == right[at] {
                continue;
            }
            let mut bytes = right.clone();
            bytes[at] = octet;
            let before = anew();
            fs::write(mailbox.file(), &right).unwrap();
            assert_eq!(ask(&before), [true, false, true, false]);
            fs::write(mailbox.file(), bytes).unwrap();
            let found = ask(&anew());
            let spoiled = |line: usize, damaged: usize| damaged == line || (damaged + 1 == line && right[at] == b'\n');
            let damaged = line_of(at);
            // In the comment anything may be written, but for a line's end where the next one begins.
            assert_eq!(found, [!spoiled(1, damaged), false, !spoiled(2, damaged), false], "{octet} at {at}");
            // Who knows already where a whole line begins does not mind what became of the one before.
            let before = ask(&before);
            assert!(before[0] >= found[0] && !before[1] && before[2] >= found[2] && !before[3], "{octet} at {at}");
        }
    }
}

#[derive(Clone, Debug)]
enum Damage {
    Replace(Vec<u8>),
    Insert(Vec<u8>),
    Remove(usize),
    Cut,
    /// A stretch that was never written.
    Zeros(usize),
    /// The same stretch once more.
    Repeat(usize),
}

fn damages() -> impl Strategy<Value = Vec<(prop::sample::Index, Damage)>> {
    let bytes = || {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 1..40),
            prop::collection::vec(prop::sample::select(&b" \n0123456789#a"[..]), 1..6)
        ]
    };
    let damage = prop_oneof![
        bytes().prop_map(Damage::Replace),
        bytes().prop_map(Damage::Insert),
        (1_usize..300).prop_map(Damage::Remove),
        Just(Damage::Cut),
        (1_usize..10_000).prop_map(Damage::Zeros),
        (1_usize..400).prop_map(Damage::Repeat),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), damage), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damage_never_vouches_for_a_message_that_is_not_there(damages in damages(), seen_before in any::<bool>()) {
        let mailbox = Mailbox::new();
        let kept: Vec<Kept> = (0..8).map(|number| mailbox.put(number)).collect();
        // One was deleted; and number 8 and above were never there.
        fs::remove_file(mailbox.message(&kept[5])).unwrap();
        if seen_before {
            prop_assert!(mailbox.has(7));
        }
        let lines = mailbox.lines();
        let mut bytes = fs::read(mailbox.file()).unwrap();
        for (at, damage) in damages {
            let at = at.index(bytes.len() + 1);
            let upto = |len: usize| bytes.len().min(at + len);
            match damage {
                Damage::Replace(by) => { let end = upto(by.len()); bytes.splice(at..end, by); }
                Damage::Insert(these) => { bytes.splice(at..at, these); }
                Damage::Remove(len) => { bytes.drain(at..upto(len)); }
                Damage::Cut => bytes.truncate(at),
                Damage::Zeros(len) => { bytes.splice(at..at, vec![0; len]); }
                Damage::Repeat(len) => { let again = bytes[at..upto(len)].to_vec(); bytes.splice(at..at, again); }
            }
        }
        fs::write(mailbox.file(), &bytes).unwrap();
        let left: Vec<&[u8]> = bytes.split_inclusive(|&b| b == b'\n').filter_map(|line| line.strip_suffix(b"\n")).collect();
        for (number, line) in (0..).zip(&lines) {
            let stands = left.contains(&line.as_bytes()) && number != 5;
            prop_assert_eq!(has(&mailbox.another(), number), stands, "number {}", number);
            // Who has read it before may have missed that it was changed in its place: only that costs a second fetch.
            prop_assert!(!mailbox.has(number) || stands);
        }
        for number in 8..100 {
            prop_assert!(!mailbox.has(number));
        }
        // And it can be written again.
        for number in 0..8 {
            mailbox.put(number);
        }
        for number in 0..8 {
            prop_assert!(mailbox.has(number) && has(&mailbox.another(), number), "number {}", number);
        }
    }
}

#[test]
fn a_line_too_long_is_skipped_over_however_it_comes() {
    let mailbox = Mailbox::new();
    mailbox.put(1);
    // Without an end, in pieces that are looked at in between.
    for _ in 0..5 {
        append(&mailbox.file(), &[b'x'; 50_000]);
        assert!(mailbox.has(1) && !mailbox.has(2));
    }
    mailbox.put(2);
    append(&mailbox.file(), &[&[b'y'; LINE_LEN_MAX + 1][..], b"\n"].concat());
    append(&mailbox.file(), &[0; 3 * CHUNK_LEN]);
    mailbox.put(3);
    for archive in [&mailbox.archive, &mailbox.another()] {
        assert!((1..=3).all(|number| has(archive, number)));
    }
}

// ---- limits

#[test]
fn a_hundred_thousand_notes_are_read_in_one_go() {
    let mailbox = Mailbox::new();
    let kept = mailbox.keep("x");
    let message = Message { size: kept.size, hash: name::unhex(kept.hash.as_bytes()).unwrap() };
    let mut text = HEADER.to_owned();
    for number in 0..100_000 {
        text.write_str(&line(&key(number), message)).unwrap();
    }
    fs::write(mailbox.file(), text).unwrap();
    assert!((0..100_000).step_by(997).chain([99_999]).all(|number| mailbox.has(number)));
    assert!(!mailbox.has(100_000));
    let notes = &mailbox.archive.shared.notes;
    assert_eq!(lock(&notes.owners).cost, OWNER_COST + 100_000);
    notes.with(&mailbox.maildir(), |book| assert_eq!(book.read, fs::metadata(mailbox.file()).unwrap().len()));
}

/// Notes alone, below a spool of their own.
struct Small {
    dir: TempDir,
    spool: Spool,
    notes: Notes,
}

impl Small {
    fn new(len_max: u64, lines_max: usize) -> Small {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path().to_path_buf(), true);
        Small { dir, spool, notes: Notes::new(len_max, lines_max) }
    }

    fn maildir(&self, owner: u32) -> PathBuf {
        let maildir = self.dir.path().join(owner.to_string());
        fs::create_dir_all(&maildir).unwrap();
        maildir
    }

    fn add(&self, owner: u32, number: u32) {
        let message = Message { size: 1, hash: [7; 32] };
        self.notes.add(&self.spool, &self.maildir(owner), &[(&key(number), message)]).unwrap();
    }

    fn has(&self, owner: u32, number: u32) -> bool {
        self.notes.find(&self.maildir(owner), &key(number)).is_some()
    }
}

#[test]
fn the_budget_holds_over_all_owners() {
    let small = Small::new(NOTES_LEN_MAX, 200);
    for owner in 0..20 {
        for number in 0..30 {
            small.add(owner, number);
            assert!(lock(&small.notes.owners).cost <= 200);
        }
    }
    let known = |small: &Small| lock(&small.notes.owners).slots.len();
    assert!(known(&small) < 6);
    // Whoever was forgotten is read anew, and pushes out who was not asked for longest.
    for owner in 0..20 {
        assert!((0..30).all(|number| small.has(owner, number)));
        assert!(lock(&small.notes.owners).slots.contains_key(&small.maildir(owner)));
        assert!(lock(&small.notes.owners).cost <= 200);
    }
    let owners = lock(&small.notes.owners);
    assert_eq!(owners.cost, owners.slots.values().map(|slot| slot.cost).sum::<usize>());
    assert!(!owners.slots.contains_key(&small.maildir(0)));
}

#[test]
fn one_owner_alone_never_holds_more_than_the_budget() {
    let small = Small::new(NOTES_LEN_MAX, 10);
    (0..30).for_each(|number| small.add(0, number));
    assert!(lock(&small.notes.owners).cost <= 10 + OWNER_COST);
    assert_eq!((0..30).filter(|&number| small.has(0, number)).count(), 10);
}

#[test]
fn a_file_that_is_full_is_begun_anew() {
    let line = line(&key(10), Message { size: 1, hash: [7; 32] }).len();
    let small = Small::new((HEADER.len() + 5 * line) as u64, NOTES_MAX);
    let path = small.maildir(0).join(FILE_NAME);
    (10..15).for_each(|number| small.add(0, number));
    let full = fs::metadata(&path).unwrap();
    assert_eq!(full.len(), small.notes.len_max);
    assert!((10..15).all(|number| small.has(0, number)));
    small.add(0, 14);
    assert_eq!(fs::metadata(&path).unwrap().ino(), full.ino(), "there already");
    small.add(0, 15);
    assert_ne!(fs::metadata(&path).unwrap().ino(), full.ino());
    assert!((10..15).all(|number| !small.has(0, number)) && small.has(0, 15));
    assert!(fs::read_to_string(&path).unwrap().starts_with(HEADER));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(small.maildir(0).join("tmp")).unwrap().count(), 0);
    // What is behind the limit, by whomever, is not read.
    (16..20).for_each(|number| small.add(0, number));
    append(&path, self::line(&key(20), Message { size: 1, hash: [7; 32] }).as_bytes());
    assert!(small.has(0, 19) && !small.has(0, 20));
    // Nor does one who cannot make another lose the old one.
    fs::remove_dir(small.maildir(0).join("tmp")).unwrap();
    fs::write(small.maildir(0).join("tmp"), b"").unwrap();
    let message = Message { size: 1, hash: [7; 32] };
    assert!(small.notes.add(&small.spool, &small.maildir(0), &[(&key(30), message)]).is_err());
    assert!(small.has(0, 15));
}

#[test]
fn a_draft_of_new_notes_is_removed_by_recovery() {
    let mailbox = Mailbox::new();
    mailbox.put(1);
    let left = mailbox.maildir().join("tmp").join(format!("1.M1P4294967295Q1.{},mailstore", name::host()));
    fs::write(&left, HEADER).unwrap();
    assert_eq!(mailbox.another().recover().removed, 1);
    assert!(!left.exists() && mailbox.has(1));
}

#[test]
fn an_old_date_of_the_file_means_nothing() {
    let mailbox = Mailbox::new();
    mailbox.put(1);
    assert!(mailbox.has(1));
    let text = mailbox.text();
    mailbox.put(2);
    fs::File::options().append(true).open(mailbox.file()).unwrap().set_modified(UNIX_EPOCH).unwrap();
    assert!(mailbox.has(2));
    // A back-up that was put back.
    fs::write(mailbox.file(), text).unwrap();
    assert!(mailbox.has(1) && !mailbox.has(2));
}

// ---- what is written later

#[test]
fn what_waits_counts_here_at_once_and_elsewhere_once_it_is_written() {
    let mailbox = Mailbox::new();
    let soon = |number: u32| {
        let kept = mailbox.keep(&number.to_string());
        mailbox.archive.note_soon(&key(number), &kept).unwrap();
        kept
    };
    let all = |archive: &Archive, numbers: std::ops::Range<u32>| numbers.into_iter().all(|number| has(archive, number));
    let none =
        |archive: &Archive, numbers: std::ops::Range<u32>| numbers.into_iter().all(|number| !has(archive, number));
    (0..3).for_each(|number| drop(soon(number)));
    assert!(all(&mailbox.archive, 0..3) && none(&mailbox.another(), 0..3) && !mailbox.file().exists());
    assert!(!mailbox.has(3) && !mailbox.archive.has(&owner("c@d"), &key(1)));
    // At a session's end; every few seconds; when there are many; and before what is written at once.
    mailbox.archive.write_notes(&owner("a@b")).unwrap();
    mailbox.archive.write_notes(&owner("a@b")).unwrap();
    assert!(all(&mailbox.another(), 0..3));
    soon(3);
    assert!(mailbox.archive.catch_up().unnoted.is_empty());
    assert!(has(&mailbox.another(), 3));
    (4..35).for_each(|number| drop(soon(number)));
    assert!(none(&mailbox.another(), 4..35) && all(&mailbox.archive, 4..35));
    soon(35);
    assert!(all(&mailbox.another(), 0..36));
    soon(36);
    let other = mailbox.keep("other bytes under the same key");
    note(&mailbox.archive, &[(&key(36), &other)]);
    assert_eq!(mailbox.lines().len(), 38);
    assert!(mailbox.lines().last().unwrap().contains(&other.hash));
    fs::remove_file(mailbox.message(&other)).unwrap();
    assert!(!mailbox.has(36) && all(&mailbox.archive, 0..36));
}

#[test]
fn what_waits_and_cannot_be_written_is_told() {
    let mailbox = Mailbox::new();
    let kept = mailbox.keep("x");
    fs::create_dir(mailbox.file()).unwrap();
    mailbox.archive.note_soon(&key(1), &kept).unwrap();
    assert!(mailbox.archive.write_notes(&owner("a@b")).is_err());
    mailbox.archive.note_soon(&key(1), &kept).unwrap();
    let found = mailbox.archive.catch_up();
    let [(whose, why)] = &found.unnoted[..] else { panic!("{found:?}") };
    assert!(*whose == owner("a@b") && why.to_string().starts_with("cannot note what was kept in "), "{found:?}");
    assert!(found.failed.is_empty() && mailbox.archive.catch_up().unnoted.is_empty());
}
