//! ARCHITECTURE.md is short enough to be read.

use std::fs;
use std::path::Path;

use crate::Finding;

const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// In lines: the picture, the life of one call, the code map and the invariants fit.
const LONGEST: usize = 150;

pub(crate) fn findings(package: &Path) -> Vec<Finding> {
    of_text(
        fs::read_to_string(package.join(ARCHITECTURE))
            .ok()
            .as_deref(),
    )
    .into_iter()
    .collect()
}

fn of_text(text: Option<&str>) -> Option<Finding> {
    let Some(text) = text else {
        return Some(finding(1, "it is missing".to_owned()));
    };
    let length = text.lines().count();
    let advice = format!("{length} lines, more than {LONGEST}: leave details to the modules");
    (length > LONGEST).then(|| finding(length, advice))
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
    fn a_long_or_missing_text_is_reported() {
        assert!(of_text(Some(&"A line.\n".repeat(LONGEST + 1))).is_some());
        assert!(of_text(Some(&"A line.\n".repeat(LONGEST))).is_none());
        assert!(of_text(None).is_some());
    }
}
