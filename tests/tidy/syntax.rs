//! The parts of code that the rules look for: words, paths, functions, and code only for tests.

use crate::source::Source;

/// A function with a name.
#[derive(Debug)]
pub(crate) struct Function<'a> {
    /// Where `fn` is.
    pub(crate) offset: usize,
    pub(crate) name: &'a str,
    /// What stands before `fn`: `pub`, `async` and the like.
    pub(crate) modifiers: &'a str,
    pub(crate) returns: &'a str,
    /// Where its last brace is; `None` if it has no body.
    pub(crate) end: Option<usize>,
}

/// Where `word` stands in `code`, not as a part of a longer word.
pub(crate) fn words(code: &str, word: &str) -> Vec<usize> {
    let inside = |c: char| c == '_' || c.is_alphanumeric();
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|&at| !code[..at].ends_with(inside) && !code[at + word.len()..].starts_with(inside))
        .collect()
}

pub(crate) fn has_word(code: &str, word: &str) -> bool {
    !words(code, word).is_empty()
}

/// The word that `code` begins with, which may be none.
pub(crate) fn first_word(code: &str) -> &str {
    let end = code.find(|c: char| c != '_' && !c.is_alphanumeric());
    &code[..end.unwrap_or(code.len())]
}

/// Where `part` is in `code`, of which it is a slice.
pub(crate) fn offset_of(part: &str, code: &str) -> usize {
    part.as_ptr().addr() - code.as_ptr().addr()
}

/// The path that `code` begins with, or, where it branches in braces, all of them.
///
/// Each is a list of its words; a glob's last is `*`. What follows a path is not looked at.
pub(crate) fn paths(code: &str) -> Vec<Vec<&str>> {
    let code = code.trim_start();
    if let Some(group) = code.strip_prefix('{') {
        let group = &group[..closing(group, '{', '}').unwrap_or(group.len())];
        return branches(group).into_iter().flat_map(paths).collect();
    }
    let word = if code.starts_with('*') {
        &code[..1]
    } else {
        first_word(code)
    };
    if word.is_empty() {
        return Vec::new();
    }
    let Some(rest) = code[word.len()..].trim_start().strip_prefix("::") else {
        return vec![vec![word]];
    };
    let rest = paths(rest);
    if rest.is_empty() {
        return vec![vec![word]];
    }
    rest.into_iter()
        .map(|path| [vec![word], path].concat())
        .collect()
}

/// All functions of `source`, also those inside others.
pub(crate) fn functions(source: &Source) -> Vec<Function<'_>> {
    words(&source.code, "fn")
        .into_iter()
        .filter_map(|at| function(&source.code, at))
        .collect()
}

/// The code, in which all that is only compiled for tests is blank.
pub(crate) fn without_tests(source: &Source) -> String {
    if source.path.ends_with("/tests.rs") {
        return blank(&source.code, 0, source.code.len());
    }
    let mut code = source.code.clone();
    for (at, attribute) in attributes(&source.code) {
        if is_for_tests(attribute) {
            let end = end_of_item(&source.code, at + attribute.len());
            code = blank(&code, at, end);
        }
    }
    code
}

/// The attributes, `#[…]` and `#![…]`, with their offsets.
pub(crate) fn attributes(code: &str) -> Vec<(usize, &str)> {
    let starts = code.match_indices('#').map(|(at, _)| at);
    let attribute = |at: usize| {
        let open = code[at + 1..].trim_start_matches('!').trim_start();
        let content = open.strip_prefix('[')?;
        let end = closing(content, '[', ']')?;
        let length = code.len() - at - content.len() + end + 1;
        Some((at, &code[at..at + length]))
    };
    starts.filter_map(attribute).collect()
}

/// Where the item ends that begins at `start`, after its attributes: past its `;` or last brace.
pub(crate) fn end_of_item(code: &str, start: usize) -> usize {
    let end = end_of_head(code, start);
    if !code[end..].starts_with('{') {
        return code.len().min(end + 1);
    }
    closing(&code[end + 1..], '{', '}').map_or(code.len(), |length| end + length + 2)
}

/// Where the bracket is that closes the one just before `code`.
pub(crate) fn closing(code: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 1;
    for (at, character) in code.char_indices() {
        if character == open {
            depth += 1;
        } else if character == close {
            depth -= 1;
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Where the `;` or the first brace of the item is that begins at `start`.
fn end_of_head(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, character) in code[start..].char_indices() {
        match character {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            ';' | '{' if depth == 0 => return start + at,
            _ => {}
        }
    }
    code.len()
}

/// The parts of a group between its own commas.
fn branches(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[start..]);
    parts
}

/// The function whose `fn` is at `offset`; the type of a function pointer is none.
fn function(code: &str, offset: usize) -> Option<Function<'_>> {
    let name = first_word(code[offset + 2..].trim_start());
    if name.is_empty() {
        return None;
    }
    let before = code[..offset]
        .rfind([';', '{', '}', ']'])
        .map_or(0, |at| at + 1);
    let inputs = inputs(code, offset)?;
    let returned = inputs + closing(&code[inputs..], '(', ')')? + 1;
    let end = end_of_item(code, returned);
    let has_body = code[..end].ends_with('}');
    let head = &code[returned..end_of_head(code, returned)];
    let clause = words(head, "where").first().copied().unwrap_or(head.len());
    Some(Function {
        offset,
        name,
        modifiers: code[before..offset].trim(),
        returns: head[..clause].trim().trim_start_matches("->").trim(),
        end: has_body.then(|| end - 1),
    })
}

/// Where the inputs of the function at `offset` begin, after its generics.
fn inputs(code: &str, offset: usize) -> Option<usize> {
    let mut depth = 0;
    let mut previous = ' ';
    for (at, character) in code[offset..].char_indices() {
        match character {
            '<' => depth += 1,
            '>' if previous != '-' => depth -= 1,
            '(' if depth == 0 => return Some(offset + at + 1),
            _ => {}
        }
        previous = character;
    }
    None
}

fn is_for_tests(attribute: &str) -> bool {
    let packed: String = attribute.split_whitespace().collect();
    let conditional = packed.starts_with("#[cfg(") || packed.starts_with("#![cfg(");
    conditional && has_word(&packed, "test") && !packed.contains("not(test")
}

/// `code` with a space for each byte between `start` and `end`, apart from line breaks.
fn blank(code: &str, start: usize, end: usize) -> String {
    let spaces = code[start..end]
        .bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { ' ' });
    [&code[..start], &spaces.collect::<String>(), &code[end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_whole() {
        assert_eq!(words("unsafe_code unsafe", "unsafe"), [12]);
        assert_eq!(words("an_unsafe unsafely", "unsafe"), []);
    }

    #[test]
    fn paths_branch() {
        assert_eq!(paths("crate::a::b(c)"), [["crate", "a", "b"]]);
        assert_eq!(paths("crate::a::<T>"), [["crate", "a"]]);
        let code = "crate::{\n    a::{b, self},\n    c as d, *,\n};";
        let expected = [
            vec!["crate", "a", "b"],
            vec!["crate", "a", "self"],
            vec!["crate", "c"],
            vec!["crate", "*"],
        ];
        assert_eq!(paths(code), expected);
    }

    #[test]
    fn functions_have_their_parts() {
        let text = "\
#[must_use]
pub async fn a<F: Fn(u8) -> u8>(f: F, g: fn()) -> impl Future<Output = [u8; 2]>
where
    F: Copy,
{
    { }
}
trait T { fn b(&self); }
";
        let source = Source::new("a.rs", text);
        let functions = functions(&source);
        assert_eq!(functions.len(), 2, "{functions:?}");
        assert_eq!(functions[0].name, "a");
        assert_eq!(functions[0].modifiers, "pub async");
        assert_eq!(functions[0].returns, "impl Future<Output = [u8; 2]>");
        assert_eq!(functions[0].end.map(|end| source.line(end)), Some(7));
        assert_eq!(functions[1].name, "b");
        assert_eq!(functions[1].returns, "");
        assert_eq!(functions[1].end, None);
    }

    #[test]
    fn test_code_is_left_out() {
        let text = "\
fn kept() {}
#[cfg(test)]
mod tests { fn gone() { } }
#[cfg(all(test, not(loom)))]
use gone;
#[cfg(not(test))]
fn kept_too() {}
";
        let code = without_tests(&Source::new("a.rs", text));
        assert!(!code.contains("gone"), "{code}");
        assert!(
            code.contains("kept()") && code.contains("kept_too"),
            "{code}"
        );
        let code = without_tests(&Source::new("src/a/tests.rs", text));
        assert!(code.trim().is_empty(), "{code}");
    }

    #[test]
    fn attributes_are_found_whole() {
        let found = attributes("#![a]\n#[b(c[0])] struct S; r#type");
        assert_eq!(found, [(0, "#![a]"), (6, "#[b(c[0])]")]);
    }
}
