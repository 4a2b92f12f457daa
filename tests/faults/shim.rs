//! The shim (`tests/support/shim.c`) as the tests use it: built, put before the program, and its trace read.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Lab, preload};

pub(crate) struct Shim {
    library: PathBuf,
}

/// What the shim is to do in one run of the program.
#[derive(Default)]
pub(crate) struct Orders<'a> {
    pub(crate) trace: Option<&'a Path>,
    pub(crate) kill: Option<usize>,
    pub(crate) half: bool,
    pub(crate) rules: Option<&'a Path>,
}

impl Shim {
    pub(crate) fn build(lab: &Lab) -> Shim {
        Shim { library: preload::shim(lab, "shim") }
    }

    /// The environment for a program whose spool is this one.
    pub(crate) fn environment(&self, spool: &Path, orders: &Orders<'_>) -> Vec<(&'static str, OsString)> {
        let mut all: Vec<(&str, OsString)> = vec![("LD_PRELOAD", (&self.library).into()), ("SHIM_ROOT", spool.into())];
        all.extend(orders.trace.map(|file| ("SHIM_TRACE", file.into())));
        all.extend(orders.kill.map(|step| ("SHIM_KILL", step.to_string().into())));
        all.extend(orders.half.then(|| ("SHIM_HALF", "1".into())));
        all.extend(orders.rules.map(|file| ("SHIM_RULES", file.into())));
        all
    }
}

/// One step that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) number: usize,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Create {
        inode: u64,
        path: PathBuf,
    },
    Write {
        inode: u64,
        offset: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        inode: u64,
        len: usize,
    },
    Sync {
        inode: u64,
    },
    SyncDir {
        path: PathBuf,
    },
    /// All that lies on the file system.
    SyncAll,
    MakeDir {
        path: PathBuf,
    },
    RemoveDir {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink {
        path: PathBuf,
    },
    /// To the peer with this port, from this one of ours.
    Send {
        port: u16,
        local: u16,
        bytes: Vec<u8>,
    },
    Receive,
}

/// All steps of a trace; a step that was begun and not recorded in whole when the program died is none.
pub(crate) fn read(trace: &Path) -> Vec<Step> {
    let bytes = fs::read(trace).unwrap_or_default();
    let mut rest = &bytes[..];
    let mut steps = Vec::new();
    while let Some(end) = rest.iter().position(|&b| b == b'\n') {
        let line = std::str::from_utf8(&rest[..end]).expect("a line of the trace");
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<usize>().unwrap_or_else(|_| panic!("{line}"));
        let path = |at: usize| PathBuf::from(words[at]);
        rest = &rest[end + 1..];
        let mut payload = |len: usize| {
            let bytes = rest.get(..len)?.to_vec();
            rest = rest.get(len + 1..)?;
            Some(bytes)
        };
        let what = match words[1] {
            "create" => What::Create { inode: number(2) as u64, path: path(3) },
            "write" => match payload(number(4)) {
                Some(bytes) => What::Write { inode: number(2) as u64, offset: number(3), bytes },
                None => break,
            },
            "truncate" => What::Truncate { inode: number(2) as u64, len: number(3) },
            "sync" => What::Sync { inode: number(2) as u64 },
            "syncdir" => What::SyncDir { path: path(2) },
            "syncfs" => What::SyncAll,
            "mkdir" => What::MakeDir { path: path(2) },
            "rmdir" => What::RemoveDir { path: path(2) },
            "rename" => What::Rename { from: path(2), to: path(3) },
            "link" => What::Link { from: path(2), to: path(3) },
            "unlink" => What::Unlink { path: path(2) },
            "send" => match payload(number(4)) {
                Some(bytes) => What::Send { port: number(2) as u16, local: number(3) as u16, bytes },
                None => break,
            },
            "recv" => match payload(number(3)) {
                Some(_) => What::Receive,
                None => break,
            },
            other => panic!("a step of no known kind: {other}"),
        };
        steps.push(Step { number: number(0), what });
    }
    steps
}
