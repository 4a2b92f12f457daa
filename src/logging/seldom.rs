//! Trouble that comes a thousand times a minute, told once in a while.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For what may happen a thousand times a minute: each text is told once in a while, with how often it was left out since; and once that it is over.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    told: Mutex<Vec<Told>>,
    /// Something was told that is not over: looked at often.
    open: AtomicBool,
}

#[derive(Debug)]
struct Told {
    text: String,
    at: Instant,
    left_out: u64,
}

impl Seldom {
    /// So many different texts are told at most within one `every`.
    const TEXTS_MAX: usize = 4;

    /// Tells each text at most once within this time.
    pub fn new(every: Duration) -> Seldom {
        Seldom { every, told: Mutex::default(), open: AtomicBool::new(false) }
    }

    /// Whether this text is to be told now: how often it was not, since it was told last.
    pub fn now(&self, text: &str) -> Option<u64> {
        self.at(text, Instant::now())
    }

    fn at(&self, text: &str, now: Instant) -> Option<u64> {
        let mut told = self.told();
        let recent = |one: &Told| now.saturating_duration_since(one.at) < self.every;
        if let Some(known) = told.iter_mut().find(|one| one.text == text) {
            if recent(known) {
                known.left_out += 1;
                return None;
            }
            known.at = now;
            self.open.store(true, Ordering::Relaxed);
            return Some(std::mem::take(&mut known.left_out));
        }
        if told.len() >= Seldom::TEXTS_MAX {
            let Some(old) = told.iter().position(|one| !recent(one)) else {
                if let Some(last) = told.last_mut() {
                    last.left_out += 1;
                }
                return None;
            };
            told.remove(old);
        }
        told.push(Told { text: text.to_owned(), at: now, left_out: 0 });
        self.open.store(true, Ordering::Relaxed);
        Some(0)
    }

    /// All of it is over. Whether that is to be told: how often it was left out meanwhile. What comes again soon after is neither told nor over: who is
    /// now well, now not, gets two lines in a while.
    pub fn over(&self) -> Option<u64> {
        if !self.open.load(Ordering::Relaxed) || !self.open.swap(false, Ordering::Relaxed) {
            return None;
        }
        Some(self.told().iter_mut().map(|one| std::mem::take(&mut one.left_out)).sum())
    }

    fn told(&self) -> MutexGuard<'_, Vec<Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_told_seldom() {
        let seldom = Seldom::new(Duration::from_secs(60));
        let begun = Instant::now();
        let at = |text: &str, second| seldom.at(text, begun + Duration::from_secs(second));
        assert_eq!((at("a", 0), at("a", 1), at("b", 2), at("a", 59)), (Some(0), None, Some(0), None));
        assert_eq!((at("a", 60), at("a", 61)), (Some(2), None));
        // Texts that are never the same are no way round it.
        let told = (0..100).filter(|n| at(&format!("c{n}"), 61).is_some()).count();
        assert_eq!(told, 2);
        assert_eq!((at("d", 200), seldom.over(), seldom.over()), (Some(0), Some(98), None));
        assert_eq!((at("d", 201), seldom.over(), at("d", 260), seldom.over()), (None, None, Some(1), Some(0)));
    }
}
