//! What `learn_logins` has made of logins, and logins for it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::logins::{Client, Temper, connect, toy};
use super::proxy::section;
use super::{CLIENT, Endpoint, Kind, Lab, Proxy, Tls, run_with_input, wait_until};

pub const KINDS: [Kind; 3] = [Kind::Pop3, Kind::Imap, Kind::Smtp];

/// A folder for the file, which its user may write, outside of the spool.
pub fn folder(lab: &Lab) -> PathBuf {
    let folder = lab.folder("logins");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

pub fn learning(file: &Path) -> String {
    format!("learn_logins = {}\n", file.display())
}

/// Name and hash of each line.
pub fn learnt(file: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = |line: &str| {
        let (name, rest) = line.split_once(':').unwrap_or_else(|| panic!("{line:?} is no line of a passwd-file"));
        let hash = rest.strip_suffix("::::::").unwrap_or_else(|| panic!("{line:?} has no end"));
        assert!(hash.starts_with("{SHA512-CRYPT}$6$") && hash.len() == 120, "{line:?}");
        (name.to_owned(), hash.to_owned())
    };
    text.lines().map(line).collect()
}

/// What another program says of a hash.
pub fn is_hash_of(hash: &str, password: &str) -> bool {
    let Some(hash) = hash.strip_prefix("{SHA512-CRYPT}").filter(|hash| hash.starts_with("$6$")) else { return false };
    let salt = hash.split('$').nth(2).unwrap();
    let made =
        run_with_input("openssl", &["passwd", "-6", "-salt", salt, "-stdin"], password.as_bytes(), Path::new("/")).ok();
    made.text().trim_end() == hash
}

#[track_caller]
pub fn knows(file: &Path, owner: &str, password: &str) {
    wait_until(&format!("{owner} is learnt"), CLIENT, || {
        learnt(file).get(owner).is_some_and(|hash| is_hash_of(hash, password))
    });
}

/// Toys that accept every login, one of each kind.
pub fn toys(lab: &Lab, name: &str) -> String {
    KINDS
        .map(|kind| {
            section(
                lab,
                name,
                Tls::None,
                Endpoint { kind, port: toy(kind, Temper::Accepts, "", None), tls: Tls::None },
                "",
            )
        })
        .concat()
}

pub fn client(proxy: &Proxy, kind: Kind) -> Client<std::net::TcpStream> {
    Client::new(kind, connect(proxy.endpoint(kind, "a", Tls::None).port))
}

/// A login by IMAP, which waits for its answer.
pub fn teach(proxy: &Proxy, user: &str, password: &str) {
    let reply = client(proxy, Kind::Imap).say(format!("a LOGIN \"{user}\" \"{password}\"").as_bytes());
    assert!(reply.starts_with("a OK"), "{reply}");
}
