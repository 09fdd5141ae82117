//! How far a map reads its input ahead of its results, and how large its batches are.
//!
//! Runs in the parent. Pure: counts and a mean time come in, a number of items goes out. Never here: a clock, a
//! lock or the input itself.

use std::time::Duration;

use crate::schedule::MeanTime;

/// How long a batch should run: much longer than sending it takes, and too short for a user to notice.
const BATCH_RUNS: Duration = Duration::from_micros(400);

/// The most items in one batch. More would not make sending cheaper.
const LARGEST_BATCH: usize = 4096;

/// The run time of the items that are read ahead for each place.
const AHEAD_RUNS: Duration = Duration::from_micros(1500);

/// The fewest and the most items that are read ahead for each place by default.
const FEWEST_AHEAD: usize = 2;
const MOST_AHEAD: usize = 4 * LARGEST_BATCH;

/// Finished items that wait behind an unfinished one may be this many times the items read ahead.
const FINISHED_BEHIND: usize = 16;

/// The settings that bound the reading.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct ReadAhead {
    /// How many tasks the workers can run at the same time.
    pub(in crate::pool) places: usize,
    /// The most items that may be read and not given, if the user set a limit.
    pub(in crate::pool) concurrency: Option<usize>,
    /// The size of every batch, if the user set one.
    pub(in crate::pool) chunk_size: Option<usize>,
}

/// How far a map has come.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct MapProgress {
    /// Items read from the input.
    pub(in crate::pool) read: usize,
    /// Items with an outcome.
    pub(in crate::pool) finished: usize,
    /// Outcomes that the user has taken.
    pub(in crate::pool) given: usize,
    /// How long an item runs.
    pub(in crate::pool) mean: MeanTime,
}

impl ReadAhead {
    /// How many more items may be read now.
    pub(in crate::pool) fn room(&self, progress: MapProgress) -> usize {
        let not_given = progress.read - progress.given;
        if let Some(concurrency) = self.concurrency {
            return concurrency.saturating_sub(not_given);
        }
        // Finished items that wait behind a slow one keep no worker busy, so up to a point they do not count.
        let ahead = self.ahead(progress.mean);
        let unfinished = progress.read - progress.finished;
        let most = ahead.saturating_mul(FINISHED_BEHIND);
        let most = most.saturating_sub(not_given);
        ahead.saturating_sub(unfinished).min(most)
    }

    /// How many items the next batch has. `left` is the rest of the input, if its length is known.
    pub(in crate::pool) fn batch_size(&self, mean: MeanTime, left: Option<usize>) -> usize {
        if let Some(chunk) = self.chunk_size {
            return chunk;
        }
        let Some(size) = mean.tasks_in(BATCH_RUNS) else {
            return 1;
        };
        let mut size = size.clamp(1, LARGEST_BATCH);
        if let Some(concurrency) = self.concurrency {
            size = size.min(concurrency.div_ceil(2 * self.places));
        }
        match left {
            // Batches become smaller towards the end, so that all workers finish at the same time.
            Some(left) => size.min(left.div_ceil(2 * self.places)).max(1),
            None => size,
        }
    }

    /// How many unfinished items the workers should have.
    fn ahead(&self, mean: MeanTime) -> usize {
        let chunk = self.chunk_size.unwrap_or(1);
        let each = match mean.tasks_in(AHEAD_RUNS) {
            None => FEWEST_AHEAD,
            Some(items) => items.clamp(FEWEST_AHEAD, MOST_AHEAD),
        };
        let each = each.max(chunk.saturating_mul(FEWEST_AHEAD));
        each.saturating_mul(self.places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: MeanTime = MeanTime::new(0.5);

    fn micros(micros: u64) -> MeanTime {
        let mut mean = UNKNOWN;
        mean.add(Duration::from_micros(micros), 1);
        mean
    }

    fn two_workers() -> ReadAhead {
        ReadAhead {
            places: 2,
            concurrency: None,
            chunk_size: None,
        }
    }

    fn progress(read: usize, finished: usize, given: usize) -> MapProgress {
        MapProgress {
            read,
            finished,
            given,
            mean: micros(1),
        }
    }

    #[test]
    fn concurrency_bounds_items_not_given() {
        let reading = ReadAhead {
            concurrency: Some(10),
            ..two_workers()
        };
        assert_eq!(reading.room(progress(7, 7, 0)), 3);
        assert_eq!(reading.room(progress(10, 10, 0)), 0);
        assert_eq!(reading.room(progress(10, 10, 10)), 10);
    }

    #[test]
    fn finished_items_make_room_up_to_a_limit() {
        let ahead = 2 * 1500;
        let reading = two_workers();
        assert_eq!(reading.room(progress(0, 0, 0)), ahead);
        assert_eq!(reading.room(progress(ahead, 0, 0)), 0);
        assert_eq!(reading.room(progress(ahead, ahead, 0)), ahead);
        let most = ahead * FINISHED_BEHIND;
        assert_eq!(reading.room(progress(most, most, 0)), 0);
    }

    #[test]
    fn batch_size_follows_run_time_and_shrinks_at_the_end() {
        let reading = two_workers();
        assert_eq!(reading.batch_size(UNKNOWN, Some(1000)), 1);
        assert_eq!(reading.batch_size(micros(1), None), 400);
        assert_eq!(reading.batch_size(micros(1), Some(100)), 25);
        assert_eq!(reading.batch_size(micros(1), Some(1)), 1);
        assert_eq!(reading.batch_size(micros(1_000_000), None), 1);
    }

    #[test]
    fn chunk_size_is_the_size_of_every_batch() {
        let reading = ReadAhead {
            chunk_size: Some(50),
            ..two_workers()
        };
        assert_eq!(reading.batch_size(micros(1), Some(7)), 50);
        let nothing_known = MapProgress {
            mean: UNKNOWN,
            ..progress(0, 0, 0)
        };
        assert_eq!(reading.room(nothing_known), 2 * 2 * 50);
    }
}
