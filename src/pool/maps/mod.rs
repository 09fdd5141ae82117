//! One function over many items. Runs in the application.
//!
//! `map` reads its `map_input` in batches (`map_batch`), as far ahead of its results as `read_ahead` says, and gives
//! what `map_results` collects. In a queue with limits, its batches need `map_places`.

pub(super) mod collect_all;
pub(super) mod map;
pub(super) mod map_batch;
pub(super) mod map_future;
pub(super) mod map_input;
pub(super) mod map_places;
pub(super) mod map_results;
#[cfg(feature = "indicatif")]
pub(super) mod progress_bar;
pub(super) mod read_ahead;
