//! Which folder of the owner's Maildir.
//!
//! A name that a server made up becomes the name of one directory right below the Maildir, whatever it is.

use std::fmt;
use std::sync::Arc;

use super::safe;
use crate::{logging, utf7};

/// A Maildir++ folder: the inbox (the Maildir itself) or a named one. A clone shares the name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Folder {
    /// The directory's name below the Maildir (`.Work.Reports`), empty for the inbox.
    name: Arc<str>,
}

impl Folder {
    pub fn inbox() -> Folder {
        Folder { name: Arc::default() }
    }

    /// The folder of these levels, outermost first, each in modified UTF-7 as on the wire. What a file system or Maildir++ cannot hold in
    /// a level (`.`, `/`, `%`, control and non-ASCII bytes) is written `%XX`, an empty level `%empty`, and a name over 255 bytes is
    /// shortened with a hash: different levels always give different folders. The inbox: no levels, or `INBOX` in any case
    /// (RFC 3501, section 5.1) as the only one.
    pub fn new(levels: &[&[u8]]) -> Folder {
        if let [only] = levels
            && only.eq_ignore_ascii_case(b"INBOX")
        {
            return Folder::inbox();
        }
        let mut name = String::new();
        for level in levels {
            name.push('.');
            if level.is_empty() {
                name.push_str(safe::EMPTY);
            }
            for &byte in *level {
                match byte {
                    b'.' | b'/' | b'%' => safe::push_hex(&mut name, byte),
                    b' '..=b'~' => name.push(char::from(byte)),
                    _ => safe::push_hex(&mut name, byte),
                }
            }
        }
        Folder { name: safe::fit(name).into() }
    }

    /// The folder of a name that the administrator wrote (`sent_folder`): `/` and `.` separate levels, UTF-8 becomes modified
    /// UTF-7, empty levels do not count. Nothing at all is the inbox.
    pub fn parse(name: &str) -> Folder {
        let levels: Vec<String> = name.split(['/', '.']).filter(|level| !level.is_empty()).map(utf7::encode).collect();
        let levels: Vec<&[u8]> = levels.iter().map(|level| level.as_bytes()).collect();
        Folder::new(&levels)
    }

    /// The directory's name below the Maildir, with its leading dot; empty for the inbox.
    pub fn dir_name(&self) -> &str {
        &self.name
    }
}

/// As it may stand in a log line: `INBOX`, or the name without its leading dot.
impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.strip_prefix('.') {
            Some(name) => logging::Escaped(name.as_bytes()).fmt(f),
            None => f.write_str("INBOX"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_on_disk() {
        for (levels, name) in [
            (&[][..], ""),
            (&[&b"inbox"[..]][..], ""),
            (&[b"INBOX", b"Sent"], ".INBOX.Sent"),
            (&[b"Work", b"Reports"], ".Work.Reports"),
            (&[b"v1.2"], ".v1%2E2"),
            (&[b"..", b"/etc"], ".%2E%2E.%2Fetc"),
            (&[b""], ".%empty"),
            (&[b"a\0\x7f\xc3%"], ".a%00%7F%C3%25"),
            (&[b"Entw&APw-rfe"], ".Entw&APw-rfe"),
            (&[b"cur"], ".cur"),
        ] {
            assert_eq!(Folder::new(levels).dir_name(), name);
        }
    }

    #[test]
    fn the_configured_name() {
        for (name, dir) in [
            ("", ""),
            ("Sent", ".Sent"),
            ("Mail/Sent", ".Mail.Sent"),
            ("Mail.Sent", ".Mail.Sent"),
            ("/Sent/", ".Sent"),
            ("Gesendet ü", ".Gesendet &APw-"),
            ("R&D", ".R&-D"),
            ("100%", ".100%25"),
            ("INBOX", ""),
        ] {
            assert_eq!(Folder::parse(name).dir_name(), dir);
        }
    }

    #[test]
    fn shows_itself_for_the_log() {
        assert_eq!(Folder::inbox().to_string(), "INBOX");
        assert_eq!(Folder::parse("a b/c").to_string(), "a\\x20b.c");
    }

    #[test]
    fn a_long_name_is_shortened_and_stays_its_own() {
        let long = vec![b'a'; 300];
        let mut other = long.clone();
        other[299] = b'b';
        let (one, two) = (Folder::new(&[&long]), Folder::new(&[&other]));
        assert!(one.dir_name().len() <= 255 && one != two);
        assert_ne!(Folder::new(&[&one.dir_name().as_bytes()[1..]]), one);
    }

    fn level() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'%'), Just(b'/'), Just(b'2'), Just(b'E')], 0..4),
            proptest::collection::vec(any::<u8>(), 0..100),
            proptest::collection::vec(any::<u8>(), 200..260),
        ]
    }

    proptest! {
        #[test]
        fn different_levels_are_different_folders(
            one in proptest::collection::vec(level(), 0..4),
            two in proptest::collection::vec(level(), 0..4),
        ) {
            let refs = |levels: &[Vec<u8>]| -> Folder {
                Folder::new(&levels.iter().map(Vec::as_slice).collect::<Vec<_>>())
            };
            let (first, second) = (refs(&one), refs(&two));
            prop_assert_eq!(one == two, first == second);
            for name in [first.dir_name(), second.dir_name()] {
                prop_assert!(name.len() <= 255 && !name.contains('/') && !name.contains(".."));
                prop_assert!(name.is_empty() || (name.starts_with('.') && name.len() > 1));
                prop_assert!(name.bytes().all(|b| (b' '..=b'~').contains(&b)));
            }
        }
    }
}
