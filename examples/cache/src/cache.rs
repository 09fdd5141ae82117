//! A cache of thumbnails: the oldest leaves when there is no room.
//!
//! Lives in a process of its own. Nothing in it knows of processes.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a thumbnail is found by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) picture: String,
    pub(crate) side: u32,
}

#[derive(Debug)]
pub(crate) struct Cache {
    most: usize,
    thumbnails: HashMap<Key, Bytes>,
    /// The oldest first.
    order: VecDeque<Key>,
}

impl Cache {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            thumbnails: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Bytes> {
        self.thumbnails.get(key).cloned()
    }

    pub(crate) fn put(&mut self, key: Key, thumbnail: Bytes) {
        if self.thumbnails.insert(key.clone(), thumbnail).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > self.most {
            if let Some(oldest) = self.order.pop_front() {
                self.thumbnails.remove(&oldest);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }
}
