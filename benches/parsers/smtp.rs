use criterion::{Criterion, Throughput};
use mailstore::archive::Folder;
use mailstore::config::{Keep, TlsMode};
use mailstore::protocol::smtp::{Settings, Smtp};

use crate::session::{Dialogue, Session, dotted, measure, message, size};
use crate::{KIB, MIB, PIECE, PIECES};

/// Small messages of a round.
const MESSAGES: usize = 1000;

/// A session that has logged in.
fn session() -> Session {
    let settings = Settings {
        listen_tls: TlsMode::None,
        upstream_tls: TlsMode::None,
        default_domain: "example.org".to_owned(),
        keep: Keep::Sender,
        local_domains: Vec::new(),
        sent_folder: Folder::parse("Sent"),
        ehlo_name: "[127.0.0.1]".to_owned(),
        max_message_size: u64::MAX,
    };
    let login = Dialogue::default()
        .server("220 hi\r\n")
        .client("EHLO x\r\n")
        .server("250-hi\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH PLAIN\r\n")
        .client("AUTH PLAIN AGFAZXhhbXBsZS5vcmcAYg==\r\n")
        .server("235 2.7.0 ok\r\n");
    Session::new(Smtp::new(settings)).played(&login)
}

const MAIL: &str = "MAIL FROM:<a@example.org> SIZE=4096\r\n";
const RCPT: &str = "RCPT TO:<somebody.else@example.net>\r\n";

/// The client waits for each reply.
fn one_by_one(count: usize, octets: usize, wire: &[u8]) -> Dialogue {
    let text = [wire, b".\r\n"].concat();
    (0..count).fold(Dialogue::default(), |dialogue, _| {
        dialogue
            .client(MAIL)
            .server("250 2.1.0 Ok\r\n")
            .client(RCPT)
            .server("250 2.1.5 Ok\r\n")
            .client("DATA\r\n")
            .server("354 End data with <CR><LF>.<CR><LF>\r\n")
            .client(&text)
            .server("250 2.0.0 Ok: queued as 4cD1fQ2xyz\r\n")
            .keeps(octets)
    })
}

fn pipelined(count: usize, message: &[u8]) -> Dialogue {
    let text = [message, b".\r\n"].concat();
    (0..count).fold(Dialogue::default(), |dialogue, _| {
        dialogue
            .client([MAIL, RCPT, "DATA\r\n"].concat())
            .server("250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n")
            .client(&text)
            .server("250 2.0.0 Ok: queued as 4cD1fQ2xyz\r\n")
            .keeps(message.len())
    })
}

fn in_chunks(count: usize, message: &[u8]) -> Dialogue {
    let chunk = [format!("BDAT {} LAST\r\n", message.len()).as_bytes(), message].concat();
    (0..count).fold(Dialogue::default(), |dialogue, _| {
        dialogue
            .client([MAIL, RCPT].concat())
            .server("250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n")
            .client(&chunk)
            .server("250 2.0.0 Ok: queued as 4cD1fQ2xyz\r\n")
            .keeps(message.len())
    })
}

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("SMTP");
    let small = message(4 * KIB);
    let amount = Throughput::Elements(MESSAGES as u64);
    for (name, dialogue) in [
        ("DATA 4 KiB", one_by_one(MESSAGES, small.len(), &small)),
        ("DATA 4 KiB pipelined", pipelined(MESSAGES, &small)),
        ("BDAT 4 KiB", in_chunks(MESSAGES, &small)),
    ] {
        measure(&mut group, name, amount.clone(), session(), (&dialogue, PIECE));
    }

    let amount = Throughput::Bytes(MIB as u64);
    let large = message(MIB);
    for piece in PIECES {
        let name = format!("DATA 1 MiB in pieces of {}", size(piece));
        measure(&mut group, &name, amount.clone(), session(), (&one_by_one(1, MIB, &large), piece));
    }
    measure(&mut group, "BDAT 1 MiB", amount, session(), (&in_chunks(1, &large), PIECE));
    let (text, wire) = dotted(MIB);
    let amount = Throughput::Bytes(wire.len() as u64);
    measure(&mut group, "DATA 1 MiB of dots", amount, session(), (&one_by_one(1, text.len(), &wire), PIECE));

    let noop =
        (0..1000).fold(Dialogue::default(), |dialogue, _| dialogue.client("NOOP\r\n").server("250 2.0.0 Ok\r\n"));
    measure(&mut group, "NOOP", Throughput::Elements(1000), session(), (&noop, PIECE));
    group.finish();
}
