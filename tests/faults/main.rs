//! What becomes of mail when the program is killed at any step, the power fails, or the disk does.
//!
//! A shim in C stands between the program and the system ([`shim`]): it counts and records every step on disk and on the wire, kills the
//! program before any of them, and lets any of them fail. The program is the one that users get; it has no part in this. The
//! mail host is our own, in memory; the clients are as simple as can be, for every connection may break at any time.

mod client;
mod disk;
mod kill;
#[path = "../../examples/mailhost/mod.rs"]
mod mailhost;
mod mount;
mod powercut;
mod scenario;
mod shim;
#[path = "../support/mod.rs"]
mod support;
