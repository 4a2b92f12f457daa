//! MailStore beside what else might stand there: `scripts/bench`, which tells how it is used; docs/performance.md tells what came out.
//!
//! One run on one machine: the same origin and the same clients, in this process, with each peer between them by turns. A benchmark, not a
//! test: it asserts nothing about time, and only that what is measured did happen.

mod about;
mod floor;
mod goals;
mod load;
mod measure;
mod message;
mod options;
mod origin;
mod peers;
mod plot;
mod process;
mod report;
mod rows;
mod tls;
mod wire;
mod write;

use std::error::Error;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, thread};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::statvfs::statvfs;
use options::Options;
use origin::Origin;
use peers::{How, Peer, Stage, Which};
use report::Results;
use rows::{Row, What};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// A line for whoever reads along: who has stopped reading (`| head`) ends it.
macro_rules! say {
    ($($words:tt)*) => {
        writeln!(std::io::stdout(), $($words)*)
    };
}

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Smtp,
    Pop3,
    Imap,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Smtp, Kind::Pop3, Kind::Imap];

    fn name(self) -> &'static str {
        ["smtp", "pop3", "imap"][self as usize]
    }
}

/// How much work each row is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    /// Hardly any: it does not count.
    Warm,
    Quick,
    Full,
}

fn main() {
    let options = options::read(std::env::args().skip(1)).unwrap_or_else(|e| {
        eprintln!("scripts/bench: {e}");
        std::process::exit(2);
    });
    if options.list {
        println!("rows: {}", options.rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>().join(" "));
        println!("peers: {}", options::PEERS.join(" "));
        return;
    }
    if let Err(e) = bench(&options) {
        if INTERRUPTED.load(Ordering::Relaxed) {
            // Whoever clears up ends this process: what failed did so because its peers were ended.
            thread::park();
        }
        eprintln!("scripts/bench: {e}");
        std::process::exit(1);
    }
}

fn bench(options: &Options) -> Outcome<()> {
    try_outputs(options)?;
    let dir = tempfile::Builder::new().prefix("mailstore-bench-").tempdir()?;
    let place = options.spool.clone().unwrap_or_else(std::env::temp_dir);
    fs::create_dir_all(&place).map_err(|e| format!("--spool {}: cannot be made: {e}", place.display()))?;
    let mut spool = tempfile::Builder::new()
        .prefix("mailstore-bench-spool-")
        .tempdir_in(&place)
        .map_err(|e| format!("{}: no folder can be made there: {e}", place.display()))?;
    let below = spool.path().to_owned();
    if options.keep {
        spool.disable_cleanup(true);
        say!("What is kept stays in {}", below.display())?;
    }
    clear_up_when_interrupted([Some(dir.path().to_owned()), Some(below.clone()).filter(|_| !options.keep)])?;
    let which = which(options);
    let run = match (options.least, options.quick) {
        (true, _) => Run::Warm,
        (_, true) => Run::Quick,
        _ => Run::Full,
    };
    // Peers that run as users of their own come through.
    for folder in [dir.path(), &below] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let needed = measure::octets(&options.rows, which.len().min(2 + options.programs.len()), options.rounds, run);
    let disk = statvfs(&below)?;
    let free = disk.blocks_available() * disk.fragment_size();
    if free < needed + needed / 4 {
        let (free, needed, place) = (free >> 30, (needed >> 30) + 1, below.display());
        return Err(format!("{needed} GiB and some more would be kept in {place}, where {free} GiB are free: --spool, --only or --rounds").into());
    }
    let (files, server, client) = tls::make(dir.path())?;
    let origin = Origin::start(&server)?;
    let stage = Stage { origin: &origin, files: &files, dir: dir.path(), spool: &below };

    let mut results = Results::default();
    let machine = options.rows.iter().find(|row| row.what == What::Machine);
    let measure_machine = |results: &mut Results| -> Outcome<()> {
        let Some(row) = machine else { return Ok(()) };
        for (what, figures) in floor::machine(&below.join("machine"), if run == Run::Full { 400 } else { 64 })? {
            results.add(row, what, figures);
        }
        Ok(())
    };
    measure_machine(&mut results)?;
    for sync in [false, true] {
        by_turns(options, sync, &which, &stage, &client, &mut results)?;
    }
    for row in options.rows.iter().filter(|row| row.what == What::Idle) {
        for which in which.iter().filter(|which| which.is_for(false)) {
            let figures = measure::idle(row, which, &stage, &client, run);
            match figures.map_err(|e| format!("{} through {}: {e}", row.name, which.name())) {
                Ok(Some(figures)) => results.add(row, which.name(), figures),
                Ok(None) => {}
                Err(e) if matches!(which, Which::MailStore(_)) => return Err(e.into()),
                Err(e) => say!("left out: {e}")?,
            }
        }
        tell(&results, row)?;
    }
    // Once more: the machine may have become another one meanwhile.
    measure_machine(&mut results)?;
    if let Some(row) = machine {
        tell(&results, row)?;
    }
    conclude(options, &below, &results)
}

/// Half an hour's figures are not to be lost for a folder that is not there.
fn try_outputs(options: &Options) -> Outcome<()> {
    for (option, file) in [("--json", &options.json), ("--markdown", &options.markdown)] {
        let Some(file) = file else { continue };
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(file)
            .map_err(|e| format!("{option} {}: cannot be written: {e}", file.display()))?;
    }
    if let Some(dir) = &options.plot {
        fs::create_dir_all(dir).map_err(|e| format!("--plot {}: cannot be made: {e}", dir.display()))?;
    }
    Ok(())
}

/// The goals, and the files that were asked for.
fn conclude(options: &Options, spool: &Path, results: &Results) -> Outcome<()> {
    let labels: Vec<&str> = options.programs.iter().map(|program| program.label.as_str()).collect();
    for label in &labels {
        say!("{}", report::goals(results, &options.rows, label))?;
    }
    let about = about::lines(options, spool, results);
    for (name, value) in &about {
        say!("{name}: {value}")?;
    }
    if let Some(file) = &options.json {
        fs::write(file, write::json(&about, results, &labels, &options.rows))?;
    }
    if let Some(file) = &options.markdown {
        fs::write(file, write::markdown(&about, results, &labels, &options.rows))?;
    }
    if let Some(dir) = &options.plot {
        let drawn = plot::write(results, &labels, dir)?;
        say!("{drawn} charts in {}", dir.display())?;
    }
    Ok(())
}

fn which(options: &Options) -> Vec<Which> {
    let named = options.peers.iter().flat_map(|name| match name.as_str() {
        "haproxy" => vec![Which::Haproxy],
        "nginx" => vec![Which::Nginx],
        "stunnel" => vec![Which::Stunnel],
        "dovecot" => vec![Which::Dovecot],
        "postfix" => vec![Which::Postfix],
        "python" => vec![Which::Python],
        "mailstore" => options.programs.iter().cloned().map(Which::MailStore).collect(),
        _ => vec![Which::Direct],
    });
    named.chain([Which::Machine, Which::MachineHash]).collect()
}

/// The rows of this kind: each a few times at each peer, by turns.
fn by_turns(
    options: &Options,
    sync: bool,
    which: &[Which],
    stage: &Stage<'_>,
    client: &tls::Client,
    results: &mut Results,
) -> Outcome<()> {
    let passing = |row: &&Row| row.sync == sync && !matches!(row.what, What::Idle | What::Machine);
    let rows: Vec<&Row> = options.rows.iter().filter(passing).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let mut peers = Vec::new();
    for which in which.iter().filter(|which| which.is_for(sync)) {
        match Peer::start(which, How { sync }, stage) {
            Ok(Some(peer)) => peers.push(peer),
            Ok(None) => say!("left out: {} is not installed, or needs root", which.name())?,
            Err(e) if matches!(which, Which::MailStore(_)) => return Err(e),
            // What was ended with all the others is not at fault.
            Err(e) if INTERRUPTED.load(Ordering::Relaxed) => return Err(e),
            Err(e) => say!("left out: {} does not start: {e}", which.name())?,
        }
    }
    for row in &rows {
        let mut failed = Vec::new();
        // Once before it counts.
        for round in 0..=options.rounds {
            for peer in &peers {
                let run = match round {
                    _ if round == 0 || options.least => Run::Warm,
                    _ if options.quick => Run::Quick,
                    _ => Run::Full,
                };
                if failed.contains(&peer.which) {
                    continue;
                }
                match measure::row(row, peer, stage, client, run) {
                    Ok(Some(figures)) if round > 0 => results.add(row, peer.which.name(), figures),
                    Ok(_) => {}
                    Err(e) => {
                        let why = format!("{} through {}: {e}\n{}", row.name, peer.which.name(), peer.last_words());
                        if matches!(peer.which, Which::MailStore(_) | Which::Direct)
                            || INTERRUPTED.load(Ordering::Relaxed)
                        {
                            return Err(why.into());
                        }
                        say!("left out: {why}")?;
                        failed.push(peer.which.clone());
                    }
                }
            }
        }
        tell(results, row)?;
    }
    Ok(())
}

/// What is known of this row.
fn tell(results: &Results, row: &Row) -> Outcome<()> {
    if let Some((row, peers)) = results.rows.iter().find(|(known, _)| known == row) {
        say!("{}", report::table(row, peers))?;
    }
    Ok(())
}

/// The peers are ended and the folders removed, and nothing else is waited for.
fn clear_up_when_interrupted(folders: [Option<PathBuf>; 2]) -> Outcome<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            INTERRUPTED.store(true, Ordering::Relaxed);
            peers::end_all();
            // What a peer was just writing is in the way once more.
            for _ in 0..3 {
                folders.iter().flatten().for_each(|folder| drop(fs::remove_dir_all(folder)));
                thread::sleep(std::time::Duration::from_millis(200));
            }
            std::process::exit(130);
        }
    });
    Ok(())
}
