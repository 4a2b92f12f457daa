//! `start_proxies` as the soak runs it: every kind of door, small limits, a configuration that changes.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{io, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Outcome;
use crate::log::Log;
use crate::mailhost::{Certificate, Host, Kind};
use crate::messages::SIZE_MAX;
use crate::notebook::Notebook;
use crate::process::Sample;

/// For a start, a signal's effect, an end.
const PATIENCE: Duration = Duration::from_secs(60);

/// How clients and the host are spoken to at a door. [`Door::Other`] is IMAP with `follow = inbox`, SMTP with `keep = both`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Plain,
    StartTls,
    Tls,
    Other,
}

pub(crate) struct Proxies {
    child: Child,
    /// Its process id, 0 once it has ended: for who has no time to ask.
    running: Arc<AtomicU32>,
    pub(crate) log: Arc<Log>,
    folder: PathBuf,
    text: String,
    doors: Vec<(Kind, Door, SocketAddr)>,
}

impl Proxies {
    /// Starts them before this host and waits until they are ready. `program` is the release build's.
    pub(crate) fn start(
        program: &Path,
        folder: &Path,
        running: Arc<AtomicU32>,
        host: &Host,
        certificate: &Certificate,
        sync: bool,
        notebook: &Arc<Notebook>,
    ) -> Outcome<Proxies> {
        let file = |name: &str, text: &[u8]| {
            let path = folder.join(name);
            fs::write(&path, text).and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o600)))
        };
        file("authority.pem", &certificate.authority)?;
        file("certificate.pem", &certificate.chain)?;
        file("key.pem", &certificate.key)?;
        let text = sections(host, sync);
        file("mailstore.ini", settings(0, &text).as_bytes())?;
        let (child, log) = spawn(program, folder, notebook)?;
        running.store(child.id(), Ordering::SeqCst);
        let mut proxies = Proxies { child, running, log, folder: folder.to_owned(), text, doors: Vec::new() };
        if !proxies.log.wait(PATIENCE, |seen| seen.ready > 0) {
            return Err(format!("start_proxies is not ready; see {}", folder.join("log").display()).into());
        }
        for (name, address) in proxies.log.seen().listeners {
            let (kind, door) = name.split_once(':').unwrap_or((&name, ""));
            let kind = KINDS.iter().find(|(key, _)| *key == kind).ok_or("a listener that was not asked for")?.1;
            let door = DOORS.iter().find(|(key, _)| *key == door).ok_or("a listener that was not asked for")?.1;
            proxies.doors.push((kind, door, address.parse()?));
        }
        Ok(proxies)
    }

    pub(crate) fn doors(&self) -> Vec<(Kind, Door, SocketAddr)> {
        self.doors.clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn sample(&self) -> io::Result<Sample> {
        Sample::of(self.pid())
    }

    /// Has the counters told, and waits for them. False if they do not come.
    pub(crate) fn tell_counters(&self) -> bool {
        let before = self.log.seen().told;
        self.signal(Signal::SIGUSR1) && self.log.wait(PATIENCE, |seen| seen.told > before)
    }

    /// Changes the configuration and has it read. `round` tells which one; a faulty one has to be refused, and is put right
    /// again: the next start reads the same file.
    pub(crate) fn reload(&self, round: usize, faulty: bool) -> bool {
        let file = self.folder.join("mailstore.ini");
        let right = settings(round, &self.text);
        let before = self.log.seen();
        if faulty {
            let refused = fs::write(&file, format!("{right}\n[imap:faulty]\nlisten = nowhere\n")).is_ok()
                && self.signal(Signal::SIGHUP)
                && self.log.wait(PATIENCE, |seen| seen.not_applied > before.not_applied);
            return fs::write(&file, right).is_ok() && refused;
        }
        fs::write(&file, right).is_ok()
            && self.signal(Signal::SIGHUP)
            && self.log.wait(PATIENCE, |seen| seen.reloaded > before.reloaded)
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten()?;
        self.running.store(0, Ordering::SeqCst);
        Some(status)
    }

    /// Stops it as an administrator does; how it ended, if it did in time.
    pub(crate) fn stop(&mut self) -> Option<ExitStatus> {
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                self.log.wait_for_end(PATIENCE);
                return Some(status);
            }
            thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// Starts it once more when it has ended, so that it brings to its place what it had left in `tmp`, and stops it again.
    pub(crate) fn recover(&mut self, program: &Path, notebook: &Arc<Notebook>) -> Outcome<Option<ExitStatus>> {
        (self.child, self.log) = spawn(program, &self.folder, notebook)?;
        self.running.store(self.pid(), Ordering::SeqCst);
        self.log.wait(PATIENCE, |seen| seen.ready > 0);
        Ok(self.stop())
    }

    fn signal(&self, signal: Signal) -> bool {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).is_ok()
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

const KINDS: [(&str, Kind); 3] = [("pop3", Kind::Pop3), ("imap", Kind::Imap), ("smtp", Kind::Smtp)];
const DOORS: [(&str, Door); 4] =
    [("plain", Door::Plain), ("starttls", Door::StartTls), ("tls", Door::Tls), ("other", Door::Other)];

/// In a process group of its own: a Ctrl-C is for the soak, which ends it in order.
fn spawn(program: &Path, folder: &Path, notebook: &Arc<Notebook>) -> Outcome<(Child, Arc<Log>)> {
    let mut command = Command::new(program);
    command.arg("-c").arg(folder.join("mailstore.ini")).env_remove("RUST_LOG").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("{}: {e}", program.display()))?;
    let stderr = child.stderr.take().ok_or("start_proxies has no standard error")?;
    Ok((child, Log::follow(stderr, folder.join("log"), Arc::clone(notebook))))
}

/// What changes from reload to reload. The limits are small, so that they are reached; lines that are looked for are shown by each level.
fn settings(round: usize, sections: &str) -> String {
    let (level, max_sessions, idle) = [("info", 60, 20), ("debug", 90, 20), ("info", 75, 25)][round % 3];
    format!("[mailstore]\nlog = {level}\nmax_sessions = {max_sessions}\nidle_timeout = {idle}s\n{sections}")
}

fn sections(host: &Host, sync: bool) -> String {
    let sync = if sync { "yes" } else { "no" };
    let mut text = format!(
        "spool = mailSpool\nsync = {sync}\nmax_sessions_per_client = 80\nmax_message_size = {SIZE_MAX}\nlogin_timeout = 20s\n\
         shutdown_grace = 20s\n"
    );
    for (key, kind) in KINDS {
        let server = match kind {
            Kind::Pop3 => host.pop3,
            Kind::Imap => host.imap,
            Kind::Smtp => host.smtp,
        };
        for (name, door) in DOORS {
            let (listen_tls, upstream, upstream_tls, more) = match (door, kind) {
                (Door::Plain, _) => ("none", server.plain, "none", ""),
                (Door::StartTls, _) => ("starttls", server.plain, "starttls", ""),
                (Door::Tls, _) => ("implicit", server.tls, "implicit", ""),
                (Door::Other, Kind::Imap) => ("none", server.plain, "none", "follow = inbox\n"),
                (Door::Other, Kind::Smtp) => ("none", server.plain, "none", "keep = both\n"),
                (Door::Other, Kind::Pop3) => ("none", server.tls, "implicit", ""),
            };
            text += &format!(
                "\n[{key}:{name}]\nlisten = 127.0.0.1:0\nlisten_tls = {listen_tls}\nupstream = {upstream}\nupstream_tls = {upstream_tls}\n{more}"
            );
            if listen_tls != "none" {
                text += "certificate = certificate.pem\nprivate_key = key.pem\n";
            }
            if upstream_tls != "none" {
                text += "upstream_ca = authority.pem\n";
            }
        }
    }
    text
}
