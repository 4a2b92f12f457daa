//! Every way to log in, and toy servers that say yes to all of them, or no in the client's own words.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use native_tls::{Identity, TlsAcceptor};

use super::{Certificate, Kind};

/// What the message that the toy servers hold is made of, besides what a test looks for.
const MESSAGE: &str = "From: a@example.org\r\nSubject: MARK\r\n\r\nMARK\r\n";

/// How a toy server takes what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    Accepts,
    /// Refuses all, and repeats what it was told, also as decoded from base64.
    Echoes,
    /// The same, and goes on about it unasked.
    Rambles,
}

/// One way to log in: what the client says, line by line, each after the reply to the one before.
pub struct Login {
    pub name: &'static str,
    pub lines: Vec<Vec<u8>>,
}

/// All ways of this protocol for this user; what must stay unknown in them is `secret`.
pub fn logins(kind: Kind, user: &str, secret: &str) -> Vec<Login> {
    let b64 = |text: String| BASE64_STANDARD.encode(text);
    let plain = b64(format!("\0{user}\0{secret}"));
    let oauth = b64(format!("user={user}\u{1}auth=Bearer {secret}\u{1}\u{1}"));
    let bearer = b64(format!("n,a={user},\u{1}auth=Bearer {secret}\u{1}\u{1}"));
    let (name, password, digest) = (b64(user.to_owned()), b64(secret.to_owned()), b64(format!("{user} {secret}")));
    let exchanges: [(&'static str, &'static str, Vec<String>); 5] = [
        ("PLAIN", "PLAIN with its initial response", vec![plain]),
        ("LOGIN", "LOGIN with its initial response", vec![name, password]),
        ("CRAM-MD5", "", vec![digest]),
        ("XOAUTH2", "XOAUTH2 with its initial response", vec![oauth]),
        ("OAUTHBEARER", "OAUTHBEARER with its initial response", vec![bearer]),
    ];
    let mut all = Vec::new();
    let mut add = |name, lines: Vec<String>| {
        all.push(Login { name, lines: lines.into_iter().map(String::into_bytes).collect() });
    };
    let command = match kind {
        Kind::Imap => "a AUTHENTICATE",
        Kind::Pop3 | Kind::Smtp => "AUTH",
    };
    for (mechanism, with_initial, answers) in exchanges {
        let first = format!("{command} {mechanism}");
        add(mechanism, [vec![first.clone()], answers.clone()].concat());
        if !with_initial.is_empty() {
            add(with_initial, [vec![format!("{first} {}", answers[0])], answers[1..].to_vec()].concat());
        }
    }
    match kind {
        Kind::Pop3 => {
            add("USER and PASS", vec![format!("USER {user}"), format!("PASS {secret}")]);
            add("APOP", vec![format!("APOP {user} {secret}")]);
        }
        Kind::Imap => {
            let (user_len, len) = (user.len(), secret.len());
            add("LOGIN with atoms", vec![format!("a LOGIN {user} {secret}")]);
            add("LOGIN with quotes", vec![format!("a LOGIN \"{user}\" \"p\\\"a \\\\s {secret}\"")]);
            add(
                "LOGIN with literals",
                vec![format!("a LOGIN {{{user_len}}}"), format!("{user} {{{len}}}"), secret.to_owned()],
            );
            add(
                "LOGIN with literals that do not wait",
                vec![format!("a LOGIN {{{user_len}+}}\r\n{user} {{{len}+}}\r\n{secret}")],
            );
        }
        Kind::Smtp => {}
    }
    if kind == Kind::Smtp {
        all.iter_mut().for_each(|login| login.lines.insert(0, b"EHLO toy".to_vec()));
    }
    all
}

/// A client that puts up with everything: it sends, and listens for a reply or the end.
pub struct Client<S: Read + Write> {
    kind: Kind,
    stream: BufReader<S>,
    /// Of IMAP: of the command said last.
    tag: String,
    /// The server waits for the rest of that.
    asked: bool,
}

pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

impl<S: Read + Write> Client<S> {
    /// Listens to the greeting.
    pub fn new(kind: Kind, stream: S) -> Client<S> {
        let mut client = Client::greeted(kind, stream);
        line(&mut client.stream);
        client
    }

    /// For a connection on which the greeting was heard.
    pub fn greeted(kind: Kind, stream: S) -> Client<S> {
        Client { kind, stream: BufReader::new(stream), tag: String::new(), asked: false }
    }

    /// Sends this with CRLF behind it. The reply; empty when the connection is over.
    pub fn say(&mut self, line: &[u8]) -> String {
        let tag = line.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
        if !self.asked {
            self.tag = format!("{} ", String::from_utf8_lossy(tag));
        }
        let _ = self.stream.get_mut().write_all(&[line, b"\r\n"].concat());
        self.reply()
    }

    /// The last line of all that answers.
    pub fn reply(&mut self) -> String {
        loop {
            let line = line(&mut self.stream);
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let goes_on = match self.kind {
                Kind::Pop3 => false,
                Kind::Smtp => text.as_bytes().get(3) == Some(&b'-'),
                Kind::Imap => ![&self.tag, "+", "* BAD", "* BYE"].iter().any(|start| text.starts_with(start)),
            };
            if line.is_empty() || !goes_on {
                self.asked = text.starts_with('+');
                return text;
            }
        }
    }

    /// All up to a lone dot.
    pub fn dotted(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let line = line(&mut self.stream);
            if line.is_empty() || line == b".\r\n" {
                return all;
            }
            all.extend(line);
        }
    }
}

fn line(stream: &mut impl BufRead) -> Vec<u8> {
    let mut line = Vec::new();
    let _ = stream.read_until(b'\n', &mut line);
    line
}

/// A server for as long as the test runs. `mark` stands in subject and text of the one message that it has for everybody. Its port.
pub fn toy(kind: Kind, temper: Temper, mark: &str, tls: Option<&Certificate>) -> u16 {
    let acceptor = tls.map(|certificate| {
        let read = |path| std::fs::read(path).unwrap();
        TlsAcceptor::new(Identity::from_pkcs8(&read(&certificate.chain), &read(&certificate.key)).unwrap()).unwrap()
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let message = MESSAGE.replace("MARK", mark);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (acceptor, message) = (acceptor.clone(), message.clone());
            let _ = stream.set_nodelay(true);
            thread::spawn(move || match acceptor {
                None => serve(stream, kind, temper, &message),
                Some(acceptor) => acceptor.accept(stream).map(|tls| serve(tls, kind, temper, &message)).unwrap_or(()),
            });
        }
    });
    port
}

fn serve<S: Read + Write>(stream: S, kind: Kind, temper: Temper, message: &str) {
    let mut toy = Toy { stream: BufReader::new(stream), kind, temper, message, tag: String::new() };
    match kind {
        Kind::Pop3 => toy.say("+OK toy"),
        Kind::Imap => toy.say("* OK toy"),
        Kind::Smtp => toy.say("220 toy"),
    }
    while toy.command() {}
}

struct Toy<'a, S: Read + Write> {
    stream: BufReader<S>,
    kind: Kind,
    temper: Temper,
    message: &'a str,
    tag: String,
}

impl<S: Read + Write> Toy<'_, S> {
    fn say(&mut self, text: &str) {
        let _ = self.stream.get_mut().write_all(format!("{text}\r\n").as_bytes());
    }

    fn hear(&mut self) -> Option<String> {
        let line = line(&mut self.stream);
        (!line.is_empty()).then(|| String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    }

    /// One command. False: it was the last one.
    fn command(&mut self) -> bool {
        let Some(mut said) = self.hear() else { return false };
        if self.kind == Kind::Imap {
            let (tag, command) = said.split_once(' ').map_or(("", ""), |(tag, command)| (tag, command));
            (self.tag, said) = (tag.to_owned(), command.to_owned());
        }
        // The literals of IMAP, asked for where they wait.
        while self.kind == Kind::Imap && said.ends_with('}') {
            if !said.ends_with("+}") {
                self.say("+ go on");
            }
            let Some(more) = self.hear() else { return false };
            said = format!("{said} {more}");
        }
        let words: Vec<String> = said.split(' ').map(str::to_ascii_uppercase).collect();
        match (self.kind, words[0].as_str()) {
            (Kind::Pop3 | Kind::Smtp, "AUTH") | (Kind::Imap, "AUTHENTICATE") => {
                return self.exchange(said, words.get(1).map_or("", String::as_str), words.len() > 2);
            }
            (Kind::Pop3, "CAPA") => self.say("+OK\r\nUSER\r\nSASL PLAIN LOGIN CRAM-MD5 XOAUTH2 OAUTHBEARER\r\n."),
            (Kind::Pop3, "RETR" | "TOP") => self.say(&format!("+OK\r\n{}.", self.message)),
            (Kind::Imap, "SELECT") => self.say(&format!("* 1 EXISTS\r\n* OK [UIDVALIDITY 1] v\r\n{} OK", self.tag)),
            (Kind::Imap, "FETCH") => {
                let (size, message) = (self.message.len(), self.message);
                self.say(&format!("* 1 FETCH (UID 1 BODY[] {{{size}}}\r\n{message})\r\n{} OK", self.tag));
            }
            (Kind::Imap, "CAPABILITY") => self.say(&format!("* CAPABILITY IMAP4rev1 {said}\r\n{} OK", self.tag)),
            (Kind::Smtp, "EHLO") => self.say("250-toy\r\n250 AUTH PLAIN LOGIN CRAM-MD5 XOAUTH2 OAUTHBEARER"),
            (Kind::Smtp, "MAIL" | "RCPT") => self.say("250 fine"),
            // It takes the message for commands.
            (Kind::Smtp, "DATA") if self.temper == Temper::Rambles => self.say("250 fine"),
            (Kind::Smtp, "DATA") => {
                self.say("354 go on");
                while self.hear().is_some_and(|line| line != ".") {}
                self.verdict("message");
            }
            _ => self.verdict(&said),
        }
        self.temper != Temper::Rambles
            || said.starts_with("EHLO")
            || said.starts_with("DATA")
            || words[0] == "MAIL"
            || words[0] == "RCPT"
    }

    /// A SASL exchange.
    fn exchange(&mut self, mut said: String, mechanism: &str, initial: bool) -> bool {
        let prompts: &[&str] = match mechanism {
            "LOGIN" => &["Username:", "Password:"],
            "CRAM-MD5" => &["<1.2@toy>"],
            _ => &[""],
        };
        for prompt in &prompts[usize::from(initial)..] {
            let go_on = if self.kind == Kind::Smtp { "334" } else { "+" };
            self.say(&format!("{go_on} {}", BASE64_STANDARD.encode(prompt)));
            let Some(answer) = self.hear() else { return false };
            said = format!("{said} {answer}");
        }
        self.verdict(&said);
        self.temper != Temper::Rambles
    }

    fn verdict(&mut self, said: &str) {
        let decoded = said.split(' ').filter_map(|word| BASE64_STANDARD.decode(word).ok());
        let decoded: Vec<String> =
            decoded.map(|bytes| String::from_utf8_lossy(&bytes).replace(['\0', '\u{1}'], " ")).collect();
        let echo = format!("you said {said}, which is {}", decoded.join(" "));
        let accepts = self.temper == Temper::Accepts;
        let tag = self.tag.clone();
        match self.kind {
            Kind::Pop3 if accepts => self.say("+OK fine"),
            Kind::Imap if accepts => self.say(&format!("{tag} OK fine")),
            Kind::Smtp if accepts => self.say(if said.starts_with("AUTH") { "235 fine" } else { "250 fine" }),
            Kind::Pop3 => self.say(&format!("-ERR {echo}")),
            Kind::Imap => self.say(&format!("{tag} NO {echo}")),
            Kind::Smtp => self.say(&format!("535 {echo}")),
        }
        if self.temper == Temper::Rambles {
            match self.kind {
                Kind::Pop3 => self.say(&format!("-ERR and {echo}")),
                Kind::Imap => self.say(&format!("* BYE and {echo}")),
                Kind::Smtp => self.say(&format!("421 and {echo}")),
            }
        }
    }
}

/// A word that stands nowhere else: 16 letters, none of which is a hexadecimal digit.
pub fn secret(number: u64) -> String {
    const LETTERS: &[u8; 16] = b"GhJkMnPqRsTvWxYz";
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995_7b2d_a3f1;
    let letters = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(LETTERS[(state >> 60) as usize])
    });
    letters.take(16).collect()
}
