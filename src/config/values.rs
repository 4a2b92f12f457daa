//! One function for each form of value: text in, the meaning out, or a sentence that says what is wrong and what would be
//! right. No function looks at anything but its arguments; only [`readable_file`], [`user`] and [`group`] ask the system.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// No timeout is longer: `poll` counts its milliseconds in 31 bits, which is less than 25 days.
const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// No count is larger: each session is a thread with two sockets.
const COUNT_MAX: usize = 1_000_000;

/// So much of a value is shown in a fault, in characters.
const SHOWN_LEN_MAX: usize = 80;

/// A value (or name) as it is shown in a fault: in quotes, control characters made visible, cut where it is long.
pub(super) fn show(text: &str) -> String {
    let mut out: String = text.chars().take(SHOWN_LEN_MAX).collect::<String>().escape_debug().to_string();
    // Quotes and backslashes come from the file as they are.
    out = out.replace("\\\"", "\"").replace("\\'", "'").replace("\\\\", "\\");
    if text.chars().nth(SHOWN_LEN_MAX).is_some() {
        out.push_str("...");
    }
    format!("\"{out}\"")
}

/// `yes` or `no`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" => Ok(true),
        "no" | "false" | "off" => Ok(false),
        _ => Err(format!("{} is neither yes nor no", show(text))),
    }
}

/// One of these words, in any case.
pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("{} is none of the values it can have: {}", show(text), words.join(", "))
    })
}

/// A number from 1 to a million.
pub(super) fn count(text: &str) -> Result<usize, String> {
    let right = format!("write a number from 1 to {COUNT_MAX}");
    let number: usize = digits(text).ok_or_else(|| format!("{} is not a number; {right}", show(text)))?;
    if (1..=COUNT_MAX).contains(&number) { Ok(number) } else { Err(format!("{} is out of range; {right}", show(text))) }
}

/// Octets: a number with `K`, `M`, `G` or `T` (powers of 1024; `KB` and `KiB` mean the same) or without; more than 0.
pub(super) fn size(text: &str) -> Result<u64, String> {
    const RIGHT: &str = "write bytes, or a number with K, M or G, as 100M";
    let (number, unit) = split_unit(text);
    let unit = unit.to_ascii_uppercase();
    let shift = match unit.strip_suffix("IB").or_else(|| unit.strip_suffix('B')).unwrap_or(&unit) {
        "" if unit != "IB" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(format!("{} is not a size; {RIGHT}", show(text))),
    };
    let number: u64 = digits(number).ok_or_else(|| format!("{} is not a size; {RIGHT}", show(text)))?;
    match number.checked_mul(1 << shift) {
        // A file's size is signed.
        Some(size) if size > 0 && i64::try_from(size).is_ok() => Ok(size),
        _ => Err(format!("{} is out of range; {RIGHT}", show(text))),
    }
}

/// A time: a number of seconds, or with `s`, `m`, `h` or `d`; from `least` to 7 days.
pub(super) fn duration(text: &str, least: Duration) -> Result<Duration, String> {
    const RIGHT: &str = "write seconds, or a number with s, m, h or d, as 90s or 31m";
    let wrong = || format!("{} is not a time; {RIGHT}", show(text));
    let (number, unit) = split_unit(text);
    let seconds: u64 = match unit {
        "" | "s" | "S" => 1,
        "m" | "M" => 60,
        "h" | "H" => 60 * 60,
        "d" | "D" => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let number: u64 = digits(number).ok_or_else(wrong)?;
    match number.checked_mul(seconds).map(Duration::from_secs) {
        Some(time) if (least..=DURATION_MAX).contains(&time) => Ok(time),
        _ => Err(format!("{} is out of range; write a time from {}s to 7d", show(text), least.as_secs())),
    }
}

/// Digits and what follows them, blanks between left out.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// Nothing but digits (no sign, which `parse` would take). What is too large for the type gives its largest.
pub(super) fn digits<T: std::str::FromStr + Bounded>(text: &str) -> Option<T> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().unwrap_or(T::LARGEST))
}

/// What [`digits`] can give.
pub(super) trait Bounded {
    const LARGEST: Self;
}

impl Bounded for u64 {
    const LARGEST: u64 = u64::MAX;
}

impl Bounded for usize {
    const LARGEST: usize = usize::MAX;
}

/// Items with commas between them, blanks around them left out; no text, no items.
pub(super) fn list(text: &str) -> Result<Vec<&str>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let items: Vec<&str> = text.split(',').map(str::trim).collect();
    if items.contains(&"") {
        return Err(format!("{} has a comma too many", show(text)));
    }
    Ok(items)
}

/// Each item of a list, or all that is wrong with them.
pub(super) fn each<T>(text: &str, item: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for text in list(text)? {
        match item(text) {
            Ok(value) => good.push(value),
            Err(fault) => bad.push(fault),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad.join("; ")) }
}

/// A path; a relative one starts at `base`.
pub(super) fn path(text: &str, base: &Path) -> Result<PathBuf, String> {
    if text == "~" || text.starts_with("~/") {
        return Err(format!("{} begins with ~, which only a shell understands; write the whole path", show(text)));
    }
    Ok(base.join(text))
}

/// The path of a file that is there and can be read.
pub(super) fn readable_file(text: &str, base: &Path) -> Result<PathBuf, String> {
    let path = path(text, base)?;
    let shown = show(&path.to_string_lossy());
    // Looked at before it is opened: opening a FIFO would wait for somebody to write.
    match path.metadata() {
        Ok(what) if !what.is_file() => {
            return Err(format!("{shown} is not a file; name a PEM file"));
        }
        Ok(_) => {}
        Err(fault) => return Err(unreadable(&shown, &fault)),
    }
    match std::fs::File::open(&path) {
        Ok(_) => Ok(path),
        Err(fault) => Err(unreadable(&shown, &fault)),
    }
}

fn unreadable(shown: &str, fault: &std::io::Error) -> String {
    if fault.kind() != std::io::ErrorKind::PermissionDenied {
        return format!("{shown} cannot be read: {fault}; name a PEM file that can be");
    }
    let user = user_now();
    format!(
        "{shown} cannot be read by {user}: {fault}; let a group that {user} is in read it (chgrp GROUP, chmod 640; its folders need chmod g+x), or start as root with the key user"
    )
}

/// The name of whom the program runs as, or his number.
pub fn user_now() -> String {
    let uid = nix::unistd::geteuid();
    nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// A user of this machine.
pub(super) fn user(name: &str) -> Result<String, String> {
    match nix::unistd::User::from_name(name) {
        Ok(Some(_)) => Ok(name.to_owned()),
        Ok(None) => Err(format!("there is no user {} on this machine; name one that is there", show(name))),
        Err(fault) => Err(format!("the user {} cannot be looked up: {fault}", show(name))),
    }
}

/// A group of this machine.
pub(super) fn group(name: &str) -> Result<String, String> {
    match nix::unistd::Group::from_name(name) {
        Ok(Some(_)) => Ok(name.to_owned()),
        Ok(None) => Err(format!("there is no group {} on this machine; name one that is there", show(name))),
        Err(fault) => Err(format!("the group {} cannot be looked up: {fault}", show(name))),
    }
}

/// The template of an owner's Maildir: a relative path in which each owner gets his own.
pub(super) fn maildir_template(text: &str) -> Result<String, String> {
    const RIGHT: &str = "write %u, or %n and %d with a / or @ between, as %d/%n";
    let wrong = |why: &str| Err(format!("{} {why}; {RIGHT}", show(text)));
    if text.starts_with('/') {
        return wrong("is an absolute path, but lies below the spool");
    }
    // Maildir++ folders begin with a dot, and `..` leads out of the spool.
    if text.split('/').any(|level| level.is_empty() || level.starts_with('.')) {
        return wrong("has an empty level, or one that begins with a dot, in it");
    }
    // What stands between two placeholders, with the letters of these.
    let mut parts = text.split('%');
    let mut found: Vec<(char, &str)> = Vec::new();
    parts.next();
    for part in parts {
        match part.chars().next() {
            Some(letter @ ('u' | 'n' | 'd')) => found.push((letter, &part[1..])),
            _ => return wrong("has a % that is not %u, %n or %d"),
        }
    }
    // A domain holds no @ and no name a / here, so that either keeps them apart.
    let apart = |pair: &[(char, &str)]| {
        matches!((pair[0].0, pair[1].0), ('n', 'd') | ('d', 'n')) && pair[0].1.contains(['/', '@'])
    };
    if found.iter().any(|(letter, _)| *letter == 'u') || found.windows(2).any(apart) {
        Ok(text.to_owned())
    } else {
        wrong("would give two owners the same Maildir")
    }
}

/// The name of a folder: levels with `/` or `.` between, a Maildir++ dot before them or none; empty is the inbox.
pub(super) fn folder(text: &str) -> Result<String, String> {
    let levels = text.strip_prefix('.').unwrap_or(text);
    if levels.split(['/', '.']).any(str::is_empty) && !text.is_empty() {
        return Err(format!("{} has an empty level; write a folder's name, as Sent or Archive/Sent", show(text)));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
#[path = "values_tests.rs"]
mod tests;
