//! Frames of a worker's reply ring, up to the outcomes that a job is given.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| procession::fuzzing::replies(bytes));
