//! The trace context that a call carries into its worker.
//!
//! Made in the application, kept in the worker while the task runs. Opaque: nothing reads what it says.

use std::fmt;

/// The longest trace context, in bytes. One of version 00 of the W3C's format has 55.
const LONGEST_CONTEXT: usize = 63;

/// A trace context, as bytes that are valid UTF-8.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traceparent {
    len: u8,
    bytes: [u8; LONGEST_CONTEXT],
}

impl Traceparent {
    /// How many bytes a trace context takes in a request.
    pub(crate) const BYTES: usize = LONGEST_CONTEXT + 1;

    /// `None` if the text is empty or too long.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; LONGEST_CONTEXT];
        let len = text.len();
        bytes.get_mut(..len)?.copy_from_slice(text.as_bytes());
        (len > 0).then_some(Self {
            len: len as u8,
            bytes,
        })
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut all = [0; Self::BYTES];
        all[0] = self.len;
        all[1..].copy_from_slice(&self.bytes);
        all
    }

    /// Reads one. `None` if there is none.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (len, rest) = bytes.split_first()?;
        let text = rest.get(..usize::from(*len))?;
        Self::new(std::str::from_utf8(text).ok()?)
    }

    pub(super) fn text(&self) -> &str {
        let bytes = &self.bytes[..usize::from(self.len)];
        // It was made of a text.
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl fmt::Debug for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_every_length_arrives_or_is_refused() {
        for len in 0..200 {
            let text = "é-".chars().cycle().take(len).collect::<String>();
            let read = Traceparent::new(&text).map(Traceparent::to_bytes);
            let read = read.and_then(|bytes| Traceparent::from_bytes(&bytes));
            let fits = (1..=LONGEST_CONTEXT).contains(&text.len());
            assert_eq!(read.as_ref().map(Traceparent::text), fits.then_some(&*text));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_none() {
        let nonsense: [&[u8]; 5] = [&[], &[0], &[3, b'a'], &[2, 0xff, 0xfe], &[255; 64]];
        for bytes in nonsense {
            assert_eq!(Traceparent::from_bytes(bytes), None, "{bytes:?}");
        }
    }
}
