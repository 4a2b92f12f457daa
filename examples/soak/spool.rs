//! The spool from outside: every file proven against its name, and most of them removed, as an administrator may at any time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ledger::Ledger;
use crate::messages::{DOMAIN, hash, hex, user};
use crate::notebook::Notebook;
use crate::random::Random;

/// Larger files never stay.
const STAYS_LEN_MAX: usize = 64 * 1024;
/// Of smaller ones so many of a hundred stay, to be known when they come again.
const STAYS_PERCENT: usize = 60;
/// Notes of more octets are removed, which costs fetches and no message.
const NOTES_LEN_MAX: u64 = 8 * 1024;

pub(crate) struct Spool {
    root: PathBuf,
    /// Held by whoever needs the spool to be where it should be.
    in_place: Mutex<()>,
}

impl Spool {
    pub(crate) fn new(folder: &Path) -> Spool {
        Spool { root: folder.join("mailSpool"), in_place: Mutex::default() }
    }

    /// Takes the spool away: a file stands in its place, so that nothing can be kept, by root neither. It comes back with what is returned.
    pub(crate) fn take_away(&self) -> io::Result<Away<'_>> {
        let held = self.in_place.lock().unwrap_or_else(PoisonError::into_inner);
        let elsewhere = self.root.with_extension("away");
        fs::rename(&self.root, &elsewhere)?;
        fs::write(&self.root, "no folder")?;
        Ok(Away { root: &self.root, elsewhere, _held: held })
    }

    /// Proves all that lies in one owner's Maildir, tells the ledger, and removes most of it.
    pub(crate) fn sweep(&self, owner: usize, random: &mut Random, ledger: &Ledger, notebook: &Notebook) {
        let _held = self.in_place.lock().unwrap_or_else(PoisonError::into_inner);
        let name = user(owner);
        let maildir = self.root.join(DOMAIN).join(name.split('@').next().unwrap_or_default());
        let mut folders = vec![maildir.clone()];
        folders.extend(entries(&maildir).into_iter().filter(|path| file_name(path).starts_with('.') && path.is_dir()));
        for (folder, place) in folders.iter().flat_map(|folder| ["new", "cur", "tmp"].map(|place| (folder, place))) {
            for file in entries(&folder.join(place)) {
                // In `tmp` only what is prepared has its whole name; the rest is on its way.
                if place == "tmp" && !file_name(&file).contains(",H=") {
                    continue;
                }
                match fs::read(&file) {
                    Ok(bytes) => {
                        let stays = place == "tmp" || bytes.len() <= STAYS_LEN_MAX && random.chance(STAYS_PERCENT);
                        if !stays && let Err(e) = fs::remove_file(&file) {
                            notebook.finding(format_args!("a kept message cannot be removed: {e}: {}", file.display()));
                        }
                        prove(owner, &file, &bytes, ledger, notebook);
                    }
                    // Prepared, and committed meanwhile.
                    Err(e) if e.kind() == io::ErrorKind::NotFound && place == "tmp" => {}
                    Err(e) => notebook.finding(format_args!("a kept message cannot be read: {e}: {}", file.display())),
                }
            }
        }
        let notes = maildir.join("mailstore-kept");
        if fs::metadata(&notes).is_ok_and(|notes| notes.len() > NOTES_LEN_MAX) {
            let _ = fs::remove_file(notes);
            notebook.count("spool: notes removed");
        }
    }

    /// How many files lie in all the folders' `tmp`, prepared and not.
    pub(crate) fn unfinished(&self) -> usize {
        let maildirs = entries(&self.root).iter().flat_map(|domain| entries(domain)).collect::<Vec<_>>();
        let folders = maildirs.iter().flat_map(|maildir| {
            let below = entries(maildir).into_iter().filter(|path| file_name(path).starts_with('.'));
            below.chain([maildir.clone()])
        });
        folders.map(|folder| entries(&folder.join("tmp")).len()).sum()
    }

    /// Maildirs that are nobody's.
    pub(crate) fn strangers(&self, owners: usize) -> Vec<PathBuf> {
        let known: Vec<String> = (0..owners).map(user).collect();
        let is_strange = |domain: &str, maildir: &Path| !known.contains(&format!("{}@{domain}", file_name(maildir)));
        let all = entries(&self.root).into_iter().flat_map(|domain| {
            let name = file_name(&domain);
            entries(&domain).into_iter().map(move |maildir| (name.clone(), maildir))
        });
        all.filter(|(domain, maildir)| is_strange(domain, maildir)).map(|(_, maildir)| maildir).collect()
    }
}

/// A spool that is not where it should be.
pub(crate) struct Away<'a> {
    root: &'a Path,
    elsewhere: PathBuf,
    _held: MutexGuard<'a, ()>,
}

impl Away<'_> {
    pub(crate) fn bring_back(self) -> io::Result<()> {
        fs::remove_file(self.root)?;
        fs::rename(&self.elsewhere, self.root)
    }
}

/// Size and hash are what the name says, and the message is one that this owner may have.
fn prove(owner: usize, file: &Path, bytes: &[u8], ledger: &Ledger, notebook: &Notebook) {
    let (name, hash) = (file_name(file), hash(bytes));
    let field = |key: &str| name.split([',', ':']).find_map(|field| field.strip_prefix(key)).unwrap_or_default();
    if (field("S="), field("H=")) != (&bytes.len().to_string(), &hex(&hash)) {
        notebook.finding(format_args!("a kept file is not what its name says: {}, {}", file.display(), bytes.len()));
    } else if !ledger.found(owner, hash) {
        notebook.finding(format_args!("a kept message is none of {}'s: {}", user(owner), file.display()));
    }
    notebook.count("spool: files proven");
    notebook.add("spool: octets proven", bytes.len() as u64);
}

/// What lies in a folder; nothing where there is none.
fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).map(|all| all.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
