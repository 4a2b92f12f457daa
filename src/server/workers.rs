//! Threads for sessions that have something to do. One that has become free waits a little for the next session: making and ending a thread costs a login a
//! fifth of its time.
//!
//! Nothing is ever queued: who is handed over has a thread at once, or is given back.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// For handshakes, logins and messages: buffers are on the heap, parsers do not recurse. (Debug builds need more than release builds.)
pub(super) const STACK: usize = 2 * 1024 * 1024;
/// How many wait at most.
const SPARE_MAX: usize = 16;
/// How long one waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// What one thread is to do. Must not panic: that would cost the thread, and nothing else.
type Job<T> = (T, fn(T));

/// The threads that wait.
pub(super) struct Workers<T> {
    spare: Mutex<Vec<Spare<T>>>,
}

struct Spare<T> {
    number: u64,
    door: SyncSender<Job<T>>,
}

impl<T: Send + 'static> Workers<T> {
    pub(super) const fn new() -> Workers<T> {
        Workers { spare: Mutex::new(Vec::new()) }
    }

    /// Does this in a thread of its own.
    ///
    /// # Errors
    /// The system has no thread left; with what was to be done.
    pub(super) fn run(&'static self, what: T, body: fn(T)) -> Result<(), (io::Error, T)> {
        let mut job = (what, body);
        while let Some(spare) = self.take() {
            match spare.door.send(job) {
                Ok(()) => return Ok(()),
                Err(back) => job = back.0,
            }
        }
        let (door, jobs) = sync_channel(1);
        let ours = door.clone();
        match thread::Builder::new().name("session".to_owned()).stack_size(STACK).spawn(move || self.work(&jobs, &ours))
        {
            Ok(_) => door.send(job).map_err(|back| (io::Error::other("a new thread has ended"), back.0.0)),
            Err(e) => Err((e, job.0)),
        }
    }

    fn work(&self, jobs: &Receiver<Job<T>>, door: &SyncSender<Job<T>>) {
        /// Told apart by counting: a number is never used again.
        static COUNT: Mutex<u64> = Mutex::new(0);
        let number = {
            let mut count = COUNT.lock().unwrap_or_else(PoisonError::into_inner);
            *count += 1;
            *count
        };
        loop {
            match jobs.recv_timeout(PATIENCE) {
                Ok((what, body)) => {
                    body(what);
                    let mut spare = self.lock();
                    if spare.len() >= SPARE_MAX {
                        return;
                    }
                    spare.push(Spare { number, door: door.clone() });
                }
                Err(_) => {
                    let mut spare = self.lock();
                    let waiting = spare.iter().position(|one| one.number == number);
                    // Whoever has taken it out of the list is about to send.
                    if let Some(place) = waiting {
                        spare.remove(place);
                        return;
                    }
                }
            }
        }
    }

    /// The one that has waited least: its stack is still in the processor's caches, and the others may end.
    fn take(&self) -> Option<Spare<T>> {
        self.lock().pop()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Spare<T>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread::ThreadId;

    use super::*;

    #[test]
    fn a_thread_that_is_free_is_used_again_and_none_is_waited_for() {
        type Told = (std::sync::mpsc::Sender<ThreadId>, std::sync::Arc<std::sync::Barrier>);
        static WORKERS: Workers<Told> = Workers::new();
        let body = |(told, both): Told| {
            told.send(thread::current().id()).unwrap();
            both.wait();
        };
        let (told, heard) = channel();
        let both = std::sync::Arc::new(std::sync::Barrier::new(3));
        for _ in 0..2 {
            WORKERS.run((told.clone(), both.clone()), body).unwrap();
        }
        let first = [heard.recv().unwrap(), heard.recv().unwrap()];
        assert_ne!(first[0], first[1], "both ran at once");
        both.wait();
        while WORKERS.lock().len() < 2 {
            thread::yield_now();
        }
        let alone = std::sync::Arc::new(std::sync::Barrier::new(1));
        WORKERS.run((told, alone), body).unwrap();
        assert!(first.contains(&heard.recv().unwrap()), "a new thread was made");
    }
}
