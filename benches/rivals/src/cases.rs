//! The cases: contenders, unit, pinning. Each file has the cases of a subject; `table` lists them all.

mod channels;
mod pools;
mod services;
mod sharing;
mod starting;
mod table;

pub(crate) use table::CASES;

use crate::figure::Unit;

const BOTH: &[Pin] = &[Pin::OneCpu, Pin::None];
const UNPINNED: &[Pin] = &[Pin::None];

/// The name of our own contender; every ratio is against it.
pub(crate) const OURS: &str = "procession";

/// A measurement and its contenders.
#[derive(Debug)]
pub(crate) struct Case {
    /// The name that a filter matches and that the Python contenders use.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    /// Which percentile of a round's samples is that round's figure.
    pub(crate) percentile: f64,
    pub(crate) pins: &'static [Pin],
    pub(crate) contenders: &'static [Contender],
}

impl Case {
    pub(crate) fn contender(&self, name: &str) -> Option<&'static Contender> {
        self.contenders
            .iter()
            .find(|contender| contender.name == name)
    }
}

/// A contender of a case.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) run: Run,
}

/// The source of a contender's samples.
#[derive(Debug)]
pub(crate) enum Run {
    /// A function of this program, which panics when it cannot.
    Here(fn() -> Vec<f64>),
    /// A program of Python's, by its arguments, and a module it cannot do without.
    Python {
        arguments: &'static [&'static str],
        needs: Option<&'static str>,
    },
}

/// Which CPUs a contender and its children may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pin {
    /// Only the first: what the software costs, without waking an idle CPU.
    OneCpu,
    /// All: what a user sees.
    None,
}

impl Pin {
    pub(crate) fn parse(text: &str) -> Option<Pin> {
        [Pin::OneCpu, Pin::None]
            .into_iter()
            .find(|pin| pin.argument() == text)
    }

    pub(crate) fn argument(self) -> &'static str {
        match self {
            Pin::OneCpu => "0",
            Pin::None => "none",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Pin::OneCpu => "pinned to one CPU",
            Pin::None => "unpinned",
        }
    }
}

/// The cases whose name contains one of `filters`, all of them without a filter.
pub(crate) fn matching(filters: &[String]) -> impl Iterator<Item = &'static Case> {
    CASES.iter().filter(move |case| {
        filters.is_empty()
            || filters
                .iter()
                .any(|filter| case.name.contains(filter.as_str()))
    })
}

/// A case whose figure is the median of a round's samples.
const fn median(
    name: &'static str,
    title: &'static str,
    unit: Unit,
    pins: &'static [Pin],
    contenders: &'static [Contender],
) -> Case {
    Case {
        name,
        title,
        unit,
        percentile: 50.0,
        pins,
        contenders,
    }
}

/// A case whose figure is the 99th percentile of a round's samples.
const fn percentile_99(
    name: &'static str,
    title: &'static str,
    unit: Unit,
    pins: &'static [Pin],
    contenders: &'static [Contender],
) -> Case {
    Case {
        percentile: 99.0,
        ..median(name, title, unit, pins, contenders)
    }
}

const fn here(name: &'static str, run: fn() -> Vec<f64>) -> Contender {
    Contender {
        name,
        run: Run::Here(run),
    }
}

const fn python(name: &'static str, arguments: &'static [&'static str]) -> Contender {
    Contender {
        name,
        run: Run::Python {
            arguments,
            needs: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique() {
        let cases: HashSet<_> = CASES.iter().map(|case| case.name).collect();
        assert_eq!(cases.len(), CASES.len());
        for case in CASES {
            let names: HashSet<_> = case.contenders.iter().map(|one| one.name).collect();
            assert_eq!(names.len(), case.contenders.len(), "{}", case.name);
        }
    }

    #[test]
    fn pins_survive_the_command_line() {
        for pin in [Pin::OneCpu, Pin::None] {
            assert_eq!(Pin::parse(pin.argument()), Some(pin));
        }
    }
}
