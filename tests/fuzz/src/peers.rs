//! The plainest peers that there could be, listening to what a protocol sends: a server that takes messages by SMTP, and an IMAP client that knows where a
//! response ends. They tell the host at which byte a peer takes something for complete.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

/// A server as RFC 5321 and 3030 have it, whose replies are given.
#[derive(Default)]
pub struct SmtpServer {
    mode: Mode,
    line: Vec<u8>,
    asked: VecDeque<Asked>,
    /// Of the message so far; nothing where a chunk of it was refused.
    content: Option<DefaultHasher>,
    greeted: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Mode {
    #[default]
    Command,
    /// DATA was said and not answered.
    Waiting,
    Sasl,
    /// Octets of the line so far, as far as they matter: none, `.`, `.CR`, or others and how they end.
    Data(At),
    Chunk {
        left: u64,
        last: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    Dot,
    DotCr,
    Text,
    Cr,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Other,
    /// What forgets a message, if the server does it: one that refuses RSET (for what stands behind it, say) has still what it had.
    Reset,
    Auth,
    Data,
    Chunk {
        last: bool,
    },
    /// The end of what DATA began.
    End,
}

/// What the next byte is to the server.
pub enum Heard {
    Nothing,
    /// A message begins, or the one before is forgotten.
    Begins,
    /// It is complete: the hash of its text, where that is known.
    Complete(Option<u64>),
}

impl SmtpServer {
    /// A byte for the server.
    pub fn hear(&mut self, byte: u8) -> Heard {
        match self.mode {
            Mode::Waiting => panic!("{:?} before DATA was answered", char::from(byte)),
            Mode::Data(at) => self.data(at, byte),
            Mode::Chunk { left, last } => {
                self.put(&[byte]);
                self.chunk(left - 1, last)
            }
            Mode::Command | Mode::Sasl => {
                self.line.push(byte);
                if byte == b'\n' { self.whole_line() } else { Heard::Nothing }
            }
        }
    }

    /// Whether it owes an answer to a message.
    pub fn owes(&self) -> bool {
        self.asked.iter().any(|asked| matches!(asked, Asked::End | Asked::Chunk { last: true }))
    }

    /// A line of the server's own.
    pub fn say(&mut self, line: &[u8]) {
        let code = line.first().copied().unwrap_or_default();
        if line.get(3) == Some(&b'-') {
            return;
        }
        if !self.greeted {
            self.greeted = true;
            return;
        }
        match self.asked.front() {
            // Whatever its other digits, it is taken for a challenge.
            Some(Asked::Auth) if code == b'3' => {
                self.mode = Mode::Sasl;
                return;
            }
            // A server that says 250 here is one that takes the text, say the clients that go on.
            Some(Asked::Data) => self.mode = if code < b'4' { Mode::Data(At::Start) } else { Mode::Command },
            Some(Asked::Chunk { .. } | Asked::Reset) if code != b'2' => self.content = None,
            _ => {}
        }
        self.asked.pop_front();
    }

    fn whole_line(&mut self) -> Heard {
        let line = std::mem::take(&mut self.line);
        if self.mode == Mode::Sasl {
            self.mode = Mode::Command;
            return Heard::Nothing;
        }
        // Whatever stands behind it, `DATA` may be taken for itself.
        let line = line.trim_ascii_start();
        let (verb, rest) =
            line.split_at(line.iter().position(|b| !b.is_ascii_alphanumeric() && *b != b'-').unwrap_or(line.len()));
        let words = [verb].into_iter().chain(rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()));
        let words: Vec<Vec<u8>> = words.map(<[u8]>::to_ascii_uppercase).collect();
        let word = |at: usize| words.get(at).map_or(&b""[..], |word| word);
        match word(0) {
            b"DATA" => {
                self.mode = Mode::Waiting;
                self.asked.push_back(Asked::Data);
                self.content = Some(DefaultHasher::new());
                return Heard::Begins;
            }
            b"BDAT" => {
                let last = word(2) == b"LAST";
                self.asked.push_back(Asked::Chunk { last });
                let left = std::str::from_utf8(word(1)).ok().and_then(|size| size.parse().ok()).unwrap_or(0);
                return self.chunk(left, last);
            }
            b"AUTH" => self.asked.push_back(Asked::Auth),
            b"MAIL" | b"RSET" | b"EHLO" | b"HELO" => {
                self.content = Some(DefaultHasher::new());
                self.asked.push_back(Asked::Reset);
                return Heard::Begins;
            }
            _ => self.asked.push_back(Asked::Other),
        }
        Heard::Nothing
    }

    fn chunk(&mut self, left: u64, last: bool) -> Heard {
        self.mode = if left > 0 { Mode::Chunk { left, last } } else { Mode::Command };
        if left == 0 && last { self.complete() } else { Heard::Nothing }
    }

    fn data(&mut self, at: At, byte: u8) -> Heard {
        let (held, at): (&[u8], At) = match (at, byte) {
            (At::Start, b'.') => (b"", At::Dot),
            (At::Dot, b'\r') => (b"", At::DotCr),
            (At::DotCr, b'\n') => {
                self.mode = Mode::Command;
                self.asked.push_back(Asked::End);
                return self.complete();
            }
            (At::Cr, b'\n') => (b"\n", At::Start),
            (At::DotCr, b'\r') => (b"\r\r", At::Cr),
            (At::DotCr, _) => (&[b'\r', byte], At::Text),
            (_, b'\r') => (b"\r", At::Cr),
            _ => (&[byte], At::Text),
        };
        self.put(held);
        self.mode = Mode::Data(at);
        Heard::Nothing
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Some(content) = &mut self.content {
            content.write(bytes);
        }
    }

    fn complete(&mut self) -> Heard {
        Heard::Complete(self.content.replace(DefaultHasher::new()).map(|content| content.finish()))
    }
}

/// A client that reads responses: where one begins, and which is tagged.
#[derive(Default)]
pub struct ImapClient {
    /// The response so far, its literals left out, as much as matters.
    start: Vec<u8>,
    tail: Vec<u8>,
    literal: u64,
}

impl ImapClient {
    /// A byte for the client. True: with it the client knows that a command is done, and has succeeded.
    pub fn hear(&mut self, byte: u8) -> bool {
        if self.literal > 0 {
            self.literal -= 1;
            return false;
        }
        if self.start.len() < 32 {
            self.start.push(byte);
        }
        self.tail.push(byte);
        if self.tail.len() > 64 {
            self.tail.drain(..32);
        }
        if byte != b'\n' {
            return false;
        }
        if let Some(len) = self.announced() {
            self.literal = len;
            self.tail.clear();
            return false;
        }
        let start = std::mem::take(&mut self.start);
        self.tail.clear();
        let ok = |word: &[u8]| word.trim_ascii_end().eq_ignore_ascii_case(b"OK");
        !start.starts_with(b"*") && !start.starts_with(b"+") && start.split(|&b| b == b' ').nth(1).is_some_and(ok)
    }

    fn announced(&self) -> Option<u64> {
        let words = self.start.to_ascii_uppercase();
        let mut words = words.split(|&b| b == b' ');
        let is_text =
            words.next() != Some(b"*") || matches!(words.next(), Some(b"OK" | b"NO" | b"BAD" | b"BYE" | b"PREAUTH"));
        let line = self.tail.strip_suffix(b"\n")?;
        let line = line.strip_suffix(b"\r").unwrap_or(line).strip_suffix(b"}")?;
        let line = line.strip_suffix(b"+").unwrap_or(line);
        let digits = line.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        let (before, digits) = line.split_at(line.len() - digits);
        (!is_text && before.ends_with(b"{")).then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
    }
}
