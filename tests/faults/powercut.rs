//! The power fails: what was not flushed is there, or not, or in part.
//!
//! One run of the program is recorded. For every moment of it, all states of the disk are made that a journalling file system may leave
//! behind, and the archive is started over each: what was owed at that moment must be there, once and whole, and nothing half under a
//! final name. The model is weaker than the journals of ext4 and XFS, so what it cannot break they do not break:
//!
//! - A change of a directory is sure to be there once that directory was flushed afterwards; for a rename, the one renamed into. Of the
//!   rest any may be missing, but within one directory nothing is there that came after something missing. A rename is there wholly or not at all.
//! - A flush of the whole file system makes sure of all changes and all octets before it.
//! - A file's octets are sure to be there once the file was flushed afterwards. Of the rest there is nothing, a half, all, or zeros of the full length,
//!   whatever becomes of its name.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use mailstore::archive::{Archive, Settings, Template};

use crate::scenario::{self, Scenario, Stage, holds_at_least};
use crate::shim::{self, Orders, Shim, Step, What};
use crate::support::spool::Expected;
use crate::support::{Proxy, Spool};

/// A file as an inode: one that was made anew in the place of a removed one is another.
type File = usize;

/// What has been done up to a moment.
#[derive(Default)]
struct Disk {
    /// By the system's number, which may be used again.
    inodes: BTreeMap<u64, File>,
    files: Vec<Content>,
    changes: Vec<Change>,
    /// What is where, if nothing fails.
    names: BTreeMap<PathBuf, File>,
}

#[derive(Default)]
struct Content {
    writes: Vec<(usize, Vec<u8>)>,
    /// So many of them are on disk for sure.
    flushed: usize,
}

/// A change of one directory, or of two.
struct Change {
    what: Entry,
    flushed: bool,
}

#[derive(Clone)]
enum Entry {
    File(PathBuf, File),
    Dir(PathBuf),
    Rename(PathBuf, PathBuf),
    Gone(PathBuf),
}

impl Entry {
    /// The directories it changes; the one that has to be flushed first.
    fn dirs(&self) -> Vec<&Path> {
        match self {
            Entry::File(path, _) | Entry::Dir(path) | Entry::Gone(path) => vec![path.parent().unwrap()],
            Entry::Rename(from, to) => vec![to.parent().unwrap(), from.parent().unwrap()],
        }
    }
}

impl Disk {
    fn take(&mut self, what: &What, root: &Path) {
        match what {
            What::Create { inode, path } => {
                self.inodes.insert(*inode, self.files.len());
                self.names.insert(path.clone(), self.files.len());
                self.change(Entry::File(path.clone(), self.files.len()));
                self.files.push(Content::default());
            }
            What::Write { inode, offset, bytes } => {
                let file = self.inodes[inode];
                self.files[file].writes.push((*offset, bytes.clone()));
            }
            What::Truncate { .. } => panic!("the archive does not cut files"),
            What::Sync { inode } => {
                let content = &mut self.files[self.inodes[inode]];
                content.flushed = content.writes.len();
            }
            What::SyncDir { path } => self.flush(path),
            What::SyncAll => {
                self.files.iter_mut().for_each(|content| content.flushed = content.writes.len());
                self.changes.iter_mut().for_each(|change| change.flushed = true);
            }
            What::MakeDir { path } if path != root => self.change(Entry::Dir(path.clone())),
            What::RemoveDir { path } if path != root => self.change(Entry::Gone(path.clone())),
            What::Rename { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
                self.change(Entry::Rename(from.clone(), to.clone()));
            }
            What::Link { from, to } => {
                let file = self.names[from];
                self.names.insert(to.clone(), file);
                self.change(Entry::File(to.clone(), file));
            }
            What::Unlink { path } => {
                self.names.remove(path);
                self.change(Entry::Gone(path.clone()));
            }
            What::MakeDir { .. } | What::RemoveDir { .. } | What::Send { .. } | What::Receive => {}
        }
    }

    fn change(&mut self, what: Entry) {
        self.changes.push(Change { what, flushed: false });
    }

    /// All changes of this directory up to now are on disk, and with them what came before in the same directories.
    fn flush(&mut self, dir: &Path) {
        let mut sure: BTreeSet<PathBuf> = BTreeSet::new();
        for change in self.changes.iter_mut().rev() {
            let dirs = change.what.dirs();
            if dirs[0] == dir || dirs.iter().any(|dir| sure.contains(*dir)) {
                sure.extend(dirs.into_iter().map(Path::to_path_buf));
                change.flushed = true;
            }
        }
    }

    /// Every set of changes that may be there, as whether each is.
    fn histories(&self) -> Vec<Vec<bool>> {
        let mut all = vec![Vec::new()];
        for (number, change) in self.changes.iter().enumerate() {
            let follows = |history: &Vec<bool>| {
                let dirs = change.what.dirs();
                let mut earlier = self.changes[..number].iter().zip(history);
                earlier.all(|(other, there)| *there || !other.what.dirs().iter().any(|dir| dirs.contains(dir)))
            };
            all = all
                .into_iter()
                .flat_map(|history| {
                    let without = (!change.flushed).then(|| [&history[..], &[false]].concat());
                    let with = follows(&history).then(|| [&history[..], &[true]].concat());
                    with.into_iter().chain(without)
                })
                .collect();
        }
        all
    }

    /// Everything that may be found after a power cut now.
    fn states(&self) -> Vec<State> {
        let mut states = Vec::new();
        for history in self.histories() {
            let mut tree = State::default();
            for (change, _) in self.changes.iter().zip(history).filter(|(_, there)| *there) {
                tree.take(&change.what);
            }
            let files: BTreeSet<File> = tree.files.values().copied().collect();
            let mut variants = vec![tree];
            for file in files {
                let contents = self.files[file].variants();
                variants = variants
                    .into_iter()
                    .flat_map(|state| {
                        contents.iter().map(move |content| {
                            let mut state = state.clone();
                            state.contents.insert(file, content.clone());
                            state
                        })
                    })
                    .collect();
            }
            states.extend(variants);
        }
        states
    }
}

impl Content {
    fn variants(&self) -> Vec<Vec<u8>> {
        let content = |count: usize| {
            let mut content = Vec::new();
            for (offset, bytes) in &self.writes[..count] {
                content.resize(content.len().max(offset + bytes.len()), 0);
                content[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            content
        };
        let (sure, all) = (content(self.flushed), content(self.writes.len()));
        if sure == all {
            return vec![all];
        }
        let half = all[..(sure.len() + all.len()) / 2].to_vec();
        let mut zeros = sure.clone();
        zeros.resize(all.len(), 0);
        vec![sure, half, zeros, all]
    }
}

/// What lies on the disk.
#[derive(Clone, Default, Hash, PartialEq, Eq)]
struct State {
    dirs: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, File>,
    contents: BTreeMap<File, Vec<u8>>,
}

impl State {
    fn take(&mut self, entry: &Entry) {
        match entry {
            Entry::File(path, file) => drop(self.files.insert(path.clone(), *file)),
            Entry::Dir(path) => drop(self.dirs.insert(path.clone())),
            Entry::Rename(from, to) => {
                if let Some(file) = self.files.remove(from) {
                    self.files.insert(to.clone(), file);
                }
            }
            Entry::Gone(path) => {
                self.files.remove(path);
                self.dirs.remove(path);
            }
        }
    }

    /// Puts it below another root; what lies in a directory that is not there is lost.
    fn write(&self, from: &Path, to: &Path) {
        let there = |path: &Path| path.ancestors().take_while(|dir| *dir != from).all(|dir| self.dirs.contains(dir));
        let moved = |path: &Path| to.join(path.strip_prefix(from).unwrap());
        let make = |path: &Path| fs::DirBuilder::new().mode(0o700).create(path).unwrap();
        make(to);
        self.dirs.iter().filter(|dir| there(dir)).for_each(|dir| make(&moved(dir)));
        let mut written: BTreeMap<File, PathBuf> = BTreeMap::new();
        for (path, file) in self.files.iter().filter(|(path, _)| there(path.parent().unwrap())) {
            let path = moved(path);
            if let Some(first) = written.get(file) {
                fs::hard_link(first, &path).unwrap();
                continue;
            }
            let mut options = fs::OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            std::io::Write::write_all(&mut options.open(&path).unwrap(), &self.contents[file]).unwrap();
            written.insert(*file, path);
        }
    }
}

/// One run of the program, recorded.
struct Record {
    stage: Stage,
    root: PathBuf,
    steps: Vec<Step>,
}

fn record(scenario: &Scenario, shared: &str, clients: usize) -> Record {
    record_with(scenario, shared, clients, "")
}

/// The same under these rules of the shim.
fn record_with(scenario: &Scenario, shared: &str, clients: usize, rules: &str) -> Record {
    let stage = Stage::new(scenario.kind, scenario.more);
    let shim = Shim::build(&stage.lab);
    let dir = stage.folder(shared);
    let trace = dir.join("trace");
    let file = dir.join("rules");
    fs::write(&file, rules).unwrap();
    let environment = shim.environment(&dir, &Orders { trace: Some(&trace), rules: Some(&file), ..Orders::default() });
    let proxy = Proxy::try_start_in(&dir, &environment).expect("the program, undisturbed");
    let port = proxy.port(&format!("{}:x", scenario.kind.key()));
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| scenario.play(port).unwrap());
        }
    });
    proxy.stop();
    Spool::at(&dir.join("mailSpool")).holds(&scenario.whole());
    Record { stage, root: dir, steps: shim::read(&trace) }
}

/// Tries every state of every moment; what the archive makes of it is told to `goes_on`, with what it owes, until that says no.
/// Returns how many there were.
fn cut(scenario: &Scenario, record: &Record, mut goes_on: impl FnMut(&Path, &[Expected], &str) -> bool) -> usize {
    let mut disk = Disk::default();
    let (mut tried, mut count) = (HashSet::new(), 0);
    for (number, step) in record.steps.iter().enumerate() {
        disk.take(&step.what, &record.root);
        if matches!(step.what, What::Receive) {
            continue;
        }
        let owed = scenario.owed(&record.steps[..=number], record.stage.server);
        for state in disk.states() {
            let mut hasher = DefaultHasher::new();
            (&state, owed.len()).hash(&mut hasher);
            if !tried.insert(hasher.finish()) {
                continue;
            }
            count += 1;
            let dir = record.stage.lab.path().join("cut");
            state.write(&record.root, &dir);
            let spool = dir.join("mailSpool");
            let maildir = Template::parse("%d/%n").unwrap();
            let found = Archive::new(Settings { spool: spool.clone(), maildir, sync: false }).recover();
            let failed = if found.failed.is_empty() { String::new() } else { format!(", {:?}", found.failed) };
            let when = format!("cut behind step {} ({:.100}){failed}", step.number, format!("{:?}", step.what));
            let goes_on = goes_on(&spool, &owed, &when);
            fs::remove_dir_all(&dir).unwrap();
            if !goes_on {
                return count;
            }
        }
    }
    count
}

/// Whether a file of this name's size and hash lies there, and holds what it says.
fn is_kept(spool: &Path, one: &Expected) -> bool {
    let folder = if one.folder.is_empty() { String::new() } else { format!(".{}", one.folder) };
    let dir = spool.join(&one.owner).join(folder);
    let files = ["new", "cur"].iter().filter_map(|leaf| fs::read_dir(dir.join(leaf)).ok()).flatten();
    files.flatten().any(|file| fs::read(file.path()).is_ok_and(|bytes| bytes == one.bytes))
}

fn survives_every_power_cut(scenario: &Scenario) {
    survives_every_power_cut_with(scenario, 1);
}

fn survives_every_power_cut_with(scenario: &Scenario, clients: usize) {
    survives(scenario, &record(scenario, "sync = yes", clients));
}

fn survives(scenario: &Scenario, record: &Record) {
    let count = cut(scenario, record, |spool, owed, when| {
        holds_at_least(spool, owed, when);
        true
    });
    println!("{count} states after {} steps", record.steps.len());
    assert!(count > 30, "only {count} states: the model does not see what the program does");
}

#[test]
fn a_message_retrieved_by_pop3_survives_every_power_cut() {
    survives_every_power_cut(&scenario::POP3_RETR);
}

#[test]
fn a_message_deleted_unread_by_pop3_survives_every_power_cut() {
    survives_every_power_cut(&scenario::POP3_DELETED_UNREAD);
}

#[test]
fn messages_fetched_by_imap_survive_every_power_cut() {
    survives_every_power_cut(&scenario::IMAP_FETCH);
}

/// Where the system flushes no file system at once: each file is flushed alone.
#[test]
fn messages_fetched_by_imap_and_flushed_one_by_one_survive_every_power_cut() {
    let rules = format!("syncfs {} 0 -\n", nix::libc::ENOSYS);
    let record = record_with(&scenario::IMAP_FETCH, "sync = yes", 1, &rules);
    assert!(!record.steps.iter().any(|step| step.what == What::SyncAll));
    survives(&scenario::IMAP_FETCH, &record);
}

#[test]
fn messages_read_in_part_or_deleted_unread_by_imap_survive_every_power_cut() {
    survives_every_power_cut(&scenario::IMAP_PARTS_AND_UNREAD);
}

#[test]
fn a_message_appended_by_imap_survives_every_power_cut() {
    survives_every_power_cut(&scenario::IMAP_APPEND);
}

#[test]
fn a_message_sent_by_data_survives_every_power_cut() {
    survives_every_power_cut(&scenario::SMTP_DATA);
}

#[test]
fn a_message_sent_in_chunks_survives_every_power_cut() {
    survives_every_power_cut(&scenario::SMTP_BDAT);
}

#[test]
fn a_message_for_several_owners_survives_every_power_cut() {
    survives_every_power_cut(&scenario::SMTP_RECIPIENTS);
}

/// Their steps come in any order. (That what one finds to be there already is flushed before it counts, though another put it there a moment ago, is a
/// test of the archive's own.)
#[test]
fn the_same_messages_in_two_sessions_at_once_survive_every_power_cut() {
    survives_every_power_cut_with(&scenario::POP3_RETR, 2);
    survives_every_power_cut_with(&scenario::IMAP_APPEND, 2);
}

/// Whether the model finds a state in which a message is lost that was owed.
fn loses_mail(scenario: &Scenario, record: &Record) -> bool {
    let mut lost = 0;
    cut(scenario, record, |spool, owed, _| {
        lost += owed.iter().filter(|one| !is_kept(spool, one)).count();
        lost == 0
    });
    lost > 0
}

/// What `sync = no` means, and that the model finds it.
#[test]
fn without_flushing_a_power_cut_loses_mail() {
    for scenario in [scenario::POP3_RETR, scenario::SMTP_DATA] {
        let record = record(&scenario, "sync = no", 1);
        assert!(loses_mail(&scenario, &record), "the model takes everything for flushed");
    }
}

/// Each kind of flush is one without which the model finds what is lost: none is there for nothing.
#[test]
fn without_any_one_kind_of_flush_a_power_cut_loses_mail() {
    // What is being sent is safe as soon as it is prepared in `tmp`.
    for (scenario, folder) in [
        (scenario::POP3_RETR, "new"),
        (scenario::IMAP_FETCH, "new"),
        (scenario::IMAP_APPEND, "tmp"),
        (scenario::SMTP_DATA, "tmp"),
    ] {
        let mut record = record(&scenario, "sync = yes", 1);
        let all = std::mem::take(&mut record.steps);
        let of_files = |what: &What| matches!(what, What::Sync { .. } | What::SyncAll);
        let of_folder = |what: &What| matches!(what, What::SyncDir { path } if path.ends_with(folder));
        for (kind, is_flush) in [("a file", &of_files as &dyn Fn(&What) -> bool), ("a folder", &of_folder)] {
            record.steps = all.iter().filter(|step| !is_flush(&step.what)).cloned().collect();
            assert!(record.steps.len() < all.len());
            let name = scenario.kind.key();
            assert!(loses_mail(&scenario, &record), "{name} loses nothing without a flush of {kind}");
        }
    }
}
