//! The functions that borrow the state of a worker.
//!
//! The parent turns a function into a type of [`Call`], as `callable` does; that type's [`Call::call`] takes the state
//! out of the slot of its thread (`state_slot`). So a call with a state is dispatched, run and answered as any other.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::callable::Bang;
use super::{Async, Call, Diverging, Never, Sync, Task, async_runtime, state_slot, up_to_eight};
use crate::sys::image;

/// A function that can run in a worker that holds an `S`.
///
/// It is implemented as [`Task`](crate::Task) is, for functions whose first parameter is `&mut S`, with 0 to 8
/// parameters behind it: plain functions, generic functions and closures without captures, sync or `async`. An `async`
/// function may hold the borrow across an `await`. Do not implement it by hand.
///
/// `A` is the type of the arguments behind the state: one value for one argument, a tuple for several, `()` for none.
/// `M` is a marker that is always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run in a worker that holds a `{S}`, with these arguments",
    label = "does not take `&mut {S}` and then arguments of type `{A}`",
    note = "such a function is a plain function or a closure that captures nothing, and its first parameter is `&mut {S}`: pass what else it needs as arguments",
    note = "arguments are one value for one argument behind the state, a tuple for several, `()` for none; a closure names its parameters' types: `|state: &mut {S}, x: u64| …`",
    note = "arguments and result must be `Serialize + DeserializeOwned + Send + 'static`; the result cannot borrow from the state"
)]
pub trait StateTask<S, M, A>: Copy + Send + std::marker::Sync + 'static {
    /// The result of the function; for an `async` function, the output of its future.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    #[doc(hidden)]
    type Call: Call<Output = Self::Output>;

    #[doc(hidden)]
    fn arguments(arguments: A) -> <Self::Call as Call>::Args;

    /// What [`StateTask::arguments`] was given.
    #[doc(hidden)]
    fn give_back(arguments: <Self::Call as Call>::Args) -> A;
}

/// A function over a state as a [`Task`], for a pool whose workers hold such a state.
pub(crate) struct OverState<S, F>(PhantomData<fn() -> (S, F)>);

impl<S, F> OverState<S, F> {
    /// Of the function `f`, which is zero-sized: its type says everything about it.
    pub(crate) fn of(_: F) -> Self {
        Self(PhantomData)
    }
}

impl<S, F> Clone for OverState<S, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, F> Copy for OverState<S, F> {}

impl<S, F> fmt::Debug for OverState<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OverState")
    }
}

impl<S, F, M, A> Task<WithState<M>, A> for OverState<S, F>
where
    S: 'static,
    F: StateTask<S, M, A>,
{
    type Output = F::Output;
    type Call = F::Call;

    fn arguments(arguments: A) -> <F::Call as Call>::Args {
        F::arguments(arguments)
    }

    fn give_back(arguments: <F::Call as Call>::Args) -> A {
        F::give_back(arguments)
    }
}

/// Marks functions over a state.
#[derive(Debug)]
pub(crate) struct WithState<M>(PhantomData<M>);

#[doc(hidden)]
#[derive(Debug)]
pub struct StateCall<F, S, M, A>(PhantomData<(F, S, M, A)>);

macro_rules! state_task {
    ($arguments:ty, $pattern:tt, $($name:ident: $kind:ident),*) => {
        state_task!(@task $arguments, $pattern, [R] Sync<R>, R, R, (Fn(&mut S, $($kind),*) -> R), $($name: $kind),*);
        state_task!(@task $arguments, $pattern, [] Diverging<()>, Never, Bang, (Fn(&mut S, $($kind),*) -> Bang), $($name: $kind),*);
        state_task!(@task $arguments, $pattern, [R] Async<R>, R, R, (AsyncFn(&mut S, $($kind),*) -> R), $($name: $kind),*);

        state_task!(@call [R] Sync<R>, R, (Fn(&mut S, $($kind),*) -> R), |state| {
            (image::conjure::<F>())(state, $($name),*)
        }, $($name: $kind),*);
        state_task!(@call [] Diverging<()>, Never, (Fn(&mut S, $($kind),*) -> Bang), |state| {
            (image::conjure::<F>())(state, $($name),*)
        }, $($name: $kind),*);
        state_task!(@call [R] Async<R>, R, (AsyncFn(&mut S, $($kind),*) -> R), |state| {
            async_runtime::block_on(|| async move { (image::conjure::<F>())(state, $($name),*).await })
        }, $($name: $kind),*);
    };
    (@task $arguments:ty, $pattern:tt, [$($result:ident)?] $marker:ty, $output:ty, $returned:ty, ($($function:tt)*), $($name:ident: $kind:ident),*) => {
        impl<F, S, $($result,)? $($kind),*> StateTask<S, Over<$marker, fn($($kind),*)>, $arguments> for F
        where
            F: $($function)* + Copy + Send + std::marker::Sync + 'static,
            S: 'static,
            $($result: Serialize + DeserializeOwned + Send + 'static,)?
            $($kind: Serialize + DeserializeOwned + Send + 'static,)*
        {
            type Output = $output;
            type Call = StateCall<F, S, $marker, ($($kind,)*)>;

            #[allow(clippy::unused_unit)]
            fn arguments($pattern: $arguments) -> ($($kind,)*) {
                ($($name,)*)
            }

            #[allow(clippy::unused_unit)]
            fn give_back(($($name,)*): ($($kind,)*)) -> $arguments {
                $pattern
            }
        }
    };
    (@call [$($result:ident)?] $marker:ty, $output:ty, ($($function:tt)*), |$state:ident| $body:expr, $($name:ident: $kind:ident),*) => {
        impl<F, S, $($result,)? $($kind),*> Call for StateCall<F, S, $marker, ($($kind,)*)>
        where
            F: $($function)* + Copy + 'static,
            S: 'static,
            $($result: Serialize + DeserializeOwned + Send + 'static,)?
            $($kind: Serialize + DeserializeOwned + Send + 'static,)*
        {
            type Args = ($($kind,)*);
            type Output = $output;

            fn name() -> &'static str {
                std::any::type_name::<F>()
            }

            #[inline]
            fn call(($($name,)*): Self::Args) -> $output {
                state_slot::with(|$state: &mut S| $body)
            }
        }
    };
}

/// Marks functions by how they return and by their arguments behind the state. Always inferred.
#[doc(hidden)]
#[derive(Debug)]
pub struct Over<M, F>(PhantomData<(M, F)>);

up_to_eight!(state_task);
