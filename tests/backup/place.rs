//! A spool, a folder for its snapshots, and the scripts as they are installed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::client::run_with_input;
use crate::support::dovecot::{entries, give_away};
use crate::support::lab::{is_root, program};
use crate::support::spool::hash;
use crate::support::{Lab, Output};

pub(crate) const JOE: &str = "example.com/joe";

pub(crate) struct Place {
    pub(crate) lab: Lab,
    pub(crate) dir: PathBuf,
    pub(crate) spool: PathBuf,
    pub(crate) dest: PathBuf,
    /// What is put before the command: another user, say.
    pub(crate) by: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

impl Place {
    /// Prepared, with an empty spool. Everything belongs to the user that the scripts are run by.
    pub(crate) fn new(maildir: &str) -> Place {
        Place::whose(maildir, false)
    }

    /// By whom the tests are run by, and, where that is root, by somebody else as well.
    pub(crate) fn both(maildir: &str) -> Vec<Place> {
        if is_root() {
            vec![Place::whose(maildir, false), Place::whose(maildir, true)]
        } else {
            vec![Place::new(maildir)]
        }
    }

    fn whose(maildir: &str, ordinary: bool) -> Place {
        let place = Place::unprepared(maildir, ordinary);
        place.backup(&["--init"]).ok();
        place
    }

    pub(crate) fn unprepared(maildir: &str, ordinary: bool) -> Place {
        let lab = Lab::new();
        let dir = lab.folder("place");
        install(&dir);
        fs::write(dir.join("mailstore.ini"), format!("[mailstore]\nspool = mailSpool\nmaildir = {maildir}\n")).unwrap();
        let (spool, dest) = (dir.join("mailSpool"), dir.join("backups/dest"));
        for folder in [&spool, dest.parent().unwrap()] {
            fs::create_dir(folder).unwrap();
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
        }
        let mut by = Vec::new();
        if ordinary {
            give_away(&dir);
            by = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"].map(str::to_owned).to_vec();
        }
        Place { lab, dir, spool, dest, by, env: Vec::new() }
    }

    pub(crate) fn is_ordinary(&self) -> bool {
        !self.by.is_empty() || !is_root()
    }

    /// The backup with these options, to the place's folder.
    pub(crate) fn backup(&self, options: &[&str]) -> Output {
        let words = self.words(options);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run_with_input(words[0], &words[1..], b"", &self.dir)
    }

    /// The same; not waited for.
    pub(crate) fn spawn(&self, options: &[&str]) -> Child {
        let words = self.words(options);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(&self.dir).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn words(&self, options: &[&str]) -> Vec<String> {
        let mut words = vec!["/usr/bin/env".to_owned()];
        words.extend(self.env.iter().map(|(name, value)| format!("{name}={value}")));
        words.extend(self.by.iter().cloned());
        let ini = self.dir.join("mailstore.ini");
        let command = [self.tool("backup"), PathBuf::from("-c"), ini, self.dest.clone()];
        words.extend(command.iter().map(|word| word.to_str().unwrap().to_owned()));
        words.extend(options.iter().map(|&word| word.to_owned()));
        words
    }

    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(format!("mailstore-{name}"))
    }

    /// A run that makes a snapshot; its folder.
    #[track_caller]
    pub(crate) fn snapshot(&self, options: &[&str]) -> PathBuf {
        let before = self.snapshots();
        let output = self.backup(options).ok();
        assert_eq!(output.errors(), "");
        let new: Vec<PathBuf> = self.snapshots().into_iter().filter(|path| !before.contains(path)).collect();
        assert_eq!(new.len(), 1, "{}", output.text());
        assert_eq!(fs::canonicalize(self.dest.join("latest")).unwrap(), fs::canonicalize(&new[0]).unwrap());
        assert!(!self.dest.join("unfinished").exists());
        new[0].clone()
    }

    /// What has the name of a snapshot, the oldest first.
    pub(crate) fn snapshots(&self) -> Vec<PathBuf> {
        let mut found = entries(&self.dest);
        found.retain(|path| is_date(path.file_name().unwrap().to_str().unwrap()));
        found.sort();
        found
    }

    /// A message in this folder of the spool (`example.com/joe/.Sent`), named as MailStore names it; its file.
    pub(crate) fn put(&self, folder: &str, sub: &str, bytes: &[u8]) -> PathBuf {
        let dir = self.spool.join(folder);
        let maildir = folder.rsplit_once("/.").map_or(dir.clone(), |(maildir, _)| self.spool.join(maildir));
        for at in [&maildir, &dir] {
            for sub in ["tmp", "new", "cur"] {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(at.join(sub)).unwrap();
            }
        }
        let flags = if sub == "cur" { ":2,S" } else { "" };
        let hash = hash(bytes);
        let number = u32::from_str_radix(&hash[..8], 16).unwrap();
        let name = format!("1700000000.M1P1Q{number}.host,S={},H={hash}{flags}", bytes.len());
        let file = dir.join(sub).join(name);
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        if !self.by.is_empty() {
            give_away(&self.spool);
        }
        file
    }

    /// The file in this snapshot that a file of the spool is saved as.
    pub(crate) fn in_snapshot(&self, snapshot: &Path, file: &Path) -> PathBuf {
        snapshot.join("mailSpool").join(file.strip_prefix(&self.spool).unwrap())
    }
}

/// The scripts, as an installation puts them: the tools in one folder, a link to each in another.
fn install(dir: &Path) {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let lib = dir.join("lib/mailstore");
    fs::create_dir_all(lib.join("lib/mailstore")).unwrap();
    fs::create_dir(dir.join("bin")).unwrap();
    for file in entries(&sources.join("lib/mailstore")).iter().filter(|file| file.is_file()) {
        fs::copy(file, lib.join("lib/mailstore").join(file.file_name().unwrap())).unwrap();
    }
    for tool in ["backup", "verify", "import"].into_iter().filter(|tool| sources.join(tool).exists()) {
        fs::copy(sources.join(tool), lib.join(tool)).unwrap();
        symlink(format!("../lib/mailstore/{tool}"), dir.join("bin").join(format!("mailstore-{tool}"))).unwrap();
    }
}

pub(crate) fn is_date(name: &str) -> bool {
    name.len() == 17
        && name.bytes().enumerate().all(|(at, b)| match at {
            4 | 7 => b == b'-',
            10 => b == b'T',
            _ => b.is_ascii_digit(),
        })
}

/// Every file below a folder, by its path in it, with its bytes.
pub(crate) fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    files(root).into_iter().map(|(below, path)| (below, fs::read(path).unwrap())).collect()
}

/// Every file below a folder, by its path in it. What goes away meanwhile may be missing.
pub(crate) fn files(root: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => todo.push(entry.path()),
                Ok(_) => {
                    let below = entry.path().strip_prefix(root).unwrap().to_str().expect("UTF-8").to_owned();
                    found.insert(below, entry.path());
                }
                Err(_) => {}
            }
        }
    }
    found
}

/// The messages below a folder, each by its owner's folder and its hash, as often as it is there.
pub(crate) fn messages(root: &Path) -> Vec<String> {
    let mut found: Vec<String> = files(root)
        .into_keys()
        .filter_map(|below| {
            let (folder, hash) = below.split_once(",H=")?;
            let owner: Vec<&str> = folder.split('/').take(2).collect();
            Some(format!("{} {}", owner.join("/"), &hash[..64]))
        })
        .collect();
    found.sort();
    found
}

pub(crate) fn inode(file: &Path) -> u64 {
    fs::metadata(file).unwrap_or_else(|e| panic!("{}: {e}", file.display())).ino()
}

/// A program of this name that is found before the real one; `script` sees the real one as $real.
pub(crate) fn stand_in(place: &mut Place, name: &str, script: &str) {
    let (folder, real) = (place.lab.folder("path"), program(name));
    let file = folder.join(name);
    fs::write(&file, format!("#!/bin/sh\nreal={}\n{script}\n", real.display())).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    place.env.push(("PATH".to_owned(), path));
}
