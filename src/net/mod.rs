//! Sockets: the only code that reads or writes one.
//!
//! [`stream`] is a non-blocking connection, plain or TLS; [`dial`] makes one to a server; [`tls`] loads certificates and shakes
//! hands; [`relay`] moves the bytes of a session. Nothing here knows a mail protocol or the spool. Every wait has a deadline,
//! and every wait ends at once when the stop pipe of the process is closed.

pub mod dial;
pub mod relay;
pub mod stream;
pub mod tls;
pub mod wait;

#[cfg(test)]
pub(crate) mod testing;
