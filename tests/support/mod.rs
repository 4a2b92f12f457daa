//! What all integration tests share: private mail servers on free loopback ports, the proxies, and the means to compare.
//!
//! Everything lives in one [`Lab`] for each test: a temporary folder with throw-away certificates, which goes away with it.
//! Servers are ended by their process ids when they are dropped, and their logs are printed when a test fails. Nothing
//! sleeps for a fixed time: what has to be waited for is polled for, with a deadline.
#![allow(dead_code, unreachable_pub, unused_imports, clippy::enum_variant_names)] // Each test binary uses its own part.

pub mod archive;
pub mod client;
pub mod corpus;
pub mod daemon;
pub mod dovecot;
pub mod filed;
pub mod lab;
pub mod learn;
pub mod logins;
pub mod machine;
pub mod maildirs;
pub mod memory;
pub mod page;
pub mod peer;
pub mod postfix;
pub mod preload;
pub mod proxy;
pub mod replay;
pub mod sources;
pub mod spool;
pub mod wire;

pub use client::{Output, python, run, run_with_input};
pub use corpus::{Sample, corpus, small_corpus};
pub use dovecot::{Dovecot, DovecotOptions, Place};
pub use lab::{Certificate, Lab};
pub use machine::Machine;
pub use postfix::{Delivered, Postfix};
pub use proxy::Proxy;
pub use spool::{Kept, Spool};
pub use wire::Wire;

use std::time::{Duration, Instant};

/// The one password that every private server accepts, for any user.
pub const PASSWORD: &str = "s3kr3t-Pa55";

/// For an IMAP proxy that keeps what clients read, and nothing else.
pub const UNFOLLOWED: &str = "follow = no\n";

/// How long a server may take to greet.
pub const START: Duration = Duration::from_secs(60);

/// How long one client program may take.
pub const CLIENT: Duration = Duration::from_secs(120);

/// Asks until it is so; fails the test with `what` once the deadline is over.
pub fn wait_until(what: &str, deadline: Duration, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !is_so() {
        assert!(Instant::now() < end, "within {deadline:?} it did not come true: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Fails unless both are the same; shows where they part.
#[track_caller]
pub fn assert_same(without: &[u8], with: &[u8], what: &str) {
    if without == with {
        return;
    }
    let at = without.iter().zip(with).take_while(|(a, b)| a == b).count();
    let show = |bytes: &[u8]| bytes[at.saturating_sub(100)..bytes.len().min(at + 200)].escape_ascii().to_string();
    let lengths = format!("{} and {} octets, the same up to {at}", without.len(), with.len());
    panic!(
        "{what}: with the proxy it is not what it is without ({lengths})\nwithout: {}\nwith:    {}",
        show(without),
        show(with)
    );
}

/// The same with every `from` written `to`.
pub fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from.as_bytes()) {
        out.extend(&rest[..at]);
        out.extend(to.as_bytes());
        rest = &rest[at + from.len()..];
    }
    out.extend(rest);
    out
}

/// The three ways to secure a connection, named as in `mailstore.ini`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    None,
    StartTls,
    Implicit,
}

impl Tls {
    pub const ALL: [Tls; 3] = [Tls::None, Tls::StartTls, Tls::Implicit];

    pub fn key(self) -> &'static str {
        match self {
            Tls::None => "none",
            Tls::StartTls => "starttls",
            Tls::Implicit => "implicit",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Pop3,
    Imap,
    Smtp,
}

impl Kind {
    /// The section's name, which is curl's scheme as well.
    pub fn key(self) -> &'static str {
        match self {
            Kind::Pop3 => "pop3",
            Kind::Imap => "imap",
            Kind::Smtp => "smtp",
        }
    }
}

/// Where a client connects to: the real server or a proxy before it.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    pub kind: Kind,
    /// On 127.0.0.1, which is `localhost` in the certificate.
    pub port: u16,
    pub tls: Tls,
}
