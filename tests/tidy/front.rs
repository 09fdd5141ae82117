//! `lib.rs` is the table of contents: documentation, attributes, modules and what they show.

use crate::Finding;
use crate::source::Source;
use crate::syntax::{attributes, end_of_item, first_word, words};

const FRONT: &str = "src/lib.rs";

pub(crate) fn findings(sources: &[Source]) -> Vec<Finding> {
    let front = sources.iter().find(|source| source.path == FRONT);
    let Some(front) = front else {
        let advice = "it is missing".to_owned();
        return vec![Finding {
            path: FRONT.to_owned(),
            line: 1,
            rule: "front",
            advice,
        }];
    };
    misplaced(&front.code, 0)
        .into_iter()
        .map(|at| Finding {
            path: FRONT.to_owned(),
            line: front.line(at),
            rule: "front",
            advice: "only modules and what they show belong here: move it into a module".to_owned(),
        })
        .collect()
}

/// Where in `code`, which begins at `base`, the items are that do not belong.
fn misplaced(code: &str, base: usize) -> Vec<usize> {
    let mut places = Vec::new();
    let mut conditional = false;
    let mut at = 0;
    loop {
        at += code[at..].len() - code[at..].trim_start().len();
        let rest = &code[at..];
        if rest.is_empty() {
            return places;
        }
        if let Some((0, attribute)) = attributes(rest).first() {
            conditional |= !words(attribute, "cfg").is_empty();
            at += attribute.len();
            continue;
        }
        let end = end_of_item(code, at);
        let item = &code[at..end];
        let kind = first_word(after_visibility(item));
        match (kind, item.find('{')) {
            // A module written here may hold what a module file here might: names.
            ("mod", Some(open)) => {
                let inside = &item[open + 1..item.len() - 1];
                places.extend(misplaced(inside, base + at + open + 1));
            }
            ("mod" | "use", _) => {}
            ("compile_error", _) if conditional => {}
            _ => places.push(base + at),
        }
        // The semicolon of `use a::{b};` stands after a brace.
        let semicolon = code[end..].trim_start().starts_with(';');
        at = if semicolon {
            end + code[end..].find(';').unwrap_or(0) + 1
        } else {
            end
        };
        conditional = false;
    }
}

fn after_visibility(item: &str) -> &str {
    let Some(rest) = item.strip_prefix("pub") else {
        return item;
    };
    let rest = rest.trim_start();
    match rest
        .strip_prefix('(')
        .and_then(|scope| scope.split_once(')'))
    {
        Some((_, rest)) => rest.trim_start(),
        None => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places;

    fn reported(text: &str) -> Vec<String> {
        places(&findings(&[Source::new(FRONT, text)]))
    }

    #[test]
    fn a_table_of_contents_is_fine() {
        let text = "\
#![doc = include_str!(\"../README.md\")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(target_os = \"linux\"))]
compile_error!(\"only Linux\");

mod sys;
pub mod sync;

pub use crate::pool::{Map, Pool};
pub(crate) use sys::{
    a,
    b,
};

#[doc(hidden)]
pub mod __private {
    pub use crate::entry::enter_from_test;
    pub use tokio;
}
";
        assert!(reported(text).is_empty(), "{:?}", reported(text));
    }

    #[test]
    fn logic_is_reported() {
        assert_eq!(
            reported("mod a;\n\npub fn f() {}\nmod b;"),
            ["src/lib.rs:3"]
        );
        assert_eq!(
            reported("use a::{b};\nstruct S;\nimpl S { fn f() {} }"),
            ["src/lib.rs:2", "src/lib.rs:3"]
        );
        assert_eq!(reported("const A: u8 = 1;"), ["src/lib.rs:1"]);
        assert_eq!(
            reported("pub mod m {\n    pub use tokio;\n    fn f() {}\n}"),
            ["src/lib.rs:3"]
        );
    }

    #[test]
    fn macros_are_reported() {
        assert_eq!(reported("macro_rules! m { () => {} }"), ["src/lib.rs:1"]);
        assert_eq!(reported("modules! { a b }\nmod c;"), ["src/lib.rs:1"]);
        assert_eq!(reported("compile_error!(\"never\");"), ["src/lib.rs:1"]);
    }

    #[test]
    fn a_crate_without_it_is_reported() {
        assert_eq!(places(&findings(&[])), ["src/lib.rs:1"]);
    }
}
