//! Unsafe code stays in its room, and each file with unsafe code says why it is sound.

use crate::Finding;
use crate::source::{Source, has_heading};
use crate::syntax::{attributes, has_word, words};

/// Where unsafe code may be: where the kernel is called.
const ROOMS: &[&str] = &["src/sys"];

/// The heading of the module documentation under which a file of a room explains itself.
const HEADING: &str = "Safety";

pub(crate) fn findings(sources: &[Source]) -> Vec<Finding> {
    sources.iter().flat_map(of_source).collect()
}

fn of_source(source: &Source) -> Vec<Finding> {
    let keywords = words(&source.code, "unsafe");
    let permits = attributes(&source.code)
        .into_iter()
        .filter(|(_, attribute)| permits(attribute))
        .map(|(at, _)| at);
    if !is_room(&source.path) {
        let advice = "unsafe code outside src/sys: give src/sys a safe function for it";
        let places = keywords.into_iter().chain(permits);
        return places
            .map(|at| finding(source, at, advice.to_owned()))
            .collect();
    }
    let explained = has_heading(&source.module_doc(), HEADING);
    let unexplained = keywords.first().filter(|_| !explained);
    let advice = format!("unsafe code without a heading `# {HEADING}` in the file's `//!` text");
    unexplained
        .map(|&at| finding(source, at, advice))
        .into_iter()
        .collect()
}

fn is_room(path: &str) -> bool {
    ROOMS.iter().any(|room| {
        let rest = path.strip_prefix(room).unwrap_or_default();
        rest.starts_with('/') || rest == ".rs"
    })
}

/// Whether an attribute lifts the ban on unsafe code.
fn permits(attribute: &str) -> bool {
    let lifts = ["allow", "expect", "warn"]
        .iter()
        .any(|level| has_word(attribute, level));
    lifts && has_word(attribute, "unsafe_code")
}

fn finding(source: &Source, offset: usize, advice: String) -> Finding {
    let line = source.line(offset);
    Finding {
        path: source.path.clone(),
        line,
        rule: "rooms",
        advice,
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
    fn unsafe_code_outside_is_reported() {
        assert_eq!(
            reported("src/pool.rs", "fn f() {\n    unsafe { g() }\n}"),
            ["src/pool.rs:2"]
        );
        assert_eq!(
            reported("src/task/a.rs", "#[unsafe(no_mangle)]"),
            ["src/task/a.rs:1"]
        );
        assert_eq!(
            reported("src/system.rs", "unsafe impl Send for S {}"),
            ["src/system.rs:1"]
        );
    }

    #[test]
    fn permits_outside_are_reported() {
        assert_eq!(
            reported("src/pool.rs", "#![allow(unsafe_code)]"),
            ["src/pool.rs:1"]
        );
        assert_eq!(
            reported("src/pool.rs", "#[expect(\n unsafe_code)]"),
            ["src/pool.rs:1"]
        );
        assert_eq!(
            reported("src/lib.rs", "#[cfg_attr(x, warn(unsafe_code))]"),
            ["src/lib.rs:1"]
        );
        assert!(reported("src/lib.rs", "#![deny(unsafe_code)]").is_empty());
    }

    #[test]
    fn words_that_are_not_code_are_fine() {
        let text = "// unsafe\nconst A: &str = \"unsafe\"; // allow(unsafe_code)";
        assert!(reported("src/pool.rs", text).is_empty());
    }

    #[test]
    fn rooms_explain_themselves() {
        let bare = "//! A mapping.\nfn f() { unsafe { g() } }";
        assert_eq!(reported("src/sys/memory.rs", bare), ["src/sys/memory.rs:2"]);
        assert_eq!(reported("src/sys.rs", bare), ["src/sys.rs:2"]);
        let explained = bare.replace(
            "mapping.",
            "mapping.\n//!\n//! # Safety\n//!\n//! It is ours.",
        );
        assert!(reported("src/sys/memory.rs", &explained).is_empty());
        assert!(reported("src/sys/clock.rs", "fn f() {}").is_empty());
    }
}
