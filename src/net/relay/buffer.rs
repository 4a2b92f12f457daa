//! Octets in line: pushed at the back, consumed at the front, always in one piece.

/// A queue of octets. Holds no memory when it is empty and [`Buffer::release`] was called: most sessions sleep most of the time.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.compact();
        self.bytes.extend_from_slice(bytes);
    }

    /// Lets `read` fill the space up to `limit` octets in all (there must be some). Returns its outcome and whether all the space was used.
    pub(super) fn fill(&mut self, limit: usize, read: impl FnOnce(&mut [u8]) -> Outcome) -> (Outcome, bool) {
        self.compact();
        let old = self.bytes.len();
        self.bytes.resize(self.start + limit, 0);
        let outcome = read(&mut self.bytes[old..]);
        let filled = if let Outcome::Ready(n) = outcome { n } else { 0 };
        let full = old + filled == self.bytes.len();
        self.bytes.truncate(old + filled);
        (outcome, full)
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start >= self.bytes.len() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
    }

    /// Gives the memory back if there is nothing in it.
    pub(super) fn release(&mut self) {
        if self.is_empty() && self.bytes.capacity() > 0 {
            *self = Buffer::default();
        }
    }

    /// Moves the octets to the front where that is cheap compared to what was consumed.
    fn compact(&mut self) {
        if self.start > 0 && self.start >= self.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

use crate::net::stream::Outcome;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_leave_in_the_order_they_came() {
        let mut buffer = Buffer::default();
        let (mut put, mut got) = (0u8, Vec::new());
        for round in 0..200 {
            let piece: Vec<u8> = (0..round % 7)
                .map(|_| {
                    put = put.wrapping_add(1);
                    put
                })
                .collect();
            buffer.push(&piece);
            let take = (round % 5).min(buffer.len());
            got.extend_from_slice(&buffer.bytes()[..take]);
            buffer.consume(take);
        }
        got.extend_from_slice(buffer.bytes());
        assert!(got.iter().enumerate().all(|(n, &b)| b == (n + 1) as u8));
    }

    #[test]
    fn filling_keeps_to_the_limit() {
        let mut buffer = Buffer::default();
        buffer.push(b"abc");
        let (_, full) = buffer.fill(5, |space| {
            assert_eq!(space.len(), 2);
            space[0] = b'd';
            Outcome::Ready(1)
        });
        assert_eq!((buffer.bytes(), full), (&b"abcd"[..], false));
        let (_, full) = buffer.fill(5, |space| {
            space[0] = b'e';
            Outcome::Ready(space.len())
        });
        assert_eq!((buffer.bytes(), full), (&b"abcde"[..], true));
        let (outcome, full) = buffer.fill(9, |_| Outcome::Eof { clean: true });
        assert!(matches!(outcome, Outcome::Eof { clean: true }) && !full);
        assert_eq!(buffer.len(), 5);
    }
}
