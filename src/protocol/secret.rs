//! What somebody proves with who he is: never printed, and overwritten when it is let go.

use std::fmt;

/// Octets of a password that is remembered at most. (What SHA-crypt takes grows with the square of it.)
const PASSWORD_LEN_MAX: usize = 512;

/// A password, or what holds one.
pub struct Secret(Vec<u8>);

impl Secret {
    pub(super) fn new(bytes: Vec<u8>) -> Secret {
        Secret(bytes)
    }

    /// A copy of a password that can be used elsewhere as well: not an empty one, none with a NUL or a line's end in it (servers
    /// differ in how much of it they take), and none of more than 512 octets.
    pub fn password(bytes: &[u8]) -> Option<Secret> {
        let sound =
            (1..=PASSWORD_LEN_MAX).contains(&bytes.len()) && !bytes.iter().any(|b| matches!(b, 0 | b'\r' | b'\n'));
        sound.then(|| Secret(bytes.to_vec()))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        overwrite(&mut self.0);
    }
}

/// Nothing of it stays.
pub(super) fn overwrite(octets: &mut [u8]) {
    octets.fill(0);
    // They may never be read again: without this the compiler may leave the overwriting out.
    std::hint::black_box(octets);
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_servers_may_read_differently_is_no_password() {
        let whole = "x".repeat(512);
        for good in ["x", " ", "a:b", "p\u{e4}ss", whole.as_str()] {
            assert_eq!(Secret::password(good.as_bytes()).unwrap().bytes(), good.as_bytes());
        }
        let long = "x".repeat(513);
        for bad in ["", "a\0", "a\rb", "a\n", long.as_str()] {
            assert!(Secret::password(bad.as_bytes()).is_none(), "{bad:?}");
        }
        assert_eq!(format!("{:?}", Secret::password(b"hunter2")), "Some(Secret)");
    }
}
