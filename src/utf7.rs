//! Modified UTF-7, the spelling of mailbox names in IMAP (RFC 3501, section 5.1.3) and of folders in a Maildir++.
//!
//! Canonical both ways: a name has one spelling, and [`decode`] takes only that one. Never fails but by answering `None`.

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

/// Base64 with `,` for `/` and without padding; decoding refuses bits that are left over.
const BASE64: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

/// The modified UTF-7 of a name: printable ASCII stays, `&` becomes `&-`, all else Base64 of UTF-16.
pub fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while !rest.is_empty() {
        let plain = rest.find(|c| !is_plain(c)).unwrap_or(rest.len());
        out.push_str(&rest[..plain].replace('&', "&-"));
        rest = &rest[plain..];
        let shifted = rest.find(is_plain).unwrap_or(rest.len());
        if shifted > 0 {
            let utf16: Vec<u8> = rest[..shifted].encode_utf16().flat_map(u16::to_be_bytes).collect();
            out.push('&');
            out.push_str(&BASE64.encode(utf16));
            out.push('-');
        }
        rest = &rest[shifted..];
    }
    out
}

/// The name that is spelled so, or `None` where this is not how [`encode`] spells any name.
pub fn decode(spelled: &[u8]) -> Option<String> {
    let spelled = std::str::from_utf8(spelled).ok()?;
    let mut out = String::with_capacity(spelled.len());
    let mut rest = spelled;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let end = at + rest[at..].find('-')?;
        let shifted = &rest[at + 1..end];
        if shifted.is_empty() {
            out.push('&');
        } else {
            let bytes = BASE64.decode(shifted).ok()?;
            let (pairs, []) = bytes.as_chunks::<2>() else {
                return None;
            };
            let units: Vec<u16> = pairs.iter().map(|&pair| u16::from_be_bytes(pair)).collect();
            out.push_str(&String::from_utf16(&units).ok()?);
        }
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    // What remains to refuse (raw 8-bit or control bytes, ASCII in Base64, two shifts in a row) all shows here.
    (encode(&out) == spelled).then_some(out)
}

/// What stands for itself: printable ASCII (`&` too, but for its doubling).
fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_rfc() {
        for (name, spelled) in [
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("R&D", "R&-D"),
            ("&", "&-"),
            ("", ""),
            ("😀", "&2D3eAA-"),
            ("a\tb", "a&AAk-b"),
            ("ü&ü", "&APw-&-&APw-"),
        ] {
            assert_eq!(encode(name), spelled);
            assert_eq!(decode(spelled.as_bytes()).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        for spelled in [
            &b"&Jjo!"[..],
            b"&",
            b"&A",
            b"&AA-",
            b"&APw",
            b"&U,BTFw-&ZeVnLIqe-",
            b"&AGE-",
            b"\xc3\xbc",
            b"\xff",
            b"a\x01",
            b"&2D0-",
            b"&APw=-",
            b"&APx-",
            b"&AP/-",
        ] {
            assert_eq!(decode(spelled), None, "{spelled:?}");
        }
    }

    proptest! {
        #[test]
        fn every_name_survives(name in any::<String>()) {
            let spelled = encode(&name);
            prop_assert!(spelled.bytes().all(|b| (b' '..=b'~').contains(&b)));
            prop_assert_eq!(decode(spelled.as_bytes()), Some(name));
        }

        #[test]
        fn what_is_decoded_is_canonical(spelled in "[&,\\-A-Za-z0-9+/ü]{0,12}") {
            if let Some(name) = decode(spelled.as_bytes()) {
                prop_assert_eq!(encode(&name), spelled);
            }
        }
    }
}
