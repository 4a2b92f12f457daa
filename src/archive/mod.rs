//! The archive: an owner, a folder and a stream of bytes become a file.

mod folder;
mod owner;

pub use folder::Folder;
pub use owner::Owner;

/// Where one copy of a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub owner: Owner,
    pub folder: Folder,
    /// Sent by the owner himself: lies in `cur` as seen, else in `new`.
    pub outgoing: bool,
}
