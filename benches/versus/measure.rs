//! A row at a peer, once.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::floor;
use crate::load::{Sample, Session, Task, Work, logins, noops};
use crate::peers::{How, Peer, Stage, Which};
use crate::process::settled_pss_kib;
use crate::rows::{MIB, Row, What};
use crate::tls::Client;
use crate::{Outcome, Run};

/// At once, where messages pass.
pub(crate) const CLIENTS: usize = 4;

/// CPU seconds a GB of SHA-256, just before and after what else was measured: these machines change from one minute to the next.
pub(crate) const HASHING: &str = "s_gb";

/// Figures by name: one of each a round.
pub(crate) type Figures = BTreeMap<&'static str, f64>;

pub(crate) fn row(row: &Row, peer: &Peer, stage: &Stage<'_>, client: &Client, run: Run) -> Outcome<Option<Figures>> {
    if let (Which::Machine | Which::MachineHash, What::Pass(_, size)) = (&peer.which, row.what) {
        let (dir, hash) = (peer.spool.join(&row.name), peer.which == Which::MachineHash);
        let sample = floor::durable(&dir, CLIENTS, size, count(size, row.sync, run), hash)?;
        return Ok(Some(passing(&sample)));
    }
    let Some(at) = peer.at(row.kind, row.tls) else { return Ok(None) };
    // Minutes for each, and nothing new.
    if peer.which == Which::Python && matches!(row.what, What::Pass(_, size) if size > MIB) {
        return Ok(None);
    }
    let whose = format!("{}-", row.name);
    let tls = row.tls.then_some(client);
    let login = peer.has_logins();
    let task =
        Task { kind: row.kind, at, tls, work: Work::Each, login, size: 0, clients: CLIENTS, count: 0, whose: &whose };
    let mut figures = match row.what {
        What::Pass(work, size) => {
            // What always flushes is slow only where others do not.
            let slow = if row.sync { 1 } else { peer.slow };
            let count = (count(size, row.sync, run) / slow).max(1);
            let task = Task { work, size, count, ..task };
            let taken = stage.origin.taken.load(Ordering::Relaxed) + (CLIENTS * count) as u64;
            let hashing = || match peer.which {
                Which::MailStore(_) if run != Run::Warm => {
                    floor::hashing(if run == Run::Full { 48 } else { 8 }).map(Some)
                }
                _ => Ok(None),
            };
            let before = hashing()?;
            let mut figures = passing(&task.run(peer.pid(), || peer.delivers(stage.origin, taken))?);
            if let (Some(before), Some(after)) = (before, hashing()?) {
                figures.insert(HASHING, (before + after) / 2.0);
            }
            figures
        }
        What::Noop | What::Logins if !login => return Ok(None),
        What::Noop => {
            let count = match run {
                Run::Warm => 100,
                Run::Quick => 1000,
                Run::Full => 5000,
            };
            let took = noops(&Task { count: count / peer.slow, ..task })?;
            let share = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
            Figures::from([("p50_us", share(0.5)), ("p99_us", share(0.99))])
        }
        What::Logins => {
            let count = match (run, row.tls) {
                (Run::Warm, _) => 10,
                (Run::Quick, false) => 250,
                (Run::Quick, true) => 50,
                (Run::Full, false) => 1500,
                (Run::Full, true) => 400,
            };
            let sample = logins(&Task { count: count / peer.slow, ..task }, peer.pid())?;
            Figures::from([
                ("rate", sample.messages as f64 / sample.wall_s),
                ("cpu_1000", sample.cpu_s * 1000.0 / sample.messages as f64),
            ])
        }
        What::Idle | What::Machine => return Ok(None),
    };
    if peer.pid().is_none() {
        figures.retain(|name, _| !name.starts_with("cpu_"));
    }
    Ok(Some(figures))
}

/// Messages of each client.
fn count(size: usize, sync: bool, run: Run) -> usize {
    let [warm, quick, full] = match size {
        0..MIB if sync => [10, 100, 500],
        0..MIB => [50, 500, 2500],
        MIB if sync => [1, 8, 12],
        MIB => [1, 8, 24],
        _ => [1, 1, 1],
    };
    match run {
        Run::Warm => warm,
        Run::Quick => quick,
        Run::Full => full,
    }
}

/// About how many octets are kept in all.
pub(crate) fn octets(rows: &[Row], keepers: usize, rounds: usize, run: Run) -> u64 {
    let of = |row: &Row| match row.what {
        What::Pass(_, size) => size * count(size, row.sync, run) * CLIENTS * rounds * keepers,
        _ => 0,
    };
    rows.iter().map(of).sum::<usize>() as u64
}

fn passing(sample: &Sample) -> Figures {
    let (messages, octets) = (sample.messages as f64, sample.octets as f64);
    Figures::from([
        ("rate", messages / sample.wall_s),
        ("mb_s", octets / sample.wall_s / 1e6),
        ("cpu_1000", sample.cpu_s * 1000.0 / messages),
        ("cpu_gb", sample.cpu_s * 1e9 / octets),
    ])
}

/// Memory of a session that does nothing, KiB, with few and with many of them: of a peer that has done nothing else yet.
pub(crate) fn idle(row: &Row, which: &Which, stage: &Stage<'_>, client: &Client, run: Run) -> Outcome<Option<Figures>> {
    let Some(peer) = Peer::start(which, How { sync: false }, stage)? else { return Ok(None) };
    let (Some(at), Some(pid)) = (peer.at(row.kind, row.tls), peer.pid()) else { return Ok(None) };
    let open = |number: usize| {
        // No address has ports for all of them.
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, 1, (number / 500) as u8 + 1));
        let user = format!("s4096n10-i{number}@example.org");
        let mut session = Session::open(row.kind, at, Some(from), row.tls.then_some(client), &user, true)?;
        session.select()?;
        Outcome::Ok(session)
    };
    // What the first session costs, once and for all, is no session's.
    open(0)?.close()?;
    let pause = Duration::from_millis(if run == Run::Quick { 500 } else { 3000 });
    let before = settled_pss_kib(pid, pause)?;
    let mut sessions = Vec::new();
    let mut figures = Figures::new();
    let steps: &[(&str, usize)] = match run {
        Run::Warm => &[("kib_200", 20)],
        Run::Quick => &[("kib_200", 200)],
        Run::Full => &[("kib_1000", 1000), ("kib_5000", 5000)],
    };
    for &(name, wanted) in steps.iter().filter(|(_, wanted)| *wanted <= peer.sessions) {
        let first = sessions.len();
        let more = thread::scope(|scope| {
            let share = |n: usize| first + (wanted - first) * n / 4;
            let openers: Vec<_> = (0..4)
                .map(|n| scope.spawn(move || (share(n)..share(n + 1)).map(open).collect::<Outcome<Vec<_>>>()))
                .collect();
            openers
                .into_iter()
                .map(|opener| opener.join().map_err(|_| "a client panicked")?)
                .collect::<Outcome<Vec<_>>>()
        })?;
        sessions.extend(more.into_iter().flatten());
        figures.insert(name, settled_pss_kib(pid, pause)?.saturating_sub(before) as f64 / sessions.len() as f64);
    }
    Ok(Some(figures))
}
