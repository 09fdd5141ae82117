//! The task of a worker: makes one thumbnail of one picture.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder as _, ImageError, ImageReader};
use serde::{Deserialize, Serialize};

/// The longest side of a thumbnail, in pixels.
const SIDE: u32 = 256;

// Paths are `OsString`, because serde refuses a `PathBuf` that is not UTF-8, and cameras write such names.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) picture: OsString,
    pub(crate) thumbnail: OsString,
    pub(crate) accident: Option<Accident>,
}

/// A fault that the worker simulates before it begins.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Accident {
    Crash,
    Hang,
}

/// The report of a worker on one picture.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) worker: Option<usize>,
    pub(crate) pid: u32,
    pub(crate) time: Duration,
    /// The sizes of the picture and of the thumbnail, or why there is no thumbnail.
    pub(crate) outcome: Result<(Size, Size), String>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Size {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) bytes: u64,
}

/// Runs in a worker. A file that is not a picture is reported; an accident ends or blocks the whole process.
#[allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]
pub(crate) fn shrink(job: Job) -> Report {
    match job.accident {
        Some(Accident::Crash) => std::process::abort(),
        Some(Accident::Hang) => loop {
            std::hint::spin_loop();
        },
        None => {}
    }
    let start = Instant::now();
    let outcome = write_thumbnail(job.picture.as_ref(), job.thumbnail.as_ref());
    Report {
        worker: procession::current().worker_number(),
        pid: std::process::id(),
        time: start.elapsed(),
        outcome: outcome.map_err(|why| why.to_string()),
    }
}

fn write_thumbnail(picture: &Path, thumbnail: &Path) -> Result<(Size, Size), ImageError> {
    let reader = ImageReader::open(picture)?.with_guessed_format()?;
    let format = reader.format();
    let mut decoder = reader.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    let before = size(&image, picture)?;
    if image.width().max(image.height()) > SIDE {
        image = image.resize(SIDE, SIDE, FilterType::Lanczos3);
    }
    // The picture was decoded, so its format is known.
    image.save_with_format(thumbnail, format.unwrap_or(image::ImageFormat::Png))?;
    Ok((before, size(&image, thumbnail)?))
}

fn size(image: &DynamicImage, file: &Path) -> Result<Size, ImageError> {
    Ok(Size {
        width: image.width(),
        height: image.height(),
        bytes: fs::metadata(file)?.len(),
    })
}
