//! From drafts that are whole to messages that are kept: flushed together, moved, and their folders flushed.
//!
//! Who comes in gets here with all that a reply to a client depends on. What can be done for many at once is: files are flushed together, an owner's
//! lock is taken once for those of his messages that follow each other, a folder is flushed once.

use std::collections::HashMap;
use std::iter::Peekable;
use std::path::Path;
use std::slice::IterMut;

use super::draft::{Draft, Placed};
use super::error::Error;
use super::known::Mark;
use super::{Kept, Shared};

impl Shared {
    /// See [`super::Archive::keep_all`].
    pub(super) fn keep_all(&self, drafts: Vec<Draft>) -> Vec<Result<Vec<Kept>, Error>> {
        let mut drafts: Vec<Result<Draft, Error>> = drafts.into_iter().map(sealed).collect();
        self.flush_new(&mut drafts);
        for draft in &mut drafts {
            let linked = draft.as_mut().map_or(Ok(()), Draft::link_all);
            give_up(draft, linked);
        }
        let placed = self.place_all(&mut drafts);
        // The files are closed, and what stands for no message is removed, without a lock held.
        drop(drafts);
        self.settle(placed)
    }

    /// All that is not known yet is on disk, in `tmp`.
    fn flush_new(&self, drafts: &mut [Result<Draft, Error>]) {
        if !self.spool.flushes() {
            return;
        }
        let mut new = Vec::new();
        for (number, draft) in drafts.iter_mut().enumerate() {
            let looked = match draft {
                Ok(draft) if !draft.is_prepared() => draft.look_up(),
                _ => Ok(false),
            };
            if looked.as_ref().is_ok_and(|unknown| *unknown) {
                new.push(number);
            }
            give_up(draft, looked);
        }
        let files: Vec<_> = new.iter().filter_map(|&number| drafts[number].as_ref().ok()?.unflushed()).collect();
        let flushed = self.spool.flush_files(&files);
        drop(files);
        for (number, flushed) in new.into_iter().zip(flushed) {
            give_up(&mut drafts[number], flushed);
        }
    }

    /// Moves them to their folders.
    fn place_all(&self, drafts: &mut [Result<Draft, Error>]) -> Vec<Vec<Result<Placed, Error>>> {
        let mut placed = Vec::with_capacity(drafts.len());
        let mut rest = drafts.iter_mut().peekable();
        while let Some(next) = rest.next() {
            match next {
                Err(e) => placed.push(vec![Err(e.again())]),
                Ok(draft) => match draft.only_maildir().map(ToOwned::to_owned) {
                    None => placed.push(draft.place()),
                    Some(maildir) => self.known.with(&maildir, |lookup| {
                        placed.push(draft.place_only(lookup));
                        while let Some(draft) = next_for(&maildir, &mut rest) {
                            placed.push(draft.place_only(lookup));
                        }
                    }),
                },
            }
        }
        placed
    }

    /// Flushes every folder that the drafts' copies went to, or lie in already, once; a draft has failed if one of its copies has.
    pub(super) fn settle(&self, placed: Vec<Vec<Result<Placed, Error>>>) -> Vec<Result<Vec<Kept>, Error>> {
        if !self.spool.flushes() {
            return placed
                .into_iter()
                .map(|placed| placed.into_iter().map(|one| Ok(self.done(one?))).collect())
                .collect();
        }
        // The latest change of each folder: flushing that one covers the earlier.
        let mut latest: HashMap<_, (Mark, Result<(), Error>)> = HashMap::new();
        for Placed { mark, .. } in placed.iter().flatten().flatten() {
            latest.entry(mark.folder()).or_insert_with(|| (mark.clone(), Ok(()))).0.advance(mark);
        }
        for (mark, result) in latest.values_mut() {
            *result = self.known.flush(&self.spool, mark);
        }
        let flushed = |placed: &Placed| {
            if let Some((_, Err(e))) = latest.get(&placed.mark.folder()) {
                return Err(e.again());
            }
            // Mostly known by now. But another session's flush may have failed for this one alone.
            self.known.flush(&self.spool, &placed.mark)
        };
        let finish = |mut placed: Placed| match (flushed(&placed), placed.left.take()) {
            (Ok(()), left) => Ok(self.done(Placed { left, ..placed })),
            (Err(e), Some((place, path))) => {
                self.left.prepared(place, path, true);
                Err(e)
            }
            (Err(e), None) => {
                if placed.prepared && e.is_before_flush() {
                    self.left.unflushed(placed.mark);
                }
                Err(e)
            }
        };
        let finish_all = |placed: Vec<Result<Placed, Error>>| {
            // All of them, also where the first has failed.
            let finished: Vec<Result<Kept, Error>> = placed.into_iter().map(|placed| finish(placed?)).collect();
            finished.into_iter().collect()
        };
        placed.into_iter().map(finish_all).collect()
    }

    /// It is on disk.
    fn done(&self, placed: Placed) -> Kept {
        if let Some((_, path)) = placed.left {
            self.remove(path);
        }
        placed.kept
    }
}

fn sealed(mut draft: Draft) -> Result<Draft, Error> {
    draft.seal()?;
    Ok(draft)
}

/// One that has failed is gone.
fn give_up<T>(draft: &mut Result<Draft, Error>, result: Result<T, Error>) {
    if let Err(e) = result {
        *draft = Err(e);
    }
}

/// The next one, if all of it goes to this Maildir.
fn next_for<'a>(maildir: &Path, rest: &mut Peekable<IterMut<'a, Result<Draft, Error>>>) -> Option<&'a mut Draft> {
    let is_for = |next: &Result<Draft, Error>| next.as_ref().is_ok_and(|draft| draft.only_maildir() == Some(maildir));
    rest.next_if(|next| is_for(next))?.as_mut().ok()
}
