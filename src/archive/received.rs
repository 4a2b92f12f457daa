//! The date of a message's first `Received:` field (RFC 5321, section 4.4), read while the message streams by.
//!
//! Sees at most the first 64 KiB and holds at most that field. Never fails: a date that cannot be read is no date.

use chrono::DateTime;

use crate::date::unix_time;

/// Where a header must have ended or shown its field, octets.
const SCAN_LEN_MAX: usize = 64 * 1024;

const NAME: &[u8] = b"received";

/// Watches a header go by.
#[derive(Debug)]
pub(super) struct Received {
    state: State,
    scanned: usize,
    /// The field's body so far, unfolded.
    body: Vec<u8>,
}

/// ```text
///            ┌──── LF ─────┐
///            ▼             │
/// LineStart(0..8) ──x──► Other
///    │   │ 8 of NAME
///    │   └──► Colon ──':'──► Body ──LF──► Folded? ──blank──► Body
///    │ CR                                   └── else ──► Done
///    └──► BlankLine? ──LF──► Done (no such field)
/// ```
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// So many characters of the name have matched.
    LineStart(usize),
    /// After the name: the colon, or blanks before it (obsolete syntax, RFC 5322, section 4.5).
    Colon,
    /// In a line of another field.
    Other,
    /// A line began with CR.
    BlankLine,
    Body,
    /// A line of the field has ended; a blank continues it.
    Folded,
    Done,
}

impl Received {
    pub(super) fn new() -> Received {
        Received { state: State::LineStart(0), scanned: 0, body: Vec::new() }
    }

    /// Takes the next bytes of the message.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while self.state != State::Done {
            // Of most lines only their end matters, of the field's all that stands before it.
            let skipped = match self.state {
                State::Other | State::Body => memchr::memchr(b'\n', rest).unwrap_or(rest.len()),
                _ => 0,
            };
            let (line, ending) = rest.split_at(skipped);
            let next = ending.split_first();
            self.scanned += skipped + usize::from(next.is_some());
            if self.scanned > SCAN_LEN_MAX {
                // Half a field has no date behind its last semicolon.
                self.body = Vec::new();
                self.state = State::Done;
                return;
            }
            if self.state == State::Body {
                self.body.extend_from_slice(line);
            }
            let Some((&byte, after)) = next else { return };
            rest = after;
            self.step(byte);
        }
    }

    fn step(&mut self, byte: u8) {
        self.state = match (&self.state, byte) {
            (State::LineStart(0) | State::BlankLine, b'\n') => State::Done,
            (State::LineStart(0), b'\r') => State::BlankLine,
            (State::LineStart(n), _) if byte.eq_ignore_ascii_case(&NAME[*n]) => {
                if n + 1 == NAME.len() {
                    State::Colon
                } else {
                    State::LineStart(n + 1)
                }
            }
            (State::Colon, b' ' | b'\t') => State::Colon,
            (State::Colon, b':') => State::Body,
            (State::LineStart(_) | State::Colon | State::Other, b'\n') => State::LineStart(0),
            (State::LineStart(_) | State::Colon | State::Other | State::BlankLine, _) => State::Other,
            (State::Body, b'\n') => State::Folded,
            (State::Folded, b' ' | b'\t') | (State::Body, _) => {
                self.body.push(byte);
                State::Body
            }
            (State::Folded, _) | (State::Done, _) => State::Done,
        }
    }

    /// The date, Unix time in seconds, of the field seen so far.
    pub(super) fn date(&self) -> Option<i64> {
        quick(&self.body).or_else(|| self.careful())
    }

    fn careful(&self) -> Option<i64> {
        // A header may end with the message; and non-ASCII has no place in a date.
        let body: String = self.body.iter().map(|&b| if b.is_ascii() { char::from(b) } else { '?' }).collect();
        // A `;` in a comment does not count. Where parentheses do not pair up, they are text.
        parse(&without_comments(&body)).or_else(|| parse(&body))
    }
}

/// The same for what nearly all fields look like: nothing quoted, and at the end `; Tue, 5 Mar 2024 10:20:30 +0000`, or that and one comment. None for all else.
fn quick(body: &[u8]) -> Option<i64> {
    if memchr::memchr2(b'"', b'\\', body).is_some() {
        return None;
    }
    let end = memchr::memrchr(b';', body)?;
    let depth = body[..end].iter().fold(0_usize, |depth, byte| match byte {
        b'(' => depth + 1,
        b')' => depth.saturating_sub(1),
        _ => depth,
    });
    if depth > 0 {
        return None;
    }
    let mut date = body[end + 1..].trim_ascii_end();
    if let Some(at) = memchr::memchr2(b'(', b')', date) {
        let (text, comment) = date.split_at(at);
        if comment[0] != b'(' || memchr::memchr2(b'(', b')', &comment[1..]) != comment.len().checked_sub(2) {
            return None;
        }
        date = text;
    }
    let date = memchr::memrchr(b',', date).map_or(date, |at| &date[at + 1..]);
    let mut tokens = date.split(u8::is_ascii_whitespace).filter(|token| !token.is_empty());
    let mut next = || tokens.next();
    unix_time(next()?, next()?, next()?, next()?, next()?)
}

/// The text without its comments (nested, with quoted pairs) outside of quoted strings; a blank stands for each.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut depth, mut quoted) = (0_usize, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '"' if depth == 0 => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted && depth > 0 => {
                depth -= 1;
                out.push(' ');
            }
            _ if depth == 0 && !quoted => out.push(c),
            _ => {}
        }
    }
    out
}

/// The date-time (RFC 5322, sections 3.3 and 4.3) behind the last `;`. The weekday is not looked at: nothing hangs on it, and wrong
/// ones occur. A zone that nobody knows counts as `-0000`, as that section has it.
fn parse(body: &str) -> Option<i64> {
    let (_, date) = body.rsplit_once(';')?;
    let date = date.rsplit_once(',').map_or(date, |(_, date)| date);
    let mut tokens = date.split_ascii_whitespace();
    let (day, month, year, time) = (tokens.next()?, tokens.next()?, tokens.next()?, tokens.next()?);
    let zone = tokens.next().unwrap_or("-0000");
    [zone, "-0000"].iter().find_map(|zone| {
        DateTime::parse_from_rfc2822(&format!("{day} {month} {year} {time} {zone}")).ok().map(|date| date.timestamp())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn date(message: &[u8]) -> Option<i64> {
        let mut whole = Received::new();
        whole.feed(message);
        let mut pieces = Received::new();
        for byte in message {
            pieces.feed(std::slice::from_ref(byte));
        }
        assert_eq!(whole.date(), pieces.date());
        whole.date()
    }

    #[test]
    fn what_is_common_goes_the_quick_way() {
        for body in [
            " from a by b; Tue, 5 Mar 2024 10:20:30 +0000\r",
            " from a (a [1.2.3.4])\r\tby b (Postfix) with ESMTPS id 1\r\tfor <c@d>; Tue,  5 Mar 2024 05:20:30 -0500 (EST)\r",
            "; 05 Mar 2024 10:20:30 -0000",
        ] {
            assert_eq!(quick(body.as_bytes()), Some(AT), "{body}");
        }
    }

    /// 2024-03-05 10:20:30 UTC
    const AT: i64 = 1_709_634_030;

    #[test]
    fn dates_that_occur() {
        for field in [
            "Received: from a by b; Tue, 5 Mar 2024 10:20:30 +0000",
            "Received: from a by b; Tue, 05 Mar 2024 11:20:30 +0100 (CET)",
            "received:by b;5 Mar 2024 10:20:30 GMT",
            "RECEIVED : by b; 5 Mar 24 05:20:30 EST",
            "Received: from a (x; y)\r\n\tby b (z (nested; \\) deep))\r\n\t; Tue,\r\n 5 Mar 2024 10:20:30 -0000 (a; b)",
            "Received: from \"a(;\" by b; Tue, 5 Mar 2024 10:20:30 Z",
            "Received: (qmail 1 invoked by uid 0); 5 Mar 2024 10:20:30 -0000",
            "Received: from a by b; Wed, 5 Mar 2024 10:20:30 +0000",
            "Received: from a by b; Tue, 5 Mar 2024 10:20:30 FOO",
            "Received: from a by b; Tue, 5 Mar 2024 10:20:30",
            "Received: from a (unbalanced by b; Tue, 5 Mar 2024 10:20:30 +0000",
            "X-A: b\r\nSubject: Received: c; 1 Jan 2001 00:00:00 +0000\r\nReceived: a; 5 Mar 2024 10:20:30 UT\r\nReceived: a; 1 Jan 2001 00:00:00 +0000",
            "Receive: x\r\nReceivedX: y\r\nReceived: a; 5 Mar 2024 10:20:30 UT",
        ] {
            for tail in ["", "\r\n", "\r\n\r\nbody", "\r\nTo: x\r\n\r\n"] {
                assert_eq!(date(format!("{field}{tail}").as_bytes()), Some(AT), "{field:?}{tail:?}");
            }
            let bare = format!("{field}\r\n\r\n").replace("\r\n", "\n");
            assert_eq!(date(bare.as_bytes()), Some(AT), "{bare:?}");
        }
    }

    #[test]
    fn what_has_no_date() {
        for message in [
            &b""[..],
            b"Subject: x\r\n\r\nReceived: a; 5 Mar 2024 10:20:30 UT\r\n",
            b"\r\nReceived: a; 5 Mar 2024 10:20:30 UT\r\n",
            b"\nReceived: a; 5 Mar 2024 10:20:30 UT\r\n",
            b"Received: a by b\r\n\r\n",
            b"Received: a; 31 Feb 2024 10:20:30 UT\r\n\r\n",
            b"Received: a; yesterday\r\n\r\n",
            b"Received: a; \xff\xfe Mar 2024 10:20:30 UT\r\n\r\n",
            b"Received",
            b"Received:",
        ] {
            assert_eq!(date(message), None, "{message:?}");
        }
    }

    #[test]
    fn looks_no_further_than_its_limit() {
        let mut message = b"X: ".to_vec();
        message.resize(SCAN_LEN_MAX, b'x');
        message.extend_from_slice(b"\r\nReceived: a; 5 Mar 2024 10:20:30 UT\r\n\r\n");
        assert_eq!(date(&message), None);
        let endless = [&b"Received: a; 5 Mar 2024 10:20:30 UT ("[..], &vec![b'x'; 2 * SCAN_LEN_MAX]].concat();
        assert_eq!(date(&endless), None);
    }

    #[test]
    fn half_a_field_at_its_limit_has_no_date() {
        let begin = b"Received: a; 5 Mar 2024 10:20:30 UT ";
        for (len, found) in [(SCAN_LEN_MAX, Some(AT)), (SCAN_LEN_MAX + 1, None)] {
            let mut message = begin.to_vec();
            message.resize(len, b' ');
            assert_eq!(date(&message), found, "{len}");
        }
    }

    proptest! {
        #[test]
        fn the_quick_way_reads_what_the_careful_one_does(
            before in "[a-z (),;]{0,12}",
            weekday in "(Tue, |Xyz,|)",
            day in "(0?[1-9]|[12][0-9]|3[01]|00|32|1 2)",
            month in "(Jan|Feb|Mar|apr|Foo|Dec)",
            year in "(19[0-9]{2}|20[0-9]{2}|[0-9]{1,5})",
            time in "([01][0-9]|2[0-4]|[0-9]):[0-6][0-9](:[0-6][0-9])?",
            zone in "( [+-]([01][0-9]|2[0-4])[0-6][0-9]| GMT| EST|)",
            after in "( \\([a-z;,]{0,4}\\)| [()a,;]{1,3}| 5 Mar|)\r?",
        ) {
            let body = format!("{before};{weekday}{day} {month} {year} {time}{zone}{after}").into_bytes();
            let quick = quick(&body);
            let received = Received { body, ..Received::new() };
            prop_assert!(quick.is_none() || quick == received.careful());
        }

        #[test]
        fn nothing_panics(message in "(Received: )?[;(),\\\\\" a-z0-9:+\\-\r\nüMar]{0,80}") {
            date(message.as_bytes());
        }
    }
}
