//! Why a value cannot be encoded or decoded.
//!
//! An error is a byte, because it is returned for every field of a value. Its text, if it has one, is kept beside it, for
//! the thread that encodes or decodes.

use std::cell::{Cell, RefCell};
use std::fmt;

use postcard::Error as Cause;

thread_local! {
    static FAULT: RefCell<Option<String>> = const { RefCell::new(None) };
    // Whether FAULT belongs to the value at hand. A `Cell` costs less to reset than a string.
    static HAS_FAULT: Cell<bool> = const { Cell::new(false) };
}

/// Postcard's error. Postcard drops the text that a type's own implementation gives: [`last_fault`] has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Error(pub(super) Cause);

pub(super) type Result<T> = std::result::Result<T, Error>;

impl serde::ser::Error for Error {
    #[cold]
    fn custom<T: fmt::Display>(text: T) -> Self {
        record_custom("Serialize", &text);
        Self(Cause::SerdeSerCustom)
    }
}

impl serde::de::Error for Error {
    #[cold]
    fn custom<T: fmt::Display>(text: T) -> Self {
        record_custom("Deserialize", &text);
        Self(Cause::SerdeDeCustom)
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// No fault of the next value was recorded.
#[inline]
pub(super) fn forget_fault() {
    HAS_FAULT.set(false);
}

/// The last fault that was recorded for the value at hand.
pub(crate) fn last_fault() -> Option<String> {
    HAS_FAULT.replace(false).then(|| FAULT.take()).flatten()
}

/// Records the text of an error for [`last_fault`].
pub(crate) fn record_fault<T>(
    outcome: std::result::Result<T, String>,
) -> std::result::Result<T, String> {
    if let Err(why) = &outcome {
        record(why.clone());
    }
    outcome
}

/// Records what a type's own `implementation` has reported, unless it passes on what [`record_fault`] has recorded.
fn record_custom(implementation: &str, text: &dyn fmt::Display) {
    let text = text.to_string();
    let is_known = HAS_FAULT.get() && FAULT.with_borrow(|known| known.as_deref() == Some(&*text));
    if !is_known {
        record(format!(
            "its {implementation} implementation reported an error: {text}"
        ));
    }
}

fn record(text: String) {
    FAULT.set(Some(text));
    HAS_FAULT.set(true);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn custom(text: &str) -> Option<String> {
        let Error(cause) = <Error as serde::de::Error>::custom(text);
        assert_eq!(cause, Cause::SerdeDeCustom);
        last_fault()
    }

    #[test]
    fn text_of_an_implementation_is_kept_once_and_says_whose_it_is() {
        let text = "its Deserialize implementation reported an error: it is odd";
        assert_eq!(custom("it is odd").as_deref(), Some(text));
        assert_eq!(last_fault(), None);
    }

    #[test]
    fn recorded_fault_that_is_passed_on_stays_as_it_is() {
        let passed_on = record_fault::<()>(Err("the pipe has ended".to_owned())).unwrap_err();
        assert_eq!(custom(&passed_on).as_deref(), Some("the pipe has ended"));
        forget_fault();
        assert_eq!(last_fault(), None);
    }
}
