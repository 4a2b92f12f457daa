//! Whole sessions through the real proxies, and the same sessions directly at the mail host behind them, by turns in the same run: sessions
//! and messages a second, and the ratio. `cargo bench --bench sessions`.
//!
//! `sync = no` shows what the relay and the parsers cost; with `sync = yes` the disk's flushes are in it too, as in real life.
//! A benchmark, not a test: it asserts nothing about time.

#[path = "../examples/mailhost/mod.rs"]
mod mailhost;

use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use std::{fs, io, thread};

use base64::prelude::{BASE64_STANDARD, Engine};
use mailhost::{Certificate, Host, INBOX, Kind, Mail, Wire, literal};

const PASSWORD: &str = "a-password";
/// Clients at the same time, each with a mailbox of its own.
const CLIENTS: usize = 4;
/// Of each client.
const SESSIONS: usize = 16;
/// In each session.
const MESSAGES: usize = 10;
/// Octets of a message.
const SIZE: usize = 10_000;
const ROUNDS: usize = 3;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    println!(
        "{CLIENTS} clients, each {SESSIONS} sessions of {MESSAGES} messages of {SIZE} octets; the best of {ROUNDS} rounds"
    );
    for sync in ["no", "yes"] {
        let mail = Mail::default();
        (0..CLIENTS).for_each(|client| mail.add_user(&user(client), PASSWORD, &["Sent"]));
        let host = Host::start(mail, &Certificate::throw_away()?, [[0; 2]; 3])?;
        let proxies = Proxies::start(&host, sync)?;
        for (name, kind, direct) in [
            ("SMTP DATA", Kind::Smtp, host.smtp.plain),
            ("POP3 RETR", Kind::Pop3, host.pop3.plain),
            ("IMAP FETCH", Kind::Imap, host.imap.plain),
        ] {
            let through = proxies.address(kind)?;
            let (mut base, mut passing) = (f64::INFINITY, f64::INFINITY);
            for _ in 0..ROUNDS {
                base = base.min(round(&host, kind, direct)?);
                passing = passing.min(round(&host, kind, through)?);
            }
            let sessions = (CLIENTS * SESSIONS) as f64;
            println!(
                "sync = {sync:<3}  {name:<10}  {:>6.0} sessions/s {:>7.0} messages/s   directly {:>6.0} and {:>7.0}   ratio {:.2}",
                sessions / passing,
                sessions / passing * MESSAGES as f64,
                sessions / base,
                sessions / base * MESSAGES as f64,
                base / passing,
            );
        }
    }
    Ok(())
}

fn user(client: usize) -> String {
    format!("user{client}@example.org")
}

/// All clients' sessions; seconds. Every message is a new one: none is kept already.
fn round(host: &Host, kind: Kind, at: SocketAddr) -> Outcome<f64> {
    for client in 0..CLIENTS {
        host.mail.clear(&user(client), INBOX);
        if kind != Kind::Smtp {
            for _ in 0..SESSIONS * MESSAGES {
                host.mail.deliver(&user(client), INBOX, &message()).ok_or("no inbox")?;
            }
        }
    }
    let begun = Instant::now();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || sessions(kind, at, client))).collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| "a client panicked")?)
    })?;
    Ok(begun.elapsed().as_secs_f64())
}

/// One client's sessions; each fetches other messages.
fn sessions(kind: Kind, at: SocketAddr, client: usize) -> Outcome<()> {
    for session in 0..SESSIONS {
        let mut wire = Wire::connect(at)?;
        let first = session * MESSAGES + 1;
        match kind {
            Kind::Smtp => smtp(&mut wire, &user(client))?,
            Kind::Pop3 => pop3(&mut wire, &user(client), first)?,
            Kind::Imap => imap(&mut wire, &user(client), first)?,
        }
    }
    Ok(())
}

fn smtp(wire: &mut Wire, user: &str) -> Outcome<()> {
    let mut say = |line: &str, code: &str| -> Outcome<()> {
        match line {
            "" => {}
            "." => wire.send_dotted(&message())?,
            _ => wire.say(line)?,
        }
        loop {
            let reply = wire.line()?;
            if !reply.starts_with(code) {
                return Err(format!("{line}: {reply}").into());
            }
            if reply.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    };
    say("", "220")?;
    say("EHLO bench.example.org", "250")?;
    say(&format!("AUTH PLAIN {}", BASE64_STANDARD.encode(format!("\0{user}\0{PASSWORD}"))), "235")?;
    for _ in 0..MESSAGES {
        say(&format!("MAIL FROM:<{user}>"), "250")?;
        say(&format!("RCPT TO:<{user}>"), "250")?;
        say("DATA", "354")?;
        say(".", "250")?;
    }
    say("QUIT", "221")
}

fn pop3(wire: &mut Wire, user: &str, first: usize) -> Outcome<()> {
    let mut say = |line: &str| -> Outcome<()> {
        if !line.is_empty() {
            wire.say(line)?;
        }
        let reply = wire.line()?;
        if !reply.starts_with("+OK") {
            return Err(format!("{line}: {reply}").into());
        }
        if line.starts_with("RETR") { whole(wire.read_dotted()?.len()) } else { Ok(()) }
    };
    say("")?;
    say(&format!("USER {user}"))?;
    say(&format!("PASS {PASSWORD}"))?;
    for number in first..first + MESSAGES {
        say(&format!("RETR {number}"))?;
    }
    say("QUIT")
}

fn imap(wire: &mut Wire, user: &str, first: usize) -> Outcome<()> {
    let mut say = |line: &str| -> Outcome<()> {
        wire.say(format!("a {line}"))?;
        loop {
            let reply = wire.line()?;
            if let Some((size, _)) = literal(&reply) {
                whole(wire.octets(size)?.len())?;
            } else if let Some(result) = reply.strip_prefix("a ") {
                return if result.starts_with("OK") { Ok(()) } else { Err(format!("{line}: {result}").into()) };
            }
        }
    };
    // The greeting is read as what stands before the first answer.
    say(&format!("LOGIN {user} {PASSWORD}"))?;
    say("SELECT INBOX")?;
    for number in first..first + MESSAGES {
        say(&format!("FETCH {number} (UID BODY.PEEK[])"))?;
    }
    say("LOGOUT")
}

/// Nothing is measured that did not happen.
fn whole(octets: usize) -> Outcome<()> {
    if octets == SIZE { Ok(()) } else { Err(format!("a message of {octets} octets instead of {SIZE}").into()) }
}

/// Another one each time.
fn message() -> Vec<u8> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let head = format!("From: a@example.org\r\nSubject: {}\r\n\r\n", COUNT.fetch_add(1, Ordering::Relaxed));
    let line = b"Some text that fills a line of seventy-six characters, and again, and again.\r\n";
    head.bytes().chain(line.iter().copied().cycle()).take(SIZE - 2).chain(*b"\r\n").collect()
}

/// The real `start_proxies` with a spool of its own; both go when this goes.
struct Proxies {
    child: Child,
    log: Vec<String>,
    _dir: tempfile::TempDir,
}

impl Proxies {
    fn start(host: &Host, sync: &str) -> Outcome<Proxies> {
        let dir = tempfile::tempdir()?;
        let mut ini = format!("[mailstore]\nsync = {sync}\nlog = warn\n");
        for (name, door) in [("smtp", host.smtp), ("pop3", host.pop3), ("imap", host.imap)] {
            ini += &format!("[{name}]\nlisten = 127.0.0.1:0\nupstream = {}\nupstream_tls = none\n", door.plain);
        }
        let file = dir.path().join("mailstore.ini");
        fs::write(&file, ini)?;
        let mut child = command(&file).spawn()?;
        let mut stderr = BufReader::new(child.stderr.take().ok_or("no log")?);
        let mut proxies = Proxies { child, log: Vec::new(), _dir: dir };
        while !proxies.log.last().is_some_and(|line| line.trim_end().ends_with(" ready")) {
            let mut line = String::new();
            if stderr.read_line(&mut line)? == 0 {
                return Err(format!("start_proxies did not start: {}", proxies.log.concat()).into());
            }
            proxies.log.push(line);
        }
        // What it has to say later is read, so that it never waits for us.
        thread::spawn(move || io::copy(&mut stderr.take(u64::MAX), &mut io::stderr()));
        Ok(proxies)
    }

    /// Where this protocol's clients come in, by the log.
    fn address(&self, kind: Kind) -> Outcome<SocketAddr> {
        let start = format!(" {}", format!("{kind:?} listening on ").to_lowercase());
        let found = self.log.iter().find_map(|line| line.split_once(&start)?.1.split_once(' '));
        Ok(found.ok_or("no such listener")?.0.parse()?)
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(ini: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_start_proxies"));
    command.arg("-c").arg(ini).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}
