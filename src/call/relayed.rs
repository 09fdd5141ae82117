//! A call that has come to its process by way of another, which does not know its types.
//!
//! The relaying process runs [`RelayedCall`] as any call: its argument is the place of the function and the encoded
//! arguments. The child enters the function from there, through the image's table, as it does for a request.

use serde::{Deserialize, Serialize};

use crate::sys::image;
use crate::sys::image::Token;
use crate::sys::thread_value::LentValue;
use crate::task::Call;
use crate::transfer::encoded_value::EncodedValue;

/// See the module.
#[derive(Debug)]
pub(crate) struct RelayedCall;

/// What a relayed call came to, if it did not panic.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum RelayedOutcome {
    Done(EncodedValue),
    /// Why its arguments could not be decoded.
    Undecoded(String),
    /// Why its result could not be encoded.
    Unencoded(String),
}

/// What the function's entry point is given.
#[derive(Debug)]
pub(super) struct RelayedItem {
    arguments: EncodedValue,
    outcome: Option<RelayedOutcome>,
}

/// What the function's entry point is asked for the state with.
#[derive(Debug)]
pub(super) struct StateLoan(pub(super) Option<LentValue>);

impl RelayedItem {
    /// Runs the function. A panic of it passes through.
    pub(super) fn run<C: Call>(&mut self) {
        let outcome = match std::mem::take(&mut self.arguments).open::<C::Args>() {
            Ok(arguments) => match EncodedValue::pack(&C::call(arguments)) {
                Ok(value) => RelayedOutcome::Done(value),
                Err(why) => RelayedOutcome::Unencoded(why),
            },
            Err(why) => RelayedOutcome::Undecoded(why),
        };
        self.outcome = Some(outcome);
    }
}

impl Call for RelayedCall {
    /// The bits of the function's token, and its arguments.
    type Args = (u64, EncodedValue);
    type Output = RelayedOutcome;

    fn name() -> &'static str {
        "procession::Managed::call"
    }

    fn call((token, arguments): Self::Args) -> RelayedOutcome {
        run(token, arguments)
    }
}

/// Whether a message with this outcome may not arrive. Whose it is must then be said before.
pub(crate) fn is_long<E>(outcome: &Result<RelayedOutcome, E>) -> bool {
    match outcome {
        Ok(RelayedOutcome::Done(value)) => value.is_long(),
        // A text is seldom long.
        _ => true,
    }
}

/// Runs the function at `token` on this thread. A panic of it passes through.
pub(crate) fn run(token: u64, arguments: EncodedValue) -> RelayedOutcome {
    let mut item = RelayedItem {
        arguments,
        outcome: None,
    };
    if let Some(enter) = image::lookup(Token::from_bits(token)) {
        enter(&mut item);
    }
    let unknown = || RelayedOutcome::Undecoded("the program has no such function".to_owned());
    item.outcome.unwrap_or_else(unknown)
}

/// Lends this thread's state for the function at `token`, if that may run on another thread.
pub(crate) fn lend_state(token: u64) -> Option<LentValue> {
    let mut loan = StateLoan(None);
    image::lookup(Token::from_bits(token))?(&mut loan);
    loan.0
}
