//! What a session's fuzz input says: a byte of settings, then events. Bytes that are no event's are what the side that has the word says.
//!
//! ```text
//! \xffC  \xffS      the client, the server speaks, in a chunk of its own
//! \xffc  \xffs      that side closes
//! \xffT             the handshake that was asked for succeeded
//! \xffR             nobody spoke for as long as the protocol wants to be told of
//! \xffFn            the archive refuses the next call of a kind
//! \xffK             the archive has every message already; or, said again, none
//! \xffXn            the next chunk comes 2^n times
//! \xffPn            the client logs in with the planted password, in one of several ways
//! ```

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

use mailstore::protocol::Side;

pub const MARK: u8 = 0xff;

/// Octets that all events say together, repetitions included.
const SAID_MAX: usize = 32 * 1024;
/// The same where an input is about memory.
const SAID_LONG_MAX: usize = 12 * 1024 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Say(Side, Vec<u8>),
    Login(u8),
    Close(Side),
    Tls,
    Rest,
    Refuse(u8),
    Known,
}

#[derive(Clone, Debug)]
pub struct Input {
    /// A number of this input's own.
    pub seed: u64,
    pub settings: u8,
    /// So much is said that memory is what is looked at, and nothing else.
    pub long: bool,
    pub events: Vec<Event>,
}

impl Input {
    pub fn parse(data: &[u8]) -> Input {
        let (&settings, mut rest) = data.split_first().unwrap_or((&0, &[]));
        let long = settings & 0xe0 == 0xe0;
        let mut reader = Reader { left: if long { SAID_LONG_MAX } else { SAID_MAX }, ..Reader::default() };
        while let Some((&byte, behind)) = rest.split_first() {
            rest = behind;
            let (MARK, Some((&verb, behind))) = (byte, rest.split_first()) else {
                reader.chunk.push(byte);
                continue;
            };
            rest = behind;
            let mut number = || {
                let (&number, behind) = rest.split_first().unwrap_or((&0, &[]));
                rest = behind;
                number
            };
            match verb {
                b'C' => reader.turn(Side::Client),
                b'S' => reader.turn(Side::Server),
                b'c' => reader.event(Event::Close(Side::Client)),
                b's' => reader.event(Event::Close(Side::Server)),
                b'T' => reader.event(Event::Tls),
                b'R' => reader.event(Event::Rest),
                b'K' => reader.event(Event::Known),
                b'F' => reader.event(Event::Refuse(number())),
                b'P' => reader.event(Event::Login(number())),
                b'X' => {
                    reader.flush();
                    reader.times = 1 << (number() % 20);
                }
                _ => reader.chunk.extend([MARK, verb]),
            }
        }
        reader.flush();
        let mut hasher = DefaultHasher::new();
        hasher.write(data);
        Input { seed: hasher.finish(), settings, long, events: reader.events }
    }

    /// The bytes from which [`Input::parse`] makes these events.
    pub fn write(settings: u8, events: &[Event]) -> Vec<u8> {
        let mut data = vec![settings];
        for event in events {
            let (verb, rest): (u8, &[u8]) = match event {
                Event::Say(Side::Client, bytes) => (b'C', bytes),
                Event::Say(Side::Server, bytes) => (b'S', bytes),
                Event::Close(Side::Client) => (b'c', &[]),
                Event::Close(Side::Server) => (b's', &[]),
                Event::Tls => (b'T', &[]),
                Event::Rest => (b'R', &[]),
                Event::Known => (b'K', &[]),
                Event::Refuse(call) => (b'F', &[*call]),
                Event::Login(way) => (b'P', &[*way]),
            };
            data.extend([MARK, verb]);
            data.extend(rest);
        }
        data
    }
}

struct Reader {
    events: Vec<Event>,
    side: Side,
    chunk: Vec<u8>,
    times: usize,
    left: usize,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader { events: Vec::new(), side: Side::Server, chunk: Vec::new(), times: 1, left: 0 }
    }
}

impl Reader {
    fn turn(&mut self, side: Side) {
        self.flush();
        self.side = side;
    }

    fn event(&mut self, event: Event) {
        self.flush();
        self.events.push(event);
    }

    fn flush(&mut self) {
        if self.chunk.is_empty() {
            return;
        }
        let chunk = std::mem::take(&mut self.chunk);
        let times = std::mem::replace(&mut self.times, 1).min(self.left / chunk.len());
        if times > 0 {
            self.left -= times * chunk.len();
            self.events.push(Event::Say(self.side, chunk.repeat(times)));
        }
    }
}
