//! A spool as MailStore leaves it, made without it: for what reads spools, and for more messages than could be sent in a test.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::dovecot::Place;
use super::lab::Lab;
use super::spool::hash;

pub struct Filed {
    root: PathBuf,
    count: u64,
    /// The folders that were made.
    made: HashSet<PathBuf>,
}

impl Filed {
    /// An empty spool in a folder of its own, which is 0700 as the spool is.
    pub fn new(lab: &Lab) -> Filed {
        let root = lab.folder("filed").join("mailSpool");
        make(&root);
        Filed { root, count: 0, made: HashSet::new() }
    }

    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The folder of a Maildir (its path below the spool, and as on disk: `.Sent`; empty for the inbox), made where it is missing.
    pub fn folder(&mut self, maildir: &str, folder: &str) -> PathBuf {
        let dir = self.root.join(maildir).join(folder);
        if self.made.insert(dir.clone()) {
            let mut at = self.root.clone();
            for level in maildir.split('/').chain([folder]) {
                at.push(level);
                make(&at);
                if at == self.root.join(maildir) || level == folder {
                    ["tmp", "new", "cur"].iter().for_each(|sub| make(&at.join(sub)));
                }
            }
        }
        dir
    }

    /// A message that came in (`new`) or went out (`cur`, seen) at this time, in seconds since 1970.
    pub fn put(&mut self, maildir: &str, folder: &str, place: Place, seconds: u64, bytes: &[u8]) -> PathBuf {
        let path = self.place(maildir, folder, place, seconds, &format!("S={},H={}", bytes.len(), hash(bytes)));
        write(&path, bytes, seconds);
        path
    }

    /// The same message for another owner, or under another name: a hard link, which costs the disk much less than a file.
    pub fn link(&mut self, file: &Path, maildir: &str, folder: &str, place: Place, seconds: u64) -> PathBuf {
        let name = file.file_name().unwrap().to_str().unwrap();
        let fields = name.split_once(',').unwrap().1.split(':').next().unwrap();
        let path = self.place(maildir, folder, place, seconds, fields);
        fs::hard_link(file, &path).unwrap();
        path
    }

    /// The next path in a folder.
    fn place(&mut self, maildir: &str, folder: &str, place: Place, seconds: u64, fields: &str) -> PathBuf {
        let (sub, flags) = if place == Place::New { ("new", "") } else { ("cur", ":2,S") };
        self.count += 1;
        let name = format!("{seconds}.M000001P7Q{}.host,{fields}{flags}", self.count);
        self.folder(maildir, folder).join(sub).join(name)
    }
}

/// A file that is its owner's alone, of this time.
pub fn write(path: &Path, bytes: &[u8], seconds: u64) {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(bytes).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

/// A folder that is its owner's alone, where there is none.
pub fn make(path: &Path) {
    if !path.is_dir() {
        DirBuilder::new().mode(0o700).create(path).unwrap();
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    }
}

/// The script of this name, as it lies in the sources.
pub fn script(name: &str) -> String {
    format!("{}/scripts/{name}", env!("CARGO_MANIFEST_DIR"))
}
