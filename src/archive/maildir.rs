//! The spool's directories: made, kept private, and flushed up to the root.
//!
//! A file is safe only when every directory above it is on disk. So what was found there is not trusted either (another
//! thread, or a process that died, may have made it a moment ago): each folder's way up to the root is flushed once in the life of this
//! process, and what was flushed is remembered in a bounded set.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::error::{Error, FLUSH_FILE, FLUSH_FOLDER, OPEN_FOLDER};
use super::flush::{Together, Unflushed};
use super::mount::{Change, Mount};

/// How many folders are remembered as flushed; then all are forgotten and flushed again as they are used.
const ANCHORED_MAX: usize = 50_000;

/// What a probe's name begins with, before a draft's name.
const PROBE: &str = ".mailstore-probe-";
/// What a probe's name ends with once it was renamed.
const PROBE_RENAMED: &str = "-renamed";

/// The root of all Maildirs.
#[derive(Debug)]
pub(super) struct Spool {
    root: PathBuf,
    sync: bool,
    together: Together,
    anchored: Mutex<Anchored>,
}

#[derive(Debug, Default)]
struct Anchored {
    root: bool,
    /// Something was kept since the start, or was to be.
    used: bool,
    /// The root was gone since then, and was made once more; nobody was told yet.
    made_anew: bool,
    /// Once the root was there.
    mount: Option<Mount>,
    /// Each with the device of the latest file that was made there once it was sure that the spool lies where it did.
    folders: HashMap<Arc<[u8]>, Option<u64>>,
    /// Where no file could be made the last time.
    troubled: HashSet<Arc<[u8]>>,
    /// The latest file could not be made, and that was not for the sake of its folder.
    all_troubled: bool,
}

/// One folder of one Maildir. A clone shares the paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) maildir: Arc<Path>,
    /// The Maildir itself for the inbox.
    pub(super) dir: Arc<Path>,
}

impl Place {
    pub(super) fn new(maildir: &Path, dir_name: &str) -> Place {
        let maildir: Arc<Path> = maildir.into();
        let dir = if dir_name.is_empty() { Arc::clone(&maildir) } else { maildir.join(dir_name).into() };
        Place { maildir, dir }
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    /// Where a message goes: `cur` if its owner sent it.
    pub(super) fn leaf(&self, outgoing: bool) -> PathBuf {
        self.dir.join(Place::leaf_name(outgoing))
    }

    pub(super) fn leaf_name(outgoing: bool) -> &'static str {
        if outgoing { "cur" } else { "new" }
    }

    /// A file's path, made in one piece.
    pub(super) fn file(&self, sub: &str, name: &str) -> PathBuf {
        let mut path = PathBuf::with_capacity(self.dir.as_os_str().len() + sub.len() + name.len() + 2);
        path.extend([&*self.dir, Path::new(sub), Path::new(name)]);
        path
    }
}

impl Spool {
    pub(super) fn new(root: PathBuf, sync: bool) -> Spool {
        Spool { root, sync, together: Together::default(), anchored: Mutex::default() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder is there with its Maildir, and on disk.
    pub(super) fn ensure(&self, place: &Place) -> Result<(), Error> {
        if self.mounted()?.folders.contains_key(octets(&place.dir)) {
            return Ok(());
        }
        let made_root = !self.ensure_root()?.is_empty();
        let mut anchored = self.anchored();
        anchored.made_anew |= made_root && anchored.used;
        anchored.used = true;
        drop(anchored);
        let mut at = self.root.clone();
        for component in self.below(&place.maildir) {
            at.push(component);
            make_dir(&at)?;
        }
        make_subfolders(&place.maildir)?;
        if place.dir != place.maildir {
            make_dir(&place.dir)?;
            make_subfolders(&place.dir)?;
        }
        self.anchor(place)
    }

    /// The folder's way up to the root is on disk.
    pub(super) fn anchor(&self, place: &Place) -> Result<(), Error> {
        let known = {
            let anchored = self.anchored();
            if anchored.folders.contains_key(octets(&place.dir)) {
                return Ok(());
            }
            anchored.folders.contains_key(octets(&place.maildir))
        };
        if place.dir != place.maildir {
            self.flush_dir(&place.dir)?;
        }
        if place.dir != place.maildir || !known {
            self.flush_dir(&place.maildir)?;
        }
        if !known {
            let mut at = &*place.maildir;
            for _ in self.below(&place.maildir) {
                at = at.parent().unwrap_or(&self.root);
                self.flush_dir(at)?;
            }
        }
        let mut anchored = self.anchored();
        if anchored.folders.len() >= ANCHORED_MAX {
            anchored.folders.clear();
        }
        for dir in [&place.maildir, &place.dir] {
            anchored.folders.entry(octets(dir).into()).or_default();
        }
        Ok(())
    }

    /// The folder was not where it should be: somebody removed it. The next [`Spool::ensure`] makes it again.
    pub(super) fn forget(&self, place: &Place) {
        let mut anchored = self.anchored();
        anchored.root = false;
        anchored.folders.remove(octets(&place.maildir));
        anchored.folders.remove(octets(&place.dir));
    }

    /// Whether the root was gone and was made once more since this was asked last.
    pub(super) fn was_made_anew(&self) -> bool {
        mem::take(&mut self.anchored().made_anew)
    }

    /// Whether there is every reason to believe that a file can be made there: the folder was used before, and nothing has gone wrong since. Does not look.
    pub(super) fn is_well(&self, place: &Place) -> bool {
        let anchored = self.anchored();
        anchored.folders.contains_key(octets(&place.dir))
            && !anchored.troubled.contains(octets(&place.dir))
            && !anchored.all_troubled
    }

    /// A new file of this name in the folder's `tmp`, readable and writable; the folder is made where it is missing.
    pub(super) fn create(&self, place: &Place, name: &str) -> Result<(File, PathBuf), Error> {
        let made = self.try_create(place, name);
        let mut anchored = self.anchored();
        if made.is_ok() && !anchored.troubled.is_empty() {
            anchored.troubled.remove(octets(&place.dir));
        }
        // What is wrong with the whole spool is told to one message at its end, and not to one of each folder.
        anchored.all_troubled = made.as_ref().is_err_and(Error::concerns_the_spool);
        if made.is_err() {
            if anchored.troubled.len() >= ANCHORED_MAX {
                anchored.troubled.clear();
            }
            anchored.troubled.insert(octets(&place.dir).into());
        }
        made
    }

    fn try_create(&self, place: &Place, name: &str) -> Result<(File, PathBuf), Error> {
        let path = place.file("tmp", name);
        // The file itself tells where it lies, for less than a look at the spool costs before it.
        let device = self.anchored().folders.get(octets(&place.dir)).copied().flatten();
        if let Some(device) = device
            && let Ok(file) = create_file(&path)
        {
            if file.metadata().is_ok_and(|meta| meta.dev() == device) {
                return Ok((file, path));
            }
            fs::remove_file(&path).map_err(|e| Error::new("remove the file", &path, e))?;
            self.forget(place);
        }
        let (file, path) = self.create_looking(place, path)?;
        self.trust(place, &file, &path)?;
        Ok((file, path))
    }

    /// The folder's next files have to lie where this one does. So the spool is looked at once more: had it been unmounted just before the file was made,
    /// all that follow would be taken for being where they should be.
    fn trust(&self, place: &Place, file: &File, path: &Path) -> Result<(), Error> {
        if let Err(e) = self.check_mount() {
            // What is left of it is empty, and out of sight as soon as the spool is back.
            let _ = fs::remove_file(path);
            return Err(e);
        }
        let device = file.metadata().map(|meta| meta.dev()).ok();
        if let Some(known) = self.anchored().folders.get_mut(octets(&place.dir)) {
            *known = device;
        }
        Ok(())
    }

    /// The same once it is sure that the spool lies where it did.
    fn create_looking(&self, place: &Place, path: PathBuf) -> Result<(File, PathBuf), Error> {
        self.ensure(place)?;
        let file = match create_file(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.forget(place);
                self.ensure(place)?;
                create_file(&path)
            }
            made => made,
        };
        let file = file.map_err(|e| Error::new("create the file", &path, e))?;
        Ok((file, path))
    }

    /// The file's content and date are on disk. After a failure the file must be given up: its pages then count as clean.
    pub(super) fn flush_file(&self, file: &File, path: &Path) -> Result<(), Error> {
        if !self.sync {
            return Ok(());
        }
        file.sync_all().map_err(|e| Error::new(FLUSH_FILE, path, e))
    }

    /// Whether anything is flushed at all.
    pub(super) fn flushes(&self) -> bool {
        self.sync
    }

    /// As [`Spool::flush_file`], all at once; the results stand in the order of the files.
    pub(super) fn flush_files(&self, files: &[Unflushed<'_>]) -> Vec<Result<(), Error>> {
        if !self.sync {
            return files.iter().map(|_| Ok(())).collect();
        }
        self.together.flush(files)
    }

    /// The directory's entries are on disk.
    pub(super) fn flush_dir(&self, path: &Path) -> Result<(), Error> {
        if !self.sync {
            return Ok(());
        }
        let dir = File::open(path).map_err(|e| Error::new(OPEN_FOLDER, path, e))?;
        dir.sync_all().map_err(|e| Error::new(FLUSH_FOLDER, path, e))
    }

    /// Makes the root where it is missing. Returns the directories made, outermost first.
    fn ensure_root(&self) -> Result<Vec<PathBuf>, Error> {
        // Held throughout: nobody may find a root that another thread has made and not flushed.
        let mut anchored = self.mounted()?;
        if anchored.root {
            return Ok(Vec::new());
        }
        let made = make_missing(&self.root)?;
        if anchored.mount.is_none() {
            anchored.mount = Some(Mount::of(&self.root)?);
        }
        for dir in &made {
            self.flush_dir(parent(dir))?;
        }
        if made.is_empty() {
            match self.flush_dir(parent(&self.root)) {
                // What lies above the root is the administrator's; we may have no right to look at it.
                Err(e) if e.kind() != io::ErrorKind::PermissionDenied => return Err(e),
                _ => {}
            }
        }
        anchored.root = true;
        Ok(made)
    }

    /// Tries for real what keeping a message needs of the root, and leaves nothing behind.
    ///
    /// # Errors
    /// The step that failed.
    pub(super) fn probe(&self, name: &str) -> Result<(), Error> {
        let made = self.ensure_root()?;
        let tried = self.try_out(name);
        for dir in made.iter().rev() {
            // Somebody may have begun to use it.
            let _ = fs::remove_dir(dir);
            self.anchored().root = false;
        }
        tried
    }

    fn try_out(&self, name: &str) -> Result<(), Error> {
        let path = self.root.join(format!("{PROBE}{name}"));
        let renamed = self.root.join(format!("{PROBE}{name}{PROBE_RENAMED}"));
        let file = create_file(&path).map_err(|e| Error::new("create a file", &path, e))?;
        let tried = self
            .flush_file(&file, &path)
            .and_then(|()| fs::rename(&path, &renamed).map_err(|e| Error::new("rename the file", &path, e)))
            .and_then(|()| self.flush_dir(&self.root));
        let left = if renamed.exists() { &renamed } else { &path };
        let removed = fs::remove_file(left).map_err(|e| Error::new("remove the file", left, e));
        tried.and(removed)
    }

    /// The draft's name in that of a probe.
    pub(super) fn probe_name(name: &[u8]) -> Option<&[u8]> {
        let name = name.strip_prefix(PROBE.as_bytes())?;
        Some(name.strip_suffix(PROBE_RENAMED.as_bytes()).unwrap_or(name))
    }

    fn below<'a>(&self, maildir: &'a Path) -> std::path::Components<'a> {
        maildir.strip_prefix(&self.root).unwrap_or(maildir).components()
    }

    /// The spool still lies where it did.
    ///
    /// # Errors
    /// Its file system is not mounted any more.
    pub(super) fn check_mount(&self) -> Result<(), Error> {
        self.mounted().map(drop)
    }

    /// What is known of the folders, once it is sure that they still lie where they did.
    fn mounted(&self) -> Result<MutexGuard<'_, Anchored>, Error> {
        let mut anchored = self.anchored();
        if let Some(mount) = &mut anchored.mount
            && mount.check(&self.root)? == Change::Anew
        {
            anchored.root = false;
            anchored.folders.clear();
        }
        Ok(anchored)
    }

    fn anchored(&self) -> MutexGuard<'_, Anchored> {
        self.anchored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Spool {
    /// As if the next files came to lie on another file system than those before.
    pub(super) fn expect_elsewhere(&self) {
        self.anchored().folders.values_mut().for_each(|device| *device = Some(u64::MAX));
    }

    /// As if the file system on which the spool lay were not mounted any more, and the same folders lay below.
    pub(super) fn unmount(&self) {
        self.anchored().mount = Some(Mount::gone_from(&self.root));
    }

    pub(super) fn mount(&self) {
        self.anchored().mount = Mount::of(&self.root).ok();
    }
}

/// A path as a table's key: hashed in one go, and not by its components.
pub(super) fn octets(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn create_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    if !*UMASK_SPARES_US {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Whether it is sure that the umask takes nothing away that a file needs. Looked at once: the program sets its own at the start, and nothing here changes
/// it. (It can be read only by setting it, or here.)
static UMASK_SPARES_US: LazyLock<bool> = LazyLock::new(|| {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("Umask:")?.trim(), 8).ok());
    umask.is_some_and(|umask| umask & 0o600 == 0)
});

fn make_subfolders(dir: &Path) -> Result<(), Error> {
    for name in ["tmp", "new", "cur"] {
        make_dir(&dir.join(name))?;
    }
    Ok(())
}

/// Makes one directory, 0700 whatever the umask; one that is there stays as it is.
fn make_dir(path: &Path) -> Result<bool, Error> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            fs::set_permissions(path, Permissions::from_mode(0o700))
                .map_err(|e| Error::new("set the permissions of the folder", path, e))?;
            Ok(true)
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let cause = io::Error::new(io::ErrorKind::NotADirectory, "something is there that is no folder");
            Err(Error::new("make the folder", path, cause))
        }
        Err(e) => Err(Error::new("make the folder", path, e)),
    }
}

/// Makes a directory and what is missing above it. Returns what was made, outermost first.
fn make_missing(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut missing = Vec::new();
    for dir in path.ancestors() {
        if dir.as_os_str().is_empty() || dir.is_dir() {
            break;
        }
        missing.push(dir);
    }
    let mut made = Vec::new();
    for dir in missing.into_iter().rev() {
        match make_dir(dir) {
            Ok(true) => made.push(dir.to_path_buf()),
            Ok(false) => {}
            Err(e) => {
                for dir in made.iter().rev() {
                    // Not empty: somebody else needed it too.
                    let _ = fs::remove_dir(dir);
                }
                return Err(e);
            }
        }
    }
    Ok(made)
}

/// The directory that holds this one.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_that_is_unmounted_just_before_a_folders_first_file_is_made_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path().join("spool"), true);
        let place = Place::new(&spool.root().join("a"), "");
        // What lies below the mount point: the same folders.
        let (file, path) = spool.create_looking(&place, place.file("tmp", "x")).unwrap();
        spool.unmount();
        let error = spool.trust(&place, &file, &path).unwrap_err().to_string();
        assert!(error.contains("is not mounted there any more"), "{error}");
        assert!(!path.exists());
        for _ in 0..2 {
            assert!(spool.create(&place, "y").is_err());
        }
        assert_eq!(fs::read_dir(place.tmp()).unwrap().count(), 0);
        spool.mount();
        spool.create(&place, "y").unwrap();
    }
}
