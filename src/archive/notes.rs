//! Which messages of a server's an owner has already, as far as it is remembered: the file `mailstore-kept` at the root of his Maildir.
//!
//! ```text
//! imap.example.com:993 imap INBOX 1700000000 42 2345 <SHA-256, 64 hex digits> <check>
//! └──────────────── key ──────────────────────┘ octets
//! ```
//!
//! A line for each message, of words with one blank between them. The key is opaque here. The check, eight hex digits, tells a line that was
//! damaged from one that was written: a digit that flips in a key must not vouch for a message that nobody ever kept.
//!
//! A note is a hint where to look, never a proof: whoever finds one asks the Maildir whether that message stands there ([`super::known`]). So
//! it may be missing, torn or lost in a race, and the file removed at any time: what is forgotten is fetched once more. That is
//! why nothing is flushed here, why no lock is needed among processes and hosts that append to the same file, and why a file that has
//! reached its greatest length is simply begun anew. Lines that cannot be read are no lines.
//!
//! Memory: for each line eight octets of hash and its place, within a budget for all owners. The line itself is read when it is asked
//! for, and compared. What was read is only a cache: the file's length tells whether there is more, and only that is read.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nix::fcntl::OFlag;
use openssl::sha::sha256;

use super::error::Error;
use super::known::lock;
use super::maildir::{Place, Spool};
use super::name::{self, Hash, Unique};
use super::safe;
use super::seen::OWNER_COST;

/// The file's name.
pub(super) const FILE_NAME: &str = "mailstore-kept";

/// A file is not read any further, and begun anew before it grows any longer, octets: half a million messages.
pub(super) const NOTES_LEN_MAX: u64 = 64 << 20;

/// How many lines of all owners are remembered at most: about 40 MB. The longest file has fewer.
pub(super) const NOTES_MAX: usize = 1_000_000;

/// What an administrator reads first.
const HEADER: &str = "# Which of the server's messages lie in this Maildir: MailStore's own notes. \
                      This file may be deleted at any time; that costs a second fetch, never a message. \
                      Server, imap, folder, UIDVALIDITY, UID (or server, pop3, unique-id), octets, SHA-256, check of the line.\n";

/// A longer line is neither written nor read, octets without its end.
const LINE_LEN_MAX: usize = 8 * 1024;

/// One read, octets.
const CHUNK_LEN: usize = 64 * 1024;

/// Hex digits of the check.
const CHECK_LEN: usize = 8;

/// What may follow a key in its line, octets.
const REST_LEN_MAX: usize = " 18446744073709551615 ".len() + 64 + 1 + CHECK_LEN;

/// What is known of all owners' notes.
#[derive(Debug)]
pub(super) struct Notes {
    len_max: u64,
    lines_max: usize,
    /// Peers choose the keys: nobody may know which of them collide.
    hasher: RandomState,
    owners: Mutex<Owners>,
}

#[derive(Debug, Default)]
struct Owners {
    /// By Maildir.
    slots: HashMap<PathBuf, Slot>,
    /// The sum of all slots' cost.
    cost: usize,
    /// Counts uses, to tell who was used last.
    uses: u64,
}

#[derive(Debug)]
struct Slot {
    book: Arc<Mutex<Book>>,
    cost: usize,
    used: u64,
}

/// What a note says besides its key: which message of the Maildir it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Octets.
    pub(super) size: u64,
    pub(super) hash: Hash,
}

/// What is known of one file.
#[derive(Debug, Default)]
struct Book {
    /// Device and inode: whether it is the same file still.
    id: (u64, u64),
    /// All lines before this place were read.
    read: u64,
    /// That place is within a line which is too long.
    within: bool,
    /// Where the latest line begins whose key has this hash.
    places: HashMap<u64, u32>,
}

/// What is to be written.
#[derive(Default)]
struct Lines {
    text: String,
    /// The hash of each line's key, and where in the text it begins.
    begin: Vec<(u64, usize)>,
}

impl Lines {
    /// Unless it stands there.
    fn add(&mut self, hash: u64, line: &str) {
        let same = |&(its, at): &(u64, usize)| its == hash && self.text[at..].starts_with(line);
        if !self.begin.iter().any(same) {
            self.begin.push((hash, self.text.len()));
            self.text.push_str(line);
        }
    }
}

impl Notes {
    /// Files up to `len_max` octets, and `lines_max` lines in memory.
    pub(super) fn new(len_max: u64, lines_max: usize) -> Notes {
        Notes { len_max, lines_max, hasher: RandomState::new(), owners: Mutex::default() }
    }

    /// The message that was noted last under this key. None wherever anything is unclear.
    pub(super) fn find(&self, maildir: &Path, key: &str) -> Option<Message> {
        if !fits(key) {
            return None;
        }
        self.with(maildir, |book| {
            let (file, meta) = open(&maildir.join(FILE_NAME), OpenOptions::new().read(true)).ok()?;
            self.catch_up(book, &file, &meta).ok()?;
            self.find_in(book, &file, key).ok()?
        })
    }

    /// Notes these messages, all in one write; those that stand there already are not written again, nor those whose key does not fit into a line. The Maildir
    /// is there, and the messages are on disk.
    ///
    /// # Errors
    /// The file could not be written, or is none.
    pub(super) fn add(&self, spool: &Spool, maildir: &Path, notes: &[(&str, Message)]) -> Result<(), Error> {
        let path = maildir.join(FILE_NAME);
        self.with(maildir, |book| self.write(book, spool, maildir, &path, notes))
            .map_err(|e| Error::new("note what was kept in", &path, e))
    }

    fn write(
        &self,
        book: &mut Book,
        spool: &Spool,
        maildir: &Path,
        path: &Path,
        notes: &[(&str, Message)],
    ) -> io::Result<()> {
        let file = match open(path, OpenOptions::new().read(true).append(true)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            opened => Some(opened?),
        };
        let read = file.as_ref().map(|(file, meta)| self.catch_up(book, file, meta));
        let readable = read.is_some_and(|read| read.is_ok());
        let mut lines = Lines::default();
        for &(key, message) in notes.iter().filter(|(key, _)| fits(key)) {
            let stands = |(file, _): &(File, Metadata)| {
                readable && self.find_in(book, file, key).is_ok_and(|found| found == Some(message))
            };
            if !file.as_ref().is_some_and(stands) {
                lines.add(self.hasher.hash_one(key.as_bytes()), &line(key, message));
            }
        }
        if lines.text.is_empty() {
            return Ok(());
        }
        let (file, len) = match file {
            Some((file, meta)) => (file, meta.len()),
            None => {
                let (file, meta) = create(path)?;
                (file, meta.len())
            }
        };
        if len.saturating_add(lines.text.len() as u64) > self.len_max && len > HEADER.len() as u64 {
            return begin_anew(spool, maildir, path, &lines.text);
        }
        let before = match len {
            0 => HEADER,
            _ if readable && book.read == len && !book.within => "",
            // Somebody died while he wrote: his line must not become the beginning of ours.
            _ if !ends_a_line(&file, len)? => "\n",
            _ => "",
        };
        write_at_once(&file, &[before, &lines.text].concat())?;
        if readable && before.is_empty() {
            self.written(book, &file, &lines);
        }
        Ok(())
    }

    /// Remembers what we have written without reading it again, where it stands right behind what was read.
    fn written(&self, book: &mut Book, mut file: &File, lines: &Lines) {
        // Behind what was written just now, whoever else writes there.
        let Ok(end) = file.stream_position() else { return };
        if end.checked_sub(lines.text.len() as u64) == Some(book.read) && !book.within {
            for &(hash, at) in &lines.begin {
                self.insert(book, hash, book.read + at as u64);
            }
            book.read = end;
        }
    }

    /// In what has been read.
    fn find_in(&self, book: &mut Book, file: &File, key: &str) -> io::Result<Option<Message>> {
        let hash = self.hasher.hash_one(key.as_bytes());
        for _ in 0..2 {
            let Some(&place) = book.places.get(&hash) else { return Ok(None) };
            let text = line_at(file, place)?;
            match parse(&text) {
                Some((its_key, message)) => return Ok((its_key == key.as_bytes()).then_some(message)),
                // It was another file that we read, or somebody wrote in it: once from its beginning.
                None => {
                    *book = Book::default();
                    self.catch_up(book, file, &file.metadata()?)?;
                }
            }
        }
        Ok(None)
    }

    /// Reads what came since.
    fn catch_up(&self, book: &mut Book, file: &File, meta: &Metadata) -> io::Result<()> {
        let id = (meta.dev(), meta.ino());
        if id != book.id || meta.len() < book.read {
            *book = Book { id, ..Book::default() };
        }
        let end = meta.len().min(self.len_max);
        let mut pending: Vec<u8> = Vec::new();
        loop {
            let at = book.read + pending.len() as u64;
            let before = pending.len();
            let wanted = end.saturating_sub(at).min(CHUNK_LEN as u64);
            pending.resize(before + usize::try_from(wanted).unwrap_or(CHUNK_LEN), 0);
            let len = if wanted == 0 { 0 } else { read_at(file, &mut pending[before..], at)? };
            pending.truncate(before + len);
            if len == 0 {
                return Ok(());
            }
            let mut begin = 0;
            while let Some(length) = pending[begin..].iter().position(|&b| b == b'\n') {
                self.remember(book, &pending[begin..begin + length]);
                book.read += length as u64 + 1;
                book.within = false;
                begin += length + 1;
            }
            pending.drain(..begin);
            if pending.len() > LINE_LEN_MAX {
                book.read += pending.len() as u64;
                book.within = true;
                pending.clear();
            }
        }
    }

    /// A whole line that begins where the book has been read to.
    fn remember(&self, book: &mut Book, line: &[u8]) {
        if let (false, Some((key, _))) = (book.within, parse(line)) {
            self.insert(book, self.hasher.hash_one(key), book.read);
        }
    }

    fn insert(&self, book: &mut Book, hash: u64, place: u64) {
        let Ok(place) = u32::try_from(place) else { return };
        if book.places.len() < self.lines_max || book.places.contains_key(&hash) {
            book.places.insert(hash, place);
        }
    }

    /// Does something with what is known of one owner's notes while nobody else in this process does.
    fn with<T>(&self, maildir: &Path, action: impl FnOnce(&mut Book) -> T) -> T {
        let shared = self.open(maildir);
        let mut book = lock(&shared);
        let result = action(&mut book);
        self.account(maildir, &shared, OWNER_COST + book.places.len());
        result
    }

    fn open(&self, maildir: &Path) -> Arc<Mutex<Book>> {
        let mut owners = lock(&self.owners);
        owners.uses += 1;
        let used = owners.uses;
        if let Some(slot) = owners.slots.get_mut(maildir) {
            slot.used = used;
            return Arc::clone(&slot.book);
        }
        let book = Arc::default();
        owners.cost += OWNER_COST;
        owners.slots.insert(maildir.to_path_buf(), Slot { book: Arc::clone(&book), cost: OWNER_COST, used });
        book
    }

    /// Records what the owner costs now, and makes room at the expense of those not used for longest.
    fn account(&self, maildir: &Path, book: &Arc<Mutex<Book>>, cost: usize) {
        let mut owners = lock(&self.owners);
        // Forgotten meanwhile: it goes when its last user lets go of it.
        let Some(slot) = owners.slots.get_mut(maildir).filter(|slot| Arc::ptr_eq(&slot.book, book)) else {
            return;
        };
        let before = std::mem::replace(&mut slot.cost, cost);
        owners.cost = owners.cost - before + cost;
        if owners.cost <= self.lines_max {
            return;
        }
        let others = owners.slots.iter().filter(|(path, _)| *path != maildir);
        let mut oldest: Vec<(u64, PathBuf)> = others.map(|(path, slot)| (slot.used, path.clone())).collect();
        oldest.sort_unstable();
        for (_, path) in oldest {
            // A little below, not to sort all owners again for the next line.
            if owners.cost <= self.lines_max - self.lines_max / 16 {
                break;
            }
            if let Some(slot) = owners.slots.remove(&path) {
                owners.cost -= slot.cost;
            }
        }
    }
}

/// Whether the text can be a line's key, and no comment.
fn fits(key: &str) -> bool {
    !key.is_empty()
        && !key.starts_with('#')
        && key.len() <= LINE_LEN_MAX - REST_LEN_MAX
        && !key.chars().any(char::is_control)
}

pub(super) fn line(key: &str, message: Message) -> String {
    let mut line = String::with_capacity(key.len() + REST_LEN_MAX + 1);
    line += key;
    // Writing to a `String` cannot fail.
    let _ = write!(line, " {} {}", message.size, safe::hex(&message.hash));
    let check = check(line.as_bytes());
    line + " " + &check + "\n"
}

/// A line without its end: key and message, if it is as it was written.
fn parse(line: &[u8]) -> Option<(&[u8], Message)> {
    if line.len() > LINE_LEN_MAX {
        return None;
    }
    let (body, its_check) = line.split_at_checked(line.len().checked_sub(CHECK_LEN)?)?;
    let body = body.strip_suffix(b" ")?;
    let mut words = body.rsplitn(3, |&b| b == b' ');
    let (hash, size, key) = (words.next()?, words.next()?, words.next()?);
    let hash = name::unhex(hash)?;
    let size = std::str::from_utf8(size).ok()?.parse().ok()?;
    (check(body).as_bytes() == its_check).then_some((key, Message { size, hash }))
}

/// The beginning of the text's SHA-256.
fn check(body: &[u8]) -> String {
    safe::hex(&sha256(body)[..CHECK_LEN / 2])
}

/// Opens the file if it is one: no link is followed, no pipe waited for.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<(File, Metadata)> {
    let file = options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok((file, meta))
}

fn create(path: &Path) -> io::Result<(File, Metadata)> {
    match OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            // The umask may have taken away more than we can spare.
            file.set_permissions(Permissions::from_mode(0o600))?;
            let meta = file.metadata()?;
            Ok((file, meta))
        }
        // By another process, in this moment. (Or it is a link that leads nowhere, which is refused here.)
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => open(path, OpenOptions::new().read(true).append(true)),
        Err(e) => Err(e),
    }
}

/// Puts a file of only these lines into the place of the old one. It grows in `tmp` under a draft's name: recovery removes it there if we die.
fn begin_anew(spool: &Spool, maildir: &Path, path: &Path, lines: &str) -> io::Result<()> {
    let unique = Unique::new();
    let place = Place::new(maildir, "");
    let (file, tmp) = spool.create(&place, &unique.draft()).map_err(io::Error::other)?;
    let replaced = write_at_once(&file, &[HEADER, lines].concat()).and_then(|()| fs::rename(&tmp, path));
    if replaced.is_err() {
        // What cannot be removed now is found at the next start.
        let _ = fs::remove_file(&tmp);
    }
    replaced
}

/// One write, so that lines of several processes do not mix. What it leaves out is not written later: somebody else's line may follow already.
fn write_at_once(mut file: &File, text: &str) -> io::Result<()> {
    match file.write(text.as_bytes())? {
        len if len == text.len() => Ok(()),
        len => {
            Err(io::Error::new(io::ErrorKind::WriteZero, format!("only {len} of {} octets were written", text.len())))
        }
    }
}

fn ends_a_line(file: &File, len: u64) -> io::Result<bool> {
    let mut last = [0];
    Ok(read_at(file, &mut last, len - 1)? == 1 && last == *b"\n")
}

/// The line that begins there, without its end; nothing where there is no whole one, or another one's end has been lost.
fn line_at(file: &File, place: u32) -> io::Result<Vec<u8>> {
    let before = usize::from(place > 0);
    let mut text = vec![0; before + LINE_LEN_MAX + 1];
    let len = read_at(file, &mut text, u64::from(place) - before as u64)?;
    let (ending, line) = text[..len].split_at(before.min(len));
    let end = line.iter().position(|&b| b == b'\n').filter(|_| ending.iter().all(|&b| b == b'\n'));
    Ok(line[..end.unwrap_or(0)].to_vec())
}

/// Reads at an offset, some octets; none at the end of the file.
fn read_at(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(into, at) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests;
