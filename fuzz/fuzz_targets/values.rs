//! Values as a child encodes them, in private and in shared memory, against postcard.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| procession::fuzzing::values(bytes));
