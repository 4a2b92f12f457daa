//! What a protocol asks of its session.

use super::{Failure, Keeper, Message, State, UNSETTLED_MAX, UNSETTLED_OCTETS_MAX};
use crate::archive::{Destination, Owner};
use crate::protocol::{DraftId, End, Host, Origin, Refused, Secret, Side};

impl Host for Keeper {
    fn send(&mut self, to: Side, bytes: &[u8]) {
        self.wire.send(to, bytes);
    }

    fn start_tls(&mut self, side: Side) {
        self.wire.start_tls(side);
    }

    fn end(&mut self, end: End) {
        self.wire.end(end);
    }

    fn logged_in(&mut self, owner: &Owner) {
        log::info!("{} login user={owner}", self.label);
        self.server_serves();
        self.identified = true;
        self.owner = Some(owner.clone());
        self.user = Some(owner.clone());
    }

    fn taken_in(&mut self) {
        self.identified = true;
        self.server_serves();
    }

    fn learns(&self) -> bool {
        self.policy.teacher.is_some()
    }

    fn learn(&mut self, owner: &Owner, password: Secret) {
        if let Some(teacher) = &self.policy.teacher {
            teacher.teach(owner, password);
        }
    }

    fn refused(&mut self, what: &str) {
        let level = if std::mem::replace(&mut self.refused, true) { log::Level::Debug } else { log::Level::Warn };
        log::log!(level, "{} refused client={} reason={what}", self.label, self.label.client);
    }

    fn login_failed(&mut self, why: &str) {
        log::info!("{} login failed client={} reason={why}", self.label, self.label.client);
    }

    fn logged_out(&mut self) {
        if let Some(owner) = self.owner.take() {
            log::debug!("{} logout user={owner}", self.label);
        }
    }

    fn about(&mut self, message: &str) {
        message.clone_into(&mut self.about);
    }

    fn begin(&mut self, to: &[Destination], size: Option<u64>) -> Result<DraftId, Refused> {
        let about = std::mem::take(&mut self.about);
        let max = self.policy.max_message_size;
        let begun = match size {
            Some(size) if size > max => Err(Failure::too_large(max)),
            _ => self.begin_draft(to, size).map_err(Failure::from),
        };
        match begun {
            Ok(draft) => Ok(self.insert(State::Open(Message { draft, key: None, about }))),
            Err(failure) => {
                self.failure(to, &about, &failure);
                if self.refusing() { Err(failure.refused) } else { Ok(self.insert(State::Dead)) }
            }
        }
    }

    fn append(&mut self, draft: DraftId, bytes: &[u8]) -> Result<(), Refused> {
        let max = self.policy.max_message_size;
        self.on_open(draft, |draft| {
            if draft.size().saturating_add(bytes.len() as u64) > max {
                return Err(Failure::too_large(max));
            }
            draft.append(bytes).map_err(Failure::from)
        })
    }

    fn append_draft(&mut self, draft: DraftId, other: DraftId) -> Result<(), Refused> {
        let max = self.policy.max_message_size;
        match self.drafts.remove(&other) {
            Some(State::Open(other)) => self.on_open(draft, |draft| {
                if draft.size().saturating_add(other.draft.size()) > max {
                    return Err(Failure::too_large(max));
                }
                draft.append_draft(other.draft).map_err(Failure::from)
            }),
            // A part is missing, which has been told: without it the whole is none either.
            Some(State::Dead) => {
                self.drafts.insert(draft, State::Dead);
                Ok(())
            }
            Some(State::Prepared(_)) | None => {
                let reason = "a part of it is missing: a bug of MailStore".to_owned();
                self.on_open(draft, |_| Err(Failure { reason, refused: Refused::Unavailable, of_the_spool: false }))
            }
        }
    }

    fn date(&mut self, draft: DraftId, seconds: i64) {
        if let Some(State::Open(message)) = self.drafts.get_mut(&draft) {
            message.draft.set_date(seconds);
        }
    }

    fn origin(&mut self, draft: DraftId, origin: Origin) {
        let key = self.key(&origin);
        if let Some(State::Open(message) | State::Prepared(message)) = self.drafts.get_mut(&draft) {
            message.key = Some(key);
        }
    }

    fn has(&mut self, owner: &Owner, origin: &Origin) -> bool {
        self.archive.has(owner, &self.key(origin))
    }

    fn fetched(&mut self, octets: u64) {
        self.tally.fetched += octets;
        self.counters.fetched.add(octets);
    }

    fn refuses(&self) -> bool {
        self.refusing()
    }

    fn prepare(&mut self, draft: DraftId) -> Result<(), Refused> {
        self.on_open(draft, |draft| draft.prepare().map_err(Failure::from))?;
        match self.drafts.remove(&draft) {
            Some(State::Open(prepared)) => {
                self.drafts.insert(draft, State::Prepared(prepared));
            }
            Some(state) => {
                self.drafts.insert(draft, state);
            }
            None => {}
        }
        Ok(())
    }

    fn commit(&mut self, draft: DraftId) {
        match self.drafts.remove(&draft) {
            Some(State::Open(message) | State::Prepared(message)) => self.commit_prepared(message),
            Some(State::Dead) | None => {}
        }
    }

    fn finish(&mut self, draft: DraftId) {
        if let Some(State::Open(mut message)) = self.drafts.remove(&draft) {
            if let Err(e) = message.draft.complete() {
                self.failure(&message.to(), &message.about, &Failure::from(e));
                self.failed = true;
                return;
            }
            self.finished.push(message);
            let octets: u64 = self.finished.iter().map(|message| message.draft.size()).sum();
            if self.finished.len() >= UNSETTLED_MAX || octets >= UNSETTLED_OCTETS_MAX {
                self.settle_finished();
            }
        }
    }

    fn settle(&mut self) -> Result<(), Refused> {
        self.settle_finished();
        let failed = std::mem::take(&mut self.failed);
        if failed && self.refusing() { Err(Refused::Unavailable) } else { Ok(()) }
    }

    fn abort(&mut self, draft: DraftId) {
        match self.drafts.remove(&draft) {
            Some(State::Prepared(message)) => message.draft.discard(),
            Some(State::Open(_) | State::Dead) | None => {}
        }
    }

    fn not_kept(&mut self, why: &str) {
        self.not_kept_more(1, why);
    }

    fn not_kept_more(&mut self, count: u64, why: &str) {
        match &self.owner {
            Some(owner) => log::warn!("{} not kept owner={owner} reason={why}", self.label),
            None => log::warn!("{} not kept owner=- reason={why}", self.label),
        }
        self.tally.not_kept += count;
        self.counters.not_kept.add(count);
    }

    fn note(&mut self, text: &str) {
        log::debug!("{} {text}", self.label);
    }
}
