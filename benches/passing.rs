//! How fast messages pass through the protocols, without sockets and disk: octets a second, and as a ratio to copying and hashing them,
//! measured in the same run. `cargo bench`.
//!
//! A benchmark, not a test: it asserts nothing about time.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mailstore::archive::{Destination, Folder, Owner};
use mailstore::config::{Follow, Keep, TlsMode};
use mailstore::protocol::{DraftId, End, Host, Origin, Protocol, Refused, Side, imap, pop3, smtp};
use sha2::{Digest, Sha256};

/// Octets of one message.
const SIZE: usize = 8 << 20;
/// As the relay reads.
const PIECE: usize = 32 * 1024;
const ROUNDS: u32 = 8;

fn main() {
    let message = message();
    let base = measure(|| {
        let (mut copy, mut hash) = (Vec::with_capacity(message.len()), Sha256::new());
        for piece in message.chunks(PIECE) {
            copy.extend_from_slice(piece);
            hash.update(piece);
        }
        black_box((copy, hash.finalize()));
    });
    report("copy and hash", base, base);
    report("POP3 RETR", measure(|| pop3_retr(&message)), base);
    report("IMAP FETCH", measure(|| imap_fetch(&message)), base);
    report("IMAP APPEND", measure(|| imap_append(&message)), base);
    report("SMTP DATA", measure(|| smtp_data(&message)), base);
}

/// The best of some rounds: the machine's own noise only adds.
fn measure(mut round: impl FnMut()) -> Duration {
    let times = (0..ROUNDS).map(|_| {
        let begun = Instant::now();
        round();
        begun.elapsed()
    });
    times.min().unwrap_or_default()
}

fn report(what: &str, time: Duration, base: Duration) {
    let mebibytes_s = SIZE as f64 / f64::from(1 << 20) / time.as_secs_f64();
    println!("{what:<14} {mebibytes_s:>8.0} MiB/s   {:>5.2} of copy and hash", time.as_secs_f64() / base.as_secs_f64());
}

fn message() -> Vec<u8> {
    let line = b"Some text that fills a line of seventy-six characters, and again, and again.\r\n";
    let head = b"From: a@example.org\r\nSubject: benchmark\r\n\r\n";
    head.iter().chain(line.iter().cycle()).copied().take(SIZE - 2).chain(*b"\r\n").collect()
}

fn feed(protocol: &mut dyn Protocol, host: &mut Null, from: Side, bytes: &[u8]) {
    for piece in bytes.chunks(PIECE) {
        assert_eq!(protocol.input(from, piece, host), piece.len());
    }
}

fn pop3_retr(message: &[u8]) {
    let settings = pop3::Settings {
        listen_tls: TlsMode::None,
        upstream_tls: TlsMode::None,
        default_domain: "example.org".to_string(),
    };
    let (mut protocol, mut host) = (pop3::Pop3::new(settings), Null::default());
    feed(&mut protocol, &mut host, Side::Server, b"+OK\r\n");
    feed(&mut protocol, &mut host, Side::Client, b"USER a\r\nPASS b\r\nRETR 1\r\n");
    feed(&mut protocol, &mut host, Side::Server, b"+OK\r\n+OK\r\n+OK\r\n");
    feed(&mut protocol, &mut host, Side::Server, message);
    feed(&mut protocol, &mut host, Side::Server, b".\r\n");
    host.kept(message.len());
}

fn imap_session() -> (imap::Imap, Null) {
    let shared = mailstore::config::Shared {
        spool: "mailSpool".into(),
        maildir: "%d/%n".to_string(),
        default_domain: "example.org".to_string(),
        sent_folder: "Sent".to_string(),
        skip_folders: Vec::new(),
        skip_special_use: false,
        imap_folders: mailstore::config::ImapFolders::Mirror,
        on_archive_failure: mailstore::config::OnArchiveFailure::Refuse,
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
    let settings = imap::Settings {
        listen_tls: TlsMode::None,
        upstream_tls: TlsMode::None,
        default_domain: "example.org".to_string(),
        folders: Arc::new(imap::FolderRules::new(&shared)),
        follow: Follow::No,
        trouble: Arc::default(),
        own_tag: "X".to_string(),
    };
    let (mut protocol, mut host) = (imap::Imap::new(settings), Null::default());
    feed(&mut protocol, &mut host, Side::Server, b"* OK\r\n");
    feed(&mut protocol, &mut host, Side::Client, b"a LOGIN a b\r\nb SELECT INBOX\r\n");
    feed(&mut protocol, &mut host, Side::Server, b"a OK\r\nb OK\r\n");
    (protocol, host)
}

fn imap_fetch(message: &[u8]) {
    let (mut protocol, mut host) = imap_session();
    feed(&mut protocol, &mut host, Side::Client, b"c FETCH 1 BODY[]\r\n");
    feed(&mut protocol, &mut host, Side::Server, format!("* 1 FETCH (BODY[] {{{}}}\r\n", message.len()).as_bytes());
    feed(&mut protocol, &mut host, Side::Server, message);
    feed(&mut protocol, &mut host, Side::Server, b")\r\nc OK\r\n");
    host.kept(message.len());
}

fn imap_append(message: &[u8]) {
    let (mut protocol, mut host) = imap_session();
    feed(&mut protocol, &mut host, Side::Client, format!("c APPEND Sent {{{}+}}\r\n", message.len()).as_bytes());
    feed(&mut protocol, &mut host, Side::Client, message);
    feed(&mut protocol, &mut host, Side::Client, b"\r\n");
    feed(&mut protocol, &mut host, Side::Server, b"c OK\r\n");
    host.kept(message.len());
}

fn smtp_data(message: &[u8]) {
    let settings = smtp::Settings {
        listen_tls: TlsMode::None,
        upstream_tls: TlsMode::None,
        default_domain: "example.org".to_string(),
        keep: Keep::Sender,
        local_domains: Vec::new(),
        sent_folder: Folder::parse("Sent"),
        ehlo_name: "[127.0.0.1]".to_string(),
        max_message_size: u64::MAX,
    };
    let (mut protocol, mut host) = (smtp::Smtp::new(settings), Null::default());
    for (client, server) in [
        (&b""[..], &b"220 hi\r\n"[..]),
        (b"EHLO x\r\n", b"250 hi\r\n"),
        (b"MAIL FROM:<a@example.org>\r\n", b"250 ok\r\n"),
        (b"RCPT TO:<b@example.org>\r\n", b"250 ok\r\n"),
        (b"DATA\r\n", b"354 go\r\n"),
    ] {
        feed(&mut protocol, &mut host, Side::Client, client);
        feed(&mut protocol, &mut host, Side::Server, server);
    }
    feed(&mut protocol, &mut host, Side::Client, message);
    feed(&mut protocol, &mut host, Side::Client, b".\r\n");
    feed(&mut protocol, &mut host, Side::Server, b"250 ok\r\n");
    host.kept(message.len());
}

/// A host that copies what is sent, as queues do, and hashes what is kept, as the archive does.
#[derive(Default)]
struct Null {
    queue: Vec<u8>,
    hash: Sha256,
    octets: usize,
    kept: bool,
}

impl Null {
    /// Nothing is measured that did not happen.
    fn kept(&self, octets: usize) {
        assert!(self.kept && self.octets == octets, "{} of {octets} octets", self.octets);
    }
}

impl Host for Null {
    fn send(&mut self, _: Side, bytes: &[u8]) {
        self.queue.clear();
        self.queue.extend_from_slice(bytes);
        black_box(&self.queue);
    }

    fn start_tls(&mut self, _: Side) {}

    fn end(&mut self, end: End) {
        panic!("{end:?}");
    }

    fn logged_in(&mut self, _: &Owner) {}

    fn logged_out(&mut self) {}

    fn begin(&mut self, _: &[Destination], _: Option<u64>) -> Result<DraftId, Refused> {
        Ok(DraftId(1))
    }

    fn append(&mut self, _: DraftId, bytes: &[u8]) -> Result<(), Refused> {
        self.octets += bytes.len();
        self.hash.update(bytes);
        Ok(())
    }

    fn append_draft(&mut self, _: DraftId, _: DraftId) -> Result<(), Refused> {
        Ok(())
    }

    fn date(&mut self, _: DraftId, _: i64) {}

    fn prepare(&mut self, _: DraftId) -> Result<(), Refused> {
        Ok(())
    }

    fn commit(&mut self, _: DraftId) {
        self.kept = true;
    }

    fn finish(&mut self, _: DraftId) {}

    fn settle(&mut self) -> Result<(), Refused> {
        self.kept = true;
        Ok(())
    }

    fn abort(&mut self, _: DraftId) {}

    fn login_failed(&mut self, _: &str) {}
    fn not_kept(&mut self, _: &str) {}

    fn origin(&mut self, _: DraftId, _: Origin) {}
    fn has(&mut self, _: &Owner, _: &Origin) -> bool {
        false
    }
    fn fetched(&mut self, _: u64) {}
    fn refuses(&self) -> bool {
        true
    }
    fn note(&mut self, _: &str) {}
}
