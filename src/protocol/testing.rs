//! Transcripts as tests: a host that records, and a runner that plays a script whole, split at every byte and byte by byte.
//!
//! ```text
//! S: +OK ready                    bytes of the server; CRLF is added
//! C: USER me\                     bytes of the client; `\` at the end: no CRLF
//! -> S: USER me                   what must have happened since the last such lines: sent to the server …
//! -> C: +OK                       … or to the client,
//! -> begin 1 me@example.com INBOX     or another action, see below; `...` at the end stands for any rest
//! -> nothing                      nothing happened since the last such lines
//! fail settle                     the next `begin`, `append`, `prepare` or `settle` is refused (`fail begin large`: as too large)
//! tls C                           the handshake that was asked for succeeded (before it nothing of that side is delivered)
//! eof S                           that side closed
//! outstanding yes                 what the protocol must say now
//! known imap INBOX 17 42          the archive has this message of the server's already (as [`Origin`] shows itself)
//! rest                            nobody said anything for as long as the protocol wants to be told of (it must want to)
//! farewell timeout -ERR bye       the line it must give now (`none` for no line); or `shutdown`, `lost`, `not_kept`
//! # a comment
//! ```
//!
//! Escapes: `\r`, `\n`, `\t`, `\0`, `\\`, `\xNN`. Actions: `start_tls C`, `end orderly TEXT`, `end fault TEXT`, `logged_in OWNER`, `logged_out`,
//! `begin N OWNER FOLDER[ outgoing][, OWNER …][ size=N]`, `append N TEXT`, `append_draft N M`, `date N SECONDS`, `prepare N`, `commit N`, `finish N`,
//! `origin N WORDS`, `settle`, `abort N`, `not_kept TEXT`; those that were refused end in ` refused`. `injection C`: bytes of that side waited at its TLS
//! handshake, where the real host ends the session. Notes are kept apart ([`Recorder::notes`]).
//!
//! What is sent and appended is data: between two other actions it is joined for each channel and put into a fixed order (appends by
//! draft, server, client), so that a script says the same however its bytes are split. The order of `begin`, `settle`,
//! `prepare` and so on against all of it is exact.
//!
//! The runner delivers as the real host does: a side that is held back (not all was consumed) hears nothing until the other
//! side has been heard, and gets the rest together with what came after. Drafts are watched: one that is used after it is gone fails the test.

mod script;

use std::collections::{BTreeMap, HashSet};

use self::script::{Op, Step, parse, render, show};
use super::{DraftId, End, Farewell, Host, Origin, Protocol, Refused, Secret, Side};
use crate::archive::{Destination, Owner};

/// Plays the script in every way; panics with the difference where something else happened than it says. Returns the
/// recorder of the plain run.
pub(crate) fn transcript(make: impl Fn() -> Box<dyn Protocol>, script: &str) -> Recorder {
    let steps = parse(script);
    let plain = play(make(), &steps, Check::EachStep, |bytes| vec![bytes]);
    let expected = plain.lines();

    let joined = join(&steps);
    let check = |way: &str, recorder: Recorder| {
        let lines = recorder.lines();
        assert_eq!(lines.join("\n"), expected.join("\n"), "{way}: not as line by line");
    };
    check("whole", play(make(), &joined, Check::Nothing, |bytes| vec![bytes]));
    check("byte by byte", play(make(), &joined, Check::Nothing, |bytes| bytes.chunks(1).collect()));
    for (number, step) in joined.iter().enumerate() {
        let Step::Input(_, bytes) = step else { continue };
        for at in 1..bytes.len() {
            let mut split = joined.clone();
            let Step::Input(side, bytes) = split.remove(number) else { unreachable!() };
            split.insert(number, Step::Input(side, bytes[at..].to_vec()));
            split.insert(number, Step::Input(side, bytes[..at].to_vec()));
            let way = format!("input {number} split at {at}");
            check(&way, play(make(), &split, Check::Nothing, |bytes| vec![bytes]));
        }
    }
    plain
}

/// What [`Host::learn`] hears of a script without expectations, whole and byte by byte.
pub(crate) fn learnt(make: impl Fn() -> Box<dyn Protocol>, script: &str) -> Vec<(String, String)> {
    let steps = parse(script);
    let whole = play(make(), &steps, Check::Nothing, |bytes| vec![bytes]).learnt;
    assert_eq!(play(make(), &steps, Check::Nothing, |bytes| bytes.chunks(1).collect()).learnt, whole, "byte by byte");
    whole
}

/// A protocol and its recording host, fed as the real host would.
pub(crate) struct Session {
    protocol: Box<dyn Protocol>,
    pub(crate) host: Recorder,
    waiting: [Vec<u8>; 2],
    held: [bool; 2],
}

impl Session {
    pub(crate) fn new(protocol: Box<dyn Protocol>) -> Session {
        Session { protocol, host: Recorder::default(), waiting: Default::default(), held: [false; 2] }
    }

    /// Delivers bytes of one side, and what waited of the other.
    pub(crate) fn feed(&mut self, from: Side, bytes: &[u8]) {
        self.waiting[index(from)].extend_from_slice(bytes);
        self.pump(from);
    }

    /// Nobody said anything for as long as the protocol asked for.
    pub(crate) fn rest(&mut self) {
        if self.host.ended {
            return;
        }
        assert!(self.protocol.rest().is_some(), "the protocol does not wait for a rest");
        self.protocol.rested(&mut self.host);
        self.held = [false; 2];
        self.pump(Side::Client);
    }

    pub(crate) fn eof(&mut self, from: Side) {
        if !self.host.ended {
            self.protocol.eof(from, &mut self.host);
            self.held[index(from.other())] = false;
            self.pump(from.other());
        }
    }

    pub(crate) fn tls_started(&mut self, side: Side) {
        if self.host.ended {
            return;
        }
        assert_eq!(self.host.handshake.take(), Some(side), "no handshake was asked for");
        self.protocol.tls_started(side, &mut self.host);
        self.held = [false; 2];
        self.pump(side);
    }

    pub(crate) fn protocol(&self) -> &dyn Protocol {
        &*self.protocol
    }

    fn pump(&mut self, first: Side) {
        let mut heard = true;
        while heard {
            heard = false;
            for side in [first, first.other()] {
                heard |= self.deliver(side);
            }
        }
    }

    fn deliver(&mut self, side: Side) -> bool {
        let waiting = std::mem::take(&mut self.waiting[index(side)]);
        if self.host.ended || waiting.is_empty() {
            return false;
        }
        if self.host.handshake == Some(side) {
            self.host.other(format!("injection {}", letter(side)));
            self.host.ended = true;
            return false;
        }
        if self.held[index(side)] {
            self.waiting[index(side)] = waiting;
            return false;
        }
        let taken = self.protocol.input(side, &waiting, &mut self.host);
        self.held[index(side)] = taken < waiting.len();
        self.waiting[index(side)] = waiting[taken..].to_vec();
        if taken > 0 {
            self.held[index(side.other())] = false;
        }
        if self.host.handshake == Some(side) {
            // At once, as if the handshake came right away: what is left came before it.
            self.held[index(side)] = false;
            return !self.waiting[index(side)].is_empty();
        }
        taken > 0
    }
}

/// A [`Host`] that writes down what it is told.
#[derive(Default)]
pub(crate) struct Recorder {
    ops: Vec<Op>,
    /// The texts of [`Host::note`].
    pub(crate) notes: Vec<String>,
    /// What [`Host::has`] says yes to: as [`Origin`] shows itself.
    pub(crate) known: HashSet<String>,
    /// All that [`Host::fetched`] counted, octets.
    pub(crate) fetched: u64,
    /// All messages that [`Host::not_kept`] and [`Host::not_kept_more`] counted.
    pub(crate) not_kept: u64,
    /// What [`Host::learn`] was told: owner and password.
    pub(crate) learnt: Vec<(String, String)>,
    refuse: Vec<String>,
    drafts: BTreeMap<DraftId, Draft>,
    last_draft: u32,
    handshake: Option<Side>,
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Draft {
    Open,
    Prepared,
    Finished,
}

impl Recorder {
    /// All that happened, in the normal form.
    pub(crate) fn lines(&self) -> Vec<String> {
        render(&self.ops)
    }

    /// All bytes that were sent to that side.
    pub(crate) fn sent(&self, to: Side) -> Vec<u8> {
        let sends = self.ops.iter().filter_map(|op| match op {
            Op::Send(side, bytes) if *side == to => Some(&bytes[..]),
            _ => None,
        });
        sends.collect::<Vec<_>>().concat()
    }

    /// All bytes that were appended to the n-th draft (from 1).
    pub(crate) fn appended(&self, draft: u32) -> Vec<u8> {
        let appends = self.ops.iter().filter_map(|op| match op {
            Op::Append(number, bytes) if *number == draft => Some(&bytes[..]),
            _ => None,
        });
        appends.collect::<Vec<_>>().concat()
    }

    /// Whether the session was told to end.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Drafts begun and neither kept, committed nor aborted.
    pub(crate) fn drafts_left(&self) -> usize {
        self.drafts.len()
    }

    /// Drafts that are not whole.
    pub(crate) fn drafts_open(&self) -> usize {
        self.drafts.values().filter(|state| **state == Draft::Open).count()
    }

    /// The next call of `begin`, `append`, `prepare` or `settle` is refused.
    pub(crate) fn refuse(&mut self, call: &str) {
        let calls = ["begin", "begin large", "append", "append large", "prepare", "settle"];
        assert!(calls.contains(&call), "{call} cannot be refused");
        self.refuse.push(call.to_owned());
    }

    fn other(&mut self, text: String) {
        assert!(!self.ended, "after the end: {text}");
        self.ops.push(Op::Other(text));
    }

    /// Whether this call is to be refused, and with which reason.
    fn refused(&mut self, call: &str) -> Option<Refused> {
        let at = self.refuse.iter().position(|refused| refused.split(' ').next() == Some(call))?;
        let large = self.refuse.remove(at).ends_with(" large");
        Some(if large { Refused::TooLarge } else { Refused::Unavailable })
    }

    fn must_be(&self, draft: DraftId, state: Draft) {
        assert_eq!(self.drafts.get(&draft), Some(&state), "draft {}", draft.0);
    }
}

impl Host for Recorder {
    fn send(&mut self, to: Side, bytes: &[u8]) {
        assert!(!self.ended, "sent after the end: {:?}", bytes.escape_ascii().to_string());
        if !bytes.is_empty() {
            self.ops.push(Op::Send(to, bytes.to_vec()));
        }
    }

    fn start_tls(&mut self, side: Side) {
        self.other(format!("start_tls {}", letter(side)));
        assert_eq!(self.handshake.replace(side), None, "two handshakes at once");
    }

    fn end(&mut self, end: End) {
        match end {
            End::Orderly(why) => self.other(format!("end orderly {why}")),
            End::Fault(why) => self.other(format!("end fault {why}")),
        }
        self.ended = true;
    }

    fn logged_in(&mut self, owner: &Owner) {
        self.other(format!("logged_in {}", name(owner)));
    }

    fn learns(&self) -> bool {
        true
    }

    fn learn(&mut self, owner: &Owner, password: Secret) {
        self.learnt.push((name(owner), String::from_utf8_lossy(password.bytes()).into_owned()));
    }

    fn logged_out(&mut self) {
        self.other("logged_out".to_owned());
    }

    fn begin(&mut self, to: &[Destination], size: Option<u64>) -> Result<DraftId, Refused> {
        assert!(!to.is_empty(), "a draft for nobody");
        let to = to.iter().map(|to| {
            let folder = Some(to.folder.dir_name()).filter(|name| !name.is_empty()).unwrap_or("INBOX");
            format!("{} {folder}{}", name(&to.owner), if to.outgoing { " outgoing" } else { "" })
        });
        let to = to.collect::<Vec<_>>().join(", ");
        let size = size.map_or_else(String::new, |size| format!(" size={size}"));
        if let Some(refused) = self.refused("begin") {
            self.other(format!("begin {to}{size} refused"));
            return Err(refused);
        }
        self.last_draft += 1;
        self.drafts.insert(DraftId(self.last_draft), Draft::Open);
        self.other(format!("begin {} {to}{size}", self.last_draft));
        Ok(DraftId(self.last_draft))
    }

    fn append(&mut self, draft: DraftId, bytes: &[u8]) -> Result<(), Refused> {
        self.must_be(draft, Draft::Open);
        if let Some(refused) = self.refused("append") {
            self.drafts.remove(&draft);
            self.other(format!("append {} refused", draft.0));
            return Err(refused);
        }
        if !bytes.is_empty() {
            self.ops.push(Op::Append(draft.0, bytes.to_vec()));
        }
        Ok(())
    }

    fn append_draft(&mut self, draft: DraftId, other: DraftId) -> Result<(), Refused> {
        self.must_be(draft, Draft::Open);
        self.must_be(other, Draft::Open);
        self.drafts.remove(&other);
        if let Some(refused) = self.refused("append") {
            self.drafts.remove(&draft);
            self.other(format!("append_draft {} {} refused", draft.0, other.0));
            return Err(refused);
        }
        self.other(format!("append_draft {} {}", draft.0, other.0));
        Ok(())
    }

    fn date(&mut self, draft: DraftId, seconds: i64) {
        assert!(self.drafts.contains_key(&draft), "draft {} is gone", draft.0);
        self.other(format!("date {} {seconds}", draft.0));
    }

    fn origin(&mut self, draft: DraftId, origin: Origin) {
        assert!(self.drafts.contains_key(&draft), "draft {} is gone", draft.0);
        self.other(format!("origin {} {origin}", draft.0));
    }

    fn has(&mut self, _: &Owner, origin: &Origin) -> bool {
        self.known.contains(&origin.to_string())
    }

    fn refuses(&self) -> bool {
        true
    }

    fn fetched(&mut self, octets: u64) {
        self.fetched += octets;
    }

    fn prepare(&mut self, draft: DraftId) -> Result<(), Refused> {
        self.must_be(draft, Draft::Open);
        if let Some(refused) = self.refused("prepare") {
            self.drafts.remove(&draft);
            self.other(format!("prepare {} refused", draft.0));
            return Err(refused);
        }
        self.drafts.insert(draft, Draft::Prepared);
        self.other(format!("prepare {}", draft.0));
        Ok(())
    }

    fn commit(&mut self, draft: DraftId) {
        self.must_be(draft, Draft::Prepared);
        self.drafts.remove(&draft);
        self.other(format!("commit {}", draft.0));
    }

    fn finish(&mut self, draft: DraftId) {
        self.must_be(draft, Draft::Open);
        self.drafts.insert(draft, Draft::Finished);
        self.other(format!("finish {}", draft.0));
    }

    fn settle(&mut self) -> Result<(), Refused> {
        self.drafts.retain(|_, state| *state != Draft::Finished);
        if let Some(refused) = self.refused("settle") {
            self.other("settle refused".to_owned());
            return Err(refused);
        }
        self.other("settle".to_owned());
        Ok(())
    }

    fn abort(&mut self, draft: DraftId) {
        let state = self.drafts.remove(&draft);
        assert!(matches!(state, Some(Draft::Open | Draft::Prepared)), "draft {}: {state:?}", draft.0);
        self.other(format!("abort {}", draft.0));
    }

    fn not_kept(&mut self, why: &str) {
        self.not_kept_more(1, why);
    }

    fn not_kept_more(&mut self, count: u64, why: &str) {
        self.not_kept += count;
        self.other(format!("not_kept {why}"));
    }

    fn refused(&mut self, what: &str) {
        self.notes.push(format!("refused: {what}"));
    }

    fn login_failed(&mut self, why: &str) {
        self.notes.push(format!("login failed: {why}"));
    }

    fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    EachStep,
    Nothing,
}

fn play(protocol: Box<dyn Protocol>, steps: &[Step], check: Check, pieces: impl Fn(&[u8]) -> Vec<&[u8]>) -> Recorder {
    let mut session = Session::new(protocol);
    let mut seen = 0;
    let mut said: Vec<&Step> = Vec::new();
    let mut last = "the beginning".to_owned();
    let mut compare = |session: &Session, said: &mut Vec<&Step>, last: &str| {
        let expected = said.drain(..).filter_map(|step| match step {
            Step::Expect(op) => op.clone(),
            _ => unreachable!(),
        });
        let (expected, happened) = (render(&expected.collect::<Vec<_>>()), render(&session.host.ops[seen..]));
        seen = session.host.ops.len();
        let same = expected.len() == happened.len()
            && expected.iter().zip(&happened).all(|(expected, happened)| matches(expected, happened));
        assert!(same, "after {last}\n  expected: {expected:#?}\n  happened: {happened:#?}");
    };
    for step in steps {
        if let Step::Expect(_) = step {
            said.push(step);
            continue;
        }
        // Inputs without a word between them are one paragraph, and what they bring stands behind them.
        if check == Check::EachStep && !(said.is_empty() && matches!(step, Step::Input(..))) {
            compare(&session, &mut said, &last);
        }
        match step {
            Step::Input(side, bytes) => {
                for piece in pieces(bytes) {
                    session.feed(*side, piece);
                }
            }
            Step::Fail(call) => session.host.refuse(call),
            Step::Known(origin) => drop(session.host.known.insert(origin.clone())),
            Step::Rest => session.rest(),
            Step::Tls(side) => session.tls_started(*side),
            Step::Eof(side) => session.eof(*side),
            Step::Outstanding(yes) => assert_eq!(session.protocol().outstanding(), *yes, "outstanding after {last}"),
            Step::Farewell(why, line) => {
                let said = session.protocol().farewell(*why);
                assert_eq!(said.as_deref().map(show), line.as_deref().map(show), "farewell after {last}");
            }
            Step::Expect(_) => unreachable!(),
        }
        if !matches!(step, Step::Outstanding(_) | Step::Farewell(..)) {
            last = match step {
                Step::Input(side, bytes) => format!("{}: {}", letter(*side), show(bytes)),
                step => format!("{step:?}"),
            };
        }
    }
    if check == Check::EachStep {
        compare(&session, &mut said, &last);
    }
    session.host
}

/// Inputs of one side that follow each other become one, unless that side was told something in between: it may have waited
/// for that.
fn join(steps: &[Step]) -> Vec<Step> {
    let mut joined: Vec<Step> = Vec::new();
    let mut told = [false; 2];
    for step in steps {
        match (joined.last_mut(), step) {
            // What has to have happened was looked at in the run line by line.
            (_, Step::Expect(Some(Op::Send(side, _)))) => told[index(*side)] = true,
            (_, Step::Expect(_) | Step::Outstanding(_) | Step::Farewell(..)) => {}
            (Some(Step::Input(before, bytes)), Step::Input(side, more)) if before == side && !told[index(*side)] => {
                bytes.extend(more);
            }
            _ => {
                joined.push(step.clone());
                told = [false; 2];
            }
        }
    }
    joined
}

fn matches(expected: &str, happened: &str) -> bool {
    match expected.strip_suffix("...") {
        Some(start) => happened.starts_with(start),
        None => expected == happened,
    }
}

fn name(owner: &Owner) -> String {
    format!("{}@{}", owner.user().escape_ascii(), owner.domain().escape_ascii())
}

fn letter(side: Side) -> char {
    match side {
        Side::Client => 'C',
        Side::Server => 'S',
    }
}

fn index(side: Side) -> usize {
    match side {
        Side::Client => 0,
        Side::Server => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::line::LineBuffer;

    /// Forwards the client's lines, each once the server has answered the one before; a line `tls` starts TLS.
    struct Echo {
        line: LineBuffer,
        waiting: bool,
    }

    fn echo() -> Box<dyn Protocol> {
        Box::new(Echo { line: LineBuffer::new(100), waiting: false })
    }

    impl Protocol for Echo {
        fn input(&mut self, from: Side, bytes: &[u8], host: &mut dyn Host) -> usize {
            if from == Side::Server {
                self.waiting &= !bytes.contains(&b'\n');
                host.send(Side::Client, bytes);
                return bytes.len();
            }
            let mut taken = 0;
            while taken < bytes.len() && !self.waiting {
                let (more, whole) = self.line.feed(&bytes[taken..]).unwrap();
                taken += more;
                if whole && self.line.text() == b"tls" {
                    host.start_tls(Side::Client);
                    self.line.clear();
                    break;
                } else if whole {
                    host.send(Side::Server, self.line.raw());
                    self.line.clear();
                    self.waiting = true;
                }
            }
            taken
        }

        fn eof(&mut self, _: Side, host: &mut dyn Host) {
            host.end(End::Orderly("closed"));
        }

        fn tls_started(&mut self, _: Side, host: &mut dyn Host) {
            host.note("secure");
        }

        fn outstanding(&self) -> bool {
            self.waiting
        }

        fn farewell(&self, why: Farewell) -> Option<Vec<u8>> {
            (why == Farewell::Lost).then(|| b"bye\r\n".to_vec())
        }
    }

    #[test]
    fn a_script_is_played_in_every_way() {
        let recorder = transcript(
            echo,
            r"
            # held back until the server has answered
            C: one
            -> S: one
            outstanding yes
            C: two \\ \x41\xff\0
            -> nothing
            S: 1
            -> S: two \\ A\xff\0
            -> C: 1
            S: 2\n\
            -> C: 2\n\
            outstanding no
            farewell timeout none
            farewell lost bye
            C: tls
            -> start_tls C
            tls C
            C:
            -> S:
            eof C
            -> end orderly cl...
            C: not heard any more
            ",
        );
        assert_eq!(recorder.notes, ["secure"]);
        assert_eq!(recorder.sent(Side::Client), b"1\r\n2\n");
        assert!(recorder.ended());
    }

    #[test]
    fn plaintext_at_a_handshake_is_an_injection() {
        transcript(
            echo,
            "C: tls
             -> start_tls C
             C: more
             -> injection C",
        );
    }

    #[test]
    #[should_panic(expected = "after C: one")]
    fn what_did_not_happen_is_told() {
        transcript(echo, "C: one\n-> S: two");
    }

    #[test]
    #[should_panic(expected = "draft 1")]
    fn a_refused_draft_is_gone() {
        let mut recorder = Recorder::default();
        let owner = Owner::new(b"me", "example.com");
        let to = Destination { owner, folder: crate::archive::Folder::inbox(), outgoing: false };
        let draft = recorder.begin(&[to], None).unwrap();
        recorder.append(draft, b"kept").unwrap();
        assert_eq!(recorder.appended(1), b"kept");
        recorder.refuse("append");
        assert_eq!(recorder.append(draft, b"x"), Err(Refused::Unavailable));
        assert_eq!(recorder.drafts_left(), 0);
        recorder.finish(draft);
    }
}
