//! What happened during the soak, told by many threads: figures, findings, disturbances, and which connection was whose.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So long after the end of a disturbance its consequences may still show: a session may finish what was due for as long as it lives.
const AFTERMATH: Duration = Duration::from_secs(45);
/// The same of a disk that cannot be written: what it did not take is told at once.
const AFTERMATH_OF_DISK: Duration = Duration::from_secs(3);
/// What is told of one kind; the rest is counted.
const TOLD_MAX: usize = 40;
/// Of one port.
const CONNECTIONS_MAX: usize = 8;
/// Figures of different names.
const KINDS_MAX: usize = 400;

/// Which session a connection belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Connection {
    pub(crate) scenario: &'static str,
    /// Its client does what no orderly client does.
    pub(crate) is_fault: bool,
}

pub(crate) struct Notebook {
    begun: Instant,
    /// Counted by name.
    figures: Mutex<BTreeMap<String, u64>>,
    findings: Mutex<Vec<String>>,
    /// Beginning and end; one that goes on has none.
    disturbances: Mutex<Vec<(Instant, Option<Instant>)>>,
    /// By the client's port, the last ones that had it: a client may be gone, and its port another's, before the session ends.
    connections: Mutex<HashMap<u16, VecDeque<(Instant, Connection)>>>,
    /// When `not kept` was last told of an owner.
    not_kept: Mutex<HashMap<String, Instant>>,
}

impl Notebook {
    pub(crate) fn new() -> Notebook {
        Notebook {
            begun: Instant::now(),
            figures: Mutex::default(),
            findings: Mutex::default(),
            disturbances: Mutex::default(),
            connections: Mutex::default(),
            not_kept: Mutex::default(),
        }
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.begun.elapsed().as_secs()
    }

    pub(crate) fn count(&self, name: impl Display) {
        self.add(name, 1);
    }

    pub(crate) fn add(&self, name: impl Display, more: u64) {
        let (name, mut figures) = (name.to_string(), lock(&self.figures));
        if figures.len() < KINDS_MAX || figures.contains_key(&name) {
            *figures.entry(name).or_default() += more;
        }
    }

    /// All figures whose names begin like this, without that beginning.
    pub(crate) fn figures(&self, prefix: &str) -> Vec<(String, u64)> {
        let figures = lock(&self.figures);
        figures.iter().filter_map(|(name, count)| Some((name.strip_prefix(prefix)?.to_owned(), *count))).collect()
    }

    /// Something that may not be: it is told at once, and fails the soak.
    pub(crate) fn finding(&self, text: impl Display) {
        let mut findings = lock(&self.findings);
        let text = format!("{} s: {text}", self.seconds());
        if findings.len() < TOLD_MAX {
            say!("FINDING {text}");
        }
        findings.push(text);
    }

    pub(crate) fn findings(&self) -> Vec<String> {
        lock(&self.findings).clone()
    }

    /// From now on things may go wrong that else may not.
    pub(crate) fn disturb(&self) {
        lock(&self.disturbances).push((Instant::now(), None));
    }

    pub(crate) fn calm(&self) {
        if let Some(last) = lock(&self.disturbances).last_mut() {
            last.1 = Some(Instant::now());
        }
    }

    /// Whether a disturbance may have had to do with what happened between these moments.
    pub(crate) fn is_disturbed(&self, from: Instant, to: Instant) -> bool {
        self.meets(from, to, AFTERMATH)
    }

    /// The same of a line that tells that the disk did not take a message.
    pub(crate) fn is_disk_disturbed(&self, at: Instant) -> bool {
        self.meets(at, at, AFTERMATH_OF_DISK)
    }

    fn meets(&self, from: Instant, to: Instant, aftermath: Duration) -> bool {
        let meets = |(begun, ended): &(Instant, Option<Instant>)| {
            *begun <= to && ended.is_none_or(|ended| ended + aftermath >= from)
        };
        lock(&self.disturbances).iter().any(meets)
    }

    pub(crate) fn connected(&self, port: u16, connection: Connection) {
        let mut all = lock(&self.connections);
        let of_port = all.entry(port).or_default();
        of_port.push_back((Instant::now(), connection));
        if of_port.len() > CONNECTIONS_MAX {
            of_port.pop_front();
        }
    }

    /// Whose connection from this port it was that began about then.
    pub(crate) fn connection(&self, port: u16, begun: Instant) -> Option<Connection> {
        let distance = |at: Instant| at.max(begun) - at.min(begun);
        let all = lock(&self.connections);
        all.get(&port)?.iter().min_by_key(|(at, _)| distance(*at)).map(|(_, connection)| *connection)
    }

    pub(crate) fn tell_not_kept(&self, owner: &str) {
        lock(&self.not_kept).insert(owner.to_owned(), Instant::now());
    }

    /// Whether the log told of a message of this owner's that was not kept.
    pub(crate) fn was_not_kept(&self, owner: &str, since: Instant) -> bool {
        lock(&self.not_kept).get(owner).is_some_and(|told| *told >= since)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
