//! A session's [`Host`](crate::protocol::Host): its drafts in the archive, what becomes of them in log and counters, and `on_archive_failure`.
//!
//! A draft that fails is logged and counted once. With `refuse` the protocol is told and the draft is gone; with `pass` the draft is
//! dead: it swallows what follows, and mail flows on. When the session ends, in whatever way, what was prepared is committed
//! (the server may have it), what was finished is kept, and the rest is removed.
//!
//! What was kept of a message of the server's is noted, once it is on disk. That a note cannot be written is told once in a session, and changes
//! nothing else.

mod host;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::counters::Counters;
use crate::archive::{self, Archive, Destination, Draft, Kept, Owner};
use crate::config::OnArchiveFailure;
use crate::learn::Teacher;
use crate::net::relay::{Wire, Wired};
use crate::protocol::{DraftId, Origin, Refused};

/// Finished drafts that wait for `settle` at most: each holds a file open.
const UNSETTLED_MAX: usize = 32;
/// And so many octets in them: to flush them must not take long.
const UNSETTLED_OCTETS_MAX: u64 = 32 << 20;

/// Session id and proxy, as every log line of a session begins: `7f3a pop3:main`.
#[derive(Clone, Debug)]
pub(super) struct Label {
    pub(super) id: u32,
    pub(super) proxy: String,
    pub(super) client: SocketAddr,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x} {}", self.id, self.proxy)
    }
}

/// What the configuration says about keeping.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) on_archive_failure: OnArchiveFailure,
    /// Octets.
    pub(super) max_message_size: u64,
    /// `host:port` of the real server: whose messages the notes are about.
    pub(super) upstream: String,
    /// All messages go to the server, and are prepared before it has them: by SMTP.
    pub(super) sends: bool,
    /// Who hears of passwords that were accepted.
    pub(super) teacher: Option<Teacher>,
}

/// What became of a session's messages, for its closing line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) kept: u64,
    pub(super) duplicates: u64,
    pub(super) not_kept: u64,
    /// Octets of messages that were fetched on our own account.
    pub(super) fetched: u64,
}

/// See the module.
pub(super) struct Keeper {
    label: Label,
    policy: Policy,
    archive: Archive,
    counters: Arc<Counters>,
    wire: Wire,
    drafts: BTreeMap<DraftId, State>,
    /// What the next draft is of.
    about: String,
    next_draft: u32,
    /// Whom the latest message began for.
    expected: Option<Owner>,
    finished: Vec<Message>,
    /// Settling early failed; the next `settle` says so.
    failed: bool,
    owner: Option<Owner>,
    /// The last one that was logged in, for the closing line.
    user: Option<Owner>,
    identified: bool,
    tally: Tally,
    /// Whose notes may wait to be written.
    noted: Option<Owner>,
    /// A note could not be written, which was told.
    unnoted: bool,
    /// A refusal was told.
    refused: bool,
}

/// Why a message is not kept: for the log, and for the protocol.
struct Failure {
    reason: String,
    refused: Refused,
    /// The disk is to blame, not the message or one owner's folder.
    of_the_spool: bool,
}

impl Failure {
    fn too_large(max: u64) -> Failure {
        let reason = format!("it is larger than max_message_size ({max} octets)");
        Failure { reason, refused: Refused::TooLarge, of_the_spool: false }
    }
}

impl From<archive::Error> for Failure {
    fn from(e: archive::Error) -> Failure {
        Failure { reason: e.to_string(), refused: Refused::Unavailable, of_the_spool: e.concerns_the_spool() }
    }
}

enum State {
    Open(Message),
    Prepared(Message),
    /// It could not be kept and may pass all the same.
    Dead,
}

/// A message on its way.
struct Message {
    draft: Draft,
    /// Under which it is noted, if it is one of the server's.
    key: Option<String>,
    /// Which one it is, for the log.
    about: String,
}

impl Message {
    fn to(&self) -> Vec<Destination> {
        self.draft.destinations().cloned().collect()
    }
}

impl Keeper {
    pub(super) fn new(label: Label, policy: Policy, archive: Archive, counters: Arc<Counters>) -> Keeper {
        Keeper {
            label,
            policy,
            archive,
            counters,
            wire: Wire::default(),
            drafts: BTreeMap::new(),
            about: String::new(),
            next_draft: 0,
            expected: None,
            finished: Vec::new(),
            failed: false,
            owner: None,
            user: None,
            identified: false,
            tally: Tally::default(),
            noted: None,
            unnoted: false,
            refused: false,
        }
    }

    /// The session is over, orderly or not: brings every draft to its end.
    pub(super) fn close(&mut self) {
        for (id, state) in std::mem::take(&mut self.drafts) {
            if let State::Prepared(message) = state {
                log::debug!(
                    "{} draft {} committed: the session ended before the server had answered",
                    self.label,
                    id.0
                );
                self.commit_prepared(message);
            }
        }
        self.settle_finished();
        if let Some(owner) = self.noted.take()
            && let Err(e) = self.archive.write_notes(&owner)
        {
            self.not_noted(&owner, &e);
        }
    }

    pub(super) fn label(&self) -> &Label {
        &self.label
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// The owner of the last login.
    pub(super) fn user(&self) -> Option<&Owner> {
        self.user.as_ref()
    }

    /// Octets from and to the client.
    pub(super) fn octets(&self) -> (u64, u64) {
        (self.wire.received, self.wire.sent)
    }

    /// Octets that the client was sent beside the protocol.
    pub(super) fn count_words(&mut self, octets: usize) {
        self.wire.sent += octets as u64;
    }

    /// The session ended for want of a server that can be used: told once a minute, for there may be a thousand clients.
    pub(super) fn no_server(&self, what: &str) {
        self.counters.unserved.add(1);
        match self.counters.server_trouble.0.now(what) {
            None => log::debug!("{} {what}", self.label),
            Some(0) => log::warn!("{} {what}", self.label),
            Some(more) => log::warn!("{} {what} ({more} more since this was told last)", self.label),
        }
    }

    fn server_serves(&self) {
        if self.counters.server_trouble.0.over().is_some() {
            log::info!("{} server {} can be used again", self.label, self.policy.upstream);
        }
    }

    fn refusing(&self) -> bool {
        self.policy.on_archive_failure == OnArchiveFailure::Refuse
    }

    /// Logs and counts a message that could not be kept.
    fn failure<'a>(&mut self, to: impl IntoIterator<Item = &'a Destination>, about: &str, failure: &Failure) {
        let reason = &failure.reason;
        self.spool_failed(failure.of_the_spool);
        let blank = if about.is_empty() { "" } else { " " };
        for Destination { owner, folder, .. } in to {
            log::error!("{} not kept owner={owner} folder={folder}{blank}{about} reason={reason}", self.label);
            self.tally.not_kept += 1;
            self.counters.not_kept.add(1);
        }
    }

    fn spool_failed(&self, whole: bool) {
        if whole {
            // What happened is in the line of the message: here it is only remembered.
            let _ = self.counters.spool_trouble.0.now("");
        }
    }

    fn report(&mut self, kept: &[Kept]) {
        // A duplicate proves nothing.
        if kept.iter().any(|kept| !kept.duplicate) && self.counters.spool_trouble.0.over().is_some() {
            log::info!("the spool can be written again");
        }
        for Kept { destination: Destination { owner, folder, .. }, size, hash, duplicate } in kept {
            let event = if *duplicate { "duplicate" } else { "kept" };
            log::info!("{} {event} owner={owner} folder={folder} size={size} hash={hash}", self.label);
            let (tally, count) = if *duplicate {
                (&mut self.tally.duplicates, &self.counters.duplicates)
            } else {
                (&mut self.tally.kept, &self.counters.kept)
            };
            *tally += 1;
            count.add(1);
        }
    }

    /// Notes what is on disk, for [`Host::has`] in any session to come.
    fn remember(&mut self, kept: &[(String, Kept)]) {
        let Some((key, last)) = kept.last() else { return };
        let owner = &last.destination.owner;
        // One comes after another: they are written together.
        if kept.len() == 1 && self.noted.as_ref().is_none_or(|noted| noted == owner) {
            self.noted = Some(owner.clone());
            if let Err(e) = self.archive.note_soon(key, last) {
                self.not_noted(owner, &e);
            }
            return;
        }
        for (owner, e) in self.archive.note(kept) {
            self.not_noted(&owner, &e);
        }
    }

    fn not_noted(&mut self, owner: &Owner, e: &archive::Error) {
        if !std::mem::replace(&mut self.unnoted, true) {
            log::warn!(
                "{} not noted owner={owner} reason={e}; the messages are kept, and may be fetched once more",
                self.label
            );
        }
    }

    fn key(&self, origin: &Origin) -> String {
        format!("{} {origin}", self.policy.upstream)
    }

    fn insert(&mut self, state: State) -> DraftId {
        let id = DraftId(self.next_draft);
        self.next_draft = self.next_draft.wrapping_add(1);
        self.drafts.insert(id, state);
        id
    }

    /// Begins a draft. The finished ones hold files open, which may be what there are too few of: they are settled then.
    fn begin_draft(&mut self, to: &[Destination], size: Option<u64>) -> Result<Draft, archive::Error> {
        if let Some(Destination { owner, .. }) = to.first()
            && self.expected.as_ref() != Some(owner)
        {
            self.archive.expect(owner);
            self.expected = Some(owner.clone());
        }
        match self.begin_once(to, size) {
            Err(_) if !self.finished.is_empty() => {
                self.settle_finished();
                self.begin_once(to, size)
            }
            begun => begun,
        }
    }

    fn begin_once(&self, to: &[Destination], size: Option<u64>) -> Result<Draft, archive::Error> {
        // By IMAP: an APPEND to the folder for what was sent.
        let is_sent = self.policy.sends || to.first().is_some_and(|first| first.outgoing);
        if is_sent { self.archive.begin_to_prepare(to, size) } else { self.archive.begin(to) }
    }

    /// The verdict on a draft that has failed, by the policy.
    fn verdict(&mut self, id: DraftId, refused: Refused) -> Result<(), Refused> {
        if self.refusing() {
            self.drafts.remove(&id);
            return Err(refused);
        }
        self.drafts.insert(id, State::Dead);
        Ok(())
    }

    /// Does something with an open draft; a failure is logged, and the policy decides.
    fn on_open(
        &mut self,
        id: DraftId,
        operation: impl FnOnce(&mut Draft) -> Result<(), Failure>,
    ) -> Result<(), Refused> {
        match self.drafts.get_mut(&id) {
            Some(State::Open(message)) => {
                let Err(failure) = operation(&mut message.draft) else { return Ok(()) };
                let (to, about) = (message.to(), message.about.clone());
                self.failure(&to, &about, &failure);
                self.verdict(id, failure.refused)
            }
            Some(State::Dead) => Ok(()),
            Some(State::Prepared(_)) | None => {
                log::error!("{} draft {} is used after its end: a bug of MailStore", self.label, id.0);
                if self.refusing() { Err(Refused::Unavailable) } else { Ok(()) }
            }
        }
    }

    fn commit_prepared(&mut self, message: Message) {
        let to = message.to();
        match message.draft.commit() {
            Ok(kept) => {
                self.report(&kept);
                let notes: Vec<_> = keyed(message.key.as_deref(), kept).collect();
                self.remember(&notes);
            }
            Err(e) => {
                self.spool_failed(e.concerns_the_spool());
                let (event, then) = match e.is_of_a_flush() {
                    true => ("in its folder, but not flushed", "a power cut may take it away"),
                    false => ("not in its folder yet", "it is tried again every few seconds, and at the next start"),
                };
                for Destination { owner, folder, .. } in to {
                    log::error!("{} {event} owner={owner} folder={folder} reason={e}; {then}", self.label);
                }
            }
        }
    }

    fn settle_finished(&mut self) {
        let finished = std::mem::take(&mut self.finished);
        if finished.is_empty() {
            return;
        }
        let mut notes = Vec::new();
        let (drafts, rest): (Vec<Draft>, Vec<_>) = finished
            .into_iter()
            .map(|message| {
                let to = message.to();
                (message.draft, (to, message.key, message.about))
            })
            .unzip();
        for (result, (to, key, about)) in self.archive.keep_all(drafts).into_iter().zip(rest) {
            match result {
                Ok(kept) => {
                    self.report(&kept);
                    notes.extend(keyed(key.as_deref(), kept));
                }
                Err(e) => {
                    self.failure(&to, &about, &Failure::from(e));
                    self.failed = true;
                }
            }
        }
        self.remember(&notes);
    }
}

#[cfg(test)]
impl Keeper {
    /// Messages up to this size.
    pub(super) fn allow(&mut self, max_message_size: u64) {
        self.policy.max_message_size = max_message_size;
    }
}

/// For the notes: nothing where there is no key.
fn keyed(key: Option<&str>, kept: Vec<Kept>) -> impl Iterator<Item = (String, Kept)> {
    kept.into_iter().filter_map(move |kept| Some((key?.to_owned(), kept)))
}

impl Wired for Keeper {
    fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    fn identified(&self) -> bool {
        self.identified
    }
}
