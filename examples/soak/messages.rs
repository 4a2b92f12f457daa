//! The messages of a soak: each is made anew from seed, owner and number whenever it is needed, so none has to be remembered.
//!
//! There are few thousands of them, again and again: removed from the spool they are new to it, still there they are known. So what MailStore
//! remembers of all hashes it ever saw stays small, and growth is a leak.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::random::Random;

/// Mailboxes.
pub(crate) const OWNERS: usize = 256;
pub(crate) const DOMAIN: &str = "soak.example.org";
/// Of all mailboxes. It may not be in the log.
pub(crate) const PASSWORD: &str = "soak-Pa55word-of-all";
/// A mailbox's messages that come in; behind them are those that its owner sends, one for each client thread.
pub(crate) const INCOMING: usize = 8;
/// MailStore's `max_message_size`, in octets: a few messages are larger.
pub(crate) const SIZE_MAX: usize = 8 << 20;
/// Whom a message is sent to at most.
pub(crate) const RECIPIENTS: usize = 2;

pub(crate) type Hash = [u8; 32];

#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) hash: Hash,
}

impl Message {
    /// The same bytes with the same seed, owner and number.
    pub(crate) fn new(seed: u64, owner: usize, number: usize) -> Message {
        let mut random = Random::new(seed ^ ((owner as u64) << 40) ^ ((number as u64) << 20));
        let bytes: Arc<[u8]> = bytes(&mut random, owner, number).into();
        Message { hash: hash(&bytes), bytes }
    }
}

pub(crate) fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

pub(crate) fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An owner's login and address.
pub(crate) fn user(owner: usize) -> String {
    format!("u{owner:03}@{DOMAIN}")
}

/// Whom an owner's message goes to: always the same, so that each mailbox ever sees the same messages.
pub(crate) fn recipients(owner: usize, number: usize) -> [usize; RECIPIENTS] {
    [1, 2].map(|next| (owner + number * RECIPIENTS + next) % OWNERS)
}

fn bytes(random: &mut Random, owner: usize, number: usize) -> Vec<u8> {
    let (from, to) = random.weighed(&[
        (720, (900, 8_000)),
        (200, (20_000, 200_000)),
        (64, (300_000, 1_500_000)),
        (12, (2_000_000, 7_500_000)),
        (4, (SIZE_MAX + 1, 10_000_000)),
    ]);
    let size = random.between(from, to);
    let mut out = format!(
        "Received: from a by b; Tue, 14 Nov 2023 22:13:20 +0000\r\nFrom: {from}\r\nTo: {to}\r\nSubject: Soak {number}\r\n\
         Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <{id:016x}@{DOMAIN}>\r\n\r\n",
        from = user(owner),
        to = user(recipients(owner, number)[0]),
        id = random.next(),
    )
    .into_bytes();
    while out.len() + 80 < size {
        line(random, &mut out);
    }
    out.extend(b"the end\r\n");
    out
}

/// Text as it may come, with what is awkward: dots, 8-bit octets, what looks like a protocol, nothing at all.
fn line(random: &mut Random, out: &mut Vec<u8>) {
    match random.below(64) {
        0 => out.extend(b"."),
        1 => out.extend(b"..stuffed"),
        2 => out.extend(b"a1 OK FETCH completed {12}"),
        3 => out.extend([0xe4, 0xf6, 0xfc, 0xff]),
        4 => {}
        _ => {
            for _ in 0..random.between(1, 9) {
                out.extend(random.next().to_le_bytes().map(|byte| b'a' + byte % 26));
            }
        }
    }
    out.extend(b"\r\n");
}
