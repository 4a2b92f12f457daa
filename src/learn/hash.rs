//! `{SHA512-CRYPT}$6$salt$hash`, as Dovecot's passwd-files have it: made, and compared with a password.
//!
//! Takes some milliseconds a call. What stays of a password on the stack is overwritten before a call returns.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read};

use sha_crypt::{ROUNDS_DEFAULT, Sha512Params, sha512_crypt_b64};

use crate::protocol::Secret;

const SCHEME: &str = "{SHA512-CRYPT}";
/// Of 64 letters each: 96 bits.
const SALT_LEN: usize = 16;
const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// A hash of more rounds, which somebody else has made, is not compared: that would take seconds.
const ROUNDS_MAX: usize = 500_000;
/// Octets of the stack that a hash may have used.
const STACK_USED_MAX: usize = 32 * 1024;

/// A hash of this password, with a new salt.
///
/// # Errors
/// The system gives no random octets.
pub(super) fn make(password: &Secret) -> io::Result<String> {
    let mut salt = [0; SALT_LEN];
    File::open("/dev/urandom")?.read_exact(&mut salt)?;
    let salt: String = salt.iter().map(|octet| char::from(LETTERS[usize::from(octet & 63)])).collect();
    let hash = crypt(password, salt.as_bytes(), ROUNDS_DEFAULT).ok_or_else(|| io::Error::other("SHA-crypt failed"))?;
    Ok(format!("{SCHEME}$6${salt}${hash}"))
}

/// Whether this is a hash of that password. False for what is no SHA512-CRYPT.
pub(super) fn verifies(password: &Secret, field: &[u8]) -> bool {
    let Some((salt, rounds, right)) = parse(field) else { return false };
    crypt(password, salt.as_bytes(), rounds).is_some_and(|hash| same(hash.as_bytes(), right.as_bytes()))
}

/// Salt, rounds and hash.
fn parse(field: &[u8]) -> Option<(&str, usize, &str)> {
    let text = std::str::from_utf8(field).ok()?;
    let text = match text.strip_prefix('{') {
        None => text,
        Some(text) => {
            let (scheme, text) = text.split_once('}')?;
            ["SHA512-CRYPT", "CRYPT"].iter().any(|known| scheme.eq_ignore_ascii_case(known)).then_some(text)?
        }
    };
    let text = text.strip_prefix("$6$")?;
    let (rounds, text) = match text.strip_prefix("rounds=") {
        None => (ROUNDS_DEFAULT, text),
        Some(text) => {
            let (rounds, text) = text.split_once('$')?;
            (rounds.parse().ok().filter(|rounds| *rounds <= ROUNDS_MAX)?, text)
        }
    };
    let (salt, hash) = text.split_once('$')?;
    Some((salt, rounds, hash))
}

fn crypt(password: &Secret, salt: &[u8], rounds: usize) -> Option<String> {
    let hash = Sha512Params::new(rounds).ok().and_then(|params| sha512_crypt_b64(password.bytes(), salt, &params).ok());
    overwrite_stack();
    hash
}

/// What the calls before this one have left on the stack. (The heap is overwritten by the allocator.)
#[inline(never)]
fn overwrite_stack() {
    black_box(&mut [0u8; STACK_USED_MAX]);
}

/// In a time that does not tell where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |seen, (a, b)| black_box(seen | (a ^ b))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::password(text.as_bytes()).unwrap()
    }

    #[test]
    fn hashes_are_those_of_crypt() {
        // From the specification of SHA-crypt, and from `openssl passwd -6`.
        for (password, hash) in [
            (
                "Hello world!",
                "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            ),
            (
                "Hello world!",
                "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
            ),
        ] {
            for field in [hash.to_owned(), format!("{{SHA512-CRYPT}}{hash}"), format!("{{crypt}}{hash}")] {
                assert!(verifies(&secret(password), field.as_bytes()), "{field}");
                assert!(!verifies(&secret("hello world!"), field.as_bytes()), "{field}");
            }
            assert!(!verifies(&secret(password), format!("{{SHA256}}{hash}").as_bytes()));
        }
    }

    #[test]
    fn what_is_made_verifies_and_is_never_the_same() {
        let (one, two) = (make(&secret("s3 kr:3t")).unwrap(), make(&secret("s3 kr:3t")).unwrap());
        assert!(one.starts_with("{SHA512-CRYPT}$6$") && one.len() == "{SHA512-CRYPT}$6$".len() + 16 + 1 + 86, "{one}");
        assert!(
            one != two
                && verifies(&secret("s3 kr:3t"), one.as_bytes())
                && !verifies(&secret("s3 kr:3"), one.as_bytes())
        );
        for changed in
            [one[..one.len() - 1].to_owned(), format!("{one}x"), one.replace("$6$", "$5$"), one.replace('}', "")]
        {
            assert!(!verifies(&secret("s3 kr:3t"), changed.as_bytes()), "{changed}");
        }
    }

    #[test]
    fn nothing_that_stands_in_a_file_makes_it_fail_or_wait() {
        let rounds = |n: &str| format!("$6$rounds={n}$salt$hash");
        let long = format!("$6${}$", "s".repeat(100_000));
        for field in [
            "",
            "{",
            "{}",
            "{SHA512-CRYPT}",
            "$6$",
            "$6$$",
            "$6$rounds=",
            "x",
            &rounds("999999999"),
            &rounds("0"),
            &rounds("-1"),
            &long,
        ] {
            assert!(!verifies(&secret("x"), field.as_bytes()), "{field}");
        }
        assert!(!verifies(&secret("x"), b"$6$\xff$"));
    }
}
