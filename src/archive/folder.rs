//! Which folder of the owner's Maildir.

/// A Maildir++ folder: the inbox (the Maildir itself) or a named one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Folder {
    /// The directory's name below the Maildir (`.Work.Reports`), empty for the inbox.
    name: String,
}

impl Folder {
    pub fn inbox() -> Folder {
        Folder { name: String::new() }
    }

    /// The folder of these levels, outermost first, each in modified UTF-7 as on the wire. What a file system or Maildir++ cannot hold in
    /// a level (`.`, `/`, `%`, control and non-ASCII bytes, an empty level, over-long names) is written `%XX`, or shortened with a
    /// hash: different levels always give different folders. No levels: the inbox.
    pub fn new(_levels: &[&[u8]]) -> Folder {
        todo!()
    }

    /// The directory's name below the Maildir, with its leading dot; empty for the inbox.
    pub fn dir_name(&self) -> &str {
        &self.name
    }
}
