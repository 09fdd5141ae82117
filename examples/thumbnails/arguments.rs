//! The arguments of the command line.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::prelude::*;

pub(crate) const USAGE: &str = "\
Makes a thumbnail of every picture in a directory, in worker processes.

usage: thumbnails [OPTIONS] [DIR [OUT]]

  DIR             the directory of the pictures; by default the pictures of this example
  OUT             the directory of the thumbnails; by default a new temporary directory

  --crash NAME    abort the worker that gets this picture
  --hang NAME     let the worker that gets this picture loop for ever
  --timeout TIME  time limit of one picture, such as 500ms or 2s; by default 30s
  --workers N     number of worker processes; by default the number of usable CPUs
  --help          this text

The exit status is 0 if every picture has a thumbnail, 1 if some have none, 2 if the arguments are wrong.";

#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) pictures: PathBuf,
    pub(crate) out: Option<PathBuf>,
    pub(crate) crash: Option<OsString>,
    pub(crate) hang: Option<OsString>,
    pub(crate) timeout: Duration,
    pub(crate) workers: Option<NonZeroUsize>,
}

impl Arguments {
    /// Parses the arguments. `None` if they ask for help.
    pub(crate) fn parse(mut words: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        let mut arguments = Self::default();
        let mut places = Vec::new();
        while let Some(word) = words.next()? {
            match word {
                Short('h') | Long("help") => return Ok(None),
                Long("crash") => arguments.crash = Some(words.value()?),
                Long("hang") => arguments.hang = Some(words.value()?),
                Long("timeout") => {
                    arguments.timeout = words.value()?.parse::<humantime::Duration>()?.into();
                }
                Long("workers") => arguments.workers = Some(words.value()?.parse()?),
                Value(place) if places.len() < 2 => places.push(PathBuf::from(place)),
                other => return Err(other.unexpected()),
            }
        }
        let mut places = places.into_iter();
        if let Some(pictures) = places.next() {
            arguments.pictures = pictures;
        }
        arguments.out = places.next();
        Ok(Some(arguments))
    }
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            pictures: Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pictures"),
            out: None,
            crash: None,
            hang: None,
            timeout: Duration::from_secs(30),
            workers: None,
        }
    }
}
