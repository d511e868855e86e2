//! The metadata of an active pool, read while the pool is in use. The kernel reserves a snapshot of the metadata for that
//! (thin-provisioning.rst, "reserve_metadata_snap").

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use sharedroot_format::VolumeName;

use crate::error::Error;
use crate::lock::Lock;
use crate::names::ThinId;
use crate::pool::Pool;
use crate::status::StatusLine;
use crate::tools::{self, ToolError};
use crate::units::Bytes;

/// A reserved metadata snapshot. A pool has at most one. Dropping this value releases the snapshot.
#[derive(Debug)]
#[must_use]
pub(crate) struct MetadataSnapshot<'p> {
    pool: &'p Pool,
    node: PathBuf,
    reader_lock: &'p Lock,
}

impl MetadataSnapshot<'_> {
    /// Runs a tool of thin-provisioning-tools on the snapshot.
    pub(crate) fn run(&self, tool: &'static str, options: &[&str]) -> Result<String, ToolError> {
        let mut arguments: Vec<&OsStr> = vec!["--metadata-snap".as_ref()];
        arguments.extend(options.iter().map(OsStr::new));
        arguments.push(self.node.as_os_str());
        tools::run(tool, &arguments, self.reader_lock.as_ref())
    }
}

impl Drop for MetadataSnapshot<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.pool.kernel.message(&self.pool.identity, RELEASE) {
            tracing::warn!(pool = %self.pool.config.name, %error, "cannot release the metadata snapshot; the next check releases it");
        }
    }
}

const RELEASE: &str = "release_metadata_snap";

impl Pool {
    /// The lock of the metadata's reader. It is taken before the pool's lock, because reading takes long and the pool's lock
    /// must be held only for a moment.
    pub(crate) fn reader_lock(&self) -> Result<Lock, Error> {
        Lock::reader(&self.config.run_dir, &self.config.name)
    }

    /// Reserves a snapshot of the metadata as it is now. A snapshot that is reserved already is released first: the caller
    /// holds the reader's lock, so its reader has died.
    pub(crate) fn reserve_metadata_snapshot<'p>(
        &'p self,
        reader_lock: &'p Lock,
    ) -> Result<MetadataSnapshot<'p>, Error> {
        let failed = |source| Error::ReserveMetadata { name: self.config.name.clone(), source };
        let message = |text| self.kernel.message(&self.identity, text).map_err(failed);
        let node = self.metadata_node()?;
        if matches!(self.status_line()?, StatusLine::Working(w) if w.held_root.is_some()) {
            message(RELEASE)?;
        }
        message("reserve_metadata_snap")?;
        Ok(MetadataSnapshot { pool: self, node, reader_lock })
    }

    /// The thin ids in the pool's metadata, each with the pool's transaction that created it.
    pub(crate) fn thin_ids(&self, reader_lock: &Lock) -> Result<BTreeMap<ThinId, u64>, Error> {
        let failed = |source| Error::ListIds { name: self.config.name.clone(), source };
        let list = self
            .reserve_metadata_snapshot(reader_lock)?
            .run("thin_ls", &["--no-headers", "--format", "DEV,TRANSACTION"])
            .map_err(failed)?;
        let id = |line: &str| {
            let mut words = line.split_whitespace();
            let id = words.next()?.parse().ok().and_then(ThinId::new)?;
            Some((id, words.next()?.parse().ok()?))
        };
        let wrong =
            |text: &str| Error::WrongId { name: self.config.name.clone(), text: text.to_owned() };
        list.lines().map(|line| id(line).ok_or_else(|| wrong(line))).collect()
    }

    /// The size of each volume's exclusive blocks: blocks that the volume shares with no other volume (thin_ls(8),
    /// `EXCLUSIVE_BLOCKS`).
    ///
    /// The pool is active. This function reads all mappings of the pool, so it takes long for a large pool.
    ///
    /// # Errors
    /// [`Error::ListIds`], or the store cannot be read.
    pub fn exclusive_bytes(&self) -> Result<BTreeMap<VolumeName, Bytes>, Error> {
        let failed = |source| Error::ListIds { name: self.config.name.clone(), source };
        let reader_lock = self.reader_lock()?;
        let snapshot = {
            let _pool_lock = self.lock()?;
            self.reserve_metadata_snapshot(&reader_lock)?
        };
        let list = snapshot
            .run("thin_ls", &["--no-headers", "--format", "DEV,EXCLUSIVE_BLOCKS"])
            .map_err(failed)?;
        drop(snapshot);
        let number = |word: Option<&str>| word?.parse::<u64>().ok();
        let mut own = BTreeMap::new();
        for line in list.lines() {
            let mut words = line.split_whitespace();
            let (Some(id), Some(blocks)) = (number(words.next()), number(words.next())) else {
                return Err(Error::WrongId {
                    name: self.config.name.clone(),
                    text: line.to_owned(),
                });
            };
            own.insert(id, Bytes(blocks.saturating_mul(self.block.0)));
        }
        let rows = self.store.volumes(&self.config.name)?.into_iter();
        Ok(rows.filter_map(|row| Some((row.name, *own.get(&row.id.get().into())?))).collect())
    }

    /// The node of the active pool's metadata device. sysfs gives the name for the device number, whoever created the device.
    pub(crate) fn metadata_node(&self) -> Result<PathBuf, Error> {
        let uevent = PathBuf::from(format!("/sys/dev/block/{}/uevent", self.table()?.metadata));
        let failed = |source| Error::Backing { action: "read", path: uevent.clone(), source };
        let text = fs::read_to_string(&uevent).map_err(failed)?;
        let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="));
        name.map(|name| Path::new("/dev").join(name))
            .ok_or_else(|| failed(std::io::ErrorKind::InvalidData.into()))
    }
}
