//! The functions that look at the state of a process and do not change it.
//!
//! As `state_task`, for [`Managed::read`](crate::Managed::read).

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Call, state_slot};
use crate::sys::image;
use crate::sys::thread_value::LentValue;

/// The call of a function that borrows the state as `&S`, on the state's thread.
#[derive(Debug)]
pub(crate) struct StateRead<F, S, R, A>(PhantomData<(F, S, R, A)>);

/// The same, on any thread.
#[derive(Debug)]
pub(crate) struct SharedRead<F, S, R, A>(PhantomData<(F, S, R, A)>);

macro_rules! state_read {
    ($read:ident, [$($bound:tt)*], {$($lend_state:item)?}) => {
        impl<F, S, R, A> Call for $read<F, S, R, A>
        where
            F: Fn(&S, A) -> R + Copy + 'static,
            S: $($bound)* 'static,
            R: Serialize + DeserializeOwned + Send + 'static,
            A: Serialize + DeserializeOwned + Send + 'static,
        {
            type Args = (A,);
            type Output = R;

            fn name() -> &'static str {
                std::any::type_name::<F>()
            }

            fn call((arguments,): Self::Args) -> R {
                state_slot::with_shared(|state: &S| (image::conjure::<F>())(state, arguments))
            }

            $($lend_state)?
        }
    };
}

state_read!(StateRead, [], {});
state_read!(SharedRead, [std::marker::Sync+], {
    fn lend_state() -> Option<LentValue> {
        state_slot::lend::<S>()
    }
});
