//! Why a value cannot be encoded or decoded.
//!
//! An error is a byte, because it is returned for every field of a value. Its text, if it has one, is kept beside it, for
//! the thread that encodes or decodes.

use std::cell::{Cell, RefCell};
use std::fmt;

use postcard::Error as Cause;

thread_local! {
    static FAULT: RefCell<Option<FaultText>> = const { RefCell::new(None) };
    // Whether FAULT belongs to the value at hand. A `Cell` costs less to reset than a string.
    static HAS_FAULT: Cell<bool> = const { Cell::new(false) };
}

/// The text of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
enum FaultText {
    /// Recorded by a type of this crate. It explains itself.
    Recorded(String),
    /// Reported by the implementation of a type.
    Reported(String),
}

impl FaultText {
    fn text(&self) -> &str {
        match self {
            Self::Recorded(text) | Self::Reported(text) => text,
        }
    }
}

/// Postcard's error. Postcard drops the text that a type's own implementation gives: [`last_fault`] has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Error(pub(super) Cause);

pub(super) type Result<T> = std::result::Result<T, Error>;

impl serde::ser::Error for Error {
    #[cold]
    fn custom<T: fmt::Display>(text: T) -> Self {
        report(&text);
        Self(Cause::SerdeSerCustom)
    }
}

impl serde::de::Error for Error {
    #[cold]
    fn custom<T: fmt::Display>(text: T) -> Self {
        report(&text);
        Self(Cause::SerdeDeCustom)
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    /// With the text that is known: an implementation may put the error of a part of its value into its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_custom = matches!(self.0, Cause::SerdeSerCustom | Cause::SerdeDeCustom);
        match known().filter(|_| is_custom) {
            Some(fault) => f.write_str(fault.text()),
            None => self.0.fmt(f),
        }
    }
}

/// No fault of the next value was recorded.
#[inline]
pub(crate) fn forget_fault() {
    HAS_FAULT.set(false);
}

/// The fault of the value at hand, which an `implementation` (`Serialize`, `Deserialize`) has ended with. `None` if it has
/// given no reason.
pub(super) fn last_fault(implementation: &str) -> Option<String> {
    let fault = known();
    HAS_FAULT.set(false);
    Some(match fault? {
        FaultText::Recorded(text) => text,
        FaultText::Reported(text) => {
            format!("its {implementation} implementation reported an error: {text}")
        }
    })
}

/// Records the text of an error for [`last_fault`].
pub(crate) fn record_fault<T>(
    outcome: std::result::Result<T, String>,
) -> std::result::Result<T, String> {
    if let Err(why) = &outcome {
        set(FaultText::Recorded(why.clone()));
    }
    outcome
}

/// An implementation reports an error, or passes on what [`record_fault`] has recorded.
fn report(text: &dyn fmt::Display) {
    let text = text.to_string();
    if known() != Some(FaultText::Recorded(text.clone())) {
        set(FaultText::Reported(text));
    }
}

fn known() -> Option<FaultText> {
    HAS_FAULT.get().then(|| FAULT.with_borrow(Clone::clone))?
}

fn set(fault: FaultText) {
    FAULT.set(Some(fault));
    HAS_FAULT.set(true);
}

#[cfg(test)]
mod tests {
    use serde::de::Error as _;

    use super::*;

    const OF: &str = "Deserialize";

    #[test]
    fn text_of_an_implementation_is_kept_once_and_says_whose_it_is() {
        assert_eq!(Error::custom("it is odd"), Error(Cause::SerdeDeCustom));
        let text = "its Deserialize implementation reported an error: it is odd";
        assert_eq!(last_fault(OF).as_deref(), Some(text));
        assert_eq!(last_fault(OF), None);
    }

    #[test]
    fn error_of_a_part_is_in_that_of_the_whole() {
        let part = Error::custom("it is odd");
        let _ = Error::custom(format!("its length: {part}"));
        let text = "its Deserialize implementation reported an error: its length: it is odd";
        assert_eq!(last_fault(OF).as_deref(), Some(text));
    }

    #[test]
    fn recorded_fault_that_is_passed_on_stays_as_it_is() {
        let passed_on = record_fault::<()>(Err("the pipe has ended".to_owned())).unwrap_err();
        let _ = Error::custom(&passed_on);
        assert_eq!(last_fault(OF), Some(passed_on));
        forget_fault();
        assert_eq!(last_fault(OF), None);
    }
}
