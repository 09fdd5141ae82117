//! An executor that is not Tokio's, and the processor time that this process uses.

#![allow(dead_code, reason = "no test file needs all of it")]

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::deadline::LIMIT;

/// How long the use of the processor is measured.
const MEASURED: Duration = Duration::from_millis(500);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls `future` on this thread, which is parked between two polls. Panics if it does not resolve in time.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let end = Instant::now() + LIMIT;
    let mut future = pin!(future);
    let waker = Arc::new(Unpark(std::thread::current())).into();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park_timeout(LIMIT);
        assert!(Instant::now() < end, "not ready in {LIMIT:?}");
    }
}

/// As [`block_on`], on a thread of its own.
pub(crate) fn block_on_thread<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    std::thread::spawn(move || block_on(future))
}

/// The processor time that all threads of this process have used.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Fails if this process uses more than a fifth of a processor. It may need a while to come to rest.
pub(crate) fn assert_at_rest() {
    let mut shares = Vec::new();
    while shares.len() < 6 {
        let (before, began) = (processor_time(), Instant::now());
        std::thread::sleep(MEASURED);
        let used = processor_time() - before;
        let share = used.as_secs_f64() / began.elapsed().as_secs_f64();
        if share < 0.2 {
            return;
        }
        shares.push(share);
    }
    panic!("it uses {shares:?} of a processor");
}

/// The names of the threads of this process.
pub(crate) fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("proc is mounted");
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).collect()
}
