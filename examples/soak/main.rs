//! `scripts/soak`: mixed traffic through `start_proxies` for as long as is asked for, with every fault that one machine can make, and the question
//! whether it stays what it was: memory, file descriptors, threads, and every message in the archive.
//!
//! Clients, a mail host in memory ([`mailhost`]) and the administrator who takes mail out of the spool are threads of this program; only
//! `start_proxies` is measured. Everything is on 127.0.0.1 and in a temporary folder. Exit status: 0 nothing was found; 1 something was; 2 wrong usage;
//! 130 interrupted, and nothing was found until then.

/// Prints a line. That nobody reads (`| head`) is no reason to end in disorder. Once it was told to end at once nothing is said: what is found then is its
/// own doing.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write;
        if !$crate::ENDS_AT_ONCE.load(std::sync::atomic::Ordering::SeqCst) {
            let _ = writeln!(std::io::stdout(), $($text)*);
        }
    }};
}

mod clients;
mod course;
mod ledger;
mod log;
#[path = "../mailhost/mod.rs"]
mod mailhost;
mod messages;
mod notebook;
mod process;
mod proxies;
mod random;
mod report;
mod spool;
mod verdict;
mod world;

use std::error::Error;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, thread};

use course::Course;
use getopts::Options;
use mailhost::{Certificate, Host, Mail, connector};
use messages::{OWNERS, PASSWORD, user};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use notebook::Notebook;
use proxies::Proxies;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use spool::Spool;
use world::{FOLDERS, Gate, World};

/// A second signal came.
pub(crate) static ENDS_AT_ONCE: AtomicBool = AtomicBool::new(false);

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// What was asked for.
struct Asked {
    time: Duration,
    seed: u64,
    sync: bool,
    keep: bool,
    /// Of one core, for the proxies and this program together.
    load_percent: u64,
}

fn main() -> ExitCode {
    let asked = match parse() {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("soak: {why}");
            return ExitCode::from(2);
        }
    };
    match soak(&asked) {
        _ if ENDS_AT_ONCE.load(Ordering::SeqCst) => ExitCode::from(130),
        Ok(code) => code,
        Err(why) => {
            eprintln!("soak: {why}");
            ExitCode::FAILURE
        }
    }
}

fn parse() -> Outcome<Asked> {
    let mut options = Options::new();
    options.optopt("", "seed", "", "NUMBER");
    options.optopt("", "load", "", "PERCENT");
    options.optopt("", "seconds", "", "NUMBER");
    options.optflag("", "sync", "");
    options.optflag("", "keep", "");
    let given = options.parse(std::env::args_os().skip(1))?;
    let number = |name: &str| -> Outcome<Option<u64>> {
        given
            .opt_str(name)
            .map(|text| text.parse().map_err(|_| format!("--{name}: no number: {text}").into()))
            .transpose()
    };
    let minutes = match &given.free[..] {
        [] => 60,
        [minutes] => minutes.parse().map_err(|_| format!("no number of minutes: {minutes}"))?,
        [_, other, ..] => return Err(format!("unknown: {other}").into()),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let time = Duration::from_secs(number("seconds")?.unwrap_or(60 * minutes));
    if time.is_zero() {
        return Err("no time at all: give 1 or more".into());
    }
    Ok(Asked {
        time,
        seed: number("seed")?.unwrap_or(now),
        sync: given.opt_present("sync"),
        keep: given.opt_present("keep"),
        load_percent: number("load")?.unwrap_or(30),
    })
}

fn soak(asked: &Asked) -> Outcome<ExitCode> {
    let mut folder = tempfile::Builder::new().prefix("mailstore-soak-").tempdir()?;
    folder.disable_cleanup(asked.keep);
    let (interrupted, running) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let rubbish = Some(folder.path().to_owned()).filter(|_| !asked.keep);
    watch_signals(Arc::clone(&interrupted), Arc::clone(&running), rubbish)?;
    let notebook = Arc::new(Notebook::new());
    let mail = Mail::default();
    (0..OWNERS).for_each(|owner| mail.add_user(&user(owner), PASSWORD, &FOLDERS));
    let certificate = Certificate::throw_away()?;
    let host = Host::start(mail, &certificate, [[0; 2]; 3])?;
    let program = program(folder.path())?;
    let mut proxies = Proxies::start(&program, folder.path(), running, &host, &certificate, asked.sync, &notebook)?;
    say!(
        "{} s of traffic, seed {}, sync = {}, at most about {} % of a core; start_proxies is process {}; all is in {}",
        asked.time.as_secs(),
        asked.seed,
        if asked.sync { "yes" } else { "no" },
        asked.load_percent,
        proxies.pid(),
        folder.path().display()
    );
    let world = World {
        seed: asked.seed,
        host,
        doors: proxies.doors(),
        trust: connector(&certificate.authority)?,
        ledger: Default::default(),
        spool: Spool::new(folder.path()),
        notebook,
        gate: Gate::default(),
    };
    let mut course = Course::new(&world, asked.time, asked.load_percent);
    thread::scope(|scope| {
        let _ends = Ends(&world.gate);
        world.gate.close();
        clients::start(scope, &world);
        scope.spawn(|| course::sweep_on(&world));
        course.run(&mut proxies, &interrupted);
    });
    course.end(&mut proxies, &program)?;
    course.report(asked.time);
    if asked.keep {
        say!("The folder stays, as asked for: {}", folder.path().display());
    }
    let findings = world.notebook.findings();
    Ok(match (findings.is_empty(), interrupted.load(Ordering::SeqCst)) {
        (true, false) => {
            say!("VERDICT: nothing was found");
            ExitCode::SUCCESS
        }
        (true, true) => {
            say!("VERDICT: interrupted; nothing was found until then");
            ExitCode::from(130)
        }
        (false, _) => {
            findings.iter().for_each(|finding| say!("found: {finding}"));
            say!("VERDICT: FAILED, {} findings (seed {})", findings.len(), asked.seed);
            ExitCode::FAILURE
        }
    })
}

/// The clients' threads end with the course, also by a panic: it would wait for them for ever.
struct Ends<'a>(&'a Gate);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The first signal ends the soak in order; the second at once: nothing goes on, and nothing stays, all the same.
fn watch_signals(interrupted: Arc<AtomicBool>, running: Arc<AtomicU32>, rubbish: Option<PathBuf>) -> Outcome<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || {
        for _ in signals.forever() {
            if !interrupted.swap(true, Ordering::SeqCst) {
                say!("interrupted: it ends when all sessions have (again, and it ends at once)");
                continue;
            }
            ENDS_AT_ONCE.store(true, Ordering::SeqCst);
            if let Some(pid) = NonZeroU32::new(running.load(Ordering::SeqCst)) {
                let _ = kill(Pid::from_raw(pid.get().cast_signed()), Signal::SIGKILL);
            }
            if let Some(folder) = rubbish {
                let _ = fs::remove_dir_all(folder);
            }
            std::process::exit(130);
        }
    });
    Ok(())
}

/// Cargo puts examples into a folder below that of the programs. What is run is a copy: the next build may not change what is measured.
fn program(folder: &Path) -> Outcome<PathBuf> {
    let soak = std::env::current_exe()?;
    let built = soak.parent().and_then(|examples| examples.parent()).ok_or("no folder above")?.join("start_proxies");
    let copy = folder.join("start_proxies");
    fs::copy(&built, &copy).map_err(|e| format!("{}: {e}", built.display()))?;
    Ok(copy)
}
