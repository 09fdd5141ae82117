//! What the types promise, whatever the state is.

use std::fmt::Debug;
use std::rc::Rc;

use procession::{
    Managed, ManagedBuilder, ManagedCall, ManagedSpawn, ManagedStream, StateLease,
    StateLeaseRequest, StatePermit, StatePermitFuture, StatePool, StatePoolBuilder,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Neither `Send`, `Sync`, `Debug` nor serialisable.
struct Local(#[expect(dead_code, reason = "it makes the type what it is")] Rc<dyn Fn()>);

#[test]
fn handles_and_futures_go_between_threads_whatever_the_state_is() {
    fn moves<T: Send + Unpin + Debug + 'static>() {}
    fn shared<T: Send + Sync + Unpin + Clone + Debug + 'static>() {}
    fn travels<T: Serialize + DeserializeOwned>() {}
    shared::<Managed<Local>>();
    travels::<Managed<Local>>();
    moves::<ManagedBuilder<Local>>();
    moves::<ManagedSpawn<Local>>();
    moves::<ManagedCall<u8>>();
    moves::<ManagedStream<u8>>();
    shared::<StatePool<Local>>();
    moves::<StatePoolBuilder<Local>>();
    moves::<StateLease<Local>>();
    moves::<StateLeaseRequest<Local>>();
    moves::<StatePermit<Local>>();
    moves::<StatePermitFuture<Local>>();
}
