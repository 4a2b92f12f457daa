//! The archive: an owner, a folder and a stream of bytes become a file. The only code that touches the spool.
//!
//! A message is a [`Draft`] in `tmp` while it comes; what is being sent is *prepared* there before the server hears its end; it is
//! *kept* once it lies in `new` or `cur` and file and folder are flushed. One copy for an owner: the same bytes (SHA-256) are kept once, in
//! whichever of his folders they lie. Which of a server's messages were kept is noted beside them, and only a hint. Fails with [`Error`], a sentence for the log; logs nothing itself.

mod ahead;
mod draft;
mod error;
mod flush;
mod folder;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod known;
mod later;
mod left;
mod maildir;
mod mount;
mod name;
mod notes;
mod owner;
mod received;
mod recover;
mod safe;
mod seen;
mod settle;
mod template;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use draft::Draft;
pub use error::Error;
pub use folder::Folder;
pub use owner::Owner;
pub(crate) use owner::small_letters;
pub use recover::{Recovered, Recovery};
pub use template::Template;

use ahead::Ahead;
use known::{Known, Mark, lock};
use later::{Later, Waiting};
use left::Left;
use maildir::{Place, Spool};
use notes::{Message, NOTES_LEN_MAX, NOTES_MAX, Notes};

/// How many file names of all owners are remembered at most, to know duplicates without a look at the disk: 38 to 75 octets each, some 170 MB.
const NAMES_MAX: usize = 3_000_000;

/// For so long an owner's names are remembered though nobody asks.
const UNUSED_MAX: Duration = Duration::from_secs(60 * 60);

/// Of how many folders it is remembered where they lie; then all are forgotten.
const PLACES_MAX: usize = 10_000;

/// Where one copy of a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub owner: Owner,
    pub folder: Folder,
    /// Sent by the owner himself: lies in `cur` as seen, else in `new`.
    pub outgoing: bool,
}

/// What the archive is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The root of all Maildirs.
    pub spool: PathBuf,
    /// An owner's Maildir below it.
    pub maildir: Template,
    /// Whether to flush files and folders before they count as kept.
    pub sync: bool,
}

/// One owner's copy of a message that lies in his Maildir, on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// As it was asked for; a duplicate may lie in another folder.
    pub destination: Destination,
    /// Octets.
    pub size: u64,
    /// SHA-256, 64 hex digits in lower case.
    pub hash: String,
    /// It was there already.
    pub duplicate: bool,
}

/// The archive. A clone is the same archive; all methods may be called from many threads at once.
#[derive(Clone, Debug)]
pub struct Archive {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    spool: Spool,
    template: Template,
    known: Arc<Known>,
    notes: Arc<Notes>,
    left: Arc<Left>,
    ahead: Ahead,
    later: Arc<Later>,
    /// Where folders lie, found once.
    places: Mutex<HashMap<(Owner, Folder), Place>>,
}

impl Archive {
    /// An archive over this spool. Touches nothing yet.
    pub fn new(settings: Settings) -> Archive {
        Archive::with_names_max(settings, NAMES_MAX)
    }

    fn with_names_max(settings: Settings, names_max: usize) -> Archive {
        Archive {
            shared: Arc::new(Shared {
                spool: Spool::new(settings.spool, settings.sync),
                template: settings.maildir,
                known: Arc::new(Known::new(names_max)),
                notes: Arc::new(Notes::new(NOTES_LEN_MAX, NOTES_MAX)),
                left: Arc::default(),
                ahead: Ahead::default(),
                later: Arc::default(),
                places: Mutex::default(),
            }),
        }
    }

    /// The same one for who wants it flushed, or not. What the one keeps the other knows: a message that both receive is kept once.
    pub fn with_sync(&self, sync: bool) -> Archive {
        let Shared { spool, template, known, notes, left, later, .. } = &*self.shared;
        Archive {
            shared: Arc::new(Shared {
                spool: Spool::new(spool.root().to_owned(), sync),
                template: template.clone(),
                known: Arc::clone(known),
                notes: Arc::clone(notes),
                left: Arc::clone(left),
                ahead: Ahead::default(),
                later: Arc::clone(later),
                places: Mutex::default(),
            }),
        }
    }

    /// Whether the one is the other, but perhaps for `sync`: [`Archive::catch_up`] of the one does the other's work.
    pub fn has_left_in_common_with(&self, other: &Archive) -> bool {
        Arc::ptr_eq(&self.shared.left, &other.shared.left)
    }

    /// How many hold it.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.shared)
    }

    /// Tries whether the spool can be used: makes, flushes, renames and removes a file at its root, and removes the
    /// directories it had to make.
    ///
    /// # Errors
    /// The step that failed.
    pub fn check(&self) -> Result<(), Error> {
        self.shared.spool.probe(&name::Unique::new().draft())
    }

    /// Clears up after a program that died: commits what was prepared, removes what was not. To be called at start. Touches nobody else's files,
    /// nor those of a MailStore that still runs.
    pub fn recover(&self) -> Recovery {
        recover::recover(&self.shared, &recover::is_other_mailstore)
    }

    /// Tries again what the disk did not let us bring to its end, in a session that is over by now: above all prepared drafts that could not be moved to
    /// their folders. To be called every few seconds; costs nothing where there is nothing to do. What fails again is in
    /// [`Recovery::failed`], and is tried the next time. Also writes the notes that wait (see [`Archive::note_soon`]); those that cannot be written are given up,
    /// and told in [`Recovery::unnoted`].
    pub fn catch_up(&self) -> Recovery {
        if let Some(since) = Instant::now().checked_sub(UNUSED_MAX) {
            self.shared.known.forget_unused(since);
        }
        let mut found = recover::catch_up(&self.shared);
        for (owner, notes) in self.shared.later.take_all() {
            if let Err(e) = self.shared.write_notes(&owner, &notes) {
                found.unnoted.push((owner, e));
            }
        }
        found
    }

    /// The spool's root where that was gone since something was kept, and was made once more: somebody moved or removed it. Told once each time.
    pub fn made_anew(&self) -> Option<&Path> {
        self.shared.spool.was_made_anew().then(|| self.shared.spool.root())
    }

    /// A message for this owner is on its way: what he has already is looked through meanwhile, where that is not known. Does not wait.
    pub fn expect(&self, owner: &Owner) {
        let maildir = self.shared.maildir(owner);
        if !self.shared.known.is_loaded(&maildir) {
            self.shared.ahead.look(Arc::downgrade(&self.shared), maildir);
        }
    }

    /// Begins a message for these destinations: one copy for each owner; the same owner twice counts once, the first wins.
    ///
    /// # Errors
    /// The file cannot be made; or there is no destination.
    pub fn begin(&self, to: &[Destination]) -> Result<Draft, Error> {
        Draft::begin(&self.shared, to)
    }

    /// As [`Archive::begin`], for a message that is to be prepared, of so many octets where that is known. The file of a short one is made when it is prepared: under the
    /// name that it has from then on, without a rename. Where something went wrong the last time it is made at once, so that what is still wrong shows now.
    ///
    /// # Errors
    /// As [`Archive::begin`].
    pub fn begin_to_prepare(&self, to: &[Destination], size: Option<u64>) -> Result<Draft, Error> {
        Draft::begin_to_prepare(&self.shared, to, size)
    }

    /// Incoming messages that are whole: all are in their folders, on disk, when this returns. The results stand in the order of the
    /// drafts. What every owner has already is dropped without flushing it, the rest is flushed together; each folder is flushed once.
    ///
    /// Every draft holds a file open: hand over some dozens at a time, not a whole mailbox.
    pub fn keep_all(&self, drafts: Vec<Draft>) -> Vec<Result<Vec<Kept>, Error>> {
        self.shared.keep_all(drafts)
    }

    /// Remembers under which keys these messages are to be found again by [`Archive::has`]: text of words that tells one message of one server's from all
    /// others, without control characters. One write for each owner. Nothing is flushed: what is forgotten is only fetched once more.
    ///
    /// Returns the owners whose notes could not be written, and why. Their messages are kept all the same.
    pub fn note(&self, kept: &[(String, Kept)]) -> Vec<(Owner, Error)> {
        let mut notes: HashMap<&Owner, Vec<(&str, Message)>> = HashMap::new();
        for (key, Kept { destination, size, hash, .. }) in kept {
            if let Some(hash) = name::unhex(hash.as_bytes()) {
                notes.entry(&destination.owner).or_default().push((key, Message { size: *size, hash }));
            }
        }
        let Shared { spool, notes: all, .. } = &*self.shared;
        let failed = |(owner, notes): (&Owner, Vec<_>)| {
            let maildir = self.shared.maildir(owner);
            // Those that wait are older.
            let waiting = self.shared.later.take(owner).unwrap_or_default();
            let waiting = waiting.iter().map(|(key, message)| (key.as_str(), *message));
            let error = all.add(spool, &maildir, &waiting.chain(notes).collect::<Vec<_>>()).err()?;
            Some((owner.clone(), error))
        };
        notes.into_iter().filter_map(failed).collect()
    }

    /// As [`Archive::note`], of a message that came alone: may be written later, with others, and counts for [`Archive::has`] at once.
    ///
    /// # Errors
    /// The owner's notes could not be written now. The message is kept all the same.
    pub fn note_soon(&self, key: &str, kept: &Kept) -> Result<(), Error> {
        let Some(hash) = name::unhex(kept.hash.as_bytes()) else { return Ok(()) };
        let owner = &kept.destination.owner;
        match self.shared.later.add(owner, key, Message { size: kept.size, hash }) {
            Some(notes) => self.shared.write_notes(owner, &notes),
            None => Ok(()),
        }
    }

    /// Writes what waits of this owner's notes.
    ///
    /// # Errors
    /// They could not be written.
    pub fn write_notes(&self, owner: &Owner) -> Result<(), Error> {
        self.shared.later.take(owner).map_or(Ok(()), |notes| self.shared.write_notes(owner, &notes))
    }

    /// Whether the message that was noted last under this key lies in the owner's Maildir, on disk. False wherever anything is unclear. Makes nothing
    /// on disk.
    pub fn has(&self, owner: &Owner, key: &str) -> bool {
        let Shared { spool, known, notes, later, .. } = &*self.shared;
        let maildir = self.shared.maildir(owner);
        let Some(Message { size, hash }) = later.find(owner, key).or_else(|| notes.find(&maildir, key)) else {
            return false;
        };
        // Another session, or another host, may have put it there a moment ago: it counts once its folder is flushed, as a duplicate does.
        let mark = known.with(&maildir, |lookup| lookup.find(&hash, size));
        mark.is_some_and(|mark| known.flush(spool, &mark).is_ok())
    }
}

impl Shared {
    fn maildir(&self, owner: &Owner) -> PathBuf {
        self.spool.root().join(self.template.path(owner))
    }

    fn place(&self, to: &Destination) -> Place {
        let mut places = lock(&self.places);
        let key = (to.owner.clone(), to.folder.clone());
        if let Some(place) = places.get(&key) {
            return place.clone();
        }
        if places.len() >= PLACES_MAX {
            places.clear();
        }
        let place = Place::new(&self.maildir(&to.owner), to.folder.dir_name());
        places.insert(key, place.clone());
        place
    }

    fn write_notes(&self, owner: &Owner, notes: &Waiting) -> Result<(), Error> {
        let notes: Vec<_> = notes.iter().map(|(key, message)| (key.as_str(), *message)).collect();
        self.notes.add(&self.spool, &self.maildir(owner), &notes)
    }

    /// The marked message's folder is on disk; where it could not even be opened, later.
    fn flush(&self, mark: &Mark) -> Result<(), Error> {
        let flushed = self.known.flush(&self.spool, mark);
        if flushed.as_ref().is_err_and(Error::is_before_flush) {
            self.left.unflushed(mark.clone());
        }
        flushed
    }

    /// Removes a file of ours that stands for no message, now or later.
    fn remove(&self, path: PathBuf) {
        match fs::remove_file(&path) {
            Ok(()) => {}
            // It is gone, but for a file system that is out of sight.
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.spool.check_mount().is_ok() => {}
            Err(_) => self.left.unwanted(path),
        }
    }
}
