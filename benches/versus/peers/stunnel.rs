//! stunnel, for TLS only: one service ends the client's, a second one makes the server's, whose certificate is checked.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use super::{Daemon, Stage, Started, free, program};
use crate::{Kind, Outcome};

pub(super) fn start(stage: &Stage<'_>, dir: &Path) -> Outcome<Started> {
    let Some(stunnel) = program(&["stunnel4", "stunnel"]) else { return Ok(None) };
    let mut config =
        "foreground = yes\npid =\ndebug = warning\nsyslog = no\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n"
            .to_owned();
    let mut at = HashMap::new();
    for kind in Kind::ALL {
        let (name, front, middle, back) = (kind.name(), free()?, free()?, stage.origin.at(kind, true));
        config += &format!(
            "[{name}-in]\naccept = {front}\nconnect = {middle}\ncert = {}\nTIMEOUTidle = 43200\n\
             [{name}-out]\nclient = yes\naccept = {middle}\nconnect = {back}\nverifyChain = yes\nCAfile = {}\ncheckHost = localhost\n\
             TIMEOUTidle = 43200\n",
            stage.files.both.display(),
            stage.files.authority.display()
        );
        at.insert((kind, true), front);
    }
    let file = dir.join("stunnel.conf");
    std::fs::write(&file, config)?;
    let daemon = Daemon::spawn(Command::new(stunnel).arg(&file), &dir.join("log"))?;
    Ok(Some((daemon, at)))
}
