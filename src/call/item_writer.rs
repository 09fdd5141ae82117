//! Memory that the items of one request are encoded into.
//!
//! Runs in the parent. Each thread keeps the memory for the next request.

use std::cell::Cell;

use serde::Serialize;

use super::envelope::{ITEM_PREFIX, LONGEST_BODY, Request};
use crate::codec::attachments;
use crate::codec::codec;
use crate::codec::codec::EncodeFault;
use crate::task::Traceparent;

/// The most bytes of items in one request.
const LONGEST_ITEMS: usize = LONGEST_BODY - Request::BYTES - Traceparent::BYTES;

/// The most descriptors that travel with one request of several items.
const MOST_ATTACHED: usize = 253;

thread_local! {
    /// The memory that this thread encodes into. Empty while it does: a `Serialize` may submit other tasks.
    static MEMORY: Cell<Option<ItemWriter>> = const { Cell::new(None) };
}

/// The memory, and how much of it is used.
pub(crate) struct ItemWriter {
    memory: Box<[u8]>,
    len: usize,
}

impl ItemWriter {
    fn new() -> Self {
        Self {
            memory: vec![0; LONGEST_ITEMS].into_boxed_slice(),
            len: 0,
        }
    }

    /// The bytes of the items.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[..self.len]
    }

    /// Writes one item, prefixed by its length.
    #[inline]
    pub(crate) fn write<A: Serialize>(&mut self, arguments: &A) -> Result<(), EncodeFault> {
        let attached = attachments::attached();
        let free = &mut self.memory[self.len..];
        let Some((prefix, body)) = free.split_at_mut_checked(ITEM_PREFIX) else {
            return Err(EncodeFault::Full);
        };
        match codec::encode_to_slice(arguments, body) {
            // An item may carry more, but many items that carry some must not take all of this process's descriptors.
            Ok(_) if attached > 0 && attachments::attached() > MOST_ATTACHED => {
                attachments::rollback(attached);
                Err(EncodeFault::Full)
            }
            Ok(len) => {
                prefix.copy_from_slice(&(len as u32).to_le_bytes());
                self.len += ITEM_PREFIX + len;
                Ok(())
            }
            Err(fault) => {
                attachments::rollback(attached);
                Err(fault)
            }
        }
    }
}

/// Lets `encode` use this thread's memory, which is empty.
#[inline]
pub(super) fn with<T>(encode: impl FnOnce(&mut ItemWriter) -> T) -> T {
    let mut writer = MEMORY.take().unwrap_or_else(ItemWriter::new);
    writer.len = 0;
    let out = encode(&mut writer);
    MEMORY.set(Some(writer));
    out
}
