//! MailStore: a POP3, IMAP4 and SMTP proxy that keeps every message that passes in plain Maildirs.
//!
//! Three parts know nothing of each other's insides: [`protocol`] (bytes in, actions out, no I/O), [`net`] (the only
//! code that touches sockets) and [`archive`] (the only code that touches the spool). [`server`] joins them into sessions.

pub mod archive;
pub mod cli;
pub mod config;
mod date;
pub mod learn;
pub mod logging;
pub mod net;
mod notify;
pub mod protocol;
pub mod server;
pub mod signals;
pub mod utf7;
