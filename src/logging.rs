//! What the program writes to its log.

/// A peer's bytes as they may stand in a log line: printable ASCII stays, but for the backslash, the quote and the blank; all
/// else is written `\xNN`. Cut after 200 bytes, then with `...` at the end.
pub fn escape(bytes: &[u8]) -> String {
    const LEN_MAX: usize = 200;
    let mut out = String::with_capacity(bytes.len().min(LEN_MAX));
    for &byte in bytes.iter().take(LEN_MAX) {
        if byte.is_ascii_graphic() && byte != b'\\' && byte != b'"' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    if bytes.len() > LEN_MAX {
        out.push_str("...");
    }
    out
}
