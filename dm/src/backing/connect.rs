//! A pool's block devices. Loop files are attached to get them, and detached after use.

use std::path::PathBuf;

use super::devices::measure;
use super::loopback::{self, Attached};
use super::{BackingKind, PoolBacking};
use crate::error::Error;
use crate::failpoint::step;
use crate::kernel::DevNumber;

/// The block devices of a pool, with its loop files attached. Dropping this detaches the files that this value attached.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) data: DevNumber,
    pub(crate) metadata: DevNumber,
    loops: Vec<Attached>,
}

impl Connected {
    /// Leaves the loop devices attached.
    pub(crate) fn keep(self) {
        self.loops.into_iter().for_each(Attached::keep);
    }
}

impl PoolBacking {
    /// The pool's block devices. Attaches loop files.
    pub(crate) fn connect(&self) -> Result<Connected, Error> {
        let mut loops = Vec::new();
        let mut node = |path: &PathBuf| {
            if self.kind != BackingKind::Loop {
                return Ok(path.clone());
            }
            let attached = loopback::attach(path)?;
            let node = attached.node.clone();
            loops.push(attached);
            step("loop device attached");
            Ok::<_, Error>(node)
        };
        let (data, metadata) = (node(&self.data)?, node(&self.metadata)?);
        let (data, metadata) = (measure(&data)?.0, measure(&metadata)?.0);
        Ok(Connected { data, metadata, loops })
    }

    /// Detaches loop files.
    pub(crate) fn disconnect(&self) -> Result<(), Error> {
        if self.kind != BackingKind::Loop {
            return Ok(());
        }
        loopback::detach(&self.data).and(loopback::detach(&self.metadata))
    }
}
