//! A call as it is relayed, and its result with a type again.
//!
//! Runs in the process that calls.

use crate::call::executor::EntryOf;
use crate::call::relayed::RelayedOutcome;
use crate::error::{ErrorKind, JoinError};
use crate::sys::image;
use crate::task::Call;
use crate::transfer::encoded_value::EncodedValue;

/// The bits of a function's token, and its arguments.
#[derive(Debug)]
pub(super) struct PackedCall {
    pub(super) token: u64,
    pub(super) arguments: EncodedValue,
}

/// Packs a call of `C`.
pub(super) fn pack<C: Call>(arguments: &C::Args) -> Result<PackedCall, JoinError> {
    let error = |why| JoinError::new(ErrorKind::Encode, C::name()).because(why);
    let token = image::token::<EntryOf<C>>().map_err(|why| error(why.to_string()))?;
    let arguments =
        EncodedValue::pack(arguments).map_err(|why| error(format!("the arguments: {why}")))?;
    Ok(PackedCall {
        token: token.to_bits(),
        arguments,
    })
}

/// The result of the call of the function `name`, decoded by `open`.
pub(super) fn open<R>(
    outcome: Result<RelayedOutcome, JoinError>,
    name: &'static str,
    open: fn(EncodedValue) -> Result<R, String>,
) -> Result<R, JoinError> {
    let error = |kind, why: String| JoinError::new(kind, name).because(why);
    match outcome.map_err(|error| error.about(name))? {
        RelayedOutcome::Done(value) => open(value).map_err(|why| {
            error(ErrorKind::Decode, format!("the result: {why}")).after_start(true)
        }),
        RelayedOutcome::Undecoded(why) => {
            Err(error(ErrorKind::Decode, format!("the arguments: {why}")))
        }
        RelayedOutcome::Unencoded(why) => {
            Err(error(ErrorKind::Encode, format!("the result: {why}")).after_start(true))
        }
    }
}
