//! The table that is printed at the end: a line for every picture, and the totals.

use std::ffi::OsStr;
use std::fmt;
use std::time::Duration;

use indicatif::BinaryBytes;
use procession::JoinError;

use crate::job::{Report, Size};

#[derive(Debug, Default)]
pub(crate) struct Table {
    lines: Vec<Line>,
    /// The time that workers were busy with pictures, summed.
    busy: Duration,
}

#[derive(Debug)]
struct Line {
    name: String,
    outcome: Result<Success, String>,
}

#[derive(Debug)]
struct Success {
    before: Size,
    after: Size,
    time: Duration,
    worker: String,
}

impl Table {
    /// Adds the outcome of one picture; `limit` was its time limit.
    pub(crate) fn add(
        &mut self,
        name: &OsStr,
        outcome: Result<Report, JoinError>,
        limit: Duration,
    ) {
        let name = one_line(&name.to_string_lossy());
        self.busy += match &outcome {
            Ok(report) => report.time,
            Err(error) if error.is_timed_out() => limit,
            Err(_) => Duration::ZERO,
        };
        let outcome = match outcome {
            Ok(report) => success(report),
            Err(error) => Err(error.to_string()),
        };
        let outcome = outcome.map_err(|why| one_line(&why));
        self.lines.push(Line { name, outcome });
    }

    pub(crate) fn failed(&self) -> usize {
        let failures = self.lines.iter().filter(|line| line.outcome.is_err());
        failures.count()
    }

    /// The totals of a run that took `wall`.
    pub(crate) fn totals(&self, wall: Duration, workers: usize) -> String {
        let (all, failed) = (self.lines.len(), self.failed());
        let speed_up = self.busy.as_secs_f64() / wall.as_secs_f64();
        format!(
            "{} of {all} pictures in {} by {workers} workers, {} one after another: \
             {speed_up:.2} x the speed of one",
            all - failed,
            milliseconds(wall),
            milliseconds(self.busy),
        )
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths = self.lines.iter().map(|line| line.name.chars().count());
        let width = lengths.max().unwrap_or(0).max("file".len());
        writeln!(
            f,
            "{:width$}  {:>22}  {:>22}  {:>8}  worker",
            "file", "before", "after", "time"
        )?;
        for Line { name, outcome } in &self.lines {
            write!(f, "{name:width$}  ")?;
            match outcome {
                Ok(success) => writeln!(f, "{success}")?,
                Err(why) => writeln!(f, "FAILED: {why}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Success {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            before,
            after,
            time,
            worker,
        } = self;
        let (before, after) = (before.to_string(), after.to_string());
        let time = milliseconds(*time);
        write!(f, "{before:>22}  {after:>22}  {time:>8}  {worker}")
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = BinaryBytes(self.bytes).to_string();
        write!(f, "{}x{} {bytes:>10}", self.width, self.height)
    }
}

fn success(report: Report) -> Result<Success, String> {
    let number = report
        .worker
        .map_or_else(String::new, |number| format!("{number}, "));
    let worker = format!("{number}pid {}", report.pid);
    let (before, after) = report
        .outcome
        .map_err(|why| format!("{} (worker {worker})", why.trim()))?;
    Ok(Success {
        before,
        after,
        time: report.time,
        worker,
    })
}

/// The text without line breaks and without control characters that a terminal would obey.
fn one_line(text: &str) -> String {
    text.trim().replace(char::is_control, " ")
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
