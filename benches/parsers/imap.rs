use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};
use mailstore::config::{Follow, ImapFolders, OnArchiveFailure, Shared, TlsMode};
use mailstore::protocol::imap::{FolderRules, Imap, Settings};

use crate::session::{Dialogue, Session, measure, message, size};
use crate::{KIB, MIB, PIECE, PIECES};

/// Small messages of a round.
const MESSAGES: usize = 10_000;

/// A session that has logged in and selected a folder of its own.
fn session() -> Session {
    let shared = Shared {
        spool: "mailSpool".into(),
        maildir: "%d/%n".to_owned(),
        default_domain: "example.org".to_owned(),
        sent_folder: "Sent".to_owned(),
        skip_folders: Vec::new(),
        skip_special_use: false,
        imap_folders: ImapFolders::Mirror,
        on_archive_failure: OnArchiveFailure::Refuse,
        sync: true,
        learn_logins: None,
        max_sessions: 1,
        max_sessions_per_client: 1,
        max_message_size: u64::MAX,
        login_timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(60),
        shutdown_grace: Duration::ZERO,
        user: None,
        group: None,
        log: log::LevelFilter::Off,
    };
    let settings = Settings {
        listen_tls: TlsMode::None,
        upstream_tls: TlsMode::None,
        default_domain: "example.org".to_owned(),
        folders: Arc::new(FolderRules::new(&shared)),
        follow: Follow::No,
        trouble: Arc::default(),
        own_tag: "X".to_owned(),
    };
    let login = Dialogue::default()
        .server("* OK hi\r\n")
        .client("a LOGIN a@example.org b\r\nb SELECT Work.Reports\r\n")
        .server("a OK done\r\n* 500000 EXISTS\r\n* OK [UIDVALIDITY 1500000000] UIDs valid\r\nb OK done\r\n");
    Session::new(Imap::new(settings)).played(&login)
}

/// A FETCH response as Dovecot says it.
fn response(number: usize, item: &str, octets: &[u8]) -> Vec<u8> {
    let uid = number + 1000;
    let before = format!(
        "* {number} FETCH (UID {uid} FLAGS (\\Seen) INTERNALDATE \"17-Jul-2024 02:44:25 +0200\" {item} {{{}}}\r\n",
        octets.len()
    );
    [before.as_bytes(), octets, b")\r\n"].concat()
}

/// One FETCH of so many messages.
fn fetch(count: usize, message: &[u8]) -> Dialogue {
    let responses = (1..=count).map(|number| response(number, "BODY[]", message));
    let mut all: Vec<u8> = Vec::with_capacity(count * (message.len() + 128));
    responses.for_each(|one| all.extend_from_slice(&one));
    Dialogue::default()
        .client("c UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])\r\n")
        .server(all)
        .server("c OK done\r\n")
        .keeps(count * message.len())
}

/// A FETCH for each message, all of them said before the first is answered.
fn pipelined(count: usize, message: &[u8]) -> Dialogue {
    let commands: String = (1..=count)
        .map(|number| format!("t{number} UID FETCH {} (UID FLAGS BODY.PEEK[])\r\n", number + 1000))
        .collect();
    let replies: Vec<u8> = (1..=count)
        .flat_map(|number| [response(number, "BODY[]", message), format!("t{number} OK\r\n").into_bytes()].concat())
        .collect();
    Dialogue::default().client(commands).server(replies).keeps(count * message.len())
}

/// A message in chunks, as Outlook and Apple Mail ask for it.
fn in_chunks(message: &[u8], chunk: usize) -> Dialogue {
    let dialogue = message.chunks(chunk).enumerate().fold(Dialogue::default(), |dialogue, (n, octets)| {
        let from = n * chunk;
        dialogue
            .client(format!("c UID FETCH 1001 (UID BODY.PEEK[]<{from}.{chunk}>)\r\n"))
            .server(response(1, &format!("BODY[]<{from}>"), octets))
            .server("c OK done\r\n")
    });
    // The last one was full: that there is no more is told by one that is empty.
    let from = message.len();
    dialogue
        .client(format!("c UID FETCH 1001 (UID BODY.PEEK[]<{from}.{chunk}>)\r\n"))
        .server(response(1, &format!("BODY[]<{from}>"), b""))
        .server("c OK done\r\n")
        .keeps(message.len())
}

fn append(count: usize, message: &[u8]) -> Dialogue {
    (0..count).fold(Dialogue::default(), |dialogue, _| {
        dialogue
            .client(format!("c APPEND Sent (\\Seen) {{{}}}\r\n", message.len()))
            .server("+ go on\r\n")
            .client([message, b"\r\n"].concat())
            .server("c OK done\r\n")
            .keeps(message.len())
    })
}

/// A FETCH for each message, from the last one downwards.
fn newest_first(count: usize, message: &[u8]) -> Dialogue {
    (1..=count).rev().fold(Dialogue::default(), |dialogue, number| {
        dialogue
            .client(format!("c UID FETCH {} (UID FLAGS BODY.PEEK[])\r\n", number + 1000))
            .server([&response(number, "BODY[]", message)[..], b"c OK\r\n"].concat())
            .keeps(message.len())
    })
}

/// One FETCH of so many texts, and what we ask for because of it, eight messages at once.
fn in_part(count: usize, message: &[u8]) -> Dialogue {
    let texts: Vec<u8> = (1..=count).flat_map(|number| response(number, "BODY[TEXT]", b"text\r\n")).collect();
    let asked = Dialogue::default()
        .client("c UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[TEXT])\r\n")
        .server([&texts[..], b"c OK\r\n"].concat())
        // Begun, and given up.
        .keeps(count * b"text\r\n".len());
    let numbers: Vec<usize> = (1..=count).collect();
    numbers.chunks(8).enumerate().fold(asked, |dialogue, (command, numbers)| {
        let whole = numbers.iter().flat_map(|number| response(*number, "BODY[]<0>", message));
        dialogue
            .server(whole.chain(format!("X{} OK\r\n", command + 1).into_bytes()).collect::<Vec<u8>>())
            .keeps(numbers.len() * message.len())
    })
}

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("IMAP");
    let small = message(4 * KIB);
    let amount = |count: usize| Throughput::Elements(count as u64);
    once(&mut group, "FETCH 10,000 of 4 KiB", MESSAGES, || fetch(MESSAGES, &small));
    measure(&mut group, "FETCH 4 KiB pipelined", amount(900), session(), (&pipelined(900, &small), PIECE));
    measure(&mut group, "APPEND 4 KiB", amount(1000), session(), (&append(1000, &small), PIECE));
    let flags: String =
        (1..=10_000).map(|number| format!("* {number} FETCH (UID {} FLAGS (\\Seen))\r\n", number + 1000)).collect();
    let flags = Dialogue::default().client("c FETCH 1:* (UID FLAGS)\r\n").server(flags + "c OK done\r\n");
    measure(&mut group, "FETCH flags of 10,000", amount(10_000), session(), (&flags, PIECE));

    let mib = Throughput::Bytes(MIB as u64);
    let large = message(MIB);
    for piece in PIECES {
        let name = format!("FETCH 1 MiB in pieces of {}", size(piece));
        measure(&mut group, &name, mib.clone(), session(), (&fetch(1, &large), piece));
    }
    measure(&mut group, "APPEND 1 MiB", mib.clone(), session(), (&append(1, &large), PIECE));
    // A download that was kept once is passed by in the same session.
    let chunks = in_chunks(&large, 64 * KIB);
    group.throughput(mib);
    group.bench_function("FETCH 1 MiB in chunks", |bencher| {
        bencher.iter_batched_ref(session, |session| session.play(&chunks, PIECE), BatchSize::SmallInput);
    });

    let noop = (0..1000).fold(Dialogue::default(), |dialogue, _| dialogue.client("c NOOP\r\n").server("c OK done\r\n"));
    measure(&mut group, "NOOP", amount(1000), session(), (&noop, PIECE));
    let found: String = (0..300_000).map(|n| format!(" {}", n * 3 + 1)).collect();
    let octets = Throughput::Bytes(found.len() as u64);
    let found = Dialogue::default().client("c UID SEARCH ALL\r\n").server(format!("* SEARCH{found}\r\nc OK done\r\n"));
    measure(&mut group, "SEARCH of 300,000", octets, session(), (&found, PIECE));
    group.finish();

    growth(criterion);
}

/// What one message costs must not depend on how many there are.
fn growth(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("IMAP growth");
    group.sample_size(10);
    let tiny = message(100);
    for count in [1_000, 30_000, 500_000] {
        once(&mut group, &format!("FETCH of {count}"), count, || fetch(count, &tiny));
    }
    for count in [1_000, 30_000] {
        once(&mut group, &format!("FETCH of {count}, newest first"), count, || newest_first(count, &tiny));
    }
    for count in [100, 900] {
        once(&mut group, &format!("FETCH of {count}, pipelined"), count, || pipelined(count, &tiny));
    }
    for count in [1_000, 4_000, 16_000] {
        once(&mut group, &format!("FETCH of {count} in part"), count, || in_part(count, &tiny));
    }
    for count in [1_000, 30_000] {
        once(&mut group, &format!("EXPUNGE of {count}"), count, || {
            let expunged = "* 1 EXPUNGE\r\n".repeat(count);
            fetch(count, &tiny).client("c NOOP\r\n").server(format!("{expunged}c OK\r\n"))
        });
    }
    group.finish();
}

/// Measures what happens once in a session. The dialogue is large: it is only made where it is chosen.
fn once(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, count: usize, make: impl Fn() -> Dialogue) {
    let mut made = None;
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function(name, |bencher| {
        let dialogue = made.get_or_insert_with(&make);
        bencher.iter_batched_ref(session, |session| session.play(dialogue, PIECE), BatchSize::PerIteration);
    });
}
