//! What workers write to their stdout and stderr, line by line.
//!
//! Runs in the application, as a task of its own for each stream, until all that hold the other end have closed it. What a
//! worker writes is hostile: a line has a bound, and bytes that are no text are replaced.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;

use tokio::io::{AsyncRead as _, ReadBuf};

use crate::sys::reactor::PipeReader;

/// The longest line, in bytes. What is longer becomes several.
const LONGEST_LINE: usize = 8 * 1024;

/// Calls `on_line` for each line that is written into the pipe.
pub(in crate::pool) async fn read_lines(
    pipe: OwnedFd,
    mut on_line: impl FnMut(&str),
) -> io::Result<()> {
    let mut pipe = PipeReader::try_from(pipe)?;
    let mut lines = LineSplitter::default();
    let mut space = [0; 4096];
    loop {
        let mut buf = ReadBuf::new(&mut space);
        std::future::poll_fn(|cx| Pin::new(&mut pipe).poll_read(cx, &mut buf)).await?;
        if buf.filled().is_empty() {
            lines.end(&mut on_line);
            return Ok(());
        }
        lines.push(buf.filled(), &mut on_line);
    }
}

/// Cuts bytes into lines.
#[derive(Debug, Default)]
struct LineSplitter(Vec<u8>);

impl LineSplitter {
    fn push(&mut self, bytes: &[u8], on_line: &mut impl FnMut(&str)) {
        for byte in bytes {
            match byte {
                b'\n' => self.end_line(on_line),
                _ => self.0.push(*byte),
            }
            if self.0.len() == LONGEST_LINE {
                self.end_line(on_line);
            }
        }
    }

    /// There is nothing more: the last line may lack its end.
    fn end(&mut self, on_line: &mut impl FnMut(&str)) {
        if !self.0.is_empty() {
            self.end_line(on_line);
        }
    }

    fn end_line(&mut self, on_line: &mut impl FnMut(&str)) {
        let line = String::from_utf8_lossy(&self.0);
        on_line(line.trim_end_matches('\r'));
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(parts: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        let mut splitter = LineSplitter::default();
        let mut on_line = |line: &str| found.push(line.to_owned());
        for part in parts {
            splitter.push(part, &mut on_line);
        }
        splitter.end(&mut on_line);
        found
    }

    #[test]
    fn lines_are_found_across_reads() {
        assert_eq!(
            lines(&[b"on", b"e\r\n\ntwo\nth", b"ree"]),
            ["one", "", "two", "three"]
        );
        assert_eq!(lines(&[b"\xff\n"]), ["\u{fffd}"]);
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn long_line_is_cut() {
        let long = vec![b'x'; 2 * LONGEST_LINE + 1];
        let lengths: Vec<_> = lines(&[&long]).iter().map(String::len).collect();
        assert_eq!(lengths, [LONGEST_LINE, LONGEST_LINE, 1]);
    }
}
