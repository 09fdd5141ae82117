//! The functions that give items while they run: their first parameter is an [`Emit`].
//!
//! As `task/callable`, which has the calls themselves.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::emit::Emit;
use crate::task::{Async, AsyncCall, Call, Sync, SyncCall, up_to_seven};

/// A function that gives items while it runs in another process.
///
/// It is implemented for every plain function, generic function and closure without captures, sync or `async`, whose
/// first parameter is an [`Emit<T>`](crate::Emit), which has up to 7 more, and which returns `()`. Do not implement it
/// by hand.
///
/// `A` is the type of the arguments behind the `Emit`, as in [`Task`](crate::Task). `M` is a marker that is always
/// inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot give a stream of items with these arguments",
    label = "not a stream task for arguments of type `{A}`",
    note = "a stream task is a function or a closure that captures nothing; its first parameter is `Emit<T>`, and it returns `()`",
    note = "the arguments are those behind the `Emit`: one value for one, a tuple for several, `()` for none",
    note = "arguments and items must be `Serialize + DeserializeOwned + Send + 'static`"
)]
pub trait StreamTask<M, A>: Copy + Send + std::marker::Sync + 'static {
    /// The type of the items.
    type Item: Serialize + DeserializeOwned + Send + 'static;

    #[doc(hidden)]
    type Call: Call<Output = ()>;

    #[doc(hidden)]
    fn arguments(emit: Emit<Self::Item>, arguments: A) -> <Self::Call as Call>::Args;
}

macro_rules! stream_task {
    ($arguments:ty, $pattern:pat, $($name:ident: $kind:ident),*) => {
        impl<F, T, $($kind),*> StreamTask<Sync<fn(Emit<T>, $($kind),*)>, $arguments> for F
        where
            F: Fn(Emit<T>, $($kind),*) + Copy + Send + std::marker::Sync + 'static,
            T: Serialize + DeserializeOwned + Send + 'static,
            $($kind: Serialize + DeserializeOwned + Send + 'static,)*
        {
            type Item = T;
            type Call = SyncCall<F, (Emit<T>, $($kind,)*), ()>;

            fn arguments(emit: Emit<T>, $pattern: $arguments) -> (Emit<T>, $($kind,)*) {
                (emit, $($name,)*)
            }
        }

        impl<F, R, T, $($kind),*> StreamTask<Async<fn(Emit<T>, $($kind),*) -> R>, $arguments> for F
        where
            F: Fn(Emit<T>, $($kind),*) -> R + Copy + Send + std::marker::Sync + 'static,
            R: Future<Output = ()> + 'static,
            T: Serialize + DeserializeOwned + Send + 'static,
            $($kind: Serialize + DeserializeOwned + Send + 'static,)*
        {
            type Item = T;
            type Call = AsyncCall<F, (Emit<T>, $($kind,)*), R>;

            fn arguments(emit: Emit<T>, $pattern: $arguments) -> (Emit<T>, $($kind,)*) {
                (emit, $($name,)*)
            }
        }
    };
}

up_to_seven!(stream_task);
