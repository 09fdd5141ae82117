//! A private copy of a value that lies in shared memory.
//!
//! Other processes may write the memory at any time, so no reference into it exists: a value is copied out, used here,
//! and copied back.

use std::fmt;

use bytemuck::Pod;

/// Values of up to this many bytes are copied to where the guard is, others to the heap.
const MOST_INLINE_BYTES: usize = 64;

#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct InlineBytes([u8; MOST_INLINE_BYTES]);

/// A value of plain data, copied.
pub(super) struct ValueCopy<T> {
    small: InlineBytes,
    /// The value, if it is not in `small`.
    large: Option<Box<T>>,
}

impl<T: Pod> ValueCopy<T> {
    const IS_SMALL: bool =
        size_of::<T>() <= MOST_INLINE_BYTES && align_of::<T>() <= align_of::<InlineBytes>();

    /// The value that `load` fills in.
    #[inline]
    pub(super) fn filled_by(load: impl FnOnce(&mut [u8])) -> Self {
        let mut copy = Self {
            small: InlineBytes([0; MOST_INLINE_BYTES]),
            large: match Self::IS_SMALL {
                true => None,
                false => Some(bytemuck::zeroed_box()),
            },
        };
        load(bytemuck::bytes_of_mut(copy.value_mut()));
        copy
    }

    #[inline]
    pub(super) fn value(&self) -> &T {
        match &self.large {
            Some(value) if !Self::IS_SMALL => value,
            _ => bytemuck::from_bytes(&self.small.0[..size_of::<T>()]),
        }
    }

    #[inline]
    pub(super) fn value_mut(&mut self) -> &mut T {
        match &mut self.large {
            Some(value) if !Self::IS_SMALL => value,
            _ => bytemuck::from_bytes_mut(&mut self.small.0[..size_of::<T>()]),
        }
    }
}

impl<T> fmt::Debug for ValueCopy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueCopy").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: Pod + PartialEq + fmt::Debug>(value: T) {
        let mut copy =
            ValueCopy::<T>::filled_by(|out| out.copy_from_slice(bytemuck::bytes_of(&value)));
        assert_eq!(*copy.value(), value);
        *copy.value_mut() = T::zeroed();
        assert_eq!(*copy.value(), T::zeroed());
    }

    #[test]
    fn value_of_any_size_is_copied() {
        round_trip(());
        round_trip(7_u8);
        round_trip(u128::MAX);
        round_trip([3_u64; 8]);
        round_trip([3_u64; 9]);
        round_trip([9_u8; 1024]);
    }
}
