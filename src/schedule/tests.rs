//! The schedule's decisions, without processes.

use super::*;

fn at(micros: u64) -> Moment {
    Moment::from_bits(micros * 1_000)
}

/// A schedule, its workers, and which of them take tasks.
struct Fixture {
    schedule: Schedule,
    keys: Vec<WorkerKey>,
    taking: Taking,
}

struct Taking(HashSet<WorkerKey>);

impl TakesTasks for Taking {
    fn takes_tasks(&self, worker: WorkerKey) -> bool {
        self.0.contains(&worker)
    }
}

impl Fixture {
    fn new(workers: usize) -> Self {
        let mut schedule = Schedule::default();
        let keys: Vec<_> = (0..workers).map(|_| schedule.add_worker()).collect();
        let taking = Taking(keys.iter().copied().collect());
        Self {
            schedule,
            keys,
            taking,
        }
    }

    /// A schedule that has seen a task take `took`.
    fn experienced(workers: usize, took: Duration) -> Self {
        let mut fixture = Self::new(workers);
        fixture.submit([0]);
        let (worker, task) = fixture.next().unwrap();
        fixture.schedule.sent(worker, task, 1, at(0));
        fixture.schedule.finished(worker, task, took, at(0));
        fixture
    }

    fn submit(&mut self, tasks: impl IntoIterator<Item = TaskKey>) {
        for task in tasks {
            self.schedule.submit(task, Priority::Normal, None);
        }
    }

    fn next(&mut self) -> Option<(WorkerKey, TaskKey)> {
        self.next_at(at(0))
    }

    fn next_at(&mut self, now: Moment) -> Option<(WorkerKey, TaskKey)> {
        self.schedule.next(&self.taking, now)
    }

    fn submit_keyed(&mut self, tasks: impl IntoIterator<Item = (TaskKey, &'static str)>) {
        for (task, key) in tasks {
            let key = Some(AffinityKey::of(&key));
            self.schedule.submit(task, Priority::Normal, key);
        }
    }

    /// Sends as many waiting tasks as there is room for.
    fn send_all(&mut self, now: Moment) -> Vec<(WorkerKey, TaskKey)> {
        let mut sent = Vec::new();
        while let Some((worker, task)) = self.next_at(now) {
            self.schedule.sent(worker, task, 1, now);
            sent.push((worker, task));
        }
        sent
    }

    fn finish(&mut self, worker: WorkerKey, task: TaskKey, now: Moment) {
        let took = Duration::from_millis(1);
        self.schedule.finished(worker, task, took, now);
    }

    fn revoke(&mut self, worker: WorkerKey, task: TaskKey) {
        self.schedule.revoked(worker, task);
        self.schedule.submit_front(task, Priority::Normal, None);
    }

    fn set_taking(&mut self, worker: WorkerKey, takes: bool) {
        if takes {
            self.taking.0.insert(worker);
        } else {
            self.taking.0.remove(&worker);
        }
        self.schedule.workers_changed();
    }

    fn stuck(&self, now: Moment) -> Option<WorkerKey> {
        self.schedule.stuck(&self.taking, now)
    }

    fn next_check(&mut self, now: Moment) -> Option<Duration> {
        let check = self.schedule.next_check(&self.taking)?;
        Some(check.since(now))
    }
}

#[test]
fn tasks_spread_over_workers_and_none_is_prefetched_while_their_time_is_unknown() {
    let mut it = Fixture::new(2);
    let late = it.schedule.add_worker();
    it.submit(1..=10);
    assert_eq!(it.send_all(at(0)), [(0, 1), (1, 2)]);
    it.set_taking(late, true);
    assert_eq!(it.send_all(at(10)), [(late, 3)]);
    it.finish(it.keys[0], 1, at(1_000));
    let sent = it.send_all(at(1_000));
    assert_eq!(sent, [(0, 4), (0, 5), (1, 6), (late, 7)]);
    assert_eq!(it.schedule.waiting(), 3);
}

#[test]
fn prefetch_grows_for_short_tasks_and_shrinks_for_long_ones() {
    let mut it = Fixture::new(1);
    it.submit(1..=1000);
    it.send_all(at(0));
    let worker = it.keys[0];
    it.schedule
        .finished(worker, 1, Duration::from_nanos(100), at(1));
    assert_eq!(it.send_all(at(1)).len(), MAX_PREFETCH);
    for task in 2..=100 {
        it.schedule
            .finished(worker, task, Duration::from_millis(5), at(2));
    }
    assert_eq!(it.send_all(at(2)), []);
}

#[test]
fn higher_priorities_go_first_and_order_is_kept_within_one() {
    let mut schedule = Schedule::default();
    for (task, priority) in [
        (1, Priority::Low),
        (2, Priority::Normal),
        (3, Priority::High),
    ] {
        schedule.submit(task, priority, None);
        schedule.submit(task + 10, priority, None);
    }
    assert_eq!(schedule.take_waiting(), [3, 13, 2, 12, 1, 11]);
}

#[test]
fn cancelled_waiting_tasks_are_never_sent() {
    let mut it = Fixture::new(1);
    it.submit([1, 2]);
    it.schedule.cancel_waiting(1);
    assert_eq!(it.schedule.waiting(), 1);
    assert_eq!(it.send_all(at(0)), [(0, 2)]);
    assert_eq!(it.schedule.waiting(), 0);
}

#[test]
fn tasks_behind_a_long_one_are_revoked_when_others_are_idle() {
    let mut it = Fixture::experienced(2, Duration::from_millis(1));
    let [busy, idle] = [it.keys[0], it.keys[1]];
    it.submit(1..=4);
    it.send_all(at(0));
    it.finish(idle, 2, at(1_000));
    assert_eq!(it.stuck(at(1_000)), None, "no worker is idle yet");
    it.finish(idle, 4, at(2_000));
    assert_eq!(it.stuck(at(2_000)), Some(busy));
    it.revoke(busy, 3);
    assert_eq!(it.send_all(at(2_000)), [(idle, 3)]);
    assert_eq!(it.stuck(at(9_000)), None);
}

#[test]
fn worker_that_made_progress_is_checked_again_later() {
    let mut it = Fixture::new(2);
    it.submit([1]);
    let (worker, task) = it.next().unwrap();
    it.schedule.sent(worker, task, 100, at(0));
    assert_eq!(it.stuck(at(100)), None);
    assert_eq!(it.next_check(at(100)), Some(Duration::from_micros(400)));
    assert_eq!(it.stuck(at(500)), Some(it.keys[0]));
    assert_eq!(it.schedule.slow_batch(at(1_900)), None);
    assert_eq!(it.schedule.slow_batch(at(2_000)), Some((worker, task)));
    assert_eq!(it.schedule.slow_batch(at(2_900)), None, "returned once");
    it.schedule.revoked_rest(worker, task);
    assert_eq!(it.next_check(at(100)), None);
}

#[test]
fn batch_whose_rest_was_revoked_is_still_slow() {
    let mut it = Fixture::new(2);
    it.submit([1]);
    let (worker, task) = it.next().unwrap();
    it.schedule.sent(worker, task, 100, at(0));
    assert_eq!(it.stuck(at(500)), Some(worker));
    it.schedule.revoked_rest(worker, task);
    assert_eq!(it.next_check(at(500)), Some(Duration::from_micros(1_500)));
    assert_eq!(it.schedule.slow_batch(at(2_000)), Some((worker, task)));
}

#[test]
fn worker_that_starts_nothing_gets_no_tasks_until_it_is_seen_to_run() {
    let mut it = Fixture::experienced(2, Duration::from_millis(1));
    let [still, running] = [it.keys[0], it.keys[1]];
    it.submit(1..=9);
    it.send_all(at(0));
    // The other worker never runs out of tasks: tasks wait, and no worker is idle.
    it.finish(running, 2, at(19_000));
    it.send_all(at(19_000));
    assert_eq!(it.next_check(at(19_000)), Some(Duration::from_millis(1)));
    assert_eq!(it.stuck(at(19_999)), None);
    assert_eq!(it.stuck(at(20_000)), Some(still));
    for task in [3, 1] {
        it.revoke(still, task);
    }
    it.set_taking(still, false);
    assert_eq!(it.send_all(at(20_000)), []);
    assert_eq!(it.schedule.idle(&it.taking), 0);
    it.finish(running, 4, at(21_000));
    assert_eq!(it.send_all(at(21_000)), [(running, 1)]);
    it.set_taking(still, true);
    assert_eq!(it.send_all(at(21_000)), [(still, 3), (still, 6)]);
}

#[test]
fn only_worker_that_takes_tasks_keeps_what_it_has() {
    let mut it = Fixture::new(2);
    it.set_taking(it.keys[0], false);
    it.submit([1]);
    assert_eq!(it.send_all(at(0)), [(it.keys[1], 1)]);
    assert_eq!(it.stuck(at(1_000_000)), None);
    assert_eq!(it.next_check(at(0)), None);
}

#[test]
fn no_task_is_sent_behind_a_task_that_runs_long() {
    let mut it = Fixture::new(1);
    let worker = it.keys[0];
    it.submit([1]);
    it.send_all(at(0));
    it.schedule.revoked_rest(worker, 1);
    it.submit([2]);
    assert_eq!(it.send_all(at(0)), []);
    it.finish(worker, 1, at(1_000));
    assert_eq!(it.send_all(at(1_000)), [(worker, 2)]);
}

#[test]
fn full_worker_gets_tasks_when_its_ring_has_space() {
    let mut it = Fixture::new(1);
    let worker = it.keys[0];
    it.submit([1]);
    it.schedule.no_space(worker);
    assert_eq!(it.send_all(at(0)), []);
    it.schedule.may_have_space(worker);
    assert_eq!(it.send_all(at(0)), [(worker, 1)]);
}

#[test]
fn dead_worker_returns_its_run_queue_in_order() {
    let mut it = Fixture::experienced(1, Duration::from_millis(1));
    it.submit([1, 2]);
    it.send_all(at(0));
    let queue = it.schedule.remove_worker(it.keys[0]);
    let tasks: Vec<_> = queue.iter().map(|queued| queued.task).collect();
    assert_eq!(tasks, [1, 2]);
    it.submit([3]);
    assert_eq!(it.next(), None);
}

#[test]
fn task_goes_to_the_idle_worker_that_last_had_its_key() {
    let mut it = Fixture::new(3);
    it.submit_keyed([(1, "a"), (2, "b"), (3, "c")]);
    assert_eq!(it.send_all(at(0)), [(0, 1), (1, 2), (2, 3)]);
    for (worker, task) in [(0, 1), (1, 2), (2, 3)] {
        let long = Duration::from_secs(1);
        it.schedule.finished(worker, task, long, at(1));
    }
    it.submit_keyed([(4, "c"), (5, "a"), (6, "b")]);
    assert_eq!(it.send_all(at(1)), [(2, 4), (0, 5), (1, 6)]);
}

#[test]
fn task_is_held_for_its_worker_while_others_can_be_sent() {
    let mut it = Fixture::new(2);
    it.submit_keyed([(1, "a"), (2, "b")]);
    assert_eq!(it.send_all(at(0)), [(0, 1), (1, 2)]);
    it.submit_keyed([(3, "a"), (4, "a")]);
    it.submit([5, 6]);
    let long = Duration::from_secs(1);
    it.schedule.finished(1, 2, long, at(1));
    assert_eq!(it.send_all(at(1)), [(1, 5)]);
    assert_eq!(it.schedule.waiting(), 3);
    it.schedule.finished(0, 1, long, at(2));
    assert_eq!(it.send_all(at(2)), [(0, 3)]);
    it.schedule.finished(1, 5, long, at(3));
    assert_eq!(it.send_all(at(3)), [(1, 6)]);
    // Only a task that is held back waits: it goes where a worker is idle.
    it.schedule.finished(1, 6, long, at(4));
    assert_eq!(it.send_all(at(4)), [(1, 4)]);
}

#[test]
fn held_task_takes_any_worker_when_its_patience_is_over() {
    let mut it = Fixture::new(2);
    let long = Duration::from_secs(1);
    it.submit_keyed([(1, "a"), (2, "b")]);
    it.send_all(at(0));
    it.submit_keyed([(3, "a")]);
    it.submit(10..30);
    it.schedule.finished(1, 2, long, at(1_000));
    assert_eq!(it.send_all(at(1_000)), [(1, 10)]);
    it.schedule.finished(1, 10, long, at(50_999));
    assert_eq!(it.send_all(at(50_999)), [(1, 11)]);
    it.schedule.finished(1, 11, long, at(51_000));
    assert_eq!(it.send_all(at(51_000)), [(1, 3)]);
}

#[test]
fn key_of_a_worker_that_is_gone_is_anybodys() {
    let mut it = Fixture::new(1);
    it.submit_keyed([(1, "a")]);
    it.send_all(at(0));
    it.submit_keyed([(2, "a")]);
    it.schedule.remove_worker(0);
    // The new worker has the old one's key.
    assert_eq!(it.schedule.add_worker(), 0);
    it.schedule.workers_changed();
    assert_eq!(it.send_all(at(0)), [(0, 2)]);
    it.submit_keyed([(3, "a"), (4, "a")]);
    it.schedule.cancel_waiting(3);
    it.finish(0, 2, at(1));
    assert_eq!(it.send_all(at(1)), [(0, 4)]);
    assert_eq!(it.schedule.waiting(), 0);
}

#[test]
fn cancelled_held_tasks_are_never_sent() {
    let mut it = Fixture::new(2);
    it.submit_keyed([(1, "a"), (2, "b")]);
    it.send_all(at(0));
    it.submit_keyed([(3, "a"), (4, "a")]);
    it.submit([5]);
    it.finish(1, 2, at(1));
    it.send_all(at(1));
    it.schedule.cancel_waiting(3);
    assert_eq!(it.schedule.take_waiting(), [4]);
}

#[test]
fn breaker_opens_after_failures_and_lets_one_start_through_at_a_time() {
    let mut breaker = StartBreaker::default();
    assert_eq!(breaker.max_starting(), usize::MAX);
    let mut fail = |n| breaker.failed(StartFailure::ByItself, at(n), at(n));
    let opens: Vec<_> = (0..5).map(&mut fail).collect();
    assert_eq!(opens, [false, false, false, false, true]);
    assert!(!breaker.allows(at(10)));
    assert!(breaker.is_open());
    breaker.half_open();
    assert!(!breaker.is_open());
    assert!(breaker.allows(at(10)) && breaker.max_starting() == 1);
    assert!(breaker.failed(StartFailure::ByItself, at(11), at(11)));
    assert!(breaker.allows(at(1_100_000)));
    assert!(breaker.succeeded());
    assert!(breaker.allows(at(0)) && breaker.max_starting() == usize::MAX);
}

#[test]
fn starts_that_overlap_and_fail_count_once() {
    let mut breaker = StartBreaker::default();
    for n in 10..30 {
        assert!(!breaker.failed(StartFailure::ByItself, at(0), at(n)));
    }
    let mut fail = |n| breaker.failed(StartFailure::ByItself, at(n), at(n));
    let opens: Vec<_> = (30..34).map(&mut fail).collect();
    assert_eq!(opens, [false, false, false, true]);
    assert!(
        breaker.failed(StartFailure::ByItself, at(0), at(40)),
        "still open"
    );
}
