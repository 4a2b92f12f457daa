//! `learn_logins`: a passwd-file for the IMAP server over the archive, filled with the passwords that the real server accepted, as hashes.
//!
//! Sessions only hand over who has logged in with what ([`Teacher::teach`], which never waits); one thread compares it with the file and writes it
//! where it is new. That thread is bounded in all: what is above its queue is dropped and told of, and comes again with the next login. A password is in
//! the queue once an owner, the last one said, and overwritten once it was looked at. Nothing that goes wrong here touches a session.

mod book;
mod file;
mod hash;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::archive::Owner;
use crate::logging::Seldom;
use crate::protocol::Secret;
use book::Book;
use file::Place;

/// Owners whose logins wait to be looked at, at most: at some milliseconds each.
const QUEUE_MAX: usize = 1_000;
/// So many are looked at before the file is written.
const AT_ONCE: usize = 64;
/// How often the same trouble is told.
const TELL_EVERY: Duration = Duration::from_secs(10 * 60);

/// Whether this file can be used, by whoever the program is at the moment. Makes nothing.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn check(file: &Path, spool: &Path) -> Result<(), String> {
    if resolved(file).starts_with(resolved(spool)) {
        return Err(format!(
            "{} lies in the spool, where only mail is; name a file elsewhere, as /var/lib/mailstore/logins/passwd",
            file.display()
        ));
    }
    Place::new(file.to_path_buf(), false).check()
}

/// Where a path leads, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut plain = PathBuf::new();
    for component in whole.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            component => plain.push(component),
        }
        if let Ok(real) = plain.canonicalize() {
            plain = real;
        }
    }
    plain
}

/// One file that is learnt into.
pub struct Learner {
    shared: Arc<Shared>,
    /// Closed when the thread has ended.
    over: Option<Receiver<()>>,
}

/// What a session has of it.
#[derive(Clone, Debug)]
pub struct Teacher(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    place: Place,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// The time is over: nothing more is done.
    given_up: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    lessons: VecDeque<Lesson>,
    /// No more is taken.
    closed: bool,
    /// How many were not taken since it was told last.
    dropped: u64,
}

/// The server accepted this password of this user.
#[derive(Debug)]
struct Lesson {
    owner: Owner,
    name: String,
    password: Secret,
}

impl Learner {
    /// For this file. Does nothing before [`Learner::start`].
    pub fn new(file: PathBuf, sync: bool) -> Learner {
        let shared = Shared {
            place: Place::new(file, sync),
            queue: Mutex::default(),
            wake: Condvar::new(),
            given_up: AtomicBool::new(false),
        };
        Learner { shared: Arc::new(shared), over: None }
    }

    /// Begins.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(&mut self) -> io::Result<()> {
        let (ends, over) = channel::<()>();
        let shared = Arc::clone(&self.shared);
        thread::Builder::new().name("logins".to_owned()).spawn(move || work(&shared, ends))?;
        self.over = Some(over);
        Ok(())
    }

    pub fn teacher(&self) -> Teacher {
        Teacher(Arc::clone(&self.shared))
    }

    /// Takes no more, and does what is in the queue within `limit`. What is not done then comes again with the next login.
    pub fn finish(mut self, limit: Duration) {
        self.shared.close();
        if let Some(over) = self.over.take() {
            let _ = over.recv_timeout(limit);
        }
        self.shared.given_up.store(true, Ordering::Relaxed);
    }
}

impl Drop for Learner {
    /// Takes no more; what is in the queue is still done.
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Teacher {
    /// The server accepted this. Returns at once.
    pub fn teach(&self, owner: &Owner, password: Secret) {
        let Some(name) = owner.plain_name().map(|name| key(&name)) else {
            log::debug!("login not learnt owner={owner} reason=a name as this cannot stand in a passwd-file");
            return;
        };
        let mut queue = self.0.lock();
        if queue.closed {
            return;
        }
        // The last one counts, at the place of the first.
        if let Some(waiting) = queue.lessons.iter_mut().find(|lesson| lesson.name == name) {
            waiting.password = password;
            return;
        }
        if queue.lessons.len() >= QUEUE_MAX {
            queue.dropped += 1;
            return;
        }
        queue.lessons.push_back(Lesson { owner: owner.clone(), name, password });
        drop(queue);
        self.0.wake.notify_one();
    }
}

/// The name as Dovecot looks for it in a passwd-file: quotes and backslashes have a backslash before them.
fn key(name: &str) -> String {
    let mut key = String::with_capacity(name.len());
    for c in name.chars() {
        if matches!(c, '\'' | '"' | '\\') {
            key.push('\\');
        }
        key.push(c);
    }
    key
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// What is next, and how many were dropped; none when all is done and nothing more will come.
    fn next(&self) -> Option<(Vec<Lesson>, u64)> {
        let mut queue = self.lock();
        while queue.lessons.is_empty() && !queue.closed {
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let count = queue.lessons.len().min(AT_ONCE);
        let next: Vec<Lesson> = queue.lessons.drain(..count).collect();
        (count > 0).then(|| (next, std::mem::take(&mut queue.dropped)))
    }
}

fn work(shared: &Shared, _ends: Sender<()>) {
    let troubles = Seldom::new(TELL_EVERY);
    let crowds = Seldom::new(TELL_EVERY);
    while let Some((lessons, dropped)) = shared.next() {
        if shared.is_given_up() {
            return;
        }
        if dropped > 0
            && let Some(before) = crowds.now("dropped")
        {
            let dropped = dropped + before;
            log::warn!(
                "logins not learnt count={dropped} reason=too many came at once; they are learnt when they come again"
            );
        }
        let count = lessons.len();
        let learnt = catch_unwind(AssertUnwindSafe(|| learn(shared, &lessons)))
            .unwrap_or_else(|_| Err("panic: a bug of MailStore, see the line above".to_owned()));
        match learnt {
            Ok(()) => {
                if let Some(more) = troubles.over() {
                    log::info!("logins can be learnt again ({more} more could not be meanwhile)");
                }
            }
            Err(why) => {
                if let Some(before) = troubles.now(&why) {
                    let count = count as u64 + before;
                    log::error!("logins not learnt count={count} reason={why}");
                }
            }
        }
    }
}

/// Writes what the file does not know yet.
fn learn(shared: &Shared, lessons: &[Lesson]) -> Result<(), String> {
    let place = &shared.place;
    let book = place.read()?;
    let changed = unknown(shared, &book, lessons.iter());
    if changed.is_empty() {
        return Ok(());
    }
    let lock = place.lock(|| shared.is_given_up())?;
    let mut fresh = place.read()?;
    // Another program may have written it since.
    let changed = if fresh == book { changed } else { unknown(shared, &fresh, changed.into_iter()) };
    let mut learnt = Vec::new();
    let mut failed = Ok(());
    for Lesson { owner, name, password } in changed {
        if shared.is_given_up() {
            return Ok(());
        }
        let hash = hash::make(password).map_err(|e| format!("/dev/urandom gives no random octets: {e}"))?;
        match fresh.set(name, &hash) {
            Ok(new) => learnt.push((owner, if new { "new" } else { "changed" })),
            Err(why) => failed = Err(format!("{} cannot take another line: {why}", place.file().display())),
        }
    }
    if !learnt.is_empty() {
        place.write(&fresh, &lock)?;
    }
    for (owner, how) in learnt {
        log::info!("learnt login owner={owner} line={how}");
    }
    failed
}

/// Those that this text does not have so.
fn unknown<'a>(shared: &Shared, book: &Book, lessons: impl Iterator<Item = &'a Lesson>) -> Vec<&'a Lesson> {
    let known = |lesson: &Lesson| {
        shared.is_given_up() || book.password(&lesson.name).is_some_and(|field| hash::verifies(&lesson.password, field))
    };
    lessons.filter(|lesson| !known(lesson)).collect()
}
