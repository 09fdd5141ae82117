//! The options of tasks, which most tasks share.
//!
//! Lives in the application. A hundred thousand waiting tasks tend to have the same few options, so they hold them
//! together.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::call_options::CallOptions;

/// How many different options are remembered: looked through at each submission.
const MOST_REMEMBERED: usize = 4;

/// The options of a task. Changing them affects no other task.
#[derive(Debug, Clone)]
pub(in crate::pool) struct SharedOptions(Arc<CallOptions>);

impl Deref for SharedOptions {
    type Target = CallOptions;

    #[inline]
    fn deref(&self) -> &CallOptions {
        &self.0
    }
}

impl DerefMut for SharedOptions {
    fn deref_mut(&mut self) -> &mut CallOptions {
        Arc::make_mut(&mut self.0)
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
    pub(in crate::pool) fn share(&mut self, options: CallOptions) -> SharedOptions {
        if let Some(known) = self.known.iter().find(|known| ***known == options) {
            return known.clone();
        }
        let options = SharedOptions(Arc::new(options));
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

    fn with_retries(retries: u32) -> CallOptions {
        CallOptions {
            retries,
            ..CallOptions::default()
        }
    }

    #[test]
    fn equal_options_are_shared_and_changes_are_not() {
        let mut known = KnownOptions::default();
        let first = known.share(with_retries(1));
        let mut second = known.share(with_retries(1));
        assert!(Arc::ptr_eq(&first.0, &second.0));
        second.retries -= 1;
        assert_eq!((first.retries, second.retries), (1, 0));
        for retries in 0..100 {
            assert_eq!(known.share(with_retries(retries)).retries, retries);
        }
        assert_eq!(known.known.len(), MOST_REMEMBERED);
    }
}
