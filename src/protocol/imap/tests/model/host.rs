//! A host whose archive is shared by all sessions, and which remembers what was kept when an octet left.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use crate::archive::{Destination, Owner};
use crate::protocol::{DraftId, End, Host, Origin, Refused, Side};

/// What is kept, of all sessions.
#[derive(Default)]
pub(super) struct Archive {
    /// Messages, with how many were kept before.
    kept: HashMap<Vec<u8>, usize>,
    origins: HashSet<Origin>,
    /// How many messages were kept.
    pub(super) count: usize,
    /// Kept since somebody looked.
    pub(super) fresh: Vec<Kept>,
    /// Calls until the archive refuses one, and whether it says that the message is too large; of the last one first.
    pub(super) refusals: Vec<(u8, bool)>,
    /// It has refused something.
    pub(super) has_refused: bool,
}

pub(super) struct Kept {
    pub(super) content: Vec<u8>,
    pub(super) folder: String,
    pub(super) origin: Option<Origin>,
    pub(super) date: Option<i64>,
}

impl Archive {
    /// Whether that message was kept when so many had been.
    pub(super) fn had(&self, content: &[u8], count: usize) -> bool {
        self.kept.get(content).is_some_and(|before| *before < count)
    }

    pub(super) fn has(&self, content: &[u8]) -> bool {
        self.kept.contains_key(content)
    }

    fn keep(&mut self, draft: Draft) {
        self.kept.entry(draft.content.clone()).or_insert(self.count);
        self.count += 1;
        self.origins.extend(draft.origin.clone());
        let Draft { content, folder, origin, date, .. } = draft;
        self.fresh.push(Kept { content, folder, origin, date });
    }

    fn refuses(&mut self) -> Option<Refused> {
        let (calls, large) = self.refusals.last_mut()?;
        if *calls > 0 {
            *calls -= 1;
            return None;
        }
        let why = if *large { Refused::TooLarge } else { Refused::Unavailable };
        self.refusals.pop();
        self.has_refused = true;
        Some(why)
    }
}

/// What was known when octets left for a peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    /// Octets that had left with them.
    end: u64,
    /// Messages that were kept.
    pub(super) kept: usize,
    /// Octets of the server's that the protocol had been given.
    pub(super) heard: u64,
}

/// Octets for a peer.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) bytes: Vec<u8>,
    marks: Vec<Mark>,
    /// Octets taken out at the front.
    taken: u64,
    end: u64,
}

impl Stream {
    pub(super) fn add(&mut self, bytes: &[u8], kept: usize, heard: u64) {
        self.bytes.extend_from_slice(bytes);
        self.end += bytes.len() as u64;
        self.marks.push(Mark { end: self.end, kept, heard });
    }

    /// What was known when the octet before that place left.
    pub(super) fn mark(&self, at: usize) -> Mark {
        let offset = self.taken + at as u64;
        let place = self.marks.partition_point(|mark| mark.end < offset);
        self.marks.get(place).copied().unwrap_or_default()
    }

    pub(super) fn take(&mut self, len: usize) -> Vec<u8> {
        self.taken += len as u64;
        let taken = self.taken;
        self.marks.retain(|mark| mark.end > taken);
        self.bytes.drain(..len).collect()
    }

    /// Moves all to the end of another.
    pub(super) fn pass_to(&mut self, other: &mut Stream) {
        let mut from = 0;
        let bytes = std::mem::take(&mut self.bytes);
        for mark in std::mem::take(&mut self.marks) {
            let to = (mark.end - self.taken) as usize;
            other.add(&bytes[from..to], mark.kept, mark.heard);
            from = to;
        }
        self.taken = self.end;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Prepared,
    Finished,
}

struct Draft {
    state: State,
    content: Vec<u8>,
    folder: String,
    origin: Option<Origin>,
    date: Option<i64>,
}

/// One session's.
pub(super) struct SharedHost {
    archive: Rc<RefCell<Archive>>,
    drafts: BTreeMap<DraftId, Draft>,
    count: u32,
    pub(super) up: Stream,
    pub(super) down: Stream,
    pub(super) heard: u64,
    pub(super) end: Option<End>,
    pub(super) warnings: Vec<String>,
}

impl SharedHost {
    pub(super) fn new(archive: Rc<RefCell<Archive>>) -> SharedHost {
        SharedHost {
            archive,
            drafts: BTreeMap::new(),
            count: 0,
            up: Stream::default(),
            down: Stream::default(),
            heard: 0,
            end: None,
            warnings: Vec::new(),
        }
    }

    /// The session is over: what was prepared may have arrived, what was finished is whole. How many other drafts are left.
    pub(super) fn over(&mut self) -> usize {
        let (ready, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.drafts).into_values().partition(|draft| draft.state != State::Open);
        ready.into_iter().for_each(|draft| self.archive.borrow_mut().keep(draft));
        open.len()
    }

    fn draft(&mut self, draft: DraftId, state: State) -> &mut Draft {
        let found = self.drafts.get_mut(&draft).unwrap_or_else(|| panic!("draft {} is gone", draft.0));
        assert_eq!(found.state, state, "draft {}", draft.0);
        found
    }

    fn refused(&mut self, draft: Option<DraftId>) -> Result<(), Refused> {
        let refusal = self.archive.borrow_mut().refuses();
        match refusal {
            None => Ok(()),
            Some(refused) => {
                draft.map(|draft| self.drafts.remove(&draft));
                Err(refused)
            }
        }
    }
}

impl Host for SharedHost {
    fn send(&mut self, to: Side, bytes: &[u8]) {
        assert!(self.end.is_none(), "sent after the end: {}", bytes.escape_ascii());
        let kept = self.archive.borrow().count;
        let stream = if to == Side::Server { &mut self.up } else { &mut self.down };
        if !bytes.is_empty() {
            stream.add(bytes, kept, self.heard);
        }
    }

    fn start_tls(&mut self, _: Side) {
        panic!("nobody asked for TLS");
    }

    fn end(&mut self, end: End) {
        assert!(self.end.is_none(), "ended twice");
        self.end = Some(end);
    }

    fn logged_in(&mut self, _: &Owner) {}

    fn login_failed(&mut self, why: &str) {
        panic!("{why}");
    }

    fn logged_out(&mut self) {}

    fn begin(&mut self, to: &[Destination], _: Option<u64>) -> Result<DraftId, Refused> {
        let [to] = to else { panic!("a draft for nobody, or for many") };
        self.refused(None)?;
        self.count += 1;
        let folder = to.folder.dir_name().to_owned();
        let draft = Draft { state: State::Open, content: Vec::new(), folder, origin: None, date: None };
        self.drafts.insert(DraftId(self.count), draft);
        Ok(DraftId(self.count))
    }

    fn append(&mut self, draft: DraftId, bytes: &[u8]) -> Result<(), Refused> {
        self.draft(draft, State::Open).content.extend_from_slice(bytes);
        self.refused(Some(draft))
    }

    fn append_draft(&mut self, draft: DraftId, other: DraftId) -> Result<(), Refused> {
        let more = std::mem::take(&mut self.draft(other, State::Open).content);
        self.drafts.remove(&other);
        self.append(draft, &more)
    }

    fn date(&mut self, draft: DraftId, seconds: i64) {
        self.drafts.get_mut(&draft).expect("the draft is gone").date = Some(seconds);
    }

    fn origin(&mut self, draft: DraftId, origin: Origin) {
        self.draft(draft, State::Open).origin = Some(origin);
    }

    fn has(&mut self, _: &Owner, origin: &Origin) -> bool {
        self.archive.borrow().origins.contains(origin)
    }

    fn fetched(&mut self, _: u64) {}

    fn prepare(&mut self, draft: DraftId) -> Result<(), Refused> {
        self.draft(draft, State::Open).state = State::Prepared;
        self.refused(Some(draft))
    }

    fn commit(&mut self, draft: DraftId) {
        self.draft(draft, State::Prepared);
        let draft = self.drafts.remove(&draft).expect("the draft is gone");
        self.archive.borrow_mut().keep(draft);
    }

    fn finish(&mut self, draft: DraftId) {
        self.draft(draft, State::Open).state = State::Finished;
    }

    fn settle(&mut self) -> Result<(), Refused> {
        let refused = self.refused(None);
        let (finished, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.drafts).into_iter().partition(|(_, draft)| draft.state == State::Finished);
        self.drafts = others;
        refused?;
        finished.into_values().for_each(|draft| self.archive.borrow_mut().keep(draft));
        Ok(())
    }

    fn abort(&mut self, draft: DraftId) {
        let gone = self.drafts.remove(&draft).unwrap_or_else(|| panic!("draft {} is gone", draft.0));
        assert_ne!(gone.state, State::Finished, "draft {}", draft.0);
    }

    fn not_kept(&mut self, why: &str) {
        self.warnings.push(why.to_owned());
    }

    fn refuses(&self) -> bool {
        true
    }

    fn note(&mut self, _: &str) {}
}
