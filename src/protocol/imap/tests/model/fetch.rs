//! The model server's answer to a FETCH, for one message.

use super::server::flags;
use super::world::{Message, SEEN, Ways};

/// What the proxy takes out of the answers to its own FETCHes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Content,
    Date,
    Uid,
    Other,
}

pub(super) struct Shown {
    pub(super) name: String,
    pub(super) value: Vec<u8>,
    pub(super) class: Class,
}

pub(super) struct Answer {
    pub(super) items: Vec<Shown>,
    /// Flags of the message afterwards.
    pub(super) flags: u8,
    /// It shows all of the message.
    pub(super) whole: bool,
    /// It shows content beyond a preview.
    pub(super) got: bool,
}

/// As the proxy has it: what is no longer is shown in lists.
const PREVIEW_LEN: usize = 4096;

impl Answer {
    pub(super) fn new(message: &Message, wanted: &str, by_uid: bool, single: bool, ways: Ways) -> Answer {
        let mut answer = Answer { items: Vec::new(), flags: message.flags, whole: false, got: false };
        let mut names = split(wanted.trim_start_matches('(').trim_end_matches(')'));
        if by_uid && !names.contains(&"UID") {
            names.insert(0, "UID");
        }
        let (mut header, mut text) = (false, false);
        for name in names {
            match name {
                "UID" => answer.add(name, message.uid.to_string().into_bytes(), Class::Uid),
                "FLAGS" | "RFC822.SIZE" => {
                    let value = match name {
                        "FLAGS" => format!("({})", flags(message.flags)),
                        // It lies.
                        _ => "7".to_owned(),
                    };
                    answer.add(name, value.into_bytes(), Class::Other);
                }
                "INTERNALDATE" => {
                    let date = chrono::DateTime::from_timestamp(message.date, 0).unwrap();
                    let value = format!("\"{}\"", date.format("%d-%b-%Y %H:%M:%S +0000"));
                    answer.add(name, value.into_bytes(), Class::Date);
                }
                _ => {
                    let (is_header, is_text) = answer.content(message, name, single, ways);
                    header |= is_header;
                    text |= is_text;
                }
            }
        }
        answer.whole |= header && text;
        answer.got |= answer.whole;
        let has_flags = answer.items.iter().any(|item| item.name == "FLAGS");
        if !has_flags && (ways.flags_always || answer.flags != message.flags) {
            let shown = format!("({})", flags(answer.flags)).into_bytes();
            answer.add("FLAGS", shown, Class::Other);
        }
        if ways.uid_last
            && let Some(at) = answer.items.iter().position(|item| item.class == Class::Uid)
        {
            let uid = answer.items.remove(at);
            answer.items.push(uid);
        }
        answer
    }

    fn add(&mut self, name: &str, value: Vec<u8>, class: Class) {
        self.items.push(Shown { name: name.to_owned(), value, class });
    }

    /// An item of content. Whether it shows the header, and the text.
    fn content(&mut self, message: &Message, name: &str, single: bool, ways: Ways) -> (bool, bool) {
        let all = &message.content[..];
        let split = all.windows(4).position(|window| window == b"\r\n\r\n").map_or(all.len(), |at| at + 4);
        let (shown, partial) = match name.split_once('<') {
            Some((shown, partial)) => {
                let (from, count) = partial.trim_end_matches('>').split_once('.').unwrap();
                (shown, Some((from.parse::<usize>().unwrap(), count.parse::<usize>().unwrap())))
            }
            None => (name, None),
        };
        let peeks = shown.contains(".PEEK");
        let shown = shown.replace(".PEEK", "");
        let bytes: &[u8] = match shown.as_str() {
            "RFC822" | "BODY[]" => all,
            "RFC822.HEADER" | "BODY[HEADER]" | "BODY[HEADER.FIELDS (SUBJECT)]" | "BODY[1.MIME]" => &all[..split],
            "RFC822.TEXT" | "BODY[TEXT]" | "BODY[1]" | "BINARY[1]" => &all[split..],
            _ => panic!("the model does not know {name}"),
        };
        if !peeks && !matches!(shown.as_str(), "RFC822.HEADER" | "BODY[1.MIME]") {
            self.flags |= SEEN;
        }
        let metadata = shown.contains("HEADER") || shown.contains("MIME");
        let is_whole = matches!(shown.as_str(), "RFC822" | "BODY[]");
        let is_part = shown.ends_with("[1]");
        let (slice, origin) = match partial {
            None => (bytes, None),
            Some((_, count)) if is_whole && ways.whole_for_chunk && bytes.len() > count => (bytes, None),
            Some((from, count)) => {
                let from_here = &bytes[from.min(bytes.len())..];
                (&from_here[..from_here.len().min(count)], Some(from).filter(|_| !(is_whole && ways.no_origin)))
            }
        };
        let response = match origin {
            Some(from) => format!("{shown}<{from}>"),
            None => shown.clone(),
        };
        let fits_quotes = slice.len() < 40 && slice.iter().all(|b| b.is_ascii_alphanumeric());
        let behind_end = partial.is_some_and(|(from, _)| from > 0) && slice.is_empty();
        let value = if ways.nil_at_end && behind_end {
            b"NIL".to_vec()
        } else if ways.quotes && !ways.whole_for_chunk && fits_quotes && !shown.starts_with("BINARY") {
            [b"\"", slice, b"\""].concat()
        } else {
            let mark = if shown.starts_with("BINARY") { "~" } else { "" };
            [format!("{mark}{{{}}}\r\n", slice.len()).as_bytes(), slice].concat()
        };
        self.add(&response, value, if metadata { Class::Other } else { Class::Content });
        if metadata {
            let header = matches!(shown.as_str(), "BODY[HEADER]" | "RFC822.HEADER");
            return (header && partial.is_none(), false);
        }
        if slice.is_empty() {
            return (false, partial.is_none() && !is_part);
        }
        match partial {
            None => {
                self.whole |= is_whole;
                self.got = true;
            }
            Some((from, count)) if is_whole => {
                let all = slice.len() == bytes.len() && (bytes.len() > count || from == 0 && slice.len() < count);
                // Without its origin it may be the answer to another FETCH as well, which is known only when both are answered.
                self.whole |= all && !ways.no_origin;
                self.got |= all || from > 0 || count > PREVIEW_LEN;
            }
            Some((from, count)) => {
                let preview = from == 0 && count <= PREVIEW_LEN && peeks && !(is_part && single);
                self.got |= !preview;
            }
        }
        (false, matches!(shown.as_str(), "BODY[TEXT]" | "RFC822.TEXT") && partial.is_none())
    }
}

/// At blanks outside of brackets.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0;
    text.split(|c| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        c == ' ' && depth == 0
    })
    .collect()
}
