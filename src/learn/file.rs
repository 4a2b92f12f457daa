//! The passwd-file on disk, which other programs write too: read at any time, written anew beside itself and renamed, under a lock of its folder.
//!
//! The lock is flock(2), exclusive, on the folder: the file itself is another one after each rename. Mode, owner and group of the file stay (the
//! owner where the system allows it). Fails with a sentence for the administrator.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::fcntl::OFlag;

use super::book::{Book, LEN_MAX};

/// Of a file that is not there yet.
const MODE: u32 = 0o640;
/// How long another program may hold the lock.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_STEP: Duration = Duration::from_millis(20);

/// Where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    file: PathBuf,
    sync: bool,
}

/// Held: no other program that keeps to it writes the file.
pub(super) struct Lock(File);

impl Place {
    pub(super) fn new(file: PathBuf, sync: bool) -> Place {
        Place { file, sync }
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// What it holds now; nothing where it is not there.
    pub(super) fn read(&self) -> Result<Book, String> {
        match self.open() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Book::default()),
            Err(e) => Err(self.unreadable(&e)),
            Ok(file) => {
                let meta = file.metadata().map_err(|e| self.unreadable(&e))?;
                if !meta.is_file() {
                    return Err(format!("{} is no file; name one, or one that is not there yet", self.show()));
                }
                let mut text = Vec::new();
                file.take(LEN_MAX as u64 + 1).read_to_end(&mut text).map_err(|e| self.unreadable(&e))?;
                Book::new(text).map_err(|why| format!("{} cannot be used: {why}", self.show()))
            }
        }
    }

    /// Waits for the lock, unless `given_up`.
    pub(super) fn lock(&self, given_up: impl Fn() -> bool) -> Result<Lock, String> {
        let folder = File::open(self.folder()).map_err(|e| self.unusable("the folder cannot be opened", &e))?;
        let end = Instant::now() + LOCK_WAIT;
        loop {
            match folder.try_lock() {
                Ok(()) => return Ok(Lock(folder)),
                Err(TryLockError::Error(e)) => return Err(self.unusable("the folder cannot be locked", &e)),
                Err(TryLockError::WouldBlock) if Instant::now() >= end || given_up() => {
                    let (folder, wait) = (self.folder().display(), LOCK_WAIT.as_secs());
                    return Err(format!(
                        "another program holds the lock of the folder {folder} for more than {wait} s"
                    ));
                }
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_STEP),
            }
        }
    }

    /// Puts this into its place: wholly or not at all, on disk when it returns (with `sync`).
    pub(super) fn write(&self, book: &Book, lock: &Lock) -> Result<(), String> {
        let fresh = self.fresh();
        let written = self.write_beside(book, &fresh).and_then(|()| {
            fs::rename(&fresh, &self.file).map_err(|e| self.unusable("the new file cannot be renamed", &e))
        });
        if written.is_err() {
            // It may never have been made.
            let _ = fs::remove_file(&fresh);
            return written;
        }
        match lock.0.sync_all() {
            Err(e) if self.sync => Err(self.unusable("the folder cannot be flushed", &e)),
            _ => Ok(()),
        }
    }

    /// Whether [`Place::write`] would succeed; nothing is changed by it.
    pub(super) fn check(&self) -> Result<(), String> {
        let book = self.read()?;
        let _lock = self.lock(|| false)?;
        let fresh = self.fresh();
        let tried = self.write_beside(&book, &fresh);
        let _ = fs::remove_file(&fresh);
        tried
    }

    fn write_beside(&self, book: &Book, fresh: &Path) -> Result<(), String> {
        let before = match fs::symlink_metadata(&self.file) {
            Ok(meta) => Some(meta),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(self.unusable("the file cannot be looked at", &e)),
        };
        // Left by a program that died: nobody else is here.
        let _ = fs::remove_file(fresh);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(fresh);
        let mut file = made.map_err(|e| self.unusable("no file can be made in the folder", &e))?;
        let failed = |e| self.unusable("the new file cannot be written", &e);
        file.write_all(book.text()).map_err(failed)?;
        self.take_over(&file, before.as_ref())?;
        let mode = before.as_ref().map_or(MODE, |meta| meta.mode() & 0o7777);
        file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
        if let Some(at) = before.as_ref().and_then(|before| looks_the_same(before, book)) {
            file.set_modified(at).map_err(failed)?;
        }
        if self.sync { file.sync_all().map_err(failed) } else { Ok(()) }
    }

    /// Owner and group of the file before.
    fn take_over(&self, file: &File, before: Option<&Metadata>) -> Result<(), String> {
        let (Some(before), Ok(now)) = (before, file.metadata()) else { return Ok(()) };
        if now.gid() != before.gid() && fchown(file, None, Some(before.gid())).is_err() {
            return Err(format!(
                "{} belongs to the group {}, which the new file cannot be given: put {} into that group, or make it the folder's: chgrp {0} {3} && chmod g+s {3}",
                self.show(),
                group(before.gid()),
                user(),
                self.folder().display(),
            ));
        }
        if now.uid() != before.uid() {
            // Only root may; whoever owns it then can read it in any case.
            let _ = fchown(file, Some(before.uid()), None);
        }
        Ok(())
    }

    fn open(&self) -> io::Result<File> {
        // Neither is a symbolic link followed, nor is it waited for somebody at the other end of a pipe.
        OpenOptions::new().read(true).custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).open(&self.file)
    }

    fn folder(&self) -> &Path {
        match self.file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// The name under which it is written anew.
    fn fresh(&self) -> PathBuf {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        self.folder().join(format!(".{name}.mailstore-new"))
    }

    fn show(&self) -> std::path::Display<'_> {
        self.file.display()
    }

    fn unreadable(&self, e: &io::Error) -> String {
        let (file, user) = (self.show(), user());
        match e.raw_os_error() {
            Some(nix::libc::ELOOP) => format!("{file} is a symbolic link; name the file that it leads to"),
            _ if e.kind() == io::ErrorKind::PermissionDenied => {
                format!("{file} cannot be read: {e}; give it to the user that MailStore runs as: chown {user} {file}")
            }
            _ => format!("{file} cannot be read: {e}"),
        }
    }

    fn unusable(&self, what: &str, e: &io::Error) -> String {
        let (folder, user) = (self.folder().display(), user());
        let help = match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                format!(
                    "; make it, for {user} to write and for Dovecot to read: install -d -m 2750 -o {user} -g dovecot {folder}"
                )
            }
            io::ErrorKind::PermissionDenied => {
                format!(
                    "; {user} has to own it, and Dovecot to read it: install -d -m 2750 -o {user} -g dovecot {folder}"
                )
            }
            _ => String::new(),
        };
        format!("{}: {what}: {e}{help}", self.show())
    }
}

/// Dovecot looks at a passwd-file's size and at the second in which it was changed, and hashes are all of one length: a file that is written twice in a
/// second gets a later date.
fn looks_the_same(before: &Metadata, book: &Book) -> Option<SystemTime> {
    let then = before.modified().ok()?;
    let same = before.len() == book.text().len() as u64 && then + Duration::from_secs(1) > SystemTime::now();
    same.then(|| then + Duration::from_secs(1))
}

/// Whom the program runs as (at the moment: `-t` tries as another).
fn user() -> String {
    let uid = nix::unistd::geteuid();
    nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

fn group(gid: u32) -> String {
    let found = nix::unistd::Group::from_gid(nix::unistd::Gid::from_raw(gid)).ok().flatten();
    found.map_or_else(|| gid.to_string(), |group| group.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(dir: &Path) -> Place {
        Place::new(dir.join("passwd"), true)
    }

    fn written(place: &Place, name: &str) {
        let lock = place.lock(|| false).unwrap();
        let mut book = place.read().unwrap();
        book.set(name, "x").unwrap();
        place.write(&book, &lock).unwrap();
    }

    fn names(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn it_is_made_for_owner_and_group_and_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        place.check().unwrap();
        assert_eq!(names(dir.path()), [""; 0], "trying leaves nothing");
        let mode = || fs::metadata(place.file()).unwrap().mode() & 0o7777;
        written(&place, "a@b");
        assert_eq!(mode(), 0o640);
        fs::set_permissions(place.file(), Permissions::from_mode(0o604)).unwrap();
        // What a program that was killed has left.
        fs::write(dir.path().join(".passwd.mailstore-new"), "half").unwrap();
        written(&place, "c@d");
        assert_eq!((mode(), names(dir.path())), (0o604, vec!["passwd".to_owned()]));
        assert_eq!(fs::read_to_string(place.file()).unwrap(), "a@b:x::::::\nc@d:x::::::\n");
    }

    #[test]
    fn what_is_written_twice_in_a_second_has_two_dates() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        let mut seen = Vec::new();
        for password in ["one", "two", "six"] {
            let mut book = place.read().unwrap();
            book.set("a@b", password).unwrap();
            place.write(&book, &place.lock(|| false).unwrap()).unwrap();
            seen.push(fs::metadata(place.file()).unwrap().mtime());
        }
        seen.dedup();
        assert_eq!(seen.len(), 3, "{seen:?}");
    }

    #[test]
    fn nobody_writes_while_another_has_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        let lock = place.lock(|| false).unwrap();
        assert!(place.lock(|| true).is_err_and(|why| why.contains("another program holds the lock")));
        drop(lock);
        thread::scope(|scope| {
            for n in 0..8 {
                let place = &place;
                scope.spawn(move || (0..10).for_each(|i| written(place, &format!("u{n}-{i}@a"))));
            }
        });
        assert_eq!(fs::read_to_string(place.file()).unwrap().lines().count(), 80);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let says = |place: &Place, right: &str| {
            let why = place.check().unwrap_err();
            assert!(why.contains(right), "{why}");
        };
        says(&Place::new(dir.path().join("none/passwd"), true), "install -d -m 2750 -o ");
        std::os::unix::fs::symlink("elsewhere", dir.path().join("passwd")).unwrap();
        says(&place(dir.path()), "is a symbolic link; name the file that it leads to");
        says(&Place::new(dir.path().to_path_buf(), true), "is no file");
        nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        says(&Place::new(dir.path().join("fifo"), true), "is no file");
        fs::write(dir.path().join("file"), "").unwrap();
        says(&Place::new(dir.path().join("file/passwd"), true), "Not a directory");
        fs::write(dir.path().join("large"), vec![b'x'; LEN_MAX + 1]).unwrap();
        says(&Place::new(dir.path().join("large"), true), "16 MiB");
    }
}
