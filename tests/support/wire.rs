//! A client that shows what is really on the wire: every byte that the server sent is there to compare.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::Duration;

use native_tls::{Certificate, TlsConnector, TlsStream};

use super::{Endpoint, Kind, Lab, PASSWORD, Tls};

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// One connection.
pub struct Wire {
    stream: Stream,
    /// Read and not asked for yet.
    ahead: Vec<u8>,
    /// All that the server said and was asked for, since the connection stands (or TLS does).
    pub heard: Vec<u8>,
    tag: u32,
}

impl Wire {
    /// Connects, with TLS where the endpoint asks for it; the greeting is read already.
    pub fn connect(lab: &Lab, at: Endpoint) -> Wire {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, at.port)).expect("a connection");
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut wire = Wire { stream: Stream::Plain(stream), ahead: Vec::new(), heard: Vec::new(), tag: 0 };
        if at.tls == Tls::Implicit {
            wire = wire.secure(lab);
        }
        wire.reply(at.kind);
        if at.tls == Tls::StartTls {
            match at.kind {
                Kind::Pop3 => wire.send(b"STLS\r\n"),
                Kind::Imap => wire.send(b"x STARTTLS\r\n"),
                Kind::Smtp => {
                    wire.send(b"EHLO test.example.org\r\n");
                    wire.smtp_reply();
                    wire.send(b"STARTTLS\r\n");
                }
            }
            let line = wire.reply(at.kind);
            assert!(!line.starts_with(b"-") && !line.starts_with(b"5"), "{}", String::from_utf8_lossy(&line));
            wire = wire.secure(lab);
        }
        wire
    }

    /// The handshake, with the server's certificate checked.
    pub fn secure(self, lab: &Lab) -> Wire {
        let Stream::Plain(stream) = self.stream else { panic!("TLS stands already") };
        assert!(self.ahead.is_empty(), "the server spoke before the handshake");
        let ca = Certificate::from_pem(&std::fs::read(lab.ca()).unwrap()).unwrap();
        let connector = TlsConnector::builder().add_root_certificate(ca).build().unwrap();
        let stream = connector.connect("localhost", stream).expect("a TLS handshake");
        Wire { stream: Stream::Tls(Box::new(stream)), ahead: Vec::new(), heard: Vec::new(), tag: self.tag }
    }

    /// A second handle on a plain connection: one thread can read while another sends.
    pub fn reading_half(&mut self) -> Wire {
        let Stream::Plain(stream) = &self.stream else { panic!("a TLS stream cannot be split") };
        let stream = Stream::Plain(stream.try_clone().unwrap());
        Wire { stream, ahead: std::mem::take(&mut self.ahead), heard: Vec::new(), tag: 0 }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes).unwrap(),
            Stream::Tls(stream) => stream.write_all(bytes).unwrap(),
        }
    }

    /// Tells the server that nothing more comes; its answers can still be read.
    pub fn finish_sending(&mut self) {
        let Stream::Plain(stream) = &self.stream else { panic!("a TLS stream is closed as a whole") };
        stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Sends until the server listens no more, without reading what it says.
    pub fn send_as_far_as_it_goes(&mut self, bytes: &[u8]) {
        let _ = match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes),
        };
    }

    /// What has come; nothing once the server has closed. It is not remembered.
    pub fn piece(&mut self) -> Vec<u8> {
        if self.ahead.is_empty() {
            self.read_more();
        }
        std::mem::take(&mut self.ahead)
    }

    /// Ends the connection below TLS, which does not say that this is the end.
    pub fn cut(self) {
        let stream = match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref(),
        };
        stream.shutdown(Shutdown::Both).unwrap();
    }

    /// One line with its CRLF.
    pub fn line(&mut self) -> Vec<u8> {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|pair| pair == b"\r\n") {
                return self.take(end + 2);
            }
            assert!(self.read_more(), "the server closed in the middle of a line: {}", self.text());
        }
    }

    /// So many octets.
    pub fn octets(&mut self, count: usize) -> Vec<u8> {
        while self.ahead.len() < count {
            assert!(self.read_more(), "the server closed, {} of {count} octets came", self.ahead.len());
        }
        self.take(count)
    }

    /// All until the server closes.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.read_more() {}
        self.take(self.ahead.len())
    }

    /// Whether nothing has arrived that was not asked for.
    pub fn is_quiet(&self) -> bool {
        self.ahead.is_empty()
    }

    /// An SMTP reply: its last line has a blank behind the code. Gives all of it.
    pub fn smtp_reply(&mut self) -> Vec<u8> {
        let mut reply = Vec::new();
        loop {
            let line = self.line();
            let last = line.get(3) != Some(&b'-');
            reply.extend(line);
            if last {
                return reply;
            }
        }
    }

    /// Sends a line, and gives the SMTP reply.
    pub fn smtp(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes());
        String::from_utf8(self.smtp_reply()).unwrap()
    }

    /// Sends a line, and gives the single line of the POP3 reply.
    pub fn pop3(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes());
        String::from_utf8(self.line()).unwrap()
    }

    /// The rest of a POP3 reply of many lines, up to the lone dot, as it is on the wire.
    pub fn pop3_lines(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let line = self.line();
            let last = line == b".\r\n";
            all.extend(line);
            if last {
                return all;
            }
        }
    }

    /// Sends an IMAP command (without a tag), and gives all up to the tagged reply, as it is on the wire.
    pub fn imap(&mut self, command: &str) -> Vec<u8> {
        let tag = self.next_tag();
        self.send(format!("{tag} {command}\r\n").as_bytes());
        self.imap_until(&tag)
    }

    /// The same; fails unless the reply is OK.
    pub fn imap_ok(&mut self, command: &str) -> Vec<u8> {
        let reply = self.imap(command);
        let text = String::from_utf8_lossy(&reply).into_owned();
        let last = text.lines().last().unwrap_or_default();
        assert!(last.contains(" OK"), "{command}: {last}");
        reply
    }

    pub fn next_tag(&mut self) -> String {
        self.tag += 1;
        format!("t{}", self.tag)
    }

    /// All up to the reply with this tag (or a request to go on), literals included.
    pub fn imap_until(&mut self, tag: &str) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let line = self.imap_response();
            let last = line.starts_with(format!("{tag} ").as_bytes()) || line.starts_with(b"+ ");
            all.extend(line);
            if last {
                return all;
            }
        }
    }

    /// One whole response, its literals included.
    pub fn imap_response(&mut self) -> Vec<u8> {
        let mut all = self.line();
        loop {
            let Some(size) = literal(&all) else { return all };
            all.extend(self.octets(size));
            all.extend(self.line());
        }
    }

    /// Logs in with [`PASSWORD`]; also EHLO for SMTP.
    pub fn login(&mut self, kind: Kind, user: &str) {
        match kind {
            Kind::Pop3 => {
                assert!(self.pop3(&format!("USER {user}")).starts_with("+OK"));
                assert!(self.pop3(&format!("PASS {PASSWORD}")).starts_with("+OK"));
            }
            Kind::Imap => drop(self.imap_ok(&format!("LOGIN \"{user}\" {PASSWORD}"))),
            Kind::Smtp => {
                use base64::prelude::{BASE64_STANDARD, Engine};
                self.smtp("EHLO test.example.org");
                let plain = BASE64_STANDARD.encode(format!("\0{user}\0{PASSWORD}"));
                let reply = self.smtp(&format!("AUTH PLAIN {plain}"));
                assert!(reply.starts_with("235"), "{reply}");
            }
        }
    }

    /// What was heard, as text for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.heard).into_owned()
    }

    pub fn reply(&mut self, kind: Kind) -> Vec<u8> {
        if kind == Kind::Smtp { self.smtp_reply() } else { self.line() }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let taken: Vec<u8> = self.ahead.drain(..count).collect();
        self.heard.extend(&taken);
        taken
    }

    /// False: the server closed.
    fn read_more(&mut self) -> bool {
        let mut buffer = [0; 65536];
        let read = match &mut self.stream {
            Stream::Plain(stream) => stream.read(&mut buffer),
            Stream::Tls(stream) => stream.read(&mut buffer),
        };
        match read {
            Ok(count) => self.ahead.extend(&buffer[..count]),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return false,
            Err(e) => panic!("reading from the server: {e}; before it said: {}", self.text()),
        }
        !matches!(read, Ok(0))
    }
}

/// The messages in the literals of a FETCH answer, in order.
pub fn literals(answer: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(end) = answer[at..].windows(2).position(|pair| pair == b"\r\n") {
        let next = at + end + 2;
        match literal(&answer[at..next]) {
            Some(size) => {
                found.push(answer[next..next + size].to_vec());
                at = next + size;
            }
            None => at = next,
        }
    }
    found
}

/// All messages of all folders of this user, by the folder's name.
pub fn all_mail(lab: &Lab, at: Endpoint, user: &str) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut wire = Wire::connect(lab, at);
    wire.login(Kind::Imap, user);
    let list = wire.imap_ok("LIST \"\" *");
    let mut all = BTreeMap::new();
    for line in String::from_utf8_lossy(&list).lines().filter(|line| line.starts_with("* LIST")) {
        let name = line.split_once(") ").unwrap().1.split_once(' ').unwrap().1.trim_matches('"');
        if line.contains("\\Noselect") {
            continue;
        }
        wire.imap_ok(&format!("EXAMINE \"{name}\""));
        let answer = wire.imap_ok("UID FETCH 1:* BODY.PEEK[]");
        all.insert(name.to_owned(), literals(&answer));
    }
    wire.imap_ok("LOGOUT");
    all
}

/// Without what Dovecot says about time: how long it took, and (in APPENDUID) when a folder was made.
pub fn timeless(heard: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(heard.len());
    for line in heard.split_inclusive(|&byte| byte == b'\n') {
        // Most lines are a message's, and have none of it: looking for the first octet is much faster.
        let duration = if line.contains(&b'(') { find(line, b" secs).") } else { None };
        let duration = duration.and_then(|end| line[..end].iter().rposition(|&byte| byte == b'('));
        let appended = if line.contains(&b'[') { find(line, b"[APPENDUID ") } else { None };
        match (appended, duration) {
            (None, None) => out.extend(line),
            (None, Some(end)) => out.extend(&line[..end]),
            (Some(at), _) => {
                out.extend(&line[..at + 11]);
                out.extend(
                    line[at + 11..].iter().skip_while(|byte| byte.is_ascii_digit()).take_while(|&&byte| byte != b'('),
                );
            }
        }
    }
    out
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// `{n}` at the end of a data line.
fn literal(line: &[u8]) -> Option<usize> {
    let inner = line.strip_suffix(b"}\r\n")?;
    let open = inner.iter().rposition(|&byte| byte == b'{')?;
    std::str::from_utf8(&inner[open + 1..]).ok()?.parse().ok()
}
