//! ARCHITECTURE.md is short enough to be read, and true: each `file.rs: function` that it names is there.

use std::fs;
use std::path::Path;

use crate::Finding;

const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// In lines: the picture, the journeys, the code map, the invariants and the glossary fit.
const LONGEST: usize = 150;

pub(crate) fn findings(package: &Path) -> Vec<Finding> {
    let Ok(text) = fs::read_to_string(package.join(ARCHITECTURE)) else {
        return vec![finding(1, "it is missing".to_owned())];
    };
    let read = |path: &str| fs::read_to_string(package.join("src").join(path)).ok();
    length(&text)
        .into_iter()
        .chain(places(&text, read))
        .collect()
}

fn length(text: &str) -> Option<Finding> {
    let length = text.lines().count();
    let advice = format!("{length} lines, more than {LONGEST}: leave details to the modules");
    (length > LONGEST).then(|| finding(length, advice))
}

/// The files and functions that the text names and `read`, which gives the text of a file in `src`, does not find.
fn places(text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let quoted = line.split('`').skip(1).step_by(2);
        for (path, name) in quoted.filter_map(place) {
            let advice = match (read(path), name) {
                (None, _) => format!("there is no src/{path}"),
                (Some(code), Some(name)) if !defines(&code, name) => {
                    format!("src/{path} defines no `{name}`")
                }
                _ => continue,
            };
            findings.push(finding(number + 1, advice));
        }
    }
    findings
}

/// The parts of `path/file.rs` or `path/file.rs: Type::function`.
fn place(quoted: &str) -> Option<(&str, Option<&str>)> {
    let (path, name) = match quoted.split_once(": ") {
        Some((path, name)) => (path, Some(name)),
        None => (quoted, None),
    };
    let path = path.strip_prefix("src/").unwrap_or(path);
    let is_file = path.ends_with(".rs") && !path.contains('*');
    is_file.then(|| (path, name.and_then(|name| name.rsplit("::").next())))
}

fn defines(code: &str, name: &str) -> bool {
    let name = name.split('<').next().unwrap_or(name);
    ["fn", "struct", "enum", "trait"].iter().any(|keyword| {
        let definition = format!("{keyword} {name}");
        code.match_indices(&definition).any(|(at, found)| {
            !code[at + found.len()..].starts_with(|c: char| c == '_' || c.is_alphanumeric())
        })
    })
}

fn finding(line: usize, advice: String) -> Finding {
    Finding {
        path: ARCHITECTURE.to_owned(),
        line,
        rule: "documents",
        advice,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_reported() {
        assert!(length(&"A line.\n".repeat(LONGEST + 1)).is_some());
        assert!(length(&"A line.\n".repeat(LONGEST)).is_none());
    }

    #[test]
    fn a_file_or_function_that_is_not_there_is_reported() {
        let read = |path: &str| {
            (path == "a/b.rs").then(|| "pub(crate) fn go() {}\nstruct C<T>(T);".to_owned())
        };
        let text = "`a/b.rs: go`, `a/b.rs: C<T>`, `src/a/b.rs`, `b`, `a/*.rs`";
        assert!(places(text, read).is_empty());
        let text = "`a/c.rs`\n`a/b.rs: went`\n`a/b.rs: g`\n`a/b.rs: C::gone`";
        let lines: Vec<_> = places(text, read)
            .iter()
            .map(|finding| finding.line)
            .collect();
        assert_eq!(lines, [1, 2, 3, 4]);
    }
}
