//! What works with one task at a time only is refused where the pool is built.

use std::io::ErrorKind;
use std::time::Duration;

use procession::Pool;

use super::several;
use crate::deadline::within;

#[procession::test]
async fn combinations_that_cannot_work_are_errors_of_build() {
    let state = several(1, 2).state(Vec::<u8>::new, ()).build();
    let state = state.map(|_| ()).unwrap_err();
    let cpu = several(1, 2).cpu_time_limit(Duration::from_secs(1)).build();
    let cpu = cpu.map(|_| ()).unwrap_err();
    let many = several(1, 1025).build().map(|_| ()).unwrap_err();
    for (error, names) in [(state, "state"), (cpu, "cpu_time_limit"), (many, "1024")] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(names), "{error}");
    }
}

#[procession::test]
async fn one_and_zero_are_a_worker_of_one_task() {
    for tasks in [0, 1] {
        let pool = several(1, tasks).state(|| 5_u8, ()).build().unwrap();
        assert_eq!(
            within(pool.run(|five: &mut u8| *five, ())).await.unwrap(),
            5
        );
    }
    let builder = format!("{:?}", Pool::builder().tasks_per_worker(3));
    assert!(builder.contains("tasks_per_worker: 3"), "{builder}");
}
