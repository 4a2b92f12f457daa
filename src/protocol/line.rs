//! Lines of a stream that may arrive in any pieces. A line ends at LF; the CR before it, if any, belongs to the ending.

use super::{Host, Side, overwrite};

/// Collects one line at a time; holds at most `line_len_max` bytes.
#[derive(Debug)]
pub struct LineBuffer {
    buffer: Vec<u8>,
    line_len_max: usize,
}

/// The line is longer than the limit; the place in the stream is lost.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

impl LineBuffer {
    pub fn new(line_len_max: usize) -> LineBuffer {
        LineBuffer { buffer: Vec::new(), line_len_max }
    }

    /// Another limit, from the next bytes on.
    pub fn set_len_max(&mut self, line_len_max: usize) {
        self.line_len_max = line_len_max;
    }

    /// Takes bytes up to and including the next LF. Returns how many were taken and whether [`LineBuffer::raw`] is now a
    /// whole line, which stays until [`LineBuffer::clear`].
    ///
    /// # Errors
    /// [`TooLong`] as soon as a line without an end exceeds the limit.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(usize, bool), TooLong> {
        let (taken, whole) = match bytes.iter().position(|&b| b == b'\n') {
            Some(at) => (at + 1, true),
            None => (bytes.len(), false),
        };
        if self.buffer.len() + taken > self.line_len_max {
            return Err(TooLong);
        }
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok((taken, whole))
    }

    /// The line with its ending, as received.
    pub fn raw(&self) -> &[u8] {
        &self.buffer
    }

    /// The line without its ending (LF or CRLF).
    pub fn text(&self) -> &[u8] {
        trim_ending(&self.buffer)
    }

    /// Sends the line to that side, its ending made CRLF whatever it was.
    pub(super) fn forward(&self, to: Side, host: &mut dyn Host) {
        if self.buffer.ends_with(b"\r\n") {
            return host.send(to, &self.buffer);
        }
        host.send(to, self.text());
        host.send(to, b"\r\n");
    }

    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Gives the memory back if there is nothing in it.
    pub fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }

    /// Forgets the line, overwriting it: it may have held a credential.
    pub fn clear(&mut self) {
        overwrite(&mut self.buffer);
        self.buffer.clear();
        if self.buffer.capacity() > 4096 {
            self.buffer = Vec::new();
        }
    }
}

/// The line without LF or CRLF at its end.
pub fn trim_ending(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_in_any_pieces() {
        let mut buffer = LineBuffer::new(10);
        assert_eq!(buffer.feed(b"US"), Ok((2, false)));
        assert_eq!(buffer.feed(b"ER\r"), Ok((3, false)));
        assert_eq!(buffer.feed(b"\nPASS"), Ok((1, true)));
        assert_eq!((buffer.raw(), buffer.text()), (&b"USER\r\n"[..], &b"USER"[..]));
        buffer.clear();
        assert_eq!(buffer.feed(b"a\n"), Ok((2, true)));
        assert_eq!(buffer.text(), b"a");
    }

    #[test]
    fn a_line_over_the_limit_is_an_error_at_once() {
        let mut buffer = LineBuffer::new(4);
        assert_eq!(buffer.feed(b"abcde"), Err(TooLong));
        assert_eq!(buffer.feed(b"abc\n"), Ok((4, true)));
    }
}
