//! Messages from a buffer that is made once: each differs from every other in one field of its header, or MailStore would rightly keep one only.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Before the message, for what stands before it on the wire.
const GAP: usize = 128;
const ID: &[u8] = b"0123456789abcdef";
const LINE: usize = 76;

/// The gap and a message, and where the digits are in which it differs from others.
type Made = (Vec<u8>, usize);

/// A message, and what stands behind it on the wire.
pub(crate) struct Template {
    bytes: Vec<u8>,
    id: usize,
}

impl Template {
    /// `size` octets of message, its last CRLF included; `behind`: what ends it on the wire.
    pub(crate) fn new(size: usize, behind: &[u8]) -> Template {
        static MADE: LazyLock<Mutex<HashMap<usize, Arc<Made>>>> = LazyLock::new(Mutex::default);
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = Arc::clone(made.entry(size).or_insert_with(|| Arc::new(make(size))));
        drop(made);
        let mut bytes = Vec::with_capacity(whole.0.len() + behind.len());
        bytes.extend_from_slice(&whole.0);
        bytes.extend_from_slice(behind);
        Template { bytes, id: whole.1 }
    }

    /// Another message, behind these words.
    pub(crate) fn next(&mut self, before: &[u8]) -> &[u8] {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // Of another run on the same spool as well.
        static RUN: LazyLock<u64> = LazyLock::new(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64) << 28
        });
        let count = RUN.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed));
        for (n, digit) in self.bytes[self.id..self.id + ID.len()].iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(count >> (60 - 4 * n)) as usize & 15];
        }
        let start = GAP - before.len();
        self.bytes[start..GAP].copy_from_slice(before);
        &self.bytes[start..]
    }
}

fn make(size: usize) -> Made {
    let mut bytes = vec![b' '; GAP];
    bytes.extend_from_slice(
        b"Received: from client.example.org (client.example.org [192.0.2.7]) by host.example.org with ESMTPSA id 7f3a;\r\n\
          \tTue, 14 Jul 2026 09:30:00 +0200\r\nFrom: Alice <alice@example.org>\r\nTo: Bob <bob@example.net>\r\n\
          Subject: What a benchmark sends\r\nDate: Tue, 14 Jul 2026 09:30:00 +0200\r\nMIME-Version: 1.0\r\n\
          Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\nMessage-ID: <",
    );
    let id = bytes.len();
    bytes.extend_from_slice(ID);
    bytes.extend_from_slice(b"@bench.example.org>\r\n\r\n");
    assert!(GAP + size >= bytes.len() + 4, "a message has to have room for its header");
    // Nothing that compresses, or that a scanner would skip by: base64 of noise.
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    let mut column = 0;
    while bytes.len() < GAP + size - 2 {
        if column == LINE && bytes.len() + 3 < GAP + size {
            bytes.extend_from_slice(b"\r\n");
            column = 0;
        }
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        bytes.push(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[(noise >> 58) as usize]);
        column += 1;
    }
    // Exactly so long, whatever the last line break did.
    bytes.truncate(GAP + size - 2);
    bytes.extend_from_slice(b"\r\n");
    (bytes, id)
}
