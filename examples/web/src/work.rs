//! What workers do for requests. None of it runs in the server's own process.

use std::ffi::OsString;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use image::imageops::FilterType;
use image::{ImageError, ImageFormat, ImageReader};
use procession::Sender;
use serde::{Deserialize, Serialize};

/// Why there is no thumbnail.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Fault {
    Missing,
    NotAPicture(String),
}

impl From<io::Error> for Fault {
    fn from(why: io::Error) -> Self {
        match why.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::NotAPicture(why.to_string()),
        }
    }
}

impl From<ImageError> for Fault {
    fn from(why: ImageError) -> Self {
        Self::NotAPicture(why.to_string())
    }
}

/// The picture as PNG, no side of it longer than `side`.
#[allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]
pub(crate) fn thumbnail(picture: OsString, side: u32) -> Result<Bytes, Fault> {
    let mut image = ImageReader::open(&*picture)?
        .with_guessed_format()?
        .decode()?;
    if image.width().max(image.height()) > side {
        image = image.resize(side, side, FilterType::Lanczos3);
    }
    let mut png = io::Cursor::new(Vec::new());
    image.write_to(&mut png, ImageFormat::Png)?;
    Ok(png.into_inner().into())
}

/// Keeps a CPU busy for so long.
pub(crate) fn burn(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Sends every prime below `limit` as soon as it is found; gives their number.
#[allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]
pub(crate) fn primes(limit: u64, found: Sender<u64>) -> u64 {
    let mut count = 0;
    for n in 2..limit {
        let divisors = (2..).take_while(|d| d * d <= n);
        if divisors.into_iter().all(|d: u64| n % d != 0) {
            count += 1;
            if found.blocking_send(n).is_err() {
                break; // the client is gone
            }
        }
    }
    count
}

/// Ends its process, as a bug in a C library may.
pub(crate) fn crash() {
    std::process::abort();
}
