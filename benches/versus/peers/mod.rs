//! What is measured: each started privately on free ports of 127.0.0.1, below a temporary folder, and ended by its process's number.

mod haproxy;
mod mailstore;
mod nginx;

use std::collections::HashMap;
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::options::Program;
use crate::origin::Origin;
use crate::tls::Files;
use crate::{Kind, Outcome};

/// For one to begin, or to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many sessions each must be ready for.
pub(crate) const SESSIONS_MAX: usize = 6000;

/// What they stand between, and where they may write.
pub(crate) struct Stage<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) files: &'a Files,
    pub(crate) dir: &'a Path,
    /// Below which mail is kept.
    pub(crate) spool: &'a Path,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Direct,
    Haproxy,
    Nginx,
    MailStore(Program),
}

impl Which {
    pub(crate) fn name(&self) -> &str {
        match self {
            Which::Direct => "direct",
            Which::Haproxy => "haproxy",
            Which::Nginx => "nginx",
            Which::MailStore(program) => &program.label,
        }
    }
}

/// How a peer is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct How {
    /// Keep durably.
    pub(crate) sync: bool,
}

/// One that runs.
pub(crate) struct Peer {
    pub(crate) which: Which,
    at: HashMap<(Kind, bool), SocketAddr>,
    daemon: Option<Daemon>,
    /// So much less work is given to it: it is slow.
    pub(crate) slow: usize,
}

impl Peer {
    /// None where it is not installed.
    pub(crate) fn start(which: &Which, how: How, stage: &Stage<'_>) -> Outcome<Option<Peer>> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = stage.dir.join(format!("{number}-{}", which.name()));
        fs::create_dir(&dir)?;
        let mut peer = Peer { which: which.clone(), at: HashMap::new(), daemon: None, slow: 1 };
        let started = match which {
            Which::Direct => {
                for kind in Kind::ALL {
                    peer.at.extend([false, true].map(|tls| ((kind, tls), stage.origin.at(kind, tls))));
                }
                return Ok(Some(peer));
            }
            Which::Haproxy => haproxy::start(stage, &dir)?,
            Which::Nginx => nginx::start(stage, &dir)?,
            Which::MailStore(program) => Some(mailstore::start(stage, &dir, program, how)?),
        };
        let Some((daemon, at)) = started else { return Ok(None) };
        (peer.daemon, peer.at) = (Some(daemon), at);
        for at in peer.at.values() {
            peer.daemon.as_mut().ok_or("no process")?.answers(*at)?;
        }
        Ok(Some(peer))
    }

    pub(crate) fn at(&self, kind: Kind, tls: bool) -> Option<SocketAddr> {
        self.at.get(&(kind, tls)).copied()
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(|daemon| daemon.child.id())
    }
}

type Started = Option<(Daemon, HashMap<(Kind, bool), SocketAddr>)>;

/// Which processes are ours: they are ended when we are interrupted.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

pub(crate) fn end_all() {
    for pid in RUNNING.lock().map(|mut running| std::mem::take(&mut *running)).unwrap_or_default() {
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM);
    }
}

/// A process of a peer; it ends when this goes.
struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    fn spawn(command: &mut Command, log: &Path) -> Outcome<Daemon> {
        let file = File::create(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
        if let Ok(mut running) = RUNNING.lock() {
            running.push(child.id());
        }
        Ok(Daemon { child, log: log.to_owned() })
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until somebody listens there.
    fn answers(&mut self, at: SocketAddr) -> Outcome<()> {
        self.until(&format!("it does not listen on {at}"), |_| TcpStream::connect(at).is_ok())
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&Daemon) -> bool) -> Outcome<()> {
        let begun = Instant::now();
        while !done(self) {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{} ended ({status}):\n{}", self.log.display(), self.log()).into());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("{}: {what}:\n{}", self.log.display(), self.log()).into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = self.child.id();
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM);
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Ok(mut running) = RUNNING.lock() {
            running.retain(|other| *other != pid);
        }
    }
}

/// A port that is free now.
fn free() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Where a program is, in the places where Debian has them.
fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).chain(["/usr/sbin".into()]).collect();
    names.iter().find_map(|name| dirs.iter().map(|dir| dir.join(name)).find(|file| file.is_file()))
}
