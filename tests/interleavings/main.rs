//! The protocols by which a sender wakes a sleeping receiver, the lock of a queue, and a mutex between processes, in every order in which their steps
//! can happen.
//!
//! These are models of the code. A step is one access to memory, one system call or one critical section, and the table
//! `MODELS` of each file names the function that performs it. A model shows that the rules of a protocol suffice:
//! no receiver sleeps beside a message. That each rule is necessary is shown by breaking it. The tests `soak` and
//! `channel_crash` kill the processes of the code itself at random steps.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod lock;
mod mpmc;
mod mutex;
mod ring;
mod semaphore;
mod spsc;

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::path::Path;

/// Steps of a model, the file of the code they stand for, and its function that performs them.
type Modelled = (&'static str, &'static str, &'static str);

/// Visits every state that can be reached from `start`. Fails with a state that is wrong; `is_wrong` is told whether no
/// step is possible in it.
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

#[test]
fn models_name_functions_of_the_code() {
    let models = [
        lock::MODELS,
        ring::MODELS,
        mpmc::MODELS,
        spsc::MODELS,
        mutex::MODELS,
        semaphore::MODELS,
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
