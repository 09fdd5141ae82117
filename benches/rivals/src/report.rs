//! The tables.

use std::thread;

use crate::cases::{CASES, OURS, Pin};
use crate::figure::{Unit, percentile, ratio};
use crate::round::{CaseResult, Outcome, Standing};
use crate::targets::{TARGETS, Target, Verdict};

/// Columns of the names of contenders.
const NAME: usize = 30;
/// Columns of the titles of targets.
const TITLE: usize = 56;

/// Where and how often, first of all.
pub(crate) fn machine(rounds: usize) {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{rounds} rounds, {cpus} CPUs. Each line: the median over the rounds, the range of the"
    );
    println!("rounds, and ours ÷ this one (times: below 1 we are faster; rates: above 1).");
}

/// The names of the cases and contenders.
pub(crate) fn list() {
    for case in CASES {
        println!("{:<14} {}", case.name, case.title);
        for contender in case.contenders {
            println!("{:<14}   {}", "", contender.name);
        }
    }
}

/// One case, as soon as it has been measured, and how many CPUs others used around it.
pub(crate) fn result(result: &CaseResult, noise: Option<f64>) {
    let case = result.case;
    let better = if case.unit.lower_is_better() {
        "lower"
    } else {
        "higher"
    };
    let pin = match (case.pins, result.pin) {
        ([Pin::None], _) => String::new(),
        (_, pin) => format!(" · {}", pin.title()),
    };
    println!("\n{} · {}{pin} · {better} is better", case.name, case.title);
    if let Some(cpus) = noise {
        println!("  NOISE: others use {cpus:.1} CPUs; do not trust these figures");
    }
    let ours = result.median(OURS);
    for standing in &result.standings {
        println!(
            "  {:<NAME$} {}",
            standing.contender.name,
            line(standing, case.unit, ours)
        );
    }
}

/// What must come out, and what did, of the cases that were run.
pub(crate) fn targets(results: &[CaseResult]) {
    let was_run = |target: &&Target| results.iter().any(|one| target.is_about(one));
    println!(
        "\n{:<TITLE$} {:<12} {:>9}  verdict",
        "target", "needs", "measured"
    );
    for target in TARGETS.iter().filter(was_run) {
        let measured = target.measured(results);
        let shown = measured.map_or_else(|| "-".to_owned(), |value| target.show(value));
        let verdict = match target.verdict(measured) {
            Verdict::Pass => "pass",
            Verdict::Miss => "MISS",
            Verdict::NotRun => "not run",
        };
        println!(
            "{:<TITLE$} {:<12} {shown:>9}  {verdict}",
            target.title(),
            target.needs()
        );
    }
}

fn line(standing: &Standing, unit: Unit, ours: Option<f64>) -> String {
    match &standing.outcome {
        Outcome::Skipped(why) => format!("skipped: {why}"),
        Outcome::Failed(why) => format!("FAILED: {why}"),
        Outcome::Finished(figures) => finished(figures, unit, ours),
    }
}

fn finished(figures: &[f64], unit: Unit, ours: Option<f64>) -> String {
    let (Some(least), Some(median), Some(most)) = (
        percentile(figures, 0.0),
        percentile(figures, 50.0),
        percentile(figures, 100.0),
    ) else {
        return "no rounds".to_owned();
    };
    let range = format!("{} .. {}", unit.show(least), unit.show(most));
    let against = ours.map_or_else(|| "-".to_owned(), |ours| ratio(ours / median));
    format!("{:>11}   {range:<24} {against:>8}", unit.show(median))
}
