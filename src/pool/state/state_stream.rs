//! The functions over a state that give items while they run: their second parameter is an [`Emit`].
//!
//! As `stream_task`; the calls are those of `task/state_task`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::pool::calls::emit::Emit;
use crate::pool::calls::stream_task::StreamTask;
use crate::task::{Async, Call, OverState, StateCall, Sync, WithState, up_to_seven};

/// A function that gives items while it runs in a worker that holds an `S`.
///
/// It is implemented for every plain function, generic function and closure without captures, sync or `async`, whose
/// first parameter is `&mut S`, whose second is an [`Emit<T>`](crate::Emit), which has up to 7 more, and which returns
/// `()`. Do not implement it by hand.
///
/// `A` is the type of the arguments behind the `Emit`, as in [`StateTask`](crate::StateTask). `M` is a marker that is
/// always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot give a stream of items in a worker that holds a `{S}`, with these arguments",
    label = "does not take `&mut {S}`, an `Emit<T>` and then arguments of type `{A}`",
    note = "such a function is a function or a closure that captures nothing; its first parameter is `&mut {S}`, its second `Emit<T>`, and it returns `()`",
    note = "the arguments are those behind the `Emit`: one value for one, a tuple for several, `()` for none",
    note = "arguments and items must be `Serialize + DeserializeOwned + Send + 'static`"
)]
pub trait StateStreamTask<S, M, A>: Copy + Send + std::marker::Sync + 'static {
    /// The type of the items.
    type Item: Serialize + DeserializeOwned + Send + 'static;

    #[doc(hidden)]
    type Call: Call<Output = ()>;

    #[doc(hidden)]
    fn arguments(emit: Emit<Self::Item>, arguments: A) -> <Self::Call as Call>::Args;
}

impl<S, F, M, A> StreamTask<WithState<M>, A> for OverState<S, F>
where
    S: 'static,
    F: StateStreamTask<S, M, A>,
{
    type Item = F::Item;
    type Call = F::Call;

    fn arguments(emit: Emit<F::Item>, arguments: A) -> <F::Call as Call>::Args {
        F::arguments(emit, arguments)
    }
}

macro_rules! state_stream {
    ($arguments:ty, $pattern:pat, $($name:ident: $kind:ident),*) => {
        state_stream!(@one Sync, (Fn(&mut S, Emit<T>, $($kind),*)), $arguments, $pattern, $($name: $kind),*);
        state_stream!(@one Async, (AsyncFn(&mut S, Emit<T>, $($kind),*)), $arguments, $pattern, $($name: $kind),*);
    };
    (@one $marker:ident, ($($function:tt)*), $arguments:ty, $pattern:pat, $($name:ident: $kind:ident),*) => {
        impl<F, S, T, $($kind),*> StateStreamTask<S, $marker<fn(Emit<T>, $($kind),*)>, $arguments> for F
        where
            F: $($function)* + Copy + Send + std::marker::Sync + 'static,
            S: 'static,
            T: Serialize + DeserializeOwned + Send + 'static,
            $($kind: Serialize + DeserializeOwned + Send + 'static,)*
        {
            type Item = T;
            type Call = StateCall<F, S, $marker<()>, (Emit<T>, $($kind,)*)>;

            fn arguments(emit: Emit<T>, $pattern: $arguments) -> (Emit<T>, $($kind,)*) {
                (emit, $($name,)*)
            }
        }
    };
}

up_to_seven!(state_stream);
