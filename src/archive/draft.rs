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

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File, FileTimes};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openssl::sha::Sha256;

use super::error::Error;
use super::flush::Unflushed;
use super::known::{Lookup, Mark};
use super::maildir::Place;
use super::name::{Hash, Unique};
use super::received::Received;
use super::{Destination, Kept, Shared, safe};

/// Small appends are gathered up to here, octets.
const BUFFER_LEN: usize = 16 * 1024;

/// One read or write when a file is copied, octets.
const COPY_LEN: usize = 64 * 1024;

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

/// One owner's copy.
#[derive(Debug)]
struct Copy {
    to: Destination,
    place: Place,
    unique: Unique,
    /// The message that the owner has already, as far as it was looked up.
    known: Option<Mark>,
    /// The file in `tmp`, once there is one, until it is in its folder or removed.
    tmp: Option<PathBuf>,
    /// That file was made alone, and is not flushed, or its flush has failed.
    unflushed: bool,
}

/// One copy in its folder, which is not flushed yet.
pub(super) struct Placed {
    pub(super) kept: Kept,
    pub(super) mark: Mark,
    /// It was prepared: somebody may have been told that it is done.
    pub(super) prepared: bool,
    /// A prepared file, and the folder it was for, that turned out to be a duplicate: to be removed once the other's folder is on disk.
    pub(super) left: Option<(Place, PathBuf)>,
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
            buffer: Vec::new(),
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
        self.buffer = Vec::new();
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

    fn prepare_copies(&mut self, hash: &Hash) -> Result<(), Error> {
        if self.file.is_none() {
            self.create_prepared(hash)?;
        } else {
            self.rename_prepared(hash)?;
        }
        if let Some(file) = &self.file {
            self.shared.spool.flush_file(file, self.path())?;
        }
        // The renamed one last: an owner's own prepared copy says that the others' are there too.
        for copy in self.copies.iter().rev() {
            self.shared.spool.flush_dir(&copy.place.tmp())?;
        }
        Ok(())
    }

    /// The only copy's file comes into being under its prepared name.
    fn create_prepared(&mut self, hash: &Hash) -> Result<(), Error> {
        let name = self.copies[0].name(self.size, hash);
        self.make_file_as(&name)?;
        let buffer = std::mem::take(&mut self.buffer);
        self.write(&buffer)?;
        self.date()
    }

    /// The copies' files get their prepared names.
    fn rename_prepared(&mut self, hash: &Hash) -> Result<(), Error> {
        self.date()?;
        for number in 1..self.copies.len() {
            let name = self.copies[number].name(self.size, hash);
            self.link(number, &name)?;
        }
        let first = &mut self.copies[0];
        let name = first.name(self.size, hash);
        let path = first.place.file("tmp", &name);
        match first.move_to(&path) {
            Ok(()) => first.tmp = Some(path),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.shared.spool.forget(&first.place);
                self.copy(0, &name)?;
            }
            Err(e) => return Err(Error::new("rename the draft to", &path, e)),
        }
        Ok(())
    }

    /// Notes which owners have it already, and gives it its time unless all have: what is left to do before it is flushed. Whether it is to be flushed.
    ///
    /// # Errors
    /// As [`Draft::append`]; or the time cannot be set.
    pub(super) fn look_up(&mut self) -> Result<bool, Error> {
        let hash = self.seal()?;
        let (known, size) = (&self.shared.known, self.size);
        for copy in &mut self.copies {
            copy.known = known.with(&copy.place.maildir, |lookup| lookup.find(&hash, size));
        }
        let unknown = self.copies.iter().any(|copy| copy.known.is_none());
        if unknown {
            self.date()?;
        }
        Ok(unknown)
    }

    /// Its file, to be flushed; every sealed draft has one.
    pub(super) fn unflushed(&self) -> Option<Unflushed<'_>> {
        Some(Unflushed { file: self.file.as_ref()?, path: self.path(), opened: self.opened })
    }

    /// Gives each owner who has not got it his file in `tmp`.
    ///
    /// # Errors
    /// A step on disk failed; what is there is removed.
    pub(super) fn link_all(&mut self) -> Result<(), Error> {
        for number in 1..self.copies.len() {
            if self.copies[number].known.is_none() {
                let name = self.copies[number].unique.draft();
                self.link(number, &name)?;
            }
        }
        Ok(())
    }

    /// Moves every copy to its folder, but where the owner has the message already. One that fails does not stop the others.
    pub(super) fn place(&mut self) -> Vec<Result<Placed, Error>> {
        let shared = Arc::clone(&self.shared);
        let all = 0..self.copies.len();
        all.map(|number| {
            let maildir = Arc::clone(&self.copies[number].place.maildir);
            shared.known.with(&maildir, |lookup| self.place_copy(number, lookup))
        })
        .collect()
    }

    /// The same for the only copy, under the lock of its owner.
    pub(super) fn place_only(&mut self, lookup: &mut Lookup<'_>) -> Vec<Result<Placed, Error>> {
        vec![self.place_copy(0, lookup)]
    }

    fn place_copy(&mut self, number: usize, lookup: &mut Lookup<'_>) -> Result<Placed, Error> {
        let (hash, size) = (self.seal()?, self.size);
        // Looked up again: another session may have kept the same while this one was flushed.
        let known = self.copies[number].known.take().or_else(|| lookup.find(&hash, size));
        let (duplicate, mark) = match known {
            Some(mark) => (true, mark),
            None => {
                self.date()?;
                let name = self.move_copy(number, &hash)?;
                let copy = &self.copies[number];
                (false, lookup.insert(&copy.place, copy.to.outgoing, &name, &hash))
            }
        };
        let kept = Kept { destination: self.copies[number].to.clone(), size, hash: safe::hex(&hash), duplicate };
        let prepared = self.is_prepared();
        let copy = &mut self.copies[number];
        // Else it is removed with the draft: the first one's may still be linked to.
        let left = if prepared { copy.tmp.take().map(|path| (copy.place.clone(), path)) } else { None };
        Ok(Placed { kept, mark, prepared, left })
    }

    /// From `tmp` into the folder. Folder or file may have been removed by the administrator: they are made again, once.
    fn move_copy(&mut self, number: usize, hash: &Hash) -> Result<String, Error> {
        let copy = &self.copies[number];
        let name = copy.name(self.size, hash);
        let path = copy.place.file(Place::leaf_name(copy.to.outgoing), &name);
        if let Err(e) = copy.move_to(&path) {
            if e.kind() != io::ErrorKind::NotFound {
                return Err(Error::new("rename a draft to", &path, e));
            }
            self.shared.spool.forget(&copy.place);
            self.shared.spool.ensure(&copy.place)?;
            if !copy.tmp.as_ref().is_some_and(|tmp| tmp.exists()) {
                // The name that a prepared file would have: it is whole, and must be found after a crash.
                self.copy(number, &name)?;
            }
            self.copies[number].move_to(&path).map_err(|e| Error::new("rename a draft to", &path, e))?;
        }
        self.copies[number].tmp = None;
        Ok(name)
    }

    /// Puts a hard link to the file into this owner's `tmp`, or a copy.
    fn link(&mut self, number: usize, name: &str) -> Result<(), Error> {
        let place = self.copies[number].place.clone();
        self.shared.spool.ensure(&place)?;
        let path = place.file("tmp", name);
        match fs::hard_link(self.path(), &path) {
            Ok(()) => {
                self.copies[number].tmp = Some(path);
                Ok(())
            }
            // Another file system, one without links, too many links, or a folder that is gone: whatever it is, a copy decides.
            Err(_) => self.copy(number, name),
        }
    }

    /// Puts a flushed copy of the file into this owner's `tmp`.
    fn copy(&mut self, number: usize, name: &str) -> Result<(), Error> {
        let (mut file, path) = self.shared.spool.create(&self.copies[number].place, name)?;
        let copy = &mut self.copies[number];
        (copy.tmp, copy.unflushed) = (Some(path.clone()), true);
        let (mut at, mut chunk) = (0, vec![0; COPY_LEN]);
        while at < self.size {
            let len = self.read_some(&mut chunk, at)?;
            file.write_all(&chunk[..len]).map_err(|e| Error::new("write the file", &path, e))?;
            at += len as u64;
        }
        self.set_mtime(&file, &path)?;
        self.shared.spool.flush_file(&file, &path)?;
        self.copies[number].unflushed = false;
        Ok(())
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

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes));
        written.map_err(|e| Error::new("write the file", self.path(), e))
    }

    fn or_broken(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        result.inspect_err(|_| self.break_off())
    }

    /// Reads at an offset; the end of the file is an error.
    fn read_some(&self, chunk: &mut [u8], at: u64) -> Result<usize, Error> {
        let gone = || Err(io::ErrorKind::UnexpectedEof.into());
        let read = self.file.as_ref().map_or_else(gone, |file| read_some(file, chunk, at));
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

impl Copy {
    fn move_to(&self, path: &Path) -> io::Result<()> {
        match &self.tmp {
            Some(tmp) => fs::rename(tmp, path),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn name(&self, size: u64, hash: &Hash) -> String {
        self.unique.message(size, hash, self.to.outgoing)
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
