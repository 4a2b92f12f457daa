//! One input played to a protocol as the relay would deliver it, in whole chunks and in pieces.
//!
//! A side that is held back hears nothing until the other one has been heard, and gets the rest together with what came after. What must make no difference is
//! how the bytes of one chunk are cut; *when* the two sides are heard may make one. So what is compared hears the server line by line, as from a server that
//! waits for what it answers.

use mailstore::protocol::{Farewell, Protocol, Side};

use crate::host::Watcher;
use crate::input::{Event, Input};
use crate::kinds::{self, Kind};

/// Octets that a protocol may hold, its own object included.
pub const HELD_MAX: isize = 8 * 1024 * 1024;

/// Above so many octets single bytes take too long.
const SINGLE_MAX: usize = 4 * 1024;

/// How the chunks are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As they are.
    Whole,
    /// Cut into pieces of so many octets at most, and behind every line of the server's, in IMAP of the client's too.
    Pieces(usize),
}

const LINES: Way = Way::Pieces(usize::MAX);

/// Plays it in all ways. `live`: the octets allocated now.
///
/// # Panics
/// Where a promise breaks.
pub fn play(kind: Kind, data: &[u8], live: fn() -> isize) {
    let input = Input::parse(data);
    run(kind, &input, Way::Whole, live, false);
    if input.long {
        return;
    }
    let said: usize =
        input.events.iter().map(|event| if let Event::Say(_, bytes) = event { bytes.len() } else { 0 }).sum();
    let small = if said <= SINGLE_MAX { 1 } else { 97 };
    let mut lines = run(kind, &input, LINES, live, false);
    let mut pieces = run(kind, &input, Way::Pieces(small), live, false);
    // Which call it was that the archive refused depends on the pieces there.
    if kind == Kind::Pop3 && (lines.refused_early || pieces.refused_early) {
        return;
    }
    if lines.digest() != pieces.digest() {
        let log = |way| {
            let mut watcher = run(kind, &input, way, live, true);
            watcher.digest();
            watcher.log.unwrap_or_default().join("\n")
        };
        let (lines, pieces) = (log(LINES), log(Way::Pieces(small)));
        panic!("in pieces of {small}:\n{pieces}\n\nnot as in whole lines:\n{lines}");
    }
}

/// Plays it in one way.
pub fn run(kind: Kind, input: &Input, way: Way, live: fn() -> isize, verbose: bool) -> Watcher {
    let before = live();
    let mut session = Session {
        kind,
        protocol: kinds::make(kind, input.settings),
        host: Watcher::new(kind, kinds::refuses(input.settings), kinds::secrets(input.seed), verbose),
        way,
        legs: Default::default(),
        seed: input.seed,
        server_line: Vec::new(),
        over: false,
    };
    // In pieces the same happens in the same order: once is enough.
    if way == LINES {
        session.host.listen_to(kind);
    }
    for event in &input.events {
        if session.over {
            break;
        }
        session.event(event);
        if !verbose {
            let held = live() - before - session.waiting();
            assert!(held < HELD_MAX, "{held} octets are held");
        }
    }
    session.finish();
    session.host
}

struct Session {
    kind: Kind,
    protocol: Box<dyn Protocol>,
    host: Watcher,
    way: Way,
    legs: [Leg; 2],
    seed: u64,
    /// What the server said of its line.
    server_line: Vec<u8>,
    over: bool,
}

#[derive(Default)]
struct Leg {
    waiting: Vec<u8>,
    /// Of what waits, so much has been taken.
    taken: usize,
    held: bool,
    closed: bool,
    told: bool,
    /// What this side said ended with a line.
    midway: bool,
}

impl Leg {
    fn is_empty(&self) -> bool {
        self.taken == self.waiting.len()
    }
}

impl Session {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Say(side, bytes) => self.say(*side, bytes),
            Event::Login(way) if !self.leg(Side::Client).midway => {
                self.say(Side::Client, &kinds::login(self.kind, *way, self.seed))
            }
            Event::Login(_) => {}
            Event::Close(side) => {
                self.leg(*side).closed = true;
                self.pump(*side);
            }
            Event::Tls => {
                if let Some(side) = self.host.handshake.take() {
                    self.host.hearing = None;
                    self.protocol.tls_started(side, &mut self.host);
                    self.release();
                    self.pump(side);
                }
            }
            Event::Rest => {
                if self.protocol.rest().is_some() {
                    self.host.hearing = None;
                    self.protocol.rested(&mut self.host);
                    self.release();
                    self.pump(Side::Client);
                }
            }
            Event::Refuse(call) => self.host.refuse(*call),
            Event::Known => self.host.know(),
        }
    }

    fn say(&mut self, side: Side, bytes: &[u8]) {
        let leg = self.leg(side);
        if !leg.closed {
            leg.waiting.extend_from_slice(bytes);
            leg.midway = bytes.last() != Some(&b'\n');
            self.pump(side);
        }
    }

    fn leg(&mut self, side: Side) -> &mut Leg {
        &mut self.legs[if side == Side::Client { 0 } else { 1 }]
    }

    fn waiting(&self) -> isize {
        self.legs.iter().map(|leg| leg.waiting.capacity() as isize).sum()
    }

    fn release(&mut self) {
        self.legs.iter_mut().for_each(|leg| leg.held = false);
    }

    /// Until nobody can be heard any more.
    fn pump(&mut self, first: Side) {
        loop {
            let mut heard = false;
            for side in [first, first.other()] {
                heard |= self.deliver(side);
            }
            heard |= !heard && self.tell_closed();
            self.look();
            if !heard {
                break;
            }
        }
        let held = |leg: &Leg| leg.held && !leg.is_empty();
        if !self.over && self.host.handshake.is_none() && self.legs.iter().all(held) {
            panic!("both sides are held back");
        }
    }

    /// What may be asked at any time.
    fn look(&mut self) {
        self.over |= self.host.ended;
        self.protocol.outstanding();
        self.protocol.finishing();
        self.protocol.rest();
        for why in [Farewell::Timeout, Farewell::Shutdown, Farewell::Lost, Farewell::NotKept] {
            if let Some(line) = self.protocol.farewell(why) {
                assert!(line.ends_with(b"\r\n"), "{}", line.escape_ascii());
            }
        }
    }

    /// Gives the protocol what there is of that side; true if it took any of it.
    fn deliver(&mut self, side: Side) -> bool {
        let over = self.over;
        let leg = self.leg(side);
        if leg.held || leg.is_empty() || over {
            return false;
        }
        let waiting = std::mem::take(&mut leg.waiting);
        let (before, mut taken, mut held) = (leg.taken, leg.taken, false);
        while taken < waiting.len() && !held && !self.host.ended {
            if self.host.handshake == Some(side) {
                // What was said in the clear ends the session.
                self.over = true;
                return false;
            }
            let (end, piece) = match (self.way, side) {
                (Way::Whole, _) => (waiting.len(), usize::MAX),
                // An IMAP proxy may say something of its own between two lines of the client's, too.
                (Way::Pieces(piece), Side::Client) if self.kind != Kind::Imap => (waiting.len(), piece),
                (Way::Pieces(piece), _) => (line_end(&waiting, taken), piece),
            };
            let given = &waiting[taken..end.min(taken.saturating_add(piece))];
            self.host.hearing = Some(side);
            if let (Side::Server, Some(server)) = (side, self.host.server.as_mut()) {
                self.server_line.extend_from_slice(given);
                if given.last() == Some(&b'\n') {
                    server.say(&std::mem::take(&mut self.server_line));
                }
            }
            let used = self.protocol.input(side, given, &mut self.host);
            if side == Side::Server && used < given.len() {
                // What it says was said already.
                self.host.server = None;
            }
            assert!(used <= given.len(), "{used} octets taken of {}", given.len());
            self.host.heard();
            taken += used;
            held = used < given.len();
            if taken == end {
                break;
            }
        }
        let leg = self.leg(side);
        leg.waiting = waiting;
        leg.taken = taken;
        leg.held = held;
        if leg.is_empty() {
            leg.waiting.clear();
            leg.taken = 0;
        }
        if self.host.handshake == Some(side) {
            self.leg(side).held = false;
            self.over |= !self.leg(side).is_empty();
        }
        if taken > before {
            self.leg(side.other()).held = false;
        }
        taken > before
    }

    /// Tells of a side that has closed, once all that it said was taken.
    fn tell_closed(&mut self) -> bool {
        if self.over || self.host.ended {
            return false;
        }
        for side in [Side::Server, Side::Client] {
            let leg = self.leg(side);
            if !leg.closed || leg.told || !leg.is_empty() {
                continue;
            }
            leg.told = true;
            self.host.hearing = None;
            self.protocol.eof(side, &mut self.host);
            self.release();
            self.over |= side == Side::Server;
            return true;
        }
        self.over |= self.leg(Side::Client).told && !self.protocol.outstanding();
        false
    }

    fn finish(&mut self) {
        if !self.host.ended {
            self.host.hearing = None;
            self.protocol.over(&mut self.host);
        }
    }
}

fn line_end(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |at| from + at + 1)
}
