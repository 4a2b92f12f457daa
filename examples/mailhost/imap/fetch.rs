//! FETCH's items (RFC 3501 6.4.5): flags, dates, sizes, envelopes, and the message, its header, some fields or its text, whole or in part.

use chrono::DateTime;

use super::super::Message;
use super::syntax::{Argument, quote, words};

pub(super) enum Item {
    Uid,
    Flags,
    Date,
    Size,
    Envelope,
    Section {
        /// As the answer says it.
        name: String,
        part: Part,
        /// The first octet, and how many.
        range: Option<(usize, usize)>,
        marks_seen: bool,
    },
}

pub(super) enum Part {
    Whole,
    Header,
    Text,
    /// These header fields, or all but these.
    Fields {
        names: Vec<String>,
        but: bool,
    },
}

/// The items of a command, or the one that is not known here.
pub(super) fn parse(argument: &str) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    for word in words(argument).iter().map(Argument::text) {
        match word.to_ascii_uppercase().as_str() {
            "UID" => items.push(Item::Uid),
            "FLAGS" => items.push(Item::Flags),
            "INTERNALDATE" => items.push(Item::Date),
            "RFC822.SIZE" => items.push(Item::Size),
            "ENVELOPE" => items.push(Item::Envelope),
            "FAST" => items.extend([Item::Flags, Item::Date, Item::Size]),
            "ALL" => items.extend([Item::Flags, Item::Date, Item::Size, Item::Envelope]),
            "RFC822" => items.push(whole_name("RFC822", Part::Whole, true)),
            "RFC822.HEADER" => items.push(whole_name("RFC822.HEADER", Part::Header, false)),
            "RFC822.TEXT" => items.push(whole_name("RFC822.TEXT", Part::Text, true)),
            _ => items.push(section(&word).ok_or(word)?),
        }
    }
    Ok(items)
}

fn whole_name(name: &str, part: Part, marks_seen: bool) -> Item {
    Item::Section { name: name.to_owned(), part, range: None, marks_seen }
}

/// `BODY[…]<from.count>` or `BODY.PEEK[…]<from.count>`.
fn section(word: &str) -> Option<Item> {
    let (start, rest) = word.split_once('[')?;
    let (inner, range) = rest.rsplit_once(']')?;
    let marks_seen = match start.to_ascii_uppercase().as_str() {
        "BODY" => true,
        "BODY.PEEK" => false,
        _ => return None,
    };
    let (what, fields) = inner.split_once(' ').unwrap_or((inner, ""));
    let names = || fields.trim_matches(['(', ')']).split(' ').map(|name| name.trim_matches('"').to_owned()).collect();
    let part = match what.to_ascii_uppercase().as_str() {
        "" => Part::Whole,
        "HEADER" => Part::Header,
        "TEXT" => Part::Text,
        "HEADER.FIELDS" => Part::Fields { names: names(), but: false },
        "HEADER.FIELDS.NOT" => Part::Fields { names: names(), but: true },
        _ => return None,
    };
    let (mut name, mut part_range) = (format!("BODY[{inner}]"), None);
    if let Some(range) = range.strip_prefix('<') {
        let (from, count) = range.strip_suffix('>')?.split_once('.')?;
        part_range = Some((from.parse().ok()?, count.parse().ok()?));
        name += &format!("<{from}>");
    }
    Some(Item::Section { name, part, range: part_range, marks_seen })
}

/// What the answer says for one item.
pub(super) fn answer(item: &Item, message: &Message) -> Vec<u8> {
    match item {
        Item::Uid => format!("UID {}", message.uid).into_bytes(),
        Item::Flags => format!("FLAGS ({})", message.flags.join(" ")).into_bytes(),
        Item::Date => format!("INTERNALDATE \"{}\"", date(message.date)).into_bytes(),
        Item::Size => format!("RFC822.SIZE {}", message.bytes.len()).into_bytes(),
        Item::Envelope => format!("ENVELOPE ({})", envelope(&message.bytes)).into_bytes(),
        Item::Section { name, part, range, .. } => {
            let bytes = text_of(part, &message.bytes);
            let bytes = match *range {
                Some((from, count)) => bytes.get(from..bytes.len().min(from.saturating_add(count))).unwrap_or_default(),
                None => &bytes,
            };
            [format!("{name} {{{}}}\r\n", bytes.len()).as_bytes(), bytes].concat()
        }
    }
}

/// Unix time as INTERNALDATE has it.
fn date(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default().format("%d-%b-%Y %H:%M:%S +0000").to_string()
}

/// APPEND's date as Unix time.
pub(super) fn read_date(text: &str) -> Option<i64> {
    DateTime::parse_from_str(text.trim(), "%d-%b-%Y %H:%M:%S %z").ok().map(|date| date.timestamp())
}

fn text_of(part: &Part, message: &[u8]) -> Vec<u8> {
    let (header, text) = split(message);
    match part {
        Part::Whole => message.to_vec(),
        Part::Header => header.to_vec(),
        Part::Text => text.to_vec(),
        Part::Fields { names, but } => {
            let wanted = |name: &str| names.iter().any(|one| one.eq_ignore_ascii_case(name)) != *but;
            let mut found: Vec<u8> =
                fields(header).into_iter().filter(|(name, _)| wanted(name)).flat_map(|(_, field)| field).collect();
            found.extend(b"\r\n");
            found
        }
    }
}

/// The header with its empty line, and what follows.
fn split(message: &[u8]) -> (&[u8], &[u8]) {
    if message.starts_with(b"\r\n") {
        return message.split_at(2);
    }
    let end = message.windows(4).position(|four| four == b"\r\n\r\n").map_or(message.len(), |at| at + 4);
    message.split_at(end)
}

/// The fields of a header: name, and all lines as they are.
fn fields(header: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
    for line in header.split_inclusive(|&byte| byte == b'\n') {
        match fields.last_mut() {
            Some((_, field)) if line.starts_with(b" ") || line.starts_with(b"\t") => field.extend(line),
            _ => {
                let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
                let name = String::from_utf8_lossy(&line[..colon]).trim().to_owned();
                fields.push((name, line.to_vec()));
            }
        }
    }
    fields
}

/// A header field's value on one line; none where there is no such field.
pub(super) fn field(message: &[u8], name: &str) -> Option<String> {
    let found = fields(split(message).0).into_iter().find(|(one, _)| one.eq_ignore_ascii_case(name))?.1;
    let text = String::from_utf8_lossy(&found).replace("\r\n", "");
    Some(text.split_once(':')?.1.trim().to_owned())
}

/// RFC 3501 7.4.2: date, subject, from, sender, reply-to, to, cc, bcc, in-reply-to, message-id.
fn envelope(message: &[u8]) -> String {
    let text = |name: &str| field(message, name).map_or("NIL".to_owned(), |value| nstring(&value));
    let people = |name: &str| field(message, name).map_or("NIL".to_owned(), |value| addresses(&value));
    let or_from = |name: &str| if field(message, name).is_some() { people(name) } else { people("From") };
    let parts = [
        text("Date"),
        text("Subject"),
        people("From"),
        or_from("Sender"),
        or_from("Reply-To"),
        people("To"),
        people("Cc"),
        people("Bcc"),
        text("In-Reply-To"),
        text("Message-ID"),
    ];
    parts.join(" ")
}

/// A quoted string, or a literal where that holds what a quoted string cannot (RFC 3501 4.3).
fn nstring(text: &str) -> String {
    if text.is_ascii() { quote(text) } else { format!("{{{}}}\r\n{text}", text.len()) }
}

/// `Name <user@domain>, user@domain`. Groups and comments are left as they are.
fn addresses(text: &str) -> String {
    let (mut parts, mut quoted) = (vec![String::new()], false);
    for char in text.chars() {
        quoted ^= char == '"';
        match parts.last_mut() {
            Some(part) if char != ',' || quoted => part.push(char),
            _ => parts.push(String::new()),
        }
    }
    let one = |part: &String| {
        let (name, address) = part.rsplit_once('<').unwrap_or(("", part));
        let (user, domain) = address.trim_end_matches('>').trim().rsplit_once('@')?;
        let name = name.trim().trim_matches('"');
        let name = if name.is_empty() { "NIL".to_owned() } else { nstring(name) };
        Some(format!("({name} NIL {} {})", nstring(user), nstring(domain)))
    };
    let all: String = parts.iter().filter_map(one).collect();
    if all.is_empty() { "NIL".to_owned() } else { format!("({all})") }
}
