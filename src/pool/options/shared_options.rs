//! The options of calls and tasks, which most of them share.
//!
//! Lives in the application. Most calls have no options, and a hundred thousand waiting tasks tend to have the same few:
//! the first take no memory, the others are held together.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::call_options::CallOptions;
use crate::sys::clock::Moment;

/// How many different options are remembered: looked through at each submission.
const MOST_REMEMBERED: usize = 4;

static NONE: CallOptions = CallOptions::NONE;

/// The options of a call. Changing them affects no other call.
///
/// As short as a pointer, because each call carries them from its builder to the pool's records.
#[derive(Debug, Clone, Default)]
pub(in crate::pool) struct SharedOptions(Option<Arc<CallOptions>>);

impl SharedOptions {
    /// The wait begins, unless it has begun.
    #[inline]
    pub(in crate::pool) fn begin_wait(&mut self) {
        // Looked at first: options that are changed are not shared any more.
        if let (Some(limit), None) = (self.queue_timeout, self.start_by) {
            self.start_by = Some(Moment::now().plus(limit));
        }
    }
}

impl From<CallOptions> for SharedOptions {
    fn from(options: CallOptions) -> Self {
        Self((options != CallOptions::NONE).then(|| Arc::new(options)))
    }
}

impl Deref for SharedOptions {
    type Target = CallOptions;

    #[inline]
    fn deref(&self) -> &CallOptions {
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for SharedOptions {
    fn deref_mut(&mut self) -> &mut CallOptions {
        let options = self.0.get_or_insert_with(|| Arc::new(CallOptions::NONE));
        Arc::make_mut(options)
    }
}

/// The options that tasks had last.
#[derive(Debug, Default)]
pub(in crate::pool) struct KnownOptions {
    known: Vec<SharedOptions>,
    /// Which is forgotten next.
    next: usize,
}

impl KnownOptions {
    /// These options, shared with other tasks that have the same.
    #[inline]
    pub(in crate::pool) fn share(&mut self, options: SharedOptions) -> SharedOptions {
        match options.0 {
            None => options,
            Some(_) => self.share_some(options),
        }
    }

    fn share_some(&mut self, options: SharedOptions) -> SharedOptions {
        if let Some(known) = self.known.iter().find(|known| ***known == *options) {
            return known.clone();
        }
        if self.known.len() < MOST_REMEMBERED {
            self.known.push(options.clone());
        } else {
            self.known[self.next] = options.clone();
            self.next = (self.next + 1) % MOST_REMEMBERED;
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_retries(retries: u32) -> SharedOptions {
        let options = CallOptions {
            retries,
            ..CallOptions::NONE
        };
        options.into()
    }

    #[test]
    fn equal_options_are_shared_and_changes_are_not() {
        let mut known = KnownOptions::default();
        let first = known.share(with_retries(1));
        let mut second = known.share(with_retries(1));
        assert!(std::ptr::eq(&*first, &*second));
        second.retries -= 1;
        assert_eq!((first.retries, second.retries), (1, 0));
        assert!(known.share(CallOptions::NONE.into()).0.is_none());
        for retries in 0..100 {
            assert_eq!(known.share(with_retries(retries)).retries, retries);
        }
        assert_eq!(known.known.len(), MOST_REMEMBERED);
    }
}
