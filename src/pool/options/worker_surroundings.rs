//! What surrounds the functions of workers, beside what a single process has too.
//!
//! Runs in the application.

use std::ffi::OsString;
use std::io;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;

use crate::spawn::Surroundings;
use crate::sys::cpu_count::cpu_count;
use crate::sys::limits;

/// The nice increment of workers. With 5, the executor's timers under full load are as late as on an idle machine.
const NICE: i32 = 5;

/// What libraries read to find out how many threads they may start.
const INNER_THREADS: [&str; 6] = [
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "TOKIO_WORKER_THREADS",
];

/// The surroundings of workers whose pool chooses none.
pub(in crate::pool) fn defaults() -> Surroundings {
    let mut surroundings = Surroundings {
        nice: NICE,
        ..Surroundings::default()
    };
    surroundings.limit(limits::CORE_SIZE, 0);
    surroundings
}

/// Sets how many threads libraries in each of `workers` workers may start: `threads`, or by default its share of the
/// processors.
pub(in crate::pool) fn limit_inner_threads(
    surroundings: &mut Surroundings,
    threads: Option<usize>,
    workers: usize,
) {
    let threads = threads.unwrap_or_else(|| cpu_count() / workers.max(1));
    let threads = threads.max(1).to_string();
    for variable in INNER_THREADS {
        surroundings.set_default(variable, &threads);
    }
}

/// The variables that depend on the number of a worker.
#[derive(Clone)]
pub(in crate::pool) struct EnvPerWorker(
    Arc<dyn Fn(usize) -> Vec<(OsString, OsString)> + Send + Sync>,
);

impl EnvPerWorker {
    pub(in crate::pool) fn new<F, I, K, V>(f: F) -> Self
    where
        F: Fn(usize) -> I + Send + Sync + 'static,
        I: IntoIterator<Item = (K, V)>,
        K: Into<OsString>,
        V: Into<OsString>,
    {
        Self(Arc::new(move |number| {
            let variables = f(number).into_iter();
            variables.map(|(k, v)| (k.into(), v.into())).collect()
        }))
    }

    /// Adds the variables of the worker `number`. Runs user code.
    ///
    /// # Errors
    ///
    /// The user's function has panicked.
    pub(in crate::pool) fn add_to(
        &self,
        surroundings: &mut Surroundings,
        number: usize,
    ) -> io::Result<()> {
        let variables = catch_unwind(AssertUnwindSafe(|| (self.0)(number)));
        let variables = variables.map_err(|_| {
            io::Error::other(format!("`env_per_worker` panicked for worker {number}"))
        })?;
        for (key, value) in variables {
            surroundings.set(key, Some(value));
        }
        Ok(())
    }
}

impl std::fmt::Debug for EnvPerWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnvPerWorker").finish_non_exhaustive()
    }
}
