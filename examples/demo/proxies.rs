//! The real `start_proxies`, with an INI file as an administrator writes it.

use std::fs::{self, File, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::unistd::{Pid, geteuid};

use crate::dovecot::MAIL_USER;
use crate::mailhost::{Certificate, Door, Host};
use crate::stage::{Context, Result, Stage, wait_until};

pub(crate) struct Proxies {
    pub(crate) pid: Pid,
    pub(crate) smtp: Door,
    pub(crate) pop3: Door,
    pub(crate) imap: Door,
    /// Whom clients have to trust.
    pub(crate) authority: PathBuf,
    log: PathBuf,
}

impl Proxies {
    /// Starts it before this host, with the same certificate, and waits until it is ready.
    pub(crate) fn start(stage: &Stage, host: &Host, certificate: &Certificate) -> Result<Proxies> {
        let file = |name: &str, text: &[u8]| {
            let file = stage.dir().join(name);
            fs::write(&file, text).when(format_args!("writing {name}")).map(|()| file)
        };
        let authority = file("authority.pem", &certificate.authority)?;
        file("certificate.pem", &certificate.chain)?;
        let key = file("key.pem", b"")?;
        fs::set_permissions(&key, Permissions::from_mode(0o600)).when("closing key.pem to others")?;
        file("key.pem", &certificate.key)?;
        let ini = stage.dir().join("mailstore.ini");
        fs::write(&ini, configuration(host)).when("writing mailstore.ini")?;
        let log = stage.dir().join("log");
        let stderr = File::create(&log).when("making the log")?;
        let mut command = Command::new(program()?);
        command.arg("-c").arg(&ini).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let pid = stage.spawn(&mut command)?;

        let (mut text, mut ended) = (String::new(), None);
        wait_until(|| {
            ended = stage.ended(pid);
            text = fs::read_to_string(&log).unwrap_or_default();
            ended.is_some() || text.lines().any(|line| line.ends_with(" ready"))
        });
        let listens = |name: &str| {
            let found = text.lines().find_map(|line| address(line, name)).filter(|_| ended.is_none());
            found.ok_or_else(|| format!("start_proxies is not ready; its log says:\n{text}"))
        };
        let door =
            |kind: &str| -> Result<Door> { Ok(Door { plain: listens(kind)?, tls: listens(&format!("{kind}:tls"))? }) };
        Ok(Proxies { pid, smtp: door("smtp")?, pop3: door("pop3")?, imap: door("imap")?, authority, log })
    }

    pub(crate) fn log(&self) -> Result<String> {
        fs::read_to_string(&self.log).when("reading the log of start_proxies")
    }
}

fn configuration(host: &Host) -> String {
    let user = if geteuid().is_root() { format!("user = {MAIL_USER}\n") } else { String::new() };
    let mut text = format!("[mailstore]\nspool = mailSpool\nshutdown_grace = 5s\n{user}");
    for (kind, upstream) in [("smtp", host.smtp), ("pop3", host.pop3), ("imap", host.imap)] {
        let Door { plain, tls } = upstream;
        text += &format!(
            "\n[{kind}]\nlisten = 127.0.0.1:0\nupstream = {plain}\nupstream_tls = starttls\nupstream_ca = authority.pem\n"
        );
        text += &format!(
            "\n[{kind}:tls]\nlisten = 127.0.0.1:0\nlisten_tls = implicit\ncertificate = certificate.pem\n\
             private_key = key.pem\nupstream = {tls}\nupstream_ca = authority.pem\n"
        );
    }
    text
}

/// The address in `… NAME listening on ADDRESS -> …`.
fn address(line: &str, name: &str) -> Option<SocketAddr> {
    let (before, after) = line.split_once(" listening on ")?;
    let (address, _) = after.split_once(" -> ")?;
    (before.rsplit(' ').next() == Some(name)).then(|| address.parse().ok())?
}

/// Cargo puts examples into a folder below that of the programs.
fn program() -> Result<PathBuf> {
    let demo = std::env::current_exe().when("finding start_proxies")?;
    let folder =
        demo.parent().and_then(|examples| examples.parent()).ok_or("finding start_proxies: no folder above")?;
    Ok(folder.join("start_proxies"))
}
