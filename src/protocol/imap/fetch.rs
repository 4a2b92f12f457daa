//! A FETCH response, read while it streams (RFC 9051, section 7.5.2; section 9, `msg-att`).
//!
//! Never regular expressions, never recursion, never a message in memory: an automaton over bytes that knows at every moment
//! whether it reads an item's name, a value, or the octets of a literal, so that message text which looks like protocol is only
//! octets. Says what it found and how many bytes that took; what becomes of them is the caller's business.

use super::command::parse_len;
use super::items;

/// The items that matter to the archive. Section names are the response's; `.PEEK` is harmless in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// `BODY[]`, `RFC822`.
    Whole,
    /// `BODY[HEADER]`, `RFC822.HEADER`, `BODY[0]` (RFC 1730).
    Header,
    /// `BODY[TEXT]`, `RFC822.TEXT`.
    Text,
    /// `BODY[]<n>`: of the whole message, from this octet.
    Chunk(u64),
    /// A piece of a message's content: a part (`BODY[1]`), a piece of one or of the text (`BODY[TEXT]<0>`), `BINARY[…]`.
    Piece,
    Uid,
    InternalDate,
    Other,
}

/// What was found. Slices are of the bytes given.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// Nothing to tell; go on with the rest.
    Nothing,
    /// A string value begins; of so many octets where it is a literal.
    Begin(Item, Option<u64>),
    /// Content of the string that began, unescaped.
    Content(&'a [u8]),
    /// The string is complete.
    End(Item),
    /// The value is NIL: there is no such thing.
    Nil(Item),
    /// The message's UID.
    Uid(u32),
    /// The line's end: the response is complete.
    Complete,
    /// This cannot be a FETCH response; the place in the stream is lost.
    Lost(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the opening parenthesis.
    Open,
    /// Between items, or in an item's name.
    Name,
    /// In the brackets of a name; `quoted`, `escaped` within a quoted string in them.
    Section { quoted: bool, escaped: bool },
    /// In a literal within the brackets of a name.
    SectionLiteral(u64),
    /// Behind a name's blank.
    Value,
    /// An atom or number as a value.
    Atom,
    /// A quoted value; `depth` parentheses around it.
    Quoted { depth: u32, escaped: bool },
    /// Behind a `{`: length, CRLF.
    Marker { depth: u32 },
    /// In a literal.
    Literal { depth: u32, left: u64 },
    /// In a parenthesised value.
    Nested { depth: u32 },
    /// Behind the closing parenthesis.
    Tail,
}

/// Reads one response, from behind `* n FETCH `.
pub(super) struct FetchParser {
    state: State,
    /// The name, the atom or the literal's marker being read.
    word: Word,
    item: Item,
}

/// What is longer than `WORD_LEN_MAX` is cut.
struct Word {
    octets: [u8; WORD_LEN_MAX],
    len: usize,
}

impl Word {
    fn push(&mut self, more: &[u8]) {
        let more = &more[..more.len().min(WORD_LEN_MAX - self.len)];
        self.octets[self.len..self.len + more.len()].copy_from_slice(more);
        self.len += more.len();
    }

    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl std::ops::Deref for Word {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

/// Longest name, atom or marker that is of interest.
const WORD_LEN_MAX: usize = 64;
const DEPTH_MAX: u32 = 100_000;

impl FetchParser {
    pub(super) fn new() -> FetchParser {
        FetchParser { state: State::Open, word: Word { octets: [0; WORD_LEN_MAX], len: 0 }, item: Item::Other }
    }

    /// Another response begins.
    pub(super) fn begin(&mut self) {
        (self.state, self.word.len) = (State::Open, 0);
    }

    /// Whether an item's name, or the end of the list, comes next.
    pub(super) fn is_between_items(&self) -> bool {
        self.state == State::Name && self.word.is_empty()
    }

    /// Reads up to the next event: how many bytes it took (content may stand at their end only), and what it is.
    pub(super) fn next<'a>(&mut self, bytes: &'a [u8]) -> (usize, Event<'a>) {
        let mut at = 0;
        while at < bytes.len() {
            let (used, event) = self.step(&bytes[at..]);
            at += used;
            if !matches!(event, Event::Nothing) {
                return (at, event);
            }
        }
        (at, Event::Nothing)
    }

    /// Reads up to the next change, which may be no event; `bytes` must not be empty.
    pub(super) fn step<'a>(&mut self, bytes: &'a [u8]) -> (usize, Event<'a>) {
        let byte = bytes[0];
        let event = match self.state {
            State::Literal { depth, left } => return self.literal(bytes, depth, left),
            State::SectionLiteral(left) => {
                let used = left.min(bytes.len() as u64);
                self.state = match left - used {
                    0 => State::Section { quoted: false, escaped: false },
                    left => State::SectionLiteral(left),
                };
                return (used as usize, Event::Nothing);
            }
            State::Quoted { depth, escaped } => return self.quoted(bytes, depth, escaped),
            State::Open => match byte {
                b' ' => Event::Nothing,
                b'(' => self.go(State::Name),
                _ => Event::Lost("a FETCH response has no list"),
            },
            State::Name => match run(bytes, |b| matches!(b, b' ' | b'[' | b'\r' | b'\n' | b'(' | b')' | b'"' | b'{')) {
                [] => self.name(byte),
                name => return self.word_goes_on(name),
            },
            State::Section { quoted, escaped } => {
                match run(bytes, |b| matches!(b, b'\n' | b'\r' | b'{' | b'"' | b'\\' | b']')) {
                    section @ [_, ..] if !escaped => return self.word_goes_on(section),
                    _ => self.section(byte, quoted, escaped),
                }
            }
            State::Value => self.value(byte),
            State::Atom => match run(bytes, |b| matches!(b, b' ' | b')' | b'\r' | b'\n')) {
                [] => return (0, self.atom_over()),
                atom => return self.word_goes_on(atom),
            },
            State::Marker { depth } => match run(bytes, |b| matches!(b, b'\r' | b'\n')) {
                [] => self.marker(byte, depth),
                marker if self.word.len + marker.len() > WORD_LEN_MAX => {
                    let room = WORD_LEN_MAX - self.word.len;
                    return (room + 1, Event::Lost("a FETCH response has a literal of impossible length"));
                }
                marker => return self.word_goes_on(marker),
            },
            State::Nested { depth } => match run(bytes, |b| matches!(b, b'(' | b')' | b'"' | b'{' | b'\r' | b'\n')) {
                [] => self.nested(byte, depth),
                plain => return (plain.len(), Event::Nothing),
            },
            State::Tail => match byte {
                b' ' | b'\r' => Event::Nothing,
                b'\n' => Event::Complete,
                _ => Event::Lost("something stands behind a FETCH response"),
            },
        };
        (1, event)
    }

    fn go(&mut self, state: State) -> Event<'static> {
        self.state = state;
        Event::Nothing
    }

    fn push(&mut self, byte: u8) {
        self.word.push(&[byte]);
    }

    fn word_goes_on<'a>(&mut self, more: &[u8]) -> (usize, Event<'a>) {
        self.word.push(more);
        (more.len(), Event::Nothing)
    }

    fn name(&mut self, byte: u8) -> Event<'static> {
        match byte {
            b' ' if self.word.is_empty() => Event::Nothing,
            b' ' => {
                self.word.octets[..self.word.len].make_ascii_uppercase();
                self.item = classify(&self.word);
                self.word.len = 0;
                self.go(State::Value)
            }
            b')' if self.word.is_empty() => self.go(State::Tail),
            b'[' => {
                self.push(byte);
                self.go(State::Section { quoted: false, escaped: false })
            }
            _ => Event::Lost("a FETCH response has an item without a name or value"),
        }
    }

    fn section(&mut self, byte: u8, quoted: bool, escaped: bool) -> Event<'static> {
        if byte == b'\n' {
            // `{n}` CRLF: a header name as a literal.
            let marker = self.word.iter().rposition(|&b| b == b'{');
            let len = marker.and_then(|at| parse_len(self.word[at + 1..].strip_suffix(b"}")?));
            self.word.truncate(marker.unwrap_or(WORD_LEN_MAX));
            return match len {
                Some(0) => Event::Nothing,
                Some(len) => self.go(State::SectionLiteral(len)),
                None => Event::Lost("a FETCH response's item name has no end"),
            };
        }
        if byte == b'{' && !quoted {
            // A name cut short must not cut the marker.
            self.word.truncate(WORD_LEN_MAX - 24);
        }
        if byte != b'\r' {
            self.push(byte);
        }
        match byte {
            _ if quoted && escaped => self.go(State::Section { quoted, escaped: false }),
            b'\\' if quoted => self.go(State::Section { quoted, escaped: true }),
            b'"' => self.go(State::Section { quoted: !quoted, escaped: false }),
            b']' if !quoted => {
                // Told from `BODY[]` cut short: the closing bracket is always there.
                if self.word.len == WORD_LEN_MAX {
                    self.word.truncate(WORD_LEN_MAX - 1);
                    self.push(b']');
                }
                self.go(State::Name)
            }
            _ => Event::Nothing,
        }
    }

    fn value(&mut self, byte: u8) -> Event<'static> {
        match byte {
            b' ' => Event::Nothing,
            b'(' => self.go(State::Nested { depth: 1 }),
            b'"' => {
                self.state = State::Quoted { depth: 0, escaped: false };
                Event::Begin(self.item, None)
            }
            b'{' | b'~' => {
                self.push(byte);
                self.go(State::Marker { depth: 0 })
            }
            b')' | b'\r' | b'\n' => Event::Lost("a FETCH response has an item without a value"),
            _ => {
                self.push(byte);
                self.go(State::Atom)
            }
        }
    }

    /// The byte that ends the atom is not taken.
    fn atom_over(&mut self) -> Event<'static> {
        self.state = State::Name;
        let uid = || std::str::from_utf8(&self.word).ok()?.parse::<u32>().ok().filter(|&uid| uid > 0);
        let event = match self.item {
            Item::Uid => uid().map_or(Event::Nothing, Event::Uid),
            item if self.word.eq_ignore_ascii_case(b"NIL") => Event::Nil(item),
            _ => Event::Nothing,
        };
        self.word.len = 0;
        event
    }

    fn marker(&mut self, byte: u8, depth: u32) -> Event<'static> {
        match byte {
            b'\n' => {
                let digits = self.word.strip_prefix(b"~").unwrap_or(&self.word);
                let digits = digits.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}"));
                let len = digits.and_then(parse_len);
                self.word.len = 0;
                let Some(len) = len else {
                    return Event::Lost("a FETCH response has a literal of impossible length");
                };
                self.state = State::Literal { depth, left: len };
                match depth {
                    0 => Event::Begin(self.item, Some(len)),
                    _ => Event::Nothing,
                }
            }
            _ => Event::Nothing,
        }
    }

    fn literal<'a>(&mut self, bytes: &'a [u8], depth: u32, left: u64) -> (usize, Event<'a>) {
        if left == 0 {
            if depth > 0 {
                self.state = State::Nested { depth };
                return (0, Event::Nothing);
            }
            self.state = State::Name;
            return (0, Event::End(self.item));
        }
        let used = left.min(bytes.len() as u64) as usize;
        self.state = State::Literal { depth, left: left - used as u64 };
        let event = if depth > 0 { Event::Nothing } else { Event::Content(&bytes[..used]) };
        (used, event)
    }

    fn quoted<'a>(&mut self, bytes: &'a [u8], depth: u32, escaped: bool) -> (usize, Event<'a>) {
        let (used, state, event) = match bytes[0] {
            b'\r' | b'\n' => return (1, Event::Lost("a FETCH response has a quoted string without an end")),
            _ if escaped => (1, State::Quoted { depth, escaped: false }, Event::Content(&bytes[..1])),
            b'\\' => (1, State::Quoted { depth, escaped: true }, Event::Nothing),
            b'"' if depth > 0 => (1, State::Nested { depth }, Event::Nothing),
            b'"' => (1, State::Name, Event::End(self.item)),
            _ => {
                let plain = run(bytes, |b| matches!(b, b'"' | b'\\' | b'\r' | b'\n'));
                (plain.len(), State::Quoted { depth, escaped: false }, Event::Content(plain))
            }
        };
        self.state = state;
        match event {
            Event::Content(_) if depth > 0 => (used, Event::Nothing),
            event => (used, event),
        }
    }

    fn nested(&mut self, byte: u8, depth: u32) -> Event<'static> {
        match byte {
            b'(' if depth == DEPTH_MAX => Event::Lost("a FETCH response is nested too deeply"),
            b'(' => self.go(State::Nested { depth: depth + 1 }),
            b')' if depth == 1 => self.go(State::Name),
            b')' => self.go(State::Nested { depth: depth - 1 }),
            b'"' => self.go(State::Quoted { depth, escaped: false }),
            b'{' => {
                self.word.len = 0;
                self.push(byte);
                self.go(State::Marker { depth })
            }
            _ => Event::Lost("a FETCH response has a list without an end"),
        }
    }
}

/// The bytes before the first one that ends their run.
fn run(bytes: &[u8], ends: impl Fn(u8) -> bool) -> &[u8] {
    &bytes[..bytes.iter().position(|&b| ends(b)).unwrap_or(bytes.len())]
}

/// The item of this name, which is in upper case.
fn classify(upper: &[u8]) -> Item {
    if let Some(section) = upper.strip_prefix(b"BODY.PEEK[") {
        return body(section);
    }
    let peekless = upper.strip_suffix(b".PEEK").unwrap_or(upper);
    match peekless {
        b"UID" => Item::Uid,
        b"INTERNALDATE" => Item::InternalDate,
        b"RFC822" => Item::Whole,
        b"RFC822.HEADER" => Item::Header,
        b"RFC822.TEXT" => Item::Text,
        name => match (name.strip_prefix(b"BODY["), name.strip_prefix(b"BINARY[")) {
            (Some(section), _) => body(section),
            (None, Some(section)) => content(section, true),
            (None, None) => Item::Other,
        },
    }
}

/// `BODY[section]`, of which this is what stands behind the opening bracket.
fn body(section: &[u8]) -> Item {
    match section {
        b"]" => Item::Whole,
        b"HEADER]" | b"0]" => Item::Header,
        b"TEXT]" => Item::Text,
        section => content(section, false),
    }
}

/// Content of the message itself, as against header fields and MIME headers.
fn content(rest: &[u8], binary: bool) -> Item {
    let (section, behind) = rest.split_at(rest.iter().position(|&b| b == b']').unwrap_or(rest.len()));
    match section {
        b"" if !binary => origin(behind).map_or(Item::Piece, Item::Chunk),
        section if items::is_metadata(section) => Item::Other,
        _ => Item::Piece,
    }
}

/// The origin octet of `]<n>`; some servers repeat the request's `]<n.count>`.
fn origin(text: &[u8]) -> Option<u64> {
    let inner = text.strip_prefix(b"]<")?.strip_suffix(b">")?;
    parse_len(inner.split(|&b| b == b'.').next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All events of a response as text, fed in pieces of `size` bytes.
    fn events(response: &[u8], size: usize) -> String {
        let mut parser = FetchParser::new();
        let mut log = String::new();
        let mut content = Vec::new();
        for piece in response.chunks(size) {
            let mut rest = piece;
            while !rest.is_empty() {
                let (used, event) = parser.next(rest);
                match event {
                    Event::Nothing => {}
                    Event::Content(bytes) => content.extend_from_slice(bytes),
                    Event::End(item) => {
                        log += &format!("{:?}={:?};", item, String::from_utf8_lossy(&content));
                        content.clear();
                    }
                    Event::Begin(_, len) => log += &format!("{len:?} "),
                    event => log += &format!("{event:?};"),
                }
                rest = &rest[used..];
                if log.contains("Lost") {
                    return log;
                }
            }
        }
        log
    }

    fn check(response: &[u8], expected: &str) {
        for size in 1..=response.len() {
            assert_eq!(events(response, size), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn whole_messages_in_every_form() {
        check(b"(BODY[] {5}\r\nab\r\nc)\r\n", "Some(5) Whole=\"ab\\r\\nc\";Complete;");
        check(b"(RFC822 \"a\\\"b\" UID 7)\r\n", "None Whole=\"a\\\"b\";Uid(7);Complete;");
        check(b"(UID 7 BODY[] NIL)\r\n", "Uid(7);Nil(Whole);Complete;");
        check(b"(BODY[] {0}\r\n UID 8)\r\n", "Some(0) Whole=\"\";Uid(8);Complete;");
        check(b"(BODY[] ~{3}\r\na\0b FLAGS (\\Seen))\r\n", "Some(3) Whole=\"a\\0b\";Complete;");
        check(b"(BODY[] \"\")\r\n", "None Whole=\"\";Complete;");
    }

    #[test]
    fn text_that_looks_like_protocol_is_only_octets() {
        check(
            b"(BODY[] {26}\r\n)\r\n* 1 FETCH (BODY[] {5}\r\n UID 9)\r\n",
            "Some(26) Whole=\")\\r\\n* 1 FETCH (BODY[] {5}\\r\\n\";Uid(9);Complete;",
        );
        check(b"(ENVELOPE (\"x)\" {3}\r\n)\r\n NIL) UID 2)\r\n", "Uid(2);Complete;");
    }

    #[test]
    fn names_with_brackets_quotes_and_literals() {
        check(b"(BODY[HEADER.FIELDS (X \"Y)] \\\"\" Z)] {2}\r\nab UID 3)\r\n", "Some(2) Other=\"ab\";Uid(3);Complete;");
        check(b"(BODY[HEADER.FIELDS ({3}\r\n])\" B)] \"q\" UID 3)\r\n", "None Other=\"q\";Uid(3);Complete;");
        let long = format!("(BODY[HEADER.FIELDS ({})] \"q\" BODY[] \"m\")\r\n", "Some-Field ".repeat(20));
        check(long.as_bytes(), "None Other=\"q\";None Whole=\"m\";Complete;");
    }

    #[test]
    fn pieces_headers_and_texts_are_told_apart() {
        for (name, item) in [
            ("BODY[]<0>", Item::Chunk(0)),
            ("BODY[]<65536>", Item::Chunk(65536)),
            ("body[]<0.65536>", Item::Chunk(0)),
            ("BODY[]<x>", Item::Piece),
            ("BODY[1]", Item::Piece),
            ("BODY[1.2]<5>", Item::Piece),
            ("BODY[TEXT]<0>", Item::Piece),
            ("BINARY[1]", Item::Piece),
            ("BODY[1.MIME]", Item::Other),
            ("BODY[1.HEADER]", Item::Other),
            ("BODY[HEADER]<0>", Item::Other),
            ("BODY[HEADER.FIELDS.NOT (X)]", Item::Other),
            ("BODY[header]", Item::Header),
            ("body.peek[]", Item::Whole),
            ("RFC822.PEEK", Item::Whole),
            ("RFC822.SIZE", Item::Other),
            ("RFC822.TEXT", Item::Text),
            ("BODYSTRUCTURE", Item::Other),
            ("INTERNALDATE", Item::InternalDate),
        ] {
            assert_eq!(classify(name.to_ascii_uppercase().as_bytes()), item, "{name}");
        }
    }

    #[test]
    fn nesting_has_no_stack() {
        let deep = [b"(BODYSTRUCTURE ".to_vec(), vec![b'('; 5000], vec![b')'; 5000], b" UID 4)\r\n".to_vec()].concat();
        assert_eq!(events(&deep, 100), "Uid(4);Complete;");
    }

    #[test]
    fn what_cannot_be_is_lost() {
        for response in [
            "x",
            "(UID)\r\n",
            "(BODY[] {9223372036854775808}\r\n",
            "(BODY[] {-1}\r\n",
            "(BODY[] \"a\r\n",
            "(UID 1\r\n",
            "(UID 1) x\r\n",
            "(FLAGS (\\Seen\r\n",
            "(BODY[HEADER\r\n",
            "(BODY[] {1+}\r\n",
        ] {
            assert!(events(response.as_bytes(), 3).contains("Lost"), "{response}");
        }
    }
}
