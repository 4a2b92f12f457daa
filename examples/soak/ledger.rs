//! What has to be in the archive, and what was found there.
//!
//! A *claim* says: at some time since then this message lay in this owner's Maildir, for its completion was seen. It is met if the message was
//! found (and perhaps removed, as an administrator may) at any later time. A *weak* claim is one that a disturbance excuses: what the
//! client saw only in part may have been told as `not kept` then.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::messages::{Hash, hex, user};

type Copy = (usize, Hash);

#[derive(Default)]
pub(crate) struct Ledger {
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    /// What each owner may have.
    offered: HashSet<Copy>,
    found: HashMap<Copy, Instant>,
    /// The latest of each copy: what meets it meets the earlier.
    claims: HashMap<Copy, Claim>,
    weak: HashMap<Copy, Claim>,
    checked: u64,
}

#[derive(Clone, Copy)]
struct Claim {
    since: Instant,
    what: &'static str,
}

impl Ledger {
    /// From now on the owner may have this message.
    pub(crate) fn offer(&self, owner: usize, hash: Hash) {
        self.book().offered.insert((owner, hash));
    }

    pub(crate) fn is_offered(&self, owner: usize, hash: Hash) -> bool {
        self.book().offered.contains(&(owner, hash))
    }

    pub(crate) fn claim(&self, owner: usize, hash: Hash, since: Instant, what: &'static str) {
        keep_latest(&mut self.book().claims, (owner, hash), Claim { since, what });
    }

    pub(crate) fn claim_weakly(&self, owner: usize, hash: Hash, since: Instant, what: &'static str) {
        keep_latest(&mut self.book().weak, (owner, hash), Claim { since, what });
    }

    /// The message lay there a moment ago. False if it is none of this owner's.
    pub(crate) fn found(&self, owner: usize, hash: Hash) -> bool {
        let mut book = self.book();
        book.found.insert((owner, hash), Instant::now());
        book.offered.contains(&(owner, hash))
    }

    /// How many claims were checked so far.
    pub(crate) fn checked(&self) -> u64 {
        self.book().checked
    }

    /// All claims are due; the sentences are those that are not met. To be asked when nothing is on its way and the whole spool was looked through.
    pub(crate) fn settle(&self, excused: impl Fn(usize, Instant) -> bool) -> Vec<String> {
        let mut book = self.book();
        let (claims, weak) = (std::mem::take(&mut book.claims), std::mem::take(&mut book.weak));
        book.checked += (claims.len() + weak.len()) as u64;
        let missing = |(copy, claim): &(&Copy, &Claim)| book.found.get(copy).is_none_or(|found| *found < claim.since);
        let weak = weak.iter().filter(missing).filter(|((owner, _), claim)| !excused(*owner, claim.since));
        claims.iter().filter(missing).chain(weak).map(|(copy, claim)| sentence(copy, claim)).collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep_latest(claims: &mut HashMap<Copy, Claim>, copy: Copy, claim: Claim) {
    let kept = claims.entry(copy).or_insert(claim);
    if claim.since > kept.since {
        *kept = claim;
    }
}

fn sentence((owner, hash): &Copy, claim: &Claim) -> String {
    format!(
        "a message is missing in the archive: {} of {}, {:.0} s ago, hash={}",
        claim.what,
        user(*owner),
        claim.since.elapsed().as_secs_f64(),
        hex(hash)
    )
}
