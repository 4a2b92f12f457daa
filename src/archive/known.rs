//! What lies in the Maildirs already, by hash: a cache of the names there, and of which folders are flushed.
//!
//! The Maildir is the only truth. A message counts as known only while its file stands where the cache (or else one look through the
//! owner's folders) says, with the right size. Whatever is forgotten here, or happens behind its back, costs a look through the folders or a copy
//! too many; never a message.
//!
//! Locks: one for the table of owners, one for each owner. Who holds an owner's may take the table's; who holds the table's only
//! tries an owner's. Neither is held while anything is flushed.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use super::error::Error;
use super::maildir::{Place, Spool, octets};
use super::name::Hash;
use super::seen::{OWNER_COST, Seen};

/// The names known of all owners.
#[derive(Debug)]
pub(super) struct Known {
    /// How many names are remembered at most.
    names_max: usize,
    owners: Mutex<Owners>,
}

#[derive(Debug, Default)]
struct Owners {
    /// By Maildir: see [`octets`].
    slots: HashMap<Box<[u8]>, Slot>,
    /// The sum of all slots' cost.
    cost: usize,
    /// Counts uses, to tell who was used last.
    uses: u64,
}

#[derive(Debug)]
struct Slot {
    seen: Arc<Mutex<Seen>>,
    cost: usize,
    used: u64,
    /// When that was.
    at: Instant,
}

/// A message that lies in its folder, which may still have to be flushed.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    seen: Arc<Mutex<Seen>>,
    place: Place,
    leaf: usize,
    change: u64,
}

impl Mark {
    /// Takes over the other's place if it came later; both are of the same leaf.
    pub(super) fn advance(&mut self, other: &Mark) {
        self.change = self.change.max(other.change);
    }

    /// Whether the message's folder is on disk as far as we know.
    #[cfg(test)]
    pub(super) fn is_flushed(&self) -> bool {
        lock(&self.seen).leaves[self.leaf].flushed >= self.change
    }

    /// Of marks that are there at the same time: where it is the same, flushing the one flushes the other's folder too.
    pub(super) fn folder(&self) -> (*const Mutex<Seen>, usize) {
        (Arc::as_ptr(&self.seen), self.leaf)
    }
}

/// One owner's Maildir, locked.
pub(super) struct Lookup<'a> {
    shared: &'a Arc<Mutex<Seen>>,
    seen: MutexGuard<'a, Seen>,
}

impl Known {
    pub(super) fn new(names_max: usize) -> Known {
        Known { names_max, owners: Mutex::default() }
    }

    /// Whether it is known what lies in this Maildir, or somebody is looking.
    pub(super) fn is_loaded(&self, maildir: &Path) -> bool {
        match try_lock(&self.open(maildir, Instant::now())) {
            Some(seen) => seen.is_loaded(),
            None => true,
        }
    }

    /// Forgets owners of whom nobody has asked since then.
    pub(super) fn forget_unused(&self, since: Instant) {
        let mut owners = lock(&self.owners);
        let unused = owners.slots.iter().filter(|(_, slot)| slot.at < since);
        let unused: Vec<Box<[u8]>> = unused.map(|(maildir, _)| maildir.clone()).collect();
        unused.iter().for_each(|maildir| owners.shrink(maildir));
    }

    /// Does something with what is known of one Maildir while nobody else does.
    pub(super) fn with<T>(&self, maildir: &Path, action: impl FnOnce(&mut Lookup<'_>) -> T) -> T {
        let now = Instant::now();
        let shared = self.open(maildir, now);
        let mut lookup = Lookup { shared: &shared, seen: lock(&shared) };
        lookup.seen.begin(now);
        let result = action(&mut lookup);
        self.account(maildir, lookup.seen.cost());
        result
    }

    /// The marked message's folder is on disk: flushed now, or by anybody since the message came there.
    ///
    /// # Errors
    /// Also where a flush that covered this message failed before, in another session: a second one would prove nothing.
    pub(super) fn flush(&self, spool: &Spool, mark: &Mark) -> Result<(), Error> {
        let (dir, before, upto) = {
            let seen = lock(&mark.seen);
            let leaf = &seen.leaves[mark.leaf];
            leaf.check(mark.change, &seen.maildir)?;
            if leaf.flushed >= mark.change {
                return Ok(());
            }
            (seen.maildir.join(&leaf.path), leaf.flushed, leaf.changes)
        };
        spool.anchor(&mark.place)?;
        let flushed = spool.flush_dir(&dir);
        let mut seen = lock(&mark.seen);
        match flushed {
            Ok(()) => {
                let leaf = &mut seen.leaves[mark.leaf];
                // Others may want to have it on disk.
                if spool.flushes() {
                    leaf.flushed = leaf.flushed.max(upto);
                }
                let leaf = &seen.leaves[mark.leaf];
                leaf.check(mark.change, &seen.maildir)
            }
            Err(e) => {
                if !e.is_before_flush() {
                    seen.distrust(mark.leaf, before, upto);
                }
                Err(e)
            }
        }
    }

    fn open(&self, maildir: &Path, now: Instant) -> Arc<Mutex<Seen>> {
        let mut owners = lock(&self.owners);
        owners.uses += 1;
        let used = owners.uses;
        if let Some(slot) = owners.slots.get_mut(octets(maildir)) {
            (slot.used, slot.at) = (used, now);
            return Arc::clone(&slot.seen);
        }
        let seen = Arc::new(Mutex::new(Seen::new(maildir.into(), self.names_max)));
        let slot = Slot { seen: Arc::clone(&seen), cost: OWNER_COST, used, at: now };
        owners.cost += slot.cost;
        owners.slots.insert(octets(maildir).into(), slot);
        seen
    }

    /// Notes what the owner costs now, and makes room at the expense of those not used for longest.
    fn account(&self, maildir: &Path, cost: usize) {
        let mut owners = lock(&self.owners);
        let maildir = octets(maildir);
        let Some(slot) = owners.slots.get_mut(maildir) else {
            return;
        };
        let before = std::mem::replace(&mut slot.cost, cost);
        owners.cost = owners.cost - before + cost;
        if owners.cost <= self.names_max {
            return;
        }
        let mut oldest: Vec<(u64, Box<[u8]>)> = owners
            .slots
            .iter()
            .filter(|(other, _)| ***other != *maildir)
            .map(|(other, slot)| (slot.used, other.clone()))
            .collect();
        oldest.sort_unstable();
        for (_, other) in oldest {
            // A little below, not to sort all owners again for the next name.
            if owners.cost <= self.names_max - self.names_max / 16 {
                break;
            }
            owners.shrink(&other);
        }
    }

    /// As if flushing all up to this message had failed.
    #[cfg(test)]
    pub(super) fn fail_flush(&self, mark: &Mark) {
        let mut seen = lock(&mark.seen);
        let before = seen.leaves[mark.leaf].flushed;
        seen.distrust(mark.leaf, before, mark.change);
    }

    #[cfg(test)]
    fn cost(&self) -> usize {
        lock(&self.owners).cost
    }
}

impl Owners {
    /// Forgets an owner; one who is in use only loses his names, for others wait for flushes of his folders.
    fn shrink(&mut self, maildir: &[u8]) {
        let Some(slot) = self.slots.get_mut(maildir) else {
            return;
        };
        let before = slot.cost;
        // Others can come by it only through this table, which we hold.
        let unused = Arc::strong_count(&slot.seen) == 1;
        let Some(mut seen) = try_lock(&slot.seen) else { return };
        if unused && !seen.is_distrusted() {
            drop(seen);
            self.slots.remove(maildir);
            self.cost -= before;
        } else {
            seen.forget_names();
            let cost = seen.cost();
            drop(seen);
            slot.cost = cost;
            self.cost = self.cost - before + cost;
        }
    }
}

impl Lookup<'_> {
    /// Looks through the owner's folders now, if that was not done yet.
    pub(super) fn load(&mut self) {
        self.seen.load();
    }

    /// Where the message lies that has this hash and size, if it does.
    pub(super) fn find(&mut self, hash: &Hash, size: u64) -> Option<Mark> {
        let (leaf, change) = self.seen.find(hash, size)?;
        let maildir = Arc::clone(&self.seen.maildir);
        // `.Sent/cur` lies in `.Sent`, `cur` in the Maildir.
        let dir = match self.seen.leaves[leaf].path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => maildir.join(folder).into(),
            _ => Arc::clone(&maildir),
        };
        Some(self.mark(Place { maildir, dir }, leaf, change))
    }

    /// A message was renamed into `new` or `cur` (`outgoing`) of the folder under this name.
    pub(super) fn insert(&mut self, place: &Place, outgoing: bool, name: &str, hash: &Hash) -> Mark {
        let leaf = self.seen.leaf_of(&place.dir, Place::leaf_name(outgoing));
        let change = self.seen.insert(leaf, name.as_bytes(), hash);
        self.mark(place.clone(), leaf, change)
    }

    fn mark(&self, place: Place, leaf: usize, change: u64) -> Mark {
        Mark { seen: Arc::clone(self.shared), place, leaf, change }
    }
}

/// None where somebody has it.
fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// A session that panicked must not take the others along: what it left here is a cache, and is checked before use.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::name;
    use super::*;

    struct Mailbox {
        dir: tempfile::TempDir,
        spool: Spool,
        known: Known,
    }

    impl Mailbox {
        fn new(names_max: usize) -> Mailbox {
            let dir = tempfile::tempdir().unwrap();
            let spool = Spool::new(dir.path().to_path_buf(), true);
            let known = Known::new(names_max);
            Mailbox { dir, spool, known }
        }

        fn place(&self, owner: &str) -> Place {
            let place = Place::new(&self.dir.path().join(owner), "");
            self.spool.forget(&place);
            self.spool.ensure(&place).unwrap();
            place
        }

        /// A message of no bytes with this (made up) hash comes to `new`.
        fn put(&self, owner: &str, hash: u8) -> Mark {
            let place = self.place(owner);
            let name = name::Unique::new().message(0, &[hash; 32], false);
            fs::write(place.leaf(false).join(&name), b"").unwrap();
            self.known.with(&place.maildir, |lookup| {
                lookup.find(&[hash; 32], 0);
                lookup.insert(&place, false, &name, &[hash; 32])
            })
        }

        fn has(&self, owner: &str, hash: u8) -> bool {
            let maildir = self.place(owner).maildir;
            self.known.with(&maildir, |lookup| lookup.find(&[hash; 32], 0)).is_some()
        }
    }

    #[test]
    fn the_budget_holds_over_all_owners() {
        let mailbox = Mailbox::new(200);
        for owner in 0..20 {
            for hash in 0..30 {
                mailbox.put(&owner.to_string(), hash);
                assert!(mailbox.known.cost() <= 200);
            }
        }
        assert!((0..20).all(|owner| mailbox.has(&owner.to_string(), 7)));
    }

    #[test]
    fn who_is_not_asked_of_is_forgotten_but_for_what_is_not_on_disk() {
        let mailbox = Mailbox::new(1_000);
        for owner in ["a", "b", "c"] {
            let mark = mailbox.put(owner, 1);
            match owner {
                // A flush failed: what was put there must not be believed again.
                "b" => mailbox.known.fail_flush(&mark),
                _ => mailbox.known.flush(&mailbox.spool, &mark).unwrap(),
            }
        }
        let waiting = mailbox.put("c", 2);
        mailbox.known.forget_unused(Instant::now() - std::time::Duration::from_secs(3_600));
        let all = mailbox.known.cost();
        mailbox.known.forget_unused(Instant::now() + std::time::Duration::from_secs(1));
        assert!(mailbox.known.cost() < all);
        assert_eq!(lock(&mailbox.known.owners).slots.len(), 2);
        assert!(mailbox.has("a", 1) && !mailbox.has("b", 1) && mailbox.has("c", 1));
        mailbox.known.flush(&mailbox.spool, &waiting).unwrap();
        assert!(mailbox.has("c", 2));
    }

    #[test]
    fn one_owner_alone_never_holds_more_than_the_budget() {
        let mailbox = Mailbox::new(10);
        for hash in 0..30 {
            mailbox.put("a", hash);
        }
        // Its two folders count as well.
        assert!(mailbox.known.cost() <= 10 + OWNER_COST + 2);
        assert!((0..30).all(|hash| mailbox.has("a", hash)));
        assert!(!mailbox.has("a", 30));
    }

    #[test]
    fn a_hit_looks_at_one_file_and_a_miss_at_none() {
        let mailbox = Mailbox::new(100);
        mailbox.put("a", 1);
        assert!(mailbox.has("a", 1) && !mailbox.has("a", 2));
        // Files that came behind the cache's back show whether the folder was read again.
        let place = mailbox.place("a");
        let name = name::Unique::new().message(0, &[2; 32], false);
        fs::write(place.leaf(false).join(name), b"").unwrap();
        assert!(mailbox.has("a", 1) && !mailbox.has("a", 2));
    }

    #[test]
    fn what_was_imported_is_found_without_a_restart() {
        let mailbox = Mailbox::new(100);
        let place = mailbox.place("a");
        let mark = place.maildir.join(super::super::seen::IMPORTED);
        mailbox.put("a", 1);
        for hash in 2..5 {
            let name = name::Unique::new().message(0, &[hash; 32], false);
            fs::write(place.leaf(false).join(name), b"").unwrap();
            assert!(!mailbox.has("a", hash));
            // As scripts/import does: made, then changed, then made anew.
            if hash == 4 {
                fs::remove_file(&mark).unwrap();
            }
            let file = fs::OpenOptions::new().create(true).append(true).open(&mark).unwrap();
            file.set_modified(std::time::SystemTime::now()).unwrap();
            let end = Instant::now() + std::time::Duration::from_secs(20);
            while !mailbox.has("a", hash) {
                assert!(Instant::now() < end, "{hash} is not found");
            }
            assert!(mailbox.has("a", 1));
        }
        assert!(!mailbox.has("a", 5));
    }

    #[test]
    fn a_failed_flush_is_not_made_good_by_another() {
        let mailbox = Mailbox::new(100);
        let early = mailbox.put("a", 1);
        mailbox.known.flush(&mailbox.spool, &early).unwrap();
        let (first, second) = (mailbox.put("a", 2), mailbox.put("a", 3));
        mailbox.known.fail_flush(&second);
        // Those that were on disk before stay known; those that were not are kept anew.
        mailbox.known.flush(&mailbox.spool, &early).unwrap();
        assert!(mailbox.known.flush(&mailbox.spool, &first).is_err());
        assert!(mailbox.known.flush(&mailbox.spool, &second).is_err());
        assert!(mailbox.has("a", 1) && !mailbox.has("a", 2) && !mailbox.has("a", 3));
        let anew = mailbox.put("a", 2);
        mailbox.known.flush(&mailbox.spool, &anew).unwrap();
        assert!(mailbox.has("a", 2));
        assert!(mailbox.known.flush(&mailbox.spool, &second).is_err());
    }

    #[test]
    fn what_was_seen_again_while_its_flush_failed_is_distrusted_too() {
        let mailbox = Mailbox::new(100);
        let early = mailbox.put("a", 1);
        mailbox.known.flush(&mailbox.spool, &early).unwrap();
        // The folder is looked through between the flush and its failure.
        let victim = mailbox.put("a", 2);
        let imported = early.place.maildir.join(super::super::seen::IMPORTED);
        fs::write(imported, b"").unwrap();
        assert!(!mailbox.has("a", 9) && mailbox.has("a", 2));
        mailbox.known.fail_flush(&victim);
        assert!(!mailbox.has("a", 2));
        assert!(mailbox.known.flush(&mailbox.spool, &victim).is_err());
        // And so that nothing is known of it when it fails.
        let other = mailbox.put("b", 1);
        lock(&other.seen).forget_names();
        mailbox.known.fail_flush(&other);
        assert!(!mailbox.has("b", 1));
        lock(&other.seen).forget_names();
        assert!(!mailbox.has("b", 1));
        let anew = mailbox.put("b", 1);
        mailbox.known.flush(&mailbox.spool, &anew).unwrap();
        lock(&other.seen).forget_names();
        assert!(mailbox.has("b", 1));
    }

    #[test]
    fn what_there_was_no_room_to_remember_is_distrusted_too() {
        let mailbox = Mailbox::new(6);
        let marks: Vec<Mark> = (0..30).map(|hash| mailbox.put("a", hash)).collect();
        mailbox.known.fail_flush(&marks[29]);
        assert!((0..30).all(|hash| !mailbox.has("a", hash)));
    }

    #[test]
    fn what_was_found_on_disk_is_flushed_before_it_counts() {
        let mailbox = Mailbox::new(100);
        mailbox.put("a", 1);
        let anew = Known::new(100);
        let maildir = mailbox.place("a").maildir;
        let mark = anew.with(&maildir, |lookup| lookup.find(&[1; 32], 0)).unwrap();
        assert_eq!(lock(&mark.seen).leaves[mark.leaf].flushed, 0);
        anew.flush(&mailbox.spool, &mark).unwrap();
        assert!(lock(&mark.seen).leaves[mark.leaf].flushed >= mark.change);
        // Removed meanwhile: that it cannot be flushed is no reason to distrust the folder for good.
        fs::remove_dir_all(&maildir).unwrap();
        let again = mailbox.put("a", 2);
        fs::remove_dir_all(&maildir).unwrap();
        assert!(mailbox.known.flush(&mailbox.spool, &again).is_err());
        let anew = mailbox.put("a", 2);
        mailbox.known.flush(&mailbox.spool, &anew).unwrap();
    }
}
