//! The client's commands: which verb, what behind it. Never judges an argument that is the server's to judge.

/// A verb that the proxy has to know. All others pass as [`Verb::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Auth,
    Bdat,
    Data,
    Ehlo,
    Helo,
    /// LMTP's greeting: it has as many replies to a message as recipients, and the place in the stream would be lost.
    Lhlo,
    Mail,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    /// Would take the session out of what is watched; answered here (see [`is_barred`]).
    Barred,
    /// No verb at all: an empty line, which servers answer or not.
    Empty,
    Other,
}

/// A command line: the verb and what follows right behind its last letter, blanks included.
pub(super) fn parse(line: &[u8]) -> (Verb, &[u8]) {
    let line = line.trim_ascii_start();
    // Where a verb ends is read narrowly: whatever a server might take for the blank behind `DATA` ends it here too.
    let end = line.iter().position(|b| !b.is_ascii_alphanumeric() && *b != b'-').unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let verb = match word.to_ascii_uppercase().as_slice() {
        b"AUTH" => Verb::Auth,
        b"BDAT" => Verb::Bdat,
        b"DATA" => Verb::Data,
        b"EHLO" => Verb::Ehlo,
        b"HELO" => Verb::Helo,
        b"LHLO" => Verb::Lhlo,
        b"MAIL" => Verb::Mail,
        b"QUIT" => Verb::Quit,
        b"RCPT" => Verb::Rcpt,
        b"RSET" => Verb::Rset,
        b"STARTTLS" => Verb::StartTls,
        upper if is_barred(upper) => Verb::Barred,
        b"" if line.is_empty() => Verb::Empty,
        _ => Verb::Other,
    };
    (verb, rest)
}

/// Extensions that are taken out of what the server offers and refused when used all the same: the server would fetch the text
/// by itself (BURL), take another identity (XCLIENT, XFORWARD), turn the roles round (ETRN, ATRN, TURN), open a
/// transaction as nobody does any more (RFC 821's SEND, SOML, SAML; RFC 5321, appendix F.6) or speak something that is not SMTP
/// (Exchange's own).
pub(super) fn is_barred(upper: &[u8]) -> bool {
    barred(upper).is_some()
}

/// Which of them this is, as the log may have it: nothing that the client has chosen freely.
pub(super) fn barred(upper: &[u8]) -> Option<&'static str> {
    const BARRED: [&str; 13] = [
        "ATRN",
        "BURL",
        "ETRN",
        "SAML",
        "SEND",
        "SOML",
        "TURN",
        "XCLIENT",
        "XFORWARD",
        "XEXCH50",
        "X-LINK2STATE",
        "X-ANONYMOUSTLS",
        "X-EXPS",
    ];
    let of_a_kind = upper.starts_with(b"XSHADOW").then_some("XSHADOW");
    BARRED.into_iter().find(|verb| verb.as_bytes() == upper).or(of_a_kind)
}

/// `BDAT octets [LAST]` (RFC 3030, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) octets: u64,
    pub(super) last: bool,
}

impl Chunk {
    /// Reads BDAT's arguments; none where it cannot be told how many octets follow.
    pub(super) fn parse(argument: &[u8]) -> Option<Chunk> {
        let mut words = argument.split(|b| matches!(b, b' ' | b'\t')).filter(|word| !word.is_empty());
        let octets = words.next()?;
        if !argument.first().is_some_and(u8::is_ascii_whitespace) || !octets.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let octets = str::from_utf8(octets).ok()?.parse().ok()?;
        let last = match words.next() {
            None => false,
            Some(word) if word.eq_ignore_ascii_case(b"LAST") => true,
            Some(_) => return None,
        };
        words.next().is_none().then_some(Chunk { octets, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_in_any_case_and_with_any_blank_behind() {
        assert_eq!(parse(b"MAIL FROM:<a@b>"), (Verb::Mail, &b" FROM:<a@b>"[..]));
        assert_eq!(parse(b" rcpt\tTO:<a@b>"), (Verb::Rcpt, &b"\tTO:<a@b>"[..]));
        for line in [&b"data"[..], b"DATA ", b"DATA\x0b", b"Data:x", b"\tDATA"] {
            assert_eq!(parse(line).0, Verb::Data, "{line:?}");
        }
        assert_eq!(parse(b"DATABASE").0, Verb::Other);
        assert_eq!(parse(b"").0, Verb::Empty);
        assert_eq!(parse(b" \t").0, Verb::Empty);
        assert_eq!(parse(b":").0, Verb::Other);
        assert_eq!(parse(b"NOOP").0, Verb::Other);
        assert_eq!(parse(b"lhlo me").0, Verb::Lhlo);
    }

    #[test]
    fn what_is_barred() {
        for line in [
            "SOML FROM:<a@b>",
            "BURL imap://x",
            "xclient NAME=x",
            "XFORWARD",
            "ETRN x",
            "ATRN",
            "TURN",
            "XEXCH50 1 2",
            "X-LINK2STATE",
        ] {
            assert_eq!(parse(line.as_bytes()).0, Verb::Barred, "{line}");
        }
        for line in ["X-ANONYMOUSTLS", "X-EXPS GSSAPI", "XSHADOW", "xshadowrequest x", "XCLIENT=x"] {
            assert_eq!(parse(line.as_bytes()).0, Verb::Barred, "{line}");
        }
        assert_eq!(parse(b"XCLIENTS").0, Verb::Other);
    }

    #[test]
    fn chunks() {
        let chunk = |text: &[u8]| Chunk::parse(text).map(|chunk| (chunk.octets, chunk.last));
        assert_eq!(chunk(b" 10"), Some((10, false)));
        assert_eq!(chunk(b" 10 LAST"), Some((10, true)));
        assert_eq!(chunk(b"\t0  last "), Some((0, true)));
        assert_eq!(chunk(b" 18446744073709551615"), Some((u64::MAX, false)));
        for text in [&b""[..], b" ", b"10", b" 18446744073709551616", b" -1", b" +1", b" 1x", b" 1 FIRST", b" 1 LAST 2"]
        {
            assert_eq!(chunk(text), None, "{text:?}");
        }
    }
}
