//! A name occurs once: no type and no constant is defined in two files.
//!
//! Constants of a type (`Request::BYTES`) are told apart by the type, so only those of a module count.

use std::collections::{BTreeMap, BTreeSet};

use crate::Finding;
use crate::source::Source;
use crate::syntax::{first_word, without_tests, words};

/// Names that may be defined in more than one file, and why.
const ALLOWED: &[(&str, &str)] = &[];

/// The keywords before the name of a type.
const TYPES: &[&str] = &["struct", "enum", "union", "trait"];

/// The keywords before the name of a constant.
const CONSTANTS: &[&str] = &["const", "static"];

pub(crate) fn findings(sources: &[Source]) -> Vec<Finding> {
    let mut places: BTreeMap<String, BTreeSet<(&str, usize)>> = BTreeMap::new();
    for source in sources {
        for (name, at) in definitions(&without_tests(source)) {
            let place = (source.path.as_str(), source.line(at));
            places.entry(name).or_default().insert(place);
        }
    }
    let allowed = |name: &str| ALLOWED.iter().any(|(allowed, _)| *allowed == name);
    let twice = places.into_iter().filter(|(name, places)| {
        let files: BTreeSet<_> = places.iter().map(|(path, _)| path).collect();
        files.len() > 1 && !allowed(name)
    });
    twice
        .map(|(name, places)| finding(&name, &places))
        .collect()
}

fn finding(name: &str, places: &BTreeSet<(&str, usize)>) -> Finding {
    let shown: Vec<_> = places
        .iter()
        .map(|(path, line)| format!("{path}:{line}"))
        .collect();
    let first = places.iter().next().copied().unwrap_or_default();
    Finding {
        path: first.0.to_owned(),
        line: first.1,
        rule: "names",
        advice: format!(
            "`{name}` is defined in {}: give each its own name",
            shown.join(", ")
        ),
    }
}

/// The types and the constants that `code` defines, with their offsets.
fn definitions(code: &str) -> Vec<(String, usize)> {
    let named = |keyword: &'static str| {
        words(code, keyword).into_iter().filter_map(move |at| {
            let name = first_word(code[at + keyword.len()..].trim_start());
            (!name.is_empty()).then(|| (name.to_owned(), at))
        })
    };
    let is_type = |name: &str| name.starts_with(char::is_uppercase);
    let types = TYPES
        .iter()
        .flat_map(|keyword| named(keyword))
        .filter(|(name, at)| is_type(name) && starts_item(code, *at));
    let constants = CONSTANTS
        .iter()
        .flat_map(|keyword| named(keyword))
        .filter(|(name, at)| is_type(name) && starts_item(code, *at) && !is_indented(code, *at));
    types.chain(constants).collect()
}

/// Whether nothing but a visibility stands before the keyword at `at` in its line.
fn starts_item(code: &str, at: usize) -> bool {
    let before = line_before(code, at).trim();
    before.is_empty() || before == "pub" || (before.starts_with("pub(") && before.ends_with(')'))
}

fn is_indented(code: &str, at: usize) -> bool {
    line_before(code, at).starts_with(' ')
}

fn line_before(code: &str, at: usize) -> &str {
    let start = code[..at].rfind('\n').map_or(0, |end| end + 1);
    &code[start..at]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places;

    fn reported(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> = files
            .iter()
            .map(|(path, text)| Source::new(path, text))
            .collect();
        places(&findings(&sources))
    }

    #[test]
    fn type_or_constant_in_two_files_is_reported() {
        let first = ("src/a.rs", "\npub(crate) enum State { A }");
        assert_eq!(
            reported(&[first, ("src/b.rs", "struct State;")]),
            ["src/a.rs:2"]
        );
        let first = ("src/a.rs", "const LONG: usize = 1;");
        assert_eq!(
            reported(&[first, ("src/b.rs", "static LONG: u8 = 2;")]),
            ["src/a.rs:1"]
        );
    }

    #[test]
    fn associated_constants_functions_and_tests_are_fine() {
        let found = reported(&[
            (
                "src/a.rs",
                "impl A {\n    const LONG: u8 = 1;\n}\nconst fn f() {}",
            ),
            (
                "src/b.rs",
                "impl B {\n    const LONG: u8 = 1;\n}\nconst fn f() {}",
            ),
            ("src/c.rs", "#[cfg(test)]\nmod tests {\n    struct T;\n}"),
            (
                "src/d.rs",
                "#[cfg(test)]\nmod tests {\n    struct T;\n}\nfn g<const N: usize>(_: &'static A) {}",
            ),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn allowed_names_have_a_reason() {
        assert!(ALLOWED.iter().all(|(_, reason)| !reason.is_empty()));
    }
}
