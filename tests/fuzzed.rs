//! What `scripts/fuzz` looks for at length, in short: sessions made of the unit tests' transcripts, damaged, torn and mixed, through the protocols'
//! public face. Each is played whole and in pieces; what has to hold is checked by the fuzz targets' own host (`tests/fuzz/src/host.rs`).

#[path = "fuzz/src/host.rs"]
#[allow(dead_code, unreachable_pub)]
mod host;
#[path = "fuzz/src/input.rs"]
#[allow(dead_code, unreachable_pub)]
mod input;
#[path = "fuzz/src/kinds.rs"]
#[allow(dead_code, unreachable_pub)]
mod kinds;
#[path = "fuzz/src/peers.rs"]
#[allow(dead_code, unreachable_pub)]
mod peers;
#[path = "fuzz/src/seeds.rs"]
#[allow(dead_code, unreachable_pub)]
mod seeds;
#[path = "fuzz/src/session.rs"]
#[allow(dead_code, unreachable_pub)]
mod session;

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use input::{Event, Input};
use kinds::Kind;
use proptest::prelude::*;
use proptest::sample::Index;

/// The allocator counts in `scripts/fuzz` only.
const NOT_COUNTED: fn() -> isize = || 0;

fn sources() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
}

fn seeds_of(kind: Kind) -> &'static [Vec<u8>] {
    static SEEDS: [OnceLock<Vec<Vec<u8>>>; 3] = [const { OnceLock::new() }; 3];
    SEEDS[kind as usize].get_or_init(|| seeds::seeds(kind, sources()).expect("the transcripts"))
}

/// A fuzz input that can be read where it is printed.
#[derive(Clone)]
struct Data(Vec<u8>);

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Input { settings, events, .. } = Input::parse(&self.0);
        write!(f, "settings {settings}")?;
        events.iter().try_for_each(|event| match event {
            Event::Say(side, bytes) => write!(f, "\n{side:?}: {}", bytes.escape_ascii()),
            event => write!(f, "\n{event:?}"),
        })
    }
}

/// What is done to a session that went well.
#[derive(Clone, Debug)]
enum Damage {
    /// The events from there on are another session's.
    GoOn(Index, Index),
    Drop(Index),
    Twice(Index),
    Swap(Index, Index),
    /// Within what is said: at this place of that event, these bytes instead of some.
    Write(Index, Index, usize, Vec<u8>),
    Insert(Index, Event),
}

fn damage() -> impl Strategy<Value = Damage> {
    let words: Vec<&'static [u8]> = vec![
        b"",
        b"",
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b".",
        b"\r\n.\r\n",
        b" ",
        b"\"",
        b"(",
        b")",
        b"{5}\r\n",
        b"{0+}\r\n",
        b"{99999999999999999999}",
        b"0",
        b"4294967296",
        b"18446744073709551616",
        b"-1",
        b"*",
        b"+OK\r\n",
        b"-ERR\r\n",
        b"250 ok\r\n",
        b"354 go\r\n",
        b"a OK\r\n",
        b"X1 OK\r\n",
        b"* BYE\r\n",
        b"<0.5>",
        b"\xff",
        b"BDAT 5\r\n",
        b"AUTH PLAIN =\r\n",
        b"\\Deleted",
        b"BODY[]",
        b"NIL",
    ];
    let event = prop_oneof![
        Just(Event::Tls),
        Just(Event::Rest),
        Just(Event::Known),
        any::<u8>().prop_map(Event::Refuse),
        any::<u8>().prop_map(Event::Login),
        any::<bool>().prop_map(|client| Event::Close(if client { CLIENT } else { SERVER })),
    ];
    prop_oneof![
        3 => any::<(Index, Index)>().prop_map(|(at, other)| Damage::GoOn(at, other)),
        1 => any::<Index>().prop_map(Damage::Drop),
        1 => any::<Index>().prop_map(Damage::Twice),
        1 => any::<(Index, Index)>().prop_map(|(one, other)| Damage::Swap(one, other)),
        4 => (any::<Index>(), any::<Index>(), 0..4_usize, prop::sample::select(words))
            .prop_map(|(event, at, less, word)| Damage::Write(event, at, less, word.to_vec())),
        1 => (any::<Index>(), event).prop_map(|(at, event)| Damage::Insert(at, event)),
    ]
}

const CLIENT: mailstore::protocol::Side = mailstore::protocol::Side::Client;
const SERVER: mailstore::protocol::Side = mailstore::protocol::Side::Server;

fn damaged(kind: Kind, seed: &Index, damages: Vec<Damage>) -> Vec<u8> {
    let seeds = seeds_of(kind);
    let Input { settings, mut events, .. } = Input::parse(&seeds[seed.index(seeds.len())]);
    for damage in damages {
        if events.is_empty() {
            break;
        }
        let len = events.len();
        match damage {
            Damage::GoOn(at, other) => {
                events.truncate(at.index(len) + 1);
                let other = Input::parse(&seeds[other.index(seeds.len())]).events;
                let from = at.index(other.len().max(1));
                events.extend(other.into_iter().skip(from));
            }
            Damage::Drop(at) => drop(events.remove(at.index(len))),
            Damage::Twice(at) => events.insert(at.index(len), events[at.index(len)].clone()),
            Damage::Swap(one, other) => events.swap(one.index(len), other.index(len)),
            Damage::Write(event, at, less, word) => {
                if let Event::Say(_, bytes) = &mut events[event.index(len)] {
                    let at = at.index(bytes.len() + 1);
                    let end = (at + less).min(bytes.len());
                    bytes.splice(at..end, word);
                }
            }
            Damage::Insert(at, event) => events.insert(at.index(len + 1), event),
        }
    }
    Input::write(settings, &events)
}

fn case(kind: Kind) -> impl Strategy<Value = Data> {
    (any::<Index>(), prop::collection::vec(damage(), 0..8))
        .prop_map(move |(seed, damages)| Data(damaged(kind, &seed, damages)))
}

#[test]
fn every_transcript_holds_whole_and_in_pieces() {
    for kind in [Kind::Pop3, Kind::Imap, Kind::Smtp] {
        let seeds = seeds_of(kind);
        assert!(seeds.len() > 200, "{} transcripts of {kind:?} were found", seeds.len());
        seeds.iter().for_each(|seed| session::play(kind, seed, NOT_COUNTED));
    }
}

/// Files of `tests/fuzz/found`: what the fuzz targets once broke on, `KIND-WHAT`.
#[test]
fn what_was_found_stays_mended() {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/found");
    for file in fs::read_dir(found).into_iter().flatten() {
        let file = file.expect("read").path();
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let kind = match name.split('-').next() {
            Some("pop3") => Kind::Pop3,
            Some("imap") => Kind::Imap,
            Some("smtp") => Kind::Smtp,
            _ => continue,
        };
        session::play(kind, &fs::read(&file).expect("read"), NOT_COUNTED);
    }
}

/// Well formed or not, said where a login is expected, within an exchange or anywhere: the host looks into each text for the log.
#[test]
fn no_way_to_log_in_shows_the_password() {
    let say = |side, text: &str| Event::Say(side, text.as_bytes().to_vec());
    for (kind, greeting, challenge, replies) in [
        (Kind::Pop3, "+OK hi\r\n", "+ VXNlcm5hbWU6\r\n", ["+OK\r\n", "-ERR no\r\n"]),
        (Kind::Imap, "* OK hi\r\n", "+ VXNlcm5hbWU6\r\n", ["p OK\r\n", "p NO\r\n"]),
        (Kind::Smtp, "220 hi\r\n", "334 VXNlcm5hbWU6\r\n", ["235 yes\r\n", "535 no\r\n"]),
    ] {
        for mechanism in ["", "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "XOAUTH2", "OAUTHBEARER"] {
            let auth = if kind == Kind::Imap { "p AUTHENTICATE" } else { "AUTH" };
            for (one, other) in (0..10).flat_map(|one| (0..10).map(move |other| (one, other))) {
                for reply in replies {
                    let mut events = vec![say(SERVER, greeting)];
                    if !mechanism.is_empty() {
                        events.extend([say(CLIENT, &format!("{auth} {mechanism}\r\n")), say(SERVER, challenge)]);
                    }
                    events.extend([Event::Login(one), say(SERVER, challenge), Event::Login(other), say(SERVER, reply)]);
                    for settings in [0, 2] {
                        session::play(kind, &Input::write(settings, &events), NOT_COUNTED);
                    }
                }
            }
        }
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1000);
    // What is found is put into tests/fuzz/found instead, as a file that the fuzz targets read, too.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn damaged_pop3_sessions_break_no_promise(data in case(Kind::Pop3)) {
        session::play(Kind::Pop3, &data.0, NOT_COUNTED);
    }

    #[test]
    fn damaged_imap_sessions_break_no_promise(data in case(Kind::Imap)) {
        session::play(Kind::Imap, &data.0, NOT_COUNTED);
    }

    #[test]
    fn damaged_smtp_sessions_break_no_promise(data in case(Kind::Smtp)) {
        session::play(Kind::Smtp, &data.0, NOT_COUNTED);
    }
}
