//! How many sessions there are, in all and for one client address.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many sessions there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) max_sessions: usize,
    pub(super) max_sessions_per_client: usize,
    /// So many have all the files that they need.
    pub(super) files_for: usize,
}

/// Which limit is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    MaxSessions,
    MaxSessionsPerClient,
    Files,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Full::MaxSessions => "max_sessions is reached",
            Full::MaxSessionsPerClient => "max_sessions_per_client is reached",
            Full::Files => "the open files would not suffice; raise ulimit -n (LimitNOFILE=) or lower max_sessions",
        })
    }
}

/// Counts the sessions. A clone counts the same ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    open: Mutex<Open>,
    /// Told when the last session has ended.
    empty: Condvar,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    clients: HashMap<IpAddr, usize>,
}

/// A session's place; given back when dropped, also by a panic.
#[derive(Debug)]
pub(super) struct Ticket {
    shared: Arc<Shared>,
    client: IpAddr,
}

impl Limits {
    /// A place for a session of this client, if there is one under these limits. An IPv4 address written as IPv6 is the same client; of IPv6 a
    /// whole /64 network is one, for whoever has one address of it mostly has them all (RFC 6177).
    ///
    /// # Errors
    /// The limit that is full.
    pub(super) fn admit(&self, client: IpAddr, room: &Room) -> Result<Ticket, Full> {
        let client = network(client);
        let mut open = self.shared.lock();
        if open.total >= room.max_sessions {
            return Err(Full::MaxSessions);
        }
        if open.total >= room.files_for {
            return Err(Full::Files);
        }
        let count = open.clients.entry(client).or_default();
        if *count >= room.max_sessions_per_client {
            return Err(Full::MaxSessionsPerClient);
        }
        *count += 1;
        open.total += 1;
        Ok(Ticket { shared: Arc::clone(&self.shared), client })
    }

    /// How many there are now.
    pub(super) fn open(&self) -> usize {
        self.shared.lock().total
    }

    /// Waits until there is none. False if the time was over first.
    pub(super) fn wait_until_none(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut open = self.shared.lock();
        while open.total > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            open = self.shared.empty.wait_timeout(open, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// What counts as one client.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing can panic while it is held.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = self.shared.lock();
        open.total -= 1;
        if let Some(count) = open.clients.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.clients.remove(&self.client);
            }
        }
        if open.total == 0 {
            self.shared.empty.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    const ROOM: Room = Room { max_sessions: 3, max_sessions_per_client: 2, files_for: 100 };

    #[test]
    fn all_limits_hold_and_places_come_back() {
        let limits = Limits::default();
        let first = limits.admit(ip("192.0.2.1"), &ROOM).unwrap();
        let _second = limits.admit(ip("::ffff:192.0.2.1"), &ROOM).unwrap();
        assert_eq!(limits.admit(ip("192.0.2.1"), &ROOM).unwrap_err(), Full::MaxSessionsPerClient);
        assert_eq!(limits.admit(ip("192.0.2.2"), &Room { files_for: 2, ..ROOM }).unwrap_err(), Full::Files);
        let _other = limits.admit(ip("2001:db8::1"), &ROOM).unwrap();
        assert_eq!(limits.admit(ip("2001:db8::2"), &ROOM).unwrap_err(), Full::MaxSessions);
        drop(first);
        assert_eq!(limits.open(), 2);
        let _again = limits.admit(ip("192.0.2.1"), &ROOM).unwrap();
    }

    #[test]
    fn a_client_with_a_whole_ipv6_network_has_one_clients_places() {
        let limits = Limits::default();
        let room = Room { max_sessions: 9, ..ROOM };
        let tickets =
            ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2"].map(|client| limits.admit(ip(client), &room).unwrap());
        assert_eq!(limits.admit(ip("2001:db8:0:1::3"), &room).unwrap_err(), Full::MaxSessionsPerClient);
        let _neighbour = limits.admit(ip("2001:db8:0:2::1"), &room).unwrap();
        drop(tickets);
        assert_eq!(limits.shared.lock().clients.len(), 1);
    }

    #[test]
    fn the_end_of_the_last_session_is_waited_for() {
        let limits = Limits::default();
        assert!(limits.wait_until_none(Duration::ZERO));
        let ticket = limits.admit(ip("192.0.2.1"), &ROOM).unwrap();
        assert!(!limits.wait_until_none(Duration::ZERO));
        let waiting = std::thread::spawn({
            let limits = limits.clone();
            move || limits.wait_until_none(Duration::from_secs(60))
        });
        drop(ticket);
        assert!(waiting.join().unwrap());
    }
}
