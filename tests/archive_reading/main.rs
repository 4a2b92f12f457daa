//! What was kept is read with mail programs, through a Dovecot that `scripts/dovecot-archive` sets up: the same for 2.3 and 2.4.

#[path = "../support/mod.rs"]
mod support;

mod logins;
mod rights;
mod serving;
mod setting_up;

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use support::archive::{ARCHIVE_PASSWORD, Archive, at, log_in, read, script, try_log_in};
use support::client::{run, run_with_input};
use support::dovecot::{Configured, Version, entries, mail_names, owned};
use support::lab::is_root;
use support::spool::hash;
use support::*;

/// Each of these is a test for either version.
macro_rules! for_both_versions {
    ($($name:ident),+ $(,)?) => {
        mod dovecot_2_3 {
            $(#[test] fn $name() { super::$name($crate::Version::V23) })+
        }
        mod dovecot_2_4 {
            $(#[test] fn $name() { if $crate::Version::V24.is_here() { super::$name($crate::Version::V24) } })+
        }
    };
}
use for_both_versions;

const JOE: &str = "joe@example.com";

pub(crate) fn message(subject: &str) -> Vec<u8> {
    format!("From: ann@example.org\r\nMessage-ID: <{subject}@example.org>\r\nSubject: {subject}\r\n\r\n.\r\nno newline")
        .into_bytes()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Joe's mail: five folders, one that IMAP writes in its own way, one that only looks like another kind of mailbox.
pub(crate) fn filled(lab: &Lab, shared: &str) -> Archive {
    let archive = Archive::new(lab, shared);
    for (folder, subject, flags) in [
        ("", "first", ""),
        ("", "second", ""),
        ("", "trashed", ":2,ST"),
        (".Sent", "sent", ":2,S"),
        (".Work.Reports", "report", ""),
        (".&AMQ-rger", "trouble", ""),
        (".100%25", "percent", ""),
        (".imap", "imap", ""),
    ] {
        archive.put("example.com/joe", folder, &message(subject), flags);
    }
    archive
}

pub(crate) fn folders(wire: &mut Wire, command: &str) -> BTreeSet<String> {
    let answer = text(&wire.imap_ok(command));
    let lines = answer.lines().filter(|line| line.starts_with("* LIST") || line.starts_with("* LSUB"));
    lines.map(|line| line.split(" \".\" ").nth(1).expect("a separator").trim_matches('"').to_owned()).collect()
}

/// All below the spool: the path without flags, and what is in it.
pub(crate) fn contents(root: &Path) -> BTreeSet<(PathBuf, Vec<u8>)> {
    let mut found = BTreeSet::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in entries(&dir) {
            let name = entry.file_name().unwrap().to_str().unwrap();
            let name = name.split(":2,").next().unwrap().to_owned();
            // Dovecot moves what it has shown to `cur`.
            let parent = entry.parent().unwrap();
            let place = if parent.ends_with("new") { parent.with_file_name("cur") } else { parent.to_owned() };
            if entry.is_dir() {
                found.insert((place.join(name), Vec::new()));
                todo.push(entry);
            } else {
                found.insert((place.join(name), fs::read(entry).unwrap()));
            }
        }
    }
    found
}

/// Fails if anything came, went, or has other contents; tells the paths.
#[track_caller]
pub(crate) fn unchanged(root: &Path, before: &BTreeSet<(PathBuf, Vec<u8>)>) {
    let now = contents(root);
    let differing: Vec<&PathBuf> = now.symmetric_difference(before).map(|(path, _)| path).collect();
    assert!(differing.is_empty(), "not as before: {differing:#?}");
}
