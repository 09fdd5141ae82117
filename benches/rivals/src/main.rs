//! procession and its rivals, measured side by side in one run. `README.md` says how to read it.
//!
//! One case is measured by several contenders. Each of them runs in a process of its own, a fresh
//! one in every round, so that neither pinning nor what another left behind reaches it; the
//! contenders of a case take turns, so that a machine that drifts drifts for all of them.
//!
//! What lives where, top down: `arguments` and `report` face the person; `round` starts the
//! contenders and collects their samples; `cases` is the table of measurements and `targets`
//! the required results; one module per contender; below them what they all measure with.

#![allow(
    clippy::print_stdout,
    reason = "printing what was measured is what this program is for"
)]

mod arguments;
mod cases;
mod contenders;
mod figure;
mod neighbours;
mod python;
mod report;
mod round;
mod runtime;
mod stopwatch;
mod subprocess;
mod targets;
mod tree;
mod work;

use std::env;
use std::process::ExitCode;

use arguments::Arguments;

fn main() -> ExitCode {
    // Both come back only in a process that is not a child of theirs, and each leaves the other's
    // children alone, so the order does not matter; that nothing stands before them does.
    procession::init();
    procspawn::init();

    match Arguments::parse(env::args().skip(1)) {
        Ok(Arguments::Compete { filters, rounds }) => compete(&filters, rounds),
        Ok(Arguments::Contend {
            case,
            contender,
            pin,
        }) => round::contend(&case, &contender, pin),
        Ok(Arguments::List) => {
            report::list();
            ExitCode::SUCCESS
        }
        Err(usage) => {
            eprintln!("{usage}");
            ExitCode::from(2)
        }
    }
}

fn compete(filters: &[String], rounds: usize) -> ExitCode {
    subprocess::end_with_ctrl_c();
    report::machine(rounds);
    let mut results = Vec::new();
    for case in cases::matching(filters) {
        for &pin in case.pins {
            let noise = neighbours::noise();
            let result = round::compete(case, pin, rounds);
            report::result(&result, noise.or_else(neighbours::noise));
            results.push(result);
        }
    }
    report::targets(&results);
    if results.iter().any(round::CaseResult::has_failure) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
