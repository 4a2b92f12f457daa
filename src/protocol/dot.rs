//! Dot-stuffing undone and the end found, for POP3's multi-line replies and SMTP's DATA; the bytes may come in any pieces.
//!
//! Only CRLF starts a line, and only `CRLF . CRLF` ends the data; the place where the data begins counts as the start of a
//! line. Of a line that starts with a dot that dot is dropped, whatever follows: `CRLF . CR x` means `CRLF CR x`. All other bytes are
//! what they are: bare CR and LF, NUL, 8-bit. The CRLF before the final dot is the message's own last line end.
//!
//! ```text
//!    Text ──CR──► Cr ──LF──► LineStart ──.──► Dot ──CR──► DotCr ──LF──► End
//!      │           │           ▲ begin         holds .      holds .CR
//!      └─LF─► Lax  └─.─►                       anything else: drop the dot, go on
//!              │  LaxDot
//!              └─.─►
//!
//!    state      │ CR      │ LF        │ NUL     │ .       │ other
//!    ───────────┼─────────┼───────────┼─────────┼─────────┼──────
//!    Text       │ Cr      │ Lax       │ Text    │ Text    │ Text
//!    Cr         │ Cr      │ LineStart │ Lax     │ LaxDot  │ Text
//!    LineStart  │ Cr      │ Lax       │ Lax     │ Dot     │ Text
//!    Lax        │ Cr      │ Lax       │ Lax     │ LaxDot  │ Text
//!    LaxDot     │ Cr (!)  │ Lax (!)   │ Text (!)│ Text    │ Text
//!    Dot        │ DotCr   │ Lax (!)   │ Text (!)│ Text    │ Text
//!    DotCr      │ Cr (!)  │ End       │ Lax (!) │ Text (!)│ Text (!)        (!) dubious
//! ```
//!
//! *Dubious* (strict mode only) is what a server that is less strict than RFC 5321 might take for the end while we do not: what
//! follows would be commands to it, a message that nobody kept ("SMTP smuggling"). It is a line of a lone dot where at least
//! one of the two line ends around it is not a proper CRLF but a bare LF, a bare CR, CR CR LF, LF CR, or one with NULs in it (there are
//! readers that drop NULs, and others for which a line ends at one). It is told before the byte that completes it is handed
//! out, so that this byte is never forwarded. A dot beside a blank, a second dot, a character that looks like a dot, and bare CR
//! or LF elsewhere are text.
//!
//! Never fails, holds back at most two bytes (`.` and CR), allocates nothing.

use memchr::memchr;

/// The bytes that end the data, without the CRLF before them, which belongs to the message.
pub const TERMINATOR: &[u8] = b".\r\n";

/// What [`Unstuffer::step`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A piece of the message: `raw` as it crosses the wire, to be forwarded as it is, and `message` as it is to be kept, which may be empty. May hold up to two bytes of earlier calls that turned out to be data.
    Data { raw: &'a [u8], message: &'a [u8] },
    /// The data has ended, the bytes behind are not part of it. Its [`TERMINATOR`] was in no [`Event::Data`].
    End,
    /// Strict mode: here is what a laxer reader might take for the end; the text says what. None of the bytes given has been
    /// taken. Told once: who goes on feeding gets the rest as in the lenient mode (to swallow all up to the true end).
    Dubious(&'static str),
    /// The bytes taken are held: more are needed to tell data from the terminator.
    Held,
}

/// The automaton. Made anew for each message.
#[derive(Debug, Clone)]
pub struct Unstuffer {
    state: State,
    strict: bool,
}

/// What stands before the next byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a line.
    Text,
    /// A CR, which may become the first half of a CRLF.
    Cr,
    /// The beginning, or CRLF.
    LineStart,
    /// What a lax reader may take for a line's start: a bare LF, or a line end with NULs in or behind it.
    Lax,
    /// A dot at a proper line start; held.
    Dot,
    /// A dot at a proper line start and a CR; both held.
    DotCr,
    /// A dot behind a lax line start or a bare CR; not held, it is data.
    LaxDot,
    /// Behind the terminator.
    Ended,
}

const DUBIOUS_BEHIND: &str = "a line of a lone dot that does not end in CRLF";
const DUBIOUS_BEFORE: &str = "a line of a lone dot behind a line that does not end in CRLF";

impl Unstuffer {
    /// For POP3: never says [`Event::Dubious`].
    pub fn lenient() -> Unstuffer {
        Unstuffer { state: State::LineStart, strict: false }
    }

    /// For SMTP's DATA.
    pub fn strict() -> Unstuffer {
        Unstuffer { state: State::LineStart, strict: true }
    }

    /// Takes some of the bytes (which must not be empty) and says what they are. Returns how many were taken, possibly none; the rest is to be given
    /// again. Not to be called behind [`Event::End`].
    pub fn step<'a>(&mut self, bytes: &'a [u8]) -> (usize, Event<'a>) {
        let Some(&first) = bytes.first() else { return (0, Event::Held) };
        match (self.state, first) {
            (State::Ended, _) => (0, Event::End),
            (State::LineStart, b'.') => self.line_of_a_dot(bytes),
            (State::Dot, b'\r') => {
                self.state = State::DotCr;
                (1, Event::Held)
            }
            (State::DotCr, b'\n') => {
                self.state = State::Ended;
                (1, Event::End)
            }
            (State::Dot, b'\n' | 0) | (State::DotCr, _) if self.strict => self.dubious(DUBIOUS_BEHIND),
            (State::LaxDot, b'\r' | b'\n' | 0) if self.strict => self.dubious(DUBIOUS_BEFORE),
            // What was held is data, but for the dot. The byte given is looked at in the next step.
            (State::Dot, _) => {
                // A bare LF is a lax line start also right behind the dot; all else is text.
                self.state = State::Text;
                (0, Event::Data { raw: b".", message: b"" })
            }
            (State::DotCr, _) => {
                self.state = State::Cr;
                (0, Event::Data { raw: b".\r", message: b"\r" })
            }
            _ => self.run(bytes),
        }
    }

    /// The bytes taken that no [`Event::Data`] has shown yet: a beginning of the [`TERMINATOR`]. Where the peer goes away now, these
    /// never were part of a message.
    pub fn held(&self) -> &'static [u8] {
        match self.state {
            State::Dot => b".",
            State::DotCr => b".\r",
            _ => b"",
        }
    }

    /// A line that starts with a dot: all of what is seen in the most usual cases, else one byte after the other.
    fn line_of_a_dot<'a>(&mut self, bytes: &'a [u8]) -> (usize, Event<'a>) {
        match bytes[1..] {
            [b'\r', b'\n', ..] => {
                self.state = State::Ended;
                (TERMINATOR.len(), Event::End)
            }
            [] | [b'\r' | b'\n' | 0, ..] => {
                self.state = State::Dot;
                (1, Event::Held)
            }
            [..] => {
                self.state = State::Text;
                let len = 1 + self.same(&bytes[1..]);
                (len, Event::Data { raw: &bytes[..len], message: &bytes[1..len] })
            }
        }
    }

    fn dubious(&mut self, what: &'static str) -> (usize, Event<'static>) {
        self.strict = false;
        (0, Event::Dubious(what))
    }

    fn run<'a>(&mut self, bytes: &'a [u8]) -> (usize, Event<'a>) {
        let len = self.same(bytes);
        (len, Event::Data { raw: &bytes[..len], message: &bytes[..len] })
    }

    /// Takes the longest piece in which wire and message are the same: up to the next dot that starts a line, in strict mode also up to
    /// the byte behind a dot that starts a lax line.
    fn same(&mut self, bytes: &[u8]) -> usize {
        let mut next = bytes.starts_with(b".").then_some(0).or_else(|| dot_behind_control(bytes, 1));
        while let Some(dot) = next {
            match after(self.state, &bytes[..dot]) {
                State::LineStart => {
                    self.state = State::LineStart;
                    return dot;
                }
                State::Lax | State::Cr if self.strict => {
                    self.state = State::LaxDot;
                    return dot + 1;
                }
                _ => next = dot_behind_control(bytes, dot + 1),
            }
        }
        self.state = after(self.state, bytes);
        bytes.len()
    }
}

/// The first dot, not before `from` (which is not 0), behind an octet that is no higher than CR: all that ends a line to anybody is among these. Looks
/// at dots only, not at lines: they are rarer in any kind of mail.
fn dot_behind_control(bytes: &[u8], from: usize) -> Option<usize> {
    const WINDOW: usize = 1024;
    let mut at = from;
    while at < bytes.len() {
        let end = bytes.len().min(at + WINDOW);
        // What is large has none mostly: base64.
        if let Some(first) = memchr(b'.', &bytes[at..end])
            && let Some(found) = in_blocks(bytes, at + first, end)
        {
            return Some(found);
        }
        at = end;
    }
    None
}

/// The same in a text full of dots: blocks that the compiler can look through at once, then the bytes of one.
fn in_blocks(bytes: &[u8], from: usize, end: usize) -> Option<usize> {
    const BLOCK: usize = 32;
    let is_it = |byte: u8, before: u8| (byte == b'.') & (before <= b'\r');
    let mut at = from;
    for (block, before) in bytes[from..end].chunks_exact(BLOCK).zip(bytes[from - 1..end].chunks_exact(BLOCK)) {
        if block.iter().zip(before).fold(false, |found, (&byte, &before)| found | is_it(byte, before)) {
            break;
        }
        at += BLOCK;
    }
    (at..end).find(|&at| is_it(bytes[at], bytes[at - 1]))
}

/// The state behind these bytes of data, read from their end. Dots are text here.
fn after(before: State, bytes: &[u8]) -> State {
    let text = bytes.len() - bytes.iter().rev().take_while(|&&b| b == 0).count();
    let (shown, nuls) = (&bytes[..text], text < bytes.len());
    let state = match shown {
        [] => before,
        [b'\n'] if before == State::Cr => State::LineStart,
        [.., b'\r', b'\n'] => State::LineStart,
        [.., b'\n'] => State::Lax,
        [.., b'\r'] => State::Cr,
        _ => State::Text,
    };
    match state {
        State::LineStart | State::Cr if nuls => State::Lax,
        // A dot of an earlier call, and NULs or nothing behind it.
        State::LaxDot => State::Text,
        state => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All that came out, pieces joined.
    #[derive(Debug, Default, PartialEq, Eq, Clone)]
    struct Outcome {
        raw: Vec<u8>,
        message: Vec<u8>,
        end: Option<usize>,
        /// Where in the input it was told, how much had been handed out by then.
        dubious: Option<(usize, Vec<u8>)>,
        held: Vec<u8>,
    }

    fn run<'a>(mut dot: Unstuffer, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut place = 0;
        for mut piece in pieces {
            while !piece.is_empty() && outcome.end.is_none() {
                let (taken, event) = dot.step(piece);
                piece = &piece[taken..];
                place += taken;
                match event {
                    Event::Data { raw, message } => {
                        outcome.raw.extend_from_slice(raw);
                        outcome.message.extend_from_slice(message);
                    }
                    Event::End => outcome.end = Some(place),
                    Event::Dubious(_) => {
                        assert_eq!(taken, 0);
                        assert!(outcome.dubious.is_none(), "told twice");
                        outcome.dubious = Some((place, outcome.raw.clone()));
                    }
                    Event::Held => assert!(piece.is_empty() || taken > 0),
                }
            }
        }
        outcome.held = dot.held().to_vec();
        outcome
    }

    fn whole(dot: Unstuffer, bytes: &[u8]) -> Outcome {
        run(dot, [bytes])
    }

    #[test]
    fn a_plain_message() {
        let outcome = whole(Unstuffer::lenient(), b"a: b\r\n\r\ntext\r\n.\r\n+OK");
        assert_eq!(outcome.raw, b"a: b\r\n\r\ntext\r\n");
        assert_eq!(outcome.message, outcome.raw);
        assert_eq!(outcome.end, Some(17));
    }

    #[test]
    fn an_empty_message() {
        let outcome = whole(Unstuffer::strict(), b".\r\n");
        assert_eq!((outcome.raw, outcome.message, outcome.end), (vec![], vec![], Some(3)));
    }

    #[test]
    fn one_dot_is_dropped_at_each_lines_start_and_nowhere_else() {
        let outcome = whole(Unstuffer::strict(), b"..first\r\n..\r\n...\r\n.x\r\na.b.\r\n. \r\n.\r\n");
        assert_eq!(outcome.message, b".first\r\n.\r\n..\r\nx\r\na.b.\r\n \r\n");
        assert_eq!(outcome.raw, b"..first\r\n..\r\n...\r\n.x\r\na.b.\r\n. \r\n");
        assert_eq!(outcome.dubious, None);
    }

    #[test]
    fn only_crlf_starts_a_line() {
        let outcome = whole(Unstuffer::lenient(), b"a\n.b\r.c\n.\nd\r\r\n..e\r\n.\r\n");
        assert_eq!(outcome.message, b"a\n.b\r.c\n.\nd\r\r\n.e\r\n");
    }

    #[test]
    fn crlf_dot_cr_and_another_byte_drops_the_dot_and_keeps_the_cr() {
        let outcome = whole(Unstuffer::lenient(), b"a\r\n.\rX\r\n.\r\r\n.\r\n");
        assert_eq!(outcome.message, b"a\r\n\rX\r\n\r\r\n");
        assert_eq!(outcome.raw, b"a\r\n.\rX\r\n.\r\r\n");
    }

    #[test]
    fn the_terminators_beginning_is_held() {
        for (text, held) in [(&b"a\r\n"[..], &b""[..]), (b"a\r\n.", b"."), (b"a\r\n.\r", b".\r"), (b"a\r\n.a", b"")] {
            assert_eq!(whole(Unstuffer::lenient(), text).held, held);
        }
    }

    /// How `smuggling` variants are to be taken, in strict mode, behind a text and before a smuggled command.
    #[derive(Debug, PartialEq, Eq, Clone, Copy)]
    enum Taken {
        End,
        Dubious,
        Text,
    }
    use Taken::{Dubious, End, Text};

    /// Every way we know of to write something like an end of data.
    const VARIANTS: &[(&[u8], Taken)] = &[
        (b"\r\n.\r\n", End),
        (b"\r\n.\n", Dubious),
        (b"\r\n.\r", Dubious),
        (b"\r\n.\r\r\n", Dubious),
        (b"\r\n.\n\r", Dubious),
        (b"\n.\r\n", Dubious),
        (b"\n.\n", Dubious),
        (b"\n.\r", Dubious),
        (b"\n.\r\r\n", Dubious),
        (b"\n.\n\r", Dubious),
        (b"\r.\r\n", Dubious),
        (b"\r.\n", Dubious),
        (b"\r.\r", Dubious),
        (b"\r.\r\r\n", Dubious),
        (b"\r.\n\r", Dubious),
        // A stray CR in front of a proper end: the end stands.
        (b"\r\r\n.\r\n", End),
        (b"\r\r\n.\n", Dubious),
        (b"\r\r\n.\r", Dubious),
        (b"\r\r\n.\r\r\n", Dubious),
        (b"\r\r\n.\n\r", Dubious),
        (b"\n\r.\r\n", Dubious),
        (b"\n\r.\n", Dubious),
        (b"\n\r.\r", Dubious),
        (b"\n\r.\r\r\n", Dubious),
        (b"\n\r.\n\r", Dubious),
        (b"\r\n\r.\r\n", Dubious),
        (b"\r\n\r.\n", Dubious),
        (b"\r\n\r.\r", Dubious),
        (b"\r\n\r.\r\r\n", Dubious),
        (b"\r\n\r.\n\r", Dubious),
        // For a reader that drops NULs, or for which they end a line, these are ends.
        (b"\r\n\0.\r\n", Dubious),
        (b"\r\n.\0\r\n", Dubious),
        (b"\r\0\n.\r\n", Dubious),
        (b"\r\n.\r\0\n", Dubious),
        (b"\r\0\0\n\0\0.\r\n", Dubious),
        (b"\0\r\n.\r\n", End),
        // Text, whatever it looks like.
        (b"\r\n. \r\n", Text),
        (b"\r\n .\r\n", Text),
        (b"\r\n.\t\r\n", Text),
        (b"\r\n\t.\r\n", Text),
        (b"\r\n.\x0b\r\n", Text),
        (b"\r\n\x0b.\r\n", Text),
        (b"\r\n.\x0c\r\n", Text),
        (b"\r\n\x0c.\r\n", Text),
        (b"\r\n.\x85\r\n", Text),
        (b"\r\n\x85.\r\n", Text),
        (b"\r\n.\xc2\x85\r\n", Text),
        (b"\r\n\xc2\x85.\r\n", Text),
        (b"\r\n.\xe2\x80\xa8\r\n", Text),
        (b"\r\n\xe2\x80\xa8.\r\n", Text),
        (b"\r\n.\x08\r\n", Text),
        (b"\r\n\x08.\r\n", Text),
        (b"\r\n.\x7f\r\n", Text),
        (b"\r\n\x7f.\r\n", Text),
        (b"\r\n.\x1a\r\n", Text),
        (b"\r\n\x1a.\r\n", Text),
        (b"\r\n\xef\xbc\x8e\r\n", Text),
        (b"\r\n\xae\r\n", Text),
        (b"\x8d\x8a.\x8d\x8a", Text),
        (b"\r\n..\r\n", Text),
        (b"\r\n...\r\n", Text),
        (b"\r\n.\rX\r\n", Dubious),
        (b"a\nb\rc\n\r\n", Text),
        (b"\n..\n", Text),
        (b"\n.a\n", Text),
    ];

    /// The same at the very beginning of the data, where DATA's own line end counts.
    const FIRST: &[(&[u8], Taken)] = &[
        (b".\r\n", End),
        (b".\n", Dubious),
        (b".\r", Dubious),
        (b"\n.\n", Dubious),
        (b"\r.\r\n", Dubious),
        (b"\0.\r\n", Dubious),
        (b"..\r\n", Text),
    ];

    /// What the strict automaton says first of `bytes` with a smuggled command behind it.
    fn verdict(text: &[u8], variant: &[u8]) -> Taken {
        let input = [text, variant, b"MAIL FROM:<smuggled@example.org>\r\n"].concat();
        let one = run(Unstuffer::strict(), [&input[..]]);
        assert_eq!(one, run(Unstuffer::strict(), input.chunks(1)), "{variant:?}");
        for at in 0..variant.len() {
            let (before, behind) = input.split_at(text.len() + at);
            assert_eq!(one, run(Unstuffer::strict(), [before, behind]), "{variant:?} split at {at}");
        }
        match (one.end, one.dubious) {
            (Some(end), None) => {
                assert_eq!(end, text.len() + variant.len());
                End
            }
            (None, Some((place, forwarded))) => {
                // Never so much that a lax reader could see an end.
                assert!(place <= text.len() + variant.len(), "{variant:?}");
                assert!(!forwarded.ends_with(b".\r") && !forwarded.ends_with(b".\n"), "{variant:?}");
                Dubious
            }
            (None, None) => Text,
            (Some(_), Some(_)) => panic!("{variant:?}: both"),
        }
    }

    #[test]
    fn every_variant_of_an_end_is_decided() {
        for &(variant, taken) in VARIANTS {
            assert_eq!(verdict(b"Subject: x\r\n\r\ntext", variant), taken, "{variant:?}");
        }
        for &(variant, taken) in FIRST {
            assert_eq!(verdict(b"", variant), taken, "{variant:?} at the beginning");
        }
    }

    #[test]
    fn the_length_of_lines_decides_nothing() {
        for (len, variant, taken) in [
            (998, &b"\r\n.\n"[..], Dubious),
            (4093, b"\n.\nBBBBBBBBBB", Dubious),
            (8190, b"\r\n.\r\n", End),
            (65534, b"\r\n.\r\n", End),
            // Cut into lines of 2,048 octets the dot would stand alone; nobody cuts so who looks for an end behind CRLF.
            (2048, b".\r\n", Text),
        ] {
            let mut text = vec![b'A'; len];
            text.splice(0..0, *b"Subject: x\r\n\r\n");
            assert_eq!(verdict(&text, variant), taken, "{len}");
        }
    }

    #[test]
    fn who_goes_on_after_a_dubious_end_finds_the_true_one() {
        let outcome = whole(Unstuffer::strict(), b"a\r\n.\nMAIL\n.\r\n.\r\n");
        assert_eq!(outcome.dubious, Some((4, b"a\r\n".to_vec())));
        assert_eq!(outcome.end, Some(16));
        assert_eq!(outcome.message, b"a\r\n\nMAIL\n.\r\n");
    }

    /// The table above, a byte at a time, written as a second opinion.
    fn model(strict: bool, input: &[u8]) -> Outcome {
        let mut outcome = Outcome::default();
        let (mut state, mut strict) = (State::LineStart, strict);
        for (place, &byte) in input.iter().enumerate() {
            let lone = match state {
                State::Dot => matches!(byte, b'\n' | 0),
                State::DotCr => byte != b'\n',
                State::LaxDot => matches!(byte, b'\r' | b'\n' | 0),
                _ => false,
            };
            if strict && lone {
                outcome.dubious = Some((place, outcome.raw.clone()));
                strict = false;
            }
            outcome.held.clear();
            match (state, byte) {
                (State::LineStart, b'.') => {
                    outcome.held = b".".to_vec();
                    state = State::Dot;
                    continue;
                }
                (State::Dot, b'\r') => {
                    outcome.held = b".\r".to_vec();
                    state = State::DotCr;
                    continue;
                }
                (State::DotCr, b'\n') => {
                    outcome.end = Some(place + 1);
                    return outcome;
                }
                (State::Dot, _) => {
                    outcome.raw.push(b'.');
                    state = State::Text;
                }
                (State::DotCr, _) => {
                    outcome.raw.extend(b".\r");
                    outcome.message.push(b'\r');
                    state = State::Cr;
                }
                _ => {}
            }
            outcome.raw.push(byte);
            outcome.message.push(byte);
            state = match (state, byte) {
                (State::Cr, b'\n') => State::LineStart,
                (_, b'\r') => State::Cr,
                (_, b'\n') => State::Lax,
                (State::Cr | State::LineStart | State::Lax, 0) => State::Lax,
                (State::Cr | State::Lax, b'.') if strict => State::LaxDot,
                _ => State::Text,
            };
        }
        outcome
    }

    /// The text is looked through in windows, and these in blocks: there is no place in them where a dot, or what stands before it, is overlooked.
    #[test]
    fn a_dot_is_found_wherever_it_stands() {
        for filling in [b'a', b'.'] {
            for at in 0..2200 {
                for line_start in [&b"\r\n..x"[..], b"\n.\n"] {
                    let input = [&vec![filling; at][..], line_start, &[filling; 40]].concat();
                    for dot in [Unstuffer::strict(), Unstuffer::lenient()] {
                        let strict = dot.strict;
                        assert_eq!(whole(dot, &input), model(strict, &input), "{at} {line_start:?} {strict}");
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_pieces_give_what_the_table_says(
            pieces in prop::collection::vec("[\r\n.\0a]{0,6}|(\r\n)?\\.?(\r\n)?|[a-z.]{30,70}", 0..20),
            strict: bool,
        ) {
            let dot = if strict { Unstuffer::strict() } else { Unstuffer::lenient() };
            let input = pieces.concat().into_bytes();
            let expected = model(strict, &input);
            prop_assert_eq!(&run(dot.clone(), pieces.iter().map(|piece| piece.as_bytes())), &expected);
            prop_assert_eq!(&whole(dot.clone(), &input), &expected);
            prop_assert_eq!(&run(dot, input.chunks(1)), &expected);
        }

        #[test]
        fn stuffing_is_undone(text in "([.a]{0,3}\r\n)*") {
            let mut wire = Vec::new();
            for line in text.split_inclusive("\r\n") {
                if line.starts_with('.') {
                    wire.push(b'.');
                }
                wire.extend_from_slice(line.as_bytes());
            }
            let len = wire.len();
            wire.extend_from_slice(TERMINATOR);
            let outcome = whole(Unstuffer::strict(), &wire);
            prop_assert_eq!(outcome.message, text.as_bytes());
            prop_assert_eq!(&outcome.raw, &wire[..len]);
            prop_assert_eq!(outcome.end, Some(wire.len()));
            prop_assert_eq!(outcome.dubious, None);
        }
    }
}
