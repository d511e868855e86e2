//! The configuration of bases.

use sharedroot_dm::{Bytes, PoolConfig};
use sharedroot_label::SharedLabel;

/// The configuration of bases: plain data. Making this value opens nothing.
#[derive(Debug, Clone)]
pub struct Config {
    /// The thin pool.
    pub pool: PoolConfig,
    /// The size of a base's file system.
    pub base_size: Bytes,
    /// Whether a container waits for a base that another container is making.
    pub base_wait: bool,
    /// The label of bases, in place of the label that the policy names.
    pub shared_label: Option<SharedLabel>,
}
