//! What the fuzz targets (`tests/fuzz`) need to reach of the archive's insides. Only with the feature `fuzzing`.

use std::path::PathBuf;

use super::owner::Owner;
use super::received::Received;
use super::template::Template;
use super::{name, notes};

/// The name of the file of notes.
pub const NOTES: &str = notes::FILE_NAME;

/// The owner's Maildir, relative to the spool.
pub fn maildir(template: &Template, owner: &Owner) -> PathBuf {
    template.path(owner)
}

/// The date of the message's first `Received:` field.
pub fn received<'a>(message: impl IntoIterator<Item = &'a [u8]>) -> Option<i64> {
    let mut received = Received::new();
    message.into_iter().for_each(|piece| received.feed(piece));
    received.date()
}

/// Of a name that a MailStore of this host gave to a draft: its process, and whether the draft was whole.
pub fn left_by(name: &[u8]) -> Option<(u32, bool)> {
    let parsed = name::parse(name).filter(|parsed| parsed.host == name::host())?;
    Some((parsed.pid, parsed.prepared.is_some()))
}

/// What this host is called in a draft's name.
pub fn host() -> &'static str {
    name::host()
}

/// The line that notes a message of so many octets with this SHA-256.
pub fn note(key: &str, size: u64, hash: [u8; 32]) -> String {
    notes::line(key, notes::Message { size, hash })
}
