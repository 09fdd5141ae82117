//! The scheduler's decisions, without a process in sight.

use super::*;

fn at(micros: u64) -> Moment {
    Moment::from_bits(micros * 1_000)
}

fn schedule(workers: usize) -> (Schedule, Vec<WorkerKey>) {
    let mut schedule = Schedule::default();
    let keys: Vec<_> = (0..workers).map(|_| schedule.add_worker()).collect();
    for &key in &keys {
        schedule.ready(key, at(0));
    }
    (schedule, keys)
}

/// One that has seen a task take so long.
fn experienced(workers: usize, took: Duration) -> (Schedule, Vec<WorkerKey>) {
    let (mut schedule, keys) = schedule(workers);
    schedule.submit(0, Priority::Normal);
    let (worker, task) = schedule.next().unwrap();
    schedule.sent(worker, task, 1, at(0));
    schedule.finished(worker, task, took, at(0));
    (schedule, keys)
}

fn hand_out(schedule: &mut Schedule, now: Moment) -> Vec<(WorkerKey, TaskKey)> {
    let mut given = Vec::new();
    while let Some((worker, task)) = schedule.next() {
        schedule.sent(worker, task, 1, now);
        given.push((worker, task));
    }
    given
}

#[test]
fn tasks_spread_over_workers_and_none_waits_in_a_line_while_nothing_is_known() {
    let (mut schedule, keys) = schedule(2);
    let late = schedule.add_worker();
    for task in 1..=10 {
        schedule.submit(task, Priority::Normal);
    }
    assert_eq!(hand_out(&mut schedule, at(0)), [(0, 1), (1, 2)]);
    schedule.ready(late, at(10));
    assert_eq!(hand_out(&mut schedule, at(10)), [(late, 3)]);
    schedule.finished(keys[0], 1, Duration::from_millis(1), at(1_000));
    let given = hand_out(&mut schedule, at(1_000));
    assert_eq!(given, [(0, 4), (0, 5), (1, 6), (late, 7)]);
    assert_eq!(schedule.waiting(), 3);
}

#[test]
fn lines_grow_for_short_tasks_and_shrink_for_long_ones() {
    let (mut schedule, keys) = schedule(1);
    for task in 1..=1000 {
        schedule.submit(task, Priority::Normal);
    }
    hand_out(&mut schedule, at(0));
    schedule.finished(keys[0], 1, Duration::from_nanos(100), at(1));
    assert_eq!(hand_out(&mut schedule, at(1)).len(), LONGEST_LINE);
    for task in 2..=100 {
        schedule.finished(keys[0], task, Duration::from_millis(5), at(2));
    }
    assert_eq!(hand_out(&mut schedule, at(2)), []);
}

#[test]
fn higher_priorities_go_first_and_order_is_kept_within_one() {
    let (mut schedule, _) = schedule(1);
    for (task, priority) in [
        (1, Priority::Low),
        (2, Priority::Normal),
        (3, Priority::High),
    ] {
        schedule.submit(task, priority);
        schedule.submit(task + 10, priority);
    }
    assert_eq!(schedule.take_waiting(), [3, 13, 2, 12, 1, 11]);
}

#[test]
fn withdrawn_tasks_are_never_given_out() {
    let (mut schedule, _) = schedule(1);
    schedule.submit(1, Priority::Normal);
    schedule.submit(2, Priority::Normal);
    schedule.withdraw(1);
    assert_eq!(schedule.waiting(), 1);
    assert_eq!(hand_out(&mut schedule, at(0)), [(0, 2)]);
    assert_eq!(schedule.waiting(), 0);
}

#[test]
fn what_stands_behind_a_long_task_is_given_back_when_others_are_idle() {
    let (mut schedule, keys) = experienced(2, Duration::from_millis(1));
    for task in 1..=4 {
        schedule.submit(task, Priority::Normal);
    }
    hand_out(&mut schedule, at(0));
    schedule.finished(keys[1], 2, Duration::from_millis(1), at(1_000));
    assert_eq!(schedule.stuck(at(1_000)), None, "nobody is idle yet");
    schedule.finished(keys[1], 4, Duration::from_millis(1), at(2_000));
    assert_eq!(schedule.stuck(at(2_000)), Some(keys[0]));
    schedule.taken_back(keys[0], 3);
    schedule.submit_again(3, Priority::Normal);
    assert_eq!(hand_out(&mut schedule, at(2_000)), [(keys[1], 3)]);
    assert_eq!(schedule.stuck(at(9_000)), None);
}

#[test]
fn a_worker_that_just_moved_is_looked_at_again_later() {
    let (mut schedule, keys) = schedule(2);
    schedule.submit(1, Priority::Normal);
    let (worker, task) = schedule.next().unwrap();
    schedule.sent(worker, task, 100, at(0));
    assert_eq!(schedule.stuck(at(100)), None);
    assert_eq!(
        schedule.look_again(at(100)),
        Some(Duration::from_micros(400))
    );
    assert_eq!(schedule.stuck(at(500)), Some(keys[0]));
    assert_eq!(schedule.slow_batch(at(1_900)), None);
    assert_eq!(schedule.slow_batch(at(2_000)), Some((worker, task)));
    assert_eq!(schedule.slow_batch(at(2_900)), None, "it was named");
    schedule.shortened(worker, task);
    assert_eq!(schedule.look_again(at(100)), None);
}

#[test]
fn a_batch_whose_rest_was_taken_back_still_tells_what_it_has_done() {
    let (mut schedule, _) = schedule(2);
    schedule.submit(1, Priority::Normal);
    let (worker, task) = schedule.next().unwrap();
    schedule.sent(worker, task, 100, at(0));
    assert_eq!(schedule.stuck(at(500)), Some(worker));
    schedule.shortened(worker, task);
    assert_eq!(
        schedule.look_again(at(500)),
        Some(Duration::from_micros(1_500))
    );
    assert_eq!(schedule.slow_batch(at(2_000)), Some((worker, task)));
}

#[test]
fn a_worker_that_begins_nothing_gets_nothing_until_it_is_seen_to_run() {
    let (mut schedule, keys) = experienced(2, Duration::from_millis(1));
    for task in 1..=9 {
        schedule.submit(task, Priority::Normal);
    }
    hand_out(&mut schedule, at(0));
    // The other one never comes to an end of its work: others wait, and nobody is idle.
    schedule.finished(keys[1], 2, Duration::from_millis(1), at(19_000));
    hand_out(&mut schedule, at(19_000));
    assert_eq!(
        schedule.look_again(at(19_000)),
        Some(Duration::from_millis(1))
    );
    assert_eq!(schedule.stuck(at(19_999)), None);
    assert_eq!(schedule.stuck(at(20_000)), Some(keys[0]));
    for task in [3, 1] {
        schedule.taken_back(keys[0], task);
        schedule.submit_again(task, Priority::Normal);
    }
    schedule.doubt(keys[0]);
    assert_eq!(hand_out(&mut schedule, at(20_000)), []);
    assert_eq!(schedule.idle(), 0);
    schedule.finished(keys[1], 4, Duration::from_millis(1), at(21_000));
    assert_eq!(hand_out(&mut schedule, at(21_000)), [(keys[1], 1)]);
    schedule.trust(keys[0]);
    assert_eq!(
        hand_out(&mut schedule, at(21_000)),
        [(keys[0], 3), (keys[0], 6)]
    );
}

#[test]
fn the_last_worker_that_may_run_is_not_asked_for_what_it_has() {
    let (mut schedule, keys) = schedule(2);
    schedule.doubt(keys[0]);
    schedule.submit(1, Priority::Normal);
    assert_eq!(hand_out(&mut schedule, at(0)), [(keys[1], 1)]);
    assert_eq!(schedule.stuck(at(1_000_000)), None);
    assert_eq!(schedule.look_again(at(0)), None);
}

#[test]
fn nothing_is_put_behind_a_task_that_runs_long() {
    let (mut schedule, keys) = schedule(1);
    schedule.submit(1, Priority::Normal);
    hand_out(&mut schedule, at(0));
    schedule.shortened(keys[0], 1);
    schedule.submit(2, Priority::Normal);
    assert_eq!(hand_out(&mut schedule, at(0)), []);
    schedule.finished(keys[0], 1, Duration::from_millis(1), at(1_000));
    assert_eq!(hand_out(&mut schedule, at(1_000)), [(keys[0], 2)]);
}

#[test]
fn a_dead_worker_gives_its_line_back_in_order() {
    let (mut schedule, keys) = experienced(1, Duration::from_millis(1));
    schedule.submit(1, Priority::Normal);
    schedule.submit(2, Priority::Normal);
    hand_out(&mut schedule, at(0));
    let line: Vec<_> = schedule.remove_worker(keys[0]).into();
    assert_eq!(
        line.iter().map(|entry| entry.task).collect::<Vec<_>>(),
        [1, 2]
    );
    schedule.submit(3, Priority::Normal);
    assert_eq!(schedule.next(), None);
}

#[test]
fn the_breaker_trips_and_lets_one_through_at_a_time() {
    let mut breaker = StartBreaker::default();
    assert_eq!(breaker.at_once(), usize::MAX);
    let trips: Vec<_> = (0..5).map(|n| breaker.failed(at(n))).collect();
    assert_eq!(trips, [false, false, false, false, true]);
    assert!(!breaker.allows(at(10)));
    breaker.try_again();
    assert!(breaker.allows(at(10)) && breaker.at_once() == 1);
    assert!(breaker.failed(at(11)));
    assert!(breaker.allows(at(1_100_000)));
    breaker.succeeded();
    assert!(breaker.allows(at(0)) && breaker.at_once() == usize::MAX);
}
