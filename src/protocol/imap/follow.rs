//! Following: while the client is quiet, messages of the selected folder that are not kept yet are fetched too, newest first (key `follow`).
//!
//! Asks for UIDs in windows from the newest message downwards, and for one piece of one message at a time, with a rest between two. Only by
//! sequence number: no EXPUNGE can come of it. The client's next command finds at most that piece before it.
//!
//! A client that is quiet is mostly in IDLE, where nothing else may be said. So while there is something to follow its IDLE begins with us
//! only: it is told `+`, and hears what the server says as ever; when all is kept, or nothing can be had, IDLE goes on to the server.

use std::time::Duration;

use super::due::{self, Message, Which};
use super::own::{Purpose, Work};
use super::{Imap, Kind, Phase, set};
use crate::config::Follow as Mode;
use crate::protocol::{Host, Side};

/// So long the client has to be quiet at first.
const QUIET: Duration = Duration::from_secs(1);
/// The shortest rest between two of our commands: at most ten a second.
const REST_MIN: Duration = Duration::from_millis(100);
/// Octets that we fetch in a second.
const RATE: u64 = 512 * 1024;
/// A client that has not gone on with a download for so long does not.
const STOPPED: Duration = Duration::from_secs(5);
/// UIDs asked for at once.
const WINDOW: u32 = 100;

/// What has been looked at of the selected mailbox.
#[derive(Default)]
pub(super) struct Follow {
    /// Messages up to this sequence number were not looked at yet.
    below: u32,
    /// Messages above this one were not either: they came since.
    above: u32,
    /// The lowest and the highest UID of those that were looked at.
    low: Option<u32>,
    high: Option<u32>,
    /// Not kept: newest last.
    candidates: Vec<Which>,
    /// The server does not answer as it should: no more in this mailbox.
    stopped: bool,
    /// The client said something since the last rest.
    disturbed: bool,
    rest: Duration,
    /// The rest is over: one piece may be asked for.
    turn: bool,
}

/// An IDLE of the client's that the server does not know of yet.
pub(super) struct HeldIdle {
    pub(super) tag: Vec<u8>,
    pub(super) line: Vec<u8>,
}

impl Follow {
    /// A mailbox with so many messages.
    pub(super) fn begin(&mut self, exists: u32) {
        *self = Follow { below: exists, above: exists, rest: REST_MIN, disturbed: true, ..Follow::default() };
    }

    pub(super) fn stop(&mut self) {
        *self = Follow { stopped: true, ..Follow::default() };
    }

    pub(super) fn disturb(&mut self) {
        self.disturbed = true;
    }

    /// So many octets were fetched.
    pub(super) fn paid(&mut self, octets: u64) {
        self.rest = REST_MIN.max(Duration::from_millis(octets.saturating_mul(1000) / RATE));
    }

    pub(super) fn expunged(&mut self, sequence_number: u32) {
        for bound in [&mut self.below, &mut self.above] {
            if sequence_number <= *bound {
                *bound = bound.saturating_sub(1);
            }
        }
        self.candidates.retain(|which| which.sequence_number != Some(sequence_number));
        self.candidates.iter_mut().for_each(|which| due::shift(which, sequence_number));
    }

    /// VANISHED: these UIDs are gone, and with them the numbers of what was found. The bounds are known by their UIDs.
    pub(super) fn vanished(&mut self, uids: &[u8]) {
        if let Some(newest) = self.candidates.last() {
            // They are looked for again.
            self.below = newest.sequence_number.unwrap_or(self.below);
            self.low = newest.uid.and_then(|uid| uid.checked_add(1));
            self.candidates.clear();
        }
        let up_to = |bound: Option<u32>| set::count(uids, bound.unwrap_or(u32::MAX));
        self.below = self.below.saturating_sub(up_to(self.low.map(|low| low.saturating_sub(1))));
        self.above = self.above.saturating_sub(up_to(self.high));
    }

    pub(super) fn has_turn(&self) -> bool {
        self.turn
    }

    /// The piece is being asked for.
    pub(super) fn take_turn(&mut self) {
        self.turn = false;
    }

    fn has_work(&self, exists: u32) -> bool {
        !self.stopped && (!self.candidates.is_empty() || self.below > 0 || exists > self.above)
    }
}

impl Imap {
    /// Whether something of the selected folder is to be followed.
    pub(super) fn follows(&self) -> bool {
        let Some(mailbox) = &self.mailbox else { return false };
        if self.own.backing_off {
            return false;
        }
        let wanted = match self.settings.follow {
            Mode::No => false,
            Mode::Inbox => mailbox.name.eq_ignore_ascii_case(b"INBOX"),
            Mode::All => true,
        };
        let begun = self.own.due.has_followed();
        wanted && (begun || self.own.follow.has_work(mailbox.exists)) && self.destination().is_some()
    }

    /// Whether nothing is being said at the moment, and nothing waits to be.
    fn is_quiet(&self) -> bool {
        matches!(self.phase, Phase::Running)
            && self.commands.list.is_empty()
            && !self.own.is_busy()
            && self.own.gate.is_none()
            && !self.client_left
            && self.server.is_between_responses()
            && self.client.is_between_commands()
    }

    pub(super) fn rest_wanted(&self) -> Option<Duration> {
        if !self.is_quiet() {
            return None;
        }
        let follow = self.follows().then_some(if self.own.follow.disturbed { QUIET } else { self.own.follow.rest });
        let stopped = self.capture.chunks.has_downloads().then_some(STOPPED);
        follow.into_iter().chain(stopped).min()
    }

    /// Nobody has said anything for a while.
    pub(super) fn rest_over(&mut self, host: &mut dyn Host) {
        if !self.is_quiet() {
            return;
        }
        // A follower's short rest does not tell that a download has stopped.
        if !self.follows() {
            return self.stop_downloads(true, host);
        }
        self.own.follow.disturbed = false;
        self.own.follow.turn = true;
        if self.own.due.has_followed() {
            return;
        }
        while let Some(which) = self.own.follow.candidates.pop() {
            if self.suspicion(which).is_none()
                && !self.is_known(which, host)
                && !self.own.given_up.has(which)
                && !self.own.too_large.has(which)
            {
                self.make_due(Message::followed(which), host);
                return;
            }
        }
        let Some(exists) = self.mailbox.as_ref().map(|mailbox| mailbox.exists) else { return };
        let follow = &mut self.own.follow;
        let (first, last) = if exists > follow.above {
            let last = exists.min(follow.above.saturating_add(WINDOW));
            (std::mem::replace(&mut follow.above, last) + 1, last)
        } else if follow.below > 0 {
            let last = follow.below;
            follow.below = last.saturating_sub(WINDOW);
            (follow.below + 1, last)
        } else {
            return;
        };
        self.command(&format!("FETCH {first}:{last} (UID)"), Work::Resolve(Purpose::Follow), host);
    }

    /// A message of the window.
    pub(super) fn follow_finds(&mut self, which: Which, host: &mut dyn Host) {
        if let Some(uid) = which.uid {
            let follow = &mut self.own.follow;
            follow.low = Some(follow.low.map_or(uid, |low| low.min(uid)));
            follow.high = Some(follow.high.map_or(uid, |high| high.max(uid)));
        }
        if which.uid.is_some() && !self.is_known(which, host) && self.own.follow.candidates.len() < WINDOW as usize {
            self.own.follow.candidates.push(which);
        }
    }

    pub(super) fn follow_resolved(&mut self, status: &[u8], line: &[u8], host: &mut dyn Host) {
        self.own.follow.candidates.sort_unstable_by_key(|which| which.sequence_number);
        self.own.follow.paid(0);
        // What is gone and not told yet does not keep us from the others.
        if status != b"OK" && !super::own::is_expunge_issued(line) {
            host.note(&format!(
                "following stops here, the server says: {}",
                crate::logging::quote(super::own::words(line))
            ));
            self.own.follow.stop();
        }
    }

    /// The client's IDLE: whether it begins with us only.
    pub(super) fn holds_idle(&self) -> bool {
        self.commands.list.is_empty() && (self.follows() || self.own.can_fetch())
    }

    /// IDLE goes on to the server once there is nothing left for us to do.
    pub(super) fn let_idle_go(&mut self, host: &mut dyn Host) {
        if self.client.held_idle.is_none() {
            return;
        }
        let busy = self.own.is_busy() || self.follows() || self.own.can_fetch();
        // A client that has left ends no IDLE any more.
        let over = self.client_left || !matches!(self.phase, Phase::Running);
        if busy || over || !self.server.is_between_responses() {
            return;
        }
        if let Some(idle) = self.client.held_idle.take() {
            self.send_idle(&idle, false, host);
        }
    }

    /// The client has heard `+` for this IDLE already; `done`: and has ended it.
    pub(super) fn send_idle(&mut self, idle: &HeldIdle, done: bool, host: &mut dyn Host) {
        self.commands.push(&idle.tag);
        self.commands.set(&idle.tag, Kind::Idle { begun: false, told: true, done });
        host.send(Side::Server, &idle.line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_bounded_in_commands_and_in_octets() {
        let mut follow = Follow::default();
        for (octets, rest_ms) in [(0, 100), (10_000, 100), (RATE / 2, 500), (RATE, 1000), (u64::MAX, u64::MAX / RATE)] {
            follow.paid(octets);
            assert_eq!(follow.rest, Duration::from_millis(rest_ms), "{octets}");
        }
    }

    #[test]
    fn what_is_looked_at_follows_the_numbers() {
        let mut follow = Follow::default();
        follow.begin(10);
        assert!(follow.has_work(10));
        follow.below = 0;
        assert!(!follow.has_work(10) && follow.has_work(11));
        follow.expunged(3);
        assert!(!follow.has_work(9) && follow.has_work(10));
        // 5 of 20 were looked at, from UID 30 upwards; two of those below are gone, and one of the others.
        follow = Follow { below: 15, above: 20, low: Some(30), high: Some(60), ..Follow::default() };
        follow.vanished(b"7:8,40,90");
        assert_eq!((follow.below, follow.above), (13, 17));
        follow.candidates =
            [(10, 25), (12, 28)].map(|(number, uid)| Which { sequence_number: Some(number), uid: Some(uid) }).to_vec();
        follow.vanished(b"26");
        assert_eq!((follow.below, follow.above, follow.candidates.len()), (11, 16, 0));
        follow.stop();
        assert!(!follow.has_work(100));
    }
}
