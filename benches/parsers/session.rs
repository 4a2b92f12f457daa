//! A session that plays the same dialogue over and over.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Throughput};
use mailstore::protocol::{Protocol, Side};

use crate::host::Null;

/// What both sides say, by turns, and what is to come of it.
#[derive(Default)]
pub(crate) struct Dialogue {
    turns: Vec<(Side, Vec<u8>)>,
    /// Octets that are kept.
    octets: u64,
}

impl Dialogue {
    pub(crate) fn client(mut self, said: impl AsRef<[u8]>) -> Dialogue {
        self.turns.push((Side::Client, said.as_ref().to_vec()));
        self
    }

    pub(crate) fn server(mut self, said: impl AsRef<[u8]>) -> Dialogue {
        self.turns.push((Side::Server, said.as_ref().to_vec()));
        self
    }

    /// So many octets of messages are kept in it.
    pub(crate) fn keeps(mut self, octets: usize) -> Dialogue {
        self.octets += octets as u64;
        self
    }
}

pub(crate) struct Session {
    protocol: Box<dyn Protocol>,
    host: Null,
}

impl Session {
    pub(crate) fn new(protocol: impl Protocol + 'static) -> Session {
        Session { protocol: Box::new(protocol), host: Null::default() }
    }

    /// Plays it in pieces of so many octets. Nothing is measured that did not happen.
    pub(crate) fn play(&mut self, dialogue: &Dialogue, piece: usize) {
        self.host.appended = 0;
        measured(&mut *self.protocol, &mut self.host, dialogue, piece);
        assert_eq!(self.host.appended, dialogue.octets, "octets kept");
        assert_eq!(self.host.drafts_left(), 0, "drafts left");
    }

    /// What comes before all that is measured.
    pub(crate) fn played(mut self, dialogue: &Dialogue) -> Session {
        feed(&mut *self.protocol, &mut self.host, dialogue, crate::PIECE);
        self
    }
}

/// All that is measured. A function of its own, so that callgrind can count what happens in it and nothing else.
#[inline(never)]
fn measured(protocol: &mut dyn Protocol, host: &mut Null, dialogue: &Dialogue, piece: usize) {
    feed(protocol, host, dialogue, piece);
}

fn feed(protocol: &mut dyn Protocol, host: &mut Null, dialogue: &Dialogue, piece: usize) {
    for (side, said) in &dialogue.turns {
        for piece in said.chunks(piece) {
            assert_eq!(protocol.input(*side, piece, host), piece.len(), "{side:?} is held back");
        }
    }
}

/// Measures a dialogue that can be played any number of times.
pub(crate) fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    amount: Throughput,
    session: Session,
    (dialogue, piece): (&Dialogue, usize),
) {
    let mut session = session;
    group.throughput(amount);
    group.bench_function(name, |bencher| bencher.iter(|| session.play(dialogue, piece)));
}

/// A message of so many octets, in lines of 78.
pub(crate) fn message(len: usize) -> Vec<u8> {
    let line = b"Some text that fills a line of seventy-six characters, and again, and again.\r\n";
    let head = b"From: a@example.org\r\nSubject: benchmark\r\n\r\n";
    head.iter().chain(line.iter().cycle()).copied().take(len - 2).chain(*b"\r\n").collect()
}

/// The same in lines that all begin with a dot, as it is and as it crosses the wire.
pub(crate) fn dotted(len: usize) -> (Vec<u8>, Vec<u8>) {
    let line = b".text of a list that is written with dots.\r\n";
    let message = line.repeat(len / line.len());
    let wire = message.split_inclusive(|&b| b == b'\n').flat_map(|line| [b".", line].concat()).collect();
    (message, wire)
}

/// `4 KiB`, `1 MiB`.
pub(crate) fn size(octets: usize) -> String {
    if octets < crate::MIB { format!("{} KiB", octets / crate::KIB) } else { format!("{} MiB", octets / crate::MIB) }
}
