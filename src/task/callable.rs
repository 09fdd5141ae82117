//! The functions that can be called in another process: plain, generic and async functions, and closures without
//! captures.
//!
//! The parent turns a function into a type of [`Call`]; the child runs [`Call::call`]. Must stay true: a function is
//! zero-sized, so that its type says everything about it.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{async_runtime, up_to_eight};
use crate::sys::image;
use crate::sys::thread_value::LentValue;

/// A function that can run in another process.
///
/// It is implemented for every plain function, generic function and closure without captures, sync or `async`, of 0
/// to 8 arguments, whose arguments and result are serde types. Do not implement it by hand.
///
/// A closure that captures values without size, such as a token that proves an initialisation, captures nothing in this
/// sense: the other process has the token too, whether or not it has done what the token proves. Do not capture such
/// tokens if other code relies on them.
///
/// `A` is the type of the arguments: one value for one argument, a tuple for several, `()` for none. `M` is a marker
/// that is always inferred.
///
/// A program can write wrappers with it:
///
/// ```
/// use procession::{Pool, Run, Task};
///
/// fn go<F, M, A>(pool: &Pool, f: F, a: A) -> Run<F::Output>
/// where
///     F: Task<M, A>,
/// {
///     pool.run(f, a)
/// }
/// # fn main() {}
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run in another process with these arguments",
    label = "not a task for arguments of type `{A}`",
    note = "a task is a plain function, a generic function or a closure that captures nothing; pass what it needs as arguments",
    note = "arguments are one value for one argument, a tuple for several, `()` for none; a closure names its parameters' types: `|x: u64| x + 1`",
    note = "arguments and result must be `Serialize + DeserializeOwned + Send + 'static`"
)]
pub trait Task<M, A>: Copy + Send + std::marker::Sync + 'static {
    /// The result of the function; for an `async` function, the output of its future.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    #[doc(hidden)]
    type Call: Call<Output = Self::Output>;

    #[doc(hidden)]
    fn arguments(arguments: A) -> <Self::Call as Call>::Args;

    /// What [`Task::arguments`] was given.
    #[doc(hidden)]
    fn give_back(arguments: <Self::Call as Call>::Args) -> A;
}

/// A function and its argument types as one type, without the marker.
#[doc(hidden)]
pub trait Call: 'static {
    type Args: Serialize + DeserializeOwned + Send + 'static;
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// The path of the function.
    fn name() -> &'static str;

    /// Calls the function in this process.
    fn call(arguments: Self::Args) -> Self::Output;

    #[doc(hidden)]
    /// Lends the state of this thread, if the call looks at it and may do so on another thread.
    fn lend_state() -> Option<LentValue> {
        None
    }
}

/// Marks plain functions. Always inferred.
#[derive(Debug)]
pub struct Sync<F>(PhantomData<F>);

/// Marks `async` functions. Always inferred.
#[derive(Debug)]
pub struct Async<F>(PhantomData<F>);

#[doc(hidden)]
#[derive(Debug)]
pub struct SyncCall<F, A, R>(PhantomData<(F, A, R)>);

#[doc(hidden)]
#[derive(Debug)]
pub struct AsyncCall<F, A, R>(PhantomData<(F, A, R)>);

/// Marks functions that never return. Always inferred.
#[derive(Debug)]
pub struct Diverging<F>(PhantomData<F>);

/// The result type of a function that never returns. It has no values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Never {}

/// Names the type `!` by way of `fn() -> !`: it has no stable name of its own.
#[doc(hidden)]
pub trait Returns {
    type Output;
}

impl<R> Returns for fn() -> R {
    type Output = R;
}

pub(super) type Bang = <fn() -> ! as Returns>::Output;

#[doc(hidden)]
#[derive(Debug)]
pub struct DivergingCall<F, A>(PhantomData<(F, A)>);

macro_rules! callable {
    ($arguments:ty, $pattern:tt, $($name:ident: $kind:ident),*) => {
        impl<F, R, $($kind),*> Task<Sync<fn($($kind),*) -> R>, $arguments> for F
        where
            F: Fn($($kind),*) -> R + Copy + Send + std::marker::Sync + 'static,
            R: Serialize + DeserializeOwned + Send + 'static,
            $($kind: Serialize + DeserializeOwned + Send + 'static,)*
        {
            type Output = R;
            type Call = SyncCall<F, ($($kind,)*), R>;

            #[allow(clippy::unused_unit)]
            fn arguments($pattern: $arguments) -> ($($kind,)*) {
                ($($name,)*)
            }

            #[allow(clippy::unused_unit)]
            fn give_back(($($name,)*): ($($kind,)*)) -> $arguments {
                $pattern
            }
        }

        impl<F, R, $($kind),*> Call for SyncCall<F, ($($kind,)*), R>
        where
            F: Fn($($kind),*) -> R + Copy + 'static,
            R: Serialize + DeserializeOwned + Send + 'static,
            $($kind: Serialize + DeserializeOwned + Send + 'static,)*
        {
            type Args = ($($kind,)*);
            type Output = R;

            fn name() -> &'static str {
                std::any::type_name::<F>()
            }

            #[inline]
            fn call(($($name,)*): Self::Args) -> R {
                (image::conjure::<F>())($($name),*)
            }
        }

        impl<F, $($kind),*> Task<Diverging<fn($($kind),*)>, $arguments> for F
        where
            F: Fn($($kind),*) -> Bang + Copy + Send + std::marker::Sync + 'static,
            $($kind: Serialize + DeserializeOwned + Send + 'static,)*
        {
            type Output = Never;
            type Call = DivergingCall<F, ($($kind,)*)>;

            #[allow(clippy::unused_unit)]
            fn arguments($pattern: $arguments) -> ($($kind,)*) {
                ($($name,)*)
            }

            #[allow(clippy::unused_unit)]
            fn give_back(($($name,)*): ($($kind,)*)) -> $arguments {
                $pattern
            }
        }

        impl<F, $($kind),*> Call for DivergingCall<F, ($($kind,)*)>
        where
            F: Fn($($kind),*) -> Bang + Copy + 'static,
            $($kind: Serialize + DeserializeOwned + Send + 'static,)*
        {
            type Args = ($($kind,)*);
            type Output = Never;

            fn name() -> &'static str {
                std::any::type_name::<F>()
            }

            fn call(($($name,)*): Self::Args) -> Never {
                (image::conjure::<F>())($($name),*)
            }
        }

        impl<F, R, $($kind),*> Task<Async<fn($($kind),*) -> R>, $arguments> for F
        where
            F: Fn($($kind),*) -> R + Copy + Send + std::marker::Sync + 'static,
            R: Future<Output: Serialize + DeserializeOwned + Send + 'static> + 'static,
            $($kind: Serialize + DeserializeOwned + Send + 'static,)*
        {
            type Output = R::Output;
            type Call = AsyncCall<F, ($($kind,)*), R>;

            #[allow(clippy::unused_unit)]
            fn arguments($pattern: $arguments) -> ($($kind,)*) {
                ($($name,)*)
            }

            #[allow(clippy::unused_unit)]
            fn give_back(($($name,)*): ($($kind,)*)) -> $arguments {
                $pattern
            }
        }

        impl<F, R, $($kind),*> Call for AsyncCall<F, ($($kind,)*), R>
        where
            F: Fn($($kind),*) -> R + Copy + 'static,
            R: Future<Output: Serialize + DeserializeOwned + Send + 'static> + 'static,
            $($kind: Serialize + DeserializeOwned + Send + 'static,)*
        {
            type Args = ($($kind,)*);
            type Output = R::Output;

            fn name() -> &'static str {
                std::any::type_name::<F>()
            }

            fn call(($($name,)*): Self::Args) -> R::Output {
                async_runtime::block_on(|| (image::conjure::<F>())($($name),*))
            }
        }
    };
}

up_to_eight!(callable);
