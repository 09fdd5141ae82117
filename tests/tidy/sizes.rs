//! Files and functions are short enough to be read at once.

use crate::Finding;
use crate::source::Source;
use crate::syntax::functions;

/// In lines. Most files stay below 400; beyond this, there are two nouns in one file.
const LONGEST_FILE: usize = 500;

/// In lines, from `fn` to the last brace. Most functions stay below 20; this is a screen.
const LONGEST_FUNCTION: usize = 60;

pub(crate) fn findings(sources: &[Source]) -> Vec<Finding> {
    let of_files = sources.iter().filter_map(of_file);
    let of_functions = sources.iter().flat_map(of_functions);
    of_files.chain(of_functions).collect()
}

fn of_file(source: &Source) -> Option<Finding> {
    let length = source.length();
    let advice = format!("{length} lines, more than {LONGEST_FILE}: give each noun its file");
    (length > LONGEST_FILE).then(|| finding(source, length, advice))
}

fn of_functions(source: &Source) -> Vec<Finding> {
    let long = functions(source).into_iter().filter_map(|function| {
        let first = source.line(function.offset);
        let length = source.line(function.end?) + 1 - first;
        let name = function.name;
        let advice = format!(
            "`{name}` has {length} lines, more than {LONGEST_FUNCTION}: give its parts names"
        );
        (length > LONGEST_FUNCTION).then(|| finding(source, first, advice))
    });
    long.collect()
}

fn finding(source: &Source, line: usize, advice: String) -> Finding {
    Finding {
        path: source.path.clone(),
        line,
        rule: "sizes",
        advice,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places;

    fn reported(text: &str) -> Vec<String> {
        places(&findings(&[Source::new("a.rs", text)]))
    }

    #[test]
    fn a_long_file_is_reported() {
        assert_eq!(
            reported(&"// A line.\n".repeat(LONGEST_FILE + 1)),
            ["a.rs:501"]
        );
        assert!(reported(&"// A line.\n".repeat(LONGEST_FILE)).is_empty());
    }

    #[test]
    fn a_long_function_is_reported() {
        let function = |inside| {
            format!(
                "struct S;\n\npub fn f() {{\n{}}}\n",
                "    g();\n".repeat(inside)
            )
        };
        assert_eq!(reported(&function(LONGEST_FUNCTION - 1)), ["a.rs:3"]);
        assert!(reported(&function(LONGEST_FUNCTION - 2)).is_empty());
    }

    #[test]
    fn functions_inside_others_count_too() {
        let inner = format!("    fn inner() {{\n{}    }}\n", "        g();\n".repeat(60));
        assert_eq!(reported(&format!("mod m {{\n{inner}}}\n")), ["a.rs:2"]);
        assert_eq!(
            reported(&format!("fn outer() {{\n{inner}}}\n")),
            ["a.rs:1", "a.rs:2"]
        );
    }
}
