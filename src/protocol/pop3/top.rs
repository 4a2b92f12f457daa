//! `TOP` of some lines (RFC 1939, section 7): what passes may be the whole message, and it may be so much that it counts as one.
//!
//! Fewer lines of the body than were asked for: that is all there is, and it is kept before its final dot passes. Else the message was
//! cut, and it is due ([`LINES_DUE`]) or the text a preview, of which nothing is kept.
//!
//! That a text is complete is only our conclusion, and there are servers that cut `TOP` short (Maillennium after 64 KiB): the copy
//! never stands in for the one that is made before a deletion. Where the client asked for everything, as fetchmail does for each message,
//! it does up to [`WHOLE_LEN_MAX`]: fetching all of that twice would be dear.

use memchr::memchr2;

use super::super::{DraftId, Host, Refused};
use crate::archive::Destination;

/// From so many lines on `TOP` is for reading, not for a preview: what it cuts off is got by a `RETR` of our own.
pub(super) const LINES_DUE: u64 = 1000;

/// A `TOP` of everything that brought as many octets, dots stuffed, may have been cut. Less than the 64 KiB that are known: a server may
/// mean 64,000, and end with a whole line.
pub(super) const WHOLE_LEN_MAX: u64 = 60_000;

/// Octets that are gathered before a draft is begun: most previews never need one.
const GATHERED_MAX: usize = 16 * 1024;

/// A text that passes.
pub(super) struct Preview {
    to: Destination,
    lines_asked: u64,
    body: Body,
    gathered: Vec<u8>,
    draft: Option<DraftId>,
    refused: Option<Refused>,
}

impl Preview {
    pub(super) fn new(to: Destination, lines_asked: u64) -> Preview {
        let body = Body::default();
        Preview { to, lines_asked, body, gathered: Vec::new(), draft: None, refused: None }
    }

    /// Takes a piece, unstuffed. Never fails: what passes is not known to be a message yet.
    pub(super) fn take(&mut self, message: &[u8], host: &mut dyn Host) {
        self.body.take(message);
        if !self.is_whole() {
            self.abort(host);
        } else if self.refused.is_none()
            && let Err(refused) = self.append(message, host)
        {
            self.draft = None;
            self.refused = Some(refused);
        }
    }

    fn append(&mut self, message: &[u8], host: &mut dyn Host) -> Result<(), Refused> {
        if self.draft.is_none() && self.gathered.len() + message.len() <= GATHERED_MAX {
            self.gathered.extend_from_slice(message);
            return Ok(());
        }
        let draft = self.begin(host)?;
        host.append(draft, message)
    }

    /// The draft, with all that was gathered in it.
    fn begin(&mut self, host: &mut dyn Host) -> Result<DraftId, Refused> {
        if let Some(draft) = self.draft {
            return Ok(draft);
        }
        let draft = host.begin(std::slice::from_ref(&self.to), None)?;
        let gathered = std::mem::take(&mut self.gathered);
        if !gathered.is_empty() {
            host.append(draft, &gathered)?;
        }
        self.draft = Some(draft);
        Ok(draft)
    }

    /// Whether what came up to now is all that there is, should nothing follow.
    pub(super) fn is_whole(&self) -> bool {
        self.body.lines < self.lines_asked
    }

    /// Whether the rest of a message that was cut has to be got.
    pub(super) fn is_due(&self) -> bool {
        self.lines_asked >= LINES_DUE
    }

    /// Keeps it: it is whole.
    pub(super) fn keep(mut self, host: &mut dyn Host) -> Result<(), Refused> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let draft = self.begin(host)?;
        host.finish(draft);
        host.settle()
    }

    pub(super) fn abort(&mut self, host: &mut dyn Host) {
        self.gathered = Vec::new();
        if let Some(draft) = self.draft.take() {
            host.abort(draft);
        }
    }
}

/// Octets of a line that every server reads as one (RFC 5322, section 2.1.1). Those that read into a buffer of about 1,000 count
/// a longer line as several.
const LINE_LEN_MAX: u64 = 998;

/// Counts the lines of a body: as many as any server may have counted, so that what was cut never looks whole. CR, LF and CRLF end a
/// line, and the first one that is empty ends the header.
#[derive(Default)]
struct Body {
    lines: u64,
    begun: bool,
    after_cr: bool,
    /// Octets of the line so far.
    len: u64,
}

impl Body {
    fn take(&mut self, mut bytes: &[u8]) {
        if self.after_cr && !bytes.is_empty() {
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            self.after_cr = false;
        }
        while let Some(end) = memchr2(b'\r', b'\n', bytes) {
            self.text(end as u64);
            self.lines += u64::from(self.begun);
            self.begun |= self.len == 0;
            self.len = 0;
            let ending = match &bytes[end..] {
                [b'\r', b'\n', ..] => 2,
                [b'\r'] => {
                    self.after_cr = true;
                    1
                }
                _ => 1,
            };
            bytes = &bytes[end + ending..];
        }
        self.text(bytes.len() as u64);
    }

    /// So many octets of a line more: what is too long for one is counted for several, which share an octet.
    fn text(&mut self, octets: u64) {
        self.len += octets;
        if let Some(over) = self.len.checked_sub(LINE_LEN_MAX) {
            self.lines += u64::from(self.begun) * (1 + over / (LINE_LEN_MAX - 1));
            self.len = 1 + over % (LINE_LEN_MAX - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(text: &[u8]) -> u64 {
        let (mut whole, mut pieces) = (Body::default(), Body::default());
        whole.take(text);
        text.chunks(1).for_each(|byte| pieces.take(byte));
        assert_eq!(whole.lines, pieces.lines);
        whole.lines
    }

    #[test]
    fn lines_behind_the_first_empty_one_count() {
        assert_eq!(lines(b""), 0);
        assert_eq!(lines(b"a: b\r\nc: d\r\n"), 0);
        assert_eq!(lines(b"a: b\r\n\r\n"), 0);
        assert_eq!(lines(b"a: b\r\n\r\none\r\n\r\n\r\n"), 3);
        assert_eq!(lines(b"\r\none\r\n"), 1);
        assert_eq!(lines(b"a: b\n\none\ntwo\r\n"), 2);
        assert_eq!(lines(b"a: b\r\rone\rtwo\n"), 2);
        assert_eq!(lines(b"a: b\r\n\r\none\r\r\n"), 2);
    }

    /// Octet by octet, as the lines are defined.
    fn counted(text: &[u8]) -> u64 {
        let (mut lines, mut begun, mut after_cr, mut len) = (0, false, false, 0);
        for &byte in text {
            match byte {
                b'\n' if after_cr => {}
                b'\r' | b'\n' => {
                    lines += u64::from(begun);
                    begun |= len == 0;
                    len = 0;
                }
                _ => len += 1,
            }
            if len == LINE_LEN_MAX {
                lines += u64::from(begun);
                len = 1;
            }
            after_cr = byte == b'\r';
        }
        lines
    }

    proptest! {
        #[test]
        fn lines_are_counted_in_any_pieces(
            pieces in prop::collection::vec(("[\r\na]{0,4}", prop_oneof![Just(0usize), 990..1010usize, 1990..2000usize]), 0..8),
        ) {
            let pieces: Vec<Vec<u8>> =
                pieces.into_iter().map(|(ends, len)| [ends.as_bytes(), &vec![b'x'; len]].concat()).collect();
            let mut body = Body::default();
            pieces.iter().for_each(|piece| body.take(piece));
            prop_assert_eq!(body.lines, counted(&pieces.concat()));
            prop_assert_eq!(lines(&pieces.concat()), body.lines);
        }
    }

    #[test]
    fn a_long_line_counts_for_several() {
        let text = |len| [b"a: b\r\n\r\n", &vec![b'x'; len][..], b"\r\n"].concat();
        assert_eq!((lines(&text(997)), lines(&text(2000)), lines(&text(10_000))), (1, 3, 11));
        assert_eq!(lines(&[&b"a: "[..], &[b'x'; 5000], b"\r\n\r\none\r\n"].concat()), 1);
    }
}
