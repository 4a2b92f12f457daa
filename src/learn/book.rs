//! The text of a passwd-file: `name:password:more…`, one line a user; `#` begins a comment. All that is not asked for stays as it is, byte by byte.

use std::ops::Range;

/// Octets of a file that is still read and written.
pub(super) const LEN_MAX: usize = 16 << 20;
/// Lines of it.
const LINES_MAX: usize = 100_000;

/// What stands behind the password in a line of ours: no uid, gid, home and so on. Without it Dovecot has no use for the line where the file is its
/// userdb as well.
const REST: &str = "::::::";

/// A passwd-file in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Book {
    text: Vec<u8>,
    lines: usize,
}

impl Book {
    /// # Errors
    /// A sentence: it has too many lines, or is too large.
    pub(super) fn new(text: Vec<u8>) -> Result<Book, String> {
        let lines = text.iter().filter(|byte| **byte == b'\n').count();
        let book = Book { text, lines };
        if book.is_full() { Err(FULL.to_owned()) } else { Ok(book) }
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// What stands as this user's password; of several lines for him the first counts, as for Dovecot.
    pub(super) fn password(&self, name: &str) -> Option<&[u8]> {
        self.find(name).map(|place| &self.text[place])
    }

    /// Puts another password into the user's line, the rest of which stays, or adds a line at the end. Whether he is new.
    ///
    /// # Errors
    /// As [`Book::new`]; then nothing is changed.
    pub(super) fn set(&mut self, name: &str, password: &str) -> Result<bool, String> {
        let before = (self.text.len(), self.lines);
        if let Some(place) = self.find(name) {
            self.text.splice(place, password.bytes());
            return Ok(false);
        }
        if !self.text.is_empty() && !self.text.ends_with(b"\n") {
            self.text.push(b'\n');
        }
        self.text.extend(format!("{name}:{password}{REST}\n").bytes());
        self.lines += 1;
        if self.is_full() {
            self.text.truncate(before.0);
            self.lines = before.1;
            return Err(FULL.to_owned());
        }
        Ok(true)
    }

    fn is_full(&self) -> bool {
        self.text.len() > LEN_MAX || self.lines > LINES_MAX
    }

    fn find(&self, name: &str) -> Option<Range<usize>> {
        let mut at = 0;
        for line in self.text.split_inclusive(|byte| *byte == b'\n') {
            if let Some(rest) = line.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b":")) {
                let from = at + name.len() + 1;
                let len = rest.iter().position(|byte| matches!(byte, b':' | b'\r' | b'\n')).unwrap_or(rest.len());
                return Some(from..from + len);
            }
            at += line.len();
        }
        None
    }
}

const FULL: &str =
    "it has more than 100,000 lines, or 16 MiB; take out those who are no users any more, or begin another file";

#[cfg(test)]
mod tests {
    use super::*;

    fn book(text: &str) -> Book {
        Book::new(text.as_bytes().to_vec()).unwrap()
    }

    #[track_caller]
    fn set(before: &str, name: &str, after: &str, new: bool) {
        let mut book = book(before);
        assert_eq!(book.set(name, "{X}y"), Ok(new));
        assert_eq!(String::from_utf8_lossy(book.text()), after);
        assert_eq!(book.password(name), Some(&b"{X}y"[..]));
    }

    #[test]
    fn a_line_is_replaced_in_its_place_and_all_else_stays() {
        set("", "joe@a", "joe@a:{X}y::::::\n", true);
        set("# who\n\nann@a:{A}b", "joe@a", "# who\n\nann@a:{A}b\njoe@a:{X}y::::::\n", true);
        set(
            "ann@a:1\njoe@a:{A}b:1000:100::/home::x=y\nzoe@a:2\n",
            "joe@a",
            "ann@a:1\njoe@a:{X}y:1000:100::/home::x=y\nzoe@a:2\n",
            false,
        );
        set("joe@a:{A}b\r\nann@a:c\r\n", "joe@a", "joe@a:{X}y\r\nann@a:c\r\n", false);
        set("joe@a:", "joe@a", "joe@a:{X}y", false);
        set("joe@a::::::\n", "joe@a", "joe@a:{X}y:::::\n", false);
        // Neither a comment, nor another name, nor a second line is his.
        set(
            "#joe@a:1\njoe@a.b:2\nJoe@a:3\n joe@a:4\n",
            "joe@a",
            "#joe@a:1\njoe@a.b:2\nJoe@a:3\n joe@a:4\njoe@a:{X}y::::::\n",
            true,
        );
        set("joe@a:1\njoe@a:2\n", "joe@a", "joe@a:{X}y\njoe@a:2\n", false);
        set("joe@a\n", "joe@a", "joe@a\njoe@a:{X}y::::::\n", true);
    }

    #[test]
    fn octets_that_are_no_text_stay() {
        let mut book = Book::new(b"\xff:1\n\0\n".to_vec()).unwrap();
        assert_eq!(book.set("joe@a", "x"), Ok(true));
        assert_eq!(book.text(), b"\xff:1\n\0\njoe@a:x::::::\n");
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let lines: String = (0..LINES_MAX).map(|n| format!("u{n}@a:x\n")).collect();
        let mut full = book(&lines);
        assert_eq!(full.set("joe@a", "x"), Err(FULL.to_owned()));
        assert_eq!(full, book(&lines));
        assert_eq!(full.set("u7@a", "y"), Ok(false));
        assert_eq!(Book::new(format!("{lines}\n").into_bytes()), Err(FULL.to_owned()));
        assert_eq!(Book::new(vec![b'x'; LEN_MAX + 1]), Err(FULL.to_owned()));
    }
}
