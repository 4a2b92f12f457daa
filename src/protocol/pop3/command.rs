//! What a client's line asks for, as far as it decides how its reply is framed and what it means (RFC 1939, 2449, 5034, 6856).

use std::borrow::Cow;

use super::super::Secret;
use super::super::sasl::{Exchange, Mechanism, Rejected};

/// `TOP` of so many lines or more passes for a whole message: some clients retrieve so (fetchmail asks for 99,999,999).
const TOP_LINES_WHOLE: u64 = 1_000_000;

/// Octets of what names a message (RFC 2449, section 4: 40 for an argument).
const TARGET_LEN_MAX: usize = 40;

/// Octets of a login name: RFC 1939 allows 40, people's are longer.
const NAME_LEN_MAX: usize = 1024;

/// A command line.
#[derive(Debug)]
pub(super) enum Command {
    /// To be forwarded.
    Forward(Ask),
    /// `STLS`: ours to answer.
    Stls,
    /// To be answered by us.
    Refuse(&'static str),
    /// The same, because of what the SASL message says.
    Reject(Rejected),
}

/// Which message, as the client put it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// None where the text is anything but a plain number.
    pub(super) number: Option<u32>,
    /// That text.
    other: Vec<u8>,
}

impl Target {
    pub(super) fn new(text: &[u8]) -> Option<Target> {
        let number = number(text);
        let other = || if number.is_some() { Vec::new() } else { text.to_vec() };
        (text.len() <= TARGET_LEN_MAX).then(|| Target { number, other: other() })
    }

    /// To be repeated in commands of ours: whatever the server makes of it, it makes the same of it in these.
    pub(super) fn text(&self) -> Cow<'_, [u8]> {
        match self.number {
            Some(number) => Cow::Owned(number.to_string().into_bytes()),
            None => Cow::Borrowed(&self.other),
        }
    }

    /// There is nothing where it should stand.
    pub(super) fn is_missing(&self) -> bool {
        self.number.is_none() && self.other.is_empty()
    }
}

/// What the server was asked: decides how its reply is read.
#[derive(Debug)]
pub(super) enum Ask {
    /// Anything with a reply of one line.
    Line,
    /// A reply that has lines behind its `+OK`.
    Listing,
    /// The same, the lines being a whole message.
    Message(Target),
    /// The same, by a `TOP` of so many lines that it is for the whole message.
    WholeTop(Target),
    /// The same, being a message's header and so many lines at most, more than none.
    Preview(Target, u64),
    /// `UIDL` alone: the unique-ids of all messages.
    Uids,
    /// The unique-id of one.
    Uid(Target),
    /// `DELE`: passes as a [`Ask::Line`] once the message is kept.
    Delete(Target),
    /// `DELE` of what is none, as far as we know.
    Unkept,
    Capa,
    /// `AUTH` alone: the mechanisms, one a line.
    Mechanisms,
    /// With the name.
    User(Vec<u8>),
    /// With the password, if it is to be learnt.
    Pass(Option<Secret>),
    /// With the name.
    Apop(Vec<u8>),
    Auth(Exchange),
    Quit,
}

impl Ask {
    /// Whether this is a step of a login.
    pub(super) fn is_login(&self) -> bool {
        matches!(self, Ask::User(_) | Ask::Pass(_) | Ask::Apop(_) | Ask::Auth(_) | Ask::Mechanisms)
    }
}

/// Reads a line without its ending. Lenient with blanks: a server may be as well, and of what it does not understand it says
/// `-ERR`, which is framed alike for all. `learns`: whether a password is to be remembered.
pub(super) fn parse(whole: &[u8], learns: bool) -> Command {
    if whole.iter().any(|&b| b == b'\r' || b == 0) {
        return Command::Refuse("a command must not contain CR or NUL");
    }
    let line = whole.trim_ascii();
    let (verb, argument) = match line.iter().position(u8::is_ascii_whitespace) {
        Some(at) => (&line[..at], line[at..].trim_ascii_start()),
        None => (line, &b""[..]),
    };
    let listing_unless = |argument: &[u8]| if argument.is_empty() { Ask::Listing } else { Ask::Line };
    let verb = verb.to_ascii_uppercase();
    Command::Forward(match &verb[..] {
        b"STLS" if argument.is_empty() => return Command::Stls,
        b"STLS" => return Command::Refuse("STLS takes no argument"),
        // XTND XMIT sends mail that nobody would keep.
        b"XTND" => return Command::Refuse("XTND is not available"),
        b"USER" | b"APOP" if argument.len() > NAME_LEN_MAX => return Command::Refuse("the name is too long"),
        b"USER" => Ask::User(argument.to_vec()),
        b"PASS" => Ask::Pass(password(whole).filter(|_| learns)),
        b"APOP" => {
            let digest = argument.iter().rposition(|&b| b == b' ').unwrap_or(0);
            Ask::Apop(argument[..digest].trim_ascii().to_vec())
        }
        b"AUTH" => return auth(argument, learns),
        b"RETR" | b"DELE" | b"UIDL" | b"TOP" => return about_a_message(&verb, argument),
        b"LIST" | b"LANG" => listing_unless(argument),
        b"CAPA" => Ask::Capa,
        b"QUIT" => Ask::Quit,
        _ => Ask::Line,
    })
}

/// A plain number from 1. With a sign, a zero before it or anything behind it, it is none: servers differ in how they read that.
pub(super) fn number(text: &[u8]) -> Option<u32> {
    let plain = !text.starts_with(b"0") && text.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

fn about_a_message(verb: &[u8], argument: &[u8]) -> Command {
    let mut words = argument.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let text = if verb == b"TOP" { words.next().unwrap_or_default() } else { argument };
    let Some(target) = Target::new(text) else { return Command::Refuse("the message number is too long") };
    Command::Forward(match verb {
        b"RETR" => Ask::Message(target),
        b"DELE" => Ask::Delete(target),
        b"UIDL" if argument.is_empty() => Ask::Uids,
        b"UIDL" => Ask::Uid(target),
        _ => match words.next().map_or(0, lines) {
            0 => Ask::Listing,
            lines if lines < TOP_LINES_WHOLE => Ask::Preview(target, lines),
            _ => Ask::WholeTop(target),
        },
    })
}

/// The password of `PASS password`, where all servers read the same: not with a blank too many, which some take for a part of it.
fn password(line: &[u8]) -> Option<Secret> {
    let text = line.get(b"PASS".len()..)?.strip_prefix(b" ")?;
    let (first, last) = (text.first()?, text.last()?);
    let plain = !first.is_ascii_whitespace() && !last.is_ascii_whitespace() && !line.starts_with(b" ");
    Secret::password(text).filter(|_| plain)
}

fn auth(argument: &[u8], learns: bool) -> Command {
    let mut words = argument.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let Some(name) = words.next() else { return Command::Forward(Ask::Mechanisms) };
    let Some(mechanism) = Mechanism::parse(name) else {
        return Command::Refuse("this mechanism cannot be used here");
    };
    let mut exchange = Exchange::new(mechanism).learning(learns);
    let said = words.next().map_or(Ok(()), |initial| exchange.initial_response(initial));
    match (said, words.next()) {
        (Err(rejected), _) => Command::Reject(rejected),
        (Ok(()), Some(_)) => Command::Refuse("AUTH takes a mechanism and an initial response"),
        (Ok(()), None) => Command::Forward(Ask::Auth(exchange)),
    }
}

/// How many lines `TOP` is asked for. Read as a careless server would read it: a sign, digits, and anything behind; less than
/// none is the highest number to some.
fn lines(text: &[u8]) -> u64 {
    let digits = |text: &[u8]| {
        let digits = text.iter().take_while(|b| b.is_ascii_digit());
        digits.fold(0u64, |number, b| number.saturating_mul(10).saturating_add(u64::from(b - b'0')))
    };
    match text {
        [b'-', number @ ..] if digits(number) > 0 => u64::MAX,
        [b'+', number @ ..] | number => digits(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(line: &str) -> Ask {
        match parse(line.as_bytes(), true) {
            Command::Forward(ask) => ask,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn only_these_replies_have_more_than_one_line() {
        for line in ["LIST", "list ", "LANG", "TOP 1 0", "TOP 1 -0", "TOP 1 x", "TOP", "TOP 1"] {
            assert!(matches!(forwarded(line), Ask::Listing), "{line}");
        }
        for line in ["LIST 1", "LANG en", "STAT", "NOOP", "RSET", "UTF8", "XFOO bar", "", "  "] {
            assert!(matches!(forwarded(line), Ask::Line), "{line}");
        }
        assert!(matches!(forwarded(" UIDL"), Ask::Uids));
        assert!(matches!(forwarded("UIDL\t1"), Ask::Uid(target) if target.number == Some(1)));
        assert!(
            matches!(forwarded("DELE  1 "), Ask::Delete(target) if target.number == Some(1) && *target.text() == *b"1")
        );
        assert!(matches!(forwarded("TOP 1 999999"), Ask::Preview(_, 999_999)));
        assert!(matches!(forwarded("top 12  +1x"), Ask::Preview(target, 1) if target.number == Some(12)));
        assert!(matches!(forwarded("capa"), Ask::Capa));
        assert!(matches!(forwarded("Auth"), Ask::Mechanisms));
        assert!(matches!(forwarded("QUIT"), Ask::Quit));
    }

    #[test]
    fn top_of_a_million_lines_is_a_message() {
        for line in ["RETR 1", "retr 1"] {
            assert!(matches!(forwarded(line), Ask::Message(_)), "{line}");
        }
        let endless = format!("TOP 1 {}x", "9".repeat(100));
        for line in ["TOP 1 1000000", "TOP  1  99999999", "TOP 1 +99999999", "TOP 1 -1", &endless] {
            assert!(matches!(forwarded(line), Ask::WholeTop(_)), "{line}");
        }
    }

    #[test]
    fn only_plain_numbers_are_numbers() {
        assert_eq!(number(b"1"), Some(1));
        assert_eq!(number(b"4294967295"), Some(u32::MAX));
        for text in ["", "0", "01", "+1", "-1", "1 2", "1x", "4294967296", "\u{661}"] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
        for verb in ["RETR", "DELE", "UIDL", "TOP"] {
            let long = format!("{verb} {}1", "0".repeat(40));
            assert!(matches!(parse(long.as_bytes(), true), Command::Refuse(_)));
        }
        assert!(
            matches!(forwarded("DELE 1 2"), Ask::Delete(target) if target.number.is_none() && *target.text() == *b"1 2")
        );
    }

    #[test]
    fn names() {
        assert!(matches!(forwarded("USER me at home "), Ask::User(name) if name == b"me at home"));
        assert!(matches!(forwarded("apop me too 0123"), Ask::Apop(name) if name == b"me too"));
        assert!(matches!(forwarded("APOP me"), Ask::Apop(name) if name.is_empty()));
        let long = format!("USER {}", "x".repeat(2000));
        assert!(matches!(parse(long.as_bytes(), true), Command::Refuse(_)));
    }

    #[test]
    fn a_password_is_read_where_it_is_to_be_learnt_and_cannot_be_read_in_two_ways() {
        let read = |line: &[u8], learns| match parse(line, learns) {
            Command::Forward(Ask::Pass(password)) => password.map(|password| password.bytes().to_vec()),
            other => panic!("{other:?}"),
        };
        assert_eq!(read(b"pass two  words", true), Some(b"two  words".to_vec()));
        assert_eq!(read(b"PASS x", false), None);
        for line in [&b"PASS  x"[..], b"PASS x ", b" PASS x", b"PASS\tx", b"PASS", b"PASS ", b"PASS x\t"] {
            assert_eq!(read(line, true), None, "{line:?}");
        }
    }

    #[test]
    fn what_is_refused() {
        for line in
            ["XTND XMIT", "AUTH GSSAPI", "AUTH SCRAM-SHA-1-PLUS", "AUTH PLAIN = more", "STLS now", "NO\rOP", "N\0"]
        {
            assert!(matches!(parse(line.as_bytes(), true), Command::Refuse(_)), "{line}");
        }
        assert!(matches!(parse(b"AUTH PLAIN ???", true), Command::Reject(_)));
        assert!(matches!(parse(b"stls", true), Command::Stls));
    }
}
