//! The names of files: unique over threads, processes and hosts, never used twice, and telling what they hold.
//!
//! A message is called `<seconds>.M<microseconds>P<pid>Q<count>.<host>` with `,S=<octets>,H=<SHA-256>` behind it, and with `:2,S` if its owner
//! sent it. A draft has `,mailstore` behind it instead: other programs use the rest of the name too (Python's `mailbox` does), and their
//! drafts are not ours to remove. No I/O but asking for the host's name.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::sha::sha256;

use super::safe;

/// SHA-256 of a message.
pub(super) type Hash = [u8; 32];

/// The flags of what the owner sent himself: seen.
pub(super) const SENT_FLAGS: &str = ":2,S";

/// Before the hash in a message's name.
pub(super) const HASH_FIELD: &[u8] = b",H=";

/// Behind a draft's name.
const DRAFT: &str = ",mailstore";

/// The longest host part, octets.
const HOST_LEN_MAX: usize = 64;

/// A name of this process, taken as long as this value lives.
#[derive(Debug)]
pub(super) struct Unique {
    text: String,
    count: u64,
}

/// Counts of the names whose drafts this process works on: recovery leaves those alone.
static LIVE: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);

/// Asked for once: it never forks.
static PID: LazyLock<u32> = LazyLock::new(std::process::id);

static HOST: LazyLock<String> = LazyLock::new(|| {
    let name = nix::unistd::gethostname().unwrap_or_default();
    safe_host(std::os::unix::ffi::OsStrExt::as_bytes(name.as_os_str()))
});

impl Unique {
    pub(super) fn new() -> Unique {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // A clock before 1970 still gives names that this process never used.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut text = String::with_capacity(HOST.len() + 64);
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{}.M{:06}P{}Q{count}.{}", now.as_secs(), now.subsec_micros(), *PID, *HOST);
        live().insert(count);
        Unique { text, count }
    }

    /// The draft's name.
    pub(super) fn draft(&self) -> String {
        [&self.text, DRAFT].concat()
    }

    /// The message's name.
    pub(super) fn message(&self, size: u64, hash: &Hash, outgoing: bool) -> String {
        let flags = if outgoing { SENT_FLAGS } else { "" };
        let mut name = String::with_capacity(self.text.len() + 96);
        name += &self.text;
        // Writing to a `String` cannot fail.
        let _ = write!(name, ",S={size},H=");
        safe::push_lower_hex(&mut name, hash);
        name + flags
    }
}

impl Drop for Unique {
    fn drop(&mut self) {
        live().remove(&self.count);
    }
}

/// Whether a draft with this count is being worked on in this process.
pub(super) fn is_live(count: u64) -> bool {
    live().contains(&count)
}

fn live() -> std::sync::MutexGuard<'static, HashSet<u64>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// This host, as names have it.
pub(super) fn host() -> &'static str {
    &HOST
}

/// Maildir's way: what would end the name or begin its flags is written in octal. The rest as well, for these names go through shells.
fn safe_host(name: &[u8]) -> String {
    let mut out = String::new();
    for &byte in name {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            out.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "\\{byte:03o}");
        }
    }
    if out.is_empty() {
        return "localhost".to_string();
    }
    if out.len() > HOST_LEN_MAX {
        let hash = safe::hex(&sha256(name)[..8]);
        out.truncate(HOST_LEN_MAX - 1 - hash.len());
        out = format!("{out}-{hash}");
    }
    out
}

/// What one of our names in `tmp` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed<'a> {
    pub(super) pid: u32,
    pub(super) count: u64,
    pub(super) host: &'a str,
    /// Of a prepared draft.
    pub(super) prepared: Option<Prepared>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prepared {
    pub(super) size: u64,
    pub(super) hash: Hash,
    pub(super) outgoing: bool,
}

/// Reads a name that a MailStore gave; `None` for anybody else's.
pub(super) fn parse(name: &[u8]) -> Option<Parsed<'_>> {
    let name = std::str::from_utf8(name).ok()?;
    let (_, rest) = number(name)?;
    let (_, rest) = number(rest.strip_prefix(".M")?)?;
    let (pid, rest) = number(rest.strip_prefix('P')?)?;
    let (count, rest) = number(rest.strip_prefix('Q')?)?;
    let rest = rest.strip_prefix('.')?;
    let (host, rest) = rest.split_at(rest.find(',')?);
    let prepared = match rest.strip_prefix(',')? {
        _ if rest == DRAFT => None,
        rest => {
            let (size, rest) = number(rest.strip_prefix("S=")?)?;
            let rest = rest.strip_prefix(",H=")?;
            let (hash, flags) = rest.split_at_checked(64)?;
            let outgoing = match flags {
                "" => false,
                SENT_FLAGS => true,
                _ => return None,
            };
            let hash = unhex(hash.as_bytes())?;
            Some(Prepared { size, hash, outgoing })
        }
    };
    let host_is_ours = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'\\');
    if host.is_empty() || !host.bytes().all(host_is_ours) {
        return None;
    }
    Some(Parsed { pid: u32::try_from(pid).ok()?, count, host, prepared })
}

/// Where in a message's name its hash lies, and the hash. Flags, and fields that others add, may follow it.
pub(super) fn find_hash(name: &[u8]) -> Option<(usize, Hash)> {
    let mut commas = name.iter().enumerate().filter(|(_, b)| **b == b',').map(|(at, _)| at);
    let at = commas.find(|&at| name[at..].starts_with(HASH_FIELD))? + HASH_FIELD.len();
    let digits = name.get(at..at + 64)?;
    match name.get(at + 64) {
        None | Some(b':' | b',') => Some((at, unhex(digits)?)),
        Some(_) => None,
    }
}

fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// What [`safe::hex`] wrote.
pub(super) fn unhex(digits: &[u8]) -> Option<Hash> {
    const NONE: u8 = 0x80;
    // By a table: a folder has many names.
    const DIGITS: [u8; 256] = {
        let (mut all, mut number) = ([NONE; 256], 0);
        while number < 16 {
            all[b"0123456789abcdef"[number as usize] as usize] = number;
            number += 1;
        }
        all
    };
    let mut hash = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    let mut seen = 0;
    for (byte, pair) in hash.iter_mut().zip(digits.as_chunks::<2>().0) {
        let [high, low] = pair.map(|b| DIGITS[usize::from(b)]);
        seen |= high | low;
        *byte = high << 4 | low;
    }
    (seen & NONE == 0).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_read_back() {
        let unique = Unique::new();
        let draft = unique.draft();
        let draft = parse(draft.as_bytes()).unwrap();
        assert_eq!((draft.pid, draft.host), (std::process::id(), host()));
        assert_eq!(draft.prepared, None);
        assert!(is_live(draft.count));
        for outgoing in [false, true] {
            let name = unique.message(7, &[0xab; 32], outgoing);
            let hash = [0xab; 32];
            let size = 7;
            assert_eq!(parse(name.as_bytes()).unwrap().prepared, Some(Prepared { size, hash, outgoing }));
            assert_eq!(find_hash(name.as_bytes()).unwrap().1, hash);
        }
        let count = draft.count;
        drop(unique);
        assert!(!is_live(count));
    }

    #[test]
    fn names_of_others_are_not_ours() {
        let hash = "a".repeat(64);
        for name in [
            "1700000000.M1P2.host",
            "1700000000.M1P2Q3",
            "1700000000.M1P2Q3.",
            "1700000000.M1P2Q3.host:2,S",
            "1700000000.M1P2Q3.ho st",
            "1700000000.P2Q3M1.host",
            "1700000000.M1P2Q3.host,W=3",
            &format!("1700000000.M1P2Q3.host,S=1,H={hash}:2,ST"),
            &format!("1700000000.M1P2Q3.host,S=1,H={}", "A".repeat(64)),
            &format!("1700000000.M1P2Q3.host,S=1,H={hash}0"),
            "1.M1P99999999999Q3.host",
            "",
            "ü",
        ] {
            assert_eq!(parse(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn a_hash_is_found_whatever_follows() {
        let hash = "a".repeat(64);
        for (tail, found) in [("", true), (":2,FS", true), (",W=7", true), ("a", false)] {
            assert_eq!(find_hash(format!("x,S=1,H={hash}{tail}").as_bytes()).is_some(), found);
        }
        assert!(find_hash(b"x,H=abc").is_none() && find_hash(b"").is_none());
    }

    #[test]
    fn hosts() {
        assert_eq!(safe_host(b"mail.example.com"), "mail.example.com");
        assert_eq!(safe_host(b"a/b:c,d e\\"), "a\\057b\\072c\\054d\\040e\\134");
        assert_eq!(safe_host(b""), "localhost");
        let long = safe_host(&[b'a'; 100]);
        assert!(long.len() <= HOST_LEN_MAX && long != safe_host(&[b'a'; 101]));
    }

    #[test]
    fn names_are_unique_over_threads() {
        let threads: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(|| (0..500).map(|_| Unique::new().draft()).collect::<Vec<_>>()))
            .collect();
        let names: HashSet<String> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(names.len(), 2000);
    }
}
