//! The protocols of sleeping and waking, in every order in which their steps can happen.
//!
//! Models, not the code: each step here is one access to memory, one system call or one lock there, and the
//! comments name it. What the models show is that the rules hold; that they notice when a rule is
//! broken is shown by breaking each. The code itself is killed at random in `soak` and `channel_crash`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod pipe;
mod queue;
mod ring;

use std::collections::{HashSet, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;

/// Visits everything that can be reached from `start`. Says in which state, if any, something is wrong.
fn explore<S: Clone + Eq + Hash + Debug>(
    start: S,
    next: impl Fn(&S, &mut Vec<S>),
    is_wrong: impl Fn(&S, bool) -> bool,
) -> Result<usize, S> {
    let mut seen = HashSet::from([start.clone()]);
    let mut open = vec![start];
    let mut found = Vec::new();
    while let Some(state) = open.pop() {
        next(&state, &mut found);
        if is_wrong(&state, found.is_empty()) {
            return Err(state);
        }
        for state in found.drain(..) {
            if !seen.contains(&state) {
                seen.insert(state.clone());
                open.push(state);
            }
        }
    }
    Ok(seen.len())
}
