//! Hostile peers over real sockets: a server of a few lines that says what no real one would on demand, and a network between two
//! peers that records what crosses it and changes it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use native_tls::{Identity, TlsAcceptor, TlsStream};

use super::{CLIENT, Certificate, Endpoint, Kind, Lab, Proxy, Tls, wait_until};

/// The event before a server's first word, in [`Answers`].
pub const GREETING: &str = "(greeting)";

/// At the end of an answer: the server closes behind it.
pub const CLOSE: &[u8] = b"{close}";

/// What is said to commands (without IMAP's tag) that begin so, in upper or lower case; the first that fits. `{tag}` is the command's.
pub type Answers = Vec<(&'static str, Vec<u8>)>;

/// A server in threads of its own; they end with the test.
pub struct Peer {
    kind: Kind,
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

/// One of its connections.
pub struct Talk {
    stream: Stream,
    ahead: Vec<u8>,
    heard: Arc<Mutex<Vec<u8>>>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Peer {
    /// Each client meets this; an error ends its session alone.
    pub fn start(kind: Kind, serve: impl Fn(&mut Talk) -> io::Result<()> + Send + Sync + 'static) -> Peer {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (all, serve) = (Arc::clone(&heard), Arc::new(serve));
        let port = listen(move |stream| {
            let (serve, heard) = (Arc::clone(&serve), Arc::clone(&all));
            thread::spawn(move || {
                let mut talk = Talk { stream: Stream::Plain(stream), ahead: Vec::new(), heard };
                let _ = serve(&mut talk);
            });
        });
        Peer { kind, port, heard }
    }

    /// A server that knows STARTTLS (or begins with TLS), accepts every login, and answers like this, else as servers do.
    pub fn answering(lab: &Lab, kind: Kind, tls: Tls, answers: Answers) -> Peer {
        let acceptor = acceptor(&lab.certificate());
        Peer::start(kind, move |talk| {
            if tls == Tls::Implicit {
                talk.secure(&acceptor)?;
            }
            serve(kind, talk, &acceptor, &answers)
        })
    }

    pub fn endpoint(&self, tls: Tls) -> Endpoint {
        Endpoint { kind: self.kind, port: self.port, tls }
    }

    /// All that its clients said, under TLS or not.
    pub fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }
}

/// Accepts connections on a free port until the test ends.
fn listen(accepted: impl Fn(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            prepare(&stream);
            accepted(stream);
        }
    });
    port
}

fn prepare(stream: &TcpStream) {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(CLIENT)).unwrap();
    stream.set_write_timeout(Some(CLIENT)).unwrap();
}

pub fn acceptor(certificate: &Certificate) -> TlsAcceptor {
    let read = |path| std::fs::read(path).unwrap();
    let identity = Identity::from_pkcs8(&read(&certificate.chain), &read(&certificate.key)).unwrap();
    TlsAcceptor::new(identity).unwrap()
}

impl Talk {
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes.as_ref()),
            Stream::Tls(stream) => stream.write_all(bytes.as_ref()),
        }
    }

    /// A line without its CRLF.
    pub fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.ahead.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.ahead.drain(..=end).collect();
                return Ok(line.trim_ascii_end().to_vec());
            }
            self.more()?;
        }
    }

    pub fn octets(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < count {
            self.more()?;
        }
        Ok(self.ahead.drain(..count).collect())
    }

    /// Reads until `end` says how long what was read is, up to its end.
    pub fn until(&mut self, end: impl Fn(&[u8]) -> Option<usize>) -> io::Result<Vec<u8>> {
        loop {
            if let Some(len) = end(&self.ahead) {
                return Ok(self.ahead.drain(..len).collect());
            }
            self.more()?;
        }
    }

    /// Waits until something comes that is not asked for yet.
    pub fn wait(&mut self) -> io::Result<()> {
        self.more()
    }

    /// Listens until the client closes.
    pub fn rest(&mut self) -> io::Result<()> {
        loop {
            self.ahead.clear();
            self.more()?;
        }
    }

    pub fn secure(&mut self, acceptor: &TlsAcceptor) -> io::Result<()> {
        let Stream::Plain(stream) = &self.stream else { return Err(io::ErrorKind::InvalidInput.into()) };
        let tls = acceptor.accept(stream.try_clone()?).map_err(io::Error::other)?;
        self.stream = Stream::Tls(Box::new(tls));
        Ok(())
    }

    pub fn is_secure(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// The bare connection, for handshakes of other kinds.
    pub fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref(),
        }
    }

    /// Closes the connection below TLS, which does not say that this is the end.
    pub fn cut(&mut self) -> io::Result<()> {
        self.tcp().shutdown(Shutdown::Write)
    }

    fn more(&mut self) -> io::Result<()> {
        let mut buffer = [0; 64 * 1024];
        let count = match &mut self.stream {
            Stream::Plain(stream) => stream.read(&mut buffer)?,
            Stream::Tls(stream) => stream.read(&mut buffer)?,
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.ahead.extend(&buffer[..count]);
        self.heard.lock().unwrap().extend(&buffer[..count]);
        Ok(())
    }
}

fn serve(kind: Kind, talk: &mut Talk, acceptor: &TlsAcceptor, answers: &Answers) -> io::Result<()> {
    let answer = |event: &str| {
        let fits =
            |start: &str| event.as_bytes().get(..start.len()).is_some_and(|e| e.eq_ignore_ascii_case(start.as_bytes()));
        answers.iter().find(|(start, _)| fits(start)).map(|(_, text)| text.clone())
    };
    let greeting = match kind {
        Kind::Pop3 => "+OK hello\r\n",
        Kind::Imap => "* OK hello\r\n",
        Kind::Smtp => "220 hello\r\n",
    };
    let greeting = answer(GREETING).unwrap_or_else(|| greeting.into());
    if let Some(last) = greeting.strip_suffix(CLOSE) {
        return talk.say(last);
    }
    talk.say(greeting)?;
    loop {
        let line = String::from_utf8_lossy(&talk.line()?).into_owned();
        let (tag, command) = match kind {
            Kind::Imap => line.split_once(' ').unwrap_or(("", &line)),
            Kind::Pop3 | Kind::Smtp => ("", line.as_str()),
        };
        let scripted = answer(command).map(|text| super::replaced(&text, "{tag}", tag));
        let verb = command.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        if kind == Kind::Imap {
            swallow_literals(talk, &line)?;
        }
        let usual: String = match (kind, verb.as_str()) {
            _ if scripted.is_some() => String::new(),
            (Kind::Pop3, "STLS") => "+OK go\r\n".into(),
            (Kind::Pop3, "CAPA" | "LIST" | "UIDL") if command.len() == 4 => "+OK\r\n.\r\n".into(),
            (Kind::Pop3, _) => "+OK\r\n".into(),
            (Kind::Smtp, "STARTTLS") => "220 go\r\n".into(),
            (Kind::Smtp, "EHLO") => {
                let tls = if talk.is_secure() { "" } else { "250-STARTTLS\r\n" };
                format!("250-hello\r\n{tls}250-PIPELINING\r\n250-8BITMIME\r\n250-CHUNKING\r\n250 AUTH PLAIN LOGIN\r\n")
            }
            (Kind::Smtp, "AUTH") => "235 welcome\r\n".into(),
            (Kind::Smtp, "DATA") => {
                talk.say("354 go\r\n")?;
                talk.until(|text| {
                    let at = if text.starts_with(b".\r\n") { Some(0) } else { None };
                    at.map(|_| 3).or_else(|| text.windows(5).position(|five| five == b"\r\n.\r\n").map(|at| at + 5))
                })?;
                "250 taken\r\n".into()
            }
            (Kind::Smtp, "BDAT") => {
                let size = command.split(' ').nth(1).and_then(|size| size.parse().ok()).unwrap_or(0);
                talk.octets(size)?;
                "250 taken\r\n".into()
            }
            (Kind::Smtp, "QUIT") => "221 bye\r\n".into(),
            (Kind::Smtp, _) => "250 ok\r\n".into(),
            (Kind::Imap, "CAPABILITY") => {
                let tls = if talk.is_secure() { "" } else { " STARTTLS" };
                format!("* CAPABILITY IMAP4rev1{tls} LITERAL+ AUTH=PLAIN\r\n{tag} OK done\r\n")
            }
            (Kind::Imap, "SELECT" | "EXAMINE") => {
                format!("* 3 EXISTS\r\n* OK [UIDVALIDITY 5] valid\r\n{tag} OK [READ-WRITE] done\r\n")
            }
            (Kind::Imap, "LOGOUT") => format!("* BYE bye\r\n{tag} OK done\r\n"),
            (Kind::Imap, _) => format!("{tag} OK done\r\n"),
        };
        let words = scripted.as_deref().unwrap_or(usual.as_bytes());
        if let Some(last) = words.strip_suffix(CLOSE) {
            return talk.say(last);
        }
        talk.say(words)?;
        match verb.as_str() {
            "STLS" | "STARTTLS" if scripted.is_none() => talk.secure(acceptor)?,
            "QUIT" | "LOGOUT" => return Ok(()),
            _ => {}
        }
    }
}

fn swallow_literals(talk: &mut Talk, line: &str) -> io::Result<()> {
    let mut line = line.to_owned();
    while let Some((size, asked)) = literal(&line) {
        if asked {
            talk.say("+ go\r\n")?;
        }
        talk.octets(size)?;
        line = String::from_utf8_lossy(&talk.line()?).into_owned();
    }
    Ok(())
}

/// `{5}` or `{5+}` at the end: how many octets, and whether they have to be asked for.
fn literal(line: &str) -> Option<(usize, bool)> {
    let digits = &line.strip_suffix('}')?[line.rfind('{')? + 1..];
    let (digits, asked) = digits.strip_suffix('+').map_or((digits, true), |digits| (digits, false));
    Some((digits.parse().ok()?, asked))
}

/// Who sits between two peers.
pub struct Between {
    port: u16,
    seen: Arc<Mutex<Vec<u8>>>,
}

/// Towards whom a piece goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Towards {
    Server,
    Client,
}

impl Between {
    /// In front of this server; `change` says what becomes of each piece that crosses.
    pub fn start(server: Endpoint, change: impl Fn(Towards, &[u8]) -> Vec<u8> + Send + Sync + 'static) -> Between {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (all, change) = (Arc::clone(&seen), Arc::new(change));
        let port = listen(move |client| {
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)) else { return };
            prepare(&server);
            for (towards, mut from, mut to) in [
                (Towards::Server, client.try_clone().unwrap(), server.try_clone().unwrap()),
                (Towards::Client, server, client),
            ] {
                let (seen, change) = (Arc::clone(&all), Arc::clone(&change));
                thread::spawn(move || {
                    let mut buffer = [0; 16 * 1024];
                    while let Ok(count @ 1..) = from.read(&mut buffer) {
                        seen.lock().unwrap().extend(&buffer[..count]);
                        if to.write_all(&change(towards, &buffer[..count])).is_err() {
                            break;
                        }
                    }
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        });
        Between { port, seen }
    }

    pub fn endpoint(&self, kind: Kind, tls: Tls) -> Endpoint {
        Endpoint { kind, port: self.port, tls }
    }

    /// All that crossed, in both directions, as it was sent.
    pub fn seen(&self) -> Vec<u8> {
        self.seen.lock().unwrap().clone()
    }
}

/// Says this to a proxy at once, before it has said anything, and gives all that it answers until it closes.
pub fn said_at_once(at: Endpoint, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, at.port)).unwrap();
    prepare(&stream);
    let _ = stream.write_all(bytes);
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

/// Waits until so many sessions are over: why each ended, in the order of their ends.
#[track_caller]
pub fn ends(proxy: &Proxy, count: usize) -> Vec<String> {
    let reasons = || -> Vec<String> {
        let log = proxy.log();
        let closed = log.lines().filter(|line| line.contains(" closed client="));
        closed.filter_map(|line| Some(line.split_once(" reason=")?.1.to_owned())).collect()
    };
    wait_until(&format!("{count} sessions are over"), CLIENT, || reasons().len() >= count);
    let reasons = reasons();
    assert_eq!(reasons.len(), count, "{}", proxy.log());
    reasons
}
