//! The base of an image that no engine has, made under the same lock as the base of an engine's image, from layers that were
//! unpacked and checked before.

use std::path::{Path, PathBuf};

use sharedroot_dm::{Backing, Bytes};
use sharedroot_format::BaseKey;
use sharedroot_format::VolumeName;
use sharedroot_image::{self as image, Image, ImportError, Importable, tree_digest};

use crate::catalog::{Facts, TreeFacts};

use crate::bases::Bases;
use crate::error::{RootfsError, file};
use crate::import_scratch::{Scratch, sweep};

/// How many times the size of a base all layers of an image, or the files of a directory, may have together. What later layers
/// replace and remove takes no room in the base, and neither do holes.
const LAYERS_OF_A_BASE: u64 = 4;

/// The result of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The base.
    pub key: BaseKey,
    /// Whether the base existed before the import.
    pub was_there: bool,
}

/// The stage of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The layers are unpacked; this many stored bytes of the layers have been read.
    Unpack(u64),
    /// The files are read, and their digest is computed.
    Digest,
    /// The file system is made from the layers.
    Make,
}

/// Imports of images that no engine has.
#[derive(Debug, Clone, Copy)]
pub struct Imports<'b>(&'b Bases);

impl Bases {
    /// Imports of images that no engine has.
    #[must_use]
    pub fn imports(&self) -> Imports<'_> {
        Imports(self)
    }
}

impl Imports<'_> {
    /// Makes the base of an image in an archive or a layout, unless the base exists. `tell` is called with each stage.
    ///
    /// # Errors
    /// [`RootfsError`]; an unfinished import leaves nothing.
    pub fn image(
        &self,
        image: &Importable,
        mut tell: impl FnMut(Stage),
    ) -> Result<Imported, RootfsError> {
        let key = image.key();
        let most = self.most_bytes();
        let unpack = |scratch: &Path, tell: &mut dyn FnMut(Stage)| {
            Ok(image.unpack(scratch, most, |passed| tell(Stage::Unpack(passed)))?)
        };
        self.import(&key, &mut tell, unpack, |_| Ok(()))
    }

    /// Makes the base of a directory that is a whole root file system.
    ///
    /// # Errors
    /// [`RootfsError`]; an unfinished import leaves nothing.
    pub fn directory(
        &self,
        source: &Path,
        mut tell: impl FnMut(Stage),
    ) -> Result<Imported, RootfsError> {
        let most = self.most_bytes();
        let before = image::import::directory(source, most)?;
        let key = before.key.clone();
        let unchanged = |key: &BaseKey| match image::import::directory(source, most)?.key == *key {
            true => Ok(()),
            false => Err(ImportError::Changed { path: source.to_owned() }.into()),
        };
        self.import(&key, &mut tell, |_, _| Ok(before), unchanged)
    }

    fn most_bytes(&self) -> u64 {
        self.0.config().base_size.0.saturating_mul(LAYERS_OF_A_BASE)
    }

    fn import(
        &self,
        key: &BaseKey,
        tell: &mut dyn FnMut(Stage),
        layers: impl FnOnce(&Path, &mut dyn FnMut(Stage)) -> Result<Image, RootfsError>,
        still_good: impl FnOnce(&BaseKey) -> Result<(), RootfsError>,
    ) -> Result<Imported, RootfsError> {
        self.sweep();
        // Before the base's lock is taken: nobody must wait for that lock while a pool is made.
        let pool = self.0.pool()?;
        let is_there = || Ok::<_, RootfsError>(pool.ready(&VolumeName::of_base(key))?.is_some());
        if is_there()? {
            return Ok(Imported { key: key.clone(), was_there: true });
        }
        // This also comes before the lock: whoever wrote the archive chooses the key and how long the layers take, and every
        // container of the image with this key waits for the lock. Afterwards the layers are known to be the image's.
        let unpacked = Scratch::make(&self.dir())?;
        let image = layers(unpacked.path(), tell)?;
        let tree = self.0.tree_of(&image, &unpacked.path().join("tree"))?;
        // The digest is of the tree that the base is made from. So `image verify` later compares the base with its source, and
        // not with itself. The files may be large, so this, too, comes before the lock.
        tell(Stage::Digest);
        let digest = tree_digest(tree.root(), |_| ())?;
        let lock = self.0.lock_base(key)?;
        if is_there()? {
            return Ok(Imported { key: key.clone(), was_there: true });
        }
        tell(Stage::Make);
        let room = |bytes| self.leaves_room(bytes);
        let volume = self.0.fill_base(&lock, &image, &tree, room)?;
        drop(tree);
        still_good(key)?;
        let facts = Facts { tree: Some(TreeFacts::of_source(digest)), ..Facts::of(&image) };
        self.0.catalog().change(|catalog| catalog.describe(key, facts))?;
        volume.seal()?;
        Ok(Imported { key: key.clone(), was_there: false })
    }

    /// Whether the disk below a pool on loop files keeps its reserve after `bytes` more are written: the same reserve as for
    /// unpacking. The files are sparse, so the pool's size may exceed the room that the disk has left.
    fn leaves_room(&self, bytes: Bytes) -> Result<(), RootfsError> {
        let Backing::Loop { .. } = self.0.config().pool.backing else { return Ok(()) };
        let dir = self.0.state_dir();
        let stat = rustix::fs::statvfs(dir)
            .map_err(|errno| file("see how much room is left on", dir)(errno.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free >= bytes.0.saturating_add(image::import::RESERVE) {
            return Ok(());
        }
        let (needed, free) = (bytes.0 >> 20, free >> 20);
        Err(ImportError::Room { path: dir.to_owned(), needed, free }.into())
    }

    /// Where layers are unpacked: on the disk of the state directory, because an image may be larger than memory.
    fn dir(&self) -> PathBuf {
        self.0.state_dir().join("imports")
    }

    /// Removes what killed imports have left. Returns the directories.
    pub fn sweep(&self) -> Vec<PathBuf> {
        sweep(&self.dir(), |key| self.0.try_lock_base(key))
    }
}
