//! The reply to EHLO: what of the server's extensions the client may see (RFC 5321, section 4.1.1.1).
//!
//! Everything passes byte for byte except: STARTTLS, which is ours to offer; AUTH, whose mechanisms are filtered (RFC 4954, and
//! the older `AUTH=`); and what is barred ([`super::command::is_barred`]). The last line's blank is put where the last line is.

use super::command::is_barred;
use super::reply;
use crate::protocol::line::trim_ending;
use crate::protocol::sasl;

/// What the client is to be offered by us, whatever the server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) starttls: bool,
    /// False before a TLS that has to come first.
    pub(super) auth: bool,
}

/// A reply to EHLO, filtered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filtered {
    pub(super) bytes: Vec<u8>,
    /// Mechanisms that the server offers and the client was not told of, in upper case.
    pub(super) hidden: Vec<Vec<u8>>,
}

/// Filters a whole reply, given as its lines with their endings.
pub(super) fn filter(lines: &[Vec<u8>], offer: Offer) -> Filtered {
    let Some((greeting, extensions)) = lines.split_first() else {
        return Filtered { bytes: Vec::new(), hidden: Vec::new() };
    };
    let offered: Vec<&[u8]> = extensions.iter().flat_map(|line| mechanisms(line)).collect();
    let allowed: Vec<&[u8]> = sasl::filter(&offered);

    let mut kept = vec![greeting.clone()];
    if offer.starttls {
        kept.push(b"250-STARTTLS\r\n".to_vec());
    }
    for line in extensions {
        match keyword(line).as_slice() {
            b"STARTTLS" => {}
            b"AUTH" if offer.auth => kept.extend(auth_line(line, &allowed)),
            b"AUTH" => {}
            word if is_barred(word) => {}
            _ => kept.push(line.clone()),
        }
    }
    let last = kept.len() - 1;
    for (at, line) in kept.iter_mut().enumerate() {
        set_separator(line, if at == last { b' ' } else { b'-' });
    }
    let hidden =
        offered.iter().filter(|offered| !allowed.contains(offered)).map(|name| name.to_ascii_uppercase()).collect();
    Filtered { bytes: kept.concat(), hidden }
}

/// Whether the reply offers STARTTLS.
pub(super) fn offers_starttls(lines: &[Vec<u8>]) -> bool {
    lines.iter().skip(1).any(|line| keyword(line) == b"STARTTLS")
}

/// The extension's name in upper case.
fn keyword(line: &[u8]) -> Vec<u8> {
    let text = reply::text(trim_ending(line)).trim_ascii_start();
    let end = text.iter().position(|b| b.is_ascii_whitespace() || *b == b'=').unwrap_or(text.len());
    text[..end].to_ascii_uppercase()
}

/// The mechanisms of an AUTH line; none of any other.
fn mechanisms(line: &[u8]) -> Vec<&[u8]> {
    if keyword(line) != b"AUTH" {
        return Vec::new();
    }
    let text = reply::text(trim_ending(line)).trim_ascii_start();
    text[4..].split(|b| b.is_ascii_whitespace() || *b == b'=').filter(|word| !word.is_empty()).collect()
}

/// An AUTH line with the mechanisms that may be used, none where there are none. Untouched where all of them may.
fn auth_line(line: &[u8], allowed: &[&[u8]]) -> Option<Vec<u8>> {
    let offered = mechanisms(line);
    let kept: Vec<&[u8]> = offered.iter().copied().filter(|name| allowed.contains(name)).collect();
    if kept.is_empty() {
        return None;
    }
    if kept.len() == offered.len() {
        return Some(line.to_vec());
    }
    let text = reply::text(trim_ending(line)).trim_ascii_start();
    let separator = if text.get(4) == Some(&b'=') { b'=' } else { b' ' };
    let mut rebuilt = line[..4].to_vec();
    rebuilt.extend_from_slice(&text[..4]);
    rebuilt.push(separator);
    rebuilt.extend_from_slice(&kept.join(&b' '));
    rebuilt.extend_from_slice(b"\r\n");
    Some(rebuilt)
}

/// Makes a line one of the middle (`-`) or the last one (a blank).
fn set_separator(line: &mut Vec<u8>, separator: u8) {
    match line.get(3).copied() {
        Some(b'-') if separator == b' ' => line[3] = b' ',
        Some(b' ' | b'\t') if separator == b'-' => line[3] = b'-',
        Some(b'\r' | b'\n') if separator == b'-' => line.insert(3, b'-'),
        _ => {}
    }
}
