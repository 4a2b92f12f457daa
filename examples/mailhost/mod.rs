//! A small mail host: what the provider is in real life. Mailboxes in memory, and enough of SMTP, POP3 and IMAP4rev1, with and without
//! TLS, for ordinary mail programs. Nothing of MailStore's own code is in it: what is compared with it proves more that way.
//!
//! It is an example by itself (`examples/mailhost.rs`), the provider of `scripts/demo`, and the fast upstream of tests and benches, which
//! can put mail into it, look at what it holds, and have it answer what no real server would on demand ([`Script`]).
//!
//! It runs in threads until the program ends: one for each door, one for each client. A client that goes away ends only its own.

// Each program that takes this in uses its own part of it.
#![allow(dead_code)]

mod imap;
mod mail;
mod pop3;
mod script;
mod smtp;
mod tls;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use native_tls::TlsAcceptor;

#[allow(unused_imports)]
pub(crate) use mail::{INBOX, Mail, Message};
#[allow(unused_imports)]
pub(crate) use script::{Act, GREETING, MESSAGE, Script};
#[allow(unused_imports)]
pub(crate) use tls::{Certificate, connector};
#[allow(unused_imports)]
pub(crate) use wire::{Wire, literal};

/// A client may say nothing for so long: those in IDLE do (RFC 2177: up to 29 minutes).
const PATIENCE: Duration = Duration::from_secs(31 * 60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Smtp,
    Pop3,
    Imap,
}

/// Where clients come in, both on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door {
    /// Without TLS, which is offered (STARTTLS, STLS) and not required.
    pub(crate) plain: SocketAddr,
    /// With TLS from the first octet.
    pub(crate) tls: SocketAddr,
}

/// The ports of a door: plain, TLS. 0 takes a free one.
pub(crate) type Ports = [u16; 2];

pub(crate) struct Host {
    pub(crate) mail: Arc<Mail>,
    pub(crate) script: Arc<Script>,
    pub(crate) smtp: Door,
    pub(crate) pop3: Door,
    pub(crate) imap: Door,
}

impl Host {
    /// Listens until the program ends. Ports: of SMTP, POP3, IMAP.
    pub(crate) fn start(mail: Mail, certificate: &Certificate, [smtp, pop3, imap]: [Ports; 3]) -> io::Result<Host> {
        let (mail, script) = (Arc::new(mail), Arc::new(Script::default()));
        let acceptor = certificate.acceptor()?;
        let open = |kind, [plain, tls]: Ports| {
            let listen = |port, implicit| {
                let world = World { kind, implicit, acceptor: acceptor.clone() };
                listen(world, port, Arc::clone(&mail), Arc::clone(&script))
            };
            Ok::<_, io::Error>(Door { plain: listen(plain, false)?, tls: listen(tls, true)? })
        };
        let (smtp, pop3, imap) = (open(Kind::Smtp, smtp)?, open(Kind::Pop3, pop3)?, open(Kind::Imap, imap)?);
        Ok(Host { mail, script, smtp, pop3, imap })
    }

    /// A host of one user on free ports, with these folders besides the inbox.
    pub(crate) fn with_user(
        user: &str,
        password: &str,
        folders: &[&str],
        certificate: &Certificate,
    ) -> io::Result<Host> {
        let mail = Mail::default();
        mail.add_user(user, password, folders);
        Host::start(mail, certificate, [[0; 2]; 3])
    }
}

/// What a door's clients get.
#[derive(Clone)]
struct World {
    kind: Kind,
    implicit: bool,
    acceptor: TlsAcceptor,
}

/// A thread that accepts, and one for each client.
fn listen(world: World, port: u16, mail: Arc<Mail>, script: Arc<Script>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map_err(|e| io::Error::new(e.kind(), format!("listening on 127.0.0.1:{port}: {e}")))?;
    let address = listener.local_addr()?;
    thread::Builder::new().spawn(move || {
        for stream in listener.incoming().flatten() {
            let (world, mail, script) = (world.clone(), Arc::clone(&mail), Arc::clone(&script));
            let _ = thread::Builder::new().spawn(move || serve(world, stream, &mail, &script));
        }
    })?;
    Ok(address)
}

fn serve(world: World, stream: TcpStream, mail: &Mail, script: &Script) -> io::Result<()> {
    let mut wire = Wire::new(stream, PATIENCE)?;
    if world.implicit {
        wire.accept(&world.acceptor)?;
    }
    let kind = world.kind;
    let client = Client { tls: world.implicit, world, wire, mail, script };
    match kind {
        Kind::Smtp => smtp::serve(client),
        Kind::Pop3 => pop3::serve(client),
        Kind::Imap => imap::serve(client),
    }
}

/// One client, as all three protocols see it.
struct Client<'a> {
    world: World,
    wire: Wire,
    mail: &'a Mail,
    script: &'a Script,
    /// Whether TLS stands.
    tls: bool,
}

impl Client<'_> {
    fn greet(&mut self, line: &str) -> io::Result<()> {
        if self.acted(GREETING, "")? { Ok(()) } else { self.wire.say(line) }
    }

    /// The next command that the script leaves to the host.
    fn command(&mut self) -> io::Result<String> {
        loop {
            let line = self.wire.line()?;
            let (tag, command) = match self.world.kind {
                Kind::Imap => line.split_once(' ').unwrap_or((&line, "")),
                Kind::Smtp | Kind::Pop3 => ("", line.as_str()),
            };
            if !self.acted(command, tag)? {
                return Ok(line);
            }
            if self.world.kind == Kind::Imap {
                // What comes unasked belongs to the command all the same (RFC 7888).
                let mut end = line;
                while let Some((size, false)) = literal(&end) {
                    self.wire.octets(size)?;
                    end = self.wire.line()?;
                }
            }
        }
    }

    /// Whether the script has answered what just happened.
    fn acted(&mut self, event: &str, tag: &str) -> io::Result<bool> {
        match self.script.take(self.world.kind, event) {
            None => Ok(false),
            Some(Act::Reply(text)) => self.wire.send(text.replace("{tag}", tag)).map(|()| true),
            Some(Act::Close) => Err(io::ErrorKind::ConnectionAborted.into()),
            Some(Act::Cut(octets)) => {
                self.wire.cut_after(octets);
                Ok(false)
            }
        }
    }

    /// The answer to STARTTLS or STLS, and the handshake.
    fn start_tls(&mut self, go: &str) -> io::Result<()> {
        self.wire.say(go)?;
        self.tls = true;
        self.wire.accept(&self.world.acceptor)
    }

    /// The user that the answer of a SASL PLAIN exchange (RFC 4616) proves, if it does.
    fn plain(&self, answer: &str) -> Option<String> {
        let text = String::from_utf8(BASE64_STANDARD.decode(answer).ok()?).ok()?;
        let [_, user, password] = text.split('\0').collect::<Vec<_>>()[..] else { return None };
        self.mail.accepts(user, password).then(|| user.to_owned())
    }
}

/// A command's verb, in upper case, and the rest of its line.
fn verb(line: &str) -> (String, &str) {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    (verb.to_ascii_uppercase(), rest.trim())
}
