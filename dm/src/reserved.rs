//! A live pool's metadata, read while the pool is in use: a snapshot of it that the kernel reserves
//! (thin-provisioning.rst, "reserve_metadata_snap").

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::lock::Lock;
use crate::names::ThinId;
use crate::pool::Pool;
use crate::status::StatusLine;
use crate::tools;

/// A reserved metadata snapshot. A pool has one at most; dropping it releases it.
#[derive(Debug)]
#[must_use]
pub(crate) struct Reserved<'p> {
    pool: &'p Pool,
    node: PathBuf,
    _turn: &'p Lock,
}

impl Reserved<'_> {
    /// The device to give to a tool with `--metadata-snap`.
    pub(crate) fn node(&self) -> &Path {
        &self.node
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.pool.kernel.message(&self.pool.label.name, RELEASE) {
            tracing::warn!(pool = %self.pool.config.name, %error, "a metadata snapshot stays reserved; the next check releases it");
        }
    }
}

const RELEASE: &str = "release_metadata_snap";

impl Pool {
    /// Reserves the metadata as it is now; the pool's lock keeps others from reserving theirs.
    pub(crate) fn reserve_metadata<'p>(&'p self, turn: &'p Lock) -> Result<Reserved<'p>, Error> {
        let failed = |source| Error::ReserveMetadata { name: self.config.name.clone(), source };
        let message = |text| self.kernel.message(&self.label.name, text).map_err(failed);
        let node = self.metadata_node()?;
        if matches!(self.status_line()?, StatusLine::Working(w) if w.held_root.is_some()) {
            // Its reader died.
            message(RELEASE)?;
        }
        message("reserve_metadata_snap")?;
        Ok(Reserved { pool: self, node, _turn: turn })
    }

    /// The thin ids that the pool really has.
    pub(crate) fn thin_ids(&self, turn: &Lock) -> Result<BTreeSet<ThinId>, Error> {
        let failed = |source| Error::ListIds { name: self.config.name.clone(), source };
        let reserved = self.reserve_metadata(turn)?;
        let arguments = ["--metadata-snap", "--no-headers", "--format", "DEV"];
        let mut arguments: Vec<_> = arguments.map(AsRef::as_ref).to_vec();
        arguments.push(reserved.node().as_os_str());
        let list = tools::run("thin_ls", &arguments).map_err(failed)?;
        let id = |word: &str| {
            let wrong = || Error::WrongId { name: self.config.name.clone(), text: word.to_owned() };
            word.parse().ok().and_then(ThinId::new).ok_or_else(wrong)
        };
        list.split_whitespace().map(id).collect()
    }

    /// The metadata device of the active pool, whoever made it: sysfs names the device of a number.
    fn metadata_node(&self) -> Result<PathBuf, Error> {
        let uevent = PathBuf::from(format!("/sys/dev/block/{}/uevent", self.table()?.metadata));
        let failed = |source| Error::Media { action: "read", path: uevent.clone(), source };
        let text = fs::read_to_string(&uevent).map_err(failed)?;
        let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="));
        name.map(|name| Path::new("/dev").join(name))
            .ok_or_else(|| failed(std::io::ErrorKind::InvalidData.into()))
    }
}
