//! Many new files are put on disk at once.
//!
//! One by one each would wait for a commit of the file system's journal and for the disk's own cache. `syncfs(2)` waits once for all that lies on the
//! file system, also for what others have written there: where that takes long, files are flushed one by one for a while. It tells
//! of all that failed only since Linux 5.17 (of failed writes since 5.8, of what the file system itself says since 5.17), and we trust only file systems of
//! which we know that they tell. Even so octets may be given up that were never given a place on the disk (delayed allocation) without a word to `syncfs`: a file that has too
//! few blocks afterwards has failed. Everywhere else one file is flushed after the other.
//!
//! Nothing begins to write a file before it is flushed, for that might hear of a failure in the place of the flush.
//!
//! A failure concerns every file of those that were flushed together: none of them is flushed a second time.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::statfs::{EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, fstatfs};
use nix::sys::utsname::uname;
use nix::unistd::syncfs;

use super::error::{Error, FLUSH_FILE};
use super::known::lock;

/// So few files are flushed one by one.
const TOGETHER_MIN: usize = 3;
/// What a flush together may take before it is given up for a while.
const LONG: Duration = Duration::from_secs(1);
/// For how long.
const PAUSE: Duration = Duration::from_secs(60);
/// Files up to this size may lie where their blocks are told of, and have none.
const INLINE_LEN_MAX: u64 = 4096;
/// In such octets the system counts what a file takes.
const BLOCK_LEN: u64 = 512;

/// A file of ours to flush.
pub(super) struct Unflushed<'a> {
    pub(super) file: &'a File,
    /// For messages.
    pub(super) path: &'a Path,
    /// Grows with every file that this process opens.
    pub(super) opened: u64,
}

/// Whether and how files can be flushed together.
#[derive(Debug, Default)]
pub(super) struct Together {
    /// The system does not let us.
    unavailable: AtomicBool,
    /// It took long; not before this time again.
    paused: Mutex<Option<Instant>>,
}

/// Since Linux 5.17 `syncfs` tells of all that failed.
static TELLS: LazyLock<bool> = LazyLock::new(|| uname().is_ok_and(|name| tells(&name.release().to_string_lossy())));

fn tells(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().ok());
    matches!((numbers.next().flatten(), numbers.next().flatten()), (Some(major), Some(minor)) if (major, minor) >= (5, 17))
}

impl Together {
    /// Content and times of all these files are on disk, or why not; in their order. After a failure a file must be given up: its pages then count
    /// as clean.
    pub(super) fn flush(&self, files: &[Unflushed<'_>]) -> Vec<Result<(), Error>> {
        match self.flush_at_once(files) {
            Some(Ok(())) => files.iter().map(look).collect(),
            Some(Err(e)) => files.iter().map(|one| Err(Error::new(FLUSH_FILE, one.path, e.into()))).collect(),
            None => {
                files.iter().map(|one| one.file.sync_all().map_err(|e| Error::new(FLUSH_FILE, one.path, e))).collect()
            }
        }
    }

    /// None where nothing was tried.
    fn flush_at_once(&self, files: &[Unflushed<'_>]) -> Option<Result<(), Errno>> {
        // What fails is told to whoever had a file open there before: so the one that was opened first.
        let first = files.iter().min_by_key(|one| one.opened)?;
        let now = Instant::now();
        let may =
            files.len() >= TOGETHER_MIN && *TELLS && !self.unavailable.load(Ordering::Relaxed) && self.is_due(now);
        if !may || !are_of_one_trusted_file_system(files) {
            return None;
        }
        match syncfs(first.file) {
            Err(Errno::ENOSYS | Errno::EPERM) => {
                self.unavailable.store(true, Ordering::Relaxed);
                None
            }
            flushed => {
                self.took(now, now.elapsed());
                Some(flushed)
            }
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        lock(&self.paused).is_none_or(|until| now >= until)
    }

    fn took(&self, begun: Instant, time: Duration) {
        if time >= LONG {
            *lock(&self.paused) = Some(begun + time + PAUSE);
        }
    }
}

/// What was flushed together has its octets. (Ours have no holes.)
fn look(one: &Unflushed<'_>) -> Result<(), Error> {
    let meta = one.file.metadata().map_err(|e| Error::new(FLUSH_FILE, one.path, e))?;
    if meta.len() > INLINE_LEN_MAX && meta.blocks() < meta.len().div_ceil(BLOCK_LEN) {
        let cause = io::Error::other("the file system did not keep its octets");
        return Err(Error::new(FLUSH_FILE, one.path, cause));
    }
    Ok(())
}

fn are_of_one_trusted_file_system(files: &[Unflushed<'_>]) -> bool {
    let device = |one: &Unflushed<'_>| one.file.metadata().ok().map(|meta| meta.dev());
    let Some((first, rest)) = files.split_first() else { return false };
    let own = device(first);
    let trusted = |kind| kind == EXT4_SUPER_MAGIC || kind == XFS_SUPER_MAGIC;
    own.is_some()
        && fstatfs(first.file).is_ok_and(|of| trusted(of.filesystem_type()))
        && rest.iter().all(|one| device(one) == own)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn kernels_that_tell_of_failed_writes() {
        for (release, told) in [
            ("5.17.0", true),
            ("5.19.0-28-amd64", true),
            ("6.1", true),
            ("5.16.20", false),
            ("5.8.0", false),
            ("4.19.0", false),
            ("4.4.0-Microsoft", false),
            ("", false),
            ("x", false),
        ] {
            assert_eq!(tells(release), told, "{release}");
        }
    }

    #[test]
    fn what_takes_long_is_not_done_again_at_once() {
        let (together, now) = (Together::default(), Instant::now());
        together.took(now, LONG / 2);
        assert!(together.is_due(now));
        together.took(now, LONG);
        assert!(!together.is_due(now + LONG) && !together.is_due(now + PAUSE));
        assert!(together.is_due(now + LONG + PAUSE));
    }

    #[test]
    fn a_file_without_its_blocks_has_failed() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create_new(dir.path().join("file")).unwrap();
        let looked = |file: &File| look(&Unflushed { file, path: Path::new("p"), opened: 1 });
        // As after a failed allocation: the size is there, the octets are not.
        file.set_len(INLINE_LEN_MAX + 1).unwrap();
        let why = looked(&file).unwrap_err().to_string();
        assert!(why.contains("did not keep its octets"), "{why}");
        file.set_len(INLINE_LEN_MAX).unwrap();
        looked(&file).unwrap();
        (&file).write_all(&vec![b'x'; 100_001]).unwrap();
        file.sync_all().unwrap();
        looked(&file).unwrap();
    }

    #[test]
    fn each_file_has_its_own_result_where_each_is_flushed_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = File::create_new(dir.path().join("file")).unwrap();
        file.write_all(b"x").unwrap();
        // It cannot be flushed, and lies elsewhere: so none are flushed together.
        let (pipe, _other_end) = nix::unistd::pipe().unwrap();
        let pipe = File::from(pipe);
        let each = [(&file, 3), (&pipe, 1), (&file, 2)];
        let files = each.map(|(file, opened)| Unflushed { file, path: Path::new("p"), opened });
        let together = Together::default();
        assert_eq!(together.flush(&files).iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        assert!(together.flush(&[]).is_empty());
    }
}
