//! SEARCH's keys (RFC 3501 6.4.4), as many as mail programs use to keep in step.

use super::super::Message;
use super::fetch::field;
use super::syntax::{Argument, in_set, is_set, words};

/// Where a message stands in its folder.
pub(super) struct Position {
    pub(super) number: u32,
    pub(super) count: u32,
    pub(super) last_uid: u32,
}

/// Whether a message is what all the keys ask for; none where a key is not known here.
pub(super) fn fits(keys: &[Argument], message: &Message, at: &Position) -> Option<bool> {
    let mut keys = keys.iter();
    let mut all = true;
    while !keys.as_slice().is_empty() {
        all &= key(&mut keys, message, at)?;
    }
    Some(all)
}

fn key(keys: &mut std::slice::Iter<'_, Argument>, message: &Message, at: &Position) -> Option<bool> {
    let first = match keys.next()? {
        Argument::List(list) => return fits(&words(list), message, at),
        word => word.text().to_ascii_uppercase(),
    };
    let mut next = || keys.next().map(Argument::text);
    Some(match first.as_str() {
        "ALL" | "OLD" => true,
        "RECENT" => false,
        "CHARSET" => {
            next()?;
            true
        }
        "NOT" => !key(keys, message, at)?,
        "OR" => {
            let (one, other) = (key(keys, message, at)?, key(keys, message, at)?);
            one || other
        }
        "UID" => in_set(&next()?, message.uid, at.last_uid),
        "LARGER" => message.bytes.len() > next()?.parse().ok()?,
        "SMALLER" => message.bytes.len() < next()?.parse().ok()?,
        "KEYWORD" => message.has(&next()?),
        "UNKEYWORD" => !message.has(&next()?),
        "HEADER" => {
            let name = next()?;
            holds(message, &name, &next()?)
        }
        "FROM" | "TO" | "CC" | "BCC" | "SUBJECT" => holds(message, &first, &next()?),
        "NEW" | "UNSEEN" => !message.has("\\Seen"),
        "SEEN" | "ANSWERED" | "DELETED" | "DRAFT" | "FLAGGED" => message.has(&format!("\\{first}")),
        "UNANSWERED" | "UNDELETED" | "UNDRAFT" | "UNFLAGGED" => !message.has(&format!("\\{}", &first[2..])),
        set if is_set(set) => in_set(set, at.number, at.count),
        _ => return None,
    })
}

fn holds(message: &Message, name: &str, text: &str) -> bool {
    field(&message.bytes, name).is_some_and(|value| value.to_lowercase().contains(&text.to_lowercase()))
}
