//! What a command's arguments are.

use super::super::INBOX;

pub(super) enum Argument {
    /// An atom, with what stands in its brackets, or a quoted string without its quotes.
    Word(String),
    /// Without its parentheses.
    List(String),
    Literal(Vec<u8>),
}

impl Argument {
    pub(super) fn text(&self) -> String {
        match self {
            Argument::Word(text) | Argument::List(text) => text.clone(),
            Argument::Literal(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// The arguments in a line, without literals.
pub(super) fn words(line: &str) -> Vec<Argument> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let after;
        match first {
            '"' => {
                let word;
                (word, after) = quoted(&rest[1..]);
                words.push(Argument::Word(word));
            }
            '(' => {
                let end = end(&rest[1..], |depth, char| depth == 0 && char == ')') + 1;
                words.push(Argument::List(rest[1..end].to_owned()));
                after = rest.get(end + 1..).unwrap_or_default();
            }
            _ => {
                let end = end(rest, |depth, char| depth == 0 && char == ' ');
                words.push(Argument::Word(rest[..end].to_owned()));
                after = &rest[end..];
            }
        }
        rest = after.trim_start();
    }
    words
}

/// Where a text is over; `depth` counts parentheses and brackets.
fn end(text: &str, is_over: impl Fn(usize, char) -> bool) -> usize {
    let mut depth = 0;
    for (at, char) in text.char_indices() {
        match char {
            _ if is_over(depth, char) => return at,
            '(' | '[' => depth += 1,
            ')' | ']' => depth = usize::saturating_sub(depth, 1),
            _ => {}
        }
    }
    text.len()
}

/// A quoted string up to its last quote, and what follows.
fn quoted(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (word, &text[at + 1..]),
            '\\' => word.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => word.push(char),
        }
    }
    (word, "")
}

pub(super) fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// `INBOX` is that in upper and lower case.
pub(super) fn folder_name(name: &str) -> String {
    if name.eq_ignore_ascii_case(INBOX) { INBOX.to_owned() } else { name.trim_end_matches('/').to_owned() }
}

/// Whether a folder's name fits a LIST pattern: `*` is anything, `%` anything on one level (RFC 3501 6.3.8).
pub(super) fn fits(name: &str, pattern: &str) -> bool {
    match pattern.chars().next() {
        None => name.is_empty(),
        Some(wild @ ('*' | '%')) => {
            let ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
            ends.take_while(|&end| wild == '*' || !name[..end].contains('/'))
                .any(|end| fits(&name[end..], &pattern[1..]))
        }
        Some(first) => name.strip_prefix(first).is_some_and(|rest| fits(rest, &pattern[first.len_utf8()..])),
    }
}

/// Whether `1,3:5,7:*` holds a number.
pub(super) fn in_set(set: &str, number: u32, highest: u32) -> bool {
    let end = |text: &str| if text == "*" { Some(highest) } else { text.parse().ok() };
    set.split(',').any(|range| {
        let (from, to) = range.split_once(':').unwrap_or((range, range));
        matches!((end(from), end(to)), (Some(from), Some(to)) if (from.min(to)..=from.max(to)).contains(&number))
    })
}

pub(super) fn is_set(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || b",:*".contains(&byte))
}
