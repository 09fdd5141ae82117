//! Text that must fit a number of bytes.

/// The longest start of `text` that has at most `longest` bytes and ends between characters.
pub(crate) fn prefix(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_between_characters() {
        assert_eq!(prefix("naïve", 2), "na");
        assert_eq!(prefix("naïve", 3), "na");
        assert_eq!(prefix("naïve", 4), "naï");
        assert_eq!(prefix("naïve", 99), "naïve");
        assert_eq!(prefix("ï", 1), "");
    }
}
