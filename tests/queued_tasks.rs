//! What many waiting tasks cost: memory, and the time to submit one more.
//!
//! A binary of its own: its allocator counts, for each thread.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(unsafe_code, reason = "an allocator has no other interface")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use procession::{Pool, PoolBuilder, TaskHandle, WorkerState};

#[path = "deadline/mod.rs"]
mod deadline;

use deadline::{until, within};

thread_local! {
    /// The bytes that this thread has allocated and not given back.
    static ALLOCATED: Cell<isize> = const { Cell::new(0) };
    /// How often it has allocated memory.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: all is done by the system's allocator, as the caller asks for it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size() as isize);
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        ALLOCATED.set(ALLOCATED.get() - layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocated() -> isize {
    ALLOCATED.get()
}

const TASKS: usize = 100_000;

/// The most bytes beside a task's arguments.
const MOST_PER_TASK: usize = 250;

/// The bytes of the arguments, as a value and encoded with their length.
const ARGUMENTS: usize = size_of::<(u64, u64)>() + 4 + 3 + 3;

/// A pool whose only worker runs a task that does not end.
async fn busy(builder: PoolBuilder) -> Pool {
    let pool = builder.workers(1).build().unwrap();
    let forever = || -> u64 {
        loop {
            std::thread::park();
        }
    };
    drop(pool.spawn(forever, ()));
    until(|| {
        pool.workers()
            .iter()
            .any(|it| it.state() == WorkerState::Busy)
    })
    .await;
    pool
}

fn add(a: u64, b: u64) -> u64 {
    a + b
}

fn submit(pool: &Pool, handles: &mut Vec<TaskHandle<u64>>, count: usize) {
    for n in 0..count as u64 {
        handles.push(pool.spawn(add, (n, n)));
    }
}

#[procession::test]
async fn queued_task_takes_few_bytes_beside_its_arguments() {
    let pool = busy(Pool::builder()).await;
    let mut handles = Vec::with_capacity(2 * TASKS);
    submit(&pool, &mut handles, 1_000);
    let before = allocated();
    submit(&pool, &mut handles, TASKS);
    let each = (allocated() - before) / TASKS as isize;
    assert!(each <= (MOST_PER_TASK + ARGUMENTS) as isize, "{each} bytes");
    // It is given back.
    handles.iter().for_each(TaskHandle::abort);
    handles.clear();
    let left = allocated() - before;
    assert!(left < TASKS as isize, "{left} bytes are kept");
    within(pool.terminate()).await;
}

/// The processor time of this thread, in nanoseconds.
fn cpu_time() -> i128 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

/// The median of several times: another thread may disturb some.
fn median(times: &[i128]) -> i128 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}

#[procession::test]
async fn submission_costs_the_same_however_many_tasks_wait() {
    let pool = busy(Pool::builder()).await;
    let mut handles = Vec::with_capacity(TASKS);
    let times: Vec<_> = (0..200)
        .map(|_| {
            let begun = cpu_time();
            submit(&pool, &mut handles, TASKS / 200);
            cpu_time() - begun
        })
        .collect();
    let (first, last) = (median(&times[1..41]), median(&times[160..]));
    assert!(last < 3 * first, "{first} ns, then {last} ns");
    // So does a cancellation of a few items among them.
    let begun = cpu_time();
    for _ in 0..100 {
        let mut map = pool.map(add, [(1, 1), (2, 2)]);
        assert!(futures::poll!(futures::StreamExt::next(&mut map)).is_pending());
    }
    let taken = cpu_time() - begun;
    assert!(
        taken < 100 * first,
        "{taken} ns for 100 maps, {first} ns for 500 calls"
    );
    within(pool.terminate()).await;
}

#[procession::test]
async fn full_queue_refuses_without_a_look_at_the_arguments() {
    for builder in [
        Pool::builder().queue_limit(10),
        Pool::builder().queue_bytes(100),
    ] {
        let pool = busy(builder).await;
        let mut handles = Vec::new();
        while let Ok(handle) = pool.try_spawn(add, (1, 1)) {
            handles.push(handle);
        }
        let text = "x".repeat(1 << 20);
        let before = ALLOCATIONS.get();
        let mut refused = pool.try_spawn(|text: String| text.len(), text);
        for _ in 0..1_000 {
            let text = refused.unwrap_err().into_inner();
            refused = pool.try_spawn(|text: String| text.len(), text);
        }
        assert!(refused.is_err());
        // The driver, on the same thread, did not run meanwhile.
        assert_eq!(ALLOCATIONS.get(), before);
        within(pool.terminate()).await;
    }
}
