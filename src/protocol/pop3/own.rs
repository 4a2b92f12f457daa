//! Commands of our own: what is deleted unread, and the rest of what was read in part, is got and kept first.
//!
//! ```text
//!    UIDL n ──+OK: kept in an earlier session ──────────────────────────────────► kept
//!      │ its unique-id is not known yet, and the server has such
//!      ▼
//!    RETR n ──+OK, the message ──► draft, finish, settle ───────────────────────► kept, or refused by the archive
//!      │ │                                ▲ it has no octets
//!      │ └─+OK, and not one octet ──► LIST n ─────────────────────────────────────► denied by the server
//!      │ -ERR
//!      ▼
//!    LIST n ──+OK: it is there ─────────────────────────────────────────────────► denied by the server
//!      └─-ERR: there is no such message; the server's own answer to DELE says so
//! ```
//!
//! One at a time, and only while the server owes no reply but the one whose end is held: so a reply is ours or the client's by
//! its place alone. Nothing of the replies passes, and the client is not listened to meanwhile. What names the message
//! is repeated as the client put it, so that the server takes it for the same message, however it reads that.

use std::fmt::Write as _;

use super::super::dot::{TERMINATOR, Unstuffer};
use super::super::{DraftId, Host, Origin, Refused, Side};
use super::command::Target;
use super::reply::{NOT_KEPT, Reading, announced};
use super::seen::{Uid, parse_uid};
use super::top::Preview;
use super::{Ask, Asked, Pop3};
use crate::archive::Owner;
use crate::logging::{Escaped, escape, quote};

/// Messages of which the log tells one by one that they are missing; of more it tells how many.
const TOLD_MAX: usize = 100;

/// What is being asked.
pub(super) struct Own {
    target: Target,
    cause: Cause,
    step: Step,
    /// By its unique-id, where there is one to rely upon.
    origin: Option<Origin>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The client's `DELE`, which waits.
    Deletion,
    /// A `TOP` of many lines that was cut. Its final dot waits, unless more commands had been forwarded behind it.
    Top,
}

enum Step {
    Uidl,
    Retr {
        /// `UIDL n` was answered with `-ERR`.
        without_uid: bool,
    },
    /// In the message: what the server had said, whether an octet came, and why it cannot be kept.
    Message {
        said: String,
        begun: bool,
        refused: Option<Refused>,
    },
    /// What the server had said to `RETR n`, refusing it.
    List(String),
    /// The same, and it gave not one octet: for the draft, if the message is empty.
    Empty(String, DraftId),
}

enum Outcome {
    Kept,
    /// In an earlier session, as its unique-id says.
    Known,
    Refused(Refused),
    /// The server has it and does not give it; with its words.
    Denied(String),
    NoSuchMessage,
}

impl Own {
    fn name(&self, owner: &Owner) -> String {
        name(&self.target, self.origin.as_ref(), owner)
    }
}

/// For the log: which message.
pub(super) fn name(target: &Target, origin: Option<&Origin>, owner: &Owner) -> String {
    let number = number(target);
    match origin {
        Some(Origin::Pop3 { uidl }) => format!("message {number} (unique-id {}) of {owner}", escape(uidl)),
        _ => format!("message {number} of {owner}"),
    }
}

/// What is no plain number is not shown: it can be anything that somebody typed.
fn number(target: &Target) -> String {
    target.number.map_or_else(|| "?".to_owned(), |number| number.to_string())
}

/// A message as fields of a log line, in the place of what `label` held.
pub(super) fn put_label(label: &mut String, target: &Target, uidl: Option<&[u8]>) {
    // Writing to a `String` cannot fail.
    label.clear();
    label.push_str("number=");
    match target.number {
        Some(number) => drop(write!(label, "{number}")),
        None => label.push('?'),
    }
    if let Some(uidl) = uidl {
        let _ = write!(label, " uidl={}", Escaped(uidl));
    }
}

impl Pop3 {
    /// Whether this message is kept, in this session or an earlier one.
    pub(super) fn is_kept(&self, target: &Target, host: &mut dyn Host) -> bool {
        let (Some(number), Some(owner)) = (target.number, self.owner()) else { return false };
        // Asked anew each time: a unique-id that was believed may have turned out to be another message's as well.
        self.seen.is_kept(number) || self.origin(target).is_some_and(|origin| host.has(owner, &origin))
    }

    /// What a copy of this message is a copy of, where its unique-id is known.
    pub(super) fn origin(&self, target: &Target) -> Option<Origin> {
        let uid = self.seen.uid(target.number?).known()?;
        Some(Origin::Pop3 { uidl: uid.to_vec() })
    }

    /// Gets a message that the client wants to delete. The server must owe no reply.
    pub(super) fn fetch_before_deletion(&mut self, target: Target, host: &mut dyn Host) {
        self.fetch(target, Cause::Deletion, host);
    }

    /// Gets the first of those that are due, once all that was forwarded is answered. True: the client has to wait.
    pub(super) fn fetch_due(&mut self, host: &mut dyn Host) -> bool {
        while !self.due.is_empty() && !self.server_owes() {
            let Some(target) = self.due.pop_front() else { break };
            if !self.is_kept(&target, host) {
                self.fetch(target, Cause::Top, host);
                return true;
            }
        }
        !self.due.is_empty()
    }

    /// The text of a `TOP` has ended; its final dot has not passed yet.
    pub(super) fn preview_ended(&mut self, preview: Preview, host: &mut dyn Host) {
        let Some(Asked::Server(Ask::Preview(target, _))) = self.asked.front() else { return };
        let target = target.clone();
        let due = preview.is_due();
        self.dot_held = true;
        if preview.is_whole() {
            if preview.keep(host).is_err() && due {
                return self.fault(NOT_KEPT, host);
            }
        } else if due && !self.asked.iter().skip(1).any(|asked| matches!(asked, Asked::Server(_))) {
            return self.fetch(target, Cause::Top, host);
        } else if due {
            self.due.push_back(target);
        }
        self.release_dot(host);
    }

    fn release_dot(&mut self, host: &mut dyn Host) {
        self.dot_held = false;
        host.send(Side::Client, TERMINATOR);
        self.replied(host);
    }

    fn fetch(&mut self, target: Target, cause: Cause, host: &mut dyn Host) {
        let unknown = target.number.is_some_and(|number| self.seen.uid(number) == Uid::Unknown);
        let step = if unknown && !self.without_uids { Step::Uidl } else { Step::Retr { without_uid: false } };
        let origin = self.origin(&target);
        self.own = Some(Own { target, cause, step, origin });
        self.ask_own(host);
    }

    /// Sends the command of the step.
    fn ask_own(&mut self, host: &mut dyn Host) {
        let Some(own) = &self.own else { return };
        let verb: &[u8] = match own.step {
            Step::Uidl => b"UIDL ",
            Step::Retr { .. } => b"RETR ",
            Step::List(_) | Step::Empty(..) => b"LIST ",
            Step::Message { .. } => return,
        };
        self.reading = Reading::Status;
        host.send(Side::Server, &[verb, &own.target.text(), b"\r\n"].concat());
    }

    /// `+OK` or `-ERR` to a command of ours.
    pub(super) fn own_status(&mut self, line: &[u8], ok: bool, host: &mut dyn Host) {
        let (Some(mut own), Some(inbox)) = (self.own.take(), self.inbox.clone()) else { return };
        let outcome = match (&mut own.step, ok) {
            (Step::Uidl, _) => {
                if let (true, Some((number, uid))) = (ok, uid_said(line, &own.target)) {
                    self.seen.learn(number, uid);
                    // Asked one by one, it is compared with all others before it is believed.
                    let relied_upon = self.seen.is_relied_upon(number, uid);
                    own.origin = relied_upon.then(|| Origin::Pop3 { uidl: uid.to_vec() });
                }
                own.step = Step::Retr { without_uid: !ok };
                own.origin.as_ref().is_some_and(|origin| host.has(&inbox.owner, origin)).then_some(Outcome::Known)
            }
            (Step::Retr { without_uid }, true) => {
                // The message is there, so it is unique-ids that are not.
                self.without_uids |= *without_uid;
                let uidl = own.origin.as_ref().and_then(|origin| match origin {
                    Origin::Pop3 { uidl } => Some(&uidl[..]),
                    Origin::Imap { .. } => None,
                });
                put_label(&mut self.label, &own.target, uidl);
                host.about(&self.label);
                let draft = host.begin(std::slice::from_ref(&inbox), announced(line));
                own.step = Step::Message { said: escape(line.trim_ascii_end()), begun: false, refused: draft.err() };
                self.reading = Reading::Own(Unstuffer::lenient(), draft.ok());
                None
            }
            (Step::Retr { .. }, false) if own.cause == Cause::Deletion => {
                own.step = Step::List(quote(line));
                None
            }
            (Step::Retr { .. }, false) => Some(Outcome::Denied(quote(line))),
            (Step::List(said), true) => Some(Outcome::Denied(std::mem::take(said))),
            (Step::Empty(_, draft), true) if is_empty(line) => Some(keep(*draft, own.origin.clone(), host)),
            (Step::Empty(said, draft), _) => {
                host.abort(*draft);
                Some(Outcome::Denied(format!("{said}, not one octet, and {}", quote(line))))
            }
            (Step::List(_) | Step::Message { .. }, _) => Some(Outcome::NoSuchMessage),
        };
        match outcome {
            Some(outcome) => self.own_done(own, outcome, host),
            None => {
                self.own = Some(own);
                self.ask_own(host);
            }
        }
    }

    /// A piece of the message. What cannot be kept is swallowed to its end.
    pub(super) fn own_data(&mut self, message: &[u8], host: &mut dyn Host) {
        host.fetched(message.len() as u64);
        let Some(Own { step: Step::Message { begun, refused, .. }, .. }) = &mut self.own else { return };
        let Reading::Own(_, draft) = &mut self.reading else { return };
        if message.is_empty() {
            return;
        }
        *begun = true;
        if let Some(to) = *draft
            && let Err(why) = host.append(to, message)
        {
            *refused = Some(why);
            *draft = None;
        }
    }

    /// The message has ended.
    pub(super) fn own_message_ended(&mut self, draft: Option<DraftId>, host: &mut dyn Host) {
        let Some(mut own) = self.own.take() else { return };
        let outcome = match (draft, &mut own.step) {
            (Some(draft), Step::Message { said, begun: false, .. }) => {
                // The server may have lost it. One that is empty is to be deleted like any other.
                own.step = Step::Empty(std::mem::take(said), draft);
                self.own = Some(own);
                return self.ask_own(host);
            }
            (Some(draft), _) => keep(draft, own.origin.clone(), host),
            (None, Step::Message { refused: Some(refused), .. }) => Outcome::Refused(*refused),
            (None, _) => Outcome::Refused(Refused::Unavailable),
        };
        self.own_done(own, outcome, host);
    }

    fn own_done(&mut self, own: Own, outcome: Outcome, host: &mut dyn Host) {
        self.reading = Reading::Status;
        match (&outcome, own.target.number, self.owner()) {
            (Outcome::Kept, Some(number), _) => self.seen.keep(number),
            (Outcome::Denied(said), _, Some(owner)) => {
                let cause = match own.cause {
                    Cause::Deletion => "was to be deleted unread and is not",
                    Cause::Top => "was read in part by TOP",
                };
                host.not_kept(&format!("{} {cause}: the server does not let it be got: {said}", own.name(owner)));
            }
            _ => {}
        }
        match own.cause {
            Cause::Deletion => self.decide_deletion(outcome, host),
            // What was read is not kept. Where it never will be, a session that always ends here would bar the way to all other messages.
            Cause::Top if matches!(outcome, Outcome::Refused(Refused::Unavailable)) => {
                if self.dot_held {
                    self.fault(NOT_KEPT, host);
                } else {
                    self.turn_away("the message could not be kept, come back later", NOT_KEPT, host);
                }
            }
            Cause::Top if self.dot_held => self.release_dot(host),
            Cause::Top => self.go_on(host),
        }
    }

    /// What becomes of the client's `DELE`, which waits.
    fn decide_deletion(&mut self, outcome: Outcome, host: &mut dyn Host) {
        match outcome {
            Outcome::Kept | Outcome::Known => self.forward_line(Ask::Line, host),
            Outcome::NoSuchMessage => self.forward_line(Ask::Unkept, host),
            Outcome::Refused(Refused::TooLarge) => {
                self.refuse_line("[SYS/PERM] the message could not be kept, it is not deleted", host);
            }
            Outcome::Refused(Refused::Unavailable) | Outcome::Denied(_) => {
                self.refuse_line("[SYS/TEMP] the message could not be kept, it is not deleted", host);
            }
        }
    }

    /// The session ends: tells of what was still to be got, and drops what came of it.
    pub(super) fn give_up_own(&mut self, host: &mut dyn Host) {
        if let Some(own) = self.own.take()
            && let Some(owner) = self.owner()
        {
            if let (Step::Empty(_, draft), _) | (_, Reading::Own(_, Some(draft))) = (&own.step, &self.reading) {
                host.abort(*draft);
            }
            let name = own.name(owner);
            host.not_kept(&match own.cause {
                Cause::Deletion => {
                    format!("the session ended while {name} was got, which was to be deleted and is not")
                }
                Cause::Top => {
                    format!("the session ended while {name} was got, which was read in part by TOP")
                }
            });
        }
        self.tell_of_due(host);
        self.reading = match std::mem::replace(&mut self.reading, Reading::Status) {
            Reading::Own(..) => Reading::Status,
            Reading::Preview(dot, mut preview) => {
                preview.abort(host);
                Reading::Listing(dot)
            }
            reading => reading,
        };
    }

    /// What was shown in part, one by one: the one whose `TOP` is passing, and those that were to be got behind others.
    fn tell_of_due(&mut self, host: &mut dyn Host) {
        let mut due = std::mem::take(&mut self.due);
        if let (Reading::Preview(_, preview), Some(Asked::Server(Ask::Preview(target, _)))) =
            (&self.reading, self.asked.front())
            && preview.is_due()
        {
            due.push_back(target.clone());
        }
        let Some(owner) = self.owner() else { return };
        due.retain(|target| !self.is_kept(target, host));
        for target in due.iter().take(TOLD_MAX) {
            let name = name(target, self.origin(target).as_ref(), owner);
            host.not_kept(&format!("the session ended before {name} was got, which was read in part by TOP"));
        }
        if let more @ 1.. = due.len().saturating_sub(TOLD_MAX) {
            let why = format!(
                "the session ended before {more} more messages of {owner} were got, which were read in part by TOP"
            );
            host.not_kept_more(more as u64, &why);
        }
    }
}

/// What came is the message.
fn keep(draft: DraftId, origin: Option<Origin>, host: &mut dyn Host) -> Outcome {
    if let Some(origin) = origin {
        host.origin(draft, origin);
    }
    host.finish(draft);
    host.settle().map_or_else(Outcome::Refused, |()| Outcome::Kept)
}

/// Whether `+OK n octets` is about a message of none; some servers count the line end before the final dot.
fn is_empty(line: &[u8]) -> bool {
    let octets = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(2);
    matches!(octets, Some(b"0" | b"2"))
}

/// The unique-id in `+OK n uid`.
pub(super) fn uid_said<'a>(line: &'a [u8], target: &Target) -> Option<(u32, &'a [u8])> {
    parse_uid(line.get(3..)?).filter(|(number, _)| Some(*number) == target.number)
}
