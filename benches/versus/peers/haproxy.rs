//! HAProxy: `mode tcp`; with TLS it ends the client's and makes one of its own to the server, whose certificate it checks.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use super::{Daemon, SESSIONS_MAX, Stage, Started, free, program};
use crate::{Kind, Outcome};

pub(super) fn start(stage: &Stage<'_>, dir: &Path) -> Outcome<Started> {
    let Some(haproxy) = program(&["haproxy"]) else { return Ok(None) };
    let mut config = format!(
        "global\n maxconn {SESSIONS_MAX}\ndefaults\n mode tcp\n timeout connect 10s\n timeout client 1h\n timeout server 1h\n"
    );
    let mut at = HashMap::new();
    for kind in Kind::ALL {
        for tls in [false, true] {
            let (front, back) = (free()?, stage.origin.at(kind, tls));
            let (bind, server) = if tls {
                let (both, authority) = (stage.files.both.display(), stage.files.authority.display());
                (
                    format!(" ssl crt {both}"),
                    format!(" ssl verify required ca-file {authority} verifyhost localhost sni str(localhost)"),
                )
            } else {
                Default::default()
            };
            let name = kind.name();
            config += &format!("listen {name}-{tls}\n bind {front}{bind}\n server origin {back}{server}\n");
            at.insert((kind, tls), front);
        }
    }
    let file = dir.join("haproxy.cfg");
    std::fs::write(&file, config)?;
    let daemon = Daemon::spawn(Command::new(haproxy).args(["-db", "-f"]).arg(&file), &dir.join("log"))?;
    Ok(Some((daemon, at)))
}
