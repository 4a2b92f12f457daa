//! From sections to the configuration: which keys are unknown or missing, what their values mean, and what does not
//! go together.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

use super::fault::Faults;
use super::keys::{About, Fallback, Key, PROXY, Place, SHARED, all};
use super::read::{Entry, Section};
use super::{Config, Kind, Proxy, Shared, TlsMode};

const NAME_LEN_MAX: usize = 64;

/// The configuration that these sections describe. It is only good if nothing was added to `faults`.
pub(super) fn build(file: &Path, sections: &[Section], faults: &mut Faults) -> Config {
    // "" for a file in the working folder: joined, nothing changes.
    let base = file.parent().unwrap_or(Path::new(""));
    let mut shared = None;
    let mut proxies: Vec<Proxy> = Vec::new();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut listeners = Listeners::default();
    let mut strange = false;
    for section in sections {
        let Some(name) = section.name.as_deref() else {
            strange = true;
            continue;
        };
        let meaning = match meaning(name) {
            Ok(meaning) => meaning,
            Err(why) => {
                strange = true;
                faults.add(Some(name), None, Some(section.line), why);
                continue;
            }
        };
        let first = *seen.entry(name).or_insert(section.line);
        let again = first != section.line;
        if again {
            let why = match meaning {
                Meaning::Shared => {
                    format!("is there twice, first in line {first}; put all its keys into one")
                }
                Meaning::Proxy(_) => format!(
                    "is there twice, first in line {first}; two proxies of a kind need names, as [{0}:one] and [{0}:two]",
                    name.split(':').next().unwrap_or(name)
                ),
            };
            faults.add(Some(name), None, Some(section.line), why);
        }
        let filler = Filler { name, section, base, again };
        match meaning {
            Meaning::Shared => {
                let found = filler.shared(faults);
                shared.get_or_insert(found);
            }
            Meaning::Proxy(kind) => {
                let proxy = filler.proxy(kind, faults);
                if !again {
                    listeners.add(&proxy, section, faults);
                    proxies.push(proxy);
                }
            }
        }
    }
    if proxies.is_empty() && !strange {
        let why = "has no proxy; add a section [pop3], [imap] or [smtp] with listen and upstream";
        faults.add(None, None, None, why.to_owned());
    }
    let mut shared = shared.unwrap_or_else(|| {
        let section = Section { name: None, line: 0, entries: Vec::new() };
        Filler { name: "mailstore", section: &section, base, again: false }.shared(faults)
    });
    if shared.default_domain.is_empty() {
        shared.default_domain = "localhost".to_owned();
    }
    for proxy in &mut proxies {
        if proxy.default_domain.is_empty() {
            proxy.default_domain.clone_from(&shared.default_domain);
        }
    }
    Config { file: file.to_owned(), shared, proxies, warnings: Vec::new() }
}

#[derive(Clone, Copy)]
enum Meaning {
    Shared,
    Proxy(Kind),
}

/// What a section of this name is.
fn meaning(name: &str) -> Result<Meaning, String> {
    const RIGHT: &str = "it can be [mailstore], [pop3], [imap], [smtp], or one with a name, as [pop3:office]";
    let (kind, own) = match name.split_once(':') {
        Some((kind, own)) => (kind, Some(own)),
        None => (name, None),
    };
    let meaning = match kind {
        "mailstore" => Meaning::Shared,
        "pop3" => Meaning::Proxy(Kind::Pop3),
        "imap" => Meaning::Proxy(Kind::Imap),
        "smtp" => Meaning::Proxy(Kind::Smtp),
        _ => {
            let near = nearest(kind, ["mailstore", "pop3", "imap", "smtp"].into_iter());
            let hint = near.map_or(String::new(), |near| format!("; did you mean [{near}]?"));
            return Err(format!("is an unknown section: {RIGHT}{hint}"));
        }
    };
    match (meaning, own) {
        (Meaning::Shared, Some(_)) => Err("takes no name; write [mailstore]".to_owned()),
        (_, Some(own)) if !good_name(own) => Err(format!(
            "has a name that is not 1 to {NAME_LEN_MAX} of the characters a-z 0-9 . _ -; write it as [{kind}:office]"
        )),
        _ => Ok(meaning),
    }
}

fn good_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=NAME_LEN_MAX).contains(&name.len()) && name.bytes().all(plain)
}

/// Fills in what one section says.
struct Filler<'a> {
    name: &'a str,
    section: &'a Section,
    base: &'a Path,
    /// The section was there before: only what it has is looked at, not what it lacks.
    again: bool,
}

impl Filler<'_> {
    fn shared(&self, faults: &mut Faults) -> Shared {
        let mut shared = Shared::blank();
        self.fill(&mut shared, SHARED, |_| true, faults);
        if let (Some(entry), None) = (self.given("group"), self.given("user")) {
            let why = "needs user as well: with the group alone the program would go on as root";
            faults.add(Some(self.name), Some("group"), Some(entry.line), why.to_owned());
        }
        shared
    }

    fn proxy(&self, kind: Kind, faults: &mut Faults) -> Proxy {
        let mut proxy = Proxy::blank(kind, self.name);
        self.fill(&mut proxy, PROXY, |about| belongs(about, kind), faults);
        if proxy.listen_tls != TlsMode::None && !self.again {
            for Key { about, .. } in PROXY {
                if about.default == Fallback::RequiredWithTls && self.given(about.name).is_none() {
                    let why = format!("is missing, and listen_tls = {} needs it. {}", proxy.listen_tls, about.doc);
                    faults.add(Some(self.name), Some(about.name), Some(self.section.line), why);
                }
            }
        }
        proxy
    }

    fn fill<T>(&self, to: &mut T, keys: &[Key<T>], fits: impl Fn(&About) -> bool, faults: &mut Faults) {
        for Key { about, set } in keys {
            let mut fault = |line, why| faults.add(Some(self.name), Some(about.name), Some(line), why);
            if let Fallback::Value(text) | Fallback::ValueOrEmpty(text) = about.default
                && let Err(why) = set(to, text, self.base)
            {
                fault(self.section.line, format!("its default is refused: {why}"));
            }
            if !fits(about) {
                continue;
            }
            let Some(entry) = self.entry(about.name) else {
                if about.default == Fallback::Required && !self.again {
                    fault(self.section.line, format!("is missing. {}", about.doc));
                }
                continue;
            };
            let result = match (entry.value.as_deref(), about.default) {
                // Reported when it was read.
                (None, _) => Ok(()),
                (Some(""), Fallback::Value(text)) => {
                    Err(format!("is empty; leave the line out for the default {text}"))
                }
                (Some(""), Fallback::Required) => Err(format!("is empty. {}", about.doc)),
                (Some(""), Fallback::Absent(_) | Fallback::RequiredWithTls) => Ok(()),
                (Some(text), _) => set(to, text, self.base),
            };
            if let Err(why) = result {
                fault(entry.line, why);
            }
        }
        for entry in &self.section.entries {
            if !keys.iter().any(|key| key.about.name == entry.key && fits(&key.about)) {
                let own = keys.iter().map(|key| &key.about).filter(|about| fits(about));
                faults.add(Some(self.name), Some(&entry.key), Some(entry.line), unknown(&entry.key, own));
            }
        }
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.section.entries.iter().find(|entry| entry.key == key)
    }

    /// The entry, unless it stands there with nothing behind `=`.
    fn given(&self, key: &str) -> Option<&Entry> {
        self.entry(key).filter(|entry| entry.value.as_deref() != Some(""))
    }
}

/// Whether proxies of this kind have that key.
fn belongs(about: &About, kind: Kind) -> bool {
    match about.place {
        Place::Smtp => kind == Kind::Smtp,
        Place::Imap => kind == Kind::Imap,
        Place::Shared | Place::Proxy => true,
    }
}

/// What to say of a key that this section, whose keys are `own`, does not have.
fn unknown<'a>(key: &str, own: impl Iterator<Item = &'a About>) -> String {
    if let Some(about) = all().find(|about| about.name == key) {
        return match about.place {
            Place::Shared => "belongs into [mailstore]".to_owned(),
            Place::Proxy => "belongs into the section of a proxy".to_owned(),
            Place::Smtp => "belongs into an smtp section only".to_owned(),
            Place::Imap => "belongs into an imap section only".to_owned(),
        };
    }
    match nearest(key, own.map(|about| about.name)) {
        Some(near) => format!("is an unknown key; did you mean {near}?"),
        None => "is an unknown key; the mailstore.ini that comes with the program lists all".to_owned(),
    }
}

/// The name most like this one, if any is like it at all.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.replace(['-', ' ', '.'], "_");
    let most = (name.chars().count() / 3).clamp(1, 3);
    names
        .map(|known| {
            let distance = distance(&name, known);
            // A name cut short or with something behind it is near; of several such the one with the least difference.
            let prefix = name.len() >= 3 && (known.starts_with(&name) || name.starts_with(known));
            (if prefix { distance.min(1) } else { distance }, distance, known)
        })
        .filter(|(near, ..)| *near <= most)
        .min()
        .map(|(.., known)| known)
}

/// How many characters to insert, delete or replace to come from one to the other (Levenshtein). A name longer than any key
/// is only as far as its first characters.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().take(NAME_LEN_MAX).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

/// Every address that is listened on, to find those that are asked for twice.
#[derive(Default)]
struct Listeners {
    seen: Vec<(SocketAddr, String)>,
}

impl Listeners {
    fn add(&mut self, proxy: &Proxy, section: &Section, faults: &mut Faults) {
        let line = section.entries.iter().find(|entry| entry.key == "listen").map(|entry| entry.line);
        for address in &proxy.listen {
            if let Some((other, owner)) = self.seen.iter().find(|(other, _)| clash(address, other)) {
                let why = if address == other {
                    format!("{address} is taken by [{owner}] already; give each address once")
                } else {
                    format!("{address} and {other} of [{owner}] include each other; give one of them another port")
                };
                faults.add(Some(&proxy.name), Some("listen"), line, why);
            }
            self.seen.push((*address, proxy.name.clone()));
        }
    }
}

/// Whether both cannot be bound: the same address, or one is all addresses of the other's family. Port 0 is always a free one.
fn clash(one: &SocketAddr, other: &SocketAddr) -> bool {
    let all = |address: &SocketAddr| address.ip().is_unspecified();
    one.port() != 0
        && one.port() == other.port()
        && (one == other || (one.is_ipv4() == other.is_ipv4() && (all(one) || all(other))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found() {
        let own = || PROXY.iter().map(|key| key.about.name);
        for (typed, near) in [
            ("lisen", Some("listen")),
            ("listen-tls", Some("listen_tls")),
            ("certifcate", Some("certificate")),
            ("cert", Some("certificate")),
            ("privatekey", Some("private_key")),
            ("upsteam", Some("upstream")),
            ("upstream_ca_file", Some("upstream_ca")),
            ("local_domain", Some("local_domains")),
            ("x", None),
            ("frobnicate", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, own()), near, "{typed}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
    }

    #[test]
    fn addresses_clash_as_the_kernel_sees_it() {
        for (one, other, right) in [
            ("127.0.0.1:110", "127.0.0.1:110", true),
            ("127.0.0.1:110", "127.0.0.1:143", false),
            ("127.0.0.1:110", "127.0.0.2:110", false),
            ("0.0.0.0:110", "127.0.0.1:110", true),
            ("[::]:110", "[::1]:110", true),
            ("[::]:110", "0.0.0.0:110", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(clash(&one, &other), right, "{one} {other}");
            assert_eq!(clash(&other, &one), right, "{other} {one}");
        }
    }

    #[test]
    fn the_defaults_are_taken() {
        let mut faults = Faults::new(Path::new("f"));
        let config = build(Path::new("f"), &[], &mut faults);
        let texts: Vec<String> = faults.into_list().iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["f: has no proxy; add a section [pop3], [imap] or [smtp] with listen and upstream"]);
        assert!(config.shared.skip_special_use);
    }
}
