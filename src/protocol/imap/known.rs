//! Messages that are known for something, by sequence number and UID, in runs: a folder that was fetched from end to end is one run, however
//! many messages it has.

use std::collections::BTreeMap;

use super::due::Which;

/// Runs of either kind: beyond that a message that begins a new one is not remembered, which costs a second fetch.
pub(super) const RUNS_MAX: usize = 50_000;

/// Messages of the selected mailbox. Sequence numbers are those of the place in the response stream, as in [`super::due::Due`].
#[derive(Debug, Default)]
pub(super) struct Known {
    numbers: Numbers,
    uids: Uids,
}

impl Known {
    /// False: there is no room, and it is not remembered by all that is known of it.
    pub(super) fn insert(&mut self, which: Which) -> bool {
        let by_uid = which.uid.is_none_or(|uid| self.uids.insert(uid));
        which.sequence_number.is_none_or(|number| self.numbers.insert(number)) && by_uid
    }

    pub(super) fn has(&self, which: Which) -> bool {
        which.uid.is_some_and(|uid| self.uids.has(uid))
            || which.sequence_number.is_some_and(|number| self.numbers.has(number))
    }

    pub(super) fn expunged(&mut self, sequence_number: u32) {
        self.numbers.expunged(sequence_number);
    }

    pub(super) fn renumbered(&mut self) {
        self.numbers.runs.clear();
    }
}

/// First and last of each run, in order, none touching the next. They are all moved when a message before them goes.
#[derive(Debug, Default)]
struct Numbers {
    runs: Vec<(u32, u32)>,
}

impl Numbers {
    /// The first run that does not end before this number.
    fn place(&self, number: u32) -> usize {
        match self.runs.last() {
            // They come in order mostly.
            Some((_, last)) if *last < number => self.runs.len(),
            _ => self.runs.partition_point(|(_, last)| *last < number),
        }
    }

    fn has(&self, number: u32) -> bool {
        self.runs.get(self.place(number)).is_some_and(|(first, _)| *first <= number)
    }

    fn insert(&mut self, number: u32) -> bool {
        let at = self.place(number);
        let room = self.runs.len() < RUNS_MAX;
        let follows = at > 0 && self.runs[at - 1].1 + 1 == number;
        match self.runs.get_mut(at) {
            Some((first, _)) if *first <= number => {}
            Some((first, last)) if *first - 1 == number => match follows {
                true => {
                    self.runs[at - 1].1 = *last;
                    self.runs.remove(at);
                }
                false => *first = number,
            },
            _ if follows => self.runs[at - 1].1 = number,
            _ if room => self.runs.insert(at, (number, number)),
            _ => return false,
        }
        true
    }

    /// The number is gone, and those behind it are lower by one.
    fn expunged(&mut self, number: u32) {
        let at = self.place(number);
        for (first, last) in &mut self.runs[at..] {
            *first -= u32::from(*first > number);
            *last -= 1;
        }
        if let Some((first, last)) = self.runs.get(at).copied() {
            if last < first {
                self.runs.remove(at);
            }
            // What stood between two runs may be gone.
            if at > 0
                && let Some((first, last)) = self.runs.get(at).copied()
                && self.runs[at - 1].1 + 1 == first
            {
                self.runs[at - 1].1 = last;
                self.runs.remove(at);
            }
        }
    }
}

/// The last of each run by its first, none touching the next. They never move.
#[derive(Debug, Default)]
struct Uids {
    runs: BTreeMap<u32, u32>,
}

impl Uids {
    fn has(&self, uid: u32) -> bool {
        self.runs.range(..=uid).next_back().is_some_and(|(_, last)| uid <= *last)
    }

    fn insert(&mut self, uid: u32) -> bool {
        let room = self.runs.len() < RUNS_MAX;
        let next = uid.checked_add(1).and_then(|next| Some((next, *self.runs.get(&next)?)));
        match (self.runs.range_mut(..=uid).next_back(), next) {
            (Some((_, last)), _) if uid <= *last => {}
            (Some((_, last)), None) if *last + 1 == uid => *last = uid,
            (Some((_, last)), Some((next, end))) if *last + 1 == uid => {
                *last = end;
                self.runs.remove(&next);
            }
            (_, Some((next, end))) => {
                self.runs.remove(&next);
                self.runs.insert(uid, end);
            }
            (_, None) if room => drop(self.runs.insert(uid, uid)),
            (_, None) => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn number(sequence_number: u32) -> Which {
        Which { sequence_number: Some(sequence_number), uid: None }
    }

    fn uid(uid: u32) -> Which {
        Which { sequence_number: None, uid: Some(uid) }
    }

    #[test]
    fn a_folder_fetched_from_end_to_end_is_one_run() {
        let (mut upwards, mut downwards) = (Known::default(), Known::default());
        for n in 1..=500_000 {
            upwards.insert(Which { sequence_number: Some(n), uid: Some(n + 7) });
            let n = 500_001 - n;
            downwards.insert(Which { sequence_number: Some(n), uid: Some(n + 7) });
        }
        for known in [&mut upwards, &mut downwards] {
            assert_eq!((known.numbers.runs.len(), known.uids.runs.len()), (1, 1));
            assert!(known.has(number(1)) && known.has(number(500_000)) && known.has(uid(8)) && known.has(uid(500_007)));
            assert!(!known.has(number(500_001)) && !known.has(uid(7)) && !known.has(uid(500_008)));
            (1..=400_000).for_each(|_| known.expunged(1));
            assert_eq!(known.numbers.runs, [(1, 100_000)]);
        }
    }

    #[test]
    fn the_highest_numbers_are_numbers_too() {
        let mut known = Known::default();
        for n in [u32::MAX, u32::MAX - 1, 1, u32::MAX] {
            known.insert(Which { sequence_number: Some(n), uid: Some(n) });
        }
        assert!(known.has(number(u32::MAX)) && known.has(uid(u32::MAX - 1)) && !known.has(uid(2)));
        assert_eq!((known.numbers.runs.len(), known.uids.runs.len()), (2, 2));
    }

    #[test]
    fn what_is_too_much_is_not_remembered() {
        let mut known = Known::default();
        for n in 1..=RUNS_MAX as u32 + 10 {
            known.insert(Which { sequence_number: Some(2 * n), uid: Some(2 * n) });
        }
        assert_eq!((known.numbers.runs.len(), known.uids.runs.len()), (RUNS_MAX, RUNS_MAX));
        let last = 2 * RUNS_MAX as u32;
        assert!(known.has(uid(last)) && !known.has(uid(last + 2)) && !known.has(number(last + 2)));
        known.insert(Which { sequence_number: Some(last + 1), uid: Some(last + 1) });
        assert!(known.has(uid(last + 1)) && known.has(number(last + 1)));
    }

    proptest! {
        #[test]
        fn runs_are_a_set(steps in prop::collection::vec((any::<bool>(), 1u32..40), 0..120)) {
            let (mut known, mut numbers, mut uids) = (Known::default(), BTreeSet::new(), BTreeSet::new());
            for (expunge, n) in steps {
                if expunge {
                    known.expunged(n);
                    numbers.remove(&n);
                    numbers = numbers.iter().map(|&number| number - u32::from(number > n)).collect();
                } else {
                    known.insert(Which { sequence_number: Some(n), uid: Some(n) });
                    numbers.insert(n);
                    uids.insert(n);
                }
                for n in 1..45 {
                    prop_assert_eq!(known.has(number(n)), numbers.contains(&n));
                    prop_assert_eq!(known.has(uid(n)), uids.contains(&n));
                }
                let apart = known.numbers.runs.windows(2).all(|two| two[0].1 + 1 < two[1].0);
                prop_assert!(apart && known.numbers.runs.iter().all(|(first, last)| first <= last));
                let runs: Vec<(u32, u32)> = known.uids.runs.iter().map(|(first, last)| (*first, *last)).collect();
                prop_assert!(runs.windows(2).all(|two| two[0].1 + 1 < two[1].0));
            }
        }
    }
}
