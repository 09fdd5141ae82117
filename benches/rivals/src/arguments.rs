//! The command line: what a person types, and how a contender's process is told which it is.

use crate::cases::Pin;

/// Rounds unless told otherwise: enough for a median with a range around it.
const ROUNDS: usize = 5;
/// Rounds of `--quick`: the least that shows a range at all.
const QUICK_ROUNDS: usize = 2;

const USAGE: &str = "\
usage: procession-rivals [--quick | --rounds N] [FILTER ...]   cases whose name contains a FILTER
       procession-rivals --list                                names of cases and contenders";

/// What this process is to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Arguments {
    /// Run the chosen cases and print the tables.
    Compete { filters: Vec<String>, rounds: usize },
    /// Be one contender of one case, once.
    Contend {
        case: String,
        contender: String,
        pin: Pin,
    },
    /// Say what there is.
    List,
}

impl Arguments {
    /// Reads the command line, without the program's name; the error is what to tell the person.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut arguments = arguments;
        let mut filters = Vec::new();
        let mut rounds = ROUNDS;
        let (mut case, mut contender, mut pin) = (None, None, Pin::None);
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or(format!("{argument} wants a value\n{USAGE}"))
            };
            match argument.as_str() {
                "--quick" => rounds = QUICK_ROUNDS,
                "--rounds" => rounds = positive(&value()?)?,
                "--list" => return Ok(Arguments::List),
                "--case" => case = Some(value()?),
                "--contender" => contender = Some(value()?),
                "--pin" => pin = Pin::parse(&value()?).ok_or("--pin is 0 or none")?,
                other if other.starts_with('-') => return Err(USAGE.to_owned()),
                _ => filters.push(argument),
            }
        }
        match (case, contender) {
            (Some(case), Some(contender)) => Ok(Arguments::Contend {
                case,
                contender,
                pin,
            }),
            (None, None) => Ok(Arguments::Compete { filters, rounds }),
            _ => Err("--case and --contender belong together".to_owned()),
        }
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("--rounds wants a positive number, not {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn filters_and_rounds() {
        let filters = vec!["map".to_owned(), "timer".to_owned()];
        assert_eq!(
            parse("map --quick timer"),
            Ok(Arguments::Compete {
                filters,
                rounds: QUICK_ROUNDS
            })
        );
        assert!(parse("--rounds 0").is_err());
        assert!(parse("--rounds").is_err());
        assert!(parse("--nonsense").is_err());
    }

    #[test]
    fn a_contender_is_told_all_three() {
        let expected = Arguments::Contend {
            case: "timer".to_owned(),
            contender: "procspawn".to_owned(),
            pin: Pin::OneCpu,
        };
        assert_eq!(
            parse("--case timer --contender procspawn --pin 0"),
            Ok(expected)
        );
        assert!(parse("--case timer").is_err());
    }
}
