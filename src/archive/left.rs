//! What could not be brought to its end when it should have been, because the disk did not let us: tried again while the program runs.
//!
//! It only remembers. After a crash the next start finds all of it by itself.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::known::{Mark, lock};
use super::maildir::Place;

/// How much of each kind is remembered; what is above that waits for the next start.
const LEFT_MAX: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Whether there is anything: asked for often.
    any: AtomicBool,
    work: Mutex<Work>,
}

/// What is left to do.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Prepared drafts in `tmp`, the folders they are for, and whether the file's flush is known not to have failed: they have to be committed.
    pub(super) prepared: Vec<(Place, PathBuf, bool)>,
    /// Messages that are in their folders, which could not be flushed because they could not even be opened.
    pub(super) unflushed: Vec<Mark>,
    /// Files that stand for no message: they have to be removed.
    pub(super) unwanted: Vec<PathBuf>,
}

impl Left {
    pub(super) fn prepared(&self, place: Place, path: PathBuf, flushed: bool) {
        self.add(|work| &mut work.prepared, (place, path, flushed));
    }

    pub(super) fn unflushed(&self, mark: Mark) {
        self.add(|work| &mut work.unflushed, mark);
    }

    pub(super) fn unwanted(&self, path: PathBuf) {
        self.add(|work| &mut work.unwanted, path);
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Relaxed)
    }

    /// All of it, which is then forgotten here.
    pub(super) fn take(&self) -> Option<Work> {
        if !self.any.swap(false, Ordering::Relaxed) {
            return None;
        }
        Some(std::mem::take(&mut *lock(&self.work)))
    }

    fn add<T>(&self, kind: fn(&mut Work) -> &mut Vec<T>, what: T) {
        let mut work = lock(&self.work);
        let of_kind = kind(&mut work);
        if of_kind.len() < LEFT_MAX {
            of_kind.push(what);
            self.any.store(true, Ordering::Relaxed);
        }
    }
}
