//! What is measured: each started privately on free ports of 127.0.0.1, below a temporary folder, and ended by its process's number.

mod dovecot;
mod haproxy;
mod mailstore;
mod nginx;
mod postfix;
mod python;
mod stunnel;

use std::collections::HashMap;
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
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
    Stunnel,
    Dovecot,
    Postfix,
    Python,
    MailStore(Program),
    /// No peer: what a durable file costs this machine.
    Machine,
    /// The same with its SHA-256.
    MachineHash,
}

impl Which {
    pub(crate) fn name(&self) -> &str {
        match self {
            Which::Direct => "direct",
            Which::Haproxy => "haproxy",
            Which::Nginx => "nginx",
            Which::Stunnel => "stunnel",
            Which::Dovecot => "dovecot",
            Which::Postfix => "postfix",
            Which::Python => "python",
            Which::Machine => "machine",
            Which::MachineHash => "machine+hash",
            Which::MailStore(program) => &program.label,
        }
    }

    /// Whether it has something to show where messages are kept durably, or where they are not.
    pub(crate) fn is_for(&self, sync: bool) -> bool {
        match self {
            Which::MailStore(_) | Which::Postfix => true,
            Which::Machine | Which::MachineHash => sync,
            _ => !sync,
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
    at: Doors,
    daemon: Option<Daemon>,
    /// So much less work is given to it: it is slow.
    pub(crate) slow: usize,
    /// How many idle sessions are asked of it.
    pub(crate) sessions: usize,
    /// Where it keeps mail.
    pub(crate) spool: PathBuf,
}

impl Peer {
    /// None where it is not installed.
    pub(crate) fn start(which: &Which, how: How, stage: &Stage<'_>) -> Outcome<Option<Peer>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = stage.dir.join(format!("{number}-{}", which.name()));
        fs::create_dir(&dir)?;
        let spool = stage.spool.join(dir.file_name().unwrap_or_default());
        let (slow, sessions) = match which {
            Which::Python => (8, 1000),
            // Two connections more for each, and as many threads.
            Which::Stunnel => (1, 1000),
            Which::Postfix => (8, 0),
            _ => (1, SESSIONS_MAX),
        };
        let mut peer = Peer { which: which.clone(), at: Doors::new(), daemon: None, slow, sessions, spool };
        let started = match which {
            Which::Direct => {
                for kind in Kind::ALL {
                    peer.at.extend([false, true].map(|tls| ((kind, tls), stage.origin.at(kind, tls))));
                }
                return Ok(Some(peer));
            }
            Which::Machine | Which::MachineHash => return Ok(Some(peer)),
            Which::Haproxy => haproxy::start(stage, &dir)?,
            Which::Nginx => nginx::start(stage, &dir)?,
            Which::Stunnel => stunnel::start(stage, &dir)?,
            Which::Dovecot => dovecot::start(stage, &dir)?,
            Which::Postfix => postfix::start(stage, &dir)?,
            Which::Python => python::start(stage, &dir)?,
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

    /// Whether it asks for logins.
    pub(crate) fn has_logins(&self) -> bool {
        self.which != Which::Postfix
    }

    /// Waits until it has delivered what it has taken, of which the origin has to have got so many messages then.
    pub(crate) fn delivers(&self, origin: &Origin, taken: u64) -> Outcome<()> {
        let begun = Instant::now();
        while self.which == Which::Postfix
            && (origin.taken.load(Ordering::Relaxed) < taken || !postfix::is_idle(&self.spool))
        {
            if begun.elapsed() > 3 * PATIENCE {
                return Err("it does not deliver what it has taken".into());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// The last lines of its log.
    pub(crate) fn last_words(&self) -> String {
        let log = self.daemon.as_ref().map(Daemon::log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(|daemon| daemon.child.id())
    }
}

/// By protocol, and whether it is with TLS.
type Doors = HashMap<(Kind, bool), SocketAddr>;
/// None where it is not installed.
type Started = Option<(Daemon, Doors)>;

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
    fn spawn(command: &Command, log: &Path) -> Outcome<Daemon> {
        let file = File::create(log)?;
        // It ends with this process, also where that is killed.
        let mut dying = Command::new("setpriv");
        dying.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => dying.env(name, value),
                None => dying.env_remove(name),
            };
        }
        dying.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = dying.spawn().map_err(|e| format!("{command:?}: {e}"))?;
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
