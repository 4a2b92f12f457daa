//! Whose Maildir.
//!
//! An owner is made from a login that the server accepted, or from an envelope address. Any bytes make an owner; what they
//! are called on disk is the template's business.

use std::fmt;
use std::sync::Arc;

use super::safe;
use crate::logging;

/// A mailbox owner: the login that the server accepted (or an envelope address), in lower case, with a domain. A clone shares the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The part before the last `@`, in lower case; any bytes.
    user: Arc<[u8]>,
    /// The part behind it, in lower case; any bytes but `@`, never empty.
    domain: Arc<[u8]>,
}

impl Owner {
    /// The owner for a login name as it crossed the wire. Split at the last `@`; without a domain it gets `default_domain`
    /// (`localhost` where that is empty).
    ///
    /// A Dovecot master login, `user*master`, `user@domain*master` or `user*master@domain`, is the user's: the first `*` divides,
    /// and both names must be there.
    pub fn new(login: &[u8], default_domain: &str) -> Owner {
        match split_master(login) {
            Some(user) => Owner::address(&user, default_domain),
            None => Owner::address(login, default_domain),
        }
    }

    /// Whether this login name is such a master login: its password is not the user's.
    pub fn is_master_login(login: &[u8]) -> bool {
        split_master(login).is_some()
    }

    /// The owner for an envelope address (without its angle brackets), where a `*` is a character as any other.
    pub fn address(address: &[u8], default_domain: &str) -> Owner {
        let (user, domain) = split_domain(address);
        let default_domain = match default_domain.rsplit('@').next() {
            Some(domain) if !domain.is_empty() => domain,
            _ => "localhost",
        };
        let unicode = std::str::from_utf8(address).is_ok();
        Owner {
            user: lower_case(user, unicode).into(),
            domain: match domain {
                Some(domain) => lower_case(domain, unicode).into(),
                None => lower_case(default_domain.as_bytes(), true).into(),
            },
        }
    }

    pub fn user(&self) -> &[u8] {
        &self.user
    }

    pub fn domain(&self) -> &[u8] {
        &self.domain
    }

    /// `user@domain`, where the owner's folders are called just so, and it may stand as a name in a passwd-file. Another program that makes a
    /// folder's name of any other would look elsewhere.
    pub fn plain_name(&self) -> Option<String> {
        let name = [&self.user[..], b"@", &self.domain].concat();
        let as_they_are = [&self.user[..], &self.domain, &name]
            .into_iter()
            .all(|part| safe::fit(safe::escape(part)).as_bytes() == part);
        let name = String::from_utf8(name).ok().filter(|_| as_they_are)?;
        let fits = !name.starts_with('#') && !name.contains(|c: char| c == ':' || c.is_whitespace());
        fits.then_some(name)
    }
}

/// `user@domain` as it may stand in a log line.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", logging::Escaped(&self.user), logging::Escaped(&self.domain))
    }
}

/// What stands before the last `@`, and what stands behind it unless that is nothing.
fn split_domain(address: &[u8]) -> (&[u8], Option<&[u8]>) {
    match address.iter().rposition(|&b| b == b'@') {
        Some(at) => {
            let domain = &address[at + 1..];
            (&address[..at], (!domain.is_empty()).then_some(domain))
        }
        None => (address, None),
    }
}

/// The mailbox that a master login opens, with the domain of the login where the mailbox names none itself.
fn split_master(login: &[u8]) -> Option<Vec<u8>> {
    let star = login.iter().position(|&b| b == b'*')?;
    let (user, master) = (&login[..star], &login[star + 1..]);
    let (user_name, user_domain) = split_domain(user);
    let (master_name, master_domain) = split_domain(master);
    if user_name.is_empty() || master_name.is_empty() {
        return None;
    }
    let domain = user_domain.or(master_domain).unwrap_or_default();
    Some([user_name, b"@", domain].concat())
}

/// Unicode's lower case where the whole name is UTF-8, else that of ASCII: a byte of unknown meaning is left alone.
fn lower_case(bytes: &[u8], unicode: bool) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) if unicode => small_letters(text).into_bytes(),
        _ => bytes.to_ascii_lowercase(),
    }
}

/// The text in lower case, as owners and their domains are written.
pub(crate) fn small_letters(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars().map(small).collect()
}

/// The small letter of a capital one. Signs that only look like a capital stay what they are, or two owners would become one: the Kelvin
/// sign's small letter is the plain `k`, whose capital is the plain `K`.
fn small(capital: char) -> char {
    let mut lower = capital.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(small), None) if small.to_uppercase().eq([capital]) => small,
        _ => capital,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn logins_and_their_owners() {
        for (login, user, domain) in [
            (&b"Alice@Example.COM"[..], &b"alice"[..], &b"example.com"[..]),
            (b"alice", b"alice", b"home.example"),
            (b"alice@", b"alice", b"home.example"),
            (b"a@b@c", b"a@b", b"c"),
            (b"@c", b"", b"c"),
            (b"", b"", b"home.example"),
            (b"DOM\\User", b"dom\\user", b"home.example"),
            ("JÜRGEN@Ä.de".as_bytes(), "jürgen".as_bytes(), "ä.de".as_bytes()),
            (b"J\xdcRGEN@A.de", b"j\xdcrgen", b"a.de"),
            (b"alice*root", b"alice", b"home.example"),
            (b"alice@a.de*root", b"alice", b"a.de"),
            (b"alice*root@a.de", b"alice", b"a.de"),
            (b"alice@a.de*root@b.de", b"alice", b"a.de"),
            (b"alice*root*x@a.de", b"alice", b"a.de"),
            (b"*root@a.de", b"*root", b"a.de"),
            (b"alice*@a.de", b"alice*", b"a.de"),
            (b"alice*", b"alice*", b"home.example"),
            (b"*", b"*", b"home.example"),
        ] {
            let owner = Owner::new(login, "Home.Example");
            assert_eq!((owner.user(), owner.domain()), (user, domain), "{login:?}");
        }
    }

    #[test]
    fn signs_that_look_like_capitals_are_other_owners() {
        // Kelvin, Angstrom, the dotted I, the Ohm sign: their small letters are, or begin with, those of other capitals.
        for (sign, letter) in [("\u{212a}", "k"), ("\u{212b}", "å"), ("\u{130}", "i"), ("\u{2126}", "ω")] {
            let owner = |name: &str| Owner::new(format!("{name}im@{name}.de").as_bytes(), "");
            assert_ne!(owner(sign), owner(letter), "{sign}");
            assert_eq!(owner(&letter.to_uppercase()), owner(letter), "{letter}");
        }
    }

    #[test]
    fn a_star_in_an_address_is_no_master_login() {
        let owner = Owner::address(b"a*b@c.de", "x");
        assert_eq!((owner.user(), owner.domain()), (&b"a*b"[..], &b"c.de"[..]));
    }

    #[test]
    fn names_that_are_the_same_everywhere() {
        let name = |login: &str| Owner::new(login.as_bytes(), "home.example").plain_name();
        for (login, plain) in [
            ("Alice@Example.COM", "alice@example.com"),
            ("a'b+c%", ""),
            ("a'b+c", "a'b+c@home.example"),
            ("j\u{fc}rgen@a.de", "j\u{fc}rgen@a.de"),
            ("-a@b", "-a@b"),
            ("a@b@c", "a@b@c"),
        ] {
            assert_eq!(name(login).unwrap_or_default(), plain, "{login}");
        }
        for login in ["a:b", "a b", "a\u{a0}b", "a\nb", "a/b", "..", ".a", "#a", "a\u{202e}b", "@c", "a@.", "a@b:c"] {
            assert_eq!(name(login), None, "{login:?}");
        }
        assert_eq!(name(&"x".repeat(300)), None);
        assert_eq!(Owner::new(b"a\xff@b", "").plain_name(), None);
    }

    #[test]
    fn a_default_domain_of_nothing_is_localhost() {
        assert_eq!(Owner::new(b"a", "").domain(), b"localhost");
        assert_eq!(Owner::new(b"a", "x@").domain(), b"localhost");
    }

    #[test]
    fn shows_itself_escaped() {
        assert_eq!(Owner::new(b"a\r\nb c@d", "").to_string(), "a\\x0d\\x0ab\\x20c@d");
    }

    proptest! {
        #[test]
        fn an_owner_names_himself(login in proptest::collection::vec(any::<u8>(), 0..20), default in "[a-z@.]{0,5}") {
            let owner = Owner::new(&login, &default);
            prop_assert!(!owner.domain().is_empty() && !owner.domain().contains(&b'@'));
            let full = [owner.user(), b"@", owner.domain()].concat();
            prop_assert_eq!(Owner::address(&full, "other"), owner);
        }
    }
}
