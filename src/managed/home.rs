//! What a handle holds in the process that has made the state.

use std::io;
use std::sync::Arc;

use super::engine::Engine;
use super::messages::{Hello, MOST_HELLOS};
use super::relay::relay;
use crate::background::Background;
use crate::queue;
use crate::queue::Sender;

/// See the module.
#[derive(Debug)]
pub(super) struct StateHome {
    pub(super) engine: Engine,
    /// Keeps the relay, and is what travels.
    pub(super) hellos: Sender<Hello>,
}

impl StateHome {
    /// A home with this engine, whose relay waits for handles in other processes.
    pub(super) fn with(engine: Engine) -> io::Result<Arc<Self>> {
        let (hellos, received) = queue::queue(MOST_HELLOS)?;
        let background = Background::here();
        background.spawn(relay(engine.clone(), received));
        Ok(Arc::new(Self { engine, hellos }))
    }
}
