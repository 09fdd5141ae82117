//! Random events against what must stay true of a schedule, and the shortest sequence that breaks it.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::priority_queue::TURNS;
use super::*;

const PRIORITIES: [Priority; 3] = [Priority::Low, Priority::Normal, Priority::High];

/// What happens to a pool. Numbers are taken modulo how many there are.
#[derive(Debug, Clone)]
enum Happening {
    Submit {
        priority: usize,
        key: Option<u8>,
    },
    Cancel(usize),
    Finish {
        worker: usize,
        micros: u64,
    },
    Crash {
        worker: usize,
        retried: bool,
    },
    Add,
    Takes {
        worker: usize,
        takes: bool,
    },
    Revoke(usize),
    Full(usize),
    Space(usize),
    Pass(u64),
    /// Some items of the front task have outcomes.
    Progress(usize),
    /// A batch is looked for that is slow.
    Slow,
}

/// Happenings, of tasks with keys or without.
fn happening(keys: bool) -> impl Strategy<Value = Happening> {
    let key = match keys {
        true => prop_oneof![Just(None), (0..5_u8).prop_map(Some)].boxed(),
        false => Just(None).boxed(),
    };
    let worker = 0..8_usize;
    prop_oneof![
        8 => (0..3_usize, key).prop_map(|(priority, key)| Happening::Submit { priority, key }),
        1 => any::<usize>().prop_map(Happening::Cancel),
        8 => (worker.clone(), prop_oneof![Just(1), Just(5_000), Just(50_000)])
            .prop_map(|(worker, micros)| Happening::Finish { worker, micros }),
        1 => (worker.clone(), any::<bool>())
            .prop_map(|(worker, retried)| Happening::Crash { worker, retried }),
        1 => Just(Happening::Add),
        1 => (worker.clone(), any::<bool>())
            .prop_map(|(worker, takes)| Happening::Takes { worker, takes }),
        1 => worker.clone().prop_map(Happening::Revoke),
        1 => worker.clone().prop_map(Happening::Full),
        1 => worker.clone().prop_map(Happening::Space),
        1 => worker.prop_map(Happening::Progress),
        1 => Just(Happening::Slow),
        2 => (0..40_000_u64).prop_map(Happening::Pass),
    ]
}

/// Where a task is, as the model knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whereabouts {
    Waits,
    At(WorkerKey),
    /// It has run, or was cancelled.
    Over,
}

#[derive(Debug)]
struct Known {
    at: Whereabouts,
    priority: Priority,
    key: Option<AffinityKey>,
}

struct Takers(HashSet<WorkerKey>);

impl TakesTasks for Takers {
    fn takes_tasks(&self, worker: WorkerKey) -> bool {
        self.0.contains(&worker)
    }
}

struct Model {
    schedule: Schedule,
    takers: Takers,
    workers: Vec<WorkerKey>,
    tasks: BTreeMap<TaskKey, Known>,
    now: Moment,
    /// How many tasks of other priorities were sent while one of this waited.
    passed: [u32; 3],
    has_keys: bool,
}

impl Model {
    fn new(workers: usize, has_keys: bool) -> Self {
        let mut model = Self {
            schedule: Schedule::default(),
            takers: Takers(HashSet::new()),
            workers: Vec::new(),
            tasks: BTreeMap::new(),
            now: Moment::default(),
            passed: [0; 3],
            has_keys,
        };
        for _ in 0..workers {
            model.add_worker();
        }
        model
    }

    fn add_worker(&mut self) {
        let worker = self.schedule.add_worker();
        self.workers.push(worker);
        self.takers.0.insert(worker);
        self.schedule.workers_changed();
    }

    fn worker(&self, number: usize) -> Option<WorkerKey> {
        let count = self.workers.len();
        (count > 0).then(|| self.workers[number % count])
    }

    fn handle(&mut self, happening: &Happening) {
        match *happening {
            Happening::Submit { priority, key } => self.submit(PRIORITIES[priority], key),
            Happening::Cancel(number) => self.cancel(number),
            Happening::Finish { worker, micros } => self.finish(worker, micros),
            Happening::Crash { worker, retried } => self.crash(worker, retried),
            Happening::Add if self.workers.len() < 6 => self.add_worker(),
            Happening::Add => {}
            Happening::Takes { worker, takes } => self.set_takes(worker, takes),
            Happening::Revoke(worker) => self.revoke(worker),
            Happening::Full(worker) => {
                if let Some(worker) = self.worker(worker) {
                    self.schedule.no_space(worker);
                }
            }
            Happening::Space(worker) => {
                if let Some(worker) = self.worker(worker) {
                    self.schedule.may_have_space(worker);
                }
            }
            Happening::Progress(worker) => self.progress(worker),
            Happening::Slow => drop(self.schedule.slow_batch(self.now)),
            Happening::Pass(micros) => self.now = self.now.plus(Duration::from_micros(micros)),
        }
        self.pump();
        self.check();
    }

    fn submit(&mut self, priority: Priority, key: Option<u8>) {
        let task = self.tasks.len() as TaskKey + 1;
        let key = key.map(|key| AffinityKey::of(&key));
        let at = Whereabouts::Waits;
        self.tasks.insert(task, Known { at, priority, key });
        self.schedule.submit(task, priority, key);
    }

    fn submit_front(&mut self, task: TaskKey) {
        let known = self.tasks.get_mut(&task).unwrap();
        known.at = Whereabouts::Waits;
        let (priority, key) = (known.priority, known.key);
        self.schedule.submit_front(task, priority, key);
    }

    fn cancel(&mut self, number: usize) {
        let waiting = self.waiting();
        if !waiting.is_empty() {
            let task = waiting[number % waiting.len()];
            self.schedule.cancel_waiting(task);
            self.end(task);
        }
    }

    fn progress(&mut self, worker: usize) {
        let worker = self.worker(worker);
        let queue = worker.and_then(|worker| self.schedule.run_queue(worker));
        let front = queue.and_then(RunQueue::front);
        if let Some((worker, front)) = worker.zip(front) {
            self.schedule.progress(worker, front.task, 1, self.now);
        }
    }

    fn end(&mut self, task: TaskKey) {
        self.tasks.get_mut(&task).unwrap().at = Whereabouts::Over;
    }

    fn finish(&mut self, worker: usize, micros: u64) {
        let Some(worker) = self.worker(worker) else {
            return;
        };
        let front = self.schedule.run_queue(worker).and_then(RunQueue::front);
        if let Some(front) = front {
            let took = Duration::from_micros(micros);
            self.now = self.now.plus(took);
            self.schedule.finished(worker, front.task, took, self.now);
            self.end(front.task);
        }
    }

    fn crash(&mut self, worker: usize, retried: bool) {
        let Some(worker) = self.worker(worker) else {
            return;
        };
        self.workers.retain(|other| *other != worker);
        self.takers.0.remove(&worker);
        let tasks = self.schedule.remove_worker(worker);
        self.schedule.workers_changed();
        for (ahead, queued) in tasks.into_iter().enumerate().rev() {
            match ahead > 0 || retried {
                true => self.submit_front(queued.task),
                false => self.end(queued.task),
            }
        }
    }

    fn set_takes(&mut self, worker: usize, takes: bool) {
        let Some(worker) = self.worker(worker) else {
            return;
        };
        match takes {
            true => self.takers.0.insert(worker),
            false => self.takers.0.remove(&worker),
        };
        self.schedule.workers_changed();
    }

    fn revoke(&mut self, worker: usize) {
        let Some(worker) = self.worker(worker) else {
            return;
        };
        let queue = self.schedule.run_queue(worker).unwrap();
        let behind: Vec<_> = queue.tasks().skip(1).map(|it| it.task).collect();
        for task in behind.into_iter().rev() {
            self.schedule.revoked(worker, task);
            self.submit_front(task);
        }
    }

    fn pump(&mut self) {
        while let Some((worker, task)) = self.schedule.next(&self.takers, self.now) {
            assert!(self.takers.0.contains(&worker), "{worker} takes no tasks");
            let queue = self.schedule.run_queue(worker).unwrap();
            assert!(
                queue.has_room(self.schedule.depth()),
                "{worker} has no room"
            );
            self.count_turn(task);
            let known = self.tasks.get_mut(&task).unwrap();
            assert_eq!(known.at, Whereabouts::Waits, "{task} is sent twice");
            known.at = Whereabouts::At(worker);
            self.schedule
                .sent(worker, task, 1 + task as usize % 3, self.now);
        }
    }

    /// A task that was held back had its turn before, so turns are counted only without keys.
    fn count_turn(&mut self, task: TaskKey) {
        let sent = self.tasks[&task].priority;
        for priority in PRIORITIES.into_iter().filter(|_| !self.has_keys) {
            let waits = |it: &Known| it.at == Whereabouts::Waits && it.priority == priority;
            let passed = &mut self.passed[priority as usize];
            match priority == sent || !self.tasks.values().any(waits) {
                true => *passed = 0,
                false => *passed += 1,
            }
            assert!(*passed < TURNS, "{priority:?} starves");
        }
    }

    fn waiting(&self) -> Vec<TaskKey> {
        let tasks = self.tasks.iter();
        let waiting = tasks.filter(|(_, it)| it.at == Whereabouts::Waits);
        waiting.map(|(task, _)| *task).collect()
    }

    fn check(&mut self) {
        // The moment is kept from here to the next check, unless a change makes it unknown.
        let kept = self.schedule.next_check(&self.takers);
        assert_eq!(kept, self.schedule.first_check(&self.takers));
        let waiting = self.waiting();
        assert_eq!(self.schedule.waiting(), waiting.len());
        let depth = self.schedule.depth();
        let mut has_room = false;
        for &worker in self.workers.iter().filter(|it| self.takers.0.contains(it)) {
            let queue = self.schedule.run_queue(worker).unwrap();
            has_room |= queue.has_room(depth);
            let idles = queue.has_room(depth) && queue.expected() == 0;
            assert!(
                !idles || waiting.is_empty(),
                "{worker} idles while {waiting:?} wait"
            );
        }
        for held in &self.schedule.held {
            assert!(waiting.contains(&held.task));
            assert!(
                !has_room || !held.is_impatient(self.now),
                "{held:?} is held too long"
            );
        }
        for (task, known) in &self.tasks {
            if let Whereabouts::At(worker) = known.at {
                let queue = self.schedule.run_queue(worker).unwrap();
                assert!(queue.tasks().any(|it| it.task == *task), "{task} is lost");
            }
        }
    }

    /// Everything that was submitted runs, once there is a worker that finishes what it gets.
    fn drain(&mut self) {
        self.add_worker();
        for _ in 0..2 * self.tasks.len() + 1 {
            for number in 0..self.workers.len() {
                self.handle(&Happening::Takes {
                    worker: number,
                    takes: true,
                });
                self.handle(&Happening::Space(number));
                self.handle(&Happening::Finish {
                    worker: number,
                    micros: 10,
                });
            }
        }
        let left = self
            .tasks
            .iter()
            .filter(|(_, it)| it.at != Whereabouts::Over);
        assert_eq!(left.count(), 0, "{:?}", self.tasks);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn schedule_keeps_its_promises_whatever_happens(
        workers in 1..5_usize,
        happenings in proptest::collection::vec(happening(true), 1..150),
    ) {
        let mut model = Model::new(workers, true);
        happenings.iter().for_each(|it| model.handle(it));
        model.drain();
    }

    #[test]
    fn schedule_without_keys_starves_no_priority(
        workers in 1..5_usize,
        happenings in proptest::collection::vec(happening(false), 1..300),
    ) {
        let mut model = Model::new(workers, false);
        happenings.iter().for_each(|it| model.handle(it));
        model.drain();
    }
}
