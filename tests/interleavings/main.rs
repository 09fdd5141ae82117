//! The protocols by which a sender wakes a sleeping receiver, the lock of a queue, and the locks between processes, in
//! every order in which their steps can happen.
//!
//! These are models of the code. A step is one access to memory, one system call or one critical section, and the table
//! `MODELS` of each file names the function that performs it. A model shows that the rules of a protocol suffice:
//! no receiver sleeps beside a message. That each rule is necessary is shown by breaking it. The tests `soak` and
//! `channel_crash` kill the processes of the code itself at random steps.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod barrier;
mod condvar;
mod event;
mod lock;
mod mpmc;
mod mutex;
mod once;
mod party;
mod ring;
mod rwlock;
mod semaphore;
mod spsc;

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::path::Path;

/// Steps of a model, the file of the code they stand for, and its function that performs them.
type Modelled = (&'static str, &'static str, &'static str);

/// A state of a model.
trait Model: Clone + Hash + Debug {
    /// The rules that can be broken.
    type Rule: Copy;

    /// Of the states that differ in names only, one.
    fn representative(self) -> Self {
        self
    }

    /// Every state that a step leads to.
    fn steps(&self, rule: Self::Rule, found: &mut Vec<Self>);

    /// Every state that a kill, a cancellation or another fault leads to. None of them is a way out.
    fn accidents(&self, _rule: Self::Rule, _found: &mut Vec<Self>) {}

    /// Whether the state must not be. It is stuck if no step is possible.
    fn is_wrong(&self, is_stuck: bool, rule: Self::Rule) -> bool;
}

/// A state that is wrong, if one can be reached.
fn search<M: Model>(starts: impl IntoIterator<Item = M>, rule: M::Rule) -> Option<M> {
    starts
        .into_iter()
        .find_map(|start| explore(start, rule).err())
}

/// Visits every state that can be reached from `start`. Fails with a state that is wrong. Of the states that were
/// visited, only hashes of 64 bits are kept.
fn explore<M: Model>(start: M, rule: M::Rule) -> Result<usize, M> {
    let mut seen = HashSet::from([hash(&start)]);
    let mut open = vec![start];
    let mut found = Vec::new();
    while let Some(state) = open.pop() {
        state.steps(rule, &mut found);
        if state.is_wrong(found.is_empty(), rule) {
            return Err(state);
        }
        state.accidents(rule, &mut found);
        let found = found.drain(..).map(M::representative);
        open.extend(found.filter(|state| seen.insert(hash(state))));
    }
    Ok(seen.len())
}

fn hash(state: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

#[test]
fn models_name_functions_of_the_code() {
    let models = [
        lock::MODELS,
        ring::MODELS,
        mpmc::MODELS,
        spsc::MODELS,
        mutex::MODELS,
        semaphore::MODELS,
        party::MODELS,
        rwlock::MODELS,
        once::MODELS,
        event::MODELS,
        barrier::MODELS,
        condvar::MODELS,
    ];
    for (steps, file, function) in models.concat() {
        let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
        let source = source.unwrap_or_else(|error| panic!("`{steps}` models {file}: {error}"));
        let is_there = ["(", "<"]
            .iter()
            .any(|next| source.contains(&format!("fn {function}{next}")));
        assert!(is_there, "`{steps}` models `{function}`, not in {file}");
    }
}
