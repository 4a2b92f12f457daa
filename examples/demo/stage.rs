//! What the demo leaves nothing of: its folder and the programs it started, each known by its process id.
//!
//! [`Stage::close`] ends them all and removes the folder; it happens when the stage is dropped (so after a failure and a panic too) and on
//! SIGINT, SIGTERM and SIGHUP, after which the demo exits with 128 and the signal's number. Only while it stays until it is asked to end
//! ([`Stage::asked_to_end`]) a signal is the answer to that.

use std::fmt::Display;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// A sentence for whoever runs the demo.
pub(crate) type Result<T> = std::result::Result<T, String>;

/// Says what was tried when it failed.
pub(crate) trait Context<T> {
    fn when(self, trying: impl Display) -> Result<T>;
}

impl<T, E: Display> Context<T> for std::result::Result<T, E> {
    fn when(self, trying: impl Display) -> Result<T> {
        self.map_err(|e| format!("{trying}: {e}"))
    }
}

/// For a program to start or to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(10);

pub(crate) struct Stage {
    dir: PathBuf,
    keep: bool,
    /// None once all is cleared away: nothing is started from then on.
    running: Mutex<Option<Vec<Child>>>,
    interrupted: AtomicBool,
    /// Set by the signal itself.
    signalled: Arc<AtomicBool>,
    /// Where the next signal goes instead of ending the demo at once.
    asks_to_end: Mutex<Option<Sender<()>>>,
}

impl Stage {
    /// Makes the folder, and watches for signals from then on. Others may walk through it only where `shared` is asked for.
    pub(crate) fn open(keep: bool, shared: bool) -> Result<Arc<Stage>> {
        let temp = std::env::temp_dir();
        // Root's own may be closed to others. And Dovecot's sockets lie in it: a Unix socket's path has room for 108 bytes.
        let temp = if shared || temp.as_os_str().len() > 40 { Path::new("/tmp") } else { &temp };
        let dir =
            tempfile::Builder::new().prefix("mailstore-demo-").tempdir_in(temp).when("making a temporary folder")?;
        let dir = dir.keep();
        let stage = Stage {
            dir,
            keep,
            running: Mutex::new(Some(Vec::new())),
            interrupted: AtomicBool::new(false),
            signalled: Arc::default(),
            asks_to_end: Mutex::new(None),
        };
        let stage = Arc::new(stage);
        if shared {
            fs::set_permissions(&stage.dir, Permissions::from_mode(0o711)).when("opening the temporary folder")?;
        }
        stage.watch_signals()?;
        Ok(stage)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts a program, in a process group of its own: a Ctrl-C is for the demo, which ends the rest in order.
    pub(crate) fn spawn(&self, command: &mut Command) -> Result<Pid> {
        let mut running = self.running();
        let running = running.as_mut().ok_or("the demo was interrupted")?;
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.process_group(0).spawn().when(format_args!("starting {program}"))?;
        let pid = Pid::from_raw(child.id().cast_signed());
        running.push(child);
        Ok(pid)
    }

    /// How the program ended, if it did.
    pub(crate) fn ended(&self, pid: Pid) -> Option<ExitStatus> {
        let mut running = self.running();
        let child = running.as_mut()?.iter_mut().find(|child| child.id().cast_signed() == pid.as_raw())?;
        child.try_wait().ok().flatten()
    }

    /// Ends a program as an administrator does, with SIGTERM.
    pub(crate) fn stop(&self, pid: Pid) -> Result<ExitStatus> {
        kill(pid, Signal::SIGTERM).when("sending SIGTERM")?;
        let mut status = None;
        wait_until(|| {
            status = self.ended(pid);
            status.is_some()
        });
        status.ok_or_else(|| format!("process {pid} did not end within {} s after SIGTERM", PATIENCE.as_secs()))
    }

    /// Whether a signal is ending the demo: what fails then is no failure. A read that it interrupts fails before the thread that watches has heard of it.
    pub(crate) fn interrupted(&self) -> bool {
        let interrupted = || self.interrupted.load(Ordering::SeqCst);
        wait_until(|| interrupted() || !self.signalled.load(Ordering::SeqCst));
        interrupted()
    }

    /// Something comes out when there is a line on standard input (nothing at all there is none), or a signal.
    pub(crate) fn asked_to_end(&self) -> Result<Receiver<()>> {
        let (ask, asked) = mpsc::channel();
        *self.asks_to_end() = Some(ask.clone());
        let read = move || {
            if std::io::stdin().read_line(&mut String::new()).is_ok_and(|octets| octets > 0) {
                let _ = ask.send(());
            }
        };
        thread::Builder::new().spawn(read).when("watching the standard input")?;
        Ok(asked)
    }

    /// Ends all that still runs and removes the folder. Once is enough.
    pub(crate) fn close(&self) {
        let mut running = self.running();
        let Some(mut children) = running.take() else { return };
        for child in &mut children {
            end(child);
        }
        if self.keep {
            say!("The folder stays, as asked for: {}", self.dir.display());
        } else if let Err(e) = fs::remove_dir_all(&self.dir) {
            eprintln!("removing {}: {e}", self.dir.display());
        }
    }

    fn watch_signals(self: &Arc<Stage>) -> Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).when("watching for signals")?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&self.signalled)).when("watching for signals")?;
        }
        let stage = Arc::clone(self);
        let watch = move || {
            for signal in signals.forever() {
                if stage.asks_to_end().take().is_some_and(|ask| ask.send(()).is_ok()) {
                    stage.signalled.store(false, Ordering::SeqCst);
                    continue;
                }
                stage.interrupted.store(true, Ordering::SeqCst);
                eprintln!("\ninterrupted: ending what was started");
                stage.close();
                std::process::exit(128 + signal);
            }
        };
        thread::Builder::new().spawn(watch).when("watching for signals")?;
        Ok(())
    }

    fn asks_to_end(&self) -> MutexGuard<'_, Option<Sender<()>>> {
        self.asks_to_end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, Option<Vec<Child>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// SIGTERM, and after a while SIGKILL, also for children of its own that it left behind.
fn end(child: &mut Child) {
    let pid = Pid::from_raw(child.id().cast_signed());
    if child.try_wait().is_ok_and(|status| status.is_none()) {
        let _ = kill(pid, Signal::SIGTERM);
        if !wait_until(|| child.try_wait().is_ok_and(|status| status.is_some())) {
            let _ = killpg(pid, Signal::SIGKILL);
            let _ = child.wait();
        }
    }
}

/// Whether it came true within [`PATIENCE`].
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(STEP);
    }
    true
}
