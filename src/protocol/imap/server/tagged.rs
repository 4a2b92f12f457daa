//! Tagged replies: what a command's end means, and what is done before the client hears of it.

use std::borrow::Cow;
use std::cell::RefCell;

use super::is_status;
use crate::archive::Owner;
use crate::protocol::imap::outstanding::{Kind, Pending};
use crate::protocol::imap::{Imap, Phase, capability, not_archived, refusal};
use crate::protocol::{End, Host, Secret, Side, logged_in, response_code};

impl Imap {
    pub(super) fn tagged(&mut self, tag: &[u8], status: &[u8], line: &[u8], host: &mut dyn Host) {
        if self.own_tagged(tag, status, line, host) {
            return;
        }
        let Some(pending) = self.commands.take(tag) else {
            // A refusal of something that was no command to us (`DONE` behind an IDLE that was refused) does no harm.
            return match status {
                b"BAD" | b"NO" => host.send(Side::Client, line),
                _ => self.lost("it answers a command that nobody sent", host),
            };
        };
        if !is_status(status) {
            return self.lost("a tagged response is none", host);
        }
        if !self.settled(host) {
            return;
        }
        let ok = status == b"OK";
        self.client.answered(tag, host);
        if ok && pending.names_nobody() {
            host.send(Side::Client, &refusal("the login does not say whose mailbox it is for"));
            return self.end(End::Fault("the server accepted a login that named no user".to_string()), host);
        }
        let (withheld, by_uid) = match pending.kind {
            Kind::Fetch { withheld, by_uid, .. } => (withheld, Some(by_uid)),
            _ => (None, None),
        };
        if withheld.is_some() && self.client.holds_deletion() {
            // It did not wait for this answer: deleted, the message would be nowhere.
            return self.not_kept(host);
        }
        self.consequences(pending, status, line, host);
        let line = match withheld {
            Some(refused) => Cow::Owned(not_archived(tag, refused)),
            None => capability::filter_status(line, self.capability_context(), true),
        };
        let held = withheld.is_none() && by_uid.is_some_and(|by_uid| self.hold_reply(by_uid, tag, &line));
        if !held {
            host.send(Side::Client, &line);
        }
    }

    fn consequences(&mut self, pending: Pending, status: &[u8], line: &[u8], host: &mut dyn Host) {
        let ok = status == b"OK";
        if !ok && matches!(pending.kind, Kind::Login { .. } | Kind::Authenticate(_)) {
            host.login_failed(&format!("the server refused it{}", response_code(line)));
        }
        match pending.kind {
            Kind::Other | Kind::Fetch { .. } => {}
            // A client may say DONE and IDLE again before the first one is answered.
            Kind::Idle { .. } if self.commands.has_idle() => {}
            Kind::Idle { .. } => self.client.idle_over(),
            Kind::Login { user, password } => {
                if let (true, Some(user)) = (ok, user) {
                    self.logged_in(&user, password, host);
                }
            }
            Kind::Authenticate(mut exchange) => {
                self.client.exchange_over();
                let password = exchange.take_password();
                if let (true, Some(user)) = (ok, exchange.identity()) {
                    self.logged_in(user, password, host);
                }
            }
            // Not understood, so not done: the mailbox is still the one it was.
            Kind::Select { .. } if status == b"BAD" => {}
            Kind::Select { mailbox, read_only } => {
                let opening = std::mem::take(&mut self.opening);
                self.select(ok.then(|| opening.mailbox(mailbox, read_only)), host);
            }
            Kind::Unselect if ok => self.select(None, host),
            Kind::Unselect => {}
            Kind::Append(drafts) => {
                for draft in drafts {
                    match ok {
                        true => host.commit(draft),
                        false => host.abort(draft),
                    }
                }
            }
            Kind::Logout if !ok => {}
            Kind::Logout => {
                self.select(None, host);
                self.login = None;
                self.placed = RefCell::default();
                host.logged_out();
                self.phase = Phase::Leaving(End::Orderly("logout"));
            }
        }
    }

    fn logged_in(&mut self, user: &[u8], password: Option<Secret>, host: &mut dyn Host) {
        let owner = Owner::new(user, &self.settings.default_domain);
        logged_in(user, &owner, password, host);
        self.login = Some(owner);
        self.placed = RefCell::default();
    }

    /// All that was finished is on disk. False: it is not, and the session has been ended.
    pub(super) fn settled(&mut self, host: &mut dyn Host) -> bool {
        let settled = self.capture.settle(host).is_ok();
        if !settled {
            self.not_kept(host);
        }
        settled
    }
}
