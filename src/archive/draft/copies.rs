//! The owners' copies of a draft: in `tmp`, and from there into their folders.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{COPY_LEN, Draft};
use crate::archive::error::Error;
use crate::archive::known::{Lookup, Mark};
use crate::archive::maildir::Place;
use crate::archive::name::{Hash, Unique};
use crate::archive::{Destination, Kept, safe};

/// One owner's copy.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) to: Destination,
    pub(super) place: Place,
    pub(super) unique: Unique,
    /// The message that the owner has already, as far as it was looked up.
    pub(super) known: Option<Mark>,
    /// The file in `tmp`, once there is one, until it is in its folder or removed.
    pub(super) tmp: Option<PathBuf>,
    /// That file was made alone, and is not flushed, or its flush has failed.
    pub(super) unflushed: bool,
}

/// One copy in its folder, which is not flushed yet.
pub(in crate::archive) struct Placed {
    pub(in crate::archive) kept: Kept,
    pub(in crate::archive) mark: Mark,
    /// It was prepared: somebody may have been told that it is done.
    pub(in crate::archive) prepared: bool,
    /// A prepared file, and the folder it was for, that turned out to be a duplicate: to be removed once the other's folder is on disk.
    pub(in crate::archive) left: Option<(Place, PathBuf)>,
}

impl Draft {
    pub(super) fn prepare_copies(&mut self, hash: &Hash) -> Result<(), Error> {
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
        let written = self.write(&buffer);
        self.buffer = buffer;
        self.spare_buffer();
        written?;
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
    pub(in crate::archive) fn look_up(&mut self) -> Result<bool, Error> {
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

    /// Gives each owner who has not got it his file in `tmp`.
    ///
    /// # Errors
    /// A step on disk failed; what is there is removed.
    pub(in crate::archive) fn link_all(&mut self) -> Result<(), Error> {
        for number in 1..self.copies.len() {
            if self.copies[number].known.is_none() {
                let name = self.copies[number].unique.draft();
                self.link(number, &name)?;
            }
        }
        Ok(())
    }

    /// Moves every copy to its folder, but where the owner has the message already. One that fails does not stop the others.
    pub(in crate::archive) fn place(&mut self) -> Vec<Result<Placed, Error>> {
        let shared = Arc::clone(&self.shared);
        let all = 0..self.copies.len();
        all.map(|number| {
            let maildir = Arc::clone(&self.copies[number].place.maildir);
            shared.known.with(&maildir, |lookup| self.place_copy(number, lookup))
        })
        .collect()
    }

    /// The same for the only copy, under the lock of its owner.
    pub(in crate::archive) fn place_only(&mut self, lookup: &mut Lookup<'_>) -> Vec<Result<Placed, Error>> {
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
