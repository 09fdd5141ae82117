//! The functions that make the state of a worker.
//!
//! The parent turns the function into a type of [`Call`]; the worker runs it before its first task, and keeps what it
//! returns in the thread's slot (`state_slot`).

use std::fmt::Display;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Async, Call, async_runtime, state_slot, up_to_four};
use crate::sys::image;

/// A function that makes the state of a process.
///
/// It is implemented for functions as [`Task`](crate::Task) is, sync or `async`, of 0 to 4 arguments, that return `S`
/// or `Result<S, E>`. The error is sent as its text, so `E` need only be `Display`. `S` never leaves the process, so it
/// need only be `'static`. Do not implement it by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot make a `{S}` in another process with these arguments",
    label = "does not make a `{S}` of arguments of type `{A}`",
    note = "the state is made by a plain function or a closure that captures nothing, and that returns `{S}` or `Result<{S}, E>` with `E: Display`",
    note = "arguments are one value for one argument, a tuple for several, `()` for none, and must be `Serialize + DeserializeOwned + Send + 'static`"
)]
pub trait StateSetup<S, M, A>: Copy + Send + std::marker::Sync + 'static {
    #[doc(hidden)]
    type Call: Call<Output = Result<(), String>>;

    #[doc(hidden)]
    fn arguments(arguments: A) -> <Self::Call as Call>::Args;
}

/// Marks functions, and how what they return is a state. Always inferred.
#[derive(Debug)]
pub struct Makes<F, K>(PhantomData<(F, K)>);

/// The types that a function may return that makes a state. `K` says which of them it is, and is always inferred.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a function that returns `{Self}` does not make a `{S}`",
    label = "does not return `{S}` or `Result<{S}, E>` with `E: Display`"
)]
pub trait StateOutcome<S, K>: Sized + 'static {
    /// Runs `start` and makes the state of what it returns.
    fn make(start: impl FnOnce() -> Self) -> Result<S, String>;
}

/// Marks a state itself.
#[doc(hidden)]
#[derive(Debug)]
pub struct Itself;

/// Marks a `Result` with a state.
#[doc(hidden)]
#[derive(Debug)]
pub struct Fallible;

impl<S: 'static> StateOutcome<S, Itself> for S {
    fn make(start: impl FnOnce() -> Self) -> Result<S, String> {
        Ok(start())
    }
}

impl<S: 'static, E: Display + 'static> StateOutcome<S, Fallible> for Result<S, E> {
    fn make(start: impl FnOnce() -> Self) -> Result<S, String> {
        start().map_err(|error| error.to_string())
    }
}

// Two, and not one for every `K`: that would send the compiler round in a circle where it does not know the type yet.
impl<S: 'static, R: Future<Output = S> + 'static> StateOutcome<S, Async<Itself>> for R {
    fn make(start: impl FnOnce() -> Self) -> Result<S, String> {
        Ok(async_runtime::block_on(start))
    }
}

impl<S, E, R> StateOutcome<S, Async<Fallible>> for R
where
    S: 'static,
    E: Display,
    R: Future<Output = Result<S, E>> + 'static,
{
    fn make(start: impl FnOnce() -> Self) -> Result<S, String> {
        async_runtime::block_on(start).map_err(|error| error.to_string())
    }
}

#[doc(hidden)]
#[derive(Debug)]
pub struct StateSetupCall<F, S, R, K, A>(PhantomData<(F, S, R, K, A)>);

/// As `C`, and the state stays when a call panics.
#[derive(Debug)]
pub(crate) struct Keeping<C>(PhantomData<C>);

impl<C: Call<Output = Result<(), String>>> Call for Keeping<C> {
    type Args = C::Args;
    type Output = C::Output;

    fn name() -> &'static str {
        C::name()
    }

    fn call(arguments: Self::Args) -> Self::Output {
        state_slot::keep_after_panics();
        C::call(arguments)
    }
}

macro_rules! state_setup {
    ($arguments:ty, $pattern:pat, $($name:ident: $kind:ident),*) => {
        impl<F, S, R, K, $($kind),*> StateSetup<S, Makes<fn($($kind),*) -> R, K>, $arguments> for F
        where
            F: Fn($($kind),*) -> R + Copy + Send + std::marker::Sync + 'static,
            R: StateOutcome<S, K>,
            S: 'static,
            K: 'static,
            $($kind: Serialize + DeserializeOwned + Send + 'static,)*
        {
            type Call = StateSetupCall<F, S, R, K, ($($kind,)*)>;

            #[allow(clippy::unused_unit)]
            fn arguments($pattern: $arguments) -> ($($kind,)*) {
                ($($name,)*)
            }
        }

        impl<F, S, R, K, $($kind),*> Call for StateSetupCall<F, S, R, K, ($($kind,)*)>
        where
            F: Fn($($kind),*) -> R + Copy + 'static,
            R: StateOutcome<S, K>,
            S: 'static,
            K: 'static,
            $($kind: Serialize + DeserializeOwned + Send + 'static,)*
        {
            type Args = ($($kind,)*);
            type Output = Result<(), String>;

            fn name() -> &'static str {
                std::any::type_name::<F>()
            }

            fn call(($($name,)*): Self::Args) -> Self::Output {
                let state = R::make(|| (image::conjure::<F>())($($name),*))?;
                state_slot::put(state);
                Ok(())
            }
        }
    };
}

up_to_four!(state_setup);
