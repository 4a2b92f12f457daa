//! Before a message goes: what a command deletes, expunges or moves away is kept first.
//!
//! The command is held back while we ask which of its messages are not kept yet (by SEARCH for those that are marked as deleted, by FETCH of UIDs),
//! fetch those (`own`), and then let it pass. Could one not be kept, the command is answered NO and nothing is deleted. What one look finds beyond
//! `FOUND_MAX`, and what comes meanwhile, is looked for again once the first are kept.

mod deletion;
mod folder;

use deletion::{Deletion, deletion, is_set};
pub(super) use folder::quoted;

use super::Imap;
use super::client::{Command, Until, Verdict};
use super::due::{Message, Which};
use super::mailbox::Mailbox;
use super::own::{Purpose, Work, words};
use super::set::{self, Ranges};
use crate::logging::quote;
use crate::protocol::{Host, Refused};

/// Messages that are fetched before it is looked again.
const FOUND_MAX: usize = 4096;
/// Octets of a set of ours.
const SET_LEN_MAX: usize = 7000;
/// UIDs that a set names one by one, to be looked up without asking the server.
const EXPLICIT_MAX: usize = 2000;
/// Messages that are asked for one by one.
const SINGLES_MAX: usize = 100;
/// How often it is looked again.
const LOOKS_MAX: u32 = 1000;

/// A deletion that waits.
pub(super) struct Gate {
    /// The command is a UID command.
    pub(super) by_uid: bool,
    step: Step,
    /// What the command names; of EXPUNGE and CLOSE nothing.
    set: Option<Vec<u8>>,
    /// Only messages that are marked as deleted go.
    marked_only: bool,
    /// There were more than could be taken at once, or messages have come since: a set such as `1:*` names them too.
    more: bool,
    looks: u32,
    found: usize,
    /// Answers to the question which messages the set names, and the first of those that were named.
    named: usize,
    told: Vec<u32>,
    /// A folder is open for us that the client does not know of.
    opened: bool,
    /// The client names messages by their numbers: they must stay what they are.
    numbered: bool,
    /// The set of messages whose UIDs are asked for.
    asked: Ranges,
    asked_text: Vec<u8>,
    /// What is still to be asked for, one by one.
    singles: Vec<u32>,
    /// UIDs that the server says are gone, though it could not tell their EXPUNGE yet: it goes on finding them.
    gone: Vec<u32>,
}

#[derive(Debug)]
enum Step {
    /// The folder has to be opened first; its name once more as a quoted string.
    Examine(Mailbox, String),
    /// The folder's messages have to be counted.
    Count(Vec<u8>, String),
    Search,
    Resolve(Vec<u8>),
    /// The server is being asked.
    Asking,
    /// What was found is being fetched.
    Fetching,
    Open,
    Shut(Obstacle),
}

/// Why a message could not be kept.
#[derive(Clone, Copy, Debug)]
pub(super) enum Obstacle {
    Archive(Refused),
    Server,
    /// Its numbers mean other messages by now.
    Renumbered,
}

impl Gate {
    fn new(deletion: Deletion) -> Gate {
        let Deletion { by_uid, set, marked_only, numbered } = deletion;
        let mut gate = Gate {
            by_uid,
            step: Step::Open,
            set,
            marked_only,
            more: false,
            looks: 0,
            found: 0,
            named: 0,
            opened: false,
            numbered,
            asked: Ranges::default(),
            asked_text: Vec::new(),
            singles: Vec::new(),
            gone: Vec::new(),
            told: Vec::new(),
        };
        gate.look();
        gate
    }

    /// The messages have to be looked for.
    fn look(&mut self) {
        self.looks += 1;
        (self.more, self.found, self.named) = (false, 0, 0);
        self.told.clear();
        self.step = match &self.set {
            Some(set) if !self.marked_only => Step::Resolve(set.clone()),
            _ => Step::Search,
        };
    }

    /// Messages have come.
    pub(super) fn grows(&mut self) {
        self.more = true;
    }

    /// All is asked for; or the next one of those that are asked for alone.
    fn resolve_next(&mut self) {
        self.step = match self.singles.pop() {
            Some(number) => Step::Resolve(number.to_string().into_bytes()),
            None => Step::Fetching,
        };
    }

    /// The numbers of the set that was asked for and not told, where they are few.
    fn untold_one_by_one(&self, exists: u32) -> Option<Vec<u32>> {
        let last = exists.to_string();
        let set = String::from_utf8_lossy(&self.asked_text).replace('*', &last);
        let usable = !self.by_uid || !self.asked_text.contains(&b'*');
        let mut numbers = usable.then(|| set::explicit(set.as_bytes(), SINGLES_MAX)).flatten()?;
        numbers.retain(|number| !self.told.contains(number));
        Some(numbers)
    }

    /// The server says that this message is gone.
    pub(super) fn forget(&mut self, which: Which) {
        self.gone.extend(which.uid);
    }

    /// Whether the command may be answered with EXPUNGE (RFC 9051, section 7.5.1), or the client does not hear it.
    pub(super) fn may_expunge(&self) -> bool {
        self.by_uid || !self.numbered
    }

    /// Somebody else has expunged messages: the client's numbers mean others now.
    pub(super) fn renumbered(&mut self) {
        if self.numbered {
            self.refuse(Obstacle::Renumbered);
        }
    }

    /// What it takes cannot be found out: by `on_archive_failure` it passes or not.
    fn decide(&mut self, host: &mut dyn Host) {
        match host.refuses() {
            true => self.refuse(Obstacle::Server),
            false => self.step = Step::Open,
        }
    }

    /// Messages have gone: `*` may be another one now.
    pub(super) fn shrinks(&mut self) {
        self.more |= match &self.set {
            Some(set) => set.contains(&b'*'),
            // What a SEARCH found by numbers.
            None => !self.by_uid,
        };
    }

    /// The client's command may go on, one way or the other.
    pub(super) fn is_decided(&self) -> bool {
        matches!(self.step, Step::Open | Step::Shut(_)) && !self.opened
    }

    /// The deletion must not pass.
    pub(super) fn refuse(&mut self, obstacle: Obstacle) {
        self.step = Step::Shut(obstacle);
    }
}

impl Imap {
    /// A command's first line: whether it takes away messages that have to be kept first.
    pub(super) fn judge_deletion(&mut self, command: &Command, host: &mut dyn Host) -> Verdict {
        let Some(deletion) = deletion(command) else { return Verdict::Forward };
        // It becomes part of a command of ours.
        if !deletion.set.as_deref().is_none_or(is_set) {
            return Verdict::Refuse("BAD a sequence set is expected".to_string());
        }
        if let Some(gate) = &self.own.gate {
            return match gate.step {
                Step::Open => {
                    self.own.gate = None;
                    Verdict::Forward
                }
                Step::Shut(obstacle) => {
                    self.own.gate = None;
                    self.own.due.drop_deletions(host);
                    Verdict::Refuse(shut(obstacle))
                }
                _ => Verdict::Hold(Until::Decided),
            };
        }
        if self.commands.message_is_coming() {
            self.client.holds_deletion = true;
            return Verdict::Hold(Until::NoMessage);
        }
        let nothing_goes =
            self.mailbox.as_ref().is_none_or(|mailbox| mailbox.read_only) || self.destination().is_none();
        if nothing_goes && !self.commands.select_is_open() {
            return Verdict::Forward;
        }
        // What the set names is certain only when no EXPUNGE can be on its way; of UIDs it always is.
        let idle = self.commands.list.is_empty();
        let selecting = self.commands.select_is_open();
        let certain = idle || deletion.by_uid && !selecting;
        if certain && self.all_known(&deletion, host) {
            return Verdict::Forward;
        }
        if idle {
            self.stop_downloads(true, host);
            self.own.gate = Some(Box::new(Gate::new(deletion)));
        }
        Verdict::Hold(match (idle, selecting) {
            (true, _) => Until::Decided,
            (false, true) => Until::Selected,
            (false, false) => Until::Answered,
        })
    }

    /// All messages that it names one by one are kept.
    fn all_known(&self, deletion: &Deletion, host: &mut dyn Host) -> bool {
        let Some(numbers) = deletion.set.as_deref().and_then(|set| set::explicit(set, EXPLICIT_MAX)) else {
            return false;
        };
        numbers.iter().all(|&number| self.is_known(which(deletion.by_uid, number), host))
    }

    /// The next step of a deletion that waits. True: it is decided.
    pub(super) fn gate_step(&mut self, host: &mut dyn Host) -> bool {
        if let Some(step) = self.folder_step(host) {
            return step;
        }
        let Some(gate) = &mut self.own.gate else { return false };
        let uid = if gate.by_uid { "UID " } else { "" };
        match &gate.step {
            Step::Search => {
                let only = match (&gate.set, gate.by_uid) {
                    (Some(set), true) => format!("UID {} ", String::from_utf8_lossy(set)),
                    _ => String::new(),
                };
                let text = format!("{uid}SEARCH {only}DELETED");
                gate.step = Step::Asking;
                self.command(&text, Work::Search(Vec::new()), host);
                false
            }
            Step::Resolve(set) => {
                let text = format!("{uid}FETCH {} (UID)", String::from_utf8_lossy(set));
                (gate.asked, gate.asked_text) = (Ranges::parse(set), set.clone());
                gate.step = Step::Asking;
                self.command(&text, Work::Resolve(Purpose::Deletion), host);
                false
            }
            Step::Fetching if self.own.due.has_for_deletion() => false,
            // Marks that came while messages were fetched are seen by a last look, right before the command.
            Step::Fetching if (gate.more || gate.marked_only && gate.found > 0) && gate.looks < LOOKS_MAX => {
                gate.look();
                self.gate_step(host)
            }
            Step::Fetching if gate.more => {
                gate.refuse(Obstacle::Server);
                true
            }
            Step::Fetching => {
                gate.step = Step::Open;
                true
            }
            // The client's line takes it from here.
            Step::Asking | Step::Open | Step::Shut(_) | Step::Examine(..) | Step::Count(..) => false,
        }
    }

    /// Whether a message that a SEARCH for the deletion found is kept, or may go all the same.
    pub(super) fn deletion_knows(&self, number: u32, host: &mut dyn Host) -> bool {
        let by_uid = self.own.gate.as_ref().is_some_and(|gate| gate.by_uid);
        self.may_go(which(by_uid, number), host)
    }

    /// The message is kept; or it could not be, which has been told, and `on_archive_failure = pass`.
    fn may_go(&self, which: Which, host: &mut dyn Host) -> bool {
        self.is_known(which, host) || !host.refuses() && self.own.given_up.has(which)
    }

    /// The server has told which messages are marked as deleted, those that are kept left out.
    pub(super) fn searched(&mut self, numbers: Vec<u32>, status: &[u8], line: &[u8], host: &mut dyn Host) {
        let Some(gate) = &mut self.own.gate else { return };
        if let Step::Shut(_) = gate.step {
            return;
        }
        if status != b"OK" {
            host.not_kept(&format!(
                "what an EXPUNGE would delete cannot be found out, the server says: {}",
                quote(words(line))
            ));
            return gate.decide(host);
        }
        let mut set = set::print(numbers);
        if set.len() > SET_LEN_MAX {
            gate.more = true;
            set.truncate(set[..SET_LEN_MAX].rfind(',').unwrap_or(0));
        }
        gate.step = if set.is_empty() { Step::Fetching } else { Step::Resolve(set.into_bytes()) };
    }

    /// A message that the deletion names.
    pub(super) fn deletion_names(&mut self, named: Which, host: &mut dyn Host) {
        if let Some(gate) = &mut self.own.gate {
            // Flags of other messages may be told as well.
            let number = if gate.by_uid { named.uid } else { named.sequence_number };
            if number.is_some_and(|number| !gate.asked.may_name(number)) {
                return;
            }
            gate.named += 1;
            if gate.told.len() < SINGLES_MAX {
                gate.told.extend(number);
            }
            if named.uid.is_some_and(|uid| gate.gone.contains(&uid)) {
                return;
            }
        }
        if self.is_known(named, host) {
            self.own.known.insert(named);
            return;
        }
        if self.may_go(named, host) {
            return;
        }
        if self.own.too_large.has(named) && host.refuses() {
            if let Some(gate) = &mut self.own.gate {
                gate.refuse(Obstacle::Archive(Refused::TooLarge));
            }
            return;
        }
        let Some(gate) = &mut self.own.gate else { return };
        if gate.found >= FOUND_MAX {
            gate.more = true;
            return;
        }
        gate.found += 1;
        if !self.make_due(Message::for_deletion(named), host)
            && let Some(gate) = &mut self.own.gate
        {
            gate.more = true;
        }
    }

    /// All messages that the deletion names are told.
    pub(super) fn deletion_resolved(&mut self, status: &[u8], line: &[u8], host: &mut dyn Host) {
        let Some(gate) = &mut self.own.gate else { return };
        if let Step::Shut(_) = gate.step {
            return;
        }
        let expunged = super::own::is_expunge_issued(line);
        // A set that the server does not understand it does not understand in the client's command either.
        let theirs = gate.numbered && status == b"BAD";
        if status == b"NO" && expunged {
            // Nobody promises that those that are there were all told: the others are asked for alone. Where they are too many, it is so.
            if !gate.asked.is_single() {
                let exists = self.mailbox.as_ref().map_or(0, |mailbox| mailbox.exists);
                match gate.untold_one_by_one(exists) {
                    Some(numbers) => gate.singles = numbers,
                    None if gate.named > 0 => {}
                    // The server has told meanwhile what `*` is now.
                    None if gate.more && gate.looks < LOOKS_MAX => return gate.look(),
                    None => return gate.decide(host),
                }
            }
            return gate.resolve_next();
        }
        if status != b"OK" && !theirs {
            host.not_kept(&format!(
                "which messages a client deletes cannot be found out, the server says: {}",
                quote(words(line))
            ));
            return gate.decide(host);
        }
        // Numbers that stand for messages are answered for, unless these are gone meanwhile.
        let silent = status == b"OK" && !gate.by_uid && gate.named == 0;
        if silent
            && !super::own::is_expunge_issued(line)
            && self.mailbox.as_ref().is_some_and(|mailbox| mailbox.exists > 0)
        {
            host.not_kept("which messages a client deletes cannot be found out, the server says OK and names none");
            return gate.decide(host);
        }
        gate.resolve_next();
    }
}

fn which(by_uid: bool, number: u32) -> Which {
    match by_uid {
        true => Which { uid: Some(number), sequence_number: None },
        false => Which { uid: None, sequence_number: Some(number) },
    }
}

fn shut(obstacle: Obstacle) -> String {
    match obstacle {
        Obstacle::Archive(Refused::TooLarge) => {
            "NO [LIMIT] a message is larger than what is archived here, so nothing is deleted".to_owned()
        }
        Obstacle::Archive(Refused::Unavailable) => {
            "NO [UNAVAILABLE] a message cannot be archived at the moment, so nothing is deleted; try again later".to_owned()
        }
        Obstacle::Renumbered => {
            "NO [UNAVAILABLE] messages were expunged meanwhile, so their numbers are not what they were; nothing is done".to_owned()
        }
        Obstacle::Server => {
            "NO [UNAVAILABLE] a message is not archived yet and the server does not give it, so nothing is deleted; try again later"
                .to_owned()
        }
    }
}
