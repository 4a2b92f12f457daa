//! A word in upper case, as commands and replies are compared, without an allocation.

use std::ops::Deref;

/// The first `N` octets of a word in upper case: where no word that matters is so long, a longer one is none of them.
#[derive(Clone, Copy)]
pub(super) struct Upper<const N: usize> {
    octets: [u8; N],
    len: usize,
}

impl<const N: usize> Upper<N> {
    pub(super) fn new(word: &[u8]) -> Upper<N> {
        let (mut octets, len) = ([0; N], word.len().min(N));
        octets[..len].copy_from_slice(&word[..len]);
        octets[..len].make_ascii_uppercase();
        Upper { octets, len }
    }
}

impl<const N: usize> Deref for Upper<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_word_is_none_that_is_shorter() {
        assert_eq!(&*Upper::<8>::new(b"Fetch"), b"FETCH");
        assert_eq!(&*Upper::<8>::new(b""), b"");
        assert_eq!(&*Upper::<8>::new(b"capability"), b"CAPABILI");
    }
}
