//! What became of our fetches: kept, tried once more in another way, or given up and told of.

use super::{BATCH_MAX, Flight, Own, Work};
use crate::logging::escape;
use crate::protocol::imap::Imap;
use crate::protocol::imap::capability::status_code;
use crate::protocol::imap::due::{Message, Which};
use crate::protocol::imap::gate::Obstacle;
use crate::protocol::imap::mailbox::Mailbox;
use crate::protocol::imap::trouble::Suspicion;
use crate::protocol::{Host, Refused};

/// Messages that are not kept and told of one by one in a session; and how many more make another line.
const TOLD_MAX: usize = 100;
const UNTOLD_MAX: u64 = 1000;

impl Imap {
    pub(super) fn content_over(
        &mut self,
        flight: Flight,
        in_one: bool,
        status: &[u8],
        line: &[u8],
        host: &mut dyn Host,
    ) {
        let mut refused = flight.refused;
        match self.capture.settle(host) {
            Ok(()) => {
                for which in flight.whole {
                    self.own.known.insert(which);
                }
            }
            Err(why) => refused = Some(why),
        }
        if let Some(held) = &mut self.own.held {
            held.octets += flight.octets;
            held.refused = held.refused.or(refused.filter(|_| flight.waited_for));
        }
        if self.client.leaving.is_some() {
            self.own.leaving_octets += flight.octets;
        }
        if refused == Some(Refused::Unavailable) {
            // It would fail with the next one too.
            self.own.follow.stop();
        }
        if let (Some(refused), Some(gate)) = (refused, &mut self.own.gate) {
            gate.refuse(Obstacle::Archive(refused));
        }
        self.own.follow.paid(flight.octets);
        let busy = status != b"OK" && wants_less(line);
        let mut failed = Vec::new();
        // They stand first.
        let mut at = 0;
        for _ in 0..BATCH_MAX {
            let Some(message) = self.own.due.list.get_mut(at) else { break };
            let asked = std::mem::take(&mut message.asked);
            if !asked || message.answered {
                at += 1;
                continue;
            }
            message.drop_progress(host);
            if in_one || busy {
                failed.extend(self.own.due.list.remove(at));
            } else {
                // Once more, in the plainest of ways.
                message.in_one = true;
                at += 1;
            }
        }
        debug_assert!(self.own.due.list.iter().all(|message| !message.asked));
        if busy && !std::mem::replace(&mut self.own.backing_off, true) {
            self.own.follow.stop();
            let waiting: Vec<Message> = std::mem::take(&mut self.own.due.list).into();
            let (deletions, others) = waiting.into_iter().partition(|message| message.for_deletion);
            self.own.due.list = std::collections::VecDeque::<Message>::from(deletions);
            failed.extend::<Vec<Message>>(others);
        }
        let why = match status {
            b"OK" => "the server says OK and does not give it".to_owned(),
            _ => format!("the server refuses it: {}", escape(words(line).trim_ascii_end())),
        };
        for mut message in failed {
            message.drop_progress(host);
            // It was asked for alone: nothing is left to be kept, or to be deleted.
            match in_one && is_expunge_issued(line) {
                true => {
                    if let Some(gate) = self.own.gate.as_mut().filter(|_| message.for_deletion) {
                        gate.forget(message.which);
                    }
                    self.gone(message, host);
                }
                false => self.failed(message, &why, host),
            }
        }
    }

    /// The server does not give a message.
    pub(in crate::protocol::imap) fn failed(&mut self, message: Message, why: &str, host: &mut dyn Host) {
        self.give_up(message.which, why, host);
        if message.for_deletion
            && let Some(gate) = &mut self.own.gate
            && host.refuses()
        {
            gate.refuse(Obstacle::Server);
        }
    }

    pub(super) fn give_up(&mut self, which: Which, why: &str, host: &mut dyn Host) {
        self.own.given_up.insert(which);
        self.missed(which, why, host);
    }

    /// Tells the administrator which message is not kept.
    pub(in crate::protocol::imap) fn missed(&mut self, which: Which, why: &str, host: &mut dyn Host) {
        self.own.missed(self.mailbox.as_ref(), which, why, host);
    }

    /// The server's stream ends in the middle of a response, or makes no sense there.
    pub(in crate::protocol::imap) fn abandon_response(&mut self, host: &mut dyn Host) {
        if let Some(which) = self.capture.abandon(host)
            && !self.is_known(which, host)
        {
            self.missed(which, "the server breaks off in the middle of it: its beginning may have passed", host);
        }
    }

    /// The server says BYE in the place of an answer to us: what was asked for is not asked for so again.
    pub(in crate::protocol::imap) fn blame(&mut self, line: &[u8], host: &mut dyn Host) {
        if !self.own.flight.as_ref().is_some_and(|flight| matches!(flight.work, Work::Content { .. })) {
            return;
        }
        let all = std::mem::take(&mut self.own.due.list).into_iter();
        let (asked, others): (Vec<Message>, Vec<Message>) = all.partition(|message| message.asked && !message.answered);
        self.own.due.list = others.into();
        let alone = asked.len() == 1;
        let why = format!("the server ended the session when it was asked for it: {}", escape(line.trim_ascii_end()));
        for mut message in asked {
            message.drop_progress(host);
            let origin = message.which.uid.and_then(|uid| self.mailbox.as_ref()?.origin(uid));
            if let (Some(origin), Some(owner)) = (origin, &self.login) {
                self.settings.trouble.suspect(owner, &origin, alone);
            }
            self.missed(message.which, &why, host);
        }
    }

    /// Whether a server has ended a session for this message.
    pub(in crate::protocol::imap) fn suspicion(&self, which: Which) -> Option<Suspicion> {
        let origin = self.mailbox.as_ref()?.origin(which.uid?)?;
        self.settings.trouble.suspicion(self.login.as_ref()?, &origin)
    }

    /// A message that was due is not in the mailbox any more.
    pub(in crate::protocol::imap) fn gone(&mut self, message: Message, host: &mut dyn Host) {
        let mut message = message;
        message.drop_progress(host);
        if message.read && !self.is_known(message.which, host) {
            self.missed(message.which, "somebody else expunged it before it could be fetched whole", host);
        }
    }

    /// The session ends, or the mailbox is left: what is still due will not come.
    pub(in crate::protocol::imap) fn abandon_due(&mut self, why: &str, host: &mut dyn Host) {
        self.stop_downloads(true, host);
        for mut message in std::mem::take(&mut self.own.due.list) {
            message.drop_progress(host);
            if message.read {
                self.missed(message.which, why, host);
            }
        }
        self.own.follow.stop();
    }
}

impl Own {
    /// A line a message would be one for every 60 octets that a server says about a big folder: the first are told one by one.
    pub(super) fn missed(&mut self, mailbox: Option<&Mailbox>, which: Which, why: &str, host: &mut dyn Host) {
        if self.told >= TOLD_MAX {
            self.untold += 1;
            if self.untold >= UNTOLD_MAX {
                self.tell_of_more(host);
            }
            return;
        }
        self.told += 1;
        let folder = mailbox.map_or_else(|| "-".to_owned(), |mailbox| escape(&mailbox.name));
        host.not_kept(&format!(
            "{why} (folder={folder} {which}); it is tried again when it is read or deleted in another session"
        ));
    }

    /// Those that were not told one by one.
    pub(in crate::protocol::imap) fn tell_of_more(&mut self, host: &mut dyn Host) {
        if let more @ 1.. = std::mem::take(&mut self.untold) {
            let why = format!(
                "{more} more messages could not be fetched whole, for such reasons as were told of before; they are tried again when they are read or deleted in another session"
            );
            host.not_kept_more(more, &why);
        }
    }
}

/// A server that says no because it is asked for too much (RFC 9051, section 7.1; `OVERQUOTA` and `THROTTLED` as big hosts say them).
fn wants_less(line: &[u8]) -> bool {
    let code = status_code(line);
    let codes = [&b"OVERQUOTA"[..], b"THROTTLED", b"LIMIT", b"UNAVAILABLE", b"INUSE"];
    code.is_some_and(|code| codes.contains(&code.trim_ascii_end().strip_suffix(b"]").unwrap_or(&code)))
}

/// A server that says no because some of the messages are gone, of which it could not tell yet (RFC 5530).
pub(in crate::protocol::imap) fn is_expunge_issued(line: &[u8]) -> bool {
    status_code(line).is_some_and(|code| code.starts_with(b"EXPUNGEISSUED"))
}

/// A tagged line without its tag.
pub(in crate::protocol::imap) fn words(line: &[u8]) -> &[u8] {
    let at = line.iter().position(|&b| b == b' ').map_or(line.len(), |at| at + 1);
    &line[at..]
}
