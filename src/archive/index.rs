//! Where messages were seen, by hash, in little memory: of each eight octets of its hash, and what its file's name has besides size and hash.
//!
//! An answer is a guess: the caller has the whole hash and the size, and looks whether a file stands under the name that follows from them. Of two
//! messages whose eight octets are the same, the later one is remembered.
//!
//! Most names are ours: numbers, a host and flags that are the same in many. Others are remembered as they are.

use std::collections::HashMap;

use super::name::{self, Hash};
use super::safe;

/// What a name costs that is remembered as it is, or a form, in names of ours.
const ODD_COST: usize = 4;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Index {
    names: HashMap<u64, Name>,
    odd: HashMap<u64, Odd>,
    /// Hosts and tails of the names, each pair once.
    forms: Vec<Form>,
    form_numbers: HashMap<Form, u16>,
    /// That of the latest name: mostly the next one's.
    form: u16,
}

/// A name of ours, 24 octets.
#[derive(Debug)]
struct Name {
    micros: u64,
    count: u32,
    pid: u32,
    change: u32,
    leaf: u16,
    form: u16,
}

/// Any other name, with a NUL in the place of its hash.
#[derive(Debug)]
struct Odd {
    leaf: usize,
    change: u64,
    text: Box<[u8]>,
}

/// What stands between count and size, and behind the hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Form {
    host: Box<[u8]>,
    tail: Box<[u8]>,
}

/// Where a message was seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sighting {
    /// The folder's number.
    pub(super) leaf: usize,
    /// The folder's count of changes when it came there.
    pub(super) change: u64,
    pub(super) name: Vec<u8>,
}

/// By which a message is remembered.
pub(super) fn key(hash: &Hash) -> u64 {
    let (first, _) = hash.split_first_chunk().unwrap_or((&[0; 8], &[]));
    u64::from_be_bytes(*first)
}

impl Index {
    /// What it costs, in names of ours.
    pub(super) fn cost(&self) -> usize {
        self.names.len() + (self.odd.len() + self.forms.len()) * ODD_COST
    }

    pub(super) fn contains(&self, hash: &Hash) -> bool {
        let key = key(hash);
        self.names.contains_key(&key) || self.odd.contains_key(&key)
    }

    /// Where the message of this hash and size would stand.
    pub(super) fn find(&self, hash: &Hash, size: u64) -> Option<Sighting> {
        let key = key(hash);
        if let Some(name) = self.names.get(&key) {
            let form = &self.forms[usize::from(name.form)];
            let Name { micros, count, pid, .. } = name;
            let numbers = format!("{}.M{:06}P{pid}Q{count}.", micros / 1_000_000, micros % 1_000_000);
            let measure = format!(",S={size},H={}", safe::hex(hash));
            let text = [numbers.as_bytes(), &form.host, measure.as_bytes(), &form.tail].concat();
            return Some(Sighting { leaf: usize::from(name.leaf), change: u64::from(name.change), name: text });
        }
        let odd = self.odd.get(&key)?;
        let mut parts = odd.text.splitn(2, |&b| b == 0);
        let (head, tail) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let text = [head, safe::hex(hash).as_bytes(), tail].concat();
        Some(Sighting { leaf: odd.leaf, change: odd.change, name: text })
    }

    /// Remembers a file with this hash in its name, which begins at `at` there.
    pub(super) fn insert(&mut self, hash: &Hash, leaf: usize, change: u64, name: &[u8], at: usize) {
        let key = key(hash);
        if let Some(ours) = self.ours(leaf, change, name, at) {
            self.odd.remove(&key);
            self.names.insert(key, ours);
            return;
        }
        let text = [&name[..at], &b"\0"[..], &name[at + 64..]].concat().into();
        self.names.remove(&key);
        self.odd.insert(key, Odd { leaf, change, text });
    }

    /// Forgets what came to this folder with a change for which `is_gone`, and calls for the key of each.
    pub(super) fn forget(&mut self, leaf: usize, is_gone: impl Fn(u64) -> bool, mut action: impl FnMut(u64)) {
        let mut stays = |key: u64, of: usize, change: u64| {
            let gone = of == leaf && is_gone(change);
            if gone {
                action(key);
            }
            !gone
        };
        self.names.retain(|key, name| stays(*key, usize::from(name.leaf), u64::from(name.change)));
        self.odd.retain(|key, odd| stays(*key, odd.leaf, odd.change));
    }

    /// None for a name that would not be read back as it is.
    fn ours(&mut self, leaf: usize, change: u64, name: &[u8], at: usize) -> Option<Name> {
        let (seconds, rest) = number(name)?;
        let rest = rest.strip_prefix(b".M")?;
        let (micros, rest) = rest.split_at_checked(6)?;
        let micros = digits(micros)?;
        let (pid, rest) = number(rest.strip_prefix(b"P")?)?;
        let (count, rest) = number(rest.strip_prefix(b"Q")?)?;
        let rest = rest.strip_prefix(b".")?;
        // What stands before the hash is a size and nothing else.
        let measured = rest.len().checked_sub(name.len() - at)?;
        let (middle, tail) = (&rest[..measured], &name[at + 64..]);
        let comma = middle.strip_suffix(name::HASH_FIELD)?.iter().rposition(|&b| b == b',')?;
        let (host, size) = middle.split_at(comma);
        let (_, rest) = number(size.strip_prefix(b",S=")?)?;
        if rest != name::HASH_FIELD {
            return None;
        }
        let micros = seconds.checked_mul(1_000_000)?.checked_add(micros)?;
        let (count, pid) = (u32::try_from(count).ok()?, u32::try_from(pid).ok()?);
        let (leaf, change) = (u16::try_from(leaf).ok()?, u32::try_from(change).ok()?);
        let form = self.form(host, tail)?;
        Some(Name { micros, count, pid, change, leaf, form })
    }

    /// The number of this pair; none where there are too many.
    fn form(&mut self, host: &[u8], tail: &[u8]) -> Option<u16> {
        let latest = self.forms.get(usize::from(self.form));
        if !latest.is_some_and(|form| *form.host == *host && *form.tail == *tail) {
            let form = Form { host: host.into(), tail: tail.into() };
            self.form = match self.form_numbers.get(&form) {
                Some(&number) => number,
                None => {
                    let number = u16::try_from(self.forms.len()).ok()?;
                    self.forms.push(form.clone());
                    self.form_numbers.insert(form, number);
                    number
                }
            };
        }
        Some(self.form)
    }
}

/// A number as we write it, and what follows.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    (number.len() == 1 || number.first()? != &b'0').then_some((digits(number)?, rest))
}

fn digits(text: &[u8]) -> Option<u64> {
    let digit = |b: &u8| b.is_ascii_digit().then(|| u64::from(b - b'0'));
    text.iter().try_fold(0_u64, |number, b| number.checked_mul(10)?.checked_add(digit(b)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(number: u8) -> Hash {
        [number; 32]
    }

    /// Puts one name in, and looks for it.
    fn put(index: &mut Index, number: u8, leaf: usize, change: u64, name: &str) -> Option<Sighting> {
        let (at, its) = name::find_hash(name.as_bytes()).expect("a hash");
        assert_eq!(its, hash(number));
        index.insert(&its, leaf, change, name.as_bytes(), at);
        index.find(&its, 77)
    }

    #[test]
    fn names_of_ours_take_little() {
        assert_eq!(size_of::<(u64, Name)>(), 32);
        let mut index = Index::default();
        let digits = safe::hex(&hash(3));
        for (number, name) in [
            (1, format!("1700000000.M000042P4194304Q4294967295.mail.example.org,S=77,H={digits}")),
            (1, format!("1.M999999P1Q0.h,S=77,H={digits}:2,FS")),
            (1, format!("1.M999999P1Q0.,S=77,H={digits},W=9:2,")),
            // Another size under its own name: it would not be looked for there.
            (ODD_COST, format!("1.M999999P1Q1.h,S=077,H={digits}")),
            (ODD_COST, format!("01.M999999P1Q1.h,S=77,H={digits}")),
            (ODD_COST, format!("1.M99999P1Q1.h,S=77,H={digits}")),
            (ODD_COST, format!("1.M0000001P1Q1.h,S=77,H={digits}")),
            (ODD_COST, format!("1.M000000P1Q4294967296.h,S=77,H={digits}")),
            (ODD_COST, format!("1.M000000P1Q1.h,S=77,W=1,H={digits}")),
            (ODD_COST, format!("99999999999999999999.M000000P1Q1.h,S=77,H={digits}")),
            (ODD_COST, format!("x,H={digits}")),
            (ODD_COST, format!(",H={digits}:2,S")),
        ] {
            let found = put(&mut index, 3, 2, 9, &name).expect("what was put in");
            assert_eq!((found.leaf, found.change, found.name), (2, 9, name.clone().into_bytes()));
            let forms = index.forms.len() * ODD_COST;
            assert_eq!(index.cost() - forms, number, "{name}");
        }
        assert!(index.contains(&hash(3)) && !index.contains(&hash(4)));
        assert_eq!(index.find(&hash(4), 77), None);
    }

    #[test]
    fn each_form_costs_once() {
        let mut index = Index::default();
        for number in 0..30 {
            let name = format!("1.M000000P1Q1.h{},S=77,H={}", number / 10, safe::hex(&hash(number)));
            put(&mut index, number, 0, 0, &name);
        }
        assert_eq!(index.cost(), 30 + 3 * ODD_COST);
    }

    #[test]
    fn folders_and_changes_beyond_number_are_remembered_all_the_same() {
        let mut index = Index::default();
        for (number, leaf, change) in [(1, 0, 0), (2, 65_536, 1), (3, 1, 1 << 40)] {
            let name = format!("1.M000000P1Q1.h,S=77,H={}", safe::hex(&hash(number)));
            let found = put(&mut index, number, leaf, change, &name).expect("what was put in");
            assert_eq!((found.leaf, found.change), (leaf, change));
        }
    }

    #[test]
    fn what_is_forgotten_is_told() {
        let mut index = Index::default();
        for (number, leaf, change, start) in [(1, 0, 5, ""), (2, 0, 6, ""), (3, 1, 5, ""), (4, 0, 5, "odd")] {
            let name = format!("{start}1.M000000P1Q1.h,S=77,H={}", safe::hex(&hash(number)));
            put(&mut index, number, leaf, change, &name);
        }
        let mut gone = Vec::new();
        index.forget(0, |change| change == 5, |key| gone.push(key));
        gone.sort_unstable();
        assert_eq!(gone, [1, 4].map(|number| key(&hash(number))));
        assert!([2, 3].iter().all(|&number| index.contains(&hash(number))));
    }

    proptest! {
        #[test]
        fn every_name_is_read_back(head in "[0-9.MPQah]{0,24}", micros in "[0-9]{5,7}", host in "[a-z,.S=\\\\]{0,8}", tail in "(|[:,][!-~]{0,9})") {
            let digits = safe::hex(&hash(1));
            let mut index = Index::default();
            for name in [
                format!("{head},H={digits}{tail}"),
                format!("170.M{micros}P1Q1.{host},S=77,H={digits}{tail}"),
                format!("{head}.M000001P2Q3.{host},S=77,H={digits}{tail}"),
            ] {
                if name::find_hash(name.as_bytes()).is_none_or(|(_, its)| its != hash(1)) {
                    continue;
                }
                let found = put(&mut index, 1, 0, 0, &name).expect("what was put in");
                prop_assert_eq!(String::from_utf8(found.name).unwrap(), name);
            }
        }
    }
}
