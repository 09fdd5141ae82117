//! Which buffers a type is given.

use std::fmt;

use super::*;
use crate::codec::shared_input::{Chunk, SharedInput};
use crate::sys::memory;
use crate::sys::memory::Mapping;

/// Whether the visitor was given a buffer of its own, and how long that was.
struct Given;

impl<'de> Visitor<'de> for Given {
    type Value = (bool, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: serde::de::Error>(
        self,
        bytes: &[u8],
    ) -> std::result::Result<(bool, usize), E> {
        Ok((false, bytes.len()))
    }

    fn visit_byte_buf<E: serde::de::Error>(
        self,
        bytes: Vec<u8>,
    ) -> std::result::Result<(bool, usize), E> {
        Ok((true, bytes.len()))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<(bool, usize), E> {
        Ok((false, text.len()))
    }

    fn visit_string<E: serde::de::Error>(
        self,
        text: String,
    ) -> std::result::Result<(bool, usize), E> {
        Ok((true, text.len()))
    }
}

#[test]
fn long_buffer_is_given_to_a_type_that_asks_for_its_own() {
    for (len, given) in [(1_000, false), (8 << 20, true)] {
        let bytes = postcard::to_allocvec(&"x".repeat(len)).unwrap();
        let memory = memory::memfd("test", bytes.len()).unwrap();
        let mapping = Mapping::whole(&memory, bytes.len()).unwrap();
        mapping.write(0, &bytes);
        let read = |read: fn(&mut Decoder<'_>) -> Result<(bool, usize)>| {
            let first = Chunk::default();
            let input = SharedInput::new(mapping.shared(0, bytes.len()), &first);
            read(&mut Decoder::new(Input::shared(&input)))
        };
        let own = read(|it| it.deserialize_byte_buf(Given));
        assert_eq!(own, Ok((given, len)));
        let own = read(|it| it.deserialize_string(Given));
        assert_eq!(own, Ok((given, len)));
        let lent = read(|it| it.deserialize_bytes(Given));
        assert_eq!(lent, Ok((false, len)));
    }
}
