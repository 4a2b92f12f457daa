//! The pump: moves one session's bytes between its two sockets and its protocol.
//!
//! One loop around poll(2), or in a dialogue around a read that waits for whose turn it is, and two bounded queues. A full queue towards one side stops the reading of the other; an empty queue is
//! not asked whether it could be written. Input is given to the protocol the moment it is read, and what the protocol
//! sends is written at once, before the next sleep. Actions are performed in the order of the calls: what the protocol had kept
//! before it sent bytes is kept before these bytes leave.
//!
//! Ends, always with a reason: the protocol says so; a side closed (its last bytes are delivered first); a time limit; the stop
//! pipe. Then all that is queued leaves, close_notify and FIN follow, and the client's rest is read and thrown away for a
//! moment, because closing a socket with unread input would destroy the replies that are still under way (RST).

mod buffer;
mod closing;
mod pace;
mod repose;
mod waiting;

#[cfg(test)]
mod tests;

use std::hint::black_box;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use self::buffer::Buffer;
use self::pace::{Pace, Talk};
use self::repose::Repose;
use super::stream::{Outcome, Stream};
use super::tls::{Acceptor, Connector};
use super::wait::{Need, Until};
use crate::protocol::{End, Farewell, Host, Protocol, Side};

/// Octets in the queue towards one side, above which the other side is not read.
pub const QUEUE_SOFT: usize = 64 * 1024;
/// Octets in the client's queue above which the client is not read either: it asks (for answers of our own) and does not listen.
pub const QUEUE_HARD: usize = 1024 * 1024;
/// Octets read from one side and not yet taken by the protocol.
pub const INPUT_MAX: usize = 64 * 1024;
/// How long a session that always has something to do goes without a look at its limits and at the stop pipe.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Eight of the widest registers: longer copies are made in a loop.
const COPIED_LEN: usize = 512;
/// For so many turns after the login the stack is overwritten, too.
const TURNS_TO_CLEAR: u32 = 4;
/// How often a side that let us wait in a read in vain is polled before that is tried again: a server far away never answers within a moment.
const HASTE: u8 = 63;
/// What a client begins with that speaks TLS from the start.
const TLS_HANDSHAKE: u8 = 22;
const SPEAKS_TLS: &str = "the client speaks TLS from the start, and listen_tls is not implicit: let it speak none at first, or write listen_tls = implicit";
/// A handshake in the middle of a session.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// For [`Settings::client_closed_wait`].
pub const CLIENT_CLOSED_WAIT: Duration = Duration::from_secs(60);
/// For [`Settings::client_gone_wait`].
pub const CLIENT_GONE_WAIT: Duration = Duration::from_secs(10);
/// For [`Settings::finish_wait`].
pub const FINISH_WAIT: Duration = Duration::from_secs(10 * 60);

/// What the protocol asked of the sockets; the relay's half of a [`Host`].
#[derive(Debug, Default)]
pub struct Wire {
    queues: [Buffer; 2],
    gone: [bool; 2],
    start_tls: [bool; 2],
    end: Option<End>,
    /// Octets of the session's content from the client.
    pub received: u64,
    /// Octets of the session's content to the client.
    pub sent: u64,
}

impl Wire {
    /// [`Host::send`]. What is for a peer that is gone is dropped.
    pub fn send(&mut self, to: Side, bytes: &[u8]) {
        if !self.gone[index(to)] {
            self.queues[index(to)].push(bytes);
        }
    }

    /// [`Host::start_tls`].
    pub fn start_tls(&mut self, side: Side) {
        self.start_tls[index(side)] = true;
    }

    /// [`Host::end`]. The first reason counts: what follows is its consequence.
    pub fn end(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    fn queue(&mut self, side: Side) -> &mut Buffer {
        &mut self.queues[index(side)]
    }
}

/// A [`Host`] whose sockets are served by the relay.
pub trait Wired: Host {
    fn wire(&mut self) -> &mut Wire;

    /// Whether the login timeout has done its duty.
    fn identified(&self) -> bool;
}

/// What the relay must know of the proxy.
pub struct Settings<'a> {
    /// When the client has to be logged in.
    pub login_deadline: Instant,
    /// How long both sides may be silent (or say next to nothing), and how long one may refuse to take what is for it.
    pub idle_timeout: Duration,
    /// The client has closed its direction and waits for answers: how long nothing may move.
    pub client_closed_wait: Duration,
    /// The client is gone and hears nothing any more: how long the server may go on all the same.
    pub client_gone_wait: Duration,
    /// The client has left in whatever way, and what is due to the archive is still being fetched: how long in all. The server may be
    /// silent for `client_closed_wait` meanwhile.
    pub finish_wait: Duration,
    /// For `start_tls` of the client.
    pub acceptor: Option<&'a Acceptor>,
    /// For `start_tls` of the server.
    pub connector: Option<&'a Connector>,
    /// Closed at its other end when the session has to end at once.
    pub stop: BorrowedFd<'a>,
    /// How long nothing may happen until the session is handed back, to go on with [`rest`].
    pub rest_after: Duration,
}

/// How it ended.
#[derive(Debug)]
pub struct Report {
    pub end: End,
    /// How often the session went to sleep: what a test looks at to see that nothing spins.
    pub polls: u64,
}

/// A session's two connections, and how far they are.
pub struct Connections {
    legs: [Leg; 2],
    talk: Talk,
    /// When the protocol was last told that nobody speaks.
    last_rest: Instant,
    polls: u64,
    /// When the stop pipe was looked at last.
    last_look: Instant,
    /// The stop pipe was closed; it would be ready always.
    stopped: bool,
    repose: Repose,
}

impl Connections {
    /// `idle_timeout` as in [`Settings`].
    pub fn new(client: Stream, server: Stream, idle_timeout: Duration) -> Connections {
        let now = Instant::now();
        // Servers of all three protocols speak first.
        Connections {
            legs: [Leg::new(client, now), Leg { may_read: true, patient: true, ..Leg::new(server, now) }],
            talk: Talk::new(idle_timeout, now),
            last_rest: now,
            polls: 0,
            last_look: now,
            stopped: false,
            repose: Repose::default(),
        }
    }
}

/// Runs a session to its end; both connections are closed then. None: nothing has happened for [`Settings::rest_after`]. It is to go on with [`rest`], best
/// in another thread: the stack of this one is as large as it has ever been.
pub fn run(
    connections: &mut Connections,
    protocol: &mut dyn Protocol,
    host: &mut dyn Wired,
    settings: &Settings<'_>,
) -> Option<Report> {
    connections.repose.wake();
    let mut pump = Pump { connections, protocol, host, settings };
    let end = pump.pump()?;
    pump.protocol.over(pump.host);
    pump.close();
    Some(Report { end, polls: pump.connections.polls })
}

/// Sleeps, on next to no stack, until there is something to [`run`] for.
pub fn rest(connections: &mut Connections, protocol: &mut dyn Protocol, host: &mut dyn Wired, settings: &Settings<'_>) {
    Pump { connections, protocol, host, settings }.watch();
}

/// What others wrote on the stack below here, and what a copy left in the widest registers. Libraries leave there what passed through these (the dynamic
/// linker saves them when it looks up a function that is called for the first time), which may have been a credential.
#[inline(never)]
fn overwrite_stack() {
    // A copy of a length that the compiler knows might be made without the library's function, which uses these registers: others for other lengths.
    let (zeros, mut copy) = ([0_u8; COPIED_LEN], [0_u8; COPIED_LEN]);
    for divisor in black_box([1, 2, 4, 8, 16]) {
        let len = COPIED_LEN / divisor;
        copy[..len].copy_from_slice(&black_box(&zeros)[..len]);
        black_box(&mut copy);
    }
    black_box(&mut [0_u8; 16 * 1024]);
}

fn index(side: Side) -> usize {
    match side {
        Side::Client => 0,
        Side::Server => 1,
    }
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}

/// One of the two connections.
struct Leg {
    /// None only where a handshake failed and the connection with it.
    stream: Option<Stream>,
    input: Buffer,
    /// Something was read, and nothing written since that would have carried the acknowledgement.
    unacknowledged: bool,
    /// The protocol left some of the input, and nothing has changed since.
    held: bool,
    /// The next read may wait for a moment.
    patient: bool,
    /// So many times it is not waited for in a read: it is not quick enough, or the other side speaks out of turn.
    hasty: u8,
    /// Reading may give something: nobody said yet that it would block. While false, poll is asked for `read_need`.
    may_read: bool,
    read_need: Need,
    may_write: bool,
    write_need: Need,
    /// No more input will come; how and when that was found.
    closed: Option<Closed>,
    /// The protocol knows.
    told: bool,
    /// The connection is dead in both directions, since when. Not polled any more: it would be ready always.
    broken: Option<Instant>,
    /// When the queue has stood still, or crept, for too long.
    stalled: Option<Pace>,
    last_read: Instant,
    last_write: Instant,
}

struct Closed {
    at: Instant,
    error: Option<io::Error>,
}

impl Leg {
    fn new(stream: Stream, now: Instant) -> Leg {
        Leg {
            stream: Some(stream),
            input: Buffer::default(),
            unacknowledged: false,
            held: false,
            patient: false,
            hasty: 0,
            // poll will tell, and what was read in the handshake is asked for.
            may_read: false,
            read_need: Need::Readable,
            may_write: true,
            write_need: Need::Writable,
            closed: None,
            told: false,
            broken: None,
            stalled: None,
            last_read: now,
            last_write: now,
        }
    }

    fn break_off(&mut self) {
        self.broken.get_or_insert_with(Instant::now);
        // What had arrived before can still be read, up to the error.
        self.may_read = true;
        self.may_write = true;
    }
}

struct Pump<'a, 'b> {
    connections: &'a mut Connections,
    protocol: &'a mut dyn Protocol,
    host: &'a mut dyn Wired,
    settings: &'a Settings<'b>,
}

impl Pump<'_, '_> {
    /// None: it rests.
    fn pump(&mut self) -> Option<End> {
        let mut turns_to_clear = TURNS_TO_CLEAR;
        let mut first = true;
        loop {
            let identified = self.host.identified();
            let mut progress = false;
            for side in [Side::Server, Side::Client] {
                progress |= self.read(side);
                progress |= self.deliver(side);
                // Also what was queued before, and did not go.
                progress |= self.write(Side::Client) | self.write(Side::Server);
            }
            progress |= self.handshake(Side::Server) | self.handshake(Side::Client);
            progress |= self.tell_closed();
            if let Some(end) = self.host.wire().end.clone() {
                return Some(end);
            }
            if progress {
                self.connections.repose.wake();
            }
            let busy = progress && !self.is_done();
            // Registers keep what passed through them: it may be saved to the stack in a turn in which nothing passed, and in those right after the login.
            turns_to_clear = if identified { turns_to_clear.saturating_sub(1) } else { TURNS_TO_CLEAR };
            // A client that has said nothing has told no credential; but who used this stack before may have.
            let said = self.host.wire().received > 0;
            if turns_to_clear > 0 && (said || first) {
                overwrite_stack();
            }
            first = false;
            // Two peers that are always faster than we are would keep us from ever looking.
            if !busy || self.connections.last_look.elapsed() >= LOOK_EVERY {
                self.sleep(busy);
            }
            if self.connections.repose.is_over() {
                return None;
            }
        }
    }

    /// Whether another turn would find nothing to do.
    fn is_done(&mut self) -> bool {
        let at_rest = |leg: &Leg| !leg.may_read && leg.input.is_empty() && leg.closed.is_none() && leg.broken.is_none();
        let wire = self.host.wire();
        wire.end.is_none()
            && wire.start_tls == [false; 2]
            && wire.queues.iter().all(Buffer::is_empty)
            && self.connections.legs.iter().all(at_rest)
    }

    fn leg(&mut self, side: Side) -> &mut Leg {
        &mut self.connections.legs[index(side)]
    }

    /// Whether what this side says could be passed on.
    fn room_for(&mut self, side: Side) -> bool {
        let wire = self.host.wire();
        !wire.start_tls[index(side)]
            && wire.queue(side.other()).len() < QUEUE_SOFT
            && (side == Side::Server || wire.queue(Side::Client).len() < QUEUE_HARD)
    }

    fn wants_read(&mut self, side: Side) -> bool {
        let leg = &self.connections.legs[index(side)];
        leg.closed.is_none() && leg.stream.is_some() && leg.input.len() < INPUT_MAX && self.room_for(side)
    }

    /// Reads what there is room for. True if it changed anything.
    fn read(&mut self, side: Side) -> bool {
        let read = self.read_once(side);
        // TLS gives record by record: those that are there already go on their way together.
        while read
            && self.connections.legs[index(side)].stream.as_ref().is_some_and(|stream| stream.buffered() > 0)
            && self.read_once(side)
        {}
        read
    }

    fn read_once(&mut self, side: Side) -> bool {
        if !self.connections.legs[index(side)].may_read || !self.wants_read(side) {
            return false;
        }
        let leg = &mut self.connections.legs[index(side)];
        let Some(stream) = leg.stream.as_mut() else { return false };
        let patient = std::mem::take(&mut leg.patient);
        let (outcome, filled_up) = leg.input.fill(INPUT_MAX, |space| match patient {
            true => stream.read_when_it_comes(space),
            false => stream.read(space),
        });
        match outcome {
            Outcome::Ready(n) => {
                // A socket that gave less than it could have is empty.
                leg.may_read = filled_up || stream.may_have_more() || leg.broken.is_some();
                leg.held = false;
                leg.unacknowledged = true;
                leg.last_read = Instant::now();
                let now = leg.last_read;
                // A server may say a whole line now and then: to a client in IDLE, or that it is still searching.
                let said = &leg.input.bytes()[leg.input.len() - n..];
                let at_pace = side == Side::Client || !said.contains(&b'\n');
                self.connections.talk.heard(side, n, at_pace, now);
                if side == Side::Client {
                    let first = self.host.wire().received == 0 && !stream.is_tls();
                    self.host.wire().received += n as u64;
                    // RFC 8446, section 5.1: a record of a handshake. No protocol's command begins so.
                    if first && said.first() == Some(&TLS_HANDSHAKE) {
                        self.host.wire().end(End::Fault(SPEAKS_TLS.to_owned()));
                    }
                }
                true
            }
            Outcome::WouldBlock(need) => {
                leg.may_read = false;
                leg.read_need = need;
                // That a greeting takes its time says nothing of the answers.
                if patient && self.connections.talk.spoke_last().is_some() {
                    leg.hasty = HASTE;
                }
                // A broken connection is not polled: that nothing can be read is its end.
                if leg.broken.is_some() {
                    leg.closed = Some(Closed { at: Instant::now(), error: None });
                    return true;
                }
                false
            }
            Outcome::Eof { clean } => {
                leg.closed = Some(Closed { at: Instant::now(), error: None });
                if !clean {
                    self.host.note(&format!("the {} closed its connection without TLS close_notify", name(side)));
                }
                true
            }
            Outcome::Error(e) => {
                leg.break_off();
                leg.closed = Some(Closed { at: Instant::now(), error: Some(e) });
                true
            }
        }
    }

    /// Gives the protocol what there is. True if it took anything.
    fn deliver(&mut self, side: Side) -> bool {
        let leg = &self.connections.legs[index(side)];
        if leg.held || leg.input.is_empty() || !self.room_for(side) || self.host.wire().end.is_some() {
            return false;
        }
        let leg = &mut self.connections.legs[index(side)];
        let given = leg.input.len();
        let taken = self.protocol.input(side, leg.input.bytes(), self.host).min(given);
        leg.input.consume(taken);
        leg.held = taken < given;
        if taken > 0 {
            self.leg(side.other()).held = false;
        }
        taken > 0
    }

    /// Writes what is queued for a side, as far as it goes. True if any of it left.
    fn write(&mut self, side: Side) -> bool {
        let leg = &mut self.connections.legs[index(side)];
        if !leg.may_write {
            return false;
        }
        let wire = self.host.wire();
        let mut progress = false;
        while leg.may_write && !wire.queue(side).is_empty() {
            let Some(stream) = leg.stream.as_mut() else { break };
            match stream.write(wire.queue(side).bytes()) {
                Outcome::Ready(n) => {
                    wire.queue(side).consume(n);
                    if side == Side::Client {
                        wire.sent += n as u64;
                    }
                    leg.last_write = Instant::now();
                    leg.unacknowledged = false;
                    if let Some(stalled) = &mut leg.stalled {
                        stalled.moved(n, leg.last_write);
                    }
                    if wire.queue(side).is_empty() {
                        leg.stalled = None;
                    }
                    progress = true;
                }
                Outcome::WouldBlock(need) => {
                    leg.may_write = false;
                    leg.write_need = need;
                }
                Outcome::Eof { .. } | Outcome::Error(_) => {
                    // Why is told by the read that follows; what the peer said last may still be there.
                    wire.gone[index(side)] = true;
                    wire.queue(side).clear();
                    leg.break_off();
                    progress = true;
                }
            }
        }
        progress
    }

    /// The handshake that the protocol asked for, once the line that announces it has left.
    fn handshake(&mut self, side: Side) -> bool {
        let wire = self.host.wire();
        if !wire.start_tls[index(side)] || !wire.queue(side).is_empty() || wire.end.is_some() {
            return false;
        }
        let peer = name(side);
        let leg = &mut self.connections.legs[index(side)];
        if !leg.input.is_empty() {
            // RFC 3207, section 4.2, and RFC 2595: what was said in the clear must not be taken for protocol after it.
            self.tell_lost(side);
            self.host.wire().end(End::Fault(format!("the {peer} sent plaintext before the TLS handshake")));
            return true;
        }
        let login_deadline = if self.host.identified() { None } else { Some(self.settings.login_deadline) };
        let limit = Instant::now() + HANDSHAKE;
        let until =
            Until { deadline: login_deadline.map_or(limit, |login| login.min(limit)), stop: self.settings.stop };
        let leg = &mut self.connections.legs[index(side)];
        let result = match (side, leg.stream.take(), self.settings.acceptor, self.settings.connector) {
            (_, Some(stream), _, _) if leg.closed.is_some() || leg.broken.is_some() => {
                leg.stream = Some(stream);
                Err("connection closed".to_owned())
            }
            (Side::Client, Some(stream), Some(acceptor), _) => acceptor.accept(stream, until),
            (Side::Server, Some(stream), _, Some(connector)) => connector.connect(stream, until),
            (_, stream, _, _) => {
                leg.stream = stream;
                Err("no certificate or no authorities are configured for it".to_owned())
            }
        };
        match result {
            Ok(stream) => {
                leg.stream = Some(stream);
                (leg.may_read, leg.may_write) = (true, true);
                (leg.read_need, leg.write_need) = (Need::Readable, Need::Writable);
                self.connections.talk.restart(Instant::now());
                self.host.wire().start_tls[index(side)] = false;
                self.protocol.tls_started(side, self.host);
                self.connections.legs.iter_mut().for_each(|leg| leg.held = false);
            }
            Err(why) => {
                // The connection is in no state to be written to.
                self.host.wire().gone[index(side)] = true;
                self.tell_lost(side);
                self.host.wire().end(End::Fault(format!("TLS handshake with the {peer} failed: {why}")));
            }
        }
        true
    }

    /// A last line for the client, where it is the server that has been lost.
    fn tell_lost(&mut self, side: Side) {
        if side == Side::Server
            && let Some(line) = self.protocol.farewell(Farewell::Lost)
        {
            self.host.wire().send(Side::Client, &line);
        }
    }

    /// Tells the protocol of a side that has closed once it has taken all that came before. True if it was told, or the session is
    /// over by it.
    fn tell_closed(&mut self) -> bool {
        if self.host.wire().end.is_some() {
            return false;
        }
        for side in [Side::Server, Side::Client] {
            let leg = self.leg(side);
            if leg.closed.is_none() || !leg.input.is_empty() || leg.told {
                continue;
            }
            leg.told = true;
            let broken = leg.closed.as_ref().and_then(|closed| closed.error.as_ref()).map(io::Error::to_string);
            let outstanding = self.protocol.outstanding();
            self.protocol.eof(side, self.host);
            self.connections.legs.iter_mut().for_each(|leg| leg.held = false);
            // The protocol knows where it was cut off, but not that it was by force.
            if let (Some(End::Fault(why)), Some(e)) = (&mut self.host.wire().end, &broken) {
                *why = format!("{why}: {e}");
            }
            if side == Side::Server && self.host.wire().end.is_none() {
                if outstanding && let Some(line) = self.protocol.farewell(Farewell::Lost) {
                    self.host.wire().send(Side::Client, &line);
                }
                self.host.wire().end(match broken {
                    Some(e) => End::Fault(format!("the connection to the server broke: {e}")),
                    None if outstanding => {
                        End::Fault("the server closed the connection before it had answered".to_owned())
                    }
                    None => End::Orderly("server closed"),
                });
            }
            return true;
        }
        let client = &self.connections.legs[0];
        if client.told && !self.protocol.outstanding() && self.host.wire().queues.iter().all(Buffer::is_empty) {
            let client = &self.connections.legs[0];
            let end = match client.closed.as_ref().and_then(|closed| closed.error.as_ref()) {
                Some(e) => End::Fault(format!("the connection to the client broke: {e}")),
                None => End::Orderly("client closed"),
            };
            self.host.wire().end(end);
            return true;
        }
        false
    }
}
