//! The server's replies, line by line (RFC 5321, section 4.2). A line is `250-text` or, the last of a reply, `250 text`.

/// Octets of a reply line with its ending. RFC 5321 promises 512; what is longer than this is not SMTP.
pub(super) const REPLY_LINE_LEN_MAX: usize = 8 * 1024;

/// One line of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReplyLine {
    pub(super) code: Code,
    /// The reply ends with this line.
    pub(super) last: bool,
}

/// A reply code, 200 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code(pub(super) u16);

impl Code {
    /// 2yz: done.
    pub(super) fn positive(self) -> bool {
        self.0 / 100 == 2
    }

    /// 3yz: the server waits for more.
    pub(super) fn intermediate(self) -> bool {
        self.0 / 100 == 3
    }

    /// 4yz or 5yz: refused.
    pub(super) fn negative(self) -> bool {
        self.0 / 100 >= 4
    }
}

impl ReplyLine {
    /// Reads a line without its ending; none where it is no reply at all.
    pub(super) fn parse(text: &[u8]) -> Option<ReplyLine> {
        let (code, rest) = text.split_at_checked(3)?;
        if !matches!(code[0], b'2'..=b'5') || !code.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let code = code.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        let last = match rest.first() {
            None | Some(b' ' | b'\t') => true,
            Some(b'-') => false,
            Some(_) => return None,
        };
        Some(ReplyLine { code: Code(code), last })
    }
}

/// What stands behind the code and its separator.
pub(super) fn text(line: &[u8]) -> &[u8] {
    line.get(4..).unwrap_or_default()
}

/// A reply as far as the log may have it: its codes (RFC 5321, RFC 2034). What stands behind them may repeat what was said: a password, or a line of a
/// message that was taken for a command.
pub(super) fn codes(line: &[u8]) -> String {
    let is_number = |part: &[u8]| (1..=3).contains(&part.len()) && part.iter().all(u8::is_ascii_digit);
    let word = text(line).split(u8::is_ascii_whitespace).next().unwrap_or_default();
    let enhanced = word.split(|&b| b == b'.').count() == 3 && word.split(|&b| b == b'.').all(is_number);
    let shown = if enhanced { &line[..4 + word.len()] } else { &line[..line.len().min(3)] };
    String::from_utf8_lossy(shown).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_reply() {
        let line = |text: &[u8]| ReplyLine::parse(text).map(|line| (line.code.0, line.last));
        assert_eq!(line(b"250 OK"), Some((250, true)));
        assert_eq!(line(b"250-SIZE"), Some((250, false)));
        assert_eq!(line(b"250"), Some((250, true)));
        assert_eq!(line(b"354 "), Some((354, true)));
        assert_eq!(line(b"599-"), Some((599, false)));
        for text in [&b""[..], b"25", b"150 no", b"600 no", b"2x0 no", b"2500", b"250OK", b"* OK", b" 250 OK"] {
            assert_eq!(line(text), None, "{text:?}");
        }
        assert_eq!((text(b"250-SIZE"), text(b"250"), text(b"334 ")), (&b"SIZE"[..], &b""[..], &b""[..]));
    }

    #[test]
    fn codes_by_their_first_digit() {
        let of = |code| (Code(code).positive(), Code(code).intermediate(), Code(code).negative());
        assert_eq!(of(299), (true, false, false));
        assert_eq!(of(354), (false, true, false));
        assert_eq!((of(421), of(554)), ((false, false, true), (false, false, true)));
    }

    #[test]
    fn only_codes_are_shown() {
        for (line, shown) in [
            (&b"421 4.4.2 secret\r\n"[..], "421 4.4.2"),
            (b"500 secret 5.5.2", "500"),
            (b"535 5.7.8.secret no", "535"),
            (b"535 5.7.secret", "535"),
            (b"535 5.7.1234", "535"),
            (b"421-4.7.0", "421-4.7.0"),
            (b"421\r\n", "421"),
        ] {
            assert_eq!(codes(line), shown);
        }
    }
}
