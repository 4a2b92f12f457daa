//! What is known of one Maildir: where each message was seen, and how far its folders are flushed.
//!
//! Looks at names and sizes, never at content; changes nothing on disk. Kept in the table of [`super::known`], behind a lock.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::{Error, FLUSH_FOLDER};
use super::index::{Index, key};
use super::name::{self, Hash};

/// At the root of a Maildir: whoever puts messages there besides MailStore (`scripts/import`) changes this file's time after each of them, and so makes
/// running MailStores look through the folders again. What it holds is of no matter.
pub(super) const IMPORTED: &str = "mailstore-imported";

/// So long it is not looked at again. Whoever changes it counts on what was put there being known after twice that time (`scripts/lib/mailstore/keep.py`).
const IMPORTED_AGE_MAX: Duration = Duration::from_millis(10);

/// What an owner costs of the budget besides his names and folders.
pub(super) const OWNER_COST: usize = 16;

/// What is known of one Maildir.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) maildir: Arc<Path>,
    names_max: usize,
    /// The folders have been looked through, and all that came since was noted.
    loaded: bool,
    /// There was room for all names.
    complete: bool,
    /// How [`IMPORTED`] stood just before that look; none where there was no such file.
    imported: Option<Stamp>,
    /// The same when it was looked at last, and when that was.
    stamp: Option<(Option<Stamp>, Instant)>,
    /// When the lock was taken.
    now: Instant,
    names: Index,
    pub(super) leaves: Vec<Leaf>,
    leaf_numbers: HashMap<PathBuf, usize>,
    /// Where the latest message came: its folder, `new` or `cur`, and the leaf's number. Mostly the next one's.
    latest: Option<(Arc<Path>, &'static str, usize)>,
    /// Messages in folders whose flush failed: they may be gone after a power cut, so they are kept anew when they come again.
    suspects: HashSet<u64>,
}

/// Device, inode, and time of the last change (seconds, nanoseconds) of a file.
type Stamp = (u64, u64, i64, i64);

/// `new` or `cur` of one folder.
#[derive(Debug)]
pub(super) struct Leaf {
    /// Relative to the Maildir.
    pub(super) path: PathBuf,
    /// How many names have come there, as far as we know.
    pub(super) changes: u64,
    /// Which of them stands for all that was found there at the last look.
    scanned: u64,
    /// All changes up to here are on disk.
    pub(super) flushed: u64,
    /// Changes behind the first and up to the second were not flushed, and never will be for sure.
    failed: (u64, u64),
    /// A flush failed while not all names in it were known: whatever is found there may be what it was about.
    doubtful: bool,
}

impl Leaf {
    /// # Errors
    /// The flush that covered this change failed.
    pub(super) fn check(&self, change: u64, maildir: &Path) -> Result<(), Error> {
        if change > self.failed.0 && change <= self.failed.1 {
            let cause = io::Error::other("an earlier flush of it failed");
            return Err(Error::new(FLUSH_FOLDER, &maildir.join(&self.path), cause));
        }
        Ok(())
    }
}

impl Seen {
    pub(super) fn new(maildir: Arc<Path>, names_max: usize) -> Seen {
        Seen {
            maildir,
            names_max,
            loaded: false,
            complete: false,
            imported: None,
            stamp: None,
            now: Instant::now(),
            names: Index::default(),
            leaves: Vec::new(),
            leaf_numbers: HashMap::new(),
            latest: None,
            suspects: HashSet::new(),
        }
    }

    pub(super) fn cost(&self) -> usize {
        OWNER_COST + self.names.cost() + self.suspects.len() + self.leaves.len()
    }

    pub(super) fn forget_names(&mut self) {
        self.names = Index::default();
        self.loaded = false;
    }

    /// Whether a flush failed here.
    pub(super) fn is_distrusted(&self) -> bool {
        !self.suspects.is_empty() || self.leaves.iter().any(|leaf| leaf.failed.1 > 0)
    }

    /// Somebody has the lock, and had asked for it at this time.
    pub(super) fn begin(&mut self, now: Instant) {
        self.now = now;
    }

    /// Whether it knows what lies in the folders.
    pub(super) fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// Looks through the folders, if that was not done.
    pub(super) fn load(&mut self) {
        if !self.loaded {
            self.scan(None);
        }
    }

    /// The leaf and the change of a file that stands with this hash and size. One `stat` where it is where it was, or where there is no
    /// such message; else one look through all folders.
    pub(super) fn find(&mut self, hash: &Hash, size: u64) -> Option<(usize, u64)> {
        if self.suspects.contains(&key(hash)) {
            return None;
        }
        if self.loaded {
            match self.names.find(hash, size) {
                Some(seen) => {
                    let dir = self.maildir.join(&self.leaves[seen.leaf].path);
                    if stands(&dir.join(OsStr::from_bytes(&seen.name)), size) {
                        return Some((seen.leaf, seen.change));
                    }
                }
                None if self.complete && self.stamp() == self.imported => return None,
                None => {}
            }
        }
        self.scan(Some((hash, size)))
    }

    /// How [`IMPORTED`] stands, or stood a moment ago.
    fn stamp(&mut self) -> Option<Stamp> {
        let now = self.now;
        let recent = self.stamp.filter(|(_, at)| now.saturating_duration_since(*at) < IMPORTED_AGE_MAX);
        self.stamp.insert(recent.unwrap_or_else(|| (stamp(&self.maildir), now))).0
    }

    /// Looks through all folders for this message (hash and size), and notes everything else on the way.
    ///
    /// What cannot be read holds nothing: better a copy too many than none. Then the next question looks again.
    fn scan(&mut self, wanted: Option<(&Hash, u64)>) -> Option<(usize, u64)> {
        self.names = Index::default();
        self.complete = true;
        // Before the folders: what comes while they are read changes it once more.
        self.imported = stamp(&self.maildir);
        self.stamp = Some((self.imported, self.now));
        let (folders, mut readable) = folders(&self.maildir);
        let mut found = None;
        for folder in folders {
            // `new` first: what a mail program moves meanwhile is seen once at least.
            for sub in ["new", "cur"] {
                let leaf = self.leaf(&folder.join(sub));
                self.leaves[leaf].changes += 1;
                let change = self.leaves[leaf].changes;
                self.leaves[leaf].scanned = change;
                let dir = self.maildir.join(&self.leaves[leaf].path);
                let doubtful = self.leaves[leaf].doubtful;
                let whole = for_each_name(&dir, |name| {
                    let Some((at, its_hash)) = name::find_hash(name) else {
                        return;
                    };
                    if doubtful {
                        self.suspects.insert(key(&its_hash));
                        return;
                    }
                    if let Some((_, size)) = wanted.filter(|(hash, _)| its_hash == **hash) {
                        let path = dir.join(OsStr::from_bytes(name));
                        if found.is_some() || !stands(&path, size) {
                            return;
                        }
                        found = Some((leaf, change));
                    }
                    if !self.suspects.contains(&key(&its_hash)) {
                        self.remember(&its_hash, leaf, change, name, at);
                    }
                });
                self.leaves[leaf].doubtful = doubtful && !whole;
                readable &= whole;
            }
        }
        self.loaded = readable;
        found
    }

    fn remember(&mut self, hash: &Hash, leaf: usize, change: u64, name: &[u8], at: usize) {
        if self.names.cost() >= self.names_max && !self.names.contains(hash) {
            self.complete = false;
            return;
        }
        self.names.insert(hash, leaf, change, name, at);
    }

    /// A message came to this folder under this name, which holds its hash. The number of its change.
    pub(super) fn insert(&mut self, leaf: usize, name: &[u8], hash: &Hash) -> u64 {
        self.leaves[leaf].changes += 1;
        let change = self.leaves[leaf].changes;
        self.suspects.remove(&key(hash));
        if let Some((at, _)) = name::find_hash(name) {
            self.remember(hash, leaf, change, name, at);
        }
        change
    }

    /// That of a folder's `new` or `cur`; the folder's whole path.
    pub(super) fn leaf_of(&mut self, dir: &Arc<Path>, sub: &'static str) -> usize {
        if let Some((latest, its_sub, number)) = &self.latest
            && Arc::ptr_eq(latest, dir)
            && *its_sub == sub
        {
            return *number;
        }
        let path = dir.strip_prefix(&self.maildir).unwrap_or(dir).join(sub);
        let number = self.leaf(&path);
        self.latest = Some((Arc::clone(dir), sub, number));
        number
    }

    pub(super) fn leaf(&mut self, path: &Path) -> usize {
        if let Some(&number) = self.leaf_numbers.get(path) {
            return number;
        }
        let number = self.leaves.len();
        self.leaf_numbers.insert(path.to_path_buf(), number);
        self.leaves.push(Leaf {
            path: path.to_path_buf(),
            changes: 0,
            scanned: 0,
            flushed: 0,
            failed: (0, 0),
            doubtful: false,
        });
        number
    }

    /// A flush of this leaf's changes behind `from`, which were on disk before it began, and up to `upto` failed.
    ///
    /// What it was about may have been seen again meanwhile, and have the number of that look now: then it concerns all up to there.
    pub(super) fn distrust(&mut self, number: usize, from: u64, upto: u64) {
        let all_known = self.loaded && self.complete;
        let leaf = &mut self.leaves[number];
        leaf.doubtful |= !all_known;
        let from = if leaf.failed.1 == 0 { from } else { leaf.failed.0.min(from) };
        leaf.failed = (from, leaf.failed.1.max(upto).max(leaf.scanned));
        let failed = leaf.failed;
        let is_suspect = |change: u64| change > failed.0 && change <= failed.1;
        self.names.forget(number, is_suspect, |key| {
            self.suspects.insert(key);
        });
    }
}

/// Whether a file of this size stands there.
fn stands(path: &Path, size: u64) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == size)
}

/// How [`IMPORTED`] stands.
fn stamp(maildir: &Path) -> Option<Stamp> {
    let meta = fs::symlink_metadata(maildir.join(IMPORTED)).ok()?;
    Some((meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec()))
}

/// The Maildir's folders relative to it, the inbox (nothing) first, and whether all could be read.
fn folders(maildir: &Path) -> (Vec<PathBuf>, bool) {
    let mut folders = vec![PathBuf::new()];
    let readable = for_each_name(maildir, |name| {
        if name.starts_with(b".") {
            folders.push(PathBuf::from(OsStr::from_bytes(name)));
        }
    });
    (folders, readable)
}

/// Calls for every name in a directory; one that is not there has none. Whether it could be read to its end.
fn for_each_name(dir: &Path, mut action: impl FnMut(&[u8])) -> bool {
    let absent = |e: &io::Error| matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    match fs::read_dir(dir) {
        Ok(entries) => {
            for entry in entries {
                match entry {
                    Ok(entry) => action(entry.file_name().as_bytes()),
                    Err(_) => return false,
                }
            }
            true
        }
        Err(e) => absent(&e),
    }
}
