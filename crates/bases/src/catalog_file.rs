//! The catalog's file, `images.json` in the state directory. A process replaces the whole file under a lock.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sharedroot_image::{Image, Source};
use sharedroot_sys::new_file;

use crate::catalog::{Catalog, Facts};
use crate::names::Names;

/// The file cannot be read or replaced.
#[derive(Debug, thiserror::Error)]
#[error("{step} {path}")]
pub struct CatalogError {
    step: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The file in one state directory, and the run directory, which holds the lock.
#[derive(Debug, Clone, Copy)]
pub struct CatalogFile<'b> {
    state_dir: &'b Path,
    run_dir: &'b Path,
}

impl<'b> CatalogFile<'b> {
    pub(crate) fn of(state_dir: &'b Path, run_dir: &'b Path) -> Self {
        Self { state_dir, run_dir }
    }

    fn path(&self) -> PathBuf {
        self.state_dir.join("images.json")
    }

    /// Reads the catalog.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn read(&self) -> Result<Catalog, CatalogError> {
        let path = self.path();
        match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Catalog::default()),
            Err(source) => Err(CatalogError { step: "read", path, source }),
            Ok(text) => serde_json::from_slice(&text).map_err(|error| CatalogError {
                step: "read",
                path,
                source: error.into(),
            }),
        }
    }

    /// The names that people and engines gave to the images of the bases.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn names(&self) -> Result<Names, CatalogError> {
        Ok(Names::of(self.read()?))
    }

    /// Calls `change`, and replaces the file if the catalog differs afterwards. The file is on the disk when this returns; a
    /// killed process leaves the old file.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn change(&self, change: impl FnOnce(&mut Catalog)) -> Result<(), CatalogError> {
        let failed = |step, path: &Path| {
            let path = path.to_owned();
            move |source| CatalogError { step, path, source }
        };
        let lock = self.run_dir.join("lock-images");
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(&lock);
        let file = file.map_err(failed("open", &lock))?;
        file.lock().map_err(failed("lock", &lock))?;
        let before = self.read()?;
        let mut after = self.read()?;
        change(&mut after);
        if after == before {
            return Ok(());
        }
        let path = self.path();
        if after == Catalog::default() {
            return fs::remove_file(&path).map_err(failed("remove", &path));
        }
        let text = serde_json::to_vec_pretty(&after).map_err(io::Error::from);
        let written = text.and_then(|text| new_file::write_durably(&path, &text));
        written.map_err(failed("write", &path))
    }

    /// Records where `image` is stored now: its engine may have moved its store since the base was made. The origin of an
    /// imported base stays.
    pub(crate) fn note_origin(&self, image: &Image) -> Result<(), CatalogError> {
        if image.source == Source::Base {
            return Ok(());
        }
        self.change(|catalog| match catalog.facts_mut(&image.key) {
            Some(Facts { source: Source::Import { .. }, .. }) => {}
            Some(known) => known.source = image.source.clone(),
            None => catalog.describe(&image.key, Facts::of(image)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_on_the_disk_and_an_empty_catalog_is_no_file() {
        let (state, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = CatalogFile::of(state.path(), run.path());
        let key = "ab".repeat(32).parse().unwrap();
        file.change(|catalog| catalog.name("debian:12".parse().unwrap(), &key)).unwrap();
        assert_eq!(file.read().unwrap().names_of(&key).count(), 1);
        file.change(|catalog| catalog.forget(&key)).unwrap();
        assert_eq!(file.read().unwrap(), Catalog::default());
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
    }

    /// A catalog as a version without format numbers wrote it.
    const OLD: &str = r#"{
        "names": { "debian:12": "KEY" },
        "bases": { "KEY": {
            "chain_id": "sha256:KEY",
            "source": { "store": "import", "path": "/root/debian.tar" },
            "made": "2026-07-01T10:00:00+02:00"
        } }
    }"#;

    #[test]
    fn a_catalog_without_formats_is_read_and_one_of_another_format_is_kept_apart() {
        let (state, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = CatalogFile::of(state.path(), run.path());
        let digits = "ab".repeat(32);
        let (key, other) = (digits.parse().unwrap(), format!("f2-{digits}").parse().unwrap());
        fs::write(file.path(), OLD.replace("KEY", &digits)).unwrap();
        let old = file.read().unwrap();
        assert_eq!((old.names_of(&key).count(), old.names_of(&other).count()), (1, 0));
        assert!(old.facts(&other).is_none());
        let known = old.facts(&key).cloned().unwrap();
        file.change(|catalog| catalog.describe(&other, known)).unwrap();
        file.change(|catalog| catalog.forget(&key)).unwrap();
        let left = file.read().unwrap();
        assert!(left.facts(&key).is_none() && left.facts(&other).is_some());
        assert!(fs::read_to_string(file.path()).unwrap().contains("\"f2-abab"));
        // A file with an entry that is no key is not read as a catalog, so that no change drops the entry.
        fs::write(file.path(), OLD.replace("KEY", "f1-00")).unwrap();
        assert!(file.change(|catalog| catalog.forget(&key)).is_err());
        assert!(fs::read_to_string(file.path()).unwrap().contains("f1-00"));
    }
}
