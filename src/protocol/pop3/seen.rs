//! What is known of the messages of a session: which are kept, and their unique-ids as they passed (RFC 1939, section 7).
//!
//! Message numbers are fixed as long as a session lasts, so nothing here is ever taken back. Bounded: what does not fit is not
//! known, which costs a question or a fetch. A unique-id that cannot be one (two messages have it, or it is nothing but the message's
//! number) is never relied upon: another message would pass for the one that is kept. So each is compared with all others that were
//! seen, listed or asked for one by one; what cannot be compared any more is not relied upon either.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};

use memchr::memchr;

use super::command::number;

/// The highest message number of which it is remembered that it is kept: a bit each.
const KEPT_MAX: u32 = 1 << 20;

/// Unique-ids, and their octets in all.
const UIDS_MAX: usize = 20_000;
const OCTETS_MAX: usize = 512 * 1024;

/// Unique-ids that are compared with each other: 16 octets each.
const COMPARED_MAX: usize = 50_000;

/// In the place of a message's number: it is more than one.
const SEVERAL: u32 = 0;

/// Octets of a unique-id. RFC 1939 allows 70.
const UID_LEN_MAX: usize = 255;

/// Octets of a line of `UIDL`.
const LINE_LEN_MAX: usize = UID_LEN_MAX + 32;

/// See the module.
#[derive(Default)]
pub(super) struct Seen {
    /// A bit for each message number.
    kept: Vec<u64>,
    /// In the order of their numbers.
    uids: Vec<Entry>,
    octets: Vec<u8>,
    /// Which message has the unique-id of this hash. Two of one hash are taken for the same, which costs a fetch.
    holders: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
    hasher: RandomState,
}

/// Of what is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only whole numbers are hashed");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

struct Entry {
    number: u32,
    /// Where it lies in `octets`.
    at: u32,
    /// 0: it is not to be relied upon.
    len: u16,
}

/// A message's unique-id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Uid<'a> {
    Unknown,
    /// There is one, which may be another message's as well.
    Doubtful,
    Known(&'a [u8]),
}

impl<'a> Uid<'a> {
    pub(super) fn known(self) -> Option<&'a [u8]> {
        match self {
            Uid::Known(uid) => Some(uid),
            Uid::Unknown | Uid::Doubtful => None,
        }
    }
}

impl Seen {
    pub(super) fn keep(&mut self, number: u32) {
        if number > KEPT_MAX {
            return;
        }
        let (word, bit) = place(number);
        if self.kept.len() <= word {
            self.kept.resize(word + 1, 0);
        }
        self.kept[word] |= bit;
    }

    pub(super) fn is_kept(&self, number: u32) -> bool {
        let (word, bit) = place(number);
        self.kept.get(word).is_some_and(|bits| bits & bit != 0)
    }

    pub(super) fn uid(&self, number: u32) -> Uid<'_> {
        let Ok(place) = self.place_of(number) else { return Uid::Unknown };
        match self.octets_of(&self.uids[place]) {
            // What is doubtful by itself has no octets here.
            uid if !uid.is_empty() && self.is_holder(number, uid) => Uid::Known(uid),
            _ => Uid::Doubtful,
        }
    }

    /// Whether this unique-id, just learnt, is this message's and no other's, as far as any was seen.
    pub(super) fn is_relied_upon(&self, number: u32, uid: &[u8]) -> bool {
        let another = self.place_of(number).is_ok_and(|place| self.octets_of(&self.uids[place]) != uid);
        !another && !is_doubtful(number, uid) && self.is_holder(number, uid)
    }

    fn is_holder(&self, number: u32, uid: &[u8]) -> bool {
        self.holders.get(&self.hasher.hash_one(uid)) == Some(&number)
    }

    pub(super) fn learn(&mut self, number: u32, uid: &[u8]) {
        self.compare(number, uid);
        let len = if is_doubtful(number, uid) { 0 } else { uid.len() };
        match self.place_of(number) {
            // It has another one all at once: then neither is to be relied upon.
            Ok(place) if self.octets_of(&self.uids[place]) != uid => self.uids[place].len = 0,
            Err(place) if self.uids.len() < UIDS_MAX && self.octets.len() + len <= OCTETS_MAX => {
                let entry = Entry { number, at: self.octets.len() as u32, len: len as u16 };
                self.octets.extend_from_slice(&uid[..len]);
                self.uids.insert(place, entry);
            }
            _ => {}
        }
    }

    /// Notes who has it. From the second message on it is nobody's.
    fn compare(&mut self, number: u32, uid: &[u8]) {
        if uid.len() > UID_LEN_MAX {
            return;
        }
        let room = self.holders.len() < COMPARED_MAX;
        match self.holders.entry(self.hasher.hash_one(uid)) {
            Place::Occupied(mut holder) if *holder.get() != number => *holder.get_mut() = SEVERAL,
            Place::Vacant(place) if room => drop(place.insert(number)),
            _ => {}
        }
    }

    fn place_of(&self, number: u32) -> Result<usize, usize> {
        // They are listed in order.
        if self.uids.last().is_none_or(|last| last.number < number) {
            return Err(self.uids.len());
        }
        self.uids.binary_search_by_key(&number, |entry| entry.number)
    }

    fn octets_of(&self, entry: &Entry) -> &[u8] {
        let at = entry.at as usize;
        &self.octets[at..at + usize::from(entry.len)]
    }
}

/// Whether this is no unique-id: there are servers that say the number of the message once more.
fn is_doubtful(message: u32, uid: &[u8]) -> bool {
    uid.is_empty() || uid.len() > UID_LEN_MAX || number(uid) == Some(message)
}

/// `number uid`, with nothing behind it.
pub(super) fn parse_uid(text: &[u8]) -> Option<(u32, &[u8])> {
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (number, uid) = (number(words.next()?)?, words.next()?);
    words.next().is_none().then_some((number, uid))
}

/// The lines of `UIDL` as they pass, in any pieces.
#[derive(Default)]
pub(super) struct UidLines {
    line: Vec<u8>,
}

impl UidLines {
    pub(super) fn take(&mut self, bytes: &[u8], seen: &mut Seen) {
        let mut rest = bytes;
        while let Some(end) = memchr(b'\n', rest) {
            let (piece, behind) = rest.split_at(end + 1);
            match self.line.is_empty() {
                true => learn(&piece[..piece.len().min(LINE_LEN_MAX)], seen),
                false => {
                    self.collect(piece);
                    learn(&self.line, seen);
                    self.line.clear();
                }
            }
            rest = behind;
        }
        self.collect(rest);
    }

    /// Of a line that is too long the end is missing.
    fn collect(&mut self, piece: &[u8]) {
        let room = LINE_LEN_MAX - self.line.len();
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

fn learn(line: &[u8], seen: &mut Seen) {
    if line.ends_with(b"\n")
        && let Some((number, uid)) = parse_uid(line)
    {
        seen.learn(number, uid);
    }
}

fn place(number: u32) -> (usize, u64) {
    (number as usize / 64, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Seen {
        let (mut whole, mut pieces) = (Seen::default(), Seen::default());
        UidLines::default().take(text.as_bytes(), &mut whole);
        let mut lines = UidLines::default();
        text.as_bytes().chunks(1).for_each(|byte| lines.take(byte, &mut pieces));
        assert!(whole.octets == pieces.octets && whole.uids.len() == pieces.uids.len());
        pieces
    }

    #[test]
    fn what_is_kept_stays_kept() {
        let mut seen = Seen::default();
        for number in [1, 63, 64, KEPT_MAX, KEPT_MAX + 1, u32::MAX] {
            assert!(!seen.is_kept(number));
            seen.keep(number);
            assert_eq!(seen.is_kept(number), number <= KEPT_MAX);
        }
        assert!(!seen.is_kept(2) && seen.is_kept(1));
        assert!(seen.kept.len() * 8 <= 128 * 1024 + 8);
    }

    #[test]
    fn unique_ids_are_learnt_in_any_order() {
        let seen = listed("3 c\r\n1 a\r\n2 \tb \r\n3 c\r\n");
        assert_eq!((seen.uid(1), seen.uid(2), seen.uid(3)), (Uid::Known(b"a"), Uid::Known(b"b"), Uid::Known(b"c")));
        assert_eq!(seen.uid(4), Uid::Unknown);
    }

    #[test]
    fn what_is_no_unique_id_is_not_taken_for_one() {
        let seen = listed("1 1\r\n2 same\r\n3 same\r\n4 d\r\n4 e\r\n5 f g\r\n6\r\nx y\r\n7 7a\r\n");
        for number in 1..=4 {
            assert_eq!(seen.uid(number), Uid::Doubtful, "{number}");
        }
        for number in [5, 6] {
            assert_eq!(seen.uid(number), Uid::Unknown, "{number}");
        }
        assert_eq!(seen.uid(7), Uid::Known(b"7a"));
        let long = listed(&format!("1 {}\r\n2 {}\r\n3 c\r\n", "x".repeat(UID_LEN_MAX + 1), "x".repeat(100_000)));
        assert_eq!((long.uid(1), long.uid(2), long.uid(3)), (Uid::Doubtful, Uid::Unknown, Uid::Known(b"c")));
    }

    #[test]
    fn unique_ids_are_compared_whichever_way_they_came() {
        let mut seen = Seen::default();
        for (number, uid) in [(1, "a"), (2, "b"), (2, "b"), (3, "a"), (4, "4"), (5, "4"), (6, "c"), (6, "d"), (7, "d")]
        {
            seen.learn(number, uid.as_bytes());
        }
        assert_eq!(seen.uid(2), Uid::Known(b"b"));
        for number in [1, 3, 4, 5, 6, 7] {
            assert_eq!(seen.uid(number), Uid::Doubtful, "{number}");
        }
        assert!(seen.is_relied_upon(2, b"b") && !seen.is_relied_upon(2, b"c") && !seen.is_relied_upon(3, b"a"));
    }

    #[test]
    fn what_cannot_be_compared_any_more_is_doubtful() {
        let uid = |number: u32| format!("uid{number}");
        let (mut seen, max) = (Seen::default(), COMPARED_MAX as u32);
        for number in 1..=max + 10 {
            seen.learn(number, uid(number).as_bytes());
            assert_eq!(seen.is_relied_upon(number, uid(number).as_bytes()), number <= max, "{number}");
        }
        assert_eq!((seen.uids.len(), seen.holders.len()), (UIDS_MAX, COMPARED_MAX));
        // What is compared still is, remembered or not.
        for (number, another) in [(1, max + 20), (max, max + 21), (max - 1, 2)] {
            seen.learn(another, uid(number).as_bytes());
            assert!(!seen.is_relied_upon(number, uid(number).as_bytes()));
            assert!(!seen.is_relied_upon(another, uid(number).as_bytes()));
        }
        assert_eq!((seen.uid(1), seen.uid(2)), (Uid::Doubtful, Uid::Doubtful));
        assert_eq!(seen.uid(3), Uid::Known(b"uid3"));
    }

    #[test]
    fn what_is_too_much_is_not_remembered() {
        let mut seen = Seen::default();
        for number in 1..=UIDS_MAX as u32 + 10 {
            seen.learn(number, format!("uid{number}").as_bytes());
        }
        assert_eq!((seen.uids.len(), seen.uid(UIDS_MAX as u32 + 1)), (UIDS_MAX, Uid::Unknown));
        let mut seen = Seen::default();
        for number in 1..=UIDS_MAX as u32 {
            seen.learn(number, format!("{number:0>250}x").as_bytes());
        }
        assert!(seen.octets.len() <= OCTETS_MAX && seen.uid(UIDS_MAX as u32) == Uid::Unknown);
    }
}
