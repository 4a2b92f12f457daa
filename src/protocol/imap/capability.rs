//! Which of the server's capabilities a client gets to see, wherever they are told: `CAPABILITY` responses, `[CAPABILITY …]` codes,
//! `ENABLED` (RFC 9051, section 7.2.2). Taken out: what would blind the capture or lead the client past us, and TLS, which ends here.

use std::borrow::Cow;

use crate::protocol::sasl;

/// What depends on the two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    /// The client must start TLS first: offer it, hide every login.
    pub(super) offer_starttls: bool,
    /// The way to the server is encrypted: its `LOGINDISABLED` was about the time before.
    pub(super) upstream_encrypted: bool,
}

/// Extensions that are never offered and that `ENABLE` may not name.
const HIDDEN: &[&str] = &[
    // A deflated stream cannot be read (RFC 4978).
    "COMPRESS=",
    // The server decodes or transcodes: what it sends is not the message (RFC 3516, RFC 5259).
    "BINARY",
    "CONVERT",
    // Messages put together or fetched by URL, past the capture (RFC 4469, RFC 4467, RFC 5550, RFC 5524).
    "CATENATE",
    "URLAUTH",
    "URLAUTH=BINARY",
    "URL-PARTIAL",
    // EXPUNGE, VANISHED and messages may come at any time: an answer to us could not be told from them (RFC 5465).
    "NOTIFY",
    // Changes the shape of FETCH responses (RFC 9586); rev2 brings BINARY with it.
    "UIDONLY",
    "IMAP4REV2",
    // The identity would change in mid-stream (RFC 8437, Netscape's and Oracle's own).
    "UNAUTHENTICATE",
    "X-UNAUTHENTICATE",
    "PROXYAUTH",
    "XPROXYREUSE",
    // The client would go around us (RFC 2221, RFC 2193, RFC 9698).
    "LOGIN-REFERRALS",
    "MAILBOX-REFERRALS",
    "JMAPACCESS",
    // Ours to offer.
    "STARTTLS",
];

/// Whether this extension is hidden from clients.
pub(super) fn is_hidden(name: &[u8]) -> bool {
    HIDDEN.iter().any(|hidden| {
        let hidden = hidden.as_bytes();
        match hidden.strip_suffix(b"=") {
            Some(_) => name.len() >= hidden.len() && name[..hidden.len()].eq_ignore_ascii_case(hidden),
            None => name.eq_ignore_ascii_case(hidden),
        }
    })
}

/// The capabilities that stay, in their order and spelling, and ours behind them. `list` is separated by blanks.
pub(super) fn filter(list: &[u8], context: Context) -> Vec<u8> {
    let names: Vec<&[u8]> = list.split(|&b| b == b' ').filter(|name| !name.is_empty()).collect();
    let offered: Vec<&[u8]> = names.iter().filter_map(|name| mechanism(name)).collect();
    let allowed = if context.offer_starttls { Vec::new() } else { sasl::filter(&offered) };
    let mut kept: Vec<&[u8]> = names
        .into_iter()
        .filter(|name| match mechanism(name) {
            Some(mechanism) => allowed.contains(&mechanism),
            None if name.eq_ignore_ascii_case(b"LOGINDISABLED") => {
                !context.offer_starttls && !context.upstream_encrypted
            }
            None => !is_hidden(name),
        })
        .collect();
    if context.offer_starttls {
        kept.extend([&b"STARTTLS"[..], b"LOGINDISABLED"]);
    }
    kept.join(&b' ')
}

fn mechanism(name: &[u8]) -> Option<&[u8]> {
    (name.len() >= 5 && name[..5].eq_ignore_ascii_case(b"AUTH=")).then(|| &name[5..])
}

/// A whole status line (`* OK [CAPABILITY …] text`, tagged or not) with its response code filtered; also drops a `[REFERRAL …]`
/// (RFC 2221). `codes`: `false` takes any code out altogether (it was told before TLS: an ALERT would be shown to the user).
pub(super) fn filter_status(line: &[u8], context: Context, codes: bool) -> Cow<'_, [u8]> {
    let Some((start, end)) = response_code(line) else { return Cow::Borrowed(line) };
    let code = &line[start + 1..end];
    let word_len = code.iter().position(|&b| b == b' ').unwrap_or(code.len());
    let (word, rest) = code.split_at(word_len);
    let middle = if word.eq_ignore_ascii_case(b"CAPABILITY") && codes {
        let filtered = filter(rest, context);
        // Nothing to change: the line stays as it is to the byte.
        if rest.strip_prefix(b" ") == Some(&filtered) {
            return Cow::Borrowed(line);
        }
        [&b"["[..], word, b" ", &filtered, b"]"].concat()
    } else if !codes || word.eq_ignore_ascii_case(b"REFERRAL") {
        Vec::new()
    } else {
        return Cow::Borrowed(line);
    };
    let mut tail = &line[end + 1..];
    if middle.is_empty() {
        tail = tail.strip_prefix(b" ").unwrap_or(tail);
    }
    Cow::Owned([&line[..start], &middle, tail].concat())
}

/// Where the brackets of a status line's response code stand: behind the tag and the status word.
fn response_code(line: &[u8]) -> Option<(usize, usize)> {
    let mut blanks = line.iter().enumerate().filter(|(_, b)| **b == b' ').map(|(at, _)| at);
    let start = blanks.nth(1)? + 1;
    if line.get(start) != Some(&b'[') {
        return None;
    }
    let end = line.iter().position(|&b| b == b']').filter(|&end| end > start)?;
    Some((start, end))
}

/// The response code of a status line, in upper case up to its first blank (`UIDVALIDITY`, `CLOSED`), if it has one.
pub(super) fn status_code(line: &[u8]) -> Option<Vec<u8>> {
    let (start, end) = response_code(line)?;
    line[start + 1..end].split(|&b| b == b' ').next().map(<[u8]>::to_ascii_uppercase)
}

/// The number in a status line's response code (`[UIDVALIDITY 5]`).
pub(super) fn status_number(line: &[u8]) -> Option<u32> {
    let (start, end) = response_code(line)?;
    let number = line[start + 1..end].split(|&b| b == b' ').nth(1)?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Context = Context { offer_starttls: false, upstream_encrypted: true };
    const BEFORE: Context = Context { offer_starttls: true, upstream_encrypted: true };

    fn filtered(list: &str, context: Context) -> String {
        String::from_utf8(filter(list.as_bytes(), context)).unwrap()
    }

    #[test]
    fn hidden_ones_go_and_the_rest_stays_as_it_is() {
        assert_eq!(
            filtered(
                "IMAP4rev1 IMAP4rev2 SASL-IR compress=deflate Binary LITERAL+ AUTH=PLAIN auth=GSSAPI IDLE CATENATE X-GM-EXT-1",
                OPEN
            ),
            "IMAP4rev1 SASL-IR LITERAL+ AUTH=PLAIN IDLE X-GM-EXT-1"
        );
    }

    #[test]
    fn starttls_is_ours() {
        assert_eq!(filtered("IMAP4rev1 STARTTLS LOGINDISABLED", OPEN), "IMAP4rev1");
        assert_eq!(filtered("IMAP4rev1 AUTH=PLAIN STARTTLS", BEFORE), "IMAP4rev1 STARTTLS LOGINDISABLED");
        let plain = Context { offer_starttls: false, upstream_encrypted: false };
        assert_eq!(filtered("IMAP4rev1 LOGINDISABLED", plain), "IMAP4rev1 LOGINDISABLED");
    }

    #[test]
    fn codes_of_status_lines_are_filtered() {
        let check = |line: &str| String::from_utf8(filter_status(line.as_bytes(), OPEN, true).into_owned()).unwrap();
        assert_eq!(
            check("* OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] hi [x]\r\n"),
            "* OK [CAPABILITY IMAP4rev1] hi [x]\r\n"
        );
        assert_eq!(check("a1 ok [capability  IDLE] in\r\n"), "a1 ok [capability IDLE] in\r\n");
        assert_eq!(check("a1 OK [CAPABILITY IMAP4rev1] in\r\n"), "a1 OK [CAPABILITY IMAP4rev1] in\r\n");
        assert_eq!(check("a1 NO [REFERRAL imap://x/] go\r\n"), "a1 NO go\r\n");
        assert_eq!(check("* OK [UIDNEXT 5] x COMPRESS=DEFLATE\r\n"), "* OK [UIDNEXT 5] x COMPRESS=DEFLATE\r\n");
        assert_eq!(check("* OK text [CAPABILITY BINARY]\r\n"), "* OK text [CAPABILITY BINARY]\r\n");
        let without = filter_status(b"* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n", OPEN, false);
        assert_eq!(*without, *b"* OK hi\r\n");
        assert_eq!(*filter_status(b"* OK [ALERT] call 0900\r\n", OPEN, false), *b"* OK call 0900\r\n");
    }

    #[test]
    fn status_codes_are_read() {
        assert_eq!(status_code(b"* OK [closed] x\r\n").unwrap(), b"CLOSED");
        assert_eq!(status_code(b"* OK [UIDVALIDITY 5] x\r\n").unwrap(), b"UIDVALIDITY");
        assert_eq!(status_code(b"* OK x\r\n"), None);
    }
}
