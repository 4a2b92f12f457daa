//! What a FETCH asks for, as far as the archive is concerned (RFC 9051, section 6.4.5; RFC 1730 and RFC 3516 for older and newer names).
//!
//! Reads the client's text without judging it: what is not understood asks for nothing here, and the server's answers are looked at in any case.

use super::command::parse_len;

/// So many octets from the beginning of a text or part are a preview, as mail programs show them in lists: they set off nothing. But who asks so
/// without `.PEEK`, which marks the message as seen, or for the part of a single message (JavaMail asks for as much of a part as it has) reads it.
pub(super) const PREVIEW_LEN_MAX: u64 = 4096;

/// What one FETCH command asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wants {
    /// Whole messages.
    pub(super) whole: bool,
    /// A chunk of whole messages: from this octet so many.
    pub(super) chunk: Option<(u64, u64)>,
    /// More than one chunk of whole messages.
    pub(super) several_chunks: bool,
    /// A chunk of the text, of so many octets at most: what calls itself the text may be only that.
    pub(super) text_chunk: Option<u64>,
    /// A chunk of the header: what calls itself the header may be only that.
    pub(super) header_chunk: bool,
    /// Texts or parts, more of them than a preview.
    pub(super) reads: bool,
    /// Whatever of the message's content, previews included.
    pub(super) content: bool,
}

impl Wants {
    /// Reads one line of a FETCH command.
    pub(super) fn parse(text: &[u8]) -> Wants {
        let mut wants = Wants::default();
        let (mut behind_name, mut single, mut upper) = (false, false, Vec::new());
        for item in items(text) {
            if behind_name {
                single = item.iter().all(u8::is_ascii_digit);
            }
            upper.clear();
            upper.extend_from_slice(item);
            upper.make_ascii_uppercase();
            wants.add(&upper, single);
            behind_name = upper == b"FETCH";
        }
        wants
    }

    /// Together with what another line of the command asks for.
    pub(super) fn and(self, other: Wants) -> Wants {
        Wants {
            whole: self.whole || other.whole,
            chunk: self.chunk.or(other.chunk),
            several_chunks: self.several_chunks
                || other.several_chunks
                || self.chunk.is_some() && other.chunk.is_some(),
            text_chunk: self.text_chunk.max(other.text_chunk),
            header_chunk: self.header_chunk || other.header_chunk,
            reads: self.reads || other.reads,
            content: self.content || other.content,
        }
    }

    /// `single`: of one message.
    fn add(&mut self, item: &[u8], single: bool) {
        if matches!(item, b"RFC822" | b"RFC822.PEEK") {
            (self.whole, self.content) = (true, true);
            return;
        }
        if item.starts_with(b"RFC822.TEXT") {
            (self.reads, self.content) = (true, true);
            return;
        }
        let prefixes = [&b"BODY["[..], b"BODY.PEEK[", b"BINARY[", b"BINARY.PEEK["];
        let Some(rest) = prefixes.iter().find_map(|prefix| item.strip_prefix(*prefix)) else { return };
        let Some(end) = rest.iter().position(|&b| b == b']') else { return };
        let (section, partial) = (&rest[..end], partial(&rest[end + 1..]));
        if is_metadata(section) {
            self.header_chunk |= section == b"HEADER" && partial.is_some();
            return;
        }
        self.content = true;
        let peeks = item.windows(6).any(|window| window == b".PEEK[");
        let is_part = !matches!(section, b"" | b"TEXT");
        let is_beginning = partial.is_some_and(|(from, count)| from == 0 && count <= PREVIEW_LEN_MAX);
        let is_preview = is_beginning && peeks && !(is_part && single);
        match (section, partial) {
            (b"", None) => self.whole = true,
            (b"", Some(partial)) => {
                self.several_chunks |= self.chunk.replace(partial).is_some_and(|other| other != partial)
            }
            (b"TEXT", Some((_, count))) => {
                self.text_chunk = self.text_chunk.max(Some(count));
                self.reads |= !is_preview;
            }
            _ => self.reads |= !is_preview,
        }
    }
}

/// Whether a section names header fields or MIME headers, not content.
pub(super) fn is_metadata(section: &[u8]) -> bool {
    section.windows(6).any(|window| window == b"HEADER") || section.ends_with(b".MIME") || section == b"0"
}

/// `<from.count>`; a count that is none means no limit.
fn partial(text: &[u8]) -> Option<(u64, u64)> {
    let inner = text.strip_prefix(b"<")?;
    let inner = inner.split(|&b| b == b'>').next()?;
    let mut numbers = inner.split(|&b| b == b'.');
    let from = numbers.next().and_then(parse_len).unwrap_or(u64::MAX);
    Some((from, numbers.next().and_then(parse_len).unwrap_or(u64::MAX)))
}

/// The words of a FETCH, split at blanks and parentheses outside of brackets.
fn items(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut depth = 0usize;
    text.split(move |&byte| {
        match byte {
            b'[' => depth += 1,
            b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && b" ()".contains(&byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(items: &str) -> Wants {
        let set = if items.starts_with(' ') { "7" } else { "1:*" };
        Wants::parse(format!("a UID FETCH {set} {items}").as_bytes())
    }

    #[test]
    fn what_is_asked_for() {
        let none = Wants::default();
        let content = Wants { content: true, ..none };
        for (items, expected) in [
            ("(FLAGS UID RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY RFC822.HEADER)", none),
            ("(BODY.PEEK[HEADER.FIELDS (SUBJECT \"X]\")] BODY[1.MIME] BODY[2.HEADER] BODY[0] BINARY.SIZE[1])", none),
            ("BODY.PEEK[HEADER]<0.100>", Wants { header_chunk: true, ..none }),
            ("body.peek[]", Wants { whole: true, ..content }),
            ("(UID RFC822)", Wants { whole: true, ..content }),
            ("rfc822.peek", Wants { whole: true, ..content }),
            ("(UID RFC822.SIZE BODY[]<65536.73728>)", Wants { chunk: Some((65536, 73728)), ..content }),
            ("(BODY[]<0.5> BODY[]<0.4>)", Wants { chunk: Some((0, 4)), several_chunks: true, reads: false, ..content }),
            ("BODY[]<5>", Wants { chunk: Some((5, u64::MAX)), ..content }),
            ("RFC822.TEXT.PEEK", Wants { reads: true, ..content }),
            ("(BODY.PEEK[HEADER] BODY.PEEK[TEXT])", Wants { reads: true, ..content }),
            ("BODY.PEEK[TEXT]<0.2048>", Wants { text_chunk: Some(2048), ..content }),
            ("BODY.PEEK[TEXT]<0.9000>", Wants { text_chunk: Some(9000), reads: true, ..content }),
            ("BODY.PEEK[TEXT]<9.20>", Wants { text_chunk: Some(20), reads: true, ..content }),
            ("BODY.PEEK[1.2]", Wants { reads: true, ..content }),
            ("BODY.PEEK[1]<0.512>", content),
            (" BODY.PEEK[TEXT]<0.512>", Wants { text_chunk: Some(512), ..content }),
            (" BODY.PEEK[1]<0.512>", Wants { reads: true, ..content }),
            ("BODY[1]<0.512>", Wants { reads: true, ..content }),
            ("BODY.PEEK[1]<0.1048576>", Wants { reads: true, ..content }),
            ("BINARY.PEEK[1.2]", Wants { reads: true, ..content }),
            ("BODY[1", none),
        ] {
            assert_eq!(wants(items), expected, "{items}");
        }
    }
}
