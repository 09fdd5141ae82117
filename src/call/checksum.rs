//! The checksum of a committed reply.
//!
//! Runs in both processes. A reply may lie unread while the worker runs the next task, and that task may overwrite it.
//! A checksum finds what was overwritten by accident; the head's other fields find less. It is no protection against a
//! worker that means to deceive: that has the same code.
//!
//! The mixing step is the multiplication of two 64-bit numbers to 128 bits, folded ("wyhash", Wang Yi).

const KEYS: [u64; 5] = [
    0xa076_1d64_78bd_642f,
    0xe703_7ed1_a0b4_28db,
    0x8ebc_6af0_9c88_c6e3,
    0x5899_65cc_7537_4cc3,
    0x1d8e_4e27_c47d_124f,
];

/// The checksum of `words` and of `bytes` behind them.
#[inline]
pub(super) fn of<const N: usize>(words: [u64; N], bytes: &[u8]) -> u64 {
    let mut sum = words
        .into_iter()
        .fold(KEYS[4], |sum, word| fold(sum ^ word, KEYS[0]));
    let mut blocks = bytes.chunks_exact(32);
    if bytes.len() >= 32 {
        sum = of_blocks(sum, &mut blocks);
    }
    let mut rest = blocks.remainder().chunks_exact(8);
    for word in &mut rest {
        sum = fold(sum ^ word_of(word), KEYS[1]);
    }
    let mut last = [0; 8];
    last[..rest.remainder().len()].copy_from_slice(rest.remainder());
    fold(sum ^ u64::from_le_bytes(last), KEYS[2] ^ bytes.len() as u64)
}

/// Four sums side by side: each waits for its own multiplication only.
fn of_blocks(seed: u64, blocks: &mut std::slice::ChunksExact<'_, u8>) -> u64 {
    let mut sums = [seed, !seed, seed.rotate_left(17), seed.rotate_left(41)];
    for block in blocks {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum = fold(*sum ^ word_of(&block[8 * lane..]), KEYS[lane]);
        }
    }
    sums.into_iter()
        .fold(seed, |sum, lane| fold(sum ^ lane, KEYS[3]))
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

#[inline]
fn word_of(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_changes_the_checksum() {
        let bytes: Vec<u8> = (0..200).collect();
        for len in [0, 1, 7, 8, 9, 31, 32, 33, 64, 100, 200] {
            let sum = of([1, 2], &bytes[..len]);
            assert_eq!(sum, of([1, 2], &bytes[..len]));
            assert_ne!(sum, of([1, 3], &bytes[..len]));
            for at in 0..len {
                let mut changed = bytes[..len].to_vec();
                changed[at] ^= 0x10;
                assert_ne!(sum, of([1, 2], &changed), "byte {at} of {len}");
            }
        }
    }

    #[test]
    fn zeros_of_different_lengths_differ() {
        let sums: std::collections::HashSet<_> =
            (0..100).map(|len| of([0], &vec![0; len])).collect();
        assert_eq!(sums.len(), 100);
    }
}
