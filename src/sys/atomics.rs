//! Values that several processes change at the same time: atomics, and arrays of them, in shared memory.
//!
//! # Safety
//!
//! An [`AtomicMemory`] gives out shared references to a type whose author promised that every access is atomic, that
//! all bytes are valid and that nothing in it points elsewhere ([`Atomics`]). The memory is as long as the value, is
//! aligned to a page, and stays mapped as long as the reference lives.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{
    AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16,
    AtomicU32, AtomicU64, AtomicUsize,
};

use super::memory;
use super::writable_memory::{WritableMemory, refused};

/// A type that several processes may change at the same time, in memory that they share.
///
/// Implemented for the atomics of the standard library and for arrays of such types. `AtomicPtr` is not one: an address
/// of one process means nothing in another. A structure of atomics can be one too:
///
/// ```
/// use procession::memory::{Atomics, Shared};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// #[derive(Default)]
/// #[repr(C)]
/// struct Counts {
///     bytes: AtomicU64,
///     errors: AtomicU64,
/// }
///
/// // SAFETY: two atomics, without padding, destructor or pointer.
/// unsafe impl Atomics for Counts {}
///
/// # fn main() -> std::io::Result<()> {
/// let counts = Shared::new(Counts::default())?;
/// counts.bytes.fetch_add(512, Ordering::Relaxed);
/// # Ok(())
/// # }
/// ```
///
/// # Safety
///
/// All processes are the same program, and any of them may write any byte at any time, with atomic operations. So:
///
/// - all access through `&Self` is atomic, as by the methods of the standard library's atomics;
/// - every sequence of bytes, all zero among them, is a valid value for these operations;
/// - the type has no pointer, no reference and no destructor, and its alignment is at most 4096.
pub unsafe trait Atomics: Send + Sync + Sized + 'static {}

macro_rules! atomics {
    ($($atomic:ty)*) => {$(
        // SAFETY: an integer with atomic operations.
        unsafe impl Atomics for $atomic {}
    )*};
}

atomics! {
    AtomicU8 AtomicU16 AtomicU32 AtomicU64 AtomicUsize
    AtomicI8 AtomicI16 AtomicI32 AtomicI64 AtomicIsize
}

// SAFETY: the standard library keeps the byte as an integer, whose operations take it as true unless it is zero.
unsafe impl Atomics for AtomicBool {}

// SAFETY: as its elements.
unsafe impl<T: Atomics, const N: usize> Atomics for [T; N] {}

/// A value of a type that is [`Atomics`], or a slice of such values.
///
/// Implemented by this crate alone.
pub trait AtomicLayout: Send + Sync + sealed::AtomicPlace + 'static {}

impl<T: Atomics> AtomicLayout for T {}
impl<T: Atomics> AtomicLayout for [T] {}

mod sealed {
    use super::Atomics;

    /// How a value lies in memory.
    pub trait AtomicPlace {
        /// The bytes of one element.
        const ELEMENT: usize;

        /// The number of elements, if it is part of the type.
        const COUNT: Option<usize>;

        /// The value of `count` elements at `base`.
        ///
        /// # Safety
        ///
        /// There are so many, aligned, for as long as the reference is used.
        #[expect(unsafe_code, reason = "the module says why")]
        unsafe fn at<'a>(base: *const u8, count: usize) -> &'a Self;
    }

    #[expect(unsafe_code, reason = "the module says why")]
    impl<T: Atomics> AtomicPlace for T {
        const ELEMENT: usize = super::checked_bytes::<T>();
        const COUNT: Option<usize> = Some(1);

        unsafe fn at<'a>(base: *const u8, _: usize) -> &'a Self {
            // SAFETY: the caller's promise, and any bytes are a value.
            unsafe { &*base.cast::<T>() }
        }
    }

    #[expect(unsafe_code, reason = "the module says why")]
    impl<T: Atomics> AtomicPlace for [T] {
        const ELEMENT: usize = super::checked_bytes::<T>();
        const COUNT: Option<usize> = None;

        unsafe fn at<'a>(base: *const u8, count: usize) -> &'a Self {
            // SAFETY: the caller's promise, and any bytes are values.
            unsafe { std::slice::from_raw_parts(base.cast::<T>(), count) }
        }
    }
}

/// The bytes of a value. A type that breaks the rules of [`Atomics`] visibly does not compile.
const fn checked_bytes<T>() -> usize {
    assert!(align_of::<T>() <= 4096, "its alignment is more than a page");
    assert!(!std::mem::needs_drop::<T>(), "it has a destructor");
    size_of::<T>()
}

/// Shared memory with a value that is [`AtomicLayout`].
pub(crate) struct AtomicMemory<T: ?Sized> {
    memory: WritableMemory,
    count: usize,
    identity: u64,
    value: PhantomData<fn() -> Box<T>>,
}

impl<T: Atomics> AtomicMemory<T> {
    /// Makes memory with this value.
    ///
    /// # Errors
    ///
    /// The value has no bytes, or there is no memory left.
    pub(crate) fn new(value: T) -> io::Result<Self> {
        let made = Self::zeroed(1)?;
        // SAFETY: the memory is as long as the value, aligned, and not shared yet.
        unsafe { made.memory.base().cast::<T>().write(value) };
        Ok(made)
    }
}

impl<T: AtomicLayout + ?Sized> AtomicMemory<T> {
    /// Makes memory of `count` elements, all zero.
    ///
    /// # Errors
    ///
    /// They have no bytes, or there is no memory left.
    pub(crate) fn zeroed(count: usize) -> io::Result<Self> {
        // Too many bytes are refused as such.
        let bytes = T::ELEMENT.saturating_mul(count);
        Self::new_at(WritableMemory::zeroed(bytes)?, count)
    }

    /// Maps memory of `count` elements that came from another process.
    ///
    /// # Errors
    ///
    /// It is no such memory, or the kernel cannot map it.
    pub(crate) fn open(memory: OwnedFd, count: usize) -> io::Result<Self> {
        let bytes = T::ELEMENT.checked_mul(count);
        let fits = T::COUNT.is_none_or(|own| own == count);
        match bytes.filter(|_| fits) {
            Some(bytes) => Self::new_at(WritableMemory::open(memory, bytes)?, count),
            None => Err(refused("it has another number of elements")),
        }
    }

    fn new_at(memory: WritableMemory, count: usize) -> io::Result<Self> {
        Ok(Self {
            identity: memory::identity(memory.as_fd())?,
            memory,
            count,
            value: PhantomData,
        })
    }

    /// The inode number of the memory, which is unique while a process holds the memory.
    pub(crate) fn identity(&self) -> u64 {
        self.identity
    }

    /// The number of elements.
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

impl<T: AtomicLayout + ?Sized> Deref for AtomicMemory<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the memory has the bytes of `count` elements, begins with a page, and lives as long as `self`.
        unsafe { T::at(self.memory.base(), self.count) }
    }
}

impl<T: ?Sized> AsFd for AtomicMemory<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

impl<T: ?Sized> fmt::Debug for AtomicMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AtomicMemory").field(&self.memory).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn value_is_seen_in_every_mapping_and_zero_before_it_is_written() {
        let made = AtomicMemory::<[AtomicU32]>::zeroed(3000).unwrap();
        let fd = made.as_fd().try_clone_to_owned().unwrap();
        let other = AtomicMemory::<[AtomicU32]>::open(fd, 3000).unwrap();
        assert!(made.iter().all(|it| it.load(Ordering::Relaxed) == 0));
        made[2999].fetch_sub(1, Ordering::Relaxed);
        assert_eq!(other[2999].load(Ordering::Relaxed), u32::MAX);
    }

    #[test]
    fn number_of_elements_is_checked() {
        let made = AtomicMemory::new([const { AtomicU64::new(7) }; 4]).unwrap();
        let fd = || made.as_fd().try_clone_to_owned().unwrap();
        assert!(AtomicMemory::<[AtomicU64; 4]>::open(fd(), 2).is_err());
        assert!(AtomicMemory::<[AtomicU64]>::open(fd(), 1 << 40).is_err());
        assert!(AtomicMemory::<[AtomicU64]>::open(fd(), usize::MAX).is_err());
        let array = AtomicMemory::<[AtomicU64; 4]>::open(fd(), 1).unwrap();
        assert_eq!(array[3].load(Ordering::Relaxed), 7);
    }
}
