//! When a session has been idle for too long, and who was slow.
//!
//! A word of the one and an answer of the other start the time afresh. Who talks on without being answered, or is being answered,
//! has to make [`PACE`]: octets that drip would keep a session, and its place, for years.

use std::time::{Duration, Instant};

use super::{Side, index};

/// Octets a second, on average over the timeout. Mail over the slowest lines is faster by far.
const PACE: u32 = 100;

/// A deadline that moves on with every octet, up to the whole timeout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    timeout: Duration,
    over: Instant,
}

impl Pace {
    pub(super) fn new(timeout: Duration, now: Instant) -> Pace {
        Pace { timeout, over: now + timeout }
    }

    pub(super) fn over(&self) -> Instant {
        self.over
    }

    fn restart(&mut self, now: Instant) {
        self.over = now + self.timeout;
    }

    /// So many octets have moved.
    pub(super) fn moved(&mut self, octets: usize, now: Instant) {
        let worth = Duration::from_secs(1) / PACE * u32::try_from(octets).unwrap_or(u32::MAX);
        self.over = (self.over + worth).min(now + self.timeout);
    }
}

/// What both sides say.
#[derive(Debug)]
pub(super) struct Talk {
    pace: Pace,
    spoke_last: Option<Side>,
    last_heard: [Instant; 2],
}

impl Talk {
    pub(super) fn new(timeout: Duration, now: Instant) -> Talk {
        Talk { pace: Pace::new(timeout, now), spoke_last: None, last_heard: [now; 2] }
    }

    /// When nobody has said enough.
    pub(super) fn over(&self) -> Instant {
        self.pace.over()
    }

    /// Whose octets came last.
    pub(super) fn spoke_last(&self) -> Option<Side> {
        self.spoke_last
    }

    /// The last octet of either side.
    pub(super) fn last_heard(&self) -> Instant {
        self.last_heard[0].max(self.last_heard[1])
    }

    /// This side has said something. `at_pace`: it has to make some speed.
    pub(super) fn heard(&mut self, from: Side, octets: usize, at_pace: bool, now: Instant) {
        if at_pace && self.spoke_last == Some(from) {
            self.pace.moved(octets, now);
        } else {
            self.pace.restart(now);
        }
        self.spoke_last = Some(from);
        self.last_heard[index(from)] = now;
    }

    /// Something else has happened that the session waited for.
    pub(super) fn restart(&mut self, now: Instant) {
        self.pace.restart(now);
        self.spoke_last = None;
        self.last_heard = [now; 2];
    }

    /// Who has said something, but too little, before the time was over.
    pub(super) fn dripping(&self, now: Instant) -> Option<Side> {
        self.spoke_last
            .filter(|&side| now.saturating_duration_since(self.last_heard[index(side)]) < self.pace.timeout / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1000);

    fn after(begun: Instant, seconds: u64) -> Instant {
        begun + Duration::from_secs(seconds)
    }

    #[test]
    fn a_dialogue_goes_on_however_little_is_said() {
        let begun = Instant::now();
        let mut talk = Talk::new(TIMEOUT, begun);
        for n in 1..20 {
            talk.heard(Side::Client, 6, true, after(begun, n * 900));
            talk.heard(Side::Server, 5, true, after(begun, n * 900 + 1));
            assert_eq!(talk.over(), after(begun, n * 900 + 1) + TIMEOUT);
        }
        assert_eq!(talk.dripping(talk.over()), None);
    }

    #[test]
    fn who_drips_ends_about_as_soon_as_who_is_silent() {
        let begun = Instant::now();
        for side in [Side::Client, Side::Server] {
            let mut talk = Talk::new(TIMEOUT, begun);
            let mut now = begun;
            while now < talk.over() {
                now += Duration::from_secs(1);
                talk.heard(side, 1, true, now);
            }
            assert!((1000..1015).contains(&(now - begun).as_secs()), "{:?}", now - begun);
            assert_eq!(talk.dripping(now), Some(side));
        }
    }

    #[test]
    fn who_makes_the_pace_may_go_on_and_pauses_are_no_harm() {
        let begun = Instant::now();
        let mut talk = Talk::new(TIMEOUT, begun);
        for hour in 0..10 {
            // 200 octets a second for three quarters of the time, then nothing.
            for second in 0..2700 {
                let now = after(begun, hour * 3600 + second);
                assert!(now < talk.over(), "{:?}", now - begun);
                talk.heard(Side::Client, 200, true, now);
            }
        }
    }

    #[test]
    fn who_is_not_waited_for_may_say_little() {
        let begun = Instant::now();
        let mut talk = Talk::new(TIMEOUT, begun);
        for n in 1..100 {
            talk.heard(Side::Server, 15, false, after(begun, n * 120));
        }
        assert_eq!(talk.over(), after(begun, 99 * 120) + TIMEOUT);
    }
}
