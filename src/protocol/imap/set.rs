//! Sequence sets (RFC 9051, section 9, `sequence-set`).

use std::fmt::Write as _;

/// Numbers as a set, in the order given; runs become ranges. Empty for no numbers, which is no set.
pub(super) fn print(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut set = String::new();
    let mut run: Option<(u32, u32)> = None;
    let mut close = |run: Option<(u32, u32)>| {
        let Some((first, last)) = run else { return };
        let comma = if set.is_empty() { "" } else { "," };
        // Writing to a `String` cannot fail.
        let _ = match first == last {
            true => write!(set, "{comma}{first}"),
            false => write!(set, "{comma}{first}:{last}"),
        };
    };
    for number in numbers {
        run = match run {
            Some((first, last)) if last.checked_add(1) == Some(number) => Some((first, number)),
            other => {
                close(other);
                Some((number, number))
            }
        };
    }
    close(run);
    set
}

/// The numbers of a set that names them all and at most so many; `None` where `*` or `$` is in it, or it is no set.
pub(super) fn explicit(set: &[u8], count_max: usize) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for range in set.split(|&b| b == b',') {
        let (low, high) = bounds(range)?;
        if (high - low) as usize >= count_max.saturating_sub(numbers.len()) {
            return None;
        }
        numbers.extend(low..=high);
    }
    Some(numbers)
}

/// How many of a set's numbers are no higher than this; 0 where `*` or `$` is in it, or it is no set. It may name billions.
pub(super) fn count(set: &[u8], highest: u32) -> u32 {
    let ranges = set.split(|&b| b == b',').map(|range| {
        let (low, high) = bounds(range)?;
        Some(if low > highest { 0 } else { u64::from(high.min(highest) - low) + 1 })
    });
    ranges.sum::<Option<u64>>().map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX))
}

/// A set that many numbers are looked up in.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// In order, none touching the next.
    ranges: Vec<(u32, u32)>,
    /// `*` or `$` is in it.
    any: bool,
}

impl Ranges {
    pub(super) fn parse(set: &[u8]) -> Ranges {
        let parsed: Vec<Option<(u32, u32)>> = set.split(|&b| b == b',').map(bounds).collect();
        let any = parsed.iter().any(Option::is_none);
        let mut sorted: Vec<(u32, u32)> = parsed.into_iter().flatten().collect();
        sorted.sort_unstable();
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for (low, high) in sorted {
            match ranges.last_mut() {
                Some((_, last)) if low <= last.saturating_add(1) => *last = high.max(*last),
                _ => ranges.push((low, high)),
            }
        }
        Ranges { ranges, any }
    }

    /// Whether it names one number only.
    pub(super) fn is_single(&self) -> bool {
        !self.any && matches!(self.ranges[..], [(low, high)] if low == high)
    }

    /// Whether it may name this number: `*` and `$` may be any.
    pub(super) fn may_name(&self, number: u32) -> bool {
        let at = self.ranges.partition_point(|(_, high)| *high < number);
        self.any || self.ranges.get(at).is_some_and(|(low, _)| *low <= number)
    }
}

fn bounds(range: &[u8]) -> Option<(u32, u32)> {
    let mut ends = range.splitn(2, |&b| b == b':').map(number);
    let first = ends.next()??;
    let last = ends.next().unwrap_or(Some(first))?;
    Some((first.min(last), first.max(last)))
}

/// `nz-number`.
fn number(text: &[u8]) -> Option<u32> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let number = digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()?;
    (number > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_become_ranges() {
        assert_eq!(print([]), "");
        assert_eq!(print([5]), "5");
        assert_eq!(print([1, 2, 3, 7, 9, 10]), "1:3,7,9:10");
        assert_eq!(print([3, 2, 1]), "3,2,1");
        assert_eq!(print([u32::MAX, 1]), "4294967295,1");
    }

    #[test]
    fn numbers_are_counted_and_found_without_naming_them() {
        assert_eq!(count(b"1:3,9", u32::MAX), 4);
        assert_eq!((count(b"1:3,9", 2), count(b"1:3,9", 8), count(b"5", 4)), (2, 3, 0));
        assert_eq!(count(b"1:4294967295", u32::MAX), u32::MAX);
        assert_eq!((count(b"1:*", 9), count(b"x", 9)), (0, 0));
        let names = |set: &[u8], number| Ranges::parse(set).may_name(number);
        assert!(names(b"1:3,9", 2) && names(b"9:7", 8) && !names(b"1:3,9", 4) && !names(b"1:3,9", 10));
        assert!(names(b"9,5:7,1,4,6:8", 4) && !names(b"9,5:7,1,4,6:8", 3) && names(b"1:4294967295", u32::MAX));
        assert!(names(b"5:*", 4) && names(b"$", 1));
    }

    #[test]
    fn sets_that_name_all_their_numbers() {
        assert_eq!(explicit(b"1:3,9", 10), Some(vec![1, 2, 3, 9]));
        assert_eq!(explicit(b"3:1", 10), Some(vec![1, 2, 3]));
        assert_eq!(explicit(b"1:10", 10), Some((1..=10).collect()));
        for set in ["1:11", "1:4294967295", "1:*", "*", "$", "", "1,", "0", "a", "1:2:3", "4294967296"] {
            assert_eq!(explicit(set.as_bytes(), 10), None, "{set}");
        }
    }
}
