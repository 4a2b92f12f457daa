//! Downloads in chunks (`BODY[]<o.n>`): put together while they follow each other, complete with a short one.
//!
//! A chunk that is shorter than was asked for is the last; `RFC822.SIZE` is never believed. The first octets of a message, of the size of a
//! preview, wait in memory: lists of messages are made of such, and most go no further. What the client began to download and does not go on with
//! is handed over ([`Chunks::stop`]) and fetched to its end by `own`.

use std::collections::VecDeque;

use super::due::{self, Message, Progress, Which};
use super::items::PREVIEW_LEN_MAX;
use crate::archive::Destination;
use crate::protocol::{DraftId, Host, Refused};

/// Downloads that go on at the same time; each is an open draft.
const DOWNLOADS_MAX: usize = 4;
/// Beginnings of messages in memory, each of at most [`MEMORY_LEN_MAX`] octets.
const BEGINNINGS_MAX: usize = 16;
/// (So few in the unit tests, whose transcripts are played once for every octet.)
const MEMORY_LEN_MAX: usize = if cfg!(test) { 16 } else { 2 * PREVIEW_LEN_MAX as usize };

/// All downloads of the selected mailbox.
#[derive(Default)]
pub(super) struct Chunks {
    waiting: VecDeque<Chunked>,
    /// Those that had to make room.
    stopped: Vec<Chunked>,
}

/// A message that has come up to some octet.
pub(super) struct Chunked {
    which: Which,
    store: Store,
    /// Octets of the chunks before the one that is being read.
    next: u64,
    /// Of the chunk that is being read.
    got: u64,
    count: u64,
    /// More than a preview.
    download: bool,
    last: bool,
}

enum Store {
    Memory(Vec<u8>),
    Draft(DraftId),
}

impl Chunks {
    /// A chunk of a message begins: from this octet, of at most `count` octets, of `len` where that is known. `None` where it does not follow what is
    /// here.
    ///
    /// # Errors
    /// [`Refused`] where it cannot be kept.
    pub(super) fn begin(
        &mut self,
        which: Which,
        from: u64,
        count: u64,
        to: &[Destination],
        len: Option<u64>,
        host: &mut dyn Host,
    ) -> Result<Option<Chunked>, Refused> {
        let known = self.waiting.iter().position(|chunked| chunked.which.is(which));
        let mut chunked = match known.and_then(|at| self.waiting.remove(at)) {
            Some(chunked) if from == chunked.next => Chunked { download: true, ..chunked },
            // Read once more.
            Some(chunked) if from != 0 && from < chunked.next => {
                self.waiting.push_back(chunked);
                return Ok(None);
            }
            other => {
                // Begun anew it is a download still.
                let mut download = count > PREVIEW_LEN_MAX;
                if let Some(other) = other {
                    download |= other.download;
                    other.abort(host);
                }
                if from != 0 {
                    return Ok(None);
                }
                let store = Store::Memory(Vec::new());
                Chunked { which, store, next: 0, got: 0, count, download, last: false }
            }
        };
        (chunked.got, chunked.count) = (0, count);
        if len.is_some_and(|len| chunked.next.saturating_add(len) > MEMORY_LEN_MAX as u64) {
            chunked.spill(to, host)?;
        }
        Ok(Some(chunked))
    }

    /// A chunk that is not the last: the next one may follow.
    pub(super) fn wait(&mut self, mut chunked: Chunked, which: Which, host: &mut dyn Host) {
        // A later chunk need not tell the UID again.
        chunked.which = Which { uid: which.uid.or(chunked.which.uid), ..which };
        self.waiting.push_back(chunked);
        let is_draft = |chunked: &Chunked| matches!(chunked.store, Store::Draft(_));
        for (kind, max) in [(true, DOWNLOADS_MAX), (false, BEGINNINGS_MAX)] {
            if self.waiting.iter().filter(|chunked| is_draft(chunked) == kind).count() > max
                && let Some(at) = self.waiting.iter().position(|chunked| is_draft(chunked) == kind)
                && let Some(stopped) = self.waiting.remove(at)
            {
                match stopped.download {
                    true => self.stopped.push(stopped),
                    false => stopped.abort(host),
                }
            }
        }
    }

    /// A chunk breaks off.
    pub(super) fn broken(&mut self, chunked: Chunked, host: &mut dyn Host) {
        let Chunked { which, count, download, .. } = chunked;
        chunked.abort(host);
        if download {
            let store = Store::Memory(Vec::new());
            self.stopped.push(Chunked { which, store, next: 0, got: 0, count, download, last: false });
        }
    }

    /// Whether a download is going on that a client would have to end.
    pub(super) fn has_downloads(&self) -> bool {
        !self.stopped.is_empty() || self.waiting.iter().any(|chunked| chunked.download)
    }

    /// Gives those that had to make room or, with `all`, every download: the client has turned to something else.
    pub(super) fn stop(&mut self, all: bool, host: &mut dyn Host) -> Vec<Message> {
        if self.stopped.is_empty() && (!all || self.waiting.is_empty()) {
            return Vec::new();
        }
        let mut stopped = std::mem::take(&mut self.stopped);
        if all {
            let (downloads, others): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.waiting).into_iter().partition(|chunked| chunked.download);
            others.into_iter().for_each(|chunked| chunked.abort(host));
            stopped.extend(downloads);
        }
        stopped.into_iter().map(Chunked::into_message).collect()
    }

    /// EXPUNGE of this message. Gives back its download.
    pub(super) fn expunged(&mut self, sequence_number: u32, host: &mut dyn Host) -> Option<Message> {
        let gone = self.waiting.iter().position(|chunked| chunked.which.sequence_number == Some(sequence_number));
        let gone = gone.and_then(|at| self.waiting.remove(at));
        for chunked in self.waiting.iter_mut().chain(&mut self.stopped) {
            due::shift(&mut chunked.which, sequence_number);
        }
        match gone {
            Some(chunked) if chunked.download => Some(chunked.into_message()),
            Some(chunked) => {
                chunked.abort(host);
                None
            }
            None => None,
        }
    }
}

impl Chunked {
    /// Octets of the chunk.
    ///
    /// # Errors
    /// [`Refused`] where they cannot be kept; the draft is gone then.
    pub(super) fn append(&mut self, bytes: &[u8], to: &[Destination], host: &mut dyn Host) -> Result<(), Refused> {
        self.got += bytes.len() as u64;
        if let Store::Memory(memory) = &mut self.store {
            if memory.len() + bytes.len() <= MEMORY_LEN_MAX {
                memory.extend_from_slice(bytes);
                return Ok(());
            }
            self.spill(to, host)?;
        }
        match self.store {
            Store::Draft(draft) => host.append(draft, bytes),
            Store::Memory(_) => Ok(()),
        }
    }

    /// The chunk is over.
    pub(super) fn end(&mut self) {
        self.next += self.got;
        self.last = self.got < self.count;
    }

    /// Whether nothing came before the chunk that is being read.
    pub(super) fn is_first(&self) -> bool {
        self.next == 0
    }

    pub(super) fn which(&self) -> Which {
        self.which
    }

    /// Whether the message ends with the chunk.
    pub(super) fn is_last(&self) -> bool {
        self.last
    }

    /// The message's draft.
    ///
    /// # Errors
    /// [`Refused`] where there cannot be one.
    pub(super) fn into_draft(mut self, to: &[Destination], host: &mut dyn Host) -> Result<DraftId, Refused> {
        self.spill(to, host)
    }

    pub(super) fn abort(self, host: &mut dyn Host) {
        if let Store::Draft(draft) = self.store {
            host.abort(draft);
        }
    }

    fn spill(&mut self, to: &[Destination], host: &mut dyn Host) -> Result<DraftId, Refused> {
        match &self.store {
            Store::Draft(draft) => Ok(*draft),
            Store::Memory(memory) => {
                host.about(&self.which.to_string());
                let draft = host.begin(to, None)?;
                host.append(draft, memory)?;
                self.store = Store::Draft(draft);
                Ok(draft)
            }
        }
    }

    /// What is in memory is so little that it is fetched again.
    fn into_message(self) -> Message {
        let progress = match self.store {
            Store::Draft(draft) => Some(Progress { draft, next: self.next }),
            Store::Memory(_) => None,
        };
        Message { progress, ..Message::read(self.which) }
    }
}
