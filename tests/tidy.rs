//! The shape of the code, as far as a program can check it.
//!
//! Each rule is a module with its reason, its limits as constants at the top, and tests of what it
//! reports. This file applies the rules to the tree. A finding names the place, the rule and the mend.
//! An exception is allowed by an edit of the rule's constants, beside a reason.
//!
//! Nothing here understands Rust: `source` blanks comments and literals, and the rules look at
//! words, braces and paths. That is enough for code that rustfmt has formatted.

use std::fmt;
use std::path::Path;

use crate::source::Source;

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/front.rs"]
mod front;
#[path = "tidy/futures.rs"]
mod futures;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/reactor.rs"]
mod reactor;
#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/sizes.rs"]
mod sizes;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/syntax.rs"]
mod syntax;

/// A place that breaks a rule.
#[derive(Debug)]
struct Finding {
    path: String,
    line: usize,
    rule: &'static str,
    advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            line,
            rule,
            advice,
        } = self;
        write!(f, "{path}:{line}: {rule}: {advice}")
    }
}

#[track_caller]
fn assert_tidy(findings: &[Finding]) {
    let lines: Vec<_> = findings.iter().map(Finding::to_string).collect();
    assert!(
        lines.is_empty(),
        "{} findings\n{}",
        lines.len(),
        lines.join("\n")
    );
}

/// The findings of a rule about samples, as `path:line`, for the rules' own tests.
fn places(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|finding| format!("{}:{}", finding.path, finding.line))
        .collect()
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The crate's own files.
fn sources() -> Vec<Source> {
    let sources = Source::below(package(), "src");
    assert!(!sources.is_empty(), "there is nothing in src/ to check");
    sources
}

/// The crate's own files and those of its attributes.
fn all_sources() -> Vec<Source> {
    let mut sources = sources();
    // The published package, which is checked too, does not contain these.
    sources.extend(Source::below(package(), "macros/src"));
    sources
}

#[test]
fn imports_point_down() {
    assert_tidy(&layers::findings(&sources()));
}

#[test]
fn no_file_imports_itself_around_a_corner() {
    assert_tidy(&imports::findings(&all_sources()));
}

#[test]
fn no_type_or_constant_is_defined_in_two_files() {
    assert_tidy(&names::findings(&all_sources()));
}

#[test]
fn unsafe_code_stays_in_its_rooms() {
    assert_tidy(&rooms::findings(&sources()));
}

#[test]
fn public_futures_say_whether_they_are_cancel_safe() {
    assert_tidy(&futures::findings(&sources()));
}

#[test]
fn files_and_functions_are_short() {
    assert_tidy(&sizes::findings(&all_sources()));
}

#[test]
fn one_file_names_the_reactor() {
    assert_tidy(&reactor::findings(&sources()));
}

#[test]
fn the_front_page_has_no_logic() {
    assert_tidy(&front::findings(&sources()));
}

#[test]
fn the_architecture_is_told_briefly() {
    assert_tidy(&documents::findings(package()));
}
