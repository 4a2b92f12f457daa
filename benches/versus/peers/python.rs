//! A small threaded proxy in Python as the original program was: line by line, each message saved in a Maildir. `proxy.py` is ours.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use super::{Daemon, Stage, Started, free};
use crate::{Kind, Outcome};

const PYTHON: &str = "/usr/bin/python3";

pub(super) fn start(stage: &Stage<'_>, dir: &Path) -> Outcome<Started> {
    if !Path::new(PYTHON).is_file() {
        return Ok(None);
    }
    let spool = stage.spool.join(dir.file_name().unwrap_or_default());
    let mut command = Command::new(PYTHON);
    command.arg("-B").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/versus/proxy.py"));
    command.arg(spool).args([&stage.files.chain, &stage.files.key, &stage.files.authority]);
    let mut at = HashMap::new();
    for kind in Kind::ALL {
        for tls in [false, true] {
            let (front, back) = (free()?.port(), stage.origin.at(kind, tls).port());
            command.arg(format!("{}:{}:{front}:{back}", kind.name(), if tls { "tls" } else { "plain" }));
            at.insert((kind, tls), ([127, 0, 0, 1], front).into());
        }
    }
    Ok(Some((Daemon::spawn(&command, &dir.join("log"))?, at)))
}
