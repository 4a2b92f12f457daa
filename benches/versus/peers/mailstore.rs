//! `start_proxies`, plain and with TLS on both sides.

use std::path::Path;
use std::process::Command;

use super::{Daemon, Doors, How, SESSIONS_MAX, Stage};
use crate::options::Program;
use crate::{Kind, Outcome};

pub(super) fn start(stage: &Stage<'_>, dir: &Path, program: &Program, how: How) -> Outcome<(Daemon, Doors)> {
    let spool = stage.spool.join(dir.file_name().ok_or("no name")?);
    let sync = if how.sync { "yes" } else { "no" };
    let mut ini = format!(
        "[mailstore]\nspool = \"{}\"\nsync = {sync}\nmax_sessions = {SESSIONS_MAX}\n\
         max_sessions_per_client = {SESSIONS_MAX}\nidle_timeout = 1h\n",
        spool.display()
    );
    for kind in Kind::ALL {
        let (name, plain, tls) = (kind.name(), stage.origin.at(kind, false), stage.origin.at(kind, true));
        ini += &format!("[{name}:plain]\nlisten = 127.0.0.1:0\nupstream = {plain}\nupstream_tls = none\n");
        ini += &format!(
            "[{name}:tls]\nlisten = 127.0.0.1:0\nlisten_tls = implicit\ncertificate = {}\nprivate_key = {}\n\
             upstream = localhost:{}\nupstream_ca = {}\n",
            stage.files.chain.display(),
            stage.files.key.display(),
            tls.port(),
            stage.files.authority.display()
        );
    }
    let file = dir.join("mailstore.ini");
    std::fs::write(&file, ini)?;
    let mut command = Command::new(&program.file);
    command.arg("-c").arg(&file).env_remove("RUST_LOG");
    let mut daemon = Daemon::spawn(&command, &dir.join("log"))?;
    daemon.until("it is not ready", |daemon| daemon.log().lines().any(|line| line.trim_end().ends_with(" ready")))?;
    let log = daemon.log();
    let mut at = Doors::new();
    for kind in Kind::ALL {
        for (tls, name) in [(false, "plain"), (true, "tls")] {
            let start = format!(" {}:{name} listening on ", kind.name());
            let found = log.lines().find_map(|line| line.split_once(&start)?.1.split_whitespace().next());
            let found = found.ok_or_else(|| format!("no listener {start} in its log:\n{log}"))?;
            at.insert((kind, tls), found.parse()?);
        }
    }
    Ok((daemon, at))
}
