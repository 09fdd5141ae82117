//! Items of a job as bytes, before they are in a ring.
//!
//! Runs in the parent. Encoding runs the `Serialize` of arguments, so it happens where no lock is held. Copying the
//! bytes into a ring happens under the lock of a pool's core.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::envelope::ITEM_PREFIX;
use super::item_writer;
use super::job::Job;
use super::short_bytes::ShortBytes;
use crate::codec::attachments;
use crate::codec::cached;
use crate::codec::cached::CachedMemory;
use crate::codec::codec::EncodeFault;

/// The encoded items of a job, or why its first item was not encoded.
pub(crate) type EncodeResult = Result<EncodedItems, NotEncoded>;

/// Why an item was not encoded.
#[derive(Debug)]
pub(crate) enum NotEncoded {
    /// It does not fit a request. It takes so many bytes, or more if it has very many parts.
    TooLarge(u64),
    /// It cannot be carried at all.
    Refused(String),
}

/// Encoded items of a job, from its first on, and their attachments.
#[derive(Debug)]
pub(crate) struct EncodedItems {
    bytes: ShortBytes,
    items: u32,
    /// Most items refer to nothing, and many may wait.
    references: Option<Box<ItemReferences>>,
}

/// What the bytes of items refer to.
#[derive(Debug)]
struct ItemReferences {
    /// The attachments. Places among these are in the bytes, so that items with attachments are sent all at once.
    fds: Vec<OwnedFd>,
    /// Whether a pipe end moves with the items.
    has_ends: bool,
    /// The cached values that the items name.
    cached: Vec<Arc<CachedMemory>>,
}

impl ItemReferences {
    /// `None` if there are none.
    #[inline]
    fn of(fds: Vec<OwnedFd>, has_ends: bool, cached: Vec<Arc<CachedMemory>>) -> Option<Box<Self>> {
        let has_any = !fds.is_empty() || !cached.is_empty();
        has_any.then(|| {
            Box::new(Self {
                fds,
                has_ends,
                cached,
            })
        })
    }
}

/// How many items, their bytes, and their attachments if they have any.
type FittingItems<'a> = (usize, &'a [u8], Option<&'a mut Vec<OwnedFd>>);

impl EncodedItems {
    /// Encodes as many items of `job` as fit one request.
    ///
    /// # Errors
    ///
    /// Why the first item cannot be encoded, or that it does not fit.
    #[inline]
    pub(crate) fn of(job: &dyn Job) -> EncodeResult {
        let (mut fds, mut cached) = (Vec::new(), Vec::new());
        item_writer::with(|writer| {
            let (written, has_ends) = attachments::collect_lent_ends(&mut fds, || {
                cached::collect(&mut cached, || job.write(writer))
            });
            match (written.items, written.stopped) {
                (0, Some(fault)) => Err(fault),
                (items, _) => Ok((ShortBytes::of(writer.bytes()), items, has_ends)),
            }
        })
        .map(|(bytes, items, has_ends)| Self {
            bytes,
            items: items as u32,
            references: ItemReferences::of(fds, has_ends, cached),
        })
        .map_err(|fault| match fault {
            EncodeFault::Full => NotEncoded::TooLarge(job.measure()),
            EncodeFault::Refused(why) => NotEncoded::Refused(why),
        })
    }

    /// Encodes all items of `job`, cut into as many jobs as it takes.
    pub(crate) fn of_all(job: Arc<dyn Job>, jobs: &mut Vec<(Arc<dyn Job>, EncodeResult)>) {
        let mut left = Some(job);
        while let Some(job) = left.take() {
            let encoded = Self::of(&*job);
            let kept = encoded.as_ref().map_or(1, Self::items);
            left = (job.items() > kept).then(|| job.split(kept));
            jobs.push((job, encoded));
        }
    }

    /// Whether a pipe end moves with the items: they can arrive once only.
    pub(crate) fn has_ends(&self) -> bool {
        self.references.as_ref().is_some_and(|it| it.has_ends)
    }

    /// The cached values that the items name.
    pub(crate) fn cached(&self) -> &[Arc<CachedMemory>] {
        self.references.as_ref().map_or(&[], |it| &it.cached)
    }

    /// Takes the handles on the cached values, to be kept for longer than the items.
    pub(crate) fn take_cached(&mut self) -> Vec<Arc<CachedMemory>> {
        let references = self.references.as_mut();
        references.map_or_else(Vec::new, |it| std::mem::take(&mut it.cached))
    }

    /// How many bytes they take.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many items there are.
    pub(crate) fn items(&self) -> usize {
        self.items as usize
    }

    /// Removes the items from `at` on, and returns them. `None` if there are none, or they cannot be sent without the
    /// others.
    #[inline]
    pub(crate) fn split_off(&mut self, at: usize) -> Option<Self> {
        if at >= self.items() || self.has_fds() {
            return None;
        }
        let end = self.end_of(at);
        let rest = ShortBytes::of(&self.bytes[end..]);
        let rest = Self {
            bytes: rest,
            items: self.items - at as u32,
            references: ItemReferences::of(Vec::new(), false, self.cached().to_vec()),
        };
        self.bytes.truncate(end);
        self.items = at as u32;
        Some(rest)
    }

    /// How many items fit into `room` bytes, their bytes, and their attachments. `None` if not one fits.
    #[inline]
    pub(super) fn fitting(&mut self, room: usize) -> Option<FittingItems<'_>> {
        if self.bytes.len() <= room {
            let fds = self.references.as_mut().map(|it| &mut it.fds);
            return Some((self.items as usize, &self.bytes, fds));
        }
        if self.has_fds() {
            return None;
        }
        let ends = self.ends().take_while(|end| *end <= room);
        let (last, end) = ends.enumerate().last()?;
        Some((last + 1, &self.bytes[..end], None))
    }

    fn has_fds(&self) -> bool {
        self.references
            .as_ref()
            .is_some_and(|it| !it.fds.is_empty())
    }

    /// Where the first `items` items end.
    fn end_of(&self, items: usize) -> usize {
        match items {
            0 => 0,
            _ => self.ends().nth(items - 1).unwrap_or(self.bytes.len()),
        }
    }

    /// Where each item ends.
    fn ends(&self) -> impl Iterator<Item = usize> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let prefix = self.bytes.get(at..at + ITEM_PREFIX)?;
            let len = u32::from_le_bytes(prefix.try_into().ok()?) as usize;
            at += ITEM_PREFIX + len;
            Some(at)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items of these lengths, without attachments.
    fn items(lengths: &[u32]) -> EncodedItems {
        let mut bytes = Vec::new();
        for len in lengths {
            bytes.extend_from_slice(&len.to_le_bytes());
            bytes.resize(bytes.len() + *len as usize, 7);
        }
        let items = lengths.len() as u32;
        EncodedItems {
            bytes: ShortBytes::of(&bytes),
            items,
            references: None,
        }
    }

    fn lengths(items: &EncodedItems) -> Vec<usize> {
        items.ends().collect()
    }

    #[test]
    fn as_many_whole_items_are_written_as_fit() {
        let mut all = items(&[3, 0, 10]);
        let mut fitting = |room| {
            all.fitting(room)
                .map(|(items, bytes, _)| (items, bytes.len()))
        };
        let one = ITEM_PREFIX + 3;
        assert_eq!(fitting(one - 1), None);
        assert_eq!(fitting(one), Some((1, one)));
        assert_eq!(fitting(one + ITEM_PREFIX), Some((2, one + ITEM_PREFIX)));
        let whole = 3 * ITEM_PREFIX + 13;
        assert_eq!(fitting(whole - 1), Some((2, one + ITEM_PREFIX)));
        assert_eq!(fitting(1000), Some((3, whole)));
    }

    #[test]
    fn items_are_split_between_two_of_them() {
        for at in 0..3 {
            let mut all = items(&[3, 0, 10]);
            let rest = all.split_off(at).unwrap();
            assert_eq!((all.items(), rest.items()), (at, 3 - at));
            assert_eq!(lengths(&all).len() + lengths(&rest).len(), 3);
        }
        assert!(items(&[3, 0, 10]).split_off(3).is_none());
    }

    #[test]
    fn items_with_attachments_stay_together() {
        let mut all = items(&[3, 0, 10]);
        let fd = std::fs::File::open("/dev/null").unwrap().into();
        all.references = ItemReferences::of(vec![fd], false, Vec::new());
        assert!(all.split_off(1).is_none());
        assert!(all.fitting(20).is_none() && all.fitting(1000).is_some());
    }
}
