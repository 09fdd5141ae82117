//! One file names the types by which the async runtime waits for descriptors.
//!
//! All else waits through it, so that a change of runtime, and a test without one, has one place.

use crate::Finding;
use crate::source::Source;
use crate::syntax::{paths, without_tests, words};

/// Who may name them.
const ROOM: &[&str] = &["src/sys/reactor.rs"];

/// The modules of Tokio they come from.
const MODULES: &[&[&str]] = &[&["tokio", "net"], &["tokio", "io", "unix"]];

/// The type that is one of them by whatever path.
const TYPE: &str = "AsyncFd";

pub(crate) fn findings(sources: &[Source]) -> Vec<Finding> {
    let others = sources
        .iter()
        .filter(|source| !ROOM.contains(&source.path.as_str()));
    others.flat_map(of_source).collect()
}

fn of_source(source: &Source) -> Vec<Finding> {
    let code = without_tests(source);
    let imported = words(&code, "tokio")
        .into_iter()
        .filter(|at| is_reactor(&code[*at..]));
    let mut places: Vec<_> = imported.chain(words(&code, TYPE)).collect();
    places.sort_unstable();
    // An import of the type is found by its path and by its name.
    places.dedup_by_key(|at| source.line(*at));
    places.into_iter().map(|at| finding(source, at)).collect()
}

fn is_reactor(code: &str) -> bool {
    paths(code)
        .iter()
        .any(|path| MODULES.iter().any(|module| path.starts_with(module)))
}

fn finding(source: &Source, offset: usize) -> Finding {
    Finding {
        path: source.path.clone(),
        line: source.line(offset),
        rule: "reactor",
        advice: format!(
            "only {} waits for descriptors: use what it offers",
            ROOM.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places;

    fn reported(path: &str, text: &str) -> Vec<String> {
        places(&findings(&[Source::new(path, text)]))
    }

    #[test]
    fn another_file_is_reported() {
        assert_eq!(
            reported("src/a.rs", "\nuse tokio::io::unix::AsyncFd;"),
            ["src/a.rs:2"]
        );
        assert_eq!(
            reported("src/a.rs", "use tokio::{io, net::UnixStream};"),
            ["src/a.rs:1"]
        );
        assert_eq!(
            reported("src/a.rs", "use tokio::io::{self, unix};"),
            ["src/a.rs:1"]
        );
        assert_eq!(
            reported("src/a.rs", "fn f(a: tokio::net::UnixStream) {}"),
            ["src/a.rs:1"]
        );
        assert_eq!(
            reported("src/a.rs", "struct S(AsyncFd<Bell>);"),
            ["src/a.rs:1"]
        );
    }

    #[test]
    fn its_room_and_the_rest_of_tokio_are_fine() {
        assert!(reported(ROOM[0], "use tokio::io::unix::AsyncFd;").is_empty());
        assert!(reported("src/a.rs", "use tokio::io::AsyncRead;\nuse tokio::time;").is_empty());
        assert!(reported("src/a.rs", "use std::net::TcpStream;").is_empty());
    }

    #[test]
    fn tests_may_name_it() {
        assert!(reported("src/a.rs", "#[cfg(test)]\nmod tests { use tokio::net; }").is_empty());
    }
}
