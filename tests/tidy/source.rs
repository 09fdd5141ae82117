//! A file as its lines, and as code without comments and literals.

use std::fs;
use std::path::Path;

/// One file of Rust.
#[derive(Debug)]
pub(crate) struct Source {
    /// Where it is, from the package's root, with `/` between the parts.
    pub(crate) path: String,
    /// The text, in which comments, strings and characters are blank. Offsets and lines are those
    /// of the file.
    pub(crate) code: String,
    lines: Vec<String>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            code: code_of(text),
            lines: text.lines().map(str::to_owned).collect(),
        }
    }

    /// All files of Rust below `root/directory`, in the order of their paths.
    pub(crate) fn below(root: &Path, directory: &str) -> Vec<Self> {
        let mut sources = Vec::new();
        let Ok(entries) = fs::read_dir(root.join(directory)) else {
            return sources;
        };
        for entry in entries {
            let entry = entry.expect("a directory of the package can be listed");
            let name = entry
                .file_name()
                .into_string()
                .expect("file names are UTF-8");
            let path = format!("{directory}/{name}");
            if entry.path().is_dir() {
                sources.extend(Self::below(root, &path));
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(entry.path()).expect("sources are UTF-8");
                sources.push(Self::new(&path, &text));
            }
        }
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        sources
    }

    pub(crate) fn length(&self) -> usize {
        self.lines.len()
    }

    /// The number of the line, from 1, in which `offset` of the code is.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.code[..offset].matches('\n').count() + 1
    }

    /// The lines of the file's `//!` documentation.
    pub(crate) fn module_doc(&self) -> Vec<&str> {
        self.lines
            .iter()
            .filter_map(|line| line.trim_start().strip_prefix("//!"))
            .collect()
    }

    /// The lines of the `///` documentation of the item at `offset`, with attributes between.
    pub(crate) fn doc(&self, offset: usize) -> Vec<&str> {
        let mut lines = Vec::new();
        let mut in_attribute = false;
        for line in self.lines[..self.line(offset) - 1].iter().rev() {
            let line = line.trim();
            if let Some(text) = line.strip_prefix("///") {
                lines.push(text);
            } else if line.starts_with("#[") {
                in_attribute = false;
            } else if line.ends_with(']') {
                in_attribute = true;
            } else if !in_attribute && !line.starts_with("//") {
                break;
            }
        }
        lines.reverse();
        lines
    }
}

/// Whether one of the lines of a documentation is the heading `title`.
pub(crate) fn has_heading(doc: &[&str], title: &str) -> bool {
    doc.iter().any(|line| {
        let line = line.trim();
        line.starts_with('#') && line.trim_start_matches('#').trim() == title
    })
}

/// `text`, with every byte of a comment, string or character literal a space.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let literal = comment(rest)
            .or_else(|| string(rest))
            .or_else(|| character(rest));
        if let Some(length) = literal {
            let blank = rest[..length]
                .bytes()
                .map(|byte| if byte == b'\n' { '\n' } else { ' ' });
            code.extend(blank);
            rest = &rest[length..];
        } else {
            // A whole word at once: an `r` inside it starts no raw string.
            let word = rest.find(|c: char| c != '_' && !c.is_alphanumeric());
            let length = match word {
                Some(0) => rest.chars().next().map_or(0, char::len_utf8),
                Some(length) => length,
                None => rest.len(),
            };
            code.push_str(&rest[..length]);
            rest = &rest[length..];
        }
    }
    code
}

/// The length of the comment that `text` begins with.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += 1;
        }
        if depth == 0 {
            break;
        }
    }
    Some(at)
}

/// The length of the string, raw or not, that `text` begins with.
fn string(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        let rest = text.strip_prefix(prefix).unwrap_or_default();
        let raw = prefix.ends_with('r');
        rest.starts_with('"') || raw && rest.trim_start_matches('#').starts_with('"')
    })?;
    let rest = &text[prefix.len()..];
    if !prefix.ends_with('r') {
        return Some(prefix.len() + 1 + quoted(&rest[1..], '"'));
    }
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    let content = &rest[hashes + 1..];
    let length = content
        .find(&end)
        .map_or(content.len(), |at| at + end.len());
    Some(prefix.len() + hashes + 1 + length)
}

/// The length of the character that `text` begins with; a lifetime is none.
fn character(text: &str) -> Option<usize> {
    let content = text.strip_prefix('\'')?;
    let first = content.chars().next()?;
    if first == '\\' || content[first.len_utf8()..].starts_with('\'') {
        return Some(1 + quoted(content, '\''));
    }
    None
}

/// The length of a quoted text, with the closing quote.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank() {
        let samples = [
            ("a // b\nc", "a c"),
            ("a /* b /* c */ d */ e", "a e"),
            ("a(\"b \\\" // c\") d", "a( ) d"),
            ("r#\"b \" c\"# d", "d"),
            ("br\"\\\" d", "d"),
            ("b\"x\" for\"x\" b'x' y", "for b y"),
            ("r#type 'a: 'b' '\\'' b'\"' c", "r#type 'a: b c"),
            ("'é' \"é\" é", "é"),
        ];
        for (text, words) in samples {
            let code = code_of(text);
            assert_eq!(code.len(), text.len(), "{text}");
            let code: Vec<_> = code.split_whitespace().collect();
            assert_eq!(code.join(" "), words, "{text}");
        }
    }

    #[test]
    fn blanking_keeps_the_lines() {
        let source = Source::new("a.rs", "/* 1\n2 */\n\"3\n4\" here");
        let at = source.code.find("here").expect("it is code");
        assert_eq!(source.line(at), 4);
    }

    #[test]
    fn documentation_is_above_its_item() {
        let text = "\
//! # Safety
/// Another's.
fn other() {}

/// One.
#[allow(
    dead_code
)]
// Not documentation.
/// # Two
pub fn this() {}
";
        let source = Source::new("a.rs", text);
        let doc = source.doc(source.code.find("pub fn").expect("it is there"));
        assert_eq!(doc, [" One.", " # Two"]);
        assert!(has_heading(&doc, "Two"));
        assert!(!has_heading(&doc, "One."));
        assert!(has_heading(&source.module_doc(), "Safety"));
    }
}
