//! Bytes that need no memory of their own if they are few.
//!
//! Runs in the parent. The arguments of most calls take a few bytes, and each call would allocate and free them.

use std::ops::Deref;

/// So many bytes take no more room in a task's record than a vector does.
const SHORT: usize = 15;

/// See the module.
#[derive(Debug)]
pub(super) enum ShortBytes {
    Few { len: u8, bytes: [u8; SHORT] },
    Many(Vec<u8>),
}

impl ShortBytes {
    /// A copy of `bytes`.
    #[inline]
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut few = [0; SHORT];
        match few.get_mut(..bytes.len()) {
            Some(copy) => {
                copy.copy_from_slice(bytes);
                Self::Few {
                    len: bytes.len() as u8,
                    bytes: few,
                }
            }
            None => Self::Many(bytes.to_vec()),
        }
    }

    /// Drops what is behind the first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        match self {
            Self::Few { len: old, .. } => *old = (*old as usize).min(len) as u8,
            Self::Many(bytes) => bytes.truncate(len),
        }
    }
}

impl Deref for ShortBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Few { len, bytes } => &bytes[..usize::from(*len)],
            Self::Many(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_however_many_there_are() {
        let all: Vec<u8> = (0..40).collect();
        for len in 0..=all.len() {
            let mut bytes = ShortBytes::of(&all[..len]);
            assert_eq!(*bytes, all[..len]);
            bytes.truncate(len / 2);
            assert_eq!(*bytes, all[..len / 2]);
        }
    }

    #[test]
    fn few_bytes_take_the_room_of_a_vector() {
        assert_eq!(size_of::<ShortBytes>(), size_of::<Vec<u8>>());
    }
}
