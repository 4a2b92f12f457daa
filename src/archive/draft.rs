//! A message on its way: written once, given to all its owners.
//!
//! ```text
//!            append*              prepare                    commit
//!  tmp/<name> ───────► tmp/<name> ───────► tmp/<name>,S=,H= ───────► new|cur/<name>,S=,H=
//!            └─ drop: removed             └─ drop: stays, recovery commits it
//! ```
//!
//! A short message that is to be prepared ([`Draft::begin_to_prepare`]) has no file before that: it comes into being under the name that it would be renamed to. While it is
//! written that name says more than there is, as it does after a power cut; nobody was told of it, and recovery knows it by its size and hash.
//!
//! What is prepared gets its name before it is flushed: one commit of the file system's journal then covers the octets and the name. A name that
//! a power cut left without its octets is known by its hash, and nobody was told of that message. What comes in is flushed before it is renamed into its folder, where
//! names are believed.
//!
//! The file lies in the first owner's folder; the others get hard links, or copies where there can be none. Memory: one small write
//! buffer, a hash state, and the `Received:` field.

mod copies;

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::fs::{File, FileTimes};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openssl::sha::Sha256;

use self::copies::Copy;
pub(super) use self::copies::Placed;
use super::error::Error;
use super::flush::Unflushed;
use super::name::{Hash, Unique};
use super::received::Received;
use super::{Destination, Kept, Shared};

/// Small appends are gathered up to here, octets.
const BUFFER_LEN: usize = 16 * 1024;

/// One read or write when a file is copied, octets.
const COPY_LEN: usize = 64 * 1024;

thread_local! {
    /// The buffer of a draft that does not need it any more, for the next one: allocating one and overwriting it costs a small message a fiftieth.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Counts the files of drafts.
static OPENED: AtomicU64 = AtomicU64::new(0);

/// How far in the future a date may lie: clocks differ.
const DATE_AHEAD_MAX_S: i64 = 24 * 60 * 60;

/// A message that is being received. Dropped, it is gone, unless it was prepared: then it stays for recovery.
pub struct Draft {
    shared: Arc<Shared>,
    /// Never empty; the file was made for the first.
    copies: Vec<Copy>,
    /// None as long as all octets are in the buffer.
    file: Option<File>,
    /// Which one that was of all that this process has opened: some are opened long after their draft began.
    opened: u64,
    buffer: Vec<u8>,
    hasher: Sha256,
    size: u64,
    received: Received,
    date_s: Option<i64>,
    /// The file has its time.
    dated: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Bytes may come.
    Open,
    /// A write failed: the file is gone.
    Broken,
    /// All bytes are in the file.
    Whole(Hash),
    /// On disk under its final name in `tmp`; stays there when dropped.
    Prepared(Hash),
}

impl Draft {
    /// See [`super::Archive::begin`].
    pub(super) fn begin(shared: &Arc<Shared>, to: &[Destination]) -> Result<Draft, Error> {
        let mut draft = Draft::new(shared, to)?;
        draft.make_file()?;
        Ok(draft)
    }

    /// See [`super::Archive::begin_to_prepare`].
    pub(super) fn begin_to_prepare(
        shared: &Arc<Shared>,
        to: &[Destination],
        size: Option<u64>,
    ) -> Result<Draft, Error> {
        let mut draft = Draft::new(shared, to)?;
        let short = size.is_none_or(|size| size < BUFFER_LEN as u64);
        // The files of several owners are links to the first one's, whose name says that all of them are there.
        if !short || draft.copies.len() > 1 || !shared.spool.is_well(&draft.copies[0].place) {
            draft.make_file()?;
        }
        Ok(draft)
    }

    /// In memory.
    fn new(shared: &Arc<Shared>, to: &[Destination]) -> Result<Draft, Error> {
        let mut owners = HashSet::new();
        let each_once = to.iter().filter(|destination| to.len() == 1 || owners.insert(&destination.owner));
        let copy = |to: &Destination| Copy {
            to: to.clone(),
            place: shared.place(to),
            unique: Unique::new(),
            known: None,
            tmp: None,
            unflushed: false,
        };
        let copies: Vec<Copy> = each_once.map(copy).collect();
        if copies.is_empty() {
            let cause = io::Error::new(io::ErrorKind::InvalidInput, "it has no destination");
            return Err(Error::new("begin a draft below", shared.spool.root(), cause));
        }
        Ok(Draft {
            shared: Arc::clone(shared),
            copies,
            file: None,
            opened: 0,
            buffer: SPARE.take(),
            hasher: Sha256::new(),
            size: 0,
            received: Received::new(),
            date_s: None,
            dated: false,
            state: State::Open,
        })
    }

    /// Adds bytes of the message.
    ///
    /// # Errors
    /// The file could not be written (disk full, …). It is removed at once, and nothing can be added any more.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.expect_open()?;
        self.hasher.update(bytes);
        self.received.feed(bytes);
        self.size += bytes.len() as u64;
        if bytes.len() >= BUFFER_LEN {
            self.write_buffer()?;
            let written = self.write(bytes);
            return self.or_broken(written);
        }
        let (fit, rest) = bytes.split_at(bytes.len().min(BUFFER_LEN - self.buffer.len()));
        self.buffer.extend_from_slice(fit);
        if self.buffer.len() == BUFFER_LEN {
            self.write_buffer()?;
            self.buffer.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Adds all bytes of another draft, which is gone afterwards.
    ///
    /// # Errors
    /// As [`Draft::append`]; also where the other one cannot be read.
    pub fn append_draft(&mut self, mut other: Draft) -> Result<(), Error> {
        other.write_buffer()?;
        let (mut at, mut chunk) = (0, vec![0; COPY_LEN]);
        while at < other.size {
            let len = other.read_some(&mut chunk, at)?;
            self.append(&chunk[..len])?;
            at += len as u64;
        }
        other.discard();
        Ok(())
    }

    /// Octets so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where it goes, each owner once.
    pub fn destinations(&self) -> impl Iterator<Item = &Destination> {
        self.copies.iter().map(|copy| &copy.to)
    }

    /// The date received, Unix time in seconds. What cannot be one (1970 and before, more than a day ahead) does not count.
    pub fn set_date(&mut self, seconds: i64) {
        self.date_s = Some(seconds);
    }

    /// The message is whole: nothing can be added any more, and what waited in memory is in the file.
    ///
    /// # Errors
    /// As [`Draft::append`].
    pub fn complete(&mut self) -> Result<(), Error> {
        self.seal().map(drop)
    }

    /// The message is whole: every owner's copy lies in his `tmp`, flushed, under a name that tells what it is. From here on only
    /// [`Draft::discard`] removes it.
    ///
    /// # Errors
    /// A step on disk failed; the files are removed.
    pub fn prepare(&mut self) -> Result<(), Error> {
        if self.is_prepared() {
            return Ok(());
        }
        let hash = if self.file.is_some() { self.seal()? } else { self.end()? };
        let prepared = self.prepare_copies(&hash);
        self.state = State::Prepared(hash);
        prepared.inspect_err(|_| self.break_off())
    }

    /// The server took the message: it is in its folders when this returns. One that was not prepared is prepared first. An owner who
    /// has the message already gets no second one (`duplicate`).
    ///
    /// # Errors
    /// The first step that failed. Copies that could not be moved stay prepared, and are committed by [`super::Archive::catch_up`] or at the
    /// next start.
    pub fn commit(mut self) -> Result<Vec<Kept>, Error> {
        self.prepare()?;
        let shared = Arc::clone(&self.shared);
        let placed = self.place();
        shared.settle(vec![placed]).swap_remove(0)
    }

    /// The server refused a prepared message: nothing of it stays.
    pub fn discard(mut self) {
        self.break_off();
    }

    /// Everything is in the file. Returns its hash.
    pub(super) fn seal(&mut self) -> Result<Hash, Error> {
        if let State::Whole(hash) | State::Prepared(hash) = self.state {
            return Ok(hash);
        }
        self.expect_open()?;
        self.write_buffer()?;
        self.spare_buffer();
        self.end()
    }

    /// Nothing comes any more. Returns the hash.
    fn end(&mut self) -> Result<Hash, Error> {
        self.expect_open()?;
        let hash = self.hasher.clone().finish();
        self.state = State::Whole(hash);
        Ok(hash)
    }

    pub(super) fn is_prepared(&self) -> bool {
        matches!(self.state, State::Prepared(_))
    }

    /// Where its only copy goes; none where there are several.
    pub(super) fn only_maildir(&self) -> Option<&Path> {
        match &self.copies[..] {
            [only] => Some(&only.place.maildir),
            _ => None,
        }
    }

    /// Its file, to be flushed; every sealed draft has one.
    pub(super) fn unflushed(&self) -> Option<Unflushed<'_>> {
        Some(Unflushed { file: self.file.as_ref()?, path: self.path(), opened: self.opened })
    }

    /// Gives the file its time, once.
    fn date(&mut self) -> Result<(), Error> {
        if let Some(file) = self.file.as_ref().filter(|_| !self.dated) {
            self.set_mtime(file, self.path())?;
            self.dated = true;
        }
        Ok(())
    }

    /// What an IMAP server shows as the date received: as told, else that of the first `Received:`, else now.
    fn set_mtime(&self, file: &File, path: &Path) -> Result<(), Error> {
        let told = self.date_s.and_then(plausible);
        let Some(seconds) = told.or_else(|| plausible(self.received.date()?)) else {
            return Ok(());
        };
        let mtime = UNIX_EPOCH + Duration::from_secs(seconds);
        file.set_times(FileTimes::new().set_modified(mtime))
            .map_err(|e| Error::new("set the time of the file", path, e))
    }

    /// The draft's file, once.
    fn make_file(&mut self) -> Result<(), Error> {
        let name = self.copies[0].unique.draft();
        self.make_file_as(&name)
    }

    fn make_file_as(&mut self, name: &str) -> Result<(), Error> {
        let first = &mut self.copies[0];
        self.opened = OPENED.fetch_add(1, Ordering::Relaxed);
        let (file, path) = self.shared.spool.create(&first.place, name)?;
        (self.file, first.tmp) = (Some(file), Some(path));
        Ok(())
    }

    fn write_buffer(&mut self) -> Result<(), Error> {
        let buffer = std::mem::take(&mut self.buffer);
        let made = if self.file.is_none() { self.make_file() } else { Ok(()) };
        let written = made.and_then(|()| self.write(&buffer));
        self.buffer = buffer;
        self.buffer.clear();
        self.or_broken(written)
    }

    fn spare_buffer(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        SPARE.set(buffer);
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let none = || Err(io::Error::other("there is none"));
        let written = self.file.as_mut().map_or_else(none, |file| file.write_all(bytes));
        written.map_err(|e| Error::new("write the file", self.path(), e))
    }

    fn or_broken(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        result.inspect_err(|_| self.break_off())
    }

    /// Reads at an offset; the end of the file is an error.
    fn read_some(&self, chunk: &mut [u8], at: u64) -> Result<usize, Error> {
        let none = || Err(io::Error::other("there is none"));
        let read = self.file.as_ref().map_or_else(none, |file| read_some(file, chunk, at));
        read.map_err(|e| Error::new("read the file", self.path(), e))
    }

    fn expect_open(&self) -> Result<(), Error> {
        let why = match self.state {
            State::Open => return Ok(()),
            State::Broken => "an earlier write failed",
            State::Whole(_) | State::Prepared(_) => "it is whole already",
        };
        Err(Error::new("add to the draft", self.path(), io::Error::other(why)))
    }

    /// Removes what lies in `tmp`.
    fn break_off(&mut self) {
        self.state = State::Broken;
        for copy in &mut self.copies {
            if let Some(tmp) = copy.tmp.take() {
                self.shared.remove(tmp);
            }
        }
    }

    /// The file, for messages: its folder once it is gone.
    fn path(&self) -> &Path {
        let first = &self.copies[0];
        first.tmp.as_deref().unwrap_or(&first.place.dir)
    }
}

/// Without the bytes: they are mail.
impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("path", &self.path())
            .field("size", &self.size)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_prepared() {
            return self.break_off();
        }
        for copy in &mut self.copies {
            if let Some(tmp) = copy.tmp.take() {
                self.shared.left.prepared(copy.place.clone(), tmp, !copy.unflushed);
            }
        }
    }
}

/// Reads at an offset; the end of the file is an error.
fn read_some(file: &File, chunk: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(chunk, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

fn plausible(seconds: i64) -> Option<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let latest = i64::try_from(now.as_secs()).ok()? + DATE_AHEAD_MAX_S;
    u64::try_from(seconds).ok().filter(|_| seconds > 0 && seconds <= latest)
}

#[cfg(test)]
impl Draft {
    /// Writes go to this file from now on.
    pub(super) fn replace_file(&mut self, file: File) {
        self.file = Some(file);
    }

    /// The first half of a commit: in the folders, which are not flushed.
    pub(super) fn place_unsettled(mut self) -> Vec<Placed> {
        self.place().into_iter().collect::<Result<_, _>>().unwrap()
    }
}
