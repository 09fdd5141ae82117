//! No file imports itself around a corner.
//!
//! The graph has a node for each file and an edge for each path through `crate`, `super` or `self` that leads to
//! another file. An item that a `mod.rs` re-exports belongs to the file that defines it, so re-exports are no edges.
//! Code that is only compiled for tests does not count.

use std::collections::{BTreeMap, BTreeSet};

use crate::Finding;
use crate::source::Source;
use crate::syntax::{end_of_item, first_word, paths, without_tests, words};

/// The imports of each file.
type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

pub(crate) fn findings(sources: &[Source]) -> Vec<Finding> {
    let files = Files::new(sources);
    let graph = files.graph();
    let circles = circles(&graph);
    circles.iter().map(|circle| finding(circle)).collect()
}

fn finding(circle: &BTreeSet<&str>) -> Finding {
    let names: Vec<_> = circle.iter().copied().collect();
    let advice = format!(
        "these files import each other: {}; move what both need down into a file of its own",
        names.join(", ")
    );
    Finding {
        path: names[0].to_owned(),
        line: 1,
        rule: "imports",
        advice,
    }
}

/// The files of the tree, by module path: `crate::pool::map` for `src/pool/map.rs`.
struct Files<'a> {
    by_module: BTreeMap<Vec<String>, File<'a>>,
}

struct File<'a> {
    path: &'a str,
    code: String,
    /// The names that a `mod.rs` re-exports, and the paths that lead to them, from its own module.
    exports: BTreeMap<String, Vec<String>>,
}

impl<'a> Files<'a> {
    fn new(sources: &'a [Source]) -> Self {
        let files = sources.iter().map(|source| {
            let code = without_tests(source);
            let file = File {
                path: &source.path,
                exports: exports(&code),
                code,
            };
            (module(&source.path), file)
        });
        Self {
            by_module: files.collect(),
        }
    }

    fn graph(&self) -> Graph<'a> {
        self.by_module
            .iter()
            .map(|(module, file)| (file.path, self.imports(module, file)))
            .collect()
    }

    fn imports(&self, module: &[String], file: &File<'a>) -> BTreeSet<&'a str> {
        let code = without_exports(&file.code);
        let roots = ["crate", "super", "self"].into_iter();
        let starts: Vec<_> = roots.flat_map(|root| words(&code, root)).collect();
        let starts = starts.into_iter().filter(|&at| !code[..at].ends_with("::"));
        let paths = starts.flat_map(|at| paths(&code[at..]));
        // `crate` alone is a visibility, `self` alone a value.
        paths
            .filter(|path| path.len() > 1)
            .filter_map(|path| absolute(module, &path))
            .filter_map(|path| self.file_of(&path, 0))
            .filter(|target| *target != file.path)
            .collect()
    }

    /// The file that defines the item at the absolute path `path`.
    fn file_of(&self, path: &[String], depth: usize) -> Option<&'a str> {
        let known = (1..=path.len())
            .rev()
            .find(|&len| self.by_module.contains_key(&path[..len]))?;
        let file = &self.by_module[&path[..known]];
        let exported = path.get(known).and_then(|name| file.exports.get(name));
        match exported {
            // A re-export of a re-export is followed a few times.
            Some(to) if depth < 4 => {
                let target = absolute(
                    &path[..known],
                    &to.iter().map(String::as_str).collect::<Vec<_>>(),
                )?;
                self.file_of(&target, depth + 1)
            }
            _ => Some(file.path),
        }
    }
}

/// The module path of a file.
fn module(path: &str) -> Vec<String> {
    let (root, rest) = path.split_once("src/").unwrap_or(("", path));
    let stem = rest.trim_end_matches(".rs");
    let stem = stem.trim_end_matches("mod").trim_end_matches('/');
    let parts = stem
        .split('/')
        .filter(|part| !part.is_empty() && *part != "lib");
    let root = format!("{root}crate");
    std::iter::once(root)
        .chain(parts.map(str::to_owned))
        .collect()
}

/// `path` as it stands in the module `home`, from the root of the crate.
fn absolute(home: &[String], path: &[&str]) -> Option<Vec<String>> {
    let mut base = home.to_vec();
    let mut rest = path;
    match *path.first()? {
        "crate" => {
            base.truncate(1);
            rest = &path[1..];
        }
        "self" => rest = &path[1..],
        _ => {}
    }
    while let Some((&"super", after)) = rest.split_first() {
        base.pop()?;
        rest = after;
    }
    base.extend(rest.iter().map(|part| (*part).to_owned()));
    Some(base)
}

/// The names that `pub use` statements show, with the paths they lead to.
fn exports(code: &str) -> BTreeMap<String, Vec<String>> {
    let mut exports = BTreeMap::new();
    for (start, end) in export_statements(code) {
        let item = &code[start..end];
        let Some(at) = words(item, "use").first().copied() else {
            continue;
        };
        for path in paths(&item[at + "use".len()..]) {
            if let Some(name) = path.last() {
                let path = path.iter().map(|part| (*part).to_owned()).collect();
                exports.insert((*name).to_owned(), path);
            }
        }
    }
    exports
}

/// The code, in which the `pub use` statements are blank.
fn without_exports(code: &str) -> String {
    let mut left = code.to_owned();
    for (start, end) in export_statements(code) {
        left.replace_range(start..end, &" ".repeat(end - start));
    }
    left
}

/// Where the `pub use` statements are.
fn export_statements(code: &str) -> Vec<(usize, usize)> {
    words(code, "use")
        .into_iter()
        .filter_map(|at| {
            let before = &code[..at];
            let line = before.rfind('\n').map_or(0, |end| end + 1);
            let visible = first_word(before[line..].trim_start()) == "pub";
            // The first brace of `use a::{b};` ends an item for `end_of_item`, so the semicolon is looked for.
            let end = end_of_item(code, at);
            let end = code[at..]
                .find(';')
                .map_or(end, |semicolon| at + semicolon + 1);
            visible.then_some((line, end))
        })
        .collect()
}

/// The sets of files that lead to each other.
fn circles<'a>(graph: &Graph<'a>) -> Vec<BTreeSet<&'a str>> {
    let reached: BTreeMap<_, _> = graph
        .keys()
        .map(|file| (*file, reachable(graph, file)))
        .collect();
    let mut circles = BTreeSet::new();
    for (file, others) in &reached {
        let circle: BTreeSet<_> = others
            .iter()
            .copied()
            .filter(|other| reached.get(other).is_some_and(|back| back.contains(file)))
            .collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

/// The files that `start` leads to.
fn reachable<'a>(graph: &Graph<'a>, start: &'a str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<_> = graph.get(start).into_iter().flatten().copied().collect();
    while let Some(file) = next.pop() {
        if seen.insert(file) {
            next.extend(graph.get(file).into_iter().flatten());
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> = files
            .iter()
            .map(|(path, text)| Source::new(path, text))
            .collect();
        findings(&sources)
            .into_iter()
            .map(|finding| finding.advice)
            .collect()
    }

    #[test]
    fn files_that_import_each_other_are_reported() {
        let found = circles_of(&[
            ("src/a/b.rs", "use super::c::C;"),
            ("src/a/c.rs", "fn f() { crate::a::b::g() }"),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("src/a/b.rs, src/a/c.rs"), "{found:?}");
    }

    #[test]
    fn circle_through_three_files_is_reported_once() {
        let found = circles_of(&[
            ("src/a.rs", "use crate::b::B;"),
            ("src/b.rs", "use crate::{\n    c::{C, D},\n    e,\n};"),
            ("src/c.rs", "use crate::a;"),
            ("src/e.rs", ""),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn re_exports_lead_to_the_file_that_defines_the_item() {
        let files = |user: &'static str| {
            [
                (
                    "src/a/mod.rs",
                    "mod b;\nmod c;\npub(crate) use b::{B, One as Two};\npub use c::C;",
                ),
                ("src/a/b.rs", user),
                ("src/a/c.rs", "use crate::a::B;"),
            ]
        };
        assert_eq!(circles_of(&files("use super::C;")).len(), 1);
        assert!(circles_of(&files("fn f() {}")).is_empty());
    }

    #[test]
    fn tests_and_imports_in_one_direction_are_fine() {
        let found = circles_of(&[
            (
                "src/a.rs",
                "use crate::b::B;\n#[cfg(test)]\nmod tests { use crate::c; }",
            ),
            ("src/b.rs", "use crate::c::C;"),
            ("src/c.rs", "#[cfg(test)]\nmod tests { use crate::a::A; }"),
            ("macros/src/a.rs", "use crate::b::B;"),
            ("macros/src/b.rs", ""),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }
}
