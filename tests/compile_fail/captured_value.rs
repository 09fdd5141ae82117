//! A closure that owns something, and cannot be copied.

use std::collections::BTreeMap;

#[procession::main]
async fn main() {
    // The type is long because the compiler shortens a label that makes a line longer than 140 characters. With a
    // short type the length of this file's path would decide.
    let names = BTreeMap::from([(0_u64, vec![String::from("x")])]);
    let _ = procession::spawn(move |x: u64| names.contains_key(&x), 1);
}
