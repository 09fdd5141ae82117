//! What the command line says.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::prelude::*;

pub(crate) const USAGE: &str = "\
Serves thumbnails over HTTP, made by worker processes.

usage: web [OPTIONS] [DIR]

  DIR             where the pictures are; by default the ones that come with this example

  --addr ADDRESS  where to listen; by default 127.0.0.1:8080, and with port 0 on a free port
  --timeout TIME  what the work for one request may take, such as 500ms; by default 2s
  --workers N     how many processes work; by default as many as this one may use CPUs
  --check         listen on a free port, ask for this and that, tell whether the answers are right
  --help          this text

The first line on stdout is the address it listens on. Ctrl-C and SIGTERM let it finish what it has
begun and stop.";

#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) pictures: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) limit: Duration,
    pub(crate) workers: Option<NonZeroUsize>,
    pub(crate) check: bool,
}

impl Arguments {
    /// `None` is a call for help.
    pub(crate) fn parse(mut words: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        let mut arguments = Self::default();
        let mut pictures = None;
        while let Some(word) = words.next()? {
            match word {
                Short('h') | Long("help") => return Ok(None),
                Long("addr") => arguments.address = words.value()?.parse()?,
                Long("timeout") => {
                    arguments.limit = words.value()?.parse::<humantime::Duration>()?.into();
                }
                Long("workers") => arguments.workers = Some(words.value()?.parse()?),
                Long("check") => arguments.check = true,
                Value(place) if pictures.is_none() => pictures = Some(PathBuf::from(place)),
                other => return Err(other.unexpected()),
            }
        }
        arguments.pictures = pictures.unwrap_or(arguments.pictures);
        Ok(Some(arguments))
    }
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            pictures: Path::new(env!("CARGO_MANIFEST_DIR")).join("../pictures"),
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            limit: Duration::from_secs(2),
            workers: None,
            check: false,
        }
    }
}
