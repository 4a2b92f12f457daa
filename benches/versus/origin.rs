//! The mail server behind all peers: as fast as it can be, so that what is measured is what stands before it. It takes every login, discards what it
//! is sent, and serves messages that are made as they are asked for.
//!
//! The user's name says what his mailbox holds: `s4096n100-…`: 100 messages of 4096 octets. Each is a new one every time.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::message::Template;
use crate::tls::Server;
use crate::wire::{Conn, Wire};
use crate::{Kind, Outcome};

/// Responses of small messages are sent together.
const TOGETHER: usize = 64 * 1024;
const STACK: usize = 128 * 1024;

pub(crate) struct Origin {
    /// By kind: plain, TLS.
    at: [[SocketAddr; 2]; 3],
    /// What SMTP clients have sent, whole.
    pub(crate) taken: Arc<AtomicU64>,
}

impl Origin {
    pub(crate) fn start(server: &Server) -> Outcome<Origin> {
        let taken = Arc::new(AtomicU64::new(0));
        let mut at = [[SocketAddr::from(([127, 0, 0, 1], 0)); 2]; 3];
        for kind in Kind::ALL {
            for (n, tls) in [None, Some(server.clone())].into_iter().enumerate() {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                at[kind as usize][n] = listener.local_addr()?;
                let taken = Arc::clone(&taken);
                thread::spawn(move || listen(&listener, kind, tls, &taken));
            }
        }
        Ok(Origin { at, taken })
    }

    pub(crate) fn at(&self, kind: Kind, tls: bool) -> SocketAddr {
        self.at[kind as usize][usize::from(tls)]
    }
}

fn listen(listener: &TcpListener, kind: Kind, tls: Option<Server>, taken: &Arc<AtomicU64>) {
    for tcp in listener.incoming().flatten() {
        let (tls, taken) = (tls.clone(), Arc::clone(taken));
        let session = thread::Builder::new().stack_size(STACK).spawn(move || {
            // Who leaves in the middle is told of at his own side.
            let _ = serve(tcp, kind, tls.as_ref(), &taken);
        });
        if let Err(e) = session {
            eprintln!("the origin has no thread for a session: {e}");
        }
    }
}

fn serve(tcp: TcpStream, kind: Kind, tls: Option<&Server>, taken: &AtomicU64) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let conn = match tls {
        None => Conn::Plain(tcp),
        Some(server) => Conn::Tls(Box::new(server.accept(tcp)?)),
    };
    let mut wire = Wire::new(conn);
    match kind {
        Kind::Smtp => smtp(&mut wire, taken),
        Kind::Pop3 => pop3(&mut wire),
        Kind::Imap => imap(&mut wire),
    }
}

/// A line's first word in upper case, and the rest.
fn words(line: &[u8]) -> (String, String) {
    let line = String::from_utf8_lossy(line);
    let (first, rest) = line.split_once(' ').unwrap_or((&line, ""));
    (first.to_ascii_uppercase(), rest.to_owned())
}

fn smtp(wire: &mut Wire, taken: &AtomicU64) -> io::Result<()> {
    wire.send("220 host.example.org ESMTP\r\n")?;
    while let Some(line) = wire.line_if_any()? {
        // The hot path allocates nothing.
        match line.get(..4).unwrap_or(line) {
            b"MAIL" | b"RCPT" => wire.send("250 2.1.0 Ok\r\n")?,
            b"DATA" => {
                wire.send("354 End data with <CR><LF>.<CR><LF>\r\n")?;
                wire.until_dot()?;
                taken.fetch_add(1, Ordering::Relaxed);
                wire.send("250 2.0.0 Ok: queued as 4F7A\r\n")?;
            }
            b"EHLO" | b"ehlo" => {
                wire.send("250-host.example.org\r\n250-SIZE 104857600\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN\r\n")?;
            }
            b"AUTH" => {
                if line.trim_ascii().len() <= b"AUTH PLAIN".len() {
                    wire.send("334 \r\n")?;
                    wire.line()?;
                }
                wire.send("235 2.7.0 Authentication successful\r\n")?;
            }
            b"QUIT" => return wire.send("221 2.0.0 Bye\r\n"),
            _ => wire.send("250 2.0.0 Ok\r\n")?,
        }
    }
    Ok(())
}

/// What the mailbox holds, by the name of its user.
#[derive(Clone, Copy, Default)]
struct Mailbox {
    size: usize,
    count: u64,
}

impl Mailbox {
    fn template(self, behind: &[u8]) -> Option<Template> {
        (self.size > 0).then(|| Template::new(self.size, behind))
    }
}

fn mailbox(user: &str) -> Mailbox {
    let found = || {
        let (size, rest) = user.trim_matches('"').strip_prefix('s')?.split_once('n')?;
        let count = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        Some(Mailbox { size: size.parse().ok()?, count: count.parse().ok()? })
    };
    found().unwrap_or_default()
}

fn pop3(wire: &mut Wire) -> io::Result<()> {
    wire.send("+OK POP3 ready\r\n")?;
    let mut holds = Mailbox::default();
    let mut template: Option<Template> = None;
    while let Some(line) = wire.line_if_any()? {
        if line.starts_with(b"RETR")
            && let Some(template) = &mut template
        {
            let message = template.next(format!("+OK {} octets\r\n", holds.size).as_bytes());
            wire.send(message)?;
            continue;
        }
        let (verb, rest) = words(line);
        match verb.as_str() {
            "USER" => {
                holds = mailbox(&rest);
                wire.send("+OK\r\n")?;
            }
            "PASS" => {
                // Made before anybody's clock runs.
                template = holds.template(b".\r\n");
                wire.send("+OK Logged in.\r\n")?;
            }
            "STAT" => wire.send(format!("+OK {} {}\r\n", holds.count, holds.count * holds.size as u64))?,
            "CAPA" => wire.send("+OK\r\nUSER\r\nUIDL\r\nTOP\r\n.\r\n")?,
            "QUIT" => return wire.send("+OK Logging out.\r\n"),
            _ => wire.send("+OK\r\n")?,
        }
    }
    Ok(())
}

fn imap(wire: &mut Wire) -> io::Result<()> {
    const CAPABILITY: &str = "IMAP4rev1 LITERAL+ SASL-IR IDLE UIDPLUS AUTH=PLAIN";
    // Ever new ones: no client fetches a message twice.
    static UID: AtomicU64 = AtomicU64::new(1);
    wire.send(format!("* OK [CAPABILITY {CAPABILITY}] IMAP ready\r\n"))?;
    let mut holds = Mailbox::default();
    let mut uid = 0;
    let mut template: Option<Template> = None;
    while let Some(command) = command(wire)? {
        let (tag, rest) = command.split_once(' ').unwrap_or((&command, ""));
        let (verb, arguments) = words(rest.as_bytes());
        match verb.as_str() {
            "LOGIN" => {
                holds = mailbox(arguments.split_whitespace().next().unwrap_or_default());
                wire.send(format!("{tag} OK [CAPABILITY {CAPABILITY}] Logged in\r\n"))?;
            }
            "AUTHENTICATE" => {
                let initial = arguments.split_whitespace().nth(1).map(str::to_owned);
                let response = match initial {
                    Some(initial) => initial,
                    None => {
                        wire.send("+ \r\n")?;
                        String::from_utf8_lossy(wire.line()?).into_owned()
                    }
                };
                let plain = openssl::base64::decode_block(&response).unwrap_or_default();
                holds = mailbox(&String::from_utf8_lossy(plain.split(|byte| *byte == 0).nth(1).unwrap_or_default()));
                wire.send(format!("{tag} OK [CAPABILITY {CAPABILITY}] Logged in\r\n"))?;
            }
            "CAPABILITY" => wire.send(format!("* CAPABILITY {CAPABILITY}\r\n{tag} OK done\r\n"))?,
            "SELECT" | "EXAMINE" => {
                template = holds.template(b")\r\n");
                uid = UID.fetch_add(holds.count, Ordering::Relaxed);
                wire.send(format!(
                    "* FLAGS (\\Seen \\Deleted)\r\n* {} EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 1] valid\r\n\
                     * OK [UIDNEXT {}] next\r\n{tag} OK [READ-WRITE] selected\r\n",
                    holds.count,
                    uid + holds.count
                ))?;
            }
            "UID" => {
                let set = arguments.split_whitespace().nth(1).unwrap_or_default();
                let all = uid..uid + holds.count;
                let asked = match set.parse::<u64>() {
                    Ok(one) => one..one + 1,
                    Err(_) => all.clone(),
                };
                let Some(template) = &mut template else { continue };
                fetch(wire, template, holds.size, tag, asked.map(|asked| (asked - all.start + 1, asked)))?;
            }
            "LOGOUT" => return wire.send(format!("* BYE\r\n{tag} OK done\r\n")),
            _ => wire.send(format!("{tag} OK done\r\n"))?,
        }
    }
    Ok(())
}

/// A command, its literals (which only logins have here) as words of it.
fn command(wire: &mut Wire) -> io::Result<Option<String>> {
    let mut command = String::new();
    loop {
        let Some(line) = wire.line_if_any()? else { return Ok(None) };
        command += &String::from_utf8_lossy(line);
        let Some((octets, waits)) = literal(&command) else { return Ok(Some(command)) };
        command.truncate(command.rfind('{').unwrap_or_default());
        if waits {
            wire.send("+ go on\r\n")?;
        }
        command += &String::from_utf8_lossy(&wire.octets(octets)?);
    }
}

/// The literal that a line announces, and whether it waits to be asked for.
pub(crate) fn literal(line: &str) -> Option<(usize, bool)> {
    let inner = line.strip_suffix('}')?.rsplit_once('{')?.1;
    let octets = inner.strip_suffix('+').unwrap_or(inner);
    Some((octets.parse().ok()?, octets.len() == inner.len()))
}

fn fetch(
    wire: &mut Wire,
    template: &mut Template,
    size: usize,
    tag: &str,
    messages: impl Iterator<Item = (u64, u64)>,
) -> io::Result<()> {
    let mut together = Vec::new();
    for (number, uid) in messages {
        let message = template.next(format!("* {number} FETCH (UID {uid} BODY[] {{{size}}}\r\n").as_bytes());
        if message.len() > TOGETHER {
            wire.send(message)?;
            continue;
        }
        if together.len() + message.len() > TOGETHER {
            wire.send(&together)?;
            together.clear();
        }
        together.extend_from_slice(message);
    }
    together.extend_from_slice(format!("{tag} OK Fetch completed.\r\n").as_bytes());
    wire.send(&together)
}
