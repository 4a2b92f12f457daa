//! How a session falls asleep: by steps, for most pauses are short, and most sessions sleep most of the time.
//!
//! ```text
//!    Awake ──nothing for a moment──► Dozing ──nothing for `rest_after`──► Over
//!      ▲                               │                                   │
//!      └───────────anything────────────┴────────────run again──────────────┘
//! ```
//!
//! Going to *Dozing*, a session gives its buffers back and acknowledges what it has read. *Over*: it gives its stack back.

use std::time::Duration;

/// Within this a dialogue goes on; poll(2) knows no shorter time.
const MOMENT: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub(super) struct Repose {
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Awake,
    Dozing,
    Over,
}

impl Repose {
    /// Something happened.
    pub(super) fn wake(&mut self) {
        self.stage = Stage::Awake;
    }

    /// How long to sleep until the next step; none where there is none.
    pub(super) fn next(&self, rest_after: Duration) -> Option<Duration> {
        match self.stage {
            Stage::Awake => Some(MOMENT),
            Stage::Dozing => Some(rest_after),
            Stage::Over => None,
        }
    }

    /// Nothing happened for so long. True if the session dozes off by it.
    pub(super) fn step(&mut self) -> bool {
        let awake = self.stage == Stage::Awake;
        self.stage = if awake { Stage::Dozing } else { Stage::Over };
        awake
    }

    pub(super) fn is_awake(&self) -> bool {
        self.stage == Stage::Awake
    }

    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_comes_by_steps_and_whatever_happens_ends_it() {
        let long = Duration::from_secs(1);
        let mut repose = Repose::default();
        assert_eq!(repose.next(long), Some(MOMENT));
        assert!(repose.step() && !repose.is_over());
        assert_eq!(repose.next(long), Some(long));
        repose.wake();
        assert_eq!(repose.next(long), Some(MOMENT));
        assert!(repose.step() && !repose.step() && repose.is_over());
        assert_eq!(repose.next(long), None);
        repose.wake();
        assert!(!repose.is_over());
    }
}
