//! `current` inside a task, and `Pool::workers`.

use std::collections::HashSet;

use procession::{Pool, WorkerState, current};
use serde::{Deserialize, Serialize};

use crate::deadline::within;
use crate::notes::Board;
use crate::pools::all_idle;
use crate::tasks::{held, pid};

#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    is_child: bool,
    name: Option<String>,
    pool: Option<String>,
    number: Option<usize>,
    parent: Option<u32>,
    task: Option<String>,
}

fn look() -> Seen {
    let me = current();
    Seen {
        is_child: me.is_child(),
        name: me.name().map(str::to_owned),
        pool: me.pool_name().map(str::to_owned),
        number: me.worker_number(),
        parent: me.parent_pid(),
        task: me.task_id().map(|id| id.to_string()),
    }
}

#[procession::test]
async fn current_describes_the_worker_of_a_task() {
    let pool = Pool::builder().workers(3).name("thumbs").build().unwrap();
    all_idle(&pool, 3).await;
    let mut numbers = HashSet::new();
    for _ in 0..50 {
        let handle = pool.spawn(look, ());
        let id = handle.id();
        let seen = within(handle).await.unwrap();
        let number = seen.number.unwrap();
        assert!(seen.is_child && number < 3, "{seen:?}");
        assert_eq!(seen.name, Some(format!("thumbs/{number}")));
        assert_eq!(seen.pool.as_deref(), Some("thumbs"));
        assert_eq!(seen.parent, Some(pid()));
        assert_eq!(seen.task, Some(id.to_string()));
        numbers.insert(number);
    }
    let here = look();
    assert!(!here.is_child && here.name.is_none() && here.task.is_none());
    let names: HashSet<_> = procession::active_children()
        .iter()
        .filter_map(|child| child.name().map(str::to_owned))
        .filter(|name| name.starts_with("thumbs/"))
        .collect();
    assert_eq!(names, (0..3).map(|n| format!("thumbs/{n}")).collect());
}

#[procession::test]
async fn worker_info_reports_what_each_worker_does() {
    let board = Board::new();
    let pool = Pool::with_workers(2).unwrap();
    let starting = pool.workers();
    assert_eq!(starting.len(), 2);
    assert!(
        starting
            .iter()
            .all(|it| it.state() == WorkerState::Starting)
    );
    all_idle(&pool, 2).await;
    let handle = pool.spawn(held, (board.notes(), "here".to_owned()));
    let runner: u32 = board.lines("here", 1).await[0].parse().unwrap();
    let infos = pool.workers();
    let (busy, idle): (Vec<_>, Vec<_>) = infos.iter().partition(|it| it.pid() == Some(runner));
    assert_eq!((busy.len(), idle.len()), (1, 1));
    assert_eq!(busy[0].state(), WorkerState::Busy);
    assert_eq!(busy[0].current_task(), Some(handle.id()));
    assert_eq!(idle[0].state(), WorkerState::Idle);
    assert_eq!(idle[0].current_task(), None);
    assert_eq!((busy[0].tasks_done(), idle[0].tasks_done()), (0, 0));
    assert!(
        infos
            .iter()
            .all(|it| it.memory() > 0 && !it.age().is_zero())
    );
    board.write("go", 1);
    within(handle).await.unwrap();
    let done: usize = pool
        .workers()
        .iter()
        .map(procession::WorkerInfo::tasks_done)
        .sum();
    assert_eq!(done, 1);
}
