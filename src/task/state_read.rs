//! The functions that look at the state of a process and do not change it.
//!
//! As `state_task`, for [`Managed::read`](crate::Managed::read).

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Call, state_slot};
use crate::sys::image;

/// The call of a function that borrows the state as `&S`.
#[derive(Debug)]
pub(crate) struct StateRead<F, S, R, A>(PhantomData<(F, S, R, A)>);

impl<F, S, R, A> Call for StateRead<F, S, R, A>
where
    F: Fn(&S, A) -> R + Copy + 'static,
    S: 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
    A: Serialize + DeserializeOwned + Send + 'static,
{
    type Args = (A,);
    type Output = R;

    fn name() -> &'static str {
        std::any::type_name::<F>()
    }

    fn call((arguments,): Self::Args) -> R {
        state_slot::with(|state: &mut S| (image::conjure::<F>())(state, arguments))
    }
}
