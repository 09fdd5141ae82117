//! The directories of the pictures and of their thumbnails.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(crate) struct Album {
    directory: PathBuf,
    names: Vec<OsString>,
}

impl Album {
    pub(crate) fn open(directory: PathBuf) -> io::Result<Self> {
        let names = list(&directory).map_err(|why| about(&directory, &why))?;
        Ok(Self { directory, names })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn names(&self) -> &[OsString] {
        &self.names
    }

    /// The directory for the thumbnails. Creates it if it does not exist.
    pub(crate) fn thumbnail_directory(&self, wanted: Option<PathBuf>) -> io::Result<PathBuf> {
        let Some(out) = wanted else {
            return new_temporary();
        };
        fs::create_dir_all(&out).map_err(|why| about(&out, &why))?;
        if fs::canonicalize(&out)? == fs::canonicalize(&self.directory)? {
            let why = "thumbnails would replace the pictures: OUT must not be DIR";
            return Err(about(&out, &io::Error::other(why)));
        }
        Ok(out)
    }
}

/// The names of all files except notes (`.md`), in order.
fn list(directory: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        let note = path.extension() == Some(OsStr::new("md"));
        if !note && path.is_file() {
            names.push(entry.file_name());
        }
    }
    names.sort();
    Ok(names)
}

/// Creates a directory that did not exist, so that it holds only the thumbnails of this run.
fn new_temporary() -> io::Result<PathBuf> {
    let mut attempts = 1..;
    loop {
        let number = attempts.next().unwrap_or(0);
        let out = std::env::temp_dir().join(format!("thumbnails-{number}"));
        match fs::create_dir(&out) {
            Ok(()) => return Ok(out),
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {}
            Err(why) => return Err(about(&out, &why)),
        }
    }
}

fn about(path: &Path, why: &io::Error) -> io::Error {
    io::Error::new(why.kind(), format!("{}: {why}", path.display()))
}
