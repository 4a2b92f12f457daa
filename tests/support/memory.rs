//! What lies in the memory of a running program: its writable memory is read from outside, through /proc.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine};
use nix::unistd::Pid;

/// Octets that must stand together to count: what was overwritten in part is found as well.
const FRAGMENT: usize = 8;

/// Most pages hold nothing but zeros, and are passed over.
const PAGE: usize = 4096;

/// The places where a part of this text stands, as it is, in base64 or in UTF-16.
///
/// # Errors
/// The memory may not be read.
pub fn find(pid: Pid, text: &str) -> io::Result<Vec<String>> {
    let mut fragments = Vec::new();
    let mut add = |form: &str, bytes: &[u8]| {
        for fragment in bytes.windows(FRAGMENT) {
            fragments.push((form.to_owned(), fragment.to_vec()));
        }
    };
    add("plain", text.as_bytes());
    for form in in_base64(text.as_bytes()) {
        add("base64", form.as_bytes());
    }
    add("UTF-16", &text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    // Which pairs of octets a fragment may begin with: all else is passed over quickly.
    let mut begins = vec![false; 1 << 16];
    for (_, fragment) in &fragments {
        begins[usize::from(fragment[0]) << 8 | usize::from(fragment[1])] = true;
    }
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut found = Vec::new();
    for line in fs::read_to_string(format!("/proc/{pid}/maps"))?.lines() {
        let mut fields = line.split_whitespace();
        let (Some(range), Some(rights)) = (fields.next(), fields.next()) else { continue };
        let Some((from, to)) = range.split_once('-') else { continue };
        let number = |hex| u64::from_str_radix(hex, 16).unwrap();
        let (from, to) = (number(from), number(to));
        if !rights.starts_with("rw") {
            continue;
        }
        let mut bytes = vec![0; (to - from) as usize];
        // A thread's stack that has just gone.
        let Ok(count) = memory.read_at(&mut bytes, from) else { continue };
        let places = (0..count)
            .step_by(PAGE)
            .filter(|&at| bytes[at..(at + PAGE).min(count)] != [0; PAGE][..PAGE.min(count - at)]);
        for at in places.flat_map(|at| at..(at + PAGE).min(count.saturating_sub(FRAGMENT))) {
            if !begins[usize::from(bytes[at]) << 8 | usize::from(bytes[at + 1])] {
                continue;
            }
            let here = &bytes[at..at + FRAGMENT];
            if let Some((form, _)) = fragments.iter().find(|(_, fragment)| fragment == here) {
                let around = bytes[at.saturating_sub(24)..(at + 40).min(count)].escape_ascii();
                let what = fields.clone().last().filter(|name| name.starts_with(['[', '/'])).unwrap_or("mapped");
                found.push(format!("{form} at {:x} ({what} {range}): {around}", from + at as u64));
            }
        }
    }
    Ok(found)
}

/// What stays the same of this text in base64 whatever stands before and behind it, for each of the three places it may begin at.
pub fn in_base64(text: &[u8]) -> [String; 3] {
    [0, 1, 2].map(|before| {
        let encoded = BASE64_STANDARD_NO_PAD.encode([vec![0; before], text.to_vec()].concat());
        let (from, to) = ((before * 8).div_ceil(6), (before + text.len()) * 8 / 6);
        encoded[from..to].to_owned()
    })
}
