//! The text of an INI file as sections, keys and values, each with its line.
//!
//! The lines, their order and their faults are found here; the pairs of each sound section are then parsed by the `ini`
//! crate. By itself that would let a later key or section win silently, cut values at every `#` and `;`, take any line with a
//! `[` in it (`listen = [::1]:1110`) for a section, and name no lines. So it is given one section at a time, cleaned:
//! without comments, nothing twice, the brackets in values masked.
//!
//! The syntax: `[section]`, `key = value`, and comments, which are lines that begin with `#` or `;`, or the rest of a line
//! from a `#` or `;` with a blank before it. A value that needs such a thing stands in double quotes. Names of sections and
//! keys are in any case; a byte order mark and CRLF are fine; one line is one setting.

use ini::configparser::ini::Ini;

use super::fault::Faults;
use super::values::show;

/// A section as it stands in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// In lower case; none if the line is broken, which has been reported.
    pub(super) name: Option<String>,
    pub(super) line: usize,
    pub(super) entries: Vec<Entry>,
}

/// A key of a section; no two have the same name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// In lower case.
    pub(super) key: String,
    pub(super) line: usize,
    /// Without blanks at its ends; none if it is broken, which has been reported.
    pub(super) value: Option<String>,
}

/// Stand for `[` and `]` in a value while the crate has it. Control characters are refused before.
const MASKS: [(char, char); 2] = [('[', '\u{1}'), (']', '\u{2}')];

/// A certificate, or a private key, itself. What is wrong with its lines must not be told by showing them.
const PEM_BEGINS: &str = "-----BEGIN ";
const PEM_ENDS: &str = "-----END ";
const PEM_INSIDE: &str = "is the text of a PEM file; put here the name of a file that holds it";

/// The sections of a file, in order, the same name perhaps twice. What is wrong with its lines goes to `faults`.
pub(super) fn sections(bytes: &[u8], faults: &mut Faults) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        faults.add(None, None, None, "is UTF-16; save it as UTF-8".to_owned());
        // Something is there: nobody is to be told that sections are missing.
        return vec![Section { name: None, line: 1, entries: Vec::new() }];
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut within_pem = false;
    for (index, raw) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = index + 1;
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        let sound = std::str::from_utf8(raw).is_ok();
        let text = String::from_utf8_lossy(raw);
        let text = text.trim();
        let mut broken = check_bytes(text, sound);
        if text.starts_with(['#', ';']) {
            // A comment may be in any encoding, but a lone CR in it could hide lines that are meant.
            if let (true, Some(why)) = (text.contains('\r'), broken) {
                let section = sections.last().and_then(|section| section.name.as_deref());
                faults.add(section, None, Some(line), why);
            }
            continue;
        }
        if within_pem || text.contains(PEM_BEGINS) {
            if !within_pem {
                let section = sections.last().and_then(|section| section.name.as_deref());
                let key = text.split_once('=').map(|(key, _)| key.trim().to_lowercase());
                let key = key.filter(|key| !key.contains("-----"));
                faults.add(section, key.as_deref(), Some(line), PEM_INSIDE.to_owned());
            }
            within_pem = !text.contains(PEM_ENDS);
            continue;
        }
        if text.starts_with('[') {
            let name = header(text).filter(|_| broken.is_none());
            if name.is_none() {
                let why = broken.unwrap_or_else(|| {
                    format!("{} is not a section; write [name], as [mailstore] or [pop3:office]", show(text))
                });
                faults.add(None, None, Some(line), why);
            }
            sections.push(Section { name, line, entries: Vec::new() });
        } else if let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.trim().is_empty()) {
            let key = key.trim().to_lowercase();
            let Some(section) = sections.last_mut() else {
                let why = broken
                    .unwrap_or_else(|| "stands before any section; put it below [mailstore] or a proxy".to_owned());
                faults.add(None, Some(&key), Some(line), why);
                continue;
            };
            let value = match value_of(value) {
                Ok(value) => Some(value),
                Err(why) => {
                    broken.get_or_insert(why);
                    None
                }
            };
            let value = value.filter(|_| broken.is_none()).map(str::to_owned);
            if let Some(first) = section.entries.iter().find(|entry| entry.key == key) {
                broken.get_or_insert(format!("is given twice, first in line {}; leave one", first.line));
            } else {
                section.entries.push(Entry { key: key.clone(), line, value });
            }
            if let (Some(why), Some(name)) = (broken, &section.name) {
                faults.add(Some(name), Some(&key), Some(line), why);
            }
        } else if !text.is_empty() {
            let section = sections.last().and_then(|section| section.name.as_deref());
            let why = broken.unwrap_or_else(|| {
                format!("{} is neither [section] nor key = value nor a comment (which begins with #)", show(text))
            });
            faults.add(section, None, Some(line), why);
        }
    }
    for section in &mut sections {
        parse_values(section, faults);
    }
    sections
}

/// What no line may hold.
fn check_bytes(text: &str, utf8: bool) -> Option<String> {
    if !utf8 {
        return Some("is not UTF-8; save the file as UTF-8".to_owned());
    }
    let odd = text.chars().find(|c| c.is_control() && *c != '\t')?;
    let hint = if odd == '\r' { "end each line with LF or CRLF" } else { "take it out" };
    Some(format!("has a control character (\\x{:02x}) in it; {hint}", u32::from(odd)))
}

/// The name in `[name]`, in lower case.
fn header(text: &str) -> Option<String> {
    let (name, rest) = text.strip_prefix('[')?.split_once(']')?;
    let name = name.trim().to_lowercase();
    let comment = rest.is_empty() || without_comment(rest).is_empty();
    (comment && !name.is_empty() && !name.contains('[')).then_some(name)
}

/// What stands behind `=`, without comment and quotes.
fn value_of(text: &str) -> Result<&str, String> {
    let Some(inside) = text.trim_start().strip_prefix('"') else {
        return Ok(without_comment(text));
    };
    match inside.split_once('"') {
        Some((value, rest)) if without_comment(rest).is_empty() => Ok(value.trim()),
        Some(_) => {
            Err("has text behind its closing quote; put one pair of quotes around the whole value, or none".to_owned())
        }
        None => Err("has no closing quote; put a \" at its end, or none at its beginning".to_owned()),
    }
}

/// The text up to a `#` or `;` with a blank before it, trimmed.
fn without_comment(text: &str) -> &str {
    let mut blank = false;
    for (at, c) in text.char_indices() {
        if blank && matches!(c, '#' | ';') {
            return text[..at].trim();
        }
        blank = c.is_whitespace();
    }
    text.trim()
}

/// Has the crate split the pairs of this section.
fn parse_values(section: &mut Section, faults: &mut Faults) {
    let mut clean = String::from("[section]\n");
    for Entry { key, value, .. } in &section.entries {
        let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        // A key of other characters is unknown anyway.
        if let (Some(value), true) = (value, plain) {
            clean.push_str(&format!(
                "{key} = {}\n",
                MASKS.iter().fold(value.clone(), |text, (c, mask)| text.replace(*c, &mask.to_string()))
            ));
        }
    }
    let mut parser = Ini::new();
    parser.set_comment_symbols(&[]);
    let mut parsed = match parser.read(clean) {
        Ok(mut map) => map.remove("section").unwrap_or_default(),
        Err(why) => {
            faults.add(section.name.as_deref(), None, Some(section.line), format!("cannot be parsed: {why}"));
            Default::default()
        }
    };
    for entry in &mut section.entries {
        if entry.value.is_some() {
            entry.value = parsed
                .remove(&entry.key)
                .flatten()
                .map(|text| MASKS.iter().fold(text, |text, (c, mask)| text.replace(*mask, &c.to_string())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Pairs = Vec<(String, String)>;

    fn read(text: &[u8]) -> (Vec<(String, Pairs)>, Vec<String>) {
        let mut faults = Faults::new("f".as_ref());
        let sections = sections(text, &mut faults)
            .into_iter()
            .map(|section| {
                let pairs =
                    section.entries.into_iter().map(|entry| (entry.key, entry.value.unwrap_or("BROKEN".into())));
                (section.name.unwrap_or("BROKEN".into()), pairs.collect())
            })
            .collect();
        (sections, faults.into_list().iter().map(ToString::to_string).collect())
    }

    /// The value of the one key of the one section.
    fn value(text: &str) -> String {
        let (sections, faults) = read(format!("[s]\nk ={text}\n").as_bytes());
        assert_eq!(faults, [""; 0], "{text}");
        sections[0].1[0].1.clone()
    }

    #[test]
    fn comments_end_a_value_only_behind_a_blank() {
        for (text, right) in [
            (" a", "a"),
            ("", ""),
            (" a # b", "a"),
            (" a\t; b ; c", "a"),
            (" # a", ""),
            (" a#b", "a#b"),
            (" /srv/mail#2;x", "/srv/mail#2;x"),
            ("#a", "#a"),
            (" a = b", "a = b"),
            (" [::1]:1110, [::]:1", "[::1]:1110, [::]:1"),
            (" ][", "]["),
            (" \"a # b; c\"", "a # b; c"),
            (" \" a \" # b", "a"),
            (" \"\"", ""),
            (" a \"b\" c", "a \"b\" c"),
            (" \u{a0}ä ", "ä"),
            (" %d/%n", "%d/%n"),
        ] {
            assert_eq!(value(text), right, "{text}");
        }
    }

    #[test]
    fn headers_and_keys_are_in_any_case_and_place() {
        let text = b"\xef\xbb\xbf  [ POP3:Office ]  # why\r\n\tListen=1 \r\n; c\r\n# \xff\r\n\r\n[b];\r\n[c] ; d";
        let (sections, faults) = read(text);
        assert_eq!(faults, ["f: \"[b];\" is not a section; write [name], as [mailstore] or [pop3:office] (line 6)"]);
        assert_eq!(sections[0], ("pop3:office".into(), vec![("listen".into(), "1".into())]));
        assert_eq!(sections[1], ("BROKEN".into(), vec![]));
        assert_eq!(sections[2], ("c".into(), vec![]));
    }

    #[test]
    fn the_keys_below_a_broken_section_are_not_taken_for_the_one_before() {
        let (sections, faults) = read(b"[a]\n[b\nk = 1\nk = 2\n");
        assert_eq!(sections[0].1, []);
        assert_eq!(faults.len(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            read(&bytes);
        }

        #[test]
        fn any_quoted_value_comes_back(text in "[^\"\\pC]{0,40}") {
            prop_assert_eq!(value(&format!("\"{text}\"")), text.trim());
        }

        #[test]
        fn any_lines_of_the_syntax_are_read(text in "([\\[\\]=#;\"ab \r\n]){0,60}") {
            read(text.as_bytes());
        }
    }
}
