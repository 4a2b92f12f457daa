//! Envelope paths: whose address stands in a `MAIL FROM:` or `RCPT TO:` (RFC 5321, section 4.1.2; RFC 6531 for UTF-8).
//!
//! Reads generously, for it only names a Maildir: whether an address is good is the server's to say. What cannot be read
//! at all is said to be so, never guessed at.

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

/// Reads what stands behind the verb: `FROM:<path> SIZE=…`, `TO: path …`, in any case, with or without brackets and blanks.
pub(super) fn parse(keyword: &str, argument: &[u8]) -> Argument {
    let unreadable = Argument { path: Path::Unreadable, size: None };
    let argument = skip_blanks(argument);
    let Some((word, rest)) = argument.split_at_checked(keyword.len()) else { return unreadable };
    if !word.eq_ignore_ascii_case(keyword.as_bytes()) {
        return unreadable;
    }
    let rest = skip_blanks(rest);
    let Some(rest) = rest.strip_prefix(b":") else { return unreadable };
    let (path, parameters) = split_path(skip_blanks(rest));
    Argument { path: read_path(path), size: size(parameters) }
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|b| !is_blank(b)).unwrap_or(text.len());
    &text[start..]
}

/// Cuts behind the path: at the `>` of a bracketed one, else at the first blank; neither counts inside quotes.
fn split_path(text: &[u8]) -> (&[u8], &[u8]) {
    let mut bracketed = false;
    for (at, byte) in unquoted(text) {
        match byte {
            b'<' => bracketed = true,
            b'>' if bracketed => return text.split_at(at + 1),
            _ if !bracketed && is_blank(&byte) => return text.split_at(at),
            _ => {}
        }
    }
    (text, &[])
}

/// The bytes that stand neither in a quoted string nor behind a backslash, with their places.
fn unquoted(text: &[u8]) -> impl DoubleEndedIterator<Item = (usize, u8)> {
    let mut quoted = false;
    let mut escaped = false;
    let mut found = Vec::new();
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            _ if !quoted => found.push((at, byte)),
            _ => {}
        }
    }
    found.into_iter()
}

fn read_path(text: &[u8]) -> Path {
    let open = unquoted(text).find(|&(_, byte)| byte == b'<');
    let mailbox = match open {
        Some((at, _)) => {
            let inner = &text[at + 1..];
            skip_blanks(inner.strip_suffix(b">").unwrap_or(inner)).trim_ascii_end()
        }
        None => text,
    };
    if mailbox.is_empty() {
        return if open.is_some() { Path::Null } else { Path::Unreadable };
    }
    let mailbox = without_route(mailbox);
    let (local, domain) = match unquoted(mailbox).rfind(|&(_, byte)| byte == b'@') {
        Some((at, _)) => (&mailbox[..at], &mailbox[at + 1..]),
        None => (mailbox, &[][..]),
    };
    let local = unquote(local);
    if local.is_empty() {
        return Path::Unreadable;
    }
    let domain = domain.strip_suffix(b".").unwrap_or(domain);
    Path::Mailbox(Mailbox { local, domain: domain.to_vec() })
}

/// Drops a source route, `@one,@two:` (RFC 5321, section 4.1.1.3: to be ignored).
fn without_route(mailbox: &[u8]) -> &[u8] {
    if !mailbox.starts_with(b"@") {
        return mailbox;
    }
    match unquoted(mailbox).find(|&(_, byte)| byte == b':') {
        Some((at, _)) => skip_blanks(&mailbox[at + 1..]),
        None => mailbox,
    }
}

/// Takes quotes and backslashes away.
fn unquote(local: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(local.len());
    let mut escaped = false;
    for &byte in local {
        match byte {
            _ if escaped => {
                plain.push(byte);
                escaped = false;
            }
            b'\\' => escaped = true,
            b'"' => {}
            _ => plain.push(byte),
        }
    }
    plain
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
            (" TO: a@b.example NOTIFY=NEVER", "a@b.example"),
            ("\tTO:\t< a@b.example > NOTIFY=NEVER", "a@b.example"),
            (" TO:<a@b.example", "a@b.example"),
            (" TO:<>", "null"),
            (" TO:< >", "null"),
            (" TO:<postmaster>", "postmaster@home.example"),
            (" TO:<a@>", "a@home.example"),
            (" TO:<a@b.example.>", "a@b.example"),
            (" TO:<a@[192.0.2.1]>", "a@[192.0.2.1]"),
            (" TO:<@one.example,@two.example:a@b.example>", "a@b.example"),
            (" TO:<\"john doe\"@b.example>", "john doe@b.example"),
            (" TO:<\"a>b\\\" \\\\c@d\"@b.example> X=1", "a>b\" \\c@d@b.example"),
            (" TO:<a\\@b@c.example>", "a@b@c.example"),
            (" TO:<\"a@b\">", "a@b@home.example"),
            (" TO:<jürgen@bücher.example>", "jürgen@bücher.example"),
            (" TO:Name<a@b.example>", "a@b.example"),
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
        fn a_quoted_local_part_comes_back(local in "[ -~]{1,40}", domain in "[a-z]{1,10}\\.example") {
            let quoted = local.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assert_eq!(address(&format!(" TO:<\"{quoted}\"@{domain}> X=Y")), format!("{local}@{domain}"));
        }
    }
}
