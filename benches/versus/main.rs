//! MailStore beside what else might stand there: `scripts/bench`, which tells how it is used; docs/performance.md tells what came out.
//!
//! One run on one machine: the same origin and the same clients, in this process, with each peer between them by turns. A benchmark, not a
//! test: it asserts nothing about time, and only that what is measured did happen.

mod load;
mod measure;
mod message;
mod options;
mod origin;
mod peers;
mod process;
mod report;
mod rows;
mod tls;
mod wire;

use std::error::Error;
use std::path::PathBuf;
use std::{fs, thread};

use options::Options;
use origin::Origin;
use peers::{How, Peer, Stage, Which};
use report::Results;
use rows::{Row, What};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

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
        eprintln!("scripts/bench: {e}");
        std::process::exit(1);
    }
}

fn bench(options: &Options) -> Outcome<()> {
    let dir = tempfile::Builder::new().prefix("mailstore-bench-").tempdir()?;
    let spool = match &options.spool {
        None => None,
        Some(place) => Some(tempfile::Builder::new().prefix("mailstore-bench-").tempdir_in(place)?),
    };
    let below = spool.as_ref().unwrap_or(&dir).path().to_owned();
    clear_up_when_interrupted(vec![dir.path().to_owned(), below.clone()])?;
    let (files, server, client) = tls::make(dir.path())?;
    let origin = Origin::start(&server)?;
    let stage = Stage { origin: &origin, files: &files, dir: dir.path(), spool: &below };
    let run = if options.quick { Run::Quick } else { Run::Full };

    let which: Vec<Which> = options
        .peers
        .iter()
        .flat_map(|name| match name.as_str() {
            "haproxy" => vec![Which::Haproxy],
            "nginx" => vec![Which::Nginx],
            "mailstore" => options.programs.iter().cloned().map(Which::MailStore).collect(),
            _ => vec![Which::Direct],
        })
        .collect();
    let mut results = Results::default();
    for sync in [false, true] {
        let rows: Vec<&Row> = options.rows.iter().filter(|row| row.sync == sync && row.what != What::Idle).collect();
        if rows.is_empty() {
            continue;
        }
        let mut peers = Vec::new();
        for which in &which {
            match Peer::start(which, How { sync }, &stage)? {
                Some(peer) => peers.push(peer),
                None => println!("{} is not installed: left out", which.name()),
            }
        }
        for row in &rows {
            // Once before it counts.
            for round in 0..=options.rounds {
                for peer in &peers {
                    let pace = if round == 0 { Run::Quick } else { run };
                    let figures = measure::row(row, peer, &client, pace)
                        .map_err(|e| format!("{} through {}: {e}", row.name, peer.which.name()))?;
                    if let Some(figures) = figures.filter(|_| round > 0) {
                        results.add(row, peer.which.name(), figures);
                    }
                }
            }
            tell(&results, row);
        }
    }
    for row in options.rows.iter().filter(|row| row.what == What::Idle) {
        for which in &which {
            let figures = measure::idle(row, which, &stage, &client, run)
                .map_err(|e| format!("{} through {}: {e}", row.name, which.name()))?;
            if let Some(figures) = figures {
                results.add(row, which.name(), figures);
            }
        }
        tell(&results, row);
    }
    Ok(())
}

/// What is known of this row.
fn tell(results: &Results, row: &Row) {
    if let Some((row, peers)) = results.rows.iter().find(|(known, _)| known == row) {
        println!("{}", report::table(row, peers));
    }
}

/// The peers are ended and the folders removed, and nothing else is waited for.
fn clear_up_when_interrupted(folders: Vec<PathBuf>) -> Outcome<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            peers::end_all();
            // What a peer was just writing is in the way once more.
            for _ in 0..3 {
                folders.iter().for_each(|folder| drop(fs::remove_dir_all(folder)));
                thread::sleep(std::time::Duration::from_millis(200));
            }
            std::process::exit(130);
        }
    });
    Ok(())
}
