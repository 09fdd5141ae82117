//! Atomics that all processes change.

use std::sync::atomic::{
    AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16,
    AtomicU32, AtomicU64, AtomicUsize, Ordering,
};

use procession::memory::{Atomics, Shared};
use procession::{Pool, spawn};

use crate::deadline::within;

const ADDITIONS: u64 = 20_000;

fn add(hits: Shared<AtomicU64>, rows: Shared<[AtomicU32]>, table: Shared<[[AtomicU8; 3]; 5]>) {
    for n in 0..ADDITIONS {
        hits.fetch_add(1, Ordering::Relaxed);
        rows[n as usize % rows.len()].fetch_add(1, Ordering::Relaxed);
        table[4][2].fetch_add(1, Ordering::Relaxed);
    }
}

#[procession::test]
async fn shared_atomics_count_every_addition_of_every_process() {
    let pool = Pool::with_workers(3).unwrap();
    let hits = Shared::new(AtomicU64::new(5)).unwrap();
    let rows = Shared::<[AtomicU32]>::zeroed(10_000).unwrap();
    let table = Shared::new([const { [const { AtomicU8::new(0) }; 3] }; 5]).unwrap();
    let items = std::iter::repeat_n((hits.clone(), rows.clone(), table.clone()), 6);
    let adding = spawn(add, (hits.clone(), rows.clone(), table.clone()));
    within(pool.map(add, items)).await.unwrap();
    within(adding).await.unwrap();
    add(hits.clone(), rows.clone(), table.clone());
    assert_eq!(hits.load(Ordering::Relaxed), 5 + 8 * ADDITIONS);
    let additions = 8 * ADDITIONS as u32 / 10_000;
    assert!(
        rows.iter()
            .all(|it| it.load(Ordering::Relaxed) == additions)
    );
    let expected = (8 * ADDITIONS % 256) as u8;
    assert_eq!(table[4][2].load(Ordering::Relaxed), expected);
}

#[procession::test]
async fn every_atomic_of_the_standard_library_can_be_shared() {
    macro_rules! check {
        ($($atomic:ty: $value:expr;)*) => {$(
            let shared = Shared::new(<$atomic>::new($value)).unwrap();
            let child = spawn(|it: Shared<$atomic>| it.swap(Default::default(), Ordering::SeqCst), shared.clone());
            assert_eq!(within(child).await.unwrap(), $value);
            assert_eq!(shared.load(Ordering::SeqCst), Default::default());
        )*};
    }
    check! {
        AtomicBool: true;
        AtomicU8: 200; AtomicU16: 60_000; AtomicU32: u32::MAX; AtomicU64: u64::MAX; AtomicUsize: usize::MAX;
        AtomicI8: -100; AtomicI16: -30_000; AtomicI32: i32::MIN; AtomicI64: i64::MIN; AtomicIsize: isize::MIN;
    }
}

#[derive(Default)]
#[repr(C)]
struct Counts {
    done: AtomicU64,
    failed: AtomicBool,
}

#[allow(unsafe_code, reason = "the trait is unsafe to implement")]
// SAFETY: two atomics.
unsafe impl Atomics for Counts {}

#[procession::test]
async fn structure_of_atomics_and_empty_lengths() {
    let counts = Shared::new(Counts::default()).unwrap();
    let set = |counts: Shared<Counts>| {
        counts.done.store(3, Ordering::Relaxed);
        counts.failed.store(true, Ordering::Relaxed);
    };
    within(spawn(set, counts.clone())).await.unwrap();
    assert_eq!(counts.done.load(Ordering::Relaxed), 3);
    assert!(counts.failed.load(Ordering::Relaxed));
    for len in [0, usize::MAX, usize::MAX / 8, 1 << 58] {
        let error = Shared::<[AtomicU64]>::zeroed(len).unwrap_err();
        assert!(error.to_string().contains("bytes"), "{len}: {error}");
    }
}
