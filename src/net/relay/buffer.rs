//! Octets in line: pushed at the back, consumed at the front, always in one piece.
//!
//! What was consumed is overwritten at once, for it may have been a credential: whatever of the memory is not in line holds zeros.

use std::hint::black_box;

use crate::net::stream::Outcome;

/// A queue of octets. Holds no memory when it is empty and [`Buffer::release`] was called: most sessions sleep most of the time.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// Zeros, but for those in line.
    memory: Vec<u8>,
    start: usize,
    end: usize,
    /// How many octets the next read asks for, in powers of [`GROWTH`] above [`READ_LEN`]: whoever fills what there is gets more.
    growth: u32,
}

/// Octets of a first read: what a dialogue needs.
const READ_LEN: usize = 2 * 1024;
const GROWTH: usize = 8;

impl Buffer {
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len(), 2 * self.memory.len());
        self.memory[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Lets `read` fill some of the space up to `limit` octets in all (there must be some). Returns its outcome and whether all that was offered was used.
    pub(super) fn fill(&mut self, limit: usize, read: impl FnOnce(&mut [u8]) -> Outcome) -> (Outcome, bool) {
        let room = (limit - self.len()).min(READ_LEN.saturating_mul(GROWTH.saturating_pow(self.growth)));
        self.make_room(room, 0);
        let outcome = read(&mut self.memory[self.end..self.end + room]);
        let filled = if let Outcome::Ready(n) = outcome { n } else { 0 };
        self.end += filled;
        if filled == room && self.len() < limit {
            self.growth += 1;
        }
        (outcome, filled == room)
    }

    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.len());
        overwrite(&mut self.memory[self.start..self.start + count]);
        self.start += count;
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    pub(super) fn clear(&mut self) {
        self.consume(self.len());
    }

    /// Gives the memory back if there is nothing in it; the next reads are small ones.
    pub(super) fn release(&mut self) {
        if self.is_empty() {
            *self = Buffer::default();
        }
    }

    /// Room for so many octets more: behind the others, by moving these to the front where that is cheap compared to what was consumed, or in
    /// larger memory, of `at_least` this size.
    fn make_room(&mut self, count: usize, at_least: usize) {
        if self.start > 0 && self.start >= self.len() {
            self.memory.copy_within(self.start..self.end, 0);
            overwrite(&mut self.memory[self.start..self.end]);
            (self.start, self.end) = (0, self.len());
        }
        if self.end + count > self.memory.len() {
            let mut memory = vec![0; at_least.max(self.len() + count)];
            memory[..self.len()].copy_from_slice(self.bytes());
            let end = self.len();
            self.clear();
            (self.memory, self.end) = (memory, end);
        }
    }
}

fn overwrite(bytes: &mut [u8]) {
    bytes.fill(0);
    // It may never be read again: without this the compiler may leave the overwriting out.
    black_box(bytes);
}

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

    #[test]
    fn what_has_left_the_line_is_nowhere_in_its_memory() {
        let secret = |buffer: &Buffer| buffer.memory.windows(6).any(|window| window == b"secret");
        let outside = |buffer: &Buffer| {
            let (before, behind) = (&buffer.memory[..buffer.start], &buffer.memory[buffer.end..]);
            before.iter().chain(behind).all(|&byte| byte == 0)
        };
        let mut buffer = Buffer::default();
        for round in 0..50 {
            buffer.push(b"PASS secret\r\n");
            assert!(secret(&buffer) && outside(&buffer));
            let (_, _) = buffer.fill(200, |space| {
                space[..4].copy_from_slice(b"STAT");
                Outcome::Ready(4)
            });
            buffer.consume(7);
            assert!(outside(&buffer), "consumed in part");
            buffer.consume(7);
            assert!(!secret(&buffer) && outside(&buffer), "consumed");
            // Sometimes something stays, so that it is moved, and the memory outgrown.
            buffer.push(&b"secret".repeat(round));
            buffer.consume(3 + 6 * round);
            assert!(!secret(&buffer) && outside(&buffer), "moved");
        }
        buffer.push(b"secret");
        buffer.clear();
        assert!(!secret(&buffer) && outside(&buffer), "cleared");
    }
}
