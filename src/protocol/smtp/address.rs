//! Envelope paths: whose address stands in a `MAIL FROM:` or `RCPT TO:` (RFC 5321, section 4.1.2; RFC 6531 for UTF-8).
//!
//! Reads what can be read in one way only, for the server reads it too, and delivers to whom *it* has read: a comment, a blank within the
//! address or a second pair of brackets is taken by some servers and means somebody else, or nobody, to others. Within that it is generous:
//! brackets may be missing, or have blanks inside, dots may stand anywhere, and whether there is such a mailbox is the server's to say.

/// The path of a MAIL or RCPT command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// `<>`: a bounce, which nobody owns.
    Null,
    Mailbox(Mailbox),
    /// Nothing that could be an address.
    Unreadable,
}

/// An address as it is meant: quoting undone, source route dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mailbox {
    pub(super) local: Vec<u8>,
    /// Empty where none is given (`<postmaster>`).
    pub(super) domain: Vec<u8>,
}

/// What stands behind the verb MAIL or RCPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Argument {
    pub(super) path: Path,
    /// MAIL's `SIZE=` parameter in octets (RFC 1870), where it is a number.
    pub(super) size: Option<u64>,
}

impl Mailbox {
    /// `local@domain`, with `default_domain` where the address has none: what the archive's owner is made from. The domain is
    /// always named, for an unquoted local part may hold an `@` of its own.
    pub(super) fn login(&self, default_domain: &str) -> Vec<u8> {
        let domain = if self.domain.is_empty() { default_domain.as_bytes() } else { &self.domain };
        [&self.local, &b"@"[..], domain].concat()
    }
}

/// Reads what stands behind the verb: `FROM:<path> SIZE=…`, `TO: address …`, in any case, with or without brackets.
pub(super) fn parse(keyword: &str, argument: &[u8]) -> Argument {
    read(keyword, argument).unwrap_or(Argument { path: Path::Unreadable, size: None })
}

fn read(keyword: &str, argument: &[u8]) -> Option<Argument> {
    let (word, rest) = skip_blanks(argument).split_at_checked(keyword.len())?;
    if !word.eq_ignore_ascii_case(keyword.as_bytes()) {
        return None;
    }
    let text = skip_blanks(skip_blanks(rest).strip_prefix(b":")?);
    let (path, parameters) = match text.strip_prefix(b"<") {
        Some(inside) => {
            let (path, rest) = bracketed(skip_blanks(inside))?;
            (path, skip_blanks(rest).strip_prefix(b">")?)
        }
        None => mailbox(text)?,
    };
    are_parameters(parameters).then(|| Argument { path, size: size(parameters) })
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|b| !is_blank(b)).unwrap_or(text.len());
    &text[start..]
}

/// What stands between the brackets, and the rest.
fn bracketed(text: &[u8]) -> Option<(Path, &[u8])> {
    match text.first()? {
        b'>' => Some((Path::Null, text)),
        b'@' => mailbox(without_route(text)?),
        _ => mailbox(text),
    }
}

/// Drops a source route, `@one,@two:` (RFC 5321, section 4.1.1.3: to be ignored).
fn without_route(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        (_, text) = domain(text.strip_prefix(b"@")?)?;
        text = match text.split_first()? {
            (b':', mailbox) => return Some(mailbox),
            (b',', next) => next,
            _ => return None,
        };
    }
}

/// An address, and what stands behind it.
fn mailbox(text: &[u8]) -> Option<(Path, &[u8])> {
    let (local, rest) = match text.strip_prefix(b"\"") {
        Some(inside) => {
            let (local, rest) = quoted(inside)?;
            // To servers that look inside (Postfix does), `"a@b"` alone names a domain, and `"@x:a"` begins with a source route.
            if !rest.starts_with(b"@") || local.starts_with(b"@") {
                return None;
            }
            (local, rest)
        }
        None => {
            let (atoms, rest) = split_where(text, |b| !is_atom(b));
            (atoms.to_vec(), rest)
        }
    };
    if local.is_empty() {
        return None;
    }
    let (domain, rest) = match rest.strip_prefix(b"@") {
        Some(rest) => domain(rest)?,
        // Where no domain is named, `a%b` and `b!a` name one to many servers (Postfix: `allow_percent_hack`, `swap_bangpath`).
        None if local.iter().any(|b| matches!(b, b'%' | b'!')) => return None,
        None => (&[][..], rest),
    };
    let told_apart =
        [&local[..], domain].iter().all(|part| !str::from_utf8(part).is_ok_and(|text| text.chars().any(is_guise)));
    told_apart.then(|| (Path::Mailbox(Mailbox { local, domain: domain.to_vec() }), rest))
}

/// Whether a sign is an ASCII letter, digit or dot, or nothing at all, to servers that fold cases (Postfix with SMTPUTF8: `ß` is `ss`, the Kelvin sign
/// `k`) or prepare domains for the DNS (UTS 46), and something else to us.
fn is_guise(sign: char) -> bool {
    if sign.is_ascii() {
        return false;
    }
    let folds = || sign.to_uppercase().flat_map(char::to_lowercase).any(|c| c.is_ascii());
    let is_form = matches!(sign,
        'ª' | 'º' | '²' | '³' | '¹' | '\u{2b0}'..='\u{2b8}' | '\u{2e0}'..='\u{2e3}' | '\u{1d2c}'..='\u{1d6a}' | '\u{2070}'..='\u{209f}'
        | '\u{2100}'..='\u{218f}' | '\u{2460}'..='\u{24ff}' | '\u{3002}' | '\u{3200}'..='\u{33ff}' | '\u{ff00}'..='\u{ffef}'
        | '\u{1d400}'..='\u{1d7ff}' | '\u{1f100}'..='\u{1f1ff}');
    let is_ignored = matches!(sign,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{e0000}'..='\u{e0fff}');
    folds() || is_form || is_ignored
}

/// What stands in quotes, with quotes and backslashes taken away, up to the closing one; and what is behind that.
fn quoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut plain = Vec::new();
    let mut bytes = text.iter().enumerate();
    while let Some((at, &byte)) = bytes.next() {
        let byte = match byte {
            b'"' => return Some((plain, &text[at + 1..])),
            b'\\' => *bytes.next()?.1,
            byte => byte,
        };
        if byte.is_ascii_control() {
            return None;
        }
        plain.push(byte);
    }
    None
}

/// A domain or an address literal, without the dot of the root; and what stands behind it.
fn domain(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if text.starts_with(b"[") {
        let (literal, rest) = text.split_at(text.iter().position(|&b| b == b']')? + 1);
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'-');
        return literal[1..literal.len() - 1].iter().all(plain).then_some((literal, rest));
    }
    let (name, rest) = split_where(text, |b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | 0x80..)));
    let name = name.strip_suffix(b".").unwrap_or(name);
    let labelled = name.split(|&b| b == b'.').all(|label| !label.is_empty());
    labelled.then_some((name, rest))
}

/// `atext` of RFC 5322 and RFC 6531, and the dot.
fn is_atom(byte: &u8) -> bool {
    // The letters and digits, and !#$%&'*+-/=?^_`{|}~ and the dot.
    matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-'..=b'9' | b'=' | b'?' | b'A'..=b'Z' | b'^'..=b'~' | 0x80..)
}

fn split_where(text: &[u8], end: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(end).unwrap_or(text.len()))
}

/// Nothing, or words behind blanks that begin as parameters do (RFC 5321, section 4.1.2): more of the address could be among others.
fn are_parameters(text: &[u8]) -> bool {
    let is_parameter = |word: &[u8]| {
        let (keyword, rest) = split_where(word, |b| !(b.is_ascii_alphanumeric() || *b == b'-'));
        word.is_empty() || !keyword.is_empty() && matches!(rest.first(), None | Some(b'='))
    };
    text.first().is_none_or(is_blank) && text.split(is_blank).all(is_parameter)
}

fn size(parameters: &[u8]) -> Option<u64> {
    parameters.split(is_blank).find_map(|parameter| {
        let (name, value) = parameter.split_at_checked(5)?;
        if !name.eq_ignore_ascii_case(b"SIZE=") || !value.iter().all(u8::is_ascii_digit) {
            return None;
        }
        str::from_utf8(value).ok()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn atoms_are_of_rfc_5322() {
        for byte in 0..=u8::MAX {
            let atext = byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte) || byte >= 0x80;
            assert_eq!(is_atom(&byte), atext, "{byte}");
        }
    }

    fn address(text: &str) -> String {
        match parse("TO", text.as_bytes()).path {
            Path::Null => "null".into(),
            Path::Unreadable => "unreadable".into(),
            Path::Mailbox(mailbox) => String::from_utf8(mailbox.login("home.example")).unwrap(),
        }
    }

    #[test]
    fn paths_in_every_form_people_send() {
        for (text, expected) in [
            (" TO:<a@b.example>", "a@b.example"),
            (" to:<a@b.example>", "a@b.example"),
            (" To: <a@b.example>", "a@b.example"),
            (" TO :<a@b.example>", "a@b.example"),
            (" TO:a@b.example", "a@b.example"),
            (" TO:< a@b.example>", "a@b.example"),
            (" TO:<a@b.example > NOTIFY=NEVER", "a@b.example"),
            (" TO:< >", "null"),
            (" TO:<jürgen.ñ@bücher.example>", "jürgen.ñ@bücher.example"),
            (" TO: a@b.example NOTIFY=NEVER", "a@b.example"),
            ("\tTO:\t<a@b.example>\tNOTIFY=NEVER  ORCPT=rfc822;x+40<y>@z ", "a@b.example"),
            (" TO:<a@b.example> ", "a@b.example"),
            (" TO:<>", "null"),
            (" TO:<postmaster>", "postmaster@home.example"),
            (" TO:Postmaster", "Postmaster@home.example"),
            (" TO:<a@b.example.>", "a@b.example"),
            (" TO:<a@under_score.example>", "a@under_score.example"),
            (" TO:<a@[192.0.2.1]>", "a@[192.0.2.1]"),
            (" TO:<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]"),
            (" TO:<.a..b.@b.example>", ".a..b.@b.example"),
            (" TO:<a%b!c/d#e&f=g+h@b.example>", "a%b!c/d#e&f=g+h@b.example"),
            (" TO:<@one.example,@two.example:a@b.example>", "a@b.example"),
            (" TO:<\"john doe\"@b.example>", "john doe@b.example"),
            (" TO:<\"a>b\\\" \\\\c@d\"@b.example> X=1", "a>b\" \\c@d@b.example"),
            (" TO:<\"a\\b\"@c.example>", "ab@c.example"),
            (" TO:\"john doe\"@b.example", "john doe@b.example"),
            (" TO:<jürgen@bücher.example>", "jürgen@bücher.example"),
            (" TO:", "unreadable"),
            (" TO", "unreadable"),
            (" FROM:<a@b.example>", "unreadable"),
            (" <a@b.example>", "unreadable"),
            (" TO:<@b.example>", "unreadable"),
            ("", "unreadable"),
        ] {
            assert_eq!(address(text), expected, "{text}");
        }
    }

    #[test]
    fn what_servers_read_in_other_ways_is_not_read() {
        for text in [
            "<a@b.example(x)>",
            "<a(x)@b.example>",
            "(<x@far.example>)<a@b.example>",
            "(<a@b.example>)<m@b.example>",
            "<a@b.example>(x)",
            "<a@b.example> (x)",
            "<a@ b.example>",
            "<a @b.example>",
            "<a@\u{212a}iosk.example>",
            "<\u{17f}am@b.example>",
            "<a@gro\u{df}.example>",
            "<a@\u{ff4b}iosk.example>",
            "<a@kio\u{ad}sk.example>",
            "<a@kiosk\u{3002}example>",
            "<a@b\t.example>",
            "<\"a\" @b.example>",
            "a @b.example",
            "a@ b.example",
            "<a@b.example",
            "a@b.example>",
            "<<a@b.example>>",
            "<x@far.example><a@b.example>",
            "<x@far.example> <a@b.example>",
            "<x@far.example>a@b.example",
            "x@far.example <a@b.example>",
            "x@far.example,a@b.example",
            "<x@far.example,a@b.example>",
            "x@far.example a@b.example",
            "Name <a@b.example>",
            "Name<a@b.example>",
            "group:<a@b.example>",
            "<group:a@b.example;>",
            "<a@>",
            "<@b.example>",
            "<\"\"@b.example>",
            "<\"a@b.example\">",
            "<\"@x.example:a\"@b.example>",
            "<\"\\@x.example:a\"@b.example>",
            "<a%b.example>",
            "b.example!a",
            "<\"a\".b@b.example>",
            "<a\"b\"@b.example>",
            "<\"a\"\"b\"@b.example>",
            "<\"a@b.example>",
            "<a\\@b@c.example>",
            "<a\\b@c.example>",
            "<a@b@c.example>",
            "<a@b..example>",
            "<a@.example>",
            "<a@b.example..>",
            "<a@b.example%c>",
            "<a@[192.0.2.1>",
            "<a@[192.0.2.1].example>",
            "<a@[b.example](x)>",
            "<@one.example a@b.example>",
            "<@one.example>",
            "<@one.example,two.example:a@b.example>",
            "@one.example:a@b.example",
            "<one.example:a@b.example>",
            "<a\u{7f}@b.example>",
            "<\"a\u{1}\"@b.example>",
            "<a@b.example>NOTIFY=NEVER",
            "<a@b.example>,NOTIFY=NEVER",
        ] {
            assert_eq!(address(&format!(" TO:{text}")), "unreadable", "{text}");
        }
    }

    #[test]
    fn size_is_read_from_the_parameters_only() {
        let size = |text: &[u8]| parse("FROM", text).size;
        assert_eq!(size(b" FROM:<a@b> SIZE=1234 BODY=8BITMIME"), Some(1234));
        assert_eq!(size(b" FROM:<a@b> BODY=8BITMIME size=7"), Some(7));
        assert_eq!(size(b" FROM:<> SIZE=18446744073709551615"), Some(u64::MAX));
        assert_eq!(size(b" FROM:<a@b> SIZE=18446744073709551616"), None);
        assert_eq!(size(b" FROM:<a@b> SIZE="), None);
        assert_eq!(size(b" FROM:<a@b> SIZE=+5"), None);
        assert_eq!(size(b" FROM:<\" SIZE=5\"@b>"), None);
        assert_eq!(size(b" FROM:<a@b>"), None);
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(text in any::<Vec<u8>>()) {
            parse("TO", &text);
            parse("TO", &[b" TO:", &text[..]].concat());
        }

        #[test]
        fn a_quoted_local_part_comes_back(local in "[ -?A-~][ -~]{0,40}", domain in "[a-z]{1,10}\\.example") {
            let quoted = local.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assert_eq!(address(&format!(" TO:<\"{quoted}\"@{domain}> X=Y")), format!("{local}@{domain}"));
        }
    }
}
