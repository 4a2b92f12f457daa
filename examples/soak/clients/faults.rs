//! Clients that do what no orderly client does. None of them completes anything, but for what the server saw.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine};
use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

use super::imap::Imap;
use super::pop3::Pop3;
use super::smtp::Smtp;
use crate::mailhost::{INBOX, Kind, Wire};
use crate::messages::{PASSWORD, recipients, user};
use crate::proxies::Door;
use crate::world::{Result, Run};

const KINDS: [Kind; 3] = [Kind::Pop3, Kind::Imap, Kind::Smtp];
/// For one that says nothing or takes nothing: longer than MailStore's patience.
const SILENCE: Duration = Duration::from_secs(40);

/// Breaks off in the middle of a message, with a reset or by just closing.
pub(crate) fn vanish(run: &mut Run<'_>) -> Result<()> {
    let door = run.random.pick(&[Door::Plain, Door::Tls, Door::StartTls]);
    let wire = match run.random.below(4) {
        0 => {
            run.deliver(INBOX, 2);
            let mut pop3 = Pop3::login(run, door)?;
            pop3.wire.say("RETR 1\r\nRETR 2")?;
            pop3.answer()?;
            pop3.wire.line()?;
            pop3.wire
        }
        1 => {
            run.deliver(INBOX, 2);
            let mut imap = Imap::login(run, door)?;
            imap.ok("SELECT INBOX")?;
            imap.wire.say("x UID FETCH 1:* (BODY.PEEK[])")?;
            imap.wire.line()?;
            imap.wire
        }
        2 => {
            let (mut imap, message) = (Imap::login(run, door)?, run.outgoing());
            imap.wire.say(format!("x APPEND Sent {{{}+}}", message.bytes.len()))?;
            imap.wire.send(&message.bytes[..run.random.below(message.bytes.len())])?;
            imap.wire
        }
        _ => {
            let (mut smtp, message) = (Smtp::login(run, door)?, run.outgoing());
            smtp.wire.say(format!("MAIL FROM:<{}>\r\nRCPT TO:<{}>\r\nDATA", run.user(), user(run.owner)))?;
            for _ in 0..3 {
                smtp.reply()?;
            }
            smtp.wire.send(undotted(&message.bytes[..run.random.below(message.bytes.len())]))?;
            smtp.wire
        }
    };
    leave(run, &wire)
}

/// The beginning of a text with nothing in it that would be its end.
fn undotted(text: &[u8]) -> Vec<u8> {
    text.iter().map(|byte| if *byte == b'.' { b':' } else { *byte }).collect()
}

/// Leaves when all of a message is sent, without waiting for the answer: if the server took it, it is in the archive.
pub(crate) fn leave_after_the_end(run: &mut Run<'_>) -> Result<()> {
    let (mut smtp, message) = (Smtp::login(run, Door::Plain)?, run.outgoing());
    let to = recipients(run.owner, run.number())[0];
    run.world.ledger.offer(to, message.hash);
    let arrived = || {
        let inbox = run.world.host.mail.messages(&user(to), INBOX).unwrap_or_default();
        inbox.iter().filter(|one| one.bytes == message.bytes).count()
    };
    smtp.wire.say(format!("MAIL FROM:<{}>\r\nRCPT TO:<{}>\r\nDATA", run.user(), user(to)))?;
    for code in ["250", "250", "354"] {
        smtp.expect("the envelope", code)?;
    }
    // Only this thread sends this message: one more than before is this one.
    let before = arrived();
    smtp.wire.send_dotted(&message.bytes)?;
    let _ = smtp.wire.tcp()?.shutdown(Shutdown::Both);
    run.world.gate.rest(Duration::from_secs(1));
    if arrived() > before {
        run.completed(message.hash, "SMTP, seen by the server only");
    }
    run.tidy_up(to);
    Ok(())
}

/// Closes its direction only, and reads what still comes.
pub(crate) fn half_close(run: &mut Run<'_>) -> Result<()> {
    run.deliver(INBOX, 1);
    let kind = run.random.pick(&KINDS);
    let mut stream = run.connect_raw(kind, Door::Plain)?;
    stream.write_all(&opening(run, kind, true))?;
    stream.shutdown(Shutdown::Write)?;
    read_to_end(run, &mut stream);
    Ok(())
}

/// Asks for all there is and never reads it.
pub(crate) fn never_read(run: &mut Run<'_>) -> Result<()> {
    run.deliver(INBOX, 4);
    let kind = run.random.pick(&[Kind::Pop3, Kind::Imap]);
    let mut stream = run.connect_raw(kind, Door::Plain)?;
    stream.write_all(&opening(run, kind, false))?;
    let asked: &[u8] =
        if kind == Kind::Pop3 { b"RETR 1\r\nRETR 2\r\nRETR 3\r\n" } else { b"c FETCH 1:* (BODY.PEEK[])\r\n" };
    let end = Instant::now() + SILENCE;
    while Instant::now() < end && !run.world.gate.hurries() && stream.write_all(asked).is_ok() {
        run.world.gate.rest(Duration::from_millis(300));
    }
    reset(&stream);
    Ok(())
}

pub(crate) fn say_nothing(run: &mut Run<'_>) -> Result<()> {
    let kind = run.random.pick(&KINDS);
    let mut stream = run.connect_raw(kind, run.random.clone().pick(&[Door::Plain, Door::Tls]))?;
    let end = Instant::now() + SILENCE;
    let mut some = [0; 512];
    while Instant::now() < end && !run.world.gate.hurries() && !matches!(stream.read(&mut some), Ok(0)) {}
    Ok(())
}

pub(crate) fn wrong_password(run: &mut Run<'_>) -> Result<()> {
    let door = run.random.pick(&[Door::Plain, Door::StartTls, Door::Tls]);
    match run.random.pick(&KINDS) {
        Kind::Pop3 => {
            let mut pop3 = Pop3::open(run, door)?;
            pop3.ok(&format!("USER {}", run.user()))?;
            pop3.wire.say("PASS it-is-not-this")?;
            pop3.answer()?;
        }
        Kind::Imap => {
            let mut imap = Imap::open(run, door)?;
            imap.may(&format!("LOGIN {} it-is-not-this", run.user()))?;
            imap.wire.say("x SELECT INBOX")?;
            imap.wire.line()?;
        }
        Kind::Smtp => {
            let mut smtp = Smtp::open(run, door)?;
            let answer = BASE64_STANDARD.encode(format!("\0{}\0it-is-not-this", run.user()));
            smtp.wire.say(format!("AUTH PLAIN {answer}\r\nMAIL FROM:<{}>", run.user()))?;
            smtp.reply()?;
            smtp.reply()?;
        }
    }
    Ok(())
}

/// What is no mail protocol at all, no TLS, or has no end.
pub(crate) fn garbage(run: &mut Run<'_>) -> Result<()> {
    let (kind, door) = (run.random.pick(&KINDS), run.random.pick(&[Door::Plain, Door::Tls, Door::StartTls]));
    let mut stream = run.connect_raw(kind, door)?;
    let bytes = match run.random.below(5) {
        0 => b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        1 => vec![b'A'; 200_000],
        2 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        3 => format!("a LOGIN {{4294967296}}\r\nUSER {}\r\nBDAT 99999999999999999999\r\n", "x".repeat(5_000))
            .into_bytes(),
        _ => (0..20_000).map(|_| run.random.next() as u8).collect(),
    };
    let _ = stream.write_all(&bytes);
    if run.random.chance(50) {
        reset(&stream);
    } else {
        let _ = stream.shutdown(Shutdown::Write);
        read_to_end(run, &mut stream);
    }
    Ok(())
}

/// A whole session, octet by octet.
pub(crate) fn slowly(run: &mut Run<'_>) -> Result<()> {
    run.deliver(INBOX, 1);
    let kind = run.random.pick(&KINDS);
    let mut stream = run.connect_raw(kind, Door::Plain)?;
    for byte in opening(run, kind, true) {
        stream.write_all(&[byte])?;
        thread::sleep(Duration::from_millis(if run.world.gate.hurries() { 0 } else { 10 }));
    }
    read_to_end(run, &mut stream);
    Ok(())
}

/// More clients than there are places, all at once.
pub(crate) fn flood(run: &mut Run<'_>) -> Result<()> {
    let mut crowd = Vec::new();
    for _ in 0..run.random.between(40, 120) {
        let (kind, door) = (run.random.pick(&KINDS), run.random.pick(&[Door::Plain, Door::Tls, Door::StartTls]));
        crowd.push(run.connect_raw(kind, door)?);
    }
    run.world.gate.rest(Duration::from_millis(run.random.between(200, 2_000) as u64));
    for stream in &crowd {
        if run.random.chance(50) {
            reset(stream);
        }
    }
    Ok(())
}

/// What a client says from its login to its QUIT (if it comes to it), all at once.
fn opening(run: &Run<'_>, kind: Kind, whole: bool) -> Vec<u8> {
    let user = run.user();
    let (start, rest) = match kind {
        Kind::Pop3 => (format!("USER {user}\r\nPASS {PASSWORD}\r\n"), "RETR 1\r\nQUIT\r\n".to_owned()),
        Kind::Imap => (
            format!("a LOGIN {user} {PASSWORD}\r\nb SELECT INBOX\r\n"),
            "c FETCH 1 (BODY.PEEK[])\r\nd LOGOUT\r\n".to_owned(),
        ),
        Kind::Smtp => {
            let answer = BASE64_STANDARD.encode(format!("\0{user}\0{PASSWORD}"));
            (
                format!("EHLO slow.example.org\r\nAUTH PLAIN {answer}\r\n"),
                format!("MAIL FROM:<{user}>\r\nRSET\r\nQUIT\r\n"),
            )
        }
    };
    if whole { (start + &rest).into_bytes() } else { start.into_bytes() }
}

fn read_to_end(run: &Run<'_>, stream: &mut TcpStream) {
    let (end, mut some) = (Instant::now() + SILENCE, vec![0; 64 * 1024]);
    while Instant::now() < end && !run.world.gate.hurries() {
        match stream.read(&mut some) {
            Ok(0) => return,
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

fn leave(run: &mut Run<'_>, wire: &Wire) -> Result<()> {
    let stream = wire.tcp()?;
    match run.random.below(3) {
        0 => reset(stream),
        1 => stream.shutdown(Shutdown::Both)?,
        // As all orderly clients: TLS says good-bye.
        _ => {}
    }
    Ok(())
}

/// The socket's end will be a RST.
fn reset(stream: &TcpStream) {
    let _ = setsockopt(stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 });
}
