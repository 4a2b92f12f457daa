//! Which commands take messages away, and which messages they name.

use super::super::client::Command;
use super::super::command::Args;

/// What a command takes away.
pub(super) struct Deletion {
    pub(super) by_uid: bool,
    pub(super) set: Option<Vec<u8>>,
    pub(super) marked_only: bool,
    /// The client names messages by their numbers.
    pub(super) numbered: bool,
}

/// What the command would take away from the selected mailbox (RFC 9051, sections 6.4.1 to 6.4.9; RFC 8508 for REPLACE).
pub(super) fn deletion(command: &Command) -> Option<Deletion> {
    let (by_uid, name) = match command.name.strip_prefix(b"UID ") {
        Some(name) => (true, name),
        None => (false, &command.name[..]),
    };
    let mut args = command.args();
    match name {
        b"STORE" => {
            let set = args.string()?;
            // What cannot be read as a set may be one to the server, with what it stands for.
            (!is_set(&set) || marks_as_deleted(args)).then_some(Deletion {
                by_uid,
                set: Some(set),
                marked_only: false,
                numbered: !by_uid,
            })
        }
        b"MOVE" | b"REPLACE" => {
            Some(Deletion { by_uid, set: Some(args.string()?), marked_only: false, numbered: !by_uid })
        }
        b"EXPUNGE" if by_uid => Some(Deletion { by_uid, set: args.string(), marked_only: true, numbered: false }),
        b"EXPUNGE" | b"CLOSE" => Some(Deletion { by_uid: false, set: None, marked_only: true, numbered: false }),
        _ => None,
    }
}

/// Whether the flags of a STORE set `\Deleted`, or its labels move the message away (Gmail's `X-GM-LABELS`). A server may take a tab for a blank.
fn marks_as_deleted(mut args: Args<'_>) -> bool {
    // `(UNCHANGEDSINCE n)`, RFC 7162.
    if args.clone().remaining_text().starts_with(b"(") {
        args.list();
    }
    let text = args.remaining_text().to_ascii_uppercase();
    let text = text.trim_ascii();
    let has = |what: &[u8]| text.windows(what.len()).any(|window| window == what);
    if text.starts_with(b"-") {
        return false;
    }
    has(br"\DELETED") || has(b"X-GM-LABELS") && (has(br"\TRASH") || has(br"\SPAM"))
}

/// Whether this can become part of a command of ours.
pub(super) fn is_set(set: &[u8]) -> bool {
    set.iter().all(|b| b.is_ascii_digit() || b":*,$".contains(b))
}
