//! What the server says it can, as the client may see it (RFC 2449, 2595, 5034). Line by line; what is not named here passes as it is.

use super::super::line::trim_ending;
use super::super::sasl;

/// What the client's side needs to be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// `STLS` is ours to offer, and no login before it.
    pub(super) before_tls: bool,
}

impl View {
    /// A line of the `CAPA` list, with its ending; none where it is to be left out.
    pub(super) fn line(self, raw: &[u8]) -> Option<Vec<u8>> {
        let text = trim_ending(raw);
        let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let tag = words.next().unwrap_or_default();
        if tag.eq_ignore_ascii_case(b"STLS") {
            return None;
        }
        if tag.eq_ignore_ascii_case(b"USER") && self.before_tls {
            return None;
        }
        if !tag.eq_ignore_ascii_case(b"SASL") {
            return Some(raw.to_vec());
        }
        let offered: Vec<&[u8]> = words.collect();
        let staying = sasl::filter(&offered);
        if staying.is_empty() || self.before_tls {
            None
        } else if staying.len() == offered.len() {
            Some(raw.to_vec())
        } else {
            Some([tag, b" ", &staying.join(&b' '), &raw[text.len()..]].concat())
        }
    }

    /// What is to stand behind the server's own lines.
    pub(super) fn ours(self) -> &'static [u8] {
        if self.before_tls { b"STLS\r\n" } else { b"" }
    }
}

/// The lines of a bare `AUTH` (one mechanism each, with their endings) that stay.
pub(super) fn mechanisms(lines: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = lines.split_inclusive(|&b| b == b'\n').collect();
    let names: Vec<&[u8]> = lines.iter().map(|line| line.trim_ascii()).collect();
    let staying = sasl::filter(&names);
    let stays = |line: &&&[u8]| staying.contains(&line.trim_ascii());
    lines.iter().filter(stays).copied().collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: View = View { before_tls: false };
    const BEFORE_TLS: View = View { before_tls: true };

    #[test]
    fn the_servers_stls_never_passes() {
        for view in [OPEN, BEFORE_TLS] {
            assert_eq!(view.line(b"stls\r\n"), None);
        }
        assert_eq!(OPEN.ours(), b"");
        assert_eq!(BEFORE_TLS.ours(), b"STLS\r\n");
    }

    #[test]
    fn sasl_is_filtered() {
        assert_eq!(OPEN.line(b"SASL PLAIN LOGIN\r\n").unwrap(), b"SASL PLAIN LOGIN\r\n");
        assert_eq!(OPEN.line(b"sasl  PLAIN GSSAPI Login\r\n").unwrap(), b"sasl PLAIN Login\r\n");
        assert_eq!(OPEN.line(b"SASL SCRAM-SHA-1 SCRAM-SHA-1-PLUS PLAIN\r\n").unwrap(), b"SASL PLAIN\r\n");
        assert_eq!(OPEN.line(b"SASL GSSAPI\r\n"), None);
    }

    #[test]
    fn no_login_before_tls() {
        assert_eq!(BEFORE_TLS.line(b"USER\r\n"), None);
        assert_eq!(BEFORE_TLS.line(b"SASL PLAIN\r\n"), None);
        assert_eq!(OPEN.line(b"USER\r\n").unwrap(), b"USER\r\n");
    }

    #[test]
    fn all_else_passes() {
        for line in [&b"TOP\r\n"[..], b"EXPIRE 60 USER\n", b"IMPLEMENTATION x  STLS\r\n", b"\r\n", b"USERX\r\n"] {
            assert_eq!(BEFORE_TLS.line(line).unwrap(), line);
        }
    }

    #[test]
    fn mechanisms_keep_order_and_spelling() {
        assert_eq!(mechanisms(b"GSSAPI\r\nplain\r\nLOGIN\r\n"), b"plain\r\nLOGIN\r\n");
        assert_eq!(mechanisms(b"SCRAM-SHA-1\r\nPLAIN\r\nSCRAM-SHA-1-PLUS\r\n"), b"PLAIN\r\n");
        assert_eq!(mechanisms(b""), b"");
    }
}
