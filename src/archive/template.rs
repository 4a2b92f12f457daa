//! Where below the spool an owner's Maildir lies: the `maildir` key. No I/O.
//!
//! A template always gives paths of the same depth (values never hold a `/`), so no Maildir lies inside another; and it is taken
//! only where its path tells any two owners apart.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::owner::Owner;
use super::safe;

/// A parsed `maildir` template: `%u` user@domain, `%n` user, `%d` domain, `%%` a percent sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Never empty; nor is any component.
    components: Vec<Vec<Piece>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// `%u`
    Address,
    /// `%n`
    User,
    /// `%d`
    Domain,
}

/// The longest literal text in a component, octets: leaves room for what makes the difference.
const LITERAL_LEN_MAX: usize = 100;

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A sentence for the administrator: what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Template, String> {
        if text.is_empty() {
            return Err("is empty; the default is %d/%n".to_string());
        }
        if text.starts_with('/') {
            return Err("must be relative, it is a path below the spool; leave out the leading /".to_string());
        }
        let components = text.split('/').map(parse_component).collect::<Result<Vec<_>, _>>()?;
        if !tells_apart(&components) {
            return Err(format!(
                "{text} does not tell any two owners apart; use %u, or both %n and %d with a / or an @ between them"
            ));
        }
        Ok(Template { components })
    }

    /// The owner's Maildir, relative to the spool.
    pub(super) fn path(&self, owner: &Owner) -> PathBuf {
        let user = safe::escape(owner.user());
        let domain = safe::escape(owner.domain());
        let address = safe::escape(&[owner.user(), b"@", owner.domain()].concat());
        self.components
            .iter()
            .map(|pieces| {
                let name: String = pieces
                    .iter()
                    .map(|piece| match piece {
                        Piece::Literal(text) => text.as_str(),
                        Piece::Address => &address,
                        Piece::User => &user,
                        Piece::Domain => &domain,
                    })
                    .collect();
                safe::fit(name)
            })
            .collect()
    }

    /// How many directories deep below the spool the Maildirs lie; at least 1.
    pub(super) fn depth(&self) -> usize {
        self.components.len()
    }

    /// Whether a directory of this name at this depth (from 0) can lead to a Maildir.
    pub(super) fn leads(&self, depth: usize, name: &OsStr) -> bool {
        match self.components.get(depth).map(Vec::as_slice) {
            Some([Piece::Literal(text)]) => name == text.as_str(),
            Some(_) => true,
            None => false,
        }
    }
}

fn parse_component(text: &str) -> Result<Vec<Piece>, String> {
    if text.is_empty() {
        return Err("has an empty component; write single / between components and none at the end".to_string());
    }
    if text.starts_with('.') {
        return Err(format!(
            "has the component {text}, which begins with a dot; such names are Maildir++ folders or lead out of the spool"
        ));
    }
    if text.contains(char::is_control) {
        return Err("contains a control character".to_string());
    }
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let piece = match (c, (c == '%').then(|| chars.next()).flatten()) {
            ('%', Some('u')) => Piece::Address,
            ('%', Some('n')) => Piece::User,
            ('%', Some('d')) => Piece::Domain,
            ('%', Some('%')) => {
                literal.push('%');
                continue;
            }
            ('%', other) => {
                return Err(format!(
                    "has the unknown placeholder %{}; there are %u (user@domain), %n (user), %d (domain) and %% (a percent sign)",
                    other.map(String::from).unwrap_or_default()
                ));
            }
            _ => {
                literal.push(c);
                continue;
            }
        };
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(piece);
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    let literal_len: usize = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Literal(text) => text.len(),
            _ => 0,
        })
        .sum();
    if literal_len > LITERAL_LEN_MAX {
        return Err(format!("has a component with more than {LITERAL_LEN_MAX} bytes of fixed text; make it shorter"));
    }
    Ok(pieces)
}

/// Whether user and domain can be read back from the path. A component whose placeholders are known but for one yields that one (all
/// else in it is fixed, so its length and then its text follow); a user and a domain with an `@` between them can be
/// split, for a domain holds none.
fn tells_apart(components: &[Vec<Piece>]) -> bool {
    let mut known: Vec<&Piece> = Vec::new();
    loop {
        if known.contains(&&Piece::Address) || (known.contains(&&Piece::User) && known.contains(&&Piece::Domain)) {
            return true;
        }
        let before = known.len();
        for pieces in components {
            let mut unknown: Vec<(usize, &Piece)> = pieces
                .iter()
                .enumerate()
                .filter(|(_, piece)| !matches!(piece, Piece::Literal(_)) && !known.contains(piece))
                .collect();
            if let [(one, _), (two, _)] = unknown[..]
                && two == one + 2
                && matches!(&pieces[one + 1], Piece::Literal(text) if text.contains('@'))
                && !unknown.iter().any(|(_, piece)| **piece == Piece::Address)
                && pieces[one] != pieces[two]
            {
                return true;
            }
            unknown.dedup_by_key(|(_, piece)| *piece);
            if let [(_, first), rest @ ..] = &unknown[..]
                && rest.iter().all(|(_, piece)| piece == first)
            {
                known.push(first);
            }
        }
        if known.len() == before {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(template: &str, login: &[u8]) -> String {
        let path = Template::parse(template).unwrap().path(&Owner::address(login, "localhost"));
        path.to_str().unwrap().to_string()
    }

    #[test]
    fn paths() {
        assert_eq!(path("%d/%n", b"Alice@Example.com"), "example.com/alice");
        assert_eq!(path("%u", b"a@b"), "a@b");
        assert_eq!(path("mail/%n@%d/Maildir", b"a@b"), "mail/a@b/Maildir");
        assert_eq!(path("%%x-%u", b"a@b"), "%x-a@b");
        assert_eq!(path("%d/%n", b"../../etc/passwd@.."), "%2E./%2E.%2F..%2Fetc%2Fpasswd");
        assert_eq!(path("%d/%n", b"@x"), "x/%empty");
    }

    #[test]
    fn a_very_long_login_has_a_name_of_its_own() {
        let (one, two) = ([vec![b'a'; 300], b"@x".to_vec()].concat(), [vec![b'a'; 301], b"@x".to_vec()].concat());
        let (one, two) = (path("%d/%n", &one), path("%d/%n", &two));
        assert_ne!(one, two);
        assert!(one.len() <= 257 && two.len() <= 257);
        // Nor can anybody be called like the shortened name.
        let forged = [one.strip_prefix("x/").unwrap().as_bytes(), b"@x"].concat();
        assert_ne!(path("%d/%n", &forged), one);
    }

    #[test]
    fn templates_that_do_not_tell_owners_apart_are_refused() {
        for good in
            ["%u", "%d/%n", "%n/%d", "%n@%d", "%d@%n", "x%n@%dy", "%d/%n-%d", "%d/x/%n", "%u/%n", "%n-%d/%n", "%n%n/%d"]
        {
            assert!(Template::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "/%u",
            "%u/",
            "%d//%n",
            "%n",
            "%d",
            "x",
            "%n%d",
            "%n.%d",
            "%n-%d",
            "%d%n",
            "../%u",
            ".%u",
            "%u/.x",
            "%x/%u",
            "%",
            "%u%",
            "%U",
            "%n@%d%n",
            "%n%d/%d%n",
            "a\tb/%u",
        ] {
            let why = Template::parse(bad).unwrap_err();
            assert!(!why.is_empty(), "{bad}");
        }
        assert!(Template::parse(&format!("{}%u", "x".repeat(101))).is_err());
    }

    #[test]
    fn leads_only_where_maildirs_can_lie() {
        let template = Template::parse("mail/%d/%n").unwrap();
        assert_eq!(template.depth(), 3);
        assert!(template.leads(0, OsStr::new("mail")) && !template.leads(0, OsStr::new("lost+found")));
        assert!(template.leads(1, OsStr::new("anything")) && !template.leads(3, OsStr::new("x")));
    }

    fn login() -> impl Strategy<Value = Vec<u8>> {
        let odd = prop_oneof![
            Just(b'@'),
            Just(b'%'),
            Just(b'/'),
            Just(b'.'),
            Just(b'~'),
            Just(b'2'),
            Just(b'E'),
            Just(b'a'),
            Just(b'A'),
            Just(0),
            Just(0xc3),
            Just(0xbc),
            Just(0xff),
        ];
        let few = proptest::collection::vec(odd.clone(), 0..6);
        let many = proptest::collection::vec(odd, 250..330);
        prop_oneof![few, many]
    }

    proptest! {
        #[test]
        fn two_owners_never_share_a_maildir(
            one in login(),
            two in login(),
            template in prop_oneof![
                Just("%d/%n"), Just("%u"), Just("%n@%d"), Just("%d@%n"), Just("%%~%u"), Just("%n/%d"), Just("%d%%~/%%~%n"),
                Just("%d/%n-%d"), Just("x%%%n@%dy"),
            ],
        ) {
            let template = Template::parse(template).unwrap();
            let (one, two) = (Owner::address(&one, "localhost"), Owner::address(&two, "localhost"));
            let (first, second) = (template.path(&one), template.path(&two));
            prop_assert_eq!(one == two, first == second);
            prop_assert_eq!(first.components().count(), template.depth());
            for component in first.components() {
                let name = component.as_os_str().to_str().unwrap();
                prop_assert!(name.len() <= 255 && !name.starts_with('.'));
            }
        }

        /// The same owner again, in other words: a shortened name offered as a login.
        #[test]
        fn a_path_offered_as_a_login_is_another_owner(one in login()) {
            let template = Template::parse("%%~%u").unwrap();
            let one = Owner::address(&one, "localhost");
            let name = template.path(&one).to_str().unwrap().as_bytes().to_vec();
            for skip in [0, 2] {
                let two = Owner::address(&name[skip..], "localhost");
                prop_assert_eq!(one == two, template.path(&one) == template.path(&two));
            }
        }
    }
}
