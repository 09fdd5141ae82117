//! A slab that grows and shrinks by small pieces.
//!
//! Pure. A slab in one piece doubles when it is full: half of it may be unused, and the submission that makes it grow
//! copies everything. This one never moves what it holds, and frees what a burst has left.

use slab::Slab;

/// How many values a segment holds.
const SEGMENT: usize = 64;

/// See the module.
#[derive(Debug)]
pub(in crate::pool) struct Segments<T> {
    segments: Vec<Slab<T>>,
    /// The segments with space. Among them the last is filled next.
    open: Vec<usize>,
    /// The segment that was emptied last. It keeps its memory; other empty segments have none.
    spare: usize,
    len: usize,
}

impl<T> Default for Segments<T> {
    fn default() -> Self {
        Self {
            segments: Vec::new(),
            open: Vec::new(),
            spare: 0,
            len: 0,
        }
    }
}

impl<T> Segments<T> {
    /// Adds a value. Returns its place.
    #[inline]
    pub(in crate::pool) fn insert(&mut self, value: T) -> usize {
        let at = match self.open.last() {
            Some(&at) => at,
            None => self.add_segment(),
        };
        let segment = &mut self.segments[at];
        if segment.capacity() == 0 {
            segment.reserve_exact(SEGMENT);
        }
        let place = segment.insert(value);
        if segment.len() == SEGMENT {
            self.open.pop();
        }
        self.len += 1;
        at * SEGMENT + place
    }

    fn add_segment(&mut self) -> usize {
        self.segments.push(Slab::new());
        self.open.push(self.segments.len() - 1);
        self.segments.len() - 1
    }

    #[inline]
    pub(in crate::pool) fn get(&self, place: usize) -> Option<&T> {
        self.segments.get(place / SEGMENT)?.get(place % SEGMENT)
    }

    #[inline]
    pub(in crate::pool) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        let segment = self.segments.get_mut(place / SEGMENT)?;
        segment.get_mut(place % SEGMENT)
    }

    /// Removes the value at `place`.
    #[inline]
    pub(in crate::pool) fn remove(&mut self, place: usize) -> Option<T> {
        let at = place / SEGMENT;
        let segment = self.segments.get_mut(at)?;
        let was_full = segment.len() == SEGMENT;
        let value = segment.try_remove(place % SEGMENT)?;
        if was_full {
            self.open.push(at);
        }
        if segment.is_empty() {
            self.keep_only(at);
        }
        self.len -= 1;
        Some(value)
    }

    /// The empty segment `at` keeps its memory, and the one before gives it back.
    fn keep_only(&mut self, at: usize) {
        let before = std::mem::replace(&mut self.spare, at);
        let segment = self.segments.get_mut(before);
        if let Some(segment) = segment.filter(|it| before != at && it.is_empty()) {
            *segment = Slab::new();
        }
    }

    pub(in crate::pool) fn len(&self) -> usize {
        self.len
    }

    /// All values, and their places.
    pub(in crate::pool) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        let segments = self.segments.iter().enumerate();
        segments.flat_map(|(at, segment)| {
            let values = segment.iter();
            values.map(move |(place, value)| (at * SEGMENT + place, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_where_they_are() {
        let mut it = Segments::default();
        let mut places: Vec<_> = (0..1_000).map(|n| it.insert(n)).collect();
        for n in (0..1_000).step_by(3) {
            assert_eq!(it.remove(places[n]), Some(n));
            assert_eq!(it.remove(places[n]), None);
        }
        for n in (0..1_000).step_by(3) {
            places[n] = it.insert(n);
        }
        assert_eq!(it.len(), 1_000);
        assert!(it.segments.len() <= 1_000 / SEGMENT + 1);
        for (n, &place) in places.iter().enumerate() {
            assert_eq!(it.get(place).copied(), Some(n));
            assert_eq!(it.get_mut(place).copied(), Some(n));
        }
        assert_eq!(it.iter().count(), 1_000);
        for place in places {
            it.remove(place);
        }
        let kept = it.segments.iter().filter(|it| it.capacity() > 0);
        assert!(kept.count() <= 1, "memory is freed");
    }
}
