//! What went wrong on disk, as a sentence for the administrator.

use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::logging;

/// A file's flush.
pub(super) const FLUSH_FILE: &str = "flush the file";
/// A folder's flush.
pub(super) const FLUSH_FOLDER: &str = "flush the folder";
/// The step before a folder is flushed.
pub(super) const OPEN_FOLDER: &str = "open, to flush it, the folder";

/// A step on disk that failed: which one, on which path, and what the system said.
#[derive(Debug)]
pub struct Error {
    step: &'static str,
    path: PathBuf,
    cause: io::Error,
}

impl Error {
    /// `step` completes "cannot …": `flush the folder`.
    pub(super) fn new(step: &'static str, path: &Path, cause: io::Error) -> Error {
        Error { step, path: path.to_path_buf(), cause }
    }

    /// The kind of the system's error: `StorageFull`, `PermissionDenied`, …
    pub fn kind(&self) -> io::ErrorKind {
        self.cause.kind()
    }

    /// What the step was done to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was the flush of a folder that failed: the message is in it, and a power cut may still take it away.
    pub fn is_of_a_flush(&self) -> bool {
        self.step == FLUSH_FOLDER
    }

    /// Whether the whole spool is in trouble, and not only what is one owner's: the disk is full, read-only, broken or away.
    pub fn concerns_the_spool(&self) -> bool {
        use io::ErrorKind::{Other, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        matches!(self.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem | Other)
            || self.cause.raw_os_error() == Some(nix::libc::EIO)
    }

    /// Whether a folder could not be opened to be flushed: nothing was tried then, and it may be tried again.
    pub(super) fn is_before_flush(&self) -> bool {
        self.step == OPEN_FOLDER
    }

    /// The same error for another draft that depended on the same step.
    pub(super) fn again(&self) -> Error {
        let cause = match self.cause.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(self.cause.kind(), self.cause.to_string()),
        };
        Error::new(self.step, &self.path, cause)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.step, escape_path(&self.path), self.cause)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// Component by component: a path is longer than what [`logging::escape`] lets stand, and its end matters most.
fn escape_path(path: &Path) -> String {
    let components: Vec<String> = path.as_os_str().as_bytes().split(|&b| b == b'/').map(logging::escape).collect();
    components.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_a_sentence() {
        let error = Error::new("flush the folder", Path::new("/spool/a b/new"), io::Error::from_raw_os_error(5));
        assert_eq!(error.to_string(), "cannot flush the folder /spool/a\\x20b/new: Input/output error (os error 5)");
        assert_eq!(error.again().to_string(), error.to_string());
    }
}
