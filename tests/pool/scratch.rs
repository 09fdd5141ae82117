//! `task::scratch_dir`: a directory of each worker. What becomes of it when the application ends is in
//! `tests/programs/scratch.rs`.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use procession::{Pool, task};

use crate::deadline::{until, within};
use crate::leftovers::processes::kill;
use crate::pools::ready;
use crate::tasks::pid;

fn own() -> PathBuf {
    task::scratch_dir().unwrap().to_owned()
}

/// How many files are in it, after one more.
fn add_file() -> usize {
    let path = task::scratch_dir().unwrap();
    let count = || std::fs::read_dir(path).unwrap().count();
    std::fs::write(path.join(format!("file-{}", count())), "text").unwrap();
    count()
}

#[procession::test]
async fn directory_is_private_to_its_worker_and_empty_at_first() {
    let pool = ready(3).await;
    let paths: BTreeSet<_> = within(pool.broadcast(own, ()))
        .await
        .unwrap()
        .into_iter()
        .collect();
    assert_eq!(paths.len(), 3);
    for path in &paths {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }
    for files in 1..4 {
        assert_eq!(
            within(pool.broadcast(add_file, ())).await.unwrap(),
            [files; 3]
        );
    }
    within(pool.shutdown()).await;
    assert!(paths.iter().all(|path| !path.exists()));
}

#[procession::test]
async fn directory_is_removed_with_a_worker_that_crashes() {
    let pool = Pool::builder().workers(1).build().unwrap();
    let path = within(pool.run(own, ())).await.unwrap();
    assert_eq!(within(pool.run(add_file, ())).await.unwrap(), 1);
    let crashed = within(pool.run(|| kill(pid()), ())).await.unwrap_err();
    assert!(crashed.is_crashed());
    until(|| !path.exists()).await;
    let another = within(pool.run(own, ())).await.unwrap();
    assert!(another != path && another.exists());
    within(pool.terminate()).await;
    until(|| !another.exists()).await;
}

#[procession::test]
async fn only_workers_have_a_directory() {
    assert!(task::scratch_dir().is_err());
    let has = within(procession::spawn(|| task::scratch_dir().is_ok(), ()))
        .await
        .unwrap();
    assert!(!has);
}
