//! Taking samples: durations of one call, and rates of many.
//!
//! Each loop has a blocking and an awaited form, because a rival must not pay for an await that it
//! does not need, and ours must.

use std::time::{Duration, Instant};

use crate::work::{ITEMS, LONG_TASKS, cpu_time};

/// How long a contender may warm up, its first call aside.
const WARM_UP: Duration = Duration::from_millis(200);
/// How long samples are taken in one round …
const BUDGET: Duration = Duration::from_secs(1);
/// … and how many at most: more do not move a median.
const MOST: usize = 5_000;
/// … and at least, however slow the contender is.
const LEAST: usize = 3;
/// A rate is taken over at least this long, so that neither the clock nor the start matters.
const RATE_RUN: Duration = Duration::from_millis(250);
/// The longest turn in which no other task had the thread, in seconds.
const OWN_TURN: f64 = 5e-6;
/// Rates taken in one round.
const RATES: usize = 3;
/// Where the search for the size of a rate's run begins.
const FIRST_SIZE: u64 = 1 << 10;
/// Timers in one round: twenty of them are the latest percent.
const TIMERS: usize = 2_000;

/// How long `call` takes, in seconds, again and again.
pub(crate) fn durations(mut call: impl FnMut()) -> Vec<f64> {
    durations_with(|| (), |()| call())
}

/// [`durations`] of a call that uses up what `prepare` makes, which is not part of its time.
pub(crate) fn durations_with<T>(
    mut prepare: impl FnMut() -> T,
    mut call: impl FnMut(T),
) -> Vec<f64> {
    let mut pace = Pace::start();
    while pace.goes_on() {
        let prepared = prepare();
        let start = Instant::now();
        call(prepared);
        pace.note(start.elapsed());
    }
    pace.samples
}

/// [`durations`] of a call that is awaited.
pub(crate) async fn durations_awaited<F: Future>(mut call: impl FnMut() -> F) -> Vec<f64> {
    let mut pace = Pace::start();
    while pace.goes_on() {
        let start = Instant::now();
        call().await;
        pace.note(start.elapsed());
    }
    pace.samples
}

/// [`durations_with`], both parts awaited.
pub(crate) async fn durations_prepared<T, P, F>(
    mut prepare: impl FnMut() -> P,
    mut call: impl FnMut(T) -> F,
) -> Vec<f64>
where
    P: Future<Output = T>,
    F: Future,
{
    let mut pace = Pace::start();
    while pace.goes_on() {
        let prepared = prepare().await;
        let start = Instant::now();
        call(prepared).await;
        pace.note(start.elapsed());
    }
    pace.samples
}

/// How long after the moment that `call` returns its end is, in seconds.
pub(crate) async fn durations_since<F: Future<Output = Instant>>(
    mut call: impl FnMut() -> F,
) -> Vec<f64> {
    let mut pace = Pace::start();
    while pace.goes_on() {
        let since = call().await;
        pace.note(since.elapsed());
    }
    pace.samples
}

/// How much longer one awaited call takes than another, in seconds: both are called in turn.
pub(crate) async fn differences_awaited<F: Future, G: Future>(
    mut with: impl FnMut() -> F,
    mut without: impl FnMut() -> G,
) -> Vec<f64> {
    let (mut longer, mut shorter) = (Pace::start(), Pace::start());
    while longer.goes_on() {
        let start = Instant::now();
        with().await;
        longer.note(start.elapsed());
        let start = Instant::now();
        without().await;
        shorter.note(start.elapsed());
    }
    let pairs = longer.samples.iter().zip(&shorter.samples);
    pairs.map(|(longer, shorter)| longer - shorter).collect()
}

/// How much of its thread's CPU time passes between two turns of a task that always wants one, in seconds:
/// that is how long other tasks held the thread. Turns without another task are left out.
pub(crate) async fn turns() -> Vec<f64> {
    let end = Instant::now() + WARM_UP + BUDGET;
    let mut samples = Vec::new();
    while Instant::now() < end {
        let before = cpu_time();
        tokio::task::yield_now().await;
        let held = cpu_time().saturating_sub(before).as_secs_f64();
        if held > OWN_TURN {
            samples.push(held);
        }
    }
    samples
}

/// How many items a second `run` gets done, when it is asked for as many as fill [`RATE_RUN`].
pub(crate) fn rates(mut run: impl FnMut(u64)) -> Vec<f64> {
    let mut search = SizeSearch::start();
    while let Some(size) = search.next() {
        let start = Instant::now();
        run(size);
        search.note(start.elapsed());
    }
    search.samples
}

/// [`rates`] of a run that is awaited.
pub(crate) async fn rates_awaited<F: Future>(mut run: impl FnMut(u64) -> F) -> Vec<f64> {
    let mut search = SizeSearch::start();
    while let Some(size) = search.next() {
        let start = Instant::now();
        run(size).await;
        search.note(start.elapsed());
    }
    search.samples
}

/// Durations of [`ITEMS`] items, as items a second.
pub(crate) fn items_per_second(durations: Vec<f64>) -> Vec<f64> {
    durations
        .into_iter()
        .map(|seconds| ITEMS as f64 / seconds)
        .collect()
}

/// How many times faster the second of two ways is through [`LONG_TASKS`] tasks.
pub(crate) fn speedups(mut one: impl FnMut(usize), mut two: impl FnMut(usize)) -> Vec<f64> {
    let time = |run: &mut dyn FnMut(usize)| {
        let start = Instant::now();
        run(LONG_TASKS);
        start.elapsed().as_secs_f64()
    };
    (0..LEAST)
        .map(|_| time(&mut one) / time(&mut two))
        .collect()
}

/// [`speedups`] of ways that are awaited.
pub(crate) async fn speedups_awaited<F: Future, G: Future>(
    mut one: impl FnMut(usize) -> F,
    mut two: impl FnMut(usize) -> G,
) -> Vec<f64> {
    let mut samples = Vec::new();
    for _ in 0..LEAST {
        let start = Instant::now();
        one(LONG_TASKS).await;
        let with_one = start.elapsed();
        two(LONG_TASKS).await;
        let with_two = start.elapsed() - with_one;
        samples.push(with_one.as_secs_f64() / with_two.as_secs_f64());
    }
    samples
}

/// How late the runtime's 1 ms timers are, in seconds.
pub(crate) async fn lateness() -> Vec<f64> {
    let mut samples = Vec::with_capacity(TIMERS);
    for _ in 0..TIMERS {
        let due = tokio::time::Instant::now() + Duration::from_millis(1);
        tokio::time::sleep_until(due).await;
        samples.push(due.elapsed().as_secs_f64());
    }
    samples
}

/// First warm-up, then samples until there are enough or the time is up.
#[derive(Debug)]
struct Pace {
    warm_at: Instant,
    calls: usize,
    samples: Vec<f64>,
}

impl Pace {
    fn start() -> Pace {
        Pace {
            warm_at: Instant::now() + WARM_UP,
            calls: 0,
            samples: Vec::with_capacity(MOST),
        }
    }

    fn goes_on(&self) -> bool {
        self.samples.len() < LEAST || (self.samples.len() < MOST && self.warm_at.elapsed() < BUDGET)
    }

    fn note(&mut self, took: Duration) {
        self.calls += 1;
        // The first call is never a sample; a slow contender may have no other warm-up.
        if self.calls > 1 && Instant::now() >= self.warm_at {
            self.samples.push(took.as_secs_f64());
        }
    }
}

/// Doubles the size of a run until it takes long enough, then takes the samples with that size.
#[derive(Debug)]
struct SizeSearch {
    size: u64,
    found: bool,
    samples: Vec<f64>,
}

impl SizeSearch {
    fn start() -> SizeSearch {
        SizeSearch {
            size: FIRST_SIZE,
            found: false,
            samples: Vec::with_capacity(RATES),
        }
    }

    fn next(&self) -> Option<u64> {
        (self.samples.len() < RATES).then_some(self.size)
    }

    fn note(&mut self, took: Duration) {
        if self.found {
            self.samples.push(self.size as f64 / took.as_secs_f64());
        } else if took < RATE_RUN {
            self.size *= 2;
        } else {
            self.found = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_grows_until_a_run_is_long_enough() {
        let mut search = SizeSearch::start();
        let second = Duration::from_secs(1);
        search.note(Duration::from_millis(1));
        assert_eq!(search.next(), Some(2 * FIRST_SIZE));
        for _ in 0..=RATES {
            search.note(second);
        }
        assert_eq!(search.next(), None);
        assert_eq!(search.samples, vec![2.0 * FIRST_SIZE as f64; RATES]);
    }

    #[test]
    fn a_slow_call_is_sampled_all_the_same() {
        let mut calls = 0;
        let samples = durations(|| {
            calls += 1;
            std::thread::sleep(WARM_UP + BUDGET / 2);
        });
        assert_eq!((samples.len(), calls), (LEAST, LEAST + 1));
    }
}
