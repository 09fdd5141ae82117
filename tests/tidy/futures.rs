//! What can be awaited says what happens when it is not awaited to its end.
//!
//! A public `async fn`, a public function that returns a future, and a public type that is one have
//! a `# Cancel safety` heading in their documentation.

use std::iter;

use crate::Finding;
use crate::source::{Source, has_heading};
use crate::syntax::{Function, first_word, functions, has_word, without_tests, words};

const HEADING: &str = "Cancel safety";

pub(crate) fn findings(sources: &[Source]) -> Vec<Finding> {
    let of_functions = sources.iter().flat_map(of_functions);
    let of_types = sources.iter().flat_map(|source| of_types(source, sources));
    of_functions.chain(of_types).collect()
}

fn of_functions(source: &Source) -> Vec<Finding> {
    let code = without_tests(source);
    functions(source)
        .iter()
        .filter(|function| has_word(&code[function.offset..][..2], "fn"))
        .filter(|function| is_public(function.modifiers) && is_future(function))
        .filter_map(|function| finding(source, function.offset, function.name))
        .collect()
}

/// The public types that `source` makes futures of, where they are declared: here, if possible.
fn of_types(source: &Source, sources: &[Source]) -> Vec<Finding> {
    let code = without_tests(source);
    let subjects = ["Future", "IntoFuture"].into_iter().flat_map(|name| {
        let places = words(&code, name).into_iter();
        places.filter_map(|at| subject(&code[at + name.len()..]))
    });
    let declared = |name| {
        let mut files = iter::once(source).chain(sources);
        files.find_map(|file| Some((file, declaration(file, name)?, name)))
    };
    let declared = subjects.filter_map(declared);
    declared
        .filter_map(|(file, at, name)| finding(file, at, name))
        .collect()
}

/// The type in ` for Type<…> {`, which follows the trait's name where it is implemented.
fn subject(code: &str) -> Option<&str> {
    let implemented = code
        .trim_start()
        .strip_prefix("for ")?
        .split(['<', '{', '\n'])
        .next()?;
    let name = implemented.trim().rsplit("::").next()?;
    (first_word(name) == name && !name.is_empty()).then_some(name)
}

/// Where `source` declares the public type `name`.
fn declaration(source: &Source, name: &str) -> Option<usize> {
    ["pub struct ", "pub enum "].into_iter().find_map(|kind| {
        let mut places = source.code.match_indices(kind).map(|(at, _)| at);
        places.find(|at| first_word(&source.code[at + kind.len()..]) == name)
    })
}

fn is_public(modifiers: &str) -> bool {
    first_word(modifiers) == "pub" && !modifiers["pub".len()..].trim_start().starts_with('(')
}

fn is_future(function: &Function<'_>) -> bool {
    let of_trait = |kind| has_word(function.returns, kind) && has_word(function.returns, "Future");
    has_word(function.modifiers, "async") || of_trait("impl") || of_trait("dyn")
}

fn finding(source: &Source, offset: usize, name: &str) -> Option<Finding> {
    let explained = has_heading(&source.doc(offset), HEADING);
    (!explained).then(|| Finding {
        path: source.path.clone(),
        line: source.line(offset),
        rule: "futures",
        advice: format!(
            "`{name}` can be awaited: say under `/// # {HEADING}` what dropping it early does"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places;

    fn reported(text: &str) -> Vec<String> {
        places(&findings(&[Source::new("a.rs", text)]))
    }

    #[test]
    fn functions_without_the_heading_are_reported() {
        assert_eq!(reported("/// Runs.\npub async fn run() {}"), ["a.rs:2"]);
        assert_eq!(
            reported("pub fn run(&self)\n    -> impl Send + Future<Output = ()> {}"),
            ["a.rs:1"]
        );
        assert_eq!(
            reported("pub fn run() -> Pin<Box<dyn Future<Output = ()>>> {}"),
            ["a.rs:1"]
        );
        assert_eq!(
            reported("/// # Cancel safety\nfn other() {}\npub async fn run() {}"),
            ["a.rs:3"]
        );
        assert_eq!(
            reported("impl P {\n    pub async unsafe fn run() {}\n}"),
            ["a.rs:2"]
        );
    }

    #[test]
    fn functions_with_the_heading_are_fine() {
        let text = "/// Runs.\n///\n/// # Cancel safety\n///\n/// It is.\n#[inline]\npub async fn run() {}";
        assert!(reported(text).is_empty());
    }

    #[test]
    fn functions_that_no_user_awaits_are_fine() {
        assert!(reported("pub(crate) async fn run() {}").is_empty());
        assert!(reported("async fn run() {}").is_empty());
        assert!(reported("pub fn run(f: impl Future<Output = ()>) -> u8 {}").is_empty());
        assert!(reported("#[cfg(test)]\nmod tests {\n    pub async fn run() {}\n}").is_empty());
        assert!(reported("// pub async fn run() {}").is_empty());
    }

    #[test]
    fn types_are_reported_where_they_are_declared() {
        let implemented = "impl<T> Future for Run<T> {\n}\nimpl IntoFuture for crate::Map {}";
        let declared = "/// A run.\npub struct Run<T>(T);\npub enum Map {}";
        let files = [
            Source::new("a.rs", implemented),
            Source::new("b.rs", declared),
        ];
        assert_eq!(places(&findings(&files)), ["b.rs:2", "b.rs:3"]);
    }

    #[test]
    fn types_with_the_heading_or_private_are_fine() {
        assert!(
            reported("/// # Cancel safety\npub struct Run;\nimpl Future for Run {}").is_empty()
        );
        assert!(reported("pub(crate) struct Run;\nimpl Future for Run {}").is_empty());
        assert!(reported("pub struct Run;\nimpl Clone for Run {}").is_empty());
    }
}
