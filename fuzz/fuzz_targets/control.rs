//! Messages of a child's control socket.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| procession::fuzzing::control(bytes));
