//! Rounds: starts each contender of a case in a process of its own and collects its samples.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::cases::{CASES, Case, Contender, Pin, Run};
use crate::{figure, python, subprocess};

/// The start of the line with the samples; a contender may print other lines.
const SAMPLES: &str = "samples ";

/// The result of a case, pinned or not.
#[derive(Debug)]
pub(crate) struct CaseResult {
    pub(crate) case: &'static Case,
    pub(crate) pin: Pin,
    pub(crate) standings: Vec<Standing>,
}

impl CaseResult {
    /// The median over the rounds of a contender that finished.
    pub(crate) fn median(&self, contender: &str) -> Option<f64> {
        let standing = self
            .standings
            .iter()
            .find(|one| one.contender.name == contender)?;
        figure::percentile(standing.outcome.figures()?, 50.0)
    }

    pub(crate) fn has_failure(&self) -> bool {
        self.standings
            .iter()
            .any(|one| matches!(one.outcome, Outcome::Failed(_)))
    }
}

/// The result of a contender.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) contender: &'static Contender,
    pub(crate) outcome: Outcome,
}

/// The outcome of its rounds.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// One figure per round.
    Finished(Vec<f64>),
    /// The machine lacks a program that the contender needs.
    Skipped(&'static str),
    /// The contender crashed, hung or printed no samples; no further round was tried.
    Failed(String),
}

impl Outcome {
    pub(crate) fn figures(&self) -> Option<&[f64]> {
        match self {
            Outcome::Finished(figures) => Some(figures),
            Outcome::Skipped(_) | Outcome::Failed(_) => None,
        }
    }

    fn add(&mut self, figure: io::Result<f64>) {
        if let Outcome::Finished(figures) = self {
            match figure {
                Ok(figure) => figures.push(figure),
                Err(error) => *self = Outcome::Failed(error.to_string()),
            }
        }
    }
}

/// Lets the contenders of `case` take turns for `rounds` rounds.
pub(crate) fn compete(case: &'static Case, pin: Pin, rounds: usize) -> CaseResult {
    let mut standings: Vec<Standing> = case.contenders.iter().map(line_up).collect();
    let count = standings.len();
    for round in 0..rounds {
        // A different contender begins each round, so that none always runs after the same neighbour.
        for turn in 0..count {
            let standing = &mut standings[(round + turn) % count];
            if standing.outcome.figures().is_some() {
                standing
                    .outcome
                    .add(one_round(case, standing.contender, pin));
            }
        }
    }
    CaseResult {
        case,
        pin,
        standings,
    }
}

/// The other side: be the contender, once, and print its samples.
pub(crate) fn contend(case: &str, contender: &str, pin: Pin) -> ExitCode {
    let found = CASES.iter().find(|one| one.name == case);
    let Some(contender) = found.and_then(|case| case.contender(contender)) else {
        eprintln!("there is no case {case:?} with a contender {contender:?}");
        return ExitCode::from(2);
    };
    obey(pin).expect("a process may give up CPUs and ask for a signal");
    match &contender.run {
        Run::Here(run) => {
            let samples = run();
            println!(
                "{}",
                samples
                    .iter()
                    .fold(SAMPLES.to_owned(), |line, x| format!("{line}{x} "))
            );
            ExitCode::SUCCESS
        }
        Run::Python { arguments, .. } => {
            eprintln!(
                "cannot start python3: {}",
                python::program(arguments).exec()
            );
            ExitCode::FAILURE
        }
    }
}

fn line_up(contender: &'static Contender) -> Standing {
    let outcome = match contender.run {
        Run::Python { .. } if !*python::IS_HERE => Outcome::Skipped("python3 is not installed"),
        Run::Python {
            needs: Some(module),
            ..
        } if !python::imports(module) => Outcome::Skipped("its Python module is not installed"),
        _ => Outcome::Finished(Vec::new()),
    };
    Standing { contender, outcome }
}

/// The figure of one contender in one round.
fn one_round(case: &Case, contender: &Contender, pin: Pin) -> io::Result<f64> {
    let output = subprocess::output_of(
        Command::new("/proc/self/exe")
            .args(["--case", case.name, "--contender", contender.name])
            .args(["--pin", pin.argument()]),
    )?;
    samples(&output)
        .and_then(|samples| figure::percentile(&samples, case.percentile))
        .ok_or_else(|| io::Error::other("it printed no samples"))
}

fn samples(output: &str) -> Option<Vec<f64>> {
    let line = output
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix(SAMPLES))?;
    line.split_whitespace()
        .map(|sample| sample.parse().ok())
        .collect()
}

/// Ends with the process that started it, and keeps to its CPUs, as will all its children.
fn obey(pin: Pin) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if pin == Pin::OneCpu {
        let mut first = CpuSet::new();
        first.set(0);
        sched_setaffinity(None, &first)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_the_last_such_line() {
        assert_eq!(
            samples("hello\nsamples 1 2.5 3e-6 \nbye"),
            Some(vec![1.0, 2.5, 3e-6])
        );
        assert_eq!(samples("samples 1 two"), None);
        assert_eq!(samples("nothing"), None);
    }

    #[test]
    fn a_failure_is_not_undone_by_a_later_round() {
        let mut outcome = Outcome::Finished(vec![1.0]);
        outcome.add(Err(io::Error::other("it hung")));
        outcome.add(Ok(2.0));
        assert!(matches!(outcome, Outcome::Failed(why) if why == "it hung"));
    }
}
