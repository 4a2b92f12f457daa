//! What a client's line asks for, as far as it decides how its reply is framed and what it means (RFC 1939, 2449, 5034, 6856).

use super::super::sasl::{Exchange, Mechanism, Rejected};

/// `TOP` of so many lines or more is a whole message: some clients retrieve so (fetchmail asks for 99,999,999).
const TOP_LINES_WHOLE: u64 = 1_000_000;

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

/// What the server was asked: decides how its reply is read.
#[derive(Debug)]
pub(super) enum Ask {
    /// Anything with a reply of one line.
    Line,
    /// A reply that has lines behind its `+OK`.
    Listing,
    /// The same, the lines being a whole message.
    Message,
    Capa,
    /// `AUTH` alone: the mechanisms, one a line.
    Mechanisms,
    /// With the name.
    User(Vec<u8>),
    Pass,
    /// With the name.
    Apop(Vec<u8>),
    Auth(Exchange),
    Quit,
}

impl Ask {
    /// Whether this is a step of a login.
    pub(super) fn is_login(&self) -> bool {
        matches!(self, Ask::User(_) | Ask::Pass | Ask::Apop(_) | Ask::Auth(_) | Ask::Mechanisms)
    }
}

/// Reads a line without its ending. Lenient with blanks: a server may be as well, and of what it does not understand it says
/// `-ERR`, which is framed alike for all.
pub(super) fn parse(line: &[u8]) -> Command {
    if line.iter().any(|&b| b == b'\r' || b == 0) {
        return Command::Refuse("a command must not contain CR or NUL");
    }
    let line = line.trim_ascii();
    let (verb, argument) = match line.iter().position(u8::is_ascii_whitespace) {
        Some(at) => (&line[..at], line[at..].trim_ascii_start()),
        None => (line, &b""[..]),
    };
    let listing_unless = |argument: &[u8]| if argument.is_empty() { Ask::Listing } else { Ask::Line };
    Command::Forward(match &verb.to_ascii_uppercase()[..] {
        b"STLS" if argument.is_empty() => return Command::Stls,
        b"STLS" => return Command::Refuse("STLS takes no argument"),
        // XTND XMIT sends mail that nobody would keep.
        b"XTND" => return Command::Refuse("XTND is not available"),
        b"USER" | b"APOP" if argument.len() > NAME_LEN_MAX => return Command::Refuse("the name is too long"),
        b"USER" => Ask::User(argument.to_vec()),
        b"PASS" => Ask::Pass,
        b"APOP" => {
            let digest = argument.iter().rposition(|&b| b == b' ').unwrap_or(0);
            Ask::Apop(argument[..digest].trim_ascii().to_vec())
        }
        b"AUTH" => return auth(argument),
        b"RETR" => Ask::Message,
        b"TOP" if asks_for_all(argument) => Ask::Message,
        b"TOP" => Ask::Listing,
        b"LIST" | b"UIDL" | b"LANG" => listing_unless(argument),
        b"CAPA" => Ask::Capa,
        b"QUIT" => Ask::Quit,
        _ => Ask::Line,
    })
}

/// Whether this line has messages deleted, at once or for good.
pub(super) fn takes_away(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let verb = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    verb.eq_ignore_ascii_case(b"DELE") || verb.eq_ignore_ascii_case(b"QUIT")
}

fn auth(argument: &[u8]) -> Command {
    let mut words = argument.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let Some(name) = words.next() else { return Command::Forward(Ask::Mechanisms) };
    let Some(mechanism) = Mechanism::parse(name) else {
        return Command::Refuse("this mechanism cannot be used here");
    };
    let mut exchange = Exchange::new(mechanism);
    let said = words.next().map_or(Ok(()), |initial| exchange.initial_response(initial));
    match (said, words.next()) {
        (Err(rejected), _) => Command::Reject(rejected),
        (Ok(()), Some(_)) => Command::Refuse("AUTH takes a mechanism and an initial response"),
        (Ok(()), None) => Command::Forward(Ask::Auth(exchange)),
    }
}

/// Whether the arguments of `TOP` ask for all lines. Read as a careless server would read them: a sign, digits, and
/// anything behind; less than none is the highest number to some.
fn asks_for_all(arguments: &[u8]) -> bool {
    let mut words = arguments.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let Some(lines) = words.nth(1) else { return false };
    let digits = |text: &[u8]| {
        let digits = text.iter().take_while(|b| b.is_ascii_digit());
        digits.fold(0u64, |number, b| number.saturating_mul(10).saturating_add(u64::from(b - b'0')))
    };
    match lines {
        [b'-', number @ ..] => digits(number) > 0,
        [b'+', number @ ..] | number => digits(number) >= TOP_LINES_WHOLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(line: &str) -> Ask {
        match parse(line.as_bytes()) {
            Command::Forward(ask) => ask,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn only_these_replies_have_more_than_one_line() {
        for line in ["LIST", "list ", "UIDL", " UIDL", "LANG", "TOP 1 0", "TOP 1 999999", "TOP", "TOP 1"] {
            assert!(matches!(forwarded(line), Ask::Listing), "{line}");
        }
        for line in ["LIST 1", "UIDL\t1", "LANG en", "STAT", "NOOP", "DELE 1", "RSET", "UTF8", "XFOO bar", "", "  "] {
            assert!(matches!(forwarded(line), Ask::Line), "{line}");
        }
        assert!(matches!(forwarded("capa"), Ask::Capa));
        assert!(matches!(forwarded("Auth"), Ask::Mechanisms));
        assert!(matches!(forwarded("QUIT"), Ask::Quit));
    }

    #[test]
    fn top_of_a_million_lines_is_a_message() {
        for line in ["RETR 1", "retr 1", "TOP 1 1000000", "TOP  1  99999999", "TOP 1 +99999999", "TOP 1 -1"] {
            assert!(matches!(forwarded(line), Ask::Message), "{line}");
        }
        let endless = format!("TOP 1 {}x", "9".repeat(100));
        assert!(matches!(forwarded(&endless), Ask::Message));
    }

    #[test]
    fn names() {
        assert!(matches!(forwarded("USER me at home "), Ask::User(name) if name == b"me at home"));
        assert!(matches!(forwarded("apop me too 0123"), Ask::Apop(name) if name == b"me too"));
        assert!(matches!(forwarded("APOP me"), Ask::Apop(name) if name.is_empty()));
        let long = format!("USER {}", "x".repeat(2000));
        assert!(matches!(parse(long.as_bytes()), Command::Refuse(_)));
    }

    #[test]
    fn what_is_refused() {
        for line in
            ["XTND XMIT", "AUTH GSSAPI", "AUTH SCRAM-SHA-1-PLUS", "AUTH PLAIN = more", "STLS now", "NO\rOP", "N\0"]
        {
            assert!(matches!(parse(line.as_bytes()), Command::Refuse(_)), "{line}");
        }
        assert!(matches!(parse(b"AUTH PLAIN ???"), Command::Reject(_)));
        assert!(matches!(parse(b"stls"), Command::Stls));
    }
}
