//! Whether one of many short words is anywhere in a short text.
//!
//! For values of some dozens of bytes, where building any searcher costs more than the search. Not here:
//! the words of a whole transcript ([`super::keywords`]).

/// Words, none of them empty, by what they begin with.
#[derive(Debug)]
pub(super) struct Parts<const N: usize> {
    words: [&'static str; N],
    /// Which words begin with this byte, a bit each.
    begin: [u64; 256],
}

impl<const N: usize> Parts<N> {
    /// At most 64 words.
    pub(super) const fn new(words: [&'static str; N]) -> Self {
        let mut begin = [0; 256];
        let mut i = 0;
        while i < N {
            begin[words[i].as_bytes()[0] as usize] |= 1 << i;
            i += 1;
        }
        Self { words, begin }
    }

    /// Whether one of the words is in the text.
    pub(super) fn any_in(&self, text: &[u8]) -> bool {
        text.iter().enumerate().any(|(at, byte)| {
            let mut left = self.begin[usize::from(*byte)];
            while left != 0 {
                if text[at..].starts_with(self.words[left.trailing_zeros() as usize].as_bytes()) {
                    return true;
                }
                left &= left - 1;
            }
            false
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static WORDS: Parts<4> = Parts::new(["your_", "yo", "x", "${"]);

    #[test]
    fn a_word_is_found_wherever_it_stands() {
        for text in ["your_key", "a yo", "x", "ax", "$${a}"] {
            assert!(WORDS.any_in(text.as_bytes()), "{text}");
        }
        for text in ["", "y", "you", "Yo", "$", "{$"] {
            assert_eq!(WORDS.any_in(text.as_bytes()), text.starts_with("yo"), "{text}");
        }
    }
}
