//! Whose Maildir.

/// A mailbox owner: the login that the server accepted (or an envelope address), in lower case, with a domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The part before the last `@`, in lower case; any bytes.
    user: Vec<u8>,
    /// The part behind it, in lower case; any bytes, never empty.
    domain: Vec<u8>,
}

impl Owner {
    /// The owner for a login name as it crossed the wire. Split at the last `@`; without a domain it gets `default_domain`.
    pub fn new(_login: &[u8], _default_domain: &str) -> Owner {
        todo!()
    }

    pub fn user(&self) -> &[u8] {
        &self.user
    }

    pub fn domain(&self) -> &[u8] {
        &self.domain
    }
}
