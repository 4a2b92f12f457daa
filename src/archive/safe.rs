//! Names for the file system out of bytes that strangers chose. Nothing here does I/O; all of it is injective.
//!
//! `%` begins every escape and is itself always escaped, so an escaped name can be read in one way only: `%XX` is a
//! byte, `%empty` is nothing at all, `%~` and 64 hex digits end a name that had to be shortened.

use std::fmt::Write;

use openssl::sha::sha256;

/// What a name of no bytes is called.
pub(super) const EMPTY: &str = "%empty";

/// The longest name of one directory entry, octets (Linux's `NAME_MAX`).
pub(super) const NAME_LEN_MAX: usize = 255;

const SHORTENED: &str = "%~";
const HASH_LEN: usize = 64;

/// Appends `%XX`, in upper case.
pub(super) fn push_hex(out: &mut String, byte: u8) {
    // Writing to a `String` cannot fail.
    let _ = write!(out, "%{byte:02X}");
}

/// The lower-case hex of a hash.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    push_lower_hex(&mut out, bytes);
    out
}

/// Appends it.
pub(super) fn push_lower_hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // In pieces on the stack: octet by octet each would ask for room.
    for piece in bytes.chunks(32) {
        let mut digits = [0; 64];
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(piece) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        out.push_str(std::str::from_utf8(&digits[..piece.len() * 2]).unwrap_or_default());
    }
}

/// A value as (part of) a directory's name: `/`, control and invisible characters, `%`, a leading `.` and what is not UTF-8 are
/// written `%XX` byte by byte.
pub(super) fn escape(value: &[u8]) -> String {
    if value.is_empty() {
        return EMPTY.to_string();
    }
    let mut out = String::with_capacity(value.len());
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_harmful(c) || (c == '.' && out.is_empty()) {
                let mut buffer = [0; 4];
                for &byte in c.encode_utf8(&mut buffer).as_bytes() {
                    push_hex(&mut out, byte);
                }
            } else {
                out.push(c);
            }
        }
        for &byte in chunk.invalid() {
            push_hex(&mut out, byte);
        }
    }
    out
}

/// The name itself, or where it is too long its beginning and its hash. A name that already looks shortened is shortened as well:
/// that keeps the two kinds apart, whatever literals a template adds.
pub(super) fn fit(name: String) -> String {
    if name.len() <= NAME_LEN_MAX && !looks_shortened(&name) {
        return name;
    }
    let hash = hex(&sha256(name.as_bytes()));
    let mut end = name.len().min(NAME_LEN_MAX - SHORTENED.len() - HASH_LEN);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{SHORTENED}{hash}", &name[..end])
}

fn looks_shortened(name: &str) -> bool {
    name.len()
        .checked_sub(SHORTENED.len() + HASH_LEN)
        .and_then(|at| name.get(at..))
        .and_then(|tail| tail.strip_prefix(SHORTENED))
        .is_some_and(|hash| hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// What must not, or should not, stand in a directory's name: what ends a path, what a terminal obeys, what nobody sees.
fn is_harmful(c: char) -> bool {
    c == '/'
        || c == '%'
        || c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_values() {
        for (value, name) in [
            (&b""[..], "%empty"),
            (b"alice", "alice"),
            (b"..", "%2E."),
            (b".", "%2E"),
            (b"a.b", "a.b"),
            (b"a/../b", "a%2F..%2Fb"),
            (b"a\0b\n\x7f", "a%00b%0A%7F"),
            (b"%empty", "%25empty"),
            ("ü\u{85}".as_bytes(), "ü%C2%85"),
            (b"\xff\xc3", "%FF%C3"),
            ("a\u{202e}b".as_bytes(), "a%E2%80%AEb"),
        ] {
            assert_eq!(escape(value), name);
        }
    }

    fn unescape(name: &str) -> Vec<u8> {
        if name == EMPTY {
            return Vec::new();
        }
        let mut out = Vec::new();
        let mut rest = name.as_bytes();
        while let [byte, tail @ ..] = rest {
            if *byte == b'%' {
                let digits = std::str::from_utf8(&tail[..2]).unwrap();
                out.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &tail[2..];
            } else {
                out.push(*byte);
                rest = tail;
            }
        }
        out
    }

    proptest! {
        #[test]
        fn an_escape_can_be_read_back(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            let name = escape(&value);
            prop_assert_eq!(unescape(&name), value);
            prop_assert!(!name.starts_with('.') && !name.contains('/') && !name.is_empty());
            prop_assert!(!name.chars().any(char::is_control));
        }

        #[test]
        fn fitted_names_fit(name in "[a-zü%~]{1,400}") {
            let once = fit(name.clone());
            prop_assert!(once.len() <= NAME_LEN_MAX);
            prop_assert!(once == name || fit(once.clone()) != once);
        }
    }
}
