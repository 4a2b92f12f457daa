//! After a crash: what was prepared is committed, what was not is removed.
//!
//! Of a prepared file that another life left, nobody knows whether its flush has failed: then its octets may be in memory only, and a second flush would say
//! that all is well. So they are written to a new file, and that one is flushed and kept.
//!
//! Only files with one of our names are touched, only in a `tmp` where the template puts Maildirs. Symbolic links are followed down to the
//! folders, as delivery does (an owner, a domain or a folder may lie on another disk), never to a `tmp` or a file. A draft of another MailStore that
//! still runs is left alone: one on this host by its process, one on another host by its age.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::OFlag;
use openssl::sha::Sha256;

use super::error::Error;
use super::left::Work;
use super::maildir::{Place, Spool};
use super::name::{self, Hash, Parsed, Prepared, Unique};
use super::{Owner, Shared, safe};

/// After this time a draft of another host belongs to nobody.
const FOREIGN_AGE_MAX_S: u64 = 7 * 24 * 60 * 60;
/// The same for a prepared one: no session waits so long for an answer, and a mail server over the spool may clear its `tmp` after 36 hours. At worst it is
/// kept once too often.
const FOREIGN_PREPARED_AGE_MAX_S: u64 = 2 * 60 * 60;

/// What a file system writes at once at least, octets.
const PAGE_LEN: usize = 4096;

/// What was found at start.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Prepared drafts that are in their folders now.
    pub kept: Vec<Recovered>,
    /// How many drafts that nobody was told about were removed.
    pub removed: u64,
    /// What could not be done, or does not hold what its name says. Nothing was lost by it: the files are where they were.
    pub failed: Vec<Error>,
    /// Whose notes could not be written, and why ([`super::Archive::catch_up`] only). They are not tried again: the messages are kept, and may be fetched once more.
    pub unnoted: Vec<(Owner, Error)>,
}

/// A prepared draft that recovery committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The owner's Maildir.
    pub maildir: PathBuf,
    /// The folder's directory in it, empty for the inbox.
    pub folder: String,
    /// Octets.
    pub size: u64,
    /// SHA-256, 64 hex digits in lower case.
    pub hash: String,
    /// The owner had the message already.
    pub duplicate: bool,
}

/// Goes through all Maildirs. `is_other` tells whether a process of this host is another MailStore.
pub(super) fn recover(shared: &Shared, is_other: &dyn Fn(u32) -> bool) -> Recovery {
    let mut run = Run { shared, is_other, found: Recovery::default() };
    let root = shared.spool.root().to_path_buf();
    run.probes(&root);
    run.descend(&root, 0);
    run.found
}

/// What is remembered as left, and nothing else.
///
/// Where the disk is still not well it stops at the first error: all the rest would have the same.
pub(super) fn catch_up(shared: &Shared) -> Recovery {
    let mut run = Run { shared, is_other: &|_| true, found: Recovery::default() };
    if shared.left.is_empty() {
        return run.found;
    }
    if let Err(e) = shared.spool.check_mount() {
        // Nothing can be told of files that are out of sight.
        run.found.failed.push(e);
        return run.found;
    }
    let Some(Work { prepared, unflushed, unwanted }) = shared.left.take() else { return run.found };
    unwanted.into_iter().for_each(|path| shared.remove(path));
    for (place, path, flushed) in prepared {
        if !run.found.failed.is_empty() {
            shared.left.prepared(place, path, flushed);
            continue;
        }
        let name = path.file_name().map(OsStrExt::as_bytes).and_then(name::parse);
        let Some(wanted) = name.and_then(|name| name.prepared) else { continue };
        if let Err(e) = run.commit(&place, &path, &wanted, flushed) {
            // What does not hold what its name says never will; what is gone was kept or removed by somebody else.
            let gone = path.try_exists().is_ok_and(|exists| !exists) && shared.spool.check_mount().is_ok();
            let again = e.kind() != io::ErrorKind::InvalidData && !gone;
            run.found.failed.push(e);
            if again {
                shared.left.prepared(place, path, flushed);
            }
        }
    }
    for mark in unflushed {
        if let Err(e) = shared.flush(&mark) {
            run.found.failed.push(e);
        }
    }
    run.found
}

/// Whether the process runs and is a `start_proxies`, or whatever this program is called, and is not this very one.
pub(super) fn is_other_mailstore(pid: u32) -> bool {
    let comm = |pid: u32| fs::read(format!("/proc/{pid}/comm"));
    if pid == std::process::id() {
        return false;
    }
    match (comm(pid), comm(std::process::id())) {
        (Ok(theirs), ours) => theirs == b"start_proxies\n" || ours.is_ok_and(|ours| ours == theirs),
        // It is no more. Or it is hidden (/proc with `hidepid`, or none at all): then any process may be one.
        (Err(_), _) => i32::try_from(pid).is_ok_and(|pid| {
            let pid = nix::unistd::Pid::from_raw(pid);
            nix::sys::signal::kill(pid, None) != Err(nix::errno::Errno::ESRCH)
        }),
    }
}

struct Run<'a> {
    shared: &'a Shared,
    is_other: &'a dyn Fn(u32) -> bool,
    found: Recovery,
}

impl Run<'_> {
    /// What a program that died while it tried the spool left at its root.
    fn probes(&mut self, root: &Path) {
        for (name, meta) in self.entries(root, Metadata::is_file) {
            let parsed = Spool::probe_name(name.as_os_str().as_bytes()).and_then(name::parse);
            if parsed.is_some_and(|parsed| !self.is_somebodys(&parsed, &meta)) {
                let path = root.join(&name);
                if let Err(e) = fs::remove_file(&path) {
                    self.found.failed.push(Error::new("remove the file", &path, e));
                }
            }
        }
    }

    fn descend(&mut self, dir: &Path, depth: usize) {
        if depth == self.shared.template.depth() {
            return self.maildir(dir);
        }
        for name in self.dirs(dir) {
            if self.shared.template.leads(depth, name.as_os_str()) {
                self.descend(&dir.join(name), depth + 1);
            }
        }
    }

    fn maildir(&mut self, maildir: &Path) {
        self.folder(&Place::new(maildir, ""));
        for name in self.dirs(maildir) {
            if name.as_os_str().as_bytes().starts_with(b".") {
                let dir = maildir.join(name);
                self.folder(&Place { maildir: maildir.into(), dir: dir.into() });
            }
        }
    }

    fn folder(&mut self, place: &Place) {
        let tmp = place.tmp();
        if !fs::symlink_metadata(&tmp).is_ok_and(|meta| meta.is_dir()) {
            return;
        }
        for (name, meta) in self.entries(&tmp, Metadata::is_file) {
            let Some(parsed) = name::parse(name.as_os_str().as_bytes()) else {
                continue;
            };
            if self.is_somebodys(&parsed, &meta) {
                continue;
            }
            let path = tmp.join(&name);
            let done = match &parsed.prepared {
                Some(prepared) => match self.commit(place, &path, prepared, false) {
                    Err(e) if e.kind() == io::ErrorKind::InvalidData && was_never_flushed(&path, prepared) => {
                        self.remove_draft(&path)
                    }
                    done => done,
                },
                None => self.remove_draft(&path),
            };
            if let Err(e) = done {
                self.found.failed.push(e);
            }
        }
    }

    fn remove_draft(&mut self, path: &Path) -> Result<(), Error> {
        fs::remove_file(path).map_err(|e| Error::new("remove the draft", path, e))?;
        self.found.removed += 1;
        Ok(())
    }

    /// Whether a program that still runs works on it, or may.
    fn is_somebodys(&self, parsed: &Parsed<'_>, meta: &Metadata) -> bool {
        if parsed.host == name::host() {
            if parsed.pid == std::process::id() {
                return name::is_live(parsed.count);
            }
            return (self.is_other)(parsed.pid);
        }
        // The time of the last change: the other one may be a message's date.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = u64::try_from(meta.ctime()).unwrap_or_default();
        let age_max_s = if parsed.prepared.is_some() { FOREIGN_PREPARED_AGE_MAX_S } else { FOREIGN_AGE_MAX_S };
        now.as_secs() < changed.saturating_add(age_max_s)
    }

    /// `flushed`: it is known that the file's flush did not fail.
    fn commit(&mut self, place: &Place, path: &Path, prepared: &Prepared, flushed: bool) -> Result<(), Error> {
        let file = open(path).map_err(|e| Error::new("open the draft", path, e))?;
        let (size, hash) = measure(&file, None).map_err(|e| Error::new("read the draft", path, e))?;
        if (size, hash) != (prepared.size, prepared.hash) {
            return Err(not_as_named(path));
        }
        let known = self.shared.known.with(&place.maildir, |lookup| lookup.find(&hash, size).is_some());
        let anew = match flushed || known || !self.shared.spool.flushes() {
            true => None,
            false => Some(Anew::of(self.shared, place, &file, path, prepared)?),
        };
        let from = anew.as_ref().map_or(path, |anew| &anew.path);
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Ok(());
        };
        let (duplicate, mark) = self.shared.known.with(&place.maildir, |lookup| {
            if let Some(mark) = lookup.find(&hash, size) {
                return Ok((true, mark));
            }
            if known && !flushed && self.shared.spool.flushes() {
                // It was there a moment ago: at the next start.
                let cause = io::Error::other("the owner's other copy of the message is gone");
                return Err(Error::new("commit the draft", path, cause));
            }
            let to = place.leaf(prepared.outgoing).join(name);
            self.shared.spool.ensure(place)?;
            let moved = match fs::rename(from, &to) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    self.shared.spool.forget(place);
                    self.shared.spool.ensure(place)?;
                    fs::rename(from, &to)
                }
                moved => moved,
            };
            moved.map_err(|e| Error::new("rename a draft to", &to, e))?;
            Ok((false, lookup.insert(place, prepared.outgoing, name, &hash)))
        })?;
        self.shared.flush(&mark)?;
        if duplicate || anew.is_some() {
            fs::remove_file(path).map_err(|e| Error::new("remove the draft", path, e))?;
        }
        let folder = place.dir.strip_prefix(&place.maildir).unwrap_or(&place.dir);
        self.found.kept.push(Recovered {
            maildir: place.maildir.to_path_buf(),
            folder: folder.to_string_lossy().into_owned(),
            size,
            hash: safe::hex(&hash),
            duplicate,
        });
        Ok(())
    }

    /// The directories in a directory, by name; a symbolic link to one is one.
    fn dirs(&mut self, dir: &Path) -> Vec<PathBuf> {
        let maybe = self.entries(dir, |meta| meta.is_dir() || meta.is_symlink());
        maybe
            .into_iter()
            .filter(|(name, meta)| meta.is_dir() || dir.join(name).is_dir())
            .map(|(name, _)| name)
            .collect()
    }

    /// What lies in a directory and is of this kind, symbolic links not followed. What is not there holds nothing.
    fn entries(&mut self, dir: &Path, kind: impl Fn(&Metadata) -> bool) -> Vec<(PathBuf, Metadata)> {
        let read = fs::read_dir(dir).and_then(|entries| {
            let mut found = Vec::new();
            for entry in entries {
                let entry = entry?;
                match entry.metadata() {
                    Ok(meta) if kind(&meta) => found.push((entry.file_name().into(), meta)),
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    _ => {}
                }
            }
            Ok(found)
        });
        match read {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => {
                self.found.failed.push(Error::new("read the folder", dir, e));
                Vec::new()
            }
        }
    }
}

/// A flushed copy of a prepared file in the same `tmp`, a draft until it is renamed.
struct Anew<'a> {
    shared: &'a Shared,
    path: PathBuf,
    /// So long nobody takes it for one that a crash left.
    _unique: Unique,
}

impl<'a> Anew<'a> {
    fn of(
        shared: &'a Shared,
        place: &Place,
        mut old: &File,
        old_path: &Path,
        prepared: &Prepared,
    ) -> Result<Anew<'a>, Error> {
        let unique = Unique::new();
        let (mut file, path) = shared.spool.create(place, &unique.draft())?;
        let anew = Anew { shared, path, _unique: unique };
        let copied = old.rewind().and_then(|()| measure(old, Some(&mut file)));
        let measured = copied.map_err(|e| Error::new("copy the draft to", &anew.path, e))?;
        if measured != (prepared.size, prepared.hash) {
            return Err(not_as_named(old_path));
        }
        let dated = old.metadata().and_then(|meta| file.set_modified(meta.modified()?));
        dated.map_err(|e| Error::new("set the time of the file", &anew.path, e))?;
        shared.spool.flush_file(&file, &anew.path)?;
        Ok(anew)
    }
}

impl Drop for Anew<'_> {
    fn drop(&mut self) {
        // Mostly it is in its folder by now.
        self.shared.remove(std::mem::take(&mut self.path));
    }
}

fn not_as_named(path: &Path) -> Error {
    let cause = io::Error::new(io::ErrorKind::InvalidData, "it does not hold what its name says; it stays where it is");
    Error::new("commit the draft", path, cause)
}

/// What was put into its place meanwhile is not followed, nor waited for.
fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Of a file that does not hold what its name says: whether it looks as a power cut leaves one whose octets had not been flushed. It has its name before
/// that; and nobody was told of the message. Octets that have changed since look otherwise.
fn was_never_flushed(path: &Path, prepared: &Prepared) -> bool {
    let look = || {
        let file = open(path)?;
        let size = file.metadata()?.len();
        if size != prepared.size {
            return Ok(size < prepared.size);
        }
        // What was written to in part is shorter, or has zeros in the place of what is missing, which may be any page.
        let (mut at, mut chunk) = (0, vec![0; 16 * PAGE_LEN]);
        while at < size {
            let len = chunk.len().min(usize::try_from(size - at).unwrap_or(usize::MAX));
            file.read_exact_at(&mut chunk[..len], at)?;
            at += len as u64;
            let is_missing = |page: &[u8]| page.len() == PAGE_LEN && page.iter().all(|&octet| octet == 0);
            if chunk[..len].chunks(PAGE_LEN).any(is_missing) || at == size && chunk[len - 1] == 0 {
                return Ok(true);
            }
        }
        io::Result::Ok(false)
    };
    look().unwrap_or(false)
}

/// Size and hash of what is left to read, which is also written to the other file. (Octet by octet: what the system calls a copy may share what is on disk.)
fn measure(mut file: &File, mut copy: Option<&mut File>) -> io::Result<(u64, Hash)> {
    let (mut size, mut hasher, mut chunk) = (0, Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok((size, hasher.finish())),
            Ok(len) => {
                hasher.update(&chunk[..len]);
                if let Some(copy) = &mut copy {
                    copy.write_all(&chunk[..len])?;
                }
                size += len as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
