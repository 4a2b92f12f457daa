//! The clients: several at once, who log in, wait for each other, do their work, and tell that it was done, octet by octet.

use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::message::Template;
use crate::origin::literal;
use crate::process::cpu_s;
use crate::tls::Client;
use crate::wire::Wire;
use crate::{Kind, Outcome};

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Send, or fetch one by one.
    Each,
    /// One FETCH of all.
    All,
}

#[derive(Clone, Copy)]
pub(crate) struct Task<'a> {
    pub(crate) kind: Kind,
    pub(crate) at: SocketAddr,
    pub(crate) tls: Option<&'a Client>,
    pub(crate) work: Work,
    /// Whether they log in.
    pub(crate) login: bool,
    /// Octets of a message.
    pub(crate) size: usize,
    /// Clients at once.
    pub(crate) clients: usize,
    /// Messages of each.
    pub(crate) count: usize,
    /// Whose mailboxes: a word for their names.
    pub(crate) whose: &'a str,
}

/// What it took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) messages: usize,
    pub(crate) octets: usize,
    pub(crate) wall_s: f64,
    /// Of the peer, where there is one.
    pub(crate) cpu_s: f64,
}

impl Task<'_> {
    fn user(&self, client: usize) -> String {
        format!("s{}n{}-{}{client}@example.org", self.size, self.count, self.whose)
    }

    /// All clients' work; logins and what stands around it are not in the figures. `until` waits for what the peer still has to do then.
    pub(crate) fn run(&self, peer: Option<u32>, until: impl FnOnce() -> Outcome<()>) -> Outcome<Sample> {
        let cpu = || peer.map_or(0.0, cpu_s);
        thread::scope(|scope| {
            let (tell, told) = channel::<Result<(), String>>();
            let mut leads = Vec::new();
            for client in 0..self.clients {
                let (lead, follow) = channel::<()>();
                leads.push(lead);
                let tell = tell.clone();
                scope.spawn(move || {
                    if let Err(e) = self.client(client, &tell, &follow) {
                        let _ = tell.send(Err(format!("{} {}: {e}", self.kind.name(), self.user(client))));
                    }
                });
            }
            drop(tell);
            let all = || -> Outcome<()> {
                for _ in 0..self.clients {
                    told.recv()??;
                }
                Ok(())
            };
            all()?;
            let (before, begun) = (cpu(), Instant::now());
            leads.iter().try_for_each(|lead| lead.send(()))?;
            all()?;
            until()?;
            let (wall_s, cpu_s) = (begun.elapsed().as_secs_f64(), cpu() - before);
            leads.iter().try_for_each(|lead| lead.send(()))?;
            let messages = self.clients * self.count;
            Ok(Sample { messages, octets: messages * self.size, wall_s, cpu_s })
        })
    }

    fn client(&self, client: usize, tell: &Sender<Result<(), String>>, follow: &Receiver<()>) -> Outcome<()> {
        let mut session = Session::open(self.kind, self.at, None, self.tls, &self.user(client), self.login)?;
        session.select()?;
        // Made before the clock runs.
        let mut template = (self.kind == Kind::Smtp).then(|| Template::new(self.size, b".\r\n"));
        tell.send(Ok(()))?;
        follow.recv()?;
        match self.kind {
            Kind::Smtp => {
                let template = template.as_mut().ok_or("no message")?;
                (0..self.count).try_for_each(|_| session.send(template))?;
            }
            Kind::Pop3 => (1..=self.count).try_for_each(|number| session.retr(number, self.size))?,
            Kind::Imap if self.work == Work::All => session.fetch_all(self.size, self.count)?,
            Kind::Imap => (0..self.count).try_for_each(|number| session.fetch(number, self.size))?,
        }
        tell.send(Ok(()))?;
        follow.recv()?;
        session.close()
    }
}

/// A client that is logged in.
pub(crate) struct Session {
    kind: Kind,
    wire: Wire,
    user: String,
    /// Of the first message.
    uid: u64,
}

impl Session {
    pub(crate) fn open(
        kind: Kind,
        at: SocketAddr,
        from: Option<IpAddr>,
        tls: Option<&Client>,
        user: &str,
        login: bool,
    ) -> Outcome<Session> {
        let wire = Wire::connect(at, from, tls)?;
        let mut session = Session { kind, wire, user: user.to_owned(), uid: 0 };
        match kind {
            Kind::Smtp => {
                session.reply("220")?;
                session.smtp("EHLO client.example.org", "250")?;
                if !login {
                    return Ok(session);
                }
                let plain = openssl::base64::encode_block(format!("\0{user}\0a-password").as_bytes());
                session.smtp(&format!("AUTH PLAIN {plain}"), "235")?;
            }
            Kind::Pop3 => {
                session.ok()?;
                session.pop3(&format!("USER {user}"))?;
                session.pop3("PASS a-password")?;
            }
            Kind::Imap => {
                session.wire.line()?;
                session.imap(&format!("LOGIN {user} a-password"))?;
            }
        }
        Ok(session)
    }

    /// Opens the mailbox, where the protocol has such a step.
    pub(crate) fn select(&mut self) -> Outcome<()> {
        if self.kind == Kind::Imap {
            let said = self.imap("SELECT INBOX")?;
            let number = |before: &str| -> Option<u64> {
                said.split_once(before)?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
            };
            let exists =
                said.split_once(" EXISTS").and_then(|(before, _)| before.rsplit(' ').next()?.parse::<u64>().ok());
            self.uid =
                number("UIDNEXT ").zip(exists).map(|(next, exists)| next - exists).ok_or("no UIDNEXT or EXISTS")?;
        }
        Ok(())
    }

    pub(crate) fn noop(&mut self) -> Outcome<()> {
        match self.kind {
            Kind::Smtp => self.smtp("NOOP", "250"),
            Kind::Pop3 => self.pop3("NOOP"),
            Kind::Imap => {
                self.wire.send("n NOOP\r\n")?;
                expect(self.wire.line()?, b"n OK")
            }
        }
    }

    pub(crate) fn close(mut self) -> Outcome<()> {
        match self.kind {
            Kind::Smtp => self.smtp("QUIT", "221"),
            Kind::Pop3 => self.pop3("QUIT"),
            Kind::Imap => self.imap("LOGOUT").map(|_| ()),
        }
    }

    fn send(&mut self, template: &mut Template) -> Outcome<()> {
        self.wire.send(format!("MAIL FROM:<{}>\r\n", self.user))?;
        self.reply("250")?;
        self.smtp("RCPT TO:<bob@example.net>", "250")?;
        self.smtp("DATA", "354")?;
        self.wire.send(template.next(b""))?;
        self.reply("250")
    }

    fn retr(&mut self, number: usize, size: usize) -> Outcome<()> {
        self.wire.send(format!("RETR {number}\r\n"))?;
        self.ok()?;
        // The dot's line is in it.
        whole(self.wire.until_dot()?, size + 3)
    }

    fn fetch(&mut self, number: usize, size: usize) -> Outcome<()> {
        self.wire.send(format!("f UID FETCH {} (UID BODY.PEEK[])\r\n", self.uid + number as u64))?;
        self.response(size)?;
        expect(self.wire.line()?, b"f OK")
    }

    fn fetch_all(&mut self, size: usize, count: usize) -> Outcome<()> {
        self.wire.send("f UID FETCH 1:* (UID BODY.PEEK[])\r\n")?;
        (0..count).try_for_each(|_| self.response(size))?;
        expect(self.wire.line()?, b"f OK")
    }

    fn response(&mut self, size: usize) -> Outcome<()> {
        let line = std::str::from_utf8(self.wire.line()?)?;
        let (octets, _) = literal(line).ok_or_else(|| format!("no literal in {line}"))?;
        whole(octets, size)?;
        self.wire.skip(octets)?;
        expect(self.wire.line()?, b")")
    }

    fn smtp(&mut self, line: &str, code: &str) -> Outcome<()> {
        self.wire.send(format!("{line}\r\n"))?;
        self.reply(code)
    }

    /// All lines of it.
    fn reply(&mut self, code: &str) -> Outcome<()> {
        loop {
            let line = self.wire.line()?;
            expect(line, code.as_bytes())?;
            if line.get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }

    fn pop3(&mut self, line: &str) -> Outcome<()> {
        self.wire.send(format!("{line}\r\n"))?;
        self.ok()
    }

    fn ok(&mut self) -> Outcome<()> {
        expect(self.wire.line()?, b"+OK")
    }

    /// What was said before the tagged OK.
    fn imap(&mut self, line: &str) -> Outcome<String> {
        self.wire.send(format!("a {line}\r\n"))?;
        let mut said = String::new();
        loop {
            let line = self.wire.line()?;
            if line.starts_with(b"a ") {
                expect(line, b"a OK")?;
                return Ok(said);
            }
            said += &String::from_utf8_lossy(line);
            said.push('\n');
        }
    }
}

fn expect(line: &[u8], wanted: &[u8]) -> Outcome<()> {
    if line.starts_with(wanted) {
        return Ok(());
    }
    Err(format!("{} instead of {}", String::from_utf8_lossy(line), String::from_utf8_lossy(wanted)).into())
}

/// Nothing is measured that did not happen.
fn whole(octets: usize, wanted: usize) -> Outcome<()> {
    if octets == wanted { Ok(()) } else { Err(format!("{octets} octets instead of {wanted}").into()) }
}

/// Logins, each on a connection of its own: so many of each client.
pub(crate) fn logins(task: &Task<'_>, peer: Option<u32>) -> Outcome<Sample> {
    let cpu = || peer.map_or(0.0, cpu_s);
    let (before, begun) = (cpu(), Instant::now());
    thread::scope(|scope| {
        let clients: Vec<_> = (0..task.clients)
            .map(|client| {
                scope.spawn(move || -> Outcome<()> {
                    for _ in 0..task.count {
                        Session::open(task.kind, task.at, None, task.tls, &task.user(client), true)?.close()?;
                    }
                    Ok(())
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| "a client panicked")?)
    })?;
    let wall_s = begun.elapsed().as_secs_f64();
    // What ends a session there goes on for a moment.
    thread::sleep(Duration::from_millis(50));
    Ok(Sample { messages: task.clients * task.count, octets: 0, wall_s, cpu_s: cpu() - before })
}

/// Round trips of NOOP on one connection, µs, in order.
pub(crate) fn noops(task: &Task<'_>) -> Outcome<Vec<f64>> {
    let mut session = Session::open(task.kind, task.at, None, task.tls, &task.user(0), true)?;
    session.select()?;
    (0..50).try_for_each(|_| session.noop())?;
    let mut took = Vec::with_capacity(task.count);
    for _ in 0..task.count {
        let begun = Instant::now();
        session.noop()?;
        took.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    session.close()?;
    took.sort_by(f64::total_cmp);
    Ok(took)
}
