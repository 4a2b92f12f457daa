use criterion::{Criterion, Throughput};
use mailstore::config::TlsMode;
use mailstore::protocol::pop3::{Pop3, Settings};

use crate::session::{Dialogue, Session, dotted, measure, message, size};
use crate::{KIB, MIB, PIECE, PIECES};

/// Small messages of a round.
const MESSAGES: usize = 1000;

/// A session that has logged in, and has asked for the unique-ids as most clients do.
fn session() -> Session {
    let settings =
        Settings { listen_tls: TlsMode::None, upstream_tls: TlsMode::None, default_domain: "example.org".to_owned() };
    let uids: String = (1..=MESSAGES).map(|number| format!("{number} 0000{number:04x}5f3e2d1c\r\n")).collect();
    let login = Dialogue::default()
        .server("+OK\r\n")
        .client("USER a@example.org\r\nPASS b\r\nUIDL\r\n")
        .server(format!("+OK\r\n+OK\r\n+OK\r\n{uids}.\r\n"));
    Session::new(Pop3::new(settings)).played(&login)
}

fn asked(verb: &str, number: usize) -> String {
    match verb {
        "RETR" => format!("RETR {number}\r\n"),
        _ => format!("TOP {number} 99999999\r\n"),
    }
}

fn retrieved(octets: usize, wire: &[u8]) -> Vec<u8> {
    [format!("+OK {octets} octets\r\n").as_bytes(), wire, b".\r\n"].concat()
}

/// Each message is asked for when the one before has come.
fn one_by_one(verb: &str, count: usize, message: &[u8]) -> Dialogue {
    let reply = retrieved(message.len(), message);
    (1..=count).fold(Dialogue::default(), |dialogue, number| {
        dialogue.client(asked(verb, number)).server(&reply).keeps(message.len())
    })
}

fn pipelined(count: usize, message: &[u8]) -> Dialogue {
    let commands: String = (1..=count).map(|number| asked("RETR", number)).collect();
    let reply = retrieved(message.len(), message);
    Dialogue::default().client(commands).server(reply.repeat(count)).keeps(count * message.len())
}

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("POP3");
    let small = message(4 * KIB);
    let amount = Throughput::Elements(MESSAGES as u64);
    let whole = one_by_one("RETR", MESSAGES, &small);
    measure(&mut group, "RETR 4 KiB", amount.clone(), session(), (&whole, PIECE));
    let count = MESSAGES - 100;
    let amount_pipelined = Throughput::Elements(count as u64);
    measure(&mut group, "RETR 4 KiB pipelined", amount_pipelined, session(), (&pipelined(count, &small), PIECE));
    let top = one_by_one("TOP", MESSAGES, &small);
    measure(&mut group, "TOP 4 KiB", amount, session(), (&top, PIECE));

    let amount = Throughput::Bytes(MIB as u64);
    let large = message(MIB);
    for piece in PIECES {
        let name = format!("RETR 1 MiB in pieces of {}", size(piece));
        measure(&mut group, &name, amount.clone(), session(), (&one_by_one("RETR", 1, &large), piece));
    }
    measure(&mut group, "TOP 1 MiB", amount, session(), (&one_by_one("TOP", 1, &large), PIECE));
    // Cut by its lines: nothing of it is kept.
    let cut = Dialogue::default().client("TOP 1 300\r\n").server(retrieved(32 * KIB, &message(32 * KIB)));
    let amount = Throughput::Bytes(32 * KIB as u64);
    measure(&mut group, "TOP 32 KiB of 300 lines", amount, session(), (&cut, PIECE));

    let (text, wire) = dotted(MIB);
    let dots = Dialogue::default().client("RETR 1\r\n").server(retrieved(text.len(), &wire)).keeps(text.len());
    let amount = Throughput::Bytes(wire.len() as u64);
    measure(&mut group, "RETR 1 MiB of dots", amount, session(), (&dots, PIECE));

    let noop = (0..1000).fold(Dialogue::default(), |dialogue, _| dialogue.client("NOOP\r\n").server("+OK\r\n"));
    measure(&mut group, "NOOP", Throughput::Elements(1000), session(), (&noop, PIECE));
    let list: String = (1..=20_000).map(|number| format!("{number} 4096\r\n")).collect();
    let amount = Throughput::Bytes(list.len() as u64);
    let list = Dialogue::default().client("LIST\r\n").server(format!("+OK\r\n{list}.\r\n"));
    measure(&mut group, "LIST of 20,000", amount, session(), (&list, PIECE));
    let uids: String = (1..=20_000).map(|number| format!("{number} 0000{number:04x}5f3e2d1c\r\n")).collect();
    let amount = Throughput::Bytes(uids.len() as u64);
    let uids = Dialogue::default().client("UIDL\r\n").server(format!("+OK\r\n{uids}.\r\n"));
    measure(&mut group, "UIDL of 20,000", amount, session(), (&uids, PIECE));
    group.finish();
}
