//! What happened since the start, counted for each proxy. Octets from and to clients are counted when a session ends.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::logging::Seldom;

/// A number that many threads add to.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One proxy's numbers, and what an administrator was told of it.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sessions: Count,
    /// Clients that were told to come back later.
    pub(super) refused: Count,
    /// Copies, one for each owner.
    pub(super) kept: Count,
    pub(super) duplicates: Count,
    pub(super) not_kept: Count,
    /// Octets of messages that were fetched on our own account.
    pub(super) fetched: Count,
    /// Octets from clients.
    pub(super) received: Count,
    /// Octets to clients.
    pub(super) sent: Count,
    /// Sessions for which there was no server, or none that is what it should be.
    pub(super) unserved: Count,
    /// The server cannot be used.
    pub(super) server_trouble: Trouble,
    /// The spool cannot be written; of all proxies.
    pub(super) spool_trouble: Arc<Trouble>,
}

/// Told once a minute.
#[derive(Debug)]
pub(super) struct Trouble(pub(super) Seldom);

impl Default for Trouble {
    fn default() -> Trouble {
        Trouble(Seldom::new(TELL_EVERY))
    }
}

/// How often the same trouble is told.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Everyone's numbers. A proxy keeps its own over a reload.
#[derive(Debug, Default)]
pub(super) struct Registry {
    proxies: Mutex<BTreeMap<String, Arc<Counters>>>,
    spool_trouble: Arc<Trouble>,
}

impl Registry {
    /// The numbers of the proxy of this name.
    pub(super) fn of(&self, proxy: &str) -> Arc<Counters> {
        let mut proxies = self.proxies.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Counters { spool_trouble: Arc::clone(&self.spool_trouble), ..Counters::default() });
        Arc::clone(proxies.entry(proxy.to_owned()).or_insert_with(new))
    }

    /// For the log: all together, then each proxy.
    pub(super) fn lines(&self, open: usize) -> Vec<String> {
        let proxies = self.proxies.lock().unwrap_or_else(PoisonError::into_inner);
        let total = Counters::default();
        for one in proxies.values() {
            for (sum, part) in total.all().iter().zip(one.all()) {
                sum.1.add(part.1.get());
            }
        }
        let mut lines = vec![format!("counters open={open}{total}")];
        lines.extend(proxies.iter().map(|(name, one)| format!("counters {name}{one}")));
        lines
    }
}

impl Counters {
    fn all(&self) -> [(&'static str, &Count); 9] {
        [
            ("sessions", &self.sessions),
            ("refused", &self.refused),
            ("kept", &self.kept),
            ("duplicates", &self.duplicates),
            ("not_kept", &self.not_kept),
            ("fetched", &self.fetched),
            ("received", &self.received),
            ("sent", &self.sent),
            ("unserved", &self.unserved),
        ]
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all().iter().try_for_each(|(name, count)| write!(f, " {name}={}", count.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_add_up() {
        let registry = Registry::default();
        registry.of("pop3").kept.add(2);
        registry.of("smtp:mx").kept.add(3);
        registry.of("pop3").sent.add(10);
        registry.of("pop3").fetched.add(7);
        assert_eq!(
            registry.lines(4),
            [
                "counters open=4 sessions=0 refused=0 kept=5 duplicates=0 not_kept=0 fetched=7 received=0 sent=10 unserved=0",
                "counters pop3 sessions=0 refused=0 kept=2 duplicates=0 not_kept=0 fetched=7 received=0 sent=10 unserved=0",
                "counters smtp:mx sessions=0 refused=0 kept=3 duplicates=0 not_kept=0 fetched=0 received=0 sent=0 unserved=0",
            ]
        );
    }
}
