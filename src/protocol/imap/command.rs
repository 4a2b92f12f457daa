//! A client's command: its text and literals, taken apart as far as a proxy has to (RFC 9051, section 9).
//!
//! Never judges grammar: what it cannot read is `None`, and the server's own answer decides. Knows where a literal may
//! stand (at a token's start, outside quotes), so that text such as a password ending in `{1}` is never taken for one.

use crate::protocol::Secret;

/// `{n}`, `{n+}`, `~{n}`, `~{n+}` at the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    /// Octets.
    pub(super) len: u64,
    /// The sender waits for `+` before the octets (RFC 9051, section 4.3); never with LITERAL+ (RFC 7888).
    pub(super) synchronizing: bool,
}

/// What stands at the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnd {
    Plain,
    Literal(Literal),
    /// Looks like a literal with a length that no number can hold.
    Absurd {
        synchronizing: bool,
    },
}

/// Looks for a literal at the end of a line (without its CRLF) that continues tokens; `quoted` text cannot hold one.
pub(super) fn line_end(text: &[u8]) -> LineEnd {
    let Some((marker_at, ..)) = marker(text) else { return LineEnd::Plain };
    if ends_in_quotes(&text[..marker_at]) { LineEnd::Plain } else { tail_end(text) }
}

/// The same for a line of the client's. What a careless server may read as a length, and is none (`{+5}`, `{ 5}`, `{5x}`, `{5} ` with a blank behind it), is absurd: what follows
/// would be an argument to it and commands to us. No grammar has it.
pub(super) fn client_line_end(text: &[u8]) -> LineEnd {
    let trimmed = text.trim_ascii_end();
    if trimmed.len() < text.len() {
        return match client_line_end(trimmed) {
            LineEnd::Literal(Literal { synchronizing, .. }) => LineEnd::Absurd { synchronizing },
            end => end,
        };
    }
    let end = line_end(text);
    let Some(inner) = text.strip_suffix(b"}") else { return end };
    let Some(at) = inner.iter().rposition(|&b| b == b'{') else { return end };
    let length = inner[at + 1..].trim_ascii_start();
    let length = length.strip_prefix(b"+").or(length.strip_prefix(b"-")).unwrap_or(length);
    let is_odd = length.is_empty() || length[0].is_ascii_digit();
    let before = text[..at].strip_suffix(b"~").unwrap_or(&text[..at]);
    let at_start = matches!(before.last(), None | Some(b' ' | b'(' | b'['));
    match end {
        LineEnd::Plain if is_odd && at_start && !ends_in_quotes(&text[..at]) => {
            LineEnd::Absurd { synchronizing: !inner.trim_ascii_end().ends_with(b"+") }
        }
        end => end,
    }
}

/// The same for the last octets of a line of the server's, of which it is not known any more where quotes began: a quoted string
/// is closed in its line, so none can hold what stands at its very end.
pub(super) fn tail_end(text: &[u8]) -> LineEnd {
    let Some((marker_at, digits, synchronizing)) = marker(text) else { return LineEnd::Plain };
    let before = text[..marker_at].strip_suffix(b"~").unwrap_or(&text[..marker_at]);
    if !matches!(before.last(), None | Some(b' ' | b'(' | b'[')) {
        return LineEnd::Plain;
    }
    match parse_len(digits) {
        Some(len) => LineEnd::Literal(Literal { len, synchronizing }),
        None => LineEnd::Absurd { synchronizing },
    }
}

/// The place of `{`, the digits, and whether there is no `+`.
fn marker(text: &[u8]) -> Option<(usize, &[u8], bool)> {
    let inner = text.strip_suffix(b"}")?;
    let at = inner.iter().rposition(|&b| b == b'{')?;
    let (digits, synchronizing) = match inner[at + 1..].strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (&inner[at + 1..], true),
    };
    (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then_some((at, digits, synchronizing))
}

/// A length that is a `number64` (RFC 9051, section 9: below 2^63).
pub(super) fn parse_len(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse::<u64>().ok().filter(|&len| len <= i64::MAX as u64)
}

/// Whether a quoted string that began in this text is still open at its end. A quote opens at a token's start only.
fn ends_in_quotes(text: &[u8]) -> bool {
    let (mut open, mut escaped, mut previous) = (false, false, b' ');
    for &byte in text {
        if open {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => open = false,
                _ => {}
            }
        } else if byte == b'"' && matches!(previous, b' ' | b'(' | b'[') {
            open = true;
        }
        previous = byte;
    }
    open
}

/// One piece of a command: a line's text without its ending and literal marker, or a literal's octets.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Part {
    Text(Vec<u8>),
    Literal(Vec<u8>),
}

impl Part {
    pub(super) fn text_of(line: &[u8], end: LineEnd) -> Part {
        let text = match end {
            LineEnd::Plain => line,
            _ => {
                let at = marker(line).map_or(line.len(), |(at, ..)| at);
                line[..at].strip_suffix(b"~").unwrap_or(&line[..at])
            }
        };
        Part::Text(text.to_vec())
    }

    /// Octets, and what an empty one takes: a limit on octets alone would let any number of empty ones through.
    pub(super) fn cost(&self) -> usize {
        let (Part::Text(bytes) | Part::Literal(bytes)) = self;
        bytes.len() + size_of::<Part>()
    }

    /// Overwrites the octets: they may have held a credential.
    pub(super) fn wipe(&mut self) {
        let (Part::Text(bytes) | Part::Literal(bytes)) = self;
        bytes.fill(0);
        std::hint::black_box(&*bytes);
        bytes.clear();
    }
}

/// Reads arguments one after the other.
#[derive(Clone)]
pub(super) struct Args<'a> {
    parts: &'a [Part],
    /// In the first of `parts`.
    at: usize,
}

impl<'a> Args<'a> {
    pub(super) fn new(parts: &'a [Part]) -> Args<'a> {
        Args { parts, at: 0 }
    }

    /// The next argument as an octet string: an atom (anything up to a blank), a quoted string or a literal.
    pub(super) fn string(&mut self) -> Option<Vec<u8>> {
        match self.rest()? {
            Part::Literal(bytes) => {
                self.parts = &self.parts[1..];
                Some(bytes.clone())
            }
            Part::Text(text) => {
                let rest = &text[self.at..];
                let (value, used) = if rest.first() == Some(&b'"') { unquote(rest)? } else { atom(rest) };
                self.at += used;
                (used > 0).then_some(value)
            }
        }
    }

    /// The next argument as a password, if it is the last one.
    pub(super) fn last(&mut self) -> Option<Secret> {
        let text = Secret::new(self.string()?);
        if self.rest().is_some() { None } else { Secret::password(text.bytes()) }
    }

    /// The next argument in upper case.
    pub(super) fn word(&mut self) -> Option<Vec<u8>> {
        self.string().map(|word| word.to_ascii_uppercase())
    }

    /// The next is a parenthesised list: its text without the parentheses, where it has no literals.
    pub(super) fn list(&mut self) -> Option<&'a [u8]> {
        let Part::Text(text) = self.rest()? else { return None };
        let rest = text[self.at..].strip_prefix(b"(")?;
        let (mut depth, mut quoted, mut escaped) = (1, false, false);
        for (at, &byte) in rest.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'(' if !quoted => depth += 1,
                b')' if !quoted => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                self.at += at + 2;
                return Some(&rest[..at]);
            }
        }
        None
    }

    /// What is left of the present line's text.
    pub(super) fn remaining_text(&mut self) -> &'a [u8] {
        match self.rest() {
            Some(Part::Text(text)) => &text[self.at..],
            _ => b"",
        }
    }

    /// Skips blanks and finished texts.
    fn rest(&mut self) -> Option<&'a Part> {
        loop {
            match self.parts.first()? {
                Part::Text(text) => {
                    let blanks = text[self.at..].iter().take_while(|&&b| b == b' ').count();
                    self.at += blanks;
                    if self.at < text.len() {
                        return self.parts.first();
                    }
                    self.parts = &self.parts[1..];
                    self.at = 0;
                }
                Part::Literal(_) => return self.parts.first(),
            }
        }
    }
}

fn atom(text: &[u8]) -> (Vec<u8>, usize) {
    let len = text.iter().position(|&b| b == b' ').unwrap_or(text.len());
    (text[..len].to_vec(), len)
}

/// A quoted string at the start: its value, and how many bytes it takes with its quotes.
fn unquote(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut value = Vec::new();
    let mut bytes = text.iter().enumerate().skip(1);
    while let Some((at, &byte)) = bytes.next() {
        match byte {
            b'"' => return Some((value, at + 1)),
            b'\\' => value.push(*bytes.next()?.1),
            _ => value.push(byte),
        }
    }
    None
}

/// A tag as the client may choose it (RFC 9051, section 9, `tag`), of a length that can be remembered.
pub(super) fn is_tag(tag: &[u8]) -> bool {
    (1..=TAG_LEN_MAX).contains(&tag.len()) && tag.iter().all(|&b| b.is_ascii_graphic() && !b"(){%*\"\\+".contains(&b))
}

const TAG_LEN_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(len: u64, synchronizing: bool) -> LineEnd {
        LineEnd::Literal(Literal { len, synchronizing })
    }

    #[test]
    fn literals_stand_at_a_tokens_start_outside_quotes() {
        for (line, end) in [
            (&b"a LOGIN {5}"[..], literal(5, true)),
            (b"a LOGIN joe {5+}", literal(5, false)),
            (b"a APPEND x UTF8 (~{12+}", literal(12, false)),
            (b"a APPEND x ~{12}", literal(12, true)),
            (b" {007}", literal(7, true)),
            (b"{3}", literal(3, true)),
            (b"a UID FETCH 1 BODY[HEADER.FIELDS ({4}", literal(4, true)),
            (b"a LOGIN joe pass{1}", LineEnd::Plain),
            (b"a LOGIN joe \"pass {1}", LineEnd::Plain),
            (b"a LOGIN \"joe\" \"pass {1}\"", LineEnd::Plain),
            (b"a LOGIN \"jo\\\"e\" {1}", literal(1, true)),
            (b"a LOGIN jo\"e {1}", literal(1, true)),
            (b"a X {}", LineEnd::Plain),
            (b"a X {-5}", LineEnd::Plain),
            (b"a X {5++}", LineEnd::Plain),
            (b"a X {9223372036854775807}", literal(i64::MAX as u64, true)),
            (b"a X {9223372036854775808}", LineEnd::Absurd { synchronizing: true }),
            (b"a X {18446744073709551616+}", LineEnd::Absurd { synchronizing: false }),
        ] {
            assert_eq!(line_end(line), end, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn what_a_careless_server_takes_for_a_literal_is_absurd() {
        let odd = |line: &str, synchronizing| {
            assert_eq!(client_line_end(line.as_bytes()), LineEnd::Absurd { synchronizing }, "{line}");
        };
        for line in [
            "{}", "{-5}", "{+5}", "{ 5}", "{5 }", "{5x}", "{0x5}", "{1,000}", "~{-5}", "({5.0}", "{5+x}", "{5} ",
            "{5}\t", "{-5} ",
        ] {
            odd(&format!("a APPEND x {line}"), true);
        }
        for line in ["{+}", "{+5+}", "{5++}", "{5+ }", "{5 +}", "{5+} ", "{5+}  "] {
            odd(&format!("a APPEND x {line}"), false);
        }
        for line in [
            "a LOGIN joe {pass}",
            "a LOGIN joe pass{}",
            "a LOGIN joe pass{} ",
            "a LOGIN joe \"{-5}",
            "a X \"{}\"",
            "a X \"{}\" ",
            "a X y ",
        ] {
            assert_eq!(client_line_end(line.as_bytes()), LineEnd::Plain, "{line}");
        }
        assert_eq!(client_line_end(b"a X {5+}"), literal(5, false));
    }

    #[test]
    fn arguments_of_all_kinds_are_read() {
        let parts = [
            Part::Text(b"a LOGIN \"jo\\\"e x\" ".to_vec()),
            Part::Literal(b"pw {1}".to_vec()),
            Part::Text(b" (a (b \")\") c) rest".to_vec()),
        ];
        let mut args = Args::new(&parts);
        assert_eq!(args.word().unwrap(), b"A");
        assert_eq!(args.word().unwrap(), b"LOGIN");
        assert_eq!(args.string().unwrap(), b"jo\"e x");
        assert_eq!(args.string().unwrap(), b"pw {1}");
        assert_eq!(args.list().unwrap(), b"a (b \")\") c");
        assert_eq!(args.remaining_text(), b"rest");
        assert_eq!(args.string().unwrap(), b"rest");
        assert_eq!(args.string(), None);
        assert_eq!(Args::new(&[Part::Text(b"\"open".to_vec())]).string(), None);
    }
}
