//! Whether the spool still lies on the file system on which it was found at the start.
//!
//! A file system that is unmounted, or fails, leaves the empty directory that it was mounted on. What were kept there would seem safe, and be out of
//! sight as soon as the file system is back. So where the spool lay below a mount point, that has to be one still.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::Error;

/// Where the spool lies.
#[derive(Debug)]
pub(super) struct Mount {
    /// The device of the spool's root.
    device: u64,
    /// The topmost directory of that file system; none where that is `/`, which cannot go away.
    point: Option<PathBuf>,
}

/// What has become of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Same,
    /// Another file system is mounted there now, or the same one again: nothing is known of what lies there.
    Anew,
}

impl Mount {
    /// As it is now.
    ///
    /// # Errors
    /// The spool's root cannot be looked at.
    pub(super) fn of(root: &Path) -> Result<Mount, Error> {
        let look = || {
            let (device, real) = (fs::metadata(root)?.dev(), fs::canonicalize(root)?);
            let same = |dir: &&Path| fs::metadata(dir).is_ok_and(|meta| meta.dev() == device);
            let point = real.ancestors().take_while(same).last().filter(|point| point.parent().is_some());
            Ok(Mount { device, point: point.map(Path::to_path_buf) })
        };
        look().map_err(|e| Error::new("look at the spool", root, e))
    }

    /// Looks again.
    ///
    /// # Errors
    /// Nothing is mounted any more where the spool's file system was; or it cannot be looked at.
    pub(super) fn check(&mut self, root: &Path) -> Result<Change, Error> {
        let device = match fs::metadata(root) {
            Ok(meta) if meta.dev() == self.device => return Ok(Change::Same),
            Ok(meta) => Some(meta.dev()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(Error::new("look at the spool", root, e)),
        };
        // What the administrator put elsewhere (the root was a symbolic link) does not lie below the old one.
        let real = device.and_then(|_| fs::canonicalize(root).ok());
        let concerns = |point: &&PathBuf| real.as_ref().is_none_or(|real| real.starts_with(point));
        if let Some(point) = self.point.as_ref().filter(concerns)
            && !is_mount_point(point)
        {
            let cause = io::Error::other("the file system on which the spool lay is not mounted there any more");
            return Err(Error::new("use", point, cause));
        }
        if device.is_some() {
            *self = Mount::of(root)?;
        }
        Ok(Change::Anew)
    }
}

#[cfg(test)]
impl Mount {
    /// Of a file system that was mounted there.
    pub(super) fn gone_from(point: &Path) -> Mount {
        Mount { device: u64::MAX, point: fs::canonicalize(point).ok() }
    }
}

fn is_mount_point(dir: &Path) -> bool {
    let device = |dir: &Path| fs::metadata(dir).map(|meta| meta.dev()).ok();
    let above = dir.parent().and_then(device);
    device(dir).is_some_and(|own| above.is_some_and(|above| own != above))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_that_is_made_anew_on_the_same_file_system_is_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("spool");
        assert!(Mount::of(&root).is_err());
        fs::create_dir(&root).unwrap();
        let mut mount = Mount::of(&root).unwrap();
        assert_eq!(mount.check(&root).unwrap(), Change::Same);
        fs::remove_dir(&root).unwrap();
        assert_eq!(mount.check(&root).unwrap(), Change::Anew);
        fs::create_dir(&root).unwrap();
        assert_eq!(mount.check(&root).unwrap(), Change::Same);
    }

    #[test]
    fn a_mount_point_that_is_none_any_more_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("mnt/spool");
        fs::create_dir_all(&root).unwrap();
        // As if another file system had been mounted at `mnt`.
        let mut mount = Mount { device: u64::MAX, point: Some(dir.path().join("mnt")) };
        let error = mount.check(&root).unwrap_err().to_string();
        assert!(error.contains("mnt: the file system on which the spool lay is not mounted there any more"), "{error}");
        fs::remove_dir(&root).unwrap();
        assert!(mount.check(&root).is_err());
        // Something is mounted there again.
        mount.point = Some(PathBuf::from("/proc"));
        assert_eq!(mount.check(Path::new("/proc")).unwrap(), Change::Anew);
        // It came when the program ran already: from now on it has to stay.
        let mut early = Mount { device: u64::MAX, point: None };
        assert_eq!(early.check(Path::new("/proc")).unwrap(), Change::Anew);
        assert_eq!(early.point.as_deref(), Some(Path::new("/proc")));
        // The spool was put elsewhere.
        let mut moved = Mount { device: u64::MAX, point: Some(dir.path().join("elsewhere")) };
        fs::create_dir(&root).unwrap();
        assert_eq!(moved.check(&root).unwrap(), Change::Anew);
    }
}
