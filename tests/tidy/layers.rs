//! Imports point down.
//!
//! A module may use the layers below its own. Its uses of its own layer are listed
//! in `SIDEWAYS` with the reason. `lib.rs` shows modules of all layers, so it is exempt.

use std::collections::BTreeSet;

use crate::Finding;
use crate::source::Source;
use crate::syntax::{first_word, offset_of, paths, words};

/// The layers, from the bottom to the top.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Layer {
    /// The kernel's interface, and the ring and the lock in shared memory.
    Kernel,
    /// Values as bytes, with descriptors beside them.
    Codec,
    /// What a process tells another beside the rings, and what an awaited outcome is.
    Transfer,
    /// What can be called.
    Task,
    /// One call, and one channel: both ends.
    Call,
    /// Each side of a process, and the schedule.
    Work,
    /// How a program enters them.
    Entry,
    /// What users name.
    Faces,
    /// What is made of faces: a value behind a pool of one worker, a queue and pipes.
    Compositions,
}

/// Each top-level module and its layer.
const MODULES: &[(&str, Layer)] = &[
    ("managed", Layer::Compositions),
    ("process", Layer::Faces),
    ("pool", Layer::Faces),
    ("queue", Layer::Faces),
    ("pipe", Layer::Faces),
    ("sync", Layer::Faces),
    ("memory", Layer::Faces),
    ("init", Layer::Entry),
    // What the fuzz targets call, of every layer below.
    ("fuzzing", Layer::Entry),
    ("spawn", Layer::Work),
    ("child", Layer::Work),
    ("schedule", Layer::Work),
    ("call", Layer::Call),
    ("channel", Layer::Call),
    ("task", Layer::Task),
    ("error", Layer::Transfer),
    ("abort", Layer::Transfer),
    ("transfer", Layer::Transfer),
    ("codec", Layer::Codec),
    ("lock", Layer::Kernel),
    ("ring", Layer::Kernel),
    ("sys", Layer::Kernel),
    ("threads", Layer::Kernel),
    ("own_runtime", Layer::Kernel),
    ("background", Layer::Transfer),
];

/// Which module may use which in its own layer, and why. Never in both directions.
///
/// `spawn` and `child` are not here: what the two sides share is data, in `transfer` and `call`. Neither is
/// `schedule`: a decision performs nothing. Neither is a face to a face: what two of them need belongs below both.
const SIDEWAYS: &[(&str, &str, &str)] = &[
    (
        "ring",
        "sys",
        "a ring lives in a mapping, which is the kernel's",
    ),
    (
        "lock",
        "sys",
        "the kernel says whether the owner of a lock exists",
    ),
    (
        "own_runtime",
        "sys",
        "what is polled on its thread is registered with it",
    ),
];

pub(crate) fn findings(sources: &[Source]) -> Vec<Finding> {
    sources
        .iter()
        .filter(|source| source.path != "src/lib.rs")
        .flat_map(of_source)
        .collect()
}

fn of_source(source: &Source) -> Vec<Finding> {
    let home = home(&source.path);
    if layer(home).is_none() {
        return vec![finding(source, 0, unknown(home))];
    }
    let code = &source.code;
    let through_root = words(code, "crate").into_iter().flat_map(|at| {
        let objections = uses(&code[at..]).into_iter().filter_map(|used| {
            let advice = objection(home, used)?;
            Some(finding(source, offset_of(used, code), advice))
        });
        objections.collect::<Vec<_>>()
    });
    let through_parents = words(code, "super").into_iter().filter_map(|at| {
        let advice = "this `super` is the crate's root: write `crate::…`, so that the layer shows";
        reaches_root(source, at).then(|| finding(source, at, advice.to_owned()))
    });
    through_root.chain(through_parents).collect()
}

/// The top-level modules that the path or paths at a `crate` go through.
fn uses(code: &str) -> BTreeSet<&str> {
    let (root, rest) = code.split_at("crate".len());
    if rest.trim_start().starts_with("as ") {
        return BTreeSet::from([root]);
    }
    let paths = paths(code).into_iter();
    paths.filter_map(|path| path.get(1).copied()).collect()
}

/// The objection to `home` using `used`, if there is one.
fn objection(home: &str, used: &str) -> Option<String> {
    if home == used {
        return None;
    }
    if matches!(used, "*" | "self" | "crate") {
        return Some("the root as a whole hides the layers: name the module".to_owned());
    }
    let (Some(from), Some(to)) = (layer(home), layer(used)) else {
        return Some(unknown(used));
    };
    if to > from {
        return Some(format!(
            "`{home}` ({from:?}) may not use `{used}` ({to:?}) above it: \
             move what both need down to the layer that owns it"
        ));
    }
    let listed = SIDEWAYS
        .iter()
        .any(|&(user, target, _)| (user, target) == (home, used));
    (to == from && !listed).then(|| {
        format!(
            "`{home}` and `{used}` are both in {to:?}: move what both need down, \
             or list the pair with its reason in SIDEWAYS of tests/tidy/layers.rs"
        )
    })
}

fn unknown(module: &str) -> String {
    format!(
        "`{module}` is no module in the table: name the module that owns it rather than the root, \
         or add it to MODULES of tests/tidy/layers.rs"
    )
}

fn layer(module: &str) -> Option<Layer> {
    MODULES
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, layer)| *layer)
}

/// The top-level module that a file belongs to: `pool` for `src/pool.rs` and `src/pool/map.rs`.
fn home(path: &str) -> &str {
    first_word(path.trim_start_matches("src/"))
}

/// Whether a path through the `super` at `offset` goes up as far as the crate's root there.
fn reaches_root(source: &Source, offset: usize) -> bool {
    let is_path = source.code[offset + "super".len()..]
        .trim_start()
        .starts_with("::");
    if !is_path {
        return false;
    }
    let mut steps = 1;
    let mut before = source.code[..offset].trim_end();
    while let Some(rest) = before
        .strip_suffix("::")
        .and_then(|path| path.trim_end().strip_suffix("super"))
    {
        steps += 1;
        before = rest.trim_end();
    }
    let path = source
        .path
        .trim_start_matches("src/")
        .trim_end_matches("/mod.rs");
    let depth = path.split('/').count() + modules_around(&source.code[..offset]);
    steps >= depth
}

/// How many modules written in the file are open at the end of `code`.
fn modules_around(code: &str) -> usize {
    let mut open = Vec::new();
    let mut head = 0;
    for (at, character) in code.char_indices() {
        match character {
            '{' => open.push(!words(&code[head..at], "mod").is_empty()),
            '}' => {
                open.pop();
            }
            _ => {}
        }
        if matches!(character, '{' | '}' | ';') {
            head = at;
        }
    }
    open.into_iter().filter(|is_module| *is_module).count()
}

fn finding(source: &Source, offset: usize, advice: String) -> Finding {
    let line = source.line(offset);
    Finding {
        path: source.path.clone(),
        line,
        rule: "layers",
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
    fn an_upward_import_is_reported() {
        assert_eq!(
            reported("src/task.rs", "\nuse crate::pool::Pool;"),
            ["src/task.rs:2"]
        );
        let group = "use crate::{\n    codec::Frame,\n    spawn::{self, Worker},\n};";
        assert_eq!(
            reported("src/task/setup.rs", group),
            ["src/task/setup.rs:3"]
        );
        let inline = "fn f() {\n    crate::queue::send();\n}";
        assert_eq!(reported("src/sys/mod.rs", inline), ["src/sys/mod.rs:2"]);
        let up = reported("src/codec.rs", "use crate::error::JoinError;");
        assert_eq!(up.len(), 1);
        let in_macro = "macro_rules! m { () => { $crate::task::f() } }";
        assert_eq!(reported("src/sys.rs", in_macro).len(), 1);
    }

    #[test]
    fn a_downward_import_is_fine() {
        let text = "use crate::{abort::AbortHandle, sys, error::JoinError, pool::map::Map};";
        assert!(reported("src/pool/mod.rs", text).is_empty());
        let text = "// crate::pool\npub(crate) use crate::error::E;";
        assert!(reported("src/task.rs", text).is_empty());
        assert!(reported("src/init.rs", "use crate::{task, child};").is_empty());
        assert!(reported("src/lib.rs", "pub use crate::pool::Pool;").is_empty());
    }

    #[test]
    fn an_unlisted_import_sideways_is_reported() {
        for (path, text) in [
            ("src/spawn.rs", "use crate::schedule::Event;"),
            ("src/spawn/link.rs", "use crate::child::role;"),
            ("src/child/role.rs", "use crate::spawn::launch;"),
            ("src/pool.rs", "use crate::process::Builder;"),
            ("src/sys.rs", "use crate::ring::Ring;"),
        ] {
            assert_eq!(reported(path, text), [format!("{path}:1")]);
        }
        assert!(reported("src/ring.rs", "use crate::sys::memory;").is_empty());
    }

    #[test]
    fn what_is_not_in_the_table_is_reported() {
        assert_eq!(reported("src/misc.rs", ""), ["src/misc.rs:1"]);
        assert_eq!(
            reported("src/pool.rs", "use crate::JoinError;"),
            ["src/pool.rs:1"]
        );
        assert_eq!(reported("src/pool.rs", "use crate::*;"), ["src/pool.rs:1"]);
        assert_eq!(
            reported("src/pool.rs", "use crate as root;"),
            ["src/pool.rs:1"]
        );
    }

    #[test]
    fn parents_do_not_hide_the_root() {
        assert_eq!(reported("src/task.rs", "use super::pool::Pool;").len(), 1);
        assert_eq!(
            reported("src/task/mod.rs", "use super::pool::Pool;").len(),
            1
        );
        assert_eq!(
            reported("src/task/a.rs", "use super::super::pool::Pool;").len(),
            1
        );
        assert!(reported("src/task/a.rs", "use super::b::B;").is_empty());
        assert!(reported("src/task.rs", "pub(super) fn f() {}").is_empty());
        let tests = "fn f() {}\n#[cfg(test)]\nmod tests {\n    use super::*;\n}";
        assert!(reported("src/task.rs", tests).is_empty());
        let tests = "mod tests {\n    use super::super::pool;\n}";
        assert_eq!(reported("src/task.rs", tests), ["src/task.rs:2"]);
    }

    #[test]
    fn the_tables_make_sense() {
        for &(user, used, reason) in SIDEWAYS {
            assert_eq!(
                layer(user),
                layer(used),
                "{user} and {used} are not in one layer"
            );
            assert!(layer(user).is_some(), "{user} is not in the table");
            assert!(!reason.is_empty(), "{user} uses {used} without a reason");
            assert!(
                !leads_back(used, user, 0),
                "{user} and {used} use each other"
            );
        }
    }

    /// Whether the pairs lead from `from` to `to`; a longer way than there are pairs is a circle.
    fn leads_back(from: &str, to: &str, steps: usize) -> bool {
        from == to
            || steps > SIDEWAYS.len()
            || SIDEWAYS
                .iter()
                .any(|&(user, used, _)| user == from && leads_back(used, to, steps + 1))
    }
}
