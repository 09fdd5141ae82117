//! What workers write to their stdout and stderr, line by line.
//!
//! Runs in the application, as a task of its own for each stream, until all that hold the other end have closed it.
//! What a worker writes is hostile: a line has a bound, and bytes that are no text are replaced.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::sync::oneshot;

use crate::sys::reactor::PipeReader;

/// The longest line, in bytes. What is longer becomes several.
const LONGEST_LINE: usize = 8 * 1024;

/// How much of the end of a stream is kept, in bytes.
const TAIL_BYTES: usize = 4 << 10;

/// The most that a pipe holds (`fcntl(2)`, F_SETPIPE_SZ), in bytes, without special rights.
const LARGEST_PIPE: usize = 1 << 20;

/// Where the end of a stream goes.
type TailAnswer = oneshot::Sender<String>;

/// Asks the reader of a stream for the end of what was written. Dropped, it asks for nothing.
#[derive(Debug)]
pub(in crate::pool) struct TailRequest(oneshot::Sender<TailAnswer>);

/// The reader's side of a [`TailRequest`].
#[derive(Debug)]
pub(in crate::pool) struct TailInquiry(oneshot::Receiver<TailAnswer>);

impl TailRequest {
    pub(in crate::pool) fn new() -> (Self, TailInquiry) {
        let (ask, asked) = oneshot::channel();
        (Self(ask), TailInquiry(asked))
    }

    /// The last 4 KiB of what was written before this call. Empty if the reader is gone.
    pub(in crate::pool) async fn ask(self) -> String {
        let (answer, answered) = oneshot::channel();
        match self.0.send(answer) {
            Ok(()) => answered.await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }
}

impl TailInquiry {
    /// Ready when the end is asked for, or never will be.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<TailAnswer>> {
        Pin::new(&mut self.0).poll(cx).map(Result::ok)
    }
}

/// Calls `on_line` for each line that is written into the pipe, and answers the inquiry about its end.
pub(in crate::pool) async fn read_lines(
    pipe: OwnedFd,
    mut inquiry: Option<TailInquiry>,
    mut on_line: impl FnMut(&str),
) -> io::Result<()> {
    let mut pipe = PipeReader::try_from(pipe)?;
    let mut text = CapturedText::default();
    let mut space = [0; 4096];
    loop {
        let mut buf = ReadBuf::new(&mut space);
        let next = std::future::poll_fn(|cx| {
            if let Some(Poll::Ready(asked)) = inquiry.as_mut().map(|it| it.poll(cx)) {
                return Poll::Ready(Ok(Some(asked)));
            }
            let read = Pin::new(&mut pipe).poll_read(cx, &mut buf);
            read.map_ok(|()| None)
        });
        match next.await? {
            None if buf.filled().is_empty() => break,
            None => text.push(buf.filled(), &mut on_line),
            Some(asked) => {
                inquiry = None;
                if let Some(answer) = asked {
                    text.push_rest(&pipe, &mut on_line);
                    let _ = answer.send(text.tail());
                }
            }
        }
    }
    text.lines.end(&mut on_line);
    if let Some(mut inquiry) = inquiry {
        if let Some(answer) = std::future::poll_fn(|cx| inquiry.poll(cx)).await {
            let _ = answer.send(text.tail());
        }
    }
    Ok(())
}

/// What was read of a stream and is still needed.
#[derive(Debug, Default)]
struct CapturedText {
    lines: LineSplitter,
    /// The end, and up to as much before it.
    end: Vec<u8>,
}

impl CapturedText {
    fn push(&mut self, bytes: &[u8], on_line: &mut impl FnMut(&str)) {
        self.lines.push(bytes, on_line);
        self.end.extend_from_slice(bytes);
        if self.end.len() > 2 * TAIL_BYTES {
            self.end.drain(..self.end.len() - TAIL_BYTES);
        }
    }

    /// Takes what is in the pipe now. The runtime may not know of it yet.
    fn push_rest(&mut self, pipe: &PipeReader, on_line: &mut impl FnMut(&str)) {
        let mut space = [0; 4096];
        let mut left = LARGEST_PIPE;
        while left > 0 {
            match pipe.read_now(&mut space) {
                Ok(count) if count > 0 => {
                    self.push(&space[..count], on_line);
                    left = left.saturating_sub(count);
                }
                _ => return,
            }
        }
    }

    fn tail(&self) -> String {
        let from = self.end.len().saturating_sub(TAIL_BYTES);
        String::from_utf8_lossy(&self.end[from..]).into_owned()
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

    #[tokio::test]
    async fn tail_is_the_end_of_what_was_written() {
        for closes in [false, true] {
            let (pipe, to_pipe) = crate::sys::stdio::pipe().unwrap();
            let (request, inquiry) = TailRequest::new();
            let read = tokio::spawn(read_lines(pipe, Some(inquiry), |_| ()));
            let mut writer = std::fs::File::from(to_pipe);
            for n in 0..1000 {
                std::io::Write::write_all(&mut writer, format!("line {n}\n").as_bytes()).unwrap();
            }
            let writer = (!closes).then_some(writer);
            let tail = request.ask().await;
            assert_eq!(tail.len(), TAIL_BYTES);
            assert!(tail.ends_with("line 998\nline 999\n"));
            drop(writer);
            read.await.unwrap().unwrap();
        }
    }

    #[test]
    fn long_line_is_cut() {
        let long = vec![b'x'; 2 * LONGEST_LINE + 1];
        let lengths: Vec<_> = lines(&[&long]).iter().map(String::len).collect();
        assert_eq!(lengths, [LONGEST_LINE, LONGEST_LINE, 1]);
    }
}
