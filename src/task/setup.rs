//! The functions that prepare a worker: initializers and preloads, which may fail.
//!
//! The parent turns the function into a type of [`Call`]; the worker, or the fork server, runs it.

use std::fmt::Display;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Async, Call, Sync, async_runtime, up_to_four};
use crate::sys::image;

/// A function that prepares a worker before its first task.
///
/// It is implemented for functions as [`Task`](crate::Task) is, of 0 to 4 arguments, that return `()` or
/// `Result<(), E>`. The error is sent as its text, so `E` need only be `Display`. Do not implement it by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot prepare a worker with these arguments",
    label = "not an initializer for arguments of type `{A}`",
    note = "an initializer is a plain function or a closure that captures nothing, and returns `()` or `Result<(), E>` with `E: Display`"
)]
pub trait Setup<M, A>: Copy + Send + std::marker::Sync + 'static {
    #[doc(hidden)]
    type Call: Call<Output = Result<(), String>>;

    #[doc(hidden)]
    fn arguments(arguments: A) -> <Self::Call as Call>::Args;
}

/// Marks functions that are not `async`. Always inferred.
///
/// A preload must be one: a process that is forked afterwards must have no runtime.
#[doc(hidden)]
pub trait Plain {}

impl<F> Plain for Sync<F> {}

/// The types that an initializer may return.
#[doc(hidden)]
pub trait SetupOutcome: 'static {
    fn outcome(self) -> Result<(), String>;
}

impl SetupOutcome for () {
    fn outcome(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Display + 'static> SetupOutcome for Result<(), E> {
    fn outcome(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

#[doc(hidden)]
#[derive(Debug)]
pub struct SetupCall<F, M, A>(PhantomData<(F, M, A)>);

macro_rules! setup {
    ($arguments:ty, $pattern:pat, $($name:ident: $kind:ident),*) => {
        impl<F, R, $($kind),*> Setup<Sync<fn($($kind),*) -> R>, $arguments> for F
        where
            F: Fn($($kind),*) -> R + Copy + Send + std::marker::Sync + 'static,
            R: SetupOutcome,
            $($kind: Serialize + DeserializeOwned + Send + 'static,)*
        {
            type Call = SetupCall<F, Sync<R>, ($($kind,)*)>;

            #[allow(clippy::unused_unit)]
            fn arguments($pattern: $arguments) -> ($($kind,)*) {
                ($($name,)*)
            }
        }

        impl<F, R, $($kind),*> Call for SetupCall<F, Sync<R>, ($($kind,)*)>
        where
            F: Fn($($kind),*) -> R + Copy + 'static,
            R: SetupOutcome,
            $($kind: Serialize + DeserializeOwned + Send + 'static,)*
        {
            type Args = ($($kind,)*);
            type Output = Result<(), String>;

            fn name() -> &'static str {
                std::any::type_name::<F>()
            }

            fn call(($($name,)*): Self::Args) -> Self::Output {
                (image::conjure::<F>())($($name),*).outcome()
            }
        }

        impl<F, R, $($kind),*> Setup<Async<fn($($kind),*) -> R>, $arguments> for F
        where
            F: Fn($($kind),*) -> R + Copy + Send + std::marker::Sync + 'static,
            R: Future<Output: SetupOutcome> + 'static,
            $($kind: Serialize + DeserializeOwned + Send + 'static,)*
        {
            type Call = SetupCall<F, Async<R>, ($($kind,)*)>;

            #[allow(clippy::unused_unit)]
            fn arguments($pattern: $arguments) -> ($($kind,)*) {
                ($($name,)*)
            }
        }

        impl<F, R, $($kind),*> Call for SetupCall<F, Async<R>, ($($kind,)*)>
        where
            F: Fn($($kind),*) -> R + Copy + 'static,
            R: Future<Output: SetupOutcome> + 'static,
            $($kind: Serialize + DeserializeOwned + Send + 'static,)*
        {
            type Args = ($($kind,)*);
            type Output = Result<(), String>;

            fn name() -> &'static str {
                std::any::type_name::<F>()
            }

            fn call(($($name,)*): Self::Args) -> Self::Output {
                async_runtime::block_on(|| (image::conjure::<F>())($($name),*)).outcome()
            }
        }
    };
}

up_to_four!(setup);
